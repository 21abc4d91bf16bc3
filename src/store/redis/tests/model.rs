//! The part of the ledger's script that learning needs, in memory: a simulation needs a hundred thousand exchanges.

use std::collections::BTreeMap;

use super::*;
use crate::limits::lease::Grant;

/// What the ledger knows of a member.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    out: u64,
    want: u64,
    asks_until: Time,
    got: f64,
    got_at: Time,
    hungry: Option<Time>,
    ends: Time,
    lease: Time,
    held: u32,
    seats: u32,
    seats_wanted: u32,
    seat_at: Time,
    batch: u64,
}

/// A ledger of a quota without declared limits.
#[derive(Debug, Default)]
pub(super) struct Model {
    serial: u64,
    members: BTreeMap<usize, Known>,
    prober: Option<(usize, Time)>,
    snapshot: u64,
    learnt: Vec<u8>,
    log: Vec<u8>,
    log_at: u64,
}

/// The level up to which an amount fills all who ask, each from what it has and by at most what it wants.
fn fill(free: f64, asks: &[(f64, f64)]) -> f64 {
    let total: f64 = asks.iter().map(|ask| ask.0).sum();
    let high = asks.iter().map(|ask| ask.0 + ask.1).fold(0.0, f64::max);
    if total <= free {
        return high;
    }
    let (mut low, mut high) = (asks.iter().map(|ask| ask.1).fold(f64::MAX, f64::min), high);
    for _ in 0..30 {
        let middle = (low + high) / 2.0;
        let sum: f64 = asks.iter().map(|ask| ask.0.min((middle - ask.1).max(0.0))).sum();
        if sum > free {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

impl Model {
    pub(super) fn exchange(&mut self, id: usize, now: Time, request: &Request) -> Reply {
        self.serial += 1;
        self.snapshot = self.snapshot.max(1);
        let lease = request.lease;
        let level = |known: &Known| known.got * (-2.0 * now.saturating_sub(known.got_at).as_secs_f64()).exp();
        let mut me = *self.members.entry(id).or_insert(Known { lease, ends: now, ..Known::default() });
        for other in self.members.iter_mut().filter(|(other, _)| **other != id).map(|other| other.1) {
            if other.ends <= now {
                other.out = 0;
            }
            if other.ends + other.lease <= now {
                (other.seats, other.seats_wanted, other.held) = (0, 0, 0);
            }
        }
        let others: Vec<Known> = self.members.iter().filter(|(other, _)| **other != id).map(|it| *it.1).collect();
        let held = request.in_flight;
        let in_flight = held + others.iter().map(|it| it.held).sum::<u32>();

        let probe = request.probes && self.prober.is_none_or(|(prober, until)| prober == id || until <= now);
        if probe {
            self.prober = Some((id, now + lease));
        } else if self.prober.is_some_and(|prober| prober.0 == id) {
            self.prober = None;
        }

        let (keep, want, least) = (request.keep[0], request.want[0], request.least[0]);
        let rule = request.windows[0];
        let used = others.iter().map(|it| it.out).sum::<u64>() + keep;
        let free = if used == 0 || probe {
            rule.limit.saturating_sub(used).max(least)
        } else {
            rule.limit.saturating_sub(used)
        };
        let (mut granted, mut retry) = (0, Time::ZERO);
        if want > 0 {
            let hungry: Vec<Known> =
                others.iter().filter(|it| it.want > 0 && it.asks_until > now && it.ends > now).copied().collect();
            let mut share = want.min(free) as f64;
            if !hungry.is_empty() && !probe {
                let mine = level(&me);
                let mut asks = vec![(want as f64, mine)];
                asks.extend(hungry.iter().map(|it| (it.want as f64, level(it))));
                let top = fill(free as f64, &asks);
                let is_before = |it: &Known| {
                    let theirs = level(it);
                    theirs < mine || theirs == mine && it.hungry.unwrap_or(now) < me.hungry.unwrap_or(now)
                };
                let reserved: f64 = hungry
                    .iter()
                    .filter(|it| is_before(it))
                    .map(|it| (it.want as f64).min((top - level(it)).max(0.0)).max(1.0))
                    .sum();
                share = share.min((top - mine).max(0.0)).min(free as f64 - reserved);
                if share < least as f64 {
                    share = if free as f64 - reserved >= least as f64 { least as f64 } else { 0.0 };
                }
            }
            if share > 0.0 && least <= free {
                granted = (share as u64).max(least);
            }
            if granted == 0 {
                let waits = Duration::from_secs_f64(0.25 / rule.rate);
                retry = waits.clamp(5 * MILLISECOND, 250 * MILLISECOND);
            }
        }
        me.got = level(&me) + granted as f64;
        (me.got_at, me.out, me.want, me.lease, me.ends) = (now, keep + granted, want - granted, lease, now + lease);
        me.asks_until = now + retry + 2 * lease;
        me.hungry = (me.want > 0).then(|| me.hungry.filter(|_| granted == 0).unwrap_or(now));

        let (mut seats, mut steady) = (u32::MAX, u32::MAX);
        if let Some(most) = request.max_in_flight {
            let wanted = request.seats_wanted;
            let asked: Vec<Known> = others.iter().filter(|it| it.seats_wanted > 0).copied().collect();
            let mut asks = vec![(f64::from(wanted), 0.0)];
            asks.extend(asked.iter().map(|it| (f64::from(it.seats_wanted), 0.0)));
            steady = (f64::from(wanted).min(fill(f64::from(most), &asks)) + 0.0001) as u32;
            let free = most.saturating_sub(others.iter().map(|it| it.seats).sum::<u32>() + held);
            seats = held.max(steady).min(held + free);
            let turn = !asked.iter().any(|it| {
                it.seats_wanted > it.seats && (it.seats < held || it.seats == held && it.seat_at < me.seat_at)
            });
            if seats == held && wanted > held && free >= 1 && turn {
                seats = held + 1;
            }
            if seats > held {
                me.seat_at = now;
            }
            (me.seats, me.seats_wanted) = (seats, wanted);
        }
        me.held = held;

        let last = self.log_at + self.log.len() as u64;
        let mut known =
            request.epoch == 1 && request.snapshot == self.snapshot && (self.log_at..=last).contains(&request.position);
        let mut snapshot = request.snapshot;
        if let (true, Some(learnt)) = (known, &request.learnt) {
            self.learnt.clone_from(learnt);
            self.snapshot += 1;
            snapshot = self.snapshot;
            self.log.drain(..(request.position - self.log_at) as usize);
            self.log_at = request.position;
        }
        known &= snapshot == self.snapshot;
        let from = if known { (request.position - self.log_at) as usize } else { 0 };
        let missed = self.log[from..].to_vec();
        let appended = !request.events.is_empty() && me.batch != request.batch;
        if appended {
            self.log.extend(&request.events);
            self.log.push(6);
            self.log.extend(in_flight.to_le_bytes());
            me.batch = request.batch;
        }
        self.members.insert(id, me);
        Reply::Granted(Grant {
            epoch: 1,
            serial: self.serial,
            now: WALL + now,
            amount: [granted, 0, 0],
            seats,
            steady_seats: steady,
            retry,
            members: self.members.len() as u64,
            rank: id as u64,
            fresh: Time::ZERO,
            probe,
            snapshot: self.snapshot,
            learnt: (!known && !self.learnt.is_empty()).then(|| self.learnt.clone()),
            missed,
            appended,
            position: self.log_at + self.log.len() as u64,
            wants_snapshot: self.log.len() > 16_384 || self.learnt.is_empty(),
            in_flight,
            usage: vec![used],
        })
    }
}
