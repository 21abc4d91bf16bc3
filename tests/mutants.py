"""Responses with one leaf changed, as a provider may send in future or a gateway sends today.

`answers()` gives small answers of every wire (`answers.json`, which the fuzz target `mutants` reads too) and the
recorded ones where they are; `mutants` changes each in every place and way; `said` is what a caller must still get.
"""

from __future__ import annotations

import copy
import json
import pathlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import wire
from providers import FRAMING
from server import Answer

Path = tuple[str | int, ...]
Json = Any

REMOVED = object()
"""The leaf is not there at all."""

CHANGES: dict[str, Any] = {
    "null": lambda leaf: None,
    "empty": lambda leaf: "",
    "zero": lambda leaf: 0,
    "one": lambda leaf: 1,
    "minus": lambda leaf: -1,
    "float": lambda leaf: 2.5,
    "huge": lambda leaf: 1e308,
    "wide": lambda leaf: 2**64,
    "true": lambda leaf: True,
    "false": lambda leaf: False,
    "word": lambda leaf: "x",
    "digits": lambda leaf: "7",
    "spelled": lambda leaf: json.dumps(leaf),
    "list": lambda leaf: [],
    "object": lambda leaf: {},
    "nulls": lambda leaf: [None],
    "in a list": lambda leaf: [leaf],
    "in an object": lambda leaf: {"x": leaf},
    "after null": lambda leaf: [None, leaf],
    "removed": lambda leaf: REMOVED,
}


@dataclass(frozen=True)
class Event:
    name: str
    data: Json


@dataclass(frozen=True)
class Case:
    """An answer: one event if it is plain."""

    id: str
    provider: str
    operation: str
    model: str
    stream: bool
    events: tuple[Event, ...]

    @property
    def framing(self) -> str:
        return FRAMING.get(self.provider, "sse") if self.stream else "plain"

    def answer(self) -> Answer:
        match self.framing:
            case "plain":
                return Answer(body=json.dumps(self.events[0].data).encode())
            case "aws":
                body = b"".join(frame(event.name, json.dumps(event.data).encode()) for event in self.events)
                return Answer(headers={"content-type": "application/vnd.amazon.eventstream"}, body=body)
            case "ndjson":
                body = "".join(json.dumps(event.data) + "\n" for event in self.events).encode()
                return Answer(headers={"content-type": "application/x-ndjson"}, body=body)
            case _:
                events = (
                    (f"event: {event.name}\n" if event.name else "") + f"data: {json.dumps(event.data)}\n\n"
                    for event in self.events
                )
                done = "data: [DONE]\n\n" if not any(event.name for event in self.events) else ""
                return Answer(headers={"content-type": "text/event-stream"}, body=("".join(events) + done).encode())


def frame(name: str, payload: bytes) -> bytes:
    """An event in AWS's framing."""

    def header(name: str, value: str) -> bytes:
        return struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()

    headers = (
        header(":event-type", name) + header(":content-type", "application/json") + header(":message-type", "event")
    )
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack("!I", zlib.crc32(message))


def frames(body: bytes) -> Iterator[Event]:
    while body:
        total, length = struct.unpack("!II", body[:8])
        headers, payload, name = body[12 : 12 + length], body[12 + length : total - 4], ""
        while headers:
            key, headers = headers[1 : 1 + headers[0]], headers[1 + headers[0] :]
            size = struct.unpack("!H", headers[1:3])[0]
            if key == b":event-type":
                name = headers[3 : 3 + size].decode()
            headers = headers[3 + size :]
        yield Event(name, json.loads(payload))
        body = body[total:]


def events_of(body: bytes) -> Iterator[Event]:
    """The events of a body of server-sent events whose data is JSON."""
    name = ""
    for line in body.decode().splitlines():
        if line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:") and line[5:].strip().startswith("{"):
            yield Event(name, json.loads(line[5:]))
        elif not line:
            name = ""


def own() -> list[Case]:
    """The answers of the repository's own."""
    text = (pathlib.Path(__file__).parent / "answers.json").read_text()
    return [
        Case(
            f"{case['provider']}-{case['operation']}-{'stream' if case['stream'] else 'plain'}",
            case["provider"],
            case["operation"],
            "m",
            case["stream"],
            tuple(Event(event["name"], event["data"]) for event in case["events"]),
        )
        for case in json.loads(text)
    ]


def recorded() -> list[Case]:
    """The recorded answers that were good ones, where they are."""
    known = {"openai-compatible": "openai_compatible", "ollama": "openai", "zai": "zai"}
    cases = []
    for endpoint, operation in (("chat", "chat"), ("responses", "responses"), ("embed", "embedding")):
        for case in wire.cases(endpoint):
            if case["status"] >= 400:
                continue
            events: tuple[Event, ...]
            if not case["stream"]:
                events = (Event("", json.loads(case["body"])),)
            elif "amazon" in case["ctype"]:
                events = tuple(frames(case["body"]))
            else:
                events = tuple(events_of(case["body"]))
            provider = str(known.get(case["provider"], case["provider"]))
            cases.append(Case(case["id"], provider, operation, wire.model(case), case["stream"], events))
    return cases


def leaves(value: Json, path: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Every value without values in it, with where it stands."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list) and value:
        for place, inner in enumerate(value):
            yield from leaves(inner, (*path, place))
    elif path:
        yield path, value


def places(case: Case) -> list[tuple[int, Path, Json]]:
    return [(number, *leaf) for number, event in enumerate(case.events) for leaf in leaves(event.data)]


def mutant(case: Case, number: int, path: Path, change: str) -> Case:
    """The case with one leaf changed."""
    data = copy.deepcopy(case.events[number].data)
    holder = data
    for step in path[:-1]:
        holder = holder[step]
    changed = CHANGES[change](holder[path[-1]])
    if changed is REMOVED:
        del holder[path[-1]]
    else:
        holder[path[-1]] = changed
    events = (*case.events[:number], Event(case.events[number].name, data), *case.events[number + 1 :])
    return replace(case, events=events)


def vectors(case: Case) -> int:
    """Returns the number of vectors in a response."""
    answer = case.events[0].data
    held = next((answer[name] for name in ("data", "embeddings", "predictions") if name in answer), [answer])
    return len(next(iter(held.values())) if isinstance(held, dict) else held)
