"""Run a job from a file to its folder in this fresh process, and print one JSON line about it.

    python bulk.py --rows 100000 --concurrency 64 --url BASE_URL [--what memory]
    python bulk.py --rows 100000 --concurrency 64
    python bulk.py --rows 10000000 --concurrency 64 --server ../target/release/mock_server --what memory

The second runs `ritellm mock` of the installed wheel beside itself, so it needs no Rust; the third the bench's own server, whose
figures are those of the others. Both have answers of a few words: ten million rows leave some 12 GB in the temporary folder
(`TMPDIR`), since their input, which is otherwise as large again, is compressed.

`--what` says what the line's `figure` is:

- `rows` (the default): rows a second
- `memory`: growth of the peak memory in bytes for each row between a job of a tenth of the rows and the whole
- `loop`: rows a second of an `acompletion` loop with JSONL in and out, without a journal, for comparison
- `threads`: CPU µs a row of the thread that writes the journal; the line has those of the others as well
- `resume`, `rebuild`: CPU µs a row of looking at a folder whose rows are done, with its index files and without them
- `beside`: how many times as long the 99th percentile of 50 calls a second takes beside a job at full speed

CPU time is this process's own, all threads, without the time that it takes to write the input.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import json
import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import native
from clients import KEY, REQUEST
from variants import MODEL, NOT_BINDING

BODY = {name: value for name, value in REQUEST.items() if name not in ("model", "stream")}
#: Number of rows from which on the input is compressed.
LARGE = 5_000_000
#: Seconds of each of the parts of `beside`, and how many parts there are of each kind.
PART, PARTS = 5.0, 4
#: Names of a job's threads: the one that reads, the one that calls, and the one that writes.
THREADS = ("ritellm-rows", "ritellm-bulk", "ritellm-journal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, default=64)
    address = parser.add_mutually_exclusive_group()
    address.add_argument("--url", help="base URL, as the openai SDK takes it")
    address.add_argument("--server", type=Path, help="the mock server, which was built before")
    parser.add_argument(
        "--what", choices=("rows", "memory", "loop", "threads", "resume", "rebuild", "beside"), default="rows"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        url = options.url
        if options.server:
            url = f"{stack.enter_context(native.server(options.server)).url()}/s20-d0/v1"
        elif not url:
            url = f"{stack.enter_context(native.wheels_server())}/v1"
        line = MEASURE[options.what](Bench(Path(folder), url, options.rows, options.concurrency))
    print(json.dumps(line), flush=True)
    os._exit(0)


class Bench:
    def __init__(self, folder: Path, url: str, rows: int, concurrency: int) -> None:
        import ritellm

        self.folder, self.rows, self.concurrency = folder, rows, concurrency
        self.client = ritellm.Client(base_url=url, api_key=KEY, limits=NOT_BINDING)

    def input(self, rows: int) -> Path:
        is_large = rows >= LARGE
        path = self.folder / f"{rows}.jsonl{'.gz' if is_large else ''}"
        if not path.exists():
            with gzip.open(path, "wt", compresslevel=1) if is_large else path.open("w") as file:
                for number in range(rows):
                    file.write(json.dumps({"custom_id": f"row-{number}", "body": BODY}) + "\n")
        return path

    def job(self, rows: int, out: str = "job") -> Any:
        import ritellm

        folder = self.folder / f"{out}-{rows}"
        given = {"client": self.client, "max_in_flight": self.concurrency}
        return ritellm.bulk(self.input(rows), model=MODEL, out=folder, **given)


def measured(client: str, rows: int, work: Callable[[], None]) -> dict[str, Any]:
    """Does the work and returns what it took."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    work()
    wall = time.perf_counter() - wall
    return {
        "client": client,
        "calls": rows,
        "wall_s": wall,
        "cpu_s": cpu_seconds() - cpu,
        "max_rss_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "figure": rows / wall,
    }


def of_job(bench: Bench, rows: int) -> dict[str, Any]:
    job = bench.job(rows)
    line = measured("bulk", rows, lambda: job.run(progress=False))
    assert job.status()["done"] == rows, job.status()
    return line


def rows(bench: Bench) -> dict[str, Any]:
    of_job(bench, bench.rows // 10)
    return of_job(bench, bench.rows)


def memory(bench: Bench) -> dict[str, Any]:
    before = of_job(bench, bench.rows // 10)["max_rss_kb"]
    line = of_job(bench, bench.rows)
    return {**line, "figure": (line["max_rss_kb"] - before) * 1024 / (bench.rows - bench.rows // 10)}


def loop(bench: Bench) -> dict[str, Any]:
    """What one would write with `asyncio`: tasks that share an iterator over the lines."""

    async def run(source: Path, out: Path) -> None:
        with source.open() as lines, out.open("w") as answers:

            async def work() -> None:
                for line in lines:
                    row = json.loads(line)
                    answer = await bench.client.acompletion(model=MODEL, **row["body"])
                    answers.write(json.dumps({"custom_id": row["custom_id"], "response": answer}) + "\n")

            await asyncio.gather(*(work() for _ in range(bench.concurrency)))

    def whole(rows: int) -> None:
        out = bench.folder / f"answers-{rows}.jsonl"
        asyncio.run(run(bench.input(rows), out))
        assert out.read_bytes().count(b"\n") == rows

    bench.input(bench.rows)
    whole(bench.rows // 10)
    return measured("loop", bench.rows, lambda: whole(bench.rows))


def threads(bench: Bench) -> dict[str, Any]:
    of_job(bench, bench.rows // 10)
    job, found = bench.job(bench.rows), Counter[str]()

    def work() -> None:
        job.start()
        while not job.wait(0.02):
            found.update(thread_seconds() - found)

    line = measured("bulk", bench.rows, work)
    each = {name: found[name] * 1e6 / bench.rows for name in THREADS}
    return {**line, "threads": each, "figure": each["ritellm-journal"]}


def thread_seconds() -> Counter[str]:
    """Returns the CPU time of this process's threads by name, from the kernel."""
    seconds: Counter[str] = Counter()
    for task in Path("/proc/self/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            seconds[name] += int((task / "schedstat").read_text().split()[0]) / 1e9  # type: ignore[assignment]
        except (OSError, ValueError):
            continue
    return seconds


def resume(bench: Bench, without_index: bool = False) -> dict[str, Any]:
    of_job(bench, bench.rows)
    segments = bench.folder / f"job-{bench.rows}" / "segments"
    figures = []
    for _ in range(5):
        if without_index:
            for path in segments.glob("*.index"):
                path.unlink()
        job = bench.job(bench.rows)
        line = measured("bulk", bench.rows, lambda job=job: done(job, bench.rows))
        figures.append(line["cpu_s"] * 1e6 / bench.rows)
    whole = measured("bulk", bench.rows, lambda: bench.job(bench.rows).run(progress=False))
    # `run` reads the input as well, twice, and makes the keys of its rows.
    return {**line, "whole": whole["cpu_s"] * 1e6 / bench.rows, "figure": median(figures)}


def done(job: Any, rows: int) -> None:
    # Reads the journal, and nothing of the input.
    assert job.status()["done"] == rows, job.status()


def beside(bench: Bench) -> dict[str, Any]:
    import ritellm

    latencies: dict[bool, list[float]] = {False: [], True: []}

    async def part(into: list[float]) -> None:
        async def call() -> None:
            begun = time.perf_counter()
            await bench.client.acompletion(model=MODEL, **BODY)
            into.append(time.perf_counter() - begun)

        begun, calls = time.perf_counter(), []
        for number in range(round(PART * 50)):
            await asyncio.sleep(begun + number / 50 - time.perf_counter())
            calls.append(asyncio.ensure_future(call()))
        await asyncio.gather(*calls)

    of_job(bench, bench.rows // 10)
    asyncio.run(part([]))
    line: dict[str, Any] = {}
    for number in range(PARTS):
        asyncio.run(part(latencies[False]))
        job = bench.job(bench.rows, f"beside-{number}").start()
        while not job.status()["done"]:
            time.sleep(0.01)
        asyncio.run(part(latencies[True]))
        assert job.status()["state"] == "running", f"too few rows? {job.status()}"
        line["rate"] = job.status()["rate"]
        job.cancel()
        with contextlib.suppress(ritellm.JobPaused):
            job.wait()
    p99 = {is_beside: quantiles(found, n=100)[98] for is_beside, found in latencies.items()}
    p50 = {is_beside: median(found) for is_beside, found in latencies.items()}
    times = {"p50_ms": [p50[False] * 1e3, p50[True] * 1e3], "p99_ms": [p99[False] * 1e3, p99[True] * 1e3]}
    return {**line, **times, "figure": p99[True] / p99[False]}


MEASURE: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "rows": rows,
    "memory": memory,
    "loop": loop,
    "threads": threads,
    "resume": resume,
    "rebuild": lambda bench: resume(bench, without_index=True),
    "beside": beside,
}


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
