//! Rules of model families: the values that they take and refuse at every provider that serves them.
//!
//! - this file: the family of a model's name, and the rules of whole families
//! - [`claude`]: rules of Anthropic's models
//! - [`gemini`]: rules of Google's models
//! - [`openai`]: parameters that OpenAI's reasoning models refuse
//! - [`schema`]: JSON schemas for structured output
//!
//! `docs/model-families.md` is generated from these rules. Rules of a host, such as Converse's grammar of ids, are in its wire.

pub(super) mod claude;
pub(super) mod gemini;
pub(super) mod openai;
#[cfg(test)]
mod page;
pub(super) mod schema;

use serde_json::value::RawValue;

use crate::error::{Error, Result};

/// Reasoning in a conversation's earlier answers that a model takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TakesBack {
    /// Only reasoning with the signature that the family made; anything else is an error.
    Signed,
    /// Reasoning as it came, if it has no signature: that member is an error.
    Unsigned,
    /// None: the request is refused.
    Nothing,
}

/// A family of models.
#[derive(Debug)]
pub(super) struct Family {
    /// Name, for the documentation.
    #[cfg_attr(not(test), expect(dead_code, reason = "the documentation is written from it"))]
    name: &'static str,
    /// Parts of a model's name, in lower case; a name with one of them belongs to the family.
    name_parts: &'static [&'static str],
    /// Reasoning that its models take back.
    takes_back: TakesBack,
    /// True if its models take stop sequences.
    pub takes_stop: bool,
    /// Sources of these rules.
    #[cfg_attr(not(test), expect(dead_code, reason = "the documentation is written from it"))]
    sources: &'static [&'static str],
}

/// A test that calls the models on Bedrock, one by one.
const TRIED_ON_BEDROCK: &str = "https://github.com/badlogic/pi-mono/blob/f54f45e4aed93e243ad6e21925fcfdda0579c516/packages/agent/test/bedrock-models.test.ts";

/// A family whose models take no reasoning back.
const PLAIN: Family = Family {
    name: "",
    name_parts: &[],
    takes_back: TakesBack::Nothing,
    takes_stop: true,
    sources: &[TRIED_ON_BEDROCK],
};

/// The families. A name belongs to the first one that matches.
pub(super) static FAMILIES: &[Family] = &[
    Family {
        name: "Claude",
        name_parts: &["claude"],
        takes_back: TakesBack::Signed,
        sources: &[
            "https://platform.claude.com/docs/en/build-with-claude/extended-thinking#preserving-thinking-blocks",
            "https://github.com/maximhq/bifrost/pull/6942",
        ],
        ..PLAIN
    },
    Family {
        name: "DeepSeek R1",
        name_parts: &["deepseek.r1", "deepseek-r1"],
        sources: &["https://github.com/langchain-ai/langchain-aws/issues/401"],
        ..PLAIN
    },
    Family {
        name: "DeepSeek V3",
        name_parts: &["deepseek.v", "deepseek-v"],
        takes_back: TakesBack::Unsigned,
        takes_stop: false,
        sources: &[
            "https://github.com/langchain-ai/langchain-aws/pull/1229",
            "https://github.com/langchain-ai/langchain-aws/issues/664",
        ],
    },
    Family {
        name: "gpt-oss",
        name_parts: &["gpt-oss"],
        takes_stop: false,
        sources: &["https://github.com/crewAIInc/crewAI/issues/3317"],
        ..PLAIN
    },
    Family { name: "Qwen3 Coder", name_parts: &["qwen3-coder"], takes_stop: false, ..PLAIN },
    Family {
        name: "Qwen",
        name_parts: &["qwen"],
        takes_back: TakesBack::Unsigned,
        takes_stop: false,
        sources: &[TRIED_ON_BEDROCK, "https://github.com/langgenius/dify-official-plugins/issues/1767"],
    },
    Family { name: "MiniMax", name_parts: &["minimax"], takes_back: TakesBack::Unsigned, ..PLAIN },
    Family { name: "Kimi", name_parts: &["kimi"], takes_back: TakesBack::Unsigned, ..PLAIN },
    Family { name: "Nova", name_parts: &["amazon.nova", "nova-"], ..PLAIN },
    Family { name: "Llama", name_parts: &["meta.llama", "llama"], ..PLAIN },
    Family { name: "Mistral", name_parts: &["mistral", "pixtral", "voxtral", "magistral"], ..PLAIN },
    Family { name: "Cohere Command", name_parts: &["cohere.command", "command-"], ..PLAIN },
    Family { name: "Gemma", name_parts: &["gemma"], ..PLAIN },
    Family { name: "Nemotron", name_parts: &["nemotron"], ..PLAIN },
];

/// The family of models with an unknown name.
static UNKNOWN: Family = Family { name: "any other", sources: &[], ..PLAIN };

/// Returns the family of a model by any of its names: bare, dated, `…-latest`, with a region or a vendor before
/// it (`us.anthropic.…`), with `@` and a date behind it, or within an ARN or a path.
pub(super) fn family(model: &str) -> &'static Family {
    let name = model.to_ascii_lowercase();
    let is_of = |family: &&Family| family.name_parts.iter().any(|part| name.contains(part));
    FAMILIES.iter().find(is_of).unwrap_or(&UNKNOWN)
}

/// Returns the reasoning of earlier answers that a model takes back.
pub(super) fn takes_back(model: &str) -> TakesBack {
    match family(model).takes_back {
        TakesBack::Signed if claude::Model::of(model).thinking() == claude::Thinking::Never => TakesBack::Nothing,
        // The ARN of a profile or a deployment ends in a number instead of a name. Only Claude makes signatures, so that a
        // caller who has one to send most likely got it from this model.
        TakesBack::Nothing if model.starts_with("arn:") && std::ptr::eq(family(model), &UNKNOWN) => TakesBack::Signed,
        takes_back => takes_back,
    }
}

/// Reads the stop sequences of `stop`, a string or a list of strings. Returns them without blank ones, and true if there were
/// any: Claude requires more than white space in each, and Converse at least one character.
///
/// # Errors
/// `InvalidArgument` if `stop` is something else.
pub(super) fn stop_sequences<'a>(stop: &'a str, model: &str) -> Result<(Vec<&'a RawValue>, bool)> {
    let wrong = || Error::argument(format!("stop is {stop}: a str or a list of str would be right"));
    let mut sequences: Vec<&RawValue> = match stop.as_bytes().first() {
        Some(b'"') => vec![serde_json::from_str(stop).map_err(|_| wrong())?],
        _ => serde_json::from_str(stop).map_err(|_| wrong())?,
    };
    let count = sequences.len();
    let is_claude = claude::Model::of(model).is_claude();
    sequences.retain(|sequence| {
        let text: String = serde_json::from_str(sequence.get()).unwrap_or_else(|_| "not a str".to_owned());
        !(text.is_empty() || is_claude && text.trim().is_empty())
    });
    let has_blank = sequences.len() < count;
    Ok((sequences, has_blank))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_of_the_family_that_they_stand_for() {
        for (model, name) in [
            ("claude-3-5-haiku-latest", "Claude"),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "Claude"),
            ("global.anthropic.claude-opus-4-6-v1", "Claude"),
            ("arn:aws:bedrock:us-east-1:12:inference-profile/us.anthropic.claude-sonnet-4-6", "Claude"),
            ("publishers/anthropic/models/claude-opus-4-1@20250805", "Claude"),
            ("us.deepseek.r1-v1:0", "DeepSeek R1"),
            ("deepseek.v3.2", "DeepSeek V3"),
            ("openai.gpt-oss-120b-1:0", "gpt-oss"),
            ("qwen.qwen3-coder-30b-a3b-v1:0", "Qwen3 Coder"),
            ("qwen.qwen3-32b-v1:0", "Qwen"),
            ("global.amazon.nova-2-lite-v1:0", "Nova"),
            ("us.meta.llama4-maverick-17b-instruct-v1:0", "Llama"),
            ("arn:aws:bedrock:us-east-1:12:application-inference-profile/abc", "any other"),
        ] {
            assert_eq!(family(model).name, name, "{model}");
        }
    }

    #[test]
    fn what_is_taken_back_follows_the_model() {
        assert_eq!(takes_back("us.anthropic.claude-sonnet-4-6"), TakesBack::Signed);
        assert_eq!(takes_back("anthropic.claude-3-haiku-20240307-v1:0"), TakesBack::Nothing);
        assert_eq!(takes_back("us.deepseek.r1-v1:0"), TakesBack::Nothing);
        assert_eq!(takes_back("moonshot.kimi-k2-thinking"), TakesBack::Unsigned);
        assert_eq!(takes_back("arn:aws:bedrock:us-east-1:12:application-inference-profile/abc"), TakesBack::Signed);
        assert_eq!(takes_back("somebody.new-model"), TakesBack::Nothing);
    }
}
