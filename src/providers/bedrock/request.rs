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

use super::blocks::Block;
use super::messages::conversation;
use super::parse::parse;
use super::reasoning::{Setting, setting};
use super::tools::{Choice, ToolConfig, is_allowed_tools, push_tool};
use super::{NAME, endpoint_address};
use crate::error::{Error, Result};
use crate::providers::families::claude::{Forced, Model, Sampling, instruction};
use crate::providers::families::schema::tighten;
use crate::providers::families::{family, stop_sequences};
use crate::providers::http::bearer;
use crate::providers::unsupported::{asks_for_nothing, drop_or_refuse_because};
use crate::providers::{Deployment, Encoded};
use crate::types::http::HttpRequest;
use crate::types::members::Members;
use crate::types::params::Params;
use crate::types::request::Request;

/// OpenAI's parameters that Converse has no place for with any model.
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

/// Tokens of an answer beside its budget for reasoning, where the caller sets no limit.
const ANSWER_TOKENS: u64 = 4096;
/// Minimum of Claude's thinking budget in tokens.
const MIN_BUDGET: u64 = 1024;

/// Creates the request of a call.
///
/// # Errors
/// If a parameter cannot be read or, without `drop_params`, if Converse cannot do what it asks for.
pub(super) fn encode(deployment: &Deployment, request: &Request) -> Result<Encoded> {
    let mut encoder = Encoder {
        model: endpoint_address::model(deployment),
        claude: Some(Model::of(endpoint_address::model(deployment))).filter(|model| model.is_claude()),
        request,
        dropped_params: Vec::new(),
        top: Params::default(),
        inference: Params::default(),
        output: Params::default(),
        additional: Params::default(),
        instruction: None,
    };
    let body = encoder.body()?;
    let (operation, accepted) = match request.stream {
        true => ("converse-stream", "application/vnd.amazon.eventstream"),
        false => ("converse", "application/json"),
    };
    let (uri, headers) = (endpoint_address::address(deployment, operation)?, headers(deployment, accepted)?);
    Ok(Encoded { request: HttpRequest::post(uri, headers, body), dropped_params: encoder.dropped_params })
}

/// Returns the header fields of a request, with the bearer key if there is one.
///
/// # Errors
/// `InvalidArgument` for a key with characters that no header field may hold.
pub(super) fn headers(deployment: &Deployment, accepted: &'static str) -> Result<Vec<(HeaderName, HeaderValue)>> {
    let mut headers = Vec::with_capacity(6);
    if let Some(key) = &deployment.api_key {
        headers.push((AUTHORIZATION, bearer(key.expose())?));
    }
    headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    headers.push((ACCEPT, HeaderValue::from_static(accepted)));
    Ok(headers)
}

/// The members of a request, as they are collected.
struct Encoder<'a> {
    model: &'a str,
    /// The Claude model that `model` is, if it is one.
    claude: Option<Model>,
    request: &'a Request,
    dropped_params: Vec<String>,
    /// Other members of the request.
    top: Params,
    /// `inferenceConfig`.
    inference: Params,
    /// `outputConfig`.
    output: Params,
    /// `additionalModelRequestFields`.
    additional: Params,
    /// The response format as an instruction, for models that have no parameter for it.
    instruction: Option<String>,
}

impl<'a> Encoder<'a> {
    /// Writes the request's body.
    fn body(&mut self) -> Result<Vec<u8>> {
        let params = &self.request.params;
        let mut conversation = conversation(params.get("messages").unwrap_or(b"[]"), self.model)?;
        for (name, value) in params.iter().filter(|(_, value)| *value != b"null") {
            self.param(name, value)?;
        }
        if let Some(instruction) = self.instruction.take() {
            conversation.system.push(Block::Text(instruction.into()));
        }
        let must_call = self.tools(conversation.has_tool_blocks())?;
        self.reasoning_effort(must_call, conversation.ends_in_thoughtless_calls)?;
        self.sampling();

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

    /// Converts a parameter by itself.
    fn param(&mut self, name: &str, value: &[u8]) -> Result<()> {
        match name {
            // These depend on other parameters.
            "messages" | "tools" | "tool_choice" | "parallel_tool_calls" | "reasoning_effort" => {}
            // Converse's streams always end with the usage.
            "stream_options" => {}
            "max_tokens" if self.request.params.get("max_completion_tokens").is_some() => {}
            "max_tokens" | "max_completion_tokens" => self.inference.set("maxTokens", value),
            "temperature" => self.inference.set("temperature", value),
            "top_p" => self.inference.set("topP", value),
            "stop" => self.stop(value)?,
            "response_format" => self.response_format(value)?,
            "service_tier" => match parse::<Cow<str>>(name, value)?.as_ref() {
                "auto" => {}
                // Tiers of OpenAI that Bedrock does not have.
                tier @ ("scale" | "fast") => self.unsupported("service_tier", &format!(" of {tier:?}"))?,
                tier => self.top.set("serviceTier", json!({"type": tier}).to_string().as_bytes()),
            },
            // Both are up to 16 pairs of text, to filter the provider's logs by.
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

    /// Rejects a parameter, or drops it with `drop_params`.
    fn unsupported(&mut self, name: &str, why: &str) -> Result<()> {
        drop_or_refuse_because(NAME, name, why, self.request.drop_params, &mut self.dropped_params)
    }

    /// Converts `response_format`.
    fn response_format(&mut self, value: &[u8]) -> Result<()> {
        let format: ResponseFormat = parse("response_format", value)?;
        match (&*format.kind, format.json_schema) {
            ("text", _) => Ok(()),
            ("json_schema", Some(caller)) if self.claude.is_some_and(|model| !model.has_output_format()) => {
                self.instruction = Some(instruction(Some(caller.schema.get())));
                Ok(())
            }
            ("json_schema", Some(caller)) => {
                let mut schema: Value = parse("response_format", caller.schema.get().as_bytes())?;
                tighten(&mut schema);
                let schema =
                    JsonSchema { name: caller.name, description: caller.description, schema: schema.to_string() };
                let text_format = json!({"type": "json_schema", "structure": {"jsonSchema": schema}});
                self.output.set("textFormat", text_format.to_string().as_bytes());
                Ok(())
            }
            ("json_schema", None) => Err(Error::argument("response_format lacks its json_schema")),
            (kind, _) => self.unsupported("response_format", &format!(" of type {kind} (json_schema is there)")),
        }
    }

    /// Converts `stop`.
    fn stop(&mut self, value: &[u8]) -> Result<()> {
        let stop: &RawValue = parse("stop", value)?;
        let (sequences, has_blank) = stop_sequences(stop.get(), self.model)?;
        if has_blank {
            self.unsupported("stop", " of white space alone")?;
        }
        if !sequences.is_empty() && !family(self.model).takes_stop {
            self.unsupported("stop", " on this model")?;
        } else if !sequences.is_empty() {
            self.inference.set("stopSequences", &serde_json::to_vec(&sequences).expect("they are JSON"));
        }
        Ok(())
    }

    /// Removes those of `temperature`, `top_p` and `top_k` that the model rejects, which depends on thinking.
    fn sampling(&mut self) {
        let Some(model) = self.claude else { return };
        let thinks = self.thinks();
        let text = |params: &Params, name: &str| {
            params.get(name).and_then(|value| std::str::from_utf8(value).ok()).map(|value| value.trim().to_owned())
        };
        let temperature = text(&self.inference, "temperature");
        for (name, native, is_additional) in
            [("temperature", "temperature", false), ("top_p", "topP", false), ("top_k", "top_k", true)]
        {
            let params = if is_additional { &mut self.additional } else { &mut self.inference };
            let Some(value) = text(params, native) else { continue };
            match model.sampling(name, &value, thinks, temperature.as_deref()) {
                Sampling::Omit => drop(params.remove(native)),
                // As on Anthropic's own wire: `drop_params` also covers a parameter that the model answers with a 400.
                Sampling::Refused if self.request.drop_params => {
                    params.remove(native);
                    self.dropped_params.push(name.to_owned());
                }
                Sampling::Send | Sampling::Refused => {}
            }
        }
    }

    /// Returns true if Anthropic's `thinking` is on.
    fn thinks(&self) -> bool {
        let thinking = self.additional.get("thinking").and_then(|thinking| Members::of(thinking).ok());
        let kind = thinking.and_then(|thinking| thinking.string("type"));
        matches!(kind.as_deref(), Some("enabled" | "adaptive"))
    }

    /// Converts `tools` and `tool_choice`; returns true if the model has to call a tool.
    fn tools(&mut self, has_tool_blocks: bool) -> Result<bool> {
        let params = &self.request.params;
        let one_at_a_time = params.get("parallel_tool_calls") == Some(b"false");
        let tools = params.get("tools").filter(|tools| !matches!(*tools, b"[]" | b"null"));
        let Some(tools) = tools else { return Ok(false) };
        let mut specs = Vec::new();
        for tool in parse::<Vec<&RawValue>>("tools", tools)? {
            if let Some(kind) = push_tool(tool, self.claude, &mut specs)? {
                self.unsupported("tools", &format!(" with one of type {kind} in it"))?;
            }
        }
        if specs.is_empty() {
            return Ok(false);
        }
        let mut choice = match params.get("tool_choice").filter(|choice| *choice != b"null") {
            Some(choice) if is_allowed_tools(choice) => {
                self.unsupported("tool_choice", " of type allowed_tools")?;
                None
            }
            Some(choice) => Choice::read(choice)?,
            None => None,
        };
        let claude = self.claude.is_some();
        if choice.as_ref().is_some_and(Choice::forces_a_call)
            && self.claude.is_some_and(|model| model.forced_tools() == Forced::Never)
        {
            self.unsupported("tool_choice", " that makes this model call")?;
            choice = None;
        }
        let must_call = choice.as_ref().is_some_and(Choice::forces_a_call);
        match choice {
            // Converse cannot forbid calls, so the tools are left out, except with a history of calls, which requires them.
            Some(Choice::Nothing) if !has_tool_blocks => return Ok(false),
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
            // Claude's `tool_choice` can express more than Converse's. Only one is sent, so that they do not contradict
            // each other.
            let claude_choice = choice.take().unwrap_or(Choice::Auto {}).for_claude(one_at_a_time);
            self.additional.set("tool_choice", claude_choice.to_string().as_bytes());
        }
        if self.top.get("toolConfig").is_none() {
            let config = ToolConfig { tools: specs, tool_choice: choice };
            self.top.set("toolConfig", &serde_json::to_vec(&config).expect("these structs are JSON"));
        }
        Ok(must_call)
    }

    /// Converts `reasoning_effort`.
    fn reasoning_effort(&mut self, must_call: bool, thoughtless: bool) -> Result<()> {
        let no_thinking = must_call && self.claude.is_some_and(|model| model.forced_tools() != Forced::Always);
        if self.request.drop_params && no_thinking && self.thinks() {
            self.additional.remove("thinking");
            self.dropped_params.push("thinking".to_owned());
        }
        let effort = self.request.params.get("reasoning_effort").filter(|effort| *effort != b"null");
        let Some(effort) = effort else { return Ok(()) };
        let effort: Cow<str> = parse("reasoning_effort", effort)?;
        let Some(setting) = setting(self.model, &effort) else {
            return Err(Error::argument(format!(
                "reasoning_effort {effort:?}: none, minimal, low, medium, high, xhigh or max would be right"
            )));
        };
        // A native `thinking` wins over `reasoning_effort`.
        if self.additional.get("thinking").is_some() {
            return Ok(());
        }
        let asks = effort != "none";
        match setting {
            Setting::Omit => {}
            // Thinking would be rejected: with a forced tool call, and after calls that were made without thinking.
            Setting::Budget(_) | Setting::Additional(_)
                if asks && (no_thinking || thoughtless && matches!(setting, Setting::Budget(_))) =>
            {
                self.dropped_params.push("reasoning_effort".to_owned());
            }
            Setting::Unsupported => self.unsupported("reasoning_effort", &format!(" {effort} on this model"))?,
            Setting::Effort(effort) => set_if_absent(&mut self.output, "effort", json!(effort)),
            Setting::Additional(Value::Object(members)) => {
                members.into_iter().for_each(|(name, value)| set_if_absent(&mut self.additional, &name, value));
            }
            Setting::Additional(_) => {}
            Setting::Budget(budget) => {
                // The caller's limit covers reasoning and answer together; half of it is left for the answer.
                let limit = self.inference.get("maxTokens").and_then(|limit| serde_json::from_slice::<u64>(limit).ok());
                let budget = limit.map_or(budget, |limit| budget.min(limit / 2).max(MIN_BUDGET));
                match limit {
                    None => self.inference.set("maxTokens", (budget + ANSWER_TOKENS).to_string().as_bytes()),
                    Some(limit) if limit <= MIN_BUDGET => {
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

/// OpenAI's `response_format`.
#[derive(Deserialize)]
struct ResponseFormat<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    json_schema: Option<CallerSchema<'a>>,
}

#[derive(Deserialize)]
struct CallerSchema<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    description: Option<Cow<'a, str>>,
    #[serde(borrow)]
    schema: &'a RawValue,
}

/// Converse's `jsonSchema`.
#[derive(Serialize)]
struct JsonSchema<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Cow<'a, str>>,
    /// The schema's JSON, in a string.
    schema: String,
}

/// Sets a parameter unless it is set.
fn set_if_absent(params: &mut Params, name: &str, value: Value) {
    if params.get(name).is_none() {
        params.set(name, value.to_string().as_bytes());
    }
}

/// Writes the members as a JSON object.
fn object(params: &Params) -> Vec<u8> {
    let mut out = Vec::with_capacity(params.len() + 2);
    params.write_members(&[], &mut out);
    match out.first_mut() {
        // Each member is preceded by a comma.
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
    out
}

/// Appends a member to an object that is being written.
fn write_member(out: &mut Vec<u8>, name: &str, value: &impl Serialize) {
    if out.len() > 1 {
        out.push(b',');
    }
    serde_json::to_writer(&mut *out, name).expect("a string is JSON");
    out.push(b':');
    serde_json::to_writer(out, value).expect("these structs are JSON");
}
