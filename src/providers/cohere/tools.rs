//! OpenAI's tools and `tool_choice` → Cohere's: <https://docs.cohere.com/reference/chat>.

use serde_json::{Value, json};

use crate::error::{Error, Result};

/// Tools in Cohere's format.
pub(super) struct Tools {
    pub tools: Vec<Value>,
    /// True if all of them are strict, which is one switch for the whole request here.
    pub strict: bool,
    /// True if there were custom tools, which Cohere does not have.
    pub had_custom: bool,
}

/// Converts the functions among the tools: all, or those named in `only`.
///
/// # Errors
/// If `json` is not a list.
pub(super) fn tools(json: &[u8], only: Option<&[String]>) -> Result<Tools> {
    let mut tools: Vec<Value> = serde_json::from_slice(json)
        .map_err(|error| Error::argument(format!("tools cannot be sent to cohere: {error}")))?;
    let total = tools.len();
    tools.retain(|tool| tool.get("custom").is_none());
    let had_custom = tools.len() < total;
    if let Some(only) = only {
        tools.retain(|tool| {
            tool["function"]["name"].as_str().is_some_and(|name| only.iter().any(|wanted| wanted == name))
        });
    }
    let mut strict = !tools.is_empty();
    for function in tools.iter_mut().filter_map(|tool| tool.get_mut("function")?.as_object_mut()) {
        strict &= function.shift_remove("strict") == Some(Value::Bool(true));
        // OpenAI lets a function be without parameters, Cohere does not.
        function.entry("parameters").or_insert_with(|| json!({"type": "object", "properties": {}}));
    }
    Ok(Tools { tools, strict, had_custom })
}

/// A `tool_choice` in Cohere's format.
#[derive(Default)]
pub(super) struct ToolChoice {
    pub mode: Option<&'static str>,
    /// Names of the only tools to send. Cohere has no choice of a named tool, so the others are left out.
    pub only: Option<Vec<String>>,
}

impl ToolChoice {
    /// Parses OpenAI's parameter.
    ///
    /// # Errors
    /// If it names neither a mode nor a function.
    pub fn read(json: &[u8]) -> Result<Self> {
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
