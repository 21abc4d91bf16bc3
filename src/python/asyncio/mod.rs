//! Awaited calls: how results reach the tasks of an asyncio event loop.

pub(crate) mod am_send;
pub(crate) mod bridge;
pub(crate) mod done;
pub(crate) mod loop_waker;
pub(crate) mod queue;
pub(crate) mod waiter;
