"""Tests of the Responses API of the compat layer, and of Anthropic's Messages API as an interface."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import ritellm.compat
from ritellm.testing import MockServer

ritellm.compat.install()
import litellm  # noqa: E402


@pytest.fixture
def server() -> Iterator[MockServer]:
    with MockServer(intercept=False) as server:
        yield server


def at(server: MockServer) -> dict[str, Any]:
    return {"api_base": f"{server.url}/v1", "api_key": "sk-test", "max_retries": 0}


def test_a_response(server: MockServer) -> None:
    from openai.types.responses import ResponseOutputMessage

    server.reply("Hello")
    response = litellm.responses(input="Hi", model="openai/gpt-4o", metadata={"a": "b"}, **at(server))
    assert isinstance(response, litellm.ResponsesAPIResponse)
    assert response.output_text == "Hello"
    assert isinstance(response.output[0], ResponseOutputMessage)
    assert isinstance(response.usage, litellm.ResponseAPIUsage)
    assert response._hidden_params["custom_llm_provider"] == "openai"
    (request,) = server.requests
    assert request.json["metadata"] == {"a": "b"}


@pytest.mark.parametrize(
    ("provider", "path"),
    [("fireworks_ai", "/v1/responses"), ("openrouter", "/v1/responses"), ("groq", "/v1/chat/completions")],
)
def test_providers_have_their_own_or_are_asked_for_a_chat(server: MockServer, provider: str, path: str) -> None:
    server.reply("Hello")
    response = litellm.responses(model=f"{provider}/m", input="Hi", **at(server))
    assert response.output_text == "Hello"
    assert [request.path for request in server.requests] == [path]


async def test_streams_of_events(server: MockServer) -> None:
    server.reply("Hello there")
    stream = litellm.responses(model="openai/gpt-4o", input="Hi", stream=True, **at(server))
    events = list(stream)
    assert events[0].type == "response.created" == litellm.ResponsesAPIStreamEvents.RESPONSE_CREATED
    texts = [event.delta for event in events if isinstance(event, litellm.OutputTextDeltaEvent)]
    assert "".join(texts) == "Hello there"
    assert isinstance(stream.completed_response, litellm.ResponseCompletedEvent)
    assert stream.completed_response.response.output_text == "Hello there"
    later = await litellm.aresponses(model="openai/gpt-4o", input="Hi", stream=True, **at(server))
    assert [type(event) async for event in later] == [type(event) for event in events]


def test_an_error(server: MockServer) -> None:
    server.fail(401, "bad key")
    with pytest.raises(litellm.AuthenticationError):
        litellm.responses(model="openai/gpt-4o", input="Hi", **at(server))


def test_anthropics_messages(server: MockServer) -> None:
    from litellm import anthropic_interface

    create = anthropic_interface.messages.create
    tool = {"name": "weather", "description": "d", "input_schema": {"type": "object"}}
    messages = [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "1", "name": "weather", "input": {"city": "Oslo"}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "sunny"}]},
    ]
    server.reply("Hello", usage={"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4})
    server.on(model="calls").reply(tool_calls=[{"name": "weather", "arguments": {"city": "Rome"}, "id": "2"}])
    message = create(10, messages, "openai/gpt-4o", system="Be short.", tools=[tool], **at(server))
    assert message["content"] == [{"type": "text", "text": "Hello"}]
    assert (message["stop_reason"], message["usage"]) == ("end_turn", {"input_tokens": 3, "output_tokens": 1})
    sent = server.requests[0].json
    assert [each["role"] for each in sent["messages"]] == ["system", "user", "assistant", "tool"]
    assert sent["tools"][0]["function"]["name"] == "weather"
    message = create(10, messages[:1], "openai/calls", **at(server))
    assert message["content"] == [{"type": "tool_use", "id": "2", "name": "weather", "input": {"city": "Rome"}}]
    assert message["stop_reason"] == "tool_use"
    raw = b"".join(create(10, messages[:1], "openai/gpt-4o", stream=True, **at(server))).decode()
    events = [json.loads(line[6:]) for line in raw.splitlines() if line.startswith("data: ")]
    assert [event["type"] for event in events][:2] == ["message_start", "content_block_start"]
    assert (
        "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta") == "Hello"
    )
    assert events[-2]["usage"]["output_tokens"] == 1
    assert events[-1] == {"type": "message_stop"}


def test_several_calls_at_once(server: MockServer) -> None:
    server.reply("Hello")
    server.on(model="bad").fail(400)
    hi = [{"role": "user", "content": "Hi"}]
    answers = litellm.batch_completion("openai/gpt-4o", [hi, hi], **at(server))
    assert [answer.choices[0].message.content for answer in answers] == ["Hello", "Hello"]
    (failed,) = litellm.batch_completion("openai/bad", [hi], **at(server))
    assert isinstance(failed, litellm.BadRequestError)
    first = litellm.batch_completion_models(models=["openai/bad", "openai/gpt-4o"], messages=hi, **at(server))
    assert first.choices[0].message.content == "Hello"
    every = litellm.batch_completion_models_all_responses(models=["openai/bad", "openai/a"], messages=hi, **at(server))
    assert len(every) == 1
    again = litellm.completion_with_retries("openai/gpt-4o", hi, **{**at(server), "max_retries": None})
    assert again.choices[0].message.content == "Hello"


def test_what_the_core_lacks_says_so() -> None:
    with pytest.raises(litellm.BadRequestError, match="no image generation"):
        litellm.image_generation(prompt="a cat", model="openai/dall-e-3")
    with pytest.raises(litellm.BadRequestError, match="no transcription"):
        litellm.transcription(model="whisper-1", file=b"")
