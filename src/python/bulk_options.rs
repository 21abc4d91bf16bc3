//! What a job is made of: its rows, the check of its answers and the user's function, from the arguments of ``ritellm.bulk``.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::errors::{exception, unencodable};
use super::json::classes::Class;
use super::json::{decode, encode};
use super::response_format::ResponseFormat;
use super::row_queue::RowQueue;
use super::text_reader::TextReader;
use super::values;
use crate::bulk::input::{Fed, Files, Format, Peeked};
use crate::bulk::job::{MapRow, OpenRows};
use crate::bulk::row::Source;
use crate::bulk::run::{Check, ReadTexts};
use crate::bulk::template::TemplateSpec;
use crate::error::{Error, ErrorKind};

/// Number of an input's first rows whose columns are looked at.
const LOOKED_AT: usize = 100;

/// Reads an item of the options.
pub(super) fn item<'py>(options: &Bound<'py, PyDict>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(options.get_item(values::string(options.py(), name)?)?.filter(|value| !value.is_none()))
}

pub(super) fn text(options: &Bound<'_, PyDict>, name: &str) -> PyResult<Option<String>> {
    item(options, name)?.map(|value| value.extract()).transpose()
}

pub(super) fn number<T: for<'a, 'py> FromPyObject<'a, 'py, Error = PyErr>>(
    options: &Bound<'_, PyDict>,
    name: &str,
) -> PyResult<Option<T>> {
    item(options, name)?.map(|value| value.extract()).transpose()
}

pub(super) fn flag(options: &Bound<'_, PyDict>, name: &str) -> PyResult<bool> {
    Ok(number(options, name)?.unwrap_or(false))
}

/// Opens the rows of a job. Returns how to open them again, or their source if they can be read only once; the names of their
/// columns; and their description.
#[expect(clippy::type_complexity, reason = "one caller takes it apart at once")]
pub(super) fn rows_of(
    py: Python<'_>,
    rows: &Bound<'_, PyAny>,
    options: &Bound<'_, PyDict>,
) -> PyResult<(Option<OpenRows>, Option<Box<dyn Source>>, Option<Vec<String>>, serde_json::Value)> {
    let failed = |error: Box<Error>| exception(py, error);
    let kind = text(options, "kind")?.unwrap_or_else(|| "iterator".into());
    if rows.is_callable() {
        let open = rows.clone().unbind();
        let is_again = flag(options, "again")?;
        let fed = move |py: Python<'_>| -> PyResult<Fed> {
            let queue = open.bind(py).call0()?;
            let fed = queue.cast::<RowQueue>()?.get().source();
            fed.ok_or_else(|| PyRuntimeError::new_err("the rows were taken before"))
        };
        let known: Option<Vec<String>> = number(options, "columns")?;
        let mut first = Peeked::new(fed(py)?);
        let columns = match known {
            Some(columns) => Some(columns),
            // A row of an iterator is not read before it is needed, but for the first.
            None => py.detach(|| first.columns(if is_again { LOOKED_AT } else { 1 })).map_err(failed)?,
        };
        let description = serde_json::json!({"kind": kind});
        if !is_again {
            return Ok((None, Some(Box::new(first)), columns, description));
        }
        let open: OpenRows = Arc::new(move || {
            let opened = Python::try_attach(|py| fed(py).map_err(|error| raised(py, error)));
            let opened = opened.unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "the interpreter has ended")));
            Ok(Box::new(opened?))
        });
        return Ok((Some(open), None, columns, description));
    }
    let paths: Vec<PathBuf> = rows.extract()?;
    let format = match text(options, "format")?.as_deref() {
        Some("csv") => Some(Format::Csv),
        Some("jsonl") => Some(Format::Lines),
        _ => None,
    };
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let opened = py.detach(|| {
        let files = Files::new(paths, format)?;
        let mut first = Peeked::new(files.open());
        let columns = first.columns(LOOKED_AT)?;
        Ok((files, first, columns))
    });
    let (files, first, columns) = opened.map_err(failed)?;
    let description = serde_json::json!({"kind": "files", "paths": names});
    if !files.can_rescan() {
        return Ok((None, Some(Box::new(first)), columns, description));
    }
    let open: OpenRows = Arc::new(move || Ok(Box::new(files.open())));
    Ok((Some(open), None, columns, description))
}

/// Returns the check of a job's answers: `response_format` is a `ResponseFormat`, `read` the function that reads texts as the
/// user's type, if it is no schema.
pub(super) fn check_of(options: &Bound<'_, PyDict>) -> PyResult<Option<Arc<Check>>> {
    let Some(format) = item(options, "response_format")? else { return Ok(None) };
    let format = format.cast::<ResponseFormat>()?.get();
    let reader = item(options, "read")?.map(|read| Arc::new(TextReader::new(read.unbind())) as Arc<dyn ReadTexts>);
    Ok(Some(Arc::new(Check {
        schema: format.schema().clone(),
        validator: format.validator().clone(),
        reader,
        retries: number(options, "validation_retries")?.unwrap_or(0),
    })))
}

/// Returns the user's function from a row to the body of its request, for the thread that reads.
pub(super) fn map_of(function: Py<PyAny>) -> MapRow {
    Arc::new(move |json: &[u8]| {
        let map = |py: Python<'_>| -> PyResult<Bytes> {
            let made = function.bind(py).call1((decode::decode(py, json, Class::Object)?,))?;
            let mut body = Vec::new();
            encode::encode(&made, &mut body).map_err(|error| unencodable(py, "what the function returned", error))?;
            Ok(body.into())
        };
        let mapped = Python::try_attach(|py| {
            map(py).map_err(|error| format!("makes the function raise {}: {}", name_of(py, &error), error.value(py)))
        });
        mapped.unwrap_or_else(|| Err("cannot be used: the interpreter has ended".into()))
    })
}

/// Returns the name of an exception's class.
fn name_of(py: Python<'_>, error: &PyErr) -> String {
    error.get_type(py).name().map_or_else(|_| "an exception".into(), |name| name.to_string())
}

/// Returns the core's error for an exception of the caller's.
fn raised(py: Python<'_>, error: PyErr) -> Box<Error> {
    let mut failed = Error::argument(format!("the rows cannot be read: {}", error.value(py))).unsent();
    failed.raised = Some(Box::new(error));
    failed
}

/// Returns the parameters that a job's answers depend on, for its manifest.
pub(super) fn parameters(spec: &TemplateSpec) -> serde_json::Map<String, serde_json::Value> {
    use serde_json::Value;
    let json = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
    let mut parameters = serde_json::Map::new();
    parameters.insert("endpoint".into(), spec.operation.spec().name.into());
    if let Some(model) = &spec.model {
        parameters.insert("model".into(), Value::String(model.to_string()));
    }
    for (name, value) in [("prompt", &spec.prompt), ("id_column", &spec.id_column)] {
        if let Some(text) = value {
            parameters.insert(name.into(), Value::String(text.clone()));
        }
    }
    for (name, value) in [("messages", &spec.messages), ("input", &spec.input)] {
        if let Some(text) = value {
            parameters.insert(name.into(), json(text));
        }
    }
    if let Some(Value::Object(params)) = spec.params.as_ref().map(json) {
        parameters.insert("params".into(), Value::Object(params));
    }
    parameters
}
