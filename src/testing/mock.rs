//! A server with a script.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::connection::{Action, Responder, Response};
use super::script::{Answered, Request, Script};
use super::server::Server;
use crate::providers::mock::asked;
use crate::transport::detour::{Link, let_through};

pub use super::connection::Received;
pub use super::reply::{End, Latency};
pub use super::window::Rule;

/// A server that stands for the providers.
pub struct MockServer {
    shared: Arc<Shared>,
    server: Option<Server>,
    port: u16,
}

/// A request that the server has received.
#[derive(Debug, Clone)]
pub struct Logged {
    /// The request.
    pub received: Received,
    /// Time since the server began.
    pub at: Duration,
}

struct Shared {
    state: Mutex<State>,
    began: Instant,
}

struct State {
    script: Script,
    log: VecDeque<Logged>,
    /// Maximum length of `log`.
    keep: usize,
    /// Number of requests.
    number: u64,
}

impl MockServer {
    /// Starts a server that keeps the last `keep` requests; port 0 is any free one. `prepare` runs first on its thread.
    ///
    /// # Errors
    ///
    /// The port is taken, or there is no thread or no descriptor for it.
    pub fn start(port: u16, keep: usize, prepare: fn()) -> io::Result<Self> {
        let state = State { script: Script::default(), log: VecDeque::new(), keep, number: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), began: Instant::now() });
        let server = Server::start(port, Arc::new(shared.clone()), prepare)?;
        let_through(server.port(), true);
        Ok(Self { shared, port: server.port(), server: Some(server) })
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the script.
    pub fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.shared.lock().script)
    }

    /// Returns the requests so far, the oldest first.
    pub fn requests(&self) -> Vec<Logged> {
        self.shared.lock().log.iter().cloned().collect()
    }

    /// Returns the number of all requests so far.
    pub fn count(&self) -> u64 {
        self.shared.lock().number
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.shared.lock().log.clear();
    }

    /// Closes the port and all connections. A closed server is closed again without effect.
    pub fn close(&mut self) {
        if self.server.take().is_some() {
            let_through(self.port, false);
        }
    }
}

impl Drop for MockServer {
    fn drop(&mut self) {
        self.close();
    }
}

impl Logged {
    /// Returns the name of the endpoint and of the model, if the server knows the endpoint.
    pub fn asked(&self) -> Option<(&'static str, String)> {
        let body = serde_json::from_slice(&self.received.body).unwrap_or_default();
        let asked = asked(split(&self.received.head.target).1, &body, 0)?;
        Some((asked.endpoint(), asked.model))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn log(&mut self, received: &Received, at: Duration) -> u64 {
        self.number += 1;
        if self.keep > 0 {
            if self.log.len() >= self.keep {
                self.log.pop_front();
            }
            self.log.push_back(Logged { received: received.clone(), at });
        }
        self.number
    }
}

/// The end of a request that counts as one in flight.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.lock().script.finish();
    }
}

/// A responder is shared with the guards of its requests, so it is the `Arc` that implements the trait.
impl Responder for Arc<Shared> {
    fn respond(&self, received: Received, _: Link) -> Action {
        let now = self.began.elapsed();
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let (host, path) = split(&received.head.target);
        let state = &mut *self.lock();
        let number = state.log(&received, now);
        let Answered { mut reply, version, is_counted } =
            state.script.answer(&Request { path, host, body: &received.body, number }, now, unix);
        reply.stamp(number);
        let guard = is_counted.then(|| Box::new(Counted(self.clone())) as Box<dyn Send>);
        Action::Respond(Response { reply, key: version, guard })
    }

    fn repeated(&self, key: u64, received: &Received) -> Option<u64> {
        let state = &mut *self.lock();
        (state.script.version() == key).then(|| state.log(received, self.began.elapsed()))
    }
}

/// Splits a request's target into the host, if it is a whole URL, and the path.
fn split(target: &str) -> (Option<&str>, &str) {
    let Some((_, rest)) = target.split_once("://").filter(|_| !target.starts_with('/')) else { return (None, target) };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    (rest[..end].rsplit_once(':').map_or(Some(&rest[..end]), |(host, _)| Some(host)), &rest[end..])
}
