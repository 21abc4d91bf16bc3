//! `response.meta`: metadata of an answer.

use std::sync::{Arc, OnceLock};

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use super::errors::{argument, unencodable, wrong};
use super::intern::intern;
use super::json::encode;
use super::record::{attempts, headers, json, object, seconds};
use super::values;
use crate::types::answer;
use crate::types::http::Headers;
use crate::types::record::CallRecord;
use crate::types::secrets::Secrets;
use crate::types::usage::Usage;

/// Metadata of an answer: status, header fields, retries, latency and so on.
#[pyclass(frozen, module = "ritellm._core")]
pub(crate) struct Meta {
    meta: answer::Meta,
    /// Header fields without the secrets that were sent. Made at first use, since few programs read them.
    headers: OnceLock<Headers>,
}

impl Meta {
    /// Wraps the core's metadata.
    pub fn of(meta: answer::Meta) -> Self {
        Self { meta, headers: OnceLock::new() }
    }

    /// Returns a copy of the core's metadata.
    pub fn core(&self) -> answer::Meta {
        self.meta.clone()
    }

    fn record(&self) -> Option<&CallRecord> {
        self.meta.record.as_deref()
    }

    fn shown_headers(&self) -> &Headers {
        self.headers.get_or_init(|| self.meta.shown_headers())
    }
}

#[pymethods]
impl Meta {
    /// Makes metadata: of a pickle's `state`, or of what is given.
    #[new]
    #[pyo3(signature = (state=None, /, **given))]
    fn new<'py>(
        py: Python<'py>,
        state: Option<&Bound<'py, PyDict>>,
        given: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Self> {
        let nothing = values::dict(py)?;
        let given = match state.or(given) {
            Some(given) => given,
            None => &nothing,
        };
        let item =
            |name: &str| given.get_item(values::string(py, name)?).map(|value| value.filter(|value| !value.is_none()));
        let text = |name: &str| read::<String>(name, item(name)?, "a str");
        let mut headers = map_of(item("headers")?)?;
        if let Some(id) = item("request_id")? {
            let value = read::<String>("request_id", Some(id.clone()), "a str")?.parse();
            headers.insert("x-request-id", value.map_err(|_| wrong("request_id", &id, "a text of one line"))?);
        }
        let latency = read::<f64>("latency", item("latency")?, "a number of seconds")?;
        Ok(Self::of(answer::Meta {
            provider: text("provider")?.into(),
            model: Arc::from(text("model")?),
            status: item("status_code")?.map_or(Ok(200), |value| read("status_code", Some(value), "an int"))?,
            headers: (&headers).into(),
            secrets: Secrets::default(),
            retries: read("retries", item("retries")?, "an int")?,
            latency: std::time::Duration::try_from_secs_f64(latency).unwrap_or_default(),
            dropped_params: read("dropped_params", item("dropped_params")?, "a list of str")?,
            // The record of a pickled answer has it.
            deployment: None,
            cached: read("cached", item("cached")?, "a bool")?,
            record: match item("record")? {
                Some(record) => serde_json::from_str(&record.extract::<String>()?).ok(),
                None => record_of(given)?,
            },
        }))
    }

    /// Returns what `Meta(**…)` makes this metadata of again, as JSON has it.
    fn to_dict<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let dict = values::dict(slf.py())?;
        for name in PLAIN.into_iter().chain(RECORDED) {
            let name = values::string(slf.py(), name)?;
            dict.set_item(&name, slf.getattr(&name)?)?;
        }
        Ok(dict)
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

    /// True if the answer was kept from an earlier call, or another that was under way: nothing was sent, and nothing used.
    #[getter]
    fn cached(&self) -> bool {
        self.meta.cached
    }

    /// The attempts of the call, each a dict.
    #[getter]
    fn attempts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        attempts(py, &self.meta.attempts())
    }

    /// Numbers of tokens in classes that do not overlap, if the client has a catalog and the answer told them.
    #[getter]
    fn usage<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let none = self.meta.cached.then(Usage::default);
        let usage = self.record().and_then(|record| record.usage).or(none);
        usage.map(|usage| object(py, &usage)).transpose()
    }

    /// Cost in US dollars, if the client's catalog has the prices of all tokens of the call.
    #[getter]
    fn cost<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let none = self.meta.cached.then_some(0.0);
        let cost = self.record().and_then(|record| record.cost).or(none);
        cost.map(|cost| values::float(py, cost)).transpose()
    }

    /// Seconds from the call to the end of the answer or, once a stream that is recorded is over, of the stream.
    #[getter]
    fn total<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let recorded = self.record().map(|record| record.total).unwrap_or_default();
        values::float(py, recorded.max(self.meta.latency).as_secs_f64())
    }

    /// Seconds that the call waited for admission.
    #[getter]
    fn waited<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        values::float(py, self.record().map(|record| record.waited).unwrap_or_default().as_secs_f64())
    }

    /// Seconds from the call to the first chunk, of a stream that is recorded.
    #[getter]
    fn first_chunk<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        seconds(py, self.record().and_then(|record| record.first_chunk))
    }

    /// Number of chunks that have come, of a stream that is recorded.
    #[getter]
    fn chunks(&self) -> u32 {
        self.record().map_or(0, |record| record.chunks)
    }

    /// Seconds between two chunks on average, of a stream that is recorded and over.
    #[getter]
    fn between_chunks<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        seconds(py, self.record().and_then(CallRecord::between_chunks))
    }

    /// Form in which structured output was asked for: ``"json_schema"``, ``"tool"``, ``"json_object"`` or ``"prompt"``; ``None``
    /// for a call without a type or a JSON schema as ``response_format``.
    #[getter]
    fn structured_output<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        let form = self.record().and_then(|record| record.structured_output.as_deref());
        form.map(|form| values::string(py, form)).transpose()
    }

    /// Number of times that the model was asked again because its answer did not fit the schema.
    #[getter]
    fn validation_retries(&self) -> u32 {
        self.record().map_or(0, |record| record.validation_retries)
    }

    /// Returns a text with the secrets that were sent with the call replaced by asterisks.
    #[pyo3(name = "_redact")]
    fn redact<'py>(&self, py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyString>> {
        let mut text = text.to_owned();
        self.meta.secrets.redactor().hide(&mut text);
        values::string(py, &text)
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
        for name in PLAIN {
            values::set(&state, name, &slf.getattr(values::string(py, name)?)?)?;
        }
        if let Some(record) = &slf.get().meta.record {
            values::set(&state, "record", json(record)?.as_str())?;
        }
        let state = values::tuple(py, [state.into_any()])?;
        values::tuple(py, [slf.get_type().into_any(), state.into_any()])
    }
}

/// Names of the members that are not in the record of the call.
const PLAIN: [&str; 8] =
    ["provider", "model", "status_code", "headers", "retries", "latency", "dropped_params", "cached"];
/// Names of the members that are in it.
const RECORDED: [&str; 9] = [
    "attempts",
    "usage",
    "cost",
    "total",
    "waited",
    "first_chunk",
    "chunks",
    "structured_output",
    "validation_retries",
];

/// Reads a member that is given; the default if it is not.
fn read<'py, T>(name: &str, value: Option<Bound<'py, PyAny>>, right: &str) -> PyResult<T>
where
    T: Default + for<'a> FromPyObject<'a, 'py>,
{
    match value {
        Some(value) => value.extract().map_err(|error: <T as FromPyObject<'_, 'py>>::Error| {
            unless_memory(error.into(), || wrong(name, &value, right), value.py())
        }),
        None => Ok(T::default()),
    }
}

/// Returns the error of a wrong value, but for a `MemoryError`, which says nothing about the value.
fn unless_memory(error: PyErr, wrong: impl FnOnce() -> PyErr, py: Python<'_>) -> PyErr {
    if error.is_instance_of::<PyMemoryError>(py) { error } else { wrong() }
}

/// Reads header fields; a name or a value that cannot be one is left out.
fn map_of(given: Option<Bound<'_, PyAny>>) -> PyResult<http::HeaderMap> {
    let mut map = http::HeaderMap::new();
    let Some(given) = given else { return Ok(map) };
    let pairs = || given.call_method0(intern!(given.py(), "items"))?.try_iter()?.map(|pair| pair?.extract()).collect();
    let pairs: PyResult<Vec<(String, String)>> = pairs();
    let wrong = || wrong("headers", &given, "a dict of str to str");
    for (name, value) in pairs.map_err(|error| unless_memory(error, wrong, given.py()))? {
        if let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), value.parse()) {
            map.append(name, value);
        }
    }
    Ok(map)
}

/// Reads what the record of a call holds; `None` if nothing of it is given.
fn record_of(given: &Bound<'_, PyDict>) -> PyResult<Option<Box<CallRecord>>> {
    let py = given.py();
    let members = values::dict(py)?;
    for (name, value) in given.iter() {
        let known = name.cast::<PyString>()?.to_str()?;
        if RECORDED.contains(&known) && !value.is_none() {
            members.set_item(name, value)?;
        } else if !PLAIN.contains(&known) && !RECORDED.contains(&known) && !["request_id", "record"].contains(&known) {
            let all = [&PLAIN[..], &RECORDED, &["request_id"]].concat().join(", ");
            return Err(argument(py, format!("Meta has no {known}: it has {all}")));
        }
    }
    if members.is_empty() {
        return Ok(None);
    }
    let mut json = Vec::new();
    encode::encode(&members, &mut json).map_err(|error| unencodable(py, "Meta", error))?;
    let record = serde_json::from_slice(&json);
    record
        .map(Some)
        .map_err(|error| argument(py, format!("attempts, usage, cost or times are not as a Meta has them: {error}")))
}
