//! The search for a limit of requests in flight.

use bytemuck::{Pod, Zeroable};

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
}

impl InFlight {
    /// Returns the limit; `u32::MAX` if none is known.
    pub(super) fn limit(&self) -> u32 {
        let told = if self.told > 0.0 { self.told } else { f64::from(u32::MAX) };
        if self.ceiling <= 0.0 {
            return told as u32;
        }
        let hold = (100.0 / self.ceiling).clamp(20.0, 75.0);
        let over = self.age - hold;
        let more = if over > 0.0 {
            let grown = (over / 10.0).min(100.0);
            1.0 + self.ceiling * 0.02 * grown * grown * grown
        } else {
            0.0
        };
        (self.ceiling + more).clamp(1.0, told) as u32
    }

    /// Returns the limit that the provider told.
    pub(super) fn limit_told(&self) -> u32 {
        if self.told > 0.0 { self.told as u32 } else { u32::MAX }
    }

    /// Counts an admitted request.
    pub(super) fn admitted(&mut self, now: f64) {
        self.count += 1;
        if self.count >= u64::from(self.limit()) {
            self.age += (now - self.last).clamp(0.0, 5.0);
        }
        self.last = now;
    }

    /// Counts the end of a request.
    pub(super) fn finished(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    /// Sets the ceiling after a refusal.
    pub(super) fn cut(&mut self, count: f64) {
        self.ceiling = count.max(1.0);
        self.age = 0.0;
    }

    /// Takes a limit that the provider told.
    pub(super) fn told(&mut self, limit: f64) {
        self.told = limit.max(1.0);
    }
}
