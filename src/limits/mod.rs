//! Budgets and pacing of quotas. No I/O, no vendor; the time is passed in.
//!
//! A quota is what a provider counts against: an account's requests and tokens in a window of time, its requests in flight.
//!
//! - `spec`: what a user declares for a quota; `rules`: which quotas a model has
//! - `budget`: the interface between one process's view and the state that members share
//! - `ledger`: the state that members share: a `window` for each limit, a `pause`, a `claim`, the seats of requests in flight
//! - `breaker`: the breaker of a deployment that members share; `stop`: the reasons of stops
//! - `lease`: one member's view of a ledger on another machine
//! - `controller`: finds a limit that nobody told
//! - `quota`: one process's view: its `line` of waiting calls, its `estimate`s, its permits
//! - [`Time`]: the store's clock

mod breaker;
pub mod budget;
mod claim;
pub mod controller;
mod estimate;
pub mod lease;
pub mod ledger;
mod line;
mod pause;
pub mod quota;
pub mod rules;
pub mod spec;
mod stop;
mod window;

use std::time::Duration;

pub use breaker::{BreakerReport, ProbeClaim, SharedBreaker};
pub use budget::{Budget, BudgetState, PauseReason, Refusal, Taken, Wait, WindowState};
pub use ledger::{Ledger, Member};
pub use line::{Call, Ticket};
pub use quota::{Admission, Permit, Quota, Snapshot};
pub use rules::{Pattern, Rule, Rules};
pub use spec::{Limit, Priority, QuotaSpec};

/// Time on the clock of the store that holds a quota: the time since a moment that all its members share.
pub type Time = Duration;

fn nanoseconds(time: Time) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
