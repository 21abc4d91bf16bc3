//! Addresses and credentials, the main difference between the Gemini API and Vertex AI.
//!
//! Gemini API: <https://ai.google.dev/gemini-api/docs/api-key>; Vertex AI's hosts and paths:
//! <https://cloud.google.com/vertex-ai/docs/reference/rest>, <https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations>;
//! express mode: <https://cloud.google.com/vertex-ai/generative-ai/docs/start/express-mode/overview>.

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::VERTEX_ROW;
use crate::error::{Error, ErrorKind, Result};
use crate::providers::Deployment;
use crate::providers::http::bearer;
use crate::types::credentials::Credentials;
use crate::types::request::Request;

type Header = (HeaderName, HeaderValue);

const API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
/// Header field with the project to bill, where the credentials name another one than that of the call.
const QUOTA_PROJECT: HeaderName = HeaderName::from_static("x-goog-user-project");

/// Characters to escape in a path.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b'@').remove(b':');

/// Returns the address and credentials of a model's method in the Gemini API.
///
/// # Errors
/// `InvalidArgument` for a base URL or a key that cannot be sent.
pub(super) fn gemini(deployment: &Deployment, method: &str) -> Result<(Uri, Vec<Header>)> {
    let version = deployment.api_version.as_deref().unwrap_or("v1beta");
    let model = gemini_model(&deployment.model);
    let credentials = deployment.api_key.iter().map(|key| api_key(key.expose())).collect::<Result<_>>()?;
    Ok((uri(&deployment.base_url, version, &model, &format!(":{method}"))?, credentials))
}

/// Returns the address and credentials of a resource of the Gemini API other than a model; `before` precedes the version
/// in the path.
///
/// # Errors
/// `InvalidArgument` for a base URL or a key that cannot be sent.
pub(super) fn gemini_resource(deployment: &Deployment, before: &str, path: &str) -> Result<(Uri, Vec<Header>)> {
    let version = deployment.api_version.as_deref().unwrap_or("v1beta");
    let credentials = deployment.api_key.iter().map(|key| api_key(key.expose())).collect::<Result<_>>()?;
    let (root, version) = match deployment.base_url.rsplit_once('/') {
        Some((root, last)) if is_version(last) => (root, last),
        _ => (&*deployment.base_url, version),
    };
    let address = format!("{root}/{before}{version}/{}", utf8_percent_encode(path, PATH));
    let uri = Uri::try_from(address).map_err(|error| Error::argument(format!("base_url cannot be used: {error}")))?;
    Ok((uri, credentials))
}

/// Returns true for a version such as `v1beta`.
fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()))
}

/// Returns a model's name in the Gemini API's format.
pub(super) fn gemini_model(model: &str) -> String {
    match model.split_once('/') {
        Some(("models" | "tunedModels", _)) => model.to_owned(),
        _ => format!("models/{model}"),
    }
}

/// Returns the address and credentials of a model's method in Vertex AI: a project, a location and an access token, or in
/// express mode only a key.
///
/// # Errors
/// `Authentication` without credentials; `InvalidArgument` without a project, and for values that cannot be sent.
pub(in crate::providers) fn vertex(
    deployment: &Deployment,
    request: &Request,
    method: &str,
) -> Result<(Uri, Vec<Header>)> {
    vertex_resource(deployment, request, publisher_model(&deployment.model), &format!(":{method}"))
}

/// Returns the address and credentials of chat completions in OpenAI's format in Vertex AI.
///
/// # Errors
/// Those of [`vertex`].
pub(super) fn vertex_chat_completions(deployment: &Deployment, request: &Request) -> Result<(Uri, Vec<Header>)> {
    vertex_resource(deployment, request, "endpoints/openapi".to_owned(), "/chat/completions")
}

/// Returns the address and credentials of a resource below a project; `suffix` follows its path.
fn vertex_resource(
    deployment: &Deployment,
    request: &Request,
    resource: String,
    suffix: &str,
) -> Result<(Uri, Vec<Header>)> {
    let version = deployment.api_version.as_deref().unwrap_or("v1");
    let found = match &deployment.credentials {
        Credentials::Google(found) => Some(&**found),
        _ => None,
    };
    let configured = deployment.api_key.as_ref().map(|key| key.expose()).or(deployment.setting("vertex_access_token"));
    let token = configured.or(found.map(|found| found.token.expose()));
    let is_key = token.is_some_and(|token| token.starts_with("AIza") || token.starts_with("AQ."));
    let mut credentials = match token {
        Some(key) if is_key => vec![api_key(key)?],
        Some(token) => vec![(AUTHORIZATION, bearer(token)?)],
        // The caller passes a header field with credentials.
        None if request.extra_headers.iter().any(|(name, _)| *name == AUTHORIZATION || *name == API_KEY) => Vec::new(),
        None => return Err(no_credentials()),
    };
    if let Some(project) = found.and_then(|found| found.quota_project.as_deref()) {
        let value = HeaderValue::try_from(project);
        credentials
            .push((QUOTA_PROJECT, value.map_err(|_| Error::argument("the quota project is no project's name"))?));
    }

    let project = deployment.setting("vertex_project").or(found.and_then(|found| found.project.as_deref()));
    let location = deployment.setting("vertex_location").unwrap_or("global");
    // The location becomes a part of the host name.
    if !location.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        let message =
            format!("vertex_location is {location:?}, which is no location: write one such as \"us-central1\"");
        return Err(Error::argument(message));
    }
    let resource = match project {
        _ if resource.starts_with("projects/") => resource,
        Some(project) => format!("projects/{project}/locations/{location}/{resource}"),
        None if is_key => resource,
        None => {
            let message = format!(
                "vertex needs a project: pass vertex_project=, or set {}",
                VERTEX_ROW.settings[0].variables.join(" or ")
            );
            return Err(Error::argument(message));
        }
    };
    let base_url = match location {
        _ if *deployment.base_url != *VERTEX_ROW.base_url => deployment.base_url.to_string(),
        "global" => VERTEX_ROW.base_url.to_owned(),
        "us" | "eu" => format!("https://aiplatform.{location}.rep.googleapis.com"),
        _ => format!("https://{location}-aiplatform.googleapis.com"),
    };
    Ok((uri(&base_url, version, &resource, suffix)?, credentials))
}

/// Returns the publisher of a model in Vertex AI: it is in the name, unless the name is that of a family.
pub(super) fn publisher(model: &str) -> &str {
    let path = model.split_once("publishers/").map_or(model, |(_, path)| path);
    match path.split_once('/') {
        Some(("projects" | "endpoints" | "models", _)) => "google",
        Some((publisher, _)) => publisher,
        None if model.starts_with("claude") => "anthropic",
        None if ["mistral", "codestral", "ministral"].iter().any(|name| model.starts_with(name)) => "mistralai",
        None => "google",
    }
}

/// Returns a model's path below its project: a publisher's model, or an endpoint that a model is deployed to.
fn publisher_model(model: &str) -> String {
    match model.split_once('/') {
        Some(("projects" | "publishers" | "endpoints" | "models", _)) => model.to_owned(),
        Some((publisher, model)) => format!("publishers/{publisher}/models/{model}"),
        None if model.bytes().all(|digit| digit.is_ascii_digit()) => format!("endpoints/{model}"),
        None => format!("publishers/{}/models/{model}", publisher(model)),
    }
}

/// Builds the address of a resource, which `suffix` follows; a version at the end of the base URL wins.
fn uri(base_url: &str, version: &str, resource: &str, suffix: &str) -> Result<Uri> {
    let has_version = is_version(base_url.rsplit('/').next().unwrap_or_default());
    let resource = utf8_percent_encode(resource, PATH);
    let address = match has_version {
        true => format!("{base_url}/{resource}{suffix}"),
        false => format!("{base_url}/{version}/{resource}{suffix}"),
    };
    Uri::try_from(address).map_err(|error| Error::argument(format!("base_url cannot be used: {error}")))
}

/// Returns the header field with a key.
fn api_key(key: &str) -> Result<Header> {
    let mut value = HeaderValue::try_from(key).map_err(|_| {
        Error::argument("api_key holds characters that no HTTP header may hold (a line break?): pass the key alone")
    })?;
    value.set_sensitive(true);
    Ok((API_KEY, value))
}

fn no_credentials() -> Box<Error> {
    let message = "no credentials for vertex: pass vertex_credentials= (a service account's file), an access token as \
                   vertex_access_token= or api_key= (`gcloud auth print-access-token` shows one), or an express mode key as api_key=";
    let mut error = Error::new(ErrorKind::Authentication, message);
    error.provider = Some(VERTEX_ROW.name.to_owned());
    error
}
