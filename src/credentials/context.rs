//! Access to files, programs and servers for lookups, without blocking the network thread.

use std::io::ErrorKind::NotFound;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_smithy_types::date_time::{DateTime, Format};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Error, ErrorKind, Result};
use crate::transport::deadline::{Timeouts, within};
use crate::transport::{Admission, ConnectionStats, SendOptions, Transport, is_loopback};
use crate::types::credentials::CredentialSource;
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::redact::Redactor;
use crate::types::secret::Secret;

/// Deadline for a request to a server on the internet.
pub(super) const REMOTE_TIMEOUT: Duration = Duration::from_secs(30);
/// Deadline for a request to a server on this machine or its own link, where often there is none to answer.
pub(super) const LOCAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Characters to percent-encode: all but the unreserved ones, <https://www.rfc-editor.org/rfc/rfc3986#section-2.3>.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The inputs of a lookup, and the means to carry it out.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub transport: &'a Transport,
    pub connection_stats: &'a Arc<ConnectionStats>,
    pub source: &'a CredentialSource,
    /// True if secrets may be sent to another machine without TLS.
    pub allow_http: bool,
}

impl<'a> Context<'a> {
    /// Returns the value of an argument or environment variable, if it is set.
    pub fn input(&self, name: &str) -> Option<&'a str> {
        self.source.input(name)
    }

    /// Returns true if a variable is set to `true` or `1`.
    pub fn is_enabled(&self, name: &str) -> bool {
        self.input(name).is_some_and(|word| word.eq_ignore_ascii_case("true") || word == "1")
    }

    /// Expands a leading `~` of a path to the home directory.
    pub fn path(&self, path: &str) -> PathBuf {
        let home = self.input("HOME").or_else(|| self.input("USERPROFILE"));
        match (path.strip_prefix('~'), home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with(['/', '\\']) => {
                Path::new(home).join(rest.trim_start_matches(['/', '\\']))
            }
            _ => path.into(),
        }
    }

    /// Reads a file; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// Returns an `Authentication` error if the file exists and cannot be read.
    pub async fn file(&self, path: &Path) -> Result<Option<String>> {
        let shown = path.display().to_string();
        let path = path.to_owned();
        match run_blocking(move || std::fs::read_to_string(path)).await? {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == NotFound => Ok(None),
            Err(error) => Err(unauthenticated(format!("{shown} cannot be read: {error}"))),
        }
    }

    /// Reads a file that must exist; `what` names its purpose in error messages.
    ///
    /// # Errors
    ///
    /// Returns an `Authentication` error if the file does not exist or cannot be read.
    pub async fn required_file(&self, path: &str, what: &str) -> Result<String> {
        let path = self.path(path);
        let text = self.file(&path).await?;
        text.ok_or_else(|| unauthenticated(format!("{what} is to be in {}, and there is no such file", path.display())))
    }

    /// Runs a program and returns its standard output.
    ///
    /// # Errors
    ///
    /// Returns an `Authentication` error if the program cannot be started or fails.
    pub async fn program(&self, words: Vec<String>) -> Result<Vec<u8>> {
        let Some((name, arguments)) = words.split_first().map(|(name, rest)| (name.clone(), rest.to_vec())) else {
            return Err(unauthenticated("credential_process is empty"));
        };
        let mut command = Command::new(&name);
        // Its standard error output is for a person and may contain anything, so it is inherited.
        command.args(arguments).stdin(std::process::Stdio::null()).stderr(std::process::Stdio::inherit());
        let output = run_blocking(move || command.output()).await?;
        let output = output
            .map_err(|error| unauthenticated(format!("credential_process: {name} cannot be started: {error}")))?;
        if !output.status.success() {
            return Err(unauthenticated(format!("credential_process: {name} failed ({})", output.status)));
        }
        Ok(output.stdout)
    }

    /// Sends a request to a server and returns its response, whatever the status.
    ///
    /// # Errors
    ///
    /// Returns an error if the server does not respond in time, or if the request contains a secret and would be sent
    /// to another machine without TLS.
    pub async fn server(&self, request: HttpRequest, limit: Duration) -> Result<HttpResponse> {
        if !self.allow_http && !is_confidential(&request.uri) && holds_secret(&request) {
            return Err(Error::argument(format!(
                "credentials would be asked for at {} by plain http, which shows what they are asked for with to everybody \
                 on the way: write https:// in the file or variable that names this address, or allow it with \
                 allow_http=True",
                request.uri.host().unwrap_or_default()
            )));
        }
        let timeouts = Timeouts {
            connect: Some(limit.min(Duration::from_secs(10))),
            queue: None,
            first_token: None,
            idle: None,
            total: None,
        };
        let admission = Admission::default();
        let options = SendOptions {
            timeouts: &timeouts,
            end: None,
            admission: &admission,
            connection_stats: self.connection_stats,
            is_once: false,
        };
        let host = request.uri.authority().map_or("?", |authority| authority.as_str());
        let is_local = request.uri.host().is_some_and(is_loopback) && request.uri.scheme_str() == Some("http");
        if is_local && self.transport.has_explicit_proxy() {
            // The response is a credential, and the request may contain one.
            return Err(unauthenticated(format!("proxy would be sent what {host} is asked for credentials")));
        }
        // Boxed: the future is large, and lookups are rare.
        let mut answer = Box::pin(async {
            let answer = self.transport.send(&request, options).await?;
            let (status, headers) = (answer.status, answer.headers);
            Ok(HttpResponse { received: 0, status, headers, body: answer.body.collect().await? })
        });
        within(Some(limit), &format!("asking {host} for credentials"), answer.as_mut()).await
    }
}

/// Returns true if nobody can read what is sent to this URI: it uses TLS, or leads to this machine or its own link,
/// where the clouds have their metadata servers and agents.
fn is_confidential(uri: &Uri) -> bool {
    /// Prefix of AWS's metadata servers and agents:
    /// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>.
    const AMAZON: [u16; 2] = [0xfd00, 0x0ec2];
    let host = uri.host().unwrap_or_default();
    uri.scheme_str() != Some("http")
        || is_loopback(host)
        || match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => address.is_link_local(),
            Ok(IpAddr::V6(address)) => address.is_unicast_link_local() || address.segments()[..2] == AMAZON,
            Err(_) => false,
        }
}

/// Returns true if a request contains a secret: in its body, a form, or in a header field.
fn holds_secret(request: &HttpRequest) -> bool {
    !request.body.is_empty() || request.headers.iter().any(|(_, value)| value.is_sensitive())
}

/// Runs blocking work on another thread.
///
/// # Errors
///
/// Returns an error if the work panics.
pub(super) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(ErrorKind::Internal, format!("credentials could not be looked for: {error}")))
}

/// Creates a `GET` request.
///
/// # Errors
///
/// Returns an `Authentication` error if `address` is not an HTTP URL.
pub(super) fn get(address: &str, headers: Vec<(HeaderName, HeaderValue)>) -> Result<HttpRequest> {
    Ok(HttpRequest { method: Method::GET, uri: uri(address)?, headers: headers.into(), body: Bytes::new(), file: None })
}

/// Parses a URL from a variable or a file.
///
/// # Errors
///
/// Returns an `Authentication` error if `address` is not an HTTP URL.
pub(super) fn uri(address: &str) -> Result<Uri> {
    let uri = address.parse::<Uri>().ok().filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
    uri.filter(|uri| uri.host().is_some_and(|host| !host.is_empty()))
        .ok_or_else(|| unauthenticated(format!("{address:?} is no address that could be asked for credentials")))
}

/// Creates a header field that contains a secret.
///
/// # Errors
///
/// Returns an `Authentication` error if the value contains characters that no header field may have.
pub(super) fn secret_header(name: HeaderName, value: &str) -> Result<(HeaderName, HeaderValue)> {
    let shown = name.clone();
    let mut value = HeaderValue::try_from(value.trim()).map_err(|_| {
        unauthenticated(format!("the credentials for {shown} hold characters that no HTTP header may hold"))
    })?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// Encodes the fields of a form as a body.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, ESCAPED));
    fields.iter().map(field).collect::<Vec<_>>().join("&")
}

/// Parses a time as AWS and Google write it.
pub(super) fn time(text: &str) -> Option<SystemTime> {
    let time = DateTime::from_str(text.trim(), Format::DateTimeWithOffset).ok()?;
    SystemTime::try_from(time).ok()
}

/// Creates an error for missing or unusable credentials.
pub(super) fn unauthenticated(message: impl Into<String>) -> Box<Error> {
    Error::new(ErrorKind::Authentication, message)
}

/// Creates an error for a response with an error status, from its text with `secrets` redacted.
pub(super) fn rejected(who: &str, status: u16, text: &str, secrets: &[&str]) -> Box<Error> {
    let kind = match status {
        403 | 408 | 429 | 500.. => ErrorKind::from_status(status),
        _ => ErrorKind::Authentication,
    };
    let mut text: String = text.trim().chars().take(10_000).collect();
    Redactor::new(secrets.iter().copied()).hide(&mut text);
    let text: String = text.chars().take(400).collect();
    let mut error =
        Error::new(kind, format!("{who} answered {status}: {}", if text.is_empty() { "nothing" } else { &text }));
    error.status = Some(status);
    error
}

/// Wraps a secret value.
pub(super) fn secret(text: impl Into<Arc<str>>) -> Secret {
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(time("2024-05-01T12:00:00Z"), at(1_714_564_800));
        assert_eq!(time("2024-05-01T14:00:00+02:00"), at(1_714_564_800));
        assert_eq!(time("2024-05-01T12:00:00.5Z").map(|time| time > at(1_714_564_800).unwrap()), Some(true));
        assert_eq!(time("tomorrow"), None);
    }

    #[test]
    fn a_form_is_escaped() {
        assert_eq!(form(&[("a", "b c&d"), ("e", "f/=~")]), "a=b%20c%26d&e=f%2F%3D~");
    }

    #[test]
    fn what_was_sent_in_confidence_is_not_repeated() {
        let error = rejected("sts", 403, "the token sesame is no good", &["sesame"]);
        assert!(error.message.contains("***") && !error.message.contains("sesame"), "{error}");
        assert_eq!(error.kind, ErrorKind::PermissionDenied);
    }
}
