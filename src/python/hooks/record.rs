//! `CallRecord`: what a hook gets of a call.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::observed::Asked;
use super::outcome::{Ended, Facts};
use crate::python::gil_cell::GilCell;
use crate::python::json::classes::Class;
use crate::python::json::decode;
use crate::python::{record, values};
use crate::types::operation::Output;
use crate::types::params::Params;
use crate::types::record::AttemptRecord;
use crate::types::secrets::Secrets;

/// Parameters that are texts and say nothing of the content.
const SETTINGS: &[&str] = &[
    "conversation",
    "encoding_format",
    "previous_response_id",
    "prompt_cache_retention",
    "reasoning_effort",
    "service_tier",
    "stop",
    "tool_choice",
    "truncation",
    "verbosity",
    "voice",
];
/// Parameters that are lists or objects and say nothing of the content.
const STRUCTURED: &[&str] = &["modalities", "reasoning", "stop", "stream_options", "thinking"];

/// A call that has ended, for the records of its hooks.
#[pyclass(frozen, module = "ritellm._core")]
pub(crate) struct Call {
    pub asked: Asked,
    /// Cloned before it is read: to read it may run Python code, which may read the record.
    content: GilCell<Arc<Content>>,
    /// Attempts that failed, as they were seen while the call was under way.
    failed: Vec<AttemptRecord>,
    total: Duration,
    facts: OnceLock<Facts>,
    /// Parameters without content, as JSON.
    settings: OnceLock<String>,
    /// Number and id of the row of a job.
    row: Option<(u64, Option<Box<str>>)>,
    /// Number of records of it.
    records: AtomicUsize,
}

/// What was asked and how it ended. Of a record that is kept, without what its hook did not ask for.
struct Content {
    /// Parameters of the request, the input among them.
    params: Params,
    ended: Ended,
}

impl Call {
    /// Makes a call that has ended just now.
    pub fn new(
        mut asked: Asked,
        ended: Ended,
        failed: Vec<AttemptRecord>,
        row: Option<(u64, Option<Box<str>>)>,
    ) -> Self {
        // A row's is that of its outcome.
        let total = if row.is_some() { Duration::ZERO } else { asked.begun.elapsed() };
        let content = GilCell::new(Arc::new(Content { params: std::mem::take(&mut asked.params), ended }));
        Self {
            asked,
            content,
            failed,
            total,
            facts: OnceLock::new(),
            settings: OnceLock::new(),
            row,
            records: AtomicUsize::new(0),
        }
    }

    fn content(&self, py: Python<'_>) -> Arc<Content> {
        self.content.lock(py).clone()
    }

    fn facts(&self, py: Python<'_>) -> &Facts {
        if let Some(facts) = self.facts.get() {
            return facts;
        }
        let content = self.content(py);
        let facts = content.ended.facts(py, &self.asked, &content.params, &self.failed, self.total);
        self.facts.get_or_init(|| facts)
    }

    /// Returns the parameters that say nothing of the content, as JSON.
    fn settings(&self, py: Python<'_>) -> &str {
        self.settings.get_or_init(|| {
            let content = self.content(py);
            let mut shown = Params::default();
            for (name, value) in content.params.iter().filter(|(name, _)| *name != self.asked.operation.spec().input) {
                let is_shown = match value.first() {
                    Some(b'"') => SETTINGS.contains(&name),
                    Some(b'[' | b'{') => STRUCTURED.contains(&name),
                    _ => true,
                };
                if is_shown {
                    shown.set(name, value);
                }
            }
            object_of(&shown)
        })
    }

    /// Returns true if somebody keeps a record of it.
    pub fn has_records(&self) -> bool {
        self.records.load(Ordering::Relaxed) > 0
    }

    /// Keeps of the call what its record shows, which `content` may be part of.
    pub fn settle(&self, py: Python<'_>, content: bool) {
        self.facts(py);
        self.settings(py);
        if content {
            return;
        }
        let ended = match self.content(py).ended.error() {
            Some(error) => Ended::Failed { error: error.clone_ref(py), record: None },
            None => Ended::Aborted,
        };
        let rest = Arc::new(Content { params: Params::default(), ended });
        let before = std::mem::replace(&mut *self.content.lock(py), rest);
        // Not under the lock: to drop it may run Python code.
        drop(before);
    }
}

#[pymethods]
impl Call {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.asked.context)?;
        match self.content.visit(&visit) {
            // One that is being read is held from elsewhere, too.
            Some(content) if Arc::strong_count(&content) == 1 => visit.call(content.ended.error()),
            _ => Ok(()),
        }
    }
}

/// Returns the JSON object of parameters.
fn object_of(params: &Params) -> String {
    let mut json = Vec::new();
    params.write_members(&[], &mut json);
    match json.first_mut() {
        Some(comma) => *comma = b'{',
        None => json.push(b'{'),
    }
    json.push(b'}');
    String::from_utf8_lossy(&json).into_owned()
}

/// What a hook gets of a call.
#[pyclass(frozen, name = "CallRecord", module = "ritellm._core")]
pub(crate) struct Record {
    call: Py<Call>,
    /// True if it has the content.
    content: bool,
}

impl Record {
    /// Makes a record, with the content of the call if `content` says so.
    pub fn new(call: Py<Call>, content: bool) -> Self {
        call.get().records.fetch_add(1, Ordering::Relaxed);
        Self { call, content }
    }

    fn call(&self) -> &Call {
        self.call.get()
    }

    fn facts(&self, py: Python<'_>) -> &Facts {
        self.call().facts(py)
    }

    /// Decodes a text of the request without the secrets in its parameters.
    fn decode<'py>(&self, py: Python<'py>, json: &str) -> PyResult<Bound<'py, PyAny>> {
        let mut secrets = Secrets::default();
        self.call().content(py).params.iter().for_each(|(name, value)| secrets.add_member(name, value));
        let mut json = json.to_owned();
        secrets.redactor().hide(&mut json);
        decode::decode(py, json.as_bytes(), Class::Object)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.call().records.fetch_sub(1, Ordering::Relaxed);
    }
}

fn text<'py>(py: Python<'py>, text: Option<&str>) -> PyResult<Option<Bound<'py, PyString>>> {
    text.filter(|text| !text.is_empty()).map(|text| values::string(py, text)).transpose()
}

fn texts<'py>(py: Python<'py>, texts: &[String]) -> PyResult<Bound<'py, PyList>> {
    values::list_of(py, texts.iter().map(|text| Ok(values::string(py, text)?.into_any())))
}

#[pymethods]
impl Record {
    /// Name of the operation: ``"chat"``, ``"responses"``, ``"embedding"`` …
    #[getter]
    fn operation<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        values::string(py, self.call().asked.operation.spec().name)
    }

    /// The model as the caller named it, or the provider of an operation without one.
    #[getter]
    fn model(&self, py: Python<'_>) -> Py<PyString> {
        self.call().asked.model.clone_ref(py)
    }

    /// True if a stream was asked for.
    #[getter]
    fn stream(&self) -> bool {
        self.call().asked.is_stream
    }

    /// How the call ended.
    #[getter]
    fn outcome<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        values::string(py, self.facts(py).outcome)
    }

    /// Name of the provider that was asked last.
    #[getter]
    fn provider<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        text(py, Some(&self.facts(py).provider))
    }

    /// The model as this provider knows it.
    #[getter]
    fn provider_model<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        text(py, Some(&self.facts(py).provider_model))
    }

    /// The model that answered, as the answer says.
    #[getter]
    fn response_model<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        text(py, self.facts(py).told.model.as_deref())
    }

    /// The provider's id for the answer.
    #[getter]
    fn response_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        text(py, self.facts(py).told.id.as_deref())
    }

    /// Name of the deployment that a router asked last.
    #[getter]
    fn deployment<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        text(py, self.facts(py).deployment.as_deref())
    }

    /// Host and port that were asked last.
    #[getter]
    fn host<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        let facts = self.facts(py);
        let attempts = &facts.record.attempts;
        let last = attempts.iter().rev().find_map(|attempt| attempt.host.clone());
        text(py, last.or_else(|| self.call().asked.host(facts.deployment.as_deref())).as_deref())
    }

    /// HTTP status of the last answer.
    #[getter]
    fn status_code(&self, py: Python<'_>) -> Option<u16> {
        self.facts(py).status
    }

    /// The provider's id for the request.
    #[getter]
    fn request_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        text(py, self.facts(py).request_id.as_deref())
    }

    /// The attempts, each a dict.
    #[getter]
    fn attempts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        record::attempts(py, &self.facts(py).record.attempts)
    }

    /// Number of times that the request was repeated.
    #[getter]
    fn retries(&self, py: Python<'_>) -> u32 {
        self.facts(py).record.retries
    }

    /// Time of the call, in seconds since 1970.
    #[getter]
    fn started<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let since = self.call().asked.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        values::float(py, since.as_secs_f64())
    }

    /// Seconds from the call to its end.
    #[getter]
    fn total<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        values::float(py, self.facts(py).record.total.as_secs_f64())
    }

    /// Seconds that the call waited for admission.
    #[getter]
    fn waited<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        values::float(py, self.facts(py).record.waited.as_secs_f64())
    }

    /// Seconds from the call to the first chunk of a stream.
    #[getter]
    fn first_chunk<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        record::seconds(py, self.facts(py).record.first_chunk)
    }

    /// Number of chunks that came.
    #[getter]
    fn chunks(&self, py: Python<'_>) -> u32 {
        self.facts(py).record.chunks
    }

    /// Seconds between two chunks, on average.
    #[getter]
    fn between_chunks<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        record::seconds(py, self.facts(py).record.between_chunks())
    }

    /// Numbers of tokens in classes that do not overlap.
    #[getter]
    fn usage<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.facts(py).record.usage.map(|usage| record::object(py, &usage)).transpose()
    }

    /// True if the usage is an estimate.
    #[getter]
    fn usage_is_estimated(&self, py: Python<'_>) -> bool {
        self.facts(py).is_estimated
    }

    /// True if the answer was kept, and the provider was not asked.
    #[getter]
    fn cached(&self, py: Python<'_>) -> bool {
        self.facts(py).cached
    }

    /// Cost in US dollars, if it is known.
    #[getter]
    fn cost<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.facts(py).record.cost.map(|cost| values::float(py, cost)).transpose()
    }

    /// Why each choice of the answer ended.
    #[getter]
    fn finish_reasons<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        texts(py, &self.facts(py).told.finish_reasons)
    }

    /// The exception that the caller got.
    #[getter]
    fn error(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.call().content(py).ended.error().map(|error| error.clone_ref(py).into_any())
    }

    /// The tags of the client.
    #[getter]
    fn tags<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        match &self.call().asked.tags {
            Some(tags) => tags.bind(py).copy(),
            None => values::dict(py),
        }
    }

    /// Names of the parameters that were left out because the provider lacks them.
    #[getter]
    fn dropped_params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        texts(py, &self.facts(py).record.dropped_params)
    }

    /// The parameters of the call. Without content, those that say nothing of it.
    #[getter]
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if !self.content {
            return decode::decode(py, self.call().settings(py).as_bytes(), Class::Object);
        }
        let mut params = self.call().content(py).params.clone();
        params.remove(self.call().asked.operation.spec().input);
        self.decode(py, &object_of(&params))
    }

    /// What was asked, if the hook asked for content.
    #[getter]
    fn input<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if !self.content {
            return Ok(None);
        }
        let name = self.call().asked.operation.spec().input;
        let input = self.call().content(py).params.get(name).map(|json| String::from_utf8_lossy(json).into_owned());
        input.map(|json| self.decode(py, &json)).transpose()
    }

    /// What was answered, as far as it came, if the hook asked for content.
    #[getter]
    fn output<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let asked = &self.call().asked;
        if !self.content || asked.operation.spec().output == Output::Binary {
            return Ok(None);
        }
        let content = self.call().content(py);
        let body = content.ended.body().filter(|body| !body.is_empty() && ***body != *b"null");
        body.map(|body| decode::decode(py, body, Class::of_answer(asked.operation))).transpose()
    }

    /// Number of the row of a job, from 0.
    #[getter]
    fn row(&self) -> Option<u64> {
        self.call().row.as_ref().map(|(number, _)| *number)
    }

    /// The row's own id.
    #[getter]
    fn row_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        text(py, self.call().row.as_ref().and_then(|(_, id)| id.as_deref()))
    }

    /// The context of the call, with the contextvars of its caller. Hooks run in it.
    #[getter]
    fn context<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.call().asked.context.get().get(py)
    }

    /// Returns a dict of what JSON has a form for: the error is its class and its message.
    fn to_dict<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let py = slf.py();
        let dict = values::dict(py)?;
        for name in MEMBERS {
            let name = values::string(py, name)?;
            dict.set_item(&name, slf.getattr(&name)?)?;
        }
        if slf.get().content {
            for name in ["input", "output"] {
                let name = values::string(py, name)?;
                dict.set_item(&name, slf.getattr(&name)?)?;
            }
        }
        let error = slf.get().error(py);
        let error = error.map(|error| -> PyResult<_> {
            let error = error.bind(py);
            Ok(values::string(py, &format!("{}: {}", error.get_type().name()?, error.str()?))?.into_any())
        });
        values::set(&dict, "error", error.transpose()?.as_ref())?;
        Ok(dict)
    }

    fn __repr__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let facts = self.facts(py);
        let shown = format!(
            "<CallRecord {} {} {}, {}{:.3} s>",
            self.call().asked.operation.spec().name,
            self.call().asked.model.bind(py).to_str()?,
            facts.outcome,
            if facts.record.retries == 0 { String::new() } else { format!("{} retries, ", facts.record.retries) },
            facts.record.total.as_secs_f64()
        );
        values::string(py, &shown)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.call)
    }
}

/// Names of the members that JSON has a form for.
const MEMBERS: [&str; 30] = [
    "operation",
    "model",
    "stream",
    "outcome",
    "provider",
    "provider_model",
    "response_model",
    "response_id",
    "deployment",
    "host",
    "status_code",
    "request_id",
    "attempts",
    "retries",
    "started",
    "total",
    "waited",
    "first_chunk",
    "chunks",
    "between_chunks",
    "usage",
    "usage_is_estimated",
    "cached",
    "cost",
    "finish_reasons",
    "tags",
    "dropped_params",
    "parameters",
    "row",
    "row_id",
];
