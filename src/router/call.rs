//! The decisions of one call: which deployment next, when, and when no more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use super::decision::{
    Attempt, AttemptId, CallSpec, Decision, Event, Fail, Failure, Outlook, Pause, Reason, Refusal, Time, Verdict, Why,
};
use super::deployment::{Outcome, Ticket};
use super::options::{FallbackKind, StrategyKind};
use super::plan::{DeploymentIndex, GroupIndex, Plan};
use super::state::{Candidates, Notice, Query, State};
use crate::error::ErrorKind;
use crate::types::rate_limit::FailureClass;

/// Longest first pause before a deployment is asked again; each further one may be twice as long.
const BASE: Duration = Duration::from_millis(500);
/// Longest of these pauses.
const CAP: Duration = Duration::from_secs(8);
/// Time after which it is looked whether another call's probe has ended.
const PROBE_POLL: Duration = Duration::from_millis(250);
/// Maximum number of other places for which an attempt leaves a share of the time: with more, each would get too little.
const MAX_OTHERS: usize = 2;
/// Longest time by which the end of a pause is spread, so that those who wait do not come all at once.
const MAX_SPREAD: Duration = Duration::from_millis(250);

/// A group that the call goes to.
#[derive(Debug)]
struct Visit {
    group: GroupIndex,
    /// The kind of failure that led here; `None` for the group that the caller asked for.
    kind: Option<FallbackKind>,
    /// Number of attempts that count towards the maximum.
    attempts: u32,
    /// The kind of failure after which none of the group is asked again.
    closed: Option<FallbackKind>,
}

/// An attempt that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The deployment that was asked.
    pub deployment: DeploymentIndex,
    /// Reason for which it was asked.
    pub reason: Reason,
    /// Failure, if it failed.
    pub failure: Option<Failure>,
    /// Index of the group among those that the call went to.
    visit: usize,
}

/// What follows from a failed attempt.
enum Next {
    /// The error is final.
    Final,
    /// Another deployment may succeed; this one may from a time on.
    Elsewhere(Time),
    /// None of the group will succeed.
    FallBack(FallbackKind),
}

/// One call. Dropped, it gives back what it holds.
#[derive(Debug)]
pub struct RoutedCall {
    /// What the call is. The deadline may be moved while the call runs.
    pub spec: CallSpec,
    shared: Arc<Mutex<State>>,
    plan: Arc<Plan>,
    running: SmallVec<[(AttemptId, Ticket); 2]>,
    made: SmallVec<[Made; 2]>,
    visits: SmallVec<[Visit; 2]>,
    /// Index of the visit under way; their number when all were made, and only repetitions are left.
    at: usize,
    /// Deployments that were asked or cannot take the call, and when they may be asked again.
    left_out: SmallVec<[(DeploymentIndex, Time); 2]>,
    refused: SmallVec<[Verdict; 1]>,
    /// Account that the call is bound to.
    account: Option<usize>,
    /// Start of the pause under way, and its reason.
    pause: Option<(Time, Pause)>,
    /// Number of pauses before a repetition.
    pauses: u32,
    /// Sum of the pauses for which there was no deployment.
    waited: Duration,
    /// Attempt whose answer the caller gets.
    answered: Option<AttemptId>,
    notices: SmallVec<[Notice; 1]>,
}

impl RoutedCall {
    /// Creates a call that has not started.
    pub fn new(shared: &Arc<Mutex<State>>, spec: CallSpec) -> Self {
        let plan = lock(shared).plan().clone();
        Self {
            spec,
            shared: shared.clone(),
            plan,
            running: SmallVec::new(),
            made: SmallVec::new(),
            visits: SmallVec::new(),
            at: 0,
            left_out: SmallVec::new(),
            refused: SmallVec::new(),
            account: None,
            pause: None,
            pauses: 0,
            waited: Duration::ZERO,
            answered: None,
            notices: SmallVec::new(),
        }
    }

    /// The attempts that were made, by their numbers.
    pub fn attempts(&self) -> &[Made] {
        &self.made
    }

    /// The deployments that were passed over because they cannot take the call.
    pub fn skipped(&self) -> &[Verdict] {
        &self.refused
    }

    /// Takes what is worth a line in the log.
    pub fn take_notices(&mut self) -> SmallVec<[Notice; 1]> {
        std::mem::take(&mut self.notices)
    }

    /// Notes that an attempt was admitted by its quota and is being sent: its latency counts from now.
    pub fn admitted(&mut self, now: Time, id: AttemptId) {
        if let Some((_, ticket)) = self.running.iter_mut().find(|(running, _)| *running == id) {
            ticket.started = now;
        }
    }

    /// Takes an event that happened at `now`, and returns the next step.
    pub fn next<O: Outlook + ?Sized>(&mut self, now: Time, event: Event, outlook: &mut O) -> Decision {
        match event {
            Event::Started => match self.bind() {
                Ok(()) => self.advance(now, outlook),
                Err(fail) => Decision::Fail(fail),
            },
            Event::Due if self.running.is_empty() => {
                match self.pause.take() {
                    Some((since, Pause::Unavailable)) => self.waited += now.saturating_sub(since),
                    Some((_, Pause::Backoff)) => self.pauses += 1,
                    None => {}
                }
                self.advance(now, outlook)
            }
            Event::Due => self.race(now, outlook),
            Event::Answered(id) => {
                let Some(mut ticket) = self.take(id) else { return GO_ON };
                self.answered = Some(id);
                self.give_up_all_but(now, id);
                let notice = lock(&self.shared).answer(&mut ticket, now);
                self.notices.extend(notice);
                self.running.push((id, ticket));
                Decision::Deliver(id)
            }
            Event::Succeeded(id) => {
                if let Some(ticket) = self.take(id) {
                    self.answered = Some(id);
                    self.end(now, ticket, &Outcome::Success, 0.0);
                }
                self.give_up_all_but(now, id);
                Decision::Done
            }
            Event::Failed(id, failure) => self.failed(now, id, failure, outlook),
        }
    }

    fn failed<O: Outlook + ?Sized>(
        &mut self,
        now: Time,
        id: AttemptId,
        mut failure: Failure,
        outlook: &mut O,
    ) -> Decision {
        if failure.kind == ErrorKind::NotFound && (self.spec.is_of_account || self.account.is_some()) {
            // What is named does not exist, not the model.
            failure.class = FailureClass::BadRequest;
        }
        let Some(ticket) = self.take(id) else { return GO_ON };
        let deployment = ticket.deployment;
        let random = outlook.random();
        self.end(now, ticket, &Outcome::Failure(failure), random);
        self.made[id].failure = Some(failure);
        let visit = &mut self.visits[self.made[id].visit];
        if failure.class == FailureClass::Rate && self.made[id].reason != Reason::Hedge {
            // The pause of its quota is the limit of these.
            visit.attempts -= 1;
        }
        let next = match self.answered {
            // The caller has a part of the answer: another would begin anew.
            Some(_) => Next::Final,
            None => self.judge(now, &failure, random),
        };
        match next {
            Next::Final => {
                self.give_up_all_but(now, id);
                return self.fail_by(id);
            }
            Next::Elsewhere(again) => self.leave_out(deployment, again),
            Next::FallBack(kind) => {
                self.leave_out(deployment, Time::MAX);
                let visit = self.made[id].visit;
                self.visits[visit].closed = Some(kind);
                self.at = self.at.min(visit);
            }
        }
        if !self.running.is_empty() {
            return GO_ON;
        }
        if self.spec.end.is_some_and(|end| end <= now) {
            return self.fail(None, now);
        }
        self.advance(now, outlook)
    }

    /// Decides what follows from a failure.
    fn judge(&self, now: Time, failure: &Failure, random: f64) -> Next {
        if !self.spec.is_repeatable && !failure.had_no_effect {
            return Next::Final;
        }
        match (failure.class, failure.kind) {
            (FailureClass::BadRequest, ErrorKind::ContextWindowExceeded) => Next::FallBack(FallbackKind::ContextWindow),
            (FailureClass::BadRequest, ErrorKind::ContentPolicyViolation) => {
                Next::FallBack(FallbackKind::ContentPolicy)
            }
            (FailureClass::BadRequest, ErrorKind::UnsupportedParams) => Next::Elsewhere(Time::MAX),
            // All would refuse it.
            (FailureClass::BadRequest, _) => Next::Final,
            (FailureClass::Auth | FailureClass::QuotaFatal | FailureClass::DayQuota, _) => Next::Elsewhere(Time::MAX),
            // The pause of its quota is all that it waits for.
            (FailureClass::Rate, _) => Next::Elsewhere(now),
            (FailureClass::Overload | FailureClass::Transient, _) => match failure.is_repeatable {
                true => {
                    let longest = BASE.saturating_mul(1u32.checked_shl(self.pauses).unwrap_or(u32::MAX)).min(CAP);
                    Next::Elsewhere(now + longest.mul_f64(random))
                }
                false => Next::Elsewhere(Time::MAX),
            },
        }
    }

    /// Goes through the groups in their order; when no deployment is left, repeats.
    fn advance<O: Outlook + ?Sized>(&mut self, now: Time, outlook: &mut O) -> Decision {
        while let Some(visit) = self.visits.get(self.at) {
            if visit.closed.is_none() && visit.attempts <= self.spec.max_retries {
                if let Some(attempt) = self.choose(now, self.at, Mode::Untried, outlook) {
                    return Decision::Attempt(attempt);
                }
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
    fn choose<O: Outlook + ?Sized>(&mut self, now: Time, visit: usize, mode: Mode, outlook: &mut O) -> Option<Attempt> {
        let shared = self.shared.clone();
        let group = self.visits[visit].group;
        loop {
            let mut state = lock(&shared);
            let mut candidates = Candidates::new();
            let query = Query {
                group,
                left_out: &self.left_out,
                is_again: mode == Mode::Again,
                may_probe: self.spec.is_repeatable && mode != Mode::Hedge,
            };
            let is_filtered = self.is_filtered();
            let allows = |deployment| !is_filtered || self.filter(deployment).is_none();
            let mut available = state.candidates(now, &query, outlook, allows, &mut candidates);
            if mode == Mode::Hedge {
                candidates.retain(|deployment| !state.slot(*deployment).needs_probe);
                available = candidates.len();
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
            return Some(self.begin(now, visit, deployment, mode, available - 1, &mut state));
        }
    }

    /// Begins an attempt. `siblings` is the number of others that could be asked in its place.
    fn begin(
        &mut self,
        now: Time,
        visit: usize,
        deployment: DeploymentIndex,
        mode: Mode,
        siblings: usize,
        state: &mut State,
    ) -> Attempt {
        let ticket = state.begin(deployment, now, self.spec.is_stream);
        let Visit { group, kind, attempts, .. } = self.visits[visit];
        let is_new_here = self.made.iter().all(|made| made.visit != visit);
        let reason = match (mode, kind) {
            (Mode::Hedge, _) => Reason::Hedge,
            (_, Some(kind)) if is_new_here => Reason::Fallback(kind),
            _ if self.made.is_empty() => Reason::First,
            _ if self.made.iter().any(|made| made.deployment == deployment) => Reason::Retry,
            _ => Reason::Sibling,
        };
        let attempts_left = self.spec.max_retries.saturating_sub(attempts) as usize;
        if mode != Mode::Hedge {
            self.visits[visit].attempts += 1;
        }
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
        let id = self.made.len();
        self.made.push(Made { deployment, reason, failure: None, visit });
        self.running.push((id, ticket));
        self.leave_out(deployment, Time::MAX);
        Attempt { id, deployment, limit, race_after, reason }
    }

    /// Begins a second attempt beside the one under way, if the budget allows it and a sibling is free.
    fn race<O: Outlook + ?Sized>(&mut self, now: Time, outlook: &mut O) -> Decision {
        let (&[(id, _)], None, Some(hedge)) = (&*self.running, self.answered, self.plan.hedge) else { return GO_ON };
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
            let Some((time, pause)) = self.earliest(now, visit, outlook) else { continue };
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
        let Some((time, why)) = earliest else { return self.last_resort(now, outlook) };
        let pause = time - now;
        let max_wait = self.spec.max_wait.or(self.plan.max_wait).unwrap_or(Duration::MAX);
        let is_too_long = |pause: Duration| {
            let waited = if why == Pause::Unavailable { self.waited } else { Duration::ZERO };
            let is_over = self.spec.end.is_some_and(|end| now + pause >= end);
            is_over || (why == Pause::Unavailable && waited + pause > max_wait)
        };
        if is_too_long(pause) {
            return match why {
                Pause::Unavailable => self.fail(Some(pause), now),
                Pause::Backoff => self.fail(None, now),
            };
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
            let ready = match state.slot(deployment).ready_at {
                Time::MAX => now + PROBE_POLL,
                ready => ready.max(outlook.ready_at(deployment)),
            };
            Some(if again > ready { (again, Pause::Backoff) } else { (ready, Pause::Unavailable) })
        });
        times.min_by_key(|(time, _)| *time)
    }

    /// Asks what seemed unable to take the call if nothing else is left, so that the caller gets its own word for it.
    fn last_resort<O: Outlook + ?Sized>(&mut self, now: Time, outlook: &O) -> Decision {
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
            Some(deployment) if self.made.is_empty() => {
                Decision::Attempt(self.begin(now, 0, deployment, Mode::Untried, 0, &mut state))
            }
            _ => {
                drop(state);
                self.fail(None, now)
            }
        }
    }

    /// Finds the account that the call is bound to, and sets out for the first group.
    fn bind(&mut self) -> Result<(), Box<Fail>> {
        let group = self.spec.group;
        let shared = self.shared.clone();
        let mut state = lock(&shared);
        if let Some(hedge) = &self.plan.hedge {
            state.hedger(group).count_call(hedge);
        }
        self.visits = smallvec![Visit { group, kind: None, attempts: 0, closed: None }];
        if self.spec.bindings.is_empty() {
            return Ok(());
        }
        let deployments = &self.plan.groups[group].deployments;
        let account_of = |deployment: &DeploymentIndex| self.plan.deployments[*deployment].account;
        let invalid = |message: String, verdicts| {
            let kind = ErrorKind::InvalidArgument;
            Err(Box::new(Fail { kind, attempt: None, message: Some(message), retry_after: None, verdicts }))
        };
        let mut unknown = None;
        for id in &self.spec.bindings {
            match (state.owner(id), self.account) {
                (Some(account), Some(other)) if account != other => {
                    let message = format!("the call names state of two accounts, {id:?} that of the second");
                    return invalid(message, SmallVec::new());
                }
                (Some(account), _) => self.account = Some(account),
                (None, _) => unknown = Some(id),
            }
        }
        let first = account_of(&deployments[0]);
        match (self.account, unknown) {
            (None, Some(_)) if deployments.iter().all(|deployment| account_of(deployment) == first) => {
                self.account = Some(first);
                Ok(())
            }
            (None, Some(id)) => {
                let message = format!(
                    "the account that {id:?} belongs to is not known, and the group {:?} has several: call the \
                     deployment that made it",
                    self.plan.groups[group].name
                );
                invalid(message, SmallVec::new())
            }
            (Some(account), _) if deployments.iter().all(|deployment| account_of(deployment) != account) => {
                let verdict = |&deployment| Verdict { deployment, why: Why::Refused(Refusal::OtherAccount) };
                let message = "no deployment of the group can continue what the call names".into();
                invalid(message, deployments.iter().map(verdict).collect())
            }
            _ => Ok(()),
        }
    }

    /// True if deployments are excluded by what the call is.
    fn is_filtered(&self) -> bool {
        self.account.is_some() || self.spec.is_embedding || !self.spec.tags.is_empty()
    }

    /// Returns why a deployment is excluded by what the call is.
    fn filter(&self, deployment: DeploymentIndex) -> Option<Refusal> {
        let planned = &self.plan.deployments[deployment];
        let first = self.plan.groups[self.spec.group].deployments[0];
        if self.account.is_some_and(|account| account != planned.account) {
            Some(Refusal::OtherAccount)
        } else if self.spec.is_embedding && planned.base_model != self.plan.deployments[first].base_model {
            Some(Refusal::OtherModel)
        } else if !self.spec.tags.is_empty() && !self.spec.tags.iter().any(|tag| planned.tags.contains(tag)) {
            Some(Refusal::Tags)
        } else {
            None
        }
    }

    fn leave_out(&mut self, deployment: DeploymentIndex, until: Time) {
        match self.left_out.iter_mut().find(|(left_out, _)| *left_out == deployment) {
            Some(left_out) => left_out.1 = until,
            None => self.left_out.push((deployment, until)),
        }
    }

    fn take(&mut self, id: AttemptId) -> Option<Ticket> {
        let at = self.running.iter().position(|(running, _)| *running == id)?;
        Some(self.running.swap_remove(at).1)
    }

    fn end(&mut self, now: Time, ticket: Ticket, outcome: &Outcome, random: f64) {
        let notice = lock(&self.shared).end(ticket, now, outcome, random);
        self.notices.extend(notice);
    }

    fn give_up_all_but(&mut self, now: Time, id: AttemptId) {
        while let Some(at) = self.running.iter().position(|(running, _)| *running != id) {
            let (_, ticket) = self.running.swap_remove(at);
            self.end(now, ticket, &Outcome::Cancelled(Some(now)), 0.0);
        }
    }

    /// Fails the call by one attempt's error, which says it all.
    fn fail_by(&self, id: AttemptId) -> Decision {
        let failure = self.made[id].failure;
        Decision::Fail(Box::new(Fail {
            kind: failure.map_or(ErrorKind::Internal, |failure| failure.kind),
            attempt: Some(id),
            message: None,
            retry_after: failure.and_then(|failure| failure.retry_after),
            verdicts: SmallVec::new(),
        }))
    }

    /// Fails the call because no deployment is left, or none within `retry_after`.
    fn fail(&self, retry_after: Option<Duration>, now: Time) -> Decision {
        // The error of the group that was asked for tells most, and least the one of a wrong key.
        let failed = self.made.iter().enumerate().filter_map(|(id, made)| Some((id, made, made.failure?)));
        let decisive = failed.max_by_key(|(id, made, failure)| {
            let is_telling = !matches!(failure.class, FailureClass::Auth | FailureClass::QuotaFatal)
                && failure.kind != ErrorKind::UnsupportedParams;
            (made.visit == 0, is_telling, *id)
        });
        let verdicts = self.verdicts(now);
        let kind = match decisive {
            Some((_, _, failure)) => failure.kind,
            None => kind_of(&verdicts),
        };
        let message = match retry_after {
            Some(pause) => Some(format!("no deployment is available for {:.1} s", pause.as_secs_f64())),
            None if decisive.is_none() => Some("no deployment can take the call".into()),
            None => None,
        };
        let asked = decisive.and_then(|(_, _, failure)| failure.retry_after);
        Decision::Fail(Box::new(Fail {
            kind,
            attempt: decisive.map(|(id, _, _)| id),
            message,
            retry_after: retry_after.or(asked),
            verdicts,
        }))
    }

    /// Returns why each deployment that the call could have gone to is not asked, or not again.
    fn verdicts(&self, now: Time) -> SmallVec<[Verdict; 2]> {
        let state = lock(&self.shared);
        let groups = self.visits.iter().map(|visit| &self.plan.groups[visit.group]);
        let verdict = |&deployment: &DeploymentIndex| {
            let refused = self.refused.iter().find(|verdict| verdict.deployment == deployment);
            let failed = self.made.iter().rev().find(|made| made.deployment == deployment && made.failure.is_some());
            let why = match (refused, self.filter(deployment), state.why(deployment, now), failed) {
                (Some(verdict), ..) => verdict.why.clone(),
                (_, Some(refusal), ..) => Why::Refused(refusal),
                (_, _, Some(why), _) => why,
                (_, _, _, Some(made)) => Why::Failed(made.failure?.kind),
                _ => return None,
            };
            Some(Verdict { deployment, why })
        };
        groups.flat_map(|group| group.deployments.iter().filter_map(verdict)).collect()
    }
}

/// Goes on with what is under way.
const GO_ON: Decision = Decision::Continue { due_after: None };

/// What a choice is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Deployments that were not asked yet.
    Untried,
    /// Those, and the ones whose pause is over.
    Again,
    /// A second attempt beside another.
    Hedge,
}

/// Returns the kind of error for a call that no deployment was asked for.
fn kind_of(verdicts: &[Verdict]) -> ErrorKind {
    let rank = |verdict: &Verdict| match verdict.why {
        Why::Cooling(_) | Why::Limited(_) => (4, ErrorKind::RateLimit),
        Why::Open(_) | Why::Probing | Why::Failed(_) => (3, ErrorKind::ServiceUnavailable),
        Why::Out(FailureClass::QuotaFatal, _) => (2, ErrorKind::RateLimit),
        Why::Out(..) => (1, ErrorKind::Authentication),
        Why::Refused(_) => (0, ErrorKind::InvalidArgument),
    };
    verdicts.iter().map(rank).max_by_key(|(rank, _)| *rank).map_or(ErrorKind::RateLimit, |(_, kind)| kind)
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for RoutedCall {
    fn drop(&mut self) {
        for (_, ticket) in std::mem::take(&mut self.running) {
            let started = ticket.started;
            lock(&self.shared).end(ticket, started, &Outcome::Cancelled(None), 0.0);
        }
    }
}

#[cfg(test)]
mod tests;
