//! Which quotas a call needs, and the quotas of this process.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::budget_source::BudgetSource;
use super::settings::{LimitSettings, OwnLimits, Share};
use super::shared_quota::SharedQuota;
use crate::error::Result;
use crate::limits::{QuotaSpec, Snapshot, Time};
use crate::providers::{Deployment, Row};
use crate::transport;
use crate::types::rate_limit::{Signals, WindowSignal};
use crate::types::secret::Secret;
use crate::types::shared::is_same;

/// Number of a client's quotas above which those that no call uses are forgotten: a gateway may have a key for each of its
/// users.
const MAX_KNOWN: usize = 10_000;

/// The quotas of one call, in the order in which they are acquired: a model's own before the one that all models share, so
/// that a model that has to wait holds nothing that others need.
pub(super) type QuotaList = Arc<CallQuotas>;

/// Time between two requests, in nanoseconds, of which the second answer tells nothing new of limits that are not nearly used up.
const SAME_NEWS: u64 = 2_000_000;

/// The quotas of one deployment's calls.
#[derive(Default)]
pub(super) struct CallQuotas {
    list: Vec<Arc<SharedQuota>>,
    /// Time at which the request was admitted whose answer said last that enough is left of all limits.
    enough_at: AtomicU64,
}

impl Deref for CallQuotas {
    type Target = [Arc<SharedQuota>];

    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

impl CallQuotas {
    /// Returns true if the answer to a request that was admitted at this time need not be read for limits: another one of the same
    /// moment said that more than a tenth is left of each. Reading takes 6,000 instructions, a tenth of a call.
    #[inline]
    pub fn is_known(&self, admitted: Time) -> bool {
        (admitted.as_nanos() as u64).abs_diff(self.enough_at.load(Ordering::Relaxed)) < SAME_NEWS
    }

    /// Takes note of what an answer said.
    pub fn read(&self, admitted: Time, signals: &Signals) {
        let is_enough = |window: &WindowSignal| match (window.limit, window.remaining) {
            (_, None) => true,
            (Some(limit), Some(remaining)) => remaining > limit / 10,
            (None, Some(_)) => false,
        };
        if signals.windows.iter().all(is_enough) {
            self.enough_at.store(admitted.as_nanos() as u64, Ordering::Relaxed);
        }
    }
}

/// The quotas of a client's calls.
pub(super) struct Quotas {
    settings: Option<Arc<LimitSettings>>,
    /// Settings of the connection to a store.
    transport: Arc<transport::Settings>,
    hasher: RandomState,
    known: Mutex<Known>,
}

/// The quotas that calls have used.
#[derive(Default)]
struct Known {
    /// By the hash of what identifies them.
    lists: HashMap<u64, QuotaList>,
    /// Those that hold the breakers of deployments, by the hash of what identifies them; `None` where the store had no place.
    breakers: HashMap<u64, Option<Arc<SharedQuota>>>,
    /// Those of recent calls: most calls are like one of the last, and comparing is faster than hashing.
    recent: Vec<Option<Box<Recent>>>,
}

/// Number of recent calls whose quotas are remembered, a power of two.
const RECENT: usize = 128;

/// A deployment whose quotas are remembered, without what is not part of their identity.
struct Recent {
    provider: &'static Row,
    name: String,
    model: Arc<str>,
    base_url: Arc<str>,
    api_key: Option<Secret>,
    settings: Vec<(&'static str, Secret)>,
    list: QuotaList,
}

impl Recent {
    fn new(name: &str, deployment: &Deployment, list: QuotaList) -> Box<Self> {
        let Deployment { provider, model, base_url, api_key, settings, .. } = deployment.clone();
        Box::new(Self { provider: provider.row(), name: name.to_owned(), model, base_url, api_key, settings, list })
    }

    /// Returns the place of a deployment. Calls share the memory of equal names and addresses, but not always of keys.
    fn place(name: &str, deployment: &Deployment) -> usize {
        let key = deployment.api_key.as_ref().and_then(|key| key.expose().as_bytes().last_chunk());
        let key = u64::from_le_bytes(*key.unwrap_or(&[0; 8]));
        let texts = [name, &deployment.model, &deployment.base_url].map(|text| text.as_ptr().addr() as u64);
        // A multiplication by a large odd number mixes the low bits into the high ones.
        let mixed = texts.into_iter().fold(key, |mixed, part| (mixed ^ part).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        (mixed >> 32) as usize % RECENT
    }

    fn is_of(&self, name: &str, deployment: &Deployment) -> bool {
        std::ptr::eq(self.provider, deployment.provider.row())
            && self.name == name
            && is_same(&self.model, &deployment.model)
            && is_same(&self.base_url, &deployment.base_url)
            && self.api_key == deployment.api_key
            && self.settings == deployment.settings
    }
}

impl Quotas {
    pub fn new(settings: Option<Arc<LimitSettings>>, transport: Arc<transport::Settings>) -> Self {
        Self { settings, transport, hasher: RandomState::new(), known: Mutex::default() }
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
        let place = Recent::place(name, deployment);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { lists, recent, .. } = &mut *known;
        if let Some(Some(recent)) = recent.get(place)
            && recent.is_of(name, deployment)
        {
            return Ok(recent.list.clone());
        }
        let list = self.look_up(lists, name, deployment, own)?;
        recent.resize_with(RECENT, || None);
        recent[place] = Some(Recent::new(name, deployment, list.clone()));
        Ok(list)
    }

    /// Returns true if other processes share the quotas.
    pub fn are_shared(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.share != Share::Process)
    }

    /// Returns the quota without limits that holds the breaker of the deployment with this name, for all processes that share
    /// the limits. It is no other's: what is wrong with a deployment may be right with others of its account.
    pub fn breaker(&self, name: &str, deployment: &Deployment) -> Option<Arc<SharedQuota>> {
        let id = Id::Breaker(name, &deployment.model, Account(deployment));
        let key = self.hasher.hash_one(&id);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.breakers.len() >= MAX_KNOWN {
            known.breakers.clear();
        }
        let open = || self.shared(&QuotaSpec::default(), id, || name.to_owned()).ok();
        known.breakers.entry(key).or_insert_with(open).clone()
    }

    #[cold]
    fn look_up(
        &self,
        lists: &mut HashMap<u64, QuotaList>,
        name: &str,
        deployment: &Deployment,
        own: Option<&OwnLimits>,
    ) -> Result<QuotaList> {
        // Only the hash is kept, not the keys of all users of a gateway.
        let key = self.hasher.hash_one(Id::Model(name, &deployment.model, Account(deployment)));
        if let Some(list) = lists.get(&key) {
            return Ok(list.clone());
        }
        if lists.len() >= MAX_KNOWN {
            lists.retain(|_, list| Arc::strong_count(list) > 1);
        }
        let list = self.find(deployment, own)?;
        lists.insert(key, list.clone());
        Ok(list)
    }

    fn find(&self, deployment: &Deployment, own: Option<&OwnLimits>) -> Result<QuotaList> {
        let mut found = Vec::new();
        if let Some(own) = own {
            let id = match own.is_group {
                true => Id::Group(&own.name),
                false => Id::Model(&own.name, &deployment.model, Account(deployment)),
            };
            found.push(self.shared(&own.spec, id, || own.name.clone())?);
        }
        if let Some(settings) = &self.settings {
            let (of_model, of_account) = settings.rules.specs(deployment.provider.row().name, &deployment.model);
            let of_model = of_model.map(|spec| (&*deployment.model, spec));
            for (model, spec) in of_model.into_iter().chain(of_account.map(|spec| ("", spec))) {
                found.push(self.shared(&spec, Id::Model("", model, Account(deployment)), || name(model, deployment))?);
            }
        }
        Ok(Arc::new(CallQuotas { list: found, enough_at: AtomicU64::new(0) }))
    }

    /// Returns the quota that `id` identifies, and declares its limits.
    fn shared(&self, spec: &QuotaSpec, id: Id<'_>, name: impl FnOnce() -> String) -> Result<Arc<SharedQuota>> {
        static REGISTRY: LazyLock<Mutex<Registry>> =
            LazyLock::new(|| Mutex::new(Registry { process: 0, hasher: RandomState::new(), quotas: HashMap::new() }));
        let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        if registry.process != process {
            registry.process = process;
            // The parent's must not even be dropped: they would end tasks of the parent's runtime.
            std::mem::forget(std::mem::take(&mut registry.quotas));
        }
        if registry.quotas.len() >= MAX_KNOWN {
            registry.quotas.retain(|_, quota| Arc::strong_count(quota) > 1);
        }
        let settings = self.settings.as_deref();
        let share = settings.map(|settings| &settings.share).unwrap_or(&Share::Process);
        // Exchanges with a Redis are tasks of one runtime, over a connection with this client's settings of TLS.
        let connection = matches!(share, Share::Redis { .. })
            .then(|| (tokio::runtime::Handle::current().id(), self.transport.tls_fingerprint()));
        let key = registry.hasher.hash_one((&id, share, connection));
        let quota = match registry.quotas.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let source = BudgetSource::open(settings, &self.transport, || id.digest())?;
                entry.insert(Arc::new(SharedQuota::new(name(), spec.bulk_share, source)))
            }
        };
        quota.declare(spec)?;
        Ok(quota.clone())
    }

    /// Returns what `status()` shows of each quota that a call has used, and the time to which its times are relative.
    pub fn snapshots(&self) -> Vec<(String, Snapshot, Time)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<&Arc<SharedQuota>> = known.lists.values().flat_map(|list| list.iter()).collect();
        found.sort_by(|a, b| (&a.name, Arc::as_ptr(a)).cmp(&(&b.name, Arc::as_ptr(b))));
        found.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let snapshot = |quota: &Arc<SharedQuota>| {
            let (snapshot, now) = quota.snapshot()?;
            Some((quota.name.clone(), snapshot, now))
        };
        found.into_iter().filter_map(snapshot).collect()
    }

    /// Ends the pauses and stops of the quotas whose name is or begins with `name`. Returns false if there are none.
    pub fn enable(&self, name: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let named = known.lists.values().flat_map(|list| list.iter()).filter(|quota| quota.name.starts_with(name));
        named.map(|quota| quota.enable()).count() > 0
    }
}

/// Identity of a quota: equal ones are the same quota.
#[derive(Hash)]
enum Id<'a> {
    /// The deployments that name this group.
    Group(&'a str),
    /// A model, or all if its name is empty, at the address and for the account of a deployment; with the name of a quota of
    /// its own, if it has one.
    Model(&'a str, &'a str, Account<'a>),
    /// The breaker of the deployment with this name and model.
    Breaker(&'a str, &'a str, Account<'a>),
}

impl Id<'_> {
    /// Returns a hash that is the same in all processes. Nobody can tell the key from it.
    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let mut add = |part: &str| {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        };
        add("ritellm quota");
        match self {
            Self::Group(name) => ["group", name].into_iter().for_each(add),
            Self::Model(name, model, Account(deployment)) | Self::Breaker(name, model, Account(deployment)) => {
                let kind = if matches!(self, Self::Model(..)) { "model" } else { "breaker" };
                [kind, name, model, deployment.provider.row().name, &deployment.base_url]
                    .into_iter()
                    .for_each(&mut add);
                deployment.api_key.iter().for_each(|key| add(key.expose()));
                for (name, value) in &deployment.settings {
                    add(name);
                    add(value.expose());
                }
            }
        }
        digest.finalize().into()
    }
}

/// The account and the address of a deployment.
struct Account<'a>(&'a Deployment);

impl Hash for Account<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Deployment { provider, base_url, api_key, settings, .. } = self.0;
        (provider.row().name, base_url, api_key, settings).hash(state);
    }
}

/// The quotas of the process, which all of its clients share.
struct Registry {
    /// Process that they belong to. A forked child begins with none: the permits of its parent are not its own.
    process: u32,
    hasher: RandomState,
    quotas: HashMap<u64, Arc<SharedQuota>>,
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
