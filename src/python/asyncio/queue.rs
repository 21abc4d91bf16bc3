//! The queue of an event loop: results come in from the network thread, which wakes the loop for the first of them.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use super::loop_waker::LoopWaker;
use crate::python::call::result::CallResult;
use crate::python::intern::intern;
use crate::python::runtime::end_of_turn::at_end_of_turn;

/// Key of results that no task waits for.
pub(crate) const NO_WAITER: u64 = 0;

/// Queue of results for one event loop.
pub(crate) struct Queue {
    /// Results, each with the key of the waiter that it is for.
    pub(super) done: Mutex<Vec<(u64, Box<dyn CallResult>)>>,
    pub(super) wake: Wake,
}

/// The way to wake the event loop.
pub(super) enum Wake {
    LoopWaker(LoopWaker),
    /// For loops that cannot watch a socket (Windows' proactor): the only case in which another thread takes the GIL.
    CallSoon {
        event_loop: Py<PyWeakrefReference>,
        drain: Mutex<Option<Py<PyAny>>>,
    },
}

impl Queue {
    /// Hands a result to the waiter under `key`.
    pub fn push(self: &Arc<Self>, key: u64, result: Box<dyn CallResult>) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.push((key, result));
        let first = done.len() == 1;
        drop(done);
        if first {
            let queue = self.clone();
            at_end_of_turn(move || queue.wake());
        }
    }

    /// Wakes the event loop.
    pub(super) fn wake(&self) {
        match &self.wake {
            Wake::LoopWaker(waker) => waker.wake(),
            Wake::CallSoon { event_loop, drain } => {
                Python::try_attach(|py| {
                    let drain =
                        drain.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|drain| drain.clone_ref(py));
                    if let (Some(event_loop), Some(drain)) = (event_loop.bind(py).upgrade(), drain) {
                        let call = || event_loop.call_method1(intern!(py, "call_soon_threadsafe"), (drain,));
                        // A loop that is closed by now needs no answers.
                        drop(call());
                    }
                });
            }
        }
    }
}
