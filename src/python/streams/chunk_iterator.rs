//! The iterator that a loop over a stream holds.

use std::sync::atomic::Ordering;

use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::finalise;
use super::next_chunk::NextChunk;
use super::stream::Stream;
use crate::python::gil_cell::GilCell;
use crate::python::values;

/// Iterator that a `for` loop holds while it runs. A loop that is left drops it, which aborts the request.
#[pyclass(frozen, module = "ritellm._core")]
pub(crate) struct ChunkIterator {
    stream: Py<Stream>,
    /// Awaitable of the last chunk, which is used again once no one else refers to it.
    last: GilCell<Option<Py<NextChunk>>>,
}

impl ChunkIterator {
    /// Makes an iterator, and counts its loop.
    pub fn new(stream: &Bound<'_, Stream>) -> Self {
        stream.get().loops.fetch_add(1, Ordering::Relaxed);
        Self { stream: stream.clone().unbind(), last: GilCell::new(None) }
    }
}

impl Drop for ChunkIterator {
    /// Ends the stream, unless another loop goes on with it.
    fn drop(&mut self) {
        if self.stream.get().loops.fetch_sub(1, Ordering::Relaxed) == 1 {
            finalise(|py| self.stream.get().leave(py));
        }
    }
}

#[pymethods]
impl ChunkIterator {
    /// Returns the alias that annotations write: `ChunkIterator[ChatCompletionChunk]`.
    #[classmethod]
    fn __class_getitem__<'py>(class: &Bound<'py, PyType>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        values::generic_alias(class, item)
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.stream.get().next_blocking(py)
    }

    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, NextChunk>> {
        let stream = self.stream.bind(py);
        // Taken out meanwhile, since to decode a chunk may run a finaliser, which may call this again.
        let last = self.last.lock(py).take();
        // SAFETY: a live reference.
        let is_ours = |last: &Py<NextChunk>| unsafe { ffi::Py_REFCNT(last.as_ptr()) == 1 };
        let next = match last.filter(is_ours) {
            Some(last) => {
                last.get().renew(py);
                last.into_bound(py)
            }
            None => Bound::new(py, NextChunk::new(stream))?,
        };
        let before = self.last.lock(py).replace(next.clone().unbind());
        // Not under the lock: to drop it may run Python code.
        drop(before);
        Ok(next)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.stream)?;
        self.last.visit(&visit).map_or(Ok(()), |last| visit.call(&*last))
    }
}
