//! Limits that the mock server enforces, by the rules that providers have.

use std::time::Duration;

use crate::providers::mock::LimitState;
use crate::types::rate_limit::Unit;

/// Rule by which a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A bucket with room for a minute's worth, which refills at a steady rate.
    Bucket,
    /// So many in each minute of the server's clock.
    Minute,
    /// So many at the same time.
    InFlight,
}

/// Length of a window.
const MINUTE: f64 = 60.0;

/// A limit of requests, tokens or requests in flight.
#[derive(Debug)]
pub(super) struct Window {
    unit: Unit,
    rule: Rule,
    limit: f64,
    used: f64,
    /// Time of `used`.
    at: Duration,
}

impl Window {
    pub fn new(unit: Unit, rule: Rule, limit: u64) -> Self {
        let unit = if rule == Rule::InFlight { Unit::InFlight } else { unit };
        Self { unit, rule, limit: limit as f64, used: 0.0, at: Duration::ZERO }
    }

    /// Returns what a request with so many tokens costs.
    fn cost(&self, tokens: u64) -> f64 {
        if self.unit == Unit::Tokens { tokens as f64 } else { 1.0 }
    }

    fn advance(&mut self, now: Duration) {
        match self.rule {
            Rule::Bucket => {
                let passed = now.saturating_sub(self.at).as_secs_f64();
                self.used = (self.used - passed * self.limit / MINUTE).max(0.0);
            }
            Rule::Minute if now.as_secs() / 60 != self.at.as_secs() / 60 => self.used = 0.0,
            Rule::Minute | Rule::InFlight => {}
        }
        self.at = now;
    }

    /// Returns the time until there is room for a request with so many tokens; zero if there is now.
    pub fn wait(&mut self, tokens: u64, now: Duration) -> Duration {
        self.advance(now);
        let missing = self.used + self.cost(tokens) - self.limit;
        // Less than a millionth is rounding.
        if missing <= 1e-6 {
            return Duration::ZERO;
        }
        match self.rule {
            Rule::Bucket => Duration::from_secs_f64((missing * MINUTE / self.limit.max(1e-9)).min(MINUTE)),
            Rule::Minute => Duration::from_secs(60 - now.as_secs() % 60),
            Rule::InFlight => Duration::from_secs(1),
        }
    }

    /// Counts a request with so many tokens.
    pub fn charge(&mut self, tokens: u64) {
        self.used += self.cost(tokens);
    }

    /// Counts the end of a request.
    pub fn finish(&mut self) {
        if self.rule == Rule::InFlight {
            // A request that began before the limit was set is not counted.
            self.used = (self.used - 1.0).max(0.0);
        }
    }

    /// Returns what header fields tell.
    pub fn state(&self) -> LimitState {
        let reset = match self.rule {
            Rule::Bucket => self.used * MINUTE / self.limit.max(1e-9),
            Rule::Minute => (60 - self.at.as_secs() % 60) as f64,
            Rule::InFlight => 0.0,
        };
        LimitState {
            unit: self.unit,
            limit: self.limit as u64,
            remaining: (self.limit - self.used).max(0.0) as u64,
            reset: Duration::from_secs_f64(reset.clamp(0.0, 86_400.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn taken(window: &mut Window, tokens: u64, now: Duration) -> Result<(), Duration> {
        match window.wait(tokens, now) {
            Duration::ZERO => {
                window.charge(tokens);
                Ok(())
            }
            wait => Err(wait),
        }
    }

    #[test]
    fn a_bucket_refills_at_its_rate() {
        let mut window = Window::new(Unit::Requests, Rule::Bucket, 60);
        for _ in 0..60 {
            assert_eq!(taken(&mut window, 9, at(0)), Ok(()));
        }
        assert_eq!(taken(&mut window, 9, at(0)), Err(at(1)));
        assert_eq!(taken(&mut window, 9, at(1)), Ok(()));
        assert_eq!((window.state().remaining, window.state().reset), (0, at(60)));
    }

    #[test]
    fn a_minute_begins_anew_by_the_clock() {
        let mut window = Window::new(Unit::Tokens, Rule::Minute, 100);
        assert_eq!(taken(&mut window, 70, at(50)), Ok(()));
        assert_eq!(taken(&mut window, 40, at(50)), Err(at(10)));
        assert_eq!(window.state().remaining, 30);
        assert_eq!(taken(&mut window, 40, at(60)), Ok(()));
        // More than the limit never fits.
        assert_eq!(taken(&mut window, 101, at(61)), Err(at(59)));
    }

    #[test]
    fn calls_in_flight_make_room_when_they_end() {
        let mut window = Window::new(Unit::Requests, Rule::InFlight, 1);
        assert_eq!(taken(&mut window, 5, at(0)), Ok(()));
        assert_eq!(taken(&mut window, 5, at(100)), Err(at(1)));
        window.finish();
        assert_eq!(taken(&mut window, 5, at(100)), Ok(()));
    }

    #[test]
    fn the_end_of_a_call_that_was_not_counted_makes_no_room() {
        let mut window = Window::new(Unit::Requests, Rule::InFlight, 1);
        window.finish();
        assert_eq!(taken(&mut window, 5, at(0)), Ok(()));
        assert_eq!(taken(&mut window, 5, at(0)), Err(at(1)));
    }
}
