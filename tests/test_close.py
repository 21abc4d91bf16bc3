"""Tests of closing a client: connections close, calls in flight finish or are aborted, and new calls are rejected."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from conftest import RunProgram
from raw import RawServer
from raw_http2 import Authority, Stream, http2
from server import (
    KEY,
    MESSAGES,
    Answer,
    Gate,
    Piece,
    Server,
    Stall,
    chunks_of,
    events,
    eventually,
    plain,
    stream_of,
)
from table import BODY, TEXT

import ritellm
from ritellm import APIConnectionError, Client, InvalidArgumentError, RiteLLMError

LONG = 60.0
"""A timeout that no test waits for."""

UNFINISHED: list[Piece] = [*events(chunks_of("Hel", "lo")[:3], done=False), Stall()]


@pytest.fixture
def client(at_openai: Server) -> Client:
    return Client()


def ask(client: Client, **params: Any) -> str:
    content: str = client.completion("openai/m", MESSAGES, **params).choices[0].message.content
    return content


def answer(stream: Stream) -> None:
    stream.answer(BODY, "application/json")


def held() -> tuple[Gate, Answer]:
    gate = Gate()
    answer = plain()
    return gate, Answer(headers=answer.headers, body=answer.body, before=[gate])


def in_thread(pool: ThreadPoolExecutor, server: Server, client: Client, **params: Any) -> Future[str]:
    """A call that the server has."""
    before = len(server.requests)
    future = pool.submit(ask, client, **params)
    server.wait_for_requests(before + 1)
    return future


class TestIdleConnections:
    def test_are_closed_at_once(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(plain())
        ask(client)
        assert client.stats()["connections_idle"] == 1
        client.close()
        assert client.stats()["connections_open"] == 0
        at_openai.wait_for_connections(0)

    async def test_by_aclose(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(plain())
        await client.acompletion("openai/m", MESSAGES)
        await client.aclose()
        at_openai.wait_for_connections(0)

    def test_of_http2(self, authority: Authority) -> None:
        with RawServer(on_connect=http2(answer), tls=authority.context("h2")) as server:
            client = Client(base_url=server.base_url, api_key=KEY, ca_bundle=authority.path)
            assert ask(client) == TEXT
            assert client.stats()["connections_open"] == 1
            client.close()
            assert client.stats()["connections_open"] == 0
            eventually(lambda: server.open_connections == 0)

    def test_of_http2_with_a_stream_under_way(self, authority: Authority) -> None:
        with RawServer(on_connect=http2(lambda _: None), tls=authority.context("h2")) as server:
            client = Client(base_url=server.base_url, api_key=KEY, ca_bundle=authority.path)
            with ThreadPoolExecutor() as pool:
                calls = [pool.submit(ask, client) for _ in range(3)]
                eventually(lambda: len(server.requests) == 3)
                client.close(timeout=0)
                assert [type(call.exception()) for call in calls] == [APIConnectionError] * 3
            assert client.stats()["connections_open"] == 0

    def test_of_unix_sockets(self, tmp_path: Path) -> None:
        path = str(tmp_path / "socket")
        with socket.socket(socket.AF_UNIX) as listening, ThreadPoolExecutor() as pool:
            listening.bind(path)
            listening.listen()
            client = Client(base_url=f"http+unix://{quote(path, safe='')}/v1", api_key=KEY)
            call = pool.submit(ask, client)
            accepted = listening.accept()[0]
            with accepted:
                accepted.recv(1 << 16)
                accepted.sendall(f"HTTP/1.1 200 OK\r\ncontent-length: {len(BODY)}\r\n\r\n".encode() + BODY)
                assert call.result() == TEXT
                client.close()
                assert accepted.recv(1) == b""

    def test_of_proxies(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        client = Client(proxy=at_openai.url, base_url="http://model.test/v1", allow_http=True)
        ask(client)
        client.close()
        at_openai.wait_for_connections(0)

    def test_go_although_a_call_is_under_way(self, client: Client, at_openai: Server) -> None:
        gate, late = held()
        at_openai.answer(late, plain())
        with ThreadPoolExecutor() as pool:
            under_way = in_thread(pool, at_openai, client)
            ask(client)
            closed = pool.submit(client.close, None)
            at_openai.wait_for_connections(1)
            assert not closed.done()
            gate.open()
            assert under_way.result() == "Hello!"
            assert closed.result() is None
        at_openai.wait_for_connections(0)


class TestCallsUnderWay:
    def test_are_waited_for(self, client: Client, at_openai: Server) -> None:
        gate, late = held()
        at_openai.answer(late)
        with ThreadPoolExecutor() as pool:
            under_way = in_thread(pool, at_openai, client)
            closed = pool.submit(client.close, LONG)
            while not client.is_closed:
                time.sleep(0.001)
            gate.open()
            assert under_way.result() == "Hello!"
            closed.result()
        assert client.stats()["connections_open"] == 0

    def test_are_ended_at_once_with_0(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(Answer(before=[Stall()]))
        with ThreadPoolExecutor() as pool:
            under_way = in_thread(pool, at_openai, client)
            client.close(timeout=0)
            with pytest.raises(APIConnectionError, match="closed"):
                under_way.result()
        at_openai.wait_for_connections(0)
        assert client.stats() | {"by_provider": None} == client.stats() | {
            "by_provider": None,
            "in_flight": 0,
            "connections_open": 0,
        }

    def test_are_ended_after_the_timeout(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(Answer(before=[Stall()]))
        with ThreadPoolExecutor() as pool:
            under_way = in_thread(pool, at_openai, client)
            client.close(timeout=0.05)
            with pytest.raises(APIConnectionError, match="closed") as raised:
                under_way.result()
            assert (raised.value.provider, raised.value.model) == ("openai", "m")

    def test_a_second_close_ends_them_sooner(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(Answer(before=[Stall()]))
        with ThreadPoolExecutor() as pool:
            under_way = in_thread(pool, at_openai, client)
            first = pool.submit(client.close, None)
            while not client.is_closed:
                time.sleep(0.001)
            client.close(timeout=0)
            assert isinstance(under_way.exception(), APIConnectionError)
            first.result()

    def test_in_line_and_in_a_pause_too(self, at_openai: Server) -> None:
        at_openai.answer(Answer(before=[Stall()]))
        client = Client(max_in_flight=1)
        with ThreadPoolExecutor() as pool:
            calls = [in_thread(pool, at_openai, client), pool.submit(ask, client)]
            while client.stats()["waiting"] < 1:
                time.sleep(0.001)
            client.close(timeout=0)
            assert [type(call.exception()) for call in calls] == [APIConnectionError] * 2
        at_openai.answer(Answer(status=503, headers={"retry-after": "50"}, body=b"{}"))
        client = Client()
        with ThreadPoolExecutor() as pool:
            pausing = in_thread(pool, at_openai, client)
            client.close(timeout=0)
            assert isinstance(pausing.exception(), APIConnectionError)

    def test_whose_key_is_still_being_asked_for(self, at_openai: Server) -> None:
        asked, let_go = threading.Event(), threading.Event()

        def key() -> str:
            asked.set()
            let_go.wait(LONG)
            return KEY

        client = Client(api_key=key, base_url=at_openai.base_url)
        with ThreadPoolExecutor() as pool:
            call = pool.submit(ask, client)
            asked.wait(LONG)
            client.close(timeout=0)
            assert isinstance(call.exception(), APIConnectionError)
        let_go.set()

    def test_of_several_loops(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(Answer(before=[Stall()]))

        async def call() -> type[BaseException]:
            try:
                await client.acompletion("openai/m", MESSAGES)
            except RiteLLMError as error:
                return type(error)
            return AssertionError

        with ThreadPoolExecutor() as pool:
            loops = [pool.submit(lambda: asyncio.run(call())) for _ in range(3)]
            at_openai.wait_for_requests(3)
            asyncio.run(client.aclose(timeout=0))
            assert [loop.result() for loop in loops] == [APIConnectionError] * 3

    async def test_of_the_loop_that_is_blocked_by_close(self, client: Client, at_openai: Server) -> None:
        gate, late = held()
        at_openai.answer(late)
        call = asyncio.create_task(client.acompletion("openai/m", MESSAGES))
        while not at_openai.requests:
            await asyncio.sleep(0.001)
        gate.open()
        client.close(timeout=None)
        assert (await call).choices[0].message.content == "Hello!"

    async def test_one_that_was_cancelled_is_not_waited_for(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(Answer(before=[Stall()]))
        call = asyncio.create_task(client.acompletion("openai/m", MESSAGES))
        while not at_openai.requests:
            await asyncio.sleep(0.001)
        call.cancel()
        await client.aclose(timeout=None)
        with pytest.raises(asyncio.CancelledError):
            await call


class TestStreams:
    def test_are_ended_with_what_came(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(stream_of(*UNFINISHED))
        stream = client.completion("openai/m", MESSAGES, stream=True)
        next(stream)
        client.close(timeout=0)
        with pytest.raises(APIConnectionError, match="closed") as raised:
            list(stream)
        assert (raised.value.provider, raised.value.model) == ("openai", "m")
        assert stream.text == "Hello"
        at_openai.wait_for_connections(0)

    def test_count_until_they_are_closed(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(stream_of(*UNFINISHED))
        stream = client.completion("openai/m", MESSAGES, stream=True)
        with ThreadPoolExecutor() as pool:
            closed = pool.submit(client.close, None)
            while not client.is_closed:
                time.sleep(0.001)
            assert next(stream).choices[0].delta is not None
            assert not closed.done()
            stream.close()
            closed.result()

    def test_one_that_has_come_whole_is_read_after_the_close(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(stream_of(*events(chunks_of("Hel", "lo"))))
        stream = client.completion("openai/m", MESSAGES, stream=True)
        client.close(timeout=None)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello"

    async def test_whose_reader_waits(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(stream_of(*UNFINISHED))

        async def read() -> int:
            count = 0
            with pytest.raises(APIConnectionError, match="closed"):
                async for _ in await client.acompletion("openai/m", MESSAGES, stream=True):
                    count += 1
            return count

        reading = asyncio.create_task(read())
        while client.stats()["in_flight"] < 1 or client.stats()["bytes_received"] == 0:
            await asyncio.sleep(0.001)
        await client.aclose(timeout=0)
        assert await reading >= 0


class TestAfterwards:
    def test_calls_are_refused(self, client: Client, at_openai: Server) -> None:
        client.close()
        with pytest.raises(InvalidArgumentError, match="the client is closed"):
            ask(client)
        with pytest.raises(InvalidArgumentError, match="the client is closed"):
            asyncio.run(client.acompletion("openai/m", MESSAGES))
        with pytest.raises(InvalidArgumentError, match="the client is closed"), client:
            pass
        assert at_openai.requests == []

    def test_it_may_be_closed_again(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(plain())
        ask(client)
        with ThreadPoolExecutor() as pool:
            for closed in [pool.submit(client.close) for _ in range(8)]:
                closed.result()
        client.close()
        asyncio.run(client.aclose())
        assert client.is_closed

    def test_its_figures_stay(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(plain())
        ask(client)
        before = client.stats()
        client.close()
        assert client.stats()["calls"] == before["calls"] == 1
        assert client.stats()["bytes_received"] == before["bytes_received"]
        assert client.stats()["connections_open"] == 0

    def test_its_copies_are_open(self, client: Client, at_openai: Server) -> None:
        at_openai.answer(plain())
        client.close()
        for other in (copy.copy(client), copy.deepcopy(client), pickle.loads(pickle.dumps(client))):
            assert not other.is_closed
            assert ask(other) == "Hello!"

    def test_one_never_used(self) -> None:
        client = Client()
        client.close()
        assert client.is_closed
        assert client.stats()["calls"] == 0

    def test_it_is_freed(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        client = Client()
        ask(client)
        del client
        gc.collect()
        at_openai.wait_for_connections(0)


class TestBlocks:
    def test_with(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        with Client() as client:
            assert ask(client) == "Hello!"
        assert client.is_closed
        at_openai.wait_for_connections(0)

    def test_left_by_an_error(self, at_openai: Server) -> None:
        with pytest.raises(ZeroDivisionError), Client() as client:
            raise ZeroDivisionError
        assert client.is_closed

    async def test_async_with(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        async with Client() as client:
            await client.acompletion("openai/m", MESSAGES)
        assert client.is_closed
        at_openai.wait_for_connections(0)


class TestTimeouts:
    @pytest.mark.parametrize("timeout", [-1, True, "1", float("nan"), {"total": 1}])
    def test_that_cannot_be_used(self, timeout: Any, at_openai: Server) -> None:
        client = Client()
        with pytest.raises(InvalidArgumentError, match="timeout"):
            client.close(timeout)
        with pytest.raises(InvalidArgumentError, match="timeout"):
            asyncio.run(client.aclose(timeout))
        assert not client.is_closed

    @pytest.mark.parametrize("timeout", [0, 1e300, 10**400, float("inf"), None])
    def test_that_can(self, timeout: Any, client: Client, at_openai: Server) -> None:
        at_openai.answer(plain())
        ask(client)
        client.close(timeout)
        at_openai.wait_for_connections(0)

    async def test_aclose_that_is_cancelled_goes_on(self, client: Client, at_openai: Server) -> None:
        gate, late = held()
        at_openai.answer(late)
        call = asyncio.create_task(client.acompletion("openai/m", MESSAGES))
        while not at_openai.requests:
            await asyncio.sleep(0.001)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.aclose(timeout=None), 0.01)
        assert client.is_closed
        gate.open()
        assert (await call).choices[0].message.content == "Hello!"
        at_openai.wait_for_connections(0)


class TestTheFunctions:
    def test_begin_anew(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        before = ritellm.stats()["calls"]
        ritellm.completion("openai/m", MESSAGES)
        ritellm.close()
        at_openai.wait_for_connections(0)
        assert ritellm.completion("openai/m", MESSAGES).choices[0].message.content == "Hello!"
        asyncio.run(ritellm.aclose())
        at_openai.wait_for_connections(0)
        assert ritellm.stats()["calls"] == before + 2
        assert ritellm.stats()["connections_open"] == 0

    def test_calls_under_way_are_ended_and_others_not(self, at_openai: Server) -> None:
        at_openai.answer(Answer(before=[Stall()]), plain())
        with ThreadPoolExecutor() as pool:
            under_way = pool.submit(lambda: ritellm.completion("openai/m", MESSAGES))
            at_openai.wait_for_requests(1)
            ritellm.close(timeout=0)
            assert isinstance(under_way.exception(), APIConnectionError)
            assert ritellm.completion("openai/m", MESSAGES)


PROGRAM = """
import asyncio, os, signal, sys, threading, time
from ritellm import Client, completion
import ritellm
MESSAGES = [{"role": "user", "content": "Hi"}]
client = Client()
def ask(client=client):
    return client.completion("openai/m", MESSAGES).choices[0].message.content
"""


class TestTheProcess:
    def test_a_fork_that_closes_leaves_the_parent_alone(self, run_program: RunProgram, at_openai: Server) -> None:
        at_openai.answer(plain())
        run_program(
            PROGRAM
            + """
ask()
pid = os.fork()
if pid == 0:
    client.close()
    assert client.is_closed and client.stats()["connections_open"] == 0
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
ask()
"""
        ).check()
        assert at_openai.connections == 1

    def test_a_child_of_a_closed_client_has_none(self, run_program: RunProgram, at_openai: Server) -> None:
        at_openai.answer(plain())
        run_program(
            PROGRAM
            + """
ask(); client.close()
pid = os.fork()
if pid == 0:
    try:
        ask()
    except ritellm.InvalidArgumentError:
        os._exit(0 if client.stats()["calls"] == 0 else 2)
    os._exit(1)
assert os.waitpid(pid, 0)[1] == 0
"""
        ).check()

    def test_at_exit(self, run_program: RunProgram, at_openai: Server) -> None:
        at_openai.answer(plain())
        run_program(
            PROGRAM
            + """
import atexit
atexit.register(client.close)
atexit.register(ritellm.close)
class Last:
    def __del__(self):
        client.close()
sys.last = Last()
ask(); completion("openai/m", MESSAGES)
"""
        ).check()

    def test_ctrl_c(self, run_program: RunProgram, at_openai: Server) -> None:
        at_openai.answer(Answer(before=[Stall()]))
        run_program(
            PROGRAM
            + """
threading.Thread(target=ask, daemon=True).start()
while client.stats()["bytes_sent"] == 0:
    time.sleep(0.001)
threading.Thread(target=lambda: (time.sleep(0.1), os.kill(os.getpid(), signal.SIGINT))).start()
try:
    client.close(timeout=None)
except KeyboardInterrupt:
    assert client.is_closed
else:
    sys.exit("not interrupted")
"""
        ).check()
