//! The bytes of one HTTP response, and where they are cut into writes.

use std::fmt::Write;
use std::ops::Range;

use crate::settings::Settings;

/// Stands for the part of an id that is different in every reply; as long as [`Reply::stamp`]
/// makes it, so that stamping moves no byte.
pub const ID: &str = "@@@@@@@@";

/// A whole response, head included, ready to be stamped and written again and again.
pub struct Reply {
    bytes: Vec<u8>,
    ids: Vec<usize>,
    writes: Vec<Range<usize>>,
}

impl Reply {
    /// A response with a body of known length, in one write.
    pub fn whole(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n");
        Self::new((head + body).into_bytes(), Vec::new())
    }

    /// A JSON response; `headers` are the provider's own.
    pub fn json(status: &str, headers: &str, body: &str) -> Self {
        Self::whole(status, &format!("content-type: application/json\r\n{headers}"), body)
    }

    /// A server-sent event stream. `events` are complete ones, blank line included; `tail` (end
    /// markers and the like) goes out with the last of them.
    pub fn stream(headers: &str, events: &[String], tail: &str, settings: &Settings) -> Self {
        let mut out = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
             {headers}transfer-encoding: chunked\r\n\r\n"
        );
        let per_write = match settings.chunks_per_write {
            0 => events.len().max(1),
            some => some,
        };
        let mut ends = Vec::new();
        let last = events.len().div_ceil(per_write);
        for (index, group) in events.chunks(per_write).enumerate() {
            let tail = if index + 1 == last { tail } else { "" };
            if settings.frame_each == 0 {
                push_http_chunk(&mut out, &(group.concat() + tail));
            } else {
                group.iter().for_each(|event| push_http_chunk(&mut out, event));
                push_http_chunk(&mut out, tail);
            }
            if index + 1 == last {
                out.push_str("0\r\n\r\n");
            }
            ends.push(out.len());
        }
        Self::new(out.into_bytes(), ends)
    }

    fn new(bytes: Vec<u8>, mut ends: Vec<usize>) -> Self {
        if ends.is_empty() {
            ends.push(bytes.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let writes = starts.zip(ends.iter().copied()).map(|(start, end)| start..end).collect();
        let ids = memchr::memmem::find_iter(&bytes, ID).collect();
        Self { bytes, ids, writes }
    }

    /// Gives every id in the reply the request's number, as real replies never repeat an id.
    pub fn stamp(&mut self, number: u64) {
        let mut digits = [0; ID.len()];
        for (place, digit) in digits.iter_mut().rev().enumerate() {
            *digit = b"0123456789abcdef"[(number >> (4 * place)) as usize & 0xf];
        }
        for &start in &self.ids {
            self.bytes[start..start + ID.len()].copy_from_slice(&digits);
        }
    }

    /// What goes to the socket at once, in order.
    pub fn writes(&self) -> impl Iterator<Item = &[u8]> {
        self.writes.iter().map(|range| &self.bytes[range.clone()])
    }
}

fn push_http_chunk(out: &mut String, data: &str) {
    if !data.is_empty() {
        write!(out, "{:x}\r\n{data}\r\n", data.len()).expect("a String takes everything");
    }
}

#[cfg(test)]
impl Reply {
    fn text(&self) -> String {
        self.writes().map(|write| std::str::from_utf8(write).unwrap()).collect()
    }

    /// The body of a JSON response.
    pub fn body_as_json(&self) -> serde_json::Value {
        serde_json::from_str(self.text().split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// The data of a stream's events, as far as they are JSON objects.
    pub fn events_as_json(&self) -> Vec<serde_json::Value> {
        let text = self.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let objects = data.filter(|data| data.starts_with('{'));
        objects.map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<String> {
        (0..5).map(|index| format!("data: {index}{ID}\n\n")).collect()
    }

    fn written(settings: &Settings) -> Vec<String> {
        let mut reply = Reply::stream("", &events(), "data: [DONE]\n\n", settings);
        reply.stamp(0x2a);
        reply.writes().map(|write| String::from_utf8(write.to_vec()).unwrap()).collect()
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
