//! Parameters that reasoning models of OpenAI and xAI refuse and their other models take, at the hosts that send them OpenAI's
//! format unchanged.
//!
//! <https://learn.microsoft.com/azure/ai-foundry/openai/how-to/reasoning>,
//! <https://platform.openai.com/docs/guides/latest-model> (parameter compatibility),
//! <https://platform.openai.com/docs/api-reference/chat/create> (`stop`, `reasoning_effort`),
//! <https://docs.x.ai/docs/guides/reasoning>.

use std::borrow::Cow;

use crate::error::Result;
use crate::providers::edit;
use crate::providers::unsupported::{asks_for_nothing, drop_or_refuse_because};
use crate::types::members::Members;
use crate::types::object::quoted;
use crate::types::params::Params;

/// Rules of some of these models.
#[derive(Debug)]
pub(super) struct Rules {
    /// The models, for the documentation.
    #[cfg_attr(not(test), expect(dead_code, reason = "the documentation is written from it"))]
    pub models: &'static str,
    /// Parameters that are refused whatever the effort.
    pub refused: &'static [&'static str],
    /// Parameters that are refused beside a `reasoning_effort` other than `none`.
    pub refused_beside_effort: &'static [&'static str],
    /// The effort nearest to `none`, for models without `none`.
    pub lowest_effort: Option<&'static str>,
    /// True if `max_tokens` is refused, and `max_completion_tokens` stands for it.
    pub renames_limit: bool,
}

/// Parameters of sampling, and those that show it: <https://learn.microsoft.com/azure/ai-foundry/openai/how-to/reasoning>.
macro_rules! sampling {
    ($($more:literal),*) => {
        &["temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias", $($more),*]
    };
}

/// Rules of the older models of the o-series, which take stop sequences.
pub(super) static O1: Rules = Rules {
    models: "o1, o3-mini",
    refused: sampling!("parallel_tool_calls"),
    refused_beside_effort: &[],
    lowest_effort: Some("low"),
    renames_limit: true,
};
pub(super) static O3: Rules = Rules { models: "o3, o4-mini", refused: sampling!("parallel_tool_calls", "stop"), ..O1 };
pub(super) static GPT_5: Rules =
    Rules { models: "gpt-5, gpt-5-mini, gpt-5-nano", refused: sampling!("stop"), lowest_effort: Some("minimal"), ..O1 };
pub(super) static GPT_5_CODEX: Rules = Rules { models: "gpt-5-codex", lowest_effort: Some("low"), ..GPT_5 };
pub(super) static GPT_5_PRO: Rules = Rules { models: "gpt-5-pro", lowest_effort: Some("high"), ..GPT_5 };
/// `stop` is refused: <https://github.com/huggingface/smolagents/pull/1868>, <https://github.com/huggingface/smolagents/issues/1893>.
pub(super) static GPT_5_1: Rules = Rules {
    models: "gpt-5.1, gpt-5.2",
    refused: &["stop"],
    refused_beside_effort: &["temperature", "top_p", "logprobs", "top_logprobs"],
    lowest_effort: None,
    renames_limit: true,
};
pub(super) static GPT_5_3: Rules = Rules { models: "gpt-5.3 and later", refused: &[], ..GPT_5_1 };
pub(super) static GROK: Rules = Rules {
    models: "grok-3-mini, grok-code, grok-4 and later",
    refused: &["presence_penalty", "frequency_penalty", "stop"],
    refused_beside_effort: &[],
    lowest_effort: None,
    renames_limit: false,
};
/// Without reasoning, some take stop sequences, and none penalties: <https://github.com/miaoxworld/NativeTavern/issues/83>.
pub(super) static GROK_PLAIN: Rules =
    Rules { models: "grok-4…-non-reasoning", refused: &["presence_penalty", "frequency_penalty"], ..GROK };

/// Returns the rules of a model, by its name or that of a deployment that begins with it; `None` if it takes all parameters of
/// its vendor, or is unknown.
pub(super) fn rules(model: &str) -> Option<&'static Rules> {
    let name = model.strip_prefix("ft:").unwrap_or(model);
    let name = name.strip_prefix("openai/").or_else(|| name.strip_prefix("xai/")).unwrap_or(name);
    match name.as_bytes() {
        [b'o' | b'O', b'1'..=b'4'] => Some(if name.ends_with('1') { &O1 } else { &O3 }),
        [b'o' | b'O', number @ b'1'..=b'4', b'-' | b':', ..] => {
            let is_o3_mini = *number == b'3' && name[2..].to_ascii_lowercase().starts_with("-mini");
            Some(if *number == b'1' || is_o3_mini { &O1 } else { &O3 })
        }
        [b'g' | b'G', ..] if name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("gpt-5")) => {
            gpt_5(&name[5..].to_ascii_lowercase())
        }
        [b'g' | b'G', ..] if name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("grok-")) => {
            grok(&name[5..].to_ascii_lowercase())
        }
        _ => None,
    }
}

/// Returns the rules of a GPT-5 by the rest of its name.
fn gpt_5(rest: &str) -> Option<&'static Rules> {
    // The chat models do not reason, or decide it themselves.
    if rest.contains("-chat") {
        return None;
    }
    let Some(minor) = rest.strip_prefix('.') else {
        return match rest {
            _ if rest.starts_with("-codex") => Some(&GPT_5_CODEX),
            _ if rest.starts_with("-pro") => Some(&GPT_5_PRO),
            "" => Some(&GPT_5),
            _ => rest.starts_with(['-', ':']).then_some(&GPT_5),
        };
    };
    let digits = minor.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(minor.len());
    match minor[..digits].parse::<u32>().ok()? {
        1 | 2 => Some(&GPT_5_1),
        _ => Some(&GPT_5_3),
    }
}

/// Returns the rules of a Grok by the rest of its name.
fn grok(rest: &str) -> Option<&'static Rules> {
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let is_late = rest[..digits].parse::<u32>().is_ok_and(|major| (4..100).contains(&major));
    match is_late || rest.starts_with("3-mini") || rest.starts_with("code") {
        true if rest.contains("non-reasoning") => Some(&GROK_PLAIN),
        is_known => is_known.then_some(&GROK),
    }
}

/// Adapts parameters to a model: `max_tokens` becomes `max_completion_tokens`, `none` the lowest effort of a model without
/// `none`; refused parameters are removed, and listed in `dropped`.
///
/// # Errors
/// `UnsupportedParams` for a refused parameter, unless `drop_params` is set.
pub(in crate::providers) fn fit(
    provider: &str,
    model: &str,
    drop_params: bool,
    params: &mut Cow<Params>,
    dropped: &mut Vec<String>,
) -> Result<()> {
    let Some(rules) = rules(model) else { return Ok(()) };
    if rules.renames_limit
        && let Some(limit) = params.get("max_tokens").map(<[u8]>::to_vec)
    {
        let params = params.to_mut();
        params.remove("max_tokens");
        if params.get("max_completion_tokens").is_none() {
            params.set("max_completion_tokens", &limit);
        }
    }
    let mut effort = params.get("reasoning_effort").and_then(|effort| serde_json::from_slice::<String>(effort).ok());
    if effort.is_none() {
        let reasoning = params.get("reasoning").and_then(|reasoning| Members::of(reasoning).ok());
        effort = reasoning.and_then(|reasoning| reasoning.string("effort"));
    }
    if let (Some("none"), Some(lowest)) = (effort.as_deref(), rules.lowest_effort) {
        set_effort(params, lowest);
    }
    let beside_effort = effort.as_deref().is_some_and(|effort| effort != "none").then_some(rules.refused_beside_effort);
    for name in rules.refused.iter().chain(beside_effort.unwrap_or_default()) {
        let Some(value) = params.get(name) else { continue };
        let is_default = matches!(*name, "temperature" | "top_p") && serde_json::from_slice(value).ok() == Some(1.0);
        if !is_default && !asks_for_nothing(name, value) {
            let why = format!(" with {model}, which refuses it");
            drop_or_refuse_because(provider, name, &why, drop_params, dropped)?;
        }
        params.to_mut().remove(name);
    }
    Ok(())
}

/// Replaces the effort of a call.
fn set_effort(params: &mut Cow<Params>, effort: &str) {
    if params.get("reasoning_effort").is_some() {
        params.to_mut().set("reasoning_effort", quoted(effort).as_bytes());
        return;
    }
    let reasoning = params.get("reasoning").and_then(|json| std::str::from_utf8(json).ok());
    let written = reasoning.and_then(|json| edit::object(json, |reasoning| reasoning.set_string("effort", effort)));
    if let Some(written) = written {
        params.to_mut().set("reasoning", written.as_bytes());
    }
}

/// All rules, for the documentation.
#[cfg(test)]
pub(super) static ALL: &[&Rules] =
    &[&O1, &O3, &GPT_5, &GPT_5_CODEX, &GPT_5_PRO, &GPT_5_1, &GPT_5_3, &GROK, &GROK_PLAIN];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_rules() {
        let models = |name: &str| rules(name).map(|rules| rules.models);
        for name in ["o1", "o1-2024-12-17", "o3-mini", "o3-mini-2025-01-31", "openai/o3-mini"] {
            assert_eq!(models(name), Some(O1.models), "{name}");
        }
        for name in ["o3", "o3-2025-04-16", "o4-mini", "ft:o4-mini-2025-04-16:org::id", "O4-mini"] {
            assert_eq!(models(name), Some(O3.models), "{name}");
        }
        for name in ["gpt-5", "GPT-5-mini", "gpt-5-nano-2025-08-07", "openai/gpt-5"] {
            assert_eq!(models(name), Some(GPT_5.models), "{name}");
        }
        assert_eq!(models("gpt-5-codex"), Some(GPT_5_CODEX.models));
        assert_eq!(models("gpt-5-pro"), Some(GPT_5_PRO.models));
        assert_eq!(models("gpt-5.2-codex"), Some(GPT_5_1.models));
        assert_eq!(models("gpt-5.10"), Some(GPT_5_3.models));
        for name in [
            "grok-3-mini",
            "grok-3-mini-fast-beta",
            "grok-code-fast-1",
            "grok-4",
            "grok-4-0709",
            "grok-4-1-fast-reasoning",
            "xai/grok-4-fast",
            "Grok-4.5",
            "grok-5",
        ] {
            assert_eq!(models(name), Some(GROK.models), "{name}");
        }
        for name in ["grok-4-fast-non-reasoning", "grok-4.20-0309-non-reasoning"] {
            assert_eq!(models(name), Some(GROK_PLAIN.models), "{name}");
        }
        for name in ["grok-3", "grok-3-fast", "grok-2-vision-1212", "grok-beta", "grok-"] {
            assert_eq!(models(name), None, "{name}");
        }
        for name in ["gpt-4o", "gpt-5-chat-latest", "gpt-5.1-chat-latest", "o200k", "omni-moderation-latest", "gpt-50"]
        {
            assert_eq!(models(name), None, "{name}");
        }
    }
}
