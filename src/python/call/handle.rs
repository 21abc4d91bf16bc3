//! The caller's handle of a call in flight.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;

use super::cancel::CancelHandle;
use super::log;
use super::watch::Watch;
use crate::python::runtime::signals;

/// Handle of a call in flight: the way to cancel it, and those who want to know what becomes of it.
#[derive(Clone)]
pub(crate) struct CallHandle {
    pub cancel: CancelHandle,
    pub watch: Option<Arc<Watch>>,
}

impl CallHandle {
    /// Returns the interval at which a thread that waits for the call looks for signals and for log records.
    pub fn look_interval(&self) -> Duration {
        if self.watch.as_ref().is_some_and(|watch| watch.log.is_some()) { log::LOOK } else { signals::look_interval() }
    }

    /// Writes the log records that have not been written yet.
    pub fn write_log(&self, py: Python<'_>) {
        if let Some(watch) = &self.watch {
            watch.write_log(py);
        }
    }

    /// Cancels the call because no one waits for it any more.
    pub fn give_up(&self, py: Python<'_>) {
        self.cancel.cancel();
        if let Some(watch) = &self.watch {
            watch.give_up(py);
        }
    }
}
