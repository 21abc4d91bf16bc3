"""What callbacks are told in place of texts: ``turn_off_message_logging``, of ``litellm``, a call or a callback."""

from __future__ import annotations

import copy
from typing import Any

from ritellm.compat import _finder

_TEXT = "redacted-by-litellm"
#: Members with texts, of messages, pieces of them, choices and items of the Responses API.
_TEXTS = frozenset(("content", "reasoning_content", "text", "arguments", "refusal", "thinking", "output"))
_LEFT_OUT = frozenset(
    ("thinking_blocks", "audio", "images", "provider_specific_fields", "embedding", "logprobs", "annotations")
)


def is_for(callback: Any, call: Any) -> bool:
    """True if a callback is not told the texts of a call."""
    of_call = call.kwargs.get("turn_off_message_logging")
    if of_call is not None:
        return bool(of_call)
    if vars(_finder.module("litellm")).get("turn_off_message_logging"):
        return True
    return (
        bool(getattr(callback, "turn_off_message_logging", False))
        or getattr(callback, "message_logging", True) is False
    )


def kwargs_for(callback: Any, kwargs: dict[str, Any], call: Any) -> dict[str, Any]:
    """Returns what a callback is told of a call that begins."""
    return of_kwargs(kwargs) if is_for(callback, call) else kwargs


def of_kwargs(kwargs: dict[str, Any], response: Any = None) -> dict[str, Any]:
    """Returns what callbacks are told, without texts.

    Args:
        kwargs: what they are told otherwise.
        response: the response without texts.
    """
    made = {**kwargs, "messages": [{"role": "user", "content": _TEXT}], "input": ""}
    for name in ("complete_streaming_response", "async_complete_streaming_response"):
        if name in made:
            made[name] = response
    standard = made.get("standard_logging_object")
    if standard is not None:
        shown = response.model_dump() if hasattr(response, "model_dump") else response
        made["standard_logging_object"] = {**standard, "messages": made["messages"], "response": shown}
    return made


def of_response(response: Any) -> Any:
    """Returns a copy of a response or a chunk without texts."""
    if response is None:
        return None
    if not hasattr(response, "model_dump"):
        return {"text": _TEXT}
    made = copy.deepcopy(response)
    for name in ("choices", "output", "data", "results"):
        _clear(getattr(made, name, None))
    return made


def _clear(value: Any) -> None:
    if isinstance(value, list | tuple):
        for item in value:
            _clear(item)
        return
    if isinstance(value, dict):
        members: Any = value
    elif hasattr(value, "model_dump"):
        members = {**vars(value), **(getattr(value, "__pydantic_extra__", None) or {})}
    else:
        return
    for name, member in list(members.items()):
        if isinstance(member, str):
            if name in _TEXTS:
                _put(value, name, _TEXT)
        elif member is not None and name in _LEFT_OUT:
            _put(value, name, None)
        else:
            _clear(member)


def _put(value: Any, name: str, member: Any) -> None:
    if isinstance(value, dict):
        value[name] = member
    else:
        setattr(value, name, member)
