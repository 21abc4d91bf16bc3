"""Writes the main results as a picture, and as a table in the README."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from contenders import RITELLM, Contender
from report import markdown_table, readable
from runner import Cell
from scenarios import MODES, Scenario

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "cost.svg"
BEGIN, END = "<!-- figures: begin, written by benches/bench.py -->", "<!-- figures: end -->"

Results = dict[Scenario, dict[str, Cell]]
#: Title, then µs.
Bars = list[tuple[str, float]]


def publish(contenders: list[Contender], results: Results) -> None:
    """Writes the picture, and the table between the markers in the README."""
    plain = bars(contenders, results.get(Scenario(MODES["plain"], 64), {}), 0)
    chunks = bars(contenders, results.get(Scenario(MODES["burst"], 64), {}), MODES["burst"].chunks)
    if not plain or not chunks:
        return
    PICTURE.write_text(
        picture("CPU of a plain call, µs, 64 at a time", plain, "CPU of a streamed chunk, µs, 64 at a time", chunks)
    )
    text = README.read_text()
    before, rest = text.split(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{table(plain, chunks)}{END}{rest.split(END)[1]}")


def bars(contenders: list[Contender], cells: dict[str, Cell], chunks: int) -> Bars:
    costs = []
    for contender in contenders:
        cell = cells.get(contender.name)
        if cell and cell.runs:
            title = "RiteLLM" if contender.name == RITELLM else contender.title
            costs.append((title, median(cell.cpu_per_call_us) / (chunks or 1)))
    return sorted(costs, key=lambda cost: cost[1])


def table(plain: Bars, chunks: Bars) -> str:
    ours, ours_a_chunk = dict(plain)["RiteLLM"], dict(chunks)["RiteLLM"]
    of_chunks = dict(chunks)
    rows = []
    for title, cost in plain:
        shown = f"**{title}**" if title == "RiteLLM" else title
        row = [shown, readable(cost), readable(cost / ours)]
        chunk = of_chunks.get(title)
        rows.append([*row, readable(chunk) if chunk else "", readable(chunk / ours_a_chunk) if chunk else ""])
    return markdown_table(("client", "a plain call, µs", "÷ RiteLLM", "a streamed chunk, µs", "÷ RiteLLM"), rows)


# ---- The picture ----

WIDTH, LABEL, BAR, GAP, VALUE = 760, 190, 20, 8, 70


def picture(*charts: str | Bars) -> str:
    """Returns bar charts below each other, each under its title, readable on a light and on a dark page."""
    parts: list[str] = []
    top = 0
    for title, costs in zip(charts[::2], charts[1::2], strict=True):
        assert isinstance(title, str)
        assert isinstance(costs, list)
        parts.append(f'<text x="0" y="{top + 20}" class="title">{title}</text>')
        top += 34
        parts += chart(costs, top)
        top += len(costs) * (BAR + GAP) + 18
    style = (
        "text{font:14px system-ui,sans-serif;fill:#24292f}.title{font-weight:600}rect{fill:#8c959f}"
        ".ours{fill:#0969da}text.ours{font-weight:600}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}rect{fill:#6e7681}.ours{fill:#4493f8}}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img" aria-label="What a call costs">'
    return "\n".join([head, f"<style>{style}</style>", *parts, "</svg>\n"])


def chart(costs: Bars, top: int) -> list[str]:
    """Returns bars whose lengths are proportional to the costs; the longest fills the width."""
    scale = (WIDTH - LABEL - VALUE) / max(cost for _, cost in costs)
    parts = []
    for place, (title, cost) in enumerate(costs):
        y = top + place * (BAR + GAP)
        ours = ' class="ours"' if title == "RiteLLM" else ""
        length = max(cost * scale, 1.5)
        parts.append(f'<text x="0" y="{y + 15}"{ours}>{title}</text>')
        parts.append(f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"{ours}/>')
        parts.append(f'<text x="{LABEL + length + 8:.1f}" y="{y + 15}"{ours}>{readable(cost)}</text>')
    return parts
