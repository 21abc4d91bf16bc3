//! Which failures are worth repeating, and after how long a pause.

use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::types::http::Headers;

/// The first pause is at most this; each further one may be twice as long.
const BASE: Duration = Duration::from_millis(500);
/// No pause of our own choosing is longer.
const CAP: Duration = Duration::from_secs(8);
/// A provider that asks for a longer pause than this is not waited for, if the caller does not say otherwise.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// How a call stands when a try of it has failed.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// So many there were.
    pub done: u32,
    /// So many there may be.
    pub max: u32,
    /// A provider that asks for a longer pause is not waited for.
    pub max_retry_after: Duration,
    /// What is left of the total deadline; `None`: there is none.
    pub remaining: Option<Duration>,
}

/// Whether a failure may pass when the same request is sent again.
///
/// The provider's own word (`x-should-retry`) goes first. A quota that is used up does not refill by waiting.
pub fn is_retryable(error: &Error) -> bool {
    if let Some(word) = error.should_retry {
        return word;
    }
    match error.kind {
        ErrorKind::RateLimit => error.code.as_deref() != Some("insufficient_quota"),
        ErrorKind::Timeout
        | ErrorKind::ApiConnection
        | ErrorKind::InternalServer
        | ErrorKind::ServiceUnavailable
        | ErrorKind::Conflict => true,
        // A stream that broke off; the client repeats it only while nothing of it was delivered.
        ErrorKind::IncompleteStream => true,
        _ => false,
    }
}

/// The pause before the next try, or `None` when there is to be none.
///
/// `chance` is between 0 and 1.
/// Without a word from the provider: exponential back-off, capped, with full jitter.
pub fn pause(error: &Error, retries: Retries, chance: f64) -> Option<Duration> {
    let Retries { done, max, max_retry_after, remaining } = retries;
    if done >= max || !is_retryable(error) {
        return None;
    }
    let pause = match error.retry_after {
        Some(asked) if asked > max_retry_after => return None,
        Some(asked) => asked,
        None => BASE.saturating_mul(1u32.checked_shl(done).unwrap_or(u32::MAX)).min(CAP).mul_f64(chance),
    };
    // A pause that ends after the deadline would only turn this error into a less telling one.
    remaining.is_none_or(|left| pause < left).then_some(pause)
}

/// What the provider asks for in `retry-after-ms` or `retry-after` (seconds, or a date).
///
/// <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>
pub fn retry_after(headers: &Headers) -> Option<Duration> {
    let seconds = |text: &str, unit: f64| {
        let number = text.trim().parse::<f64>().ok().filter(|number| !number.is_nan())?;
        // What is too long to be written down is too long to be waited for.
        Some(Duration::try_from_secs_f64(number.max(0.0) * unit).unwrap_or(Duration::MAX))
    };
    if let Some(pause) = headers.get("retry-after-ms").and_then(|text| seconds(text, 0.001)) {
        return Some(pause);
    }
    let text = headers.get("retry-after")?;
    seconds(text, 1.0).or_else(|| {
        let date = httpdate::parse_http_date(text.trim()).ok()?;
        Some(date.duration_since(std::time::SystemTime::now()).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> Headers {
        let mut map = http::HeaderMap::new();
        map.insert(name, value.parse().unwrap());
        Headers::from(&map)
    }

    fn pause(error: &Error, done: u32, max: u32, remaining: Option<Duration>, chance: f64) -> Option<Duration> {
        super::pause(error, Retries { done, max, max_retry_after: MAX_RETRY_AFTER, remaining }, chance)
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
    fn pauses_grow_are_capped_and_jittered() {
        let error = failed(503);
        let pauses: Vec<u64> =
            (0..8).map(|retries| pause(&error, retries, 99, None, 1.0).unwrap().as_millis() as u64).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 8000, 8000, 8000]);
        assert_eq!(pause(&error, 0, 99, None, 0.0), Some(Duration::ZERO));
        assert_eq!(pause(&error, 2, 2, None, 1.0), None);
    }

    #[test]
    fn a_pause_fits_into_the_deadline() {
        let mut error = failed(429);
        error.retry_after = Some(Duration::from_secs(5));
        assert_eq!(pause(&error, 0, 2, Some(Duration::from_secs(6)), 1.0), Some(Duration::from_secs(5)));
        assert_eq!(pause(&error, 0, 2, Some(Duration::from_secs(5)), 1.0), None);
        error.retry_after = Some(Duration::from_secs(3600));
        assert_eq!(pause(&error, 0, 2, None, 1.0), None);
        // As long as the caller is ready to wait.
        let patient = |remaining| {
            let retries = Retries { done: 0, max: 2, max_retry_after: Duration::from_secs(3600), remaining };
            super::pause(&error, retries, 1.0)
        };
        assert_eq!(patient(None), error.retry_after);
        assert_eq!(patient(Some(Duration::from_secs(3599))), None);
    }

    #[test]
    fn every_form_of_retry_after() {
        assert_eq!(retry_after(&headers("retry-after", "3")), Some(Duration::from_secs(3)));
        assert_eq!(retry_after(&headers("retry-after", "0.25")), Some(Duration::from_millis(250)));
        assert_eq!(retry_after(&headers("retry-after-ms", "1500")), Some(Duration::from_millis(1500)));
        assert_eq!(retry_after(&headers("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")), Some(Duration::ZERO));
        let soon = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(30));
        let asked = retry_after(&headers("retry-after", &soon)).unwrap();
        assert!(asked > Duration::from_secs(25) && asked <= Duration::from_secs(30));
        assert_eq!(retry_after(&headers("retry-after", "soon")), None);
        assert_eq!(retry_after(&headers("retry-after", "-1")), Some(Duration::ZERO));
        assert_eq!(retry_after(&headers("retry-after", "NaN")), None);
        for absurd in ["1e999", "inf", "99999999999999999999999999"] {
            assert_eq!(retry_after(&headers("retry-after", absurd)), Some(Duration::MAX), "{absurd}");
            assert_eq!(
                retry_after(&headers("retry-after-ms", absurd)).map(|pause| pause > MAX_RETRY_AFTER),
                Some(true)
            );
        }
        let far = retry_after(&headers("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")).unwrap();
        assert!(far > MAX_RETRY_AFTER);
    }
}
