//! What every framing cuts a stream into.

use bytes::Bytes;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What kind of event it is; empty where the framing has no such thing or the stream does not say.
    pub name: Bytes,
    /// Its content.
    pub data: Bytes,
}
