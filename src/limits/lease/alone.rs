//! What a member may use while the ledger does not answer.
//!
//! All members together must keep to the limits without hearing of each other. Each has its part of a limit, which is all that
//! it may use, but for what had been used when the ledger was lost: others may have used all the rest, at any time of the
//! window. So in the first window a member that had used less than its part goes on with as much as it had used, and beside that
//! with its part of what nobody can have used according to the ledger's last answer. One that had used more than its part goes
//! on when that has left the window. One that never had an answer knows none of this, and has its whole part at once.

use super::super::Time;
use super::super::spec::QuotaSpec;
use super::exchange::{Amount, WindowRule};
use super::{LEASES, LeaseState, PATIENCE, period};
use crate::types::rate_limit::Unit;

/// Time for which a member that has lost the ledger sends nothing: most are back within it, and what is used meanwhile is what
/// the others do not know of.
const PAUSE: Time = PATIENCE;
/// Time after its last answer for which the ledger gives a member's rank to no other one, at least.
const RANK_KEPT: Time = Time::from_secs(10);
/// Part of the limit of a day, or of a longer period, that others are taken to have used since the last answer at most. Shorter
/// ones are smoothed, which bounds it.
const UNSMOOTHED: f64 = 0.3;
/// Longest time from a request to the arrival of the next one that arrives at all, if the ledger is only slow.
const SOON: Time = Time::from_secs(2);

/// What was known of a window when the ledger was lost.
#[derive(Debug)]
struct Known {
    unit: Unit,
    per: Time,
    /// What this member had used of it.
    used: u64,
    /// Part of the limit that nobody can have used.
    left: f64,
}

/// What a member may use of a limit now.
#[derive(Debug)]
struct Allowed {
    unit: Unit,
    per: Time,
    /// Maximum in a window, and what it is when the window in which the ledger was lost is over.
    most: u64,
    part: u64,
}

/// What a member knew when it lost the ledger, and what it may use until it is back.
#[derive(Debug, Default)]
pub(super) struct Alone {
    windows: Vec<Known>,
    /// Number of members that the ledger knew before this one; `None` if others may have the same.
    rank: Option<u64>,
    /// Time from which on it uses anything.
    from: Time,
    /// Time at which the next of the windows is over.
    next: Option<Time>,
    allowed: Vec<Allowed>,
}

impl Alone {
    /// Returns what a member knows that has just lost the ledger.
    pub(super) fn new(member: &LeaseState, now: Time) -> Self {
        let age = member.seen.map_or(Time::MAX, |(_, asked)| now.saturating_sub(asked));
        let known = |unit, per, used| Known { unit, per, used, left: member.left(unit, per, age) };
        let windows = member.ledger.state(member.shifted(now)).windows;
        Self {
            windows: windows.iter().map(|window| known(window.unit, window.period, window.used)).collect(),
            rank: (age <= RANK_KEPT).then_some(member.rank),
            from: now + PAUSE,
            ..Self::default()
        }
    }

    /// Sets limits to what this member may use of them, if it lost the ledger at the time `since`. `part` is its part of them.
    pub(super) fn restrict(&mut self, spec: &mut QuotaSpec, part: f64, now: Time, since: Time) {
        (self.next, self.allowed) = (None, Vec::new());
        let mut allow = |unit, per, most, part| {
            self.allowed.push(Allowed { unit, per, most, part });
            // A ledger has no limit of zero: see `holds_up`.
            most.max(1)
        };
        // If there are fewer requests than parts, those of the lowest ranks have one each.
        let part_of = |limit: u64| match limit as f64 * part + 1e-9 {
            part if part >= 1.0 => part as u64,
            _ => u64::from(self.rank.is_some_and(|rank| rank < limit)),
        };
        for limit in &mut spec.limits {
            let per = limit.per;
            // The others spend for a lease longer what they were granted before.
            let end = since + per + LEASES.1;
            for (unit, limit) in limit.amounts() {
                let Some(limit) = limit else { continue };
                let part = part_of(*limit);
                let known = self.windows.iter().find(|window| (window.unit, window.per) == (unit, per));
                let most = match known.filter(|_| now < end) {
                    Some(known) => {
                        let used = known.used.min(part);
                        self.next = Some(self.next.map_or(end, |next| next.min(end)));
                        used + ((part - used) as f64 * known.left) as u64
                    }
                    None => part,
                };
                *limit = allow(unit, per, most, part);
            }
        }
        if part < 1.0
            && let Some(seats) = &mut spec.max_in_flight
        {
            let part = part_of((*seats).into());
            *seats = u32::try_from(allow(Unit::InFlight, Time::ZERO, part, part)).unwrap_or(u32::MAX);
        }
    }

    /// True if a window is over whose use by others was not known.
    pub(super) fn is_over(&self, now: Time) -> bool {
        self.next.is_some_and(|next| now >= next)
    }

    /// Returns until when a request has to wait, whatever is left in the windows of this member. `later` is the time at which
    /// the ledger may be back.
    pub(super) fn holds_up(&self, now: Time, amount: Amount, later: Time) -> Option<Time> {
        if now < self.from {
            return Some(self.from);
        }
        // A request that is larger than the part is sent when nothing is in the window.
        let is_too_much = |it: &Allowed| of(it.unit, amount) > it.most && (it.most < it.part || it.most == 0);
        self.allowed.iter().any(is_too_much).then(|| self.next.unwrap_or(later))
    }
}

impl LeaseState {
    /// Returns what this member may use until its next request arrives, at most, and what it has used that is in no request yet.
    pub(super) fn used_alone(&self, now: Time) -> Amount {
        let windows = self.ledger.state(self.shifted(now)).windows;
        let mut left = [None; 4];
        for &Allowed { unit, per, most, .. } in &self.alone.allowed {
            let Some(window) = windows.iter().find(|window| (window.unit, window.period) == (unit, per)) else {
                continue;
            };
            let more = (most as f64 * SOON.as_secs_f64() / per.as_secs_f64()).ceil() as u64;
            let of_window = (most + more).saturating_sub(window.used);
            let place = match unit {
                Unit::Requests => &mut left[0],
                Unit::InputTokens => &mut left[1],
                Unit::OutputTokens => &mut left[2],
                Unit::Tokens => &mut left[3],
                Unit::InFlight => continue,
            };
            *place = Some(place.map_or(of_window, |other: u64| other.min(of_window)));
        }
        let [requests, input, output, tokens] = left.map(Option::unwrap_or_default);
        let unknown = self.unreported.sum();
        let soon = [requests, input, output.max(tokens)];
        std::array::from_fn(|k| soon[k].saturating_add(unknown[k]))
    }

    /// Returns the part of a limit that nobody can have used if the last answer is as old as this: all else was used then, or
    /// was granted since.
    fn left(&self, unit: Unit, per: Time, age: Time) -> f64 {
        let is_of = |rule: &WindowRule| rule.unit == unit && rule.period == period(per);
        let Some((rule, used)) = self.usage.iter().find(|(rule, _)| self.is_complete && is_of(rule)) else {
            return 0.0;
        };
        let limit = rule.limit as f64;
        let (burst, rate) = match rule.rate > 0.0 {
            true => (rule.burst, rule.rate),
            false => (UNSMOOTHED * limit, limit / per.as_secs_f64()),
        };
        let used = (used + of(unit, self.granted)) as f64 + burst + rate * age.as_secs_f64();
        (1.0 - used / limit).max(0.0)
    }
}

/// Returns the part of an amount that a limit counts.
fn of(unit: Unit, amount: Amount) -> u64 {
    match unit {
        Unit::Requests | Unit::InFlight => amount[0],
        Unit::Tokens => amount[1].saturating_add(amount[2]),
        Unit::InputTokens => amount[1],
        Unit::OutputTokens => amount[2],
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::budget::{Budget, Wait};
    use super::super::super::spec::Limit;
    use super::super::exchange::{Grant, Reply};
    use super::super::{PATIENCE, WhenDown};
    use super::*;
    use crate::types::rate_limit::{Signals, Tokens};

    const MILLISECOND: Time = Time::from_millis(1);
    const BEGIN: Time = Time::from_secs(86_400);
    const MINUTE: Time = Time::from_secs(60);

    fn requests(requests: u64) -> QuotaSpec {
        let limits = vec![Limit { requests: Some(requests), ..Limit::per(MINUTE) }];
        QuotaSpec { limits, ..QuotaSpec::default() }
    }

    fn try_take(member: &mut LeaseState, now: Time) -> Result<(), Wait> {
        let taken = member.try_take(now, Tokens::default())?;
        member.settle(now, taken, None, &Signals::default());
        Ok(())
    }

    /// Returns a member with a quarter of the limits that has joined, and has used as many of the requests as it was granted,
    /// when all had used `used` according to the ledger; and the time at which it has lost the ledger.
    fn lost(spec: &QuotaSpec, own: u64, used: u64, rank: u64, idle: Time) -> (LeaseState, Time) {
        let mut now = BEGIN;
        let mut member = LeaseState::new(spec, WhenDown::Share(0.25), now, now);
        try_take(&mut member, now).expect_err("nothing was granted");
        grant(&mut member, now, Grant { amount: [own, 0, 0], rank, usage: vec![used], ..granted() });
        for _ in 0..own {
            try_take(&mut member, now).expect("it was granted");
        }
        now += idle.max(Time::from_secs(1));
        lose(&mut member, now);
        (member, now)
    }

    /// Returns an answer that grants nothing.
    fn granted() -> Grant {
        Grant {
            epoch: 1,
            serial: 1,
            now: Time::ZERO,
            amount: [0; 3],
            seats: u32::MAX,
            steady_seats: u32::MAX,
            retry: Time::ZERO,
            members: 4,
            rank: 0,
            fresh: Time::ZERO,
            probe: false,
            snapshot: 1,
            learnt: None,
            missed: Vec::new(),
            appended: false,
            position: 0,
            wants_snapshot: false,
            in_flight: 0,
            usage: vec![0],
        }
    }

    /// Answers a member's request, with the same use of each window.
    fn grant(member: &mut LeaseState, now: Time, grant: Grant) {
        let request = member.request(now).expect("a call waits");
        let usage = vec![grant.usage[0]; request.windows.len()];
        member.answered(now, request.number, Reply::Granted(Grant { now, usage, ..grant }));
    }

    /// Has a call of a member wait, and its request fail.
    fn lose(member: &mut LeaseState, now: Time) {
        try_take(member, now).expect_err("the lease is over");
        let request = member.request(now).expect("a call waits");
        member.failed(now, request.number);
    }

    /// Admits as much as is possible until a time, and returns how much that is.
    fn admitted(member: &mut LeaseState, from: Time, until: Time) -> usize {
        let mut now = from;
        let mut count = 0;
        while now < until {
            match try_take(member, now) {
                Ok(()) => count += 1,
                Err(Wait::Until(time)) => now = time.max(now + MILLISECOND),
                Err(wait) => panic!("{wait:?}"),
            }
        }
        count
    }

    #[test]
    fn what_others_may_have_used_is_not_used_before_it_has_left_the_window() {
        let (mut member, gone) = lost(&requests(100), 0, 100, 0, Time::ZERO);
        assert_eq!(try_take(&mut member, gone), Err(Wait::Until(gone + PATIENCE)));
        let over = gone + MINUTE + LEASES.1;
        assert_eq!(try_take(&mut member, gone + PATIENCE), Err(Wait::Until(over)));
        assert_eq!(admitted(&mut member, over, over + MINUTE), 25);
        // What it had used itself, it may use again when that has left the window.
        let (mut member, gone) = lost(&requests(100), 10, 100, 0, Time::from_secs(30));
        // Three at once, the others evenly.
        assert_eq!(admitted(&mut member, gone, gone + MINUTE), 8);
        // One that had used more than its part first lets it leave.
        let (mut member, gone) = lost(&requests(100), 40, 100, 0, Time::ZERO);
        assert_eq!(admitted(&mut member, gone, BEGIN + MINUTE), 0);
    }

    #[test]
    fn what_nobody_can_have_used_is_used_at_once() {
        // Others may have been granted a burst since, and what is admitted in a second: 33 of 100.
        let (mut member, gone) = lost(&requests(100), 0, 0, 0, Time::ZERO);
        assert_eq!(admitted(&mut member, gone, gone + MINUTE), 16);
        // What was known long ago is of no use.
        let (mut member, gone) = lost(&requests(100), 0, 0, 0, MINUTE);
        assert_eq!(admitted(&mut member, gone, gone + MINUTE), 0);
        // The limit of a day is not smoothed.
        let mut spec = requests(1000);
        spec.limits[0].per = 1440 * MINUTE;
        let (mut member, gone) = lost(&spec, 0, 500, 0, Time::ZERO);
        assert_eq!(admitted(&mut member, gone, gone + MINUTE), 49);
    }

    /// What others used is in no ledger that begins anew, until they have told it.
    #[test]
    fn a_ledger_that_began_anew_does_not_know_what_all_have_used() {
        let second = Time::from_secs(1);
        for (epochs, expected) in [([1, 1], 16), ([1, 2], 0)] {
            let mut member = LeaseState::new(&requests(100), WhenDown::Share(0.25), BEGIN, BEGIN);
            let mut now = BEGIN;
            for epoch in epochs {
                try_take(&mut member, now).expect_err("nothing was granted");
                grant(&mut member, now, Grant { epoch, fresh: second, ..granted() });
                now += second;
            }
            lose(&mut member, now);
            assert_eq!(admitted(&mut member, now, now + MINUTE), expected, "{epochs:?}");
        }
    }

    /// One request of a part of one is a whole window's debt, which is none of the limit of all.
    #[test]
    fn who_has_the_ledger_back_does_not_wait_for_what_its_part_would_need() {
        let (mut member, gone) = lost(&requests(3), 0, 3, 0, Time::ZERO);
        let over = gone + MINUTE + LEASES.1;
        assert_eq!(try_take(&mut member, over), Ok(()));
        let back = over + Time::from_secs(1);
        let request = member.request(back).expect("the ledger is down");
        member.answered(back, request.number, Reply::Granted(Grant { now: back, usage: vec![1], ..granted() }));
        try_take(&mut member, back).expect_err("nothing was granted");
        grant(&mut member, back, Grant { amount: [1, 0, 0], usage: vec![1], ..granted() });
        assert_eq!(try_take(&mut member, back), Ok(()));
    }

    #[test]
    fn fewer_requests_than_parts_are_for_those_of_the_lowest_ranks() {
        for (rank, expected) in [(0, 1), (2, 1), (3, 0)] {
            let (mut member, gone) = lost(&requests(3), 0, 3, rank, Time::ZERO);
            assert_eq!(admitted(&mut member, gone, gone + MINUTE), 0);
            assert_eq!(admitted(&mut member, gone + MINUTE, gone + 2 * MINUTE), expected, "rank {rank}");
        }
        // Its rank may be another one's by now.
        let (mut member, gone) = lost(&requests(3), 0, 3, 0, Time::from_secs(11));
        assert_eq!(admitted(&mut member, gone, gone + 3 * MINUTE), 0);
        // Requests in flight are shared in the same way.
        for (rank, expected) in [(1, true), (2, false)] {
            let spec = QuotaSpec { max_in_flight: Some(2), ..requests(100) };
            let (mut member, gone) = lost(&spec, 0, 100, rank, Time::ZERO);
            assert_eq!(try_take(&mut member, gone + MINUTE + LEASES.1).is_ok(), expected, "rank {rank}");
        }
    }

    /// A ledger that is only slow hears of a member that does not hear of it.
    #[test]
    fn a_request_tells_what_the_member_uses_by_itself() {
        let (mut member, gone) = lost(&requests(100), 10, 100, 0, Time::ZERO);
        let mut tell = |now: Time, count: u64| {
            let mut last = now;
            for _ in 0..count {
                while try_take(&mut member, last).is_err() {
                    last += MILLISECOND;
                }
            }
            let next = member.next_exchange().expect("the ledger is down");
            let request = member.request(next.max(last)).expect("none is on its way");
            member.failed(next.max(last), request.number);
            (request.used.iter().map(|used| used.amount[0]).sum::<i64>(), request.keep[0])
        };
        // What was told before the ledger was lost is told again, as it may not have arrived. It used all that it may use by now.
        assert_eq!(tell(gone, 0), (10, 1));
        // Its part of the next window is 25 of 100, and one more in the two seconds until the next request.
        let over = gone + MINUTE + LEASES.1;
        assert_eq!(tell(over, 3), (10, 26));
        assert_eq!(tell(over + MILLISECOND, 2), (10, 26));
    }

    #[test]
    fn who_never_heard_of_the_ledger_takes_its_part_at_once() {
        for (limit, expected) in [(100, 25), (3, 0)] {
            let mut member = LeaseState::new(&requests(limit), WhenDown::Share(0.25), BEGIN, BEGIN);
            try_take(&mut member, BEGIN).expect_err("nothing was granted");
            let request = member.request(BEGIN).expect("a call waits");
            member.failed(BEGIN, request.number);
            assert_eq!(admitted(&mut member, BEGIN, BEGIN + MINUTE), expected);
        }
    }
}
