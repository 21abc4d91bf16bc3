//! Waiting in a thread, without the GIL.

use pyo3::prelude::*;

use crate::python::runtime::current;
use crate::python::runtime::exit;

/// Runs `work`, which waits, without the GIL. Before that, passes this thread's turn in the hand-off queue.
pub(crate) fn wait<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    exit::run_detached(py, || {
        current::pass_turn();
        work()
    })
}
