//! Delivery of records that have no caller's thread, on a thread of their own: those of a job's rows, and of streams that were
//! dropped somewhere.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyString, PyTuple};

use crate::python::gil_cell::GilCell;
use crate::python::intern::intern;
use crate::python::runtime::exit::run_detached;
use crate::python::runtime::fork::fork_count;

/// Maximum number of records that wait. Further ones are dropped, and counted.
const MAX_WAITING: usize = 10_000;
/// Maximum number of bytes of the answers that wait with them.
const MAX_BYTES: usize = 32 << 20;
/// Maximum number of records that are delivered without a look at others who want the GIL.
const BATCH: usize = 256;
/// Maximum time without a delivery for which room is waited for.
const ROOM: Duration = Duration::from_secs(5);

/// Something that waits for its delivery.
pub(crate) trait Item: Send {
    /// Makes the records and calls the hooks. What goes wrong is counted and reported.
    fn deliver(self: Box<Self>, py: Python<'_>);

    /// Counts the record as dropped.
    fn drop_record(&self);

    /// Returns the number of bytes that it holds.
    fn size(&self) -> usize;
}

/// Records that wait for their delivery.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Notified when something has come, when there is room again, and when all was delivered.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    items: VecDeque<Box<dyn Item>>,
    bytes: usize,
    /// Number of records that are being delivered.
    in_work: usize,
}

impl State {
    fn is_full(&self) -> bool {
        self.items.len() >= MAX_WAITING || self.bytes >= MAX_BYTES
    }
}

/// The queue of this process, with its number of forks. Only attached threads look for it, so that no fork finds it locked.
static QUEUE: GilCell<Option<(u64, Arc<Queue>)>> = GilCell::new(None);

impl Queue {
    /// Returns the queue of this process.
    pub fn of_process(py: Python<'_>) -> Arc<Self> {
        let mut queue = QUEUE.lock(py);
        if let Some((forks, queue)) = &*queue
            && *forks == fork_count()
        {
            return queue.clone();
        }
        let fresh = Arc::<Self>::default();
        // That of a parent process may be locked for ever.
        std::mem::forget(queue.replace((fork_count(), fresh.clone())));
        fresh
    }

    /// Adds an item, or counts it as dropped if the queue is full. Needs no GIL.
    pub fn put(&self, item: Box<dyn Item>) {
        let mut state = self.lock();
        if state.is_full() {
            drop(state);
            return item.drop_record();
        }
        state.bytes += item.size();
        state.items.push_back(item);
        let is_first = state.items.len() == 1;
        drop(state);
        if is_first {
            self.changed.notify_all();
        }
    }

    /// Waits until there is room, as long as records are delivered. Returns false if none is.
    pub fn has_room(&self) -> bool {
        let mut state = self.lock();
        while state.is_full() {
            let waiting = state.items.len();
            let (next, waited) = self.changed.wait_timeout(state, ROOM).unwrap_or_else(PoisonError::into_inner);
            state = next;
            if waited.timed_out() && state.items.len() >= waiting {
                return false;
            }
        }
        true
    }

    /// Takes the items of a batch. Waits for the first one, for `limit` at most.
    fn take(&self, limit: Duration) -> Vec<Box<dyn Item>> {
        let mut state = self.lock();
        if state.items.is_empty() {
            state = self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0;
        }
        let (count, was_full) = (state.items.len().min(BATCH), state.is_full());
        let batch: Vec<_> = state.items.drain(..count).collect();
        state.bytes -= batch.iter().map(|item| item.size()).sum::<usize>();
        state.in_work += count;
        drop(state);
        if was_full {
            self.changed.notify_all();
        }
        batch
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Items that are being delivered, whatever becomes of them.
struct InWork<'a>(&'a Queue, usize);

impl Drop for InWork<'_> {
    fn drop(&mut self) {
        let Self(queue, count) = *self;
        let mut state = queue.lock();
        state.in_work -= count;
        let is_empty = state.items.is_empty() && state.in_work == 0;
        drop(state);
        if is_empty && count > 0 {
            queue.changed.notify_all();
        }
    }
}

/// Hands over a record for delivery, and starts the thread if there is none.
pub(super) fn push(py: Python<'_>, item: Box<dyn Item>) {
    Queue::of_process(py).put(item);
    if let Err(error) = ensure_thread(py) {
        error.write_unraisable(py, None);
    }
}

/// Starts the thread unless it runs.
///
/// # Errors
///
/// Exceptions of `threading`.
pub(crate) fn ensure_thread(py: Python<'_>) -> PyResult<()> {
    py.import(intern!(py, "ritellm._hooks"))?.call_method0(intern!(py, "ensure_thread")).map(drop)
}

/// While the garbage collector of some thread is at work: one more than the number of forks before it began, which a child of a
/// process that forked meanwhile knows not to be its own. Otherwise 0.
static COLLECTING: AtomicU64 = AtomicU64::new(0);
/// Maximum time for which a delivery waits for the end of a collection.
const COLLECTION: Duration = Duration::from_secs(1);

/// Has Python tell when a garbage collection begins and ends.
///
/// # Errors
///
/// `MemoryError`.
pub(super) fn watch_collections(py: Python<'_>) -> PyResult<()> {
    let tell = |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| -> PyResult<()> {
        let has_begun = args.get_item(0)?.cast::<PyString>()?.to_str()? == "start";
        COLLECTING.store(if has_begun { fork_count() + 1 } else { 0 }, Ordering::Relaxed);
        Ok(())
    };
    let tell = PyCFunction::new_closure(py, None, None, tell)?;
    py.import(intern!(py, "gc"))?.getattr(intern!(py, "callbacks"))?.call_method1(intern!(py, "append"), (tell,))?;
    Ok(())
}

/// Waits until no other thread collects garbage, for a second at most.
///
/// A stream that dies in a collection hands over its record in the middle of it, when some of what it refers to is cleared and
/// some is not yet. That thread may leave the GIL to this one then, and to call a function that is half cleared crashes CPython.
/// Afterwards all of it is either cleared, and known to be, or alive. The limit is for a finaliser that waits for this thread:
/// finalisers run before anything is cleared.
fn wait_for_collection(py: Python<'_>) {
    let end = Instant::now() + COLLECTION;
    while COLLECTING.load(Ordering::Relaxed) == fork_count() + 1 && Instant::now() < end {
        run_detached(py, || std::thread::sleep(Duration::from_millis(1)));
    }
}

/// Waits for records, for ``seconds`` at most, and delivers a batch of them. Returns their number. For `ritellm._hooks`.
#[pyfunction]
pub(crate) fn deliver_hooks(py: Python<'_>, seconds: f64) -> usize {
    let queue = Queue::of_process(py);
    let limit = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let batch = run_detached(py, || queue.take(limit));
    let in_work = InWork(&queue, batch.len());
    wait_for_collection(py);
    batch.into_iter().for_each(|item| item.deliver(py));
    in_work.1
}

/// Waits until all records were delivered, for ``seconds`` at most. Returns false if some were not. For `ritellm._hooks`.
#[pyfunction]
pub(crate) fn flush_hooks(py: Python<'_>, seconds: f64) -> bool {
    let queue = Queue::of_process(py);
    let end = Instant::now() + Duration::try_from_secs_f64(seconds).unwrap_or_default();
    run_detached(py, || {
        let mut state = queue.lock();
        while !state.items.is_empty() || state.in_work > 0 {
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return false;
            }
            state = queue.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    })
}
