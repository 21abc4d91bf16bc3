//! OpenAI's parameters → Converse's request.
//!
//! Members: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_RequestBody>
//! Structured output: <https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html>

use std::borrow::Cow;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::messages::{CacheControl, CachePoint, cache_point, conversation};
use super::reasoning::{Told, is_claude, told};
use super::{NAME, place};
use crate::error::{Error, Result};
use crate::providers::openai_compatible::bearer;
use crate::providers::unsupported::{asks_for_nothing, drop_or_refuse_because};
use crate::providers::{Deployment, Encoded};
use crate::types::chat::Request;
use crate::types::http::HttpRequest;
use crate::types::members::Members;
use crate::types::params::Params;

/// OpenAI's parameters that Converse has no place for, whatever the model.
pub(super) const UNSUPPORTED: &[&str] = &[
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "modalities",
    "moderation",
    "n",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "seed",
    "store",
    "top_logprobs",
    "user",
    "verbosity",
    "web_search_options",
];

/// Converse's own members that are sent as they are; other names that OpenAI does not define go to the model.
const NATIVE: &[&str] = &[
    "additionalModelResponseFieldPaths",
    "guardrailConfig",
    "performanceConfig",
    "promptVariables",
    "requestMetadata",
    "serviceTier",
    "toolConfig",
];

/// What an answer may take beside a budget for reasoning, where the caller names no limit.
const ANSWER_TOKENS: u64 = 4096;
/// The smallest budget that Claude takes.
const SMALLEST_BUDGET: u64 = 1024;

pub(super) fn encode(deployment: &Deployment, request: &Request) -> Result<Encoded> {
    let mut encoder = Encoder {
        model: place::model(deployment),
        request,
        dropped_params: Vec::new(),
        top: Params::default(),
        inference: Params::default(),
        output: Params::default(),
        additional: Params::default(),
    };
    let body = encoder.body()?;
    let (operation, accepted) = match request.stream {
        true => ("converse-stream", "application/vnd.amazon.eventstream"),
        false => ("converse", "application/json"),
    };
    let (uri, headers) = (place::address(deployment, operation)?, headers(deployment, accepted)?);
    Ok(Encoded { request: HttpRequest::post(uri, headers, body), dropped_params: encoder.dropped_params })
}

/// The header fields of a request, with the bearer's key if there is one.
pub(super) fn headers(deployment: &Deployment, accepted: &'static str) -> Result<Vec<(HeaderName, HeaderValue)>> {
    let mut headers = Vec::with_capacity(6);
    if let Some(key) = &deployment.api_key {
        headers.push((AUTHORIZATION, bearer(key.expose())?));
    }
    headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    headers.push((ACCEPT, HeaderValue::from_static(accepted)));
    Ok(headers)
}

struct Encoder<'a> {
    model: &'a str,
    request: &'a Request,
    dropped_params: Vec<String>,
    /// Members of the request beside those below.
    top: Params,
    /// `inferenceConfig`.
    inference: Params,
    /// `outputConfig`.
    output: Params,
    /// `additionalModelRequestFields`.
    additional: Params,
}

impl<'a> Encoder<'a> {
    fn body(&mut self) -> Result<Vec<u8>> {
        let params = &self.request.params;
        let conversation = conversation(params.get("messages").unwrap_or(b"[]"), self.model)?;
        for (name, value) in params.iter() {
            self.param(name, value)?;
        }
        self.tools(conversation.has_tool_blocks())?;
        self.reasoning_effort()?;

        let mut body = Vec::with_capacity(params.len() + 64);
        body.push(b'{');
        if !conversation.turns.is_empty() {
            write_member(&mut body, "messages", &conversation.turns);
        }
        if !conversation.system.is_empty() {
            write_member(&mut body, "system", &conversation.system);
        }
        for (name, members) in [
            ("inferenceConfig", &self.inference),
            ("outputConfig", &self.output),
            ("additionalModelRequestFields", &self.additional),
        ] {
            if !members.is_empty() {
                let object = object(members);
                self.top.set(name, &object);
            }
        }
        let rest = object(&self.top);
        match (rest.as_slice(), body.len()) {
            (b"{}", _) => body.push(b'}'),
            (rest, 1) => body.extend_from_slice(&rest[1..]),
            (rest, _) => {
                body.push(b',');
                body.extend_from_slice(&rest[1..]);
            }
        }
        Ok(body)
    }

    fn param(&mut self, name: &str, value: &[u8]) -> Result<()> {
        match name {
            // Looked at together with others.
            "messages" | "tools" | "tool_choice" | "parallel_tool_calls" | "reasoning_effort" => {}
            // Converse's streams always end with the usage.
            "stream_options" => {}
            "max_tokens" if self.request.params.get("max_completion_tokens").is_some() => {}
            "max_tokens" | "max_completion_tokens" => self.inference.set("maxTokens", value),
            "temperature" => self.inference.set("temperature", value),
            "top_p" => self.inference.set("topP", value),
            "stop" if value.first() == Some(&b'"') => {
                self.inference.set("stopSequences", &[b"[", value, b"]"].concat())
            }
            "stop" => self.inference.set("stopSequences", value),
            "response_format" => self.response_format(value)?,
            "service_tier" => match parse::<Cow<str>>(name, value)?.as_ref() {
                "auto" => {}
                // Other names of OpenAI's, and no names of Bedrock's.
                tier @ ("scale" | "fast") => self.unsupported("service_tier", &format!(" of {tier:?}"))?,
                tier => self.top.set("serviceTier", json!({"type": tier}).to_string().as_bytes()),
            },
            // Both are up to 16 pairs of text that the provider's logs are searched by.
            "metadata" => self.top.set("requestMetadata", value),
            "inferenceConfig" => self.inference.merge_json(value)?,
            "outputConfig" => self.output.merge_json(value)?,
            "additionalModelRequestFields" => self.additional.merge_json(value)?,
            _ if NATIVE.contains(&name) => self.top.set(name, value),
            _ if UNSUPPORTED.contains(&name) => {
                if !asks_for_nothing(name, value) {
                    self.unsupported(name, "")?;
                }
            }
            _ => self.additional.set(name, value),
        }
        Ok(())
    }

    /// Refuses a parameter, or leaves it out if the caller wants that.
    fn unsupported(&mut self, name: &str, why: &str) -> Result<()> {
        drop_or_refuse_because(NAME, name, why, self.request.drop_params, &mut self.dropped_params)
    }

    fn response_format(&mut self, value: &[u8]) -> Result<()> {
        let format: ResponseFormat = parse("response_format", value)?;
        match (&*format.kind, format.json_schema) {
            ("text", _) => Ok(()),
            ("json_schema", Some(wanted)) => {
                let schema =
                    JsonSchema { name: wanted.name, description: wanted.description, schema: wanted.schema.get() };
                let text_format = json!({"type": "json_schema", "structure": {"jsonSchema": schema}});
                self.output.set("textFormat", text_format.to_string().as_bytes());
                Ok(())
            }
            ("json_schema", None) => Err(Error::argument("response_format lacks its json_schema")),
            (kind, _) => self.unsupported("response_format", &format!(" of type {kind} (json_schema is there)")),
        }
    }

    /// `tools`, and which of them are to be used.
    fn tools(&mut self, has_tool_blocks: bool) -> Result<()> {
        let params = &self.request.params;
        let one_at_a_time = params.get("parallel_tool_calls") == Some(b"false");
        let Some(tools) = params.get("tools").filter(|tools| *tools != b"[]") else { return Ok(()) };
        let mut specs = Vec::new();
        for tool in parse::<Vec<&RawValue>>("tools", tools)? {
            if let Some(kind) = push_tool(tool, &mut specs)? {
                self.unsupported("tools", &format!(" with one of type {kind} in it"))?;
            }
        }
        if specs.is_empty() {
            return Ok(());
        }
        let mut choice = match params.get("tool_choice") {
            Some(choice) if is_allowed_tools(choice) => {
                self.unsupported("tool_choice", " of type allowed_tools")?;
                None
            }
            Some(choice) => Choice::read(choice)?,
            None => None,
        };
        let claude = is_claude(self.model);
        match choice {
            // Converse cannot forbid calls: without tools there are none. A history of calls wants its tools, though.
            Some(Choice::Nothing) if !has_tool_blocks => return Ok(()),
            Some(Choice::Nothing) if !claude => {
                self.unsupported("tool_choice", " none once tools were called")?;
                choice = None;
            }
            _ => {}
        }
        if one_at_a_time && !claude {
            self.unsupported("parallel_tool_calls", " on this model")?;
        } else if (one_at_a_time || matches!(choice, Some(Choice::Nothing)))
            && self.additional.get("tool_choice").is_none()
        {
            // Claude's own choice says more than Converse's; the two must not contradict each other, so one is sent.
            let own = choice.take().unwrap_or(Choice::Auto {}).for_claude(one_at_a_time);
            self.additional.set("tool_choice", own.to_string().as_bytes());
        }
        if self.top.get("toolConfig").is_none() {
            let config = ToolConfig { tools: specs, tool_choice: choice };
            self.top.set("toolConfig", &serde_json::to_vec(&config).expect("these structs are JSON"));
        }
        Ok(())
    }

    fn reasoning_effort(&mut self) -> Result<()> {
        let Some(effort) = self.request.params.get("reasoning_effort") else { return Ok(()) };
        let effort: Cow<str> = parse("reasoning_effort", effort)?;
        let Some(told) = told(self.model, &effort) else {
            return Err(Error::argument(format!(
                "reasoning_effort {effort:?}: none, minimal, low, medium, high, xhigh or max would be right"
            )));
        };
        // The caller's own words for the model go first.
        if self.additional.get("thinking").is_some() {
            return Ok(());
        }
        match told {
            Told::Nothing => {}
            Told::Unsupported => self.unsupported("reasoning_effort", &format!(" {effort} on this model"))?,
            Told::Effort(effort) => set_if_absent(&mut self.output, "effort", json!(effort)),
            Told::Additional(Value::Object(members)) => {
                members.into_iter().for_each(|(name, value)| set_if_absent(&mut self.additional, &name, value));
            }
            Told::Additional(_) => {}
            Told::Budget(budget) => {
                // The caller's limit holds for reasoning and answer together: half of it is left for the answer.
                let limit = self.inference.get("maxTokens").and_then(|limit| serde_json::from_slice::<u64>(limit).ok());
                let budget = limit.map_or(budget, |limit| budget.min(limit / 2).max(SMALLEST_BUDGET));
                match limit {
                    None => self.inference.set("maxTokens", (budget + ANSWER_TOKENS).to_string().as_bytes()),
                    Some(limit) if limit <= SMALLEST_BUDGET => {
                        self.dropped_params.push("reasoning_effort".to_owned());
                        return Ok(());
                    }
                    Some(_) => {}
                }
                set_if_absent(&mut self.additional, "thinking", json!({"type": "enabled", "budget_tokens": budget}));
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct ResponseFormat<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    json_schema: Option<WantedSchema<'a>>,
}

#[derive(Deserialize)]
struct WantedSchema<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    description: Option<Cow<'a, str>>,
    #[serde(borrow)]
    schema: &'a RawValue,
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Cow<'a, str>>,
    /// JSON in a string.
    schema: &'a str,
}

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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'a> {
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Tool<'a> {
    ToolSpec(ToolSpec<'a>),
    CachePoint(CachePoint<'a>),
    /// A tool in Converse's own words.
    #[serde(untagged)]
    Native(&'a RawValue),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolSpec<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Cow<'a, str>>,
    input_schema: InputSchema<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
struct InputSchema<'a> {
    json: Cow<'a, RawValue>,
}

/// Adds a tool; gives back its type if that is one that Converse does not have.
fn push_tool<'a>(raw: &'a RawValue, tools: &mut Vec<Tool<'a>>) -> Result<Option<Cow<'a, str>>> {
    let tool: OpenAiTool = parse("tools", raw.get().as_bytes())?;
    let function = match (tool.kind.as_deref(), tool.function) {
        (Some("function") | None, Some(function)) => function,
        (None, None) => {
            tools.push(Tool::Native(raw));
            return Ok(None);
        }
        (kind, _) => return Ok(Some(kind.unwrap_or("?").to_owned().into())),
    };
    let any = || RawValue::from_string(r#"{"type":"object","properties":{}}"#.to_owned()).expect("this is JSON");
    let schema = function.parameters.filter(|schema| !matches!(schema.get(), "null" | "{}"));
    let spec = ToolSpec {
        name: function.name,
        // An empty one is refused.
        description: function.description.filter(|text| !text.is_empty()),
        input_schema: InputSchema { json: schema.map_or_else(|| Cow::Owned(any()), Cow::Borrowed) },
        strict: function.strict.filter(|strict| *strict),
    };
    tools.push(Tool::ToolSpec(spec));
    tools.extend(tool.cache_control.or(function.cache_control).as_ref().map(cache_point).map(Tool::CachePoint));
    Ok(None)
}

/// OpenAI's way of allowing a few tools of many, which Converse does not have.
fn is_allowed_tools(choice: &[u8]) -> bool {
    Members::of(choice).is_ok_and(|choice| choice.string("type").as_deref() == Some("allowed_tools"))
}

/// Which tools are to be used.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Choice<'a> {
    Auto {},
    Any {},
    Tool {
        name: Cow<'a, str>,
    },
    /// None at all; Converse has no word for it.
    #[serde(skip)]
    Nothing,
    /// A choice in Converse's own words.
    #[serde(untagged)]
    Native(&'a RawValue),
}

impl<'a> Choice<'a> {
    /// `None`: left to the provider, which is what `auto` is.
    fn read(json: &'a [u8]) -> Result<Option<Self>> {
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
                "required" => Ok(Some(Self::Any {})),
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

    /// The choice as Anthropic's API has it: <https://platform.claude.com/docs/en/api/messages#body-tool-choice>
    fn for_claude(self, one_at_a_time: bool) -> Value {
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

fn parse<'a, T: Deserialize<'a>>(name: &str, json: &'a [u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|error| Error::argument(format!("{name}: {error}")))
}

fn set_if_absent(params: &mut Params, name: &str, value: Value) {
    if params.get(name).is_none() {
        params.set(name, value.to_string().as_bytes());
    }
}

/// The members as a JSON object.
fn object(params: &Params) -> Vec<u8> {
    let mut out = Vec::with_capacity(params.len() + 2);
    params.write_members(&[], &mut out);
    match out.first_mut() {
        // Members come with a comma before each.
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
    out
}

fn write_member(out: &mut Vec<u8>, name: &str, value: &impl Serialize) {
    if out.len() > 1 {
        out.push(b',');
    }
    serde_json::to_writer(&mut *out, name).expect("a string is JSON");
    out.push(b':');
    serde_json::to_writer(out, value).expect("these structs are JSON");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::types::chat::Secret;

    fn encoded(model: &str, params: Value, drop_params: bool) -> Result<(Value, Vec<String>)> {
        let deployment = Deployment {
            provider: &super::super::Bedrock,
            model: model.into(),
            base_url: place::BASE_URL.into(),
            api_key: None,
            api_version: None,
            settings: vec![("aws_region_name", Secret::new("us-east-1"))],
            credentials: Default::default(),
        };
        let params = Params::from_json(params.to_string().as_bytes())?;
        let Encoded { request, dropped_params } =
            encode(&deployment, &Request { params, drop_params, ..Default::default() })?;
        Ok((serde_json::from_slice(&request.body).unwrap(), dropped_params))
    }

    fn body(model: &str, params: Value) -> Value {
        encoded(model, params, false).unwrap().0
    }

    const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
    const NOVA: &str = "amazon.nova-pro-v1:0";

    fn tools() -> Value {
        json!([{"type": "function", "function": {"name": "f"}}])
    }

    #[test]
    fn only_claude_is_shown_signed_thinking() {
        let thought = json!({"type": "thinking", "thinking": "t", "signature": "s"});
        let message = json!({"role": "assistant", "content": "a", "thinking_blocks": [thought]});
        let blocks = |model: &str| body(model, json!({"messages": [message]}))["messages"][0]["content"].take();
        let signed = json!({"reasoningContent": {"reasoningText": {"text": "t", "signature": "s"}}});
        assert_eq!(blocks(CLAUDE), json!([signed, {"text": "a"}]));
        assert_eq!(blocks(NOVA), json!([{"text": "a"}]));
    }

    #[test]
    fn every_choice_of_tools() {
        let choice = |model, choice: Value| body(model, json!({"tools": tools(), "tool_choice": choice}));
        assert_eq!(choice(NOVA, json!("auto"))["toolConfig"]["toolChoice"], json!({"auto": {}}));
        assert_eq!(choice(NOVA, json!("required"))["toolConfig"]["toolChoice"], json!({"any": {}}));
        assert_eq!(
            choice(NOVA, json!({"type": "function", "function": {"name": "f"}}))["toolConfig"]["toolChoice"],
            json!({"tool": {"name": "f"}})
        );
        assert_eq!(choice(NOVA, json!({"any": {}}))["toolConfig"]["toolChoice"], json!({"any": {}}));
        assert_eq!(choice(NOVA, json!("none")), json!({}));
        assert!(encoded(NOVA, json!({"tools": tools(), "tool_choice": "sometimes"}), false).is_err());
        let spec = json!({"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object", "properties": {}}}}});
        assert_eq!(body(NOVA, json!({"tools": tools()})), json!({"toolConfig": {"tools": [spec]}}));
    }

    #[test]
    fn without_tools_for_a_history_of_calls_is_claudes_alone() {
        let messages = json!([{"role": "user", "content": "a"}, {"role": "tool", "tool_call_id": "t", "content": "b"}]);
        let params = json!({"messages": messages, "tools": tools(), "tool_choice": "none"});
        let sent = body(CLAUDE, params.clone());
        assert_eq!(sent["additionalModelRequestFields"], json!({"tool_choice": {"type": "none"}}));
        assert!(sent["toolConfig"].get("toolChoice").is_none());
        assert_eq!(encoded(NOVA, params.clone(), false).unwrap_err().kind, ErrorKind::UnsupportedParams);
        let (sent, dropped) = encoded(NOVA, params, true).unwrap();
        assert_eq!((sent["toolConfig"].get("toolChoice"), dropped), (None, vec!["tool_choice".to_owned()]));
    }

    #[test]
    fn one_call_at_a_time_is_claudes_alone() {
        let params = json!({"tools": tools(), "tool_choice": "required", "parallel_tool_calls": false});
        let sent = body(CLAUDE, params.clone());
        assert_eq!(
            sent["additionalModelRequestFields"],
            json!({"tool_choice": {"type": "any", "disable_parallel_tool_use": true}})
        );
        assert!(sent["toolConfig"].get("toolChoice").is_none());
        assert_eq!(encoded(NOVA, params, false).unwrap_err().kind, ErrorKind::UnsupportedParams);
        assert!(encoded(NOVA, json!({"tools": tools(), "parallel_tool_calls": true}), false).is_ok());
    }

    #[test]
    fn every_family_is_told_its_own_way() {
        let effort = |model: &str, more: Value| {
            let mut params = json!({"reasoning_effort": "high"});
            params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body(model, params)
        };
        assert_eq!(
            effort(CLAUDE, json!({})),
            json!({"inferenceConfig": {"maxTokens": 20480}, "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 16384}}})
        );
        assert_eq!(
            effort(CLAUDE, json!({"max_tokens": 3000}))["additionalModelRequestFields"]["thinking"]["budget_tokens"],
            1500
        );
        assert_eq!(effort(CLAUDE, json!({"max_tokens": 100})), json!({"inferenceConfig": {"maxTokens": 100}}));
        let own = json!({"type": "enabled", "budget_tokens": 5000});
        assert_eq!(effort(CLAUDE, json!({"thinking": own}))["additionalModelRequestFields"], json!({"thinking": own}));
        assert_eq!(
            effort("us.anthropic.claude-opus-4-7", json!({})),
            json!({"additionalModelRequestFields": {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}}})
        );
        assert_eq!(
            effort("openai.gpt-oss-120b-1:0", json!({}))["additionalModelRequestFields"],
            json!({"reasoning_effort": "high"})
        );
        assert_eq!(
            effort("us.amazon.nova-2-lite-v1:0", json!({}))["additionalModelRequestFields"],
            json!({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}})
        );
        assert_eq!(effort("zai.glm-5", json!({})), json!({"outputConfig": {"effort": "high"}}));
        for model in ["anthropic.claude-3-5-sonnet-20241022-v2:0", NOVA] {
            assert_eq!(
                encoded(model, json!({"reasoning_effort": "high"}), false).unwrap_err().kind,
                ErrorKind::UnsupportedParams,
                "{model}"
            );
        }
        assert_eq!(body(CLAUDE, json!({"reasoning_effort": "none"})), json!({}));
        assert!(encoded(CLAUDE, json!({"reasoning_effort": "much"}), true).is_err());
    }

    #[test]
    fn names_that_nobody_defines_go_to_the_model() {
        let sent = body(
            NOVA,
            json!({"top_k": 3, "additionalModelRequestFields": {"x": 1}, "inferenceConfig": {"maxTokens": 7}, "requestMetadata": {"a": "b"}}),
        );
        assert_eq!(
            sent,
            json!({"inferenceConfig": {"maxTokens": 7}, "additionalModelRequestFields": {"top_k": 3, "x": 1}, "requestMetadata": {"a": "b"}})
        );
    }

    #[test]
    fn what_is_lacking_is_refused_or_dropped() {
        for name in UNSUPPORTED {
            let params = json!({*name: "x"});
            assert_eq!(encoded(NOVA, params.clone(), false).unwrap_err().kind, ErrorKind::UnsupportedParams, "{name}");
            assert_eq!(encoded(NOVA, params, true).unwrap(), (json!({}), vec![(*name).to_owned()]));
        }
        let nothing = json!({"n": 1, "logprobs": false, "presence_penalty": 0, "modalities": ["text"], "stream_options": {}, "parallel_tool_calls": true, "service_tier": "auto"});
        assert_eq!(body(NOVA, nothing), json!({}));
        assert_eq!(
            encoded(NOVA, json!({"response_format": {"type": "json_object"}}), false).unwrap_err().kind,
            ErrorKind::UnsupportedParams
        );
    }
}
