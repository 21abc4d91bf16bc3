//! HTTP over pooled connections, with deadlines, and the framing of streams. No vendor-specific code.

mod admission;
pub mod answer;
pub mod aws_event_stream;
mod causes;
mod connect;
mod connection_stats;
pub mod deadline;
mod descriptors;
pub mod detour;
mod dial;
mod encoding;
mod event;
pub mod framing;
mod http1;
mod http2;
mod limiter;
mod lookup;
pub mod ndjson;
mod no_proxy;
mod origin;
mod pool;
mod proxies;
mod redirect;
mod registry;
pub mod sse;
mod stream;
mod trust;
mod tunnel;
mod upload;
mod work_budget;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use tokio::time::Instant;

pub use admission::Admission;
pub use connect::{Peer, StreamConnector};
pub use connection_stats::ConnectionStats;
pub use origin::is_loopback;
pub use proxies::check_proxy;
pub use stream::Stream;
pub use trust::{Identity, Trust};

use crate::error::{Error, ErrorKind, Result};
use crate::types::http::{Headers, HttpRequest};
use crate::types::secret::Secret;
use deadline::{Timeouts, within, within_excluding_queue};
use detour::{Detour, Route};
use encoding::Decoder;
use pool::{Connection, Lease, LeaseOptions, Pool, PooledConnection};

/// Maximum number of times that a server may refuse one request unprocessed before that counts as a failure.
const MAX_REFUSALS: u32 = 3;

/// Name of what the `idle` timeout limits, for error messages.
const IDLE_LIMITED: &str = "the next piece of the answer";

/// Settings of a client's connections, and limits on what it receives.
#[derive(Debug, Clone)]
pub struct Settings {
    /// True if HTTP/2 is offered to servers that are reached by TLS.
    pub http2: bool,
    /// Certificate authorities that are trusted.
    pub trust: Trust,
    /// Client certificate.
    pub identity: Option<Arc<Identity>>,
    /// URL of a proxy, validated by [`check_proxy`], which may contain a password; `None` to use the environment's.
    pub proxy: Option<Secret>,
    /// Maximum number of connections to one origin; `None` for as many as the process has file descriptors.
    pub max_connections: Option<usize>,
    /// Maximum size of a response head, in bytes.
    pub max_header: usize,
    /// Maximum size of a response body after decompression, in bytes.
    pub max_body: usize,
    /// Maximum size of one event of a stream, in bytes.
    pub max_event: usize,
    /// Maximum size of a whole stream after decompression, in bytes.
    pub max_stream: usize,
    /// Maximum number of JSON values in a response or in an event of a stream.
    pub max_values: usize,
    /// Where the connections go: elsewhere than to their origins in tests only.
    pub route: Route,
}

impl Settings {
    /// Returns a hash of the settings of TLS: connections with equal ones may be shared.
    pub fn tls_fingerprint(&self) -> [u8; 32] {
        trust::fingerprint(&self.trust, self.identity.as_deref())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            http2: true,
            trust: Trust::default(),
            identity: None,
            proxy: None,
            max_connections: None,
            max_header: 64 << 10,
            max_body: 256 << 20,
            max_event: 32 << 20,
            max_stream: 1 << 30,
            max_values: 16 << 20,
            route: Route::Common,
        }
    }
}

/// Options of one request.
#[derive(Clone, Copy)]
pub struct SendOptions<'a> {
    /// Timeouts of the parts of the request.
    pub timeouts: &'a Timeouts,
    /// Deadline of the whole call, without the time that it waits for admission.
    pub end: Option<Instant>,
    /// Time that the call has waited for admission.
    pub admission: &'a Admission,
    /// Statistics that count a connection opened for this request.
    pub connection_stats: &'a Arc<ConnectionStats>,
    /// True if the request must not arrive twice: it gets a connection of its own, on which silence is an error.
    pub is_once: bool,
}

impl SendOptions<'_> {
    /// Returns the time left to connect.
    fn time_to_connect(&self) -> Option<Duration> {
        let rest = self.end.map(|end| (end + self.admission.waited_first()).saturating_duration_since(Instant::now()));
        [self.timeouts.connect, self.timeouts.first_token, rest].into_iter().flatten().min()
    }
}

/// Sends requests over a pool of connections.
pub struct Transport {
    pool: Pool,
    /// Users and passwords of proxies.
    secrets: Vec<Secret>,
    max_body: usize,
    /// Maximum size of one event of a stream, in bytes.
    pub max_event: usize,
    /// Maximum size of a whole stream after decompression, in bytes.
    pub max_stream: usize,
    /// Maximum number of JSON values in a response or in an event of a stream.
    pub max_values: usize,
}

/// A response whose body has not been read yet. Dropping it aborts the request and closes its connection.
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: Headers,
    /// The body.
    pub body: Body,
}

/// The body of a response, read in pieces.
pub struct Body {
    source: Source,
    /// Decoder of a compressed body.
    decoder: Option<Box<Decoder>>,
    max: usize,
    idle: Option<std::time::Duration>,
}

/// The connection that a body is read from.
enum Source {
    Http1(PooledConnection),
    Http2(RecvStream, #[expect(dead_code, reason = "held until the body is done")] http2::StreamSlot),
    Done,
}

/// Sends all connections of this process that are opened from now on elsewhere. Returns a key for [`leave_detour`].
pub fn enter_detour(detour: Detour) -> u64 {
    let key = detour::enter(detour);
    pool::forget_connections();
    key
}

/// Ends a detour. Connections that were opened meanwhile are not used any more.
pub fn leave_detour(key: u64) {
    detour::leave(key);
    pool::forget_connections();
}

impl Transport {
    /// Creates a transport without connections.
    pub fn new(settings: &Arc<Settings>) -> Self {
        Self {
            pool: Pool::new(settings),
            secrets: proxies::secrets(settings.proxy.as_ref()),
            max_body: settings.max_body,
            max_event: settings.max_event,
            max_stream: settings.max_stream,
            max_values: settings.max_values,
        }
    }

    /// Returns the secrets to redact in responses: the users and passwords of proxies, which may repeat them.
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// Returns true if the caller set a proxy, which is also used for servers on this machine.
    pub fn has_explicit_proxy(&self) -> bool {
        self.pool.connector().has_explicit_proxy()
    }

    /// Returns true if the proxy set by the caller is reached without TLS.
    pub fn has_plain_proxy(&self) -> bool {
        self.pool.connector().has_plain_proxy()
    }

    /// Returns the number of open connections counted by these statistics that carry no request.
    pub fn idle(&self, connection_stats: &Arc<ConnectionStats>) -> usize {
        self.pool.idle(connection_stats)
    }

    /// Closes the idle connections and stops pooling: every other connection is closed when its response has been read.
    pub fn close(&self) {
        self.pool.close();
    }

    /// Waits, for one second at most, until the connections of a closed transport without requests have ended.
    pub async fn ended(&self) {
        self.pool.ended().await;
    }

    /// Sends a request and returns its response once the head was received, following redirects.
    ///
    /// # Errors
    ///
    /// Returns an error if no connection can be made, the connection is lost, a timeout passes, the response is
    /// malformed, or it redirects elsewhere.
    pub async fn send(&self, request: &HttpRequest, options: SendOptions<'_>) -> Result<Response> {
        let answer = pin!(async {
            let response = self.exchange(request, options).await?;
            match response.status {
                // Boxed: redirects are rare, and the future is as large as this one.
                300..400 => Box::pin(self.follow(request, response, options)).await,
                _ => Ok(response),
            }
        });
        within_excluding_queue(options.timeouts.first_token, options.admission, "the beginning of the answer", answer)
            .await
    }

    /// Follows redirects.
    async fn follow(
        &self,
        request: &HttpRequest,
        mut response: Response,
        options: SendOptions<'_>,
    ) -> Result<Response> {
        let mut request = request.clone();
        for _ in 0..redirect::MAX_REDIRECTS {
            match redirect::target(&request, &request.uri, response.status, &response.headers)? {
                Some(target) => request.uri = target,
                None => return Ok(response),
            }
            response = self.exchange(&request, options).await?;
        }
        match redirect::target(&request, &request.uri, response.status, &response.headers)? {
            Some(_) => Err(redirect::too_many(response.status, &response.headers)),
            None => Ok(response),
        }
    }

    /// Sends a request and returns its response once the head was received.
    ///
    /// If a pooled connection that was idle closes before any byte of the response, the request is sent once more on a
    /// fresh connection: the server had closed it before the request arrived. The same applies to a request that the
    /// server refused unprocessed. Neither counts as a retry, since no server has processed the first attempt.
    async fn exchange(&self, request: &HttpRequest, options: SendOptions<'_>) -> Result<Response> {
        let mut fresh = options.is_once;
        let mut refusals = 0;
        loop {
            let lease = LeaseOptions { uri: &request.uri, options, fresh };
            let Lease { connection, reused } = self.pool.lease(lease).await?;
            let answer = match connection {
                Connection::Http1(mut pooled) => {
                    pooled.connection.send(request).await.map(|head| (head, Source::Http1(pooled)))
                }
                // Boxed, so that the futures of HTTP/1.1 calls do not include its kilobyte.
                Connection::Http2(mut connection, slot) => Box::pin(connection.send(request))
                    .await
                    .map(|(head, incoming)| (head, Source::Http2(incoming, slot))),
            };
            let (head, source) = match answer {
                Ok(answer) => answer,
                Err(unanswered) if unanswered.refused && refusals < MAX_REFUSALS => {
                    refusals += 1;
                    continue;
                }
                Err(unanswered) if unanswered.silent && reused && !fresh => {
                    fresh = true;
                    continue;
                }
                Err(unanswered) => return Err(unanswered.error),
            };
            let decoder = match head.is_encoded {
                true => Decoder::of(head.headers.get("content-encoding"))?.map(Box::new),
                false => None,
            };
            let body = Body { source, decoder, max: self.max_body, idle: options.timeouts.idle };
            return Ok(Response { status: head.status, headers: head.headers, body });
        }
    }
}

impl Body {
    /// Returns the next piece, decompressed; `None` at the end.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection is lost, the `idle` timeout passes, or the body is malformed.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if self.decoder.is_none() {
            return self.raw_chunk().await;
        }
        loop {
            if let Some(decoder) = &mut self.decoder {
                if decoder.budget.is_over() {
                    work_budget::yield_now().await;
                }
                if let Some(piece) = decoder.decode()? {
                    // Decompressing costs several times as much as reading.
                    decoder.budget.add(piece.len() * 4);
                    return Ok(Some(piece));
                }
            }
            let piece = self.raw_chunk().await?;
            let Some(decoder) = &mut self.decoder else { return Ok(piece) };
            match piece {
                Some(piece) => decoder.feed(piece),
                None => return decoder.finish().map(|()| None),
            }
        }
    }

    /// Returns the next piece as it was sent.
    async fn raw_chunk(&mut self) -> Result<Option<Bytes>> {
        let next = match &mut self.source {
            Source::Http1(pooled) => within(self.idle, IDLE_LIMITED, pin!(pooled.connection.chunk())).await?,
            Source::Http2(incoming, _) => within(self.idle, IDLE_LIMITED, pin!(http2::chunk(incoming))).await?,
            Source::Done => None,
        };
        if next.is_none()
            && let Source::Http1(pooled) = std::mem::replace(&mut self.source, Source::Done)
        {
            pooled.release();
        }
        Ok(next)
    }

    /// Returns the next piece if it has been received already. `None` for compressed bodies, which are read with
    /// [`chunk`](Self::chunk) only, since the received bytes may expand to any size.
    ///
    /// # Errors
    ///
    /// Returns an error if the body is malformed.
    pub fn buffered(&mut self) -> Result<Option<Bytes>> {
        if self.decoder.is_some() {
            return Ok(None);
        }
        match &mut self.source {
            Source::Http1(pooled) => pooled.connection.buffered(),
            Source::Http2(incoming, _) => http2::buffered(incoming),
            Source::Done => Ok(None),
        }
    }

    /// Reads the whole body. A body of known length is read into one allocation.
    ///
    /// # Errors
    ///
    /// Returns an error if the body exceeds the maximum size, and the errors of [`chunk`](Self::chunk).
    pub async fn collect(mut self) -> Result<Bytes> {
        if let Source::Http1(pooled) = &mut self.source
            && let Some(length) = pooled.connection.known_length()
            && self.decoder.is_none()
        {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            self.check_size(length)?;
            if self.idle.is_none()
                && let Source::Http1(mut pooled) = self.source
            {
                pooled.connection.fill_buffer(length).await?;
                let whole = pooled.connection.buffered()?.unwrap_or_default();
                pooled.release();
                return Ok(whole);
            }
        }
        // Boxed, so that the futures of most calls do not include its memory.
        Box::pin(self.collect_pieces()).await
    }

    async fn collect_pieces(mut self) -> Result<Bytes> {
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        self.check_size(first.len())?;
        let Some(second) = self.chunk().await? else { return Ok(first) };
        self.check_size(first.len() + second.len())?;
        let mut whole = BytesMut::with_capacity((first.len() + second.len()) * 2);
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(piece) = self.chunk().await? {
            self.check_size(whole.len() + piece.len())?;
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    fn check_size(&self, size: usize) -> Result<()> {
        if size <= self.max {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ApiResponseValidation,
            format!("the answer is larger than {} bytes (max_body_size)", self.max),
        ))
    }
}
