//! The class of a failure: which part of it is the caller's, the account's or the provider's, and whether waiting helps.
//!
//! A status is not enough: 429 stands for a rate, for a provider without capacity, for a day's quota and for an empty account,
//! and an empty account is a 400 at Anthropic, a 401 at Perplexity and a 412 at Fireworks. The table is also in
//! `docs/rate-limits.md`.

use memchr::memmem;

use super::headers;
use crate::error::{Error, ErrorKind};
use crate::providers::lookup;
use crate::providers::too_long::holds;
use crate::types::rate_limit::FailureClass::{self, Auth, BadRequest, DayQuota, Overload, QuotaFatal, Rate, Transient};

/// Words of a host's refusal, and the class of failure that they mean.
pub(super) struct Rule {
    /// Name of the provider; empty for all.
    pub host: &'static str,
    /// Place of the words.
    pub place: Place,
    /// Words in lower case; `…` stands for any text.
    pub words: &'static str,
    /// The class.
    pub class: FailureClass,
    /// Place where the words were seen.
    #[cfg_attr(not(test), expect(dead_code, reason = "sources are for readers: the page shows them"))]
    pub source: &'static str,
}

/// Part of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The whole code or type.
    Code,
    /// Part of the message of any refusal.
    Message,
    /// Part of the message of a refusal for a limit (429 and the like).
    Limit,
    /// The status.
    Status,
}

const fn code(host: &'static str, words: &'static str, class: FailureClass, source: &'static str) -> Rule {
    Rule { host, place: Place::Code, words, class, source }
}

const fn message(host: &'static str, words: &'static str, class: FailureClass, source: &'static str) -> Rule {
    Rule { host, place: Place::Message, words, class, source }
}

const fn limit(host: &'static str, words: &'static str, class: FailureClass, source: &'static str) -> Rule {
    Rule { host, place: Place::Limit, words, class, source }
}

const fn status(host: &'static str, words: &'static str, class: FailureClass, source: &'static str) -> Rule {
    Rule { host, place: Place::Status, words, class, source }
}

const OPENAI: &str = "https://platform.openai.com/docs/guides/error-codes";
const ANTHROPIC: &str = "https://platform.claude.com/docs/en/api/errors";
const GEMINI: &str = "https://github.com/google-gemini/gemini-cli/issues/8437";
const GEMINI_NONE: &str = "https://github.com/continuedev/continue/issues/9570";
const BEDROCK: &str = "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html";
const BEDROCK_TROUBLE: &str =
    "https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html";
const GITHUB: &str = "https://learn.microsoft.com/en-ie/answers/questions/2156697";
const GROQ: &str = "https://console.groq.com/docs/errors";
const MISTRAL: &str = "https://docs.mistral.ai/api/";
const MISTRAL_LOAD: &str = "https://github.com/continuedev/continue/issues/6185";
const OPENROUTER: &str = "https://openrouter.ai/docs/api_reference/limits";
const DASHSCOPE: &str = "https://help.aliyun.com/en/model-studio/error-code-start";
const DASHSCOPE_LIMITS: &str = "https://help.aliyun.com/en/model-studio/rate-limit";
const MOONSHOT: &str = "https://platform.moonshot.ai/docs/api/chat";
const MOONSHOT_LOAD: &str = "https://forum.moonshot.ai/t/the-engine-is-currently-overloaded/569";
const ZAI: &str = "https://docs.z.ai/api-reference/api-code";
const MINIMAX: &str = "https://platform.minimax.io/docs/api-reference/errorcode";
const XAI: &str = "https://github.com/continuedev/continue/issues/10373";
const COHERE: &str = "https://docs.cohere.com/docs/rate-limits";
const CEREBRAS: &str = "https://inference-docs.cerebras.ai/support/error";
const FIREWORKS: &str = "https://docs.fireworks.ai/guides/inference-error-codes";
const NVIDIA: &str = "https://forums.developer.nvidia.com/c/ai-data-science/nvidia-nim";
const TGI: &str = "https://huggingface.co/docs/text-generation-inference/main/en/reference/launcher";
const AZURE: &str = "https://learn.microsoft.com/azure/ai-foundry/openai/how-to/quota";
const DEEPSEEK: &str = "https://api-docs.deepseek.com/quick_start/error_codes";
const HUGGINGFACE: &str = "https://huggingface.co/docs/inference-providers/pricing";
const FILES: &str = "https://platform.openai.com/docs/api-reference/files";
const RESPONSES: &str = "https://platform.openai.com/docs/api-reference/responses";
const GEMINI_FILES: &str = "https://ai.google.dev/gemini-api/docs/files";
const GEMINI_CACHE: &str = "https://ai.google.dev/gemini-api/docs/caching";

/// The first rule that matches decides; a provider's own stand before those of all.
pub(super) static RULES: &[Rule] = &[
    // One provider's own words.
    message("anthropic", "credit balance is too low", QuotaFatal, ANTHROPIC),
    message("anthropic", "api usage limits", DayQuota, ANTHROPIC),
    limit("azure", "retry after 86400 seconds", DayQuota, "https://github.com/jasonacox/TinyLLM/issues/17"),
    limit("azure", "no capacity", Overload, AZURE),
    limit("azure", "currently at capacity", Overload, AZURE),
    // A 402 since 2026.
    limit(
        "gemini",
        "prepayment credits are depleted",
        QuotaFatal,
        "https://discuss.ai.google.dev/t/api-update-depleted-prepay-credits-now-return-http-402-instead-of-429/183654",
    ),
    limit("gemini", "limit: 0,", QuotaFatal, GEMINI_NONE),
    limit("gemini", "limit: 0 please", QuotaFatal, GEMINI_NONE),
    limit("github", "userbymodelbyday", DayQuota, GITHUB),
    limit("github", "per 86400s exceeded", DayQuota, GITHUB),
    code("bedrock", "modelnotreadyexception", Overload, BEDROCK),
    limit("bedrock", "tokens per day", DayQuota, BEDROCK_TROUBLE),
    message("bedrock", "provided model identifier is invalid", Auth, BEDROCK_TROUBLE),
    message("bedrock", "on-demand throughput", Auth, BEDROCK_TROUBLE),
    status("groq", "498", Overload, GROQ),
    code("groq", "model_decommissioned", Auth, "https://console.groq.com/docs/deprecations"),
    code("mistral", "3505", Overload, MISTRAL_LOAD),
    code("mistral", "service_tier_capacity_exceeded", Overload, MISTRAL_LOAD),
    limit("mistral", "capacity exceeded", Overload, MISTRAL_LOAD),
    code("mistral", "invalid_model", Auth, MISTRAL),
    code("mistral", "1500", Auth, MISTRAL),
    limit("openrouter", "free-models-per-day", DayQuota, OPENROUTER),
    message("openrouter", "not a valid model id", Auth, OPENROUTER),
    message("openrouter", "no endpoints found that", BadRequest, OPENROUTER),
    message("openrouter", "input was flagged", BadRequest, OPENROUTER),
    // A limit of tokens in a minute, and no bill, though it has OpenAI's name for one.
    code("dashscope", "insufficient_quota", Rate, DASHSCOPE_LIMITS),
    code("dashscope", "throttling.allocationquota", Rate, DASHSCOPE_LIMITS),
    code("dashscope", "arrearage", QuotaFatal, DASHSCOPE),
    code("dashscope", "prepaidbilloverdue", QuotaFatal, DASHSCOPE),
    code("dashscope", "postpaidbilloverdue", QuotaFatal, DASHSCOPE),
    code("dashscope", "allocationquota.freetieronly", QuotaFatal, DASHSCOPE),
    code("dashscope", "commoditynotpurchased", QuotaFatal, DASHSCOPE),
    code("dashscope", "throttling.serviceoverloaded", Overload, DASHSCOPE),
    code("dashscope", "model_not_found", Auth, DASHSCOPE),
    code("dashscope", "modelnotfound", Auth, DASHSCOPE),
    code("moonshot", "exceeded_current_quota_error", QuotaFatal, MOONSHOT),
    code("moonshot", "engine_overloaded_error", Overload, MOONSHOT_LOAD),
    code("zai", "1113", QuotaFatal, ZAI),
    code("zai", "1304", DayQuota, ZAI),
    code("zai", "1305", Overload, ZAI),
    code("zai", "1308", DayQuota, ZAI),
    code("zai", "1309", QuotaFatal, ZAI),
    code("zai", "1310", DayQuota, ZAI),
    code("zai", "1211", Auth, ZAI),
    code("minimax", "1008", QuotaFatal, MINIMAX),
    code("minimax", "2056", DayQuota, MINIMAX),
    message("xai", "used all available credits", QuotaFatal, XAI),
    message("xai", "incorrect api key", Auth, XAI),
    message("xai", "model not found", Auth, XAI),
    limit("cohere", "api calls / month", DayQuota, COHERE),
    code("cerebras", "queue_exceeded", Overload, CEREBRAS),
    limit("cerebras", "experiencing high traffic", Overload, CEREBRAS),
    status("fireworks_ai", "412", QuotaFatal, FIREWORKS),
    message("nvidia_nim", "worker local total request limit", Overload, NVIDIA),
    message("deepseek", "model not exist", Auth, DEEPSEEK),
    code("huggingface", "model_not_supported", Auth, HUGGINGFACE),
    // Words of several providers.
    status("", "402", QuotaFatal, DEEPSEEK),
    code("", "insufficient_quota", QuotaFatal, OPENAI),
    code("", "billing_hard_limit_reached", QuotaFatal, OPENAI),
    code("", "billing_not_active", QuotaFatal, OPENAI),
    code("", "credit_balance_exhausted", QuotaFatal, OPENAI),
    code("", "organization_spend_limit_exceeded", QuotaFatal, OPENAI),
    code("", "project_spend_limit_exceeded", QuotaFatal, OPENAI),
    code("", "organization_usage_limit_exceeded", QuotaFatal, OPENAI),
    code("", "billing_error", QuotaFatal, ANTHROPIC),
    message("", "insufficient balance", QuotaFatal, DEEPSEEK),
    message("", "insufficient credits", QuotaFatal, OPENROUTER),
    message(
        "",
        "requires billing to be enabled",
        QuotaFatal,
        "https://cloud.google.com/billing/docs/how-to/modify-project",
    ),
    code("", "model_not_found", Auth, OPENAI),
    message("", "no such file", BadRequest, FILES),
    message("", "file not found", BadRequest, "https://platform.claude.com/docs/en/build-with-claude/files"),
    message("", "permission to access the file", BadRequest, GEMINI_FILES),
    message("", "cachedcontent not found", BadRequest, GEMINI_CACHE),
    message("", "response with id", BadRequest, RESPONSES),
    message("", "conversation with id", BadRequest, RESPONSES),
    message("", "container with id", BadRequest, RESPONSES),
    message("", "container is expired", BadRequest, RESPONSES),
    message("", "vector store", BadRequest, RESPONSES),
    message("", "no batch found", BadRequest, RESPONSES),
    // More than the limit of a minute in one request: it is refused however long one waits.
    limit("", "request too large … requested", BadRequest, "https://github.com/Aider-AI/aider/issues/1880"),
    limit("", "model … overloaded", Overload, TGI),
    limit("", "engine … overloaded", Overload, OPENAI),
    limit("", "server … overloaded", Overload, OPENAI),
    limit("", "over capacity", Overload, GROQ),
    limit("", "at capacity", Overload, AZURE),
    limit("", "per day", DayQuota, OPENAI),
    limit("", "per-day", DayQuota, OPENROUTER),
    limit("", "daily", DayQuota, GEMINI),
    limit("", "per month", DayQuota, COHERE),
];

/// Part of Google's name of a day's quota: `GenerateRequestsPerDayPerProjectPerModel-FreeTier`. The message does not tell.
const GOOGLE_DAY: &[u8] = b"PerDay";

/// Returns the class of a failure.
pub fn failure_class(error: &Error) -> FailureClass {
    let class = class_of(error);
    // The provider's word for it is that the same request may succeed.
    if class == BadRequest && error.should_retry == Some(true) { Transient } else { class }
}

fn class_of(error: &Error) -> FailureClass {
    match error.kind {
        ErrorKind::InvalidArgument
        | ErrorKind::UnsupportedParams
        | ErrorKind::ContextWindowExceeded
        | ErrorKind::ContentPolicyViolation
        | ErrorKind::UnprocessableEntity
        | ErrorKind::BudgetExceeded
        | ErrorKind::Internal => return BadRequest,
        ErrorKind::ApiConnection | ErrorKind::IncompleteStream | ErrorKind::ApiResponseValidation => return Transient,
        _ => {}
    }
    let host = error.provider.as_deref().unwrap_or_default();
    let label = error.code.as_deref().unwrap_or_default().to_ascii_lowercase();
    let said = error.message.to_ascii_lowercase().replace('\n', " ");
    let body = error.body.as_deref().unwrap_or_default();
    let is_refusal = matches!(
        error.kind,
        ErrorKind::RateLimit | ErrorKind::Authentication | ErrorKind::PermissionDenied | ErrorKind::NotFound
    );
    // `error.type` counts beside a number in `error.code`. A refusal of the request may repeat parts of it, and is not searched.
    let is_coded = |words: &str| {
        label == words
            || is_refusal
                && memmem::find_iter(body, words)
                    .any(|at| at > 0 && body[at - 1] == b'"' && body.get(at + words.len()) == Some(&b'"'))
    };
    let is_limit = |class| match error.kind {
        ErrorKind::RateLimit => true,
        ErrorKind::ServiceUnavailable | ErrorKind::InternalServer => class == Overload,
        _ => false,
    };
    let is_said = |rule: &&Rule| {
        (rule.host.is_empty() || rule.host == row_of(host))
            && match rule.place {
                Place::Code => is_coded(rule.words),
                // What is named is missing, and no limit of it exceeded.
                Place::Message => (rule.class != BadRequest || !is_limit(Overload)) && holds(&said, rule.words),
                Place::Limit => is_limit(rule.class) && holds(&said, rule.words),
                Place::Status => error.status.is_some_and(|status| rule.words.parse() == Ok(status)),
            }
    };
    if let Some(rule) = RULES.iter().find(is_said) {
        return rule.class;
    }
    match error.kind {
        ErrorKind::RateLimit if memmem::find(body, GOOGLE_DAY).is_some() => DayQuota,
        ErrorKind::RateLimit if is_day_used_up(host, error) => DayQuota,
        ErrorKind::RateLimit => Rate,
        ErrorKind::ServiceUnavailable if error.status != Some(502) => Overload,
        ErrorKind::Authentication | ErrorKind::PermissionDenied | ErrorKind::NotFound => Auth,
        ErrorKind::BadRequest => BadRequest,
        _ => Transient,
    }
}

/// Returns true if the fields of a refusal tell that nothing is left of a day or a month. Mistral's message is the same for
/// each of its limits.
fn is_day_used_up(host: &str, error: &Error) -> bool {
    let Some((host, fields)) = lookup(host).zip(error.headers.as_ref()) else { return false };
    // What is left depends on no date.
    headers::windows(host.row().rate_limits.windows, fields, 0)
        .iter()
        .any(|window| window.remaining == Some(0) && window.period.is_some_and(|period| period.as_secs() >= 86_400))
}

/// Returns the name in the table of a provider: Vertex AI has Gemini's words.
fn row_of(provider: &str) -> &str {
    if provider == "vertex" { "gemini" } else { provider }
}
