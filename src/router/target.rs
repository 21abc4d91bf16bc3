//! One deployment, ready to be called, and what an answer has to have for the call to be over.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use memchr::memmem;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::client::{Call, OwnLimits, Timeouts};
use crate::error::{Error, ErrorKind};
use crate::providers::Deployment;
use crate::types::answer::Answer;
use crate::types::json_cursor::Cursor;

/// One deployment, ready to be called.
#[derive(Debug, Clone)]
pub struct Target {
    /// Unique name of the deployment.
    pub name: Arc<str>,
    /// Model, address and key.
    pub deployment: Deployment,
    /// Header fields of its requests, unless the call has others of the same name.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Parameters of its calls, as JSON, unless the call has its own.
    pub params: Vec<(String, Bytes)>,
    /// Timeouts of its attempts, instead of the call's.
    pub timeouts: Option<Timeouts>,
    /// Timeouts of its attempts at streams, instead of these.
    pub stream_timeouts: Option<Timeouts>,
    /// Limits, beside those of the client.
    pub limits: Option<Arc<OwnLimits>>,
}

impl Target {
    /// Returns a call for one attempt at this deployment.
    pub fn attempt(&self, call: &Call) -> Call {
        let mut attempt = Call { deployment: self.deployment.clone(), ..call.clone() };
        attempt.own_limits.clone_from(&self.limits);
        attempt.deployment_name = Some(self.name.clone());
        attempt.max_retries = 0;
        attempt.is_routed = true;
        let request = &mut attempt.request;
        let of_stream = self.stream_timeouts.filter(|_| request.stream);
        attempt.timeouts = of_stream.or(self.timeouts).unwrap_or(call.timeouts);
        request.model.clone_from(&self.deployment.model);
        for (name, value) in &self.headers {
            if !request.extra_headers.iter().any(|(known, _)| known == name) {
                request.extra_headers.push((name.clone(), value.clone()));
            }
        }
        for (name, value) in &self.params {
            if request.params.get(name).is_none() {
                request.params.set(name, value);
            }
        }
        attempt
    }
}

/// Returns true if a chunk, or an event of a response, tells the caller something. The first ones of many providers hold only
/// the role, or say that a response was created; until then a call may go elsewhere.
pub(super) fn has_content(chunk: &[u8]) -> bool {
    let Ok(chunk) = serde_json::from_slice::<Value>(chunk) else { return true };
    if let Some(kind) = chunk["type"].as_str() {
        let is_empty = match kind {
            "response.created" | "response.in_progress" | "response.queued" | "response.content_part.added" => true,
            "response.output_item.added" => matches!(chunk["item"]["type"].as_str(), Some("message" | "reasoning")),
            _ => false,
        };
        return !is_empty;
    }
    let Some(choices) = chunk["choices"].as_array() else { return true };
    choices.iter().any(|choice| {
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        let says = |(name, value): (&String, &Value)| name != "role" && !is_empty(value);
        !choice["finish_reason"].is_null() || choice["delta"].as_object().is_some_and(|delta| delta.iter().any(says))
    })
}

/// Returns the error for an answer that is no JSON, such as one that was cut off before it was framed: the client passes the
/// bytes of many providers on as they are.
///
/// Of one longer than 16 kB only its strings and brackets are looked at: a list of vectors has megabytes.
pub(super) fn unreadable(answer: &Answer) -> Option<Box<Error>> {
    let (body, meta) = (&answer.body, &answer.meta);
    let is_whole = match body.len() {
        ..=16_384 => serde_json::from_slice::<IgnoredAny>(body).is_ok(),
        _ => {
            let mut cursor = Cursor::new(body, 0);
            cursor.value().is_some() && cursor.peek().is_none()
        }
    };
    (!is_whole).then(|| {
        let message = format!("{} answered with something that is no JSON, or a part of it", meta.provider);
        let mut error = Error::new(ErrorKind::ApiResponseValidation, message);
        error.provider = Some(meta.provider.clone().into_owned());
        error.model = Some(meta.model.to_string());
        error.status = Some(meta.status);
        error.request_id = meta.headers.request_id().map(str::to_owned);
        error.body = Some(body.clone());
        error.headers = Some(meta.headers.clone());
        error.hide(&meta.secrets.redactor());
        error
    })
}

/// Returns the error for an answer, or the first chunk with content, that says nothing but that the content was refused.
pub(super) fn refused_content(answer: &[u8]) -> Option<Box<Error>> {
    // Rare: a whole answer is not read for it.
    memmem::find(answer, b"content_filter")?;
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let choices = answer["choices"].as_array()?;
    let is_refused = |choice: &Value| {
        let message = if choice["message"].is_object() { &choice["message"] } else { &choice["delta"] };
        let has_text = message["content"].as_str().is_some_and(|text| !text.is_empty());
        choice["finish_reason"] == "content_filter" && !has_text && message["tool_calls"].is_null()
    };
    (!choices.is_empty() && choices.iter().all(is_refused)).then(|| {
        let message = "the answer has no content: it was refused by the provider's content filter";
        Error::new(ErrorKind::ContentPolicyViolation, message)
    })
}

/// Returns the error for a response, or the first event with content, that says nothing but that the provider failed.
pub(super) fn failed_response(answer: &[u8]) -> Option<Box<Error>> {
    memmem::find(answer, b"\"failed\"")?;
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let response = if answer["type"] == "response.failed" { &answer["response"] } else { &answer };
    if response["object"] != "response" || response["status"] != "failed" {
        return None;
    }
    let kind = match response["error"]["code"].as_str()? {
        "server_error" => ErrorKind::InternalServer,
        "rate_limit_exceeded" => ErrorKind::RateLimit,
        // The request's fault: the caller gets the response.
        _ => return None,
    };
    let message = response["error"]["message"].as_str().unwrap_or_default();
    Some(Error::new(kind, format!("the response has failed: {message}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_chunk_that_tells_something() {
        for empty in [
            r#"{"choices":[]}"#,
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"refusal":null}}]}"#,
            r#"{"type":"response.created","response":{}}"#,
            r#"{"type":"response.output_item.added","item":{"type":"message","content":[]}}"#,
            r#"{"type":"response.content_part.added","part":{"type":"output_text","text":""}}"#,
        ] {
            assert!(!has_content(empty.as_bytes()), "{empty}");
        }
        for full in [
            r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"reasoning_content":"a"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"type":"response.output_text.delta","delta":"a"}"#,
            r#"{"type":"response.output_item.added","item":{"type":"web_search_call"}}"#,
            "bytes of audio",
        ] {
            assert!(has_content(full.as_bytes()), "{full}");
        }
    }

    #[test]
    fn an_answer_that_says_nothing_but_that_it_was_refused() {
        let refused =
            r#"{"choices":[{"message":{"role":"assistant","content":null},"finish_reason":"content_filter"}]}"#;
        assert_eq!(refused_content(refused.as_bytes()).unwrap().kind, ErrorKind::ContentPolicyViolation);
        let chunk = r#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#;
        assert!(refused_content(chunk.as_bytes()).is_some());
        // Cut off by the filter: the caller gets what came.
        let cut = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"content_filter"}]}"#;
        assert!(refused_content(cut.as_bytes()).is_none());
        let about_it = r#"{"choices":[{"message":{"content":"content_filter"},"finish_reason":"stop"}]}"#;
        assert!(refused_content(about_it.as_bytes()).is_none());
    }

    #[test]
    fn an_answer_that_is_no_json() {
        let vectors = format!(r#"{{"data":[{}]}}"#, vec!["0.125"; 4000].join(","));
        let error = |body: &str| {
            let body = Bytes::from(body.to_owned());
            unreadable(&Answer { body, meta: Default::default() }).map(|error| error.kind)
        };
        for right in [r#"{"choices":[{"message":{"content":"}"}}]} "#, "[]", &vectors] {
            assert_eq!(error(right), None, "{right}");
        }
        let cut = &vectors[..vectors.len() - 1];
        let wrong = [
            r#"{"choices":[{"message":{"content":"a"#,
            r#"{"choices":[nonsense]}"#,
            "{}{}",
            "",
            cut,
            &format!("{vectors}}}"),
        ];
        for wrong in wrong {
            assert_eq!(error(wrong), Some(ErrorKind::ApiResponseValidation), "{wrong}");
        }
    }

    #[test]
    fn a_response_that_has_failed() {
        let kind = |code: &str| {
            let response =
                format!(r#"{{"object":"response","status":"failed","error":{{"code":"{code}","message":"no"}}}}"#);
            let event = format!(r#"{{"type":"response.failed","response":{response}}}"#);
            let kinds = [response, event].map(|answer| failed_response(answer.as_bytes()).map(|error| error.kind));
            assert_eq!(kinds[0], kinds[1]);
            kinds[0]
        };
        assert_eq!(kind("server_error"), Some(ErrorKind::InternalServer));
        assert_eq!(kind("rate_limit_exceeded"), Some(ErrorKind::RateLimit));
        assert_eq!(kind("invalid_prompt"), None);
        let completed = r#"{"object":"response","status":"completed","output":[{"status":"failed"}],"error":null}"#;
        assert!(failed_response(completed.as_bytes()).is_none());
    }
}
