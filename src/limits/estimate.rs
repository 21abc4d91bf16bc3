//! Estimates of a call's tokens, learnt from the usage of earlier calls.

use crate::types::rate_limit::{TokenRules, Tokens};

/// Weight that older samples keep when a new one is added: the last 50 calls count.
const DECAY: f64 = 0.98;

/// Estimates of one quota.
#[derive(Debug)]
pub(super) struct Estimates {
    /// Decayed sums of the input tokens of calls, and of their requests' bytes.
    input: f64,
    bytes: f64,
    /// Decayed sum of the output tokens of calls, and their number.
    output: f64,
    calls: f64,
}

impl Default for Estimates {
    /// Four bytes a token and 256 tokens an answer, with the weight of one call of 4,000 bytes.
    fn default() -> Self {
        Self { input: 1000.0, bytes: 4000.0, output: 256.0, calls: 1.0 }
    }
}

impl Estimates {
    pub(super) fn tokens_per_byte(&self) -> f64 {
        self.input / self.bytes
    }

    pub(super) fn output_tokens(&self) -> f64 {
        self.output / self.calls
    }

    /// Returns the tokens that a call is expected to use, or those that its provider reserves for it.
    pub(super) fn estimate(&self, bytes: u64, max_tokens: Option<u64>, rules: &TokenRules) -> Tokens {
        let input = (bytes as f64 * self.tokens_per_byte()).ceil() as u64;
        let mean = self.output_tokens().ceil() as u64;
        let output = match max_tokens {
            Some(max) if rules.reserves_max_tokens => max.saturating_mul(u64::from(rules.output_weight)),
            // What is learnt is weighted already.
            Some(max) => mean.min(max.saturating_mul(u64::from(rules.output_weight))),
            None => mean,
        };
        Tokens { input, output }
    }

    /// Learns from the tokens that a call used, as its provider counts them.
    pub(super) fn learn(&mut self, bytes: u64, used: Tokens) {
        if bytes > 0 {
            self.input = self.input * DECAY + used.input as f64;
            self.bytes = self.bytes * DECAY + bytes as f64;
        }
        self.output = self.output * DECAY + used.output as f64;
        self.calls = self.calls * DECAY + 1.0;
    }
}
