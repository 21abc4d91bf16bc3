//! Waiters: as much of an `asyncio.Future` as `asyncio.Task` uses, and the awaitable in one.
//!
//! A future would have the loop call its task some time soon, which costs more than all the rest of the bridge. The bridge is
//! called by the loop already, and continues the task at once. What a task uses of the object that it waits for is in
//! CPython's `Lib/asyncio/tasks.py`: `_asyncio_future_blocking`, `get_loop`, `add_done_callback`, `cancel`, `result`.
//!
//! [`Bridge`] and [`Waiter`] refer to each other, which is why both are defined here; `bridge.rs` makes bridges and drains
//! them.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{PyMemoryError, PyRuntimeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use super::am_send::{self, Awaitable, Step, thrown};
use super::queue::Queue;
use crate::python::call::handle::CallHandle;
use crate::python::call::result::CallResult;
use crate::python::gil_cell::GilCell;
use crate::python::intern::{get_or_make, intern};
use crate::python::values;

/// The bridge of one event loop: its queue, and the waiters of its tasks.
#[pyclass(frozen, module = "ritellm._core")]
pub(crate) struct Bridge {
    pub(super) queue: Arc<Queue>,
    /// Waiters that are resolved, and whose tasks have not continued yet.
    pub(super) resolved: GilCell<VecDeque<Py<Waiter>>>,
    /// Results that were taken off the queue, and are not objects yet.
    pub(super) arrived: GilCell<VecDeque<(u64, Box<dyn CallResult>)>>,
    /// Weak: a loop is not kept alive by having made a call once.
    pub(super) event_loop: Py<PyWeakrefReference>,
    pub(super) waiting: GilCell<Waiting>,
}

/// The waiters that have no result yet.
#[derive(Default)]
pub(super) struct Waiting {
    next_key: u64,
    pub waiters: HashMap<u64, Py<Waiter>, BuildHasherDefault<KeyHasher>>,
}

/// Hasher for keys, which are counted up and therefore are their own hash.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
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

impl Bridge {
    /// Returns the event loop, unless it is gone.
    pub fn event_loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.event_loop.bind(py).upgrade()
    }

    /// Makes a waiter for a task of this loop. Returns it with the key under which its result is to be pushed on the queue.
    ///
    /// # Errors
    ///
    /// `MemoryError`.
    pub fn wait<'py>(slf: &Bound<'py, Self>, handle: Option<CallHandle>) -> PyResult<(u64, Bound<'py, Waiter>)> {
        let mut waiting = slf.get().waiting.lock(slf.py());
        waiting.next_key += 1;
        let key = waiting.next_key;
        drop(waiting);
        let waiter = Bound::new(slf.py(), Waiter::new(slf.clone().unbind(), key, handle))?;
        slf.get().waiting.lock(slf.py()).waiters.insert(key, waiter.clone().unbind());
        Ok((key, waiter))
    }

    /// Removes the waiter under this key: no one waits for its result any more.
    pub fn forget(&self, py: Python<'_>, key: u64) {
        let forgotten = self.waiting.lock(py).waiters.remove(&key);
        // Not under the lock: to drop it may run Python code.
        drop(forgotten);
    }

    /// Returns the queue for results of this loop.
    pub fn queue(&self) -> Arc<Queue> {
        self.queue.clone()
    }
}

/// One wait of one task.
#[pyclass(frozen, module = "ritellm._core")]
pub(crate) struct Waiter {
    bridge: Py<Bridge>,
    key: u64,
    /// Call to cancel when the waiter is given up. `None` for a stream, which goes on.
    handle: Option<CallHandle>,
    /// True from the moment the waiter is yielded to a task until the task sees it, which is how the task tells an `await`
    /// from a bare `yield`.
    blocking: AtomicBool,
    state: GilCell<State>,
}

enum State {
    Waiting(Option<Task>),
    Done {
        result: PyResult<Py<PyAny>>,
        /// Task that has not been continued yet.
        task: Option<Task>,
    },
    /// Cancelled, with the message that was given.
    Cancelled(Option<Py<PyAny>>),
    Over,
}

/// A task that waits: its callback, and the context in which to call it.
type Task = (Py<PyAny>, Option<Py<PyAny>>);

impl Waiter {
    pub fn new(bridge: Py<Bridge>, key: u64, handle: Option<CallHandle>) -> Self {
        let state = GilCell::new(State::Waiting(None));
        Self { bridge, key, handle, blocking: AtomicBool::new(false), state }
    }

    /// Cancels the call behind the waiter.
    pub fn cancel_request(&self, py: Python<'_>) {
        if let Some(handle) = &self.handle {
            handle.give_up(py);
        }
    }

    /// Returns the queue on which the result is to be pushed.
    pub fn queue(&self) -> Arc<Queue> {
        self.bridge.get().queue()
    }

    /// Returns the key under which the result is to be pushed.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Marks the waiter as about to be yielded to the task, by an awaitable that waits for it.
    pub fn block(&self) {
        self.blocking.store(true, Ordering::Relaxed);
    }

    /// Takes the result. The result of a task that was cancelled is dropped.
    pub fn resolve(&self, py: Python<'_>, result: Box<dyn CallResult>) {
        if self.done(py) {
            return;
        }
        let result = result.into_python(py);
        let mut state = self.state.lock(py);
        if let State::Waiting(task) = &mut *state {
            *state = State::Done { result, task: task.take() };
        }
    }

    /// Continues the task, after `resolve`.
    ///
    /// # Errors
    ///
    /// Exceptions that stop the loop, `KeyboardInterrupt` and `SystemExit`, or that keep the task from being called. After
    /// a `MemoryError`, this can be called again.
    pub fn continue_task(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let run = intern!(py, "run");
        let task = match &mut *slf.get().state.lock(py) {
            State::Done { task, .. } => task.take(),
            _ => None,
        };
        let Some((callback, context)) = task else { return Ok(()) };
        let called = match &context {
            Some(context) => context.bind(py).call_method1(run, (&callback, slf)),
            None => callback.bind(py).call1((slf,)),
        };
        called.map(drop).inspect_err(|error| {
            if error.is_instance_of::<PyMemoryError>(py)
                && let State::Done { task, .. } = &mut *slf.get().state.lock(py)
            {
                // The task was not reached, and has not taken the result.
                *task = Some((callback, context));
            }
        })
    }

    /// Enters `state` and cancels the call, unless the waiter is done. Returns the task, if one has registered its callback.
    fn give_up(&self, py: Python<'_>, state: State) -> Option<Task> {
        let mut current = self.state.lock(py);
        if !matches!(*current, State::Waiting(_)) {
            return None;
        }
        let State::Waiting(callback) = std::mem::replace(&mut *current, state) else { unreachable!("just looked") };
        drop(current);
        self.cancel_request(py);
        self.bridge.get().forget(py, self.key);
        callback
    }
}

impl Awaitable for Waiter {
    fn ready(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let mut state = self.state.lock(py);
        match &*state {
            State::Done { result: Ok(_), task: None } => match std::mem::replace(&mut *state, State::Over) {
                State::Done { result: Ok(value), .. } => Some(value),
                _ => unreachable!("just looked"),
            },
            _ => None,
        }
    }

    fn step<'py>(slf: &Bound<'py, Self>) -> PyResult<Step<'py>> {
        let waiter = slf.get();
        let state = std::mem::replace(&mut *waiter.state.lock(slf.py()), State::Over);
        match state {
            State::Done { result: Ok(value), .. } => Ok(Step::Returns(value)),
            State::Done { result: Err(error), .. } => Err(error),
            State::Cancelled(message) => Err(cancelled(slf.py(), message.as_ref())),
            State::Over => Err(PyRuntimeError::new_err("this was awaited before")),
            waiting @ State::Waiting(_) => {
                *waiter.state.lock(slf.py()) = waiting;
                if waiter.blocking.swap(true, Ordering::Relaxed) {
                    return Err(PyRuntimeError::new_err("this can be awaited by an asyncio task only"));
                }
                Ok(Step::Waits(slf.clone().into_any()))
            }
        }
    }
}

#[pymethods]
impl Waiter {
    // ---- the awaitable

    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        am_send::next(slf)
    }

    fn send<'py>(slf: &Bound<'py, Self>, _value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        Self::__next__(slf)
    }

    /// Takes the cancellation that a cancelled task throws in. The request is aborted.
    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw<'py>(
        &self,
        kind: &Bound<'py, PyAny>,
        value: Option<&Bound<'py, PyAny>>,
        traceback: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.close(kind.py());
        Err(thrown(kind, value, traceback)?)
    }

    /// Gives up the wait; the request is aborted.
    pub fn close(&self, py: Python<'_>) {
        drop(self.give_up(py, State::Over));
    }

    // ---- the future

    #[getter(_asyncio_future_blocking)]
    fn is_blocking(&self) -> bool {
        self.blocking.load(Ordering::Relaxed)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, blocking: bool) {
        self.blocking.store(blocking, Ordering::Relaxed);
    }

    fn get_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = self.bridge.get().event_loop(py);
        event_loop.ok_or_else(|| PyRuntimeError::new_err("the event loop is gone"))
    }

    #[pyo3(signature = (callback, *, context=None))]
    fn add_done_callback(slf: &Bound<'_, Self>, callback: Py<PyAny>, context: Option<Py<PyAny>>) -> PyResult<()> {
        let mut state = slf.get().state.lock(slf.py());
        match &mut *state {
            State::Waiting(Some(_)) => Err(PyRuntimeError::new_err("one task waits for this, and no other can")),
            State::Waiting(task) => {
                *task = Some((callback, context));
                Ok(())
            }
            _ => {
                drop(state);
                call_soon(slf, callback, context)
            }
        }
    }

    /// Cancels the wait of a task, which sees the cancellation in the loop's next iteration.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        if slf.get().done(slf.py()) {
            return Ok(false);
        }
        let task = match &*slf.get().state.lock(slf.py()) {
            State::Waiting(Some((callback, context))) => {
                Some((callback.clone_ref(slf.py()), context.as_ref().map(|context| context.clone_ref(slf.py()))))
            }
            _ => None,
        };
        // Before the state changes: where the loop cannot take the callback, the task goes on waiting.
        if let Some((callback, context)) = task {
            call_soon(slf, callback, context)?;
        }
        drop(slf.get().give_up(slf.py(), State::Cancelled(msg)));
        Ok(true)
    }

    /// Returns true if the task can continue.
    pub fn done(&self, py: Python<'_>) -> bool {
        !matches!(*self.state.lock(py), State::Waiting(_))
    }

    fn cancelled(&self, py: Python<'_>) -> bool {
        matches!(*self.state.lock(py), State::Cancelled(_))
    }

    /// Returns nothing if the task can continue, and raises if it is cancelled. The value is returned by the `await`.
    pub fn result(&self, py: Python<'_>) -> PyResult<()> {
        let message = match &*self.state.lock(py) {
            State::Cancelled(message) => message.as_ref().map(|message| message.clone_ref(py)),
            State::Waiting(_) => return Err(PyRuntimeError::new_err("this is not done yet")),
            State::Done { .. } | State::Over => return Ok(()),
        };
        Err(cancelled(py, message.as_ref()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.bridge)?;
        if let Some(state) = self.state.visit(&visit) {
            if let State::Waiting(Some((callback, context))) | State::Done { task: Some((callback, context)), .. } =
                &*state
            {
                visit.call(callback)?;
                visit.call(context)?;
            }
            match &*state {
                State::Done { result: Ok(value), .. } => visit.call(value)?,
                State::Cancelled(message) => visit.call(message)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Has the event loop call `callback` with the waiter in its next iteration.
fn call_soon(waiter: &Bound<'_, Waiter>, callback: Py<PyAny>, context: Option<Py<PyAny>>) -> PyResult<()> {
    let py = waiter.py();
    let keywords = values::dict(py)?;
    keywords.set_item(intern!(py, "context"), context)?;
    let event_loop = waiter.get().get_loop(py)?;
    event_loop.call_method(intern!(py, "call_soon"), (callback, waiter), Some(&keywords))?;
    Ok(())
}

/// Makes a `CancelledError`.
fn cancelled(py: Python<'_>, message: Option<&Py<PyAny>>) -> PyErr {
    static CANCELLED: OnceLock<Py<PyAny>> = OnceLock::new();
    let class = get_or_make(&CANCELLED, || {
        Ok(py.import(intern!(py, "asyncio"))?.getattr(intern!(py, "CancelledError"))?.unbind())
    });
    let made = class.and_then(|class| match message.filter(|message| !message.is_none(py)) {
        Some(message) => class.bind(py).call1((message,)),
        None => class.bind(py).call0(),
    });
    made.map_or_else(|error| error, PyErr::from_value)
}
