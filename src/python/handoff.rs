//! tokio → threads: those whose answers have come go on one after the other.
//!
//! Each of them needs the GIL to go on, and one that is woken while another has it sleeps a second time. So one is woken,
//! and the next when that one waits again. It may do something else instead, and for long: whoever is in the line then
//! does not wait for it ([`HandoffQueue::watch`]).

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::bridge::CallResult;
use super::gil_cell;
use super::runtime;

/// How long the network thread rests between two looks at a line. With what the system adds to it, a tenth of a
/// millisecond.
const REST: Duration = Duration::from_micros(50);
/// A thread that was woken so long ago has something else to do.
const PATIENCE: Duration = Duration::from_micros(200);

/// So many of the line may be passed over, and so often in a row.
const NEAR: usize = 32;

/// A thread that waits for an outcome.
pub(super) struct BlockingWaiter {
    thread: Thread,
    result: Mutex<Option<Box<dyn CallResult>>>,
    /// Its turn, when that has come.
    turn: AtomicU64,
    /// Where it fell asleep.
    processor: i32,
}

thread_local! {
    /// The turn that this thread has, or had: it has not waited since.
    static TURN: Cell<u64> = const { Cell::new(0) };
}

impl BlockingWaiter {
    /// For this thread.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            thread: std::thread::current(),
            result: Mutex::default(),
            turn: AtomicU64::new(0),
            processor: processor(),
        })
    }

    /// Waits, without the GIL, for the outcome and the turn, for so long at most.
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

/// This thread is about to wait, and does not have the GIL any more: if it has the turn, somebody else gets it.
pub(super) fn pass() {
    let turn = TURN.take();
    if turn > 0 {
        runtime::handoff().pass(turn);
    }
}

/// The processor that this thread is on, as far as the system tells.
fn processor() -> i32 {
    #[cfg(target_os = "linux")]
    // SAFETY: it takes nothing and may be called at any time. Measured: docs/performance.md.
    return unsafe { libc::sched_getcpu() };
    #[cfg(not(target_os = "linux"))]
    0
}

/// Whose turn it is.
#[derive(Default)]
pub(super) struct HandoffQueue {
    state: Mutex<State>,
    /// How much the network thread has done.
    done: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// Those whose outcomes have come, and not their turns.
    line: VecDeque<Arc<BlockingWaiter>>,
    /// How often in a row the first of the line was passed over.
    passed_over: usize,
    /// Counts the turns.
    turn: u64,
    /// Since when the last that was woken goes on.
    since: Option<Instant>,
    watched: bool,
}

impl State {
    fn begin(&mut self) -> u64 {
        self.turn += 1;
        self.since = Some(Instant::now());
        self.turn
    }

    /// Takes the next out of the line: whoever fell asleep on this processor, as long as nobody waits too long for that.
    /// There the thread goes on when this one waits, and to wake it elsewhere takes several times as long.
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

    /// The network thread has begun so many calls.
    pub fn begun(&self, calls: usize) {
        self.done.fetch_add(calls, Ordering::Relaxed);
    }

    /// Hands over an outcome. On the network thread.
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

    fn pass(&self, turn: u64) {
        let mut state = self.lock();
        if state.turn != turn {
            return;
        }
        let Some(next) = state.next() else { return state.since = None };
        let turn = state.begin();
        drop(state);
        next.wake(turn);
    }

    /// While there is a line, the network thread need not be woken: it goes on for as long as it finds something to do, and
    /// then rests, to deal in one go with what comes in meanwhile. A line that does not move is woken.
    async fn watch(&'static self) {
        let (mut done, mut turn, mut looked) = (0, 0, Instant::now());
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
            if looked.elapsed() > PATIENCE {
                looked = Instant::now();
                if std::mem::replace(&mut turn, state.turn) == turn {
                    while let Some(next) = state.next() {
                        next.wake(state.begin());
                    }
                }
            }
        }
    }
}
