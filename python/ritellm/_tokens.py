"""``count_tokens`` and ``trim_messages``: how long a prompt is, and what to leave out of one that is too long."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from ritellm import _core
from ritellm.exceptions import (
    InvalidArgumentError,
    NotFoundError,
    UnsupportedParamsError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ritellm import Client
else:
    Any = Client = object

__all__ = ["TokenCount", "acount_tokens", "count_tokens", "trim_messages"]

#: Bytes of JSON for each token, of a text that no tokenizer is at hand for.
_BYTES_PER_TOKEN = 4
#: Tokens of a picture, a file or a sound that nobody counts.
_MEDIA = 1000
#: Tokens that the form of OpenAI's chats adds: for each message, for a name in one, and once:
#: https://github.com/openai/openai-cookbook/blob/main/examples/How_to_count_tokens_with_tiktoken.ipynb
_PER_MESSAGE, _PER_NAME, _PER_CHAT = 3, 1, 3
#: Providers whose endpoint counts the texts alone, without what the model's template adds.
_TEXTS_ONLY = ("cohere", "llamafile")
#: What a provider raises that does not count: the count at hand is taken.
_NOT_COUNTED = (NotFoundError, UnsupportedParamsError)


class TokenCount(int):
    """A number of tokens: an ``int`` that says where it is from.

    Attributes:
        source: ``"provider"``, ``"tokenizer"`` or ``"estimate"``.
        is_estimate: true if the provider may count a different number.
    """

    source: str
    is_estimate: bool

    def __new__(cls, count: int, source: str = "estimate", is_estimate: bool = True) -> TokenCount:
        made = super().__new__(cls, count)
        made.source, made.is_estimate = source, is_estimate
        return made

    def __reduce__(self) -> tuple[type[TokenCount], tuple[int, str, bool]]:
        return TokenCount, (int(self), self.source, self.is_estimate)

    def __repr__(self) -> str:
        return f"TokenCount({int(self)}, source={self.source!r}, is_estimate={self.is_estimate})"


def count_tokens(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Iterable[Any] | None = None,
    client: Client | None = None,
    offline: bool = False,
    **params: Any,
) -> TokenCount:
    """Returns the number of tokens of a prompt.

    >>> import ritellm
    >>> count = ritellm.count_tokens("groq/llama", [{"role": "user", "content": "Hi"}], offline=True)
    >>> count.is_estimate
    True

    It is exact where the provider counts (Anthropic, Gemini, Vertex AI, Bedrock, vLLM, and OpenAI) and, without asking anybody, for
    messages of text to OpenAI's models if tiktoken is installed (``pip install 'ritellm[tokens]'``). Elsewhere it is an estimate
    from the length, and ``is_estimate`` is true. See docs/tokens.md.

    Args:
        model: ``"provider/model"``.
        messages: the messages, as for `ritellm.completion`.
        tools: the tools of the call.
        client: the client that asks; the package's default client, if it is left out.
        offline: nobody is asked.
        **params: further arguments of the call: ``api_key``, ``timeout``, ``tool_choice`` …

    Raises:
        InvalidArgumentError: an argument that cannot be used.
        RiteLLMError: the provider refuses the key or the request.
    """
    count, asked = _prepared(model, messages, tools, offline, params)
    if asked is not None:
        with suppress(*_NOT_COUNTED):
            count = _counted(model, _of(client).call("count_tokens", model, *asked))
    return count


async def acount_tokens(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Iterable[Any] | None = None,
    client: Client | None = None,
    offline: bool = False,
    **params: Any,
) -> TokenCount:
    """Returns the number of tokens of a prompt; see `count_tokens`.

    Args:
        model: ``"provider/model"``.
        messages: the messages, as for `ritellm.completion`.
        tools: the tools of the call.
        client: the client that asks; the package's default client, if it is left out.
        offline: nobody is asked.
        **params: further arguments of the call.

    Raises:
        InvalidArgumentError: an argument that cannot be used.
        RiteLLMError: the provider refuses the key or the request.
    """
    count, asked = _prepared(model, messages, tools, offline, params)
    if asked is not None:
        input, arguments = asked
        with suppress(*_NOT_COUNTED):
            count = _counted(model, await _of(client).start("count_tokens", model, input, _core.conceal(arguments)))
    return count


def _of(client: Any) -> Any:
    from ritellm.client import _default

    if client is not None and not isinstance(client, _core.Client):
        raise InvalidArgumentError(f"client is of type {type(client).__name__}: a ritellm.Client would be right")
    return _default if client is None else client


def _counted(model: str, answer: Any) -> TokenCount:
    return TokenCount(answer["tokens"], "provider", is_estimate=_provider(model) in _TEXTS_ONLY)


def _prepared(
    model: Any, messages: Any, tools: Any, offline: bool, params: dict[str, Any]
) -> tuple[TokenCount, tuple[Any, dict[str, Any]] | None]:
    """Returns the count that is at hand and, if it is no better than an estimate, the input and the arguments of a call."""
    if not isinstance(model, str) or not model:
        raise InvalidArgumentError(f'model is of type {type(model).__name__}: "provider/model" would be right')
    plain = _plain(messages)
    tools = None if tools is None else [_dict_of("tools", tool) for tool in tools]
    at_hand = _at_hand(_encoding(model), plain, tools)
    provider = _provider(model)
    if offline or not at_hand.is_estimate or provider not in _counting():
        return at_hand, None
    arguments = dict(params)
    if provider == "openai":
        items = _items(plain)
        tools = None if tools is None else [_flat(tool) for tool in tools]
        if items is None:
            return at_hand, None
    else:
        items = plain
    if tools is not None:
        arguments["tools"] = tools
    return at_hand, (items, arguments)


def _provider(model: str) -> str:
    """Returns the name of a model's provider, as far as the name says it."""
    first, slash, _ = model.partition("/")
    if not slash:
        return {"claude": "anthropic", "gemini": "gemini"}.get(model.partition("-")[0], "openai")
    return {"cohere_chat": "cohere", "vertex_ai": "vertex"}.get(first, first)


_known: set[str] = set()


def _counting() -> set[str]:
    """The providers that count tokens."""
    if not _known:
        _known.update(row["name"] for row in _core.providers() if "count_tokens" in row["operations"])
    return _known


def _dict_of(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    for method in ("model_dump", "to_dict"):
        if callable(getattr(value, method, None)):
            return dict(getattr(value, method)())
    spec = getattr(value, "spec", None)
    if isinstance(spec, Mapping):
        return dict(spec)
    raise InvalidArgumentError(f"{name} has an item of type {type(value).__name__}: a dict would be right")


def _plain(messages: Any) -> list[dict[str, Any]]:
    if isinstance(messages, str | Mapping) or not isinstance(messages, Iterable):
        raise InvalidArgumentError(
            f"messages is of type {type(messages).__name__}: a list of messages such as "
            '{"role": "user", "content": "Hi"} would be right'
        )
    return [_dict_of("messages", message) for message in messages]


# What is at hand.


def _at_hand(encoding: Any, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> TokenCount:
    is_text = all(_is_text(message) for message in messages)
    if encoding is None:
        size = sum(_size(message) for message in messages) + (_size(tools) if tools else 0)
        count = -(-size // _BYTES_PER_TOKEN) + _MEDIA * sum(_media(message) for message in messages)
        return TokenCount(count)

    def length(text: str) -> int:
        # Names of special tokens in a text are text there.
        return len(encoding.encode(text, disallowed_special=()))

    count = _PER_CHAT + sum(_tokens(message, length) for message in messages)
    if tools:
        count += length(json.dumps(tools, ensure_ascii=False))
    return TokenCount(count, "tokenizer", is_estimate=not is_text or bool(tools))


def _encoding(model: str) -> Any:
    """The tokenizer of one of OpenAI's models, if tiktoken has it at hand."""
    provider, slash, name = model.partition("/")
    if slash and provider not in ("openai", "azure"):
        return None
    try:
        import tiktoken

        return tiktoken.encoding_for_model(name if slash else model)
    except Exception:
        # It is not installed, does not know the model, or has no vocabulary and cannot get one.
        return None


def _tokens(message: Mapping[str, Any], length: Any) -> int:
    count = _PER_MESSAGE
    for name, value in message.items():
        if name == "content" and isinstance(value, list):
            count += sum(
                length(part.get("text") or "") if isinstance(part, Mapping) and "text" in part else _MEDIA
                for part in value
            )
        elif isinstance(value, str):
            count += length(value) + (_PER_NAME if name == "name" else 0)
        elif value is not None:
            count += length(json.dumps(value, ensure_ascii=False, default=str))
    return count


def _is_text(message: Mapping[str, Any]) -> bool:
    known = {"role", "content", "name"}
    content = message.get("content")
    parts = isinstance(content, list) and all(
        isinstance(part, Mapping) and part.get("type") == "text" for part in content
    )
    return {name for name, value in message.items() if value is not None} <= known and (
        isinstance(content, str) or parts
    )


_MEDIA_TYPES = frozenset(
    {"image_url", "input_image", "image", "input_audio", "file", "input_file", "document", "video_url"}
)


def _media(value: Any) -> int:
    """Number of pictures, files and sounds in a message."""
    if isinstance(value, list):
        return sum(_media(item) for item in value)
    if isinstance(value, Mapping):
        return 1 if value.get("type") in _MEDIA_TYPES else _media(value.get("content"))
    return 0


def _size(value: Any) -> int:
    """Number of bytes of a value's JSON, without the content of pictures, files and sounds."""
    if isinstance(value, Mapping):
        if value.get("type") in _MEDIA_TYPES:
            return 0
        return 2 + sum(len(str(name)) + 4 + _size(item) for name, item in value.items())
    if isinstance(value, list | tuple):
        return 2 + sum(_size(item) + 1 for item in value)
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace")) + 2
    return len(str(value))


# OpenAI's endpoint takes the items of the Responses API.


def _items(messages: list[dict[str, Any]]) -> list[Any] | None:
    """Returns messages as items of the Responses API, or ``None`` if they cannot be written so."""
    items: list[Any] = []
    for message in messages:
        if "role" not in message:
            items.append(message)
            continue
        role, content = message["role"], message.get("content")
        if role == "tool":
            output = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
            items.append({"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": output})
            continue
        if content:
            parts = _parts(role, content)
            if parts is None:
                return None
            items.append({"role": role, "content": parts})
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            items.append(
                {
                    "type": "function_call",
                    "call_id": call.get("id"),
                    "name": function.get("name"),
                    "arguments": function.get("arguments") or "{}",
                }
            )
    return items


def _parts(role: str, content: Any) -> Any:
    if isinstance(content, str):
        return content
    parts = []
    for part in content:
        kind = part.get("type")
        if kind == "text":
            parts.append({"type": "output_text" if role == "assistant" else "input_text", "text": part["text"]})
        elif kind == "image_url":
            image = part["image_url"]
            url, detail = (image, None) if isinstance(image, str) else (image.get("url"), image.get("detail"))
            parts.append({"type": "input_image", "image_url": url, "detail": detail or "auto"})
        else:
            return None
    return parts


def _flat(tool: Mapping[str, Any]) -> Any:
    function = tool.get("function")
    return {"type": "function", **function} if isinstance(function, Mapping) else tool


# Trimming.


def trim_messages(
    messages: Sequence[Mapping[str, Any]],
    model: str,
    max_tokens: int,
    *,
    tools: Iterable[Any] | None = None,
) -> list[Any]:
    """Returns the newest messages of a conversation that fit into a number of tokens.

    >>> import ritellm
    >>> messages = [{"role": "user", "content": "word " * 500}, {"role": "assistant", "content": "Yes."},
    ...             {"role": "user", "content": "Go on"}]
    >>> ritellm.trim_messages(messages, "openai/gpt-4o-mini", 200)
    [{'role': 'user', 'content': 'Go on'}]

    The system's and developer's messages at the begin and the last turn always stay. Older turns go as a whole, oldest first: a
    call of a tool is never split from its results, and what is left begins with a message of the user. The messages themselves
    are returned as they are; nobody is asked, so that the count is exact where `count_tokens` is without asking, and an estimate
    elsewhere.

    Args:
        messages: the messages, in OpenAI's format or Anthropic's, or items of the Responses API.
        model: ``"provider/model"``.
        max_tokens: maximum number of tokens, the tools' included.
        tools: the tools of the call.

    Raises:
        InvalidArgumentError: what always stays does not fit.
    """
    most: Any = max_tokens
    is_number = isinstance(most, int) and not isinstance(most, bool)
    if not is_number or most <= 0:
        shown = most if is_number else f"of type {type(most).__name__}"
        raise InvalidArgumentError(f"max_tokens is {shown}: a number of tokens, a whole number above 0, would be right")
    given: Any = messages
    if not isinstance(given, str | Mapping) and isinstance(given, Iterable):
        # An iterator is read once.
        given = list(given)
    plain = _plain(given)
    dicts = None if tools is None else [_dict_of("tools", tool) for tool in tools]
    encoding = _encoding(model)
    base, empty = int(_at_hand(encoding, [], dicts)), int(_at_hand(encoding, [], None))
    sizes = [int(_at_hand(encoding, [message], None)) - empty for message in plain]
    head = 0
    while head < len(plain) and plain[head].get("role") in ("system", "developer"):
        head += 1
    turns = _turns(plain, head)
    left = max_tokens - base - sum(sizes[:head])
    start = len(plain)
    for begin, end in reversed(turns):
        left -= sum(sizes[begin:end])
        if left < 0:
            break
        start = begin
    if left < 0 and start == len(plain):
        need = base + sum(sizes[:head]) + sum(sizes[slice(*turns[-1])] if turns else ())
        raise InvalidArgumentError(
            f"max_tokens is {max_tokens}: the system's messages and the last turn have {need} already, and are never left out"
        )
    return [*given[:head], *given[start:]]


def _turns(messages: list[dict[str, Any]], head: int) -> list[tuple[int, int]]:
    """Returns the begin and the end of each turn: from a message of the user to the next one, and no call is split."""
    count = len(messages)
    # A cut before these would split a call from a result, or leave an answer without its question.
    joined = [False] * (count + 1)
    calls: dict[str, int] = {}
    for index, message in enumerate(messages):
        results = list(_results(message))
        if message.get("role") != "user" or results:
            joined[index] = True
        for call in _calls(message):
            calls[call] = index
        for result in results:
            begin = calls.get(result, index - 1)
            for between in range(begin + 1, index + 1):
                joined[between] = True
    if head == count:
        return []
    begins = [index for index in range(head, count) if index == head or not joined[index]]
    return list(zip(begins, [*begins[1:], count], strict=True))


def _blocks(message: Mapping[str, Any]) -> list[Any]:
    content = message.get("content")
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []


def _calls(message: Mapping[str, Any]) -> Iterable[str]:
    """The ids of the tool calls in a message: of OpenAI's, of Anthropic's, and of an item of a response."""
    found = [call.get("id") for call in message.get("tool_calls") or () if isinstance(call, Mapping)]
    found += [block.get("id") for block in _blocks(message) if block.get("type") == "tool_use"]
    if message.get("type") in ("function_call", "custom_tool_call"):
        found.append(message.get("call_id"))
    return [call for call in found if call]


def _results(message: Mapping[str, Any]) -> Iterable[str]:
    """The ids of the calls whose results are in a message."""
    found: list[Any] = []
    if message.get("role") in ("tool", "function"):
        found.append(message.get("tool_call_id") or "")
    found += [block.get("tool_use_id") for block in _blocks(message) if block.get("type") == "tool_result"]
    if message.get("type") in ("function_call_output", "custom_tool_call_output"):
        found.append(message.get("call_id") or "")
    return [result for result in found if result is not None]
