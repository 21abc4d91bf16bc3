//! Tests how every OpenAI chat parameter is sent to every provider, by encoding requests with and without it.
//!
//! They check that:
//! - no parameter is ignored silently: it changes the request, or is rejected, or is listed in [`NO_EFFECT`];
//! - a rejected parameter can be dropped instead, and is then listed in the result;
//! - `docs/parameters.md` matches the code. `UPDATE_DOCS=1 cargo test --no-default-features --test parameters` writes
//!   the page.

use std::collections::BTreeSet;
use std::fmt::Write;

use ritellm::error::{Error, ErrorKind};
use ritellm::providers::{DeploymentArgs, Provider, TABLE, all, resolve};
use ritellm::types::operation::Operation;
use ritellm::types::params::Params;
use ritellm::types::request::Request;
use ritellm::types::secret::Secret;
use serde_json::{Map, Value, json};

/// Parameters that the page shows in one table.
struct Group {
    title: &'static str,
    parameters: &'static [Parameter],
}

struct Parameter {
    name: &'static str,
    /// Other parameters that this one requires: a JSON object.
    beside: &'static str,
    samples: &'static [Sample],
}

struct Sample {
    /// Text that distinguishes this value from the parameter's other values on the page.
    label: &'static str,
    json: &'static str,
    /// True if the value is the default behaviour: then it can be left out of the request and need not be rejected.
    is_default: bool,
}

const fn sample(label: &'static str, json: &'static str) -> Sample {
    Sample { label, json, is_default: false }
}

const fn default(label: &'static str, json: &'static str) -> Sample {
    Sample { label, json, is_default: true }
}

const fn parameter(name: &'static str, samples: &'static [Sample]) -> Parameter {
    Parameter { name, beside: "{}", samples }
}

/// Two tools, so that the comparison shows if a `tool_choice` leaves one out.
const TOOLS: &str = r#"{"tools": [
    {"type": "function", "function": {"name": "f", "description": "F.", "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}}},
    {"type": "function", "function": {"name": "g", "description": "G.", "parameters": {"type": "object", "properties": {}}}}
]}"#;

/// Every parameter of OpenAI's `chat.completions.create` except `model`, `messages` and `stream`.
const GROUPS: &[Group] = &[
    Group {
        title: "Length and sampling",
        parameters: &[
            parameter("max_completion_tokens", &[sample("", "500")]),
            parameter("max_tokens", &[sample("", "500")]),
            parameter("temperature", &[sample("", "0.5")]),
            parameter("top_p", &[sample("", "0.5")]),
            parameter("stop", &[sample("a string", r#""END""#), sample("a list", r#"["END","STOP"]"#)]),
            parameter("seed", &[sample("", "7")]),
            parameter("n", &[default("1", "1"), sample("2", "2")]),
            parameter("frequency_penalty", &[default("0", "0"), sample("other", "0.5")]),
            parameter("presence_penalty", &[default("0", "0.0"), sample("other", "0.5")]),
            parameter("logit_bias", &[sample("", r#"{"50256":-100}"#)]),
            parameter("logprobs", &[default("false", "false"), sample("true", "true")]),
            Parameter { name: "top_logprobs", beside: r#"{"logprobs": true}"#, samples: &[sample("", "3")] },
        ],
    },
    Group {
        title: "Tools",
        parameters: &[
            parameter(
                "tools",
                &[sample(
                    "functions",
                    r#"[{"type":"function","function":{"name":"f","description":"F.","parameters":{"type":"object","properties":{}}}}]"#,
                )],
            ),
            parameter("tools", &[sample("custom", r#"[{"type":"custom","custom":{"name":"c","description":"C."}}]"#)]),
            Parameter {
                name: "tool_choice",
                beside: TOOLS,
                samples: &[
                    default("auto", r#""auto""#),
                    sample("none", r#""none""#),
                    sample("required", r#""required""#),
                    sample("one function", r#"{"type":"function","function":{"name":"g"}}"#),
                    sample(
                        "allowed_tools",
                        r#"{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"g"}}]}}"#,
                    ),
                ],
            },
            Parameter {
                name: "parallel_tool_calls",
                beside: TOOLS,
                samples: &[default("true", "true"), sample("false", "false")],
            },
            parameter(
                "web_search_options",
                &[
                    sample("empty", "{}"),
                    sample(
                        "with a place",
                        r#"{"user_location":{"type":"approximate","approximate":{"country":"CH"}}}"#,
                    ),
                ],
            ),
            // What `tools` and `tool_choice` were before 2023-11.
            parameter("functions", &[sample("", r#"[{"name":"f","parameters":{"type":"object","properties":{}}}]"#)]),
            parameter("function_call", &[sample("", r#"{"name":"f"}"#)]),
        ],
    },
    Group {
        title: "Output format",
        parameters: &[
            parameter(
                "response_format",
                &[
                    default("text", r#"{"type":"text"}"#),
                    sample("json_object", r#"{"type":"json_object"}"#),
                    sample(
                        "json_schema",
                        r#"{"type":"json_schema","json_schema":{"name":"s","strict":true,"schema":{"type":"object","properties":{"x":{"type":"string"}},"required":["x"],"additionalProperties":false}}}"#,
                    ),
                ],
            ),
            parameter("verbosity", &[sample("", r#""low""#)]),
            parameter("modalities", &[default("text", r#"["text"]"#), sample("text, audio", r#"["text","audio"]"#)]),
            Parameter {
                name: "audio",
                beside: r#"{"modalities": ["text", "audio"]}"#,
                samples: &[
                    sample("pcm16", r#"{"voice":"alloy","format":"pcm16"}"#),
                    sample("mp3", r#"{"voice":"alloy","format":"mp3"}"#),
                ],
            },
            parameter("prediction", &[sample("", r#"{"type":"content","content":"x"}"#)]),
        ],
    },
    Group {
        title: "Reasoning",
        parameters: &[parameter(
            "reasoning_effort",
            &[
                sample("none", r#""none""#),
                sample("minimal", r#""minimal""#),
                sample("low", r#""low""#),
                sample("medium", r#""medium""#),
                sample("high", r#""high""#),
                sample("xhigh", r#""xhigh""#),
                sample("max", r#""max""#),
            ],
        )],
    },
    Group {
        title: "Identity and service",
        parameters: &[
            parameter("user", &[sample("", r#""u-1""#)]),
            parameter("safety_identifier", &[sample("", r#""u-1""#)]),
            parameter("metadata", &[sample("", r#"{"team":"blue"}"#)]),
            parameter("store", &[default("false", "false"), sample("true", "true")]),
            parameter(
                "service_tier",
                &[
                    default("auto", r#""auto""#),
                    sample("default", r#""default""#),
                    sample("flex", r#""flex""#),
                    sample("priority", r#""priority""#),
                    sample("scale", r#""scale""#),
                ],
            ),
            parameter("prompt_cache_key", &[sample("", r#""k-1""#)]),
            parameter("prompt_cache_retention", &[sample("", r#""24h""#)]),
            parameter("prompt_cache_options", &[sample("", r#"{"mode":"explicit"}"#)]),
            parameter("moderation", &[sample("", r#"{"model":"omni-moderation-latest"}"#)]),
        ],
    },
    Group {
        title: "Streams",
        parameters: &[Parameter {
            name: "stream_options",
            beside: r#"{"stream": true}"#,
            samples: &[
                default("include_usage", r#"{"include_usage":true}"#),
                sample("include_obfuscation", r#"{"include_obfuscation":false}"#),
            ],
        }],
    },
];

/// Values that do not change a request, with the reason: (provider, or "" for all; parameter, label, reason).
const NO_EFFECT: &[(&str, &str, &str, &str)] =
    &[("", "stream_options", "include_obfuscation", "padding of chunks, which only OpenAI's own streams have")];

/// Models that the tables use. For other providers the model is `model`, because nothing depends on it.
const MODELS: &[(&str, &str)] = &[
    ("anthropic", "claude-sonnet-5"),
    ("azure", "gpt-5.4"),
    ("bedrock", "us.anthropic.claude-sonnet-5"),
    ("cohere", "command-a-reasoning-08-2025"),
    ("gemini", "gemini-3.5-flash"),
    ("ollama_chat", "qwen3"),
    ("vertex", "gemini-3.5-flash"),
];

/// Models that represent the different ways to send `reasoning_effort`.
const THINKERS: &[(&str, &str)] = &[
    ("anthropic", "claude-sonnet-5"),
    ("anthropic", "claude-opus-5-5"),
    ("anthropic", "claude-opus-4-6"),
    ("anthropic", "claude-haiku-4-5"),
    ("bedrock", "us.anthropic.claude-sonnet-5"),
    ("bedrock", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
    ("bedrock", "us.amazon.nova-2-lite-v1:0"),
    ("bedrock", "openai.gpt-oss-120b-1:0"),
    ("bedrock", "us.deepseek.v3-v1:0"),
    ("cohere", "command-a-reasoning-08-2025"),
    ("gemini", "gemini-3.5-flash"),
    ("gemini", "gemini-2.5-flash"),
    ("ollama_chat", "gpt-oss:20b"),
    ("ollama_chat", "qwen3"),
];

/// Result of sending a parameter's value to a provider, as the page shows it.
#[derive(Clone, PartialEq)]
enum Fate {
    /// Sent under OpenAI's name, with its value.
    Same,
    /// Sent under these names, or with another value.
    Native(Vec<String>),
    /// Not sent, because it is the default behaviour.
    Needless,
    /// Rejected with `UnsupportedParamsError`.
    Unavailable,
}

impl Fate {
    fn cell(&self) -> String {
        match self {
            Fate::Same => "same".into(),
            Fate::Native(names) => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            Fate::Needless => "not needed".into(),
            Fate::Unavailable => "–".into(),
        }
    }
}

/// Encodes a call and returns the request body and the names of the dropped parameters.
fn encode(
    provider: &dyn Provider,
    model: &str,
    params: &Map<String, Value>,
    drop_params: bool,
) -> Result<(Value, Vec<String>), Box<Error>> {
    let settings = [("aws_region_name", "us-east-1"), ("vertex_project", "p"), ("vertex_location", "global")];
    let given = DeploymentArgs {
        base_url: Some("https://host.example/v1".into()),
        api_key: Some(Secret::new("key")),
        settings: settings.map(|(name, value)| (name, Secret::new(value))).to_vec(),
        ..DeploymentArgs::default()
    };
    let deployment = resolve(&format!("{}/{model}", provider.row().name), &given, &|_| None)?;
    let mut params = params.clone();
    let stream = params.remove("stream") == Some(Value::Bool(true));
    params.insert("messages".into(), json!([{"role": "user", "content": "hi"}]));
    let request = Request {
        model: deployment.model.clone(),
        params: Params::from_json(Value::from(params).to_string().as_bytes())?,
        stream,
        drop_params,
        ..Request::default()
    };
    let encoded = deployment.endpoint(&request)?.encode(&deployment, &request)?;
    Ok((serde_json::from_slice(&encoded.request.body).expect("a body is JSON"), encoded.dropped_params))
}

/// The providers that have chat completions.
fn providers() -> impl Iterator<Item = &'static dyn Provider> {
    all().filter(|provider| provider.endpoint(Operation::Chat).is_some())
}

fn model_of(provider: &dyn Provider) -> &'static str {
    let name = provider.row().name;
    MODELS.iter().find(|(known, _)| *known == name).map_or("model", |(_, model)| model)
}

fn object(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// Request bodies without the parameter and with it. If a parameter that it requires is itself unavailable, that one is
/// left out of both bodies.
struct Bodies {
    beside: Map<String, Value>,
    without: Value,
    with: Result<(Value, Vec<String>), Box<Error>>,
}

fn bodies(provider: &dyn Provider, model: &str, parameter: &Parameter, sample: &Sample) -> Bodies {
    let mut beside = object(parameter.beside);
    let (without, dropped) = encode(provider, model, &beside, true).expect("what stands beside a parameter is well");
    beside.retain(|name, _| !dropped.contains(name));
    let mut params = beside.clone();
    params.insert(parameter.name.into(), serde_json::from_str(sample.json).expect("a sample is JSON"));
    Bodies { without, with: encode(provider, model, &params, false), beside }
}

/// Returns how a value is sent to a provider.
///
/// # Errors
/// A description of what is wrong: the value is ignored silently, or its error or its dropping is incomplete.
fn fate(provider: &dyn Provider, parameter: &Parameter, sample: &Sample) -> Result<Fate, String> {
    let (name, row) = (parameter.name, provider.row());
    let Bodies { beside, without, with } = bodies(provider, model_of(provider), parameter, sample);
    match with {
        Err(error) if error.kind == ErrorKind::UnsupportedParams => {
            if sample.is_default {
                return Err(format!("refused, though it asks for what happens anyway: {error}"));
            }
            let says_all = [row.name, name, "drop_params"].iter().all(|word| error.message.contains(word));
            if !says_all {
                return Err(format!("the error does not name provider, parameter and drop_params: {error}"));
            }
            let mut params = beside;
            params.insert(name.into(), serde_json::from_str(sample.json).expect("a sample is JSON"));
            match encode(provider, model_of(provider), &params, true) {
                Ok((_, dropped)) if dropped != [name] => Err(format!("drop_params=True lists {dropped:?}")),
                Ok((body, _)) if body != without && !is_partly_kept(row.name, name) => {
                    Err(format!("drop_params=True leaves a trace: {body}"))
                }
                Ok(_) => Ok(Fate::Unavailable),
                Err(error) => Err(format!("drop_params=True does not help: {error}")),
            }
        }
        Err(error) => Err(format!("refused as a mistake of the caller's: {error}")),
        Ok((_, dropped)) if !dropped.is_empty() => Err(format!("{dropped:?} dropped though nobody asked for that")),
        Ok((body, _)) if body == without => {
            let is_meant = |(at, parameter, label, _): &&(&str, &str, &str, &str)| {
                (at.is_empty() || *at == row.name) && *parameter == name && *label == sample.label
            };
            match sample.is_default || NO_EFFECT.iter().any(|known| is_meant(&known)) {
                true => Ok(Fate::Needless),
                false => Err("ignored in silence".into()),
            }
        }
        Ok((body, _)) => {
            let changes = changes(&without, &body);
            let given = serde_json::from_str(sample.json).expect("a sample is JSON");
            let is_same = changes.iter().all(|change| change.top() == name)
                && body.get(name).is_some_and(|sent| *sent == given || is_within(&given, sent));
            Ok(if is_same {
                Fate::Same
            } else {
                Fate::Native(changes.iter().map(|change| change.path.clone()).collect())
            })
        }
    }
}

/// Returns true if all members of `given` are in `sent`, which may have additional ones.
fn is_within(given: &Value, sent: &Value) -> bool {
    let (Value::Object(given), Value::Object(sent)) = (given, sent) else { return false };
    given.iter().all(|(name, value)| sent.get(name) == Some(value))
}

/// Returns true for parameters with several parts, of which the others are still sent if one is dropped.
fn is_partly_kept(provider: &str, name: &str) -> bool {
    matches!((provider, name), ("gemini" | "vertex", "audio" | "web_search_options"))
}

/// A difference between two bodies: its path, and the value in the second body.
struct Change {
    path: String,
    value: Value,
}

impl Change {
    fn top(&self) -> &str {
        self.path.split(['.', '[', ' ']).next().unwrap_or_default()
    }
}

fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare("", Some(before), Some(after), &mut found);
    let mut seen = BTreeSet::new();
    found.retain(|change| seen.insert(change.path.clone()));
    found
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Change>) {
    let inside = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            for (name, value) in after {
                compare(&inside(name), before.get(name), Some(value), found);
            }
            for name in before.keys().filter(|name| !after.contains_key(*name)) {
                found.push(Change { path: format!("without {}", inside(name)), value: Value::Null });
            }
        }
        // An object with a single member is shown as the path of the member.
        (None, Some(Value::Object(after))) if after.len() == 1 && !after.values().any(Value::is_null) => {
            after.iter().for_each(|(name, value)| compare(&inside(name), None, Some(value), found));
        }
        (None, Some(Value::Array(after))) if matches!(after[..], [Value::Object(_)]) => {
            compare(&format!("{path}[]"), None, after.first(), found);
        }
        (_, Some(after)) => {
            found.push(Change { path: path.trim_end_matches("[]").to_owned(), value: after.clone() });
        }
        (_, None) => {}
    }
}

fn parameters() -> impl Iterator<Item = &'static Parameter> {
    GROUPS.iter().flat_map(|group| group.parameters)
}

fn row_name(parameter: &Parameter, sample: &Sample) -> String {
    match sample.label {
        "" => format!("`{}`", parameter.name),
        label => format!("`{}`: {label}", parameter.name),
    }
}

fn natives() -> Vec<&'static dyn Provider> {
    providers().filter(|provider| TABLE.iter().all(|row| row.name != provider.row().name)).collect()
}

fn compatibles() -> Vec<&'static dyn Provider> {
    providers().filter(|provider| TABLE.iter().any(|row| row.name == provider.row().name)).collect()
}

#[test]
fn every_parameter_arrives_or_is_refused_and_can_be_dropped() {
    let mut wrong = String::new();
    for provider in providers() {
        for parameter in parameters() {
            for sample in parameter.samples {
                if let Err(why) = fate(provider, parameter, sample) {
                    let value = row_name(parameter, sample);
                    writeln!(wrong, "{}, {value}: {why}", provider.row().name).unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Checks that the list `unsupported` of each provider's row matches the behaviour of its `encode`.
#[test]
fn what_a_row_lists_as_unsupported_is_refused() {
    for provider in providers() {
        for name in provider.row().unsupported {
            let parameter = parameters().find(|parameter| parameter.name == *name);
            let parameter = parameter.unwrap_or_else(|| panic!("{name} is no parameter of this test"));
            let is_refused = parameter.samples.iter().all(|sample| {
                sample.is_default || fate(provider, parameter, sample).is_ok_and(|fate| fate == Fate::Unavailable)
            });
            assert!(is_refused, "{}: {name}", provider.row().name);
        }
    }
}

#[test]
fn the_page_says_what_the_code_does() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/parameters.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, page).unwrap();
        return;
    }
    let known = std::fs::read_to_string(path).unwrap_or_default().replace("\r\n", "\n");
    assert!(
        known == page,
        "docs/parameters.md is not what the code does: UPDATE_DOCS=1 cargo test --no-default-features --test parameters"
    );
}

fn page() -> String {
    let mut out = String::from(
        "# Parameters\n\n\
        This page lists every chat parameter of OpenAI's API and how it is sent to each provider. A cell is one of:\n\n\
        - **same**: the parameter is sent under OpenAI's name, with the value that you passed.\n\
        - a `name`: the part of the request that the parameter sets. `a.b` is the member `b` of `a`, `a[]` is an item of a \
        list, and `without a` means that `a` is left out.\n\
        - **not needed**: nothing is sent, because the provider behaves in this way by default.\n\
        - **–**: not available. The call raises `UnsupportedParamsError` before anything is sent; with `drop_params=True` \
        the parameter is left out and listed in `response.meta.dropped_params`.\n\n\
        A parameter that OpenAI does not define is passed to the provider unchanged. A name that is close \
        to one of OpenAI's or RiteLLM's (`max_retires`, `maxTokens`) raises `InvalidArgumentError`, which says which one was \
        probably meant, unless some provider documents it; `Client(unknown_params=\"error\")` refuses every name that no \
        provider documents. `extra_body={…}` sends any name in any case. The values of a parameter marked \
        **same** are passed on unchanged too; whether a model accepts them depends on the model.\n\n\
        The page is generated: `tests/parameters.rs` compares requests with and without each parameter, so that the page \
        always matches the code. After a change, run `UPDATE_DOCS=1 cargo test --no-default-features --test parameters`.\n\n\
        If the request depends on the model, the tables show these models: ",
    );
    let models: Vec<String> = MODELS.iter().map(|(provider, model)| format!("`{provider}/{model}`")).collect();
    writeln!(out, "{}.", models.join(", ")).unwrap();

    let natives = natives();
    let openai = compatibles().into_iter().find(|provider| provider.row().name == "openai").expect("a row");
    let columns: Vec<&dyn Provider> = std::iter::once(openai).chain(natives.iter().copied()).collect();
    for group in GROUPS {
        write!(out, "\n## {}\n\n| | OpenAI-compatible |", group.title).unwrap();
        natives.iter().for_each(|provider| write!(out, " {} |", provider.row().name).unwrap());
        writeln!(out, "\n|---|{}", "---|".repeat(columns.len())).unwrap();
        for parameter in group.parameters {
            for sample in parameter.samples {
                write!(out, "| {} |", row_name(parameter, sample)).unwrap();
                for provider in &columns {
                    let cell = fate(*provider, parameter, sample).map_or("?".into(), |fate| fate.cell());
                    write!(out, " {cell} |").unwrap();
                }
                out.push('\n');
            }
        }
    }

    out += "\n### Reasoning effort\n\n\
        `reasoning_effort` is sent in a form that depends on the model. `thinking`, `thinkingConfig` and similar \
        parameters of a provider take precedence over it.\n\n\
        | | none | low | medium | high | max |\n|---|---|---|---|---|---|\n";
    let effort = parameters().find(|parameter| parameter.name == "reasoning_effort").expect("it is in the list");
    for (name, model) in THINKERS {
        let provider = all().find(|provider| provider.row().name == *name).expect("a provider");
        write!(out, "| `{name}/{model}` |").unwrap();
        for label in ["none", "low", "medium", "high", "max"] {
            let sample = effort.samples.iter().find(|sample| sample.label == label).expect("a sample");
            let cell = match bodies(provider, model, effort, sample) {
                Bodies { with: Err(_), .. } => "–".to_owned(),
                Bodies { with: Ok((body, _)), without, .. } => {
                    let said = changes(&without, &body);
                    let said = said.iter().map(|change| format!("`{}: {}`", change.path, change.value));
                    Some(said.collect::<Vec<_>>().join(", "))
                        .filter(|said| !said.is_empty())
                        .unwrap_or("not needed".into())
                }
            };
            write!(out, " {cell} |").unwrap();
        }
        out.push('\n');
    }

    out += "\n## The OpenAI-compatible providers\n\n\
        They receive the same request as OpenAI, with these exceptions.\n\n| | under another name | not available | not sent |\n|---|---|---|---|\n";
    for provider in compatibles() {
        let (mut renamed, mut unavailable, mut unsent) = (Vec::new(), Vec::new(), Vec::new());
        for parameter in parameters() {
            for sample in parameter.samples {
                let here = fate(provider, parameter, sample);
                if here == fate(openai, parameter, sample) {
                    continue;
                }
                let name = format!("`{}`", parameter.name);
                match here {
                    Ok(Fate::Native(_)) => renamed.push(format!("{name}: {}", here.unwrap_or(Fate::Same).cell())),
                    Ok(Fate::Unavailable) => unavailable.push(name),
                    Ok(Fate::Needless) if !sample.is_default => unsent.push(name),
                    _ => {}
                }
            }
        }
        [&mut renamed, &mut unavailable, &mut unsent].into_iter().for_each(|list| list.dedup());
        let name = provider.row().name;
        writeln!(out, "| {name} | {} | {} | {} |", renamed.join(", "), unavailable.join(", "), unsent.join(", "))
            .unwrap();
    }

    out += "\n## Without effect\n\nThese values are not the default and yet do not change the request:\n\n";
    for (provider, parameter, label, reason) in NO_EFFECT {
        let at = if provider.is_empty() { "on providers with their own wire format" } else { provider };
        writeln!(out, "- `{parameter}` ({label}), {at}: {reason}.").unwrap();
    }
    out
}
