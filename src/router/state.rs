//! The state of a router that all its calls share.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::affinity::Affinity;
use super::breaker::{Change, Phase};
use super::decision::{Outlook, Time, Why};
use super::deployment::{Counts, Deployment, MAX_PAUSE, Outcome, Slot, Ticket};
use super::hedge::Hedger;
use super::options::StrategyKind;
use super::plan::{self, DeploymentIndex, GroupIndex, Plan};
use super::quota_group::QuotaGroup;
use super::strategy::Choice;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{BreakerReport, SharedBreaker};
use crate::types::lru::{Lru, mix};
use crate::types::rate_limit::FailureClass;

/// Maximum number of identifiers whose account is remembered.
const MAX_OWNERS: usize = 100_000;

/// Deployments to choose from.
pub type Candidates = SmallVec<[DeploymentIndex; 64]>;

/// A change that is worth a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// The deployment.
    pub deployment: DeploymentIndex,
    /// What has changed.
    pub change: Change,
}

impl Notice {
    /// Returns the line for the log.
    pub fn text(&self, plan: &Plan, now: Time) -> String {
        let plan::Deployment { name, group, .. } = &plan.deployments[self.deployment];
        let group = &plan.groups[*group].name;
        let every = plan.breaker.probe_every;
        let what = match self.change {
            Change::Opened(until) => {
                let pause = until.saturating_sub(now).as_secs_f64();
                format!("failed too often: it gets no calls, but for a probe in {pause:.1} s")
            }
            Change::Out(FailureClass::QuotaFatal) => {
                format!("is out of quota: it gets no calls, but for a probe every {every} s")
            }
            Change::Out(_) => format!("refuses its key or model: it gets no calls, but for a probe every {every} s"),
            Change::Closed => "answers again: it gets calls as before".into(),
        };
        format!("router: the deployment {name} of the group {group} {what}")
    }
}

/// State of a router.
#[derive(Debug)]
pub struct State {
    plan: Arc<Plan>,
    slots: Vec<Slot>,
    deployments: Vec<Deployment>,
    quota_groups: Vec<QuotaGroup>,
    /// The deployments of each quota group.
    members: Vec<Vec<DeploymentIndex>>,
    hedgers: Vec<Hedger>,
    affinity: Affinity,
    /// Accounts that identifiers belong to.
    owners: Lru<u32>,
    /// What other processes are to be told of breakers; `None` as long as none share them.
    reports: Option<Vec<(DeploymentIndex, BreakerReport)>>,
}

/// A choice to be made.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Group to choose from.
    pub group: GroupIndex,
    /// Deployments that are left out, and until when.
    pub left_out: &'a [(DeploymentIndex, Time)],
    /// End of the call, if it has a total timeout.
    pub end: Option<Time>,
    /// True if those are chosen whose time has come.
    pub is_again: bool,
    /// True if a probe may be chosen though others are well.
    pub may_probe: bool,
}

/// State of one deployment, for a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Name of the deployment.
    pub name: String,
    /// Name of the group.
    pub group: String,
    /// Number of attempts in flight.
    pub in_flight: u32,
    /// Numbers of attempts.
    pub counts: Counts,
    /// State of the breaker: `closed`, `open`, `half_open` or `out`.
    pub breaker: &'static str,
    /// Time until the next call is admitted, if it is not now.
    pub ready_in: Option<Duration>,
    /// Time until the quota group's pause is over.
    pub cooling_for: Option<Duration>,
    /// Kind of the last failure.
    pub last_failure: Option<ErrorKind>,
    /// Mean latency of plain calls and of streams, in seconds.
    pub mean: [Option<f64>; 2],
    /// The quantiles 0.5, 0.95 and 0.99 of the latency of plain calls and of streams.
    pub quantiles: [[Option<Duration>; 3]; 2],
}

impl State {
    /// Creates the state of a router that has made no call. `random` returns numbers from 0 to 1.
    pub fn new(plan: Arc<Plan>, mut random: impl FnMut() -> f64) -> Self {
        let mut members = vec![Vec::new(); plan.quota_groups.len()];
        for (index, deployment) in plan.deployments.iter().enumerate() {
            members[deployment.quota_group].push(index);
        }
        let slots = plan.deployments.iter().map(|deployment| Slot {
            weight: deployment.weight,
            order: deployment.order,
            ..Slot::default()
        });
        let mut slots: Vec<Slot> = slots.collect();
        for group in &plan.groups {
            // Short-lived processes should not all begin with the first one: a random one, by weight, is due.
            let total: f64 = group.deployments.iter().map(|&deployment| slots[deployment].weight).sum();
            let mut at = total * random();
            let due = group.deployments.iter().find(|&&deployment| {
                at -= slots[deployment].weight;
                at < 0.0
            });
            slots[*due.unwrap_or(&group.deployments[0])].turn = total;
        }
        let names = plan.deployments.iter().map(|deployment| (&*deployment.name, deployment.weight));
        Self {
            slots,
            deployments: vec![Deployment::default(); plan.deployments.len()],
            quota_groups: vec![QuotaGroup::default(); plan.quota_groups.len()],
            members,
            hedgers: vec![Hedger::default(); plan.groups.len()],
            affinity: Affinity::new(plan.affinity, names),
            owners: Lru::new(MAX_OWNERS),
            reports: None,
            plan,
        }
    }

    /// The configuration.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// What every choice reads of a deployment.
    pub fn slot(&self, deployment: DeploymentIndex) -> &Slot {
        &self.slots[deployment]
    }

    /// The numbers of attempts of a deployment.
    pub fn counts(&self, deployment: DeploymentIndex) -> Counts {
        self.deployments[deployment].counts
    }

    /// Second requests of a group.
    pub fn hedger(&mut self, group: GroupIndex) -> &mut Hedger {
        &mut self.hedgers[group]
    }

    /// Appends the deployments of a group that a call may go to now: of those that are available, the ones that precede.
    /// Returns the number of all that are available, or will be before the end of the call when their quota has budget again.
    pub fn candidates<O: Outlook + ?Sized>(
        &self,
        now: Time,
        query: &Query<'_>,
        outlook: &O,
        allows: impl Fn(DeploymentIndex) -> bool,
        candidates: &mut Candidates,
    ) -> usize {
        let (mut lowest, mut expected) = (i64::MAX, 0);
        let (mut probe, mut healthy) = (None, 0);
        for &deployment in &self.plan.groups[query.group].deployments {
            let slot = &self.slots[deployment];
            let is_well = slot.ready_at <= now
                && !query
                    .left_out
                    .iter()
                    .any(|&(left_out, until)| left_out == deployment && !(query.is_again && until <= now))
                && allows(deployment);
            if !is_well {
                continue;
            }
            let ready_at = outlook.ready_at(deployment);
            expected += usize::from(ready_at <= now || query.end.is_none_or(|end| ready_at < end));
            if ready_at > now || slot.order > lowest {
                continue;
            }
            if slot.order < lowest {
                lowest = slot.order;
                candidates.clear();
                (probe, healthy) = (None, 0);
            }
            if slot.needs_probe {
                probe = probe.or(Some(deployment));
            } else {
                healthy += 1;
            }
            candidates.push(deployment);
        }
        let Some(probe) = probe else { return expected };
        if healthy > 0 && !query.may_probe {
            candidates.retain(|deployment| !self.slots[*deployment].needs_probe);
        } else if !matches!(self.plan.strategy, StrategyKind::Ordered | StrategyKind::Cost | StrategyKind::Custom) {
            // What may be well again is asked first: a strategy by load or latency might never come back to it.
            candidates.clear();
            candidates.push(probe);
        }
        expected
    }

    /// Chooses one of the candidates by the plan's strategy, and returns its position.
    pub fn pick<O: Outlook + ?Sized>(
        &mut self,
        now: Time,
        candidates: &[DeploymentIndex],
        outlook: &mut O,
        key: Option<(GroupIndex, u64)>,
        is_stream: bool,
        is_retry: bool,
    ) -> usize {
        let choice = Choice {
            now,
            candidates,
            slots: &mut self.slots,
            deployments: &self.deployments,
            affinity: &mut self.affinity,
            // The same prompt in another group has another home.
            key: key.map(|(group, key)| mix(key ^ mix(group as u64))),
            is_stream,
            is_retry,
        };
        choice.pick(self.plan.strategy, outlook)
    }

    /// Begins an attempt.
    pub fn begin(&mut self, deployment: DeploymentIndex, now: Time, is_stream: bool) -> Ticket {
        let ticket = self.deployments[deployment].begin(deployment, now, is_stream);
        self.slots[deployment].in_flight += 1;
        let quota_group = self.plan.deployments[deployment].quota_group;
        let group = &mut self.quota_groups[quota_group];
        group.in_flight += 1;
        if group.is_limited() && group.is_full() {
            self.refresh_members(quota_group);
        } else if ticket.is_probe {
            self.refresh(deployment);
        }
        ticket
    }

    /// Notes that the first chunk or the whole answer has arrived.
    pub fn answer(&mut self, ticket: &mut Ticket, now: Time) -> Option<Notice> {
        let plan = self.plan.clone();
        let deployment = ticket.deployment;
        let before = self.breaker_of(deployment);
        let (latency, change) = self.deployments[deployment].answer(ticket, now, &plan.breaker);
        let latency = latency?;
        self.note_change(now, deployment, before);
        self.quota_groups[plan.deployments[deployment].quota_group].succeed(now);
        if let Some(hedge) = &plan.hedge {
            let group = plan.deployments[deployment].group;
            self.hedgers[group].record(hedge, now, ticket.is_stream, latency);
        }
        self.changed(deployment, change)
    }

    /// Ends an attempt. `random` is from 0 to 1.
    pub fn end(&mut self, mut ticket: Ticket, now: Time, outcome: &Outcome, random: f64) -> Option<Notice> {
        let answered = if *outcome == Outcome::Success { self.answer(&mut ticket, now) } else { None };
        let plan = self.plan.clone();
        let deployment = ticket.deployment;
        self.slots[deployment].in_flight -= 1;
        let before = self.breaker_of(deployment);
        let change = self.deployments[deployment].end(&ticket, now, outcome, &plan.breaker, random);
        self.note_change(now, deployment, before);
        if let (Outcome::Cancelled(Some(now)), Some(hedge), false) = (outcome, &plan.hedge, ticket.is_answered) {
            // What lost a race took this long at least: left out, the quantile would only ever fall.
            let group = plan.deployments[deployment].group;
            self.hedgers[group].record(hedge, *now, ticket.is_stream, now.saturating_sub(ticket.started));
        }
        let quota_group = plan.deployments[deployment].quota_group;
        let group = &mut self.quota_groups[quota_group];
        let was_limited = group.is_limited();
        group.in_flight -= 1;
        if let Outcome::Failure(failure) = outcome {
            match failure.class {
                FailureClass::Rate => {
                    group.rate_limited(ticket.started, now, failure.retry_after, plan.cooldown, random);
                }
                FailureClass::DayQuota => {
                    let pause = failure.retry_after.unwrap_or(Duration::from_secs_f64(plan.breaker.probe_every));
                    group.pause(now, now + pause.min(MAX_PAUSE));
                    self.refresh_members(quota_group);
                }
                _ => {}
            }
            self.refresh(deployment);
        } else if ticket.is_probe {
            self.refresh(deployment);
        }
        let is_paused = matches!(outcome, Outcome::Failure(failure) if failure.class == FailureClass::Rate);
        if was_limited || is_paused {
            self.refresh_members(quota_group);
        }
        self.changed(deployment, change).or(answered)
    }

    /// Takes back an attempt that was not admitted, as if it had never begun.
    pub fn withdraw(&mut self, ticket: Ticket) {
        let Ticket { deployment, started, is_probe, .. } = ticket;
        let _ = self.end(ticket, started, &Outcome::Cancelled(None), 0.0);
        let counts = &mut self.deployments[deployment].counts;
        counts.attempts -= 1;
        counts.cancelled -= 1;
        counts.probes -= u64::from(is_probe);
    }

    /// Makes a quota group pause until a time.
    pub fn cool(&mut self, quota_group: usize, now: Time, until: Time) {
        self.quota_groups[quota_group].pause(now, until);
        self.refresh_members(quota_group);
    }

    /// Lets calls go to a deployment again, whatever it said before.
    ///
    /// # Errors
    ///
    /// There is no deployment of this name.
    pub fn enable(&mut self, name: &str) -> Result<()> {
        let Some(deployment) = self.plan.deployment(name) else {
            let names: Vec<&str> = self.plan.deployments.iter().map(|deployment| &*deployment.name).collect();
            return Err(Error::argument(format!(
                "name must be that of a deployment ({}), not {name:?}",
                names.join(", ")
            )));
        };
        self.deployments[deployment].breaker.enable();
        self.deployments[deployment].pause_until = Time::ZERO;
        if let Some(reports) = &mut self.reports {
            reports.push((deployment, BreakerReport::Closed));
        }
        let quota_group = self.plan.deployments[deployment].quota_group;
        self.quota_groups[quota_group].enable();
        self.refresh_members(quota_group);
        Ok(())
    }

    /// Remembers that an identifier belongs to a deployment's account.
    pub fn remember(&mut self, id: &str, deployment: DeploymentIndex) {
        self.owners.insert(hash(id), self.plan.deployments[deployment].account as u32);
    }

    /// Returns the account that an identifier belongs to.
    pub fn owner(&mut self, id: &str) -> Option<usize> {
        self.owners.get_mut(hash(id)).map(|account| *account as usize)
    }

    /// Returns why a deployment gets no call now, if it gets none.
    pub fn why(&self, deployment: DeploymentIndex, now: Time) -> Option<Why> {
        let Deployment { breaker, pause_until, .. } = &self.deployments[deployment];
        let cooling = self.quota_groups[self.plan.deployments[deployment].quota_group].until.max(*pause_until);
        match breaker.phase() {
            Phase::Open { .. } | Phase::Out { .. } if breaker.is_probing() || breaker.is_held(now) => {
                Some(Why::Probing)
            }
            Phase::Out { class, kind, until } if until > now => Some(Why::Out(class, kind, until)),
            Phase::Open { until } if until > now.max(cooling) => Some(Why::Open(until)),
            _ if cooling > now => Some(Why::Cooling(cooling)),
            _ => (self.slots[deployment].ready_at > now).then_some(Why::Full),
        }
    }

    /// Returns the state of every deployment.
    pub fn status(&self, now: Time) -> Vec<Status> {
        let status = |(index, deployment): (usize, &Deployment)| {
            let planned = &self.plan.deployments[index];
            let after = |time: Time| time.checked_sub(now).filter(|left| !left.is_zero() && time != Time::MAX);
            Status {
                name: planned.name.clone(),
                group: self.plan.groups[planned.group].name.clone(),
                in_flight: self.slots[index].in_flight,
                counts: deployment.counts,
                breaker: match deployment.breaker.phase() {
                    Phase::Closed => "closed",
                    Phase::Out { .. } => "out",
                    Phase::Open { until } if until > now && !deployment.breaker.is_probing() => "open",
                    Phase::Open { .. } => "half_open",
                },
                ready_in: after(self.slots[index].ready_at),
                cooling_for: after(self.quota_groups[planned.quota_group].until.max(deployment.pause_until)),
                last_failure: deployment.last_failure,
                mean: deployment.latencies.each_ref().map(|latency| latency.mean.get()),
                quantiles: deployment
                    .latencies
                    .each_ref()
                    .map(|latency| [0.5, 0.95, 0.99].map(|quantile| latency.histogram.quantile(quantile))),
            }
        };
        self.deployments.iter().enumerate().map(status).collect()
    }

    /// Returns what other processes are to be told since the last time; from the first call on, changes are noted.
    pub fn take_reports(&mut self) -> Vec<(DeploymentIndex, BreakerReport)> {
        std::mem::take(self.reports.get_or_insert_default())
    }

    /// Notes what other processes could not be told.
    pub fn put_back(&mut self, report: (DeploymentIndex, BreakerReport)) {
        self.reports.get_or_insert_default().push(report);
    }

    /// Takes over what other processes found out of a deployment.
    pub fn adopt(&mut self, deployment: DeploymentIndex, now: Time, seen: SharedBreaker) -> Option<Notice> {
        let change = self.deployments[deployment].breaker.adopt(now, seen.changes, seen.found);
        self.refresh(deployment);
        self.changed(deployment, change)
    }

    /// Lets no probe of a deployment begin before a time, since another process probes it.
    pub fn hold(&mut self, deployment: DeploymentIndex, until: Time) {
        self.deployments[deployment].breaker.hold(until);
        self.refresh(deployment);
    }

    /// Returns what [`note_change`](Self::note_change) compares.
    fn breaker_of(&self, deployment: DeploymentIndex) -> Option<(Phase, bool)> {
        let breaker = &self.deployments[deployment].breaker;
        self.reports.is_some().then(|| (breaker.phase(), breaker.is_probing()))
    }

    /// Notes that other processes are to be told of a breaker if it has changed.
    fn note_change(&mut self, now: Time, deployment: DeploymentIndex, before: Option<(Phase, bool)>) {
        let (Some(reports), Some((phase, was_probing))) = (&mut self.reports, before) else { return };
        let breaker = &self.deployments[deployment].breaker;
        if breaker.phase() != phase {
            reports.push((deployment, breaker.report(now)));
        } else if was_probing && !breaker.is_probing() {
            reports.push((deployment, BreakerReport::Released));
        }
    }

    /// Computes anew from when on a deployment is available.
    fn refresh(&mut self, deployment: DeploymentIndex) {
        let Deployment { breaker, pause_until, .. } = &self.deployments[deployment];
        let group = &self.quota_groups[self.plan.deployments[deployment].quota_group];
        let ready_at = breaker.ready_at().max(*pause_until).max(group.until);
        let slot = &mut self.slots[deployment];
        slot.ready_at = if group.is_full() { Time::MAX } else { ready_at };
        slot.needs_probe = breaker.phase() != Phase::Closed;
    }

    fn refresh_members(&mut self, quota_group: usize) {
        for index in 0..self.members[quota_group].len() {
            self.refresh(self.members[quota_group][index]);
        }
    }

    fn changed(&mut self, deployment: DeploymentIndex, change: Option<Change>) -> Option<Notice> {
        let change = change?;
        self.refresh(deployment);
        Some(Notice { deployment, change })
    }
}

/// Returns the hash of an identifier.
fn hash(id: &str) -> u64 {
    id.bytes().fold(id.len() as u64, |hash, byte| mix(hash ^ u64::from(byte)))
}
