//! Plain HTTP messages: what a provider encodes into and decodes from.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use memchr::memchr;

use super::redact::Redactor;

/// The name and the value of a header field.
pub type Field = (HeaderName, HeaderValue);

/// A request, ready to be sent.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// `POST` for every call of a model; those who know credentials are asked in other ways too.
    pub method: Method,
    /// Absolute address.
    pub uri: Uri,
    /// Header fields in the order they are sent; credentials are marked sensitive, so `Debug` hides them. Calls of one place
    /// share them.
    pub headers: Arc<Vec<Field>>,
    /// The body, or what of it stands before the file.
    pub body: Bytes,
    /// A file that is sent behind `body`, and what follows that.
    pub file: Option<Box<(Arc<Upload>, Bytes)>>,
}

/// A file that is sent without being read into memory as a whole.
#[derive(Debug, Clone)]
pub struct Upload {
    /// What it is called to the provider.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// How many bytes of it are sent.
    pub length: u64,
    /// Its bytes.
    pub content: Arc<dyn ReadAt>,
}

/// Bytes that can be read from any place, by any thread, any number of times: each attempt reads them anew.
pub trait ReadAt: std::fmt::Debug + Send + Sync {
    /// Reads some bytes from `offset` on; none: there are no more. May block.
    ///
    /// # Errors
    /// Those of the file system.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize>;
}

impl ReadAt for Bytes {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

impl HttpRequest {
    /// A request that sends something.
    pub fn post(uri: Uri, headers: impl Into<Arc<Vec<Field>>>, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, uri, headers: headers.into(), body: body.into(), file: None }
    }

    /// How many bytes are sent behind the head.
    pub fn content_length(&self) -> u64 {
        let file = self.file.as_deref().map_or(0, |(file, tail)| file.length + tail.len() as u64);
        self.body.len() as u64 + file
    }

    /// Takes a header field out.
    pub fn remove_header(&mut self, name: &HeaderName) {
        Arc::make_mut(&mut self.headers).retain(|(known, _)| known != name);
    }

    /// Puts a header field in the place of all others of its name.
    pub fn set_header(&mut self, name: HeaderName, value: HeaderValue) {
        let headers = Arc::make_mut(&mut self.headers);
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value));
    }

    /// The header fields as they are sent: who sends them comes first, unless the request says it.
    pub fn fields(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        static US: HeaderValue = HeaderValue::from_static(concat!("ritellm/", env!("CARGO_PKG_VERSION")));
        let is_said = self.headers.iter().any(|(name, _)| *name == USER_AGENT);
        let us = (!is_said).then_some((&USER_AGENT, &US));
        us.into_iter().chain(self.headers.iter().map(|(name, value)| (name, value)))
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
    /// Not at all: each piece is an event, and the body's end an event named [`END`].
    Raw,
}

/// The name of the event that stands for the end of a body that is not cut into events.
pub const END: &[u8] = b"end";

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

/// An answer's header fields: the lines as they came.
///
/// Most calls look at one or two headers of twenty, so nothing is copied, parsed or indexed before somebody looks.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    /// One field a line; a line without a colon is none.
    lines: Bytes,
}

impl Headers {
    /// Headers out of a block of lines, one field each.
    pub fn new(lines: Bytes) -> Self {
        Self { lines }
    }

    /// The same in memory of their own.
    pub fn into_owned(self) -> Self {
        Self { lines: Bytes::copy_from_slice(&self.lines) }
    }

    /// Every field, in order, names as they were written. A value that is not UTF-8 is shown with replacement marks; line
    /// breaks and zero bytes in it as spaces: <https://www.rfc-editor.org/rfc/rfc9110#section-5.5>.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.fields().map(|(name, value)| {
            let name = std::str::from_utf8(name).unwrap_or("?");
            let value = String::from_utf8_lossy(value);
            (name, if value.contains(['\r', '\0']) { value.replace(['\r', '\0'], " ").into() } else { value })
        })
    }

    /// The first value of this name, whatever its case, if it is text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields()
            .find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
            .and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// Returns the provider's id for the request, from the first header field that providers put one in.
    pub fn request_id(&self) -> Option<&str> {
        ["x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-goog-request-id", "cf-ray"]
            .into_iter()
            .find_map(|name| self.get(name))
    }

    /// Puts asterisks where secrets stand.
    pub fn hide(&mut self, redactor: &Redactor) {
        if let Some(hidden) = redactor.redact(&self.lines) {
            self.lines = hidden.into();
        }
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        Lines(&self.lines).filter_map(field_of)
    }
}

/// Lines without their line feeds.
pub struct Lines<'a>(pub &'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = memchr(b'\n', self.0).unwrap_or(self.0.len());
        let line = &self.0[..end];
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        Some(line)
    }
}

/// A header line's name and value; `None` where it has no colon.
pub fn field_of(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr(b':', line)?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

impl From<&HeaderMap> for Headers {
    fn from(map: &HeaderMap) -> Self {
        let mut lines = Vec::with_capacity(map.len() * 48);
        for (name, value) in map {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(value.as_bytes());
            lines.push(b'\n');
        }
        Self::new(lines.into())
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

    #[test]
    fn a_value_has_no_line_break() {
        let headers = Headers::new("x: a\rset-cookie: b\0c\r\ny: z\r\n".into());
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("x", "a set-cookie: b c".into()), ("y", "z".into())]);
    }
}
