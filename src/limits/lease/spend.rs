//! What a member spends of its slices.

use super::super::Time;
use super::super::breaker::{BreakerReport, CLAIM_TIME, PROBE_TIME, ProbeClaim, SharedBreaker};
use super::super::budget::{Budget, BudgetState, Refusal, Taken, Wait, WindowState};
use super::super::ledger::amount;
use super::event::Event;
use super::exchange::Amount;
use super::{LeaseState, Link, RETRY, WhenDown};
use crate::types::rate_limit::{FailureClass, Signals, Tokens, Unit};

/// Time between exchanges of a member that waits for the outcome of another one's probe.
const PROBING_BEAT: Time = Time::from_millis(25);

impl LeaseState {
    /// Returns what a request of these tokens takes of the slices: no more than a whole window.
    fn amount(&self, tokens: Tokens) -> Amount {
        let (mut input, mut output, mut counts) = (tokens.input, tokens.output, [false; 2]);
        for limit in &self.spec.limits {
            if let Some(most) = limit.input_tokens {
                (input, counts[0]) = (input.min(most), true);
            }
            if let Some(most) = limit.output_tokens {
                (output, counts[1]) = (output.min(most), true);
            }
            if let Some(most) = limit.tokens {
                input = input.min(most);
                output = output.min(most - input);
                counts = [true; 2];
            }
        }
        [1, if counts[0] { input } else { 0 }, if counts[1] { output } else { 0 }]
    }

    /// Returns the refusal of a request that is larger than a window's whole limit, if its provider refuses it too.
    fn too_large(&self, tokens: Tokens) -> Option<Refusal> {
        self.spec.limits.iter().find_map(|&(mut limit)| {
            let period = limit.per;
            limit.amounts().into_iter().find_map(|(unit, most)| {
                let (tokens, limit) = (amount(unit, tokens), (*most)?);
                (tokens > limit).then_some(Refusal::TooLarge { unit, limit, period, tokens })
            })
        })
    }

    /// True if the slices at hand are enough.
    fn has(&self, now: Time, amount: Amount) -> bool {
        let is_valid = now < self.expires && self.joined;
        let enough =
            !self.has_windows() || is_valid && self.credit.iter().zip(amount).all(|(credit, need)| *credit >= need);
        let has_seat = !self.limits_seats() || is_valid && self.in_flight < self.seats;
        enough && has_seat
    }

    /// Counts what was used, beside what the ledger heard already.
    fn count(&mut self, now: Time, amount: [i64; 3]) {
        if !self.spec.limits.is_empty() {
            let step = self.step();
            self.history.push(now, amount, step);
            self.unreported.push(now, amount, step);
        }
    }

    fn refund(&mut self, at: Time, amount: [i64; 3]) {
        if self.spec.limits.is_empty() {
            return;
        }
        self.history.correct(at, amount);
        let less = amount.map(|amount| -amount);
        let step = self.step();
        // Taken off from the earlier time on, which is never too little for a later window.
        match self.refunds.iter_mut().rev().take(8).find(|(time, _)| time.abs_diff(at) < step) {
            Some((time, sum)) => {
                *time = at.min(*time);
                sum.iter_mut().zip(less).for_each(|(sum, less)| *sum += less);
            }
            None => self.refunds.push((at, less)),
        }
    }

    fn release(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.released += 1;
        if self.seats > self.steady_seats {
            self.seats = self.steady_seats.max(self.in_flight);
        }
    }

    /// Applies an event, and keeps it for the other members if it changed what they share.
    fn happens(&mut self, event: Event) {
        // Most answers teach nothing, and need no comparison.
        let may_teach = match &event {
            Event::Take(taken, _) | Event::Cancel(_, taken) | Event::GiveBack(_, taken) => taken.probe,
            Event::Observe(_, taken, signals) | Event::Settle(_, taken, _, signals) => {
                taken.probe || signals.failure.is_some() || !signals.windows.is_empty()
            }
            Event::Enable(_) | Event::InFlight(_) | Event::Breaker(..) | Event::Claim(..) => true,
        };
        let before = (may_teach && !self.spec.adaptive).then(|| self.ledger.learnt());
        event.apply(&mut self.ledger);
        let changed = before.is_some_and(|before| !before.is_same(&self.ledger.learnt()));
        if changed || self.spec.adaptive {
            self.tell(event);
        }
    }
}

impl LeaseState {
    /// Returns what a request takes of the slices, if they are enough. Otherwise it notes that more is wanted.
    fn fitting(&mut self, now: Time, tokens: Tokens) -> Result<Amount, Wait> {
        self.advance(now);
        let amount = self.amount(tokens);
        match (self.link, self.when_down) {
            (Link::Down(_), WhenDown::Share(_)) => {
                let later = self.retry_at.max(now + RETRY / 4);
                if let Some(until) = self.alone.holds_up(now, amount, later) {
                    return Err(Wait::Until(until));
                }
            }
            (Link::Down(_), WhenDown::Wait) => return Err(Wait::Until(self.retry_at.max(now + RETRY / 4))),
            (Link::Down(since), WhenDown::Error) => return Err(Wait::Never(Refusal::StoreDown { since })),
            (link @ (Link::Joining(_) | Link::Up), _) => {
                let shifted = self.shifted(now);
                if let Some((until, is_probing)) = self.ledger.held_up(shifted) {
                    // Budget is of no use now. What ends this earlier is heard of.
                    self.listens = Some(if is_probing { PROBING_BEAT } else { self.beat() });
                    return Err(Wait::Until(self.unshifted(until).max(now + Time::from_nanos(1))));
                }
                let lacks_probe = now >= self.probe_until && self.ledger.needs_probe(shifted);
                self.wants_probe |= lacks_probe;
                // The grant may come later than the rate allows, which would look like a demand below it.
                self.has_waited |= self.ledger.paced().is_some_and(|paced| paced > shifted);
                if lacks_probe || !self.has(now, amount) {
                    if self.starved.is_none() {
                        self.starved = Some(amount);
                    }
                    if link == Link::Joining(None) {
                        self.link = Link::Joining(Some(now));
                    }
                    return Err(Wait::Until(self.next_exchange().unwrap_or(now).max(now + Time::from_millis(1))));
                }
            }
        }
        Ok(amount)
    }
}

impl Budget for LeaseState {
    fn try_take(&mut self, now: Time, tokens: Tokens) -> Result<Taken, Wait> {
        let amount = self.fitting(now, tokens)?;
        let shifted = self.shifted(now);
        let probes = self.ledger.needs_probe(shifted);
        let taken = self.ledger.member(0).try_take(shifted, tokens).map_err(|wait| self.unshifted_wait(wait))?;
        if probes {
            // The permission to probe is used up.
            (self.probe_until, self.is_urgent) = (Time::ZERO, true);
        }
        let taken = Taken { alone: self.too_large(tokens), ..taken };
        if self.spec.adaptive || taken.probe {
            self.tell(Event::Take(taken, self.has_waited));
        }
        for (credit, amount) in self.credit.iter_mut().zip(amount) {
            *credit = credit.saturating_sub(amount);
        }
        for (average, amount) in self.tokens.iter_mut().zip(&amount[1..]) {
            let weight = if *average == 0.0 { 1.0 } else { 0.1 };
            *average += weight * (*amount as f64 - *average);
        }
        self.taken += 1;
        self.has_waited = false;
        self.in_flight += 1;
        self.count(now, amount.map(|amount| amount as i64));
        Ok(taken)
    }

    fn check(&mut self, now: Time, tokens: Tokens) -> Result<(), Wait> {
        self.fitting(now, tokens)?;
        let shifted = self.shifted(now);
        self.ledger.member(0).check(shifted, tokens).map_err(|wait| self.unshifted_wait(wait))
    }

    fn observe(&mut self, now: Time, taken: &Taken, signals: &Signals) {
        let now = self.shifted(now);
        self.happens(Event::Observe(now, *taken, signals.clone()));
    }

    fn settle(&mut self, now: Time, taken: Taken, used: Option<Tokens>, outcome: &Signals) {
        self.release();
        use FailureClass::{Auth, DayQuota, QuotaFatal, Rate};
        let refused = matches!(outcome.failure, Some(Rate | DayQuota | QuotaFatal | Auth));
        if let Some(used) = used.or(refused.then(Tokens::default)) {
            let (reserved, used) = (self.amount(taken.tokens), self.amount(used));
            let less = std::array::from_fn(|k| reserved[k].saturating_sub(used[k]) as i64);
            let more = std::array::from_fn(|k| used[k].saturating_sub(reserved[k]) as i64);
            if less != [0; 3] {
                self.refund(self.unshifted(taken.at).min(now), less);
            }
            if more != [0; 3] {
                self.count(now, more);
            }
        }
        let now = self.shifted(now);
        self.happens(Event::Settle(now, taken, used, outcome.clone()));
    }

    fn cancel(&mut self, now: Time, taken: Taken) {
        self.release();
        let now = self.shifted(now);
        self.happens(Event::Cancel(now, taken));
    }

    fn give_back(&mut self, now: Time, taken: Taken) {
        self.release();
        self.refund(self.unshifted(taken.at).min(now), self.amount(taken.tokens).map(|amount| amount as i64));
        let now = self.shifted(now);
        self.happens(Event::GiveBack(now, taken));
    }

    fn enable(&mut self, now: Time) {
        let now = self.shifted(now);
        self.happens(Event::Enable(now));
    }

    fn state(&self, now: Time) -> BudgetState {
        let mut state = self.ledger.state(self.shifted(now));
        state.paused = state.paused.map(|(until, why)| (self.unshifted(until), why));
        state.stopped = state.stopped.map(|stopped| match self.unshifted_wait(Wait::Never(stopped)) {
            Wait::Never(stopped) => stopped,
            Wait::Until(_) | Wait::Release => stopped,
        });
        if self.link == Link::Up {
            let used = self.usage.iter().filter(|(rule, _)| rule.period != Time::ZERO);
            state.windows = used
                .map(|(rule, used)| {
                    let period = self.spec.limits.iter().map(|limit| limit.per).filter(|per| *per <= rule.period).max();
                    let period = period.unwrap_or(rule.period);
                    WindowState { unit: rule.unit, period, limit: rule.limit, used: *used, used_by_others: 0 }
                })
                .collect();
            return state;
        }
        // The windows here are wider than what was declared, until the ledger says what others have used.
        for window in &mut state.windows {
            let same = self.spec.limits.iter().filter(|limit| limit.per == window.period);
            let declared = same.filter_map(|limit| match window.unit {
                Unit::Requests => limit.requests,
                Unit::Tokens => limit.tokens,
                Unit::InputTokens => limit.input_tokens,
                Unit::OutputTokens => limit.output_tokens,
                Unit::InFlight => None,
            });
            window.limit = declared.fold(window.limit, u64::min);
        }
        state
    }

    fn breaker(&mut self, now: Time) -> SharedBreaker {
        self.looked = Some(now);
        self.advance(now);
        let now = self.shifted(now);
        self.ledger.member(0).breaker(now)
    }

    fn report_breaker(&mut self, now: Time, member: u64, report: BreakerReport) {
        let now = self.shifted(now);
        self.happens(Event::Breaker(now, member, report));
    }

    /// A claim is granted when the ledger has it, which it takes from one member only; at once if it is that member's turn
    /// anyway, and while the ledger is down.
    fn claim_probe(&mut self, now: Time, member: u64) -> ProbeClaim {
        let SharedBreaker { found, .. } = self.breaker(now);
        let is_on_its_way = self.events.iter().any(|event| matches!(event, Event::Claim(..)));
        let is_offered = self.joined && self.shared.offers_probe(member);
        let shifted = self.shifted(now);
        let is_alone = matches!(self.link, Link::Down(_));
        let length = if is_offered || is_alone { PROBE_TIME } else { CLAIM_TIME };
        let claim = self.ledger.claim_for(shifted, member, length);
        if claim != ProbeClaim::Granted || found == BreakerReport::Closed {
            return claim;
        }
        if !is_on_its_way {
            self.tell(Event::Claim(shifted, member, length));
        }
        if is_offered || is_alone { ProbeClaim::Granted } else { ProbeClaim::Pending }
    }
}
