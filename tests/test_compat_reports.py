"""Cases that users of LiteLLM have reported, by the number of the report, with the values that are right."""

from __future__ import annotations

import asyncio
import json
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

    async def tell(kwargs: Any, *_: Any) -> None:
        costs.append(kwargs["response_cost"])

    monkeypatch.setattr(litellm, "success_callback", [tell])
    given = {"input_cost_per_token": 1.0, "output_cost_per_token": 2.0, **at(server)}
    stream = await litellm.acompletion("openai/my-model", HI, stream=True, **given)
    async for _ in stream:
        pass
    await asyncio.sleep(0)
    assert len(costs) == 1 and costs[0] > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_which_functions_are_told(server: MockServer, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    """A program that lists a function for sync calls and a coroutine for async ones counts each call once, as with LiteLLM."""
    told: list[str] = []

    async def coroutine(*_: Any) -> None:
        told.append("coroutine")

    for outcome in ("success", "failure"):
        both = [lambda *_, outcome=outcome: told.append(outcome), coroutine]
        monkeypatch.setattr(litellm, f"{outcome}_callback", both)
    server.reply("Hello")
    for chunk in [litellm.completion("openai/gpt-4o", HI, stream=stream, **at(server))]:
        list(chunk) if stream else None
    await asyncio.sleep(0)
    assert told == ["success"]
    answer = await litellm.acompletion("openai/gpt-4o", HI, stream=stream, **at(server))
    if stream:
        [chunk async for chunk in answer]
    await asyncio.sleep(0)
    assert told == ["success", "coroutine"]
    told.clear()
    server.fail(401)
    with pytest.raises(litellm.AuthenticationError):
        await litellm.acompletion("openai/gpt-4o", HI, stream=stream, **at(server))
    await asyncio.sleep(0)
    assert sorted(told) == ["coroutine", "failure"]


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


def test_20698_each_thinking_block_is_in_what_chunks_make() -> None:
    def chunk(thinking: str | None = None, signature: str | None = None, **delta: Any) -> Any:
        if thinking is not None:
            block = {"type": "thinking", "thinking": thinking, "signature": signature}
            delta.update(thinking_blocks=[block], reasoning_content=thinking)
        return litellm.ModelResponseStream(id="1", created=1, model="m", choices=[{"index": 0, "delta": delta}])

    redacted = {"type": "redacted_thinking", "data": "R"}
    chunks = [chunk("a", role="assistant"), chunk("b"), chunk("", "S1"), chunk(thinking_blocks=[redacted])]
    chunks += [chunk(content="mid"), chunk("c"), chunk("", "S2"), chunk(content="end")]
    message = litellm.stream_chunk_builder(chunks).choices[0].message
    assert message.thinking_blocks == [
        {"type": "thinking", "thinking": "ab", "signature": "S1"},
        redacted,
        {"type": "thinking", "thinking": "c", "signature": "S2"},
    ]
    assert (message.reasoning_content, message.content) == ("abc", "midend")


async def test_2586_callbacks_are_not_told_texts(server: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Private(litellm.CustomLogger):  # type: ignore[misc]
        def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            told.append((kwargs, response_obj))

        log_stream_event = log_success_event

        def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
            told.append((messages, kwargs))

    monkeypatch.setattr(litellm, "success_callback", [lambda *args: told.append(args)])
    private = Private(turn_off_message_logging=True)
    asked = [{"role": "user", "content": "private question"}]

    def calls() -> str:
        told.clear()
        server.reply("secret answer", reasoning="secret thought")
        response = litellm.completion("openai/m", asked, **at(server))
        assert response.choices[0].message.content == "secret answer"
        list(litellm.completion("openai/m", asked, stream=True, **at(server)))
        litellm.responses("private question", "openai/m", **at(server))
        server.reply(tool_calls=[{"name": "f", "arguments": {"secret": 1}}])
        litellm.completion("openai/m", asked, **at(server))
        assert len(told) > 3
        return repr(told)

    shown = calls()
    assert "private" in shown
    assert "secret" in shown
    monkeypatch.setattr(litellm, "turn_off_message_logging", True)
    monkeypatch.setattr(litellm, "callbacks", [private])
    shown = calls()
    assert "private" not in shown
    assert "secret" not in shown
    # One callback alone.
    monkeypatch.setattr(litellm, "turn_off_message_logging", False)
    monkeypatch.setattr(litellm, "success_callback", [])
    shown = calls()
    assert "private" not in shown
    assert "secret" not in shown


def test_24046_callbacks_are_told_the_group_and_its_deployment(
    server: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on(model="bad").fail(500)
    server.reply("Hello")
    told: list[Any] = []
    monkeypatch.setattr(litellm, "success_callback", [lambda kwargs, *rest: told.append(kwargs)])
    group = [
        {
            "model_name": "group",
            "litellm_params": {"model": f"openai/{id}", "order": order, **at(server)},
            "model_info": {"id": id},
        }
        for order, id in enumerate(("bad", "good"), 1)
    ]
    metadata = {"mine": 1, "tags": ["eu"]}
    litellm.Router(model_list=group).completion("group", HI, metadata=metadata)
    found = told[0]["litellm_params"]["metadata"]
    assert (found["mine"], found["model_group"], found["deployment"]) == (1, "group", "openai/good")
    assert found["model_info"]["id"] == "good"
    standard = told[0]["standard_logging_object"]
    assert (standard["model_group"], standard["model_id"], standard["request_tags"]) == ("group", "good", ["eu"])
    assert metadata == {"mine": 1, "tags": ["eu"]}


@pytest.mark.parametrize(
    "given",
    [
        {"fallbacks": ["other"]},
        {"fallbacks": [{"bad": ["worse", "other"]}]},
        {"fallbacks": [{"*": ["worse", "other"]}]},
        {"fallbacks": [{"model": "other", "temperature": 0.5}]},
        {"context_window_fallbacks": [{"bad": ["worse"]}], "fallbacks": ["other"]},
    ],
)
async def test_914_a_call_of_a_router_names_its_fallbacks(given: dict[str, Any], server: MockServer) -> None:
    server.on(model="bad").fail(500)
    server.on(model="worse").fail(401)
    server.reply("Hello")
    names = ("bad", "worse", "other")
    group = [{"model_name": name, "litellm_params": {"model": f"openai/{name}", **at(server)}} for name in names]
    router = litellm.Router(model_list=group, num_retries=0)
    assert router.completion("bad", HI, **given).choices[0].message.content == "Hello"
    assert (await router.acompletion("bad", HI, **given)).choices[0].message.content == "Hello"
    assert server.requests[-1].json.get("temperature") == (0.5 if "model" in given["fallbacks"][0] else None)
    with pytest.raises(litellm.AuthenticationError):
        router.completion("bad", HI, fallbacks=["worse"])


def test_5593_fallbacks_of_a_router_are_tried_without_a_failure(server: MockServer) -> None:
    server.reply("Hello")
    names = ("a", "b", "c")
    group = [{"model_name": name, "litellm_params": {"model": f"openai/{name}", **at(server)}} for name in names]
    router = litellm.Router(
        model_list=group, num_retries=0, fallbacks=[{"a": ["b"]}], context_window_fallbacks=[{"a": ["c"]}]
    )
    router.completion("a", HI, mock_testing_fallbacks=True)
    router.completion("a", HI, mock_testing_context_fallbacks=True)
    assert [request.model for request in server.requests] == ["b", "c"]
    with pytest.raises(litellm.RateLimitError, match="mock exception"):
        router.completion("b", HI, mock_testing_rate_limit_error=True)


async def test_7334_a_fallback_has_messages_of_its_own(server: MockServer) -> None:
    server.on(model="bad").fail(500)
    server.reply("Hello")
    group = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", **at(server)}} for name in ("bad", "good")
    ]
    other = [{"role": "user", "content": "Else"}]
    router = litellm.Router(model_list=group, num_retries=0)
    await router.acompletion("bad", HI, fallbacks=[{"model": "good", "messages": other}])
    assert server.requests[-1].json["messages"] == other


def test_15114_a_group_that_is_not_there_has_the_default_fallbacks(server: MockServer) -> None:
    server.reply("Hello")
    group = [{"model_name": "good", "litellm_params": {"model": "openai/good", **at(server)}}]
    router = litellm.Router(model_list=group, default_fallbacks=["neither", "good"])
    assert router.completion("typo", HI).choices[0].message.content == "Hello"


async def test_10972_deployments_of_the_program_have_fallbacks(
    server: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.reply("Hello")

    class Handler(litellm.CustomLLM):  # type: ignore[misc]
        def completion(self, *args: Any, **kwargs: Any) -> Any:
            raise litellm.CustomLLMError(500, "no")

        acompletion = completion

    monkeypatch.setattr(litellm, "custom_provider_map", [{"provider": "mine", "custom_handler": Handler()}])
    group = [
        {"model_name": "own", "litellm_params": {"model": "mine/x"}},
        {"model_name": "mocked", "litellm_params": {"model": "openai/x", "mock_response": "litellm.RateLimitError"}},
        {"model_name": "good", "litellm_params": {"model": "openai/good", **at(server)}},
    ]
    router = litellm.Router(model_list=group, num_retries=0, fallbacks=[{"own": ["mocked", "good"]}])
    assert router.completion("own", HI).choices[0].message.content == "Hello"
    assert (await router.acompletion("own", HI)).choices[0].message.content == "Hello"
    with pytest.raises(litellm.RateLimitError):
        router.completion("mocked", HI)


def test_34482_system_messages_with_parts_are_trimmed() -> None:
    messages = [{"role": "system", "content": [{"type": "text", "text": "Be short."}]}]
    messages += [{"role": "user", "content": text} for text in ("a " * 3000, "last")]
    trimmed = litellm.trim_messages(messages, "gpt-4o", max_tokens=60)
    assert trimmed[0] == {"role": "system", "content": "Be short."}
    assert trimmed[-1] == messages[-1]


def test_7260_the_response_of_a_stream_tells_its_cost(server: MockServer, seen: list[Any]) -> None:
    server.reply("Hello", usage={"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30})
    given = {"input_cost_per_token": 1.0, "output_cost_per_token": 2.0, **at(server)}
    stream = litellm.completion("openai/my-model", HI, stream=True, **given)
    list(stream)
    assert seen[0][1]._hidden_params["response_cost"] == stream._hidden_params["response_cost"] == 50.0


def test_41038_audio_is_an_object_that_private_callbacks_are_not_told(
    server: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = {"id": "a", "data": "U0VDUkVU", "transcript": "secret words", "expires_at": 1}
    message = {"role": "assistant", "content": None, "audio": audio}
    answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    answer["choices"] = [{"index": 0, "finish_reason": "stop", "message": message}]
    server.reply(body=json.dumps(answer), headers={"content-type": "application/json"})
    told: list[Any] = []

    class Private(litellm.CustomLogger):  # type: ignore[misc]
        def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            told.append((kwargs, response_obj))

    monkeypatch.setattr(litellm, "callbacks", [Private(message_logging=False)])
    response = litellm.completion("openai/m", HI, **at(server))
    assert response.choices[0].message.audio.transcript == "secret words"
    assert response.model_dump()["choices"][0]["message"]["audio"] == audio
    assert "secret words" not in repr(told)
    assert audio["data"] not in repr(told)


@pytest.mark.parametrize("status", [500, 401])
def test_39385_private_callbacks_are_not_told_messages_of_a_failure(
    status: int, server: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fail(status)
    told: list[Any] = []

    class Private(litellm.CustomLogger):  # type: ignore[misc]
        def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            told.append(kwargs)

    monkeypatch.setattr(litellm, "callbacks", [Private(turn_off_message_logging=True)])
    with pytest.raises(Exception, match="told to fail"):
        litellm.completion("openai/m", [{"role": "user", "content": "private question"}], **at(server))
    assert told[0]["standard_logging_object"]["error_information"]["error_code"] == str(status)
    assert "private question" not in repr(told)
