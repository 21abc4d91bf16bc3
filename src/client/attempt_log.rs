//! Queue of a call's attempts, for its caller's log.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::types::record::{AttemptRecord, Outcome};

/// The attempts of one call that have not been logged.
#[derive(Debug, Default)]
pub struct AttemptLog(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    over: Vec<AttemptRecord>,
    /// Attempts in flight.
    open: Vec<Open>,
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
    /// Records the start of an attempt.
    pub fn begin(&self, attempt: AttemptRecord) {
        self.entries().open.push(Open { attempt, begun: Instant::now(), noted: false });
    }

    /// Records an attempt that has ended. A stream that breaks was answered before: the second line is about the same
    /// attempt.
    pub fn end(&self, attempt: AttemptRecord) {
        let mut entries = self.entries();
        entries.open.retain(|open| open.attempt.number != attempt.number);
        entries.over.push(attempt);
    }

    /// Takes the attempts that have ended or take long, each once.
    pub fn take(&self) -> Vec<AttemptRecord> {
        let Entries { over, open } = &mut *self.entries();
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
        let Entries { over, open } = &*self.entries();
        !over.is_empty() || open.iter().any(Open::is_unreported)
    }

    /// Records that the caller gave up: ends the attempts in flight.
    pub fn give_up(&self) {
        let Entries { over, open } = &mut *self.entries();
        over.extend(open.drain(..).map(|open| AttemptRecord {
            outcome: Outcome::Aborted,
            latency: open.begun.elapsed(),
            message: Some("given up by its caller".into()),
            ..open.attempt
        }));
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
