//! Options of a router that are the same in its configuration and in its compiled form.

use std::time::Duration;

use crate::error::{Error, Result};

/// Strategy by which a deployment of a group is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrategyKind {
    /// By weight, evenly interleaved.
    Weighted,
    /// The one with the fewest calls in flight, relative to its weight.
    LeastBusy,
    /// The faster of two random ones, by the decayed latency of the first token.
    Latency,
    /// The one with the largest part of its budget left.
    Usage,
    /// The one with the lowest price.
    Cost,
    /// The first one.
    Ordered,
    /// The one that had the same key before.
    Affinity,
    /// A function of the user's.
    Custom,
}

/// Delay after which a second request is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HedgeAfter {
    /// A quantile of the group's latency, from 0 to 1.
    Quantile(f64),
    /// A fixed time.
    Time(Duration),
}

/// Second requests for calls that take long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hedge {
    /// Delay after which one is sent.
    pub after: HedgeAfter,
    /// Maximum number of second requests, as a part of all calls.
    pub budget: f64,
}

impl Hedge {
    /// Default of `budget`.
    pub const BUDGET: f64 = 0.05;

    /// Returns the hedge of an argument `{"after": …, "budget": …}` whose `after` is a quantile's name (`"p95"`).
    ///
    /// # Errors
    ///
    /// `after` is no quantile.
    pub fn quantile(after: &str, budget: Option<f64>) -> Result<Self> {
        let percent = after.strip_prefix('p').and_then(|digits| digits.parse::<f64>().ok());
        match percent.filter(|percent| (1.0..100.0).contains(percent)) {
            Some(percent) => {
                Ok(Self { after: HedgeAfter::Quantile(percent / 100.0), budget: budget.unwrap_or(Self::BUDGET) })
            }
            None => Err(Error::argument(format!(
                "hedge[\"after\"] must be a quantile from \"p1\" to \"p99.9\" or a number of seconds, not {after:?}"
            ))),
        }
    }
}

/// Pauses after rate limits, for providers that do not tell theirs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cooldown {
    /// First pause of a quota group, in seconds. It doubles with each further rate limit in a row.
    pub first: f64,
    /// Longest pause, in seconds.
    pub max: f64,
    /// True if calls come back bit by bit after a pause; not needed where the limits of a client pace them.
    pub ramps_up: bool,
}

impl Default for Cooldown {
    fn default() -> Self {
        Self { first: 1.0, max: 60.0, ramps_up: true }
    }
}

/// Thresholds of the breakers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Breaker {
    /// Number of failures in a row that open the breaker.
    pub failures: u32,
    /// Share of failures in the window that opens it, from 0 to 1.
    pub share: f64,
    /// Minimum number of attempts in the window for `share` to count.
    pub min_attempts: u32,
    /// Length of the window, in seconds.
    pub window: f64,
    /// First time that the breaker stays open, in seconds. It doubles each time that the probe fails.
    pub open_for: f64,
    /// Longest time that it stays open, in seconds.
    pub max_open_for: f64,
    /// Time between probes of a deployment that is out, in seconds.
    pub probe_every: f64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 5,
            share: 0.5,
            min_attempts: 20,
            window: 30.0,
            open_for: 5.0,
            max_open_for: 120.0,
            probe_every: 300.0,
        }
    }
}

/// Options of the strategy `affinity`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affinity {
    /// Maximum load of a deployment, relative to an even one.
    pub max_load: f64,
    /// Time for which a key is remembered after its last call, in seconds: as long as providers keep a prompt's prefix.
    pub remember_for: f64,
    /// Maximum number of keys that are remembered.
    pub capacity: usize,
}

impl Default for Affinity {
    fn default() -> Self {
        Self { max_load: 1.25, remember_for: 600.0, capacity: 100_000 }
    }
}

/// Class of a failure, by which the fallbacks are chosen. The values are indices of a group's fallbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackKind {
    /// Everything else.
    General = 0,
    /// The prompt exceeds the context window.
    ContextWindow = 1,
    /// The content is refused.
    ContentPolicy = 2,
}
