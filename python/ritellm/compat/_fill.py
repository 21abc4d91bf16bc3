"""LiteLLM's types filled from RiteLLM's answers, without pydantic's validation: the core has read the JSON already.

Validating a small answer takes 40 µs, filling it 10.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import to_jsonable_python

from ritellm.compat._bases import OpenAIObject
from ritellm.compat._message_types import ChatCompletionAudioResponse
from ritellm.compat._plain import plain
from ritellm.compat._settings import map_finish_reason
from ritellm.compat._types import (
    ChatCompletionDeltaToolCall,
    ChatCompletionMessageToolCall,
    Choices,
    CompletionTokensDetailsWrapper,
    Delta,
    Function,
    FunctionCall,
    Message,
    ModelResponse,
    ModelResponseStream,
    PromptTokensDetailsWrapper,
    StreamingChoices,
    Usage,
    logprobs_of,
)

_new = object.__new__
_set = object.__setattr__


def make(kind: Any, members: dict[str, Any], extra: Any, present: set[str], private: Any = None) -> Any:
    """Returns an instance of a model: its fields, further members, the names that were given, and its private attributes."""
    made = _new(kind)
    _set(made, "__dict__", members)
    _set(made, "__pydantic_extra__", extra)
    _set(made, "__pydantic_fields_set__", present)
    _set(made, "__pydantic_private__", private)
    return made


class _Unbuilt(OpenAIObject):
    """A type without a serializer: `_complete`."""


def _complete() -> None:
    """Builds the serializers of the types that are made here, which `make` does not, where pydantic needs that.

    They are built when they are first used (``defer_build``). Some versions of pydantic (2.13 among them, 2.14 not) raise "'MockValSer'
    object is not …" when the serializer of another model, of a program's own too, meets a value whose type's is not there yet. So
    pydantic is asked, in some 30 µs. To build them takes some 10 ms in all.
    """
    try:
        to_jsonable_python(make(_Unbuilt, {}, {}, set()))
    except (TypeError, ValueError):
        for kind in (
            Function,
            FunctionCall,
            ChatCompletionMessageToolCall,
            ChatCompletionDeltaToolCall,
            CompletionTokensDetailsWrapper,
            PromptTokensDetailsWrapper,
            Usage,
            Message,
            Delta,
            Choices,
            StreamingChoices,
            ModelResponse,
            ModelResponseStream,
        ):
            kind.model_rebuild()


_complete()

_MESSAGE = frozenset({"content", "role", "tool_calls", "function_call"})
_MESSAGE_FIELDS = frozenset(Message.model_fields)
_CHOICE = frozenset({"finish_reason", "index", "message"})
_RESPONSE = ("id", "created", "model", "object", "system_fingerprint", "choices")


def function_of(function: Any) -> Any:
    """Returns the function of a tool call, or of a piece of one."""
    arguments = function.get("arguments")
    return make(
        Function,
        {"arguments": arguments if arguments is not None else "", "name": function.get("name")},
        {},
        {"arguments", "name"},
    )


def _tool_call(call: Any) -> Any:
    function = call.get("function")
    if function is None:
        return ChatCompletionMessageToolCall(**plain(call))
    extra = {"function": function_of(function), "id": call.get("id"), "type": call.get("type") or "function"}
    for key, value in call.items():
        if key not in extra and key != "index":
            extra[key] = plain(value)
    return make(ChatCompletionMessageToolCall, {}, extra, set(extra))


def _function_call(call: Any) -> Any:
    members = {"arguments": call.get("arguments") or "", "name": call.get("name")}
    return make(FunctionCall, members, {}, {"arguments", "name"})


def _audio(audio: Any) -> Any:
    """Returns the audio of a message; of a host that leaves members out, as it is."""
    try:
        return ChatCompletionAudioResponse(**audio)
    except TypeError:
        return audio


def message_of(message: Any) -> Any:
    """Returns a message."""
    get = message.get
    calls, called = get("tool_calls"), get("function_call")
    members: dict[str, Any] = {
        "content": get("content"),
        "role": get("role") or "assistant",
        "tool_calls": [_tool_call(call) for call in calls] if calls else None,
        "function_call": _function_call(called) if called else None,
        "provider_specific_fields": None,
    }
    present = {"content", "role", "tool_calls", "function_call"}
    extra: dict[str, Any] = {}
    for key, value in message.items():
        if key in _MESSAGE:
            continue
        value = plain(value) if value.__class__ is not str else value
        if key in _MESSAGE_FIELDS:
            if value is None:
                continue
            members[key] = _audio(value) if key == "audio" else value
            present.add(key)
        else:
            extra[key] = value
    return make(Message, members, extra, present)


def _choice(choice: Any) -> Any:
    get = choice.get
    reason = get("finish_reason")
    mapped = map_finish_reason(reason) if reason else "stop"
    index = get("index")
    members: dict[str, Any] = {
        "finish_reason": mapped,
        "index": index if index is not None else 0,
        "message": message_of(get("message") or {}),
    }
    present = {"finish_reason", "index", "message"}
    extra: dict[str, Any] = {}
    if len(choice) > 3:
        for key, value in choice.items():
            if key == "logprobs":
                members[key] = logprobs_of(plain(value))
                present.add(key)
            elif key not in _CHOICE:
                extra[key] = plain(value)
    if reason and reason != mapped:
        members["provider_specific_fields"] = {"native_finish_reason": reason}
        present.add("provider_specific_fields")
    return make(Choices, members, extra, present)


_COMPLETION_DETAILS = tuple(CompletionTokensDetailsWrapper.model_fields)
_KNOWN_USAGE = frozenset(
    {"prompt_tokens", "completion_tokens", "total_tokens", "completion_tokens_details", "prompt_tokens_details"}
)
_PROMPT_DETAILS = ("audio_tokens", "cached_tokens", "text_tokens", "image_tokens", "video_tokens")


_NATIVE = (
    ("cache_creation_input_tokens", "cache_creation_input_tokens"),
    ("cache_read_input_tokens", "cache_read_input_tokens"),
    ("cache_creation_input_tokens", "cacheWriteInputTokens"),
    ("cache_read_input_tokens", "cacheReadInputTokens"),
    ("server_tool_use", "server_tool_use"),
)


def usage_of(usage: Any) -> Any:
    """Returns the numbers of tokens."""
    if not _KNOWN_USAGE.issuperset(usage):
        given = plain(usage)
        native = given.pop("native", None)
        if isinstance(native, dict):
            # Numbers that LiteLLM has by Anthropic's names, beside OpenAI's.
            for name, theirs in _NATIVE:
                if native.get(theirs) is not None:
                    given.setdefault(name, native[theirs])
        return Usage(**given)
    get = usage.get
    made_answer = made_prompt = None
    details = get("completion_tokens_details")
    if details:
        members = dict.fromkeys(_COMPLETION_DETAILS)
        extra: dict[str, Any] = {}
        for key, value in details.items():
            (members if key in members else extra)[key] = value
        made_answer = make(CompletionTokensDetailsWrapper, members, extra, set(details))
    details = get("prompt_tokens_details")
    if details:
        if "cache_write_tokens" in details or "cache_creation_tokens" in details:
            made_prompt = PromptTokensDetailsWrapper(**plain(details))
        else:
            members = dict.fromkeys(_PROMPT_DETAILS)
            extra = {}
            for key, value in details.items():
                (members if key in members else extra)[key] = value
            made_prompt = make(PromptTokensDetailsWrapper, members, extra, set(details))
    return make(
        Usage,
        {
            "completion_tokens": get("completion_tokens") or 0,
            "prompt_tokens": get("prompt_tokens") or 0,
            "total_tokens": get("total_tokens") or 0,
            "completion_tokens_details": made_answer,
            "prompt_tokens_details": made_prompt,
        },
        {},
        set(_KNOWN_USAGE),
        {"_cache_creation_input_tokens": 0, "_cache_read_input_tokens": 0},
    )


def response_of(completion: Any) -> Any:
    """Returns the response to a chat completion call."""
    get = completion.get
    members: dict[str, Any] = {
        "id": get("id"),
        "created": get("created"),
        "model": get("model"),
        "object": "chat.completion",
        "system_fingerprint": get("system_fingerprint"),
        "choices": [_choice(choice) for choice in get("choices") or ()],
    }
    usage = get("usage")
    extra: dict[str, Any] = {"usage": usage_of(usage if usage is not None else {})}
    for key, value in completion.items():
        if key not in members and key != "usage":
            extra[key] = plain(value)
    return make(ModelResponse, members, extra, {*members, *extra})


def _delta_call(call: Any) -> Any:
    function = call.get("function")
    members = {
        "id": call.get("id"),
        "function": function_of(function if function is not None else {}),
        "type": call.get("type") or "function",
        "index": call.get("index") or 0,
    }
    extra = {}
    if len(call) > 3:
        extra = {key: plain(value) for key, value in call.items() if key not in members}
    return make(ChatCompletionDeltaToolCall, members, extra, {"id", "function", "type", "index", *extra})


_DELTA = frozenset({"content", "role", "tool_calls", "function_call", "audio"})
_DELTA_FIELDS = frozenset(Delta.model_fields)
_DELTA_SET = frozenset({"content", "role", "function_call", "tool_calls", "audio", "images", "annotations"})


def delta_of(delta: Any) -> Any:
    """Returns what a chunk adds to a message."""
    get = delta.get
    calls, called = get("tool_calls"), get("function_call")
    members: dict[str, Any] = {"provider_specific_fields": None}
    present = set(_DELTA_SET)
    extra: dict[str, Any] = {
        "content": get("content"),
        "role": get("role"),
        "function_call": _function_call(called) if called else None,
        "tool_calls": [_delta_call(call) for call in calls] if calls else None,
        "audio": plain(get("audio")),
    }
    for key, value in delta.items():
        if key in _DELTA:
            continue
        if value.__class__ is not str:
            value = plain(value)
        if key not in _DELTA_FIELDS:
            extra[key] = value
        elif value is not None:
            members[key] = value
            present.add(key)
    return make(Delta, members, extra, present)


_CHUNK = frozenset({"id", "created", "model", "object", "system_fingerprint", "choices", "usage"})


def chunk_of(chunk: Any, choices: list[Any], hidden: Any) -> Any:
    """Returns a chunk of a stream, with the choices that `streaming_choice` made."""
    get = chunk.get
    members = {
        "id": get("id"),
        "created": get("created"),
        "model": get("model"),
        "object": "chat.completion.chunk",
        "system_fingerprint": get("system_fingerprint"),
        "choices": choices,
        "provider_specific_fields": None,
    }
    extra: dict[str, Any] = {"citations": None}
    if len(chunk) > 5:
        for key, value in chunk.items():
            if key not in _CHUNK:
                if key in members:
                    members[key] = plain(value)
                else:
                    extra[key] = plain(value)
    private = {"_hidden_params": hidden}
    return make(ModelResponseStream, members, extra, {*members, *extra}, private)


_STREAMING_SET = frozenset({"finish_reason", "index", "delta", "logprobs"})


def streaming_choice(index: int, finish_reason: str | None, delta: Any, logprobs: Any) -> Any:
    """Returns a choice of a chunk."""
    if logprobs is not None:
        logprobs = logprobs_of(plain(logprobs))
    extra = {"finish_reason": finish_reason, "index": index, "delta": delta, "logprobs": logprobs}
    return make(StreamingChoices, {}, extra, set(_STREAMING_SET))
