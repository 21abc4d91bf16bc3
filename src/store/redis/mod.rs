//! A Redis as the place where quotas are shared by all machines.
//!
//! - [`address`]: its URL
//! - [`client`]: one connection a process; `resp`: the wire format

pub mod address;
pub mod client;
pub mod resp;
#[cfg(test)]
mod server;
