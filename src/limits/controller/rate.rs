//! The search for a rate limit.

use bytemuck::{Pod, Zeroable};

use super::openings::{LONGEST, LONGEST_UNUSUAL, Opening};
use super::replay::Range;
use super::window::{HELD, Window};

/// Rate of a fresh search, in requests a second; it doubles with each second of full use until something is refused.
const START: f64 = 10.0;

/// Part of the limit that is used between two attempts to use more.
const HOLD: f64 = 0.985;

/// The same where not even one request is saved up, so that one that arrives a little early is refused.
const HOLD_SINGLE: f64 = 0.98;

/// Multiple of the ceiling that is tried then, seconds of the way there, and seconds for which it is tried.
const EXCESS: f64 = 1.03;
const RISE: f64 = 5.0;
const PROBE: f64 = 30.0;

/// Number of requests in a window from which each window is used up.
const WINDOWED: f64 = 360.0;

/// Length of a window, in seconds, below which what was taken in it is too coarse a number.
const SHORT: f64 = 3.0;

/// Number of requests in a window below which their mean is looked at.
const FEW: f64 = 20.0;

/// Part of a window below which what was taken in it shows that the opening before was none.
const FALSE: f64 = 0.1;

/// Time that may be saved up while less is used than the rate allows, in seconds. Pauses after a refusal are shorter.
const SAVED: f64 = 0.25;

/// Number of refusals at the same amount of the last minute from which the limit surely is one of any 60 seconds, and the
/// time in seconds after which a request is tried until then.
const SURE: f64 = 4.0;
const TRY: f64 = 4.0;

/// Time after which a request that was not refused was taken, in seconds.
const TAKEN: f64 = 1.0;

/// Weight of a request in the mean of their amounts.
const WEIGHT: f64 = 0.02;

/// The lowest rate that the first refusal sets, in units a second: three a minute, the fewest that providers allow.
const LEAST: f64 = 3.0 / 60.0;

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
    /// What had been taken when a used up window opened, and when the one before did.
    opened_taken: f64,
    opened_before: f64,
    /// 1 if the next refusal is wanted soon, because it will tell which dimension is limited.
    hurry: f64,
    /// 1 if used up windows were seen, and their length.
    windowed: f64,
    period: f64,
    /// Amount of the last minute at the last refusal, and the number of successive refusals at which it was the same.
    minute: f64,
    agreed: f64,
    /// Time of the last of these refusals that counted.
    compared: f64,
    /// Time of a request that was admitted although the last minute was used up, until its outcome is known; 0 if none is.
    trial: f64,
    /// Number of times that a sliding window was ruled out.
    ruled_out: f64,
    /// 1 if the server seems not to save up anything.
    single: f64,
    /// Number of successive refusals at which the ceiling was a guess.
    unsure: f64,
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
            self.ceiling * self.factor()
        } else {
            START * self.size() * self.age.min(40.0).exp2()
        };
        let most = if self.told > 0.0 { self.told } else { MOST };
        rate.clamp(1e-4, most.max(1e-4))
    }

    /// Returns the rate as a multiple of the ceiling: below it, then a little above it until what the server had saved
    /// up is used, then away from it.
    ///
    /// A server that counts in windows refuses only when a window is used up, which costs nothing but the probes until
    /// the next one: there the rate begins above the ceiling and stays near it for a whole window.
    fn factor(&self) -> f64 {
        self.factor_at(self.age)
    }

    fn factor_at(&self, age: f64) -> f64 {
        if self.uses_windows() && self.hurry <= 0.0 {
            let over = age - 55.0;
            let grown = ((over - 10.0).max(0.0) / 8.0).min(100.0);
            return 1.04 + 0.06 * (over / 10.0).clamp(0.0, 1.0) + 0.02 * grown * grown * grown;
        }
        let hold = (90.0 * self.size() / self.ceiling).clamp(20.0, 70.0);
        // Where few requests are made, refusals are rarer in time, and what follows is faster.
        let slow = 20.0 / hold;
        let gap = self.size() / self.ceiling;
        let (hold, rise, probe, unit) = if self.unsure > 0.0 && self.is_slow() {
            (3.0_f64.max(3.0 * gap), 2.0 * gap, 0.0, 3.0)
        } else if self.hurry > 0.0 {
            (2.0, 1.0, 1.0, 3.0)
        } else {
            (hold, RISE, PROBE * (0.5 + 0.5 * slow), 5.0 + 3.0 * slow)
        };
        let over = age - hold;
        let growth = |seconds: f64| {
            let grown = (seconds.max(0.0) / unit).min(100.0);
            // Where few requests are made, each is only a little earlier than the one before.
            let requests = seconds.max(0.0) * self.ceiling / self.size();
            let most = (if self.unsure > 0.0 { 0.03 } else { 0.06 } * requests).min(20.0).exp() - 1.0;
            (0.02 * grown * grown * grown).min(most)
        };
        let seconds = over - rise - probe;
        let mut grown = growth(seconds);
        if grown > 1.2 && self.is_slow() {
            // What a server has saved up since its limit doubled is used first.
            grown = growth(seconds - 60.0).max(1.2);
        }
        let least = if self.single > 0.0 && self.is_slow() { HOLD_SINGLE } else { HOLD };
        least + (EXCESS - least) * (over / rise).clamp(0.0, 1.0) + grown
    }

    /// Returns true if the limit is used up in each window; where few requests are made, that refuses too many of them.
    fn uses_windows(&self) -> bool {
        self.windowed > 0.0 && self.ceiling * self.period > WINDOWED * self.size()
    }

    /// Returns true if the rate has left the ceiling, which the limit seems to have done too.
    pub(super) fn has_left(&self) -> bool {
        self.factor() > if self.uses_windows() { 1.11 } else { 1.01 * EXCESS }
    }

    /// Returns the time that is saved up at most, at this rate.
    fn saved(&self, rate: f64) -> f64 {
        let gap = self.size() / rate;
        let first = if self.ceiling > 0.0 { 0.0 } else { 9.0 * gap };
        first.max(SAVED - gap)
    }

    /// Returns the time at which the next request may be admitted; one that is larger than the mean waits longer.
    pub(super) fn earliest(&self, now: f64, amount: Option<f64>) -> f64 {
        let rate = self.rate();
        let paced = self.next - self.saved(rate) + amount.map_or(0.0, |amount| self.excess(amount, rate));
        if self.sliding(now) && paced <= now && self.full(now) {
            // As much as one request needs is free in a part of a second. While it is a guess, one is tried from time to
            // time.
            let soon = now + (0.5 * self.size() / rate).clamp(0.005, 0.5);
            return if self.agreed < SURE { soon.min((self.last + TRY).max(now)) } else { soon };
        }
        paced
    }

    /// Returns the time in which what a request needs more than the mean is saved up.
    fn excess(&self, amount: f64, rate: f64) -> f64 {
        ((amount - self.size()) / rate).clamp(0.0, 30.0)
    }

    /// Returns true if the last minute is used up, were the limit one of any 60 seconds.
    fn full(&self, now: f64) -> bool {
        self.window.minute(now) > self.most() - self.size()
    }

    /// Returns the amount that is admitted in any minute, were the limit one of any 60 seconds.
    fn most(&self) -> f64 {
        self.minute.max(60.0 * self.ceiling) * self.factor().max(1.0)
    }

    /// Returns true if what was taken in the last minute was the same at the last refusals.
    pub(super) fn is_sliding(&self) -> bool {
        self.agreed >= 2.0
    }

    /// Returns true if the limit seems to be one of any 60 seconds.
    fn sliding(&self, now: f64) -> bool {
        self.is_sliding() && (self.trial <= 0.0 || now - self.trial <= TAKEN)
    }

    /// Compares the amount of the last minute with what it was at the last refusal.
    pub(super) fn compare_minute(&mut self, now: f64) {
        let minute = self.window.minute(now);
        let same = (minute - self.minute).abs() <= (0.02 * minute).max(1.01 * self.size());
        if self.sliding(now) && self.factor() <= 1.0 && minute < 0.97 * self.minute {
            // Refused although a sliding window had room.
            self.agreed = 0.0;
            self.ruled_out += 1.0;
        } else if same && self.ruled_out < 3.0 {
            // Of refusals that follow each other closely the amount is the same anyway.
            if self.agreed < 2.0 || now - self.compared > 20.0 {
                self.agreed += 1.0;
                self.compared = now;
            }
        } else {
            self.agreed = 0.0;
        }
        self.minute = minute;
    }

    /// Counts an admitted request; `has_waited` says that the rate was used fully, although it comes late.
    pub(super) fn admitted(&mut self, now: f64, amount: f64, has_waited: bool) {
        let rate = self.rate();
        let gap = self.size() / rate;
        let excess = self.excess(amount, rate);
        if self.trial > 0.0 && now - self.trial > TAKEN {
            // It was not refused: more is taken in a minute.
            (self.agreed, self.trial) = (0.0, 0.0);
        }
        if self.sliding(now) && self.full(now) {
            self.trial = now;
        }
        let in_time = now <= self.next + excess + 0.05 * gap + 0.005;
        if has_waited || in_time || self.sliding(now) && self.full(now) {
            self.age += (now - self.last).clamp(0.0, (2.0 * gap).max(1.0));
        }
        self.size = if self.size > 0.0 { self.size + (amount - self.size) * WEIGHT } else { amount };
        self.last = now;
        self.next = self.next.max(now - excess) + amount / rate;
        self.taken += amount;
        self.window.add(now, amount);
    }

    /// Takes back the amount of a request that was admitted at `at` and refused.
    pub(super) fn refused(&mut self, at: f64, amount: f64) {
        if at >= self.trial {
            self.trial = 0.0;
        }
        self.taken -= amount;
        self.window.add(at, -amount);
    }

    /// Corrects the amount of a request that was admitted at `at`: what it used is known by now.
    ///
    /// The ceiling is one of what is used. If requests were paced by larger estimates, a part of it would be used.
    pub(super) fn settled(&mut self, at: f64, difference: f64) {
        self.taken += difference;
        self.window.add(at, difference);
        self.next += difference / self.rate();
        if self.size > 0.0 {
            self.size = (self.size + difference * WEIGHT).max(1.0);
        }
    }

    /// Returns the number of requests since the mark, roughly.
    pub(super) fn since_mark(&self) -> f64 {
        (self.taken - self.anchor_taken) / self.size()
    }

    /// Returns the mean rate since the mark.
    pub(super) fn mean(&self, now: f64) -> f64 {
        (self.taken - self.anchor_taken) / (now - self.anchor).max(1e-3)
    }

    /// Sets the ceiling to what was taken, after a refusal that was not because of this rate.
    pub(super) fn follow(&mut self, now: f64) {
        if self.since_mark() >= 10.0 || self.ceiling <= 0.0 {
            self.ceiling = self.mean(now).max(1.0 / 60.0);
            self.mark(now);
        }
        self.age = 0.0;
        self.restart(now);
    }

    /// Asks for the next refusal soon, because it will tell which dimension is limited.
    pub(super) fn hurry(&mut self, hurry: bool) {
        self.hurry = f64::from(u8::from(hurry));
    }

    /// Sets the ceiling after a refusal.
    pub(super) fn cut(&mut self, now: f64) {
        let rate = self.rate();
        let mean = self.mean(now);
        let ceiling = if self.ceiling <= 0.0 {
            // While few requests are made, the last two seconds may have none.
            let mean = |most| {
                let seconds = (now - self.anchor).clamp(0.5, most);
                self.window.sum(now, seconds) / seconds
            };
            rate.min(mean(2.0).max(mean(LONGEST)).max(LEAST))
        } else if self.single > 0.0 && self.is_slow() {
            self.accepted()
        } else if self.has_left() && mean > 1.03 * self.ceiling {
            if self.is_slow() { (mean * rate).sqrt() } else { rate * 0.98 }
        } else if self.has_left() {
            mean.max(0.95 * self.ceiling)
        } else if self.factor() > 1.0 && !self.is_slow() {
            // A little less was used for some time before.
            mean.max(0.998 * self.ceiling).min(rate)
        } else {
            mean.max(0.95 * rate).min(rate)
        };
        self.set(now, ceiling);
        self.mark(now);
    }

    /// Returns the ceiling where the request before the last one was taken, and nothing is saved up.
    fn accepted(&self) -> f64 {
        0.99 * self.ceiling * self.factor_at(self.age - 2.0 * self.gap())
    }

    /// Remembers that the server saves up something.
    pub(super) fn saves_up(&mut self) {
        self.single = 0.0;
    }

    /// Sets the ceiling of few requests to the rates that agree with the last ones.
    pub(super) fn cut_slow(&mut self, now: f64, range: Range) {
        self.single = f64::from(u8::from(range.size == 1.0));
        self.unsure = if range.most > 1.15 * range.least { self.unsure + 1.0 } else { 0.0 };
        if self.unsure > 5.0 {
            // It will not become more exact.
            self.unsure = 0.0;
        }
        let upper = if range.size == 1.0 { 0.4 } else { 0.5 };
        let ceiling = range.least * (range.most / range.least).powf(upper);
        self.set(now, ceiling.max(0.6 * self.ceiling));
        self.mark(now);
    }

    /// Returns true if so few requests are made that each refusal matters.
    pub(super) fn is_slow(&self) -> bool {
        self.ceiling < 4.0 * self.size()
    }

    /// Sets the ceiling after a refusal that came soon after another one.
    ///
    /// The limit was used up both times, so what was taken since is what the limit is, give or take one request.
    pub(super) fn cut_again(&mut self, now: f64, times: u32) {
        let mean = (self.taken - self.anchor_taken + self.size()) / (now - self.anchor).max(1e-3);
        // Of a few requests the mean says little.
        let few = self.taken - self.anchor_taken < 8.0 * self.size();
        let least = match times {
            _ if !few => 0.5,
            0 | 1 => 0.95,
            2 => 0.8,
            _ => 0.5,
        };
        let ceiling = mean.max(least * self.ceiling).min(0.97 * self.ceiling);
        self.set(now, if self.sliding(now) { ceiling.max(self.minute / 60.0) } else { ceiling });
    }

    /// Sets the ceiling after a window was used up and has opened again: what was taken in the window.
    ///
    /// All that was taken since the window before opened is of this one, if no other one was between them.
    pub(super) fn opened(&mut self, opening: Opening) {
        let Opening { at, since, period, unseen, first } = opening;
        (self.windowed, self.period) = (1.0, period);
        // Hardly anything was taken since what seemed to be an opening: it was none, unless it is so again.
        let is_false = !first
            && self.opened_before < self.opened_taken
            && self.taken - self.opened_taken < FALSE * self.ceiling * period;
        let base = if is_false { self.opened_before } else { self.opened_taken };
        let (taken, mut lately) = (self.taken - base, self.window.sum(at, period));
        if first && period >= LONGEST {
            // When it has opened is not known, nor is when the window before did: most may have been taken early in that.
            let all = self.window.sum(at, (period + unseen).min(HELD));
            lately = if lately < 0.5 * all { all } else { lately };
        }
        let mean = taken / since.max(0.5);
        let found = if self.is_sliding() && since < LONGEST_UNUSUAL {
            mean
        } else if !first && since < 1.25 * period {
            taken / period
        } else if !first && (lately < FEW * self.size() || period < SHORT) {
            mean
        } else {
            // The beginning of a first long window may not have been seen.
            let unseen = first && period >= LONGEST && lately >= FEW * self.size();
            (lately / period).max(if unseen { 0.0 } else { 0.7 * mean })
        };
        self.opened_before = if is_false { self.taken } else { base };
        self.opened_taken = self.taken;
        self.set(at, found.max(1.0 / 60.0));
        self.mark(at);
    }

    /// Takes back that a window has opened.
    pub(super) fn not_opened(&mut self) {
        self.opened_taken = self.opened_before;
    }

    /// Returns true if amounts are known.
    pub(super) fn is_used(&self) -> bool {
        self.size > 0.0
    }

    /// Returns true if the limit seems to be one of windows.
    pub(super) fn is_windowed(&self) -> bool {
        self.windowed > 0.0
    }

    /// Returns true if the window that opened at a time is used up, so that its end is to be waited for.
    pub(super) fn is_used_up(&self, now: f64, opened: f64) -> bool {
        let seconds = now - opened;
        self.is_windowed() && seconds < 60.0 && self.window.sum(now, seconds) > 0.9 * self.ceiling * self.period
    }

    /// Remembers that the limit is not one of windows.
    pub(super) fn not_windowed(&mut self) {
        self.windowed = 0.0;
    }

    /// Remembers that the limit is used up, or that a window has opened.
    pub(super) fn mark(&mut self, now: f64) {
        self.anchor = now;
        self.anchor_taken = self.taken;
    }

    /// Forgets all times.
    pub(super) fn new_clock(&mut self, now: f64) {
        self.window = Window::zeroed();
        (self.trial, self.compared) = (0.0, now);
        self.last = now;
        self.restart(now);
        self.mark(now);
    }

    fn set(&mut self, now: f64, ceiling: f64) {
        self.ceiling = ceiling;
        self.age = 0.0;
        self.restart(now);
    }

    /// Forgets what was saved up: the next request may be admitted at `at`, and the one after it a gap later.
    pub(super) fn restart(&mut self, at: f64) {
        self.next = at + self.saved(self.rate());
    }

    /// Returns the mean time between two requests.
    pub(super) fn gap(&self) -> f64 {
        self.size() / self.rate()
    }

    /// Returns the ceiling; 0 if none is known.
    pub(super) fn ceiling(&self) -> f64 {
        self.ceiling
    }

    /// Takes a limit that the provider told, in units a second.
    pub(super) fn told(&mut self, rate: f64) {
        self.told = rate;
    }
}
