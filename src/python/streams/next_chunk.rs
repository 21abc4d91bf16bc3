//! The awaitable of a stream's next chunk.

use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::stream::Stream;
use crate::python::asyncio::am_send::{self, Awaitable, Step, thrown};
use crate::python::asyncio::waiter::{Bridge, Waiter};
use crate::python::gil_cell::GilCell;
use crate::python::runtime::fork::fork_epoch;

/// Awaitable of the next chunk, which is done already when a chunk is at hand.
#[pyclass(frozen, module = "ritellm._core")]
pub(crate) struct NextChunk {
    stream: Py<Stream>,
    state: GilCell<State>,
}

enum State {
    NotAwaited,
    Waiting(Py<Waiter>),
    Over,
}

impl NextChunk {
    /// Makes the awaitable of the next chunk, which is decoded at once if it is at hand.
    pub fn new(stream: &Bound<'_, Stream>) -> Self {
        stream.get().decode_next(stream.py());
        Self { stream: stream.clone().unbind(), state: GilCell::new(State::NotAwaited) }
    }

    /// Makes this the awaitable of the next chunk after the one that it was awaited for.
    pub fn renew(&self, py: Python<'_>) {
        self.stream.get().decode_next(py);
        self.replace(py, State::NotAwaited);
    }

    fn replace(&self, py: Python<'_>, next: State) -> State {
        std::mem::replace(&mut *self.state.lock(py), next)
    }

    /// Makes a waiter by which the running task waits for the next chunk.
    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Waiter>> {
        let stream = self.stream.get();
        let bridge = Bridge::current(py)?;
        let (key, waiter) = Bridge::wait(&bridge, None)?;
        let queue = bridge.get().queue();
        stream.local.lock(py).without_turn = 0;
        stream.channel.wake_when_readable(queue, key);
        waiter.get().block();
        Ok(waiter)
    }
}

impl Awaitable for NextChunk {
    fn ready(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let mut state = self.state.lock(py);
        if !matches!(*state, State::NotAwaited) {
            return None;
        }
        let chunk = self.stream.get().decoded.lock(py).first.take()?;
        *state = State::Over;
        Some(chunk)
    }

    fn step<'py>(slf: &Bound<'py, Self>) -> PyResult<Step<'py>> {
        let (py, next) = (slf.py(), slf.get());
        match next.replace(py, State::Over) {
            // asyncio had no memory to register the task with the waiter, and the bridge has continued the task again.
            State::Waiting(waiter) if !waiter.get().done(py) => {
                waiter.get().block();
                next.replace(py, State::Waiting(waiter.clone_ref(py)));
                return Ok(Step::Waits(waiter.into_bound(py).into_any()));
            }
            // A cancellation that was not thrown in is raised here.
            State::Waiting(waiter) => waiter.get().result(py)?,
            State::NotAwaited => {}
            State::Over => return Err(PyRuntimeError::new_err("this was awaited before; ask the stream for another")),
        }
        match next.stream.get().next_chunk(py, true) {
            Ok(Some(chunk)) => Ok(Step::Returns(chunk)),
            // Not by `__anext__`: `anext(stream, default)` of CPython 3.11 crashes where that raises.
            Ok(None) => Err(PyStopAsyncIteration::new_err(())),
            Err(Some(error)) => Err(error),
            Err(None) => {
                let waiter = next.wait(py)?;
                next.replace(py, State::Waiting(waiter.clone().unbind()));
                Ok(Step::Waits(waiter.into_any()))
            }
        }
    }
}

#[pymethods]
impl NextChunk {
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
        am_send::next(slf)
    }

    /// Takes the cancellation that a cancelled task throws in. The task waits no more, and the stream goes on.
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

    fn close(&self, py: Python<'_>) {
        if let State::Waiting(waiter) = self.replace(py, State::Over) {
            let waiter = waiter.get();
            waiter.close(py);
            let stream = self.stream.get();
            // The channel of a parent process may be locked for ever.
            if stream.fork_epoch == fork_epoch() {
                stream.channel.forget(&waiter.queue(), waiter.key());
            }
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.stream)?;
        match self.state.visit(&visit).as_deref() {
            Some(State::Waiting(waiter)) => visit.call(waiter),
            _ => Ok(()),
        }
    }
}
