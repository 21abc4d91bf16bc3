"""Tests of limits on a client: waiting, windows, pauses, and what they give back."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import time
from typing import Any

import pytest
from server import KEY, MESSAGES, Answer, Gate, Server, Stall, chunks_of, completion_of, events, plain, stream_of
from test_admission import until

import ritellm
from ritellm import (
    AuthenticationError,
    Client,
    InvalidArgumentError,
    Limit,
    Limits,
    NotFoundError,
    PermissionDeniedError,
    Timeout,
)

MODEL = "openai/m"


def client_of(server: Server, limits: Any, **settings: Any) -> Client:
    # Each test has an account of its own: quotas are shared by the clients of a process.
    return Client(
        **{"base_url": server.base_url, "api_key": f"{KEY}-{time.monotonic_ns()}", "limits": limits, **settings}
    )


def quota(client: Client) -> dict[str, Any]:
    (quota,) = client.limits().values()
    return quota


class TestWindows:
    async def test_calls_beyond_a_limit_wait(self, server: Server) -> None:
        server.answer(plain())
        client = client_of(server, {"openai": Limit(requests=4, per=0.5, burst=1)})
        await asyncio.gather(*(client.acompletion(MODEL, MESSAGES) for _ in range(10)))
        times = sorted(request.at for request in server.requests)
        assert len(times) == 10
        # No five within half a second, but for the time that they took to arrive.
        assert min(after - before for before, after in zip(times, times[4:], strict=False)) > 0.4

    async def test_one_quota_for_each_model_or_for_all(self, server: Server) -> None:
        server.answer(plain())
        client = client_of(server, {"openai/*": {"rpm": 100}, "openai": {"max_in_flight": 3}})
        await asyncio.gather(*(client.acompletion(f"openai/{name}", MESSAGES) for name in "aab"))
        assert [name.split(" at ")[0] for name in client.limits()] == ["openai", "openai/a", "openai/b"]
        used = {name.split(" at ")[0]: state["windows"] for name, state in client.limits().items()}
        assert [window["used"] for name in ("openai/a", "openai/b") for window in used[name]] == [2, 1]
        assert used["openai"] == []

    async def test_clients_share_the_quota_of_an_account(self, server: Server) -> None:
        server.answer(plain())
        one = client_of(server, {"openai": {"rpm": 100}}, api_key="sk-the-same-0123456789")
        two = client_of(server, {"openai": {"rpm": 100}}, api_key="sk-the-same-0123456789")
        other = client_of(server, {"openai": {"rpm": 100}}, api_key="sk-another-0123456789")
        for client in (one, two, other):
            await client.acompletion(MODEL, MESSAGES)
        assert [quota(client)["windows"][0]["used"] for client in (one, two, other)] == [2, 2, 1]

    async def test_tokens_are_settled_with_the_usage(self, server: Server) -> None:
        server.answer(plain())
        client = client_of(server, {"openai": {"tpm": 100_000}})
        await client.acompletion(MODEL, MESSAGES, max_tokens=50_000)
        assert quota(client)["windows"][0]["used"] == completion_of()["usage"]["total_tokens"]
        assert quota(client)["reserved_tokens"] == 0


class TestInFlight:
    async def test_never_more_and_all_given_back(self, server: Server) -> None:
        server.answer(Answer(before=[Stall()]))
        client = client_of(server, {"openai": {"max_in_flight": 2}})
        calls = [asyncio.create_task(client.acompletion(MODEL, MESSAGES)) for _ in range(5)]
        await until(lambda: len(server.requests) == 2)
        assert (quota(client)["in_flight"], quota(client)["waiting"]) == (2, 3)
        assert (client.stats()["in_flight"], client.stats()["waiting"]) == (2, 3)
        # One that is under way, and one that waits.
        calls[0].cancel()
        calls[4].cancel()
        await until(lambda: len(server.requests) == 3)
        assert (quota(client)["in_flight"], quota(client)["waiting"]) == (2, 1)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await until(lambda: quota(client)["in_flight"] == 0)
        assert quota(client)["waiting"] == 0

    async def test_a_stream_holds_its_permit_to_its_end(self, server: Server) -> None:
        server.answer(stream_of(*events(chunks_of("a"))), stream_of(*events(chunks_of("b"))), plain())
        client = client_of(server, {"openai": {"max_in_flight": 1}}, timeout={"queue": 5})
        stream = await client.acompletion(MODEL, MESSAGES, stream=True)
        async for _ in stream:
            pass
        # One that is left early gives it back, too.
        async with await client.acompletion(MODEL, MESSAGES, stream=True) as stream:
            async for _ in stream:
                break
        assert await client.acompletion(MODEL, MESSAGES) == completion_of()
        assert quota(client)["in_flight"] == 0

    async def test_waiting_ends_with_queue(self, server: Server) -> None:
        server.answer(Answer(before=[Stall()]))
        client = client_of(server, {"openai/m": {"max_in_flight": 1}})
        first = asyncio.create_task(client.acompletion(MODEL, MESSAGES))
        await until(lambda: server.requests)
        with pytest.raises(Timeout, match=r"queue timeout of 0.1 s: its quota openai/m .* 1 calls hold permits"):
            await client.acompletion(MODEL, MESSAGES, timeout={"queue": 0.1})
        first.cancel()

    async def test_a_paused_quota_blocks_nobody_else(self, server: Server) -> None:
        """A call that waits for its quota holds no place of `max_in_flight`."""
        server.answer(Answer(429, headers={"retry-after": "30"}), plain())
        client = client_of(server, {"openai/a": {"rpm": 100}}, max_in_flight=1, max_retry_after=60)
        paused = asyncio.create_task(client.acompletion("openai/a", MESSAGES))
        await until(lambda: server.requests and client.stats()["waiting"] == 1)
        assert await client.acompletion("openai/b", MESSAGES, timeout={"queue": 5}) == completion_of()
        paused.cancel()


class TestRefusals:
    async def test_a_429_pauses_the_quota_and_uses_up_no_retry(self, server: Server) -> None:
        server.answer(*[Answer(429, headers={"retry-after-ms": "30"})] * 4, plain())
        client = client_of(server, {"openai": {"rpm": 10_000}}, max_retries=0)
        response = await client.acompletion(MODEL, MESSAGES)
        assert response.meta.retries == 4

    @pytest.mark.parametrize(
        ("status", "error"), [(401, AuthenticationError), (403, PermissionDeniedError), (404, NotFoundError)]
    )
    async def test_a_refused_key_stops_the_quota_until_it_is_enabled(
        self, server: Server, status: int, error: type[Exception]
    ) -> None:
        server.answer(Answer(status), plain())
        client = client_of(server, {"openai/m": {"rpm": 100}}, max_retries=0)
        with pytest.raises(error):
            await client.acompletion(MODEL, MESSAGES)
        with pytest.raises(error, match=r"quota openai/m .*is stopped"):
            await client.acompletion(MODEL, MESSAGES)
        assert len(server.requests) == 1
        assert quota(client)["stopped_by"] == "auth"
        assert client.enable("openai/m")
        assert not client.enable("groq")
        assert await client.acompletion(MODEL, MESSAGES) == completion_of()


class TestPriority:
    async def test_interactive_calls_pass_bulk_calls(self, server: Server) -> None:
        gate = Gate()
        server.answer(dataclasses.replace(plain(), before=[gate]), plain())
        client = client_of(server, {"openai": {"max_in_flight": 1}})
        bulk = client.with_options(priority="bulk")
        calls = [bulk.acompletion(MODEL, MESSAGES, user="bulk") for _ in range(20)]
        calls += [client.acompletion(MODEL, MESSAGES, user="interactive") for _ in range(5)]
        ended = asyncio.gather(*calls)
        await until(lambda: [state["waiting"] for state in client.limits().values()] == [24])
        gate.open()
        await ended
        users = [request.json["user"] for request in server.requests]
        # The first one found nobody before it.
        assert users[:6] == ["bulk"] + ["interactive"] * 5

    async def test_options_are_the_calls_connections_are_shared(self, server: Server) -> None:
        server.answer(plain())
        client = client_of(server, None, timeout={"total": 7, "connect": 3})
        other = client.with_options(timeout={"queue": 1}, max_retries=5).with_options(priority="bulk")
        await client.acompletion(MODEL, MESSAGES)
        await other.acompletion(MODEL, MESSAGES)
        assert server.connections == 1
        assert other.stats() == client.stats()
        assert type(other) is Client
        assert pickle.loads(pickle.dumps(client_of(server, None, api_key=None).with_options(max_retries=1)))
        with pytest.raises(InvalidArgumentError, match="with_options takes no base_url"):
            client.with_options(base_url="http://h/v1")


class TestArguments:
    @pytest.mark.parametrize(
        ("limits", "message"),
        [
            ("fast", 'limits is "fast"'),
            (7, "limits is of type int"),
            ({"opnai": {"rpm": 1}}, "no known provider"),
            ({"openai": {"rpm": 0}}, r"limits\[\"openai\"\]\[\"rpm\"\] is 0"),
            ({"openai": {"rpm": -1}}, "above 0"),
            ({"openai": {"rpm": True}}, "is of type bool"),
            ({"openai": {"rpm": "5"}}, "is of type str"),
            ({"openai": {"rqm": 5}}, "is no limit: rps, rpm"),
            ({"openai": {}}, "limits nothing"),
            ({"openai": 5}, r"limits\[\"openai\"\] is of type int"),
            ({"openai/": {"rpm": 1}}, "names no model"),
            ({"openai": {"rpm": 5, "burst": 2}}, "above 0 and up to 1"),
            ({7: {"rpm": 5}}, "a key of limits is of type int"),
        ],
    )
    def test_what_is_none(self, limits: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message):
            Client(limits=limits)
        with pytest.raises(InvalidArgumentError, match=message):
            Limits(limits)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"share": "file:x"}, 'share is "file:x"'),
            ({"share": "host:"}, 'has to follow "host:"'),
            ({"share": "host:a/b"}, "has to follow"),
            ({"share": "host:" + "a" * 65}, "up to 64 letters"),
            ({"share": 5}, "share is of type int"),
            ({"when_down": "stop"}, 'when_down is "stop"'),
            ({"when_down": 0}, "when_down is 0"),
            ({"bulk_share": 1.5}, "bulk_share is 1.5"),
            ({"adaptive": 1}, "adaptive is of type int"),
            ({"namespace": ""}, "namespace is an empty str"),
        ],
    )
    def test_options(self, options: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message):
            Limits({"openai": {"rpm": 5}}, **options)

    def test_a_limit_of_nothing(self) -> None:
        with pytest.raises(InvalidArgumentError, match="limits nothing"):
            Limit(per=5)
        with pytest.raises(InvalidArgumentError, match="requests is 0"):
            Limit(requests=0)
        with pytest.raises(InvalidArgumentError, match="per is 0"):
            Limit(requests=1, per=0)

    def test_copies_pickles_and_words(self) -> None:
        limit = Limit(requests=6, per=1)
        assert repr(limit) == "Limit(requests=6, per=1)"
        assert pickle.loads(pickle.dumps(limit)) == limit != Limit(requests=7, per=1)
        limits = Limits({"openai": limit}, share="host:prod", when_down="wait")
        assert pickle.loads(pickle.dumps(limits)) == limits != Limits("adaptive")
        assert (
            repr(limits) == "Limits(share='host:prod', when_down='wait', limits={'openai': Limit(requests=6, per=1)})"
        )

    def test_a_password_is_not_shown_and_not_pickled(self) -> None:
        limits = Limits("adaptive", share="redis://user:sesame@h:6379/0")
        assert "sesame" not in repr(limits)
        with pytest.raises(InvalidArgumentError, match="passwords are never pickled"):
            pickle.dumps(limits)
        with pytest.raises(InvalidArgumentError) as caught:
            Limits("adaptive", share="http://user:sesame@h:6379/0")
        assert "sesame" not in str(caught.value)
        client = pickle.loads(pickle.dumps(Client(limits=limits)))
        with pytest.raises(InvalidArgumentError, match="limits was not"):
            client.completion(MODEL, MESSAGES)

    def test_they_are_exported(self) -> None:
        assert ritellm.Limit is Limit
