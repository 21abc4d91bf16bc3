//! When the windows of a server open: their length, and the time of the last opening as far as it is known.

use bytemuck::{Pod, Zeroable};

/// Lengths of windows that providers use, in seconds.
const USUAL_PERIODS: [f64; 4] = [1.0, 6.0, 10.0, 60.0];

/// Time that a window is at most, in seconds, and the longest time between two openings that is taken for one of unusual length.
pub(super) const LONGEST: f64 = 60.0;
pub(super) const LONGEST_UNUSUAL: f64 = 40.0;

/// Time by which requests may be earlier or later on their way than others, in seconds.
const JITTER: f64 = 0.03;

/// Time by which a `Retry-After` may be too long, in seconds: it is often in whole ones.
const ROUNDED: f64 = 1.0;

/// Part of a window, and time in seconds, for which an opening that is overdue is looked for.
const OVERDUE: (f64, f64) = (0.3, 1.5);

/// Number of openings after which the length of a window will not become more certain.
const ATTEMPTS: f64 = 4.0;

/// Openings of windows, in seconds. All zero is a fresh state.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Openings {
    /// Length of a window; 0 if it is not known.
    period: f64,
    /// Number of openings since it is only a guess; 0 if they agree with it.
    unsure: f64,
    /// Time of the last opening, or of the begin: after `from`, and at `at` at the latest.
    from: f64,
    at: f64,
    /// The same of the opening before; 0 if there is none.
    from_before: f64,
    at_before: f64,
    /// Time since which all is refused; 0 if it is not.
    closed: f64,
    /// Time of the last request that was refused.
    refused: f64,
}

/// An opening, and what is known of the window that was used up before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    /// Time of the opening, and time since the one before.
    pub(super) at: f64,
    pub(super) since: f64,
    /// Length of a window.
    pub(super) period: f64,
    /// Time before it in which it may have been.
    pub(super) unseen: f64,
    /// True if it is the first one, so that the length is a guess.
    pub(super) first: bool,
}

impl Openings {
    /// Forgets the openings, but not the length of a window.
    pub(super) fn begin(&mut self, now: f64) {
        *self = Self { period: self.period, unsure: self.unsure, from: now, at: now, ..Self::zeroed() };
    }

    /// Notes that the request which was sent at this time was refused.
    pub(super) fn refused(&mut self, at: f64) {
        self.refused = self.refused.max(at);
    }

    /// Notes that all is refused from now on.
    pub(super) fn close(&mut self, now: f64) {
        if self.closed <= 0.0 {
            self.closed = now;
        }
    }

    /// Returns the time for which all was refused until a request was taken, and forgets it.
    pub(super) fn reopen(&mut self, taken: f64) -> f64 {
        let closed = if self.closed > 0.0 { taken - self.closed } else { 0.0 };
        self.closed = 0.0;
        closed
    }

    /// Returns true if another opening soon would tell how long a window is. A guess of the longest is not worth the wait.
    pub(super) fn is_open(&self) -> bool {
        self.unsure > 0.0 && self.unsure < ATTEMPTS && self.period < LONGEST
    }

    /// Takes the first request that was taken after a time in which all was refused. `told` says that the provider told when,
    /// `is_sliding` that the window seems to be any minute.
    pub(super) fn opened(&mut self, taken: f64, closed: f64, told: bool, is_sliding: bool) -> Opening {
        let first = self.period <= 0.0;
        let mut from = self.refused.min(taken);
        if told {
            from = from.max(taken - ROUNDED);
        }
        let mut at = taken;
        let since = at - self.at;
        let slack = ((at - from) + JITTER, (self.at - self.from) + JITTER);
        let fits = |period: f64| {
            let count = ((since - slack.0) / period).ceil().max(1.0);
            period > closed && count * period <= since + slack.1
        };
        if is_sliding {
            (self.period, self.unsure) = (LONGEST, ATTEMPTS);
        } else if first {
            // Of the window in which the first refusals came the beginning is not known. A guess that is wrong is mended by the
            // next opening.
            self.period = USUAL_PERIODS.into_iter().find(|&period| period > 1.25 * closed).unwrap_or(LONGEST);
            self.unsure = 1.0;
        } else if self.unsure > 0.0 || !fits(self.period) {
            let is_sure = |period: f64| fits(period) && slack.0 + slack.1 < 0.6 * period;
            match USUAL_PERIODS.into_iter().rev().find(|&period| is_sure(period)) {
                Some(period) => (self.period, self.unsure) = (period, 0.0),
                // Of no usual length, but of the same one twice.
                None if self.unsure > 0.0 && is_sure(self.period) => self.unsure = 0.0,
                None if since > 0.5 && since < LONGEST_UNUSUAL => {
                    (self.period, self.unsure) = (since, self.unsure + 1.0);
                }
                None => (self.period, self.unsure) = (LONGEST, self.unsure + 1.0),
            }
        }
        if !first && self.unsure == 0.0 {
            // Both say when windows open.
            let passed = (since / self.period).round().max(1.0) * self.period;
            let (earliest, latest) = (self.from + passed - JITTER, self.at + passed + JITTER);
            if from.max(earliest) < at.min(latest) {
                (from, at) = (from.max(earliest), at.min(latest));
            }
        }
        (self.from_before, self.at_before) = (self.from, self.at);
        (self.from, self.at) = (from, at);
        Opening { at, since, period: self.period, unseen: slack.0 - JITTER, first }
    }

    /// Takes back that a window has opened, if it has been used up again at once: something small still fitted. Returns whether
    /// it did.
    pub(super) fn withdraw(&mut self, now: f64) -> bool {
        if self.at_before <= 0.0 || now - self.at >= 0.1 * (self.at - self.at_before) {
            return false;
        }
        (self.from, self.at) = (self.from_before, self.at_before);
        self.at_before = 0.0;
        true
    }

    /// Returns the time at which to look whether the next window has opened, as far as openings are known.
    pub(super) fn next(&self, now: f64) -> Option<f64> {
        if self.period <= 0.0 || self.unsure > 0.0 && self.period < LONGEST {
            return None;
        }
        let grace = (OVERDUE.0 * self.period).min(OVERDUE.1);
        let passed = ((now - grace - self.at) / self.period).ceil().max(0.0) * self.period;
        let (from, at) = (self.from + passed, self.at + passed);
        // Half of the time in which it may be is ruled out each time.
        let middle = 0.5 * (from + at);
        let is_narrow = at - from < (0.01 * self.period).max(2.0 * JITTER);
        if !is_narrow && middle > now { Some(middle) } else { (at > now).then_some(at) }
    }

    /// Returns true if windows seem to be of a minute, so that any minute may be what is limited.
    pub(super) fn is_longest(&self) -> bool {
        self.period >= LONGEST
    }

    /// Returns the begin of the window of this moment, as far as openings are known.
    pub(super) fn current(&self, now: f64) -> f64 {
        if self.period <= 0.0 { self.at } else { self.at + self.period * ((now - self.at) / self.period).floor() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_windows_is_found_and_the_next_opening_predicted() {
        let mut openings = Openings::zeroed();
        openings.begin(100.0);
        // Windows of 6 s open at 108 s and each 6 s later. Used up at 102.5 s, the first is taken for one of 10 s.
        openings.close(102.5);
        openings.refused(107.9);
        let closed = openings.reopen(108.1);
        let first = openings.opened(108.1, closed, false, false);
        assert!(first.first && first.period == 10.0 && openings.is_open() && openings.next(110.0).is_none());
        openings.close(123.0);
        openings.refused(125.7);
        let closed = openings.reopen(126.3);
        let second = openings.opened(126.3, closed, false, false);
        assert_eq!((second.first, second.period), (false, 6.0));
        // It is after 125.87 s by the first opening, and at 126.13 s at the latest.
        assert!((second.at - 126.13).abs() < 1e-6 && !openings.is_open(), "{second:?}");
        let next = openings.next(130.0).unwrap();
        assert!((next - 132.0).abs() < 1e-6, "{next}");
        assert!((openings.next(132.05).unwrap() - 132.13).abs() < 1e-6);
    }

    /// Two intervals of nearly the same length are one; so is one of twice that length.
    #[test]
    fn windows_of_an_unusual_length_are_found() {
        let mut openings = Openings::zeroed();
        openings.begin(100.0);
        let mut open = |at: f64, seen: f64| {
            openings.close(at - 3.0);
            openings.refused(at - 0.1);
            let closed = openings.reopen(at + seen);
            let opening = openings.opened(at + seen, closed, false, false);
            (opening.period, openings.is_open(), openings.next(at + 2.0))
        };
        open(108.0, 0.1);
        let (period, is_open, _) = open(123.0, 0.05);
        assert!((period - 14.95).abs() < 1e-9 && is_open, "{period}");
        for (at, seen) in [(138.0, 0.08), (168.0, 0.02)] {
            let (period, is_open, next) = open(at, seen);
            let next = next.expect("the length is known");
            assert!((period - 14.95).abs() < 1e-9 && !is_open && (next - at - 15.0).abs() < 0.2, "{period}, {next}");
        }
    }
}
