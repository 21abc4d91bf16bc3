//! The keyword arguments of a `Client`: read and checked, and kept for copies of it.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::defaults::Defaults;
use super::{connection, foreign, functions, readers};
use crate::python::errors::{argument, wrong};
use crate::python::json::decode;
use crate::transport::{Settings, Trust};

/// The keyword under which an unpickled client is told what was not pickled with it.
pub(super) const WITHHELD: &str = "_withheld";

/// The one setting of a provider that a client takes: a function that gives tokens is made once.
pub(super) const TOKEN_PROVIDER: &str = "azure_ad_token_provider";

/// Reads a client's keyword arguments; `None` is as good as not given.
pub(crate) fn read(given: &Bound<'_, PyDict>) -> PyResult<(Defaults, Settings)> {
    let mut defaults = Defaults { deepest: decode::DEEP, ..Defaults::default() };
    let mut settings = Settings::default();
    let (mut verify, mut bundle) = (true, None);
    for (name, value) in given.iter() {
        let name = name.cast_into::<PyString>()?;
        let name = name.to_str()?;
        if value.is_none() {
            continue;
        }
        match name {
            "api_key" => (defaults.given.api_key, defaults.functions.key) = functions::key(name, &value)?,
            TOKEN_PROVIDER => {
                let (given, function) = functions::secret_or_function(name, &value)?;
                defaults.given.settings.push((TOKEN_PROVIDER, given));
                defaults.functions.settings.extend(function.map(|function| (TOKEN_PROVIDER, function)));
            }
            "request_headers" => {
                if !value.is_callable() {
                    return Err(wrong(name, &value, "a function that returns a dict of header fields"));
                }
                defaults.functions.headers = Some(Arc::new(value.unbind()));
            }
            "base_url" => {
                let url = readers::text(name, &value, "an address such as \"https://host/v1\"")?;
                defaults.given.base_url = Some(url.into());
            }
            "api_version" => {
                defaults.given.api_version = Some(readers::text(name, &value, "the version's name")?);
            }
            "timeout" => defaults.timeouts = readers::timeouts(defaults.timeouts, &value)?,
            "max_retries" => defaults.max_retries = Some(readers::count(name, &value)?),
            "max_retry_after" => defaults.max_retry_after = Some(readers::seconds(name, &value)?),
            "headers" => defaults.headers = readers::headers(name, &value)?,
            "drop_params" => defaults.drop_params = readers::flag(name, &value)?,
            "allow_http" => defaults.allow_http = readers::flag(name, &value)?,
            "max_nesting" => defaults.deepest = nesting(name, &value)?,
            "http2" => settings.http2 = readers::flag(name, &value)?,
            "ca_bundle" => bundle = Some(connection::ca_bundle(&value)?),
            "verify" => {
                foreign::refuse_ssl_context(name, &value)?;
                verify = readers::flag(name, &value)?;
            }
            "client_cert" => settings.identity = Some(Arc::new(connection::client_cert(&value)?)),
            "proxy" => settings.proxy = Some(connection::proxy(&value)?),
            "max_connections" => settings.max_connections = Some(readers::limit(name, &value)?),
            "max_in_flight" => settings.max_in_flight = Some(readers::limit(name, &value)?),
            "max_header_size" => settings.max_header = readers::limit(name, &value)?,
            "max_body_size" => settings.max_body = readers::limit(name, &value)?,
            "max_event_size" => settings.max_event = readers::limit(name, &value)?,
            "max_stream_size" => settings.max_stream = readers::limit(name, &value)?,
            "max_values" => settings.max_values = readers::limit(name, &value)?,
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
        (false, None) => settings.trust = Trust::NoVerification,
        (true, Some(bundle)) => settings.trust = bundle,
        (true, None) => {}
    }
    Ok((defaults, settings))
}

fn nesting(name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let deepest = readers::limit(name, value)?;
    if deepest <= decode::DEEPEST {
        return Ok(deepest);
    }
    let most = decode::DEEPEST;
    Err(argument(value.py(), format!("{name} is {deepest}: a whole number up to {most} would be right")))
}
