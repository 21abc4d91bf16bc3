//! The breaker of one deployment: stops calls to what fails, and lets one probe through at a time.

use std::time::Duration;

use super::decision::Time;
use super::options::Breaker as Thresholds;
use crate::error::ErrorKind;
use crate::limits::BreakerReport;
use crate::types::rate_limit::FailureClass;

/// Number of bins of the window in which the share of failures is counted.
const BINS: usize = 10;

#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    /// Number of the bin's interval since the clock's start.
    interval: u64,
    attempts: u32,
    failures: u32,
}

/// State of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Calls go through.
    #[default]
    Closed,
    /// No calls until this time; from then on one probe at a time.
    Open {
        /// Time of the next probe.
        until: Time,
    },
    /// The key, model or quota is refused: no calls but a probe from time to time.
    Out {
        /// Class of the failure.
        class: FailureClass,
        /// Kind of the failure.
        kind: ErrorKind,
        /// Time of the next probe.
        until: Time,
    },
}

/// A change that is worth a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The breaker has opened until this time. Not reported again while its probes fail.
    Opened(Time),
    /// The deployment is out because of this class of failure. Not reported again while its probes fail.
    Out(FailureClass),
    /// The deployment gets calls again.
    Closed,
}

/// A breaker.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    phase: Phase,
    /// True while a probe is under way.
    is_probing: bool,
    /// Number of failures in a row.
    in_row: u32,
    /// Number of times that it opened without closing in between.
    opened: u32,
    bins: [Bin; BINS],
    /// Time before which no probe begins: another process's is under way.
    held_until: Time,
    /// Number of changes that other processes had made when this one looked last.
    changes_seen: u64,
}

impl Breaker {
    /// Returns the state.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// True while a probe is under way.
    pub fn is_probing(&self) -> bool {
        self.is_probing
    }

    /// Returns the time from which on the next call is admitted.
    pub fn ready_at(&self) -> Time {
        match self.phase {
            Phase::Closed => Time::ZERO,
            _ if self.is_probing => Time::MAX,
            Phase::Open { until } | Phase::Out { until, .. } => until.max(self.held_until),
        }
    }

    /// Notes an attempt that begins. Returns true if it is a probe.
    pub fn begin(&mut self) -> bool {
        let is_probe = self.phase != Phase::Closed;
        self.is_probing |= is_probe;
        is_probe
    }

    /// Notes an attempt that ended without a word on the deployment: it was cancelled.
    pub fn cancel(&mut self, is_probe: bool) {
        if is_probe {
            self.is_probing = false;
        }
    }

    /// Notes an attempt that the deployment answered, be it to refuse that one request.
    pub fn succeed(&mut self, now: Time, is_probe: bool, thresholds: &Thresholds) -> Option<Change> {
        if is_probe && self.phase != Phase::Closed {
            self.enable();
            return Some(Change::Closed);
        }
        if self.phase == Phase::Closed {
            self.in_row = 0;
            self.count(now, false, thresholds);
        }
        None
    }

    /// Notes a failure that may pass. `random` is from 0 to 1.
    pub fn fail(&mut self, now: Time, is_probe: bool, thresholds: &Thresholds, random: f64) -> Option<Change> {
        match self.phase {
            // Of attempts that began before it opened: what is known already.
            Phase::Open { .. } | Phase::Out { .. } if !is_probe => None,
            Phase::Open { .. } => {
                self.is_probing = false;
                self.open(now, thresholds, random);
                None
            }
            Phase::Out { class, kind, .. } => {
                self.is_probing = false;
                self.phase = Phase::Out { class, kind, until: now + Duration::from_secs_f64(thresholds.probe_every) };
                None
            }
            Phase::Closed => {
                self.in_row += 1;
                let (attempts, failures) = self.count(now, true, thresholds);
                let share = f64::from(failures) / f64::from(attempts);
                let too_many = attempts >= thresholds.min_attempts && share >= thresholds.share;
                if self.in_row < thresholds.failures && !too_many {
                    return None;
                }
                let until = self.open(now, thresholds, random);
                Some(Change::Opened(until))
            }
        }
    }

    /// Notes a failure that does not pass by itself: the key, model or quota is refused.
    pub fn put_out(
        &mut self,
        now: Time,
        is_probe: bool,
        (class, kind): (FailureClass, ErrorKind),
        thresholds: &Thresholds,
    ) -> Option<Change> {
        self.cancel(is_probe);
        let was_out = matches!(self.phase, Phase::Out { .. });
        if was_out && !is_probe {
            return None;
        }
        self.phase = Phase::Out { class, kind, until: now + Duration::from_secs_f64(thresholds.probe_every) };
        (!was_out).then_some(Change::Out(class))
    }

    /// Closes the breaker, on the user's word.
    pub fn enable(&mut self) {
        *self = Self { changes_seen: self.changes_seen, ..Self::default() };
    }

    /// Lets no probe begin before a time, as another process's is under way.
    pub fn hold(&mut self, until: Time) {
        self.held_until = until;
    }

    /// True while another process probes.
    pub fn is_held(&self, now: Time) -> bool {
        self.held_until > now
    }

    /// Returns what other processes are to be told of the state.
    pub fn report(&self, now: Time) -> BreakerReport {
        match self.phase {
            Phase::Closed => BreakerReport::Closed,
            Phase::Open { until } => BreakerReport::Opened(until.saturating_sub(now), self.opened),
            Phase::Out { class, kind, until } => BreakerReport::Out(class, kind, until.saturating_sub(now)),
        }
    }

    /// Takes over what another process found out; `changes` is the number of changes so far.
    pub fn adopt(&mut self, now: Time, changes: u64, found: BreakerReport) -> Option<Change> {
        if changes == self.changes_seen {
            return None;
        }
        self.changes_seen = changes;
        let before = self.phase;
        match found {
            BreakerReport::Closed | BreakerReport::Released if before == Phase::Closed => None,
            BreakerReport::Closed | BreakerReport::Released => {
                self.enable();
                Some(Change::Closed)
            }
            BreakerReport::Opened(pause, times) => {
                self.opened = times;
                self.phase = Phase::Open { until: now + pause };
                (before == Phase::Closed).then_some(Change::Opened(now + pause))
            }
            BreakerReport::Out(class, kind, pause) => {
                self.phase = Phase::Out { class, kind, until: now + pause };
                (!matches!(before, Phase::Out { .. })).then_some(Change::Out(class))
            }
        }
    }

    fn open(&mut self, now: Time, thresholds: &Thresholds, random: f64) -> Time {
        let longest = thresholds.open_for * 2f64.powi(self.opened.min(63) as i32);
        self.opened += 1;
        // Spread, so that the processes of a fleet do not probe in the same moment.
        let until = now + Duration::from_secs_f64(longest.min(thresholds.max_open_for) * (0.75 + 0.25 * random));
        self.phase = Phase::Open { until };
        until
    }

    /// Counts an attempt, and returns the numbers of attempts and failures in the window.
    fn count(&mut self, now: Time, failed: bool, thresholds: &Thresholds) -> (u32, u32) {
        let interval = (now.as_secs_f64() * BINS as f64 / thresholds.window) as u64;
        let bin = &mut self.bins[(interval % BINS as u64) as usize];
        if bin.interval != interval {
            *bin = Bin { interval, ..Bin::default() };
        }
        bin.attempts += 1;
        bin.failures += u32::from(failed);
        let bins = self.bins.iter().filter(|bin| bin.interval + BINS as u64 > interval);
        bins.fold((0, 0), |(attempts, failures), bin| (attempts + bin.attempts, failures + bin.failures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds {
        failures: 3,
        share: 0.5,
        min_attempts: 10,
        window: 10.0,
        open_for: 4.0,
        max_open_for: 20.0,
        probe_every: 300.0,
    };

    fn at(seconds: f64) -> Time {
        Duration::from_secs_f64(seconds)
    }

    fn fail(breaker: &mut Breaker, now: f64) -> Option<Change> {
        let is_probe = breaker.begin();
        breaker.fail(at(now), is_probe, &THRESHOLDS, 1.0)
    }

    fn succeed(breaker: &mut Breaker, now: f64) -> Option<Change> {
        let is_probe = breaker.begin();
        breaker.succeed(at(now), is_probe, &THRESHOLDS)
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_probe_closes_it() {
        let mut breaker = Breaker::default();
        assert_eq!((fail(&mut breaker, 1.0), fail(&mut breaker, 1.0)), (None, None));
        assert_eq!(succeed(&mut breaker, 1.0), None);
        assert_eq!((fail(&mut breaker, 1.0), fail(&mut breaker, 1.0)), (None, None));
        assert_eq!(fail(&mut breaker, 1.0), Some(Change::Opened(at(5.0))));
        assert_eq!(breaker.ready_at(), at(5.0));
        // An attempt that began before.
        assert_eq!(breaker.fail(at(1.5), false, &THRESHOLDS, 1.0), None);
        assert_eq!(breaker.succeed(at(1.5), false, &THRESHOLDS), None);
        assert_eq!(breaker.ready_at(), at(5.0));
        // One probe at a time.
        assert!(breaker.begin());
        assert_eq!(breaker.ready_at(), Time::MAX);
        breaker.cancel(true);
        assert_eq!(breaker.ready_at(), at(5.0));
        assert_eq!(succeed(&mut breaker, 5.0), Some(Change::Closed));
        assert_eq!((breaker.phase(), breaker.ready_at()), (Phase::Closed, Time::ZERO));
        // All is forgotten.
        assert_eq!((fail(&mut breaker, 5.0), fail(&mut breaker, 5.0)), (None, None));
    }

    #[test]
    fn it_stays_open_longer_each_time_up_to_a_maximum() {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            fail(&mut breaker, 0.0);
        }
        let mut now = breaker.ready_at().as_secs_f64();
        let mut times = vec![now];
        for _ in 0..4 {
            assert_eq!(fail(&mut breaker, now), None, "said already");
            times.push(breaker.ready_at().as_secs_f64() - now);
            now = breaker.ready_at().as_secs_f64();
        }
        assert_eq!(times, [4.0, 8.0, 16.0, 20.0, 20.0]);
        let is_probe = breaker.begin();
        breaker.fail(at(now), is_probe, &THRESHOLDS, 0.0);
        assert_eq!(breaker.ready_at(), at(now + 15.0));
    }

    #[test]
    fn a_share_of_failures_in_the_window_opens_it() {
        let mut breaker = Breaker::default();
        for round in 0..4 {
            succeed(&mut breaker, f64::from(round));
            assert_eq!(fail(&mut breaker, f64::from(round)), None, "8 attempts are too few");
        }
        succeed(&mut breaker, 4.0);
        assert!(matches!(fail(&mut breaker, 4.0), Some(Change::Opened(_))));
        // Two thirds succeed.
        let mut breaker = Breaker::default();
        for round in 0..100 {
            let now = f64::from(round) * 0.1;
            succeed(&mut breaker, now);
            succeed(&mut breaker, now);
            assert_eq!(fail(&mut breaker, now), None);
        }
        // Twelve seconds later only what happened since counts.
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            succeed(&mut breaker, 1.0);
        }
        let failed = |breaker: &mut Breaker| (fail(breaker, 13.0), fail(breaker, 13.0));
        for _ in 0..3 {
            assert_eq!(failed(&mut breaker), (None, None));
            succeed(&mut breaker, 13.0);
        }
        assert!(matches!(fail(&mut breaker, 13.0), Some(Change::Opened(_))), "7 of 10 failed");
    }

    #[test]
    fn what_is_refused_is_probed_every_five_minutes() {
        let mut breaker = Breaker::default();
        let is_probe = breaker.begin();
        let out = breaker.put_out(at(1.0), is_probe, (FailureClass::Auth, ErrorKind::NotFound), &THRESHOLDS);
        assert_eq!((out, breaker.ready_at()), (Some(Change::Out(FailureClass::Auth)), at(301.0)));
        // Other attempts that were under way.
        assert_eq!(breaker.put_out(at(2.0), false, (FailureClass::Auth, ErrorKind::NotFound), &THRESHOLDS), None);
        assert_eq!(breaker.fail(at(2.0), false, &THRESHOLDS, 1.0), None);
        assert_eq!(breaker.ready_at(), at(301.0));
        assert!(breaker.begin());
        assert_eq!(
            breaker.put_out(at(302.0), true, (FailureClass::Auth, ErrorKind::NotFound), &THRESHOLDS),
            None,
            "said once"
        );
        assert_eq!(breaker.ready_at(), at(602.0));
        // A probe that finds the server down says nothing of the key.
        assert_eq!(fail(&mut breaker, 602.0), None);
        assert_eq!(breaker.ready_at(), at(902.0));
        assert_eq!(succeed(&mut breaker, 902.0), Some(Change::Closed));
        breaker.begin();
        breaker.put_out(at(903.0), false, (FailureClass::QuotaFatal, ErrorKind::RateLimit), &THRESHOLDS);
        breaker.enable();
        assert_eq!(breaker.ready_at(), Time::ZERO);
    }
}
