//! A call on its way: where it goes, what is asked, and what came back.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

pub use super::operation::Operation;

use super::http::{Headers, Upload};
use super::params::Params;
use super::secrets::Secrets;

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
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
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
    /// A file that is sent along.
    pub upload: Option<Arc<Upload>>,
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
    /// The answer's headers, as they came: a host may repeat a key even there, see [`shown_headers`](Self::shown_headers).
    pub headers: Headers,
    /// What must not be shown of them.
    pub secrets: Secrets,
    /// How many times the request was repeated.
    pub retries: u32,
    /// From the call to the whole answer, or to a stream's headers.
    pub latency: Duration,
    /// Parameters that were dropped because the provider lacks them.
    pub dropped_params: Vec<String>,
}

impl Meta {
    /// The answer's headers without the secrets that were sent.
    pub fn shown_headers(&self) -> Headers {
        let mut headers = self.headers.clone();
        headers.hide(&self.secrets.redactor());
        headers
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
    fn a_secret_is_not_shown_by_debug() {
        let secret = Secret::new("sesame");
        assert_eq!(format!("{secret:?}"), "Secret(\u{2026})");
    }
}
