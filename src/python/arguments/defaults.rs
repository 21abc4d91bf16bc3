//! The defaults that a client gives its calls.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::cache::CacheArgs;
use super::configuration::Configuration;
use super::functions::CallbackArgs;
use crate::client::SpendingLimit;
use crate::limits::Priority;
use crate::providers::DeploymentArgs;
use crate::transport::deadline::Timeouts;

/// Settings of a client that its calls begin with.
#[derive(Clone, Default)]
pub(crate) struct Defaults {
    pub given: DeploymentArgs,
    pub timeouts: Timeouts,
    pub max_retries: Option<u32>,
    pub max_retry_after: Option<Duration>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub drop_params: bool,
    pub allow_http: bool,
    /// True if a parameter that nobody documents is refused.
    pub refuses_unknown: bool,
    /// Priority among calls that wait for the same quota.
    pub priority: Priority,
    /// Number of levels of nesting that an answer may have.
    pub deepest: usize,
    /// Providers, aliases and parameters of the client's own.
    pub configuration: Option<Arc<Configuration>>,
    /// Names of the arguments that an unpickled client was made with before and did not get back.
    pub withheld: Vec<String>,
    /// Answers that are kept.
    pub cache: CacheArgs,
    /// The user's own labels of the calls, for their records.
    pub tags: Option<Arc<Py<PyDict>>>,
    /// What calls may cost.
    pub budget: Option<Arc<SpendingLimit>>,
    /// Functions that give the credentials and header fields of each attempt.
    pub functions: CallbackArgs,
}
