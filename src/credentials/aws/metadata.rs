//! Keys from the environment that a program runs in: a container's agent or an instance's metadata service.
//!
//! Containers (ECS, EKS Pod Identity): <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>.
//! Instances, version 2 only: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;

use super::{Issued, keys};
use crate::credentials::cache::Validity;
use crate::credentials::context::{Context, LOCAL_TIMEOUT, get, rejected, secret_header, time, unauthenticated, uri};
use crate::error::{ErrorKind, Result};
use crate::types::http::{HttpRequest, HttpResponse};

/// Address of ECS's agent.
const CONTAINER_AGENT: &str = "http://169.254.170.2";
/// Agents, apart from those on this machine, that may be used without encryption: ECS's and EKS's.
const AGENTS: &[&str] = &["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
/// Deadline for a request to an agent, which is known to exist and may itself have to contact other servers.
const AGENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Address of the metadata service of an instance.
const INSTANCE: &str = "http://169.254.169.254";
const INSTANCE_IPV6: &str = "http://[fd00:ec2::254]";
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TOKEN_SECONDS: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds"), HeaderValue::from_static("21600"));

/// Response with keys, in the format of both services.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

/// Requests a container's keys; `None` if the environment names no agent.
///
/// # Errors
///
/// Returns an error if a variable is invalid, or the agent cannot be reached or issues no keys.
pub(super) async fn container(context: &Context<'_>) -> Result<Option<Issued>> {
    let address = match (
        context.input("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        context.input("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    ) {
        // The value must be a path, since anything else could extend the host name.
        (Some(path), _) if path.starts_with('/') => format!("{CONTAINER_AGENT}{path}"),
        (Some(path), _) => {
            return Err(unauthenticated(format!(
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is {path:?}, and should begin with a slash"
            )));
        }
        (None, Some(address)) => checked_agent_url(address)?,
        (None, None) => return Ok(None),
    };
    let token = match context.input("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        // Read for each lookup: the platform writes a new token every few hours.
        Some(path) => Some(context.required_file(path, "the container's authorization token").await?),
        None => context.input("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(str::to_owned),
    };
    let token = token.as_deref().map(str::trim);
    let headers = token.map(|token| secret_header(AUTHORIZATION, token)).transpose()?;
    let answer = context.server(get(&address, headers.into_iter().collect())?, AGENT_TIMEOUT).await?;
    issued("the container's credentials agent", &answer, token).map(Some)
}

/// Checks that an agent's URL uses TLS or is local, so that nobody else can read the token or supply the keys.
fn checked_agent_url(address: &str) -> Result<String> {
    let parsed = uri(address)?;
    let host = parsed.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_near =
        host == "localhost" || AGENTS.contains(&host) || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if parsed.scheme_str() == Some("https") || is_near {
        return Ok(address.to_owned());
    }
    Err(unauthenticated(format!(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI leads to {host} without encryption: it has to be https, or on this machine"
    )))
}

/// Requests the keys of an instance's role; `None` if this is not an instance, or it has no role.
///
/// # Errors
///
/// Returns an error if the service fails or issues no keys for the role. An unreachable service is not an error.
pub(super) async fn instance(context: &Context<'_>) -> Result<Option<Issued>> {
    if context.is_enabled("AWS_EC2_METADATA_DISABLED") {
        return Ok(None);
    }
    let is_ipv6 =
        context.input("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
    let base = match context.input("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
        Some(endpoint) => endpoint.trim().trim_end_matches('/'),
        None if is_ipv6 => INSTANCE_IPV6,
        None => INSTANCE,
    };
    let token_request = HttpRequest {
        method: Method::PUT,
        uri: uri(&format!("{base}/latest/api/token"))?,
        headers: vec![TOKEN_SECONDS].into(),
        body: Bytes::new(),
        file: None,
    };
    let token = match context.server(token_request, LOCAL_TIMEOUT).await {
        Ok(answer) if answer.status == 200 => String::from_utf8_lossy(&answer.body).trim().to_owned(),
        Ok(answer) if answer.status >= 500 => {
            return Err(rejected("the instance's metadata service", answer.status, "", &[]));
        }
        // Another service uses the address, or this one issues no tokens.
        Ok(_) => return Ok(None),
        Err(error) if matches!(error.kind, ErrorKind::ApiConnection | ErrorKind::Timeout) => return Ok(None),
        Err(error) => return Err(error),
    };
    let fetch = async |path: &str| {
        let headers = vec![secret_header(TOKEN, &token)?];
        context
            .server(get(&format!("{base}/latest/meta-data/iam/security-credentials/{path}"), headers)?, LOCAL_TIMEOUT)
            .await
    };
    let roles = fetch("").await?;
    let role = String::from_utf8_lossy(&roles.body).lines().next().unwrap_or_default().trim().to_owned();
    match roles.status {
        404 => return Ok(None),
        200 if role.is_empty() => return Ok(None),
        200 => {}
        status => return Err(rejected("the instance's metadata service", status, &role, &[&token])),
    }
    issued("the instance's metadata service", &fetch(&role).await?, Some(&token)).map(Some)
}

fn issued(server: &str, answer: &HttpResponse, token: Option<&str>) -> Result<Issued> {
    let secrets: Vec<&str> = token.into_iter().collect();
    if answer.status != 200 {
        return Err(rejected(server, answer.status, &String::from_utf8_lossy(&answer.body), &secrets));
    }
    let Ok(keys_answer) = serde_json::from_slice::<Answer>(&answer.body) else {
        // The metadata service reports failures with the status 200.
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "PascalCase", default)]
        struct Failure {
            code: String,
            message: String,
        }
        let failure: Failure = serde_json::from_slice(&answer.body).unwrap_or_default();
        return Err(rejected(
            server,
            answer.status,
            &format!("no keys. {} {}", failure.code, failure.message),
            &secrets,
        ));
    };
    let end = keys_answer.expiration.as_deref().and_then(time);
    // These keys always expire; if the response has no time, they are looked up again soon.
    let end = end.unwrap_or_else(|| SystemTime::now() + Duration::from_secs(900));
    Ok(Issued {
        keys: keys(&keys_answer.access_key_id, &keys_answer.secret_access_key, keys_answer.token.as_deref()),
        validity: Validity::Until(end),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_near_or_encrypted() {
        for good in [
            "https://anywhere.example/x",
            "http://127.0.0.1:80/v1/credentials",
            "http://localhost/x",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1",
            "http://[::1]:9/x",
        ] {
            assert!(checked_agent_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://anywhere.example/x",
            "http://169.254.170.2.example/x",
            "http://10.0.0.1/x",
            "ftp://localhost/x",
            "x",
        ] {
            assert!(checked_agent_url(bad).is_err(), "{bad}");
        }
    }
}
