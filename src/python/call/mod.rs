//! A call between the thread that makes it and the network thread: its job, its result, its cancellation, its log and hooks.
//!
//! What the caller's thread has allocated comes back to it, and what the network thread has allocated for the call stays
//! there: memory that one thread frees for another costs both.

pub(crate) mod caller;
pub(crate) mod cancel;
pub(crate) mod closing;
pub(crate) mod finished;
pub(crate) mod handle;
pub(crate) mod log;
pub(crate) mod perform;
pub(crate) mod prepared;
pub(crate) mod registry;
pub(crate) mod result;
pub(crate) mod task;
pub(crate) mod watch;
