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

/// A request's body, and what was left out of it.
pub(super) struct Written {
    pub body: Vec<u8>,
    pub dropped_params: Vec<String>,
}

/// OpenAI's parameters that Google has under another name and with the same values: they go into `generationConfig`.
const RENAMED: &[(&str, &str)] = &[
    ("max_completion_tokens", "maxOutputTokens"),
    ("n", "candidateCount"),
    ("presence_penalty", "presencePenalty"),
    ("frequency_penalty", "frequencyPenalty"),
    ("top_logprobs", "logprobs"),
];

/// What Google itself has in `generationConfig`. The caller may name these directly, in either spelling.
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

/// OpenAI's parameters for which Google has nothing.
const LACKING: &[&str] = &[
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

/// The switch that lets Google's own tools stand beside functions.
const MIX_TOOLS: &str = "includeServerSideToolInvocations";

/// Writes the body of a request to `model`.
pub(super) fn write(provider: &'static str, is_vertex: bool, model: &str, request: &Request) -> Result<Written> {
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
    Ok(Written { body: object(&body), dropped_params })
}

struct Writer {
    provider: &'static str,
    is_vertex: bool,
    rules: &'static Rules,
    drop_params: bool,
    body: Params,
    config: Params,
    tool_config: Params,
    tools: Vec<Box<RawValue>>,
    dropped_params: Vec<String>,
}

impl Writer {
    fn param(&mut self, name: &str, value: &[u8], all: &Params) -> Result<()> {
        if let Some((_, native)) = RENAMED.iter().find(|(known, _)| *known == name) {
            self.config.set(native, value);
            return Ok(());
        }
        match name {
            "messages" => self.messages(value)?,
            "max_tokens" if all.get("max_completion_tokens").is_none() => self.config.set("maxOutputTokens", value),
            // The newer name has the say.
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
            "reasoning_effort" if !names_thinking_config(all) && all.get("thinking").is_none() => {
                let effort: String = read(name, value)?;
                self.effort(name, &effort)?;
            }
            "thinking" if !names_thinking_config(all) => self.thinking(value)?,
            // What Google calls by its own name has the say.
            "reasoning_effort" | "thinking" => {}
            "tools" => self.tools(value)?,
            "tool_choice" => self.tool_choice(value)?,
            "web_search_options" => match read::<Map<String, Value>>(name, value)?.keys().next() {
                None => self.tools.push(written(&json!({"googleSearch": {}}))),
                Some(option) => self.lacks_value(name, &format!(" with {option}"))?,
            },
            // It calls functions in parallel as it likes.
            "parallel_tool_calls" if asks_for_nothing(name, value) => {}
            "parallel_tool_calls" => self.lacks(name)?,
            "service_tier" => match read::<String>(name, value)?.as_str() {
                "auto" => {}
                "default" => put(&mut self.body, "serviceTier", "standard"),
                tier @ ("flex" | "priority" | "standard") => put(&mut self.body, "serviceTier", tier),
                tier => self.lacks_value(name, &format!(" of {tier:?}"))?,
            },
            // The Gemini API's switch for logging, which is what it is with OpenAI.
            "store" if !self.is_vertex => self.body.set(name, value),
            "store" if asks_for_nothing(name, value) => {}
            "store" => self.lacks(name)?,
            // The stream's decoder reads it; usage always comes.
            "stream_options" => {}
            "generationConfig" | "generation_config" => merge(&mut self.config, &read(name, value)?),
            "toolConfig" | "tool_config" => merge(&mut self.tool_config, &read(name, value)?),
            name if LACKING.contains(&name) && asks_for_nothing(name, value) => {}
            name if LACKING.contains(&name) => self.lacks(name)?,
            name => match GENERATION_CONFIG.iter().find(|known| **known == camel_case(name)) {
                Some(native) => self.config.set(native, value),
                None => self.body.set(name, value),
            },
        }
        Ok(())
    }

    /// Refuses a parameter, or leaves it out if the caller wants that.
    fn lacks(&mut self, name: &str) -> Result<()> {
        self.lacks_value(name, "")
    }

    /// The same for one value of it: `why` follows the name in the message.
    fn lacks_value(&mut self, name: &str, why: &str) -> Result<()> {
        drop_or_refuse_because(self.provider, name, why, self.drop_params, &mut self.dropped_params)
    }

    fn messages(&mut self, value: &[u8]) -> Result<()> {
        let messages: Vec<contents::Message> = read("messages", value)?;
        let (contents, instruction) = contents::translate(&messages, self.rules)?;
        put(&mut self.body, "contents", &contents);
        if let Some(instruction) = instruction {
            put(&mut self.body, "systemInstruction", &instruction);
        }
        Ok(())
    }

    /// The voice of a spoken answer; the format is always raw samples.
    fn audio(&mut self, value: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct Audio {
            voice: Option<Value>,
            format: Option<String>,
        }
        let audio: Audio = read("audio", value)?;
        if let Some(format) = audio.format.filter(|format| format != "pcm16") {
            self.lacks_value("audio", &format!(" with the format {format:?}"))?;
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
            kind => self.lacks_value("response_format", &format!(" of type {kind:?}"))?,
        }
        Ok(())
    }

    /// Anthropic's parameter, which LiteLLM takes for every provider.
    fn thinking(&mut self, value: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct ThinkingParam {
            #[serde(rename = "type")]
            kind: String,
            budget_tokens: Option<i64>,
        }
        let given: ThinkingParam = read("thinking", value)?;
        let config = match (given.kind.as_str(), given.budget_tokens) {
            ("disabled", _) => return self.effort("thinking", "none"),
            _ if self.rules.thinking == Thinking::Never => return self.lacks_value("thinking", &self.on_model()),
            (_, Some(budget)) => {
                json!({"thinkingBudget": self.rules.thinking.budget(budget), "includeThoughts": true})
            }
            // It thinks as much as it likes, which is the default.
            (_, None) => json!({"includeThoughts": true}),
        };
        put(&mut self.config, "thinkingConfig", &config);
        Ok(())
    }

    fn on_model(&self) -> String {
        format!(" on this model ({})", self.rules.models)
    }

    /// An effort of OpenAI's, given by the parameter `name`.
    fn effort(&mut self, name: &str, effort: &str) -> Result<()> {
        match thinking_of_effort(self.rules.thinking, effort)? {
            Some(_) if self.rules.thinking == Thinking::Never => return self.lacks_value(name, &self.on_model()),
            Some(config) => put(&mut self.config, "thinkingConfig", &config),
            None => {}
        }
        Ok(())
    }

    /// OpenAI's functions become one tool with many declarations; Google's own tools stay what they are.
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
        for (place, tool) in read::<Vec<&RawValue>>("tools", value)?.into_iter().enumerate() {
            match read(&format!("tools[{place}]"), tool.get().as_bytes())? {
                Tool { function: Some(function), .. } => functions.push(function),
                Tool { kind: Some(kind), .. } if kind == "custom" => self.lacks_value("tools", CUSTOM_TOOL)?,
                Tool { .. } => self.tools.push(tool.to_owned()),
            }
        }
        if !functions.is_empty() {
            self.tools.insert(0, written(&Declarations { functions }));
        }
        Ok(())
    }

    /// Google's own tools beside functions are a 400 on the Gemini API without this switch, which Vertex AI does not have.
    fn mix_tools(&mut self) {
        if self.is_vertex || !self.rules.mixes_tools || self.tool_config.get(MIX_TOOLS).is_some() {
            return;
        }
        let (mut functions, mut own) = (false, false);
        for tool in self.tools.iter().filter_map(|tool| Members::of(tool.get().as_bytes()).ok()) {
            for (name, _) in &tool.0 {
                let is_functions = matches!(&**name, "functionDeclarations" | "function_declarations");
                functions |= is_functions;
                own |= !is_functions;
            }
        }
        if functions && own {
            self.tool_config.set(MIX_TOOLS, b"true");
        }
    }

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
                // AUTO takes no list of names.
                let mode = if allowed["mode"] == "required" { "ANY" } else { "VALIDATED" };
                json!({"mode": mode, "allowedFunctionNames": names(&allowed["tools"])})
            }
            _ => return self.lacks_value("tool_choice", &format!(" of {choice}")),
        };
        put(&mut self.tool_config, "functionCallingConfig", &config);
        Ok(())
    }
}

fn names_thinking_config(params: &Params) -> bool {
    let in_config = |name: &str| {
        let config = params.get(name).and_then(|config| Members::of(config).ok());
        config.is_some_and(|config| config.some("thinkingConfig").or(config.some("thinking_config")).is_some())
    };
    params.get("thinkingConfig").or(params.get("thinking_config")).is_some()
        || in_config("generationConfig")
        || in_config("generation_config")
}

/// `reasoning_effort` as `thinkingConfig`: a level since Gemini 3, a budget in tokens before, the budgets being Google's own.
/// The least that the model takes stands for no thinking. `None`: nothing has to be said.
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

/// `top_k` → `topK`.
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

/// A parameter's value as what it should be.
fn read<'a, T: Deserialize<'a>>(name: &str, value: &'a [u8]) -> Result<T> {
    serde_json::from_slice(value).map_err(|error| Error::argument(format!("{name} cannot be used: {error}")))
}

fn raw<'a>(name: &str, value: &'a [u8]) -> Result<&'a RawValue> {
    read(name, value)
}

fn put<T: Serialize + ?Sized>(params: &mut Params, name: &str, value: &T) {
    params.set_with(name, |out| serde_json::to_writer(out, value)).expect("these values are JSON");
}

fn merge(params: &mut Params, members: &Members) {
    members.0.iter().for_each(|(name, value)| params.set(&camel_case(name), value.get().as_bytes()));
}

fn written(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("these values are JSON")
}

fn object(members: &Params) -> Vec<u8> {
    let mut out = Vec::with_capacity(members.len() + 2);
    members.write_members(&[], &mut out);
    match out.first_mut() {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
    out
}
