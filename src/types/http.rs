//! Plain HTTP messages: the requests that providers encode and the responses that they decode.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use memchr::memchr;

use super::redact::Redactor;

/// Name and value of a header field.
pub type Field = (HeaderName, HeaderValue);

/// An HTTP request that is ready to be sent.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// Method: `POST` for every call of a model; token endpoints and metadata servers use others too.
    pub method: Method,
    /// Absolute URI.
    pub uri: Uri,
    /// Header fields in the order in which they are sent. Credentials are marked sensitive, so that `Debug` hides them.
    /// Calls of the same endpoint share the list.
    pub headers: Arc<Vec<Field>>,
    /// The body, or the part of it that precedes the file.
    pub body: Bytes,
    /// File sent after `body`, and the bytes that follow the file.
    pub file: Option<Box<(Arc<Upload>, Bytes)>>,
}

/// A file that is sent without being read into memory as a whole.
#[derive(Debug, Clone)]
pub struct Upload {
    /// File name sent to the provider.
    pub name: String,
    /// Media type of the file.
    pub media_type: String,
    /// Number of bytes to send.
    pub length: u64,
    /// Content of the file.
    pub content: Arc<dyn ReadAt>,
}

/// Random access to bytes, from any thread and any number of times: each attempt of a call reads the file again.
pub trait ReadAt: std::fmt::Debug + Send + Sync {
    /// Reads into `buffer` from `offset` on and returns the number of bytes read, 0 at the end. May block.
    ///
    /// # Errors
    ///
    /// Returns the error of the file system.
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
    /// Creates a `POST` request.
    pub fn post(uri: Uri, headers: impl Into<Arc<Vec<Field>>>, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, uri, headers: headers.into(), body: body.into(), file: None }
    }

    /// Returns the length of the whole content: body, file and what follows the file.
    pub fn content_length(&self) -> u64 {
        let file = self.file.as_deref().map_or(0, |(file, tail)| file.length + tail.len() as u64);
        self.body.len() as u64 + file
    }

    /// Removes all header fields of this name.
    pub fn remove_header(&mut self, name: &HeaderName) {
        Arc::make_mut(&mut self.headers).retain(|(known, _)| known != name);
    }

    /// Sets a header field, replacing all others of its name.
    pub fn set_header(&mut self, name: HeaderName, value: HeaderValue) {
        let headers = Arc::make_mut(&mut self.headers);
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value));
    }

    /// Returns the header fields as they are sent: the library's `User-Agent` first, unless the request has one of its
    /// own.
    pub fn fields(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        static USER_AGENT_VALUE: HeaderValue = HeaderValue::from_static(concat!("ritellm/", env!("CARGO_PKG_VERSION")));
        let has_user_agent = self.headers.iter().any(|(name, _)| *name == USER_AGENT);
        let own = (!has_user_agent).then_some((&USER_AGENT, &USER_AGENT_VALUE));
        own.into_iter().chain(self.headers.iter().map(|(name, value)| (name, value)))
    }
}

/// Format that separates a streamed body into events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Server-sent events.
    #[default]
    Sse,
    /// One JSON text per line.
    Ndjson,
    /// AWS's `application/vnd.amazon.eventstream`.
    AwsEventStream,
    /// No framing: each piece of the body is an event, and the end of the body is an event named [`END`].
    Raw,
}

/// Name of the event that marks the end of a body without framing.
pub const END: &[u8] = b"end";

/// An HTTP response with its whole body.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// Unix time in seconds at which the response began.
    pub received: u64,
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

/// The header fields of a response, stored as the lines that were received.
///
/// Most calls look at one or two of twenty header fields, so nothing is copied, parsed or indexed until a field is
/// asked for.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    /// One field per line; a line without a colon is ignored.
    lines: Bytes,
}

impl Headers {
    /// Creates header fields from a block of lines, one field each.
    pub fn new(lines: Bytes) -> Self {
        Self { lines }
    }

    /// Copies the lines into memory of their own, so that they no longer keep the buffer that they were read into.
    pub fn into_owned(self) -> Self {
        Self { lines: Bytes::copy_from_slice(&self.lines) }
    }

    /// Iterates over all fields in order, names as they were written. Bytes of a value that are not UTF-8 appear as
    /// replacement characters, carriage returns and NUL bytes as spaces:
    /// <https://www.rfc-editor.org/rfc/rfc9110#section-5.5>.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.fields().map(|(name, value)| {
            let name = std::str::from_utf8(name).unwrap_or("?");
            let value = String::from_utf8_lossy(value);
            (name, if value.contains(['\r', '\0']) { value.replace(['\r', '\0'], " ").into() } else { value })
        })
    }

    /// Returns the first value of this name, compared without regard to case, if it is UTF-8.
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

    /// Replaces secrets by asterisks.
    pub fn hide(&mut self, redactor: &Redactor) {
        if let Some(hidden) = redactor.redact(&self.lines) {
            self.lines = hidden.into();
        }
    }

    /// Iterates over the lines as they were received; [`field_of`] splits one.
    pub fn lines(&self) -> Lines<'_> {
        Lines(&self.lines)
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines().filter_map(field_of)
    }
}

/// Iterator over lines, without their line feeds.
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

/// Splits a header line into name and value; `None` if it has no colon.
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
