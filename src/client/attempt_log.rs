//! A call's attempts while it is under way: a queue for its caller's log, and those that failed for its hooks.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::types::record::{AttemptRecord, CallRecord, Outcome};

/// The attempts of one call that have not been logged, and those that failed.
#[derive(Debug)]
pub struct AttemptLog {
    entries: Mutex<Entries>,
    is_logged: bool,
    is_observed: bool,
}

#[derive(Debug, Default)]
struct Entries {
    over: Vec<AttemptRecord>,
    /// Attempts in flight.
    open: Vec<Open>,
    /// Attempts that failed, if the call is observed.
    failed: CallRecord,
}

#[derive(Debug)]
struct Open {
    attempt: AttemptRecord,
    begun: Instant,
    /// True if the log says already that it takes long.
    noted: bool,
}

/// Time after which an attempt is logged before its end, so that the log shows a call that hangs while it hangs.
const LONG: Duration = Duration::from_millis(500);

impl Open {
    fn is_unreported(&self) -> bool {
        !self.noted && self.begun.elapsed() > LONG
    }
}

impl AttemptLog {
    /// Creates a log without attempts. One that `is_logged` follows each attempt; one that `is_observed` only keeps those that
    /// fail, for the record of a call that its caller gives up.
    pub fn new(is_logged: bool, is_observed: bool) -> Self {
        Self { entries: Mutex::default(), is_logged, is_observed }
    }

    /// True if each attempt is to be followed.
    pub fn is_logged(&self) -> bool {
        self.is_logged
    }

    /// True if the call has hooks, which get its record.
    pub fn is_observed(&self) -> bool {
        self.is_observed
    }

    /// Records the start of an attempt.
    pub fn begin(&self, attempt: AttemptRecord) {
        self.entries().open.push(Open { attempt, begun: Instant::now(), noted: false });
    }

    /// Records an attempt that has ended. A stream that breaks was answered before: the second line is about the same
    /// attempt.
    pub fn end(&self, attempt: AttemptRecord) {
        let mut entries = self.entries();
        if self.is_observed && attempt.outcome == Outcome::Failed {
            // The attempts of a router have the number 1, each of them.
            let number = entries.failed.attempts.last().map_or(1, |last| last.number + 1);
            entries.failed.push(AttemptRecord { number, ..attempt.clone() });
        }
        if self.is_logged {
            entries.open.retain(|open| open.attempt.number != attempt.number);
            entries.over.push(attempt);
        }
    }

    /// Returns the attempts that have failed, if the call is observed.
    pub fn failed(&self) -> Vec<AttemptRecord> {
        self.entries().failed.attempts.clone()
    }

    /// Takes the attempts that have ended or take long, each once.
    pub fn take(&self) -> Vec<AttemptRecord> {
        let Entries { over, open, .. } = &mut *self.entries();
        let mut attempts = std::mem::take(over);
        let long = open.iter_mut().filter(|open| open.is_unreported());
        attempts.extend(long.map(|open| {
            open.noted = true;
            AttemptRecord { latency: open.begun.elapsed(), ..open.attempt.clone() }
        }));
        attempts
    }

    /// Returns true if [`take`](Self::take) would return an attempt.
    pub fn has_unreported(&self) -> bool {
        let Entries { over, open, .. } = &*self.entries();
        !over.is_empty() || open.iter().any(Open::is_unreported)
    }

    /// Records that the caller gave up: ends the attempts in flight.
    pub fn give_up(&self) {
        let Entries { over, open, .. } = &mut *self.entries();
        over.extend(open.drain(..).map(|open| AttemptRecord {
            outcome: Outcome::Aborted,
            latency: open.begun.elapsed(),
            message: Some("given up by its caller".into()),
            ..open.attempt
        }));
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
