//! The header fields and token rules of each provider, as data. `docs/rate-limits.md` shows it.

use std::time::Duration;

use super::{Period, RateLimits, Window};
use crate::types::rate_limit::{TokenRules, Unit};

const SECOND: Period = Period::Fixed(Duration::from_secs(1));
const MINUTE: Period = Period::Fixed(Duration::from_secs(60));
const HOUR: Period = Period::Fixed(Duration::from_secs(3600));
const DAY: Period = Period::Fixed(Duration::from_secs(86_400));
const MONTH: Period = Period::Fixed(Duration::from_secs(30 * 86_400));

/// Returns a window whose reset is the time to the full limit.
const fn window(
    unit: Unit,
    period: Period,
    limit: &'static str,
    remaining: &'static str,
    reset: &'static str,
) -> Window {
    Window { unit, period, limit, remaining, reset, is_full: true }
}

/// What is used counts, after the call.
const BY_USE: TokenRules = TokenRules { reserves_max_tokens: false, output_weight: 1, cached_reads_free: false };
/// `max_tokens` counts at admission.
const RESERVED: TokenRules = TokenRules { reserves_max_tokens: true, ..BY_USE };
/// Input tokens alone count.
const INPUT_ONLY: TokenRules = TokenRules { output_weight: 0, ..BY_USE };

/// A provider that tells nothing, or whose fields are not known: its limits are learnt from its refusals.
pub(in crate::providers) static SILENT: RateLimits = RateLimits { windows: &[], tokens: BY_USE, sources: &[] };

const REQUESTS: Window = window(
    Unit::Requests,
    Period::Unknown,
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
);
const TOKENS: Window = window(
    Unit::Tokens,
    Period::Unknown,
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
);

/// Requests are of a minute or a day, by model and tier: `limit-requests: 10000`, `reset-requests: 8.64s` is a day.
pub(in crate::providers) static OPENAI: RateLimits = RateLimits {
    windows: &[
        Window { period: Period::Refill, ..REQUESTS },
        Window { period: MINUTE, ..TOKENS },
        window(
            Unit::Tokens,
            MINUTE,
            "x-ratelimit-limit-project-tokens",
            "x-ratelimit-remaining-project-tokens",
            "x-ratelimit-reset-project-tokens",
        ),
    ],
    // The larger of `max_tokens` and an estimate by characters counts; the page tells to set it close to what is expected.
    tokens: RESERVED,
    sources: &[
        "https://platform.openai.com/docs/guides/rate-limits",
        "https://community.openai.com/t/how-to-get-rate-limit-reset-time-for-response-api/1268905",
        "https://community.openai.com/t/token-per-minute-rate-limit-for-gpt4-issues/360359",
    ],
};

/// Fields of Azure's gateway, which GitHub Models has too. The length of the window is a field of its own; a limit of -1 or 0
/// stands for "not known". Resets are whole seconds, without a word on how much there is then.
const AZURES: &[Window] = &[
    Window { period: Period::Told("x-ratelimit-renewalperiod-requests", None), is_full: false, ..REQUESTS },
    Window {
        period: Period::Told("x-ratelimit-renewalperiod-tokens", Some(Duration::from_secs(60))),
        is_full: false,
        ..TOKENS
    },
];

pub(in crate::providers) static AZURE: RateLimits = RateLimits {
    windows: AZURES,
    tokens: RESERVED,
    sources: &[
        "https://learn.microsoft.com/azure/ai-foundry/openai/how-to/quota",
        "https://github.com/openai/openai-dotnet/issues/838",
        "https://github.com/EvolvingPrograms/oaib/issues/11",
        "https://github.com/openai/openai-python/issues/937",
    ],
};

/// What the fields tell is not what binds (5 requests at once, and a limit of each minute and day that only its 429 names).
pub(in crate::providers) static GITHUB: RateLimits = RateLimits {
    windows: AZURES,
    tokens: RESERVED,
    sources: &["https://docs.github.com/en/github-models/use-github-models/prototyping-with-ai-models#rate-limits"],
};

pub(in crate::providers) static ANTHROPIC: RateLimits = RateLimits {
    windows: &[
        window(
            Unit::Requests,
            MINUTE,
            "anthropic-ratelimit-requests-limit",
            "anthropic-ratelimit-requests-remaining",
            "anthropic-ratelimit-requests-reset",
        ),
        window(
            Unit::InputTokens,
            MINUTE,
            "anthropic-ratelimit-input-tokens-limit",
            "anthropic-ratelimit-input-tokens-remaining",
            "anthropic-ratelimit-input-tokens-reset",
        ),
        window(
            Unit::OutputTokens,
            MINUTE,
            "anthropic-ratelimit-output-tokens-limit",
            "anthropic-ratelimit-output-tokens-remaining",
            "anthropic-ratelimit-output-tokens-reset",
        ),
        window(
            Unit::Tokens,
            MINUTE,
            "anthropic-ratelimit-tokens-limit",
            "anthropic-ratelimit-tokens-remaining",
            "anthropic-ratelimit-tokens-reset",
        ),
    ],
    // Models before Claude 4 count cached reads; they are retired or marked in the tables of that page.
    tokens: TokenRules { cached_reads_free: true, ..BY_USE },
    sources: &["https://platform.claude.com/docs/en/api/rate-limits"],
};

/// Requests are of a day, tokens of a minute. Cached tokens do not count; `max_tokens` is part of what a refusal calls
/// `Requested`.
pub(in crate::providers) static GROQ: RateLimits = RateLimits {
    windows: &[Window { period: DAY, ..REQUESTS }, Window { period: MINUTE, ..TOKENS }],
    tokens: TokenRules { cached_reads_free: true, ..RESERVED },
    sources: &[
        "https://console.groq.com/docs/rate-limits",
        "https://github.com/zeeyado/koassistant.koplugin/issues/106",
    ],
};

pub(in crate::providers) static MISTRAL: RateLimits = RateLimits {
    windows: &[
        window(
            Unit::Requests,
            MINUTE,
            "x-ratelimit-limit-req-minute",
            "x-ratelimit-remaining-req-minute",
            "x-ratelimit-reset-req-minute",
        ),
        window(
            Unit::Requests,
            Period::Fixed(Duration::from_secs(10)),
            "x-ratelimit-limit-req-10-second",
            "x-ratelimit-remaining-req-10-second",
            "",
        ),
        window(
            Unit::Tokens,
            MINUTE,
            "x-ratelimit-limit-tokens-minute",
            "x-ratelimit-remaining-tokens-minute",
            "x-ratelimit-reset-tokens-minute",
        ),
        window(
            Unit::Tokens,
            MONTH,
            "x-ratelimit-limit-tokens-month",
            "x-ratelimit-remaining-tokens-month",
            "x-ratelimit-reset-tokens-month",
        ),
    ],
    tokens: BY_USE,
    sources: &[
        "https://github.com/mistralai/client-ts/issues/169",
        "https://github.com/promptfoo/promptfoo/pull/10577",
        "https://github.com/maruel/genai/blob/main/providers/mistral/client.go",
    ],
};

pub(in crate::providers) static CEREBRAS: RateLimits = RateLimits {
    windows: &[
        cerebras(Unit::Requests, MINUTE, 0),
        cerebras(Unit::Requests, HOUR, 1),
        cerebras(Unit::Requests, DAY, 2),
        cerebras(Unit::Tokens, MINUTE, 3),
        cerebras(Unit::Tokens, HOUR, 4),
        cerebras(Unit::Tokens, DAY, 5),
    ],
    // Without `max_completion_tokens` an estimate of its own counts.
    tokens: RESERVED,
    sources: &["https://inference-docs.cerebras.ai/support/rate-limits"],
};

const fn cerebras(unit: Unit, period: Period, row: usize) -> Window {
    const NAMES: [[&str; 3]; 6] = [
        [
            "x-ratelimit-limit-requests-minute",
            "x-ratelimit-remaining-requests-minute",
            "x-ratelimit-reset-requests-minute",
        ],
        ["x-ratelimit-limit-requests-hour", "x-ratelimit-remaining-requests-hour", "x-ratelimit-reset-requests-hour"],
        ["x-ratelimit-limit-requests-day", "x-ratelimit-remaining-requests-day", "x-ratelimit-reset-requests-day"],
        ["x-ratelimit-limit-tokens-minute", "x-ratelimit-remaining-tokens-minute", "x-ratelimit-reset-tokens-minute"],
        ["x-ratelimit-limit-tokens-hour", "x-ratelimit-remaining-tokens-hour", "x-ratelimit-reset-tokens-hour"],
        ["x-ratelimit-limit-tokens-day", "x-ratelimit-remaining-tokens-day", "x-ratelimit-reset-tokens-day"],
    ];
    let [limit, remaining, reset] = NAMES[row];
    window(unit, period, limit, remaining, reset)
}

pub(in crate::providers) static SAMBANOVA: RateLimits = RateLimits {
    windows: &[
        Window { period: MINUTE, ..REQUESTS },
        window(
            Unit::Requests,
            DAY,
            "x-ratelimit-limit-requests-day",
            "x-ratelimit-remaining-requests-day",
            "x-ratelimit-reset-requests-day",
        ),
    ],
    tokens: BY_USE,
    sources: &["https://docs.sambanova.ai/docs/en/models/rate-limits"],
};

/// Limits adapt to the use, between bounds. The field for uncached prompts, `…-tokens-cache-adjusted-prompt`, has no
/// counterpart here.
pub(in crate::providers) static FIREWORKS: RateLimits = RateLimits {
    windows: &[
        Window { period: MINUTE, reset: "", ..REQUESTS },
        window(Unit::InputTokens, MINUTE, "x-ratelimit-limit-tokens-prompt", "x-ratelimit-remaining-tokens-prompt", ""),
        window(
            Unit::OutputTokens,
            MINUTE,
            "x-ratelimit-limit-tokens-generated",
            "x-ratelimit-remaining-tokens-generated",
            "",
        ),
    ],
    tokens: BY_USE,
    sources: &["https://docs.fireworks.ai/serverless/rate-limits"],
};

/// Per second. Limits adapt to the use.
pub(in crate::providers) static TOGETHER: RateLimits = RateLimits {
    windows: &[
        Window { period: SECOND, ..ONE_LIMIT },
        window(Unit::Tokens, SECOND, "x-tokenlimit-limit", "x-tokenlimit-remaining", "x-tokenlimit-reset"),
    ],
    tokens: BY_USE,
    sources: &["https://docs.together.ai/docs/serverless/rate-limits"],
};

/// Names of fields of hosts that tell one limit of requests.
const ONE_LIMIT: Window =
    window(Unit::Requests, Period::Unknown, "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset");

pub(in crate::providers) static MOONSHOT: RateLimits = RateLimits {
    windows: &[ONE_LIMIT],
    tokens: BY_USE,
    sources: &["https://www.kimi.com/help/kimi-api/api-rate-limits"],
};

/// On refusals alone, in the body too (`error.metadata.headers`); the reset is in milliseconds since 1970. Free models have
/// 20 requests a minute, and 50 or 1,000 a day.
pub(in crate::providers) static OPENROUTER: RateLimits =
    RateLimits { windows: &[ONE_LIMIT], tokens: BY_USE, sources: &["https://openrouter.ai/docs/api_reference/limits"] };

/// For trial keys alone, and not on a 429.
pub(in crate::providers) static COHERE: RateLimits = RateLimits {
    windows: &[
        window(Unit::Requests, MINUTE, "x-trial-endpoint-call-limit", "x-trial-endpoint-call-remaining", ""),
        window(Unit::Requests, MONTH, "x-endpoint-monthly-call-limit", "", ""),
    ],
    tokens: BY_USE,
    sources: &["https://docs.cohere.com/docs/rate-limits"],
};

/// Whether a limit of requests is of a second or a minute depends on the model.
pub(in crate::providers) static XAI: RateLimits = RateLimits {
    windows: &[REQUESTS, Window { period: MINUTE, ..TOKENS }],
    tokens: BY_USE,
    sources: &["https://docs.x.ai/docs/key-information/consumption-and-rate-limits"],
};

/// In the bodies of refusals alone (`google.rpc.QuotaFailure`, `google.rpc.RetryInfo`).
pub(in crate::providers) static GEMINI: RateLimits = RateLimits {
    windows: &[],
    tokens: INPUT_ONLY,
    sources: &[
        "https://ai.google.dev/gemini-api/docs/rate-limits",
        "https://cloud.google.com/vertex-ai/generative-ai/docs/quotas",
        "https://github.com/google-gemini/gemini-cli/issues/8437",
    ],
};

/// No fields. Output tokens of some models count several times: see [`bedrock_output_weight`].
pub(in crate::providers) static BEDROCK: RateLimits = RateLimits {
    windows: &[],
    tokens: TokenRules { cached_reads_free: true, ..RESERVED },
    sources: &["https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html"],
};

/// Any server with OpenAI's format, a gateway to any of the others too.
pub(in crate::providers) static COMPATIBLE: RateLimits =
    RateLimits { windows: &[REQUESTS, TOKENS], tokens: BY_USE, sources: &["https://docs.litellm.ai/docs/proxy/users"] };

/// No fields, and no limit of tokens: a server that has too much to do answers 429 or 503.
pub(in crate::providers) static OWN: RateLimits = RateLimits {
    windows: &[],
    tokens: BY_USE,
    sources: &["https://github.com/vllm-project/vllm/tree/main/vllm/entrypoints/openai"],
};
