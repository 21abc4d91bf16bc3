"""``supports_vision``, ``supports_function_calling`` …: what a model can do, as LiteLLM's own map says it."""

from __future__ import annotations

from collections.abc import Callable

from ritellm.compat import _models, _names, _prices

#: The questions; each is a function of this module with the same name as the map's member.
QUESTIONS = frozenset(
    [
        "supports_anthropic_thinking_payload",
        "supports_assistant_prefill",
        "supports_audio_input",
        "supports_audio_output",
        "supports_box_questions",
        "supports_computer_use",
        "supports_continuation",
        "supports_embedding_image_input",
        "supports_function_calling",
        "supports_mid_conversation_system",
        "supports_native_structured_output",
        "supports_none_reasoning_effort",
        "supports_parallel_function_calling",
        "supports_pdf_input",
        "supports_prompt_cache_breakpoint",
        "supports_prompt_caching",
        "supports_reasoning",
        "supports_response_schema",
        "supports_system_messages",
        "supports_thinking_cache_preservation",
        "supports_tool_choice",
        "supports_tool_search",
        "supports_url_context",
        "supports_video_input",
        "supports_vision",
        "supports_web_search",
    ]
)
#: Providers that take a schema of the answer whatever the model.
_SCHEMA_ALWAYS = ("databricks", "fireworks_ai", "lm_studio", "nebius", "predibase")


def __getattr__(name: str) -> object:
    if name in QUESTIONS:
        question = _question(name)
        globals()[name] = question
        return question
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _question(capability: str) -> Callable[..., bool]:
    def question(model: str, custom_llm_provider: str | None = None) -> bool:
        return supports(model, custom_llm_provider, capability)

    question.__name__ = question.__qualname__ = capability
    question.__doc__ = (
        f"Returns true if the map, or what is known of the provider, says ``{capability}`` of a model; false if it says nothing."
        "\n\n    Args:\n        model: the name of a model, with or without its provider.\n"
        "        custom_llm_provider: the provider, if the name does not say it.\n    "
    )
    return question


def supports(model: str, custom_llm_provider: str | None, capability: str) -> bool:
    """Returns true if a model has a capability.

    Args:
        model: the name of a model, with or without its provider.
        custom_llm_provider: the provider, if the name does not say it.
        capability: a member of the map, such as ``"supports_vision"``.
    """
    given = custom_llm_provider
    if model is None:
        return False
    provider, name = _models.declared(model) or _names.provider_and_model(model, custom_llm_provider)
    if provider is None:
        return capability_of_provider(model, given, capability)
    if capability == "supports_response_schema" and provider in _SCHEMA_ALWAYS:
        return True
    try:
        value = _models.info_of(name, provider).get(capability)
    except Exception:
        return capability_of_provider(name, provider, capability)
    if value is not None:
        return value is True
    # An entry under the provider's name may lack what the one under the bare name has.
    key = _prices.find(name)
    if key is not None and _prices.current()[key].get(capability) is True:
        return True
    return capability_of_provider(name, provider, capability)


def capability_of_provider(model: str, provider: str | None, capability: str) -> bool:
    """Returns true if all models of a provider have a capability, as far as nothing else is said of this one."""
    return _models.provider_info(model, provider).get(capability) is True


def supports_native_streaming(model: str, custom_llm_provider: str | None = None) -> bool:
    """Returns true unless the map says that a model cannot stream, or does not have it.

    Args:
        model: the name of a model, with or without its provider.
        custom_llm_provider: the provider, if the name does not say it.
    """
    provider, name = _names.provider_and_model(model, custom_llm_provider)
    try:
        return _models.info_of(name, provider).get("supports_native_streaming") is not False and provider is not None
    except Exception:
        return False


def supports_httpx_timeout(custom_llm_provider: str) -> bool:
    """Returns true: all calls take timeouts for each of their phases.

    Args:
        custom_llm_provider: the provider.
    """
    return True
