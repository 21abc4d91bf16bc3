//! The network thread, and what has to hold around forks and at the exit of the interpreter.

pub(crate) mod current;
pub(crate) mod descriptors;
pub(crate) mod end_of_turn;
pub(crate) mod exit;
pub(crate) mod fork;
pub(crate) mod per_process;
pub(crate) mod signals;
pub(crate) mod thread;
