//! The interval at which a waiting thread looks for Ctrl-C.

use std::cell::Cell;
use std::time::Duration;

use super::fork::fork_epoch;

/// Returns the interval at which this thread is to look for signals while it waits.
///
/// Only the main thread gets signals. The others look, less often, whether the call that they wait for can still be
/// answered.
pub(crate) fn look_interval() -> Duration {
    const MAIN: Duration = Duration::from_millis(100);
    const OTHERS: Duration = Duration::from_secs(1);
    thread_local! {
        /// With the epoch: in the child of a fork, another thread may be the main one.
        static IS_MAIN: Cell<Option<(u64, bool)>> = const { Cell::new(None) };
    }
    let is_main = match IS_MAIN.get() {
        Some((epoch, is_main)) if epoch == fork_epoch() => is_main,
        _ => {
            IS_MAIN.set(Some((fork_epoch(), is_main_thread())));
            is_main_thread()
        }
    };
    if is_main { MAIN } else { OTHERS }
}

/// Returns true if this is the main thread of the process by the operating system's account. Python's `threading` would
/// say the same, except under gevent, where it has greenlets only.
fn is_main_thread() -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: plain libc calls without arguments.
    return unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) };
    #[cfg(target_vendor = "apple")]
    // SAFETY: a plain libc call without arguments.
    return unsafe { libc::pthread_main_np() } != 0;
    // To look for signals where there are none costs a thread ten short wake-ups a second.
    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    true
}
