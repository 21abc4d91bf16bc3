"""The workload that `make profile` records for optimised wheels: a little of everything that is measured.

    python benches/train.py

To be run with a RiteLLM that was built to count (`-Cprofile-generate`); it writes what it counted when Python exits.
"""

from __future__ import annotations

import asyncio

import native
from clients import CLIENTS
from driver import plain_call, run
from probes import PROBES
from scenarios import MODES

#: Mode, calls in flight, and number of calls.
CALLS = [("plain", 64, 20_000), ("plain", 1, 2_000), ("burst", 64, 1_000), ("drip", 64, 300)]
PROBED = ("anthropic", "anthropic-stream", "gemini", "gemini-stream", "threads", "large", "vectors")


async def call(url: str, mode: str, concurrency: int, count: int) -> None:
    client = CLIENTS["ritellm"](f"{url}/{MODES[mode].knobs}/v1", None)
    await run(plain_call(client) if mode == "plain" else client.stream, count, concurrency)


def main() -> None:
    with native.server(native.build_server()) as server:
        url = server.url()
        for mode, concurrency, count in CALLS:
            asyncio.run(call(url, mode, concurrency, count))
        for name in PROBED:
            PROBES[name]("ritellm", url)


if __name__ == "__main__":
    main()
