//! How much of a thread's stack is left, for what recurses over values that somebody else has nested.
//!
//! Programs make threads with 64 kB of stack (`threading.stack_size`), and one level of JSON takes 0.4 kB of it, or 2.3 kB
//! in an unoptimised build: 256 levels would overflow it, which ends the process.

/// Fewer levels than this are not worth a look at the stack.
pub(super) const SHALLOW: usize = 8;

/// What is left for whatever is called at the deepest level: CPython's allocator and collector, and building the error.
const MARGIN: usize = 24 * 1024;

/// Whether there is room for another level below `depth` others. Where the size of the stack is not known, there is.
pub(super) fn has_room(depth: usize) -> bool {
    depth < SHALLOW || stacker::remaining_stack().is_none_or(|left| left > MARGIN)
}
