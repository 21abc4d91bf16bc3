"""The Responses API on chat completions, for providers that do not have it, and for answers that are made in the program.

`request` translates what is asked. `Events` makes the events of a stream out of chunks; a plain answer is one chunk to it, and its
response the one of the last event: so both are the same.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import Any

from ritellm.compat import _arguments, _exceptions
from ritellm.compat._plain import plain as _plain

#: LiteLLM's names of the providers whose own Responses API is called: those for which LiteLLM 1.110.2 has a configuration of it,
#: github_copilot and bedrock_mantle for some models.
NATIVE = frozenset(
    """openai azure azure_ai xai github_copilot chatgpt litellm_proxy volcengine manus meta perplexity databricks fireworks_ai
    openrouter hosted_vllm bedrock_mantle""".split()  # noqa: SIM905
)
#: Parameters with the same name and meaning in both.
_ECHOED = "instructions max_output_tokens parallel_tool_calls reasoning temperature text tool_choice tools top_p user"
#: What names or needs something that is stored or run at OpenAI, with the values that ask for nothing.
_STATE: dict[str, tuple[Any, ...]] = {
    "previous_response_id": (),
    "conversation": (),
    "prompt": (),
    "background": (False,),
    "store": (False,),
    "truncation": ("disabled",),
    "max_tool_calls": (),
}
_HOSTED_TOOLS = frozenset(
    (
        "file_search",
        "code_interpreter",
        "computer_use_preview",
        "mcp",
        "image_generation",
        "local_shell",
        "shell",
        "apply_patch",
        "custom",
    )
)
_TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
#: The beginning of a reasoning item's `encrypted_content` that has the thinking blocks of a chat completion.
_THINKING = "chat:"


class _Refused(Exception):
    """Something that chat completions do not have."""


def plain(value: Any) -> Any:
    """Returns items, tools and answers, which may be models of pydantic or lists of them, as plain dicts."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.model_dump(exclude_none=True) if hasattr(value, "model_dump") else _plain(value)


def request(input: Any, params: dict[str, Any], target: Any, metadata: Any) -> tuple[list[Any], Any, dict[str, Any]]:
    """Translates a call of the Responses API.

    Args:
        input: a text or a list of input items.
        params: RiteLLM's arguments of `responses`.
        target: where the call goes.
        metadata: that of the call, which its response repeats.

    Returns:
        The messages and RiteLLM's arguments of `completion`, and the members that the response repeats.

    Raises:
        litellm.UnsupportedParamsError: it asks for something that chat completions do not have.
    """
    params = _arguments.Given(params)
    echoed = {name: plain(params[name]) for name in _ECHOED.split() if name in params}
    if metadata is not None:
        echoed["metadata"] = metadata
    try:
        _stateless(params)
        made = _parameters(params)
        messages = _messages(input, params.get("instructions"))
    except _Refused as refusal:
        # Outside of the handler, so that the frames above are not shown a second time.
        text = (
            f"{target.provider} has no Responses API, and chat completions stand in for it: they do not have {refusal}"
        )
        error = _exceptions.built("UnsupportedParamsError")(text, target.provider, target.name)
    else:
        return messages, made, echoed
    raise error


def _stateless(params: dict[str, Any]) -> None:
    drop = params.get("drop_params")
    for name, harmless in _STATE.items():
        value = params.pop(name, None)
        if value is not None and value not in harmless and not drop:
            raise _Refused(f"{name!r} (drop_params=True leaves it out)")
    params.pop("include", None)


def _parameters(params: dict[str, Any]) -> dict[str, Any]:
    made = _arguments.Given(params)
    for name in ("instructions", "text", "reasoning", "tools", "tool_choice", "max_output_tokens"):
        made.pop(name, None)
    if params.get("max_output_tokens") is not None:
        made["max_tokens"] = params["max_output_tokens"]
    reasoning = plain(params.get("reasoning"))
    effort = reasoning.get("effort") if isinstance(reasoning, dict) else reasoning
    if effort is not None:
        made["reasoning_effort"] = effort
    text = plain(params.get("text")) or {}
    if text.get("verbosity") is not None:
        made["verbosity"] = text["verbosity"]
    wanted = text.get("format") or {}
    if wanted.get("type") == "json_schema":
        schema = {name: value for name, value in wanted.items() if name != "type" and value is not None}
        made["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", **schema}}
    elif wanted.get("type") == "json_object":
        made["response_format"] = {"type": "json_object"}
    tools = [_tool(plain(tool), made) for tool in params.get("tools") or ()]
    tools = [tool for tool in tools if tool is not None]
    if tools:
        made["tools"] = tools
    if params.get("tool_choice") is not None and (tools or params["tool_choice"] != "auto"):
        made["tool_choice"] = _tool_choice(plain(params["tool_choice"]))
    if made.get("stream"):
        made["stream_options"] = {"include_usage": True}
    return made


def _tool(tool: Any, made: dict[str, Any]) -> Any:
    """Returns a tool of chat completions; None for a search, which is a parameter there."""
    kind = str(tool.get("type"))
    if kind == "function" and "function" not in tool:
        members = ("name", "description", "parameters", "strict")
        return {"type": kind, "function": {name: tool[name] for name in members if tool.get(name) is not None}}
    if kind.startswith("web_search"):
        options = {}
        if tool.get("search_context_size"):
            options["search_context_size"] = tool["search_context_size"]
        place = tool.get("user_location")
        if place:
            place = {name: value for name, value in place.items() if name != "type" and value is not None}
            options["user_location"] = {"type": "approximate", "approximate": place}
        made["web_search_options"] = options
        return None
    if kind in _HOSTED_TOOLS:
        raise _Refused(f"the tool {kind!r}")
    return tool


def _tool_choice(choice: Any) -> Any:
    if not isinstance(choice, dict) or "function" in choice:
        return choice
    kind = choice.get("type")
    if kind == "function" and choice.get("name"):
        return {"type": "function", "function": {"name": choice["name"]}}
    if kind in ("auto", "none"):
        return kind
    if kind in ("function", "required", "tool", "any"):
        return "required"
    raise _Refused(f"the tool choice {kind!r}")


def _messages(input: Any, instructions: Any) -> list[Any]:
    messages: list[Any] = []
    if instructions:
        messages.append({"role": "system", "content": instructions})
    if isinstance(input, str):
        return [*messages, {"role": "user", "content": input}]
    thought: dict[str, Any] = {}
    for item in plain(input or []):
        kind = item.get("type") or "message"
        if kind == "message":
            message = {"role": item.get("role") or "user", "content": _content(item.get("content"))}
            if message["role"] == "assistant":
                message.update(thought)
                thought = {}
            messages.append(message)
        elif kind == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments") or "{}"}
            call = {"id": item.get("call_id") or item.get("id"), "type": "function", "function": function}
            # The calls of one answer are one message, with its text and its reasoning.
            if not messages or messages[-1]["role"] != "assistant" or thought:
                messages.append({"role": "assistant", "content": None, **thought})
                thought = {}
            messages[-1].setdefault("tool_calls", []).append(call)
        elif kind == "function_call_output":
            content = _content(item.get("output"))
            messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
        elif kind == "reasoning":
            thought = _thought(item)
        elif kind not in ("web_search_call", "file_search_call"):
            # The text after a search tells what it found.
            raise _Refused(f"input items of type {kind!r}")
    return messages


def _content(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    parts = [_part(part) for part in content]
    # A text alone is sent as such, which every provider takes.
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _part(part: Any) -> Any:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind = part.get("type")
    if kind in _TEXTS:
        return {"type": "text", "text": part.get("text") or ""}
    if kind == "refusal":
        return {"type": "text", "text": part.get("refusal") or ""}
    if kind == "input_image":
        if not part.get("image_url"):
            raise _Refused("pictures by 'file_id'")
        url = {"url": part["image_url"]}
        return {"type": "image_url", "image_url": {**url, **({"detail": part["detail"]} if part.get("detail") else {})}}
    if kind == "input_file":
        data = part.get("file_data") or part.get("file_url")
        file = {"file_data": data, "filename": part.get("filename"), "file_id": part.get("file_id")}
        return {"type": "file", "file": {name: value for name, value in file.items() if value is not None}}
    return part


def _thought(item: dict[str, Any]) -> dict[str, Any]:
    """Returns the members of a message that say what the model has thought."""
    texts = [part.get("text") or "" for part in [*(item.get("summary") or ()), *(item.get("content") or ())]]
    made: dict[str, Any] = {"reasoning_content": "".join(texts)} if any(texts) else {}
    sealed = item.get("encrypted_content")
    if isinstance(sealed, str) and sealed.startswith(_THINKING):
        made["thinking_blocks"] = json.loads(base64.b64decode(sealed[len(_THINKING) :]))
    return made


class Events:
    """Makes events of the Responses API out of chunks of a chat completion.

    Args:
        model: the model, until a chunk tells it.
        echoed: members of the request that the response repeats.
    """

    def __init__(self, model: str, echoed: dict[str, Any]) -> None:
        self.response: dict[str, Any] = {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "model": model,
            "output": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            **echoed,
            "usage": None,
        }
        self._made: list[dict[str, Any]] = []
        self._number = 0
        self._began = False
        self._open: int | None = None
        self._calls: dict[Any, int] = {}
        self._thinking: list[dict[str, Any]] = []
        self._reason: str | None = None

    def take(self, chunk: Any) -> list[dict[str, Any]]:
        """Returns the events of a chunk."""
        if not self._began:
            self._began = True
            self.response["model"] = chunk.get("model") or self.response["model"]
            self.response["created_at"] = chunk.get("created") or self.response["created_at"]
            for kind in ("response.created", "response.in_progress"):
                self._event(kind, response={**self.response, "output": []})
        if chunk.get("usage"):
            self.response["usage"] = _usage(chunk["usage"])
        for choice in chunk.get("choices") or ():
            if not choice.get("index"):
                self._delta(choice.get("delta") or {})
                self._reason = choice.get("finish_reason") or self._reason
        return self._taken()

    def end(self) -> list[dict[str, Any]]:
        """Returns the last events; the response is whole then."""
        if not self._began:
            self.take({})
        self._close()
        incomplete = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(self._reason or "")
        status = "completed" if incomplete is None else "incomplete"
        self.response["status"] = status
        if incomplete is not None:
            self.response["incomplete_details"] = {"reason": incomplete}
        self._event(f"response.{status}", response=self.response)
        return self._taken()

    def _event(self, kind: str, **members: Any) -> None:
        self._made.append({"type": kind, "sequence_number": self._number, **members})
        self._number += 1

    def _taken(self) -> list[dict[str, Any]]:
        made, self._made = self._made, []
        return made

    def _delta(self, delta: Any) -> None:
        for block in delta.get("thinking_blocks") or ():
            self._thought(block)
        if delta.get("reasoning_content"):
            item = self._reasoning()
            if not item["summary"]:
                item["summary"].append({"type": "summary_text", "text": ""})
                self._of_item("response.reasoning_summary_part.added", summary_index=0, part={**item["summary"][0]})
            item["summary"][0]["text"] += delta["reasoning_content"]
            self._of_item("response.reasoning_summary_text.delta", summary_index=0, delta=delta["reasoning_content"])
        if delta.get("content"):
            self._text("output_text", "text", delta["content"])
        if delta.get("refusal"):
            self._text("refusal", "refusal", delta["refusal"])
        for annotation in delta.get("annotations") or ():
            part = self._part("output_text", "text")
            kind = annotation.get("type")
            flat = {"type": kind, **annotation[kind]} if isinstance(annotation.get(kind), dict) else dict(annotation)
            at = {"content_index": self._at_part(), "annotation_index": len(part["annotations"])}
            part["annotations"].append(flat)
            self._of_item("response.output_text.annotation.added", **at, annotation=flat)
        for place, call in enumerate(delta.get("tool_calls") or ()):
            self._call(call.get("index", place), call)

    def _reasoning(self) -> dict[str, Any]:
        return self._item("reasoning", {"id": f"rs_{uuid.uuid4().hex}", "summary": []})

    def _thought(self, block: dict[str, Any]) -> None:
        """Adds to the thinking blocks, which come in pieces, the signature last."""
        self._reasoning()
        last = self._thinking[-1] if self._thinking else {}
        if block.get("type") == last.get("type") == "thinking" and not last.get("signature"):
            last["thinking"] = last.get("thinking", "") + (block.get("thinking") or "")
            if block.get("signature"):
                last["signature"] = block["signature"]
        else:
            self._thinking.append(dict(block))

    def _call(self, index: Any, call: dict[str, Any]) -> None:
        function = call.get("function") or {}
        if index not in self._calls:
            name = {"call_id": call.get("id") or f"call_{uuid.uuid4().hex}", "name": function.get("name")}
            self._close()
            self._item("function_call", {"id": f"fc_{uuid.uuid4().hex}", **name, "arguments": ""}, "in_progress")
            self._calls[index] = len(self.response["output"]) - 1
        if function.get("arguments"):
            at = self._calls[index]
            item = self.response["output"][at]
            item["arguments"] += function["arguments"]
            place = {"item_id": item["id"], "output_index": at}
            self._event("response.function_call_arguments.delta", **place, delta=function["arguments"])

    def _text(self, kind: str, name: str, text: str) -> None:
        part = self._part(kind, name)
        part[name] += text
        self._of_item(f"response.{kind}.delta", content_index=self._at_part(), delta=text)

    def _part(self, kind: str, name: str) -> dict[str, Any]:
        """Returns the part that is written; opens one if it is of another kind."""
        item = self._item(
            "message", {"id": f"msg_{uuid.uuid4().hex}", "role": "assistant", "content": []}, "in_progress"
        )
        content = item["content"]
        if not content or content[-1]["type"] != kind:
            self._close_part()
            content.append({"type": kind, name: "", **({"annotations": []} if kind == "output_text" else {})})
            # The event has the part as it is now.
            part = {key: value if isinstance(value, str) else [] for key, value in content[-1].items()}
            self._of_item("response.content_part.added", content_index=self._at_part(), part=part)
        return content[-1]  # type: ignore[no-any-return]

    def _at_part(self) -> int:
        return len(self._current()["content"]) - 1

    def _current(self) -> Any:
        return self.response["output"][self._open]

    def _of_item(self, kind: str, **members: Any) -> None:
        self._event(kind, item_id=self._current()["id"], output_index=self._open, **members)

    def _item(self, kind: str, members: dict[str, Any], status: str | None = None) -> dict[str, Any]:
        """Returns the item that is written; opens one if it is of another kind."""
        if self._open is None or self._current()["type"] != kind:
            self._close()
            made = {"type": kind, **members, **({"status": status} if status else {})}
            self.response["output"].append(made)
            self._open = len(self.response["output"]) - 1
            item = {key: [] if isinstance(value, list) else value for key, value in made.items()}
            self._event("response.output_item.added", output_index=self._open, item=item)
        return self._current()  # type: ignore[no-any-return]

    def _close_part(self) -> None:
        content = self._current()["content"]
        if not content:
            return
        part, at = content[-1], {"content_index": len(content) - 1}
        name = "text" if part["type"] == "output_text" else "refusal"
        self._of_item(f"response.{part['type']}.done", **at, **{name: part[name]})
        self._of_item("response.content_part.done", **at, part=part)

    def _close(self) -> None:
        """Ends the item that is written."""
        if self._open is None:
            return
        item = self._current()
        if item["type"] == "message":
            self._close_part()
        elif item["type"] == "function_call":
            self._of_item("response.function_call_arguments.done", name=item["name"], arguments=item["arguments"])
        else:
            for part in item["summary"]:
                self._of_item("response.reasoning_summary_text.done", summary_index=0, text=part["text"])
                self._of_item("response.reasoning_summary_part.done", summary_index=0, part=part)
            if self._thinking:
                sealed = base64.b64encode(json.dumps(self._thinking).encode()).decode()
                item["encrypted_content"], self._thinking = _THINKING + sealed, []
        if "status" in item:
            item["status"] = "completed"
        self._event("response.output_item.done", output_index=self._open, item=item)
        self._open = None


def _usage(usage: Any) -> dict[str, Any]:
    read, written = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    prompt, answer = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": read.get("cached_tokens") or 0},
        "output_tokens": answer,
        "output_tokens_details": {"reasoning_tokens": written.get("reasoning_tokens") or 0},
        "total_tokens": usage.get("total_tokens") or prompt + answer,
    }


def response(answer: Any, model: str, echoed: dict[str, Any]) -> dict[str, Any]:
    """Returns the response of a chat completion that was not streamed."""
    answer = plain(answer)
    events = Events(model, echoed)
    events.take({**answer, "choices": [{**each, "delta": each.get("message")} for each in answer["choices"][:1]]})
    events.end()
    return events.response


class EventStream:
    """The events of a stream of chunks, for ``for`` and ``async for``."""

    def __init__(self, chunks: Any, model: str, echoed: dict[str, Any]) -> None:
        self.chunks, self.meta = chunks, getattr(chunks, "meta", None)
        self._events = Events(model, echoed)
        self._ready: list[Any] = []
        self._ended = False
        self._is_async = hasattr(chunks, "__anext__")

    @property
    def completion(self) -> Any:
        """The chat completion, once the stream is over; None if it was made in the program."""
        return getattr(self.chunks, "completion", None)

    def __iter__(self) -> EventStream:
        return self

    def __aiter__(self) -> EventStream:
        return self

    def __next__(self) -> Any:
        while not self._ready:
            try:
                self._ready = self._events.take(plain(next(self.chunks)))
            except StopIteration:
                if self._ended:
                    raise
                self._over()
        return self._ready.pop(0)

    async def __anext__(self) -> Any:
        while not self._ready:
            try:
                chunk = await self.chunks.__anext__() if self._is_async else next(self.chunks)
            except (StopIteration, StopAsyncIteration):
                if self._ended:
                    raise StopAsyncIteration from None
                self._over()
            else:
                self._ready = self._events.take(plain(chunk))
        return self._ready.pop(0)

    def _over(self) -> None:
        self._ended = True
        self._ready = self._events.end()

    def close(self) -> None:
        """Closes the stream; an unfinished request is aborted."""
        self._ended = True
        getattr(self.chunks, "close", lambda: None)()

    async def aclose(self) -> None:
        """Closes the stream; an unfinished request is aborted."""
        self._ended = True
        close = getattr(self.chunks, "aclose", None)
        if close is not None:
            await close()
