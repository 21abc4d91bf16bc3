"""Tests of `max_connections`, of the queue for connections, and of limits that are settings of a client."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from typing import Any

import h2.exceptions
import pytest
from raw import Connection, RawServer, Request
from raw_http2 import Authority, Stream, http2, wants_stream
from table import BODY, EVENTS, STREAM_HEAD, TEXT, chunk, chunked, good

from ritellm import APIResponseValidationError, Client, InvalidArgumentError, ServiceUnavailableError, Timeout

KEY = "sk-canary-0123456789abcdef"


def asks(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def text_of(request: Request) -> str:
    text: str = json.loads(request.body)["messages"][0]["content"]
    return text


def client_of(server: RawServer, **settings: Any) -> Client:
    return Client(**{"base_url": server.base_url, "api_key": KEY, "max_retries": 0, "timeout": 60, **settings})


class Held:
    """A server whose answers wait until the test lets them go."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.server = RawServer(self.serve)

    def serve(self, connection: Connection, request: Request) -> None:
        self.opened.wait(30)
        good(connection, request)

    async def wait_for_requests(self, count: int) -> None:
        end = time.monotonic() + 30
        while len(self.server.requests) < count:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.set()
        self.server.__exit__()


class TestMaxConnections:
    @pytest.mark.parametrize("limit", [1, 3, 10])
    async def test_never_more(self, limit: int) -> None:
        with RawServer(good) as server:
            client = client_of(server, max_connections=limit)
            await asyncio.gather(*(client.acompletion("openai/m", asks("x")) for _ in range(100)))
            assert len(server.requests) == 100
            assert server.most_connections <= limit

    async def test_first_come_first_served(self) -> None:
        with Held() as held:
            client = client_of(held.server, max_connections=1)
            calls = []
            for number in range(12):
                calls.append(asyncio.create_task(client.acompletion("openai/m", asks(str(number)))))
                await asyncio.sleep(0)
            await held.wait_for_requests(1)
            held.opened.set()
            await asyncio.gather(*calls)
            assert [text_of(request) for request in held.server.requests] == [str(number) for number in range(12)]

    async def test_the_cancelled_take_nothing_with_them(self) -> None:
        with Held() as held:
            client = client_of(held.server, max_connections=2)
            calls = [asyncio.create_task(client.acompletion("openai/m", asks(str(number)))) for number in range(40)]
            await held.wait_for_requests(2)
            # Those that wait, and one that has a connection.
            gone = {0, *range(3, 40, 3)}
            for number in gone:
                calls[number].cancel()
            held.opened.set()
            results = await asyncio.gather(*calls, return_exceptions=True)
            for number, result in enumerate(results):
                assert isinstance(result, asyncio.CancelledError) == (number in gone), number
            # All of the budget is there still.
            await asyncio.gather(*(client.acompletion("openai/m", asks("x")) for _ in range(10)))

    async def test_failed_calls_give_theirs_back(self) -> None:
        def serve(connection: Connection, request: Request) -> None:
            match request.number % 4:
                case 0:
                    connection.reset()
                case 1:
                    connection.send(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")
                case 2:
                    connection.send(b"nonsense\r\n\r\n")
                case _:
                    good(connection, request)

        with RawServer(serve) as server:
            client = client_of(server, max_connections=2)
            calls = asyncio.gather(
                *(client.acompletion("openai/m", asks("x")) for _ in range(60)), return_exceptions=True
            )
            # The client's count: at the server, one that has gone may stand open a moment longer.
            most = 0
            while not calls.done():
                most = max(most, client.stats()["connections_open"])
                await asyncio.sleep(0)
            assert not any(isinstance(result, Timeout) for result in calls.result())
            assert most == 2

    async def test_a_stream_has_its_connection_until_its_end(self) -> None:
        with RawServer(good) as server:
            client = client_of(server, max_connections=1, timeout={"pool": 0.2})
            stream = await client.acompletion("openai/m", asks("x"), stream=True)
            async for _ in stream:
                pass
            await client.acompletion("openai/m", asks("x"))
            assert server.most_connections == 1

    @pytest.mark.parametrize("part", ["queue", "pool"])
    async def test_what_the_error_says(self, part: str) -> None:
        with Held() as held:
            client = client_of(held.server, max_connections=2, max_retries=2)
            first = [asyncio.create_task(client.acompletion("openai/m", asks("x"))) for _ in range(2)]
            await held.wait_for_requests(2)
            waiting = asyncio.create_task(client.acompletion("openai/m", asks("x")))
            with pytest.raises(Timeout) as caught:
                await client.acompletion("openai/m", asks("x"), timeout={part: 0.2})
            assert re.search(
                r"all 2 that max_connections allows were in use and 1 other calls waited", str(caught.value)
            )
            assert "queue timeout of 0.2 s" in str(caught.value)
            assert caught.value.retries == 0
            held.opened.set()
            await asyncio.gather(*first, waiting)

    def test_sync_calls_in_threads(self) -> None:
        with RawServer(good) as server:
            client = client_of(server, max_connections=2)
            threads = [threading.Thread(target=client.completion, args=("openai/m", asks("x"))) for _ in range(30)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(server.requests) == 30
            assert server.most_connections <= 2

    async def test_a_stale_connection_is_replaced_within_the_budget(self) -> None:
        def serve(connection: Connection, request: Request) -> None:
            if request.place:
                connection.close()
            else:
                good(connection, request)

        with RawServer(serve) as server:
            client = client_of(server, max_connections=2)
            for _ in range(3):
                await asyncio.gather(*(client.acompletion("openai/m", asks("x")) for _ in range(10)))


class TestSettings:
    @pytest.mark.parametrize(
        "name", ["max_connections", "max_header_size", "max_body_size", "max_event_size", "max_nesting"]
    )
    @pytest.mark.parametrize("value", [0, -1, 1.5, True, "10"])
    def test_what_cannot_be_used_is_named(self, name: str, value: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=f"{name} is .*a whole number above 0 would be right"):
            Client(**{name: value})

    def test_exactly_at_the_limit(self) -> None:
        with RawServer(good) as server:
            client_of(server, max_body_size=len(BODY)).completion("openai/m", asks("x"))
            with pytest.raises(APIResponseValidationError, match="max_body_size"):
                client_of(server, max_body_size=len(BODY) - 1).completion("openai/m", asks("x"))

    @pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
    @pytest.mark.parametrize(("limit", "settings"), [(256, {}), (10, {"max_nesting": 10}), (512, {"max_nesting": 512})])
    def test_nesting(self, limit: int, settings: dict[str, int], stream: bool) -> None:
        depth = limit

        def serve(connection: Connection, request: Request) -> None:
            # The object itself is a level.
            nested = b"[" * (depth - 1) + b"]" * (depth - 1)
            if request.wants_stream:
                data = b'data: {"x":' + nested + b"," + chunk({"content": TEXT}, "stop")[1:] + b"\n\n"
                connection.send(STREAM_HEAD + chunked(data) + b"0\r\n\r\n")
            else:
                body = b'{"x":' + nested + b"," + BODY[1:]
                connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

        def read(client: Client) -> None:
            answer: Any = client.completion("openai/m", asks("x"), stream=stream)
            for _ in answer if stream else ():
                pass

        with RawServer(serve) as server:
            read(client_of(server, **settings))
            depth += 1
            with pytest.raises(APIResponseValidationError, match=rf"nested more than {limit} deep \(max_nesting\)"):
                read(client_of(server, **settings))

    def test_nesting_that_no_stack_could_hold(self) -> None:
        with pytest.raises(InvalidArgumentError, match="max_nesting is 513: a whole number up to 512 would be right"):
            Client(max_nesting=513)

    @pytest.mark.parametrize("pieces", [1, 2, 3])
    def test_a_body_without_a_length(self, pieces: int) -> None:
        size = -(-len(BODY) // pieces)

        def serve(connection: Connection, request: Request) -> None:
            connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for start in range(0, len(BODY), size):
                connection.send(chunked(BODY[start : start + size]), pause=0.01)
            connection.send(b"0\r\n\r\n")

        with RawServer(serve) as server:
            client_of(server, max_body_size=len(BODY)).completion("openai/m", asks("x"))
            with pytest.raises(APIResponseValidationError, match="max_body_size"):
                client_of(server, max_body_size=len(BODY) - 1).completion("openai/m", asks("x"))

    def test_the_head(self) -> None:
        with RawServer(good) as server, pytest.raises(APIResponseValidationError, match="max_header_size"):
            client_of(server, max_header_size=20).completion("openai/m", asks("x"))


BIG = b"data: " + chunk({"content": "x" * 10_000}) + b"\n\n"


class TestSlowConsumers:
    """The number of bytes that a server can send to a consumer that does not read is bounded."""

    LEAST, MOST = 1_000_000, 12_000_000

    async def test_http1(self) -> None:
        pushed = 0

        def serve(connection: Connection, request: Request) -> None:
            nonlocal pushed
            connection.send(STREAM_HEAD)
            while pushed < 100_000_000:
                connection.send(chunked(BIG))
                pushed += len(BIG)

        with RawServer(serve, send_buffer=1 << 16) as server:
            stream = await client_of(server).acompletion("openai/m", asks("x"), stream=True)
            await anext(stream)
            before = -1
            while before != pushed:
                before = pushed
                await asyncio.sleep(0.5)
            assert self.LEAST < pushed < self.MOST
            await stream.aclose()

    async def test_http2_and_the_others_go_on(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
        authority = Authority(str(tmp_path / "authority.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", authority.path)

        def answer(stream: Stream) -> None:
            """Sends as much as the client accepts."""
            if not wants_stream(stream):
                return stream.answer(BODY, "application/json")
            stream.answer(b"", EVENTS, end=False)
            push(stream)

        def push(stream: Stream) -> None:
            session = stream.session
            pushed = session.connection.server.memory.setdefault("pushed", {})
            try:
                while session.http2.local_flow_control_window(stream.id) >= len(BIG):
                    session.http2.send_data(stream.id, BIG)
                    pushed[stream.id] = pushed.get(stream.id, 0) + len(BIG)
                    session.flush()
            except h2.exceptions.ProtocolError:
                pass

        with RawServer(on_connect=http2(answer), tls=authority.context("h2")) as server:
            client = client_of(server)
            streams = [await client.acompletion("openai/m", asks("x"), stream=True) for _ in range(20)]
            for _ in range(5):
                result = await client.acompletion("openai/m", asks("x"))
                assert result.choices[0].message.content == TEXT
            assert server.connections == 1
            assert all(amount < self.MOST for amount in server.memory["pushed"].values())
            for stream in streams:
                await stream.aclose()


class TestStatusesBehindALimit:
    def test_a_refusal_gives_the_connection_back(self) -> None:
        def serve(connection: Connection, request: Request) -> None:
            connection.send(b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\n{}")

        with RawServer(serve) as server:
            client = client_of(server, max_connections=1)
            for _ in range(3):
                with pytest.raises(ServiceUnavailableError):
                    client.completion("openai/m", asks("x"))
            assert server.connections == 1
