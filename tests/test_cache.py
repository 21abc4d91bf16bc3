"""Tests of answers that are kept: ``Client(cache=Cache…)``."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Call
from limited import Processes, Redis
from server import (
    KEY,
    MESSAGES,
    MODEL,
    Answer,
    Close,
    Gate,
    Request,
    Server,
    chunk_of,
    completion_of,
    dumped,
    event,
    events,
    eventually,
    plain,
    refusal,
    stream_of,
    streamed,
)

from ritellm import (
    APIConnectionError,
    APIResponseValidationError,
    BadRequestError,
    Cache,
    Client,
    Deployment,
    IncompleteStreamError,
    InternalServerError,
    InvalidArgumentError,
    OutputValidationError,
    Router,
    Timeout,
    configure,
)

OTHER = [{"role": "user", "content": "Something else"}]


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def whole(stream: Any) -> Any:
    for _ in stream:
        pass
    return stream.completion


@pytest.fixture
def client(at_openai: Server) -> Client:
    return Client(cache=Cache.memory())


@pytest.fixture(params=["memory", "disk"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Cache:
    return Cache.memory() if request.param == "memory" else Cache.disk(tmp_path / "kept")


def again(server: Server, cache: Cache) -> Client:
    """A client whose cache knows what another's has kept, once it is written."""
    eventually(lambda: cache.stats()["entries"] > 0, "an entry")
    return Client(cache=cache)


class TestWholeAnswers:
    def test_what_is_asked_again_is_not_sent(self, call: Call, at_openai: Server, cache: Cache) -> None:
        at_openai.answer(plain(headers={"x-request-id": "req_1", "set-cookie": "a=b"}))
        first = call(client=Client(cache=cache), temperature=0.5)
        second = call(client=again(at_openai, cache), temperature=0.5)
        assert first == second == completion_of()
        assert len(at_openai.requests) == 1
        assert (first.meta.cached, second.meta.cached) == (False, True)
        assert second.meta.request_id == "req_1" and second.meta.provider == "openai"
        assert "set-cookie" not in second.meta.headers
        assert (second.meta.attempts, second.meta.retries) == ([], 0)
        assert pickle.loads(pickle.dumps(second)).meta.cached
        assert second.usage == first.usage, "the answer is as it was"

    def test_usage_is_counted_once(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        client = Client(cache=Cache.memory(), catalog={"openai/*": {"input": 1e6, "output": 1e6}})
        answers = [client.completion(MODEL, MESSAGES) for _ in range(3)]
        usage = answers[0].usage
        assert sum(answer.meta.cost for answer in answers) == usage.total_tokens
        assert sum(answer.meta.usage.input + answer.meta.usage.output for answer in answers) == usage.total_tokens

    @pytest.mark.parametrize(
        "more",
        [
            {"temperature": 1},
            {"seed": 2},
            {"model": "openai/other"},
            {"messages": OTHER},
            {"api_key": "another-account"},
            {"extra_headers": {"anthropic-beta": "x"}},
            {"extra_query": {"a": "b"}},
            {"user": "someone"},
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
        ],
        ids=lambda more: next(iter(more)),
    )
    def test_what_is_asked_differently_is_sent(self, client: Client, at_openai: Server, more: Any) -> None:
        at_openai.answer(plain("one"), plain("two"))
        usual = {"model": MODEL, "messages": MESSAGES, "seed": 1}
        assert client.completion(**usual).choices[0].message.content == "one"
        assert client.completion(**{**usual, **more}).choices[0].message.content == "two"
        assert client.completion(**{**usual, **more}).meta.cached

    def test_what_is_written_differently_is_the_same(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(plain())
        client.completion(MODEL, MESSAGES, temperature=1, top_p=0.5, extra_body={"stop": ["a"]})
        other = client.completion(MODEL, MESSAGES, stop=["a"], top_p=0.50, temperature=1.0, timeout=5, max_retries=0)
        assert other.meta.cached
        traced = client.completion(
            MODEL,
            MESSAGES,
            temperature=1,
            top_p=0.5,
            stop=["a"],
            extra_headers={"traceparent": "x", "X-Request-ID": "y"},
        )
        assert traced.meta.cached

    def test_callers_change_nothing_of_what_is_kept(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(plain())
        for _ in range(3):
            response = client.completion(MODEL, MESSAGES)
            assert response == completion_of()
            response.choices[0].message["content"] = "changed"
            response.clear()

    def test_scope(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        for scope, sent in [("account", 2), ("shared", 1)]:
            at_openai.requests.clear()
            cache = Cache.memory(scope=scope)
            for key in ["sk-one-aaaaaaaa", "sk-two-bbbbbbbb", "sk-one-aaaaaaaa"]:
                Client(cache=cache, api_key=key).completion(MODEL, MESSAGES)
            for key in ["sk-one-aaaaaaaa", "sk-two-bbbbbbbb"]:
                Client(cache=cache, api_key="x", headers={"Authorization": f"Bearer {key}"}).completion(MODEL, OTHER)
            assert len(at_openai.requests) == 2 * sent

    def test_keys_that_come_from_functions(self, at_openai: Server, caplog: pytest.LogCaptureFixture) -> None:
        at_openai.answer(plain())
        for scope, sent in [("account", 2), ("shared", 1)]:
            at_openai.requests.clear()
            client = Client(cache=Cache.memory(scope=scope), api_key=lambda: "sk-of-a-function")
            assert [client.completion(MODEL, MESSAGES).meta.cached for _ in range(2)] == [False, scope == "shared"]
            assert len(at_openai.requests) == sent

    @pytest.mark.parametrize(
        "call",
        [
            {"previous_response_id": "resp_1"},
            {"background": True},
            {"conversation": "conv_1"},
            {"store": True},
            {"tools": [{"type": "web_search"}]},
            {"input": [{"type": "item_reference", "id": "msg_1"}]},
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]},
        ],
        ids=lambda call: next(iter(call)),
    )
    def test_state_at_a_provider_is_not_kept(self, client: Client, at_openai: Server, call: Any) -> None:
        at_openai.answer(
            Answer(body=[dumped({"id": "resp_2", "object": "response", "status": "completed", "output": []})])
        )
        for _ in range(2):
            assert not client.responses("openai/gpt-4o", **{"input": "Hi", **call}).meta.cached
        assert len(at_openai.requests) == 2

    @pytest.mark.parametrize(
        "more",
        [
            {"instructions": "Be brief"},
            {"reasoning": {"effort": "low"}},
            {"text": {"verbosity": "low"}},
            {"max_output_tokens": 5},
            {"top_logprobs": 2},
            {"include": ["reasoning.encrypted_content"]},
        ],
    )
    def test_parameters_of_responses(self, client: Client, at_openai: Server, more: Any) -> None:
        """BerriAI/litellm#25673: not in the key."""
        at_openai.answer(Answer(body=[dumped({"id": "r", "object": "response", "status": "completed", "output": []})]))
        client.responses("openai/gpt-4o", "Hi")
        assert [client.responses("openai/gpt-4o", "Hi", **more).meta.cached for _ in range(2)] == [False, True]

    def test_a_stream_of_tool_calls(self, client: Client, at_openai: Server) -> None:
        """BerriAI/litellm#2203, langchain-ai/langchain#13119."""

        def part(**call: Any) -> Any:
            return chunk_of({"tool_calls": [{"index": 0, **call}]})

        called = part(id="c1", type="function", function={"name": "f", "arguments": '{"a":'})
        chunks = [called, part(function={"arguments": "1}"}), chunk_of(finish_reason="tool_calls")]
        at_openai.answer(stream_of(*events(chunks)))
        streams = [client.completion(MODEL, MESSAGES, stream=True) for _ in range(2)]
        assert list(streams[0]) == list(streams[1]) and streams[1].meta.cached
        for stream in streams:
            assert stream.completion.choices[0].message.tool_calls[0].function.arguments == '{"a":1}'

    @pytest.mark.parametrize("status", ["completed", "incomplete", "failed", "in_progress"])
    def test_responses(self, client: Client, at_openai: Server, status: str) -> None:
        at_openai.answer(Answer(body=[dumped({"id": "resp_2", "object": "response", "status": status, "output": []})]))
        cached = [client.responses("openai/gpt-4o", "Hi").meta.cached for _ in range(2)]
        assert cached == [False, status in ("completed", "incomplete")]

    def test_failures_are_not_kept(self, client: Client, at_openai: Server) -> None:
        empty = Answer(body=[dumped({**completion_of(), "choices": []})])
        at_openai.answer(refusal(400), refusal(500), empty, plain())
        with pytest.raises(BadRequestError):
            client.completion(MODEL, MESSAGES)
        with pytest.raises(InternalServerError):
            client.completion(MODEL, MESSAGES, max_retries=0)
        assert not client.completion(MODEL, MESSAGES).meta.cached
        assert not client.completion(MODEL, MESSAGES).meta.cached
        assert client.completion(MODEL, MESSAGES).meta.cached

    def test_structured_output(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(plain('{"a": 1}'))
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
        parsed = [client.completion(MODEL, MESSAGES, response_format=schema) for _ in range(2)]
        assert [answer.parsed for answer in parsed] == [{"a": 1}] * 2
        assert parsed[1].meta.cached
        other = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0}}}
        assert not client.completion(MODEL, MESSAGES, response_format=other).meta.cached

    def test_a_kept_answer_that_does_not_fit_is_replaced(self, call: Call, client: Client, at_openai: Server) -> None:
        at_openai.answer(plain("no JSON"), plain('{"a": 1}'))
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
        with pytest.raises(OutputValidationError):
            call(client=client, response_format=schema)
        assert call(client=client, response_format=schema).parsed == {"a": 1}
        assert len(at_openai.requests) == 2
        answers = [call(client=client, response_format=schema) for _ in range(2)]
        assert [answer.meta.cached for answer in answers] == [False, True]

    def test_replays_have_every_detail(self, read: Call, client: Client, at_openai: Server) -> None:
        """https://github.com/BerriAI/litellm/pull/42244, https://github.com/langchain-ai/langchain/issues/5965"""
        usage = {
            "prompt_tokens": 9,
            "completion_tokens": 7,
            "total_tokens": 16,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 5},
        }
        logprobs = {"content": [{"token": "Hi", "logprob": -0.5, "bytes": None, "top_logprobs": []}]}
        first = chunk_of({"role": "assistant", "reasoning_content": "Hm"})
        second = chunk_of({"content": "Hi"})
        second["choices"][0]["logprobs"] = logprobs
        last = chunk_of(usage=usage) | {"choices": []}
        at_openai.answer(stream_of(*events([first, second, chunk_of(finish_reason="stop"), last])))
        read(client=client, logprobs=True)
        _, stream = read(client=client, logprobs=True)
        assert stream.meta.cached
        completion = stream.completion
        assert completion.usage == usage
        assert completion.choices[0].message.reasoning_content == "Hm"
        assert completion.choices[0].logprobs == logprobs

    @pytest.mark.parametrize(
        "name", ["max_tokens", "top_p", "stop", "n", "tool_choice", "presence_penalty", "frequency_penalty", "seed"]
    )
    def test_every_parameter_is_in_the_key(self, client: Client, at_openai: Server, name: str) -> None:
        """https://github.com/567-labs/instructor/issues/2585"""
        at_openai.answer(plain())
        values: list[Any] = ["auto", "none"] if name == "tool_choice" else [1, 2]
        if name == "stop":
            values = ["a", "b"]
        assert not any(client.completion(MODEL, MESSAGES, **{name: value}).meta.cached for value in values)
        assert len(at_openai.requests) == 2

    def test_a_system_prompt_and_an_address_are_in_the_key(self, client: Client, at_openai: Server) -> None:
        """https://github.com/567-labs/instructor/pull/2524, https://github.com/promptfoo/promptfoo/pull/7014"""
        at_openai.answer(plain())
        for language in ("French", "German"):
            messages = [{"role": "system", "content": f"Answer in {language}."}, *MESSAGES]
            assert not client.completion(MODEL, messages).meta.cached
        address = f"{at_openai.url}/other/v1"
        messages = [{"role": "system", "content": "Answer in French."}, *MESSAGES]
        assert not client.completion(MODEL, messages, base_url=address, api_key=KEY).meta.cached

    def test_speech(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(Answer(headers={"content-type": "audio/mpeg"}, body=[b"\x00mp3"]))
        sounds = [client.speech("openai/tts-1", "Hi", voice="alloy") for _ in range(2)]
        assert sounds == [b"\x00mp3"] * 2 and sounds[1].meta.cached
        assert len(at_openai.requests) == 1


class TestOptions:
    def test_calls_without_it(self, call: Call, client: Client, at_openai: Server) -> None:
        at_openai.answer(plain())
        call(client=client)
        assert not call(client=client, cache=False).meta.cached
        assert not call(client=client.with_options(cache=False)).meta.cached
        assert call(client=client.with_options(cache=False), cache=True).meta.cached
        assert call(client=client.with_options(cache=False).with_options(cache=True)).meta.cached
        assert call(client=client, cache=None).meta.cached
        assert len(at_openai.requests) == 3
        assert all("cache" not in request.json for request in at_openai.requests)

    def test_age(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(plain())
        client.completion(MODEL, MESSAGES)
        time.sleep(0.02)
        assert not client.with_options(ttl=0.01).completion(MODEL, MESSAGES).meta.cached
        time.sleep(0.02)
        assert not client.completion(MODEL, MESSAGES).meta.cached, "it was kept for as long"
        assert client.completion(MODEL, MESSAGES, cache={"ttl": 60}).meta.cached
        assert client.with_options(ttl=None).completion(MODEL, MESSAGES).meta.cached

    @pytest.mark.parametrize("place", ["with_options", "call"])
    def test_the_default_client(self, call: Call, at_openai: Server, place: str) -> None:
        at_openai.answer(plain())
        configure(cache=Cache.memory())
        try:
            assert [call().meta.cached for _ in range(2)] == [False, True]
        finally:
            configure(cache=None)
        assert not call().meta.cached

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Client(cache="memory"), "cache is of type str: a ritellm.Cache, True, False"),
            (lambda: Client(cache={"max": 1}), "cache has no 'max': its member is ttl"),
            (lambda: Client(cache=True), "cache is True, but the client has none: Client\\(cache=Cache.memory"),
            (lambda: Client().completion(MODEL, MESSAGES, cache=True), "but the client has none"),
            (lambda: Client().completion(MODEL, MESSAGES, cache=Cache.memory()), "a Cache belongs to a client"),
            (lambda: Client(ttl=-1), "ttl is -1"),
            (lambda: Cache.memory(max_bytes=0), "max_bytes is 0"),
            (lambda: Cache.memory(max_bytes="1"), "max_bytes is of type str"),
            (lambda: Cache.memory(ttl="x"), "ttl is of type str"),
            (lambda: Cache.memory(scope="all"), "scope is 'all'|scope is \"all\""),
            (lambda: Cache.disk(3), "path is of type int"),
            (lambda: Cache.disk(""), "path is an empty str"),
            (lambda: Cache.disk(__file__), "path: .* cannot be used"),
            (lambda: Cache.redis("http://host"), "url is no URL of a Redis"),
            (lambda: Cache.redis("redis://host").clear(), "clear\\(\\) is for memory and disk"),
        ],
    )
    def test_wrong_arguments(self, at_openai: Server, make: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message):
            make()
        assert not at_openai.requests

    def test_copies(self, at_openai: Server, tmp_path: Path) -> None:
        at_openai.answer(plain())
        for cache in [Cache.memory(ttl=None), Cache.disk(tmp_path, max_bytes=1 << 20)]:
            client = Client(cache=cache)
            client.completion(MODEL, MESSAGES)
            assert copy.deepcopy(client).completion(MODEL, MESSAGES).meta.cached
            assert repr(pickle.loads(pickle.dumps(cache))) == repr(cache)
        assert repr(Cache.memory()) == "Cache.memory(max_bytes=67108864, ttl=86400.0, scope='account')"
        secret = Cache.redis("redis://:sesame123@host:1/0")
        assert "sesame123" not in repr(secret) + repr(Client(cache=secret))
        assert b"sesame123" not in pickle.dumps(Client(cache=secret))
        with pytest.raises(InvalidArgumentError, match="password"):
            pickle.dumps(secret)

    def test_numbers(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        cache = Cache.memory(max_bytes=20_000)
        client = Client(cache=cache)
        for number in range(100):
            client.completion(MODEL, ask(str(number)))
        client.completion(MODEL, ask("99"))
        stats = cache.stats()
        assert (stats["hits"], stats["misses"], stats["joined"]) == (1, 100, 0)
        assert 1 < stats["entries"] < 40 and 10_000 < stats["bytes"] <= 20_000
        cache.clear()
        assert cache.stats()["entries"] == 0
        assert not client.completion(MODEL, ask("99")).meta.cached


class TestStreams:
    def test_a_stream_comes_back_as_it_was(self, read: Call, at_openai: Server, cache: Cache) -> None:
        at_openai.answer(streamed("Hel", "lo", "!"))
        first, stream = read(client=Client(cache=cache))
        second, kept = read(client=again(at_openai, cache))
        assert first == second and len(first) > 3
        assert (stream.meta.cached, kept.meta.cached) == (False, True)
        assert kept.completion == stream.completion and kept.text == "Hello!"
        assert len(at_openai.requests) == 1

    def test_a_stream_is_no_whole_answer(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(streamed("Hello!"), plain("whole"))
        list(client.completion(MODEL, MESSAGES, stream=True))
        assert client.completion(MODEL, MESSAGES).choices[0].message.content == "whole"

    @pytest.mark.parametrize("end", ["broken", "left"])
    def test_what_is_not_whole_is_not_kept(self, client: Client, at_openai: Server, end: str) -> None:
        gate = Gate()
        broken = stream_of(event(streamed_chunk("Hel")), *([Close()] if end == "broken" else [gate]))
        at_openai.answer(broken, streamed("Hello!"))
        stream = client.completion(MODEL, MESSAGES, stream=True)
        if end == "broken":
            with pytest.raises(IncompleteStreamError):
                list(stream)
        else:
            for _ in stream:
                break
            stream.close()
            at_openai.last.wait_gone()
        assert whole(client.completion(MODEL, MESSAGES, stream=True)).choices[0].message.content == "Hello!"
        assert len(at_openai.requests) == 2

    async def test_who_comes_later_gets_all_of_it(self, client: Client, at_openai: Server) -> None:
        gate = Gate()
        at_openai.answer(stream_of(event(streamed_chunk("Hel")), gate, *streamed("lo").body))
        first = await client.acompletion(MODEL, MESSAGES, stream=True)
        assert (await anext(first)).choices[0].delta.content == "Hel"
        second = await client.acompletion(MODEL, MESSAGES, stream=True)
        assert (await anext(second)).choices[0].delta.content == "Hel"
        third = await client.acompletion(MODEL, MESSAGES, stream=True)
        await first.aclose()
        gate.open()
        rest = [chunk async for chunk in second]
        assert rest and [chunk async for chunk in third][1:] == rest
        assert second.text == third.text == "Hello"
        assert len(at_openai.requests) == 1
        assert (await client.acompletion(MODEL, MESSAGES, stream=True)).meta.cached

    def test_a_stream_that_is_larger_than_the_cache(self, at_openai: Server) -> None:
        texts = ["x" * 1000] * 200
        at_openai.answer(streamed(*texts))
        client = Client(cache=Cache.memory(max_bytes=100_000))
        for _ in range(2):
            stream = client.completion(MODEL, MESSAGES, stream=True)
            assert (
                len("".join(chunk.choices[0].delta.get("content") or "" for chunk in stream if chunk.choices))
                == 200_000
            )
        assert len(at_openai.requests) == 2

    def test_a_refused_stream(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(refusal(400), streamed("Hello!"))
        with pytest.raises(BadRequestError):
            client.completion(MODEL, MESSAGES, stream=True)
        assert whole(client.completion(MODEL, MESSAGES, stream=True)).choices[0].message.content == "Hello!"


def streamed_chunk(text: str) -> Any:
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
    }


class TestOneCallForMany:
    async def test_a_thousand_who_ask_at_once(self, client: Client, at_openai: Server) -> None:
        gate = Gate()
        at_openai.answer(
            Answer(body=[gate, dumped(completion_of())], headers={"content-length": str(len(dumped(completion_of())))})
        )
        calls = [asyncio.create_task(client.acompletion(MODEL, MESSAGES)) for _ in range(1000)]
        await asyncio.to_thread(at_openai.wait_for_requests, 1)
        gate.open()
        answers = await asyncio.gather(*calls)
        assert all(answer == completion_of() for answer in answers)
        assert len(at_openai.requests) == 1
        assert sum(not answer.meta.cached for answer in answers) == 1

    async def test_each_has_its_own_deadline(self, client: Client, at_openai: Server) -> None:
        gate = Gate()
        at_openai.answer(plain_after(gate))
        first = asyncio.create_task(client.acompletion(MODEL, MESSAGES))
        await asyncio.to_thread(at_openai.wait_for_requests, 1)
        with pytest.raises(Timeout, match=r"total timeout of 0\.05 s"):
            await client.acompletion(MODEL, MESSAGES, timeout=0.05)
        gate.open()
        assert await first == completion_of()
        assert len(at_openai.requests) == 1

    async def test_the_first_one_goes_and_the_call_goes_on(self, client: Client, at_openai: Server) -> None:
        gate = Gate()
        at_openai.answer(plain_after(gate))
        first, second, third = (asyncio.create_task(client.acompletion(MODEL, MESSAGES)) for _ in range(3))
        await asyncio.to_thread(at_openai.wait_for_requests, 1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        gate.open()
        # A cancelled call goes when its task in the runtime is dropped, which may be after the answer: for whom the call is
        # counted is tested in src/cache/tests.rs, where the order is given.
        answers = [await second, await third]
        assert sum(not answer.meta.cached for answer in answers) <= 1
        assert len(at_openai.requests) == 1

    async def test_all_go_and_the_call_ends(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(plain_after(Gate()))
        calls = [asyncio.create_task(client.acompletion(MODEL, MESSAGES)) for _ in range(3)]
        await asyncio.to_thread(at_openai.wait_for_requests, 1)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        await asyncio.to_thread(at_openai.last.wait_gone)
        at_openai.answer(plain())
        assert not (await client.acompletion(MODEL, MESSAGES)).meta.cached

    async def test_after_a_failure_one_tries_again(self, client: Client, at_openai: Server) -> None:
        gate = Gate()
        at_openai.answer(refused_after(gate, 500), plain())
        calls = [asyncio.create_task(client.acompletion(MODEL, MESSAGES, max_retries=0)) for _ in range(50)]
        await asyncio.to_thread(at_openai.wait_for_requests, 1)
        gate.open()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, Exception)]
        assert len(failures) == 1 and isinstance(failures[0], InternalServerError)
        assert len(at_openai.requests) == 2

    @pytest.mark.parametrize(("status", "requests"), [(500, 2), (400, 1)])
    async def test_what_fails_for_all(self, client: Client, at_openai: Server, status: int, requests: int) -> None:
        gate = Gate()
        at_openai.answer(refused_after(gate, status), refusal(status))
        calls = [asyncio.create_task(client.acompletion(MODEL, MESSAGES, max_retries=0)) for _ in range(50)]
        # A call that was begun after the others: when its request is there, all wait.
        other = client.acompletion(MODEL, [{"role": "user", "content": "another"}], max_retries=0)
        last = asyncio.create_task(other)
        await asyncio.to_thread(at_openai.wait_for_requests, 2)
        gate.open()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.gather(last, return_exceptions=True)
        assert {getattr(answer, "status_code", None) for answer in answers} == {status}
        assert all(getattr(answer, "provider", "") == "openai" for answer in answers)
        assert len({id(answer) for answer in answers}) == 50
        assert len(at_openai.requests) == requests + 1

    @pytest.mark.parametrize("leavers", ["", "a", "b", "ab", "abc"])
    async def test_a_stream_is_paid_once(self, at_openai: Server, leavers: str) -> None:
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        gate = Gate()
        begin = events([chunk_of({"content": "Hi"})], done=False)
        end = events([chunk_of(finish_reason="stop"), chunk_of(usage=usage) | {"choices": []}])
        at_openai.answer(stream_of(*begin, gate, *end))
        client = Client(cache=Cache.memory(), catalog={"openai/*": {"input": 1e6, "output": 1e6}})
        records: list[Any] = []
        client.on_call(records.append)
        streams = {name: await client.acompletion(MODEL, MESSAGES, stream=True) for name in "abc"}
        chunks = {name: aiter(stream) for name, stream in streams.items()}
        for name in "abc":
            await anext(chunks[name])
        for name in leavers:
            await streams.pop(name).aclose()
        gate.open()
        for name in streams:
            async for _ in chunks[name]:
                pass
        await asyncio.to_thread(eventually, lambda: len(records) == 3, "three records")
        paid = [record for record in records if not record.cached]
        assert len(paid) == 1 and paid[0].usage_is_estimated == (leavers == "abc")
        assert paid[0].outcome == ("left" if leavers == "abc" else "success")
        cost = sum(record.cost for record in records)
        assert cost == (paid[0].cost if leavers == "abc" else 7)
        assert [stream.meta.cost for stream in streams.values() if stream.meta.cost] == [7] * bool(streams)
        assert len(at_openai.requests) == 1

    @pytest.mark.parametrize("fails", ["one", "all", "upstream"])
    async def test_a_stream_that_fails_is_paid_once(self, at_openai: Server, fails: str) -> None:
        """One that cannot decode it, all, or the stream itself."""
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        gate = Gate()
        deep = json.loads("[" * 20 + "]" * 20)
        begin = events([chunk_of({"content": "Hi"})], done=False)
        end = events([chunk_of(finish_reason="stop") | {"deep": deep}, chunk_of(usage=usage) | {"choices": []}])
        at_openai.answer(stream_of(*begin, gate, *([Close()] if fails == "upstream" else end)))
        cache, records = Cache.memory(), list[Any]()
        first = Client(
            cache=cache, max_nesting=10 if fails != "upstream" else 100, max_retries=0, on_call=records.append
        )
        others = first if fails == "all" else Client(cache=cache, max_retries=0, on_call=records.append)

        async def read(client: Client) -> None:
            async for _ in await client.acompletion(MODEL, MESSAGES, stream=True):
                pass

        tasks = [asyncio.create_task(read(client)) for client in (first, others, others)]
        await asyncio.to_thread(at_openai.wait_for_requests, 1)
        await asyncio.to_thread(eventually, lambda: cache.stats()["joined"] == 2)
        gate.open()
        errors = [type(error) for error in await asyncio.gather(*tasks, return_exceptions=True)]
        none = type(None)
        right = {"one": [APIResponseValidationError, none, none], "all": [APIResponseValidationError] * 3}
        assert errors == right.get(fails, [IncompleteStreamError] * 3)
        assert [record.cached for record in records].count(False) == 1
        assert sum(bool(record.usage.input) for record in records) == 1
        assert len(at_openai.requests) == 1

    def test_threads(self, client: Client, at_openai: Server) -> None:
        gate = Gate()
        at_openai.answer(plain_after(gate))
        answers: list[Any] = []
        threads = [
            threading.Thread(target=lambda: answers.append(client.completion(MODEL, MESSAGES))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        at_openai.wait_for_requests(1)
        gate.open()
        for thread in threads:
            thread.join()
        assert len(answers) == 8 and len(at_openai.requests) == 1

    async def test_a_client_that_closes(self, at_openai: Server) -> None:
        gate = Gate()
        at_openai.answer(plain_after(gate))
        cache = Cache.memory()
        one, other = Client(cache=cache), Client(cache=cache)
        calls = [asyncio.create_task(client.acompletion(MODEL, MESSAGES)) for client in (one, other)]
        await asyncio.to_thread(at_openai.wait_for_requests, 1)
        await one.aclose(0)
        with pytest.raises(APIConnectionError, match="closed"):
            await calls[0]
        gate.open()
        assert await calls[1] == completion_of()
        with pytest.raises(InvalidArgumentError, match="closed"):
            await one.acompletion(MODEL, MESSAGES)

    async def test_no_permit_is_taken(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        client = Client(cache=Cache.memory(), max_in_flight=1, limits={"openai": {"rpd": 1}})
        answers = await asyncio.gather(*(client.acompletion(MODEL, MESSAGES) for _ in range(20)))
        assert len(answers) == 20 and len(at_openai.requests) == 1

    async def test_other_tasks_run_beside_hits(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(plain())
        await client.acompletion(MODEL, MESSAGES)
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        for _ in range(640):
            await client.acompletion(MODEL, MESSAGES)
        counting.cancel()
        assert turns >= 9

    async def test_random_cancellations(self, at_openai: Server) -> None:
        await hammer(at_openai, callers=2000, seed=19)

    @pytest.mark.long
    @pytest.mark.parametrize("seed", range(3))
    async def test_a_hundred_thousand_callers(self, at_openai: Server, seed: int) -> None:
        await hammer(at_openai, callers=100_000, seed=seed)

    async def test_all_wait_for_one_call(self, at_openai: Server) -> None:
        await crowd(at_openai, callers=300, seed=19)

    @pytest.mark.long
    async def test_a_hundred_thousand_wait_for_one_call(self, at_openai: Server) -> None:
        await crowd(at_openai, callers=100_000, seed=19)


async def crowd(server: Server, callers: int, seed: int) -> None:
    """Callers who wait for one call at the same time, of whom a fifth goes, whoever began it included."""
    chance, gate = random.Random(seed), Gate()
    server.answer(plain_after(gate))
    cache = Cache.memory()
    client = Client(cache=cache)
    tasks = [asyncio.create_task(client.acompletion(MODEL, MESSAGES)) for _ in range(callers)]
    while cache.stats()["joined"] < callers - 1:
        await asyncio.sleep(0.01)
    leavers = {0, *chance.sample(range(callers), callers // 5)}
    for leaver in leavers:
        tasks[leaver].cancel()
    await asyncio.sleep(0)
    gate.open()
    outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 300)
    answers = [outcome for number, outcome in enumerate(outcomes) if number not in leavers]
    assert all(isinstance(outcomes[leaver], asyncio.CancelledError) for leaver in leavers)
    assert all(answer == completion_of() for answer in answers)
    assert sum(not answer.meta.cached for answer in answers) == 1, "one of them counts what it used"
    assert len(server.requests) == 1 and client.stats()["in_flight"] == 0
    assert (cache.stats()["misses"], cache.stats()["joined"]) == (1, callers - 1)


async def hammer(server: Server, callers: int, seed: int) -> None:
    """Callers of one key, of which some are cancelled at some time, and some of whose calls fail."""
    chance = random.Random(seed)
    answers = iter([refusal(500) if chance.random() < 0.3 else plain() for _ in range(callers)])
    server.script = lambda _: next(answers)  # type: ignore[attr-defined]
    cache = Cache.memory(ttl=0.005)
    client = Client(cache=cache)
    outcomes: dict[str, int] = {}

    async def call() -> None:
        await asyncio.sleep(chance.random() * callers / 20_000)
        try:
            answer = await client.acompletion(MODEL, MESSAGES, max_retries=0)
            outcome = "kept" if answer.meta.cached else "made"
            assert answer == completion_of()
        except InternalServerError:
            outcome = "failed"
        except asyncio.CancelledError:
            outcome = "cancelled"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1

    tasks = [asyncio.create_task(call()) for _ in range(callers)]

    async def cancel() -> None:
        for task in chance.sample(tasks, callers // 5):
            if chance.random() < 0.02:
                await asyncio.sleep(0.001)
            task.cancel()

    await cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 300)
    never_begun = sum(task.cancelled() for task in tasks)
    assert sum(outcomes.values()) + never_begun == callers
    assert outcomes.get("kept", 0) > callers // 4
    assert len(server.requests) < callers // 4
    assert (await client.with_options(cache=False).acompletion(MODEL, MESSAGES, max_retries=9)) == completion_of()
    assert client.stats()["in_flight"] == 0


def plain_after(gate: Gate) -> Answer:
    body = dumped(completion_of())
    return Answer(headers={"content-type": "application/json", "content-length": str(len(body))}, body=[gate, body])


def refused_after(gate: Gate, status: int) -> Answer:
    return Answer(status=status, body=[gate, dumped({"error": {"message": "no, thank you"}})])


class TestEmbeddings:
    @staticmethod
    def script(request: Request) -> Answer:
        given = request.json["input"]
        inputs = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
        data = [
            {"object": "embedding", "index": index, "embedding": [float(len(str(text))), 1.0]}
            for index, text in enumerate(inputs)
        ]
        usage = {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}
        return Answer(
            body=[dumped({"object": "list", "data": data[::-1], "model": "text-embedding-3-small", "usage": usage})]
        )

    @pytest.fixture
    def at_embeddings(self, at_openai: Server) -> Server:
        at_openai.script = self.script  # type: ignore[attr-defined]
        return at_openai

    def test_each_input_is_kept(self, at_embeddings: Server, cache: Cache) -> None:
        client = Client(cache=cache)

        def embed(*inputs: Any) -> Any:
            return client.embedding("openai/text-embedding-3-small", list(inputs), encoding_format="float")

        first = embed("a", "bb")
        eventually(lambda: cache.stats()["entries"] == 2, "two entries")
        second = embed("ccc", "bb", "a", "dddd", "bb")
        assert at_embeddings.last.json["input"] == ["ccc", "dddd"]
        assert [item.embedding[0] for item in second.data] == [3.0, 2.0, 1.0, 4.0, 2.0]
        assert [item.index for item in second.data] == [0, 1, 2, 3, 4]
        assert (first.usage.total_tokens, second.usage.total_tokens) == (2, 2)
        assert second.model == "text-embedding-3-small" and not second.meta.cached
        eventually(lambda: cache.stats()["entries"] == 4, "four entries")
        third = embed("dddd", "a")
        assert [item.embedding[0] for item in third.data] == [4.0, 1.0]
        assert third.meta.cached and third.usage.total_tokens == 0
        assert len(at_embeddings.requests) == 2

    def test_some_of_many_are_kept(self, client: Client, at_embeddings: Server) -> None:
        """https://github.com/BerriAI/litellm/issues/29284: each vector stays with its text, and has its place's number."""
        client.embedding(MODEL, ["a", "bb"])
        data = client.embedding(MODEL, ["dddd", "a", "ccc", "bb", "dddd"]).data
        assert at_embeddings.last.json["input"] == ["dddd", "ccc", "dddd"]
        assert [(item.index, item.embedding[0]) for item in data] == [(0, 4), (1, 1), (2, 3), (3, 2), (4, 4)]

    def test_one_input_and_tokens(self, client: Client, at_embeddings: Server) -> None:
        model = "openai/text-embedding-3-small"
        client.embedding(model, "text", encoding_format="float")
        assert client.embedding(model, ["text"], encoding_format="float").meta.cached
        client.embedding(model, [1, 2, 3], encoding_format="float")
        assert client.embedding(model, [[1, 2, 3]], encoding_format="float").meta.cached
        assert not client.embedding(model, ["text"], encoding_format="float", dimensions=2).meta.cached

    def test_an_answer_with_too_few_vectors(self, client: Client, at_openai: Server) -> None:
        one = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [1.0]}], "model": "m"}
        at_openai.answer(Answer(body=[dumped(one)]))
        model = "openai/text-embedding-3-small"
        client.embedding(model, "a", encoding_format="float")
        with pytest.raises(APIResponseValidationError, match="there are 1, for 2 inputs"):
            client.embedding(model, ["a", "b", "c"], encoding_format="float")


class TestRouters:
    def test_a_group_is_part_of_the_key(self, at_openai: Server) -> None:
        at_openai.answer(plain("one"), plain("two"), plain("three"), plain("four"))
        cache = Cache.memory()
        deployment = Deployment("openai/a", api_key=KEY)
        router = Router({"fast": [deployment], "slow": [deployment]}, cache=cache)
        assert router.completion("fast", MESSAGES).choices[0].message.content == "one"
        assert router.completion("slow", MESSAGES).choices[0].message.content == "two"
        assert router.completion("fast", MESSAGES).meta.cached
        same = Router({"fast": [Deployment("openai/a", api_key=KEY)], "slow": [deployment]}, cache=cache)
        assert same.completion("fast", MESSAGES).choices[0].message.content == "one"
        other = Router({"fast": ["openai/b"]}, cache=cache)
        assert other.completion("fast", MESSAGES).choices[0].message.content == "three"
        account = Router({"fast": [Deployment("openai/b", api_key="sk-another-one")]}, cache=cache)
        assert account.completion("fast", MESSAGES).choices[0].message.content == "four"

    def test_after_a_fallback(self, at_openai: Server) -> None:
        at_openai.answer(refusal(500), plain("two"))
        router = Router({"main": ["openai/a", "openai/b"]}, cache=Cache.memory(), strategy="ordered", max_wait=1)
        first = router.completion("main", MESSAGES)
        second = router.completion("main", MESSAGES)
        assert first == second and second.meta.cached and second.meta.attempts == []
        assert second.meta.model == first.meta.model == "b"

    def test_streams(self, at_openai: Server) -> None:
        at_openai.answer(streamed("Hello!"))
        router = Router({"main": ["openai/a"]}, cache=Cache.memory())
        texts = [whole(router.completion("main", MESSAGES, stream=True)).choices[0].message.content for _ in range(2)]
        assert texts == ["Hello!"] * 2 and len(at_openai.requests) == 1


class TestDisk:
    def test_files(self, at_openai: Server, tmp_path: Path) -> None:
        at_openai.answer(plain())
        cache = Cache.disk(tmp_path / "kept")
        Client(cache=cache, api_key="sk-secret-secret").completion(
            MODEL, MESSAGES, extra_headers={"x-key": "hidden-hidden"}
        )
        eventually(lambda: cache.stats()["entries"] == 1)
        files = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
        assert files and all(path.stat().st_mode & 0o077 == 0 for path in files)
        content = b"".join(path.read_bytes() for path in files)
        assert b"secret-secret" not in content and b"hidden-hidden" not in content

    @pytest.mark.parametrize("damage", ["cut", "byte", "empty", "other", "folder"])
    def test_a_damaged_entry_is_a_miss(self, at_openai: Server, tmp_path: Path, damage: str) -> None:
        at_openai.answer(plain())
        cache = Cache.disk(tmp_path)
        client = Client(cache=cache)
        client.completion(MODEL, MESSAGES)
        eventually(lambda: cache.stats()["entries"] == 1)
        (path,) = [path for path in tmp_path.rglob("*") if path.is_file() and len(path.name) == 62]
        content = path.read_bytes()
        if damage == "folder":
            path.unlink()
            path.mkdir()
        elif damage == "other":
            client.completion(MODEL, OTHER)
            eventually(lambda: cache.stats()["entries"] == 2)
            (other,) = [
                file for file in tmp_path.rglob("*") if file.is_file() and len(file.name) == 62 and file != path
            ]
            path.write_bytes(other.read_bytes())
        else:
            at = len(content) // 2
            changed = bytes([content[at] ^ 1])
            path.write_bytes(
                {"cut": content[:at], "byte": content[:at] + changed + content[at + 1 :], "empty": b""}[damage]
            )
        assert not client.completion(MODEL, MESSAGES).meta.cached
        if damage != "folder":
            eventually(lambda: client.completion(MODEL, MESSAGES).meta.cached, "the entry was written anew")

    def test_it_is_bounded(self, at_openai: Server, tmp_path: Path) -> None:
        at_openai.answer(plain("x" * 3000))
        cache = Cache.disk(tmp_path, max_bytes=400_000)
        client = Client(cache=cache)
        for number in range(150):
            client.completion(MODEL, ask(str(number)))
        eventually(lambda: not list((tmp_path / "v1" / "new").iterdir()))
        eventually(lambda: cache.stats()["bytes"] <= 400_000, "the oldest are removed")
        assert cache.stats()["entries"] > 20
        eventually(lambda: client.completion(MODEL, ask("149")).meta.cached)

    def test_it_survives_a_kill(self, at_openai: Server, tmp_path: Path) -> None:
        at_openai.answer(plain("x" * 2000))
        program = (
            "import sys, ritellm\n"
            f"client = ritellm.Client(cache=ritellm.Cache.disk({str(tmp_path)!r}))\n"
            "number = 0\n"
            "while True:\n"
            f"    client.completion({MODEL!r}, [{{'role': 'user', 'content': str(number)}}])\n"
            "    number += 1\n"
            "    print(number, flush=True)\n"
        )
        for _ in range(2):
            with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout
                for line in process.stdout:
                    if int(line) >= 20:
                        break
                process.send_signal(signal.SIGKILL)
        at_openai.requests.clear()
        client = Client(cache=Cache.disk(tmp_path))
        answers = [client.completion(MODEL, ask(str(number))) for number in range(18)]
        assert all(answer.choices[0].message.content == "x" * 2000 for answer in answers)
        assert sum(answer.meta.cached for answer in answers) >= 17

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
    def test_a_child_has_its_own(self, at_openai: Server, tmp_path: Path) -> None:
        at_openai.answer(plain())
        memory, disk = Client(cache=Cache.memory()), Client(cache=Cache.disk(tmp_path))
        for client in (memory, disk):
            client.completion(MODEL, MESSAGES)
        eventually(lambda: disk.completion(MODEL, MESSAGES).meta.cached)
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                seen = [client.completion(MODEL, MESSAGES).meta.cached for client in (memory, disk)]
                os._exit(0 if seen == [False, True] else 1)
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0


class TestRedis:
    @pytest.fixture
    def redis(self) -> Iterator[Redis]:
        with Processes() as processes:
            yield processes.redis()

    def test_answers_are_shared(self, read: Call, at_openai: Server, redis: Redis) -> None:
        at_openai.answer(streamed("Hel", "lo!"), plain())
        text = f"{at_openai.base_url}"
        clients = [Client(cache=Cache.redis(redis.url)) for _ in range(2)]
        chunks, _ = read(client=clients[0], messages=ask(text))
        eventually(lambda: read(client=clients[1], messages=ask(text))[1].meta.cached)
        kept, _ = read(client=clients[1], messages=ask(text))
        assert kept == chunks
        clients[0].completion(MODEL, ask(text))
        eventually(lambda: bool(clients[1].completion(MODEL, ask(text)).meta.cached))
        other = Client(cache=Cache.redis(redis.url, namespace="other"))
        assert not other.completion(MODEL, ask(text)).meta.cached

    def test_no_call_waits_for_one_that_is_gone(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        client = Client(cache=Cache.redis("redis://127.0.0.1:9/0"))
        assert [client.completion(MODEL, MESSAGES).meta.cached for _ in range(3)] == [False] * 3

    def test_one_that_does_not_answer(self, at_openai: Server, redis: Redis) -> None:
        at_openai.answer(plain())
        client = Client(cache=Cache.redis(redis.url))
        client.completion(MODEL, ask(f"{at_openai.base_url} frozen"))
        redis.process.send_signal(signal.SIGSTOP)
        try:
            assert client.completion(MODEL, ask("frozen")) == completion_of()
        finally:
            redis.process.send_signal(signal.SIGCONT)


def test_nothing_is_left_behind(client: Client, at_openai: Server) -> None:
    at_openai.answer(plain())
    response = client.completion(MODEL, MESSAGES)
    del response
    response = client.completion(MODEL, MESSAGES)
    gc.collect()
    assert response == completion_of()
