//! The events in the life of a routed call, and the decisions on it.

use std::time::Duration;

use smallvec::SmallVec;

use super::options::FallbackKind;
use super::plan::{DeploymentIndex, GroupIndex, Plan};
use crate::error::{Error, ErrorKind};
use crate::types::rate_limit::FailureClass;

/// Time on the router's clock: the time since a moment that all its calls share.
pub type Time = Duration;

/// Number of an attempt within its call, from 0.
pub type AttemptId = usize;

/// A call as the router sees it.
#[derive(Debug, Clone, Default)]
pub struct CallSpec {
    /// Group that the caller asked for.
    pub group: GroupIndex,
    /// Total deadline, if there is one. It may be moved while the call waits for its first admission.
    pub end: Option<Time>,
    /// Maximum number of attempts after the first, for each group that is asked.
    pub max_retries: u32,
    /// Maximum time of all waiting for a deployment; the plan's if it is not set.
    pub max_wait: Option<Duration>,
    /// True if the answer is requested as a stream.
    pub is_stream: bool,
    /// True if the call may be sent again after a part of it was sent: not with `background`, `store` or server tools.
    pub is_repeatable: bool,
    /// True for embeddings: only deployments of the group's first model are asked.
    pub is_embedding: bool,
    /// True for operations on what an account keeps (files, batches): they have no model, and a 404 is about what they name.
    pub is_of_account: bool,
    /// Key of the strategy `affinity`: a hash of the prompt's prefix or of the user's id.
    pub affinity: Option<u64>,
    /// Tags, of which a deployment must have one.
    pub tags: Vec<String>,
    /// Identifiers of state at a provider that the call names.
    pub bindings: Vec<String>,
    /// Identifiers of what the call holds and only the account that made it can read.
    pub sealed: Vec<String>,
}

/// What the driver knows of deployments at the moment of a decision. Each method has a default for what is not known.
pub trait Outlook {
    /// Returns a random number from 0 up to 1, without 1.
    fn random(&mut self) -> f64;

    /// Returns why a deployment cannot take the call, as far as it is known before sending.
    fn refusal(&self, _deployment: DeploymentIndex) -> Option<Refusal> {
        None
    }

    /// Returns the time before which a deployment's quota admits nothing.
    fn ready_at(&self, _deployment: DeploymentIndex) -> Time {
        Time::ZERO
    }

    /// True if an attempt can wait in line for a deployment's quota. The driver then reports [`Event::Unadmitted`] while the
    /// attempt waits, and [`Event::Admitted`] afterwards.
    fn has_line(&self, _deployment: DeploymentIndex) -> bool {
        false
    }

    /// Returns the part of a deployment's budget that is left, from 0 to 1.
    fn budget(&self, _deployment: DeploymentIndex) -> Option<f64> {
        None
    }

    /// Returns the price of the call at a deployment, in any unit that all have in common.
    fn price(&self, _deployment: DeploymentIndex) -> Option<f64> {
        None
    }

    /// Asks for the turn to probe a deployment, of all processes that know of its breaker. Returns the time at which to ask
    /// again if it is another one's, or not known yet.
    fn claim_probe(&mut self, _deployment: DeploymentIndex) -> Option<Time> {
        None
    }

    /// Chooses one of the candidates, by its position among them; for the strategy `custom`.
    fn choose(&mut self, _candidates: &[DeploymentIndex]) -> Option<usize> {
        None
    }
}

/// Reason why a deployment cannot take a call, found before anything is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The model's context window is smaller than the prompt.
    ContextWindow {
        /// Size of the window, in tokens.
        window: u64,
        /// Estimate of the prompt's size, in tokens.
        prompt: u64,
    },
    /// The provider lacks a parameter of the call.
    Param(String),
    /// The provider lacks the operation.
    Operation,
    /// It has none of the call's tags.
    Tags,
    /// Its embeddings are of another model.
    OtherModel,
    /// The state that the call names belongs to another account.
    OtherAccount,
}

/// A failed attempt, as far as decisions depend on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Failure {
    /// Kind of the error.
    pub kind: ErrorKind,
    /// Class of the failure.
    pub class: FailureClass,
    /// Time for which the provider asked not to be asked again.
    pub retry_after: Option<Duration>,
    /// True if the same request may succeed at the same deployment.
    pub is_repeatable: bool,
    /// True if the request had no effect: it was not sent, or was refused before any work was done.
    pub had_no_effect: bool,
}

impl Failure {
    /// Returns what an error says. `is_repeatable` is the client's decision for the same deployment; `sent` is false if
    /// nothing of the request can have arrived.
    pub fn new(error: &Error, is_repeatable: bool, sent: bool) -> Self {
        // A server that is too busy to read, or that waited in vain (408), may have begun.
        let was_refused = error.status.is_some_and(|status| (400..500).contains(&status) && status != 408);
        Self {
            kind: error.kind,
            class: class_of(error),
            retry_after: error.retry_after,
            is_repeatable,
            had_no_effect: !sent || was_refused,
        }
    }
}

/// Returns the class of an error by its kind. A provider's own table may know better.
fn class_of(error: &Error) -> FailureClass {
    match error.kind {
        ErrorKind::RateLimit if error.code.as_deref() == Some("insufficient_quota") => FailureClass::QuotaFatal,
        ErrorKind::RateLimit => FailureClass::Rate,
        ErrorKind::ServiceUnavailable => FailureClass::Overload,
        ErrorKind::Authentication | ErrorKind::PermissionDenied | ErrorKind::NotFound => FailureClass::Auth,
        // Its word for it is that the same request may succeed.
        _ if error.should_retry == Some(true) => FailureClass::Transient,
        ErrorKind::Timeout
        | ErrorKind::ApiConnection
        | ErrorKind::InternalServer
        | ErrorKind::ApiResponseValidation
        | ErrorKind::IncompleteStream
        | ErrorKind::Conflict => FailureClass::Transient,
        ErrorKind::InvalidArgument
        | ErrorKind::UnsupportedParams
        | ErrorKind::BadRequest
        | ErrorKind::ContextWindowExceeded
        | ErrorKind::ContentPolicyViolation
        | ErrorKind::UnprocessableEntity
        | ErrorKind::BudgetExceeded
        | ErrorKind::Internal
        | ErrorKind::Journal
        | ErrorKind::JobLocked
        | ErrorKind::DiskFull
        | ErrorKind::UnexpectedCall => FailureClass::BadRequest,
    }
}

/// An event in the life of a routed call.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The call has started.
    Started,
    /// The first chunk of a stream, or the whole answer of a plain call, has arrived: this attempt has won.
    Answered(AttemptId),
    /// The attempt has failed. An attempt that answered and broke off later fails, too.
    Failed(AttemptId, Failure),
    /// The attempt has ended well: its stream too, if it has one.
    Succeeded(AttemptId),
    /// The time that was decided on has come: the end of a pause, or that of a race's start.
    Due,
    /// The attempt is the first of those that wait for its quota. Reported when it becomes so, and again whenever another
    /// deployment may have become free.
    Unadmitted(AttemptId),
    /// The attempt has waited for its quota, was admitted, and is about to be sent.
    Admitted(AttemptId),
}

/// An attempt to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Number of the attempt.
    pub id: AttemptId,
    /// Deployment to ask.
    pub deployment: DeploymentIndex,
    /// Its limits if it is admitted at once.
    pub limits: AttemptLimits,
    /// Maximum time that it may wait to be admitted.
    pub max_wait: Option<Duration>,
    /// Reason for which this deployment is asked.
    pub reason: Reason,
}

/// Limits of an attempt that is being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttemptLimits {
    /// Maximum time from admission to the answer, or to the first chunk of a stream; the call's deadline holds besides.
    pub limit: Option<Duration>,
    /// Time from admission after which [`Event::Due`] is reported if there is no answer.
    pub race_after: Option<Duration>,
}

/// Reason for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The first attempt of the call.
    First,
    /// Another deployment of the same group, after a failure.
    Sibling,
    /// The same deployment once more, after a pause.
    Retry,
    /// A deployment of another group.
    Fallback(FallbackKind),
    /// A second request, because the first one takes long.
    Hedge,
}

impl Reason {
    /// Returns its name in the record of a call.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Sibling => "sibling",
            Self::Retry => "retry",
            Self::Fallback(_) => "fallback",
            Self::Hedge => "hedge",
        }
    }
}

/// The next step of a routed call.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Make an attempt, and drop one that waits to be admitted: this takes its place and its number. None other is under way.
    Attempt(Attempt),
    /// Make an attempt besides the one that is under way.
    Race(Attempt),
    /// Go on with what is under way, and report [`Event::Due`] after this time (from now) if nothing else happens.
    Continue {
        /// Time from now.
        due_after: Option<Duration>,
    },
    /// Send the attempt that was admitted, within these limits.
    Send(AttemptLimits),
    /// Give the answer of this attempt to the caller, and abort the other one if there is one: it is accounted for.
    Deliver(AttemptId),
    /// Do nothing until this time, then report [`Event::Due`].
    Wait {
        /// End of the pause.
        until: Time,
        /// Reason for the pause.
        why: Pause,
    },
    /// The call has ended well.
    Done,
    /// Give an error to the caller.
    Fail(Box<Fail>),
}

/// Reason for a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// Every deployment was tried; one of them is tried again after this back-off.
    Backoff,
    /// No deployment is available before.
    Unavailable,
}

/// State of one deployment that a failed call leaves behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The deployment.
    pub deployment: DeploymentIndex,
    /// Reason why it is not asked, or not asked again.
    pub why: Why,
}

/// Reason why a deployment is not asked, or not asked again.
#[derive(Debug, Clone, PartialEq)]
pub enum Why {
    /// It failed in this call.
    Failed(ErrorKind),
    /// Its quota group pauses until this time.
    Cooling(Time),
    /// Its quota group has as many calls in flight as it takes after a rate limit.
    Full,
    /// Its breaker is open until this time.
    Open(Time),
    /// Its breaker is half open, and another call probes it.
    Probing,
    /// It is out because of a failure of this class and kind; it is probed at this time.
    Out(FailureClass, ErrorKind, Time),
    /// Its quota has no budget before this time.
    Limited(Time),
    /// It cannot take this call.
    Refused(Refusal),
}

/// The failure of a routed call.
#[derive(Debug, Clone, PartialEq)]
pub struct Fail {
    /// Kind of the error.
    pub kind: ErrorKind,
    /// Attempt whose error is given to the caller, if there was one.
    pub attempt: Option<AttemptId>,
    /// Sentence for the caller, if the attempt's error does not say it all.
    pub message: Option<String>,
    /// Time after which a deployment is available, if that is what the call failed for.
    pub retry_after: Option<Duration>,
    /// Every deployment that could have been asked, and why it was not, or not again.
    pub verdicts: SmallVec<[Verdict; 2]>,
}

/// Maximum number of deployments in a message.
const MAX_NAMED: usize = 8;

impl Fail {
    /// Returns the error for the caller: the attempt's, if there was one, with what it does not say.
    pub fn error(&self, attempt: Option<Box<Error>>, plan: &Plan, now: Time) -> Box<Error> {
        let mut error = match (attempt, &self.message) {
            (Some(error), None) => return error,
            (Some(mut error), Some(message)) => {
                error.message = format!("{} ({message}{})", error.message, self.list(plan, now));
                error
            }
            (None, message) => {
                let message = message.as_deref().unwrap_or_default();
                Error::new(self.kind, format!("{message}{}", self.list(plan, now)))
            }
        };
        error.retry_after = self.retry_after.or(error.retry_after);
        error
    }

    /// Returns the deployments and their reasons, after a colon.
    fn list(&self, plan: &Plan, now: Time) -> String {
        let mut list = String::new();
        for (index, verdict) in self.verdicts.iter().take(MAX_NAMED).enumerate() {
            list += if index == 0 { ": " } else { "; " };
            list += &format!("{} {}", plan.deployments[verdict.deployment].name, verdict.why.text(now));
        }
        match self.verdicts.len().saturating_sub(MAX_NAMED) {
            0 => list,
            more => format!("{list}; and {more} more"),
        }
    }
}

impl Why {
    /// Returns the reason for a person.
    pub fn text(&self, now: Time) -> String {
        let left = |until: Time| until.saturating_sub(now).as_secs_f64();
        match self {
            Self::Failed(kind) => format!("failed with {}", kind.class_name()),
            Self::Cooling(until) => format!("is cooling for {:.1} s", left(*until)),
            Self::Open(until) => format!("failed too often and is not asked for {:.1} s", left(*until)),
            Self::Full => "has as many calls in flight as its rate limit allows".into(),
            Self::Probing => "failed too often and is being probed".into(),
            Self::Out(FailureClass::QuotaFatal, _, until) => {
                format!("is out of quota; it is probed in {:.0} s", left(*until))
            }
            Self::Out(_, _, until) => format!("refuses its key or model; it is probed in {:.0} s", left(*until)),
            Self::Limited(until) => format!("has no budget for {:.1} s", left(*until)),
            Self::Refused(refusal) => refusal.text(),
        }
    }
}

impl Refusal {
    /// Returns the reason for a person.
    pub fn text(&self) -> String {
        match self {
            Self::ContextWindow { window, prompt } => {
                format!("has a context window of {window} tokens for a prompt of about {prompt}")
            }
            Self::Param(name) => format!("lacks the parameter {name}"),
            Self::Operation => "lacks the operation".into(),
            Self::Tags => "has none of the call's tags".into(),
            Self::OtherModel => "embeds with another model".into(),
            Self::OtherAccount => "belongs to another account than the state that the call names".into(),
        }
    }
}
