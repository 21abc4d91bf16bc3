"""Tests of servers that fork: gunicorn with a preloaded program and Celery with forked workers, both under load.

In both, the parent has made calls before it forks, and so has a network thread and connections that no child has.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server import PATIENCE, Server, free_port, plain_or_streamed

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork() on this system")

APP = """
import asyncio, json, os
import ritellm

MESSAGES = [{"role": "user", "content": "Hi"}]

def sync():
    return ritellm.completion("openai/m", MESSAGES).choices[0].message.content

def stream():
    chunks = ritellm.completion("openai/m", MESSAGES, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

async def _many():
    answers = await asyncio.gather(*(ritellm.acompletion("openai/m", MESSAGES) for _ in range(5)))
    return answers[-1].choices[0].message.content

def many():
    return asyncio.run(_many())

WAYS = {"sync": sync, "stream": stream, "many": many}

# In the parent: its network thread runs, and it has connections.
assert [way() for way in WAYS.values()] == ["Hello!"] * 3
"""

GUNICORN = (
    APP
    + """
def application(environ, start_response):
    way = WAYS[environ["PATH_INFO"].strip("/")]
    body = json.dumps({"pid": os.getpid(), "content": way()}).encode()
    start_response("200 OK", [("content-type", "application/json"), ("content-length", str(len(body)))])
    return [body]
"""
)

CELERY = (
    APP
    + """
from celery import Celery

app = Celery("app", broker="filesystem://", backend="file://" + os.environ["RESULTS"])
app.conf.update(
    broker_transport_options={"data_folder_in": os.environ["QUEUE"], "data_folder_out": os.environ["QUEUE"]},
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)

@app.task
def ask(way):
    return [os.getpid(), WAYS[way]()]
"""
)


@contextlib.contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A server with whatever it starts, ended by SIGTERM; what it wrote is in ``log``."""
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, text=True, start_new_session=True)
    try:
        yield process
        process.terminate()
        assert process.wait(PATIENCE) == 0, (folder / "log").read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_gunicorn(at_openai: Server, tmp_path: Path, worker: str) -> None:
    at_openai.script = plain_or_streamed("Hello!")
    (tmp_path / "app.py").write_text(textwrap.dedent(GUNICORN))
    port = free_port()
    options = ["--preload", "--workers", "4", "--worker-class", worker, "--threads", "4", "--graceful-timeout", "20"]
    command = [sys.executable, "-m", "gunicorn", *options, "--bind", f"127.0.0.1:{port}", "app:application"]

    def ask(number: int) -> tuple[int, str]:
        way = ("sync", "stream", "many")[number % 3]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("GET", f"/{way}")
        with contextlib.closing(connection), connection.getresponse() as answer:
            body = answer.read()
        assert answer.status == 200, body
        said = json.loads(body)
        return said["pid"], said["content"]

    with running(command, tmp_path):
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.05)
        with ThreadPoolExecutor(32) as pool:
            workers: set[int] = set()
            # The kernel chooses who gets which connection.
            for _ in range(20):
                answers = list(pool.map(ask, range(200)))
                assert {content for _, content in answers} == {"Hello!"}
                workers |= {pid for pid, _ in answers}
                if len(workers) == 4:
                    break
        assert len(workers) == 4


def test_celery(at_openai: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_openai.script = plain_or_streamed("Hello!")
    for name in ("queue", "results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name.upper(), str(tmp_path / name))
    (tmp_path / "app.py").write_text(textwrap.dedent(CELERY))
    asking = """
        from app import ask
        results = [ask.delay(("sync", "stream", "many")[number % 3]) for number in range(120)]
        answers = [result.get(timeout=60) for result in results]
        assert {content for _, content in answers} == {"Hello!"}, answers
        print(len({pid for pid, _ in answers}))
    """
    command = [sys.executable, "-m", "celery", "--app", "app", "worker", "--pool", "prefork", "--concurrency", "4"]
    with running([*command, "--loglevel", "WARNING", "--without-gossip", "--without-mingle"], tmp_path):
        asked = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(asking)], cwd=tmp_path, capture_output=True, text=True, timeout=90
        )
        assert asked.returncode == 0, f"{asked.stderr}\n{(tmp_path / 'log').read_text()}"
        assert int(asked.stdout) >= 2
