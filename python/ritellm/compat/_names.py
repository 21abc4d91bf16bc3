"""``get_llm_provider`` and what belongs to it: which provider a model's name means."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from ritellm.compat import _finder, _prices
from ritellm.compat._providers import ENDPOINTS, NAMES, endpoint, provider_of_address

__all__ = ["custom_providers", "enum_names", "get_llm_provider", "known_providers", "provider_and_model"]

_NOT_FOUND = (
    "LLM Provider NOT provided. Pass in the LLM provider you are trying to call. You passed model={model}\n"
    " Pass model as E.g. For 'Huggingface' inference endpoints pass in `completion(model='huggingface/starcoder',..)`"
    " Learn more: https://docs.litellm.ai/docs/providers"
)


def __getattr__(name: str) -> object:
    if name == "provider_list":
        from ritellm.compat import _providers

        return list(_providers.LlmProviders)
    if name == "openai_compatible_providers":
        return list(ENDPOINTS)
    if name == "openai_compatible_endpoints":
        return [address for address, _, _ in ENDPOINTS.values() if address]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def custom_providers() -> dict[str, Any]:
    """Returns the program's own providers (``litellm.custom_provider_map``): name → handler."""
    declared = vars(_finder.module("litellm")).get("custom_provider_map") or ()
    return {entry["provider"]: entry.get("custom_handler") for entry in declared}


@cache
def known_providers() -> frozenset[str]:
    """Returns the names of all providers that a model's name may begin with."""
    return frozenset({*NAMES, *ENDPOINTS})


@cache
def enum_names() -> frozenset[str]:
    """Returns the names of LiteLLM's enumeration of providers, which are fewer."""
    return frozenset(NAMES)


def get_llm_provider(
    model: str,
    custom_llm_provider: str | None = None,
    api_base: str | None = None,
    api_key: str | None = None,
    litellm_params: Any = None,
) -> tuple[str, str, str | None, str | None]:
    """Returns the model, its provider, the key and the address of its calls, as LiteLLM tells them apart.

    >>> from ritellm.compat import litellm
    >>> litellm.get_llm_provider("anthropic/claude-sonnet-4-5")
    ('claude-sonnet-4-5', 'anthropic', None, None)

    The key is that of the argument or of the environment where LiteLLM looks it up, else ``None``; so is the address.

    Args:
        model: the name of a model, with or without its provider.
        custom_llm_provider: the provider, if the name does not say it.
        api_base: the address of the calls.
        api_key: the key of the calls.
        litellm_params: an object with these three as attributes, in place of them.

    Raises:
        litellm.BadRequestError: nothing says which provider it is.
    """
    if litellm_params is not None and custom_llm_provider is None and api_base is None and api_key is None:
        custom_llm_provider, api_base, api_key = (
            getattr(litellm_params, name, None) for name in ("custom_llm_provider", "api_base", "api_key")
        )
    if model is None:
        raise _refusal(
            "GetLLMProvider Exception - model parameter is required but was None. Please provide a valid model name."
            "\n\noriginal model: None",
            model,
        )
    found = _found(model, custom_llm_provider, api_base, api_key)
    if found is None:
        raise _refusal(_NOT_FOUND.format(model=model), model)
    name, provider, key, address = found
    return _latest(name, provider), provider, key, address


def provider_and_model(model: Any, custom_llm_provider: str | None = None) -> tuple[str | None, str]:
    """Returns the provider, or ``None`` if nothing says it, and the model's name without it."""
    found = None if model is None else _found(model, custom_llm_provider, None, None)
    return (None, model) if found is None else (found[1], _latest(found[0], found[1]))


def _refusal(message: str, model: Any) -> Exception:
    from ritellm.compat._exceptions import BadRequestError

    refusal: Exception = BadRequestError(message=message, model=model, llm_provider="", response=None)
    return refusal


def _latest(model: str, provider: str) -> str:
    """Returns the model that an alias such as ``claude-opus-latest`` stands for."""
    for name in (f"{provider}/{model}", model):
        target = _prices.targets(name)
        if target is None:
            continue
        prefix, slash, _ = name.partition("/")
        owner = prefix if slash and prefix in known_providers() else _prices.current()[target].get("litellm_provider")
        if owner == provider:
            return target.removeprefix(f"{provider}/")
    return model


_Found = tuple[str, str, str | None, str | None]


def _found(model: str, provider: str | None, api_base: str | None, api_key: str | None) -> _Found | None:
    prefix, slash, rest = model.partition("/")
    if prefix == "azure" and slash and (_owner(rest) == "cohere_chat" or _owner(f"mistral/{rest}") == "mistral"):
        # Azure serves these under OpenAI's interface.
        return model, "openai", None, api_base
    for given, name in ((provider, model), (prefix if slash else None, rest)):
        family = _family(given, name)
        if family is not None:
            model, provider = name, family
            break
    if provider and model.partition("/")[0] != provider:
        model = f"{provider}/{model}"
    prefix, slash, rest = model.partition("/")
    if provider == "openrouter" and slash:
        return (rest if "/" in rest else model), provider, None, api_base
    if slash and prefix in known_providers():
        return _of_prefix(prefix, rest, api_base, api_key)
    if slash and prefix in custom_providers():
        return rest, prefix, None, api_base
    if api_base:
        named = provider_of_address(api_base)
        if named is not None:
            return model, named, endpoint(named, api_base, api_key)[0], api_base
    bare = _of_bare_name(model)
    if bare is None:
        return None
    if bare == "ai21_chat":
        key, address = endpoint(bare, api_base, api_key)
        return model, bare, key, address
    return model, bare, None, api_base


def _family(provider: str | None, model: str) -> str | None:
    """Returns the provider whose interface a model of Cohere's or Anthropic's has, if it is not the usual one."""
    if provider == "cohere" and _owner(model) == "cohere_chat":
        return "cohere_chat"
    if provider == "anthropic" and model in ("claude-2", "claude-instant-1"):
        return "anthropic_text"
    return None


def _of_prefix(provider: str, model: str, api_base: str | None, api_key: str | None) -> _Found:
    if provider == "ai21" and (_entry(model).get("litellm_provider"), _entry(model).get("mode")) == ("ai21", "chat"):
        provider = "ai21_chat"
    if provider == "bedrock_mantle":
        model = re.sub(r"^[a-z]{2}(?:-[a-z]+)+-\d/", "", model)
    key, address = endpoint(provider, api_base, api_key)
    return model, provider, key, address


def _entry(model: str) -> dict[str, Any]:
    entry = _prices.current().get(model)
    return entry if isinstance(entry, dict) else {}


def _owner(model: str) -> Any:
    return _entry(model).get("litellm_provider")


#: The provider of a bare name by the `litellm_provider` of its entry; others are the provider themselves.
_OWNERS = {
    "ai21": "ai21_chat",
    "bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "vertex_ai-chat-models": "vertex_ai",
    "vertex_ai-code-chat-models": "vertex_ai",
    "vertex_ai-code-text-models": "vertex_ai",
    "vertex_ai-embedding-models": "vertex_ai",
    "vertex_ai-language-models": "vertex_ai",
    "vertex_ai-text-models": "vertex_ai",
    "vertex_ai-vision-models": "vertex_ai",
} | {
    name: name
    for name in [
        "aleph_alpha",
        "baseten",
        "cohere",
        "cohere_chat",
        "empower",
        "gradient_ai",
        "nlp_cloud",
        "openai",
        "openrouter",
        "text-completion-openai",
        "watsonx",
    ]
}
#: Names of this form have a provider even where no map has them.
_FORMS = (
    (r"ft:gpt-(3\.5-turbo|4)|gpt-image", "openai"),
    (r"[^:]*:[0-9a-f]{64}$", "replicate"),
    (r"amazon_nova", "amazon_nova"),
    (r"\*$", "openai"),
)
#: The same for maps other than LiteLLM's own, which know fewer names and have no rules.
_USUAL_FORMS = (
    (r"gpt-|chatgpt-|o\d(-|$)|text-embedding-|dall-e-|whisper-|tts-|omni-moderation", "openai"),
    (r"(babbage|davinci)-002|gpt-3\.5-turbo-instruct", "text-completion-openai"),
    (r"claude-", "anthropic"),
    (r"gemini-", "vertex_ai"),
    (r"command-", "cohere_chat"),
    (r"embed-|rerank-", "cohere"),
    (
        r"(us-gov|us|eu|apac|jp|au|global)?\.?(ai21|amazon|anthropic|cohere|meta|mistral|deepseek|qwen|openai)\.",
        "bedrock",
    ),
)


def _of_bare_name(model: str) -> str | None:
    owner = _owner(model)
    if owner == "anthropic":
        return "anthropic_text" if model in ("claude-2", "claude-instant-1") else "anthropic"
    # The name of what a fine-tuned model is made from is no model.
    is_base = owner == "openai" and model.startswith("ft:") and model.count(":") == 1
    if owner in _OWNERS and _entry(model).get("mode") != "guardrail" and not is_base:
        return _OWNERS[owner]
    if _owner(f"vertex_ai/{model}") in ("vertex_ai-image-models", "vertex_ai-video-models"):
        return "vertex_ai"
    for forms in (_FORMS, () if _prices.has_rules() else _USUAL_FORMS):
        for form, provider in forms:
            if re.match(form, model):
                return provider
    return _prices.routed(model)
