//! An awaitable that is done already.

use pyo3::exceptions::PyStopIteration;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::python::gil_cell::GilCell;

/// An awaitable that is done already.
#[pyclass(frozen, module = "ritellm._core")]
pub(crate) struct Done {
    value: GilCell<Option<Py<PyAny>>>,
}

impl Done {
    /// Makes an awaitable that returns `value`.
    pub fn new(value: Py<PyAny>) -> Self {
        Self { value: GilCell::new(Some(value)) }
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
        let value = self.value.lock(py).take();
        Err(PyStopIteration::new_err((value.unwrap_or_else(|| py.None()),)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.value.visit(&visit).map_or(Ok(()), |value| visit.call(&*value))
    }
}
