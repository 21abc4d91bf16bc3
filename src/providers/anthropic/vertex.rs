//! Claude on Vertex AI: Anthropic's format with the model in the address, the version in the body, and Google's credentials.
//!
//! <https://platform.claude.com/docs/en/build-with-claude/claude-models-on-google-cloud/google-managed>,
//! <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude>; Anthropic's own client:
//! <https://github.com/anthropics/anthropic-sdk-python/tree/main/src/anthropic/lib/vertex>.

use bytes::Bytes;
use http::HeaderName;

use super::super::gemini;
use super::super::http::{accepted, headers};
use super::super::tools::endpoint::WithTools;
use super::super::visibility::asks_for_usage;
use super::super::{Deployment, Encoded, Endpoint, StreamDecoder};
use super::{Host, ROW, header, request, response, stream};
use crate::error::Result;
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::request::Request;

/// Chat with Anthropic's models on Vertex AI.
pub(in crate::providers) static CLAUDE_ON_VERTEX: WithTools<Vertex> = WithTools { row: &ROW, wire: &Vertex };

/// The wire.
pub(in crate::providers) struct Vertex;

impl Endpoint for Vertex {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let method = if request.stream { "streamRawPredict" } else { "rawPredict" };
        let (uri, mut fields) = gemini::vertex_address(deployment, request, method)?;
        let body = request::body(Host::Vertex, &deployment.model, request)?;
        if !body.betas.is_empty() {
            fields.push((HeaderName::from_static("anthropic-beta"), header("betas", &body.betas.join(","))?));
        }
        let headers = headers(fields, accepted(request.stream));
        Ok(Encoded { request: HttpRequest::post(uri, headers, body.json), dropped_params: body.dropped_params })
    }

    fn decode(&self, _request: &Request, response: &HttpResponse) -> Result<Bytes> {
        response::completion(Host::Vertex, response)
    }

    fn stream_decoder(&self, request: &Request, received: u64) -> Box<dyn StreamDecoder> {
        Box::new(stream::AnthropicChunks::new(Host::Vertex, asks_for_usage(request), received))
    }
}
