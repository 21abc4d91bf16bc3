//! The core's errors as Python's: the classes are written in Python and raised from here.

use super::once::name;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::json_decode::{self, Class};
use super::meta;
use crate::error::Error;

/// The exception for an error.
pub(super) fn exception(py: Python<'_>, mut error: Box<Error>) -> PyErr {
    if let Some(raised) = error.raised.take()
        && let Ok(raised) = raised.downcast::<PyErr>()
    {
        return *raised;
    }
    build(py, &error).unwrap_or_else(|failed| failed)
}

/// An argument that cannot be used: the sentence names it, its value's type, and what would be right.
pub(super) fn argument(py: Python<'_>, message: impl Into<String>) -> PyErr {
    exception(py, Error::argument(message))
}

fn build(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let class = py.import(name!(py, "ritellm.exceptions"))?.getattr(error.kind.class_name())?;
    let fields = PyDict::new(py);
    fields.set_item("status_code", error.status)?;
    fields.set_item("provider", error.provider.as_deref())?;
    fields.set_item("model", error.model.as_deref())?;
    fields.set_item("code", error.code.as_deref())?;
    fields.set_item("request_id", error.request_id.as_deref())?;
    fields.set_item("retry_after", error.retry_after.map(|pause| pause.as_secs_f64()))?;
    fields.set_item("retries", error.retries)?;
    if let Some(body) = &error.body {
        let parsed = json_decode::decode(py, body, Class::Object);
        fields.set_item(
            "body",
            parsed.unwrap_or_else(|_| PyString::new(py, &String::from_utf8_lossy(body)).into_any()),
        )?;
    }
    if let Some(headers) = &error.headers {
        fields.set_item("headers", meta::headers(py, headers)?)?;
    }
    Ok(PyErr::from_value(class.call((error.message.as_str(),), Some(&fields))?))
}
