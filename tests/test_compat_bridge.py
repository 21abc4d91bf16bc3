"""Tests of `litellm.responses` for providers without the Responses API: chat completions stand in for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import ritellm.compat
from ritellm.testing import MockServer

ritellm.compat.install()
import litellm  # noqa: E402

MODEL = "anthropic/claude-sonnet-4-5"
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}


@pytest.fixture
def server() -> Iterator[MockServer]:
    with MockServer(intercept=False) as server:
        yield server


def at(server: MockServer) -> dict[str, Any]:
    return {"api_base": server.url, "api_key": "sk-test", "max_retries": 0}


def test_a_response_of_a_chat_completion(server: MockServer) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}}
    server.reply("Hello", reasoning="Because", usage=usage)
    response = litellm.responses(
        "Hi", MODEL, instructions="Be short.", max_output_tokens=9000, metadata={"a": "b"}, **at(server)
    )
    assert isinstance(response, litellm.ResponsesAPIResponse)
    assert (response.output_text, response.status, response.object) == ("Hello", "completed", "response")
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.output[0].summary[0].text == "Because"
    assert (response.instructions, response.max_output_tokens, response.metadata) == ("Be short.", 9000, {"a": "b"})
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (9, 4, 13)
    assert response.usage.input_tokens_details.cached_tokens == 3
    assert response._hidden_params["custom_llm_provider"] == "anthropic"
    (request,) = server.requests
    assert request.path == "/v1/messages"
    assert request.json["max_tokens"] == 9000
    assert "Be short." in str(request.json["system"])


def test_tools_and_their_outputs(server: MockServer) -> None:
    server.reply("It is sunny")
    server.reply(tool_calls=[{"name": "weather", "arguments": {"city": "Rome"}, "id": "c1"}], reasoning="Look", times=1)
    given = {"tools": [TOOL], "tool_choice": {"type": "function", "name": "weather"}, **at(server)}
    first = litellm.responses("Rome?", "gemini/gemini-2.5-pro", **given)
    call = first.output[-1]
    assert (call.type, call.name, call.arguments.replace(" ", "")) == ("function_call", "weather", '{"city":"Rome"}')
    outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    history = [{"role": "user", "content": [{"type": "input_text", "text": "Rome?"}]}, *first.output, *outputs]
    second = litellm.responses(history, "openai_like/x", tools=[TOOL], **at(server))
    assert second.output_text == "It is sunny"
    messages = server.requests[-1].json["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
    assert messages[0]["content"] == "Rome?"
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"]
    assert messages[2]["content"] == "sunny"
    function = {"name": "weather", "parameters": {"type": "object"}, "strict": True}
    assert server.requests[-1].json["tools"] == [{"type": "function", "function": function}]


def test_formats_pictures_and_searches() -> None:
    from ritellm.compat import _bridge, _targets

    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    picture = {"type": "input_image", "image_url": "https://x/a.png", "detail": "low"}
    content = [{"type": "input_text", "text": "a"}, picture]
    place = {"type": "approximate", "city": "Oslo"}
    asked = {
        "text": {"format": schema},
        "reasoning": {"effort": "low", "summary": "auto"},
        "tools": [{"type": "web_search", "search_context_size": "low", "user_location": place}],
        "stream": True,
        "api_key": "sk",
    }
    messages, params, _ = _bridge.request(
        [{"role": "user", "content": content}], asked, _targets.Target("", "p", "m"), None
    )
    assert messages[0]["content"][1] == {"type": "image_url", "image_url": {"url": "https://x/a.png", "detail": "low"}}
    assert params == {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
        },
        "reasoning_effort": "low",
        "web_search_options": {
            "search_context_size": "low",
            "user_location": {"type": "approximate", "approximate": {"city": "Oslo"}},
        },
        "stream": True,
        "stream_options": {"include_usage": True},
        "api_key": "sk",
    }


async def test_streams(server: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reply("Hello there", reasoning="Because", tool_calls=[{"name": "f", "arguments": {"a": 1}}, {"name": "g"}])
    told: list[Any] = []
    monkeypatch.setattr(litellm, "success_callback", [lambda kwargs, response, *_: told.append(response)])
    stream = litellm.responses("Hi", MODEL, stream=True, **at(server))
    events = list(stream)
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert not [event for event in events if isinstance(event, litellm.GenericEvent)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Hello there"
    assert "".join(e.delta for e in events if e.type == "response.reasoning_summary_text.delta") == "Because"
    assert kinds.count("response.output_item.added") == kinds.count("response.output_item.done") == 4
    assert kinds.count("response.function_call_arguments.done") == 2
    response = stream.completed_response.response
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call", "function_call"]
    assert [item.arguments for item in response.output[2:]] == ['{"a":1}', "{}"]
    assert response.usage.total_tokens > 0
    assert [each.output_text for each in told] == ["Hello there"]
    later = await litellm.aresponses("Hi", MODEL, stream=True, **at(server))
    assert [event.type async for event in later] == kinds


async def test_made_up_answers_are_streamed_too() -> None:
    stream = litellm.responses("Hi", "openai/gpt-4o", mock_response="Hello", stream=True)
    events = list(stream)
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Hello"
    assert stream.completed_response.response.output_text == "Hello"
    later = await litellm.aresponses("Hi", "openai/gpt-4o", mock_response="Hello", stream=True)
    assert [event.type async for event in later] == [event.type for event in events]
    assert litellm.responses("Hi", "openai/gpt-4o", mock_response="Hello").output_text == "Hello"


def test_an_answer_that_is_cut(server: MockServer) -> None:
    server.reply("Hel", finish_reason="length")
    response = litellm.responses("Hi", MODEL, **at(server))
    assert (response.status, response.incomplete_details) == ("incomplete", {"reason": "max_output_tokens"})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"store": True}, "store"),
        ({"tools": [{"type": "file_search"}]}, "file_search"),
        ({"input": [{"type": "item_reference", "id": "1"}]}, "item_reference"),
    ],
)
def test_what_has_no_place_in_chat_completions(asked: dict[str, Any], said: str, server: MockServer) -> None:
    with pytest.raises(litellm.UnsupportedParamsError, match=f"anthropic has no Responses API.*{said}"):
        litellm.responses(**{"input": "Hi", "model": MODEL, **asked, **at(server)})
    assert not server.requests


def test_thinking_comes_back(server: MockServer) -> None:
    from ritellm.compat import _bridge

    blocks = [{"type": "thinking", "thinking": "Be"}, {"type": "thinking", "thinking": "cause", "signature": "s"}]
    events = _bridge.Events("m", {})
    for block in blocks:
        events.take({"choices": [{"delta": {"reasoning_content": block["thinking"], "thinking_blocks": [block]}}]})
    events.take({"choices": [{"delta": {"content": "Hello"}}]})
    events.end()
    (message,) = _bridge._messages(events.response["output"], None)
    assert message == {
        "role": "assistant",
        "content": "Hello",
        "reasoning_content": "Because",
        "thinking_blocks": [{"type": "thinking", "thinking": "Because", "signature": "s"}],
    }
