//! `response.meta`: metadata of an answer.

use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use super::intern::intern;
use super::json::classes::Class;
use super::json::decode;
use super::values;
use crate::types::answer;
use crate::types::http::Headers;
use crate::types::record::AttemptRecord;
use crate::types::secrets::Secrets;

/// Metadata of an answer: status, header fields, retries, latency and so on.
#[pyclass(frozen, module = "ritellm._core")]
pub(super) struct Meta {
    meta: answer::Meta,
    /// Header fields without the secrets that were sent. Made at first use, since few programs read them.
    headers: OnceLock<Headers>,
}

impl Meta {
    /// Wraps the core's metadata.
    pub fn of(meta: answer::Meta) -> Self {
        Self { meta, headers: OnceLock::new() }
    }

    fn shown_headers(&self) -> &Headers {
        self.headers.get_or_init(|| self.meta.shown_headers())
    }
}

#[pymethods]
impl Meta {
    #[new]
    fn new(state: &Bound<'_, PyDict>) -> PyResult<Self> {
        let item = |name: &str| {
            state.get_item(values::string(state.py(), name)?).map(|value| value.filter(|value| !value.is_none()))
        };
        let text = |name: &str| item(name)?.map_or(Ok(String::new()), |value| value.extract());
        let headers: Vec<(String, String)> = item("headers")?.map_or(Ok(Vec::new()), |value| {
            value.call_method0(intern!(value.py(), "items"))?.try_iter()?.map(|pair| pair?.extract()).collect()
        })?;
        let mut map = http::HeaderMap::new();
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), value.parse()) {
                map.append(name, value);
            }
        }
        Ok(Self::of(answer::Meta {
            provider: text("provider")?.into(),
            model: text("model")?.into(),
            status: item("status_code")?.map_or(Ok(0), |value| value.extract())?,
            headers: (&map).into(),
            secrets: Secrets::default(),
            retries: item("retries")?.map_or(Ok(0), |value| value.extract())?,
            latency: std::time::Duration::try_from_secs_f64(item("latency")?.map_or(Ok(0.0), |value| value.extract())?)
                .unwrap_or_default(),
            dropped_params: item("dropped_params")?.map_or(Ok(Vec::new()), |value| value.extract())?,
            // The record of a pickled answer has it.
            deployment: None,
            record: match item("record")? {
                Some(record) => serde_json::from_str(&record.extract::<String>()?).ok(),
                None => None,
            },
        }))
    }

    /// The provider's name.
    #[getter]
    fn provider<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        values::string(py, &self.meta.provider)
    }

    /// The model's name as the provider knows it.
    #[getter]
    fn model<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        values::string(py, &self.meta.model)
    }

    /// HTTP status.
    #[getter]
    fn status_code(&self) -> u16 {
        self.meta.status
    }

    /// The provider's id for the request, if it gave one.
    #[getter]
    fn request_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        self.shown_headers().request_id().map(|id| values::string(py, id)).transpose()
    }

    /// The answer's HTTP headers, names in lower case; values of a repeated name are joined by commas.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        headers(py, self.shown_headers())
    }

    /// Number of times that the request was repeated.
    #[getter]
    fn retries(&self) -> u32 {
        self.meta.retries
    }

    /// Seconds from the call to the whole answer, or to the beginning of a stream.
    #[getter]
    fn latency<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        values::float(py, self.meta.latency.as_secs_f64())
    }

    /// Parameters that were left out because the provider lacks them.
    #[getter]
    fn dropped_params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let names = values::list(py)?;
        self.meta.dropped_params.iter().try_for_each(|name| names.append(values::string(py, name)?))?;
        Ok(names)
    }

    /// The attempts of the call, each a dict.
    #[getter]
    fn attempts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        attempts(py, &self.meta.attempts())
    }

    /// Numbers of tokens in classes that do not overlap, if the client has a catalog and the answer told them.
    #[getter]
    fn usage<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let usage = self.meta.record.as_ref().and_then(|record| record.usage);
        usage.map(|usage| object(py, &usage)).transpose()
    }

    /// Cost in US dollars, if the client's catalog has the prices of all tokens of the call.
    #[getter]
    fn cost<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.meta.record.as_ref().and_then(|record| record.cost).map(|cost| values::float(py, cost)).transpose()
    }

    /// Form in which structured output was asked for: ``"json_schema"``, ``"tool"``, ``"json_object"`` or ``"prompt"``; ``None``
    /// for a call without a type or a JSON schema as ``response_format``.
    #[getter]
    fn structured_output<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        let form = self.meta.record.as_ref().and_then(|record| record.structured_output.as_deref());
        form.map(|form| values::string(py, form)).transpose()
    }

    /// Number of times that the model was asked again because its answer did not fit the schema.
    #[getter]
    fn validation_retries(&self) -> u32 {
        self.meta.record.as_ref().map_or(0, |record| record.validation_retries)
    }

    /// Returns this metadata with that of the answer before, after which the model was asked again.
    #[pyo3(name = "_after")]
    fn after(&self, earlier: &Self) -> Self {
        Self::of(self.meta.after(&earlier.meta))
    }

    fn __repr__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let meta = &self.meta;
        let shown = format!(
            "Meta(provider={:?}, model={:?}, status_code={}, request_id={:?}, retries={}, latency={:.3})",
            meta.provider,
            meta.model,
            meta.status,
            self.shown_headers().request_id().unwrap_or(""),
            meta.retries,
            meta.latency.as_secs_f64()
        );
        values::string(py, &shown)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let state = values::dict(py)?;
        for name in ["provider", "model", "status_code", "headers", "retries", "latency", "dropped_params"] {
            values::set(&state, name, &slf.getattr(values::string(py, name)?)?)?;
        }
        if let Some(record) = &slf.get().meta.record {
            values::set(&state, "record", json(record)?.as_str())?;
        }
        let state = values::tuple(py, [state.into_any()])?;
        values::tuple(py, [slf.get_type().into_any(), state.into_any()])
    }
}

/// Makes a dict of header fields, names in lower case; values of a repeated name are joined by commas.
///
/// # Errors
///
/// `MemoryError`.
pub(super) fn headers<'py>(py: Python<'py>, headers: &Headers) -> PyResult<Bound<'py, PyDict>> {
    let dict = values::dict(py)?;
    for (name, value) in headers.iter() {
        let name = name.to_ascii_lowercase();
        match dict.get_item(values::string(py, &name)?)? {
            Some(earlier) => values::set(&dict, &name, format!("{earlier}, {value}").as_str())?,
            None => values::set(&dict, &name, &*value)?,
        }
    }
    Ok(dict)
}

/// Makes a list of dicts of attempts.
///
/// # Errors
///
/// `MemoryError`.
pub(super) fn attempts<'py>(py: Python<'py>, attempts: &[AttemptRecord]) -> PyResult<Bound<'py, PyAny>> {
    object(py, attempts)
}

/// Makes the Python object of what serde can write as JSON.
fn object<'py>(py: Python<'py>, value: &(impl serde::Serialize + ?Sized)) -> PyResult<Bound<'py, PyAny>> {
    decode::decode(py, json(value)?.as_bytes(), Class::Object)
}

fn json(value: &(impl serde::Serialize + ?Sized)) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))
}
