//! Plain dicts → the package's dict classes, as decoding JSON does, for values that were decoded elsewhere.

use pyo3::exceptions::PyRecursionError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::intern::intern;
use super::json::classes::{Class, classes};
use super::json::decode::DEEPEST;
use super::object::{Object, set_slot};
use super::stack;
use super::values;

/// Gives every dict below `object` the class that it would have in an answer. Dicts that have the class already stay as they
/// are; lists are made anew where something in them changes, so that the caller's own stay plain.
///
/// # Errors
///
/// `RecursionError` beyond [`DEEPEST`] levels, and for an object that contains itself.
pub(super) fn adopt(object: &Bound<'_, Object>) -> PyResult<()> {
    let class = class_of(object.as_any())?;
    members(object.as_super(), class, 0)
}

/// Copies `meta`, which is no key, from one answer to another.
///
/// # Errors
///
/// The exception of an attribute of the caller's own class.
pub(super) fn copy_meta(from: &Bound<'_, PyAny>, to: &Bound<'_, Object>) -> PyResult<()> {
    let name = intern!(to.py(), "meta");
    if from.is_instance_of::<Object>()
        && let Some(meta) = from.getattr_opt(name)?
        && to.get_type().hasattr(name)?
    {
        set_slot(to.as_any(), name, &meta)?;
    }
    Ok(())
}

/// Returns the nearest of the package's classes that an object is an instance of.
fn class_of(object: &Bound<'_, PyAny>) -> PyResult<Class> {
    let classes = classes(object.py())?;
    for class in object.get_type().mro().iter() {
        if let Some(index) = classes.iter().position(|known| known.class.is(&class)) {
            return Ok(Class::ALL[index]);
        }
    }
    Ok(Class::Object)
}

fn check_depth(depth: usize) -> PyResult<()> {
    if depth <= DEEPEST && stack::has_room(depth) {
        return Ok(());
    }
    Err(PyRecursionError::new_err(match depth > DEEPEST {
        true => format!("more than {DEEPEST} levels of dicts and lists"),
        false => format!("{depth} levels of dicts and lists are too many for the stack of this thread"),
    }))
}

/// Gives the members of a dict their classes.
fn members(dict: &Bound<'_, PyDict>, class: Class, depth: usize) -> PyResult<()> {
    check_depth(depth)?;
    let mut changed = Vec::new();
    for (name, value) in dict.iter() {
        let within = match name.cast::<PyString>() {
            Ok(name) => Class::under(name.to_str().unwrap_or_default()).within(class),
            Err(_) => Class::Object,
        };
        let adopted = adopted(&value, within, depth)?;
        if !adopted.is(&value) {
            changed.push((name, adopted));
        }
    }
    changed.into_iter().try_for_each(|(name, value)| dict.set_item(name, value))
}

/// Returns a value with its class, and itself if nothing changes.
fn adopted<'py>(value: &Bound<'py, PyAny>, class: Class, depth: usize) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    // A vector is a list of numbers.
    if class == Class::Vector {
        return Ok(value.clone());
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        let wanted = classes(py)?[class as usize].class.bind(py);
        if value.is_instance(wanted)? {
            return Ok(value.clone());
        }
        let made = wanted.call_method1(intern!(py, "__new__"), (wanted,))?.cast_into::<PyDict>()?;
        made.update(dict.as_mapping())?;
        members(&made, class, depth + 1)?;
        return Ok(made.into_any());
    }
    let Ok(list) = value.cast::<PyList>() else { return Ok(value.clone()) };
    check_depth(depth)?;
    let items = list.iter().map(|item| adopted(&item, class, depth + 1)).collect::<PyResult<Vec<_>>>()?;
    match items.iter().zip(list.iter()).all(|(new, old)| new.is(&old)) {
        true => Ok(value.clone()),
        false => Ok(values::list_of(py, items.into_iter().map(Ok))?.into_any()),
    }
}
