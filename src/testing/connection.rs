//! The server's side of HTTP/1.1: reads requests and writes answers.

use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::{Either, select};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedReceiver;

use super::reply::{End, Reply};
use crate::transport::detour::Link;

/// Size of a read: enough for the head of most requests, and for their body.
const READ_SIZE: usize = 8 * 1024;
/// Maximum number of header fields.
const MAX_HEADERS: usize = 128;
/// Maximum size of a head or of a line of a chunk.
const MAX_HEAD: usize = 256 * 1024;

/// A request with its whole body.
#[derive(Debug, Clone)]
pub struct Received {
    /// The head, which requests of a connection share if it is equal.
    pub head: Arc<Head>,
    /// The body.
    pub body: Bytes,
}

/// The head of a request.
#[derive(Debug)]
pub struct Head {
    /// Method.
    pub method: String,
    /// Path with its query, or a whole URL.
    pub target: String,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The bytes that were received.
    bytes: Bytes,
    framing: Framing,
    /// True if the client waits for leave to send the body.
    expects: bool,
}

/// What becomes of a request.
pub enum Action {
    /// An answer that is known.
    Respond(Response),
    /// An answer that comes in pieces, as they are written. Behind an error the connection is closed.
    Relay(UnboundedReceiver<std::result::Result<Bytes, Vec<u8>>>),
}

/// The answer to a request.
pub struct Response {
    /// The answer.
    pub reply: Reply,
    /// A key, if an equal request gets the same answer as long as [`Responder::repeated`] says so.
    pub key: Option<u64>,
    /// Dropped when the answer was written, or the client went away.
    pub guard: Option<Box<dyn Send>>,
}

/// What a server does with a request.
pub trait Responder: Send + Sync + 'static {
    /// Returns the answer to a request, which came on this connection.
    fn respond(&self, received: Received, link: Link) -> Action;

    /// Returns the number of a request that is equal to the one before on its connection, if it gets the same answer.
    fn repeated(&self, key: u64, received: &Received) -> Option<u64>;
}

/// Answers requests until the client goes away.
pub(super) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, link: Link, responder: &dyn Responder) {
    let mut connection = Connection { stream, link, input: BytesMut::new() };
    // Nobody is left to tell about an error: the client has gone, or speaks no HTTP.
    drop(connection.answer_all(responder).await);
}

struct Connection<S> {
    stream: S,
    link: Link,
    /// Bytes received and not yet consumed.
    input: BytesMut,
}

/// The answer to the last request of a connection, for requests that are equal to it.
struct Prepared {
    key: u64,
    received: Received,
    reply: Reply,
}

/// How the body of a request is framed.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn answer_all(&mut self, responder: &dyn Responder) -> io::Result<()> {
        let mut prepared: Option<Prepared> = None;
        loop {
            let head = self.read_head(prepared.as_ref().map(|known| &known.received.head)).await?;
            if head.expects {
                self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            }
            let body = match head.framing {
                Framing::Length(length) => self.read_exact(length).await?,
                Framing::Chunked => self.read_chunks().await?,
            };
            if let Some(known) = &mut prepared
                && Arc::ptr_eq(&known.received.head, &head)
                && known.received.body == body
                && let Some(number) = responder.repeated(known.key, &known.received)
            {
                known.reply.stamp(number);
                self.write(&known.reply).await?;
                continue;
            }
            let received = Received { head, body };
            let Response { reply, key, guard } = match responder.respond(received.clone(), self.link) {
                Action::Respond(response) => response,
                Action::Relay(pieces) => {
                    self.relay(pieces).await?;
                    prepared = None;
                    continue;
                }
            };
            self.write(&reply).await?;
            drop(guard);
            prepared = key.map(|key| Prepared { key, received, reply });
        }
    }

    /// Reads a head. It is often the same as that of the request before, byte by byte, and then not parsed again.
    async fn read_head(&mut self, last: Option<&Arc<Head>>) -> io::Result<Arc<Head>> {
        loop {
            if let Some(last) = last
                && self.input.starts_with(&last.bytes)
            {
                self.input.advance(last.bytes.len());
                return Ok(last.clone());
            }
            if let Some((length, head)) = parse_head(&self.input)? {
                return Ok(Arc::new(Head { bytes: self.input.split_to(length).freeze(), ..head }));
            }
            if self.input.len() > MAX_HEAD {
                return Err(ErrorKind::InvalidData.into());
            }
            self.read_some().await?;
        }
    }

    async fn read_exact(&mut self, length: usize) -> io::Result<Bytes> {
        while self.input.len() < length {
            self.read_some().await?;
        }
        Ok(self.input.split_to(length).freeze())
    }

    async fn read_chunks(&mut self) -> io::Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let line = self.read_line().await?;
            let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            let digits = std::str::from_utf8(digits).map_err(|_| ErrorKind::InvalidData)?;
            let size = usize::from_str_radix(digits, 16).map_err(|_| ErrorKind::InvalidData)?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&self.read_exact(size).await?);
            self.read_line().await?;
        }
        while !self.read_line().await?.is_empty() {}
        Ok(body.freeze())
    }

    async fn read_line(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.input) {
                let line = self.input.split_to(end + 1).freeze();
                return Ok(line.slice(..line.trim_ascii_end().len()));
            }
            if self.input.len() > MAX_HEAD {
                return Err(ErrorKind::InvalidData.into());
            }
            self.read_some().await?;
        }
    }

    /// Reads once. The end of the connection is an error.
    async fn read_some(&mut self) -> io::Result<()> {
        self.input.reserve(READ_SIZE);
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn write(&mut self, reply: &Reply) -> io::Result<()> {
        for (pause, piece) in reply.pieces() {
            if !pause.is_zero() {
                self.wait(pause).await?;
            }
            self.stream.write_all(piece).await?;
        }
        match reply.end() {
            End::Complete => Ok(()),
            End::Close => Err(ErrorKind::ConnectionAborted.into()),
            End::Stall => loop {
                self.read_some().await?;
            },
        }
    }

    /// Writes pieces as they come.
    async fn relay(&mut self, mut pieces: UnboundedReceiver<Result<Bytes, Vec<u8>>>) -> io::Result<()> {
        loop {
            let piece = {
                let next = pin!(pieces.recv());
                let read = pin!(self.read_some());
                match select(next, read).await {
                    Either::Left((piece, _)) => piece,
                    Either::Right((read, _)) => {
                        read?;
                        continue;
                    }
                }
            };
            match piece {
                Some(Ok(piece)) => self.stream.write_all(&piece).await?,
                Some(Err(last)) => {
                    self.stream.write_all(&last).await?;
                    return Err(ErrorKind::ConnectionAborted.into());
                }
                None => return Ok(()),
            }
        }
    }

    /// Lets time pass, but no longer than the client stays.
    async fn wait(&mut self, time: Duration) -> io::Result<()> {
        let mut time = pin!(tokio::time::sleep(time));
        loop {
            let read = pin!(self.read_some());
            match select(time.as_mut(), read).await {
                Either::Left(_) => return Ok(()),
                Either::Right((read, _)) => read?,
            }
        }
    }
}

/// Returns a head and its length, if it is complete.
fn parse_head(input: &[u8]) -> io::Result<Option<(usize, Head)>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut fields);
    let status = request.parse(input).map_err(|_| ErrorKind::InvalidData)?;
    let httparse::Status::Complete(length) = status else { return Ok(None) };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers: Vec<(String, String)> =
        request.headers.iter().map(|field| (field.name.to_ascii_lowercase(), text(field.value))).collect();
    let find = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let framing = match find("transfer-encoding") {
        Some(coding) if coding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
        Some(_) => return Err(ErrorKind::Unsupported.into()),
        None => {
            let length = find("content-length").unwrap_or("0").trim().parse();
            Framing::Length(length.map_err(|_| ErrorKind::InvalidData)?)
        }
    };
    let expects = find("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"));
    let (method, target) = (request.method.unwrap_or_default().to_owned(), request.path.unwrap_or_default().to_owned());
    Ok(Some((length, Head { method, target, headers, bytes: Bytes::new(), framing, expects })))
}
