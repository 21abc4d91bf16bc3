//! Finds a rate limit that nobody told, from what is taken and what is refused.
//!
//! - `rate`: the search for a rate, in requests or in tokens
//! - `in_flight`: the search for a number of requests in flight
//! - `window`: counts in bins of time
//!
//! Only a refusal cuts. Overload and other errors stop growth; latency is no signal, because it follows the length of the answer.

mod in_flight;
mod rate;
mod window;

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytemuck::{Pod, Zeroable};

use crate::limits::Time;
use crate::types::rate_limit::{Reset, Unit, WindowSignal};
use in_flight::InFlight;
use rate::Rate;

/// The first pause after a refusal, in seconds; each probe that is refused doubles it.
const PAUSE: f64 = 0.1;

/// The longest pause that no `Retry-After` asked for, in seconds.
const LONGEST_PAUSE: f64 = 4.0;

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
    /// Time that a refusal takes.
    delay: f64,
    /// Time at which a used up window opened; 0 if none did.
    opened: f64,
    /// Time since which all is refused.
    closed: f64,
    /// Decaying means of the squared differences of successive refusals, of logarithms of rate and number in flight.
    spread_rate: f64,
    spread_in_flight: f64,
    last_rate: f64,
    last_in_flight: f64,
    /// Number of refusals that were compared.
    compared: u32,
    /// `OPEN`, `PAUSED` or `PROBING`.
    state: u32,
    /// 1 if the limit is one of requests in flight.
    by_flight: u32,
    /// 1 if at least one request was admitted.
    begun: u32,
}

const _: () = assert!(size_of::<Controller>() < 4096);

fn seconds(time: Time) -> f64 {
    time.as_secs_f64()
}

fn time(seconds: f64) -> Time {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default()
}

impl Controller {
    /// Begins anew if the time that was passed in last is none or is still to come: the bytes are damaged.
    pub fn repair(&mut self, now: Time) {
        if self.clock.is_nan() || self.clock > seconds(now) {
            *self = Self::zeroed();
        }
    }

    /// Returns the time from which the next request may be admitted; it is in the past if that is now.
    ///
    /// In a pause that is its end; while a probe is out, the time at which it counts as taken.
    pub fn earliest(&self, now: Time) -> Time {
        let _ = now;
        let paced = if self.by_flight == 1 { 0.0 } else { self.requests.earliest() };
        time(match self.state {
            PAUSED => self.until,
            PROBING => paced.max(self.probe + self.look()),
            _ => paced,
        })
    }

    /// Returns the maximum number of requests in flight; `u32::MAX` if it is not limited.
    pub fn max_in_flight(&self, now: Time) -> u32 {
        let _ = now;
        if self.by_flight == 1 { self.in_flight.limit() } else { self.in_flight.limit_told() }
    }

    /// Returns what was learnt.
    pub fn snapshot(&self, now: Time) -> Snapshot {
        Snapshot {
            rate: self.requests.rate(),
            token_rate: None,
            max_in_flight: self.max_in_flight(now),
            in_flight: self.in_flight.count,
            binding: match (self.requests.known(), self.by_flight) {
                (false, _) => Binding::Unknown,
                (true, 1) => Binding::InFlight,
                _ => Binding::Requests,
            },
            paused_until: (self.state == PAUSED && self.until > seconds(now)).then(|| time(self.until)),
        }
    }

    /// Counts a request that is being sent, with its number of tokens if that is known or estimated.
    pub fn admitted(&mut self, now: Time, tokens: Option<u64>) {
        let now = self.tick(now);
        match self.state {
            PAUSED => {
                self.state = PROBING;
                self.probe = now;
            }
            PROBING if now >= self.probe + self.look() => self.resume(now),
            _ => {}
        }
        self.requests.admitted(now, 1.0);
        if let Some(tokens) = tokens {
            self.tokens.admitted(now, tokens as f64);
        }
        self.in_flight.admitted(now);
    }

    /// Counts the end of a request that was admitted at `admitted_at`, with the number of tokens that it was admitted with and the number that it used.
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
            self.tokens.correct(admitted_at, used as f64 - reserved as f64);
        }
        match outcome {
            Finish::Taken => {
                if is_probe {
                    self.resume(now);
                }
            }
            Finish::Refused { retry_after } => {
                self.requests.correct(admitted_at, -1.0);
                self.refused(now, admitted_at, is_probe, retry_after.map_or(0.0, seconds));
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
            self.requests.mark(now);
            self.tokens.mark(now);
        }
        self.clock = self.clock.max(now);
        self.clock
    }

    /// Returns the time in which a refusal of the probe would have come.
    fn look(&self) -> f64 {
        (1.5 * self.delay + 0.02).clamp(0.1, 3.0)
    }

    fn resume(&mut self, now: f64) {
        self.state = OPEN;
        self.pause = 0.0;
        if self.closed > 0.0 {
            let opened = self.probe;
            if now - self.closed < 65.0 {
                self.requests.opened(opened);
                self.opened = opened;
            }
            self.requests.mark(opened);
            self.closed = 0.0;
        }
    }

    fn refused(&mut self, now: f64, admitted_at: f64, is_probe: bool, retry_after: f64) {
        self.delay = (0.9 * self.delay).max(now - admitted_at);
        if is_probe {
            if self.closed <= 0.0 {
                self.closed = now;
            }
            self.pause = (2.0 * self.pause).clamp(PAUSE, LONGEST_PAUSE);
            self.state = PAUSED;
            self.until = now + if retry_after > 0.0 { retry_after } else { self.pause };
            return;
        }
        if admitted_at <= self.cut || self.state != OPEN {
            return;
        }
        let again = now - self.cut < 10.0 && self.requests.known();
        self.cut = now;
        self.pause = PAUSE;
        self.state = PAUSED;
        self.until = now + if retry_after > 0.0 { retry_after } else { self.pause };
        self.compare();
        self.in_flight.cut(self.in_flight.count as f64);
        if self.opened > 0.0 && now - self.opened < 20.0 {
            return;
        }
        if again {
            self.requests.cut_again(now);
        } else {
            self.requests.cut(now);
        }
    }

    /// Compares this refusal with the one before: the dimension that varies less is the one that is limited.
    fn compare(&mut self) {
        let rate = self.requests.rate();
        let count = self.in_flight.count as f64;
        if self.compared > 0 {
            let difference = (rate / self.last_rate).ln();
            self.spread_rate += 0.2 * (difference * difference - self.spread_rate);
            let difference = (count.max(0.5) / self.last_in_flight.max(0.5)).ln();
            self.spread_in_flight += 0.2 * (difference * difference - self.spread_in_flight);
        }
        self.compared = self.compared.saturating_add(1);
        self.last_rate = rate;
        self.last_in_flight = count;
        if self.compared >= 5 {
            if self.spread_in_flight < 0.1 * self.spread_rate && count >= 1.0 {
                self.by_flight = 1;
            } else if self.spread_rate < 0.1 * self.spread_in_flight {
                self.by_flight = 0;
            }
        }
    }
}
