"""The table of server faults, with what a caller sees of each: parameters of the tests, and content of docs/faults.md.

``python tests/faults/table.py`` writes the page.
"""

from __future__ import annotations

import email.utils
import gzip
import json
import pathlib
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import brotli
import zstandard
from raw import Connection, Request

TEXT = "Hé😀llo!"
COMPLETION: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
}
BODY = json.dumps(COMPLETION, ensure_ascii=False).encode()


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    said = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "m"}
    return json.dumps({**said, "choices": [choice]}, ensure_ascii=False).encode()


CHUNKS = [chunk({"role": "assistant", "content": TEXT[:3]}), chunk({"content": TEXT[3:]}), chunk({}, "stop"), b"[DONE]"]
FIRST, *REST = [b"data: " + data + b"\n\n" for data in CHUNKS]
STREAM = b"".join([FIRST, *REST])


@dataclass(frozen=True)
class Answers:
    """The call succeeds with the complete text."""

    retries: int = 0
    requests: int | None = None

    def __str__(self) -> str:
        return "succeeds" if not self.retries else f"succeeds after {count(self.retries, 'retry', 'retries')}"


@dataclass(frozen=True)
class Raises:
    """The call fails."""

    error: str
    says: str
    """A part of the error message."""
    retries: int = 0
    chunks: int = 0
    """Number of chunks that the stream yields before the error."""
    requests: int | None = None

    def __str__(self) -> str:
        after = [count(self.chunks, "chunk")] if self.chunks else []
        after += [count(self.retries, "retry", "retries")] if self.retries else []
        return f"`{self.error}`" + (f" after {' and '.join(after)}" if after else "") + f": “… {self.says} …”"


Outcome = Answers | Raises
Group = Literal[
    "Connections",
    "Timeouts",
    "Truncated bodies",
    "Stream formats",
    "Sizes",
    "Unexpected responses",
    "Compression",
    "Redirects",
    "HTTP/1.1 messages",
    "Error statuses",
    "HTTP/2",
]
Serve = Callable[[Connection, Request], None]


@dataclass
class Fault:
    """A fault of a server, with what the caller sees in a plain call and in a stream."""

    group: Group
    name: str
    serve: Any
    plain: Outcome
    stream: Outcome
    client: dict[str, Any] = field(default_factory=dict)
    """Settings of the client, in addition to ``max_retries=1``."""
    warm: bool = False
    """True if a successful call is made first, so that there is an idle connection."""
    server: Literal[
        "http", "on connect", "nothing listens", "backlog full", "https stalls", "http/2", "plain as https"
    ] = "http"
    then: bool = False
    """True if a call on the same client must succeed afterwards."""


def count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


# Parts of the servers' behaviour.


def head(status: int = 200, *fields: str, kind: str = "application/json", reason: str = "Status") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} {reason}", f"content-type: {kind}", *fields, "", ""]).encode("latin-1")


def whole(body: bytes, status: int = 200, *fields: str, kind: str = "application/json") -> bytes:
    return head(status, f"content-length: {len(body)}", *fields, kind=kind) + body


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


EVENTS = "text/event-stream"
STREAM_HEAD = head(200, "transfer-encoding: chunked", kind=EVENTS)


def good_bytes(request: Request) -> bytes:
    if request.wants_stream:
        return STREAM_HEAD + chunked(FIRST, *REST) + b"0\r\n\r\n"
    return whole(BODY)


def good(connection: Connection, request: Request) -> None:
    connection.send(good_bytes(request))


def body_of(request: Request) -> tuple[bytes, str]:
    return (STREAM, EVENTS) if request.wants_stream else (BODY, "application/json")


def sends(*pieces: bytes) -> Serve:
    """Returns a server that sends the same bytes to every request."""
    return lambda connection, request: connection.send(*pieces)


def closes(*pieces: bytes) -> Serve:
    def serve(connection: Connection, request: Request) -> None:
        connection.send(*pieces)
        connection.close()

    return serve


def events(*pieces: bytes) -> Serve:
    """Returns a server that responds to plain calls as it should, and to streams with these bytes."""

    def serve(connection: Connection, request: Request) -> None:
        if request.wants_stream:
            connection.send(STREAM_HEAD, *[chunked(piece) for piece in pieces if piece], b"0\r\n\r\n")
        else:
            good(connection, request)

    return serve


def each_byte(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def first(serve: Serve) -> Serve:
    """Returns a server that has the fault for its first request only."""
    return lambda connection, request: (serve if request.number == 0 else good)(connection, request)


def later(serve: Serve) -> Serve:
    """Returns a server that has the fault from the second request of each connection on."""
    return lambda connection, request: (serve if request.place > 0 else good)(connection, request)


def only_streams(serve: Serve) -> Serve:
    """Returns a server that has the fault for streams only."""
    return lambda connection, request: (serve if request.wants_stream else good)(connection, request)


def refuses(status: int, *fields: str, message: str = "no, thank you") -> Serve:
    return sends(
        whole(json.dumps({"error": {"message": message, "type": "t", "code": None}}).encode(), status, *fields)
    )


def reset(connection: Connection, request: Request) -> None:
    connection.reset()


# Connections.


def closes_after(connection: Connection, request: Request) -> None:
    """Announces keep-alive, and closes the connection after the response."""
    connection.send(good_bytes(request).replace(b"content-type", b"connection: keep-alive\r\ncontent-type", 1))
    connection.close()


def says_close(connection: Connection, request: Request) -> None:
    connection.send(good_bytes(request).replace(b"content-type", b"connection: close\r\ncontent-type", 1))
    connection.close()


def answers_unasked(connection: Connection, request: Request) -> None:
    """Sends an unsolicited response after the requested one."""
    connection.send(good_bytes(request) + b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")


NO_ANSWER = "without an answer"
BROKE = "broke before an answer came"
CONNECT = "cannot connect to"


def same(outcome: Outcome) -> dict[str, Outcome]:
    return {"plain": outcome, "stream": outcome}


OK = same(Answers())


# Time.


def late(connection: Connection, request: Request) -> None:
    time.sleep(0.2)
    good(connection, request)


def stalls(connection: Connection, request: Request) -> None:
    connection.stall()


def stalls_in_head(connection: Connection, request: Request) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\ncontent-")
    connection.stall()


def stalls_after_head(connection: Connection, request: Request) -> None:
    connection.send(STREAM_HEAD if request.wants_stream else head(200, "content-length: 100"))
    connection.stall()


def stalls_inside(connection: Connection, request: Request) -> None:
    connection.send(STREAM_HEAD + chunked(FIRST) if request.wants_stream else whole(BODY)[:-10])
    connection.stall()


def stalls_after_pings(connection: Connection, request: Request) -> None:
    connection.send(STREAM_HEAD)
    while True:
        connection.send(chunked(b": ping\n\n"), pause=0.05)


def drips(connection: Connection, request: Request) -> None:
    connection.send(*each_byte(good_bytes(request)))


def drips_for_ever(connection: Connection, request: Request) -> None:
    """Sends one byte after the other without end, each within the idle timeout."""
    if request.wants_stream:
        connection.send(STREAM_HEAD + chunked(FIRST))
        while True:
            connection.send(chunked(b":"), pause=0.02)
    connection.send(head(200, "content-length: 1000000"))
    while True:
        connection.send(b" ", pause=0.02)


SHORT = 0.3
IN_SUM = f"not done within its total timeout of {SHORT} s"


def timed(name: str, serve: Any, part: str, plain: Outcome, stream: Outcome | None = None, **more: Any) -> Fault:
    limits = {"connect": None, "total": None, part: SHORT}
    title = f"{name}; `timeout={{{part!r}: …}}`".replace("'", '"')
    return Fault("Timeouts", title, serve, plain, stream or plain, client={"timeout": limits}, **more)


def late_by(says: str, **more: Any) -> Raises:
    return Raises("Timeout", says, **more)


BEGINNING, PIECE, FIRST_CHUNK = "beginning of the answer", "next piece of the answer", "first chunk of the stream"
CONNECTING = "connecting to"

# Bodies.


def cut(framing: str) -> Serve:
    def serve(connection: Connection, request: Request) -> None:
        stream = request.wants_stream
        if framing == "chunked":
            connection.send(
                STREAM_HEAD + chunked(FIRST) if stream else head(200, "transfer-encoding: chunked") + b"ff\r\n{"
            )
        else:
            body, kind = body_of(request)
            connection.send(whole(body, kind=kind)[: -len(body) + len(FIRST) if stream else -10])
        connection.close()

    return serve


def until_close(connection: Connection, request: Request) -> None:
    body, kind = body_of(request)
    connection.send(head(kind=kind) + body)
    connection.close()


def no_last_chunk(connection: Connection, request: Request) -> None:
    body, kind = body_of(request)
    connection.send(head(200, "transfer-encoding: chunked", kind=kind) + chunked(body))
    connection.close()


def first_then_reset(connection: Connection, request: Request) -> None:
    connection.send(STREAM_HEAD + chunked(FIRST) if request.wants_stream else whole(BODY)[:-10])
    time.sleep(0.05)
    connection.reset()


MIDDLE = "in the middle of an answer"

# Forms of streams.


def stream_lines(end: bytes) -> bytes:
    return b"".join(b"data: " + data + end + end for data in CHUNKS)


MULTI_LINE = (
    b"".join(
        b"".join(b"data: " + line + b"\n" for line in json.dumps(json.loads(data), indent=1).encode().split(b"\n"))
        + b"\n"
        for data in CHUNKS[:-1]
    )
    + REST[-1]
)
LONG = TEXT + "x" * 10_000_000
LONG_EVENT = STREAM.replace(FIRST, b"data: " + chunk({"content": "x" * 10_000_000}) + b"\n\n" + FIRST)


def long_answer(connection: Connection, request: Request) -> None:
    if request.wants_stream:
        connection.send(STREAM_HEAD + chunked(LONG_EVENT) + b"0\r\n\r\n")
    else:
        body = BODY.replace(b'"model"', b'"padding": "' + b"x" * 10_000_000 + b'", "model"')
        connection.send(whole(body))


# Sizes.


def endless_head(connection: Connection, request: Request) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.send(b"x-more: " + b"x" * 1000 + b"\r\n")


def many_fields(connection: Connection, request: Request) -> None:
    body, kind = body_of(request)
    fields = [f"content-length: {len(body)}", *[f"x-{number}: 1" for number in range(200)]]
    connection.send(head(200, *fields, kind=kind) + body)


def one_endless_field(connection: Connection, request: Request) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nx-more: ")
    while True:
        connection.send(b"x" * 1000)


def endless_body(connection: Connection, request: Request) -> None:
    connection.send(head(200, "transfer-encoding: chunked"))
    while True:
        connection.send(chunked(b" " * 10_000))


def endless_event(connection: Connection, request: Request) -> None:
    connection.send(head(200, "transfer-encoding: chunked", kind=EVENTS) + chunked(b"data: "))
    while True:
        connection.send(chunked(b"x" * 10_000))


def over(what: str, which: str) -> Raises:
    return Raises("APIResponseValidationError", f"{what} ({which})")


# Compression.


def packed(coding: str, pack: Callable[[bytes], bytes], change: Callable[[bytes], bytes] = lambda data: data) -> Serve:
    def serve(connection: Connection, request: Request) -> None:
        body, kind = body_of(request)
        connection.send(whole(change(pack(body)), 200, f"content-encoding: {coding}", kind=kind))

    return serve


def raw_deflate(data: bytes) -> bytes:
    compress = zlib.compressobj(wbits=-15)
    return compress.compress(data) + compress.flush()


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip in two members": ("gzip", lambda data: gzip.compress(data[:20]) + gzip.compress(data[20:])),
    "deflate": ("deflate", zlib.compress),
    "deflate without the zlib header": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.compress),
}


def packed_in_pieces(connection: Connection, request: Request) -> None:
    """Each event flushed, each byte alone."""
    body, kind = body_of(request)
    compress = zlib.compressobj(wbits=31)
    data = b"".join(
        compress.compress(piece) + compress.flush(zlib.Z_SYNC_FLUSH)
        for piece in body.split(b"\n\n")
        for piece in [piece + b"\n\n"]
    )
    data += compress.flush()
    connection.send(head(200, "transfer-encoding: chunked", "content-encoding: gzip", kind=kind))
    connection.send(*[chunked(byte) for byte in each_byte(data)], b"0\r\n\r\n")


def damage(data: bytes) -> bytes:
    """Corrupts the start of the first block: corruption within a block is only detected by a checksum."""
    return data[:6] + b"\xff" * 8 + data[14:]


def bomb(connection: Connection, request: Request) -> None:
    """Sends a few kilobytes that expand to a hundred megabytes."""
    _, kind = body_of(request)
    connection.send(whole(brotli.compress(b"data: " + b"x" * 100_000_000), 200, "content-encoding: br", kind=kind))


# Redirects.


def redirects(status: int, to: str) -> Serve:
    """To another path of the same server, and there to a good answer."""

    def serve(connection: Connection, request: Request) -> None:
        if request.target.startswith("/v1/chat"):
            connection.send(whole(b"", status, f"location: {to.format(port=connection.server.port)}"))
        else:
            good(connection, request)

    return serve


# Answers in one place.

SSE_ERROR = b'data: {"error": {"message": "overloaded, sorry", "type": "overloaded_error", "code": 503}}\n\n'
BAD_CHUNK = b"data: {broken\n\n"


def error_in_200(connection: Connection, request: Request) -> None:
    if request.wants_stream:
        connection.send(STREAM_HEAD + chunked(SSE_ERROR) + b"0\r\n\r\n")
    else:
        connection.send(whole(b'{"error": {"message": "overloaded, sorry", "type": "t", "code": 503}}'))


def error_after_a_chunk(connection: Connection, request: Request) -> None:
    if request.wants_stream:
        connection.send(STREAM_HEAD + chunked(FIRST, SSE_ERROR) + b"0\r\n\r\n")
    else:
        good(connection, request)


def wrong_kind(connection: Connection, request: Request) -> None:
    body, _ = body_of(request)
    connection.send(whole(body, kind="text/plain; charset=latin-1"))


def no_kind(connection: Connection, request: Request) -> None:
    body, _ = body_of(request)
    connection.send(whole(body).replace(b"content-type: application/json\r\n", b"", 1))


def retry_after(name: str, *fields: str | Callable[[], str], status: int = 429) -> Fault:
    def serve(connection: Connection, request: Request) -> None:
        refuses(status, *[one() if callable(one) else one for one in fields])(connection, request)

    return Fault("Error statuses", f"{status} once, with {name}", first(serve), **same(Answers(retries=1)))


HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
INVALID = "APIResponseValidationError"


def answers_with(status: int, error: str, retries: int, says: str = "no, thank you") -> Fault:
    return Fault(
        "Error statuses", f"{status}, always", refuses(status, "retry-after: 0"), **same(Raises(error, says, retries))
    )


def message(name: str, answer: Callable[[bytes, str], bytes], outcome: Outcome, **more: Any) -> Fault:
    """An HTTP message of the given form, around a good body."""

    def serve(connection: Connection, request: Request) -> None:
        connection.send(answer(*body_of(request)))
        if more.get("closing"):
            connection.close()

    return Fault(
        "HTTP/1.1 messages", name, serve, **same(outcome), then=isinstance(outcome, Answers) and not more.get("closing")
    )


def not_http(name: str, answer: Callable[[bytes, str], bytes], says: str) -> Fault:
    return message(name, answer, Raises("APIConnectionError", says, retries=1))


NOT_HTTP = "the answer is not HTTP/1.1"

FAULTS: Sequence[Fault] = [
    Fault(
        "Connections",
        "no server listens on the port",
        None,
        **same(Raises("APIConnectionError", CONNECT, 1, requests=0)),
        server="nothing listens",
    ),
    Fault(
        "Connections",
        "closed as soon as it is opened",
        Connection.close,
        **same(Raises("APIConnectionError", "before an answer came|without an answer", 1, requests=0)),
        server="on connect",
    ),
    Fault(
        "Connections",
        "reset as soon as it is opened",
        Connection.reset,
        **same(Raises("APIConnectionError", "cannot connect|before an answer came|without an answer", 1, requests=0)),
        server="on connect",
    ),
    Fault("Connections", "closed after the request", closes(), **same(Raises("APIConnectionError", NO_ANSWER, 1))),
    Fault("Connections", "reset after the request", reset, **same(Raises("APIConnectionError", BROKE, 1))),
    Fault(
        "Connections",
        "closed in the header section",
        closes(b"HTTP/1.1 200 OK\r\ncont"),
        **same(Raises("APIConnectionError", NO_ANSWER, 1)),
    ),
    Fault(
        "Connections", "closed while idle, although keep-alive was announced", closes_after, **OK, warm=True, then=True
    ),
    Fault("Connections", "closed while idle, as announced", says_close, **OK, warm=True, then=True),
    Fault(
        "Connections",
        "an idle one is closed as the next request arrives",
        later(closes()),
        **same(Answers(requests=2)),
        warm=True,
    ),
    Fault(
        "Connections",
        "an idle one is reset as the next request arrives",
        later(reset),
        **same(Answers(requests=2)),
        warm=True,
    ),
    Fault("Connections", "a second, unsolicited response after the first", answers_unasked, **OK, then=True),
    Fault(
        "Connections",
        "a server without TLS behind `https://`",
        sends(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        **same(Raises("APIConnectionError", CONNECT, 1, requests=0)),
        server="plain as https",
    ),
    #
    Fault("Timeouts", "responds late, no limit", late, **OK),
    timed("accepts no connection", None, "connect", late_by(CONNECTING, retries=1, requests=0), server="backlog full"),
    timed("accepts no connection", None, "total", late_by(IN_SUM, requests=0), server="backlog full"),
    timed(
        "the TLS handshake stalls", stalls, "connect", late_by(CONNECTING, retries=1, requests=0), server="https stalls"
    ),
    timed("the TLS handshake stalls", stalls, "total", late_by(IN_SUM, requests=0), server="https stalls"),
    timed("no response", stalls, "first_token", late_by(BEGINNING, retries=1)),
    timed("no response", stalls, "total", late_by(IN_SUM)),
    timed("stalls in the header section", stalls_in_head, "first_token", late_by(BEGINNING, retries=1)),
    timed("stalls in the header section", stalls_in_head, "total", late_by(IN_SUM)),
    timed("stalls after the header section", stalls_after_head, "idle", late_by(PIECE, retries=1)),
    timed("stalls after the header section", stalls_after_head, "total", late_by(IN_SUM)),
    timed(
        "a stream stalls after its header section",
        only_streams(stalls_after_head),
        "first_token",
        Answers(),
        late_by(FIRST_CHUNK, retries=1),
    ),
    timed(
        "a stream sends pings and no chunk",
        only_streams(stalls_after_pings),
        "first_token",
        Answers(),
        late_by(FIRST_CHUNK, retries=1),
    ),
    timed("a stream sends pings and no chunk", only_streams(stalls_after_pings), "total", Answers(), late_by(IN_SUM)),
    timed("stalls within the body", stalls_inside, "idle", late_by(PIECE, retries=1), late_by(PIECE, chunks=1)),
    timed("stalls within the body", stalls_inside, "total", late_by(IN_SUM), late_by(IN_SUM, chunks=1)),
    timed("sends single bytes without end", drips_for_ever, "total", late_by(IN_SUM), late_by(IN_SUM, chunks=1)),
    Fault("Timeouts", "sends single bytes, no limit", drips, **OK, then=True),
    #
    Fault(
        "Truncated bodies",
        "chunked, cut",
        cut("chunked"),
        Raises("APIConnectionError", MIDDLE, 1),
        Raises("IncompleteStreamError", "broke off", chunks=1),
    ),
    Fault(
        "Truncated bodies",
        "with a length, cut",
        cut("length"),
        Raises("APIConnectionError", MIDDLE, 1),
        Raises("IncompleteStreamError", "broke off", chunks=1),
    ),
    Fault(
        "Truncated bodies",
        "reset in the middle",
        first_then_reset,
        Raises("APIConnectionError", MIDDLE, 1),
        Raises("IncompleteStreamError", "broke off", chunks=1),
    ),
    Fault(
        "Truncated bodies",
        "chunked, complete except for the last chunk",
        no_last_chunk,
        Raises("APIConnectionError", MIDDLE, 1),
        Answers(),
    ),
    Fault("Truncated bodies", "delimited by the end of the connection, complete", until_close, **OK),
    Fault(
        "Truncated bodies",
        "a stream that ends before its final event",
        events(FIRST),
        Answers(),
        Raises("IncompleteStreamError", "without its finish", chunks=1),
    ),
    Fault(
        "Truncated bodies",
        "an empty stream",
        events(b": ping\n\n"),
        Answers(),
        Raises("IncompleteStreamError", "without its finish", 1),
    ),
    #
    Fault("Stream formats", "lines end with CRLF", events(stream_lines(b"\r\n")), **OK),
    Fault("Stream formats", "lines end with CR", events(stream_lines(b"\r")), **OK),
    Fault("Stream formats", "lines end with LF", events(stream_lines(b"\n")), **OK),
    Fault("Stream formats", "a byte order mark", events(b"\xef\xbb\xbf" + STREAM), **OK),
    Fault(
        "Stream formats",
        "comments, `id:`, `retry:`, unknown fields",
        events(b": hi\n\nretry: 10\nid: 7\nx: y\n" + STREAM.replace(b"\n\n", b"\n: c\n\n:\n\n")),
        **OK,
    ),
    Fault("Stream formats", "an event in many `data:` lines", events(MULTI_LINE), **OK),
    Fault("Stream formats", "no space after `data:`", events(STREAM.replace(b"data: ", b"data:")), **OK),
    Fault(
        "Stream formats",
        "one byte per read: UTF-8 and CRLF split everywhere",
        events(*each_byte(stream_lines(b"\r\n"))),
        **OK,
    ),
    Fault("Stream formats", "no `[DONE]`", events(b"".join([FIRST, *REST[:-1]])), **OK),
    Fault(
        "Stream formats",
        "no blank line at the end",
        events(b"".join([FIRST, *REST[:-2]]) + REST[-2].rstrip(b"\n")),
        **OK,
    ),
    Fault("Stream formats", "more after `[DONE]`", events(STREAM + FIRST), **OK),
    Fault("Stream formats", "no content type", no_kind, **OK),
    Fault("Stream formats", "the content type of plain text", wrong_kind, **OK),
    #
    Fault("Sizes", "an event, or a response, of 10 MB", long_answer, **OK),
    Fault(
        "Sizes",
        "a header section without end",
        endless_head,
        **same(over("head is larger than 65536 bytes", "max_header_size")),
    ),
    Fault(
        "Sizes",
        "a header field without end",
        one_endless_field,
        **same(over("head is larger than 65536 bytes", "max_header_size")),
    ),
    Fault("Sizes", "200 header fields", many_fields, **OK),
    Fault(
        "Sizes",
        "a body without end; `max_body_size=1_000_000`",
        endless_body,
        **same(over("larger than 1000000 bytes", "max_body_size")),
        client={"max_body_size": 1_000_000},
    ),
    Fault(
        "Sizes",
        "a body with too large a content-length",
        sends(head(200, "content-length: 99999999999")),
        **same(over("larger than 268435456 bytes", "max_body_size")),
    ),
    Fault(
        "Sizes",
        "an event without end; `max_event_size=1_000_000`",
        only_streams(endless_event),
        Answers(),
        over("larger than 1000000 bytes", "max_event_size"),
        client={"max_event_size": 1_000_000},
    ),
    Fault(
        "Sizes",
        "JSON that is nested too deeply",
        sends(whole(b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")),
        **same(Raises(INVALID, "")),
    ),
    #
    Fault(
        "Unexpected responses",
        "an error under a status of 200",
        error_in_200,
        **same(Raises("ServiceUnavailableError", "overloaded, sorry", 1)),
    ),
    Fault(
        "Unexpected responses",
        "an error in the middle of a stream",
        error_after_a_chunk,
        Answers(),
        Raises("ServiceUnavailableError", "overloaded, sorry", chunks=1),
    ),
    Fault(
        "Unexpected responses",
        "a chunk that is not JSON",
        events(FIRST, BAD_CHUNK),
        Answers(),
        Raises(INVALID, "cannot be read", chunks=1),
    ),
    Fault("Unexpected responses", "a list", sends(whole(b"[1, 2]")), **same(Raises(INVALID, ""))),
    Fault("Unexpected responses", "a string", sends(whole(b'"hello"')), **same(Raises(INVALID, ""))),
    Fault("Unexpected responses", "null", sends(whole(b"null")), **same(Raises(INVALID, ""))),
    Fault("Unexpected responses", "an empty body", sends(whole(b"")), **same(Raises(INVALID, ""))),
    Fault(
        "Unexpected responses",
        "204, no content",
        sends(b"HTTP/1.1 204 No Content\r\n\r\n"),
        Raises(INVALID, ""),
        Raises("IncompleteStreamError", "without its finish", 1),
    ),
    Fault(
        "Unexpected responses",
        "a page of HTML, status 200",
        sends(whole(HTML, kind="text/html")),
        Raises(INVALID, ""),
        Raises("IncompleteStreamError", "without its finish", 1),
    ),
    Fault(
        "Unexpected responses",
        "a page of HTML, status 502, once",
        first(sends(whole(HTML, 502, kind="text/html"))),
        **same(Answers(retries=1)),
    ),
    Fault(
        "Unexpected responses",
        "a page of HTML, status 502",
        sends(whole(HTML, 502, kind="text/html")),
        **same(Raises("ServiceUnavailableError", "502", 1)),
    ),
    #
    *[
        Fault("Compression", f"{name}, not requested", packed(coding, pack), **OK, then=True)
        for name, (coding, pack) in PACKERS.items()
    ],
    Fault("Compression", "gzip, one byte per read", packed_in_pieces, **OK, then=True),
    *[
        Fault(
            "Compression",
            f"{coding}, corrupted",
            packed(coding, pack, damage),
            **same(Raises(INVALID, f"{coding} body cannot be decoded")),
        )
        for coding, pack in PACKERS.values()
        if coding in ("br", "zstd")
    ],
    Fault(
        "Compression",
        "gzip with a wrong checksum",
        packed("gzip", gzip.compress, lambda data: data[:-8] + b"12345678"),
        Raises(INVALID, "gzip body cannot be decoded"),
        Answers(),
    ),
    Fault(
        "Compression",
        "declared as gzip, but is not",
        packed("gzip", lambda data: data),
        **same(Raises(INVALID, "gzip body cannot be decoded")),
    ),
    Fault(
        "Compression",
        "gzip, cut",
        packed("gzip", gzip.compress, lambda data: data[:30]),
        Raises("APIConnectionError", "gzip body was cut off", 1),
        Raises("IncompleteStreamError", "gzip body was cut off", 1),
    ),
    Fault(
        "Compression",
        "100 MB in a hundred bytes; `max_body_size` and `max_event_size` of 1 MB",
        bomb,
        over("larger than 1000000 bytes", "max_body_size"),
        over("larger than 1000000 bytes", "max_event_size"),
        client={"max_body_size": 1_000_000, "max_event_size": 1_000_000},
    ),
    Fault(
        "Compression",
        "an unknown encoding",
        packed("compress", lambda data: data),
        **same(Raises(INVALID, 'content-encoding "compress"')),
    ),
    #
    *[
        Fault(
            "Redirects",
            f"{status}, to another path",
            redirects(status, "/other"),
            **same(Answers(requests=2)),
            then=True,
        )
        for status in (307, 308)
    ],
    Fault(
        "Redirects",
        "307, to another path, as an absolute URL",
        redirects(307, "http://127.0.0.1:{port}/other"),
        **same(Answers(requests=2)),
    ),
    *[
        Fault(
            "Redirects",
            f"{status}, to another path",
            redirects(status, "/other"),
            **same(Raises("BadRequestError", "would turn the call into a GET")),
        )
        for status in (301, 302, 303)
    ],
    *[
        Fault(
            "Redirects",
            f"{status}, to another host",
            redirects(status, "https://elsewhere.test/v1/chat"),
            **same(Raises("BadRequestError", "https://elsewhere.test/v1/chat, another server: nothing was sent there")),
        )
        for status in (302, 307, 308)
    ],
    Fault(
        "Redirects",
        "307, to another port",
        redirects(307, "http://127.0.0.1:1/v1"),
        **same(Raises("BadRequestError", "another server")),
    ),
    Fault(
        "Redirects",
        "307, to the same host over `https`",
        redirects(307, "https://127.0.0.1:{port}/other"),
        **same(Raises("BadRequestError", "another server")),
    ),
    Fault(
        "Redirects",
        "a redirect loop",
        redirects(308, "/v1/chat/again"),
        **same(Raises("BadRequestError", "more than 10 times", requests=11)),
    ),
    Fault(
        "Redirects",
        "307, to an invalid address",
        redirects(307, "http://"),
        **same(Raises("BadRequestError", "no address")),
    ),
    Fault("Redirects", "307, without a location", refuses(307), **same(Raises("BadRequestError", "no, thank you"))),
    #
    message(
        "100 and 103 before the response",
        lambda body, kind: (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + whole(body, kind=kind)
        ),
        Answers(),
    ),
    not_http(
        "101, a switch of protocols",
        lambda body, kind: b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
        "switch to another protocol",
    ),
    message("HTTP/1.0", lambda body, kind: whole(body, kind=kind).replace(b"HTTP/1.1", b"HTTP/1.0", 1), Answers()),
    message(
        "lines end with LF",
        lambda body, kind: (
            whole(b"", kind=kind).replace(b"\r\n", b"\n").replace(b"length: 0", b"length: %d" % len(body)) + body
        ),
        Answers(),
    ),
    message(
        "no reason phrase after the status",
        lambda body, kind: whole(body, kind=kind).replace(b"200 Status", b"200", 1),
        Answers(),
    ),
    message(
        "chunk extensions and trailers",
        lambda body, kind: (
            head(200, "transfer-encoding: chunked", kind=kind)
            + b"%x;a=b\r\n%b\r\n0\r\nx-sum: 1\r\n\r\n" % (len(body), body)
        ),
        Answers(),
    ),
    message(
        "both a content-length and chunks",
        lambda body, kind: (
            head(200, "content-length: 3", "transfer-encoding: chunked", kind=kind) + chunked(body) + b"0\r\n\r\n"
        ),
        Answers(),
    ),
    message(
        "the same length twice",
        lambda body, kind: whole(body, 200, f"content-length: {len(body)}", kind=kind),
        Answers(),
    ),
    not_http(
        "two different lengths",
        lambda body, kind: whole(body, 200, "content-length: 3", kind=kind),
        "two different content-lengths",
    ),
    not_http(
        "a length with a sign",
        lambda body, kind: head(200, "content-length: +3") + body,
        "content-length that is no number",
    ),
    not_http(
        "a transfer-encoding other than chunked",
        lambda body, kind: head(200, "transfer-encoding: gzip, chunked") + chunked(body),
        "transfer-encoding of gzip, chunked",
    ),
    not_http(
        "chunked twice",
        lambda body, kind: head(200, "transfer-encoding: chunked", "transfer-encoding: chunked") + chunked(body),
        "transfer-encoding of chunked",
    ),
    not_http("not HTTP", lambda body, kind: b"SSH-2.0-OpenSSH_9.9\r\n\r\n", NOT_HTTP),
    not_http("a header without a colon", lambda body, kind: b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", NOT_HTTP),
    Fault(
        "HTTP/1.1 messages",
        "a chunk whose size is not a number",
        lambda connection, request: connection.send(
            head(200, "transfer-encoding: chunked", kind=body_of(request)[1]) + b"+3\r\n{}\r\n"
        ),
        Raises("APIConnectionError", "a chunk whose size is no number", 1),
        Raises("IncompleteStreamError", "a chunk whose size is no number", 1),
    ),
    Fault(
        "HTTP/1.1 messages",
        "a chunk that is longer than its size",
        lambda connection, request: connection.send(
            head(200, "transfer-encoding: chunked", kind=body_of(request)[1]) + b"2\r\n{}{}\r\n"
        ),
        Raises("APIConnectionError", "longer than it said", 1),
        Raises("IncompleteStreamError", "longer than it said", 1),
    ),
    #
    answers_with(400, "BadRequestError", 0),
    answers_with(401, "AuthenticationError", 0),
    answers_with(403, "PermissionDeniedError", 0),
    answers_with(404, "NotFoundError", 0),
    answers_with(408, "Timeout", 1),
    answers_with(409, "ConflictError", 1),
    answers_with(422, "UnprocessableEntityError", 0),
    answers_with(429, "RateLimitError", 1),
    answers_with(500, "InternalServerError", 1),
    answers_with(503, "ServiceUnavailableError", 1),
    answers_with(504, "Timeout", 1),
    answers_with(529, "ServiceUnavailableError", 1),
    retry_after("no `retry-after`"),
    retry_after("`retry-after: 0`", "retry-after: 0"),
    retry_after("`retry-after: 0.05`", "retry-after: 0.05", status=503),
    retry_after("`retry-after-ms: 20`", "retry-after-ms: 20", status=529),
    retry_after("`retry-after-ms: 20` beside `retry-after: 50`", "retry-after: 50", "retry-after-ms: 20"),
    retry_after("a date", lambda: f"retry-after: {email.utils.formatdate(time.time() + 1, usegmt=True)}", status=503),
    retry_after("a date that has passed", "retry-after: Wed, 21 Oct 2015 07:28:00 GMT"),
    retry_after("`retry-after: -5`", "retry-after: -5"),
    retry_after("`retry-after: soon`", "retry-after: soon", status=529),
    retry_after("`retry-after: NaN`", "retry-after: NaN"),
    Fault(
        "Error statuses",
        "429 with `retry-after: 3600`: more than `max_retry_after`",
        refuses(429, "retry-after: 3600"),
        **same(Raises("RateLimitError", "no, thank you")),
    ),
    Fault(
        "Error statuses",
        "429 with `retry-after: 1e999`",
        refuses(429, "retry-after: 1e999"),
        **same(Raises("RateLimitError", "no, thank you")),
    ),
    Fault(
        "Error statuses",
        "503 with `retry-after: 30`; `timeout=20`: more than the time left",
        refuses(503, "retry-after: 30"),
        **same(Raises("ServiceUnavailableError", "no, thank you")),
        client={"timeout": 20},
    ),
    #
    Fault(
        "HTTP/2",
        "GOAWAY before the request was processed",
        "go away once",
        **same(Answers(requests=2)),
        server="http/2",
    ),
    Fault(
        "HTTP/2",
        "GOAWAY, repeatedly",
        "go away",
        **same(Raises("APIConnectionError", "before an answer came", 1, requests=8)),
        server="http/2",
    ),
    Fault(
        "HTTP/2",
        "GOAWAY and close after the request was accepted",
        "take and go away",
        **same(Raises("APIConnectionError", "before an answer came", 1)),
        server="http/2",
    ),
    Fault("HTTP/2", "REFUSED_STREAM once", "refuse once", **same(Answers(requests=2)), server="http/2"),
    Fault(
        "HTTP/2",
        "REFUSED_STREAM, repeatedly",
        "refuse",
        **same(Raises("APIConnectionError", "refused", 1, requests=8)),
        server="http/2",
    ),
    Fault(
        "HTTP/2",
        "RST_STREAM",
        "reset",
        **same(Raises("APIConnectionError", "before an answer came", 1)),
        server="http/2",
    ),
    Fault(
        "HTTP/2",
        "RST_STREAM in the middle of the response",
        "reset inside",
        Raises("APIConnectionError", MIDDLE, 1),
        Raises("IncompleteStreamError", "broke off", chunks=1),
        server="http/2",
    ),
    Fault(
        "HTTP/2",
        "the connection closes in the middle of the response",
        "close inside",
        Raises("APIConnectionError", MIDDLE, 1),
        Raises("IncompleteStreamError", "broke off", chunks=1),
        server="http/2",
    ),
    Fault(
        "HTTP/2",
        "bytes that are not HTTP/2",
        "garbage",
        **same(Raises("APIConnectionError", "cannot speak HTTP/2 with", 1, requests=0)),
        server="http/2",
    ),
    Fault(
        "HTTP/2",
        "the SETTINGS frame never arrives",
        "no settings",
        **same(Raises("Timeout", CONNECTING, 1, requests=0)),
        client={"timeout": {"connect": SHORT}},
        server="http/2",
    ),
]

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "faults.md"


def page() -> str:
    """Returns the text of docs/faults.md."""
    lines = [
        "# Faults and their errors",
        "",
        "This page lists faults of servers and networks, with what the caller sees of each one in a plain call and in a",
        "stream. Every line is a test, sync and async: `tests/faults` has a server with each fault, and this page is",
        "generated from the same table (`python tests/faults/table.py`).",
        "",
        "“Succeeds” means that the call returns the complete response. The calls have `max_retries=1`; the pause before a retry",
        "is not shown.",
    ]
    group = None
    for fault in FAULTS:
        if fault.group != group:
            group = fault.group
            lines += ["", f"## {group}", "", "| the server | a plain call | a stream |", "|---|---|---|"]
        plain, stream = (
            str(outcome).replace("|", " or ").replace("“…  …”", "") for outcome in (fault.plain, fault.stream)
        )
        lines.append(f"| {fault.name} | {plain.removesuffix(': ')} | {stream.removesuffix(': ')} |")
    lines += [
        "",
        "## Servers that never stop sending",
        "",
        "`tests/faults/test_floods.py` sends unlimited data in every part of a response: header sections, bodies, chunks and",
        "chunk extensions, trailers, blank lines, comments and empty events, compressed data that expands to gigabytes, and",
        "small HTTP/2 frames. `total` ends such a call, at most a tenth of its value late, unless one of these limits ends it",
        "first:",
        "",
        "| data | limit | the caller sees |",
        "|---|---|---|",
        "| informational responses (1xx) before the final one | 32 | `APIConnectionError` |",
        "| trailers | 256 | `APIConnectionError` |",
        "| a whole stream, after decompression | `max_stream_size`, 1 GiB | `APIResponseValidationError` |",
        "| JSON values in a response, or in an event | `max_values`, 16,777,216 | `APIResponseValidationError` |",
        "| objects and lists among them | an eighth of `max_values` | `APIResponseValidationError` |",
        "| the part of a body, and of a message, that an error keeps | 1 MiB, 64 KiB | `body`, `message` |",
        "",
        "Other calls continue meanwhile. The network thread yields after each megabyte that it reads, or 256 kB after",
        "decompression; responses of more than 4 MiB are decoded on another thread; and other Python threads can run after every",
        "16,384 values of which objects are created.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
