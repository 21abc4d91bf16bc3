//! Ollama's own chat API, under LiteLLM's name for it, `ollama_chat`; `ollama` is the OpenAI-compatible one.
//!
//! - here: the provider, its address and its endpoints
//! - [`request`] and [`messages`]: OpenAI's parameters and messages → a request
//! - [`response`]: an answer → a completion; [`stream`]: lines → chunks
//!
//! The documentation of the wire format:
//! - Requests, answers and streams: <https://docs.ollama.com/api/chat>
//! - Thinking: <https://docs.ollama.com/capabilities/thinking>; tools: <https://docs.ollama.com/capabilities/tool-calling>
//! - Options: <https://docs.ollama.com/modelfile#valid-parameters-and-values>
//! - Errors: <https://docs.ollama.com/api/errors>
//!
//! OpenAI's members hold a whole message: `thinking` is `reasoning_content`, and a call's arguments are the same object,
//! there as text. So no native members are kept on a message but those that have no place there. Durations and the rest
//! of the answer are under `provider_specific_fields.ollama`.

mod embedding;
mod messages;
mod request;
mod response;
mod stream;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use bytes::Bytes;

use super::http::{JSON, destination};
use super::rate_limits::table as limits;
use super::resolve::check_url;
use super::row::HOSTED;
use super::structured::support as structured;
use super::tools::endpoint::WithTools;
use super::tools::grammar::Grammar;
use super::unsupported::without_unsupported;
use super::visibility::asks_for_usage;
use super::{Deployment, Encoded, Endpoint, Key, Operation, Provider, Row, StreamDecoder, errors};
use crate::error::{Error, Result};
use crate::types::http::{Framing, HttpRequest, HttpResponse};
use crate::types::request::Request;

/// The provider.
pub(super) struct Ollama;

static ROW: Row = Row {
    name: "ollama_chat",
    docs: "https://docs.ollama.com/api/chat",
    base_url: "http://localhost:11434",
    key_variables: &["OLLAMA_API_KEY"],
    base_url_variables: &["OLLAMA_BASE_URL", "OLLAMA_API_BASE", "OLLAMA_HOST"],
    key: Key::Optional,
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
        "user",
        "verbosity",
        "web_search_options",
    ],
    // A model's template writes names and ids into the prompt.
    tools: Grammar::ANY,
    structured: structured::OLLAMA,
    rate_limits: &limits::OWN,
    ..HOSTED
};

static CHAT: WithTools<Ollama> = WithTools { row: &ROW, wire: &Ollama };

/// Name of the native members in `provider_specific_fields`.
const DIALECT: &str = "ollama";

/// Ollama's options beside OpenAI's parameters, which go into `options` where a caller passes one by its name.
const OPTIONS: &[&str] = &[
    "draft_num_predict",
    "main_gpu",
    "min_p",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "num_batch",
    "num_ctx",
    "num_gpu",
    "num_keep",
    "num_predict",
    "num_thread",
    "repeat_last_n",
    "repeat_penalty",
    "tfs_z",
    "top_k",
    "typical_p",
    "use_mmap",
];

impl Provider for Ollama {
    fn row(&self) -> &'static Row {
        &ROW
    }

    /// Completes what `OLLAMA_HOST` holds, the address that the server listens on: a bare host or port, or 0.0.0.0.
    fn base_url(&self, configured: &str) -> Result<String> {
        let configured = configured.trim();
        let (scheme, rest) = configured.split_once("://").unwrap_or(("http", configured));
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => (host, Some(port)),
            _ => (authority, None),
        };
        let host = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) if address.is_unspecified() => {
                if address.is_ipv4() {
                    "127.0.0.1"
                } else {
                    "[::1]"
                }
            }
            _ if host.is_empty() && port.is_some() => "127.0.0.1",
            _ => host,
        };
        let port = port.or((!configured.contains("://") && !host.is_empty()).then_some("11434"));
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        let url = format!("{scheme}://{host}{port}{path}");
        let url = check_url(&url)?;
        // The OpenAI-compatible row's base URL (`/v1`), or the address of an endpoint.
        let url = url.strip_suffix("/chat").or(url.strip_suffix("/embed")).unwrap_or(url);
        Ok(url.strip_suffix("/api").or(url.strip_suffix("/v1")).unwrap_or(url).to_owned())
    }

    fn endpoints(&self) -> &[(Operation, &'static dyn Endpoint)] {
        static ENDPOINTS: &[(Operation, &dyn Endpoint)] =
            &[(Operation::Chat, &CHAT), (Operation::Embedding, &embedding::Embed)];
        ENDPOINTS
    }

    fn decode_error(&self, response: &HttpResponse) -> Box<Error> {
        errors::from_response(ROW.name, response)
    }
}

impl Endpoint for Ollama {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let (params, mut dropped_params) = without_unsupported(&ROW, request)?;
        let body = request::body(&deployment.model, request, &params, &mut dropped_params)?;
        let accept = if request.stream { "application/x-ndjson" } else { JSON };
        let (uri, headers) = destination(deployment, "api/chat", accept)?;
        Ok(Encoded { request: HttpRequest::post(uri, headers, body), dropped_params })
    }

    fn decode(&self, _request: &Request, response: &HttpResponse) -> Result<Bytes> {
        response::completion(response)
    }

    fn framing(&self) -> Framing {
        Framing::Ndjson
    }

    fn stream_decoder(&self, request: &Request, received: u64) -> Box<dyn StreamDecoder> {
        Box::new(stream::OllamaChunks::new(received, asks_for_usage(request)))
    }
}
