//! Addresses and header fields of requests.

use std::cell::RefCell;
use std::sync::Arc;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Uri};

use super::{Deployment, Row};
use crate::error::{Error, Result};
use crate::types::http::Field;
use crate::types::secret::Secret;

/// The media type of answers that are no streams.
pub(super) const JSON: &str = "application/json";
/// The media range of answers of any type.
pub(super) const ANY: &str = "*/*";

/// Address of a request, and its header fields.
pub(super) type Destination = (Uri, Arc<Vec<Field>>);

/// Function that returns the destination for a path below a deployment's base URL, and for the media type of the answer.
pub(super) type DestinationOf = fn(&Deployment, path: &str, accept: &'static str) -> Result<Destination>;

/// A host with OpenAI's format.
#[derive(Clone, Copy)]
pub(super) struct Host {
    pub row: &'static Row,
    pub destination: DestinationOf,
}

impl Host {
    /// Returns the destination of an operation other than chat.
    ///
    /// # Errors
    /// `InvalidArgument` if the address or the credentials cannot be sent.
    pub fn destination(&self, deployment: &Deployment, path: &str, accept: &'static str) -> Result<Destination> {
        (self.destination)(deployment, &self.row.below_version(deployment, path), accept)
    }
}

/// Returns the destination for a path below the base URL and for the media type of the answer, with the key as a bearer
/// token.
///
/// Each thread caches the last two, since most calls of a program go to the same address.
///
/// # Errors
/// `InvalidArgument` if the base URL is no URL, or the key cannot stand in a header field.
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

/// A cached destination, and the values that it depends on.
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
    /// The last destination for streams, and the last one for JSON.
    static RECENT: RefCell<[Option<Recent>; 2]> = const { RefCell::new([None, None]) };
}

/// Returns the media type to accept: server-sent events for a stream, JSON otherwise.
pub(super) fn accepted(stream: bool) -> &'static str {
    if stream { "text/event-stream" } else { JSON }
}

/// Parses an address that was made from the base URL.
///
/// # Errors
/// `InvalidArgument` that names `base_url`.
pub(super) fn address(text: &str) -> Result<Uri> {
    Uri::try_from(text).map_err(|error| Error::argument(format!("base_url cannot be used: {error}")))
}

/// Returns the header fields of a request with a JSON body.
pub(super) fn headers(credential: impl IntoIterator<Item = Field>, accept: &'static str) -> Vec<Field> {
    let mut headers = Vec::with_capacity(5);
    headers.extend(credential);
    headers.push((CONTENT_TYPE, HeaderValue::from_static(JSON)));
    headers.push((ACCEPT, HeaderValue::from_static(accept)));
    headers
}

/// Returns the value of an `authorization` field with a key.
///
/// # Errors
/// The errors of [`secret`].
pub(super) fn bearer(key: &str) -> Result<HeaderValue> {
    secret(&format!("Bearer {key}"))
}

/// Returns a header value that is hidden in logs and in `Debug`.
///
/// # Errors
/// `InvalidArgument` if a header field cannot hold the text.
pub(super) fn secret(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        Error::argument("api_key holds characters that no HTTP header may hold (a line break?): pass the key alone")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
