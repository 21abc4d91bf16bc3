//! Redirects: the target of a redirect, and whether it is followed.
//!
//! <https://www.rfc-editor.org/rfc/rfc9110#name-redirection-3xx>

use http::{Method, Uri};

use super::origin::Origin;
use crate::error::{Error, ErrorKind, Result};
use crate::types::http::{Headers, HttpRequest};

/// Maximum number of redirects that a request follows.
pub(super) const MAX_REDIRECTS: usize = 10;

/// Returns the URI at which the request is to be repeated; `None` if the response is not a redirect.
///
/// A request is repeated with its key and prompt, so only redirects to the same scheme, host and port are followed. A
/// `POST` follows 307 and 308 only, since clients change the method to `GET` and drop the body for the others.
///
/// # Errors
///
/// Returns an error if the redirect is not followed.
pub(super) fn target(request: &HttpRequest, from: &Uri, status: u16, headers: &Headers) -> Result<Option<Uri>> {
    let Some(location) = headers.get("location").filter(|_| matches!(status, 301 | 302 | 303 | 307 | 308)) else {
        return Ok(None);
    };
    let refused = |why: &str, destination: &str| {
        let mut error = Error::new(
            ErrorKind::from_status(status),
            format!("the server answered {status}, a redirect to {destination}, {why}"),
        );
        error.status = Some(status);
        error.headers = Some(headers.clone());
        error
    };
    let Some(target) = resolve(from, location) else {
        return Err(refused("which is no address", &format!("{location:?}")));
    };
    // Shown without its query, which may be long or confidential.
    let destination = format!(
        "{}://{}{}",
        target.scheme_str().unwrap_or_default(),
        target.authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or_default()),
        target.path()
    );
    if Origin::of(&target).ok() != Origin::of(from).ok() {
        let why = "another server: nothing was sent there. If it is the right one, give its address as base_url";
        return Err(refused(why, &destination));
    }
    if !matches!(status, 307 | 308) && request.method != Method::GET {
        let why = "which would turn the call into a GET: give the right address as base_url";
        return Err(refused(why, &destination));
    }
    Ok(Some(target))
}

/// Creates the error of a request that was redirected too often.
pub(super) fn too_many(status: u16, headers: &Headers) -> Box<Error> {
    let message = format!("the server redirected the request more than {MAX_REDIRECTS} times");
    let mut error = Error::new(ErrorKind::from_status(status), message);
    error.status = Some(status);
    error.headers = Some(headers.clone());
    error
}

/// Resolves the `location` of a response from `base`.
fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let location = location.trim().split('#').next().unwrap_or_default();
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let path = base.path();
    let text = match location {
        _ if location.split(['/', '?']).next().is_some_and(|start| start.contains(':')) => location.to_owned(),
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.starts_with('/') => format!("{scheme}://{authority}{location}"),
        _ if location.is_empty() || location.starts_with('?') => format!("{scheme}://{authority}{path}{location}"),
        _ => {
            let directory = path.rfind('/').map_or("/", |end| &path[..=end]);
            format!("{scheme}://{authority}{directory}{location}")
        }
    };
    text.parse::<Uri>().ok().filter(|target| target.scheme().is_some() && target.host().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_location() {
        let base: Uri = "https://host:8443/v1/chat?key=1".parse().unwrap();
        let resolved = |location| resolve(&base, location).map(|target| target.to_string());
        assert_eq!(resolved("https://other/v2").as_deref(), Some("https://other/v2"));
        assert_eq!(resolved("//other/v2").as_deref(), Some("https://other/v2"));
        assert_eq!(resolved("/v2/chat?a=1#part").as_deref(), Some("https://host:8443/v2/chat?a=1"));
        assert_eq!(resolved("chat/").as_deref(), Some("https://host:8443/v1/chat/"));
        assert_eq!(resolved("?a=1").as_deref(), Some("https://host:8443/v1/chat?a=1"));
        assert_eq!(resolved("mailto:somebody").as_deref(), None);
        assert_eq!(resolved("http://").as_deref(), None);
        assert_eq!(resolved("/a b").as_deref(), None);
    }
}
