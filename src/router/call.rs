//! The decisions of one call: which deployment next, when, and when no more.
//!
//! The driver reports [`Event::Started`], carries the decision out, and reports what happens first: an attempt's answer, its
//! failure, or the time that was decided on. A decision replaces the timer of the one before. What a decision does not name
//! any more (the loser of a race, everything after `Done` and `Fail`) is accounted for; the driver only has to drop it.

mod admission;
mod binding;
mod failure;
mod search;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;

use super::decision::{AttemptId, CallSpec, Decision, Event, Failure, Outlook, Pause, Reason, Time, Verdict};
use super::deployment::{Outcome, Ticket};
use super::options::FallbackKind;
use super::plan::{DeploymentIndex, GroupIndex, Plan};
use super::state::{Notice, State};
use crate::error::ErrorKind;
use crate::types::rate_limit::FailureClass;

/// Longest first pause before a deployment is asked again; each further one may be twice as long.
const BASE: Duration = Duration::from_millis(500);
/// Longest of these pauses.
const CAP: Duration = Duration::from_secs(8);

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
    /// Sum of the pauses for which there was no deployment, and of the times in line for one.
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

    /// Returns the deployments of the groups that the call goes to.
    pub fn deployments(&self) -> impl Iterator<Item = DeploymentIndex> {
        self.visits.iter().flat_map(|visit| self.plan.groups[visit.group].deployments.iter().copied())
    }

    /// Takes what is worth a line in the log.
    pub fn take_notices(&mut self) -> SmallVec<[Notice; 1]> {
        std::mem::take(&mut self.notices)
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
                let Some(mut ticket) = self.take(id) else {
                    return GO_ON;
                };
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
            Event::Unadmitted(id) => self.unadmitted(now, id, outlook),
            Event::Admitted(id) => self.admitted(now, id, outlook),
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
        let Some(ticket) = self.take(id) else {
            return GO_ON;
        };
        let deployment = ticket.deployment;
        let random = outlook.random();
        let was_not_made =
            failure.had_no_effect && matches!(failure.kind, ErrorKind::Timeout | ErrorKind::UnsupportedParams);
        let outcome = match was_not_made {
            // It was not admitted in time, or lacks a parameter: that says nothing of the deployment.
            true => Outcome::Cancelled(None),
            false => Outcome::Failure(failure),
        };
        self.end(now, ticket, &outcome, random);
        self.made[id].failure = Some(failure);
        let visit = &mut self.visits[self.made[id].visit];
        if (failure.class == FailureClass::Rate || was_not_made) && self.made[id].reason != Reason::Hedge {
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
            return self.fail(None, now, outlook);
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
            // More tokens than a minute's limit here: another's may be larger.
            (FailureClass::BadRequest, ErrorKind::UnsupportedParams | ErrorKind::RateLimit) => {
                Next::Elsewhere(Time::MAX)
            }
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
}

/// Goes on with what is under way.
const GO_ON: Decision = Decision::Continue { due_after: None };

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
