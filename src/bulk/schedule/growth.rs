//! Number of calls in flight that is worth having: it grows for as long as more of them get more rows done.

use std::time::Duration;

use super::Time;

/// Number of calls in flight to begin with. Most providers take that many, and the limits of the others are learnt.
const FIRST: usize = 64;
/// Number above which it does not grow: each call in flight takes a connection to most servers.
const MOST: usize = 4096;
/// Shortest time over which the rows are counted.
const SHORTEST: Duration = Duration::from_millis(500);
/// Longest time over which the rows are counted.
const LONGEST: Duration = Duration::from_secs(60);
/// Part by which the rate has to grow with a number that is half as large again.
const GAIN: f64 = 1.1;
/// Part of the number that has to be in flight on average, so that a larger one may help.
const FULL: f64 = 0.7;
/// Number of measurements after which a larger number is tried again.
const HOLD: u32 = 20;

/// Finds the number of calls in flight.
#[derive(Debug)]
pub(super) struct Growth {
    allowed: usize,
    is_fixed: bool,
    /// Start of the measurement.
    since: Time,
    /// Rows that were done, and the sum of their latencies, since then.
    done: u64,
    latencies: Duration,
    /// Mean latency before.
    latency: Duration,
    /// True if no call waited for its quota whenever that was looked at.
    was_full: bool,
    /// Number before the last change, and the rate that it reached.
    before: Option<(usize, f64)>,
    hold: u32,
}

impl Growth {
    pub fn new(fixed: Option<usize>) -> Self {
        Self {
            allowed: fixed.unwrap_or(FIRST).max(1),
            is_fixed: fixed.is_some(),
            since: Time::ZERO,
            done: 0,
            latencies: Duration::ZERO,
            latency: Duration::ZERO,
            was_full: true,
            before: None,
            hold: 0,
        }
    }

    pub fn allowed(&self) -> usize {
        self.allowed
    }

    /// Counts a row that was answered.
    pub fn completed(&mut self, now: Time, started: Time) {
        self.done += 1;
        self.latencies += now.saturating_sub(started);
    }

    /// Looks whether a measurement is over. Returns the time of its end.
    pub fn tick(&mut self, now: Time, waiting: usize) -> Option<Time> {
        if self.is_fixed {
            return None;
        }
        let end = self.since + (3 * self.latency).clamp(SHORTEST, LONGEST);
        if now < end {
            // Those that wait for a quota show that this is what limits them.
            self.was_full &= waiting == 0;
            return Some(end);
        }
        let time = now.saturating_sub(self.since).as_secs_f64();
        let rate = self.done as f64 / time;
        // Little's law: the mean number in flight is the rate times the latency.
        let mean = self.latencies.as_secs_f64() / time;
        let is_full = self.was_full && mean >= FULL * self.allowed as f64;
        if self.done > 0 {
            self.latency = self.latencies / u32::try_from(self.done).unwrap_or(u32::MAX);
        }
        self.hold = self.hold.saturating_sub(1);
        if self.done >= self.allowed as u64 && is_full && self.hold == 0 {
            match self.before {
                Some((before, rate_before)) if rate < GAIN * rate_before => {
                    self.allowed = before;
                    self.before = None;
                    self.hold = HOLD;
                }
                _ if self.allowed < MOST => {
                    self.before = Some((self.allowed, rate));
                    self.allowed = (self.allowed * 3 / 2).min(MOST);
                }
                _ => {}
            }
        }
        if self.done >= self.allowed as u64 || !is_full {
            (self.since, self.done, self.latencies, self.was_full) = (now, 0, Duration::ZERO, true);
        }
        Some((self.since + (3 * self.latency).clamp(SHORTEST, LONGEST)).max(now + SHORTEST))
    }
}
