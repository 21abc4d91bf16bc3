//! The keyword arguments of a `Client`: read and checked, and kept for copies of it.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString};

use super::arguments::{self, Defaults};
use super::errors::argument;
use super::{foreign, json_decode, values};
use crate::transport::{Settings, Trust};
use crate::types::secrets::is_credential;

/// The keyword under which an unpickled client is told what was not pickled with it.
const WITHHELD: &str = "_withheld";

/// The one setting of a provider that a client takes: a function that gives tokens is made once.
const TOKEN_PROVIDER: &str = "azure_ad_token_provider";

/// Reads a client's keyword arguments; `None` is as good as not given.
pub(super) fn read(given: &Bound<'_, PyDict>) -> PyResult<(Defaults, Settings)> {
    let mut defaults = Defaults { deepest: json_decode::DEEP, ..Defaults::default() };
    let mut settings = Settings::default();
    let (mut verify, mut bundle) = (true, None);
    for (name, value) in given.iter() {
        let name = name.cast_into::<PyString>()?;
        let name = name.to_str()?;
        if value.is_none() {
            continue;
        }
        match name {
            "api_key" => (defaults.given.api_key, defaults.functions.key) = arguments::key(name, &value)?,
            TOKEN_PROVIDER => {
                let (given, function) = arguments::secret_or_function(name, &value)?;
                defaults.given.settings.push((TOKEN_PROVIDER, given));
                defaults.functions.settings.extend(function.map(|function| (TOKEN_PROVIDER, function)));
            }
            "request_headers" => {
                if !value.is_callable() {
                    return Err(arguments::wrong(name, &value, "a function that returns a dict of header fields"));
                }
                defaults.functions.headers = Some(Arc::new(value.unbind()));
            }
            "base_url" => {
                let url = arguments::text(name, &value, "an address such as \"https://host/v1\"")?;
                defaults.given.base_url = Some(url.into());
            }
            "api_version" => {
                defaults.given.api_version = Some(arguments::text(name, &value, "the version's name")?);
            }
            "timeout" => defaults.timeouts = arguments::timeouts(defaults.timeouts, &value)?,
            "max_retries" => defaults.max_retries = Some(arguments::count(name, &value)?),
            "max_retry_after" => defaults.max_retry_after = Some(arguments::seconds(name, &value)?),
            "headers" => defaults.headers = arguments::headers(name, &value)?,
            "drop_params" => defaults.drop_params = arguments::flag(name, &value)?,
            "allow_http" => defaults.allow_http = arguments::flag(name, &value)?,
            "max_nesting" => defaults.deepest = nesting(name, &value)?,
            "http2" => settings.http2 = arguments::flag(name, &value)?,
            "ca_bundle" => bundle = Some(arguments::ca_bundle(&value)?),
            "verify" => {
                foreign::refuse_ssl_context(name, &value)?;
                verify = arguments::flag(name, &value)?;
            }
            "client_cert" => settings.identity = Some(Arc::new(arguments::client_cert(&value)?)),
            "proxy" => settings.proxy = Some(arguments::proxy(&value)?),
            "max_connections" => settings.max_connections = Some(arguments::limit(name, &value)?),
            "max_in_flight" => settings.max_in_flight = Some(arguments::limit(name, &value)?),
            "max_header_size" => settings.max_header = arguments::limit(name, &value)?,
            "max_body_size" => settings.max_body = arguments::limit(name, &value)?,
            "max_event_size" => settings.max_event = arguments::limit(name, &value)?,
            "max_stream_size" => settings.max_stream = arguments::limit(name, &value)?,
            "max_values" => settings.max_values = arguments::limit(name, &value)?,
            WITHHELD => defaults.withheld = value.extract()?,
            _ => {
                foreign::refuse_setting(name, &value)?;
                return Err(PyTypeError::new_err(format!("Client() got an unexpected keyword argument '{name}'")));
            }
        }
    }
    match (verify, bundle) {
        (false, Some(_)) => {
            return Err(argument(given.py(), "verify=False and ca_bundle exclude each other: give one"));
        }
        (false, None) => settings.trust = Trust::Anybody,
        (true, Some(bundle)) => settings.trust = bundle,
        (true, None) => {}
    }
    Ok((defaults, settings))
}

fn nesting(name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let deepest = arguments::limit(name, value)?;
    if deepest <= json_decode::DEEPEST {
        return Ok(deepest);
    }
    let most = json_decode::DEEPEST;
    Err(argument(value.py(), format!("{name} is {deepest}: a whole number up to {most} would be right")))
}

/// The arguments that another process may be given: without keys, of which only the names go along.
pub(super) fn without_secrets<'py>(given: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
    let py = given.py();
    let kept = values::dict(py)?;
    let withheld = values::list(py)?;
    if let Some(earlier) = given.get_item(WITHHELD)? {
        earlier.try_iter()?.try_for_each(|name| withheld.append(name?))?;
    }
    for (name, value) in given.iter() {
        let text = name.cast::<PyString>()?.to_str()?;
        match text {
            "api_key" | TOKEN_PROVIDER if value.cast::<PyString>().is_ok() => withheld.append(name)?,
            "proxy" if value.cast::<PyString>().is_ok_and(|url| url.to_string().contains('@')) => {
                withheld.append(name)?;
            }
            "headers" if !value.is_none() => {
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
            WITHHELD => {}
            _ => kept.set_item(name, value)?,
        }
    }
    if !withheld.is_empty() {
        values::set(&kept, WITHHELD, withheld.to_tuple().as_any())?;
    }
    Ok(kept)
}

/// Refuses a call of a client whose key stayed behind when it was pickled: the environment's may be another's.
pub(super) fn refuse_without(py: Python<'_>, withheld: &[String], has_key: bool) -> PyResult<()> {
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
