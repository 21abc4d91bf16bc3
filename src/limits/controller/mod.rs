//! Finds a rate limit that nobody told, from what is taken and what is refused.
//!
//! - `rate`: the search for a rate, in requests or in tokens
//! - `in_flight`: the search for a number of requests in flight
//! - `kind`: which of these is limited
//! - `openings`: when the windows of a server open
//! - `replay`: the limit of a slow server, from its last outcomes
//! - `window`: counts in bins of time
//!
//! Only a refusal cuts. Latency is no signal, because it follows the length of the answer.
//! docs/limits-learning.md describes how it works and what it reaches.

mod in_flight;
mod kind;
mod openings;
mod rate;
mod replay;
mod window;

use std::time::Duration;

use bytemuck::{Pod, Zeroable};

use crate::limits::Time;
use crate::types::rate_limit::{Reset, Unit, WindowSignal};
use in_flight::InFlight;
use kind::{Kind, Shown};
use openings::Openings;
use rate::Rate;
use replay::Log;

/// The first pause after a refusal, in seconds, and the factor by which each probe that is refused makes it longer: where few
/// requests are made, of which each counts, or no window opens at once, and elsewhere.
const PAUSE: f64 = 0.1;
const LONGER: (f64, f64) = (2.0, 1.5);

/// The longest pause that no `Retry-After` asked for, in seconds.
const LONGEST_PAUSE: f64 = 4.0;

/// Time by which a clock may go back without being another clock, in seconds.
const LARGEST_STEP: f64 = 60.0;

/// Time by which a probe may seem to come before the end of the pause, in seconds: times are rounded.
const EARLY: f64 = 1e-3;

/// Time in seconds for which a rate limit refuses at most. What lasts for longer, or is told to, is an outage, which says
/// nothing about the limit.
const OUTAGE: f64 = 65.0;

/// Time for which a refusal only pauses after a window has opened, in seconds.
const SETTLE: f64 = 20.0;

/// Outcome of a request, as far as rate limits are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The provider took it.
    Taken,
    /// The provider refused it because a rate limit is exceeded.
    Refused {
        /// Time for which the provider wants no request.
        retry_after: Option<Duration>,
    },
    /// The provider, not the account, has too much to do.
    Overloaded,
    /// It failed for another reason.
    Failed,
    /// The caller gave it up.
    Cancelled,
}

/// The dimension that a provider seems to limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// Nothing was refused yet.
    Unknown,
    /// The rate of requests.
    Requests,
    /// The rate of tokens.
    Tokens,
    /// The number of requests in flight.
    InFlight,
}

/// What a [`Controller`] has learnt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snapshot {
    /// Rate at which requests are admitted, per second.
    pub rate: f64,
    /// Rate at which tokens are admitted, per second, if that is what binds.
    pub token_rate: Option<f64>,
    /// Maximum number of requests in flight; `u32::MAX` if it is not limited.
    pub max_in_flight: u32,
    /// Number of requests in flight.
    pub in_flight: u64,
    /// Which of these is the limit.
    pub binding: Binding,
    /// End of the pause, if there is one.
    pub paused_until: Option<Time>,
}

/// States of admission.
const OPEN: u32 = 0;
const PAUSED: u32 = 1;
const PROBING: u32 = 2;

/// Finds the limit of one quota. Plain data: it lives in shared memory; all zero is a fresh one.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use bytemuck::Zeroable;
/// use ritellm::limits::controller::{Controller, Finish};
///
/// let mut controller = Controller::zeroed();
/// let now = Duration::from_secs(1);
/// assert!(controller.earliest(now) <= now && controller.max_in_flight(now) > 0);
/// controller.admitted(now, None);
/// controller.finished(now + Duration::from_millis(50), now, Finish::Refused { retry_after: None }, None, None);
/// assert!(controller.earliest(now) > now);
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Controller {
    requests: Rate,
    tokens: Rate,
    in_flight: InFlight,
    /// The latest time that was passed in.
    clock: f64,
    /// Time of the last cut; refusals of requests that were admitted before say nothing new.
    cut: f64,
    /// End of the pause.
    until: f64,
    /// Length of the last pause that no `Retry-After` asked for.
    pause: f64,
    /// Time at which the probe was admitted.
    probe: f64,
    /// Mean latency of an answer.
    latency: f64,
    /// Time that a refusal takes.
    delay: f64,
    /// Time until which a window that has just opened may refuse without a cut.
    settle: f64,
    /// Amounts a second between the last two refusals, in requests and in tokens; 0 if they say nothing.
    shown_requests: f64,
    shown_tokens: f64,
    openings: Openings,
    kind: Kind,
    log: Log,
    /// `OPEN`, `PAUSED` or `PROBING`.
    state: u32,
    /// 1 if at least one request was admitted.
    begun: u16,
    /// 1 if the provider told the end of the pause.
    told: u16,
}

const _: () = assert!(size_of::<Controller>() < 4096);

fn seconds(time: Time) -> f64 {
    time.as_secs_f64()
}

fn time(seconds: f64) -> Time {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default()
}

impl Controller {
    /// Begins anew if the time that was passed in last is none or is far ahead: the bytes are damaged.
    pub fn repair(&mut self, now: Time) {
        if self.clock.is_nan() || self.clock > seconds(now) + LARGEST_STEP {
            *self = Self::zeroed();
        }
    }

    /// Returns the time from which the next request may be admitted; it is in the past if that is now.
    ///
    /// In a pause that is its end; while a probe is out, the time at which it counts as taken.
    pub fn earliest(&self, now: Time) -> Time {
        self.earliest_for(now, None)
    }

    /// Returns the time from which a request of this number of tokens may be admitted: see [`Controller::earliest`].
    ///
    /// Where tokens are limited, a request that is larger than the mean waits until the server has saved up enough.
    pub fn earliest_for(&self, now: Time, tokens: Option<u64>) -> Time {
        if self.state == PAUSED {
            return time(self.until);
        }
        let now = seconds(now);
        let paced = if self.kind.is_in_flight() {
            0.0
        } else if self.kind.is_tokens() {
            self.tokens.earliest(now, tokens.map(|tokens| tokens as f64))
        } else {
            self.requests.earliest(now, None)
        };
        time(if self.state == PROBING { paced.max(self.probe + self.look()) } else { paced })
    }

    /// Returns the end of a pause, or of the wait for the outcome of its probe, and whether it is the latter.
    pub fn held_up(&self, now: Time) -> Option<(Time, bool)> {
        let (until, is_probing) = match self.state {
            PAUSED => (self.until, false),
            PROBING => (self.probe + self.look(), true),
            _ => return None,
        };
        (until > seconds(now)).then(|| (time(until), is_probing))
    }

    /// True if the next request finds out whether a pause is over.
    pub fn needs_probe(&self, now: Time) -> bool {
        self.state == PAUSED && self.until <= seconds(now)
    }

    /// Sets the number of requests in flight.
    pub fn set_in_flight(&mut self, count: u32) {
        self.in_flight.count = u64::from(count);
    }

    /// Returns the maximum number of requests in flight; `u32::MAX` if it is not limited.
    pub fn max_in_flight(&self, _now: Time) -> u32 {
        if self.kind.is_in_flight() { self.in_flight.limit() } else { self.in_flight.limit_told() }
    }

    /// Returns what was learnt.
    pub fn snapshot(&self, now: Time) -> Snapshot {
        Snapshot {
            rate: self.requests.rate(),
            token_rate: self.kind.is_tokens().then(|| self.tokens.rate()),
            max_in_flight: self.max_in_flight(now),
            in_flight: self.in_flight.count,
            binding: if !self.requests.known() {
                Binding::Unknown
            } else if self.kind.is_in_flight() {
                Binding::InFlight
            } else if self.kind.is_tokens() {
                Binding::Tokens
            } else {
                Binding::Requests
            },
            paused_until: (self.state == PAUSED && self.until > seconds(now)).then(|| time(self.until)),
        }
    }

    /// Counts a request that is being sent, with its number of tokens if that is known or estimated.
    pub fn admitted(&mut self, now: Time, tokens: Option<u64>) {
        self.admitted_elsewhere(now, tokens, false);
    }

    /// Counts a request that a member on another machine sends, of which it may be known later than of what came after it.
    ///
    /// `has_waited` says that it had to wait because of the rate. Without it, a request that comes later than the rate allows
    /// shows that fewer are made.
    pub fn admitted_elsewhere(&mut self, now: Time, tokens: Option<u64>, has_waited: bool) {
        let at = seconds(now);
        let now = self.tick(now);
        match self.state {
            // A request before its end was admitted where the pause was not known yet.
            PAUSED if at >= self.until - EARLY => {
                self.state = PROBING;
                self.probe = at;
            }
            PROBING if at >= self.probe + self.look() => self.resume(now),
            _ => {}
        }
        self.requests.admitted(now, 1.0, has_waited);
        self.log.admitted(at, self.in_flight.count);
        if let Some(tokens) = tokens {
            self.tokens.admitted(now, tokens as f64, has_waited);
        }
        self.in_flight.admitted(now, self.delay);
    }

    /// Counts the end of a request that was admitted at `admitted_at`, with the numbers of tokens that it was admitted
    /// with and that it used.
    pub fn finished(
        &mut self,
        now: Time,
        admitted_at: Time,
        outcome: Finish,
        reserved: Option<u64>,
        used: Option<u64>,
    ) {
        let now = self.tick(now);
        let admitted_at = seconds(admitted_at);
        let is_probe = self.state == PROBING && admitted_at >= self.probe;
        self.in_flight.finished();
        if let (Some(reserved), Some(used)) = (reserved, used) {
            self.tokens.settled(admitted_at, used as f64 - reserved as f64);
        }
        match outcome {
            Finish::Taken => {
                let latency = (now - admitted_at).max(0.0);
                self.latency =
                    if self.latency > 0.0 { self.latency + 0.05 * (latency - self.latency) } else { latency };
                if is_probe {
                    self.resume(now);
                }
            }
            Finish::Refused { retry_after } => {
                self.openings.refused(admitted_at);
                self.requests.refused(admitted_at, 1.0);
                let count = self.log.refused(admitted_at);
                if let Some(tokens) = used.or(reserved) {
                    self.tokens.refused(admitted_at, tokens as f64);
                }
                self.refused(now, admitted_at, is_probe, retry_after.map_or(0.0, seconds), count);
            }
            Finish::Overloaded | Finish::Failed | Finish::Cancelled => {
                if is_probe {
                    self.state = PAUSED;
                    self.until = now + PAUSE;
                }
            }
        }
    }

    /// Takes what an answer tells about a limit.
    pub fn told(&mut self, now: Time, signal: &WindowSignal) {
        let now = self.tick(now);
        if let Some(limit) = signal.limit {
            let rate = signal.period.map(|period| limit as f64 / seconds(period).max(1e-3));
            match (signal.unit, rate) {
                (Unit::Requests, Some(rate)) => self.requests.told(rate),
                (Unit::Tokens, Some(rate)) => self.tokens.told(rate),
                (Unit::InFlight, _) => self.in_flight.told(limit as f64),
                _ => {}
            }
        }
        if let (Some(0), Some(Reset::Full(reset) | Reset::Some(reset))) = (signal.remaining, signal.reset) {
            self.state = PAUSED;
            self.until = self.until.max(now + seconds(reset));
        }
    }

    /// Returns the time as a number that never decreases.
    fn tick(&mut self, now: Time) -> f64 {
        let now = seconds(now);
        if self.begun == 0 {
            self.begun = 1;
            self.clock = now;
            self.cut = now - 1000.0;
            self.openings.begin(now);
            self.requests.mark(now);
            self.tokens.mark(now);
        }
        if now + LARGEST_STEP < self.clock {
            // Another clock, or one that was set back: no time that is remembered means anything on it.
            (self.clock, self.cut, self.until, self.settle) = (now, now - 1000.0, now, 0.0);
            self.openings.begin(now);
            self.state = OPEN;
            self.requests.new_clock(now);
            self.tokens.new_clock(now);
        }
        self.clock = self.clock.max(now);
        self.clock
    }

    /// Returns the time in which a refusal of the probe would have come.
    fn look(&self) -> f64 {
        (1.5 * self.delay + 0.02).clamp(0.1, 3.0)
    }

    /// Returns the rate that is limited.
    fn limited(&mut self) -> &mut Rate {
        if self.kind.is_tokens() { &mut self.tokens } else { &mut self.requests }
    }

    /// Continues after a probe that was taken.
    fn resume(&mut self, now: f64) {
        self.state = OPEN;
        self.pause = 0.0;
        let opened = self.probe;
        let closed = self.openings.reopen(opened);
        let windowed = self.limited().is_windowed();
        if closed > OUTAGE {
            // An outage: what was learnt before it is as good as anything.
            self.requests.mark(opened);
            self.tokens.mark(opened);
            self.hurry(false);
        } else if closed > 2.0 || closed > 0.2 && windowed {
            let is_sliding = self.limited().is_sliding();
            let opening = self.openings.opened(opened, closed, self.told == 1, is_sliding);
            self.requests.opened(opening);
            self.tokens.opened(opening);
            self.hurry(self.openings.is_open());
            self.settle = opened + SETTLE;
            (self.shown_requests, self.shown_tokens) = (self.requests.ceiling(), self.tokens.ceiling());
        } else {
            // No window was used up: a bucket was empty, or nearly so.
            self.requests.not_windowed();
            self.tokens.not_windowed();
        }
        if self.shown_requests > 0.0 && self.tokens.is_used() {
            self.kind.compare_amounts(self.shown_requests, self.shown_tokens);
        }
        self.shown_requests = 0.0;
        let probe = self.probe;
        let limited = self.limited();
        limited.restart(now.max(probe + limited.gap()));
    }

    fn refused(&mut self, now: f64, admitted_at: f64, is_probe: bool, retry_after: f64, count: Option<f64>) {
        self.delay = (0.9 * self.delay).max(now - admitted_at);
        if is_probe {
            self.openings.close(now);
            let limited = self.limited();
            let longer = if limited.is_slow() || limited.is_sliding() { LONGER.0 } else { LONGER.1 };
            self.pause = (longer * self.pause).clamp(PAUSE, LONGEST_PAUSE);
            self.state = PAUSED;
            self.told = u16::from(retry_after > 0.0);
            self.until = now + if retry_after > 0.0 { retry_after.max(PAUSE) } else { self.pause };
            let next = self.openings.next(now).filter(|next| next - now < 2.0 * LONGEST_PAUSE);
            if let Some(next) = next.filter(|_| retry_after <= 0.0 && self.limited().is_windowed()) {
                self.until = next.max(now + PAUSE);
            }
            return;
        }
        if admitted_at <= self.cut || self.state != OPEN {
            return;
        }
        if self.openings.withdraw(now) {
            self.requests.not_opened();
            self.tokens.not_opened();
        }
        let again = now - self.cut < 10.0 && self.requests.known();
        let since = now - self.cut;
        self.cut = now;
        self.kind.count(again);
        let successive = self.kind.successive;
        let gap = self.limited().gap();
        let least = if self.kind.is_in_flight() { PAUSE } else { 1.2 * gap };
        self.pause = (PAUSE * f64::from(1 << successive.min(3))).max(least).min(LONGEST_PAUSE);
        self.state = PAUSED;
        self.until = now + retry_after.max(self.pause);
        self.told = u16::from(retry_after > self.pause);
        let next = self.openings.next(now).filter(|next| next - now < 2.0 * LONGEST_PAUSE);
        let current = self.openings.current(now);
        if let Some(next) = next.filter(|_| retry_after <= 0.0 && self.limited().is_used_up(now, current)) {
            self.until = next.max(now + PAUSE);
            self.openings.close(now);
        }
        if retry_after > (4.0 * gap).max(1.0) {
            // Longer than a bucket would need: a window is used up, and opens then.
            self.openings.close(now);
        }
        if retry_after > OUTAGE {
            return;
        }
        let count = count.unwrap_or(self.in_flight.count as f64);
        let contradicts = self.kind.is_in_flight() && !again && self.in_flight.holds();
        // Those on their way make the count too high, more so in a burst.
        let less = if again { 0.01 * f64::from(1 << successive.min(5)) } else { 0.0 };
        let peak = self.in_flight.peak();
        let grown = self.requests.has_left();
        let usual = self.latency * self.requests.rate();
        let on_the_way = if self.kind.is_in_flight() { count / self.latency.max(0.001) } else { self.requests.rate() }
            * self.delay.min(0.1);
        self.in_flight.cut((count * (1.0 - less)).round(), if again { 0.0 } else { on_the_way });
        if now >= self.settle {
            self.cut_rates(now, again);
        } else if self.openings.is_longest() {
            self.requests.compare_minute(now);
            self.tokens.compare_minute(now);
        }
        let shown = Shown {
            now,
            rate: self.requests.ceiling(),
            count,
            peak,
            usual,
            grown,
            since,
            latency: self.latency,
            on_the_way,
            contradicts,
        };
        self.kind.compare(shown);
        let is_open = if self.requests.is_windowed() { self.openings.is_open() } else { self.kind.is_open() };
        self.hurry(is_open);
    }

    /// Sets whether the next refusal is sought soon.
    fn hurry(&mut self, is_open: bool) {
        self.requests.hurry(is_open);
        self.tokens.hurry(is_open);
    }

    /// Sets the ceilings after a refusal: of the rate that is limited, and of the other one to what was taken.
    fn cut_rates(&mut self, now: f64, again: bool) {
        let successive = self.kind.successive;
        let (in_flight, by_tokens) = (self.kind.is_in_flight(), self.kind.is_tokens());
        if !again {
            let enough = self.requests.since_mark() >= 20.0;
            self.shown_requests = if enough { self.requests.mean(now) } else { 0.0 };
            self.shown_tokens = self.tokens.mean(now);
        }
        let range = (self.requests.is_slow() && !self.requests.is_windowed())
            .then(|| {
                // Several in a row say that the limit has changed.
                let cuts = if successive >= 2 { successive as usize } else { replay::CUTS };
                self.log.range(cuts)
            })
            .flatten();
        if range.is_some_and(|range| range.smallest > 1.0) {
            self.requests.saves_up();
        }
        for (rate, is_limited) in
            [(&mut self.requests, !in_flight && !by_tokens), (&mut self.tokens, !in_flight && by_tokens)]
        {
            rate.compare_minute(now);
            if !is_limited {
                rate.follow(now);
            } else if let Some(range) = range.filter(|range| range.size <= 2.0 && !by_tokens) {
                rate.cut_slow(now, range);
            } else if again {
                rate.cut_again(now, successive);
            } else {
                rate.cut(now);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod simulation;
#[cfg(test)]
mod tests;
