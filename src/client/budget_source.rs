//! Where the budget of a quota is kept, and by which clock.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

use super::settings::Share;
use crate::error::{Error, Result};
use crate::limits::{Budget, Ledger, QuotaSpec, Time};

/// Where the budget of a quota is kept.
pub(super) enum BudgetSource {
    /// In this process.
    Process(Box<Ledger>),
}

impl BudgetSource {
    /// Returns the source for the budget of a quota.
    pub fn of(share: &Share) -> Result<Self> {
        match share {
            Share::Process => Ok(Self::Process(Box::new(bytemuck::Zeroable::zeroed()))),
            Share::Host(_) | Share::Redis { .. } => Err(Error::argument("share: not built yet")),
        }
    }

    /// Calls a function with the budget and the time on its clock.
    pub fn with<T>(&mut self, function: impl FnOnce(&mut dyn Budget, Time) -> T) -> T {
        match self {
            Self::Process(ledger) => function(&mut ledger.member(0), now()),
        }
    }

    /// Adds declared limits.
    ///
    /// # Errors
    ///
    /// There is no room for them: a quota has a fixed number of windows.
    pub fn declare(&mut self, spec: &QuotaSpec) -> Result<()> {
        match self {
            Self::Process(ledger) => ledger.declare(spec).map_err(|room| {
                Error::argument(format!("limits declares more than {room} limits of windows for one quota"))
            }),
        }
    }
}

/// Returns the time on the clock of this process's quotas: monotonic.
fn now() -> Time {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    // A window that begins before the clock does would be cut.
    const HEAD_START: Duration = Duration::from_secs(86_400);
    EPOCH.elapsed() + HEAD_START
}
