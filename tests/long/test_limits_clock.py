"""The clock is set forward or back by an hour, and limits hold."""

from __future__ import annotations

import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from limited import Processes, Redis, host_share, most_in, used
from preloaded import CLOCK, Clock, compiled

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="LD_PRELOAD"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return compiled("clock", CLOCK, tmp_path_factory.mktemp("clock"))


@pytest.fixture
def processes() -> Iterator[Processes]:
    with Processes() as processes:
        yield processes


@pytest.mark.parametrize("seconds", [3600, -3600])
@pytest.mark.parametrize(
    "kind", ["host", "redis, of the processes", "redis, of one process", "redis, of the server", "redis, of all"]
)
def test_a_clock_is_set(
    processes: Processes, library: pathlib.Path, tmp_path: pathlib.Path, kind: str, seconds: int, record_property: Any
) -> None:
    ours, theirs = Clock(library, tmp_path / "ours"), Clock(library, tmp_path / "theirs")
    server = processes.serve(tmp_path, {"latency": [0.02, 0.1]})
    if kind == "host":
        share = processes.enter_context(host_share())
    else:
        share = Redis(processes, (), theirs.environment).url
    options: dict[str, Any] = {
        "base_urls": server.base_urls,
        "limits": {"openai": {"requests": 300, "per": 3}},
        "share": {"share": share},
        "at_once": 20,
        "seconds": 24,
    }
    workers = [
        processes.worker(
            ours.environment if kind != "redis, of one process" or seed == 0 else None, seed=seed, **options
        )
        for seed in range(2)
    ]
    for worker in workers:
        worker.go()
    begun = time.monotonic()
    for at, shift in ((8, seconds), (15, 0)):
        time.sleep(begun + at - time.monotonic())
        if kind != "redis, of the server":
            ours.set(shift)
        if kind in ("redis, of the server", "redis, of all"):
            theirs.set(shift)
    results = [worker.result() for worker in workers]
    arrivals = [(at, 1) for at, _, _ in server.arrivals()]
    most, rate = most_in(arrivals, 2.95) / 300, used(arrivals, begun + 3, begun + 24) / 100
    record_property("figure", f"clock set by {seconds} s, {kind}: most {most:.3f}, used {rate:.3f}")
    print(kind, seconds, round(most, 4), round(rate, 4), results)
    assert most <= 1
    # A store whose own clock jumps has to be joined again, twice.
    assert rate >= (0.95 if kind != "redis, of the server" and kind != "redis, of all" else 0.85)
    for result in results:
        assert set(result["outcomes"]) == {"ok"}
