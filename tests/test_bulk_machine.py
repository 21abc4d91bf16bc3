"""Jobs and their machine: its clock is set, its power is cut; two providers serve one job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from preloaded import CLOCK, POWER, Clock, PoweredFolder, compiled
from server import PATIENCE, Answer, Pause, Request, Server
from test_bulk import KEY, WORKER, answers, asked, client, completion, make, refusal, server
from test_bulk_faults import rows_in

import ritellm
from ritellm import Client

__all__ = ["client", "make", "server"]  # fixtures


def worker(
    server: Server, rows: Path, out: Path, environment: dict[str, str], *more: str, max_in_flight: int = 8
) -> subprocess.Popen[str]:
    program = [sys.executable, str(WORKER), str(rows), str(out), server.base_url, str(max_in_flight), *more]
    return subprocess.Popen(program, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], rows: int) -> None:
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and output.split()[-2:] == ["done", str(rows)]


@pytest.mark.parametrize("shift", [3600, -3600])
def test_the_clock_is_set_while_a_job_runs(server: Server, tmp_path: Path, shift: int) -> None:
    clock = Clock(compiled("clock", CLOCK, tmp_path), tmp_path / "shift")
    refused: set[str] = set()

    def script(request: Request) -> Answer:
        text = asked(request)
        clock.set(shift if 30 <= len(server.requests) < 60 else 0)
        # Rows wait for their next attempt while the clock is set.
        if int(text.split()[-1]) % 9 == 0 and text not in refused:
            refused.add(text)
            return Answer(429, headers={"retry-after-ms": "50"}, body=refusal(429, "rate_limit_exceeded").body)
        return Answer(body=completion(text), before=[Pause(0.005)])

    server.script = script
    process = worker(server, rows_in(tmp_path, 90), tmp_path / "job", clock.environment)
    finish(process, 90)
    assert len(server.requests) == 90 + len(refused) == 100
    [segment] = (tmp_path / "job" / "segments").glob("*.jsonl")
    own = [json.loads(line)["ritellm"] for line in segment.read_text().splitlines()]
    # What took time did not take an hour, though the clock has said so; what happened at a time was when the clock said.
    assert all(0 <= row["waited"] <= row["latency"] < PATIENCE for row in own)
    spread = max(row["started"] for row in own) - min(row["started"] for row in own)
    assert abs(spread - 3600) < PATIENCE
    assert Counter(row["row"] for row in own) == Counter(range(90))


def test_a_power_cut_costs_only_rows_in_flight(server: Server, tmp_path: Path) -> None:
    """What was not synced is gone: the system kept it in its memory."""
    library = compiled("power", POWER, tmp_path)
    disk = PoweredFolder(library, tmp_path / "disk")
    rows, out = rows_in(tmp_path, 120), disk.path / "job"
    server.script = lambda request: Answer(body=completion(asked(request)), before=[Pause(0.002)])
    for requests in (30, 70, 100):
        process = worker(server, rows, out, disk.environment, "power", max_in_flight=4)
        server.wait_for_requests(requests)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        # The server has read what had been sent.
        server.wait_for_connections(0)
        disk.cut()
    finish(worker(server, rows, out, disk.environment, "power", max_in_flight=4), 120)
    disk.cut()  # when it was done, all of it was durable
    calls = Counter(map(asked, server.requests))
    assert calls.keys() == {f"Say: row {number}" for number in range(120)}
    assert calls.total() <= 120 + 3 * 4, f"{calls.total() - 120} calls too many"
    job = ritellm.bulk(
        rows, model="openai/m", prompt="Say: {text}", out=out, client=Client(base_url=server.base_url, api_key=KEY)
    )
    assert answers(job) == [f"Say: row {number}" for number in range(120)]
    assert job.status()["done"] == 120


def test_a_power_cut_without_durability_costs_what_was_not_written(server: Server, tmp_path: Path) -> None:
    disk = PoweredFolder(compiled("power", POWER, tmp_path), tmp_path / "disk")
    rows, out = rows_in(tmp_path, 60), disk.path / "job"
    server.script = lambda request: Answer(body=completion(asked(request)), before=[Pause(0.002)])
    process = worker(server, rows, out, disk.environment, max_in_flight=4)
    server.wait_for_requests(40)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    server.wait_for_connections(0)
    disk.cut()
    before = len(server.requests)
    finish(worker(server, rows, out, disk.environment, max_in_flight=4), 60)
    assert len(server.requests) == before + 60


def anthropic(text: str) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
    usage = {"input_tokens": 10, "output_tokens": 2}
    return json.dumps({**message, "content": [{"type": "text", "text": text}], "usage": usage}).encode()


def test_two_providers_serve_one_job(make: Any, server: Server) -> None:
    """One of them refuses more and more, and is overloaded in the end: its rows go to the other, and none is lost."""
    other = Server()
    answered = 0

    def script(request: Request) -> Answer:
        nonlocal answered
        came = len(other.requests)
        if came > 40:
            return Answer(529, body=b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}')
        if came % 3 == 0:
            error = {"type": "rate_limit_error", "message": "This request would exceed your rate limit"}
            body = json.dumps({"type": "error", "error": error}).encode()
            return Answer(429, headers={"retry-after": "0"}, body=body)
        answered += 1
        return Answer(body=anthropic(f"anthropic {asked(request)}"))

    other.script = script
    server.script = lambda request: Answer(body=completion(f"openai {asked(request)}"), before=[Pause(0.002)])
    limits = {"rpm": 10_000_000}
    deployments = [
        ritellm.Deployment("openai/m", base_url=server.base_url, name="one", api_key=KEY, limits=limits),
        ritellm.Deployment("anthropic/m", base_url=other.url, name="two", api_key=KEY, limits=limits),
    ]
    router = ritellm.Router({"both": deployments}, strategy="weighted", client=Client(limits={"openai": limits}))
    job = make(200, client=router, model="both", max_tokens=5, max_in_flight=8, max_attempts=1).run()
    assert job.failures() == [] and job.status()["done"] == 200
    served: Counter[str] = Counter()
    for row, answer in job.results():
        provider, text = answer.choices[0].message.content.split(" ", 1)
        assert text == row["text"] and answer.meta.provider == provider
        served[provider] += 1
    assert served.total() == 200 and served["anthropic"] == answered > 20
    other.close()
