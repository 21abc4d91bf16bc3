"""What tests of all providers know about them: which have a wire format of their own, and what a call needs there."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest

from ritellm import _core

_TABLE = (pathlib.Path(__file__).parents[1] / "src/providers/table.rs").read_text()
_ROWS = frozenset(re.findall(r'^        name: "(\w+)"', _TABLE, re.MULTILINE))

NATIVE: frozenset[str] = frozenset(row["name"] for row in _core.providers()) - _ROWS
"""The providers with a wire format of their own: those of which `src/providers/table.rs` has no row."""

FORMATS = NATIVE - {"azure", "vertex"}
"""Those whose chats have a format that no other provider has: Azure's is OpenAI's, and Vertex's is Gemini's."""

FRAMING = {"bedrock": "aws", "ollama_chat": "ndjson"}
"""How streams are framed where it is not as server-sent events."""

SETTINGS: dict[str, dict[str, Any]] = {
    "bedrock": {"aws_region_name": "us-east-1"},
    "vertex": {"vertex_project": "p", "vertex_location": "global"},
}
"""Arguments that a call needs beside the key and the address."""


def chats() -> list[Any]:
    """A model of each provider with a wire format of its own and the arguments of a call, as cases of a test."""
    return [pytest.param(f"{name}/m", SETTINGS.get(name, {}), id=name) for name in sorted(NATIVE)]
