"""A long run of plain calls, streams that end in every way, and calls that fail, which must leave nothing behind.

    python tests/soak.py                                     a million calls, 100,000 streams, 20,000 failures
    python tests/soak.py --calls 20000 --streams 2000 --failures 600

After a warm-up of a twentieth of each, resident memory may not grow by more than ``--growth`` MB, and no file descriptor,
thread, task or call in flight may be left. Says so in JSON, line by line, and exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

CONCURRENCY = 64
MESSAGES = [{"role": "user", "content": "Hi"}]
CHUNKS = 10
#: What a call that is to fail says in its model's name, and what the server then does.
FAILURES = (
    "400",
    "429",
    "500",
    "closes",
    "resets",
    "stalls",
    "cut",
    "garbage",
    "refused",
    "stream-error",
    "stream-cut",
)


# ---- the server, in a process of its own


class Peer(asyncio.Protocol):
    """Answers as the request's model says; parses no more than that takes."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.buffer = b""

    def connection_lost(self, exception: Exception | None) -> None:
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, rest = self.buffer.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            self.answer(json.loads(rest[:length]))

    def answer(self, request: dict[str, Any]) -> None:
        kind = request["model"]
        if kind in ("closes", "refused"):
            self.transport.close()
        elif kind == "resets":
            self.transport.abort()
        elif kind == "stalls":
            pass
        elif kind.isdigit():
            self.reply(b'{"error": {"message": "no", "code": "x"}}', int(kind), b"retry-after-ms: 1\r\n")
        elif kind == "garbage":
            self.reply(b"<html>")
        elif kind == "cut":
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
            self.transport.close()
        elif request.get("stream"):
            self.stream(kind)
        else:
            self.reply(PLAIN)

    def reply(self, body: bytes, status: int = 200, headers: bytes = b"") -> None:
        head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
        self.transport.write(head % (status, headers, len(body)) + body)

    def stream(self, kind: str) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        chunk = (
            b'data: {"id": "c", "choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": null}]}\n\n'
        )
        last = b'data: {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
        ends = {"stream-error": b'data: {"error": {"message": "no"}}\n\n', "stream-cut": b"", "stream-stalls": b""}
        events = [chunk] * CHUNKS + [ends.get(kind, last)]
        self.transport.write(head + b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events if event))
        if kind == "stream-cut":
            self.transport.close()
        elif kind != "stream-stalls":
            self.transport.write(b"0\r\n\r\n")


PLAIN = json.dumps(
    {
        "id": "c",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 100}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }
).encode()


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


# ---- the client


class Soak:
    def __init__(self, port: int, growth: float) -> None:
        # Only here: the server's process needs nothing of it.
        import ritellm

        self.ritellm = ritellm
        self.growth = growth
        self.failed = False
        self.port = port
        self.client = ritellm.Client(
            api_key="k", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0, timeout={"idle": 20, "total": 60}
        )

    async def call(self, _number: int) -> None:
        response = await self.client.acompletion("openai/plain", MESSAGES)
        assert len(response.choices[0].message.content) == 500

    async def stream(self, number: int) -> None:
        way = ("finished", "broken off", "closed", "cancelled", "dropped")[number % 5]
        model = "openai/stream-stalls" if way == "cancelled" else "openai/stream"
        stream = await self.client.acompletion(model, MESSAGES, stream=True)

        async def read(most: int) -> int:
            count = 0
            async for _ in stream:
                count += 1
                if count == most:
                    break
            return count

        if way == "finished":
            assert await read(1000) == CHUNKS + 1
        elif way == "broken off":
            await read(3)
        elif way == "closed":
            await read(3)
            await stream.aclose()
        elif way == "cancelled":
            task = asyncio.ensure_future(read(1000))
            await asyncio.sleep(random.random() * 0.01)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def fail(self, number: int) -> None:
        kind = FAILURES[number % len(FAILURES)]
        params: dict[str, Any] = {"stream": kind.startswith("stream")}
        if kind == "stalls":
            params["timeout"] = {"total": 0.05}
        if kind == "refused":
            params["base_url"], params["api_key"] = "http://127.0.0.1:1/v1", "k"
        try:
            stream = await self.client.acompletion(f"openai/{kind}", MESSAGES, **params)
            async for _ in stream:
                pass
        except self.ritellm.RiteLLMError:
            return
        raise AssertionError(f"{kind} did not fail")

    def sync(self, count: int) -> None:
        """Some of the calls from threads."""

        def work() -> None:
            for _ in range(count // 8):
                self.client.completion("openai/plain", MESSAGES)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    async def many(self, work: Callable[[int], Awaitable[None]], count: int) -> None:
        numbers = iter(range(count))

        async def worker() -> None:
            for number in numbers:
                await work(number)

        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))

    def measure(self, name: str, run: Callable[[int], None], count: int) -> None:
        run(max(count // 20, 500))
        before = self.settled()
        began = time.monotonic()
        run(count)
        seconds = time.monotonic() - began
        after = self.settled()
        left = {key: after[key] - before[key] for key in ("descriptors", "threads", "in_flight")}
        grown = after["memory"] - before["memory"]
        good = grown < self.growth and max(left.values()) <= 0
        self.failed |= not good
        print(
            json.dumps(
                {
                    "what": name,
                    "count": count,
                    "seconds": round(seconds, 1),
                    "grown_mb": round(grown, 2),
                    "left": left,
                    "good": good,
                }
            ),
            flush=True,
        )

    def settled(self) -> dict[str, float]:
        """Memory in MB, open descriptors but those of idle connections, threads, calls in flight."""
        end = time.monotonic() + 10
        # A thread that was joined has left Python, and may not have left the system; the network's is none of Python's.
        while (
            self.client.stats()["in_flight"] or len(os.listdir("/proc/self/task")) > threading.active_count() + 1
        ) and time.monotonic() < end:
            time.sleep(0.05)
        gc.collect()
        stats = self.client.stats()
        with open("/proc/self/statm") as file:
            memory = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        return {
            "memory": memory,
            "descriptors": len(os.listdir("/proc/self/fd")) - stats["connections_open"],
            "threads": len(os.listdir("/proc/self/task")),
            "in_flight": stats["in_flight"],
        }

    def in_loop(self, work: Callable[[int], Awaitable[None]]) -> Callable[[int], None]:
        def run(count: int) -> None:
            async def main() -> None:
                await self.many(work, count)
                # Whatever was cancelled has been heard of.
                await asyncio.sleep(0)
                assert len(asyncio.all_tasks()) == 1, "tasks are left"

            asyncio.run(main())

        return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--streams", type=int, default=100_000)
    parser.add_argument("--failures", type=int, default=20_000)
    parser.add_argument("--growth", type=float, default=2.0, help="MB of memory that each part may grow by")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return 0
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stdin is not None
        soak = Soak(int(server.stdout.readline()), options.growth)
        soak.measure("calls", soak.in_loop(soak.call), options.calls)
        soak.measure("calls from threads", soak.sync, options.calls // 10)
        soak.measure("streams", soak.in_loop(soak.stream), options.streams)
        soak.measure("failures", soak.in_loop(soak.fail), options.failures)
        server.stdin.close()
    return int(soak.failed)


if __name__ == "__main__":
    sys.exit(main())
