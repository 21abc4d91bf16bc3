//! The search for a limit of requests in flight.

use bytemuck::{Pod, Zeroable};

/// Time for which a limit is used before more is tried, in seconds.
const HOLD: f64 = 30.0;
const LONGEST_HOLD: f64 = 95.0;

/// Number of requests in flight that is searched for. All zero is a fresh search.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct InFlight {
    /// Number of requests in flight.
    pub(super) count: u64,
    /// Number that were in flight at the last refusal; 0 until the first.
    ceiling: f64,
    /// Limit that the provider told; 0 if it told none.
    told: f64,
    /// Time of full use since the ceiling was set, in seconds.
    age: f64,
    /// Time of the last admission.
    last: f64,
    /// Number of admissions since the ceiling was set.
    admitted: f64,
    /// The highest number that were in flight since the last refusal when one more was taken; and the same of the last
    /// admissions, since a time, of which a refusal may still come.
    peak: f64,
    recent: f64,
    since: f64,
}

impl InFlight {
    /// Returns the limit; `u32::MAX` if none is known.
    pub(super) fn limit(&self) -> u32 {
        let told = if self.told > 0.0 { self.told } else { f64::from(u32::MAX) };
        if self.ceiling <= 0.0 {
            return told.max(1.0) as u32;
        }
        let over = self.age - self.hold();
        let more = if over > 0.0 {
            let grown = (over / 8.0).min(100.0);
            1.0 + (over / 12.0).min(100.0) + self.ceiling * 0.02 * grown * grown * grown
        } else {
            0.0
        };
        (self.ceiling + more).max(1.0).min(told.max(1.0)) as u32
    }

    /// Returns the limit that the provider told.
    pub(super) fn limit_told(&self) -> u32 {
        if self.told > 0.0 { self.told.max(1.0) as u32 } else { u32::MAX }
    }

    /// Returns true if the limit has been used for so short a time that no more is tried yet.
    pub(super) fn holds(&self) -> bool {
        self.age < self.hold()
    }

    /// Returns the time for which a limit is used before more is tried: longer where few requests are made.
    fn hold(&self) -> f64 {
        (100.0 * self.age / self.admitted.max(1.0)).clamp(HOLD, LONGEST_HOLD)
    }

    /// Returns the highest number in flight at which one more was taken since the last refusal.
    pub(super) fn peak(&self) -> f64 {
        self.peak
    }

    /// Counts an admitted request, whose refusal would come within the time `delay`.
    pub(super) fn admitted(&mut self, now: f64, delay: f64) {
        if now > self.since + 2.0 * delay + 0.05 || now < self.since {
            // Those before were not refused.
            (self.peak, self.recent, self.since) = (self.peak.max(self.recent), 0.0, now);
        }
        self.recent = self.recent.max(self.count as f64);
        self.count += 1;
        self.admitted += 1.0;
        if self.count >= u64::from(self.limit()) {
            self.age += (now - self.last).clamp(0.0, 5.0);
        }
        self.last = now;
    }

    /// Counts the end of a request.
    pub(super) fn finished(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    /// Sets the ceiling after a refusal at this number in flight, of which some were on their way to the server or back.
    pub(super) fn cut(&mut self, count: f64, on_the_way: f64) {
        (self.peak, self.recent) = (0.0, 0.0);
        // What was held without a refusal is used again.
        let held = if self.holds() { 0.0 } else { self.ceiling };
        self.ceiling = count.min(held.max(count - (0.5 * on_the_way).floor())).max(1.0);
        self.age = 0.0;
        self.admitted = 0.0;
    }

    /// Takes a limit that the provider told.
    pub(super) fn told(&mut self, limit: f64) {
        self.told = limit.max(1.0);
    }
}
