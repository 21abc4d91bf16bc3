//! Rate limits in normalised form: what a provider says about them, and what a call costs of one.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Dimension of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// Number of requests.
    Requests,
    /// Number of tokens, input and output together.
    Tokens,
    /// Number of input tokens.
    InputTokens,
    /// Number of output tokens.
    OutputTokens,
    /// Number of requests in flight.
    InFlight,
}

impl Unit {
    /// Returns its name in statuses and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::InFlight => "in_flight",
        }
    }
}

/// Number of tokens of a call, as its provider counts them towards a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tokens {
    /// Number of input tokens that count.
    pub input: u64,
    /// Number of output tokens that count.
    pub output: u64,
}

/// Time until a budget is available again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// The whole limit is available after this time.
    Full(Duration),
    /// Some of the limit is available after this time.
    Some(Duration),
}

/// One limit, as far as an answer tells it. Values that cannot be parsed or are absurd are absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSignal {
    /// Dimension of the limit.
    pub unit: Unit,
    /// Length of the window, if it is told or documented.
    pub period: Option<Duration>,
    /// The limit.
    pub limit: Option<u64>,
    /// Part of the limit that is left.
    pub remaining: Option<u64>,
    /// Time until more of it is left.
    pub reset: Option<Reset>,
}

/// Class of a failed attempt, which decides what becomes of its quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The rate limit is exceeded.
    Rate,
    /// The provider, not the account, has too much to do.
    Overload,
    /// The limit of a day (or of a longer period) is used up.
    DayQuota,
    /// There is no credit or no quota at all: waiting does not help.
    QuotaFatal,
    /// The key is refused, or has no access to the model; the model or address does not exist.
    Auth,
    /// The request is at fault; another one may succeed.
    BadRequest,
    /// A fault that may pass: connection, timeout, 5xx, a broken stream.
    Transient,
}

impl FailureClass {
    /// Returns its name in statuses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Overload => "overload",
            Self::DayQuota => "day_quota",
            Self::QuotaFatal => "quota_fatal",
            Self::Auth => "auth",
            Self::BadRequest => "bad_request",
            Self::Transient => "transient",
        }
    }
}

/// What is refused by a failure of the class [`Auth`](FailureClass::Auth).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The key (401).
    Key,
    /// The key's access to the model (403).
    Access,
    /// The model or the address: there is none (404).
    Model,
}

/// What an answer or a failure says about rate limits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signals {
    /// The limits that the answer tells; no provider tells more than four at once in the usual case.
    pub windows: SmallVec<[WindowSignal; 4]>,
    /// Time for which no request is to be sent.
    pub retry_after: Option<Duration>,
    /// Class of the failure; `None` for a success.
    pub failure: Option<FailureClass>,
    /// What was refused, of a failure of the class `Auth`.
    pub refused: Option<Refused>,
}

/// Rules by which a provider counts the tokens of a call towards its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenRules {
    /// True if `max_tokens` counts as output from the start, and is settled with the usage (OpenAI, Bedrock).
    pub reserves_max_tokens: bool,
    /// Output tokens count this many times (Bedrock: 5 for some models); 0 if they do not count (Gemini).
    pub output_weight: u32,
    /// True if input tokens that were read from a cache do not count (Anthropic).
    pub cached_reads_free: bool,
}
