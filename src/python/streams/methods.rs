//! The methods that Python sees of a stream.

use pyo3::exceptions::{PyAttributeError, PyBaseException};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

use super::chunk_iterator::ChunkIterator;
use super::made::stream_of;
use super::next_chunk::NextChunk;
use super::stream::Stream;
use crate::python::asyncio::done::Done;
use crate::python::call::watch::Watch;
use crate::python::errors::wrong;
use crate::python::hooks::delivery::Place;
use crate::python::intern::intern;
use crate::python::json::accumulate;
use crate::python::meta::Meta;
use crate::python::object::set_slot;
use crate::python::stack;
use crate::python::values;

#[pymethods]
impl Stream {
    /// Returns the alias that annotations write: `Stream[ChatCompletionChunk, ChatCompletion]`.
    #[classmethod]
    fn __class_getitem__<'py>(class: &Bound<'py, PyType>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        values::generic_alias(class, item)
    }

    /// Makes a stream of chunks at hand, for tests and for answers that are kept.
    #[staticmethod]
    #[pyo3(signature = (chunks, *, meta=None, response_format=None, error=None))]
    fn from_chunks<'py>(
        chunks: &Bound<'py, PyAny>,
        meta: Option<&Bound<'py, Meta>>,
        response_format: Option<&Bound<'py, PyAny>>,
        error: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        let py = chunks.py();
        if let Some(error) = error.filter(|error| !error.is_instance_of::<PyBaseException>()) {
            return Err(wrong("error", error, "an exception, which is raised after the last chunk,"));
        }
        let stream = stream_of(chunks, meta, error)?;
        if let Some(kind) = response_format {
            stream.set_format(py, structured(py)?.call_method1(intern!(py, "format_of"), (kind,))?.unbind());
        }
        Ok(stream)
    }

    fn __iter__(slf: &Bound<'_, Self>) -> ChunkIterator {
        ChunkIterator::new(slf)
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.next_blocking(py)
    }

    fn __aiter__(slf: &Bound<'_, Self>) -> ChunkIterator {
        ChunkIterator::new(slf)
    }

    fn __anext__(slf: &Bound<'_, Self>) -> NextChunk {
        NextChunk::new(slf)
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) {
        self.stop(py, Place::Thread);
    }

    fn __aenter__<'py>(slf: &Bound<'py, Self>) -> Done {
        Done::new(slf.clone().into_any().unbind())
    }

    #[pyo3(signature = (*_exception))]
    fn __aexit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> Done {
        self.stop(py, Place::Thread);
        Done::new(py.None())
    }

    /// Ends the stream; an unfinished request is aborted at once.
    fn close(&self, py: Python<'_>) {
        self.stop(py, Place::Thread);
    }

    /// Ends the stream; an unfinished request is aborted at once.
    fn aclose(&self, py: Python<'_>) -> Done {
        self.stop(py, Place::Thread);
        Done::new(py.None())
    }

    /// The response accumulated so far, as the call without ``stream=True`` would have given it.
    #[getter]
    fn completion<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let completion = Self::unparsed(slf)?;
        match slf.get().format(slf.py()) {
            Some(format) if slf.get().local.lock(slf.py()).over => {
                structured(slf.py())?.call_method1(intern!(slf.py(), "completion"), (format, completion))
            }
            _ => Ok(completion),
        }
    }

    /// The answer so far, with ``response_format`` a type or a JSON schema: partial while it is streamed, read as the type when
    /// the stream is over.
    #[getter]
    fn parsed<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let Some(format) = slf.get().format(py) else {
            return Err(PyAttributeError::new_err(
                "only a stream whose response_format is a type or a JSON schema has the attribute parsed",
            ));
        };
        if slf.get().local.lock(py).over {
            let completion = Self::unparsed(slf)?;
            let completion = structured(py)?.call_method1(intern!(py, "completion"), (format, completion))?;
            return completion.getattr(intern!(py, "parsed"));
        }
        format.getattr(intern!(py, "core"))?.call_method1(intern!(py, "partial"), (slf.get().text(py)?,))
    }

    /// Sets the type that the answer is read as.
    #[pyo3(name = "_set_format")]
    fn set_format(&self, py: Python<'_>, format: Py<PyAny>) {
        let earlier = self.format.lock(py).replace(format);
        drop(earlier);
    }

    /// The text accumulated so far: the content of the first choice, or of a response's messages. ``""`` before there is
    /// any.
    #[getter]
    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let text = {
            let mut local = self.local.lock(py);
            stack::with_room(|| local.so_far.text().into_owned())
        };
        values::string(py, &text)
    }

    /// Metadata of the answer.
    #[getter]
    fn meta<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Meta>> {
        let stream = slf.get();
        Bound::new(slf.py(), Meta::of(stream.latest_meta().unwrap_or_else(|| stream.meta.clone())))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(format) = self.format.visit(&visit) {
            visit.call(&*format)?;
        }
        if let Some(decoded) = self.decoded.visit(&visit) {
            decoded.first.iter().chain(decoded.rest.iter().flatten()).try_for_each(|chunk| visit.call(chunk))?;
        }
        if let Some(watch) = self.watch() {
            Watch::traverse(watch, &visit)?;
        }
        self.decoder.visit(&visit).map_or(Ok(()), |decoder| decoder.traverse(&visit))
    }

    fn __clear__(&self, py: Python<'_>) {
        let decoded = self.decoded.try_lock(py).map(|mut decoded| std::mem::take(&mut *decoded));
        let forgotten = (decoded, self.decoder.try_lock(py).map(|mut decoder| std::mem::take(&mut *decoder)));
        // Not under the lock: to drop the chunks that were given out may run Python code.
        drop(forgotten);
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!(
            "<Stream{}{}{}{}>",
            if self.meta.provider.is_empty() { "" } else { " of " },
            self.meta.provider,
            if self.meta.model.is_empty() { String::new() } else { format!("/{}", self.meta.model) },
            if self.local.lock(py).over { ", over" } else { "" }
        )
    }
}

impl Stream {
    /// Returns the response accumulated so far, not read as a type.
    fn unparsed<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        if !slf.get().accumulates() {
            return Err(PyAttributeError::new_err("a stream of bytes or of a batch's results has no completion"));
        }
        let so_far = slf.get().completion_so_far(slf.py());
        let completion = accumulate::of_json(slf.py(), &so_far, slf.get().operation)?;
        set_slot(&completion, intern!(slf.py(), "meta"), &Self::meta(slf)?.into_any())?;
        Ok(completion)
    }

    /// Returns the type that the answer is read as.
    fn format<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.format.lock(py).as_ref().map(|format| format.bind(py).clone())
    }
}

/// Returns the module that reads answers as types.
fn structured(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import(intern!(py, "ritellm._structured"))
}
