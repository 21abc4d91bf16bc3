//! Cohere's chat API, version 2.
//!
//! - here: the provider, its address and its endpoints
//! - [`request`], [`messages`] and [`tools`]: OpenAI's parameters → a request
//! - [`response`]: an answer → a completion; [`stream`]: events → chunks
//!
//! The documentation of the wire format:
//! - Requests and answers: <https://docs.cohere.com/reference/chat>
//! - Streams: <https://docs.cohere.com/reference/chat-stream>, <https://docs.cohere.com/docs/streaming>
//! - Thinking: <https://docs.cohere.com/docs/reasoning>; citations: <https://docs.cohere.com/docs/rag-citations>
//! - Errors: <https://docs.cohere.com/reference/errors>
//!
//! Members that OpenAI's format has no place for are under `provider_specific_fields.cohere`. On the message:
//! `content` (the blocks, unless there is nothing but one text), `tool_plan` and `citations`; these are sent back
//! unchanged as long as the caller leaves the text as it is. On the completion: `logprobs` with their token ids, and
//! members that this module does not read.
//!
//! `reasoning_content` is the thinking. A `tool_plan` is the text that older models write before they call tools; it is
//! kept apart, because it is sent back under its own name.

pub(super) mod embedding;
mod messages;
mod request;
mod response;
mod stream;
#[cfg(test)]
mod tests;
mod tools;

use bytes::Bytes;

use super::count_tokens::{self, Counting};
use super::embeddings::{EmbeddingRow, PLAIN};
use super::http::{Destination, Host, accepted, destination};
use super::rate_limits::table as limits;
use super::rerank::{self, Rerank, RerankRow};
use super::resolve::check_url;
use super::row::HOSTED;
use super::structured::support as structured;
use super::tools::endpoint::WithTools;
use super::visibility::asks_for_usage;
use super::{Deployment, Encoded, Endpoint, Operation, Provider, Row, StreamDecoder, errors};
use crate::error::{Error, Result};
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::request::Request;

/// The provider.
pub(super) struct Cohere;

/// Returns the address and headers for reranking: <https://docs.cohere.com/reference/rerank>.
fn rerank_destination(deployment: &Deployment, path: &str, accept: &'static str) -> Result<Destination> {
    destination(deployment, &format!("v2/{path}"), accept)
}

static ROW: Row = Row {
    name: "cohere",
    docs: "https://docs.cohere.com/reference/chat",
    base_url: "https://api.cohere.com",
    key_variables: &["CO_API_KEY", "COHERE_API_KEY"],
    base_url_variables: &["CO_API_URL", "COHERE_API_BASE"],
    spelled: &[
        ("max_completion_tokens", "max_tokens"),
        ("reasoning_effort", "thinking"),
        ("stop", "stop_sequences"),
        ("top_p", "p"),
    ],
    unsupported: &[
        "audio",
        "function_call",
        "functions",
        "logit_bias",
        "metadata",
        "modalities",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "top_logprobs",
        "user",
        "verbosity",
        "web_search_options",
    ],
    // Version 2 answers without the documents.
    rerank: RerankRow { returns_documents: false, ..rerank::PLAIN },
    structured: structured::COHERE_MODELS,
    rate_limits: &limits::COHERE,
    // `the maximum number of texts per call is 96`: <https://docs.cohere.com/reference/embed>.
    embedding: EmbeddingRow { max_inputs: 96, ..PLAIN },
    ..HOSTED
};

static CHAT: WithTools<Cohere> = WithTools { row: &ROW, wire: &Cohere };

static COUNT: Counting = Counting { name: "cohere", chat: &CHAT, rewrite: count_tokens::cohere };

/// Name of the native members in `provider_specific_fields`.
const DIALECT: &str = "cohere";

impl Provider for Cohere {
    fn row(&self) -> &'static Row {
        &ROW
    }

    /// Strips the version, which this module adds; old settings have `/v1`, and LiteLLM's the whole address.
    fn base_url(&self, configured: &str) -> Result<String> {
        let url = check_url(configured)?;
        let url = url.strip_suffix("/chat").or(url.strip_suffix("/embed")).unwrap_or(url);
        let url = url.strip_suffix("/v2").or(url.strip_suffix("/v1")).unwrap_or(url);
        Ok(url.trim_end_matches('/').to_owned())
    }

    fn endpoints(&self) -> &[(Operation, &'static dyn Endpoint)] {
        static RERANK: Rerank = Rerank(Host { row: &ROW, destination: rerank_destination });
        static ENDPOINTS: &[(Operation, &dyn Endpoint)] = &[
            (Operation::Chat, &CHAT),
            (Operation::Embedding, &embedding::Embed),
            (Operation::Rerank, &RERANK),
            (Operation::CountTokens, &COUNT),
        ];
        ENDPOINTS
    }

    fn decode_error(&self, response: &HttpResponse) -> Box<Error> {
        errors::from_response(ROW.name, response)
    }
}

impl Endpoint for Cohere {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let mut dropped_params = Vec::new();
        let body = request::body(&deployment.model, request, &mut dropped_params)?;
        let (uri, headers) = destination(deployment, "v2/chat", accepted(request.stream))?;
        Ok(Encoded { request: HttpRequest::post(uri, headers, body), dropped_params })
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        response::completion(&request.model, response)
    }

    fn stream_decoder(&self, request: &Request, received: u64) -> Box<dyn StreamDecoder> {
        Box::new(stream::CohereChunks::new(request.model.clone(), received, asks_for_usage(request)))
    }
}
