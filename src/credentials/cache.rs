//! What was found, for as long as it is good.
//!
//! One search at a time for the same credentials: when sixty calls begin together, one of them searches and the others
//! wait for it. Credentials are renewed before they expire, by one call, while the others go on with what there is.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::error::{Error, ErrorKind, Result};
use crate::types::credentials::{Credentials, Wanted};

/// How long before its end a credential is renewed.
///
/// Longer than most calls: it is checked by a server when the request arrives, and the clocks may differ. Google's
/// metadata server hands out its old token until some four minutes before the end, so this is not the last try.
const BEFORE_THE_END: Duration = Duration::from_secs(300);
/// The least time between two searches while there is something good, whether the last one succeeded or not; and how
/// often files are read again, which other programs renew without saying so.
const BETWEEN: Duration = Duration::from_secs(60);
/// So many different credentials are kept. Somebody who serves many tenants has more of them than are ever used again.
const MOST: usize = 256;

/// Credentials, and for how long they are good.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub credentials: Credentials,
    pub lasting: Lasting,
}

/// For how long credentials are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lasting {
    /// Until they expire.
    Until(SystemTime),
    /// As long as the file they are in says the same.
    AsFile,
    /// As long as the process runs.
    Forever,
}

impl Lasting {
    /// When to search again, for what was found `now`.
    fn renewal(self, now: SystemTime) -> Option<SystemTime> {
        match self {
            Self::Until(end) => {
                let left = end.duration_since(now).unwrap_or_default();
                Some((now + BETWEEN.min(left / 2)).max(end - BEFORE_THE_END.min(left)))
            }
            Self::AsFile => Some(now + BETWEEN),
            Self::Forever => None,
        }
    }
}

/// All credentials of one client.
#[derive(Default)]
pub(super) struct Cache {
    slots: Mutex<HashMap<Arc<Wanted>, Slot>>,
}

/// A place for one kind of credentials.
#[derive(Clone)]
struct Slot {
    slot: Arc<CacheSlot>,
    used: SystemTime,
}

#[derive(Default)]
struct CacheSlot {
    state: Mutex<State>,
    /// Held by whoever searches.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    cached: Option<CachedCredentials>,
    /// How many searches have failed, and how the last one did.
    failures: u64,
    last_failure: Option<Box<Failure>>,
}

struct CachedCredentials {
    credentials: Credentials,
    end: Option<SystemTime>,
    renewal: Option<SystemTime>,
}

/// What an error says, for the others that waited.
struct Failure {
    kind: ErrorKind,
    message: String,
    status: Option<u16>,
    should_retry: Option<bool>,
}

impl Cache {
    /// The credentials at hand, or what `search` finds.
    pub async fn get(
        &self,
        wanted: &Arc<Wanted>,
        now: impl Fn() -> SystemTime,
        search: impl Future<Output = Result<Found>>,
    ) -> Result<Credentials> {
        let slot = self.slot(wanted, now());
        let (at_hand, failures) = {
            let state = slot.lock();
            (state.look(now()), state.failures)
        };
        let _turn = match at_hand {
            AtHand::Fresh(credentials) => return Ok(credentials),
            AtHand::ToRenew(credentials) => match slot.turn.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(credentials),
            },
            AtHand::Nothing => slot.turn.lock().await,
        };
        // Somebody may have searched while this call waited for its turn.
        {
            let state = slot.lock();
            match (state.look(now()), &state.last_failure) {
                (AtHand::Fresh(credentials), _) => return Ok(credentials),
                (AtHand::Nothing, Some(failure)) if state.failures != failures => return Err(failure.error()),
                _ => {}
            }
        }
        let found = search.await;
        let mut state = slot.lock();
        let now = now();
        match found {
            Ok(Found { credentials, lasting }) => {
                let end = if let Lasting::Until(end) = lasting { Some(end) } else { None };
                state.cached =
                    Some(CachedCredentials { credentials: credentials.clone(), end, renewal: lasting.renewal(now) });
                state.last_failure = None;
                Ok(credentials)
            }
            Err(error) => match &mut state.cached {
                // What there is outlives a server that does not answer for a while.
                Some(cached) if cached.is_good(now) => {
                    cached.renewal = Some(now + BETWEEN);
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

    fn slot(&self, wanted: &Arc<Wanted>, now: SystemTime) -> Arc<CacheSlot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get_mut(wanted) {
            slot.used = now;
            return slot.slot.clone();
        }
        if slots.len() >= MOST
            && let Some(oldest) = slots.iter().min_by_key(|(_, slot)| slot.used).map(|(wanted, _)| wanted.clone())
        {
            slots.remove(&oldest);
        }
        let slot = Arc::new(CacheSlot::default());
        slots.insert(wanted.clone(), Slot { slot: slot.clone(), used: now });
        slot
    }
}

enum AtHand {
    Fresh(Credentials),
    /// Good still, and due for renewal.
    ToRenew(Credentials),
    Nothing,
}

impl CacheSlot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn look(&self, now: SystemTime) -> AtHand {
        match &self.cached {
            Some(cached) if !cached.is_good(now) => AtHand::Nothing,
            Some(cached) if cached.renewal.is_some_and(|renewal| now >= renewal) => {
                AtHand::ToRenew(cached.credentials.clone())
            }
            Some(cached) => AtHand::Fresh(cached.credentials.clone()),
            None => AtHand::Nothing,
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

    fn wanted(home: &str) -> Arc<Wanted> {
        Arc::new(Wanted::new(Kind::Google, vec![("HOME", Secret::new(home))]))
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn found(token: &str, lasting: Lasting) -> Found {
        let google = Google { token: Secret::new(token), project: None, quota_project: None };
        Found { credentials: Credentials::Google(Arc::new(google)), lasting }
    }

    fn token(credentials: Result<Credentials>) -> String {
        credentials.unwrap().secrets().next().unwrap().expose().to_owned()
    }

    #[test]
    fn renewal_comes_before_the_end() {
        let hour = Lasting::Until(at(3600)).renewal(at(0));
        assert_eq!(hour, Some(at(3300)));
        // Google's metadata server may give a token that has four minutes left: asking again at once would be a storm.
        assert_eq!(Lasting::Until(at(240)).renewal(at(0)), Some(at(60)));
        assert_eq!(Lasting::Until(at(20)).renewal(at(0)), Some(at(10)));
        assert_eq!(Lasting::Until(at(0)).renewal(at(10)), Some(at(10)));
        assert_eq!(Lasting::AsFile.renewal(at(0)), Some(at(60)));
        assert_eq!(Lasting::Forever.renewal(at(0)), None);
    }

    #[tokio::test]
    async fn a_credential_is_found_once_renewed_in_time_and_outlives_a_failure() {
        let (cache, wanted) = (Cache::default(), wanted("/h"));
        let get = |seconds, search: Result<Found>| cache.get(&wanted, move || at(seconds), async { search });
        let failed = || Err(Error::connection("away"));
        assert_eq!(token(get(0, Ok(found("a", Lasting::Until(at(3600))))).await), "a");
        assert_eq!(token(get(3299, failed()).await), "a");
        // The search fails, and what there is is good for five minutes more; the next search comes a minute later.
        assert_eq!(token(get(3300, failed()).await), "a");
        assert_eq!(token(get(3301, Ok(found("b", Lasting::Forever))).await), "a");
        assert_eq!(token(get(3361, Ok(found("c", Lasting::Until(at(7000))))).await), "c");
        assert!(get(7001, failed()).await.is_err());
        assert_eq!(token(get(7001, Ok(found("d", Lasting::Forever))).await), "d");
    }

    #[tokio::test]
    async fn calls_that_begin_together_search_once_and_fail_together() {
        let (cache, wanted, searches) = (Cache::default(), wanted("/h"), AtomicU64::new(0));
        let (cache, wanted, searches) = (&cache, &wanted, &searches);
        let get = |fails: bool| {
            cache.get(wanted, || at(0), async move {
                searches.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                if fails { Err(Error::connection("away")) } else { Ok(found("a", Lasting::Forever)) }
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
        let (cache, wanted) = (Cache::default(), wanted("/h"));
        let hung = cache.get(&wanted, || at(0), std::future::pending());
        assert!(tokio::time::timeout(Duration::from_millis(10), hung).await.is_err());
        assert_eq!(token(cache.get(&wanted, || at(0), async { Ok(found("a", Lasting::Forever)) }).await), "a");
    }

    #[tokio::test]
    async fn only_so_many_are_kept() {
        let cache = Cache::default();
        for tenant in 0..2 * MOST as u64 {
            let search = async { Ok(found("a", Lasting::Forever)) };
            cache.get(&wanted(&tenant.to_string()), || at(tenant), search).await.unwrap();
        }
        let slots = cache.slots.lock().unwrap();
        assert_eq!(slots.len(), MOST);
        assert!(slots.contains_key(&wanted(&(2 * MOST - 1).to_string())) && !slots.contains_key(&wanted("0")));
    }
}
