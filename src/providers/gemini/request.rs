//! OpenAI's parameters → the body of a `generateContent` request.
//!
//! Parameters: <https://ai.google.dev/api/generate-content#v1beta.GenerationConfig>; thinking:
//! <https://ai.google.dev/gemini-api/docs/thinking>; how Google itself reads `reasoning_effort`:
//! <https://ai.google.dev/gemini-api/docs/openai#thinking>.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::contents;
use crate::error::{Error, Result};
use crate::providers::families::gemini::{Rules, Thinking, rules};
use crate::providers::unsupported::{CUSTOM_TOOL, asks_for_nothing, drop_or_refuse_because};
use crate::types::members::Members;
use crate::types::params::Params;
use crate::types::request::Request;

/// A request's body, and the parameters that were dropped.
pub(super) struct Body {
    pub json: Vec<u8>,
    pub dropped_params: Vec<String>,
}

/// OpenAI's parameters that go into `generationConfig` under another name, with the same values.
const RENAMED: &[(&str, &str)] = &[
    ("max_completion_tokens", "maxOutputTokens"),
    ("n", "candidateCount"),
    ("presence_penalty", "presencePenalty"),
    ("frequency_penalty", "frequencyPenalty"),
    ("top_logprobs", "logprobs"),
];

/// Members of `generationConfig`, which callers may also pass as parameters, in either spelling.
const GENERATION_CONFIG: &[&str] = &[
    "audioTimestamp",
    "audioTranscriptionConfig",
    "candidateCount",
    "enableAffectiveDialog",
    "enableEnhancedCivicAnswers",
    "frequencyPenalty",
    "imageConfig",
    "maxOutputTokens",
    "mediaResolution",
    "modelSelectionConfig",
    "presencePenalty",
    "responseJsonSchema",
    "responseLogprobs",
    "responseMimeType",
    "responseModalities",
    "responseSchema",
    "routingConfig",
    "seed",
    "speechConfig",
    "stopSequences",
    "temperature",
    "thinkingConfig",
    "topK",
    "topP",
    "translationConfig",
];

/// OpenAI's parameters that Google does not have.
const UNSUPPORTED: &[&str] = &[
    "function_call",
    "functions",
    "logit_bias",
    "metadata",
    "moderation",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "user",
    "verbosity",
];

/// Member of `toolConfig` that allows Google's own tools beside functions.
const MIX_TOOLS: &str = "includeServerSideToolInvocations";

/// Writes the body of a request to `model`.
///
/// # Errors
/// If a parameter cannot be read or, without `drop_params`, if Google cannot do what it asks for.
pub(super) fn write(provider: &'static str, is_vertex: bool, model: &str, request: &Request) -> Result<Body> {
    let size = request.params.len();
    let mut writer = Writer {
        provider,
        is_vertex,
        rules: rules(model),
        drop_params: request.drop_params,
        body: Params::with_capacity(size + 256),
        config: Params::with_capacity(256),
        tool_config: Params::default(),
        tools: Vec::new(),
        dropped_params: Vec::new(),
    };
    for (name, value) in request.params.iter() {
        writer.param(name, value, &request.params)?;
    }
    writer.mix_tools();
    let Writer { mut body, config, tool_config, tools, dropped_params, .. } = writer;
    if !tools.is_empty() {
        put(&mut body, "tools", &tools);
    }
    for (name, members) in [("toolConfig", tool_config), ("generationConfig", config)] {
        if members.iter().next().is_some() {
            body.set(name, &object(&members));
        }
    }
    Ok(Body { json: object(&body), dropped_params })
}

/// The members of a request, as they are collected.
struct Writer {
    provider: &'static str,
    is_vertex: bool,
    rules: &'static Rules,
    drop_params: bool,
    body: Params,
    /// `generationConfig`.
    config: Params,
    /// `toolConfig`.
    tool_config: Params,
    tools: Vec<Box<RawValue>>,
    dropped_params: Vec<String>,
}

impl Writer {
    /// Converts a parameter; `all` are those of the call.
    fn param(&mut self, name: &str, value: &[u8], all: &Params) -> Result<()> {
        if let Some((_, native)) = RENAMED.iter().find(|(known, _)| *known == name) {
            self.config.set(native, value);
            return Ok(());
        }
        match name {
            "messages" => self.messages(value)?,
            "max_tokens" if all.get("max_completion_tokens").is_none() => self.config.set("maxOutputTokens", value),
            // The newer name wins.
            "max_tokens" => {}
            "stop" if value.starts_with(b"[") => self.config.set("stopSequences", value),
            "stop" => put(&mut self.config, "stopSequences", &[raw(name, value)?]),
            "logprobs" if matches!(value, b"true" | b"false") => self.config.set("responseLogprobs", value),
            "logprobs" => self.config.set("logprobs", value),
            "modalities" => {
                let modalities: Vec<String> = read(name, value)?;
                put(
                    &mut self.config,
                    "responseModalities",
                    &modalities.iter().map(|modality| modality.to_uppercase()).collect::<Vec<_>>(),
                );
            }
            "audio" => self.audio(value)?,
            "response_format" => self.response_format(value)?,
            "reasoning_effort" if !has_thinking_config(all) && all.get("thinking").is_none() => {
                let effort: String = read(name, value)?;
                self.effort(name, &effort)?;
            }
            "thinking" if !has_thinking_config(all) => self.thinking(value)?,
            // Google's own parameter wins.
            "reasoning_effort" | "thinking" => {}
            "tools" => self.tools(value)?,
            "tool_choice" => self.tool_choice(value)?,
            "web_search_options" => match read::<Map<String, Value>>(name, value)?.keys().next() {
                None => self.tools.push(to_raw(&json!({"googleSearch": {}}))),
                Some(option) => self.unsupported_value(name, &format!(" with {option}"))?,
            },
            // The model decides by itself whether to call functions in parallel.
            "parallel_tool_calls" if asks_for_nothing(name, value) => {}
            "parallel_tool_calls" => self.unsupported(name)?,
            "service_tier" => match read::<String>(name, value)?.as_str() {
                "auto" => {}
                "default" => put(&mut self.body, "serviceTier", "standard"),
                tier @ ("flex" | "priority" | "standard") => put(&mut self.body, "serviceTier", tier),
                tier => self.unsupported_value(name, &format!(" of {tier:?}"))?,
            },
            // The Gemini API's switch for logging, with OpenAI's meaning.
            "store" if !self.is_vertex => self.body.set(name, value),
            "store" if asks_for_nothing(name, value) => {}
            "store" => self.unsupported(name)?,
            // Read by the stream's decoder; Google always sends the usage.
            "stream_options" => {}
            "generationConfig" | "generation_config" => merge(&mut self.config, &read(name, value)?),
            "toolConfig" | "tool_config" => merge(&mut self.tool_config, &read(name, value)?),
            name if UNSUPPORTED.contains(&name) && asks_for_nothing(name, value) => {}
            name if UNSUPPORTED.contains(&name) => self.unsupported(name)?,
            name => match GENERATION_CONFIG.iter().find(|known| **known == camel_case(name)) {
                Some(native) => self.config.set(native, value),
                None => self.body.set(name, value),
            },
        }
        Ok(())
    }

    /// Rejects a parameter, or drops it with `drop_params`.
    fn unsupported(&mut self, name: &str) -> Result<()> {
        self.unsupported_value(name, "")
    }

    /// Rejects or drops a value of a parameter; `why` follows the name in the message.
    fn unsupported_value(&mut self, name: &str, why: &str) -> Result<()> {
        drop_or_refuse_because(self.provider, name, why, self.drop_params, &mut self.dropped_params)
    }

    /// Converts the messages.
    fn messages(&mut self, value: &[u8]) -> Result<()> {
        let messages: Vec<contents::Message> = read("messages", value)?;
        let (contents, instruction) = contents::translate(&messages, self.rules)?;
        put(&mut self.body, "contents", &contents);
        if let Some(instruction) = instruction {
            put(&mut self.body, "systemInstruction", &instruction);
        }
        Ok(())
    }

    /// Converts `audio`: the voice of a spoken answer, whose format is always raw samples.
    fn audio(&mut self, value: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct Audio {
            voice: Option<Value>,
            format: Option<String>,
        }
        let audio: Audio = read("audio", value)?;
        if let Some(format) = audio.format.filter(|format| format != "pcm16") {
            self.unsupported_value("audio", &format!(" with the format {format:?}"))?;
        }
        if let Some(voice) = audio.voice {
            put(
                &mut self.config,
                "speechConfig",
                &json!({"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}),
            );
        }
        Ok(())
    }

    /// Converts `response_format`.
    fn response_format(&mut self, value: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct Format<'a> {
            #[serde(rename = "type")]
            kind: String,
            #[serde(borrow)]
            json_schema: Option<Schema<'a>>,
        }
        #[derive(Deserialize)]
        struct Schema<'a> {
            #[serde(borrow)]
            schema: Option<&'a RawValue>,
        }
        let format: Format = read("response_format", value)?;
        match format.kind.as_str() {
            "text" => {}
            "json_object" | "json_schema" => {
                put(&mut self.config, "responseMimeType", "application/json");
                if let Some(schema) = format.json_schema.and_then(|schema| schema.schema) {
                    put(&mut self.config, "responseJsonSchema", schema);
                }
            }
            kind => self.unsupported_value("response_format", &format!(" of type {kind:?}"))?,
        }
        Ok(())
    }

    /// Converts Anthropic's `thinking`, which LiteLLM accepts for every provider.
    fn thinking(&mut self, value: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct ThinkingParam {
            #[serde(rename = "type")]
            kind: String,
            budget_tokens: Option<i64>,
        }
        let param: ThinkingParam = read("thinking", value)?;
        let config = match (param.kind.as_str(), param.budget_tokens) {
            ("disabled", _) => return self.effort("thinking", "none"),
            _ if self.rules.thinking == Thinking::Never => return self.unsupported_value("thinking", &self.on_model()),
            (_, Some(budget)) => {
                json!({"thinkingBudget": self.rules.thinking.budget(budget), "includeThoughts": true})
            }
            // Without a budget, the model chooses, which is the default.
            (_, None) => json!({"includeThoughts": true}),
        };
        put(&mut self.config, "thinkingConfig", &config);
        Ok(())
    }

    fn on_model(&self) -> String {
        format!(" on this model ({})", self.rules.models)
    }

    /// Converts an effort of OpenAI's, which the parameter `name` asks for.
    fn effort(&mut self, name: &str, effort: &str) -> Result<()> {
        match thinking_of_effort(self.rules.thinking, effort)? {
            Some(_) if self.rules.thinking == Thinking::Never => return self.unsupported_value(name, &self.on_model()),
            Some(config) => put(&mut self.config, "thinkingConfig", &config),
            None => {}
        }
        Ok(())
    }

    /// Converts `tools`: OpenAI's functions become declarations of one tool, Google's own tools are sent as they are.
    fn tools(&mut self, value: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct Tool<'a> {
            #[serde(rename = "type")]
            kind: Option<String>,
            #[serde(borrow)]
            function: Option<Function<'a>>,
        }
        #[derive(Deserialize, Serialize)]
        #[serde(rename_all(serialize = "camelCase"))]
        struct Function<'a> {
            name: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            description: Option<String>,
            #[serde(borrow, rename(serialize = "parametersJsonSchema"), skip_serializing_if = "Option::is_none")]
            parameters: Option<&'a RawValue>,
        }
        #[derive(Serialize)]
        struct Declarations<'a> {
            #[serde(rename = "functionDeclarations")]
            functions: Vec<Function<'a>>,
        }
        let mut functions = Vec::new();
        for (index, tool) in read::<Vec<&RawValue>>("tools", value)?.into_iter().enumerate() {
            match read(&format!("tools[{index}]"), tool.get().as_bytes())? {
                Tool { function: Some(function), .. } => functions.push(function),
                Tool { kind: Some(kind), .. } if kind == "custom" => self.unsupported_value("tools", CUSTOM_TOOL)?,
                Tool { .. } => self.tools.push(tool.to_owned()),
            }
        }
        if !functions.is_empty() {
            self.tools.insert(0, to_raw(&Declarations { functions }));
        }
        Ok(())
    }

    /// Allows Google's own tools beside functions: without this switch, which Vertex AI does not have, the Gemini API
    /// answers with a 400.
    fn mix_tools(&mut self) {
        if self.is_vertex || !self.rules.mixes_tools || self.tool_config.get(MIX_TOOLS).is_some() {
            return;
        }
        let (mut functions, mut native) = (false, false);
        for tool in self.tools.iter().filter_map(|tool| Members::of(tool.get().as_bytes()).ok()) {
            for (name, _) in &tool.0 {
                let is_functions = matches!(&**name, "functionDeclarations" | "function_declarations");
                functions |= is_functions;
                native |= !is_functions;
            }
        }
        if functions && native {
            self.tool_config.set(MIX_TOOLS, b"true");
        }
    }

    /// Converts `tool_choice`.
    fn tool_choice(&mut self, value: &[u8]) -> Result<()> {
        let choice: Value = read("tool_choice", value)?;
        let names = |tools: &Value| {
            tools.as_array().into_iter().flatten().map(|tool| tool["function"]["name"].clone()).collect::<Vec<_>>()
        };
        let config = match (choice.as_str().or(choice["type"].as_str()), &choice["function"]["name"]) {
            (Some("auto"), _) => json!({"mode": "AUTO"}),
            (Some("none"), _) => json!({"mode": "NONE"}),
            (Some("required" | "any"), _) => json!({"mode": "ANY"}),
            (Some("function"), name @ Value::String(_)) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
            (Some("allowed_tools"), _) => {
                let allowed = &choice["allowed_tools"];
                // AUTO does not allow a list of names.
                let mode = if allowed["mode"] == "required" { "ANY" } else { "VALIDATED" };
                json!({"mode": mode, "allowedFunctionNames": names(&allowed["tools"])})
            }
            _ => return self.unsupported_value("tool_choice", &format!(" of {choice}")),
        };
        put(&mut self.tool_config, "functionCallingConfig", &config);
        Ok(())
    }
}

/// Returns true if the caller passes Google's own `thinkingConfig`.
fn has_thinking_config(params: &Params) -> bool {
    let in_config = |name: &str| {
        let config = params.get(name).and_then(|config| Members::of(config).ok());
        config.is_some_and(|config| config.some("thinkingConfig").or(config.some("thinking_config")).is_some())
    };
    params.get("thinkingConfig").or(params.get("thinking_config")).is_some()
        || in_config("generationConfig")
        || in_config("generation_config")
}

/// Converts an effort into `thinkingConfig`: a level since Gemini 3, before that a budget in tokens, by Google's own
/// table. No thinking is converted to the least that the model takes. `None` if nothing has to be sent.
fn thinking_of_effort(thinking: Thinking, effort: &str) -> Result<Option<Value>> {
    let is_off = matches!(effort, "none" | "disable");
    let budget = match effort {
        "none" | "disable" => 0,
        "minimal" | "low" => 1024,
        "medium" => 8192,
        "high" | "xhigh" | "max" => 24576,
        _ => {
            return Err(Error::argument(format!(
                "reasoning_effort is {effort:?}: none, minimal, low, medium, high, xhigh or max would be right"
            )));
        }
    };
    let mut config = match thinking {
        Thinking::Budget { .. } => json!({"thinkingBudget": thinking.budget(budget)}),
        Thinking::Levels(_) => json!({"thinkingLevel": thinking.level(effort)}),
        Thinking::Always | Thinking::Never if is_off => return Ok(None),
        Thinking::Always | Thinking::Never => json!({}),
    };
    if !is_off {
        config["includeThoughts"] = true.into();
    }
    Ok(Some(config))
}

/// Converts snake case to camel case: `top_k` → `topK`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out += letters.as_str();
    }
    out
}

/// Parses a parameter.
///
/// # Errors
/// `InvalidArgument`, with its name, if it is of another type.
fn read<'a, T: Deserialize<'a>>(name: &str, value: &'a [u8]) -> Result<T> {
    serde_json::from_slice(value).map_err(|error| Error::argument(format!("{name} cannot be used: {error}")))
}

/// Returns a parameter as raw JSON.
fn raw<'a>(name: &str, value: &'a [u8]) -> Result<&'a RawValue> {
    read(name, value)
}

/// Sets a member.
fn put<T: Serialize + ?Sized>(params: &mut Params, name: &str, value: &T) {
    params.set_with(name, |out| serde_json::to_writer(out, value)).expect("these values are JSON");
}

/// Sets members, with names in camel case.
fn merge(params: &mut Params, members: &Members) {
    members.0.iter().for_each(|(name, value)| params.set(&camel_case(name), value.get().as_bytes()));
}

/// Serializes a value.
fn to_raw(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("these values are JSON")
}

/// Writes the members as a JSON object.
fn object(members: &Params) -> Vec<u8> {
    let mut out = Vec::with_capacity(members.len() + 2);
    members.write_members(&[], &mut out);
    match out.first_mut() {
        // Each member is preceded by a comma.
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
    out
}
