//! OpenAI's `tools` and `tool_choice` → Converse's `toolConfig`:
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolConfiguration.html>

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::blocks::{CacheControl, CachePoint, cache_point};
use super::parse::parse;
use crate::error::{Error, Result};
use crate::providers::families::claude::Model;
use crate::providers::families::schema::{tighten, tool_schema};
use crate::types::members::Members;

#[derive(Deserialize)]
struct OpenAiTool<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    function: Option<OpenAiFunction<'a>>,
    #[serde(borrow, default)]
    cache_control: Option<CacheControl<'a>>,
}

#[derive(Deserialize)]
struct OpenAiFunction<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    description: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    parameters: Option<&'a RawValue>,
    #[serde(default)]
    strict: Option<bool>,
    #[serde(borrow, default)]
    cache_control: Option<CacheControl<'a>>,
}

/// Converse's `toolConfig`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolConfig<'a> {
    pub tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<Choice<'a>>,
}

/// An entry of `toolConfig.tools`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Tool<'a> {
    ToolSpec(ToolSpec<'a>),
    CachePoint(CachePoint<'a>),
    /// A tool that is in Converse's format already.
    #[serde(untagged)]
    Native(&'a RawValue),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolSpec<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Cow<'a, str>>,
    input_schema: InputSchema,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
pub(super) struct InputSchema {
    json: Box<RawValue>,
}

/// Appends a tool, or returns its type if that is one that Converse does not have.
///
/// # Errors
/// `InvalidArgument` if it is no tool in OpenAI's or Converse's format.
pub(super) fn push_tool<'a>(
    raw: &'a RawValue,
    claude: Option<Model>,
    tools: &mut Vec<Tool<'a>>,
) -> Result<Option<Cow<'a, str>>> {
    let tool: OpenAiTool = parse("tools", raw.get().as_bytes())?;
    let function = match (tool.kind.as_deref(), tool.function) {
        (Some("function") | None, Some(function)) => function,
        (None, None) => {
            tools.push(Tool::Native(raw));
            return Ok(None);
        }
        (kind, _) => return Ok(Some(kind.unwrap_or("?").to_owned().into())),
    };
    // Without `strict`, tools are called as well, but the arguments may deviate from their schema.
    let is_strict = function.strict == Some(true) && claude.is_none_or(|model| model.has_output_format());
    let schema = tool_schema(function.parameters.map_or("null", RawValue::get), claude.is_some());
    let schema = match is_strict {
        true => {
            let mut schema: Value = parse("tools", schema.as_bytes())?;
            tighten(&mut schema);
            schema.to_string()
        }
        false => schema.into_owned(),
    };
    let spec = ToolSpec {
        name: function.name,
        // Converse rejects an empty description.
        description: function.description.filter(|text| !text.is_empty()),
        input_schema: InputSchema { json: RawValue::from_string(schema).expect("it is JSON") },
        strict: Some(true).filter(|_| is_strict),
    };
    tools.push(Tool::ToolSpec(spec));
    tools.extend(tool.cache_control.or(function.cache_control).as_ref().map(cache_point).map(Tool::CachePoint));
    Ok(None)
}

/// Returns true for OpenAI's choice among some of the tools, which Converse does not have.
pub(super) fn is_allowed_tools(choice: &[u8]) -> bool {
    Members::of(choice).is_ok_and(|choice| choice.string("type").as_deref() == Some("allowed_tools"))
}

/// A `tool_choice`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Choice<'a> {
    Auto {},
    Any {},
    Tool {
        name: Cow<'a, str>,
    },
    /// No tool, which Converse cannot express.
    #[serde(skip)]
    Nothing,
    /// A choice that is in Converse's format already.
    #[serde(untagged)]
    Native(&'a RawValue),
}

impl<'a> Choice<'a> {
    /// Parses OpenAI's parameter; `None` leaves the choice to the model.
    ///
    /// # Errors
    /// `InvalidArgument` for a choice that is in neither format.
    pub fn read(json: &'a [u8]) -> Result<Option<Self>> {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(borrow, default, rename = "type")]
            kind: Option<Cow<'a, str>>,
            #[serde(borrow, default)]
            function: Option<Function<'a>>,
        }
        #[derive(Deserialize)]
        struct Function<'a> {
            #[serde(borrow)]
            name: Cow<'a, str>,
        }
        let wrong = || {
            Error::argument(
                "tool_choice: \"auto\", \"required\", \"none\" or {\"type\": \"function\", \"function\": {\"name\": …}} would be right",
            )
        };
        if json.first() == Some(&b'"') {
            return match parse::<Cow<str>>("tool_choice", json)?.as_ref() {
                "auto" => Ok(Some(Self::Auto {})),
                "required" | "any" => Ok(Some(Self::Any {})),
                "none" => Ok(Some(Self::Nothing)),
                _ => Err(wrong()),
            };
        }
        let named: Named = parse("tool_choice", json)?;
        match (named.kind.as_deref(), named.function) {
            (Some("function"), Some(function)) => Ok(Some(Self::Tool { name: function.name })),
            (None, None) => Ok(Some(Self::Native(parse("tool_choice", json)?))),
            _ => Err(wrong()),
        }
    }

    /// Returns true if the model has to call a tool.
    pub fn forces_a_call(&self) -> bool {
        match self {
            Self::Auto {} | Self::Nothing => false,
            Self::Any {} | Self::Tool { .. } => true,
            Self::Native(choice) => Members::of(choice.get().as_bytes())
                .is_ok_and(|choice| choice.some("any").or(choice.some("tool")).is_some()),
        }
    }

    /// Converts the choice into Anthropic's format: <https://platform.claude.com/docs/en/api/messages#body-tool-choice>
    pub fn for_claude(self, one_at_a_time: bool) -> Value {
        let native: Value;
        let mut choice = match self {
            Self::Nothing => return json!({"type": "none"}),
            Self::Auto {} => json!({"type": "auto"}),
            Self::Any {} => json!({"type": "any"}),
            Self::Tool { name } => json!({"type": "tool", "name": name}),
            Self::Native(raw) => {
                native = serde_json::from_str(raw.get()).unwrap_or_default();
                match (native.get("any"), native.pointer("/tool/name")) {
                    (Some(_), _) => json!({"type": "any"}),
                    (_, Some(name)) => json!({"type": "tool", "name": name}),
                    _ => json!({"type": "auto"}),
                }
            }
        };
        choice["disable_parallel_tool_use"] = one_at_a_time.into();
        choice
    }
}
