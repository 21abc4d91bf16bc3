//! What a member and the ledger on another machine tell each other in one exchange.

use super::super::Time;
use crate::types::rate_limit::Unit;

/// Number of requests, of input tokens and of output tokens.
pub type Amount = [u64; 3];

/// What was used at a time; negative for what turned out to be less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Time since then.
    pub age: Time,
    /// Number of requests, of input tokens and of output tokens.
    pub amount: [i64; 3],
}

/// A limit of a window, as this member knows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowRule {
    /// Length of time for which an admission counts; zero if only what is granted and not used yet counts.
    pub period: Time,
    /// Dimension of the limit.
    pub unit: Unit,
    /// The limit.
    pub limit: u64,
    /// What may be admitted at once after idleness.
    pub burst: f64,
    /// What is admitted per second in the long run; 0 if that is not limited. With a period of zero the rate at which grants are
    /// used, which tells when to ask again.
    pub rate: f64,
}

/// What a member tells, and asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Number of this exchange.
    pub number: u64,
    /// True if the member declares all that it used in the longest window, because the ledger does not know it.
    pub joins: bool,
    /// The ledger that this member knows, and its state when it last answered; 0 if it knows none.
    pub epoch: u64,
    /// Number of exchanges that the ledger had had then.
    pub serial: u64,
    /// The ledger's time of the last answer, and the time since that was asked for.
    pub seen: Time,
    /// Time since the request was sent whose answer told `seen`.
    pub elapsed: Time,
    /// True if the member had no answer for some time. If nobody had, the ledger first hears them all.
    pub returns: bool,
    /// Time for which a fresh ledger grants little, so that all members can declare what they used.
    pub grace: Time,
    /// Time for which the grant is valid, from when the request is sent.
    pub lease: Time,
    /// Number of the report in `used`. It is repeated when the answer was lost, and then counted once.
    pub report: u64,
    /// What was used since the last report.
    pub used: Vec<Use>,
    /// Limits of windows.
    pub windows: Vec<WindowRule>,
    /// What is kept of what was granted before; the rest is given back. Of a member that has lost the ledger, what it may use by
    /// itself until its next request arrives, and what it has used that no request told.
    pub keep: Amount,
    /// What is wanted beside it.
    pub want: Amount,
    /// The least that is of use: less is not granted.
    pub least: Amount,
    /// Number of requests in flight.
    pub in_flight: u32,
    /// Number of seats that are wanted, including those in use.
    pub seats_wanted: u32,
    /// Maximum number of requests in flight of all members.
    pub max_in_flight: Option<u32>,
    /// True if the next request of this member finds out whether a pause is over, or would if it may.
    pub probes: bool,
    /// Number of the snapshot of what was learnt that this member knows; 0 for none.
    pub snapshot: u64,
    /// Number of bytes of the log, since its begin, that this member knows.
    pub position: u64,
    /// Number of the batch in `events`. It is repeated when the answer was lost, and then appended once.
    pub batch: u64,
    /// Events of this member, to be appended to the log.
    pub events: Vec<u8>,
    /// What was learnt up to `position`, if the ledger wants to know.
    pub learnt: Option<Vec<u8>>,
}

/// Answer of the ledger.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The ledger does not know this member, or has lost some of what it knew: it has to join again.
    Unknown {
        /// Time of the ledger.
        now: Time,
    },
    /// The request was granted, at least in part.
    Granted(Grant),
}

/// What the ledger grants.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The ledger.
    pub epoch: u64,
    /// Number of exchanges that it has had.
    pub serial: u64,
    /// Its time.
    pub now: Time,
    /// What may be used beside what was kept.
    pub amount: Amount,
    /// Number of requests that may be in flight.
    pub seats: u32,
    /// Number of those that may be used again; the others are given back after one request.
    pub steady_seats: u32,
    /// Time after which more may be available, if nothing was granted.
    pub retry: Time,
    /// Number of members.
    pub members: u64,
    /// Number that no other member has, the lowest that was free when this one joined.
    pub rank: u64,
    /// Time for which this fresh ledger still grants little.
    pub fresh: Time,
    /// True if this member alone may find out whether a pause is over.
    pub probe: bool,
    /// Number of the snapshot from which the log goes on.
    pub snapshot: u64,
    /// What was learnt up to the begin of `missed`, if the member has to begin there.
    pub learnt: Option<Vec<u8>>,
    /// Events of the log that the member does not know. Its own that are appended now are not among them.
    pub missed: Vec<u8>,
    /// True if the events of the request were appended now; otherwise they were before.
    pub appended: bool,
    /// Number of bytes of the log.
    pub position: u64,
    /// True if the ledger wants a snapshot of what was learnt.
    pub wants_snapshot: bool,
    /// Number of requests in flight of all members.
    pub in_flight: u32,
    /// What all members use of each window, in the order of the request.
    pub usage: Vec<u64>,
}
