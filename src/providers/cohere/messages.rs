//! OpenAI's messages → Cohere's: <https://docs.cohere.com/reference/chat>.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::DIALECT;
use crate::error::{Error, Result};
use crate::types::members::Members;

/// A message in Cohere's format.
#[derive(Default, Serialize)]
pub(super) struct NativeMessage<'a> {
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

/// A tool call, which has the same members in OpenAI's format and in Cohere's; other members are left out.
#[derive(Default, Serialize, Deserialize)]
struct NativeCall<'a> {
    #[serde(borrow, default)]
    id: Cow<'a, str>,
    #[serde(rename = "type", borrow, default = "function")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    function: NativeFunction<'a>,
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

/// Converts the messages of a request.
///
/// # Errors
/// If they are not a list of objects, or hold files or audio, which Cohere does not take.
pub(super) fn messages(json: &[u8]) -> Result<Vec<NativeMessage<'_>>> {
    let wrong = |error| Error::argument(format!("messages cannot be sent to cohere: {error}"));
    let messages: Vec<Members> = serde_json::from_slice(json).map_err(wrong)?;
    messages.iter().try_for_each(check_parts)?;
    messages.iter().map(message).collect::<serde_json::Result<_>>().map_err(wrong)
}

/// Rejects the types of content part that OpenAI has and Cohere lacks.
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

/// Converts a message; an assistant's whose text is unchanged gets back the native members it came with.
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
        // Citations refer to offsets in the text, which a changed text invalidates.
        citations: raw(&native, "citations").filter(|_| blocks.is_some() && is_unchanged),
        tool_calls: calls,
        tool_call_id: None,
    })
}

/// Joins the texts of native blocks; `None` if `json` is no list of objects.
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
