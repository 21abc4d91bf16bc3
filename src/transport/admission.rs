//! Time that a call waits for admission, which does not count towards its other deadlines.
//!
//! Waiting has a timeout of its own (`queue`) and postpones the other deadlines: `total` runs from the first admission.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::ConnectionStats;

/// Time that a call has waited for admission so far.
#[derive(Debug, Default)]
pub struct Admission {
    waiting: AtomicBool,
    /// Total waiting time, in nanoseconds.
    waited: AtomicU64,
    /// Waiting time before the first admission, in nanoseconds.
    waited_first: AtomicU64,
    /// True after the first attempt: later waits are part of the call.
    admitted: AtomicBool,
}

/// State of a deadline whose timer has fired.
pub(super) enum DeadlineState {
    /// The deadline has passed.
    Passed,
    /// The deadline was postponed to this time.
    Postponed(Instant),
    /// The call is waiting for admission, so the deadline does not run.
    Suspended,
}

impl Admission {
    /// Marks the first admission: later waits count towards the `total` timeout.
    pub fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }

    /// Returns the total waiting time.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.load(Ordering::Relaxed))
    }

    /// Returns the waiting time before the first admission.
    pub fn waited_first(&self) -> Duration {
        Duration::from_nanos(self.waited_first.load(Ordering::Relaxed))
    }

    /// Returns the state of the call's total deadline when the timer for `end` has fired.
    pub(super) fn total_state(&self, end: Instant) -> DeadlineState {
        let suspended = self.waiting.load(Ordering::Relaxed) && !self.admitted.load(Ordering::Relaxed);
        state(end, self.waited_first(), suspended)
    }

    /// Returns the state of the deadline of a part of the call, which began after the waiting time `before`.
    pub(super) fn part_state(&self, end: Instant, before: Duration) -> DeadlineState {
        state(end, self.waited().saturating_sub(before), self.waiting.load(Ordering::Relaxed))
    }

    /// Awaits `queue` within what is left of `limit`; `None` if the limit passes.
    pub async fn wait<T>(
        &self,
        limit: Option<Duration>,
        connection_stats: &ConnectionStats,
        queue: impl Future<Output = T>,
    ) -> Option<T> {
        let _guard = WaitGuard::new(self, connection_stats);
        match limit {
            None => Some(queue.await),
            Some(limit) => tokio::time::timeout(limit.saturating_sub(self.waited()), queue).await.ok(),
        }
    }
}

fn state(end: Instant, postponement: Duration, suspended: bool) -> DeadlineState {
    if suspended {
        return DeadlineState::Suspended;
    }
    match end.checked_add(postponement) {
        Some(end) if end <= Instant::now() => DeadlineState::Passed,
        Some(end) => DeadlineState::Postponed(end),
        None => DeadlineState::Suspended,
    }
}

/// Counts a waiting call, and its waiting time, until it is dropped.
struct WaitGuard<'a> {
    admission: &'a Admission,
    connection_stats: &'a ConnectionStats,
    begun: Instant,
}

impl<'a> WaitGuard<'a> {
    fn new(admission: &'a Admission, connection_stats: &'a ConnectionStats) -> Self {
        admission.waiting.store(true, Ordering::Relaxed);
        connection_stats.wait_begins();
        Self { admission, connection_stats, begun: Instant::now() }
    }
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        let Admission { waiting, waited, waited_first, admitted } = self.admission;
        let spent = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        waited.fetch_add(spent, Ordering::Relaxed);
        if !admitted.load(Ordering::Relaxed) {
            waited_first.fetch_add(spent, Ordering::Relaxed);
        }
        waiting.store(false, Ordering::Relaxed);
        self.connection_stats.wait_ends();
    }
}
