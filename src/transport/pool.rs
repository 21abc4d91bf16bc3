//! Connections that are kept: which one a request gets, and when another is opened.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;

use super::connect::{Connector, Origin};
use super::deadline::within;
use super::seats::{Seat, Seats};
use super::{Settings, Terms, Traffic, http1, http2};
use crate::error::{Error, Result};

/// An idle connection is kept this long; many load balancers close theirs after 60 s.
const IDLE: Duration = Duration::from_secs(55);

/// All connections of one client.
pub(super) struct Pool {
    connector: Connector,
    hosts: Mutex<Hosts>,
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
    /// Where the number of connections is limited.
    seats: Option<Arc<Seats>>,
}

#[derive(Default)]
struct Connections {
    /// Idle HTTP/1.1 connections, the one used last at the end.
    idle: Vec<Idle>,
    http2: Vec<http2::Connection>,
    speaks_http1: bool,
}

struct Idle {
    connection: Box<http1::Connection>,
    seat: Option<Seat>,
    since: Instant,
}

/// What a request needs a connection for.
pub(super) struct Wanted<'a> {
    pub uri: &'a Uri,
    pub terms: Terms<'a>,
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
    Http1(Kept),
    Http2(http2::Connection, http2::Place),
}

/// An HTTP/1.1 connection that goes back to its host when its answer has been read.
pub(super) struct Kept {
    pub connection: Box<http1::Connection>,
    host: Arc<Host>,
    seat: Option<Seat>,
}

/// What a place in the line leads to.
enum Turn {
    Lease(Lease),
    Seat(Seat),
}

impl Pool {
    pub fn new(settings: &Settings) -> Self {
        Self {
            connector: Connector::new(settings),
            hosts: Mutex::default(),
            max_connections: settings.max_connections,
            max_head: settings.max_header,
        }
    }

    /// A connection: an idle one unless a fresh one is wanted, or a new one.
    pub async fn lease(&self, wanted: Wanted<'_>) -> Result<Lease> {
        let host = self.host(wanted.uri)?;
        let has_line = host.seats.as_ref().is_some_and(|seats| seats.has_line());
        if !wanted.fresh
            && !has_line
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
    pub fn idle(&self, traffic: &Arc<Traffic>) -> usize {
        let hosts: Vec<Arc<Host>> = {
            let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            hosts.by_origin.values().cloned().collect()
        };
        let idle = |host: &Arc<Host>| {
            let connections = host.lock();
            let http1 = connections.idle.iter().filter(|idle| Arc::ptr_eq(idle.connection.traffic(), traffic));
            let http2 = connections.http2.iter().filter(|connection| connection.is_idle_of(traffic));
            http1.count() + http2.count()
        };
        hosts.iter().map(idle).sum()
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
        let host = |origin: &Origin| Arc::new(Host::new(origin.clone(), self.max_connections));
        let host = hosts.by_origin.entry(Origin::of(uri)?).or_insert_with_key(host).clone();
        hosts.recent = Some((uri.clone(), host.clone()));
        Ok(host)
    }

    async fn open(&self, host: Arc<Host>, wanted: Wanted<'_>) -> Result<Lease> {
        let Wanted { terms, fresh, .. } = wanted;
        let origin = &host.origin;
        let seat = match &host.seats {
            None => None,
            Some(seats) => match host.turn(seats, &wanted).await? {
                Turn::Lease(lease) => return Ok(lease),
                Turn::Seat(seat) => Some(seat),
            },
        };
        let opening = pin!(async {
            let turn = match origin.is_https() && !host.lock().speaks_http1 {
                true => Some(host.opening.lock().await),
                false => None,
            };
            if turn.is_some()
                && !fresh
                && let Some(lease) = host.idle()
            {
                return Ok(lease);
            }
            let connected = self.connector.connect(origin, terms.time_to_connect(), terms.traffic).await?;
            let connection = if connected.http2 {
                let seats = host.seats.clone();
                let opened = http2::Connection::open(connected.io, origin, self.max_head, seat, seats).await?;
                host.lock().http2.push(opened.0.clone());
                // Whoever is next in line finds room on it.
                host.notify();
                Connection::Http2(opened.0, opened.1)
            } else {
                host.lock().speaks_http1 = true;
                let connection = Box::new(http1::Connection::new(connected.io, connected.target, self.max_head));
                Connection::Http1(Kept { connection, host: host.clone(), seat })
            };
            Ok(Lease { connection, reused: false })
        });
        within(terms.timeouts.connect, &format!("connecting to {origin}"), opening).await
    }
}

impl Host {
    fn new(origin: Origin, max_connections: Option<usize>) -> Self {
        let seats = max_connections.map(|limit| Arc::new(Seats::new(limit)));
        Self { origin, connections: Mutex::default(), opening: tokio::sync::Mutex::default(), seats }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self) {
        if let Some(seats) = &self.seats {
            seats.notify();
        }
    }

    /// Waits in line for a connection, or for leave to open one.
    async fn turn(self: &Arc<Self>, seats: &Arc<Seats>, wanted: &Wanted<'_>) -> Result<Turn> {
        let attempt = || {
            if !wanted.fresh
                && let Some(lease) = self.idle()
            {
                return Some(Turn::Lease(lease));
            }
            if wanted.fresh
                && let Some(seat) = seats.take().or_else(|| self.lock().idle.pop()?.seat)
            {
                return Some(Turn::Seat(seat));
            }
            seats.take().map(Turn::Seat)
        };
        let now = tokio::time::Instant::now();
        let rest = wanted.terms.end.map(|end| end.saturating_duration_since(now));
        let (limit, which) = match (wanted.terms.timeouts.pool, rest) {
            (Some(pool), Some(rest)) if rest < pool => (Some(rest), "rest of the total timeout, "),
            (None, Some(rest)) => (Some(rest), "rest of the total timeout, "),
            (pool, _) => (pool, "timeout of "),
        };
        let Some(limit) = limit else { return Ok(seats.wait(attempt).await) };
        tokio::time::timeout(limit, seats.wait(attempt)).await.map_err(|_| {
            let what = seats.describe(&self.origin);
            let mut error =
                Error::timeout(format!("{what} was not to be had within the {which}{} s", limit.as_secs_f64()));
            // The line is no shorter for whoever stands at its end once more.
            error.should_retry = Some(false);
            error
        })
    }

    /// A connection that is open already and has room.
    fn idle(self: &Arc<Self>) -> Option<Lease> {
        let mut connections = self.lock();
        while let Some(Idle { mut connection, seat, since }) = connections.idle.pop() {
            if since.elapsed() < IDLE && connection.is_usable() {
                return Some(Lease {
                    connection: Connection::Http1(Kept { connection, host: self.clone(), seat }),
                    reused: true,
                });
            }
        }
        connections.http2.retain(http2::Connection::is_open);
        let (connection, place) =
            connections.http2.iter().find_map(|connection| Some((connection.clone(), connection.place()?)))?;
        Some(Lease { connection: Connection::Http2(connection, place), reused: true })
    }
}

impl Kept {
    /// The answer has been read: the connection may carry another request.
    pub fn give_back(mut self) {
        if !self.connection.is_reusable() {
            return;
        }
        self.connection.shrink();
        let mut connections = self.host.lock();
        // The oldest stand in front; one look at each return keeps the list short.
        if connections.idle.first().is_some_and(|oldest| oldest.since.elapsed() >= IDLE) {
            connections.idle.remove(0);
        }
        connections.idle.push(Idle { connection: self.connection, seat: self.seat, since: Instant::now() });
        drop(connections);
        self.host.notify();
    }
}
