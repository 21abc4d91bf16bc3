//! Readers of argument values: each checks the type and the value, and names the argument in its error.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyMapping, PyString};

use crate::python::builtin::scalar;
use crate::python::errors::{argument, wrong};
use crate::transport::deadline::Timeouts;

/// Reads a string that is not empty.
///
/// # Errors
///
/// `InvalidArgumentError` that says that `right` would be right; likewise for all functions of this file.
pub(crate) fn text(name: &str, value: &Bound<'_, PyAny>, right: &str) -> PyResult<String> {
    match value.cast::<PyString>() {
        Ok(_) => str_of(name, value, right).map(str::to_owned),
        Err(_) => {
            let converted = scalar(value)?;
            let text = converted.cast::<PyString>().map_err(|_| wrong(name, value, right))?;
            str_of(name, text, right).map(str::to_owned)
        }
    }
}

/// Borrows a string that is not empty.
pub(crate) fn str_of<'a>(name: &str, value: &'a Bound<'_, PyAny>, right: &str) -> PyResult<&'a str> {
    let text = value.cast::<PyString>().map_err(|_| wrong(name, value, right))?.to_str()?;
    if text.is_empty() {
        return Err(argument(value.py(), format!("{name} is an empty str: {right} would be right")));
    }
    Ok(text)
}

/// Reads a boolean.
pub(crate) fn flag(name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    match value.cast::<PyBool>() {
        Ok(flag) => Ok(flag.is_true()),
        Err(_) => Ok(scalar(value)?.cast::<PyBool>().map_err(|_| wrong(name, value, "True or False"))?.is_true()),
    }
}

/// Reads a whole number, not negative.
pub(crate) fn count(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u32> {
    int(value)?
        .ok_or_else(|| wrong(name, value, "a whole number, 0 or more,"))?
        .extract()
        .map_err(|_| argument(value.py(), format!("{name} is {value}: a whole number, 0 or more, would be right")))
}

/// Returns a whole number of any library, but no boolean, as an `int`; `None` for other values.
fn int<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let value = scalar(value)?;
    Ok((value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>()).then_some(value))
}

/// Reads a number.
pub(crate) fn number(name: &str, value: &Bound<'_, PyAny>, right: &str) -> PyResult<f64> {
    let is_number = |value: &Bound<'_, PyAny>| {
        (value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>()) && !value.is_instance_of::<PyBool>()
    };
    if is_number(value) {
        return value.extract();
    }
    let converted = scalar(value)?;
    if is_number(&converted) { converted.extract() } else { Err(wrong(name, value, right)) }
}

/// Reads a whole number above 0: a count, or a number of bytes.
pub(crate) fn limit(name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    const RIGHT: &str = "a whole number above 0";
    let number = int(value)?.ok_or_else(|| wrong(name, value, RIGHT))?;
    match number.extract::<u64>() {
        Ok(limit) if limit > 0 => Ok(usize::try_from(limit).unwrap_or(usize::MAX)),
        _ => Err(argument(value.py(), format!("{name} is {value}: {RIGHT} would be right"))),
    }
}

/// Reads `timeout`: seconds for the whole call, or a mapping with any of queue (also pool), connect, first_token, idle and
/// total. Parts that are not given are those of `before`.
pub(crate) fn timeouts(before: Timeouts, value: &Bound<'_, PyAny>) -> PyResult<Timeouts> {
    const PARTS: &str = "queue, connect, first_token, idle and total";
    let mut timeouts = before;
    if let Some(parts) = httpx_timeout(value)? {
        return Ok(Timeouts { total: before.total, ..parts });
    }
    let Ok(mapping) = value.cast::<PyMapping>() else {
        timeouts.total = Some(seconds("timeout", value)?);
        return Ok(timeouts);
    };
    for pair in mapping.items()?.iter() {
        let (part, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
        let part = part.to_string();
        let limit = match value.is_none() {
            true => None,
            false => Some(seconds(&format!("timeout[{part:?}]"), &value)?),
        };
        match part.as_str() {
            "connect" => timeouts.connect = limit,
            // `pool` is httpx's word for it.
            "queue" | "pool" => timeouts.queue = limit,
            "first_token" => timeouts.first_token = limit,
            "idle" => timeouts.idle = limit,
            "total" => timeouts.total = limit,
            _ => return Err(argument(value.py(), format!("timeout has no part {part:?}: its parts are {PARTS}"))),
        }
    }
    Ok(timeouts)
}

/// Reads an `httpx.Timeout`, which the `openai` package takes; `None` if the value is none. It limits each read of a response.
/// Its `write` has no counterpart. `first_token` here includes connecting, and `connect` there does not.
fn httpx_timeout(value: &Bound<'_, PyAny>) -> PyResult<Option<Timeouts>> {
    if value.get_type().name()? != "Timeout" || !value.hasattr("read")? || !value.hasattr("pool")? {
        return Ok(None);
    }
    let part = |name: &str| {
        let limit = value.getattr(name)?;
        (!limit.is_none()).then(|| seconds(&format!("timeout.{name}"), &limit)).transpose()
    };
    let (connect, idle) = (part("connect")?, part("read")?);
    let first_token = idle.map(|idle| idle.saturating_add(connect.unwrap_or_default()));
    Ok(Some(Timeouts { connect, queue: part("pool")?, first_token, idle, total: None }))
}

/// Reads a number of seconds above 0.
pub(crate) fn seconds(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let number = number(name, value, "a number of seconds (or, for timeout itself, a dict of them)")?;
    // Longer than anyone waits, which is no limit.
    if number > 1e12 {
        return Ok(Duration::MAX);
    }
    match Duration::try_from_secs_f64(number) {
        Ok(limit) if !limit.is_zero() => Ok(limit),
        _ => Err(argument(value.py(), format!("{name} is {number}: a number of seconds above 0 would be right"))),
    }
}

/// Reads header fields that the caller adds.
pub(crate) fn headers(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<(HeaderName, HeaderValue)>> {
    let py = value.py();
    let mut fields = Vec::new();
    for (field, content) in pairs(name, value)? {
        let parsed = HeaderName::from_bytes(field.as_bytes())
            .map_err(|_| argument(py, format!("{name} holds {field:?}, which is no header name")))?;
        if matches!(parsed.as_str(), "content-length" | "transfer-encoding" | "host" | "connection") {
            return Err(argument(py, format!("{name} holds {field:?}, which belongs to the connection: leave it out")));
        }
        let mut content = HeaderValue::from_bytes(content.as_bytes()).map_err(|_| {
            argument(py, format!("{name}[{field:?}] holds characters that no HTTP header may hold (a line break?)"))
        })?;
        // A header field of the caller's may be a credential.
        content.set_sensitive(true);
        fields.push((parsed, content));
    }
    Ok(fields)
}

/// Reads a mapping of strings to strings; numbers and booleans are converted to strings.
pub(crate) fn pairs(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    let mapping = value.cast::<PyMapping>().map_err(|_| wrong(name, value, "a dict of str to str"))?;
    let mut pairs = Vec::new();
    for pair in mapping.items()?.iter() {
        let (key, content): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
        let key: String = key.extract().map_err(|_| wrong(&format!("a key of {name}"), &key, "a str"))?;
        if content.is_none() {
            continue;
        }
        let content = if let Ok(flag) = content.cast::<PyBool>() {
            flag.is_true().to_string()
        } else if content.is_instance_of::<PyInt>()
            || content.is_instance_of::<PyFloat>()
            || content.is_instance_of::<PyString>()
        {
            content.to_string()
        } else if let Ok(bytes) = content.cast::<PyBytes>() {
            String::from_utf8_lossy(bytes.as_bytes()).into_owned()
        } else {
            return Err(wrong(&format!("{name}[{key:?}]"), &content, "a str"));
        };
        pairs.push((key, content));
    }
    Ok(pairs)
}
