//! Frees response objects by the slot of dicts, at any depth of nesting.
//!
//! pyo3's and CPython's own functions first look for features that these classes do not have, which costs three times as
//! much (docs/decisions.md). dict's own `tp_dealloc` cannot simply stand in: its protection against deep nesting acts only on
//! objects whose class has that very function in the slot (`_PyTrash_cond` in CPython's `object.h`), so a chain of 100,000
//! objects overflowed the C stack. Here nesting is counted, and objects that are nested too deep are freed later, when the
//! stack is short again.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;

use pyo3::ffi;

/// Largest number of objects that are freed inside one another: as many as CPython allows.
const DEEPEST: u32 = 50;

/// Depth of nested calls of [`free`] in a thread, and the objects that are to be freed later.
struct Nesting {
    depth: Cell<u32>,
    /// Without a destructor, so that the thread-local needs no registration. Empty, and without allocated memory, while no
    /// object is being freed in the thread.
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
        // Objects that are freed from here have half of the levels to themselves, so that this cannot nest endlessly either.
        // Not at depth 0 only: a greenlet that a finaliser has left for good leaves its depth behind.
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
    /// Postpones the freeing of an object. Returns false if there is no memory to remember it.
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

    /// Takes the next postponed object, and frees the list's memory after the last.
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

/// Frees an object by the function of dicts.
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

/// Runs the `__del__` that a program has given to a class. Returns true if the object is referred to again.
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
