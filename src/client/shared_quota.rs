//! A quota that the calls of this process share: waiting for it, and the permits of those that were admitted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::budget_source::BudgetSource;
use crate::error::Result;
use crate::limits::{Admission, Budget, Call, Permit, Quota, QuotaSpec, Refusal, Snapshot, Ticket, Time};
use crate::types::rate_limit::{Signals, Tokens};

/// Longest time that a waiting call sleeps before it asks again.
const LONGEST_SLEEP: Duration = Duration::from_secs(86_400);

/// A quota, and the calls of this process that wait for it.
pub(super) struct SharedQuota {
    /// Name for messages and statistics. It holds no key.
    pub name: String,
    state: Mutex<State>,
}

struct State {
    quota: Quota,
    source: BudgetSource,
    waiters: HashMap<Ticket, Arc<Notify>>,
}

impl State {
    /// Calls a function with the quota, its budget and the time on the budget's clock.
    fn with<T>(&mut self, function: impl FnOnce(&mut Quota, &mut dyn Budget, Time) -> T) -> T {
        let Self { quota, source, .. } = self;
        source.with(|budget, now| function(quota, budget, now))
    }

    /// Wakes the call whose turn it is.
    fn wake_next(&self) {
        if let Some(woken) = self.quota.next().and_then(|ticket| self.waiters.get(&ticket)) {
            woken.notify_one();
        }
    }
}

impl SharedQuota {
    pub fn new(name: String, bulk_share: f64, source: BudgetSource) -> Self {
        let state = State { quota: Quota::new(bulk_share), source, waiters: HashMap::new() };
        Self { name, state: Mutex::new(state) }
    }

    /// Adds declared limits.
    ///
    /// # Errors
    ///
    /// There is no room for them: a quota has a fixed number of windows.
    pub fn declare(&self, spec: &QuotaSpec) -> Result<()> {
        self.lock().source.declare(spec)
    }

    /// Admits a call at once, if nobody waits and the budget allows it.
    ///
    /// # Errors
    ///
    /// The reason why the call is not sent at all.
    pub fn try_acquire(self: &Arc<Self>, call: &Call) -> std::result::Result<Option<QuotaPermit>, Refusal> {
        match self.lock().with(|quota, budget, now| quota.try_acquire(budget, now, call)) {
            Admission::Admitted(permit) => Ok(Some(QuotaPermit::new(self, permit))),
            Admission::Until(_) | Admission::Blocked => Ok(None),
            Admission::Refused(refusal) => Err(refusal),
        }
    }

    /// Waits in line until a call is admitted. Dropping the future leaves the line.
    ///
    /// # Errors
    ///
    /// The reason why the call is not sent at all.
    pub async fn acquire(self: &Arc<Self>, call: Call) -> std::result::Result<QuotaPermit, Refusal> {
        let place = Place::take(self, call);
        loop {
            match self.poll(place.ticket) {
                (Admission::Admitted(permit), _) => return Ok(QuotaPermit::new(self, permit)),
                (Admission::Refused(refusal), _) => return Err(refusal),
                // Woken earlier if another call ends.
                (Admission::Until(time), now) => {
                    let pause = time.saturating_sub(now).min(LONGEST_SLEEP);
                    drop(timeout(pause, place.woken.notified()).await);
                }
                (Admission::Blocked, _) => place.woken.notified().await,
            }
        }
    }

    /// Asks for a call that waits, and wakes the next one if the call has left the line. Returns the time, too.
    fn poll(&self, ticket: Ticket) -> (Admission, Time) {
        let mut state = self.lock();
        let answer = state.with(|quota, budget, now| (quota.poll(budget, ticket, now), now));
        if matches!(answer.0, Admission::Admitted(_) | Admission::Refused(_)) {
            state.wake_next();
        }
        answer
    }

    /// Ends a pause or a stop by hand.
    pub fn enable(&self) {
        self.change(|quota, budget, now| quota.enable(budget, now));
    }

    /// Returns what `status()` shows, and the time to which its times are relative.
    pub fn snapshot(&self) -> (Snapshot, Time) {
        self.lock().with(|quota, budget, now| (quota.snapshot(budget, now), now))
    }

    /// Changes the quota, and wakes the call whose turn it is then.
    fn change<T>(&self, change: impl FnOnce(&mut Quota, &mut dyn Budget, Time) -> T) -> T {
        let mut state = self.lock();
        let changed = state.with(change);
        state.wake_next();
        changed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line, left when dropped.
struct Place<'a> {
    quota: &'a SharedQuota,
    ticket: Ticket,
    woken: Arc<Notify>,
}

impl<'a> Place<'a> {
    fn take(quota: &'a SharedQuota, call: Call) -> Self {
        let woken = Arc::new(Notify::new());
        let mut state = quota.lock();
        let ticket = state.quota.enqueue(call);
        state.waiters.insert(ticket, woken.clone());
        Self { quota, ticket, woken }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.quota.lock();
        state.quota.cancel(self.ticket);
        state.waiters.remove(&self.ticket);
        // It may have been woken for its turn.
        state.wake_next();
    }
}

/// The permit of one attempt. Dropped without an outcome, it counts as cancelled if the request was sent, and as never taken
/// otherwise.
pub(super) struct QuotaPermit {
    quota: Arc<SharedQuota>,
    /// `None` once it has ended.
    permit: Option<Permit>,
    was_sent: bool,
}

impl QuotaPermit {
    fn new(quota: &Arc<SharedQuota>, permit: Permit) -> Self {
        Self { quota: quota.clone(), permit: Some(permit), was_sent: false }
    }

    /// Marks the request as sent.
    pub fn sent(&mut self) {
        self.was_sent = true;
    }

    /// Ends the permit with what the request used, and what its answer or failure says.
    ///
    /// Returns the reason why the call must not be repeated, if there is one.
    pub fn settle(mut self, used: Option<Tokens>, signals: &Signals) -> Option<Refusal> {
        let permit = self.permit.take()?;
        self.quota.change(|quota, budget, now| quota.settle(budget, now, permit, used, signals))
    }
}

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        self.quota.change(|quota, budget, now| match self.was_sent {
            true => quota.cancel_permit(budget, now, permit),
            false => quota.give_back(budget, now, permit),
        });
    }
}
