//! How a streamed body is cut into events: one parser for each framing.

use bytes::Bytes;

pub use super::event::Event;
use super::{aws_event_stream, ndjson, sse};
use crate::error::Result;
use crate::types::http::{END, Framing};

/// Cuts a body that may arrive in any pieces into events.
#[derive(Debug)]
pub enum Parser {
    /// Server-sent events.
    Sse(sse::Parser),
    /// One JSON text a line.
    Ndjson(ndjson::Parser),
    /// AWS's binary frames.
    AwsEventStream(aws_event_stream::Parser),
    /// Pieces as they come.
    Raw,
}

impl Parser {
    /// A parser that refuses events of more than `limit` bytes.
    pub fn new(framing: Framing, limit: usize) -> Self {
        match framing {
            Framing::Ndjson => Self::Ndjson(ndjson::Parser::new(limit)),
            Framing::Sse => Self::Sse(sse::Parser::new(limit)),
            Framing::AwsEventStream => Self::AwsEventStream(aws_event_stream::Parser::new(limit)),
            Framing::Raw => Self::Raw,
        }
    }

    /// Takes the next piece of the body and gives the events that it completes to `emit`.
    pub fn feed(&mut self, piece: Bytes, mut emit: impl FnMut(Event)) -> Result<()> {
        match self {
            Self::Sse(parser) => parser.feed(piece, emit),
            Self::Ndjson(parser) => parser.feed(piece, emit),
            Self::AwsEventStream(parser) => parser.feed(piece, emit),
            Self::Raw => {
                emit(Event { name: Bytes::new(), data: piece });
                Ok(())
            }
        }
    }

    /// The body has ended: what lacks only its end mark is given out too.
    pub fn finish(&mut self, mut emit: impl FnMut(Event)) -> Result<()> {
        match self {
            Self::Sse(parser) => parser.finish(emit),
            Self::Ndjson(parser) => parser.finish(emit),
            Self::AwsEventStream(parser) => parser.finish(emit),
            Self::Raw => {
                emit(Event { name: Bytes::from_static(END), data: Bytes::new() });
                Ok(())
            }
        }
    }
}
