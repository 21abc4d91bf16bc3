//! The deployment that a call goes to next: strategies, breakers, fallbacks and hedges, as state machines without I/O
//! and without a clock. The driver that carries their decisions out is the only file that does I/O.
//!
//! - `config`: what a user writes, checked, with `options`; `plan`: the same, compiled
//! - `decision`: the events of a call and the decisions on it

pub mod affinity;
pub mod breaker;
pub mod config;
pub mod decision;
pub mod deployment;
pub mod hedge;
pub mod latency;
pub mod lru;
pub mod options;
pub mod plan;
pub mod state;
pub mod strategy;
