//! A wire of its own, with its calls' tools in the host's grammar and the caller's names in its answers.

use std::borrow::Cow;

use bytes::Bytes;

use super::super::{Deployment, Encoded, Endpoint, Row, StreamDecoder};
use super::acceptable;
use super::answer::{Readable, readable};
use super::names::Renamed;
use crate::error::Result;
use crate::types::chat::Request;
use crate::types::http::{Framing, HttpResponse};

/// A wire's chat, and its host's row.
pub(in crate::providers) struct WithTools<E: 'static> {
    /// The row, with the grammar.
    pub row: &'static Row,
    /// The wire.
    pub wire: &'static E,
}

impl<E: Endpoint> Endpoint for WithTools<E> {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        match acceptable(&self.row.tools, Cow::Borrowed(&request.params)) {
            Cow::Borrowed(_) => self.wire.encode(deployment, request),
            Cow::Owned(params) => self.wire.encode(deployment, &Request { params, ..request.clone() }),
        }
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let answer = self.wire.decode(request, response)?;
        let renamed = Renamed::of(&self.row.tools, &request.params);
        let readable = if renamed.is_empty() { None } else { readable(&renamed, &answer) };
        Ok(readable.unwrap_or(answer))
    }

    fn framing(&self) -> Framing {
        self.wire.framing()
    }

    fn stream_decoder(&self, request: &Request, received: u64) -> Box<dyn StreamDecoder> {
        let decoder = self.wire.stream_decoder(request, received);
        let renamed = Renamed::of(&self.row.tools, &request.params);
        if renamed.is_empty() { decoder } else { Box::new(Readable { decoder, renamed }) }
    }
}
