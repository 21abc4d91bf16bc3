//! What is known of a job while it runs.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// State of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It has not been run by this process.
    #[default]
    New,
    /// Its rows are read before the first call.
    Scanning,
    /// It runs.
    Running,
    /// It runs, and no server answers: a row a second is tried.
    Outage,
    /// No further rows are admitted; calls in flight land.
    Stopping,
    /// Rows are pending, and the job has to be run again.
    Paused,
    /// Every row has an outcome.
    Done,
}

impl State {
    /// Returns its name in statuses.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Scanning => "scanning",
            Self::Running => "running",
            Self::Outage => "outage",
            Self::Stopping => "stopping",
            Self::Paused => "paused",
            Self::Done => "done",
        }
    }
}

/// Numbers of a job's run. Rows that were done by earlier runs are in `done` and `failed` as well.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// State of the job.
    pub state: State,
    /// Why it pauses, the failure of the outage, or the refusal that all calls wait for.
    pub reason: Option<String>,
    /// Name of the class of the exception that says so.
    pub reason_class: Option<&'static str>,
    /// Number of rows read so far, those that had an outcome included.
    pub read: u64,
    /// Number of all rows, if it is known.
    pub rows: Option<u64>,
    /// Part of the input that has been read, if it is known.
    pub progress: Option<f64>,
    /// Number of rows that were answered.
    pub done: u64,
    /// Number of rows whose outcome is an error.
    pub failed: u64,
    /// Number of rows that are the same as an earlier one, and share its outcome.
    pub repeated: u64,
    /// Number of rows that needed no call in this run.
    pub before: u64,
    /// Number of calls in flight, those that wait for their quota included.
    pub in_flight: usize,
    /// Number of calls that wait for their quota.
    pub waiting: usize,
    /// Number of calls that failed and are repeated.
    pub retries: u64,
    /// Number of refusals by a rate limit that reached the job.
    pub rate_limited: u64,
    /// Number of rows of this run whose answer was kept from an earlier call.
    pub cached: u64,
    /// Tokens of all answers of this run.
    pub input_tokens: u64,
    /// Tokens of all answers of this run.
    pub output_tokens: u64,
    /// Cost in US dollars of all runs.
    pub cost: f64,
    /// True if the cost of some answer is not known.
    pub has_unknown_cost: bool,
    /// Time since the start of the run.
    pub elapsed: Duration,
    /// What it waits for while it runs.
    pub waits_for: Option<&'static str>,
    /// Time since anything has gone on.
    pub waited: Duration,
}

/// What a job waits for while no row comes.
pub(in crate::bulk) const SOURCE: &str = "the source";
/// Time without a sign of the driver after which it is what the job waits for.
const SILENT: Duration = Duration::from_secs(2);

/// The status of a job, which several threads look at.
#[derive(Debug, Default)]
pub struct Status {
    shared: Mutex<Shared>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Shared {
    snapshot: Snapshot,
    started: Option<Instant>,
    is_running: bool,
    /// Time since which it waits for what it waits for.
    since: Option<Instant>,
    /// The last sign of the driver, if it works.
    driven: Option<Instant>,
    /// Number of rows that had been read then.
    read: u64,
}

impl Status {
    /// Returns the numbers.
    pub fn snapshot(&self) -> Snapshot {
        let shared = self.lock();
        let mut snapshot = shared.snapshot.clone();
        if let Some(started) = shared.started.filter(|_| shared.is_running) {
            snapshot.elapsed = started.elapsed();
            snapshot.waited = shared.since.map(|since| since.elapsed()).unwrap_or_default();
            // It gives one ten times a second, unless something blocks it that must not.
            if let Some(silence) = shared.driven.map(|driven| driven.elapsed()).filter(|silence| *silence > SILENT) {
                (snapshot.waits_for, snapshot.waited) = (Some("the job's thread"), silence);
            }
        }
        snapshot
    }

    /// Waits until the run is over, for `limit` at most. Returns true if it is.
    pub fn wait(&self, limit: Duration) -> bool {
        let wait = |shared: &mut Shared| shared.is_running;
        let (shared, _) =
            self.changed.wait_timeout_while(self.lock(), limit, wait).unwrap_or_else(PoisonError::into_inner);
        !shared.is_running
    }

    /// Notes the begin of a run. If it goes on with rows that can be read only once, those of the last run still count: they
    /// do not come again.
    pub fn begin(&self, goes_on: bool) {
        let mut shared = self.lock();
        let snapshot = &mut shared.snapshot;
        let Snapshot { rows, read, done, failed, repeated, .. } = *snapshot;
        *snapshot = Snapshot { state: State::Running, rows, ..Snapshot::default() };
        if goes_on {
            let before = done + failed + repeated;
            *snapshot = Snapshot { read, done, failed, repeated, before, ..std::mem::take(snapshot) };
        }
        (shared.started, shared.is_running) = (Some(Instant::now()), true);
        drop(shared);
        self.blocks(Some("its thread to start"));
    }

    /// Notes what the job's thread waits for from now on, before anything that may block it; `None` if nothing does.
    pub fn blocks(&self, what: Option<&'static str>) {
        let mut shared = self.lock();
        shared.snapshot.waits_for = what;
        (shared.since, shared.driven) = (Some(Instant::now()), None);
    }

    /// Notes what the job waits for, as its driver sees it; `has_moved` says that calls have ended since it said so last.
    /// Returns since when.
    pub(super) fn drives(&self, what: &'static str, has_moved: bool) -> Instant {
        let mut shared = self.lock();
        let now = Instant::now();
        if has_moved || shared.snapshot.waits_for != Some(what) || shared.snapshot.read != shared.read {
            shared.since = Some(now);
        }
        shared.snapshot.waits_for = Some(what);
        (shared.driven, shared.read) = (Some(now), shared.snapshot.read);
        shared.since.unwrap_or(now)
    }

    /// Notes the end of a run.
    pub fn end(&self) {
        let mut shared = self.lock();
        shared.is_running = false;
        (shared.snapshot.waits_for, shared.driven) = (None, None);
        shared.snapshot.elapsed = shared.started.map(|started| started.elapsed()).unwrap_or_default();
        self.changed.notify_all();
    }

    /// Changes the numbers.
    pub fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.lock().snapshot);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts of rows that have been read and that the status does not have yet.
#[derive(Default)]
pub(in crate::bulk) struct ReadCounts {
    pub read: u64,
    pub done: u64,
    pub failed: u64,
    pub repeated: u64,
}

impl ReadCounts {
    /// Adds them to the status, with the part of the rows that have been read, and begins anew.
    pub fn tell(&mut self, status: &Status, progress: Option<f64>) {
        let Self { read, done, failed, repeated } = std::mem::take(self);
        status.update(|status| {
            status.read += read;
            status.done += done;
            status.failed += failed;
            status.before += done + failed + repeated;
            status.repeated += repeated;
            status.progress = progress;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_waits_for() {
        let status = Status::default();
        assert_eq!(status.snapshot().waits_for, None);
        status.begin(false);
        assert_eq!(status.snapshot().waits_for, Some("its thread to start"));
        status.blocks(Some("the disk"));
        assert_eq!(status.snapshot().waits_for, Some("the disk"));
        let since = status.drives("answers", false);
        std::thread::sleep(Duration::from_millis(1));
        // As long as nothing goes on, it is the same time.
        assert_eq!(status.drives("answers", false), since);
        assert!(status.drives("answers", true) > since);
        let since = status.drives("limits", false);
        std::thread::sleep(Duration::from_millis(1));
        status.update(|status| status.read += 1);
        assert!(status.drives("limits", false) > since);
        let before = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        (status.lock().since, status.lock().driven) = (before(9), before(1));
        let snapshot = status.snapshot();
        assert_eq!((snapshot.waits_for, snapshot.waited.as_secs()), (Some("limits"), 9));
        status.lock().driven = before(7);
        let snapshot = status.snapshot();
        assert_eq!((snapshot.waits_for, snapshot.waited.as_secs()), (Some("the job's thread"), 7));
        status.end();
        assert_eq!(status.snapshot().waits_for, None);
    }
}
