//! Plain HTTP messages: what a provider encodes into and decodes from.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

/// A request, ready to be sent.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// `POST` for every call of a model; those who know credentials are asked in other ways too.
    pub method: Method,
    /// Absolute address.
    pub uri: Uri,
    /// Header fields in the order they are sent; credentials are marked sensitive, so `Debug` hides them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

impl HttpRequest {
    /// A request that sends something.
    pub fn post(uri: Uri, headers: Vec<(HeaderName, HeaderValue)>, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, uri, headers, body: body.into() }
    }
}

/// How a streamed body is cut into events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Server-sent events.
    #[default]
    Sse,
    /// One JSON text a line.
    Ndjson,
    /// AWS's `application/vnd.amazon.eventstream`.
    AwsEventStream,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// When it began, in Unix seconds.
    pub received: u64,
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

/// An answer's header fields: the bytes as they came, and where each name and value stands in them.
///
/// Most calls look at one or two headers of twenty, so nothing is copied and nothing is hashed.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    raw: Bytes,
    fields: Box<[(Range<u32>, Range<u32>)]>,
}

impl Headers {
    /// Headers out of a block of bytes and the places of names and values in it.
    pub fn new(raw: Bytes, fields: Vec<(Range<u32>, Range<u32>)>) -> Self {
        Self { raw, fields: fields.into_boxed_slice() }
    }

    /// Every field, in order, names as they were written. A value that is not UTF-8 is shown with replacement marks.
    pub fn iter(&self) -> impl Iterator<Item = (&str, std::borrow::Cow<'_, str>)> {
        self.fields.iter().map(|(name, value)| {
            (std::str::from_utf8(self.at(name)).unwrap_or("?"), String::from_utf8_lossy(self.at(value)))
        })
    }

    /// The first value of this name, whatever its case, if it is text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _)| self.at(field).eq_ignore_ascii_case(name.as_bytes()))
            .and_then(|(_, value)| std::str::from_utf8(self.at(value)).ok())
    }

    /// Puts asterisks where a secret stands in a value.
    pub fn hide(&mut self, secret: &str) {
        if memchr::memmem::find(&self.raw, secret.as_bytes()).is_some() {
            let hidden = memchr::memmem::find_iter(&self.raw, secret.as_bytes()).collect::<Vec<_>>();
            let mut raw = self.raw.to_vec();
            hidden.into_iter().for_each(|place| raw[place..place + secret.len()].fill(b'*'));
            self.raw = raw.into();
        }
    }

    fn at(&self, range: &Range<u32>) -> &[u8] {
        &self.raw[range.start as usize..range.end as usize]
    }
}

impl From<&HeaderMap> for Headers {
    fn from(map: &HeaderMap) -> Self {
        let mut raw = Vec::with_capacity(map.len() * 48);
        let mut place = |bytes: &[u8]| {
            let start = raw.len() as u32;
            raw.extend_from_slice(bytes);
            start..raw.len() as u32
        };
        let fields =
            map.iter().map(|(name, value)| (place(name.as_str().as_bytes()), place(value.as_bytes()))).collect();
        Self::new(raw.into(), fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_whatever_its_case() {
        let mut map = HeaderMap::new();
        map.insert("x-request-id", HeaderValue::from_static("req_1"));
        map.insert("retry-after", HeaderValue::from_static("2"));
        let headers = Headers::from(&map);
        assert_eq!(headers.get("X-Request-ID"), Some("req_1"));
        assert_eq!(headers.get("Retry-After"), Some("2"));
        assert_eq!(headers.get("absent"), None);
        assert_eq!(headers.iter().count(), 2);
    }
}
