//! A slot whose value belongs to one process, and is made anew after a fork.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fork::fork_epoch;

/// A value of this process that is made at its first use, and again after a fork.
pub(crate) struct PerProcess<T> {
    slot: Mutex<Slot<T>>,
}

/// Contents of a slot, each value with the epoch in which it was made.
enum Slot<T> {
    Empty,
    Open(u64, Arc<T>),
    /// Closed for good, with the last value if there was one.
    Closed(Option<(u64, Arc<T>)>),
}

impl<T> Slot<T> {
    /// Returns the value if it was made by this process, open or closed.
    fn own(&self) -> Option<&Arc<T>> {
        match self {
            Self::Open(epoch, value) | Self::Closed(Some((epoch, value))) if *epoch == fork_epoch() => Some(value),
            _ => None,
        }
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let slot = self.slot.get_mut().unwrap_or_else(PoisonError::into_inner);
        if slot.own().is_none() {
            std::mem::forget(std::mem::replace(slot, Slot::Empty));
        }
    }
}

impl<T> PerProcess<T> {
    /// Makes an empty slot.
    pub const fn new() -> Self {
        Self { slot: Mutex::new(Slot::Empty) }
    }

    /// Returns this process's value, made by `make` if there is none yet, or `None` if the slot is closed.
    pub fn get(&self, make: impl FnOnce() -> T) -> Option<Arc<T>> {
        let mut slot = self.lock();
        if let Slot::Open(epoch, value) = &*slot
            && *epoch == fork_epoch()
        {
            return Some(value.clone());
        }
        if matches!(*slot, Slot::Closed(_)) {
            return None;
        }
        let value = Arc::new(make());
        // A parent's value must not even be dropped: see `fork_epoch`.
        std::mem::forget(std::mem::replace(&mut *slot, Slot::Open(fork_epoch(), value.clone())));
        Some(value)
    }

    /// Returns this process's value if there is one, or was one when the slot was closed.
    pub fn known(&self) -> Option<Arc<T>> {
        self.lock().own().cloned()
    }

    /// Returns true if the slot was closed.
    pub fn is_closed(&self) -> bool {
        matches!(*self.lock(), Slot::Closed(_))
    }

    /// Closes the slot for this process and the children of its forks. Returns the value that this process had.
    pub fn close(&self) -> Option<Arc<T>> {
        let mut slot = self.lock();
        let last = slot.own().cloned();
        let closed = Slot::Closed(last.clone().map(|value| (fork_epoch(), value)));
        let before = std::mem::replace(&mut *slot, closed);
        if last.is_none() {
            // A parent's value must not even be dropped.
            std::mem::forget(before);
        }
        last
    }

    /// Replaces this process's value by one that `make` makes of it. Returns the value before, or `None`, and changes
    /// nothing, if there is none.
    pub fn renew(&self, make: impl FnOnce(&T) -> T) -> Option<Arc<T>> {
        let mut slot = self.lock();
        let last = slot.own().cloned()?;
        *slot = Slot::Open(fork_epoch(), Arc::new(make(&last)));
        Some(last)
    }

    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
