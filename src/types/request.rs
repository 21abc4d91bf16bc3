//! The request of a call: one operation, asked of one model or account.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::http::Upload;
use super::operation::Operation;
use super::params::Params;

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
