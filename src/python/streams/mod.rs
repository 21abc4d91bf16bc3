//! Streams: objects with both iterator protocols.
//!
//! The network thread fills a [channel](channel::ChunkChannel) with chunks, as bytes, up to a limit. The consumer's thread
//! takes them out in batches and builds the objects. A chunk that is at hand costs no trip through the event loop.

pub(crate) mod channel;
pub(crate) mod chunk_iterator;
mod made;
pub(crate) mod methods;
pub(crate) mod next_chunk;
pub(crate) mod stream;
