"""Tests of the compat layer's token counts: with a vocabulary of four bytes a token, so that the numbers can be read off."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any

import pytest

import ritellm.compat
from ritellm.compat import _finder, _tokens

ritellm.compat.install()
import litellm  # noqa: E402


@pytest.fixture(autouse=True)
def four_bytes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_tokens, "_encoding", lambda name: _tokens._Pieces())
    monkeypatch.setattr(_finder, "path_in_litellm", lambda name: None)
    _tokens._from_file.cache_clear()
    yield
    _tokens._from_file.cache_clear()


def png(width: int, height: int) -> str:
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height)
    return "data:image/png;base64," + base64.b64encode(head + bytes(40)).decode()


def test_texts() -> None:
    assert litellm.token_counter("gpt-4o", text="12345678") == 2
    assert litellm.token_counter(model="gpt-4o", text=["1234", "5678", "9"]) == 3
    assert litellm.utils.token_counter is litellm.token_counter
    with pytest.raises(ValueError, match="Either text or messages"):
        litellm.token_counter("gpt-4o")
    with pytest.raises(ValueError, match="cannot both be set"):
        litellm.token_counter("gpt-4o", text="a", messages=[])


def test_texts_there_and_back() -> None:
    text = "Ärger, 東京 🎉"
    tokens = litellm.encode(model="gpt-4o", text=text)
    assert len(tokens) == -(-len(text.encode()) // 4)
    assert litellm.decode(model="gpt-4o", tokens=tokens) == text
    assert litellm.encoding.decode(litellm.encoding.encode(text, disallowed_special=())) == text


@pytest.mark.parametrize(
    ("message", "count"),
    [
        # 3 for the message, 1 for "user", then the content.
        ({"role": "user", "content": "12345678"}, 3 + 1 + 2),
        ({"role": "user", "content": "1234", "name": "bobby"}, 3 + 1 + 1 + 2 + 1),
        ({"role": "user", "content": [{"type": "text", "text": "1234"}]}, 3 + 1 + 1),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "https://host/a.png"}]}, 3 + 1 + 85),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": png(100, 200)}}]}, 3 + 1 + 85 + 170),
        # 3000 by 900 pixels are made 2000 by 600: four tiles by two.
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": png(3000, 900)}}]},
            3 + 1 + 85 + 170 * 8,
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": png(3000, 900), "detail": "low"}}]},
            3 + 1 + 85,
        ),
        (
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a":1}'}}],
            },
            3 + 3 + 2,
        ),
    ],
)
def test_messages(message: dict[str, Any], count: int) -> None:
    assert litellm.token_counter("gpt-4o", messages=[message]) == count + 3
    assert litellm.token_counter("gpt-4o", messages=[message], count_response_tokens=True) == count


def test_messages_that_are_objects() -> None:
    message = litellm.Message(role="assistant", content="12345678")
    assert litellm.token_counter("gpt-4o", messages=[message]) == 3 + 3 + 2 + 3


def test_parts_of_the_responses_api() -> None:
    reasoning = {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "12345678"}],
        "encrypted_content": "x" * 99,
    }
    text = {"type": "output_text", "text": "1234"}
    empty = litellm.token_counter("gpt-4o", messages=[{"role": "assistant", "content": []}])
    assert litellm.token_counter("gpt-4o", messages=[{"role": "assistant", "content": [reasoning, text]}]) == empty + 3


def test_content_that_cannot_be_counted() -> None:
    messages = [{"role": "user", "content": [{"type": "hologram"}]}]
    with pytest.raises(ValueError, match="Invalid content item type: hologram"):
        litellm.token_counter("gpt-4o", messages=messages)
    assert litellm.token_counter("gpt-4o", messages=messages, default_token_count=50) == 3 + 1 + 50 + 3


def test_tools_are_counted_as_typescript() -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tells it.",
            "parameters": {
                "type": "object",
                "properties": {
                    "place": {"type": "string", "description": "A city."},
                    "unit": {"type": "string", "enum": ["C", "F"]},
                    "days": {"type": "array", "items": {"type": "integer"}},
                },
                "required": ["place"],
            },
        },
    }
    text = """namespace functions {

// Tells it.
type weather = (_: {
// A city.
place: string,
unit?: "C" | "F",
days?: number[],
}) => any;

} // namespace functions"""
    alone = litellm.token_counter("gpt-4o", messages=[{"role": "user", "content": "Hi"}])
    counted = litellm.token_counter("gpt-4o", messages=[{"role": "user", "content": "Hi"}], tools=[tool])
    assert counted - alone == -(-len(text) // 4) + 9
    chosen = {"type": "function", "function": {"name": "weather"}}
    again = litellm.token_counter(
        "gpt-4o", messages=[{"role": "user", "content": "Hi"}], tools=[tool], tool_choice=chosen
    )
    assert again - counted == 7 + 2


def test_messages_are_trimmed() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        *({"role": "user", "content": f"{at} " + "word " * 20} for at in range(20)),
        {"role": "user", "content": "Go on"},
    ]
    trimmed = litellm.utils.trim_messages(messages, "gpt-4o", max_tokens=100)
    assert trimmed[0] == messages[0]
    assert trimmed[-1] == messages[-1]
    assert 2 < len(trimmed) < 7
    assert litellm.token_counter("gpt-4o", messages=trimmed) <= 100
    assert litellm.utils.trim_messages(messages, "nobody/knows") == messages


def test_counting_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "disable_token_counter", True)
    assert litellm.token_counter("gpt-4o", text="12345678") == 0
