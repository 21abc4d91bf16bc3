//! Which quotas a call needs, and the quotas of this process.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use super::budget_source::BudgetSource;
use super::settings::{LimitSettings, OwnLimits, Share};
use super::shared_quota::SharedQuota;
use crate::error::Result;
use crate::limits::{QuotaSpec, Snapshot, Time};
use crate::providers::Deployment;

/// Number of a client's quotas above which those that no call uses are forgotten: a gateway may have a key for each of its
/// users.
const MAX_KNOWN: usize = 10_000;

/// The quotas of one call, in the order in which they are acquired: a model's own before the one that all models share, so
/// that a model that has to wait holds nothing that others need.
pub(super) type QuotaList = Arc<[Arc<SharedQuota>]>;

/// The quotas of a client's calls.
pub(super) struct Quotas {
    settings: Option<Arc<LimitSettings>>,
    hasher: RandomState,
    known: Mutex<HashMap<u64, QuotaList>>,
}

impl Quotas {
    pub fn new(settings: Option<Arc<LimitSettings>>) -> Self {
        Self { settings, hasher: RandomState::new(), known: Mutex::default() }
    }

    /// Returns true if the calls of the client have quotas.
    pub fn are_declared(&self) -> bool {
        self.settings.is_some()
    }

    /// Returns the quotas of a deployment, whose `own` limits hold besides those of the client.
    ///
    /// # Errors
    ///
    /// The store of the quotas cannot be opened.
    pub fn of(&self, deployment: &Deployment, own: Option<&OwnLimits>) -> Result<QuotaList> {
        let name = own.map_or("", |own| &own.name);
        let key = key(&self.hasher, name, &deployment.model, deployment);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = known.get(&key) {
            return Ok(list.clone());
        }
        if known.len() >= MAX_KNOWN {
            known.retain(|_, list| Arc::strong_count(list) > 1);
        }
        let list = self.find(deployment, own)?;
        known.insert(key, list.clone());
        Ok(list)
    }

    fn find(&self, deployment: &Deployment, own: Option<&OwnLimits>) -> Result<QuotaList> {
        let share = self.settings.as_ref().map(|settings| &settings.share).unwrap_or(&Share::Process);
        let mut found = Vec::new();
        if let Some(own) = own {
            let hash = |hasher: &RandomState| match own.is_group {
                true => hasher.hash_one(&own.name),
                false => key(hasher, &own.name, &deployment.model, deployment),
            };
            found.push(shared(share, &own.spec, || own.name.clone(), hash)?);
        }
        if let Some(settings) = &self.settings {
            let (of_model, of_account) = settings.rules.specs(deployment.provider.row().name, &deployment.model);
            let of_model = of_model.map(|spec| (&*deployment.model, spec));
            for (model, spec) in of_model.into_iter().chain(of_account.map(|spec| ("", spec))) {
                found.push(shared(
                    share,
                    &spec,
                    || name(model, deployment),
                    |hasher| key(hasher, "", model, deployment),
                )?);
            }
        }
        Ok(found.into())
    }

    /// Returns what `status()` shows of each quota that a call has used, and the time to which its times are relative.
    pub fn snapshots(&self) -> Vec<(String, Snapshot, Time)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<&Arc<SharedQuota>> = known.values().flat_map(|list| list.iter()).collect();
        found.sort_by(|a, b| (&a.name, Arc::as_ptr(a)).cmp(&(&b.name, Arc::as_ptr(b))));
        found.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let snapshot = |quota: &Arc<SharedQuota>| {
            let (snapshot, now) = quota.snapshot();
            (quota.name.clone(), snapshot, now)
        };
        found.into_iter().map(snapshot).collect()
    }

    /// Ends the pauses and stops of the quotas whose name is or begins with `name`. Returns false if there are none.
    pub fn enable(&self, name: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let named = known.values().flat_map(|list| list.iter()).filter(|quota| quota.name.starts_with(name));
        named.map(|quota| quota.enable()).count() > 0
    }
}

/// Returns a hash of a model at an address, for an account. Only the hash is kept, not the key.
fn key(hasher: &impl BuildHasher, name: &str, model: &str, deployment: &Deployment) -> u64 {
    let mut state = hasher.build_hasher();
    (name, model, deployment.provider.row().name, &deployment.base_url).hash(&mut state);
    deployment.api_key.hash(&mut state);
    deployment.settings.hash(&mut state);
    state.finish()
}

/// The quotas of the process, which all of its clients share.
struct Registry {
    /// Process that they belong to. A forked child begins with none: the permits of its parent are not its own.
    process: u32,
    hasher: RandomState,
    quotas: HashMap<u64, Arc<SharedQuota>>,
}

/// Returns the quota that `hash` identifies, and declares its limits.
fn shared(
    share: &Share,
    spec: &QuotaSpec,
    name: impl FnOnce() -> String,
    hash: impl FnOnce(&RandomState) -> u64,
) -> Result<Arc<SharedQuota>> {
    static REGISTRY: LazyLock<Mutex<Registry>> =
        LazyLock::new(|| Mutex::new(Registry { process: 0, hasher: RandomState::new(), quotas: HashMap::new() }));
    let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if registry.process != process {
        registry.process = process;
        registry.quotas.clear();
    }
    if registry.quotas.len() >= MAX_KNOWN {
        registry.quotas.retain(|_, quota| Arc::strong_count(quota) > 1);
    }
    let mut state = registry.hasher.build_hasher();
    (hash(&registry.hasher), share).hash(&mut state);
    let quota = match registry.quotas.entry(state.finish()) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => {
            let source = BudgetSource::of(share)?;
            entry.insert(Arc::new(SharedQuota::new(name(), spec.bulk_share, source)))
        }
    };
    quota.declare(spec)?;
    Ok(quota.clone())
}

/// Returns the name of a quota for messages and statistics.
fn name(model: &str, deployment: &Deployment) -> String {
    let row = deployment.provider.row();
    let mut name = row.name.to_owned();
    if !model.is_empty() {
        name = format!("{name}/{model}");
    }
    match row.base_url == &*deployment.base_url {
        true => name,
        false => format!("{name} at {}", deployment.base_url),
    }
}
