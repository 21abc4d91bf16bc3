//! tokio → asyncio: finished work reaches an event loop in bursts.
//!
//! The network thread pushes outcomes on the loop's queue and, only when the queue was empty, rings the bell that the
//! loop watches. The loop thread then drains the queue, builds the Python objects and goes on with the tasks that
//! [wait](Waiter) for them. No thread but the loop's takes the GIL. docs/performance.md has the measured alternatives.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::errors::exception;
use super::gil_cell::GilCell;
use super::intern::{get_or_make, intern};
use super::loop_waker::LoopWaker;
use super::waiter::{CallHandle, Waiter};
use pyo3::exceptions::{PyMemoryError, PyRuntimeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use super::runtime::{self, fork_epoch};
use crate::error::Error;

/// What a finished piece of work turns into, on the loop's thread.
pub(super) trait CallResult: Send {
    /// What its task gets, or is raised there.
    fn into_python(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>>;

    /// How much there is to turn, in bytes.
    fn size(&self) -> usize {
        0
    }

    /// What is done where nobody waits for it.
    fn unclaimed(self: Box<Self>, _py: Python<'_>) {}
}

/// The key of what no task waits for.
pub(super) const NOBODY: u64 = 0;

/// So many outcomes become objects before their tasks go on, …
const AT_ONCE: usize = 32;
/// … or so many bytes of them: what is large is better gone before the next comes, for its memory serves again.
const LARGE: usize = 128 * 1024;

/// The loop's end of the bridge: what the network thread sees of it.
pub(super) struct Queue {
    /// Outcomes, each with the key of who waits for it.
    done: Mutex<Vec<(u64, Box<dyn CallResult>)>>,
    wake: Wake,
}

enum Wake {
    LoopWaker(LoopWaker),
    /// For loops that cannot watch a socket (Windows' proactor): the only case in which another thread takes the GIL.
    CallSoon {
        event_loop: Py<PyWeakrefReference>,
        drain: Mutex<Option<Py<PyAny>>>,
    },
}

impl Queue {
    /// Hands over an outcome for the waiting `key`.
    pub fn push(self: &Arc<Self>, key: u64, result: Box<dyn CallResult>) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.push((key, result));
        let first = done.len() == 1;
        drop(done);
        if first {
            let queue = self.clone();
            runtime::at_end_of_turn(move || queue.wake());
        }
    }

    fn wake(&self) {
        match &self.wake {
            Wake::LoopWaker(waker) => waker.wake(),
            Wake::CallSoon { event_loop, drain } => {
                Python::try_attach(|py| {
                    let drain =
                        drain.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|drain| drain.clone_ref(py));
                    if let (Some(event_loop), Some(drain)) = (event_loop.bind(py).upgrade(), drain) {
                        // A loop that is closed by now wants no answers.
                        drop(event_loop.call_method1(intern!(py, "call_soon_threadsafe"), (drain,)));
                    }
                });
            }
        }
    }
}

/// One event loop's bridge.
#[pyclass(frozen, module = "ritellm._core")]
pub(super) struct Bridge {
    queue: Arc<Queue>,
    /// Resolved, with tasks that have not gone on yet.
    resolved: GilCell<VecDeque<Py<Waiter>>>,
    /// Taken off the queue, and not turned into objects yet.
    arrived: GilCell<VecDeque<(u64, Box<dyn CallResult>)>>,
    /// Weak: a loop is not kept alive by having made a call once.
    event_loop: Py<PyWeakrefReference>,
    waiting: GilCell<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next_key: u64,
    waiters: HashMap<u64, Py<Waiter>, std::hash::BuildHasherDefault<KeyHasher>>,
}

/// Keys are counted up, so they are their own hash.
#[derive(Default)]
struct KeyHasher(u64);

impl std::hash::Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        // hashbrown takes its control bits from the top.
        self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64")
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// The bridges of this process's loops, by the loop's address; a dead loop's entry is replaced or swept.
static BRIDGES: GilCell<Option<(u64, Bridges)>> = GilCell::new(None);

type Bridges = HashMap<usize, Py<Bridge>>;

impl Bridge {
    /// The bridge of the loop that runs in this thread. `RuntimeError` when none does.
    pub fn current(py: Python<'_>) -> PyResult<Bound<'_, Self>> {
        static GET_RUNNING_LOOP: OnceLock<Py<PyAny>> = OnceLock::new();
        let get_running_loop =
            get_or_make(&GET_RUNNING_LOOP, || Ok(py.import("asyncio")?.getattr("get_running_loop")?.unbind()))?;
        let event_loop = get_running_loop.bind(py).call0().map_err(|_| {
            PyRuntimeError::new_err(
                "no running event loop of asyncio: acompletion() and its like are awaited by tasks of asyncio (or uvloop) \
                 only. In a thread, call completion() instead; under trio, await trio.to_thread.run_sync(call) with it, or run \
                 anyio on its asyncio backend",
            )
        })?;
        match Self::known(&event_loop) {
            Some(bridge) => Ok(bridge),
            None => Self::build(&event_loop),
        }
    }

    /// The bridge that a loop has, if it has one.
    fn known<'py>(event_loop: &Bound<'py, PyAny>) -> Option<Bound<'py, Self>> {
        let known = BRIDGES.lock(event_loop.py());
        let (made, bridges) = known.as_ref()?;
        let bridge = bridges.get(&(event_loop.as_ptr() as usize))?.bind(event_loop.py());
        let is_its =
            *made == fork_epoch() && bridge.get().event_loop(event_loop.py()).is_some_and(|known| known.is(event_loop));
        is_its.then(|| bridge.clone())
    }

    fn build<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let py = event_loop.py();
        let bridge = Self::new(event_loop)?;
        let mut over: Vec<Py<Self>> = Vec::new();
        let others: Vec<(usize, Py<Self>)> = {
            let mut all = BRIDGES.lock(py);
            if all.as_ref().is_none_or(|(made, _)| *made != fork_epoch()) {
                // A parent's bridges are sockets shared with the parent: they are forgotten, not closed.
                std::mem::forget(all.replace((fork_epoch(), HashMap::new())));
            }
            let (_, bridges) = all.as_mut().expect("put there above");
            over.extend(bridges.insert(event_loop.as_ptr() as usize, bridge.clone().unbind()));
            bridges.iter().map(|(address, bridge)| (*address, bridge.clone_ref(py))).collect()
        };
        // Asks the loops, which is Python's code, so the lock is not held.
        for (address, other) in others {
            if other.get().is_over(py) {
                let mut all = BRIDGES.lock(py);
                over.extend(all.as_mut().and_then(|(_, bridges)| bridges.remove(&address)));
            }
        }
        // Calls of a loop that was closed over them are given up.
        for bridge in over {
            let waiters = std::mem::take(&mut bridge.get().waiting.lock(event_loop.py()).waiters);
            waiters.values().for_each(|waiter| waiter.get().cancel_request(py));
        }
        Ok(bridge)
    }

    fn new<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let py = event_loop.py();
        let weak = || PyWeakrefReference::new(event_loop).map(Bound::unbind);
        let make = |wake| {
            let queue = Arc::new(Queue { done: Mutex::default(), wake });
            let event_loop = weak()?;
            Bound::new(
                py,
                Self {
                    queue,
                    event_loop,
                    resolved: GilCell::default(),
                    arrived: GilCell::default(),
                    waiting: GilCell::default(),
                },
            )
        };
        let waker = LoopWaker::new().map_err(|error| {
            exception(py, Error::connection(format!("the event loop cannot be told of answers: {error}")))
        })?;
        let descriptor = waker.descriptor();
        let bridge = make(Wake::LoopWaker(waker))?;
        let watched =
            event_loop.call_method1(intern!(py, "add_reader"), (descriptor, bridge.getattr(intern!(py, "_drain"))?));
        match watched {
            Ok(_) => Ok(bridge),
            Err(error) if error.is_instance_of::<pyo3::exceptions::PyNotImplementedError>(py) => {
                let bridge = make(Wake::CallSoon { event_loop: weak()?, drain: Mutex::default() })?;
                if let Wake::CallSoon { drain, .. } = &bridge.get().queue.wake {
                    *drain.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(bridge.getattr(intern!(py, "_drain"))?.unbind());
                }
                Ok(bridge)
            }
            Err(error) => Err(error),
        }
    }

    /// The loop, unless it is gone.
    pub fn event_loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.event_loop.bind(py).upgrade()
    }

    /// Whether its loop is gone or closed.
    fn is_over(&self, py: Python<'_>) -> bool {
        let Some(event_loop) = self.event_loop(py) else { return true };
        event_loop.call_method0(intern!(py, "is_closed")).and_then(|closed| closed.is_truthy()).unwrap_or(false)
    }

    /// Something to wait for in a task of this loop, and the key under which its outcome is to be pushed on the queue.
    pub fn wait<'py>(slf: &Bound<'py, Self>, handle: Option<CallHandle>) -> PyResult<(u64, Bound<'py, Waiter>)> {
        let mut waiting = slf.get().waiting.lock(slf.py());
        waiting.next_key += 1;
        let key = waiting.next_key;
        drop(waiting);
        let waiter = Bound::new(slf.py(), Waiter::new(slf.clone().unbind(), key, handle))?;
        slf.get().waiting.lock(slf.py()).waiters.insert(key, waiter.clone().unbind());
        Ok((key, waiter))
    }

    /// Nobody waits under this key any more.
    pub fn forget(&self, py: Python<'_>, key: u64) {
        let forgotten = self.waiting.lock(py).waiters.remove(&key);
        // Not under the lock: to drop it may run Python code.
        drop(forgotten);
    }

    /// Where outcomes for this loop go.
    pub fn queue(&self) -> Arc<Queue> {
        self.queue.clone()
    }

    fn next_resolved(&self, py: Python<'_>) -> Option<Py<Waiter>> {
        self.resolved.lock(py).pop_front()
    }

    fn next_arrived(&self, py: Python<'_>) -> Option<(u64, Box<dyn CallResult>)> {
        self.arrived.lock(py).pop_front()
    }
}

#[pymethods]
impl Bridge {
    /// Goes on with the tasks whose outcomes have come. Called by the loop.
    fn _drain(&self, py: Python<'_>) -> PyResult<()> {
        // The tasks run below this.
        let _guard = runtime::FinalizeGuard::enter(py);
        if let Wake::LoopWaker(waker) = &self.queue.wake {
            waker.clear();
        }
        self.arrived.lock(py).extend(self.queue.done.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
        // First some objects, then their tasks: the calls that these make next come close together, and the network
        // thread is woken for the first of them only. Not all objects of thousands: Python's garbage collector would look
        // through them again and again, and they would be in no cache when their tasks come to them.
        loop {
            // Taken one by one, so that another call of this finds the rest: a task may run the loop inside the loop.
            let mut size = 0;
            for _ in 0..AT_ONCE {
                let Some((key, result)) = self.next_arrived(py) else { break };
                let Some(waiter) = self.waiting.lock(py).waiters.remove(&key) else {
                    result.unclaimed(py);
                    continue;
                };
                size += result.size();
                waiter.get().resolve(py, result);
                self.resolved.lock(py).push_back(waiter);
                if size > LARGE {
                    break;
                }
            }
            while let Some(waiter) = self.next_resolved(py) {
                if let Err(error) = Waiter::go_on(waiter.bind(py)) {
                    if error.is_instance_of::<PyMemoryError>(py) {
                        self.resolved.lock(py).push_front(waiter);
                    }
                    // Ctrl-C stops the loop, which may be run again to clean up: the others have not been heard yet.
                    self.queue.wake();
                    return Err(error);
                }
            }
            if self.arrived.lock(py).is_empty() {
                return Ok(());
            }
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(waiting) = self.waiting.visit(&visit) {
            for waiter in waiting.waiters.values() {
                visit.call(waiter)?;
            }
        }
        if let Some(resolved) = self.resolved.visit(&visit) {
            for waiter in resolved.iter() {
                visit.call(waiter)?;
            }
        }
        if let Wake::CallSoon { drain, .. } = &self.queue.wake
            && let Ok(drain) = drain.try_lock()
        {
            visit.call(&*drain)?;
        }
        Ok(())
    }
}
