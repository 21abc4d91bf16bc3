//! Progress of an attempt's admission, as a router needs to know it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::Context;
use std::time::Duration;

use futures_util::task::AtomicWaker;

/// Stage of an attempt's admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// It has not had to wait: it has not asked yet, or was admitted at once.
    Direct,
    /// It waits.
    Waiting,
    /// It waits for a quota, and is the first of this process that does.
    First,
    /// It was admitted after it had waited, and asks for its limits.
    Admitted,
    /// It is being sent within the limits that it was given.
    Sent,
}

const STAGES: [Stage; 5] = [Stage::Direct, Stage::Waiting, Stage::First, Stage::Admitted, Stage::Sent];

/// No timeout, as a number of nanoseconds.
const NONE: u64 = u64::MAX;

/// Progress of an attempt's admission. The future of the attempt and the one that made it are polled by the same task: each
/// sees what the other has noted when it is polled next.
#[derive(Debug, Default)]
pub struct AdmissionProgress {
    /// Time that the call has waited elsewhere. It counts towards its queue timeout.
    pub waited: Duration,
    stage: AtomicU8,
    /// Total timeout from admission, in nanoseconds.
    total: AtomicU64,
    is_noticed: AtomicBool,
    waker: AtomicWaker,
}

impl AdmissionProgress {
    /// Creates the progress of an attempt of a call that has waited elsewhere for this time.
    pub fn new(waited: Duration) -> Self {
        Self { waited, ..Self::default() }
    }

    /// Returns the stage.
    pub fn stage(&self) -> Stage {
        STAGES[usize::from(self.stage.load(Ordering::Relaxed))]
    }

    pub(super) fn set_stage(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Notes that the attempt was admitted, and asks for its total timeout from now: that it has to wait was not known when it
    /// was made. Returns `None` if it did not have to.
    pub(super) async fn admitted(&self) -> Option<Option<Duration>> {
        if self.stage() == Stage::Direct {
            return None;
        }
        self.set_stage(Stage::Admitted);
        std::future::poll_fn(|_| match self.stage() {
            Stage::Sent => std::task::Poll::Ready(()),
            _ => std::task::Poll::Pending,
        })
        .await;
        let total = self.total.load(Ordering::Relaxed);
        Some((total != NONE).then(|| Duration::from_nanos(total)))
    }

    /// Lets an admitted attempt be sent, with this total timeout. The future of the attempt is to be polled then.
    pub fn send(&self, total: Option<Duration>) {
        let total = total.map_or(NONE, |total| u64::try_from(total.as_nanos()).unwrap_or(NONE));
        self.total.store(total, Ordering::Relaxed);
        self.set_stage(Stage::Sent);
    }

    /// Notes that a quota that the call could use instead has become free.
    pub(super) fn notice(&self) {
        self.is_noticed.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Returns true if a quota has become free since the last time. Otherwise the task is woken when one does.
    pub fn take_notice(&self, context: &Context<'_>) -> bool {
        self.waker.register(context.waker());
        self.is_noticed.swap(false, Ordering::Acquire)
    }
}
