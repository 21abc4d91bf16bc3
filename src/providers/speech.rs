//! Speech of OpenAI and the hosts of [`TABLE`](super::TABLE): text in, audio bytes out, at once or as a stream.
//!
//! Wire format: <https://platform.openai.com/docs/api-reference/audio/createSpeech>

use bytes::Bytes;

use super::bytes_stream::RawBytes;
use super::http::{ANY, DestinationOf};
use super::{Deployment, Encoded, Endpoint, Row, StreamDecoder, errors};
use crate::error::Result;
use crate::types::http::{Framing, HttpRequest, HttpResponse};
use crate::types::request::Request;

/// The endpoint of OpenAI's speech at the host that a row describes.
pub(super) struct Speech {
    pub row: &'static Row,
    /// Function that returns the address of an operation at this host.
    pub destination: DestinationOf,
}

impl Endpoint for Speech {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        // A host always sends audio while it generates it, so that `stream` is no member of the body.
        let body = request.params.as_body(&deployment.model, false, &[]);
        let path = self.row.below_version(deployment, "audio/speech");
        let (uri, headers) = (self.destination)(deployment, &path, ANY)?;
        Ok(Encoded { request: HttpRequest::post(uri, headers, body), dropped_params: Vec::new() })
    }

    fn decode(&self, _request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let kind = response.headers.get("content-type").unwrap_or_default();
        if kind.to_ascii_lowercase().starts_with("application/json") || response.body.is_empty() {
            return Err(errors::not_an_answer(self.row.name, response, "something that is no audio"));
        }
        Ok(response.body.clone())
    }

    fn framing(&self) -> Framing {
        Framing::Raw
    }

    fn stream_decoder(&self, _request: &Request, _received: u64) -> Box<dyn StreamDecoder> {
        Box::new(RawBytes::default())
    }
}
