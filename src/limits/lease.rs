//! One member's view of a quota whose ledger is on another machine, and is asked for slices of budget.
//!
//! A slice is granted for a short time, the lease. The ledger counts it as used until the member says what it used of it, and
//! from the end of the lease if the member never does; so what is granted is counted in every window in which it may be used.
//! A grant is valid here from the time at which the request was sent, which is before the ledger granted it.
//!
//! While the ledger does not answer, no call waits for it, but for a short pause: [`WhenDown`] says what happens.

mod alone;
mod ask;
mod event;
mod exchange;
mod learn;
mod rows;
mod spend;

use std::time::Duration;

pub use exchange::{Amount, Grant, Reply, Request, Use, WindowRule};

use super::Time;
use super::budget::{Refusal, Wait};
use super::controller::Binding;
use super::ledger::Ledger;
use super::spec::{Limit, QuotaSpec};
use crate::types::rate_limit::Unit;
use alone::Alone;
use event::Event;
use rows::Rows;

/// Time after which a request without an answer means that the ledger is down.
pub const PATIENCE: Time = Duration::from_millis(250);
/// Time between attempts while it is down.
const RETRY: Time = Duration::from_millis(100);
/// Shortest and longest lease, unless the ledger is far away.
const LEASES: (Time, Time) = (Duration::from_millis(150), Duration::from_secs(1));
/// Part of the shortest window that a lease lasts.
const LEASE_PART: u32 = 40;
/// Time for which a fresh ledger grants little. Members that used anything in their windows come more often than this, and those
/// that lost their connection are back within it.
const GRACE: Time = Duration::from_secs(1);
/// Time between exchanges of a member that asks for nothing but whose use is still in its windows: this at least, longer with
/// many members, and the maximum.
const BEATS: (Time, Time) = (Duration::from_millis(250), Duration::from_secs(1));
/// Time between exchanges for each member, so that a thousand members are no load.
const BEAT_PER_MEMBER: Time = Duration::from_millis(2);
/// Time between exchanges of a member that only looks at the breaker, and the time after which it stops to look.
const LOOKS: (Time, Time) = (Duration::from_millis(500), Duration::from_secs(60));
/// Time after which a member asks again for a seat.
const SEAT_RETRY: Time = Duration::from_millis(20);
/// Number of calls for one exchange, from so many calls per second on.
const CALLS: f64 = 60.0;
const MANY_CALLS: f64 = 900.0;
/// Part of a window by which it is longer here than at the provider, as in `window`, less half a bin of the ledger's.
const ROOM: f64 = 0.015;
const LONGEST_ROOM: Time = Duration::from_secs(2);
/// Part of a limit that is admitted in the long run, as in `window`.
const RATE: f64 = 0.99;
/// Windows longer than this are not smoothed.
const LONGEST_SMOOTHED: Time = Duration::from_secs(3600);
/// Length of the window by which a member keeps to its part of a rate that was learnt, while the ledger is down.
const LEARNT_PERIOD: Time = Duration::from_millis(1500);
/// Time at a rate that is learnt for which members hold grants, all together, and lease of these grants. What is held is what may
/// be sent without the others knowing.
const LEARNT_GRANTS: Time = Duration::from_millis(200);
const LEARNT_LEASE: Time = Duration::from_millis(500);
/// Time between exchanges of a member that has something to tell which can wait, or that asks again for a grant.
const EVENTS_BEAT: Time = Duration::from_millis(10);
/// Difference between the ledger's time and what is expected of it from which on it is another clock.
const OTHER_CLOCK: i128 = 5_000_000_000;

/// What a member does while the ledger does not answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WhenDown {
    /// Keeps to this part of each limit, from 0 to 1. Of a limit with fewer requests than parts, the members of the lowest ranks
    /// may use one request each, the others none.
    Share(f64),
    /// Sends nothing.
    Wait,
    /// Refuses calls.
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Link {
    /// No answer yet; a call waits since this time.
    Joining(Option<Time>),
    Up,
    /// No answer since this time.
    Down(Time),
}

/// A request without an answer.
#[derive(Debug, Clone, Copy)]
struct Sent {
    number: u64,
    at: Time,
    lease: Time,
}

/// The budget of one member, from slices that the ledger grants.
///
/// Times that are passed in are on this machine's monotonic clock. Whoever holds it sends the [`request`](Self::request) when
/// [`next_exchange`](Self::next_exchange) has come, passes on the answer, and then wakes the calls that wait.
pub struct LeaseState {
    spec: QuotaSpec,
    when_down: WhenDown,
    /// What this member heard and used. Its windows limit while the other ledger is down; its times are the other ledger's.
    ledger: Box<Ledger>,
    /// The ledger's time less ours, in nanoseconds.
    offset: i128,
    link: Link,
    alone: Alone,
    sent: Option<Sent>,
    last_sent: Option<Time>,
    number: u64,
    report: u64,
    joined: bool,
    epoch: u64,
    serial: u64,
    /// The ledger's time in its last answer, and when that was asked for.
    seen: Option<(Time, Time)>,
    retry_at: Time,

    /// What may be used until `expires`.
    credit: Amount,
    expires: Time,
    round_trip: Time,
    /// What was used in the longest window.
    history: Rows,
    unreported: Rows,
    refunds: Vec<(Time, [i64; 3])>,
    /// The report whose arrival is not confirmed.
    transit: Option<Vec<(Time, [i64; 3])>>,

    /// Requests per second, and tokens of a request, lately.
    rate: f64,
    tokens: [f64; 2],
    taken: u64,
    waiting: u64,
    /// What the first call needs that had to wait since the last request.
    starved: Option<Amount>,
    /// Time at which somebody looked at the breaker last.
    looked: Option<Time>,
    target: u64,
    /// True if the last request was granted in full.
    is_plenty: bool,
    in_flight: u32,
    seats: u32,
    steady_seats: u32,
    /// Number of requests that ended since the last exchange began.
    released: u32,
    members: u64,
    usage: Vec<(WindowRule, u64)>,
    /// What the last answer granted, this member's rank in it, and whether the ledger knew what all had used.
    granted: Amount,
    rank: u64,
    is_complete: bool,

    /// What all members learnt up to `position` of the log that follows the snapshot. In `ledger` are the events of this member,
    /// too, that are not in the log yet.
    shared: Box<Ledger>,
    snapshot: u64,
    position: u64,
    wants_snapshot: bool,
    events: Vec<Event>,
    /// Number of the last batch, and of the events that belong to it until their arrival is confirmed.
    batch: u64,
    batched: usize,
    /// True if an event is to be told at once.
    is_urgent: bool,
    /// Time until which this member may find out whether a pause is over; true if it wants to.
    probe_until: Time,
    wants_probe: bool,
    /// True if a call had to wait because of the learnt rate since the last one was admitted.
    has_waited: bool,
    /// Time between exchanges while a call waits for the end of a pause.
    listens: Option<Time>,
}

impl LeaseState {
    /// Creates the state of a member. `now` is this machine's monotonic clock and `wall` its time since 1970, with which the
    /// ledger's clock is guessed before it answers.
    pub fn new(spec: &QuotaSpec, when_down: WhenDown, now: Time, wall: Time) -> Self {
        let mut state = Self {
            spec: spec.clone(),
            when_down,
            ledger: Box::new(bytemuck::Zeroable::zeroed()),
            offset: wall.as_nanos() as i128 - now.as_nanos() as i128,
            link: Link::Joining(None),
            alone: Alone::default(),
            sent: None,
            last_sent: None,
            number: 0,
            report: 0,
            joined: false,
            epoch: 0,
            serial: 0,
            seen: None,
            retry_at: now,
            credit: [0; 3],
            expires: now,
            round_trip: Time::ZERO,
            history: Rows::default(),
            unreported: Rows::default(),
            refunds: Vec::new(),
            transit: None,
            rate: 0.0,
            tokens: [0.0; 2],
            taken: 0,
            waiting: 0,
            starved: None,
            looked: None,
            target: 0,
            is_plenty: false,
            in_flight: 0,
            seats: 0,
            steady_seats: 0,
            released: 0,
            members: 1,
            usage: Vec::new(),
            granted: [0; 3],
            rank: u64::MAX,
            is_complete: false,
            shared: Box::new(bytemuck::Zeroable::zeroed()),
            snapshot: 0,
            position: 0,
            wants_snapshot: false,
            events: Vec::new(),
            batch: 0,
            batched: 0,
            is_urgent: false,
            probe_until: Time::ZERO,
            wants_probe: false,
            has_waited: false,
            listens: None,
        };
        state.declare(now);
        state
    }

    /// Sets the number of calls that wait in this process, so that enough is asked for.
    pub fn set_waiting(&mut self, calls: usize) {
        self.waiting = calls as u64;
    }

    /// Returns since when the ledger has been down.
    pub fn down_since(&self) -> Option<Time> {
        match self.link {
            Link::Down(since) => Some(since),
            Link::Joining(_) | Link::Up => None,
        }
    }

    /// Takes the answer to a request, `number` being the request's. Late ones are ignored.
    pub fn answered(&mut self, now: Time, number: u64, reply: Reply) {
        let Some(sent) = self.sent.filter(|sent| sent.number == number) else { return };
        self.sent = None;
        self.round_trip = match self.round_trip {
            Time::ZERO => now.saturating_sub(sent.at),
            before => (before * 7 + now.saturating_sub(sent.at)) / 8,
        };
        let grant = match reply {
            Reply::Unknown { now: time } => {
                self.set_clock(now, time);
                self.joined = false;
                self.transit = None;
                self.credit = [0; 3];
                return;
            }
            Reply::Granted(grant) => grant,
        };
        self.set_clock(now, grant.now);
        self.seen = Some((grant.now, sent.at));
        // A fresh ledger to which nobody has declared any use is taken for the first one, unless this member knew another.
        let is_first = self.epoch == 0 || self.epoch == grant.epoch && self.is_complete;
        (self.epoch, self.serial, self.joined) = (grant.epoch, grant.serial, true);
        self.transit = None;
        if self.link != Link::Up {
            self.link = Link::Up;
            self.alone = Alone::default();
            self.declare(now);
        }
        let is_complete = grant.fresh == Time::ZERO || is_first && grant.usage.iter().all(|used| *used == 0);
        (self.granted, self.rank, self.is_complete) = (grant.amount, grant.rank, is_complete);
        for (credit, granted) in self.credit.iter_mut().zip(grant.amount) {
            *credit = credit.saturating_add(granted);
        }
        self.expires = sent.at + sent.lease;
        self.is_plenty = grant.retry == Time::ZERO && (grant.amount[0] >= self.target || grant.amount == [0; 3]);
        self.retry_at = now + grant.retry.min(Time::from_secs(1));
        // Seats that became free while the request was on its way are others' now, unless they are steady.
        let seats = grant.seats.saturating_sub(self.released).max(grant.steady_seats.min(grant.seats));
        (self.seats, self.steady_seats, self.members) = (seats, grant.steady_seats, grant.members);
        let rules = self.rules(now);
        self.usage = rules.into_iter().zip(grant.usage.iter().copied()).collect();
        self.probe_until = if grant.probe { self.expires } else { Time::ZERO };
        self.learn(now, &grant);
    }

    /// Notes that a request failed.
    pub fn failed(&mut self, now: Time, number: u64) {
        if self.sent.is_some_and(|sent| sent.number == number) {
            self.lose(now);
        }
    }

    fn lose(&mut self, now: Time) {
        self.sent = None;
        self.credit = [0; 3];
        self.retry_at = now + RETRY;
        self.is_plenty = false;
        if !matches!(self.link, Link::Down(_)) {
            let was_up = self.link == Link::Up;
            self.link = Link::Down(now);
            // One that never had an answer has its part at once, beside what others may have used: see `Alone`.
            self.alone = if was_up { Alone::new(self, now) } else { Alone::default() };
            self.declare(now);
        }
    }

    /// Notes that time has passed.
    fn advance(&mut self, now: Time) {
        let waits_since = match (self.sent, self.link) {
            (Some(sent), _) => Some(sent.at),
            (None, Link::Joining(since)) => since,
            (None, Link::Up | Link::Down(_)) => None,
        };
        if waits_since.is_some_and(|since| now >= since + PATIENCE) {
            self.lose(now);
        }
        if self.alone.is_over(now) {
            self.declare(now);
        }
    }

    /// Sets the difference to the ledger's clock. If it is another clock altogether, what was learnt on the old one is void.
    fn set_clock(&mut self, now: Time, theirs: Time) {
        let offset = theirs.as_nanos() as i128 - now.as_nanos() as i128;
        if (offset - self.offset).abs() > OTHER_CLOCK {
            *self.ledger = bytemuck::Zeroable::zeroed();
            self.forget();
            self.offset = offset;
            self.declare(now);
        }
        self.offset = offset;
    }

    fn shifted(&self, now: Time) -> Time {
        Time::from_nanos(u64::try_from(now.as_nanos() as i128 + self.offset).unwrap_or_default())
    }

    fn unshifted(&self, theirs: Time) -> Time {
        Time::from_nanos(u64::try_from(theirs.as_nanos() as i128 - self.offset).unwrap_or_default())
    }

    fn unshifted_wait(&self, wait: Wait) -> Wait {
        match wait {
            Wait::Until(time) => Wait::Until(self.unshifted(time)),
            Wait::Never(Refusal::Stopped { class, kind, since, probe }) => {
                let (since, probe) = (self.unshifted(since), self.unshifted(probe));
                Wait::Never(Refusal::Stopped { class, kind, since, probe })
            }
            Wait::Never(Refusal::TooLarge { .. } | Refusal::StoreDown { .. }) | Wait::Release => wait,
        }
    }

    /// Sets the limits of this member's own ledger: while the other one is down, what it may use without it. Otherwise they do not
    /// limit, and its windows only know what was used.
    fn declare(&mut self, now: Time) {
        let mut spec = self.spec.clone();
        match (self.link, self.when_down) {
            (Link::Down(since), WhenDown::Share(part)) => {
                self.alone.restrict(&mut spec, part, now, since);
                if spec.adaptive && part < 1.0 {
                    let rate = self.ledger.state(Time::ZERO).learnt.map_or(0.0, |learnt| learnt.rate);
                    let requests = Some(((rate * LEARNT_PERIOD.as_secs_f64() * part) as u64).max(1));
                    spec.limits.push(Limit { requests, ..Limit::per(LEARNT_PERIOD) });
                }
            }
            (Link::Joining(_) | Link::Up | Link::Down(_), _) => {
                for limit in &mut spec.limits {
                    limit.amounts().into_iter().for_each(|(_, most)| *most = most.map(|most| most.saturating_mul(4)));
                }
            }
        }
        // A number of limits that is too large was refused when the quota was made.
        let _ = self.ledger.declare(&spec);
        let _ = self.shared.declare(&self.spec);
        let shifted = self.shifted(now);
        self.ledger.forgive(shifted);
    }

    /// Time for which grants are asked.
    fn lease(&self) -> Time {
        let other = if self.spec.adaptive { LEARNT_LEASE } else { LEASES.1 };
        let shortest = self.spec.limits.iter().map(|limit| limit.per).min().unwrap_or(other * LEASE_PART);
        (shortest / LEASE_PART).clamp(LEASES.0, LEASES.1).max(self.round_trip * 4)
    }

    fn beat(&self) -> Time {
        (BEAT_PER_MEMBER * u32::try_from(self.members).unwrap_or(u32::MAX).min(1000)).clamp(BEATS.0, BEATS.1)
    }

    /// Limits of windows as the ledger is to apply them.
    fn rules(&self, now: Time) -> Vec<WindowRule> {
        let state = self.ledger.state(self.shifted(now));
        let lease = self.lease().as_secs_f64();
        let mut rules = Vec::new();
        for mut limit in self.spec.limits.iter().copied() {
            let per = limit.per;
            for (unit, most) in limit.amounts() {
                let Some(most) = *most else { continue };
                let told = state.windows.iter().find(|window| window.unit == unit && window.period == per);
                let most = told.map_or(most, |window| window.limit.min(most));
                let period = period(per);
                let is_smoothed = state.burst < 1.0 && per <= LONGEST_SMOOTHED;
                let rate = if is_smoothed { RATE * most as f64 / period.as_secs_f64() } else { 0.0 };
                let burst = if is_smoothed { (most as f64 * state.burst + rate * lease / 2.0).max(1.0) } else { 1e15 };
                match rules.iter_mut().find(|rule: &&mut WindowRule| rule.unit == unit && rule.period == period) {
                    Some(same) if same.limit <= most => {}
                    Some(same) => *same = WindowRule { period, unit, limit: most, burst, rate },
                    None => rules.push(WindowRule { period, unit, limit: most, burst, rate }),
                }
            }
        }
        if let Some(learnt) = state.learnt.filter(|learnt| learnt.rate.is_finite() && learnt.rate > 0.0) {
            // The rate is kept to by what members know of each other. A request that nobody knows of was granted.
            let time = LEARNT_GRANTS.max(self.round_trip * 4).as_secs_f64();
            let many = if learnt.binding == Binding::InFlight { 4.0 } else { 1.0 };
            let limit = ((learnt.rate * many * time) as u64).max(1);
            rules.push(WindowRule { period: Time::ZERO, unit: Unit::Requests, limit, burst: 1e15, rate: learnt.rate });
        }
        rules
    }

    /// Length of time that shares a row of the report.
    fn step(&self) -> Time {
        self.spec.limits.iter().map(|limit| limit.per).min().unwrap_or(LEARNT_PERIOD) / 200
    }

    fn has_windows(&self) -> bool {
        self.spec.adaptive || !self.spec.limits.is_empty()
    }

    fn limits_seats(&self) -> bool {
        self.spec.max_in_flight.is_some() || self.spec.adaptive
    }
}

/// Length of a window in the ledger.
fn period(per: Time) -> Time {
    per + per.mul_f64(ROOM).min(LONGEST_ROOM)
}

impl std::fmt::Debug for LeaseState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseState").field("link", &self.link).field("credit", &self.credit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::*;

    #[test]
    fn a_member_without_its_ledger_shows_the_declared_limit() {
        let limit = Limit { requests: Some(40), ..Limit::per(Duration::from_secs(60)) };
        let spec = QuotaSpec { limits: vec![limit], ..QuotaSpec::default() };
        let now = Time::from_secs(1000);
        let state = LeaseState::new(&spec, WhenDown::Wait, now, Time::from_secs(1_800_000_000)).state(now);
        assert_eq!(state.windows.iter().map(|window| window.limit).collect::<Vec<_>>(), [40]);
    }
}
