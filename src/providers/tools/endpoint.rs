//! Wraps the chat endpoint of a provider with a wire of its own: tools follow the host's grammar in requests, and have the
//! caller's names in answers.

use std::borrow::Cow;

use bytes::Bytes;

use super::super::{Deployment, Encoded, Endpoint, Row, StreamDecoder};
use super::adapt_params;
use super::answer::{NormalisedCalls, normalise_calls};
use super::ids::Ids;
use super::names::Renamed;
use crate::error::Result;
use crate::types::http::{Framing, HttpResponse};
use crate::types::request::Request;

/// A chat endpoint whose tools are adapted to the host.
pub(in crate::providers) struct WithTools<E: 'static> {
    /// The provider's row, with the grammar.
    pub row: &'static Row,
    /// The endpoint of the wire.
    pub wire: &'static E,
}

impl<E: Endpoint> Endpoint for WithTools<E> {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        match adapt_params(&self.row.tools, Cow::Borrowed(&request.params)) {
            Cow::Borrowed(_) => self.wire.encode(deployment, request),
            Cow::Owned(params) => self.wire.encode(deployment, &Request { params, ..request.clone() }),
        }
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let answer = self.wire.decode(request, response)?;
        if request.params.get("tools").is_none() {
            return Ok(answer);
        }
        let renamed = Renamed::of(&self.row.tools, &request.params);
        Ok(normalise_calls(&renamed, &mut Ids::default(), &answer).unwrap_or(answer))
    }

    fn framing(&self) -> Framing {
        self.wire.framing()
    }

    fn stream_decoder(&self, request: &Request, received: u64) -> Box<dyn StreamDecoder> {
        let decoder = self.wire.stream_decoder(request, received);
        if request.params.get("tools").is_none() {
            return decoder;
        }
        let renamed = Renamed::of(&self.row.tools, &request.params);
        Box::new(NormalisedCalls { decoder, renamed, ids: Ids::default() })
    }
}
