"""Runs everything that takes longer than CI may, and writes what it found to docs/test-long.md: ``make test-long``.

    python tests/long.py                      all parts
    python tests/long.py redis simulation     the parts with these words in their names; the page is not written

All randomness follows from RITELLM_SEED (default: 1); parts with many seeds take this one and those after it, as many as
RITELLM_SEEDS says. A test tells its figures with ``record_property("figure", "…")`` in Python, and by printing a line that
begins with ``figure: `` in Rust. The whole output of a part is in target/test-long/.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import shlex
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "test-long.md"
LOGS = ROOT / "target" / "test-long"
CARGO = "cargo test --locked -p ritellm --no-default-features --profile long"
#: One test after another: they share two processors, and some of them are real processes.
ALONE = "--nocapture --test-threads 1"


@dataclass
class Part:
    name: str
    command: str
    environment: dict[str, str] = field(default_factory=dict)


PARTS = [
    Part(
        "limits: a million random outcomes, limits that are learnt",
        f"{CARGO} --lib -- --ignored {ALONE} limits:: --skip time_of_a_request",
    ),
    Part(
        "router: 50 deployments, many seeds",
        f"{CARGO} --lib -- {ALONE} router::tests::simulation",
        {"RITELLM_SEEDS": "200", "RITELLM_CALLS": "2000"},
    ),
    Part(
        "simulation: a day of 1,000 workers on 50 deployments",
        f"{CARGO} --test simulation -- --ignored {ALONE}",
        {"UPDATE_DOCS": "1"},
    ),
    Part(
        "host: processes that are killed, frozen and forked",
        f"{CARGO} --test host_store -- --ignored {ALONE} --skip measure",
    ),
    Part("python: processes, kills, faults of a Redis, in real time", f"{sys.executable} -m pytest -m long -ra"),
]


@dataclass
class Result:
    part: Part
    seconds: float
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    code: int = 0
    figures: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        if self.failed or self.code:
            return "**failed**"
        return "passed" if self.passed else "**ran nothing**"


def run(part: Part, seeds: dict[str, str]) -> Result:
    """Runs one part, shows its output, and reads it."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{re.split(r'[:,]', part.name)[0]}.log"
    junit = log.with_suffix(".xml")
    junit.unlink(missing_ok=True)
    command = shlex.split(part.command)
    if "pytest" in command:
        command.append(f"--junit-xml={junit}")
    environment = {**os.environ, **part.environment, **seeds}
    print(f"\n======== {part.name}\n{shlex.join(command)}", flush=True)
    begin = time.monotonic()
    lines = []
    with (
        log.open("w") as file,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            file.write(line)
            lines.append(line)
    result = Result(part, time.monotonic() - begin, code=process.returncode)
    if junit.exists():
        read_junit(result, ET.parse(junit).getroot())
    else:
        read_cargo(result, lines)
    return result


def read_cargo(result: Result, lines: list[str]) -> None:
    for line in lines:
        if counts := re.match(r"test result: \w+\. (\d+) passed; (\d+) failed", line):
            result.passed += int(counts[1])
            result.failed += int(counts[2])
        elif figure := re.search(r"figure: (.*)", line):
            result.figures.append(figure[1])


def read_junit(result: Result, root: ET.Element) -> None:
    for case in root.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            result.failed += 1
        elif case.find("skipped") is not None:
            result.skipped += 1
        else:
            result.passed += 1
        for told in case.iter("property"):
            if told.get("name") == "figure":
                result.figures.append(f"`{case.get('name')}`: {told.get('value')}")


def page(results: list[Result], seeds: dict[str, str]) -> str:
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    today = datetime.datetime.now(datetime.timezone.utc).date()
    told = ", ".join(f"{name}={value}" for name, value in seeds.items())
    lines = [
        "# The long tests",
        "",
        "What takes longer than CI may: tests of shared limits with real processes, simulations with many seeds. `make test-long` "
        "runs them and writes this page (`tests/long.py`).",
        "",
        f"Run on {today} at commit {commit.stdout.strip() or 'unknown'}, {platform.system()} on {platform.machine()} with "
        f"{os.cpu_count()} processors, {told}.",
        "",
        "| part | tests | failed | skipped | seconds | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        total = result.passed + result.failed
        cells = [result.part.name, total, result.failed, result.skipped, f"{result.seconds:.0f}", result.verdict]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for result in results:
        own = " ".join(f"{name}={value}" for name, value in {**result.part.environment, **seeds}.items())
        command = result.part.command.replace(sys.executable, "python")
        lines += ["", f"## {result.part.name[0].upper()}{result.part.name[1:]}", "", f"`{own} {command}`"]
        if result.figures:
            lines += ["", *(f"- {figure}" for figure in result.figures)]
    return "\n".join(lines) + "\n"


def main() -> int:
    words = sys.argv[1:]
    parts = [part for part in PARTS if not words or any(word in part.name for word in words)]
    if not parts:
        print(f"no part has a name with {words} in it; there are: {[part.name for part in PARTS]}", file=sys.stderr)
        return 2
    seeds = {"RITELLM_SEED": os.environ.get("RITELLM_SEED", "1")}
    seeds |= {name: os.environ[name] for name in ("RITELLM_SEEDS",) if name in os.environ}
    print(" ".join(f"{name}={value}" for name, value in seeds.items()), flush=True)
    results = [run(part, seeds) for part in parts]
    text = page(results, seeds)
    if words:
        print(text)
    else:
        PAGE.write_text(text)
    print("\n".join(f"{result.verdict}: {result.part.name}, {result.seconds:.0f} s" for result in results))
    return int(any(result.verdict != "passed" for result in results))


if __name__ == "__main__":
    sys.exit(main())
