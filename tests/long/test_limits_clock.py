"""The clock is set forward or back by an hour, and limits hold."""

from __future__ import annotations

import ctypes
import mmap
import pathlib
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from limited import Processes, Redis, host_share, most_in, used

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="LD_PRELOAD"),
]

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

/* Adds the number of seconds in the file named CLOCK_SHIFT to the wall clock, and to no other. */
static volatile long long *shift;
static int (*real_clock)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    real_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int file = open(getenv("CLOCK_SHIFT"), O_RDONLY | O_CLOEXEC);
    void *mapped = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) shift = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (!real_clock) begin();
    int result = real_clock(clock, time);
    if (result == 0 && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += *shift;
    return result;
}

int gettimeofday(struct timeval *restrict value, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    value->tv_sec = now.tv_sec;
    value->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *value) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (value) *value = now.tv_sec;
    return now.tv_sec;
}
"""


class Clock:
    """A wall clock that can be set for the processes that are given its environment."""

    def __init__(self, library: pathlib.Path, file: pathlib.Path) -> None:
        file.write_bytes(bytes(8))
        with file.open("r+b") as opened:
            self.shift = mmap.mmap(opened.fileno(), 8)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(file)}

    def set(self, seconds: int) -> None:
        self.shift[:] = struct.pack("<q", seconds)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(SOURCE)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", "clock.so", "clock.c", "-ldl"], cwd=folder, check=True)
    ctypes.CDLL(str(folder / "clock.so"))
    return folder / "clock.so"


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
