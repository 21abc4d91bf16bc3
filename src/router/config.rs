//! The configuration of a router, checked when it is compiled.

use std::time::Duration;

use super::options::{Affinity, Breaker, Cooldown, FallbackKind, Hedge, HedgeAfter, StrategyKind};
use super::plan::{self, GroupIndex, Plan};
use crate::error::{Error, Result};
use crate::types::nearest::nearest;

/// A router as its user describes it.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Groups of deployments that stand in for each other.
    pub groups: Vec<GroupConfig>,
    /// Name of the strategy; `weighted` if it is not set.
    pub strategy: Option<String>,
    /// Groups to go to after a failure without a list of its own: name → names.
    pub fallbacks: Vec<(String, Vec<String>)>,
    /// Groups to go to when a prompt exceeds the context window.
    pub context_window_fallbacks: Vec<(String, Vec<String>)>,
    /// Groups to go to when the content is refused.
    pub content_policy_fallbacks: Vec<(String, Vec<String>)>,
    /// True if groups may fall back to each other in a circle, which two lists of fallbacks in use elsewhere do: a call asks
    /// no group twice.
    pub allow_circles: bool,
    /// Second requests, if they are on.
    pub hedge: Option<Hedge>,
    /// Maximum time that a call waits while no deployment is available, in seconds; 60 if it is not set.
    pub max_wait: Option<f64>,
    /// Maximum time of an attempt while there is another deployment to try, in seconds.
    pub attempt_timeout: Option<f64>,
    /// Pauses after rate limits.
    pub cooldown: Cooldown,
    /// Thresholds of the breakers.
    pub breaker: Breaker,
    /// Options of the strategy `affinity`.
    pub affinity: Affinity,
}

/// A group of deployments.
#[derive(Debug, Clone, Default)]
pub struct GroupConfig {
    /// Name that calls pass as their model.
    pub name: String,
    /// The deployments.
    pub deployments: Vec<DeploymentConfig>,
    /// True if the group is used for embeddings: vectors of different models do not mix.
    pub is_embedding: bool,
}

/// One deployment: a model at a provider, with the account and the quota that it counts against.
#[derive(Debug, Clone, Default)]
pub struct DeploymentConfig {
    /// Unique name; made from provider and model if it is not set.
    pub name: Option<String>,
    /// Name of the provider.
    pub provider: String,
    /// Name of the model as the provider knows it.
    pub model: String,
    /// Name of the model that is the same wherever it is deployed; `model` if it is not set.
    pub base_model: Option<String>,
    /// Account that state at the provider belongs to; deployments of one account may continue each other's. The provider's
    /// name if it is not set.
    pub account: Option<String>,
    /// Name of what shares a rate limit; the deployment's own if it is not set.
    pub quota_group: Option<String>,
    /// Share of the calls, relative to its siblings; 1 if it is not set.
    pub weight: Option<f64>,
    /// Precedence: those with a lower number are asked first.
    pub order: i64,
    /// Names by which calls may ask for this deployment.
    pub tags: Vec<String>,
}

/// The strategies and their names.
const STRATEGIES: [(&str, StrategyKind); 8] = [
    ("weighted", StrategyKind::Weighted),
    ("least_busy", StrategyKind::LeastBusy),
    ("latency", StrategyKind::Latency),
    ("usage", StrategyKind::Usage),
    ("cost", StrategyKind::Cost),
    ("ordered", StrategyKind::Ordered),
    ("affinity", StrategyKind::Affinity),
    ("custom", StrategyKind::Custom),
];

/// The kinds of fallbacks and the names of their arguments.
const FALLBACKS: [(FallbackKind, &str); 3] = [
    (FallbackKind::General, "fallbacks"),
    (FallbackKind::ContextWindow, "context_window_fallbacks"),
    (FallbackKind::ContentPolicy, "content_policy_fallbacks"),
];

impl Config {
    /// Returns the configuration in compiled form.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, by the name of its argument.
    pub fn compile(&self) -> Result<Plan> {
        let strategy = self.strategy()?;
        self.check_numbers()?;
        let mut plan = Plan {
            deployments: Vec::new(),
            groups: Vec::new(),
            quota_groups: Vec::new(),
            accounts: Vec::new(),
            strategy,
            hedge: self.hedge,
            max_wait: Some(seconds("max_wait", self.max_wait.unwrap_or(60.0))?),
            attempt_timeout: self.attempt_timeout.map(|time| positive("attempt_timeout", time)).transpose()?,
            cooldown: self.cooldown,
            breaker: self.breaker,
            affinity: self.affinity,
        };
        if self.groups.is_empty() {
            return Err(Error::argument("groups must have at least one group of deployments, not none"));
        }
        for (index, group) in self.groups.iter().enumerate() {
            if self.groups[..index].iter().any(|other| other.name == group.name) {
                return Err(Error::argument(format!("groups has two groups named {:?}", group.name)));
            }
            add_group(&mut plan, group)?;
        }
        for (kind, argument) in FALLBACKS {
            self.add_fallbacks(&mut plan, kind, argument)?;
        }
        Ok(plan)
    }

    fn strategy(&self) -> Result<StrategyKind> {
        let Some(name) = &self.strategy else {
            return Ok(StrategyKind::Weighted);
        };
        if let Some((_, kind)) = STRATEGIES.iter().find(|(known, _)| known == name) {
            return Ok(*kind);
        }
        let names: Vec<&str> = STRATEGIES.iter().map(|(name, _)| *name).filter(|name| *name != "custom").collect();
        Err(Error::argument(format!(
            "strategy must be a function or one of {}, not {name:?}{}",
            names.join(", "),
            hint(name, &names)
        )))
    }

    fn check_numbers(&self) -> Result<()> {
        if let Some(Hedge { after, budget }) = self.hedge {
            share("hedge[\"budget\"]", budget)?;
            match after {
                HedgeAfter::Quantile(quantile) => share("hedge[\"after\"]", quantile)?,
                HedgeAfter::Time(time) if time.is_zero() => {
                    return Err(Error::argument("hedge[\"after\"] must be more than 0 s"));
                }
                HedgeAfter::Time(_) => {}
            }
        }
        let Breaker { failures, share: of_all, window, open_for, max_open_for, probe_every, .. } = self.breaker;
        if failures == 0 {
            return Err(Error::argument("breaker.failures must be at least 1, not 0"));
        }
        share("breaker.share", of_all)?;
        let times = [
            ("breaker.window", window),
            ("breaker.open_for", open_for),
            ("breaker.max_open_for", max_open_for),
            ("breaker.probe_every", probe_every),
            ("cooldown.first", self.cooldown.first),
            ("cooldown.max", self.cooldown.max),
            ("affinity.remember_for", self.affinity.remember_for),
        ];
        for (name, value) in times {
            positive(name, value)?;
        }
        if !(self.affinity.max_load > 1.0 && self.affinity.max_load.is_finite()) {
            return Err(Error::argument(format!(
                "affinity.max_load must be more than 1, not {}",
                self.affinity.max_load
            )));
        }
        if self.affinity.capacity == 0 {
            return Err(Error::argument("affinity.capacity must be at least 1, not 0"));
        }
        Ok(())
    }

    fn add_fallbacks(&self, plan: &mut Plan, kind: FallbackKind, argument: &str) -> Result<()> {
        let declared = match kind {
            FallbackKind::General => &self.fallbacks,
            FallbackKind::ContextWindow => &self.context_window_fallbacks,
            FallbackKind::ContentPolicy => &self.content_policy_fallbacks,
        };
        let find = |name: &str| {
            let names: Vec<&str> = self.groups.iter().map(|group| &*group.name).collect();
            names.iter().position(|known| *known == name).ok_or_else(|| {
                Error::argument(format!(
                    "{argument} names {name:?}, which is no group{} (groups: {})",
                    hint(name, &names),
                    names.join(", ")
                ))
            })
        };
        for (from, to) in declared {
            let group = find(from)?;
            if to.is_empty() {
                return Err(Error::argument(format!("{argument}[{from:?}] must name at least one group, not none")));
            }
            for name in to {
                let target = find(name)?;
                if target == group {
                    return Err(Error::argument(format!("{argument}: the group {name:?} falls back to itself")));
                }
                self.check_embeddings(argument, group, target)?;
                let groups = &mut plan.groups[group].fallbacks[kind as usize].groups;
                if !groups.contains(&target) {
                    groups.push(target);
                }
            }
        }
        for group in &mut plan.groups {
            group.fallbacks[kind as usize].is_declared = !declared.is_empty();
        }
        match circle(plan, kind) {
            Some(names) if !self.allow_circles => Err(Error::argument(format!(
                "{argument}: the group {:?} falls back to itself ({})",
                names[0],
                names.join(" → ")
            ))),
            _ => Ok(()),
        }
    }

    /// Checks that embeddings do not fall back to another model.
    fn check_embeddings(&self, argument: &str, from: GroupIndex, to: GroupIndex) -> Result<()> {
        let (from, to) = (&self.groups[from], &self.groups[to]);
        if !from.is_embedding {
            return Ok(());
        }
        let model = from.deployments.first().map(DeploymentConfig::base_model);
        match to.deployments.iter().find(|other| Some(other.base_model()) != model) {
            Some(other) => Err(Error::argument(format!(
                "{argument}: the embeddings of the group {:?} ({}) must not fall back to another model ({} in the group \
                 {:?}): their vectors do not mix",
                from.name,
                model.unwrap_or_default(),
                other.base_model(),
                to.name
            ))),
            None => Ok(()),
        }
    }
}

impl DeploymentConfig {
    /// Returns the name of the model that is the same wherever it is deployed.
    pub fn base_model(&self) -> &str {
        self.base_model.as_deref().unwrap_or(&self.model)
    }
}

fn add_group(plan: &mut Plan, group: &GroupConfig) -> Result<()> {
    let GroupConfig { name, deployments, is_embedding } = group;
    if name.is_empty() {
        return Err(Error::argument("groups has a group whose name is empty"));
    }
    if deployments.is_empty() {
        return Err(Error::argument(format!("groups[{name:?}] must have at least one deployment, not none")));
    }
    let mut indices = Vec::with_capacity(deployments.len());
    for (position, deployment) in deployments.iter().enumerate() {
        let weight = deployment.weight.unwrap_or(1.0);
        if !(weight > 0.0 && weight.is_finite()) {
            return Err(Error::argument(format!(
                "groups[{name:?}][{position}].weight must be more than 0, not {weight}"
            )));
        }
        if *is_embedding && deployment.base_model() != deployments[0].base_model() {
            return Err(Error::argument(format!(
                "groups[{name:?}] embeds with two models ({} and {}): their vectors do not mix",
                deployments[0].base_model(),
                deployment.base_model()
            )));
        }
        let unique = unique_name(plan, deployment)?;
        let quota_group = deployment.quota_group.clone().unwrap_or_else(|| unique.clone());
        let account = deployment.account.clone().unwrap_or_else(|| deployment.provider.clone());
        indices.push(plan.deployments.len());
        let built = plan::Deployment {
            name: unique,
            provider: deployment.provider.clone(),
            model: deployment.model.clone(),
            base_model: deployment.base_model().to_owned(),
            group: plan.groups.len(),
            position,
            weight,
            order: deployment.order,
            quota_group: intern(&mut plan.quota_groups, quota_group),
            account: intern(&mut plan.accounts, account),
            tags: deployment.tags.clone(),
        };
        plan.deployments.push(built);
    }
    plan.groups.push(plan::Group { name: name.clone(), deployments: indices, fallbacks: Default::default() });
    Ok(())
}

/// Returns the deployment's own name, or one made from provider and model: `provider/model`, `provider/model#2`, ….
fn unique_name(plan: &Plan, deployment: &DeploymentConfig) -> Result<String> {
    if let Some(name) = &deployment.name {
        return match plan.deployment(name) {
            Some(_) => Err(Error::argument(format!("groups has two deployments named {name:?}"))),
            None => Ok(name.clone()),
        };
    }
    let base = format!("{}/{}", deployment.provider, deployment.model);
    let numbered = (2..).map(|number| format!("{base}#{number}"));
    let name = std::iter::once(base.clone()).chain(numbered).find(|name| plan.deployment(name).is_none());
    Ok(name.expect("the numbers do not end"))
}

/// Returns the index of a name in a list, to which it is added if it is missing.
fn intern(names: &mut Vec<String>, name: String) -> usize {
    names.iter().position(|known| *known == name).unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    })
}

/// Returns the names of groups that fall back to each other in a circle, the first one at both ends.
fn circle(plan: &Plan, kind: FallbackKind) -> Option<Vec<&str>> {
    fn search(plan: &Plan, kind: FallbackKind, path: &mut Vec<GroupIndex>, done: &mut [bool]) -> bool {
        let last = path[path.len() - 1];
        for &next in &plan.groups[last].fallbacks[kind as usize].groups {
            if let Some(start) = path.iter().position(|group| *group == next) {
                path.drain(..start);
                path.push(next);
                return true;
            }
            if !done[next] {
                path.push(next);
                if search(plan, kind, path, done) {
                    return true;
                }
                path.pop();
            }
        }
        done[last] = true;
        false
    }
    let mut done = vec![false; plan.groups.len()];
    (0..plan.groups.len()).find_map(|start| {
        let mut path = vec![start];
        let found = !done[start] && search(plan, kind, &mut path, &mut done);
        found.then(|| path.into_iter().map(|group| &*plan.groups[group].name).collect())
    })
}

/// Returns the hint at the nearest known name.
fn hint(name: &str, names: &[&str]) -> String {
    nearest(name, names.iter().copied()).map(|known| format!("; did you mean {known:?}?")).unwrap_or_default()
}

fn share(name: &str, value: f64) -> Result<()> {
    match value > 0.0 && value <= 1.0 {
        true => Ok(()),
        false => Err(Error::argument(format!("{name} must be more than 0 and at most 1, not {value}"))),
    }
}

/// Returns a time of more than 0 s.
fn positive(name: &str, value: f64) -> Result<Duration> {
    match seconds(name, value)? {
        time if time.is_zero() => Err(Error::argument(format!("{name} must be more than 0 s, not {value}"))),
        time => Ok(time),
    }
}

fn seconds(name: &str, value: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| Error::argument(format!("{name} must be a number of seconds, at least 0, not {value}")))
}

#[cfg(test)]
mod tests;
