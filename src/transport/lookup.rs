//! Looking up a host's addresses, which blocks a thread for as long as name servers take.
//!
//! Calls that look up the same name at the same time share one look-up: 600 calls to a name whose server was silent
//! occupied all 512 threads of the runtime, so that nothing else got one (<https://github.com/hyperium/hyper/issues/3838>).

use std::collections::HashMap;
use std::io::{Error, Result};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{FutureExt, Shared, WeakShared};
use tokio::sync::{Semaphore, watch};

/// Names that somebody waits for are looked up this many at a time.
const WANTED: usize = 32;
/// So many threads look something up at a time, those included whose answer nobody waits for any more: a look-up cannot
/// be ended. The runtime has twice as many.
const THREADS: usize = 256;

/// What came of a look-up, for all who waited for it.
type Found = std::result::Result<Arc<[SocketAddr]>, Arc<Error>>;
type Flight = Pin<Box<dyn Future<Output = Found> + Send>>;

type LookUp = dyn Fn(&str) -> Result<Vec<SocketAddr>> + Send + Sync;

/// The look-ups of a thread that connects. The Python module has one such thread, and a forked child another.
struct Lookups {
    look_up: Box<LookUp>,
    names: Mutex<Names>,
    wanted: Semaphore,
    threads: Arc<Semaphore>,
}

#[derive(Default)]
struct Names {
    /// Somebody waits for these; they may not have a thread yet.
    flights: HashMap<Box<str>, WeakShared<Flight>>,
    /// A thread is busy with these.
    running: HashMap<Box<str>, watch::Receiver<Option<Found>>>,
}

thread_local! {
    static LOOKUPS: Arc<Lookups> = Arc::new(Lookups::new(|host| (host, 0).to_socket_addrs().map(Iterator::collect)));
}

/// The addresses of a host, at least one, in the system's order.
///
/// # Errors
///
/// What the system says, or that the name has no address.
pub(super) async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = LOOKUPS.with(Arc::clone).find(host).await;
    // The error is shared by all who waited, and is told to each.
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
    fn new(look_up: impl Fn(&str) -> Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self {
            look_up: Box::new(look_up),
            names: Mutex::default(),
            wanted: Semaphore::new(WANTED),
            threads: Arc::new(Semaphore::new(THREADS)),
        }
    }

    async fn find(self: Arc<Self>, host: &str) -> Found {
        let joined = {
            let mut names = self.names();
            match names.running.get(host) {
                Some(running) => Err(running.clone()),
                None => Ok(names.flight(host, || Box::pin(self.clone().fly(host.into())))),
            }
        };
        match joined {
            Ok(flight) => flight.await,
            Err(running) => landed(running).await,
        }
    }

    /// Waits for a thread's turn, and for what it finds. Dropped once nobody waits any more: the thread goes on, and its
    /// turn is another's.
    async fn fly(self: Arc<Self>, host: Box<str>) -> Found {
        let closed = |_| Arc::new(Error::other("look-ups have ended"));
        let _wanted = self.wanted.acquire().await.map_err(closed)?;
        let thread = self.threads.clone().acquire_owned().await.map_err(closed)?;
        let (tell, told) = watch::channel(None);
        self.names().running.insert(host.clone(), told.clone());
        let lookups = self.clone();
        tokio::task::spawn_blocking(move || {
            let found = (lookups.look_up)(&host).map(Arc::from).map_err(Arc::new);
            lookups.names().running.remove(&host);
            tell.send_replace(Some(found));
            drop(thread);
        });
        landed(told).await
    }

    fn names(&self) -> std::sync::MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    /// The flight to a name, which is begun if there is none.
    fn flight(&mut self, host: &str, begin: impl FnOnce() -> Flight) -> Shared<Flight> {
        if let Some(flight) = self.flights.get(host).and_then(WeakShared::upgrade) {
            return flight;
        }
        self.flights.retain(|_, flight| flight.upgrade().is_some());
        let flight = begin().shared();
        if let Some(weak) = flight.downgrade() {
            self.flights.insert(host.into(), weak);
        }
        flight
    }
}

async fn landed(mut told: watch::Receiver<Option<Found>>) -> Found {
    let found = told.wait_for(Option::is_some).await.map_err(|_| Arc::new(Error::other("the look-up broke off")))?;
    found.clone().unwrap_or_else(|| unreachable!("waited for"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Look-ups that find something once they are let go; those that were begun.
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
        // More names than threads may be waited for, all given up; one of them twice.
        futures_util::future::join_all((0..WANTED * 3).map(|number| slow(format!("slow{number}")))).await;
        slow("slow0".into()).await;
        assert_eq!(lookups.clone().find("quick").await.unwrap().len(), 1);
        // Whoever comes back finds the look-up that goes on.
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
