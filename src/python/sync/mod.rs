//! Blocking calls: threads that wait for answers.

pub(crate) mod handoff;
pub(crate) mod wait;
