//! Batches of the providers with a wire of their own: rows in OpenAI's format in, OpenAI's batch object and result lines out.
//!
//! Formats: <https://platform.openai.com/docs/api-reference/batch/object>, .../batch/request-input and
//! .../batch/request-output.

use std::collections::HashSet;
use std::sync::Arc;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use http::Uri;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::bytes_stream::RawBytes;
use super::resolve::is_provider;
use super::{Deployment, Encoded, Endpoint, StreamDecoder};
use crate::error::{Error, Result};
use crate::types::http::{Field, Framing, HttpRequest, HttpResponse};
use crate::types::members::Members;
use crate::types::object::ObjectWriter;
use crate::types::params::Params;
use crate::types::request::Request;

/// One row of a new batch.
pub(super) struct BatchRow {
    pub custom_id: String,
    /// The row's chat call.
    pub request: Request,
}

/// Reads the rows in `requests`: a list of OpenAI's batch lines, `{"custom_id": …, "body": {"model": …, "messages": […], …}}`.
///
/// # Errors
/// `InvalidArgument` that names the row.
pub(super) fn rows(provider: &str, request: &Request) -> Result<Vec<BatchRow>> {
    const EXPECTED: &str = "a list of rows such as {\"custom_id\": \"1\", \"body\": {\"model\": …, \"messages\": […]}}";
    let rows = request.params.get("requests").map(serde_json::from_slice::<Vec<&RawValue>>);
    let Some(Ok(rows)) = rows else {
        return Err(Error::argument(format!("requests is no list: {EXPECTED} would be right")));
    };
    if rows.is_empty() {
        return Err(Error::argument(format!("requests is empty: {EXPECTED} would be right")));
    }
    let mut known = HashSet::new();
    let rows = rows.iter().enumerate().map(|(index, row)| {
        let wrong = |why: &str| Error::argument(format!("requests[{index}] {why}: {EXPECTED} would be right"));
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

/// Returns the request that starts a batch whose requests are in a file, with what is around them.
///
/// # Errors
/// `InvalidArgument` if there is no file.
pub(super) fn around_file(
    (uri, headers): (Uri, Arc<Vec<Field>>),
    request: &Request,
    head: impl Into<Bytes>,
    tail: &'static str,
) -> Result<HttpRequest> {
    let upload = request.upload.clone().ok_or_else(|| Error::argument("file is missing: give a path or bytes"))?;
    let file = Some(Box::new((upload, Bytes::from_static(tail.as_bytes()))));
    Ok(HttpRequest { file, ..HttpRequest::post(uri, headers, head) })
}

/// Reads the results of a batch as they are, by the endpoint that reads their lines.
pub(super) struct RawResults<Lines>(pub Lines);

impl<Lines: Endpoint> Endpoint for RawResults<Lines> {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        self.0.encode(deployment, request)
    }

    fn decode(&self, _request: &Request, response: &HttpResponse) -> Result<Bytes> {
        Ok(response.body.clone())
    }

    fn framing(&self) -> Framing {
        Framing::Raw
    }

    fn streams_json(&self) -> bool {
        true
    }

    fn stream_decoder(&self, _request: &Request, _received: u64) -> Box<dyn StreamDecoder> {
        Box::new(RawBytes::default())
    }
}

/// The state of a batch in OpenAI's format. Times are Unix seconds.
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
    /// Id for `batch_results`; `None` before there are results.
    pub output_file_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Value>,
    pub provider_specific_fields: Value,
}

/// Number of a batch's rows in each state.
#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    pub total: u64,
    pub completed: u64,
    pub failed: u64,
}

impl Batch {
    /// Returns a batch without times; `native` is the provider's own object, under the name `dialect`.
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

    /// Returns the batch as a JSON value.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("it is JSON")
    }
}

/// Returns a page of batches in OpenAI's format.
pub(super) fn page(batches: &[Batch], has_more: bool, last_id: Option<String>) -> Bytes {
    let first_id = batches.first().map(|batch| batch.id.clone());
    let last_id = last_id.or_else(|| batches.last().map(|batch| batch.id.clone()));
    let mut page = ObjectWriter::with_capacity(128 + 512 * batches.len());
    page.put("object", "list");
    page.put("data", batches);
    page.put("first_id", &first_id);
    page.put("last_id", &last_id);
    page.put("has_more", &has_more);
    page.finish()
}

/// Returns a row's line of results: its completion, as JSON, or its error.
pub(super) fn result(custom_id: &str, completion: std::result::Result<Bytes, Value>) -> Bytes {
    let mut line = ObjectWriter::with_capacity(128 + completion.as_ref().map_or(64, Bytes::len));
    line.put("custom_id", custom_id);
    match completion {
        Ok(body) => {
            line.put_object("response", |response| {
                response.put("status_code", &200);
                response.put_raw("body", &body);
            });
            line.put_raw("error", b"null");
        }
        Err(error) => {
            line.put_raw("response", b"null");
            line.put("error", &error);
        }
    }
    line.finish()
}

/// Converts a time in RFC 3339 to Unix seconds.
pub(super) fn seconds(text: Option<&str>) -> Option<i64> {
    DateTime::from_str(text?, Format::DateTimeWithOffset).ok().map(|time| time.secs())
}

/// Returns the model of all rows, for providers whose batches have one model.
///
/// # Errors
/// `InvalidArgument` if two rows have different models.
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
