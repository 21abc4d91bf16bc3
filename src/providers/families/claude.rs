//! Rules of Anthropic's models: thinking, output limits, refused parameters.
//!
//! They are the same at every provider: <https://platform.claude.com/docs/en/build-with-claude/claude-on-amazon-bedrock>.
//!
//! <https://platform.claude.com/docs/en/about-claude/models/overview>,
//! <https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking>,
//! <https://platform.claude.com/docs/en/build-with-claude/effort>,
//! <https://platform.claude.com/docs/en/build-with-claude/structured-outputs> and the migration guides, such as
//! <https://platform.claude.com/docs/en/models/haiku-5-5/migration-guide>.

/// A model's line and version, read from its name.
#[derive(Debug, Clone, Copy)]
pub(in crate::providers) struct Model {
    line: Line,
    /// Major and minor; a Claude without a number in its name counts as a new one.
    version: (u32, u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Opus,
    Sonnet,
    Haiku,
    /// A Claude of another line (Fable, Mythos, …).
    Other,
    /// A model of another vendor, behind this wire.
    Foreign,
}

/// Parameters that switch thinking on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::providers) enum Thinking {
    /// None: the model cannot think.
    Never,
    /// A number of tokens: `{"type": "enabled", "budget_tokens": …}`.
    Budget,
    /// The model decides, guided by `output_config.effort`.
    Adaptive,
}

/// Parameters that switch thinking off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::providers) enum Off {
    /// None: the model does not think unless requested.
    Unasked,
    /// `thinking: {"type": …}` with this word.
    Word(&'static str),
    /// The lowest effort: the model always thinks.
    LeastEffort,
}

impl Model {
    /// Reads `claude-sonnet-4-5-20250929`, `claude-3-5-haiku-latest`, `claude-opus-4.6` and the like.
    pub(in crate::providers) fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let Some(claude) = name.find("claude") else { return Self { line: Line::Foreign, version: (0, 0) } };
        // Regions and account numbers may come before it.
        let name = &name[claude..];
        let words: Vec<&str> = name.split(['-', '.', '_', '@', ':', '/']).collect();
        // Longer numbers are dates. The first models of all were `claude-v2:1` and `claude-instant-v1`.
        let number = |word: &&str| word.parse::<u32>().ok().filter(|_| word.len() <= 2);
        let oldest = words.iter().skip(1).find(|word| **word != "instant");
        let oldest = oldest.and_then(|word| number(&word.strip_prefix('v')?)).map(|major| (major, 0));
        let position = words.iter().position(|word| number(word).is_some());
        let version = oldest.or_else(|| {
            let position = position?;
            Some((number(&words[position])?, words.get(position + 1).and_then(number).unwrap_or(0)))
        });
        let version = version.or_else(|| words.contains(&"instant").then_some((1, 0)));
        let line = match () {
            () if words.contains(&"opus") => Line::Opus,
            () if words.contains(&"sonnet") => Line::Sonnet,
            () if words.contains(&"haiku") => Line::Haiku,
            () => Line::Other,
        };
        Self { line, version: version.unwrap_or((u32::MAX, 0)) }
    }

    /// Returns true for Anthropic's models.
    pub(in crate::providers) fn is_claude(self) -> bool {
        self.line != Line::Foreign
    }

    /// Returns the parameters that switch thinking on.
    pub(in crate::providers) fn thinking(self) -> Thinking {
        match self.version {
            // Other vendors with this wire have the older format.
            _ if !self.is_claude() => Thinking::Budget,
            version if version < (3, 7) => Thinking::Never,
            version if version < (4, 6) => Thinking::Budget,
            _ => Thinking::Adaptive,
        }
    }

    /// Returns the parameters that switch thinking off.
    pub(in crate::providers) fn thinking_off(self) -> Off {
        match (self.line, self.version) {
            (Line::Foreign, _) => Off::Word("disabled"),
            (Line::Opus | Line::Sonnet | Line::Haiku, version) if version < (5, 0) => Off::Unasked,
            (Line::Haiku, _) | (Line::Opus | Line::Sonnet, (5, 0..=4)) => Off::Word("disabled"),
            (Line::Sonnet, _) => Off::Word("between_tools"),
            (Line::Opus | Line::Other, _) => Off::LeastEffort,
        }
    }

    /// Returns true if the model hides its thinking unless a summary is requested.
    pub(in crate::providers) fn hides_thinking(self) -> bool {
        self.is_claude() && self.version >= (4, 7)
    }

    /// Returns true if the model has the effort `xhigh`, between `high` and `max`.
    pub(in crate::providers) fn has_xhigh(self) -> bool {
        self.version >= (4, 7)
    }

    /// Returns `max_tokens` for callers that do not set it: enough for nearly any answer, and small enough to leave the prompt
    /// room in the context window.
    pub(in crate::providers) fn default_max_tokens(self) -> u64 {
        match self.version {
            _ if !self.is_claude() => 8192,
            version if version < (3, 5) => 4096,
            version if version < (3, 7) => 8192,
            version if version < (4, 6) => 32_000,
            _ => 64_000,
        }
    }

    /// Returns the maximum number of output tokens, thinking included.
    pub(in crate::providers) fn max_output_tokens(self) -> u64 {
        match (self.line, self.version) {
            (Line::Foreign, _) => u64::MAX,
            (_, version) if version < (3, 7) => self.default_max_tokens(),
            (Line::Opus, (4, 0 | 1)) => 32_000,
            (_, version) if version < (4, 6) => 64_000,
            _ => 128_000,
        }
    }

    /// Returns how many tokens of a quota at Bedrock an output token takes.
    ///
    /// <https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html>
    pub(in crate::providers) fn quota_per_output_token(self) -> u32 {
        match self.version {
            _ if !self.is_claude() => 1,
            (4, 8) if self.line == Line::Opus => 15,
            (5.., _) => 10,
            (3, 7..) | (4, _) => 5,
            _ => 1,
        }
    }

    /// Returns true if the model has `output_config.format`.
    pub(in crate::providers) fn has_output_format(self) -> bool {
        self.is_claude() && self.version >= (4, 5)
    }

    /// Returns true if the model has `output_config.format` and strict tools on Vertex AI:
    /// <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/structured_outputs>.
    pub(in crate::providers) fn has_output_format_on_vertex(self) -> bool {
        self.is_claude() && self.version >= (4, 6)
    }

    /// Returns true if the model takes a `temperature` or `top_p` other than 1, and a `top_k`:
    /// <https://platform.claude.com/docs/en/about-claude/models/migration-guide>.
    pub(super) fn has_sampling(self) -> bool {
        self.version < (4, 7)
    }

    /// Returns true if the model takes only one of `temperature` and `top_p`.
    pub(super) fn has_one_sampling(self) -> bool {
        self.version >= (4, 1)
    }

    /// Decides what happens to `temperature`, `top_p` or `top_k`.
    ///
    /// `thinks` is true if thinking is requested, `temperature` the value of that parameter if it is set: both restrict the
    /// other parameters.
    pub(in crate::providers) fn sampling(
        self,
        name: &str,
        value: &str,
        thinks: bool,
        temperature: Option<&str>,
    ) -> Sampling {
        let is_default = |value: &str| value == "null" || value.parse() == Ok(1.0);
        let number = value.parse::<f64>().unwrap_or(f64::NAN);
        match name {
            _ if value == "null" => Sampling::Omit,
            _ if !self.is_claude() => Sampling::Send,
            "temperature" | "top_p" if !self.has_sampling() && is_default(value) => Sampling::Omit,
            _ if !self.has_sampling() => Sampling::Refused,
            "temperature" if is_default(value) => Sampling::Send,
            "temperature" | "top_k" if thinks => Sampling::Refused,
            "top_p" if self.has_one_sampling() && temperature.is_some_and(|value| value != "null") => {
                if is_default(value) { Sampling::Omit } else { Sampling::Refused }
            }
            "top_p" if thinks && number < 0.95 => Sampling::Refused,
            _ => Sampling::Send,
        }
    }

    /// Returns when a call of a tool can be required.
    pub(in crate::providers) fn forced_tools(self) -> Forced {
        match (self.line, self.version) {
            (_, (u32::MAX, _)) | (Line::Foreign, _) => Forced::Always,
            (Line::Opus | Line::Sonnet, version) if version >= (5, 5) => Forced::Never,
            (Line::Other, version) if version >= (5, 1) => Forced::Never,
            (_, version) if version < (4, 8) => Forced::WithoutThinking,
            _ => Forced::Always,
        }
    }
}

/// Treatment of a sampling parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::providers) enum Sampling {
    /// It is sent.
    Send,
    /// It is left out: it has the default value, which may be refused.
    Omit,
    /// It is refused: the model answers it with a 400.
    Refused,
}

/// Returns the instruction for a model without structured output to answer in JSON, following the schema if there is one.
pub(in crate::providers) fn instruction(schema: Option<&str>) -> String {
    match schema {
        None => "Answer with one JSON object and nothing else: no Markdown, no words around it.".into(),
        Some(schema) => format!(
            "Answer with one JSON value and nothing else: no Markdown, no words around it. It has to fit this JSON schema:\n{schema}"
        ),
    }
}

/// Condition under which a call of a tool can be required.
///
/// <https://platform.claude.com/docs/en/build-with-claude/extended-thinking#extended-thinking-with-tool-use>,
/// <https://github.com/langchain-ai/langchain-aws/pull/1141> (from 4.8 on),
/// <https://platform.claude.com/docs/en/models/opus-5-5/whats-new-opus-5-5#forced-tool-use-is-not-supported>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::providers) enum Forced {
    /// With and without thinking.
    Always,
    /// Without thinking only.
    WithoutThinking,
    /// Never: the model always thinks, and chooses the tools itself.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_age_are_read() {
        let version = |name: &str| Model::of(name).version;
        assert_eq!(version("claude-sonnet-4-5-20250929"), (4, 5));
        assert_eq!(version("claude-sonnet-4-20250514"), (4, 0));
        assert_eq!(version("claude-3-5-haiku-latest"), (3, 5));
        assert_eq!(version("claude-3-opus-20240229"), (3, 0));
        assert_eq!(version("claude-opus-4.6"), (4, 6));
        assert_eq!(version("claude-4-opus-20250514"), (4, 0));
        assert_eq!(version("anthropic.claude-haiku-4-5-20251001-v1:0"), (4, 5));
        assert_eq!(version("arn:aws:bedrock:us-east-1:12:inference-profile/us.anthropic.claude-sonnet-4-6"), (4, 6));
        assert_eq!(version("claude-haiku-5-5"), (5, 5));
        assert_eq!(version("anthropic.claude-v2"), (2, 0));
        assert_eq!(version("anthropic.claude-v2:1"), (2, 0));
        assert_eq!(version("anthropic.claude-instant-v1:2:100k"), (1, 0));
        assert_eq!(version("publishers/anthropic/models/claude-opus-4-1@20250805"), (4, 1));
        assert_eq!(version("anthropic.claude-3-sonnet-20240229-v1:0:200k"), (3, 0));
        assert_eq!(version("claude-sonnet-5"), (5, 0));
        assert_eq!(Model::of("claude-mythos-preview").thinking(), Thinking::Adaptive);
        assert_eq!(Model::of("kimi-k2").thinking(), Thinking::Budget);
    }

    #[test]
    fn sampling_is_limited_by_model_thinking_and_temperature() {
        let sampling =
            |model: &str, name: &str, value: &str, thinks: bool, temperature: Option<&str>| match Model::of(model)
                .sampling(name, value, thinks, temperature)
            {
                Sampling::Send => "send",
                Sampling::Omit => "omit",
                Sampling::Refused => "refuse",
            };
        let (old, middle, new) = ("claude-3-5-haiku-latest", "us.anthropic.claude-sonnet-4-5-v1:0", "claude-opus-5");
        for (model, name, value, thinks, temperature, expected) in [
            (old, "top_p", "0.9", false, Some("0.2"), "send"),
            (middle, "temperature", "0.2", false, Some("0.2"), "send"),
            (middle, "top_p", "0.9", false, None, "send"),
            (middle, "top_p", "0.9", false, Some("0.2"), "refuse"),
            (middle, "top_p", "1", false, Some("0.2"), "omit"),
            (middle, "temperature", "0.2", true, Some("0.2"), "refuse"),
            (middle, "temperature", "1.0", true, Some("1.0"), "send"),
            (middle, "top_p", "0.9", true, None, "refuse"),
            (middle, "top_p", "0.97", true, None, "send"),
            (middle, "top_k", "5", true, None, "refuse"),
            (middle, "top_k", "5", false, None, "send"),
            (new, "temperature", "0.2", false, Some("0.2"), "refuse"),
            (new, "temperature", "1", false, Some("1"), "omit"),
            (new, "top_k", "5", false, None, "refuse"),
            (new, "top_p", "null", false, None, "omit"),
            ("kimi-k2", "temperature", "0.2", true, Some("0.2"), "send"),
        ] {
            assert_eq!(sampling(model, name, value, thinks, temperature), expected, "{model} {name}={value}");
        }
    }

    #[test]
    fn tools_are_forced_where_that_is_taken() {
        let forced = |name: &str| Model::of(name).forced_tools();
        assert_eq!(forced("claude-sonnet-4-5"), Forced::WithoutThinking);
        assert_eq!(forced("claude-opus-4-8"), Forced::Always);
        assert_eq!(forced("claude-opus-5-5"), Forced::Never);
        assert_eq!(forced("claude-fable-5-1"), Forced::Never);
        assert_eq!(forced("claude-haiku-5-5"), Forced::Always);
        assert_eq!(forced("kimi-k2"), Forced::Always);
    }

    #[test]
    fn thinking_is_turned_off_as_each_model_wants_it() {
        let off = |name: &str| Model::of(name).thinking_off();
        assert_eq!(off("claude-opus-4-8"), Off::Unasked);
        assert_eq!(off("claude-opus-5"), Off::Word("disabled"));
        assert_eq!(off("claude-haiku-5-5"), Off::Word("disabled"));
        assert_eq!(off("claude-sonnet-5-5"), Off::Word("between_tools"));
        assert_eq!(off("claude-opus-5-5"), Off::LeastEffort);
        assert_eq!(off("claude-fable-5-1"), Off::LeastEffort);
    }
}
