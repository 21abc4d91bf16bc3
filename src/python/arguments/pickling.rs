//! Pickling of clients: credentials are never pickled, and calls that would need them are refused.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString};

use super::limits::Limits;
use super::settings::{self, Pickled, WITHHELD};
use crate::python::errors::argument;
use crate::python::intern::intern;
use crate::python::values;
use crate::types::secrets::is_credential;

/// Returns the arguments of a client without its credentials, of which only the names go to the other process.
///
/// # Errors
///
/// `MemoryError`, or what a mapping of the caller's raises.
pub(crate) fn without_secrets<'py>(given: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
    let py = given.py();
    let kept = values::dict(py)?;
    let withheld = values::list(py)?;
    if let Some(earlier) = given.get_item(intern!(py, WITHHELD))? {
        earlier.try_iter()?.try_for_each(|name| withheld.append(name?))?;
    }
    for (name, value) in given.iter() {
        let text = name.cast::<PyString>()?.to_str()?;
        if text == WITHHELD {
            continue;
        }
        match settings::find(text).map_or(Pickled::Always, |setting| setting.pickled) {
            Pickled::UnlessString if value.cast::<PyString>().is_ok() => withheld.append(name)?,
            Pickled::UnlessPassword if has_password(&value) => withheld.append(name)?,
            Pickled::WithoutCredentials if !value.is_none() => {
                let fields = values::dict(py)?;
                for pair in value.cast::<PyMapping>()?.items()?.iter() {
                    let (field, content): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
                    match is_credential(&field.to_string()) {
                        true => withheld.append(values::string(py, &format!("headers[{:?}]", field.to_string()))?)?,
                        false => fields.set_item(field, content)?,
                    }
                }
                kept.set_item(name, fields)?;
            }
            _ => kept.set_item(name, value)?,
        }
    }
    if !withheld.is_empty() {
        values::set(&kept, WITHHELD, values::tuple(py, withheld.iter())?.as_any())?;
    }
    Ok(kept)
}

/// Returns true for an address that holds a password, and for what has such an address.
fn has_password(value: &Bound<'_, PyAny>) -> bool {
    let is_in_address = value.cast::<PyString>().is_ok_and(|url| url.to_string().contains('@'));
    is_in_address || value.cast::<Limits>().is_ok_and(|limits| limits.get().has_password())
}

/// Refuses a call of a client whose credentials were not pickled: those of the environment may be another's.
///
/// # Errors
///
/// `InvalidArgumentError` that names what is missing, unless that is the key and the call has one.
pub(crate) fn refuse_without(py: Python<'_>, withheld: &[String], has_key: bool) -> PyResult<()> {
    let missing: Vec<&str> =
        withheld.iter().map(String::as_str).filter(|name| *name != "api_key" || !has_key).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(argument(
        py,
        format!(
            "this client was pickled, and its {} was not: keys are never pickled. Make the client with api_key=a function \
             that gives the key (functions are pickled by name), or without a key, so that each process takes it from its \
             environment, or pass api_key= to the call",
            missing.join(", ")
        ),
    ))
}
