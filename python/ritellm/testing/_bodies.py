"""Bodies of requests and answers as they stand in a cassette: so that a person can read them, and nothing is lost."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Sequence
from typing import Any

_WHITE = re.compile(rb"[ \t\r\n]+")
_STRING_OR_WHITE = re.compile(rb'"(?:[^"\\]|\\.)*"|[ \t\r\n]+')


def packed(body: bytes) -> dict[str, Any]:
    """Returns a body as ``{"json": …}`` if it is JSON, else as ``{"text": …}`` or ``{"base64": …}``."""
    if not body:
        return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        pass
    else:
        # Numbers such as 1.10 and names that stand twice would not come back as they were.
        if _compact(body) == _compact(unpacked({"json": value})):
            return {"json": value}
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def unpacked(body: dict[str, Any]) -> bytes:
    """Returns the bytes of a body."""
    if "json" in body:
        return json.dumps(body["json"], ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    if "base64" in body:
        return base64.b64decode(body["base64"])
    text: str = body.get("text", "")
    return text.encode()


def _compact(body: bytes) -> bytes:
    """Returns JSON without white space, and without escapes that are not needed."""

    def of(found: re.Match[bytes]) -> bytes:
        if found[0][:1] != b'"':
            return b""
        try:
            return json.dumps(json.loads(found[0]), ensure_ascii=False).encode()
        except (ValueError, UnicodeEncodeError):
            return found[0]

    return _STRING_OR_WHITE.sub(of, body)


def events(media_type: str, pieces: Sequence[tuple[float, bytes]]) -> list[dict[str, Any]]:
    """Returns the events of a stream, each with the time at which it was complete."""
    split = {
        "text/event-stream": _split_text(b"\n\n", b"\r\n\r\n"),
        "application/x-ndjson": _split_text(b"\n"),
        "application/vnd.amazon.eventstream": _split_frames,
    }.get(media_type, lambda buffer: (bytes(buffer), b""))
    rows: list[dict[str, Any]] = []
    rest = b""
    at = 0.0
    for at, piece in pieces:
        rest += piece
        while rest:
            event, rest = split(rest)
            if not event:
                break
            rows.append({"at": round(at, 3), **_event(media_type, event)})
    if rest:
        rows.append({"at": round(at, 3), **packed(rest)})
    return rows


def event_bytes(media_type: str, row: dict[str, Any]) -> bytes:
    """Returns the bytes of an event."""
    if "data" not in row:
        return unpacked(row)
    data = row["data"]
    body = data.encode() if isinstance(data, str) else unpacked({"json": data})
    if media_type == "application/vnd.amazon.eventstream":
        return _frame(row["headers"], body)
    if media_type == "application/x-ndjson":
        return body + b"\n"
    name = f"event: {row['event']}\n".encode() if "event" in row else b""
    return name + b"data: " + body + b"\n\n"


def _split_text(*ends: bytes) -> Any:
    def split(buffer: bytes) -> tuple[bytes, bytes]:
        found = [at + len(end) for end in ends if (at := buffer.find(end)) >= 0]
        return (buffer[: min(found)], buffer[min(found) :]) if found else (b"", buffer)

    return split


def _split_frames(buffer: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(buffer[:4], "big") if len(buffer) >= 4 else 0
    return (buffer[:length], buffer[length:]) if 16 <= length <= len(buffer) else (b"", buffer)


def _event(media_type: str, event: bytes) -> dict[str, Any]:
    """Returns an event taken apart, if `event_bytes` makes one of it that says the same; else as it is."""
    row: dict[str, Any] | None = None
    if media_type == "application/vnd.amazon.eventstream":
        try:
            row = _read_frame(event)
        except (IndexError, UnicodeDecodeError):
            # Its lengths do not fit, or it is no text.
            row = None
    elif media_type == "application/x-ndjson":
        row = _data(event)
    elif media_type == "text/event-stream":
        found = re.fullmatch(rb"(?:event: ?([^\r\n]*)\r?\n)?data: ?([^\r\n]*)(?:\r?\n)+", event)
        if found is not None and (row := _data(found[2])) is not None and found[1] is not None:
            name = packed(b"name " + found[1]).get("text")
            row = None if name is None else {"event": name[5:], **row}
    return packed(event) if row is None else row


def _data(body: bytes) -> dict[str, Any] | None:
    value = packed(body.strip(b"\r\n"))
    if "json" in value and not isinstance(value["json"], str):
        return {"data": value["json"]}
    return {"data": value["text"]} if "text" in value else None


def _read_frame(frame: bytes) -> dict[str, Any] | None:
    """Reads a frame of AWS: https://smithy.io/2.0/aws/amazon-eventstream.html. `None` if a header is no string."""
    end = 12 + int.from_bytes(frame[4:8], "big")
    if end > len(frame) - 4:
        return None
    headers: dict[str, str] = {}
    at = 12
    while at < end:
        name_end = at + 1 + frame[at]
        if frame[name_end] != 7:
            return None
        size = int.from_bytes(frame[name_end + 1 : name_end + 3], "big")
        headers[frame[at + 1 : name_end].decode()] = frame[name_end + 3 : name_end + 3 + size].decode()
        at = name_end + 3 + size
    row = _data(frame[end:-4])
    return None if row is None else {"headers": headers, **row}


def _frame(headers: dict[str, str], body: bytes) -> bytes:
    fields = b"".join(
        bytes([len(name.encode())]) + name.encode() + b"\x07" + len(value.encode()).to_bytes(2, "big") + value.encode()
        for name, value in headers.items()
    )
    head = (16 + len(fields) + len(body)).to_bytes(4, "big") + len(fields).to_bytes(4, "big")
    frame = head + binascii.crc32(head).to_bytes(4, "big") + fields + body
    return frame + zlib.crc32(frame).to_bytes(4, "big")
