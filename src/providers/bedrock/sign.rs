//! Authentication of requests: a bearer key, or AWS's Signature Version 4 over the request and the time.
//!
//! Bearer keys: <https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys-use.html>. Signatures:
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};

use super::{NAME, endpoint_address};
use crate::error::{Error, ErrorKind, Result};
use crate::providers::Deployment;
use crate::types::credentials;
use crate::types::http::HttpRequest;

/// Name of the service in a signature, which is not `bedrock-runtime`.
const SERVICE: &str = "bedrock";

/// Prefix of the `authorization` field of a signed request.
const ALGORITHM: &[u8] = b"AWS4-HMAC-SHA256 ";

/// Signs a request anew, unless its `authorization` is of another kind: a key, or the caller's own.
///
/// # Errors
/// `Authentication` without credentials, `InvalidArgument` without a region, `Internal` if signing fails.
pub(super) fn authorize(deployment: &Deployment, request: &mut HttpRequest, now: SystemTime) -> Result<()> {
    let authorization = request.headers.iter().find(|(name, _)| *name == AUTHORIZATION);
    if authorization.is_some_and(|(_, value)| !value.as_bytes().starts_with(ALGORITHM)) {
        return Ok(());
    }
    let credentials = credentials(deployment)?;
    let region = endpoint_address::region(deployment)?;
    let identity = credentials.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(unsigned)?
        .into();
    let uri = request.uri.to_string();
    // Fields that a proxy may rewrite are left out of the signature: a signed field may not change.
    let signed =
        |name: &HeaderName| *name == CONTENT_TYPE || name.as_str().starts_with("x-amz-") && !is_of_signature(name);
    let headers = request.headers.iter().filter(|(name, _)| signed(name));
    let headers = headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let body = SignableBody::Bytes(&request.body);
    let signable = SignableRequest::new(request.method.as_str(), uri.as_str(), headers, body).map_err(unsigned)?;
    let (instructions, _) = sign(signable, &parameters).map_err(unsigned)?.into_parts();
    let (headers, _) = instructions.into_parts();
    for header in headers {
        let mut value = HeaderValue::try_from(header.value()).map_err(unsigned)?;
        value.set_sensitive(header.sensitive() || header.name() == "authorization");
        request.set_header(HeaderName::from_static(header.name()), value);
    }
    Ok(())
}

/// Returns true for the header fields that an earlier attempt's signature added.
fn is_of_signature(name: &HeaderName) -> bool {
    matches!(name.as_str(), "x-amz-date" | "x-amz-security-token")
}

/// Returns the keys that were found for the call, or those among the settings.
fn credentials(deployment: &Deployment) -> Result<Credentials> {
    if let credentials::Credentials::Aws(found) = &deployment.credentials
        && let Some(keys) = &found.keys
    {
        let token = keys.session_token.as_ref().map(|token| token.expose().to_owned());
        return Ok(Credentials::new(&keys.access_key_id, keys.secret_access_key.expose(), token, None, NAME));
    }
    let setting = |name: &str| deployment.setting(name);
    let missing = match (setting("aws_access_key_id"), setting("aws_secret_access_key")) {
        (Some(id), Some(secret)) => {
            let token = setting("aws_session_token").map(str::to_owned);
            return Ok(Credentials::new(id, secret, token, None, NAME));
        }
        (Some(_), None) => "aws_access_key_id came without its aws_secret_access_key",
        (None, Some(_)) => "aws_secret_access_key came without its aws_access_key_id",
        (None, None) => "no credentials for bedrock",
    };
    Err(refused(format!(
        "{missing}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, where there is one) or \
         AWS_BEARER_TOKEN_BEDROCK, or pass aws_access_key_id= and aws_secret_access_key=, or api_key= (keys that are \
         arguments are not completed from the environment)"
    )))
}

fn refused(message: String) -> Box<Error> {
    let mut error = Error::new(ErrorKind::Authentication, message);
    error.provider = Some(NAME.to_owned());
    error
}

fn unsigned(error: impl std::fmt::Display) -> Box<Error> {
    Error::new(ErrorKind::Internal, format!("the request to bedrock could not be signed: {error}"))
}
