//! The search for the deployment of the next attempt.

use std::time::Duration;

use super::super::decision::{
    Attempt, AttemptId, AttemptLimits, Decision, Outlook, Pause, Reason, Refusal, Time, Verdict, Why,
};
use super::super::options::{FallbackKind, StrategyKind};
use super::super::plan::DeploymentIndex;
use super::super::state::{Candidates, Query, State};
use super::{GO_ON, Made, RoutedCall, Visit, lock};

/// Time after which it is looked whether another call's probe has ended.
const PROBE_POLL: Duration = Duration::from_millis(250);
/// Maximum number of other places for which an attempt leaves a share of the time: with more, each would get too little.
const MAX_OTHERS: usize = 2;
/// Longest time by which the end of a pause is spread, so that those who wait do not come all at once.
const MAX_SPREAD: Duration = Duration::from_millis(250);

/// Shortest time for which a probe waits for another process's.
const SHORTEST_HOLD: Duration = Duration::from_millis(1);

/// What a choice is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Deployments that were not asked yet.
    Untried,
    /// Those, and the ones whose pause is over.
    Again,
    /// A second attempt beside another.
    Hedge,
    /// Those of `Again`, in place of an attempt that waits to be admitted.
    Instead(AttemptId),
}

impl Mode {
    fn is_again(self) -> bool {
        matches!(self, Self::Again | Self::Instead(_))
    }
}

impl RoutedCall {
    /// Goes through the groups in their order; when no deployment is left, repeats.
    pub(super) fn advance<O: Outlook + ?Sized>(&mut self, now: Time, outlook: &mut O) -> Decision {
        while let Some(visit) = self.visits.get(self.at) {
            if visit.closed.is_none()
                && visit.attempts <= self.spec.max_retries
                && let Some(attempt) = self.choose(now, self.at, Mode::Untried, outlook)
            {
                return Decision::Attempt(attempt);
            }
            self.add_fallbacks();
            self.at += 1;
        }
        self.repeat(now, outlook)
    }

    /// Adds the groups that the current one falls back to, after it.
    fn add_fallbacks(&mut self) {
        if self.account.is_some() {
            return;
        }
        let kind = self.exit_kind(&self.visits[self.at]);
        let all = &self.plan.groups[self.visits[self.at].group].fallbacks;
        // Where no fallbacks of a kind are declared at all, the general ones stand in for them, as users of LiteLLM's
        // router expect.
        let (kind, fallback) = match &all[kind as usize] {
            fallback if fallback.is_declared => (kind, fallback),
            _ => (FallbackKind::General, &all[FallbackKind::General as usize]),
        };
        // Attempts keep the index of their visit.
        let is_last = self.made.iter().all(|made| made.visit <= self.at);
        let mut position = if is_last { self.at + 1 } else { self.visits.len() };
        for &group in &fallback.groups {
            if self.visits.iter().all(|visit| visit.group != group) {
                self.visits.insert(position, Visit { group, kind: Some(kind), attempts: 0, closed: None });
                position += 1;
            }
        }
    }

    /// Returns the kind of failure by which a group is left.
    fn exit_kind(&self, visit: &Visit) -> FallbackKind {
        let deployments = &self.plan.groups[visit.group].deployments;
        let is_too_small = |deployment: &DeploymentIndex| {
            let refused = self.refused.iter().find(|verdict| verdict.deployment == *deployment);
            matches!(refused, Some(Verdict { why: Why::Refused(Refusal::ContextWindow { .. }), .. }))
        };
        match visit.closed {
            Some(kind) => kind,
            None if !self.refused.is_empty() && deployments.iter().all(is_too_small) => FallbackKind::ContextWindow,
            None => FallbackKind::General,
        }
    }

    /// Chooses a deployment of a visit's group, and begins the attempt.
    pub(super) fn choose<O: Outlook + ?Sized>(
        &mut self,
        now: Time,
        visit: usize,
        mode: Mode,
        outlook: &mut O,
    ) -> Option<Attempt> {
        let shared = self.shared.clone();
        let group = self.visits[visit].group;
        loop {
            let mut state = lock(&shared);
            let mut candidates = Candidates::new();
            let query = Query {
                group,
                left_out: &self.left_out,
                end: self.spec.end,
                is_again: mode.is_again(),
                may_probe: self.spec.is_repeatable && mode != Mode::Hedge,
            };
            let is_filtered = self.is_filtered();
            let allows = |deployment| !is_filtered || self.filter(deployment).is_none();
            let mut expected = state.candidates(now, &query, outlook, allows, &mut candidates);
            if mode == Mode::Hedge {
                candidates.retain(|deployment| !state.slot(*deployment).needs_probe);
                expected = candidates.len();
            }
            if candidates.is_empty() {
                return None;
            }
            let position = if self.plan.strategy == StrategyKind::Custom {
                drop(state);
                let position = outlook.choose(&candidates).unwrap_or(0).min(candidates.len() - 1);
                state = lock(&shared);
                if state.slot(candidates[position]).ready_at > now {
                    // Another call took the probe meanwhile.
                    continue;
                }
                position
            } else {
                let key = self.spec.affinity.map(|key| (group, key));
                let is_retry = !self.made.is_empty();
                state.pick(now, &candidates, outlook, key, self.spec.is_stream, is_retry)
            };
            let deployment = candidates[position];
            if let Some(refusal) = outlook.refusal(deployment) {
                drop(state);
                self.refused.push(Verdict { deployment, why: Why::Refused(refusal) });
                self.leave_out(deployment, Time::MAX);
                continue;
            }
            if !may_begin(now, deployment, outlook, &mut state) {
                continue;
            }
            if let Mode::Instead(id) = mode {
                self.withdraw(now, id, &mut state);
            }
            return Some(self.begin(now, visit, deployment, mode, expected - 1, &mut state));
        }
    }

    /// Begins an attempt. `siblings` is the number of others that could be asked in its place.
    pub(super) fn begin(
        &mut self,
        now: Time,
        visit: usize,
        deployment: DeploymentIndex,
        mode: Mode,
        siblings: usize,
        state: &mut State,
    ) -> Attempt {
        let ticket = state.begin(deployment, now, self.spec.is_stream);
        let Visit { kind, .. } = self.visits[visit];
        let is_new_here = self.made.iter().all(|made| made.visit != visit);
        let reason = match (mode, kind) {
            (Mode::Hedge, _) => Reason::Hedge,
            (_, Some(kind)) if is_new_here => Reason::Fallback(kind),
            _ if self.made.is_empty() => Reason::First,
            _ if self.made.iter().any(|made| made.deployment == deployment) => Reason::Retry,
            _ => Reason::Sibling,
        };
        let limits = self.limits(now, visit, mode, siblings, state);
        if mode != Mode::Hedge {
            self.visits[visit].attempts += 1;
        }
        let max_wait = self.spec.max_wait.or(self.plan.max_wait).map(|max| max.saturating_sub(self.waited));
        let id = self.made.len();
        self.made.push(Made { deployment, reason, failure: None, visit });
        self.running.push((id, ticket));
        self.leave_out(deployment, Time::MAX);
        Attempt { id, deployment, limits, max_wait, reason }
    }

    /// Returns the limits of an attempt that is sent now and is not counted yet.
    pub(super) fn limits(
        &self,
        now: Time,
        visit: usize,
        mode: Mode,
        siblings: usize,
        state: &mut State,
    ) -> AttemptLimits {
        let Visit { group, attempts, .. } = self.visits[visit];
        let attempts_left = self.spec.max_retries.saturating_sub(attempts) as usize;
        let may_fall_back = self.account.is_none()
            && (self.visits.len() > visit + 1
                || self.plan.groups[group].fallbacks[FallbackKind::General as usize]
                    .groups
                    .iter()
                    .any(|group| self.visits.iter().all(|visit| visit.group != *group)));
        let others = (siblings.min(attempts_left) + usize::from(may_fall_back)).min(MAX_OTHERS);
        let remaining = self.spec.end.map(|end| end.saturating_sub(now));
        let limit = match self.plan.attempt_timeout {
            _ if others == 0 || !self.spec.is_repeatable => None,
            Some(limit) => Some(limit.min(remaining.unwrap_or(limit))),
            None => remaining.map(|remaining| remaining / (others as u32 + 1)),
        };
        let may_race = mode != Mode::Hedge && siblings > 0 && self.spec.is_repeatable && self.account.is_none();
        let race_after = match &self.plan.hedge {
            Some(hedge) if may_race => state.hedger(group).delay(hedge, self.spec.is_stream),
            _ => None,
        };
        AttemptLimits { limit, race_after }
    }

    /// Begins a second attempt beside the one under way, if the budget allows it and a sibling is free.
    pub(super) fn race<O: Outlook + ?Sized>(&mut self, now: Time, outlook: &mut O) -> Decision {
        let (&[(id, _)], None, Some(hedge)) = (&*self.running, self.answered, self.plan.hedge) else {
            return GO_ON;
        };
        if self.made.len() > id + 1 {
            // It had its second attempt.
            return GO_ON;
        }
        let visit = self.made[id].visit;
        let group = self.visits[visit].group;
        if !lock(&self.shared).hedger(group).has_budget() {
            // What takes longest has the best use for it.
            let delay = lock(&self.shared).hedger(group).delay(&hedge, self.spec.is_stream);
            return Decision::Continue { due_after: delay.map(|delay| delay / 2) };
        }
        match self.choose(now, visit, Mode::Hedge, outlook) {
            Some(attempt) => {
                lock(&self.shared).hedger(group).take();
                Decision::Race(attempt)
            }
            None => GO_ON,
        }
    }

    /// Asks a deployment once more, waits until one is available, or fails.
    fn repeat<O: Outlook + ?Sized>(&mut self, now: Time, outlook: &mut O) -> Decision {
        let mut earliest: Option<(Time, Pause)> = None;
        for visit in 0..self.visits.len() {
            let Some((time, pause)) = self.earliest(now, visit, outlook) else {
                continue;
            };
            if time <= now
                && let Some(attempt) = self.choose(now, visit, Mode::Again, outlook)
            {
                return Decision::Attempt(attempt);
            }
            // A probe was taken by another call, or a function refused: looked at again soon.
            let time = if time <= now { now + PROBE_POLL } else { time };
            if earliest.is_none_or(|(known, _)| time < known) {
                earliest = Some((time, pause));
            }
        }
        let Some((time, why)) = earliest else {
            return self.last_resort(now, outlook);
        };
        let pause = time - now;
        let max_wait = self.spec.max_wait.or(self.plan.max_wait).unwrap_or(Duration::MAX);
        let is_too_long = |pause: Duration| {
            let waited = if why == Pause::Unavailable { self.waited } else { Duration::ZERO };
            let is_over = self.spec.end.is_some_and(|end| now + pause >= end);
            is_over || (why == Pause::Unavailable && waited + pause > max_wait)
        };
        if is_too_long(pause) {
            return match why {
                Pause::Unavailable => self.fail(Some(pause), now, outlook),
                Pause::Backoff => self.fail(None, now, outlook),
            };
        }
        if why == Pause::Unavailable
            && let Some((visit, deployment)) = self.shortest_line(now, outlook)
        {
            let shared = self.shared.clone();
            let mut state = lock(&shared);
            if may_begin(now, deployment, outlook, &mut state) {
                return Decision::Attempt(self.begin(now, visit, deployment, Mode::Again, 0, &mut state));
            }
        }
        let spread = match why {
            Pause::Unavailable => (pause / 10).min(MAX_SPREAD).mul_f64(outlook.random()),
            Pause::Backoff => Duration::ZERO,
        };
        let until = if is_too_long(pause + spread) { time } else { time + spread };
        self.pause = Some((now, why));
        Decision::Wait { until, why }
    }

    /// Returns when a deployment of a visit's group may be asked (again), and what it waits for until then.
    fn earliest<O: Outlook + ?Sized>(&self, now: Time, visit: usize, outlook: &O) -> Option<(Time, Pause)> {
        let Visit { group, attempts, closed, .. } = self.visits[visit];
        if closed.is_some() || attempts > self.spec.max_retries {
            return None;
        }
        let state = lock(&self.shared);
        let deployments = self.plan.groups[group].deployments.iter();
        let times = deployments.filter(|deployment| self.filter(**deployment).is_none()).filter_map(|&deployment| {
            let left_out = self.left_out.iter().find(|(left_out, _)| *left_out == deployment);
            let again = left_out.map_or(Time::ZERO, |(_, until)| *until);
            if again == Time::MAX {
                return None;
            }
            let ready = match (state.slot(deployment).ready_at, state.why(deployment, now)) {
                // As long as others are in flight; the pause is known, if there is one.
                (Time::MAX, Some(Why::Cooling(until))) => until,
                (Time::MAX, _) => now + PROBE_POLL,
                (ready, _) => ready,
            };
            let ready = ready.max(outlook.ready_at(deployment));
            Some(if again > ready { (again, Pause::Backoff) } else { (ready, Pause::Unavailable) })
        });
        times.min_by_key(|(time, _)| *time)
    }

    /// Asks what seemed unable to take the call if nothing else is left, so that the caller gets its own word for it.
    fn last_resort<O: Outlook + ?Sized>(&mut self, now: Time, outlook: &mut O) -> Decision {
        let group = self.visits[0].group;
        let shared = self.shared.clone();
        let mut state = lock(&shared);
        let can_ask = |verdict: &&Verdict| {
            let deployment = verdict.deployment;
            self.plan.deployments[deployment].group == group
                && state.slot(deployment).ready_at <= now
                && outlook.ready_at(deployment) <= now
        };
        let refused = self.refused.iter().find(can_ask).map(|verdict| verdict.deployment);
        match refused {
            Some(deployment) if self.made.is_empty() && may_begin(now, deployment, outlook, &mut state) => {
                Decision::Attempt(self.begin(now, 0, deployment, Mode::Untried, 0, &mut state))
            }
            _ => {
                drop(state);
                self.fail(None, now, outlook)
            }
        }
    }
}

/// Returns false if an attempt would be a probe, and another process has the turn to probe.
fn may_begin<O: Outlook + ?Sized>(now: Time, deployment: DeploymentIndex, outlook: &mut O, state: &mut State) -> bool {
    if !state.slot(deployment).needs_probe {
        return true;
    }
    let held_until = outlook.claim_probe(deployment);
    if let Some(until) = held_until {
        state.hold(deployment, until.max(now + SHORTEST_HOLD));
    }
    held_until.is_none()
}
