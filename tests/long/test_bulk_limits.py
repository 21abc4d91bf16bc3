"""Jobs at limits that change while they run, with a server that is a process of its own."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from limited import KEY, Processes, used

import ritellm

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

AT_FIRST, PER = 200, 1


@pytest.fixture
def processes() -> Iterator[Processes]:
    with Processes() as processes:
        yield processes


@pytest.mark.parametrize("is_declared", [False, True])
def test_a_limit_is_halved_while_a_job_runs(
    processes: Processes, tmp_path: pathlib.Path, is_declared: bool, record_property: Any
) -> None:
    """200 requests a second, then 100: no row is lost, few requests are refused, and what is left is used."""
    rule = {"rule": "bucket", "limit": AT_FIRST, "per": PER, "retry_after": "exact", "latency": [0.05, 0.2]}
    server = processes.serve(tmp_path, rule)
    limits: Any = {"openai": {"rps": AT_FIRST}} if is_declared else "adaptive"
    client = ritellm.Client(base_url=server.base_urls[0], api_key=KEY, limits=limits)
    rows = [{"text": f"row {number}"} for number in range(5000)]
    job = ritellm.bulk(rows, model="openai/m", prompt="{text}", client=client, max_attempts=1, out=tmp_path / "job")
    begun = time.monotonic()
    job.start()
    halved = begun + 15
    time.sleep(halved - time.monotonic())
    server.tell(listener=0, limit=AT_FIRST / 2)
    assert job.wait(120)
    ended = time.monotonic()
    assert job.failures() == [] and job.status()["done"] == 5000
    arrivals = server.arrivals()
    taken = [(at, 1) for at, _, status in arrivals if status == 200]
    assert len(taken) == 5000  # each row once
    refused = [at for at, _, status in arrivals if status == 429]
    late = [at for at in refused if at > halved + 5]
    before, after = used(taken, halved - 5, halved) / AT_FIRST, used(taken, halved + 5, ended - 1) / (AT_FIRST / 2)
    part = len(late) / sum(at > halved + 5 for at, _, _ in arrivals)
    kind = "declared" if is_declared else "learnt"
    figure = f"{kind}: used {before:.3f}, then {after:.3f}; refused {len(refused)}, {part:.4f} of those 5 s after"
    record_property("figure", figure)
    print(figure)
    assert before >= 0.9 and after >= 0.9
    # A limit that was declared is believed: each refusal pauses for as long as it says, and no longer.
    assert part <= (0.08 if is_declared else 0.02)
