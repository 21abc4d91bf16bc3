//! The interface of results that travel from the network thread to a caller.

use pyo3::prelude::*;

/// Result of finished work, which becomes a Python object on the thread of the event loop, or of the caller, that gets it.
pub(crate) trait CallResult: Send {
    /// Makes the object that the task gets.
    ///
    /// # Errors
    ///
    /// The exception that is raised in the task instead.
    fn into_python(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>>;

    /// Returns the size of the data that has to be converted, in bytes.
    fn size(&self) -> usize {
        0
    }

    /// Does what is left to do where no task waits for the result.
    fn unclaimed(self: Box<Self>, _py: Python<'_>) {}
}
