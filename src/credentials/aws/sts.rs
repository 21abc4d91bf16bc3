//! Temporary keys of a role, from AWS's Security Token Service.
//!
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>,
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};

use super::{Issued, keys};
use crate::credentials::cache::Validity;
use crate::credentials::context::{Context, REMOTE_TIMEOUT, form, rejected, time, unauthenticated, uri};
use crate::error::{Error, ErrorKind, Result};
use crate::types::credentials::AwsKeys;
use crate::types::http::HttpRequest;

const VERSION: &str = "2011-06-15";

/// A role to assume.
#[derive(Debug, Clone, Default)]
pub(super) struct Role<'a> {
    pub arn: &'a str,
    pub session_name: Option<&'a str>,
    pub external_id: Option<&'a str>,
    pub duration_seconds: Option<&'a str>,
}

impl Role<'_> {
    /// Returns the name of the session in AWS's logs.
    fn session_name(&self) -> String {
        let unnamed = || {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            format!("ritellm-{}", since.as_secs())
        };
        self.session_name.map_or_else(unnamed, str::to_owned)
    }
}

/// Requests keys of a role for the owner of the keys `caller`.
///
/// # Errors
///
/// Returns an error if STS cannot be reached or refuses, or the request cannot be signed.
pub(super) async fn assume_role(
    context: &Context<'_>,
    region: Option<&str>,
    role: &Role<'_>,
    caller: &AwsKeys,
) -> Result<Issued> {
    let session_name = role.session_name();
    let mut fields =
        vec![("Action", "AssumeRole"), ("Version", VERSION), ("RoleArn", role.arn), ("RoleSessionName", &session_name)];
    fields.extend(role.external_id.map(|id| ("ExternalId", id)));
    fields.extend(role.duration_seconds.map(|seconds| ("DurationSeconds", seconds)));
    let mut request = request(context, region, &fields)?;
    signed(&mut request, region, caller)?;
    let mut secrets = vec![caller.secret_access_key.expose()];
    secrets.extend(caller.session_token.as_ref().map(|token| token.expose()));
    send(context, request, role.arn, &secrets).await
}

/// Requests keys of a role for the owner of another identity provider's token.
///
/// # Errors
///
/// Returns an error if STS cannot be reached or refuses.
pub(super) async fn assume_role_with_web_identity(
    context: &Context<'_>,
    region: Option<&str>,
    role: &Role<'_>,
    token: &str,
) -> Result<Issued> {
    let session_name = role.session_name();
    let token = token.trim();
    let mut fields = vec![
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", VERSION),
        ("RoleArn", role.arn),
        ("RoleSessionName", &session_name),
        ("WebIdentityToken", token),
    ];
    fields.extend(role.duration_seconds.map(|seconds| ("DurationSeconds", seconds)));
    send(context, request(context, region, &fields)?, role.arn, &[token]).await
}

fn request(context: &Context<'_>, region: Option<&str>, fields: &[(&str, &str)]) -> Result<HttpRequest> {
    let endpoint = ["aws_sts_endpoint", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]
        .into_iter()
        .find_map(|name| context.input(name));
    let address = match (endpoint, region) {
        (Some(endpoint), _) => endpoint.trim().trim_end_matches('/').to_owned(),
        // The region becomes a part of the host name.
        (None, Some(region)) if !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
            return Err(Error::argument(format!("{region:?} is no AWS region: write one such as \"us-east-1\"")));
        }
        (None, Some(region)) if region.starts_with("cn-") => format!("https://sts.{region}.amazonaws.com.cn"),
        (None, Some(region)) => format!("https://sts.{region}.amazonaws.com"),
        (None, None) => "https://sts.amazonaws.com".to_owned(),
    };
    let headers = vec![
        (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8")),
        (ACCEPT, HeaderValue::from_static("text/xml")),
    ];
    Ok(HttpRequest::post(uri(&format!("{address}/"))?, headers, form(fields)))
}

fn signed(request: &mut HttpRequest, region: Option<&str>, keys: &AwsKeys) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Internal, format!("the request to STS could not be signed: {error}"))
    };
    let token = keys.session_token.as_ref().map(|token| token.expose().to_owned());
    let identity =
        Credentials::new(&keys.access_key_id, keys.secret_access_key.expose(), token, None, "ritellm").into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region.unwrap_or("us-east-1"))
        .name("sts")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| failed(&error))?
        .into();
    let address = request.uri.to_string();
    let headers = request.headers.iter().filter(|(name, _)| *name == CONTENT_TYPE);
    let headers = headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signable = SignableRequest::new("POST", address.as_str(), headers, SignableBody::Bytes(&request.body));
    let signable = signable.map_err(|error| failed(&error))?;
    let (instructions, _) = sign(signable, &parameters).map_err(|error| failed(&error))?.into_parts();
    for header in instructions.into_parts().0 {
        let mut value = HeaderValue::try_from(header.value()).map_err(|error| failed(&error))?;
        value.set_sensitive(true);
        request.set_header(HeaderName::from_static(header.name()), value);
    }
    Ok(())
}

async fn send(context: &Context<'_>, request: HttpRequest, role: &str, secrets: &[&str]) -> Result<Issued> {
    let answer = context.server(request, REMOTE_TIMEOUT).await?;
    let text = String::from_utf8_lossy(&answer.body);
    if answer.status != 200 {
        let code = element(&text, "Code");
        let message =
            format!("{} {}", code.as_deref().unwrap_or_default(), element(&text, "Message").unwrap_or_default());
        let mut error = rejected(&format!("AWS STS, asked for the role {role},"), answer.status, &message, secrets);
        match code.as_deref() {
            Some("Throttling" | "ThrottlingException" | "RequestLimitExceeded") => error.kind = ErrorKind::RateLimit,
            Some("IDPCommunicationError") => error.should_retry = Some(true),
            _ => {}
        }
        error.code = code;
        return Err(error);
    }
    let (id, secret) = (element(&text, "AccessKeyId"), element(&text, "SecretAccessKey"));
    let (Some(id), Some(secret)) = (id, secret) else {
        return Err(unauthenticated(format!("AWS STS answered without keys for the role {role}")));
    };
    let end = element(&text, "Expiration").and_then(|text| time(&text));
    // Keys of STS always expire; if the response has no time, the shortest possible lifetime is assumed.
    let end = end.unwrap_or_else(|| SystemTime::now() + std::time::Duration::from_secs(900));
    Ok(Issued { keys: keys(&id, &secret, element(&text, "SessionToken").as_deref()), validity: Validity::Until(end) })
}

/// Returns the text of the first XML element of this name. Responses of STS are small and flat, so no XML parser is
/// needed.
fn element(xml: &str, name: &str) -> Option<String> {
    let start = xml.find(&format!("<{name}>"))? + name.len() + 2;
    let length = xml[start..].find(&format!("</{name}>"))?;
    let text = xml[start..start + length].trim();
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#13;", ""),
        ("&#10;", " "),
        ("&amp;", "&"),
    ];
    Some(entities.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found() {
        let xml = "<AssumeRoleResponse xmlns=\"x\"><AssumeRoleResult><Credentials><AccessKeyId>ASIA1</AccessKeyId>\
                   <SessionToken>\n a&amp;lt;b== </SessionToken></Credentials></AssumeRoleResult></AssumeRoleResponse>";
        assert_eq!(element(xml, "AccessKeyId").as_deref(), Some("ASIA1"));
        assert_eq!(element(xml, "SessionToken").as_deref(), Some("a&lt;b=="));
        assert_eq!(element(xml, "Expiration"), None);
        assert_eq!(element("<Code>x", "Code"), None);
    }
}
