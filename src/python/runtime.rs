//! The one thread that does the network: a tokio runtime that Python code never runs on.
//!
//! It never takes the GIL on the hot path, it is started by the first call, and it is left running at exit: nothing it
//! holds needs to be taken down. After a fork the child has the memory of it and not the thread, so the child forgets
//! it and starts its own. A fork waits until the thread is at rest, so that nothing in the child's memory is half done:
//! no lock held, no value of a library half made.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use tokio::sync::Notify;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where jobs are handed to the thread.
struct Runtime {
    jobs: Mutex<Vec<Job>>,
    arrived: Notify,
}

static RUNTIME: AtomicPtr<Runtime> = AtomicPtr::new(std::ptr::null_mut());
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// How many forks lie between this process and the one that imported the package: what was made under another number
/// belongs to a parent and must not be touched, nor dropped, since its sockets and locks are shared with that parent.
pub(super) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// To be called once, at import.
pub(super) fn watch_forks() {
    #[cfg(unix)]
    {
        extern "C" fn before() {
            rest::begin_fork();
        }
        extern "C" fn in_parent() {
            rest::end_fork_in_parent();
        }
        extern "C" fn in_child() {
            RUNTIME.store(std::ptr::null_mut(), Ordering::Relaxed);
            GENERATION.fetch_add(1, Ordering::Relaxed);
            rest::end_fork_in_child();
        }
        // SAFETY: the handlers use atomics, the clock and sleep, all of which are allowed around a fork; they live for
        // ever, since extension modules are never unloaded.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    }
}

/// Keeps forks and the network thread's work apart: each says that it is about to, and then looks at the other.
mod rest {
    use super::{AtomicBool, AtomicU64, Duration, Instant, Ordering};

    static WORKING: AtomicBool = AtomicBool::new(false);
    /// How many threads are about to fork.
    static FORKING: AtomicU64 = AtomicU64::new(0);

    /// How long a fork waits at most: the thread may itself be waiting for the GIL, which whoever forks holds, when it
    /// wakes a loop that cannot watch a socket.
    const PATIENCE: Duration = Duration::from_millis(100);
    const LOOK: Duration = Duration::from_micros(20);

    pub fn begin_fork() {
        FORKING.fetch_add(1, Ordering::SeqCst);
        let begun = Instant::now();
        while WORKING.load(Ordering::SeqCst) && begun.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
        }
    }

    pub fn end_fork_in_parent() {
        FORKING.fetch_sub(1, Ordering::SeqCst);
    }

    /// The child has one thread, and that one is here.
    pub fn end_fork_in_child() {
        FORKING.store(0, Ordering::SeqCst);
        WORKING.store(false, Ordering::SeqCst);
    }

    /// The network thread is about to work.
    pub fn end() {
        loop {
            WORKING.store(true, Ordering::SeqCst);
            if FORKING.load(Ordering::SeqCst) == 0 {
                return;
            }
            WORKING.store(false, Ordering::SeqCst);
            std::thread::sleep(LOOK);
        }
    }

    /// The network thread is about to wait.
    pub fn begin() {
        WORKING.store(false, Ordering::SeqCst);
    }
}

/// Runs a job on the thread. A burst of jobs wakes it once, and only if it sleeps.
pub(super) fn spawn(job: impl Future<Output = ()> + Send + 'static) {
    let runtime = runtime();
    let mut jobs = runtime.jobs.lock().unwrap_or_else(PoisonError::into_inner);
    jobs.push(Box::pin(job));
    let first = jobs.len() == 1;
    drop(jobs);
    if first {
        runtime.arrived.notify_one();
    }
}

thread_local! {
    /// What the network thread does at the end of its turn; `None` on all other threads.
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

struct Last {
    actions: Vec<Box<dyn FnOnce()>>,
    wanted: Arc<Notify>,
}

/// Does something when all that the network thread found ready has had its turn, so that a burst of answers wakes their
/// loop once; on another thread, at once.
pub(super) fn at_end_of_turn(action: impl FnOnce() + 'static) {
    let is_network_thread = LAST.with_borrow(Option::is_some);
    if !is_network_thread {
        return action();
    }
    LAST.with_borrow_mut(|last| {
        let Some(last) = last else { return };
        last.actions.push(Box::new(action));
        if last.actions.len() == 1 {
            last.wanted.notify_one();
        }
    });
}

/// Runs as a task: whatever is ready at the same time stands before it in the scheduler's queue.
async fn end_turns() {
    let wanted = Arc::new(Notify::new());
    LAST.set(Some(Last { actions: Vec::new(), wanted: wanted.clone() }));
    loop {
        wanted.notified().await;
        let actions = LAST.with_borrow_mut(|last| last.as_mut().map(|last| std::mem::take(&mut last.actions)));
        actions.into_iter().flatten().for_each(|action| action());
    }
}

fn runtime() -> &'static Runtime {
    let known = RUNTIME.load(Ordering::Acquire);
    // SAFETY: every pointer stored comes from `Box::into_raw` below and is never freed.
    if let Some(runtime) = unsafe { known.as_ref() } {
        return runtime;
    }
    let fresh = Box::into_raw(Box::new(Runtime { jobs: Mutex::default(), arrived: Notify::new() }));
    match RUNTIME.compare_exchange(std::ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            // SAFETY: just made, and never freed.
            let runtime: &'static Runtime = unsafe { &*fresh };
            std::thread::Builder::new()
                .name("ritellm".into())
                .spawn(move || run(runtime))
                .expect("a thread can be started");
            runtime
        }
        // SAFETY: another thread was first; its runtime is never freed, and ours was seen by nobody.
        Err(theirs) => unsafe {
            drop(Box::from_raw(fresh));
            &*theirs
        },
    }
}

fn run(runtime: &'static Runtime) {
    // Signals are for the interpreter's threads.
    #[cfg(unix)]
    // SAFETY: plain libc calls on a set that lives on this stack.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
    }
    rest::end();
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(rest::begin)
        .on_thread_unpark(rest::end)
        .build()
        .expect("a tokio runtime can be built");
    tokio.block_on(async {
        tokio::spawn(end_turns());
        let mut jobs = Vec::new();
        loop {
            std::mem::swap(&mut jobs, &mut runtime.jobs.lock().unwrap_or_else(PoisonError::into_inner));
            if jobs.is_empty() {
                runtime.arrived.notified().await;
            }
            for job in jobs.drain(..) {
                tokio::spawn(job);
            }
        }
    });
}

/// The interpreter is about to shut down, or does so.
static EXITING: AtomicBool = AtomicBool::new(false);

/// To be called at exit, after whatever the program wanted to do then.
pub(super) fn begin_exit() {
    EXITING.store(true, Ordering::Relaxed);
}

/// Waits without the GIL.
///
/// A thread that wants the GIL back while the interpreter shuts down is ended where it stands, by an unwinding that Rust
/// takes for a reason to abort the process (CPython before 3.14). So one that began to wait before stays here instead, as
/// it does after. Whoever begins now is the thread that shuts down.
pub(super) fn wait<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    let may_end = EXITING.load(Ordering::Relaxed);
    py.detach(|| {
        let done = work();
        while EXITING.load(Ordering::Relaxed) && !may_end {
            std::thread::park();
        }
        done
    })
}

/// Something that belongs to this process and is made anew after a fork.
pub(super) struct PerProcess<T> {
    current: Mutex<Option<(u64, Arc<T>)>>,
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let current = self.current.get_mut().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|(generation_made, _)| *generation_made != generation()) {
            std::mem::forget(current.take());
        }
    }
}

impl<T> PerProcess<T> {
    pub fn new() -> Self {
        Self { current: Mutex::new(None) }
    }

    /// This process's own, made by `make` if there is none yet.
    pub fn get(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((generation_made, value)) = &*current
            && *generation_made == generation()
        {
            return value.clone();
        }
        let value = Arc::new(make());
        // A parent's must not even be dropped: see `generation`.
        std::mem::forget(current.replace((generation(), value.clone())));
        value
    }
}
