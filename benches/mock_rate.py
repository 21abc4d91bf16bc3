"""Compares the wheel's mock server with the benchmark's: calls a second of one client beside each, plain and streamed.

    python benches/mock_rate.py

Each server is a process of its own and answers with 20 characters, a stream in five pieces; rounds alternate between the two. The
limit is that of the test kit's issue: at least as many calls a second beside the client as beside the benchmark's. Run it with a
release build. The exit code is 1 if the wheel's has fewer, by the median of the rounds' ratios.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from contextlib import ExitStack

import native

from ritellm import Client

ROUNDS = 15
CALLS = {"plain": 4000, "streamed": 2000}
CONCURRENCY = 64
MESSAGES = [{"role": "user", "content": "word " * 20}]
MODEL = "openai/gpt-4o-mini"


async def rate(client: Client, kind: str, calls: int) -> float:
    """Returns the number of calls a second."""
    left = iter(range(calls))

    async def caller() -> None:
        for _ in left:
            answer = await client.acompletion(MODEL, MESSAGES, stream=kind == "streamed")
            if kind == "streamed":
                async for _ in answer:
                    pass

    begin = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
    return calls / (time.perf_counter() - begin)


async def measure(urls: dict[str, str]) -> bool:
    """Prints the rates; returns true if the wheel's are no lower."""
    clients = {name: Client(base_url=url, api_key="k", max_retries=0) for name, url in urls.items()}
    is_enough = True
    for kind, calls in CALLS.items():
        for client in clients.values():
            await rate(client, kind, calls // 4)
        rates: dict[str, list[float]] = {name: [] for name in clients}
        for number in range(ROUNDS):
            for name in sorted(clients, reverse=number % 2 == 1):
                rates[name].append(await rate(clients[name], kind, calls))
        ratio = statistics.median(one / other for one, other in zip(rates["wheel"], rates["bench"], strict=True))
        shown = ", ".join(f"{name} {statistics.median(values):,.0f}" for name, values in rates.items())
        print(f"{kind}: calls a second, median of {ROUNDS}: {shown}; ratio {ratio:.3f}", flush=True)
        is_enough &= ratio >= 1
    return is_enough


def main() -> int:
    program = native.build()[native.SERVER]
    with ExitStack() as stack:
        bench = stack.enter_context(native.server(program)).url()
        wheel = stack.enter_context(native.wheels_server())
        return 0 if asyncio.run(measure({"bench": f"{bench}/s20-n5/v1", "wheel": f"{wheel}/v1"})) else 1


if __name__ == "__main__":
    sys.exit(main())
