//! Counts in bins of time.

use bytemuck::{Pod, Zeroable};

/// Number of bins.
const BINS: usize = 64;

/// Length of a bin in seconds. All bins together hold a minute and the bin that is being filled.
const LENGTH: f64 = 1.0;

/// Time in seconds of which the amount is known.
pub(super) const HELD: f64 = (BINS as f64 - 2.0) * LENGTH;

/// Amounts of the last minute in bins of a second, by the time of admission.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Window {
    /// Amount in each bin; the bin of a moment is its number modulo [`BINS`].
    bins: [f32; BINS],
    /// Number of the newest bin.
    newest: u64,
    /// Sum of all bins.
    total: f64,
}

impl Window {
    /// Adds an amount to the bin of the time `at`; a time that is no longer held is ignored.
    pub(super) fn add(&mut self, at: f64, amount: f64) {
        let bin = (at / LENGTH) as u64;
        if bin > self.newest {
            if bin - self.newest >= BINS as u64 {
                self.bins = [0.0; BINS];
                self.total = 0.0;
            } else {
                for skipped in self.newest + 1..=bin {
                    let old = &mut self.bins[(skipped % BINS as u64) as usize];
                    self.total -= f64::from(*old);
                    *old = 0.0;
                }
            }
            self.newest = bin;
        }
        if self.newest - bin < BINS as u64 {
            self.bins[(bin % BINS as u64) as usize] += amount as f32;
            self.total += amount;
        }
    }

    /// Returns the amount of the last minute, a part of the oldest bin included.
    pub(super) fn minute(&self, now: f64) -> f64 {
        // Bins older than a minute, few of which are still held, are taken off the sum of all.
        let from = (now - 60.0).max(0.0);
        let first = from as u64;
        let oldest = self.newest.saturating_sub(BINS as u64 - 1);
        if first > self.newest {
            return 0.0;
        }
        let mut sum = self.total;
        for bin in oldest..first {
            sum -= f64::from(self.bins[(bin % BINS as u64) as usize]);
        }
        if first >= oldest {
            sum -= (from - first as f64) * f64::from(self.bins[(first % BINS as u64) as usize]);
        }
        sum.max(0.0)
    }

    /// Returns the amount of the last `seconds`, of which there are at most [`HELD`]. Of the oldest bin it takes a part.
    pub(super) fn sum(&self, now: f64, seconds: f64) -> f64 {
        let from = ((now - seconds) / LENGTH).max(0.0);
        let first = from as u64;
        let oldest_held = self.newest.saturating_sub(BINS as u64 - 1);
        let mut sum = 0.0;
        for bin in first.max(oldest_held)..=self.newest.min((now / LENGTH) as u64) {
            let part = if bin == first { 1.0 - (from - first as f64) } else { 1.0 };
            sum += part * f64::from(self.bins[(bin % BINS as u64) as usize]);
        }
        sum.max(0.0)
    }
}
