"""Progress of a bulk job: a bar where tqdm is installed, and lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

__all__ = ["Progress", "progress_for"]

_LONG = 5.0
"""Seconds from which it is told what a job waits for."""
_LINE_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


class Progress(Protocol):
    """Shows how far a job is."""

    def update(self, status: dict[str, Any]) -> None:
        """Shows the numbers of `Job.status`."""

    def note(self, message: str) -> None:
        """Shows a message for a person."""

    def close(self) -> None:
        """Ends it."""


def progress_for(wanted: bool | None) -> Progress:
    """Returns the progress to show. `None` means: if there is a terminal."""
    if wanted is False:
        return _Silent()
    if wanted is None and not sys.stderr.isatty():
        return _Silent()
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return _Lines()
    return _Bar(tqdm)


def dollars(cost: float) -> str:
    """Returns a cost as a text: thousands of rows may take less than a cent."""
    return f"${cost:,.4f}" if cost < 1 else f"${cost:,.2f}"


def describe(status: dict[str, Any]) -> str:
    """Returns the numbers beside a bar, which has the rate itself: tokens, cost, failures."""
    parts = []
    tokens = status["input_tokens"] + status["output_tokens"]
    if tokens:
        parts.append(f"{_short(tokens)} tokens")
    if status["cost"] is not None:
        parts.append(dollars(status["cost"]))
    if status["failed"]:
        parts.append(f"{status['failed']:,} failed")
    if status.get("batches"):
        parts.append(_batches(status["batches"]))
    elif status["state"] == "outage":
        parts.append(f"no answer: {status['reason']}")
    elif status["waiting"]:
        why = f": {status['reason']}" if status["reason"] else ""
        parts.append(f"{status['waiting']} wait for their quota{why}")
    if wait := waiting(status):
        parts.append(wait)
    return ", ".join(parts)


def waiting(status: dict[str, Any]) -> str:
    """Returns what a job waits for, if it has waited for long."""
    waited = status["waited"]
    if waited is None or waited < _LONG:
        return ""
    return f"nothing for {_duration(waited)}, waits for {status['waits_for']}"


def _batches(batches: list[dict[str, Any]]) -> str:
    """Returns the states of batches, and how many of the rows of those that are under way are done."""
    states: dict[str, int] = {}
    for batch in batches:
        states[batch["state"]] = states.get(batch["state"], 0) + 1
    text = "batches: " + ", ".join(f"{count} {state}" for state, count in states.items())
    away = [batch for batch in batches if batch["state"] in ("in_progress", "finalizing")]
    if away:
        done = sum(batch["completed"] + batch["failed"] for batch in away)
        text += f" ({done:,} of {sum(batch['rows'] for batch in away):,} rows)"
    return text


def line(status: dict[str, Any]) -> str:
    """Returns a job's progress in one line."""
    rows = f"{status['done'] + status['failed']:,}"
    total = status["rows"]
    part = f"{rows} of {total:,} rows" if total else f"{rows} rows"
    left = status["time_left"]
    tail = f", {_duration(left)} left" if left is not None and status["state"] == "running" else ""
    rate = f"{status['rate']:,.1f} rows/s" if status["rate"] < 100 else f"{status['rate']:,.0f} rows/s"
    numbers = ", ".join(filter(None, (part, rate, describe(status))))
    return f"ritellm: {numbers}{tail}"


def _short(count: float) -> str:
    for unit in ("", "k", "M", "G"):
        if count < 1000 or unit == "G":
            return f"{count:,.1f}{unit}" if unit else f"{count:.0f}"
        count /= 1000
    raise AssertionError


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class _Silent:
    def update(self, status: dict[str, Any]) -> None:
        pass

    def note(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class _Lines:
    """A line every ten seconds, and one at the end."""

    def __init__(self) -> None:
        self._due = time.monotonic() + _LINE_EVERY
        self._last: dict[str, Any] | None = None

    def update(self, status: dict[str, Any]) -> None:
        self._last = status
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _LINE_EVERY
            self.note(line(status))

    def note(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._last is not None:
            self.note(line(self._last))


class _Bar:
    """A bar of tqdm."""

    def __init__(self, tqdm: Any) -> None:
        self._tqdm = tqdm
        self._bar: Any = None

    def update(self, status: dict[str, Any]) -> None:
        rows = status["done"] + status["failed"]
        if self._bar is None:
            self._bar = self._tqdm(total=status["rows"], initial=status["before"], unit="row", dynamic_ncols=True)
        if self._bar.total != status["rows"]:
            self._bar.total = status["rows"]
        self._bar.set_postfix_str(describe(status), refresh=False)
        self._bar.update(rows - self._bar.n)

    def note(self, message: str) -> None:
        self._tqdm.write(message, file=sys.stderr)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
