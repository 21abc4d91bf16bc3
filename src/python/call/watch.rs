//! Those who want to know what becomes of a call: the log, and the hooks of its client.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;

use super::log::Log;
use crate::python::hooks::delivery;
use crate::python::hooks::observed::Observed;
use crate::python::hooks::outcome::Ended;

/// The log of a call, and what its hooks get when it has ended.
pub(crate) struct Watch {
    pub log: Option<Arc<Log>>,
    /// Taken when the call has ended, in whatever way comes first.
    observed: Mutex<Option<Box<Observed>>>,
}

impl Watch {
    /// Makes the watch of a call that begins.
    pub fn new(log: Option<Arc<Log>>, observed: Option<Box<Observed>>) -> Self {
        Self { log, observed: Mutex::new(observed) }
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

    /// Takes what the hooks get, unless the call had none, or has ended before.
    pub fn take(&self) -> Option<Box<Observed>> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
