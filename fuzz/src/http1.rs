//! Compares this library's HTTP/1.1 parser with others on the same bytes, and lists where they may differ.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::Body;
use ritellm::transport::answer::{Decoded, Parser};

use super::cut;
use super::http1_decisions::DECISIONS;

/// Maximum length of a header section, small enough for the fuzzer to reach.
pub const MAX_HEAD: usize = 4096;

/// Status and body of the first response in the bytes, after which the connection ends; or the error message.
pub type Read = Result<(u16, Vec<u8>), String>;

/// Parses the bytes with this library's parser; the flag is true if the connection could be reused.
pub fn ours(pieces: impl IntoIterator<Item = Bytes>) -> (Read, bool) {
    let mut parser = Parser::new(MAX_HEAD);
    let mut pieces = pieces.into_iter();
    let read = read_with(&mut parser, &mut pieces);
    pieces.for_each(|piece| parser.feed(&piece));
    let is_reusable = read.is_ok() && parser.is_reusable();
    (read, is_reusable)
}

fn read_with(parser: &mut Parser, pieces: &mut impl Iterator<Item = Bytes>) -> Read {
    let status = loop {
        match parser.head(0).map_err(|error| error.message)? {
            Some(head) if head.status < 200 => {}
            Some(head) => break head.status,
            None => parser.feed(&pieces.next().ok_or("cut")?),
        }
    };
    let mut body = Vec::new();
    loop {
        match parser.decode().map_err(|error| error.message)? {
            Decoded::Data(data) => body.extend_from_slice(&data),
            Decoded::Done => return Ok((status, body)),
            Decoded::NeedsMore => match pieces.next() {
                Some(piece) => parser.feed(&piece),
                None => parser.end().map_err(|_| "cut")?,
            },
        }
    }
}

/// Checks that the result does not depend on where the bytes are split. The input's first byte chooses the splits.
pub fn check_cuts(input: &[u8]) {
    let Some((seed, bytes)) = input.split_first() else { return };
    let whole = Bytes::copy_from_slice(bytes);
    assert_eq!(ours([whole.clone()]), ours(cut(whole, *seed)), "{:?}", String::from_utf8_lossy(bytes));
}

/// Feeds `start`, then `again` without end; returns the number of bytes that the parser took before its error.
pub fn flood(start: &[u8], again: &[u8]) -> (usize, String) {
    let mut parser = Parser::new(MAX_HEAD);
    let mut fed = 0;
    let again = Bytes::copy_from_slice(again);
    let mut pieces = [Bytes::copy_from_slice(start)].into_iter().chain(std::iter::repeat_n(again, 1 << 20));
    let read = read_with(&mut parser, &mut pieces.by_ref().inspect(|piece| fed += piece.len()));
    (fed, read.expect_err("there is no end to it"))
}

/// Parses the bytes with hyper's client, whose header sections are parsed by httparse.
pub fn hypers(bytes: &[u8]) -> Read {
    let wire = Wire { bytes: bytes.to_vec(), taken: 0, is_asked: false };
    let mut context = Context::from_waker(Waker::noop());
    let mut shake = pin!(hyper::client::conn::http1::handshake::<_, String>(wire));
    let Poll::Ready(Ok((mut sender, connection))) = shake.as_mut().poll(&mut context) else { unreachable!("no I/O") };
    let mut connection = pin!(connection);
    let request = http::Request::get("/").header("host", "h").body(String::new()).expect("it is one");
    let mut exchange = pin!(async {
        let answer = sender.send_request(request).await.map_err(|error| format!("{error:?}"))?;
        let status = answer.status().as_u16();
        let mut incoming = answer.into_body();
        let mut body = Vec::new();
        while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut incoming).poll_frame(context)).await {
            let frame = frame.map_err(|error| format!("{error:?}"))?;
            frame.data_ref().into_iter().for_each(|data| body.extend_from_slice(data));
        }
        Ok((status, body))
    });
    let mut is_over = false;
    for _ in 0..10_000 {
        is_over = is_over || connection.as_mut().poll(&mut context).is_ready();
        if let Poll::Ready(read) = exchange.as_mut().poll(&mut context) {
            return read;
        }
    }
    Err("it waits for ever".to_owned())
}

/// A connection on which the response arrives after the request was written, followed by the end of the connection.
struct Wire {
    bytes: Vec<u8>,
    taken: usize,
    is_asked: bool,
}

impl hyper::rt::Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.is_asked {
            return Poll::Pending;
        }
        let length = buffer.remaining().min(self.bytes.len() - self.taken);
        buffer.put_slice(&self.bytes[self.taken..self.taken + length]);
        self.taken += length;
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.is_asked = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A parser to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// hyper's client, with httparse.
    Hyper,
    /// llhttp as it is by default, and as Node.js has it.
    Llhttp,
    /// aiohttp's client: llhttp with leniency.
    Aiohttp,
}

/// The parsers to compare with.
pub const PEERS: [Peer; 3] = [Peer::Hyper, Peer::Llhttp, Peer::Aiohttp];

/// Checks that another parser's result is the same as this library's, or that the difference is in [`DECISIONS`].
///
/// # Panics
/// If there is another difference.
pub fn check_peer(bytes: &[u8], peer: Peer, theirs: &Read) {
    let ours = ours([Bytes::copy_from_slice(bytes)]).0;
    if let Some(difference) = difference(bytes, peer, &ours, theirs) {
        panic!("{peer:?}, {}: {difference}", String::from_utf8_lossy(bytes).escape_debug());
    }
}

/// Returns a description of a difference that is not in [`DECISIONS`].
pub fn difference(bytes: &[u8], peer: Peer, ours: &Read, theirs: &Read) -> Option<String> {
    let is_decided = match (ours, theirs) {
        // Both return an error; its timing and message may differ.
        (Err(_), Err(_)) => true,
        (Ok(ours), Ok(theirs)) if ours == theirs => true,
        // The parsers read different responses.
        (Ok(_), Ok(_)) => decided(peer, Differs::Otherwise, bytes, ""),
        (Err(refusal), Ok(_)) => {
            decided(peer, Differs::WeRefuse, bytes, refusal) || decided(peer, Differs::Otherwise, bytes, refusal)
        }
        (Ok(_), Err(refusal)) => decided(peer, Differs::TheyRefuse, bytes, refusal),
    };
    (!is_decided).then(|| format!("ours: {}, theirs: {}", shown(ours), shown(theirs)))
}

fn shown(read: &Read) -> String {
    match read {
        Ok((status, body)) => format!("{status} {:?}", String::from_utf8_lossy(body)),
        Err(refusal) => format!("refused ({refusal})"),
    }
}

fn decided(peer: Peer, differs: Differs, bytes: &[u8], refusal: &str) -> bool {
    DECISIONS.iter().any(|decision| {
        decision.peers.contains(&peer)
            && decision.differs == differs
            && (refusal.is_empty() || decision.refusals.iter().any(|part| refusal.contains(part)))
            && (decision.applies)(bytes)
    })
}

/// How two parsers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Differs {
    WeRefuse,
    TheyRefuse,
    /// They read another body, also where ours is not valid.
    Otherwise,
}

/// An intended difference.
pub struct Decision {
    /// Section of RFC 9112, unless another RFC is named.
    pub section: &'static str,
    pub what: &'static str,
    pub peers: &'static [Peer],
    pub differs: Differs,
    /// Parts of the error messages of the parsers that reject the response, of which there is one.
    pub refusals: &'static [&'static str],
    pub applies: fn(&[u8]) -> bool,
    pub example: &'static [u8],
}

/// Generates a nearly valid response; each byte chooses its next part.
pub fn generated(choices: &[u8]) -> Vec<u8> {
    let mut choices = choices.iter().copied();
    let mut next = |count: usize| usize::from(choices.next().unwrap_or_default()) % count;
    let mut bytes = String::new();
    let end = ["\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r\n", " \r\n", "\r\r\n"][next(8)];
    bytes += INFORMATIONAL[next(INFORMATIONAL.len())];
    bytes += STATUS_LINES[next(STATUS_LINES.len())];
    bytes += end;
    for _ in 0..next(5) {
        bytes += FIELDS[next(FIELDS.len())];
        bytes += end;
    }
    bytes += ["\r\n", "\r\n", "\r\n", "\n", " \r\n", "\r\n"][next(6)];
    for _ in 0..next(6) {
        bytes += PIECES[next(PIECES.len())];
    }
    let mut bytes = bytes.into_bytes();
    // Most are unchanged; in some a byte is changed, inserted or removed.
    for _ in 0..next(5).saturating_sub(3) {
        let place = (next(256) * 256 + next(256)) % bytes.len();
        let byte = b"\r\n \t:;,0a\0\x7f\xffHT/.-+\"\x0b"[next(20)];
        match next(3) {
            0 => bytes[place] = byte,
            1 => bytes.insert(place, byte),
            _ => drop(bytes.remove(place)),
        }
    }
    bytes
}

const INFORMATIONAL: &[&str] = &[
    "",
    "",
    "",
    "",
    "",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
    "HTTP/1.1 100 Continue\r\ncontent-length: 3\r\n\r\n",
    "HTTP/1.1 102 Processing\r\ntransfer-encoding: chunked\r\n\r\n",
    "\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
];
const STATUS_LINES: &[&str] = &[
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200 OK",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 200 ",
    "HTTP/1.1 200",
    "HTTP/1.1 404 Not Found",
    "HTTP/1.1 204 No Content",
    "HTTP/1.1 205 Reset",
    "HTTP/1.1 304 Not Modified",
    "HTTP/1.1 099 Low",
    "HTTP/1.1 999 High",
    "HTTP/1.1 20 OK",
    "HTTP/1.1 2000 OK",
    "HTTP/2.0 200 OK",
    "HTTP/1.2 200 OK",
    "http/1.1 200 OK",
    "HTTP/1.1  200 OK",
    "HTTP/1.1\t200 OK",
    "HTTP/1.1 200 \u{e9}",
    "ICY 200 OK",
    "HTTP/1.1 200\tOK",
];
const FIELDS: &[&str] = &[
    "content-length: 2",
    "content-length: 5",
    "content-length: 0",
    "Content-Length:2",
    "content-length: 2, 2",
    "content-length: +2",
    "content-length: 0x2",
    "content-length: 02",
    "content-length:",
    "content-length: 2 2",
    "content-length: 99999999999999999999",
    "content-length : 2",
    " content-length: 2",
    "content-length\t: 2",
    "transfer-encoding: chunked",
    "Transfer-Encoding: chunked",
    "transfer-encoding: CHUNKED",
    "transfer-encoding: chunked",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: chunked, gzip",
    "transfer-encoding: identity",
    "transfer-encoding: chunked, chunked",
    "transfer-encoding:\tchunked\t",
    "transfer-encoding: xchunked",
    "transfer-encoding: \"chunked\"",
    "transfer-encoding: chunked;q=1",
    "transfer-encoding:",
    "transfer-encoding : chunked",
    "transfer-encoding: ,chunked",
    "transfer-encoding: chunked,",
    "connection: close",
    "connection: keep-alive",
    "connection: upgrade",
    "upgrade: h2c",
    "x: y",
    "x: a\r\n b",
    "x:",
    ": y",
    "no colon",
    "x y: z",
    "\"x\": y",
    "x: a\u{7f}b",
    "x: a\0b",
    "x: a\rb",
    "content-type: application/json",
    "trailer: x",
    "x: \u{e9}",
    "content-encoding: gzip",
];
const PIECES: &[&str] = &[
    "hi",
    "hello",
    "2\r\nhi\r\n",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "0\r\n\r\n",
    "0\r\nx: y\r\n\r\n",
    "0\r\n",
    "\r\n",
    "00\r\n\r\n",
    "2;a=b\r\nhi\r\n",
    "2 ;a\r\nhi\r\n",
    "2; a=\"b;c\"\r\nhi\r\n",
    "2 \r\nhi\r\n",
    " 2\r\nhi\r\n",
    "2\nhi\n",
    "2\r\nhi\n",
    "0\n\n",
    "2\r\nhi",
    "2\r\nhi!\r\n",
    "3\r\nhi\r\n",
    "0x2\r\nhi\r\n",
    "+2\r\nhi\r\n",
    "-2\r\nhi\r\n",
    "\r\n2\r\nhi\r\n",
    ";\r\n",
    "2\r\r\nhi\r\n",
    "0000000000000002\r\nhi\r\n",
    "00000000000000002\r\nhi\r\n",
    "ffffffffffffffff\r\n",
    "10000000000000002\r\nhi\r\n",
    "A\r\n0123456789\r\n",
    "2;a\nb\r\nhi\r\n",
    "2;\0\r\nhi\r\n",
    "2\t\r\nhi\r\n",
    "0\r\nno colon\r\n\r\n",
    "0\r\n x: y\r\n\r\n",
    "0\r\nx: a\r\n b\r\n\r\n",
    "0\r\ncontent-length: 3\r\n\r\n",
    "0;last\r\n\r\n",
    "2\rhi\r\n",
    "2_\r\nhi\r\n",
    "2\u{a0}\r\nhi\r\n",
    "HTTP/1.1 200 OK\r\n\r\n",
];
