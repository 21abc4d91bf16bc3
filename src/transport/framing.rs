//! Splits a streamed body into events, with one parser for each framing.

use bytes::Bytes;

pub use super::event::Event;
use super::{aws_event_stream, ndjson, sse};
use crate::error::Result;
use crate::types::http::{END, Framing};

/// Parser that splits a body, received in pieces of any size, into events.
#[derive(Debug)]
pub enum Parser {
    /// Server-sent events.
    Sse(sse::Parser),
    /// One JSON text per line.
    Ndjson(ndjson::Parser),
    /// AWS's binary frames.
    AwsEventStream(aws_event_stream::Parser),
    /// Pieces as they are received.
    Raw,
}

impl Parser {
    /// Creates a parser that refuses events of more than `limit` bytes.
    pub fn new(framing: Framing, limit: usize) -> Self {
        match framing {
            Framing::Ndjson => Self::Ndjson(ndjson::Parser::new(limit)),
            Framing::Sse => Self::Sse(sse::Parser::new(limit)),
            Framing::AwsEventStream => Self::AwsEventStream(aws_event_stream::Parser::new(limit)),
            Framing::Raw => Self::Raw,
        }
    }

    /// Parses the next piece of the body and passes each completed event to `emit`.
    ///
    /// # Errors
    ///
    /// Returns an error if an event is too large or malformed.
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

    /// Handles the end of the body: an event that lacks only its end mark is passed to `emit`.
    ///
    /// # Errors
    ///
    /// Returns an error if the last event is too large or malformed.
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
