//! OpenAI's parameters → the body of a chat request: <https://docs.cohere.com/reference/chat>.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::history::refusals_as_text;
use super::super::media;
use super::super::unsupported::{
    CUSTOM_TOOL, asks_for_nothing, drop_or_refuse, drop_or_refuse_because, without_unsupported,
};
use super::ROW;
use super::messages::messages;
use super::tools::{ToolChoice, Tools, tools};
use crate::error::Result;
use crate::types::object::ObjectWriter;
use crate::types::request::Request;

/// Writes the body of a request to `model`; the names of dropped parameters are left in `dropped`.
///
/// # Errors
/// If a parameter cannot be read or, without `drop_params`, if Cohere has no such parameter.
pub(super) fn body(model: &str, request: &Request, dropped: &mut Vec<String>) -> Result<Bytes> {
    let (params, already_dropped) = without_unsupported(&ROW, request)?;
    *dropped = already_dropped;
    let mut body = ObjectWriter::with_capacity(params.len() + model.len() + 64);
    body.put("model", model);
    body.put("stream", &request.stream);
    let choice = params.get("tool_choice").map(ToolChoice::read).transpose()?.unwrap_or_default();
    let has_native_name =
        |name: &str| ROW.spelled.iter().any(|(openai, own)| *openai == name && params.get(own).is_some());
    for (name, value) in params.iter() {
        match name {
            "messages" => {
                let text = refusals_as_text(value);
                let value = text.as_deref().unwrap_or(value);
                let written = media::normalise(value);
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
            // Cohere's own name wins where both are passed.
            _ if has_native_name(name) => {}
            "max_completion_tokens" => body.put_raw("max_tokens", value),
            "top_p" => body.put_raw("p", value),
            "stop" => match value.trim_ascii().first() {
                Some(b'"') => body.put_raw("stop_sequences", [b"[", value, b"]"].concat()),
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
            // Cohere's defaults, with nothing to set: one answer, parallel calls, nothing stored, usage at the end of
            // each stream.
            "stream_options" => {}
            "n" | "parallel_tool_calls" | "store" if asks_for_nothing(name, value) => {}
            "n" | "parallel_tool_calls" | "store" => drop_or_refuse(ROW.name, name, request.drop_params, dropped)?,
            _ => body.put_raw(name, value),
        }
    }
    Ok(body.finish())
}

/// Converts OpenAI's `json_schema` format; `None` for a format that Cohere takes as it is.
fn response_format(json: &[u8]) -> Option<Value> {
    let mut format: Value = serde_json::from_slice(json).ok()?;
    (format["type"] == "json_schema").then(|| match format["json_schema"]["schema"].take() {
        Value::Null => json!({"type": "json_object"}),
        schema => json!({"type": "json_object", "json_schema": schema}),
    })
}

/// Converts an effort into `thinking`, which is on or off with a budget of tokens. The budgets are chosen here: Cohere
/// documents none.
fn thinking_for(effort: &[u8]) -> Value {
    match effort {
        b"\"none\"" => json!({"type": "disabled"}),
        b"\"minimal\"" | b"\"low\"" => json!({"type": "enabled", "token_budget": 1024}),
        b"\"medium\"" => json!({"type": "enabled", "token_budget": 8192}),
        _ => json!({"type": "enabled"}),
    }
}

/// Converts `thinking` from Anthropic's form, which LiteLLM's callers write; `None` where it is Cohere's already.
fn thinking_with_budget(json: &[u8]) -> Option<Value> {
    let mut thinking: Map<String, Value> = serde_json::from_slice(json).ok()?;
    let budget = thinking.shift_remove("budget_tokens")?;
    thinking.insert("token_budget".into(), budget);
    Some(thinking.into())
}
