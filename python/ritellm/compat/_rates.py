"""The rates of a call's tokens: what an entry of LiteLLM's map says for its length, service tier and time of day."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = [
    "Rates",
    "chosen_tier",
    "exceeds",
    "explicit_cache_rate",
    "now",
    "of_tier",
    "off_peak",
    "off_peak_rates",
    "price",
    "rates_of",
    "reasoning_rate",
    "step_rate",
    "threshold_of",
]

Info = Mapping[str, Any]

#: The prices of a service tier have its name at the end; those of ``fast`` are those of ``priority``.
_TIERS = {
    "balanced": "_balanced",
    "fast": "_priority",
    "flex": "_flex",
    "priority": "_priority",
    "ultrafast": "_ultrafast",
}
#: In the order in which they are looked for in the name of a price.
TIER_ENDS = ("_ultrafast", "_balanced", "_priority", "_auto", "_flex", "_fast")
_PREFIXES = (
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
)
_ABOVE = tuple(f"{prefix}_above_" for prefix in _PREFIXES)
#: Lifetime of what is written to a cache → its price; other lifetimes have the usual price.
_LIFETIMES = {
    "1hr": "cache_creation_input_token_cost_above_1hr",
    "12hr": "cache_creation_input_token_cost_above_12hr",
}


class Rates(NamedTuple):
    """US dollars per token."""

    input: float
    output: float
    cache_read: float
    cache_write: float
    #: Of what is written for a lifetime that has a price of its own.
    cache_writes: Mapping[str, float]


def now() -> datetime.datetime:
    """Returns the time at which a call is paid."""
    return datetime.datetime.now(datetime.timezone.utc)


def of_tier(name: str, tier: str | None) -> str:
    """Returns the name of a price in a service tier."""
    return name if tier is None else name + _TIERS.get(tier.lower(), "")


def price(info: Info, name: str, default: float | None = 0.0) -> float | None:
    """Returns a price; that of the usual tier if the tier has none."""
    value = info.get(name)
    if value is None:
        for end in TIER_ENDS:
            if end in name:
                value = info.get(name.replace(end, ""))
                break
    number = number_of(value)
    return default if number is None else number


def number_of(value: Any) -> float | None:
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None


def chosen_tier(info: Info, tokens: int) -> Mapping[str, Any] | None:
    """Returns the step of ``tiered_pricing`` that all tokens of a call with so many input tokens are paid by."""
    steps = info.get("tiered_pricing")
    if not isinstance(steps, list) or not steps or tokens <= 0:
        return None
    ranges = []
    for step in steps:
        try:
            start, end = step["range"]
            ranges.append((float(start), float(end), step))
        except (KeyError, TypeError, ValueError):
            continue
    ranges.sort(key=lambda found: found[0])
    for start, end, step in ranges:
        if start < tokens <= end:
            return step  # type: ignore[no-any-return]
    return ranges[-1][2] if ranges else None


def step_rate(step: Mapping[str, Any], name: str, otherwise: str | None = None) -> float:
    """Returns a rate of a step of ``tiered_pricing``."""
    value = step.get(name)
    if value is None and otherwise is not None:
        value = step.get(otherwise, 0)
    return number_of(value) or 0.0


def _priced_step(info: Info, usage: Any) -> Mapping[str, Any] | None:
    step = chosen_tier(info, usage.prompt_tokens)
    return step if step is not None and "input_cost_per_token" in step else None


def exceeds(tokens: int, threshold: float, inclusive: bool) -> bool:
    return tokens > threshold or (inclusive and tokens == threshold)


def threshold_of(name: str) -> tuple[str, float]:
    text = name.rsplit("_above_", 1)[1].split("_tokens")[0]
    return text, float(text.replace("k", "")) * (1000 if "k" in text else 1)


def rates_of(info: Info, usage: Any, tier: str | None, now: datetime.datetime, inclusive: bool) -> Rates:
    """Returns the rates of a call.

    Args:
        info: what the map says of the model.
        usage: the usage of the call, of which the number of input tokens counts.
        tier: the service tier.
        now: when the call is paid.
        inclusive: the prices above a number of tokens hold for that number, too.
    """
    step = _priced_step(info, usage)
    if step is not None:
        given = Rates(
            step_rate(step, "input_cost_per_token"),
            step_rate(step, "output_cost_per_token")
            if "output_cost_per_token" in step
            else price(info, "output_cost_per_token") or 0.0,
            step_rate(step, "cache_read_input_token_cost", "input_cost_per_token"),
            step_rate(step, "cache_creation_input_token_cost", "input_cost_per_token"),
            {},
        )
        rates = off_peak_rates(info, given, now)
        writes = {
            lifetime: rates.cache_write if step.get(name) is None else step_rate(step, name)
            for lifetime, name in _LIFETIMES.items()
        }
        return rates._replace(cache_writes=writes)

    found = [price(info, of_tier(name, tier), None) for name in _PREFIXES]
    usual: Any = [0.0 if found[0] is None else found[0], 0.0 if found[1] is None else found[1], found[2], found[3]]
    if usual[1] == 0.0:
        # Models that make pictures have no price for text.
        usual[1] = price(info, "output_cost_per_image_token", usual[1])
    written = {lifetime: of_tier(name, tier) for lifetime, name in _LIFETIMES.items()}
    end = of_tier("", tier)
    names = [
        name
        for name in info
        if name.startswith(_ABOVE)
        and "_tokens" in name
        and (not name.endswith((*TIER_ENDS, "_batches")) or (end != "" and name.endswith(end)))
        and info[name] is not None
    ]
    above = []
    for name in names:
        try:
            above.append(threshold_of(name))
        except (IndexError, ValueError):
            continue
    for text, threshold in sorted(above, key=lambda found: found[1]):
        if not exceeds(usage.prompt_tokens, threshold, inclusive):
            continue
        for at, prefix in enumerate(_PREFIXES):
            usual[at] = price(info, of_tier(f"{prefix}_above_{text}_tokens", tier), usual[at])
        for lifetime, usual_name in _LIFETIMES.items():
            name = of_tier(f"{usual_name}_above_{text}_tokens", tier)
            if info.get(name) is not None:
                written[lifetime] = name
    otherwise = off_peak(info, "input_cost_per_token", now, usual[0])
    rates = Rates(
        usual[0],
        usual[1],
        otherwise if usual[2] is None else usual[2],
        otherwise if usual[3] is None else usual[3],
        {},
    )
    rates = off_peak_rates(info, rates, now)
    writes = {}
    for lifetime, name in written.items():
        rate = price(info, name, None)
        writes[lifetime] = rates.cache_write if rate is None else rate
    return rates._replace(cache_writes=writes)


# Hours in which some models cost less.


def _open_block(info: Info, now: datetime.datetime) -> Mapping[str, Any] | None:
    block = info.get("off_peak_pricing")
    if not isinstance(block, Mapping):
        return None
    if _in_windows(block.get("hours_utc"), now):
        return block
    windows = block.get("windows")
    for rule in windows if isinstance(windows, list | tuple) else ():
        if not isinstance(rule, Mapping) or not _on_day(rule.get("weekdays"), block.get("weekday_timezone"), now):
            continue
        if _in_windows(rule.get("hours_utc"), now):
            return block
    return None


def _in_windows(windows: Any, now: datetime.datetime) -> bool:
    for window in (windows,) if isinstance(windows, str) else windows or ():
        times = re.fullmatch(r"\s*(\d{1,2}):(\d{1,2})\s*-\s*(\d{1,2}):(\d{1,2})\s*", window)
        if times is None:
            continue
        start, end = (datetime.time(int(times[at]), int(times[at + 1])) for at in (1, 3))
        time = now.time()
        if (start <= time < end) if start < end else (time >= start or time < end):
            return True
    return False


_DAYS = {name: number for number, name in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), 1)}


def _on_day(days: Any, zone: Any, now: datetime.datetime) -> bool:
    if days is None:
        return True
    if isinstance(days, str) or not isinstance(days, list | tuple):
        return False
    numbers = {_DAYS.get(day.strip().lower()[:3]) if isinstance(day, str) else day for day in days}
    if isinstance(zone, str) and zone.strip():
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        with contextlib.suppress(ValueError, ZoneInfoNotFoundError):
            now = now.astimezone(ZoneInfo(zone.strip()))
    return now.isoweekday() in numbers


def off_peak(info: Info, name: str, now: datetime.datetime, usual: Any) -> Any:
    block = _open_block(info, now)
    rate = None if block is None else number_of(block.get(name))
    return usual if rate is None else rate


def off_peak_rates(info: Info, rates: Rates, now: datetime.datetime) -> Rates:
    """Returns the rates that hold at a time of day, which take the place of all others."""
    if info.get("off_peak_pricing") is None:
        return rates
    return rates._replace(
        input=off_peak(info, "input_cost_per_token", now, rates.input),
        output=off_peak(info, "output_cost_per_token", now, rates.output),
        cache_read=off_peak(info, "cache_read_input_token_cost", now, rates.cache_read),
        cache_write=off_peak(info, "cache_creation_input_token_cost", now, rates.cache_write),
    )


def reasoning_rate(info: Info, usage: Any, tier: str | None, output: float, now: datetime.datetime) -> float:
    """Returns the rate of reasoning tokens, given that of other output tokens."""
    rate = off_peak(info, "output_cost_per_reasoning_token", now, None)
    if rate is not None:
        return float(rate)
    step = _priced_step(info, usage)
    if step is not None and ("output_cost_per_reasoning_token" in step or "output_cost_per_token" in step):
        return step_rate(step, "output_cost_per_reasoning_token", "output_cost_per_token")
    name = of_tier("output_cost_per_reasoning_token", tier)
    if info.get(name) is not None and (rate := price(info, name, None)) is not None:
        return float(rate)
    output_name = of_tier("output_cost_per_token", tier)
    if output_name != "output_cost_per_token" and info.get(output_name) is not None:
        return output
    rate = price(info, "output_cost_per_reasoning_token", None)
    return output if rate is None else rate


def explicit_cache_rate(info: Info, usage: Any, tier: str | None, now: datetime.datetime) -> float | None:
    """Returns the rate of tokens that were cached because the caller said so, where that has its own."""
    name = "explicit_cache_read_input_token_cost"
    if all(info.get(known) is None for known in (of_tier(name, tier), name, "tiered_pricing", "off_peak_pricing")):
        return None
    details = usage.prompt_tokens_details
    if not getattr(details, "cached_tokens", None) or getattr(details, "cache_type", None) != "ephemeral":
        return None
    step, block = _priced_step(info, usage), _open_block(info, now)
    own = price(info, of_tier(name, tier), None)
    explicit = None if block is None else number_of(block.get(name))
    if own is None and not (step is not None and name in step) and explicit is None:
        return None
    if step is not None:
        rate = (
            step_rate(step, name)
            if name in step
            else step_rate(step, "cache_read_input_token_cost", "input_cost_per_token")
        )
    elif own is not None:
        rate = own
    else:
        usual = price(info, "input_cost_per_token") or 0.0
        rate = price(info, of_tier("cache_read_input_token_cost", tier), usual) or 0.0
    if explicit is not None:
        return explicit
    return float(off_peak(info, "cache_read_input_token_cost", now, rate))
