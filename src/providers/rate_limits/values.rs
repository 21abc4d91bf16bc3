//! Numbers, durations and dates in header fields. What cannot be parsed or is absurd is `None`.

use std::time::{Duration, SystemTime};

use crate::types::retry_after::date;

/// Longest time to a reset that is believed: limits of a month are the longest there are.
const MAX_RESET: Duration = Duration::from_secs(32 * 86_400);

/// Largest number of requests or tokens that is believed.
const MAX_COUNT: f64 = 1e15;

/// Parses a number of requests or tokens; some hosts write them with a fraction.
pub(super) fn count(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    if let Some(number) = digits(text) {
        return Some(number);
    }
    let text = std::str::from_utf8(text).ok()?;
    let number: f64 = match text.parse::<u64>() {
        Ok(number) => return ((number as f64) <= MAX_COUNT).then_some(number),
        Err(_) => text.parse().ok()?,
    };
    (0.0..=MAX_COUNT).contains(&number).then_some(number as u64)
}

/// Parses the time to a reset: a duration as Go writes it (`6m0s`, `1.5s`, `20ms`), a number of seconds, or a date: seconds
/// or milliseconds since 1970, or a text. A date is compared with the answer's own, which `answered_at` returns.
pub(super) fn reset(text: &[u8], answered_at: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let until = |date: SystemTime| date.duration_since(answered_at()).unwrap_or_default();
    let since_1970 = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(seconds).ok()?);
    // A unit is behind the number of most, which is then none.
    let number = if text.ends_with('s') { None } else { text.parse::<f64>().ok() };
    let reset = match number {
        // A thousand million seconds is September 2001.
        Some(number) if number >= 1e16 => return None,
        Some(number) if number >= 1e11 => until(since_1970(number / 1000.0)?),
        Some(number) if number >= 1e9 => until(since_1970(number)?),
        Some(number) => Duration::try_from_secs_f64(number).ok()?,
        None => match duration(text) {
            Some((reset, "")) => reset,
            _ => until(date(text)?),
        },
    };
    (reset <= MAX_RESET).then_some(reset)
}

/// Number of decimal digits that a `f64` holds exactly.
const EXACT: usize = 15;

/// Returns the number that a text of digits alone stands for; `None` if there are too many to be exact. All hosts but a few
/// write such numbers, and none of them is absurd.
fn digits(text: &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for byte in text.get(..=EXACT).unwrap_or(text) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    (1..=EXACT).contains(&text.len()).then_some(number)
}

/// Parses the number that a text begins with, without a sign or an exponent, and returns it with the rest of the text.
fn number(text: &str) -> Option<(f64, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit() && byte != b'.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    // Most have no fraction, for which the parser of fractions is slow.
    let number = match digits(number.as_bytes()) {
        Some(number) => number as f64,
        None => number.parse().ok()?,
    };
    Some((number, rest))
}

/// Units of time, the most frequent first.
const UNITS: &[(&str, f64)] = &[
    ("s", 1.0),
    ("ms", 1e-3),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86_400.0),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ns", 1e-9),
    ("seconds", 1.0),
    ("second", 1.0),
    ("secs", 1.0),
    ("sec", 1.0),
    ("minutes", 60.0),
    ("minute", 60.0),
    ("mins", 60.0),
    ("min", 60.0),
    ("hours", 3600.0),
    ("hour", 3600.0),
    ("days", 86_400.0),
    ("day", 86_400.0),
    ("milliseconds", 1e-3),
];

/// Parses the duration that a text begins with (`7m12s`, `2m 13s`, `20 seconds`), and returns it with the rest of the text.
/// Each number has its unit.
pub(super) fn duration(text: &str) -> Option<(Duration, &str)> {
    let (mut seconds, mut rest) = (None, text);
    while let Some((number, after)) = number(rest.trim_start()) {
        let word = after.trim_start();
        // A unit ends before a digit or a mark: `m` is no part of `ms`, and `mo` is none.
        let is_end = |after: &&str| !after.starts_with(char::is_alphabetic);
        let unit = UNITS.iter().find_map(|(name, unit)| Some((word.strip_prefix(name).filter(is_end)?, unit)));
        let Some((after, unit)) = unit else { break };
        seconds = Some(seconds.unwrap_or(0.0) + number * unit);
        rest = after;
    }
    Some((Duration::try_from_secs_f64(seconds?).ok()?, rest))
}
