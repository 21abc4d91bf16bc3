//! Cancellation of a job on the network thread.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;

/// Handle that cancels a job: its future is dropped at the point where it waits.
#[derive(Clone, Default)]
pub(crate) struct CancelHandle(Arc<CancelState>);

#[derive(Default)]
struct CancelState {
    /// [`RUNNING`], or the reason why the job is cancelled.
    reason: AtomicU8,
    job: AtomicWaker,
}

const RUNNING: u8 = 0;
/// No one waits for the job any more.
const GIVEN_UP: u8 = 1;
/// The client of the job was closed. Whoever waits for the job gets an error.
const CLOSED: u8 = 2;

impl CancelHandle {
    /// Cancels the job because no one waits for it any more.
    pub fn cancel(&self) {
        self.0.reason.store(GIVEN_UP, Ordering::Release);
        self.0.job.wake();
    }

    /// Cancels the job because its client is closed. Whoever waits for the job gets an error, unless the job was given up
    /// before.
    pub fn cancel_for_close(&self) {
        let _ = self.0.reason.compare_exchange(RUNNING, CLOSED, Ordering::AcqRel, Ordering::Acquire);
        self.0.job.wake();
    }

    fn is_cancelled(&self) -> bool {
        self.0.reason.load(Ordering::Acquire) != RUNNING
    }

    /// Returns true if the job was cancelled by the close of its client.
    pub fn is_closed(&self) -> bool {
        self.0.reason.load(Ordering::Acquire) == CLOSED
    }

    /// Polls `work` until it is done or cancelled.
    pub async fn run_until_cancelled(&self, mut work: Pin<&mut impl Future<Output = ()>>) {
        poll_fn(|context| {
            if !self.is_cancelled() && work.as_mut().poll(context).is_pending() {
                self.0.job.register(context.waker());
                // The job may have been cancelled before there was a waker to wake.
                if !self.is_cancelled() {
                    return Poll::Pending;
                }
            }
            // A caller that may cancel the job keeps this handle for longer, and would free the task that the waker belongs to,
            // as it happens with futures' `Abortable`.
            drop(self.0.job.take());
            Poll::Ready(())
        })
        .await;
    }
}
