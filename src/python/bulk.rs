//! Jobs: the native half of the package's ``Job``.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use twox_hash::XxHash3_64;

use super::arguments::job::{self, CallArguments};
use super::bulk_options::{check_of, flag, item, map_of, number, parameters, rows_of, text};
use super::bulk_outcome::row_of;
use super::client::Client;
use super::errors::{argument, exception};
use super::hooks::background::{self, Queue};
use super::hooks::rows::JobObserver;
use super::runtime::fork::{enter_job_work, fork_epoch, leave_job_work};
use super::runtime::thread::block_signals;
use super::values;
use crate::bulk::export;
use crate::bulk::identity::Identities;
use crate::bulk::job::{Ended, Job, Rows, RunOptions};
use crate::bulk::journal::{self, Durability, Reader};
use crate::bulk::results::{NextResult, Results};
use crate::bulk::row::Source;
use crate::bulk::run::{Calls, Check, Input, RowObserver, Snapshot, State, Status, Stop, Watch};
use crate::bulk::scan::Extent;
use crate::bulk::schedule::{self, Halt};
use crate::bulk::template::{Template, TemplateSpec};
use crate::client::notify;
use crate::error::{Error, ErrorKind};
use crate::providers::batch_price;
use crate::types::operation::Operation;

/// Time between two looks for Ctrl-C.
const LOOK: Duration = Duration::from_millis(50);

/// A job: rows, a folder, and a thread while it runs.
#[pyclass(frozen, module = "ritellm._core")]
pub(super) struct BulkJob {
    /// Always `Some`: see `Client`. Dropped by no other process than the one that made it.
    inner: Option<Arc<Inner>>,
}

pub(super) struct Inner {
    pub(super) epoch: u64,
    pub(super) job: Arc<Job>,
    client: Py<Client>,
    arguments: CallArguments,
    model: Option<String>,
    operation: Operation,
    schedule: schedule::Options,
    check: Option<Arc<Check>>,
    /// True if it runs through batches.
    is_batch: bool,
    pub(super) status: Arc<Status>,
    run: Mutex<RunState>,
}

/// What changes while a job runs.
#[derive(Default)]
struct RunState {
    stop: Arc<Stop>,
    is_running: bool,
    /// The rows, if they can be read only once: those that have not been read, and those that are pending.
    rest: Option<Rest>,
    /// Why the last run has ended although rows are pending.
    pause: Option<(Halt, Option<Box<Error>>)>,
    reader: Option<Reader>,
}

pub(super) enum Rest {
    Unread(Box<dyn Source>),
    Read(Box<Input>),
}

impl Drop for BulkJob {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take()
            && inner.epoch != fork_epoch()
        {
            std::mem::forget(inner);
        }
    }
}

#[pymethods]
impl BulkJob {
    /// Makes a job. ``rows`` is a list of paths, or a function that returns a `RowQueue` which is being filled; ``options`` has
    /// been checked by the package.
    #[new]
    fn new(
        py: Python<'_>,
        client: Bound<'_, Client>,
        rows: &Bound<'_, PyAny>,
        options: &Bound<'_, PyDict>,
        params: &Bound<'_, PyDict>,
    ) -> PyResult<Self> {
        let failed = |error: Box<Error>| exception(py, error);
        let endpoint = text(options, "endpoint")?.unwrap_or_else(|| "chat".into());
        let operation = Operation::named(&endpoint).ok_or_else(|| {
            argument(py, format!("endpoint is {endpoint:?}: \"chat\", \"embedding\" or \"responses\" would be right"))
        })?;
        let arguments = job::split(client.get().defaults(), operation, params)?;
        let (open, source, mut columns, description) = rows_of(py, rows, options)?;
        if item(options, "map")?.is_some() {
            // The template gets what the function returns.
            columns = Some(Vec::new());
        }
        let model = text(options, "model")?;
        let params_json = (!arguments.params.is_empty()).then(|| {
            let mut json = vec![b'{'];
            arguments.params.write_members(&[], &mut json);
            // Members are written with a comma in front.
            json.remove(1);
            json.push(b'}');
            String::from_utf8_lossy(&json).into_owned()
        });
        let spec = TemplateSpec {
            operation,
            model: model.as_deref().map(Into::into),
            prompt: text(options, "prompt")?,
            messages: text(options, "messages")?,
            input: text(options, "input")?,
            params: params_json,
            id_column: text(options, "id_column")?,
        };
        let columns = columns.unwrap_or_else(|| Template::named_columns(&spec));
        let mut parameters = parameters(&spec);
        let check = check_of(options)?;
        let mut salt = 0;
        if let Some(check) = &check {
            let schema = check.validator.schema();
            salt = XxHash3_64::oneshot(schema.to_string().as_bytes());
            parameters.insert("response_format".into(), schema.clone());
        }
        let template = Arc::new(Template::new(spec, &columns).map_err(failed)?);
        let durability = match text(options, "durability")?.as_deref() {
            None | Some("process") => Durability::Process,
            Some("power") => Durability::Power,
            // The package's own, for folders that are thrown away and for memos.
            Some("unsynced") => Durability::Unsynced,
            Some(other) => {
                return Err(argument(py, format!("durability is {other:?}: \"process\" or \"power\" would be right")));
            }
        };
        let reruns = match text(options, "on_change")?.as_deref() {
            None | Some("error") => false,
            Some("rerun") => true,
            Some(other) => {
                return Err(argument(py, format!("on_change is {other:?}: \"error\" or \"rerun\" would be right")));
            }
        };
        let defaults = schedule::Options::default();
        let schedule = schedule::Options {
            max_in_flight: number(options, "max_in_flight")?,
            max_in_flight_bytes: number(options, "max_in_flight_bytes")?.unwrap_or(defaults.max_in_flight_bytes),
            max_attempts: number(options, "max_attempts")?.unwrap_or(defaults.max_attempts),
            max_cost: number(options, "max_cost")?,
            warm_prefix: flag(options, "warm_prefix")?,
        };
        if schedule.max_cost.is_some() && client.get().bulk_settings(py)?.catalog.is_none() {
            return Err(argument(
                py,
                "max_cost needs prices: a client with catalog=\"genai-prices\" has them (docs/catalog.md); on the command \
                 line, -c or RITELLM_CONFIG names its file",
            ));
        }
        let folder = PathBuf::from(text(options, "out")?.unwrap_or_default());
        let job = Job {
            folder,
            rows: open,
            map: item(options, "map")?.map(|function| map_of(function.unbind())),
            template,
            parameters,
            input: description,
            durability,
            dedupe: flag(options, "dedupe")?,
            salt,
            reruns,
        };
        py.detach(|| job.check_folder()).map_err(failed)?;
        let inner = Inner {
            epoch: fork_epoch(),
            job: Arc::new(job),
            client: client.unbind(),
            arguments,
            model,
            operation,
            schedule,
            check,
            is_batch: flag(options, "batch")?,
            status: Arc::default(),
            run: Mutex::new(RunState { rest: source.map(Rest::Unread), ..RunState::default() }),
        };
        // What is wrong with the model or the key is said at once.
        let mut calls = inner.calls(py)?;
        if inner.is_batch
            && let Some((provider, _)) = inner.model.as_deref().and_then(|model| calls.model(model))
        {
            let price = batch_price(&provider).map_err(failed)?;
            if price.is_none() && inner.client.get().bulk_settings(py)?.catalog.is_some() {
                notify(format!(
                    "it is not known what batches cost at {provider}: costs of the job are left out, and max_cost cannot be kept"
                ));
            }
        }
        Ok(Self { inner: Some(Arc::new(inner)) })
    }

    /// Begins a run on a thread of its own.
    fn start(&self, py: Python<'_>, retry_failed: bool) -> PyResult<()> {
        let inner = self.inner(py)?;
        let settings = inner.client.get().bulk_settings(py)?;
        let watch = Watch { waits: leave_job_work, works: enter_job_work };
        let observer = inner.observer(py)?;
        let options = RunOptions { settings, schedule: inner.schedule, retry_failed, watch, observer };
        let rows = inner.begin(py, retry_failed)?;
        let run = inner.run();
        let (work, stop) = (inner.clone(), run.stop.clone());
        let thread = std::thread::Builder::new().name("ritellm-bulk".into()).spawn(move || {
            block_signals();
            work.work(rows, options, &stop);
        });
        drop(run);
        if let Err(error) = thread {
            inner.end(None);
            return Err(exception(py, Error::connection(format!("the job's thread cannot be started: {error}"))));
        }
        Ok(())
    }

    /// Returns the options of the job's calls, which may hold keys.
    fn call_options<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.inner(py)?.arguments.options.bind(py).copy()
    }

    /// Waits for the end of the run, without the GIL, for ``seconds`` at most. True if it is over.
    fn wait(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let inner = self.inner(py)?;
        let limit = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        let over = py.detach(|| inner.status.wait(limit.min(LOOK)));
        let mut waited = LOOK;
        let mut over = over;
        while !over && waited < limit {
            py.check_signals()?;
            over = py.detach(|| inner.status.wait(LOOK.min(limit - waited)));
            waited += LOOK;
        }
        py.check_signals()?;
        Ok(over)
    }

    /// True while the job runs.
    #[getter]
    fn is_running(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.inner(py)?.run().is_running)
    }

    /// Ends the run: when the calls in flight have landed or, with ``now``, at once.
    fn stop(&self, py: Python<'_>, now: bool) -> PyResult<()> {
        let inner = self.inner(py)?;
        let stop = inner.run().stop.clone();
        if now {
            stop.abort()
        } else {
            stop.drain()
        }
        Ok(())
    }

    /// Returns why the last run has ended although rows are pending: the kind of reason and the exception, or None.
    fn pause<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let inner = self.inner(py)?;
        let pause = inner.run().pause.take();
        let Some((halt, error)) = pause else { return Ok(None) };
        let kind = match halt {
            Halt::Stopped => "stopped",
            Halt::Refused => "refused",
            Halt::Cost => "cost",
            Halt::Journal => "journal",
            Halt::Input => "input",
        };
        let error = match error {
            Some(error) => exception(py, error).into_value(py).into_bound(py).into_any(),
            None => py.None().into_bound(py),
        };
        values::tuple(py, [values::string(py, kind)?.into_any(), error]).map(Some)
    }

    /// Returns the numbers of the job.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let inner = self.inner(py)?;
        status(py, &inner.status.snapshot())
    }

    /// Returns what the rows will need: see the package's ``Job.estimate``.
    fn estimate<'py>(&self, py: Python<'py>, rows: u64) -> PyResult<Bound<'py, PyDict>> {
        let inner = self.inner(py)?;
        let scan = py.detach(|| inner.job.scan(Extent::First(rows), |_| true));
        let scan = scan.map_err(|error| exception(py, error))?;
        let dict = values::dict(py)?;
        values::set(&dict, "rows", scan.estimated_rows())?;
        values::set(&dict, "sampled", scan.rows)?;
        values::set(&dict, "bad", scan.bad)?;
        values::set(&dict, "part", scan.part)?;
        let loads = values::list(py)?;
        let settings = inner.client.get().bulk_settings(py)?;
        for (model, load) in &scan.loads {
            let load = load.of_whole(scan.part);
            let one = values::dict(py)?;
            values::set(&one, "model", model.as_deref())?;
            values::set(&one, "rows", load.rows)?;
            values::set(&one, "input_tokens", load.usage.all_input())?;
            values::set(&one, "output_tokens", load.usage.all_output())?;
            let place = model.as_deref().and_then(|model| inner.provider_of(py, model));
            let (mut cost, mut seconds) = (None, None);
            if let Some((provider, name)) = place {
                let entry = settings.catalog.as_ref().and_then(|catalog| catalog.find(&provider, &name));
                let price = if inner.is_batch { batch_price(&provider).ok().flatten() } else { Some(1.0) };
                cost = entry.and_then(|entry| Some(entry.cost(&load.usage, 0)? * price?));
                // Batches have limits of their own.
                if let Some(limits) = settings.limits.as_ref().filter(|_| !inner.is_batch) {
                    let (of_model, of_account) = limits.rules.specs(&provider, &name);
                    let quotas = of_model.into_iter().chain(of_account);
                    seconds = quotas.filter_map(|quota| load.seconds(&quota)).reduce(f64::max);
                }
            }
            values::set(&one, "cost", cost)?;
            values::set(&one, "seconds", seconds)?;
            loads.append(one)?;
        }
        values::set(&dict, "models", loads.as_any())?;
        Ok(dict)
    }

    /// Returns an iterator over the rows that have an outcome: tuples of the row, its number, its id and its answer, or the
    /// exception of its failure. With ``follow`` it waits for further ones while the job runs.
    fn results(&self, py: Python<'_>, ordered: bool, follow: bool) -> PyResult<BulkResults> {
        let inner = self.inner(py)?;
        let reader = inner.reader(py)?;
        let results = py.detach(|| Results::of(&inner.job, reader, ordered));
        let results = results.map_err(|error| exception(py, error))?;
        Ok(BulkResults { inner, results: Mutex::new(results), follow })
    }

    /// Writes the outcomes as lines in the order of the input. Returns the numbers of rows: done, failed, without an outcome.
    fn export(&self, py: Python<'_>, path: PathBuf) -> PyResult<(u64, u64, u64)> {
        let inner = self.inner(py)?;
        let reader = inner.reader(py)?;
        let exported = py.detach(|| {
            let unwritable = |error: std::io::Error| {
                Error::new(ErrorKind::Journal, format!("cannot write {}: {error}", path.display())).unsent()
            };
            let file = std::fs::File::create(&path).map_err(unwritable)?;
            let mut out = std::io::BufWriter::new(file);
            export::to_jsonl(&reader, inner.job.names()?, &mut out)
        });
        let exported = exported.map_err(|error| exception(py, error))?;
        Ok((exported.done, exported.failed, exported.missing))
    }

    /// Returns the numbers of rows with an answer and with an error in the journal, and the sum of their costs; if a process
    /// runs the job, its number, and what it said last that it waits for, with the time in seconds.
    #[expect(clippy::type_complexity, reason = "a tuple for the package")]
    fn counts(&self, py: Python<'_>) -> PyResult<(u64, u64, f64, Option<(u32, Option<(String, f64)>)>)> {
        let inner = self.inner(py)?;
        let reader = inner.reader(py)?;
        let counts = reader.counts();
        let owner = py.detach(|| journal::owner(&inner.job.folder)).map_err(|error| exception(py, error))?;
        let owner = owner.map(|owner| (owner.pid, owner.waits_for.map(|(what, waited)| (what, waited.as_secs_f64()))));
        Ok((counts.done, counts.failed, reader.totals().cost, owner))
    }
}

impl BulkJob {
    /// Returns the job, if this process made it.
    pub(super) fn inner(&self, py: Python<'_>) -> PyResult<Arc<Inner>> {
        let inner = self.inner.as_ref().ok_or_else(|| PyRuntimeError::new_err("the job was not made"))?;
        match inner.epoch == fork_epoch() {
            true => Ok(inner.clone()),
            false => Err(argument(
                py,
                "the job belongs to the process that made it, of which this one is a fork: make it again",
            )),
        }
    }
}

impl Inner {
    fn run(&self) -> MutexGuard<'_, RunState> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn client(&self) -> &Client {
        self.client.get()
    }

    pub(super) fn max_attempts(&self) -> u32 {
        self.schedule.max_attempts
    }

    pub(super) fn set_reader(&self, reader: Reader) {
        self.run().reader = Some(reader);
    }

    /// Begins a run, and returns its rows. With `retry_failed` those run again that have failed.
    pub(super) fn begin(&self, py: Python<'_>, retry_failed: bool) -> PyResult<Rows> {
        let calls = self.calls(py)?;
        let mut run = self.run();
        if run.is_running {
            return Err(argument(py, "the job runs already"));
        }
        let goes_on = matches!(&run.rest, Some(Rest::Read(input)) if input.has_begun);
        if retry_failed && goes_on {
            return Err(argument(
                py,
                "the rows came from an iterator, which cannot be read again: make the job again with a new one, and run it with \
                 retry_failed=True",
            ));
        }
        let rows = match (&self.job.rows, run.rest.take()) {
            (Some(_), _) => Rows::Again(calls),
            (None, Some(Rest::Unread(source))) => {
                Rows::Rest(Box::new(self.job.input(source, calls, Identities::new(self.job.dedupe))))
            }
            (None, Some(Rest::Read(mut input))) => {
                input.calls = calls;
                Rows::Rest(input)
            }
            (None, None) => {
                return Err(argument(
                    py,
                    "the rows came from an iterator, which is used up: make the job again with a new one. Rows that are done \
                     are not called again",
                ));
            }
        };
        run.stop = Arc::new(Stop::default());
        run.pause = None;
        run.is_running = true;
        self.status.begin(goes_on);
        Ok(rows)
    }

    /// Ends a run. `rest` is what is left of rows that can be read only once.
    pub(super) fn end(&self, rest: Option<Rest>) {
        let mut run = self.run();
        run.is_running = false;
        if self.job.rows.is_none() {
            run.rest = rest;
        }
        drop(run);
        self.status.end();
    }

    /// Returns the observer by which the hooks of the job's client get the records of its rows, if there are hooks.
    pub(super) fn observer(&self, py: Python<'_>) -> PyResult<Option<Arc<dyn RowObserver>>> {
        let model = self.model.as_deref().map(|model| values::string(py, model)).transpose()?.map(Bound::unbind);
        let hooks = self.client.get().job_hooks(py, self.operation, model, self.is_batch)?;
        let Some(hooks) = hooks else { return Ok(None) };
        background::ensure_thread(py)?;
        let (job, queue) = (Arc::new(hooks), Queue::of_process(py));
        Ok(Some(Arc::new(JobObserver { job, queue, stands_still: AtomicBool::new(false) })))
    }

    fn calls(&self, py: Python<'_>) -> PyResult<Calls> {
        let client = self.client.get();
        let priority = client.bulk_priority(py)?;
        let model = self.model.as_deref();
        let (defaults, routing) = (client.defaults(), client.routing());
        let calls = job::calls(py, defaults, routing, self.operation, model, &self.arguments, priority)?;
        Ok(Calls { check: self.check.clone(), ..calls })
    }

    /// Runs the job on this thread.
    fn work(&self, rows: Rows, options: RunOptions, stop: &Arc<Stop>) {
        let opened = |reader: Reader| self.run().reader = Some(reader);
        let run = || self.job.run(rows, options, &self.status, stop, opened);
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Internal, "the job has panicked: please report what it wrote to stderr"))
        });
        let mut state = self.run();
        state.is_running = false;
        match ended {
            Ok(Ended { rest, pause }) => {
                state.rest = rest.map(|rest| Rest::Read(Box::new(rest)));
                state.pause = pause.map(|pause| (pause.halt, pause.error));
            }
            Err(error) => {
                self.status.update(|status| status.state = State::Paused);
                state.pause = Some((Halt::Input, Some(error)));
            }
        }
        drop(state);
        self.status.end();
    }

    /// Returns a reader of the outcomes.
    fn reader(&self, py: Python<'_>) -> PyResult<Reader> {
        loop {
            let state = self.run();
            match (&state.reader, state.is_running) {
                (Some(reader), _) => return Ok(reader.clone()),
                (None, false) => break,
                // It opens its journal.
                (None, true) => {}
            }
            drop(state);
            py.check_signals()?;
            py.detach(|| self.status.wait(Duration::from_millis(2)));
        }
        py.detach(|| self.job.reader()).map_err(|error| exception(py, error))
    }

    /// Returns the provider and the name of a model.
    fn provider_of(&self, py: Python<'_>, model: &str) -> Option<(String, String)> {
        let client = self.client.get();
        let mut calls = job::calls(
            py,
            client.defaults(),
            client.routing(),
            self.operation,
            Some(model),
            &self.arguments,
            client.bulk_priority(py).ok()?,
        )
        .ok()?;
        calls.model(model)
    }
}

/// Makes a dict of a job's numbers.
fn status<'py>(py: Python<'py>, snapshot: &Snapshot) -> PyResult<Bound<'py, PyDict>> {
    let dict = values::dict(py)?;
    let of_run = (snapshot.done + snapshot.failed + snapshot.repeated).saturating_sub(snapshot.before);
    let seconds = snapshot.elapsed.as_secs_f64();
    let rate = if seconds > 0.0 { of_run as f64 / seconds } else { 0.0 };
    let all_done = snapshot.done + snapshot.failed + snapshot.repeated;
    let left = snapshot.rows.map(|rows| rows.saturating_sub(all_done));
    values::set(&dict, "state", snapshot.state.name())?;
    values::set(&dict, "reason", snapshot.reason.as_deref())?;
    values::set(&dict, "rows", snapshot.rows)?;
    values::set(&dict, "done", snapshot.done)?;
    values::set(&dict, "failed", snapshot.failed)?;
    values::set(&dict, "repeated", snapshot.repeated)?;
    values::set(&dict, "pending", left)?;
    values::set(&dict, "read", snapshot.read)?;
    values::set(&dict, "progress", snapshot.progress)?;
    values::set(&dict, "before", snapshot.before)?;
    values::set(&dict, "in_flight", snapshot.in_flight as u64)?;
    values::set(&dict, "waiting", snapshot.waiting as u64)?;
    values::set(&dict, "retries", snapshot.retries)?;
    values::set(&dict, "rate_limited", snapshot.rate_limited)?;
    values::set(&dict, "cached", snapshot.cached)?;
    values::set(&dict, "input_tokens", snapshot.input_tokens)?;
    values::set(&dict, "output_tokens", snapshot.output_tokens)?;
    values::set(&dict, "cost", (!snapshot.has_unknown_cost || snapshot.cost > 0.0).then_some(snapshot.cost))?;
    values::set(&dict, "elapsed", seconds)?;
    values::set(&dict, "rate", rate)?;
    values::set(&dict, "waits_for", snapshot.waits_for)?;
    values::set(&dict, "waited", snapshot.waits_for.map(|_| snapshot.waited.as_secs_f64()))?;
    let time_left = left.filter(|_| rate > 0.0).map(|left| left as f64 / rate);
    values::set(&dict, "time_left", time_left)?;
    Ok(dict)
}

/// Iterator over the rows of a job that have an outcome.
#[pyclass(frozen, module = "ritellm._core")]
pub(super) struct BulkResults {
    inner: Arc<Inner>,
    results: Mutex<Results>,
    follow: bool,
}

#[pymethods]
impl BulkResults {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        loop {
            // Before the look: what lands in between is seen by it.
            let is_over = !self.follow || !self.inner.run().is_running;
            let next = py.detach(|| self.results.lock().unwrap_or_else(PoisonError::into_inner).next(is_over));
            match next.map_err(|error| exception(py, error))? {
                NextResult::Row(row) => return row_of(py, *row, self.inner.operation).map(Some),
                NextResult::End => return Ok(None),
                NextResult::Later => {
                    py.check_signals()?;
                    py.detach(|| self.inner.status.wait(LOOK));
                }
            }
        }
    }
}
