//! The breaker of a deployment, as far as the members that share it know of each other: what they found, and whose probe is
//! under way. When to open and how long is decided by each member's router.

use bytemuck::{Pod, Zeroable};

use super::stop::{number_of, stop_of};
use super::{Time, nanoseconds};
use crate::error::ErrorKind;
use crate::types::rate_limit::FailureClass;

/// Time for which the others wait for the outcome of a probe: its member may have died. Most answers take less.
pub(super) const PROBE_TIME: Time = Time::from_secs(30);

/// Time for which they wait for a member that has claimed the turn and has yet to hear that it has it.
pub(super) const CLAIM_TIME: Time = Time::from_secs(2);

/// Time for which the member that found out last has the turn to probe before the others: it needs nobody's word for it.
const HEAD_START: u64 = 1_000_000_000;

/// Longest pause, in nanoseconds, that a valid state has.
const LONGEST_PAUSE: u64 = 32 * 24 * 3_600_000_000_000;

/// [`Breaker::state`] of one that is closed or open. Above them: the number of a stop.
const CLOSED: u32 = 0;
const OPEN: u32 = 1;
const FIRST_STOP: u32 = 2;

/// What a member found out about a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerReport {
    /// It failed too often, or its probe did: no calls for this time. It has opened so many times without closing in between.
    Opened(Time, u32),
    /// Its key, model or quota is refused: no calls for this time.
    Out(FailureClass, ErrorKind, Time),
    /// It answers again.
    Closed,
    /// The member's probe has ended without a word on the deployment.
    Released,
}

/// A breaker as a member sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedBreaker {
    /// Number of changes, so that a member sees whether there was one since it looked last.
    pub changes: u64,
    /// The last report, with the time that is left of it. Never `Released`.
    pub found: BreakerReport,
}

/// Answer to a member that wants to probe a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeClaim {
    /// The member sends the probe.
    Granted,
    /// Another member's probe is under way, or it has opened again: ask again after this time.
    Held(Time),
    /// The claim is on its way to the other members: ask again soon.
    Pending,
}

/// A breaker as plain data. All zero is closed. Times are in nanoseconds on the store's clock.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Breaker {
    changes: u64,
    /// Time from which on a probe may be sent, unless it is closed.
    until: u64,
    /// Member that has the turn to probe, and the time to which others wait for it; 0 if there is none.
    prober: u64,
    probe_until: u64,
    /// Number of times that it opened without closing in between.
    opened: u32,
    state: u32,
    /// 1 if the member has claimed its turn: its probe may be under way.
    is_claimed: u64,
}

impl Breaker {
    /// Returns what a member sees.
    pub(super) fn seen(&self, now: u64) -> SharedBreaker {
        let left = Time::from_nanos(self.until.saturating_sub(now));
        let found = match (self.state, self.state.checked_sub(FIRST_STOP).and_then(stop_of)) {
            (_, Some((class, kind))) => BreakerReport::Out(class, kind, left),
            (OPEN, None) => BreakerReport::Opened(left, self.opened),
            _ => BreakerReport::Closed,
        };
        SharedBreaker { changes: self.changes, found }
    }

    /// Takes what a member found out.
    pub(super) fn report(&mut self, now: u64, member: u64, report: BreakerReport) {
        let opens = |pause: Time| now.saturating_add(nanoseconds(pause).min(LONGEST_PAUSE));
        match report {
            BreakerReport::Released => {
                if self.prober == member {
                    self.prober = 0;
                }
                return;
            }
            BreakerReport::Closed => *self = Self { changes: self.changes, ..Self::zeroed() },
            // Members that found it at the same time say the same: the longest pause holds.
            BreakerReport::Opened(pause, times) if self.state <= OPEN => {
                self.until = if self.state == OPEN { self.until.max(opens(pause)) } else { opens(pause) };
                (self.state, self.opened) = (OPEN, self.opened.max(times));
            }
            // Refused it was before, and still is for all that is known.
            BreakerReport::Opened(pause, _) => self.until = self.until.max(opens(pause)),
            BreakerReport::Out(class, kind, pause) => {
                self.until = opens(pause);
                self.state = number_of(class, Some(kind)).map_or(OPEN, |number| FIRST_STOP + number);
            }
        }
        if self.state != CLOSED {
            (self.prober, self.is_claimed) = (member, 0);
            self.probe_until = self.until.saturating_add(HEAD_START);
        }
        self.changes = self.changes.wrapping_add(1);
    }

    /// True if a member may claim the turn before the others have heard of it: it has it, or nobody used the last one.
    pub(super) fn is_offered(&self, member: u64) -> bool {
        self.prober == member || self.prober != 0 && self.is_claimed == 1
    }

    /// Lets a member probe, and the others wait for it for this time, or says why not. It is never
    /// [pending](ProbeClaim::Pending).
    pub(super) fn claim(&mut self, now: u64, member: u64, length: Time) -> ProbeClaim {
        let wait = match (self.state, self.prober) {
            // Another one found that it answers.
            (CLOSED, _) => return ProbeClaim::Granted,
            (_, prober) if prober == 0 || prober == member => self.until,
            _ => self.until.max(self.probe_until),
        };
        if wait > now {
            return ProbeClaim::Held(Time::from_nanos(wait - now));
        }
        (self.prober, self.is_claimed) = (member, 1);
        self.probe_until = now.saturating_add(nanoseconds(length));
        ProbeClaim::Granted
    }

    /// Moves times that lie further ahead than a valid state has them, as damaged bytes may say.
    pub(super) fn repair(&mut self, now: u64) {
        self.until = self.until.min(now.saturating_add(LONGEST_PAUSE));
        self.probe_until = self.probe_until.min(self.until.max(now).saturating_add(nanoseconds(PROBE_TIME)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::budget::Budget;
    use crate::limits::lease::{Grant, LeaseState, Reply, Request, WhenDown};
    use crate::limits::spec::QuotaSpec;

    const SECOND: u64 = 1_000_000_000;

    fn seconds(number: u64) -> Time {
        Time::from_secs(number)
    }

    fn claim(breaker: &mut Breaker, now: u64, member: u64) -> ProbeClaim {
        breaker.claim(now, member, PROBE_TIME)
    }

    #[test]
    fn one_member_probes_and_all_hear_what_it_found() {
        let mut breaker = Breaker::zeroed();
        assert_eq!(breaker.seen(0), SharedBreaker { changes: 0, found: BreakerReport::Closed });
        breaker.report(SECOND, 1, BreakerReport::Opened(seconds(5), 1));
        // Another one that found the same a little later.
        breaker.report(2 * SECOND, 2, BreakerReport::Opened(seconds(3), 1));
        let found = BreakerReport::Opened(seconds(4), 1);
        assert_eq!(breaker.seen(2 * SECOND), SharedBreaker { changes: 2, found });
        assert_eq!(claim(&mut breaker, 5 * SECOND, 2), ProbeClaim::Held(seconds(1)));
        // Its turn, as it was the last to find out.
        assert_eq!(claim(&mut breaker, 6 * SECOND, 1), ProbeClaim::Held(seconds(1)));
        assert_eq!(claim(&mut breaker, 6 * SECOND, 2), ProbeClaim::Granted);
        assert_eq!(claim(&mut breaker, 6 * SECOND, 2), ProbeClaim::Granted, "it is that one's");
        assert_eq!(claim(&mut breaker, 7 * SECOND, 1), ProbeClaim::Held(seconds(29)));
        // Only its own claim is released.
        breaker.report(7 * SECOND, 1, BreakerReport::Released);
        assert_eq!(claim(&mut breaker, 7 * SECOND, 1), ProbeClaim::Held(seconds(29)));
        breaker.report(7 * SECOND, 2, BreakerReport::Released);
        assert_eq!(breaker.seen(7 * SECOND).changes, 2);
        assert_eq!(claim(&mut breaker, 7 * SECOND, 1), ProbeClaim::Granted);
        breaker.report(8 * SECOND, 1, BreakerReport::Opened(seconds(10), 2));
        assert_eq!(breaker.seen(8 * SECOND).found, BreakerReport::Opened(seconds(10), 2));
        // The first one makes no calls, and the other one dies.
        assert_eq!(claim(&mut breaker, 18 * SECOND, 2), ProbeClaim::Held(seconds(1)));
        assert_eq!(claim(&mut breaker, 19 * SECOND, 2), ProbeClaim::Granted);
        assert_eq!(claim(&mut breaker, 48 * SECOND, 1), ProbeClaim::Held(seconds(1)));
        assert_eq!(claim(&mut breaker, 49 * SECOND, 1), ProbeClaim::Granted);
        breaker.report(49 * SECOND, 1, BreakerReport::Closed);
        assert_eq!(breaker.seen(49 * SECOND), SharedBreaker { changes: 4, found: BreakerReport::Closed });
        assert_eq!(claim(&mut breaker, 49 * SECOND, 2), ProbeClaim::Granted, "it is no probe any more");
        assert_eq!(claim(&mut breaker, 49 * SECOND, 1), ProbeClaim::Granted);
    }

    #[test]
    fn what_is_refused_stays_so_until_a_probe_succeeds() {
        let mut breaker = Breaker::zeroed();
        let kinds = [ErrorKind::Authentication, ErrorKind::PermissionDenied, ErrorKind::NotFound];
        for kind in kinds {
            let out = BreakerReport::Out(FailureClass::Auth, kind, seconds(300));
            breaker.report(0, 1, out);
            assert_eq!(breaker.seen(0).found, out);
        }
        breaker.report(0, 1, BreakerReport::Opened(seconds(301), 1));
        let out = BreakerReport::Out(FailureClass::Auth, ErrorKind::NotFound, seconds(301));
        assert_eq!(breaker.seen(0).found, out);
        let out = BreakerReport::Out(FailureClass::QuotaFatal, ErrorKind::RateLimit, seconds(1));
        breaker.report(0, 1, out);
        assert_eq!(breaker.seen(0).found, out);
    }

    #[test]
    fn damaged_bytes_hold_nobody_up_for_ever() {
        let mut breaker: Breaker = bytemuck::pod_read_unaligned(&[0xff; size_of::<Breaker>()]);
        assert_eq!(breaker.seen(0).found, BreakerReport::Closed, "a state that does not exist");
        breaker.repair(SECOND);
        breaker.state = OPEN;
        let at_last = SECOND + LONGEST_PAUSE + nanoseconds(PROBE_TIME);
        assert_eq!(claim(&mut breaker, at_last, 1), ProbeClaim::Granted);
    }

    /// A ledger on another machine, as far as it keeps a log.
    #[derive(Default)]
    struct Elsewhere {
        log: Vec<u8>,
    }

    impl Elsewhere {
        fn answer(&mut self, now: Time, request: &Request) -> Reply {
            let missed = self.log[request.position as usize..].to_vec();
            let appended = !request.events.is_empty();
            if appended {
                self.log.extend(&request.events);
                self.log.extend([6, 0, 0, 0, 0]);
            }
            Reply::Granted(Grant {
                epoch: 1,
                serial: 1,
                now,
                amount: [0; 3],
                seats: 0,
                steady_seats: 0,
                retry: Time::ZERO,
                members: 2,
                rank: 0,
                fresh: Time::ZERO,
                probe: false,
                snapshot: 1,
                learnt: None,
                missed,
                appended,
                position: self.log.len() as u64,
                wants_snapshot: false,
                in_flight: 0,
                usage: Vec::new(),
            })
        }

        /// A member exchanges with it until it wants to no more.
        fn exchange(&mut self, now: Time, member: &mut LeaseState) {
            for _ in 0..4 {
                if let Some(request) = member.request(now) {
                    let reply = self.answer(now, &request);
                    member.answered(now, request.number, reply);
                }
            }
        }
    }

    #[test]
    fn members_of_a_ledger_elsewhere_probe_when_it_has_taken_their_claim() {
        let start = seconds(1_800_000_000);
        let mut ledger = Elsewhere::default();
        let spec = QuotaSpec::default();
        let mut members: Vec<_> = (0..3).map(|_| LeaseState::new(&spec, WhenDown::Share(0.25), start, start)).collect();
        let [finder, one, other] = &mut members[..] else { unreachable!() };
        for member in [&mut *finder, &mut *one, &mut *other] {
            member.breaker(start);
            assert!(member.next_exchange().is_some_and(|next| next <= start), "it wants to hear of it");
            ledger.exchange(start, member);
        }
        finder.report_breaker(start, 1, BreakerReport::Opened(seconds(5), 1));
        assert_eq!(one.breaker(start).found, BreakerReport::Closed);
        [&mut *finder, &mut *one, &mut *other].into_iter().for_each(|member| ledger.exchange(start, member));
        assert_eq!(one.breaker(start).found, BreakerReport::Opened(seconds(5), 1));
        // The one that found out needs nobody's word for its turn.
        let now = start + seconds(5);
        assert_eq!(one.claim_probe(now, 2), ProbeClaim::Held(seconds(1)));
        // It does not use it: the others come, at the same time.
        let now = start + seconds(6);
        assert_eq!(one.claim_probe(now, 2), ProbeClaim::Pending);
        assert_eq!(other.claim_probe(now, 3), ProbeClaim::Pending);
        assert_eq!(one.claim_probe(now, 2), ProbeClaim::Pending);
        [&mut *one, &mut *other].into_iter().for_each(|member| ledger.exchange(now, member));
        assert_eq!(other.claim_probe(now, 3), ProbeClaim::Held(seconds(2)));
        assert_eq!(one.claim_probe(now, 2), ProbeClaim::Granted);
        [&mut *one, &mut *other].into_iter().for_each(|member| ledger.exchange(now, member));
        assert_eq!(other.claim_probe(now, 3), ProbeClaim::Held(seconds(30)));
        one.report_breaker(now, 2, BreakerReport::Closed);
        [&mut *one, &mut *other].into_iter().for_each(|member| ledger.exchange(now, member));
        assert_eq!(other.breaker(now).found, BreakerReport::Closed);
        assert_eq!(other.claim_probe(now, 3), ProbeClaim::Granted, "it is no probe any more");
    }

    #[test]
    fn without_its_ledger_a_member_decides_alone() {
        let start = seconds(1_800_000_000);
        let mut member = LeaseState::new(&QuotaSpec::default(), WhenDown::Wait, start, start);
        member.report_breaker(start, 1, BreakerReport::Opened(seconds(5), 1));
        let request = member.request(start).unwrap();
        member.failed(start, request.number);
        assert_eq!(member.claim_probe(start + seconds(4), 2), ProbeClaim::Held(seconds(2)));
        assert_eq!(member.claim_probe(start + seconds(6), 2), ProbeClaim::Granted);
    }
}
