//! The queue by which rows go from Python to a job.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::errors;
use super::json::encode;
use crate::bulk::input::{Fed, Feeder, feed};
use crate::bulk::row::Source;
use crate::error::{Error, ErrorKind};

/// Queue of a job's rows. One thread puts them in; the job takes them out.
#[pyclass(frozen, module = "ritellm._core")]
pub(super) struct RowQueue {
    feeder: Feeder,
    fed: Mutex<Option<Fed>>,
}

impl RowQueue {
    /// Returns the end from which the rows are taken; `None` if it was taken before.
    pub fn source(&self) -> Option<Fed> {
        self.fed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl RowQueue {
    #[new]
    fn new() -> Self {
        let (feeder, fed) = feed();
        Self { feeder, fed: Mutex::new(Some(fed)) }
    }

    /// Waits without the GIL until a row is wanted. False if no more are.
    fn wait(&self, py: Python<'_>) -> bool {
        self.feeder.is_wanted() || py.detach(|| self.feeder.wait())
    }

    /// True if a row is wanted now.
    #[getter]
    fn is_wanted(&self) -> bool {
        self.feeder.is_wanted()
    }

    /// True if no more rows are wanted.
    #[getter]
    fn is_closed(&self) -> bool {
        self.feeder.is_closed()
    }

    /// Puts a row in. Returns None, or why it has no form in JSON; then it is not in the queue.
    #[pyo3(signature = (row, /))]
    fn put(&self, row: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        let mut json = Vec::new();
        match encode::encode(row, &mut json) {
            Ok(()) => self.feeder.put(Ok(json.into())),
            Err(error) => {
                let described = error.describe("");
                return error.raised().map_or(Ok(Some(described)), Err);
            }
        }
        Ok(None)
    }

    /// Puts in a row that has an error. `message` goes on after the row's number: "holds a set".
    #[pyo3(signature = (message, /))]
    fn put_error(&self, message: String) {
        self.feeder.put(Err(message));
    }

    /// Ends the rows with an exception, which the job raises again after the rows before it.
    #[pyo3(signature = (exception, /))]
    fn fail(&self, exception: Bound<'_, PyAny>) {
        let py = exception.py();
        let raised = PyErr::from_value(exception);
        let mut error =
            Error::new(ErrorKind::InvalidArgument, format!("the rows cannot be read on: {raised}")).unsent();
        error.raised = Some(Box::new(raised.clone_ref(py)));
        self.feeder.fail(error);
    }

    /// Ends the rows.
    fn end(&self) {
        self.feeder.end();
    }

    /// Takes the next row out, for tests: its JSON, or its error raised. None after the last. It waits without the GIL.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let row = py.detach(|| match &mut *self.fed.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(fed) => fed.next(),
            None => Ok(None),
        });
        let row = row.map_err(|error| errors::exception(py, error))?;
        let Some(row) = row else { return Ok(None) };
        let json = row.json.map_err(|error| errors::exception(py, error))?;
        let bytes = PyBytes::new_with(py, json.len(), |bytes| {
            bytes.copy_from_slice(&json);
            Ok(())
        });
        bytes.map(Some)
    }

    /// Says that no more rows are wanted.
    fn close(&self) {
        drop(self.source());
    }
}
