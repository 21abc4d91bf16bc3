//! The deployment that a call goes to next: strategies, breakers, fallbacks and hedges, as state machines without I/O
//! and without a clock. The driver that carries their decisions out is the only file that does I/O.
//!
//! - `config`: what a user writes, checked, with `options`; `plan`: the same, compiled
//! - `decision`: the events of a call and the decisions on it; `call`: what decides
//! - `state`: what all calls share, of `deployment`s with a `breaker` and `latency` each, and of each `quota_group`
//! - `route`: the driver; `target`: a deployment, ready to be called; `sharing`: breakers that processes share
//! - `strategy`, `affinity`, `hedge`: which one, and when a second one

pub mod affinity;
pub mod breaker;
pub mod call;
pub mod config;
pub mod decision;
pub mod deployment;
pub mod hedge;
pub mod latency;
pub mod options;
pub mod plan;
pub mod quota_group;
pub mod route;
mod sharing;
pub mod state;
pub mod strategy;
pub mod target;

#[cfg(test)]
mod tests;
