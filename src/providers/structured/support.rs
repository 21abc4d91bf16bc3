//! The forms of structured output that hosts and models have.

use crate::providers::families::claude::Model;
use crate::providers::families::schema::{BARE, CLAUDE, COHERE, Dialect, GEMINI, OPENAI};
use crate::types::structured::Form;

/// Structured output of a model at a host.
#[derive(Debug, Clone, Copy)]
pub struct Support {
    /// The best form.
    pub(super) form: Form,
    /// The dialect of the schemas; `None` for a host that takes any schema, or none at all.
    pub(super) dialect: Option<&'static Dialect>,
    /// The form for schemas that the dialect cannot express.
    pub(super) otherwise: Form,
    /// True if the model can call the caller's tools beside.
    pub(super) beside_tools: bool,
}

/// Structured output of some models of a host: parts of their names, and the support. A `$` at the end of a part stands for the
/// end of the name, and no part for every model.
pub(in crate::providers) type Rule = (&'static [&'static str], Support);

/// OpenAI's strict schemas, and others without a promise.
pub(in crate::providers) const STRICT: Support =
    Support { form: Form::Strict, dialect: Some(&OPENAI), otherwise: Form::Schema, beside_tools: true };

/// Strict schemas of a host that takes few keywords.
const BARE_STRICT: Support = Support { dialect: Some(&BARE), otherwise: Form::Prompt, ..STRICT };

/// A schema that the host follows, as it is.
const SCHEMA: Support = Support { form: Form::Schema, dialect: None, otherwise: Form::Schema, beside_tools: true };

/// JSON mode, which follows no schema.
pub(super) const JSON_MODE: Support =
    Support { form: Form::JsonMode, otherwise: Form::JsonMode, beside_tools: false, ..SCHEMA };

/// No structured output, but tools.
pub(in crate::providers) const TOOL: Support = Support { form: Form::Tool, otherwise: Form::Tool, ..JSON_MODE };

/// Neither structured output nor tools.
const PROMPT: Support = Support { form: Form::Prompt, otherwise: Form::Prompt, ..JSON_MODE };

/// OpenAI's models: <https://platform.openai.com/docs/guides/structured-outputs> (from `gpt-4o-2024-08-06` on).
pub(in crate::providers) const OPENAI_MODELS: &[Rule] = &[
    (&["gpt-3.5", "gpt-35", "gpt-4-", "gpt-4$", "gpt-4o-2024-05-13"], TOOL),
    (&["o1-preview", "o1-mini"], PROMPT),
    (&[], STRICT),
];

/// A server or a host of which nothing else is known: most follow a schema, and ignore what they do not know of one.
pub(in crate::providers) const ANY: &[Rule] = &[(&[], SCHEMA)];

/// Hosts whose models all have OpenAI's strict schemas.
pub(in crate::providers) const ALL_STRICT: &[Rule] = &[(&[], STRICT)];

/// Hosts that have JSON mode only.
pub(in crate::providers) const ALL_JSON_MODE: &[Rule] = &[(&[], JSON_MODE)];

/// Hosts whose models have tools only.
pub(in crate::providers) const ALL_TOOL: &[Rule] = &[(&[], TOOL)];

/// <https://console.groq.com/docs/structured-outputs>
pub(in crate::providers) const GROQ: &[Rule] =
    &[(&["gpt-oss-20b", "gpt-oss-120b"], STRICT), (&["llama-4", "kimi-k2", "gpt-oss"], SCHEMA), (&[], TOOL)];

/// <https://inference-docs.cerebras.ai/capabilities/structured-outputs>
pub(in crate::providers) const CEREBRAS: &[Rule] = &[(&[], BARE_STRICT)];

/// <https://docs.github.com/rest/models/inference>: OpenAI's models, and JSON mode for others.
pub(in crate::providers) const GITHUB: &[Rule] =
    &[(&["gpt-4o-2024-05-13"], TOOL), (&["gpt-4o", "gpt-4.1", "gpt-5", "/o1", "/o3", "/o4"], STRICT), (&[], JSON_MODE)];

/// <https://docs.cohere.com/docs/structured-outputs>: not with tools. Its JSON mode cuts answers at five levels, so that words
/// stand for schemas that it does not take.
pub(in crate::providers) const COHERE_MODELS: &[Rule] =
    &[(&[], Support { dialect: Some(&COHERE), otherwise: Form::Prompt, beside_tools: false, ..SCHEMA })];

/// Gemini's structured output. Its JSON mode takes the schemas that it does not.
const GEMINI_SCHEMA: Support = Support { dialect: Some(&GEMINI), otherwise: Form::JsonMode, ..SCHEMA };

/// The schema becomes a grammar, in which no tool can be called: <https://docs.ollama.com/capabilities/structured-outputs>.
pub(in crate::providers) const OLLAMA: &[Rule] = &[(&[], Support { beside_tools: false, ..SCHEMA })];

/// <https://ai.google.dev/gemini-api/docs/structured-output>: beside tools from Gemini 3 on.
pub(in crate::providers) const GEMINI_MODELS: &[Rule] =
    &[(&["gemini-1", "gemini-2", "gemma"], Support { beside_tools: false, ..GEMINI_SCHEMA }), (&[], GEMINI_SCHEMA)];

/// Returns the support of a model by a host's rules.
pub(in crate::providers) fn of(rules: &[Rule], model: &str) -> Support {
    let model = model.to_ascii_lowercase();
    let is_of = |(parts, _): &&Rule| {
        parts.is_empty()
            || parts.iter().any(|part| match part.strip_suffix('$') {
                Some(end) => model.ends_with(end),
                None => model.contains(part),
            })
    };
    rules.iter().find(is_of).map_or(PROMPT, |(_, support)| *support)
}

/// Claude's strict schemas, whose keywords its wires take out themselves.
const CLAUDE_STRICT: Support = Support { dialect: Some(&CLAUDE), otherwise: Form::Tool, ..STRICT };

/// Returns the support of a Claude.
pub(in crate::providers) fn claude(has_output_format: bool, model: Model) -> Support {
    use crate::providers::families::claude::Forced;
    match (has_output_format, model.forced_tools()) {
        // Thinking cannot be switched off, and a tool cannot be required.
        (true, Forced::Never) => Support { otherwise: Form::Prompt, ..CLAUDE_STRICT },
        (true, _) => CLAUDE_STRICT,
        (false, Forced::Never) => PROMPT,
        (false, _) => TOOL,
    }
}

/// Families on Bedrock with structured output:
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html>.
const ON_BEDROCK: &[&str] = &[
    "qwen3",
    "gpt-oss",
    "deepseek.v3",
    "gemma-3",
    "minimax",
    "ministral",
    "mistral-large-3",
    "magistral",
    "voxtral",
    "kimi",
    "nemotron",
];

/// Returns the support of a model on Bedrock.
pub(in crate::providers) fn on_bedrock(model: &str) -> Support {
    let family = Model::of(model);
    if family.is_claude() {
        return claude(family.has_output_format(), family);
    }
    of(&[(ON_BEDROCK, CLAUDE_STRICT), (&[], TOOL)], model)
}
