//! OpenAI's chat completions, as OpenAI and the hosts of [`TABLE`] speak them: the bytes pass through. Their other
//! operations are in `embeddings` and `responses`.
//!
//! Wire format: <https://platform.openai.com/docs/api-reference/chat>

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Uri};
use memchr::memmem::Finder;

use super::embeddings::Embeddings;
use super::families::openai;
use super::normalise::{normalised, normalised_chunk};
use super::outline::Outline;
use super::pieces::Pieces;
use super::rerank::Rerank;
use super::resources::{ROUTES, Resource};
use super::responses::Responses;
use super::speech::Speech;
use super::tools::answer::{self, RestoredNames};
use super::tools::ids::Ids;
use super::tools::names::Renamed;
use super::unsupported::without_unsupported;
use super::{Deployment, Encoded, Endpoint, Operation, Provider, Row, StreamDecoder, TABLE, errors, refusals};
use super::{history, media};
use crate::error::{Error, ErrorKind, Result};
use crate::types::http::{Field, HttpRequest, HttpResponse};
use crate::types::json_template::JsonTemplate;
use crate::types::members::Members;
use crate::types::request::Request;
use crate::types::secret::Secret;

/// A provider that is nothing but its row.
struct OpenAiCompatible {
    row: &'static Row,
    endpoints: Endpoints,
}

static PROVIDERS: LazyLock<Vec<OpenAiCompatible>> = LazyLock::new(|| {
    TABLE.iter().map(|row| OpenAiCompatible { row, endpoints: endpoints(row, &Chat { row }, destination) }).collect()
});

/// Where each operation of a row is asked.
pub(super) type Endpoints = Vec<(Operation, &'static dyn Endpoint)>;

/// The endpoints of the operations that a row has, as OpenAI has them. They live as long as the process.
pub(super) fn endpoints(
    row: &'static Row,
    chat: &(impl Endpoint + Clone + 'static),
    destination: fn(&Deployment, path: &str, accept: &'static str) -> Result<Destination>,
) -> Endpoints {
    let endpoint = |operation: &Operation| -> (Operation, &'static dyn Endpoint) {
        let endpoint: Box<dyn Endpoint> = match operation {
            Operation::Chat => Box::new(chat.clone()),
            Operation::Embedding => Box::new(Embeddings { row, destination }),
            Operation::Responses => Box::new(Responses { row, destination }),
            Operation::Rerank => Box::new(Rerank { row, destination }),
            Operation::Speech => Box::new(Speech { row, destination }),
            resource => {
                let route = ROUTES.iter().find(|route| route.operation == *resource).expect("each has its route");
                Box::new(Resource { row, route, destination })
            }
        };
        (*operation, Box::leak(endpoint))
    };
    row.operations.iter().map(endpoint).collect()
}

pub(super) fn lookup(name: &str) -> Option<&'static dyn Provider> {
    PROVIDERS.iter().find(|provider| provider.row.name == name).map(|provider| provider as &dyn Provider)
}

pub(super) fn all() -> impl Iterator<Item = &'static dyn Provider> {
    PROVIDERS.iter().map(|provider| provider as &dyn Provider)
}

impl Provider for OpenAiCompatible {
    fn row(&self) -> &'static Row {
        self.row
    }

    fn endpoints(&self) -> &[(Operation, &'static dyn Endpoint)] {
        &self.endpoints
    }

    fn decode_error(&self, response: &HttpResponse) -> Box<Error> {
        errors::from_response(self.row.name, response)
    }
}

/// Chat completions at the host that a row describes.
#[derive(Clone)]
struct Chat {
    row: &'static Row,
}

impl Endpoint for Chat {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        encode(
            self.row,
            request,
            &deployment.model,
            destination(deployment, "chat/completions", accepted(request.stream))?,
        )
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        decode(self.row, request, response)
    }

    fn stream_decoder(&self, request: &Request, _received: u64) -> Box<dyn StreamDecoder> {
        stream_decoder(self.row, request)
    }
}

/// The media type of what is no stream.
pub(super) const JSON: &str = "application/json";
/// That of what may be anything.
pub(super) const ANY: &str = "*/*";

/// Where a call goes, and the header fields that it has there.
pub(super) type Destination = (Uri, Arc<Vec<Field>>);

/// The destination for one of the paths below a base URL, for what is to come back: the key goes there as a bearer's.
///
/// Made once and then shared, since a program's calls go to the same place most of the time.
pub(super) fn destination(deployment: &Deployment, path: &str, accept: &'static str) -> Result<Destination> {
    RECENT.with_borrow_mut(|recent| {
        let recent = &mut recent[usize::from(accept == JSON)];
        if let Some(recent) = recent.as_ref().filter(|recent| recent.is_for(deployment, path, accept)) {
            return Ok(recent.destination.clone());
        }
        let uri = address(&format!("{}/{path}", deployment.base_url))?;
        let credentials = deployment.api_key.iter().map(|key| Ok((AUTHORIZATION, bearer(key.expose())?)));
        let headers = headers(credentials.collect::<Result<Vec<_>>>()?, accept);
        let destination = (uri, Arc::new(headers));
        *recent = Some(Recent {
            base_url: deployment.base_url.clone(),
            path: path.into(),
            accept,
            api_key: deployment.api_key.clone(),
            destination: destination.clone(),
        });
        Ok(destination)
    })
}

/// The destination that a thread made last, and what it was made of.
struct Recent {
    base_url: Arc<str>,
    path: Box<str>,
    accept: &'static str,
    api_key: Option<Secret>,
    destination: Destination,
}

impl Recent {
    fn is_for(&self, deployment: &Deployment, path: &str, accept: &str) -> bool {
        &*self.path == path
            && self.accept == accept
            && self.base_url == deployment.base_url
            && self.api_key == deployment.api_key
    }
}

thread_local! {
    /// For streams, and for whole answers.
    static RECENT: RefCell<[Option<Recent>; 2]> = const { RefCell::new([None, None]) };
}

/// A chat call in OpenAI's format, for the host that `row` describes.
pub(super) fn encode(row: &Row, request: &Request, model: &str, (uri, headers): Destination) -> Result<Encoded> {
    let (mut params, mut dropped_params) = without_unsupported(row, request)?;
    if row.serves_openai {
        openai::fit(row.name, model, request.drop_params, &mut params, &mut dropped_params)?;
    }
    let is_home = || uri.host() == row.base_url.split('/').nth(2);
    let renamed = Renamed::of(&row.tools, &params);
    renamed.rename_tools(&mut params);
    let messages = params.get("messages").and_then(|given| history::acceptable(row, is_home, &renamed, given));
    if let Some(messages) = messages {
        params.to_mut().set("messages", messages.as_bytes());
    }
    if let Some(messages) = params.get("messages").and_then(media::acceptable) {
        params.to_mut().set("messages", messages.as_bytes());
    }

    if request.stream {
        if row.usage_unasked || row.no_stream_options_beside.iter().any(|name| params.get(name).is_some()) {
            params.to_mut().remove("stream_options");
        } else if row.stream_usage
            && let Some(options) = with_usage(params.get("stream_options"))
        {
            params.to_mut().set("stream_options", options.as_bytes());
        }
    }
    if let Cow::Owned(params) = &mut params {
        params.close();
    }
    let body = params.as_body(model, request.stream, row.spelled);
    Ok(Encoded { request: HttpRequest::post(uri, headers, body), dropped_params })
}

/// What is to come back, where a stream is one of server-sent events.
pub(super) fn accepted(stream: bool) -> &'static str {
    if stream { "text/event-stream" } else { JSON }
}

/// A chat completion in OpenAI's format: the host's own bytes, unless it says something in a way of its own.
pub(super) fn decode(row: &Row, request: &Request, response: &HttpResponse) -> Result<Bytes> {
    let outline = Outline::of(&response.body);
    let body = checked(row.name, &CHOICES, response, outline)?;
    let body = normalised(row.name, &body, outline).unwrap_or(body);
    if request.params.get("tools").is_none() {
        return Ok(body);
    }
    Ok(answer::restored(&Renamed::of(&row.tools, &request.params), &mut Ids::default(), &body).unwrap_or(body))
}

/// An answer's bytes, if it is one and none of the refusals that come with a good status. `required_key` finds the name, in
/// quotes, of the list without which it is no answer; `outline` is of the answer's body.
pub(super) fn checked(
    provider: &str,
    required_key: &Finder,
    response: &HttpResponse,
    outline: Outline<'_>,
) -> Result<Bytes> {
    let body = &response.body;
    let beginning = &body[..body.len().min(BEGINNING)];
    if has_items(beginning, required_key) && !outline.any(refusals::may_be_in) {
        return Ok(body.clone());
    }
    let Ok(top) = Members::of(body) else { return Err(not_a_completion(provider, response)) };
    if refusals::error_in(&top).is_some() || refusals::has_failed(&top) {
        return Err(errors::from_response(provider, response));
    }
    let name = std::str::from_utf8(required_key.needle()).unwrap_or_default().trim_matches('"');
    match top.some(name) {
        Some(list) if list.starts_with('[') && list.len() > "[]".len() => Ok(body.clone()),
        // Nothing was asked for, perhaps.
        Some(list) if list.starts_with('[') && !refusals::is_refusal(&top) => Ok(body.clone()),
        _ => Err(not_a_completion(provider, response)),
    }
}

/// A decoder for streams in OpenAI's format.
pub(super) fn stream_decoder(row: &'static Row, request: &Request) -> Box<dyn StreamDecoder> {
    let show_usage = asks_for_usage(request);
    let several = request.params.get("n").is_some_and(|n| !matches!(n, b"null" | b"1"));
    let choices = several.then(BTreeMap::new);
    let chunks = Box::new(OpenAiChunks {
        provider: row.name,
        show_usage,
        begun: false,
        done: false,
        since_finish: None,
        choices,
        pieces: Pieces::default(),
        last: Vec::new(),
        plain: None,
        was_plain: false,
    });
    if request.params.get("tools").is_none() {
        return chunks;
    }
    Box::new(RestoredNames { decoder: chunks, renamed: Renamed::of(&row.tools, &request.params), ids: Ids::default() })
}

/// An address made out of the base URL.
pub(super) fn address(text: &str) -> Result<Uri> {
    Uri::try_from(text).map_err(|error| Error::argument(format!("base_url cannot be used: {error}")))
}

/// The header fields of a request with a JSON body.
pub(super) fn headers(credential: impl IntoIterator<Item = Field>, accept: &'static str) -> Vec<Field> {
    let mut headers = Vec::with_capacity(5);
    headers.extend(credential);
    headers.push((CONTENT_TYPE, HeaderValue::from_static(JSON)));
    headers.push((ACCEPT, HeaderValue::from_static(accept)));
    headers
}

/// An answer that says it is well and is not what the wire format says.
pub(super) fn not_a_completion(provider: &str, response: &HttpResponse) -> Box<Error> {
    errors::not_an_answer(provider, response, "something that is no completion")
}

/// Whether the caller asked to be shown a stream's usage.
pub(super) fn asks_for_usage(request: &Request) -> bool {
    let options = request.params.get("stream_options").and_then(|options| Members::of(options).ok());
    options.is_some_and(|options| options.get("include_usage") == Some("true"))
}

/// The header value that carries a key.
pub(super) fn bearer(key: &str) -> Result<HeaderValue> {
    secret(&format!("Bearer {key}"))
}

/// A header value that is not shown anywhere.
pub(super) fn secret(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        Error::argument("api_key holds characters that no HTTP header may hold (a line break?): pass the key alone")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// `stream_options` that ask for the usage; `None` where the caller has said already whether it is wanted.
fn with_usage(options: Option<&[u8]>) -> Option<String> {
    let members = Members::of(options.unwrap_or(b"{}")).ok()?;
    if members.get("include_usage").is_some() {
        return None;
    }
    let mut text = String::from("{\"include_usage\":true");
    for (name, value) in &members.0 {
        text += &format!(",{}:{}", super::normalise::quoted(name), value.get());
    }
    Some(text + "}")
}

static CHOICES: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"choices\""));
static FINISH: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"finish_reason\""));

/// How much of a large answer is looked at first: they begin with what they are.
const BEGINNING: usize = 2048;

/// Whether a list of this name that is not empty begins in the beginning of an answer.
fn has_items(beginning: &[u8], name: &Finder) -> bool {
    let value = |place: usize| beginning[place + name.needle().len()..].trim_ascii_start().strip_prefix(b":");
    let value = name.find(beginning).and_then(value);
    match value.map(<[u8]>::trim_ascii_start) {
        Some([b'[', items @ ..]) => items.trim_ascii_start().first().is_some_and(|first| *first != b']'),
        _ => false,
    }
}

/// Decodes a stream of `chat.completion.chunk` events.
struct OpenAiChunks {
    provider: &'static str,
    /// The caller asked for the chunk that holds nothing but the usage.
    show_usage: bool,
    /// A chunk with choices has come.
    begun: bool,
    done: bool,
    /// How many chunks have come since the last one with a finish.
    since_finish: Option<usize>,
    /// Where several choices were asked for: which have begun, by their index, and whether they have their finish.
    choices: Option<BTreeMap<u64, bool>>,
    /// The lists that came as content.
    pieces: Pieces,
    /// The last chunk that was looked at in full and has nothing to it: a copy, since the chunk is a slice of all that was
    /// read with it.
    last: Vec<u8>,
    /// What it and the one before have in common. A chunk of this shape has nothing to it either: it is seen from names,
    /// and from what is no string.
    plain: Option<JsonTemplate<Vec<u8>>>,
    /// Whether the last event was of that shape.
    was_plain: bool,
}

/// Whether an event refuses what was asked, or says that the answer has failed.
fn is_refusal(event: &[u8]) -> bool {
    let lacks_choices = has_empty_choices(event);
    if !lacks_choices && !refusals::may_be_in(event) {
        return false;
    }
    let Ok(top) = Members::of(event) else { return false };
    refusals::error_in(&top).is_some() || refusals::has_failed(&top) || lacks_choices && refusals::is_refusal(&top)
}

/// A finish comes in one of the last chunks: usage, moderation or metrics may follow it.
const LAST: usize = 8;

impl StreamDecoder for OpenAiChunks {
    fn event(&mut self, name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        self.was_plain = name.is_empty() && self.is_plain(&data) && !self.pieces.have_begun();
        if self.was_plain {
            self.since_finish = self.since_finish.map(|since| since + 1);
            chunks.push(data);
            return Ok(());
        }
        let text = data.trim_ascii();
        if text == b"[DONE]" {
            if !self.begun {
                let message = format!("{} ended its stream without a word of an answer", self.provider);
                return Err(Error::new(ErrorKind::ApiResponseValidation, message));
            }
            self.done = true;
            return Ok(());
        }
        // OpenRouter has been seen to say `Token limit reached` beside choices that had finished for their length.
        let is_afterthought = || self.is_complete() && !has_empty_choices(text);
        if name == b"error" || is_refusal(text) && !is_afterthought() {
            return Err(errors::from_event(self.provider, &data));
        }
        if text.first() != Some(&b'{') {
            // Keep-alives and notes that are not chunks.
            return Ok(());
        }
        let rewritten = normalised_chunk(self.provider, text, &mut self.pieces);
        let is_rewritten = rewritten.is_some();
        let chunk = rewritten.unwrap_or_else(|| data.slice_ref(text));
        if let Some(choices) = &mut self.choices {
            note_choices(&chunk, choices);
        }
        let has_choices = !has_empty_choices(&chunk);
        self.begun |= has_choices;
        if has_finish(&chunk) {
            self.since_finish = Some(0);
        } else {
            self.since_finish = self.since_finish.map(|since| since + 1);
            if !is_rewritten && has_choices {
                if let Some(shape) = JsonTemplate::of(&self.last, &chunk[..]) {
                    self.plain = Some(shape.into_owned());
                }
                self.last.clear();
                self.last.extend_from_slice(&chunk);
            }
        }
        chunks.push(chunk);
        Ok(())
    }

    fn is_shown(&self, chunk: &[u8]) -> bool {
        self.was_plain || is_for_loops(chunk, self.show_usage)
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn is_complete(&self) -> bool {
        let is_open = self.choices.as_ref().is_some_and(|choices| choices.values().any(|is_finished| !is_finished));
        self.done || (!is_open && self.since_finish.is_some_and(|since| since < LAST))
    }
}

impl OpenAiChunks {
    /// Whether a chunk differs from the last plain one in strings alone, so that it needs no look at the rest.
    fn is_plain(&self, chunk: &[u8]) -> bool {
        self.plain.as_ref().is_some_and(|plain| plain.spans(chunk).is_some())
    }
}

/// Notes which choices a chunk is about, and which of them end with it.
fn note_choices(chunk: &[u8], known: &mut BTreeMap<u64, bool>) {
    let choices = Members::of(chunk).ok().and_then(|top| serde_json::from_str(top.some("choices")?).ok());
    let choices: Vec<Members> = choices.unwrap_or_default();
    for choice in choices {
        let index = choice.some("index").and_then(|index| index.parse().ok()).unwrap_or(0);
        let is_finished = choice.some("finish_reason").is_some_and(|reason| reason != "\"\"");
        // Without a delta it is about the prompt, or a filter's verdict.
        if is_finished || choice.some("delta").is_some_and(|delta| delta != "{}") {
            *known.entry(index).or_default() |= is_finished;
        }
    }
}

/// Whether the caller is shown a chunk. Loops over a stream read `chunk.choices[0]`: what has no choices, the usage or what
/// a filter says of the prompt, is for the completion alone, unless the caller asked for the usage. A chunk
/// that cannot be read is shown, which raises.
pub(super) fn is_for_loops(chunk: &[u8], show_usage: bool) -> bool {
    !has_empty_choices(chunk) || show_usage && is_only_usage(chunk) || Members::of(chunk).is_err()
}

fn is_only_usage(chunk: &[u8]) -> bool {
    Members::of(chunk).is_ok_and(|top| top.some("usage").is_some())
}

fn has_empty_choices(chunk: &[u8]) -> bool {
    let value = |place: usize| {
        chunk[place + b"\"choices\"".len()..].trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start)
    };
    let is_empty = |value: &[u8]| {
        value.starts_with(b"null")
            || value.strip_prefix(b"[").is_some_and(|list| list.trim_ascii_start().first() == Some(&b']'))
    };
    CHOICES.find(chunk).and_then(value).is_none_or(is_empty)
}

fn has_finish(chunk: &[u8]) -> bool {
    FINISH.find_iter(chunk).any(|place| {
        let rest = chunk[place + b"\"finish_reason\"".len()..].trim_ascii_start();
        rest.strip_prefix(b":")
            .is_some_and(|value| matches!(value.trim_ascii_start(), [b'"', first, ..] if *first != b'"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::params::Params;

    fn encoded(provider: &str, params: &str, stream: bool, drop_params: bool) -> Result<Encoded> {
        let provider = lookup(provider).unwrap();
        let deployment = Deployment {
            provider,
            model: "m".into(),
            base_url: "http://h/v1".into(),
            api_key: Some(Secret::new("k")),
            api_version: None,
            settings: Vec::new(),
            credentials: Default::default(),
        };
        let request = Request {
            model: "m".into(),
            params: Params::from_json(params.as_bytes()).unwrap(),
            stream,
            drop_params,
            ..Default::default()
        };
        deployment.endpoint(&request)?.encode(&deployment, &request)
    }

    fn body(provider: &str, params: &str, stream: bool) -> String {
        String::from_utf8(encoded(provider, params, stream, false).unwrap().request.body.to_vec()).unwrap()
    }

    #[test]
    fn a_request_is_the_callers_own_bytes() {
        assert_eq!(
            body(
                "openai",
                r#"{"messages":[{"role":"user","content":"é\n"}],"temperature":0.10,"made_up":[1e400]}"#,
                false
            ),
            r#"{"model":"m","messages":[{"role":"user","content":"é\n"}],"temperature":0.10,"made_up":[1e400]}"#
        );
        let request = encoded("openai", "{}", false, false).unwrap().request;
        assert_eq!(request.uri, "http://h/v1/chat/completions");
        assert_eq!(request.headers[0].1, "Bearer k");
        assert!(!format!("{request:?}").contains("Bearer"));
    }

    #[test]
    fn usage_is_always_asked_for_where_it_can_be() {
        assert_eq!(
            body("openai", "{}", true),
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#
        );
        assert_eq!(
            body("openai", r#"{"stream_options":{"x":1}}"#, true),
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true,"x":1}}"#
        );
        assert_eq!(
            body("openai", r#"{"stream_options":{"include_usage":false}}"#, true),
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":false}}"#
        );
    }

    #[test]
    fn every_chunk_that_is_shown_has_a_choice_with_a_delta() {
        let (all, shown, complete) = streamed(&[
            r#"{"choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#,
            r#"{"choices":null,"x":1}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"finish_reason":null,"content_filter_offsets":{"check_offset":1}}]}"#,
            r#"{"choices":[{"index":0,"delta": null,"content_filter_results":{}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ]);
        assert!(complete);
        assert_eq!((all.len(), shown.len()), (6, 4));
        for chunk in shown {
            let chunk: serde_json::Value = serde_json::from_str(&chunk).unwrap();
            assert!(chunk["choices"][0]["delta"].is_object(), "{chunk}");
        }
        assert_eq!(
            all[3],
            r#"{"choices":[{"index":0,"finish_reason":null,"content_filter_offsets":{"check_offset":1},"delta":{}}]}"#
        );
    }

    fn streamed(events: &[&'static str]) -> (Vec<String>, Vec<String>, bool) {
        let mut decoder = stream_decoder(&TABLE[0], &Request::default());
        let (mut all, mut shown) = (Vec::new(), Vec::new());
        for event in events {
            let mut chunks = Vec::new();
            decoder.event(b"", Bytes::from_static(event.as_bytes()), &mut chunks).unwrap();
            for chunk in chunks {
                let text = String::from_utf8(chunk.to_vec()).unwrap();
                shown.extend(decoder.is_shown(&chunk).then(|| text.clone()));
                all.push(text);
            }
        }
        (all, shown, decoder.is_complete())
    }

    #[test]
    fn the_usage_chunk_is_kept_and_not_shown() {
        let usage = r#"{"choices": [ ], "usage": {"total_tokens": 1}}"#;
        let (all, shown, complete) = streamed(&[
            r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}],"usage":null}"#,
            usage,
            "[DONE]",
        ]);
        assert_eq!((all.len(), shown.len(), complete), (2, 1, true));
    }

    #[test]
    fn a_stream_is_complete_with_a_finish_or_done() {
        assert!(streamed(&[r#"{"choices":[{"delta":{},"finish_reason": "stop"}]}"#]).2);
        assert!(!streamed(&[r#"{"choices":[{"delta":{},"finish_reason":null}]}"#]).2);
    }

    #[test]
    fn a_stream_of_several_choices_is_complete_when_all_of_them_are() {
        let params = Params::from_json(br#"{"n":2}"#).unwrap();
        let mut decoder = stream_decoder(&TABLE[0], &Request { params, ..Default::default() });
        let mut is_complete_after = |chunk: String| {
            decoder.event(b"", chunk.into(), &mut Vec::new()).unwrap();
            decoder.is_complete()
        };
        let piece = |index: u32, reason: &str| {
            format!(r#"{{"choices":[{{"index":{index},"delta":{{"content":"a"}},"finish_reason":{reason}}}]}}"#)
        };
        assert!(!is_complete_after(piece(0, "null")));
        assert!(!is_complete_after(piece(1, "null")));
        assert!(!is_complete_after(piece(0, r#""stop""#)));
        assert!(!is_complete_after(piece(0, "null")), "what follows a finish begins nothing anew");
        assert!(!is_complete_after(piece(1, r#""""#)));
        assert!(is_complete_after(piece(1, r#""length""#)));
        assert!(is_complete_after(r#"{"choices":[{"index":2,"delta":{}}]}"#.to_owned()));
    }

    #[test]
    fn a_chunk_that_needs_no_look_is_what_a_look_would_have_made_of_it() {
        let text = |text: &str, more: &str| {
            format!(r#"{{"choices":[{{"delta":{{"content":{text}}},"finish_reason":null}}],"obfuscation":"x"{more}}}"#)
        };
        let finish =
            |finish: &str| format!(r#"{{"choices":[{{"delta":{{"content":"a"}},"finish_reason":"{finish}"}}]}}"#);
        let reasoning = |name: &str, text: &str| format!(r#"{{"choices":[{{"delta":{{"{name}":"{text}"}}}}]}}"#);
        let events = [
            text(r#""a""#, ""),
            text(r#""b""#, ""),
            text(r#""error""#, ""),
            text(r#""\"error\"""#, ""),
            text(r#""c""#, r#","usage":{"total_tokens":1}"#),
            reasoning("reasoning", "g"),
            reasoning("reasoning", "h"),
            reasoning("reasoning", "i"),
            reasoning("reasoning_content", "j"),
            reasoning("reasoning_content", "k"),
            reasoning("reasoning_content", "l"),
            r#"{"choices":[],"id":"a","usage":{"total_tokens":1}}"#.to_owned(),
            r#"{"choices":[],"id":"b","usage":{"total_tokens":1}}"#.to_owned(),
            r#"{"choices":[],"id":"c","usage":{"total_tokens":1}}"#.to_owned(),
            finish(""),
            finish(""),
            finish("stop"),
            finish("length"),
            finish("tool_calls"),
            // Behind these, text is a piece of a list too.
            text(r#"[{"type":"text","text":"d"}]"#, ""),
            text(r#"[{"type":"text","text":"e"}]"#, ""),
            text(r#"[{"type":"text","text":"f"}]"#, ""),
        ];
        let decoder = || stream_decoder(lookup("groq").unwrap().row(), &Request::default());
        let mut one = decoder();
        for event in events {
            let event = Bytes::from(event);
            let (mut chunks, mut expected) = (Vec::new(), Vec::new());
            one.event(b"", event.clone(), &mut chunks).unwrap();
            let mut fresh = decoder();
            fresh.event(b"", event, &mut expected).unwrap();
            assert_eq!(chunks, expected);
            assert_eq!(one.is_shown(&chunks[0]), fresh.is_shown(&chunks[0]), "{chunks:?}");
            assert!(one.is_complete() >= fresh.is_complete());
        }
        assert!(one.is_complete());
    }

    #[test]
    fn an_error_in_a_stream_is_an_error() {
        let mut decoder = stream_decoder(&TABLE[0], &Request::default());
        let event = Bytes::from_static(br#"{"error":{"message":"m","code":429}}"#);
        assert_eq!(decoder.event(b"", event, &mut Vec::new()).unwrap_err().kind, ErrorKind::RateLimit);
        let both = Bytes::from_static(br#"{"error":null,"choices":[{"delta":{"content":"\"error\""}}]}"#);
        assert!(decoder.event(b"", both, &mut Vec::new()).is_ok());
    }
}
