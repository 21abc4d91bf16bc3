//! A response in HTTP/1.1's bytes, and where they are cut into writes.

use std::fmt::Write;
use std::ops::Range;

use crate::reply::{Body, Reply, ids, stamp};

/// A whole response, head included, ready to be stamped and written.
pub struct Encoded {
    bytes: Vec<u8>,
    ids: Vec<usize>,
    writes: Vec<Range<usize>>,
}

impl Encoded {
    /// Encodes a response: a body of known length with its length, a stream in chunks.
    pub fn new(reply: &Reply) -> Self {
        let Reply { status, headers, body } = reply;
        let mut out = format!("HTTP/1.1 {status}\r\n{headers}");
        let mut ends = Vec::new();
        match body {
            Body::Whole(text) => write!(out, "content-length: {}\r\n\r\n{text}", text.len()).expect(INFALLIBLE),
            Body::Stream(writes) => {
                out.push_str("transfer-encoding: chunked\r\n\r\n");
                for (index, parts) in writes.iter().enumerate() {
                    parts.iter().for_each(|part| push_chunk(&mut out, part));
                    if index + 1 == writes.len() {
                        out.push_str("0\r\n\r\n");
                    }
                    ends.push(out.len());
                }
            }
        }
        if ends.is_empty() {
            ends.push(out.len());
        }
        let bytes = out.into_bytes();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let writes = starts.zip(ends.iter().copied()).map(|(start, end)| start..end).collect();
        Self { ids: ids(&bytes), bytes, writes }
    }

    /// Gives every id in the reply the request's number.
    pub fn stamp(&mut self, number: u64) {
        stamp(&mut self.bytes, &self.ids, number);
    }

    /// What goes to the socket at once, in order.
    pub fn writes(&self) -> impl Iterator<Item = &[u8]> {
        self.writes.iter().map(|range| &self.bytes[range.clone()])
    }
}

const INFALLIBLE: &str = "a String takes everything";

fn push_chunk(out: &mut String, data: &str) {
    if !data.is_empty() {
        write!(out, "{:x}\r\n{data}\r\n", data.len()).expect(INFALLIBLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::ID;
    use crate::settings::Settings;

    fn events() -> Vec<String> {
        (0..5).map(|index| format!("data: {index}{ID}\n\n")).collect()
    }

    fn written(settings: &Settings) -> Vec<String> {
        let mut encoded = Encoded::new(&Reply::stream("", &events(), "data: [DONE]\n\n", settings));
        encoded.stamp(0x2a);
        encoded.writes().map(|write| String::from_utf8(write.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_burst_is_one_write_and_one_http_chunk() {
        let writes = written(&Settings::default());
        assert_eq!(writes.len(), 1);
        let (_, body) = writes[0].split_once("\r\n\r\n").unwrap();
        let data: String = (0..5).map(|index| format!("data: {index}0000002a\n\n")).collect();
        let data = data + "data: [DONE]\n\n";
        assert_eq!(body, format!("{:x}\r\n{data}\r\n0\r\n\r\n", data.len()));
    }

    #[test]
    fn a_drip_has_so_many_chunks_a_write_and_the_tail_in_the_last() {
        let writes = written(&Settings { chunks_per_write: 2, ..Settings::default() });
        let counts: Vec<_> = writes.iter().map(|write| write.matches("data:").count()).collect();
        assert_eq!(counts, [2, 2, 2]);
        assert!(writes[2].ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"));
    }

    #[test]
    fn framing_each_chunk_gives_each_an_http_chunk() {
        let writes = written(&Settings { frame_each: 1, ..Settings::default() });
        assert_eq!(writes[0].matches("\n\n\r\n").count(), 6);
    }
}
