//! What calls may cost in a period.

use super::settings::Share;

/// Maximum amount of a budget, in US dollars.
pub const MAX_AMOUNT: f64 = 1e6;

/// Period of a budget, by the calendar of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Per {
    /// So many seconds, counted from 1970.
    Seconds(u64),
    /// A week, from Monday.
    Week,
    /// A month.
    Month,
    /// For ever.
    Ever,
}

/// What calls may cost in a period.
#[derive(Debug, Clone, PartialEq)]
pub struct SpendingLimit {
    /// Amount in US dollars.
    pub amount: f64,
    /// Its period.
    pub per: Per,
    /// The period, as it is shown in errors.
    pub shown: String,
    /// Name by which those who share it find each other.
    pub key: String,
    /// True if calls are made whose price is not known; they count nothing.
    pub allows_unknown: bool,
    /// Processes that share it.
    pub share: Share,
    /// True if calls are made while the Redis does not answer; they count nothing.
    pub allows_down: bool,
}
