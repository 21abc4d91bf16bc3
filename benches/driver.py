"""Run one client at one setting in this fresh process and print one JSON line about it.

    python driver.py --client aiohttp --mode plain --concurrency 64 --calls 5000 --url BASE_URL

A closed loop: each of the workers awaits one call after another until the count is done. CPU time
is this process's own, all threads, measured after the warm-up calls; memory is its peak.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from clients import Client, Tally
from variants import ALL

Call = Callable[[Tally], Awaitable[None]]


def main() -> None:
    options = parse_arguments()
    print(json.dumps(asyncio.run(measure(options))), flush=True)
    # Skip the interpreter's shutdown: it is not measured, and liter-llm 2.4 aborts in it.
    os._exit(0)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--client", choices=ALL, required=True)
    parser.add_argument("--mode", choices=("plain", "stream", "threads"), default="plain")
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--warmup", type=int, default=0)
    parser.add_argument("--url", required=True, help="base URL, as the openai SDK takes it")
    parser.add_argument("--ca", help="PEM file of the authority to believe, for https")
    return parser.parse_args()


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    client = ALL[options.client](options.url, options.ca)
    if options.mode == "threads":
        pool = ThreadPoolExecutor(options.concurrency)
        run_calls = partial(run_in_threads, client, pool)
    else:
        call = client.stream if options.mode == "stream" else plain_call(client)
        run_calls = partial(run, call, concurrency=options.concurrency)
    await run_calls(options.warmup)
    cpu, wall = cpu_seconds(), time.perf_counter()
    tally = await run_calls(options.calls)
    return {
        "client": options.client,
        "calls": options.calls,
        "chunks": tally.chunks,
        "characters": tally.characters,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": cpu_seconds() - cpu,
        "max_rss_kb": peak_memory_kb(),
    }


def plain_call(client: Client) -> Call:
    async def call(tally: Tally) -> None:
        answer = await client.plain()
        tally.characters += len(answer)

    return call


async def run(call: Call, count: int, concurrency: int) -> Tally:
    tally = Tally()
    numbers = iter(range(count))

    async def work() -> None:
        for _ in numbers:
            await call(tally)

    await asyncio.gather(*(work() for _ in range(concurrency)))
    return tally


async def run_in_threads(client: Client, pool: ThreadPoolExecutor, count: int) -> Tally:
    """Makes calls with `ThreadPoolExecutor.map`, as a program without an event loop does."""
    return Tally(characters=sum(len(answer) for answer in pool.map(lambda _: client.blocking(), range(count))))


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_memory_kb() -> int:
    """Return the most memory ever resident.

    Linux lets a child start with its parent's `ru_maxrss`, so the process's own high-water mark is
    preferred where there is one.
    """
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
