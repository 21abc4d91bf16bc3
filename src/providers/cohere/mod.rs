//! Cohere's chat, version 2.
//!
//! - Requests and answers: <https://docs.cohere.com/reference/chat>
//! - Streams: <https://docs.cohere.com/reference/chat-stream>, <https://docs.cohere.com/docs/streaming>
//! - Thinking: <https://docs.cohere.com/docs/reasoning>; citations: <https://docs.cohere.com/docs/rag-citations>
//! - Errors: <https://docs.cohere.com/reference/errors>
//!
//! What OpenAI's format has no place for is under `provider_specific_fields.cohere`. On the message: `content` (the
//! blocks, unless there is nothing but one text), `tool_plan` and `citations`; these go back as they came while the
//! caller leaves the text as it is. On the answer: `logprobs` with their token ids, and what is new to this file.
//!
//! `reasoning_content` is the thinking. A `tool_plan` is what older models say before they call tools; it stays apart,
//! because it goes back under its own name.

pub(super) mod embedding;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::history::refusals_as_text;
use super::media;
use super::openai_compatible::{Destination, accepted, asks_for_usage, destination, is_for_loops, not_a_completion};
use super::rerank::{self, Rerank, RerankRow};
use super::resolve::check_url;
use super::table::HOSTED;
use super::tools::arguments;
use super::tools::endpoint::WithTools;
use super::unsupported::{CUSTOM_TOOL, asks_for_nothing, drop_or_refuse, drop_or_refuse_because, without_unsupported};
use super::{Deployment, Encoded, Endpoint, Operation, Provider, Row, StreamDecoder, errors};
use crate::error::{Error, ErrorKind, Result};
use crate::types::completion::{
    self, CHUNK, COMPLETION, Choice, Completion, Content, Function, Message, PromptTokens, ToolCall, Usage,
};
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::lenient::{self, Scalar};
use crate::types::members::{Members, Text, read};
use crate::types::object::ObjectWriter;
use crate::types::request::Request;

pub(super) struct Cohere;

/// Where documents are ranked: <https://docs.cohere.com/reference/rerank>.
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
    // Version 2 does not repeat the documents.
    rerank: RerankRow { returns_documents: false, ..rerank::PLAIN },
    ..HOSTED
};

static CHAT: WithTools<Cohere> = WithTools { row: &ROW, wire: &Cohere };

/// The name under which native members are kept.
const DIALECT: &str = "cohere";

impl Provider for Cohere {
    fn row(&self) -> &'static Row {
        &ROW
    }

    /// Without the version, which is ours to choose; old settings have `/v1`, and LiteLLM's the whole address.
    fn base_url(&self, given: &str) -> Result<String> {
        let url = check_url(given)?;
        let url = url.strip_suffix("/chat").or(url.strip_suffix("/embed")).unwrap_or(url);
        let url = url.strip_suffix("/v2").or(url.strip_suffix("/v1")).unwrap_or(url);
        Ok(url.trim_end_matches('/').to_owned())
    }

    fn endpoints(&self) -> &[(Operation, &'static dyn Endpoint)] {
        static RERANK: Rerank = Rerank { row: &ROW, destination: rerank_destination };
        static ENDPOINTS: &[(Operation, &dyn Endpoint)] =
            &[(Operation::Chat, &CHAT), (Operation::Embedding, &embedding::Embed), (Operation::Rerank, &RERANK)];
        ENDPOINTS
    }

    fn decode_error(&self, response: &HttpResponse) -> Box<Error> {
        errors::from_response(ROW.name, response)
    }
}

impl Endpoint for Cohere {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let mut dropped_params = Vec::new();
        let body = body(&deployment.model, request, &mut dropped_params)?;
        let (uri, headers) = destination(deployment, "v2/chat", accepted(request.stream))?;
        Ok(Encoded { request: HttpRequest::post(uri, headers, body), dropped_params })
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        completion(&request.model, response)
    }

    fn stream_decoder(&self, request: &Request, received: u64) -> Box<dyn StreamDecoder> {
        Box::new(Events {
            model: request.model.clone(),
            created: received,
            show_usage: asks_for_usage(request),
            id: String::new(),
            blocks: Vec::new(),
            has_citations: false,
            calls: Vec::new(),
            done: false,
        })
    }
}

// ---- The request ----

fn body(model: &str, request: &Request, dropped: &mut Vec<String>) -> Result<Bytes> {
    let (params, already_dropped) = without_unsupported(&ROW, request)?;
    *dropped = already_dropped;
    let mut body = ObjectWriter::with_capacity(params.len() + model.len() + 64);
    body.put("model", model);
    body.put("stream", &request.stream);
    let choice = params.get("tool_choice").map(ToolChoice::read).transpose()?.unwrap_or_default();
    let is_given_natively =
        |name: &str| ROW.spelled.iter().any(|(openai, own)| *openai == name && params.get(own).is_some());
    for (name, value) in params.iter() {
        match name {
            "messages" => {
                let text = refusals_as_text(value);
                let value = text.as_deref().unwrap_or(value);
                let written = media::written(value);
                body.put(name, &messages(written.as_deref().map_or(value, str::as_bytes))?);
            }
            "tools" => {
                let Tools { tools, strict, had_custom } = tools(value, choice.only.as_deref())?;
                if had_custom {
                    drop_or_refuse_because(ROW.name, name, CUSTOM_TOOL, request.drop_params, dropped)?;
                }
                if !(had_custom && tools.is_empty()) {
                    body.put(name, &tools);
                }
                if strict && params.get("strict_tools").is_none() {
                    body.put("strict_tools", &true);
                }
            }
            "tool_choice" => {
                if let Some(mode) = choice.mode {
                    body.put(name, &mode);
                }
            }
            // Cohere's own name has the say where both are given.
            _ if is_given_natively(name) => {}
            "max_completion_tokens" => body.put_raw("max_tokens", value),
            "top_p" => body.put_raw("p", value),
            "stop" => match value.trim_ascii().first() {
                Some(b'"') => body.put_raw("stop_sequences", &[b"[", value, b"]"].concat()),
                _ => body.put_raw("stop_sequences", value),
            },
            "response_format" => match response_format(value) {
                Some(format) => body.put(name, &format),
                None => body.put_raw(name, value),
            },
            "reasoning_effort" => body.put("thinking", &thinking_for(value)),
            "thinking" => match thinking_with_budget(value) {
                Some(thinking) => body.put(name, &thinking),
                None => body.put_raw(name, value),
            },
            // What happens anyway: one answer, parallel calls, nothing stored, usage at the end of each stream.
            "stream_options" => {}
            "n" | "parallel_tool_calls" | "store" if asks_for_nothing(name, value) => {}
            "n" | "parallel_tool_calls" | "store" => drop_or_refuse(ROW.name, name, request.drop_params, dropped)?,
            _ => body.put_raw(name, value),
        }
    }
    Ok(body.finish())
}

/// A message as Cohere takes it; `None` is left out.
#[derive(Default, Serialize)]
struct NativeMessage<'a> {
    role: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_plan: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<NativeCall<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    citations: Option<&'a RawValue>,
}

/// The same in OpenAI's format and in Cohere's; what others have put on a call is left behind.
#[derive(Default, Serialize, Deserialize)]
struct NativeCall<'a> {
    #[serde(borrow, default)]
    id: Cow<'a, str>,
    #[serde(rename = "type", borrow, default = "function")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    function: NativeFunction<'a>,
}

/// A call as an answer has it.
#[derive(Default, Deserialize)]
struct SaidCall<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "lenient::object")]
    function: SaidFunction<'a>,
}

#[derive(Default, Deserialize)]
struct SaidFunction<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    name: Cow<'a, str>,
    /// A string, and in pieces a piece of it; some have been an object, or null.
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

impl<'a> SaidFunction<'a> {
    /// The next piece of the arguments.
    fn piece(&self) -> Cow<'a, str> {
        match self.arguments.map(RawValue::get) {
            None | Some("null") => "".into(),
            Some(text) if text.starts_with('"') => serde_json::from_str::<Text>(text).unwrap_or_default().0,
            Some(object) => object.into(),
        }
    }
}

fn function() -> Cow<'static, str> {
    Cow::Borrowed("function")
}

#[derive(Default, Serialize, Deserialize)]
struct NativeFunction<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    arguments: Cow<'a, str>,
}

fn messages(json: &[u8]) -> Result<Vec<NativeMessage<'_>>> {
    let wrong = |error| Error::argument(format!("messages cannot be sent to cohere: {error}"));
    let messages: Vec<Members> = serde_json::from_slice(json).map_err(wrong)?;
    messages.iter().try_for_each(check_parts)?;
    messages.iter().map(message).collect::<serde_json::Result<_>>().map_err(wrong)
}

/// Refuses the kinds of content that OpenAI has and Cohere has not.
fn check_parts(message: &Members) -> Result<()> {
    let parts: Vec<Members> =
        message.some("content").and_then(|content| serde_json::from_str(content).ok()).unwrap_or_default();
    match parts.iter().filter_map(|part| part.string("type")).find(|kind| matches!(&**kind, "file" | "input_audio")) {
        Some(kind) => {
            Err(Error::argument(format!("content has a part of type {kind:?}: cohere takes text and images")))
        }
        None => Ok(()),
    }
}

fn message<'a>(message: &Members<'a>) -> serde_json::Result<NativeMessage<'a>> {
    let raw = |members: &Members<'a>, name: &str| {
        let member = members.0.iter().rev().find(|(member, _)| member == name);
        member.map(|(_, value)| *value).filter(|value| value.get() != "null")
    };
    let role = message.string("role").unwrap_or_default();
    if role != "assistant" {
        let role = if role == "developer" { Cow::Borrowed("system") } else { Cow::Owned(role) };
        let content = raw(message, "content");
        return Ok(NativeMessage { role, content, tool_call_id: raw(message, "tool_call_id"), ..Default::default() });
    }
    let calls: Option<Vec<NativeCall>> = match message.some("tool_calls") {
        Some(calls) => Some(serde_json::from_str(calls)?),
        None => None,
    };
    let calls = calls.filter(|calls| !calls.is_empty());

    let native = message.some("provider_specific_fields").and_then(|fields| Members::of(fields.as_bytes()).ok());
    let native = native.and_then(|fields| Members::of(fields.some(DIALECT)?.as_bytes()).ok()).unwrap_or_default();
    let text = message.string("content").unwrap_or_default();
    let blocks = raw(&native, "content");
    let is_unchanged = blocks.is_none_or(|blocks| text_of_blocks(blocks.get()).as_deref() == Some(text.as_str()));
    let content = match blocks {
        Some(blocks) if is_unchanged => Some(blocks),
        // A message that only calls tools has no content at all.
        _ => raw(message, "content").filter(|content| content.get() != "\"\"" || calls.is_none()),
    };
    Ok(NativeMessage {
        role: "assistant".into(),
        content,
        tool_plan: raw(&native, "tool_plan").filter(|_| calls.is_some()),
        // They refer to the text by places, so a changed text has lost them.
        citations: raw(&native, "citations").filter(|_| blocks.is_some() && is_unchanged),
        tool_calls: calls,
        tool_call_id: None,
    })
}

fn text_of_blocks(json: &str) -> Option<String> {
    let blocks: Vec<Members> = serde_json::from_str(json).ok()?;
    Some(
        blocks
            .iter()
            .filter(|block| block.string("type").as_deref() == Some("text"))
            .filter_map(|block| block.string("text"))
            .collect(),
    )
}

/// Tools in Cohere's format.
struct Tools {
    tools: Vec<Value>,
    /// Whether all of them are strict: that is a switch of the whole call here.
    strict: bool,
    /// Whether there were tools that are no functions, which Cohere does not have.
    had_custom: bool,
}

/// All functions, or only the named ones if there are names.
fn tools(json: &[u8], only: Option<&[String]>) -> Result<Tools> {
    let mut tools: Vec<Value> = serde_json::from_slice(json)
        .map_err(|error| Error::argument(format!("tools cannot be sent to cohere: {error}")))?;
    let given = tools.len();
    tools.retain(|tool| tool.get("custom").is_none());
    let had_custom = tools.len() < given;
    if let Some(only) = only {
        tools.retain(|tool| {
            tool["function"]["name"].as_str().is_some_and(|name| only.iter().any(|wanted| wanted == name))
        });
    }
    let mut strict = !tools.is_empty();
    for function in tools.iter_mut().filter_map(|tool| tool.get_mut("function")?.as_object_mut()) {
        strict &= function.shift_remove("strict") == Some(Value::Bool(true));
        // And these are not optional.
        function.entry("parameters").or_insert_with(|| json!({"type": "object", "properties": {}}));
    }
    Ok(Tools { tools, strict, had_custom })
}

#[derive(Default)]
struct ToolChoice {
    mode: Option<&'static str>,
    /// Cohere cannot be told which tool to call: it is shown no others.
    only: Option<Vec<String>>,
}

impl ToolChoice {
    fn read(json: &[u8]) -> Result<Self> {
        let choice: Value =
            serde_json::from_slice(json).map_err(|error| Error::argument(format!("tool_choice: {error}")))?;
        let mode = |word: &str| match word.to_ascii_lowercase().as_str() {
            "auto" => Ok(None),
            "none" => Ok(Some("NONE")),
            "required" | "any" => Ok(Some("REQUIRED")),
            _ => Err(Error::argument(format!(
                "tool_choice is {word:?}: \"auto\", \"none\", \"required\" or a function would be right"
            ))),
        };
        if let Some(word) = choice.as_str() {
            return Ok(Self { mode: mode(word)?, only: None });
        }
        let name_of = |tool: &Value| tool["function"]["name"].as_str().or(tool["name"].as_str()).map(str::to_owned);
        if let Some(allowed) = choice.get("allowed_tools") {
            let only = allowed["tools"].as_array().map(|tools| tools.iter().filter_map(name_of).collect());
            return Ok(Self { mode: mode(allowed["mode"].as_str().unwrap_or("auto"))?, only });
        }
        match name_of(&choice) {
            Some(name) => Ok(Self { mode: Some("REQUIRED"), only: Some(vec![name]) }),
            None => Err(Error::argument("tool_choice names no function")),
        }
    }
}

/// OpenAI's `json_schema` format; `None`: the format is Cohere's as it is.
fn response_format(json: &[u8]) -> Option<Value> {
    let mut format: Value = serde_json::from_slice(json).ok()?;
    (format["type"] == "json_schema").then(|| match format["json_schema"]["schema"].take() {
        Value::Null => json!({"type": "json_object"}),
        schema => json!({"type": "json_object", "json_schema": schema}),
    })
}

/// Thinking is on or off, with a budget in tokens; the budgets are ours, Cohere names none.
fn thinking_for(effort: &[u8]) -> Value {
    match effort {
        b"\"none\"" => json!({"type": "disabled"}),
        b"\"minimal\"" | b"\"low\"" => json!({"type": "enabled", "token_budget": 1024}),
        b"\"medium\"" => json!({"type": "enabled", "token_budget": 8192}),
        _ => json!({"type": "enabled"}),
    }
}

/// Anthropic's form of the parameter, as LiteLLM's callers write it, in Cohere's; `None`: it is Cohere's already.
fn thinking_with_budget(json: &[u8]) -> Option<Value> {
    let mut thinking: Map<String, Value> = serde_json::from_slice(json).ok()?;
    let budget = thinking.shift_remove("budget_tokens")?;
    thinking.insert("token_budget".into(), budget);
    Some(thinking.into())
}

// ---- The answer ----

/// A message's blocks, unless the text says it all; citations refer to places in the blocks.
fn native_content(blocks: Vec<Value>, has_citations: bool) -> Option<Value> {
    let is_one_text = matches!(&blocks[..], [Value::Object(block)] if block.len() == 2 && block.get("type").is_some_and(|kind| kind == "text"));
    (!blocks.is_empty() && (has_citations || !is_one_text)).then_some(Value::Array(blocks))
}

fn finish_reason(native: &str, has_calls: bool) -> Result<&'static str> {
    let failed = |kind, message: &str| Err(Error::new(kind, message));
    match native {
        "MAX_TOKENS" | "ERROR_LIMIT" => Ok("length"),
        "TOOL_CALL" => Ok("tool_calls"),
        "ERROR_TOXIC" => Ok("content_filter"),
        "ERROR" => failed(ErrorKind::InternalServer, "cohere broke the answer off with an error"),
        "TIMEOUT" => failed(ErrorKind::Timeout, "cohere ran out of time for the answer"),
        _ => Ok(completion::finish_reason("stop", has_calls)),
    }
}

/// Counts come as floats.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Counts {
    #[serde(deserialize_with = "lenient::scalar")]
    input_tokens: u64,
    #[serde(deserialize_with = "lenient::scalar")]
    output_tokens: u64,
}

fn usage(native: &RawValue) -> Option<Usage<'_>> {
    let said = Members::of(native.get().as_bytes()).ok()?;
    let counts: Counts = said.some("tokens").or(said.some("billed_units")).map(lenient::object_of).unwrap_or_default();
    let (prompt, completion) = (counts.input_tokens, counts.output_tokens);
    Some(Usage {
        prompt_tokens: prompt,
        completion_tokens: completion,
        total_tokens: prompt.saturating_add(completion),
        prompt_tokens_details: PromptTokens {
            cached_tokens: said.some("cached_tokens").map_or(0, u64::of),
            ..Default::default()
        },
        native: Some(native),
        ..Default::default()
    })
}

/// Log probabilities in OpenAI's shape. Cohere gives them for pieces of text of one token or more; the probability of
/// a piece is the product of its tokens'.
fn logprobs(native: &[Value]) -> Value {
    let content: Vec<Value> = native
        .iter()
        .map(|item| {
            let logprob: f64 = item["logprobs"].as_array().into_iter().flatten().filter_map(Value::as_f64).sum();
            let token = item["text"].as_str().unwrap_or("");
            json!({"token": token, "logprob": logprob, "bytes": token.as_bytes(), "top_logprobs": []})
        })
        .collect();
    json!({"content": content, "refusal": null})
}

/// Native members under the dialect's name; nothing if there are none.
fn specific(native: Map<String, Value>) -> Map<String, Value> {
    let mut fields = Map::new();
    if !native.is_empty() {
        fields.insert(DIALECT.into(), native.into());
    }
    fields
}

fn to_value(json: &RawValue) -> Value {
    serde_json::from_str(json.get()).unwrap_or_default()
}

fn completion(model: &str, response: &HttpResponse) -> Result<Bytes> {
    let wrong = || not_a_completion(ROW.name, response);
    let top = Members::of(&response.body).map_err(|_| wrong())?;
    let Some(message) = top.some("message").filter(|message| message.starts_with('{')) else {
        // Under a status of 200 too, `message` as text is what went wrong.
        return Err(if top.some("message").is_some() { errors::from_response(ROW.name, response) } else { wrong() });
    };
    let message = Members::of(message.as_bytes()).map_err(|_| wrong())?;

    // Cohere's answers do not name their model.
    let mut answer =
        Completion { object: COMPLETION, created: response.received, model: model.into(), ..Default::default() };
    let answered = answered_message(&message);
    let has_calls = !answered.tool_calls.is_empty();
    let mut choice = Choice { message: Some(answered), ..Default::default() };
    let mut native = Map::new();
    for (name, value) in &top.0 {
        match &**name {
            _ if value.get() == "null" => {}
            "id" => answer.id = top.string("id").unwrap_or_default().into(),
            "message" => {}
            "finish_reason" => {
                let reason = top.string("finish_reason").unwrap_or_default();
                choice.finish_reason = Some(finish_reason(&reason, has_calls).map_err(|mut error| {
                    error.status = Some(response.status);
                    error.body = Some(response.body.clone());
                    error.headers = Some(response.headers.clone());
                    error
                })?);
                keep_finish_reason(&reason, &mut native);
            }
            "usage" => answer.usage = usage(value),
            "logprobs" => {
                let items = to_value(value);
                choice.logprobs = items.as_array().map(|items| logprobs(items));
                native.insert("logprobs".into(), items);
            }
            other => drop(native.insert(other.to_owned(), to_value(value))),
        }
    }
    answer.choices.push(choice);
    answer.provider_specific_fields = specific(native);
    Ok(answer.to_json())
}

/// Keeps a reason that OpenAI's words do not tell apart from another one.
fn keep_finish_reason(reason: &str, native: &mut Map<String, Value>) {
    if !matches!(reason, "COMPLETE" | "MAX_TOKENS" | "TOOL_CALL" | "") {
        native.insert("finish_reason".into(), reason.into());
    }
}

fn answered_message<'a>(message: &Members<'a>) -> Message<'a> {
    let mut answered = Message { role: Some("assistant"), content: Content::Null, ..Default::default() };
    let has_citations = message.some("citations").is_some_and(|citations| citations != "[]");
    let mut native = Map::new();
    for (name, value) in &message.0 {
        match &**name {
            _ if matches!(value.get(), "null" | "[]" | "\"\"") => {}
            "role" => {}
            "content" => {
                let blocks = match to_value(value) {
                    Value::Array(blocks) => blocks,
                    text => vec![json!({"type": "text", "text": text})],
                };
                let said = |kind: &str, name: &str| -> Option<String> {
                    let mut parts = blocks
                        .iter()
                        .filter(|block| block["type"] == kind)
                        .filter_map(|block| block[name].as_str())
                        .peekable();
                    parts.peek().is_some().then(|| parts.collect())
                };
                if let Some(text) = said("text", "text") {
                    answered.content = Content::Text(text.into());
                }
                answered.reasoning_content = said("thinking", "thinking").map(Cow::Owned);
                native.extend(native_content(blocks, has_citations).map(|blocks| ("content".to_owned(), blocks)));
            }
            "tool_calls" => {
                let calls: Vec<SaidCall<'a>> = lenient::list_of(value.get());
                answered.tool_calls = calls
                    .into_iter()
                    .map(|call| ToolCall {
                        index: None,
                        id: Some(call.id),
                        kind: Some("function"),
                        function: Function {
                            arguments: arguments::text(call.function.arguments.map(RawValue::get)),
                            name: Some(call.function.name),
                        },
                    })
                    .collect();
            }
            other => drop(native.insert(other.to_owned(), to_value(value))),
        }
    }
    answered.provider_specific_fields = specific(native);
    answered
}

// ---- The stream ----

/// A block of content, as the pieces so far make it.
struct Block {
    index: u64,
    native: Map<String, Value>,
}

/// Decodes a stream of Cohere's events.
struct Events {
    model: Arc<str>,
    created: u64,
    /// The caller asked for the chunk that holds nothing but the usage.
    show_usage: bool,
    id: String,
    /// The content so far, for the end: only then is it known whether the text alone says it all.
    blocks: Vec<Block>,
    has_citations: bool,
    /// The tool calls that have begun: the index of their events, and whether there were arguments.
    calls: Vec<(u64, bool)>,
    done: bool,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow, default, deserialize_with = "lenient::scalar")]
    kind: Cow<'a, str>,
    #[serde(default, deserialize_with = "lenient::scalar")]
    id: String,
    #[serde(default, deserialize_with = "lenient::scalar")]
    index: Option<u64>,
    #[serde(borrow, default, deserialize_with = "lenient::object")]
    delta: Delta<'a>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::object")]
    message: DeltaMessage<'a>,
    #[serde(default, deserialize_with = "lenient::scalar")]
    finish_reason: String,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient::scalar")]
    error: Option<String>,
}

/// Each event fills in one of these; `message-start` has them too, as empty lists.
#[derive(Default, Deserialize)]
struct DeltaMessage<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_plan: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    citations: Option<&'a RawValue>,
}

impl StreamDecoder for Events {
    fn event(&mut self, name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        let text = data.trim_ascii();
        if text == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        let wrong = |error| {
            Error::new(ErrorKind::ApiResponseValidation, format!("cohere sent an event that cannot be read: {error}"))
        };
        let event: Event = read(text).map_err(wrong)?;
        let delta = event.delta;
        let message = delta.message;
        // The line that names the event says the same.
        let kind = match std::str::from_utf8(name) {
            Ok(name) if !matches!(name, "" | "message") => name,
            _ => &event.kind,
        };
        match kind {
            "message-start" => {
                self.id = event.id;
                let first = Message { role: Some("assistant"), ..Default::default() };
                self.emit(first, chunks);
            }
            "content-start" | "content-delta" => {
                let piece = message.content.map(|content| lenient::object_of(content.get())).unwrap_or_default();
                self.content(event.index.unwrap_or(0), &piece, event.logprobs.map(to_value), chunks);
            }
            "tool-plan-delta" => self.emit_native("tool_plan", message.tool_plan.map(to_value), chunks),
            "tool-call-start" => {
                let call = streamed_call(message.tool_calls);
                let index = event.index.unwrap_or(self.calls.len() as u64);
                // Known when the call ends: "null" may be the beginning of nothing.
                let arguments = Some(call.function.piece()).filter(|piece| piece != "null").unwrap_or_default();
                self.calls.push((index, !arguments.trim().is_empty()));
                let call = ToolCall {
                    index: Some(self.calls.len() as u32 - 1),
                    id: Some(call.id),
                    kind: Some("function"),
                    function: Function { name: Some(call.function.name), arguments },
                };
                self.emit(Message { tool_calls: vec![call], ..Default::default() }, chunks);
            }
            "tool-call-delta" => {
                let call = streamed_call(message.tool_calls);
                let arguments = call.function.piece();
                let place = self.place_of_call(event.index);
                match self.calls.get_mut(place) {
                    Some((_, false)) if arguments == "null" => {}
                    known => {
                        if let Some((_, has_arguments)) = known {
                            *has_arguments |= !arguments.trim().is_empty();
                        }
                        self.emit_arguments(place, arguments, chunks);
                    }
                }
            }
            "tool-call-end" => {
                let place = self.place_of_call(event.index);
                if let Some((_, has_arguments @ false)) = self.calls.get_mut(place) {
                    *has_arguments = true;
                    self.emit_arguments(place, "{}".into(), chunks);
                }
            }
            "citation-start" => {
                let citations = message
                    .citations
                    .map(to_value)
                    .map(|citations| if citations.is_array() { citations } else { json!([citations]) });
                self.has_citations |= citations.is_some();
                self.emit_native("citations", citations, chunks);
            }
            "message-end" => {
                let reason = delta.finish_reason;
                let finish = finish_reason(&reason, !self.calls.is_empty()).map_err(|mut error| {
                    error.message += &delta.error.as_deref().map(|said| format!(": {said}")).unwrap_or_default();
                    error.body = Some(data.clone());
                    error
                })?;
                self.end(finish, &reason, delta.usage, chunks);
            }
            "content-end" | "citation-end" => {}
            "" => return Err(errors::from_event(ROW.name, &data)),
            // New to this file, or asked for by name (`debug`).
            other => {
                let kept = Map::from_iter([(other.to_owned(), serde_json::from_slice(text).unwrap_or_default())]);
                chunks.push(Completion { provider_specific_fields: specific(kept), ..self.chunk() }.to_json());
            }
        }
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

fn streamed_call(json: Option<&RawValue>) -> SaidCall<'_> {
    json.and_then(|json| lenient::list_of(json.get()).into_iter().next()).unwrap_or_default()
}

impl Events {
    /// A chunk without choices.
    fn chunk(&self) -> Completion<'_> {
        Completion {
            id: (&*self.id).into(),
            object: CHUNK,
            created: self.created,
            model: (&*self.model).into(),
            ..Default::default()
        }
    }

    /// The call that events of this index are about; the last where there is none.
    fn place_of_call(&self, index: Option<u64>) -> usize {
        let last = self.calls.len().saturating_sub(1);
        self.calls.iter().rposition(|(known, _)| Some(*known) == index).unwrap_or(last)
    }

    /// The next piece of a call's arguments.
    fn emit_arguments(&self, place: usize, arguments: Cow<str>, chunks: &mut Vec<Bytes>) {
        let function = Function { name: None, arguments };
        let call = ToolCall { index: Some(place as u32), function, ..Default::default() };
        self.emit(Message { tool_calls: vec![call], ..Default::default() }, chunks);
    }

    fn emit(&self, delta: Message, chunks: &mut Vec<Bytes>) {
        let choice = Choice { delta: Some(delta), ..Default::default() };
        chunks.push(Completion { choices: vec![choice], ..self.chunk() }.to_json());
    }

    /// A member of the message that only Cohere has; text is strung together and lists grow, as everywhere in deltas.
    fn emit_native(&self, name: &str, value: Option<Value>, chunks: &mut Vec<Bytes>) {
        if let Some(value) = value {
            let provider_specific_fields = specific(Map::from_iter([(name.to_owned(), value)]));
            self.emit(Message { provider_specific_fields, ..Default::default() }, chunks);
        }
    }

    /// The next piece of a block; its first piece says its type, and may hold text already.
    fn content(&mut self, index: u64, piece: &Members, native_logprobs: Option<Value>, chunks: &mut Vec<Bytes>) {
        let place = self.blocks.iter().position(|block| block.index == index).unwrap_or_else(|| {
            let kind = if piece.some("thinking").is_some() { "thinking" } else { "text" };
            self.blocks.push(Block { index, native: Map::from_iter([("type".to_owned(), kind.into())]) });
            self.blocks.len() - 1
        });
        let block = &mut self.blocks[place].native;
        let mut delta = Message::default();
        for (name, value) in &piece.0 {
            match (&**name, serde_json::from_str(value.get())) {
                _ if value.get() == "null" => {}
                (name @ ("text" | "thinking"), Ok(Text(more))) => {
                    match block.get_mut(name) {
                        Some(Value::String(known)) => known.push_str(&more),
                        _ => drop(block.insert(name.to_owned(), (&*more).into())),
                    }
                    match name {
                        "text" => delta.content = Content::Text(more),
                        _ => delta.reasoning_content = Some(more),
                    }
                }
                (name, _) => drop(block.insert(name.to_owned(), to_value(value))),
            }
        }
        let has_text = matches!(delta.content, Content::Text(_)) || delta.reasoning_content.is_some();
        if !has_text && native_logprobs.is_none() {
            return;
        }
        let mut choice = Choice { delta: Some(delta), ..Default::default() };
        let mut native = Map::new();
        if let Some(item) = native_logprobs {
            let items = vec![item];
            choice.logprobs = Some(logprobs(&items));
            native.insert("logprobs".into(), items.into());
        }
        chunks.push(
            Completion { choices: vec![choice], provider_specific_fields: specific(native), ..self.chunk() }.to_json(),
        );
    }

    fn end(&mut self, finish: &'static str, reason: &str, native_usage: Option<&RawValue>, chunks: &mut Vec<Bytes>) {
        self.done = true;
        let mut blocks = std::mem::take(&mut self.blocks);
        blocks.sort_by_key(|block| block.index);
        let blocks = blocks.into_iter().map(|block| Value::Object(block.native)).collect();
        let content = native_content(blocks, self.has_citations).map(|blocks| ("content".to_owned(), blocks));
        let delta = Message { provider_specific_fields: specific(Map::from_iter(content)), ..Default::default() };
        let choice = Choice { delta: Some(delta), finish_reason: Some(finish), ..Default::default() };
        let mut native = Map::new();
        keep_finish_reason(reason, &mut native);
        chunks.push(
            Completion { choices: vec![choice], provider_specific_fields: specific(native), ..self.chunk() }.to_json(),
        );
        if let Some(native) = native_usage {
            chunks.push(Completion { usage: usage(native), ..self.chunk() }.to_json());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::accumulate::Accumulator;
    use crate::types::params::Params;
    use crate::types::secret::Secret;

    fn encoded(params: Value, drop_params: bool) -> Result<Encoded> {
        let deployment = Deployment {
            provider: &Cohere,
            model: "command-x".into(),
            base_url: "http://h".into(),
            api_key: Some(Secret::new("k")),
            api_version: None,
            settings: Vec::new(),
            credentials: Default::default(),
        };
        let params = Params::from_json(params.to_string().as_bytes()).unwrap();
        Cohere.encode(&deployment, &Request { params, drop_params, ..Default::default() })
    }

    fn sent(params: Value) -> Value {
        serde_json::from_slice(&encoded(params, false).unwrap().request.body).unwrap()
    }

    fn decoded(answer: &Value) -> Value {
        let body = answer.to_string().into();
        let response = HttpResponse { received: 7, status: 200, headers: Default::default(), body };
        serde_json::from_slice(&Cohere.decode(&Request::default(), &response).unwrap()).unwrap()
    }

    fn streamed(events: &[Value]) -> Result<Value> {
        let request = Request { model: "command-x".into(), ..Default::default() };
        let mut decoder = Cohere.stream_decoder(&request, 7);
        let mut chunks = Vec::new();
        for event in events {
            decoder.event(event["type"].as_str().unwrap_or("").as_bytes(), event.to_string().into(), &mut chunks)?;
        }
        assert!(decoder.is_complete());
        assert!(!decoder.is_shown(chunks.last().unwrap()), "the usage was not asked for");
        let mut accumulator = Accumulator::default();
        chunks.iter().for_each(|chunk| accumulator.push(serde_json::from_slice(chunk).unwrap()));
        Ok(accumulator.finish())
    }

    /// A message after which a tool's result and another question come, as Cohere sees it then.
    fn sent_back(message: &Value) -> Value {
        sent(json!({"messages": [{"role": "user", "content": "q"}, message]}))["messages"][1].take()
    }

    fn thoughtful() -> Value {
        json!({"role": "assistant", "content": [{"type": "thinking", "thinking": "hm, so"}, {"type": "text", "text": "It is sunny."}],
            "citations": [{"start": 6, "end": 11, "text": "sunny", "content_index": 1, "type": "TEXT_CONTENT", "sources": [{"type": "tool", "id": "c1:0", "tool_output": {"sky": "clear"}}]}]})
    }

    #[test]
    fn no_arguments_are_an_empty_object_and_an_object_is_text() {
        let call = |arguments: &Value| {
            let mut function = json!({"name": "f", "arguments": arguments});
            if arguments == "absent" {
                function.as_object_mut().unwrap().shift_remove("arguments");
            }
            json!({"id": "f_1", "type": "function", "function": function})
        };
        for (arguments, right) in [
            (json!(null), "{}"),
            (json!("absent"), "{}"),
            (json!(""), "{}"),
            (json!("null"), "{}"),
            (json!({"a": 1}), r#"{"a":1}"#),
            (json!(r#"{"a": 1}"#), r#"{"a": 1}"#),
        ] {
            let call = call(&arguments);
            let answer = decoded(
                &json!({"id": "c", "finish_reason": "TOOL_CALL", "message": {"role": "assistant", "tool_calls": [call]}}),
            );
            assert_eq!(answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], right, "{arguments}");
            let events = [
                json!({"type": "message-start", "id": "c"}),
                json!({"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": call}}}),
                json!({"type": "tool-call-end", "index": 0}),
                json!({"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": {}}}),
            ];
            let answer = streamed(&events).unwrap();
            assert_eq!(answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], right, "{arguments}");
        }
    }

    #[test]
    fn a_picture_says_what_it_is_in_one_way() {
        let picture = |url: &str| json!({"type": "image_url", "image_url": {"url": url}});
        let message = json!({"role": "user", "content": [picture("data:IMAGE/jpg;q=1;base64,AA==")]});
        let body = sent(json!({"messages": [message]}));
        assert_eq!(body["messages"][0]["content"], json!([picture("data:image/jpeg;base64,AA==")]));
    }

    #[test]
    fn the_version_may_be_in_the_base_url() {
        for url in ["https://h", "https://h/", "https://h/v1", "https://h/v2", "https://h/v2/chat"] {
            assert_eq!(Cohere.base_url(url).unwrap(), "https://h", "{url}");
        }
        assert_eq!(Cohere.base_url("https://gateway/c1").unwrap(), "https://gateway/c1");
        let request = encoded(json!({}), false).unwrap().request;
        assert_eq!(request.uri, "http://h/v2/chat");
        assert_eq!(request.headers[0].1, "Bearer k");
    }

    #[test]
    fn parameters_have_cohere_s_names() {
        let schema = json!({"type": "object"});
        let body = sent(json!({
            "max_completion_tokens": 4, "max_tokens": 5, "top_p": 0.5, "stop": "x", "seed": 1, "n": 1, "k": 3, "made_up": {"a": 1},
            "stream_options": {"include_usage": true}, "reasoning_effort": "low", "parallel_tool_calls": true,
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema}},
        }));
        assert_eq!(
            body,
            json!({"model": "command-x", "stream": false, "max_tokens": 5, "p": 0.5, "stop_sequences": ["x"], "seed": 1, "k": 3, "made_up": {"a": 1},
                "thinking": {"type": "enabled", "token_budget": 1024}, "response_format": {"type": "json_object", "json_schema": schema}})
        );
        assert_eq!(sent(json!({"reasoning_effort": "none"}))["thinking"], json!({"type": "disabled"}));
        assert_eq!(
            sent(json!({"thinking": {"type": "enabled", "budget_tokens": 9}}))["thinking"],
            json!({"type": "enabled", "token_budget": 9})
        );
    }

    #[test]
    fn what_cohere_lacks_is_refused_or_dropped() {
        for params in [json!({"n": 2}), json!({"user": "u"}), json!({"parallel_tool_calls": false})] {
            let error = encoded(params.clone(), false).unwrap_err();
            assert_eq!(error.kind, ErrorKind::UnsupportedParams);
            let name = params.as_object().unwrap().keys().next().unwrap();
            assert!(error.message.contains("cohere") && error.message.contains(name.as_str()), "{error}");
            let encoded = encoded(params.clone(), true).unwrap();
            assert_eq!(encoded.dropped_params, [name.as_str()]);
            assert_eq!(encoded.request.body, r#"{"model":"command-x","stream":false}"#);
        }
    }

    #[test]
    fn a_tool_is_chosen_by_showing_no_other() {
        let tool = |name: &str| json!({"type": "function", "function": {"name": name, "strict": true}});
        let with = |choice: Value| sent(json!({"tools": [tool("f"), tool("g")], "tool_choice": choice}));
        assert_eq!(
            (with(json!("auto"))["tool_choice"].clone(), with(json!("required"))["tool_choice"].clone()),
            (Value::Null, json!("REQUIRED"))
        );
        assert_eq!(with(json!("none"))["tool_choice"], "NONE");
        let named = with(json!({"type": "function", "function": {"name": "g"}}));
        assert_eq!(named["tool_choice"], "REQUIRED");
        assert_eq!(named["strict_tools"], true);
        assert_eq!(
            named["tools"],
            json!([{"type": "function", "function": {"name": "g", "parameters": {"type": "object", "properties": {}}}}])
        );
    }

    #[test]
    fn an_answer_is_said_in_openai_s_words_and_nothing_is_lost() {
        let answer = json!({"id": "a1", "finish_reason": "STOP_SEQUENCE", "message": thoughtful(),
            "logprobs": [{"text": "It", "token_ids": [1, 2], "logprobs": [-0.5, -0.25]}],
            "usage": {"billed_units": {"input_tokens": 3}, "tokens": {"input_tokens": 50.0, "output_tokens": 9}, "cached_tokens": 20}, "new": {"x": 1}});
        let whole = decoded(&answer);
        let choice = &whole["choices"][0];
        assert_eq!(
            (&choice["message"]["content"], &choice["message"]["reasoning_content"]),
            (&json!("It is sunny."), &json!("hm, so"))
        );
        assert_eq!(
            (&whole["id"], &whole["created"], &choice["finish_reason"]),
            (&json!("a1"), &json!(7), &json!("stop"))
        );
        assert_eq!(choice["logprobs"]["content"][0]["logprob"], -0.75);
        assert_eq!(
            (&whole["usage"]["prompt_tokens"], &whole["usage"]["completion_tokens"], &whole["usage"]["total_tokens"]),
            (&json!(50), &json!(9), &json!(59))
        );
        assert_eq!(whole["usage"]["prompt_tokens_details"]["cached_tokens"], 20);
        assert_eq!(whole["usage"]["native"], answer["usage"]);
        let native = &whole["provider_specific_fields"]["cohere"];
        assert_eq!(
            (&native["new"]["x"], &native["finish_reason"], &native["logprobs"][0]["token_ids"]),
            (&json!(1), &json!("STOP_SEQUENCE"), &json!([1, 2]))
        );
    }

    #[test]
    fn a_message_goes_back_as_it_came() {
        let native = thoughtful();
        let mut message =
            decoded(&json!({"id": "a", "finish_reason": "COMPLETE", "message": native}))["choices"][0]["message"]
                .take();
        assert_eq!(sent_back(&message), native);
        message["content"] = "Changed.".into();
        assert_eq!(sent_back(&message), json!({"role": "assistant", "content": "Changed."}));
        // Another provider's.
        let foreign = json!({"role": "assistant", "content": "a", "reasoning_content": "r", "provider_specific_fields": {"anthropic": {"content": []}}});
        assert_eq!(sent_back(&foreign), json!({"role": "assistant", "content": "a"}));

        let call = json!({"id": "f_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}});
        let native = json!({"role": "assistant", "tool_plan": "I will call f.", "tool_calls": [call]});
        let whole = decoded(&json!({"id": "a", "finish_reason": "TOOL_CALL", "message": native}));
        assert_eq!(
            (&whole["choices"][0]["finish_reason"], &whole["choices"][0]["message"]["content"]),
            (&json!("tool_calls"), &Value::Null)
        );
        assert_eq!(whole["choices"][0]["message"]["tool_calls"], json!([call]));
        assert_eq!(sent_back(&whole["choices"][0]["message"]), native);
    }

    #[test]
    fn results_and_pictures_pass() {
        let messages = json!([
            {"role": "developer", "content": "d"},
            {"role": "user", "content": [{"type": "text", "text": "t"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}], "name": "x"},
            {"role": "tool", "tool_call_id": "f_1", "content": [{"type": "document", "document": {"id": "1", "data": {"a": 1}}}], "name": "f"},
        ]);
        let mut expected = messages.clone();
        expected[0]["role"] = "system".into();
        expected[1].as_object_mut().unwrap().shift_remove("name");
        expected[2] = json!({"role": "tool", "content": messages[2]["content"], "tool_call_id": "f_1"});
        assert_eq!(sent(json!({"messages": messages}))["messages"], expected);
    }

    #[test]
    fn a_stream_says_what_the_plain_answer_says() {
        let usage = json!({"tokens": {"input_tokens": 5, "output_tokens": 6}});
        let citation = thoughtful()["citations"][0].clone();
        let thinking = |kind: &str, text: &str| json!({"type": kind, "index": 0, "delta": {"message": {"content": {"thinking": text}}}});
        let whole = streamed(&[
            json!({"type": "message-start", "id": "a", "delta": {"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}}}),
            json!({"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "thinking", "thinking": ""}}}}),
            thinking("content-delta", "hm,"),
            thinking("content-delta", " so"),
            json!({"type": "content-end", "index": 0}),
            json!({"type": "content-start", "index": 1, "delta": {"message": {"content": {"type": "text", "text": ""}}}}),
            json!({"type": "content-delta", "index": 1, "delta": {"message": {"content": {"text": "It is"}}}, "logprobs": {"text": "It is", "token_ids": [1], "logprobs": [-1.0]}}),
            json!({"type": "content-delta", "index": 1, "delta": {"message": {"content": {"text": " sunny."}}}, "logprobs": {"text": " sunny.", "token_ids": [2], "logprobs": [-2.0]}}),
            json!({"type": "citation-start", "index": 0, "delta": {"message": {"citations": citation}}}),
            json!({"type": "citation-end", "index": 0}),
            json!({"type": "content-end", "index": 1}),
            json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}}),
        ]);
        let logprobs = json!([{"text": "It is", "token_ids": [1], "logprobs": [-1.0]}, {"text": " sunny.", "token_ids": [2], "logprobs": [-2.0]}]);
        let mut plain = decoded(
            &json!({"id": "a", "finish_reason": "COMPLETE", "message": thoughtful(), "usage": usage, "logprobs": logprobs}),
        );
        plain["model"] = "command-x".into();
        assert_eq!(whole.unwrap(), plain);
    }

    #[test]
    fn streamed_calls_are_the_plain_ones() {
        let start = |index: u32, name: &str| json!({"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": {"id": format!("{name}_1"), "type": "function", "function": {"name": name, "arguments": ""}}}}});
        let delta = |index: u32, text: &str| json!({"type": "tool-call-delta", "index": index, "delta": {"message": {"tool_calls": {"function": {"arguments": text}}}}});
        let plan = |text: &str| json!({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": text}}});
        let whole = streamed(&[
            json!({"type": "message-start", "id": "a", "delta": {"message": {"role": "assistant"}}}),
            plan("I will "),
            plan("call."),
            start(0, "f"),
            delta(0, "{\"a\""),
            delta(0, ":1}"),
            json!({"type": "tool-call-end", "index": 0}),
            start(1, "g"),
            delta(1, "{}"),
            json!({"type": "tool-call-end", "index": 1}),
            json!({"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": {"tokens": {"input_tokens": 1, "output_tokens": 2}}}}),
        ]);
        let call = |name: &str, arguments: &str| json!({"id": format!("{name}_1"), "type": "function", "function": {"name": name, "arguments": arguments}});
        let message = json!({"role": "assistant", "tool_plan": "I will call.", "tool_calls": [call("f", "{\"a\":1}"), call("g", "{}")]});
        let plain = decoded(&json!({"id": "a", "finish_reason": "TOOL_CALL", "message": message}));
        let whole = whole.unwrap();
        assert_eq!(whole["choices"][0]["message"], plain["choices"][0]["message"]);
        assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!(sent_back(&whole["choices"][0]["message"]), message);
    }

    #[test]
    fn errors_are_errors_wherever_they_come() {
        let response = |status, body: &'static str| HttpResponse {
            received: 0,
            status,
            headers: Default::default(),
            body: Bytes::from_static(body.as_bytes()),
        };
        let error = Cohere.decode_error(&response(404, r#"{"id":"x","message":"model 'm' not found"}"#));
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(error.message.contains("model 'm' not found"));
        let error = Cohere.decode_error(&response(
            400,
            r#"{"message":"too many tokens: total number of tokens in the prompt cannot exceed 128000"}"#,
        ));
        assert_eq!(error.kind, ErrorKind::ContextWindowExceeded);
        assert!(Cohere.decode(&Request::default(), &response(200, r#"{"message":"nope"}"#)).is_err());
        assert_eq!(
            Cohere.decode(&Request::default(), &response(200, "[]")).unwrap_err().kind,
            ErrorKind::ApiResponseValidation
        );
        let failed = json!({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "model died"}});
        let error = streamed(&[failed]).unwrap_err();
        assert!(error.kind == ErrorKind::InternalServer && error.message.contains("model died"), "{error}");
        assert!(streamed(&[json!({"message": "gone"})]).unwrap_err().message.contains("gone"));
    }
}
