//! The work that is handed to the network thread.

use std::sync::Arc;

use super::caller::Caller;
use super::closing::Closing;
use super::handle::CallHandle;
use super::prepared::PreparedCall;
use super::registry::Core;

/// Work for the network thread.
pub(crate) enum Task {
    /// Makes a call.
    Call(Job),
    /// Closes a client. Boxed, so that the calls are no larger for it.
    Close(Box<Closing>),
}

/// A call for the network thread to make.
pub(crate) struct Job {
    pub core: Arc<Core>,
    pub prepared: Box<PreparedCall>,
    pub handle: CallHandle,
    pub caller: Caller,
}
