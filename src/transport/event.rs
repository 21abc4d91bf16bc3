//! The event type of all stream framings.

use bytes::Bytes;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Type of the event; empty if the framing or the stream has none.
    pub name: Bytes,
    /// Content of the event.
    pub data: Bytes,
}
