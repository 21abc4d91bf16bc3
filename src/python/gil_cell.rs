//! A cell that the GIL guards: only threads that are attached to the interpreter access its value.
//!
//! A lock on top of the GIL costs two atomic operations each time, and a chunk passes six locks: 0.85 → 0.77 µs a chunk
//! without them (docs/performance.md). In an interpreter without a GIL the cell is locked.

use std::cell::{RefCell, RefMut};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use pyo3::gc::PyVisit;
use pyo3::prelude::*;

static HAS_GIL: AtomicBool = AtomicBool::new(true);

/// Looks whether this interpreter has a GIL. To be called once, at import.
///
/// # Errors
///
/// An exception of `sys._is_gil_enabled`.
pub(super) fn look_for_gil(py: Python<'_>) -> PyResult<()> {
    let prepared = py.import("sys")?.getattr_opt("_is_gil_enabled")?;
    let is_enabled = prepared.map_or(Ok(true), |prepared| prepared.call0()?.is_truthy())?;
    HAS_GIL.store(is_enabled, Ordering::Relaxed);
    Ok(())
}

/// Returns true if only one thread at a time is attached.
pub(super) fn has_gil() -> bool {
    HAS_GIL.load(Ordering::Relaxed)
}

/// A value for attached threads. Like a `Mutex` it must not be locked by a thread that has locked it already, and therefore
/// not be held while Python code may run.
#[derive(Default)]
pub(crate) struct GilCell<T> {
    /// Locked in interpreters without a GIL.
    lock: Mutex<()>,
    value: RefCell<T>,
}

// SAFETY: the value may be sent from thread to thread, and two threads are not in the cell at once: each shows that it is
// attached, and either that is one thread at a time, or it takes the lock first. A thread that lets go of the GIL while it
// holds a guard cannot use the guard meanwhile (it is not `Send`), and others find the cell borrowed.
unsafe impl<T: Send> Sync for GilCell<T> {}

/// Access to the value of a [`GilCell`].
pub(crate) struct Guard<'a, T> {
    value: RefMut<'a, T>,
    _lock: Option<MutexGuard<'a, ()>>,
}

impl<T> GilCell<T> {
    /// Makes a cell.
    pub const fn new(value: T) -> Self {
        Self { lock: Mutex::new(()), value: RefCell::new(value) }
    }

    /// Locks the cell.
    ///
    /// # Panics
    ///
    /// The thread has locked the cell already.
    pub fn lock(&self, _py: Python<'_>) -> Guard<'_, T> {
        let lock = (!has_gil()).then(|| self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        Guard { value: self.value.borrow_mut(), _lock: lock }
    }

    /// Locks the cell, or returns `None` if it is locked, perhaps by this thread.
    pub fn try_lock(&self, _py: Python<'_>) -> Option<Guard<'_, T>> {
        self.try_borrow()
    }

    /// Locks the cell as `try_lock` does, in `__traverse__`, whose only proof of being attached is `_visit`.
    pub fn visit(&self, _visit: &PyVisit<'_>) -> Option<Guard<'_, T>> {
        self.try_borrow()
    }

    fn try_borrow(&self) -> Option<Guard<'_, T>> {
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
