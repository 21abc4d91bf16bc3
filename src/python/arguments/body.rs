//! The body of a request: the input of the call, its parameters, and what is merged into them.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};

use super::upload;
use crate::providers::{Deployment, check_segments};
use crate::python::builtin::builtin;
use crate::python::errors::{argument, exception, unencodable, wrong};
use crate::python::json::encode;
use crate::types::operation::Operation;
use crate::types::params::Params;
use crate::types::request::Request;

/// An argument of a call: its name and its value.
pub(super) type Argument<'py> = (Bound<'py, PyString>, Bound<'py, PyAny>);

/// Checks the input of a call. An upload is read into the request at once. Returns the input as a list, if it is another
/// library's.
///
/// # Errors
///
/// `InvalidArgumentError` for an input of the wrong type, or for none where one is required.
pub(super) fn check<'py>(request: &mut Request, input: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let spec = request.operation.spec();
    match request.operation {
        Operation::Chat | Operation::CountTokens => check_messages(input),
        Operation::Embedding => check_input(input),
        Operation::FileCreate | Operation::BatchSubmit => {
            request.upload = Some(Arc::new(upload::upload(input)?));
            Ok(None)
        }
        _ if spec.input_optional || !input.is_none() => Ok(None),
        _ => Err(argument(input.py(), format!("{} is None: it has to be given", spec.input))),
    }
}

/// Writes the body of a request. `merged` are mappings that are merged last and therefore override parameters of the same
/// name; a model or a `stream` in them override those of the call.
///
/// # Errors
///
/// `InvalidArgumentError` that says where a value cannot be encoded as JSON.
pub(super) fn write(
    request: &mut Request,
    deployment: &mut Deployment,
    input: &Bound<'_, PyAny>,
    params: &[Argument<'_>],
    merged: &[Argument<'_>],
) -> PyResult<()> {
    request.params = Params::of_call(&deployment.model, request.stream);
    // An input that is optional may be missing, and an upload is no JSON.
    if !input.is_none() && request.upload.is_none() {
        set(&mut request.params, request.operation.spec().input, input)?;
    }
    for (name, value) in params {
        set(&mut request.params, name.to_str()?, value)?;
    }
    for (name, value) in merged {
        merge(&mut request.params, name.to_str()?, value)?;
    }
    if !merged.is_empty() {
        // The body has these already, from arguments of the call.
        let params = &mut request.params;
        let stream = params.get("stream").and_then(|value| serde_json::from_slice(value).ok());
        if params.remove("stream") {
            request.stream = stream.unwrap_or(request.stream);
        }
        let model: Option<String> = params.get("model").and_then(|value| serde_json::from_slice(value).ok());
        params.remove("model");
        if let Some(model) = model {
            check_segments("model", &model).map_err(|error| exception(input.py(), error))?;
            deployment.model = model.into();
        }
    }
    request.params.close();
    request.model.clone_from(&deployment.model);
    Ok(())
}

/// Sets a parameter.
fn set(params: &mut Params, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    params.set_with(name, |out| encode::encode(value, out)).map_err(|error| unencodable(value.py(), name, error))
}

/// Merges a mapping, or an object's JSON in a string, into the body.
fn merge(params: &mut Params, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = value.py();
    let json = match value.cast::<PyString>() {
        Ok(text) if name == "additional_params" => text.to_str()?.as_bytes().to_vec(),
        _ if value.cast::<PyMapping>().is_ok() => {
            let mut json = Vec::new();
            encode::encode(value, &mut json).map_err(|error| unencodable(py, name, error))?;
            json
        }
        _ => {
            let right = if name == "additional_params" { "a dict or a JSON string of one" } else { "a dict" };
            return Err(wrong(name, value, right));
        }
    };
    params.merge_json(&json).map_err(|error| argument(py, format!("{name}: {}", error.message)))
}

fn check_messages<'py>(messages: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    const RIGHT: &str = "a list of messages such as {\"role\": \"user\", \"content\": \"Hi\"}";
    let is_message = |item: &Bound<'_, PyAny>| {
        item.cast::<PyDict>().is_ok() || item.cast::<PyMapping>().is_ok() || item.hasattr("model_dump").unwrap_or(false)
    };
    let check = |index: usize, item: &Bound<'_, PyAny>| match is_message(item) {
        true => Ok(()),
        false => {
            Err(wrong(&format!("messages[{index}]"), item, "a dict such as {\"role\": \"user\", \"content\": \"Hi\"}"))
        }
    };
    if let Ok(list) = messages.cast::<PyList>() {
        list.iter().enumerate().try_for_each(|(index, item)| check(index, &item)).map(|()| None)
    } else if let Ok(tuple) = messages.cast::<PyTuple>() {
        tuple.iter().enumerate().try_for_each(|(index, item)| check(index, &item)).map(|()| None)
    } else {
        let list = foreign_list("messages", messages, RIGHT)?;
        check_messages(&list)?;
        Ok(Some(list))
    }
}

/// Checks the input of embeddings: a text, or a list of anything. The items of a list are checked by the provider.
fn check_input<'py>(input: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let is_list = input.cast::<PyList>().is_ok() || input.cast::<PyTuple>().is_ok();
    match is_list || input.cast::<PyString>().is_ok() {
        true => Ok(None),
        false => foreign_list("input", input, "a str or a list of str").map(Some),
    }
}

/// Returns a column, an array, an iterator or another sequence as a list.
///
/// # Errors
///
/// `InvalidArgumentError` that names the argument, for a value that is none of these.
#[cold]
fn foreign_list<'py>(name: &str, value: &Bound<'py, PyAny>, right: &str) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    // `builtin` is for what JSON does not know.
    let is_known = value.is_none()
        || value.is_instance_of::<PyString>()
        || value.is_instance_of::<PyInt>()
        || value.is_instance_of::<PyFloat>()
        || value.cast::<PyMapping>().is_ok();
    if is_known {
        return Err(wrong(name, value, right));
    }
    match builtin(value, true)? {
        Ok(converted) => {
            let list = converted.cast_into::<PyList>().map_err(|_| wrong(name, value, right))?;
            // A column's missing values are numbers that are none, or `None`.
            let is_missing = |item: &Bound<'_, PyAny>| {
                item.is_none() || item.cast::<PyFloat>().is_ok_and(|number| number.value().is_nan())
            };
            match list.iter().position(|item| is_missing(&item)) {
                Some(index) => {
                    Err(argument(py, format!("{name}[{index}] is a missing value: leave it out or fill it")))
                }
                None => Ok(list.into_any()),
            }
        }
        Err(reason) => Err(argument(py, format!("{name} {reason}"))),
    }
}
