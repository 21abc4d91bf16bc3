//! One call: its destination, its content, and the limits it is made within.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::admission_progress::AdmissionProgress;
use super::attempt_log::AttemptLog;
use super::callbacks::Callbacks;
use super::settings::OwnLimits;
use super::spending_limit::SpendingLimit;
use crate::limits::Priority;
use crate::providers::Deployment;
use crate::transport::deadline::Timeouts;
use crate::types::credentials::Credentials;
use crate::types::request::Request;
use crate::types::secrets::Secrets;

/// A call as its caller asked for it.
#[derive(Debug, Clone)]
pub struct Call {
    /// Model, host and key.
    pub deployment: Deployment,
    /// Content.
    pub request: Request,
    /// Limits of the parts of the call.
    pub timeouts: Timeouts,
    /// Maximum number of attempts after the first.
    pub max_retries: u32,
    /// Longest pause that a provider may ask for; a longer one fails the call.
    pub max_retry_after: Duration,
    /// True if a key may be sent to another machine without TLS.
    pub allow_http: bool,
    /// Priority among calls that wait for the same quota.
    pub priority: Priority,
    /// True for an attempt of a router, which repeats it elsewhere: a refusal by a rate limit is not waited out here.
    pub is_routed: bool,
    /// Limits of the deployment, beside those of the client.
    pub own_limits: Option<Arc<OwnLimits>>,
    /// Progress of its admission, for a router.
    pub progress: Option<Arc<AdmissionProgress>>,
    /// Name of the deployment, if a router chose it.
    pub deployment_name: Option<Arc<str>>,
    /// Queue of the attempts for the log and for hooks, if logging is on or the call has hooks.
    pub attempt_log: Option<Arc<AttemptLog>>,
    /// Functions of the caller's that give keys and header fields for each attempt.
    pub callbacks: Option<Box<Callbacks>>,
    /// What calls may cost, if there is a limit.
    pub budget: Option<Arc<SpendingLimit>>,
    /// Observer of the call's admission.
    pub admission_observer: Option<Arc<dyn AdmissionObserver>>,
}

/// Learns whether a call waits for its limits. Its methods are called on the network thread and must not wait.
pub trait AdmissionObserver: Send + Sync + fmt::Debug {
    /// Notes that the next attempt asks for admission. A call that has no limits does not.
    fn waits(&self);

    /// Notes that an attempt begins.
    fn begins(&self);
}

impl Call {
    /// Returns true if the call has hooks, which get its record.
    #[inline]
    pub fn is_observed(&self) -> bool {
        self.attempt_log.as_ref().is_some_and(|attempt_log| attempt_log.is_observed())
    }

    /// Returns true if the caller brings an authorization of its own.
    pub fn has_authorization(&self) -> bool {
        self.request.extra_headers.iter().any(|(name, _)| name == http::header::AUTHORIZATION)
    }

    /// Returns the values to be redacted from answers: keys and tokens, and header fields and query parameters that may
    /// hold one.
    pub fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        match &self.deployment {
            // Most have a key and nothing else.
            Deployment { api_key: Some(key), settings, credentials: Credentials::Static, .. }
                if settings.is_empty() =>
            {
                secrets.push(key.clone());
            }
            deployment => secrets.extend(deployment.secrets().cloned()),
        }
        secrets.add_headers(&self.request.extra_headers);
        secrets.add_query(&self.request.extra_query);
        secrets
    }

    /// Returns [`secrets`](Self::secrets) and the values of key-like names in the request's body: tools and data sources
    /// have keys of their own.
    pub fn all_secrets(&self) -> Secrets {
        let mut secrets = self.secrets();
        let params = self.request.params.iter().filter(|(name, _)| !matches!(*name, "messages" | "input"));
        params.for_each(|(name, value)| secrets.add_member(name, value));
        secrets
    }
}
