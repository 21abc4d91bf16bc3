//! Google's `generateContent`: the Gemini API (`gemini`) and Vertex AI (`vertex`), which share everything but their
//! addresses and credentials.
//!
//! Wire format: <https://ai.google.dev/api/generate-content> and
//! <https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference>.
//!
//! - [`address`]: where a call goes and with which credentials
//! - [`request`]: OpenAI's parameters → Google's; [`contents`]: OpenAI's messages → Google's; [`media`]: their parts
//! - [`embedding`]: embeddings, requests and answers
//! - [`answer`]: the shape of an answer; [`reader`]: answers → OpenAI's completions and chunks; [`partial`]: calls whose
//!   arguments come in pieces

mod address;
mod answer;
mod batches;
mod contents;
mod embedding;
mod media;
mod part;
mod partial;
mod reader;
mod request;

use std::sync::LazyLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use self::reader::Reader;
use super::delta_cache::DeltaCache;
use super::http::{accepted, headers};
use super::row::{HOSTED, Setting};
use super::tools::endpoint::WithTools;
use super::tools::grammar::{ANY, Grammar, NAMES, Words};
use super::{Deployment, Encoded, Endpoint, Key, Operation, Provider, Row, StreamDecoder, errors};
use crate::error::{Error, ErrorKind, Result};
use crate::types::accumulate::Accumulator;
use crate::types::completion::{self, Choice, Completion, Content, Message};
use crate::types::credentials::Kind;
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::members::{Members, read};
use crate::types::request::Request;

/// The word under which native parts and metadata are kept in `provider_specific_fields`, for both providers.
const DIALECT: &str = "gemini";

/// One of the two places that speak this wire.
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

/// Names as `FunctionDeclaration` documents them, at the shorter of the two lengths that it has had. Ids are the model's.
const TOOLS: Grammar = Grammar { names: Words { marks: Some("_.:-"), begins_with_letter: true, ..NAMES }, ids: ANY };

static GEMINI_ROW: Row = Row {
    name: "gemini",
    api_versions: true,
    docs: "https://ai.google.dev/api/generate-content",
    base_url: "https://generativelanguage.googleapis.com",
    key_variables: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
    base_url_variables: &["GOOGLE_GEMINI_BASE_URL"],
    tools: TOOLS,
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
    // There are other credentials than a key; `address` says so when there are none.
    key: Key::Optional,
    settings: &[
        Setting::location("vertex_project", &["VERTEXAI_PROJECT", "GOOGLE_CLOUD_PROJECT"]),
        Setting::location("vertex_location", &["VERTEXAI_LOCATION", "GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION"]),
        Setting::secret("vertex_access_token", &["VERTEX_ACCESS_TOKEN"]),
        // A file's path, or what such a file holds.
        Setting::caller("vertex_credentials", &["VERTEXAI_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"]),
    ],
    ..HOSTED
};

impl Provider for Gemini {
    fn row(&self) -> &'static Row {
        self.row
    }

    fn endpoints(&self) -> &[(Operation, &'static dyn Endpoint)] {
        static OF_VERTEX: &[(Operation, &dyn Endpoint)] =
            &[(Operation::Chat, &VERTEX_CHAT), (Operation::Embedding, &embedding::Vertex)];
        static OF_GEMINI: &[(Operation, &dyn Endpoint)] = &[
            (Operation::Chat, &GEMINI_CHAT),
            (Operation::Embedding, &embedding::Batch),
            (Operation::BatchCreate, &batches::Create),
            (Operation::BatchList, &batches::BATCH_LIST),
            (Operation::BatchRetrieve, &batches::BATCH_RETRIEVE),
            (Operation::BatchCancel, &batches::BATCH_CANCEL),
            (Operation::BatchResults, &batches::Results),
        ];
        if self.is_vertex { OF_VERTEX } else { OF_GEMINI }
    }

    fn credentials(&self, deployment: &Deployment) -> Option<Kind> {
        let has_token = deployment.api_key.is_some() || deployment.setting("vertex_access_token").is_some();
        (self.is_vertex && !has_token).then_some(Kind::Google)
    }

    fn decode_error(&self, response: &HttpResponse) -> Box<Error> {
        google_said(errors::from_response(self.row.name, response))
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
        let request::Written { body, dropped_params } =
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
        let choices = reader.whole(&response.body, answer);
        let provider_specific_fields = reader.untold();
        let completion = Completion {
            choices,
            usage: reader.usage(),
            provider_specific_fields,
            ..reader.envelope(completion::COMPLETION)
        };
        Ok(completion.to_json())
    }

    fn stream_decoder(&self, request: &Request, received: u64) -> Box<dyn StreamDecoder> {
        let show_usage = request.params.get("stream_options").is_some_and(|options| {
            Members::of(options).is_ok_and(|options| options.get("include_usage") == Some("true"))
        });
        Box::new(GeminiChunks {
            provider: self.row.name,
            show_usage,
            reader: Reader::new(received, &request.model),
            last: None,
            room: BytesMut::new(),
            done: false,
        })
    }
}

impl Gemini {
    /// `streamGenerateContent` without `alt=sse` answers with a list of what would have been the stream's events.
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
        google_said(errors::not_an_answer(self.row.name, response, what))
    }
}

/// What Google's errors say beside their message: <https://cloud.google.com/apis/design/errors#error_model>.
///
/// The status' name is the code (`INVALID_ARGUMENT`), a wrong key is a 400 whose details say so, and a delay to wait
/// for is among the details.
fn google_said(mut error: Box<Error>) -> Box<Error> {
    let Some(body) = error.body.clone() else { return error };
    let inside = match body.trim_ascii() {
        [b'[', inside @ .., b']'] => inside,
        body => body,
    };
    let Some(said) = Members::of(inside).ok().and_then(|top| top.some("error").map(str::to_owned)) else {
        return error;
    };
    let Ok(said) = Members::of(said.as_bytes()) else { return error };
    error.code = said.string("status").filter(|status| !status.is_empty()).or(error.code);
    if memmem::find(inside, b"API_KEY_INVALID").is_some() {
        error.kind = ErrorKind::Authentication;
    }
    let details: Vec<Members> =
        said.some("details").and_then(|details| serde_json::from_str(details).ok()).unwrap_or_default();
    let delay = details.iter().find_map(|detail| detail.string("retryDelay")?.strip_suffix('s')?.parse::<f64>().ok());
    error.retry_after = error.retry_after.or(delay.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()));
    error
}

/// Decodes a stream of answers, each of which holds the next piece.
struct GeminiChunks {
    provider: &'static str,
    /// The caller asked for the chunk that holds nothing but the usage.
    show_usage: bool,
    reader: Reader,
    /// The last event, if it had nothing but text.
    last: Option<DeltaCache>,
    /// Where the chunks of events like it are written.
    room: BytesMut,
    /// A front said so; Google's own streams just end.
    done: bool,
}

static CHOICES: LazyLock<memmem::Finder> = LazyLock::new(|| memmem::Finder::new(b"\"choices\":["));

impl StreamDecoder for GeminiChunks {
    fn event(&mut self, _name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        if let Some(last) = &self.last
            && let Some(delta) = last.new_delta(&data)
        {
            self.reader.go_on(&data, last.index, &delta);
            chunks.push(last.chunk(&delta, &mut self.room));
            return Ok(());
        }
        self.last = None;
        let text = data.trim_ascii();
        if text == b"[DONE]" {
            self.done = true;
        }
        if text.first() != Some(&b'{') {
            return Ok(());
        }
        let answer = read::<answer::Answer>(text).map_err(|error| {
            let message =
                format!("{} sent an event that cannot be read ({error}): {}", self.provider, errors::excerpt(text));
            Error::new(ErrorKind::ApiResponseValidation, message)
        })?;
        if answer.error.is_some() {
            return Err(google_said(errors::from_event(self.provider, &data)));
        }
        let usage = answer.usage.map(|usage| usage.get());
        let choices = self.reader.piece(&data, answer);
        if !choices.is_empty() {
            let provider_specific_fields =
                if self.reader.is_finished() { self.reader.untold() } else { Default::default() };
            let chunk = Completion { choices, provider_specific_fields, ..self.reader.envelope(completion::CHUNK) };
            let json = chunk.to_json();
            if let [Choice { index, delta: Some(Message { content: Content::Text(text), .. }), .. }] = &*chunk.choices {
                self.last = DeltaCache::of(u64::from(*index), data.clone(), text, usage, &json);
            }
            chunks.push(json);
        }
        if self.reader.is_finished() {
            // From here on an event is told about with the usage that it brings.
            self.last = None;
            if let Some(usage) = self.reader.usage() {
                chunks.push(Completion { usage: Some(usage), ..self.reader.envelope(completion::CHUNK) }.to_json());
            }
        }
        Ok(())
    }

    fn is_shown(&self, chunk: &[u8]) -> bool {
        // The first `choices` with unescaped quotes is the chunk's own: id and model come before it, and are strings.
        self.show_usage || CHOICES.find(chunk).is_none_or(|place| chunk.get(place + 11) != Some(&b']'))
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn is_complete(&self) -> bool {
        self.done || self.reader.is_finished()
    }
}

#[cfg(test)]
mod tests;
