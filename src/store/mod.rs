//! Places where the state of quotas is shared.
//!
//! - [`host`]: this host's memory, for all processes of its user
//! - [`redis`]: a Redis, for all machines

pub mod host;
pub mod redis;
