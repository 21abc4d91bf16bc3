//! Keys that the place hands out where a program runs: a container's agent, or an instance's metadata.
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
use crate::credentials::ask::{Ask, NEARBY, get, refused, said_no, secret_header, time, uri};
use crate::credentials::cache::Lasting;
use crate::error::{ErrorKind, Result};
use crate::types::http::{HttpRequest, HttpResponse};

/// Where ECS's agent is.
const CONTAINER_AGENT: &str = "http://169.254.170.2";
/// The agents that may be asked without encryption, beside those on this machine: ECS's and EKS's.
const AGENTS: &[&str] = &["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
/// An agent is known to be there, and may have to ask others.
const AGENT_PATIENCE: Duration = Duration::from_secs(5);

const INSTANCE: &str = "http://169.254.169.254";
const INSTANCE_IPV6: &str = "http://[fd00:ec2::254]";
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TOKEN_SECONDS: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds"), HeaderValue::from_static("21600"));

/// Keys as both of them write them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

/// A container's keys; `None`: the environment names no agent.
pub(super) async fn container(ask: &Ask<'_>) -> Result<Option<Issued>> {
    let address =
        match (ask.told("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), ask.told("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
            // A path: otherwise it could go on with the host's name.
            (Some(path), _) if path.starts_with('/') => format!("{CONTAINER_AGENT}{path}"),
            (Some(path), _) => {
                return Err(refused(format!(
                    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is {path:?}, and should begin with a slash"
                )));
            }
            (None, Some(address)) => checked(address)?,
            (None, None) => return Ok(None),
        };
    let token = match ask.told("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        // Read each time: the platform writes a new one every few hours.
        Some(path) => Some(ask.required_file(path, "the container's authorization token").await?),
        None => ask.told("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(str::to_owned),
    };
    let token = token.as_deref().map(str::trim);
    let headers = token.map(|token| secret_header(AUTHORIZATION, token)).transpose()?;
    let answer = ask.server(get(&address, headers.into_iter().collect())?, AGENT_PATIENCE).await?;
    issued("the container's credentials agent", &answer, token).map(Some)
}

/// The address of an agent, if the keys may be asked for there: nobody else is to hear the token or say the keys.
fn checked(address: &str) -> Result<String> {
    let parsed = uri(address)?;
    let host = parsed.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_near =
        host == "localhost" || AGENTS.contains(&host) || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if parsed.scheme_str() == Some("https") || is_near {
        return Ok(address.to_owned());
    }
    Err(refused(format!(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI leads to {host} without encryption: it has to be https, or on this machine"
    )))
}

/// The keys of an instance's role; `None`: this is no instance, or it has no role.
pub(super) async fn instance(ask: &Ask<'_>) -> Result<Option<Issued>> {
    if ask.is_told("AWS_EC2_METADATA_DISABLED") {
        return Ok(None);
    }
    let is_ipv6 =
        ask.told("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
    let base = match ask.told("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
        Some(given) => given.trim().trim_end_matches('/'),
        None if is_ipv6 => INSTANCE_IPV6,
        None => INSTANCE,
    };
    let wants_token = HttpRequest {
        method: Method::PUT,
        uri: uri(&format!("{base}/latest/api/token"))?,
        headers: vec![TOKEN_SECONDS].into(),
        body: Bytes::new(),
        file: None,
    };
    let token = match ask.server(wants_token, NEARBY).await {
        Ok(answer) if answer.status == 200 => String::from_utf8_lossy(&answer.body).trim().to_owned(),
        Ok(answer) if answer.status >= 500 => {
            return Err(said_no("the instance's metadata service", answer.status, "", &[]));
        }
        // Something else is there, or it gives tokens to nobody.
        Ok(_) => return Ok(None),
        Err(error) if matches!(error.kind, ErrorKind::ApiConnection | ErrorKind::Timeout) => return Ok(None),
        Err(error) => return Err(error),
    };
    let fetch = async |path: &str| {
        let headers = vec![secret_header(TOKEN, &token)?];
        ask.server(get(&format!("{base}/latest/meta-data/iam/security-credentials/{path}"), headers)?, NEARBY).await
    };
    let roles = fetch("").await?;
    let role = String::from_utf8_lossy(&roles.body).lines().next().unwrap_or_default().trim().to_owned();
    match roles.status {
        404 => return Ok(None),
        200 if role.is_empty() => return Ok(None),
        200 => {}
        status => return Err(said_no("the instance's metadata service", status, &role, &[&token])),
    }
    issued("the instance's metadata service", &fetch(&role).await?, Some(&token)).map(Some)
}

fn issued(who: &str, answer: &HttpResponse, token: Option<&str>) -> Result<Issued> {
    let secrets: Vec<&str> = token.into_iter().collect();
    if answer.status != 200 {
        return Err(said_no(who, answer.status, &String::from_utf8_lossy(&answer.body), &secrets));
    }
    let Ok(said) = serde_json::from_slice::<Answer>(&answer.body) else {
        // The instance's service reports failures with a status of 200.
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "PascalCase", default)]
        struct Failure {
            code: String,
            message: String,
        }
        let failure: Failure = serde_json::from_slice(&answer.body).unwrap_or_default();
        return Err(said_no(who, answer.status, &format!("no keys. {} {}", failure.code, failure.message), &secrets));
    };
    let end = said.expiration.as_deref().and_then(time);
    // Its keys always end; one that does not say when is asked again before long.
    let end = end.unwrap_or_else(|| SystemTime::now() + Duration::from_secs(900));
    Ok(Issued {
        keys: keys(&said.access_key_id, &said.secret_access_key, said.token.as_deref()),
        lasting: Lasting::Until(end),
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
            assert!(checked(good).is_ok(), "{good}");
        }
        for bad in [
            "http://anywhere.example/x",
            "http://169.254.170.2.example/x",
            "http://10.0.0.1/x",
            "ftp://localhost/x",
            "x",
        ] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }
}
