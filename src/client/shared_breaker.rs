//! The breaker of a deployment that processes share, in the store of their limits.

use std::sync::Arc;

use super::shared_quota::SharedQuota;
use crate::limits::{BreakerReport, ProbeClaim};

/// The breaker of one deployment, of all processes that share the limits of a client.
pub struct SharedBreaker(pub(super) Arc<SharedQuota>);

impl SharedBreaker {
    /// Returns what the processes have found out; `None` if another process uses the state at this moment.
    pub fn seen(&self) -> Option<crate::limits::SharedBreaker> {
        self.0.with_budget(|budget, now| budget.breaker(now))
    }

    /// Tells the other processes what the router of this number found out. Returns false if another process uses the state at
    /// this moment.
    pub fn report(&self, router: u64, report: BreakerReport) -> bool {
        self.0.with_budget(|budget, now| budget.report_breaker(now, member(router), report)).is_some()
    }

    /// Asks for the turn of the router of this number to probe the deployment.
    pub fn claim_probe(&self, router: u64) -> ProbeClaim {
        self.0.with_budget(|budget, now| budget.claim_probe(now, member(router))).unwrap_or(ProbeClaim::Pending)
    }
}

/// Returns the number of a router among those of all processes. It is another one in a forked child.
fn member(router: u64) -> u64 {
    (router ^ u64::from(std::process::id())).max(1)
}
