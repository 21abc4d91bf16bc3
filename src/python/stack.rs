//! The check for stack space, for functions that recurse over values that someone else has nested.
//!
//! Programs make threads with 64 kB of stack (`threading.stack_size`), and one level of JSON takes 0.4 kB of it, or 2.3 kB
//! in an unoptimised build: 256 levels would overflow it, which ends the process.

/// Number of levels of a response below which the stack is not checked.
pub(super) const SHALLOW: usize = 8;

/// The same for other values. Writing a dict takes four times as much stack as reading one.
const UNCHECKED: usize = 3;

/// Number of bytes that are left for the functions called at the deepest level: CPython's allocator and collector, and
/// building the error.
const MARGIN: usize = 24 * 1024;

/// Returns true if there is room for another level below `depth` others, or if the size of the stack is not known.
pub(super) fn has_room(depth: usize) -> bool {
    depth < UNCHECKED || stacker::remaining_stack().is_none_or(|left| left > MARGIN)
}

/// Number of bytes that reading, merging and writing a `serde_json::Value` takes at most: 128 levels, each of 0.8 kB, or 3 kB
/// in an unoptimised build.
const OF_VALUES: usize = 512 * 1024;

/// Calls a function that reads JSON into `serde_json::Value`, whose levels are limited but not checked against the stack: on
/// a stack of its own if there is little room on the thread's. The function must not call Python.
#[inline]
pub(super) fn with_room<T>(function: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(OF_VALUES, 2 * OF_VALUES, function)
}
