"""``validate_environment`` and what else asks for keys and names of models."""

from __future__ import annotations

import os
from typing import Any

from ritellm.compat import _names, _prices

__all__ = ["check_valid_key", "get_api_base", "get_valid_models", "validate_environment"]

#: Providers whose variable is not their name in capitals with ``_API_KEY``: what LiteLLM says is missing.
_MISSING = {
    "ai21_chat": ("AI21_API_KEY",),
    "azure": ("AZURE_API_BASE", "AZURE_API_VERSION", "AZURE_API_KEY"),
    "bedrock": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "cloudflare": ("CLOUDFLARE_API_KEY", "CLOUDFLARE_API_BASE"),
    "datarobot": ("DATAROBOT_API_TOKEN",),
    "gemini": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    "ollama": ("OLLAMA_API_BASE",),
    "ollama_chat": ("OLLAMA_API_BASE",),
    "perplexity": ("PERPLEXITYAI_API_KEY",),
    "sagemaker": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "text-completion-codestral": ("CODESTRAL_API_KEY",),
    "text-completion-inception": ("INCEPTION_API_KEY",),
    "together_ai": ("TOGETHERAI_API_KEY",),
    "vertex_ai": ("VERTEXAI_PROJECT", "VERTEXAI_LOCATION"),
}
#: Providers whose variable is their name in capitals with ``_API_KEY``.
_PLAIN = frozenset(
    [
        "ai21",
        "aleph_alpha",
        "anthropic",
        "anyscale",
        "baseten",
        "cerebras",
        "clf_ai_gateway",
        "codestral",
        "cohere",
        "dashscope",
        "deepinfra",
        "deepseek",
        "edenai",
        "featherless_ai",
        "fireworks_ai",
        "groq",
        "huggingface",
        "inception",
        "infinity",
        "mistral",
        "modelscope",
        "moonshot",
        "nadir",
        "nebius",
        "nlp_cloud",
        "novita",
        "nvidia_nim",
        "openai",
        "openrouter",
        "qwen_ai_platform",
        "qwencloud",
        "replicate",
        "tencent",
        "vercel_ai_gateway",
        "volcengine",
        "voyage",
        "wandb",
        "xai",
    ]
)
#: Variables of which any is enough, beside those that are missing.
_ENOUGH: dict[str, tuple[tuple[str, ...], ...]] = {
    "anthropic": (("ANTHROPIC_AUTH_TOKEN",),),
    "bedrock": (("AWS_ROLE_ARN",), ("AWS_PROFILE",), ("AWS_WEB_IDENTITY_TOKEN_FILE",), ("AWS_BEARER_TOKEN_BEDROCK",)),
    "cloudflare": (("CLOUDFLARE_API_KEY", "CLOUDFLARE_ACCOUNT_ID"),),
    "fireworks_ai": (("FIREWORKS_API_KEY",), ("FIREWORKSAI_API_KEY",), ("FIREWORKS_AI_TOKEN",)),
    "gemini": (("GOOGLE_API_KEY",), ("GEMINI_API_KEY",)),
    "perplexity": (("PERPLEXITY_API_KEY",),),
    "qwen_ai_platform": (("DASHSCOPE_API_KEY",),),
    "qwencloud": (("DASHSCOPE_API_KEY",),),
    "together_ai": (("TOGETHER_API_KEY",), ("TOGETHER_AI_API_KEY",), ("TOGETHER_AI_TOKEN",)),
}


def validate_environment(
    model: str | None = None, api_key: str | None = None, api_base: str | None = None, api_version: str | None = None
) -> dict[str, Any]:
    """Returns which variables of the environment a model lacks: ``keys_in_environment`` and ``missing_keys``.

    Args:
        model: the name of a model, with or without its provider.
        api_key: a key that the caller has, so that no variable is missing for it.
        api_base: an address that the caller has.
        api_version: a version that the caller has.
    """
    if model is None:
        return {"keys_in_environment": False, "missing_keys": []}
    provider = _names.provider_and_model(model)[0]
    names = _MISSING.get(provider or "", ())
    if provider in _PLAIN:
        names = (f"{provider.upper()}_API_KEY",)
    ways = (names, *_ENOUGH.get(provider or "", ()))
    if any(all(name in os.environ for name in way) for way in ways):
        return {"keys_in_environment": True, "missing_keys": []}
    given = {"_KEY": api_key, "_BASE": api_base, "_VERSION": api_version}
    missing = [
        name for name in names if not any(name.endswith(end) and value is not None for end, value in given.items())
    ]
    return {"keys_in_environment": not missing, "missing_keys": missing}


def get_valid_models(
    check_provider_endpoint: bool | None = None, custom_llm_provider: str | None = None, **options: Any
) -> list[str]:
    """Returns the models of the map whose provider has a key in the environment, or those of one provider.

    Args:
        check_provider_endpoint: has no effect; nobody is asked.
        custom_llm_provider: the provider whose models are returned, whatever the environment.
        **options: further options of LiteLLM's, without effect.
    """
    found = []
    ready: dict[str, bool] = {}
    for model, entry in _prices.current().items():
        owner = str(entry.get("litellm_provider"))
        provider = next((name for name in ("vertex_ai", "bedrock") if owner.startswith(name)), owner)
        if provider not in ready:
            known = custom_llm_provider is None and (provider in _PLAIN or provider in _MISSING)
            ready[provider] = (
                validate_environment(f"{provider}/x")["keys_in_environment"]
                if known
                else provider == custom_llm_provider
            )
        if ready[provider]:
            found.append(model)
    return found


def check_valid_key(model: str, api_key: str) -> bool:
    """Returns true if a provider takes a key; a short call is made.

    Args:
        model: the name of a model, with or without its provider.
        api_key: the key.
    """
    from ritellm.compat._calls import completion

    try:
        completion(
            model=model, messages=[{"role": "user", "content": "Hey, how's it going?"}], api_key=api_key, max_tokens=10
        )
    except Exception:
        return False
    return True


def get_api_base(model: str, optional_params: Any) -> str | None:
    """Returns the address of a model's calls, or ``None`` if it is the provider's usual one.

    Args:
        model: the name of a model, with or without its provider.
        optional_params: parameters of a call, of which ``api_base`` counts.
    """
    given = (
        optional_params.get("api_base") or optional_params.get("base_url")
        if isinstance(optional_params, dict)
        else None
    )
    if given is not None:
        return str(given)
    try:
        return _names.get_llm_provider(model)[3]
    except Exception:
        return None
