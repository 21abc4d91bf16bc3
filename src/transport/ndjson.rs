//! Parser of newline-delimited JSON, from pieces of any size.
//!
//! Format: <https://github.com/ndjson/ndjson-spec>

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use super::event::Event;
use crate::error::{Error, ErrorKind, Result};

/// Splits a body into lines; each line that is not blank is an event without a name.
#[derive(Debug)]
pub struct Parser {
    partial: BytesMut,
    limit: usize,
}

impl Parser {
    /// Creates a parser that refuses lines of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { partial: BytesMut::new(), limit }
    }

    /// Parses the next piece of the body and passes each completed line to `emit`.
    ///
    /// # Errors
    ///
    /// Returns an error if a line is too long.
    pub fn feed(&mut self, mut piece: Bytes, mut emit: impl FnMut(Event)) -> Result<()> {
        while let Some(end) = memchr(b'\n', &piece) {
            let mut line = piece.split_to(end + 1);
            if !self.partial.is_empty() {
                self.partial.extend_from_slice(&line);
                line = self.partial.split().freeze();
            }
            self.check(line.len() - 1)?;
            emit_line(&line, &mut emit);
        }
        self.partial.extend_from_slice(&piece);
        self.check(self.partial.len())
    }

    /// Checks the length of a line, received in one piece or in several.
    fn check(&self, length: usize) -> Result<()> {
        if length <= self.limit {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ApiResponseValidation,
            format!("a line of the stream is larger than {} bytes (max_event_size)", self.limit),
        ))
    }

    /// Handles the end of the body: a last line without a line feed is passed to `emit`.
    ///
    /// # Errors
    ///
    /// Never fails; the result is that of the other parsers.
    pub fn finish(&mut self, mut emit: impl FnMut(Event)) -> Result<()> {
        emit_line(&self.partial.split().freeze(), &mut emit);
        Ok(())
    }
}

fn emit_line(line: &Bytes, emit: &mut impl FnMut(Event)) {
    let text = line.trim_ascii();
    if !text.is_empty() {
        emit(Event { name: Bytes::new(), data: line.slice_ref(text) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_anywhere_the_lines_are_the_same() {
        let body = b"{\"a\":1}\r\n\n {\"b\":2}\n{\"c\":3}";
        for cut in 0..=body.len() {
            let mut parser = Parser::new(100);
            let mut lines = Vec::new();
            let (first, second) = body.split_at(cut);
            for piece in [first, second] {
                parser.feed(Bytes::copy_from_slice(piece), |event| lines.push(event.data)).unwrap();
            }
            parser.finish(|event| lines.push(event.data)).unwrap();
            assert_eq!(lines, [&b"{\"a\":1}"[..], b"{\"b\":2}", b"{\"c\":3}"], "cut at {cut}");
        }
    }

    #[test]
    fn a_line_too_long_is_refused_wherever_it_is_cut() {
        let body = b"12345678\n1\n";
        for cut in 0..=body.len() {
            let mut parser = Parser::new(7);
            let (first, second) = body.split_at(cut);
            let mut pieces = [first, second].into_iter().map(Bytes::copy_from_slice);
            let refused = pieces.any(|piece| parser.feed(piece, |_| panic!("given out")).is_err());
            assert!(refused, "cut at {cut}");
        }
    }
}
