//! A Redis as the place where quotas are shared by all machines.
//!
//! - [`address`]: its URL
//! - [`client`]: one connection a process; `resp`: the wire format
//! - [`script`]: the ledger of a quota, which is a script, and one exchange with it
//! - [`keeper`]: keeps a member's [`LeaseState`](crate::limits::lease::LeaseState) supplied

pub mod address;
pub mod client;
pub mod keeper;
pub mod resp;
pub mod script;
#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;
