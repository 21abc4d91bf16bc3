"""Measures answers that are kept: CPU µs of a hit in memory, of a hit over the building of its objects, and of one call for many.

    python benches/cache.py

The limit is that of the cache's issue: a hit in memory takes 3 µs more than building its objects, of requests of 1 kB. Run it with a
release build. The exit code is 1 if the limit is exceeded.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Callable
from typing import Any

from ritellm import Cache, ChatCompletion, Client
from ritellm.testing import MockServer

ROUNDS = 15
HITS = 2000
CALLERS = 2000
MESSAGES = [{"role": "user", "content": "word " * 200}]
MODEL = "openai/gpt-4o-mini"
MOST = 3.0


def cpu_of(function: Callable[[], Any], count: int) -> float:
    """Returns the CPU µs of a run of `function`, which does a thing `count` times: the least of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_SELF)
        function()
        after = resource.getrusage(resource.RUSAGE_SELF)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        best = min(best, spent / count)
    return best * 1e6


def hits(client: Client) -> float:
    """CPU µs of a call whose answer is in memory."""

    def run() -> None:
        for _ in range(HITS):
            client.completion(MODEL, MESSAGES)

    client.completion(MODEL, MESSAGES)
    return cpu_of(run, HITS)


def objects(text: str) -> float:
    """CPU µs of reading an answer's JSON into its objects."""

    def run() -> None:
        for _ in range(HITS):
            ChatCompletion.from_json(text)

    return cpu_of(run, HITS)


def many(client: Client) -> float:
    """CPU µs of a caller that waits for the call of another."""
    number = 0

    async def together() -> None:
        nonlocal number
        number += 1
        messages = [*MESSAGES, {"role": "user", "content": str(number)}]
        await asyncio.gather(*(client.acompletion(MODEL, messages) for _ in range(CALLERS)))

    return cpu_of(lambda: asyncio.run(together()), CALLERS)


def main() -> int:
    with MockServer(intercept=False) as server:
        server.reply("Hello there, world! " * 40)
        given: dict[str, Any] = {"base_url": f"{server.url}/v1", "api_key": "sk-bench", "allow_http": True}
        client = Client(cache=Cache.memory(), **given)
        text = client.completion(MODEL, MESSAGES).to_json()
        hit, built, joined = hits(client), objects(text), many(client)
    print(f"a hit in memory        {hit:6.2f} µs")
    print(f"its objects            {built:6.2f} µs")
    print(f"a hit over its objects {hit - built:6.2f} µs of {MOST:.0f}")
    print(f"one of {CALLERS} callers of one call {joined:6.2f} µs")
    return int(hit - built > MOST)


if __name__ == "__main__":
    sys.exit(main())
