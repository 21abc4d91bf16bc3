//! A response as every protocol sends it: status, header fields, and the body in the pieces that are written at once.

use crate::settings::Settings;

/// Stands for the part of an id that is different in every reply; as long as [`stamp`] makes it, so that stamping moves
/// no byte.
pub const ID: &str = "@@@@@@@@";

/// A response, to be encoded for a connection once and then stamped and written again and again.
pub struct Reply {
    /// Code and reason.
    pub status: &'static str,
    /// Lines that end with CRLF, without those that frame the body.
    pub headers: String,
    /// The body.
    pub body: Body,
}

/// A response's body.
pub enum Body {
    /// Of known length, written at once.
    Whole(String),
    /// A stream: what is written at once, and of that, what HTTP/1.1 puts into a chunk of its own.
    Stream(Vec<Vec<String>>),
}

impl Reply {
    /// A JSON response; `headers` are the provider's own.
    pub fn json(status: &'static str, headers: &str, body: &str) -> Self {
        let headers = format!("content-type: application/json\r\n{headers}");
        Self { status, headers, body: Body::Whole(body.to_owned()) }
    }

    /// A server-sent event stream. `events` are complete ones, blank line included; `tail` (end
    /// markers and the like) goes out with the last of them.
    pub fn stream(headers: &str, events: &[String], tail: &str, settings: &Settings) -> Self {
        let per_write = match settings.chunks_per_write {
            0 => events.len().max(1),
            some => some,
        };
        let last = events.len().div_ceil(per_write);
        let write = |(index, group): (usize, &[String])| {
            let tail = if index + 1 == last { tail } else { "" };
            match settings.frame_each {
                0 => vec![group.concat() + tail],
                _ => group.iter().map(String::as_str).chain([tail]).map(str::to_owned).collect(),
            }
        };
        Self {
            status: "200 OK",
            headers: format!("content-type: text/event-stream; charset=utf-8\r\n{headers}"),
            body: Body::Stream(events.chunks(per_write).enumerate().map(write).collect()),
        }
    }
}

/// Where the ids are in these bytes.
pub fn ids(bytes: &[u8]) -> Vec<usize> {
    memchr::memmem::find_iter(bytes, ID).collect()
}

/// Gives every id the request's number, as real replies never repeat an id.
pub fn stamp(bytes: &mut [u8], ids: &[usize], number: u64) {
    let mut digits = [0; ID.len()];
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * place)) as usize & 0xf];
    }
    for &start in ids {
        bytes[start..start + ID.len()].copy_from_slice(&digits);
    }
}

#[cfg(test)]
impl Reply {
    /// The body as one text.
    pub fn text(&self) -> String {
        match &self.body {
            Body::Whole(text) => text.clone(),
            Body::Stream(writes) => writes.concat().concat(),
        }
    }

    /// The body of a JSON response.
    pub fn body_as_json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    /// The data of a stream's events, as far as they are JSON objects.
    pub fn events_as_json(&self) -> Vec<serde_json::Value> {
        let text = self.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let objects = data.filter(|data| data.starts_with('{'));
        objects.map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}
