"""``get_supported_openai_params``: which of OpenAI's parameters LiteLLM takes for a model.

A program asks before it sends, and leaves out what is not in the list.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from ritellm.compat import _capabilities, _models, _names, _prices

__all__ = ["get_optional_params", "get_supported_openai_params"]

#: What every host with OpenAI's API takes; ``*`` in the rows below.
_OPENAI = (
    "frequency_penalty logit_bias logprobs top_logprobs max_tokens max_completion_tokens modalities prediction n "
    "presence_penalty seed stop stream stream_options temperature top_p tools tool_choice function_call functions max_retries "
    "extra_headers parallel_tool_calls audio web_search_options service_tier safety_identifier prompt_cache_key "
    "prompt_cache_retention store response_format"
)
_TOOLS = "function_call functions parallel_tool_calls tool_choice tools"
_WITHOUT_TOOLS = "* " + " ".join(f"-{name}" for name in _TOOLS.split())
_MISTRAL = (
    "max_completion_tokens max_tokens parallel_tool_calls prompt_cache_key response_format seed stop stream temperature "
    "tool_choice tools top_p"
)
_COHERE = (
    "extra_headers frequency_penalty max_completion_tokens max_tokens n presence_penalty seed stop stream temperature tool_choice "
    "tools top_p"
)
_OLLAMA = "frequency_penalty max_completion_tokens max_tokens reasoning_effort response_format seed stop stream temperature top_p"
_AZURE = "* -max_retries -prompt_cache_retention -safety_identifier -service_tier user"
_ZAI = "max_completion_tokens max_tokens response_format stop stream stream_options temperature tool_choice tools top_p"

#: Hosts with OpenAI's models among others, which take ``user`` for those.
_GATEWAYS = (
    "apertis assemblyai chutes cortecs empiriolabs helicone hostinger_router kyma libertai meta nano-gpt neosantara parasail poe "
    "publicai reka scaleway synthetic zerogpu"
)
#: Providers → what they take whatever the model; ``-name`` takes a name away.
_ROWS = {
    "cloudflare cognition custom custom_openai darkbloom datarobot docker_model_runner edenai friendliai galadriel github heroku "
    "huggingface inferenceapis lambda_ai llamafile lm_studio meta_llama modelscope nebius novita openai_like ovhcloud pinstripes "
    "streamlake tencent tensormesh together_ai wandb aiohttp_openai cometapi compactifai empower": "*",
    _GATEWAYS: _WITHOUT_TOOLS,
    "abliteration aiand coralbricks dashscope openinfer prism qwen_ai_platform qwencloud refuseless scx-ai wally "
    "xiaomi_mimo": "* reasoning_effort",
    "deepseek hosted_vllm openrouter vllm": "* reasoning_effort thinking",
    "moonshot": "* -functions",
    "groq": "* -max_retries -web_search_options",
    "vercel_ai_gateway": "* extra_body",
    "minimax": "* reasoning_split",
    "litellm_proxy": "* reasoning_effort thinking user verbosity",
    "sail": "* -frequency_penalty -logit_bias -logprobs -presence_penalty -seed -stop -top_logprobs reasoning_effort user",
    "fireworks_ai": "* -audio -extra_headers -function_call -functions -max_retries -modalities -parallel_tool_calls "
    "-prompt_cache_retention -safety_identifier -store -tool_choice -tools -web_search_options "
    "context_length_exceeded_behavior echo echo_last ignore_eos min_p mirostat_lr mirostat_target perf_metrics_in_response "
    "prompt_cache_isolation_key prompt_truncate_len raw_output repetition_penalty return_token_ids safe_tokenization "
    "sampling_mask speculation top_k typical_p user",
    "inception": "diffusing max_completion_tokens max_tokens realtime reasoning_effort reasoning_summary reasoning_summary_wait "
    "response_format stop stream stream_options temperature tool_choice tools",
    "voyage": "dimensions encoding_format",
    "volcengine": "extra_headers frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_retries "
    "max_tokens n presence_penalty seed stop stream stream_options temperature thinking tool_choice tools top_logprobs top_p",
    "azure_text text-completion-openai": "extra_headers frequency_penalty function_call functions logit_bias logprobs max_retries "
    "max_tokens n presence_penalty response_format seed stop stream stream_options temperature tool_choice tools top_logprobs "
    "top_p user",
    "perplexity": "extra_headers frequency_penalty max_completion_tokens max_retries max_tokens presence_penalty response_format "
    "stream temperature top_p",
    "cohere cohere_chat": _COHERE,
    "cerebras": "extra_headers max_completion_tokens max_retries max_tokens response_format seed stop stream temperature "
    "tool_choice tools top_p user",
    "deepinfra": "frequency_penalty function_call functions logit_bias max_completion_tokens max_tokens n presence_penalty "
    "response_format stop stream temperature tool_choice tools top_p",
    "featherless_ai": "frequency_penalty function_call functions logit_bias max_completion_tokens max_tokens n presence_penalty "
    "stop stream temperature top_p",
    "clf_ai_gateway": "frequency_penalty logit_bias logprobs max_completion_tokens max_tokens n parallel_tool_calls "
    "presence_penalty reasoning_effort response_format seed service_tier stop store stream stream_options temperature tool_choice "
    "tools top_logprobs top_p user",
    "nscale": "frequency_penalty logit_bias logprobs max_tokens n presence_penalty response_format stop stream temperature "
    "top_logprobs top_p",
    "watsonx": "frequency_penalty logprobs max_tokens n presence_penalty reasoning_effort response_format seed stop stream "
    "temperature tool_choice tools top_logprobs top_p",
    "nvidia_nim": "frequency_penalty max_completion_tokens max_tokens parallel_tool_calls presence_penalty response_format seed "
    "stop stream temperature tool_choice tools top_p",
    "baseten": "frequency_penalty max_completion_tokens max_tokens presence_penalty reasoning_effort response_format seed stop "
    "stream stream_options temperature tool_choice tools top_p user",
    "text-completion-inception": "frequency_penalty max_completion_tokens max_tokens presence_penalty stop stream stream_options "
    "suffix top_p",
    "ollama": _OLLAMA,
    "ollama_chat": f"{_OLLAMA} functions tool_choice tools",
    "hyperbolic": "frequency_penalty max_tokens messages model n presence_penalty response_format seed stop stream temperature "
    "tool_choice tools top_p user",
    "nlp_cloud": "frequency_penalty max_tokens n presence_penalty stop stream temperature top_p",
    "gigachat": f"function_call functions {_ZAI} -stream_options",
    "replicate": "function_call functions max_tokens seed stop stream temperature tool_choice tools top_p",
    "xai": "logit_bias logprobs max_completion_tokens max_tokens n parallel_tool_calls presence_penalty response_format seed "
    "stream stream_options temperature tool_choice tools top_logprobs top_p user web_search_options",
    "databricks": "max_completion_tokens max_tokens n reasoning_effort response_format service_tier stop stream temperature "
    "thinking tool_choice tools top_p",
    "ai21 ai21_chat": "max_completion_tokens max_tokens n response_format seed stop stream temperature tool_choice tools",
    "sagemaker": "max_completion_tokens max_tokens n stop stream temperature top_p",
    "codestral mistral": _MISTRAL,
    "bigmodel": f"{_ZAI} reasoning_effort thinking",
    "zai": _ZAI,
    "sambanova": f"{_ZAI} -tool_choice -tools top_k",
    "text-completion-codestral": "max_completion_tokens max_tokens seed stop stream suffix temperature top_p",
    "microsoft_365_copilot": "max_completion_tokens max_tokens stream",
    "snowflake": "max_completion_tokens max_tokens stream temperature tool_choice tools top_p",
    "anthropic_text": "extra_headers max_completion_tokens max_tokens stop stream temperature top_p user",
    "predibase": "max_completion_tokens max_tokens n response_format stop stream temperature top_p",
    "clarifai": f"{_ZAI} -stop frequency_penalty presence_penalty",
    "amazon_nova": f"{_ZAI} -response_format metadata reasoning_effort",
    "morph": "messages model stream",
    "v0": "messages model stream tool_choice tools",
    "fal_ai": "reasoning_effort temperature top_p",
    "scaledown langflow langgraph": "stream",
    "gradient_ai": "filter_kb_content_by_query_metadata frequency_penalty include_functions_info include_guardrails_info "
    "include_retrieval_info instruction_override k kb_filters max_completion_tokens max_tokens presence_penalty provide_citations "
    "retrieval_method stop stream stream_options temperature top_p",
}
#: What a model takes besides if the map says that it can.
_REASONING = (("supports_reasoning", "reasoning_effort"),)
_TOOLS_IF_ANY = (("supports_function_calling", _TOOLS), *_REASONING)
_IF = {
    "cerebras deepinfra inferenceapis moonshot pinstripes streamlake tensormesh together_ai wandb xai": _REASONING,
    "empiriolabs hostinger_router kyma libertai meta publicai scaleway zerogpu": _TOOLS_IF_ANY,
    "fireworks_ai": (
        ("supports_reasoning", "reasoning_effort reasoning_history thinking"),
        ("supports_function_calling", "parallel_tool_calls tools"),
        ("supports_tool_choice", "tool_choice"),
    ),
    "groq": (*_REASONING, ("supports_web_search", "web_search_options")),
    "minimax zai": (("supports_reasoning", "thinking"),),
    "mistral": _REASONING,
    "morph": (
        (
            "supports_reasoning",
            "frequency_penalty logit_bias logprobs max_completion_tokens max_tokens parallel_tool_calls presence_penalty "
            "prompt_cache_key reasoning_effort response_format seed stop stream_options temperature tool_choice tools "
            "top_logprobs top_p",
        ),
    ),
    "perplexity": (*_REASONING, ("supports_web_search", "web_search_options")),
    "sambanova": (("supports_function_calling", "parallel_tool_calls tool_choice tools"),),
    "snowflake": (("supports_prompt_caching", "thinking"),),
    "tencent": (("supports_reasoning", "reasoning_effort thinking"),),
}
_EMBEDDINGS = {
    "bedrock": "dimensions encoding_format",
    "jina_ai": "dimensions",
    "mistral": "encoding_format",
    "nvidia_nim": "dimensions encoding_format user",
    "vertex_ai": "dimensions",
    "voyage": "dimensions encoding_format",
}


def get_supported_openai_params(
    model: str,
    custom_llm_provider: str | None = None,
    request_type: str = "chat_completion",
    base_model: str | None = None,
) -> list[str] | None:
    """Returns the names of the parameters that a model takes, or ``None`` if the provider is not known.

    Args:
        model: the name of a model, with or without its provider.
        custom_llm_provider: the provider, if the name does not say it.
        request_type: ``"chat_completion"``, ``"embeddings"`` or ``"transcription"``.
        base_model: a model whose parameters are taken, too.
    """
    if not custom_llm_provider:
        declared = _models.declared(model)
        custom_llm_provider = declared[0] if declared else _names.provider_and_model(model)[0]
        if custom_llm_provider is None:
            return None
    provider = custom_llm_provider.split("/")[0]
    if request_type == "transcription":
        return "language prompt response_format temperature timestamp_granularities".split()  # noqa: SIM905
    if request_type == "embeddings" and provider in _EMBEDDINGS:
        return _EMBEDDINGS[provider].split()
    found = _supported(model, provider)
    if base_model and found is not None:
        found += [name for name in _supported(base_model, provider) or () if name not in found]
    return found


def get_optional_params(
    model: str, custom_llm_provider: str = "", drop_params: bool | None = None, **params: Any
) -> dict[str, Any]:
    """Returns the parameters that a model takes, of those that are given.

    Args:
        model: the name of a model.
        custom_llm_provider: the provider.
        drop_params: what the model does not take is left out, rather than refused.
        **params: parameters of a call.

    Raises:
        litellm.UnsupportedParamsError: a parameter that the model does not take, without ``drop_params``.
    """
    from ritellm.compat import _finder
    from ritellm.compat._exceptions import UnsupportedParamsError

    supported = get_supported_openai_params(model, custom_llm_provider or None)
    given = {name: value for name, value in params.items() if value is not None}
    refused = [name for name in given if supported is not None and name in _OPENAI.split() and name not in supported]
    if refused and not (drop_params or vars(_finder.module("litellm")).get("drop_params")):
        raise UnsupportedParamsError(
            message=f"{custom_llm_provider} does not support parameters: {refused}, for model={model}. To drop these, set "
            "`litellm.drop_params=True`",
            llm_provider=custom_llm_provider,
            model=model,
        )
    return {name: value for name, value in given.items() if name not in refused}


#: Models of xAI that refuse ``stop``.
_WITHOUT_STOP = r"grok-(4|code|3-mini)"


@cache
def _row(provider: str) -> tuple[str, ...] | None:
    words = next((words for providers, words in _ROWS.items() if provider in providers.split()), None)
    return None if words is None else tuple(_spelt(words))


def _spelt(words: str, model: str = "") -> list[str]:
    names = dict.fromkeys(words.replace("*", _OPENAI, 1).split())
    for name in [name for name in names if name.startswith("-")]:
        del names[name]
        names.pop(name[1:], None)
    return list(names)


def _can(model: str, provider: str | None, capability: str) -> bool:
    return _capabilities.supports(model, provider, capability)


def _supported(model: str, provider: str) -> list[str] | None:
    rule = _FAMILIES.get(provider)
    if rule is not None:
        return _spelt(rule(model))
    row = _row(provider)
    if row is None:
        return _of_program(provider, model)
    found = list(row)
    for providers, conditions in _IF.items():
        if provider in providers.split():
            for capability, words in conditions:
                if _can(model, provider, capability):
                    found += [name for name in words.split() if name not in found]
    if provider == "xai" and not re.search(_WITHOUT_STOP, model):
        found += ["frequency_penalty", "stop"]
    if provider in _GATEWAYS.split():
        found += _user(model).split()
    if provider == "mistral" and "magistral" in model:
        found.append("thinking")
    return found


def _of_program(provider: str, model: str) -> list[str] | None:
    """Returns what a provider of the program's own (``litellm.custom_provider_map``) says that it takes."""
    says = getattr(_names.custom_providers().get(provider), "get_supported_openai_params", None)
    return None if says is None else list(says(model))


# Providers with rules for families of models.


def _sampling(model: str) -> str:
    for name in (model, model.split("/")[-1]):
        value = _prices.current().get(name, {}).get("supports_sampling_params")
        if isinstance(value, bool):
            return "temperature top_p" if value else ""
    return "temperature top_p"


def _is_reasoning_series(model: str) -> bool:
    return ("gpt-5" in model or "gpt-6" in model) and "gpt-5-chat" not in model.split("/")[-1]


def _may_not_reason(model: str, provider: str) -> bool:
    """True if a model takes the reasoning effort ``none``, as the entry of its provider says, or else that of OpenAI."""
    name = model.split("/")[-1]
    for key in (f"{provider}/{model}", f"{provider}/{name}"):
        value = _prices.current().get(key, {}).get("supports_none_reasoning_effort")
        if isinstance(value, bool):
            return value
    return _can(name, None, "supports_none_reasoning_effort")


def _series(model: str, provider: str = "openai") -> str:
    """Returns the parameters of OpenAI's series with reasoning, from GPT-5 on."""
    if "gpt-5" in model and "search" in model:
        return (
            "max_tokens max_completion_tokens stream stream_options web_search_options service_tier safety_identifier "
            "response_format user store verbosity max_retries extra_headers"
        )
    words = "* reasoning_effort verbosity -presence_penalty -frequency_penalty -stop -logit_bias -modalities -prediction -audio "
    words += "-web_search_options" + ("" if _can(model, None, "supports_tool_choice") else " -tool_choice")
    if not _may_not_reason(model, provider):
        words += " -logprobs -top_p -top_logprobs"
    return words + _user(model)


def _user(model: str) -> str:
    name = model.split("responses/", 1)[-1]
    owner = _prices.current().get(name, {}).get("litellm_provider")
    return " user" if owner in ("openai", "text-completion-openai") and not name.startswith("ft:") else ""


_O_SERIES = "* reasoning_effort -logprobs -top_p -presence_penalty -frequency_penalty -top_logprobs"


def _openai(model: str) -> str:
    if _is_reasoning_series(model):
        return _series(model)
    name = model.split("/")[-1]
    user = _user(model)
    if re.match(r"o\d", name) and _user(name):
        words = _O_SERIES + user
        if not _can(name, "openai", "supports_function_calling"):
            words += " -tools -tool_choice -function_call -functions"
        if not _can(name, "openai", "supports_parallel_function_calling"):
            words += " -parallel_tool_calls"
        return words if _can(name, "openai", "supports_response_schema") else words + " -response_format"
    words = "* -response_format" if model in ("gpt-3.5-turbo-16k", "gpt-4") else "*"
    if user and "gpt-4o-audio" not in model:
        return words + user
    return f"{words}{user}" if user else f"{words} reasoning_effort"


def _azure(model: str) -> str:
    if any(part in model for part in ("o1", "o3", "o4", "o_series/")):
        known = _prices.current().get(model)
        words = _O_SERIES + _user(model)
        return words if known is None or known.get("supports_reasoning") else words + " -reasoning_effort"
    if not (_is_reasoning_series(model) or "gpt5_series" in model):
        return _AZURE
    words = _series(model, "azure").replace(" -tool_choice", "")
    if re.match(r"gpt-5\.[24]", model.split("/")[-1]):
        return words.replace(" -logprobs", "").replace(" -top_logprobs", "")
    if _may_not_reason(model, "azure"):
        words += " -logprobs -top_logprobs"
    return words


def _claude(model: str, provider: str) -> str:
    words = (
        "stream stop temperature max_tokens max_completion_tokens tools tool_choice extra_headers parallel_tool_calls "
        "response_format user web_search_options speed context_management cache_control"
    )
    entry = _models.entry_or_none(model, provider) or {}
    if entry.get("supports_sampling_params") is not False:
        words += " top_p"
    if (
        "claude-3-7-sonnet" in model
        or entry.get("supports_adaptive_thinking")
        or _can(model, provider, "supports_reasoning")
    ):
        words += " thinking reasoning_effort"
    return words + (" service_tier" if provider in ("anthropic", "azure_ai") else "")


def _azure_ai(model: str) -> str:
    if "claude" in model.lower():
        return _claude(model, "azure_ai")
    if _is_reasoning_series(model):
        return _series(model, "azure_ai")
    words = "*" + _user(model)
    if not _can(model, "azure_ai", "supports_tool_choice"):
        words += " -tool_choice"
    if "grok" in model and _can(model, "azure_ai", "supports_reasoning"):
        words += " -stop -frequency_penalty -presence_penalty"
    elif re.search(_WITHOUT_STOP, model):
        words += " -stop"
    return words


_GEMINI = (
    "max_tokens max_completion_tokens stream tools tool_choice functions response_format n stop logprobs seed modalities "
    "parallel_tool_calls web_search_options include_server_side_tool_invocations service_tier"
)


def _is_newer_gemini(model: str) -> bool:
    """True from Gemini 3 on."""
    name = model.split("/")[-1].lower()
    if not name or name.isdigit() or name.startswith("gemma-"):
        return False
    older = r"gemini-(?:[12](?:\.\d+)?|exp|(?:pro|flash)(?!-(?:lite-)?latest$))(?:-|$)"
    return re.match(older, name) is None


def _gemini(model: str) -> str:
    words = f"{_sampling(f'gemini/{model}')} {_GEMINI} frequency_penalty presence_penalty"
    if _can(model, "gemini", "supports_reasoning") or _is_newer_gemini(model):
        words += " reasoning_effort thinking"
    return words + (" audio" if "tts" in model else "")


def _vertex(model: str) -> str:
    if model.startswith("gemini") or "gemini" in model:
        newer = _is_newer_gemini(model)
        words = f"{_sampling(f'vertex_ai/{model}')} {_GEMINI} extra_headers top_logprobs audio"
        if words.startswith("temperature"):
            words += " top_k"
        if not newer:
            words += " frequency_penalty presence_penalty"
        return words + (" reasoning_effort thinking" if newer or _can(model, None, "supports_reasoning") else "")
    if "claude" in model:
        return _claude(model, "vertex_ai")
    if "codestral" in model:
        return "max_completion_tokens max_tokens seed stop stream suffix temperature top_p"
    if model.startswith("mistral"):
        return f"{_MISTRAL} -prompt_cache_key"
    return "*" if "jamba" in model else "* -max_retries"


def _bedrock(model: str) -> str:
    words = (
        "max_tokens max_completion_tokens stream stream_options stop temperature top_p extra_headers response_format "
        "requestMetadata service_tier parallel_tool_calls"
    )
    entry = _models.entry_or_none(model, "bedrock")
    base = _models.candidates_of(model, "bedrock")[1][-2]
    if base.startswith("openai.gpt-") and "gpt-oss" not in base:
        return (
            "* reasoning_effort -n"
            if re.match(r"[a-z-]+\.openai", model)
            else f"{words} tools tool_choice reasoning_effort"
        )
    if "commitment/" in model or model.startswith("claude_platform/"):
        return _claude(model, "bedrock")
    # A prefix of a region that LiteLLM does not know makes the model unknown.
    if "arn" in model or entry is None or re.match(r"[a-z]{2}\.", base):
        words += " tools tool_choice thinking reasoning_effort output_config"
        return words + (" web_search_options" if "nova" in model.lower() else "")
    with_tools = (
        "anthropic",
        "mistral",
        "cohere",
        "meta.llama3-1",
        "meta.llama3-2",
        "meta.llama3-3",
        "meta.llama4",
        "amazon.nova",
    )
    if base.startswith(with_tools) or _can(model, "bedrock", "supports_function_calling"):
        words += " tools"
    if base.startswith("amazon.nova"):
        words += " web_search_options"
    if _can(model, "bedrock", "supports_tool_choice") or _can(base, "bedrock", "supports_tool_choice"):
        words += " tool_choice"
    if "gpt-oss" in model or _is_reasoning_series(base) or base.startswith("amazon.nova-2"):
        words += " reasoning_effort"
    elif "deepseek" in base:
        words += "" if ".r1" in base else " reasoning_effort"
    elif _can(model, "bedrock", "supports_anthropic_thinking_payload") or (
        base.startswith("anthropic") and (_can(model, "bedrock", "supports_reasoning") or "claude-3-7" in base)
    ):
        words += " thinking reasoning_effort output_config"
    return words + (" context_management" if base.startswith("anthropic") else "")


def _mantle(model: str) -> str:
    name = re.sub(r"^[a-z]{2}(?:-[a-z]+)+-\d/", "", model)
    if "claude" in name:
        return _claude(name, "bedrock_mantle")
    if _is_reasoning_series(name):
        return "* reasoning_effort verbosity"
    return "* reasoning_effort" if _can(name, "bedrock_mantle", "supports_reasoning") else "*"


_FAMILIES = {
    "bedrock_mantle": _mantle,
    "openai": _openai,
    "azure": _azure,
    "azure_ai": _azure_ai,
    "anthropic": lambda model: _claude(model, "anthropic"),
    "gemini": _gemini,
    "palm": _gemini,
    "vertex_ai": _vertex,
    "vertex_ai_beta": _vertex,
    "bedrock": _bedrock,
    "bedrock_converse": _bedrock,
}
