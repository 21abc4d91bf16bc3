"""A job on an engine, in a process of its own: `python engine_program.py NAME BASE_URL [FOLDER]` prints what came out as JSON.

What it defines travels to the workers by value, as this is the main program.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import ritellm

KEY_VARIABLE = "KEY_OF_A_TEST"
TEXTS = [f"row {number}" for number in range(60)]


def client(base_url: str, **settings: Any) -> Any:
    """Returns a function that makes a client which tells the server the process that it is in."""

    def make() -> ritellm.Client:
        return ritellm.Client(
            providers={
                "openai": {
                    "base_url": base_url,
                    "api_key_env": "KEY_OF_A_TEST",
                    "headers": {"x-worker": str(os.getpid())},
                }
            },
            **{"limits": {"openai": {"rpm": 10_000_000}}} | settings,
        )

    return make


def on_ray(cpus: int = 2) -> Any:
    """Starts Ray on this machine; returns its folder."""
    import ray

    # The names of sockets in it have 107 bytes at most.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="error", _temp_dir=folder)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    return folder


def ray_small(base_url: str) -> Any:
    import pyarrow
    import ray

    folder = on_ray(cpus=1)
    try:
        # The same text twice is two rows.
        texts = [*TEXTS, "poison", None, "row 1"]
        table = pyarrow.table({"text": texts, "n": pyarrow.array(range(len(texts)), pyarrow.int32())})
        out = ritellm.ray.map_rows(
            ray.data.from_arrow(table),
            model="openai/m",
            prompt="{text}",
            client=client(base_url),
            max_in_flight=8,
        )
        blocks = [ray.get(reference) for reference in out.to_arrow_refs()]
        whole = pyarrow.concat_tables(blocks)
        return {"schema": {field.name: str(field.type) for field in whole.schema}, "rows": whole.to_pylist()}
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def frame(rows: int) -> Any:
    import pandas

    # Every fifth text is there twice.
    texts = [f"row {number - number % 5 // 4}" for number in range(rows)]
    return pandas.DataFrame({"n": range(rows), "text": texts})


def wrong_in(rows: int, found: Any) -> list[Any]:
    """Returns what differs from the output of one process: pairs of a number and an answer, in order."""
    expected = [(row.n, row.text.upper()) for row in frame(rows).itertuples()]
    pairs = [(int(number), answer) for number, answer in found]
    return [list(pair) for pair in zip(pairs, expected, strict=False) if pair[0] != pair[1]] + [
        ["length", len(pairs)] for _ in range(len(pairs) != len(expected))
    ]


def kill_when(log: str, calls: str, signal_number: int = 9) -> None:
    """Kills the worker that made the last call, when so many have been answered."""

    def watch() -> None:
        while True:
            with contextlib.suppress(FileNotFoundError), open(log) as file:
                lines = file.read().splitlines()
                if len(lines) >= int(calls):
                    os.kill(int(json.loads(lines[-1])[2]), signal_number)
                    return
            time.sleep(0.01)

    if int(calls):
        threading.Thread(target=watch, daemon=True).start()


def ray_job(base_url: str, log: str, rows: str, workers: str, in_flight: str, kill_at: str, memo: str = "") -> Any:
    import ray

    folder = on_ray()
    try:
        kill_when(log, kill_at)
        out = ritellm.ray.map_rows(
            ray.data.from_pandas(frame(int(rows))),
            model="openai/m",
            prompt="{text}",
            client=client(base_url),
            workers=int(workers),
            max_in_flight=int(in_flight),
            memo=memo or None,
        )
        found = out.to_pandas()
        return wrong_in(int(rows), zip(found.n, found.answer, strict=True))
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def dask_job(
    base_url: str,
    log: str,
    rows: str,
    workers: str,
    in_flight: str,
    kill_at: str,
    redis: str = "",
    partitions: str = "12",
) -> Any:
    import dask.dataframe
    import distributed

    limits = {"openai": ritellm.Limit(requests=60, per=3)}
    settings = {"limits": ritellm.Limits(limits, share=redis)} if redis else {}
    cluster = distributed.LocalCluster(n_workers=int(workers), threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster):
        kill_when(log, kill_at)
        out = ritellm.dask.map_rows(
            dask.dataframe.from_pandas(frame(int(rows)), npartitions=int(partitions)),
            model="openai/m",
            prompt="{text}",
            client=client(base_url, **settings),
            max_in_flight=int(in_flight),
        )
        found = out.compute()
    return wrong_in(int(rows), zip(found.n, found.answer, strict=True))


def spark_job(
    base_url: str, log: str, rows: str, master: str, in_flight: str, kill_at: str, partitions: str, **more: str
) -> Any:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(master).config("spark.ui.enabled", "false")
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.python.worker.reuse": "true",
        **more,
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    try:
        kill_when(log, kill_at)
        records = [(int(row.n), row.text) for row in frame(int(rows)).itertuples()]
        table = spark.createDataFrame(spark.sparkContext.parallelize(records, int(partitions)), "n int, text string")
        out = ritellm.spark.map_rows(
            table, model="openai/m", prompt="{text}", client=client(base_url), max_in_flight=int(in_flight)
        )
        types = [field.simpleString() for field in out.schema]
        found = [(row.n, row.answer) for row in out.collect()]
        return {"wrong": wrong_in(int(rows), found), "types": types, "partitions": out.rdd.getNumPartitions()}
    finally:
        spark.stop()


@contextlib.contextmanager
def spark_cluster(hosts: list[str]) -> Iterator[str]:
    """Runs a master, and on each host a worker with one core. Yields the master's address.

    Spark runs no second copy of a task on the host of the first, and a "local-cluster" has one host.
    """
    import pyspark

    program = [os.path.join(os.path.dirname(pyspark.__file__), "bin", "spark-class")]
    with socket.socket() as free:
        free.bind((hosts[0], 0))
        port = free.getsockname()[1]
    master = f"spark://{hosts[0]}:{port}"
    folder = tempfile.mkdtemp(prefix="spark-")
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    package = "org.apache.spark.deploy"
    commands = [[f"{package}.master.Master", "--host", hosts[0], "--port", str(port), "--webui-port", "0"]]
    for host in hosts:
        options = ["--host", host, "--cores", "1", "--memory", "1g", "--webui-port", "0", "--work-dir", folder]
        commands.append([f"{package}.worker.Worker", *options, master])
    processes = []
    try:
        for command in commands:
            processes.append(subprocess.Popen([*program, *command], **quiet))
        yield master
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def spark_speculative(base_url: str, log: str, rows: str) -> Any:
    """The first process that calls is stopped for a while, so that its task runs a second time elsewhere."""
    kill_when(log, "20", signal.SIGSTOP)
    with spark_cluster(["127.0.0.1", "127.0.0.2"]) as master:
        return spark_job(
            base_url,
            log,
            rows,
            master,
            "4",
            "0",
            "4",
            **{
                "spark.executor.memory": "512m",
                "spark.speculation": "true",
                "spark.speculation.interval": "100ms",
                "spark.speculation.multiplier": "1.1",
                "spark.speculation.quantile": "0.5",
                "spark.speculation.minTaskRuntime": "100ms",
            },
        )


def main(name: str, *arguments: str) -> None:
    warnings.simplefilter("ignore")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    found = globals()[name](*arguments)
    print("RESULT " + json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
