//! Jobs through the providers' batches: the native half of the package's `_batch_run.py`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList};

use super::bulk::{BulkJob, Inner, Rest};
use super::errors::{argument, exception};
use super::runtime::fork::fork_epoch;
use super::values;
use crate::bulk::batch::{BatchResults, Batches, Landed, Limits, Missing, Options, Part};
use crate::bulk::job::Rows;
use crate::bulk::journal::{Journal, Manifest};
use crate::bulk::run::{Input, RowObserver, State, Stop};
use crate::error::Result as CoreResult;
use crate::providers::{Lookup, is_unread, queue_refusal, refusal_class};
use crate::types::http::{Headers, HttpResponse};
use crate::types::rate_limit::FailureClass;

/// A run of a job through batches. It holds the job's folder until `close`.
#[pyclass(frozen, module = "ritellm._core")]
pub(super) struct BulkBatches {
    job: Arc<Inner>,
    retry_failed: bool,
    stop: Arc<Stop>,
    /// Until the files of batches are open.
    observer: Mutex<Option<Arc<dyn RowObserver>>>,
    state: Mutex<RunState>,
}

/// How far a run is.
enum RunState {
    /// The folder is not locked.
    New(Rows),
    /// It is, and the rows were looked through.
    Locked(Arc<Journal>, Manifest, Box<Input>),
    /// The files of batches are open.
    Open(Box<Batches>),
    Closed,
}

/// Part of a batch's state: where its results are, and what became of rows that have none.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Results {
    files: Vec<PathBuf>,
    missing: String,
    refused: HashMap<usize, (String, String)>,
    started: f64,
    latency: f64,
    is_given_up: bool,
}

#[pymethods]
impl BulkBatches {
    /// Begins a run. Nothing is done yet.
    #[new]
    fn new(py: Python<'_>, job: &BulkJob, retry_failed: bool) -> PyResult<Self> {
        let job = job.inner(py)?;
        let observer = Mutex::new(job.observer(py)?);
        let rows = job.begin(py, retry_failed)?;
        Ok(Self { job, retry_failed, stop: Arc::default(), observer, state: Mutex::new(RunState::New(rows)) })
    }

    /// Takes the lock of the job's folder, and looks through the rows.
    fn lock(&self, py: Python<'_>) -> PyResult<()> {
        let locked = py.detach(|| -> CoreResult<()> {
            let mut state = self.state();
            let RunState::New(rows) = std::mem::replace(&mut *state, RunState::Closed) else { return Ok(()) };
            let (journal, manifest) =
                match self.job.job.open_journal(&self.job.status, |reader| self.job.set_reader(reader)) {
                    Ok(opened) => opened,
                    Err(error) => {
                        // No row was read: another run has them all.
                        *state = RunState::New(rows);
                        return Err(error);
                    }
                };
            let begun = self.job.job.begin(rows, manifest, &journal, &self.job.status, &self.stop)?;
            let Some((manifest, input)) = begun else { return Ok(()) };
            let cost = journal.totals().cost;
            self.job.status.update(|status| status.cost = cost);
            self.job.status.blocks(None);
            *state = RunState::Locked(journal, manifest, Box::new(input));
            Ok(())
        });
        locked.map_err(|error| exception(py, error))
    }

    /// Opens the files of batches. ``known`` are the numbers of the batches whose files are needed, and whether each may be at
    /// the provider; ``next`` is the number of the next batch; ``tag`` begins the ids of all rows at the provider.
    ///
    /// Returns the numbers of those that are not there and have rows that need no call any more.
    fn open(&self, py: Python<'_>, tag: String, known: Vec<(u32, bool)>, next: u32) -> PyResult<Vec<u32>> {
        let catalog = self.job.client().bulk_settings(py)?.catalog;
        let job = &self.job;
        let options =
            Options { max_attempts: job.max_attempts(), retry_failed: self.retry_failed, dedupe: job.job.dedupe };
        let opened = py.detach(|| -> CoreResult<Vec<u32>> {
            let mut state = self.state();
            let mut outdated = Vec::new();
            if let RunState::Locked(journal, manifest, input) = std::mem::replace(&mut *state, RunState::Closed) {
                let status = job.status.clone();
                let mut batches = Batches::new(journal, manifest, *input, catalog, status, options, tag, &known, next)?;
                batches.observer = self.take_observer();
                outdated.clone_from(&batches.outdated);
                *state = RunState::Open(Box::new(batches));
            }
            Ok(outdated)
        });
        opened.map_err(|error| exception(py, error))
    }

    /// Ends the looking through the rows.
    fn stop(&self) {
        self.stop.drain();
    }

    /// Reads rows until a batch is full, and writes its files. Returns its description, or None if there are no more rows.
    fn cut<'py>(
        &self,
        py: Python<'py>,
        max_rows: Option<usize>,
        max_tokens: Option<u64>,
        max_cost: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let limits = Limits { max_rows, max_tokens, max_cost };
        let part = self.with(py, |batches| batches.cut(limits))?;
        part.map(|part| description(py, &part)).transpose()
    }

    /// Takes the results of a batch. When it returns, all outcomes have landed.
    fn land<'py>(&self, py: Python<'py>, number: u32, results: Results) -> PyResult<Bound<'py, PyDict>> {
        let missing = match results.missing.as_str() {
            "expired" => Missing::Expired,
            "cancelled" => Missing::Cancelled,
            "unsent" => Missing::Unsent,
            _ => Missing::Lost,
        };
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let results = BatchResults {
            files: results.files,
            missing,
            refused: results.refused,
            started: seconds(results.started),
            latency: seconds(results.latency),
            is_given_up: results.is_given_up,
        };
        let Landed { done, failed, again, strangers, halt } =
            self.with(py, |batches| batches.land(number, &results))?;
        let dict = values::dict(py)?;
        values::set(&dict, "done", done)?;
        values::set(&dict, "failed", failed)?;
        values::set(&dict, "strangers", strangers)?;
        values::set(&dict, "again", descriptions(py, &again)?.as_any())?;
        if let Some(error) = halt {
            let error = exception(py, error).into_value(py);
            values::set(&dict, "halt", error.bind(py).as_any())?;
        }
        Ok(dict)
    }

    /// Writes the rows of a batch that was not made into the files of smaller ones, and returns their descriptions.
    fn split<'py>(
        &self,
        py: Python<'py>,
        number: u32,
        max_rows: Option<usize>,
        max_tokens: Option<u64>,
    ) -> PyResult<Bound<'py, PyList>> {
        let limits = Limits { max_rows, max_tokens, max_cost: None };
        let parts = self.with(py, |batches| batches.split(number, limits))?;
        descriptions(py, &parts)
    }

    /// Ends the batches that are not full, and returns their descriptions.
    fn flush<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let parts = self.with(py, Batches::flush)?;
        descriptions(py, &parts)
    }

    /// Returns the class of a provider's refusal: ``"rate"``, ``"quota_fatal"`` and so on.
    #[staticmethod]
    fn failure_class(provider: &str, status: u16, body: &[u8]) -> &'static str {
        let response =
            HttpResponse { received: 0, status, headers: Headers::default(), body: Bytes::copy_from_slice(body) };
        refusal_class(provider, &response).map_or("", FailureClass::name)
    }

    /// Returns what the refusal of a batch says about the tokens that may be enqueued: True if there are too many, and their
    /// maximum number if it is named.
    #[staticmethod]
    fn queue_refusal(provider: &str, code: &str, message: &str) -> (bool, Option<u64>) {
        let refusal = queue_refusal(provider, code, message);
        (refusal.is_full, refusal.max_tokens)
    }

    /// Returns true if a file in this state is uploaded and cannot be used for a batch yet.
    #[staticmethod]
    fn is_unread(provider: &str, status: &str) -> bool {
        is_unread(provider, status)
    }

    /// Returns the cost of all outcomes in the journal, in US dollars.
    fn spent(&self, py: Python<'_>) -> PyResult<f64> {
        self.with(py, |batches| Ok(batches.journal.totals().cost))
    }

    /// Shows a state of the job, and why it is so.
    fn tell(&self, state: &str, reason: Option<String>, in_flight: usize, waiting: usize) {
        let state = match state {
            "outage" => State::Outage,
            "stopping" => State::Stopping,
            "paused" => State::Paused,
            "done" => State::Done,
            _ => State::Running,
        };
        self.job.status.update(|status| {
            (status.state, status.reason) = (state, reason);
            (status.in_flight, status.waiting) = (in_flight, waiting);
        });
    }

    /// Ends the run: closes the journal and lets the job go. With ``is_used_up`` some rows were read and are in no batch: if
    /// they can be read only once, there is nothing that another run could go on with.
    fn close(&self, py: Python<'_>, is_used_up: bool) -> PyResult<()> {
        drop(self.take_observer());
        let state = std::mem::replace(&mut *self.state(), RunState::Closed);
        let (journal, mut manifest, input) = match state {
            RunState::Open(batches) => batches.into_input(),
            RunState::Locked(journal, manifest, input) => (journal, manifest, *input),
            RunState::New(rows) => {
                self.job.end(rows.into_rest().map(|input| Rest::Read(Box::new(input))));
                return Ok(());
            }
            RunState::Closed => {
                self.job.end(None);
                return Ok(());
            }
        };
        let finished = py.detach(|| self.job.job.finish(journal, &mut manifest, &self.job.status));
        self.job.end((!is_used_up).then(|| Rest::Read(Box::new(input))));
        finished.map_err(|error| exception(py, error))
    }
}

impl BulkBatches {
    fn state(&self) -> MutexGuard<'_, RunState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_observer(&self) -> Option<Arc<dyn RowObserver>> {
        self.observer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn with<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut Batches) -> CoreResult<T> + Send) -> PyResult<T> {
        if self.job.epoch != fork_epoch() {
            return Err(argument(py, "the job belongs to the process that made it, of which this one is a fork"));
        }
        let done = py.detach(|| match &mut *self.state() {
            RunState::Open(batches) => Some(work(batches)),
            _ => None,
        });
        match done {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(exception(py, error)),
            None => Err(PyRuntimeError::new_err("the run is not open")),
        }
    }
}

fn descriptions<'py>(py: Python<'py>, parts: &[Part]) -> PyResult<Bound<'py, PyList>> {
    let list = values::list(py)?;
    for part in parts {
        list.append(description(py, part)?)?;
    }
    Ok(list)
}

/// Makes a dict of a batch whose files are written.
fn description<'py>(py: Python<'py>, part: &Part) -> PyResult<Bound<'py, PyDict>> {
    let dict = values::dict(py)?;
    values::set(&dict, "number", u64::from(part.number))?;
    values::set(&dict, "provider", part.provider)?;
    values::set(&dict, "name", part.name.as_str())?;
    values::set(&dict, "model", part.model.as_str())?;
    values::set(&dict, "endpoint", part.endpoint.as_str())?;
    values::set(&dict, "rows", part.rows as u64)?;
    values::set(&dict, "bytes", part.bytes as u64)?;
    values::set(&dict, "tokens", part.tokens)?;
    values::set(&dict, "cost", part.cost)?;
    values::set(&dict, "carried", part.carried)?;
    let lookup = match part.lookup {
        Lookup::File => "file",
        Lookup::DisplayName => "name",
        Lookup::RowIds => "ids",
    };
    values::set(&dict, "lookup", lookup)?;
    values::set(&dict, "takes_file", PyBool::new(py, part.takes_file).to_owned().as_any())?;
    let headers = values::dict(py)?;
    if let Some((name, value)) = &part.header {
        values::set(&headers, name, value.as_str())?;
    }
    values::set(&dict, "headers", headers.as_any())?;
    Ok(dict)
}
