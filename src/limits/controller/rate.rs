//! The search for a rate limit.

use bytemuck::{Pod, Zeroable};

use super::window::Window;

/// Rate of a fresh search, in requests a second; it doubles with each second of full use until something is refused.
const START: f64 = 10.0;

/// Part of the limit that is used between two attempts to use more.
const HOLD: f64 = 0.985;

/// Time that may be saved up while less is used than the rate allows, in seconds. Pauses after a refusal are shorter.
const SAVED: f64 = 0.25;

/// The highest rate, in units a second.
const MOST: f64 = 1e9;

/// A rate that is searched for: a ceiling (the limit as far as it is known) and a rate near it, which grows with time.
///
/// All times are in seconds, amounts in requests or in tokens. All zero is a fresh search.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Rate {
    /// The limit as the last refusals showed it; 0 until the first.
    ceiling: f64,
    /// The limit that the provider told; 0 if it told none.
    told: f64,
    /// Time of full use since the ceiling was set.
    age: f64,
    /// Time at which the next request may be admitted, if nothing was saved up.
    next: f64,
    /// Time of the last admission.
    last: f64,
    /// Amount that was admitted and not refused, since the beginning.
    taken: f64,
    /// A moment at which the limit was used up, and what had been taken until then.
    anchor: f64,
    anchor_taken: f64,
    /// Mean amount of a request; 0 before the first.
    size: f64,
    /// The same by time of admission.
    window: Window,
}

impl Rate {
    /// Returns true if a limit is known.
    pub(super) fn known(&self) -> bool {
        self.ceiling > 0.0
    }

    /// Returns the mean amount of a request.
    fn size(&self) -> f64 {
        if self.size > 0.0 { self.size } else { 1.0 }
    }

    /// Returns the rate at which requests are admitted, in units a second.
    pub(super) fn rate(&self) -> f64 {
        let rate = if self.ceiling > 0.0 {
            let hold = (100.0 * self.size() / self.ceiling).clamp(20.0, 75.0);
            let grown = ((self.age - hold).max(0.0) / 10.0).min(100.0);
            self.ceiling * HOLD * (1.0 + 0.02 * grown * grown * grown)
        } else {
            START * self.size() * self.age.min(40.0).exp2()
        };
        let most = if self.told > 0.0 { self.told } else { MOST };
        rate.clamp(1e-4, most.max(1e-4))
    }

    /// Returns the time that is saved up at most.
    fn saved(&self) -> f64 {
        let first = if self.ceiling > 0.0 { 0.0 } else { 9.0 * self.size() / self.rate() };
        first.max(SAVED - self.size() / self.rate())
    }

    /// Returns the time at which the next request may be admitted.
    pub(super) fn earliest(&self) -> f64 {
        self.next - self.saved()
    }

    /// Counts an admitted request.
    pub(super) fn admitted(&mut self, now: f64, amount: f64) {
        let gap = self.size() / self.rate();
        if now <= self.next + 0.05 * gap + 0.005 {
            self.age += (now - self.last).clamp(0.0, (2.0 * gap).max(1.0));
        }
        self.size = if self.size > 0.0 { self.size + (amount - self.size) * 0.02 } else { amount };
        self.last = now;
        self.next = self.next.max(now) + amount / self.rate();
        self.taken += amount;
        self.window.add(now, amount);
    }

    /// Corrects the amount of a request that was admitted at `at`: it was refused, or its size is known by now.
    pub(super) fn correct(&mut self, at: f64, difference: f64) {
        self.taken += difference;
        self.window.add(at, difference);
        if difference > 0.0 {
            self.next += difference / self.rate();
        }
    }

    /// Sets the ceiling after a first refusal.
    pub(super) fn cut(&mut self, now: f64) {
        let rate = self.rate();
        let since = now - self.anchor;
        let mean = (self.taken - self.anchor_taken) / since.max(1e-3);
        let ceiling = if self.ceiling <= 0.0 {
            rate.min((self.window.sum(now, 2.0) / 2.0f64.min(now.max(0.5))).max(1.0 / 60.0))
        } else if rate > 1.05 * self.ceiling {
            rate * 0.98
        } else {
            mean.clamp(0.95 * rate, rate)
        };
        self.set(now, ceiling);
    }

    /// Sets the ceiling after a refusal that came soon after another one.
    ///
    /// The limit was used up both times, so what was taken since is what the limit is.
    pub(super) fn cut_again(&mut self, now: f64) {
        let since = now - self.anchor;
        let mean = (self.taken - self.anchor_taken + self.size()) / since.max(1e-3);
        self.ceiling = mean.clamp(0.5 * self.ceiling, self.ceiling);
        self.age = 0.0;
        self.next = self.next.min(now + self.size() / self.rate());
    }

    /// Sets the ceiling after a window was used up and has opened again: what was taken since `opened`, the moment at which the one before had
    /// opened, or since a minute ago.
    pub(super) fn opened(&mut self, now: f64) {
        let since = now - self.anchor;
        let mean = (self.taken - self.anchor_taken) / since.max(1.0);
        self.set(now, mean.max(1e-3));
    }

    /// Remembers that the limit is used up, or that a window has opened.
    pub(super) fn mark(&mut self, now: f64) {
        self.anchor = now;
        self.anchor_taken = self.taken;
    }

    fn set(&mut self, now: f64, ceiling: f64) {
        self.ceiling = ceiling;
        self.age = 0.0;
        self.next = self.next.min(now + self.size() / self.rate());
        self.mark(now);
    }

    /// Takes a limit that the provider told, in units a second.
    pub(super) fn told(&mut self, rate: f64) {
        self.told = rate;
    }
}
