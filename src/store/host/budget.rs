//! The budget of a quota that the processes of a host share.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::error::{AccessError, HostError};
use super::region::{HostRegion, Slot};
use crate::limits::{Budget, BudgetState, Ledger, QuotaSpec, Taken, Time, Wait};
use crate::platform;
use crate::types::rate_limit::{Signals, Tokens};

/// Time between two looks for dead members.
const REAP_INTERVAL: Duration = Duration::from_secs(1);
/// Time after which a call tries again if the ledger could not be used.
const RETRY: Duration = Duration::from_millis(1);
/// Number of attempts in one access: the quota's place may have moved, and the region too.
const ATTEMPTS: usize = 3;

/// The ledger of one quota in a region, as this process uses it.
///
/// It never waits for another process. While the ledger cannot be used, no call is admitted, and what calls end with is kept
/// until the ledger can be used again.
#[derive(Debug)]
pub struct HostBudget {
    name: String,
    hash: [u8; 32],
    region: Arc<HostRegion<Ledger>>,
    slot: Option<Slot>,
    spec: QuotaSpec,
    deferred: Vec<Deferred>,
    /// Time of the last look for dead members.
    reaped: Time,
}

impl HostBudget {
    /// Opens the budget of the quota whose name has this hash ([`quota_hash`](crate::store::quota_hash)), in the region of
    /// this name. It can wait for a second: not for a network thread.
    ///
    /// # Errors
    ///
    /// The region cannot be opened.
    pub fn open(name: &str, hash: [u8; 32]) -> Result<Self, HostError> {
        let region = region(name)?;
        let spec = QuotaSpec::default();
        Ok(Self { name: name.to_owned(), hash, region, slot: None, spec, deferred: Vec::new(), reaped: Time::ZERO })
    }

    /// Declares the quota's limits, in place of those that this process declared before.
    ///
    /// # Errors
    ///
    /// The number of limits, if there are too many.
    pub fn declare(&mut self, spec: &QuotaSpec) -> Result<(), usize> {
        let mut scratch: Box<Ledger> = Box::new(bytemuck::Zeroable::zeroed());
        scratch.declare(spec)?;
        self.spec = spec.clone();
        // Declared when the quota is looked up.
        self.slot = None;
        Ok(())
    }

    /// Calls a function with the budget and the time on its clock. The function must be short, and must not wait.
    pub fn with<R>(&mut self, access: impl FnOnce(&mut dyn Budget, Time) -> R) -> R {
        let mut access = Some(access);
        for _ in 0..ATTEMPTS {
            match self.attempt(&mut access) {
                Ok((result, now)) => {
                    self.reap(now);
                    return result;
                }
                Err(AccessError::Stuck | AccessError::Reclaimed) => self.slot = None,
                Err(AccessError::Left) if self.rejoin() => {}
                Err(_) => break,
            }
        }
        let now = platform::clock();
        let access = access.take().expect("an attempt that failed has not used it");
        access(&mut Unavailable(&mut self.deferred), now)
    }

    /// True if calls have ended while the ledger could not be used: [`with`](Self::with) is to be called again soon, so that
    /// other processes see it.
    pub fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    fn attempt<R, F: FnOnce(&mut dyn Budget, Time) -> R>(
        &mut self,
        access: &mut Option<F>,
    ) -> Result<(R, Time), AccessError> {
        let slot = match self.slot {
            Some(slot) => slot,
            None => self.look_up()?,
        };
        let number = self.region.member();
        let deferred = &mut self.deferred;
        self.region.with(slot, |ledger, now| {
            let mut member = ledger.member(number);
            deferred.drain(..).for_each(|deferred| deferred.apply(&mut member));
            let access = access.take().expect("each access is one attempt's");
            (access(&mut member, now), now)
        })
    }

    #[cold]
    fn look_up(&mut self) -> Result<Slot, AccessError> {
        let slot = self.region.quota(&self.hash)?;
        // As many limits as `declare` has tried.
        let _ = self.region.with(slot, |ledger, _| ledger.declare(&self.spec))?;
        self.slot = Some(slot);
        Ok(slot)
    }

    /// Frees what dead members held, once a second.
    fn reap(&mut self, now: Time) {
        if now.saturating_sub(self.reaped) >= REAP_INTERVAL {
            self.reaped = now;
            if self.region.reap() == Err(AccessError::Left) {
                self.rejoin();
            }
        }
    }

    /// Becomes a member again, and returns true unless that failed.
    #[cold]
    fn rejoin(&mut self) -> bool {
        self.slot = None;
        if !self.region.is_of_this_process() {
            // They are the parent's.
            self.deferred.clear();
        }
        let mut regions = REGIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let known = regions.get(&self.name).and_then(Weak::upgrade).filter(|region| region.is_current());
        let region = match known {
            Some(region) => Ok(region),
            None => self.region.reopen().map(Arc::new),
        };
        let Ok(region) = region else { return false };
        regions.insert(self.name.clone(), Arc::downgrade(&region));
        drop(regions);
        self.region = region;
        true
    }
}

#[cfg(test)]
impl HostBudget {
    /// Looks at the region as if a second had passed.
    pub(super) fn look_at_once(&mut self) {
        self.rejoin();
    }
}

impl Drop for HostBudget {
    fn drop(&mut self) {
        // What calls end with is not to be lost because another process was in the way.
        for _ in 0..100 {
            if !self.has_deferred() || !self.region.is_of_this_process() {
                return;
            }
            self.with(|_, _| ());
            std::thread::yield_now();
        }
    }
}

/// The regions of this process: all its quotas use one membership.
static REGIONS: LazyLock<Mutex<HashMap<String, Weak<HostRegion<Ledger>>>>> = LazyLock::new(Mutex::default);

fn region(name: &str) -> Result<Arc<HostRegion<Ledger>>, HostError> {
    let mut regions = REGIONS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(region) = regions.get(name).and_then(Weak::upgrade).filter(|region| region.is_current()) {
        return Ok(region);
    }
    let region = Arc::new(HostRegion::open(name)?);
    regions.insert(name.to_owned(), Arc::downgrade(&region));
    Ok(region)
}

/// What a call ended with while the ledger could not be used.
#[derive(Debug)]
enum Deferred {
    Observe(Time, Taken, Signals),
    Settle(Time, Taken, Option<Tokens>, Signals),
    Cancel(Time, Taken),
    GiveBack(Time, Taken),
    Enable(Time),
}

impl Deferred {
    fn apply(self, budget: &mut dyn Budget) {
        match self {
            Self::Observe(now, taken, signals) => budget.observe(now, &taken, &signals),
            Self::Settle(now, taken, used, outcome) => budget.settle(now, taken, used, &outcome),
            Self::Cancel(now, taken) => budget.cancel(now, taken),
            Self::GiveBack(now, taken) => budget.give_back(now, taken),
            Self::Enable(now) => budget.enable(now),
        }
    }
}

/// The budget while the ledger cannot be used.
struct Unavailable<'a>(&'a mut Vec<Deferred>);

impl Budget for Unavailable<'_> {
    fn try_take(&mut self, now: Time, _tokens: Tokens) -> Result<Taken, Wait> {
        Err(Wait::Until(now + RETRY))
    }

    fn observe(&mut self, now: Time, taken: &Taken, signals: &Signals) {
        self.0.push(Deferred::Observe(now, *taken, signals.clone()));
    }

    fn settle(&mut self, now: Time, taken: Taken, used: Option<Tokens>, outcome: &Signals) {
        self.0.push(Deferred::Settle(now, taken, used, outcome.clone()));
    }

    fn cancel(&mut self, now: Time, taken: Taken) {
        self.0.push(Deferred::Cancel(now, taken));
    }

    fn give_back(&mut self, now: Time, taken: Taken) {
        self.0.push(Deferred::GiveBack(now, taken));
    }

    fn enable(&mut self, now: Time) {
        self.0.push(Deferred::Enable(now));
    }

    fn state(&self, _now: Time) -> BudgetState {
        BudgetState::default()
    }
}
