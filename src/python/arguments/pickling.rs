//! Pickling of clients: credentials are never pickled, and calls that would need them are refused.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMapping, PyString};

use super::budget::Budget;
use super::cache::Cache;
use super::limits::Limits;
use super::settings::{self, Pickled};
use super::withheld::WITHHELD;
use crate::providers;
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
                let fields = without_credentials(&value, |field| withheld.append(values::string(py, &field)?))?;
                kept.set_item(name, fields)?;
            }
            Pickled::WithoutSecrets if !value.is_none() => {
                let entries = values::dict(py)?;
                for pair in value.cast::<PyMapping>()?.items()?.iter() {
                    let (entry, members): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
                    entries.set_item(entry, entry_without_secrets(members.cast::<PyMapping>()?)?)?;
                }
                kept.set_item(name, entries)?;
            }
            Pickled::Options => {
                let options = value.try_iter()?.map(|options| {
                    let kept = values::dict(py)?;
                    for (option, value) in options?.cast::<PyDict>()?.iter() {
                        match option.to_string() == "headers" && !value.is_none() {
                            true => {
                                let add = |field: String| withheld.append(values::string(py, &field)?);
                                kept.set_item(option, without_credentials(&value, add)?)?;
                            }
                            false => kept.set_item(option, value)?,
                        }
                    }
                    Ok(kept.into_any())
                });
                let options = options.collect::<PyResult<Vec<_>>>()?;
                kept.set_item(name, values::tuple(py, options)?)?;
            }
            _ => kept.set_item(name, value)?,
        }
    }
    if !withheld.is_empty() {
        values::set(&kept, WITHHELD, values::tuple(py, withheld.iter())?.as_any())?;
    }
    Ok(kept)
}

/// Returns the arguments of a client as they may be shown: `name=value`, with `…` for credentials.
pub(crate) fn shown(given: &Bound<'_, PyDict>) -> PyResult<Vec<String>> {
    let py = given.py();
    let all = without_secrets(given)?;
    let mut members = Vec::new();
    // A router's own arguments, then those of a client, then those of `with_options`, which replace them.
    let mut groups = vec![all.clone()];
    if let Some(router) = all.get_item(intern!(py, settings::ROUTER))? {
        groups.insert(0, router.cast_into()?);
    }
    if let Some(options) = all.get_item(intern!(py, settings::OPTIONS))? {
        for option in options.try_iter()? {
            groups.push(option?.cast_into()?);
        }
    }
    for group in &groups {
        for (name, value) in group.iter() {
            let name = name.to_string();
            let is_internal = name.starts_with('_') || name == "allow_circles";
            if is_internal || value.is_none() {
                continue;
            }
            if name == "providers" {
                for entry in value.cast::<PyDict>()?.values() {
                    let entry = entry.cast::<PyDict>()?;
                    if let Some(withheld) = entry.get_item(intern!(py, WITHHELD))? {
                        entry.del_item(intern!(py, WITHHELD))?;
                        withheld.try_iter()?.try_for_each(|name| entry.set_item(name?, intern!(py, "…")))?;
                    }
                }
            }
            members.retain(|(known, _)| *known != name);
            members.push((name, value.repr()?.to_string()));
        }
    }
    if let Some(withheld) = all.get_item(intern!(py, WITHHELD))? {
        for name in withheld.try_iter()? {
            members.push((name?.to_string(), "…".to_owned()));
        }
    }
    Ok(members.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

/// Returns header fields without those that are credentials, whose places are given to `withhold`.
fn without_credentials<'py>(
    fields: &Bound<'py, PyAny>,
    withhold: impl Fn(String) -> PyResult<()>,
) -> PyResult<Bound<'py, PyDict>> {
    let kept = values::dict(fields.py())?;
    for pair in fields.cast::<PyMapping>()?.items()?.iter() {
        let (field, content): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
        match is_credential(&field.to_string()) {
            true => withhold(format!("headers[{:?}]", field.to_string()))?,
            false => kept.set_item(field, content)?,
        }
    }
    Ok(kept)
}

/// Returns what is known of a provider without credentials, of which the names stand under [`WITHHELD`].
fn entry_without_secrets<'py>(members: &Bound<'py, PyMapping>) -> PyResult<Bound<'py, PyDict>> {
    let py = members.py();
    let kept = values::dict(py)?;
    let withheld = values::list(py)?;
    for pair in members.items()?.iter() {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
        let text = name.to_string();
        match text.as_str() {
            WITHHELD => value.try_iter()?.try_for_each(|name| withheld.append(name?))?,
            "headers" if !value.is_none() => {
                let add = |field: String| withheld.append(values::string(py, &field)?);
                kept.set_item(name, without_credentials(&value, add)?)?;
            }
            // Functions are pickled by name, and what locates a provider is no secret.
            _ if value.is_callable() => kept.set_item(name, value)?,
            "api_key" => withheld.append(name)?,
            _ if is_secret(&text, &value) || has_password(&value) => withheld.append(name)?,
            _ => kept.set_item(name, value)?,
        }
    }
    if !withheld.is_empty() {
        values::set(&kept, WITHHELD, values::tuple(py, withheld.iter())?.as_any())?;
    }
    Ok(kept)
}

/// Returns the names of a call's arguments that are credentials or hold one, which must not go to another process.
///
/// # Errors
///
/// `MemoryError`, or what a mapping of the caller's raises.
#[pyfunction]
pub(crate) fn credentials_in<'py>(arguments: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyList>> {
    let py = arguments.py();
    let found = values::list(py)?;
    for (name, value) in arguments.iter() {
        let text = name.to_string();
        if let ("headers" | "extra_headers" | "extra_query", Ok(fields)) = (&*text, value.cast::<PyMapping>()) {
            for field in fields.keys()?.iter().map(|field| field.to_string()).filter(|field| is_credential(field)) {
                found.append(values::string(py, &format!("{text}[{field:?}]"))?)?;
            }
        } else if !value.is_callable() && (text == "api_key" || is_secret(&text, &value)) {
            found.append(name)?;
        }
    }
    Ok(found)
}

/// Returns true for a setting that is a credential, or the content of a file of credentials in place of its path.
fn is_secret(name: &str, value: &Bound<'_, PyAny>) -> bool {
    let is_file = || value.cast::<PyString>().is_ok_and(|text| providers::is_credentials_file(&text.to_string()));
    providers::is_secret_setting(name) || (providers::setting_names().any(|setting| setting == name) && is_file())
}

/// Returns true for an address that holds a password, and for what has such an address.
fn has_password(value: &Bound<'_, PyAny>) -> bool {
    let is_in_address = value.cast::<PyString>().is_ok_and(|url| url.to_string().contains('@'));
    let is_cache = value.cast::<Cache>().is_ok_and(|cache| cache.get().has_password());
    let is_budget = value.cast::<Budget>().is_ok_and(|budget| budget.get().has_password());
    is_in_address || is_cache || is_budget || value.cast::<Limits>().is_ok_and(|limits| limits.get().has_password())
}
