//! Parser of server-sent events, from pieces of any size.
//!
//! Format: <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

use super::event::Event;
use crate::error::{Error, ErrorKind, Result};

/// Splits a body into events. Each byte is scanned once, and an event that arrives in one piece is not copied.
#[derive(Debug)]
pub struct Parser {
    /// Beginning of an incomplete line.
    partial: BytesMut,
    name: Bytes,
    data: Option<Bytes>,
    /// Data of an event with more than one `data:` line.
    joined: BytesMut,
    /// True if the last byte was a carriage return, of which a following line feed is a part.
    after_return: bool,
    /// True before the first byte, where a byte order mark may be.
    at_start: bool,
    limit: usize,
}

impl Parser {
    /// Creates a parser that refuses events of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            partial: BytesMut::new(),
            name: Bytes::new(),
            data: None,
            joined: BytesMut::new(),
            after_return: false,
            at_start: true,
            limit,
        }
    }

    /// Parses the next piece of the body and passes each completed event to `emit`.
    ///
    /// # Errors
    ///
    /// Returns an error if an event is too large.
    pub fn feed(&mut self, mut piece: Bytes, mut emit: impl FnMut(Event)) -> Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        if std::mem::take(&mut self.after_return) && piece[0] == b'\n' {
            piece = piece.slice(1..);
        }
        let mut start = 0;
        while let Some(end) = end_of_line(&piece, start) {
            if self.partial.is_empty() {
                self.line(&piece[start..end], &piece, &mut emit)?;
            } else {
                self.partial.extend_from_slice(&piece[start..end]);
                let line = self.partial.split().freeze();
                self.line(&line, &line, &mut emit)?;
            }
            start = end + 1;
            if piece[end] == b'\r' {
                match piece.get(start) {
                    Some(b'\n') => start += 1,
                    Some(_) => {}
                    None => self.after_return = true,
                }
            }
        }
        self.partial.extend_from_slice(&piece[start..]);
        self.check_size(self.partial.len())
    }

    /// Handles the end of the body: an event that lacks only its blank line is passed to `emit`, since some servers
    /// omit it.
    ///
    /// # Errors
    ///
    /// Returns an error if the last event is too large.
    pub fn finish(&mut self, mut emit: impl FnMut(Event)) -> Result<()> {
        if !self.partial.is_empty() {
            let line = self.partial.split().freeze();
            self.line(&line, &line, &mut emit)?;
        }
        self.line(b"", &Bytes::new(), &mut emit)
    }

    /// Processes a line, which is a part of the bytes `source`.
    fn line(&mut self, mut line: &[u8], source: &Bytes, emit: &mut impl FnMut(Event)) -> Result<()> {
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let first = self.data.take();
            let data = match self.joined.is_empty() {
                true => first,
                false => Some(self.joined.split().freeze()),
            };
            if let Some(data) = data {
                emit(Event { name, data });
            }
        } else if let Some(value) = field(line, b"data") {
            match &self.data {
                None => self.data = Some(source.slice_ref(value)),
                Some(first) => {
                    if self.joined.is_empty() {
                        self.joined.extend_from_slice(first);
                    }
                    self.joined.extend_from_slice(b"\n");
                    self.joined.extend_from_slice(value);
                }
            }
            self.check_size(self.joined.len().max(self.data.as_ref().map_or(0, Bytes::len)))?;
        } else if let Some(value) = field(line, b"event") {
            self.name = source.slice_ref(value);
        }
        Ok(())
    }

    fn check_size(&self, size: usize) -> Result<()> {
        if size <= self.limit {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ApiResponseValidation,
            format!("an event of the stream is larger than {} bytes (max_event_size)", self.limit),
        ))
    }
}

/// Returns the end of the line that begins at `start`. Every other line of most streams is empty, and needs no search.
fn end_of_line(piece: &[u8], start: usize) -> Option<usize> {
    match piece.get(start) {
        Some(b'\n') => Some(start),
        _ => memchr2(b'\n', b'\r', &piece[start..]).map(|found| start + found),
    }
}

/// Returns the value of a field line: what follows the colon and one optional space.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::new(1 << 20);
        let mut events = Vec::new();
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        for piece in pieces {
            parser
                .feed(Bytes::copy_from_slice(piece), |event| events.push((text(&event.name), text(&event.data))))
                .unwrap();
        }
        parser.finish(|event| events.push((text(&event.name), text(&event.data)))).unwrap();
        events
    }

    fn event(name: &str, data: &str) -> (String, String) {
        (name.into(), data.into())
    }

    const STREAM: &str = "\u{feff}: hello\nretry: 10\nid: 7\nevent: a\ndata: {\"x\":\"é\"}\n\ndata:1\r\ndata: 2\r\n\r\n\n\n: ping\n\ndata\r\revent: b\rdata:  3\r\rdata: [DONE]";

    #[test]
    fn every_kind_of_line_end_and_field() {
        let expected =
            [event("a", "{\"x\":\"é\"}"), event("", "1\n2"), event("", ""), event("b", " 3"), event("", "[DONE]")];
        assert_eq!(parsed(&[STREAM.as_bytes()]), expected);
    }

    #[test]
    fn cut_anywhere_the_events_are_the_same() {
        let bytes = STREAM.as_bytes();
        let whole = parsed(&[bytes]);
        for cut in 0..=bytes.len() {
            for second in cut..=bytes.len() {
                assert_eq!(
                    parsed(&[&bytes[..cut], &bytes[cut..second], &bytes[second..]]),
                    whole,
                    "cut at {cut} and {second}"
                );
            }
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(parsed(&single), whole);
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut parser = Parser::new(100);
        let long = Bytes::from(vec![b'x'; 60]);
        assert!(parser.feed(long.clone(), |_| ()).is_ok());
        assert!(parser.feed(long, |_| ()).is_err());
    }
}
