//! What an unpickled client did not get back: the credentials that it was made with before.

use pyo3::prelude::*;

use crate::python::errors::argument;

/// Keyword under which an unpickled client gets the names of the arguments that were not pickled with it.
pub(super) const WITHHELD: &str = "_withheld";

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
    Err(argument(py, not_pickled(&missing.join(", "))))
}

/// Returns the message of a call that needs what was not pickled.
pub(super) fn not_pickled(missing: &str) -> String {
    format!(
        "this client was pickled, and its {missing} was not: keys are never pickled. Make the client with api_key=a function \
         that gives the key (functions are pickled by name), or without a key, so that each process takes it from its \
         environment, or pass api_key= to the call"
    )
}
