//! What a task waits for: as much of an `asyncio.Future` as `asyncio.Task` uses, and the awaitable in one.
//!
//! A future would tell the loop to call its task some time soon, which costs more than all the rest of the bridge; the
//! bridge is called by the loop already, and goes on with the task at once. What a task asks of what it waits for is in
//! CPython's `Lib/asyncio/tasks.py`: `_asyncio_future_blocking`, `get_loop`, `add_done_callback`, `cancel`, `result`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pyo3::exceptions::{PyMemoryError, PyRuntimeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::bridge::{Bridge, CallResult, Queue};
use super::gil_cell::GilCell;
use super::intern::{get_or_make, intern};
use super::job::CancelHandle;
use super::log::{self, Log};
use super::runtime;
use super::send::{self, Awaitable, Step};
use super::values;

/// One wait of one task.
#[pyclass(frozen, module = "ritellm._core")]
pub(super) struct Waiter {
    bridge: Py<Bridge>,
    key: u64,
    /// To be ended when this is given up. A stream's is not: it goes on.
    handle: Option<CallHandle>,
    /// Yielded to a task, which has not seen it yet: its way to tell an `await` from a bare `yield`.
    blocking: AtomicBool,
    state: GilCell<State>,
}

/// The work behind it: how to end it, and where it writes down how it goes.
#[derive(Clone)]
pub(super) struct CallHandle {
    pub cancel: CancelHandle,
    pub log: Option<Arc<Log>>,
}

impl CallHandle {
    /// How often a thread that waits for it is to look what else there is to do.
    pub fn look(&self) -> Duration {
        if self.log.is_some() { log::LOOK } else { runtime::signals() }
    }

    /// Writes what there is to write.
    pub fn write_log(&self, py: Python<'_>) {
        if let Some(log) = &self.log {
            log.write(py);
        }
    }

    /// Nobody waits for it any more.
    pub fn give_up(&self, py: Python<'_>) {
        self.cancel.cancel();
        if let Some(log) = &self.log {
            log.give_up(py);
        }
    }
}

enum State {
    Waiting(Option<Task>),
    Done {
        result: PyResult<Py<PyAny>>,
        /// Has not heard of it.
        task: Option<Task>,
    },
    /// With the message that was given.
    Cancelled(Option<Py<PyAny>>),
    Over,
}

/// How a task is told to go on: its callback, and the context that this is to be called in.
type Task = (Py<PyAny>, Option<Py<PyAny>>);

impl Waiter {
    pub fn new(bridge: Py<Bridge>, key: u64, handle: Option<CallHandle>) -> Self {
        let state = GilCell::new(State::Waiting(None));
        Self { bridge, key, handle, blocking: AtomicBool::new(false), state }
    }

    /// Aborts the work behind it.
    pub fn cancel_request(&self, py: Python<'_>) {
        if let Some(handle) = &self.handle {
            handle.give_up(py);
        }
    }

    /// Where its outcome goes, …
    pub fn queue(&self) -> Arc<Queue> {
        self.bridge.get().queue()
    }

    /// … and under which key.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// To be yielded to the task by an awaitable that waits for this one.
    pub fn block(&self) {
        self.blocking.store(true, Ordering::Relaxed);
    }

    /// Takes the outcome. What has come for a task that was cancelled is dropped.
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

    /// Goes on with the task, after `resolve`.
    ///
    /// # Errors
    ///
    /// What stops the loop, `KeyboardInterrupt` and `SystemExit`, or what keeps the task from being called: where that was
    /// a lack of memory, this can be called again.
    pub fn go_on(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let task = match &mut *slf.get().state.lock(py) {
            State::Done { task, .. } => task.take(),
            _ => None,
        };
        let Some((callback, context)) = task else { return Ok(()) };
        let called = match &context {
            Some(context) => context.bind(py).call_method1(intern!(py, "run"), (&callback, slf)),
            None => callback.bind(py).call1((slf,)),
        };
        called.map(drop).inspect_err(|error| {
            if error.is_instance_of::<PyMemoryError>(py)
                && let State::Done { task, .. } = &mut *slf.get().state.lock(py)
            {
                // The task has not taken the result: it was not reached.
                *task = Some((callback, context));
            }
        })
    }

    /// Gives up, unless it is over: the work is aborted. What the task wanted to be called by, if it said so.
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
                Ok(Step::Waits(slf.clone()))
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

    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        send::next(slf)
    }

    fn send<'py>(slf: &Bound<'py, Self>, _value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        Self::__next__(slf)
    }

    /// A cancelled task throws its cancellation in here: the request is aborted.
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
            State::Waiting(waits) => {
                *waits = Some((callback, context));
                Ok(())
            }
            _ => {
                drop(state);
                call_soon(slf, callback, context)
            }
        }
    }

    /// The task is cancelled while it waits: it hears of it in the loop's next turn.
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
        // Before it is cancelled: where the loop cannot take the callback, the task goes on waiting.
        if let Some((callback, context)) = task {
            call_soon(slf, callback, context)?;
        }
        drop(slf.get().give_up(slf.py(), State::Cancelled(msg)));
        Ok(true)
    }

    fn done(&self, py: Python<'_>) -> bool {
        !matches!(*self.state.lock(py), State::Waiting(_))
    }

    fn cancelled(&self, py: Python<'_>) -> bool {
        matches!(*self.state.lock(py), State::Cancelled(_))
    }

    /// Only says that the task can go on, or that it is cancelled: the value is what the await gives.
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

fn call_soon(waiter: &Bound<'_, Waiter>, callback: Py<PyAny>, context: Option<Py<PyAny>>) -> PyResult<()> {
    let py = waiter.py();
    let keywords = values::dict(py)?;
    keywords.set_item(intern!(py, "context"), context)?;
    let event_loop = waiter.get().get_loop(py)?;
    event_loop.call_method(intern!(py, "call_soon"), (callback, waiter), Some(&keywords))?;
    Ok(())
}

fn cancelled(py: Python<'_>, message: Option<&Py<PyAny>>) -> PyErr {
    static CANCELLED: std::sync::OnceLock<Py<PyAny>> = std::sync::OnceLock::new();
    let class = get_or_make(&CANCELLED, || Ok(py.import("asyncio")?.getattr("CancelledError")?.unbind()));
    let made = class.and_then(|class| match message.filter(|message| !message.is_none(py)) {
        Some(message) => class.bind(py).call1((message,)),
        None => class.bind(py).call0(),
    });
    made.map_or_else(|error| error, PyErr::from_value)
}

/// The exception that was thrown into an awaitable.
pub(super) fn thrown(
    kind: &Bound<'_, PyAny>,
    value: Option<&Bound<'_, PyAny>>,
    _traceback: Option<&Bound<'_, PyAny>>,
) -> PyResult<PyErr> {
    let raised = match value.filter(|value| !value.is_none()) {
        Some(value) if value.is_instance_of::<pyo3::exceptions::PyBaseException>() => value.clone(),
        Some(value) => kind.call1((value,))?,
        None if kind.is_instance_of::<pyo3::types::PyType>() => kind.call0()?,
        None => kind.clone(),
    };
    Ok(PyErr::from_value(raised))
}
