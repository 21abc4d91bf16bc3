"""Tests every stage at which a call can hang with every limit, and with a cancellation."""

from __future__ import annotations

import asyncio
import gc
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from raw import PATIENCE, Connection, RawServer, Request
from raw_http2 import Authority, http2
from table import (
    TEXT,
    drips_for_ever,
    good,
    only_streams,
    refuses,
    stalls,
    stalls_after_head,
    stalls_after_pings,
    stalls_in_head,
    stalls_inside,
)

from ritellm import Client, RiteLLMError, Timeout

KEY = "sk-canary-0123456789abcdef"
MESSAGES = [{"role": "user", "content": "Hi"}]
LARGE = [{"role": "user", "content": "x" * (12 << 20)}]
"""More than the buffers of two sockets hold: Linux lets that of the sender grow to 4 MB, and that of the reader is set."""

LIMITS = ("connect", "pool", "first_token", "idle", "total")
SHORT, LONG = 0.3, 1.0
SAYS = {
    "connect": f"connecting to .* took more than its timeout of {SHORT} s",
    "pool": f"not to be had within the queue timeout of {SHORT} s",
    "first_token": f"the (beginning of the answer|first chunk of the stream) took more than its timeout of {SHORT} s",
    "idle": f"the next piece of the answer took more than its timeout of {SHORT} s",
    "total": "total timeout",
}


class Place:
    """A server that holds one call up, and how to see that it does."""

    def __init__(self, server: RawServer | None = None, port: int = 0, **settings: Any) -> None:
        self.server = server
        self.messages = MESSAGES
        base_url = server.base_url if server is not None else f"http://127.0.0.1:{port}/v1"
        self.settings = {"base_url": base_url, "api_key": KEY, "max_retries": 0, **settings}
        self.stuck = threading.Event()
        self.go_on = threading.Event()

    def is_left(self) -> bool:
        """Nothing of the call is left at the server."""
        server = self.server
        return server is None or server.open_connections == 0


Enter = Callable[["Hold"], Place]


@dataclass
class Hold:
    """The parts of a test that a stage needs."""

    stack: ExitStack
    authority: Authority
    full: int
    """The port of a server that takes no more connections."""


@dataclass(frozen=True)
class Stage:
    """A stage at which a call hangs, with the limits other than `total` that end it there."""

    name: str
    enter: Enter
    plain: frozenset[str]
    stream: frozenset[str]


def limits(*names: str) -> frozenset[str]:
    assert set(names) <= set(LIMITS)
    return frozenset(names)


def once(place: Place, serve: Any) -> Any:
    """Makes calls hang until `go_on` is set, and then responds."""

    def held(connection: Connection, request: Request) -> None:
        if place.go_on.is_set():
            return good(connection, request)
        place.stuck.set()
        serve(connection, request)

    return held


def serving(serve: Any) -> Enter:
    def enter(hold: Hold) -> Place:
        server = hold.stack.enter_context(RawServer(good))
        place = Place(server)
        server.serve = once(place, serve)
        return place

    return enter


def connecting(hold: Hold) -> Place:
    place = Place(port=hold.full)
    place.stuck.set()
    return place


def shaking_hands(hold: Hold) -> Place:
    def on_connect(connection: Connection) -> None:
        place.stuck.set()
        connection.stall()

    server = hold.stack.enter_context(RawServer(on_connect=on_connect))
    place = Place(port=server.port)
    place.server = server
    place.settings["base_url"] = f"https://localhost:{server.port}/v1"
    place.settings["ca_bundle"] = hold.authority.path
    return place


def opening_http2(hold: Hold) -> Place:
    """The TLS handshake is over, and the server's settings do not come."""

    def on_connect(connection: Connection) -> None:
        place.stuck.set()
        connection.stall()

    server = hold.stack.enter_context(RawServer(on_connect=on_connect, tls=hold.authority.context("h2")))
    place = Place(server, ca_bundle=hold.authority.path)
    return place


class PlaceInHttp2(Place):
    def is_left(self) -> bool:
        """Its stream is reset; the connection is not the call's own."""
        assert self.server is not None
        (session,) = self.server.memory["sessions"]
        return not session.open_streams


def waiting_for_an_answer_over_http2(hold: Hold) -> Place:
    def silent(stream: Any) -> None:
        place.stuck.set()

    server = hold.stack.enter_context(RawServer(on_connect=http2(silent), tls=hold.authority.context("h2")))
    place = PlaceInHttp2(server, ca_bundle=hold.authority.path)
    return place


def sending(hold: Hold) -> Place:
    """The server does not read on."""

    def on_connect(connection: Connection) -> None:
        if place.go_on.is_set():
            return
        select.select([connection.socket], [], [], PATIENCE)
        place.stuck.set()
        place.go_on.wait(PATIENCE)
        connection.stall()

    server = hold.stack.enter_context(RawServer(good, on_connect=on_connect))
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    place = Place(server)
    place.messages = LARGE
    hold.stack.callback(place.go_on.set)
    return place


class PlaceBetweenTries(Place):
    def is_left(self) -> bool:
        """The connection is idle, and nobody's."""
        return True


def pausing(hold: Hold) -> Place:
    """Between two tries."""
    server = hold.stack.enter_context(RawServer(good))
    place = PlaceBetweenTries(server, max_retries=1)
    server.serve = once(place, refuses(503, "retry-after: 30"))
    return place


NONE = limits()
STAGES = [
    Stage("connecting", connecting, limits("connect", "first_token"), limits("connect", "first_token")),
    Stage("the TLS handshake", shaking_hands, limits("connect", "first_token"), limits("connect", "first_token")),
    Stage("HTTP/2's settings", opening_http2, limits("connect", "first_token"), limits("connect", "first_token")),
    Stage("sending", sending, limits("first_token"), limits("first_token")),
    Stage("no answer", serving(stalls), limits("first_token"), limits("first_token")),
    Stage("no answer, HTTP/2", waiting_for_an_answer_over_http2, limits("first_token"), limits("first_token")),
    Stage("in the head", serving(stalls_in_head), limits("first_token"), limits("first_token")),
    Stage("after the head", serving(stalls_after_head), limits("idle"), limits("first_token", "idle")),
    Stage("pings", serving(only_streams(stalls_after_pings)), NONE, limits("first_token")),
    Stage("inside the body", serving(stalls_inside), limits("idle"), limits("idle")),
    Stage("dripping for ever", serving(drips_for_ever), NONE, NONE),
]
PAUSE = Stage("the pause before a retry", pausing, NONE, NONE)


@pytest.fixture
def hold(authority: Authority, full: int) -> Iterator[Hold]:
    with ExitStack() as stack:
        yield Hold(stack, authority, full)


async def read(client: Client, stream: bool, messages: Any = MESSAGES, **params: Any) -> str:
    """A call, to its end: its text."""
    answer: Any = await client.acompletion("openai/m", messages, stream=stream, **params)
    if not stream:
        text: str = answer.choices[0].message.content
        return text
    return "".join([chunk.choices[0].delta.content or "" async for chunk in answer])


async def outcome(call: Any) -> str:
    try:
        await call
    except Timeout as error:
        return error.message
    except RiteLLMError as error:
        return f"{type(error).__name__}: {error.message}"
    return "answers"


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
async def test_every_limit(stage: Stage, hold: Hold) -> None:
    """The limit of that stage ends the call, and no other does, before the total."""
    place = stage.enter(hold)
    pairs = [(limit, stream) for limit in LIMITS for stream in (False, True)]
    if stage.name == "pings":
        # Plain calls are answered there.
        pairs = [(limit, True) for limit in LIMITS]

    # Ten large bodies take a second to encode where the machine is busy.
    total = 3 * LONG if stage.name == "sending" else LONG

    def call(limit: str, stream: bool) -> Any:
        timeout = {**dict.fromkeys(LIMITS), "total": total, limit: SHORT}
        return outcome(read(Client(**place.settings, timeout=timeout), stream, place.messages))

    ended = await asyncio.gather(*[call(*pair) for pair in pairs])
    for (limit, stream), message in zip(pairs, ended, strict=True):
        expected = limit if limit in (stage.stream if stream else stage.plain) else "total"
        assert re.search(SAYS[expected], message), (limit, stream, message)


async def test_every_limit_in_the_line_for_a_connection(hold: Hold) -> None:
    """Only `pool` ends a call in the line. The others begin with its connection, and that one hangs as well."""
    place = serving(stalls)(hold)
    assert place.server is not None
    pairs = [(limit, stream) for limit in LIMITS for stream in (False, True)]
    client = Client(**place.settings, max_connections=len(pairs))
    first = [asyncio.create_task(read(client, False)) for _ in pairs]
    await eventually(lambda: len(place.server.requests) == len(first))

    def call(limit: str, stream: bool) -> Any:
        return outcome(read(client, stream, timeout={**dict.fromkeys(LIMITS), "total": LONG, limit: SHORT}))

    calls = {pair: asyncio.create_task(call(*pair)) for pair in pairs}
    await asyncio.wait([calls["pool", False], calls["pool", True]])
    # Those of 0.3 s began to wait with them.
    await asyncio.sleep(0.05)
    assert {limit for (limit, _), task in calls.items() if task.done()} == {"pool"}
    for task in first:
        task.cancel()
    for (limit, stream), task in calls.items():
        expected = limit if limit in ("pool", "first_token") else "total"
        assert re.search(SAYS[expected], await task), (limit, stream)


async def test_a_pause_that_is_longer_than_the_total_is_not_begun(hold: Hold) -> None:
    place = pausing(hold)
    message = await outcome(read(Client(**place.settings, timeout=LONG), False))
    assert message == "ServiceUnavailableError: openai answered 503: no, thank you"


async def eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


async def cancel(place: Place, client: Client, task: asyncio.Task[str]) -> None:
    """The task ends without anything more from the server, and whatever it held is free again."""
    await eventually(place.stuck.is_set)
    await asyncio.sleep(0.02)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    place.go_on.set()
    # A cancelled task of Python 3.10 keeps the frames of a comprehension over a stream, and these the stream.
    del task
    gc.collect()
    await eventually(lambda: client.stats()["in_flight"] == 0)
    await eventually(place.is_left)


@pytest.mark.parametrize(
    ("stage", "stream"),
    [(stage, stream) for stage in [*STAGES, PAUSE] for stream in (False, True) if stream or stage.name != "pings"],
    ids=lambda part: part.name if isinstance(part, Stage) else "stream" if part else "plain",
)
async def test_cancelled(stage: Stage, stream: bool, hold: Hold) -> None:
    place = stage.enter(hold)
    client = Client(**place.settings, max_connections=1)
    await cancel(place, client, asyncio.create_task(read(client, stream, place.messages)))
    if place.server is not None and place.server.serve is not None:
        # Its place in the budget is free too.
        assert await read(client, stream) == TEXT


async def test_cancelled_in_the_line_for_a_connection(hold: Hold) -> None:
    place = serving(stalls)(hold)
    client = Client(**place.settings, max_connections=1)
    first = asyncio.create_task(read(client, False))
    await eventually(place.stuck.is_set)
    waiting = [asyncio.create_task(read(client, stream)) for stream in (False, True)]
    await asyncio.sleep(0.05)
    for task in waiting:
        task.cancel()
    assert [type(ended) for ended in await asyncio.gather(*waiting, return_exceptions=True)] == [
        asyncio.CancelledError
    ] * 2
    await cancel(place, client, first)
    assert await read(client, True) == TEXT


async def test_cancelled_while_credentials_are_asked_for(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    place = serving(stalls)(hold)
    assert place.server is not None
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{place.server.port}/credentials")
    client = Client(max_retries=0)
    call = client.acompletion("bedrock/m", MESSAGES, aws_region_name="us-east-1")
    await cancel(place, client, asyncio.create_task(call))  # type: ignore[arg-type]
