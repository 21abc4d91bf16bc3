//! What a call's attempts came to, for its caller's log.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::types::http::Headers;
use crate::types::redact::Redactor;

/// A provider's message may be this many characters.
const LONGEST_MESSAGE: usize = 300;

/// The attempts of one call.
#[derive(Debug, Default)]
pub struct AttemptLog(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    over: Vec<Attempt>,
    /// Under way.
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    number: u32,
    begun: Instant,
    /// It has been said that it takes long.
    noted: bool,
}

/// An attempt that takes longer is written down before it is over: where a call hangs, its log says so meanwhile.
const LONG: Duration = Duration::from_millis(500);

/// One attempt that is over, or takes long.
#[derive(Debug)]
pub struct Attempt {
    /// Counted from 1.
    pub number: u32,
    /// From its beginning to the whole answer, to a stream's headers, or to its failure.
    pub latency: Duration,
    /// HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The provider's id for the request.
    pub request_id: Option<String>,
    /// It goes on.
    pub is_open: bool,
    /// The exception's class and message, or that it was given up.
    pub failure: Option<String>,
    /// After how long there is to be another.
    pub pause: Option<Duration>,
}

impl Open {
    fn is_news(&self) -> bool {
        !self.noted && self.begun.elapsed() > LONG
    }

    fn without_answer(&self) -> Attempt {
        Attempt {
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
    /// An attempt begins.
    pub fn begin(&self, number: u32) {
        self.entries().open.push(Open { number, begun: Instant::now(), noted: false });
    }

    /// It was answered, or its stream has begun.
    pub fn answered(&self, number: u32, status: u16, headers: &Headers, redactor: &Redactor) {
        let id = headers.request_id().map(|id| hidden(id, redactor));
        self.end(number, |number, latency| Attempt {
            number,
            latency,
            status: Some(status),
            request_id: id,
            is_open: false,
            failure: None,
            pause: None,
        });
    }

    /// It failed, and there is to be another after the `pause`, if there is one.
    pub fn failed(&self, number: u32, error: &Error, pause: Option<Duration>, redactor: &Redactor) {
        let message: String = hidden(&error.message, redactor).chars().take(LONGEST_MESSAGE).collect();
        let id = error.request_id.as_deref().or_else(|| error.headers.as_ref().and_then(Headers::request_id));
        let id = id.map(|id| hidden(id, redactor));
        self.end(number, |number, latency| Attempt {
            number,
            latency,
            status: error.status,
            request_id: id,
            is_open: false,
            failure: Some(format!("{}: {message}", error.kind.class_name())),
            pause,
        });
    }

    /// What is over, or takes long, and was not taken before.
    pub fn take(&self) -> Vec<Attempt> {
        let Entries { over, open } = &mut *self.entries();
        let mut news = std::mem::take(over);
        let long = open.iter_mut().filter(|open| open.is_news());
        news.extend(long.map(|open| {
            open.noted = true;
            Attempt { is_open: true, ..open.without_answer() }
        }));
        news
    }

    /// Whether there is something to take.
    pub fn has_news(&self) -> bool {
        let Entries { over, open } = &*self.entries();
        !over.is_empty() || open.iter().any(Open::is_news)
    }

    /// The caller wants no answer any more: whatever is under way ends here.
    pub fn give_up(&self) {
        let Entries { over, open } = &mut *self.entries();
        over.extend(
            open.drain(..)
                .map(|open| Attempt { failure: Some("given up by its caller".into()), ..open.without_answer() }),
        );
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, number: u32, attempt: impl FnOnce(u32, Duration) -> Attempt) {
        let mut entries = self.entries();
        let permit = entries.open.iter().position(|open| open.number == number);
        // A stream that breaks was answered before: the second line is about the same attempt.
        let latency = permit.map_or(Duration::ZERO, |permit| entries.open.swap_remove(permit).begun.elapsed());
        entries.over.push(attempt(number, latency));
    }
}

fn hidden(text: &str, redactor: &Redactor) -> String {
    let mut text = text.to_owned();
    redactor.hide(&mut text);
    text
}
