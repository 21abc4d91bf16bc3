"""What tests of limits are driven with: a server with limits, processes that make calls, a Redis, and a judge."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from server import free_port

HERE = pathlib.Path(__file__).parent
RECORD = struct.Struct("<dIIIQ")
ADMITTED = struct.Struct("<Qd")
PATIENCE = 60
KEY = "sk-limited-5e2f8c1a7b"


class Processes(contextlib.ExitStack):
    """Processes that end with the test."""

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True, **options
        )
        self.callback(self.end, process)
        return process

    @staticmethod
    def end(process: subprocess.Popen[str]) -> None:
        # Its forked children, too.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def serve(self, folder: pathlib.Path, *listeners: dict[str, Any]) -> LimitedServer:
        return LimitedServer(self, folder / f"log-{time.monotonic_ns()}", listeners)

    def worker(self, environment: dict[str, str] | None = None, **options: Any) -> Worker:
        return Worker(self, environment, {"api_key": KEY, **options})

    def redis(self, *arguments: str) -> Redis:
        return Redis(self, arguments)


class LimitedServer:
    def __init__(self, processes: Processes, log: pathlib.Path, listeners: tuple[dict[str, Any], ...]) -> None:
        self.log = log
        texts = [json.dumps(listener) for listener in listeners]
        self.process = processes.start(sys.executable, str(HERE / "limited_server.py"), str(log), *texts)
        self.base_urls = [f"http://127.0.0.1:{port}/v1" for port in json.loads(read_line(self.process))]

    def tell(self, **change: Any) -> None:
        write_line(self.process, json.dumps(change))
        assert read_line(self.process) == "done\n"

    def arrivals(self, listener: int = 0) -> list[tuple[float, int, int]]:
        """Returns the time, the size and the status of each request, in order."""
        self.tell()
        records = RECORD.iter_unpack(self.log.read_bytes())
        return [(at, size, status) for at, index, size, status, _ in records if index == listener]

    def admissions(self, log: pathlib.Path) -> tuple[list[tuple[float, int]], float]:
        """Returns the time of admission and the size of each request, in order, and the longest time from there to arrival.

        The workers wrote the times into `log`. The few calls of a process that was killed before it wrote theirs have the
        time of their arrival.
        """
        self.tell()
        told = dict(ADMITTED.iter_unpack(log.read_bytes()))
        records = list(RECORD.iter_unpack(self.log.read_bytes()))
        found = sorted((told.get(number, at), size) for at, _, size, _, number in records)
        return found, max((at - told.get(number, at) for at, *_, number in records), default=0.0)


class Worker:
    def __init__(self, processes: Processes, environment: dict[str, str] | None, options: dict[str, Any]) -> None:
        self.process = processes.start(
            sys.executable,
            str(HERE / "limited_worker.py"),
            json.dumps(options),
            env={**os.environ, **(environment or {})},
        )
        self.pid = self.process.pid
        assert read_line(self.process) == "ready\n"

    def go(self) -> None:
        write_line(self.process, "")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def result(self) -> dict[str, Any]:
        result = json.loads(read_line(self.process))
        assert isinstance(result, dict)
        return result


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def write_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


class Redis:
    """A redis-server of the test's own, on a free port."""

    def __init__(
        self, processes: Processes, arguments: tuple[str, ...], environment: dict[str, str] | None = None
    ) -> None:
        self.processes, self.arguments = processes, arguments
        self.environment = {**os.environ, **(environment or {})}
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        own = [] if "--port" in self.arguments else ["--port", str(self.port)]
        command = ["redis-server", *own, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *self.arguments]
        try:
            self.process = self.processes.start(*command, env=self.environment)
        except FileNotFoundError:
            assert "CI" not in os.environ
            pytest.skip("needs redis-server, which make test installs")
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.01)
        raise AssertionError("redis-server does not listen")

    def stop(self) -> None:
        Processes.end(self.process)

    def restart(self) -> None:
        self.stop()
        self.start()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def command(self, *words: str) -> Any:
        """Sends a command and returns its answer."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection, connection.makefile("rwb") as file:
            return send(file, *words)


def send(file: Any, *words: str) -> Any:
    file.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words))
    file.flush()
    return read_reply(file)


def read_reply(file: Any) -> Any:
    line = file.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"$":
        return None if rest == b"-1" else file.read(int(rest) + 2)[:-2]
    if kind == b"*":
        return [read_reply(file) for _ in range(int(rest))]
    return int(rest) if kind == b":" else line[:-2]


class Proxy:
    """A TCP proxy that delays what passes, and cuts it off."""

    def __init__(self, processes: Processes, port: int) -> None:
        self.target = port
        self.delay = 0.0
        self.is_open = True
        self.sockets: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        processes.callback(self.close)
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self) -> None:
        self.cut()
        self.listener.close()

    def cut(self) -> None:
        """Ends all connections, and takes no new ones."""
        self.is_open = False
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.sockets.clear()

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
                if not self.is_open:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                if self.listener.fileno() < 0:
                    return
                client.close()
                continue
            self.sockets += [client, server]
            threading.Thread(target=self.copy, args=(client, server), daemon=True).start()
            threading.Thread(target=self.copy, args=(server, client), daemon=True).start()

    def copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                # Half of it in each direction.
                time.sleep(self.delay / 2)
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def host_share() -> Iterator[str]:
    """A name of a shared memory that is removed afterwards."""
    name = f"test-{os.getpid()}-{time.monotonic_ns()}"
    try:
        yield f"host:{name}"
    finally:
        for file in host_files(name):
            file.unlink(missing_ok=True)


def host_files(name: str) -> list[pathlib.Path]:
    return [file for file in pathlib.Path("/dev/shm").iterdir() if file.name.endswith(name.removeprefix("host:"))]


def most_in(arrivals: list[tuple[float, int]], seconds: float) -> int:
    """Returns the largest sum of sizes in any `seconds`."""
    first = total = most = 0
    for at, size in arrivals:
        total += size
        while arrivals[first][0] <= at - seconds:
            total -= arrivals[first][1]
            first += 1
        most = max(most, total)
    return most


def used(arrivals: list[tuple[float, int]], begin: float, end: float) -> float:
    """Returns the sum of sizes per second between two times."""
    return sum(size for at, size in arrivals if begin <= at < end) / (end - begin)
