"""Tests of functions of the caller that return keys, tokens and header fields before each attempt."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Call
from server import MESSAGES, MODEL, Server, plain, refusal, streamed

import ritellm
from ritellm import Client, InvalidArgumentError, Timeout

AGAIN = refusal(503, headers={"retry-after-ms": "1"})


def counting(is_async: bool) -> Callable[[], Any]:
    """A function that gives another key each time."""
    keys = iter(range(1, 100))

    def give() -> str:
        return f"key-{next(keys)}"

    async def agive() -> str:
        await asyncio.sleep(0)
        return give()

    return agive if is_async else give


def keys_of(server: Server) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]


@pytest.mark.parametrize("is_async", [False, True])
class TestKeys:
    def test_it_is_asked_before_each_attempt(self, call: Call, at_openai: Server, is_async: bool) -> None:
        at_openai.answer(AGAIN, AGAIN, plain())
        call(api_key=counting(is_async))
        assert keys_of(at_openai) == ["key-1", "key-2", "key-3"]

    def test_a_stream_and_its_retries(self, read: Call, at_openai: Server, is_async: bool) -> None:
        at_openai.answer(AGAIN, streamed("Hi"))
        read(api_key=counting(is_async))
        assert keys_of(at_openai) == ["key-1", "key-2"]

    def test_a_clients(self, call: Call, at_openai: Server, is_async: bool) -> None:
        at_openai.answer(plain())
        client = Client(api_key=counting(is_async), base_url=at_openai.base_url)
        call(client=client)
        call(client=client)
        call(client=client, api_key="own")
        assert keys_of(at_openai) == ["key-1", "key-2", "own"]

    def test_a_clients_is_not_for_another_address(
        self, call: Call, at_openai: Server, is_async: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at_openai.answer(plain())
        client = Client(api_key=counting(is_async), base_url="http://127.0.0.1:9/v1")
        call(client=client, base_url=at_openai.base_url)
        assert "key-" not in at_openai.requests[0].headers.get("authorization", "")

    def test_azures_tokens(self, call: Call, at_openai: Server, is_async: bool) -> None:
        at_openai.answer(AGAIN, plain(), plain())
        root = at_openai.base_url.removesuffix("/v1")
        call("azure/m", base_url=root, azure_ad_token_provider=counting(is_async))
        call("azure/m", base_url=root, client=Client(azure_ad_token_provider=counting(is_async)))
        assert keys_of(at_openai) == ["key-1", "key-2", "key-1"]

    def test_what_it_raises_is_what_the_call_raises(self, call: Call, at_openai: Server, is_async: bool) -> None:
        class Expired(LookupError):
            pass

        raised = Expired("sign in again")

        def fail() -> str:
            raise raised

        async def afail() -> str:
            raise raised

        with pytest.raises(Expired) as caught:
            call(api_key=afail if is_async else fail)
        assert caught.value is raised and at_openai.requests == []

    @pytest.mark.parametrize("wrong", [b"canary", 5, "", " ", None, ["canary"]])
    def test_what_is_no_key(self, call: Call, at_openai: Server, is_async: bool, wrong: Any) -> None:
        async def give() -> Any:
            return wrong

        with pytest.raises(InvalidArgumentError, match="what the function api_key returned is of type") as caught:
            call(api_key=give if is_async else lambda: wrong)
        assert "canary" not in str(caught.value) and at_openai.requests == []

    def test_a_key_that_is_repeated_is_hidden(self, call: Call, at_openai: Server, is_async: bool) -> None:
        async def give() -> str:
            return "sk-canary-canary"

        at_openai.answer(refusal(400, "bad key sk-canary-canary"))
        with pytest.raises(ritellm.BadRequestError) as caught:
            call(api_key=give if is_async else lambda: "sk-canary-canary")
        assert "canary" not in str(caught.value) and "canary" not in str(caught.value.body)


class TestWhereTheyRun:
    async def test_a_slow_one_does_not_stop_the_loop(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        asked, go_on = threading.Event(), threading.Event()

        def slow() -> str:
            asked.set()
            assert go_on.wait(10)
            return "key"

        task = asyncio.create_task(ritellm.acompletion(MODEL, MESSAGES, api_key=slow))
        while not asked.is_set():
            await asyncio.sleep(0.001)
        assert not task.done()
        go_on.set()
        await task

    async def test_a_coroutine_runs_on_the_calls_loop_and_in_its_context(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")
        loops = []

        async def give() -> str:
            loops.append(asyncio.get_running_loop())
            return tenant.get()

        async def ask(name: str) -> None:
            tenant.set(name)
            await ritellm.acompletion(MODEL, MESSAGES, api_key=give)
            await ritellm.acompletion(MODEL, MESSAGES, api_key=tenant.get)

        await asyncio.gather(*(ask(f"tenant-{number}") for number in range(8)))
        assert sorted(keys_of(at_openai)) == sorted(f"tenant-{number}" for number in range(8) for _ in range(2))
        assert set(loops) == {asyncio.get_running_loop()}

    def test_threads_and_loops_of_their_own(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        client = Client(api_key=counting(True), base_url=at_openai.base_url)
        threads = [
            threading.Thread(target=asyncio.run, args=(client.acompletion(MODEL, MESSAGES),)) for _ in range(4)
        ] + [threading.Thread(target=client.completion, args=(MODEL, MESSAGES)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(keys_of(at_openai)) == sorted(f"key-{number}" for number in range(1, 9))

    def test_the_deadline_holds(self, call: Call, at_openai: Server) -> None:
        go_on = threading.Event()
        with pytest.raises(Timeout):
            call(api_key=lambda: "key" if go_on.wait(10) else "", timeout=0.1)
        go_on.set()


class TestHeaders:
    @pytest.mark.parametrize("is_async", [False, True])
    def test_it_sees_what_is_sent_and_adds_to_it(self, call: Call, at_openai: Server, is_async: bool) -> None:
        at_openai.answer(AGAIN, plain())
        seen: list[Any] = []

        def add(request: Any) -> Any:
            seen.append(request)
            return {"x-attempt": request["attempt"], f"x-only-{request['attempt']}": "1", "x-set": "new"}

        async def aadd(request: Any) -> Any:
            return add(request)

        client = Client(api_key="canary-key", request_headers=aadd if is_async else add, headers={"x-set": "old"})
        call(client=client)
        assert [request.headers["x-attempt"] for request in at_openai.requests] == ["1", "2"]
        first, second = (request.headers for request in at_openai.requests)
        assert first["x-set"] == "new" and "x-only-1" in first and "x-only-1" not in second
        assert first["authorization"] == "Bearer canary-key"
        assert "canary" not in str(seen)
        for request in seen:
            assert request["method"] == "POST" and request["url"] == f"{at_openai.base_url}/chat/completions"
            assert request["headers"]["content-type"] == "application/json"
            assert (request["provider"], request["model"]) == ("openai", "gpt-4o-mini")

    def test_keys_in_the_address_are_not_shown(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain())
        seen: list[str] = []
        client = Client(request_headers=lambda request: seen.append(request["url"]))
        call(client=client, extra_query={"version": "1", "api-key": "canary-key", "sig": "canary/2"})
        assert at_openai.last.query == {"version": "1", "api-key": "canary-key", "sig": "canary/2"}
        assert seen == [f"{at_openai.base_url}/chat/completions?version=1&api%2Dkey=***&sig=***"]

    def test_nothing_to_add(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain())
        call(client=Client(request_headers=lambda request: None))

    @pytest.mark.parametrize(("wrong", "words"), [(5, "of type int"), ({"host": "x"}, "belongs to the connection")])
    def test_what_is_no_headers(self, call: Call, at_openai: Server, wrong: Any, words: str) -> None:
        with pytest.raises(InvalidArgumentError, match=words):
            call(client=Client(request_headers=lambda request: wrong))
        assert at_openai.requests == []

    def test_it_has_to_be_a_function(self) -> None:
        with pytest.raises(InvalidArgumentError, match="request_headers is of type dict"):
            Client(request_headers={"x": "y"})  # type: ignore[arg-type]
