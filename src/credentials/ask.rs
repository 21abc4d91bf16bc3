//! Files, programs and servers, asked without holding up the network's thread.

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
use crate::types::credentials::Wanted;
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::redact::Redactor;
use crate::types::secret::Secret;

/// How long a server on the internet may take.
pub(super) const PATIENT: Duration = Duration::from_secs(30);
/// How long a server on this machine, or beside it, may take: where there is none, the wait is for nothing.
pub(super) const NEARBY: Duration = Duration::from_secs(1);

/// An unreserved character stays as it is: <https://www.rfc-editor.org/rfc/rfc3986#section-2.3>.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What a search works with.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub transport: &'a Transport,
    pub connection_stats: &'a Arc<ConnectionStats>,
    pub wanted: &'a Wanted,
    /// Whether what is secret may go to another machine without TLS.
    pub allow_http: bool,
}

impl<'a> Ask<'a> {
    /// What the argument or environment variable of this name says.
    pub fn told(&self, name: &str) -> Option<&'a str> {
        self.wanted.told(name)
    }

    /// Whether a variable is set to yes.
    pub fn is_told(&self, name: &str) -> bool {
        self.told(name).is_some_and(|word| word.eq_ignore_ascii_case("true") || word == "1")
    }

    /// A path that may begin with `~`.
    pub fn path(&self, path: &str) -> PathBuf {
        let home = self.told("HOME").or_else(|| self.told("USERPROFILE"));
        match (path.strip_prefix('~'), home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with(['/', '\\']) => {
                Path::new(home).join(rest.trim_start_matches(['/', '\\']))
            }
            _ => path.into(),
        }
    }

    /// What a file holds; `None`: there is none.
    pub async fn file(&self, path: &Path) -> Result<Option<String>> {
        let shown = path.display().to_string();
        let path = path.to_owned();
        match elsewhere(move || std::fs::read_to_string(path)).await? {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == NotFound => Ok(None),
            Err(error) => Err(refused(format!("{shown} cannot be read: {error}"))),
        }
    }

    /// What a file holds that has to be there; `what` says in the error what it is for.
    pub async fn required_file(&self, path: &str, what: &str) -> Result<String> {
        let path = self.path(path);
        let text = self.file(&path).await?;
        text.ok_or_else(|| refused(format!("{what} is to be in {}, and there is no such file", path.display())))
    }

    /// What a program prints.
    pub async fn program(&self, words: Vec<String>) -> Result<Vec<u8>> {
        let Some((name, arguments)) = words.split_first().map(|(name, rest)| (name.clone(), rest.to_vec())) else {
            return Err(refused("credential_process is empty"));
        };
        let mut command = Command::new(&name);
        // What it writes to stderr is for a person, and may hold anything: it goes to where ours goes.
        command.args(arguments).stdin(std::process::Stdio::null()).stderr(std::process::Stdio::inherit());
        let output = elsewhere(move || command.output()).await?;
        let output =
            output.map_err(|error| refused(format!("credential_process: {name} cannot be started: {error}")))?;
        if !output.status.success() {
            return Err(refused(format!("credential_process: {name} failed ({})", output.status)));
        }
        Ok(output.stdout)
    }

    /// A server's answer, whatever its status.
    ///
    /// # Errors
    ///
    /// It does not answer; or the request holds a secret and would go to another machine by plain http.
    pub async fn server(&self, request: HttpRequest, limit: Duration) -> Result<HttpResponse> {
        if !self.allow_http && !is_confidential_way(&request.uri) && holds_secret(&request) {
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
        };
        let host = request.uri.authority().map_or("?", |authority| authority.as_str());
        let is_local = request.uri.host().is_some_and(is_loopback) && request.uri.scheme_str() == Some("http");
        if is_local && self.transport.has_given_proxy() {
            // What it answers is a credential, and what it is asked with may be one.
            return Err(refused(format!("proxy would be sent what {host} is asked for credentials")));
        }
        // Boxed: it is rare, and its future large.
        let mut answer = Box::pin(async {
            let answer = self.transport.send(&request, options).await?;
            let (status, headers) = (answer.status, answer.headers);
            Ok(HttpResponse { received: 0, status, headers, body: answer.body.collect().await? })
        });
        within(Some(limit), &format!("asking {host} for credentials"), answer.as_mut()).await
    }
}

/// Whether what is sent there is read by nobody on the way: by TLS, on this machine, or on its own link, where the metadata
/// servers and agents of the clouds are.
fn is_confidential_way(uri: &Uri) -> bool {
    /// Of AWS's metadata servers and agents: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>.
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

/// Whether a request holds what nobody else may read: in a form, or in a header field.
fn holds_secret(request: &HttpRequest) -> bool {
    !request.body.is_empty() || request.headers.iter().any(|(_, value)| value.is_sensitive())
}

/// Work that blocks, on another thread.
pub(super) async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(ErrorKind::Internal, format!("credentials could not be looked for: {error}")))
}

/// A request that only fetches something.
pub(super) fn get(address: &str, headers: Vec<(HeaderName, HeaderValue)>) -> Result<HttpRequest> {
    Ok(HttpRequest { method: Method::GET, uri: uri(address)?, headers: headers.into(), body: Bytes::new(), file: None })
}

/// An address out of a variable or a file.
pub(super) fn uri(address: &str) -> Result<Uri> {
    let uri = address.parse::<Uri>().ok().filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
    uri.filter(|uri| uri.host().is_some_and(|host| !host.is_empty()))
        .ok_or_else(|| refused(format!("{address:?} is no address that could be asked for credentials")))
}

/// A header field that holds a secret.
pub(super) fn secret_header(name: HeaderName, value: &str) -> Result<(HeaderName, HeaderValue)> {
    let shown = name.clone();
    let mut value = HeaderValue::try_from(value.trim())
        .map_err(|_| refused(format!("the credentials for {shown} hold characters that no HTTP header may hold")))?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// A form's fields, as a body.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, ESCAPED));
    fields.iter().map(field).collect::<Vec<_>>().join("&")
}

/// A time as AWS and Google write them.
pub(super) fn time(text: &str) -> Option<SystemTime> {
    let time = DateTime::from_str(text.trim(), Format::DateTimeWithOffset).ok()?;
    SystemTime::try_from(time).ok()
}

/// No credentials, and why.
pub(super) fn refused(message: impl Into<String>) -> Box<Error> {
    Error::new(ErrorKind::Authentication, message)
}

/// A server that said no: what it said, without what it was sent in confidence.
pub(super) fn said_no(who: &str, status: u16, said: &str, secrets: &[&str]) -> Box<Error> {
    let kind = match status {
        403 | 408 | 429 | 500.. => ErrorKind::from_status(status),
        _ => ErrorKind::Authentication,
    };
    let mut said: String = said.trim().chars().take(10_000).collect();
    Redactor::new(secrets.iter().copied()).hide(&mut said);
    let said: String = said.chars().take(400).collect();
    let mut error =
        Error::new(kind, format!("{who} answered {status}: {}", if said.is_empty() { "nothing" } else { &said }));
    error.status = Some(status);
    error
}

/// Wraps what nobody may see.
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
        let error = said_no("sts", 403, "the token sesame is no good", &["sesame"]);
        assert!(error.message.contains("***") && !error.message.contains("sesame"), "{error}");
        assert_eq!(error.kind, ErrorKind::PermissionDenied);
    }
}
