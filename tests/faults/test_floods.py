"""Tests servers that send without end, at every stage of reading: the call ends in time, and others continue."""

from __future__ import annotations

import asyncio
import gzip
import re
import struct
import time
import zlib
from dataclasses import dataclass
from typing import Any

import pytest
from raw import Connection, RawServer, Request
from raw_http2 import Authority, Stream, http2
from table import BODY, FIRST, TEXT, chunk, chunked, good, head, whole

from ritellm import APIResponseValidationError, BadRequestError, Client, InvalidArgumentError, RiteLLMError

KEY = "sk-canary-0123456789abcdef"
MESSAGES = [{"role": "user", "content": "Hi"}]
TOTAL = 0.3
LATE = 10.0
"""Seconds after which a call of 0.3 s has not been ended by its deadline; without it, none of these ends in 20. A flood and
its reader need both cores of a small machine, and took 4 s where eight other programs ran."""

EVENTS = "text/event-stream"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = head(200, "transfer-encoding: chunked")


def compressed(text: bytes, window: int) -> tuple[bytes, bytes]:
    """The beginning of a compressed body, and what stands for 8 MB of this text wherever it is repeated."""
    coder = zlib.compressobj(9, zlib.DEFLATED, window)
    beginning = coder.compress(b"") + coder.flush(zlib.Z_FULL_FLUSH)
    for _ in range(2):
        piece = coder.compress(text * ((8 << 20) // len(text))) + coder.flush(zlib.Z_FULL_FLUSH)
    return beginning, piece


GZIP, COMMENTS = compressed(b":\n\n", 31)
DEFLATE, BLANKS = compressed(b"\n", 15)
GZIP_EVENTS, EMPTY_EVENTS = compressed(b'data: {"choices":[]}\n\n', 31)
GZIP_DATA, TINY_EVENTS = compressed(b"data:{}\n\n", 31)
GZIP_CHUNKS, CHUNKS = compressed(FIRST, 31)
MESSAGE = b'{"message":{"content":"a"}}\n'
GZIP_OBJECTS, OBJECTS = compressed(b"{}\n", 31)
DEFLATE_MESSAGES, NDJSON_MESSAGES = compressed(MESSAGE, 15)
NDJSON = "application/x-ndjson"
TIMEOUT = "not done within its total timeout"


@dataclass(frozen=True)
class Flood:
    name: str
    stream: bool
    begins: bytes
    goes_on: bytes
    ends: str = TIMEOUT
    model: str = "openai/m"


FLOODS = [
    Flood("blank lines for a head", False, b"", b"\r\n", "it does not begin with HTTP/1.1"),
    Flood("a head without end", False, b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", "max_header_size"),
    Flood("informational heads", False, b"", b"HTTP/1.1 100 Continue\r\n\r\n", "more than 32 heads and no answer"),
    Flood("hints", True, b"", b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n", "more than 32 heads and no answer"),
    Flood("a body without end", False, head(200), b" ", f"{TIMEOUT}|max_body_size"),
    Flood("an error without end", False, head(400), b" ", f"{TIMEOUT}|max_body_size"),
    Flood("a chunk's size without end", False, CHUNKED, b"0", "a chunk's line of more than|whose size is no number"),
    Flood("chunk extensions", False, CHUNKED, b"1;" + b"x" * 4000 + b"\r\n \r\n"),
    Flood("chunks of a byte", False, CHUNKED, b"1\r\n \r\n"),
    Flood("trailers", False, CHUNKED + b"2\r\n{}\r\n0\r\n", b"a: b\r\n", "more than 256 trailers"),
    Flood("trailers of a stream", True, STREAM + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n", "trailers"),
    Flood("blank lines", True, STREAM + b"\r\n", b"\n"),
    Flood("lines without a colon", True, STREAM + b"\r\n", b"x\n"),
    Flood("comments", True, STREAM + b"\r\n", b": ping\n\n"),
    Flood("comments in chunks", True, STREAM + b"transfer-encoding: chunked\r\n\r\n", chunked(b":\n\n")),
    Flood("names of events", True, STREAM + b"\r\n", b"event: a\n\n"),
    Flood("chunks without a choice", True, STREAM + b"\r\n", b'data: {"choices":[]}\n\n'),
    Flood("chunks", True, STREAM + b"\r\n", FIRST),
    Flood("a line without end", True, STREAM + b"\r\ndata: ", b"x", f"{TIMEOUT}|max_event_size"),
    Flood("an event without end", True, STREAM + b"\r\n", b"data:\n", f"{TIMEOUT}|max_event_size"),
    Flood("pings of Claude", True, STREAM + b"\r\n", b'event: ping\ndata: {"type": "ping"}\n\n', model="anthropic/m"),
    Flood("blank lines of NDJSON", True, head(200, kind="application/x-ndjson"), b"\n", model="ollama_chat/m"),
    Flood("tiny objects of NDJSON", True, head(200, kind=NDJSON), b"{}\n", model="ollama_chat/m"),
    Flood("tiny messages of NDJSON", True, head(200, kind=NDJSON), MESSAGE, model="ollama_chat/m"),
    Flood("tiny events", True, STREAM + b"\r\n", b"data:{}\n\n"),
    Flood("compressed comments", True, STREAM + b"content-encoding: gzip\r\n\r\n" + GZIP, COMMENTS),
    Flood("compressed blank lines", True, STREAM + b"content-encoding: deflate\r\n\r\n" + DEFLATE, BLANKS),
    Flood("compressed events", True, STREAM + b"content-encoding: gzip\r\n\r\n" + GZIP_EVENTS, EMPTY_EVENTS),
    Flood("compressed tiny events", True, STREAM + b"content-encoding: gzip\r\n\r\n" + GZIP_DATA, TINY_EVENTS),
    Flood("compressed chunks", True, STREAM + b"content-encoding: gzip\r\n\r\n" + GZIP_CHUNKS, CHUNKS),
    Flood(
        "compressed objects of NDJSON",
        True,
        head(200, "content-encoding: gzip", kind=NDJSON) + GZIP_OBJECTS,
        OBJECTS,
        model="ollama_chat/m",
    ),
    Flood(
        "compressed messages of NDJSON",
        True,
        head(200, "content-encoding: deflate", kind=NDJSON) + DEFLATE_MESSAGES,
        NDJSON_MESSAGES,
        model="ollama_chat/m",
    ),
    Flood("compressed nothing", True, STREAM + b"content-encoding: gzip\r\n\r\n", gzip.compress(b"")),
    Flood(
        "a compressed body", False, head(200, "content-encoding: deflate") + DEFLATE, BLANKS, f"{TIMEOUT}|max_body_size"
    ),
]


async def ended(client: Client, model: str, stream: bool) -> tuple[str, float]:
    begun = time.monotonic()
    try:
        answer: Any = await client.acompletion(model, MESSAGES, stream=stream)
        if stream:
            async for _ in answer:
                pass
        outcome = "answers"
    except RiteLLMError as error:
        outcome = error.message
    return outcome, time.monotonic() - begun


async def check(server: RawServer, expected: str, stream: bool, model: str = "openai/m", **settings: Any) -> None:
    """The call ends in that way and in time; so does one beside it, to another server."""
    settings = {"api_key": KEY, "max_retries": 0, "timeout": TOTAL, **settings}
    client = Client(base_url=server.base_url, **settings)
    with RawServer(good) as other:
        beside = Client(base_url=other.base_url, api_key=KEY)
        await beside.acompletion("openai/m", MESSAGES)
        flooded = asyncio.create_task(ended(client, model, stream))
        await asyncio.sleep(TOTAL / 3)
        outcome, seconds = await ended(beside, "openai/m", False)
        assert outcome == "answers"
        assert seconds < LATE
        outcome, seconds = await flooded
    assert re.search(expected, outcome), outcome
    assert seconds < LATE


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.name)
async def test_flood(flood: Flood) -> None:
    repeated = flood.goes_on * max(1, (64 << 10) // len(flood.goes_on))

    def serve(connection: Connection, _: Request) -> None:
        connection.send(flood.begins)
        while True:
            connection.send(repeated)

    with RawServer(serve) as server:
        await check(server, flood.ends, flood.stream, flood.model)


async def test_a_task_that_reads_a_flood_lets_its_loop_run() -> None:
    def serve(connection: Connection, _: Request) -> None:
        connection.send(STREAM + b"\r\n")
        while True:
            connection.send(FIRST * 500)

    with RawServer(serve) as server:
        client = Client(base_url=server.base_url, api_key=KEY, max_retries=0)
        begun = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ended(client, "openai/m", True), TOTAL)
        assert time.monotonic() - begun < LATE


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


FRAMES = {
    "empty DATA frames": lambda stream: frame(0, 0, stream),
    "DATA frames of a byte": lambda stream: frame(0, 0, stream, b"\n"),
    "PING frames": lambda stream: frame(6, 0, 0, b"01234567"),
    "SETTINGS frames": lambda stream: frame(4, 0, 0),
    "unknown frames": lambda stream: frame(99, 0, stream),
    "WINDOW_UPDATE frames": lambda stream: frame(8, 0, 0, b"\0\0\0\1"),
    "informational HEADERS frames": lambda stream: frame(1, 4, stream, b"\x08\x03103"),
    "empty CONTINUATION frames": lambda stream: frame(9, 0, stream),
}
BEGINS = {"empty CONTINUATION frames": lambda stream: frame(1, 0, stream, b"\x88")}
"""A frame that comes once, before those."""


@pytest.mark.parametrize("answered", [False, True], ids=["before the head", "in the body"])
@pytest.mark.parametrize("name", FRAMES)
async def test_flood_of_frames(name: str, answered: bool, authority: Authority) -> None:
    def answer(stream: Stream) -> None:
        if answered:
            stream.answer(b": \n\n", EVENTS, end=False)
        if name in BEGINS:
            stream.session.connection.send(BEGINS[name](stream.id))
        while True:
            stream.session.connection.send(FRAMES[name](stream.id) * 5_000)

    with RawServer(on_connect=http2(answer), tls=authority.context("h2")) as server:
        # Some are a fault of HTTP/2's, which ends the connection.
        ends = f"{TIMEOUT}|connection broke|broke off|cannot speak HTTP/2"
        await check(server, ends, True, ca_bundle=authority.path)


class TestSizes:
    def test_a_stream_as_a_whole(self) -> None:
        size = len(b"".join([FIRST] * 100))

        def serve(connection: Connection, _: Request) -> None:
            body = FIRST * 100 + b"data: " + chunk({}, "stop") + b"\n\n"
            connection.send(whole(gzip.compress(body), 200, "content-encoding: gzip", kind=EVENTS))

        with RawServer(serve) as server:
            client = Client(base_url=server.base_url, api_key=KEY, max_retries=0, max_stream_size=size)
            with pytest.raises(APIResponseValidationError, match=rf"larger than {size} bytes \(max_stream_size\)"):
                list(client.completion("openai/m", MESSAGES, stream=True))
            client = Client(base_url=server.base_url, api_key=KEY, max_retries=0, max_stream_size=2 * size)
            assert len(list(client.completion("openai/m", MESSAGES, stream=True))) == 101

    @pytest.mark.parametrize("model", ["openai/m", "anthropic/m", "gemini/m", "cohere/m", "ollama_chat/m"])
    @pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
    def test_values(self, stream: bool, model: str) -> None:
        many = b'{"many":[' + b"{}," * 1000 + b"0]," + BODY[1:]

        def serve(connection: Connection, request: Request) -> None:
            if not stream:
                connection.send(whole(many))
            elif model.startswith("ollama"):
                connection.send(whole(many + b"\n", kind="application/x-ndjson"))
            else:
                connection.send(whole(b"data: " + many + b"\n\n", kind=EVENTS))

        with RawServer(serve) as server:
            client = Client(base_url=server.base_url, api_key=KEY, max_retries=0, max_values=8000)
            says = r"more than 8000 values, or more than 1000 objects and lists \(max_values\)"
            with pytest.raises(APIResponseValidationError, match=says):
                list(client.completion(model, MESSAGES, stream=stream))

    def test_values_that_stand_in_a_text_are_none(self) -> None:
        text = "{},[]," * 10_000

        def serve(connection: Connection, _: Request) -> None:
            connection.send(whole(BODY.replace(TEXT.encode(), text.encode())))

        with RawServer(serve) as server:
            client = Client(base_url=server.base_url, api_key=KEY, max_retries=0, max_values=800)
            assert client.completion("openai/m", MESSAGES).choices[0].message.content == text

    @pytest.mark.parametrize("what", [b"{},", b'"%s",' % (b"x" * 1000)], ids=["values", "texts"])
    def test_a_large_error_is_cut_and_shows_no_key(self, what: bytes) -> None:
        begins = b'{"error":{"message":"no"},"many":['
        body = begins + what * ((1 << 20) // len(what) - 10)
        # Around the place where it is cut.
        body += b'"%s",' % KEY.encode() * 10_000 + what * 10_000 + b"0]}"

        def serve(connection: Connection, _: Request) -> None:
            connection.send(whole(body, status=400))

        with RawServer(serve) as server:
            client = Client(base_url=server.base_url, api_key=KEY, max_retries=0)
            with pytest.raises(BadRequestError) as raised:
                client.completion("openai/m", MESSAGES)
            said = str(raised.value.body)
            assert said.startswith('{"error":{"message":"no"}')
            assert 900_000 < len(said) <= 1 << 20
            assert KEY[:8] not in said

    @pytest.mark.parametrize("name", ["max_stream_size", "max_values"])
    @pytest.mark.parametrize("value", [0, -1, 1.5, True, "10"])
    def test_what_cannot_be_used_is_named(self, name: str, value: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=f"{name} is .*a whole number above 0 would be right"):
            Client(**{name: value})
