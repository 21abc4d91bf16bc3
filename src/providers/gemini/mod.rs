//! Google's `generateContent`: the Gemini API (`gemini`) and Vertex AI (`vertex`), which share everything but their
//! addresses and credentials.
//!
//! Wire format: <https://ai.google.dev/api/generate-content> and
//! <https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference>.
//!
//! - [`address`]: addresses and credentials
//! - [`request`]: OpenAI's parameters → Google's; [`contents`]: OpenAI's messages → Google's; [`media`] and [`part`]:
//!   their parts
//! - [`answer`]: an answer as it is parsed; [`reader`]: answers → completions and deltas; [`stream`]: events → chunks;
//!   [`partial`]: calls with streamed arguments; [`unmapped`]: members that OpenAI's format has no place for
//! - [`publishers`]: chat on Vertex AI, by the publisher of the model
//! - [`embedding`], [`batches`] and [`files`]: requests and answers of these operations

mod address;
mod answer;
mod batches;
mod contents;
mod embedding;
mod files;
mod media;
mod part;
mod partial;
mod publishers;
mod reader;
mod request;
mod stream;
#[cfg(test)]
mod tests;
mod unmapped;

use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;

use self::reader::Reader;
use self::stream::GeminiChunks;
use super::batch_rows::BatchRows;
use super::batches::RawResults;
use super::count_tokens::{self, Counting};
use super::embeddings::{EmbeddingRow, PLAIN};
use super::families::claude::Model;
use super::http::{accepted, headers};
use super::rate_limits::table as limits;
use super::row::{HOSTED, Setting};
use super::structured::support as structured;
use super::tools::endpoint::WithTools;
use super::tools::grammar::{ANY, Grammar, NAMES, Words};
use super::visibility::asks_for_usage;
use super::{Deployment, Encoded, Endpoint, Key, Operation, Provider, Row, StreamDecoder, Support, errors};
use crate::error::{Error, ErrorKind, Result};
use crate::types::accumulate::Accumulator;
use crate::types::completion::{self, Completion};
use crate::types::credentials::Kind;
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::members::{Members, read};
use crate::types::request::Request;

pub(super) use address::vertex as vertex_address;

/// Name of the native members in `provider_specific_fields`, at both providers.
const DIALECT: &str = "gemini";

/// A provider of this wire: the Gemini API or Vertex AI.
pub(super) struct Gemini {
    row: &'static Row,
    is_vertex: bool,
}

/// The Gemini API, with keys from AI Studio.
pub(super) static GEMINI: Gemini = Gemini { row: &GEMINI_ROW, is_vertex: false };
/// Vertex AI, on Google Cloud.
pub(super) static VERTEX: Gemini = Gemini { row: &VERTEX_ROW, is_vertex: true };

static GEMINI_CHAT: WithTools<Gemini> = WithTools { row: &GEMINI_ROW, wire: &GEMINI };
static VERTEX_CHAT: WithTools<Gemini> = WithTools { row: &VERTEX_ROW, wire: &VERTEX };

static GEMINI_COUNT: Counting = Counting { name: "gemini", chat: &GEMINI_CHAT, rewrite: count_tokens::gemini };
static VERTEX_COUNT: Counting =
    Counting { name: "vertex", chat: &publishers::VertexChat, rewrite: count_tokens::vertex };

/// Function names as `FunctionDeclaration` documents them, with the lower of its two documented limits on their length.
/// Ids are the model's.
const TOOLS: Grammar = Grammar { names: Words { marks: Some("_.:-"), begins_with_letter: true, ..NAMES }, ids: ANY };

static GEMINI_ROW: Row = Row {
    name: "gemini",
    api_versions: true,
    docs: "https://ai.google.dev/api/generate-content",
    base_url: "https://generativelanguage.googleapis.com",
    key_variables: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
    base_url_variables: &["GOOGLE_GEMINI_BASE_URL"],
    tools: TOOLS,
    structured: structured::GEMINI_MODELS,
    rate_limits: &limits::GEMINI,
    // `at most 100 requests can be in one batch`; `Request payload size exceeds the limit: 4194304 bytes`.
    embedding: EmbeddingRow { max_inputs: 100, max_bytes: 3_000_000, ..PLAIN },
    ..HOSTED
};

static VERTEX_ROW: Row = Row {
    name: "vertex",
    api_versions: true,
    docs: "https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference",
    // The host of the location "global"; the other locations have hosts of their own (see `address`).
    base_url: "https://aiplatform.googleapis.com",
    base_url_variables: &["GOOGLE_VERTEX_BASE_URL"],
    tools: TOOLS,
    // There are other credentials than a key; `address` reports that there are none.
    key: Key::OrCredentials,
    settings: &[
        Setting::location("vertex_project", &["VERTEXAI_PROJECT", "GOOGLE_CLOUD_PROJECT"]),
        Setting::location("vertex_location", &["VERTEXAI_LOCATION", "GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION"]),
        Setting::secret("vertex_access_token", &["VERTEX_ACCESS_TOKEN"]),
        // The path of a file, or its content.
        Setting::caller("vertex_credentials", &["VERTEXAI_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"]),
    ],
    structured: structured::GEMINI_MODELS,
    rate_limits: &limits::GEMINI,
    // 250 texts and 20,000 tokens: <https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings>.
    embedding: EmbeddingRow { max_inputs: 250, max_bytes: 40_000, ..PLAIN },
    ..HOSTED
};

impl Provider for Gemini {
    fn row(&self) -> &'static Row {
        self.row
    }

    fn structured_output(&self, model: &str) -> Support {
        let claude = Model::of(model);
        match self.is_vertex && claude.is_claude() {
            true => structured::claude(claude.has_output_format_on_vertex(), claude),
            false => structured::of(self.row.structured, model),
        }
    }

    fn endpoints(&self) -> &[(Operation, &'static dyn Endpoint)] {
        static OF_VERTEX: &[(Operation, &dyn Endpoint)] = &[
            (Operation::Chat, &publishers::VertexChat),
            (Operation::Embedding, &embedding::Vertex),
            (Operation::CountTokens, &VERTEX_COUNT),
        ];
        static OF_GEMINI: &[(Operation, &dyn Endpoint)] = &[
            (Operation::Chat, &GEMINI_CHAT),
            (Operation::Embedding, &embedding::Batch),
            (Operation::CountTokens, &GEMINI_COUNT),
            (Operation::BatchCreate, &batches::Create),
            (Operation::BatchList, &batches::BATCH_LIST),
            (Operation::BatchRetrieve, &batches::BATCH_RETRIEVE),
            (Operation::BatchCancel, &batches::BATCH_CANCEL),
            (Operation::BatchResults, &batches::Results),
            (Operation::BatchOutput, &RawResults(batches::Results)),
            (Operation::FileCreate, &files::Create),
            (Operation::FileList, &files::FILE_LIST),
            (Operation::FileRetrieve, &files::FILE_RETRIEVE),
            (Operation::FileDelete, &files::FILE_DELETE),
        ];
        if self.is_vertex { OF_VERTEX } else { OF_GEMINI }
    }

    fn credentials(&self, deployment: &Deployment) -> Option<Kind> {
        let has_token = deployment.api_key.is_some() || deployment.setting("vertex_access_token").is_some();
        (self.is_vertex && !has_token).then_some(Kind::Google)
    }

    fn decode_error(&self, response: &HttpResponse) -> Box<Error> {
        with_details(errors::from_response(self.row.name, response))
    }

    fn batch_rows(&self) -> Option<&'static dyn BatchRows> {
        (!self.is_vertex).then_some(&batches::Rows)
    }
}

impl Endpoint for Gemini {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let method = if request.stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
        let (uri, credentials) = if self.is_vertex {
            address::vertex(deployment, request, method)?
        } else {
            address::gemini(deployment, method)?
        };
        let request::Body { json: body, dropped_params } =
            request::write(self.row.name, self.is_vertex, &deployment.model, request)?;
        let headers = headers(credentials, accepted(request.stream));
        Ok(Encoded { request: HttpRequest::post(uri, headers, body), dropped_params })
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        if response.body.trim_ascii_start().first() == Some(&b'[') {
            return self.decode_list(request, response);
        }
        let answer = match read::<answer::Answer>(&response.body) {
            Ok(answer) if answer.error.is_some() => return Err(self.decode_error(response)),
            Ok(answer) if answer.is_answer() => answer,
            Ok(_) => return Err(self.not_an_answer(response, "a JSON object that is no generateContent answer")),
            Err(error) => return Err(self.not_an_answer(response, &format!("something that cannot be read ({error})"))),
        };
        let mut reader = Reader::new(response.received, &request.model);
        let choices = reader.read_completion(&response.body, answer);
        let provider_specific_fields = reader.take_unmapped();
        let completion = Completion {
            choices,
            usage: reader.usage(),
            provider_specific_fields,
            ..reader.envelope(completion::COMPLETION)
        };
        Ok(completion.to_json())
    }

    fn stream_decoder(&self, request: &Request, received: u64) -> Box<dyn StreamDecoder> {
        let reader = Reader::new(received, &request.model);
        Box::new(GeminiChunks::new(self.row.name, asks_for_usage(request), reader))
    }
}

impl Gemini {
    /// Converts a list of events, the answer of `streamGenerateContent` without `alt=sse`.
    fn decode_list(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let Ok(events) = serde_json::from_slice::<Vec<&serde_json::value::RawValue>>(&response.body) else {
            return Err(self.not_an_answer(response, "a list that cannot be read"));
        };
        let mut decoder = self.stream_decoder(request, response.received);
        let mut chunks = Vec::new();
        for event in events {
            if let Err(error) = decoder.event(b"", response.body.slice_ref(event.get().as_bytes()), &mut chunks) {
                return Err(if error.kind == ErrorKind::ApiResponseValidation {
                    error
                } else {
                    self.decode_error(response)
                });
            }
        }
        if chunks.is_empty() {
            return Err(self.not_an_answer(response, "a list that holds no answer"));
        }
        let mut accumulator = Accumulator::default();
        chunks.iter().filter_map(|chunk| serde_json::from_slice(chunk).ok()).for_each(|chunk| accumulator.push(chunk));
        Ok(accumulator.finish().to_string().into())
    }

    fn not_an_answer(&self, response: &HttpResponse, what: &str) -> Box<Error> {
        with_details(errors::not_an_answer(self.row.name, response, what))
    }
}

/// Reads the details of Google's errors: <https://cloud.google.com/apis/design/errors#error_model>.
///
/// The name of the status is the code (`INVALID_ARGUMENT`), a wrong key is a 400 with `API_KEY_INVALID` in its details,
/// and the delay before a retry is among the details.
fn with_details(mut error: Box<Error>) -> Box<Error> {
    let Some(body) = error.body.clone() else { return error };
    let object = match body.trim_ascii() {
        [b'[', object @ .., b']'] => object,
        body => body,
    };
    let Some(json) = Members::of(object).ok().and_then(|top| top.some("error").map(str::to_owned)) else {
        return error;
    };
    let Ok(members) = Members::of(json.as_bytes()) else { return error };
    error.code = members.string("status").filter(|status| !status.is_empty()).or(error.code);
    if memmem::find(object, b"API_KEY_INVALID").is_some() {
        error.kind = ErrorKind::Authentication;
    }
    let details: Vec<Members> =
        members.some("details").and_then(|details| serde_json::from_str(details).ok()).unwrap_or_default();
    let delay = details.iter().find_map(|detail| detail.string("retryDelay")?.strip_suffix('s')?.parse::<f64>().ok());
    error.retry_after = error.retry_after.or(delay.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()));
    error
}
