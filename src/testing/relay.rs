//! A server in front of the providers, which plays recorded answers and records others.
//!
//! It decides nothing itself: a [`Recorder`] says for each request whether it is played or forwarded, and gets what was
//! answered.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, Uri};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::connection::{Action, Received, Responder};
use super::reply::{Latency, Reply};
use super::server::Server;
use crate::error::{Error, Result};
use crate::transport::answer::NO_ANSWER;
use crate::transport::detour::{self, Route};
use crate::transport::{Admission, ConnectionStats, SendOptions, Settings, Transport, deadline::Timeouts};
use crate::types::http::HttpRequest;

/// Header fields of one connection, and those that describe how its bytes are framed or compressed.
const FRAMING: [&str; 6] =
    ["connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding", "trailer"];

/// An answer, with the time of each of its pieces since the request.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// Status code.
    pub status: u16,
    /// Header fields without those that frame the body.
    pub headers: Vec<(String, String)>,
    /// Pieces of the body.
    pub pieces: Vec<(Duration, Bytes)>,
    /// True if the answer is played in pieces, rather than as a body of known length.
    pub is_stream: bool,
    /// True if the connection broke in the middle of the body.
    pub is_broken: bool,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision {
    /// A recorded answer is played.
    Play(Recorded),
    /// It is sent to where the client wanted to send it, and the answer is recorded.
    Forward,
    /// It fails with this message.
    Refuse(String),
}

/// Decides what becomes of requests, and keeps answers. Both are called on threads that may block.
pub trait Recorder: Send + Sync + 'static {
    /// Decides what becomes of a request.
    fn decide(&self, received: &Received) -> Decision;

    /// Keeps the answer to a request that was forwarded.
    fn record(&self, received: &Received, recorded: Recorded);
}

/// A server in front of the providers.
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
    server: Option<Server>,
}

/// Transports by the addresses of their clients' settings, which are kept so that no other settings get the same address.
type Transports = HashMap<usize, (Arc<Settings>, Arc<Transport>)>;

struct Shared {
    recorder: Arc<dyn Recorder>,
    /// Transports with the settings of each client.
    transports: Mutex<Transports>,
    /// Number of forwarded requests whose answer is not recorded yet.
    pending: AtomicUsize,
}

impl Relay {
    /// Starts a relay. `prepare` runs first on its thread.
    ///
    /// # Errors
    ///
    /// There is no port, no thread or no descriptor for it.
    pub fn start(recorder: Arc<dyn Recorder>, prepare: fn()) -> io::Result<Self> {
        let shared = Arc::new(Shared { recorder, transports: Mutex::default(), pending: AtomicUsize::new(0) });
        let server = Server::start(0, Arc::new(shared.clone()), prepare)?;
        Ok(Self { port: server.port(), shared, server: Some(server) })
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits, for so long at most, until the answers of forwarded requests are recorded. Returns false if some are not.
    pub fn finish(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while self.shared.pending.load(Ordering::Acquire) > 0 {
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Closes the port and all connections.
    pub fn close(&mut self) {
        self.server = None;
    }
}

impl Responder for Arc<Shared> {
    fn respond(&self, received: Received, peer: u16) -> Action {
        let (sender, pieces) = unbounded_channel();
        let shared = self.clone();
        // Goes on when the client has gone: a stream that its caller left early is recorded whole.
        tokio::spawn(async move {
            let done = shared.answer(Arc::new(received), peer, &sender).await;
            if let Err(error) = done {
                let text = format!("{NO_ANSWER}connection {}\r\n\r\n", one_line(&error.message));
                drop(sender.send(Err(text.into_bytes())));
            }
        });
        Action::Relay(pieces)
    }

    fn repeated(&self, _: u64, _: &Received) -> Option<u64> {
        None
    }
}

type Sender = UnboundedSender<std::result::Result<Bytes, Vec<u8>>>;

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// A forwarded request, counted until its answer is recorded.
struct Pending<'a>(&'a AtomicUsize);

impl<'a> Pending<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Shared {
    async fn answer(&self, received: Arc<Received>, peer: u16, sender: &Sender) -> Result<()> {
        let settings = detour::settings(peer);
        let (recorder, asked) = (self.recorder.clone(), received.clone());
        let decision = tokio::task::spawn_blocking(move || recorder.decide(&asked)).await;
        match decision.map_err(|error| Error::connection(format!("the recorder failed: {error}")))? {
            Decision::Play(recorded) => play(&recorded, sender).await,
            Decision::Refuse(message) => {
                let text = format!("{NO_ANSWER}unexpected {}\r\n\r\n", one_line(&message));
                drop(sender.send(Err(text.into_bytes())));
            }
            Decision::Forward => self.forward(received, settings, sender).await?,
        }
        Ok(())
    }

    /// Sends a request to where the client wanted to send it.
    async fn forward(&self, received: Arc<Received>, settings: Option<Arc<Settings>>, sender: &Sender) -> Result<()> {
        let _pending = Pending::new(&self.pending);
        let request = request(&received)?;
        let transport = self.transport(settings.unwrap_or_default());
        let (timeouts, admission) = (Timeouts::default(), Admission::default());
        let stats: Arc<ConnectionStats> = Arc::default();
        let options = SendOptions {
            timeouts: &timeouts,
            end: None,
            admission: &admission,
            connection_stats: &stats,
            is_once: false,
        };
        let began = Instant::now();
        let response = transport.send(&request, options).await?;
        let headers = response.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned()));
        let mut recorded = Recorded {
            status: response.status,
            headers: headers.filter(|(name, _)| !FRAMING.contains(&name.as_str())).collect(),
            is_stream: response.headers.get("content-length").is_none(),
            ..Recorded::default()
        };
        drop(sender.send(Ok(head(&recorded))));
        let mut body = response.body;
        loop {
            match body.chunk().await {
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(Some(piece)) => {
                    recorded.pieces.push((began.elapsed(), piece.clone()));
                    drop(sender.send(Ok(chunk(&piece))));
                }
                Ok(None) => break,
                Err(_) => {
                    recorded.is_broken = true;
                    break;
                }
            }
        }
        let is_broken = recorded.is_broken;
        let recorder = self.recorder.clone();
        // Before the end is sent, so that the answer is recorded when the call returns.
        drop(tokio::task::spawn_blocking(move || recorder.record(&received, recorded)).await);
        drop(sender.send(if is_broken { Err(Vec::new()) } else { Ok(Bytes::from_static(b"0\r\n\r\n")) }));
        Ok(())
    }

    /// Returns a transport with the settings of the client that sent the request.
    fn transport(&self, settings: Arc<Settings>) -> Arc<Transport> {
        let mut transports = self.transports.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Arc::as_ptr(&settings) as usize;
        let made = || {
            let direct = Settings { route: Route::Beyond, ..(*settings).clone() };
            (settings.clone(), Arc::new(Transport::new(&direct)))
        };
        transports.entry(key).or_insert_with(made).1.clone()
    }
}

/// Plays a recorded answer, each piece at its time.
async fn play(recorded: &Recorded, sender: &Sender) {
    let end = if recorded.is_broken { Err(Vec::new()) } else { Ok(Bytes::new()) };
    if !recorded.is_stream && !recorded.is_broken {
        let latency = recorded.pieces.last().map(|(at, _)| *at).unwrap_or_default();
        tokio::time::sleep(latency).await;
        let body: Vec<u8> = recorded.pieces.iter().flat_map(|(_, piece)| piece.iter().copied()).collect();
        let reply = Reply::whole(recorded.status, &fields(recorded), &body, Latency::default());
        for (_, piece) in reply.pieces() {
            drop(sender.send(Ok(Bytes::copy_from_slice(piece))));
        }
        drop(sender.send(end));
        return;
    }
    drop(sender.send(Ok(head(recorded))));
    let began = tokio::time::Instant::now();
    for (at, piece) in &recorded.pieces {
        if !at.is_zero() {
            tokio::time::sleep_until(began + *at).await;
        }
        if !piece.is_empty() {
            drop(sender.send(Ok(chunk(piece))));
        }
    }
    drop(sender.send(if recorded.is_broken { end } else { Ok(Bytes::from_static(b"0\r\n\r\n")) }));
}

fn fields(recorded: &Recorded) -> String {
    recorded.headers.iter().map(|(name, value)| format!("{name}: {}\r\n", one_line(value))).collect()
}

fn head(recorded: &Recorded) -> Bytes {
    Reply::head_of(recorded.status, &format!("{}transfer-encoding: chunked\r\n", fields(recorded))).into()
}

fn chunk(piece: &[u8]) -> Bytes {
    let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
    chunk.extend_from_slice(piece);
    chunk.extend_from_slice(b"\r\n");
    chunk.into()
}

/// Returns the request that the client wanted to send.
fn request(received: &Received) -> Result<HttpRequest> {
    let head = &received.head;
    let wrong = |what: &str| Error::connection(format!("the request cannot be forwarded: its {what} is not valid"));
    let uri: Uri = head.target.parse().map_err(|_| wrong("address"))?;
    let mut headers = Vec::new();
    for (name, value) in &head.headers {
        let name = HeaderName::try_from(name).map_err(|_| wrong("header"))?;
        if ![CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING].contains(&name) {
            headers.push((name, HeaderValue::try_from(value).map_err(|_| wrong("header"))?));
        }
    }
    let method = Method::try_from(head.method.as_str()).map_err(|_| wrong("method"))?;
    Ok(HttpRequest { method, ..HttpRequest::post(uri, headers, received.body.clone()) })
}
