//! Reads the header fields of an answer that tell rate limits.
//!
//! One pass over the lines finds the fields; what is not a field of the provider is not parsed.

use std::cell::OnceCell;
use std::time::{Duration, SystemTime};

use memchr::memchr_iter;
use smallvec::SmallVec;

use super::{MAX_WINDOWS, Period, Window, values};
use crate::types::http::Headers;
use crate::types::rate_limit::{Reset, WindowSignal};
use crate::types::retry_after::answered_at;

/// Values of the fields of a window, with white space around them.
#[derive(Clone, Copy, Default)]
struct Fields<'a> {
    limit: Option<&'a [u8]>,
    remaining: Option<&'a [u8]>,
    reset: Option<&'a [u8]>,
    period: Option<&'a [u8]>,
}

/// Returns the limits that an answer tells.
pub(super) fn windows(table: &[Window], headers: &Headers, received: u64) -> SmallVec<[WindowSignal; 4]> {
    let mut signals = SmallVec::new();
    if table.is_empty() {
        return signals;
    }
    let mut found = [Fields::default(); MAX_WINDOWS];
    let mut is_told = false;
    let lines = headers.lines().0;
    let mut start = 0;
    for end in memchr_iter(b'\n', lines).chain([lines.len()]) {
        let line = &lines[start..end];
        start = end + 1;
        if may_tell(line) {
            is_told |= table.iter().zip(&mut found).any(|(window, fields)| window.takes(line, fields));
        }
    }
    if is_told {
        // Most resets are no dates, and the dates of an answer are compared with the same one.
        let answered = OnceCell::new();
        let answered_at = || *answered.get_or_init(|| answered_at(headers.get("date"), received));
        for (window, fields) in table.iter().zip(&found) {
            signals.extend(window.signal(fields, answered_at));
        }
    }
    signals
}

/// Returns false if a line begins like none of the fields, which is so for most lines.
#[inline]
pub(super) fn may_tell(line: &[u8]) -> bool {
    matches!(line, [b'x' | b'X', b'-', b'r' | b'R' | b't' | b'T' | b'e' | b'E', ..] | [b'a' | b'A', b'n' | b'N', ..])
}

/// Returns the value of a line, if it is the field of this name. The colon behind it is compared first: few lines have one at
/// that place, so that few are compared at all.
#[inline]
fn value<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (field, value) = line.split_at_checked(name.len()).filter(|_| !name.is_empty())?;
    let (b':', value) = value.split_first()? else { return None };
    (field == name.as_bytes() || field.eq_ignore_ascii_case(name.as_bytes())).then_some(value)
}

impl Window {
    /// Keeps the value of a line, if it is one of the window's fields.
    fn takes<'a>(&self, line: &'a [u8], fields: &mut Fields<'a>) -> bool {
        let takes = |name, field: &mut Option<&'a [u8]>| value(line, name).map(|value| *field = Some(value)).is_some();
        takes(self.limit, &mut fields.limit)
            || takes(self.remaining, &mut fields.remaining)
            || takes(self.reset, &mut fields.reset)
            || matches!(self.period, Period::Told(told, _) if takes(told, &mut fields.period))
    }

    /// Returns what its fields tell, if they tell anything.
    fn signal(&self, fields: &Fields, answered_at: impl Fn() -> SystemTime) -> Option<WindowSignal> {
        let limit = fields.limit.and_then(values::count).filter(|limit| *limit > 0);
        // A limit of -1 or 0 stands for "not known", and so do the numbers beside it.
        if fields.limit.is_some() && limit.is_none() {
            return None;
        }
        let is_possible = |remaining: &u64| limit.is_none_or(|limit| *remaining <= limit.saturating_mul(2));
        let remaining = fields.remaining.and_then(values::count).filter(is_possible);
        let reset = fields.reset.and_then(|text| values::reset(text, &answered_at));
        if limit.is_none() && remaining.is_none() {
            return None;
        }
        let period = match self.period {
            Period::Fixed(period) => Some(period),
            Period::Told(_, default) => {
                let told = fields.period.and_then(values::count).filter(|seconds| (1..=32 * 86_400).contains(seconds));
                told.map(Duration::from_secs).or(default)
            }
            Period::Refill => refill(limit, remaining, reset),
            Period::Unknown => None,
        };
        let reset = reset.map(if self.is_full { Reset::Full } else { Reset::Some });
        Some(WindowSignal { unit: self.unit, period, limit, remaining, reset })
    }
}

/// Lengths of windows in use, in seconds.
const PERIODS: [u64; 4] = [1, 60, 3600, 86_400];

/// Returns the length of a window whose used part refills in the time `reset`, if it is near one in use.
fn refill(limit: Option<u64>, remaining: Option<u64>, reset: Option<Duration>) -> Option<Duration> {
    let (limit, remaining, reset) = (limit?, remaining?, reset?.as_secs_f64());
    let used = limit.checked_sub(remaining).filter(|used| *used > 0)?;
    let period = reset * limit as f64 / used as f64;
    // Resets are rounded to milliseconds: 17 ms for one of 3,500 requests is 59.5 s, and 1 ms for one of 30,000 is 30 s.
    let is_near = |seconds: &u64| (0.45..1.55).contains(&(period / *seconds as f64));
    PERIODS.into_iter().find(is_near).map(Duration::from_secs)
}
