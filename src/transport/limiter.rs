//! Limits the connections to one origin, by number and by the file descriptors of the process, with a fair queue.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::{Mutex, Notify};

use super::descriptors::{Descriptor, Descriptors};

/// Interval at which a waiting call checks for descriptors, since nothing notifies it when the rest of the program
/// closes some.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Limit on the connections to one origin.
#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    /// `None` for as many as there are descriptors.
    limit: Option<usize>,
    taken: AtomicUsize,
    waiting: AtomicUsize,
    /// Held by the call at the head of the queue; tokio's mutex is fair.
    queue: Mutex<()>,
    changed: Notify,
    descriptors: Arc<Descriptors>,
}

/// Permission to have one connection; released when dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    descriptor: Descriptor,
}

impl ConnectionLimiter {
    /// Creates a limit on the number of connections to one origin.
    pub fn new(limit: Option<usize>, descriptors: Arc<Descriptors>) -> Self {
        Self {
            limit,
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            queue: Mutex::new(()),
            changed: Notify::new(),
            descriptors,
        }
    }

    /// Returns true if calls are waiting; new calls join the queue behind them.
    pub fn has_waiters(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Returns the descriptors that connections use.
    pub fn descriptors(&self) -> &Arc<Descriptors> {
        &self.descriptors
    }

    /// Returns a permit if one is available.
    pub fn try_acquire(self: &Arc<Self>) -> Option<ConnectionPermit> {
        if self.is_full() {
            return None;
        }
        let descriptor = self.descriptors.try_acquire()?;
        let next = |taken: usize| self.limit.is_none_or(|limit| taken < limit).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Some(ConnectionPermit { limiter: self.clone(), descriptor })
    }

    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.taken.load(Ordering::Relaxed) >= limit)
    }

    /// Waits in the queue, and at its head repeats `attempt` after each change until it returns something.
    ///
    /// Cancelling the future at any point loses nothing: the next call in the queue makes its own attempt.
    pub async fn wait<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> T {
        let _waiting = Waiting::new(&self.waiting);
        let _guard = self.queue.lock().await;
        let mut waiter = None;
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = attempt() {
                return found;
            }
            if self.is_full() {
                changed.await;
                continue;
            }
            waiter.get_or_insert_with(|| self.descriptors.register_waiter()).request_cleanup();
            let freed = pin!(tokio::time::timeout(CHECK_INTERVAL, self.descriptors.changed()));
            match select(changed, freed).await {
                Either::Left(_) | Either::Right(_) => {}
            }
        }
    }

    /// Wakes the head of the queue: a connection may have become idle, or can take another request.
    pub fn notify(&self) {
        if self.has_waiters() {
            self.changed.notify_one();
        }
    }

    /// Describes the limit for the error of a call that waited in vain.
    pub fn describe(&self, origin: &impl std::fmt::Display) -> String {
        let others = self.waiting.load(Ordering::Relaxed);
        match self.limit {
            Some(limit) if self.is_full() => format!(
                "a free connection to {origin}, of which all {limit} that max_connections allows were in use and {others} other calls waited,"
            ),
            _ => format!(
                "a free connection to {origin}, for which {others} other calls waited since {},",
                self.descriptors.describe()
            ),
        }
    }
}

impl ConnectionPermit {
    /// Marks the connection as open, so that its descriptor exists.
    pub fn open(&mut self) {
        self.descriptor.open();
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limiter.taken.fetch_sub(1, Ordering::Relaxed);
        self.limiter.notify();
    }
}

/// Counts a waiting call until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn first_come_first_served_and_the_cancelled_lose_nothing() {
        let limiter = Arc::new(ConnectionLimiter::new(Some(1), Arc::default()));
        let held = limiter.try_acquire().unwrap();
        assert!(limiter.try_acquire().is_none());
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for number in 0..20 {
            let (limiter, order) = (limiter.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                let permit = limiter.wait(|| limiter.try_acquire()).await;
                order.lock().unwrap().push(number);
                tokio::task::yield_now().await;
                drop(permit);
            }));
            settle().await;
        }
        assert!(limiter.has_waiters());
        // Cancels the head of the queue, one in the middle, the last, and the new head at the moment it is woken.
        for gone in [0, 7, 19] {
            tasks[gone].abort();
        }
        settle().await;
        drop(held);
        tasks[1].abort();
        for task in tasks {
            drop(task.await);
        }
        let expected: Vec<i32> = (2..19).filter(|number| *number != 7).collect();
        assert_eq!(*order.lock().unwrap(), expected);
        assert!(!limiter.has_waiters());
        assert!(limiter.try_acquire().is_some());
    }
}
