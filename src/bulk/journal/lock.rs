//! The lock of a job's folder: one process at a time writes into it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::failure;
use crate::error::{Error, ErrorKind, Result};
use crate::platform::{LockError, LockFile, network_file_system};

/// The lock of a job's folder. It ends with this process, and forked children do not inherit it.
#[derive(Debug)]
pub(in crate::bulk) struct Lock {
    file: LockFile,
    /// Name of the network file system that the folder is on.
    pub(super) network: Option<&'static str>,
}

impl Lock {
    /// Locks a job's folder.
    ///
    /// # Errors
    ///
    /// Another job has it (`JobLocked`), or a system call failed.
    pub(super) fn take(job: &Path) -> Result<Self> {
        let path = path_of(job);
        let file = LockFile::lock(&path, &this_process()).map_err(|error| match error {
            LockError::Locked(owner) => locked(job, &owner),
            LockError::Unsupported(_) => Error::new(ErrorKind::Journal, format!("{}: {error}", path.display())),
            LockError::Io(error) => failure::of_io("lock", &path, &error),
        })?;
        Ok(Self { file, network: network_file_system(job) })
    }

    /// Notes for other processes what the job waits for, and for how long.
    pub fn note(&self, what: &str, waited: Duration) {
        // It only tells.
        let _ = self.file.write(&format!("{}{} {what}\n", this_process(), now().saturating_sub(waited).as_millis()));
    }

    /// Returns true if this process still has the lock.
    pub(super) fn is_held(&self) -> bool {
        self.file.is_held()
    }
}

/// A process that runs a job.
#[derive(Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its number; 0 if it is not known.
    pub pid: u32,
    /// What the job waits for, as it has said last, and for how long.
    pub waits_for: Option<(String, Duration)>,
}

/// Returns the process that has locked a job's folder; `None` if nobody has.
///
/// # Errors
///
/// A system call failed.
pub fn owner(job: &Path) -> Result<Option<Owner>> {
    match LockFile::owner(&path_of(job)) {
        Ok(owner) => Ok(owner.map(|owner| {
            let note = owner.lines().nth(1).and_then(|note| note.split_once(' '));
            let waits_for = note.and_then(|(since, what)| {
                let since = Duration::from_millis(since.parse().ok()?);
                Some((what.to_owned(), now().saturating_sub(since)))
            });
            Owner { pid: parse(&owner).0, waits_for }
        })),
        Err(LockError::Io(error)) => Err(failure::of_io("read", &path_of(job), &error)),
        Err(LockError::Locked(_) | LockError::Unsupported(_)) => Ok(None),
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn path_of(job: &Path) -> PathBuf {
    job.join("lock")
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

fn this_process() -> String {
    format!("{} {}\n", std::process::id(), host())
}

fn parse(owner: &str) -> (u32, &str) {
    let line = owner.lines().next().unwrap_or_default();
    let (pid, host) = line.split_once(' ').unwrap_or((line, ""));
    (pid.parse().unwrap_or(0), host)
}

fn locked(job: &Path, owner: &str) -> Box<Error> {
    let (pid, other_host) = parse(owner);
    let who = match pid {
        0 => "another process".to_owned(),
        pid if pid == std::process::id() && other_host == host() => format!("this process ({pid}), by another job"),
        pid if other_host == host() => format!("process {pid}"),
        pid => format!("process {pid} on {other_host}"),
    };
    let message = format!("{} is in use by {who}: two processes cannot run one job", job.display());
    Box::new(Error { code: (pid != 0).then(|| pid.to_string()), ..*Error::new(ErrorKind::JobLocked, message).unsent() })
}
