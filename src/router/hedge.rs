//! When a second request is sent, and how many of them.

use std::time::Duration;

use super::decision::Time;
use super::latency::Histogram;
use super::options::{Hedge, HedgeAfter};

/// Minimum number of samples for a quantile to count.
const MIN_SAMPLES: f64 = 20.0;
/// Number of samples after which the quantile is computed anew.
const RECOMPUTE_AFTER: u32 = 16;
/// Number of second requests that may be saved up: what a short bout of slowness needs, and no storm.
const MAX_SAVED: f64 = 10.0;

/// The quantile of a kind of call, kept until there are enough new samples.
#[derive(Debug, Clone, Default)]
struct Delay {
    histogram: Histogram,
    known: Option<Duration>,
    samples: u32,
}

/// The second requests of one group.
#[derive(Debug, Clone, Default)]
pub struct Hedger {
    /// Number of second requests that may be sent.
    saved: f64,
    /// Of plain calls and of streams.
    delays: [Delay; 2],
}

impl Hedger {
    /// Counts a call, a part of which is added to the budget.
    pub fn count_call(&mut self, hedge: &Hedge) {
        self.saved = (self.saved + hedge.budget).min(MAX_SAVED.max(hedge.budget));
    }

    /// Takes the latency of an answer.
    pub fn record(&mut self, hedge: &Hedge, now: Time, is_stream: bool, sample: Duration) {
        let HedgeAfter::Quantile(quantile) = hedge.after else {
            return;
        };
        let delay = &mut self.delays[usize::from(is_stream)];
        delay.histogram.record(now, sample);
        delay.samples += 1;
        if delay.samples >= RECOMPUTE_AFTER || (delay.known.is_none() && delay.histogram.count() >= MIN_SAMPLES) {
            delay.samples = 0;
            let is_enough = delay.histogram.count() >= MIN_SAMPLES;
            delay.known = is_enough.then(|| delay.histogram.quantile(quantile)).flatten();
        }
    }

    /// Returns the delay after which a second request is sent, if it is known.
    pub fn delay(&self, hedge: &Hedge, is_stream: bool) -> Option<Duration> {
        match hedge.after {
            HedgeAfter::Time(time) => Some(time),
            HedgeAfter::Quantile(_) => self.delays[usize::from(is_stream)].known,
        }
    }

    /// True if the budget allows a second request.
    pub fn has_budget(&self) -> bool {
        // A little less: twenty times 0.05 is no exact 1.
        self.saved >= 1.0 - 1e-9
    }

    /// Takes a second request from the budget.
    pub fn take(&mut self) {
        self.saved -= 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEDGE: Hedge = Hedge { after: HedgeAfter::Quantile(0.95), budget: 0.05 };

    #[test]
    fn the_budget_is_a_part_of_the_calls() {
        let mut hedger = Hedger::default();
        let mut taken = 0;
        for call in 1..=10_000 {
            hedger.count_call(&HEDGE);
            if hedger.has_budget() {
                hedger.take();
                taken += 1;
            }
            assert!(f64::from(taken) <= 0.05 * f64::from(call) + 1e-6, "{taken} of {call}");
        }
        assert_eq!(taken, 500);
        // Little is saved up.
        (0..10_000).for_each(|_| hedger.count_call(&HEDGE));
        for _ in 0..10 {
            assert!(hedger.has_budget());
            hedger.take();
        }
        assert!(!hedger.has_budget());
    }

    #[test]
    fn the_delay_is_a_quantile_of_its_kind_of_call() {
        let mut hedger = Hedger::default();
        for sample in 1..=19 {
            hedger.record(&HEDGE, Time::ZERO, false, Duration::from_millis(sample * 10));
            assert_eq!(hedger.delay(&HEDGE, false), None);
        }
        hedger.record(&HEDGE, Time::ZERO, false, Duration::from_millis(200));
        let delay = hedger.delay(&HEDGE, false).unwrap().as_secs_f64();
        assert!((0.17..0.21).contains(&delay), "{delay}");
        assert_eq!(hedger.delay(&HEDGE, true), None);
        let fixed = Hedge { after: HedgeAfter::Time(Duration::from_secs(2)), ..HEDGE };
        assert_eq!(hedger.delay(&fixed, true), Some(Duration::from_secs(2)));
    }
}
