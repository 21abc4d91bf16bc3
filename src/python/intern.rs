//! Python values that are made once, at their first use, and that a fork cannot break.
//!
//! pyo3's `PyOnceLock`, and `intern!` on top of it, release the GIL while the value is made. A fork by another thread at
//! that moment leaves the child with a lock whose holder is gone. Here the value is made first, and setting it takes no
//! longer than a store.

use std::sync::OnceLock;

use pyo3::prelude::*;

/// Returns the value of a cell, made by `make` if it is empty. Two threads may both make a value; the first one is kept.
///
/// # Errors
///
/// The error of `make`.
pub(super) fn get_or_make<T>(cell: &'static OnceLock<T>, make: impl FnOnce() -> PyResult<T>) -> PyResult<&'static T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}

/// Returns an interned `str`, for names of attributes and methods. Returns from the caller with the error if the `str` cannot
/// be made.
macro_rules! intern {
    ($py:expr, $text:expr) => {{
        static NAME: std::sync::OnceLock<pyo3::Py<pyo3::types::PyString>> = std::sync::OnceLock::new();
        let make = || $crate::python::values::interned($py, $text).map(pyo3::Bound::unbind);
        $crate::python::intern::get_or_make(&NAME, make)?.bind($py)
    }};
}
pub(super) use intern;
