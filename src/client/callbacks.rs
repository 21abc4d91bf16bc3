//! What a caller's own functions say of each attempt: keys that do not last, and header fields.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue};

use crate::error::Result;
use crate::providers::Deployment;
use crate::types::http::HttpRequest;

/// Header fields, as they are sent.
pub type Fields = Vec<(HeaderName, HeaderValue)>;

/// The functions of one call. They are asked before each attempt, within the call's deadline.
pub trait AttemptHooks: Send + Sync + fmt::Debug {
    /// Puts the credentials that functions give into the deployment.
    fn fill<'a>(&'a self, deployment: &'a mut Deployment) -> BoxFuture<'a, Result<()>>;

    /// The header fields to be added to this request; `None`: there is no such function.
    fn headers<'a>(
        &'a self,
        deployment: &'a Deployment,
        request: &'a HttpRequest,
        attempt: u32,
    ) -> Option<BoxFuture<'a, Result<Fields>>>;
}

/// Functions, and the header fields that the call has without them.
#[derive(Debug, Clone)]
pub struct Callbacks {
    /// Whom to ask.
    pub functions: Arc<dyn AttemptHooks>,
    /// What those of an earlier attempt are replaced by.
    pub headers: Fields,
}
