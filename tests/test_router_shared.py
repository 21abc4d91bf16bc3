"""Tests of breakers that processes share: what one process found of a deployment, the others know."""

from __future__ import annotations

import json
import select
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from limited import Processes, host_share, read_line, write_line
from server import KEY, MESSAGES, Answer, Gate, Server, plain, refusal

#: One process with a router. Each line is a group; the answer is what became of a call to it.
WORKER = f"""
import json, sys
from ritellm import Client, Deployment, Limits, Router
share, failing, well, breaker = json.loads(sys.argv[1])
# A deployment with limits would be passed over while a Redis has granted nothing yet.
client = Client(limits=Limits({{"anthropic": {{"rpm": 10}}}}, share=share))
at = lambda name, url: Deployment("openai/m", name=name, base_url=url, api_key="{KEY}")
router = Router(
    {{"group": [at("failing", failing), at("well", well)], "other": [at("apart", well)]}},
    client=client, strategy="ordered", breaker=breaker,
)
print("ready", flush=True)
for line in sys.stdin:
    response = router.completion(line.strip(), {MESSAGES})
    asked = [attempt.deployment for attempt in response.meta.attempts]
    print(json.dumps([asked, router.status()["failing"]["breaker"]]), flush=True)
"""

PATIENCE = 30.0


class Worker:
    def __init__(self, processes: Processes, *arguments: Any) -> None:
        self.process = processes.start(sys.executable, "-c", WORKER, json.dumps(arguments))
        assert read_line(self.process) == "ready\n"

    def begin(self, group: str) -> None:
        write_line(self.process, group)

    def end(self) -> tuple[list[str], str]:
        asked, breaker = json.loads(read_line(self.process))
        return asked, breaker

    def call(self, group: str = "group") -> list[str]:
        self.begin(group)
        return self.end()[0]

    def has_ended(self) -> bool:
        """True if the call that has begun has ended."""
        return bool(select.select([self.process.stdout], [], [], 0.01)[0])

    def wait_for(self, *breaker: str) -> None:
        """Makes calls that do not concern the deployment until this process knows of its breaker."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.begin("other")
            if self.end()[1] in breaker:
                return
            time.sleep(0.02)
        raise AssertionError(f"the breaker is not {breaker}")


@pytest.fixture
def other() -> Iterator[Server]:
    server = Server()
    server.answer(plain())
    yield server
    server.close()


@pytest.fixture(params=["host", "redis"])
def start(request: pytest.FixtureRequest, server: Server, other: Server) -> Iterator[Callable[..., Worker]]:
    """Starts processes that share their limits."""
    if request.param == "host" and not sys.platform.startswith("linux"):
        pytest.skip("needs Linux's shared memory")
    with Processes() as processes, host_share() as host:
        share = processes.redis().url if request.param == "redis" else host
        yield lambda **breaker: Worker(processes, share, server.base_url, other.base_url, breaker)


def test_one_process_finds_a_failing_deployment_and_one_probes_it(server: Server, start: Callable[..., Worker]) -> None:
    server.answer(plain())
    workers = [start(failures=3, open_for=0.5) for _ in range(2)]
    assert [worker.call() for worker in workers] == [["failing"], ["failing"]]
    server.answer(Answer(500))
    assert [workers[0].call() for _ in range(4)] == [["failing", "well"]] * 3 + [["well"]]
    found = len(server.requests)
    workers[1].wait_for("open", "half_open")
    # Another failure would have been its first one.
    assert workers[1].call() == ["well"]
    assert len(server.requests) == found

    gate = Gate()
    server.answer(Answer(before=[gate], body=plain().body))
    end = time.monotonic() + PATIENCE
    while len(server.requests) == found and time.monotonic() < end:
        workers[0].begin("group")
        while len(server.requests) == found and not workers[0].has_ended():
            pass
        if len(server.requests) == found:
            assert workers[0].end()[0] == ["well"]
    assert [workers[1].call() for _ in range(5)] == [["well"]] * 5
    assert len(server.requests) == found + 1
    gate.open()
    assert workers[0].end() == (["failing"], "closed")
    workers[1].wait_for("closed")
    assert workers[1].call() == ["failing"]


def test_a_refused_key_is_known_to_all(server: Server, start: Callable[..., Worker]) -> None:
    server.answer(refusal(403))
    workers = [start() for _ in range(2)]
    assert workers[1].call("other") == ["apart"]
    assert workers[0].call() == ["failing", "well"]
    workers[1].wait_for("out")
    assert workers[1].call() == ["well"]
    assert len(server.requests) == 1
