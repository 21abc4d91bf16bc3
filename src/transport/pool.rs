//! Connection pool: selects a connection for each request, and opens new ones.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::Uri;
use tokio::task::JoinHandle;

use super::connect::{Connector, EXHAUSTED};
use super::deadline::within;
use super::descriptors::{self, Descriptors};
use super::limiter::{ConnectionLimiter, ConnectionPermit};
use super::origin::Origin;
use super::registry::Registry;
use super::{ConnectionStats, SendOptions, Settings, http1, http2};
use crate::error::{Error, Result};

/// Time after which an idle connection is closed; many load balancers close theirs after 60 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(55);
/// Interval at which the idle connections of a host are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Time that all HTTP/2 connections of a closed pool have to send GOAWAY to servers that may not read.
const GOAWAY_TIMEOUT: Duration = Duration::from_secs(1);

/// All connections of one client.
pub(super) struct Pool {
    connector: Connector,
    hosts: Arc<Mutex<Hosts>>,
    /// True if connections are no longer pooled.
    closed: AtomicBool,
    max_connections: Option<usize>,
    max_head: usize,
}

/// The hosts of the clients of this process.
static POOLS: Mutex<Registry<Mutex<Hosts>>> = Mutex::new(Registry::new());

/// Has the next request of every client open a connection. Connections with a request are closed at its end.
pub(super) fn forget_connections() {
    // A forked child leaves those of its parent alone: to close one of their connections would take it out of the parent's
    // `epoll` as well, and their locks may be held by threads that the child does not have.
    let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner).alive(std::process::id());
    for hosts in pools {
        let hosts = std::mem::take(&mut *hosts.lock().unwrap_or_else(PoisonError::into_inner));
        for host in hosts.by_origin.values() {
            let closed = {
                let connections = &mut *host.lock();
                connections.closed = true;
                (std::mem::take(&mut connections.idle), std::mem::take(&mut connections.http2))
            };
            drop(closed);
        }
    }
}

/// The hosts of a client, by origin.
#[derive(Default)]
struct Hosts {
    by_origin: HashMap<Origin, Arc<Host>>,
    /// The host that was used last and its URI: most programs call only one host.
    recent: Option<(Uri, Arc<Host>)>,
}

/// The connections to one origin.
struct Host {
    origin: Origin,
    connections: Mutex<Connections>,
    /// Held while a connection is opened whose HTTP version is unknown, or that other requests may share: a burst of
    /// calls to an HTTP/2 server should share connections rather than open one each.
    opening: tokio::sync::Mutex<()>,
    limiter: Arc<ConnectionLimiter>,
}

/// State of the connections to one origin.
#[derive(Default)]
struct Connections {
    /// Idle HTTP/1.1 connections, the most recently used one at the end.
    idle: Vec<Idle>,
    http2: Vec<Shared>,
    speaks_http1: bool,
    /// True if a maintenance task is running.
    maintained: bool,
    /// True if the pool is closed: a connection is closed after its current request.
    closed: bool,
    /// Tasks of a closed pool's HTTP/2 connections that may not have ended.
    ending: Vec<JoinHandle<()>>,
}

/// A pooled HTTP/2 connection.
struct Shared {
    connection: http2::Connection,
    /// The task that drives the connection, and ends with it.
    task: JoinHandle<()>,
    /// Number of requests served when the connection was last found idle, and the time at which it was first found so.
    idle: Option<(usize, Instant)>,
}

/// An idle HTTP/1.1 connection.
struct Idle {
    connection: Box<http1::Connection>,
    permit: ConnectionPermit,
    since: Instant,
}

/// Requirements of a request for a connection.
pub(super) struct LeaseOptions<'a> {
    pub uri: &'a Uri,
    pub options: SendOptions<'a>,
    /// True if the connection must not have carried a request before.
    pub fresh: bool,
}

/// A connection for one request.
pub(super) struct Lease {
    pub connection: Connection,
    /// True if the connection has carried a request before.
    pub reused: bool,
}

/// A connection of either HTTP version.
pub(super) enum Connection {
    Http1(PooledConnection),
    Http2(http2::Connection, http2::StreamSlot),
}

/// An HTTP/1.1 connection that is returned to the pool with [`release`](Self::release).
pub(super) struct PooledConnection {
    pub connection: Box<http1::Connection>,
    host: Arc<Host>,
    permit: ConnectionPermit,
}

/// Result of waiting for admission: a connection, or permission to open one.
enum Admitted {
    Lease(Lease),
    ConnectionPermit(ConnectionPermit),
}

impl Pool {
    /// Creates an empty pool.
    pub fn new(settings: &Arc<Settings>) -> Self {
        let hosts = Arc::default();
        POOLS.lock().unwrap_or_else(PoisonError::into_inner).add(std::process::id(), &hosts);
        Self {
            connector: Connector::new(settings),
            hosts,
            closed: AtomicBool::new(false),
            max_connections: settings.max_connections,
            max_head: settings.max_header,
        }
    }

    /// Returns an idle connection, unless a fresh one is required, or opens a new one.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection cannot be made, or the `connect` or `queue` timeout passes.
    pub async fn lease(&self, request: LeaseOptions<'_>) -> Result<Lease> {
        let host = self.host(request.uri)?;
        if !request.fresh
            && !host.limiter.has_waiters()
            && let Some(lease) = host.idle_connection()
        {
            return Ok(lease);
        }
        // Boxed: opening is rare, and its future of some kilobytes would be part of every call in flight.
        Box::pin(self.open(host, request)).await
    }

    /// Returns the connector that opens connections.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Returns the number of idle connections counted by these statistics.
    pub fn idle(&self, connection_stats: &Arc<ConnectionStats>) -> usize {
        let hosts = self.all_hosts();
        let idle = |host: &Arc<Host>| {
            let mut connections = host.lock();
            let http1 = connections
                .idle
                .iter()
                .filter(|idle| Arc::ptr_eq(idle.connection.connection_stats(), connection_stats));
            let http1 = http1.count();
            http1
                + connections
                    .http2
                    .iter_mut()
                    .map(|shared| usize::from(shared.connection.is_idle_of(connection_stats)))
                    .sum::<usize>()
        };
        hosts.iter().map(idle).sum()
    }

    /// Closes the idle connections and stops pooling: every other connection is closed when its response has been read.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        for host in self.all_hosts() {
            let closed = {
                let connections = &mut *host.lock();
                connections.closed = true;
                connections.ending.extend(connections.http2.drain(..).map(|shared| shared.task));
                std::mem::take(&mut connections.idle)
            };
            drop(closed);
            // Wakes the maintenance task, which ends as there is nothing left.
            host.limiter.descriptors().request_cleanup();
        }
    }

    /// Waits until the idle HTTP/2 connections of a closed pool have ended. A connection whose server does not read
    /// GOAWAY is dropped after [`GOAWAY_TIMEOUT`].
    pub async fn ended(&self) {
        let end = tokio::time::Instant::now() + GOAWAY_TIMEOUT;
        for host in self.all_hosts() {
            let ending = std::mem::take(&mut host.lock().ending);
            for mut task in ending {
                if tokio::time::timeout_at(end, &mut task).await.is_err() {
                    task.abort();
                    drop(task.await);
                }
            }
        }
    }

    fn all_hosts(&self) -> Vec<Arc<Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).by_origin.values().cloned().collect()
    }

    fn host(&self, uri: &Uri) -> Result<Arc<Host>> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, host)) = &hosts.recent
            && known.authority().map(|authority| authority.as_str())
                == uri.authority().map(|authority| authority.as_str())
            && known.scheme() == uri.scheme()
        {
            return Ok(host.clone());
        }
        let host = |origin: &Origin| {
            let host = Host::new(origin.clone(), self.max_connections);
            host.lock().closed = self.closed.load(Ordering::Relaxed);
            Arc::new(host)
        };
        let host = hosts.by_origin.entry(Origin::of(uri)?).or_insert_with_key(host).clone();
        hosts.recent = Some((uri.clone(), host.clone()));
        Ok(host)
    }

    /// Opens a connection, or returns one that has become idle meanwhile. If the process has no file descriptor left,
    /// the call waits in the queue until there is one.
    async fn open(&self, host: Arc<Host>, request: LeaseOptions<'_>) -> Result<Lease> {
        let LeaseOptions { options, fresh, .. } = request;
        let what = format!("connecting to {}", host.origin);
        loop {
            let permit = match host.admitted(&request).await? {
                Admitted::Lease(lease) => return Ok(lease),
                Admitted::ConnectionPermit(permit) => permit,
            };
            let opening = pin!(self.open_one(&host, options, fresh, permit));
            match within(options.timeouts.connect, &what, opening).await {
                Err(error) if error.code.as_deref() == Some(EXHAUSTED) || descriptors::is_exhausted() => {
                    host.limiter.descriptors().mark_exhausted();
                }
                done => return done,
            }
        }
    }

    async fn open_one(
        &self,
        host: &Arc<Host>,
        options: SendOptions<'_>,
        fresh: bool,
        mut permit: ConnectionPermit,
    ) -> Result<Lease> {
        let origin = &host.origin;
        let opening = match origin.is_https() && !host.lock().speaks_http1 {
            true => Some(host.opening.lock().await),
            false => None,
        };
        if opening.is_some()
            && !fresh
            && let Some(lease) = host.idle_connection()
        {
            return Ok(lease);
        }
        let connected = self.connector.connect(origin, options.time_to_connect(), options.connection_stats).await?;
        permit.open();
        let connection = if connected.http2 {
            let opened =
                http2::Connection::open(connected.io, origin, self.max_head, permit, host.limiter.clone()).await?;
            let mut connections = host.lock();
            if connections.closed {
                connections.ending.push(opened.2);
            } else {
                connections.http2.push(Shared { connection: opened.0.clone(), task: opened.2, idle: None });
                host.maintain(&mut connections);
            }
            drop(connections);
            // The next waiting request can use the new connection as well.
            host.limiter.notify();
            Connection::Http2(opened.0, opened.1)
        } else {
            host.lock().speaks_http1 = true;
            let connection = Box::new(http1::Connection::new(connected.io, connected.target, self.max_head));
            Connection::Http1(PooledConnection { connection, host: host.clone(), permit })
        };
        Ok(Lease { connection, reused: false })
    }
}

impl Host {
    fn new(origin: Origin, max_connections: Option<usize>) -> Self {
        let limiter = Arc::new(ConnectionLimiter::new(max_connections, Descriptors::of_this_thread()));
        Self { origin, connections: Mutex::default(), opening: tokio::sync::Mutex::default(), limiter }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an idle connection or permission to open one, and waits in the queue for either.
    async fn admitted(self: &Arc<Self>, request: &LeaseOptions<'_>) -> Result<Admitted> {
        let limiter = &self.limiter;
        let attempt = || {
            if !request.fresh
                && let Some(lease) = self.idle_connection()
            {
                return Some(Admitted::Lease(lease));
            }
            if request.fresh
                && let Some(permit) = limiter.try_acquire().or_else(|| Some(self.lock().idle.pop()?.permit))
            {
                return Some(Admitted::ConnectionPermit(permit));
            }
            limiter.try_acquire().map(Admitted::ConnectionPermit)
        };
        if !limiter.has_waiters()
            && let Some(admitted) = attempt()
        {
            return Ok(admitted);
        }
        let SendOptions { timeouts, admission, connection_stats, .. } = request.options;
        let admitted = admission.wait(timeouts.queue, connection_stats, limiter.wait(attempt)).await;
        admitted.ok_or_else(|| {
            let limit = timeouts.queue.unwrap_or_default().as_secs_f64();
            let what = limiter.describe(&self.origin);
            let mut error =
                Error::not_admitted(format!("{what} was not to be had within the queue timeout of {limit} s"));
            // A retry would only join the end of the same queue.
            error.should_retry = Some(false);
            error
        })
    }

    /// Returns an open connection that can take a request.
    fn idle_connection(self: &Arc<Self>) -> Option<Lease> {
        let mut connections = self.lock();
        while let Some(Idle { mut connection, permit, since }) = connections.idle.pop() {
            if since.elapsed() < IDLE_TIMEOUT && connection.is_usable() {
                return Some(Lease {
                    connection: Connection::Http1(PooledConnection { connection, host: self.clone(), permit }),
                    reused: true,
                });
            }
        }
        connections.http2.retain_mut(|shared| shared.connection.is_open());
        let free = |shared: &mut Shared| shared.connection.slot().map(|slot| (shared.connection.clone(), slot));
        let (connection, slot) = connections.http2.iter_mut().find_map(free)?;
        Some(Lease { connection: Connection::Http2(connection, slot), reused: true })
    }

    /// Starts the maintenance task of this host unless it is running.
    fn maintain(self: &Arc<Self>, connections: &mut Connections) {
        if !connections.maintained {
            connections.maintained = true;
            tokio::spawn(maintenance(Arc::downgrade(self), self.limiter.descriptors().clone()));
        }
    }

    /// Closes connections that the server has closed, that are too old, or whose descriptors others need more. Returns
    /// false if none is left, which ends the maintenance task.
    fn close_stale(&self) -> bool {
        let connections = &mut *self.lock();
        let is_needed = self.limiter.descriptors().has_waiters() && !self.limiter.has_waiters();
        let keep = |since: Instant| !is_needed && since.elapsed() < IDLE_TIMEOUT;
        connections.idle.retain_mut(|idle| keep(idle.since) && idle.connection.is_usable());
        connections.http2.retain_mut(|Shared { connection, idle, .. }| {
            let now = connection.requests_if_idle().map(|served| match *idle {
                Some((before, since)) if before == served => (served, since),
                _ => (served, Instant::now()),
            });
            *idle = now;
            connection.is_open() && now.is_none_or(|(_, since)| keep(since))
        });
        connections.maintained = !connections.idle.is_empty() || !connections.http2.is_empty();
        if !connections.maintained {
            // Releases the memory that a burst needed.
            connections.idle = Vec::new();
            connections.http2 = Vec::new();
        }
        connections.maintained
    }
}

/// Closes a host's idle connections in time, as long as it has any.
async fn maintenance(host: Weak<Host>, descriptors: Arc<Descriptors>) {
    loop {
        drop(tokio::time::timeout(CHECK_INTERVAL, descriptors.shortage()).await);
        match host.upgrade() {
            Some(host) if host.close_stale() => {}
            _ => return,
        }
    }
}

impl PooledConnection {
    /// Returns the connection to the pool after its response has been read, if it can be reused.
    pub fn release(mut self) {
        if !self.connection.is_reusable() {
            return;
        }
        let limiter = &self.host.limiter;
        if limiter.descriptors().has_waiters() && !limiter.has_waiters() {
            // A waiting call needs the descriptor more.
            return;
        }
        self.connection.shrink();
        let mut connections = self.host.lock();
        if connections.closed {
            return;
        }
        connections.idle.push(Idle { connection: self.connection, permit: self.permit, since: Instant::now() });
        self.host.maintain(&mut connections);
        drop(connections);
        self.host.limiter.notify();
    }
}
