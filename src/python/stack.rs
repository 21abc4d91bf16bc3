//! The check for stack space, for functions that recurse over values that someone else has nested.
//!
//! Programs make threads with 64 kB of stack (`threading.stack_size`), and one level of JSON takes 0.4 kB of it, or 2.3 kB
//! in an unoptimised build: 256 levels would overflow it, which ends the process.

/// Number of levels below which the stack is not checked.
pub(super) const SHALLOW: usize = 8;

/// Number of bytes that are left for the functions called at the deepest level: CPython's allocator and collector, and
/// building the error.
const MARGIN: usize = 24 * 1024;

/// Returns true if there is room for another level below `depth` others, or if the size of the stack is not known.
pub(super) fn has_room(depth: usize) -> bool {
    depth < SHALLOW || stacker::remaining_stack().is_none_or(|left| left > MARGIN)
}
