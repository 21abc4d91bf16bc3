//! Rate limits as each provider tells them, in normalised form.
//!
//! - [`table`]: the header fields and token rules of each provider, as data; [`page`] writes `docs/rate-limits.md` from it
//! - [`headers`]: reads the header fields of an answer
//! - [`bodies`]: reads the bodies of refusals
//! - [`failures`]: the class of a failure
//! - [`pause`]: the pause that a refusal asks for
//! - [`values`]: numbers, durations and dates in header fields

mod bodies;
mod failures;
mod headers;
#[cfg(test)]
mod page;
mod pause;
pub(super) mod table;
#[cfg(test)]
mod tests;
mod values;

use std::time::Duration;

pub use self::failures::failure_class;
pub(super) use self::pause::{in_message, pause};
use super::Row;
use crate::error::{Error, ErrorKind};
use crate::types::http::Headers;
use crate::types::rate_limit::{Refused, Signals, TokenRules, Unit};

/// Rate limits of a provider: its header fields, and how it counts tokens.
#[derive(Debug)]
pub struct RateLimits {
    /// Limits that its answers tell in header fields. A provider without any costs nothing here.
    pub windows: &'static [Window],
    /// How it counts the tokens of a call.
    pub tokens: TokenRules,
    /// Addresses of the documentation, or of a recorded answer, that say so.
    pub sources: &'static [&'static str],
}

/// Header fields of one limit.
#[derive(Debug)]
pub struct Window {
    /// Dimension of the limit.
    pub unit: Unit,
    /// Length of the window.
    pub period: Period,
    /// Name of the field with the limit, in lower case; empty if there is none.
    pub limit: &'static str,
    /// Name of the field with what is left of it.
    pub remaining: &'static str,
    /// Name of the field with the time at which there is more: as a duration, in seconds, or as a date in any form.
    pub reset: &'static str,
    /// True if `reset` is the time to the full limit.
    pub is_full: bool,
}

/// Length of a window.
#[derive(Debug, Clone, Copy)]
pub enum Period {
    /// It is documented.
    Fixed(Duration),
    /// A field tells it, in seconds; the default for an answer without that field.
    Told(&'static str, Option<Duration>),
    /// It depends on the account, and follows from the time in which the used part of the limit refills: a reset of 8.64 s
    /// after one request of 10,000 is a day, one of 6 ms a minute.
    Refill,
    /// It is not documented.
    Unknown,
}

/// Number of windows of the provider that tells most.
const MAX_WINDOWS: usize = 6;

/// Returns what the header fields of an answer say.
pub(super) fn signals(row: &Row, headers: &Headers, received: u64) -> Signals {
    Signals { windows: headers::windows(row.rate_limits.windows, headers, received), ..Signals::default() }
}

/// Returns the class of a failure, and what its answer says, if there is one.
pub(super) fn failure_signals(row: &Row, error: &Error, received: u64) -> Signals {
    let mut signals = error.headers.as_ref().map(|headers| signals(row, headers, received)).unwrap_or_default();
    signals.retry_after = error.retry_after;
    signals.failure = Some(failure_class(error));
    signals.refused = match error.kind {
        ErrorKind::PermissionDenied => Some(Refused::Access),
        ErrorKind::NotFound => Some(Refused::Model),
        ErrorKind::Authentication => Some(Refused::Key),
        _ => None,
    };
    bodies::read(row, received, error, &mut signals);
    signals
}
