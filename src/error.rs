//! The error type of the core: the kind of failure, its source, and everything that the provider returned.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use crate::types::http::Headers;
use crate::types::record::CallRecord;
use crate::types::redact::Redactor;

/// Result of the core's functions. The error is boxed: it is large and rare, and must not enlarge every return value.
pub type Result<T, E = Box<Error>> = std::result::Result<T, E>;

/// Code of the error of a call that was not admitted within its queue timeout.
pub const QUEUE_TIMEOUT: &str = "queue_timeout";

/// Maximum length of a response body kept in an error, in bytes. The body is searched for keys while all other calls of
/// the network thread wait: an unoptimised build took 0.4 s for a call with a body of this size that was full of
/// escapes.
pub const MAX_BODY: usize = 1 << 20;
/// Maximum length of an error's message, in bytes.
const MAX_MESSAGE: usize = 64 << 10;

/// Kind of failure. Each kind is one exception class of the Python package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// An argument of the call is invalid; nothing was sent.
    InvalidArgument,
    /// A parameter that OpenAI defines and the provider lacks was passed; nothing was sent.
    UnsupportedParams,
    /// Status 400, and other 4xx without a kind of their own.
    BadRequest,
    /// The prompt exceeds the model's context window.
    ContextWindowExceeded,
    /// The provider refused the content by its policy.
    ContentPolicyViolation,
    /// Status 401, or a missing key.
    Authentication,
    /// Status 403.
    PermissionDenied,
    /// Status 404.
    NotFound,
    /// Status 409.
    Conflict,
    /// Status 422.
    UnprocessableEntity,
    /// Status 429.
    RateLimit,
    /// A deadline passed, or the provider reported a timeout (408, 504).
    Timeout,
    /// A connection could not be made, or was lost.
    ApiConnection,
    /// Status 500, and other 5xx without a kind of their own.
    InternalServer,
    /// Status 502, 503 or 529.
    ServiceUnavailable,
    /// The answer does not have the form that the wire format requires.
    ApiResponseValidation,
    /// A stream ended without its final event.
    IncompleteStream,
    /// The call would exceed its budget; nothing was sent.
    BudgetExceeded,
    /// The folder of a bulk job cannot be read or written.
    Journal,
    /// Another process runs this bulk job; the error's code is its number.
    JobLocked,
    /// There is no room for the outcomes of a bulk job.
    DiskFull,
    /// A test made a call that it has no answer for.
    UnexpectedCall,
    /// A fault of this library.
    Internal,
}

impl ErrorKind {
    /// Returns the kind for an HTTP status, for bodies that contain nothing more specific.
    pub fn from_status(status: u16) -> Self {
        match status {
            401 => Self::Authentication,
            403 => Self::PermissionDenied,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            409 => Self::Conflict,
            422 => Self::UnprocessableEntity,
            429 => Self::RateLimit,
            502 | 503 | 529 => Self::ServiceUnavailable,
            500.. => Self::InternalServer,
            _ => Self::BadRequest,
        }
    }

    /// Returns the name of the exception class in the Python package.
    pub fn class_name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "InvalidArgumentError",
            Self::UnsupportedParams => "UnsupportedParamsError",
            Self::BadRequest => "BadRequestError",
            Self::ContextWindowExceeded => "ContextWindowExceededError",
            Self::ContentPolicyViolation => "ContentPolicyViolationError",
            Self::Authentication => "AuthenticationError",
            Self::PermissionDenied => "PermissionDeniedError",
            Self::NotFound => "NotFoundError",
            Self::Conflict => "ConflictError",
            Self::UnprocessableEntity => "UnprocessableEntityError",
            Self::RateLimit => "RateLimitError",
            Self::Timeout => "Timeout",
            Self::ApiConnection => "APIConnectionError",
            Self::InternalServer => "InternalServerError",
            Self::ServiceUnavailable => "ServiceUnavailableError",
            Self::ApiResponseValidation => "APIResponseValidationError",
            Self::IncompleteStream => "IncompleteStreamError",
            Self::BudgetExceeded => "BudgetExceededError",
            Self::Journal => "JournalError",
            Self::JobLocked => "JobLocked",
            Self::DiskFull => "DiskFullError",
            Self::UnexpectedCall => "UnexpectedCallError",
            Self::Internal => "RiteLLMError",
        }
    }
}

/// A failed call, with everything that the provider returned.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Kind of failure.
    pub kind: ErrorKind,
    /// Message for a person, of one sentence; never contains a key.
    pub message: String,
    /// Name of the provider, if one was involved.
    pub provider: Option<String>,
    /// Name of the model as the provider knows it, if one was called.
    pub model: Option<String>,
    /// HTTP status, if there was a response.
    pub status: Option<u16>,
    /// The provider's error code (`error.code`, or `error.type` if there is no code).
    pub code: Option<String>,
    /// Body of the response.
    pub body: Option<Bytes>,
    /// Header fields of the response.
    pub headers: Option<Headers>,
    /// The provider's identifier of the request.
    pub request_id: Option<String>,
    /// Time that the provider asked to wait before the next attempt.
    pub retry_after: Option<Duration>,
    /// Number of times the request was repeated before this error was returned.
    pub retries: u32,
    /// The provider's instruction to repeat the request or not, if it sent one (`x-should-retry`).
    pub should_retry: Option<bool>,
    /// Record of the call, if anything was sent.
    pub record: Option<Box<CallRecord>>,
    /// False if nothing of the request was sent.
    pub was_sent: bool,
    /// Inputs of the call that the failed request had, if the call was split into several.
    pub inputs: Option<Range<usize>>,
    /// Exception raised by a function of the caller's, to be raised again by the layer that knows its type.
    pub raised: Option<Box<dyn std::any::Any + Send + Sync>>,
}

impl Error {
    /// Creates an error that has nothing but a message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            kind,
            message: message.into(),
            provider: None,
            model: None,
            status: None,
            code: None,
            body: None,
            headers: None,
            request_id: None,
            retry_after: None,
            retries: 0,
            should_retry: None,
            record: None,
            // Found here, before anything is sent.
            was_sent: kind != ErrorKind::InvalidArgument,
            inputs: None,
            raised: None,
        })
    }

    /// Redacts secrets in all fields, since some hosts repeat the key that they were sent. A message or body that
    /// exceeds its maximum length is truncated first.
    pub fn hide(&mut self, redactor: &Redactor) {
        let is_boundary = |at: &usize| self.message.is_char_boundary(*at);
        let end = (0..=MAX_MESSAGE.min(self.message.len())).rev().find(is_boundary);
        self.message.truncate(end.unwrap_or_default());
        redactor.hide(&mut self.message);
        self.code.iter_mut().chain(&mut self.request_id).for_each(|text| redactor.hide(text));
        if let Some(headers) = &mut self.headers {
            headers.hide(redactor);
        }
        if let Some(body) = &mut self.body {
            body.truncate(MAX_BODY);
            if let Some(hidden) = redactor.redact(body) {
                *body = hidden.into();
            }
        }
    }

    /// Creates an error for an invalid argument: `message` names the argument, the type of its value, and what is
    /// valid.
    pub fn argument(message: impl Into<String>) -> Box<Self> {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// Creates an error for a connection that could not be made, or was lost.
    pub fn connection(message: impl Into<String>) -> Box<Self> {
        Self::new(ErrorKind::ApiConnection, message)
    }

    /// Returns a copy for another caller who waits for the same, without the exception of the first caller's function.
    pub fn copy(&self) -> Box<Self> {
        let mut copy = Self::new(self.kind, self.message.clone());
        copy.provider.clone_from(&self.provider);
        copy.model.clone_from(&self.model);
        copy.status = self.status;
        copy.code.clone_from(&self.code);
        copy.body.clone_from(&self.body);
        copy.headers.clone_from(&self.headers);
        copy.request_id.clone_from(&self.request_id);
        copy.retry_after = self.retry_after;
        copy.retries = self.retries;
        copy.should_retry = self.should_retry;
        copy.record.clone_from(&self.record);
        copy.was_sent = self.was_sent;
        copy.inputs.clone_from(&self.inputs);
        copy
    }

    /// Marks the error as one of a call of which nothing was sent.
    pub fn unsent(mut self: Box<Self>) -> Box<Self> {
        self.was_sent = false;
        self
    }

    /// Creates the error of a call that was not admitted within its queue timeout.
    pub fn not_admitted(message: impl Into<String>) -> Box<Self> {
        let mut error = Self::timeout(message).unsent();
        error.code = Some(QUEUE_TIMEOUT.to_owned());
        error
    }

    /// Creates an error for a deadline that passed.
    pub fn timeout(message: impl Into<String>) -> Box<Self> {
        Self::new(ErrorKind::Timeout, message)
    }
}
