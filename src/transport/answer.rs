//! Incremental parser of HTTP/1.1 responses. No I/O.
//!
//! Message format: <https://www.rfc-editor.org/rfc/rfc9112>. Where parsers differ, the tests state the behaviour of
//! this one and the section that it follows.

use std::sync::LazyLock;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter, memchr2};

use crate::error::{Error, ErrorKind, Result};
use crate::types::http::{Headers, Lines, field_of};

/// Maximum length of a chunk's size line or of a trailer line, in bytes.
const MAX_LINE: usize = 8 * 1024;
/// Maximum number of informational heads (1xx) before the final one; servers send one or two.
pub(super) const MAX_INFORMATIONAL: u32 = 32;
/// Maximum number of trailer lines; checksums and signatures are one or two.
const MAX_TRAILERS: u32 = 256;

/// Parser of the successive responses on one connection.
pub struct Parser {
    /// Bytes received and not yet consumed.
    pub(super) buffer: BytesMut,
    framing: Framing,
    /// True if the connection can carry another request after this response.
    pub(super) reusable: bool,
    /// Maximum length of a head, in bytes.
    max_head: usize,
    /// Number of informational heads since the last response.
    informational: u32,
}

/// Parser state: what remains of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Done,
    Length(u64),
    UntilClose,
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    /// The number of trailers read so far.
    Trailer(u32),
}

/// Result of decoding the buffered bytes of a body.
pub enum Decoded {
    /// A piece of the body.
    Data(Bytes),
    /// The end of the body.
    Done,
    /// More bytes are needed.
    NeedsMore,
}

/// The head of a response.
pub struct Head {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: Headers,
    /// True if there is a `content-encoding` field.
    pub is_encoded: bool,
}

impl Parser {
    /// Creates the parser of a new connection.
    pub fn new(max_head: usize) -> Self {
        Self { buffer: BytesMut::new(), framing: Framing::Done, reusable: true, max_head, informational: 0 }
    }

    /// Appends received bytes to the buffer.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Handles the end of the connection.
    ///
    /// # Errors
    ///
    /// Returns an error if the body is incomplete.
    pub fn end(&mut self) -> Result<()> {
        if !matches!(self.framing, Framing::UntilClose | Framing::Done) {
            self.reusable = false;
            return Err(Error::connection("the connection closed in the middle of an answer"));
        }
        self.framing = Framing::Done;
        Ok(())
    }

    /// Parses the head if it is complete; `scanned` is the number of bytes that were buffered at the previous call.
    ///
    /// # Errors
    ///
    /// Returns an error if the head is too large or malformed.
    pub fn head(&mut self, scanned: usize) -> Result<Option<Head>> {
        // One search for the usual end, CR LF CR LF, takes half as long as a check of each line's end. An end in LF LF
        // may precede it: see below.
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
        // Some parsers take such a line for a field, others for the end of the head, and others skip it.
        if matches!(lines.0.first(), Some(b' ' | b'\t')) {
            return Err(malformed("white space before the first header field"));
        }
        while let Some(line) = lines.next() {
            let (first, next) = (line.first(), lines.0.first());
            // The empty line at the end of the head.
            if let None | Some(b'\r') = first {
                // Others may take its CR for the end of the head.
                if line.len() > 1 {
                    return Err(malformed("a CR at the beginning of a line"));
                }
                if usual.is_some() && next.is_some() {
                    self.put_back(&head);
                    return self.head(1);
                }
                continue;
            }
            // This line is folded into the next, or continues the previous one: the head is unfolded and parsed again.
            if matches!(first, Some(b' ' | b'\t')) || matches!(next, Some(b' ' | b'\t')) {
                if usual.is_some() {
                    self.put_back(&head);
                    return self.head(1);
                }
                self.put_back(&unfolded(&head));
                return self.head(0);
            }
            // Only a few fields affect framing, and all of them begin with one of two letters.
            if !matches!(first, Some(b'c' | b'C' | b't' | b'T')) && memchr(b':', line).is_some() {
                continue;
            }
            let (name, value) = field_of(line).ok_or_else(|| malformed("a header field without a colon"))?;
            // Another parser may accept the field without the space and so find the end of the body elsewhere.
            if matches!(name.last(), Some(b' ' | b'\t')) {
                return Err(malformed("a space between a header field's name and its colon"));
            }
            if name.eq_ignore_ascii_case(b"content-length") {
                let length = number(value, 10)
                    .filter(|_| is_plain(line))
                    .ok_or_else(|| malformed("a content-length that is no number"))?;
                if matches!(framing, Framing::Length(other) if other != length) {
                    return Err(malformed("two different content-lengths"));
                }
                framing = Framing::Length(length);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                if chunked || !value.eq_ignore_ascii_case(b"chunked") || !is_plain(line) {
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
            // If there is a length as well, an intermediary may have used that one, so the bytes that follow cannot be
            // trusted. HTTP/1.0 has no chunks.
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
        } else if self.informational == MAX_INFORMATIONAL {
            return Err(malformed(format!("more than {MAX_INFORMATIONAL} heads and no answer")));
        } else {
            self.informational += 1;
        }
        head.advance(start);
        Ok(Some(Head { status, headers: Headers::new(head), is_encoded }))
    }

    /// Puts a head, or its unfolded form, back in front of the buffered bytes.
    #[cold]
    fn put_back(&mut self, head: &[u8]) {
        let rest = std::mem::take(&mut self.buffer);
        self.buffer = BytesMut::from(head);
        self.buffer.unsplit(rest);
    }

    /// Returns the number of bytes left of a body of known length.
    pub fn known_length(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        }
    }

    /// Decodes the next piece of the body from the buffered bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the chunked encoding is malformed.
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
                    if end.unwrap_or(self.buffer.len()) > MAX_LINE {
                        return Err(malformed(format!("a chunk's line of more than {MAX_LINE} bytes")));
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
                        Framing::Trailer(MAX_TRAILERS) => {
                            return Err(malformed(format!("more than {MAX_TRAILERS} trailers")));
                        }
                        Framing::Trailer(count) => Framing::Trailer(count + 1),
                        other => other,
                    };
                    self.buffer.advance(end + 1);
                }
            }
        }
    }

    /// Returns true if the last response was read to its end and the connection can be reused.
    pub fn is_reusable(&self) -> bool {
        self.framing == Framing::Done && self.reusable && self.buffer.is_empty()
    }

    /// Releases the read buffer, which an idle connection does not need.
    pub(super) fn shrink(&mut self) {
        self.buffer = BytesMut::new();
    }
}

/// Finder of the usual end of a head.
static USUAL_END: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// Returns the end of the head, including its empty line, if it is complete; `scanned` is the number of bytes that were
/// buffered at the previous call.
pub(super) fn end_of_head(bytes: &[u8], scanned: usize) -> Option<usize> {
    // The last bytes scanned may be the beginning of the empty line.
    let from = scanned.saturating_sub(3);
    memchr_iter(b'\n', &bytes[from..]).map(|found| from + found + 1).find_map(|at| match &bytes[at..] {
        [b'\n', ..] => Some(at + 1),
        [b'\r', b'\n', ..] => Some(at + 2),
        _ => None,
    })
}

/// Parses a status line; returns whether it is HTTP/1.0, and the status.
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
        _ => Err(failure(line).unwrap_or_else(|| malformed("it does not begin with HTTP/1.1 or HTTP/1.0"))),
    }
}

/// What a test server's answer begins with if it has none, in place of a status line. Then follow the kind of the failure
/// and its message.
const NO_ANSWER: &str = "RITELLM-NO-ANSWER ";

/// Kinds of failures that a test server can write in place of an answer: their names, and those of errors; whether the
/// request was sent, and whether it may be repeated.
const FAILURES: [(&str, ErrorKind, bool, Option<bool>); 5] = [
    ("connection", ErrorKind::ApiConnection, true, None),
    ("unsent", ErrorKind::ApiConnection, false, None),
    ("refused", ErrorKind::ApiConnection, false, Some(false)),
    ("timeout", ErrorKind::Timeout, true, None),
    ("unexpected", ErrorKind::UnexpectedCall, true, Some(false)),
];

/// Returns the name of the kind of failure that a test server writes for an error.
pub fn failure_kind(error: &Error) -> &'static str {
    let same = |row: &&(&str, ErrorKind, bool, Option<bool>)| {
        row.1 == error.kind && (row.3 == error.should_retry) && (row.2 == error.was_sent || row.3.is_some())
    };
    FAILURES.iter().find(same).map_or("connection", |row| row.0)
}

/// Returns what a test server writes in place of an answer, to have the call fail.
pub fn no_answer(kind: &str, message: &str) -> Vec<u8> {
    format!("{NO_ANSWER}{kind} {}\r\n\r\n", message.replace(['\r', '\n'], " ")).into_bytes()
}

/// Reads the failure that a test server writes in place of an answer.
fn failure(line: &[u8]) -> Option<Box<Error>> {
    let text = String::from_utf8_lossy(line.strip_prefix(NO_ANSWER.as_bytes())?.trim_ascii_end());
    let (name, message) = text.split_once(' ')?;
    let (_, kind, was_sent, should_retry) = *FAILURES.iter().find(|row| row.0 == name)?;
    let mut error = Error::new(kind, message);
    (error.was_sent, error.should_retry) = (was_sent, should_retry);
    Some(error)
}

/// Joins folded lines: old servers continue a field on lines that begin with a space or tab,
/// <https://www.rfc-editor.org/rfc/rfc9112#section-5.2>.
fn unfolded(lines: &[u8]) -> Vec<u8> {
    let mut unfolded = lines.to_vec();
    for at in 1..unfolded.len() {
        if matches!(unfolded[at], b' ' | b'\t') && unfolded[at - 1] == b'\n' {
            unfolded[at - 1] = b' ';
            if at > 1 && unfolded[at - 2] == b'\r' {
                unfolded[at - 2] = b' ';
            }
        }
    }
    unfolded
}

/// Returns true if a line has no CR except at its end, and no form feed. They are trimmed from values, and another parser
/// may take them for a part of the value.
fn is_plain(line: &[u8]) -> bool {
    memchr2(b'\r', b'\x0c', line.strip_suffix(b"\r").unwrap_or(line)).is_none()
}

fn chunk_size(line: &[u8]) -> Result<u64> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = digits.iter().rposition(|byte| !is_blank(byte)).map_or(0, |last| last + 1);
    let digits = &digits[..end];
    number(digits, 16).ok_or_else(|| malformed("a chunk whose size is no number"))
}

/// Parses a number that consists of digits only.
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
mod tests;
