"""A process that makes calls as fast as its limits allow, for tests of limits.

    python limited_worker.py OPTIONS          as JSON: see `main`

With the option `log`, it appends the number and the time of admission (time.monotonic()) of each call that was answered to
that file.

It prints `ready`, begins with a line on its standard input, and ends with a line of JSON: the outcomes of its calls, the longest
one, and its log.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import logging
import os
import random
import struct
import sys
import threading
import time
from typing import Any

from ritellm import Client, Limit, Limits

RECORD = struct.Struct("<Qd")


def make(options: dict[str, Any], base_url: str) -> Client:
    limits = options["limits"]
    if isinstance(limits, dict):
        limits = {
            model: [Limit(**limit) for limit in declared] if isinstance(declared, list) else Limit(**declared)
            for model, declared in limits.items()
        }
    return Client(
        base_url=base_url,
        api_key=options["api_key"],
        limits=Limits(limits, **options.get("share", {})),
        max_retries=options.get("max_retries", 0),
        **options.get("client", {}),
    )


def child(options: dict[str, Any], client: Client, end: float) -> None:
    """Makes calls in a forked child, whose client is its parent's."""

    def calls() -> None:
        while time.monotonic() < end:
            with contextlib.suppress(Exception):
                client.completion(
                    "openai/m", [{"role": "user", "content": "size=1 xxxx"}], timeout=options.get("timeout", 60)
                )

    for _ in range(options.get("at_once", 10)):
        threading.Thread(target=calls, daemon=True).start()
    time.sleep(max(0.0, end - time.monotonic()))
    os._exit(0)


async def main() -> None:
    options = json.loads(sys.argv[1])
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.levelname}: {record.getMessage()}")

    logging.getLogger("ritellm").addHandler(Lines())
    logging.getLogger("ritellm").setLevel(logging.INFO)
    chance = random.Random(options.get("seed", 0))
    outcomes: collections.Counter[str] = collections.Counter()
    longest = 0.0
    least, most = options.get("sizes", [1, 1])
    clients = [make(options, base_url) for base_url in options["base_urls"]]
    end = time.monotonic() + options["seconds"]
    log = os.open(options["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if "log" in options else None
    # Numbers of calls differ from those of other processes.
    count = os.getpid() << 32

    async def caller(client: Client) -> None:
        nonlocal longest, count
        while time.monotonic() < end:
            size = chance.randint(least, most)
            count += 1
            number = count
            text = f"size={size} number={number} " if log is not None else f"size={size} "
            messages = [{"role": "user", "content": text + "x" * (4 * size)}]
            begun = time.monotonic()
            try:
                response = await client.acompletion("openai/m", messages, timeout=options.get("timeout", 60))
                outcomes["ok"] += 1
                if log is not None:
                    last = response.meta.attempts[-1]
                    os.write(log, RECORD.pack(number, begun + last.started + last.waited))
            except asyncio.CancelledError:
                raise
            except Exception as error:
                outcomes[type(error).__name__] += 1
                if outcomes[type(error).__name__] == 1:
                    lines.append(f"first {type(error).__name__}: {error}")
                await asyncio.sleep(0.02)
            longest = max(longest, time.monotonic() - begun)

    tasks = [asyncio.ensure_future(caller(client)) for client in clients for _ in range(options.get("at_once", 10))]
    if options.get("forks"):
        await asyncio.sleep(options["forks"])
        if os.fork() == 0:
            child(options, clients[0], end)
    await asyncio.wait(tasks, timeout=options["seconds"] + options.get("patience", 0.5))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps({"outcomes": outcomes, "longest": longest, "lines": lines}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    print("ready", flush=True)
    if sys.stdin.readline():
        asyncio.run(main())
