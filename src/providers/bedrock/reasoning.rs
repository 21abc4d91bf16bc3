//! `reasoning_effort` → the parameters of each family of models.
//!
//! - Claude: <https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html> (a budget) and
//!   <https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-adaptive-thinking.html> (4.6 and later)
//! - Nova 2: <https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html>
//! - gpt-oss: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-openai.html>
//! - the rest: Converse's own `outputConfig.effort`
//!   <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_OutputConfig.html>

use serde_json::{Value, json};

use crate::providers::families::claude::{Model, Off, Thinking};

/// How an effort is passed to a model.
#[derive(Debug, PartialEq)]
pub(super) enum Setting {
    /// Not at all: without parameters, the model does not think.
    Omit,
    /// Members of `additionalModelRequestFields`.
    Additional(Value),
    /// Claude's budget in tokens, which is a part of the limit on the whole answer.
    Budget(u64),
    /// `outputConfig.effort`.
    Effort(&'static str),
    /// The model cannot think, or cannot be kept from it.
    Unsupported,
}

/// Converts one of OpenAI's efforts; `None` for another word.
pub(super) fn setting(model: &str, effort: &str) -> Option<Setting> {
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
        return Some(claude_setting(model, effort, low_to_max, budget));
    }
    Some(match effort {
        "none" if model.contains("openai.gpt-oss") => Setting::Unsupported,
        "none" => Setting::Omit,
        _ if model.contains("amazon.nova-2") => {
            Setting::Additional(json!({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": low_to_high}}))
        }
        _ if is(&["amazon.nova", "amazon.titan"]) => Setting::Unsupported,
        _ if model.contains("openai.gpt-oss") => Setting::Additional(json!({"reasoning_effort": low_to_high})),
        _ if model.contains("qwen.qwen3") => Setting::Additional(json!({"reasoning_config": low_to_high})),
        _ => Setting::Effort(low_to_max),
    })
}

/// Converts an effort for a Claude model, by the same differences between models as on Anthropic's own wire.
fn claude_setting(model: &str, effort: &str, low_to_max: &str, budget: u64) -> Setting {
    match (Model::of(model).thinking(), effort) {
        (Thinking::Never, "none") => Setting::Omit,
        (Thinking::Never, _) => Setting::Unsupported,
        (_, "none") => match Model::of(model).thinking_off() {
            Off::Unasked => Setting::Omit,
            Off::Word(word) => Setting::Additional(json!({"thinking": {"type": word}})),
            Off::LeastEffort => Setting::Additional(json!({"output_config": {"effort": "low"}})),
        },
        (Thinking::Budget, _) => Setting::Budget(budget),
        (Thinking::Adaptive, _) => {
            let thinking = match Model::of(model).hides_thinking() {
                true => json!({"type": "adaptive", "display": "summarized"}),
                false => json!({"type": "adaptive"}),
            };
            Setting::Additional(json!({"thinking": thinking, "output_config": {"effort": low_to_max}}))
        }
    }
}
