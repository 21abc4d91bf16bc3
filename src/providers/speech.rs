//! Speech of OpenAI and the hosts of [`TABLE`](super::TABLE): text in, audio bytes out, at once or as a stream.
//!
//! Wire format: <https://platform.openai.com/docs/api-reference/audio/createSpeech>

use bytes::Bytes;

use super::bytes_stream::RawBytes;
use super::http::{ANY, Host};
use super::{Deployment, Encoded, Endpoint, StreamDecoder, errors};
use crate::error::Result;
use crate::types::http::{Framing, HttpRequest, HttpResponse};
use crate::types::request::Request;

/// The endpoint of OpenAI's speech at the host that a row describes.
pub(super) struct Speech(pub Host);

impl Endpoint for Speech {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        // A host always sends audio while it generates it, so that `stream` is no member of the body.
        let body = request.params.as_body(&deployment.model, false, &[]);
        let (uri, headers) = self.0.destination(deployment, "audio/speech", ANY)?;
        Ok(Encoded { request: HttpRequest::post(uri, headers, body), dropped_params: Vec::new() })
    }

    fn decode(&self, _request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let kind = response.headers.get("content-type").unwrap_or_default();
        if kind.to_ascii_lowercase().starts_with("application/json") || response.body.is_empty() {
            return Err(errors::not_an_answer(self.0.row.name, response, "something that is no audio"));
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
