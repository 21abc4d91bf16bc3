//! Anthropic's Messages API.
//!
//! - here: the provider, its address, credentials and errors
//! - [`request`], [`messages`] and [`content`]: OpenAI's parameters, messages and their parts → a request
//! - [`response`]: an answer → a completion; [`stream`]: events → chunks
//! - [`vertex`]: the same format on Vertex AI
//!
//! Differences between the models are in [`families`](super::families).
//!
//! Wire format: <https://platform.claude.com/docs/en/api/messages/create>,
//! <https://platform.claude.com/docs/en/build-with-claude/streaming>, <https://platform.claude.com/docs/en/api/errors>;
//! field names and types as the SDK has them: <https://github.com/anthropics/anthropic-sdk-python/tree/main/src/anthropic/types>.

mod batches;
mod content;
mod messages;
mod request;
mod response;
mod stream;
#[cfg(test)]
mod tests;
mod vertex;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Uri};

use super::batch_rows::BatchRows;
use super::batches::RawResults;
use super::count_tokens::{self, Counting};
use super::families::claude::Model;
use super::http::{accepted, bearer, headers};
use super::media_sizes;
use super::rate_limits::table as limits;
use super::row::{HOSTED, Setting};
use super::structured::support as structured;
use super::tools::endpoint::WithTools;
use super::tools::grammar::{Grammar, NAMES};
use super::visibility::asks_for_usage;
use super::{Deployment, Encoded, Endpoint, Key, Operation, Provider, Row, StreamDecoder, Support, errors};
use crate::error::{Error, ErrorKind, Result};
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::members::Members;
use crate::types::request::Request;

pub(super) use vertex::CLAUDE_ON_VERTEX;

/// Name of the native members in `provider_specific_fields`.
const DIALECT: &str = "anthropic";

/// Default version of the API, which still takes `temperature` and `top_p`. `api_version=` selects later ones:
/// <https://platform.claude.com/docs/en/api/versioning>.
const VERSION: &str = "2023-06-01";

static ROW: Row = Row {
    name: "anthropic",
    docs: "https://platform.claude.com/docs/en/api/messages/create",
    // Without the version, as in Anthropic's SDK.
    base_url: "https://api.anthropic.com",
    key_variables: &["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"],
    base_url_variables: &["ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"],
    // A key or a token: see `credential`.
    key: Key::OrCredentials,
    api_versions: true,
    settings: &[Setting::secret("auth_token", &["ANTHROPIC_AUTH_TOKEN"])],
    usage_unasked: true,
    unsupported: &[
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "modalities",
        "moderation",
        "n",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "seed",
        "store",
        "top_logprobs",
        "verbosity",
    ],
    // <https://platform.claude.com/docs/en/agents-and-tools/tool-use/implement-tool-use#specifying-client-tools>
    tools: Grammar { names: NAMES, ids: NAMES },
    media: media_sizes::ANTHROPIC,
    rate_limits: &limits::ANTHROPIC,
    ..HOSTED
};

/// A host of this format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    Anthropic,
    Vertex,
}

impl Host {
    /// Returns the provider's name, for errors.
    fn name(self) -> &'static str {
        match self {
            Self::Anthropic => ROW.name,
            Self::Vertex => "vertex",
        }
    }
}

static CHAT: WithTools<Anthropic> = WithTools { row: &ROW, wire: &Anthropic };

static COUNT: Counting = Counting { name: "anthropic", chat: &CHAT, rewrite: count_tokens::anthropic };

/// The provider.
pub(super) struct Anthropic;

impl Provider for Anthropic {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn structured_output(&self, model: &str) -> Support {
        let model = Model::of(model);
        structured::claude(model.has_output_format(), model)
    }

    fn endpoints(&self) -> &[(Operation, &'static dyn Endpoint)] {
        static ENDPOINTS: &[(Operation, &dyn Endpoint)] = &[
            (Operation::Chat, &CHAT),
            (Operation::CountTokens, &COUNT),
            (Operation::BatchCreate, &batches::Create),
            (Operation::BatchList, &batches::BATCH_LIST),
            (Operation::BatchRetrieve, &batches::BATCH_RETRIEVE),
            (Operation::BatchCancel, &batches::BATCH_CANCEL),
            (Operation::BatchResults, &batches::Results),
            (Operation::BatchOutput, &RawResults(batches::Results)),
            (Operation::BatchSubmit, &batches::Submit),
        ];
        ENDPOINTS
    }

    fn decode_error(&self, response: &HttpResponse) -> Box<Error> {
        error_of(Host::Anthropic, response)
    }

    fn batch_rows(&self) -> Option<&'static dyn BatchRows> {
        Some(&batches::Rows)
    }
}

impl Endpoint for Anthropic {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let body = request::body(Host::Anthropic, &deployment.model, request)?;
        let mut who = vec![credential(deployment)?];
        let version = deployment.api_version.as_deref().unwrap_or(VERSION);
        who.push((HeaderName::from_static("anthropic-version"), header("api_version", version)?));
        if !body.betas.is_empty() {
            who.push((HeaderName::from_static("anthropic-beta"), header("betas", &body.betas.join(","))?));
        }
        let headers = headers(who, accepted(request.stream));
        Ok(Encoded {
            request: HttpRequest::post(address(&deployment.base_url)?, headers, body.json),
            dropped_params: body.dropped_params,
        })
    }

    fn decode(&self, _request: &Request, response: &HttpResponse) -> Result<Bytes> {
        response::completion(Host::Anthropic, response)
    }

    fn stream_decoder(&self, request: &Request, received: u64) -> Box<dyn StreamDecoder> {
        Box::new(stream::AnthropicChunks::new(Host::Anthropic, asks_for_usage(request), received))
    }
}

/// Returns the address of messages. A base URL may end in the version or in the whole path: both are in use.
fn address(base_url: &str) -> Result<Uri> {
    let root = base_url.trim_end_matches("/messages").trim_end_matches("/v1");
    Uri::try_from(format!("{root}/v1/messages"))
        .map_err(|error| Error::argument(format!("base_url cannot be used: {error}")))
}

/// Returns the header field with the credential: `x-api-key` for a key, a bearer token for `auth_token=` or
/// `ANTHROPIC_AUTH_TOKEN`. As in Anthropic's own SDK, the key wins where there are both.
fn credential(deployment: &Deployment) -> Result<(HeaderName, HeaderValue)> {
    let token = deployment.setting("auth_token");
    match (deployment.api_key.as_ref().map(|key| key.expose()), token) {
        (Some(key), token) if token != Some(key) => {
            let mut value = header("api_key", key)?;
            value.set_sensitive(true);
            Ok((HeaderName::from_static("x-api-key"), value))
        }
        (_, Some(token)) => Ok((AUTHORIZATION, bearer(token)?)),
        (_, None) => {
            let mut error = Error::new(
                ErrorKind::Authentication,
                "no key for anthropic: set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN, or pass api_key=",
            );
            error.provider = Some(ROW.name.to_owned());
            Err(error)
        }
    }
}

fn header(argument: &str, value: &str) -> Result<HeaderValue> {
    HeaderValue::try_from(value).map_err(|_| {
        Error::argument(format!("{argument} holds characters that no HTTP header may hold (a line break?)"))
    })
}

/// Converts an error response. The request id is in a header field, and also in the body, since some hosts drop fields.
fn error_of(host: Host, response: &HttpResponse) -> Box<Error> {
    let mut error = errors::from_response(host.name(), response);
    error.request_id = error.request_id.or_else(|| Members::of(&response.body).ok()?.string("request_id"));
    error
}
