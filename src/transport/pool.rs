//! Connections that are kept: which one a request gets, and when another is opened.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;

use super::connect::{Connector, Origin};
use super::deadline::within;
use super::{http1, http2};
use crate::error::Result;

/// An idle connection is kept this long; many load balancers close theirs after 60 s.
const IDLE: Duration = Duration::from_secs(55);

/// All connections of one client.
pub(super) struct Pool {
    connector: Connector,
    hosts: Mutex<Hosts>,
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
}

#[derive(Default)]
struct Connections {
    /// Idle HTTP/1.1 connections, the one used last at the end.
    idle: Vec<(Box<http1::Connection>, Instant)>,
    http2: Vec<http2::Connection>,
    speaks_http1: bool,
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
}

impl Pool {
    pub fn new(http2: bool) -> Self {
        Self { connector: Connector::new(http2), hosts: Mutex::default() }
    }

    /// A connection to where `uri` leads: an idle one unless `fresh` is wanted, or a new one within `timeout`.
    pub async fn lease(&self, uri: &Uri, timeout: Option<Duration>, fresh: bool) -> Result<Lease> {
        let host = self.host(uri)?;
        if !fresh && let Some(lease) = host.idle() {
            return Ok(lease);
        }
        // Boxed: it is rare, and kilobytes large, which every call in flight would carry along.
        Box::pin(self.open(host, uri, timeout, fresh)).await
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
        let origin = Origin::of(uri)?;
        let host =
            hosts.by_origin.entry(origin).or_insert_with_key(|origin| Arc::new(Host::new(origin.clone()))).clone();
        hosts.recent = Some((uri.clone(), host.clone()));
        Ok(host)
    }

    async fn open(&self, host: Arc<Host>, uri: &Uri, timeout: Option<Duration>, fresh: bool) -> Result<Lease> {
        let origin = &host.origin;
        within(timeout, &format!("connecting to {origin}"), async {
            let turn = match origin.https && !host.lock().speaks_http1 {
                true => Some(host.opening.lock().await),
                false => None,
            };
            if turn.is_some()
                && !fresh
                && let Some(lease) = host.idle()
            {
                return Ok(lease);
            }
            let connected = self.connector.connect(origin, uri).await?;
            let connection = if connected.http2 {
                let (connection, place) = http2::Connection::open(connected.io, origin).await?;
                host.lock().http2.push(connection.clone());
                Connection::Http2(connection, place)
            } else {
                host.lock().speaks_http1 = true;
                let connection = Box::new(http1::Connection::new(connected.io, connected.forward_proxy));
                Connection::Http1(Kept { connection, host: host.clone() })
            };
            Ok(Lease { connection, reused: false })
        })
        .await
    }
}

impl Host {
    fn new(origin: Origin) -> Self {
        Self { origin, connections: Mutex::default(), opening: tokio::sync::Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that is open already and has room.
    fn idle(self: &Arc<Self>) -> Option<Lease> {
        let mut connections = self.lock();
        while let Some((mut connection, since)) = connections.idle.pop() {
            if since.elapsed() < IDLE && connection.is_usable() {
                return Some(Lease {
                    connection: Connection::Http1(Kept { connection, host: self.clone() }),
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
        if connections.idle.first().is_some_and(|(_, since)| since.elapsed() >= IDLE) {
            connections.idle.remove(0);
        }
        connections.idle.push((self.connection, Instant::now()));
    }
}
