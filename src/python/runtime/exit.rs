//! Threads at the exit of the interpreter.
//!
//! A thread that asks for the GIL while the interpreter shuts down is ended where it stands, by an unwinding that Rust takes
//! for a reason to abort the process (CPython before 3.14). Therefore the exit waits, for a limited time, for the daemon
//! threads that may be about to ask for the GIL from below our code. Threads that come to such a place later are parked
//! there, which is how they would have ended anyway.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::fork::fork_epoch;

static EXITING: AtomicBool = AtomicBool::new(false);
static EXITING_THREAD: OnceLock<ThreadId> = OnceLock::new();
/// Number of live [`FinalizeGuard`]s: threads that must not be ended.
static GUARDED: AtomicUsize = AtomicUsize::new(0);

/// Longest time that the exit waits for guarded threads. What such a thread does may take as long as it likes; the exit of
/// the program may not.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two looks at the count of guarded threads.
const LOOK: Duration = Duration::from_micros(50);

/// Guard of a section in which its thread may ask for the GIL from below our code.
pub(crate) struct FinalizeGuard {
    /// Epoch in which the guard was counted: the child of a fork counts anew.
    fork_epoch: u64,
}

impl FinalizeGuard {
    /// Enters the section on an attached thread. Parks the thread for ever if the interpreter is exiting and does not wait
    /// for it.
    pub fn enter(py: Python<'_>) -> Self {
        if EXITING.load(Ordering::SeqCst) && !is_waited_for(py) {
            py.detach(|| park_forever());
        }
        Self::count()
    }

    /// Enters the section on a detached thread. Parks the thread for ever if the interpreter is exiting, unless `exempt`
    /// says that the exit waits for this thread ([`is_exempt`]).
    pub fn enter_detached(exempt: bool) -> Self {
        let guard = Self::count();
        if !EXITING.load(Ordering::SeqCst) || exempt {
            return guard;
        }
        drop(guard);
        park_forever()
    }

    fn count() -> Self {
        GUARDED.fetch_add(1, Ordering::SeqCst);
        Self { fork_epoch: fork_epoch() }
    }
}

impl Drop for FinalizeGuard {
    fn drop(&mut self) {
        if self.fork_epoch == fork_epoch() {
            GUARDED.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn park_forever() -> ! {
    loop {
        std::thread::park();
    }
}

/// Returns true if this thread may go on although the interpreter is about to shut down: it is the exiting thread, or one
/// that the exiting thread has started since and waits for.
pub(crate) fn is_exempt(py: Python<'_>) -> bool {
    EXITING.load(Ordering::SeqCst) && is_waited_for(py)
}

fn is_waited_for(py: Python<'_>) -> bool {
    if EXITING_THREAD.get() == Some(&std::thread::current().id()) {
        return true;
    }
    let thread = py.import("threading").and_then(|threading| threading.call_method0("current_thread"));
    thread.and_then(|thread| thread.getattr("daemon")?.extract()).is_ok_and(|is_daemon: bool| !is_daemon)
}

/// Begins the exit, and waits for guarded threads. To be called at exit, after whatever the program wanted to do then.
pub(crate) fn begin_exit(py: Python<'_>) {
    EXITING_THREAD.get_or_init(|| std::thread::current().id());
    EXITING.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    while GUARDED.load(Ordering::SeqCst) > 0 && begun.elapsed() < PATIENCE {
        py.detach(|| std::thread::sleep(LOOK));
    }
}

/// Resets the count in the child of a fork, whose only thread is not about to be ended.
pub(super) fn forget_others() {
    GUARDED.store(0, Ordering::SeqCst);
}

/// Runs `work`, which may wait, without the GIL. The thread takes the GIL again only if the interpreter is not exiting, or
/// waits for it.
pub(crate) fn run_detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    let exempt = is_exempt(py);
    let (done, _guard) = py.detach(|| (work(), FinalizeGuard::enter_detached(exempt)));
    done
}

/// Releases the GIL for a moment, so that other threads can take it.
pub(crate) fn yield_gil(py: Python<'_>) {
    run_detached(py, || ());
}
