//! The function that the import system calls. It refuses every interpreter of a process but the main one.
//!
//! Objects that are made once in a process (classes, the network thread, the bridges of event loops) belong to the interpreter
//! that imported the package first. In another one an async call waited for ever, with the GIL held. pyo3 refuses a second
//! interpreter, but not a subinterpreter that comes first; and then it refuses the main one.

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

unsafe extern "C" {
    /// Defined by `#[pymodule]`, in `mod.rs`.
    safe fn PyInit__native() -> *mut ffi::PyObject;
}

/// Makes the module, or raises `ImportError` in a subinterpreter.
// SAFETY: no other function of this name is linked: `#[pymodule]` names its own after the module, which is another.
#[unsafe(no_mangle)]
extern "C" fn PyInit__core() -> *mut ffi::PyObject {
    // SAFETY: Python calls this attached.
    let py = unsafe { Python::assume_attached() };
    match check_main(py) {
        Ok(()) => PyInit__native(),
        Err(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
    }
}

/// Raises `ImportError` in a subinterpreter. Python 3.13 calls the function above in the main interpreter, and fills the module
/// in the one that imports it.
pub(super) fn check_main(_py: Python<'_>) -> PyResult<()> {
    // SAFETY: the token says that this thread is attached; the addresses are only compared.
    if unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() } {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "ritellm cannot be imported in a subinterpreter: import it in the main interpreter of a process (with mod_wsgi: \
         WSGIApplicationGroup %{GLOBAL})",
    ))
}
