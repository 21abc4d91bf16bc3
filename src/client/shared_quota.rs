//! A quota that the calls of this process share: waiting for it, and the permits of those that were admitted.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::admission_progress::{AdmissionProgress, Stage};
use super::budget_source::BudgetSource;
use crate::error::Result;
use crate::limits::budget::WindowState;
use crate::limits::{Admission, Budget, Call, Limit, Permit, Quota, QuotaSpec, Refusal, Snapshot, Ticket, Time, Wait};
use crate::types::rate_limit::{Signals, Tokens};

/// Longest time that a waiting call sleeps before it asks again.
const LONGEST_SLEEP: Duration = Duration::from_secs(86_400);

/// Pause before a state that another process uses at this moment is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(1);

/// A quota, and the calls of this process that wait for it.
pub(super) struct SharedQuota {
    /// Name for messages and statistics. It holds no key.
    pub name: String,
    state: Mutex<State>,
}

struct State {
    quota: Quota,
    source: BudgetSource,
    /// Everything that was declared for the quota.
    declared: QuotaSpec,
    waiters: HashMap<Ticket, Arc<Notify>>,
    /// The last call that had its turn and was not admitted, and the time at which it asks again by itself.
    asleep: Option<(Ticket, Time)>,
    /// Attempts that wait elsewhere and would rather be made here.
    watchers: Vec<Weak<AdmissionProgress>>,
    /// Permits that have ended while another process used the budget.
    pending: Vec<(Permit, End<'static>)>,
}

/// How a permit ends.
#[expect(clippy::large_enum_variant, reason = "nearly all are settled, and a box would cost them an allocation")]
enum End<'a> {
    /// With an outcome.
    Settled(Option<Tokens>, Cow<'a, Signals>),
    /// Its request was sent and has no outcome.
    Cancelled,
    /// Its request was never sent.
    Unused,
}

impl End<'_> {
    /// Ends a permit. Returns the reason why the call must not be repeated, if there is one.
    fn apply(&self, permit: Permit, quota: &mut Quota, budget: &mut dyn Budget, now: Time) -> Option<Refusal> {
        match self {
            Self::Settled(used, signals) => return quota.settle(budget, now, permit, *used, signals),
            Self::Cancelled => quota.cancel_permit(budget, now, permit),
            Self::Unused => quota.give_back(budget, now, permit),
        }
        None
    }

    fn into_owned(self) -> End<'static> {
        match self {
            Self::Settled(used, signals) => End::Settled(used, Cow::Owned(signals.into_owned())),
            Self::Cancelled => End::Cancelled,
            Self::Unused => End::Unused,
        }
    }
}

impl State {
    /// Calls a function with the quota, its budget and the time on the budget's clock; `None` if another process uses the
    /// budget at this moment.
    fn with<T>(&mut self, function: impl FnOnce(&mut Quota, &mut dyn Budget, Time) -> T) -> Option<T> {
        let Self { quota, source, pending, .. } = self;
        source.with(|budget, now| {
            for (permit, end) in pending.drain(..) {
                let _ = end.apply(permit, quota, budget, now);
            }
            function(quota, budget, now)
        })
    }

    /// Calls a function that may free budget, and wakes the call whose turn it is if it can go on then: one that has to sleep
    /// on is not woken with each call that ends.
    fn release<T>(&mut self, function: impl FnOnce(&mut Quota, &mut dyn Budget, Time) -> T) -> Option<T> {
        let asleep = self.asleep;
        let (output, is_to_wake) = self.with(|quota, budget, now| {
            let output = function(quota, budget, now);
            (output, quota.is_to_wake(budget, now, asleep))
        })?;
        if is_to_wake {
            self.wake_next();
        }
        Some(output)
    }

    /// Wakes the call whose turn it is; if none waits, those that wait elsewhere.
    fn wake_next(&mut self) {
        match self.quota.next() {
            Some(ticket) => self.waiters.get(&ticket).into_iter().for_each(|woken| woken.notify_one()),
            None if self.watchers.is_empty() => {}
            None => self.watchers.drain(..).filter_map(|watcher| watcher.upgrade()).for_each(|it| it.notice()),
        }
    }
}

impl SharedQuota {
    pub fn new(name: String, bulk_share: f64, source: BudgetSource) -> Self {
        let state = State {
            quota: Quota::new(bulk_share),
            source,
            declared: QuotaSpec::default(),
            waiters: HashMap::new(),
            asleep: None,
            watchers: Vec::new(),
            pending: Vec::new(),
        };
        Self { name, state: Mutex::new(state) }
    }

    /// Adds declared limits. Those of all clients that share the quota hold.
    ///
    /// # Errors
    ///
    /// There is no room for them: a quota has a fixed number of windows.
    pub fn declare(self: &Arc<Self>, spec: &QuotaSpec) -> Result<()> {
        let mut state = self.lock();
        state.declared.add(spec);
        let State { source, declared, .. } = &mut *state;
        let quota = Arc::downgrade(self);
        source.declare(declared, move || quota.upgrade().map(|quota| quota.wake_next()).is_some())
    }

    /// Admits a call at once, if nobody waits and the budget allows it.
    ///
    /// # Errors
    ///
    /// The reason why the call is not sent at all.
    pub fn try_acquire(self: &Arc<Self>, call: &Call) -> std::result::Result<Option<QuotaPermit>, Refusal> {
        match self.lock().with(|quota, budget, now| quota.try_acquire(budget, now, call)) {
            Some(Admission::Admitted(permit)) => Ok(Some(QuotaPermit::new(self, permit))),
            Some(Admission::Refused(refusal)) => Err(refusal),
            Some(Admission::Until(_) | Admission::Blocked) | None => Ok(None),
        }
    }

    /// Waits in line until a call is admitted, and notes when it is the first. Dropping the future leaves the line.
    ///
    /// # Errors
    ///
    /// The reason why the call is not sent at all.
    pub async fn acquire(
        self: &Arc<Self>,
        call: Call,
        progress: Option<&Arc<AdmissionProgress>>,
    ) -> std::result::Result<QuotaPermit, Refusal> {
        let place = Place::take(self, call);
        loop {
            let pause = match self.poll(place.ticket) {
                Some((Admission::Admitted(permit), _)) => return Ok(QuotaPermit::new(self, permit)),
                Some((Admission::Refused(refusal), _)) => return Err(refusal),
                Some((Admission::Until(time), now)) => time.saturating_sub(now).min(LONGEST_SLEEP),
                Some((Admission::Blocked, _)) => LONGEST_SLEEP,
                None => BUSY_PAUSE,
            };
            if let Some(progress) = progress {
                let is_first = self.lock().quota.next() == Some(place.ticket);
                progress.set_stage(if is_first { Stage::First } else { Stage::Waiting });
            }
            // Woken earlier if another call ends.
            drop(timeout(pause, place.woken.notified()).await);
        }
    }

    /// Asks for a call that waits, and wakes the next one if the call has left the line. Returns the time, too.
    fn poll(&self, ticket: Ticket) -> Option<(Admission, Time)> {
        let mut state = self.lock();
        let waiting = state.waiters.len();
        state.source.reap();
        state.source.set_waiting(waiting);
        let answer = state.with(|quota, budget, now| (quota.poll(budget, ticket, now), now))?;
        match answer.0 {
            Admission::Admitted(_) | Admission::Refused(_) => state.wake_next(),
            Admission::Until(time) => state.asleep = Some((ticket, time)),
            Admission::Blocked if state.quota.next() == Some(ticket) => state.asleep = Some((ticket, Time::MAX)),
            Admission::Blocked => {}
        }
        Some(answer)
    }

    /// Returns the time for which a call would wait: zero if it would be admitted now.
    ///
    /// With others before it, that is an estimate: each waits for as long as one request of the strictest window.
    pub fn expected_wait(&self, call: &Call) -> Duration {
        let mut state = self.lock();
        let waiting = state.waiters.len() as u32;
        let first = state.with(|quota, budget, now| match quota.check(budget, now, call) {
            Ok(()) => Duration::ZERO,
            Err(Wait::Until(time)) => time.saturating_sub(now).max(Duration::from_nanos(1)),
            // A call has to end first.
            Err(Wait::Release) => BUSY_PAUSE,
            Err(Wait::Never(_)) => LONGEST_SLEEP,
        });
        let interval = |limit: &Limit| limit.per.checked_div(u32::try_from(limit.requests?).unwrap_or(u32::MAX));
        let each = state.declared.limits.iter().filter_map(interval).max().unwrap_or(BUSY_PAUSE);
        first.unwrap_or(BUSY_PAUSE).saturating_add(each.saturating_mul(waiting))
    }

    /// Has an attempt that waits elsewhere told once when a permit has ended and nobody waits here.
    pub fn watch(&self, progress: &Arc<AdmissionProgress>) {
        let mut state = self.lock();
        let known = Arc::downgrade(progress);
        state.watchers.retain(|watcher| watcher.strong_count() > 0 && !watcher.ptr_eq(&known));
        state.watchers.push(known);
    }

    /// Returns the part of the windows that is left, from 0 to 1; `None` if there are none.
    pub fn budget_left(&self) -> Option<f64> {
        let (snapshot, _) = self.snapshot()?;
        let left =
            |window: &WindowState| 1.0 - (window.used + window.used_by_others) as f64 / window.limit.max(1) as f64;
        snapshot.budget.windows.iter().map(left).reduce(f64::min)
    }

    /// Wakes the call whose turn it is.
    pub fn wake_next(&self) {
        self.lock().wake_next();
    }

    /// Ends a pause or a stop by hand.
    pub fn enable(&self) {
        let mut state = self.lock();
        let _ = state.with(|quota, budget, now| quota.enable(budget, now));
        state.wake_next();
    }

    /// Calls a function with the budget and the time on its clock; `None` if another process uses the budget at this moment.
    pub fn with_budget<T>(&self, function: impl FnOnce(&mut dyn Budget, Time) -> T) -> Option<T> {
        self.lock().with(|_, budget, now| function(budget, now))
    }

    /// Returns what `status()` shows, and the time to which its times are relative; `None` if another process uses the budget
    /// at this moment.
    pub fn snapshot(&self) -> Option<(Snapshot, Time)> {
        self.lock().with(|quota, budget, now| (quota.snapshot(budget, now), now))
    }

    /// Ends a permit, and wakes the call whose turn it is then. Returns the reason why the call must not be repeated, if there
    /// is one.
    fn end(self: &Arc<Self>, permit: Permit, end: End<'_>) -> Option<Refusal> {
        let mut permit = Some(permit);
        let mut state = self.lock();
        let ended = state.release(|quota, budget, now| end.apply(permit.take()?, quota, budget, now));
        if let Some(permit) = permit {
            state.pending.push((permit, end.into_owned()));
            self.clone().end_later();
        }
        ended.flatten()
    }

    /// Ends the permits that could not be ended while another process used the budget.
    #[cold]
    fn end_later(self: Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(BUSY_PAUSE).await;
                let mut state = self.lock();
                if state.with(|_, _, _| ()).is_some() {
                    state.wake_next();
                    return;
                }
            }
        });
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
        state.waiters.remove(&self.ticket);
        // Otherwise a process of which none waits any more would hold budget for one, and renew it for ever.
        let waiting = state.waiters.len();
        state.source.set_waiting(waiting);
        // It may have been woken for its turn.
        if state.quota.cancel(self.ticket) {
            state.wake_next();
        }
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

    /// Returns the time at which the request was admitted, on the clock of the budget.
    pub fn admitted_at(&self) -> Option<Time> {
        self.permit.as_ref().map(Permit::admitted_at)
    }

    /// Marks the request as sent.
    pub fn sent(&mut self) {
        self.was_sent = true;
    }

    /// Dates the permit of a call that has waited for something else since it was admitted. Returns false if the limits do
    /// not allow the call now: its permit has ended, and it has to wait again.
    pub fn renew(&mut self, call: &Call) -> bool {
        let Some(permit) = self.permit.take() else { return false };
        let mut permit = Some(permit);
        let mut state = self.quota.lock();
        let renewed = state.with(|quota, budget, now| quota.renew(budget, now, call, permit.take()?).ok());
        self.permit = match renewed {
            Some(renewed) => renewed,
            // Another process uses the budget: as it was.
            None => permit,
        };
        state.wake_next();
        self.permit.is_some()
    }

    /// Notes what the head of an answer says, which for a stream is long before its end.
    pub fn observe(&self, signals: &Signals) {
        let Some(permit) = &self.permit else { return };
        let mut state = self.quota.lock();
        let _ = state.release(|quota, budget, now| quota.observe(budget, now, permit, signals));
    }

    /// Ends the permit with what the request used, and what its answer or failure says.
    ///
    /// Returns the reason why the call must not be repeated, if there is one.
    pub fn settle(mut self, used: Option<Tokens>, signals: &Signals) -> Option<Refusal> {
        let permit = self.permit.take()?;
        self.quota.end(permit, End::Settled(used, Cow::Borrowed(signals)))
    }
}

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let _ = self.quota.end(permit, if self.was_sent { End::Cancelled } else { End::Unused });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::limits::Priority;
    use crate::types::rate_limit::TokenRules;

    #[test]
    fn who_waits_elsewhere_is_told_once_when_a_permit_ends_and_nobody_waits_here() {
        let source = BudgetSource::Process(bytemuck::allocation::zeroed_box());
        let quota = Arc::new(SharedQuota::new("q".into(), 0.1, source));
        quota.declare(&QuotaSpec { max_in_flight: Some(1), ..QuotaSpec::default() }).unwrap();
        let rules = TokenRules { reserves_max_tokens: false, output_weight: 1, cached_reads_free: false };
        let call = Call { priority: Priority::Interactive, bytes: 4, max_tokens: None, rules };
        let progress = Arc::new(AdmissionProgress::default());
        let context = Context::from_waker(Waker::noop());
        let permit = quota.try_acquire(&call).unwrap().unwrap();
        quota.watch(&progress);
        quota.watch(&progress);
        assert!(!progress.take_notice(&context));
        drop(permit);
        assert!(progress.take_notice(&context));
        drop(quota.try_acquire(&call).unwrap().unwrap());
        assert!(!progress.take_notice(&context), "it has to ask again");
        // The seat is for the one that waits here.
        let permit = quota.try_acquire(&call).unwrap().unwrap();
        let place = Place::take(&quota, call);
        quota.watch(&progress);
        drop(permit);
        assert!(!progress.take_notice(&context));
        drop(place);
        assert!(progress.take_notice(&context));
    }
}
