//! HTTP/1.1 on one connection: a request out, its answer in, one at a time.
//!
//! Message format: <https://www.rfc-editor.org/rfc/rfc9112>. Written by hand because it is the hot path: the request
//! leaves in one write, the answer's body is handed on as the bytes it was read into, and nothing is spawned
//! (docs/decisions.md has the measurement).

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::buf::Chain;
use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use memchr::{memchr, memchr_iter};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_util::io::poll_write_buf;

use super::connect::{Io, Target, refuses_identity};
use super::traffic::Traffic;
use crate::error::{Error, ErrorKind, Result};
use crate::types::http::{Headers, HttpRequest, Lines, field_of};

/// A chunk's size line, or a trailer line, may be this long.
const LONGEST_LINE: usize = 8 * 1024;
/// What is asked of the socket at a time.
const READ: usize = 64 * 1024;
/// A request of up to this size is copied behind its head, so that one write sends both.
const COPIED_BODY: usize = 16 * 1024;

thread_local! {
    /// Where all connections of a thread read to, before the bytes are copied into memory of their size.
    static SCRATCH: RefCell<Box<[MaybeUninit<u8>]>> = RefCell::new(Box::new_uninit_slice(READ));
    /// Where they put a request together.
    static HEAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One connection that is not shared.
pub(super) struct Connection {
    io: Io,
    buffer: BytesMut,
    framing: Framing,
    reusable: bool,
    target: Target,
    /// An answer's head may be this long.
    max_head: usize,
}

/// What is left of the answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Done,
    Length(u64),
    UntilClose,
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailer,
}

/// What the bytes at hand say about the body.
enum Decoded {
    Data(Bytes),
    Done,
    NeedsMore,
}

/// An answer's first part.
pub(super) struct Head {
    pub status: u16,
    pub headers: Headers,
    /// There is a `content-encoding` among them.
    pub is_encoded: bool,
}

/// A request that got no whole head in answer.
pub(super) struct Unanswered {
    pub error: Box<Error>,
    /// Not one byte of an answer came: on a connection that had been idle, the server closed it before it saw the request.
    pub silent: bool,
    /// The server has said that it did not look at the request.
    pub refused: bool,
}

/// A request on its way out.
struct Outgoing {
    rest: Chain<Bytes, Bytes>,
    flushed: bool,
    /// Why it will not get there whole.
    broken: Option<std::io::Error>,
}

impl Outgoing {
    fn is_done(&self) -> bool {
        self.flushed
    }

    fn poll_write(&mut self, io: &mut Io, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while self.rest.has_remaining() {
            // A vectored write is the dearer system call, and most requests are in one piece.
            let written = match self.rest.first_ref().has_remaining() && self.rest.last_ref().has_remaining() {
                true => ready!(poll_write_buf(Pin::new(&mut *io), context, &mut self.rest))?,
                false => {
                    let written = ready!(Pin::new(&mut *io).poll_write(context, self.rest.chunk()))?;
                    self.rest.advance(written);
                    written
                }
            };
            if written == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
        }
        ready!(Pin::new(io).poll_flush(context))?;
        self.flushed = true;
        Poll::Ready(Ok(()))
    }
}

impl Connection {
    pub fn new(io: Io, target: Target, max_head: usize) -> Self {
        Self { io, buffer: BytesMut::new(), framing: Framing::Done, reusable: true, target, max_head }
    }

    pub fn traffic(&self) -> &Arc<Traffic> {
        self.io.traffic()
    }

    /// Whether an idle connection can carry another request: it was left in order, and the server has said nothing since.
    pub fn is_usable(&mut self) -> bool {
        if !self.reusable || self.framing != Framing::Done || !self.buffer.is_empty() {
            return false;
        }
        // Costs no system call unless the reactor has seen the socket become readable, which it should not have.
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut byte = [0; 1];
        Pin::new(&mut self.io).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Sends a request and reads its answer's head; informational answers are passed over.
    pub async fn send(&mut self, request: &HttpRequest) -> Result<Head, Unanswered> {
        self.reusable = false;
        let mut outgoing = std::future::poll_fn(|context| Poll::Ready(self.begin(request, context))).await;
        let mut scanned = 0;
        loop {
            let read = self.exchange(&mut outgoing).await;
            let silent = self.buffer.is_empty();
            match read {
                Ok(0) => {
                    let error = match outgoing.broken {
                        Some(error) => format!("the connection broke before an answer came: {error}"),
                        None => "the server closed the connection without an answer".to_owned(),
                    };
                    return Err(Unanswered { error: Error::connection(error), silent, refused: false });
                }
                Ok(_) => {}
                Err(error) => {
                    return Err(Unanswered { error: broken(outgoing.broken, error), silent, refused: false });
                }
            }
            loop {
                match self.head(scanned) {
                    Ok(Some(head)) if head.status < 200 => scanned = 0,
                    Ok(Some(head)) => {
                        // A server that answers before it has read everything does not want the rest.
                        self.reusable &= outgoing.is_done();
                        return Ok(head);
                    }
                    Ok(None) => break,
                    Err(error) => return Err(Unanswered { error, silent: false, refused: false }),
                }
            }
            scanned = self.buffer.len();
        }
    }

    /// Begins to send a request: most leave in one write, and what is left of the others is kept.
    fn begin(&mut self, request: &HttpRequest, context: &mut Context<'_>) -> Outgoing {
        HEAD.with_borrow_mut(|head| {
            head.clear();
            self.write_head(request, head);
            if request.body.len() > COPIED_BODY {
                return Outgoing {
                    rest: Bytes::copy_from_slice(head).chain(request.body.clone()),
                    flushed: false,
                    broken: None,
                };
            }
            head.extend_from_slice(&request.body);
            let (written, broken) = match Pin::new(&mut self.io).poll_write(context, head) {
                Poll::Ready(Ok(written)) => (written, None),
                Poll::Ready(Err(error)) => (0, Some(error)),
                Poll::Pending => (0, None),
            };
            Outgoing { rest: Bytes::copy_from_slice(&head[written..]).chain(Bytes::new()), flushed: false, broken }
        })
    }

    fn write_head(&self, request: &HttpRequest, head: &mut Vec<u8>) {
        head.extend_from_slice(request.method.as_str().as_bytes());
        head.push(b' ');
        let authority = request.uri.authority().map_or("", |authority| authority.as_str());
        // <https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2>; a socket's path is no host.
        let host = match &self.target {
            Target::Server => authority,
            Target::Socket => "localhost",
            Target::Proxy(_) => {
                head.extend_from_slice(b"http://");
                head.extend_from_slice(authority.as_bytes());
                authority
            }
        };
        head.extend_from_slice(request.uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
        head.extend_from_slice(b" HTTP/1.1\r\nhost: ");
        head.extend_from_slice(host.as_bytes());
        for (name, value) in request.fields() {
            head.extend_from_slice(b"\r\n");
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
        }
        if let Target::Proxy(Some(authorization)) = &self.target {
            head.extend_from_slice(b"\r\nproxy-authorization: ");
            head.extend_from_slice(authorization.as_bytes());
        }
        // A GET without a body has no length either: servers may take one that says 0 for a mistake.
        if request.method != Method::GET || !request.body.is_empty() {
            head.extend_from_slice(b"\r\ncontent-length: ");
            head.extend_from_slice(itoa::Buffer::new().format(request.body.len()).as_bytes());
        }
        head.extend_from_slice(b"\r\n\r\n");
    }

    /// Writes what is left of a request and reads what there is of its answer: whichever is possible, until something
    /// was read. A server may answer, and stop reading, long before it has seen the whole of a large request.
    async fn exchange(&mut self, outgoing: &mut Outgoing) -> std::io::Result<usize> {
        std::future::poll_fn(|context| {
            if !outgoing.is_done()
                && outgoing.broken.is_none()
                && let Poll::Ready(Err(error)) = outgoing.poll_write(&mut self.io, context)
            {
                outgoing.broken = Some(error);
            }
            self.poll_read(context)
        })
        .await
    }

    async fn read(&mut self) -> std::io::Result<usize> {
        std::future::poll_fn(|context| self.poll_read(context)).await
    }

    /// Reads what there is, and takes just as much memory: a connection that waits holds no buffer.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut scratch = ReadBuf::uninit(scratch);
            ready!(Pin::new(&mut self.io).poll_read(context, &mut scratch))?;
            self.buffer.extend_from_slice(scratch.filled());
            Poll::Ready(Ok(scratch.filled().len()))
        })
    }

    /// The head, if it is all there. `scanned` bytes were there at the last look.
    fn head(&mut self, scanned: usize) -> Result<Option<Head>> {
        let Some(end) = end_of_head(&self.buffer, scanned) else {
            return match self.buffer.len() > self.max_head {
                true => Err(head_too_large(self.max_head)),
                false => Ok(None),
            };
        };
        if end > self.max_head {
            return Err(head_too_large(self.max_head));
        }
        let mut head = self.buffer.split_to(end).freeze();
        let mut lines = Lines(&head);
        let status_line = lines.next().unwrap_or_default();
        let (http10, status) = read_status_line(status_line)?;
        let start = status_line.len() + 1;
        if status == 101 {
            return Err(malformed("a switch to another protocol that nobody asked for"));
        }

        let mut framing = Framing::UntilClose;
        let mut chunked = false;
        let mut keep_alive = !http10;
        let mut folded = false;
        let mut is_encoded = false;
        for line in lines {
            match line.first() {
                // The empty line at the end.
                None | Some(b'\r') => continue,
                Some(b' ' | b'\t') => {
                    folded = true;
                    continue;
                }
                Some(_) => {}
            }
            let (name, value) = field_of(line).ok_or_else(|| malformed("a header field without a colon"))?;
            // Few fields matter here, and all of those begin with one of two letters.
            if !matches!(name.first(), Some(b'c' | b'C' | b't' | b'T')) {
                continue;
            }
            if name.eq_ignore_ascii_case(b"content-length") {
                let length = number(value, 10).ok_or_else(|| malformed("a content-length that is no number"))?;
                if matches!(framing, Framing::Length(other) if other != length) {
                    return Err(malformed("two different content-lengths"));
                }
                framing = Framing::Length(length);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    let coding = String::from_utf8_lossy(value);
                    return Err(malformed(format!("a transfer-encoding of {coding}, and only chunked is known")));
                }
                chunked = true;
            } else if name.eq_ignore_ascii_case(b"content-encoding") {
                is_encoded = true;
            } else if name.eq_ignore_ascii_case(b"connection") {
                for option in value.split(|byte| *byte == b',') {
                    if option.trim_ascii().eq_ignore_ascii_case(b"close") {
                        keep_alive = false;
                    } else if http10 && option.trim_ascii().eq_ignore_ascii_case(b"keep-alive") {
                        keep_alive = true;
                    }
                }
            }
        }
        if chunked {
            // With a length beside it, somebody on the way may have believed that one: what follows is not to be trusted.
            keep_alive &= framing == Framing::UntilClose;
            framing = Framing::ChunkSize;
        }
        if matches!(status, 204 | 304) || framing == Framing::Length(0) {
            framing = Framing::Done;
        }
        self.reusable = keep_alive && framing != Framing::UntilClose;
        if status >= 200 {
            self.framing = framing;
        }
        head.advance(start);
        let headers = Headers::new(if folded { unfolded(&head) } else { head });
        Ok(Some(Head { status, headers, is_encoded }))
    }

    /// The next piece of the body, `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.decode()? {
                Decoded::Data(data) => return Ok(Some(data)),
                Decoded::Done => return Ok(None),
                Decoded::NeedsMore => {
                    let read = self.read().await.map_err(|error| {
                        Error::connection(format!("the connection broke in the middle of an answer: {error}"))
                    })?;
                    if read == 0 {
                        if self.framing != Framing::UntilClose {
                            self.reusable = false;
                            return Err(Error::connection("the connection closed in the middle of an answer"));
                        }
                        self.framing = Framing::Done;
                    }
                }
            }
        }
    }

    /// How many bytes the body is known to have left, so that they can be read in one piece.
    pub fn known_length(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        }
    }

    /// Reads until `length` bytes are at hand, into one piece of memory.
    pub async fn gather(&mut self, length: usize) -> Result<()> {
        self.buffer.reserve(length.saturating_sub(self.buffer.len()));
        while self.buffer.len() < length {
            match self.io.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(Error::connection("the connection closed in the middle of an answer")),
                Ok(_) => {}
                Err(error) => {
                    return Err(Error::connection(format!("the connection broke in the middle of an answer: {error}")));
                }
            }
        }
        Ok(())
    }

    /// The next piece of the body, if it has been read already. Never waits: what is at hand may be the mere end of a
    /// chunk, behind which nothing comes for a while.
    pub fn buffered(&mut self) -> Result<Option<Bytes>> {
        match self.decode()? {
            Decoded::Data(data) => Ok(Some(data)),
            Decoded::Done | Decoded::NeedsMore => Ok(None),
        }
    }

    /// Whether the body has been read to its end and the connection may carry another request.
    pub fn is_reusable(&self) -> bool {
        self.framing == Framing::Done && self.reusable && self.buffer.is_empty()
    }

    /// Gives the read buffer back: an idle connection should not hold one.
    pub fn shrink(&mut self) {
        self.buffer = BytesMut::new();
    }

    fn decode(&mut self) -> Result<Decoded> {
        loop {
            match self.framing {
                Framing::Done => return Ok(Decoded::Done),
                Framing::UntilClose if self.buffer.is_empty() => return Ok(Decoded::NeedsMore),
                Framing::UntilClose => return Ok(Decoded::Data(self.buffer.split().freeze())),
                Framing::Length(left) | Framing::ChunkData(left) => {
                    if self.buffer.is_empty() {
                        return Ok(Decoded::NeedsMore);
                    }
                    let taken = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let data = self.buffer.split_to(taken).freeze();
                    let left = left - taken as u64;
                    self.framing = match self.framing {
                        Framing::Length(_) if left == 0 => Framing::Done,
                        Framing::Length(_) => Framing::Length(left),
                        _ if left == 0 => Framing::ChunkEnd,
                        _ => Framing::ChunkData(left),
                    };
                    return Ok(Decoded::Data(data));
                }
                Framing::ChunkSize | Framing::ChunkEnd | Framing::Trailer => {
                    let Some(end) = memchr(b'\n', &self.buffer) else {
                        if self.buffer.len() > LONGEST_LINE {
                            return Err(malformed(format!("a chunk's line of more than {LONGEST_LINE} bytes")));
                        }
                        return Ok(Decoded::NeedsMore);
                    };
                    let line = self.buffer[..end].trim_ascii();
                    self.framing = match self.framing {
                        Framing::ChunkSize => match chunk_size(line)? {
                            0 => Framing::Trailer,
                            size => Framing::ChunkData(size),
                        },
                        Framing::ChunkEnd if line.is_empty() => Framing::ChunkSize,
                        Framing::ChunkEnd => return Err(malformed("a chunk that is longer than it said")),
                        Framing::Trailer if line.is_empty() => Framing::Done,
                        other => other,
                    };
                    self.buffer.advance(end + 1);
                }
            }
        }
    }
}

/// A connection that broke before an answer came: what writing failed with, if it did, and what reading did.
fn broken(writing: Option<std::io::Error>, reading: std::io::Error) -> Box<Error> {
    let is_refused = refuses_identity(&reading);
    let error = if is_refused { reading } else { writing.unwrap_or(reading) };
    let mut broken = Error::connection(format!("the connection broke before an answer came: {error}"));
    if is_refused {
        broken.message += " (the server wants a certificate of the client's, or another: client_cert)";
        broken.should_retry = Some(false);
    }
    broken
}

/// Where the head ends, its empty line included, if it is all there. `scanned` bytes were there at the last look.
pub(super) fn end_of_head(bytes: &[u8], scanned: usize) -> Option<usize> {
    // Whatever stood at the end may be the beginning of the empty line.
    let from = scanned.saturating_sub(3);
    memchr_iter(b'\n', &bytes[from..]).map(|found| from + found + 1).find_map(|at| match &bytes[at..] {
        [b'\n', ..] => Some(at + 1),
        [b'\r', b'\n', ..] => Some(at + 2),
        _ => None,
    })
}

/// Whether it is HTTP/1.0, and the status.
fn read_status_line(line: &[u8]) -> Result<(bool, u16)> {
    match line {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', status @ ..] => {
            let (digits, rest) = status.split_at(status.len().min(3));
            let status = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
            match (status, rest.first()) {
                (Some(status @ 100..), Some(b' ' | b'\r') | None) => Ok((*minor == b'0', status)),
                _ => Err(malformed("a status that is not three digits")),
            }
        }
        _ => Err(malformed("it does not begin with HTTP/1.1 or HTTP/1.0")),
    }
}

/// The lines, each field in one; old servers go on in lines that begin with a space:
/// <https://www.rfc-editor.org/rfc/rfc9112#section-5.2>.
fn unfolded(lines: &[u8]) -> Bytes {
    let mut whole = lines.to_vec();
    for at in 1..whole.len() {
        if matches!(whole[at], b' ' | b'\t') && whole[at - 1] == b'\n' {
            whole[at - 1] = b' ';
            if at > 1 && whole[at - 2] == b'\r' {
                whole[at - 2] = b' ';
            }
        }
    }
    whole.into()
}

fn chunk_size(line: &[u8]) -> Result<u64> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    number(digits, 16).ok_or_else(|| malformed("a chunk whose size is no number"))
}

/// A number that is written with digits alone.
fn number(text: &[u8], radix: u32) -> Option<u64> {
    let is_number = text.len() <= 15 && text.iter().all(|byte| char::from(*byte).is_digit(radix));
    u64::from_str_radix(std::str::from_utf8(text).ok().filter(|_| is_number)?, radix).ok()
}

fn head_too_large(max: usize) -> Box<Error> {
    Error::new(
        ErrorKind::ApiResponseValidation,
        format!("the answer's head is larger than {max} bytes (max_header_size)"),
    )
}

fn malformed(what: impl std::fmt::Display) -> Box<Error> {
    Error::new(ErrorKind::ApiConnection, format!("the answer is not HTTP/1.1: {what}"))
}
