//! Providers: their addresses, and their formats of requests and answers. No socket, no clock, no Python.
//!
//! A provider is sans-I/O: it encodes a call into an HTTP request and decodes HTTP responses and stream events into
//! OpenAI-shaped JSON. Adding an OpenAI-compatible provider is one row in `table`; adding a wire of its own is a folder and
//! a line in `NATIVE`.
//!
//! - `row`, `table`: providers as data; `openai_compatible`: the providers that are nothing but a row
//! - `resolve`: from a model's name to a [`Deployment`]
//! - `chat`, `embeddings`, `responses`, `rerank`, `speech`, `resources`: the endpoints of OpenAI's format
//! - `anthropic`, `azure`, `bedrock`, `cohere`, `gemini`, `ollama`: wires of their own
//! - `count_tokens`: the number of tokens of a prompt
//! - `rate_limits`: what answers and failures say about quotas
//! - `structured`: the forms in which models are asked for answers that follow a schema
//! - `state`: the state at providers that requests and answers name
//! - `batch_rows`: rows of batches in a provider's own format
//! - `families`, `tools`, `batches`: the parts that several wires share

mod anthropic;
mod azure;
mod batch_rows;
mod batches;
mod bedrock;
mod bytes_stream;
mod chat;
mod cohere;
mod count_tokens;
mod custom;
mod delta_cache;
mod edit;
mod embeddings;
mod errors;
mod families;
mod gemini;
mod history;
mod http;
mod input_parts;
mod media;
pub mod media_sizes;
pub mod mock;
mod normalise;
mod ollama;
mod openai_compatible;
mod outline;
mod parameter_names;
mod pieces;
mod rate_limits;
mod received;
mod refusals;
mod rerank;
mod resolve;
mod resources;
mod responses;
mod row;
mod speech;
mod state;
mod structured;
mod table;
mod telemetry;
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
use crate::types::http::{Framing, Headers, HttpRequest, HttpResponse};
pub use crate::types::operation::Operation;
use crate::types::operation::Streaming;
use crate::types::rate_limit::{Signals, TokenRules};
use crate::types::request::Request;
use crate::types::secret::Secret;

pub use batch_rows::{
    BatchRows, BatchRules, Lookup, QueueRefusal, QueueRules, RowAnswer, RowResult, batch_price, is_unread,
    queue_refusal, refusal_class,
};
pub use custom::{CustomProvider, DEFAULT_LIKE, custom};
pub use embeddings::{EmbeddingRow, halves};
pub use parameter_names::{documented_parameters, openai_parameters};
pub use rate_limits::failure_class;
pub use resolve::{DeploymentArgs, check_segments, provider_of, resolve, resolve_account, resolve_at};
pub use row::{About, Key, Row};
pub use state::{binding, created_ids, is_self_contained};
pub use structured::support::Support;
pub use structured::{ask as ask_for_structured_output, ask_without_schema, refuses_schema, untooled, untooled_stream};
pub use table::TABLE;
pub use telemetry::telemetry_name;
pub use tools::orphans::unanswered_call;

/// A provider's wire format.
pub trait Provider: Send + Sync {
    /// Returns its row: name, address and key.
    fn row(&self) -> &'static Row;

    /// Checks a base URL of the caller or of the environment, and completes it where the provider lets parts be left out.
    ///
    /// # Errors
    /// `InvalidArgument` if it is no address.
    fn base_url(&self, url: &str) -> Result<String> {
        resolve::versioned_base_url(self.row(), url)
    }

    /// Returns the endpoint of each operation that the provider has, the most used first.
    fn endpoints(&self) -> &[(Operation, &'static dyn Endpoint)];

    /// Returns the endpoint of an operation; `None` if the provider lacks it.
    fn endpoint(&self, operation: Operation) -> Option<&'static dyn Endpoint> {
        self.endpoints().iter().find(|(known, _)| *known == operation).map(|(_, endpoint)| *endpoint)
    }

    /// Converts a refusal to an error of its class, with the provider's message, code and body.
    fn decode_error(&self, response: &HttpResponse) -> Box<Error>;

    /// Returns what the header fields of an answer say about rate limits. `received` is the Unix time in seconds at which it
    /// came, for an answer without a date.
    fn signals(&self, headers: &Headers, received: u64) -> Signals {
        rate_limits::signals(self.row(), headers, received)
    }

    /// Returns the class of a failure, and what it says about rate limits.
    fn failure_signals(&self, error: &Error, received: u64) -> Signals {
        rate_limits::failure_signals(self.row(), error, received)
    }

    /// Returns the rules by which the tokens of a model's calls count towards its limits.
    fn token_rules(&self, _model: &str) -> TokenRules {
        self.row().rate_limits.tokens
    }

    /// Returns the structured output of a model.
    fn structured_output(&self, model: &str) -> Support {
        structured::support::of(self.row().structured, model)
    }

    /// Returns the format of the rows of its batches; `None` if it has no batches.
    fn batch_rows(&self) -> Option<&'static dyn BatchRows> {
        None
    }

    /// Returns the kind of credentials that have to be read from files, programs or other servers; `None` if the key and the
    /// settings suffice.
    fn credentials(&self, _deployment: &Deployment) -> Option<Kind> {
        None
    }

    /// Adds credentials to a request that are new for each attempt, such as a signature with the time.
    ///
    /// # Errors
    /// If the request cannot be signed.
    fn authorize(&self, _deployment: &Deployment, _request: &mut HttpRequest, _now: SystemTime) -> Result<()> {
        Ok(())
    }
}

/// One operation of a provider: encodes its requests and decodes its answers.
pub trait Endpoint: Send + Sync {
    /// Encodes a call as an HTTP request. The client adds the caller's own headers and query.
    ///
    /// # Errors
    /// `InvalidArgument` or `UnsupportedParams` for a call that the provider cannot take.
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded>;

    /// Splits a call into several requests, for a provider that takes less than a whole call in one. They are sent
    /// concurrently, and their answers are joined. No parts: the call is one request.
    ///
    /// # Errors
    /// The errors of [`encode`](Self::encode).
    fn parts(&self, _request: &Request) -> Result<Vec<Request>> {
        Ok(Vec::new())
    }

    /// Joins the answers to a call's parts.
    ///
    /// # Errors
    /// `ApiResponseValidation` if they cannot be joined.
    fn join(&self, answers: &[Bytes]) -> Result<Bytes> {
        embedding::join(answers).map_err(|error| Error::new(ErrorKind::ApiResponseValidation, error.to_string()))
    }

    /// Decodes a successful answer into OpenAI-shaped JSON, or into bytes for operations with binary output.
    ///
    /// # Errors
    /// `ApiResponseValidation` for an answer that does not follow the wire format; the class of a refusal for one that
    /// comes with a successful status.
    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes>;

    /// Returns the framing of its streams.
    fn framing(&self) -> Framing {
        Framing::Sse
    }

    /// Returns true if a stream may have the type `application/json`; elsewhere this is a plain answer, or a refusal.
    fn streams_json(&self) -> bool {
        false
    }

    /// Returns a decoder for one stream, which began at `received` (Unix seconds).
    ///
    /// # Panics
    /// If the operation has no streams.
    fn stream_decoder(&self, _request: &Request, _received: u64) -> Box<dyn StreamDecoder> {
        unreachable!("`Deployment::endpoint` refuses a stream of an operation that has none")
    }
}

/// Decodes the events of one stream into OpenAI-shaped chunks.
pub trait StreamDecoder: Send {
    /// Decodes one event, and appends its chunks, in JSON.
    ///
    /// # Errors
    /// The provider's error, if the event is one; `ApiResponseValidation` for an event that cannot be decoded.
    fn event(&mut self, name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()>;

    /// Returns true if the caller is shown this chunk of the last event. A hidden chunk is still part of the completion.
    fn is_shown(&self, _chunk: &[u8]) -> bool {
        true
    }

    /// Returns a chunk with the usage that the stream has told before its end, if it has: that of the prompt, as a rule. It is
    /// for the record of a stream that does not reach its end.
    fn usage_so_far(&self) -> Option<Bytes> {
        None
    }

    /// Returns true if the stream has announced its end, so that the end of its body need not be awaited.
    fn is_done(&self) -> bool;

    /// Returns true if the answer so far is complete, so that a body that ends here is not an error.
    fn is_complete(&self) -> bool;
}

/// One model at one provider, with its address and credentials.
#[derive(Clone)]
pub struct Deployment {
    /// The provider.
    pub provider: &'static dyn Provider,
    /// The model's name at the provider.
    pub model: Arc<str>,
    /// Base URL without a trailing slash.
    pub base_url: Arc<str>,
    /// The key, if there is one.
    pub api_key: Option<Secret>,
    /// The version of the API, for providers with versions.
    pub api_version: Option<String>,
    /// Settings of the provider by argument name: a region, a project, credentials of another kind.
    pub settings: Vec<(&'static str, Secret)>,
    /// Credentials beside the key and the settings, resolved or not.
    pub credentials: Credentials,
}

impl Deployment {
    /// Returns the endpoint of a request's operation.
    ///
    /// # Errors
    /// `UnsupportedParams` if the provider lacks the operation; `InvalidArgument` for a stream of an operation without any.
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

    /// Returns a setting of the provider's row, if it was given as an argument or in the environment.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| *known == name).map(|(_, value)| value.expose())
    }

    /// Returns its secrets, which have to be hidden in logs and errors.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let row = self.provider.row();
        let is_secret =
            |name: &str| row.settings.iter().any(|setting| setting.name == name && setting.about == About::Secret);
        let is_file = |value: &Secret| is_credentials_file(value.expose());
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

/// An encoded call.
#[derive(Debug)]
pub struct Encoded {
    /// The HTTP request.
    pub request: HttpRequest,
    /// Names of the parameters that were dropped because the provider lacks them.
    pub dropped_params: Vec<String>,
}

/// Providers with a wire of their own, one line each.
static NATIVE: [&dyn Provider; 7] = [
    &anthropic::Anthropic,
    &azure::Azure,
    &bedrock::Bedrock,
    &cohere::Cohere,
    &gemini::GEMINI,
    &gemini::VERTEX,
    &ollama::Ollama,
];

/// LiteLLM's names for some providers: (LiteLLM's, RiteLLM's).
const ALIASES: &[(&str, &str)] = &[("cohere_chat", "cohere"), ("vertex_ai", "vertex")];

/// Returns the provider of this name.
pub fn lookup(name: &str) -> Option<&'static dyn Provider> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    openai_compatible::lookup(name).or_else(|| NATIVE.into_iter().find(|provider| provider.row().name == name))
}

/// Returns the names of all providers' settings, each once. An argument of such a name is no parameter of the request.
pub fn setting_names() -> impl Iterator<Item = &'static str> {
    let names: BTreeSet<&str> =
        all().flat_map(|provider| provider.row().settings).map(|setting| setting.name).collect();
    names.into_iter()
}

/// Returns true for the name of a setting that is a credential at some provider.
pub fn is_secret_setting(name: &str) -> bool {
    let settings = || all().flat_map(|provider| provider.row().settings);
    settings().any(|setting| setting.name == name && setting.about == About::Secret)
}

/// Returns true for the content of a file of credentials, which some settings take in place of its path.
pub fn is_credentials_file(value: &str) -> bool {
    value.trim_start().starts_with('{')
}

/// Returns every provider, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static dyn Provider> {
    openai_compatible::all().chain(NATIVE)
}
