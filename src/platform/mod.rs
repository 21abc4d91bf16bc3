//! Facilities that only some systems have: memory that processes share, and locks that the kernel releases when a process ends.
//!
//! - [`SharedFile`]: a file in the system's directory for shared memory, with locks on its bytes
//! - [`Mapping`]: its content in memory
//! - [`LockFile`]: a file that one process has locked
//! - [`preallocate`]: room for a file before it is written
//! - [`network_file_system`]: the network file system that a path is on
//! - [`clock`]: the time since the machine was started
//! - [`clock_id`]: which clock that is
//! - [`fork_epoch`]: number of forks of this process
//! - [`user_id`]: number of its user
//!
//! Linux has all of it. On other systems [`SharedFile::open`] and [`LockFile::lock`] return an error that names the
//! system.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod unsupported;

#[cfg(target_os = "linux")]
pub use linux::{
    LockFile, Mapping, SharedFile, clock, clock_id, fork_epoch, network_file_system, preallocate, user_id,
};
#[cfg(not(target_os = "linux"))]
pub use unsupported::{
    LockFile, Mapping, SharedFile, clock, clock_id, fork_epoch, network_file_system, preallocate, user_id,
};

/// Reason why a file in shared memory was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// This system has no such files, or not the locks that they need.
    #[error("memory shared between processes needs Linux; this is {0}")]
    Unsupported(&'static str),
    /// There is something of this name that is not to be used.
    #[error("{0}")]
    Refused(&'static str),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Identity of a clock: times of two processes can be compared if these are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockId {
    /// Random number that the system chose when it was started.
    pub boot: u128,
    /// Time namespace of the process: its clocks may be set apart from those of other containers.
    pub namespace: u64,
}

/// Reason why a file was not locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// This system has no lock that ends with its process and is not inherited.
    #[error("locks that end with their process need Linux; this is {0}")]
    Unsupported(&'static str),
    /// Another process has locked it, or this one by another opening: the text that it wrote into the file.
    #[error("it is locked")]
    Locked(String),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
