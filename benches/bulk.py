"""Run a job from a file to its folder in this fresh process, and print one JSON line about it.

    python bulk.py --rows 100000 --concurrency 64 --url BASE_URL [--memory]

CPU time is this process's own, all threads, without the time that it takes to write the input. `--memory` makes the line's
`figure` the growth of the peak memory for each row between a job of a tenth of the rows and the whole.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from clients import KEY, REQUEST
from variants import MODEL, NOT_BINDING


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--url", required=True, help="base URL, as the openai SDK takes it")
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        line = measure(Path(folder), options.url, options.rows // 10, options.concurrency)
        before = line["max_rss_kb"]
        line = measure(Path(folder), options.url, options.rows, options.concurrency)
    rows = options.rows - options.rows // 10
    line["figure"] = (line["max_rss_kb"] - before) * 1024 / rows if options.memory else line["calls"] / line["wall_s"]
    print(json.dumps(line), flush=True)
    os._exit(0)


def measure(folder: Path, url: str, rows: int, concurrency: int) -> dict[str, Any]:
    import ritellm

    source = folder / f"{rows}.jsonl"
    body = {name: value for name, value in REQUEST.items() if name not in ("model", "stream")}
    with source.open("w") as file:
        for number in range(rows):
            file.write(json.dumps({"custom_id": f"row-{number}", "body": body}) + "\n")
    client = ritellm.Client(base_url=url, api_key=KEY, limits=NOT_BINDING)
    job = ritellm.bulk(source, model=MODEL, out=folder / f"job-{rows}", client=client, max_in_flight=concurrency)
    cpu, wall = cpu_seconds(), time.perf_counter()
    job.run(progress=False)
    status = job.status()
    assert status["done"] == rows, status
    return {
        "client": "bulk",
        "calls": rows,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": cpu_seconds() - cpu,
        "max_rss_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
