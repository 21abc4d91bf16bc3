//! An answer → a completion: <https://docs.cohere.com/reference/chat>.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::errors;
use super::super::received::{ReceivedCall, specific_fields, value_of};
use super::super::validation::not_a_completion;
use super::{DIALECT, ROW};
use crate::error::{Error, ErrorKind, Result};
use crate::types::completion::{self, COMPLETION, Choice, Completion, Content, Message, PromptTokens, Usage};
use crate::types::http::HttpResponse;
use crate::types::lenient::{self, Scalar};
use crate::types::members::Members;

/// Returns a message's blocks where they hold more than one text does: citations refer to offsets in the blocks.
pub(super) fn native_content(blocks: Vec<Value>, has_citations: bool) -> Option<Value> {
    let is_one_text = matches!(&blocks[..], [Value::Object(block)] if block.len() == 2 && block.get("type").is_some_and(|kind| kind == "text"));
    (!blocks.is_empty() && (has_citations || !is_one_text)).then_some(Value::Array(blocks))
}

/// Converts a finish reason.
///
/// # Errors
/// For the reasons that mean that the answer failed.
pub(super) fn finish_reason(native: &str, has_calls: bool) -> Result<&'static str> {
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

/// Numbers of tokens, which Cohere sends as floats.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Counts {
    #[serde(deserialize_with = "lenient::scalar")]
    input_tokens: u64,
    #[serde(deserialize_with = "lenient::scalar")]
    output_tokens: u64,
}

/// Converts `usage`; `None` if it is no object.
pub(super) fn usage(native: &RawValue) -> Option<Usage<'_>> {
    let members = Members::of(native.get().as_bytes()).ok()?;
    let counts: Counts =
        members.some("tokens").or(members.some("billed_units")).map(lenient::object_of).unwrap_or_default();
    let (prompt, completion) = (counts.input_tokens, counts.output_tokens);
    Some(Usage {
        prompt_tokens: prompt,
        completion_tokens: completion,
        total_tokens: prompt.saturating_add(completion),
        prompt_tokens_details: PromptTokens {
            cached_tokens: members.some("cached_tokens").map_or(0, u64::of),
            ..Default::default()
        },
        native: Some(native),
        ..Default::default()
    })
}

/// Converts log probabilities. Cohere gives them for fragments of text of one token or more; the probability of a
/// fragment is the product of its tokens'.
pub(super) fn logprobs(native: &[Value]) -> Value {
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

/// Converts an answer; `model` is the one that was asked, since Cohere's answers do not name theirs.
///
/// # Errors
/// If it is no answer, or one whose finish reason means that it failed.
pub(super) fn completion(model: &str, response: &HttpResponse) -> Result<Bytes> {
    let wrong = || not_a_completion(ROW.name, response);
    let top = Members::of(&response.body).map_err(|_| wrong())?;
    let Some(message) = top.some("message").filter(|message| message.starts_with('{')) else {
        // A `message` that is text is an error, even with a status of 200.
        return Err(if top.some("message").is_some() { errors::from_response(ROW.name, response) } else { wrong() });
    };
    let message = Members::of(message.as_bytes()).map_err(|_| wrong())?;

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
                let items = value_of(value);
                choice.logprobs = items.as_array().map(|items| logprobs(items));
                native.insert("logprobs".into(), items);
            }
            other => drop(native.insert(other.to_owned(), value_of(value))),
        }
    }
    answer.choices.push(choice);
    answer.provider_specific_fields = specific_fields(DIALECT, native);
    Ok(answer.to_json())
}

/// Keeps a native finish reason that OpenAI's reasons do not tell apart from another one.
pub(super) fn keep_finish_reason(reason: &str, native: &mut Map<String, Value>) {
    if !matches!(reason, "COMPLETE" | "MAX_TOKENS" | "TOOL_CALL" | "") {
        native.insert("finish_reason".into(), reason.into());
    }
}

/// Converts the message of an answer.
fn answered_message<'a>(message: &Members<'a>) -> Message<'a> {
    let mut answered = Message { role: Some("assistant"), content: Content::Null, ..Default::default() };
    let has_citations = message.some("citations").is_some_and(|citations| citations != "[]");
    let mut native = Map::new();
    for (name, value) in &message.0 {
        match &**name {
            _ if matches!(value.get(), "null" | "[]" | "\"\"") => {}
            "role" => {}
            "content" => {
                let blocks = match value_of(value) {
                    Value::Array(blocks) => blocks,
                    text => vec![json!({"type": "text", "text": text})],
                };
                let joined = |kind: &str, name: &str| -> Option<String> {
                    let mut parts = blocks
                        .iter()
                        .filter(|block| block["type"] == kind)
                        .filter_map(|block| block[name].as_str())
                        .peekable();
                    parts.peek().is_some().then(|| parts.collect())
                };
                if let Some(text) = joined("text", "text") {
                    answered.content = Content::Text(text.into());
                }
                answered.reasoning_content = joined("thinking", "thinking").map(Cow::Owned);
                native.extend(native_content(blocks, has_citations).map(|blocks| ("content".to_owned(), blocks)));
            }
            "tool_calls" => {
                let calls: Vec<ReceivedCall<'a>> = lenient::list_of(value.get());
                answered.tool_calls = calls.into_iter().map(|call| call.into_tool_call(None)).collect();
            }
            other => drop(native.insert(other.to_owned(), value_of(value))),
        }
    }
    answered.provider_specific_fields = specific_fields(DIALECT, native);
    answered
}
