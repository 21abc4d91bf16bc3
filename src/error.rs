//! One error for the whole core: what went wrong, who said so, and everything they said.

use std::time::Duration;

use bytes::Bytes;

use crate::types::http::Headers;
use crate::types::redact::Redactor;

/// The core's results. The error is boxed: it is large, rare, and should not widen every return value.
pub type Result<T, E = Box<Error>> = std::result::Result<T, E>;

/// So much of an answer's body is kept in an error, in bytes. It is searched for keys, which all other calls of the network
/// thread wait for: an unoptimised build took 0.4 s for a call with a body of this size that was full of escapes.
pub const LONGEST_BODY: usize = 1 << 20;
/// So much of what a provider said is kept in an error's message.
const LONGEST_MESSAGE: usize = 64 << 10;

/// What kind of failure it was; each kind is one exception class of the Python package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// An argument of the call cannot be used; nothing was sent.
    InvalidArgument,
    /// A parameter that OpenAI defines and the provider lacks; nothing was sent.
    UnsupportedParams,
    /// 400 and other 4xx with no kind of their own.
    BadRequest,
    /// The prompt is longer than the model takes.
    ContextWindowExceeded,
    /// The provider refused the content.
    ContentPolicyViolation,
    /// 401, or no key where one is needed.
    Authentication,
    /// 403.
    PermissionDenied,
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 422.
    UnprocessableEntity,
    /// 429.
    RateLimit,
    /// A deadline passed, or the provider said so (408, 504).
    Timeout,
    /// No connection, or one that broke.
    ApiConnection,
    /// 500 and other 5xx with no kind of their own.
    InternalServer,
    /// 502, 503, 529.
    ServiceUnavailable,
    /// An answer that is not what the wire format says.
    ApiResponseValidation,
    /// A stream that ended without its finish.
    IncompleteStream,
    /// A fault of ours.
    Internal,
}

impl ErrorKind {
    /// The kind an HTTP status stands for when its body says nothing more exact.
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

    /// The name of its exception class in the Python package.
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
            Self::Internal => "RiteLLMError",
        }
    }
}

/// What went wrong, with everything the provider said about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of failure it was.
    pub kind: ErrorKind,
    /// One sentence for a person; never holds a key.
    pub message: String,
    /// The provider's name, when one was involved.
    pub provider: Option<String>,
    /// The model's name as the provider knows it, when one was called.
    pub model: Option<String>,
    /// HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// The provider's own code for the error (`error.code`, or `error.type` where there is no code).
    pub code: Option<String>,
    /// The answer's body as it came.
    pub body: Option<Bytes>,
    /// The answer's headers.
    pub headers: Option<Headers>,
    /// The provider's id for the request.
    pub request_id: Option<String>,
    /// How long the provider asked to be left alone.
    pub retry_after: Option<Duration>,
    /// How many times the request was repeated before this came out.
    pub retries: u32,
    /// What the provider said about repeating the request, if it said so (`x-should-retry`).
    pub should_retry: Option<bool>,
    /// What a function of the caller's raised instead, for the layer that knows what it is.
    pub raised: Option<Box<dyn std::any::Any + Send + Sync>>,
}

impl Error {
    /// A failure of this kind, with nothing but a message.
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
            raised: None,
        })
    }

    /// Takes secrets out of everything that was said: some hosts repeat the key that they were sent. Of a body or message
    /// that is longer than any honest one, only the beginning is looked at and kept.
    pub fn hide(&mut self, redactor: &Redactor) {
        let is_end = |at: &usize| self.message.is_char_boundary(*at);
        let end = (0..=LONGEST_MESSAGE.min(self.message.len())).rev().find(is_end);
        self.message.truncate(end.unwrap_or_default());
        redactor.hide(&mut self.message);
        self.code.iter_mut().chain(&mut self.request_id).for_each(|text| redactor.hide(text));
        if let Some(headers) = &mut self.headers {
            headers.hide(redactor);
        }
        if let Some(held) = &mut self.body {
            held.truncate(LONGEST_BODY);
            if let Some(hidden) = redactor.redact(held) {
                *held = hidden.into();
            }
        }
    }

    /// An argument that cannot be used: `message` names it, its value's type, and what would be right.
    pub fn argument(message: impl Into<String>) -> Box<Self> {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// A connection that could not be made or broke.
    pub fn connection(message: impl Into<String>) -> Box<Self> {
        Self::new(ErrorKind::ApiConnection, message)
    }

    /// A deadline that passed.
    pub fn timeout(message: impl Into<String>) -> Box<Self> {
        Self::new(ErrorKind::Timeout, message)
    }
}
