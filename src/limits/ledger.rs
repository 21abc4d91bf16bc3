//! The state of one quota that its members share, as plain data.

use bytemuck::{Pod, Zeroable};

use super::breaker::{Breaker, BreakerReport, PROBE_TIME, ProbeClaim, SharedBreaker};
use super::budget::{Budget, BudgetState, PauseReason, Refusal, Taken, Wait, WindowState};
use super::claim::{Claim, RECHECK};
use super::controller::{Controller, Finish};
use super::pause::Pause;
use super::spec::QuotaSpec;
use super::window::Window;
use super::{Time, nanoseconds};
use crate::types::rate_limit::{FailureClass, Reset, Signals, Tokens, Unit, WindowSignal};

/// Maximum number of members that share a ledger.
pub const MEMBERS: usize = 64;

/// Maximum number of limits of windows that a quota has, one for each dimension of each length.
pub const WINDOWS: usize = 8;

/// Part of a window that may be admitted at once after idleness: at first, and after a refusal although no declared limit was
/// exceeded, which says that the provider saves up less.
const FIRST_BURST: f64 = 0.3;
const SMALL_BURST: f64 = 0.02;

/// A request of more than this part of a window claims its turn, since smaller ones fit earlier.
const LARGE: u64 = 16;

/// Shortest period of a limit that is one of a day.
const DAY: u64 = 86_400_000_000_000;

/// Holdings of one member.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Seats {
    /// Number of requests in flight.
    count: u64,
    /// Number of tokens that they have reserved.
    reserved: u64,
}

/// The state of one quota: what its members have used of each limit, what they hold, what was learnt.
///
/// Its size is fixed and it has no pointers, so it may lie in shared memory. All zero is a fresh quota without limits. Members
/// use it through [`member`](Self::member), one at a time; whoever owns the memory holds a lock meanwhile. Whatever its bytes
/// are, no method panics.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Ledger {
    /// The latest time that was passed in, in nanoseconds.
    clock: u64,
    /// Maximum number of requests in flight, declared and told by the provider; 0 if there is none.
    max_in_flight: u64,
    told_in_flight: u64,
    /// Declared and learnt burst; 0 if there is none.
    burst: f64,
    learnt_burst: f64,
    /// 1 if limits that are not declared are learnt.
    adaptive: u64,
    /// A bit for each member that has used the quota.
    users: u64,
    claim: Claim,
    pause: Pause,
    breaker: Breaker,
    members: [Seats; MEMBERS],
    windows: [Window; WINDOWS],
    controller: Controller,
}

/// Knowledge that all members of a quota share, without the use and the holdings of each.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Learnt {
    told_in_flight: u64,
    learnt_burst: f64,
    pause: Pause,
    breaker: Breaker,
    controller: Controller,
}

impl Learnt {
    /// Returns the bytes that stand for it: the version of the layout, then the fields in the order of this machine.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        [&Ledger::VERSION.to_le_bytes(), bytemuck::bytes_of(&self)].concat()
    }

    /// Reads these bytes; `None` if they have another layout.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (version, bytes) = bytes.split_first_chunk()?;
        if u32::from_le_bytes(*version) != Ledger::VERSION {
            return None;
        }
        bytemuck::try_pod_read_unaligned(bytes).ok()
    }

    /// True if nothing was learnt.
    pub(super) fn is_none(&self) -> bool {
        self.is_same(&Self::zeroed())
    }

    /// True if nothing was learnt beside this.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        bytemuck::bytes_of(self) == bytemuck::bytes_of(other)
    }
}

impl Ledger {
    /// Version of the layout. A ledger of another version is not understood.
    pub const VERSION: u32 = 4;

    /// Sets the limits. What was counted in windows that stay is kept; the last declaration wins.
    ///
    /// # Errors
    ///
    /// The number of limits, if there are more than [`WINDOWS`].
    pub fn declare(&mut self, spec: &QuotaSpec) -> Result<(), usize> {
        let limits = || {
            spec.limits.iter().flat_map(|&(mut limit)| {
                let period = nanoseconds(limit.per);
                limit.amounts().map(|(unit, most)| most.map(|most| (unit, period, most))).into_iter().flatten()
            })
        };
        // Of two limits of the same window the smaller one holds.
        let strictest = |unit, period, limit| {
            limits().filter(|other| (other.0, other.1) == (unit, period)).all(|other| other.2 >= limit)
        };
        let mut wanted: Vec<_> = limits().filter(|&(unit, period, limit)| strictest(unit, period, limit)).collect();
        wanted.sort_by_key(|&(unit, period, _)| (unit, period));
        wanted.dedup();
        if wanted.len() > WINDOWS {
            return Err(wanted.len());
        }
        for window in &mut self.windows {
            if !wanted.iter().any(|&(unit, period, _)| window.is_of(unit, period)) {
                *window = Window::zeroed();
            }
        }
        for (unit, period, limit) in wanted {
            let same = self.windows.iter().position(|window| window.is_of(unit, period));
            if let Some(index) = same.or_else(|| self.windows.iter().position(|window| window.unit().is_none())) {
                self.windows[index].declare(unit, period, limit);
            }
        }
        self.max_in_flight = spec.max_in_flight.map_or(0, u64::from);
        self.burst = spec.burst.unwrap_or(0.0);
        self.adaptive = u64::from(spec.adaptive);
        Ok(())
    }

    /// Ends the wait for what was admitted at once when the limits were others. A bucket's debt is a time, which was short of a
    /// large limit and would be long of a small one, or the reverse; the logs hold the limits.
    pub(super) fn forgive(&mut self, now: Time) {
        let (now, burst) = (self.tick(now), self.burst());
        self.windows.iter_mut().for_each(|window| window.limit_debt(now, burst));
    }

    /// Returns the budget as the member with this number, below [`MEMBERS`], uses it.
    pub fn member(&mut self, number: usize) -> Member<'_> {
        Member { ledger: self, number: number % MEMBERS }
    }

    /// Frees the seats of a member that has died. What its requests used or reserved counts until it leaves the windows.
    pub fn free_member(&mut self, number: usize) {
        let clock = Time::from_nanos(self.clock);
        if let Some(seats) = self.members.get_mut(number) {
            if self.adaptive == 1 {
                // Damaged bytes may say any number.
                for _ in 0..seats.count.min(1_000_000) {
                    self.controller.finished(clock, Time::ZERO, Finish::Cancelled, None, None);
                }
            }
            *seats = Seats::zeroed();
            self.users &= !(1 << number);
            self.claim.forget(number);
        }
    }

    /// Makes a valid state of one that a member was changing when it died, or of bytes that were damaged. A valid one stays.
    pub fn repair(&mut self, now: Time) {
        let nanos = nanoseconds(now);
        self.clock = self.clock.min(nanos);
        self.claim.repair(nanos);
        self.pause.repair(nanos);
        self.breaker.repair(nanos);
        self.controller.repair(now);
        self.windows.iter_mut().for_each(|window| window.repair(nanos));
    }

    /// Returns what was learnt, to be shared with other ledgers of the same quota.
    pub(super) fn learnt(&self) -> Learnt {
        let Self { told_in_flight, learnt_burst, pause, breaker, controller, .. } = *self;
        Learnt { told_in_flight, learnt_burst, pause, breaker, controller }
    }

    /// Replaces what was learnt by what another ledger learnt, whatever its bytes are.
    pub(super) fn learn(&mut self, now: Time, learnt: &Learnt) {
        let Learnt { told_in_flight, learnt_burst, pause, breaker, controller } = *learnt;
        (self.told_in_flight, self.learnt_burst, self.pause) = (told_in_flight, learnt_burst, pause);
        (self.breaker, self.controller) = (breaker, controller);
        self.repair(now);
    }

    /// Lets a member probe the deployment, as [`claim_probe`](Budget::claim_probe) does, and the others wait for this time.
    pub(super) fn claim_for(&mut self, now: Time, member: u64, length: Time) -> ProbeClaim {
        let now = self.tick(now);
        self.breaker.claim(now, member, length)
    }

    /// True if a member may probe the deployment before the others have heard of its claim.
    pub(super) fn offers_probe(&self, member: u64) -> bool {
        self.breaker.is_offered(member)
    }

    /// Learns from a request that was admitted elsewhere; `has_waited` says that the learnt rate had it wait.
    pub(super) fn count_taken(&mut self, taken: &Taken, has_waited: bool) {
        if self.adaptive == 1 {
            self.controller.admitted_elsewhere(taken.at, Some(amount(Unit::Tokens, taken.tokens)), has_waited);
        }
        if taken.probe {
            self.pause.probe(nanoseconds(taken.at));
        }
    }

    /// Sets the number of requests in flight of all members, of which this ledger knows its own only.
    pub(super) fn set_in_flight(&mut self, count: u32) {
        if self.adaptive == 1 {
            self.controller.set_in_flight(count);
        }
    }

    /// Returns the end of a pause, or of the wait for a probe's outcome, and whether it is the latter.
    pub(super) fn held_up(&self, now: Time) -> Option<(Time, bool)> {
        let nanos = self.clock.max(nanoseconds(now));
        let pause = self.pause.paused(nanos).map(|(until, reason)| (until, reason == PauseReason::Probe));
        let learnt = (self.adaptive == 1).then(|| self.controller.held_up(Time::from_nanos(nanos))).flatten();
        pause.max(learnt)
    }

    /// Returns the time from which the learnt rate admits a request.
    pub(super) fn paced(&self) -> Option<Time> {
        (self.adaptive == 1).then(|| self.controller.earliest(Time::from_nanos(self.clock)))
    }

    /// True if the next request finds out whether a pause or a stop is over.
    pub(super) fn needs_probe(&self, now: Time) -> bool {
        let nanos = self.clock.max(nanoseconds(now));
        self.pause.check(nanos) == Ok(true)
            || self.adaptive == 1 && self.controller.needs_probe(Time::from_nanos(nanos))
    }

    /// Returns what `status()` shows.
    pub(super) fn state(&self, now: Time) -> BudgetState {
        let ledger = self;
        let nanos = ledger.clock.max(nanoseconds(now));
        let now = Time::from_nanos(nanos);
        let learnt = (ledger.adaptive == 1).then(|| ledger.controller.snapshot(now));
        let max_in_flight = ledger.max_in_flight(now);
        let windows = ledger.windows.iter().filter_map(|window| {
            let mut window = *window;
            window.expire(nanos);
            Some(WindowState {
                unit: window.unit()?,
                period: Time::from_nanos(window.period()),
                limit: window.limit(),
                used: window.used(),
                used_by_others: window.others(nanos),
            })
        });
        BudgetState {
            windows: windows.collect(),
            in_flight: u32::try_from(ledger.in_flight()).unwrap_or(u32::MAX),
            max_in_flight: (max_in_flight < u64::MAX).then(|| u32::try_from(max_in_flight).unwrap_or(u32::MAX)),
            reserved: ledger.members.iter().fold(0, |sum, seats| sum.saturating_add(seats.reserved)),
            paused: ledger.pause.paused(nanos).or_else(|| Some((learnt?.paused_until?, PauseReason::Rate))),
            stopped: ledger.pause.stopped(),
            burst: ledger.burst(),
            learnt,
        }
    }

    fn tick(&mut self, now: Time) -> u64 {
        self.clock = self.clock.max(nanoseconds(now));
        self.clock
    }

    /// Part of a window that may be admitted at once.
    fn burst(&self) -> f64 {
        if self.burst > 0.0 {
            self.burst
        } else if self.learnt_burst > 0.0 {
            self.learnt_burst
        } else {
            FIRST_BURST
        }
    }

    /// Returns when the windows and the controller allow a request of these tokens.
    fn earliest(&mut self, now: u64, tokens: Tokens) -> Earliest {
        let burst = self.burst();
        let mut earliest = Earliest { time: now, is_large: false, alone: None };
        for window in &mut self.windows {
            let Some(unit) = window.unit() else { continue };
            let (amount, limit) = (amount(unit, tokens), window.limit());
            window.expire(now);
            earliest.time = earliest.time.max(window.earliest(now, amount, burst));
            earliest.is_large |= amount > limit / LARGE;
            if amount > limit {
                let period = Time::from_nanos(window.period());
                earliest.alone = Some(Refusal::TooLarge { unit, limit, period, tokens: amount });
            }
        }
        if self.adaptive == 1 {
            let tokens = amount(Unit::Tokens, tokens);
            let paced = self.controller.earliest_for(Time::from_nanos(now), Some(tokens));
            earliest.time = earliest.time.max(nanoseconds(paced));
        }
        earliest
    }

    /// True if all requests that may be in flight are.
    fn is_full(&self, now: u64) -> bool {
        let limit = self.max_in_flight(Time::from_nanos(now));
        limit < u64::MAX && self.in_flight() >= limit
    }

    fn in_flight(&self) -> u64 {
        self.members.iter().fold(0, |sum, seats| sum.saturating_add(seats.count))
    }

    /// Maximum number of requests in flight, `u64::MAX` if there is none.
    fn max_in_flight(&self, now: Time) -> u64 {
        let limit = |limit: u64| if limit > 0 { limit } else { u64::MAX };
        let learnt = if self.adaptive == 1 { self.controller.max_in_flight(now) } else { u32::MAX };
        let learnt = if learnt == u32::MAX { u64::MAX } else { u64::from(learnt) };
        limit(self.max_in_flight).min(limit(self.told_in_flight)).min(learnt)
    }

    /// Returns the window that a signal is about. Without a period it is the only one of its dimension, or that with its limit.
    fn window_of(&mut self, signal: &WindowSignal) -> Option<&mut Window> {
        let mut candidates = self.windows.iter_mut().filter(|window| window.unit() == Some(signal.unit));
        match signal.period {
            Some(period) => candidates.find(|window| window.period() == nanoseconds(period)),
            None => {
                let first = candidates.next()?;
                match candidates.next() {
                    None => Some(first),
                    Some(_) if signal.limit == Some(first.declared()) => Some(first),
                    Some(second) if signal.limit == Some(second.declared()) => Some(second),
                    Some(_) => candidates.find(|window| signal.limit == Some(window.declared())),
                }
            }
        }
    }

    /// Learns from what an answer says about limits.
    fn observe(&mut self, now: u64, taken: &Taken, signals: &Signals) {
        // Providers count when a request arrives, and answer up to minutes later.
        let at = nanoseconds(taken.at).min(now);
        for signal in &signals.windows {
            if signal.unit == Unit::InFlight {
                self.told_in_flight = signal.limit.unwrap_or(self.told_in_flight);
            } else if let Some(window) = self.window_of(signal) {
                window.observe(now, at, signal);
            } else if self.adaptive == 0 && signal.remaining == Some(0) {
                // Nothing is declared that this could be counted against.
                let length = match signal.reset {
                    Some(Reset::Some(time)) => nanoseconds(time),
                    Some(Reset::Full(time)) => {
                        let part = amount(signal.unit, taken.tokens) as f64 / signal.limit.unwrap_or(1).max(1) as f64;
                        (nanoseconds(time) as f64 * part.min(1.0)) as u64
                    }
                    None => 0,
                };
                self.pause.exhausted(now, at.saturating_add(length));
            }
            if self.adaptive == 1 {
                self.controller.told(Time::from_nanos(now), signal);
            }
        }
    }

    /// Tells the controller how a request ended.
    fn finish(&mut self, now: u64, taken: &Taken, used: Option<Tokens>, finish: Finish) {
        if self.adaptive == 1 {
            let sum = |tokens: Tokens| amount(Unit::Tokens, tokens);
            self.controller.finished(Time::from_nanos(now), taken.at, finish, Some(sum(taken.tokens)), used.map(sum));
        }
    }

    /// Prolongs the pause of a learnt limit if a refusal tells a later end. The controller takes one of the refusals of requests
    /// that were sent together, and each may have been told another time.
    fn prolong(&mut self, now: u64, refusal: &Signals) {
        let Some(length) = refusal.retry_after else { return };
        let now = Time::from_nanos(now);
        if let Some((until, false)) = self.controller.held_up(now)
            && until < now.saturating_add(length)
        {
            let (unit, reset) = (Unit::Requests, Some(Reset::Some(length)));
            self.controller.told(now, &WindowSignal { unit, period: None, limit: None, remaining: Some(0), reset });
        }
    }

    /// Replaces what was reserved for a request by what it used.
    fn correct(&mut self, now: u64, taken: &Taken, used: Tokens) {
        let at = nanoseconds(taken.at);
        for window in &mut self.windows {
            if let Some(unit) = window.unit().filter(|unit| *unit != Unit::Requests) {
                window.correct(now, at, amount(unit, taken.tokens), amount(unit, used));
            }
        }
    }
}

/// When the windows allow a request.
struct Earliest {
    /// The earliest time, not before now.
    time: u64,
    /// True if it is large for one of them.
    is_large: bool,
    /// A [`Refusal::TooLarge`] if it is larger than one of them.
    alone: Option<Refusal>,
}

/// Returns what a request of these tokens uses of a dimension.
pub(super) fn amount(unit: Unit, tokens: Tokens) -> u64 {
    match unit {
        Unit::Requests | Unit::InFlight => 1,
        Unit::Tokens => tokens.input.saturating_add(tokens.output),
        Unit::InputTokens => tokens.input,
        Unit::OutputTokens => tokens.output,
    }
}

/// A ledger as one of its members uses it.
#[derive(Debug)]
pub struct Member<'a> {
    ledger: &'a mut Ledger,
    number: usize,
}

impl Member<'_> {
    /// Frees a request's seat.
    fn release(&mut self, taken: &Taken) {
        let seats = &mut self.ledger.members[self.number];
        seats.count = seats.count.saturating_sub(1);
        seats.reserved = seats.reserved.saturating_sub(amount(Unit::Tokens, taken.tokens));
    }
}

impl Budget for Member<'_> {
    fn try_take(&mut self, now: Time, tokens: Tokens) -> Result<Taken, Wait> {
        let ledger = &mut *self.ledger;
        let nanos = ledger.tick(now);
        let now = Time::from_nanos(nanos);
        ledger.users |= 1 << self.number;
        let is_shared = ledger.users != 1 << self.number;
        let later = Time::from_nanos(nanos.saturating_add(RECHECK));
        let soon = |wait| match wait {
            Wait::Until(time) if is_shared => Wait::Until(time.min(later)),
            Wait::Release if is_shared => Wait::Until(later),
            wait => wait,
        };
        let probe = ledger.pause.check(nanos).map_err(soon)?;
        if let Some(time) = ledger.claim.holds_up(nanos, self.number) {
            return Err(Wait::Until(Time::from_nanos(time)));
        }
        if ledger.is_full(nanos) {
            return Err(soon(Wait::Release));
        }
        let Earliest { time, is_large, alone } = ledger.earliest(nanos, tokens);
        if time > nanos {
            if is_shared {
                ledger.claim.make(nanos, self.number, is_large);
            }
            return Err(soon(Wait::Until(Time::from_nanos(time))));
        }

        for window in &mut ledger.windows {
            if let Some(unit) = window.unit() {
                window.take(nanos, amount(unit, tokens));
            }
        }
        let sum = amount(Unit::Tokens, tokens);
        if ledger.adaptive == 1 {
            ledger.controller.admitted(now, Some(sum));
        }
        if probe {
            ledger.pause.probe(nanos);
        }
        if is_shared {
            ledger.claim.pass(nanos, self.number);
        }
        let seats = &mut ledger.members[self.number];
        seats.count = seats.count.saturating_add(1);
        seats.reserved = seats.reserved.saturating_add(sum);
        Ok(Taken { at: now, tokens, alone, probe })
    }

    fn check(&mut self, now: Time, tokens: Tokens) -> Result<(), Wait> {
        let now = self.ledger.tick(now);
        self.ledger.pause.check(now)?;
        // Otherwise a call would leave its line for one where it is another member's turn, and come back, without end.
        if let Some(time) = self.ledger.claim.would_hold_up(now, self.number) {
            return Err(Wait::Until(Time::from_nanos(time)));
        }
        if self.ledger.is_full(now) {
            return Err(Wait::Release);
        }
        match self.ledger.earliest(now, tokens).time {
            time if time > now => Err(Wait::Until(Time::from_nanos(time))),
            _ => Ok(()),
        }
    }

    fn observe(&mut self, now: Time, taken: &Taken, signals: &Signals) {
        let now = self.ledger.tick(now);
        self.ledger.observe(now, taken, signals);
        if signals.failure.is_none() {
            self.ledger.pause.accepted(taken);
        }
    }

    fn settle(&mut self, now: Time, taken: Taken, used: Option<Tokens>, outcome: &Signals) {
        self.release(&taken);
        let ledger = &mut *self.ledger;
        let now = ledger.tick(now);
        use FailureClass::{Auth, BadRequest, DayQuota, Overload, QuotaFatal, Rate, Transient};
        let finish = match outcome.failure {
            None => Finish::Taken,
            Some(Rate) => Finish::Refused { retry_after: outcome.retry_after },
            Some(Overload) => Finish::Overloaded,
            Some(DayQuota | QuotaFatal | Auth | BadRequest | Transient) => Finish::Failed,
        };
        // A request that was refused used no tokens. One that failed may have.
        let refused = matches!(outcome.failure, Some(Rate | DayQuota | QuotaFatal | Auth));
        let used = used.or(refused.then(Tokens::default));
        if let Some(used) = used {
            ledger.correct(now, &taken, used);
        }
        ledger.observe(now, &taken, outcome);
        ledger.finish(now, &taken, used, finish);
        if outcome.failure == Some(Rate) {
            if ledger.learnt_burst == 0.0 {
                ledger.learnt_burst = SMALL_BURST;
                let burst = ledger.burst();
                ledger.windows.iter_mut().for_each(|window| window.limit_debt(now, burst));
            }
            // The controller has pauses and probes of its own.
            if ledger.adaptive == 1 {
                ledger.prolong(now, outcome);
                return;
            }
        }
        ledger.pause.settled(now, &taken, outcome, day_reset(&outcome.windows));
    }

    fn cancel(&mut self, now: Time, taken: Taken) {
        self.release(&taken);
        let now = self.ledger.tick(now);
        self.ledger.pause.cancelled(&taken);
        self.ledger.finish(now, &taken, None, Finish::Cancelled);
    }

    fn give_back(&mut self, now: Time, taken: Taken) {
        self.release(&taken);
        let ledger = &mut *self.ledger;
        let now = ledger.tick(now);
        ledger.correct(now, &taken, Tokens::default());
        for window in ledger.windows.iter_mut().filter(|window| window.unit() == Some(Unit::Requests)) {
            window.correct(now, nanoseconds(taken.at), 1, 0);
        }
        ledger.pause.cancelled(&taken);
        ledger.finish(now, &taken, Some(Tokens::default()), Finish::Cancelled);
    }

    fn enable(&mut self, _now: Time) {
        self.ledger.pause.enable();
    }

    fn state(&self, now: Time) -> BudgetState {
        self.ledger.state(now)
    }

    fn breaker(&mut self, now: Time) -> SharedBreaker {
        let now = self.ledger.tick(now);
        self.ledger.breaker.seen(now)
    }

    fn report_breaker(&mut self, now: Time, member: u64, report: BreakerReport) {
        let now = self.ledger.tick(now);
        self.ledger.breaker.report(now, member, report);
    }

    fn claim_probe(&mut self, now: Time, member: u64) -> ProbeClaim {
        let now = self.ledger.tick(now);
        self.ledger.breaker.claim(now, member, PROBE_TIME)
    }
}

/// Returns the time until the limit of a day is available again, as far as an answer tells it.
fn day_reset(signals: &[WindowSignal]) -> Option<u64> {
    let days = signals.iter().filter(|signal| signal.period.is_some_and(|period| nanoseconds(period) >= DAY));
    let used_up = days.filter(|signal| signal.remaining.is_none_or(|remaining| remaining == 0));
    used_up
        .filter_map(|signal| match signal.reset? {
            Reset::Full(time) | Reset::Some(time) => Some(nanoseconds(time)),
        })
        .max()
}

#[cfg(test)]
mod tests;
