//! Record of a call's attempts, for its caller's log.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::types::http::Headers;
use crate::types::redact::Redactor;

/// Maximum length of a provider's message, in characters.
const LONGEST_MESSAGE: usize = 300;

/// The attempts of one call.
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
    number: u32,
    begun: Instant,
    /// True if the log says already that it takes long.
    noted: bool,
}

/// Time after which an attempt is logged before its end, so that the log shows a call that hangs while it hangs.
const LONG: Duration = Duration::from_millis(500);

/// One attempt that has ended, or takes long.
#[derive(Debug)]
pub struct AttemptRecord {
    /// Number of the attempt, from 1.
    pub number: u32,
    /// Time from its start to the whole answer, to a stream's header fields, or to its failure.
    pub latency: Duration,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The provider's id for the request.
    pub request_id: Option<String>,
    /// True if it has not ended.
    pub is_open: bool,
    /// The exception's class and message, or the note that the caller gave up.
    pub failure: Option<String>,
    /// Pause before the next attempt, if there is to be one.
    pub pause: Option<Duration>,
}

impl Open {
    fn is_unreported(&self) -> bool {
        !self.noted && self.begun.elapsed() > LONG
    }

    fn without_answer(&self) -> AttemptRecord {
        AttemptRecord {
            number: self.number,
            latency: self.begun.elapsed(),
            status: None,
            request_id: None,
            is_open: false,
            failure: None,
            pause: None,
        }
    }
}

impl AttemptLog {
    /// Records the start of an attempt.
    pub fn begin(&self, number: u32) {
        self.entries().open.push(Open { number, begun: Instant::now(), noted: false });
    }

    /// Records that an attempt was answered, or that its stream has begun.
    pub fn answered(&self, number: u32, status: u16, headers: &Headers, redactor: &Redactor) {
        let id = headers.request_id().map(|id| hidden(id, redactor));
        self.end(number, |number, latency| AttemptRecord {
            number,
            latency,
            status: Some(status),
            request_id: id,
            is_open: false,
            failure: None,
            pause: None,
        });
    }

    /// Records that an attempt failed, and the pause before the next one, if there is to be one.
    pub fn failed(&self, number: u32, error: &Error, pause: Option<Duration>, redactor: &Redactor) {
        let message: String = hidden(&error.message, redactor).chars().take(LONGEST_MESSAGE).collect();
        let id = error.request_id.as_deref().or_else(|| error.headers.as_ref().and_then(Headers::request_id));
        let id = id.map(|id| hidden(id, redactor));
        self.end(number, |number, latency| AttemptRecord {
            number,
            latency,
            status: error.status,
            request_id: id,
            is_open: false,
            failure: Some(format!("{}: {message}", error.kind.class_name())),
            pause,
        });
    }

    /// Takes the attempts that have ended or take long, each once.
    pub fn take(&self) -> Vec<AttemptRecord> {
        let Entries { over, open } = &mut *self.entries();
        let mut attempts = std::mem::take(over);
        let long = open.iter_mut().filter(|open| open.is_unreported());
        attempts.extend(long.map(|open| {
            open.noted = true;
            AttemptRecord { is_open: true, ..open.without_answer() }
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
        over.extend(
            open.drain(..)
                .map(|open| AttemptRecord { failure: Some("given up by its caller".into()), ..open.without_answer() }),
        );
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, number: u32, attempt: impl FnOnce(u32, Duration) -> AttemptRecord) {
        let mut entries = self.entries();
        let index = entries.open.iter().position(|open| open.number == number);
        // A stream that breaks was answered before: the second line is about the same attempt.
        let latency = index.map_or(Duration::ZERO, |index| entries.open.swap_remove(index).begun.elapsed());
        entries.over.push(attempt(number, latency));
    }
}

fn hidden(text: &str, redactor: &Redactor) -> String {
    let mut text = text.to_owned();
    redactor.hide(&mut text);
    text
}
