//! A budget of connections: so many to one origin, as many as the process has descriptors for, and whoever finds them all
//! in use waits in line.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::{Mutex, Notify};

use super::descriptors::{Descriptor, Descriptors};

/// Who waits for a descriptor looks for itself after this time: what the rest of the program closes, nobody tells.
const LOOK: Duration = Duration::from_millis(50);

/// The connections that one origin may have.
#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    /// `None`: as many as there are descriptors for.
    limit: Option<usize>,
    taken: AtomicUsize,
    waiting: AtomicUsize,
    /// Held by whoever is first in line; it is given on in the order of arrival.
    line: Mutex<()>,
    changed: Notify,
    descriptors: Arc<Descriptors>,
}

/// One connection's part of the budget; given back when dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    descriptor: Descriptor,
}

impl ConnectionLimiter {
    pub fn new(limit: Option<usize>, descriptors: Arc<Descriptors>) -> Self {
        Self {
            limit,
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            line: Mutex::new(()),
            changed: Notify::new(),
            descriptors,
        }
    }

    /// Somebody waits: whoever comes now stands behind them.
    pub fn has_line(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// The descriptors that they take.
    pub fn descriptors(&self) -> &Arc<Descriptors> {
        &self.descriptors
    }

    /// A seat, if one is left.
    pub fn take(self: &Arc<Self>) -> Option<ConnectionPermit> {
        if self.is_full() {
            return None;
        }
        let descriptor = self.descriptors.take()?;
        let left = |taken: usize| self.limit.is_none_or(|limit| taken < limit).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).ok()?;
        Some(ConnectionPermit { limiter: self.clone(), descriptor })
    }

    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.taken.load(Ordering::Relaxed) >= limit)
    }

    /// Waits in line, and at its head for `attempt` to find something, which it is asked again after each change.
    ///
    /// Dropping this at any moment loses nothing: the next in line looks for itself.
    pub async fn wait<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> T {
        let _waiting = Waiting::new(&self.waiting);
        let _head = self.line.lock().await;
        let mut in_need = None;
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
            in_need.get_or_insert_with(|| self.descriptors.need()).ask();
            let freed = pin!(tokio::time::timeout(LOOK, self.descriptors.changed()));
            match select(changed, freed).await {
                Either::Left(_) | Either::Right(_) => {}
            }
        }
    }

    /// A connection may have become free, or have room.
    pub fn notify(&self) {
        if self.has_line() {
            self.changed.notify_one();
        }
    }

    /// What a call that waited in vain says.
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
    /// Its connection has been made.
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

/// Counts one that waits.
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
        let held = limiter.take().unwrap();
        assert!(limiter.take().is_none());
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for number in 0..20 {
            let (limiter, order) = (limiter.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                let permit = limiter.wait(|| limiter.take()).await;
                order.lock().unwrap().push(number);
                tokio::task::yield_now().await;
                drop(permit);
            }));
            settle().await;
        }
        assert!(limiter.has_line());
        // The head of the line, one in the middle, the last; and the head again, at the moment that it is woken.
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
        assert!(!limiter.has_line());
        assert!(limiter.take().is_some());
    }
}
