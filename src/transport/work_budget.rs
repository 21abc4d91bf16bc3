//! Work budget: bytes of one response that may be processed before the task yields to the scheduler.
//!
//! The network thread runs every call of the process. A server that never stops sending, or whose megabytes decompress
//! to gigabytes, would occupy it alone: other calls would wait and timers would not be polled. tokio's cooperative
//! budget counts reads (128 of them), but neither the bytes of each read nor the size after decompression.

use std::pin::pin;
use std::task::{Context, Poll};

/// Size of the budget in bytes: one or two milliseconds of decompressing and parsing.
const BUDGET: usize = 1 << 20;

/// Bytes processed since the task last yielded.
#[derive(Debug, Default)]
pub(super) struct WorkBudget {
    used: usize,
}

impl WorkBudget {
    /// Counts processed bytes.
    pub fn add(&mut self, bytes: usize) {
        self.used += bytes;
    }

    /// Returns true if the budget is used up and the task should yield; the budget is then reset.
    pub fn is_over(&mut self) -> bool {
        let is_over = self.used >= BUDGET;
        if is_over {
            self.used = 0;
        }
        is_over
    }
}

/// Yields to the scheduler, so that other tasks, sockets and timers are polled.
pub(super) async fn yield_now() {
    tokio::task::yield_now().await;
}

/// Yields in a poll function: returns `Pending`, and the task is polled again after the others.
pub(super) fn poll_yield<T>(context: &mut Context<'_>) -> Poll<T> {
    match pin!(tokio::task::yield_now()).poll(context) {
        Poll::Pending => {}
        // tokio's `yield_now` is never ready on its first poll.
        Poll::Ready(()) => context.waker().wake_by_ref(),
    }
    Poll::Pending
}
