//! Decides after each attempt of a call whether to repeat it, and after which pause.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind};
use crate::providers::failure_class;
use crate::types::rate_limit::FailureClass;

/// Longest first pause; each further one may be twice as long.
const BASE: Duration = Duration::from_millis(500);
/// Longest pause that a provider has not asked for.
const CAP: Duration = Duration::from_secs(8);
/// Default of the longest pause that a provider may ask for.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// An event in the life of a call.
#[derive(Debug)]
pub enum Event {
    /// The call has started.
    Started,
    /// An attempt has failed.
    Failed(Box<Error>),
    /// The pause that was decided on is over.
    Waited,
}

/// The next step of a call.
#[derive(Debug)]
pub enum Decision {
    /// Make an attempt.
    Attempt,
    /// Make a pause because of this error.
    Wait(Duration, Box<Error>),
    /// Give the error to the caller.
    Fail(Box<Error>),
}

/// A state machine that decides on repetition. It does no I/O and reads no clock.
pub trait Decide {
    /// Takes an event that happened at `now`, and returns the next step.
    fn next(&mut self, now: Instant, event: Event) -> Decision;
}

/// The decisions for one deployment: exponential back-off up to a number of retries, within a deadline.
#[derive(Debug)]
pub struct Retry {
    /// Number of attempts made after the first.
    pub retries: u32,
    /// Maximum of `retries`.
    pub max_retries: u32,
    /// Longest pause that a provider may ask for; a longer one fails the call.
    pub max_retry_after: Duration,
    /// Total deadline, if there is one.
    pub end: Option<Instant>,
    /// True if attempts wait for a quota, which a refusal by a rate limit pauses: the call then makes no pause of its own, and
    /// uses up no retry.
    pub waits_for_quota: bool,
    /// Number of retries that do not count.
    pub uncounted: u32,
    /// Returns a number between 0 and 1, for jitter.
    pub random: fn() -> f64,
}

impl Decide for Retry {
    fn next(&mut self, now: Instant, event: Event) -> Decision {
        match event {
            Event::Started => Decision::Attempt,
            Event::Waited => {
                self.retries += 1;
                Decision::Attempt
            }
            Event::Failed(error) => match self.pause(now, &error) {
                Some(pause) => Decision::Wait(pause, error),
                None => Decision::Fail(error),
            },
        }
    }
}

impl Retry {
    /// Returns the pause before the next attempt, or `None` if there is to be none.
    ///
    /// Without a word from the provider: exponential back-off, capped, with full jitter.
    fn pause(&mut self, now: Instant, error: &Error) -> Option<Duration> {
        if !is_retryable(error) {
            return None;
        }
        let is_paused_by_quota =
            self.waits_for_quota && matches!(failure_class(error), FailureClass::Rate | FailureClass::DayQuota);
        if !is_paused_by_quota && self.retries - self.uncounted >= self.max_retries {
            return None;
        }
        let pause = match error.retry_after {
            Some(asked) if asked > self.max_retry_after => return None,
            Some(asked) => asked,
            None if is_paused_by_quota => Duration::ZERO,
            None => {
                let longest = BASE.saturating_mul(1u32.checked_shl(self.retries).unwrap_or(u32::MAX)).min(CAP);
                longest.mul_f64((self.random)())
            }
        };
        // A pause that ends after the deadline would only turn this error into a less telling one.
        let fits = self.end.is_none_or(|end| pause < end.saturating_duration_since(now));
        if fits && is_paused_by_quota {
            self.uncounted += 1;
            return Some(Duration::ZERO);
        }
        fits.then_some(pause)
    }
}

/// Returns true if the same request may succeed when it is sent again.
///
/// The provider's own word (`x-should-retry`) takes precedence; otherwise this follows from the class of the failure.
pub fn is_retryable(error: &Error) -> bool {
    if let Some(word) = error.should_retry {
        return word;
    }
    // An answer that could not be read was paid for.
    if error.kind == ErrorKind::ApiResponseValidation {
        return false;
    }
    match failure_class(error) {
        FailureClass::Rate | FailureClass::Overload | FailureClass::Transient => true,
        // A day is not waited for, but the rest of one may be short.
        FailureClass::DayQuota => error.retry_after.is_some(),
        FailureClass::QuotaFatal | FailureClass::Auth | FailureClass::BadRequest => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(retries: u32, max_retries: u32) -> Retry {
        Retry {
            retries,
            max_retries,
            max_retry_after: MAX_RETRY_AFTER,
            end: None,
            waits_for_quota: false,
            uncounted: 0,
            random: || 1.0,
        }
    }

    fn pause(error: &Error, retry: Retry, remaining: Option<Duration>) -> Option<Duration> {
        let now = Instant::now();
        Retry { end: remaining.map(|remaining| now + remaining), ..retry }.pause(now, error)
    }

    fn failed(status: u16) -> Box<Error> {
        Error::new(ErrorKind::from_status(status), "")
    }

    /// Every status and every kind of error, against `retry_decisions.txt`.
    #[test]
    fn every_decision_is_written_down() {
        let decision = |error: &Error| {
            let repeated = if is_retryable(error) { "repeated" } else { "not repeated" };
            format!("{} {repeated}", error.kind.class_name())
        };
        let mut lines: Vec<(u16, u16, String)> = Vec::new();
        for status in 100..600 {
            let decided = decision(&failed(status));
            match lines.last_mut() {
                Some((_, last, same)) if *same == decided => *last = status,
                _ => lines.push((status, status, decided)),
            }
        }
        let mut found = String::new();
        for (first, last, decided) in lines {
            let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
            found += &format!("{range} {decided}\n");
        }
        for kind in KINDS {
            found += &format!("{kind:?} {}\n", decision(&Error::new(kind, "")));
        }
        assert_eq!(found, include_str!("retry_decisions.txt"), "found:\n{found}");
    }

    const KINDS: [ErrorKind; 18] = [
        ErrorKind::InvalidArgument,
        ErrorKind::UnsupportedParams,
        ErrorKind::BadRequest,
        ErrorKind::ContextWindowExceeded,
        ErrorKind::ContentPolicyViolation,
        ErrorKind::Authentication,
        ErrorKind::PermissionDenied,
        ErrorKind::NotFound,
        ErrorKind::Conflict,
        ErrorKind::UnprocessableEntity,
        ErrorKind::RateLimit,
        ErrorKind::Timeout,
        ErrorKind::ApiConnection,
        ErrorKind::InternalServer,
        ErrorKind::ServiceUnavailable,
        ErrorKind::ApiResponseValidation,
        ErrorKind::IncompleteStream,
        ErrorKind::Internal,
    ];

    #[test]
    fn the_providers_word_goes_first() {
        let mut error = failed(500);
        error.should_retry = Some(false);
        assert!(!is_retryable(&error));
        let mut error = failed(400);
        error.should_retry = Some(true);
        assert!(is_retryable(&error));
        let mut error = failed(429);
        error.code = Some("insufficient_quota".into());
        assert!(!is_retryable(&error));
    }

    #[test]
    fn events_lead_to_attempts_pauses_and_a_failure() {
        let (mut retry, now) = (retry(0, 1), Instant::now());
        assert!(matches!(retry.next(now, Event::Started), Decision::Attempt));
        let Decision::Wait(pause, error) = retry.next(now, Event::Failed(failed(503))) else { panic!("one retry") };
        assert_eq!((pause, error.kind, retry.retries), (BASE, ErrorKind::ServiceUnavailable, 0));
        assert!(matches!(retry.next(now, Event::Waited), Decision::Attempt));
        assert_eq!(retry.retries, 1);
        assert!(matches!(retry.next(now, Event::Failed(failed(503))), Decision::Fail(_)));
    }

    #[test]
    fn pauses_grow_are_capped_and_jittered() {
        let error = failed(503);
        let pauses: Vec<u64> =
            (0..8).map(|retries| pause(&error, retry(retries, 99), None).unwrap().as_millis() as u64).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 8000, 8000, 8000]);
        assert_eq!(pause(&error, Retry { random: || 0.0, ..retry(0, 99) }, None), Some(Duration::ZERO));
        assert_eq!(pause(&error, retry(2, 2), None), None);
    }

    #[test]
    fn a_refusal_that_pauses_a_quota_uses_up_no_retry() {
        let now = Instant::now();
        let mut limited = Retry { waits_for_quota: true, end: Some(now + Duration::from_secs(10)), ..retry(0, 1) };
        for _ in 0..100 {
            let Decision::Wait(pause, _) = limited.next(now, Event::Failed(failed(429))) else { panic!("no limit") };
            assert_eq!(pause, Duration::ZERO);
            assert!(matches!(limited.next(now, Event::Waited), Decision::Attempt));
        }
        assert!(matches!(limited.next(now, Event::Failed(failed(503))), Decision::Wait(..)));
        assert!(matches!(limited.next(now, Event::Waited), Decision::Attempt));
        assert_eq!(limited.retries, 101);
        assert!(matches!(limited.next(now, Event::Failed(failed(503))), Decision::Fail(_)));
        // The quota waits as long as the provider asks for; the call must not end before.
        let mut error = failed(429);
        error.retry_after = Some(Duration::from_secs(11));
        assert!(matches!(limited.next(now, Event::Failed(error)), Decision::Fail(_)));
    }

    #[test]
    fn a_pause_fits_into_the_deadline() {
        let mut error = failed(429);
        error.retry_after = Some(Duration::from_secs(5));
        assert_eq!(pause(&error, retry(0, 2), Some(Duration::from_secs(6))), Some(Duration::from_secs(5)));
        assert_eq!(pause(&error, retry(0, 2), Some(Duration::from_secs(5))), None);
        error.retry_after = Some(Duration::from_secs(3600));
        assert_eq!(pause(&error, retry(0, 2), None), None);
        // As long as the caller is ready to wait.
        let patient =
            |remaining| pause(&error, Retry { max_retry_after: Duration::from_secs(3600), ..retry(0, 2) }, remaining);
        assert_eq!(patient(None), error.retry_after);
        assert_eq!(patient(Some(Duration::from_secs(3599))), None);
    }
}
