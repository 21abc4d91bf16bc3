//! The one thread that does the network: a tokio runtime on which Python code never runs.
//!
//! It never takes the GIL on the hot path, is started by the first call, and is left running at exit: nothing it holds needs
//! to be taken down.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::current::{self, Runtime, give_up};
use super::descriptors::{Descriptors, LOST};
use super::{end_of_turn, fork};
use crate::python::call::perform;
use crate::python::call::task::Task;
use crate::python::sync::handoff::HandoffQueue;

/// The reason why a job was not taken.
pub(crate) enum Refused {
    /// The descriptors of the thread have been closed. What the job was made with is of no use any more.
    Lost(Task),
    /// There is no thread, and none can be started: the process has used up its descriptors, memory or threads.
    Unstarted(Task, std::io::Error),
}

/// Hands a job to the network thread. A burst of jobs wakes the thread once, and only if it sleeps.
///
/// # Errors
///
/// [`Refused`] if the job is not begun.
pub(crate) fn spawn(job: Task) -> Result<(), Refused> {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return Err(Refused::Unstarted(job, error)),
    };
    let mut jobs = runtime.jobs.lock().unwrap_or_else(PoisonError::into_inner);
    jobs.push(job);
    if jobs.len() > 1 {
        return Ok(());
    }
    if !runtime.descriptors.are_open() {
        let job = jobs.pop().expect("just pushed");
        drop(jobs);
        give_up(runtime);
        return Err(Refused::Lost(job));
    }
    drop(jobs);
    runtime.arrived.notify_one();
    Ok(())
}

fn runtime() -> std::io::Result<&'static Runtime> {
    match current::current() {
        Some(runtime) => Ok(runtime),
        None => start(),
    }
}

/// Starts a network thread, unless another thread is first.
///
/// # Errors
///
/// There are no descriptors for it, or no thread. The next call tries again.
#[cold]
fn start() -> std::io::Result<&'static Runtime> {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_io_events_per_tick(EVENTS_PER_TICK)
        .event_interval(POLLS_PER_TICK)
        .on_thread_park(fork::leave_work)
        .on_thread_unpark(|| {
            fork::enter_work();
            check_descriptors();
        })
        .build()?;
    let fresh = Runtime {
        jobs: Mutex::default(),
        arrived: Notify::new(),
        handoff: HandoffQueue::default(),
        descriptors: Descriptors::open(),
    };
    let runtime = match current::install(Box::new(fresh)) {
        Ok(runtime) => runtime,
        Err(theirs) => return Ok(theirs),
    };
    let thread = std::thread::Builder::new().name("ritellm".into()).spawn(move || run(runtime, tokio));
    match thread {
        Ok(_) => Ok(runtime),
        Err(error) => {
            give_up(runtime);
            Err(error)
        }
    }
}

/// Number of ready sockets that are handled before tokio looks for more. With more of them, the first answers would have
/// left the caches when their event loop gets to them.
const EVENTS_PER_TICK: usize = 64;
/// Number of polls, of new calls above all, between two looks for ready sockets: a look costs as much as a poll.
const POLLS_PER_TICK: u32 = 1024;

thread_local! {
    /// The runtime that this thread runs, on a network thread.
    static OWN: Cell<Option<&'static Runtime>> = const { Cell::new(None) };
}

/// Leaves signals to the interpreter's threads.
pub(crate) fn block_signals() {
    #[cfg(unix)]
    // SAFETY: plain libc calls on a set that lives on this stack.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
    }
}

fn run(runtime: &'static Runtime, tokio: tokio::runtime::Runtime) {
    block_signals();
    OWN.set(Some(runtime));
    fork::enter_work();
    let serve = std::panic::AssertUnwindSafe(|| serve(runtime, &tokio));
    // Tasks catch their own panics: one that arrives here is tokio's, whose descriptors are gone.
    drop(std::panic::catch_unwind(serve));
    std::mem::forget(tokio);
    fork::leave_work();
    give_up(runtime);
}

fn serve(runtime: &'static Runtime, tokio: &tokio::runtime::Runtime) {
    tokio.block_on(async {
        tokio::spawn(end_of_turn::run_actions());
        let mut jobs = Vec::new();
        loop {
            std::mem::swap(&mut jobs, &mut runtime.jobs.lock().unwrap_or_else(PoisonError::into_inner));
            if jobs.is_empty() {
                runtime.arrived.notified().await;
            }
            runtime.handoff.begun(jobs.len());
            for job in jobs.drain(..) {
                perform::begin(job, &runtime.handoff);
            }
        }
    });
}

/// Ends the network thread before timers run that would close sockets whose numbers may be somebody else's by now.
///
/// A thread that parks often gets an error from its poller. One that has slept may have been woken by a timer alone, and
/// therefore looks at the sentinel, which costs a system call.
///
/// # Panics
///
/// The descriptors are gone. `run` catches the panic.
fn check_descriptors() {
    const SLEPT: Duration = Duration::from_millis(50);
    thread_local! {
        static WOKEN: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    let now = Instant::now();
    let has_slept = WOKEN.replace(Some(now)).is_none_or(|before| now.duration_since(before) > SLEPT);
    let are_open = || OWN.get().is_none_or(|own| own.descriptors.are_open());
    assert!(!has_slept || are_open(), "{LOST}");
}

/// Installs a panic hook that suppresses the messages of a network thread whose descriptors are gone: whoever makes or waits
/// for a call gets an error that says so. To be called once, at import.
pub(crate) fn watch_panics() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_lost = OWN.try_with(|own| own.get().is_some_and(|own| !own.descriptors.are_open())).unwrap_or(false);
        if !is_lost {
            others(panic);
        }
    }));
}
