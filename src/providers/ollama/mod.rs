//! Ollama's own chat, under LiteLLM's name for it, `ollama_chat`; `ollama` is the OpenAI-compatible one.
//!
//! - Requests, answers and streams: <https://docs.ollama.com/api/chat>
//! - Thinking: <https://docs.ollama.com/capabilities/thinking>; tools: <https://docs.ollama.com/capabilities/tool-calling>
//! - Options: <https://docs.ollama.com/modelfile#valid-parameters-and-values>
//! - Errors: <https://docs.ollama.com/api/errors>
//!
//! A message is said by OpenAI's members in full: `thinking` is `reasoning_content`, and a call's arguments are the
//! same object, there as text. So nothing native is kept on it but what is new to this file. Durations and the rest of
//! the answer are under `provider_specific_fields.ollama`.

mod embedding;

use std::borrow::Cow;
use std::net::IpAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::history::refusals_as_text;
use super::openai_compatible::{JSON, asks_for_usage, destination, is_for_loops, not_a_completion};
use super::resolve::check_url;
use super::table::HOSTED;
use super::tools::arguments;
use super::tools::endpoint::WithTools;
use super::tools::grammar::Grammar;
use super::unsupported::{CUSTOM_TOOL, asks_for_nothing, drop_or_refuse, drop_or_refuse_because, without_unsupported};
use super::{Deployment, Encoded, Endpoint, Key, Operation, Provider, Row, StreamDecoder, errors, refusals};
use crate::error::{Error, ErrorKind, Result};
use crate::types::completion::{
    self, CHUNK, COMPLETION, Choice, Completion, Content, Function, Message, PromptTokens, ToolCall, Usage,
};
use crate::types::http::{Framing, HttpRequest, HttpResponse};
use crate::types::lenient::{self, Scalar};
use crate::types::media::DataUrl;
use crate::types::members::{Members, Text};
use crate::types::object::ObjectWriter;
use crate::types::params::Params;
use crate::types::request::Request;

pub(super) struct Ollama;

static ROW: Row = Row {
    name: "ollama_chat",
    docs: "https://docs.ollama.com/api/chat",
    base_url: "http://localhost:11434",
    key_variables: &["OLLAMA_API_KEY"],
    base_url_variables: &["OLLAMA_BASE_URL", "OLLAMA_API_BASE", "OLLAMA_HOST"],
    key: Key::Optional,
    spelled: &[
        ("frequency_penalty", "options.frequency_penalty"),
        ("max_completion_tokens", "options.num_predict"),
        ("max_tokens", "options.num_predict"),
        ("presence_penalty", "options.presence_penalty"),
        ("reasoning_effort", "think"),
        ("response_format", "format"),
        ("seed", "options.seed"),
        ("stop", "options.stop"),
        ("temperature", "options.temperature"),
        ("top_p", "options.top_p"),
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
        "user",
        "verbosity",
        "web_search_options",
    ],
    // A model's template writes them into the prompt.
    tools: Grammar::ANY,
    ..HOSTED
};

static CHAT: WithTools<Ollama> = WithTools { row: &ROW, wire: &Ollama };

/// The name under which native members are kept.
const DIALECT: &str = "ollama";

/// Ollama's options beside OpenAI's parameters: where a caller gives one by its name, it belongs into `options`.
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

    /// `OLLAMA_HOST` is what the server listens on: perhaps a bare host or port, perhaps every address of the machine.
    fn base_url(&self, given: &str) -> Result<String> {
        let given = given.trim();
        let (scheme, rest) = given.split_once("://").unwrap_or(("http", given));
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
        let port = port.or((!given.contains("://") && !host.is_empty()).then_some("11434"));
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        let url = format!("{scheme}://{host}{port}{path}");
        let url = check_url(&url)?;
        // The other row's base URL, or the whole address.
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
        let body = body(&deployment.model, request, &params, &mut dropped_params)?;
        let accept = if request.stream { "application/x-ndjson" } else { JSON };
        let (uri, headers) = destination(deployment, "api/chat", accept)?;
        Ok(Encoded { request: HttpRequest::post(uri, headers, body), dropped_params })
    }

    fn decode(&self, _request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let wrong = |_| not_a_completion(ROW.name, response);
        let top = Members::of(&response.body).map_err(wrong)?;
        if top.some("error").is_some() {
            return Err(errors::from_response(ROW.name, response));
        }
        if !top.some("message").is_some_and(|message| message.starts_with('{')) {
            return Err(not_a_completion(ROW.name, response));
        }
        let answer = Answer::of(&top);
        let mut message = answer.message(None);
        message.role = Some("assistant");
        if matches!(message.content, Content::Absent) {
            message.content = Content::Null;
        }
        let finish = answer.finish_reason(!message.tool_calls.is_empty());
        let choice = Choice {
            message: Some(message),
            finish_reason: Some(finish),
            logprobs: answer.logprobs(),
            ..Default::default()
        };
        let completion = Completion {
            id: made_up("chatcmpl").into(),
            object: COMPLETION,
            created: response.received,
            model: (&*answer.model.0).into(),
            choices: vec![choice],
            usage: answer.usage(),
            provider_specific_fields: specific(answer.rest()),
            ..Default::default()
        };
        Ok(completion.to_json())
    }

    fn framing(&self) -> Framing {
        Framing::Ndjson
    }

    fn stream_decoder(&self, request: &Request, received: u64) -> Box<dyn StreamDecoder> {
        Box::new(Lines {
            id: made_up("chatcmpl"),
            created: received,
            show_usage: asks_for_usage(request),
            begun: false,
            calls: 0,
            done: false,
        })
    }
}

/// An id where Ollama gives none.
fn made_up(prefix: &str) -> String {
    format!("{prefix}_{:016x}", fastrand::u64(..))
}

// ---- The request ----

fn body(model: &str, request: &Request, params: &Params, dropped: &mut Vec<String>) -> Result<Bytes> {
    let mut body = ObjectWriter::with_capacity(params.len() + model.len() + 64);
    body.put("model", model);
    // Always said: without it, Ollama streams.
    body.put("stream", &request.stream);
    // The caller's own options have the say.
    let given = params.get("options").map(Members::of).transpose();
    let given = given
        .map_err(|error| Error::argument(format!("options cannot be sent to ollama: {error}")))?
        .unwrap_or_default();
    let mut options = ObjectWriter::with_capacity(128);
    given.0.iter().for_each(|(name, value)| options.put_raw(name, value.get().as_bytes()));
    let mut option = |name: &str, value: &[u8]| {
        if given.get(name).is_none() {
            options.put_raw(name, value);
        }
    };

    let may_call_tools = params.get("tool_choice") != Some(b"\"none\"");
    for (name, value) in params.iter() {
        match name {
            "messages" => body.put(name, &messages(refusals_as_text(value).as_deref().unwrap_or(value))?),
            "temperature" | "top_p" | "seed" | "frequency_penalty" | "presence_penalty" => option(name, value),
            // The newer name has the say where both are given, and Ollama's own over both.
            "max_tokens" if params.get("max_completion_tokens").is_some() => {}
            "max_tokens" | "max_completion_tokens" if params.get("num_predict").is_some() => {}
            "max_tokens" | "max_completion_tokens" => option("num_predict", value),
            "stop" => match value.trim_ascii().first() {
                Some(b'"') => option(name, &[b"[", value, b"]"].concat()),
                _ => option(name, value),
            },
            "options" => {}
            name if OPTIONS.contains(&name) => option(name, value),
            "response_format" if params.get("format").is_some() => {}
            "response_format" => {
                if let Some(format) = format_of(value)? {
                    body.put("format", &format);
                }
            }
            "reasoning_effort" if params.get("think").is_some() => {}
            "reasoning_effort" => body.put("think", &think_for(model, value)),
            "tools" if may_call_tools => tools(value, request, dropped, &mut body)?,
            // Whether a tool is called is the model's choice, always.
            "tools" => {}
            "tool_choice" if matches!(value, b"\"auto\"" | b"\"none\"") => {}
            // What happens anyway: one answer, nothing stored, usage at the end of each stream.
            "stream_options" => {}
            "n" | "parallel_tool_calls" | "store" if asks_for_nothing(name, value) => {}
            "n" | "parallel_tool_calls" | "store" | "tool_choice" => {
                drop_or_refuse(ROW.name, name, request.drop_params, dropped)?
            }
            _ => body.put_raw(name, value),
        }
    }
    if !options.is_empty() {
        body.put_raw("options", &options.finish());
    }
    Ok(body.finish())
}

/// Functions go out as they are; there are no tools of other kinds.
fn tools(json: &[u8], request: &Request, dropped: &mut Vec<String>, body: &mut ObjectWriter) -> Result<()> {
    let tools: Vec<&RawValue> = serde_json::from_slice(json)
        .map_err(|error| Error::argument(format!("tools cannot be sent to ollama: {error}")))?;
    let is_custom =
        |tool: &RawValue| Members::of(tool.get().as_bytes()).is_ok_and(|tool| tool.some("custom").is_some());
    let (custom, functions): (Vec<&RawValue>, Vec<&RawValue>) = tools.into_iter().partition(|tool| is_custom(tool));
    if custom.is_empty() {
        body.put_raw("tools", json);
        return Ok(());
    }
    drop_or_refuse_because(ROW.name, "tools", CUSTOM_TOOL, request.drop_params, dropped)?;
    if !functions.is_empty() {
        body.put("tools", &functions);
    }
    Ok(())
}

/// `"json"`, a JSON schema, or nothing for text.
fn format_of(response_format: &[u8]) -> Result<Option<Value>> {
    let wrong = |error| Error::argument(format!("response_format cannot be sent to ollama: {error}"));
    let mut format: Value = serde_json::from_slice(response_format).map_err(wrong)?;
    Ok(match format["type"].as_str() {
        Some("json_schema") => Some(match format["json_schema"]["schema"].take() {
            Value::Null => "json".into(),
            schema => schema,
        }),
        Some("json_object") => Some("json".into()),
        _ => None,
    })
}

/// Thinking is on or off; only gpt-oss has levels, which the others refuse, and it does not take less than the lowest.
fn think_for(model: &str, effort: &[u8]) -> Value {
    let levels = model.contains("gpt-oss");
    match effort {
        b"\"none\"" | b"\"minimal\"" | b"\"low\"" if levels => "low".into(),
        b"\"none\"" => false.into(),
        b"\"medium\"" if levels => "medium".into(),
        _ if levels => "high".into(),
        _ => true.into(),
    }
}

#[derive(Default, Serialize)]
struct NativeMessage<'a> {
    role: Cow<'a, str>,
    content: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<NativeCall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
}

#[derive(Serialize)]
struct NativeCall {
    id: String,
    function: NativeFunction,
}

/// The arguments are an object here, not text.
#[derive(Serialize)]
struct NativeFunction {
    name: String,
    arguments: Box<RawValue>,
}

fn messages(json: &[u8]) -> Result<Vec<NativeMessage<'_>>> {
    let wrong = |error| Error::argument(format!("messages cannot be sent to ollama: {error}"));
    let given: Vec<Members> = serde_json::from_slice(json).map_err(wrong)?;
    let mut messages: Vec<NativeMessage> = Vec::with_capacity(given.len());
    for message in &given {
        let role = message.string("role").unwrap_or_default();
        let mut native = NativeMessage {
            role: if role == "developer" { "system".into() } else { role.into() },
            ..Default::default()
        };
        read_content(message.some("content"), &mut native)?;
        match &*native.role {
            "assistant" => {
                native.thinking = message.string("reasoning_content");
                native.tool_calls = calls(message.some("tool_calls")).map_err(wrong)?;
            }
            "tool" => {
                // Older servers know results by the tool's name alone.
                let id = message.string("tool_call_id");
                let call = id.as_deref().and_then(|id| {
                    messages.iter().rev().flat_map(|earlier| &earlier.tool_calls).find(|call| call.id == id)
                });
                native.tool_name = call.map(|call| call.function.name.clone()).or_else(|| message.string("name"));
                native.tool_call_id = id;
            }
            _ => {}
        }
        messages.push(native);
    }
    Ok(messages)
}

/// Text is text; of a list of parts, texts become lines and images go beside them.
fn read_content(content: Option<&str>, message: &mut NativeMessage) -> Result<()> {
    let Some(content) = content else { return Ok(()) };
    let wrong = |error| Error::argument(format!("a message's content cannot be sent to ollama: {error}"));
    if content.starts_with('"') {
        message.content = serde_json::from_str(content).map_err(wrong)?;
        return Ok(());
    }
    let parts: Vec<Value> = serde_json::from_str(content).map_err(wrong)?;
    for part in &parts {
        match part["type"].as_str() {
            Some("image_url") => {
                let url = part["image_url"]["url"].as_str().or(part["image_url"].as_str()).unwrap_or_default();
                message.images.push(image(url)?.to_owned());
            }
            Some("text" | "input_text") | None => {
                if !message.content.is_empty() {
                    message.content.push('\n');
                }
                message.content += part["text"].as_str().unwrap_or_default();
            }
            Some(other) => {
                return Err(Error::argument(format!(
                    "ollama takes text and images: a part of type {other:?} cannot be sent"
                )));
            }
        }
    }
    Ok(())
}

/// An image's base64, which is all that Ollama takes.
fn image(url: &str) -> Result<&str> {
    if url.starts_with("http://") || url.starts_with("https://") {
        return Err(Error::argument("ollama fetches no images: pass one as data:image/png;base64,…"));
    }
    Ok(DataUrl::of(url).filter(|url| url.is_base64).map_or(url, |url| url.data))
}

fn calls(json: Option<&str>) -> serde_json::Result<Vec<NativeCall>> {
    #[derive(Deserialize)]
    struct CallerCall<'a> {
        #[serde(default)]
        id: Option<String>,
        #[serde(borrow)]
        function: GivenFunction<'a>,
    }
    #[derive(Deserialize)]
    struct GivenFunction<'a> {
        name: String,
        #[serde(borrow, default)]
        arguments: Option<&'a RawValue>,
    }
    let given: Vec<CallerCall> = json.map(serde_json::from_str).transpose()?.unwrap_or_default();
    let call = |call: CallerCall| {
        // What is no object cannot be said here; an empty one stands for it.
        let arguments = arguments::object(call.function.arguments.map(RawValue::get));
        let arguments = arguments.unwrap_or_else(|| RawValue::from_string("{}".to_owned()).expect("an object"));
        NativeCall { id: call.id.unwrap_or_default(), function: NativeFunction { name: call.function.name, arguments } }
    };
    Ok(given.into_iter().map(call).collect())
}

// ---- The answer ----

/// An answer, or one line of a stream.
#[derive(Default)]
struct Answer<'a> {
    model: Text<'a>,
    message: AnswerMessage<'a>,
    done: bool,
    done_reason: Text<'a>,
    prompt_tokens: Option<u64>,
    cached_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    logprobs: Option<Value>,
    /// Times, durations, and what is new to this file.
    rest: Members<'a>,
}

/// The message, or the next piece of one.
#[derive(Default, Deserialize)]
struct AnswerMessage<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    content: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    thinking: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient::list")]
    tool_calls: Vec<SaidCall<'a>>,
    #[serde(borrow, default)]
    images: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct SaidCall<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    id: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient::object")]
    function: SaidFunction<'a>,
}

#[derive(Default, Deserialize)]
struct SaidFunction<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

impl<'a> Answer<'a> {
    fn of(top: &Members<'a>) -> Self {
        let mut answer = Self::default();
        for (name, value) in &top.0 {
            let json = value.get();
            match &**name {
                _ if json == "null" => {}
                "model" => answer.model = Text::of(json),
                "message" => answer.message = lenient::object_of(json),
                "done" => answer.done = bool::of(json),
                "done_reason" => answer.done_reason = Text::of(json),
                "prompt_eval_count" => answer.prompt_tokens = Option::of(json),
                "prompt_eval_cached_count" => answer.cached_tokens = Option::of(json),
                "eval_count" => answer.completion_tokens = Option::of(json),
                "logprobs" => answer.logprobs = serde_json::from_str(json).ok(),
                _ => answer.rest.0.push((name.clone(), *value)),
            }
        }
        // Only the last line has a reason.
        answer.done |= !answer.done_reason.0.is_empty();
        answer
    }

    /// What it says; in a stream, its calls are numbered from `first_call`.
    fn message(&self, first_call: Option<u32>) -> Message<'_> {
        let calls = self.message.tool_calls.iter().zip(0..).map(|(call, place)| ToolCall {
            index: first_call.map(|first| first + place),
            id: Some(
                call.id
                    .as_ref()
                    .filter(|id| !id.0.is_empty())
                    .map_or_else(|| made_up("call").into(), |id| (&*id.0).into()),
            ),
            kind: Some("function"),
            function: Function {
                name: Some((&*call.function.name).into()),
                arguments: arguments::text(call.function.arguments.map(RawValue::get)),
            },
        });
        let native = self
            .message
            .images
            .map(|images| ("images".to_owned(), serde_json::from_str(images.get()).unwrap_or_default()));
        Message {
            content: some(&self.message.content).map_or(Content::Absent, Content::Text),
            reasoning_content: some(&self.message.thinking),
            tool_calls: calls.collect(),
            provider_specific_fields: specific(Map::from_iter(native)),
            ..Default::default()
        }
    }

    fn rest(&self) -> Map<String, Value> {
        let value = |json: &RawValue| serde_json::from_str(json.get()).unwrap_or_default();
        self.rest.0.iter().map(|(name, json)| (name.to_string(), value(json))).collect()
    }

    fn finish_reason(&self, has_calls: bool) -> &'static str {
        match &*self.done_reason.0 {
            "length" => "length",
            // `load` and `unload` are what a call without messages does.
            _ => completion::finish_reason("stop", has_calls),
        }
    }

    fn usage(&self) -> Option<Usage<'static>> {
        let (prompt, completion) = (self.prompt_tokens, self.completion_tokens);
        if prompt.is_none() && completion.is_none() {
            return None;
        }
        // A prompt that was cached in full goes unmentioned.
        let (prompt, completion) = (prompt.unwrap_or(0), completion.unwrap_or(0));
        Some(Usage {
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: prompt.saturating_add(completion),
            prompt_tokens_details: PromptTokens {
                cached_tokens: self.cached_tokens.unwrap_or(0),
                ..Default::default()
            },
            ..Default::default()
        })
    }

    fn logprobs(&self) -> Option<Value> {
        self.logprobs.as_ref().map(|tokens| json!({"content": tokens, "refusal": null}))
    }
}

/// A text that says something; servers send empty ones where there is nothing.
fn some<'a>(text: &'a Option<Text>) -> Option<Cow<'a, str>> {
    text.as_ref().filter(|text| !text.0.is_empty()).map(|text| Cow::Borrowed(&*text.0))
}

/// Native members under the dialect's name; nothing if there are none.
fn specific(native: Map<String, Value>) -> Map<String, Value> {
    let mut fields = Map::new();
    if !native.is_empty() {
        fields.insert(DIALECT.into(), native.into());
    }
    fields
}

// ---- The stream ----

/// Decodes a stream of answers in pieces, a line each.
struct Lines {
    id: String,
    created: u64,
    /// The caller asked for the chunk that holds nothing but the usage.
    show_usage: bool,
    /// The first chunk has been made, with the role.
    begun: bool,
    /// How many tool calls there were so far.
    calls: u32,
    done: bool,
}

impl StreamDecoder for Lines {
    fn event(&mut self, _name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        let wrong = |error| {
            Error::new(ErrorKind::ApiResponseValidation, format!("ollama sent a line that cannot be read: {error}"))
        };
        let top = Members::of(&data).map_err(wrong)?;
        if top.some("error").is_some() || top.some("message").is_none() && refusals::is_refusal(&top) {
            return Err(errors::from_event(ROW.name, &data));
        }
        let answer = Answer::of(&top);
        let chunk = || Completion {
            id: (&*self.id).into(),
            object: CHUNK,
            created: self.created,
            model: (&*answer.model.0).into(),
            ..Default::default()
        };

        let mut delta = answer.message(Some(self.calls));
        self.calls += delta.tool_calls.len() as u32;
        if !self.begun {
            delta.role = Some("assistant");
        }
        let finish_reason = answer.done.then(|| answer.finish_reason(self.calls > 0));
        let choice = Choice { delta: Some(delta), finish_reason, logprobs: answer.logprobs(), ..Default::default() };
        // The time that each line has is of no use; the last line's is the answer's.
        let provider_specific_fields = if answer.done { specific(answer.rest()) } else { Map::new() };
        chunks.push(Completion { choices: vec![choice], provider_specific_fields, ..chunk() }.to_json());
        if answer.done
            && let Some(usage) = answer.usage()
        {
            chunks.push(Completion { usage: Some(usage), ..chunk() }.to_json());
        }
        self.begun = true;
        self.done |= answer.done;
        Ok(())
    }

    fn is_shown(&self, chunk: &[u8]) -> bool {
        is_for_loops(chunk, self.show_usage)
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn is_complete(&self) -> bool {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::accumulate::Accumulator;
    use crate::types::secret::Secret;

    fn encoded(model: &str, params: Value, drop_params: bool) -> Result<Encoded> {
        let deployment = Deployment {
            provider: &Ollama,
            model: model.into(),
            base_url: "http://h".into(),
            api_key: Some(Secret::new("k")),
            api_version: None,
            settings: Vec::new(),
            credentials: Default::default(),
        };
        let params = Params::from_json(params.to_string().as_bytes()).unwrap();
        Ollama.encode(&deployment, &Request { params, drop_params, ..Default::default() })
    }

    fn sent(params: Value) -> Value {
        serde_json::from_slice(&encoded("llama3", params, false).unwrap().request.body).unwrap()
    }

    fn decoded(answer: &Value) -> Value {
        let body = answer.to_string().into();
        let response = HttpResponse { received: 7, status: 200, headers: Default::default(), body };
        serde_json::from_slice(&Ollama.decode(&Request::default(), &response).unwrap()).unwrap()
    }

    fn streamed(lines: &[Value]) -> Result<Value> {
        let mut decoder = Ollama.stream_decoder(&Request::default(), 7);
        let mut chunks = Vec::new();
        for line in lines {
            decoder.event(b"", line.to_string().into(), &mut chunks)?;
        }
        assert!(decoder.is_complete() && !decoder.is_shown(chunks.last().unwrap()));
        let mut accumulator = Accumulator::default();
        chunks.iter().for_each(|chunk| accumulator.push(serde_json::from_slice(chunk).unwrap()));
        Ok(accumulator.finish())
    }

    #[test]
    fn every_way_to_name_the_host() {
        for (given, url) in [
            ("http://localhost:11434", "http://localhost:11434"),
            ("http://h:1/", "http://h:1"),
            ("http://h:1/v1", "http://h:1"),
            ("http://h:1/c1/api/chat", "http://h:1/c1"),
            ("https://ollama.com", "https://ollama.com"),
            ("127.0.0.1", "http://127.0.0.1:11434"),
            ("0.0.0.0", "http://127.0.0.1:11434"),
            ("0.0.0.0:5000", "http://127.0.0.1:5000"),
            (":5000", "http://127.0.0.1:5000"),
            ("box.local:5000/ollama/", "http://box.local:5000/ollama"),
            ("[::]:5000", "http://[::1]:5000"),
            ("[fe80::1]", "http://[fe80::1]:11434"),
        ] {
            assert_eq!(Ollama.base_url(given).unwrap(), url, "{given}");
        }
        for given in ["", "http://", "ftp://h", "http://user:pass@h"] {
            assert!(Ollama.base_url(given).is_err(), "{given}");
        }
    }

    #[test]
    fn parameters_become_options() {
        let schema = json!({"type": "object"});
        let body = sent(json!({
            "temperature": 0, "max_tokens": 5, "stop": "x", "top_k": 3, "options": {"num_ctx": 9, "temperature": 1}, "keep_alive": "5m", "logprobs": true,
            "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}, "reasoning_effort": "low", "stream_options": {},
        }));
        assert_eq!(
            body,
            json!({"model": "llama3", "stream": false, "keep_alive": "5m", "logprobs": true, "format": schema, "think": true,
                "options": {"num_ctx": 9, "temperature": 1, "num_predict": 5, "stop": ["x"], "top_k": 3}})
        );
        assert_eq!(sent(json!({"response_format": {"type": "json_object"}}))["format"], "json");
        assert_eq!(sent(json!({"reasoning_effort": "none"}))["think"], false);
        let body = encoded("gpt-oss:20b", json!({"reasoning_effort": "low"}), false).unwrap().request.body;
        assert!(std::str::from_utf8(&body).unwrap().contains(r#""think":"low""#));
    }

    #[test]
    fn what_ollama_lacks_is_refused_or_dropped() {
        for params in [json!({"n": 2}), json!({"logit_bias": {"1": 1}}), json!({"tool_choice": "required"})] {
            assert_eq!(encoded("m", params.clone(), false).unwrap_err().kind, ErrorKind::UnsupportedParams);
            assert_eq!(encoded("m", params, true).unwrap().dropped_params.len(), 1);
        }
        let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]);
        assert_eq!(sent(json!({"tools": tools, "tool_choice": "auto"}))["tools"], tools);
        assert_eq!(sent(json!({"tools": tools, "tool_choice": "none"})), json!({"model": "llama3", "stream": false}));
    }

    #[test]
    fn messages_are_text_pictures_and_objects() {
        let body = sent(json!({"messages": [
            {"role": "developer", "content": "d"},
            {"role": "user", "content": [{"type": "text", "text": "what"}, {"type": "text", "text": "is it"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
            {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"b\": 1.0, \"a\": 2}"}},
                {"id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
            {"role": "tool", "tool_call_id": "c2", "content": "42"},
        ]}));
        assert_eq!(
            body["messages"],
            json!([
                {"role": "system", "content": "d"},
                {"role": "user", "content": "what\nis it", "images": ["AA=="]},
                {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [
                    {"id": "c1", "function": {"name": "f", "arguments": {"b": 1.0, "a": 2}}}, {"id": "c2", "function": {"name": "g", "arguments": {}}}]},
                {"role": "tool", "content": "42", "tool_name": "g", "tool_call_id": "c2"},
            ])
        );
        let far =
            json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://h/a.png"}}]}]);
        assert!(encoded("m", json!({"messages": far}), false).unwrap_err().message.contains("base64"));
    }

    fn last(fields: Value) -> Value {
        let mut line = json!({"model": "m", "created_at": "2025-01-01T00:00:02Z", "message": {"role": "assistant", "content": ""}, "done": true,
            "done_reason": "stop", "total_duration": 123456, "prompt_eval_count": 10, "eval_count": 4});
        line.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        line
    }

    #[test]
    fn a_stream_says_what_the_plain_answer_says() {
        let call = json!({"function": {"name": "f", "arguments": {"a": "é", "b": [1.5]}}});
        let line = |message: Value| json!({"model": "m", "created_at": "2025-01-01T00:00:01Z", "message": message, "done": false});
        let mut whole = streamed(&[
            line(json!({"role": "assistant", "content": "", "thinking": "hm,"})),
            line(json!({"role": "assistant", "content": "", "thinking": " so"})),
            line(json!({"role": "assistant", "content": "It "})),
            line(json!({"role": "assistant", "content": "is."})),
            line(json!({"role": "assistant", "content": "", "tool_calls": [call]})),
            line(json!({"role": "assistant", "content": "", "tool_calls": [{"id": "given", "function": {"name": "g", "arguments": {}}}]})),
            last(json!({})),
        ])
        .unwrap();
        let message = json!({"role": "assistant", "content": "It is.", "thinking": "hm, so", "tool_calls": [call, {"id": "given", "function": {"name": "g", "arguments": {}}}]});
        let mut plain = decoded(&last(json!({"message": message})));
        for answer in [&mut whole, &mut plain] {
            let id = answer["choices"][0]["message"]["tool_calls"][0]["id"].take();
            assert!(id.as_str().unwrap().starts_with("call_"), "{id}");
            answer["id"].take();
        }
        assert_eq!(whole, plain);
        let message = &plain["choices"][0]["message"];
        assert_eq!(message["reasoning_content"], "hm, so");
        assert_eq!(
            message["tool_calls"][1],
            json!({"id": "given", "type": "function", "function": {"name": "g", "arguments": "{}"}})
        );
        assert_eq!(message["tool_calls"][0]["function"]["arguments"], r#"{"a":"é","b":[1.5]}"#);
        assert_eq!(plain["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!((&plain["usage"]["prompt_tokens"], &plain["usage"]["total_tokens"]), (&json!(10), &json!(14)));
        assert_eq!(
            plain["provider_specific_fields"]["ollama"],
            json!({"created_at": "2025-01-01T00:00:02Z", "total_duration": 123456})
        );
    }

    #[test]
    fn reasons_to_end() {
        assert_eq!(decoded(&last(json!({"done_reason": "length"})))["choices"][0]["finish_reason"], "length");
        let plain = decoded(&last(json!({"logprobs": [{"token": "a", "logprob": -1.0}]})));
        assert_eq!(plain["choices"][0]["finish_reason"], "stop");
        assert_eq!(plain["choices"][0]["message"], json!({"role": "assistant", "content": null}));
        assert_eq!(plain["choices"][0]["logprobs"]["content"][0]["token"], "a");
    }

    #[test]
    fn errors_are_errors_wherever_they_come() {
        let response = |status, body: &'static str| HttpResponse {
            received: 0,
            status,
            headers: Default::default(),
            body: Bytes::from_static(body.as_bytes()),
        };
        let error = Ollama.decode_error(&response(404, r#"{"error":"model 'm' not found"}"#));
        assert!(error.kind == ErrorKind::NotFound && error.message.contains("model 'm' not found"), "{error}");
        assert!(Ollama.decode(&Request::default(), &response(200, r#"{"error":"out of memory"}"#)).is_err());
        assert_eq!(
            Ollama.decode(&Request::default(), &response(200, "{}")).unwrap_err().kind,
            ErrorKind::ApiResponseValidation
        );
        let error = streamed(&[
            json!({"model": "m", "message": {"content": "a"}, "done": false}),
            json!({"error": "out of memory"}),
        ])
        .unwrap_err();
        assert!(error.message.contains("out of memory"), "{error}");
    }
}
