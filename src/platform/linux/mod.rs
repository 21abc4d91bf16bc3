//! The Linux side of [`platform`](crate::platform).

mod file_system;
mod forks;
mod lock_file;
mod mapping;
mod owned_file;
mod shared_file;

use std::time::Duration;

use super::ClockId;

pub use file_system::{network_file_system, preallocate};
pub use forks::fork_epoch;
pub use lock_file::LockFile;
pub use mapping::Mapping;
pub use shared_file::SharedFile;

/// Returns the time since the machine was started, including the time that it was suspended.
///
/// Setting the wall clock does not change it.
#[inline]
pub fn clock() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // Neither is negative: the clock starts at 0.
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Returns the number of the user whose rights this process has.
pub fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Returns the identity of [`clock`]; a part that `/proc` does not tell is 0.
pub fn clock_id() -> ClockId {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot = u128::from_str_radix(&boot.trim().replace('-', ""), 16).unwrap_or(0);
    // The link reads `time:[4026531834]`.
    let link = std::fs::read_link("/proc/self/ns/time").unwrap_or_default();
    let digits: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    ClockId { boot, namespace: digits.parse().unwrap_or(0) }
}
