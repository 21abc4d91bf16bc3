"""What tokens cost by the rules of single providers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ritellm.compat import _models, _rates
from ritellm.compat._parts import parts_of_completion, parts_of_prompt
from ritellm.compat._sums import cost_of_tokens, location_factor

__all__ = [
    "azure_ai",
    "dashscope",
    "databricks",
    "fireworks",
    "info_or_none",
    "is_router",
    "perplexity",
    "reported",
    "router_fee",
    "vertex",
    "xai",
]

_Info = Mapping[str, Any]


def info_or_none(model: str, provider: str | None) -> _Info | None:
    """Returns what the map says of the prices of a model, or ``None``."""
    try:
        return _models.prices_of(model, provider)
    except Exception:
        return None


_DATABRICKS = {
    "dbrx-instruct": "databricks-dbrx-instruct",
    "meta-llama-3.1-70b-instruct": "databricks-meta-llama-3-1-70b-instruct",
    "meta-llama-3.1-405b-instruct": "databricks-meta-llama-3-1-405b-instruct",
    "mixtral-8x7b-instruct-v0.1": "databricks-mixtral-8x7b-instruct",
    "bge-large-en": "databricks-bge-large-en",
    "gte-large-en": "databricks-gte-large-en",
    "llama-2-70b-chat": "databricks-llama-2-70b-chat",
}


def databricks(model: str) -> str:
    name = model.removeprefix("databricks/")
    return next((full for prefix, full in _DATABRICKS.items() if name.startswith(prefix)), name)


def fireworks(model: str) -> _Info:
    found = info_or_none(model, "fireworks_ai") or info_or_none(model.removeprefix("fireworks_ai/"), None)
    return found or _models.prices_of(_fireworks_size(model.lower()), "fireworks_ai")


def _fireworks_size(model: str) -> str:
    """Returns the name of the entry for all models of a size."""
    experts = re.search(r"(\d+)x(\d+)b", model)
    if experts and int(experts[1]) * int(experts[2]) <= 176:
        small = int(experts[1]) * int(experts[2]) <= 56
        return "fireworks-ai-moe-up-to-56b" if small else "fireworks-ai-56b-to-176b"
    size = re.search(r"(\d+(?:p\d+)?)b", model)
    if size is None:
        return "fireworks-ai-default"
    billions = float(size[1].replace("p", "."))
    if billions <= 4:
        return "fireworks-ai-up-to-4b"
    return "fireworks-ai-4.1b-to-16b" if billions <= 16 else "fireworks-ai-above-16b"


def is_router(model: str) -> bool:
    """True for names of Azure's router, which chooses a model and has a fee of its own."""
    return "model-router" in model.lower() or "model_router" in model.lower()


def router_fee(model: str, tokens: int) -> float:
    """Returns the fee of Azure's router for a number of input tokens."""
    if not is_router(model):
        return 0.0
    name = model.lower().removeprefix("azure_ai/")
    name = name if name in ("model-router", "model_router") else "model_router"
    rate = _models.prices_of(name, "azure_ai").get("input_cost_per_token") or 0
    return tokens * rate if rate > 0 else 0.0


def azure_ai(
    model: str, info: _Info | None, usage: Any, tier: str | None, request_model: str | None
) -> tuple[float, float]:
    if info is None and is_router(model):
        prompt, completion = 0.0, 0.0
    else:
        prompt, completion = cost_of_tokens(info or _models.prices_of(model, "azure_ai"), usage, "azure_ai", tier)
    if model.lower().removeprefix("azure_ai/") in ("model-router", "model_router"):
        return prompt, completion
    name = next((name for name in (model, request_model) if name is not None and is_router(name)), None)
    return prompt + (0.0 if name is None else router_fee(name, usage.prompt_tokens)), completion


def vertex(
    model: str, usage: Any, options: dict[str, Any], call_type: str, characters: tuple[int | None, int | None]
) -> tuple[float, float]:
    families = ("claude", "llama", "mistral", "jamba", "codestral", "gemma", "gemini-2")
    by_token = any(family in model for family in families) or call_type in ("embedding", "aembedding")
    info = _models.prices_of(model, "vertex_ai")
    costs = _vertex_tokens(info, usage, options["tier"], options["location"] if by_token else None)
    if by_token:
        return costs
    prompt, completion = costs
    given, made = characters
    dynamic = model not in ("gemini-1.0-pro", "gemini-pro", "gemini-2")

    def rate(side: str, number: int) -> Any:
        above = "_above_128k_tokens" if number * 4 > 128_000 and dynamic else ""
        return info.get(f"{side}_cost_per_character{above}"), bool(above)

    if given is not None and (found := rate("input", given))[0] is not None:
        prompt = given * found[0]
    if made is not None and (found := rate("output", made))[0] is not None:
        completion = (usage.completion_tokens if found[1] else made) * found[0]
    factor = location_factor(info, options["location"])
    return prompt * factor, completion * factor


def _vertex_tokens(info: _Info, usage: Any, tier: str | None, location: str | None) -> tuple[float, float]:
    names = [f"{side}_cost_per_token_above_128k_tokens" for side in ("input", "output")]
    if all(info.get(name) is None for name in names):
        return cost_of_tokens(info, usage, "vertex_ai", tier, None, location)
    costs = []
    for name, tokens in zip(names, (usage.prompt_tokens, usage.completion_tokens), strict=True):
        usual = info.get(name.removesuffix("_above_128k_tokens")) or 0.0
        costs.append(tokens * (info[name] if tokens > 128_000 and info.get(name) is not None else usual))
    factor = location_factor(info, location)
    return costs[0] * factor, costs[1] * factor


def reported(usage: Any) -> float | None:
    """Returns the cost that the provider itself tells in a usage."""
    cost = usage.get("cost") if isinstance(usage, Mapping) else getattr(usage, "cost", None)
    if isinstance(cost, Mapping):
        cost = cost.get("total_cost")
    if not isinstance(cost, int | float) or isinstance(cost, bool) or not 0 <= cost < float("inf"):
        return None
    return float(cost)


def perplexity(info: _Info, usage: Any) -> tuple[float, float]:
    cost = reported(usage)
    if cost is not None:
        return 0.0, cost

    def number(name: str) -> float:
        return float(_rates.price(info, name) or 0.0)

    now = _rates.now()
    cached_rate = info.get("cache_read_input_token_cost")
    rates = _rates.Rates(number("input_cost_per_token"), number("output_cost_per_token"), 0.0, 0.0, {})
    rates = _rates.off_peak_rates(info, rates, now)
    tokens = usage.prompt_tokens or 0
    cached = min(tokens, getattr(usage.prompt_tokens_details, "cached_tokens", 0) or 0)
    read = rates.input if cached_rate is None else number("cache_read_input_token_cost")
    prompt = (tokens - cached) * rates.input + cached * read
    citations = getattr(usage, "citation_tokens", 0) or 0
    if citations > 0 and info.get("citation_cost_per_token") is not None:
        prompt += citations * number("citation_cost_per_token")
    reasoning = getattr(usage, "reasoning_tokens", 0) or 0
    if reasoning == 0 and usage.completion_tokens_details:
        reasoning = getattr(usage.completion_tokens_details, "reasoning_tokens", 0) or 0
    made = usage.completion_tokens or 0
    if reasoning > 0 and info.get("output_cost_per_reasoning_token") is not None:
        completion = max(0, made - reasoning) * rates.output
        completion += reasoning * number("output_cost_per_reasoning_token")
    else:
        completion = made * rates.output
    searches = getattr(usage.prompt_tokens_details, "web_search_requests", 0) or 0
    each = info.get("search_queries_cost_per_query")
    each = info.get("search_context_cost_per_query") if each is None else each
    if searches > 0 and each is not None:
        each = each.get("search_context_size_low", 0) if isinstance(each, Mapping) else each
        completion += searches * float(each)
    return prompt, completion


def xai(info: _Info, usage: Any) -> tuple[float, float]:
    from ritellm.compat._types import Usage

    made = int(usage.completion_tokens or 0)
    if int(usage.total_tokens or 0) != int(usage.prompt_tokens or 0) + made and usage.completion_tokens_details:
        # Reasoning is not in xAI's own number.
        made += int(getattr(usage.completion_tokens_details, "reasoning_tokens", 0) or 0)
    whole = Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=made,
        total_tokens=usage.total_tokens,
        prompt_tokens_details=usage.prompt_tokens_details,
    )
    costs = cost_of_tokens(info, whole, "xai")
    cost = getattr(usage, "cost", None)
    cost = None if isinstance(cost, Mapping) else reported(usage)
    if cost is None:
        return costs
    if costs[0] + costs[1] <= 0:
        return 0.0, cost
    prompt = cost * costs[0] / (costs[0] + costs[1])
    return prompt, cost - prompt


def dashscope(info: _Info, usage: Any) -> tuple[float, float]:
    parts: Any = parts_of_prompt(usage)
    text = max(usage.prompt_tokens - parts.cached - parts.written, 0)
    reasoning = parts_of_completion(usage)["reasoning"]
    made = max((usage.completion_tokens or 0) - reasoning, 0)
    usual = float(info.get("input_cost_per_token") or 0.0)

    def flat(name: str) -> float:
        value = info.get(name)
        return usual if value is None else float(value)

    output = float(info.get("output_cost_per_token") or 0.0)
    thought = info.get("output_cost_per_reasoning_token")
    cached, written = flat("cache_read_input_token_cost"), flat("cache_creation_input_token_cost")
    step = _rates.chosen_tier(info, text + parts.cached + parts.written)
    if step is not None:
        usual = _rates.step_rate(step, "input_cost_per_token")
        cached = _rates.step_rate(step, "cache_read_input_token_cost", "input_cost_per_token")
        written = _rates.step_rate(step, "cache_creation_input_token_cost", "input_cost_per_token")
        thought = None if "output_cost_per_token" in step else thought
        if "output_cost_per_token" in step:
            output = _rates.step_rate(step, "output_cost_per_token")
        if "output_cost_per_reasoning_token" in step:
            thought = _rates.step_rate(step, "output_cost_per_reasoning_token")
    now = _rates.now()
    rates = _rates.off_peak_rates(info, _rates.Rates(usual, output, cached, written, {}), now)
    thought = _rates.off_peak(info, "output_cost_per_reasoning_token", now, thought)
    explicit = _rates.explicit_cache_rate(info, usage, None, now)
    if explicit is not None:
        rates = rates._replace(cache_read=explicit)
    prompt = text * rates.input + parts.cached * rates.cache_read + parts.written * rates.cache_write
    return prompt, made * rates.output + reasoning * float(rates.output if thought is None else thought)
