//! Places where the state of quotas is shared.
//!
//! - [`redis`]: a Redis, for all machines

pub mod redis;
