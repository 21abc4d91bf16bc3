//! Cache of credentials until they expire.
//!
//! Only one lookup runs at a time for the same credentials: when sixty calls begin together, one of them performs the
//! lookup and the others await it. Credentials are renewed before they expire, by one call, while other calls continue
//! with the cached ones.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::error::{Error, ErrorKind, Result};
use crate::types::credentials::{CredentialSource, Credentials};

/// Time before its expiry at which a credential is renewed.
///
/// Longer than most calls, since a server checks a credential when the request arrives, and clocks may differ. Google's
/// metadata server returns the old token until about four minutes before its expiry, so this must not be the only
/// attempt.
const RENEWAL_MARGIN: Duration = Duration::from_secs(300);
/// Minimum time between two lookups while cached credentials are valid, whether the last one succeeded or not; and the
/// interval at which files are read again, which other programs renew without notice.
const MIN_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of cached credentials: a server of many tenants has more of them than are ever used again.
const MAX_ENTRIES: usize = 256;

/// Result of a lookup: credentials and their validity.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub credentials: Credentials,
    pub validity: Validity,
}

/// Validity of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Validity {
    /// Valid until this time.
    Until(SystemTime),
    /// Valid as long as the file that they were read from is unchanged.
    AsFile,
    /// Valid for the lifetime of the process.
    Forever,
}

impl Validity {
    /// Returns the time of the next lookup for credentials that were found at `now`.
    fn renewal(self, now: SystemTime) -> Option<SystemTime> {
        match self {
            Self::Until(end) => {
                let left = end.duration_since(now).unwrap_or_default();
                Some((now + MIN_INTERVAL.min(left / 2)).max(end - RENEWAL_MARGIN.min(left)))
            }
            Self::AsFile => Some(now + MIN_INTERVAL),
            Self::Forever => None,
        }
    }
}

/// The cached credentials of one client.
#[derive(Default)]
pub(super) struct Cache {
    entries: Mutex<HashMap<Arc<CredentialSource>, Entry>>,
}

/// A cache entry and the time of its last use.
#[derive(Clone)]
struct Entry {
    slot: Arc<CacheSlot>,
    used: SystemTime,
}

/// Cached credentials of one source, and the lock of their lookup.
#[derive(Default)]
struct CacheSlot {
    state: Mutex<State>,
    /// Held by the call that performs the lookup.
    lookup_lock: tokio::sync::Mutex<()>,
}

/// Result of the last lookup.
#[derive(Default)]
struct State {
    cached: Option<CachedCredentials>,
    /// Number of failed lookups; waiting calls compare it to learn that the lookup they waited for has failed.
    failures: u64,
    /// Error of the last failed lookup.
    last_failure: Option<Box<Failure>>,
}

/// Credentials with the times of their expiry and next renewal.
struct CachedCredentials {
    credentials: Credentials,
    end: Option<SystemTime>,
    renewal: Option<SystemTime>,
}

/// The parts of an error that are reported to the calls that waited for the same lookup.
struct Failure {
    kind: ErrorKind,
    message: String,
    status: Option<u16>,
    should_retry: Option<bool>,
}

impl Cache {
    /// Returns the cached credentials, or the result of `search`.
    ///
    /// # Errors
    ///
    /// Returns the error of `search`, its own or that of the call it waited for, unless cached credentials are still
    /// valid.
    pub async fn get(
        &self,
        source: &Arc<CredentialSource>,
        now: impl Fn() -> SystemTime,
        search: impl Future<Output = Result<Found>>,
    ) -> Result<Credentials> {
        let slot = self.slot(source, now());
        let (cached, failures) = {
            let state = slot.lock();
            (state.lookup(now()), state.failures)
        };
        let _guard = match cached {
            Lookup::Fresh(credentials) => return Ok(credentials),
            Lookup::ToRenew(credentials) => match slot.lookup_lock.try_lock() {
                Ok(guard) => guard,
                Err(_) => return Ok(credentials),
            },
            Lookup::Nothing => slot.lookup_lock.lock().await,
        };
        // Another call may have completed the lookup while this one waited for the lock.
        {
            let state = slot.lock();
            match (state.lookup(now()), &state.last_failure) {
                (Lookup::Fresh(credentials), _) => return Ok(credentials),
                (Lookup::Nothing, Some(failure)) if state.failures != failures => return Err(failure.error()),
                _ => {}
            }
        }
        let found = search.await;
        let mut state = slot.lock();
        let now = now();
        match found {
            Ok(Found { credentials, validity }) => {
                let end = if let Validity::Until(end) = validity { Some(end) } else { None };
                state.cached =
                    Some(CachedCredentials { credentials: credentials.clone(), end, renewal: validity.renewal(now) });
                state.last_failure = None;
                Ok(credentials)
            }
            Err(error) => match &mut state.cached {
                // Valid credentials are kept while a server does not respond for some time.
                Some(cached) if cached.is_good(now) => {
                    cached.renewal = Some(now + MIN_INTERVAL);
                    Ok(cached.credentials.clone())
                }
                _ => {
                    state.failures += 1;
                    state.last_failure = Some(Box::new(Failure::of(&error)));
                    Err(error)
                }
            },
        }
    }

    fn slot(&self, source: &Arc<CredentialSource>, now: SystemTime) -> Arc<CacheSlot> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(source) {
            entry.used = now;
            return entry.slot.clone();
        }
        if entries.len() >= MAX_ENTRIES
            && let Some(oldest) = entries.iter().min_by_key(|(_, entry)| entry.used).map(|(source, _)| source.clone())
        {
            entries.remove(&oldest);
        }
        let slot = Arc::new(CacheSlot::default());
        entries.insert(source.clone(), Entry { slot: slot.clone(), used: now });
        slot
    }
}

/// State of the cached credentials at a given time.
enum Lookup {
    Fresh(Credentials),
    /// Still valid, and due for renewal.
    ToRenew(Credentials),
    Nothing,
}

impl CacheSlot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lookup(&self, now: SystemTime) -> Lookup {
        match &self.cached {
            Some(cached) if !cached.is_good(now) => Lookup::Nothing,
            Some(cached) if cached.renewal.is_some_and(|renewal| now >= renewal) => {
                Lookup::ToRenew(cached.credentials.clone())
            }
            Some(cached) => Lookup::Fresh(cached.credentials.clone()),
            None => Lookup::Nothing,
        }
    }
}

impl CachedCredentials {
    fn is_good(&self, now: SystemTime) -> bool {
        self.end.is_none_or(|end| now < end)
    }
}

impl Failure {
    fn of(error: &Error) -> Self {
        Self {
            kind: error.kind,
            message: error.message.clone(),
            status: error.status,
            should_retry: error.should_retry,
        }
    }

    fn error(&self) -> Box<Error> {
        let mut error = Error::new(self.kind, self.message.clone());
        error.status = self.status;
        error.should_retry = self.should_retry;
        error
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::types::credentials::{Google, Kind};
    use crate::types::secret::Secret;

    fn source(home: &str) -> Arc<CredentialSource> {
        Arc::new(CredentialSource::new(Kind::Google, vec![("HOME", Secret::new(home))]))
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn found(token: &str, validity: Validity) -> Found {
        let google = Google { token: Secret::new(token), project: None, quota_project: None };
        Found { credentials: Credentials::Google(Arc::new(google)), validity }
    }

    fn token(credentials: Result<Credentials>) -> String {
        credentials.unwrap().secrets().next().unwrap().expose().to_owned()
    }

    #[test]
    fn renewal_comes_before_the_end() {
        let hour = Validity::Until(at(3600)).renewal(at(0));
        assert_eq!(hour, Some(at(3300)));
        // Google's metadata server may return a token with four minutes left, which must not be requested again at
        // once.
        assert_eq!(Validity::Until(at(240)).renewal(at(0)), Some(at(60)));
        assert_eq!(Validity::Until(at(20)).renewal(at(0)), Some(at(10)));
        assert_eq!(Validity::Until(at(0)).renewal(at(10)), Some(at(10)));
        assert_eq!(Validity::AsFile.renewal(at(0)), Some(at(60)));
        assert_eq!(Validity::Forever.renewal(at(0)), None);
    }

    #[tokio::test]
    async fn a_credential_is_found_once_renewed_in_time_and_outlives_a_failure() {
        let (cache, source) = (Cache::default(), source("/h"));
        let get = |seconds, search: Result<Found>| cache.get(&source, move || at(seconds), async { search });
        let failed = || Err(Error::connection("away"));
        assert_eq!(token(get(0, Ok(found("a", Validity::Until(at(3600))))).await), "a");
        assert_eq!(token(get(3299, failed()).await), "a");
        // The search fails, and the cached token is valid for five more minutes; the next search is a minute later.
        assert_eq!(token(get(3300, failed()).await), "a");
        assert_eq!(token(get(3301, Ok(found("b", Validity::Forever))).await), "a");
        assert_eq!(token(get(3361, Ok(found("c", Validity::Until(at(7000))))).await), "c");
        assert!(get(7001, failed()).await.is_err());
        assert_eq!(token(get(7001, Ok(found("d", Validity::Forever))).await), "d");
    }

    #[tokio::test]
    async fn calls_that_begin_together_search_once_and_fail_together() {
        let (cache, source, searches) = (Cache::default(), source("/h"), AtomicU64::new(0));
        let (cache, source, searches) = (&cache, &source, &searches);
        let get = |fails: bool| {
            cache.get(source, || at(0), async move {
                searches.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                if fails { Err(Error::connection("away")) } else { Ok(found("a", Validity::Forever)) }
            })
        };
        let (first, second, third) = tokio::join!(get(true), get(true), get(true));
        assert!(first.is_err() && second.is_err() && third.is_err());
        assert_eq!(searches.swap(0, Ordering::Relaxed), 1);
        let (first, second, third) = tokio::join!(get(false), get(false), get(false));
        assert!(first.is_ok() && second.is_ok() && third.is_ok());
        assert_eq!(searches.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_search_that_is_given_up_leaves_its_turn_to_the_next() {
        let (cache, source) = (Cache::default(), source("/h"));
        let hung = cache.get(&source, || at(0), std::future::pending());
        assert!(tokio::time::timeout(Duration::from_millis(10), hung).await.is_err());
        assert_eq!(token(cache.get(&source, || at(0), async { Ok(found("a", Validity::Forever)) }).await), "a");
    }

    #[tokio::test]
    async fn only_so_many_are_kept() {
        let cache = Cache::default();
        for tenant in 0..2 * MAX_ENTRIES as u64 {
            let search = async { Ok(found("a", Validity::Forever)) };
            cache.get(&source(&tenant.to_string()), || at(tenant), search).await.unwrap();
        }
        let entries = cache.entries.lock().unwrap();
        assert_eq!(entries.len(), MAX_ENTRIES);
        assert!(
            entries.contains_key(&source(&(2 * MAX_ENTRIES - 1).to_string())) && !entries.contains_key(&source("0"))
        );
    }
}
