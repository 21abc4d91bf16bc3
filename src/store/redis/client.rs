//! A client with one connection, which it opens again when it is lost.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::address::Address;
use super::resp::{self, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::transport::{Settings, Stream, StreamConnector};

/// Time to connect, with the TLS handshake.
const CONNECT: Duration = Duration::from_secs(1);
/// Time in which a command is answered. A Redis that takes longer is as good as gone: the connection is closed.
pub const COMMAND: Duration = Duration::from_millis(250);
/// Maximum pause before the first attempt to connect again; it doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Maximum pause between attempts. Members come back within this time and [`CONNECT`] of a restart.
const MAX_PAUSE: Duration = Duration::from_millis(500);
/// Number of bytes read at once.
const READ: usize = 16 << 10;

/// State of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The first connection is being made.
    Connecting,
    /// Connected.
    Up,
    /// Not connected, for this reason. The reason contains no password.
    Down(Arc<str>),
}

/// A command that waits for its reply.
struct Pending {
    reply: oneshot::Sender<Result<Value>>,
    deadline: Instant,
}

/// A command to be sent.
struct Command {
    bytes: Bytes,
    pending: Pending,
}

/// A Lua script, sent by its hash; the text is only sent again when the server has forgotten it.
#[derive(Debug)]
pub struct Script {
    text: &'static str,
    hash: Mutex<Option<Bytes>>,
}

impl Script {
    /// Creates a script.
    pub const fn new(text: &'static str) -> Self {
        Self { text, hash: Mutex::new(None) }
    }
}

/// A client of one Redis with one connection, over which any number of commands are under way at once. Clones share it; it is
/// closed when the last one is dropped. A command fails at once while there is no connection.
#[derive(Clone)]
pub struct Client {
    commands: mpsc::UnboundedSender<Command>,
    status: watch::Receiver<Status>,
}

impl Client {
    /// Creates a client and spawns its connection on the current runtime.
    pub fn start(address: Address, settings: &Settings) -> Self {
        let (commands, receiver) = mpsc::unbounded_channel();
        let (sender, status) = watch::channel(Status::Connecting);
        let connector = StreamConnector::new(settings);
        tokio::spawn(Connection { address, connector, commands: receiver, status: sender }.run());
        Self { commands, status }
    }

    /// Returns the state of the connection, and its changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Sends a command and returns its reply.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no connection, it is lost, no reply comes within [`COMMAND`], or the reply is an error.
    pub async fn command(&self, parts: &[impl AsRef<[u8]>]) -> Result<Value> {
        match self.send(parts).await? {
            Value::Error(message) => Err(refused(&message)),
            value => Ok(value),
        }
    }

    /// Runs a script.
    ///
    /// # Errors
    ///
    /// As [`command`](Self::command).
    pub async fn run(&self, script: &Script, key: &str, arguments: &[Bytes]) -> Result<Value> {
        let parts = |name: &'static str, script: Bytes| -> Vec<Bytes> {
            let head = [Bytes::from_static(name.as_bytes()), script, Bytes::from_static(b"1")];
            let key = Bytes::copy_from_slice(key.as_bytes());
            head.into_iter().chain([key]).chain(arguments.iter().cloned()).collect()
        };
        let known = script.hash.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hash) = known {
            match self.send(&parts("EVALSHA", hash)).await? {
                Value::Error(message) if message.starts_with(b"NOSCRIPT") => {}
                Value::Error(message) => return Err(refused(&message)),
                value => return Ok(value),
            }
        }
        // The hash is the server's word: no need to compute it here.
        let load = [b"SCRIPT".as_slice(), b"LOAD", script.text.as_bytes()];
        let Value::Bytes(hash) = self.command(&load).await? else {
            return Err(malformed("SCRIPT LOAD is answered by no hash"));
        };
        *script.hash.lock().unwrap_or_else(PoisonError::into_inner) = Some(hash.clone());
        self.command(&parts("EVALSHA", hash)).await
    }

    async fn send(&self, parts: &[impl AsRef<[u8]>]) -> Result<Value> {
        if let Status::Down(why) = &*self.status.borrow() {
            return Err(Error::connection(&**why));
        }
        let mut bytes = BytesMut::new();
        resp::encode(&mut bytes, parts);
        let (reply, answer) = oneshot::channel();
        let pending = Pending { reply, deadline: Instant::now() + COMMAND };
        let closed = || Error::connection("the connection to the Redis is closed");
        self.commands.send(Command { bytes: bytes.freeze(), pending }).map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }
}

fn malformed(why: &str) -> Box<Error> {
    Error::new(ErrorKind::ApiResponseValidation, format!("the answer of the Redis cannot be read: {why}"))
}

/// Creates the error of a command that was refused. The server's message names no password.
fn refused(message: &[u8]) -> Box<Error> {
    let message = String::from_utf8_lossy(message);
    let code = message.split(' ').next().unwrap_or_default();
    let hint = match code {
        "MOVED" | "ASK" | "CROSSSLOT" => {
            ": this is a node of a cluster, of which only one that is not sharded can be used"
        }
        "NOPERM" => ": its user needs the commands EVALSHA, SCRIPT LOAD, TIME, GET and SET on keys ritellm:*",
        "NOAUTH" => ": give user and password in the URL",
        _ => "",
    };
    let mut error = Error::connection(format!("the Redis refuses a command: {message}{hint}"));
    error.code = Some(code.to_owned());
    error
}

/// True if an error means that this connection is of no more use: the server is a replica now, or wants a login.
fn ends_connection(message: &[u8]) -> bool {
    [b"READONLY".as_slice(), b"NOAUTH", b"LOADING", b"MASTERDOWN"].iter().any(|code| message.starts_with(code))
}

/// The task that holds the connection.
struct Connection {
    address: Address,
    connector: StreamConnector,
    commands: mpsc::UnboundedReceiver<Command>,
    status: watch::Sender<Status>,
}

impl Connection {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match self.open().await {
                Ok(mut wire) => {
                    self.status.send_replace(Status::Up);
                    pause = FIRST_PAUSE;
                    let failure = poll_fn(|context| wire.poll(context, &mut self.commands)).await;
                    match failure {
                        None => return,
                        Some(failure) => failure,
                    }
                }
                Err(error) if self.commands.is_closed() => return drop(error),
                Err(error) => error,
            };
            self.status.send_replace(Status::Down(failure.message.as_str().into()));
            let jitter = 0.5 + fastrand::f64() / 2.0;
            let end = Instant::now() + pause.mul_f64(jitter);
            pause = (pause * 2).min(MAX_PAUSE);
            if self.refuse_until(end, &failure).await.is_none() {
                return;
            }
        }
    }

    /// Refuses commands until a time. `None` if nobody can send commands any more.
    async fn refuse_until(&mut self, end: Instant, failure: &Error) -> Option<()> {
        loop {
            match tokio::time::timeout_at(end, self.commands.recv()).await {
                Err(_) => return Some(()),
                Ok(command) => {
                    let failed = Error::connection(failure.message.clone());
                    // The receiver may have given up.
                    let _ = command?.pending.reply.send(Err(failed));
                }
            }
        }
    }

    /// Connects and logs in. A server that accepts connections and does not answer is no server, and one that answers the login
    /// too late would do the same with commands: it does not seem to be back again and again.
    async fn open(&self) -> Result<Wire<Stream>> {
        let late = |limit: Duration| Error::timeout(format!("{} does not answer within {limit:?}", self.address.peer));
        let connecting = pin!(self.connector.connect(&self.address.peer, Some(CONNECT)));
        let stream = timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err(late(CONNECT)))?;
        let login = pin!(async {
            let mut wire = Wire::new(stream);
            let number = self.address.database.to_string();
            let mut commands: Vec<Vec<&str>> = Vec::new();
            let password = self.address.password.as_ref().map(crate::types::secret::Secret::expose);
            match (&self.address.user, password) {
                (Some(user), Some(password)) => commands.push(vec!["AUTH", user, password]),
                (None, Some(password)) => commands.push(vec!["AUTH", password]),
                _ => {}
            }
            if self.address.database > 0 {
                commands.push(vec!["SELECT", &number]);
            }
            commands.push(vec!["PING"]);
            for command in &commands {
                resp::encode(&mut wire.output, command);
            }
            for _ in &commands {
                match poll_fn(|context| wire.poll_reply(context)).await? {
                    Value::Error(message) => {
                        let mut error = refused(&message);
                        error.message = format!("cannot log in at {}: {}", self.address.peer, error.message);
                        return Err(error);
                    }
                    _ => continue,
                }
            }
            Ok(wire)
        });
        timeout(COMMAND, login).await.unwrap_or_else(|_| Err(late(COMMAND)))
    }
}

/// A connection with its buffers and the commands that wait for a reply, in order.
struct Wire<S> {
    stream: S,
    output: BytesMut,
    input: BytesMut,
    pending: std::collections::VecDeque<Pending>,
    timer: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            output: BytesMut::new(),
            input: BytesMut::new(),
            pending: std::collections::VecDeque::new(),
            timer: Box::pin(sleep_until(Instant::now())),
        }
    }

    /// Sends commands and hands out replies until the connection fails, and returns why; `None` if nobody can send commands
    /// any more.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        commands: &mut mpsc::UnboundedReceiver<Command>,
    ) -> Poll<Option<Box<Error>>> {
        loop {
            match commands.poll_recv(context) {
                Poll::Ready(Some(command)) => {
                    self.output.extend_from_slice(&command.bytes);
                    self.pending.push_back(command.pending);
                }
                Poll::Ready(None) if self.pending.is_empty() => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        let failure = loop {
            match self.poll_reply(context) {
                Poll::Pending => break None,
                Poll::Ready(Err(error)) => break Some(error),
                Poll::Ready(Ok(value)) => {
                    let Some(pending) = self.pending.pop_front() else {
                        break Some(malformed("it comes without a question"));
                    };
                    let ends = match &value {
                        Value::Error(message) if ends_connection(message) => Some(refused(message)),
                        _ => None,
                    };
                    // The receiver may have given up.
                    let _ = pending.reply.send(Ok(value));
                    if ends.is_some() {
                        break ends;
                    }
                }
            }
        };
        if let Some(error) = failure {
            return Poll::Ready(Some(self.fail(error)));
        }
        if let Some(oldest) = self.pending.front() {
            if self.timer.deadline() != oldest.deadline {
                self.timer.as_mut().reset(oldest.deadline);
            }
            ready!(self.timer.as_mut().poll(context));
            let late = Error::timeout(format!("the Redis does not answer within {COMMAND:?}"));
            return Poll::Ready(Some(self.fail(late)));
        }
        // With a closed channel and nothing pending, the next poll ends.
        match commands.is_closed() && commands.is_empty() {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    }

    /// Fails all commands that wait, and returns the error.
    fn fail(&mut self, error: Box<Error>) -> Box<Error> {
        for pending in self.pending.drain(..) {
            let copy = Error::new(error.kind, error.message.clone());
            // The receiver may have given up.
            let _ = pending.reply.send(Err(copy));
        }
        error
    }

    /// Sends what is to be sent, and returns the next reply.
    fn poll_reply(&mut self, context: &mut Context<'_>) -> Poll<Result<Value>> {
        let lost = |error: &std::io::Error| Error::connection(format!("the connection to the Redis is lost: {error}"));
        while !self.output.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, &self.output) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(lost(&std::io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(length)) => drop(self.output.split_to(length)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(lost(&error))),
            }
        }
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_flush(context) {
            return Poll::Ready(Err(lost(&error)));
        }
        loop {
            if let Some(value) = resp::decode(&mut self.input).map_err(malformed)? {
                return Poll::Ready(Ok(value));
            }
            let mut bytes = [std::mem::MaybeUninit::uninit(); READ];
            let mut buffer = ReadBuf::uninit(&mut bytes);
            match ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => {
                    return Poll::Ready(Err(lost(&std::io::ErrorKind::UnexpectedEof.into())));
                }
                Ok(()) => self.input.extend_from_slice(buffer.filled()),
                Err(error) => return Poll::Ready(Err(lost(&error))),
            }
        }
    }
}

#[cfg(test)]
mod tests;
