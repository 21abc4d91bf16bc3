//! What a server sends by HTTP/1.1, read from the bytes as they come. No I/O.
//!
//! Message format: <https://www.rfc-editor.org/rfc/rfc9112>. Where readers of it differ, the tests say what this one does, and by
//! which section.

use std::sync::LazyLock;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter};

use crate::error::{Error, ErrorKind, Result};
use crate::types::http::{Headers, Lines, field_of};

/// A chunk's size line, or a trailer line, may be this long.
const LONGEST_LINE: usize = 8 * 1024;
/// So many informational heads (1xx) may come before the answer's own: one or two do.
pub(super) const MOST_INFORMATIONAL: u32 = 32;
/// So many lines may follow the last chunk: checksums and signatures are one or two.
const MOST_TRAILERS: u32 = 256;

/// The answers on one connection, one at a time.
pub struct Parser {
    /// What has come and was not taken yet.
    pub(super) buffer: BytesMut,
    framing: Framing,
    /// The connection may carry another request when this answer has been read.
    pub(super) reusable: bool,
    /// A head may be this long.
    max_head: usize,
    /// So many informational heads have come since the last answer.
    informational: u32,
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
    /// So many trailers have come.
    Trailer(u32),
}

/// What the bytes at hand say about the body.
pub enum Decoded {
    /// A piece of it.
    Data(Bytes),
    /// It is over.
    Done,
    /// Nothing, before more has come.
    NeedsMore,
}

/// An answer's first part.
pub struct Head {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: Headers,
    /// There is a `content-encoding` among them.
    pub is_encoded: bool,
}

impl Parser {
    /// A parser of a fresh connection.
    pub fn new(max_head: usize) -> Self {
        Self { buffer: BytesMut::new(), framing: Framing::Done, reusable: true, max_head, informational: 0 }
    }

    /// Takes bytes that have come.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The connection has ended.
    ///
    /// # Errors
    ///
    /// The body had not.
    pub fn end(&mut self) -> Result<()> {
        if !matches!(self.framing, Framing::UntilClose | Framing::Done) {
            self.reusable = false;
            return Err(Error::connection("the connection closed in the middle of an answer"));
        }
        self.framing = Framing::Done;
        Ok(())
    }

    /// The head, if it is all there. `scanned` bytes were there at the last look.
    ///
    /// # Errors
    ///
    /// It is too large, or no head.
    pub fn head(&mut self, scanned: usize) -> Result<Option<Head>> {
        // One search for the usual end costs half of a look at each line's. There may be an unusual one before it: see below.
        let usual = if scanned == 0 { USUAL_END.find(&self.buffer).map(|found| found + 4) } else { None };
        let usual = usual.filter(|end| *end <= self.max_head);
        let Some(end) = usual.or_else(|| end_of_head(&self.buffer, scanned)) else {
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
        let mut is_encoded = false;
        while let Some(line) = lines.next() {
            let (first, next) = (line.first(), lines.0.first());
            // The empty line at the end.
            if let None | Some(b'\r') = first {
                if usual.is_some() && next.is_some() {
                    self.put_back(&head);
                    return self.head(1);
                }
                continue;
            }
            // This line goes on in the next, or the one before it in this: read again, with each field in one.
            if matches!(first, Some(b' ' | b'\t')) || matches!(next, Some(b' ' | b'\t')) {
                if usual.is_some() {
                    self.put_back(&head);
                    return self.head(1);
                }
                self.put_back(&unfolded(&head));
                return self.head(0);
            }
            // Few fields matter here, and all of those begin with one of two letters.
            if !matches!(first, Some(b'c' | b'C' | b't' | b'T')) && memchr(b':', line).is_some() {
                continue;
            }
            let (name, value) = field_of(line).ok_or_else(|| malformed("a header field without a colon"))?;
            // Another reader may see the field without the space, and the body's end somewhere else.
            if matches!(name.last(), Some(b' ' | b'\t')) {
                return Err(malformed("a space between a header field's name and its colon"));
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
            // HTTP/1.0 has no chunks.
            keep_alive &= framing == Framing::UntilClose && !http10;
            framing = Framing::ChunkSize;
        }
        if matches!(status, 204 | 304) || framing == Framing::Length(0) {
            framing = Framing::Done;
        }
        self.reusable = keep_alive && framing != Framing::UntilClose;
        if status >= 200 {
            self.framing = framing;
            self.informational = 0;
        } else if self.informational == MOST_INFORMATIONAL {
            return Err(malformed(format!("more than {MOST_INFORMATIONAL} heads and no answer")));
        } else {
            self.informational += 1;
        }
        head.advance(start);
        Ok(Some(Head { status, headers: Headers::new(head), is_encoded }))
    }

    /// Puts a head, or what was made of it, in front of what follows it.
    #[cold]
    fn put_back(&mut self, head: &[u8]) {
        let rest = std::mem::take(&mut self.buffer);
        self.buffer = BytesMut::from(head);
        self.buffer.unsplit(rest);
    }

    /// How many bytes the body is known to have left.
    pub fn known_length(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        }
    }

    /// The next piece of the body, as far as the bytes at hand say.
    ///
    /// # Errors
    ///
    /// They are no body.
    pub fn decode(&mut self) -> Result<Decoded> {
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
                Framing::ChunkSize | Framing::ChunkEnd | Framing::Trailer(_) => {
                    let end = memchr(b'\n', &self.buffer);
                    if end.unwrap_or(self.buffer.len()) > LONGEST_LINE {
                        return Err(malformed(format!("a chunk's line of more than {LONGEST_LINE} bytes")));
                    }
                    let Some(end) = end else { return Ok(Decoded::NeedsMore) };
                    let line = &self.buffer[..end];
                    let line = line.strip_suffix(b"\r").unwrap_or(line);
                    self.framing = match self.framing {
                        Framing::ChunkSize => match chunk_size(line)? {
                            0 => Framing::Trailer(0),
                            size => Framing::ChunkData(size),
                        },
                        Framing::ChunkEnd if line.is_empty() => Framing::ChunkSize,
                        Framing::ChunkEnd => return Err(malformed("a chunk that is longer than it said")),
                        Framing::Trailer(_) if line.is_empty() => Framing::Done,
                        Framing::Trailer(MOST_TRAILERS) => {
                            return Err(malformed(format!("more than {MOST_TRAILERS} trailers")));
                        }
                        Framing::Trailer(count) => Framing::Trailer(count + 1),
                        other => other,
                    };
                    self.buffer.advance(end + 1);
                }
            }
        }
    }

    /// Whether the last answer has been read to its end, and the connection was left in order.
    pub fn is_reusable(&self) -> bool {
        self.framing == Framing::Done && self.reusable && self.buffer.is_empty()
    }

    /// Gives the read buffer back: an idle connection should not hold one.
    pub(super) fn shrink(&mut self) {
        self.buffer = BytesMut::new();
    }
}

static USUAL_END: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

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
fn unfolded(lines: &[u8]) -> Vec<u8> {
    let mut whole = lines.to_vec();
    for at in 1..whole.len() {
        if matches!(whole[at], b' ' | b'\t') && whole[at - 1] == b'\n' {
            whole[at - 1] = b' ';
            if at > 1 && whole[at - 2] == b'\r' {
                whole[at - 2] = b' ';
            }
        }
    }
    whole
}

fn chunk_size(line: &[u8]) -> Result<u64> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = digits.iter().rposition(|byte| !is_blank(byte)).map_or(0, |last| last + 1);
    let digits = &digits[..end];
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of an answer behind which the connection ends: its status and body, or the error; and whether the
    /// connection would be used again.
    fn read(bytes: &[u8]) -> Result<(u16, String, bool), String> {
        let mut parser = Parser::new(4096);
        parser.feed(bytes);
        let head = loop {
            match parser.head(0).map_err(|error| error.message)? {
                Some(head) if head.status < 200 => {}
                Some(head) => break head,
                None => return Err("cut".into()),
            }
        };
        let mut body = String::new();
        loop {
            match parser.decode().map_err(|error| error.message)? {
                Decoded::Data(data) => body += &String::from_utf8_lossy(&data),
                Decoded::Done => return Ok((head.status, body, parser.is_reusable())),
                Decoded::NeedsMore => parser.end().map_err(|_| "cut".to_owned())?,
            }
        }
    }

    /// Where readers of HTTP/1.1 differ; section numbers are of RFC 9112 unless it says other.
    #[test]
    fn what_differs_is_decided() {
        for (section, bytes, status, body, reusable) in [
            ("2.2: a line may end in LF alone", "HTTP/1.1 200 OK\ncontent-length: 2\n\nhi", 200, "hi", true),
            (
                "4: a reason may be missing, its space too",
                "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nhi",
                200,
                "hi",
                true,
            ),
            (
                "5.2: a folded line is one",
                "HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\nhi",
                200,
                "hi",
                true,
            ),
            (
                "6.3: chunks go before a length",
                "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
                200,
                "hi",
                false,
            ),
            ("6.3: no body with 204 and 304", "HTTP/1.1 304 No\r\ncontent-length: 9\r\n\r\n", 304, "", true),
            (
                "6.3: the same length twice",
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nhi",
                200,
                "hi",
                true,
            ),
            ("6.3: neither length nor chunks", "HTTP/1.1 200 OK\r\n\r\nhi", 200, "hi", false),
            (
                "7.1.1: extensions of chunks are passed over",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\n\r\n",
                200,
                "hi",
                true,
            ),
            (
                "7.1.2: so are trailers",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: y\r\n\r\n",
                200,
                "hi",
                true,
            ),
            (
                "6.1: a connection on which HTTP/1.0 came in chunks is not used again",
                "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
                200,
                "hi",
                false,
            ),
            (
                "2.2: a line before the first field belongs to none",
                "HTTP/1.1 200 OK\r\n content-length: 1\r\ncontent-length: 2\r\n\r\nhi",
                200,
                "hi",
                true,
            ),
            (
                "5.2: a folded line may hold the value",
                "HTTP/1.1 200 OK\r\ntransfer-encoding:\r\n chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
                200,
                "hi",
                true,
            ),
            (
                "7.1: a size may have spaces behind it",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2 \t\r\nhi\r\n0 ;a\r\n\r\n",
                200,
                "hi",
                true,
            ),
            (
                "9.3: HTTP/1.0 closes unless it says otherwise",
                "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
                200,
                "hi",
                false,
            ),
            (
                "9.2: bytes behind an answer belong to nothing",
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi!",
                200,
                "hi",
                false,
            ),
            (
                "RFC 9110, 15.2: informational heads come before",
                "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
                200,
                "hi",
                true,
            ),
        ] {
            assert_eq!(read(bytes.as_bytes()), Ok((status, body.to_owned(), reusable)), "{section}");
        }
        for (section, bytes, said) in [
            ("4: the version", "HTTP/2 200 OK\r\n\r\n", "does not begin"),
            ("2.2: nothing stands before it", "\r\nHTTP/1.1 200 OK\r\n\r\n", "does not begin"),
            ("4: three digits", "HTTP/1.1 20 OK\r\n\r\n", "three digits"),
            ("5: a colon", "HTTP/1.1 200 OK\r\nhello\r\n\r\n", "colon"),
            (
                "6.1: only chunked is known",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
                "transfer-encoding",
            ),
            (
                "6.1: chunked once",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
                "transfer-encoding",
            ),
            (
                "6.3: two lengths",
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi",
                "two different",
            ),
            ("RFC 9110, 8.6: a list of lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nhi", "no number"),
            ("RFC 9110, 8.6: digits alone", "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nhi", "no number"),
            (
                "7.1: a chunk's size is digits",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x2\r\nhi\r\n",
                "no number",
            ),
            (
                "7.1: a chunk ends where it said",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi!\r\n",
                "longer than",
            ),
            (
                "7.1: a size has no space before it",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n 2\r\nhi\r\n",
                "no number",
            ),
            (
                "7.1: a chunk's line ends in one CR",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\r\nhi\r\n",
                "no number",
            ),
            (
                "7.1: nothing stands behind a chunk, no space either",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi \r\n0\r\n\r\n",
                "longer than",
            ),
            (
                "5.1: no space before the colon",
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding : chunked\r\n\r\nhi",
                "space",
            ),
            (
                "5.2: a length that goes on in the next line is no number",
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n 3\r\n\r\nhi",
                "no number",
            ),
            (
                "5.2: nor is a coding that does",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\t, gzip\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
                "transfer-encoding",
            ),
            ("8: a length that is not reached", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi", "cut"),
            ("8: no last chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n", "cut"),
            ("RFC 9110, 15.2.2: no switch was asked for", "HTTP/1.1 101 Switching\r\n\r\n", "another protocol"),
        ] {
            let error = read(bytes.as_bytes()).unwrap_err();
            assert!(error.contains(said), "{section}: {error}");
        }
    }
}
