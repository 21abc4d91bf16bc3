"""Ray, Dask and Spark: workers that are killed, tasks that run twice, calls in flight over time, a quota that all share."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from limited import Processes, most_in
from test_engines import HERE, KEY, Log, run_on

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def with_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_A_TEST", KEY)


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    """Installs what only these tests need where it is not there: Spark, which has 435 MB, and what draws the picture."""
    for name, requirement in (("pyspark", "pyspark>=4"), ("matplotlib", "matplotlib>=3.9")):
        if importlib.util.find_spec(name) is None:
            subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", requirement], check=True)


Serve = Callable[[float, float], Log]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    processes = []

    def serve(latency: float, tail: float) -> Log:
        path = tmp_path / "log.jsonl"
        path.touch()
        command = [sys.executable, str(HERE / "engine_server.py"), str(path), str(latency), str(tail)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        return Log(f"http://127.0.0.1:{int(process.stdout.readline())}/v1", path)

    yield serve
    for process in processes:
        process.kill()
        process.communicate()


def in_flight(records: list[Any]) -> float:
    """Returns the mean of calls in flight over the time from the first call to the beginning of the last one."""
    begin, end = min(record[0] for record in records), max(record[0] for record in records)
    return float(sum(min(record[1], end) - record[0] for record in records) / (end - begin))


def workers_of(log: Log) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for record in log.read():
        found.setdefault(record[2], []).append(record)
    return found


RUNS: dict[str, Any] = {
    "ray": lambda log: run_on("ray_job", log.base_url, str(log.path), "4000", "2", "16", "0"),
    "dask": lambda log: run_on("dask_job", log.base_url, str(log.path), "4000", "2", "16", "0"),
    # A partition for each slot: the end of one waits for its last answers.
    "spark": lambda log: run_on("spark_job", log.base_url, str(log.path), "4000", "local[2]", "16", "0", "2")["wrong"],
}


@pytest.mark.parametrize("engine", RUNS)
def test_calls_stay_in_flight(engine: str, serve: Serve, record_property: Any) -> None:
    log = serve(0.2, 2.0)
    assert RUNS[engine](log) == []
    workers = workers_of(log)
    assert len(workers) == 2 and len(log.read()) == 4000
    means = [in_flight(records) / 16 for records in workers.values()]
    whole = in_flight(log.read()) / 32
    peak = max_at_once(log.read())
    record_property(
        "figure",
        f"{engine}: mean of calls in flight {whole:.3f} of 2 × 16 asked, by worker {means[0]:.3f} and {means[1]:.3f}, "
        f"most at once {peak}",
    )
    assert min(means) >= 0.9 and whole >= 0.9 and peak <= 32


def max_at_once(records: list[Any]) -> int:
    events = sorted([(begin, 1) for begin, *_ in records] + [(end, -1) for _, end, *_ in records])
    most = now = 0
    for _, change in events:
        now += change
        most = max(most, now)
    return most


KILLED: dict[str, Any] = {
    "ray": lambda log: run_on("ray_job", log.base_url, str(log.path), "800", "2", "8", "300"),
    "dask": lambda log: run_on("dask_job", log.base_url, str(log.path), "800", "2", "8", "300"),
    "spark": lambda log: run_on("spark_job", log.base_url, str(log.path), "800", "local[2,4]", "8", "300", "8")[
        "wrong"
    ],
}


@pytest.mark.parametrize("engine", KILLED)
def test_a_killed_worker(engine: str, serve: Serve, record_property: Any) -> None:
    """The output is that of one process; the rows of its tasks are called again."""
    log = serve(0.05, 0.3)
    assert KILLED[engine](log) == []
    calls = len(log.read())
    record_property("figure", f"{engine}: {calls} calls for 800 rows, a worker killed after 300")
    assert len(workers_of(log)) == 3, "another worker takes its place"
    assert 800 <= calls <= 1200


def test_a_killed_worker_with_a_memo(serve: Serve, tmp_path: Path, record_property: Any) -> None:
    """No more calls are repeated than were in flight."""
    log = serve(0.05, 0.3)
    memo = tmp_path / "memo"
    assert run_on("ray_job", log.base_url, str(log.path), "800", "2", "8", "300", str(memo)) == []
    calls = len(log.read())
    record_property("figure", f"ray with a memo: {calls} calls for 800 rows, a worker killed after 300")
    # Equal rows may have shared an answer.
    assert calls <= 800 + 8
    assert {text for *_, text, _ in log.read()} == {f"row {number - number % 5 // 4}" for number in range(800)}
    assert run_on("ray_job", log.base_url, str(log.path), "800", "2", "8", "0", str(memo)) == []
    assert len(log.read()) - calls <= 160, "another run asks for what has fewer answers than rows only"


def test_a_task_that_runs_twice(serve: Serve, record_property: Any) -> None:
    """Spark's speculation: a worker that stands still has its task run elsewhere."""
    log = serve(0.05, 0.3)
    found = run_on("spark_speculative", log.base_url, str(log.path), "200")
    assert found["wrong"] == [] and found["partitions"] == 4
    calls = len(log.read())
    record_property("figure", f"spark, a worker that stands still: {calls} calls for 200 rows")
    assert calls > 200, "a task ran twice"


def test_the_example_on_ray(tmp_path: Path) -> None:
    """All remarks are classified, and there is a picture."""
    program = HERE.parent / "examples" / "bulk_on_ray.py"
    picture = tmp_path / "picture.png"
    done = subprocess.run([sys.executable, program, picture], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    words = [line.split() for line in done.stdout.splitlines()]
    counts = [int(line[-1]) for line in words if line and line[-1] == "120"]
    assert counts == [120] * 5 and "0 failed, " in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_sparks_types(serve: Serve) -> None:
    log = serve(0, 0)
    found = run_on("spark_job", log.base_url, str(log.path), "40", "local[1]", "4", "0", "3")
    assert found["wrong"] == [] and found["partitions"] == 3
    assert found["types"] == [
        "n:int",
        "text:string",
        *(f"{name}:string" for name in ("answer", "finish_reason", "error", "error_class")),
        "input_tokens:bigint",
        "output_tokens:bigint",
        "cost:double",
        "attempts:bigint",
    ]


def test_a_quota_in_a_redis_holds_for_all_workers(serve: Serve, record_property: Any) -> None:
    """60 requests in any 3 s, of two workers together."""
    log = serve(0.02, 0.1)
    with Processes() as processes:
        redis = processes.redis()
        assert run_on("dask_job", log.base_url, str(log.path), "400", "2", "32", "0", redis.url) == []
    arrivals = sorted((begin, 1) for begin, *_ in log.read())
    most = most_in(arrivals, 2.95)
    seconds = arrivals[-1][0] - arrivals[0][0]
    record_property("figure", f"a limit of 60 in 3 s: {most} at most, 400 in {seconds:.1f} s")
    assert len(workers_of(log)) == 2 and len(arrivals) == 400
    assert most <= 60 and seconds < 400 / 20 * 1.25
