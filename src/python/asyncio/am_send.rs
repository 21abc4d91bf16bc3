//! CPython's slot `am_send`, by which an awaitable hands its value to the task that awaits it.
//!
//! Without it the value travels as a `StopIteration`, made for each chunk and each answer and thrown away by the caller.
//! pyo3 has no way to fill the slot, so it is filled here, once for each class and before the class has an instance.
//! <https://docs.python.org/3/c-api/typeobj.html#c.PyAsyncMethods.am_send>

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::PyClass;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::PyType;

/// Next step of an awaitable.
pub(crate) enum Step<'py> {
    /// The awaitable is done, with this value.
    Returns(Py<PyAny>),
    /// The task is to wait for this object, which is to be like an `asyncio.Future`.
    Waits(Bound<'py, PyAny>),
}

/// A class whose instances are awaited.
pub(crate) trait Awaitable: PyClass<Frozen = True> + Sync {
    /// Returns the value that the next step would return, if it is at hand. Must leave all reference counts alone.
    fn ready(&self, py: Python<'_>) -> Option<Py<PyAny>>;

    /// Takes the next step.
    ///
    /// # Errors
    ///
    /// The exception that is raised in the task.
    fn step<'py>(slf: &Bound<'py, Self>) -> PyResult<Step<'py>>;
}

/// Fills the slot `am_send` of a class.
pub(crate) fn fill_slot<T: Awaitable>(py: Python<'_>) {
    let class: Bound<'_, PyType> = py.get_type::<T>();
    // SAFETY: the class is ours, just made, has an `__await__` and therefore its table of async methods, which is as
    // long-lived as the class; `send::<T>` is what the slot asks for, and is called with instances of this class only.
    unsafe { (*(*class.as_type_ptr()).tp_as_async).am_send = Some(send::<T>) };
}

unsafe extern "C" fn send<T: Awaitable>(
    slf: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // A panic must not leave this function: it would end the process.
    // SAFETY: CPython calls this attached, with a live instance of T and a place for the result.
    let sent = std::panic::catch_unwind(|| unsafe {
        let awaitable = Borrowed::from_ptr(Python::assume_attached(), slf).cast_unchecked::<T>();
        if let Some(value) = awaitable.get().ready(awaitable.py()) {
            *result = value.into_ptr();
            return ffi::PySendResult::PYGEN_RETURN;
        }
        // The rest counts references, for which pyo3 has to see that the thread is attached.
        Python::attach(|py| match T::step(&Borrowed::from_ptr(py, slf).cast_unchecked::<T>()) {
            Ok(Step::Returns(value)) => {
                *result = value.into_ptr();
                ffi::PySendResult::PYGEN_RETURN
            }
            Ok(Step::Waits(waiter)) => {
                *result = waiter.into_ptr();
                ffi::PySendResult::PYGEN_NEXT
            }
            Err(error) => fail(py, error, result),
        })
    });
    sent.unwrap_or_else(|_| {
        let error = pyo3::panic::PanicException::new_err("a fault of RiteLLM's");
        // SAFETY: as above.
        Python::attach(|py| unsafe { fail(py, error, result) })
    })
}

/// Raises an error in the task.
///
/// # Safety
/// `result` must be a place for a result.
unsafe fn fail(py: Python<'_>, error: PyErr, result: *mut *mut ffi::PyObject) -> ffi::PySendResult {
    // SAFETY: says the caller.
    unsafe { *result = std::ptr::null_mut() };
    error.restore(py);
    ffi::PySendResult::PYGEN_ERROR
}

/// Takes the next step in the way of `__next__`, which returns a value by raising `StopIteration`.
///
/// # Errors
///
/// `StopIteration` with the value, or the exception of the step.
pub(crate) fn next<'py, T: Awaitable>(slf: &Bound<'py, T>) -> PyResult<Bound<'py, PyAny>> {
    match T::step(slf)? {
        Step::Waits(waiter) => Ok(waiter),
        // The bare value, not a tuple of it: CPython then returns it without making an exception object.
        Step::Returns(value) => Err(pyo3::exceptions::PyStopIteration::new_err(value)),
    }
}

/// Makes the exception that was thrown into an awaitable.
///
/// # Errors
///
/// The exception that its class raises when it is called.
pub(crate) fn thrown(
    kind: &Bound<'_, PyAny>,
    value: Option<&Bound<'_, PyAny>>,
    _traceback: Option<&Bound<'_, PyAny>>,
) -> PyResult<PyErr> {
    let raised = match value.filter(|value| !value.is_none()) {
        Some(value) if value.is_instance_of::<pyo3::exceptions::PyBaseException>() => value.clone(),
        Some(value) => kind.call1((value,))?,
        None if kind.is_instance_of::<PyType>() => kind.call0()?,
        None => kind.clone(),
    };
    Ok(PyErr::from_value(raised))
}
