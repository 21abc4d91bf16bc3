//! The Gemini API's files, as OpenAI's: what the rows of batches are uploaded to. Google keeps them for 48 hours.
//!
//! Wire format: <https://ai.google.dev/api/files>. An upload is one request in the form that Google's own client for JavaScript
//! sends: `file-manager.ts` in <https://github.com/google-gemini/deprecated-generative-ai-js>.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use super::batches::destination;
use super::{DIALECT, GEMINI_ROW, with_details};
use crate::error::{Error, Result};
use crate::providers::batches::seconds;
use crate::providers::http::JSON;
use crate::providers::resources::{Payload, Route, encode_by_route, required_string};
use crate::providers::{Deployment, Encoded, Endpoint, Operation, errors};
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::params::Params;
use crate::types::request::Request;

/// Uploads a file.
pub(super) struct Create;

/// Lists, retrieves or deletes files.
pub(super) struct Manage(Route);

pub(super) static FILE_LIST: Manage = manage(Operation::FileList, Method::GET);
pub(super) static FILE_RETRIEVE: Manage = manage(Operation::FileRetrieve, Method::GET);
pub(super) static FILE_DELETE: Manage = manage(Operation::FileDelete, Method::DELETE);

const fn manage(operation: Operation, method: Method) -> Manage {
    Manage(Route { operation, method, path: "", payload: Payload::Query })
}

/// Returns a file's name in paths.
fn name_of(request: &Request) -> Result<String> {
    let id = required_string("file_id", request.params.get("file_id"))?;
    Ok(if id.contains('/') { id } else { format!("files/{id}") })
}

impl Endpoint for Create {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        const PROTOCOL: HeaderName = HeaderName::from_static("x-goog-upload-protocol");
        let upload = request.upload.clone().ok_or_else(|| Error::argument("file is missing: give a path or bytes"))?;
        let (uri, headers) = destination(deployment, "upload/", "files", JSON)?;
        let boundary = format!("ritellm-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let about = json!({"file": {"displayName": upload.name}});
        let head = format!(
            "--{boundary}\r\nContent-Type: application/json; charset=utf-8\r\n\r\n{about}\r\n--{boundary}\r\nContent-Type: \
             {}\r\n\r\n",
            upload.media_type
        );
        let tail = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        let mut sent = HttpRequest { file: Some(Box::new((upload, tail))), ..HttpRequest::post(uri, headers, head) };
        let kind = format!("multipart/related; boundary={boundary}");
        sent.set_header(CONTENT_TYPE, HeaderValue::try_from(kind).expect("made of letters"));
        sent.set_header(PROTOCOL, HeaderValue::from_static("multipart"));
        Ok(Encoded { request: sent, dropped_params: Vec::new() })
    }

    fn decode(&self, _request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let native: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        Ok(file(response, &native["file"])?.to_string().into())
    }
}

impl Endpoint for Manage {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let mut params = Params::default();
        let path = match self.0.operation {
            Operation::FileList => {
                for (name, native) in [("limit", "pageSize"), ("after", "pageToken")] {
                    request.params.get(name).into_iter().for_each(|value| params.set(native, value));
                }
                "files".to_owned()
            }
            _ => name_of(request)?,
        };
        let destination = destination(deployment, "", &path, JSON)?;
        Ok(Encoded { request: encode_by_route(&self.0, request, &params, destination)?, dropped_params: Vec::new() })
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let native: Value = serde_json::from_slice(&response.body).map_err(|_| no_file(response))?;
        let found = match self.0.operation {
            Operation::FileDelete => json!({"id": name_of(request)?, "object": "file", "deleted": true}),
            Operation::FileList => {
                let files = native["files"].as_array().map(Vec::as_slice).unwrap_or_default();
                let data = files.iter().map(|one| file(response, one)).collect::<Result<Vec<_>>>()?;
                // The cursor of the next page is this token rather than the last file's name.
                let next = native["nextPageToken"].as_str().filter(|token| !token.is_empty());
                json!({"object": "list", "data": data, "has_more": next.is_some(), "last_id": next})
            }
            _ => file(response, &native)?,
        };
        Ok(found.to_string().into())
    }
}

fn no_file(response: &HttpResponse) -> Box<Error> {
    with_details(errors::not_an_answer(GEMINI_ROW.name, response, "something that is no file"))
}

/// Converts a file.
///
/// # Errors
/// If it is none.
fn file(response: &HttpResponse, native: &Value) -> Result<Value> {
    let id = native["name"].as_str().ok_or_else(|| no_file(response))?;
    let status = match native["state"].as_str() {
        Some("FAILED") => "error",
        Some("PROCESSING") => "pending",
        _ => "processed",
    };
    let bytes = native["sizeBytes"].as_str().and_then(|size| size.parse::<u64>().ok());
    Ok(json!({
        "id": id,
        "object": "file",
        "bytes": bytes.or(native["sizeBytes"].as_u64()),
        "created_at": seconds(native["createTime"].as_str()),
        "expires_at": seconds(native["expirationTime"].as_str()),
        "filename": native["displayName"],
        // Here they have none: a request says what a file is for.
        "purpose": null,
        "status": status,
        "provider_specific_fields": { DIALECT: native },
    }))
}
