//! A dict whose keys are also attributes: the base of every response class.

use std::sync::OnceLock;

use pyo3::exceptions::{PyAttributeError, PyKeyError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet, PyString, PyType};

use super::free;
use super::intern::get_or_make;
use super::values;

/// A dict whose keys can be read and set as attributes.
///
/// Where a key has the name of a dict method (`items`, `get`, …) the attribute is the method and `["items"]` the value.
#[pyclass(extends = PyDict, subclass, frozen, module = "ritellm._core")]
pub(super) struct Object;

/// Returns the names that are attributes of the class and never keys.
fn reserved(py: Python<'_>) -> PyResult<&'static Py<PyFrozenSet>> {
    static RESERVED: OnceLock<Py<PyFrozenSet>> = OnceLock::new();
    get_or_make(&RESERVED, || {
        let names: Vec<String> = py.get_type::<Object>().dir()?.extract()?;
        let own = [
            "meta",
            "_array",
            "model_copy",
            "model_dump",
            "model_dump_json",
            "model_validate",
            "model_validate_json",
            "to_dict",
            "to_json",
            "from_dict",
            "from_json",
        ]
        .map(str::to_owned);
        Ok::<_, PyErr>(PyFrozenSet::new(py, names.into_iter().chain(own))?.unbind())
    })
}

/// Returns true for a name that is an attribute of the class and never a key.
fn is_reserved(py: Python<'_>, name: &Bound<'_, PyString>) -> PyResult<bool> {
    reserved(py)?.bind(py).contains(name)
}

/// Prepares the class. To be called once, at import, when memory has not run out.
///
/// # Errors
///
/// `MemoryError`.
pub(super) fn prepare(py: Python<'_>) -> PyResult<()> {
    fill_slot(py);
    reserved(py).map(drop)
}

#[pymethods]
impl Object {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyAny>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        // dict's own __init__ takes the arguments.
        Self
    }

    fn __getattribute__<'py>(slf: &Bound<'py, Self>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if let Some(value) = slf.as_super().get_item(name)?
            && !is_reserved(py, name)?
        {
            return Ok(value);
        }
        // SAFETY: both are live references; a new reference or null with an exception set comes back.
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyObject_GenericGetAttr(slf.as_ptr(), name.as_ptr())) }
    }

    /// Raises the `AttributeError`. Called after `__getattribute__` has found nothing.
    fn __getattr__<'py>(slf: &Bound<'py, Self>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        Err(missing(slf, name))
    }

    fn __setattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        match is_reserved(slf.py(), name)? {
            true => set_slot(slf.as_any(), name, value),
            false => slf.as_super().set_item(name, value),
        }
    }

    fn __delattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>) -> PyResult<()> {
        slf.as_super().del_item(name).map_err(|error| match error.is_instance_of::<PyKeyError>(slf.py()) {
            true => missing(slf, name),
            false => error,
        })
    }

    fn __dir__<'py>(slf: &Bound<'py, Self>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let class: Bound<'_, PyType> = slf.get_type();
        let mut names: Vec<_> = class.dir()?.iter().collect();
        names.extend(slf.as_super().keys());
        Ok(names)
    }
}

/// Fills the slots of a class of ours that is written in Python, so that it is read and freed as dicts are. To be called
/// before the class has an instance.
///
/// CPython gives such a class slots that look `__getitem__` and `__contains__` up and call them, although they are dict's
/// own, and a slot for freeing that looks for features that these classes do not have. A subclass may override the methods.
///
/// # Errors
/// `TypeError` for a class that is not a subclass of `Object`.
pub(super) fn act_as_dict(class: &Bound<'_, PyType>) -> PyResult<()> {
    if !class.is_subclass_of::<Object>()? {
        return Err(PyTypeError::new_err(format!("expected a subclass of Object, not {}", class.name()?)));
    }
    let holds_only_members = holds_only_members(class);
    let class = class.as_type_ptr();
    // SAFETY: a class made by a `class` statement has tables of its own, as long-lived as itself; what is put into them is
    // dict's, and its instances are dicts.
    unsafe {
        (*(*class).tp_as_mapping).mp_subscript = (*ffi::PyDict_Type.tp_as_mapping).mp_subscript;
        (*(*class).tp_as_sequence).sq_contains = (*ffi::PyDict_Type.tp_as_sequence).sq_contains;
        if holds_only_members {
            (*class).tp_dealloc = Some(free::free);
        }
    }
    Ok(())
}

/// Returns true if instances of a subclass of [`Object`] hold nothing but their members: no slots, no `__dict__`, no weak
/// references.
pub(super) fn holds_only_members(class: &Bound<'_, PyType>) -> bool {
    let bare = class.py().get_type::<Object>().as_type_ptr();
    let class = class.as_type_ptr();
    // SAFETY: both are live classes.
    unsafe {
        (*class).tp_basicsize == (*bare).tp_basicsize && (*class).tp_dictoffset == 0 && (*class).tp_weaklistoffset == 0
    }
}

/// Puts [`free::free`] into the slot of [`Object`]. To be called before the class has an instance.
fn fill_slot(py: Python<'_>) {
    // SAFETY: the class is ours and has no instances yet; its own data is empty, so that nothing is left undropped.
    unsafe { (*py.get_type::<Object>().as_type_ptr()).tp_dealloc = Some(free::free) };
}

/// Sets an attribute that is a slot of the class, not a key.
///
/// # Errors
///
/// `AttributeError` if the class has no such slot.
pub(super) fn set_slot(
    object: &Bound<'_, PyAny>,
    name: &Bound<'_, PyString>,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    // SAFETY: the three are live references; non-zero means that an exception is set.
    match unsafe { ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), value.as_ptr()) } {
        0 => Ok(()),
        _ => Err(PyErr::fetch(object.py())),
    }
}

/// Makes the `AttributeError` for a name that is no key.
#[cold]
fn missing(slf: &Bound<'_, Object>, name: &Bound<'_, PyString>) -> PyErr {
    // Not `keys()`, which panics without memory for its list; and no `__str__`, which may change the dict.
    let keys = slf.as_super().iter().take(20).filter_map(|(key, _)| Some(key.cast::<PyString>().ok()?.to_string()));
    let keys: Vec<String> = keys.collect();
    let class = slf.get_type().name().map_or_else(|_| "Object".to_owned(), |name| name.to_string());
    let message = format!(
        "{class} has no {name}; it has {}",
        if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") }
    );
    values::string(slf.py(), &message).map_or_else(|error| error, |message| PyAttributeError::new_err(message.unbind()))
}
