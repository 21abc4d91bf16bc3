"""What a model can do and holds: ``get_model_info`` and what asks for the same, from LiteLLM's own map."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ritellm.compat import _names, _prices

__all__ = ["entry_of", "get_max_tokens", "get_model_info", "info_of", "register_model"]

_UNKNOWN = (
    "This model isn't mapped yet. model={model}, custom_llm_provider={provider}. Add it here - "
    "https://github.com/BerriAI/litellm/blob/main/model_prices_and_context_window.json."
)

#: Members of what `get_model_info` returns.
_MEMBERS = [
    "key",
    "max_tokens",
    "max_input_tokens",
    "max_output_tokens",
    "input_cost_per_token",
    "input_cost_per_token_flex",
    "input_cost_per_token_priority",
    "input_cost_per_token_balanced",
    "input_cost_per_token_ultrafast",
    "cache_creation_input_token_cost",
    "cache_creation_input_token_cost_above_200k_tokens",
    "cache_creation_input_token_cost_above_272k_tokens",
    "cache_creation_input_token_cost_above_272k_tokens_priority",
    "cache_creation_input_token_cost_above_272k_tokens_flex",
    "cache_creation_input_token_cost_above_272k_tokens_ultrafast",
    "cache_creation_input_token_cost_flex",
    "cache_creation_input_token_cost_priority",
    "cache_creation_input_token_cost_ultrafast",
    "cache_read_input_token_cost",
    "cache_read_input_audio_token_cost",
    "cache_read_input_audio_token_cost_flex",
    "cache_read_input_audio_token_cost_priority",
    "cache_read_input_audio_token_cost_batches",
    "explicit_cache_read_input_token_cost",
    "cache_read_input_image_token_cost",
    "prompt_cache_min_tokens",
    "cache_read_input_token_cost_above_200k_tokens",
    "cache_read_input_token_cost_above_200k_tokens_priority",
    "cache_read_input_token_cost_above_272k_tokens",
    "cache_read_input_token_cost_above_272k_tokens_priority",
    "cache_read_input_token_cost_above_272k_tokens_flex",
    "cache_read_input_token_cost_above_272k_tokens_ultrafast",
    "cache_read_input_token_cost_above_512k_tokens",
    "cache_read_input_token_cost_flex",
    "cache_read_input_token_cost_priority",
    "cache_read_input_token_cost_balanced",
    "cache_read_input_token_cost_ultrafast",
    "cache_read_input_token_cost_batches",
    "cache_read_input_token_cost_above_200k_tokens_batches",
    "cache_read_input_token_cost_above_272k_tokens_batches",
    "cache_creation_input_token_cost_batches",
    "cache_creation_input_token_cost_above_200k_tokens_batches",
    "cache_creation_input_token_cost_above_272k_tokens_batches",
    "cache_creation_input_token_cost_above_1hr",
    "cache_creation_input_token_cost_above_12hr",
    "cache_creation_input_token_cost_above_12hr_flex",
    "cache_creation_input_token_cost_above_12hr_priority",
    "cache_creation_input_token_cost_above_12hr_above_272k_tokens",
    "cache_creation_input_token_cost_above_12hr_above_272k_tokens_flex",
    "cache_creation_input_token_cost_above_12hr_above_272k_tokens_priority",
    "cache_creation_input_token_cost_above_12hr_batches",
    "cache_creation_input_token_cost_above_12hr_ultrafast",
    "cache_creation_input_token_cost_above_12hr_above_272k_tokens_batches",
    "cache_creation_input_token_cost_above_12hr_above_272k_tokens_ultrafast",
    "off_peak_pricing",
    "input_cost_per_character",
    "input_cost_per_token_above_128k_tokens",
    "input_cost_per_token_above_200k_tokens",
    "input_cost_per_token_above_200k_tokens_priority",
    "input_cost_per_token_above_272k_tokens",
    "input_cost_per_token_above_272k_tokens_priority",
    "input_cost_per_token_above_272k_tokens_flex",
    "input_cost_per_token_above_272k_tokens_ultrafast",
    "input_cost_per_token_above_512k_tokens",
    "input_cost_per_query",
    "cost_per_second",
    "input_cost_per_second",
    "input_cost_per_text_message",
    "input_cost_per_audio_token",
    "input_cost_per_audio_token_flex",
    "input_cost_per_audio_token_above_200k_tokens",
    "input_cost_per_audio_token_above_200k_tokens_flex",
    "input_cost_per_audio_token_above_200k_tokens_priority",
    "input_cost_per_audio_token_above_200k_tokens_batches",
    "input_cost_per_audio_token_priority",
    "input_cost_per_image_token",
    "input_cost_per_video_token",
    "input_cost_per_audio_token_batches",
    "input_cost_per_image_token_batches",
    "input_cost_per_image",
    "input_cost_per_audio_per_second",
    "input_cost_per_video_per_second",
    "input_cost_per_token_batches",
    "input_cost_per_video_token_batches",
    "input_cost_per_token_above_200k_tokens_batches",
    "input_cost_per_token_above_200k_tokens_flex",
    "input_cost_per_token_above_272k_tokens_batches",
    "output_cost_per_token_batches",
    "output_cost_per_token_above_200k_tokens_batches",
    "output_cost_per_token_above_200k_tokens_flex",
    "output_cost_per_token_above_272k_tokens_batches",
    "output_cost_per_token",
    "output_cost_per_token_flex",
    "output_cost_per_token_priority",
    "output_cost_per_token_balanced",
    "output_cost_per_token_ultrafast",
    "regional_processing_uplift_multiplier_eu",
    "regional_processing_uplift_multiplier_us",
    "fedramp_uplift_multiplier",
    "regional_endpoint_uplift_multiplier",
    "output_cost_per_audio_token",
    "output_cost_per_character",
    "output_cost_per_reasoning_token",
    "output_cost_per_reasoning_token_flex",
    "output_cost_per_reasoning_token_priority",
    "output_cost_per_token_above_128k_tokens",
    "output_cost_per_character_above_128k_tokens",
    "output_cost_per_token_above_200k_tokens",
    "output_cost_per_token_above_200k_tokens_priority",
    "output_cost_per_token_above_272k_tokens",
    "output_cost_per_token_above_272k_tokens_priority",
    "output_cost_per_token_above_272k_tokens_flex",
    "output_cost_per_token_above_272k_tokens_ultrafast",
    "output_cost_per_token_above_512k_tokens",
    "output_cost_per_second",
    "output_cost_per_second_1080p",
    "output_cost_per_second_480p",
    "output_cost_per_second_720p",
    "output_cost_per_second_768p",
    "output_cost_per_second_2k",
    "output_cost_per_second_4k",
    "output_cost_per_video_per_second",
    "output_cost_per_image",
    "output_cost_per_image_1K",
    "output_cost_per_image_2K",
    "output_cost_per_pixel",
    "output_cost_per_image_token",
    "output_cost_per_image_token_batches",
    "output_cost_per_image_token_priority",
    "output_cost_per_video_token",
    "output_vector_size",
    "citation_cost_per_token",
    "tiered_pricing",
    "litellm_provider",
    "mode",
    "supported_endpoints",
    "supports_system_messages",
    "supports_response_schema",
    "supports_vision",
    "supports_function_calling",
    "supports_parallel_function_calling",
    "supports_tool_choice",
    "supports_assistant_prefill",
    "supports_prompt_caching",
    "supports_prompt_cache_breakpoint",
    "supports_thinking_cache_preservation",
    "supports_audio_input",
    "supports_video_input",
    "supports_box_questions",
    "supports_audio_output",
    "supports_pdf_input",
    "supports_embedding_image_input",
    "supports_native_streaming",
    "supports_native_structured_output",
    "supports_bedrock_native_structured_output",
    "supports_bedrock_native_structured_output_by_default",
    "supports_web_search",
    "supports_url_context",
    "supports_continuation",
    "supports_reasoning",
    "supports_adaptive_thinking",
    "supports_legacy_thinking",
    "thinking_always_on",
    "thinking_on_by_default",
    "supports_tool_search",
    "supports_per_turn_control",
    "supports_mid_conversation_system",
    "supports_anthropic_thinking_payload",
    "supports_anthropic_compaction",
    "supports_none_reasoning_effort",
    "supports_minimal_reasoning_effort",
    "supports_low_reasoning_effort",
    "supports_xhigh_reasoning_effort",
    "supports_max_reasoning_effort",
    "reasoning_effort_levels",
    "reasoning_modes",
    "reasoning_contexts",
    "default_reasoning_effort",
    "bedrock_output_config_effort_ceiling",
    "bedrock_converse_supports_strict_tools",
    "supports_regex_lookaround",
    "supports_computer_use",
    "search_context_cost_per_query",
    "search_queries_cost_per_query",
    "web_search_billing_unit",
    "search_free_requests",
    "google_maps_grounding_cost_per_query",
    "tpm",
    "rpm",
    "ocr_cost_per_page",
    "ocr_cost_per_page_batches",
    "ocr_cost_per_credit",
    "annotation_cost_per_page",
    "annotation_cost_per_page_batches",
    "provider_specific_entry",
    "uses_embed_content",
    "supports_image_size",
    "supported_audio_formats",
    "token_count_framing",
    "token_count_tool_framing",
    "token_count_responses_framing",
    "token_count_responses_tool_framing",
    "token_count_model",
    "token_count_tokenizer",
    "vertex_ai_audio_api",
]
_MEMBER_SET = frozenset(_MEMBERS)
_FREE = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
#: Further members that are there if the map has them: prices above a number of tokens.
_ABOVE = re.compile(r"_above_\d+k?_tokens(?:_batches)?$")


def __getattr__(name: str) -> object:
    if name == "model_cost":
        return _prices.current()
    if name == "model_list":
        return list(_prices.current())
    if name == "models_by_provider":
        found: dict[str, list[str]] = {}
        for model, entry in _prices.current().items():
            provider = entry.get("litellm_provider")
            if isinstance(provider, str):
                found.setdefault("vertex_ai" if provider.startswith("vertex_ai") else provider, []).append(model)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_model_info(
    model: str, custom_llm_provider: str | None = None, api_base: str | None = None, api_key: str | None = None
) -> dict[str, Any]:
    """Returns what the map says of a model: limits, prices and what it can do; a member that it does not say is ``None``.

    Args:
        model: the name of a model, with or without its provider.
        custom_llm_provider: the provider, if the name does not say it.
        api_base: has no effect; nobody is asked.
        api_key: has no effect; nobody is asked.

    Raises:
        Exception: the map has neither the model nor a rule for it.
    """
    from ritellm.compat._parameters import get_supported_openai_params

    supported = get_supported_openai_params(model, custom_llm_provider)
    info = dict(info_of(model, custom_llm_provider))
    for name, value in provider_info(model, custom_llm_provider).items():
        if info.get(name) is None:
            info[name] = value
    info["supported_openai_params"] = supported
    return info


def get_max_tokens(model: str) -> int | None:
    """Returns the maximum number of tokens of a model's answer.

    Args:
        model: the name of a model, with or without its provider.

    Raises:
        Exception: the map does not have the model.
    """
    entries = _prices.current()
    for name in (model, _names.provider_and_model(model)[1]):
        if name in entries and "max_output_tokens" in entries[name]:
            limit: int | None = entries[name]["max_output_tokens"]
            return limit
    provider, name = _names.provider_and_model(model)
    if provider is not None and (name in entries or provider == "huggingface"):
        return None
    raise Exception(
        f"Model {name if provider else model} isn't mapped yet. Add it here - "
        "https://github.com/BerriAI/litellm/blob/main/model_prices_and_context_window.json"
    )


def register_model(model_cost: dict[str, Any] | str, **options: Any) -> dict[str, Any] | str:
    """Adds models to the map, or changes what it says of them, and returns what was given.

    Args:
        model_cost: name → an entry as in LiteLLM's map; or the path of such a file.
        **options: further options of LiteLLM's, without effect.
    """
    if isinstance(model_cost, str):
        given = _prices.read(model_cost)
    else:
        given = model_cost
    entries = _prices.current()
    for name, members in given.items():
        key = _prices.find(name) or name
        members = {member: _number(value) for member, value in members.items()}
        found = dict(entries.get(key, {}))
        if key not in entries:
            try:
                found = dict(entry_of(name, members.get("litellm_provider"))[1])
                key = name
            except Exception:
                pass
        entries[key] = {**found, **members}
        if key != name:
            entries[name] = entries[key]
    _prices.changed()
    return model_cost


def _number(value: Any) -> Any:
    # Prices that were read from a file of settings may be text.
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d*)?([eE]-?\d+)?", value):
        return float(value)
    return value


def info_of(model: str, provider: str | None = None) -> dict[str, Any]:
    """Returns the members of `get_model_info` that are in the map.

    Raises:
        Exception: the map has neither the model nor a rule for it.
    """
    key, entry, provider = _looked_up(model, provider)
    info = {name: entry.get(name) for name in _MEMBERS}
    info["key"] = key
    info["max_tokens"] = entry.get("max_output_tokens") or entry.get("max_input_tokens")
    for name in ("input_cost_per_token", "output_cost_per_token"):
        if info[name] is None:
            info[name] = 0
    if "litellm_provider" not in entry:
        info["litellm_provider"] = provider
    if entry.get("supports_bedrock_native_structured_output_by_default"):
        info["supports_native_structured_output"] = entry.get("supports_bedrock_native_structured_output") is not False
    elif not isinstance(info["supports_native_structured_output"], bool):
        info["supports_native_structured_output"] = None
    info.update({name: value for name, value in entry.items() if name not in info and _ABOVE.search(name)})
    return info


def prices_of(model: str, provider: str | None = None, *, zeros: bool = True) -> dict[str, Any]:
    """Returns the members of `info_of` that the map has, and no others.

    Args:
        model: the name of a model, with or without its provider.
        provider: the provider, if the name does not say it.
        zeros: the prices of tokens are 0 if the map does not say them.

    Raises:
        Exception: the map has neither the model nor a rule for it.
    """
    key, entry, provider = _looked_up(model, provider)
    info = {name: value for name, value in entry.items() if name in _MEMBER_SET or _ABOVE.search(name)}
    info["key"] = key
    info.setdefault("litellm_provider", provider)
    for name in ("input_cost_per_token", "output_cost_per_token") if zeros else ():
        if info.get(name) is None:
            info[name] = 0
    return info


def entry_of(model: str, provider: str | None = None) -> tuple[str, Mapping[str, Any]]:
    """Returns the key and the entry of a model, with what the map's rules add to it.

    Raises:
        Exception: the map has neither the model nor a rule for it.
    """
    return _looked_up(model, provider)[:2]


def entry_or_none(model: str, provider: str | None = None) -> Mapping[str, Any] | None:
    """Returns the entry of a model, with what the map's rules add to it, or ``None``."""
    try:
        return entry_of(model, provider)[1]
    except Exception:
        return None


def by_rules(model: str, provider: str | None) -> dict[str, Any] | None:
    """Returns what the map's rules say of a model that has no entry, or ``None``."""
    known = _prices.remembered("rules")
    if (model, provider) not in known:
        candidates = candidates_of(model, provider)[1]
        members = None
        if all(_prices.find(name) is None for name in candidates):
            members = next((found for name in candidates if (found := _prices.capabilities(name)) is not None), None)
        known[model, provider] = members
    found_before: dict[str, Any] | None = known[model, provider]
    return found_before


def provider_info(model: str, provider: str | None) -> Mapping[str, Any]:
    """Returns what holds for all models of a provider, unless the map says otherwise."""
    if provider == "xai":
        return {"supports_web_search": True}
    if provider in ("openinfer", "kyma", "streamlake", "wally"):
        return {"supports_function_calling": True, "supports_reasoning": provider in ("streamlake", "wally") or None}
    if provider != "fireworks_ai":
        return {}
    info: dict[str, Any] = {"supports_function_calling": True, "supports_prompt_caching": True}
    name = model.removeprefix("fireworks_ai/").rsplit("/", 1)[-1]
    for capability in ("supports_function_calling", "supports_reasoning", "supports_vision", "supports_pdf_input"):
        value = _of_longest_name("fireworks_ai/", name, capability)
        if value is not None and (value or capability != "supports_reasoning"):
            info[capability] = value
    return info


def _of_longest_name(prefix: str, name: str, capability: str) -> Any:
    """Returns what the map says of the model whose name, between hyphens, is the longest in ``name``."""
    found: tuple[int, Any] = (0, None)
    for short, entry in _prices.with_prefix(prefix):
        is_longer = len(short) > found[0] and f"-{short}-" in f"-{name}-"
        if is_longer and entry.get(capability) is not None:
            found = (len(short), entry[capability])
    return found[1]


# Which entry of the map a name means.

#: Names that are remembered as those of no model: each answer of one asks for its price under several names.
_MAX_UNKNOWN = 1024

_AZURE = {
    "gpt-35-turbo": "azure/gpt-35-turbo",
    "gpt-35-turbo-instruct": "azure/gpt-35-turbo-instruct",
    "azure/gpt-41": "gpt-4.1",
    "azure/gpt-41-mini": "gpt-4.1-mini",
    "azure/gpt-41-nano": "gpt-4.1-nano",
    "ada": "azure/ada",
}


def _looked_up(model: str, provider: str | None) -> tuple[str, dict[str, Any], str | None]:
    known = _prices.remembered("entries")
    key, of = known.get((model, provider), (None, None))
    if key is None or key not in _prices.current():
        unknown = _prices.remembered("unknown")
        if (model, provider) in unknown:
            raise _not_mapped(model, unknown[model, provider])
        key, entry, of = _searched(model, provider)
        if key not in _prices.current():
            return key, entry, of
        known[model, provider] = key, of
    return key, _prices.filled(key, _prices.current()[key]), of


def _searched(model: str, provider: str | None) -> tuple[str, dict[str, Any], str | None]:
    given = model, provider
    model = _AZURE.get(model, model)
    if provider == "vertex_ai_beta":
        provider = "vertex_ai"
    if provider == "vertex_ai":
        model = _vertex_name(model)
    provider, candidates = candidates_of(model, provider)
    entries = _prices.current()
    keys = [key for name in candidates if (key := _prices.find(name)) is not None]
    for key in keys:
        if _is_of(entries[key], provider):
            return key, _prices.filled(key, entries[key]), provider
    if not keys:
        for name in candidates:
            members = _prices.capabilities(name)
            if members is not None:
                return name, members if provider is None else {**members, "litellm_provider": provider}, provider
    if provider in ("ollama", "ollama_chat"):
        # A model on a machine of one's own costs nothing. LiteLLM asks the server for the rest; here, nobody is asked.
        name = given[0].removeprefix("ollama_chat/").removeprefix("ollama/")
        return name, {"mode": "chat", "litellm_provider": "ollama", **_FREE}, provider
    unknown = _prices.remembered("unknown")
    if len(unknown) >= _MAX_UNKNOWN:
        unknown.clear()
    unknown[given] = provider
    raise _not_mapped(given[0], provider)


def _not_mapped(model: str, provider: str | None) -> Exception:
    from ritellm.compat._exceptions import ModelNotMappedError

    made: Exception = ModelNotMappedError(_UNKNOWN.format(model=model, provider=provider))
    return made


def _vertex_name(model: str) -> str:
    entries = _prices.current()
    if entries.get(f"vertex_ai/meta/{model}", {}).get("litellm_provider") == "vertex_ai-llama_models":
        return f"meta/{model}"
    latest = entries.get(f"vertex_ai/{model}@latest", {}).get("litellm_provider")
    return f"{model}@latest" if latest in ("vertex_ai-mistral_models", "vertex_ai-ai21_models") else model


def candidates_of(model: str, provider: str | None) -> tuple[str | None, list[str]]:
    """Returns the provider and the names under which the map may have a model, the most special one first."""
    split, combined, again = model, model, model
    if provider is None:
        provider, split = declared(model) or _names.provider_and_model(model)
        stripped = stripped_combined = _stripped(model, provider)
    elif model.startswith(f"{provider}/"):
        split = model.split("/", 1)[1]
        stripped = _stripped(split, provider)
        stripped_combined, again = f"{provider}/{stripped}", f"{provider}/{model}"
    else:
        stripped = _stripped(model, provider)
        combined, stripped_combined = f"{provider}/{model}", f"{provider}/{stripped}"
        again = combined
    without_region = combined
    if provider in ("bedrock", "bedrock_converse"):
        plain = _bedrock_plain(split)
        regional = re.sub(_REGION_PATH, "", plain)
        split = regional.rsplit("/", 1)[-1] if regional.startswith("arn:") else plain
    elif provider == "bedrock_mantle":
        split = re.sub(_REGION_PATH, "", split)
        without_region = f"bedrock_mantle/{split}"
        stripped_combined = f"bedrock_mantle/{_stripped(split, provider)}"
    elif provider == "fireworks_ai":
        again = f"fireworks_ai/{_fireworks_name(split)}"
    return provider, [combined, model, without_region, split, stripped_combined, stripped, again]


def declared(model: str) -> tuple[str, str] | None:
    """Returns provider and name of a model whose provider LiteLLM logs in to before it says more."""
    provider, slash, name = model.partition("/")
    return (provider, name) if slash and provider in ("github_copilot", "chatgpt") else None


def _fireworks_name(model: str) -> str:
    if model.startswith(("accounts/", "FW-")) or "#" in model:
        return model
    if model.startswith(("routers/", "models/")):
        return f"accounts/fireworks/{model}"
    return f"accounts/fireworks/{'routers' if model.endswith('-fast') else 'models'}/{model}"


_REGION_PATH = re.compile(r"^(?:[a-z]{2}(?:-[a-z]+)+-\d)/")
_BEDROCK_ROUTES = ("bedrock/", "chat_completions/", "converse/", "invoke/", "openai/", "mantle/", "nova-2/", "nova/")


def _bedrock_plain(model: str) -> str:
    for route in _BEDROCK_ROUTES:
        model = model.removeprefix(route)
    return model


def _stripped(model: str, provider: str | None) -> str:
    """Returns a name without its version, its date, or what a fine-tuned model's has after the model's."""
    if provider in ("bedrock", "bedrock_converse"):
        plain = re.sub(r"^(?:bedrock/converse/|bedrock/|converse/)", "", model)
        if plain.startswith(("nova-2/", "nova/")):
            return "amazon.nova-2-custom" if plain.startswith("nova-2/") else "amazon.nova-custom"
        model = _bedrock_plain(model)
        if "arn" in model.lower():
            model = model.rsplit("/", 1)[-1]
        model = re.sub(r"\[\w+\]$", "", re.sub(r"(:\d+):\d+k$", r"\1", model))
        if re.match(r"(?:global|us|eu|apac|jp|au|us-gov)\.", model):
            return model.split(".", 1)[1]
        return _REGION_PATH.sub("", model)
    if provider in ("vertex_ai", "gemini", "databricks"):
        return re.sub(r"-\d+$", "", model)
    if "ft:" in model:
        return re.sub(r"(:[^:]*){3}$", "", model)
    return re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model)


def _is_of(entry: Mapping[str, Any], provider: str | None) -> bool:
    """True if an entry is one of this provider; names of others may be the same."""
    owner = entry.get("litellm_provider")
    if not provider or owner is None or owner == provider:
        return True
    if provider in ("litellm_proxy", "github", "nadir"):
        return True
    if provider in ("vertex_ai", "fireworks_ai"):
        return str(owner).startswith(provider)
    if provider.startswith("bedrock"):
        return str(owner).startswith("bedrock")
    return provider == "azure_ai" and owner in ("azure", "openai")
