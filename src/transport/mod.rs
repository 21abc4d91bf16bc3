//! Bytes and time: connections, deadlines, retry policy, stream framing. Knows no vendor.

pub mod aws_event_stream;
mod connect;
pub mod deadline;
pub mod framing;
mod http1;
mod http2;
pub mod ndjson;
mod pool;
pub mod retry;
pub mod sse;

use bytes::{Bytes, BytesMut};
use hyper::body::Incoming;

use crate::error::{Error, ErrorKind, Result};
use crate::types::http::{Headers, HttpRequest};
use deadline::{Timeouts, within};
use pool::{Connection, Kept, Lease, Pool};

/// How a client connects.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Offer HTTP/2 to servers that are reached by TLS.
    pub http2: bool,
    /// An answer's body may be this many bytes.
    pub max_body: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { http2: true, max_body: 256 << 20 }
    }
}

/// Sends requests over connections that it keeps.
pub struct Transport {
    pool: Pool,
    max_body: usize,
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
    max: usize,
    idle: Option<std::time::Duration>,
}

enum Source {
    Http1(Kept),
    Http2(Incoming, #[expect(dead_code, reason = "held until the body is done")] http2::Place),
    Done,
}

impl Transport {
    /// A transport without connections yet.
    pub fn new(settings: &Settings) -> Self {
        Self { pool: Pool::new(settings.http2), max_body: settings.max_body }
    }

    /// Sends a request and waits for its answer's head.
    ///
    /// A request that died in silence on a connection that had been idle is sent once more on a fresh one: the server
    /// had closed it before the request came. That is no retry, since nobody saw the first.
    pub async fn send(&self, request: &HttpRequest, timeouts: &Timeouts) -> Result<Response> {
        let mut fresh = false;
        loop {
            let Lease { connection, reused } = self.pool.lease(&request.uri, timeouts.connect, fresh).await?;
            let answer = within(timeouts.first_token, "the beginning of the answer", async {
                Ok(match connection {
                    Connection::Http1(mut kept) => {
                        kept.connection.send(request).await.map(|head| (head, Source::Http1(kept)))
                    }
                    Connection::Http2(mut connection, place) => {
                        // Boxed: HTTP/1.1 calls should not carry its kilobyte along.
                        Box::pin(connection.send(request))
                            .await
                            .map(|(head, incoming)| (head, Source::Http2(incoming, place)))
                    }
                })
            });
            let (head, source) = match answer.await? {
                Ok(answer) => answer,
                Err(unanswered) if unanswered.silent && reused && !fresh => {
                    fresh = true;
                    continue;
                }
                Err(unanswered) => return Err(unanswered.error),
            };
            let body = Body { source, max: self.max_body, idle: timeouts.idle };
            return Ok(Response { status: head.status, headers: head.headers, body });
        }
    }
}

impl Body {
    /// The next piece, `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let next = match &mut self.source {
            Source::Http1(kept) => within(self.idle, "the next piece of the answer", kept.connection.chunk()).await?,
            Source::Http2(incoming, _) => {
                within(self.idle, "the next piece of the answer", http2::chunk(incoming)).await?
            }
            Source::Done => None,
        };
        if next.is_none()
            && let Source::Http1(kept) = std::mem::replace(&mut self.source, Source::Done)
        {
            kept.give_back();
        }
        Ok(next)
    }

    /// The next piece, if it has come already.
    pub fn buffered(&mut self) -> Result<Option<Bytes>> {
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
        {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            self.check_size(length)?;
            if self.idle.is_none()
                && let Source::Http1(kept) = &mut self.source
            {
                kept.connection.gather(length).await?;
            }
        }
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else { return Ok(first) };
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
        Err(Error::new(ErrorKind::ApiResponseValidation, format!("the answer is larger than {} bytes", self.max)))
    }
}
