"""The usage of an answer, whatever its form, as LiteLLM's ``Usage``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["member", "usage_of"]


def member(value: Any, name: str) -> Any:
    """Returns a member of a mapping or an attribute of an object, or ``None``."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def usage_of(response: Any) -> Any:
    """Returns the usage of an answer as a ``Usage``, or ``None`` if it has none.

    Args:
        response: an answer, an object or a dict; its usage may be that of chats, of the Responses API or of Anthropic's.
    """
    from ritellm.compat._types import Usage

    usage = member(response, "usage")
    if usage is None or isinstance(usage, Usage):
        return usage
    if not isinstance(usage, Mapping):
        if getattr(usage, "type", None) == "duration":
            return None
        dump = getattr(usage, "model_dump", None)
        if dump is None:
            return None
        usage = dump()
    cached = any(name in usage for name in ("cache_read_input_tokens", "cache_creation_input_tokens"))
    if cached and "input_tokens" in usage and "prompt_tokens" not in usage:
        return _of_messages(usage)
    if "input_tokens" in usage and "output_tokens" in usage:
        return _of_responses(usage)
    return Usage(**usage)


def _of_messages(usage: Mapping[str, Any]) -> Any:
    """https://platform.claude.com/docs/en/api/messages: what was cached is beside ``input_tokens``, not in it."""
    from ritellm.compat._types import CacheCreationTokenDetails, PromptTokensDetailsWrapper, Usage

    steps = usage.get("iterations") or (usage,)
    names = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    fresh, made, written, read = (sum(step.get(name) or 0 for step in steps) for name in names)
    lifetimes = usage.get("cache_creation")
    thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
    details = PromptTokensDetailsWrapper(
        cached_tokens=read,
        cache_creation_tokens=written,
        cache_creation_token_details=None
        if lifetimes is None
        else CacheCreationTokenDetails(
            ephemeral_5m_input_tokens=lifetimes.get("ephemeral_5m_input_tokens"),
            ephemeral_1h_input_tokens=lifetimes.get("ephemeral_1h_input_tokens"),
        ),
        text_tokens=fresh,
    )
    more = {name: usage[name] for name in ("inference_geo", "speed", "service_tier") if usage.get(name) is not None}
    return Usage(
        prompt_tokens=fresh + written + read,
        completion_tokens=made,
        total_tokens=fresh + written + read + made,
        prompt_tokens_details=details,
        completion_tokens_details=None
        if not thought
        else {"reasoning_tokens": thought, "text_tokens": max(made - thought, 0)},
        cache_creation_input_tokens=written,
        cache_read_input_tokens=read,
        server_tool_use=_searches(usage.get("server_tool_use")),
        **more,
    )


def _searches(used: Any) -> dict[str, Any] | None:
    numbers = {name: member(used, name) for name in ("web_search_requests", "tool_search_requests")}
    return numbers if any(number is not None for number in numbers.values()) else None


_KINDS = ("audio_tokens", "cached_tokens", "image_tokens", "text_tokens", "video_tokens", "web_search_requests")
_TAKEN = (
    *("input_tokens", "output_tokens", "total_tokens", "prompt_tokens", "completion_tokens"),
    *("input_tokens_details", "output_tokens_details", "input_token_details", "output_token_details"),
    *("prompt_tokens_details", "completion_tokens_details", "cost"),
)


def _of_responses(usage: Mapping[str, Any]) -> Any:
    """https://platform.openai.com/docs/api-reference/responses/object"""
    from ritellm.compat._types import Usage

    given = usage.get("input_tokens_details") or usage.get("input_token_details")
    made = usage.get("output_tokens_details") or usage.get("output_token_details")
    dump = getattr(given, "model_dump", None)
    prompt = dict(dump() if dump else given or {})
    dump = getattr(made, "model_dump", None)
    completion = dict(dump() if dump else made or {})
    answer = usage["output_tokens"] or 0
    if completion.get("text_tokens") is not None:
        counted = {name: completion.get(f"{name}_tokens") or 0 for name in ("text", "reasoning", "audio", "image")}
        beyond = max(sum(counted.values()) - answer, 0)
        completion["text_tokens"] = counted["text"] - min(counted["reasoning"], counted["text"], beyond)
    names = ("reasoning_tokens", "image_tokens", "text_tokens", "audio_tokens")
    more = {name: value for name, value in usage.items() if name not in _TAKEN}
    chat = Usage(
        prompt_tokens=usage["input_tokens"] or 0,
        completion_tokens=answer,
        total_tokens=(usage["input_tokens"] or 0) + answer,
        prompt_tokens_details={name: value for name, value in prompt.items() if value is not None} or None,
        completion_tokens_details={name: completion.get(name) for name in names} if completion else None,
        **more,
    )
    cost = usage.get("cost")
    if cost is not None:
        chat.cost = cost.get("total_cost") if isinstance(cost, Mapping) else cost
    return chat
