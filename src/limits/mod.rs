//! Budgets and pacing of quotas. No I/O, no vendor; the time is passed in.
//!
//! A quota is what a provider counts against: an account's requests and tokens in a window of time, its requests in flight.
//!
//! - `spec`: what a user declares
//! - [`Time`]: the store's clock

pub mod spec;

use std::time::Duration;

pub use spec::{Limit, Priority, QuotaSpec};

/// Time on the clock of the store that holds a quota: the time since a moment that all its members share.
pub type Time = Duration;
