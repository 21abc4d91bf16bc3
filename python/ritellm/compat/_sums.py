"""What the tokens of a call cost: the sum over the kinds of its usage.

The sums are made in the order in which LiteLLM makes them, so that they agree to the last digit.
"""

from __future__ import annotations

import datetime
from typing import Any

from ritellm.compat._parts import billed_prompt, parts_of_completion
from ritellm.compat._rates import (
    TIER_ENDS,
    Info,
    Rates,
    exceeds,
    explicit_cache_rate,
    now,
    number_of,
    of_tier,
    price,
    rates_of,
    reasoning_rate,
    threshold_of,
)

__all__ = ["cost_of_tokens", "location_factor"]


def cost_of_tokens(
    info: Info,
    usage: Any,
    provider: str | None,
    tier: str | None = None,
    residency: str | None = None,
    location: str | None = None,
    at: datetime.datetime | None = None,
) -> tuple[float, float]:
    """Returns what the prompt and the answer of a call cost in US dollars.

    Args:
        info: what the map says of the model.
        usage: the usage of the call, as LiteLLM's ``Usage``.
        provider: the provider, of which some count thresholds in another way.
        tier: the service tier.
        residency: where OpenAI keeps the data: ``"eu"``, ``"us"`` or ``"fedramp"``.
        location: the region of Vertex AI.
        at: when the call is paid; now by default.
    """
    moment = at or now()
    inclusive = provider == "xai"
    if provider == "fireworks_ai":
        info = _with_cached_at_half(info)
    rates = rates_of(info, usage, tier, moment, inclusive)
    explicit = explicit_cache_rate(info, usage, tier, moment)
    if explicit is not None:
        rates = rates._replace(cache_read=explicit)
    prompt = _prompt_cost(info, billed_prompt(usage), rates, tier, usage.prompt_tokens, inclusive)
    completion = _completion_cost(info, usage, rates, tier, moment)
    for factor in (_residency_factor(info, residency), location_factor(info, location)):
        if factor != 1.0:
            prompt *= factor
            completion *= factor
    return prompt, completion


def _with_cached_at_half(info: Info) -> Info:
    rate = number_of(info.get("input_cost_per_token"))
    name = "cache_read_input_token_cost"
    if info.get(name) is not None or rate is None:
        return info
    block = info.get("off_peak_pricing")
    if block is None or name in block:
        return {**info, name: rate * 0.5}
    off_peak = number_of(block.get("input_cost_per_token"))
    return {
        **info,
        name: rate * 0.5,
        "off_peak_pricing": {**block, name: (rate if off_peak is None else off_peak) * 0.5},
    }


def _prompt_cost(info: Info, parts: Any, rates: Rates, tier: str | None, tokens: int, inclusive: bool) -> float:
    by_character = parts.characters > 0 and info.get("input_cost_per_character") is not None
    cost = 0.0 if by_character else float(parts.text) * rates.input
    unknown = max(parts.cached - (parts.cached_text + parts.cached_audio + parts.cached_image), 0)
    cached = float(parts.cached_text + unknown) * rates.cache_read
    for number, name in (
        (parts.cached_audio, "cache_read_input_audio_token_cost"),
        (parts.cached_image, "cache_read_input_image_token_cost"),
    ):
        if number:
            cached += float(number) * float(price(info, of_tier(name, tier), rates.cache_read) or 0.0)
    cost += cached
    for number, name, seconds, by_second in (
        (parts.audio, "input_cost_per_audio_token", parts.audio_seconds, "input_cost_per_audio_per_second"),
        (parts.image, "input_cost_per_image_token", parts.images, "input_cost_per_image"),
        (parts.video, "input_cost_per_video_token", parts.video_seconds, "input_cost_per_video_per_second"),
    ):
        if number and not (seconds and info.get(by_second) is not None):
            above = tokens if name == "input_cost_per_audio_token" else 0
            cost += _of_kind(info, name, number, rates.input, tier, above, inclusive)
    if parts.written or parts.lifetimes is not None:
        cost += _written_cost(parts, rates)
    for number, name in (
        (parts.characters, "input_cost_per_character"),
        (parts.images, "input_cost_per_image"),
        (parts.video_seconds, "input_cost_per_video_per_second"),
        (parts.audio_seconds, "input_cost_per_audio_per_second"),
        (parts.queries, "input_cost_per_query"),
    ):
        if number:
            cost += _times(info, name, number)
    return cost


def _times(info: Info, name: str, number: float) -> float:
    rate = price(info, name)
    return float(number) * rate if rate is not None and number > 0 else 0.0


def _of_kind(info: Info, name: str, number: int, usual: float, tier: str | None, tokens: int, inclusive: bool) -> float:
    """Returns what tokens of audio, pictures or video cost; at the rate of text if they have none of their own."""
    name = of_tier(name, tier)
    end = next((end for end in (*TIER_ENDS, "_batches") if name.endswith(end)), "")
    base = name.removesuffix(end)
    above = [
        (found[1], known)
        for known in info
        if known.startswith(f"{base}_above_")
        and known.endswith(("_tokens", f"_tokens{end}"))
        and info[known] is not None
        and exceeds(tokens, (found := threshold_of(known))[1], inclusive)
    ]
    if above:
        name = max(above, key=lambda found: found[0])[1].removesuffix(end) + end
    if info.get(name) is None and info.get(name.removesuffix(of_tier("", tier))) is None:
        return float(number) * usual
    return _times(info, name, number)


def _written_cost(parts: Any, rates: Rates) -> float:
    if parts.lifetimes is None:
        return float(parts.written * rates.cache_write)
    lifetimes = {
        "5m": getattr(parts.lifetimes, "ephemeral_5m_input_tokens", None),
        "30m": getattr(parts.lifetimes, "ephemeral_30m_input_tokens", None),
        "1hr": getattr(parts.lifetimes, "ephemeral_1h_input_tokens", None),
        "12hr": getattr(parts.lifetimes, "ephemeral_12h_input_tokens", None),
    }
    others = max(parts.written - sum(number or 0 for number in lifetimes.values()), 0)
    written: float = others * rates.cache_write + sum(
        (number or 0) * rates.cache_writes.get(lifetime, rates.cache_write) for lifetime, number in lifetimes.items()
    )
    return written


def _completion_cost(info: Info, usage: Any, rates: Rates, tier: str | None, now: datetime.datetime) -> float:
    parts = {"audio": 0, "text": 0, "reasoning": 0, "image": 0, "video": 0}
    if usage.completion_tokens_details is not None:
        parts = parts_of_completion(usage)
    others = parts["reasoning"] + parts["audio"] + parts["image"] + parts["video"]
    if parts["text"] == 0:
        if not any(parts[kind] > 0 for kind in ("image", "audio", "reasoning", "video")):
            return float(usage.completion_tokens) * rates.output
        parts["text"] = max(0, usage.completion_tokens - others)
    cost = float(parts["text"]) * rates.output
    if parts["audio"] > 0:
        cost += float(parts["audio"]) * _or(price(info, "output_cost_per_audio_token", None), rates.output)
    if parts["reasoning"] > 0:
        cost += float(parts["reasoning"]) * reasoning_rate(info, usage, tier, rates.output, now)
    if parts["image"] > 0:
        rate = price(info, of_tier("output_cost_per_image_token", tier), None)
        cost += float(parts["image"]) * _or(rate, rates.output)
    if parts["video"] > 0:
        cost += float(parts["video"]) * _or(price(info, "output_cost_per_video_token", None), rates.output)
    return cost


def _or(rate: float | None, usual: float) -> float:
    return usual if rate is None else rate


def _factor(value: Any) -> float:
    try:
        return 1.0 if value is None else float(value)
    except (TypeError, ValueError):
        return 1.0


def _residency_factor(info: Info, residency: str | None) -> float:
    if residency is None:
        return 1.0
    where = residency.lower()
    if where == "fedramp":
        return _factor(info.get("fedramp_uplift_multiplier"))
    return _factor(info.get(f"regional_processing_uplift_multiplier_{where}")) if where in ("eu", "us") else 1.0


def location_factor(info: Info, location: str | None) -> float:
    if location is None or location.lower() == "global":
        return 1.0
    return _factor(info.get("regional_endpoint_uplift_multiplier"))
