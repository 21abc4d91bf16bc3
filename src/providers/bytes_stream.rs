//! Streams of bytes that are not framed into events: audio, the contents of files, and files of JSON lines.

use bytes::Bytes;

use super::StreamDecoder;
use crate::error::{Error, ErrorKind, Result};
use crate::types::http::END;

/// Decoder that passes bytes on as they arrive. The stream is complete when its body ends: it has no other end.
#[derive(Debug, Default)]
pub(super) struct RawBytes {
    has_ended: bool,
}

impl StreamDecoder for RawBytes {
    fn event(&mut self, name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        self.has_ended = name == END;
        if !data.is_empty() {
            chunks.push(data);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.has_ended
    }

    fn is_complete(&self) -> bool {
        self.has_ended
    }
}

/// Maximum length of a line, the default limit of a stream's events.
const MAX_LINE: usize = 32 << 20;

/// Decoder that splits a body into lines; `decode` makes a chunk of each line that is not blank.
pub(super) struct JsonLines<Decode> {
    decode: Decode,
    /// The last line, as far as it has arrived.
    rest: Vec<u8>,
    has_ended: bool,
}

impl<Decode: FnMut(&[u8]) -> Result<Option<Bytes>> + Send> JsonLines<Decode> {
    pub fn new(decode: Decode) -> Self {
        Self { decode, rest: Vec::new(), has_ended: false }
    }
}

impl<Decode: FnMut(&[u8]) -> Result<Option<Bytes>> + Send> StreamDecoder for JsonLines<Decode> {
    fn event(&mut self, name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        self.has_ended = name == END;
        let known = self.rest.len();
        self.rest.extend_from_slice(&data);
        let mut start = 0;
        for end in
            memchr::memchr_iter(b'\n', &data).map(|end| known + end).chain(self.has_ended.then_some(self.rest.len()))
        {
            let line = self.rest.get(start..end).unwrap_or_default().trim_ascii();
            start = end + 1;
            if !line.is_empty() {
                chunks.extend((self.decode)(line)?);
            }
        }
        self.rest.drain(..start.min(self.rest.len()));
        if self.rest.len() > MAX_LINE {
            let message = format!("a line of the results is longer than {MAX_LINE} bytes");
            return Err(Error::new(ErrorKind::ApiResponseValidation, message));
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.has_ended
    }

    fn is_complete(&self) -> bool {
        self.has_ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_however_the_body_is_cut() {
        let body = b"{\"a\":1}\n\r\n {\"b\":2}\r\n{\"c\":3}";
        for size in 1..body.len() {
            let mut lines = JsonLines::new(|line: &[u8]| Ok(Some(Bytes::copy_from_slice(line))));
            let mut chunks = Vec::new();
            for piece in body.chunks(size) {
                lines.event(b"", Bytes::copy_from_slice(piece), &mut chunks).unwrap();
                assert!(!lines.is_complete());
            }
            lines.event(END, Bytes::new(), &mut chunks).unwrap();
            assert_eq!(chunks, ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
            assert!(lines.is_complete());
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut lines = JsonLines::new(|_: &[u8]| Ok(None));
        let piece = Bytes::from(vec![b'a'; 1 << 20]);
        let pieces = (0..100).take_while(|_| lines.event(b"", piece.clone(), &mut Vec::new()).is_ok()).count();
        assert_eq!(pieces, MAX_LINE >> 20);
    }
}
