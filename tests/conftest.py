"""Fixtures of every test: its own server, an environment without keys and proxies, and a timeout."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from raw_http2 import Authority
from server import MESSAGES, MODEL, PATIENCE, Server

import ritellm
from ritellm import _core
from ritellm._bulk import Job

LONGEST, LONGEST_OF_LONG = 120, 900
"""Seconds after which a test is taken to hang, and one that is marked `long`."""

UNCAPTURED = pytest.StashKey[int]()
"""The stream that pytest prints to."""

Call = Callable[..., Any]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("timeout", None) is None:
        for item in items:
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(longest(item)))


def pytest_collection_finish() -> None:
    # The 440,000 objects of 5,300 collected tests are no test's garbage: `gc.collect()` would take 0.3 s to look through them.
    gc.collect()
    gc.freeze()


def longest(item: pytest.Item) -> int:
    return LONGEST if item.get_closest_marker("long") is None else LONGEST_OF_LONG


def pytest_configure(config: pytest.Config) -> None:
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        config.stash[UNCAPTURED] = os.dup(2)
    # A shell's background jobs ignore Ctrl-C, and so would every program that a test starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Ends the run where a test hangs in native code, out of a signal's reach: all stacks are printed."""
    faulthandler.dump_traceback_later(longest(item) + 60, exit=True, file=item.config.stash[UNCAPTURED])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds to the report of a test that hung what jobs wait for, and where all threads are: Python's stacks end where ours begin."""
    report = yield
    if call.excinfo is not None and "Timeout (>" in str(call.excinfo.value):
        jobs = [f"{job!r}: {job.status()}" for job in gc.get_objects() if isinstance(job, Job)]
        report.sections.append(("Jobs", "\n".join(jobs)))
        report.sections.append(("Threads", "\n".join(threads())))
    return report


def threads() -> list[str]:
    """The names and states of this process's threads on Linux, and their native stacks where gdb is installed."""
    found = []
    for task in sorted(pathlib.Path("/proc/self/task").glob("*")):
        try:
            name, state = (task / "comm").read_text().strip(), (task / "stat").read_text().rpartition(")")[2].split()[0]
            found.append(f"{task.name} {name}: {state} {(task / 'wchan').read_text()}")
        except OSError:
            continue
    if shutil.which("gdb") is not None:
        command = [
            "gdb",
            "-p",
            str(os.getpid()),
            "-batch",
            "-ex",
            "set pagination off",
            "-ex",
            "thread apply all bt 30",
        ]
        with suppress(subprocess.TimeoutExpired):
            found.append(subprocess.run(command, capture_output=True, text=True, timeout=60).stdout)
    return found


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """Nothing of the machine's own keys, credential files, addresses and proxies."""
    names = {name for row in _core.providers() for name in [*row["key_variables"], *row["base_url_variables"]]}
    for name in list(os.environ):
        if name in names or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "CLOUDSDK_CONFIG"):
        monkeypatch.setenv(name, os.devnull if name.startswith("AWS") else str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()
    assert not server.failures, "the server's script failed"


@pytest.fixture
def at_openai(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, in OpenAI's place."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The certificate authority for `localhost`."""
    return Authority(str(tmp_path_factory.mktemp("tls") / "authority.pem"))


@pytest.fixture(scope="session")
def full() -> Iterator[int]:
    """The port of a server that takes no more connections: its queue is full."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port: int = listening.getsockname()[1]
        for _ in range(16):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
        except TimeoutError:
            yield port
        else:
            pytest.skip("this system takes connections beyond the length of a socket's queue")


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, at_openai: Server) -> Call:
    """Makes a plain call, with `completion` and with `acompletion`."""

    def call(model: str = MODEL, messages: Any = MESSAGES, client: Any = ritellm, **params: Any) -> Any:
        if request.param == "sync":
            return client.completion(model, messages, **params)
        return asyncio.run(client.acompletion(model, messages, **params))

    return call


@pytest.fixture(params=["sync", "async"])
def read(request: pytest.FixtureRequest, at_openai: Server) -> Call:
    """Makes a streamed call and reads it to its end: the chunks and the stream. With ``into``, the chunks go there."""

    def read(
        model: str = MODEL, messages: Any = MESSAGES, client: Any = ritellm, into: Any = None, **params: Any
    ) -> Any:
        chunks: list[Any] = [] if into is None else into

        async def read_async() -> Any:
            stream = await client.acompletion(model, messages, stream=True, **params)
            async for chunk in stream:
                chunks.append(chunk)
            return stream

        if request.param == "async":
            return chunks, asyncio.run(read_async())
        stream = client.completion(model, messages, stream=True, **params)
        for chunk in stream:
            chunks.append(chunk)
        return chunks, stream

    return read


def python(source: str, *arguments: str) -> list[str]:
    """The command that runs a Python program."""
    # Python 3.12 and later warn about what the fork tests do on purpose.
    return [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", textwrap.dedent(source), *arguments]


class Program:
    """A Python program that has ended."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.code = process.returncode
        self.output = process.stdout
        self.errors = process.stderr

    def check(self) -> str:
        """Its output, after it ended well and in silence."""
        assert (self.code, self.errors) == (0, ""), f"exit code {self.code}\n{self.output}\n{self.errors}"
        return self.output


RunProgram = Callable[..., Program]


@pytest.fixture
def run_program(at_openai: Server) -> RunProgram:
    """Runs a Python program in a process of its own."""

    def run(source: str, *arguments: str, **environment: str) -> Program:
        env = {**os.environ, **environment}
        return Program(
            subprocess.run(python(source, *arguments), env=env, capture_output=True, text=True, timeout=2 * PATIENCE)
        )

    return run
