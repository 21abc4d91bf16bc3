"""``completion_cost`` and what belongs to it: what a call cost, from LiteLLM's own map of prices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ritellm.compat import _cost_names, _finder, _names, _prices
from ritellm.compat._provider_costs import cost_per_token
from ritellm.compat._provider_rules import is_router, reported, router_fee
from ritellm.compat._tool_costs import cost_of_tools
from ritellm.compat._usages import member, usage_of

__all__ = ["completion_cost", "cost_per_token", "get_response_cost_from_hidden_params", "response_cost_calculator"]

#: US dollars for each second of a call to a model of Replicate's that the map does not have.
_REPLICATE = 0.0014


def completion_cost(
    completion_response: Any = None,
    model: str | None = None,
    prompt: str = "",
    messages: Any = (),
    completion: str = "",
    total_time: float | None = 0.0,
    call_type: str | None = None,
    custom_llm_provider: str | None = None,
    region_name: str | None = None,
    size: str | None = None,
    quality: str | None = None,
    n: int | None = None,
    custom_cost_per_token: Any = None,
    custom_cost_per_second: float | None = None,
    requested_model_info_override: Any = None,
    optional_params: Mapping[str, Any] | None = None,
    custom_pricing: bool | None = None,
    base_model: str | None = None,
    standard_built_in_tools_params: Mapping[str, Any] | None = None,
    litellm_model_name: str | None = None,
    router_model_id: str | None = None,
    litellm_logging_obj: Any = None,
    pricing_provider: str | None = None,
    service_tier: str | None = None,
    data_residency: str | None = None,
    vertex_location: str | None = None,
) -> float:
    """Returns what a call cost in US dollars, to the last digit as LiteLLM does with the same map of prices.

    Args:
        completion_response: the answer, an object or a dict; without one, the texts are counted.
        model: the name of the model, if it is another than that of the answer.
        prompt: the prompt, if there is no answer.
        messages: the messages, if there is no answer.
        completion: the text of the answer, if there is no answer.
        total_time: duration of the call in milliseconds, for models that are paid by time.
        call_type: the kind of call; by default that of the answer.
        custom_llm_provider: the provider, if neither name nor answer say it.
        region_name: region of Bedrock.
        size: size of the pictures, of a call that made some.
        quality: quality of the pictures.
        n: number of pictures.
        custom_cost_per_token: a dict of ``input_cost_per_token`` and ``output_cost_per_token`` in place of the map's prices.
        custom_cost_per_second: US dollars per second in place of the map's prices.
        requested_model_info_override: an entry in place of the map's.
        optional_params: parameters of the call, of which ``service_tier`` counts.
        custom_pricing: ``model`` has prices of its own.
        base_model: the model whose prices count.
        standard_built_in_tools_params: parameters of the provider's own tools.
        litellm_model_name: has no effect.
        router_model_id: the name under which a deployment's prices are registered.
        litellm_logging_obj: has no effect.
        pricing_provider: the provider whose prices count.
        service_tier: ``"flex"``, ``"priority"`` …; by default, the one that the answer names.
        data_residency: where OpenAI keeps the data: ``"eu"``, ``"us"`` or ``"fedramp"``.
        vertex_location: the region of Vertex AI.

    Raises:
        Exception: the map has none of the names.
    """
    call_type = call_type or _call_type(completion_response) or "completion"
    provider = pricing_provider or custom_llm_provider
    usage = usage_of(completion_response)
    requested = None if optional_params is None else optional_params.get("service_tier")
    tier = _cost_names.normal_tier(service_tier) or _cost_names.billed_tier(
        requested, _cost_names.served_tier(completion_response, usage)
    )
    explicit = custom_pricing is True or base_model is not None
    own_prices = explicit or custom_cost_per_token is not None or custom_cost_per_second is not None
    base_provider = _cost_names.base_provider(base_model, model, provider) if custom_pricing is not True else None
    selected = _cost_names.selected(
        model, completion_response, base_model, custom_pricing, base_provider or provider, router_model_id, region_name
    )
    answered = member(completion_response, "model") if completion_response is not None else None
    candidates = [(selected, base_provider or provider), (answered, provider)]
    if model is not None:
        candidates.append((model, provider))
    if custom_pricing is not True:
        # Names that only a rule without prices matches come last.
        candidates.sort(key=lambda candidate: _cost_names.is_unpriced(*candidate))
    call = _Call(
        completion_response, usage, call_type, tier, own_prices, explicit, model, prompt, messages, completion,
        total_time, region_name, custom_cost_per_token, custom_cost_per_second, requested_model_info_override,
        standard_built_in_tools_params, data_residency, vertex_location, pricing_provider, n, size, quality,
    )  # fmt: skip
    inferred = provider
    failure: Exception | None = None
    try:
        for name, of in candidates:
            # As in LiteLLM, the provider that one name means is that of the next names, too.
            inferred = inferred or _cost_names.inferred(name, None)
            try:
                return _cost(call, name, of if of != provider else None, provider or (inferred if failure else None))
            except Exception as error:
                failure = error
        for name, _ in candidates:
            try:
                return _cost(call, name, None, provider)
            except Exception:
                continue
        assert failure is not None
        raise failure
    finally:
        # An error holds this frame, which holds the answer: both are freed at once where nothing holds the error.
        failure = None


def response_cost_calculator(
    response_object: Any,
    model: str,
    custom_llm_provider: str | None,
    call_type: str,
    optional_params: Mapping[str, Any],
    cache_hit: bool | None = None,
    **options: Any,
) -> float:
    """Returns what a call cost in US dollars: 0 if its answer was kept, else what the answer says or `completion_cost`.

    Args:
        response_object: the answer.
        model: the name of the model.
        custom_llm_provider: the provider.
        call_type: the kind of call.
        optional_params: parameters of the call.
        cache_hit: the answer was kept.
        **options: further arguments of `completion_cost`.
    """
    if cache_hit is True:
        return 0.0
    hidden = getattr(response_object, "_hidden_params", None)
    told = None if hidden is None else get_response_cost_from_hidden_params(hidden)
    if told is not None and not options.get("custom_pricing"):
        return told
    return completion_cost(
        response_object,
        model=model,
        custom_llm_provider=custom_llm_provider,
        call_type=call_type,
        optional_params=optional_params,
        **options,
    )


def get_response_cost_from_hidden_params(hidden_params: Any) -> float | None:
    """Returns the cost that a proxy of LiteLLM's has told in a header field, or ``None``.

    Args:
        hidden_params: the ``_hidden_params`` of an answer.
    """
    dump = getattr(hidden_params, "model_dump", None)
    headers = (dump() if dump else hidden_params).get("additional_headers")
    value = headers.get("llm_provider-x-litellm-response-cost") if isinstance(headers, Mapping) else None
    try:
        cost = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return cost if math.isfinite(cost) and cost >= 0 else None


def _call_type(response: Any) -> str | None:
    kinds = {
        "ModelResponse": "completion",
        "ModelResponseStream": "completion",
        "EmbeddingResponse": "embedding",
        "TranscriptionResponse": "transcription",
        "HttpxBinaryResponseContent": "speech",
        "RerankResponse": "rerank",
        "ImageResponse": "image_generation",
        "TextCompletionResponse": "text_completion",
    }
    return next((kinds[kind.__name__] for kind in type(response).__mro__ if kind.__name__ in kinds), None)


class _Call(NamedTuple):
    """What is known of a call whatever the name of its model."""

    response: Any
    usage: Any
    kind: str
    tier: str | None
    own_prices: bool
    explicit: bool
    requested_model: str | None
    prompt: str
    messages: Any
    completion: str
    total_time: float | None
    region_name: str | None
    cost_per_token: Any
    cost_per_second: float | None
    override: Any
    tools: Any
    data_residency: str | None
    vertex_location: str | None
    pricing_provider: str | None
    n: int | None
    size: str | None
    quality: str | None


def _cost(call: _Call, model: Any, pricing_provider: str | None, provider: str | None) -> float:
    """Returns what a call cost with the prices of one name.

    Args:
        call: the call.
        model: the name.
        pricing_provider: the provider whose prices these are, if it is not that of the call.
        provider: the provider of the call, if it is known.
    """
    response, usage = call.response, call.usage
    hidden = getattr(response, "_hidden_params", None)
    region_name = call.region_name
    _needed(model, response)
    if response is not None:
        prompt_tokens, completion_tokens = (_beside(usage, name) for name in ("prompt_tokens", "completion_tokens"))
        if hidden is not None:
            provider = call.pricing_provider or member(hidden, "custom_llm_provider") or provider
            region_name = member(hidden, "region_name") or region_name
    else:
        prompt_tokens, completion_tokens = _counted(call, model)
    if provider is None:
        provider, model = _names.provider_and_model(model)
    if call.kind in ("image_generation", "aimage_generation", "image_edit", "aimage_edit"):
        from ritellm.compat._media_costs import image_cost

        return image_cost(model, provider, response, call.quality, call.size, call.n)
    more = _by_kind(call, hidden)
    milliseconds = getattr(response, "_response_ms", None)
    milliseconds = float(milliseconds) if isinstance(milliseconds, int | float) else call.total_time or 0.0
    if not call.own_prices and provider not in ("opencode_go", "perplexity", "xai"):
        told = member(hidden, "upstream_usage_cost")
        told = reported(member(response, "usage")) if told is None else told
        if told is not None:
            return _adjusted(float(told), provider, model)
    discounted = model
    if ("togethercomputer" in model or "together_ai" in model or provider == "together_ai") and not _together(model):
        model = _together_size(model, call.kind)
    elif "replicate" in model and model not in _prices.current():
        return _REPLICATE * milliseconds / 1000
    if provider == "vertex_ai":
        if len(call.messages) > 0:
            more["prompt_characters"] = _characters("".join(_texts(call.messages)))
        if getattr(response, "choices", None) is not None:
            more["completion_characters"] = _characters("".join(_answers(response)))
    costs = cost_per_token(
        model=model,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        custom_llm_provider=pricing_provider or provider,
        response_time_ms=milliseconds,
        region_name=None if call.explicit else region_name,
        custom_cost_per_second=call.cost_per_second,
        custom_cost_per_token=call.cost_per_token,
        requested_model_info_override=call.override,
        cache_creation_input_tokens=_beside(usage, "cache_creation_input_tokens"),
        cache_read_input_tokens=_cached(usage),
        usage_object=usage,
        call_type=call.kind,
        service_tier=call.tier,
        data_residency=call.data_residency,
        vertex_location=call.vertex_location,
        **more,
    )
    cost = costs[0] + costs[1]
    cost += cost_of_tools(model, response, usage, provider, call.tools)
    if provider in ("azure", "azure_ai") and not is_router(model):
        router = str(member(hidden, "model") or member(hidden, "litellm_model_name") or model)
        cost += router_fee(router, prompt_tokens) if is_router(router) else 0.0
    return _adjusted(cost, provider, discounted)


def _counted(call: _Call, model: str) -> tuple[int, int]:
    from ritellm.compat._tokens import token_counter

    prompt = 0
    if len(call.messages) > 0:
        prompt = token_counter(model=model, messages=call.messages)
    elif len(call.prompt) > 0:
        prompt = token_counter(model=model, text=call.prompt)
    return prompt, token_counter(model=model, text=call.completion)


def _by_kind(call: _Call, hidden: Any) -> dict[str, Any]:
    """Returns further arguments of `cost_per_token` that a kind of call has."""
    if call.kind in ("speech", "aspeech"):
        return {"prompt_characters": len(call.prompt)}
    if call.kind in ("transcription", "atranscription"):
        return {"audio_transcription_file_duration": _duration(call.response, hidden)}
    if call.kind in ("rerank", "arerank"):
        units = member(member(call.response, "meta"), "billed_units") or {}
        return {"rerank_billed_units": {name: member(units, name) for name in ("search_units", "total_tokens")}}
    return {}


def _needed(model: Any, response: Any) -> None:
    if model is None:
        raise ValueError(
            "Model is None and does not exist in passed completion_response. "
            f"Passed completion_response={response}, model={model}"
        )


def _beside(usage: Any, name: str) -> int:
    value = member(usage, name)
    return value if isinstance(value, int) else 0


def _cached(usage: Any) -> int:
    details = member(usage, "prompt_tokens_details")
    return _beside(details, "cached_tokens") if details else _beside(usage, "cache_read_input_tokens")


def _duration(response: Any, hidden: Any) -> float:
    value = member(hidden, "audio_transcription_duration")
    value = member(response, "duration") if value is None else value
    usage = member(response, "usage")
    if not value and member(usage, "type") == "duration":
        value = member(usage, "seconds")
    try:
        return max(float(value or 0.0), 0.0)
    except (TypeError, ValueError):
        return 0.0


def _together(model: str) -> bool:
    entry = _prices.current().get(f"together_ai/{model.removeprefix('together_ai/')}")
    return isinstance(entry, Mapping) and "input_cost_per_token" in entry


def _together_size(model: str, call_type: str) -> str:
    """Returns the name of the entry for all models of a size."""
    import re

    name = model.lower()
    if call_type in ("embedding", "aembedding"):
        steps, unit = ((150, "embedding-up-to-150m"), (350, "embedding-151m-to-350m")), "m"
    else:
        sizes = ("up-to-4b", "4.1b-8b", "8.1b-21b", "21.1b-41b", "41.1b-80b", "81.1b-110b")
        steps, unit = tuple(zip((4, 8, 21, 41, 80, 110), sizes, strict=True)), "b"  # type: ignore[assignment]
    size = re.search(rf"(\d+){unit}", name)
    return next((f"together-ai-{step}" for most, step in steps if size and int(size[1]) <= most), name)


def _texts(messages: Any) -> list[str]:
    found: list[str] = []
    for message in messages:
        content = member(message, "content")
        if isinstance(content, str):
            found.append(content)
        for part in content if isinstance(content, list) else ():
            found.append(member(part, "text") or "")
    return found


def _answers(response: Any) -> list[str]:
    texts = (member(member(choice, "message") or member(choice, "delta"), "content") for choice in response.choices)
    return [str(text) for text in texts if text is not None]


def _characters(text: str) -> int:
    return sum(not character.isspace() for character in text)


def _adjusted(cost: float, provider: str | None, model: Any) -> float:
    """Returns a cost with what ``litellm.cost_discount_config`` and ``litellm.cost_margin_config`` say of it."""
    settings = vars(_finder.module("litellm"))
    discounts = settings.get("cost_discount_config") or {}
    if discounts and provider:
        from fnmatch import fnmatchcase

        name = str(model).removeprefix(f"{provider}/")
        patterns = [
            key for key in discounts if key.startswith(f"{provider}/") and fnmatchcase(name, key.split("/", 1)[1])
        ]
        key = max(patterns, key=len, default=provider)
        if key in discounts:
            cost -= cost * discounts[key]
    margins = settings.get("cost_margin_config") or {}
    margin = margins.get(provider, margins.get("global"))
    if isinstance(margin, Mapping):
        added = 0.0
        if "percentage" in margin:
            added += cost * float(margin["percentage"])
        return cost + (added + float(margin.get("fixed_amount", 0.0)))
    return cost if margin is None else cost + cost * float(margin)
