//! What only threads that are attached to the interpreter touch: the GIL keeps them apart already.
//!
//! A lock on top of it costs two atomic operations each time, and a chunk comes by six of them: 0.85 → 0.77 µs a chunk
//! without (docs/performance.md). An interpreter without a GIL gets the lock.

use std::cell::{RefCell, RefMut};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use pyo3::gc::PyVisit;
use pyo3::prelude::*;

static HAS_GIL: AtomicBool = AtomicBool::new(true);

/// Finds out whether this interpreter has a GIL. To be called once, at import.
pub(super) fn look_for_gil(py: Python<'_>) -> PyResult<()> {
    let prepared = py.import("sys")?.getattr_opt("_is_gil_enabled")?;
    let is_enabled = prepared.map_or(Ok(true), |prepared| prepared.call0()?.is_truthy())?;
    HAS_GIL.store(is_enabled, Ordering::Relaxed);
    Ok(())
}

/// Whether one thread at a time is attached.
pub(super) fn has_gil() -> bool {
    HAS_GIL.load(Ordering::Relaxed)
}

/// A value for attached threads. Like a `Mutex` it is not to be locked by a thread that has locked it already, and
/// therefore not held while Python code may run.
#[derive(Default)]
pub(super) struct GilCell<T> {
    /// Locked where there is no GIL.
    lock: Mutex<()>,
    value: RefCell<T>,
}

// SAFETY: the value may be sent from thread to thread, and two threads are not in the cell at once: each shows that it is
// attached, and either that is one thread at a time, or it takes the lock first. A thread that lets go of the GIL while it
// holds a guard cannot use the guard meanwhile (it is not `Send`), and others find the cell borrowed.
unsafe impl<T: Send> Sync for GilCell<T> {}

/// Access to what is in an [`GilCell`].
pub(super) struct Guard<'a, T> {
    value: RefMut<'a, T>,
    _lock: Option<MutexGuard<'a, ()>>,
}

impl<T> GilCell<T> {
    pub const fn new(value: T) -> Self {
        Self { lock: Mutex::new(()), value: RefCell::new(value) }
    }

    pub fn lock(&self, _py: Python<'_>) -> Guard<'_, T> {
        let lock = (!has_gil()).then(|| self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        Guard { value: self.value.borrow_mut(), _lock: lock }
    }

    /// `None`: somebody is at it, perhaps this thread.
    pub fn try_lock(&self, _py: Python<'_>) -> Option<Guard<'_, T>> {
        self.look()
    }

    /// The same, for `__traverse__`, which has nothing else to show that it is attached.
    pub fn visit(&self, _visit: &PyVisit<'_>) -> Option<Guard<'_, T>> {
        self.look()
    }

    fn look(&self) -> Option<Guard<'_, T>> {
        let lock = match (!has_gil()).then(|| self.lock.try_lock()) {
            Some(Err(TryLockError::WouldBlock)) => return None,
            Some(Err(TryLockError::Poisoned(poisoned))) => Some(poisoned.into_inner()),
            Some(Ok(lock)) => Some(lock),
            None => None,
        };
        Some(Guard { value: self.value.try_borrow_mut().ok()?, _lock: lock })
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}
