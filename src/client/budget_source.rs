//! Place of a quota's budget, and its clock.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

use super::host_budget::HostBudget;
use super::redis_budget::{RedisBudget, RedisSettings};
use super::settings::{LimitSettings, Share};
use crate::error::{Error, Result};
use crate::limits::{Budget, Ledger, QuotaSpec, Time};
use crate::transport;

/// Place of a quota's budget.
pub(super) enum BudgetSource {
    /// In this process.
    Process(Box<Ledger>),
    /// In shared memory.
    Host(Box<HostBudget>),
    /// In a Redis.
    Redis(Box<RedisBudget>),
}

impl BudgetSource {
    /// Returns the source for the budget of a quota. `hash` is that of its name, the same in all processes; `transport` are the
    /// settings of a connection to the store.
    ///
    /// # Errors
    ///
    /// The store cannot be opened.
    pub fn open(
        settings: Option<&LimitSettings>,
        transport: &transport::Settings,
        hash: impl FnOnce() -> [u8; 32],
    ) -> Result<Self> {
        match settings.map(|settings| (&settings.share, settings.when_down)) {
            None | Some((Share::Process, _)) => Ok(Self::Process(bytemuck::allocation::zeroed_box())),
            Some((Share::Host(name), _)) => Ok(Self::Host(Box::new(HostBudget::open(name, hash())?))),
            Some((Share::Redis { url, namespace }, when_down)) => {
                let redis = RedisSettings { url, namespace, when_down, transport };
                Ok(Self::Redis(Box::new(RedisBudget::open(&redis, &hash())?)))
            }
        }
    }

    /// Calls a function with the budget and the time on its clock; `None` if another process uses the budget at this moment.
    pub fn with<T>(&mut self, function: impl FnOnce(&mut dyn Budget, Time) -> T) -> Option<T> {
        match self {
            Self::Process(ledger) => Some(function(&mut ledger.member(0), now())),
            Self::Host(host) => host.with(function),
            Self::Redis(redis) => Some(redis.with(function)),
        }
    }

    /// Prepares for a call that waits: frees what others held that have died.
    pub fn reap(&mut self) {
        if let Self::Host(host) = self {
            host.reap();
        }
    }

    /// Says how many calls of this process wait, and so how much is wanted.
    pub fn set_waiting(&mut self, calls: usize) {
        if let Self::Redis(redis) = self {
            redis.set_waiting(calls);
        }
    }

    /// Sets the limits. `wake` wakes those who wait when budget has come from elsewhere; it returns false if the quota is gone.
    ///
    /// # Errors
    ///
    /// There is no room for them: a quota has a fixed number of windows.
    pub fn declare(&mut self, spec: &QuotaSpec, wake: impl Fn() -> bool + Send + 'static) -> Result<()> {
        let declared = match self {
            Self::Process(ledger) => ledger.declare(spec),
            Self::Host(host) => host.declare(spec),
            Self::Redis(redis) => {
                redis.declare(spec, Box::new(wake));
                Ok(())
            }
        };
        declared.map_err(|count| {
            let max = crate::limits::ledger::WINDOWS;
            Error::argument(format!(
                "limits declares {count} limits of windows for one quota: {max} at most would be right"
            ))
        })
    }
}

/// Returns the time on the clock of this process's quotas: monotonic.
fn now() -> Time {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    // A window that begins before the clock does would be cut.
    const HEAD_START: Duration = Duration::from_secs(86_400);
    EPOCH.elapsed() + HEAD_START
}
