"""A Redis that is frozen, slow, restarted or gone: no call waits for it, and its processes join it again by themselves."""

from __future__ import annotations

import itertools
import pathlib
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from limited import Processes, Proxy, Redis, most_in, used

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture
def processes() -> Iterator[Processes]:
    with Processes() as processes:
        yield processes


class Away:
    """How a Redis goes, and how it comes back."""

    def __init__(self, redis: Redis, proxy: Proxy) -> None:
        self.redis, self.proxy = redis, proxy

    def frozen(self, is_away: bool) -> None:
        self.redis.signal(signal.SIGSTOP if is_away else signal.SIGCONT)

    def slow(self, is_away: bool) -> None:
        self.proxy.delay = 0.3 if is_away else 0.0

    def gone(self, is_away: bool) -> None:
        if is_away:
            self.redis.stop()
        else:
            self.redis.start()

    def cut(self, is_away: bool) -> None:
        if is_away:
            self.proxy.cut()
        else:
            self.proxy.is_open = True


@pytest.mark.parametrize("how", ["frozen", "slow", "gone", "cut"])
def test_each_keeps_to_its_share(processes: Processes, tmp_path: pathlib.Path, how: str, record_property: Any) -> None:
    redis = processes.redis()
    proxy = Proxy(processes, redis.port)
    away = Away(redis, proxy)
    server = processes.serve(tmp_path, {"latency": [0.01, 0.05]})
    options: dict[str, Any] = {
        "base_urls": server.base_urls,
        "limits": {"openai": {"requests": 200, "per": 2}},
        "share": {"share": f"redis://127.0.0.1:{proxy.port}/0", "when_down": 0.25},
        "at_once": 10,
        "seconds": 24,
    }
    workers = [processes.worker(seed=seed, **options) for seed in range(2)]
    for worker in workers:
        worker.go()
    begun = time.monotonic()
    time.sleep(8)
    getattr(away, how)(True)
    time.sleep(8)
    getattr(away, how)(False)
    results = [worker.result() for worker in workers]
    arrivals = [(at, 1) for at, _, _ in server.arrivals()]
    before, while_away, after = (
        used(arrivals, begun + a, begun + b) / 100 for a, b in ((2, 8.1), (11, 15.08), (19.5, 23.58))
    )
    most = most_in(arrivals, 1.95) / 200
    gap = max(b[0] - a[0] for a, b in itertools.pairwise(arrivals))
    record_property(
        "figure", f"Redis {how}: used {before:.2f}, {while_away:.2f}, {after:.2f}, most {most:.3f}, gap {gap:.2f} s"
    )
    print(how, before, while_away, after, most, gap, results)
    assert most <= 1
    assert before >= 0.94
    # Two processes with a quarter each.
    assert 0.45 <= while_away <= 0.53
    assert after >= 0.93
    # Nobody waits for the Redis; each waits until what it used itself has left its own quarter of the window.
    assert gap < 2.5
    for result in results:
        assert set(result["outcomes"]) == {"ok"}
        assert len(result["lines"]) == 2, result["lines"]
        gone, back = result["lines"]
        assert "gone" in gone
        assert "back" in back


@pytest.mark.parametrize("when_down", ["wait", "error", 0.25])
@pytest.mark.parametrize("how", ["frozen", "gone", "slow"])
def test_what_happens_when_it_is_down(processes: Processes, tmp_path: pathlib.Path, how: str, when_down: Any) -> None:
    """From the beginning: nobody has had an answer of it."""
    redis = processes.redis()
    proxy = Proxy(processes, redis.port)
    getattr(Away(redis, proxy), how)(True)
    server = processes.serve(tmp_path, {})
    worker = processes.worker(
        base_urls=server.base_urls,
        limits={"openai": {"requests": 40, "per": 2}},
        share={"share": f"redis://127.0.0.1:{proxy.port}/0", "when_down": when_down},
        at_once=2,
        seconds=8,
    )
    worker.go()
    begun = time.monotonic()
    time.sleep(5)
    count = len(server.arrivals())
    getattr(Away(redis, proxy), how)(False)
    result = worker.result()
    arrivals = server.arrivals()
    print(how, when_down, count, len(arrivals), result)
    if when_down == 0.25:
        assert 10 <= count <= 31
        assert arrivals[0][0] - begun < 1
    else:
        assert count == 0
    assert len(arrivals) - count >= 15
    if when_down == "error":
        assert result["outcomes"]["APIConnectionError"] > 0
        assert any("when_down" in line for line in result["lines"])
    else:
        assert set(result["outcomes"]) == {"ok"}
