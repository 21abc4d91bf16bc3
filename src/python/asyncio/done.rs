//! An awaitable that is done already.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pyo3::exceptions::PyStopIteration;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::python::gil_cell::GilCell;

/// Number of values at hand after which the event loop is to run.
const TURN_AFTER: usize = 64;

/// An awaitable that is done already.
#[pyclass(frozen, module = "ritellm._core")]
pub(crate) struct Done {
    value: GilCell<Option<Py<PyAny>>>,
    /// True if the event loop is to run before.
    yields: AtomicBool,
}

impl Done {
    /// Makes an awaitable that returns `value`.
    pub fn new(value: Py<PyAny>) -> Self {
        Self { value: GilCell::new(Some(value)), yields: AtomicBool::new(false) }
    }

    /// Makes one that returns what was at hand. From time to time it lets the event loop run before: a task that finds all at
    /// hand would let nothing else run, and could not be cancelled.
    pub fn at_hand(value: Py<PyAny>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(1);
        let yields = COUNT.fetch_add(1, Ordering::Relaxed).is_multiple_of(TURN_AFTER);
        Self { yields: AtomicBool::new(yields), ..Self::new(value) }
    }
}

#[pymethods]
impl Done {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        // Loaded first: a swap costs every awaitable an atomic operation.
        if self.yields.load(Ordering::Relaxed) {
            self.yields.store(false, Ordering::Relaxed);
            // As `asyncio.sleep(0)` does.
            return Ok(Some(py.None()));
        }
        let value = self.value.lock(py).take();
        Err(PyStopIteration::new_err((value.unwrap_or_else(|| py.None()),)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.value.visit(&visit).map_or(Ok(()), |value| visit.call(&*value))
    }
}
