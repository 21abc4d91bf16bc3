//! The caller that waits for the result of a call.

use std::sync::Arc;

use super::result::CallResult;
use crate::python::asyncio::queue::Queue;
use crate::python::sync::handoff::{BlockingWaiter, HandoffQueue};

/// The receiver of a result.
pub(crate) enum Caller {
    /// A task of an event loop, which waits under this key.
    Task(Arc<Queue>, u64),
    /// A thread.
    Thread(Arc<BlockingWaiter>),
}

impl Caller {
    /// Hands the result to the caller. `handoff` is the queue of the network thread that calls this.
    pub fn give(self, result: impl CallResult + 'static, handoff: &'static HandoffQueue) {
        match self {
            Self::Task(queue, key) => queue.push(key, Box::new(result)),
            Self::Thread(waiter) => handoff.push(&waiter, Box::new(result)),
        }
    }
}
