//! Decisions on an attempt that waits for its quota: it may leave the line for a deployment that is free.

use std::time::Duration;

use super::super::decision::{AttemptId, AttemptLimits, Decision, Outlook, Time};
use super::super::plan::DeploymentIndex;
use super::super::state::{Candidates, Query, State};
use super::search::Mode;
use super::{GO_ON, RoutedCall, Visit, lock};

/// Time after which an attempt that waits looks for a free deployment, though none was reported: pauses and breakers end
/// by time.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl RoutedCall {
    /// Goes to a deployment that would admit the call now, if there is one.
    pub(super) fn unadmitted<O: Outlook + ?Sized>(&mut self, now: Time, id: AttemptId, outlook: &mut O) -> Decision {
        // A second attempt stays where it is: the first one was sent.
        if self.running.len() != 1 || self.running[0].0 != id || self.made.len() != id + 1 {
            return GO_ON;
        }
        for visit in 0..self.visits.len() {
            // The attempt that waits does not count.
            let own = u32::from(self.made[id].visit == visit);
            let Visit { attempts, closed, .. } = self.visits[visit];
            if closed.is_none()
                && attempts - own <= self.spec.max_retries
                && let Some(attempt) = self.choose(now, visit, Mode::Instead(id), outlook)
            {
                return Decision::Attempt(attempt);
            }
        }
        Decision::Continue { due_after: Some(LOOK_AGAIN) }
    }

    /// Notes that an attempt is being sent: its latency and its share of the time count from now.
    pub(super) fn admitted<O: Outlook + ?Sized>(&mut self, now: Time, id: AttemptId, outlook: &mut O) -> Decision {
        let Some((_, ticket)) = self.running.iter_mut().find(|(running, _)| *running == id) else {
            return GO_ON;
        };
        self.waited += now.saturating_sub(ticket.started);
        ticket.started = now;
        if self.made.len() != id + 1 || self.running.len() != 1 {
            return Decision::Send(AttemptLimits::default());
        }
        let visit = self.made[id].visit;
        let shared = self.shared.clone();
        let mut state = lock(&shared);
        let query = Query {
            group: self.visits[visit].group,
            left_out: &self.left_out,
            end: self.spec.end,
            is_again: false,
            may_probe: false,
        };
        let allows = |deployment| self.filter(deployment).is_none();
        let siblings = state.candidates(now, &query, outlook, allows, &mut Candidates::new());
        self.visits[visit].attempts -= 1;
        let limits = self.limits(now, visit, Mode::Again, siblings, &mut state);
        self.visits[visit].attempts += 1;
        Decision::Send(limits)
    }

    /// Takes back an attempt that was not admitted, as if it had never been made. It is the last one.
    pub(super) fn withdraw(&mut self, now: Time, id: AttemptId, state: &mut State) {
        let (Some(ticket), Some(made)) = (self.take(id), self.made.pop()) else { return };
        self.waited += now.saturating_sub(ticket.started);
        state.withdraw(ticket);
        self.visits[made.visit].attempts -= 1;
        let was_asked = self.made.iter().any(|earlier| earlier.deployment == made.deployment);
        match was_asked {
            true => self.leave_out(made.deployment, now),
            false => self.left_out.retain(|(left_out, _)| *left_out != made.deployment),
        }
    }

    /// Returns the visit and the deployment whose quota would admit the call first, of those that are well; of the first group
    /// that has one.
    pub(super) fn shortest_line<O: Outlook + ?Sized>(
        &self,
        now: Time,
        outlook: &O,
    ) -> Option<(usize, DeploymentIndex)> {
        let state = lock(&self.shared);
        let max_wait = self.spec.max_wait.or(self.plan.max_wait).unwrap_or(Duration::MAX).saturating_sub(self.waited);
        self.visits.iter().enumerate().find_map(|(index, visit)| {
            if visit.closed.is_some() || visit.attempts > self.spec.max_retries {
                return None;
            }
            let deployments = self.plan.groups[visit.group].deployments.iter().copied();
            let may_be_asked = |deployment: &DeploymentIndex| {
                state.slot(*deployment).ready_at <= now
                    && self.filter(*deployment).is_none()
                    && !self.left_out.iter().any(|&(left_out, until)| left_out == *deployment && until > now)
                    && outlook.has_line(*deployment)
            };
            let waits = deployments.filter(may_be_asked).map(|deployment| (outlook.ready_at(deployment), deployment));
            let first = waits.filter(|(ready_at, _)| ready_at.saturating_sub(now) <= max_wait).min();
            first.map(|(_, deployment)| (index, deployment))
        })
    }
}
