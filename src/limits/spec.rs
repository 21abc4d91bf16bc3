//! The limits that a user declares for a quota.

use std::time::Duration;

use crate::types::rate_limit::Unit;

/// A limit of a window of time. A dimension that is `None` is not limited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Length of the window.
    pub per: Duration,
    /// Maximum number of requests in any window.
    pub requests: Option<u64>,
    /// Maximum number of tokens in any window, input and output together.
    pub tokens: Option<u64>,
    /// Maximum number of input tokens in any window.
    pub input_tokens: Option<u64>,
    /// Maximum number of output tokens in any window.
    pub output_tokens: Option<u64>,
}

impl Limit {
    /// Creates a limit of a window of this length in which nothing is limited.
    pub fn per(per: Duration) -> Self {
        Self { per, requests: None, tokens: None, input_tokens: None, output_tokens: None }
    }

    /// Returns the dimensions, each with its maximum.
    pub(super) fn amounts(&mut self) -> [(Unit, &mut Option<u64>); 4] {
        [
            (Unit::Requests, &mut self.requests),
            (Unit::Tokens, &mut self.tokens),
            (Unit::InputTokens, &mut self.input_tokens),
            (Unit::OutputTokens, &mut self.output_tokens),
        ]
    }
}

/// Everything that is declared for one quota.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QuotaSpec {
    /// Limits of windows of time.
    pub limits: Vec<Limit>,
    /// Maximum number of requests in flight.
    pub max_in_flight: Option<u32>,
    /// Part of a window that may be admitted at once after idleness, from 0 to 1; learnt if it is not set.
    pub burst: Option<f64>,
    /// True if limits that are not declared are learnt.
    pub adaptive: bool,
    /// Part of the budget that bulk calls get while interactive calls wait, from 0 to 1.
    pub bulk_share: f64,
}

impl QuotaSpec {
    /// Adds another declaration for the same quota. The limits of both hold: the stricter wins.
    pub fn add(&mut self, other: &Self) {
        for limit in &other.limits {
            if !self.limits.contains(limit) {
                self.limits.push(*limit);
            }
        }
        self.max_in_flight = self.max_in_flight.into_iter().chain(other.max_in_flight).min();
        self.burst = match (self.burst, other.burst) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        self.adaptive |= other.adaptive;
        self.bulk_share = self.bulk_share.max(other.bulk_share);
    }
}

/// Priority of a call within its quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// A person or a program waits for the answer.
    #[default]
    Interactive,
    /// One of many; passed by interactive calls.
    Bulk,
}
