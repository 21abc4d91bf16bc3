//! How a call ended, and the facts of its record.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;

use super::observed::Asked;
use crate::bulk::outcome::Outcome as RowOutcome;
use crate::client::{host, usage_so_far};
use crate::python::intern::intern;
use crate::types::answer;
use crate::types::operation::Streaming;
use crate::types::params::Params;
use crate::types::record::{AttemptRecord, CallRecord, Outcome};
use crate::types::told::Told;
use crate::types::usage::Usage;

/// How a call ended.
pub(crate) enum Ended {
    /// With a whole answer.
    Answered { meta: Box<answer::Meta>, body: Bytes },
    /// With an exception.
    Failed { error: Py<PyBaseException>, record: Option<Box<CallRecord>> },
    /// Its caller gave it up before there was an answer.
    Aborted,
    /// It was a stream.
    Stream(Box<EndedStream>),
    /// It was a row of a job.
    Row(Box<RowOutcome>, Option<Py<PyBaseException>>),
}

/// A stream that is over.
pub(crate) struct EndedStream {
    pub meta: answer::Meta,
    /// The answer accumulated so far, as JSON.
    pub completion: Bytes,
    /// Why it broke.
    pub error: Option<(Py<PyBaseException>, Option<Box<CallRecord>>)>,
    /// True if its caller left it before its end.
    pub is_left: bool,
}

/// What is known of a call that has ended.
pub(crate) struct Facts {
    /// `success`, `failed`, `aborted` or `left`.
    pub outcome: &'static str,
    pub provider: Cow<'static, str>,
    pub provider_model: Arc<str>,
    pub deployment: Option<Arc<str>>,
    pub status: Option<u16>,
    pub request_id: Option<String>,
    pub record: CallRecord,
    pub told: Told,
    /// True if the usage is an estimate.
    pub is_estimated: bool,
    /// True if the answer was kept, and the provider was not asked.
    pub cached: bool,
}

impl Ended {
    /// Returns the exception with which the call failed.
    pub fn error(&self) -> Option<&Py<PyBaseException>> {
        match self {
            Self::Failed { error, .. } => Some(error),
            Self::Stream(stream) => stream.error.as_ref().map(|(error, _)| error),
            Self::Row(_, error) => error.as_ref(),
            _ => None,
        }
    }

    /// Returns the answer as JSON, as far as it came.
    pub fn body(&self) -> Option<&Bytes> {
        match self {
            Self::Answered { body, .. } => Some(body),
            Self::Stream(stream) => Some(&stream.completion),
            Self::Row(outcome, _) => outcome.response.as_ref().map(|response| &response.body),
            _ => None,
        }
    }

    /// Returns what is known of the call. `failed` are its attempts that failed, in case that it was given up.
    pub fn facts(
        &self,
        py: Python<'_>,
        asked: &Asked,
        params: &Params,
        failed: &[AttemptRecord],
        total: Duration,
    ) -> Facts {
        let mut facts = match self {
            Self::Answered { meta, .. } => Facts::of_meta(meta, "success"),
            Self::Failed { error, record } => Facts::of_error(py, asked, error, record.as_deref(), "failed"),
            Self::Aborted => {
                Facts { record: asked.aborted(failed.to_vec(), total), ..Facts::of_asked(asked, "aborted") }
            }
            Self::Stream(stream) => stream.facts(py, asked, params),
            Self::Row(outcome, _) => Facts::of_row(outcome, asked.is_batch),
        };
        if let Some(body) = self.body() {
            facts.told = Told::of(asked.operation, body);
        }
        facts.record.total = facts.record.total.max(total);
        for attempt in &mut facts.record.attempts {
            if attempt.host.is_none() && attempt.outcome != Outcome::Skipped {
                attempt.host = asked.host(attempt.deployment.as_deref());
            }
        }
        facts
    }
}

impl EndedStream {
    fn facts(&self, py: Python<'_>, asked: &Asked, params: &Params) -> Facts {
        let outcome = match (&self.error, self.is_left) {
            (Some(_), _) => "failed",
            (None, true) => "left",
            (None, false) => "success",
        };
        let mut facts = Facts::of_meta(&self.meta, outcome);
        if let Some((error, record)) = &self.error {
            let of_error = Facts::of_error(py, asked, error, record.as_deref(), outcome);
            let CallRecord { first_chunk, chunks, usage, first_usage, cost, .. } = facts.record;
            let failed = of_error.record;
            let usage = failed.usage.or(usage);
            facts.record = CallRecord { first_chunk, chunks, usage, first_usage, cost, ..failed };
        }
        if facts.record.usage.is_none()
            && outcome != "success"
            && matches!(asked.operation.spec().streaming, Streaming::Chunks | Streaming::Events)
        {
            let estimate = usage_so_far(asked.operation, params, &self.completion);
            let usage = match facts.record.first_usage {
                // What the prompt used was told; what was written since then was not.
                Some(told) => Usage { output: estimate.output, reasoning: 0, audio_output: 0, ..told },
                None => estimate,
            };
            facts.record.usage = Some(usage);
            facts.record.cost = asked.cost(&facts.provider, &facts.provider_model, &usage);
            facts.is_estimated = true;
        }
        facts
    }
}

impl Facts {
    fn of_asked(asked: &Asked, outcome: &'static str) -> Self {
        Self {
            outcome,
            provider: asked.provider().unwrap_or_default().into(),
            provider_model: if asked.targets.is_some() { "".into() } else { asked.provider_model.clone() },
            deployment: None,
            status: None,
            request_id: None,
            record: CallRecord::default(),
            told: Told::default(),
            is_estimated: false,
            cached: false,
        }
    }

    fn of_meta(meta: &answer::Meta, outcome: &'static str) -> Self {
        Self {
            outcome,
            provider: meta.provider.clone(),
            provider_model: meta.model.clone(),
            deployment: meta.deployment.clone(),
            status: Some(meta.status),
            request_id: meta.shown_headers().request_id().map(str::to_owned),
            record: if meta.cached { kept() } else { meta.whole_record() },
            told: Told::default(),
            is_estimated: false,
            cached: meta.cached,
        }
    }

    fn of_error(
        py: Python<'_>,
        asked: &Asked,
        error: &Py<PyBaseException>,
        record: Option<&CallRecord>,
        outcome: &'static str,
    ) -> Self {
        let value = error.bind(py);
        let text =
            |name: PyResult<Bound<'_, PyAny>>| name.and_then(|name| name.extract::<Option<String>>()).ok().flatten();
        let record = record.cloned().unwrap_or_default();
        let last = record.attempts.last();
        let member = |name| value.getattr(name);
        let named = || -> PyResult<[Option<String>; 3]> {
            Ok([
                text(member(intern!(py, "provider"))),
                text(member(intern!(py, "model"))),
                text(member(intern!(py, "request_id"))),
            ])
        };
        let [provider, model, request_id] = named().unwrap_or_default();
        let status = || -> PyResult<Option<u16>> { value.getattr(intern!(py, "status_code"))?.extract() };
        let of_asked = Self::of_asked(asked, outcome);
        Self {
            provider: provider
                .map(Cow::from)
                .or_else(|| last.map(|last| last.provider.clone()))
                .unwrap_or(of_asked.provider.clone()),
            provider_model: model.map_or(of_asked.provider_model.clone(), Arc::from),
            deployment: last.and_then(|last| last.deployment.as_deref()).map(Arc::from),
            status: status().ok().flatten(),
            request_id,
            record,
            ..of_asked
        }
    }

    fn of_row(outcome: &RowOutcome, is_batch: bool) -> Self {
        let latency = if is_batch { Duration::ZERO } else { outcome.latency };
        let record = CallRecord {
            attempts: outcome.calls.clone(),
            total: latency,
            waited: outcome.waited,
            usage: outcome.usage,
            cost: outcome.cost,
            retries: outcome.attempts.saturating_sub(1),
            ..CallRecord::default()
        };
        let response = outcome.response.as_ref();
        let meta = answer::Meta {
            provider: outcome.provider.clone(),
            model: outcome.model.clone(),
            // Without a status there is no attempt.
            status: response.filter(|_| !is_batch).map_or(0, |response| response.status),
            retries: record.retries,
            latency,
            deployment: outcome.deployment.clone(),
            cached: outcome.cached,
            record: Some(Box::new(record)),
            ..answer::Meta::default()
        };
        let kind = if outcome.failure.is_none() { "success" } else { "failed" };
        Self {
            status: response.map(|response| response.status),
            request_id: response.and_then(|response| response.request_id.as_deref()).map(str::to_owned),
            ..Self::of_meta(&meta, kind)
        }
    }
}

/// Returns the record of a call whose answer was kept: it used nothing.
fn kept() -> CallRecord {
    CallRecord { usage: Some(Usage::default()), cost: Some(0.0), ..CallRecord::default() }
}

impl Asked {
    /// Returns the cost of a usage in US dollars, if the client has a catalog with the price.
    fn cost(&self, provider: &str, model: &str, usage: &Usage) -> Option<f64> {
        let now = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.catalog.as_ref()?.find(provider, model)?.cost(usage, now)
    }

    /// Returns host and port of a deployment.
    pub fn host(&self, deployment: Option<&str>) -> Option<String> {
        match (&self.targets, deployment) {
            (None, _) => host(&self.base_url),
            (Some(targets), Some(name)) => {
                let target = targets.iter().find(|target| &*target.name == name)?;
                host(&target.deployment.base_url)
            }
            (Some(_), None) => None,
        }
    }

    /// Returns the record of a call that was given up: the attempts that had failed, and the one that was under way.
    fn aborted(&self, mut attempts: Vec<AttemptRecord>, total: Duration) -> CallRecord {
        let last = attempts.last();
        let ended = last.map_or(Duration::ZERO, |last| last.started + last.waited + last.latency);
        let started = ended + last.and_then(|last| last.pause).unwrap_or_default();
        let number = last.map_or(1, |last| last.number + 1);
        // A router's own is not known.
        if started < total && self.targets.is_none() {
            attempts.push(AttemptRecord {
                number,
                provider: self.provider.into(),
                model: self.provider_model.to_string(),
                host: self.host(None),
                outcome: Outcome::Aborted,
                message: Some("given up by its caller".into()),
                started,
                latency: total - started,
                ..AttemptRecord::default()
            });
        }
        CallRecord { retries: (attempts.len() as u32).saturating_sub(1), attempts, total, ..CallRecord::default() }
    }
}
