//! The one thread that does the network: a tokio runtime that Python code never runs on.
//!
//! It never takes the GIL on the hot path, it is started by the first call, and it is left running at exit: nothing it
//! holds needs to be taken down. When a program closes all descriptors under it, as daemons do when they begin, it is given
//! up and the next call starts another. After a fork the child has the memory of it and not the thread, so the child forgets
//! it and starts its own. A fork waits until the thread is at rest, so that nothing in the child's memory is half done:
//! no lock held, no value of a library half made.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use tokio::sync::Notify;

use super::handoff::{self, HandoffQueue};
use super::job::Task;

/// Where jobs are handed to the thread, and how threads take turns in going on with their answers.
struct Runtime {
    jobs: Mutex<Vec<Task>>,
    arrived: Notify,
    handoff: HandoffQueue,
    descriptors: Descriptors,
}

/// What whoever waits is told.
pub(super) const LOST: &str = "the program has closed the descriptors of its connections under them (os.closerange?): calls \
                               that were under way are lost, and later ones open connections anew";

static RUNTIME: AtomicPtr<Runtime> = AtomicPtr::new(std::ptr::null_mut());
static FORK_EPOCH: AtomicU64 = AtomicU64::new(0);

/// How many forks lie between this process and the one that imported the package, and how often it lost its descriptors:
/// what was made under another number belongs to a parent, or has descriptors that may be somebody else's by now. It must not
/// be touched, nor dropped.
pub(super) fn fork_epoch() -> u64 {
    FORK_EPOCH.load(Ordering::Relaxed)
}

/// To be called once, at import.
pub(super) fn watch_forks() {
    #[cfg(unix)]
    {
        extern "C" fn before() {
            fork_guard::begin_fork();
        }
        extern "C" fn in_parent() {
            fork_guard::end_fork_in_parent();
        }
        extern "C" fn in_child() {
            RUNTIME.store(std::ptr::null_mut(), Ordering::Relaxed);
            FORK_EPOCH.fetch_add(1, Ordering::Relaxed);
            fork_guard::end_fork_in_child();
            exit::forget_others();
        }
        // SAFETY: the handlers use atomics, the clock and sleep, all of which are allowed around a fork; they live for
        // ever, since extension modules are never unloaded.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    }
}

/// Keeps forks and the network thread's work apart: each says that it is about to, and then looks at the other.
mod fork_guard {
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

/// Why a job was not taken.
pub(super) enum Refused {
    /// The thread's descriptors have been closed: what the job was made with is of no use any more.
    Lost(Task),
    /// There is no thread, and none can be started: the process has used up its descriptors, memory or threads.
    Unstarted(std::io::Error),
}

/// Hands a job to the thread. A burst of jobs wakes it once, and only if it sleeps.
///
/// # Errors
///
/// The job is not begun.
pub(super) fn spawn(job: Task) -> Result<(), Refused> {
    let runtime = runtime().map_err(Refused::Unstarted)?;
    let mut jobs = runtime.jobs.lock().unwrap_or_else(PoisonError::into_inner);
    jobs.push(job);
    if jobs.len() > 1 {
        return Ok(());
    }
    if !runtime.descriptors.are_there() {
        let job = jobs.pop().expect("just pushed");
        drop(jobs);
        give_up(runtime);
        return Err(Refused::Lost(job));
    }
    drop(jobs);
    runtime.arrived.notify_one();
    Ok(())
}

/// Whether a call that was begun under the generation `made` may still be answered. It may not when the descriptors of the
/// network thread have been closed meanwhile.
pub(super) fn is_alive(made: u64) -> bool {
    let current = RUNTIME.load(Ordering::Acquire);
    // SAFETY: every pointer stored comes from `Box::into_raw` below and is never freed.
    if let Some(runtime) = unsafe { current.as_ref() }
        && !runtime.descriptors.are_there()
    {
        give_up(runtime);
    }
    made == fork_epoch()
}

/// Forgets a runtime whose descriptors are gone, with all that was made for it: to drop its sockets would close what their
/// numbers stand for now.
fn give_up(lost: &'static Runtime) {
    let lost = std::ptr::from_ref(lost).cast_mut();
    let swapped = RUNTIME.compare_exchange(lost, std::ptr::null_mut(), Ordering::AcqRel, Ordering::Acquire);
    if swapped.is_ok() {
        FORK_EPOCH.fetch_add(1, Ordering::Relaxed);
    }
}

/// A descriptor that stands for all of the runtime's: when `os.closerange` or a daemon's start has closed it, so it has the
/// others. To look costs a system call, made when the thread has to be woken, which costs another.
struct Descriptors {
    #[cfg(unix)]
    sentinel: Option<(std::mem::ManuallyDrop<std::fs::File>, (u64, u64))>,
}

#[cfg(unix)]
impl Descriptors {
    /// A socket, since each has an inode of its own: another file under the same number is told apart.
    fn open() -> Self {
        let socket = std::os::unix::net::UnixDatagram::unbound().map(std::os::fd::OwnedFd::from);
        let file = socket.map(std::fs::File::from).ok();
        let sentinel = file.and_then(|file| Some((Self::inode(&file)?, file)));
        Self { sentinel: sentinel.map(|(inode, file)| (std::mem::ManuallyDrop::new(file), inode)) }
    }

    fn inode(file: &std::fs::File) -> Option<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    fn are_there(&self) -> bool {
        self.sentinel.as_ref().is_none_or(|(file, inode)| Self::inode(file) == Some(*inode))
    }
}

#[cfg(not(unix))]
impl Descriptors {
    fn open() -> Self {
        Self {}
    }

    fn are_there(&self) -> bool {
        true
    }
}

/// The turns of the threads that wait for answers.
pub(super) fn handoff() -> &'static HandoffQueue {
    // Where there is no thread any more and none can be started, a turn is of nobody's concern.
    runtime().map_or_else(|_| &*Box::leak(Box::default()), |runtime| &runtime.handoff)
}

thread_local! {
    /// What the network thread does at the end of its turn; `None` on all other threads.
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

thread_local! {
    /// On a network thread, what it runs.
    static OWN: Cell<Option<&'static Runtime>> = const { Cell::new(None) };
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

fn runtime() -> std::io::Result<&'static Runtime> {
    let known = RUNTIME.load(Ordering::Acquire);
    // SAFETY: every pointer stored comes from `Box::into_raw` below and is never freed.
    match unsafe { known.as_ref() } {
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
        .max_io_events_per_tick(AT_ONCE)
        .event_interval(POLLS)
        .on_thread_park(fork_guard::begin)
        .on_thread_unpark(|| {
            fork_guard::end();
            check_descriptors();
        })
        .build()?;
    let fresh = Runtime {
        jobs: Mutex::default(),
        arrived: Notify::new(),
        handoff: HandoffQueue::default(),
        descriptors: Descriptors::open(),
    };
    let fresh = Box::into_raw(Box::new(fresh));
    match RUNTIME.compare_exchange(std::ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            // SAFETY: just made, and never freed.
            let runtime: &'static Runtime = unsafe { &*fresh };
            let thread = std::thread::Builder::new().name("ritellm".into()).spawn(move || run(runtime, tokio));
            match thread {
                Ok(_) => Ok(runtime),
                Err(error) => {
                    give_up(runtime);
                    Err(error)
                }
            }
        }
        // SAFETY: another thread was first; its runtime is never freed, and ours was seen by nobody.
        Err(theirs) => unsafe {
            drop(Box::from_raw(fresh));
            Ok(&*theirs)
        },
    }
}

/// So many sockets that are ready are dealt with before others are looked for. Of more, the first answers would have left
/// the caches when their loop gets to them.
const AT_ONCE: usize = 64;
/// … or so many polls, of new calls above all: to look costs as much as a poll.
const POLLS: u32 = 1024;

fn run(runtime: &'static Runtime, tokio: tokio::runtime::Runtime) {
    // Signals are for the interpreter's threads.
    #[cfg(unix)]
    // SAFETY: plain libc calls on a set that lives on this stack.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
    }
    OWN.set(Some(runtime));
    fork_guard::end();
    let serve = std::panic::AssertUnwindSafe(|| serve(runtime, &tokio));
    // Tasks catch their own panics: one that comes here is tokio's, whose descriptors are gone.
    drop(std::panic::catch_unwind(serve));
    std::mem::forget(tokio);
    fork_guard::begin();
    give_up(runtime);
}

/// Ends the network thread before timers run that would close sockets whose numbers may be somebody else's by now.
///
/// A thread that parks often learns of it from its poller. One that has slept may have been woken by a timer alone, and
/// looks for itself: that costs a system call.
///
/// # Panics
/// The descriptors are gone. `run` catches it.
fn check_descriptors() {
    const SLEPT: Duration = Duration::from_millis(50);
    thread_local! {
        static WOKEN: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    let now = Instant::now();
    let has_slept = WOKEN.replace(Some(now)).is_none_or(|before| now.duration_since(before) > SLEPT);
    let are_there = || OWN.get().is_none_or(|own| own.descriptors.are_there());
    assert!(!has_slept || are_there(), "{LOST}");
}

/// Keeps quiet about what tokio says when its descriptors are gone: whoever makes or waits for a call is told.
pub(super) fn watch_panics() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_lost = OWN.try_with(|own| own.get().is_some_and(|own| !own.descriptors.are_there())).unwrap_or(false);
        if !is_lost {
            others(panic);
        }
    }));
}

fn serve(runtime: &'static Runtime, tokio: &tokio::runtime::Runtime) {
    tokio.block_on(async {
        tokio::spawn(end_turns());
        let mut jobs = Vec::new();
        loop {
            std::mem::swap(&mut jobs, &mut runtime.jobs.lock().unwrap_or_else(PoisonError::into_inner));
            if jobs.is_empty() {
                runtime.arrived.notified().await;
            }
            runtime.handoff.begun(jobs.len());
            for job in jobs.drain(..) {
                job.begin();
            }
        }
    });
}

/// Threads at exit.
///
/// A thread that wants the GIL while the interpreter shuts down is ended where it stands, by an unwinding that Rust takes
/// for a reason to abort the process (CPython before 3.14). So the daemon threads that may be about to ask for it from
/// below our code are waited for, for a while, and from then on those that come to such a place stay there, as they would
/// have anyway.
mod exit {
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicUsize;
    use std::thread::ThreadId;

    use super::{AtomicBool, Duration, Instant, Ordering, PyAnyMethods, Python, fork_epoch};

    static EXITING: AtomicBool = AtomicBool::new(false);
    static EXITING_THREAD: OnceLock<ThreadId> = OnceLock::new();
    /// How many threads are where they must not be ended.
    static GUARDED: AtomicUsize = AtomicUsize::new(0);

    /// What a thread does there may take as long as it likes; the program's exit may not.
    const PATIENCE: Duration = Duration::from_secs(1);
    const LOOK: Duration = Duration::from_micros(50);

    /// While it lives, its thread may ask for the GIL from below our code.
    pub struct FinalizeGuard {
        /// A child of a fork begins to count anew.
        fork_epoch: u64,
    }

    impl FinalizeGuard {
        /// With the GIL.
        pub fn enter(py: Python<'_>) -> Self {
            if EXITING.load(Ordering::SeqCst) && !is_waited_for(py) {
                py.detach(|| stay());
            }
            Self::count()
        }

        /// Without it. `exempt`: the exit waits for this thread anyway.
        pub fn enter_detached(exempt: bool) -> Self {
            let guard = Self::count();
            if !EXITING.load(Ordering::SeqCst) || exempt {
                return guard;
            }
            drop(guard);
            stay()
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

    fn stay() -> ! {
        loop {
            std::thread::park();
        }
    }

    /// Whether this thread may go on though the interpreter is about to shut down: it is the one that does that, or one
    /// that this one has started since and waits for.
    pub fn is_exempt(py: Python<'_>) -> bool {
        EXITING.load(Ordering::SeqCst) && is_waited_for(py)
    }

    fn is_waited_for(py: Python<'_>) -> bool {
        if EXITING_THREAD.get() == Some(&std::thread::current().id()) {
            return true;
        }
        let thread = py.import("threading").and_then(|threading| threading.call_method0("current_thread"));
        thread.and_then(|thread| thread.getattr("daemon")?.extract()).is_ok_and(|is_daemon: bool| !is_daemon)
    }

    pub fn begin(py: Python<'_>) {
        EXITING_THREAD.get_or_init(|| std::thread::current().id());
        EXITING.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        while GUARDED.load(Ordering::SeqCst) > 0 && begun.elapsed() < PATIENCE {
            py.detach(|| std::thread::sleep(LOOK));
        }
    }

    /// The child of a fork has one thread, and that one is not about to be ended.
    pub fn forget_others() {
        GUARDED.store(0, Ordering::SeqCst);
    }
}

pub(super) use exit::FinalizeGuard;

/// To be called at exit, after whatever the program wanted to do then.
pub(super) fn begin_exit(py: Python<'_>) {
    exit::begin(py);
}

/// Waits without the GIL.
pub(super) fn wait<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    let exempt = exit::is_exempt(py);
    let (done, _guard) = py.detach(|| {
        handoff::pass();
        (work(), FinalizeGuard::enter_detached(exempt))
    });
    done
}

/// Lets other threads have the GIL for a moment.
pub(super) fn give_way(py: Python<'_>) {
    let exempt = exit::is_exempt(py);
    drop(py.detach(|| FinalizeGuard::enter_detached(exempt)));
}

/// How often this thread is to look for Ctrl-C while it waits: only the main thread is told of signals. The others look
/// whether there is still somebody to wait for.
pub(super) fn signals() -> Duration {
    const LOOK: Duration = Duration::from_millis(100);
    const SELDOM: Duration = Duration::from_secs(1);
    thread_local! {
        /// In the child of a fork, another thread may be the main one.
        static IS_MAIN: Cell<Option<(u64, bool)>> = const { Cell::new(None) };
    }
    let is_main = match IS_MAIN.get() {
        Some((made, is_main)) if made == fork_epoch() => is_main,
        _ => {
            IS_MAIN.set(Some((fork_epoch(), is_main_thread())));
            is_main_thread()
        }
    };
    if is_main { LOOK } else { SELDOM }
}

/// Whether this is the process's main thread, as the system knows it. Python's `threading` would say so too, were it not for
/// gevent, under which it knows greenlets only.
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

/// Something that belongs to this process and is made anew after a fork.
pub(super) struct PerProcess<T> {
    slot: Mutex<Slot<T>>,
}

/// What a process has of it.
enum Slot<T> {
    Empty,
    Open(u64, Arc<T>),
    /// No other is made. What there was last, if there was one.
    Closed(Option<(u64, Arc<T>)>),
}

impl<T> Slot<T> {
    /// What this process has, open or closed.
    fn own(&self) -> Option<&Arc<T>> {
        match self {
            Self::Open(made, value) | Self::Closed(Some((made, value))) if *made == fork_epoch() => Some(value),
            _ => None,
        }
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let slot = self.slot.get_mut().unwrap_or_else(PoisonError::into_inner);
        if slot.own().is_none() {
            std::mem::forget(std::mem::replace(slot, Slot::Empty));
        }
    }
}

impl<T> PerProcess<T> {
    pub fn new() -> Self {
        Self { slot: Mutex::new(Slot::Empty) }
    }

    /// This process's own, made by `make` if there is none yet; `None`: it is closed.
    pub fn get(&self, make: impl FnOnce() -> T) -> Option<Arc<T>> {
        let mut slot = self.lock();
        if let Slot::Open(made, value) = &*slot
            && *made == fork_epoch()
        {
            return Some(value.clone());
        }
        if matches!(*slot, Slot::Closed(_)) {
            return None;
        }
        let value = Arc::new(make());
        // A parent's must not even be dropped: see `fork_epoch`.
        std::mem::forget(std::mem::replace(&mut *slot, Slot::Open(fork_epoch(), value.clone())));
        Some(value)
    }

    /// This process's own, if there is one or was when it was closed.
    pub fn known(&self) -> Option<Arc<T>> {
        self.lock().own().cloned()
    }

    pub fn is_closed(&self) -> bool {
        matches!(*self.lock(), Slot::Closed(_))
    }

    /// From now on there is none, in the children of a fork either; what this process had.
    pub fn close(&self) -> Option<Arc<T>> {
        let mut slot = self.lock();
        let last = slot.own().cloned();
        let closed = Slot::Closed(last.clone().map(|value| (fork_epoch(), value)));
        let before = std::mem::replace(&mut *slot, closed);
        if last.is_none() {
            // A parent's must not even be dropped.
            std::mem::forget(before);
        }
        last
    }

    /// Has this process begin with another, made of what it had; that.
    pub fn renew(&self, make: impl FnOnce(&T) -> T) -> Option<Arc<T>> {
        let mut slot = self.lock();
        let last = slot.own().cloned()?;
        *slot = Slot::Open(fork_epoch(), Arc::new(make(&last)));
        Some(last)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
