//! Converse's answers → OpenAI's: content blocks → a message, an answer → a completion.
//!
//! Blocks: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html>

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{NAME, random_id};
use crate::error::Result;
use crate::providers::errors;
use crate::providers::received::{specific_fields, value_of};
use crate::types::completion::{
    self, COMPLETION, CacheCreationTokens, Choice, Completion, CompletionTokens, Content, Function, Message,
    PromptTokens, ToolCall, Usage,
};
use crate::types::http::HttpResponse;
use crate::types::lenient;
use crate::types::members::{Members, read};

/// An answer of Converse.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    output: Output<'a>,
    #[serde(borrow, default, rename = "stopReason", deserialize_with = "lenient::scalar")]
    stop_reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::object")]
    message: NativeMessage<'a>,
}

#[derive(Deserialize, Default)]
struct NativeMessage<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::list")]
    content: Vec<&'a RawValue>,
}

/// A content block, which has one of the members.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Block<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "lenient::object")]
    tool_use: Option<ToolUse<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient::object")]
    reasoning_content: Option<Reasoning<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient::object")]
    citations_content: Option<CitationsContent<'a>>,
}

#[derive(Deserialize)]
struct ToolUse<'a> {
    #[serde(borrow, default, rename = "toolUseId", deserialize_with = "lenient::scalar")]
    id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    name: Cow<'a, str>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type", deserialize_with = "lenient::scalar")]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Reasoning<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::object")]
    reasoning_text: Option<ReasoningText<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    redacted_content: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ReasoningText<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    text: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    signature: Option<Cow<'a, str>>,
}

/// Text with citations of its sources.
#[derive(Deserialize, Default)]
#[serde(default)]
struct CitationsContent<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::list")]
    content: Vec<CitedText<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct CitedText<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    text: Cow<'a, str>,
}

/// Converts an answer.
///
/// # Errors
/// `ApiResponseValidation` if it is no answer of Converse.
pub(super) fn decode(model: &str, response: &HttpResponse) -> Result<Bytes> {
    let invalid =
        |why: &str| errors::not_an_answer(NAME, response, &format!("something that is no Converse answer ({why})"));
    let answer: Answer = read(&response.body).map_err(|error| invalid(&error.to_string()))?;
    let blocks: Vec<&RawValue> =
        answer.output.message.content.into_iter().filter(|block| block.get().starts_with('{')).collect();
    let message = message(&blocks);
    let has_calls = !message.tool_calls.is_empty();
    let top = Members::of(&response.body).map_err(|error| invalid(&error.to_string()))?;
    let rest = top.0.iter().filter(|(name, _)| !matches!(&**name, "output" | "usage"));
    let native = rest.map(|(name, value)| (name.to_string(), value_of(value))).collect();
    let completion = Completion {
        id: response.headers.get("x-amzn-requestid").map_or_else(|| random_id().into(), Cow::Borrowed),
        object: COMPLETION,
        created: response.received,
        // Converse's answers do not name their model.
        model: model.into(),
        service_tier: service_tier(&native).map(Cow::Owned),
        choices: vec![Choice {
            message: Some(message),
            finish_reason: answer.stop_reason.as_deref().map(|reason| finish_reason(reason, has_calls)),
            ..Choice::default()
        }],
        usage: answer.usage.and_then(usage),
        provider_specific_fields: specific_fields(NAME, native),
        ..Completion::default()
    };
    Ok(completion.to_json())
}

/// Converts content blocks. The blocks are kept under `provider_specific_fields` if OpenAI's members do not hold all of
/// their content.
pub(super) fn message<'a>(content: &[&'a RawValue]) -> Message<'a> {
    let mut text: Option<Cow<'a, str>> = None;
    let mut reasoning: Option<Cow<'a, str>> = None;
    let mut message = Message { role: Some("assistant"), ..Message::default() };
    for raw in content {
        let block: Block<'a> = lenient::object_of(raw.get());
        if let Some(more) = block.text {
            join(&mut text, more);
        }
        for cited in block.citations_content.into_iter().flat_map(|cited| cited.content) {
            join(&mut text, cited.text);
        }
        if let Some(thought) = block.reasoning_content {
            message.thinking_blocks.push(thinking_block(&thought));
            if let Some(more) = thought.reasoning_text {
                join(&mut reasoning, more.text);
            }
        }
        if let Some(call) = block.tool_use.filter(|call| !is_server_tool(call.kind.as_deref())) {
            let function = Function { name: Some(call.name), arguments: call.input.map_or("{}", RawValue::get).into() };
            message.tool_calls.push(ToolCall { index: None, id: Some(call.id), kind: Some("function"), function });
        }
    }
    message.content = text.map_or(Content::Null, Content::Text);
    message.reasoning_content = reasoning;
    if !is_expressible(content) {
        let blocks = content.iter().map(|block| value_of(block)).collect();
        message.provider_specific_fields =
            specific_fields(NAME, Map::from_iter([("content".to_owned(), Value::Array(blocks))]));
    }
    message
}

/// Returns true for the type of a tool that the provider runs, whose calls the caller does not see.
pub(super) fn is_server_tool(kind: Option<&str>) -> bool {
    kind == Some("server_tool_use")
}

/// Returns true if OpenAI's members hold all of the content: at most one text, then calls without native members.
fn is_expressible(content: &[&RawValue]) -> bool {
    content.iter().enumerate().all(|(index, raw)| {
        let Ok(block) = Members::of(raw.get().as_bytes()) else { return false };
        match block.0.as_slice() {
            [(name, _)] if name == "text" => index == 0,
            [(name, call)] if name == "toolUse" => {
                let known = |name: &str| matches!(name, "toolUseId" | "name" | "input");
                Members::of(call.get().as_bytes())
                    .is_ok_and(|call| call.0.len() == 3 && call.0.iter().all(|(name, _)| known(name)))
            }
            _ => false,
        }
    })
}

/// Appends text, without copying the first one.
fn join<'a>(known: &mut Option<Cow<'a, str>>, more: Cow<'a, str>) {
    match known {
        Some(known) => known.to_mut().push_str(&more),
        None => *known = Some(more),
    }
}

/// Converts a reasoning block into Anthropic's format, which LiteLLM has on every provider.
fn thinking_block(thought: &Reasoning) -> Value {
    match (&thought.reasoning_text, &thought.redacted_content) {
        (None, Some(data)) => json!({"type": "redacted_thinking", "data": data}),
        (text, _) => {
            let mut block = json!({"type": "thinking", "thinking": text.as_ref().map_or("", |text| &text.text)});
            if let Some(signature) = text.as_ref().and_then(|text| text.signature.as_ref()) {
                block["signature"] = Value::from(signature.as_ref());
            }
            block
        }
    }
}

/// Converts a stop reason; the native one is kept in `provider_specific_fields`.
pub(super) fn finish_reason(stop_reason: &str, has_calls: bool) -> &'static str {
    let reason = match stop_reason {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_calls",
        "guardrail_intervened" | "content_filtered" => "content_filter",
        // `end_turn`, `stop_sequence`, and the reasons for malformed output (`malformed_…`).
        _ => "stop",
    };
    completion::finish_reason(reason, has_calls)
}

/// Numbers of tokens in Converse's format.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Tokens {
    #[serde(deserialize_with = "lenient::scalar")]
    input_tokens: u64,
    #[serde(deserialize_with = "lenient::scalar")]
    output_tokens: u64,
    #[serde(deserialize_with = "lenient::scalar")]
    total_tokens: u64,
    #[serde(deserialize_with = "lenient::scalar")]
    cache_read_input_tokens: u64,
    #[serde(deserialize_with = "lenient::scalar")]
    cache_write_input_tokens: u64,
    #[serde(deserialize_with = "lenient::list")]
    cache_details: Vec<CacheDetail>,
}

/// Tokens written to the cache that are kept for this time:
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CacheDetail.html>
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct CacheDetail {
    #[serde(deserialize_with = "lenient::scalar")]
    ttl: String,
    #[serde(deserialize_with = "lenient::scalar")]
    input_tokens: u64,
}

/// Converts the numbers of tokens. Converse's `inputTokens` excludes those that the cache read or wrote; its total
/// includes them.
pub(super) fn usage(native: &RawValue) -> Option<Usage<'_>> {
    let tokens: Tokens = serde_json::from_str(native.get()).ok()?;
    let prompt_tokens = match tokens.total_tokens.checked_sub(tokens.output_tokens) {
        Some(prompt) if tokens.total_tokens > 0 => prompt,
        _ => [tokens.cache_read_input_tokens, tokens.cache_write_input_tokens]
            .into_iter()
            .fold(tokens.input_tokens, u64::saturating_add),
    };
    let kept = |ttl: &str| {
        let details = tokens.cache_details.iter().filter(|detail| detail.ttl == ttl);
        details.map(|detail| detail.input_tokens).fold(0, u64::saturating_add)
    };
    Some(Usage {
        prompt_tokens,
        completion_tokens: tokens.output_tokens,
        total_tokens: prompt_tokens.saturating_add(tokens.output_tokens),
        prompt_tokens_details: PromptTokens {
            cached_tokens: tokens.cache_read_input_tokens,
            cache_creation_tokens: Some(tokens.cache_write_input_tokens).filter(|written| *written > 0),
            cache_creation_token_details: CacheCreationTokens::of(kept("5m"), kept("1h")),
            ..PromptTokens::default()
        },
        completion_tokens_details: CompletionTokens::default(),
        native: Some(native),
    })
}

/// Returns the service tier of an answer.
pub(super) fn service_tier(native: &Map<String, Value>) -> Option<String> {
    native.get("serviceTier")?.get("type")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::types::http::Headers;

    fn decoded(body: Value) -> Value {
        let mut map = http::HeaderMap::new();
        map.insert("x-amzn-requestid", "r-1".parse().unwrap());
        let response =
            HttpResponse { received: 7, status: 200, headers: Headers::from(&map), body: body.to_string().into() };
        serde_json::from_slice(&decode("model-x", &response).unwrap()).unwrap()
    }

    fn answer(content: Value, stop_reason: &str) -> Value {
        json!({
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": stop_reason,
            "usage": {"inputTokens": 3, "outputTokens": 5, "totalTokens": 19, "cacheReadInputTokens": 11, "serverToolUsage": {}},
            "metrics": {"latencyMs": 42},
        })
    }

    #[test]
    fn text_and_calls_need_no_native_blocks() {
        let call = json!({"toolUse": {"toolUseId": "t1", "name": "f", "input": {"x": 1.50}}});
        let completion = decoded(answer(json!([{"text": "a"}, call]), "tool_use"));
        assert_eq!(
            completion["choices"][0],
            json!({
                "index": 0,
                "message": {"role": "assistant", "content": "a", "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1.5}"}}]},
                "finish_reason": "tool_calls",
            })
        );
        assert_eq!((&completion["id"], &completion["created"]), (&json!("r-1"), &json!(7)));
        assert_eq!(completion["usage"]["prompt_tokens"], 14);
        assert_eq!(completion["usage"]["prompt_tokens_details"]["cached_tokens"], 11);
        assert_eq!(completion["usage"]["native"]["inputTokens"], 3);
        let mut written = answer(json!([{"text": "a"}]), "end_turn");
        written["usage"] = json!({"inputTokens": 3, "outputTokens": 5, "totalTokens": 39, "cacheReadInputTokens": 11, "cacheWriteInputTokens": 20,
            "cacheDetails": [{"ttl": "1h", "inputTokens": 15}, {"ttl": "5m", "inputTokens": 5}, null]});
        let expected = crate::types::usage::Usage {
            input: 3,
            cached_read: 11,
            cache_write: 5,
            cache_write_hour: 15,
            output: 5,
            ..Default::default()
        };
        let found = crate::types::usage::Usage::of(
            crate::types::operation::Operation::Chat,
            decoded(written).to_string().as_bytes(),
        );
        assert_eq!(found, Some(expected));
        assert_eq!(
            completion["provider_specific_fields"]["bedrock"],
            json!({"stopReason": "tool_use", "metrics": {"latencyMs": 42}})
        );
    }

    #[test]
    fn calls_want_to_be_made_whatever_the_stop_reason() {
        let call = json!({"toolUse": {"toolUseId": "t1", "name": "f", "input": {}}});
        let server = json!({"toolUse": {"toolUseId": "t1", "name": "f", "input": {}, "type": "server_tool_use"}});
        for (block, reason, expected) in [
            (&call, "end_turn", "tool_calls"),
            (&call, "stop_sequence", "tool_calls"),
            (&call, "max_tokens", "length"),
            (&call, "guardrail_intervened", "content_filter"),
            (&server, "end_turn", "stop"),
        ] {
            assert_eq!(decoded(answer(json!([block]), reason))["choices"][0]["finish_reason"], expected, "{reason}");
        }
    }

    #[test]
    fn what_the_message_cannot_say_goes_along() {
        let content = json!([
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s=="}}},
            {"reasoningContent": {"redactedContent": "AAAA"}},
            {"citationsContent": {"content": [{"text": "b"}], "citations": [{"title": "t"}]}},
            {"text": "c"},
            {"toolUse": {"toolUseId": "s1", "name": "search", "input": {}, "type": "server_tool_use"}},
            {"toolUse": {"toolUseId": "t1", "name": "f", "input": {}, "type": "tool_use"}},
        ]);
        let message = &decoded(answer(content.clone(), "end_turn"))["choices"][0]["message"];
        assert_eq!(message["content"], "bc");
        assert_eq!(message["reasoning_content"], "hm");
        assert_eq!(
            message["thinking_blocks"],
            json!([{"type": "thinking", "thinking": "hm", "signature": "s=="}, {"type": "redacted_thinking", "data": "AAAA"}])
        );
        assert_eq!(message["tool_calls"].as_array().unwrap().len(), 1);
        assert_eq!(message["provider_specific_fields"]["bedrock"]["content"], content);
    }

    #[test]
    fn an_answer_that_is_none_is_refused() {
        let body = Bytes::from_static(
            br#"{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}"#,
        );
        let response = HttpResponse { received: 0, status: 200, headers: Headers::default(), body };
        assert_eq!(decode("model-x", &response).unwrap_err().kind, ErrorKind::ApiResponseValidation);
    }
}
