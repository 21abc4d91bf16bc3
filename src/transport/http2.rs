//! HTTP/2: many requests on one connection, by hyper.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use futures_util::future::{Either, select};
use h2::Reason;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;

use super::answer::Head;
use super::connect::{Io, Origin, causes};
use super::http1::Unanswered;
use super::seats::{Seat, Seats};
use super::traffic::Traffic;
use crate::error::{Error, Result};
use crate::types::http::{Headers, HttpRequest};

/// Requests that one connection is given at a time, at most, whatever the server allows: they share its fate and its line.
const STREAMS: usize = 100;
/// What one answer may send ahead of its reader. All of a connection's answers together may send as much each: readers
/// that are slow do not hold up the others.
const WINDOW: u32 = 512 << 10;
/// The limit of a server that has not said one yet.
const UNKNOWN: usize = usize::MAX - 1;

/// What runs a connection, and knows what the server allows on it.
type Driver = Pin<Box<hyper::client::conn::http2::Connection<TokioIo<Io>, Full<Bytes>, Watched>>>;

/// One connection, shared by the requests on it.
#[derive(Clone)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// `None` when the connection has ended.
    driver: Arc<Mutex<Option<Driver>>>,
    in_flight: Arc<AtomicUsize>,
    traffic: Arc<Traffic>,
    /// How often it was given a request.
    served: Arc<AtomicUsize>,
    seats: Arc<Seats>,
    #[expect(dead_code, reason = "held as long as the connection is")]
    seat: Arc<Seat>,
}

/// A request's place on a connection; given back when dropped.
pub(super) struct Place {
    in_flight: Arc<AtomicUsize>,
    seats: Arc<Seats>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.seats.notify();
    }
}

/// Runs a connection's tasks, and says when one of them has done something.
#[derive(Clone)]
struct Watched(Arc<Notify>);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Watched {
    fn execute(&self, task: F) {
        let changed = self.0.clone();
        tokio::spawn(async move {
            let mut task = std::pin::pin!(task);
            std::future::poll_fn(|context| {
                let polled = task.as_mut().poll(context);
                changed.notify_waiters();
                polled
            })
            .await
        });
    }
}

impl Connection {
    /// Shakes hands, and waits for the server's settings: how many requests it takes at a time. The new connection comes
    /// with a place on it.
    pub async fn open(
        io: Io,
        origin: &Origin,
        max_head: usize,
        seat: Seat,
        seats: Arc<Seats>,
    ) -> Result<(Self, Place)> {
        let traffic = io.traffic().clone();
        let changed = Arc::new(Notify::new());
        let mut builder = hyper::client::conn::http2::Builder::new(Watched(changed.clone()));
        builder
            .timer(TokioTimer::new())
            .initial_max_send_streams(UNKNOWN)
            .max_header_list_size(u32::try_from(max_head).unwrap_or(u32::MAX))
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW * STREAMS as u32)
            .keep_alive_interval(Some(std::time::Duration::from_secs(30)))
            .keep_alive_timeout(std::time::Duration::from_secs(20));
        let failed =
            |error: &hyper::Error| Error::connection(format!("cannot speak HTTP/2 with {origin}: {}", causes(error)));
        let (sender, driver) = builder.handshake(TokioIo::new(io)).await.map_err(|error| failed(&error))?;
        let mut driver = Box::pin(driver);
        loop {
            let mut change = std::pin::pin!(changed.notified());
            change.as_mut().enable();
            if driver.current_max_send_streams() != UNKNOWN {
                break;
            }
            match select(change, driver.as_mut()).await {
                Either::Left(_) => {}
                Either::Right((Err(error), _)) => return Err(failed(&error)),
                Either::Right((Ok(()), _)) => {
                    return Err(Error::connection(format!(
                        "{origin} closed the connection before its HTTP/2 settings"
                    )));
                }
            }
        }
        let driver = Arc::new(Mutex::new(Some(driver)));
        let (driven, line) = (driver.clone(), seats.clone());
        tokio::spawn(async move {
            std::future::poll_fn(|context| match lock(&driven).as_mut() {
                Some(driver) => driver.as_mut().poll(context).map(drop),
                None => Poll::Ready(()),
            })
            .await;
            // Dropped, so that the requests on it, and `place` before the next one, see its end.
            let ended = lock(&driven).take();
            drop(ended);
            line.notify();
        });
        let in_flight = Arc::new(AtomicUsize::new(1));
        let place = Place { in_flight: in_flight.clone(), seats: seats.clone() };
        let served = Arc::new(AtomicUsize::new(1));
        Ok((Self { sender, driver, in_flight, traffic, served, seats, seat: Arc::new(seat) }, place))
    }

    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Whether it is open, of this account, and carries nothing.
    pub fn is_idle_of(&self, traffic: &Arc<Traffic>) -> bool {
        self.is_open() && Arc::ptr_eq(&self.traffic, traffic) && self.in_flight.load(Ordering::Relaxed) == 0
    }

    /// How often it was given a request, if it carries none now.
    pub fn is_idle_since(&self) -> Option<usize> {
        (self.in_flight.load(Ordering::Relaxed) == 0).then(|| self.served.load(Ordering::Relaxed))
    }

    /// A place for one more request, if there is one.
    pub fn place(&self) -> Option<Place> {
        if !self.is_open() || self.in_flight.load(Ordering::Relaxed) >= self.streams() {
            return None;
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.served.fetch_add(1, Ordering::Relaxed);
        Some(Place { in_flight: self.in_flight.clone(), seats: self.seats.clone() })
    }

    /// How many requests the server takes on this connection at a time, as it last said. One that takes none for now is
    /// waited for here rather than on one more connection.
    fn streams(&self) -> usize {
        match lock(&self.driver).as_ref().map(|driver| driver.current_max_send_streams()) {
            None | Some(0) => STREAMS,
            Some(allowed) => allowed.min(STREAMS),
        }
    }

    pub async fn send(&mut self, request: &HttpRequest) -> Result<(Head, Incoming), Unanswered> {
        let mut message = http::Request::builder().method(request.method.clone()).uri(request.uri.clone());
        if let Some(headers) = message.headers_mut() {
            headers.extend(request.fields().map(|(name, value)| (name.clone(), value.clone())));
        }
        let message = message.body(Full::new(request.body.clone())).map_err(|error| Unanswered {
            error: Error::argument(format!("the request cannot be written: {error}")),
            silent: false,
            refused: false,
        })?;
        let failed = |error: hyper::Error| Unanswered {
            error: Error::connection(format!("the connection broke before an answer came: {}", causes(&error))),
            silent: false,
            refused: is_unseen(&error),
        };
        self.sender.ready().await.map_err(failed)?;
        let response = self.sender.send_request(message).await.map_err(failed)?;
        let head = Head {
            status: response.status().as_u16(),
            headers: Headers::from(response.headers()),
            is_encoded: response.headers().contains_key(http::header::CONTENT_ENCODING),
        };
        Ok((head, response.into_body()))
    }
}

fn lock(driver: &Mutex<Option<Driver>>) -> std::sync::MutexGuard<'_, Option<Driver>> {
    driver.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether no server has looked at the request: it was never sent, or was refused (REFUSED_STREAM), or came after the
/// last one that the server says it took (GOAWAY).
fn is_unseen(error: &hyper::Error) -> bool {
    let said = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    let refused =
        |said: &h2::Error| said.is_remote() && (said.reason() == Some(Reason::REFUSED_STREAM) || said.is_go_away());
    error.is_canceled() || error.is_closed() || said.is_some_and(refused)
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
