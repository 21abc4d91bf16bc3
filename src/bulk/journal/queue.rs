//! What the writer's thread and the others share: outcomes that wait to be written, and what has landed.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::failure::JournalFailure;
use super::index::{Entry, Index};
use crate::bulk::line::Totals;
use crate::bulk::outcome::Outcome;

/// Length from which lines are written out, in bytes.
pub(super) const CHUNK: usize = 1 << 20;
/// Time for which the writer waits for more outcomes when it has got one. Waking it up for each costs 5 µs of CPU, more than
/// writing a line.
const LINGER: Duration = Duration::from_millis(1);

/// How far a journal is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Number of outcomes that have landed since the journal was opened, in the order in which they were appended.
    pub landed: u64,
    /// The first failure. There must be no new rows then.
    pub failure: Option<JournalFailure>,
    /// True if the writer has ended: nothing lands any more.
    pub has_ended: bool,
}

#[derive(Default)]
struct Queue {
    outcomes: Vec<Outcome>,
    /// About how many bytes these are.
    bytes: usize,
    /// Number of all outcomes that were appended.
    appended: u64,
    /// True if somebody waits for what was appended.
    is_urgent: bool,
    is_closed: bool,
}

/// What a journal has.
#[derive(Default)]
pub(super) struct Known {
    pub(super) index: Index,
    pub(super) totals: Totals,
    pub(super) damaged: u64,
}

pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the writer up.
    more: Condvar,
    /// Wakes up those who wait for what was appended.
    landed: Condvar,
    progress: watch::Sender<Progress>,
    known: Mutex<Known>,
}

/// A thread that panicked while it held a lock has left nothing half done that matters: all changes are single ones.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(known: Known) -> Self {
        Self {
            queue: Mutex::default(),
            more: Condvar::new(),
            landed: Condvar::new(),
            progress: watch::Sender::new(Progress::default()),
            known: Mutex::new(known),
        }
    }

    /// Appends an outcome and returns its number, from 1.
    pub(super) fn append(&self, outcome: Outcome) -> Result<u64, Option<JournalFailure>> {
        let bytes = outcome.size_hint();
        let mut queue = lock(&self.queue);
        let progress = self.progress.borrow();
        if queue.is_closed || progress.has_ended {
            return Err(progress.failure.clone());
        }
        drop(progress);
        let (was_empty, was_small) = (queue.outcomes.is_empty(), queue.bytes < CHUNK);
        queue.outcomes.push(outcome);
        queue.bytes += bytes;
        queue.appended += 1;
        let appended = queue.appended;
        let is_enough = was_small && queue.bytes >= CHUNK;
        drop(queue);
        if was_empty || is_enough {
            self.more.notify_one();
        }
        Ok(appended)
    }

    /// Returns the number of outcomes that were appended and have not landed.
    pub(super) fn backlog(&self) -> u64 {
        let queue = lock(&self.queue);
        queue.appended - self.progress.borrow().landed
    }

    /// Waits for outcomes and moves them into `batch`. Returns false if there will be no more.
    pub(super) fn take(&self, batch: &mut Vec<Outcome>) -> bool {
        let wait = |queue: &mut Queue| queue.outcomes.is_empty() && !queue.is_closed;
        let queue = lock(&self.queue);
        let queue = self.more.wait_while(queue, wait).unwrap_or_else(PoisonError::into_inner);
        let linger = |queue: &mut Queue| queue.bytes < CHUNK && !queue.is_urgent && !queue.is_closed;
        let waited = self.more.wait_timeout_while(queue, LINGER, linger);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        std::mem::swap(&mut queue.outcomes, batch);
        (queue.bytes, queue.is_urgent) = (0, false);
        !batch.is_empty()
    }

    /// Records outcomes that have landed.
    pub(super) fn landed(&self, entries: impl Iterator<Item = (Entry, Totals)>) {
        let mut count = 0;
        let mut known = lock(&self.known);
        for (entry, totals) in entries {
            known.index.insert(entry);
            known.totals.add(&totals);
            count += 1;
        }
        drop(known);
        self.tell(|progress| progress.landed += count);
    }

    /// Tells a failure; the first one stays.
    pub(super) fn fail(&self, failure: JournalFailure) {
        self.tell(|progress| {
            progress.has_ended |= failure.is_fatal;
            match &mut progress.failure {
                Some(known) => known.is_fatal |= failure.is_fatal,
                none => *none = Some(failure),
            }
        });
    }

    /// Tells that the writer has ended.
    pub(super) fn end(&self) {
        self.tell(|progress| progress.has_ended = true);
    }

    fn tell(&self, change: impl FnOnce(&mut Progress)) {
        // Under the lock, so that nobody begins to wait in between.
        let queue = lock(&self.queue);
        self.progress.send_modify(change);
        drop(queue);
        self.landed.notify_all();
    }

    /// Lets what was appended be written at once.
    pub(super) fn hurry(&self) {
        lock(&self.queue).is_urgent = true;
        self.more.notify_one();
    }

    /// Waits until everything that was appended has landed, or nothing will.
    pub(super) fn flush(&self) {
        let mut queue = lock(&self.queue);
        let appended = queue.appended;
        queue.is_urgent = true;
        self.more.notify_one();
        let wait = |_: &mut Queue| {
            let progress = self.progress.borrow();
            progress.landed < appended && !progress.has_ended
        };
        drop(self.landed.wait_while(queue, wait));
    }

    /// Lets the writer end when it has written what was appended.
    pub(super) fn close(&self) {
        lock(&self.queue).is_closed = true;
        self.more.notify_one();
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(super) fn failure(&self) -> Option<JournalFailure> {
        self.progress.borrow().failure.clone()
    }

    pub(super) fn with_known<T>(&self, use_it: impl FnOnce(&Known) -> T) -> T {
        use_it(&lock(&self.known))
    }
}
