//! The record of a call: its attempts, and what became of it. `meta.attempts`, the log, the hook and the journal are made of
//! it.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rate_limit::FailureClass;
use super::usage::Usage;

/// Number of attempts that are kept of a call: the first half of them and the last. A call that waits for its turn at a
/// rate limit may make any number.
const MAX_ATTEMPTS: usize = 64;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has not ended.
    #[default]
    Open,
    /// The answer came, or a stream began.
    Success,
    /// It failed: `error` and `message` say why.
    Failed,
    /// Nothing was sent, since the deployment cannot take the call: `message` says why.
    Skipped,
    /// It was aborted, since another attempt had won or the caller gave up.
    Aborted,
}

/// One attempt of a call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttemptRecord {
    /// Number of the attempt, from 1.
    pub number: u32,
    /// Name of the deployment, if a router chose it.
    pub deployment: Option<String>,
    /// Reason for which this deployment was asked, if a router chose it: `first`, `sibling`, `retry`, `fallback` or `hedge`.
    pub reason: Option<Cow<'static, str>>,
    /// Name of the provider.
    pub provider: Cow<'static, str>,
    /// Name of the model as the provider knows it.
    pub model: String,
    /// Host and port that the request went to, if they are known.
    pub host: Option<String>,
    /// HTTP status, if there was an answer.
    #[serde(rename = "status_code")]
    pub status: Option<u16>,
    /// The provider's id for the request.
    pub request_id: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Name of the exception class of the failure.
    pub error: Option<Cow<'static, str>>,
    /// Class of the failure, where it was classified.
    pub failure: Option<FailureClass>,
    /// Message of the failure, or the reason why the attempt was skipped or aborted; without keys.
    pub message: Option<String>,
    /// Time from the start of the call to that of the attempt.
    #[serde(with = "seconds")]
    pub started: Duration,
    /// Time from the start of the attempt to the whole answer, to a stream's header fields, or to the failure, without the
    /// time that it waited for admission.
    #[serde(with = "seconds")]
    pub latency: Duration,
    /// Time that the attempt waited for admission.
    #[serde(with = "seconds")]
    pub waited: Duration,
    /// Pause before the next attempt, if there was to be one.
    #[serde(with = "seconds::option")]
    pub pause: Option<Duration>,
}

/// Record of a call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallRecord {
    /// The attempts, in the order of their starts. Empty in a record that was made for other things, if the first attempt
    /// succeeded: see `Meta::attempts`.
    pub attempts: Vec<AttemptRecord>,
    /// Time from the call to the first chunk of a stream.
    #[serde(with = "seconds::option")]
    pub first_chunk: Option<Duration>,
    /// Number of chunks that have come, of a stream that is recorded.
    #[serde(skip_serializing_if = "is_zero")]
    pub chunks: u32,
    /// Time from the call to the end of the answer, or to the final failure.
    #[serde(with = "seconds")]
    pub total: Duration,
    /// Time that the call waited for admission.
    #[serde(with = "seconds")]
    pub waited: Duration,
    /// Usage, if the answer told it.
    pub usage: Option<Usage>,
    /// Usage that a recorded stream told with its first chunk: the prompt's, for one that does not reach its end.
    #[serde(skip)]
    pub first_usage: Option<Usage>,
    /// Cost in US dollars, if the prices of all tokens are known.
    pub cost: Option<f64>,
    /// Number of times that the request was repeated.
    pub retries: u32,
    /// Names of the parameters that were dropped because the provider lacks them.
    pub dropped_params: Vec<String>,
    /// Form in which structured output was asked for: `json_schema`, `tool`, `json_object` or `prompt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structured_output: Option<Cow<'static, str>>,
    /// Number of times that the model was asked again, since its answer did not fit the schema.
    #[serde(skip_serializing_if = "is_zero")]
    pub validation_retries: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl CallRecord {
    /// Returns the mean time between two chunks of a stream, if there were two.
    pub fn between_chunks(&self) -> Option<Duration> {
        let after_first = self.total.saturating_sub(self.first_chunk?);
        (self.chunks > 1).then(|| after_first / (self.chunks - 1))
    }

    /// Adds an attempt. A stream that broke has been added when it began: its failure replaces that.
    pub fn push(&mut self, attempt: AttemptRecord) {
        match self.attempts.last_mut() {
            Some(last) if last.number == attempt.number && last.deployment == attempt.deployment => {
                let begun = std::mem::replace(last, attempt);
                last.status = last.status.or(begun.status);
                last.request_id = last.request_id.take().or(begun.request_id);
                last.waited = last.waited.max(begun.waited);
            }
            _ => {
                if self.attempts.len() == MAX_ATTEMPTS {
                    self.attempts.remove(MAX_ATTEMPTS / 2);
                }
                self.attempts.push(attempt);
            }
        }
    }
}

/// Times as seconds, for serde's `with`.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        time.as_secs_f64().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        f64::deserialize(deserializer).map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default())
    }

    pub mod option {
        use super::*;

        pub fn serialize<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
            time.map(|time| time.as_secs_f64()).serialize(serializer)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
            let seconds = Option::<f64>::deserialize(deserializer)?;
            Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: u32, outcome: Outcome) -> AttemptRecord {
        AttemptRecord {
            number,
            provider: "p".into(),
            model: "m".into(),
            outcome,
            latency: Duration::from_millis(250),
            pause: Some(Duration::from_millis(500)),
            ..AttemptRecord::default()
        }
    }

    #[test]
    fn a_broken_stream_is_one_attempt() {
        let mut record = CallRecord::default();
        record.push(AttemptRecord { status: Some(200), request_id: Some("r".into()), ..attempt(1, Outcome::Success) });
        record.push(attempt(1, Outcome::Failed));
        record.push(attempt(2, Outcome::Success));
        let seen: Vec<_> = record.attempts.iter().map(|known| (known.number, known.status, known.outcome)).collect();
        assert_eq!(seen, [(1, Some(200), Outcome::Failed), (2, None, Outcome::Success)]);
        assert_eq!(record.attempts[0].request_id.as_deref(), Some("r"));
    }

    #[test]
    fn the_first_and_the_last_attempts_are_kept() {
        let mut record = CallRecord::default();
        (1..=1000).for_each(|number| record.push(attempt(number, Outcome::Failed)));
        let numbers: Vec<u32> = record.attempts.iter().map(|known| known.number).collect();
        assert_eq!(numbers, (1..=32).chain(969..=1000).collect::<Vec<u32>>());
    }

    #[test]
    fn json_and_back() {
        let failed = AttemptRecord {
            error: Some("RateLimitError".into()),
            failure: Some(FailureClass::DayQuota),
            ..attempt(1, Outcome::Failed)
        };
        let record =
            CallRecord { attempts: vec![failed], usage: Some(Usage::default()), cost: Some(0.5), ..Default::default() };
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["attempts"][0]["latency"], 0.25);
        assert_eq!(json["attempts"][0]["pause"], 0.5);
        assert_eq!(
            (&json["attempts"][0]["outcome"], &json["attempts"][0]["failure"]),
            (&"failed".into(), &"day_quota".into())
        );
        assert_eq!(serde_json::from_value::<CallRecord>(json).unwrap(), record);
        assert_eq!(serde_json::from_str::<CallRecord>("{}").unwrap(), CallRecord::default());
    }
}
