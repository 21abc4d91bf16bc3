//! Turns: how much of one answer is dealt with before whatever else is ready has its turn.
//!
//! The network thread runs every call of the process. A server that never stops sending, or sends megabytes that stand for
//! gigabytes, would keep it for itself: the other calls would wait, and timers would not be looked at. tokio counts reads
//! (128 of them), and neither how much came with each nor what decompression makes of it.

use std::pin::pin;
use std::task::{Context, Poll};

/// One turn is so many bytes: a millisecond or two of decompressing and parsing.
const BYTES: usize = 1 << 20;

/// How much of a turn has been used.
#[derive(Debug, Default)]
pub(super) struct WorkBudget {
    used: usize,
}

impl WorkBudget {
    /// Counts bytes that were dealt with.
    pub fn add(&mut self, bytes: usize) {
        self.used += bytes;
    }

    /// Whether it is time to give way; if so, another turn begins.
    pub fn is_over(&mut self) -> bool {
        let is_over = self.used >= BYTES;
        if is_over {
            self.used = 0;
        }
        is_over
    }
}

/// Lets whatever else is ready have its turn, sockets and timers too.
pub(super) async fn give_way() {
    tokio::task::yield_now().await;
}

/// The same for a poll function: always pending, and polled again after the others' turn.
pub(super) fn poll_give_way<T>(context: &mut Context<'_>) -> Poll<T> {
    match pin!(tokio::task::yield_now()).poll(context) {
        Poll::Pending => {}
        // Not from tokio as it is.
        Poll::Ready(()) => context.waker().wake_by_ref(),
    }
    Poll::Pending
}
