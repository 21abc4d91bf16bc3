//! HTTP/1.1 client connection: sends one request at a time and reads its response.
//!
//! Message format: <https://www.rfc-editor.org/rfc/rfc9112>. Written by hand because this is the hot path: a request is
//! sent in one write, the body of the response is passed on as the bytes that were read, and no task is spawned
//! (docs/decisions.md has the measurement).

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use http::Method;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_util::io::poll_write_buf;

use super::answer::{Decoded, Head, Parser};
use super::connect::{Io, Target, refuses_identity};
use super::connection_stats::ConnectionStats;
use super::upload::Reader;
use crate::error::{Error, Result};
use crate::types::http::HttpRequest;

/// Maximum number of bytes per read.
const READ_SIZE: usize = 64 * 1024;
/// Maximum size of a body that is copied behind its head, so that one write sends both.
const COPIED_BODY: usize = 16 * 1024;

thread_local! {
    /// Read buffer shared by all connections of a thread, from which bytes are copied into allocations of their size.
    static SCRATCH: RefCell<Box<[MaybeUninit<u8>]>> = RefCell::new(Box::new_uninit_slice(READ_SIZE));
    /// Write buffer shared by all connections of a thread.
    static HEAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A connection that carries one request at a time.
pub(super) struct Connection {
    io: Io,
    answer: Parser,
    target: Target,
}

/// Failure of a request before the head of its response was received.
pub(super) struct Unanswered {
    pub error: Box<Error>,
    /// True if no byte of a response was received: the server may have closed an idle connection before the request
    /// arrived.
    pub silent: bool,
    /// True if the server reported that it did not process the request.
    pub refused: bool,
}

/// A request that is being sent.
struct Outgoing {
    rest: Chain<Bytes, Bytes>,
    /// Source of the part of the body that is read from a file.
    file: Option<Box<Reader>>,
    flushed: bool,
    /// Error of a failed write.
    broken: Option<std::io::Error>,
    /// Error of a failed read of the file.
    unreadable: Option<Box<Error>>,
}

impl Outgoing {
    fn is_done(&self) -> bool {
        self.flushed
    }

    /// Returns true if there is more to write; pending while the next piece of the file is being read.
    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<bool>> {
        if self.rest.has_remaining() {
            return Poll::Ready(Ok(true));
        }
        let Some(file) = &mut self.file else { return Poll::Ready(Ok(false)) };
        match ready!(file.poll_piece(context)) {
            Ok(Some(piece)) => self.rest = piece.chain(Bytes::new()),
            Ok(None) => self.file = None,
            Err(error) => {
                self.unreadable = Some(error);
                return Poll::Ready(Err(std::io::ErrorKind::InvalidInput.into()));
            }
        }
        Poll::Ready(Ok(self.file.is_some()))
    }

    fn poll_write(&mut self, io: &mut Io, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while ready!(self.poll_rest(context))? {
            // A vectored write is the more expensive system call, and most requests are in one piece.
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
    /// Creates a connection on a byte stream.
    pub fn new(io: Io, target: Target, max_head: usize) -> Self {
        Self { io, answer: Parser::new(max_head), target }
    }

    /// Returns the statistics that count this connection.
    pub fn connection_stats(&self) -> &Arc<ConnectionStats> {
        self.io.connection_stats()
    }

    /// Returns true if an idle connection can carry another request: the last response was complete, and nothing was
    /// received since.
    pub fn is_usable(&mut self) -> bool {
        if !self.answer.is_reusable() {
            return false;
        }
        self.io.begin_budget();
        // No system call is made unless the reactor has seen the socket become readable, which would mean that the
        // server closed it.
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut byte = [0; 1];
        Pin::new(&mut self.io).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Sends a request and reads the head of its response, ignoring informational responses.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection is lost, the head is malformed, or a file of the request cannot be read.
    pub async fn send(&mut self, request: &HttpRequest) -> Result<Head, Unanswered> {
        self.answer.reusable = false;
        let mut outgoing = std::future::poll_fn(|context| Poll::Ready(self.begin(request, context))).await;
        let mut scanned = 0;
        loop {
            let read = self.exchange(&mut outgoing).await;
            let silent = self.answer.buffer.is_empty();
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
                    if let Some(error) = outgoing.unreadable {
                        return Err(Unanswered { error, silent: false, refused: false });
                    }
                    return Err(Unanswered { error: broken(outgoing.broken, error), silent, refused: false });
                }
            }
            loop {
                match self.answer.head(scanned) {
                    Ok(Some(head)) if head.status < 200 => scanned = 0,
                    Ok(Some(head)) => {
                        // A server that responds before it has read the whole request does not need the rest.
                        self.answer.reusable &= outgoing.is_done();
                        return Ok(head);
                    }
                    Ok(None) => break,
                    Err(error) => return Err(Unanswered { error, silent: false, refused: false }),
                }
            }
            scanned = self.answer.buffer.len();
        }
    }

    /// Starts sending a request: most are sent in one write, and the rest of the others is returned.
    fn begin(&mut self, request: &HttpRequest, context: &mut Context<'_>) -> Outgoing {
        HEAD.with_borrow_mut(|head| {
            head.clear();
            self.write_head(request, head);
            if request.body.len() > COPIED_BODY || request.file.is_some() {
                return Outgoing {
                    rest: Bytes::copy_from_slice(head).chain(request.body.clone()),
                    file: request.file.as_deref().map(|file| Box::new(Reader::new(file.clone()))),
                    flushed: false,
                    broken: None,
                    unreadable: None,
                };
            }
            head.extend_from_slice(&request.body);
            let (written, broken) = match Pin::new(&mut self.io).poll_write(context, head) {
                Poll::Ready(Ok(written)) => (written, None),
                Poll::Ready(Err(error)) => (0, Some(error)),
                Poll::Pending => (0, None),
            };
            let rest = Bytes::copy_from_slice(&head[written..]).chain(Bytes::new());
            Outgoing { rest, file: None, flushed: false, broken, unreadable: None }
        })
    }

    fn write_head(&self, request: &HttpRequest, head: &mut Vec<u8>) {
        head.extend_from_slice(request.method.as_str().as_bytes());
        head.push(b' ');
        let authority = request.uri.authority().map_or("", |authority| authority.as_str());
        // <https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2>; the path of a socket is not a valid host.
        let host = match &self.target {
            Target::Server => authority,
            Target::Socket => "localhost",
            Target::Detour(scheme, _) => {
                head.extend_from_slice(scheme.as_bytes());
                head.extend_from_slice(b"://");
                head.extend_from_slice(authority.as_bytes());
                authority
            }
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
        // A GET without a body has no length: some servers reject one of 0.
        let length = request.content_length();
        if request.method != Method::GET || length > 0 {
            head.extend_from_slice(b"\r\ncontent-length: ");
            head.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        }
        head.extend_from_slice(b"\r\n\r\n");
    }

    /// Writes the rest of a request and reads the response concurrently, until something was read. A server may
    /// respond, and stop reading, long before it has received a large request.
    async fn exchange(&mut self, outgoing: &mut Outgoing) -> std::io::Result<usize> {
        std::future::poll_fn(|context| {
            if !outgoing.is_done()
                && outgoing.broken.is_none()
                && let Poll::Ready(Err(error)) = outgoing.poll_write(&mut self.io, context)
            {
                if outgoing.unreadable.is_some() {
                    return Poll::Ready(Err(error));
                }
                outgoing.broken = Some(error);
            }
            self.poll_read(context)
        })
        .await
    }

    async fn read(&mut self) -> std::io::Result<usize> {
        std::future::poll_fn(|context| self.poll_read(context)).await
    }

    /// Reads what is available into an allocation of its size, so that a waiting connection holds no buffer.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut scratch = ReadBuf::uninit(scratch);
            let read = Pin::new(&mut self.io).poll_read(context, &mut scratch);
            if read.is_pending() && self.answer.buffer.is_empty() {
                // An empty buffer would still hold the memory of the previous read.
                self.answer.shrink();
            }
            ready!(read)?;
            self.answer.buffer.extend_from_slice(scratch.filled());
            Poll::Ready(Ok(scratch.filled().len()))
        })
    }

    /// Returns the next piece of the body; `None` at its end.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection is lost or the body is malformed.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.answer.decode()? {
                Decoded::Data(data) => return Ok(Some(data)),
                Decoded::Done => return Ok(None),
                Decoded::NeedsMore => {
                    let read = self.read().await.map_err(|error| {
                        Error::connection(format!("the connection broke in the middle of an answer: {error}"))
                    })?;
                    if read == 0 {
                        self.answer.end()?;
                    }
                }
            }
        }
    }

    /// Returns the number of bytes left of a body of known length.
    pub fn known_length(&self) -> Option<u64> {
        self.answer.known_length()
    }

    /// Reads until `length` bytes are buffered, in one allocation.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection is lost.
    pub async fn fill_buffer(&mut self, length: usize) -> Result<()> {
        self.answer.buffer.reserve(length.saturating_sub(self.answer.buffer.len()));
        while self.answer.buffer.len() < length {
            match self.io.read_buf(&mut self.answer.buffer).await {
                Ok(0) => return Err(Error::connection("the connection closed in the middle of an answer")),
                Ok(_) => {}
                Err(error) => {
                    return Err(Error::connection(format!("the connection broke in the middle of an answer: {error}")));
                }
            }
        }
        Ok(())
    }

    /// Returns the next piece of the body if it has been read already. Never waits, since the buffered bytes may be
    /// only the end of a chunk.
    ///
    /// # Errors
    ///
    /// Returns an error if the body is malformed.
    pub fn buffered(&mut self) -> Result<Option<Bytes>> {
        match self.answer.decode()? {
            Decoded::Data(data) => Ok(Some(data)),
            Decoded::Done | Decoded::NeedsMore => Ok(None),
        }
    }

    /// Returns true if the body was read to its end and the connection can carry another request.
    pub fn is_reusable(&self) -> bool {
        self.answer.is_reusable()
    }

    /// Releases the read buffer, which an idle connection does not need.
    pub fn shrink(&mut self) {
        self.answer.shrink();
    }
}

/// Creates the error of a connection that was lost before the response, from the errors of writing, if any, and
/// reading.
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
