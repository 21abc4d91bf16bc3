//! The answer to a call, and its metadata.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::http::Headers;
use super::secrets::Secrets;

/// An OpenAI-shaped answer, as JSON, and what is known about it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The chat completion, list of embeddings or response, as JSON.
    pub body: Bytes,
    /// What is known about it beside that.
    pub meta: Meta,
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
