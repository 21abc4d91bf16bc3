//! The request of a call: one operation, with its parameters.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::http::Upload;
use super::operation::Operation;
use super::params::Params;
use super::structured::StructuredOutput;

/// The caller's wishes for the requests that a call with many inputs is split into; 0 where nothing was said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Batches {
    /// Maximum number of inputs in a request.
    pub size: u32,
    /// Maximum number of requests in flight.
    pub concurrency: u32,
}

/// A request for one operation, as the caller makes it.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The operation to perform.
    pub operation: Operation,
    /// Name of the model as the provider knows it.
    pub model: Arc<str>,
    /// All other members of the request body, `messages` or `input` included, without `model` and `stream`.
    pub params: Params,
    /// True if the answer is requested as a stream.
    pub stream: bool,
    /// Requests that the call may be split into.
    pub batches: Batches,
    /// True if parameters that the provider lacks are dropped instead of refused.
    pub drop_params: bool,
    /// Header fields added by the caller; each replaces the library's own field of the same name.
    pub extra_headers: Vec<(HeaderName, HeaderValue)>,
    /// Query parameters added by the caller.
    pub extra_query: Vec<(String, String)>,
    /// File to upload with the request.
    pub upload: Option<Arc<Upload>>,
    /// Structured output that is asked for, beside what the parameters say.
    pub structured: Option<StructuredOutput>,
}
