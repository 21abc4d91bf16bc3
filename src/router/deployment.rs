//! The state of one deployment that all calls share.

use std::time::Duration;

use super::breaker::{Breaker, Change};
use super::decision::{Failure, Time};
use super::latency::Latency;
use super::options::Breaker as Thresholds;
use crate::error::ErrorKind;
use crate::types::rate_limit::FailureClass;

/// What every choice reads: in one cache line, apart from the rest.
#[derive(Debug, Clone, Default)]
pub struct Slot {
    /// Time before which no call is admitted.
    pub ready_at: Time,
    /// Number of attempts in flight.
    pub in_flight: u32,
    /// True if its next attempt is a probe.
    pub needs_probe: bool,
    /// Share of the calls, relative to its siblings.
    pub weight: f64,
    /// Precedence: those with a lower number are asked first.
    pub order: i64,
    /// How long it has waited for its turn, by weight.
    pub turn: f64,
}

/// Numbers of attempts by what came of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Attempts that began.
    pub attempts: u64,
    /// Attempts that ended well.
    pub successes: u64,
    /// Attempts that failed, rate limits included.
    pub failures: u64,
    /// Attempts that failed by a rate limit.
    pub rate_limited: u64,
    /// Attempts that were given up: by the caller, or because another one won.
    pub cancelled: u64,
    /// Attempts that were probes.
    pub probes: u64,
}

/// An attempt that is under way. It is given back with its outcome; [`State`](super::state::State) counts it until then.
#[derive(Debug, PartialEq)]
#[must_use]
pub struct Ticket {
    /// The deployment that is asked.
    pub deployment: usize,
    /// Time from which the latency counts.
    pub started: Time,
    /// True if it is a probe and nothing is known of its outcome.
    pub(super) is_probe: bool,
    /// True if the answer is requested as a stream.
    pub(super) is_stream: bool,
    /// True if it was answered, though perhaps not to the end.
    pub(super) is_answered: bool,
}

/// Outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// It ended well.
    Success,
    /// It failed.
    Failure(Failure),
    /// It was given up. The time is known unless it was dropped.
    Cancelled(Option<Time>),
}

/// State of one deployment, but for its [`Slot`].
#[derive(Debug, Clone, Default)]
pub struct Deployment {
    /// Breaker.
    pub breaker: Breaker,
    /// End of the pause that the provider asked for when it had too much to do.
    pub pause_until: Time,
    /// Latencies of plain calls and of streams.
    pub latencies: [Latency; 2],
    /// Numbers of attempts.
    pub counts: Counts,
    /// Kind of the last failure.
    pub last_failure: Option<ErrorKind>,
}

/// Longest pause that is believed: a day's quota comes back within it.
pub const MAX_PAUSE: Duration = Duration::from_secs(86_400);

impl Deployment {
    /// Begins an attempt.
    pub fn begin(&mut self, deployment: usize, now: Time, is_stream: bool) -> Ticket {
        let is_probe = self.breaker.begin();
        self.counts.attempts += 1;
        self.counts.probes += u64::from(is_probe);
        Ticket { deployment, started: now, is_probe, is_stream, is_answered: false }
    }

    /// Notes that the first chunk or the whole answer has arrived. Returns its latency, the first time.
    pub fn answer(
        &mut self,
        ticket: &mut Ticket,
        now: Time,
        thresholds: &Thresholds,
    ) -> (Option<Duration>, Option<Change>) {
        if std::mem::replace(&mut ticket.is_answered, true) {
            return (None, None);
        }
        let latency = now.saturating_sub(ticket.started);
        self.latencies[usize::from(ticket.is_stream)].record(now, latency);
        let change = self.breaker.succeed(now, ticket.is_probe, thresholds);
        ticket.is_probe = false;
        (Some(latency), change)
    }

    /// Ends an attempt. `random` is from 0 to 1.
    pub fn end(
        &mut self,
        ticket: &Ticket,
        now: Time,
        outcome: &Outcome,
        thresholds: &Thresholds,
        random: f64,
    ) -> Option<Change> {
        let Ticket { is_probe, is_stream, .. } = *ticket;
        match outcome {
            Outcome::Success => {
                self.counts.successes += 1;
                None
            }
            Outcome::Cancelled(at) => {
                self.counts.cancelled += 1;
                self.breaker.cancel(is_probe);
                if let Some(now) = at.filter(|_| !ticket.is_answered) {
                    self.record_at_least(now, ticket);
                }
                None
            }
            Outcome::Failure(failure) => {
                self.counts.failures += 1;
                self.last_failure = Some(failure.kind);
                if failure.kind == ErrorKind::Timeout && !ticket.is_answered {
                    self.latencies[usize::from(is_stream)].mean.record(now, now.saturating_sub(ticket.started));
                }
                self.fail(now, is_probe, failure, thresholds, random)
            }
        }
    }

    fn fail(
        &mut self,
        now: Time,
        is_probe: bool,
        failure: &Failure,
        thresholds: &Thresholds,
        random: f64,
    ) -> Option<Change> {
        match failure.class {
            // It answers; its quota pauses.
            FailureClass::Rate | FailureClass::DayQuota => {
                self.counts.rate_limited += 1;
                self.breaker.succeed(now, is_probe, thresholds)
            }
            FailureClass::QuotaFatal | FailureClass::Auth => {
                self.breaker.put_out(now, is_probe, (failure.class, failure.kind), thresholds)
            }
            FailureClass::Overload | FailureClass::Transient => {
                if let Some(pause) = failure.retry_after {
                    self.pause_until = self.pause_until.max(now + pause.min(MAX_PAUSE));
                }
                self.breaker.fail(now, is_probe, thresholds, random)
            }
            FailureClass::BadRequest => match failure.kind {
                // Found here, before anything was sent.
                ErrorKind::InvalidArgument | ErrorKind::UnsupportedParams | ErrorKind::Internal => {
                    self.breaker.cancel(is_probe);
                    None
                }
                _ => self.breaker.succeed(now, is_probe, thresholds),
            },
        }
    }

    /// Takes the time of an attempt that was given up: what took longer than usual is slow, however long it would have taken.
    fn record_at_least(&mut self, now: Time, ticket: &Ticket) {
        let elapsed = now.saturating_sub(ticket.started);
        let mean = &mut self.latencies[usize::from(ticket.is_stream)].mean;
        if mean.get().is_some_and(|mean| elapsed.as_secs_f64() > mean) {
            mean.record(now, elapsed);
        }
    }
}
