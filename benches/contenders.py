"""The clients that are compared: Python clients, installed or not, and the floor client in Rust."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import machine
from clients import CLIENTS

FLOOR = "floor"
RITELLM = "ritellm"
NAMES = [FLOOR, *CLIENTS]
DRIVER = Path(__file__).with_name("driver.py")


@dataclass(frozen=True)
class Contender:
    """A client: how the tables name it, how to start it, and what it roughly costs."""

    name: str
    title: str
    #: None if it is not installed.
    version: str | None
    command: tuple[str, ...]
    call_us: float
    chunk_us: float
    kinds: frozenset[str]


def contenders(names: list[str], floor_client: Path) -> list[Contender]:
    """Returns the contenders with these names, in the order of the tables."""
    floor = Contender(
        name=FLOOR,
        title="pure Rust floor",
        version=machine.crate_versions("reqwest", "serde_json", "tokio"),
        command=(str(floor_client),),
        call_us=16,
        chunk_us=1,
        kinds=frozenset({"plain", "streams", "tls", "h2"}),
    )
    python = [
        Contender(
            name=name,
            title=client.title,
            version=machine.distribution_versions(*client.distributions),
            command=(sys.executable, str(DRIVER), "--client", name),
            call_us=client.call_us,
            chunk_us=client.chunk_us,
            kinds=client.kinds,
        )
        for name, client in CLIENTS.items()
    ]
    return [contender for contender in (floor, *python) if contender.name in names]
