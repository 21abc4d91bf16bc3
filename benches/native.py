"""The Rust half of the harness: building it, and running the mock server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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
    """Build the mock server for a use that does not time it: out of what the tests have compiled already."""
    return cargo_build("--workspace", "--no-default-features", "--bin", SERVER)[SERVER]


def cargo_build(*flags: str) -> dict[str, Path]:
    """Build what the flags say; the programs by their names."""
    command = ["cargo", "build", "--locked", *flags, "--message-format=json-render-diagnostics"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    return {message["target"]["name"]: Path(message["executable"]) for message in messages if message.get("executable")}


def programs(folder: Path) -> dict[str, Path]:
    """The programs as they lie in a folder, built before."""
    return {name: folder / name for name in (SERVER, FLOOR_CLIENT, HANDOVER)}


@contextmanager
def server(program: Path) -> Iterator[str]:
    """Run the mock server and give its URL; it ends with the `with` block or this process."""
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()
