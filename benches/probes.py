"""Measures one program with something other than plain calls and streams, in this fresh process; prints one JSON line.

    python probes.py numpy --client ritellm --url http://127.0.0.1:PORT

Each probe is a function that takes the client's name and the server's URL and returns the figure that `goals.py`
compares: CPU µs a call unless its docstring says something else. What came back is checked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from clients import CLIENTS, KEY, REQUEST, Tally
from driver import cpu_seconds, run
from machine import raise_open_files_limit
from variants import VARIANTS

MESSAGES = REQUEST["messages"]
TEXTS = ["The blade of my hedge trimmer stops."] * 256
DIMENSIONS = 1536
TWO_MB = 2_000_000
PICTURE = [
    {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * (TWO_MB // 11)}}
        ],
    }
]


async def cost_of(call: Callable[[], Awaitable[Any]], concurrency: int, calls: int, warmup: int) -> float:
    async def counted(tally: Tally) -> None:
        await call()

    await run(counted, warmup, concurrency)
    before = cpu_seconds()
    await run(counted, calls, concurrency)
    return (cpu_seconds() - before) * 1e6 / calls


# ---- Native wires ----


def wire(model: str, path: str, stream: bool) -> Callable[[str, str], float]:
    """Measures a plain or streamed call of one wire format; for streams, the CPU time per chunk."""

    def measure(client: str, url: str) -> float:
        from ritellm import acompletion

        arguments = {"model": model, "messages": MESSAGES, "base_url": f"{url}/s600-n100{path}", "api_key": KEY}
        chunks = 0

        async def plain() -> None:
            response = await acompletion(**arguments)
            assert len(response["choices"][0]["message"]["content"]) == 600

        async def streamed() -> None:
            nonlocal chunks
            length = 0
            async for chunk in await acompletion(**arguments, stream=True):
                for choice in chunk["choices"]:
                    length += len(choice["delta"].get("content") or "")
            assert length == 600
            chunks += 100

        if stream:
            return asyncio.run(cost_of(streamed, 64, 2000, 64)) / 100
        return asyncio.run(cost_of(plain, 64, 30_000, 640))

    return measure


# ---- Large bodies, vectors ----


def large(client: str, url: str) -> float:
    """Measures requests of 2 MB (an image as base64) with responses of 2 MB, 4 at a time."""
    base_url = f"{url}/s{TWO_MB}/v1"
    if client == "ritellm":
        from ritellm import acompletion

        async def call() -> None:
            response = await acompletion("openai/gpt-4o-mini", PICTURE, base_url=base_url, api_key=KEY)
            assert len(response["choices"][0]["message"]["content"]) == TWO_MB

        return asyncio.run(cost_of(call, 4, 100, 8))

    async def measure() -> float:
        post = posts_of_aiohttp(f"{base_url}/chat/completions")

        async def call() -> None:
            answer = await post({"model": "gpt-4o-mini", "messages": PICTURE})
            assert len(answer["choices"][0]["message"]["content"]) == TWO_MB

        return await cost_of(call, 4, 100, 8)

    return asyncio.run(measure())


def vectors(output: str) -> Callable[[str, str], float]:
    """256 vectors of 1536 floats."""

    def measure(client: str, url: str) -> float:
        base_url = f"{url}/e{len(TEXTS)}-w{DIMENSIONS}/v1"
        if client == "ritellm":
            # numpy's idle thread spins for a while after its import, which is not a cost of the call.
            os.environ["OPENBLAS_NUM_THREADS"] = "1"
            from ritellm import aembedding

            async def call() -> None:
                response = await aembedding("openai/m", TEXTS, base_url=base_url, api_key=KEY, output=output)
                assert len(response.embeddings) == len(TEXTS)
                assert len(response.embeddings[-1]) == DIMENSIONS

            return asyncio.run(cost_of(call, 2, 200, 8))

        async def of_aiohttp() -> float:
            post = posts_of_aiohttp(f"{base_url}/embeddings")

            async def call() -> None:
                answer = await post({"model": "m", "input": TEXTS})
                assert len(answer["data"]) == len(TEXTS)
                assert len(answer["data"][-1]["embedding"]) == DIMENSIONS

            return await cost_of(call, 2, 60, 4)

        return asyncio.run(of_aiohttp())

    return measure


def posts_of_aiohttp(url: str) -> Callable[[Any], Awaitable[Any]]:
    """Returns a function that posts and reads JSON with aiohttp and orjson; to be called in the event loop that uses it."""
    import aiohttp
    import orjson

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), headers={"content-type": "application/json"}
    )

    async def post(body: Any) -> Any:
        async with session.post(url, data=orjson.dumps(body)) as response:
            response.raise_for_status()
            return orjson.loads(await response.read())

    return post


# ---- Threads ----


def threads(client: str, url: str) -> float:
    """Measures calls of `completion` from 32 threads."""
    from ritellm import completion

    calls, width = 20_000, 32

    def work(count: int) -> None:
        for _ in range(count):
            response = completion(
                "openai/gpt-4o-mini", MESSAGES, base_url=f"{url}/s600/v1", api_key=KEY, temperature=0.2
            )
            assert len(response["choices"][0]["message"]["content"]) == 600

    with ThreadPoolExecutor(width) as pool:
        list(pool.map(work, [20] * width))
        before = cpu_seconds()
        list(pool.map(work, [calls // width] * width))
        return (cpu_seconds() - before) * 1e6 / calls


def tasks(client: str, url: str) -> float:
    """Measures the same calls with `acompletion`, 32 at a time."""
    from ritellm import acompletion

    async def call() -> None:
        response = await acompletion(
            "openai/gpt-4o-mini", MESSAGES, base_url=f"{url}/s600/v1", api_key=KEY, temperature=0.2
        )
        assert len(response["choices"][0]["message"]["content"]) == 600

    return asyncio.run(cost_of(call, 32, 20_000, 640))


def beside(client: str, url: str) -> float:
    """Measures the milliseconds that a thread of pure Python adds to a call, with 64 in flight (median).

    At one at a time it is one switch interval of the interpreter's for everybody.
    """

    async def latency(calls: int) -> float:
        taken = []

        async def work() -> None:
            for _ in range(calls):
                started = time.perf_counter()
                assert len(await caller.plain()) == 600
                taken.append((time.perf_counter() - started) * 1e3)

        await asyncio.gather(*(work() for _ in range(64)))
        return statistics.median(taken)

    async def both() -> float:
        nonlocal caller
        caller = CLIENTS[client](f"{url}/s600/v1", None)
        await latency(3)
        alone = await latency(30)
        over = threading.Event()

        def busy() -> None:
            while not over.is_set():
                sum(range(1000))

        thread = threading.Thread(target=busy)
        thread.start()
        try:
            return await latency(15) - alone
        finally:
            over.set()
            thread.join()

    caller: Any = None
    return asyncio.run(both())


# ---- Memory and size ----


def in_flight(client: str, url: str) -> float:
    """Measures the memory in kB of each of 10,000 calls that wait for a response, all of which arrive."""
    from ritellm import acompletion

    count = 10_000

    async def call(delay: int) -> int:
        response = await acompletion("openai/m", MESSAGES, base_url=f"{url}/d{delay}-s600/v1", api_key=KEY, timeout=120)
        return len(response["choices"][0]["message"]["content"])

    async def measure() -> float:
        raise_open_files_limit(count + 500)
        await call(0)
        before = status("VmRSS")
        answers = await asyncio.gather(*(call(2000) for _ in range(count)))
        assert answers == [600] * count
        return (status("VmHWM") - before) / count

    return asyncio.run(measure())


def million(client: str, url: str) -> float:
    """Measures the growth of memory in MB between the 50,000th and the 1,000,000th call."""
    caller = CLIENTS["ritellm"](f"{url}/s600/v1", None)

    async def call(tally: Tally) -> None:
        answer = await caller.plain()
        tally.characters += len(answer)

    async def measure() -> float:
        await run(call, 50_000, 64)
        before = status("VmRSS")
        tally = await run(call, 950_000, 64)
        assert tally.characters == 950_000 * 600
        return (status("VmRSS") - before) / 1024

    return asyncio.run(measure())


def first_call(client: str, url: str) -> float:
    """Measures the MB that the package and a first call add to a program that has run an event loop."""

    async def nothing() -> None:
        pass

    asyncio.run(nothing())
    before = status("VmRSS")
    from ritellm import acompletion

    asyncio.run(acompletion("openai/m", MESSAGES, base_url=f"{url}/s600/v1", api_key=KEY))
    return (status("VmRSS") - before) / 1024


def redis_round_trips(client: str, url: str) -> float:
    """Returns the number of calls for each command that the Redis got, at about 1,000 calls a second."""
    limited = VARIANTS["redis"](f"{url}/s600/v1", None)
    seconds, each = 5, 20

    async def calls() -> None:
        begin = time.monotonic()
        for number in range(seconds * 1_000 // each):
            await asyncio.sleep(max(0.0, begin + number * each / 1_000 - time.monotonic()))
            await asyncio.gather(*(limited.plain() for _ in range(each)))

    async def measure() -> float:
        await limited.plain()
        before = redis_commands()
        await calls()
        # Itself, too.
        commands = redis_commands() - before - 1
        assert commands > 0, "the Redis was not asked"
        return seconds * 1_000 / commands

    return asyncio.run(measure())


def redis_commands() -> int:
    """Returns the number of commands that the Redis at `$REDIS` has processed."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ["REDIS"].removeprefix("redis+unix://"))
        connection.sendall(b"INFO stats\r\n")
        text = b""
        while b"total_commands_processed:" not in text or not text.endswith(b"\n"):
            text += connection.recv(65536)
    return int(text.partition(b"total_commands_processed:")[2].split()[0])


def status(name: str) -> int:
    """Returns a value of /proc/self/status in kB."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{name}:")[2].split()[0])


PROBES: dict[str, Callable[[str, str], float]] = {
    "openai": wire("openai/gpt-4o-mini", "/v1", stream=False),
    "openai-stream": wire("openai/gpt-4o-mini", "/v1", stream=True),
    "anthropic": wire("anthropic/claude-sonnet-4-5", "", stream=False),
    "anthropic-stream": wire("anthropic/claude-sonnet-4-5", "", stream=True),
    "gemini": wire("gemini/gemini-2.5-flash", "", stream=False),
    "gemini-stream": wire("gemini/gemini-2.5-flash", "", stream=True),
    "large": large,
    "vectors": vectors("list"),
    "numpy": vectors("numpy"),
    "threads": threads,
    "tasks": tasks,
    "beside": beside,
    "in-flight": in_flight,
    "million": million,
    "redis-round-trips": redis_round_trips,
    "first-call": first_call,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("probe", choices=PROBES)
    parser.add_argument("--client", default="ritellm")
    parser.add_argument("--url", required=True)
    options = parser.parse_args()
    print(json.dumps({"figure": PROBES[options.probe](options.client, options.url)}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
