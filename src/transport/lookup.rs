//! Name lookups, which block a thread for as long as the name servers take.
//!
//! Concurrent lookups of the same name are shared: 600 calls to a name whose server did not respond occupied all 512
//! threads of the runtime, so that nothing else could use one (<https://github.com/hyperium/hyper/issues/3838>).

use std::collections::HashMap;
use std::io::{Error, Result};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{FutureExt, Shared, WeakShared};
use tokio::sync::{Semaphore, watch};

/// Maximum number of concurrent lookups that are awaited.
const MAX_AWAITED: usize = 32;
/// Maximum number of threads in lookups, including those whose result is no longer awaited, since a lookup cannot be
/// cancelled. The runtime has twice as many.
const MAX_THREADS: usize = 256;

/// Result of a lookup, shared by all who await it.
type Found = std::result::Result<Arc<[SocketAddr]>, Arc<Error>>;
/// A lookup that may be shared.
type PendingLookup = Pin<Box<dyn Future<Output = Found> + Send>>;

/// Function that resolves a host name.
type Resolve = dyn Fn(&str) -> Result<Vec<SocketAddr>> + Send + Sync;

/// The lookups of a network thread. The Python module has one such thread, and a forked child has another.
struct Lookups {
    resolve: Box<Resolve>,
    names: Mutex<Names>,
    awaited: Semaphore,
    threads: Arc<Semaphore>,
}

/// Lookups by host name.
#[derive(Default)]
struct Names {
    /// Lookups that are awaited; they may not have a thread yet.
    pending: HashMap<Box<str>, WeakShared<PendingLookup>>,
    /// Lookups that occupy a thread, whether or not they are still awaited.
    running: HashMap<Box<str>, watch::Receiver<Option<Found>>>,
}

thread_local! {
    static LOOKUPS: Arc<Lookups> = Arc::new(Lookups::new(|host| (host, 0).to_socket_addrs().map(Iterator::collect)));
}

/// Returns the addresses of a host, at least one, in the system's order.
///
/// # Errors
///
/// Returns the error of the system, or an error if the name has no address.
pub(super) async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = LOOKUPS.with(Arc::clone).find(host).await;
    // The shared error cannot be cloned, so each caller gets a copy of its kind and message.
    let found = found.map_err(|error| Error::new(error.kind(), error.to_string()))?;
    if found.is_empty() {
        return Err(Error::new(std::io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(found.iter().map(|address| with_port(*address, port)).collect())
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

impl Lookups {
    fn new(resolve: impl Fn(&str) -> Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self {
            resolve: Box::new(resolve),
            names: Mutex::default(),
            awaited: Semaphore::new(MAX_AWAITED),
            threads: Arc::new(Semaphore::new(MAX_THREADS)),
        }
    }

    async fn find(self: Arc<Self>, host: &str) -> Found {
        let joined = {
            let mut names = self.names();
            match names.running.get(host) {
                Some(running) => Err(running.clone()),
                None => Ok(names.lookup(host, || Box::pin(self.clone().run(host.into())))),
            }
        };
        match joined {
            Ok(lookup) => lookup.await,
            Err(running) => result_of(running).await,
        }
    }

    /// Waits for a free thread and for the result of its lookup. Dropped once nobody awaits it: the thread continues,
    /// and its place among the awaited lookups is released.
    async fn run(self: Arc<Self>, host: Box<str>) -> Found {
        let closed = |_| Arc::new(Error::other("look-ups have ended"));
        let _awaited = self.awaited.acquire().await.map_err(closed)?;
        let thread = self.threads.clone().acquire_owned().await.map_err(closed)?;
        let (sender, receiver) = watch::channel(None);
        self.names().running.insert(host.clone(), receiver.clone());
        let lookups = self.clone();
        tokio::task::spawn_blocking(move || {
            let found = (lookups.resolve)(&host).map(Arc::from).map_err(Arc::new);
            lookups.names().running.remove(&host);
            sender.send_replace(Some(found));
            drop(thread);
        });
        result_of(receiver).await
    }

    fn names(&self) -> std::sync::MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    /// Returns the pending lookup of a name, starting it if there is none.
    fn lookup(&mut self, host: &str, begin: impl FnOnce() -> PendingLookup) -> Shared<PendingLookup> {
        if let Some(lookup) = self.pending.get(host).and_then(WeakShared::upgrade) {
            return lookup;
        }
        self.pending.retain(|_, lookup| lookup.upgrade().is_some());
        let lookup = begin().shared();
        if let Some(weak) = lookup.downgrade() {
            self.pending.insert(host.into(), weak);
        }
        lookup
    }
}

async fn result_of(mut receiver: watch::Receiver<Option<Found>>) -> Found {
    let found =
        receiver.wait_for(Option::is_some).await.map_err(|_| Arc::new(Error::other("the look-up broke off")))?;
    found.clone().unwrap_or_else(|| unreachable!("waited for"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Creates lookups that complete when the returned sender is used or dropped, and the list of the names that were
    /// started.
    fn held() -> (Arc<Lookups>, Arc<Mutex<Vec<String>>>, std::sync::mpsc::Sender<()>) {
        let begun: Arc<Mutex<Vec<String>>> = Arc::default();
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let (held, list) = (Mutex::new(held), begun.clone());
        let lookups = Lookups::new(move |host| {
            list.lock().unwrap().push(host.to_owned());
            if host != "quick" {
                let _ = held.lock().unwrap().recv();
            }
            Ok(vec![([127, 0, 0, 1], 0).into()])
        });
        (Arc::new(lookups), begun, let_go)
    }

    #[tokio::test]
    async fn who_looks_up_the_same_name_shares_the_answer() {
        let (lookups, begun, let_go) = held();
        let tasks: Vec<_> = (0..600)
            .map(|_| {
                tokio::spawn({
                    let lookups = lookups.clone();
                    async move { lookups.find("slow").await }
                })
            })
            .collect();
        tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await.unwrap_err();
        drop(let_go);
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap().len(), 1);
        }
        assert_eq!(*begun.lock().unwrap(), ["slow"]);
    }

    #[tokio::test]
    async fn abandoned_look_ups_do_not_hold_up_the_others() {
        let (lookups, begun, let_go) = held();
        let slow = |name: String| {
            let lookups = lookups.clone();
            async move { tokio::time::timeout(Duration::from_millis(20), lookups.find(&name)).await.unwrap_err() }
        };
        // More names than may be awaited at a time, all cancelled, one of them twice.
        futures_util::future::join_all((0..MAX_AWAITED * 3).map(|number| slow(format!("slow{number}")))).await;
        slow("slow0".into()).await;
        assert_eq!(lookups.clone().find("quick").await.unwrap().len(), 1);
        // A later call joins the lookup that is still running.
        let (found, ()) = tokio::join!(lookups.clone().find("slow0"), async { drop(let_go) });
        assert_eq!(found.unwrap().len(), 1);
        assert_eq!(begun.lock().unwrap().iter().filter(|host| *host == "slow0").count(), 1);
    }

    #[tokio::test]
    async fn every_waiter_is_told_of_a_failure() {
        let lookups = Arc::new(Lookups::new(|_| Err(Error::other("no such name"))));
        let (one, other) = tokio::join!(lookups.clone().find("name"), lookups.clone().find("name"));
        assert!(one.unwrap_err().to_string() == "no such name" && other.is_err());
    }
}
