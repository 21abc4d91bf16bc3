//! `logging` under the name `ritellm`: at the level DEBUG, a line for each attempt of a call.
//!
//! The lines are written by the thread that made the call, in the call's context, so that filters find its contextvars: the
//! network's thread never runs Python code. While the call waits, its thread or loop is told every tenth of a second what
//! there is to write, if there is something: an attempt that hangs is in the log while it hangs. A program that has not imported `logging` has nobody who reads it, and pays a look into a dict.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::bridge::{CallResult, NOBODY, Queue};
use super::intern::intern;
use super::values;
use crate::client::{AttemptLog, AttemptRecord};

const DEBUG: u8 = 10;

/// How long news may wait to be written.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// The context that this thread runs in: a copy, which a task or another thread may leave or be in.
pub(super) fn context(py: Python<'_>) -> PyResult<Py<PyAny>> {
    Ok(py.import(intern!(py, "contextvars"))?.call_method0(intern!(py, "copy_context"))?.unbind())
}

/// Where a call's attempts are written down, if somebody wants to read of them.
pub(super) fn attempt_log(py: Python<'_>) -> PyResult<Option<Arc<AttemptLog>>> {
    let Some(logger) = logger(py)? else { return Ok(None) };
    let wanted = logger.bind(py).call_method1(intern!(py, "isEnabledFor"), (DEBUG,))?.is_truthy()?;
    Ok(wanted.then(Arc::default))
}

fn logger(py: Python<'_>) -> PyResult<Option<&'static Py<PyAny>>> {
    static LOGGER: OnceLock<Py<PyAny>> = OnceLock::new();
    if let Some(logger) = LOGGER.get() {
        return Ok(Some(logger));
    }
    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?.cast_into::<PyDict>()?;
    let Some(logging) = modules.get_item(intern!(py, "logging"))? else { return Ok(None) };
    // Half imported, by another thread.
    let Ok(get_logger) = logging.getattr(intern!(py, "getLogger")) else { return Ok(None) };
    let logger = get_logger.call1((intern!(py, "ritellm"),))?.unbind();
    Ok(Some(LOGGER.get_or_init(|| logger)))
}

/// Which model a journal is about.
#[derive(Debug)]
pub(super) struct Log {
    pub attempt_log: Arc<AttemptLog>,
    /// The call's: what its caller's contextvars are.
    pub context: Py<PyAny>,
    pub provider: &'static str,
    pub model: Arc<str>,
}

impl Log {
    /// Writes the lines that have not been written. What a handler of the program's raises is reported and goes no
    /// further: the call has its own outcome.
    pub fn write(&self, py: Python<'_>) {
        for attempt in self.attempt_log.take() {
            if let Err(error) = self.line(py, &attempt) {
                error.write_unraisable(py, None);
            }
        }
    }

    /// The same, of a call that its caller has given up.
    pub fn give_up(&self, py: Python<'_>) {
        self.attempt_log.give_up();
        self.write(py);
    }

    fn line(&self, py: Python<'_>, attempt: &AttemptRecord) -> PyResult<()> {
        let AttemptRecord { number, latency, status, request_id, is_open, failure, pause } = attempt;
        let seconds = latency.as_secs_f64();
        let mut text = format!("{}/{} attempt {number}: ", self.provider, self.model);
        match (status, failure) {
            _ if *is_open => text += &format!("no answer yet after {seconds:.3} s"),
            (Some(status), Some(failure)) => text += &format!("{status}, {failure} after {seconds:.3} s"),
            (None, Some(failure)) => text += &format!("{failure} after {seconds:.3} s"),
            (status, None) => text += &format!("{} in {seconds:.3} s", status.unwrap_or_default()),
        }
        if let Some(id) = request_id {
            text += &format!(", request id {id}");
        }
        if let Some(pause) = pause {
            text += &format!(", again in {:.3} s", pause.as_secs_f64());
        }
        let extra = values::dict(py)?;
        values::set(&extra, "provider", self.provider)?;
        values::set(&extra, "model", &*self.model)?;
        values::set(&extra, "attempt", u64::from(*number))?;
        values::set(&extra, "status", status.map(u64::from))?;
        values::set(&extra, "latency", seconds)?;
        values::set(&extra, "request_id", request_id.as_deref())?;
        let keywords = values::dict(py)?;
        values::set(&keywords, "extra", extra.as_any())?;
        if let Some(logger) = logger(py)? {
            let debug = logger.bind(py).getattr(intern!(py, "debug"))?;
            // A copy, since a handler that makes a call may wait for it inside of this one.
            let context = self.context.bind(py).call_method0(intern!(py, "copy"))?;
            context.call_method(
                intern!(py, "run"),
                (debug, values::string(py, "%s")?, values::string(py, &text)?),
                Some(&keywords),
            )?;
        }
        Ok(())
    }

    /// Tells a loop, for as long as somebody waits for the call, that there is something to write. On the network thread.
    pub async fn watch(log: Weak<Self>, queue: Arc<Queue>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(log) = log.upgrade() else { return };
            if log.attempt_log.has_unreported() {
                queue.push(NOBODY, Box::new(NewRecords(log)));
            }
        }
    }
}

/// Lines to be written, on a loop's thread.
struct NewRecords(Arc<Log>);

impl CallResult for NewRecords {
    fn into_python(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.0.write(py);
        Ok(py.None())
    }

    fn unclaimed(self: Box<Self>, py: Python<'_>) {
        self.0.write(py);
    }
}
