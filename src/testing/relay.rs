//! A server in front of the providers, which plays recorded answers and records others.
//!
//! It decides nothing itself: a [`Recorder`] says for each request whether it is played or forwarded, and gets what was
//! answered.

use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, Uri};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::connection::{Action, Received, Responder};
use super::reply::{End, Latency, Reply};
use super::server::Server;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::answer::{failure_kind, no_answer};
use crate::transport::detour::{self, Link, Route};
use crate::transport::{Admission, ConnectionStats, SendOptions, Settings, Transport, deadline::Timeouts};
use crate::types::http::HttpRequest;

/// Header fields of one connection, and those that describe how its bytes are framed or compressed.
const FRAMING: [&str; 6] =
    ["connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding", "trailer"];

/// Time that answers have to be recorded as far as they came, when nobody waits for the rest of them any more.
const GRACE: Duration = Duration::from_secs(1);

/// What came of a request.
#[derive(Debug)]
pub enum Outcome {
    /// A server answered.
    Answer(Recorded),
    /// It failed without an answer.
    Failure(Failure),
}

/// The failure of a request that no server answered.
#[derive(Debug)]
pub struct Failure {
    /// Name of its kind, one of [`failure_kind`]'s, or [`SILENCE`].
    pub kind: String,
    /// Message for a person.
    pub message: String,
    /// Time since the request.
    pub after: Duration,
}

/// Kind of failure of a request that its client gave up before an answer began.
pub const SILENCE: &str = "silence";

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
    /// What happened behind the last piece.
    pub end: End,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision {
    /// What was recorded is played.
    Play(Outcome),
    /// It is sent to where the client wanted to send it, and the answer is recorded.
    Forward,
    /// It fails with this message.
    Refuse(String),
}

/// Decides what becomes of requests, and keeps answers. Both are called on threads that may block.
pub trait Recorder: Send + Sync + 'static {
    /// Decides what becomes of a request.
    fn decide(&self, received: &Received) -> Decision;

    /// Keeps what came of a request that was forwarded.
    fn record(&self, received: &Received, outcome: Outcome);
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
    /// True if answers are recorded as far as they came.
    is_ending: watch::Sender<bool>,
}

impl Relay {
    /// Starts a relay. `prepare` runs first on its thread.
    ///
    /// # Errors
    ///
    /// There is no port, no thread or no descriptor for it.
    pub fn start(recorder: Arc<dyn Recorder>, prepare: fn()) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            recorder,
            transports: Mutex::default(),
            pending: AtomicUsize::new(0),
            is_ending: watch::Sender::new(false),
        });
        let server = Server::start(0, Arc::new(shared.clone()), prepare)?;
        Ok(Self { port: server.port(), shared, server: Some(server) })
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits, for so long at most, until the answers of forwarded requests are recorded. Then the rest are recorded as far as
    /// they came, and false is returned.
    pub fn finish(&self, patience: Duration) -> bool {
        let is_done = self.wait(patience);
        if !is_done {
            self.shared.is_ending.send_replace(true);
            self.wait(GRACE);
        }
        is_done
    }

    fn wait(&self, patience: Duration) -> bool {
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
    fn respond(&self, received: Received, link: Link) -> Action {
        let (sender, pieces) = unbounded_channel();
        let shared = self.clone();
        // Now, since the client may go away before the task runs.
        let settings = detour::settings(link);
        // Goes on when the client has gone: a stream that its caller left early is recorded whole.
        tokio::spawn(async move {
            let done = shared.answer(Arc::new(received), settings, &sender).await;
            if let Err(error) = done {
                drop(sender.send(Err(no_answer(failure_kind(&error), &error.message))));
            }
        });
        Action::Relay(pieces)
    }

    fn repeated(&self, _: u64, _: &Received) -> Option<u64> {
        None
    }
}

type Sender = UnboundedSender<std::result::Result<Bytes, Vec<u8>>>;

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
    async fn answer(&self, received: Arc<Received>, settings: Option<Arc<Settings>>, sender: &Sender) -> Result<()> {
        let pending = Pending::new(&self.pending);
        let (recorder, asked) = (self.recorder.clone(), received.clone());
        let decision = tokio::task::spawn_blocking(move || recorder.decide(&asked)).await;
        match decision.map_err(|error| Error::connection(format!("the recorder failed: {error}")))? {
            Decision::Play(outcome) => {
                drop(pending);
                match outcome {
                    Outcome::Answer(recorded) => play(&recorded, sender).await,
                    Outcome::Failure(failure) => fail(failure, sender).await,
                }
                Ok(())
            }
            Decision::Refuse(message) => Err(unexpected(message)),
            // Others on this machine can connect, too, and must not use this process's way to the network.
            Decision::Forward => match settings {
                Some(settings) => self.forward(received, settings, sender).await,
                None => {
                    Err(unexpected("a cassette records the calls of the process that opened it, and this is another"))
                }
            },
        }
    }

    /// Sends a request to where the client wanted to send it.
    async fn forward(&self, received: Arc<Received>, settings: Arc<Settings>, sender: &Sender) -> Result<()> {
        let request = request(&received)?;
        let transport = self.transport(settings);
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
        let mut ending = self.is_ending.subscribe();
        let given_up = async {
            // An error says that the sender is gone, which is this.
            select(pin!(sender.closed()), pin!(async { drop(ending.wait_for(|is_ending| *is_ending).await) })).await;
        };
        let response = match select(pin!(transport.send(&request, options)), pin!(given_up)).await {
            Either::Left((Ok(response), _)) => response,
            Either::Left((Err(error), _)) => {
                let kind = failure_kind(&error);
                // A call that is forbidden was not tried.
                if error.kind != ErrorKind::UnexpectedCall {
                    let failure = Failure { kind: kind.into(), message: error.message.clone(), after: began.elapsed() };
                    self.record(received, Outcome::Failure(failure)).await;
                }
                return Err(error);
            }
            Either::Right(_) => {
                let failure = Failure { kind: SILENCE.into(), message: String::new(), after: began.elapsed() };
                self.record(received, Outcome::Failure(failure)).await;
                return Ok(());
            }
        };
        let headers = response.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned()));
        let mut recorded = Recorded {
            status: response.status,
            headers: headers.filter(|(name, _)| !FRAMING.contains(&name.as_str())).collect(),
            is_stream: response.headers.get("content-length").is_none(),
            ..Recorded::default()
        };
        drop(sender.send(Ok(head(&recorded))));
        let mut body = response.body;
        recorded.end = loop {
            let next = {
                let ending = pin!(ending.wait_for(|is_ending| *is_ending));
                match select(pin!(body.chunk()), ending).await {
                    Either::Left((next, _)) => next,
                    Either::Right(_) => break End::Stall,
                }
            };
            match next {
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(Some(piece)) => {
                    recorded.pieces.push((began.elapsed(), piece.clone()));
                    drop(sender.send(Ok(chunk(&piece))));
                }
                Ok(None) => break End::Complete,
                Err(_) => break End::Close,
            }
        };
        let end = recorded.end;
        // Before the end is sent, so that the answer is recorded when the call returns.
        self.record(received, Outcome::Answer(recorded)).await;
        drop(sender.send(if end == End::Complete { Ok(LAST_CHUNK) } else { Err(Vec::new()) }));
        Ok(())
    }

    async fn record(&self, received: Arc<Received>, outcome: Outcome) {
        let recorder = self.recorder.clone();
        drop(tokio::task::spawn_blocking(move || recorder.record(&received, outcome)).await);
    }

    /// Returns a transport with the settings of the client that sent the request.
    fn transport(&self, settings: Arc<Settings>) -> Arc<Transport> {
        let mut transports = self.transports.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Arc::as_ptr(&settings) as usize;
        let made = || {
            let direct = Settings { route: Route::Beyond, ..(*settings).clone() };
            (settings.clone(), Arc::new(Transport::new(&Arc::new(direct))))
        };
        transports.entry(key).or_insert_with(made).1.clone()
    }
}

/// Returns the error of a call that has no answer here.
fn unexpected(message: impl Into<String>) -> Box<Error> {
    let mut error = Error::new(ErrorKind::UnexpectedCall, message);
    error.should_retry = Some(false);
    error
}

/// Plays a recorded answer, each piece at its time.
async fn play(recorded: &Recorded, sender: &Sender) {
    if !recorded.is_stream && recorded.end == End::Complete {
        let latency = recorded.pieces.last().map(|(at, _)| *at).unwrap_or_default();
        tokio::time::sleep(latency).await;
        let body: Vec<u8> = recorded.pieces.iter().flat_map(|(_, piece)| piece.iter().copied()).collect();
        let reply = Reply::whole(recorded.status, &fields(recorded), &body, Latency::default());
        for (_, piece) in reply.pieces() {
            drop(sender.send(Ok(Bytes::copy_from_slice(piece))));
        }
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
    match recorded.end {
        End::Complete => drop(sender.send(Ok(LAST_CHUNK))),
        End::Close => drop(sender.send(Err(Vec::new()))),
        End::Stall => sender.closed().await,
    }
}

/// Plays a failure at its time.
async fn fail(failure: Failure, sender: &Sender) {
    if failure.kind == SILENCE {
        return sender.closed().await;
    }
    tokio::time::sleep(failure.after).await;
    drop(sender.send(Err(no_answer(&failure.kind, &failure.message))));
}

/// The end of a body in chunks.
const LAST_CHUNK: Bytes = Bytes::from_static(b"0\r\n\r\n");

fn fields(recorded: &Recorded) -> String {
    let one_line = |text: &str| text.replace(['\r', '\n'], " ");
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
