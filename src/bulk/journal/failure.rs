//! Failures of a journal's files as errors that say what to do.

use std::io;
use std::path::Path;

use crate::error::{Error, ErrorKind};

/// Returns the error for a system call that failed: `what` is the verb of "cannot … PATH".
pub(in crate::bulk) fn of_io(what: &str, path: &Path, error: &io::Error) -> Box<Error> {
    let kind = if is_full(error) { ErrorKind::DiskFull } else { ErrorKind::Journal };
    Error::new(kind, format!("cannot {what} {}: {error}", path.display())).unsent()
}

/// Returns true if there is no room for a write: the disk is full, or the user's part of it.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A failure of the writer. It is told several times, and an [`Error`] cannot be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalFailure {
    /// Kind of the error.
    pub kind: ErrorKind,
    /// Message for a person: the path, what failed, and how to go on.
    pub message: String,
    /// True if nothing more can be written: outcomes that have not landed are lost. Otherwise outcomes of calls that are in
    /// flight still land, and there must be no new ones.
    pub is_fatal: bool,
}

impl JournalFailure {
    /// Returns the failure as an error.
    pub fn error(&self) -> Box<Error> {
        Error::new(self.kind, self.message.as_str()).unsent()
    }
}
