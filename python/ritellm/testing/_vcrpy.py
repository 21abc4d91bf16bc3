"""Reads cassettes of vcrpy: https://vcrpy.readthedocs.io.

A cassette is ``{"version": 1, "interactions": [{"request": {"method", "uri", "body", "headers"}, "response": {"status": {"code"},
"headers", "body": {"string"}}}]}``. Suites with serializers of their own have ``parsed_body`` in place of ``body``.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from ritellm.exceptions import InvalidArgumentError
from ritellm.testing import _bodies

_TAGS = (None, "!", "tag:yaml.org,2002:binary")


def read_yaml(path: Path, text: str) -> list[dict[str, Any]]:
    """Reads a YAML file. No tag but ``!!binary`` is taken.

    Raises:
        InvalidArgumentError: it is no cassette, or PyYAML is missing.
    """
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise InvalidArgumentError(f"{path} is YAML, which needs PyYAML: pip install pyyaml") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for event in yaml.parse(text, Loader=loader):
            if getattr(event, "tag", None) not in _TAGS:
                raise InvalidArgumentError(f"{path} has the tag {event.tag}, and only !!binary is read")
        value = yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise InvalidArgumentError(f"{path} is no YAML: {error}") from None
    return calls(path, value)


def calls(path: Path, value: Any) -> list[dict[str, Any]]:
    """Returns the calls of a cassette of vcrpy."""
    try:
        return [_call(row) for row in value["interactions"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidArgumentError(f"{path} is no cassette of vcrpy: {error!r}") from None


def _call(row: dict[str, Any]) -> dict[str, Any]:
    request, response = row["request"], row["response"]
    headers = _headers(response)
    received = _decoded(headers, _bytes(response))
    return {
        "request": {
            "method": request["method"],
            "url": request["uri"],
            "headers": {},
            **_bodies.packed(_bytes(request)),
        },
        "response": {"status": _status(response), "headers": headers, **_bodies.packed(received)},
    }


def _status(response: dict[str, Any]) -> int:
    status: Any = response.get("status", response.get("status_code"))
    return int(status["code"] if isinstance(status, dict) else status)


def _bytes(message: dict[str, Any]) -> bytes:
    if "parsed_body" in message:
        return json.dumps(message["parsed_body"], ensure_ascii=False).encode()
    body = message.get("body", message.get("content"))
    if isinstance(body, dict):
        if "base64_string" in body:
            return base64.b64decode(body["base64_string"])
        body = body.get("string")
    if body is None:
        return b""
    return body.encode("utf-8", "surrogateescape") if isinstance(body, str) else bytes(body)


def _headers(message: dict[str, Any]) -> dict[str, str]:
    """Returns header fields, without those that describe how the bytes were framed."""
    left_out = ("connection", "content-length", "transfer-encoding", "set-cookie", "keep-alive")
    found = {}
    for name, values in (message.get("headers") or {}).items():
        if name.lower() not in left_out:
            found[name.lower()] = ", ".join(map(str, values)) if isinstance(values, list) else str(values)
    return found


def _decoded(headers: dict[str, str], body: bytes) -> bytes:
    """Returns a body that was recorded as it was compressed, if Python can read it; others are left to the client."""
    coding = headers.get("content-encoding", "")
    try:
        if coding == "gzip" and body.startswith(b"\x1f\x8b"):
            body = gzip.decompress(body)
        elif coding == "deflate":
            body = zlib.decompress(body)
        elif coding and _is_text(body):
            pass
        else:
            return body
    except (OSError, zlib.error):
        if not _is_text(body):
            return body
    headers.pop("content-encoding", None)
    return body


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
