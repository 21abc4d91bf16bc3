//! Rows of batches in a provider's own format: from a call's body to a line that is sent, and from a line of results to an
//! answer.
//!
//! Formats of OpenAI and Azure: <https://platform.openai.com/docs/api-reference/batch/request-input>,
//! .../batch/request-output and <https://learn.microsoft.com/azure/ai-foundry/openai/how-to/batch>.

use bytes::Bytes;
use serde_json::Value;

use super::{all, failure_class, lookup};
use crate::error::{Error, Result};
use crate::types::http::HttpResponse;
use crate::types::members::Members;
use crate::types::operation::Operation;
use crate::types::rate_limit::FailureClass;

/// The format of the rows of a provider's batches.
pub trait BatchRows: Sync {
    /// Returns the limits and the ways of its batches.
    fn rules(&self) -> BatchRules;

    /// Appends a row without a newline. `id` has letters, digits and `-` only, `body` is that of a call.
    fn encode(&self, id: &str, operation: Operation, body: &[u8], out: &mut Vec<u8>);

    /// Returns the path that rows of an operation call; empty where batches do not name it.
    fn endpoint(&self, _operation: Operation) -> String {
        String::new()
    }

    /// Splits a file of results that is not a file of lines.
    fn lines<'a>(&self, _file: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        None
    }

    /// Reads a line of results.
    fn decode(&self, line: &[u8]) -> RowResult;
}

/// Limits and ways of a provider's batches.
#[derive(Debug, Clone, Copy)]
pub struct BatchRules {
    /// Number of rows that a batch may have.
    pub max_rows: usize,
    /// Size that a batch may have, in bytes.
    pub max_bytes: usize,
    /// Price of a batch's tokens, as a part of that of calls; `None` if it is not known.
    pub price: Option<f64>,
    /// What tells whose a batch is.
    pub lookup: Lookup,
    /// True if the provider reads the rows from an uploaded file; otherwise they are in the request that makes the batch.
    pub takes_file: bool,
    /// States of a file that is uploaded and cannot be used yet: a batch of it would be refused.
    pub unread: &'static [&'static str],
    /// How a batch is refused that would exceed the tokens that may be enqueued.
    pub queue: Option<QueueRules>,
    /// The header field that a call may have and that a batch's rows share.
    pub shared_header: Option<&'static str>,
    /// Operations that its batches may have.
    pub operations: &'static [Operation],
}

/// How a provider refuses a batch that would exceed the tokens that may be enqueued.
#[derive(Debug, Clone, Copy)]
pub struct QueueRules {
    /// Code of the error.
    pub code: &'static str,
    /// Words before and after the number of tokens in its message, in lower case.
    pub limit: (&'static str, &'static str),
}

/// What a refusal of a batch says about the tokens that may be enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueRefusal {
    /// True if the code says that there are too many.
    pub is_full: bool,
    /// Maximum number of them, if the message names it.
    pub max_tokens: Option<u64>,
}

/// What tells whose a batch is, when the answer to its creation was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The file that it was made of.
    File,
    /// Its name.
    DisplayName,
    /// Nothing but the ids of the rows in its results.
    RowIds,
}

/// A line of a batch's results.
#[derive(Debug)]
pub struct RowResult {
    /// Id of the row; empty if the line has none.
    pub id: String,
    /// What became of it.
    pub answer: RowAnswer,
}

/// What became of a row of a batch.
#[derive(Debug)]
pub enum RowAnswer {
    /// The provider's answer, as that of a call.
    Response {
        /// HTTP status.
        status: u16,
        /// The provider's id for the request.
        request_id: Option<String>,
        /// Body.
        body: Bytes,
    },
    /// The batch expired before the row was sent.
    Expired,
    /// The batch was cancelled before the row was sent.
    Cancelled,
    /// Any other failure.
    Failed {
        /// The provider's code.
        code: String,
        /// Message for a person.
        message: String,
    },
}

impl RowAnswer {
    pub(super) fn response(status: u16, body: &str) -> Self {
        Self::Response { status, request_id: None, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    pub(super) fn invalid(message: String) -> Self {
        Self::Failed { code: "invalid_result".into(), message }
    }
}

/// Returns the price of the tokens of a provider's batches, as a part of that of calls; `None` if it is not known.
///
/// # Errors
/// `InvalidArgument` if it has no batches.
pub fn batch_price(provider: &str) -> Result<Option<f64>> {
    let rows = lookup(provider).and_then(|provider| provider.batch_rows());
    rows.map(|rows| rows.rules().price).ok_or_else(|| {
        let have = all().filter(|provider| provider.batch_rows().is_some()).map(|provider| provider.row().name);
        let have = have.collect::<Vec<_>>().join(", ");
        Error::argument(format!("{provider} has no batches: mode=\"calls\" would be right; these have: {have}"))
    })
}

/// Returns what a provider's refusal of a batch says about the tokens that may be enqueued.
pub fn queue_refusal(provider: &str, code: &str, message: &str) -> QueueRefusal {
    let rows = lookup(provider).and_then(|provider| provider.batch_rows());
    let Some(queue) = rows.and_then(|rows| rows.rules().queue) else { return QueueRefusal::default() };
    let message = message.to_lowercase();
    let (before, after) = queue.limit;
    let limits = message.match_indices(before).filter_map(|(at, _)| {
        let rest = message[at + before.len()..].trim_start_matches(':').trim_start();
        let end = rest.find(|character: char| !matches!(character, '0'..='9' | ',' | '_')).unwrap_or(rest.len());
        let is_of_queue = rest[end..].trim_start().starts_with(after);
        let digits: String = rest[..end].chars().filter(char::is_ascii_digit).collect();
        digits.parse().ok().filter(|_| is_of_queue)
    });
    QueueRefusal { is_full: code == queue.code, max_tokens: limits.min() }
}

/// Returns true if a file in this state is uploaded and cannot be used for a batch yet.
pub fn is_unread(provider: &str, status: &str) -> bool {
    let rows = lookup(provider).and_then(|provider| provider.batch_rows());
    rows.is_some_and(|rows| rows.rules().unread.contains(&status))
}

/// Returns the class of a provider's refusal; `None` if there is no such provider.
pub fn refusal_class(provider: &str, response: &HttpResponse) -> Option<FailureClass> {
    let provider = lookup(provider)?;
    let mut error = provider.decode_error(response);
    error.provider.get_or_insert_with(|| provider.row().name.to_owned());
    Some(failure_class(&error))
}

/// OpenAI's rows, and those of hosts with the same limits and prices.
pub(super) static OPENAI: OpenAiRows = OpenAiRows { version: "/v1", price: Some(0.5) };
/// Azure's rows, whose paths have no version.
pub(super) static AZURE: OpenAiRows = OpenAiRows { version: "", price: Some(0.5) };
/// Rows of a host of which nothing but its format is known.
pub(super) static UNKNOWN_HOST: OpenAiRows = OpenAiRows { version: "/v1", price: None };

/// Rows in OpenAI's format.
pub(super) struct OpenAiRows {
    /// Beginning of the paths that rows name.
    version: &'static str,
    price: Option<f64>,
}

impl BatchRows for OpenAiRows {
    fn rules(&self) -> BatchRules {
        BatchRules {
            max_rows: 50_000,
            // 200 MB, read as the smaller of the two meanings.
            max_bytes: 200_000_000,
            price: self.price,
            lookup: Lookup::File,
            takes_file: true,
            // Azure's (https://learn.microsoft.com/azure/ai-foundry/openai/how-to/batch). OpenAI's files have none.
            unread: &["notRunning", "pending", "running"],
            // `Enqueued token limit reached for … in organization …. Limit: 90,000 enqueued tokens.`
            queue: Some(QueueRules { code: "token_limit_exceeded", limit: ("limit", "enqueued") }),
            shared_header: None,
            operations: &[Operation::Chat, Operation::Embedding, Operation::Responses],
        }
    }

    fn endpoint(&self, operation: Operation) -> String {
        let path = match operation {
            Operation::Embedding => "embeddings",
            Operation::Responses => "responses",
            _ => "chat/completions",
        };
        format!("{}/{path}", self.version)
    }

    fn encode(&self, id: &str, operation: Operation, body: &[u8], out: &mut Vec<u8>) {
        let path = self.endpoint(operation);
        let head = format!("{{\"custom_id\":\"{id}\",\"method\":\"POST\",\"url\":\"{path}\",\"body\":");
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(body);
        out.push(b'}');
    }

    fn decode(&self, line: &[u8]) -> RowResult {
        let top = Members::of(line).unwrap_or_default();
        let response = top.some("response").and_then(|response| Members::of(response.as_bytes()).ok());
        let answer = response.as_ref().and_then(|response| {
            let status = serde_json::from_str(response.some("status_code")?).ok()?;
            let body = Bytes::copy_from_slice(response.some("body")?.as_bytes());
            Some(RowAnswer::Response { status, request_id: response.string("request_id"), body })
        });
        let answer = match (answer, top.some("error")) {
            (Some(answer), _) => answer,
            (None, Some(error)) => {
                let error: Value = serde_json::from_str(error).unwrap_or_default();
                let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
                match error["code"].as_str() {
                    Some("batch_expired") => RowAnswer::Expired,
                    Some("batch_cancelled") => RowAnswer::Cancelled,
                    _ => RowAnswer::Failed { code: text("code"), message: text("message") },
                }
            }
            (None, None) => RowAnswer::invalid("neither a response nor an error".into()),
        };
        RowResult { id: top.string("custom_id").unwrap_or_default(), answer }
    }
}
