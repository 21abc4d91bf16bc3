"""Jobs and what may happen to them: signals, a full disk, a lock that a child has seen, outages, refusals."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server import PATIENCE, Answer, Close, Gate, Pause, Request, Server, eventually
from test_bulk import KEY, WORKER, answers, asked, client, completion, make, refusal, server

import ritellm
from ritellm import Client

__all__ = ["client", "make", "server"]  # fixtures

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def rows_in(folder: Path, count: int) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"row {number}"}) + "\n" for number in range(count)))
    return path


def worker(server: Server, folder: Path, max_in_flight: int, *more: str) -> subprocess.Popen[str]:
    """Starts a job in a process of its own."""
    program = [sys.executable, str(WORKER), str(folder / "rows.jsonl"), str(folder / "job"), server.base_url]
    return subprocess.Popen(
        [*program, str(max_in_flight), *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Waits for the end of a job that succeeds, and returns what it printed."""
    output, errors = process.communicate(timeout=PATIENCE * 2)
    assert process.returncode == 0, errors
    return output


def texts(server: Server, folder: Path) -> list[str]:
    """Returns the answers of the job in the order of its rows."""
    client = Client(base_url=server.base_url, api_key=KEY)
    rows = folder / "rows.jsonl"
    return answers(ritellm.bulk(rows, model="openai/m", prompt="Say: {text}", out=folder / "job", client=client))


def slow(request: Request) -> Answer:
    return Answer(body=completion(asked(request)), before=[Pause(0.05)])


@POSIX
def test_a_terminated_job_goes_on(server: Server, tmp_path: Path) -> None:
    rows_in(tmp_path, 200)
    server.script = slow
    process = worker(server, tmp_path, 4)
    server.wait_for_requests(40)
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGTERM
    assert finish(worker(server, tmp_path, 50)).split()[-2:] == ["done", "200"]
    assert 200 <= len(server.requests) <= 204
    assert texts(server, tmp_path) == [f"Say: row {number}" for number in range(200)]


@POSIX
def test_the_command_lets_calls_land_when_it_is_terminated(server: Server, tmp_path: Path) -> None:
    """A container that is stopped gets SIGTERM, and half a minute later SIGKILL."""
    rows = rows_in(tmp_path, 200)
    server.script = slow
    environment = {**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": KEY}
    command = [sys.executable, "-m", "ritellm", "bulk", str(rows), "-m", "openai/m", "--prompt", "Say: {text}"]
    command += ["-o", str(tmp_path / "job"), "-q", "--max-in-flight", "4"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    server.wait_for_requests(3)
    process.terminate()
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Go on with" in errors and "Traceback" not in errors
    made = len(server.requests)
    assert made < 30 and all(request.done.is_set() and not request.gone.is_set() for request in server.requests)
    client = Client(base_url=server.base_url, api_key=KEY)
    job = ritellm.bulk(rows, model="openai/m", prompt="Say: {text}", out=tmp_path / "job", client=client)
    assert job.status()["done"] == made


@POSIX
def test_a_second_ctrl_c_ends_at_once(server: Server, tmp_path: Path) -> None:
    rows_in(tmp_path, 40)
    gate = Gate()
    server.script = lambda request: Answer(
        body=completion(asked(request)),
        before=[] if any(request is early for early in server.requests[:20]) else [gate],
    )
    process = worker(server, tmp_path, 4)
    server.wait_for_requests(24)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "no further rows" in line and "Ctrl-C again" in line
    process.send_signal(signal.SIGINT)
    # The server holds its answers back until the process has ended.
    _, errors = process.communicate(timeout=PATIENCE)
    assert "KeyboardInterrupt" in errors and process.returncode in (-signal.SIGINT, 1)
    gate.open()
    server.script = lambda request: Answer(body=completion(asked(request)))
    assert finish(worker(server, tmp_path, 4)).split()[-2:] == ["done", "40"]
    assert 40 <= len(server.requests) <= 44
    assert texts(server, tmp_path) == [f"Say: row {number}" for number in range(40)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_inherit_the_lock(server: Server, tmp_path: Path) -> None:
    """A worker of PyTorch's DataLoader outlives its parent: it would hold the folder for ever."""
    rows_in(tmp_path, 60)
    server.script = slow
    process = worker(server, tmp_path, 4, "fork")
    assert process.stdout is not None
    child = int(process.stdout.readline().split()[-1])
    try:
        server.wait_for_requests(10)
        with pytest.raises(ritellm.JobLocked, match=str(process.pid)) as raised:
            client = Client(base_url=server.base_url, api_key=KEY)
            ritellm.bulk(
                tmp_path / "rows.jsonl", model="openai/m", prompt="Say: {text}", out=tmp_path / "job", client=client
            ).run()
        assert raised.value.pid == process.pid
        process.kill()
        process.wait()
        os.kill(child, 0)  # it lives
        assert finish(worker(server, tmp_path, 50)).split()[-2:] == ["done", "60"]
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()
    assert 60 <= len(server.requests) <= 64


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 66 MiB: the reserve of a job has 64."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=66m", "tmpfs", str(path)]
    if not sys.platform.startswith("linux") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk(server: Server, client: Client, small_disk: Path) -> None:
    server.script = lambda request: Answer(
        body=completion(asked(request) + " " * 5000), before=[Pause(random.random() / 100)]
    )
    rows = [{"text": f"row {number}"} for number in range(800)]
    given: dict[str, Any] = {"model": "openai/m", "prompt": "Say: {text}", "out": small_disk / "job", "client": client}
    job = ritellm.bulk(rows, max_in_flight=16, **given)
    with pytest.raises(ritellm.DiskFullError, match="make room"):
        job.run()
    made = len(server.requests)
    assert 200 < made < 600 and job.status()["state"] == "paused"
    # What was in flight has landed, in the room that was reserved.
    assert job.status()["done"] == made == len(answers(job))
    # It says so again for as long as there is no room, and nothing is called.
    filler = small_disk / "filler"
    room = os.statvfs(small_disk)
    filler.write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - (60 << 20))))
    with pytest.raises(ritellm.DiskFullError):
        ritellm.bulk(rows, **given).run()
    assert len(server.requests) == made
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    job = ritellm.bulk(rows, **given).run()
    assert [text.strip() for text in answers(job)] == [f"Say: row {number}" for number in range(800)]
    assert len(server.requests) == 800


@pytest.mark.parametrize("broken", [True, False])
def test_an_outage_while_the_last_rows_land(make: Any, server: Server, broken: bool) -> None:
    """The server breaks down when all but one row are done: that row is not given up."""
    down, last = threading.Event(), []

    def script(request: Request) -> Answer:
        if asked(request) == "row 9":
            last.append(request)
            if not down.is_set():
                return Answer(before=[Pause(0.2), Close()]) if broken else refusal(503, "down")
        return Answer(body=completion(asked(request)))

    server.script = script
    job = make(10, max_attempts=1, max_in_flight=10).start()
    eventually(lambda: len(last) >= 3, "two probes")
    assert job.status()["state"] == "outage" and job.status()["failed"] == 0
    down.set()
    assert job.wait(PATIENCE)
    assert (len(answers(job)), job.failures()) == (10, [])


def test_a_storm_of_refusals_uses_up_no_attempts(make: Any, server: Server) -> None:
    chance = random.Random(1)
    refused = 0

    def script(request: Request) -> Answer:
        nonlocal refused
        if chance.random() < 0.3:
            refused += 1
            body = refusal(429, "rate_limit_exceeded").body
            return Answer(429, headers={"retry-after-ms": "5"}, body=body)
        return Answer(body=completion(asked(request)))

    server.script = script
    job = make(150, max_attempts=1, max_in_flight=16).run()
    assert (len(answers(job)), job.failures(), len(server.requests)) == (150, [], 150 + refused)
    assert refused > 20


@pytest.fixture
def vectors(client: Client, server: Server, tmp_path: Path) -> ritellm.Job:
    """A job of embeddings: row n becomes [n, 0.5, -n]."""

    def script(request: Request) -> Answer:
        number = float(request.json["input"].split()[-1])
        data = [{"object": "embedding", "index": 0, "embedding": [number, 0.5, -number]}]
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        return Answer(body=json.dumps({"object": "list", "model": "e", "data": data, "usage": usage}).encode())

    server.script = script
    rows = [{"text": f"row {number}"} for number in range(30)]
    return ritellm.bulk(
        rows, endpoint="embedding", model="openai/e", input="{text}", client=client, out=tmp_path / "job"
    ).run()


def test_vectors_to_a_memory_map(vectors: ritellm.Job, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    assert vectors.to_npy(tmp_path / "vectors.npy") == (30, 3)
    array = numpy.load(tmp_path / "vectors.npy", mmap_mode="r")
    assert array.dtype == numpy.float32
    assert array.tolist() == [[number, 0.5, -number] for number in range(30)]


def test_vectors_to_parquet(vectors: ritellm.Job, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    vectors.to_parquet(tmp_path / "vectors.parquet")
    table = parquet.read_table(tmp_path / "vectors.parquet")
    assert table.schema.field("embedding").type == arrow.list_(arrow.float32(), 3)
    assert table["embedding"].to_pylist() == [[number, 0.5, -number] for number in range(30)]


def test_pictures_by_address(client: Client, server: Server, tmp_path: Path) -> None:
    part = {"type": "image_url", "image_url": {"url": "{picture}"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]
    (tmp_path / "dot.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    addresses = ["https://example.org/a.png", "data:image/png;base64,iVBORw0KGgo=", str(tmp_path / "dot.png")]
    rows = [{"picture": address} for address in [*addresses, str(tmp_path / "none.png")]]
    server.script = lambda request: Answer(body=completion("a dot"))
    job = ritellm.bulk(rows, model="openai/m", messages=messages, client=client, out=tmp_path / "job").run()
    asked = {request.json["messages"][0]["content"][1]["image_url"]["url"] for request in server.requests}
    assert asked == {addresses[0], addresses[1]}  # the file is the same picture
    assert answers(job) == ["a dot"] * 3
    [failure] = job.failures()
    assert failure.number == 3 and "none.png" in str(failure.error)


def test_the_first_row_of_a_prefix_fills_the_cache_of_anthropic(server: Server, tmp_path: Path) -> None:
    """A server that bills cached tokens as Anthropic does: writing costs 1.25 of the price, reading 0.1."""
    cached: set[str] = set()

    def script(request: Request) -> Answer:
        prefix = json.dumps(request.json.get("system") or request.json["messages"][0])
        is_hit = prefix in cached
        if not is_hit:
            threading.Timer(0.05, cached.add, [prefix]).start()
        usage = {
            "input_tokens": 10,
            "cache_creation_input_tokens": 0 if is_hit else 1500,
            "cache_read_input_tokens": 1500 if is_hit else 0,
            "output_tokens": 2,
        }
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [{"type": "text", "text": "ok"}],
            "stop_reason": "end_turn",
            "usage": usage,
        }
        return Answer(before=[] if is_hit else [Pause(0.15)], body=json.dumps(message).encode())

    server.script = script
    system = {"type": "text", "text": "{long}", "cache_control": {"type": "ephemeral"}}
    messages = [{"role": "system", "content": [system]}, {"role": "user", "content": "{text}"}]
    rows = [{"text": str(number), "long": letter * 6000} for number in range(10) for letter in "ab"]
    price = {"input": 4.0, "cached": 0.4, "cache_write": 5.0, "output": 0.0}
    costs = {}
    for warm_prefix in (True, False):
        cached.clear()
        client = Client(
            base_url=server.url,
            api_key=KEY,
            limits={"anthropic": {"rpm": 10_000_000}},
            catalog={"anthropic/m": price},
        )
        job = ritellm.bulk(
            rows,
            model="anthropic/m",
            messages=messages,
            max_tokens=10,
            warm_prefix=warm_prefix,
            client=client,
            out=tmp_path / f"warm-{warm_prefix}",
        ).run()
        assert job.status()["done"] == 20
        costs[warm_prefix] = job.status()["cost"]
    # Two rows write the cache and 18 read it.
    assert costs[True] == pytest.approx((20 * 10 * 4 + 2 * 1500 * 5 + 18 * 1500 * 0.4) / 1e6)
    assert costs[False] > 2 * costs[True]
