//! Records of the rows of a job.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::background::{Item, Queue};
use super::delivery::Pending;
use super::list::{Counts, Snapshot};
use super::observed::{Asked, CallContext, Observed};
use super::outcome::Ended;
use crate::bulk::outcome::Outcome;
use crate::bulk::run::RowObserver;
use crate::catalog::Catalog;
use crate::client::{AttemptLog, Call};
use crate::python::bulk_outcome::failure_of;
use crate::python::values;
use crate::router::target::Target;
use crate::types::operation::Operation;
use crate::types::params::Params;

/// The hooks of a job, and what the records of its rows have in common.
pub(crate) struct JobHooks {
    pub hooks: Snapshot,
    pub counts: Arc<Counts>,
    pub operation: Operation,
    /// The model of all rows, if the job names it.
    pub model: Option<Py<PyString>>,
    pub targets: Option<Arc<[Target]>>,
    pub tags: Option<Arc<Py<PyDict>>>,
    pub catalog: Option<Arc<Catalog>>,
    /// Context in which the run was begun.
    pub context: Py<CallContext>,
    /// True if the rows go through a provider's batches.
    pub is_batch: bool,
}

/// The end of a row.
struct EndedRow {
    job: Arc<JobHooks>,
    outcome: Box<Outcome>,
    params: Params,
    provider: &'static str,
    base_url: Arc<str>,
}

/// The observer of a job's rows. It knows the queue, which only attached threads may look for.
pub(crate) struct JobObserver {
    pub job: Arc<JobHooks>,
    pub queue: Arc<Queue>,
    /// True once the hooks have stood still.
    pub stands_still: AtomicBool,
}

impl RowObserver for JobObserver {
    fn ended(&self, outcome: &Outcome, call: Option<&Call>) {
        // The results of a batch come all at once: they wait for the hooks.
        if self.job.is_batch && !self.stands_still.load(Ordering::Relaxed) {
            self.stands_still.store(!self.queue.has_room(), Ordering::Relaxed);
        }
        self.queue.put(Box::new(EndedRow {
            job: self.job.clone(),
            outcome: Box::new(outcome.clone()),
            params: call.map(|call| call.request.params.clone()).unwrap_or_default(),
            provider: call.map_or("", |call| call.deployment.provider.row().name),
            base_url: call.map_or_else(|| "".into(), |call| call.deployment.base_url.clone()),
        }));
    }
}

impl EndedRow {
    /// Makes the delivery of the record.
    ///
    /// # Errors
    ///
    /// `MemoryError`.
    fn pending(self, py: Python<'_>) -> PyResult<Pending> {
        let Self { job, outcome, params, provider, base_url } = self;
        let model = match &job.model {
            Some(model) => model.clone_ref(py),
            None => values::string(py, &format!("{}/{}", outcome.provider, outcome.model))?.unbind(),
        };
        let error = match &outcome.failure {
            Some(_) => Some(PyErr::from_value(failure_of(py, (*outcome).clone())?).into_value(py)),
            None => None,
        };
        let now = Instant::now();
        let asked = Asked {
            operation: job.operation,
            model,
            is_stream: false,
            params,
            provider,
            provider_model: outcome.model.clone(),
            base_url,
            targets: job.targets.clone(),
            tags: job.tags.clone(),
            catalog: job.catalog.clone(),
            context: job.context.clone_ref(py),
            is_batch: job.is_batch,
            begun: now,
            // Of a row that was not sent it is not known.
            started: if outcome.started.is_zero() { SystemTime::now() } else { UNIX_EPOCH + outcome.started },
        };
        let hooks = job.hooks.iter().map(|hook| hook.clone_ref(py)).collect();
        let counts = job.counts.clone();
        let attempts = Arc::new(AttemptLog::new(false, true));
        let observed = Observed { asked, hooks, tokens: Vec::new(), counts, attempts };
        let row = Some((outcome.number, outcome.id.clone()));
        Pending::new(py, observed, Ended::Row(outcome, error), row)
    }
}

impl Item for EndedRow {
    fn deliver(self: Box<Self>, py: Python<'_>) {
        let job = self.job.clone();
        match self.pending(py) {
            Ok(pending) => Box::new(pending).deliver(py),
            Err(error) => {
                job.counts.dropped.fetch_add(1, Ordering::Relaxed);
                error.write_unraisable(py, None);
            }
        }
    }

    fn drop_record(&self) {
        self.job.counts.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn size(&self) -> usize {
        self.params.len() + self.outcome.response.as_ref().map_or(0, |response| response.body.len())
    }
}
