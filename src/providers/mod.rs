//! Vendors: how each is addressed, what it is sent and what its answers mean. No socket, no clock, no Python.
//!
//! A provider is sans-I/O: it encodes a call into an HTTP request and decodes HTTP responses and stream events into
//! OpenAI-shaped JSON. Adding an OpenAI-compatible provider is one row in [`table`]; adding a native wire is one file
//! and one line in `NATIVE`.

mod anthropic;
mod azure;
mod batches;
mod bedrock;
mod bytes_stream;
mod chat;
mod cohere;
mod delta_cache;
mod edit;
mod embeddings;
mod errors;
mod families;
mod gemini;
mod history;
mod http;
mod media;
mod normalise;
mod ollama;
mod openai_compatible;
mod outline;
mod pieces;
mod received;
mod refusals;
mod rerank;
mod resolve;
mod resources;
mod responses;
mod row;
mod speech;
mod table;
mod too_long;
mod tools;
mod unsupported;
mod validation;
mod visibility;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::types::credentials::{Credentials, Kind};
use crate::types::embedding;
use crate::types::http::{Framing, HttpRequest, HttpResponse};
pub use crate::types::operation::Operation;
use crate::types::operation::Streaming;
use crate::types::request::Request;
use crate::types::secret::Secret;

pub use embeddings::EmbeddingRow;
pub use resolve::{DeploymentArgs, check_segments, resolve, resolve_account};
pub use row::{About, Key, Row};
pub use table::TABLE;

/// A provider's wire format.
pub trait Provider: Send + Sync {
    /// Its name, place and key.
    fn row(&self) -> &'static Row;

    /// The base URL that the caller's, or the environment's, stands for: checked, and with what may be left out of it.
    fn base_url(&self, given: &str) -> Result<String> {
        resolve::versioned_base_url(self.row(), given)
    }

    /// The operations that it has, and how each is asked. The order is that of their use.
    fn endpoints(&self) -> &[(Operation, &'static dyn Endpoint)];

    /// How it is asked for this operation; `None`: it has no such thing.
    fn endpoint(&self, operation: Operation) -> Option<&'static dyn Endpoint> {
        self.endpoints().iter().find(|(known, _)| *known == operation).map(|(_, endpoint)| *endpoint)
    }

    /// A refusal as an error: the class it belongs to, and everything the provider said.
    fn decode_error(&self, response: &HttpResponse) -> Box<Error>;

    /// Credentials that a call needs and that only files, programs or other servers can tell; none where the key and
    /// the settings say everything.
    fn credentials(&self, _deployment: &Deployment) -> Option<Kind> {
        None
    }

    /// Puts on a request what proves who sends it and has to be new for each attempt, such as a signature with the time.
    fn authorize(&self, _deployment: &Deployment, _request: &mut HttpRequest, _now: SystemTime) -> Result<()> {
        Ok(())
    }
}

/// One operation of a provider's: how it is asked, and what its answers mean.
pub trait Endpoint: Send + Sync {
    /// The HTTP request for a call. The caller's own headers and query are added by the client.
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded>;

    /// The requests that a call is made up of, where a provider answers less than a whole call at once: they are made
    /// side by side, and their answers joined. None: the call is one request.
    fn parts(&self, _request: &Request) -> Result<Vec<Request>> {
        Ok(Vec::new())
    }

    /// The answer to a call out of the answers to its parts.
    fn join(&self, answers: &[Bytes]) -> Result<Bytes> {
        embedding::join(answers).map_err(|error| Error::new(ErrorKind::ApiResponseValidation, error.to_string()))
    }

    /// A successful answer in OpenAI's shape, in JSON.
    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes>;

    /// How its streams are cut into events.
    fn framing(&self) -> Framing {
        Framing::Sse
    }

    /// Whether a stream may come as `application/json`; elsewhere that is a plain answer, or a refusal.
    fn streams_json(&self) -> bool {
        false
    }

    /// A decoder for one stream, which began at `received` (Unix seconds).
    fn stream_decoder(&self, _request: &Request, _received: u64) -> Box<dyn StreamDecoder> {
        unreachable!("`Deployment::endpoint` refuses a stream of an operation that has none")
    }
}

/// Turns one stream's events into OpenAI-shaped chunks.
pub trait StreamDecoder: Send {
    /// Decodes one event, appending the chunks that it makes, in JSON.
    fn event(&mut self, name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()>;

    /// Whether the caller is shown this chunk, one of those that the last event made; one that is not shown still counts
    /// for the completion.
    fn is_shown(&self, _chunk: &[u8]) -> bool {
        true
    }

    /// Whether the stream has said that it is over, so that its body's end need not be waited for.
    fn is_done(&self) -> bool;

    /// Whether what has come is a whole answer, so that a body that ends here is not an error.
    fn is_complete(&self) -> bool;
}

/// One model at one provider, with what it takes to call it.
#[derive(Clone)]
pub struct Deployment {
    /// Who serves it.
    pub provider: &'static dyn Provider,
    /// The model's name as the provider knows it.
    pub model: Arc<str>,
    /// Base URL without a trailing slash.
    pub base_url: Arc<str>,
    /// The key, if there is one.
    pub api_key: Option<Secret>,
    /// The version of the API, where the provider has such a thing.
    pub api_version: Option<String>,
    /// What else the provider is told by: a region, a project, credentials of another kind. By argument name.
    pub settings: Vec<(&'static str, Secret)>,
    /// Credentials that neither the key nor the settings are: to be found, or found.
    pub credentials: Credentials,
}

impl Deployment {
    /// How this request is asked here; an error where the provider has no such operation.
    pub fn endpoint(&self, request: &Request) -> Result<&'static dyn Endpoint> {
        let operation = request.operation;
        let spec = operation.spec();
        if request.stream && spec.streaming == Streaming::None {
            return Err(Error::argument(format!("{} do not come as a stream: leave stream out", spec.noun)));
        }
        self.provider.endpoint(operation).ok_or_else(|| {
            let have =
                all().filter(|provider| provider.endpoint(operation).is_some()).map(|provider| provider.row().name);
            let have = have.collect::<Vec<_>>().join(", ");
            let name = self.provider.row().name;
            Error::new(ErrorKind::UnsupportedParams, format!("{name} has no {}; these have: {have}", spec.noun))
        })
    }

    /// A setting of the row's, if it was given as an argument or in the environment.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| *known == name).map(|(_, value)| value.expose())
    }

    /// Everything about it that nobody may see.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let row = self.provider.row();
        let is_secret =
            |name: &str| row.settings.iter().any(|setting| setting.name == name && setting.about == About::Secret);
        // Some are a file's path, or what such a file holds.
        let is_file = |value: &Secret| value.expose().trim_start().starts_with('{');
        let settings = self.settings.iter().filter(move |(name, value)| is_secret(name) || is_file(value));
        let settings = settings.map(|(_, value)| value);
        self.api_key.iter().chain(settings).chain(self.credentials.secrets())
    }
}

impl std::fmt::Debug for Deployment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deployment")
            .field("provider", &self.provider.row().name)
            .field("model", &self.model)
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

/// A call as it is sent.
#[derive(Debug)]
pub struct Encoded {
    /// The request.
    pub request: HttpRequest,
    /// Parameters that were left out because the provider lacks them.
    pub dropped_params: Vec<String>,
}

/// The wires that are not just OpenAI's: one line each.
static NATIVE: [&dyn Provider; 7] = [
    &anthropic::Anthropic,
    &azure::Azure,
    &bedrock::Bedrock,
    &cohere::Cohere,
    &gemini::GEMINI,
    &gemini::VERTEX,
    &ollama::Ollama,
];

/// Names that LiteLLM has for some of them: (LiteLLM's, ours).
const ALIASES: &[(&str, &str)] = &[("cohere_chat", "cohere"), ("vertex_ai", "vertex")];

/// The provider of this name.
pub fn lookup(name: &str) -> Option<&'static dyn Provider> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    openai_compatible::lookup(name).or_else(|| NATIVE.into_iter().find(|provider| provider.row().name == name))
}

/// The names of the settings that providers have, each once: such an argument is no parameter of the request.
pub fn setting_names() -> impl Iterator<Item = &'static str> {
    let names: BTreeSet<&str> =
        all().flat_map(|provider| provider.row().settings).map(|setting| setting.name).collect();
    names.into_iter()
}

/// Every provider there is, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static dyn Provider> {
    openai_compatible::all().chain(NATIVE)
}
