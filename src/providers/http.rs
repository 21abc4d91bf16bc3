//! Addresses and header fields of requests, as most providers have them.

use std::cell::RefCell;
use std::sync::Arc;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Uri};

use super::Deployment;
use crate::error::{Error, Result};
use crate::types::http::Field;
use crate::types::secret::Secret;

/// The media type of what is no stream.
pub(super) const JSON: &str = "application/json";
/// That of what may be anything.
pub(super) const ANY: &str = "*/*";

/// Where a call goes, and the header fields that it has there.
pub(super) type Destination = (Uri, Arc<Vec<Field>>);

/// Returns the destination for a path below a deployment's base URL, and for the media type that is accepted back.
pub(super) type DestinationOf = fn(&Deployment, path: &str, accept: &'static str) -> Result<Destination>;

/// The destination for one of the paths below a base URL, for what is to come back: the key goes there as a bearer's.
///
/// Made once and then shared, since a program's calls go to the same place most of the time.
pub(super) fn destination(deployment: &Deployment, path: &str, accept: &'static str) -> Result<Destination> {
    RECENT.with_borrow_mut(|recent| {
        let recent = &mut recent[usize::from(accept == JSON)];
        if let Some(recent) = recent.as_ref().filter(|recent| recent.is_for(deployment, path, accept)) {
            return Ok(recent.destination.clone());
        }
        let uri = address(&format!("{}/{path}", deployment.base_url))?;
        let credentials = deployment.api_key.iter().map(|key| Ok((AUTHORIZATION, bearer(key.expose())?)));
        let headers = headers(credentials.collect::<Result<Vec<_>>>()?, accept);
        let destination = (uri, Arc::new(headers));
        *recent = Some(Recent {
            base_url: deployment.base_url.clone(),
            path: path.into(),
            accept,
            api_key: deployment.api_key.clone(),
            destination: destination.clone(),
        });
        Ok(destination)
    })
}

/// The destination that a thread made last, and what it was made of.
struct Recent {
    base_url: Arc<str>,
    path: Box<str>,
    accept: &'static str,
    api_key: Option<Secret>,
    destination: Destination,
}

impl Recent {
    fn is_for(&self, deployment: &Deployment, path: &str, accept: &str) -> bool {
        &*self.path == path
            && self.accept == accept
            && self.base_url == deployment.base_url
            && self.api_key == deployment.api_key
    }
}

thread_local! {
    /// For streams, and for whole answers.
    static RECENT: RefCell<[Option<Recent>; 2]> = const { RefCell::new([None, None]) };
}

/// What is to come back, where a stream is one of server-sent events.
pub(super) fn accepted(stream: bool) -> &'static str {
    if stream { "text/event-stream" } else { JSON }
}

/// An address made out of the base URL.
pub(super) fn address(text: &str) -> Result<Uri> {
    Uri::try_from(text).map_err(|error| Error::argument(format!("base_url cannot be used: {error}")))
}

/// The header fields of a request with a JSON body.
pub(super) fn headers(credential: impl IntoIterator<Item = Field>, accept: &'static str) -> Vec<Field> {
    let mut headers = Vec::with_capacity(5);
    headers.extend(credential);
    headers.push((CONTENT_TYPE, HeaderValue::from_static(JSON)));
    headers.push((ACCEPT, HeaderValue::from_static(accept)));
    headers
}

/// The header value that carries a key.
pub(super) fn bearer(key: &str) -> Result<HeaderValue> {
    secret(&format!("Bearer {key}"))
}

/// A header value that is not shown anywhere.
pub(super) fn secret(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        Error::argument("api_key holds characters that no HTTP header may hold (a line break?): pass the key alone")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
