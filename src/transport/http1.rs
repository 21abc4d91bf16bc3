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
    answer: Parser,
    target: Target,
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
    /// What follows from a file.
    file: Option<Box<Reader>>,
    flushed: bool,
    /// Why it will not get there whole.
    broken: Option<std::io::Error>,
    /// Why the file could not be read.
    unreadable: Option<Box<Error>>,
}

impl Outgoing {
    fn is_done(&self) -> bool {
        self.flushed
    }

    /// Whether there is more to write; pending: the file's next piece is being read.
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
        Self { io, answer: Parser::new(max_head), target }
    }

    pub fn connection_stats(&self) -> &Arc<ConnectionStats> {
        self.io.connection_stats()
    }

    /// Whether an idle connection can carry another request: it was left in order, and the server has said nothing since.
    pub fn is_usable(&mut self) -> bool {
        if !self.answer.is_reusable() {
            return false;
        }
        self.io.begin_budget();
        // Costs no system call unless the reactor has seen the socket become readable, which it should not have.
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut byte = [0; 1];
        Pin::new(&mut self.io).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Sends a request and reads its answer's head; informational answers are passed over.
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
                        // A server that answers before it has read everything does not want the rest.
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

    /// Begins to send a request: most leave in one write, and what is left of the others is kept.
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
        let length = request.content_length();
        if request.method != Method::GET || length > 0 {
            head.extend_from_slice(b"\r\ncontent-length: ");
            head.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
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

    /// Reads what there is, and takes just as much memory: a connection that waits holds no buffer.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut scratch = ReadBuf::uninit(scratch);
            let read = Pin::new(&mut self.io).poll_read(context, &mut scratch);
            if read.is_pending() && self.answer.buffer.is_empty() {
                // Empty as it is, it would hold the memory of all that was read last.
                self.answer.shrink();
            }
            ready!(read)?;
            self.answer.buffer.extend_from_slice(scratch.filled());
            Poll::Ready(Ok(scratch.filled().len()))
        })
    }

    /// The next piece of the body, `None` at its end.
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

    /// How many bytes the body is known to have left, so that they can be read in one piece.
    pub fn known_length(&self) -> Option<u64> {
        self.answer.known_length()
    }

    /// Reads until `length` bytes are at hand, into one piece of memory.
    pub async fn gather(&mut self, length: usize) -> Result<()> {
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

    /// The next piece of the body, if it has been read already. Never waits: what is at hand may be the mere end of a
    /// chunk, behind which nothing comes for a while.
    pub fn buffered(&mut self) -> Result<Option<Bytes>> {
        match self.answer.decode()? {
            Decoded::Data(data) => Ok(Some(data)),
            Decoded::Done | Decoded::NeedsMore => Ok(None),
        }
    }

    /// Whether the body has been read to its end and the connection may carry another request.
    pub fn is_reusable(&self) -> bool {
        self.answer.is_reusable()
    }

    /// Gives the read buffer back: an idle connection should not hold one.
    pub fn shrink(&mut self) {
        self.answer.shrink();
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
