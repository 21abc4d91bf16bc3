"""Formats the results as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from statistics import median

import machine
from contenders import FLOOR, RITELLM, Contender
from runner import Cell
from scenarios import SIZE, Scenario

#: The clients that every row is compared with.
REFERENCES = (RITELLM, FLOOR)

INTRODUCTION = f"""\
# What a call costs

The figures are the CPU time of the client's process: user and system time of all threads, after a
warm-up. Every figure is the median of fresh processes; the runs of the clients were interleaved. The
server is the mock server in this folder, on the same machine, over loopback; its responses have {SIZE}
characters. It uses HTTP/1.1 without TLS unless a table names another protocol.

*÷ ritellm* is a client's cost divided by RiteLLM's. *÷ floor* is the cost divided by that of a pure
Rust program that makes the same calls with reqwest and `serde_json::Value` on one thread. Ratios carry
over to other machines, microseconds do not. Calls per second also depend on the server, which shares
the machine.
"""


GOALS = """\
### Goals

Each goal is a ratio of medians, or a size; `goals.py` defines how it is measured. The runs of a ratio's two sides were
interleaved, in fresh processes.
"""


def report(command: str, contenders: list[Contender], results: dict[Scenario, dict[str, Cell]], goals: str) -> str:
    """Returns the whole page; `goals` is the table of goals, or empty if they were not measured."""
    tables = [table(scenario, contenders, cells) for scenario, cells in results.items()]
    held_to = [f"{GOALS}\n{goals}"] if goals else []
    return "\n".join([INTRODUCTION, circumstances(command, contenders), *held_to, *tables])


def circumstances(command: str, contenders: list[Contender]) -> str:
    """Returns the date, machine and versions of the measurement."""
    facts = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "command": f"`{command}`",
        "machine": machine.describe(),
        "Python": machine.python_version(),
        "Rust": machine.rust_version(),
    }
    facts |= {one.title: one.version or "not installed" for one in contenders}
    return markdown_table(("", ""), [list(fact) for fact in facts.items()])


def table(scenario: Scenario, contenders: list[Contender], cells: dict[str, Cell]) -> str:
    """Returns the table of one scenario, with a row for every client, including those that could not be measured."""
    heads = ["client", "CPU per call, µs", "lowest to highest"]
    heads += [f"÷ {reference}" for reference in REFERENCES]
    heads += ["calls per second", "peak memory, MB", "runs"]
    if scenario.mode.chunks:
        heads.insert(1, "CPU per chunk, µs")
    rows = []
    for contender in contenders:
        if not scenario.admits(contender.kinds):
            continue
        cell = cells.get(contender.name, Cell())
        figures = measured(scenario, cell, cells) if cell.runs else []
        remark = absence(contender, cell)
        rows.append([contender.title, *figures, *([remark] if remark else [])])
    return f"### {scenario.title}\n\n{markdown_table(heads, rows)}"


def measured(scenario: Scenario, cell: Cell, cells: dict[str, Cell]) -> list[str]:
    costs = cell.cpu_per_call_us
    figures = [readable(median(costs)), f"{readable(min(costs))} to {readable(max(costs))}"]
    if scenario.mode.chunks:
        figures.insert(0, readable(median(costs) / scenario.mode.chunks))
    for reference in REFERENCES:
        base = cells[reference].cpu_per_call_us if reference in cells else []
        figures.append(readable(median(costs) / median(base)) if base else "-")
    figures += [f"{cell.calls_per_second:,.0f}", f"{cell.peak_memory_mb:.0f}"]
    return [*figures, str(len(cell.runs)) + (f", then: {cell.error}" if cell.error else "")]


def absence(contender: Contender, cell: Cell) -> str | None:
    """Returns the reason for missing figures, or `None` if there are figures."""
    if cell.runs:
        return None
    return "not installed" if contender.version is None else f"failed: {cell.error}"


def markdown_table(heads: Sequence[str], rows: list[list[str]]) -> str:
    """Returns a Markdown table. Short rows are padded, and pipes in cells (in error messages, for example) are escaped."""
    width = len(heads)
    padded = [row + [""] * (width - len(row)) for row in rows]
    lines = [heads, ["---"] + ["---:"] * (width - 1), *padded]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def readable(value: float) -> str:
    """Formats a number with about three significant digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
