//! Closing a client: its idle connections go at once, its calls are waited for, and those that take too long are ended.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};
use slab::Slab;
use tokio::sync::Notify;

use super::arguments::wrong;
use super::bridge::CallResult;
use super::errors::argument;
use super::job::{Caller, CancelHandle};
use crate::client::Client;
use crate::error::Error;

/// Calls that are ended have this long to let go of what they hold. They are dropped where they stand, so that only work
/// which never waits can take as long.
const END_WITHIN: Duration = Duration::from_secs(1);

/// A core client, and the calls that are under way over it.
pub(super) struct Core {
    pub client: Client,
    pub calls: CallRegistry,
}

impl Core {
    /// A core client without calls.
    pub fn new(client: Client) -> Self {
        Self { client, calls: CallRegistry::default() }
    }
}

/// The calls of a client that are under way, streams until their end: so that closing the client can wait for them, and end
/// them.
#[derive(Default)]
pub(super) struct CallRegistry {
    state: Mutex<State>,
    /// There is none left, or the others are to be ended.
    changed: Notify,
}

#[derive(Default)]
struct State {
    calls: Slab<CancelHandle>,
    phase: Phase,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Somebody waits for the calls.
    Draining,
    /// Calls are ended, those too that had not reached the network thread when the client was closed.
    Ended,
}

/// A call counts as under way as long as it holds this.
pub(super) struct UnderWay<'a> {
    registry: &'a CallRegistry,
    key: usize,
}

impl CallRegistry {
    /// Counts a call that begins.
    pub fn begin(&self, abort: &CancelHandle) -> UnderWay<'_> {
        let mut state = self.lock();
        let key = state.calls.insert(abort.clone());
        if state.phase == Phase::Ended {
            abort.end();
        }
        UnderWay { registry: self, key }
    }

    /// Waits until no call is under way, or until the calls are ended; `false`: it took longer than `limit`.
    async fn drained(&self, limit: Option<Duration>) -> bool {
        let drained = async {
            loop {
                let mut changed = pin!(self.changed.notified());
                changed.as_mut().enable();
                if self.lock().calls.is_empty() {
                    return;
                }
                changed.await;
            }
        };
        match limit {
            None => {
                drained.await;
                true
            }
            Some(limit) => tokio::time::timeout(limit, drained).await.is_ok(),
        }
    }

    fn set_phase(&self, phase: Phase) {
        let mut state = self.lock();
        if state.phase != Phase::Ended {
            state.phase = phase;
        }
        if phase == Phase::Ended {
            state.calls.iter().for_each(|(_, abort)| abort.end());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        let abort = state.calls.remove(self.key);
        let is_last = state.phase != Phase::Open && state.calls.is_empty();
        drop(state);
        drop(abort);
        if is_last {
            self.registry.changed.notify_waiters();
        }
    }
}

/// What a call that is ended by the close of its client raises.
pub(super) fn ended(provider: &str, model: &str) -> Box<Error> {
    let mut error = Error::connection(
        "the client was closed while this call was under way: it was not done within the timeout of close()",
    );
    error.should_retry = Some(false);
    error.provider = Some(provider.into());
    error.model = Some(model.into());
    error
}

/// What a call of a closed client raises.
pub(super) fn refused() -> Box<Error> {
    Error::argument("the client is closed: make another Client")
}

/// Reads how long a close waits for the calls that are under way; `None`: as long as they take.
pub(super) fn timeout(value: &Bound<'_, PyAny>) -> PyResult<Option<Duration>> {
    const RIGHT: &str = "a number of seconds, 0 or more, or None for no limit";
    if value.is_none() {
        return Ok(None);
    }
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

/// A close, to be done by the network thread.
pub(super) struct Closing {
    pub core: Arc<Core>,
    /// How long the calls are waited for.
    pub timeout: Option<Duration>,
    pub caller: Caller,
}

impl Closing {
    /// To be called on the network thread.
    pub fn begin(self) {
        // At once, before the calls that were begun with this one have their turn.
        self.core.client.close();
        self.core.calls.set_phase(Phase::Draining);
        tokio::spawn(self.finish());
    }

    async fn finish(self) {
        let Self { core, timeout, caller } = self;
        let is_drained = core.calls.drained(timeout).await;
        core.calls.set_phase(Phase::Ended);
        if !is_drained {
            core.calls.drained(Some(END_WITHIN)).await;
        }
        core.client.ended().await;
        caller.give(Closed);
    }
}

/// The client is closed.
struct Closed;

impl CallResult for Closed {
    fn into_python(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(py.None())
    }
}
