"""LiteLLM's providers: their names, addresses and the variables that hold their keys."""

from __future__ import annotations

import os
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    LlmProviders = Enum

__all__ = ["ENDPOINTS", "NAMES", "LlmProviders", "endpoint", "provider_of_address"]

#: The names that a model's name may begin with.
NAMES = [
    "refuseless",
    "openai",
    "chatgpt",
    "openai_like",
    "jina_ai",
    "xai",
    "zai",
    "bigmodel",
    "custom_openai",
    "text-completion-openai",
    "cohere",
    "cohere_chat",
    "clarifai",
    "anthropic",
    "anthropic_text",
    "bytez",
    "replicate",
    "reducto",
    "aws_textract",
    "runwayml",
    "aws_polly",
    "transcribe",
    "huggingface",
    "together_ai",
    "openrouter",
    "datarobot",
    "vertex_ai",
    "vertex_ai_beta",
    "gemini",
    "abliteration",
    "ai21",
    "baseten",
    "black_forest_labs",
    "azure",
    "azure_text",
    "azure_ai",
    "sagemaker",
    "sagemaker_chat",
    "sagemaker_nova",
    "bedrock",
    "vllm",
    "nlp_cloud",
    "petals",
    "oobabooga",
    "ollama",
    "ollama_chat",
    "deepinfra",
    "clf_ai_gateway",
    "perplexity",
    "typesafe",
    "parallel_ai",
    "nace",
    "strands_decider",
    "laya",
    "bespoke",
    "empiriolabs",
    "eu_jev",
    "mistral",
    "milvus",
    "groq",
    "a2a",
    "gigachat",
    "nvidia_nim",
    "nvidia_riva",
    "soniox",
    "cerebras",
    "nadir",
    "ai21_chat",
    "volcengine",
    "codestral",
    "text-completion-codestral",
    "dashscope",
    "qwencloud",
    "qwen_ai_platform",
    "modelscope",
    "moonshot",
    "publicai",
    "v0",
    "morph",
    "opencode_go",
    "lambda_ai",
    "inception",
    "text-completion-inception",
    "deepseek",
    "sambanova",
    "maritalk",
    "voyage",
    "cloudflare",
    "xinference",
    "fireworks_ai",
    "friendliai",
    "featherless_ai",
    "watsonx",
    "scaledown",
    "watsonx_text",
    "triton",
    "predibase",
    "databricks",
    "databricks_agent",
    "empower",
    "github",
    "ragflow",
    "compactifai",
    "docker_model_runner",
    "custom",
    "litellm_proxy",
    "hosted_vllm",
    "tencent",
    "llamafile",
    "lm_studio",
    "galadriel",
    "nebius",
    "infinity",
    "deepgram",
    "elevenlabs",
    "novita",
    "aiohttp_openai",
    "langfuse",
    "humanloop",
    "topaz",
    "sap",
    "assemblyai",
    "azure_speech",
    "charity_engine",
    "github_copilot",
    "snowflake",
    "gradient_ai",
    "meta_llama",
    "nscale",
    "pg_vector",
    "s3_vectors",
    "valkey",
    "mongodb",
    "opensearch",
    "helicone",
    "hyperbolic",
    "recraft",
    "fal_ai",
    "stability",
    "heroku",
    "aiml",
    "cometapi",
    "oci",
    "auto_router",
    "vercel_ai_gateway",
    "edenai",
    "dotprompt",
    "manus",
    "wandb",
    "ovhcloud",
    "scaleway",
    "lemonade",
    "amazon_nova",
    "a2a_agent",
    "langgraph",
    "langflow",
    "microsoft_365_copilot",
    "minimax",
    "synthetic",
    "apertis",
    "nano-gpt",
    "poe",
    "chutes",
    "neosantara",
    "aiand",
    "parasail",
    "xiaomi_mimo",
    "tensormesh",
    "libertai",
    "pinstripes",
    "cognition",
    "coralbricks",
    "cortecs",
    "scx-ai",
    "prism",
    "openinfer",
    "inferenceapis",
    "hostinger_router",
    "zerogpu",
    "darkbloom",
    "meta",
    "sail",
    "reka",
    "streamlake",
    "wally",
    "litellm_agent",
    "cursor",
    "bedrock_mantle",
    "gdc",
    "kyma",
]

#: Names of `LlmProviders` that are not the name of the provider in capitals.
_MEMBERS = {"sap": "SAP_GENERATIVE_AI_HUB", "meta_llama": "LLAMA", "nano-gpt": "NANOGPT"}


@cache
def _providers() -> type[Enum]:
    members = [(_MEMBERS.get(name, name.upper().replace("-", "_")), name) for name in NAMES]
    return Enum("LlmProviders", members, type=str, module="litellm.types.utils", qualname="LlmProviders")  # type: ignore[return-value]


def __getattr__(name: str) -> object:
    if name == "LlmProviders":
        return _providers()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


#: Provider → its address, the variables that hold another address, and those that hold a key, the first that is set.
ENDPOINTS: dict[str, tuple[str, str, str]] = {
    "refuseless": ("https://api.refuseless.com/v1", "", "REFUSELESS_API_KEY"),
    "jina_ai": ("https://api.jina.ai/v1", "JINA_AI_API_BASE", "JINA_AI_API_KEY JINA_API_KEY JINA_AI_TOKEN"),
    "xai": ("https://api.x.ai/v1", "XAI_API_BASE", "XAI_API_KEY"),
    "zai": ("https://api.z.ai/api/paas/v4", "ZAI_API_BASE", "ZAI_API_KEY"),
    "bigmodel": ("https://open.bigmodel.cn/api/paas/v4", "BIGMODEL_API_BASE", "BIGMODEL_API_KEY"),
    "clarifai": ("https://api.clarifai.com/v2/ext/openai/v1", "", "CLARIFAI_API_KEY"),
    "together_ai": (
        "https://api.together.ai/v1",
        "TOGETHER_AI_API_BASE",
        "TOGETHER_API_KEY TOGETHER_AI_API_KEY TOGETHERAI_API_KEY TOGETHER_AI_TOKEN",
    ),
    "datarobot": (
        "https://app.datarobot.com/api/v2/genai/llmgw/chat/completions/",
        "DATAROBOT_ENDPOINT",
        "DATAROBOT_API_TOKEN",
    ),
    "abliteration": ("https://api.abliteration.ai/v1", "", "ABLITERATION_API_KEY"),
    "baseten": ("https://inference.baseten.co/v1", "BASETEN_API_BASE", "BASETEN_API_KEY"),
    "azure_ai": ("", "AZURE_AI_API_BASE", "AZURE_AI_API_KEY"),
    "ollama": ("http://localhost:11434", "OLLAMA_API_BASE", "OLLAMA_API_KEY"),
    "deepinfra": ("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_BASE", "DEEPINFRA_API_KEY"),
    "clf_ai_gateway": ("https://api.clfaigateway.dev/v1", "CLF_AI_GATEWAY_API_BASE", "CLF_AI_GATEWAY_API_KEY"),
    "perplexity": ("https://api.perplexity.ai", "PERPLEXITY_API_BASE", "PERPLEXITYAI_API_KEY PERPLEXITY_API_KEY"),
    "empiriolabs": ("https://api.empiriolabs.ai/v1", "EMPIRIOLABS_API_BASE", "EMPIRIOLABS_API_KEY"),
    "mistral": ("https://api.mistral.ai/v1", "MISTRAL_AZURE_API_BASE", "MISTRAL_AZURE_API_KEY MISTRAL_API_KEY"),
    "groq": ("https://api.groq.com/openai/v1", "GROQ_API_BASE", "GROQ_API_KEY"),
    "gigachat": ("https://gigachat.devices.sberbank.ru/api/v1", "GIGACHAT_API_BASE", "GIGACHAT_API_KEY"),
    "nvidia_nim": ("https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_BASE", "NVIDIA_NIM_API_KEY"),
    "nvidia_riva": ("", "NVIDIA_RIVA_API_BASE", "NVIDIA_RIVA_API_KEY NVIDIA_NIM_API_KEY"),
    "soniox": ("https://api.soniox.com", "SONIOX_API_BASE", "SONIOX_API_KEY"),
    "cerebras": ("https://api.cerebras.ai/v1", "CEREBRAS_API_BASE", "CEREBRAS_API_KEY"),
    "nadir": ("https://api.getnadir.com/v1", "NADIR_API_BASE", "NADIR_API_KEY"),
    "ai21_chat": ("https://api.ai21.com/studio/v1", "AI21_API_BASE", "AI21_API_KEY"),
    "volcengine": ("https://ark.cn-beijing.volces.com/api/v3", "VOLCENGINE_API_BASE", "VOLCENGINE_API_KEY"),
    "codestral": ("https://codestral.mistral.ai/v1", "CODESTRAL_API_BASE", "CODESTRAL_API_KEY"),
    "dashscope": ("https://dashscope.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_BASE", "DASHSCOPE_API_KEY"),
    "qwencloud": (
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "QWENCLOUD_API_BASE",
        "QWENCLOUD_API_KEY DASHSCOPE_API_KEY",
    ),
    "qwen_ai_platform": (
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        "QWEN_AI_PLATFORM_API_BASE",
        "QWEN_AI_PLATFORM_API_KEY DASHSCOPE_API_KEY",
    ),
    "modelscope": ("https://api-inference.modelscope.cn/v1", "MODELSCOPE_API_BASE", "MODELSCOPE_API_KEY"),
    "moonshot": ("https://api.moonshot.ai/v1", "MOONSHOT_API_BASE", "MOONSHOT_API_KEY"),
    "publicai": ("https://api.publicai.co/v1", "PUBLICAI_API_BASE", "PUBLICAI_API_KEY"),
    "v0": ("https://api.v0.dev/v1", "V0_API_BASE", "V0_API_KEY"),
    "morph": ("https://api.morphllm.com/v1", "MORPH_API_BASE", "MORPH_API_KEY"),
    "lambda_ai": ("https://api.lambda.ai/v1", "LAMBDA_API_BASE", "LAMBDA_API_KEY"),
    "inception": ("https://api.inceptionlabs.ai/v1", "INCEPTION_API_BASE", "INCEPTION_API_KEY"),
    "deepseek": ("https://api.deepseek.com/beta", "DEEPSEEK_API_BASE", "DEEPSEEK_API_KEY"),
    "sambanova": ("https://api.sambanova.ai/v1", "SAMBANOVA_API_BASE", "SAMBANOVA_API_KEY"),
    "fireworks_ai": (
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_API_BASE",
        "FIREWORKS_API_KEY FIREWORKS_AI_API_KEY FIREWORKSAI_API_KEY FIREWORKS_AI_TOKEN",
    ),
    "friendliai": ("https://api.friendli.ai/serverless/v1", "FRIENDLI_API_BASE", "FRIENDLIAI_API_KEY FRIENDLI_TOKEN"),
    "featherless_ai": (
        "https://api.featherless.ai/v1",
        "FEATHERLESS_AI_API_BASE FEATHERLESS_API_BASE",
        "FEATHERLESS_AI_API_KEY FEATHERLESS_API_KEY",
    ),
    "empower": ("https://app.empower.dev/api/v1", "EMPOWER_API_BASE", "EMPOWER_API_KEY"),
    "github": ("https://models.inference.ai.azure.com", "GITHUB_API_BASE", "GITHUB_API_KEY"),
    "docker_model_runner": (
        "http://localhost:22088/engines/llama.cpp",
        "DOCKER_MODEL_RUNNER_API_BASE",
        "DOCKER_MODEL_RUNNER_API_KEY",
    ),
    "hosted_vllm": ("", "HOSTED_VLLM_API_BASE", "HOSTED_VLLM_API_KEY"),
    "tencent": ("https://tokenhub-intl.tencentcloudmaas.com/v1", "TENCENT_API_BASE", "TENCENT_API_KEY"),
    "llamafile": ("http://127.0.0.1:8080/v1", "LLAMAFILE_API_BASE", "LLAMAFILE_API_KEY"),
    "lm_studio": ("", "LM_STUDIO_API_BASE", "LM_STUDIO_API_KEY"),
    "galadriel": ("https://api.galadriel.com/v1", "GALADRIEL_API_BASE", "GALADRIEL_API_KEY"),
    "nebius": ("https://api.studio.nebius.ai/v1", "NEBIUS_API_BASE", "NEBIUS_API_KEY"),
    "novita": ("https://api.novita.ai/v3/openai", "NOVITA_API_BASE", "NOVITA_API_KEY"),
    "assemblyai": ("https://llm-gateway.assemblyai.com/v1", "", "ASSEMBLYAI_API_KEY"),
    "charity_engine": ("https://api.charityengine.services/remotejobs/v2/inference", "", "CHARITY_ENGINE_API_KEY"),
    "snowflake": ("", "", "SNOWFLAKE_JWT"),
    "gradient_ai": ("https://inference.do-ai.run", "GRADIENT_AI_AGENT_ENDPOINT", "GRADIENT_AI_API_KEY"),
    "meta_llama": ("https://api.llama.com/compat/v1", "LLAMA_API_BASE", "LLAMA_API_KEY"),
    "nscale": ("https://inference.api.nscale.com/v1", "NSCALE_API_BASE", "NSCALE_API_KEY"),
    "helicone": ("https://ai-gateway.helicone.ai/", "", "HELICONE_API_KEY"),
    "hyperbolic": ("https://api.hyperbolic.xyz/v1", "HYPERBOLIC_API_BASE", "HYPERBOLIC_API_KEY"),
    "fal_ai": ("", "", "FAL_AI_API_KEY"),
    "heroku": ("", "HEROKU_API_BASE", "HEROKU_API_KEY"),
    "aiml": ("https://api.aimlapi.com/v1", "AIML_API_BASE", "AIML_API_KEY"),
    "vercel_ai_gateway": (
        "https://ai-gateway.vercel.sh/v1",
        "VERCEL_AI_GATEWAY_API_BASE",
        "VERCEL_AI_GATEWAY_API_KEY VERCEL_OIDC_TOKEN",
    ),
    "edenai": ("https://api.edenai.run/v3", "EDENAI_API_BASE", "EDENAI_API_KEY"),
    "manus": ("https://api.manus.im", "MANUS_API_BASE", "MANUS_API_KEY"),
    "wandb": ("https://api.inference.wandb.ai/v1", "WANDB_API_BASE", "WANDB_API_KEY"),
    "scaleway": ("https://api.scaleway.ai/v1", "", "SCW_SECRET_KEY"),
    "lemonade": ("http://localhost:8000/api/v1", "LEMONADE_API_BASE", "LEMONADE_API_KEY"),
    "langgraph": ("http://localhost:2024", "LANGGRAPH_API_BASE", "LANGGRAPH_API_KEY"),
    "synthetic": ("https://api.synthetic.new/openai/v1", "", "SYNTHETIC_API_KEY"),
    "apertis": ("https://api.stima.tech/v1", "", "STIMA_API_KEY"),
    "nano-gpt": ("https://nano-gpt.com/api/v1", "", "NANOGPT_API_KEY"),
    "poe": ("https://api.poe.com/v1", "", "POE_API_KEY"),
    "chutes": ("https://llm.chutes.ai/v1/", "", "CHUTES_API_KEY"),
    "neosantara": ("https://api.neosantara.xyz/v1", "NEOSANTARA_API_BASE", "NEOSANTARA_API_KEY"),
    "aiand": ("https://api.aiand.com/v1", "AIAND_API_BASE", "AIAND_API_KEY"),
    "parasail": ("https://api.parasail.io/v1", "PARASAIL_API_BASE", "PARASAIL_API_KEY"),
    "xiaomi_mimo": ("https://api.xiaomimimo.com/v1", "", "XIAOMI_MIMO_API_KEY"),
    "tensormesh": (
        "https://serverless.tensormesh.ai/v1",
        "TENSORMESH_SERVERLESS_BASE_URL",
        "TENSORMESH_INFERENCE_API_KEY",
    ),
    "libertai": ("https://api.libertai.io/v1", "LIBERTAI_API_BASE", "LIBERTAI_API_KEY"),
    "pinstripes": ("https://pinstripes.io/v1", "PINSTRIPES_API_BASE", "PINSTRIPES_API_KEY"),
    "cognition": ("https://api.cognition.ai/v1", "COGNITION_API_BASE", "COGNITION_API_KEY"),
    "coralbricks": ("https://inference.coralbricks.ai/v1", "CORALBRICKS_API_BASE", "CORALBRICKS_API_KEY"),
    "cortecs": ("https://api.cortecs.ai/v1", "CORTECS_API_BASE", "CORTECS_API_KEY"),
    "scx-ai": ("https://api.scx.ai/v1", "SCX_API_BASE", "SCX_API_KEY"),
    "prism": ("https://api.prisminference.com/v1", "PRISM_API_BASE", "PRISM_API_KEY"),
    "openinfer": ("https://api.openinfer.ai/v1", "OPENINFER_API_BASE", "OPENINFER_API_KEY"),
    "inferenceapis": ("https://api.inferenceapis.com/v1", "INFERENCEAPIS_API_BASE", "INFERENCEAPIS_API_KEY"),
    "hostinger_router": ("https://router.hostinger.com/v1", "HOSTINGER_ROUTER_API_BASE", "HOSTINGER_ROUTER_API_KEY"),
    "zerogpu": ("https://api.zerogpu.ai/v1", "ZEROGPU_API_BASE", "ZEROGPU_API_KEY"),
    "darkbloom": ("https://api.darkbloom.dev/v1", "DARKBLOOM_API_BASE", "DARKBLOOM_API_KEY"),
    "meta": ("https://api.meta.ai/v1", "META_API_BASE", "META_API_KEY"),
    "sail": ("https://api.sailresearch.com/v1", "SAIL_API_BASE", "SAIL_API_KEY"),
    "reka": ("https://api.reka.ai/v1", "REKA_API_BASE", "REKA_API_KEY"),
    "streamlake": (
        "https://vanchin.streamlake.ai/api/gateway/v1/endpoints",
        "STREAMLAKE_API_BASE",
        "STREAMLAKE_API_KEY",
    ),
    "wally": ("https://inference.runanywhere.ai/v1", "WALLY_API_BASE", "WALLY_API_KEY"),
    "kyma": ("https://kymaapi.com/v1", "", "KYMA_API_KEY"),
    "veniceai": ("https://api.venice.ai/api/v1", "", "VENICE_AI_API_KEY"),
    "llamagate": ("https://api.llamagate.dev/v1", "", "LLAMAGATE_API_KEY"),
    "gmi": ("https://api.gmi-serving.com/v1", "", "GMI_API_KEY"),
    "sarvam": ("https://api.sarvam.ai/v1", "", "SARVAM_API_KEY"),
    "aihubmix": ("https://aihubmix.com/v1", "AIHUBMIX_API_BASE", "AIHUBMIX_API_KEY"),
    "crusoe": ("https://api.inference.crusoecloud.com/v1", "CRUSOE_API_BASE", "CRUSOE_API_KEY"),
}

#: What LiteLLM sends in place of a key where none is needed.
_NO_KEY = {
    "datarobot": "fake-api-key",
    "docker_model_runner": "dummy-key",
    "hosted_vllm": "fake-api-key",
    "lemonade": "lemonade",
    "llamafile": "fake-api-key",
    "lm_studio": "fake-api-key",
}


def endpoint(provider: str, api_base: str | None, api_key: str | None) -> tuple[str | None, str | None]:
    """Returns the key and the address of a provider's calls, each ``None`` if LiteLLM leaves it to the provider's own code.

    Args:
        provider: the name of the provider.
        api_base: the address that the caller gives.
        api_key: the key that the caller gives.
    """
    row = ENDPOINTS.get(provider)
    if row is None:
        return api_key, api_base
    address, addresses, keys = row
    api_base = api_base or _first(addresses) or address or None
    return api_key or _first(keys) or _NO_KEY.get(provider), api_base


def _first(variables: str) -> str | None:
    return next((value for name in variables.split() if (value := os.environ.get(name))), None)


def provider_of_address(address: str) -> str | None:
    """Returns the provider whose address this is, or is under; hosts must be the same."""
    from urllib.parse import urlsplit

    given = urlsplit(address if "://" in address else f"https://{address}")
    for provider, (base, _, _) in ENDPOINTS.items():
        known = urlsplit(base)
        # An address of this machine says nothing about who answers there.
        if not known.hostname or known.scheme != "https" or known.hostname != (given.hostname or "").lower():
            continue
        path = known.path.rstrip("/")
        if not path or f"{given.path.rstrip('/')}/".startswith(f"{path}/"):
            return provider
    return None
