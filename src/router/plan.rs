//! A checked configuration in compiled form: names are indices.

use std::time::Duration;

use super::options::{Affinity, Breaker, Cooldown, Hedge, StrategyKind};

/// Index of a deployment in [`Plan::deployments`].
pub type DeploymentIndex = usize;
/// Index of a group in [`Plan::groups`].
pub type GroupIndex = usize;

/// Everything that the decisions of a router are made from.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The deployments of all groups.
    pub deployments: Vec<Deployment>,
    /// The groups, in the order of the configuration.
    pub groups: Vec<Group>,
    /// Names of the quota groups: what shares a pause.
    pub quota_groups: Vec<String>,
    /// Names of the accounts that the deployments belong to.
    pub accounts: Vec<String>,
    /// Strategy by which a deployment of a group is chosen.
    pub strategy: StrategyKind,
    /// Second requests, if they are on.
    pub hedge: Option<Hedge>,
    /// Maximum time that a call waits while no deployment is available.
    pub max_wait: Option<Duration>,
    /// Maximum time of an attempt while there is another deployment to try; a share of the remaining time if it is not set.
    pub attempt_timeout: Option<Duration>,
    /// Pauses after rate limits.
    pub cooldown: Cooldown,
    /// Thresholds of the breakers.
    pub breaker: Breaker,
    /// Options of the strategy `affinity`.
    pub affinity: Affinity,
}

/// One deployment.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Unique name.
    pub name: String,
    /// Name of the provider.
    pub provider: String,
    /// Name of the model as the provider knows it.
    pub model: String,
    /// Name of the model that is the same wherever it is deployed.
    pub base_model: String,
    /// Group that the deployment belongs to.
    pub group: GroupIndex,
    /// Position in the group.
    pub position: usize,
    /// Share of the calls, relative to its siblings.
    pub weight: f64,
    /// Precedence: those with a lower number are asked first.
    pub order: i64,
    /// Index in [`Plan::quota_groups`].
    pub quota_group: usize,
    /// Index in [`Plan::accounts`].
    pub account: usize,
    /// Names by which calls may ask for this deployment.
    pub tags: Vec<String>,
}

/// One group of deployments that stand in for each other.
#[derive(Debug, Clone)]
pub struct Group {
    /// Name that calls pass as their model.
    pub name: String,
    /// The group's deployments, by index.
    pub deployments: Vec<DeploymentIndex>,
    /// Groups to go to after a failure, by the class of the failure.
    pub fallbacks: [Fallback; 3],
}

/// Groups to go to after a failure of one class.
#[derive(Debug, Clone, Default)]
pub struct Fallback {
    /// True if the configuration has fallbacks of this class, though perhaps none for this group.
    pub is_declared: bool,
    /// The groups, in the order in which they are asked.
    pub groups: Vec<GroupIndex>,
}

impl Plan {
    /// Returns the deployment that a call of a group is written for before one is chosen.
    pub fn placeholder(&self, group: GroupIndex) -> DeploymentIndex {
        self.groups[group].deployments[0]
    }

    /// Returns the group of this name.
    pub fn group(&self, name: &str) -> Option<GroupIndex> {
        self.groups.iter().position(|group| group.name == name)
    }

    /// Returns the deployment of this name.
    pub fn deployment(&self, name: &str) -> Option<DeploymentIndex> {
        self.deployments.iter().position(|deployment| deployment.name == name)
    }
}
