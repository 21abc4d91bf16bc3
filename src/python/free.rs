//! Frees response objects the way dicts are freed, however deep they are nested.
//!
//! pyo3's and CPython's own ways first look for what these classes do not have, which costs three times as much
//! (docs/decisions.md). dict's own `tp_dealloc` cannot simply stand in: its protection against deep nesting acts only on
//! objects whose class has that very function in the slot (`_PyTrash_cond` in CPython's `object.h`), so a chain of 100,000
//! objects overflowed the C stack. Here nesting is counted, and what lies too deep waits until the stack is short again.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;

use pyo3::ffi;

/// Objects that are freed inside one another, at most: as many as CPython allows.
const DEEPEST: u32 = 50;

/// How deep a thread is in freeing objects, and what waits to be freed.
struct Nesting {
    depth: Cell<u32>,
    /// Without a destructor, so that the thread-local needs no registration. Empty, and without memory, when no object of
    /// the thread is being freed.
    waiting: RefCell<ManuallyDrop<Vec<*mut ffi::PyObject>>>,
}

thread_local! {
    static NESTING: Nesting =
        const { Nesting { depth: Cell::new(0), waiting: RefCell::new(ManuallyDrop::new(Vec::new())) } };
}

/// The slot `tp_dealloc` of classes whose instances hold nothing but their members.
///
/// # Safety
/// To be called by CPython alone: attached, with such an instance that nobody refers to.
pub(super) unsafe extern "C" fn free(object: *mut ffi::PyObject) {
    // SAFETY: the caller's promise.
    if unsafe { (*ffi::Py_TYPE(object)).tp_finalize.is_some() && lives_on(object) } {
        return;
    }
    NESTING.with(|nesting| {
        let depth = nesting.depth.get();
        if depth >= DEEPEST && nesting.postpone(object) {
            return;
        }
        nesting.depth.set(depth + 1);
        // SAFETY: the caller's promise.
        unsafe { free_dict(object) };
        // What is freed from here has half of the levels to itself, so that this cannot nest endlessly either. Not at depth
        // 0 only: a greenlet that a finaliser has left for good leaves its depth behind.
        if depth < DEEPEST / 2 {
            while let Some(object) = nesting.next() {
                // SAFETY: it was postponed before anything of it was freed.
                unsafe { free_dict(object) };
            }
        }
        nesting.depth.set(depth);
    });
}

impl Nesting {
    /// Leaves an object for later; `false`: there is no memory to remember it.
    fn postpone(&self, object: *mut ffi::PyObject) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.try_reserve(1).is_err() {
            return false;
        }
        // SAFETY: a live instance of a class with garbage collection. The collector must not see it: nobody refers to it.
        unsafe { ffi::PyObject_GC_UnTrack(object.cast()) };
        waiting.push(object);
        true
    }

    fn next(&self) -> Option<*mut ffi::PyObject> {
        let mut waiting = self.waiting.borrow_mut();
        let next = waiting.pop();
        if next.is_none() && waiting.capacity() > 0 {
            // SAFETY: it is replaced at once, and not used after that.
            unsafe { ManuallyDrop::drop(&mut waiting) };
            *waiting = ManuallyDrop::new(Vec::new());
        }
        next
    }
}

/// Frees an object as the dict that it is.
///
/// # Safety
/// As for [`free`].
unsafe fn free_dict(object: *mut ffi::PyObject) {
    // SAFETY: its memory is a dict's and goes the dict's way; then it is for us to let go of its class, which an instance
    // of a class like ours holds.
    unsafe {
        let class = ffi::Py_TYPE(object);
        ffi::PyDict_Type.tp_dealloc.expect("dicts can be freed")(object);
        ffi::Py_DECREF(class.cast());
    }
}

/// Runs the `__del__` that a program has given to a class; whether the object is referred to again.
///
/// # Safety
/// As for [`free`].
#[cold]
unsafe fn lives_on(object: *mut ffi::PyObject) -> bool {
    // SAFETY: the collector must know an object that lives on; a finaliser runs once, says CPython.
    unsafe {
        if ffi::PyObject_GC_IsTracked(object) == 0 {
            ffi::PyObject_GC_Track(object.cast());
        }
        ffi::PyObject_CallFinalizerFromDealloc(object) < 0
    }
}
