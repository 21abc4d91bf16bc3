//! The caller's handle of a call in flight.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;

use super::cancel::CancelHandle;
use super::log::{self, Log};
use crate::python::runtime::signals;

/// Handle of a call in flight: the way to cancel it, and the log of its attempts.
#[derive(Clone)]
pub(crate) struct CallHandle {
    pub cancel: CancelHandle,
    pub log: Option<Arc<Log>>,
}

impl CallHandle {
    /// Returns the interval at which a thread that waits for the call looks for signals and for log records.
    pub fn look_interval(&self) -> Duration {
        if self.log.is_some() { log::LOOK } else { signals::look_interval() }
    }

    /// Writes the log records that have not been written yet.
    pub fn write_log(&self, py: Python<'_>) {
        if let Some(log) = &self.log {
            log.write(py);
        }
    }

    /// Cancels the call because no one waits for it any more.
    pub fn give_up(&self, py: Python<'_>) {
        self.cancel.cancel();
        if let Some(log) = &self.log {
            log.give_up(py);
        }
    }
}
