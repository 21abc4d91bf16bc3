"""``token_counter`` and what belongs to it: how many tokens a text, messages and tools have, as LiteLLM counts them.

The vocabularies are tiktoken's, if that is installed (``pip install 'ritellm[tokens]'``), and those in an installed package
``litellm``, which are read without importing it. Without them, a token is four bytes.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from ritellm.compat import _finder, _prices
from ritellm.compat._tool_texts import text_of_tools
from ritellm.compat._usages import member

__all__ = [
    "create_pretrained_tokenizer",
    "create_tokenizer",
    "decode",
    "encode",
    "token_counter",
    "trim_messages",
]

#: Tokens that the form of a chat adds: for each message, for a name in one, and once.
_PER_MESSAGE, _PER_NAME, _PER_CHAT = 3, 1, 3
#: The count of longer texts is estimated from samples of this length in all.
_MOST = 4_000_000
_SAMPLES = 16

_Length = Callable[[str], int]


def __getattr__(name: str) -> object:
    if name == "encoding":
        return _encoding("cl100k_base")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def token_counter(
    model: str = "",
    custom_tokenizer: Any = None,
    text: str | list[Any] | None = None,
    messages: Sequence[Any] | None = None,
    count_response_tokens: bool | None = False,
    tools: Sequence[Any] | None = None,
    tool_choice: Any = None,
    use_default_image_token_count: bool | None = False,
    default_token_count: int | None = None,
) -> int:
    """Returns the number of tokens of a text, or of messages and tools. Nobody is asked.

    Args:
        model: the name of the model whose vocabulary is used.
        custom_tokenizer: a tokenizer that `create_tokenizer` or `create_pretrained_tokenizer` has made.
        text: the text, or a list of texts, in place of messages.
        messages: the messages.
        count_response_tokens: what the form of a chat adds once is left out, as are the tools.
        tools: the tools of the call.
        tool_choice: the choice among them.
        use_default_image_token_count: pictures are not looked at, and have 250 tokens each.
        default_token_count: the number for content that cannot be counted, in place of an error.

    Raises:
        ValueError: neither text nor messages, or both, or content that cannot be counted.
    """
    if vars(_finder.module("litellm")).get("disable_token_counter") is True:
        return 0
    if text is not None and messages is not None:
        raise ValueError("text and messages cannot both be set")
    length = _length(model, custom_tokenizer)
    if text is not None:
        if tools or tool_choice:
            raise ValueError("tools or tool_choice cannot be set if using text")
        return length(text if isinstance(text, str) else "".join(part for part in text if isinstance(part, str)))
    if messages is None:
        raise ValueError("Either text or messages must be provided")
    dicts = [_dict(message) for message in messages]
    count = sum(
        _of_message(message, length, bool(use_default_image_token_count), default_token_count) for message in dicts
    )
    if count_response_tokens is False:
        has_system = any(message.get("role") == "system" for message in dicts)
        count += _PER_CHAT
        if tools:
            count += length(text_of_tools(tools)) + 9 - (4 if has_system else 0)
        count += _of_choice(tool_choice, length)
    return count


def _dict(message: Any) -> Mapping[str, Any]:
    dump = getattr(message, "model_dump", None)
    found: Mapping[str, Any] = dump() if dump is not None else message
    return found


def _of_message(message: Mapping[str, Any], length: _Length, usual_image: bool, otherwise: int | None) -> int:
    count = _PER_MESSAGE
    for name, value in message.items():
        if value is None:
            continue
        if name == "tool_calls":
            for call in value:
                if "function" not in call:
                    raise ValueError(f"Unsupported tool call {call} must contain a function key")
                count += length(str(call["function"].get("arguments", "")))
        elif name == "function_call":
            count += length(str(value.get("arguments", "")))
        elif isinstance(value, str):
            count += length(value) + (_PER_NAME if name == "name" else 0)
        elif name == "content" and isinstance(value, list):
            count += _of_parts(value, length, usual_image, otherwise)
    return count


#: Parts of content → the member that has their text.
_TEXTS = {
    "text": "text",
    "thinking": "thinking",
    "redacted_thinking": "thinking",
    "compaction": "content",
    # LiteLLM refuses these, of the Responses API.
    "input_text": "text",
    "output_text": "text",
    "summary_text": "text",
    "reasoning_text": "text",
    "refusal": "refusal",
}


def _of_parts(parts: Iterable[Any], length: _Length, usual_image: bool, otherwise: int | None) -> int:
    try:
        return sum(_of_part(part, length, usual_image, otherwise) for part in parts)
    except Exception as error:
        if otherwise is not None:
            return otherwise
        raise ValueError(
            f"Error getting number of tokens from content list: {error}, default_token_count={otherwise}"
        ) from error


def _of_part(part: Any, length: _Length, usual_image: bool, otherwise: int | None) -> int:
    from ritellm.compat._image_tokens import tokens_of_image

    if isinstance(part, str):
        return length(part)
    kind = part["type"]
    if kind in _TEXTS:
        text = str(part.get(_TEXTS[kind]) or "")
        return length(text) if text else 0
    if kind == "image_url":
        return tokens_of_image(part.get("image_url"), usual_image)
    if kind == "image":
        source = part["source"]
        return tokens_of_image(member(source, "url") or member(source, "data") or "", usual_image)
    if kind == "reasoning":
        return sum(_of_parts(part.get(name) or (), length, usual_image, otherwise) for name in ("summary", "content"))
    if kind == "tool_reference":
        return length(str(part.get("tool_name") or ""))
    if kind in ("tool_use", "tool_result", "search_result", "document", "file", "server_tool_use"):
        if kind == "document" and member(part.get("source") or {}, "url"):
            raise ValueError("Invalid content item type: document at a URL, whose number of tokens is not known.")
        # Whatever has a text in it counts; media do not.
        count = 0
        for name, value in part.items():
            if name in ("type", "id", "tool_use_id", "cache_control", "source") or value is None:
                continue
            if isinstance(value, str):
                count += length(value)
            elif isinstance(value, list):
                count += _of_parts(value, length, usual_image, otherwise)
            elif name == "input":
                count += length(str(value))
        return count
    raise ValueError(f"Invalid content item type: {kind}.")


def _of_choice(choice: Any, length: _Length) -> int:
    if choice == "none" or member(choice, "type") == "none":
        return 1
    name = member(member(choice, "function"), "name") or (None if isinstance(choice, str) else member(choice, "name"))
    return 7 + length(name) if isinstance(name, str) else 0


# Vocabularies.


def _length(model: str, custom: Any) -> _Length:
    chosen = custom or _tokenizer(model)
    if chosen["type"] == "huggingface_tokenizer":

        def exact(text: str) -> int:
            found = chosen["tokenizer"].encode(text)
            return len(getattr(found, "ids", found))
    elif chosen["type"] == "openai_tokenizer":
        encoding = chosen["tokenizer"] if custom else _encoding(encoding_name(model))

        def exact(text: str) -> int:
            return len(encoding.encode(text, disallowed_special=()))
    else:
        raise ValueError("Unsupported tokenizer type")

    def length(text: str) -> int:
        if len(text) <= _MOST:
            return exact(text)
        size = _MOST // _SAMPLES
        last = len(text) - size
        starts = [last * at // (_SAMPLES - 1) for at in range(_SAMPLES)]
        counted = sum(exact(text[start : start + size]) for start in starts)
        return round(counted * len(text) / (size * _SAMPLES))

    return length


def encoding_name(model: str) -> str:
    """Returns the name of the vocabulary of a model; those of models that are not OpenAI's are counted with an older one.

    Args:
        model: the name of a model, with or without its provider.
    """
    name = _openai_name(model) or "gpt-3.5-turbo"
    if "gpt-4o" in name:
        return "o200k_base"
    known = _known_encoding(name)
    if known is not None:
        return known
    mode = _prices.current().get(name, {}).get("mode", "chat")
    return "o200k_base" if mode in ("chat", "responses", "completion", "realtime") else "cl100k_base"


def _openai_name(model: str) -> str | None:
    name = model.rsplit("/", 1)[-1]
    entries = _prices.current()
    parts = model.split("/")
    for start in range(len(parts)):
        entry = entries.get("/".join(parts[start:]), {})
        if entry.get("litellm_provider") == "openai":
            return name
    if _known_encoding(name) == "o200k_base" or re.match(r"(?:gpt-(?:[5-9]|[1-9]\d+)|o[1-9]\d*)(?:[.-]|$)", name):
        return name
    azure = entries.get(f"azure/{name}", {}).get("litellm_provider") == "azure"
    return name if azure and _known_encoding(name) is not None else None


def _known_encoding(name: str) -> str | None:
    try:
        from tiktoken.model import encoding_name_for_model

        return str(encoding_name_for_model(name))
    except (ImportError, KeyError):
        return None


class _Pieces:
    """Stands in for a vocabulary: a token is four bytes, which can be turned back into the text."""

    name = "four-bytes"

    @staticmethod
    def encode(text: str, **options: Any) -> list[int]:
        data = text.encode("utf-8", "replace")
        pieces = (data[at : at + 4] for at in range(0, len(data), 4))
        return [int.from_bytes(piece, "big") | len(piece) << 32 for piece in pieces]

    @staticmethod
    def decode(tokens: Sequence[int], **options: Any) -> str:
        return b"".join((token & 0xFFFFFFFF).to_bytes(token >> 32, "big") for token in tokens).decode(
            "utf-8", "replace"
        )


@cache
def _encoding(name: str) -> Any:
    try:
        import tiktoken

        return tiktoken.get_encoding(name)
    except Exception as error:
        # It is not installed, or has no vocabulary and cannot get one.
        logging.getLogger("ritellm").warning(
            "%s",
            f"tokens are estimated from the length: pip install 'ritellm[tokens]' ({type(error).__name__}: {error})",
        )
        return _Pieces()


def _tokenizer(model: str) -> dict[str, Any]:
    entry = _prices.current().get(model, {})
    file = None
    if entry.get("litellm_provider") == "anthropic" and "claude-3" not in model:
        file = "anthropic_tokenizer.json"
    elif re.search(r"(?i)deepseek[-_.](?:chat[-_.])?v[34]|(?:^|/)deepseek-(?:chat|reasoner|flash)(?::free)?$", model):
        file = "deepseek_tokenizer.json"
    found = None if file is None else _from_file(file)
    return {"type": "openai_tokenizer", "tokenizer": _encoding("cl100k_base")} if found is None else found


@cache
def _from_file(name: str) -> dict[str, Any] | None:
    path = _finder.path_in_litellm(f"litellm_core_utils/tokenizers/{name}")
    if path is None:
        return None
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    return {"type": "huggingface_tokenizer", "tokenizer": Tokenizer.from_file(path)}


def create_pretrained_tokenizer(
    identifier: str, revision: str = "main", auth_token: str | None = None
) -> dict[str, Any]:
    """Returns a tokenizer of Hugging Face's for `token_counter`; it is downloaded.

    Args:
        identifier: the name of a model there.
        revision: a branch or commit.
        auth_token: a token, for models that are not public.

    Raises:
        ImportError: the package tokenizers is not installed.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_pretrained(identifier, revision=revision, token=auth_token)
    return {"type": "huggingface_tokenizer", "tokenizer": tokenizer}


def create_tokenizer(json: str) -> dict[str, Any]:
    """Returns a tokenizer for `token_counter`.

    Args:
        json: the tokenizer, as the package tokenizers writes it.

    Raises:
        ImportError: the package tokenizers is not installed.
    """
    from tokenizers import Tokenizer

    return {"type": "huggingface_tokenizer", "tokenizer": Tokenizer.from_str(json)}


def encode(model: str = "", text: str = "", custom_tokenizer: Any = None) -> Any:
    """Returns the tokens of a text as numbers.

    Args:
        model: the name of the model.
        text: the text.
        custom_tokenizer: a tokenizer that `create_tokenizer` has made.
    """
    chosen = custom_tokenizer or _tokenizer(model)
    if chosen["type"] == "openai_tokenizer":
        return chosen["tokenizer"].encode(text, disallowed_special=())
    found = chosen["tokenizer"].encode(text)
    return getattr(found, "ids", found)


def decode(
    model: str = "", tokens: Sequence[int] = (), custom_tokenizer: Any = None, skip_special_tokens: bool = True
) -> str:
    """Returns the text of tokens.

    Args:
        model: the name of the model.
        tokens: the tokens, as `encode` returns them.
        custom_tokenizer: a tokenizer that `create_tokenizer` has made.
        skip_special_tokens: tokens that stand for no text are left out.
    """
    chosen = custom_tokenizer or _tokenizer(model)
    if chosen["type"] == "huggingface_tokenizer":
        return str(chosen["tokenizer"].decode(tokens, skip_special_tokens=skip_special_tokens))
    return str(chosen["tokenizer"].decode(tokens))


def _text(content: Any) -> str:
    """Returns the texts of a content, which may be a list of parts."""
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if isinstance(part, dict) and "text" in part)
    return content or ""


def trim_messages(
    messages: list[Any],
    model: str | None = None,
    trim_ratio: float = 0.75,
    return_response_tokens: bool = False,
    max_tokens: int | None = None,
) -> Any:
    """Returns messages of which those in the middle are left out until they fit; the system's and the last tools' stay.

    Args:
        messages: the messages.
        model: the name of the model; one that the map does not have trims nothing, without ``max_tokens``.
        trim_ratio: part of the model's context window that the messages may fill.
        return_response_tokens: also returns the number of tokens that are left.
        max_tokens: maximum number of tokens, in place of the model's.
    """
    given = copy.deepcopy(messages)
    if max_tokens is None:
        entry = _prices.current().get(model or "")
        if entry is None or not entry.get("max_input_tokens"):
            return given
        max_tokens = int(entry["max_input_tokens"] * trim_ratio)
    at = len(given)
    while at and given[at - 1]["role"] == "tool":
        at -= 1
    given, results = given[:at], given[at:]
    name = model or ""
    if token_counter(name, messages=given) < max_tokens:
        return given + results
    system = "\n".join(_text(message["content"]) for message in given if message["role"] == "system")
    kept: list[Any] = []
    if system:
        first = {"role": "system", "content": system}
        left = max_tokens - token_counter(name, messages=[first])
        if left < 10:
            return [{"role": "system", "content": _shortened(system, max_tokens, name)}]
        kept, max_tokens = [first], left
        given = [message for message in given if message["role"] != "system"]
    chosen: list[Any] = []
    for message in reversed(given):
        left = max_tokens - (token_counter(name, messages=chosen) if chosen else 0)
        if token_counter(name, messages=[message]) <= left:
            chosen.insert(0, message)
            continue
        if isinstance(message.get("content"), str) and left > 10:
            chosen.insert(0, {**message, "content": _shortened(message["content"], left, name)})
        break
    trimmed = kept + chosen + results
    if return_response_tokens:
        return trimmed, max_tokens - token_counter(name, messages=trimmed)
    return trimmed


def _shortened(text: str, most: int, model: str) -> str:
    """Returns the begin and the end of a text, with ``..`` in place of what is between, so that a message of it fits."""
    length = _length(model, None)
    room = most - _PER_MESSAGE - _PER_CHAT - 2
    if room <= 0:
        return ""
    size = len(text)
    while size > 0:
        half = size // 2
        short = f"{text[:half]}..{text[len(text) - half :]}" if half else ".."
        if length(short) <= room:
            return short
        size = size * 9 // 10
    return ""
