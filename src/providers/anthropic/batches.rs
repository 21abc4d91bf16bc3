//! Anthropic's batches of messages, as OpenAI's batches.
//!
//! Wire format: <https://platform.claude.com/docs/en/api/messages/batches/create> and the pages beside it. A batch
//! contains its requests, so `requests` takes the place of an input file; its results are read by its own id.

use bytes::Bytes;
use http::{HeaderName, Method};
use serde_json::{Value, json};

use super::{Host, ROW, VERSION, address, credential, error_of, header, request, response};
use crate::error::Result;
use crate::providers::batch_rows::{BatchRows, BatchRules, Lookup, RowAnswer, RowResult};
use crate::providers::batches::{Batch, Counts, around_file, page, result, rows, seconds};
use crate::providers::bytes_stream::JsonLines;
use crate::providers::http::{ANY, Destination, JSON, headers};
use crate::providers::resources::{Payload, Route, SEGMENT, encode_by_route, required_string};
use crate::providers::{Deployment, Encoded, Endpoint, Operation, StreamDecoder, errors};
use crate::types::http::{Framing, HttpRequest, HttpResponse};
use crate::types::members::Members;
use crate::types::operation::Output;
use crate::types::request::Request;

/// Creates a batch.
pub(super) struct Create;

/// Lists, retrieves or cancels batches.
pub(super) struct Manage(Route);

/// Reads the results of a batch.
pub(super) struct Results;

/// Creates a batch of the requests in a file, which are separated by commas.
pub(super) struct Submit;

/// The rows of a batch: <https://platform.claude.com/docs/en/build-with-claude/batch-processing>.
pub(super) struct Rows;

pub(super) static BATCH_LIST: Manage = manage(Operation::BatchList, Method::GET, "", Payload::Query);
pub(super) static BATCH_RETRIEVE: Manage = manage(Operation::BatchRetrieve, Method::GET, "", Payload::Query);
pub(super) static BATCH_CANCEL: Manage = manage(Operation::BatchCancel, Method::POST, "/cancel", Payload::Json);

const fn manage(operation: Operation, method: Method, path: &'static str, payload: Payload) -> Manage {
    Manage(Route { operation, method, path, payload })
}

/// Returns the address and header fields of batches, or of a resource below them.
fn destination(deployment: &Deployment, path: &str, accept: &'static str, betas: &[String]) -> Result<Destination> {
    let messages = address(&deployment.base_url)?;
    let uri = crate::providers::http::address(&format!("{messages}/batches{path}"))?;
    let mut who = vec![credential(deployment)?];
    let version = deployment.api_version.as_deref().unwrap_or(VERSION);
    who.push((HeaderName::from_static("anthropic-version"), header("api_version", version)?));
    if !betas.is_empty() {
        who.push((HeaderName::from_static("anthropic-beta"), header("betas", &betas.join(","))?));
    }
    Ok((uri, headers(who, accept).into()))
}

fn segment(name: &str, request: &Request) -> Result<String> {
    let id = required_string(name, request.params.get(name))?;
    Ok(format!("/{}", percent_encoding::utf8_percent_encode(&id, SEGMENT)))
}

impl Endpoint for Create {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let (mut written, mut betas, mut dropped_params) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows(ROW.name, request)? {
            let body = request::body(Host::Anthropic, &row.request.model, &row.request).map_err(|mut error| {
                error.message = format!("the row {:?}: {}", row.custom_id, error.message);
                error
            })?;
            let id = serde_json::to_string(&row.custom_id).expect("a string is JSON");
            written.push(format!("{{\"custom_id\":{id},\"params\":{}}}", body.json));
            betas.extend(body.betas);
            dropped_params.extend(body.dropped_params);
        }
        for names in [&mut betas, &mut dropped_params] {
            names.sort_unstable();
            names.dedup();
        }
        let (uri, headers) = destination(deployment, "", JSON, &betas)?;
        let body = format!("{{\"requests\":[{}]}}", written.join(","));
        Ok(Encoded { request: HttpRequest::post(uri, headers, body), dropped_params })
    }

    fn decode(&self, _request: &Request, response: &HttpResponse) -> Result<Bytes> {
        Ok(batch(response, &response.body)?.to_value().to_string().into())
    }
}

impl Endpoint for Manage {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let mut params = request.params.clone();
        let path = match self.0.operation {
            Operation::BatchList => {
                // OpenAI's name of the cursor.
                if let Some(after) = request.params.get("after") {
                    params.set("after_id", after);
                    params.remove("after");
                }
                String::new()
            }
            _ => {
                params.remove("batch_id");
                segment("batch_id", request)? + self.0.path
            }
        };
        let destination = destination(deployment, &path, JSON, &[])?;
        Ok(Encoded { request: encode_by_route(&self.0, request, &params, destination)?, dropped_params: Vec::new() })
    }

    fn decode(&self, _request: &Request, response: &HttpResponse) -> Result<Bytes> {
        if self.0.operation.spec().output != Output::BatchPage {
            return Ok(batch(response, &response.body)?.to_value().to_string().into());
        }
        let no_page = || errors::not_an_answer(ROW.name, response, "something that is no list of batches");
        let top = Members::of(&response.body).map_err(|_| no_page())?;
        let data = top.some("data").and_then(|data| serde_json::from_str(data).ok());
        let data: Vec<&serde_json::value::RawValue> = data.ok_or_else(no_page)?;
        let batches = data.iter().map(|one| batch(response, one.get().as_bytes())).collect::<Result<Vec<_>>>()?;
        Ok(page(&batches, top.get("has_more") == Some("true"), top.string("last_id")))
    }
}

impl Endpoint for Results {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let path = segment("output_file_id", request)? + "/results";
        let (uri, headers) = destination(deployment, &path, ANY, &[])?;
        let sent = HttpRequest { method: Method::GET, ..HttpRequest::post(uri, headers, Bytes::new()) };
        Ok(Encoded { request: sent, dropped_params: Vec::new() })
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

    fn stream_decoder(&self, _request: &Request, received: u64) -> Box<dyn StreamDecoder> {
        Box::new(JsonLines::new(move |line| Ok(Some(line_of(line, received)))))
    }
}

impl Endpoint for Submit {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let sent = around_file(destination(deployment, "", JSON, &[])?, request, "{\"requests\":[", "]}")?;
        Ok(Encoded { request: sent, dropped_params: Vec::new() })
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        Create.decode(request, response)
    }
}

impl BatchRows for Rows {
    fn rules(&self) -> BatchRules {
        // Nothing in a batch tells whose it is but the ids of its rows.
        BatchRules {
            max_rows: 100_000,
            max_bytes: 256 << 20,
            price: Some(0.5),
            lookup: Lookup::RowIds,
            takes_file: false,
            unread: &[],
            queue: None,
            shared_header: Some("anthropic-beta"),
            operations: &[Operation::Chat],
        }
    }

    fn encode(&self, id: &str, _operation: Operation, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{{\"custom_id\":\"{id}\",\"params\":").as_bytes());
        out.extend_from_slice(body);
        out.push(b'}');
    }

    fn decode(&self, line: &[u8]) -> RowResult {
        let top = Members::of(line).unwrap_or_default();
        let given = top.some("result").and_then(|result| Members::of(result.as_bytes()).ok()).unwrap_or_default();
        let kind = given.string("type").unwrap_or_default();
        let answer = match (&*kind, given.some("message"), given.some("error")) {
            ("succeeded", Some(message), _) => RowAnswer::response(200, message),
            ("errored", _, Some(error)) => RowAnswer::response(status_of(error), error),
            ("canceled", ..) => RowAnswer::Cancelled,
            ("expired", ..) => RowAnswer::Expired,
            (other, ..) => RowAnswer::invalid(format!("a result of the type {other:?}, which is not known")),
        };
        RowResult { id: top.string("custom_id").unwrap_or_default(), answer }
    }
}

/// Returns the HTTP status that a row's error has in a call: <https://platform.claude.com/docs/en/api/errors>.
fn status_of(error: &str) -> u16 {
    let outer: Value = serde_json::from_str(error).unwrap_or_default();
    let error = if outer["error"].is_object() { &outer["error"] } else { &outer };
    match error["type"].as_str().unwrap_or_default() {
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "api_error" => 500,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => 400,
    }
}

/// Converts a batch: <https://platform.claude.com/docs/en/api/messages/batches/retrieve>.
fn batch(response: &HttpResponse, json: &[u8]) -> Result<Batch> {
    let no_batch = || errors::not_an_answer(ROW.name, response, "something that is no batch");
    let top = Members::of(json).map_err(|_| no_batch())?;
    let Some(id) = top.string("id") else {
        return Err(if top.some("error").is_some() { error_of(Host::Anthropic, response) } else { no_batch() });
    };
    let native: Value = serde_json::from_slice(json).map_err(|_| no_batch())?;
    let time = |name: &str| seconds(top.string(name).as_deref());
    let was_cancelled = top.some("cancel_initiated_at").is_some();
    let status = match top.string("processing_status").as_deref() {
        Some("ended") if was_cancelled => "cancelled",
        Some("ended") => "completed",
        Some("canceling") => "cancelling",
        _ => "in_progress",
    };
    let count = |name: &str| native["request_counts"][name].as_u64().unwrap_or(0);
    let failed = count("errored") + count("expired") + count("canceled");
    let request_counts =
        Counts { total: count("processing") + count("succeeded") + failed, completed: count("succeeded"), failed };
    let output_file_id = top.some("results_url").map(|_| id.clone());
    let (created_at, expires_at) = (time("created_at"), time("expires_at"));
    let (completed_at, cancelling_at) = (time("ended_at"), time("cancel_initiated_at"));
    let batch = Batch::new(id, status, super::DIALECT, native);
    Ok(Batch { created_at, expires_at, completed_at, cancelling_at, request_counts, output_file_id, ..batch })
}

/// Converts a line of results: <https://platform.claude.com/docs/en/api/messages/batches/results>.
fn line_of(line: &[u8], received: u64) -> Bytes {
    let top = Members::of(line).unwrap_or_default();
    let custom_id = top.string("custom_id").unwrap_or_default();
    let given = top.some("result").and_then(|result| Members::of(result.as_bytes()).ok()).unwrap_or_default();
    let kind = given.string("type").unwrap_or_default();
    let failed = |code: &str, message: &str| Err(json!({"code": code, "message": message}));
    let outcome = match (&*kind, given.some("message"), given.some("error")) {
        ("succeeded", Some(message), _) => {
            let body = Bytes::copy_from_slice(message.as_bytes());
            let message = HttpResponse { received, status: 200, headers: Default::default(), body };
            response::completion(Host::Anthropic, &message)
                .map_err(|error| json!({"code": "invalid_result", "message": error.message}))
        }
        ("errored", _, Some(error)) => {
            let outer: Value = serde_json::from_str(error).unwrap_or_default();
            let error = if outer["error"].is_object() { &outer["error"] } else { &outer };
            failed(error["type"].as_str().unwrap_or("errored"), error["message"].as_str().unwrap_or_default())
        }
        ("canceled", ..) => failed("batch_cancelled", "the batch was cancelled before this row was sent"),
        ("expired", ..) => failed("batch_expired", "the batch expired before this row was sent"),
        (other, ..) => failed("invalid_result", &format!("a result of the type {other:?}, which is not known")),
    };
    result(&custom_id, outcome)
}
