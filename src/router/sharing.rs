//! Breakers that several processes share: each tells the others what it found, and hears of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;

use super::decision::Time;
use super::plan::DeploymentIndex;
use super::state::{Notice, State};
use super::target::Target;
use crate::client::{Client, SharedBreaker};
use crate::limits::{self, BreakerReport, ProbeClaim};

/// Time after which a router looks again at what other processes have found.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Time after which it asks again for a probe that is on its way to the others, and the longest for one of theirs.
const CLAIM_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// The breakers that processes share.
pub(super) trait SharedBreakers {
    /// Returns what all have found out of a deployment; `None` if that is not known at this moment.
    fn seen(&self, deployment: DeploymentIndex) -> Option<limits::SharedBreaker>;

    /// Tells the others. Returns false if that is to be tried again.
    fn report(&self, deployment: DeploymentIndex, report: BreakerReport) -> bool;

    /// Asks for the turn to probe a deployment.
    fn claim_probe(&self, deployment: DeploymentIndex) -> ProbeClaim;
}

/// Tells the other processes what this one found since the last time.
pub(super) fn tell(state: &Mutex<State>, shared: &impl SharedBreakers) {
    let reports = lock(state).take_reports();
    for (deployment, report) in reports {
        if !shared.report(deployment, report) {
            lock(state).put_back((deployment, report));
        }
    }
}

/// Takes over what other processes have found. Returns what is worth a line in the log.
pub(super) fn look(state: &Mutex<State>, now: Time, shared: &impl SharedBreakers) -> SmallVec<[Notice; 1]> {
    let count = lock(state).plan().deployments.len();
    let adopt = |deployment| lock(state).adopt(deployment, now, shared.seen(deployment)?);
    (0..count).filter_map(adopt).collect()
}

/// Returns the time at which to ask again for the probe of a deployment; `None` if this process has the turn.
pub(super) fn claim(deployment: DeploymentIndex, now: Time, shared: &impl SharedBreakers) -> Option<Time> {
    match shared.claim_probe(deployment) {
        ProbeClaim::Granted => None,
        ProbeClaim::Held(left) => Some(now + left.clamp(CLAIM_AGAIN.0, CLAIM_AGAIN.1)),
        ProbeClaim::Pending => Some(now + CLAIM_AGAIN.0),
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A router's turn among those that share breakers.
#[derive(Debug)]
pub(super) struct Sharing {
    /// Number of this router among them.
    router: u64,
    /// Time of the next look, in nanoseconds on the router's clock.
    next_look: AtomicU64,
}

impl Default for Sharing {
    fn default() -> Self {
        Self { router: fastrand::u64(1..), next_look: AtomicU64::new(0) }
    }
}

impl Sharing {
    /// Returns true once in a while: it is time to look.
    pub(super) fn is_due(&self, now: Time) -> bool {
        let now = now.as_nanos() as u64;
        let is_due = now >= self.next_look.load(Ordering::Relaxed);
        if is_due {
            self.next_look.store(now + LOOK_AGAIN.as_nanos() as u64, Ordering::Relaxed);
        }
        is_due
    }
}

/// The breakers of a router's deployments in the store of a client's limits.
pub(super) struct InStore<'a> {
    pub sharing: &'a Sharing,
    pub targets: &'a [Target],
    pub client: &'a Client,
}

impl InStore<'_> {
    fn breaker(&self, deployment: DeploymentIndex) -> Option<SharedBreaker> {
        let Target { name, deployment, .. } = &self.targets[deployment];
        self.client.shared_breaker(name, deployment)
    }
}

impl SharedBreakers for InStore<'_> {
    fn seen(&self, deployment: DeploymentIndex) -> Option<limits::SharedBreaker> {
        self.breaker(deployment)?.seen()
    }

    fn report(&self, deployment: DeploymentIndex, report: BreakerReport) -> bool {
        self.breaker(deployment).is_none_or(|breaker| breaker.report(self.sharing.router, report))
    }

    fn claim_probe(&self, deployment: DeploymentIndex) -> ProbeClaim {
        // Without a place in the store it is this process's alone.
        let claim = |breaker: SharedBreaker| breaker.claim_probe(self.sharing.router);
        self.breaker(deployment).map_or(ProbeClaim::Granted, claim)
    }
}

#[cfg(test)]
mod tests;
