//! Waiting for admission: time that a call spends in line is not its own.
//!
//! It has a limit of its own (`queue`), and puts the call's other deadlines off: `total` runs from the first admission on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::ConnectionStats;

/// How long a call has waited in line so far. Only waiting writes to it.
#[derive(Debug, Default)]
pub struct Admission {
    waiting: AtomicBool,
    /// In nanoseconds, all of it.
    waited: AtomicU64,
    /// The part before the call was first admitted.
    waited_first: AtomicU64,
    /// A try was made: later waits are part of the call.
    admitted: AtomicBool,
}

/// When something that ends at a certain time has to be looked at again.
pub(super) enum Rest {
    /// It has ended.
    Over,
    /// It was put off to then.
    Until(Instant),
    /// It stands still.
    Waiting,
}

impl Admission {
    /// From now on waiting counts.
    pub fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }

    /// All time in line.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.load(Ordering::Relaxed))
    }

    /// The time in line before the first try.
    pub fn waited_first(&self) -> Duration {
        Duration::from_nanos(self.waited_first.load(Ordering::Relaxed))
    }

    /// What is left of the call's total when its timer says that `end` has come.
    pub(super) fn rest_of_total(&self, end: Instant) -> Rest {
        let stands_still = self.waiting.load(Ordering::Relaxed) && !self.admitted.load(Ordering::Relaxed);
        rest(end, self.waited_first(), stands_still)
    }

    /// The same for a part of the call that began when `before` had been waited.
    pub(super) fn rest_of_part(&self, end: Instant, before: Duration) -> Rest {
        rest(end, self.waited().saturating_sub(before), self.waiting.load(Ordering::Relaxed))
    }

    /// Waits in line, within what is left of `limit`; `None`: that was not enough.
    pub async fn wait<T>(
        &self,
        limit: Option<Duration>,
        connection_stats: &ConnectionStats,
        line: impl Future<Output = T>,
    ) -> Option<T> {
        let _in_line = InLine::new(self, connection_stats);
        match limit {
            None => Some(line.await),
            Some(limit) => tokio::time::timeout(limit.saturating_sub(self.waited()), line).await.ok(),
        }
    }
}

fn rest(end: Instant, put_off: Duration, stands_still: bool) -> Rest {
    if stands_still {
        return Rest::Waiting;
    }
    match end.checked_add(put_off) {
        Some(end) if end <= Instant::now() => Rest::Over,
        Some(end) => Rest::Until(end),
        None => Rest::Waiting,
    }
}

/// Counts a call that waits, for as long as it lives.
struct InLine<'a> {
    admission: &'a Admission,
    connection_stats: &'a ConnectionStats,
    begun: Instant,
}

impl<'a> InLine<'a> {
    fn new(admission: &'a Admission, connection_stats: &'a ConnectionStats) -> Self {
        admission.waiting.store(true, Ordering::Relaxed);
        connection_stats.wait_begins();
        Self { admission, connection_stats, begun: Instant::now() }
    }
}

impl Drop for InLine<'_> {
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
