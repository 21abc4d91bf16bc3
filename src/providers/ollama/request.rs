//! OpenAI's parameters → the body of a chat request: <https://docs.ollama.com/api/chat>.

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::history::refusals_as_text;
use super::super::unsupported::{CUSTOM_TOOL, asks_for_nothing, drop_or_refuse, drop_or_refuse_because};
use super::messages::messages;
use super::{OPTIONS, ROW};
use crate::error::{Error, Result};
use crate::types::members::Members;
use crate::types::object::ObjectWriter;
use crate::types::params::Params;
use crate::types::request::Request;

/// Writes the body of a request to `model`; the names of dropped parameters are added to `dropped`.
///
/// # Errors
/// If a parameter cannot be read or, without `drop_params`, if Ollama cannot do what it asks for.
pub(super) fn body(model: &str, request: &Request, params: &Params, dropped: &mut Vec<String>) -> Result<Bytes> {
    let mut body = ObjectWriter::with_capacity(params.len() + model.len() + 64);
    body.put("model", model);
    // Never left out: without it, Ollama streams.
    body.put("stream", &request.stream);
    // Options that the caller passes as `options` win over OpenAI's parameters.
    let caller_options = params.get("options").map(Members::of).transpose();
    let caller_options = caller_options
        .map_err(|error| Error::argument(format!("options cannot be sent to ollama: {error}")))?
        .unwrap_or_default();
    let mut options = ObjectWriter::with_capacity(128);
    caller_options.0.iter().for_each(|(name, value)| options.put_raw(name, value.get().as_bytes()));
    let mut option = |name: &str, value: &[u8]| {
        if caller_options.get(name).is_none() {
            options.put_raw(name, value);
        }
    };

    let may_call_tools = params.get("tool_choice") != Some(b"\"none\"");
    for (name, value) in params.iter() {
        match name {
            "messages" => body.put(name, &messages(refusals_as_text(value).as_deref().unwrap_or(value))?),
            "temperature" | "top_p" | "seed" | "frequency_penalty" | "presence_penalty" => option(name, value),
            // The newer name wins where both are passed, and Ollama's own over both.
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
            // Ollama has no `tool_choice`: the model decides.
            "tools" => {}
            "tool_choice" if matches!(value, b"\"auto\"" | b"\"none\"") => {}
            // Ollama's defaults, with nothing to set: one answer, nothing stored, usage at the end of each stream.
            "stream_options" => {}
            "n" | "parallel_tool_calls" | "store" if asks_for_nothing(name, value) => {}
            "n" | "parallel_tool_calls" | "store" | "tool_choice" => {
                drop_or_refuse(ROW.name, name, request.drop_params, dropped)?
            }
            _ => body.put_raw(name, value),
        }
    }
    if !options.is_empty() {
        body.put_raw("options", options.finish());
    }
    Ok(body.finish())
}

/// Writes the functions among the tools as they are; Ollama has no custom tools.
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

/// Converts `response_format` into `format`: `"json"`, a JSON schema, or `None` for text.
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

/// Converts an effort into `think`, which is on or off. Only gpt-oss has levels, which other models reject, and it
/// cannot be turned off: "low" is the least.
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
