//! Those who want to know what becomes of a call: the log, and the hooks of its client.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::log::Log;
use crate::python::hooks::delivery;
use crate::python::hooks::observed::Observed;
use crate::python::hooks::outcome::Ended;
use crate::python::runtime::fork::fork_count;

/// The log of a call, and what its hooks get when it has ended.
pub(crate) struct Watch {
    pub log: Option<Arc<Log>>,
    /// Taken when the call has ended, in whatever way comes first.
    observed: Mutex<Option<Box<Observed>>>,
    /// Process that the call belongs to. In the child of a fork its end is none: the parent's hooks get the record.
    forks: u64,
}

impl Watch {
    /// Makes the watch of a call that begins.
    pub fn new(log: Option<Arc<Log>>, observed: Option<Box<Observed>>) -> Self {
        Self { log, observed: Mutex::new(observed), forks: fork_count() }
    }

    /// Writes the log records that have not been written yet.
    pub fn write_log(&self, py: Python<'_>) {
        if let Some(log) = &self.log {
            log.write(py);
        }
    }

    /// Records that the caller has given the call up.
    pub fn give_up(&self, py: Python<'_>) {
        if let Some(log) = &self.log {
            log.give_up(py);
        }
        if let Some(observed) = self.take() {
            delivery::push(py, observed, Ended::Aborted, delivery::Place::Anywhere);
        }
    }

    /// Takes what the hooks get, unless the call had none, or has ended before, or belongs to a parent process.
    pub fn take(&self) -> Option<Box<Observed>> {
        if self.forks != fork_count() {
            return None;
        }
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Shows the garbage collector what the watch refers to, if nothing but the caller refers to the watch: one that a call
    /// under way has in common with the network thread stays.
    pub fn traverse(watch: &Arc<Self>, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if Arc::strong_count(watch) > 1 {
            return Ok(());
        }
        match watch.observed.try_lock().as_deref() {
            Ok(Some(observed)) => observed.traverse(visit),
            _ => Ok(()),
        }
    }
}
