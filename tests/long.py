"""Runs everything that takes longer than CI may, and writes what it found to docs/test-long.md: ``make test-long``.

    python tests/long.py                      all parts
    python tests/long.py redis simulation     the parts with these words in their names

All of it takes an hour, so that each part has its own date and commit on the page: what was found is kept in
docs/test-long.json, which is committed with the page, and the page is made of the last run of each part.

All randomness follows from RITELLM_SEED (default: 1); parts with many seeds take this one and those after it, as many as
RITELLM_SEEDS says. A test tells its figures with ``record_property("figure", "…")`` in Python, and by printing a line that
begins with ``figure: `` in Rust. The whole output of a part is in target/test-long/.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "test-long.md"
FOUND = PAGE.with_suffix(".json")
LOGS = ROOT / "target" / "test-long"
CARGO = "cargo test --locked -p ritellm --no-default-features --profile long"
#: One test after another: they share two processors, and some of them are real processes.
ALONE = "--nocapture --test-threads 1"
PYTEST = f"{sys.executable} -m pytest -m long -ra"


@dataclass
class Part:
    name: str
    command: str
    environment: dict[str, str] = field(default_factory=dict)


PARTS = [
    Part(
        "limits: a million random outcomes, limits that are learnt",
        f"{CARGO} --lib -- --ignored {ALONE} limits:: four_members --skip time_of_a_request",
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
    Part(
        "shared: processes that join, are frozen and killed, a Redis that fails",
        f"{PYTEST} tests/long/test_limits_shared_chaos.py",
    ),
    Part("redis: frozen, slow, restarted, gone", f"{PYTEST} tests/long/test_limits_redis_down.py"),
    Part("clock: set forward and back", f"{PYTEST} tests/long/test_limits_clock.py"),
    Part("jobs: limits that are halved while they run", f"{PYTEST} tests/long/test_bulk_limits.py"),
    # Nine minutes each, in real time: a part of its own, to be run again alone.
    *(
        Part(
            f"adaptive, {server}: limits that nobody told, of real servers",
            f'{PYTEST} "tests/long/test_adaptive_real.py::test_limits_are_found[{server}]"',
        )
        for server in ("bucket of 1 s", "bucket of 10 s", "clock's window", "clock's second", "calls in flight")
    ),
    Part(
        "engines: Ray, Dask and Spark with workers that are killed",
        f"{PYTEST} tests/long/test_engines_faults.py",
    ),
    Part("others: what else is marked as long", f"{PYTEST} --ignore tests/long"),
]


@dataclass
class Result:
    date: str
    commit: str
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


def file_of(part: Part) -> Path:
    return LOGS / re.sub(r"\W+", "-", part.name.partition(":")[0])


def commit() -> str:
    """Returns the last commit that changed what the tests are about."""
    paths = ["src", "python", "tests", "Cargo.toml", "Cargo.lock", ":!tests/long.py"]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments, "--", *paths], cwd=ROOT, capture_output=True, text=True
        ).stdout.strip()

    return (git("log", "-1", "--format=%h") or "unknown") + ("-dirty" if git("status", "--porcelain") else "")


def run(part: Part, seeds: dict[str, str]) -> Result:
    """Runs one part, shows its output, reads it, and keeps what it found."""
    LOGS.mkdir(parents=True, exist_ok=True)
    today = datetime.datetime.now(datetime.timezone.utc).date()
    at = commit()
    log = file_of(part).with_suffix(".log")
    junit = log.with_suffix(".xml")
    junit.unlink(missing_ok=True)
    command = shlex.split(part.command)
    if "pytest" in command:
        # The figures are properties, which the newer format has no place for.
        command += [f"--junit-xml={junit}", "-o", "junit_family=xunit1"]
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
    result = Result(str(today), at, time.monotonic() - begin, code=process.returncode)
    if junit.exists():
        read_junit(result, ET.parse(junit).getroot())
    else:
        read_cargo(result, lines)
    found = json.loads(FOUND.read_text()) | {part.name: asdict(result)}
    FOUND.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
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


def page(results: list[tuple[Part, Result | None]], seeds: dict[str, str]) -> str:
    told = ", ".join(f"{name}={value}" for name, value in seeds.items())
    lines = [
        "# The long tests",
        "",
        "What takes longer than CI may: tests of shared limits with real processes, simulations with many seeds. `make test-long` "
        "runs them and writes this page (`tests/long.py`).",
        "",
        f"Run on {platform.system()} on {platform.machine()} with {os.cpu_count()} processors, {told}. The commit is the last one "
        "that had changed code or tests.",
        "",
        "| part | tests | failed | skipped | seconds | verdict | on | at commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for part, result in results:
        cells: list[object] = [part.name, *[""] * 4, "has not run", "", ""]
        if result is not None:
            total = result.passed + result.failed
            counts = [total, result.failed, result.skipped, f"{result.seconds:.0f}"]
            cells = [part.name, *counts, result.verdict, result.date, result.commit]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for part, result in results:
        own = " ".join(f"{name}={value}" for name, value in {**part.environment, **seeds}.items())
        command = part.command.replace(sys.executable, "python")
        lines += ["", f"## {part.name[0].upper()}{part.name[1:]}", "", f"`{own} {command}`"]
        if result is not None and result.figures:
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
    results = []
    for part in parts:
        results.append((part, run(part, seeds)))
        found = json.loads(FOUND.read_text())
        known = [(each, Result(**found[each.name]) if each.name in found else None) for each in PARTS]
        PAGE.write_text(page(known, seeds))
    print("\n".join(f"{result.verdict}: {part.name}, {result.seconds:.0f} s" for part, result in results))
    return int(any(result.verdict != "passed" for _, result in results))


if __name__ == "__main__":
    sys.exit(main())
