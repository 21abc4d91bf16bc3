//! Anthropic's answers → completions.
//!
//! A message: <https://platform.claude.com/docs/en/api/messages/create>; stop reasons:
//! <https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons>; citations:
//! <https://platform.claude.com/docs/en/build-with-claude/citations>.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::super::errors;
use super::{DIALECT, Host, error_of};
use crate::error::{Error, Result};
use crate::types::completion::{
    self, COMPLETION, CacheCreationTokens, Choice, Completion, CompletionTokens, Content, Function, Message,
    PromptTokens, ToolCall, Usage,
};
use crate::types::http::HttpResponse;
use crate::types::lenient;
use crate::types::members::{Members, Text};
use crate::types::object::quoted;

/// Members of a message that have a place in OpenAI's format.
const MAPPED: &[&str] = &["id", "type", "role", "model", "content", "usage"];

/// Converts an answer.
///
/// # Errors
/// If it is an error with a status of 200, or no message.
pub(super) fn completion(host: Host, response: &HttpResponse) -> Result<Bytes> {
    let top = Members::of(&response.body).map_err(|_| no_message(host, response))?;
    if top.some("error").is_some() && top.some("content").is_none() {
        return Err(error_of(host, response));
    }
    let blocks = match top.some("content") {
        // Some hosts send the text alone.
        Some(text) if text.starts_with('"') => vec![format!(r#"{{"type":"text","text":{text}}}"#)],
        Some(list) => {
            let blocks: Vec<&RawValue> = serde_json::from_str(list).map_err(|_| no_message(host, response))?;
            blocks.into_iter().map(|block| block.get().to_owned()).filter(|block| block.starts_with('{')).collect()
        }
        None if top.get("content").is_some() && top.some("stop_reason").is_some() => Vec::new(),
        None => return Err(no_message(host, response)),
    };
    let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
    let message = MessageBlocks::by(&blocks).map_err(|_| no_message(host, response))?;
    let usage = top.some("usage").map(usage);
    let fields = beside(&top);
    let completion = Completion {
        id: top.string("id").unwrap_or_default().into(),
        object: COMPLETION,
        created: response.received,
        model: top.string("model").unwrap_or_default().into(),
        choices: vec![Choice {
            finish_reason: finish_reason(top.string("stop_reason").as_deref(), !message.tool_calls.is_empty()),
            message: Some(message.message()),
            ..Choice::default()
        }],
        service_tier: usage.as_ref().and_then(|usage| usage.tier).map(Cow::Borrowed),
        usage: usage.map(|usage| usage.counts),
        native_fields: native_fields(&fields),
        ..Completion::default()
    };
    Ok(completion.to_json())
}

fn no_message(host: Host, response: &HttpResponse) -> Box<Error> {
    errors::not_an_answer(host.name(), response, "something that is no message")
}

/// Converts a stop reason; the native one is kept under `provider_specific_fields`.
pub(super) fn finish_reason(native: Option<&str>, has_calls: bool) -> Option<&'static str> {
    let reason = match native? {
        "tool_use" => "tool_calls",
        "max_tokens" | "model_context_window_exceeded" => "length",
        "refusal" => "content_filter",
        // Also `pause_turn` and `compaction`: the model continues such an answer when it is sent back unchanged.
        _ => "stop",
    };
    Some(completion::finish_reason(reason, has_calls))
}

/// The content of a message's blocks in OpenAI's members.
#[derive(Default)]
pub(super) struct MessageBlocks<'a> {
    text: String,
    reasoning: String,
    tool_calls: Vec<ToolCall<'a>>,
    thinking_blocks: Vec<Value>,
    annotations: Vec<Value>,
    /// The native blocks, if the fields above do not hold all of their content.
    native: Option<Box<RawValue>>,
}

/// Infers the type of a block without a readable one.
fn kind_by_members(block: &Members) -> &'static str {
    let has = |name: &str| block.some(name).is_some();
    match () {
        () if has("thinking") => "thinking",
        () if has("text") => "text",
        () if has("input") && has("name") => "tool_use",
        () => "",
    }
}

impl<'a> MessageBlocks<'a> {
    pub(super) fn by(blocks: &[&'a str]) -> serde_json::Result<Self> {
        let mut message = Self::default();
        let mut is_expressible = true;
        for json in blocks {
            let block = Members::of(json.as_bytes())?;
            let kind = block.string("type").unwrap_or_else(|| kind_by_members(&block).to_owned());
            // OpenAI's members hold one text and then calls, but not the positions of calls among texts.
            is_expressible &= match &*kind {
                "text" => {
                    has_only(&block, &["type", "text"]) && message.text.is_empty() && message.tool_calls.is_empty()
                }
                "tool_use" => has_only(&block, &["type", "id", "name", "input"]),
                _ => false,
            };
            match &*kind {
                "text" => {
                    let text = block.string("text").unwrap_or_default();
                    is_expressible &= !text.trim().is_empty();
                    message.annotations.extend(annotations(block.some("citations"), &message.text, &text));
                    message.text += &text;
                }
                "thinking" => {
                    message.reasoning += &block.string("thinking").unwrap_or_default();
                    message.thinking_blocks.push(serde_json::from_str(json)?);
                }
                "redacted_thinking" => message.thinking_blocks.push(serde_json::from_str(json)?),
                "tool_use" => message.tool_calls.push(ToolCall {
                    id: Some(block.string("id").unwrap_or_default().into()),
                    kind: Some("function"),
                    function: Function {
                        name: block.string("name").map(Cow::Owned),
                        arguments: arguments(block.get("input")),
                    },
                    ..ToolCall::default()
                }),
                _ => {}
            }
        }
        message.native = (!is_expressible && !blocks.is_empty())
            .then(|| raw(&format!(r#"{{"{DIALECT}":{{"content":[{}]}}}}"#, blocks.join(","))));
        Ok(message)
    }

    pub(super) fn native(self) -> Option<Box<RawValue>> {
        self.native
    }

    fn message(self) -> Message<'a> {
        Message {
            role: Some("assistant"),
            content: if self.text.is_empty() { Content::Null } else { Content::Text(self.text.into()) },
            reasoning_content: Some(self.reasoning).filter(|reasoning| !reasoning.is_empty()).map(Cow::Owned),
            tool_calls: self.tool_calls,
            thinking_blocks: self.thinking_blocks,
            annotations: self.annotations,
            native_fields: self.native,
            ..Message::default()
        }
    }
}

fn has_only(block: &Members, names: &[&str]) -> bool {
    block.0.iter().all(|(name, value)| names.contains(&&**name) || value.get() == "null")
}

/// Converts a tool's input into arguments.
pub(super) fn arguments(input: Option<&str>) -> Cow<'_, str> {
    match input {
        None | Some("null") => Cow::Borrowed("{}"),
        // Some hosts send a string with the object in it.
        Some(text) if text.starts_with('"') => serde_json::from_str::<String>(text).unwrap_or_default().into(),
        Some(object) => object.into(),
    }
}

/// Converts citations of web pages. Offsets are in characters of the message's text, of which `before` precedes this
/// block's.
pub(super) fn annotations(citations: Option<&str>, before: &str, text: &str) -> Vec<Value> {
    let citations: Vec<Value> = citations.and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default();
    if citations.is_empty() {
        return Vec::new();
    }
    let start = before.chars().count();
    let end = start + text.chars().count();
    let pages = citations.iter().filter(|citation| citation["type"] == "web_search_result_location");
    let annotation = |page: &Value| json!({"type": "url_citation", "url_citation": {"start_index": start, "end_index": end, "url": page["url"], "title": page["title"]}});
    pages.map(annotation).collect()
}

/// Returns the members of a message that OpenAI's format has no place for, as the inside of a JSON object.
pub(super) fn beside(message: &Members) -> String {
    let members = message.0.iter().filter(|(name, value)| !MAPPED.contains(&&**name) && value.get() != "null");
    let members: Vec<String> = members.map(|(name, value)| format!("{}:{}", quoted(name), value.get())).collect();
    members.join(",")
}

/// Returns these members as a response's native fields.
pub(super) fn native_fields(members: &str) -> Option<Box<RawValue>> {
    (!members.is_empty()).then(|| raw(&format!(r#"{{"{DIALECT}":{{{members}}}}}"#)))
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap_or_else(|_| to_raw_value(&Value::Null).expect("null is JSON"))
}

/// Anthropic's usage, converted.
pub(super) struct Tokens<'a> {
    pub counts: Usage<'a>,
    /// OpenAI's name of the service tier.
    pub tier: Option<&'static str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Counts<'a> {
    #[serde(deserialize_with = "lenient::scalar")]
    input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::scalar")]
    output_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::scalar")]
    cache_creation_input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::scalar")]
    cache_read_input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::object")]
    cache_creation: CacheCreation,
    #[serde(deserialize_with = "lenient::object")]
    output_tokens_details: Details,
    #[serde(borrow, deserialize_with = "lenient::scalar")]
    service_tier: Option<Text<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Details {
    #[serde(deserialize_with = "lenient::scalar")]
    thinking_tokens: u64,
}

/// Tokens written to the cache, by the time for which they are kept:
/// <https://platform.claude.com/docs/en/build-with-claude/prompt-caching#1-hour-cache-duration>
#[derive(Deserialize, Default)]
#[serde(default)]
struct CacheCreation {
    #[serde(deserialize_with = "lenient::scalar")]
    ephemeral_5m_input_tokens: u64,
    #[serde(deserialize_with = "lenient::scalar")]
    ephemeral_1h_input_tokens: u64,
}

/// Converts `usage`. Anthropic's numbers of tokens exclude cached ones, OpenAI's include them.
pub(super) fn usage(json: &str) -> Tokens<'_> {
    let counts: Counts = lenient::object_of(json);
    let (read, written) = (counts.cache_read_input_tokens, counts.cache_creation_input_tokens);
    let prompt_tokens = [counts.input_tokens, read, written].into_iter().flatten().fold(0, u64::saturating_add);
    let completion_tokens = counts.output_tokens.unwrap_or(0);
    let tier = match counts.service_tier.as_ref().map(|tier| &*tier.0) {
        Some("standard") => Some("default"),
        Some("priority") => Some("priority"),
        _ => None,
    };
    let counts = Usage {
        prompt_tokens,
        completion_tokens,
        total_tokens: prompt_tokens.saturating_add(completion_tokens),
        prompt_tokens_details: PromptTokens {
            cached_tokens: read.unwrap_or(0),
            cache_creation_tokens: written,
            cache_creation_token_details: CacheCreationTokens::of(
                counts.cache_creation.ephemeral_5m_input_tokens,
                counts.cache_creation.ephemeral_1h_input_tokens,
            ),
            ..PromptTokens::default()
        },
        completion_tokens_details: CompletionTokens {
            reasoning_tokens: counts.output_tokens_details.thinking_tokens,
            ..CompletionTokens::default()
        },
        native: serde_json::from_str(json).ok(),
    };
    Tokens { counts, tier }
}
