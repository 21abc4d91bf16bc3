//! The servers' side: what an account allows, and how the deployments are.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;
use ritellm::error::ErrorKind;
use ritellm::limits::Time;
use ritellm::router::decision::Failure;
use ritellm::types::rate_limit::{FailureClass, Reset, Signals, Unit, WindowSignal};

pub const MINUTE: Duration = Duration::from_secs(60);
/// Least time that a request takes to its server.
pub const SHORTEST_WAY: Duration = Duration::from_millis(5);
pub const DAY: Duration = Duration::from_secs(86_400);

/// Condition of a deployment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Condition {
    Well,
    /// Status 500, soon.
    Failing,
    /// No answer.
    Hanging,
    /// Status 503 with a `Retry-After`.
    Overloaded,
    /// Status 429 with a `Retry-After` until this time, whatever was used.
    Closed(Time),
}

/// How an account counts what it allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Requests in any 60 s.
    Sliding,
    /// A bucket that saves up ten seconds.
    Bucket,
    /// Requests since the clock's minute began.
    ClockMinute,
}

/// An account at a provider.
pub struct Account {
    pub rule: Rule,
    /// Requests a minute.
    pub limit: f64,
    /// Requests a day, counted from midnight; then status 429 until the next one.
    pub per_day: Option<u64>,
    tells_retry_after: bool,
    arrivals: VecDeque<Time>,
    level: f64,
    at: Time,
    today: (u64, u64),
}

/// What comes of a request, and when.
pub struct Answer {
    pub delay: Duration,
    pub failure: Option<Failure>,
    pub signals: Signals,
}

fn seconds(number: f64) -> Duration {
    Duration::from_secs_f64(number)
}

fn failed(delay: f64, kind: ErrorKind, class: FailureClass, retry_after: Option<Duration>) -> Answer {
    let had_no_effect = !matches!(class, FailureClass::Transient);
    let failure = Failure { kind, class, retry_after, is_repeatable: true, had_no_effect };
    let signals = Signals { retry_after, failure: Some(class), ..Signals::default() };
    Answer { delay: seconds(delay), failure: Some(failure), signals }
}

impl Account {
    pub fn new(rule: Rule, limit: f64, per_day: Option<u64>, tells_retry_after: bool) -> Self {
        Self {
            rule,
            limit,
            per_day,
            tells_retry_after,
            arrivals: VecDeque::new(),
            level: limit / 6.0,
            at: Time::ZERO,
            today: (0, 0),
        }
    }

    /// Answers a request that is sent at `now`.
    pub fn serve(&mut self, now: Time, condition: Condition, random: &mut Rng) -> Answer {
        let way = SHORTEST_WAY.as_secs_f64() + 0.02 * random.f64();
        let arrival = now + seconds(way);
        match condition {
            Condition::Well => {}
            Condition::Failing => {
                return failed(0.05, ErrorKind::InternalServer, FailureClass::Transient, None);
            }
            Condition::Hanging => {
                return Answer { delay: DAY * 365, failure: None, signals: Signals::default() };
            }
            Condition::Overloaded => {
                let pause = Some(Duration::from_secs(random.u64(2..20)));
                return failed(2.0 * way, ErrorKind::ServiceUnavailable, FailureClass::Overload, pause);
            }
            Condition::Closed(until) => {
                let pause = Some(until.saturating_sub(arrival).max(Duration::from_secs(1)));
                return failed(2.0 * way, ErrorKind::RateLimit, FailureClass::Rate, pause);
            }
        }
        let day = arrival.as_secs() / 86_400;
        if self.today.0 != day {
            self.today = (day, 0);
        }
        if self.per_day.is_some_and(|most| self.today.1 >= most) {
            let midnight = DAY * (day as u32 + 1);
            let mut answer = failed(2.0 * way, ErrorKind::RateLimit, FailureClass::DayQuota, None);
            answer.signals.windows.push(WindowSignal {
                unit: Unit::Requests,
                period: Some(DAY),
                limit: self.per_day,
                remaining: Some(0),
                reset: Some(Reset::Full(midnight - arrival)),
            });
            if let Some(failure) = &mut answer.failure {
                failure.retry_after = Some(midnight - arrival);
            }
            return answer;
        }
        if let Some(wait) = self.refuses(arrival) {
            let pause = self.tells_retry_after.then_some(wait);
            return failed(2.0 * way, ErrorKind::RateLimit, FailureClass::Rate, pause);
        }
        self.today.1 += 1;
        // Lognormal by the sum of uniform numbers: 2 s on average.
        let normal: f64 = (0..6).map(|_| random.f64()).sum::<f64>() - 3.0;
        let delay = 2.0 * way + 1.8 * (0.7 * normal).exp();
        Answer { delay: seconds(delay), failure: None, signals: Signals::default() }
    }

    /// Counts a request, or returns the time after which one is accepted.
    fn refuses(&mut self, arrival: Time) -> Option<Duration> {
        match self.rule {
            Rule::Sliding => {
                while self.arrivals.front().is_some_and(|first| *first + MINUTE <= arrival) {
                    self.arrivals.pop_front();
                }
                if self.arrivals.len() as f64 >= self.limit {
                    return Some((self.arrivals[0] + MINUTE).saturating_sub(arrival));
                }
                let place = self.arrivals.partition_point(|time| *time <= arrival);
                self.arrivals.insert(place, arrival);
            }
            Rule::Bucket => {
                let rate = self.limit / 60.0;
                let passed = arrival.saturating_sub(self.at).as_secs_f64();
                self.level = (self.level + rate * passed).min(rate * 10.0);
                self.at = self.at.max(arrival);
                if self.level < 1.0 {
                    return Some(seconds((1.0 - self.level) / rate));
                }
                self.level -= 1.0;
            }
            Rule::ClockMinute => {
                let minute = arrival.as_secs() / 60;
                if self.at.as_secs() / 60 < minute {
                    (self.at, self.level) = (arrival, 0.0);
                }
                if self.level >= self.limit.floor() {
                    return Some((MINUTE * (minute as u32 + 1)).saturating_sub(arrival));
                }
                self.level += 1.0;
            }
        }
        None
    }
}
