//! State of a stream's consumer. The record of the call reads it when the stream is over.

use std::collections::VecDeque;

use crate::client::Chunk;
use crate::types::snapshot::Snapshot;

/// State of the consumer.
pub(crate) struct Local {
    /// Chunks that were taken out of the channel and not given out yet.
    pub chunks: VecDeque<Chunk>,
    /// Number of chunks that were taken out of the channel since a task has waited.
    pub without_turn: usize,
    /// The completion accumulated so far.
    pub so_far: Snapshot,
    /// True if nothing more will be taken out of the channel.
    pub over: bool,
    /// True if the stream is over because a loop was left, and not by its end: whoever reads on must not take it for
    /// complete.
    pub left: bool,
}
