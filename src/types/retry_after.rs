//! Times that a server states: the pause it asks for, and the dates in its header fields.
//!
//! No clock: a date is compared with the `Date` of the same answer, so that a clock that is set wrong here does no harm.

use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use super::http::Headers;

/// Returns the pause that an answer asks for: `retry-after-ms`, or `retry-after` in seconds or as a date. `received` is the
/// Unix time in seconds at which the answer came.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>
pub fn retry_after(headers: &Headers, received: u64) -> Option<Duration> {
    let pause = ["retry-after-ms", "x-ms-retry-after-ms"]
        .into_iter()
        .find_map(|name| headers.get(name).and_then(|text| pause(text, 0.001)));
    pause.or_else(|| {
        let text = headers.get("retry-after")?;
        let from = || answered_at(headers.get("date"), received);
        self::pause(text, 1.0).or_else(|| Some(date(text)?.duration_since(from()).unwrap_or_default()))
    })
}

/// Parses a number of units of this many seconds.
fn pause(text: &str, unit: f64) -> Option<Duration> {
    let number = text.trim().parse::<f64>().ok().filter(|number| !number.is_nan())?;
    // What is too long to be written down is too long to be waited for.
    Some(Duration::try_from_secs_f64(number.max(0.0) * unit).unwrap_or(Duration::MAX))
}

/// Returns the time of an answer by its server's clock, from the `Date` field; the time at which it was received if there is
/// no such field.
pub fn answered_at(date_field: Option<&str>, received: u64) -> SystemTime {
    date_field
        .and_then(|text| httpdate::parse_http_date(text.trim()).ok())
        .or_else(|| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(received)))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Parses a date of HTTP, or one in RFC 3339.
pub fn date(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    // The form that is sent with each answer first, by a parser of its own.
    utc(text.as_bytes()).or_else(|| httpdate::parse_http_date(text).ok()).or_else(|| {
        let time = DateTime::from_str(text, Format::DateTimeWithOffset).ok()?;
        SystemTime::try_from(time).ok()
    })
}

/// Parses `2025-08-21T12:41:00Z`. The last days of a month are left to the parser that knows its length.
fn utc(text: &[u8]) -> Option<SystemTime> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'Z'] = *text else {
        return None;
    };
    let number = |digits: &[u8]| {
        let append = |all: u64, digit: &u8| digit.is_ascii_digit().then(|| all * 10 + u64::from(digit - b'0'));
        digits.iter().try_fold(0, append)
    };
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?);
    let is_date = year >= 1970 && (1..=12).contains(&month) && (1..=28).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1 March of the year 0, in years that begin with March: https://howardhinnant.github.io/date_algorithms.html
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let seconds = ((days - 719_468) * 24 + hour) * 3600 + minute * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wed, 21 Oct 2015 07:28:00 GMT.
    const RECEIVED: u64 = 1_445_412_480;

    fn asked(fields: &str) -> Option<Duration> {
        retry_after(&Headers::new(fields.to_owned().into()), RECEIVED)
    }

    #[test]
    fn every_form_of_retry_after() {
        assert_eq!(asked("retry-after: 3"), Some(Duration::from_secs(3)));
        assert_eq!(asked("Retry-After: 0.25"), Some(Duration::from_millis(250)));
        assert_eq!(asked("retry-after-ms: 1500\nretry-after: 2"), Some(Duration::from_millis(1500)));
        assert_eq!(asked("x-ms-retry-after-ms: 70"), Some(Duration::from_millis(70)));
        assert_eq!(asked("retry-after: soon"), None);
        assert_eq!(asked("retry-after-ms: soon\nretry-after: 2"), Some(Duration::from_secs(2)));
        assert_eq!(asked("retry-after: -1"), Some(Duration::ZERO));
        assert_eq!(asked("retry-after: NaN"), None);
        for absurd in ["1e999", "inf", "99999999999999999999999999"] {
            assert_eq!(asked(&format!("retry-after: {absurd}")), Some(Duration::MAX), "{absurd}");
            assert!(asked(&format!("retry-after-ms: {absurd}")) > Some(Duration::from_secs(1 << 40)), "{absurd}");
        }
    }

    #[test]
    fn a_date_is_compared_with_the_servers_own() {
        let minute = "retry-after: Wed, 21 Oct 2015 07:29:00 GMT";
        assert_eq!(asked(minute), Some(Duration::from_secs(60)));
        // The server's clock is an hour behind ours.
        let behind = "date: Wed, 21 Oct 2015 06:28:30 GMT\nretry-after: Wed, 21 Oct 2015 06:29:00 GMT";
        assert_eq!(asked(behind), Some(Duration::from_secs(30)));
        assert_eq!(asked("retry-after: Wed, 21 Oct 2015 07:27:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("date: yesterday\nretry-after: 2015-10-21T09:29:00+02:00"), Some(Duration::from_secs(60)));
        assert!(asked("retry-after: Fri, 31 Dec 9999 23:59:59 GMT") > Some(Duration::from_secs(1 << 30)));
    }

    #[test]
    fn both_parsers_read_the_same_dates() {
        let slow =
            |text: &str| SystemTime::try_from(DateTime::from_str(text, Format::DateTimeWithOffset).unwrap()).unwrap();
        for year in [1970, 1999, 2000, 2024, 2025, 2100, 9999] {
            for month in 1..=12 {
                for day in [1, 28] {
                    let text = format!("{year}-{month:02}-{day:02}T23:59:07Z");
                    assert_eq!(utc(text.as_bytes()), Some(slow(&text)), "{text}");
                }
            }
        }
        assert_eq!(date("2024-02-29T00:00:00Z"), Some(slow("2024-02-29T00:00:00Z")));
        for text in ["2025-13-01T00:00:00Z", "2025-00-01T00:00:00Z", "2025-02-30T00:00:00Z", "2025-01-01T25:00:00Z"] {
            assert_eq!(date(text), None, "{text}");
        }
    }
}
