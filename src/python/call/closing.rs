//! Closing a client: idle connections are closed at once, calls in flight are awaited, and those that take too long are
//! cancelled.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};

use super::caller::Caller;
use super::registry::{Core, Phase};
use super::result::CallResult;
use crate::error::Error;
use crate::python::builtin::scalar;
use crate::python::errors::{argument, wrong};
use crate::python::sync::handoff::HandoffQueue;

/// Time that cancelled calls have to release what they hold. They are dropped at the point where they wait, so that only
/// work that never waits can take as long.
const END_WITHIN: Duration = Duration::from_secs(1);

/// Returns the error of a call that is cancelled by the close of its client.
pub(crate) fn ended(provider: &str, model: &str) -> Box<Error> {
    let mut error = Error::connection(
        "the client was closed while this call was under way: it was not done within the timeout of close()",
    );
    error.should_retry = Some(false);
    error.provider = Some(provider.into());
    error.model = Some(model.into());
    error
}

/// Returns the error of a call that is made on a closed client.
pub(crate) fn refused() -> Box<Error> {
    Error::argument("the client is closed: make another Client")
}

/// Parses the time that a close waits for the calls in flight. `None` is no limit.
///
/// # Errors
///
/// `InvalidArgumentError` for what is no number, or below 0.
pub(crate) fn timeout(value: &Bound<'_, PyAny>) -> PyResult<Option<Duration>> {
    const RIGHT: &str = "a number of seconds, 0 or more, or None for no limit";
    if value.is_none() {
        return Ok(None);
    }
    let value = &scalar(value)?;
    let is_number = value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>();
    let seconds = match is_number && !value.is_instance_of::<PyBool>() {
        true => value.extract().unwrap_or(f64::INFINITY),
        false => f64::NAN,
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(timeout) => Ok(Some(timeout)),
        Err(_) if seconds > 0.0 => Ok(None),
        Err(_) if seconds < 0.0 => Err(argument(value.py(), format!("timeout is {seconds}: {RIGHT} would be right"))),
        Err(_) => Err(wrong("timeout", value, RIGHT)),
    }
}

/// The close of a client, for the network thread to carry out.
pub(crate) struct Closing {
    pub core: Arc<Core>,
    /// Longest time to wait for the calls in flight; `None` is no limit.
    pub timeout: Option<Duration>,
    pub caller: Caller,
}

impl Closing {
    /// Begins the close. To be called on the network thread.
    pub fn begin(self, handoff: &'static HandoffQueue) {
        // At once, before the calls that were begun together with the close are polled.
        self.core.client.close();
        self.core.calls.set_phase(Phase::Draining);
        tokio::spawn(self.finish(handoff));
    }

    async fn finish(self, handoff: &'static HandoffQueue) {
        let Self { core, timeout, caller } = self;
        let is_drained = core.calls.drained(timeout).await;
        core.calls.set_phase(Phase::Ended);
        if !is_drained {
            core.calls.drained(Some(END_WITHIN)).await;
        }
        core.client.ended().await;
        caller.give(Closed, handoff);
    }
}

/// Result of a close.
struct Closed;

impl CallResult for Closed {
    fn into_python(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(py.None())
    }
}
