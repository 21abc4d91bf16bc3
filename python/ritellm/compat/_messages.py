"""Anthropic's Messages API as an interface to any model: ``litellm.anthropic_interface.messages``.

Its formats are those of Anthropic's documentation of POST /v1/messages.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from ritellm.compat import _arguments, _calls

_STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or () if isinstance(part, dict))


def _part(part: dict[str, Any]) -> dict[str, Any]:
    """Returns a content part of a user in OpenAI's format."""
    source = part.get("source") or {}
    if part.get("type") == "image":
        url = source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}"
        return {"type": "image_url", "image_url": {"url": url}}
    if part.get("type") == "document" and source.get("data"):
        data = f"data:{source.get('media_type')};base64,{source['data']}"
        return {"type": "file", "file": {"file_data": data, "filename": part.get("title") or "document"}}
    return {key: value for key, value in part.items() if key in ("type", "text", "cache_control")}


def _converted(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns a message of Anthropic's format as OpenAI's, which may be several."""
    content = message.get("content")
    if isinstance(content, str):
        return [{"role": message["role"], "content": content}]
    made: list[dict[str, Any]] = []
    if message["role"] == "assistant":
        calls = [
            {
                "id": part["id"],
                "type": "function",
                "function": {"name": part["name"], "arguments": json.dumps(part.get("input") or {})},
            }
            for part in content or ()
            if part.get("type") == "tool_use"
        ]
        thoughts = [part for part in content or () if part.get("type") in ("thinking", "redacted_thinking")]
        one: dict[str, Any] = {"role": "assistant", "content": _text(content) or None}
        if calls:
            one["tool_calls"] = calls
        if thoughts:
            one["thinking_blocks"] = thoughts
        return [one]
    parts = []
    for part in content or ():
        if part.get("type") == "tool_result":
            result = _text(part.get("content"))
            made.append({"role": "tool", "tool_call_id": part.get("tool_use_id"), "content": result})
        else:
            parts.append(_part(part))
    if parts:
        made.append({"role": "user", "content": parts})
    return made


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if "input_schema" not in tool:
        return tool
    function = {"name": tool["name"], "parameters": tool["input_schema"]}
    if tool.get("description"):
        function["description"] = tool["description"]
    return {"type": "function", "function": function}


def _choice(choice: Any) -> Any:
    kind = (choice or {}).get("type")
    if kind == "tool":
        return {"type": "function", "function": {"name": choice["name"]}}
    return {"any": "required", "auto": "auto", "none": "none"}.get(kind) if kind else None


def _request(max_tokens: Any, messages: Any, given: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    converted = [one for message in messages or () for one in _converted(message)]
    system = given.pop("system", None)
    if system:
        converted.insert(0, {"role": "system", "content": _text(system)})
    params = _arguments.Given(given)
    params["max_tokens"] = max_tokens
    if params.get("stop_sequences"):
        params["stop"] = params.pop("stop_sequences")
    if params.get("tools"):
        params["tools"] = [_tool(tool) for tool in params["tools"]]
    params["tool_choice"] = _choice(params.get("tool_choice"))
    return converted, params


def _usage(usage: Any) -> dict[str, Any]:
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    details = getattr(usage, "prompt_tokens_details", None)
    read = getattr(details, "cached_tokens", None) or 0
    written = getattr(details, "cache_write_tokens", None) or 0
    made = {"input_tokens": usage.prompt_tokens - read - written, "output_tokens": usage.completion_tokens}
    if read or written:
        made.update(cache_read_input_tokens=read, cache_creation_input_tokens=written)
    return made


def _response(response: Any) -> dict[str, Any]:
    choice = response.choices[0]
    message = choice.message
    content: list[dict[str, Any]] = list(getattr(message, "thinking_blocks", None) or ())
    if message.content:
        content.append({"type": "text", "text": message.content})
    for call in message.tool_calls or ():
        arguments = json.loads(call.function.arguments or "{}")
        content.append({"type": "tool_use", "id": call.id, "name": call.function.name, "input": arguments})
    return {
        "id": response.id,
        "type": "message",
        "role": "assistant",
        "model": response.model,
        "content": content,
        "stop_reason": _STOP.get(choice.finish_reason, "end_turn"),
        "stop_sequence": None,
        "usage": _usage(response.usage),
    }


def _event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


class _Events:
    """The events of a stream, made of the chunks of a chat completion."""

    def __init__(self, model: str) -> None:
        self.model, self.index = model, -1
        self.kind: Any = None
        self.reason, self.usage = "end_turn", None

    def begin(self) -> bytes:
        message = {"id": f"msg_{uuid.uuid4().hex}", "type": "message", "role": "assistant", "model": self.model}
        more: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None}
        return _event("message_start", message={**message, **more, "usage": _usage(None)})

    def _block(self, kind: Any, block: dict[str, Any]) -> list[bytes]:
        if self.kind == kind:
            return []
        made = self._stop()
        self.kind = kind
        self.index += 1
        return [*made, _event("content_block_start", index=self.index, content_block=block)]

    def _stop(self) -> list[bytes]:
        return [_event("content_block_stop", index=self.index)] if self.kind is not None else []

    def _delta(self, kind: str, **members: Any) -> bytes:
        return _event("content_block_delta", index=self.index, delta={"type": kind, **members})

    def chunk(self, chunk: Any) -> list[bytes]:
        usage = getattr(chunk, "usage", None)
        if usage is not None:
            self.usage = usage
        made: list[bytes] = []
        for choice in chunk.choices[:1]:
            delta = choice.delta
            if getattr(delta, "reasoning_content", None):
                made += self._block("thinking", {"type": "thinking", "thinking": ""})
                made.append(self._delta("thinking_delta", thinking=delta.reasoning_content))
            if delta.content:
                made += self._block("text", {"type": "text", "text": ""})
                made.append(self._delta("text_delta", text=delta.content))
            for call in delta.tool_calls or ():
                block = {"type": "tool_use", "id": call.id, "name": call.function.name, "input": {}}
                made += self._block(("tool", call.index), block)
                if call.function.arguments:
                    made.append(self._delta("input_json_delta", partial_json=call.function.arguments))
            if choice.finish_reason:
                self.reason = _STOP.get(choice.finish_reason, "end_turn")
        return made

    def end(self) -> list[bytes]:
        delta = {"stop_reason": self.reason, "stop_sequence": None}
        return [*self._stop(), _event("message_delta", delta=delta, usage=_usage(self.usage)), _event("message_stop")]


def _events(stream: Any, model: str) -> Any:
    events = _Events(model)
    yield events.begin()
    for chunk in stream:
        yield from events.chunk(chunk)
    yield from events.end()


async def _aevents(stream: Any, model: str) -> Any:
    events = _Events(model)
    yield events.begin()
    async for chunk in stream:
        for event in events.chunk(chunk):
            yield event
    for event in events.end():
        yield event


def create(max_tokens: int, messages: list[dict[str, Any]], model: str, **kwargs: Any) -> Any:
    """Makes a call in the format of Anthropic's Messages API, to any model.

    Returns:
        The message as a dict; with ``stream=True`` an iterator of the stream's bytes.
    """
    kwargs = _arguments.Given(kwargs)
    converted, params = _request(max_tokens, messages, kwargs)
    if params.get("stream"):
        params.setdefault("stream_options", {"include_usage": True})
    answer = _calls.chat("anthropic_messages", model, converted, params)
    return _events(answer, model) if params.get("stream") else _response(answer)


async def acreate(max_tokens: int, messages: list[dict[str, Any]], model: str, **kwargs: Any) -> Any:
    """Makes the same call on an event loop: see `create`."""
    kwargs = _arguments.Given(kwargs)
    converted, params = _request(max_tokens, messages, kwargs)
    if params.get("stream"):
        params.setdefault("stream_options", {"include_usage": True})
    answer = await _calls.achat("anthropic_messages", model, converted, params)
    return _aevents(answer, model) if params.get("stream") else _response(answer)
