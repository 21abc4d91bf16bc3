"""Cases that users of LiteLLM have reported, by the number of the report, with the values that are right."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import ritellm.compat
from ritellm.testing import MockServer

ritellm.compat.install()
import litellm  # noqa: E402

HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def server() -> Iterator[MockServer]:
    with MockServer(intercept=False) as server:
        yield server


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a callback is told: the kind and the response."""
    told: list[Any] = []

    class Logger(litellm.CustomLogger):  # type: ignore[misc]
        def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            told.append(("sync", response_obj))

        async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            told.append(("async", response_obj))

    monkeypatch.setattr(litellm, "callbacks", [Logger()])
    return told


def at(server: MockServer, path: str = "/v1") -> dict[str, Any]:
    return {"api_base": f"{server.url}{path}", "api_key": "sk-test", "max_retries": 0}


def test_14340_a_stream_of_responses_is_told_once(server: MockServer, seen: list[Any]) -> None:
    server.reply("Hello")
    list(litellm.responses("Hi", "openai/gpt-4o", stream=True, **at(server)))
    assert [kind for kind, _ in seen] == ["sync"]
    assert seen[0][1].output_text == "Hello"


async def test_5118_a_stream_with_usage_is_told_once(server: MockServer, seen: list[Any]) -> None:
    server.reply("Hello")
    options = {"include_usage": True}
    stream = await litellm.acompletion("openai/gpt-4o", HI, stream=True, stream_options=options, **at(server))
    chunks = [chunk async for chunk in stream]
    await asyncio.sleep(0)
    assert [kind for kind, _ in seen] == ["async"]
    assert chunks[-1].usage.total_tokens == seen[0][1].usage.total_tokens > 0


def test_7026_a_sync_stream_runs_no_async_callback(server: MockServer, seen: list[Any]) -> None:
    server.reply("Hello")
    list(litellm.completion("openai/gpt-4o", HI, stream=True, **at(server)))
    assert [kind for kind, _ in seen] == ["sync"]


async def test_8842_calls_of_a_router_are_told(server: MockServer, seen: list[Any]) -> None:
    server.reply("Hello")
    deployment = {"model_name": "group", "litellm_params": {"model": "openai/gpt-4o", **at(server)}}
    router = litellm.Router(model_list=[deployment])
    await router.acompletion("group", HI)
    await asyncio.sleep(0)
    assert [kind for kind, _ in seen] == ["async"]


async def test_7260_a_function_is_told_the_cost_of_an_async_stream(
    server: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.reply("Hello")
    costs: list[Any] = []
    monkeypatch.setattr(litellm, "success_callback", [lambda kwargs, *rest: costs.append(kwargs["response_cost"])])
    given = {"input_cost_per_token": 1.0, "output_cost_per_token": 2.0, **at(server)}
    stream = await litellm.acompletion("openai/my-model", HI, stream=True, **given)
    async for _ in stream:
        pass
    assert len(costs) == 1 and costs[0] > 0


def test_34953_a_stream_of_anthropics_messages_is_told(server: MockServer, seen: list[Any]) -> None:
    server.reply("Hello")
    list(litellm.anthropic_interface.messages.create(5, HI, "openai/gpt-4o", stream=True, **at(server)))
    assert [kind for kind, _ in seen] == ["sync"]


def test_7790_a_stream_tells_tokens_of_anthropics_cache(server: MockServer, seen: list[Any]) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4}}
    server.reply("Hello", usage=usage)
    list(litellm.completion("anthropic/claude-sonnet-4-5", HI, stream=True, **at(server, "")))
    told = seen[0][1].usage
    assert (told.prompt_tokens_details.cached_tokens, told.cache_read_input_tokens) == (4, 4)


def test_12395_thinking_is_in_what_chunks_make(server: MockServer) -> None:
    server.reply("Hello", reasoning="Because")
    chunks = list(litellm.completion("anthropic/claude-sonnet-4-5", HI, stream=True, **at(server, "")))
    message = litellm.stream_chunk_builder(chunks, messages=HI).choices[0].message
    assert (message.content, message.reasoning_content) == ("Hello", "Because")
    assert message.thinking_blocks[0]["thinking"] == "Because"


def test_4091_tool_calls_are_in_what_chunks_make(server: MockServer) -> None:
    server.reply(tool_calls=[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}])
    chunks = list(litellm.completion("openai/gpt-4o", HI, stream=True, **at(server)))
    choice = litellm.stream_chunk_builder(chunks).choices[0]
    assert [(call.function.name, call.function.arguments) for call in choice.message.tool_calls] == [
        ("f", '{"a":1}'),
        ("g", "{}"),
    ]
    assert choice.finish_reason == "tool_calls"


def test_27968_chunks_without_choices() -> None:
    made = {"id": "1", "created": 1, "model": "m", "object": "chat.completion.chunk"}
    raw = [
        {**made, "choices": []},
        {**made, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hel"}}]},
        {**made, "choices": []},
        {**made, "choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}]},
        {**made, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}},
    ]
    chunks = list(litellm.CustomStreamWrapper(iter(raw), "m", custom_llm_provider="openai"))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["Hel", "lo", None, None]
    for given in (raw, chunks, [litellm.ModelResponseStream(**chunk) for chunk in raw]):
        built = litellm.stream_chunk_builder(given)
        assert (built.choices[0].message.content, built.usage.total_tokens) == ("Hello", 2)
    assert litellm.stream_chunk_builder([]) is None
