//! Files and batches of OpenAI, Azure and compatible hosts: resources of an account, not of a model.
//!
//! - Files: <https://platform.openai.com/docs/api-reference/files>
//! - Batches: <https://platform.openai.com/docs/api-reference/batch>
//!
//! Each operation is a row of [`ROUTES`]. Parameters that the path names are put into the path; the others become the query
//! of a GET or DELETE, the members of a JSON body, or the fields of a form.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::bytes_stream::{JsonLines, RawBytes};
use super::http::{ANY, Destination, Host, JSON};
use super::{Deployment, Encoded, Endpoint, Operation, StreamDecoder, errors, refusals};
use crate::error::{Error, Result};
use crate::types::http::{Framing, HttpRequest, HttpResponse};
use crate::types::members::Members;
use crate::types::object::ObjectWriter;
use crate::types::operation::{Output, Streaming};
use crate::types::params::Params;
use crate::types::request::Request;

/// Method, path and payload of one operation.
#[derive(Debug)]
pub(super) struct Route {
    pub operation: Operation,
    pub method: Method,
    /// Path below the base URL; a name in braces stands for the parameter of that name.
    pub path: &'static str,
    pub payload: Payload,
}

/// Encoding of the parameters that the path does not name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// The query.
    Query,
    /// A JSON body.
    Json,
    /// A form, with the file at its end.
    Form,
}

const fn route(operation: Operation, method: Method, path: &'static str, payload: Payload) -> Route {
    Route { operation, method, path, payload }
}

/// Routes of OpenAI's operations.
pub(super) static ROUTES: &[Route] = &[
    route(Operation::FileCreate, Method::POST, "files", Payload::Form),
    route(Operation::FileList, Method::GET, "files", Payload::Query),
    route(Operation::FileRetrieve, Method::GET, "files/{file_id}", Payload::Query),
    route(Operation::FileContent, Method::GET, "files/{file_id}/content", Payload::Query),
    route(Operation::FileDelete, Method::DELETE, "files/{file_id}", Payload::Query),
    route(Operation::BatchCreate, Method::POST, "batches", Payload::Json),
    route(Operation::BatchList, Method::GET, "batches", Payload::Query),
    route(Operation::BatchRetrieve, Method::GET, "batches/{batch_id}", Payload::Query),
    route(Operation::BatchCancel, Method::POST, "batches/{batch_id}/cancel", Payload::Json),
    // `ritellm.batches` takes the file's id from the batch.
    route(Operation::BatchResults, Method::GET, "files/{output_file_id}/content", Payload::Query),
    route(Operation::BatchOutput, Method::GET, "files/{output_file_id}/content", Payload::Query),
];

/// The endpoint of one operation at the host that a row describes.
pub(super) struct Resource {
    pub host: Host,
    pub route: &'static Route,
}

impl Resource {
    fn is_json(&self) -> bool {
        let spec = self.route.operation.spec();
        spec.output != Output::Binary && spec.streaming == Streaming::None
    }
}

impl Endpoint for Resource {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let (path, params) = fill_path(self.route.path, &request.params)?;
        let (uri, headers) = self.host.destination(deployment, &path, if self.is_json() { JSON } else { ANY })?;
        Ok(Encoded {
            request: encode_by_route(self.route, request, &params, (uri, headers))?,
            dropped_params: Vec::new(),
        })
    }

    fn decode(&self, _request: &Request, response: &HttpResponse) -> Result<Bytes> {
        match self.is_json() {
            true => check_json(self.host.row.name, self.route.operation, response),
            false => Ok(response.body.clone()),
        }
    }

    fn framing(&self) -> Framing {
        Framing::Raw
    }

    /// Returns true: a file may be of any type.
    fn streams_json(&self) -> bool {
        true
    }

    fn stream_decoder(&self, _request: &Request, _received: u64) -> Box<dyn StreamDecoder> {
        match self.route.operation {
            Operation::BatchResults => Box::new(JsonLines::new(|line| Ok(Some(Bytes::copy_from_slice(line))))),
            _ => Box::new(RawBytes::default()),
        }
    }
}

/// Encodes a request by a route. `params` are those that are not in the path.
///
/// # Errors
/// `InvalidArgument` for a value that the payload cannot express, and for a form without a file.
pub(super) fn encode_by_route(
    route: &Route,
    request: &Request,
    params: &Params,
    (uri, headers): Destination,
) -> Result<HttpRequest> {
    let mut sent = HttpRequest { method: route.method.clone(), ..HttpRequest::post(uri, headers, Bytes::new()) };
    match route.payload {
        Payload::Query => {
            sent.remove_header(&CONTENT_TYPE);
            sent.uri = with_query(&sent.uri, params)?;
        }
        Payload::Json if params.is_empty() => sent.remove_header(&CONTENT_TYPE),
        Payload::Json => sent.body = object(params),
        Payload::Form => {
            let upload =
                request.upload.as_ref().ok_or_else(|| Error::argument("file is missing: give a path or bytes"))?;
            let (boundary, head, tail) = form(params, "file", &upload.name, &upload.media_type)?;
            let kind = format!("multipart/form-data; boundary={boundary}");
            sent.set_header(CONTENT_TYPE, HeaderValue::try_from(kind).expect("made of letters"));
            sent.body = head;
            sent.file = Some(Box::new((upload.clone(), tail)));
        }
    }
    Ok(sent)
}

/// Encodes parameters as a JSON object.
fn object(params: &Params) -> Bytes {
    let mut body = ObjectWriter::with_capacity(params.len() + 16);
    params.iter().for_each(|(name, value)| body.put_raw(name, value));
    body.finish()
}

/// Characters that are escaped in a path's segment: all but RFC 3986's unreserved ones.
pub(super) const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Returns a path with its parameters filled in, and the remaining parameters.
fn fill_path(path: &str, params: &Params) -> Result<(String, Params)> {
    let mut left = params.clone();
    let mut written = String::with_capacity(path.len() + 32);
    for (index, part) in path.split(['{', '}']).enumerate() {
        if index % 2 == 0 {
            written += part;
            continue;
        }
        let id = required_string(part, params.get(part))?;
        left.remove(part);
        written += &utf8_percent_encode(&id, SEGMENT).to_string();
    }
    Ok((written, left))
}

/// Returns a parameter that is a string, and not blank.
///
/// # Errors
/// `InvalidArgument` that names the parameter.
pub(super) fn required_string(name: &str, value: Option<&[u8]>) -> Result<String> {
    let text: Option<String> = value.and_then(|value| serde_json::from_slice(value).ok());
    text.filter(|text| !text.trim().is_empty())
        .ok_or_else(|| Error::argument(format!("{name} is no str, or an empty one: an id would be right")))
}

/// Appends parameters to an address, as its query.
///
/// # Errors
/// `InvalidArgument` for a list or dict.
pub(super) fn with_query(uri: &Uri, params: &Params) -> Result<Uri> {
    let mut text = uri.to_string();
    for (name, value) in params.iter().filter(|(_, value)| *value != b"null") {
        let separator = if text.contains('?') { '&' } else { '?' };
        let value = plain(name, value)?;
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        write!(text, "{separator}{}={}", encode(name), encode(&value)).expect("to a String");
    }
    text.parse().map_err(|error| Error::argument(format!("the parameters make no address: {error}")))
}

/// Returns a value as text for the query or a form.
fn plain(name: &str, value: &[u8]) -> Result<String> {
    match value.first() {
        Some(b'"') => serde_json::from_slice(value).map_err(|_| Error::argument(format!("{name} is no text"))),
        Some(b'{' | b'[') => {
            Err(Error::argument(format!("{name} is a list or dict: a str or a number would be right")))
        }
        _ => Ok(String::from_utf8_lossy(value).into_owned()),
    }
}

/// Returns the boundary of a form (RFC 7578), its bytes before the file and those after the file. Each member of an object is
/// a field of its own.
fn form(params: &Params, file: &str, name: &str, media_type: &str) -> Result<(String, Bytes, Bytes)> {
    let boundary = format!("ritellm-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let mut head = String::new();
    let mut field = |name: &str, value: &str| {
        let name = escaped(name);
        write!(head, "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            .expect("to a String");
    };
    for (name, value) in params.iter().filter(|(_, value)| *value != b"null") {
        match Members::of(value) {
            Ok(members) => {
                for (member, value) in &members.0 {
                    let name = format!("{name}[{member}]");
                    field(&name, &plain(&name, value.get().as_bytes())?);
                }
            }
            Err(_) => field(name, &plain(name, value)?),
        }
    }
    let name = escaped(name);
    write!(
        head,
        "--{boundary}\r\nContent-Disposition: form-data; name=\"{file}\"; filename=\"{name}\"\r\nContent-Type: \
         {media_type}\r\n\r\n"
    )
    .expect("to a String");
    let tail = format!("\r\n--{boundary}--\r\n");
    Ok((boundary, head.into(), tail.into()))
}

/// Escapes a field's name as browsers do: <https://html.spec.whatwg.org/#multipart-form-data>.
fn escaped(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// Returns an answer's body, if it is the JSON of the operation.
fn check_json(provider: &str, operation: Operation, response: &HttpResponse) -> Result<Bytes> {
    let Ok(top) = Members::of(&response.body) else {
        return Err(errors::not_an_answer(provider, response, "something that is no JSON object"));
    };
    let is_page = matches!(operation.spec().output, Output::FilePage | Output::BatchPage);
    let required_key = if is_page { "data" } else { "id" };
    // A batch that failed has `errors`, and a file its `status_details`.
    if top.some(required_key).is_none() {
        return Err(match refusals::error_in(&top).is_some() || refusals::has_failed(&top) {
            true => errors::from_response(provider, response),
            false => errors::not_an_answer(provider, response, &format!("something that has no {required_key:?}")),
        });
    }
    Ok(response.body.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(json: &str) -> Params {
        Params::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_path_takes_its_parameters_and_the_query_the_others() {
        let (path, left) = fill_path("files/{file_id}/content", &params(r#"{"file_id":"a/../b?","x":1}"#)).unwrap();
        assert_eq!(path, "files/a%2F..%2Fb%3F/content");
        assert_eq!(left.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["x"]);
        for refused in ["{}", r#"{"file_id":""}"#, r#"{"file_id":7}"#] {
            let error = fill_path("files/{file_id}", &params(refused)).unwrap_err();
            assert!(error.message.contains("file_id"), "{error}");
        }
        let uri = Uri::from_static("http://h/v1/files?api-version=1");
        let query = params(r#"{"limit":2,"after":"a b&c","order":null}"#);
        assert_eq!(with_query(&uri, &query).unwrap(), "http://h/v1/files?api-version=1&limit=2&after=a%20b%26c");
        assert!(with_query(&uri, &params(r#"{"limit":[2]}"#)).is_err());
    }

    #[test]
    fn a_form_is_as_browsers_write_it() {
        let fields = params(r#"{"purpose":"batch","expires_after":{"anchor":"created_at","seconds":3600}}"#);
        let (boundary, head, tail) = form(&fields, "file", "a\"b\r\nc.jsonl", "application/jsonl").unwrap();
        let expected = [
            "--B\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n",
            "--B\r\nContent-Disposition: form-data; name=\"expires_after[anchor]\"\r\n\r\ncreated_at\r\n",
            "--B\r\nContent-Disposition: form-data; name=\"expires_after[seconds]\"\r\n\r\n3600\r\n",
            "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a%22b%0D%0Ac.jsonl\"\r\n",
            "Content-Type: application/jsonl\r\n\r\n",
        ];
        assert_eq!(head, expected.concat().replace("--B", &format!("--{boundary}")));
        assert_eq!(tail, format!("\r\n--{boundary}--\r\n"));
    }
}
