"""Results as notebooks and rich consoles show them: one line for each message. Imported when one of them asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

LONGEST = 100
"""Number of characters of a text that are shown in its line."""

_HTML = "<details style='margin:0'><summary style='white-space:pre-wrap'><b>{}</b> {}</summary><pre style='white-space:pre-wrap'>{}</pre></details>"


def rows(value: Any) -> list[tuple[str, str]]:
    """Returns a result as pairs of a label and a text, which is whole; an empty list for a result without such a form."""
    return [(label, text) for label, text in _rows(value) if text]


def _rows(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if value.get("model"):
        yield "model", str(value["model"])
    for choice in _dicts(value.get("choices")):
        yield from _message(choice.get("message") or choice.get("delta") or {}, "assistant")
        reason = choice.get("finish_reason")
        if reason and reason != "stop":
            yield "finish_reason", str(reason)
    if "role" in value or "tool_calls" in value or "content" in value:
        yield from _message(value, "content")
    for item in _dicts(value.get("output")):
        yield from _item(item)
    data = _dicts(value.get("data"))
    if data:
        vector: Any = data[0].get("embedding")
        size = f" of {len(vector)} numbers" if hasattr(vector, "__len__") and not isinstance(vector, str) else ""
        yield "data", f"{len(data)} × {type(data[0]).__name__}{size if vector is not None else ''}"
    for result in _dicts(value.get("results")):
        document = result.get("document")
        text = document.get("text") if isinstance(document, dict) else document
        yield f"{result.get('relevance_score')}", f"document {result.get('index')}{f': {text}' if text else ''}"
    usage = value.get("usage")
    if isinstance(usage, dict):
        numbers = {name: number for name, number in usage.items() if isinstance(number, int)}
        yield "usage", ", ".join(f"{number} {name}" for name, number in numbers.items())


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _message(message: Any, label: str) -> Iterator[tuple[str, str]]:
    if not isinstance(message, dict):
        return
    yield "reasoning", _text(message.get("reasoning_content"))
    yield str(message.get("role") or label), _text(message.get("content"))
    yield "refusal", _text(message.get("refusal"))
    for call in _dicts(message.get("tool_calls")):
        function = call.get("function") or call.get("custom") or {}
        yield "tool_call", f"{function.get('name')}({function.get('arguments') or function.get('input') or ''})"


def _item(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    kind = str(item.get("type"))
    if kind == "message":
        yield from _message(item, "assistant")
    elif kind == "function_call":
        yield "tool_call", f"{item.get('name')}({item.get('arguments')})"
    else:
        yield kind, _text(item.get("summary") or item.get("content") or item.get("output") or item.get("status") or "…")


def _text(content: Any) -> str:
    """Returns the text of a content, with its other parts as their types."""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        return "".join(str(part.get("text") or part.get("refusal") or f"[{part.get('type')}]") for part in parts)
    return "" if content is None else str(content)


def folded(text: str, longest: int = LONGEST) -> str:
    """Returns a text as one line, cut at ``longest`` characters."""
    line = " ".join(text[: 4 * longest].split())
    if len(text) <= longest and len(line) <= longest:
        return line
    shown = line[:longest].rstrip()
    return f"{shown} … ({len(text):,} characters)"


def rich(value: dict[str, Any]) -> Iterator[Any]:
    """Returns what rich shows of a result."""
    pairs = rows(value)
    if not pairs:
        yield from value.items()
    for label, text in pairs:
        yield label, folded(text)


def pretty(value: Any, printer: Any, cycle: bool) -> None:
    """Prints a result with IPython's printer."""
    name = type(value).__name__
    if cycle:
        printer.text(f"{name}(...)")
        return
    with printer.group(4, f"{name}(", ")"):
        pairs = rows(value)
        if not pairs:
            printer.pretty(dict(value))
        for label, text in pairs:
            printer.break_()
            printer.text(f"{label}: {folded(text)}")


def html(value: Any) -> str | None:
    """Returns a result as HTML, each message folded to one line."""
    from html import escape

    pairs = rows(value)
    if not pairs:
        return None
    lines = [
        _HTML.format(escape(label), escape(folded(text)), escape(text))
        if folded(text) != text
        else f"<div style='white-space:pre-wrap'><b>{escape(label)}</b> {escape(text)}</div>"
        for label, text in pairs
    ]
    return f"<div><code>{escape(type(value).__name__)}</code>{''.join(lines)}</div>"
