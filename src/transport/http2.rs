//! HTTP/2 client connection (RFC 9113), shared by many requests.
//!
//! Uses `h2` directly: with hyper's client, which adds a queue to the connection and a task to each request, a plain
//! call took 17 % more CPU (docs/decisions.md has the measurement).

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;

use super::answer::Head;
use super::causes::causes;
use super::connect::Io;
use super::connection_stats::ConnectionStats;
use super::http1::Unanswered;
use super::limiter::{ConnectionLimiter, ConnectionPermit};
use super::origin::Origin;
use super::upload::Reader;
use crate::error::{Error, Result};
use crate::types::http::{Headers, HttpRequest};

/// Maximum number of concurrent requests per connection, even if the server allows more, since they share its failures
/// and its bandwidth.
const MAX_STREAMS: usize = 100;
/// Flow-control window of one response. The window of the connection is the sum for all of its responses, so that slow
/// readers do not block the others.
const WINDOW: u32 = 512 << 10;
/// Placeholder for the limit of a server whose settings have not arrived.
const UNKNOWN_LIMIT: usize = usize::MAX - 1;
/// Time without received bytes after which a connection with requests in flight is pinged.
const PING_AFTER: Duration = Duration::from_secs(30);
/// Time that the server has to answer a ping.
const PONG_TIMEOUT: Duration = Duration::from_secs(20);

/// Handle of a connection, cloned for each of its requests.
#[derive(Clone)]
pub(super) struct Connection {
    sender: SendRequest<Bytes>,
    state: Arc<State>,
    connection_stats: Arc<ConnectionStats>,
    limiter: Arc<ConnectionLimiter>,
    #[expect(dead_code, reason = "held as long as the connection is")]
    permit: Arc<ConnectionPermit>,
}

/// State shared by the connection's task and its handles.
struct State {
    in_flight: AtomicUsize,
    /// Number of requests started.
    served: AtomicUsize,
    has_ended: AtomicBool,
}

/// Slot of one request on a connection; released when dropped.
pub(super) struct StreamSlot {
    state: Arc<State>,
    limiter: Arc<ConnectionLimiter>,
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.state.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.limiter.notify();
    }
}

impl Connection {
    /// Performs the handshake and waits for the server's settings, which limit the number of concurrent requests.
    /// Returns the connection with a slot on it, and the task that drives the connection and ends with it.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection ends, or the server does not speak HTTP/2.
    pub async fn open(
        io: Io,
        origin: &Origin,
        max_head: usize,
        permit: ConnectionPermit,
        limiter: Arc<ConnectionLimiter>,
    ) -> Result<(Self, StreamSlot, JoinHandle<()>)> {
        let connection_stats = io.connection_stats().clone();
        let failed =
            |error: h2::Error| Error::connection(format!("cannot speak HTTP/2 with {origin}: {}", causes(&error)));
        let has_read = Arc::new(AtomicBool::new(false));
        let (sender, mut connection) = Builder::new()
            .enable_push(false)
            .initial_max_send_streams(UNKNOWN_LIMIT)
            .max_header_list_size(u32::try_from(max_head).unwrap_or(u32::MAX))
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW * MAX_STREAMS as u32)
            .handshake::<_, Bytes>(Observed { io, has_read: has_read.clone() })
            .await
            .map_err(failed)?;
        let settings = poll_fn(|context| match Pin::new(&mut connection).poll(context) {
            Poll::Ready(end) => Poll::Ready(Some(end)),
            Poll::Pending if connection.max_concurrent_send_streams() != UNKNOWN_LIMIT => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        match settings.await {
            None => {}
            Some(Err(error)) => return Err(failed(error)),
            Some(Ok(())) => {
                return Err(Error::connection(format!("{origin} closed the connection before its HTTP/2 settings")));
            }
        }
        let (in_flight, served) = (AtomicUsize::new(1), AtomicUsize::new(1));
        let state = Arc::new(State { in_flight, served, has_ended: AtomicBool::new(false) });
        let pings = connection.ping_pong().expect("asked for once");
        let (shared, queue) = (state.clone(), limiter.clone());
        let task = tokio::spawn(async move {
            // Whichever future ends first, both are dropped: the requests on the connection then fail.
            drop(select(connection, pin!(until_unresponsive(pings, &shared, &has_read))).await);
            shared.has_ended.store(true, Ordering::Relaxed);
            queue.notify();
        });
        let slot = StreamSlot { state: state.clone(), limiter: limiter.clone() };
        Ok((Self { sender, state, connection_stats, limiter, permit: Arc::new(permit) }, slot, task))
    }

    /// Returns true if the connection accepts requests: it has not ended, and the server has not sent GOAWAY.
    pub fn is_open(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        !self.state.has_ended.load(Ordering::Relaxed)
            && !matches!(self.sender.poll_ready(&mut context), Poll::Ready(Err(_)))
    }

    /// Returns true if the connection is open, counted by these statistics, and has no request in flight.
    pub fn is_idle_of(&mut self, connection_stats: &Arc<ConnectionStats>) -> bool {
        Arc::ptr_eq(&self.connection_stats, connection_stats)
            && self.state.in_flight.load(Ordering::Relaxed) == 0
            && self.is_open()
    }

    /// Returns the number of requests started, if none is in flight.
    pub fn requests_if_idle(&self) -> Option<usize> {
        (self.state.in_flight.load(Ordering::Relaxed) == 0).then(|| self.state.served.load(Ordering::Relaxed))
    }

    /// Returns a slot for one more request if there is one.
    pub fn slot(&mut self) -> Option<StreamSlot> {
        if self.state.in_flight.load(Ordering::Relaxed) >= self.streams() || !self.is_open() {
            return None;
        }
        self.state.in_flight.fetch_add(1, Ordering::Relaxed);
        self.state.served.fetch_add(1, Ordering::Relaxed);
        Some(StreamSlot { state: self.state.clone(), limiter: self.limiter.clone() })
    }

    /// Returns the number of concurrent requests that the server currently allows. If it allows none for now, requests
    /// are sent to `h2` to wait, rather than on another connection.
    fn streams(&self) -> usize {
        match self.sender.current_max_send_streams() {
            0 => MAX_STREAMS,
            allowed => allowed.min(MAX_STREAMS),
        }
    }

    /// Sends a request and reads the head of its response.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection is lost, the server resets the stream, or a file of the request cannot be
    /// read.
    pub async fn send(&mut self, request: &HttpRequest) -> Result<(Head, RecvStream), Unanswered> {
        let mut message = http::Request::new(());
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = request.uri.clone();
        *message.version_mut() = http::Version::HTTP_2;
        let headers = message.headers_mut();
        headers.reserve(request.headers.len() + 2);
        headers.extend(request.fields().map(|(name, value)| (name.clone(), value.clone())));
        let length = request.content_length();
        let is_whole = length == 0;
        if !is_whole {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        let failed = |error: h2::Error, refused: bool| Unanswered {
            error: Error::connection(format!("the connection broke before an answer came: {}", causes(&error))),
            silent: false,
            refused,
        };
        // A request that fails here has not been sent.
        let (response, mut body) = self.sender.send_request(message, is_whole).map_err(|error| failed(error, true))?;
        let response = match &request.file {
            _ if is_whole => response.await,
            None => {
                // The data is sent as the flow-control windows allow; an error while sending is also an error of the
                // response.
                let _ = body.send_data(request.body.clone(), true);
                response.await
            }
            Some(file) => {
                let sending = pin!(send_file(&mut body, request.body.clone(), Reader::new(file.as_ref().clone())));
                match select(response, sending).await {
                    Either::Left((response, _)) => response,
                    Either::Right((Ok(()), response)) => response.await,
                    Either::Right((Err(error), _)) => {
                        return Err(Unanswered { error, silent: false, refused: false });
                    }
                }
            }
        };
        let response = response.map_err(|error| {
            let refused = is_unprocessed(&error);
            failed(error, refused)
        })?;
        let head = Head {
            status: response.status().as_u16(),
            headers: Headers::from(response.headers()),
            is_encoded: response.headers().contains_key(http::header::CONTENT_ENCODING),
        };
        Ok((head, response.into_body()))
    }
}

/// Sends the beginning of a body and then a file, as the flow-control windows allow, with one piece in memory at a
/// time.
///
/// # Errors
///
/// Returns an error if the file cannot be read. Errors of the connection are also errors of the response.
async fn send_file(body: &mut SendStream<Bytes>, first: Bytes, mut file: Reader) -> Result<()> {
    let mut next = Some(first);
    while let Some(mut piece) = next {
        while !piece.is_empty() {
            body.reserve_capacity(piece.len());
            let capacity = match poll_fn(|context| body.poll_capacity(context)).await {
                Some(Ok(capacity)) => capacity,
                _ => return Ok(()),
            };
            if body.send_data(piece.split_to(capacity.min(piece.len())), false).is_err() {
                return Ok(());
            }
        }
        next = poll_fn(|context| file.poll_piece(context)).await?;
    }
    let _ = body.send_data(Bytes::new(), true);
    Ok(())
}

/// Returns true if no server has processed the request: it was refused (REFUSED_STREAM), or came after the last one
/// that the server processed (GOAWAY).
fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote() && (error.reason() == Some(Reason::REFUSED_STREAM) || error.is_go_away())
}

/// Completes when a connection with requests in flight has received nothing for some time and a ping is not answered.
async fn until_unresponsive(mut pings: PingPong, state: &State, has_read: &AtomicBool) {
    loop {
        has_read.store(false, Ordering::Relaxed);
        tokio::time::sleep(PING_AFTER).await;
        if has_read.load(Ordering::Relaxed) || state.in_flight.load(Ordering::Relaxed) == 0 {
            continue;
        }
        // An error of the ping is also an error of the connection.
        let pong = async { pings.ping(Ping::opaque()).await };
        if tokio::time::timeout(PONG_TIMEOUT, pong).await.is_err() {
            return;
        }
    }
}

/// Byte stream that records when something was read.
struct Observed {
    io: Io,
    has_read: Arc<AtomicBool>,
}

impl AsyncRead for Observed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        self.has_read.store(true, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Observed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// Returns the next piece of a body if it has been received already.
///
/// # Errors
///
/// Returns an error if the stream or connection fails.
pub(super) fn buffered(body: &mut RecvStream) -> Result<Option<Bytes>> {
    // The caller polls again to wait for the next piece, so it does not matter that this poll does not wake it.
    match poll_chunk(body, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(piece) => piece,
        Poll::Pending => Ok(None),
    }
}

/// Returns the next piece of a body; `None` at its end.
///
/// # Errors
///
/// Returns an error if the stream or connection fails.
pub(super) async fn chunk(body: &mut RecvStream) -> Result<Option<Bytes>> {
    poll_fn(|context| poll_chunk(body, context)).await
}

fn poll_chunk(body: &mut RecvStream, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
    loop {
        let data = match ready!(body.poll_data(context)) {
            None => return Poll::Ready(Ok(None)),
            Some(Ok(data)) => data,
            // The response is complete, and the server does not need the rest of the request (RFC 9113, section 8.1).
            Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) && error.is_reset() => {
                return Poll::Ready(Ok(None));
            }
            Some(Err(error)) => return Poll::Ready(Err(broken(&error))),
        };
        // Opens the window, so that the server may send as much again.
        body.flow_control().release_capacity(data.len()).map_err(|error| broken(&error))?;
        if !data.is_empty() {
            return Poll::Ready(Ok(Some(data)));
        }
    }
}

fn broken(error: &h2::Error) -> Box<Error> {
    Error::connection(format!("the connection broke in the middle of an answer: {}", causes(error)))
}
