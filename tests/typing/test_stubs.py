"""What neither mypy nor stubtest can hold of the stubs."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def keywords() -> list[dict[str, str]]:
    """The keyword parameters of each overload of a chat call, with their annotations."""
    stub = ast.parse((ROOT / "python/ritellm/client.pyi").read_text())
    chat = next(node for node in stub.body if isinstance(node, ast.ClassDef) and node.name == "_Chat")
    overloads = [node for node in chat.body if isinstance(node, ast.FunctionDef) and node.name == "__call__"]
    return [{arg.arg: ast.unparse(arg.annotation) for arg in f.args.kwonlyargs if arg.annotation} for f in overloads]


def test_the_overloads_differ_in_stream_only() -> None:
    one, *others = keywords()
    assert others
    for other in others:
        assert one.pop("stream", None) != other.pop("stream")
        assert other == one
