//! Records for `logging` under the name `ritellm`: at the level DEBUG, a line for each attempt of a call.
//!
//! The records are written by the thread that made the call, in the call's context, so that filters find its contextvars: the
//! network thread never runs Python code. While the call waits, its thread or event loop writes new records every tenth of a
//! second, so that an attempt that hangs is in the log while it hangs. A program that has not imported `logging` has no reader
//! of the log, and pays for a look into a dict.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::result::CallResult;
use crate::client::{AttemptLog, take_notices};
use crate::python::asyncio::queue::{NO_WAITER, Queue};
use crate::python::intern::{get_or_make, intern};
use crate::python::values;
use crate::types::record::{AttemptRecord, Outcome};

/// `logging.DEBUG`.
const DEBUG: u8 = 10;

/// Interval at which new records are looked for.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// Returns a copy of the context that this thread runs in. A copy may be entered by another task or thread.
pub(crate) fn context(py: Python<'_>) -> PyResult<Py<PyAny>> {
    static COPY_CONTEXT: OnceLock<Py<PyAny>> = OnceLock::new();
    let copy_context = get_or_make(&COPY_CONTEXT, || {
        Ok(py.import(intern!(py, "contextvars"))?.getattr(intern!(py, "copy_context"))?.unbind())
    })?;
    copy_context.call0(py)
}

/// Writes what belongs to no call, such as a store that is gone, at the level WARNING. An exception of the program's own handler
/// is reported as unraisable.
#[cold]
pub(crate) fn write_notices(py: Python<'_>) {
    for text in take_notices() {
        let written = logger(py).and_then(|logger| {
            let Some(logger) = logger else { return Ok(()) };
            logger
                .bind(py)
                .call_method1(intern!(py, "warning"), (values::string(py, "%s")?, values::string(py, &text)?))?;
            Ok(())
        });
        if let Err(error) = written {
            error.write_unraisable(py, None);
        }
    }
}

/// Returns true if the attempts of a call are to be logged: if the logger is enabled for DEBUG.
pub(crate) fn is_wanted(py: Python<'_>) -> PyResult<bool> {
    let Some(logger) = logger(py)? else { return Ok(false) };
    logger.bind(py).call_method1(intern!(py, "isEnabledFor"), (DEBUG,))?.is_truthy()
}

/// Returns the logger `ritellm`, if the program has imported `logging`.
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

/// The attempt log of a call, and what its records say about the call.
#[derive(Debug)]
pub(crate) struct Log {
    pub attempt_log: Arc<AttemptLog>,
    /// Context of the call, with the contextvars of its caller.
    pub context: Py<PyAny>,
    pub provider: &'static str,
    pub model: Arc<str>,
}

impl Log {
    /// Writes the records that have not been written. An exception of the program's own handler is reported as unraisable and
    /// goes no further: the call has its own result.
    pub fn write(&self, py: Python<'_>) {
        for attempt in self.attempt_log.take() {
            if let Err(error) = self.write_record(py, &attempt) {
                error.write_unraisable(py, None);
            }
        }
    }

    /// Writes the records of a call that its caller has given up.
    pub fn give_up(&self, py: Python<'_>) {
        self.attempt_log.give_up();
        self.write(py);
    }

    fn write_record(&self, py: Python<'_>, attempt: &AttemptRecord) -> PyResult<()> {
        let AttemptRecord { number, latency, status, request_id, outcome, error, message, pause, .. } = attempt;
        let seconds = latency.as_secs_f64();
        let mut text = format!("{}/{} attempt {number}: ", self.provider, self.model);
        let message = message.as_deref().unwrap_or_default();
        let failure = match error {
            Some(error) => format!("{error}: {message}"),
            None => message.to_owned(),
        };
        match (status, outcome) {
            (_, Outcome::Open) => text += &format!("no answer yet after {seconds:.3} s"),
            (status, Outcome::Success) => text += &format!("{} in {seconds:.3} s", status.unwrap_or_default()),
            (Some(status), _) => text += &format!("{status}, {failure} after {seconds:.3} s"),
            (None, _) => text += &format!("{failure} after {seconds:.3} s"),
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
            // A copy, since a handler that makes a call may wait for that call while it is in this context.
            let context = self.context.bind(py).call_method0(intern!(py, "copy"))?;
            context.call_method(
                intern!(py, "run"),
                (debug, values::string(py, "%s")?, values::string(py, &text)?),
                Some(&keywords),
            )?;
        }
        Ok(())
    }

    /// Pushes new records on the queue of an event loop, for as long as the call lives. To be run on the network thread.
    pub async fn watch(log: Weak<Self>, queue: Arc<Queue>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(log) = log.upgrade() else { return };
            if log.attempt_log.has_unreported() {
                queue.push(NO_WAITER, Box::new(NewRecords(log)));
            }
        }
    }
}

/// New records, to be written on the thread of an event loop.
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
