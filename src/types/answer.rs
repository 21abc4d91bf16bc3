//! The answer to a call, and its metadata.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::http::Headers;
use super::record::{AttemptRecord, CallRecord, Outcome};
use super::secrets::Secrets;

/// An answer in OpenAI's format, with its metadata.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The chat completion, list of embeddings or response, as JSON.
    pub body: Bytes,
    /// Metadata of the answer.
    pub meta: Meta,
}

/// Metadata of an answer: everything that is known about it except its body.
#[derive(Debug, Clone, Default)]
pub struct Meta {
    /// Name of the provider.
    pub provider: Cow<'static, str>,
    /// Name of the model as the provider knows it.
    pub model: Arc<str>,
    /// HTTP status code.
    pub status: u16,
    /// Header fields of the answer, unredacted. A host may repeat a key even in these: see
    /// [`shown_headers`](Self::shown_headers).
    pub headers: Headers,
    /// Secrets that must be redacted from the header fields before they are shown.
    pub secrets: Secrets,
    /// Number of times the request was repeated.
    pub retries: u32,
    /// Time from the call to the end of the answer, or to the header fields of a stream.
    pub latency: Duration,
    /// Names of the parameters that were dropped because the provider lacks them.
    pub dropped_params: Vec<String>,
    /// Name of the deployment, if a router chose it.
    pub deployment: Option<Arc<str>>,
    /// True if the answer was kept from an earlier call, so that nothing was sent and nothing used.
    pub cached: bool,
    /// Record of the call, if there is more to say than that the first attempt succeeded.
    pub record: Option<Box<CallRecord>>,
}

impl Meta {
    /// Returns the attempts of the call. Of most calls there is no record: the first attempt succeeded.
    pub fn attempts(&self) -> Vec<AttemptRecord> {
        match &self.record {
            Some(record) if !record.attempts.is_empty() => record.attempts.clone(),
            _ if self.status == 0 || self.cached => Vec::new(),
            record => {
                let waited = record.as_ref().map(|record| record.waited).unwrap_or_default();
                vec![AttemptRecord {
                    number: self.retries + 1,
                    deployment: self.deployment.as_deref().map(str::to_owned),
                    provider: self.provider.clone(),
                    model: self.model.to_string(),
                    status: Some(self.status),
                    request_id: self.shown_headers().request_id().map(str::to_owned),
                    outcome: Outcome::Success,
                    latency: self.latency.saturating_sub(waited),
                    waited,
                    ..AttemptRecord::default()
                }]
            }
        }
    }

    /// Returns this metadata with that of an earlier answer, which did not fit the schema that was asked for: the attempts, the
    /// retries, the times, the usage and the cost of both.
    #[must_use]
    pub fn after(&self, earlier: &Self) -> Self {
        let (before, mut record) = (earlier.whole_record(), self.whole_record());
        let count = before.attempts.last().map_or(0, |last| last.number);
        let attempts = std::mem::take(&mut record.attempts).into_iter();
        record.attempts = before.attempts;
        attempts.for_each(|attempt| record.push(AttemptRecord { number: attempt.number + count, ..attempt }));
        record.total += before.total;
        record.waited += before.waited;
        record.usage = record.usage.zip(before.usage).map(|(usage, before)| usage.plus(&before));
        record.cost = record.cost.zip(before.cost).map(|(cost, before)| cost + before);
        record.retries += before.retries;
        record.validation_retries = before.validation_retries + 1;
        Self {
            retries: record.retries,
            latency: self.latency + earlier.latency,
            record: Some(Box::new(record)),
            ..self.clone()
        }
    }

    /// Returns the record of the call, whole.
    pub fn whole_record(&self) -> CallRecord {
        let record = self.record.as_deref().cloned().unwrap_or_default();
        CallRecord {
            attempts: self.attempts(),
            total: record.total.max(self.latency),
            retries: self.retries,
            dropped_params: self.dropped_params.clone(),
            ..record
        }
    }

    /// Returns the header fields with the secrets that were sent replaced by asterisks.
    pub fn shown_headers(&self) -> Headers {
        let mut headers = self.headers.clone();
        headers.hide(&self.secrets.redactor());
        headers
    }
}
