"""The workload that `make profile` records for optimised wheels: a little of everything that is measured.

    python benches/train.py

To be run with a RiteLLM that was built to count (`-Cprofile-generate`); it writes what it counted when Python exits.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import bulk
import native
from driver import plain_call, run
from probes import PROBES
from scenarios import MODES
from variants import ALL

#: Client, mode, calls in flight, and number of calls.
CALLS = [
    ("ritellm", "plain", 64, 20_000),
    ("ritellm", "plain", 1, 2_000),
    ("ritellm", "burst", 64, 1_000),
    ("ritellm", "drip", 64, 300),
    # Few beside the plain ones, which shall not pay for them; without any, their code would be compiled for size, as is what
    # never runs here.
    ("ritellm", "tls", 64, 2_000),
    ("ritellm", "tls-burst", 64, 100),
    ("ritellm", "h2", 64, 2_000),
    ("ritellm", "h2-burst", 64, 100),
    ("declared", "plain", 64, 1_000),
    # Slow: it begins with a few calls a second.
    ("adaptive", "plain", 64, 500),
    ("host", "plain", 64, 1_000),
    ("redis", "plain", 64, 1_000),
    ("router", "plain", 64, 1_000),
    ("router-hedged", "plain", 64, 1_000),
    ("router-64", "plain", 64, 500),
]
PROBED = ("anthropic", "anthropic-stream", "gemini", "gemini-stream", "threads", "large", "vectors")
ROWS = 3_000


async def call(server: native.Server, name: str, mode: str, concurrency: int, count: int) -> None:
    kind = MODES[mode]
    client = ALL[name](f"{server.url(kind.port)}/{kind.knobs}/v1", server.ca if kind.port != "http" else None)
    await run(client.stream if kind.chunks else plain_call(client), count, concurrency)


def main() -> None:
    with native.server_with_tls(native.build_server()) as server, tempfile.TemporaryDirectory() as folder:
        os.environ["REDIS"] = server.redis
        for client, mode, concurrency, count in CALLS:
            if client != "redis" or server.redis:
                asyncio.run(call(server, client, mode, concurrency, count))
        for name in PROBED:
            PROBES[name]("ritellm", server.url())
        bulk.of_job(bulk.Bench(Path(folder), f"{server.url()}/{MODES['plain'].knobs}/v1", ROWS, 64), ROWS)


if __name__ == "__main__":
    main()
