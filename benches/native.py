"""Builds the Rust programs of the benchmark, and runs the mock server and a Redis."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = "ritellm-bench"
SERVER = "mock_server"
FLOOR_CLIENT = "floor_client"
HANDOVER = "handover"


def build() -> dict[str, Path]:
    """Build the package's programs, and return where each is.

    The package is built alone: together with the rest of the workspace the floor client would get
    serde_json with features that make it slower.
    """
    return cargo_build("--release", "--package", PACKAGE)


def build_server() -> Path:
    """Builds the mock server for uses that do not measure time, from what the tests have compiled already."""
    return cargo_build("--workspace", "--no-default-features", "--bin", SERVER)[SERVER]


def cargo_build(*flags: str) -> dict[str, Path]:
    """Builds the programs with these flags and returns their paths by name."""
    command = ["cargo", "build", "--locked", *flags, "--message-format=json-render-diagnostics"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    return {message["target"]["name"]: Path(message["executable"]) for message in messages if message.get("executable")}


def programs(folder: Path) -> dict[str, Path]:
    """Returns the paths of programs in a folder that were built before."""
    return {name: folder / name for name in (SERVER, FLOOR_CLIENT, HANDOVER)}


@dataclass(frozen=True)
class Server:
    """A running mock server: its ports by protocol, and the file of its certificate authority."""

    ports: dict[str, int]
    ca: str = ""
    #: URL of a Redis, if redis-server is installed.
    redis: str = ""

    def url(self, port: str = "http") -> str:
        """Returns the start of the URL for `http`, `tls` (HTTP/1.1) or `h2` (HTTP/2 over TLS)."""
        return f"{'http' if port == 'http' else 'https'}://127.0.0.1:{self.ports[port]}"


@contextmanager
def server(program: Path) -> Iterator[Server]:
    """Runs the mock server over plain HTTP; it ends with the `with` block or this process."""
    with running([program], ("http",)) as ports:
        yield Server(ports)


@contextmanager
def wheels_server() -> Iterator[str]:
    """Runs the mock server of the installed wheel, with answers of 20 characters, and yields its URL."""
    command = (sys.executable, "-m", "ritellm", "mock", "--reply", "an answer of 20 char")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def server_with_tls(program: Path) -> Iterator[Server]:
    """Runs the mock server over plain HTTP and TLS, with a certificate of its own authority."""
    import trustme

    with tempfile.TemporaryDirectory() as folder:
        ca, certificate = Path(folder, "ca.pem"), Path(folder, "server.pem")
        authority = trustme.CA()
        authority.cert_pem.write_to_path(ca)
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
        command = [program, "--certificate", certificate]
        with running(command, ("http", "tls", "h2")) as ports, redis(Path(folder, "redis.sock")) as url:
            yield Server(ports, str(ca), url)


@contextmanager
def redis(path: Path) -> Iterator[str]:
    """Runs a redis-server at this socket and yields its URL, or nothing if there is no redis-server."""
    if not shutil.which("redis-server"):
        yield ""
        return
    command = ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            while not listens(path) and process.poll() is None:
                time.sleep(0.01)
            yield f"redis+unix://{path}"
        finally:
            process.kill()


def listens(path: Path) -> bool:
    """True if a server accepts connections at this socket: its file is there a moment before."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


@contextmanager
def running(command: list[str | Path], names: tuple[str, ...]) -> Iterator[dict[str, int]]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield dict(zip(names, map(int, process.stdout.readline().split()), strict=True))
        finally:
            process.stdin.close()
