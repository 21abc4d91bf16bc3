"""Tests every fault of the table, plain and streamed, sync and async: the caller's result, and that nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import h2.settings
import pytest
from raw import Connection, RawServer
from raw_http2 import Authority, ErrorCodes, Session, Stream, http2, wants_stream
from server import free_port
from table import BODY, EVENTS, FAULTS, FIRST, PAGE, STREAM, TEXT, Answers, Fault, Raises, good, page

import ritellm
from ritellm import Client

KEY = "sk-canary-0123456789abcdef"
MESSAGES = [{"role": "user", "content": "Hi"}]


def answer(stream: Stream) -> None:
    stream.answer(*((STREAM, EVENTS) if wants_stream(stream) else (BODY, "application/json")))


def first(fault: Callable[[Stream], None]) -> Callable[[Stream], None]:
    return lambda stream: (fault if stream.request.number == 0 else answer)(stream)


def begin(stream: Stream) -> None:
    stream.answer(*((FIRST, EVENTS) if wants_stream(stream) else (BODY[:10], "application/json")), end=False)


def go_away(stream: Stream) -> None:
    stream.go_away(last=0)


def take_and_go_away(stream: Stream) -> None:
    stream.go_away(last=stream.id)
    stream.session.connection.close()


def refuse(stream: Stream) -> None:
    stream.reset(ErrorCodes.REFUSED_STREAM)


def reset(stream: Stream) -> None:
    stream.reset(ErrorCodes.INTERNAL_ERROR)


def reset_inside(stream: Stream) -> None:
    begin(stream)
    reset(stream)


def close_inside(stream: Stream) -> None:
    begin(stream)
    stream.session.connection.close()


def garbage(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    connection.close()


HTTP2: dict[str, Callable[[Connection], None]] = {
    "go away once": http2(first(go_away)),
    "go away": http2(go_away),
    "take and go away": http2(take_and_go_away),
    "refuse once": http2(first(refuse)),
    "refuse": http2(refuse),
    "reset": http2(reset),
    "reset inside": http2(reset_inside),
    "close inside": http2(close_inside),
    "garbage": garbage,
    "no settings": Connection.stall,
}


class Caller:
    """Makes a call and reads it to its end; what came is in ``texts``."""

    def __init__(self, client: Client, streams: bool, is_async: bool) -> None:
        self.client = client
        self.streams = streams
        self.is_async = is_async

    def __call__(self) -> Any:
        self.texts: list[str] = []
        return asyncio.run(self.call_async()) if self.is_async else self.call()

    def call(self) -> Any:
        result: Any = self.client.completion("openai/m", MESSAGES, stream=self.streams)
        if not self.streams:
            self.texts = [result.choices[0].message.content]
            return result
        for chunk in result:
            self.texts.append(chunk.choices[0].delta.content or "")
        return result

    async def call_async(self) -> Any:
        result: Any = await self.client.acompletion("openai/m", MESSAGES, stream=self.streams)
        if not self.streams:
            self.texts = [result.choices[0].message.content]
            return result
        async for chunk in result:
            self.texts.append(chunk.choices[0].delta.content or "")
        return result

    def check_good(self, retries: int) -> None:
        result = self()
        assert "".join(self.texts).replace("x", "") == TEXT
        assert result.meta.retries == retries


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("streams", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("fault", FAULTS, ids=[f"{fault.group}: {fault.name}" for fault in FAULTS])
def test_fault(
    fault: Fault,
    streams: bool,
    is_async: bool,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority.path)
    expected = fault.stream if streams else fault.plain
    with ExitStack() as stack:
        server = stack.enter_context(server_of(fault, authority))
        base_url = server.base_url
        if fault.server == "nothing listens":
            base_url = f"http://127.0.0.1:{free_port()}/v1"
        elif fault.server == "backlog full":
            base_url = f"http://127.0.0.1:{request.getfixturevalue('full')}/v1"
        elif fault.server in ("https stalls", "plain as https"):
            base_url = base_url.replace("http://127.0.0.1", "https://localhost")
        client = Client(base_url=base_url, api_key=KEY, max_retries=1, **fault.client)
        caller = Caller(client, streams, is_async)
        warm = 0
        if fault.warm:
            caller.check_good(0)
            warm = 1
        match expected:
            case Answers(retries, requests):
                caller.check_good(retries)
            case Raises(error, says, retries, chunks, requests):
                with pytest.raises(ritellm.RiteLLMError) as caught:
                    caller()
                assert type(caught.value).__name__ == error, caught.value
                assert any(part in caught.value.message for part in says.split("|")), caught.value.message
                assert caught.value.retries == retries
                assert len(caller.texts) == chunks
                if chunks and error == "IncompleteStreamError":
                    completion: Any = caught.value
                    assert completion.completion.choices[0].message.content == TEXT[:3]
                assert KEY not in repr(vars(caught.value))
        requests = retries + 1 if requests is None else requests
        assert len(server.requests) == warm + requests
        if fault.then:
            caller.check_good(0)


def server_of(fault: Fault, authority: Authority) -> RawServer:
    match fault.server:
        case "http":
            return RawServer(fault.serve)
        case "on connect":
            return RawServer(on_connect=fault.serve)
        case "http/2":
            return RawServer(on_connect=HTTP2[fault.serve], tls=authority.context("h2"))
        case "https stalls":
            return RawServer(on_connect=Connection.stall)
        case "plain as https":
            return RawServer(on_connect=lambda connection: connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        case _:
            return RawServer(good)


def test_the_page_of_the_docs_is_current() -> None:
    assert PAGE.read_text() == page(), "python tests/faults/table.py writes it anew"


class TestRedirectsKeepTheKey:
    def test_another_server_gets_nothing(self) -> None:
        with RawServer(good) as other:

            def serve(connection: Connection, request: Any) -> None:
                to = f"http://127.0.0.1:{other.port}/v1/chat/completions"
                connection.send(f"HTTP/1.1 307 Go\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n".encode())

            with RawServer(serve) as server:
                client = Client(base_url=server.base_url, api_key=KEY)
                with pytest.raises(ritellm.BadRequestError, match="nothing was sent there") as caught:
                    client.completion("openai/m", MESSAGES)
                assert caught.value.status_code == 307
                assert other.connections == 0

    def test_the_same_server_gets_the_same_request(self) -> None:
        def serve(connection: Connection, request: Any) -> None:
            if request.number == 0:
                connection.send(b"HTTP/1.1 308 Go\r\nlocation: /v2/x?a=1#b\r\ncontent-length: 0\r\n\r\n")
            else:
                good(connection, request)

        with RawServer(serve) as server:
            Client(base_url=server.base_url, api_key=KEY).completion("openai/m", MESSAGES)
            one, two = server.requests
            assert (two.method, two.headers, two.body) == (one.method, one.headers, one.body)
            assert two.target == "/v2/x?a=1"


class Gate:
    """Answers of an HTTP/2 server, kept until the test lets them go. The test's own requests are counted meanwhile."""

    def __init__(self, limit: int | None, after_start: Callable[[Session], None] | None = None) -> None:
        codes = h2.settings.SettingCodes
        settings = None if limit is None else {codes.MAX_CONCURRENT_STREAMS: limit}
        self.run = http2(self.hold, settings, after_start)

    def hold(self, stream: Stream) -> None:
        import time

        # The client has all the time in the world to open too many.
        time.sleep(0.01)
        answer(stream)
        stream.session.open_streams.pop(stream.id)


async def make_calls(server: RawServer, calls: int, **settings: Any) -> None:
    client = Client(base_url=server.base_url, api_key=KEY, max_retries=0, timeout=60, **settings)
    results = await asyncio.gather(*(client.acompletion("openai/m", MESSAGES) for _ in range(calls)))
    assert all(result.choices[0].message.content == TEXT for result in results)


@pytest.mark.parametrize(("limit", "calls", "most"), [(10, 95, 10), (1, 8, 8), (None, 95, 1)])
async def test_http2_load_is_spread_as_the_server_allows(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, limit: int | None, calls: int, most: int
) -> None:
    """`most`: no more connections than that, and with a limit, not all calls on one."""
    monkeypatch.setenv("SSL_CERT_FILE", authority.path)
    with RawServer(on_connect=Gate(limit).run, tls=authority.context("h2")) as server:
        await make_calls(server, calls)
        assert len(server.requests) == calls
        assert (1 if limit is None else 2) <= server.connections <= most
        # The server's own h2 would have refused a stream too many.
        assert all(session.most_streams <= (limit or 100) for session in server.memory["sessions"])


async def test_http2_server_that_takes_nothing_yet_is_waited_for(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority.path)

    def raise_limit(session: Session) -> None:
        import time

        time.sleep(0.2)
        session.http2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 10})
        session.flush()

    with RawServer(on_connect=Gate(0, raise_limit).run, tls=authority.context("h2")) as server:
        await make_calls(server, 30)
        assert server.connections == 1


async def test_http2_within_max_connections(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority.path)
    with RawServer(on_connect=Gate(5).run, tls=authority.context("h2")) as server:
        await make_calls(server, 60, max_connections=2)
        assert len(server.requests) == 60
        assert server.connections == 2
