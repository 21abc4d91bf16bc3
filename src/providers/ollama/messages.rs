//! OpenAI's messages → Ollama's: <https://docs.ollama.com/api/chat>.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::tools::arguments;
use crate::error::{Error, Result};
use crate::types::media::DataUrl;
use crate::types::members::Members;

/// A message in Ollama's format.
#[derive(Default, Serialize)]
pub(super) struct NativeMessage<'a> {
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

/// A tool call in Ollama's format.
#[derive(Serialize)]
struct NativeCall {
    id: String,
    function: NativeFunction,
}

/// The function of a call, whose arguments are an object rather than text.
#[derive(Serialize)]
struct NativeFunction {
    name: String,
    arguments: Box<RawValue>,
}

/// Converts the messages of a request.
///
/// # Errors
/// If they are not a list of objects, or hold something other than text and inline images.
pub(super) fn messages(json: &[u8]) -> Result<Vec<NativeMessage<'_>>> {
    let wrong = |error| Error::argument(format!("messages cannot be sent to ollama: {error}"));
    let openai: Vec<Members> = serde_json::from_slice(json).map_err(wrong)?;
    let mut messages: Vec<NativeMessage> = Vec::with_capacity(openai.len());
    for message in &openai {
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
                // Older servers assign results by the tool's name alone.
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

/// Reads content into `message`; in a list of parts, each text becomes a line of the content, and images go into a list.
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

/// Returns an image's base64, the only form that Ollama takes.
fn image(url: &str) -> Result<&str> {
    if url.starts_with("http://") || url.starts_with("https://") {
        return Err(Error::argument("ollama fetches no images: pass one as data:image/png;base64,…"));
    }
    Ok(DataUrl::of(url).filter(|url| url.is_base64).map_or(url, |url| url.data))
}

/// Converts the tool calls of an assistant message.
fn calls(json: Option<&str>) -> serde_json::Result<Vec<NativeCall>> {
    #[derive(Deserialize)]
    struct CallerCall<'a> {
        #[serde(default)]
        id: Option<String>,
        #[serde(borrow)]
        function: CallerFunction<'a>,
    }
    #[derive(Deserialize)]
    struct CallerFunction<'a> {
        name: String,
        #[serde(borrow, default)]
        arguments: Option<&'a RawValue>,
    }
    let calls: Vec<CallerCall> = json.map(serde_json::from_str).transpose()?.unwrap_or_default();
    let call = |call: CallerCall| {
        // Arguments that are no object cannot be sent; an empty object takes their place.
        let arguments = arguments::object(call.function.arguments.map(RawValue::get));
        let arguments = arguments.unwrap_or_else(|| RawValue::from_string("{}".to_owned()).expect("an object"));
        NativeCall { id: call.id.unwrap_or_default(), function: NativeFunction { name: call.function.name, arguments } }
    };
    Ok(calls.into_iter().map(call).collect())
}
