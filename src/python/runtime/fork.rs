//! The fork epoch, and a flag protocol that keeps forks and the network thread's work apart.
//!
//! After a fork the child has the parent's memory and not its threads. A fork waits until the network thread is at rest, so
//! that nothing in the child's memory is half done: no lock held, no value of a library half made.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

static FORK_EPOCH: AtomicU64 = AtomicU64::new(0);
static FORKS: AtomicU64 = AtomicU64::new(0);

/// Returns the number of forks between this process and the one that imported the package, plus the number of times that
/// the network thread lost its descriptors.
///
/// A value that was made in another epoch belongs to a parent process, or holds descriptors whose numbers may stand for
/// other files by now. It must be neither used nor dropped.
pub(crate) fn fork_epoch() -> u64 {
    FORK_EPOCH.load(Ordering::Relaxed)
}

/// Returns the number of forks between this process and the one that imported the package. Unlike [`fork_epoch`], it tells
/// processes apart and nothing else.
pub(crate) fn fork_count() -> u64 {
    FORKS.load(Ordering::Relaxed)
}

/// Begins a new epoch.
pub(super) fn advance_epoch() {
    FORK_EPOCH.fetch_add(1, Ordering::Relaxed);
}

/// True while the network thread works rather than waits.
static WORKING: AtomicBool = AtomicBool::new(false);
/// Number of the threads of jobs that work rather than wait.
static JOBS_WORKING: AtomicU64 = AtomicU64::new(0);
/// Number of threads that are about to fork.
static FORKING: AtomicU64 = AtomicU64::new(0);

/// Longest time that a fork waits. The network thread may itself be waiting for the GIL, which the forking thread holds,
/// when it wakes a loop that cannot watch a socket.
const PATIENCE: Duration = Duration::from_millis(100);
/// Pause between two looks at the other side's flag.
const LOOK: Duration = Duration::from_micros(20);

/// Announces a fork and waits until the network thread is at rest.
///
/// With [`enter_work`] this is Dekker's protocol: each side sets its own flag, and then reads the other's.
pub(super) fn begin_fork() {
    FORKING.fetch_add(1, Ordering::SeqCst);
    let begun = Instant::now();
    let is_working = || WORKING.load(Ordering::SeqCst) || JOBS_WORKING.load(Ordering::SeqCst) > 0;
    while is_working() && begun.elapsed() < PATIENCE {
        std::thread::sleep(LOOK);
    }
}

/// Ends the announcement, in the parent process.
pub(super) fn end_fork_in_parent() {
    FORKING.fetch_sub(1, Ordering::SeqCst);
}

/// Counts the fork and resets both flags in the child process, whose only thread is the calling one.
pub(super) fn end_fork_in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    FORKING.store(0, Ordering::SeqCst);
    WORKING.store(false, Ordering::SeqCst);
    JOBS_WORKING.store(0, Ordering::SeqCst);
}

/// Marks the thread of a job as working, as soon as no fork is under way. Its calls share quotas with those of others, whose
/// locks a child must find open.
pub(crate) fn enter_job_work() {
    loop {
        JOBS_WORKING.fetch_add(1, Ordering::SeqCst);
        if FORKING.load(Ordering::SeqCst) == 0 {
            return;
        }
        leave_job_work();
        std::thread::sleep(LOOK);
    }
}

/// Marks the thread of a job as waiting.
pub(crate) fn leave_job_work() {
    // A child begins at 0.
    let _ = JOBS_WORKING.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |working| working.checked_sub(1));
}

/// Marks the network thread as working, as soon as no fork is under way.
pub(super) fn enter_work() {
    loop {
        WORKING.store(true, Ordering::SeqCst);
        if FORKING.load(Ordering::SeqCst) == 0 {
            return;
        }
        WORKING.store(false, Ordering::SeqCst);
        std::thread::sleep(LOOK);
    }
}

/// Marks the network thread as waiting.
pub(super) fn leave_work() {
    WORKING.store(false, Ordering::SeqCst);
}
