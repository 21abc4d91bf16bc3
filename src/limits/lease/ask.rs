//! When a member asks the ledger, and for what.

use super::super::Time;
use super::event::encode;
use super::exchange::{Amount, Request, Use, WindowRule};
use super::{CALLS, EVENTS_BEAT, GRACE, LOOKS, LeaseState, Link, MANY_CALLS, PATIENCE, SEAT_RETRY, Sent};
use crate::types::rate_limit::Unit;

impl LeaseState {
    /// Returns the time of the next exchange: of the request, or if one is on its way, the time at which it counts as lost.
    /// `None` as long as nothing is to be said.
    pub fn next_exchange(&self) -> Option<Time> {
        if let Some(sent) = self.sent {
            return Some(sent.at + PATIENCE);
        }
        let Some(last) = self.last_sent else {
            return (self.starved.is_some() || self.looked.is_some()).then_some(Time::ZERO);
        };
        if let Link::Down(_) = self.link {
            return Some(self.retry_at);
        }
        if !self.joined {
            let is_used = self.starved.is_some() || self.looked.is_some() || !self.history.is_empty();
            return is_used.then_some(last);
        }
        let lease = self.lease();
        let gap = if self.rate > MANY_CALLS { Time::from_secs_f64(CALLS / self.rate) } else { Time::from_millis(2) };
        let gap = gap.min(lease / 2);
        let mut times: [Option<Time>; 6] = [None; 6];
        let runs_out = self.is_plenty && self.taken > 0 && self.credit[0] * 4 < self.target;
        if self.starved.is_some() || runs_out {
            let lacks_seat = self.limits_seats() && self.in_flight >= self.seats;
            times[0] = Some(match (self.is_plenty, lacks_seat) {
                (_, true) => last + gap.max(SEAT_RETRY),
                (true, false) => last + gap,
                (false, false) if self.spec.limits.is_empty() => {
                    // What is granted long before the learnt rate admits a request only waits here.
                    let paced = self.ledger.paced().map_or(Time::ZERO, |paced| self.unshifted(paced));
                    self.retry_at.max(last + gap.max(EVENTS_BEAT)).max(paced.saturating_sub(2 * self.round_trip))
                }
                (false, false) => self.retry_at.max(last + gap.max(lease / 4)),
            });
        }
        let uses_seats = self.limits_seats() && (self.in_flight > 0 || (1..u32::MAX).contains(&self.seats));
        if self.taken > 0
            || self.credit != [0; 3]
            || uses_seats
            || !self.unreported.is_empty()
            || !self.refunds.is_empty()
        {
            times[1] = Some(last + lease / 2);
        }
        if !self.history.is_empty() {
            times[2] = Some(last + self.beat());
        }
        if !self.events.is_empty() {
            times[3] = Some(last + if self.is_urgent { gap } else { gap.max(EVENTS_BEAT) });
        }
        times[4] = self.listens.map(|beat| last + beat);
        if self.looked.is_some_and(|looked| last < looked + LOOKS.1) {
            times[5] = Some(last + LOOKS.0);
        }
        times.into_iter().flatten().min()
    }

    /// Returns the request to be sent now, unless one is on its way.
    pub fn request(&mut self, now: Time) -> Option<Request> {
        self.advance(now);
        if self.sent.is_some() {
            return None;
        }
        let windows = self.rules(now);
        let longest = windows.iter().map(|window| window.period).max().unwrap_or_default();
        self.history.forget(now.saturating_sub(longest));
        if self.transit.is_none() {
            let mut rows: Vec<_> = match self.joined {
                true => self.unreported.uses(now).map(|used| (now.saturating_sub(used.age), used.amount)).collect(),
                false => self.history.uses(now).map(|used| (now.saturating_sub(used.age), used.amount)).collect(),
            };
            if self.joined {
                rows.append(&mut self.refunds);
            }
            self.refunds.clear();
            self.unreported.clear();
            self.report += 1;
            self.transit = Some(rows);
        }
        let age = |&(at, amount): &(Time, [i64; 3])| Use { age: now.saturating_sub(at), amount };
        let used = self.transit.iter().flatten().map(age).collect();

        let (mut keep, want, least) = self.ask(now, &windows);
        self.credit = keep;
        if let Link::Down(_) = self.link {
            // If this request arrives and its answer does not, nobody is granted what this member uses by itself.
            keep = self.used_alone(now);
        }
        let lease = self.lease();
        let state = self.ledger.state(self.shifted(now));
        self.number += 1;
        self.sent = Some(Sent { number: self.number, at: now, lease });
        if self.batched == 0 && !self.events.is_empty() {
            self.batched = self.events.len();
            self.batch += 1;
        }
        let probes = (self.wants_probe || now < self.probe_until) && self.ledger.needs_probe(self.shifted(now));
        (self.wants_probe, self.is_urgent, self.listens) = (false, false, None);
        self.last_sent = Some(now);
        self.taken = 0;
        self.released = 0;
        let seats_starved = u32::from(self.starved.is_some()) + u32::try_from(self.waiting).unwrap_or(u32::MAX / 2);
        self.starved = None;
        Some(Request {
            number: self.number,
            joins: !self.joined,
            epoch: self.epoch,
            serial: self.serial,
            seen: self.seen.map_or(Time::ZERO, |(seen, _)| seen),
            elapsed: self.seen.map_or(Time::ZERO, |(_, asked)| now.saturating_sub(asked)),
            grace: GRACE.min(longest),
            returns: self.joined && self.link != Link::Up,
            lease,
            report: self.report,
            used,
            windows,
            keep,
            want,
            least,
            in_flight: self.in_flight,
            seats_wanted: self.in_flight.saturating_add(seats_starved).saturating_add(u32::from(self.in_flight > 0)),
            max_in_flight: state.max_in_flight,
            probes,
            snapshot: self.snapshot,
            position: self.position,
            batch: self.batch,
            events: encode(&self.events[..self.batched]),
            learnt: self.wants_snapshot.then(|| self.shared.learnt().to_bytes()),
        })
    }

    /// Decides what is kept, wanted, and at least needed.
    fn ask(&mut self, now: Time, windows: &[WindowRule]) -> (Amount, Amount, Amount) {
        if now >= self.expires || self.ledger.held_up(self.shifted(now)).is_some() {
            self.credit = [0; 3];
        }
        let since = now.saturating_sub(self.last_sent.unwrap_or(now)).as_secs_f64().max(0.001);
        let lately = self.taken as f64 / since;
        self.rate += (1.0 - (-2.0 * since).exp()) * (lately - self.rate);
        let lease = self.lease();
        let Some(most) = windows
            .iter()
            .filter(|it| it.unit == Unit::Requests)
            .map(|it| it.limit)
            .min()
            .or_else(|| (!windows.is_empty()).then_some(u64::MAX >> 16))
        else {
            return ([0; 3], [0; 3], [0; 3]);
        };
        let mut target = 0;
        if self.taken > 0 || self.starved.is_some() {
            target = (1.25 * self.rate.max(lately.min(2.0 * self.rate + 10.0)) * lease.as_secs_f64()).ceil() as u64;
        }
        if let Some(least) = self.starved {
            // The share of a lease, for the first calls after idleness.
            let first = windows
                .iter()
                .filter(|window| window.unit == Unit::Requests)
                .map(|window| 2.0 * window.limit as f64 * lease.as_secs_f64() / window.period.as_secs_f64());
            let grown = if self.is_plenty { self.target * 2 } else { self.target };
            target = target.max(grown).max(first.fold(f64::MAX, f64::min).min(1000.0) as u64).max(least[0]);
        }
        target = target.saturating_add(self.waiting).min(most);
        if self.spec.limits.is_empty() {
            // It is used within a moment, and others want the same.
            target = target.min(most.div_ceil(self.members.max(1)));
        }
        if self.ledger.held_up(self.shifted(now)).is_some() {
            target = 0;
        }
        self.target = target;
        let of_tokens = |part: f64| (part * target as f64).ceil() as u64;
        let mut wanted = [target, of_tokens(self.tokens[0]), of_tokens(self.tokens[1])];
        let Some(least) = self.starved else {
            let keep: Amount = std::array::from_fn(|k| self.credit[k].min(wanted[k]));
            let mut want: Amount = std::array::from_fn(|k| wanted[k] - keep[k]);
            if want != [0; 3] {
                want[0] = want[0].max(1);
            }
            let first = [want[0].min(1), (self.tokens[0] as u64).min(want[1]), (self.tokens[1] as u64).min(want[2])];
            return (keep, want, first);
        };
        // Nobody holds a part of what the first call needs: parts in several hands would let none of them go on.
        for (wanted, least) in wanted.iter_mut().zip(least) {
            *wanted = (*wanted).max(least);
        }
        ([0; 3], wanted, least)
    }
}
