//! The Gemini API's batches, as OpenAI's.
//!
//! Wire format: <https://ai.google.dev/api/batch-api>, <https://ai.google.dev/gemini-api/docs/batch-api>. A batch is for
//! one model and contains its requests; the results are in the batch itself, or in a file that it names.

use bytes::Bytes;
use http::{Method, Uri};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{GEMINI, GEMINI_CHAT, GEMINI_ROW, address, request, with_details};
use crate::error::{Error, Result};
use crate::providers::batch_rows::{BatchRows, BatchRules, Lookup, RowAnswer, RowResult};
use crate::providers::batches::{Batch, Counts, one_model, page, result, rows, seconds};
use crate::providers::bytes_stream::RawBytes;
use crate::providers::http::{ANY, Destination, JSON, headers};
use crate::providers::resources::{Payload, Route, encode_by_route, required_string};
use crate::providers::{Deployment, Encoded, Endpoint, Operation, Provider, StreamDecoder, errors};
use crate::types::http::{Framing, HttpRequest, HttpResponse};
use crate::types::members::Members;
use crate::types::object::ObjectWriter;
use crate::types::operation::Output;
use crate::types::params::Params;
use crate::types::request::Request;

/// Creates a batch.
pub(super) struct Create;

/// Lists, retrieves or cancels batches.
pub(super) struct Manage(Route);

/// Reads the results of a batch.
pub(super) struct Results;

/// The rows of a batch.
pub(super) struct Rows;

pub(super) static BATCH_LIST: Manage = manage(Operation::BatchList, Method::GET, Payload::Query);
pub(super) static BATCH_RETRIEVE: Manage = manage(Operation::BatchRetrieve, Method::GET, Payload::Query);
pub(super) static BATCH_CANCEL: Manage = manage(Operation::BatchCancel, Method::POST, Payload::Json);

const fn manage(operation: Operation, method: Method, payload: Payload) -> Manage {
    Manage(Route { operation, method, path: "", payload })
}

/// Returns the address and header fields of a resource.
pub(super) fn destination(
    deployment: &Deployment,
    before: &str,
    path: &str,
    accept: &'static str,
) -> Result<Destination> {
    let (uri, credentials) = address::gemini_resource(deployment, before, path)?;
    Ok((uri, headers(credentials, accept).into()))
}

/// Returns a resource's name in paths; ids without a collection are those of batches.
fn name_of(argument: &str, request: &Request) -> Result<String> {
    let id = required_string(argument, request.params.get(argument))?;
    Ok(if id.contains('/') { id } else { format!("batches/{id}") })
}

/// Returns the request that makes a batch of the rows in an uploaded file.
///
/// # Errors
/// `InvalidArgument` without a model, or for a file's id that is no text.
fn of_file(deployment: &Deployment, request: &Request, file: &[u8]) -> Result<Encoded> {
    let model = required_string("batch_model", request.params.get("batch_model"))?;
    let file = required_string("input_file_id", Some(file))?;
    let mut batch = ObjectWriter::with_capacity(128);
    batch.put_raw("displayName", request.params.get("display_name").unwrap_or(b"\"ritellm\""));
    batch.put("inputConfig", &json!({ "fileName": file }));
    let mut body = ObjectWriter::with_capacity(160);
    body.put_raw("batch", batch.finish());
    let path = format!("{}:batchGenerateContent", address::gemini_model(&model));
    let (uri, headers) = destination(deployment, "", &path, JSON)?;
    Ok(Encoded { request: HttpRequest::post(uri, headers, body.finish()), dropped_params: Vec::new() })
}

impl Endpoint for Create {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        if let Some(file) = request.params.get("input_file_id") {
            return of_file(deployment, request, file);
        }
        let rows = rows(GEMINI_ROW.name, request)?;
        let model = one_model(&rows)?;
        let (mut requests, mut dropped_params) = (Vec::new(), Vec::new());
        for row in &rows {
            let body = request::write(GEMINI_ROW.name, false, &model, &row.request).map_err(|mut error| {
                error.message = format!("the row {:?}: {}", row.custom_id, error.message);
                error
            })?;
            let mut line = ObjectWriter::with_capacity(body.json.len() + 64);
            line.put_raw("request", &body.json);
            line.put("metadata", &json!({"key": row.custom_id}));
            requests.push(if requests.is_empty() { b'[' } else { b',' });
            requests.extend_from_slice(&line.finish());
            dropped_params.extend(body.dropped_params);
        }
        requests.push(b']');
        dropped_params.sort_unstable();
        dropped_params.dedup();
        let display_name = request.params.get("display_name").unwrap_or(b"\"ritellm\"");
        let mut body = ObjectWriter::with_capacity(requests.len() + 128);
        let mut batch = ObjectWriter::with_capacity(requests.len() + 96);
        batch.put_raw("displayName", display_name);
        batch.put_raw("inputConfig", [b"{\"requests\":{\"requests\":", &*requests, b"}}"].concat());
        body.put_raw("batch", batch.finish());
        let (uri, headers) =
            destination(deployment, "", &format!("{}:batchGenerateContent", address::gemini_model(&model)), JSON)?;
        Ok(Encoded { request: HttpRequest::post(uri, headers, body.finish()), dropped_params })
    }

    fn decode(&self, _request: &Request, response: &HttpResponse) -> Result<Bytes> {
        Ok(batch(response, &response.body)?.to_value().to_string().into())
    }
}

impl Endpoint for Manage {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let mut params = Params::default();
        let path = match self.0.operation {
            Operation::BatchList => {
                for (name, native) in [("limit", "pageSize"), ("after", "pageToken")] {
                    request.params.get(name).into_iter().for_each(|value| params.set(native, value));
                }
                "batches".to_owned()
            }
            Operation::BatchCancel => name_of("batch_id", request)? + ":cancel",
            _ => name_of("batch_id", request)?,
        };
        let destination = destination(deployment, "", &path, JSON)?;
        Ok(Encoded { request: encode_by_route(&self.0, request, &params, destination)?, dropped_params: Vec::new() })
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let top = Members::of(&response.body);
        match (self.0.operation.spec().output, top) {
            (Output::BatchPage, Ok(top)) => {
                let list = top.some("operations").and_then(|list| serde_json::from_str(list).ok());
                let list: Vec<&RawValue> = list.unwrap_or_default();
                let batches =
                    list.iter().map(|one| batch(response, one.get().as_bytes())).collect::<Result<Vec<_>>>()?;
                // The cursor of the next page is this token rather than the last batch's name.
                let next = top.string("nextPageToken").filter(|token| !token.is_empty());
                Ok(page(&batches, next.is_some(), next))
            }
            // The answer to a cancellation is empty.
            (_, Ok(top)) if self.0.operation == Operation::BatchCancel && top.some("name").is_none() => {
                let id = name_of("batch_id", request)?;
                Ok(Batch::new(id, "cancelling", super::DIALECT, json!({})).to_value().to_string().into())
            }
            _ => Ok(batch(response, &response.body)?.to_value().to_string().into()),
        }
    }
}

impl Endpoint for Results {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let name = name_of("output_file_id", request)?;
        let (uri, headers) = match name.starts_with("files/") {
            true => {
                let (uri, headers) = destination(deployment, "download/", &format!("{name}:download"), ANY)?;
                let uri = Uri::try_from(format!("{uri}?alt=media"));
                (uri.map_err(|error| Error::argument(format!("base_url cannot be used: {error}")))?, headers)
            }
            false => destination(deployment, "", &name, JSON)?,
        };
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
        Box::new(ResultLines { received, pieces: RawBytes::default(), body: Vec::new() })
    }
}

impl BatchRows for Rows {
    fn rules(&self) -> BatchRules {
        // A file has 2 GB at most, and the number of its lines no limit. Requests within a batch have 20 MB together, and
        // their results were seen without ids and in another order: <https://github.com/googleapis/python-genai/issues/2008>,
        // .../1909.
        BatchRules {
            max_rows: 100_000,
            max_bytes: 2_000_000_000,
            price: Some(0.5),
            lookup: Lookup::DisplayName,
            takes_file: true,
            unread: &["pending"],
            queue: None,
            shared_header: None,
            operations: &[Operation::Chat],
        }
    }

    fn encode(&self, id: &str, _operation: Operation, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{{\"key\":\"{id}\",\"request\":").as_bytes());
        out.extend_from_slice(body);
        out.push(b'}');
    }

    fn lines<'a>(&self, file: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        let top = Members::of(file).ok()?;
        let list = inlined(&top)?;
        Some(list.into_iter().map(|line| line.get().as_bytes()).collect())
    }

    fn decode(&self, line: &[u8]) -> RowResult {
        let top = Members::of(line).unwrap_or_default();
        let answer = match (top.some("response"), top.some("error")) {
            (Some(answer), _) => RowAnswer::response(200, answer),
            (None, Some(error)) => RowAnswer::response(status_of(error), &format!("{{\"error\":{error}}}")),
            (None, None) => RowAnswer::invalid("neither a response nor an error".into()),
        };
        RowResult { id: key_of(&top).unwrap_or_default(), answer }
    }
}

/// Returns the HTTP status of a row's error: <https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto>.
fn status_of(error: &str) -> u16 {
    let error: Value = serde_json::from_str(error).unwrap_or_default();
    match error["code"].as_u64() {
        Some(status @ 400..600) => status as u16,
        Some(3 | 9 | 11) => 400,
        Some(16) => 401,
        Some(7) => 403,
        Some(5) => 404,
        Some(6 | 10) => 409,
        Some(8) => 429,
        Some(4) => 504,
        Some(14) => 503,
        _ => 500,
    }
}

/// Returns the id of a row in a line of results: it is in the metadata, or in a file beside them.
fn key_of(top: &Members<'_>) -> Option<String> {
    let metadata = top.some("metadata").and_then(|metadata| Members::of(metadata.as_bytes()).ok());
    metadata.and_then(|metadata| metadata.string("key")).or_else(|| top.string("key"))
}

/// Decoder of results, once all of them are received: 20 MB at most if they are in the batch.
struct ResultLines {
    received: u64,
    pieces: RawBytes,
    body: Vec<u8>,
}

impl StreamDecoder for ResultLines {
    fn event(&mut self, name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        self.body.extend_from_slice(&data);
        self.pieces.event(name, Bytes::new(), &mut Vec::new())?;
        if !self.pieces.is_done() {
            return Ok(());
        }
        let body = std::mem::take(&mut self.body);
        let whole = Members::of(&body).ok();
        let inlined = whole.as_ref().and_then(|top| inlined(top));
        match inlined {
            Some(list) => {
                let lines =
                    list.iter().enumerate().map(|(index, line)| line_of(index, line.get().as_bytes(), self.received));
                chunks.extend(lines);
            }
            None if whole.is_some_and(|top| top.some("name").is_some()) => {}
            None => {
                let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
                chunks.extend(lines.enumerate().map(|(index, line)| line_of(index, line, self.received)));
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.pieces.is_done()
    }

    fn is_complete(&self) -> bool {
        self.pieces.is_complete()
    }
}

/// Returns the results that are in a batch.
fn inlined<'a>(top: &Members<'a>) -> Option<Vec<&'a RawValue>> {
    let output = top.some("response").or_else(|| {
        let metadata = Members::of(top.some("metadata")?.as_bytes()).ok()?;
        metadata.some("output")
    })?;
    let list = Members::of(output.as_bytes()).ok()?.some("inlinedResponses")?;
    match list.starts_with('{') {
        true => serde_json::from_str(Members::of(list.as_bytes()).ok()?.some("inlinedResponses")?).ok(),
        false => serde_json::from_str(list).ok(),
    }
}

/// Converts a batch.
///
/// # Errors
/// If the answer is an error, or no batch.
fn batch(response: &HttpResponse, json: &[u8]) -> Result<Batch> {
    let no_batch = || with_details(errors::not_an_answer(GEMINI_ROW.name, response, "something that is no batch"));
    let mut native: Value = serde_json::from_slice(json).map_err(|_| no_batch())?;
    let Some(id) = native["name"].as_str().map(str::to_owned) else {
        return Err(if native["error"].is_object() { GEMINI.decode_error(response) } else { no_batch() });
    };
    // The batch is the operation's metadata, or the whole answer.
    let batch = if native["metadata"].is_object() { native["metadata"].clone() } else { native.clone() };
    let state = batch["state"].as_str().unwrap_or_default();
    let status = match state.rsplit_once("STATE_").map_or(state, |(_, state)| state) {
        "SUCCEEDED" => "completed",
        "FAILED" => "failed",
        "CANCELLED" => "cancelled",
        "EXPIRED" => "expired",
        "RUNNING" => "in_progress",
        _ if native["error"].is_object() => "failed",
        _ if native["done"] == true => "completed",
        _ => "validating",
    };
    let count = |name: &str| match &batch["batchStats"][name] {
        Value::String(count) => count.parse().unwrap_or(0),
        count => count.as_u64().unwrap_or(0),
    };
    let time = |name: &str| seconds(batch[name].as_str());
    let (completed, failed) = (count("successfulRequestCount"), count("failedRequestCount"));
    let request_counts = Counts { total: count("requestCount"), completed, failed };
    let file = ["/response/responsesFile", "/metadata/output/responsesFile", "/output/responsesFile"];
    let file = file.iter().find_map(|path| native.pointer(path)?.as_str()).map(str::to_owned);
    let output_file_id = file.or_else(|| (status == "completed").then(|| id.clone()));
    let errors = native["error"].is_object().then(|| json!({"object": "list", "data": [native["error"].clone()]}));
    // The results are an operation of their own.
    for path in ["/response", "/metadata/output", "/output"] {
        if let Some(Value::Object(output)) = native.pointer_mut(path) {
            output.remove("inlinedResponses");
        }
    }
    let model = batch["model"].as_str().map(|model| model.trim_start_matches("models/").to_owned());
    let batch = Batch::new(id, status, super::DIALECT, native);
    let (created_at, completed_at) = (time("createTime"), time("endTime"));
    Ok(Batch { model, created_at, completed_at, request_counts, output_file_id, errors, ..batch })
}

/// Converts a result into a line of OpenAI's output file. The row's id is in the metadata, or in a file beside them; a
/// row without one has its number.
fn line_of(index: usize, line: &[u8], received: u64) -> Bytes {
    let top = Members::of(line).unwrap_or_default();
    let key = key_of(&top);
    let outcome = match (top.some("response"), top.some("error")) {
        (Some(answer), _) => {
            let body = Bytes::copy_from_slice(answer.as_bytes());
            let answer = HttpResponse { received, status: 200, headers: Default::default(), body };
            GEMINI_CHAT
                .decode(&Request::default(), &answer)
                .map_err(|error| json!({"code": error.code, "message": error.message}))
        }
        (None, Some(error)) => {
            let error: Value = serde_json::from_str(error).unwrap_or_default();
            let code = error["status"].as_str().map_or_else(|| error["code"].clone(), Value::from);
            Err(json!({"code": code, "message": error["message"]}))
        }
        (None, None) => Err(json!({"code": "invalid_result", "message": "neither a response nor an error"})),
    };
    result(&key.unwrap_or_else(|| index.to_string()), outcome)
}
