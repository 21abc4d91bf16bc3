//! What wires of their own share about batches: rows in OpenAI's format in, OpenAI's batch object and result lines out.
//!
//! The shapes: <https://platform.openai.com/docs/api-reference/batch/object>, .../batch/request-input and
//! .../batch/request-output.

use std::collections::HashSet;
use std::sync::Arc;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::resolve::is_provider;
use crate::error::{Error, Result};
use crate::types::members::Members;
use crate::types::object::ObjectWriter;
use crate::types::params::Params;
use crate::types::request::Request;

/// One row of a batch that is to be made.
pub(super) struct BatchRow {
    pub custom_id: String,
    /// The chat call that it stands for.
    pub request: Request,
}

/// The rows in `requests`: a list of OpenAI's batch lines, `{"custom_id": …, "body": {"model": …, "messages": […], …}}`.
///
/// # Errors
/// `InvalidArgument` that names the row.
pub(super) fn rows(provider: &str, request: &Request) -> Result<Vec<BatchRow>> {
    const RIGHT: &str = "a list of rows such as {\"custom_id\": \"1\", \"body\": {\"model\": …, \"messages\": […]}}";
    let given = request.params.get("requests").map(serde_json::from_slice::<Vec<&RawValue>>);
    let Some(Ok(given)) = given else {
        return Err(Error::argument(format!("requests is no list: {RIGHT} would be right")));
    };
    if given.is_empty() {
        return Err(Error::argument(format!("requests is empty: {RIGHT} would be right")));
    }
    let mut known = HashSet::new();
    let rows = given.iter().enumerate().map(|(index, row)| {
        let wrong = |why: &str| Error::argument(format!("requests[{index}] {why}: {RIGHT} would be right"));
        let row = Members::of(row.get().as_bytes()).map_err(|_| wrong("is no dict"))?;
        let custom_id = row.string("custom_id").filter(|id| !id.is_empty());
        let custom_id = custom_id.ok_or_else(|| wrong("has no custom_id that is a str"))?;
        if !known.insert(custom_id.clone()) {
            return Err(Error::argument(format!(
                "requests[{index}] has the custom_id {custom_id:?} of an earlier row"
            )));
        }
        let body = row.some("body").ok_or_else(|| wrong("has no body"))?;
        let mut params = Params::from_json(body.as_bytes()).map_err(|_| wrong("has a body that is no dict"))?;
        let model: Option<String> = params.get("model").and_then(|model| serde_json::from_slice(model).ok());
        let model = model.ok_or_else(|| wrong("has no model in its body"))?;
        params.remove("model");
        params.remove("stream");
        let model = match model.split_once('/') {
            Some((name, model)) if is_provider(name, provider) => model,
            _ => &model,
        };
        let drop_params = request.drop_params;
        Ok(BatchRow { custom_id, request: Request { model: model.into(), params, drop_params, ..Request::default() } })
    });
    rows.collect()
}

/// The state of a batch, as OpenAI has it. Times are Unix seconds.
#[derive(Debug, Serialize)]
pub(super) struct Batch {
    pub id: String,
    pub object: &'static str,
    pub endpoint: &'static str,
    /// One of OpenAI's: `validating`, `in_progress`, `finalizing`, `completed`, `failed`, `expired`, `cancelling`,
    /// `cancelled`.
    pub status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    pub created_at: Option<i64>,
    pub expires_at: Option<i64>,
    pub completed_at: Option<i64>,
    pub cancelling_at: Option<i64>,
    pub request_counts: Counts,
    /// What `batch_results` is asked for; none before there are any.
    pub output_file_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Value>,
    pub provider_specific_fields: Value,
}

/// How many rows a batch has.
#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    pub total: u64,
    pub completed: u64,
    pub failed: u64,
}

impl Batch {
    pub fn new(id: String, status: &'static str, dialect: &str, native: Value) -> Self {
        Self {
            id,
            object: "batch",
            endpoint: "/v1/chat/completions",
            status,
            model: None,
            created_at: None,
            expires_at: None,
            completed_at: None,
            cancelling_at: None,
            request_counts: Counts::default(),
            output_file_id: None,
            errors: None,
            provider_specific_fields: json!({ dialect: native }),
        }
    }

    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("it is JSON")
    }
}

/// A page of batches.
pub(super) fn page(batches: &[Batch], has_more: bool, last_id: Option<String>) -> Bytes {
    let data: Vec<Value> = batches.iter().map(Batch::to_value).collect();
    let first_id = batches.first().map(|batch| batch.id.clone());
    let last_id = last_id.or_else(|| batches.last().map(|batch| batch.id.clone()));
    json!({"object": "list", "data": data, "first_id": first_id, "last_id": last_id, "has_more": has_more})
        .to_string()
        .into()
}

/// A row's result: its completion, as JSON, or its error.
pub(super) fn result(custom_id: &str, completion: std::result::Result<Bytes, Value>) -> Bytes {
    let mut line = ObjectWriter::with_capacity(128 + completion.as_ref().map_or(64, Bytes::len));
    line.put("custom_id", custom_id);
    match completion {
        Ok(body) => {
            let mut response = ObjectWriter::with_capacity(body.len() + 32);
            response.put("status_code", &200);
            response.put_raw("body", &body);
            line.put_raw("response", &response.finish());
            line.put_raw("error", b"null");
        }
        Err(error) => {
            line.put_raw("response", b"null");
            line.put("error", &error);
        }
    }
    line.finish()
}

/// A time in RFC 3339 as Unix seconds.
pub(super) fn seconds(text: Option<&str>) -> Option<i64> {
    DateTime::from_str(text?, Format::DateTimeWithOffset).ok().map(|time| time.secs())
}

/// The one model of all rows, where a batch is a model's.
pub(super) fn one_model(rows: &[BatchRow]) -> Result<Arc<str>> {
    let model = rows[0].request.model.clone();
    match rows.iter().position(|row| row.request.model != model) {
        None => Ok(model),
        Some(index) => Err(Error::argument(format!(
            "requests[{index}] is for {}, and requests[0] for {model}: a batch here has one model, so make one for each",
            rows[index].request.model
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(requests: &str) -> Result<Vec<BatchRow>> {
        let mut params = Params::default();
        params.set("requests", requests.as_bytes());
        rows("anthropic", &Request { params, ..Request::default() })
    }

    #[test]
    fn rows_are_openais_batch_lines() {
        let rows = rows_of(
            r#"[{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"anthropic/claude-x","messages":[],"stream":true}},
                {"custom_id":"b","body":{"model":"claude-y","max_tokens":5}}]"#,
        );
        let rows = rows.unwrap();
        assert_eq!((&*rows[0].request.model, &*rows[1].request.model), ("claude-x", "claude-y"));
        assert_eq!(rows[0].request.params.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["messages"]);
        assert!(one_model(&rows).unwrap_err().message.contains("requests[1] is for claude-y"));
    }

    #[test]
    fn a_row_that_is_none_is_named() {
        for (requests, what) in [
            ("[]", "requests is empty"),
            ("{}", "requests is no list"),
            ("[1]", "requests[0] is no dict"),
            (r#"[{"body":{"model":"m"}}]"#, "requests[0] has no custom_id"),
            (r#"[{"custom_id":"a"}]"#, "requests[0] has no body"),
            (r#"[{"custom_id":"a","body":{}}]"#, "requests[0] has no model"),
            (
                r#"[{"custom_id":"a","body":{"model":"m"}},{"custom_id":"a","body":{"model":"m"}}]"#,
                r#"requests[1] has the custom_id "a""#,
            ),
        ] {
            let error = rows_of(requests).err().unwrap();
            assert!(error.message.contains(what), "{error}");
        }
    }

    #[test]
    fn times_are_seconds() {
        assert_eq!(seconds(Some("2024-08-20T18:37:24.100435Z")), Some(1_724_179_044));
        assert_eq!(seconds(Some("2014-10-02T15:01:23+05:30")), Some(1_412_242_283));
        assert_eq!(seconds(Some("soon")), None);
    }
}
