//! How hard a model should think: `reasoning_effort` as each family of models is told.
//!
//! - Claude: <https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html> (a budget) and
//!   <https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-adaptive-thinking.html> (4.6 and later)
//! - Nova 2: <https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html>
//! - gpt-oss: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-openai.html>
//! - the rest: Converse's own `outputConfig.effort`
//!   <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_OutputConfig.html>

use serde_json::{Value, json};

use crate::providers::families::claude::{Model, Off, Thinking};

/// What a model is told.
#[derive(Debug, PartialEq)]
pub(super) enum Told {
    /// Nothing: it does not think unless it is told to.
    Nothing,
    /// Members of `additionalModelRequestFields`.
    Additional(Value),
    /// Claude's budget in tokens, which is a part of the answer's.
    Budget(u64),
    /// `outputConfig.effort`.
    Effort(&'static str),
    /// The model does not think.
    Unsupported,
}

/// `effort` is one of OpenAI's words; `None` for another.
pub(super) fn told(model: &str, effort: &str) -> Option<Told> {
    let is = |names: &[&str]| names.iter().any(|name| model.contains(name));
    let (low_to_high, low_to_max, budget) = match effort {
        "none" => ("", "", 0),
        "minimal" => ("low", "low", 1024),
        "low" => ("low", "low", 2048),
        "medium" => ("medium", "medium", 8192),
        "high" => ("high", "high", 16_384),
        "xhigh" => ("high", "xhigh", 31_999),
        "max" => ("high", "max", 31_999),
        _ => return None,
    };
    if Model::of(model).is_claude() {
        return Some(told_claude(model, effort, low_to_max, budget));
    }
    Some(match effort {
        "none" if model.contains("openai.gpt-oss") => Told::Unsupported,
        "none" => Told::Nothing,
        _ if model.contains("amazon.nova-2") => {
            Told::Additional(json!({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": low_to_high}}))
        }
        _ if is(&["amazon.nova", "amazon.titan"]) => Told::Unsupported,
        _ if model.contains("openai.gpt-oss") => Told::Additional(json!({"reasoning_effort": low_to_high})),
        _ if model.contains("qwen.qwen3") => Told::Additional(json!({"reasoning_config": low_to_high})),
        _ => Told::Effort(low_to_max),
    })
}

/// Claudes differ from each other as they do on Anthropic's own wire.
fn told_claude(model: &str, effort: &str, low_to_max: &str, budget: u64) -> Told {
    match (Model::of(model).thinking(), effort) {
        (Thinking::Never, "none") => Told::Nothing,
        (Thinking::Never, _) => Told::Unsupported,
        (_, "none") => match Model::of(model).thinking_off() {
            Off::Unasked => Told::Nothing,
            Off::Word(word) => Told::Additional(json!({"thinking": {"type": word}})),
            Off::LeastEffort => Told::Additional(json!({"output_config": {"effort": "low"}})),
        },
        (Thinking::Budget, _) => Told::Budget(budget),
        (Thinking::Adaptive, _) => {
            let thinking = match Model::of(model).hides_thinking() {
                true => json!({"type": "adaptive", "display": "summarized"}),
                false => json!({"type": "adaptive"}),
            };
            Told::Additional(json!({"thinking": thinking, "output_config": {"effort": low_to_max}}))
        }
    }
}
