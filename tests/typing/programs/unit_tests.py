"""A program's own tests, without a provider."""

from __future__ import annotations

import json
from typing import Any

from typing_extensions import assert_type

from ritellm import ChatCompletion, Message, Meta, RateLimitError, Stream, ToolCall, Usage


class Fake:
    """A client that answers from a list."""

    def __init__(self, *answers: ChatCompletion) -> None:
        self.answers = list(answers)

    def completion(self, model: str, messages: list[dict[str, Any]], **_: Any) -> ChatCompletion:
        print(model, messages)
        return self.answers.pop(0)


def made() -> ChatCompletion:
    call = ToolCall.make("call_1", "weather", {"city": "Oslo"})
    return ChatCompletion(
        choices=[{"index": 0, "message": Message.assistant(tool_calls=[call])}],
        usage=Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7),
        meta=Meta(provider="openai", request_id="req_1", latency=0.5),
    )


def test_it() -> None:
    response = Fake(made()).completion("m", [Message.user("Hi")])
    assert response.tool_calls[0].arguments.city == "Oslo"
    assert_type(response.meta.request_id, str | None)
    stored = response.to_json()
    assert_type(ChatCompletion.from_json(stored), ChatCompletion)
    assert_type(response.model_copy(update={"id": "2"}), ChatCompletion)
    assert_type(response.copy(), ChatCompletion)
    assert json.loads(stored) == response.model_dump(exclude={"choices": {0: {"message"}}}, exclude_none=True)
    again = Meta(**response.meta.to_dict())
    assert again.attempts[0].outcome == "success"


def test_streams() -> None:
    stream = Stream.from_chunks(["Hel", "lo"])
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == stream.text
    broken = Stream.from_chunks(["Hel"], error=RateLimitError("slow down", retry_after=3))
    for chunk in broken:
        print(chunk.choices)
