//! Values of other libraries as Python's own: arrays, columns and scalars of numpy, pandas, polars and Arrow.

use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt, PyString};

use super::intern::intern;

/// Returns a value that is none of JSON's as one of the built-in types, such as a list for an array, or the reason why there is
/// none. The package's `_plain` knows the types; it is imported for the first such value.
///
/// # Errors
///
/// Exceptions that the value's own methods raise.
#[cold]
pub(super) fn builtin<'py>(
    value: &Bound<'py, PyAny>,
    takes_iterators: bool,
) -> PyResult<Result<Bound<'py, PyAny>, String>> {
    let py = value.py();
    let module = py.import(intern!(py, "ritellm._plain"))?;
    match module.getattr(intern!(py, "builtin"))?.call1((value, takes_iterators)) {
        Ok(converted) => Ok(Ok(converted)),
        Err(error) if error.value(py).is_instance(&module.getattr(intern!(py, "Unplain"))?)? => {
            Ok(Err(error.value(py).str()?.to_str()?.to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// Returns a number, a boolean or a text of another library as the built-in one; other values as they are.
///
/// # Errors
///
/// Those of [`builtin`].
pub(super) fn scalar<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    match value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyString>() {
        true => Ok(value.clone()),
        false => Ok(builtin(value, false)?.unwrap_or_else(|_| value.clone())),
    }
}
