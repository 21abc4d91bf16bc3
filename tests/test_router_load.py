"""Tests of a router under load: what it counts after cancellations, what a probe lets through, what a lost deployment moves."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from typing import Any

import pytest
from server import (
    MESSAGES,
    Answer,
    Close,
    Pause,
    Request,
    Reset,
    Server,
    Stall,
    chunk_of,
    completion_of,
    event,
    plain,
    stream_of,
    streamed,
)
from test_admission import until
from test_router import at, other

from ritellm import Client, RiteLLMError, Router

__all__ = ["other"]


def unused(router: Router) -> bool:
    """True if nothing is in flight, waits or is reserved anywhere."""
    statuses = router.status().values()
    limits = [status["limits"] for status in statuses if status["limits"]]
    held = [quota[name] for quota in limits for name in ("in_flight", "waiting", "reserved_tokens")]
    stats = router.stats()
    return not any([*(status["in_flight"] for status in statuses), *held, stats["in_flight"], stats["waiting"]])


@pytest.mark.parametrize("strategy", ["weighted", "least_busy"])
async def test_counts_are_exact_after_cancellations(server: Server, other: Server, strategy: str) -> None:
    chance = random.Random(16)
    begun = event(chunk_of({"content": "a"}))

    def script(request: Request) -> Answer:
        if request.wants_stream:
            streams = [
                streamed("ok"),
                stream_of(Close()),
                stream_of(begun, Close()),
                stream_of(begun, Stall()),
                Answer(500),
            ]
            return chance.choice(streams)
        refused = Answer(429, headers={"retry-after-ms": "5"})
        return chance.choice(
            [plain(), plain(), Answer(500), refused, Answer(before=[Reset()]), Answer(before=[Stall()])]
        )

    server.script = other.script = script
    router = Router(
        {
            "group": [
                at(server, f"a{time.monotonic_ns()}", max_in_flight=4, tpm=10_000_000),
                at(other, f"b{time.monotonic_ns()}", max_in_flight=4),
            ],
            "last": [at(other, "c")],
        },
        fallbacks={"group": ["last"]},
        client=Client(max_in_flight=12),
        strategy=strategy,
        breaker={"open_for": 0.01, "max_open_for": 0.02},
        cooldown={"first": 0.005, "max": 0.01},
        hedge={"after": 0.01, "budget": 0.5},
    )

    async def call(number: int) -> None:
        async def work() -> None:
            if number % 2:
                async for _ in await router.acompletion("group", MESSAGES, stream=True, timeout=1):
                    pass
            else:
                await router.acompletion("group", MESSAGES, timeout=1)

        with contextlib.suppress(asyncio.TimeoutError, RiteLLMError):
            await asyncio.wait_for(work(), 0.001 + chance.random() * 0.1)

    await asyncio.gather(*(call(number) for number in range(100)))
    await until(lambda: unused(router))


async def test_one_probe_while_a_breaker_is_half_open(server: Server, other: Server) -> None:
    server.answer(Answer(500))
    breaker = {"failures": 1, "open_for": 0.3}
    router = Router({"group": [at(server, "a", order=0), at(other, "b", order=1)]}, breaker=breaker)
    await router.acompletion("group", MESSAGES)
    assert router.status()["a"]["breaker"] == "open"
    server.answer(Answer(body=plain().body, before=[Pause(0.2)]))
    await asyncio.sleep(0.31)
    await asyncio.gather(*(router.acompletion("group", MESSAGES) for _ in range(30)))
    assert (len(server.requests), len(other.requests)) == (2, 30)
    assert router.status()["a"]["breaker"] == "closed"


def test_a_lost_deployment_moves_only_its_own_share(server: Server) -> None:
    lost: list[str] = []
    server.script = lambda request: Answer(500) if request.headers["authorization"][-2:] in lost else plain()
    router = Router({"group": [at(server, f"d{number}") for number in range(8)]}, strategy="affinity")

    def homes() -> dict[int, str]:
        found = {}
        for number in range(80):
            response = router.completion("group", [{"role": "system", "content": f"{number} " * 20}])
            found[number] = response.meta.attempts[-1].deployment
        return found

    before = homes()
    assert homes() == before
    assert set(before.values()) == {f"d{number}" for number in range(8)}
    lost.append("d3")
    homes()
    after = homes()
    moved = {number for number in before if before[number] != after[number]}
    assert moved == {number for number in before if before[number] == "d3"}


def test_event_loops_of_several_threads(server: Server) -> None:
    server.answer(plain())
    router = Router({"group": [at(server, f"t{time.monotonic_ns()}", max_in_flight=2)]})
    answers: list[Any] = []

    async def calls() -> None:
        answers.extend(await asyncio.gather(*(router.acompletion("group", MESSAGES) for _ in range(10))))

    threads = [threading.Thread(target=lambda: asyncio.run(calls())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [completion_of()] * 40
    assert unused(router)
