"""Tests of limits that processes share: they hold for all of them together, and nothing is lost with a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from limited import host_share, most_in
from server import KEY, MESSAGES, Answer, Pause, Server, Stall, completion_of, plain, refusal

from ritellm import AuthenticationError, Client, Limit, Limits, NotFoundError, PermissionDeniedError

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's shared memory")

WORKER = """
import asyncio, sys
from ritellm import AuthenticationError, Client, Limit, Limits, NotFoundError, PermissionDeniedError
base_url, share, calls, at_once, limit = sys.argv[1:]
client = Client(base_url=base_url, api_key="{key}", limits=Limits({{"openai": eval(limit)}}, share=share), max_retries=0)
async def main():
    semaphore = asyncio.Semaphore(int(at_once))
    async def call():
        async with semaphore:
            await client.acompletion("openai/m", {messages}, timeout=60)
    await asyncio.gather(*(call() for _ in range(int(calls))))
print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main())
print("done", flush=True)
"""


@pytest.fixture
def share() -> Iterator[str]:
    with host_share() as name:
        yield name


Start = Callable[[int, int, str], "subprocess.Popen[str]"]


@pytest.fixture
def start(server: Server, share: str) -> Iterator[Start]:
    """Starts processes that wait for `go` and then make calls: so many, so many at once, within this limit."""
    with ExitStack() as stack:

        def start(calls: int, at_once: int, limit: str) -> subprocess.Popen[str]:
            worker = stack.enter_context(worker_of(server, share, calls, at_once, limit))
            stack.callback(worker.kill)
            return worker

        yield start


def worker_of(server: Server, share: str, calls: int, at_once: int, limit: str) -> subprocess.Popen[str]:
    program = textwrap.dedent(WORKER).format(key=KEY, messages=MESSAGES)
    arguments = [sys.executable, "-c", program, server.base_url, share, str(calls), str(at_once), limit]
    worker = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


def go(workers: list[subprocess.Popen[str]]) -> None:
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()


@pytest.mark.parametrize("count", [2, 4])
def test_a_window_holds_for_all_processes(server: Server, start: Start, count: int) -> None:
    server.answer(plain())
    limit = "Limit(requests=60, per=2, burst=0.3)"
    workers = [start(160 // count, 10, limit) for _ in range(count)]
    go(workers)
    for worker in workers:
        assert worker.wait(60) == 0
    times = [request.at for request in server.requests]
    assert len(times) == 160
    # The server sees them later than they were admitted, by more on a busy machine.
    assert most_in([(at, 1) for at in sorted(times)], 1.9) <= 60
    # It took no longer than the limit asks for.
    assert max(times) - min(times) < 160 / 60 * 2 * 1.3


def test_seats_of_a_killed_process_come_back(server: Server, share: str, start: Start) -> None:
    server.answer(Answer(before=[Stall()]))
    worker = start(2, 2, "Limit(max_in_flight=2)")
    go([worker])
    end = time.monotonic() + 20
    while len(server.requests) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    worker.send_signal(signal.SIGKILL)
    worker.wait(20)
    server.answer(plain())
    client = Client(
        base_url=server.base_url, api_key=KEY, limits=Limits({"openai": Limit(max_in_flight=2)}, share=share)
    )
    assert client.completion("openai/m", MESSAGES, timeout={"queue": 20}) == completion_of()


def test_a_stopped_process_stops_nobody(server: Server, start: Start) -> None:
    server.answer(Answer(before=[Pause(0.05)], body=plain().body))
    limit = "Limit(max_in_flight=4)"
    stopped, other = start(1000, 2, limit), start(20, 2, limit)
    go([stopped, other])
    time.sleep(0.2)
    stopped.send_signal(signal.SIGSTOP)
    assert other.wait(60) == 0


def test_a_forked_child_is_a_member_of_its_own(server: Server, share: str) -> None:
    server.answer(plain())
    client = Client(
        base_url=server.base_url, api_key=KEY, limits=Limits({"openai": {"rpm": 100, "max_in_flight": 5}}, share=share)
    )
    client.completion("openai/m", MESSAGES)
    child = os.fork()
    if child == 0:
        try:
            client.completion("openai/m", MESSAGES)
            (quota,) = client.limits().values()
            os._exit(0 if (quota["windows"][0]["used"], quota["in_flight"]) == (2, 0) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    (quota,) = client.limits().values()
    assert quota["windows"][0]["used"] == 2


@pytest.mark.parametrize(
    ("status", "error"), [(401, AuthenticationError), (403, PermissionDeniedError), (404, NotFoundError)]
)
def test_the_reason_of_a_stop_is_known_to_all(server: Server, share: str, status: int, error: type[Exception]) -> None:
    server.answer(refusal(status))
    limits = "Limits({'openai': {'rpm': 100}}, share=share)"
    make = f"Client(base_url=url, api_key={KEY!r}, limits={limits}).completion('openai/m', {MESSAGES})"
    program = f"import sys; from ritellm import Client, Limits; url, share = sys.argv[1:]; {make}"
    worker = subprocess.run([sys.executable, "-c", program, server.base_url, share], capture_output=True, text=True)
    assert f"exceptions.{error.__name__}: " in worker.stderr
    client = Client(base_url=server.base_url, api_key=KEY, limits=Limits({"openai": {"rpm": 100}}, share=share))
    with pytest.raises(error, match="is stopped since"):
        client.completion("openai/m", MESSAGES)
    assert len(server.requests) == 1
