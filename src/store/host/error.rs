//! Errors of a region.

use crate::platform::OpenError;

/// Reason why a region was not opened.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The name is empty, too long, or has other characters than letters of ASCII, digits, `.`, `_` and `-`.
    #[error(
        "the name of a host's share must be 1 to 64 letters, digits, dots, underscores or hyphens, as in \"host:prod\"; got {0:?}"
    )]
    Name(String),
    /// The file was not opened: its path, and why.
    #[error("cannot share limits through {0}: {1}")]
    Open(String, #[source] OpenError),
    /// The file is another program's, or it is damaged.
    #[error("cannot share limits through {0}: it is damaged or not RiteLLM's; remove it when no program uses it")]
    Damaged(String),
    /// The file was made by a version of this package with another layout.
    #[error(
        "cannot share limits through {0}: another version of RiteLLM made it; use one version, another name, or remove the file when no program uses it"
    )]
    Layout(String),
    /// Processes with another clock use the file.
    #[error("cannot share limits through {0}: processes with another clock (another time namespace) use it")]
    Clock(String),
    /// All places for members are taken by live processes.
    #[error("cannot share limits through {0}: {max} processes use it already, the maximum", max = super::MEMBERS)]
    Full(String),
    /// Another process has been opening the file for too long: it is stopped or very slow.
    #[error("cannot share limits through {0}: another process is in the middle of opening it")]
    Busy(String),
}

/// Reason why a quota's state was not accessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Another member has the lock. It is free again within microseconds if that process runs: try again in a millisecond.
    #[error("another process is using the quota's state")]
    Busy,
    /// Another member has had the lock since a second ago or longer: its process is stopped. Look the quota up again: it gets
    /// another place, with a copy of its state.
    #[error("another process was stopped while it used the quota's state")]
    Stuck,
    /// The quota was unused for a day and its place was given away: look it up again.
    #[error("the quota's place in shared memory was given away")]
    Reclaimed,
    /// This process is not a member any more, since it forked, closed all its descriptors, or somebody removed the file:
    /// [`reopen`](super::HostRegion::reopen) it.
    #[error("this process is no longer a member of the shared memory")]
    Left,
    /// All places for quotas are taken by quotas that were used within the last day.
    #[error("the shared memory has {max} quotas already, the maximum", max = super::QUOTAS)]
    Full,
    /// There is no memory for one more quota.
    #[error("there is not enough shared memory for one more quota")]
    Memory,
}
