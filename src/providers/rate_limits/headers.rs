//! Reads the header fields of an answer that tell rate limits.
//!
//! One pass over the lines finds the fields; what is not a field of the provider is not parsed.

use std::cell::OnceCell;
use std::time::{Duration, SystemTime};

use smallvec::SmallVec;

use super::{MAX_WINDOWS, Period, Window, values};
use crate::types::http::{Headers, field_of};
use crate::types::rate_limit::{Reset, WindowSignal};
use crate::types::retry_after::answered_at;

/// Values of the fields of a window.
#[derive(Clone, Copy, Default)]
struct Fields<'a> {
    limit: Option<&'a str>,
    remaining: Option<&'a str>,
    reset: Option<&'a str>,
    period: Option<&'a str>,
}

/// Length of the longest name in the tables.
const MAX_NAME: usize = 48;

/// Returns the limits that an answer tells.
pub(super) fn windows(table: &[Window], headers: &Headers, received: u64) -> SmallVec<[WindowSignal; 4]> {
    let mut signals = SmallVec::new();
    if table.is_empty() {
        return signals;
    }
    let mut found = [Fields::default(); MAX_WINDOWS];
    let (mut is_told, mut date) = (false, None);
    let mut lower = [0; MAX_NAME];
    for line in headers.lines() {
        // All of these fields begin with one of four letters, and few others do.
        if !matches!(line.first(), Some(b'x' | b'a' | b'd' | b'r' | b'X' | b'A' | b'D' | b'R')) {
            continue;
        }
        let Some((name, value)) = field_of(line) else { continue };
        // Lower case once, so that each comparison is one of memory.
        let Some(lower) = lower.get_mut(..name.len()) else { continue };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        if lower == b"date" {
            date = std::str::from_utf8(value).ok();
            continue;
        }
        let named = table.iter().zip(&mut found).find_map(|(window, fields)| window.field(lower, fields));
        if let Some(field) = named {
            *field = std::str::from_utf8(value).ok();
            is_told = true;
        }
    }
    if is_told {
        // Most resets are no dates, and the dates of an answer are compared with the same one.
        let answered = OnceCell::new();
        let answered_at = || *answered.get_or_init(|| answered_at(date, received));
        signals.extend(table.iter().zip(&found).filter_map(|(window, fields)| window.signal(fields, answered_at)));
    }
    signals
}

impl Window {
    /// Returns the place of the field with this name, if it is one of the window's.
    fn field<'f, 'a>(&self, name: &[u8], fields: &'f mut Fields<'a>) -> Option<&'f mut Option<&'a str>> {
        match name {
            name if name == self.limit.as_bytes() => Some(&mut fields.limit),
            name if name == self.remaining.as_bytes() => Some(&mut fields.remaining),
            name if name == self.reset.as_bytes() => Some(&mut fields.reset),
            name if matches!(self.period, Period::Told(told, _) if name == told.as_bytes()) => Some(&mut fields.period),
            _ => None,
        }
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
