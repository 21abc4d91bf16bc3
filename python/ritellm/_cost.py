"""``ritellm.cost``: what a call costs, from its usage and a table of prices."""

from __future__ import annotations

from collections.abc import Mapping

from ritellm import _core
from ritellm.exceptions import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ritellm import Client
else:
    Any = Client = object

__all__ = ["cost"]

#: The classes of ``meta.usage``.
_CLASSES = frozenset(
    {
        "input",
        "cached_read",
        "cache_write",
        "cache_write_hour",
        "output",
        "reasoning",
        "audio_input",
        "audio_output",
        "image_input",
    }
)
_SERVICES = ("auto", "batch", "default", "flex", "on_demand", "priority", "standard", "standard_only")

_clients: dict[str, Any] = {}
"""Clients that hold the prices of a source, since it takes half a second to read them."""


def cost(
    usage: Any,
    *,
    model: str | None = None,
    catalog: Any = None,
    client: Client | None = None,
    service_tier: str | None = None,
    batch: bool = False,
    seconds: float = 0.0,
) -> float | None:
    """Returns what a call costs in US dollars, or ``None`` if that is not known.

    >>> import ritellm
    >>> prices = {"openai/gpt-4o-mini": {"input": 0.15, "cached": 0.075, "output": 0.6, "flex": 0.5}}
    >>> usage = {"prompt_tokens": 2000, "completion_tokens": 500, "prompt_tokens_details": {"cached_tokens": 1000}}
    >>> round(ritellm.cost(usage, model="openai/gpt-4o-mini", catalog=prices), 9)
    0.000525

    A cost is not known if the model, a class of its tokens or its service tier has no price. That is said once in the log, and
    never counted as 0. See docs/cost.md.

    Args:
        usage: a response; or its ``meta.usage``; or a ``usage`` as OpenAI, Anthropic, Gemini, Bedrock, Cohere or Ollama tell it.
        model: ``"provider/model"``; of a response, that of its ``meta`` by default.
        catalog: prices, as for `ritellm.Client`; by default those of the client, or of the package's default client, and
            without any those of the package genai-prices, if it is installed.
        client: the client whose catalog is used.
        service_tier: ``"flex"``, ``"priority"`` …; of a response, the one that it names by default.
        batch: the call was part of a batch.
        seconds: duration of the call, for models whose price is by time.

    Raises:
        InvalidArgumentError: an argument that cannot be used.
    """
    if service_tier is not None and service_tier not in _SERVICES:
        raise InvalidArgumentError(f"service_tier is {service_tier!r}: one of {', '.join(_SERVICES)} would be right")
    meta = getattr(usage, "meta", None)
    if meta is not None:
        if getattr(meta, "cached", False):
            return 0.0
        model = model or f"{meta.provider}/{meta.model}"
        service_tier = service_tier or _member(usage, "service_tier")
        seconds = seconds or meta.latency
        usage = _member(usage, "usage")
    if not isinstance(model, str) or not model:
        raise InvalidArgumentError(f'model is of type {type(model).__name__}: "provider/model" would be right')
    source: Any = _source(catalog, client)
    if source is None:
        return None
    told, in_classes = _told(usage)
    service = "batch" if batch else service_tier
    price: float | None = source.price(
        model, None if told is None else _core.to_json(told), in_classes, service, float(seconds)
    )
    return price


def _source(catalog: Any, client: Any) -> Any:
    from ritellm.client import Client, _default

    if catalog is not None:
        if not isinstance(catalog, str):
            return Client(catalog=catalog)
        if catalog not in _clients:
            _clients[catalog] = Client(catalog=catalog)
        return _clients[catalog]
    if client is not None:
        if not isinstance(client, _core.Client):
            raise InvalidArgumentError(f"client is of type {type(client).__name__}: a ritellm.Client would be right")
        return client
    if _default.has_catalog:
        return _default
    if "genai-prices" not in _clients:
        try:
            _clients["genai-prices"] = Client(catalog="genai-prices")
        except InvalidArgumentError:
            import logging

            logging.getLogger("ritellm").warning(
                "%s", "costs are not known: there is no catalog, and genai-prices is not installed"
            )
            _clients["genai-prices"] = None
    return _clients["genai-prices"]


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _told(usage: Any) -> tuple[Any, bool]:
    """Returns a usage as the core reads it, and true if it is in our classes."""
    if usage is None:
        return None, False
    for name in ("model_dump", "to_dict", "_asdict"):
        if not isinstance(usage, Mapping) and callable(getattr(usage, name, None)):
            usage = getattr(usage, name)()
    if not isinstance(usage, Mapping):
        raise InvalidArgumentError(f"usage is of type {type(usage).__name__}: a response or its usage would be right")
    for wire in (_anthropic, _gemini, _bedrock, _cohere, _ollama):
        classes = wire(usage)
        if classes is not None:
            return classes, True
    if usage and set(usage) <= _CLASSES:
        return usage, True
    return {"usage": usage}, False


def _number(usage: Mapping[str, Any], *names: str) -> int:
    for name in names:
        if usage.get(name):
            return int(usage[name])
    return 0


def _anthropic(usage: Mapping[str, Any]) -> dict[str, int] | None:
    """https://platform.claude.com/docs/en/api/messages: what was cached is beside ``input_tokens``, not in it."""
    names = ("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation")
    if "input_tokens" not in usage or not any(name in usage for name in names):
        return None
    hour = _number(usage.get("cache_creation") or {}, "ephemeral_1h_input_tokens")
    return {
        "input": _number(usage, "input_tokens"),
        "cached_read": _number(usage, "cache_read_input_tokens"),
        "cache_write": max(_number(usage, "cache_creation_input_tokens") - hour, 0),
        "cache_write_hour": hour,
        "output": _number(usage, "output_tokens"),
    }


def _gemini(usage: Mapping[str, Any]) -> dict[str, int] | None:
    """https://ai.google.dev/api/generate-content#UsageMetadata: what was cached is in ``promptTokenCount``, thoughts are not in
    ``candidatesTokenCount``."""
    usage = usage.get("usageMetadata", usage.get("usage_metadata", usage))
    if "promptTokenCount" not in usage and "prompt_token_count" not in usage:
        return None

    def of(details: str, snake: str, modality: str) -> int:
        items = usage.get(details) or usage.get(snake) or []
        return sum(_number(item, "tokenCount", "token_count") for item in items if item.get("modality") == modality)

    cached = _number(usage, "cachedContentTokenCount", "cached_content_token_count")
    prompt = _number(usage, "promptTokenCount", "prompt_token_count")
    prompt += _number(usage, "toolUsePromptTokenCount", "tool_use_prompt_token_count")
    # Of what was cached, nobody says how much was audio: it is taken to be text first.
    audio = min(of("promptTokensDetails", "prompt_tokens_details", "AUDIO"), prompt - cached)
    image = min(of("promptTokensDetails", "prompt_tokens_details", "IMAGE"), prompt - cached - audio)
    spoken = of("candidatesTokensDetails", "candidates_tokens_details", "AUDIO")
    return {
        "input": prompt - cached - audio - image,
        "cached_read": cached,
        "audio_input": audio,
        "image_input": image,
        "output": _number(usage, "candidatesTokenCount", "candidates_token_count") - spoken,
        "audio_output": spoken,
        "reasoning": _number(usage, "thoughtsTokenCount", "thoughts_token_count"),
    }


def _bedrock(usage: Mapping[str, Any]) -> dict[str, int] | None:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html: ``inputTokens`` has nothing that was
    cached."""
    if "inputTokens" not in usage:
        return None
    hour = sum(
        _number(detail, "inputTokens") for detail in usage.get("cacheDetails") or () if detail.get("ttl") == "1h"
    )
    return {
        "input": _number(usage, "inputTokens"),
        "cached_read": _number(usage, "cacheReadInputTokens"),
        "cache_write": max(_number(usage, "cacheWriteInputTokens") - hour, 0),
        "cache_write_hour": hour,
        "output": _number(usage, "outputTokens"),
    }


def _cohere(usage: Mapping[str, Any]) -> dict[str, int] | None:
    """https://docs.cohere.com/reference/chat: ``billed_units`` are what is paid, not ``tokens``."""
    billed = usage.get("billed_units")
    if not isinstance(billed, Mapping):
        return None
    return {"input": _number(billed, "input_tokens"), "output": _number(billed, "output_tokens")}


def _ollama(usage: Mapping[str, Any]) -> dict[str, int] | None:
    """https://github.com/ollama/ollama/blob/main/docs/api.md: the counts stand in the answer itself."""
    if "eval_count" not in usage:
        return None
    return {"input": _number(usage, "prompt_eval_count"), "output": _number(usage, "eval_count")}
