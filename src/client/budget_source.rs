//! Where the budget of a quota is kept, and by which clock.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

use super::host_budget::HostBudget;
use super::settings::Share;
use crate::error::{Error, Result};
use crate::limits::{Budget, Ledger, QuotaSpec, Time};

/// Where the budget of a quota is kept.
pub(super) enum BudgetSource {
    /// In this process.
    Process(Box<Ledger>),
    /// In shared memory.
    Host(Box<HostBudget>),
}

impl BudgetSource {
    /// Returns the source for the budget of a quota. `hash` is that of its name, the same in all processes.
    ///
    /// # Errors
    ///
    /// The store cannot be opened.
    pub fn open(share: &Share, hash: impl FnOnce() -> [u8; 32]) -> Result<Self> {
        match share {
            Share::Process => Ok(Self::Process(bytemuck::allocation::zeroed_box())),
            Share::Host(name) => Ok(Self::Host(Box::new(HostBudget::open(name, hash())?))),
            Share::Redis { .. } => Err(Error::argument("share: not built yet")),
        }
    }

    /// Calls a function with the budget and the time on its clock; `None` if another process uses the budget at this moment.
    pub fn with<T>(&mut self, function: impl FnOnce(&mut dyn Budget, Time) -> T) -> Option<T> {
        match self {
            Self::Process(ledger) => Some(function(&mut ledger.member(0), now())),
            Self::Host(host) => host.with(function),
        }
    }

    /// Frees what others held that have died. To be called by those who wait.
    pub fn reap(&mut self) {
        if let Self::Host(host) = self {
            host.reap();
        }
    }

    /// Sets the limits.
    ///
    /// # Errors
    ///
    /// There is no room for them: a quota has a fixed number of windows.
    pub fn declare(&mut self, spec: &QuotaSpec) -> Result<()> {
        let declared = match self {
            Self::Process(ledger) => ledger.declare(spec),
            Self::Host(host) => host.declare(spec),
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
