"""``cost_per_token``: what the tokens of a call cost, by the rules of its provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ritellm.compat import _models, _names, _prices, _provider_rules, _rates
from ritellm.compat._sums import cost_of_tokens

__all__ = ["cost_per_token"]

_Info = Mapping[str, Any]


def cost_per_token(
    model: str = "",
    prompt_tokens: int = 0,
    completion_tokens: int = 0,
    response_time_ms: float | None = 0.0,
    custom_llm_provider: str | None = None,
    region_name: str | None = None,
    prompt_characters: int | None = None,
    completion_characters: int | None = None,
    cache_creation_input_tokens: int | None = 0,
    cache_read_input_tokens: int | None = 0,
    custom_cost_per_token: Any = None,
    custom_cost_per_second: float | None = None,
    requested_model_info_override: Any = None,
    number_of_queries: int | None = None,
    usage_object: Any = None,
    rerank_billed_units: Any = None,
    call_type: str = "completion",
    audio_transcription_file_duration: float = 0.0,
    service_tier: str | None = None,
    data_residency: str | None = None,
    vertex_location: str | None = None,
    response: Any = None,
    request_model: str | None = None,
    **others: Any,
) -> tuple[float, float]:
    """Returns what the prompt and the answer of a call cost in US dollars, from LiteLLM's own map of prices.

    Args:
        model: the name of the model, with or without its provider.
        prompt_tokens: number of input tokens, those read from and written to a cache included.
        completion_tokens: number of output tokens.
        response_time_ms: duration of the call in milliseconds, for models that are paid by time.
        custom_llm_provider: the provider, if the name does not say it.
        region_name: region of Bedrock, where prices may differ.
        prompt_characters: number of characters of the prompt, for models that are paid by character.
        completion_characters: number of characters of the answer, for models that are paid by character.
        cache_creation_input_tokens: of the input tokens, those that were written to a cache.
        cache_read_input_tokens: of the input tokens, those that were read from a cache.
        custom_cost_per_token: a dict of ``input_cost_per_token`` and ``output_cost_per_token`` in place of the map's prices.
        custom_cost_per_second: US dollars per second in place of the map's prices.
        requested_model_info_override: an entry in place of the map's.
        number_of_queries: has no effect: there are no calls of search providers.
        usage_object: the usage, in place of the numbers of tokens.
        rerank_billed_units: what a rerank call was billed for.
        call_type: ``"completion"``, ``"embedding"``, ``"transcription"``, ``"speech"``, ``"rerank"`` …
        audio_transcription_file_duration: seconds of a transcribed file.
        service_tier: ``"flex"``, ``"priority"`` …
        data_residency: where OpenAI keeps the data: ``"eu"``, ``"us"`` or ``"fedramp"``.
        vertex_location: the region of Vertex AI.
        response: has no effect.
        request_model: the name that was asked for, where a router of Azure's may have chosen another model.

    Raises:
        Exception: the map does not have the model.
    """
    if model is None:
        raise Exception("Invalid arg. Model cannot be none.")
    usage = usage_object
    if usage is None:
        usage = _usage(prompt_tokens, completion_tokens, cache_creation_input_tokens, cache_read_input_tokens)
    if custom_cost_per_token is not None or custom_cost_per_second is not None:
        if custom_cost_per_token is None:
            return 0, custom_cost_per_second * (response_time_ms or 0.0) / 1000  # type: ignore[operator]
        written, read = cache_creation_input_tokens, cache_read_input_tokens
        return _custom(custom_cost_per_token, prompt_tokens, completion_tokens, usage_object, read, written)
    options: dict[str, Any] = {"tier": service_tier, "residency": data_residency, "location": vertex_location}
    override = requested_model_info_override
    if override is not None:
        found = _by_the_second(override, response_time_ms, audio_transcription_file_duration)
        if found is not None:
            return found
        costs = cost_of_tokens(override, usage, custom_llm_provider or "", **options)
        return _anthropic(override, usage, costs) if custom_llm_provider == "anthropic" else costs

    entries = _prices.current()
    if custom_llm_provider is None:
        provider, full = _names.get_llm_provider(model=model)[1], model
    else:
        provider, full = custom_llm_provider, model
        while model.startswith(f"{provider}/{provider}/"):
            model = full = model.removeprefix(f"{provider}/")
        bare = model.removeprefix(f"{provider}/")
        full = f"{provider}/{bare}" if bare != model else f"{provider}/{model}"
        if region_name is not None and f"{provider}/{region_name}/{bare}" in entries:
            full = f"{provider}/{region_name}/{bare}"
    plain = model
    if "/" in model and not (full == f"{provider}/{model}" and full in entries):
        plain = model.split("/", 1)[1]
    model = next((name for name in (full, model, plain) if name in entries), model)

    if call_type in ("speech", "aspeech"):
        return _speech(plain, provider, prompt_characters, usage, options)
    if call_type in ("rerank", "arerank"):
        return _rerank(model, provider, rerank_billed_units)
    if call_type in ("transcription", "atranscription"):
        return _transcription(model, plain, provider, usage, audio_transcription_file_duration, options)
    return _chat(
        model, plain, provider, usage, options, response_time_ms, audio_transcription_file_duration, call_type,
        (prompt_characters, completion_characters), request_model,
    )  # fmt: skip


def _usage(prompt: Any, completion: Any, written: Any, read: Any) -> Any:
    from ritellm.compat._types import Usage

    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        cache_creation_input_tokens=written,
        cache_read_input_tokens=read,
    )


def _custom(
    prices: Any, prompt: float, completion: float, usage: Any, read: float | None, written: float | None
) -> tuple[float, float]:
    details = getattr(usage, "prompt_tokens_details", None)
    cached = float(getattr(details, "cached_tokens", 0) or 0)
    created = float(getattr(details, "cache_write_tokens", 0) or getattr(details, "cache_creation_tokens", 0) or 0)
    beside = False
    for name in ("cache_read_input_tokens", "cache_creation_input_tokens"):
        number = getattr(usage, name, None)
        if number is not None:
            # Of Anthropic's own numbers, the prompt has nothing that was cached.
            beside = True
            cached, created = (float(number), created) if "read" in name else (cached, float(number))
    if not cached and read:
        cached, beside = float(read), True
    if not created and written:
        created, beside = float(written), True
    tokens = float(prompt) + (cached + created if beside else 0)
    usual = prices["input_cost_per_token"]
    others = max(tokens - cached - created, 0)
    cost = (
        others * usual
        + cached * prices.get("cache_read_input_token_cost", usual)
        + created * prices.get("cache_creation_input_token_cost", usual)
    )
    return cost, completion * prices["output_cost_per_token"]


_BY_TIME = frozenset({None, "audio_transcription", "chat", "completion", "embedding", "responses"})


def _has_tokens(info: _Info) -> bool:
    return (
        (_rates.price(info, "input_cost_per_token") or 0.0) > 0
        or (_rates.price(info, "output_cost_per_token") or 0.0) > 0
        or info.get("tiered_pricing") is not None
    )


def _by_the_second(info: _Info, milliseconds: float | None, audio: float) -> tuple[float, float] | None:
    if _has_tokens(info) or info.get("mode") not in _BY_TIME:
        return None
    names = ("cost_per_second", "input_cost_per_second", "output_cost_per_second")
    rate = next((info[name] for name in names if info.get(name) is not None), None)
    if rate is None:
        return None
    by_audio = audio > 0 and info.get("mode") == "audio_transcription"
    return rate * (audio if by_audio else (milliseconds or 0.0) / 1000), 0.0


def _speech(model: str, provider: str, characters: Any, usage: Any, options: dict[str, Any]) -> tuple[float, float]:
    info = _models.prices_of(model, provider, zeros=False)
    rate = info.get("input_cost_per_character")
    if rate is not None:
        if characters is None:
            raise ValueError(f"prompt_characters must be provided for tts calls. model={model}")
        return characters * rate, 0
    if info.get("input_cost_per_token") is None:
        raise ValueError(f"Model {model} does not have 'input_cost_per_character' or 'input_cost_per_token'")
    return cost_of_tokens(_models.prices_of(model, provider), usage, provider, options["tier"], options["residency"])


def _rerank(model: str, provider: str, units: Any) -> tuple[float, float]:
    info = _provider_rules.info_or_none(model, provider)
    if info is None or units is None:
        return 0.0, 0.0
    by_token = provider in ("jina_ai", "voyage")
    rate = info.get("input_cost_per_token" if by_token else "input_cost_per_query")
    number = units.get("total_tokens" if by_token else "search_units")
    return (0.0, 0.0) if rate is None or number is None else (rate * number, 0.0)


def _transcription(
    model: str, plain: str, provider: str, usage: Any, seconds: float, options: dict[str, Any]
) -> tuple[float, float]:
    info = _models.prices_of(plain, provider)
    kinds = {kind: _first(info, f"put_cost_per_{kind}") for kind in ("token", "audio_token", "second")}
    by_time = kinds["second"] is not None and kinds["token"] is None and kinds["audio_token"] is None
    if not by_time and (usage.prompt_tokens > 0 or usage.completion_tokens > 0):
        tier, residency = options["tier"], options["residency"]
        return cost_of_tokens(_models.prices_of(model, provider), usage, provider, tier, residency)
    rate = info.get("output_cost_per_second")
    if rate is not None and rate > 0:
        return 0.0, rate * seconds
    rate = info.get("input_cost_per_second")
    return (0.0 if rate is None else rate * seconds), 0.0


def _first(info: _Info, name: str) -> Any:
    """Returns the price of input or output, the first that is above 0."""
    return next((info[f"{side}{name}"] for side in ("in", "out") if info.get(f"{side}{name}")), None)


def _chat(
    model: str,
    plain: str,
    provider: str,
    usage: Any,
    options: dict[str, Any],
    milliseconds: float | None,
    audio: float,
    call_type: str,
    characters: tuple[int | None, int | None],
    request_model: str | None,
) -> tuple[float, float]:
    info = _provider_rules.info_or_none(model, provider)
    if info is not None and (found := _by_the_second(info, milliseconds, audio)) is not None:
        return found
    tier = options["tier"]
    if provider == "vertex_ai":
        return _provider_rules.vertex(plain, usage, options, call_type, characters)
    if provider == "lemonade":
        return 0.0, 0.0
    if provider == "fireworks_ai":
        info = _provider_rules.fireworks(model)
        return cost_of_tokens(info, usage, info["litellm_provider"])
    if provider == "databricks":
        return cost_of_tokens(_models.prices_of(_provider_rules.databricks(model), provider), usage, provider, tier)
    if provider == "azure_ai":
        return _provider_rules.azure_ai(model, info, usage, tier, request_model)
    info = _models.prices_of(model, provider)
    if provider == "perplexity":
        return _provider_rules.perplexity(info, usage)
    if provider == "xai":
        return _provider_rules.xai(info, usage)
    if provider in ("dashscope", "qwencloud", "qwen_ai_platform"):
        return _provider_rules.dashscope(info, usage)
    if provider == "anthropic":
        return _anthropic(info, usage, cost_of_tokens(info, usage, provider, tier))
    if provider == "bedrock":
        prompt, completion = cost_of_tokens(info, usage, provider, tier)
        factor = _geography(info, usage)
        return prompt * factor, completion * factor
    if provider in ("azure", "gemini"):
        return cost_of_tokens(info, usage, provider, tier)
    if provider in ("deepseek", "tencent"):
        return cost_of_tokens(info, usage, provider)
    if provider == "openai" or _has_tokens(info):
        return cost_of_tokens(info, usage, provider, tier, options["residency"])
    return 0.0, 0.0


def _anthropic(info: _Info, usage: Any, costs: tuple[float, float]) -> tuple[float, float]:
    factors = info.get("provider_specific_entry") or {}
    prompt, completion = costs
    if getattr(usage, "speed", None) == "fast":
        prompt *= float(factors.get("fast", 1.0))
        completion *= float(factors.get("fast", 1.0))
    factor = _geography(info, usage)
    return prompt * factor, completion * factor


def _geography(info: _Info, usage: Any) -> float:
    where = getattr(usage, "inference_geo", None)
    if not isinstance(where, str) or where.lower() in ("global", "not_available"):
        return 1.0
    return float((info.get("provider_specific_entry") or {}).get(where.lower(), 1.0))
