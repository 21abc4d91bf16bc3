//! The budget of a quota that all processes of this machine share, in shared memory.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::limits::budget::BudgetState;
use crate::limits::{Budget, Ledger, QuotaSpec, Time};
use crate::platform;
use crate::store::host::{AccessError, HostRegion, Slot};

/// Number of attempts to use a state that another process uses: it does so for less than a microsecond, unless it was
/// interrupted.
const ATTEMPTS: usize = 20;

/// The budget of a quota in shared memory.
pub(super) struct HostBudget {
    /// Name of the region.
    name: String,
    /// Hash of the quota's name.
    hash: [u8; 32],
    region: Arc<HostRegion<Ledger>>,
    slot: Slot,
    spec: QuotaSpec,
}

/// The regions that this process has joined.
type Regions = (u64, HashMap<String, Arc<HostRegion<Ledger>>>);

/// Joins a region, or returns it if this process is a member. It may wait for a second.
///
/// # Errors
///
/// The region cannot be opened.
pub(super) fn region(name: &str) -> Result<Arc<HostRegion<Ledger>>> {
    static REGIONS: LazyLock<Mutex<Regions>> = LazyLock::new(Mutex::default);
    let mut regions = REGIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let epoch = platform::fork_epoch();
    if regions.0 != epoch {
        // Members of the parent: they must not even be dropped.
        std::mem::forget(std::mem::take(&mut regions.1));
        regions.0 = epoch;
    }
    if let Some(region) = regions.1.get(name)
        && !matches!(region.reap(), Err(AccessError::Left))
    {
        return Ok(region.clone());
    }
    let opened = match regions.1.get(name) {
        Some(left) => left.reopen(),
        None => HostRegion::open(name),
    };
    let region = Arc::new(opened.map_err(|error| Error::argument(format!("share: {error}")))?);
    regions.1.insert(name.to_owned(), region.clone());
    Ok(region)
}

/// The quotas that the processes of this machine share under one name.
pub struct HostQuotas {
    /// Number of processes, without this one.
    pub processes: usize,
    /// Hash of each quota's name, its state, and the time to which the state's times are relative.
    pub quotas: Vec<([u8; 32], BudgetState, Time)>,
}

/// Returns the state of the quotas that the processes of this machine share under a name.
///
/// # Errors
///
/// The region cannot be opened.
pub fn host_quotas(name: &str) -> Result<HostQuotas> {
    let region = region(name)?;
    let _ = region.reap();
    let state = |hash, ledger: &mut Ledger, now| (hash, ledger.member(region.member()).state(now), now);
    let mut quotas = region.each(state);
    // Those without any limit hold the breaker of a deployment.
    let has_limits =
        |state: &BudgetState| !state.windows.is_empty() || state.max_in_flight.is_some() || state.learnt.is_some();
    quotas.retain(|(_, state, _)| has_limits(state));
    Ok(HostQuotas { processes: region.members() - 1, quotas })
}

impl HostBudget {
    /// Returns the budget of the quota whose name has this hash.
    ///
    /// # Errors
    ///
    /// The region cannot be opened, or has no place for another quota.
    pub fn open(name: &str, hash: [u8; 32]) -> Result<Self> {
        let region = region(name)?;
        let slot = place(&region, &hash)?;
        Ok(Self { name: name.to_owned(), hash, region, slot, spec: QuotaSpec::default() })
    }

    /// Sets the limits.
    ///
    /// # Errors
    ///
    /// Their number, if there are too many.
    pub fn declare(&mut self, spec: &QuotaSpec) -> Result<(), usize> {
        self.spec = spec.clone();
        // If another process uses the state, it is a member too, and declares what it was told.
        self.with_ledger(|ledger, _| ledger.declare(spec)).unwrap_or(Ok(()))
    }

    /// Calls a function with the budget and the time; `None` if another process uses the state at this moment.
    pub fn with<T>(&mut self, function: impl FnOnce(&mut dyn Budget, Time) -> T) -> Option<T> {
        let member = self.region.member();
        self.with_ledger(|ledger, now| function(&mut ledger.member(member), now))
    }

    /// Frees what members held that have died. To be called by those who wait.
    pub fn reap(&mut self) {
        if self.region.reap() == Err(AccessError::Left) {
            // Others do not find this region any more: somebody removed its file.
            let _ = self.join();
        }
    }

    /// Joins again if need be, and looks the quota up.
    #[cold]
    fn join(&mut self) -> Result<()> {
        self.region = region(&self.name)?;
        self.slot = place(&self.region, &self.hash)?;
        let _ = self.region.with(self.slot, |ledger, _| ledger.declare(&self.spec));
        Ok(())
    }

    fn with_ledger<T>(&mut self, function: impl FnOnce(&mut Ledger, Time) -> T) -> Option<T> {
        let mut function = Some(function);
        for _ in 0..ATTEMPTS {
            let used = self.region.with(self.slot, |ledger, now| function.take().map(|function| function(ledger, now)));
            match used {
                Ok(used) => return used,
                Err(AccessError::Busy) => std::thread::yield_now(),
                // This process left, the quota was idle for a day, or a process that was stopped has it locked: then it moves.
                Err(_) => self.join().ok()?,
            }
        }
        None
    }
}

fn place(region: &HostRegion<Ledger>, hash: &[u8; 32]) -> Result<Slot> {
    for _ in 0..ATTEMPTS {
        match region.quota(hash) {
            Ok(slot) => return Ok(slot),
            Err(AccessError::Busy) => std::thread::yield_now(),
            Err(error) => return Err(Error::argument(format!("share: {error}"))),
        }
    }
    Err(Error::argument(format!("share: {}", AccessError::Busy)))
}
