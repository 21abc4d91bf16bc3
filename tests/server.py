"""A scripted HTTP/1.1 server: a test sets each byte and pause of a response, and reads the requests.

It runs on an event loop of its own, in a thread. Every request is recorded, with the connection it came on, when it
came, and whether the client went away before its answer was done.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote

PATIENCE = 30.0
"""Seconds after which something that should have happened is taken not to: generous, since the machine may be busy."""

FREE_PORTS = range(10_000, 32_000)
"""Below the ports that Linux (32,768), macOS and Windows (49,152) give to sockets that ask for none."""


def free_port() -> int:
    """Returns a port that nothing listens on. No server or connection of a test that runs beside gets it by chance."""
    while True:
        port = secrets.choice(FREE_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


Headers = Mapping[str, str] | Sequence[tuple[str, str]]
Json = dict[str, Any]


@dataclass(frozen=True)
class Pause:
    """In a body: nothing is sent for so long."""

    seconds: float


@dataclass(frozen=True)
class Stall:
    """In a body: nothing is sent any more; ends when the client goes away."""


@dataclass(frozen=True)
class Close:
    """In a body: the connection is closed here, in order (FIN)."""


@dataclass(frozen=True)
class Reset:
    """In a body: the connection is reset here (RST)."""


class Gate:
    """In a body: nothing is sent until the test opens it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_open = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def open(self) -> None:
        with self._lock:
            self._is_open = True
            for loop, opened in self._waiting:
                loop.call_soon_threadsafe(opened.set)

    async def pass_through(self) -> None:
        opened = asyncio.Event()
        with self._lock:
            if self._is_open:
                return
            self._waiting.append((asyncio.get_running_loop(), opened))
        await opened.wait()


Piece = bytes | Pause | Stall | Close | Reset | Gate
Framing = Literal["length", "chunked", "close"]


@dataclass
class Answer:
    """The response to one request.

    A body of pieces is sent piece by piece (each a write, and a chunk of its own where the framing is chunked). With
    ``before``, that happens before even the head.
    """

    status: int = 200
    headers: Headers = ()
    body: bytes | Sequence[Piece] = b""
    framing: Framing | None = None
    before: Sequence[Piece] = ()
    keep_alive: bool = True
    reason: str = "Status"
    raw_head: bytes | None = None

    def pieces(self) -> Sequence[Piece]:
        return [self.body] if isinstance(self.body, bytes) else self.body

    def chosen_framing(self) -> Framing:
        return self.framing or ("length" if isinstance(self.body, bytes) else "chunked")

    def head(self) -> bytes:
        if self.raw_head is not None:
            return self.raw_head
        lines = [f"HTTP/1.1 {self.status} {self.reason}"]
        pairs = list(self.headers.items() if isinstance(self.headers, Mapping) else self.headers)
        names = {name.lower() for name, _ in pairs}
        if "content-type" not in names:
            pairs.append(("content-type", "application/json"))
        match self.chosen_framing():
            case "length":
                length = sum(len(piece) for piece in self.pieces() if isinstance(piece, bytes))
                pairs.append(("content-length", str(length)))
            case "chunked":
                pairs.append(("transfer-encoding", "chunked"))
            case "close":
                pairs.append(("connection", "close"))
        if not self.keep_alive:
            pairs.append(("connection", "close"))
        lines += [f"{name}: {value}" for name, value in pairs]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


@dataclass
class Request:
    """A request of a client, and its result."""

    method: str
    target: str
    raw_headers: list[tuple[str, str]]
    body: bytes
    connection: int
    place: int
    """Number of earlier requests on this connection."""
    at: float
    """`time.monotonic()` of its arrival."""
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when the client went away before the answer was done."""
    done: threading.Event = field(default_factory=threading.Event)
    """Set when the answer was written, or given up."""
    sent: int = 0
    """Number of bytes of the body that the client's side has accepted."""

    @property
    def path(self) -> str:
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.raw_headers}

    @property
    def json(self) -> Json:
        """The body, which must be UTF-8 JSON without a name twice in one object."""

        def once(pairs: list[tuple[str, Any]]) -> Json:
            names = [name for name, _ in pairs]
            assert len(set(names)) == len(names), f"a name stands twice in {self.body!r}"
            return dict(pairs)

        parsed: Json = json.loads(self.body.decode(), object_pairs_hook=once)
        return parsed

    @property
    def wants_stream(self) -> bool:
        return bool(json.loads(self.body).get("stream"))

    def wait_gone(self) -> None:
        """Waits until the server has seen the client go away."""
        assert self.gone.wait(PATIENCE), "the client did not go away"


Script = Callable[[Request], Answer]


class Server:
    """A server on loopback. What it answers: `answer` in turn, the last one again and again; or `script`."""

    def __init__(self, send_buffer: int | None = None) -> None:
        self.largest: int | None = None
        """A request with a larger body is answered before its body has come, and the body is not read."""
        self.requests: list[Request] = []
        self.connections = 0
        self.open_connections = 0
        self.failures: list[Exception] = []
        self.script: Script = self._next_answer
        self._answers: list[Answer] = []
        self._changed = threading.Condition()
        self._send_buffer = send_buffer
        self._loop = asyncio.new_event_loop()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._socket.getsockname()[1]
        self._protocols: set[_Connection] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scripted server", daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    @property
    def url(self) -> str:
        """Address without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that send OpenAI's calls here."""
        return {"OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": KEY}

    def answer(self, *answers: Answer) -> None:
        """The next requests get these, in turn; further ones the last of them."""
        with self._changed:
            self._answers = list(answers)
            self.script = self._next_answer

    def wait_for_requests(self, count: int) -> list[Request]:
        """Waits until so many requests have come."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.requests) >= count, PATIENCE)
            assert came, f"{len(self.requests)} requests came, not {count}"
            return list(self.requests)

    def wait_for_connections(self, open_connections: int) -> None:
        """Waits until so many connections are open."""
        with self._changed:
            came = self._changed.wait_for(lambda: self.open_connections == open_connections, PATIENCE)
            assert came, f"{self.open_connections} connections are open, not {open_connections}"

    @property
    def last(self) -> Request:
        return self.requests[-1]

    def of_case(self, case: str) -> list[Request]:
        """The requests with this ``case`` in their body."""
        return [request for request in self.requests if request.json.get("case") == case]

    def close_connections(self) -> None:
        """Closes every open connection, as a server does with idle ones."""
        closed = threading.Event()

        def close() -> None:
            for protocol in list(self._protocols):
                protocol.transport.close()
            closed.set()

        self._loop.call_soon_threadsafe(close)
        assert closed.wait(PATIENCE)
        self.wait_for_connections(0)

    def close(self) -> None:
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _next_answer(self, _request: Request) -> Answer:
        with self._changed:
            assert self._answers, "the test gave the server nothing to answer"
            return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        listening = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Connection(self), sock=self._socket)
        )
        self._loop.call_soon(self._ready.set)
        try:
            self._loop.run_forever()
        finally:
            self._loop.remove_reader(self._socket)
            # A connection that was accepted last gets its transport in the next turn, and its protocol in the one after. Its
            # transport fails, and is never closed, if `listening` is closed by then.
            for _ in range(2):
                self._loop.run_until_complete(asyncio.sleep(0))
            listening.close()
            for protocol in list(self._protocols):
                protocol.transport.abort()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()

    def record(self, request: Request) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def count(self, protocol: _Connection, change: int) -> None:
        with self._changed:
            if change > 0:
                self._protocols.add(protocol)
                self.connections += 1
            else:
                self._protocols.discard(protocol)
            self.open_connections += change
            self._changed.notify_all()


def all_at_once(check: Callable[[str], None], cases: Iterable[str]) -> None:
    """Checks cases that take their time, each in a thread of its own."""
    names = list(cases)
    with ThreadPoolExecutor(len(names)) as pool:
        results = {name: pool.submit(check, name) for name in names}
    failed = {name: result.exception() for name, result in results.items() if result.exception() is not None}
    assert not failed, "\n".join(f"{name}: {error!r}" for name, error in failed.items())


def eventually(condition: Callable[[], bool], what: str = "it") -> None:
    """Waits until `condition` holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} never happened"
        time.sleep(0.01)


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self.server = server
        self.buffer = b""
        self.place = 0
        self.request: Request | None = None
        self.task: asyncio.Task[None] | None = None
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        peer: socket.socket = transport.get_extra_info("socket")
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.server._send_buffer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.server._send_buffer)
            transport.set_write_buffer_limits(high=1 << 16)
        self.server.count(self, +1)
        self.number = self.server.connections

    def connection_lost(self, exception: Exception | None) -> None:
        if self.request is not None and not self.request.done.is_set():
            self.request.gone.set()
        if self.task is not None:
            self.task.cancel()
        self.writable.set()
        self.server.count(self, -1)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.buffer.startswith(b"\x16"):
            # The beginning of TLS, which this server does not speak.
            self.transport.close()
            return
        head, ended, rest = self.buffer.partition(b"\r\n\r\n")
        if not ended:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        length = int({name.lower(): value for name, value in headers}.get("content-length", "0"))
        if self.server.largest is not None and length > self.server.largest:
            self.transport.pause_reading()
        elif len(rest) < length:
            return
        self.buffer = rest[length:]
        method, target, _ = first.split(" ")
        request = Request(method, target, headers, rest[:length], self.number, self.place, time.monotonic())
        self.place += 1
        self.request = request
        self.server.record(request)
        self.task = asyncio.get_running_loop().create_task(self.reply(request))

    async def reply(self, request: Request) -> None:
        try:
            answer = self.server.script(request)
            framing = answer.chosen_framing()
            await self.send(answer.before, "close", request)
            if self.transport.is_closing():
                return
            if framing == "chunked":
                self.transport.write(answer.head())
                await self.send(answer.pieces(), framing, request)
                if not self.transport.is_closing():
                    self.transport.write(b"0\r\n\r\n")
            else:
                # A body of one piece leaves with its head.
                pieces = list(answer.pieces())
                first = pieces.pop(0) if pieces and isinstance(pieces[0], bytes) else b""
                assert isinstance(first, bytes)
                request.sent += len(first)
                self.transport.write(answer.head() + first)
                await self.send(pieces, framing, request)
            request.done.set()
            if framing == "close" or not answer.keep_alive:
                self.transport.close()
        except Exception as error:
            self.server.failures.append(error)
            self.transport.abort()

    async def send(self, pieces: Iterable[Piece], framing: Framing, request: Request) -> None:
        for piece in pieces:
            await self.writable.wait()
            match piece:
                case bytes():
                    self.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)
                    request.sent += len(piece)
                    await asyncio.sleep(0)
                case Pause():
                    await asyncio.sleep(piece.seconds)
                case Gate():
                    await piece.pass_through()
                case Stall():
                    await asyncio.Event().wait()
                case Close():
                    request.done.set()
                    self.transport.close()
                    return
                case Reset():
                    request.done.set()
                    peer: socket.socket = self.transport.get_extra_info("socket")
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.transport.abort()
                    return


KEY = "sk-canary-0123456789abcdef"
"""The key that the tests send, and that must be seen nowhere but in a request."""

MODEL = "openai/gpt-4o-mini"
MESSAGES: list[Json] = [{"role": "user", "content": "Hi"}]


def completion_of(content: str | None = "Hello!", **more: Any) -> Json:
    """A chat completion as OpenAI writes it. ``message`` and ``choice`` have what is added to those."""
    message = {"role": "assistant", "content": content, "refusal": None, **more.pop("message", {})}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop", **more.pop("choice", {})}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [choice],
        "usage": USAGE,
        "system_fingerprint": "fp_1",
        **more,
    }


USAGE: Json = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def plain(content: str | None = "Hello!", **more: Any) -> Answer:
    """A good plain answer; ``headers`` are its headers, the rest goes into the completion."""
    headers = more.pop("headers", ())
    return Answer(headers=headers, body=dumped(completion_of(content, **more)))


def dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def chunk_of(delta: Json | None = None, finish_reason: str | None = None, **more: Any) -> Json:
    """A chat completion chunk as OpenAI writes it."""
    choice = {
        "index": 0,
        "delta": delta or {},
        "logprobs": None,
        "finish_reason": finish_reason,
        **more.pop("choice", {}),
    }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "gpt-4o-mini-2024-07-18",
        "system_fingerprint": "fp_1",
        "choices": [choice],
        **more,
    }


def chunks_of(*texts: str, usage: bool = True) -> list[Json]:
    """The chunks of an answer of these pieces of text, as OpenAI sends them."""
    chunks = [chunk_of({"role": "assistant", "content": "", "refusal": None})]
    chunks += [chunk_of({"content": text}) for text in texts]
    chunks.append(chunk_of({}, "stop"))
    if usage:
        chunks = [{**chunk, "usage": None} for chunk in chunks]
        chunks.append({**chunk_of(), "choices": [], "usage": USAGE})
    return chunks


def event(data: object) -> bytes:
    """One event of a stream."""
    return b"data: " + (data if isinstance(data, bytes) else dumped(data)) + b"\n\n"


DONE = event(b"[DONE]")


def events(chunks: Iterable[Json], done: bool = True) -> list[Piece]:
    return [*map(event, chunks), *([DONE] if done else [])]


def streamed(*texts: str, **more: Any) -> Answer:
    """A good streamed answer of these pieces of text."""
    return stream_of(*events(chunks_of(*texts)), **more)


def stream_of(*pieces: Piece, headers: Headers = (), framing: Framing = "chunked") -> Answer:
    """A streamed answer of these pieces."""
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    return Answer(headers=[("content-type", "text/event-stream"), *pairs], body=pieces, framing=framing)


def refusal(status: int, message: str = "no, thank you", **more: Any) -> Answer:
    """An error as OpenAI writes it; ``headers`` are its headers, the rest goes into the error."""
    headers = more.pop("headers", ())
    return Answer(
        status,
        headers,
        dumped({"error": {"message": message, "type": "some_error", "param": None, "code": None, **more}}),
    )


def plain_or_streamed(*texts: str) -> Script:
    """Answers every request with this text, as a stream where one is asked for."""

    def script(request: Request) -> Answer:
        return streamed(*texts) if request.wants_stream else plain("".join(texts))

    return script
