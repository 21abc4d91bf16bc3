//! Constructors of Python values that return a `MemoryError` where pyo3's own panic.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple, PyType};

/// Makes an empty list.
///
/// # Errors
///
/// `MemoryError`; likewise for all functions of this file.
pub(super) fn list(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    // SAFETY: a new reference to a list or null comes back.
    unsafe { Ok(Bound::from_owned_ptr_or_err(py, ffi::PyList_New(0))?.cast_into_unchecked()) }
}

/// Makes a list of the items that an iterator of known length returns.
pub(super) fn list_of<'py>(
    py: Python<'py>,
    items: impl ExactSizeIterator<Item = PyResult<Bound<'py, PyAny>>>,
) -> PyResult<Bound<'py, PyList>> {
    let length = items.len();
    // SAFETY: a new reference to a list or null comes back. Its places are empty until they are filled, each once and none
    // beyond the length; a list with empty places may be freed.
    unsafe {
        let list = Bound::from_owned_ptr_or_err(py, ffi::PyList_New(length as ffi::Py_ssize_t))?;
        for (place, item) in items.take(length).enumerate() {
            ffi::PyList_SET_ITEM(list.as_ptr(), place as ffi::Py_ssize_t, item?.into_ptr());
        }
        Ok(list.cast_into_unchecked())
    }
}

/// Makes a tuple.
pub(super) fn tuple<'py>(
    py: Python<'py>,
    items: impl IntoIterator<Item = Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyTuple>> {
    let list = list(py)?;
    items.into_iter().try_for_each(|item| list.append(item))?;
    Ok(py.get_type::<PyTuple>().call1((list,))?.cast_into()?)
}

/// Makes an empty dict.
pub(super) fn dict(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    // SAFETY: a new reference to a dict or null comes back.
    unsafe { Ok(Bound::from_owned_ptr_or_err(py, ffi::PyDict_New())?.cast_into_unchecked()) }
}

/// A Rust value that becomes a value of a dict. pyo3's own conversions use constructors that panic.
pub(super) trait Field {
    /// Makes the Python value.
    fn make(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>>;
}

impl Field for &str {
    fn make(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(string(py, self)?.into_any())
    }
}

impl Field for u64 {
    fn make(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        int(py, self.try_into().unwrap_or(i64::MAX))
    }
}

impl Field for f64 {
    fn make(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        float(py, self)
    }
}

impl Field for &Bound<'_, PyAny> {
    fn make(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(self.clone().unbind().into_bound(py))
    }
}

impl<T: Field> Field for Option<T> {
    fn make(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        self.map_or_else(|| Ok(py.None().into_bound(py)), |value| value.make(py))
    }
}

/// Sets an item of a dict.
pub(super) fn set(dict: &Bound<'_, PyDict>, name: &str, value: impl Field) -> PyResult<()> {
    dict.set_item(string(dict.py(), name)?, value.make(dict.py())?)
}

/// Makes an `int`.
pub(super) fn int(py: Python<'_>, value: i64) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: a new reference or null comes back.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyLong_FromLongLong(value)) }
}

/// Makes a `float`.
pub(super) fn float(py: Python<'_>, value: f64) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: a new reference or null comes back.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyFloat_FromDouble(value)) }
}

/// Makes a `str`.
pub(super) fn string<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyString>> {
    // SAFETY: pointer and length are one str's; a new reference to a str or null comes back.
    unsafe {
        let string = ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as ffi::Py_ssize_t);
        Ok(Bound::from_owned_ptr_or_err(py, string)?.cast_into_unchecked())
    }
}

/// Makes an interned `str`.
pub(super) fn interned<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyString>> {
    let mut interned = string(py, text)?.into_ptr();
    // SAFETY: a live reference, and one comes back in its place.
    unsafe {
        ffi::PyUnicode_InternInPlace(&mut interned);
        Ok(Bound::from_owned_ptr(py, interned).cast_into_unchecked())
    }
}

/// Makes an `int` of any size from its decimal digits.
pub(super) fn large_int<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    let text = std::ffi::CString::new(text)?;
    // SAFETY: the text ends in NUL, and where it ends is not asked for; a new reference or null comes back.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyLong_FromString(text.as_ptr(), std::ptr::null_mut(), 10)) }
}

/// Makes the alias of a generic class with its parameters, as annotations have it at run time.
pub(super) fn generic_alias<'py>(class: &Bound<'py, PyType>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    py.import(string(py, "types")?)?.call_method1(string(py, "GenericAlias")?, (class, item))
}
