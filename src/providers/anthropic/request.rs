//! OpenAI's parameters → the body of a Messages request.
//!
//! <https://platform.claude.com/docs/en/api/messages/create>,
//! <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>,
//! <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>,
//! <https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools>,
//! <https://platform.claude.com/docs/en/api/service-tiers>.
//!
//! Parameters that OpenAI does not define (`top_k`, `thinking`, `container`, `mcp_servers`, …) are sent unchanged.

use serde_json::Value;
use serde_json::value::RawValue;

use super::super::families::claude::{Forced, Model, Off, Sampling, Thinking, instruction};
use super::super::families::schema::{tighten, tool_schema};
use super::super::families::stop_sequences;
use super::super::unsupported::{CUSTOM_TOOL, asks_for_nothing, drop_or_refuse_because};
use super::messages::conversation;
use super::{Host, ROW};
use crate::error::{Error, Result};
use crate::types::members::Members;
use crate::types::object::quoted;
use crate::types::request::Request;

/// Minimum of a thinking budget in tokens.
const MIN_BUDGET: u64 = 1024;

/// A request's body, and what belongs to it elsewhere.
pub(super) struct Body {
    pub json: String,
    /// The values of `betas`, which are sent as a header field.
    pub betas: Vec<String>,
    pub dropped_params: Vec<String>,
}

/// Parameters that are converted, or that others depend on; all others are sent unchanged.
const MAPPED: &[&str] = &[
    "betas",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "output_config",
    "parallel_tool_calls",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "service_tier",
    "stop",
    "stop_sequences",
    "stream_options",
    "system",
    "thinking",
    "tool_choice",
    "tools",
    "user",
    "web_search_options",
];

/// Version of the format on Vertex AI, which stands in the body there.
const VERTEX_VERSION: &str = "vertex-2023-10-16";

/// Writes the body of a request to the model `name` at a host.
///
/// # Errors
/// If a parameter cannot be read or, without `drop_params`, if Anthropic cannot do what it asks for.
pub(super) fn body(host: Host, name: &str, request: &Request) -> Result<Body> {
    let model = Model::of(name);
    let mut params = CallerParams { request, host, dropped: Vec::new() };
    let has_format = has_output_format(host, model);
    let messages = params.get("messages").ok_or_else(|| Error::argument("messages is missing"))?;
    let mut conversation = conversation(messages.as_bytes(), params.get("system"), name)?;
    let mut config = OutputConfig::of(&params)?;
    if let Some(format) = params.get("response_format") {
        let instruction = config.format(has_format, format)?;
        conversation.system =
            instruction.map(|text| with_instruction(conversation.system.as_deref(), &text)).or(conversation.system);
    }
    let asked_tokens = params.number("max_completion_tokens")?.or(params.number("max_tokens")?);
    let tools = tools(model, &mut params)?;
    let choice = tool_choice(model, &mut params)?;
    let must_call = choice.as_deref().is_some_and(forces_a_call);
    let thinking = match (params.get("thinking"), params.string("reasoning_effort")?) {
        (Some(thinking), _)
            if request.drop_params
                && must_call
                && thinks(Some(thinking))
                && model.forced_tools() == Forced::WithoutThinking =>
        {
            params.dropped.push("thinking".to_owned());
            None
        }
        (Some(thinking), _) => Some(thinking.to_owned()),
        (None, None) => None,
        (None, Some(effort))
            if must_call && model.forced_tools() == Forced::WithoutThinking && is_asked(&effort, model) =>
        {
            params.dropped.push("reasoning_effort".to_owned());
            None
        }
        (None, Some(effort)) => {
            let may_think = !(conversation.ends_in_thoughtless_calls && model.thinking() == Thinking::Budget);
            thinking_for(&effort, model, asked_tokens, may_think, &mut config, &mut params)?
        }
    };

    // On Vertex AI, the model is in the address.
    let mut json = match host {
        Host::Anthropic => format!("{{\"model\":{}", quoted(name)),
        Host::Vertex => format!("{{\"anthropic_version\":{}", quoted(VERTEX_VERSION)),
    };
    let mut member = |name: &str, value: &str| json += &format!(",\"{name}\":{value}");
    let max_tokens = asked_tokens.unwrap_or_else(|| max_tokens_beside(thinking.as_deref(), model));
    member("max_tokens", &max_tokens.to_string());
    if request.stream {
        member("stream", "true");
    }
    if let Some(system) = &conversation.system {
        member("system", system);
    }
    member("messages", &conversation.messages);
    if let Some(tools) = &tools {
        member("tools", tools);
    }
    // A `tool_choice` without tools is an error.
    if let Some(choice) = choice.as_ref().filter(|_| tools.is_some() || params.get("mcp_servers").is_some()) {
        member("tool_choice", choice);
    }
    if let Some(thinking) = &thinking {
        member("thinking", thinking);
    }
    if let Some(config) = config.json() {
        member("output_config", &config);
    }
    if let Some(stop) = params.get("stop").or(params.get("stop_sequences")) {
        let (sequences, has_blank) = stop_sequences(stop, name)?;
        if has_blank {
            params.refuse("stop", " of white space alone")?;
        }
        if !sequences.is_empty() {
            member("stop_sequences", &serde_json::to_string(&sequences).expect("they are JSON"));
        }
    }
    if let Some(metadata) = metadata(&mut params)? {
        member("metadata", &metadata);
    }
    if let Some(tier) = service_tier(&mut params)? {
        member("service_tier", &tier);
    }
    for (name, value) in request.params.iter().filter(|(name, _)| !MAPPED.contains(name)) {
        let Ok(value) = std::str::from_utf8(value) else { continue };
        match name {
            _ if ROW.unsupported.contains(&name) => {
                if !asks_for_nothing(name, value.as_bytes()) {
                    params.refuse(name, "")?;
                }
            }
            "temperature" | "top_p" | "top_k" => {
                let temperature = params.get("temperature");
                match model.sampling(name, value, thinks(thinking.as_deref()), temperature) {
                    Sampling::Omit => {}
                    // `drop_params` also covers a parameter that the model is known to answer with a 400.
                    Sampling::Refused if request.drop_params => params.dropped.push(name.to_owned()),
                    Sampling::Send | Sampling::Refused => json += &format!(",{}:{value}", quoted(name)),
                }
            }
            _ => json += &format!(",{}:{value}", quoted(name)),
        }
    }
    json.push('}');
    Ok(Body { json, betas: params.strings("betas")?, dropped_params: params.dropped })
}

/// Returns true if the model has `output_config.format` and strict tools at this host.
fn has_output_format(host: Host, model: Model) -> bool {
    match host {
        Host::Anthropic => model.has_output_format(),
        Host::Vertex => model.has_output_format_on_vertex(),
    }
}

/// The caller's parameters, and the names of those that were dropped.
struct CallerParams<'a> {
    request: &'a Request,
    host: Host,
    dropped: Vec<String>,
}

impl<'a> CallerParams<'a> {
    /// Returns a parameter's value, unless it is null.
    fn get(&self, name: &str) -> Option<&'a str> {
        self.request
            .params
            .get(name)
            .and_then(|json| std::str::from_utf8(json).ok())
            .map(str::trim)
            .filter(|json| *json != "null")
    }

    /// Parses a parameter; `right` names the expected type in the error.
    fn read<T: serde::de::DeserializeOwned>(&self, name: &str, right: &str) -> Result<Option<T>> {
        let read = |json: &str| {
            serde_json::from_str(json).map_err(|_| Error::argument(format!("{name} is {json}: {right} would be right")))
        };
        self.get(name).map(read).transpose()
    }

    fn string(&self, name: &str) -> Result<Option<String>> {
        self.read(name, "a str")
    }

    fn number(&self, name: &str) -> Result<Option<u64>> {
        self.read(name, "a whole number")
    }

    fn strings(&self, name: &str) -> Result<Vec<String>> {
        Ok(self.read(name, "a list of str")?.unwrap_or_default())
    }

    /// Rejects a parameter, or drops it with `drop_params`.
    fn refuse(&mut self, name: &str, why: &str) -> Result<()> {
        drop_or_refuse_because(self.host.name(), name, why, self.request.drop_params, &mut self.dropped)
    }
}

/// `output_config`: the caller's own members, with effort and format added.
struct OutputConfig<'a> {
    own: Members<'a>,
    effort: Option<&'static str>,
    format: Option<String>,
}

impl<'a> OutputConfig<'a> {
    fn of(params: &CallerParams<'a>) -> Result<Self> {
        let own = params.get("output_config").map(|json| Members::of(json.as_bytes())).transpose();
        let own = own.map_err(|_| Error::argument("output_config is no object"))?.unwrap_or_default();
        Ok(Self { own, effort: None, format: None })
    }

    /// Converts OpenAI's `response_format`; returns it as an instruction for models that have no parameter for it.
    fn format(&mut self, has_format: bool, format: &str) -> Result<Option<String>> {
        let wrong = || {
            Error::argument(format!(
                "response_format is {format}: {{\"type\": \"json_schema\", \"json_schema\": {{\"schema\": …}}}} would be right"
            ))
        };
        let members = Members::of(format.as_bytes()).map_err(|_| wrong())?;
        match members.string("type").as_deref() {
            Some("text") => Ok(None),
            // Anthropic has no such mode: a format requires a closed schema.
            Some("json_object") => Ok(Some(instruction(None))),
            Some("json_schema") => {
                let schema = match members.some("json_schema") {
                    Some(inner) => {
                        Members::of(inner.as_bytes()).map_err(|_| wrong())?.some("schema").map(str::to_owned)
                    }
                    // Anthropic's own format.
                    None => members.some("schema").map(str::to_owned),
                };
                let schema = schema.ok_or_else(wrong)?;
                if !has_format {
                    return Ok(Some(instruction(Some(&schema))));
                }
                let mut schema: Value = serde_json::from_str(&schema).map_err(|_| wrong())?;
                tighten(&mut schema);
                self.format = Some(format!(r#"{{"type":"json_schema","schema":{schema}}}"#));
                Ok(None)
            }
            _ => Err(wrong()),
        }
    }

    fn json(&self) -> Option<String> {
        let mut members: Vec<String> =
            self.own.0.iter().map(|(name, value)| format!("{}:{}", quoted(name), value.get())).collect();
        // The caller's own members win.
        members.extend(
            self.effort
                .filter(|_| self.own.some("effort").is_none())
                .map(|effort| format!("\"effort\":{}", quoted(effort))),
        );
        members.extend(
            self.format
                .iter()
                .filter(|_| self.own.some("format").is_none())
                .map(|format| format!("\"format\":{format}")),
        );
        (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
    }
}

/// Adds an instruction to the value of `system`.
fn with_instruction(system: Option<&str>, instruction: &str) -> String {
    let block = format!(r#"{{"type":"text","text":{}}}"#, quoted(instruction));
    match system {
        None => quoted(instruction),
        Some(text) if text.starts_with('"') => format!(r#"[{{"type":"text","text":{text}}},{block}]"#),
        Some(list) => format!("{},{block}]", &list[..list.len() - 1]),
    }
}

/// Converts `reasoning_effort` into `thinking`, and into the effort of `config` for models that have one.
fn thinking_for(
    effort: &str,
    model: Model,
    max_tokens: Option<u64>,
    may_think: bool,
    config: &mut OutputConfig,
    params: &mut CallerParams,
) -> Result<Option<String>> {
    const KNOWN: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh", "max"];
    let Some(effort) = KNOWN.iter().copied().find(|known| *known == effort) else {
        return Err(Error::argument(format!(
            "reasoning_effort is {effort:?}: one of {} would be right",
            KNOWN.join(", ")
        )));
    };
    // A readable summary is requested, since newer models leave the text of the thinking out by default.
    let adaptive = || Some(r#"{"type":"adaptive","display":"summarized"}"#.to_owned());
    match (model.thinking(), effort) {
        (Thinking::Never, "none") => Ok(None),
        (Thinking::Never, _) => params.refuse("reasoning_effort", " for this model").map(|()| None),
        (_, "none") => Ok(match model.thinking_off() {
            Off::Unasked => None,
            Off::Word(word) => Some(format!(r#"{{"type":"{word}"}}"#)),
            Off::LeastEffort => {
                config.effort = Some("low");
                None
            }
        }),
        (Thinking::Adaptive, effort) => {
            config.effort = Some(match effort {
                "minimal" => "low",
                "xhigh" if !model.has_xhigh() => "max",
                other => other,
            });
            Ok(adaptive())
        }
        (Thinking::Budget, effort) => {
            let budget = match effort {
                "minimal" => MIN_BUDGET,
                "low" => 2048,
                "medium" => 8192,
                "high" => 16_384,
                _ => 31_999,
            };
            // The caller's limit covers thinking and answer together; half of it is left for the answer.
            let budget = max_tokens.map_or(budget, |most| budget.min(most / 2).max(MIN_BUDGET));
            if !may_think || max_tokens.is_some_and(|most| most <= MIN_BUDGET) {
                params.dropped.push("reasoning_effort".to_owned());
                return Ok(None);
            }
            Ok(Some(format!(r#"{{"type":"enabled","budget_tokens":{budget}}}"#)))
        }
    }
}

/// Returns true if an effort makes the model think.
fn is_asked(effort: &str, model: Model) -> bool {
    effort != "none" && model.thinking() != Thinking::Never
}

/// Returns true for a choice with which the model has to call a tool.
fn forces_a_call(choice: &str) -> bool {
    let kind = Members::of(choice.as_bytes()).ok().and_then(|choice| choice.string("type"));
    matches!(kind.as_deref(), Some("any" | "tool"))
}

/// Returns true if `thinking` is on.
fn thinks(thinking: Option<&str>) -> bool {
    let kind = thinking.and_then(|thinking| Members::of(thinking.as_bytes()).ok()?.string("type"));
    matches!(kind.as_deref(), Some("enabled" | "adaptive"))
}

/// Returns the default of `max_tokens`: the model's, in addition to the thinking budget.
fn max_tokens_beside(thinking: Option<&str>, model: Model) -> u64 {
    let budget =
        thinking.and_then(|thinking| Members::of(thinking.as_bytes()).ok()?.get("budget_tokens")?.parse::<u64>().ok());
    let room =
        budget.map_or(0, |budget| budget.saturating_add(model.default_max_tokens())).min(model.max_output_tokens());
    room.max(model.default_max_tokens()).max(budget.map_or(0, |budget| budget.saturating_add(1)))
}

/// Converts `tools` and `web_search_options`.
fn tools(model: Model, params: &mut CallerParams) -> Result<Option<String>> {
    let list: Vec<&RawValue> = match params.get("tools") {
        Some(json) => serde_json::from_str(json).map_err(|_| Error::argument("tools is no list of tools"))?,
        None => Vec::new(),
    };
    let mut tools = Vec::with_capacity(list.len());
    for tool in list {
        tools.extend(convert_tool(tool.get(), model, params)?);
    }
    if let Some(options) = params.get("web_search_options") {
        tools.push(web_search(options)?);
    }
    Ok((!tools.is_empty()).then(|| format!("[{}]", tools.join(","))))
}

/// Converts a function; a tool of Anthropic's own is returned unchanged.
fn convert_tool(tool: &str, model: Model, params: &mut CallerParams) -> Result<Option<String>> {
    let members = Members::of(tool.as_bytes()).map_err(|_| Error::argument("tools has an item that is no object"))?;
    if members.some("custom").is_some() {
        return params.refuse("tools", CUSTOM_TOOL).map(|()| None);
    }
    let Some(function) = members.some("function") else { return Ok(Some(tool.to_owned())) };
    let function =
        Members::of(function.as_bytes()).map_err(|_| Error::argument("tools has a function that is no object"))?;
    let mut converted = String::from("{");
    let mut has_schema = false;
    let is_strict =
        function.get("strict") == Some("true") && (has_output_format(params.host, model) || !model.is_claude());
    // Members beside the function (cache_control, defer_loading, input_examples, …) are Anthropic's.
    let beside = members.0.iter().filter(|(name, _)| !matches!(&**name, "type" | "function"));
    for (name, value) in function.0.iter().chain(beside).filter(|(_, value)| value.get() != "null") {
        let (name, value) = match &**name {
            "parameters" | "input_schema" => {
                has_schema = true;
                let schema = tool_schema(value.get(), model.is_claude());
                match serde_json::from_str::<Value>(&schema) {
                    Ok(mut schema) if is_strict && model.is_claude() => {
                        tighten(&mut schema);
                        ("input_schema", schema.to_string())
                    }
                    _ => ("input_schema", schema.into_owned()),
                }
            }
            // Without `strict`, tools are called as well, but the arguments may deviate from their schema.
            "strict" if !is_strict => continue,
            other => (other, value.get().to_owned()),
        };
        converted += &format!("{}:{value},", quoted(name));
    }
    if !has_schema {
        converted += r#""input_schema":{"type":"object","properties":{}},"#;
    }
    converted.pop();
    Ok(Some(converted + "}"))
}

/// Converts OpenAI's `web_search_options` into a server tool:
/// <https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool>.
fn web_search(options: &str) -> Result<String> {
    let options = Members::of(options.as_bytes()).map_err(|_| Error::argument("web_search_options is no object"))?;
    let mut tool = String::from(r#"{"type":"web_search_20250305","name":"web_search""#);
    let location = options.some("user_location").and_then(|location| Members::of(location.as_bytes()).ok());
    if let Some(place) = location
        .as_ref()
        .and_then(|location| location.some("approximate"))
        .and_then(|place| Members::of(place.as_bytes()).ok())
    {
        let place: Vec<String> =
            place.0.iter().map(|(name, value)| format!(",{}:{}", quoted(name), value.get())).collect();
        tool += &format!(r#","user_location":{{"type":"approximate"{}}}"#, place.concat());
    }
    Ok(tool + "}")
}

/// Converts `tool_choice` and `parallel_tool_calls`.
fn tool_choice(model: Model, params: &mut CallerParams) -> Result<Option<String>> {
    let alone =
        params.read::<bool>("parallel_tool_calls", "True or False")? == Some(false) && params.get("tools").is_some();
    let choice = match params.get("tool_choice") {
        None => None,
        Some(r#""auto""#) => Some(r#"{"type":"auto"}"#.to_owned()),
        Some(r#""required""# | r#""any""#) => Some(r#"{"type":"any"}"#.to_owned()),
        Some(r#""none""#) => return Ok(Some(r#"{"type":"none"}"#.to_owned())),
        Some(json) => {
            let wrong = || {
                Error::argument(format!(
                    "tool_choice is {json}: \"auto\", \"required\", \"none\" or {{\"type\": \"function\", \"function\": {{\"name\": …}}}} would be right"
                ))
            };
            let members = Members::of(json.as_bytes()).map_err(|_| wrong())?;
            match members.string("type").as_deref() {
                Some("function") => {
                    let function = members.some("function").and_then(|function| Members::of(function.as_bytes()).ok());
                    let name = function.and_then(|function| function.string("name")).or_else(|| members.string("name"));
                    Some(format!(r#"{{"type":"tool","name":{}}}"#, quoted(&name.ok_or_else(wrong)?)))
                }
                Some("auto" | "any" | "tool" | "none") => Some(json.to_owned()),
                Some(kind @ ("allowed_tools" | "custom")) => {
                    params.refuse("tool_choice", &format!(" of type {kind:?}"))?;
                    None
                }
                _ => return Err(wrong()),
            }
        }
    };
    let choice = match choice {
        Some(choice) if model.forced_tools() == Forced::Never && forces_a_call(&choice) => {
            params.refuse("tool_choice", " that makes this model call")?;
            None
        }
        choice => choice,
    };
    Ok(match choice {
        None if alone => Some(r#"{"type":"auto","disable_parallel_tool_use":true}"#.to_owned()),
        Some(choice) if alone && !choice.contains("disable_parallel_tool_use") && !choice.contains(r#""none""#) => {
            Some(format!(r#"{},"disable_parallel_tool_use":true}}"#, choice.trim_end().trim_end_matches('}')))
        }
        choice => choice,
    })
}

/// Converts `metadata`, `user` and `safety_identifier` into `user_id`, the only member of Anthropic's metadata.
fn metadata(params: &mut CallerParams) -> Result<Option<String>> {
    let metadata = params.get("metadata").map(|json| Members::of(json.as_bytes())).transpose();
    let metadata = metadata.map_err(|_| Error::argument("metadata is no dict"))?.unwrap_or_default();
    if metadata.0.iter().any(|(name, _)| name != "user_id") {
        params.refuse("metadata", " (but for user_id in it)")?;
    }
    let user = params.get("user").or(metadata.some("user_id")).or(params.get("safety_identifier"));
    Ok(user.map(|user| format!(r#"{{"user_id":{user}}}"#)))
}

/// Converts `service_tier`.
fn service_tier(params: &mut CallerParams) -> Result<Option<String>> {
    let Some(tier) = params.string("service_tier")? else { return Ok(None) };
    Ok(match &*tier {
        // By default, priority capacity is used if the organisation has bought some.
        "auto" | "priority" => Some(r#""auto""#.to_owned()),
        "default" | "standard_only" => Some(r#""standard_only""#.to_owned()),
        _ => params.refuse("service_tier", &format!(" of {tier:?}")).map(|()| None)?,
    })
}
