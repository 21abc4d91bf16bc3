//! The core's errors as Python exceptions, whose classes are written in Python.

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::PyRange;

use super::intern::intern;
use super::json::classes::Class;
use super::json::decode;
use super::json::encode::Unencodable;
use super::record;
use super::values;
use crate::error::Error;

/// Makes the exception for an error. An exception that the caller's own code raised is returned as it is.
pub(super) fn exception(py: Python<'_>, mut error: Box<Error>) -> PyErr {
    if let Some(raised) = error.raised.take()
        && let Ok(raised) = raised.downcast::<PyErr>()
    {
        return *raised;
    }
    build(py, &error).unwrap_or_else(|failed| failed)
}

/// Makes the exception for an argument that cannot be used. The message names the argument, the type of its value, and what
/// would be right.
pub(super) fn argument(py: Python<'_>, message: impl Into<String>) -> PyErr {
    exception(py, Error::argument(message))
}

/// Makes the exception for an argument of the wrong type.
pub(super) fn wrong(name: &str, value: &Bound<'_, PyAny>, right: &str) -> PyErr {
    let kind = value.get_type().name().map_or_else(|_| "?".to_owned(), |kind| kind.to_string());
    argument(value.py(), format!("{name} is of type {kind}: {right} would be right"))
}

/// Makes the exception for the value of the argument `name` that cannot be encoded as JSON.
pub(super) fn unencodable(py: Python<'_>, name: &str, error: Unencodable) -> PyErr {
    let described = error.describe(name);
    error.raised().unwrap_or_else(|| argument(py, described))
}

/// Makes an instance of the error's class, with its fields.
fn build(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let class = py.import(intern!(py, "ritellm.exceptions"))?;
    let class = class.getattr(values::string(py, error.kind.class_name())?)?;
    let fields = values::dict(py)?;
    values::set(&fields, "status_code", error.status.map(u64::from))?;
    values::set(&fields, "provider", error.provider.as_deref())?;
    values::set(&fields, "model", error.model.as_deref())?;
    values::set(&fields, "code", error.code.as_deref())?;
    values::set(&fields, "request_id", error.request_id.as_deref())?;
    values::set(&fields, "retry_after", error.retry_after.map(|pause| pause.as_secs_f64()))?;
    values::set(&fields, "retries", u64::from(error.retries))?;
    if let Some(call) = &error.record {
        values::set(&fields, "attempts", &record::attempts(py, &call.attempts)?)?;
    }
    if let Some(inputs) = &error.inputs {
        let ends = [inputs.start, inputs.end].map(|end| values::int(py, end.try_into().unwrap_or(i64::MAX)));
        let [start, end] = ends;
        let range = py.get_type::<PyRange>().call1((start?, end?))?;
        values::set(&fields, "inputs", &range)?;
    }
    if let Some(body) = &error.body {
        let body = match decode::decode(py, body, Class::Object) {
            Err(error) if !error.is_instance_of::<PyMemoryError>(py) => {
                values::string(py, &String::from_utf8_lossy(body))?.into_any()
            }
            parsed => parsed?,
        };
        values::set(&fields, "body", &body)?;
    }
    if let Some(headers) = &error.headers {
        values::set(&fields, "headers", record::headers(py, headers)?.as_any())?;
    }
    Ok(PyErr::from_value(class.call((values::string(py, &error.message)?,), Some(&fields))?))
}
