//! An answer as it is written to a connection.

use std::fmt::Write;
use std::time::Duration;

use memchr::memmem;

use crate::providers::mock::ID;

/// What happens behind the last piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum End {
    /// The answer is complete.
    #[default]
    Complete,
    /// The connection is closed.
    Close,
    /// Nothing more is sent, until the client goes away.
    Stall,
}

/// An answer, ready to be written: its pieces with the time before each.
#[derive(Debug, Default)]
pub struct Reply {
    bytes: Vec<u8>,
    /// Ends of the pieces in `bytes`, each with the time to wait before it.
    pieces: Vec<(Duration, usize)>,
    ids: Vec<usize>,
    end: End,
}

/// When the pieces of an answer are written.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Latency {
    /// Time before the first byte.
    pub first: Duration,
    /// Time between two chunks of a stream.
    pub chunk: Duration,
}

impl Reply {
    /// Encodes a whole body.
    pub fn whole(status: u16, fields: &str, body: &[u8], latency: Latency) -> Self {
        let mut reply = Self::default();
        reply.head(status, &format!("{fields}content-length: {}\r\n", body.len()));
        reply.bytes.extend_from_slice(body);
        reply.piece(latency.first);
        reply
    }

    /// Encodes a stream. Chunks without a pause between them are written at once.
    pub fn stream<'a>(fields: &str, chunks: impl IntoIterator<Item = (Duration, &'a [u8])>) -> Self {
        let mut reply = Self::default();
        reply.head(200, &format!("{fields}transfer-encoding: chunked\r\n"));
        let mut pause = Duration::ZERO;
        let mut data: Vec<u8> = Vec::new();
        for (before, chunk) in chunks {
            if !before.is_zero() && !data.is_empty() {
                reply.chunk(&std::mem::take(&mut data));
                reply.piece(std::mem::take(&mut pause));
            }
            pause += before;
            data.extend_from_slice(chunk);
        }
        reply.chunk(&data);
        reply.bytes.extend_from_slice(b"0\r\n\r\n");
        reply.piece(pause);
        reply
    }

    /// Ends a reply in another way, behind so many of its pieces; a whole body is cut in its middle.
    pub fn broken(mut self, end: End, after: usize) -> Self {
        self.end = end;
        if after == 0 {
            self.pieces.clear();
        } else if self.pieces.len() == 1 {
            let head = memmem::find(&self.bytes, b"\r\n\r\n").map_or(0, |at| at + 4);
            self.pieces[0].1 = head + (self.pieces[0].1 - head) / 2;
        } else {
            self.pieces.truncate(after);
        }
        self
    }

    /// Marks the places of ids that [`stamp`](Self::stamp) fills in.
    #[must_use]
    pub fn with_ids(mut self) -> Self {
        self.ids = memmem::find_iter(&self.bytes, ID).collect();
        self
    }

    /// Gives the ids of the answer the number of its request, since real answers never repeat an id.
    pub fn stamp(&mut self, number: u64) {
        let mut digits = [0; ID.len()];
        for (place, digit) in digits.iter_mut().rev().enumerate() {
            *digit = b"0123456789abcdef"[(number >> (4 * place)) as usize & 0xf];
        }
        for &start in &self.ids {
            self.bytes[start..start + ID.len()].copy_from_slice(&digits);
        }
    }

    /// Returns the pieces, each with the time to wait before it.
    pub fn pieces(&self) -> impl Iterator<Item = (Duration, &[u8])> {
        let starts = std::iter::once(0).chain(self.pieces.iter().map(|(_, end)| *end));
        starts.zip(&self.pieces).map(|(start, (pause, end))| (*pause, &self.bytes[start..*end]))
    }

    /// Returns what happens behind the last piece.
    pub fn end(&self) -> End {
        self.end
    }

    /// Returns the head of an answer.
    pub fn head_of(status: u16, fields: &str) -> Vec<u8> {
        let mut reply = Self::default();
        reply.head(status, fields);
        reply.bytes
    }

    fn head(&mut self, status: u16, fields: &str) {
        let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let mut head = String::new();
        // Writing to a string never fails.
        let _ = write!(head, "HTTP/1.1 {status} {}\r\n{fields}\r\n", reason.unwrap_or("Status"));
        self.bytes.extend_from_slice(head.as_bytes());
    }

    fn chunk(&mut self, data: &[u8]) {
        if !data.is_empty() {
            self.bytes.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
            self.bytes.extend_from_slice(data);
            self.bytes.extend_from_slice(b"\r\n");
        }
    }

    fn piece(&mut self, pause: Duration) {
        self.pieces.push((pause, self.bytes.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply) -> Vec<(u64, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        reply.pieces().map(|(pause, bytes)| (pause.as_millis() as u64, text(bytes))).collect()
    }

    fn paused(pauses: &[u64]) -> Reply {
        Reply::stream("", pauses.iter().map(|pause| (Duration::from_millis(*pause), &b"x"[..])))
    }

    const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

    #[test]
    fn a_burst_is_one_write() {
        assert_eq!(written(&paused(&[0, 0, 0])), [(0, format!("{HEAD}3\r\nxxx\r\n0\r\n\r\n"))]);
    }

    #[test]
    fn a_pause_begins_another_write() {
        let pieces = written(&paused(&[5, 0, 7, 9]));
        let expected = [(5, format!("{HEAD}2\r\nxx\r\n")), (7, "1\r\nx\r\n".into()), (9, "1\r\nx\r\n0\r\n\r\n".into())];
        assert_eq!(pieces, expected);
    }

    #[test]
    fn a_whole_body_is_cut_in_its_middle() {
        let reply = Reply::whole(200, "", b"abcdef", Latency::default()).broken(End::Close, 1);
        assert_eq!(written(&reply), [(0, "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc".into())]);
        assert_eq!(reply.end(), End::Close);
    }

    #[test]
    fn ids_are_stamped() {
        let mut reply = Reply::whole(200, "", format!("a{ID}b{ID}").as_bytes(), Latency::default()).with_ids();
        reply.stamp(0x2a);
        assert!(written(&reply)[0].1.ends_with("a0000002ab0000002a"));
    }
}
