"""Tests of limits that a real Redis shares: they hold for all processes, and no call waits for the Redis."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from limited import Processes, Redis, most_in
from server import KEY, MESSAGES, Server, completion_of, plain

from ritellm import APIConnectionError, Client, InvalidArgumentError, Limit, Limits, Timeout

PATIENCE = 20.0


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Processes() as processes:
        yield processes.redis()


def client_of(server: Server, redis: Redis, limit: Any, **options: Any) -> Client:
    settings = {name: options.pop(name) for name in ("when_down", "namespace") if name in options}
    limits = Limits({"openai": limit}, share=redis.url, **settings)
    return Client(
        **{"base_url": server.base_url, "api_key": f"{KEY}-{server.base_url[-9:-3]}", "limits": limits, **options}
    )


async def test_a_window_holds(server: Server, redis: Redis) -> None:
    server.answer(plain())
    clients = [client_of(server, redis, Limit(requests=40, per=2, burst=0.3)) for _ in range(2)]
    calls = (client.acompletion("openai/m", MESSAGES) for client in clients * 40)
    await asyncio.gather(*calls)
    arrivals = sorted((request.at, 1) for request in server.requests)
    assert len(arrivals) == 80
    assert most_in(arrivals, 1.9) <= 40


async def test_no_call_waits_for_a_redis_that_is_gone(
    server: Server, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer(plain())
    client = client_of(server, redis, Limit(requests=1000, per=60), when_down=0.5)
    assert await client.acompletion("openai/m", MESSAGES) == completion_of()
    with caplog.at_level(logging.WARNING, "ritellm"):
        redis.stop()
        for _ in range(5):
            assert await client.acompletion("openai/m", MESSAGES, timeout={"queue": 5}) == completion_of()
            await asyncio.sleep(0.1)
        redis.start()
        end = time.monotonic() + PATIENCE
        back = f":{redis.port} that shares limits is back"
        while not any(back in record.message for record in caplog.records) and time.monotonic() < end:
            await client.acompletion("openai/m", MESSAGES)
            await asyncio.sleep(0.1)
    # Servers of other tests are gone, too.
    messages = [record.message for record in caplog.records if f":{redis.port} " in record.message]
    assert [("gone" in message, "back" in message) for message in messages] == [(True, False), (False, True)]


async def test_a_frozen_redis_stops_nobody(server: Server, redis: Redis) -> None:
    server.answer(plain())
    client = client_of(server, redis, {"rpm": 1000})
    await client.acompletion("openai/m", MESSAGES)
    redis.signal(signal.SIGSTOP)
    try:
        for _ in range(3):
            assert await client.acompletion("openai/m", MESSAGES, timeout={"queue": 5}) == completion_of()
    finally:
        redis.signal(signal.SIGCONT)


async def test_what_else_to_do_without_it(server: Server, redis: Redis) -> None:
    server.answer(plain())
    redis.stop()
    waiting = client_of(server, redis, {"rpm": 100}, when_down="wait")
    with pytest.raises(Timeout, match="queue timeout"):
        await waiting.acompletion("openai/m", MESSAGES, timeout={"queue": 0.6})
    refusing = client_of(server, redis, {"rpm": 100}, when_down="error", namespace="other")
    with pytest.raises(APIConnectionError, match="does not answer"):
        await refusing.acompletion("openai/m", MESSAGES, timeout={"queue": 5})
    assert not server.requests


async def test_no_key_is_in_it(server: Server, redis: Redis) -> None:
    server.answer(plain())
    client = client_of(server, redis, {"rpm": 100})
    await client.acompletion("openai/m", MESSAGES)
    (name,) = redis.command("KEYS", "*")
    assert name.startswith(b"ritellm:limits:")
    stored = name + redis.command("DUMP", name.decode())
    for secret in (KEY, "openai", "127.0.0.1", server.base_url):
        assert secret.encode() not in stored


def test_an_address_that_is_none() -> None:
    for address in ("redis://user:sesame@h:port/0", "redis://h:6379/x", "redis://:sesame#@h"):
        with pytest.raises(InvalidArgumentError, match="share") as caught:
            Limits("adaptive", share=address)
        assert "sesame" not in str(caught.value)


def test_a_password_and_a_database(server: Server) -> None:
    server.answer(plain())
    with Processes() as processes:
        redis = processes.redis("--requirepass", "sesame")
        limits = Limits({"openai": {"rpm": 100}}, share=redis.url.replace("redis://", "redis://:sesame@"))
        client = Client(base_url=server.base_url, api_key=KEY, limits=limits)
        client.completion("openai/m", MESSAGES)
        assert "sesame" not in repr(limits)
        wrong = Limits({"openai": {"rpm": 100}}, share=redis.url, when_down="wait", namespace="wrong")
        with pytest.raises(Timeout):
            Client(base_url=server.base_url, api_key=KEY, limits=wrong).completion(
                "openai/m", MESSAGES, timeout={"queue": 0.6}
            )


async def test_a_process_whose_calls_are_over_leaves_the_redis_alone(server: Server, redis: Redis) -> None:
    """Budget that waited for a call was kept for one more, and renewed several times a second for ever."""
    server.answer(plain())
    client = client_of(server, redis, Limit(requests=2, per=0.3))
    await asyncio.gather(*(client.acompletion("openai/m", MESSAGES) for _ in range(5)))

    def commands() -> int:
        lines = redis.command("INFO", "commandstats").decode().splitlines()
        return sum(int(line.split("calls=")[1].split(",")[0]) for line in lines if line.startswith("cmdstat_evalsha"))

    end = time.monotonic() + PATIENCE
    before, now = -1, commands()
    while before != now and time.monotonic() < end:
        await asyncio.sleep(0.7)
        before, now = now, commands()
    assert before == now > 0
