"""Tests of limits that a real Redis shares: they hold for all processes, and no call waits for the Redis."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server import KEY, MESSAGES, Server, completion_of, plain

from ritellm import APIConnectionError, Client, InvalidArgumentError, Limit, Limits, Timeout

PATIENCE = 20.0


class Redis:
    """A redis-server that a test starts, stops and freezes."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.options = folder, options
        self.start()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self.process = subprocess.Popen(["redis-server", *options, *self.options], stdout=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.02)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self, *words: str) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            parts = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
            connection.sendall(f"*{len(words)}\r\n{parts}".encode())
            return connection.recv(1 << 20)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        assert not os.environ.get("CI"), "there is no redis-server: tests/install-redis.sh installs one"
        pytest.skip("there is no redis-server")
    server = Redis(tmp_path)
    yield server
    server.stop()


def client_of(server: Server, redis: Redis, limit: Any, **options: Any) -> Client:
    settings = {name: options.pop(name) for name in ("when_down", "namespace") if name in options}
    limits = Limits({"openai": limit}, share=redis.url, **settings)
    return Client(
        **{"base_url": server.base_url, "api_key": f"{KEY}-{server.base_url[-9:-3]}", "limits": limits, **options}
    )


def most_within(times: list[float], seconds: float) -> int:
    times = sorted(times)
    return max(sum(at <= other < at + seconds for other in times) for at in times)


async def test_a_window_holds(server: Server, redis: Redis) -> None:
    server.answer(plain())
    clients = [client_of(server, redis, Limit(requests=40, per=2, burst=0.3)) for _ in range(2)]
    calls = (client.acompletion("openai/m", MESSAGES) for client in clients * 40)
    await asyncio.gather(*calls)
    times = [request.at for request in server.requests]
    assert len(times) == 80
    assert most_within(times, 1.9) <= 40


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
    redis.process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(3):
            assert await client.acompletion("openai/m", MESSAGES, timeout={"queue": 5}) == completion_of()
    finally:
        redis.process.send_signal(signal.SIGCONT)


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
    keys = redis.command("KEYS", "*")
    assert b"ritellm:limits" in keys
    name = next(line for line in keys.split(b"\r\n") if line.startswith(b"ritellm")).decode()
    stored = keys + redis.command("DUMP", name)
    for secret in (KEY, "openai", "127.0.0.1", server.base_url):
        assert secret.encode() not in stored


def test_an_address_that_is_none() -> None:
    for address in ("redis://user:sesame@h:port/0", "redis://h:6379/x", "redis://:sesame#@h"):
        with pytest.raises(InvalidArgumentError, match="share") as caught:
            Limits("adaptive", share=address)
        assert "sesame" not in str(caught.value)


def test_a_password_and_a_database(server: Server, tmp_path: Path) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server")
    redis = Redis(tmp_path, "--requirepass", "sesame")
    try:
        server.answer(plain())
        limits = Limits({"openai": {"rpm": 100}}, share=redis.url.replace("redis://", "redis://:sesame@"))
        client = Client(base_url=server.base_url, api_key=KEY, limits=limits)
        client.completion("openai/m", MESSAGES)
        assert "sesame" not in repr(limits)
        wrong = Limits({"openai": {"rpm": 100}}, share=redis.url, when_down="wait", namespace="wrong")
        with pytest.raises(Timeout):
            Client(base_url=server.base_url, api_key=KEY, limits=wrong).completion(
                "openai/m", MESSAGES, timeout={"queue": 0.6}
            )
    finally:
        redis.stop()
