//! Pauses and stops of a quota after failures.

use bytemuck::{Pod, Zeroable};

use super::Time;
use super::budget::{PauseReason, Refusal, Taken, Wait};
use super::nanoseconds;
use super::stop::{kind_of, number_of, stop_of};
use crate::types::rate_limit::{FailureClass, Signals};

/// Shortest and longest pause after a refusal without a time of its own.
const FIRST_PAUSE: u64 = 500_000_000;
const LONGEST_PAUSE: u64 = 4_000_000_000;

/// Time for which others wait for the outcome of a probe. A refusal arrives within a round trip; the outcome of a call that
/// was accepted may take minutes.
const PROBE_TIME: u64 = 1_000_000_000;

/// Time between two attempts while a quota is stopped, or its day's limit is used up.
const RETRY: u64 = 300_000_000_000;

/// Longest pause that is taken for one that was asked for: a limit of a month.
const LONGEST_TOLD: u64 = 32 * 24 * 3_600_000_000_000;

/// The pause and the stop of a quota, all zero if there is none. Times are in nanoseconds on the store's clock.
///
/// After a pause one request goes first, as a probe. The others follow when it was not refused, or when it has had no answer
/// for a second.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Pause {
    /// End of the pause.
    until: u64,
    /// Time at which the current pause began. Refusals of older requests do not prolong it.
    since: u64,
    /// Length of the last pause if the server gave no time, in nanoseconds.
    length: u64,
    /// End of the wait for the probe that is out; 0 if there is none.
    probe_until: u64,
    /// Time at which the probe was admitted.
    probe_at: u64,
    /// Time since which the quota is stopped.
    stopped_since: u64,
    /// Time from which a stopped quota admits one request.
    stopped_until: u64,
    /// 1 + the index of the reason in [`REASONS`] while a pause lasts or its probe has not succeeded.
    reason: u32,
    /// 1 + the number of the reason while the quota is stopped.
    stopped: u32,
}

const REASONS: [PauseReason; 4] =
    [PauseReason::Rate, PauseReason::Exhausted, PauseReason::DayQuota, PauseReason::Overload];

fn look_up<T: Copy>(table: &[T], code: u32) -> Option<T> {
    table.get((code as usize).checked_sub(1)?).copied()
}

fn code_of<T: PartialEq>(table: &[T], value: &T) -> u32 {
    table.iter().position(|other| other == value).map_or(0, |index| index as u32 + 1)
}

impl Pause {
    /// Returns whether a request may be sent now, and then whether it is a probe.
    pub(super) fn check(&self, now: u64) -> Result<bool, Wait> {
        if self.reason == 0 && self.stopped == 0 {
            return Ok(false);
        }
        if let Some(refusal) = self.stopped().filter(|_| now < self.stopped_until) {
            return Err(Wait::Never(refusal));
        }
        match self.paused(now) {
            Some((time, _)) => Err(Wait::Until(time)),
            // The probe has had no answer for longer than a refusal takes.
            None if self.probe_until > 0 && self.stopped == 0 => Ok(false),
            None => Ok(true),
        }
    }

    /// Returns the end of the pause, or of the wait for its probe.
    pub(super) fn paused(&self, now: u64) -> Option<(Time, PauseReason)> {
        let reason = look_up(&REASONS, self.reason)?;
        if now < self.until {
            Some((Time::from_nanos(self.until), reason))
        } else if now < self.probe_until {
            Some((Time::from_nanos(self.probe_until), PauseReason::Probe))
        } else {
            None
        }
    }

    pub(super) fn stopped(&self) -> Option<Refusal> {
        let (class, kind) = stop_of(self.stopped.checked_sub(1)?)?;
        let (since, probe) = (Time::from_nanos(self.stopped_since), Time::from_nanos(self.stopped_until));
        Some(Refusal::Stopped { class, kind, since, probe })
    }

    /// Notes that a probe was admitted.
    pub(super) fn probe(&mut self, now: u64) {
        self.probe_at = now;
        self.probe_until = now.saturating_add(PROBE_TIME);
        self.stopped_until = now.saturating_add(RETRY);
    }

    fn begin(&mut self, now: u64, length: u64, reason: PauseReason) {
        let until = now.saturating_add(length);
        self.since = now;
        self.probe_until = 0;
        if until >= self.until || self.until <= now {
            self.until = until;
            self.reason = code_of(&REASONS, &reason);
        }
    }

    /// Notes that a window is used up until this time, without a refusal.
    pub(super) fn exhausted(&mut self, now: u64, until: u64) {
        if until > self.until.max(now) {
            self.begin(now, until - now, PauseReason::Exhausted);
        }
    }

    /// Notes the outcome of a request. `day_reset` is the time until the limit of a day is available again.
    pub(super) fn settled(&mut self, now: u64, taken: &Taken, outcome: &Signals, day_reset: Option<u64>) {
        let at = nanoseconds(taken.at);
        let told = outcome.retry_after.map(nanoseconds);
        match outcome.failure {
            Some(FailureClass::Rate) => self.refused(now, at, taken.probe, told),
            Some(FailureClass::DayQuota) => {
                if at >= self.since || self.reason != code_of(&REASONS, &PauseReason::DayQuota) {
                    self.begin(now, told.or(day_reset).unwrap_or(RETRY), PauseReason::DayQuota);
                }
            }
            Some(class @ (FailureClass::QuotaFatal | FailureClass::Auth)) => {
                if self.stopped == 0 {
                    self.stopped = number_of(class, outcome.refused.map(kind_of)).map_or(0, |number| number + 1);
                    self.stopped_since = now;
                    self.stopped_until = now.saturating_add(RETRY);
                }
                self.cancelled(taken);
            }
            // The request did not reach the place where limits are counted: the next one finds out.
            Some(FailureClass::Transient) => self.cancelled(taken),
            Some(FailureClass::Overload) => match told {
                Some(length) if now.saturating_add(length) > self.until => {
                    self.begin(now, length, PauseReason::Overload)
                }
                _ => self.end_of_pause(taken),
            },
            Some(FailureClass::BadRequest) => self.end_of_pause(taken),
            None => self.accepted(taken),
        }
    }

    /// Notes that the provider accepted a request.
    pub(super) fn accepted(&mut self, taken: &Taken) {
        self.end_of_pause(taken);
        // An answer to a request from before the stop says nothing about it.
        if self.stopped != 0 && nanoseconds(taken.at) > self.stopped_since {
            self.stopped = 0;
        }
    }

    fn refused(&mut self, now: u64, at: u64, probe: bool, told: Option<u64>) {
        // Requests that were in flight when the pause began are refused for the same reason. Only a longer time is news.
        if self.reason != 0 && at < self.since {
            if let Some(length) = told
                && now.saturating_add(length) > self.until
            {
                self.until = now.saturating_add(length);
                self.probe_until = 0;
            }
            return;
        }
        self.length = if probe { self.length.saturating_mul(2).clamp(FIRST_PAUSE, LONGEST_PAUSE) } else { FIRST_PAUSE };
        self.begin(now, told.unwrap_or(self.length), PauseReason::Rate);
    }

    fn end_of_pause(&mut self, taken: &Taken) {
        if taken.probe && nanoseconds(taken.at) >= self.since {
            self.reason = 0;
            self.length = 0;
            self.probe_until = 0;
        }
    }

    /// Notes that a request ended without an outcome. If it was the probe, the next one is.
    pub(super) fn cancelled(&mut self, taken: &Taken) {
        if taken.probe && self.probe_at == nanoseconds(taken.at) {
            self.probe_until = 0;
        }
    }

    /// Moves times that lie further ahead than a valid state has them, as damaged bytes may say.
    pub(super) fn repair(&mut self, now: u64) {
        let most = |time: &mut u64, length: u64| *time = (*time).min(now.saturating_add(length));
        most(&mut self.until, LONGEST_TOLD);
        most(&mut self.probe_until, PROBE_TIME);
        most(&mut self.stopped_until, RETRY);
        for past in [&mut self.since, &mut self.probe_at, &mut self.stopped_since] {
            most(past, 0);
        }
    }

    /// Ends a pause and a stop.
    pub(super) fn enable(&mut self) {
        *self = Self::zeroed();
    }
}
