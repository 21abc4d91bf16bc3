//! The runtime of this process: its job queue, the hand-off queue of waiting threads, and whether it is still usable.
//!
//! It is never taken down. When a program closes all descriptors under it, as daemons do when they begin, it is given up, and
//! the next call starts another. The child of a fork has the memory of it and not the thread, so the child forgets it and
//! starts its own.

use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, Ordering};

use tokio::sync::Notify;

use super::descriptors::Descriptors;
use super::fork::{self, fork_epoch};
use crate::python::call::task::Task;
use crate::python::sync::handoff::{self, HandoffQueue};

/// State that the network thread shares with the threads that call.
pub(super) struct Runtime {
    /// Jobs that the network thread has not taken yet.
    pub jobs: Mutex<Vec<Task>>,
    /// Wakes the network thread for the first of them.
    pub arrived: Notify,
    /// The threads whose answers have come, in line for the GIL.
    pub handoff: HandoffQueue,
    pub descriptors: Descriptors,
}

static RUNTIME: AtomicPtr<Runtime> = AtomicPtr::new(std::ptr::null_mut());

/// Returns the runtime of this process, if one was started and not given up.
pub(super) fn current() -> Option<&'static Runtime> {
    let current = RUNTIME.load(Ordering::Acquire);
    // SAFETY: every pointer stored comes from `Box::into_raw` in `install` and is never freed.
    unsafe { current.as_ref() }
}

/// Makes `fresh` the runtime of this process, unless another thread was first.
///
/// # Errors
///
/// The other thread's runtime; `fresh` is dropped.
pub(super) fn install(fresh: Box<Runtime>) -> Result<&'static Runtime, &'static Runtime> {
    let fresh = Box::into_raw(fresh);
    match RUNTIME.compare_exchange(std::ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: just made, and never freed.
        Ok(_) => Ok(unsafe { &*fresh }),
        // SAFETY: another thread was first; its runtime is never freed, and ours was never shared.
        Err(theirs) => unsafe {
            drop(Box::from_raw(fresh));
            Err(&*theirs)
        },
    }
}

/// Forgets a runtime whose descriptors are gone, and begins a new epoch: to drop what was made for it would close whatever
/// the numbers of its sockets stand for now.
pub(super) fn give_up(lost: &'static Runtime) {
    let lost = std::ptr::from_ref(lost).cast_mut();
    let swapped = RUNTIME.compare_exchange(lost, std::ptr::null_mut(), Ordering::AcqRel, Ordering::Acquire);
    if swapped.is_ok() {
        fork::advance_epoch();
    }
}

/// Returns true if a call that was begun in `epoch` can still be answered: neither was there a fork, nor have the
/// descriptors of the network thread been closed meanwhile.
pub(crate) fn is_alive(epoch: u64) -> bool {
    if let Some(runtime) = current()
        && !runtime.descriptors.are_open()
    {
        give_up(runtime);
    }
    epoch == fork_epoch()
}

/// Passes the turn of this thread, if it has it, to the next thread in line. To be called by a thread that is about to wait
/// and does not have the GIL any more.
pub(crate) fn pass_turn() {
    let turn = handoff::take_turn();
    // Without a runtime there is no line: the thread is in the child of a fork, or the line was given up.
    if turn > 0
        && let Some(runtime) = current()
    {
        runtime.handoff.pass(turn);
    }
}

/// Registers the handlers around `fork`. To be called once, at import.
pub(crate) fn watch_forks() {
    #[cfg(unix)]
    {
        extern "C" fn before() {
            fork::begin_fork();
        }
        extern "C" fn in_parent() {
            fork::end_fork_in_parent();
        }
        extern "C" fn in_child() {
            RUNTIME.store(std::ptr::null_mut(), Ordering::Relaxed);
            fork::advance_epoch();
            fork::end_fork_in_child();
            super::exit::forget_others();
        }
        // SAFETY: the handlers use atomics, the clock and sleep, all of which are allowed around a fork; they live for
        // ever, since extension modules are never unloaded.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    }
}
