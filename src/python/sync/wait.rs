//! Waiting in a thread, without the GIL.

use pyo3::prelude::*;

use crate::python::runtime::current;
use crate::python::runtime::exit::{self, FinalizeGuard};

/// Runs `work`, which waits, without the GIL. Before that, passes this thread's turn in the hand-off queue.
pub(crate) fn wait<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    let exempt = exit::is_exempt(py);
    let (done, _guard) = py.detach(|| {
        current::pass_turn();
        (work(), FinalizeGuard::enter_detached(exempt))
    });
    done
}
