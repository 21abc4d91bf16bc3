//! Chunks → completion, for `stream_chunk_builder`, `Stream.completion` and exceptions.

use bytes::Bytes;
use pyo3::exceptions::{PyMemoryError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString};
use serde_json::{Map, Value};

use super::classes::Class;
use super::decode;
use super::encode::each_member;
use crate::python::errors::{argument, wrong};
use crate::python::intern::intern;
use crate::python::stack;
use crate::types::accumulate::Accumulator;
use crate::types::operation::Operation;
use crate::types::redact::Redactor;

/// Decodes the response that a stream has accumulated so far, as the call without `stream` would have returned it.
///
/// # Errors
///
/// `MemoryError`, or `ValueError` if it is nested too deep.
pub(crate) fn of_json<'py>(py: Python<'py>, json: &[u8], operation: Operation) -> PyResult<Bound<'py, PyAny>> {
    let class = if operation == Operation::Responses { Class::Response } else { Class::ChatCompletion };
    decode::decode(py, json, class)
}

/// Decodes the accumulated response for an exception, without secrets: a secret may have come in pieces.
///
/// # Errors
///
/// Those of [`of_json`].
pub(crate) fn redacted<'py>(
    py: Python<'py>,
    json: Bytes,
    operation: Operation,
    redactor: &Redactor,
) -> PyResult<Bound<'py, PyAny>> {
    let json = stack::with_room(|| redactor.redact_json(json));
    of_json(py, &json, operation)
}

/// Accumulates chunks, as dicts, into a completion.
///
/// # Errors
///
/// `InvalidArgumentError` for what is no dict, or holds a value that JSON has no form for.
pub(crate) fn of_dicts<'py>(py: Python<'py>, chunks: &[Bound<'py, PyAny>]) -> PyResult<Bound<'py, PyAny>> {
    let mut accumulator = Accumulator::default();
    for (index, chunk) in chunks.iter().enumerate() {
        if !chunk.is_instance_of::<PyDict>() {
            return Err(wrong(&format!("chunks[{index}]"), chunk, "a dict, as a stream gives it,"));
        }
        let chunk = to_value(chunk, 0).map_err(|error| match error.is_instance_of::<PyTypeError>(py) {
            true => argument(py, format!("chunks[{index}] {}", error.value(py))),
            false => error,
        })?;
        stack::with_room(|| accumulator.push(chunk));
    }
    finish(py, accumulator)
}

fn finish(py: Python<'_>, accumulator: Accumulator) -> PyResult<Bound<'_, PyAny>> {
    let completion = stack::with_room(|| accumulator.finish().to_string());
    decode::decode(py, completion.as_bytes(), Class::ChatCompletion)
}

/// Converts a text with halves of surrogate pairs, which become replacement characters.
fn with_replacements(text: &Bound<'_, PyString>) -> PyResult<String> {
    let py = text.py();
    let encode = text.getattr(intern!(py, "encode"))?;
    let utf16 = encode.call1((intern!(py, "utf-16-le"), intern!(py, "surrogatepass")))?;
    let units = utf16.cast::<PyBytes>()?.as_bytes().chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    Ok(String::from_utf16_lossy(&units.collect::<Vec<_>>()))
}

/// Converts a decoded value to serde's. Values that JSON has no form for become the nearest one: half a surrogate pair the
/// replacement character, a number that is none null.
///
/// # Errors
///
/// `TypeError` for other types, and for more levels than an answer may have.
fn to_value(object: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value> {
    if depth > decode::DEEPEST {
        return Err(PyTypeError::new_err(format!("is nested more than {} deep, or contains itself", decode::DEEPEST)));
    }
    if !stack::has_room(depth) {
        return Err(PyTypeError::new_err(format!("is nested {depth} deep, which is too deep for this thread's stack")));
    }
    if let Ok(text) = object.cast::<PyString>() {
        return match text.to_str() {
            Ok(text) => Ok(Value::String(text.to_owned())),
            Err(error) if error.is_instance_of::<PyMemoryError>(object.py()) => Err(error),
            Err(_) => with_replacements(text).map(Value::String),
        };
    }
    if let Ok(dict) = object.cast::<PyDict>() {
        let mut members = Map::with_capacity(dict.len());
        each_member(dict, |name, value| {
            let name = name.str()?;
            let name = name.to_str().map_or_else(|_| with_replacements(&name), |name| Ok(name.to_owned()))?;
            members.insert(name, to_value(value, depth + 1)?);
            Ok::<_, PyErr>(())
        })?;
        return Ok(Value::Object(members));
    }
    if let Ok(list) = object.cast::<PyList>() {
        return Ok(Value::Array(list.iter().map(|item| to_value(&item, depth + 1)).collect::<PyResult<_>>()?));
    }
    if object.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = object.cast::<PyBool>() {
        return Ok(Value::Bool(flag.is_true()));
    }
    if object.is_instance_of::<PyInt>() {
        let number = object.extract::<i64>().map(Value::from).or_else(|_| object.extract::<u64>().map(Value::from));
        return Ok(number.or_else(|_| object.extract::<f64>().map(Value::from)).unwrap_or(Value::Null));
    }
    match object.cast::<PyFloat>() {
        Ok(float) => Ok(Value::from(float.value())),
        Err(_) => Err(PyTypeError::new_err(format!(
            "holds a value of type {}, which JSON cannot say",
            object.get_type().name()?
        ))),
    }
}
