//! Amazon Bedrock: Converse and ConverseStream; embeddings by InvokeModel.
//!
//! Wire format: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>,
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html> and botocore's service model
//! `bedrock-runtime/2023-09-30`, the same in JSON.
//!
//! - [`request`]: OpenAI's parameters → Converse's; [`tools`]: `tools` and `tool_choice`.
//! - [`messages`]: the conversation → turns of content blocks; [`media`]: its files; [`blocks`]: the blocks.
//! - [`reasoning`]: `reasoning_effort` in the parameters of each family of models.
//! - [`response`]: content blocks → a message; an answer → a completion.
//! - [`stream`]: events → chunks.
//! - [`embedding`]: requests and answers of embeddings.
//! - [`endpoint_address`]: region, host and path.
//! - [`sign`]: bearer keys and AWS's signatures.
//! - [`faults`] for errors.
//! - [`parse`]: parsing with errors that name the parameter.

mod blocks;
mod embedding;
mod endpoint_address;
mod faults;
mod media;
mod messages;
mod parse;
mod reasoning;
mod request;
mod response;
mod sign;
mod stream;
#[cfg(test)]
mod tests;
mod tools;

use std::time::SystemTime;

use bytes::Bytes;

use super::count_tokens::{self, Counting};
use super::embeddings::{EmbeddingRow, PLAIN};
use super::families::claude;
use super::rate_limits::table as limits;
use super::row::{HOSTED, Setting};
use super::structured::support as structured;
use super::tools::endpoint::WithTools;
use super::tools::grammar::{Grammar, NAMES, Words};
use super::{Deployment, Encoded, Endpoint, Key, Operation, Provider, Row, StreamDecoder, Support};
use crate::error::{Error, Result};
use crate::types::credentials::Kind;
use crate::types::http::{Framing, HttpRequest, HttpResponse};
use crate::types::rate_limit::TokenRules;
use crate::types::request::Request;

/// Name of the provider, and of its native members in `provider_specific_fields`.
const NAME: &str = "bedrock";

/// The provider.
pub(super) struct Bedrock;

static ROW: Row = Row {
    name: NAME,
    docs: "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html",
    base_url: endpoint_address::BASE_URL,
    key_variables: &["AWS_BEARER_TOKEN_BEDROCK"],
    // Without a key the request is signed; `sign` reports missing credentials.
    key: Key::OrCredentials,
    settings: &[
        Setting::location(
            "aws_bedrock_runtime_endpoint",
            &["AWS_BEDROCK_RUNTIME_ENDPOINT", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"],
        ),
        Setting::location("aws_region_name", &["AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"]),
        Setting::caller("aws_access_key_id", &["AWS_ACCESS_KEY_ID"]),
        Setting::secret("aws_secret_access_key", &["AWS_SECRET_ACCESS_KEY"]),
        Setting::secret("aws_session_token", &["AWS_SESSION_TOKEN"]),
        // Not AWS_PROFILE: a profile in the environment comes after the keys in the environment, one that is an
        // argument before them.
        Setting::caller("aws_profile_name", &[]),
        // A role that is assumed with the credentials that are found, and the parameters of that call.
        Setting::location("aws_role_name", &[]),
        Setting::location("aws_session_name", &[]),
        Setting::location("aws_external_id", &[]),
        Setting::location("aws_sts_endpoint", &[]),
    ],
    unsupported: request::UNSUPPORTED,
    // `ToolName` and `ToolUseId`: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolUseBlock.html>.
    tools: Grammar { names: NAMES, ids: Words { marks: Some("_.:-"), ..NAMES } },
    rate_limits: &limits::BEDROCK,
    // Of Cohere's models; those of Titan take one text a request.
    embedding: EmbeddingRow { max_inputs: 96, ..PLAIN },
    ..HOSTED
};

static CHAT: WithTools<Bedrock> = WithTools { row: &ROW, wire: &Bedrock };

static COUNT: Counting = Counting { name: "bedrock", chat: &CHAT, rewrite: count_tokens::bedrock };

impl Provider for Bedrock {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn structured_output(&self, model: &str) -> Support {
        structured::on_bedrock(model)
    }

    fn endpoints(&self) -> &[(Operation, &'static dyn Endpoint)] {
        static ENDPOINTS: &[(Operation, &dyn Endpoint)] =
            &[(Operation::Chat, &CHAT), (Operation::Embedding, &embedding::Invoke), (Operation::CountTokens, &COUNT)];
        ENDPOINTS
    }

    fn token_rules(&self, model: &str) -> TokenRules {
        // OpenAI's models but gpt-oss count as the newest of Anthropic's.
        let is_gpt = model.contains("openai.gpt-") && !model.contains("gpt-oss");
        let output_weight = if is_gpt { 10 } else { claude::Model::of(model).quota_per_output_token() };
        TokenRules { output_weight, ..ROW.rate_limits.tokens }
    }

    fn decode_error(&self, response: &HttpResponse) -> Box<Error> {
        faults::from_response(response)
    }

    fn credentials(&self, deployment: &Deployment) -> Option<Kind> {
        let setting = |name: &str| deployment.setting(name).is_some();
        // Signing reports a key without its other half.
        let has_keys = setting("aws_access_key_id") || setting("aws_secret_access_key");
        let has_credentials = deployment.api_key.is_some() || has_keys && !setting("aws_role_name");
        match endpoint_address::is_known(deployment) {
            _ if !has_credentials => Some(Kind::Aws),
            false => Some(Kind::AwsRegion),
            true => None,
        }
    }

    fn authorize(&self, deployment: &Deployment, request: &mut HttpRequest, now: SystemTime) -> Result<()> {
        sign::authorize(deployment, request, now)
    }
}

impl Endpoint for Bedrock {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        request::encode(deployment, request)
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        response::decode(&request.model, response)
    }

    fn framing(&self) -> Framing {
        Framing::AwsEventStream
    }

    fn stream_decoder(&self, request: &Request, received: u64) -> Box<dyn StreamDecoder> {
        Box::new(stream::BedrockChunks::new(request, received))
    }
}

/// Returns a random id for a completion: Bedrock sends no id but the request's, in a header field.
fn random_id() -> String {
    format!("chatcmpl-{:016x}", fastrand::u64(..))
}
