//! Concealment of the arguments of a call whose coroutine has not begun.
//!
//! A coroutine's frame holds its parameters from the moment the coroutine is made, and an error that is thrown into it before
//! its first step (a task that is cancelled at once) leaves through that frame. Tools that show local variables would show
//! the key, so the frame holds an object whose `repr` does not show the arguments.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::python::intern::intern;

/// Keyword arguments of a call, concealed.
#[pyclass(frozen, module = "ritellm._core")]
pub(crate) struct Arguments(Py<PyDict>);

impl Arguments {
    /// Returns the arguments.
    pub fn values<'py>(&self, py: Python<'py>) -> &Bound<'py, PyDict> {
        self.0.bind(py)
    }

    /// Returns true if the arguments do not say which server is to be called.
    ///
    /// # Errors
    ///
    /// What a lookup in the dict raises.
    pub fn needs_base_url(&self, py: Python<'_>) -> PyResult<bool> {
        for name in [intern!(py, "base_url"), intern!(py, "api_base")] {
            if self.values(py).get_item(name)?.is_some_and(|url| !url.is_none()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[pymethods]
impl Arguments {
    /// Sets the address of the server that is to be called.
    fn set_base_url(&self, py: Python<'_>, base_url: &Bound<'_, PyAny>) -> PyResult<()> {
        self.values(py).set_item(intern!(py, "base_url"), base_url)
    }

    /// Returns the arguments themselves, for code that takes them out of the frame again.
    fn reveal<'py>(&self, py: Python<'py>) -> Bound<'py, PyDict> {
        self.values(py).clone()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}

/// Conceals the keyword arguments of a call.
#[pyfunction]
#[pyo3(signature = (arguments, /))]
pub(crate) fn conceal(arguments: Bound<'_, PyDict>) -> PyResult<Bound<'_, Arguments>> {
    let py = arguments.py();
    Bound::new(py, Arguments(arguments.unbind()))
}
