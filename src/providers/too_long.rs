//! Recognises refusals of prompts that are too long for the model: `ContextWindowExceeded`.
//!
//! The status is not enough (400, 413, 422 and 500 are in use), and few hosts have a code for it. The table is also in
//! `docs/prompt-too-long.md`.

/// Words of a host's refusal, and the place where they were seen.
#[cfg_attr(not(test), expect(dead_code, reason = "hosts and sources are for readers: a test holds the page to them"))]
pub(super) struct Phrase {
    pub host: &'static str,
    /// Words in lower case; `…` stands for any text.
    pub words: &'static str,
    pub source: &'static str,
}

const fn phrase(host: &'static str, words: &'static str, source: &'static str) -> Phrase {
    Phrase { host, words, source }
}

const PI: &str = "https://github.com/earendil-works/pi/blob/main/packages/ai/src/utils/overflow.ts";
const LITELLM: &str = "https://github.com/BerriAI/litellm/pull/21647";
const AGENTAO: &str = "https://github.com/jin-bo/agentao/pull/88";
const VELLUM: &str = "https://github.com/vellum-ai/vellum-assistant/pull/40740";

/// Codes for a prompt that is too long, of any host; part of a code is enough.
pub(super) static CODES: &[Phrase] = &[
    phrase("OpenAI, Azure, Groq, xAI", "context_length_exceeded", "https://github.com/baserow/baserow/issues/3011"),
    phrase("several gateways", "context_window_exceeded", VELLUM),
    phrase("several gateways", "input_too_long", VELLUM),
    phrase("several gateways", "prompt_too_long", VELLUM),
    phrase(
        "GitHub Copilot",
        "model_max_prompt_tokens_exceeded",
        "https://github.com/microsoft/copilot-intellij-feedback/issues/94",
    ),
    phrase("GitHub Models", "tokens_limit_reached", "https://github.com/eslint/tsc-meetings/pull/593"),
    phrase("llama.cpp", "exceed_context_size", "https://github.com/DraconDev/pi-goal-list-loop-audit/pull/48"),
];

/// Messages for a prompt that is too long.
pub(super) static PHRASES: &[Phrase] = &[
    phrase("OpenAI, Azure, OpenRouter, DeepSeek, NVIDIA, Databricks, vLLM, Ollama", "maximum context length", PI),
    phrase("OpenAI", "exceeds the context window", PI),
    phrase("OpenAI", "content … string too long", VELLUM),
    phrase("Anthropic, Bedrock, Fireworks", "prompt is too long", PI),
    phrase("Anthropic", "exceed context limit", "https://github.com/openclaw/openclaw/pull/20539"),
    phrase("Bedrock, Replicate", "input is too long", LITELLM),
    phrase("Bedrock", "too many input tokens", LITELLM),
    phrase("Bedrock", "input tokens exceed", AGENTAO),
    phrase(
        "Bedrock (Cohere, Titan)",
        "expected maxlength: … actual: … reformat your input",
        "https://github.com/ScrapeGraphAI/Scrapegraph-ai/issues/400",
    ),
    phrase(
        "Gemini, Vertex",
        "input token count … exceeds the maximum",
        "https://github.com/google-gemini/gemini-cli/issues/6678",
    ),
    phrase(
        "Gemini, Vertex",
        "exceeds the maximum number of tokens",
        "https://github.com/google-gemini/gemini-cli/issues/6678",
    ),
    phrase("Mistral", "too large for model with", LITELLM),
    phrase("Groq, Cerebras", "reduce the length of the messages", PI),
    phrase("xAI", "maximum prompt length", "https://github.com/cline/cline/issues/3120"),
    phrase("Cohere", "too many tokens: ", "https://docs.cohere.com/reference/errors"),
    phrase("Cohere", "number of tokens in the prompt exceeds", "https://docs.cohere.com/reference/errors"),
    phrase("Perplexity", "length of all messages is too long", LITELLM),
    phrase("SambaNova", "maximum supported sequence length", "https://github.com/cline/cline/issues/294"),
    phrase("SGLang", "exceeds the maximum allowed length", "https://github.com/NVIDIA-NeMo/Switchyard/pull/542"),
    phrase(
        "Together, SGLang",
        "is longer than the model's context length",
        "https://github.com/QwenLM/Qwen3/issues/1321",
    ),
    phrase(
        "Together, HuggingFace (TGI)",
        "`inputs` tokens + `max_new_tokens` must be",
        "https://github.com/huggingface/huggingface_hub/issues/2763",
    ),
    phrase(
        "HuggingFace (TGI)",
        "`inputs` must have less than … tokens",
        "https://github.com/meta-llama/llama/issues/1103",
    ),
    phrase("GitHub Models", "too large for … max size: … tokens", "https://github.com/cline/cline/issues/995"),
    phrase(
        "GitHub Copilot",
        "prompt token count of … exceeds the limit",
        "https://github.com/microsoft/copilot-intellij-feedback/issues/94",
    ),
    phrase("Moonshot", "exceeded model token limit", "https://github.com/MoonshotAI/kimi-cli/issues/2011"),
    phrase("Moonshot", "model max length exceeded", "https://github.com/MoonshotAI/MoonshotAI-Cookbook/issues/18"),
    phrase("z.ai", "prompt exceeds max length", "https://github.com/NousResearch/hermes-agent/pull/1877"),
    phrase("z.ai, Ollama", "prompt too long", "https://docs.z.ai/api-reference/api-code"),
    phrase("z.ai", "tokens in request more than max tokens", "https://github.com/earendil-works/pi/issues/9805"),
    phrase("DashScope", "range of input length should be", "https://github.com/QwenLM/qwen-code/issues/98"),
    phrase(
        "Volcengine",
        "input length … exceeds the maximum length",
        "https://github.com/esengine/DeepSeek-Reasonix/issues/9696",
    ),
    phrase("MiniMax", "context window exceeds limit", PI),
    phrase("Ollama", "exceeds the context length", "https://github.com/lfnovo/open-notebook/issues/350"),
    phrase("vLLM", "longer than the maximum model length", "https://github.com/xorbitsai/inference/issues/3785"),
    phrase("vLLM", "too long to fit into the model", "https://github.com/vllm-project/vllm/issues/12165"),
    phrase("llama.cpp", "exceeds the available context size", PI),
    phrase(
        "LM Studio",
        "context size has been exceeded",
        "https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/2339",
    ),
    phrase("LM Studio", "greater than the context length", PI),
    phrase(
        "LM Studio",
        "with context length of only",
        "https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/546",
    ),
    phrase("LM Studio", "reached context length of", "https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/1251"),
    phrase(
        "NVIDIA (TensorRT-LLM)",
        "prompt length … exceeds maximum",
        "https://github.com/triton-inference-server/tensorrtllm_backend/issues/565",
    ),
    phrase(
        "NVIDIA (embeddings)",
        "input length … exceeds maximum allowed token size",
        "https://github.com/run-llama/llama_index/issues/15180",
    ),
    phrase("Poolside", "exceeds the maximum allowed input length", "https://github.com/earendil-works/pi/issues/4943"),
    phrase("several gateways", "context length exceeded", AGENTAO),
    phrase("several gateways", "with a context window of", AGENTAO),
    phrase("several gateways", "exceeds the model's context window", AGENTAO),
];

/// Words of limits that count tokens too, but in a time or for money.
static OTHER_LIMITS: &[&str] =
    &["rate limit", "rate_limit", "per minute", "per min", "per day", "quota", "please wait", "too many requests"];

/// Returns true if a refusal says that the prompt is too long: by its code or type (`label`), or by its message.
pub(super) fn is_reported(label: &str, message: &str) -> bool {
    let (label, message) = (label.to_ascii_lowercase(), message.to_ascii_lowercase());
    if OTHER_LIMITS.iter().any(|words| message.contains(words) || label.contains(words)) {
        return false;
    }
    CODES.iter().any(|code| label.contains(code.words)) || PHRASES.iter().any(|phrase| holds(&message, phrase.words))
}

/// Returns true if a text has these words, in this order.
pub(super) fn holds(text: &str, words: &str) -> bool {
    let mut rest = text;
    words.split(" … ").flat_map(|part| part.split('…')).all(|part| match rest.find(part) {
        Some(start) => {
            rest = &rest[start + part.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_in_their_order() {
        assert!(holds(
            "the input token count (12) exceeds the maximum number",
            "input token count … exceeds the maximum"
        ));
        assert!(holds("expected maxlength: 50000, actual: 60000", "expected maxlength: … actual: "));
        assert!(!holds("exceeds the maximum input token count", "input token count … exceeds the maximum"));
    }

    #[test]
    fn no_other_limit_is_taken_for_it() {
        for message in [
            "Request too large for gpt-4o in organization x on tokens per min (TPM): Limit 30000, Requested 40000",
            "Request too large for model `llama` on tokens per minute (TPM): Limit 6000, Requested 9000, please reduce your message size",
            "Too many tokens, please wait before trying again.",
            "Too many tokens per day, please wait before trying again.",
            "Rate limit reached: the input token count exceeds the maximum of your tier",
            "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
            "max_tokens must be at least 1",
            "You exceeded your current quota: too many tokens: see billing",
            "Array too long",
            "The tools list is too long",
        ] {
            assert!(!is_reported("", message), "{message}");
        }
        assert!(!is_reported("rate_limit_exceeded", "This model's maximum context length is 8192 tokens"));
    }

    /// The page shows the table as it is here.
    #[test]
    fn the_page_has_every_phrase() {
        let page = include_str!("../../docs/prompt-too-long.md");
        let rows = |table: &[Phrase]| -> String {
            let row = |phrase: &Phrase| {
                let tick = if phrase.words.contains('`') { "``" } else { "`" };
                format!("| {} | {tick}{}{tick} | [seen]({}) |\n", phrase.host, phrase.words.trim(), phrase.source)
            };
            table.iter().map(row).collect()
        };
        for (table, what) in [(CODES, "code"), (PHRASES, "words")] {
            let shown = format!("| host | {what} | source |\n|---|---|---|\n{}", rows(table));
            assert!(page.contains(&shown), "docs/prompt-too-long.md should have:\n{shown}");
        }
    }
}
