//! Chat on Vertex AI, where a model's publisher decides its format:
//! <https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/use-partner-models>.
//!
//! - Google's models: `generateContent`
//! - Anthropic's: [`CLAUDE_ON_VERTEX`]
//! - Mistral's: <https://docs.mistral.ai/deployment/cloud/vertex/>
//! - Others: OpenAI's format, <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/open-models/use-maas>

use std::sync::LazyLock;

use bytes::Bytes;

use super::super::anthropic::CLAUDE_ON_VERTEX;
use super::super::http::{accepted, headers};
use super::super::row::{HOSTED, Row};
use super::super::{Deployment, Encoded, Endpoint, StreamDecoder, TABLE, chat};
use super::address;
use super::{VERTEX_CHAT, VERTEX_ROW};
use crate::error::Result;
use crate::types::http::HttpResponse;
use crate::types::request::Request;

/// Chat with any publisher's model.
pub(super) struct VertexChat;

impl Endpoint for VertexChat {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        endpoint_of(&deployment.model).encode(deployment, request)
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        endpoint_of(&request.model).decode(request, response)
    }

    fn stream_decoder(&self, request: &Request, received: u64) -> Box<dyn StreamDecoder> {
        endpoint_of(&request.model).stream_decoder(request, received)
    }
}

fn endpoint_of(model: &str) -> &'static dyn Endpoint {
    match address::publisher(model) {
        "google" => &VERTEX_CHAT,
        "anthropic" => &CLAUDE_ON_VERTEX,
        "mistralai" => &Mistral,
        // A name without the publisher before it says nothing to the endpoint of OpenAI's format.
        _ if model.starts_with("projects/") || model.starts_with("publishers/") => &VERTEX_CHAT,
        _ => &OpenModels,
    }
}

/// Mistral's models, in the format of Mistral's own API.
struct Mistral;

static MISTRAL: LazyLock<&Row> =
    LazyLock::new(|| TABLE.iter().find(|row| row.name == "mistral").expect("it is in the table"));

impl Endpoint for Mistral {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let method = if request.stream { "streamRawPredict" } else { "rawPredict" };
        let (uri, fields) = address::vertex(deployment, request, method)?;
        let model = deployment.model.rsplit('/').next().unwrap_or_default();
        let model = model.split('@').next().unwrap_or_default();
        chat::encode(&MISTRAL, request, model, (uri, headers(fields, accepted(request.stream)).into()))
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        chat::decode(&MISTRAL, request, response)
    }

    fn stream_decoder(&self, request: &Request, _received: u64) -> Box<dyn StreamDecoder> {
        chat::stream_decoder(&MISTRAL, request)
    }
}

/// Models of other publishers.
struct OpenModels;

static OPEN_MODELS: Row = Row {
    name: VERTEX_ROW.name,
    base_url: VERTEX_ROW.base_url,
    stream_usage: true,
    spelled: &[("max_completion_tokens", "max_tokens")],
    ..HOSTED
};

impl Endpoint for OpenModels {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let (uri, fields) = address::vertex_chat_completions(deployment, request)?;
        let destination = (uri, headers(fields, accepted(request.stream)).into());
        chat::encode(&OPEN_MODELS, request, &deployment.model, destination)
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        chat::decode(&OPEN_MODELS, request, response)
    }

    fn stream_decoder(&self, request: &Request, _received: u64) -> Box<dyn StreamDecoder> {
        chat::stream_decoder(&OPEN_MODELS, request)
    }
}
