//! The providers with OpenAI's format, one row each. Adding one is adding a row.

#[cfg(test)]
mod tests;

use super::Operation;
use super::embeddings::vectors::Packed;
use super::embeddings::{EmbeddingRow, PLAIN};
use super::media_sizes;
use super::rate_limits::table as limits;
use super::rerank::{self, RerankRow};
use super::row::{FILES_AND_BATCHES, HOSTED, MODELS, OWN_SERVER, RERANK, Row, SPEECH, TOKENS};
use super::structured::support as structured;
use super::tools::grammar::{Grammar, Words};

/// Embeddings of a host that documents base64 for them.
const BASE64: EmbeddingRow = EmbeddingRow { base64: true, ..PLAIN };

/// Embeddings of OpenAI: 2048 inputs and 300,000 tokens in a request.
/// <https://platform.openai.com/docs/api-reference/embeddings/create>
pub(super) const OPENAI_EMBEDDINGS: EmbeddingRow = EmbeddingRow { max_inputs: 2048, max_bytes: 600_000, ..BASE64 };

/// The limit of output tokens at hosts that have only the older of OpenAI's two names. Some of them refuse the newer one
/// (Mistral: 422); others ignore it and generate without a limit (DeepSeek, Ollama).
const MAX_TOKENS: (&str, &str) = ("max_completion_tokens", "max_tokens");

/// Names of reasoning at the hosts that show it; OpenAI's own format has no reasoning.
pub(super) const REASONING: &[&str] =
    &["reasoning", "reasoning_content", "reasoning_details", "reasoning_text", "thinking", "thought", "thoughts"];

/// Members that a host with a closed schema refuses in answers of others. `refusal` and `annotations` are in each of
/// OpenAI's own.
///
/// Groq: `property 'refusal' is unsupported`; its own name for its reasoning is `reasoning`, which may come back.
const OTHERS_ANSWERS: &[&str] = &[
    "reasoning_content",
    "reasoning_details",
    "reasoning_text",
    "thinking",
    "thought",
    "thoughts",
    "refusal",
    "annotations",
    "audio",
];

/// Members that a host refuses which takes no reasoning back, and lacks OpenAI's older form of a call.
const ALL_BUT_TEXT_AND_CALLS: &[&str] = &[
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "reasoning_text",
    "thinking",
    "thought",
    "thoughts",
    "refusal",
    "annotations",
    "audio",
    "function_call",
];

/// The length of vectors at hosts that do not call it `dimensions`.
const DIMENSION: (&str, &str) = ("dimensions", "output_dimension");

/// Rows of the providers with OpenAI's format, in the order in which they are listed.
pub const TABLE: &[Row] = &[
    Row {
        name: "openai",
        docs: "https://platform.openai.com/docs/api-reference/chat/create",
        base_url: "https://api.openai.com/v1",
        key_variables: &["OPENAI_API_KEY"],
        base_url_variables: &["OPENAI_BASE_URL", "OPENAI_API_BASE"],
        stream_usage: true,
        refused_in_history: REASONING,
        fits_reasoning_models: true,
        has_developer_role: true,
        tools: Grammar::OPENAI,
        embedding: OPENAI_EMBEDDINGS,
        operations: &[MODELS, SPEECH, FILES_AND_BATCHES, TOKENS],
        media: media_sizes::OPENAI,
        rate_limits: &limits::OPENAI,
        structured: structured::OPENAI_MODELS,
        ..HOSTED
    },
    Row {
        name: "groq",
        docs: "https://console.groq.com/docs/openai",
        base_url: "https://api.groq.com/openai/v1",
        key_variables: &["GROQ_API_KEY"],
        base_url_variables: &["GROQ_API_BASE"],
        root_url_variables: &[("GROQ_BASE_URL", "/openai/v1")],
        stream_usage: true,
        // Each is a 400. So are `n` other than 1 and a message's `name`, which a row cannot express.
        unsupported: &["logit_bias", "logprobs", "top_logprobs"],
        refused_in_history: OTHERS_ANSWERS,
        has_developer_role: true,
        // https://console.groq.com/docs/text-to-speech, https://console.groq.com/docs/batch
        operations: &[MODELS, SPEECH, FILES_AND_BATCHES],
        media: media_sizes::GROQ,
        rate_limits: &limits::GROQ,
        structured: structured::GROQ,
        ..HOSTED
    },
    Row {
        name: "mistral",
        docs: "https://docs.mistral.ai/api/",
        base_url: "https://api.mistral.ai/v1",
        key_variables: &["MISTRAL_API_KEY"],
        root_url_variables: &[("MISTRAL_BASE_URL", "/v1"), ("MISTRAL_API_BASE", "/v1")],
        usage_unasked: true,
        spelled: &[MAX_TOKENS, ("seed", "random_seed")],
        // Its schema is closed: any name that is not in it is a 422 (`extra_forbidden`), and
        // `stream_options.include_usage` is one of them.
        unsupported: &[
            "audio",
            "function_call",
            "functions",
            "logit_bias",
            "modalities",
            "moderation",
            "prompt_cache_options",
            "prompt_cache_retention",
            "safety_identifier",
            "store",
            "user",
            "verbosity",
            "web_search_options",
        ],
        refused_in_history: ALL_BUT_TEXT_AND_CALLS,
        // `Tool call id was … but must be a-z, A-Z, 0-9, with a length of 9.`
        tools: Grammar {
            ids: Words { max_length: 9, is_exact: true, marks: Some(""), begins_with_letter: false },
            ..Grammar::HOSTED
        },
        // `Too many inputs in request, split into more batches`; `Too many tokens in batch. Max is 16384`.
        embedding: EmbeddingRow {
            base64: true,
            spelled: &[DIMENSION],
            unsupported: &["user"],
            max_inputs: 512,
            max_bytes: 32_000,
            ..PLAIN
        },
        rate_limits: &limits::MISTRAL,
        structured: structured::ALL_STRICT,
        ..HOSTED
    },
    Row {
        name: "deepseek",
        docs: "https://api-docs.deepseek.com/api/create-chat-completion",
        // Without a version, as documented; `/beta` is for its prefix completion only.
        base_url: "https://api.deepseek.com",
        key_variables: &["DEEPSEEK_API_KEY"],
        base_url_variables: &["DEEPSEEK_API_BASE"],
        // The usage then comes on the last chunk that has a choice, not on one of its own.
        stream_usage: true,
        spelled: &[MAX_TOKENS],
        structured: structured::ALL_JSON_MODE,
        ..HOSTED
    },
    Row {
        name: "xai",
        docs: "https://docs.x.ai/developers/rest-api-reference/inference",
        base_url: "https://api.x.ai/v1",
        key_variables: &["XAI_API_KEY"],
        root_url_variables: &[("XAI_API_BASE", "/v1")],
        stream_usage: true,
        // What its reasoning models refuse (`stop`, the penalties) is in their rules.
        unsupported: &["logit_bias"],
        fits_reasoning_models: true,
        media: media_sizes::XAI,
        rate_limits: &limits::XAI,
        structured: structured::ALL_STRICT,
        ..HOSTED
    },
    Row {
        name: "together_ai",
        docs: "https://docs.together.ai/docs/inference/openai-compatibility",
        base_url: "https://api.together.ai/v1",
        key_variables: &["TOGETHER_API_KEY", "TOGETHERAI_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHER_AI_TOKEN"],
        base_url_variables: &["TOGETHER_AI_API_BASE"],
        root_url_variables: &[("TOGETHER_BASE_URL", "/v1")],
        stream_usage: true,
        spelled: &[MAX_TOKENS],
        // https://docs.together.ai/reference/rerank-1, https://docs.together.ai/reference/audio-speech
        operations: &[MODELS, RERANK, SPEECH],
        rate_limits: &limits::TOGETHER,
        ..HOSTED
    },
    Row {
        name: "fireworks_ai",
        docs: "https://docs.fireworks.ai/api-reference/post-chatcompletions",
        base_url: "https://api.fireworks.ai/inference/v1",
        key_variables: &["FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY", "FIREWORKSAI_API_KEY", "FIREWORKS_AI_TOKEN"],
        base_url_variables: &["FIREWORKS_API_BASE"],
        // Only `/v1`: its SDK expects `/inference` in the variable.
        root_url_variables: &[("FIREWORKS_BASE_URL", "/v1")],
        stream_usage: true,
        // `Extra inputs are not permitted, field: 'messages[8].reasoning'`; its own name is `reasoning_content`.
        refused_in_history: &["reasoning", "reasoning_details", "refusal", "annotations", "audio"],
        rate_limits: &limits::FIREWORKS,
        structured: structured::ALL_STRICT,
        ..HOSTED
    },
    Row {
        name: "openrouter",
        docs: "https://openrouter.ai/docs/api-reference/overview",
        base_url: "https://openrouter.ai/api/v1",
        key_variables: &["OPENROUTER_API_KEY", "OR_API_KEY"],
        base_url_variables: &["OPENROUTER_API_BASE"],
        // Accepted and no longer needed: its streams always end with the usage.
        stream_usage: true,
        tells_cost: true,
        has_developer_role: true,
        rate_limits: &limits::OPENROUTER,
        structured: structured::ALL_STRICT,
        ..HOSTED
    },
    Row {
        name: "perplexity",
        docs: "https://docs.perplexity.ai/docs/sonar/openai-compatibility",
        // Without a version: `/chat/completions` at the root is an alias of its `/v1/sonar`.
        base_url: "https://api.perplexity.ai",
        root_is_chat: true,
        key_variables: &["PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY"],
        base_url_variables: &["PERPLEXITY_BASE_URL", "PERPLEXITY_API_BASE"],
        // https://docs.perplexity.ai/docs/embeddings/best-practices
        embedding: EmbeddingRow {
            packed: &[("base64_int8", Packed::Int8), ("base64_binary", Packed::Bits)],
            unsupported: &["user"],
            // 120,000 tokens.
            max_inputs: 512,
            max_bytes: 240_000,
            ..PLAIN
        },
        usage_unasked: true,
        spelled: &[MAX_TOKENS],
        structured: structured::ALL_STRICT,
        ..HOSTED
    },
    Row {
        name: "cerebras",
        docs: "https://inference-docs.cerebras.ai/api-reference/chat-completions",
        base_url: "https://api.cerebras.ai/v1",
        key_variables: &["CEREBRAS_API_KEY"],
        base_url_variables: &["CEREBRAS_API_BASE"],
        root_url_variables: &[("CEREBRAS_BASE_URL", "/v1")],
        stream_usage: true,
        // Nothing unsupported: the penalties, `logit_bias` and others used to be a 400 and have
        // since entered its reference.
        refused_in_history: OTHERS_ANSWERS,
        rate_limits: &limits::CEREBRAS,
        structured: structured::CEREBRAS,
        ..HOSTED
    },
    Row {
        name: "sambanova",
        docs: "https://docs.sambanova.ai/docs/en/features/openai-compatibility",
        base_url: "https://api.sambanova.ai/v1",
        key_variables: &["SAMBANOVA_API_KEY"],
        // The first is spelled so in its SDK.
        base_url_variables: &["SAMBA_NOVA_BASE_URL", "SAMBANOVA_BASE_URL", "SAMBANOVA_API_BASE"],
        stream_usage: true,
        rate_limits: &limits::SAMBANOVA,
        ..HOSTED
    },
    Row {
        name: "nvidia_nim",
        docs: "https://docs.api.nvidia.com/nim/reference/llm-apis",
        base_url: "https://integrate.api.nvidia.com/v1",
        key_variables: &["NVIDIA_API_KEY", "NVIDIA_NIM_API_KEY"],
        base_url_variables: &["NVIDIA_BASE_URL", "NVIDIA_NIM_API_BASE"],
        stream_usage: true,
        spelled: &[MAX_TOKENS],
        ..HOSTED
    },
    Row {
        name: "huggingface",
        docs: "https://huggingface.co/docs/inference-providers/tasks/chat-completion",
        base_url: "https://router.huggingface.co/v1",
        // No base URL variables: LiteLLM's HF_API_BASE holds the address of the endpoint itself.
        key_variables: &["HF_TOKEN", "HUGGINGFACE_API_KEY"],
        stream_usage: true,
        spelled: &[MAX_TOKENS],
        ..HOSTED
    },
    Row {
        name: "github",
        docs: "https://docs.github.com/rest/models/inference",
        base_url: "https://models.github.ai/inference",
        key_variables: &["GITHUB_TOKEN", "GITHUB_API_KEY"],
        base_url_variables: &["GITHUB_API_BASE"],
        stream_usage: true,
        // It documents only `max_tokens`, but the OpenAI reasoning models it serves refuse that and
        // want `max_completion_tokens`: the others are sent what the caller wrote.
        refused_in_history: REASONING,
        fits_reasoning_models: true,
        has_developer_role: true,
        tools: Grammar::OPENAI,
        rate_limits: &limits::GITHUB,
        structured: structured::GITHUB,
        ..HOSTED
    },
    Row {
        name: "moonshot",
        docs: "https://platform.moonshot.ai/docs/api/chat",
        // Keys of the Chinese platform belong to api.moonshot.cn.
        base_url: "https://api.moonshot.ai/v1",
        key_variables: &["MOONSHOT_API_KEY"],
        base_url_variables: &["MOONSHOT_API_BASE"],
        stream_usage: true,
        rate_limits: &limits::MOONSHOT,
        structured: structured::ALL_JSON_MODE,
        ..HOSTED
    },
    Row {
        name: "zai",
        docs: "https://docs.z.ai/api-reference/llm/chat-completion",
        base_url: "https://api.z.ai/api/paas/v4",
        // Not ZHIPUAI_API_KEY: that is a key of open.bigmodel.cn, another host.
        key_variables: &["ZAI_API_KEY"],
        base_url_variables: &["ZAI_BASE_URL", "ZAI_API_BASE"],
        stream_usage: true,
        spelled: &[MAX_TOKENS],
        structured: structured::ALL_JSON_MODE,
        ..HOSTED
    },
    Row {
        name: "dashscope",
        docs: "https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope",
        // Beijing, the default of its SDK and of LiteLLM; keys belong to one region, and those of
        // Singapore to dashscope-intl.aliyuncs.com.
        base_url: "https://dashscope.aliyuncs.com/compatible-mode/v1",
        key_variables: &["DASHSCOPE_API_KEY"],
        base_url_variables: &["DASHSCOPE_COMPATIBLE_BASE_URL"],
        root_url_variables: &[("DASHSCOPE_API_BASE", "/compatible-mode/v1")],
        stream_usage: true,
        spelled: &[MAX_TOKENS],
        // `batch size is invalid, it should not be larger than 10`.
        embedding: EmbeddingRow { max_inputs: 10, ..PLAIN },
        structured: structured::ALL_JSON_MODE,
        ..HOSTED
    },
    Row {
        name: "minimax",
        docs: "https://platform.minimax.io/docs/api-reference/text-openai-api",
        // Keys of the Chinese platform belong to api.minimaxi.com.
        base_url: "https://api.minimax.io/v1",
        key_variables: &["MINIMAX_API_KEY"],
        base_url_variables: &["MINIMAX_API_BASE"],
        stream_usage: true,
        structured: structured::ALL_TOOL,
        ..HOSTED
    },
    Row {
        name: "databricks",
        docs: "https://docs.databricks.com/aws/machine-learning/foundation-model-apis/api-reference",
        // One host a workspace: there is no default.
        base_url: "",
        key_variables: &["DATABRICKS_TOKEN", "DATABRICKS_API_KEY"],
        base_url_variables: &["DATABRICKS_API_BASE"],
        root_url_variables: &[("DATABRICKS_HOST", "/serving-endpoints")],
        // `stream_options` is a 400 here: unknown field.
        usage_unasked: true,
        spelled: &[MAX_TOKENS],
        structured: structured::ALL_STRICT,
        ..HOSTED
    },
    Row {
        name: "deepinfra",
        docs: "https://deepinfra.com/docs/advanced/openai_api",
        base_url: "https://api.deepinfra.com/v1/openai",
        key_variables: &["DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN"],
        base_url_variables: &["DEEPINFRA_API_BASE"],
        // Its streams end with the usage, asked or not, on the chunk with the finish reason.
        stream_usage: true,
        spelled: &[MAX_TOKENS],
        structured: structured::ALL_JSON_MODE,
        ..HOSTED
    },
    Row {
        name: "hyperbolic",
        docs: "https://docs.hyperbolic.xyz/docs/rest-api",
        base_url: "https://api.hyperbolic.xyz/v1",
        key_variables: &["HYPERBOLIC_API_KEY"],
        base_url_variables: &["HYPERBOLIC_API_BASE"],
        // Not in its reference; clients that always ask are answered.
        stream_usage: true,
        spelled: &[MAX_TOKENS],
        ..HOSTED
    },
    Row {
        name: "novita",
        docs: "https://novita.ai/docs/api-reference/model-apis-llm-create-chat-completion",
        base_url: "https://api.novita.ai/openai/v1",
        key_variables: &["NOVITA_API_KEY"],
        base_url_variables: &["NOVITA_API_BASE"],
        stream_usage: true,
        spelled: &[MAX_TOKENS],
        ..HOSTED
    },
    Row {
        name: "voyage",
        docs: "https://docs.voyageai.com/reference/embeddings-api",
        base_url: "https://api.voyageai.com/v1",
        key_variables: &["VOYAGE_API_KEY"],
        base_url_variables: &["VOYAGE_API_BASE"],
        operations: &[&[Operation::Embedding], RERANK],
        rerank: RerankRow { spelled: &[("top_n", "top_k")], ..rerank::PLAIN },
        // 1000 inputs; 120,000 tokens of the models with the lowest limit, whose tokens are short.
        embedding: EmbeddingRow {
            base64: true,
            spelled: &[DIMENSION],
            unsupported: &["user"],
            max_inputs: 1000,
            max_bytes: 120_000,
            ..PLAIN
        },
        ..HOSTED
    },
    Row {
        name: "jina",
        docs: "https://api.jina.ai/redoc",
        base_url: "https://api.jina.ai/v1",
        // LiteLLM's, and Jina's own.
        key_variables: &["JINA_AI_API_KEY", "JINA_API_KEY"],
        base_url_variables: &["JINA_AI_API_BASE"],
        operations: &[&[Operation::Embedding], RERANK],
        // `Each input list can contain at most 512 items`.
        embedding: EmbeddingRow {
            spelled: &[("encoding_format", "embedding_type")],
            unsupported: &["user"],
            max_inputs: 512,
            ..PLAIN
        },
        ..HOSTED
    },
    Row {
        name: "ollama",
        docs: "https://docs.ollama.com/api/openai-compatibility",
        base_url: "http://localhost:11434/v1",
        key_variables: &["OLLAMA_API_KEY"],
        // Not OLLAMA_HOST: it may be a bare host, a bare port, or the 0.0.0.0 the server listens on.
        root_url_variables: &[("OLLAMA_BASE_URL", "/v1"), ("OLLAMA_API_BASE", "/v1")],
        stream_usage: true,
        spelled: &[MAX_TOKENS],
        ..OWN_SERVER
    },
    Row {
        name: "vllm",
        docs: "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        base_url: "http://localhost:8000/v1",
        key_variables: &["VLLM_API_KEY", "HOSTED_VLLM_API_KEY"],
        root_url_variables: &[("VLLM_BASE_URL", "/v1"), ("VLLM_API_BASE", "/v1"), ("HOSTED_VLLM_API_BASE", "/v1")],
        // On a stream only: on a plain call `stream_options` is a 400.
        stream_usage: true,
        embedding: BASE64,
        // https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html#re-rank-api
        operations: &[MODELS, RERANK, TOKENS],
        ..OWN_SERVER
    },
    Row {
        name: "lm_studio",
        docs: "https://lmstudio.ai/docs/developer/openai-compat/chat-completions",
        base_url: "http://localhost:1234/v1",
        key_variables: &["LM_API_TOKEN", "LM_STUDIO_API_KEY"],
        root_url_variables: &[("LM_STUDIO_API_BASE", "/v1")],
        stream_usage: true,
        spelled: &[MAX_TOKENS],
        ..OWN_SERVER
    },
    Row {
        name: "llamafile",
        docs: "https://github.com/mozilla-ai/llamafile/blob/main/llamafile/server/doc/v1_chat_completions.md",
        base_url: "http://localhost:8080/v1",
        key_variables: &["LLAMAFILE_API_KEY"],
        root_url_variables: &[("LLAMAFILE_API_BASE", "/v1")],
        operations: &[MODELS, TOKENS],
        stream_usage: true,
        spelled: &[MAX_TOKENS],
        ..OWN_SERVER
    },
    Row {
        name: "xinference",
        docs: "https://inference.readthedocs.io/en/latest/models/model_abilities/chat.html",
        base_url: "http://localhost:9997/v1",
        key_variables: &["XINFERENCE_API_KEY"],
        base_url_variables: &["XINFERENCE_API_BASE"],
        root_url_variables: &[("XINFERENCE_ENDPOINT", "/v1")],
        stream_usage: true,
        spelled: &[MAX_TOKENS],
        // https://inference.readthedocs.io/en/latest/models/model_abilities/index.html
        operations: &[MODELS, RERANK, SPEECH],
        ..OWN_SERVER
    },
    Row {
        name: "openai_compatible",
        docs: "https://platform.openai.com/docs/api-reference/chat/create",
        // Any server: its parameters are unknown, so that only the caller's own are sent.
        base_url: "",
        has_developer_role: true,
        key_variables: &["OPENAI_COMPATIBLE_API_KEY", "OPENAI_LIKE_API_KEY"],
        base_url_variables: &["OPENAI_COMPATIBLE_BASE_URL", "OPENAI_COMPATIBLE_API_BASE", "OPENAI_LIKE_API_BASE"],
        operations: &[MODELS, RERANK, SPEECH, FILES_AND_BATCHES],
        rate_limits: &limits::COMPATIBLE,
        ..OWN_SERVER
    },
    Row {
        name: "local",
        // RiteLLM's own llama.cpp server: the code that starts it passes its address.
        docs: "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        stream_usage: true,
        ..OWN_SERVER
    },
];
