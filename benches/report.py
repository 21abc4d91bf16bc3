"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from statistics import median

import machine
from contenders import FLOOR, RITELLM, Contender
from runner import Cell
from scenarios import SIZE, Scenario

#: What every row is compared with.
REFERENCES = (RITELLM, FLOOR)

INTRODUCTION = f"""\
# What a call costs

CPU time of the client's process: user and system, all threads, after a warm-up. Every figure is
the median of fresh processes; the clients took turns. The server is this folder's mock, on the
same machine, over loopback; its answers have {SIZE} characters. It speaks HTTP/1.1 in clear where nothing
else is said.

*÷ ritellm* says how many times RiteLLM's cost a client's is, *÷ floor* compares with a pure Rust
program that makes the same calls with reqwest and `serde_json::Value` on one thread. Ratios carry
over to other machines, microseconds do not. Calls per second depend on the server as well, which
shares the machine.
"""


GOALS = """\
### What RiteLLM is held to

Ratios of medians, or sizes; `goals.py` says what each is measured with. A ratio's two sides took turns in fresh processes.
"""


def report(command: str, contenders: list[Contender], results: dict[Scenario, dict[str, Cell]], goals: str) -> str:
    """The whole page; `goals` is the table of what RiteLLM is held to, if that was measured."""
    tables = [table(scenario, contenders, cells) for scenario, cells in results.items()]
    held_to = [f"{GOALS}\n{goals}"] if goals else []
    return "\n".join([INTRODUCTION, circumstances(command, contenders), *held_to, *tables])


def circumstances(command: str, contenders: list[Contender]) -> str:
    """When, where and with what it was measured."""
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
    """One scenario: a row for every contender, whether it could be measured or not."""
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
    """Why there are no figures, if there are none."""
    if cell.runs:
        return None
    return "not installed" if contender.version is None else f"failed: {cell.error}"


def markdown_table(heads: Sequence[str], rows: list[list[str]]) -> str:
    """Rows may be short; a pipe in a cell (of an error message, say) does not end it."""
    width = len(heads)
    padded = [row + [""] * (width - len(row)) for row in rows]
    lines = [heads, ["---"] + ["---:"] * (width - 1), *padded]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def readable(value: float) -> str:
    """About three significant digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
