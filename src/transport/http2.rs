//! HTTP/2: many requests on one connection, by hyper.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::connect::{Io, Origin, causes};
use super::http1::{Head, Unanswered};
use crate::error::{Error, Result};
use crate::types::http::{Headers, HttpRequest};

/// Requests that one connection is given at a time before another is opened: what servers commonly allow.
const STREAMS: usize = 100;

/// One connection, shared by the requests on it.
#[derive(Clone)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    in_flight: Arc<AtomicUsize>,
}

/// A request's place on a connection; given back when dropped.
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection {
    /// Shakes hands; the new connection comes with a place on it.
    pub async fn open(io: Io, origin: &Origin) -> Result<(Self, Place)> {
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .keep_alive_interval(Some(std::time::Duration::from_secs(30)))
            .keep_alive_timeout(std::time::Duration::from_secs(20));
        let (sender, connection) = builder
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| Error::connection(format!("cannot speak HTTP/2 with {origin}: {}", causes(&error))))?;
        // Its end is seen by the requests on it, and by `place` before the next one.
        tokio::spawn(async move { drop(connection.await) });
        let in_flight = Arc::new(AtomicUsize::new(1));
        Ok((Self { sender, in_flight: in_flight.clone() }, Place(in_flight)))
    }

    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// A place for one more request, if there is one.
    pub fn place(&self) -> Option<Place> {
        if !self.is_open() || self.in_flight.load(Ordering::Relaxed) >= STREAMS {
            return None;
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Place(self.in_flight.clone()))
    }

    pub async fn send(&mut self, request: &HttpRequest) -> Result<(Head, Incoming), Unanswered> {
        let mut message = http::Request::builder().method(request.method.clone()).uri(request.uri.clone());
        if let Some(headers) = message.headers_mut() {
            headers.extend(request.headers.iter().cloned());
        }
        let message = message.body(Full::new(request.body.clone())).map_err(|error| Unanswered {
            error: Error::argument(format!("the request cannot be written: {error}")),
            silent: false,
        })?;
        let failed = |error: hyper::Error| Unanswered {
            error: Error::connection(format!("the connection broke before an answer came: {}", causes(&error))),
            // GOAWAY and REFUSED_STREAM come as cancellations: the server says that it has not looked at the request.
            silent: error.is_canceled() || error.is_closed() || causes(&error).contains("refused"),
        };
        self.sender.ready().await.map_err(failed)?;
        let response = self.sender.send_request(message).await.map_err(failed)?;
        let head = Head { status: response.status().as_u16(), headers: Headers::from(response.headers()) };
        Ok((head, response.into_body()))
    }
}

/// The next piece of a body, if it has come already.
pub(super) fn buffered(body: &mut Incoming) -> Result<Option<Bytes>> {
    // Whoever waits for the next piece polls again, so nothing is lost by not being woken from here.
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(chunk(body)).poll(&mut context) {
        std::task::Poll::Ready(piece) => piece,
        std::task::Poll::Pending => Ok(None),
    }
}

/// The next piece of a body, `None` at its end.
pub(super) async fn chunk(body: &mut Incoming) -> Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Error::connection(format!("the connection broke in the middle of an answer: {}", causes(&error)))
        })?;
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}
