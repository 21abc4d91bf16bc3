//! tokio → threads: hands results to waiting threads, one thread at a time.
//!
//! Each thread needs the GIL to continue, and a thread that is woken while another has the GIL sleeps a second time. So one
//! thread is woken, and the next one when the first waits again. Should the first do something else for long, the threads in
//! line do not wait for it ([`HandoffQueue::watch`]).

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::python::call::result::CallResult;
use crate::python::gil_cell;

/// Time that the network thread sleeps between two looks at a line. With the system's overhead, a tenth of a millisecond.
const REST: Duration = Duration::from_micros(50);
/// Time after which a woken thread is taken to be busy with something else.
const PATIENCE: Duration = Duration::from_micros(200);

/// Number of threads of the line that are searched for one on the same processor, and the number of times in a row that the
/// first of the line may be passed over for it.
const NEAR: usize = 32;

/// A thread that waits for a result.
pub(crate) struct BlockingWaiter {
    thread: Thread,
    result: Mutex<Option<Box<dyn CallResult>>>,
    /// Number of the thread's turn; 0 until the turn has come.
    turn: AtomicU64,
    /// Processor on which the thread fell asleep.
    processor: i32,
}

thread_local! {
    /// Last turn that this thread got since it waited; 0 if none.
    static TURN: Cell<u64> = const { Cell::new(0) };
}

impl BlockingWaiter {
    /// Makes a waiter for the calling thread.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            thread: std::thread::current(),
            result: Mutex::default(),
            turn: AtomicU64::new(0),
            processor: processor(),
        })
    }

    /// Waits for the result and the turn. Returns `None` after `limit`. To be called without the GIL.
    pub fn wait(&self, limit: Duration) -> Option<Box<dyn CallResult>> {
        let end = Instant::now() + limit;
        loop {
            let turn = self.turn.load(Ordering::Acquire);
            let rest = end.saturating_duration_since(Instant::now());
            if turn > 0 || rest.is_zero() {
                TURN.set(turn);
                return self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
            std::thread::park_timeout(rest);
        }
    }

    fn wake(&self, turn: u64) {
        self.turn.store(turn, Ordering::Release);
        self.thread.unpark();
    }
}

/// Takes the turn that the calling thread has had since it waited last; 0 if none.
pub(crate) fn take_turn() -> u64 {
    TURN.take()
}

/// Returns the processor that this thread runs on, or 0 where the system does not tell.
fn processor() -> i32 {
    #[cfg(target_os = "linux")]
    // SAFETY: it takes nothing and may be called at any time. Measured: docs/performance.md.
    return unsafe { libc::sched_getcpu() };
    #[cfg(not(target_os = "linux"))]
    0
}

/// Queue of the threads whose results have come.
#[derive(Default)]
pub(crate) struct HandoffQueue {
    state: Mutex<State>,
    /// Number of calls begun and results handed over, by which [`HandoffQueue::watch`] sees whether the network thread is busy.
    done: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// Threads whose results have come, but not their turns.
    line: VecDeque<Arc<BlockingWaiter>>,
    /// Number of times in a row that the first of the line was passed over.
    passed_over: usize,
    /// Number of the last turn.
    turn: u64,
    /// Time at which the thread that has the turn was woken; `None` if no thread has it.
    since: Option<Instant>,
    /// True while [`HandoffQueue::watch`] runs.
    watched: bool,
}

impl State {
    /// Begins a turn, and returns its number.
    fn begin(&mut self) -> u64 {
        self.turn += 1;
        self.since = Some(Instant::now());
        self.turn
    }

    /// Takes the next thread out of the line: preferably one that fell asleep on this processor, as long as the first of the
    /// line does not wait too long for that. Here the thread continues as soon as this one waits, whereas waking a thread on
    /// another processor takes several times as long.
    fn next(&mut self) -> Option<Arc<BlockingWaiter>> {
        let here = processor();
        let is_near = |waiter: &Arc<BlockingWaiter>| waiter.processor == here;
        let near = match self.passed_over < NEAR {
            true => self.line.iter().take(NEAR).position(is_near).unwrap_or(0),
            false => 0,
        };
        self.passed_over = if near > 0 { self.passed_over + 1 } else { 0 };
        self.line.remove(near)
    }
}

impl HandoffQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts calls that the network thread has begun.
    pub fn begun(&self, calls: usize) {
        self.done.fetch_add(calls, Ordering::Relaxed);
    }

    /// Hands a result to its thread. To be called on the network thread.
    pub fn push(&'static self, waiter: &Arc<BlockingWaiter>, result: Box<dyn CallResult>) {
        *waiter.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.done.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        let is_free = state.since.is_none_or(|since| since.elapsed() > PATIENCE);
        if is_free || !gil_cell::has_gil() {
            let turn = state.begin();
            drop(state);
            return waiter.wake(turn);
        }
        state.line.push_back(waiter.clone());
        if !std::mem::replace(&mut state.watched, true) {
            tokio::spawn(self.watch());
        }
    }

    /// Passes a turn on to the next thread in line, unless another turn has begun meanwhile.
    pub fn pass(&self, turn: u64) {
        let mut state = self.lock();
        if state.turn != turn {
            return;
        }
        let Some(next) = state.next() else { return state.since = None };
        let turn = state.begin();
        drop(state);
        next.wake(turn);
    }

    /// Polls the network thread's work for as long as there is a line, so that the thread need not be woken: when it finds
    /// nothing to do it sleeps for [`REST`], and then handles in one go what has come in. Wakes all threads of a line that does
    /// not move.
    async fn watch(&'static self) {
        let (mut done, mut turn, mut looked_at) = (0, 0, Instant::now());
        loop {
            if std::mem::replace(&mut done, self.done.load(Ordering::Relaxed)) == done {
                std::thread::sleep(REST);
            }
            tokio::task::yield_now().await;
            let mut state = self.lock();
            if state.line.is_empty() {
                state.watched = false;
                return;
            }
            if looked_at.elapsed() > PATIENCE {
                looked_at = Instant::now();
                if std::mem::replace(&mut turn, state.turn) == turn {
                    while let Some(next) = state.next() {
                        next.wake(state.begin());
                    }
                }
            }
        }
    }
}
