//! The interface between one process's view of a quota and the state that its members share.

use std::time::Duration;

use super::breaker::{BreakerReport, ProbeClaim, SharedBreaker};
use super::{Time, controller};
use crate::error::ErrorKind;
use crate::types::rate_limit::{FailureClass, Signals, Tokens, Unit};

/// Budget of a quota. A `Quota` admits its waiting calls through it.
///
/// `Member` implements it on the ledger itself, in this process's memory or in the host's: each call is exact, and is made
/// while the ledger is locked. `LeaseState` implements it from slices of a budget that is kept on another machine.
pub trait Budget {
    /// Takes the budget of one request, if the request may be sent now.
    ///
    /// # Errors
    /// When to try again, or why that is useless.
    fn try_take(&mut self, now: Time, tokens: Tokens) -> Result<Taken, Wait>;

    /// Returns whether [`try_take`](Self::try_take) would take the budget of one request now. Nothing is taken.
    ///
    /// # Errors
    /// When to try, or why that is useless.
    fn check(&mut self, now: Time, tokens: Tokens) -> Result<(), Wait>;

    /// Notes what the head of an answer says. For a stream that is long before its end.
    fn observe(&mut self, now: Time, taken: &Taken, signals: &Signals);

    /// Ends a request that was sent, and whose outcome is known. What it used replaces what was reserved for it; without
    /// `used`, the reservation stays, unless the failure's class says that the provider refused the request.
    fn settle(&mut self, now: Time, taken: Taken, used: Option<Tokens>, outcome: &Signals);

    /// Ends a request that was cancelled after it was sent: its seat is free, the request and its reservation count.
    fn cancel(&mut self, now: Time, taken: Taken);

    /// Returns the budget of a request that was never sent, as if it had not been taken.
    fn give_back(&mut self, now: Time, taken: Taken);

    /// Ends a stop and a pause by hand.
    fn enable(&mut self, now: Time);

    /// Returns what `status()` shows.
    fn state(&self, now: Time) -> BudgetState;

    /// Returns the breaker of the deployment that the quota stands for.
    fn breaker(&mut self, now: Time) -> SharedBreaker;

    /// Tells the others what this member, of this number, found out about the deployment.
    fn report_breaker(&mut self, now: Time, member: u64, report: BreakerReport);

    /// Asks for the turn to probe the deployment.
    fn claim_probe(&mut self, now: Time, member: u64) -> ProbeClaim;
}

/// The budget that one request holds, from its admission to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the budget is held until it is settled, cancelled or given back"]
pub struct Taken {
    /// Time of the admission.
    pub at: Time,
    /// Number of tokens that were reserved.
    pub tokens: Tokens,
    /// A [`Refusal::TooLarge`] if the request is larger than a window's whole limit, and was admitted because that window was
    /// empty: the reason not to repeat it if the provider refuses it nevertheless.
    pub alone: Option<Refusal>,
    /// True if this request finds out whether a pause or a stop is over; others wait for its outcome.
    pub probe: bool,
}

/// The reason why a request is not sent now, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Try again at this time, or earlier if another request of this process ends. Members that share a ledger try again every
    /// 50 ms, since they do not hear of each other.
    Until(Time),
    /// Try again when a request of this process ends.
    Release,
    /// Waiting does not help.
    Never(Refusal),
}

/// The reason why a request is not sent at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The store that holds the quota does not answer, and calls are to fail then.
    StoreDown {
        /// Time since which it does not answer.
        since: Time,
    },
    /// The quota is stopped, until `enable()` or until a probe succeeds.
    Stopped {
        /// Class of the failure that stopped it.
        class: FailureClass,
        /// Kind of its error.
        kind: ErrorKind,
        /// Time since which it is stopped.
        since: Time,
        /// Time from which the next request is admitted as a probe.
        probe: Time,
    },
    /// The provider refused the request although it had a window to itself: it is larger than the limit.
    TooLarge {
        /// Dimension of the limit.
        unit: Unit,
        /// The limit.
        limit: u64,
        /// Length of the window.
        period: Duration,
        /// Number of tokens that were reserved for the request, in this dimension.
        tokens: u64,
    },
}

/// The reason of a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseReason {
    /// A request was refused because of a rate limit.
    Rate,
    /// An answer said that a window is used up.
    Exhausted,
    /// The limit of a day, or of a longer period, is used up.
    DayQuota,
    /// The provider has too much to do, and said for how long.
    Overload,
    /// A probe was sent after a pause, and has no answer yet.
    Probe,
}

impl PauseReason {
    /// Returns its name in statuses and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Exhausted => "exhausted",
            Self::DayQuota => "day_quota",
            Self::Overload => "overload",
            Self::Probe => "probe",
        }
    }
}

/// A window as `status()` shows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowState {
    /// Dimension of the limit.
    pub unit: Unit,
    /// Length of the window.
    pub period: Duration,
    /// The limit: the declared one, or the provider's own if that is lower.
    pub limit: u64,
    /// Part of it that this quota's members have used or reserved.
    pub used: u64,
    /// Part of it that others use, according to the provider's answers.
    pub used_by_others: u64,
}

/// A budget as `status()` shows it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BudgetState {
    /// The windows with a limit.
    pub windows: Vec<WindowState>,
    /// Number of requests in flight, of all members.
    pub in_flight: u32,
    /// Maximum number of requests in flight, declared or learnt.
    pub max_in_flight: Option<u32>,
    /// Number of tokens that requests in flight have reserved, of all members.
    pub reserved: u64,
    /// End of the pause and its reason.
    pub paused: Option<(Time, PauseReason)>,
    /// A [`Refusal::Stopped`] if the quota is stopped.
    pub stopped: Option<Refusal>,
    /// Part of a window that may be admitted at once after idleness.
    pub burst: f64,
    /// Learnt limits, if limits that are not declared are learnt.
    pub learnt: Option<controller::Snapshot>,
}
