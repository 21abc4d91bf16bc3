//! A row's outcome as Python objects: its answer, or the exception of its failure.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyTuple};

use super::intern::intern;
use super::json::classes::Class;
use super::json::decode;
use super::meta::Meta;
use super::object::set_slot;
use super::record;
use super::values;
use crate::bulk::outcome::Outcome;
use crate::bulk::results::ResultRow;
use crate::types::answer;
use crate::types::operation::Operation;
use crate::types::record::CallRecord;

/// Classes of the answers that rows have, each with the member that the others lack.
const MARKS: [(Class, &str); 3] =
    [(Class::ChatCompletion, "choices"), (Class::EmbeddingResponse, "data"), (Class::Response, "output")];

/// Makes a tuple of a row: the row, its number, its id, whether it succeeded, and the answer or the exception.
pub(super) fn row_of<'py>(py: Python<'py>, row: ResultRow, operation: Operation) -> PyResult<Bound<'py, PyTuple>> {
    let ResultRow { json, outcome } = row;
    let columns = match json {
        Some(json) => match decode::decode(py, &json, Class::Object) {
            // A line that is no JSON, which is why it failed.
            Err(error) if error.is_instance_of::<PyValueError>(py) => {
                values::string(py, &String::from_utf8_lossy(&json))?.into_any()
            }
            decoded => decoded?,
        },
        None => py.None().into_bound(py),
    };
    let number = values::int(py, outcome.number.try_into().unwrap_or(i64::MAX))?;
    let id = match &outcome.id {
        Some(id) => values::string(py, id)?.into_any(),
        None => py.None().into_bound(py),
    };
    let is_done = PyBool::new(py, outcome.failure.is_none()).to_owned().into_any();
    let answer = if outcome.failure.is_none() { answer_of(py, outcome, operation)? } else { failure_of(py, outcome)? };
    values::tuple(py, [columns, number, id, is_done, answer])
}

/// Makes the object of a row's answer.
fn answer_of<'py>(py: Python<'py>, outcome: Outcome, operation: Operation) -> PyResult<Bound<'py, PyAny>> {
    let response = outcome.response.unwrap_or_default();
    let class = Class::of_answer(operation);
    let mut object = decode::decode(py, &response.body, class)?;
    // A batch line may name another operation than the job's, which its answer tells even if the line is gone.
    let has = |member: &str| object.contains(member).unwrap_or(false);
    if MARKS.iter().any(|(of, member)| *of == class && !has(member))
        && let Some((other, _)) = MARKS.iter().find(|(_, member)| has(member))
    {
        object = decode::decode(py, &response.body, *other)?;
    }
    let record = CallRecord {
        attempts: outcome.calls,
        total: outcome.latency,
        waited: outcome.waited,
        usage: outcome.usage,
        cost: outcome.cost,
        retries: outcome.attempts.saturating_sub(1),
        ..CallRecord::default()
    };
    let meta = answer::Meta {
        provider: outcome.provider,
        model: outcome.model,
        status: response.status,
        retries: outcome.attempts.saturating_sub(1),
        latency: outcome.latency,
        deployment: outcome.deployment,
        cached: outcome.cached,
        record: Some(Box::new(record)),
        ..answer::Meta::default()
    };
    set_slot(&object, intern!(py, "meta"), &Bound::new(py, Meta::of(meta))?.into_any())?;
    Ok(object)
}

/// Makes the exception of a row's failure.
pub(super) fn failure_of(py: Python<'_>, outcome: Outcome) -> PyResult<Bound<'_, PyAny>> {
    let failure = outcome.failure.unwrap_or_default();
    let module = py.import(intern!(py, "ritellm.exceptions"))?;
    let class = match module.getattr_opt(values::string(py, &failure.class)?)? {
        Some(class) => class,
        None => module.getattr(intern!(py, "RiteLLMError"))?,
    };
    let fields = values::dict(py)?;
    let response = outcome.response.as_ref();
    values::set(&fields, "status_code", response.map(|response| u64::from(response.status)))?;
    values::set(&fields, "provider", Some(&*outcome.provider).filter(|name| !name.is_empty()))?;
    values::set(&fields, "model", Some(&*outcome.model).filter(|name| !name.is_empty()))?;
    values::set(&fields, "code", failure.code.as_deref())?;
    values::set(&fields, "request_id", response.and_then(|response| response.request_id.as_deref()))?;
    values::set(&fields, "retries", u64::from(outcome.attempts.saturating_sub(1)))?;
    if !outcome.calls.is_empty() {
        values::set(&fields, "attempts", &record::attempts(py, &outcome.calls)?)?;
    }
    if let Some(response) = response.filter(|response| !response.body.is_empty()) {
        let body = match decode::decode(py, &response.body, Class::Object) {
            Ok(body) => body,
            Err(_) => values::string(py, &String::from_utf8_lossy(&response.body))?.into_any(),
        };
        values::set(&fields, "body", &body)?;
    }
    class.call((values::string(py, &failure.message)?,), Some(&fields))
}
