//! OpenAI's parameters as the body of a Messages request.
//!
//! <https://platform.claude.com/docs/en/api/messages/create>,
//! <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>,
//! <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>,
//! <https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools>,
//! <https://platform.claude.com/docs/en/api/service-tiers>.
//!
//! A name that OpenAI does not define (`top_k`, `thinking`, `container`, `mcp_servers`, …) goes out as it came in.

use serde_json::Value;
use serde_json::value::RawValue;

use super::super::families::claude::{Forced, Model, Off, Sampling, Thinking, instruction};
use super::super::families::schema::{tighten, tool_schema};
use super::super::families::stop_sequences;
use super::super::unsupported::{CUSTOM_TOOL, asks_for_nothing, drop_or_refuse_because};
use super::ROW;
use super::messages::conversation;
use crate::error::{Error, Result};
use crate::types::members::Members;
use crate::types::object::quoted;
use crate::types::request::Request;

/// The fewest tokens a thinking budget may have.
const LEAST_BUDGET: u64 = 1024;

/// A request's body and what is said about it elsewhere.
pub(super) struct Body {
    pub json: String,
    /// What was asked for under `betas`: that is a header.
    pub betas: Vec<String>,
    pub dropped_params: Vec<String>,
}

/// Parameters that are turned into something else, or that others depend on.
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

/// The body of a request to this model.
pub(super) fn body(name: &str, request: &Request) -> Result<Body> {
    let model = Model::of(name);
    let mut given = CallerParams { request, dropped: Vec::new() };
    let messages = given.get("messages").ok_or_else(|| Error::argument("messages is missing"))?;
    let mut conversation = conversation(messages.as_bytes(), given.get("system"), name)?;
    let mut config = OutputConfig::of(&given)?;
    if let Some(format) = given.get("response_format") {
        let instruction = config.format(model, format)?;
        conversation.system =
            instruction.map(|text| with_instruction(conversation.system.as_deref(), &text)).or(conversation.system);
    }
    let asked_tokens = given.number("max_completion_tokens")?.or(given.number("max_tokens")?);
    let tools = tools(model, &mut given)?;
    let choice = tool_choice(model, &mut given)?;
    let must_call = choice.as_deref().is_some_and(forces_a_call);
    let thinking = match (given.get("thinking"), given.string("reasoning_effort")?) {
        (Some(thinking), _)
            if request.drop_params
                && must_call
                && thinks(Some(thinking))
                && model.forced_tools() == Forced::WithoutThinking =>
        {
            given.dropped.push("thinking".to_owned());
            None
        }
        (Some(thinking), _) => Some(thinking.to_owned()),
        (None, None) => None,
        (None, Some(effort))
            if must_call && model.forced_tools() == Forced::WithoutThinking && is_asked(&effort, model) =>
        {
            given.dropped.push("reasoning_effort".to_owned());
            None
        }
        (None, Some(effort)) => {
            let may_think = !(conversation.ends_in_thoughtless_calls && model.thinking() == Thinking::Budget);
            thinking_for(&effort, model, asked_tokens, may_think, &mut config, &mut given)?
        }
    };

    let mut json = format!("{{\"model\":{}", quoted(name));
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
    // Without tools there is nothing to choose from, and saying so is an error.
    if let Some(choice) = choice.as_ref().filter(|_| tools.is_some() || given.get("mcp_servers").is_some()) {
        member("tool_choice", choice);
    }
    if let Some(thinking) = &thinking {
        member("thinking", thinking);
    }
    if let Some(config) = config.json() {
        member("output_config", &config);
    }
    if let Some(stop) = given.get("stop").or(given.get("stop_sequences")) {
        let (sequences, has_blank) = stop_sequences(stop, name)?;
        if has_blank {
            given.refuse("stop", " of white space alone")?;
        }
        if !sequences.is_empty() {
            member("stop_sequences", &serde_json::to_string(&sequences).expect("they are JSON"));
        }
    }
    if let Some(metadata) = metadata(&mut given)? {
        member("metadata", &metadata);
    }
    if let Some(tier) = service_tier(&mut given)? {
        member("service_tier", &tier);
    }
    for (name, value) in request.params.iter().filter(|(name, _)| !MAPPED.contains(name)) {
        let Ok(value) = std::str::from_utf8(value) else { continue };
        match name {
            _ if ROW.unsupported.contains(&name) => {
                if !asks_for_nothing(name, value.as_bytes()) {
                    given.refuse(name, "")?;
                }
            }
            "temperature" | "top_p" | "top_k" => {
                let temperature = given.get("temperature");
                match model.sampling(name, value, thinks(thinking.as_deref()), temperature) {
                    Sampling::Omit => {}
                    // Asked not to raise, it is kind to leave out what the model is known to answer with a 400.
                    Sampling::Refused if request.drop_params => given.dropped.push(name.to_owned()),
                    Sampling::Send | Sampling::Refused => json += &format!(",{}:{value}", quoted(name)),
                }
            }
            _ => json += &format!(",{}:{value}", quoted(name)),
        }
    }
    json.push('}');
    Ok(Body { json, betas: given.strings("betas")?, dropped_params: given.dropped })
}

/// What the caller gave, and what of it was dropped.
struct CallerParams<'a> {
    request: &'a Request,
    dropped: Vec<String>,
}

impl<'a> CallerParams<'a> {
    /// A parameter's value, unless it is null.
    fn get(&self, name: &str) -> Option<&'a str> {
        self.request
            .params
            .get(name)
            .and_then(|json| std::str::from_utf8(json).ok())
            .map(str::trim)
            .filter(|json| *json != "null")
    }

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

    /// A parameter that cannot be had: an error, or one that is left out if the caller wants it so.
    fn refuse(&mut self, name: &str, why: &str) -> Result<()> {
        drop_or_refuse_because(ROW.name, name, why, self.request.drop_params, &mut self.dropped)
    }
}

/// `output_config`: the caller's own, with effort and format beside what is in there.
struct OutputConfig<'a> {
    own: Members<'a>,
    effort: Option<&'static str>,
    format: Option<String>,
}

impl<'a> OutputConfig<'a> {
    fn of(given: &CallerParams<'a>) -> Result<Self> {
        let own = given.get("output_config").map(|json| Members::of(json.as_bytes())).transpose();
        let own = own.map_err(|_| Error::argument("output_config is no object"))?.unwrap_or_default();
        Ok(Self { own, effort: None, format: None })
    }

    /// Takes OpenAI's `response_format`. A model that cannot be held to a format is told of it: the instruction is returned.
    fn format(&mut self, model: Model, format: &str) -> Result<Option<String>> {
        let wrong = || {
            Error::argument(format!(
                "response_format is {format}: {{\"type\": \"json_schema\", \"json_schema\": {{\"schema\": …}}}} would be right"
            ))
        };
        let members = Members::of(format.as_bytes()).map_err(|_| wrong())?;
        match members.string("type").as_deref() {
            Some("text") => Ok(None),
            // There is no such mode here: a format has to be closed, and this one is open.
            Some("json_object") => Ok(Some(instruction(None))),
            Some("json_schema") => {
                let schema = match members.some("json_schema") {
                    Some(inner) => {
                        Members::of(inner.as_bytes()).map_err(|_| wrong())?.some("schema").map(str::to_owned)
                    }
                    // Anthropic's own form.
                    None => members.some("schema").map(str::to_owned),
                };
                let schema = schema.ok_or_else(wrong)?;
                if !model.has_output_format() {
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
        // What the caller wrote in Anthropic's words has the say.
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

fn with_instruction(system: Option<&str>, instruction: &str) -> String {
    let block = format!(r#"{{"type":"text","text":{}}}"#, quoted(instruction));
    match system {
        None => quoted(instruction),
        Some(text) if text.starts_with('"') => format!(r#"[{{"type":"text","text":{text}}},{block}]"#),
        Some(list) => format!("{},{block}]", &list[..list.len() - 1]),
    }
}

/// `thinking` for OpenAI's `reasoning_effort`. Where effort leads it, that goes into `config`.
fn thinking_for(
    effort: &str,
    model: Model,
    max_tokens: Option<u64>,
    may_think: bool,
    config: &mut OutputConfig,
    given: &mut CallerParams,
) -> Result<Option<String>> {
    const KNOWN: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh", "max"];
    let Some(effort) = KNOWN.iter().copied().find(|known| *known == effort) else {
        return Err(Error::argument(format!(
            "reasoning_effort is {effort:?}: one of {} would be right",
            KNOWN.join(", ")
        )));
    };
    // The thinking is asked for in a form to be read: newer models leave its text out unless told otherwise.
    let adaptive = || Some(r#"{"type":"adaptive","display":"summarized"}"#.to_owned());
    match (model.thinking(), effort) {
        (Thinking::Never, "none") => Ok(None),
        (Thinking::Never, _) => given.refuse("reasoning_effort", " for this model").map(|()| None),
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
                "minimal" => LEAST_BUDGET,
                "low" => 2048,
                "medium" => 8192,
                "high" => 16_384,
                _ => 31_999,
            };
            // The limit that the caller set holds for thinking and answer together: half of it is left for the answer.
            let budget = max_tokens.map_or(budget, |most| budget.min(most / 2).max(LEAST_BUDGET));
            if !may_think || max_tokens.is_some_and(|most| most <= LEAST_BUDGET) {
                given.dropped.push("reasoning_effort".to_owned());
                return Ok(None);
            }
            Ok(Some(format!(r#"{{"type":"enabled","budget_tokens":{budget}}}"#)))
        }
    }
}

/// Whether an effort makes a model think.
fn is_asked(effort: &str, model: Model) -> bool {
    effort != "none" && model.thinking() != Thinking::Never
}

fn forces_a_call(choice: &str) -> bool {
    let kind = Members::of(choice.as_bytes()).ok().and_then(|choice| choice.string("type"));
    matches!(kind.as_deref(), Some("any" | "tool"))
}

/// Whether thinking is asked for.
fn thinks(thinking: Option<&str>) -> bool {
    let kind = thinking.and_then(|thinking| Members::of(thinking.as_bytes()).ok()?.string("type"));
    matches!(kind.as_deref(), Some("enabled" | "adaptive"))
}

/// `max_tokens` where the caller does not say: the model's default, beside the thinking budget.
fn max_tokens_beside(thinking: Option<&str>, model: Model) -> u64 {
    let budget =
        thinking.and_then(|thinking| Members::of(thinking.as_bytes()).ok()?.get("budget_tokens")?.parse::<u64>().ok());
    let room =
        budget.map_or(0, |budget| budget.saturating_add(model.default_max_tokens())).min(model.max_output_tokens());
    room.max(model.default_max_tokens()).max(budget.map_or(0, |budget| budget.saturating_add(1)))
}

fn tools(model: Model, given: &mut CallerParams) -> Result<Option<String>> {
    let list: Vec<&RawValue> = match given.get("tools") {
        Some(json) => serde_json::from_str(json).map_err(|_| Error::argument("tools is no list of tools"))?,
        None => Vec::new(),
    };
    let mut tools = Vec::with_capacity(list.len());
    for tool in list {
        tools.extend(convert_tool(tool.get(), model, given)?);
    }
    if let Some(options) = given.get("web_search_options") {
        tools.push(web_search(options)?);
    }
    Ok((!tools.is_empty()).then(|| format!("[{}]", tools.join(","))))
}

/// A function as a tool; a tool of Anthropic's own as it is.
fn convert_tool(tool: &str, model: Model, given: &mut CallerParams) -> Result<Option<String>> {
    let members = Members::of(tool.as_bytes()).map_err(|_| Error::argument("tools has an item that is no object"))?;
    if members.some("custom").is_some() {
        return given.refuse("tools", CUSTOM_TOOL).map(|()| None);
    }
    let Some(function) = members.some("function") else { return Ok(Some(tool.to_owned())) };
    let function =
        Members::of(function.as_bytes()).map_err(|_| Error::argument("tools has a function that is no object"))?;
    let mut converted = String::from("{");
    let mut has_schema = false;
    let is_strict = function.get("strict") == Some("true") && (model.has_output_format() || !model.is_claude());
    // What is beside the function (cache_control, defer_loading, input_examples, …) is Anthropic's.
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
            // Without it a tool is called all the same, only that nothing holds the arguments to their schema.
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

/// OpenAI's `web_search_options` as the server tool that does it:
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

fn tool_choice(model: Model, given: &mut CallerParams) -> Result<Option<String>> {
    let alone =
        given.read::<bool>("parallel_tool_calls", "True or False")? == Some(false) && given.get("tools").is_some();
    let choice = match given.get("tool_choice") {
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
                    given.refuse("tool_choice", &format!(" of type {kind:?}"))?;
                    None
                }
                _ => return Err(wrong()),
            }
        }
    };
    let choice = match choice {
        Some(choice) if model.forced_tools() == Forced::Never && forces_a_call(&choice) => {
            given.refuse("tool_choice", " that makes this model call")?;
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

/// The one thing that Anthropic wants to know about the caller's users.
fn metadata(given: &mut CallerParams) -> Result<Option<String>> {
    let metadata = given.get("metadata").map(|json| Members::of(json.as_bytes())).transpose();
    let metadata = metadata.map_err(|_| Error::argument("metadata is no dict"))?.unwrap_or_default();
    if metadata.0.iter().any(|(name, _)| name != "user_id") {
        given.refuse("metadata", " (but for user_id in it)")?;
    }
    let user = given.get("user").or(metadata.some("user_id")).or(given.get("safety_identifier"));
    Ok(user.map(|user| format!(r#"{{"user_id":{user}}}"#)))
}

fn service_tier(given: &mut CallerParams) -> Result<Option<String>> {
    let Some(tier) = given.string("service_tier")? else { return Ok(None) };
    Ok(match &*tier {
        // Priority capacity is used where the organisation has bought some, unless it is told not to be.
        "auto" | "priority" => Some(r#""auto""#.to_owned()),
        "default" | "standard_only" => Some(r#""standard_only""#.to_owned()),
        _ => given.refuse("service_tier", &format!(" of {tier:?}")).map(|()| None)?,
    })
}
