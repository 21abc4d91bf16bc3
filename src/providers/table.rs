//! The OpenAI-compatible providers: data, one row each. Adding one is adding a row.

use super::embeddings::vectors::Packed;
use super::embeddings::{EmbeddingRow, PLAIN};
use super::rerank::{self, RerankRow};
use super::tools::grammar::{Grammar, Words};
use super::{Deployment, Operation};

/// What an OpenAI-compatible provider is called, where it lives, and what it spells differently.
///
/// Every field is taken from the provider's own documentation, whose address is the row's `docs`,
/// or from its own SDK where that says more.
#[derive(Debug)]
pub struct Row {
    /// The word before the slash in `provider/model`.
    pub name: &'static str,
    /// Where its documentation says all this.
    pub docs: &'static str,
    /// Base URL, version segment included, no trailing slash; empty: the caller has to give one.
    pub base_url: &'static str,
    /// Whether its base URL has no version and only its chat completions are at the root: the rest is under `/v1`.
    pub root_is_chat: bool,
    /// Environment variables that hold a key; the first that is set wins.
    pub key_variables: &'static [&'static str],
    /// Environment variables that hold a base URL; the first that is set wins.
    pub base_url_variables: &'static [&'static str],
    /// Environment variables whose value stops before the path, as the vendor's own SDK reads them,
    /// and the path that follows: (variable, path). Looked at after `base_url_variables`. People put
    /// the whole base URL there too, so the path is added unless the value already ends with it.
    pub root_url_variables: &'static [(&'static str, &'static str)],
    /// Whether a call without a key is an error (a server on one's own machine wants none).
    pub key: Key,
    /// Whether a stream may be asked for its usage with `stream_options.include_usage`.
    pub stream_usage: bool,
    /// Whether a stream carries its usage unasked, from a provider that has no `stream_options`:
    /// the caller's own is not sent either. Never together with `stream_usage`.
    pub usage_unasked: bool,
    /// Parameters beside which it refuses `stream_options`, the caller's own too.
    pub no_stream_options_beside: &'static [&'static str],
    /// Parameters it has under another name: (OpenAI's, the provider's).
    pub spelled: &'static [(&'static str, &'static str)],
    /// What else it is told by, beside key and base URL.
    pub settings: &'static [Setting],
    /// Whether its API has versions that a call may choose from, with `api_version`.
    pub api_versions: bool,
    /// OpenAI chat parameters it documents as not available: they are refused before they are sent.
    /// What a provider documents as taken and without effect is not here: it is sent.
    pub unsupported: &'static [&'static str],
    /// Members of an assistant message in the history that are refused, null or empty ones too, though other hosts have
    /// them.
    pub refused_in_history: &'static [&'static str],
    /// Whether OpenAI's reasoning models get here what the caller gave, so that it has to be what they take.
    pub serves_openai: bool,
    /// Whether it knows OpenAI's role `developer`; `system` says the same everywhere else.
    pub knows_developer: bool,
    /// What it takes for names of tools and ids of calls.
    pub tools: Grammar,
    /// What it can be asked for. A host that is not known to lack an operation is asked, and says so itself.
    pub operations: &'static [Operation],
    /// What its embeddings spell differently.
    pub embedding: EmbeddingRow,
    /// What its reranking spells differently.
    pub rerank: RerankRow,
}

impl Row {
    /// The path of an operation other than chat, below the base URL.
    pub(super) fn path(&self, deployment: &Deployment, path: &'static str, with_version: &'static str) -> &'static str {
        if self.root_is_chat && !deployment.base_url.ends_with("/v1") { with_version } else { path }
    }

    /// The same for a path that is made for one call.
    pub(super) fn below_version(&self, deployment: &Deployment, path: &str) -> String {
        let version = self.path(deployment, "", "v1/");
        format!("{version}{path}")
    }
}

/// Something a provider is told by an argument of its own, or by the environment.
#[derive(Debug)]
pub struct Setting {
    /// The argument's name, as LiteLLM names it.
    pub name: &'static str,
    /// Environment variables that hold it; the first that is set wins.
    pub variables: &'static [&'static str],
    /// What it is about.
    pub about: About,
}

/// What a setting is about.
///
/// What says who calls comes as a set, together with the key: as soon as one of it is an argument, none of it is taken
/// from the environment. One account's key must not be sent with another's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Where or how: a region, a version.
    Location,
    /// Who calls, by a name that may be shown.
    Caller,
    /// Who calls, by something that nobody may see.
    Secret,
}

impl Setting {
    /// A setting that says where or how.
    pub(super) const fn location(name: &'static str, variables: &'static [&'static str]) -> Self {
        Self { name, variables, about: About::Location }
    }

    /// A setting that says who calls, and is no secret.
    pub(super) const fn caller(name: &'static str, variables: &'static [&'static str]) -> Self {
        Self { name, variables, about: About::Caller }
    }

    /// A setting that says who calls, and is a secret.
    pub(super) const fn secret(name: &'static str, variables: &'static [&'static str]) -> Self {
        Self { name, variables, about: About::Secret }
    }
}

/// Whether a provider wants a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A call without one is an `AuthenticationError` before anything is sent.
    Required,
    /// Sent when there is one.
    Optional,
}

/// What every host is asked for that is not known to lack it.
const ALL_MODELS: &[Operation] = &[Operation::Chat, Operation::Embedding, Operation::Responses];

/// The same, with speech, files and batches.
pub(super) const FILES_AND_BATCHES: &[Operation] = &[
    Operation::Chat,
    Operation::Embedding,
    Operation::Responses,
    Operation::Speech,
    Operation::FileCreate,
    Operation::FileList,
    Operation::FileRetrieve,
    Operation::FileContent,
    Operation::FileDelete,
    Operation::BatchCreate,
    Operation::BatchList,
    Operation::BatchRetrieve,
    Operation::BatchCancel,
    Operation::BatchResults,
];

/// The same, and reranking: a server of one's own may have anything.
const EVERYTHING: &[Operation] = &[
    Operation::Chat,
    Operation::Embedding,
    Operation::Responses,
    Operation::Rerank,
    Operation::Speech,
    Operation::FileCreate,
    Operation::FileList,
    Operation::FileRetrieve,
    Operation::FileContent,
    Operation::FileDelete,
    Operation::BatchCreate,
    Operation::BatchList,
    Operation::BatchRetrieve,
    Operation::BatchCancel,
    Operation::BatchResults,
];

/// What every host is asked for, and reranking.
const WITH_RERANK: &[Operation] = &[Operation::Chat, Operation::Embedding, Operation::Responses, Operation::Rerank];

/// The same, and speech.
const WITH_RERANK_AND_SPEECH: &[Operation] =
    &[Operation::Chat, Operation::Embedding, Operation::Responses, Operation::Rerank, Operation::Speech];

/// What most rows do not say.
pub(super) const HOSTED: Row = Row {
    name: "",
    docs: "",
    base_url: "",
    root_is_chat: false,
    key_variables: &[],
    base_url_variables: &[],
    root_url_variables: &[],
    key: Key::Required,
    stream_usage: false,
    usage_unasked: false,
    no_stream_options_beside: &[],
    spelled: &[],
    settings: &[],
    api_versions: false,
    unsupported: &[],
    refused_in_history: &[],
    serves_openai: false,
    knows_developer: false,
    tools: Grammar::HOSTED,
    operations: ALL_MODELS,
    embedding: PLAIN,
    rerank: rerank::PLAIN,
};

/// Embeddings that can be asked for as base64.
const BASE64: EmbeddingRow = EmbeddingRow { base64: true, ..PLAIN };

/// The same for a server that people run themselves.
const OWN_SERVER: Row = Row { key: Key::Optional, tools: Grammar::ANY, ..HOSTED };

/// Knows only the older of OpenAI's two names. Some of these refuse the newer one (Mistral: 422);
/// others ignore it without a word and write on without a limit (DeepSeek, Ollama).
const MAX_TOKENS: (&str, &str) = ("max_completion_tokens", "max_tokens");

/// What hosts that show their reasoning call it; OpenAI's own format has no reasoning.
pub(super) const REASONING: &[&str] =
    &["reasoning", "reasoning_content", "reasoning_details", "reasoning_text", "thinking", "thought", "thoughts"];

/// What a host with a closed schema refuses in answers of others. `refusal` and `annotations` are in each of OpenAI's own.
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

/// The same where no reasoning may come back, and OpenAI's older form of a call is not known either.
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

/// How many numbers a vector has, where it is not `dimensions`.
const DIMENSION: (&str, &str) = ("dimensions", "output_dimension");

/// Every row. The order is the one they are listed in, nothing else.
pub const TABLE: &[Row] = &[
    Row {
        name: "openai",
        docs: "https://platform.openai.com/docs/api-reference/chat/create",
        base_url: "https://api.openai.com/v1",
        key_variables: &["OPENAI_API_KEY"],
        base_url_variables: &["OPENAI_BASE_URL", "OPENAI_API_BASE"],
        stream_usage: true,
        refused_in_history: REASONING,
        serves_openai: true,
        knows_developer: true,
        tools: Grammar::OPENAI,
        embedding: BASE64,
        operations: FILES_AND_BATCHES,
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
        // Each is a 400. So are `n` other than 1 and a message's `name`, which this cannot say.
        unsupported: &["logit_bias", "logprobs", "top_logprobs"],
        refused_in_history: OTHERS_ANSWERS,
        knows_developer: true,
        // https://console.groq.com/docs/text-to-speech, https://console.groq.com/docs/batch
        operations: FILES_AND_BATCHES,
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
            ids: Words { most: 9, is_exact: true, marks: Some(""), begins_with_letter: false },
            ..Grammar::HOSTED
        },
        embedding: EmbeddingRow { base64: true, spelled: &[DIMENSION], unsupported: &["user"], ..PLAIN },
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
        ..HOSTED
    },
    Row {
        name: "xai",
        docs: "https://docs.x.ai/developers/rest-api-reference/inference",
        base_url: "https://api.x.ai/v1",
        key_variables: &["XAI_API_KEY"],
        root_url_variables: &[("XAI_API_BASE", "/v1")],
        stream_usage: true,
        // What only its reasoning models refuse (`stop`, the penalties) depends on the model.
        unsupported: &["logit_bias"],
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
        operations: WITH_RERANK_AND_SPEECH,
        ..HOSTED
    },
    Row {
        name: "fireworks_ai",
        docs: "https://docs.fireworks.ai/api-reference/post-chatcompletions",
        base_url: "https://api.fireworks.ai/inference/v1",
        key_variables: &["FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY", "FIREWORKSAI_API_KEY", "FIREWORKS_AI_TOKEN"],
        base_url_variables: &["FIREWORKS_API_BASE"],
        // Only `/v1`: its SDK leaves `/inference` to whoever sets the variable.
        root_url_variables: &[("FIREWORKS_BASE_URL", "/v1")],
        stream_usage: true,
        // `Extra inputs are not permitted, field: 'messages[8].reasoning'`; its own name is `reasoning_content`.
        refused_in_history: &["reasoning", "reasoning_details", "refusal", "annotations", "audio"],
        ..HOSTED
    },
    Row {
        name: "openrouter",
        docs: "https://openrouter.ai/docs/api-reference/overview",
        base_url: "https://openrouter.ai/api/v1",
        key_variables: &["OPENROUTER_API_KEY", "OR_API_KEY"],
        base_url_variables: &["OPENROUTER_API_BASE"],
        // Taken and no longer needed: its streams always end with the usage.
        stream_usage: true,
        knows_developer: true,
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
            ..PLAIN
        },
        usage_unasked: true,
        spelled: &[MAX_TOKENS],
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
        serves_openai: true,
        knows_developer: true,
        tools: Grammar::OPENAI,
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
        operations: &[Operation::Embedding, Operation::Rerank],
        rerank: RerankRow { spelled: &[("top_n", "top_k")], ..rerank::PLAIN },
        embedding: EmbeddingRow { base64: true, spelled: &[DIMENSION], unsupported: &["user"], ..PLAIN },
        ..HOSTED
    },
    Row {
        name: "jina",
        docs: "https://api.jina.ai/redoc",
        base_url: "https://api.jina.ai/v1",
        // LiteLLM's, and Jina's own.
        key_variables: &["JINA_AI_API_KEY", "JINA_API_KEY"],
        base_url_variables: &["JINA_AI_API_BASE"],
        operations: &[Operation::Embedding, Operation::Rerank],
        embedding: EmbeddingRow { spelled: &[("encoding_format", "embedding_type")], unsupported: &["user"], ..PLAIN },
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
        operations: WITH_RERANK,
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
        operations: WITH_RERANK_AND_SPEECH,
        ..OWN_SERVER
    },
    Row {
        name: "openai_compatible",
        docs: "https://platform.openai.com/docs/api-reference/chat/create",
        // Any server: it is not known what it takes, so only what the caller wrote is sent.
        base_url: "",
        knows_developer: true,
        key_variables: &["OPENAI_COMPATIBLE_API_KEY", "OPENAI_LIKE_API_KEY"],
        base_url_variables: &["OPENAI_COMPATIBLE_BASE_URL", "OPENAI_COMPATIBLE_API_BASE", "OPENAI_LIKE_API_BASE"],
        operations: EVERYTHING,
        ..OWN_SERVER
    },
    Row {
        name: "local",
        // Our own llama.cpp server: whoever starts it gives its address.
        docs: "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        stream_usage: true,
        // The server is started for chats; llama.cpp answers 501 to embeddings then.
        operations: &[Operation::Chat, Operation::Responses],
        ..OWN_SERVER
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// OpenAI's chat parameters, beside `messages`, `model` and `stream`.
    const PARAMETERS: &[&str] = &[
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "modalities",
        "moderation",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    ];

    #[test]
    fn names_are_unique_and_snake_case() {
        for (place, row) in TABLE.iter().enumerate() {
            let snake = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            assert!(!row.name.is_empty() && row.name.bytes().all(snake), "{}", row.name);
            assert!(TABLE[..place].iter().all(|other| other.name != row.name), "{} twice", row.name);
        }
    }

    #[test]
    fn addresses_are_whole_and_safe() {
        for row in TABLE {
            let loopback = row.base_url.starts_with("http://localhost:");
            assert!(
                row.base_url.is_empty() || loopback || row.base_url.starts_with("https://"),
                "{}: a key must not travel in the clear",
                row.name
            );
            assert!(!row.base_url.ends_with('/'), "{}", row.name);
            assert!(!loopback || row.key == Key::Optional, "{}", row.name);
            assert!(row.docs.starts_with("https://"), "{}", row.name);
            for (_, path) in row.root_url_variables {
                assert!(path.starts_with('/') && !path.ends_with('/'), "{}", row.name);
                let own = row.base_url.is_empty() || row.base_url.ends_with(path);
                assert!(own, "{}: {path} does not end its own base URL", row.name);
            }
        }
    }

    #[test]
    fn a_required_key_can_be_set() {
        for row in TABLE.iter().filter(|row| row.key == Key::Required) {
            assert!(!row.key_variables.is_empty(), "{}", row.name);
        }
    }

    /// A provider's key goes to that provider: no two read the same variable.
    #[test]
    fn variables_belong_to_one_row() {
        let mut seen: Vec<&str> = Vec::new();
        for row in TABLE {
            let roots = row.root_url_variables.iter().map(|(variable, _)| variable);
            for variable in row.key_variables.iter().chain(row.base_url_variables).chain(roots) {
                let constant = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
                assert!(variable.bytes().all(constant), "{variable}");
                assert!(!seen.contains(variable), "{variable} twice");
                seen.push(variable);
            }
        }
    }

    #[test]
    fn differences_name_openai_parameters() {
        for row in TABLE {
            for (openai, own) in row.spelled {
                assert!(PARAMETERS.contains(openai), "{}: {openai}", row.name);
                assert!(openai != own && !row.unsupported.contains(openai), "{}: {openai}", row.name);
            }
            for parameter in row.unsupported {
                assert!(PARAMETERS.contains(parameter), "{}: {parameter}", row.name);
            }
            assert!(!(row.stream_usage && row.usage_unasked), "{}", row.name);
        }
    }
}
