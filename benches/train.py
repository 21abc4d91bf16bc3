"""The workload that `make profile` records for optimised wheels: a little of everything that is measured.

    python benches/train.py

To be run with a RiteLLM that was built to count (`-Cprofile-generate`); it writes what it counted when Python exits.
"""

from __future__ import annotations

import asyncio

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
    # Few beside the plain ones, which shall not pay for them; without any, their code would be compiled to be small.
    ("declared", "plain", 64, 1_000),
    # Slow: it begins with a few calls a second.
    ("adaptive", "plain", 64, 500),
    ("host", "plain", 64, 1_000),
    ("router", "plain", 64, 1_000),
    ("router-hedged", "plain", 64, 1_000),
    ("router-64", "plain", 64, 500),
]
PROBED = ("anthropic", "anthropic-stream", "gemini", "gemini-stream", "threads", "large", "vectors")


async def call(url: str, name: str, mode: str, concurrency: int, count: int) -> None:
    client = ALL[name](f"{url}/{MODES[mode].knobs}/v1", None)
    await run(plain_call(client) if mode == "plain" else client.stream, count, concurrency)


def main() -> None:
    with native.server(native.build_server()) as server:
        url = server.url()
        for client, mode, concurrency, count in CALLS:
            asyncio.run(call(url, client, mode, concurrency, count))
        for name in PROBED:
            PROBES[name]("ritellm", url)


if __name__ == "__main__":
    main()
