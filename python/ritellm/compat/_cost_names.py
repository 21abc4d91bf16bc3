"""Which entry of the map, and which service tier, a call is paid by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ritellm.compat import _models, _names, _prices
from ritellm.compat._usages import member

__all__ = [
    "base_provider",
    "billed_tier",
    "has_prices",
    "inferred",
    "is_unpriced",
    "normal_tier",
    "selected",
    "served_tier",
]

_BASE_TIERS = ("default", "standard")
_TIERS = ("balanced", "fast", "flex", "priority", "ultrafast")
#: Gemini's ``trafficType``.
_TRAFFIC = {"ON_DEMAND_PRIORITY": "priority", "FLEX": "flex", "BATCH": "flex", "ON_DEMAND_FLEX": "flex"}


def normal_tier(tier: Any) -> str | None:
    return tier if isinstance(tier, str) and tier.lower() != "auto" else None


def billed_tier(requested: Any, served: Any) -> str | None:
    tier = served.lower() if isinstance(served, str) else None
    if tier in _TIERS:
        return tier
    return None if tier in _BASE_TIERS else normal_tier(requested)


def served_tier(response: Any, usage: Any) -> str | None:
    for source in (response, usage):
        tier = member(source, "service_tier") if source is not None else None
        if isinstance(tier, str):
            return tier
    hidden = getattr(response, "_hidden_params", None)
    traffic = member(member(hidden, "provider_specific_fields"), "traffic_type")
    return _TRAFFIC.get(str(traffic).upper(), "default") if traffic else None


def _hidden(response: Any, name: str) -> Any:
    hidden = getattr(response, "_hidden_params", None)
    value = hidden.get(name) if isinstance(hidden, Mapping) else member(hidden, name)
    return value if isinstance(value, str) and value else None


def inferred(model: str | None, provider: str | None) -> str | None:
    return provider if provider is not None or model is None else _names.provider_and_model(model)[0]


def has_prices(entry: Mapping[str, Any] | None) -> bool:
    plain = ("cost_per_second", "input_cost_per_second", "output_cost_per_second", "input_cost_per_query")
    return entry is not None and any(
        value is not None
        and (name in plain or name in ("tiered_pricing", "input_cost_per_text_message") or _is_token_price(name))
        for name, value in entry.items()
    )


def _is_token_price(name: str) -> bool:
    return "cost_per" in name and "token" in name


def _priced(model: str, provider: str | None) -> bool:
    return has_prices(_models.entry_or_none(model, provider))


def base_provider(base_model: str | None, model: str | None, provider: str | None) -> str | None:
    """Returns the provider under which a base model has prices, if that is not the deployment's own."""
    if base_model is None:
        return None
    own = inferred(model, provider)
    if own is None or _priced(base_model, own) or not _priced(base_model, None):
        return None
    owner: str | None = _models.prices_of(base_model, None).get("litellm_provider")
    return owner


def is_unpriced(model: Any, provider: str | None) -> bool:
    if model is None:
        return False
    members = _models.by_rules(model, provider)
    return members is not None and not has_prices(members)


def selected(
    model: str | None,
    response: Any,
    base_model: str | None,
    custom_pricing: bool | None,
    provider: str | None,
    router_model_id: str | None,
    region_name: str | None,
) -> str | None:
    provider = inferred(model, provider)
    answered = member(response, "model") if response is not None else None
    served = _hidden(response, "provider_response_model")
    requested = model or _hidden(response, "litellm_model_name")
    explicit = custom_pricing is True or base_model is not None
    region = None
    if not explicit and (served is not None or answered is not None):
        region = _hidden(response, "region_name") or region_name
    if custom_pricing is True:
        entry = _prices.current().get(router_model_id) if router_model_id is not None else None
        return _full(router_model_id if entry and has_prices(entry) else model, provider, region)
    if base_model is not None:
        return _full(base_model, provider, region)
    for name in (served, answered):
        if name is not None:
            return _served_or_requested(name, requested, provider, region)
    return _full(_hidden(response, "model") or model, provider, region)


def _served_or_requested(served: str, requested: str | None, provider: str | None, region: str | None) -> str | None:
    """Returns the name of the model that answered, unless only the one that was asked for has prices."""
    full = _full(served, provider, region)
    if requested is None or full is None:
        return full
    asked = _full(requested, provider, None)
    if asked is None or full in (asked, asked.partition("/")[2]):
        return full
    of = inferred(asked, provider)
    return full if _priced(full, of) or not _priced(asked, of) else asked


def _full(model: str | None, provider: str | None, region: str | None) -> str | None:
    """Returns a name with its provider, and its region, as the map may have it."""
    if model is None or provider is None or model.split("/")[0] in _names.enum_names():
        return model
    full = f"{provider}/{model}" if region is None else f"{provider}/{region}/{model}"
    entries = _prices.current()
    parts = full.split("/")
    if "/".join(parts[1:]) in entries:
        return full
    ahead = 2 if region is not None and len(parts) > 2 and parts[1] == region else 1
    tail = parts[ahead:]
    most = next((at for at, part in enumerate(tail) if part in _names.enum_names()), len(tail))
    for start in range(min(most, len(tail) - 1) + 1):
        name = "/".join([*parts[:ahead], *tail[start:]])
        if name in entries:
            return name
    return full
