//! Which dimension a server limits, as its refusals show it.
//!
//! At refusals the dimension that is limited has the same value each time, whereas the others vary.

use bytemuck::{Pod, Zeroable};

/// Logarithm of the likelihood ratio from which the limit is taken for one of requests in flight, and below which it no
/// longer is.
const IN_FLIGHT: f64 = 3.2;
const NOT_IN_FLIGHT: f64 = 2.0;

/// The same for a limit of tokens in place of requests, and the other way round.
const TOKENS: f64 = 1.5;

/// Number of successive refusals, each soon after the one before, after which the limit is not one of requests in flight.
const CONTRADICTIONS: u32 = 8;

/// Number of latencies after a pause in which the number in flight grows from none.
const CLIMB: f64 = 2.0;

/// Part by which the number that is usually in flight may be wrong: the mean latency is that of the last 20 answers or so, and
/// the rate changes within a latency. Of many requests that is more than their number varies by chance.
const UNCERTAIN: f64 = 0.05;

/// What a refusal shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) now: f64,
    /// Rate of requests that seems to be the limit, per second.
    pub(super) rate: f64,
    /// Number of requests that were in flight.
    pub(super) count: f64,
    /// The highest number that were in flight since the refusal before when one more was taken, and the time since then.
    pub(super) peak: f64,
    pub(super) since: f64,
    /// Number that is usually in flight at this rate.
    pub(super) usual: f64,
    /// True if the rate was growing, and the number with it.
    pub(super) grown: bool,
    /// Mean latency of an answer.
    pub(super) latency: f64,
    /// Number of requests on their way to the server or back, roughly.
    pub(super) on_the_way: f64,
    /// True if as many had been in flight before without a refusal.
    pub(super) contradicts: bool,
}

/// The dimension that is limited. All zero is a fresh one, which takes it for the rate of requests.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Kind {
    /// Decaying means of squared differences of logarithms between refusals: of the rate and of the number in flight.
    spread_rate: f64,
    spread_in_flight: f64,
    /// Time and values of the last refusal that was compared.
    sampled: f64,
    last_rate: f64,
    last_in_flight: f64,
    /// Logarithm of the likelihood of a limit in flight over that of a rate.
    evidence: f64,
    /// Logarithm of the likelihood of a limit of tokens over that of one of requests.
    token_evidence: f64,
    /// Amounts a second between the last two refusals.
    last_requests: f64,
    last_tokens: f64,
    /// Number of refusals that were compared.
    refusals: u32,
    /// 1 if the limit is one of requests in flight.
    in_flight: u32,
    /// 1 if the limit is one of tokens.
    tokens: u32,
    /// Number of successive refusals that came soon after another one.
    pub(super) successive: u32,
    /// Number of times that a limit in flight was found and proved wrong.
    doubts: u32,
    unused: u32,
}

fn square(new: f64, old: f64) -> f64 {
    // One outlier, such as a limit that changed, must not outweigh the others.
    (new.max(1e-9) / old.max(1e-9)).ln().powi(2).min(0.05)
}

impl Kind {
    /// Returns true if the limit is one of requests in flight.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight == 1
    }

    /// Returns true if the limit is one of tokens.
    pub(super) fn is_tokens(&self) -> bool {
        self.in_flight == 0 && self.tokens == 1
    }

    /// Returns true if the next refusal is wanted soon, because it will tell what is limited.
    pub(super) fn is_open(&self) -> bool {
        self.in_flight == 0 && self.refusals < 12 && (self.evidence > 1.0 || self.refusals < 4 && self.evidence > -2.0)
    }

    /// Counts a refusal that came soon after another one, or not.
    pub(super) fn count(&mut self, again: bool) {
        self.successive = if again { self.successive.saturating_add(1) } else { 0 };
        if self.in_flight == 1 && self.successive >= CONTRADICTIONS {
            self.in_flight = 0;
            self.evidence = -8.0;
            self.doubts = self.doubts.saturating_add(1);
        }
    }

    /// Compares rate and number in flight of this refusal with those of the one before.
    ///
    /// The number in flight changes within a latency, so a refusal that is closer to the one before says nothing.
    pub(super) fn compare(&mut self, shown: Shown) {
        // Number of independent values since then, without those while it grew from none after the pause.
        let independent = shown.since / shown.latency.max(0.01) - CLIMB;
        if shown.now - self.sampled < 2.0 * shown.latency || independent < 0.0 && self.refusals > 0 {
            return;
        }
        self.sampled = shown.now;
        // The first refusal ends a fast growth, so its figures are too high.
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals == 1 {
            return;
        }
        if self.last_rate > 0.0 {
            let count = shown.count;
            self.spread_rate += 0.3 * (square(shown.rate, self.last_rate) - self.spread_rate);
            // If the number is limited, none was taken at as many or more, and the number at a refusal is a high one. If a rate
            // is, it is one of many that occur at this rate.
            let slack = (2.0 * shown.on_the_way.sqrt()).floor();
            let deviation = (0.5 * shown.usual.max(1.0) + (UNCERTAIN * shown.usual).powi(2)).sqrt();
            let below = |number: f64| 1.0 / (1.0 + (-1.702 * (number - shown.usual) / deviation).exp());
            let rare = (-1.6 - 0.8 * (1.0 - below(count)).max(1e-9).ln()).min(2.5);
            let over = shown.peak - (count - 1.0) - slack;
            // The values at two refusals differ by as many as were on their way, or by as many as they vary at a rate.
            let difference = (count - self.last_in_flight).powi(2);
            let (by_number, by_rate) = (shown.on_the_way + 0.3 + (0.01 * count).powi(2), 2.0 * deviation * deviation);
            let same = 0.5 * ((by_rate / by_number).ln() - difference * (1.0 / by_number - 1.0 / by_rate));
            let squared = (difference - 2.0 * by_number).max(0.0) / (count.max(0.5) * self.last_in_flight.max(0.5));
            self.spread_in_flight += 0.3 * (squared.min(0.05) - self.spread_in_flight);
            let same = if by_rate > by_number { same.clamp(-1.5, 2.0) } else { 0.0 };
            let independent_lately = if shown.grown { independent.min(6.0) } else { independent };
            let none_higher = (-independent_lately.max(0.0) * below(shown.peak + 0.5).ln()).min(2.0);
            let likelihood = if count < 1.0 || shown.contradicts {
                -2.5
            } else if over > 1.0 {
                // The answer that made room for one more was on its way.
                if independent > 1.0 { -2.0 } else { -1.0 }
            } else if self.in_flight == 1 {
                1.0
            } else {
                rare + if over <= 0.0 { none_higher } else { 0.0 } + same
            };
            self.evidence = (self.evidence + likelihood).clamp(-8.0, 8.0);
        }
        self.last_rate = shown.rate;
        self.last_in_flight = shown.count;
        let needed = IN_FLIGHT + 2.0 * f64::from(self.doubts.min(1));
        if self.evidence > needed && self.spread_rate > self.spread_in_flight + 4e-5 {
            self.in_flight = 1;
        } else if self.evidence < NOT_IN_FLIGHT {
            self.in_flight = 0;
        }
    }

    /// Compares the amounts a second between two refusals, in requests and in tokens, with those of the time before.
    pub(super) fn compare_amounts(&mut self, requests: f64, tokens: f64) {
        if self.last_requests > 0.0 && self.last_tokens > 0.0 {
            // What both differ by says nothing, such as the limit itself that changed.
            let (by_requests, by_tokens) = (square(requests, self.last_requests), square(tokens, self.last_tokens));
            let likelihood = 0.5 * ((by_requests + 1e-5) / (by_tokens + 1e-5)).ln();
            self.token_evidence = (self.token_evidence + likelihood.clamp(-1.5, 1.5)).clamp(-4.0, 4.0);
            if self.token_evidence > TOKENS {
                self.tokens = 1;
            } else if self.token_evidence < -TOKENS {
                self.tokens = 0;
            }
        }
        (self.last_requests, self.last_tokens) = (requests, tokens);
    }
}
