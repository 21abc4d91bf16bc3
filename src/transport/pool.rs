//! Connections that are kept: which one a request gets, and when another is opened.

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
use super::{ConnectionStats, SendOptions, Settings, http1, http2};
use crate::error::{Error, Result};

/// An idle connection is kept this long; many load balancers close theirs after 60 s.
const IDLE: Duration = Duration::from_secs(55);
/// While a host has idle connections, they are looked at this often.
const LOOK: Duration = Duration::from_secs(2);
/// HTTP/2 connections of a closed pool have this long, together, to say goodbye (GOAWAY) to servers that may not read.
const GOODBYE: Duration = Duration::from_secs(1);

/// All connections of one client.
pub(super) struct Pool {
    connector: Connector,
    hosts: Mutex<Hosts>,
    /// No connection is kept any more.
    closed: AtomicBool,
    max_connections: Option<usize>,
    max_head: usize,
}

#[derive(Default)]
struct Hosts {
    by_origin: HashMap<Origin, Arc<Host>>,
    /// The one that was asked for last, and by which address: most programs call one host.
    recent: Option<(Uri, Arc<Host>)>,
}

/// One origin's connections.
struct Host {
    origin: Origin,
    connections: Mutex<Connections>,
    /// Held while a connection is opened whose version is not known, or to which others may be added: a burst of
    /// calls to an HTTP/2 server should share connections, not open one each.
    opening: tokio::sync::Mutex<()>,
    limiter: Arc<ConnectionLimiter>,
}

#[derive(Default)]
struct Connections {
    /// Idle HTTP/1.1 connections, the one used last at the end.
    idle: Vec<Idle>,
    http2: Vec<Shared>,
    speaks_http1: bool,
    /// A task looks after them.
    watched: bool,
    /// The pool is closed: a connection ends with the request that it carries.
    closed: bool,
    /// Of a closed pool: the tasks of HTTP/2 connections that may not have ended.
    ending: Vec<JoinHandle<()>>,
}

/// An HTTP/2 connection.
struct Shared {
    connection: http2::Connection,
    /// Drives it, and ends with it.
    task: JoinHandle<()>,
    /// How many requests it had carried when it was last found idle, and when it was first found so.
    idle: Option<(usize, Instant)>,
}

struct Idle {
    connection: Box<http1::Connection>,
    permit: ConnectionPermit,
    since: Instant,
}

/// What a request needs a connection for.
pub(super) struct Wanted<'a> {
    pub uri: &'a Uri,
    pub options: SendOptions<'a>,
    /// One that has carried no request yet.
    pub fresh: bool,
}

/// A connection, for one request.
pub(super) struct Lease {
    pub connection: Connection,
    /// It has carried a request before.
    pub reused: bool,
}

pub(super) enum Connection {
    Http1(PooledConnection),
    Http2(http2::Connection, http2::StreamSlot),
}

/// An HTTP/1.1 connection that goes back to its host when its answer has been read.
pub(super) struct PooledConnection {
    pub connection: Box<http1::Connection>,
    host: Arc<Host>,
    permit: ConnectionPermit,
}

/// What a place in the line leads to.
enum Admitted {
    Lease(Lease),
    ConnectionPermit(ConnectionPermit),
}

impl Pool {
    pub fn new(settings: &Settings) -> Self {
        Self {
            connector: Connector::new(settings),
            hosts: Mutex::default(),
            closed: AtomicBool::new(false),
            max_connections: settings.max_connections,
            max_head: settings.max_header,
        }
    }

    /// A connection: an idle one unless a fresh one is wanted, or a new one.
    pub async fn lease(&self, wanted: Wanted<'_>) -> Result<Lease> {
        let host = self.host(wanted.uri)?;
        if !wanted.fresh
            && !host.limiter.has_line()
            && let Some(lease) = host.idle()
        {
            return Ok(lease);
        }
        // Boxed: it is rare, and kilobytes large, which every call in flight would carry along.
        Box::pin(self.open(host, wanted)).await
    }

    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// How many connections of this account carry nothing.
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

    /// Closes the connections that carry nothing, and keeps none from now on: each of the others is closed when the
    /// answer that it carries has been read.
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
            // Whoever looks after them sees that there is nothing left.
            host.limiter.descriptors().look();
        }
    }

    /// Waits until the HTTP/2 connections of a closed pool, which carry nothing any more, have ended. One whose server
    /// does not read the goodbye is dropped after [`GOODBYE`].
    pub async fn ended(&self) {
        let end = tokio::time::Instant::now() + GOODBYE;
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

    /// Opens a connection, or gets one that has become free meanwhile. Where the process has no descriptor for it, the
    /// call waits in line until there is one.
    async fn open(&self, host: Arc<Host>, wanted: Wanted<'_>) -> Result<Lease> {
        let Wanted { options, fresh, .. } = wanted;
        let what = format!("connecting to {}", host.origin);
        loop {
            let permit = match host.admitted(&wanted).await? {
                Admitted::Lease(lease) => return Ok(lease),
                Admitted::ConnectionPermit(permit) => permit,
            };
            let opening = pin!(self.open_one(&host, options, fresh, permit));
            match within(options.timeouts.connect, &what, opening).await {
                Err(error) if error.code.as_deref() == Some(EXHAUSTED) || descriptors::is_exhausted() => {
                    host.limiter.descriptors().refuse();
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
            && let Some(lease) = host.idle()
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
                host.watch(&mut connections);
            }
            drop(connections);
            // Whoever is next in line finds room on it.
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

    /// Gets a connection, or leave to open one, in line if there is neither.
    async fn admitted(self: &Arc<Self>, wanted: &Wanted<'_>) -> Result<Admitted> {
        let limiter = &self.limiter;
        let attempt = || {
            if !wanted.fresh
                && let Some(lease) = self.idle()
            {
                return Some(Admitted::Lease(lease));
            }
            if wanted.fresh
                && let Some(permit) = limiter.take().or_else(|| Some(self.lock().idle.pop()?.permit))
            {
                return Some(Admitted::ConnectionPermit(permit));
            }
            limiter.take().map(Admitted::ConnectionPermit)
        };
        if !limiter.has_line()
            && let Some(admitted) = attempt()
        {
            return Ok(admitted);
        }
        let SendOptions { timeouts, admission, connection_stats, .. } = wanted.options;
        let admitted = admission.wait(timeouts.queue, connection_stats, limiter.wait(attempt)).await;
        admitted.ok_or_else(|| {
            let limit = timeouts.queue.unwrap_or_default().as_secs_f64();
            let what = limiter.describe(&self.origin);
            let mut error = Error::timeout(format!("{what} was not to be had within the queue timeout of {limit} s"));
            // The line is no shorter for whoever stands at its end once more.
            error.should_retry = Some(false);
            error
        })
    }

    /// A connection that is open already and has room.
    fn idle(self: &Arc<Self>) -> Option<Lease> {
        let mut connections = self.lock();
        while let Some(Idle { mut connection, permit, since }) = connections.idle.pop() {
            if since.elapsed() < IDLE && connection.is_usable() {
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

    /// Begins to look after connections that nobody uses, unless that goes on already.
    fn watch(self: &Arc<Self>, connections: &mut Connections) {
        if !connections.watched {
            connections.watched = true;
            tokio::spawn(look_after(Arc::downgrade(self), self.limiter.descriptors().clone()));
        }
    }

    /// Closes connections that the server has closed, that are too old, or that others need more; `false`: none is left,
    /// and nobody looks after them any more.
    fn tidy(&self) -> bool {
        let connections = &mut *self.lock();
        let is_needed = self.limiter.descriptors().is_short() && !self.limiter.has_line();
        let is_worth_keeping = |since: Instant| !is_needed && since.elapsed() < IDLE;
        connections.idle.retain_mut(|idle| is_worth_keeping(idle.since) && idle.connection.is_usable());
        connections.http2.retain_mut(|Shared { connection, idle, .. }| {
            let now = connection.is_idle_since().map(|served| match *idle {
                Some((before, since)) if before == served => (served, since),
                _ => (served, Instant::now()),
            });
            *idle = now;
            connection.is_open() && now.is_none_or(|(_, since)| is_worth_keeping(since))
        });
        connections.watched = !connections.idle.is_empty() || !connections.http2.is_empty();
        if !connections.watched {
            // What a burst needed of memory.
            connections.idle = Vec::new();
            connections.http2 = Vec::new();
        }
        connections.watched
    }
}

/// Looks after a host's idle connections, as long as it has any.
async fn look_after(host: Weak<Host>, descriptors: Arc<Descriptors>) {
    loop {
        drop(tokio::time::timeout(LOOK, descriptors.wanted()).await);
        match host.upgrade() {
            Some(host) if host.tidy() => {}
            _ => return,
        }
    }
}

impl PooledConnection {
    /// The answer has been read: the connection may carry another request.
    pub fn give_back(mut self) {
        if !self.connection.is_reusable() {
            return;
        }
        let limiter = &self.host.limiter;
        if limiter.descriptors().is_short() && !limiter.has_line() {
            // Others need it more.
            return;
        }
        self.connection.shrink();
        let mut connections = self.host.lock();
        if connections.closed {
            return;
        }
        connections.idle.push(Idle { connection: self.connection, permit: self.permit, since: Instant::now() });
        self.host.watch(&mut connections);
        drop(connections);
        self.host.limiter.notify();
    }
}
