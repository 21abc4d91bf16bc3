//! tokio → asyncio: results reach an event loop in bursts.
//!
//! The network thread pushes results on the loop's [`Queue`] and, only when the queue was empty, wakes the loop through a
//! descriptor that the loop watches. The loop's thread then drains the queue, builds the Python objects and continues the
//! tasks that [wait](Waiter) for them. No thread but the loop's takes the GIL. docs/performance.md has the measured
//! alternatives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pyo3::exceptions::{PyMemoryError, PyNotImplementedError, PyRuntimeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;

use super::loop_waker::LoopWaker;
use super::queue::{Queue, Wake};
use super::waiter::{Bridge, Waiter};
use crate::error::Error;
use crate::python::call::result::CallResult;
use crate::python::errors::exception;
use crate::python::gil_cell::GilCell;
use crate::python::hooks::delivery::{self, Drain};
use crate::python::hooks::list;
use crate::python::intern::{get_or_make, intern};
use crate::python::runtime::exit::FinalizeGuard;
use crate::python::runtime::fork::fork_epoch;

/// Largest number of results that become objects before their tasks continue.
const BATCH: usize = 32;
/// Number of bytes in results after which their tasks continue: a large result is better freed before the next one is
/// built, so that its memory serves again.
const BATCH_BYTES: usize = 128 * 1024;

/// The bridges of this process's event loops, by the loop's address. The entry of a dead loop is replaced or swept.
static BRIDGES: GilCell<Option<(u64, Bridges)>> = GilCell::new(None);

type Bridges = HashMap<usize, Py<Bridge>>;

impl Bridge {
    /// Returns the bridge of the event loop that runs in this thread.
    ///
    /// # Errors
    ///
    /// `RuntimeError` if no loop of asyncio runs here.
    pub fn current(py: Python<'_>) -> PyResult<Bound<'_, Self>> {
        static GET_RUNNING_LOOP: OnceLock<Py<PyAny>> = OnceLock::new();
        let get_running_loop = get_or_make(&GET_RUNNING_LOOP, || {
            Ok(py.import(intern!(py, "asyncio"))?.getattr(intern!(py, "get_running_loop"))?.unbind())
        })?;
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

    /// Returns the bridge that a loop has already.
    fn known<'py>(event_loop: &Bound<'py, PyAny>) -> Option<Bound<'py, Self>> {
        let known = BRIDGES.lock(event_loop.py());
        let (epoch, bridges) = known.as_ref()?;
        let bridge = bridges.get(&(event_loop.as_ptr() as usize))?.bind(event_loop.py());
        let is_of_loop = *epoch == fork_epoch()
            && bridge.get().event_loop(event_loop.py()).is_some_and(|known| known.is(event_loop));
        is_of_loop.then(|| bridge.clone())
    }

    /// Makes a bridge for a loop, and sweeps those of loops that are gone.
    fn build<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let py = event_loop.py();
        let bridge = Self::new(event_loop)?;
        let mut over: Vec<Py<Self>> = Vec::new();
        let others: Vec<(usize, Py<Self>)> = {
            let mut all = BRIDGES.lock(py);
            if all.as_ref().is_none_or(|(epoch, _)| *epoch != fork_epoch()) {
                // A parent's bridges are sockets shared with the parent: they are forgotten, not closed.
                std::mem::forget(all.replace((fork_epoch(), HashMap::new())));
            }
            let (_, bridges) = all.as_mut().expect("put there above");
            over.extend(bridges.insert(event_loop.as_ptr() as usize, bridge.clone().unbind()));
            bridges.iter().map(|(address, bridge)| (*address, bridge.clone_ref(py))).collect()
        };
        // The lock is not held, since `is_over` runs Python code of the loops.
        for (address, other) in others {
            if other.get().is_over(py) {
                let mut all = BRIDGES.lock(py);
                over.extend(all.as_mut().and_then(|(_, bridges)| bridges.remove(&address)));
            }
        }
        // Calls that were in flight when their loop was closed are cancelled.
        for bridge in over {
            let waiters = std::mem::take(&mut bridge.get().waiting.lock(event_loop.py()).waiters);
            waiters.values().for_each(|waiter| waiter.get().cancel_request(py));
        }
        Ok(bridge)
    }

    /// Makes a bridge, and has the loop watch its waker.
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
            Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => {
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

    /// Returns true if the event loop is gone or closed.
    fn is_over(&self, py: Python<'_>) -> bool {
        let Some(event_loop) = self.event_loop(py) else { return true };
        let is_closed = || event_loop.call_method0(intern!(py, "is_closed"))?.is_truthy();
        is_closed().unwrap_or(false)
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
    /// Continues the tasks whose results have come. Called by the event loop.
    fn _drain(&self, py: Python<'_>) -> PyResult<()> {
        // The tasks run below this frame.
        let _guard = FinalizeGuard::enter(py);
        let _drain = list::are_any().then(Drain::begin);
        if let Wake::LoopWaker(waker) = &self.queue.wake {
            waker.clear();
        }
        self.arrived.lock(py).extend(self.queue.done.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
        // First some objects, then their tasks: the next calls of these tasks come close together, and the network thread is
        // woken for the first of them only. Not all objects of thousands: Python's garbage collector would look through them
        // again and again, and they would be in no cache when their tasks come to them.
        loop {
            // Results are taken one by one, so that a nested call of this finds the rest: a task may run the loop inside the
            // loop.
            let mut size = 0;
            for _ in 0..BATCH {
                let Some((key, result)) = self.next_arrived(py) else { break };
                let Some(waiter) = self.waiting.lock(py).waiters.remove(&key) else {
                    result.unclaimed(py);
                    continue;
                };
                size += result.size();
                waiter.get().resolve(py, result);
                self.resolved.lock(py).push_back(waiter);
                if size > BATCH_BYTES {
                    break;
                }
            }
            while let Some(waiter) = self.next_resolved(py) {
                if let Err(error) = Waiter::continue_task(waiter.bind(py)) {
                    if error.is_instance_of::<PyMemoryError>(py) {
                        self.resolved.lock(py).push_front(waiter);
                    }
                    // Ctrl-C stops the loop, which may be run again to clean up: the other tasks still have to continue.
                    self.queue.wake();
                    return Err(error);
                }
            }
            if list::are_any() {
                delivery::run(py)?;
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
