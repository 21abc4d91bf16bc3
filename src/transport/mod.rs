//! Bytes and time: connections, deadlines, stream framing. Knows no vendor.

mod admission;
pub mod answer;
pub mod aws_event_stream;
mod causes;
mod connect;
mod connection_stats;
pub mod deadline;
mod descriptors;
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
pub use connection_stats::ConnectionStats;
pub use origin::is_loopback;
pub use proxies::check_proxy;
pub use trust::{Identity, Trust};

use crate::error::{Error, ErrorKind, Result};
use crate::types::http::{Headers, HttpRequest};
use crate::types::secret::Secret;
use deadline::{Timeouts, within, within_own};
use encoding::Decoder;
use pool::{Connection, Lease, Pool, PooledConnection, Wanted};

/// How often one request may be given back unseen before that counts as a failure.
const MOST_REFUSALS: u32 = 3;

/// What an answer's `idle` timeout is about.
const NEXT_PIECE: &str = "the next piece of the answer";

/// How a client connects, and how much it takes in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Offer HTTP/2 to servers that are reached by TLS.
    pub http2: bool,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// The client's own certificate.
    pub identity: Option<Arc<Identity>>,
    /// The proxy's address, which [`check_proxy`] has found right, and which may hold a password; `None`: whatever the environment says.
    pub proxy: Option<Secret>,
    /// Calls of the client that are under way at the same time, at most; for whoever counts them.
    pub max_in_flight: Option<usize>,
    /// Connections to one origin, at most; `None`: as many as the process has descriptors for.
    pub max_connections: Option<usize>,
    /// An answer's head may be this many bytes.
    pub max_header: usize,
    /// An answer's body may be this many bytes, after decompression.
    pub max_body: usize,
    /// One event of a stream may be this many bytes.
    pub max_event: usize,
    /// A whole stream may be this many bytes, after decompression.
    pub max_stream: usize,
    /// An answer, or an event of a stream, may hold this many values.
    pub max_values: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            http2: true,
            trust: Trust::default(),
            identity: None,
            proxy: None,
            max_in_flight: None,
            max_connections: None,
            max_header: 64 << 10,
            max_body: 256 << 20,
            max_event: 32 << 20,
            max_stream: 1 << 30,
            max_values: 16 << 20,
        }
    }
}

/// On what terms a request is sent.
#[derive(Clone, Copy)]
pub struct SendOptions<'a> {
    /// How long each part of it may take.
    pub timeouts: &'a Timeouts,
    /// When the whole call ends, if it does not wait in line.
    pub end: Option<Instant>,
    /// What it has waited in line.
    pub admission: &'a Admission,
    /// The account of a connection that is opened for it.
    pub connection_stats: &'a Arc<ConnectionStats>,
}

impl SendOptions<'_> {
    /// How long it may take at most to be connected.
    fn time_to_connect(&self) -> Option<Duration> {
        let rest = self.end.map(|end| (end + self.admission.waited_first()).saturating_duration_since(Instant::now()));
        [self.timeouts.connect, self.timeouts.first_token, rest].into_iter().flatten().min()
    }
}

/// Sends requests over connections that it keeps.
pub struct Transport {
    pool: Pool,
    /// What it proves itself to a proxy with.
    secrets: Vec<Secret>,
    max_body: usize,
    /// One event of a stream may be this many bytes.
    pub max_event: usize,
    /// A whole stream may be this many bytes, after decompression.
    pub max_stream: usize,
    /// An answer, or an event of a stream, may hold this many values.
    pub max_values: usize,
}

/// An answer whose body is still to be read. Dropping it aborts the request and closes its connection.
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: Headers,
    /// The body.
    pub body: Body,
}

/// A body on its way in.
pub struct Body {
    source: Source,
    /// Where it came compressed.
    decoder: Option<Box<Decoder>>,
    max: usize,
    idle: Option<std::time::Duration>,
}

enum Source {
    Http1(PooledConnection),
    Http2(RecvStream, #[expect(dead_code, reason = "held until the body is done")] http2::StreamSlot),
    Done,
}

impl Transport {
    /// A transport without connections yet.
    pub fn new(settings: &Settings) -> Self {
        Self {
            pool: Pool::new(settings),
            secrets: proxies::secrets(settings.proxy.as_ref()),
            max_body: settings.max_body,
            max_event: settings.max_event,
            max_stream: settings.max_stream,
            max_values: settings.max_values,
        }
    }

    /// What must not be shown of answers: the users and passwords of proxies, which may repeat them.
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// Whether the caller named a proxy: what is for this machine goes there too.
    pub fn has_given_proxy(&self) -> bool {
        self.pool.connector().has_given_proxy()
    }

    /// Whether that proxy is reached without TLS.
    pub fn has_plain_proxy(&self) -> bool {
        self.pool.connector().has_plain_proxy()
    }

    /// How many connections of this account are open and carry nothing.
    pub fn idle(&self, connection_stats: &Arc<ConnectionStats>) -> usize {
        self.pool.idle(connection_stats)
    }

    /// Closes the connections that carry nothing, and keeps none from now on: each of the others is closed when the
    /// answer that it carries has been read.
    pub fn close(&self) {
        self.pool.close();
    }

    /// Waits, for a second at most, until the connections of a closed transport that carries nothing have ended.
    pub async fn ended(&self) {
        self.pool.ended().await;
    }

    /// Sends a request and waits for its answer's head.
    pub async fn send(&self, request: &HttpRequest, options: SendOptions<'_>) -> Result<Response> {
        let answer = pin!(async {
            let response = self.exchange(request, options).await?;
            match response.status {
                // Boxed: it is rare, and as large as all of this.
                300..400 => Box::pin(self.follow(request, response, options)).await,
                _ => Ok(response),
            }
        });
        within_own(options.timeouts.first_token, options.admission, "the beginning of the answer", answer).await
    }

    /// Goes where an answer redirects to.
    async fn follow(
        &self,
        request: &HttpRequest,
        mut response: Response,
        options: SendOptions<'_>,
    ) -> Result<Response> {
        let mut request = request.clone();
        for _ in 0..redirect::MOST {
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

    /// Sends a request and waits for the head of whatever its answer is.
    ///
    /// A request that died in silence on a connection that had been idle is sent once more on a fresh one: the server
    /// had closed it before the request came. So is one that the server gave back unseen. That is no retry, since
    /// nobody saw the first.
    async fn exchange(&self, request: &HttpRequest, options: SendOptions<'_>) -> Result<Response> {
        let mut fresh = false;
        let mut refusals = 0;
        loop {
            let wanted = Wanted { uri: &request.uri, options, fresh };
            let Lease { connection, reused } = self.pool.lease(wanted).await?;
            let answer = match connection {
                Connection::Http1(mut kept) => {
                    kept.connection.send(request).await.map(|head| (head, Source::Http1(kept)))
                }
                // Boxed: HTTP/1.1 calls should not carry its kilobyte along.
                Connection::Http2(mut connection, slot) => Box::pin(connection.send(request))
                    .await
                    .map(|(head, incoming)| (head, Source::Http2(incoming, slot))),
            };
            let (head, source) = match answer {
                Ok(answer) => answer,
                Err(unanswered) if unanswered.refused && refusals < MOST_REFUSALS => {
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
    /// The next piece, `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if self.decoder.is_none() {
            return self.raw_chunk().await;
        }
        loop {
            if let Some(decoder) = &mut self.decoder {
                if decoder.budget.is_over() {
                    work_budget::give_way().await;
                }
                if let Some(piece) = decoder.decode()? {
                    // To decompress costs several times as much as to read.
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

    /// The next piece as it was sent.
    async fn raw_chunk(&mut self) -> Result<Option<Bytes>> {
        let next = match &mut self.source {
            Source::Http1(kept) => within(self.idle, NEXT_PIECE, pin!(kept.connection.chunk())).await?,
            Source::Http2(incoming, _) => within(self.idle, NEXT_PIECE, pin!(http2::chunk(incoming))).await?,
            Source::Done => None,
        };
        if next.is_none()
            && let Source::Http1(kept) = std::mem::replace(&mut self.source, Source::Done)
        {
            kept.give_back();
        }
        Ok(next)
    }

    /// The next piece, if it has come already. A compressed body is read piece by piece: what is at hand of it may stand
    /// for any amount.
    pub fn buffered(&mut self) -> Result<Option<Bytes>> {
        if self.decoder.is_some() {
            return Ok(None);
        }
        match &mut self.source {
            Source::Http1(kept) => kept.connection.buffered(),
            Source::Http2(incoming, _) => http2::buffered(incoming),
            Source::Done => Ok(None),
        }
    }

    /// The whole body. One of known length is read into one piece of memory.
    pub async fn collect(mut self) -> Result<Bytes> {
        if let Source::Http1(kept) = &mut self.source
            && let Some(length) = kept.connection.known_length()
            && self.decoder.is_none()
        {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            self.check_size(length)?;
            if self.idle.is_none()
                && let Source::Http1(mut kept) = self.source
            {
                kept.connection.gather(length).await?;
                let whole = kept.connection.buffered()?.unwrap_or_default();
                kept.give_back();
                return Ok(whole);
            }
        }
        // Boxed: most calls should not carry its memory along.
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
