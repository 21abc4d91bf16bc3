//! tokio → threads: those whose answers have come go on one after the other.
//!
//! Each of them needs the GIL to go on, and one that is woken while another has it sleeps a second time. So one is woken,
//! and the next when that one waits again. It may do something else instead, and for long: whoever is in the line then
//! does not wait for it ([`Turns::watch`]).

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::attached;
use super::bridge::Outcome;
use super::runtime;

/// How long the network thread rests between two looks at a line. With what the system adds to it, a tenth of a
/// millisecond.
const REST: Duration = Duration::from_micros(50);
/// A thread that was woken so long ago has something else to do.
const PATIENCE: Duration = Duration::from_micros(200);

/// A thread that waits for an outcome.
pub(super) struct Sleeper {
    thread: Thread,
    outcome: Mutex<Option<Box<dyn Outcome>>>,
    /// Its turn, when that has come.
    turn: AtomicU64,
}

thread_local! {
    /// The turn that this thread has, or had: it has not waited since.
    static TURN: Cell<u64> = const { Cell::new(0) };
}

impl Sleeper {
    /// For this thread.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { thread: std::thread::current(), outcome: Mutex::default(), turn: AtomicU64::new(0) })
    }

    /// Waits, without the GIL, for the outcome and the turn. With a limit, only for so long.
    pub fn wait(&self, limit: Option<Duration>) -> Option<Box<dyn Outcome>> {
        let end = limit.map(|limit| Instant::now() + limit);
        loop {
            let turn = self.turn.load(Ordering::Acquire);
            let rest = end.map(|end| end.saturating_duration_since(Instant::now()));
            if turn > 0 || rest.is_some_and(|rest| rest.is_zero()) {
                TURN.set(turn);
                return self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
            match rest {
                Some(rest) => std::thread::park_timeout(rest),
                None => std::thread::park(),
            }
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
        runtime::turns().pass(turn);
    }
}

/// Whose turn it is.
#[derive(Default)]
pub(super) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    /// Those whose outcomes have come, and not their turns.
    line: VecDeque<Arc<Sleeper>>,
    /// Counts them.
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
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over an outcome. On the network thread.
    pub fn push(&'static self, sleeper: &Arc<Sleeper>, outcome: Box<dyn Outcome>) {
        *sleeper.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        let mut state = self.lock();
        let is_free = state.since.is_none_or(|since| since.elapsed() > PATIENCE);
        if is_free || !attached::has_gil() {
            let turn = state.begin();
            drop(state);
            return sleeper.wake(turn);
        }
        state.line.push_back(sleeper.clone());
        if !std::mem::replace(&mut state.watched, true) {
            tokio::spawn(self.watch());
        }
    }

    fn pass(&self, turn: u64) {
        let mut state = self.lock();
        if state.turn != turn {
            return;
        }
        let Some(next) = state.line.pop_front() else { return state.since = None };
        let turn = state.begin();
        drop(state);
        next.wake(turn);
    }

    /// While there is a line, the network thread rests between its turns: it deals with what comes in meanwhile in one
    /// go, where it would sleep and be woken for each of so many calls. A line that does not move is woken.
    async fn watch(&'static self) {
        let mut seen = None;
        loop {
            std::thread::sleep(REST);
            tokio::task::yield_now().await;
            let mut state = self.lock();
            if state.line.is_empty() {
                state.watched = false;
                return;
            }
            if seen.replace(state.turn) == Some(state.turn) {
                while let Some(next) = state.line.pop_front() {
                    let turn = state.begin();
                    next.wake(turn);
                }
            }
        }
    }
}
