"""Runs the contenders alternately, each time in a fresh process with a timeout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from contenders import Contender
from native import Server
from scenarios import SIZE, Scenario


class RunFailedError(Exception):
    """A run produced no figures; the message gives the reason in one line."""


@dataclass
class Cell:
    """The results of one contender in one scenario: its successful runs, and the error that ended them."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None
    slow: bool = False

    @property
    def cpu_per_call_us(self) -> list[float]:
        return [run["cpu_s"] * 1e6 / run["calls"] for run in self.runs]

    @property
    def calls_per_second(self) -> float:
        return float(median(run["calls"] / run["wall_s"] for run in self.runs))

    @property
    def peak_memory_mb(self) -> float:
        return float(median(run["max_rss_kb"] for run in self.runs)) / 1024


@dataclass(frozen=True)
class Runner:
    """Settings of a run: the server's address, and the time limits."""

    server: Server
    rounds: int
    #: How long a measurement should last, roughly.
    seconds: float
    #: Seconds after which a run counts as failed.
    timeout: float
    #: A contender whose run lasted longer than these seconds is not run again in that scenario.
    patience: float

    def run_all(self, scenario: Scenario, contenders: list[Contender]) -> dict[str, Cell]:
        """Runs all rounds of a scenario; every contender runs once in each round."""
        takers = [one for one in contenders if one.version and scenario.admits(one.kinds)]
        cells = {contender.name: Cell() for contender in takers}
        for number in range(1, self.rounds + 1):
            for contender in takers:
                cell = cells[contender.name]
                if cell.error or cell.slow:
                    continue
                self.take_turn(cell, scenario, contender)
                outcome = cell.error or f"{cell.cpu_per_call_us[-1]:,.1f} µs a call"
                progress = f"{scenario.title}, round {number}/{self.rounds}"
                print(f"{progress}: {contender.title}: {outcome}", file=sys.stderr)
        return cells

    def take_turn(self, cell: Cell, scenario: Scenario, contender: Contender) -> None:
        try:
            run = self.run(scenario, contender)
        except RunFailedError as error:
            cell.error = str(error)
        else:
            cell.runs.append(run)
            cell.slow = run["wall_s"] > self.patience

    def run(self, scenario: Scenario, contender: Contender) -> dict[str, Any]:
        """Runs once and returns the measurements of the process."""
        calls = scenario.calls(contender.call_us, contender.chunk_us, self.seconds)
        arguments = {
            "url": f"{self.server.url(scenario.mode.port)}/{scenario.mode.knobs}/v1",
            "mode": scenario.mode.driver_mode,
            "concurrency": scenario.concurrency,
            "calls": calls,
            # Opens every connection, and triggers everything that a client loads lazily.
            "warmup": max(scenario.concurrency, 10),
        }
        if scenario.mode.port != "http":
            arguments["ca"] = self.server.ca
        flags = [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
        run: dict[str, Any] = self.last_line_as_json([*contender.command, *flags])
        if run["characters"] != calls * SIZE:
            raise RunFailedError(f"{run['characters']} of {calls * SIZE} characters arrived")
        return run

    def last_line_as_json(self, command: list[str]) -> Any:
        """Runs the command and parses the last line of its output; libraries may have printed other lines before it."""
        environment = {name: value for name, value in os.environ.items() if not is_proxy_variable(name)}
        try:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                timeout=self.timeout,
                env=environment,
            )
        except subprocess.TimeoutExpired:
            raise RunFailedError(f"no result within {self.timeout:g} s") from None
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise RunFailedError(reason[0][:200])
        return json.loads(done.stdout.splitlines()[-1])


def is_proxy_variable(name: str) -> bool:
    """Returns True if a client would use this variable as a proxy, even on loopback."""
    return name.lower().endswith("_proxy")
