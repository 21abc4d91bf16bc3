"""A server with limits of its own, for tests of limits: a process that answers quickly and logs each arrival.

    python limited_server.py LOG LISTENER…     each LISTENER as JSON: {"rule": …, "limit": …, "per": …, "saves": …,
                                               "latency": [least, most], "retry_after": "exact" | "coarse" | "none"}

It prints the ports. A line on its standard input, `{"listener": 0, "limit": 30}`, changes a limit. The log has a record for
each request: time.monotonic() at its arrival, the listener's index, its size in tokens, the status of its answer, and the
number in its text, if there is one.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import struct
import sys
import time
from typing import Any, BinaryIO

RECORD = struct.Struct("<dIIIQ")
SIZE = re.compile(rb"size=(\d+)")
NUMBER = re.compile(rb"number=(\d+)")


class Rule:
    """Limits nothing."""

    def __init__(self, limit: float, per: float, saves: float) -> None:
        self.limit, self.per, self.saves = limit, per, saves

    def ask(self, now: float) -> float | None:
        """Returns `None` if a request is taken, or the seconds after which one would be; 0 if nobody knows."""
        return None

    def end(self) -> None:
        """Notes that a request which was taken has ended."""

    def set(self, limit: float) -> None:
        self.limit = limit


class Bucket(Rule):
    """Saves up some seconds of its limit."""

    level: float = 0.0
    at: float = 0.0

    def ask(self, now: float) -> float | None:
        rate = self.limit / self.per
        most = max(1.0, rate * self.saves)
        self.level = min(most, self.level + (now - self.at) * rate)
        self.at = now
        if self.level < 1:
            return (1 - self.level) / rate
        self.level -= 1
        return None


class Fixed(Rule):
    """Counts by the clock."""

    window: int = -1
    count: int = 0

    def ask(self, now: float) -> float | None:
        window = int(now // self.per)
        if window != self.window:
            self.window, self.count = window, 0
        if self.count >= self.limit:
            return (window + 1) * self.per - now
        self.count += 1
        return None


class InFlight(Rule):
    """Limits requests at once."""

    count: int = 0

    def ask(self, now: float) -> float | None:
        if self.count >= self.limit:
            return 0.0
        self.count += 1
        return None

    def end(self) -> None:
        self.count -= 1


RULES = {"none": Rule, "bucket": Bucket, "fixed": Fixed, "in_flight": InFlight}


class Listener:
    def __init__(self, index: int, log: BinaryIO, options: dict[str, Any]) -> None:
        self.index, self.log = index, log
        self.rule = RULES[options.get("rule", "none")](
            options.get("limit", 0), options.get("per", 6), options.get("saves", 1)
        )
        self.latency = options.get("latency", [0.0, 0.0])
        self.retry_after = options.get("retry_after", "none")
        self.random = random.Random(index)

    def refusal(self, wait: float) -> bytes:
        header = ""
        if wait > 0 and self.retry_after == "exact":
            header = f"retry-after-ms: {math.ceil(wait * 1000)}\r\n"
        elif wait > 0 and self.retry_after == "coarse":
            header = f"retry-after: {math.ceil(wait)}\r\n"
        body = b'{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}'
        return (
            f"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\n{header}content-length: {len(body)}\r\n\r\n"
        ).encode() + body


class Connection(asyncio.Protocol):
    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", self.received[: end + 2])
            whole = end + 4 + (int(length.group(1)) if length else 0)
            if len(self.received) < whole:
                return
            request, self.received = self.received[:whole], self.received[whole:]
            self.request(now, request)

    def request(self, now: float, request: bytes) -> None:
        listener = self.listener
        found = SIZE.search(request)
        size = int(found.group(1)) if found else 1
        number = NUMBER.search(request)
        wait = listener.rule.ask(now)
        status = 200 if wait is None else 429
        listener.log.write(RECORD.pack(now, listener.index, size, status, int(number[1]) if number else 0))
        if wait is not None:
            asyncio.get_running_loop().call_later(0.01, self.transport.write, listener.refusal(wait))
            return
        latency = listener.random.uniform(*listener.latency)
        if latency <= 0:
            self.answer(size)
        else:
            asyncio.get_running_loop().call_later(latency, self.answer, size)

    def answer(self, size: int) -> None:
        self.listener.rule.end()
        body = (
            b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant",'
            b'"content":"ok"},"finish_reason":"stop"}],"usage":{"prompt_tokens":%d,"completion_tokens":0,"total_tokens":%d}}'
            % (size, size)
        )
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        )


async def main() -> None:
    loop = asyncio.get_running_loop()
    with open(sys.argv[1], "wb", buffering=1 << 16) as log:
        listeners = [Listener(index, log, json.loads(text)) for index, text in enumerate(sys.argv[2:])]
        ports = []
        for listener in listeners:
            server = await loop.create_server(
                lambda listener=listener: Connection(listener), "127.0.0.1", 0, backlog=1024
            )
            ports.append(server.sockets[0].getsockname()[1])
        print(json.dumps(ports), flush=True)
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            change = json.loads(line)
            if "listener" in change:
                listeners[change["listener"]].rule.set(change["limit"])
            log.flush()
            print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
