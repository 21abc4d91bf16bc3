//! Functions of the caller's that give the keys and header fields of each attempt.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue};

use crate::error::Result;
use crate::providers::Deployment;
use crate::types::http::HttpRequest;

/// Header fields of a request.
pub type Fields = Vec<(HeaderName, HeaderValue)>;

/// The functions of one call. They are called before each attempt, within the call's deadline.
pub trait AttemptHooks: Send + Sync + fmt::Debug {
    /// Sets the deployment's credentials to those that functions return.
    ///
    /// # Errors
    ///
    /// A function raised, or returned no credential.
    fn fill<'a>(&'a self, deployment: &'a mut Deployment) -> BoxFuture<'a, Result<()>>;

    /// Returns the header fields to add to this request, or `None` if there is no function for them.
    fn headers<'a>(
        &'a self,
        deployment: &'a Deployment,
        request: &'a HttpRequest,
        attempt: u32,
    ) -> Option<BoxFuture<'a, Result<Fields>>>;
}

/// The functions of a call, and its header fields without them.
#[derive(Debug, Clone)]
pub struct Callbacks {
    /// The functions.
    pub functions: Arc<dyn AttemptHooks>,
    /// The call's own header fields, which replace those of an earlier attempt.
    pub headers: Fields,
}
