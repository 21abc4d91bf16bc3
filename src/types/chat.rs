//! A call on its way: where it goes, what is asked, and what came back.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use memchr::{memchr, memmem};

use super::http::Headers;
use super::params::Params;

/// A key or token. It has no `Display` and its `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a key.
    pub fn new(key: impl Into<Arc<str>>) -> Self {
        Self(key.into())
    }

    /// The key itself, for the one place that writes it into a request.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The text with asterisks in place of the secret, if it stands there: as it is, or with backslashes in between, as
    /// JSON and JSON within JSON write it.
    ///
    /// What is shorter than a few characters is a placeholder, and may well be a word of the text.
    pub fn hidden_in(&self, text: &[u8]) -> Option<Vec<u8>> {
        let secret = self.0.as_bytes();
        if secret.len() < SHORTEST_SECRET {
            return None;
        }
        // Most texts do not hold it, and most secrets nothing that is escaped.
        let is_escaped = memchr(b'\\', text).is_some();
        if !is_escaped && memmem::find(text, secret).is_none() {
            return None;
        }
        let mut hidden = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.first() {
            match end_of(secret, rest) {
                Some(end) => {
                    hidden.extend_from_slice(b"***");
                    rest = &rest[end..];
                }
                None => {
                    hidden.push(*first);
                    rest = &rest[1..];
                }
            }
        }
        (hidden.len() != text.len() || hidden != text).then_some(hidden)
    }
}

/// What is shorter is a placeholder, and may well be a word of the text.
const SHORTEST_SECRET: usize = 4;

/// Where the secret ends that `text` begins with.
fn end_of(secret: &[u8], text: &[u8]) -> Option<usize> {
    let mut at = 0;
    for (place, byte) in secret.iter().enumerate() {
        while place > 0 && text.get(at) == Some(&b'\\') && *byte != b'\\' {
            at += 1;
        }
        if text.get(at) != Some(byte) {
            return None;
        }
        at += 1;
    }
    Some(at)
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What can be asked of a model, each with an endpoint of its own at most providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Operation {
    /// Chat completions.
    #[default]
    Chat,
    /// Vectors for texts.
    Embedding,
    /// OpenAI's Responses.
    Responses,
}

impl Operation {
    /// What a provider has that offers it.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Chat => "chat completions",
            Self::Embedding => "embeddings",
            Self::Responses => "responses",
        }
    }
}

/// What the caller asks of a model.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// What is asked for.
    pub operation: Operation,
    /// The model's name as the provider knows it.
    pub model: Arc<str>,
    /// Everything else of the request body, `messages` or `input` included, without `model` and `stream`.
    pub params: Params,
    /// Whether the answer is to come as a stream.
    pub stream: bool,
    /// Drop parameters that the provider lacks instead of refusing them.
    pub drop_params: bool,
    /// Header fields the caller adds; they replace ours of the same name.
    pub extra_headers: Vec<(HeaderName, HeaderValue)>,
    /// Query parameters the caller adds.
    pub extra_query: Vec<(String, String)>,
}

/// What is known about an answer beside its body.
#[derive(Debug, Clone, Default)]
pub struct Meta {
    /// The provider's name.
    pub provider: Cow<'static, str>,
    /// The model's name as the provider knows it.
    pub model: Arc<str>,
    /// HTTP status.
    pub status: u16,
    /// The answer's headers.
    pub headers: Headers,
    /// How many times the request was repeated.
    pub retries: u32,
    /// From the call to the whole answer, or to a stream's headers.
    pub latency: Duration,
    /// Parameters that were dropped because the provider lacks them.
    pub dropped_params: Vec<String>,
}

impl Meta {
    /// The provider's id for the request, under whichever header name it gives it.
    pub fn request_id(&self) -> Option<&str> {
        request_id(&self.headers)
    }
}

/// The provider's id for a request, under whichever header name it gives it.
pub fn request_id(headers: &Headers) -> Option<&str> {
    ["x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-goog-request-id", "cf-ray"]
        .into_iter()
        .find_map(|name| headers.get(name))
}

/// An OpenAI-shaped answer, as JSON, and what is known about it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The chat completion, list of embeddings or response, as JSON.
    pub body: Bytes,
    /// What is known about it beside that.
    pub meta: Meta,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_however_it_is_escaped() {
        let secret = Secret::new("ab/cd+ef");
        let hidden = |text: &str| secret.hidden_in(text.as_bytes()).map(|text| String::from_utf8(text).unwrap());
        assert_eq!(hidden("nothing here"), None);
        assert_eq!(hidden("nothing \\ here"), None);
        assert_eq!(hidden("xab/cd+efab/cd+ef").as_deref(), Some("x******"));
        assert_eq!(hidden(r#"{"a":"ab\/cd+ef"}"#).as_deref(), Some(r#"{"a":"***"}"#));
        assert_eq!(hidden(r#""{\"a\":\"ab\\\/cd+ef\"}""#).as_deref(), Some(r#""{\"a\":\"***\"}""#));
        assert_eq!(Secret::new("abc").hidden_in(b"abc"), None);
        assert_eq!(format!("{secret:?}"), "Secret(\u{2026})");
    }
}
