//! Header fields and records as Python objects: for `meta` and for exceptions.

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::json::classes::Class;
use super::json::decode;
use super::values;
use crate::types::http::Headers;
use crate::types::record::AttemptRecord;

/// Makes a dict of header fields, names in lower case; values of a repeated name are joined by commas.
///
/// # Errors
///
/// `MemoryError`.
pub(super) fn headers<'py>(py: Python<'py>, headers: &Headers) -> PyResult<Bound<'py, PyDict>> {
    let dict = values::dict(py)?;
    for (name, value) in headers.iter() {
        let name = name.to_ascii_lowercase();
        match dict.get_item(values::string(py, &name)?)? {
            Some(earlier) => values::set(&dict, &name, format!("{earlier}, {value}").as_str())?,
            None => values::set(&dict, &name, &*value)?,
        }
    }
    Ok(dict)
}

/// Makes a list of dicts of attempts.
///
/// # Errors
///
/// `MemoryError`.
pub(super) fn attempts<'py>(py: Python<'py>, attempts: &[AttemptRecord]) -> PyResult<Bound<'py, PyAny>> {
    object(py, attempts)
}

/// Makes a `float` of a time, in seconds.
///
/// # Errors
///
/// `MemoryError`.
pub(super) fn seconds<'py>(py: Python<'py>, time: Option<Duration>) -> PyResult<Option<Bound<'py, PyAny>>> {
    time.map(|time| values::float(py, time.as_secs_f64())).transpose()
}

/// Makes the Python object of what serde can write as JSON.
///
/// # Errors
///
/// `MemoryError`.
pub(super) fn object<'py>(py: Python<'py>, value: &(impl serde::Serialize + ?Sized)) -> PyResult<Bound<'py, PyAny>> {
    decode::decode(py, json(value)?.as_bytes(), Class::Object)
}

/// Writes what serde can write as JSON.
///
/// # Errors
///
/// `ValueError` if it cannot.
pub(super) fn json(value: &(impl serde::Serialize + ?Sized)) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))
}
