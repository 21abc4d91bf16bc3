"""The performance goals of RiteLLM: each one is a ratio, or a size, with the figure that it must reach.

The two sides of a ratio take turns, each time in a fresh process; the figure is the ratio of their medians.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import native
from report import markdown_table, readable
from runner import is_proxy_variable
from scenarios import MODES

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Side:
    """One side of a ratio: a program, and the figure that its last line of output holds.

    A command may begin with the name of one of the harness's Rust programs.
    """

    command: tuple[str, ...]
    per: str = ""
    #: Which of the mock server's ports it calls.
    port: str = "http"
    #: The time that counts: that of the processors, or that of the clock.
    time: str = "cpu_s"

    def figure(self, line: Any) -> float:
        if not self.per:
            return float(line["figure"])
        return float(line[self.time] * 1e6 / line[self.per])


@dataclass(frozen=True)
class Goal:
    """A ratio of `above` and `below`, or `above` alone as a size. Without `must` it is shown for comparison only."""

    title: str
    unit: str
    must: float | None
    stretch: float | None
    above: Side
    below: Side | None = None
    at_least: bool = False
    rounds: int | None = None

    def verdict(self, figure: float) -> str:
        if self.must is None:
            return ""

        def reached(wanted: float) -> bool:
            return figure >= wanted if self.at_least else figure <= wanted

        if self.stretch is not None and reached(self.stretch):
            return "stretch"
        return "met" if reached(self.must) else "**missed**"


@dataclass
class Outcome:
    """The measurements for a goal."""

    above: list[float] = field(default_factory=list)
    below: list[float] = field(default_factory=list)
    error: str | None = None

    @property
    def figure(self) -> float:
        return median(self.above) / (median(self.below) if self.below else 1)


def calls(client: str, mode: str, concurrency: int, count: int, warmup: int | None = None) -> Side:
    """A run of `driver.py`, or of the floor client: CPU for a call, or for a chunk."""
    one = MODES[mode]
    program = (
        (native.FLOOR_CLIENT,) if client == "floor" else (sys.executable, str(FOLDER / "driver.py"), "--client", client)
    )
    flags = {
        "mode": one.driver_mode,
        "concurrency": concurrency,
        "calls": count,
        "warmup": warmup or max(concurrency, 500 if count > 1000 else 10),
    }
    arguments = tuple(part for name, value in flags.items() for part in (f"--{name}", str(value)))
    if one.port != "http":
        arguments += ("--ca", "AUTHORITY")
    per = "chunks" if one.chunks else "calls"
    return Side((*program, *arguments, "--url", f"SERVER/{one.knobs}/v1"), per, one.port)


def probe(name: str, client: str = "ritellm") -> Side:
    """A run of `probes.py`."""
    return Side((sys.executable, str(FOLDER / "probes.py"), name, "--client", client, "--url", "SERVER"))


def job(rows: int, time: str = "cpu_s", what: str = "rows") -> Side:
    """A run of `bulk.py`: the time of a row, or the figure that it says."""
    program = (
        sys.executable,
        str(FOLDER / "bulk.py"),
        "--rows",
        str(rows),
        "--url",
        f"SERVER/{MODES['plain'].knobs}/v1",
        "--what",
        what,
    )
    return Side(program, "calls" if what in ("rows", "loop") else "", time=time)


def milliseconds(*program: str) -> Side:
    """A run of a Python program, measured from start to end."""
    return Side((sys.executable, str(FOLDER / "stopwatch.py"), *program))


#: Clients and probes that need a Redis.
NEED_REDIS = ("redis", "redis-round-trips")

PLAIN = calls("ritellm", "plain", 64, 40_000)
#: The same call of a `Client`, which limits and routers are compared with.
CLIENT = calls("client", "plain", 64, 40_000)


def beside_client(title: str, must: float, variant: str, warmup: int | None = None) -> Goal:
    """Returns the goal of a plain call through a variant of variants.py."""
    above = calls(variant, "plain", 64, 40_000, warmup)
    # The differences are as small as the spread of single runs.
    return Goal(f"{title} ÷ a plain client", "", must, None, above, CLIENT, rounds=15)


GOALS = [
    Goal(
        "plain call, 64 at a time: aiohttp + orjson ÷ ours", "", 6, 9, calls("aiohttp", "plain", 64, 6_000), PLAIN, True
    ),
    Goal("plain call, 64 at a time: ours ÷ the Rust floor", "", 1.5, 1.0, PLAIN, calls("floor", "plain", 64, 40_000)),
    Goal(
        "plain call, 1 at a time: ours ÷ the Rust floor",
        "",
        2.2,
        1.5,
        calls("ritellm", "plain", 1, 6_000),
        calls("floor", "plain", 1, 6_000),
    ),
    Goal(
        "chunk of a burst, 64 at a time: aiohttp + orjson ÷ ours",
        "",
        5,
        9,
        calls("aiohttp", "burst", 64, 1_000),
        calls("ritellm", "burst", 64, 3_000),
        True,
    ),
    Goal(
        "chunk, dripped 10 at a time, 64 streams: ours ÷ the Rust floor",
        "",
        1.5,
        1.2,
        calls("ritellm", "drip", 64, 1_500),
        calls("floor", "drip", 64, 1_500),
        # A chunk that arrives every 5 ms finds caches that other programs have filled: the time varies by half from run
        # to run.
        rounds=15,
    ),
    Goal("Anthropic's wire, plain call: ours ÷ our OpenAI path", "", 1.6, 1.2, probe("anthropic"), probe("openai")),
    Goal(
        "Anthropic's wire, chunk: ours ÷ our OpenAI path",
        "",
        1.6,
        1.2,
        probe("anthropic-stream"),
        probe("openai-stream"),
    ),
    Goal("Gemini's wire, plain call: ours ÷ our OpenAI path", "", 1.6, 1.2, probe("gemini"), probe("openai")),
    Goal("Gemini's wire, chunk: ours ÷ our OpenAI path", "", 1.6, 1.2, probe("gemini-stream"), probe("openai-stream")),
    Goal("plain call, 64 at a time: openai SDK ÷ ours", "", 100, 150, calls("openai", "plain", 64, 300), PLAIN, True),
    Goal("plain call, 64 at a time: LiteLLM ÷ ours", "", 150, 250, calls("litellm", "plain", 64, 600), PLAIN, True),
    Goal(
        "2 MB request and 2 MB answer: ours ÷ aiohttp + orjson", "", 0.5, 0.3, probe("large"), probe("large", "aiohttp")
    ),
    Goal("`completion` from 32 threads ÷ `acompletion`, 32 at a time", "", 1.5, 1.1, probe("threads"), probe("tasks")),
    Goal("… beside it: `acompletion`, 32 at a time", "µs", None, None, probe("tasks")),
    Goal("… and handing on among 32 sleeping threads", "µs", None, None, Side((native.HANDOVER,))),
    Goal(
        "embeddings, 256 × 1536, lists: ours ÷ aiohttp + orjson",
        "",
        0.5,
        None,
        probe("vectors"),
        probe("vectors", "aiohttp"),
    ),
    Goal(
        "embeddings, 256 × 1536, numpy: ours ÷ aiohttp + orjson",
        "",
        0.05,
        None,
        probe("numpy"),
        probe("vectors", "aiohttp"),
    ),
    *(
        Goal(
            f"{MODES[mode].title}, 64 at a time: ours ÷ the Rust floor",
            "",
            1.0,
            0.8,
            calls("ritellm", mode, 64, count),
            calls("floor", mode, 64, count),
        )
        for mode, count in (("tls", 20_000), ("tls-burst", 2_000), ("h2", 20_000), ("h2-burst", 2_000))
    ),
    Goal(
        "TLS and HTTP/2, 256 at a time: ours ÷ httpx",
        "",
        0.15,
        0.08,
        calls("ritellm", "h2", 256, 20_000),
        calls("httpx", "h2", 256, 2_000),
        rounds=3,
    ),
    # 2 µs of the 20 of a plain call.
    beside_client("a hook that does nothing", 1.1, "hooked"),
    beside_client("limits declared", 1.05, "declared"),
    # It begins with a few calls a second, and no more than doubles them each second.
    beside_client("limits: adaptive", 1.05, "adaptive", warmup=100_000),
    beside_client("limits shared by the processes of a host", 1.08, "host"),
    beside_client("limits shared by a Redis", 1.15, "redis"),
    Goal(
        "limits shared by a Redis: calls for each round trip, at 1,000 calls a second",
        "",
        50,
        None,
        probe("redis-round-trips"),
        at_least=True,
        rounds=1,
    ),
    beside_client("router, 2 deployments", 1.15, "router"),
    beside_client("router, 64 deployments", 1.25, "router-64"),
    beside_client("router, hedging armed", 1.3, "router-hedged"),
    Goal(
        "router, 2 deployments: LiteLLM ÷ ours",
        "",
        200,
        None,
        calls("litellm-router", "plain", 64, 300),
        calls("router", "plain", 64, 40_000),
        True,
    ),
    Goal(
        "bulk, file to file, 64 in flight: CPU a row ÷ a call of an `acompletion` loop",
        "",
        1.2,
        1.0,
        job(40_000),
        PLAIN,
    ),
    Goal(
        "bulk, file to file, 64 in flight: time a row ÷ the Rust floor just making the calls",
        "",
        1 / 0.9,
        1.0,
        job(40_000, "wall_s"),
        replace(calls("floor", "plain", 64, 40_000), time="wall_s"),
    ),
    Goal("bulk, 1,000,000 rows: growth of memory a row", "B", 24, 20, job(1_000_000, what="memory"), rounds=1),
    Goal(
        "bulk: a row ÷ one of an `acompletion` loop with JSONL in and out",
        "",
        1.0,
        0.7,
        job(40_000),
        job(40_000, what="loop"),
    ),
    Goal("bulk: the journal, CPU of a row", "µs", 3, 2, job(40_000, what="threads")),
    Goal("bulk: opening a folder, CPU of a finished row", "µs", 0.5, 0.1, job(40_000, what="resume"), rounds=3),
    Goal("… without its index", "µs", 2, 1, job(40_000, what="rebuild"), rounds=3),
    Goal("bulk: p99 of 50 calls a second beside a job ÷ without", "", 2, 1.2, job(1_000_000, what="beside"), rounds=1),
    Goal("10,000 calls in flight: memory for each", "kB", 40, 20, probe("in-flight"), rounds=3),
    Goal("import, over the bare interpreter", "ms", 15, 8, milliseconds("ritellm"), rounds=21),
    Goal("memory after the first call", "MB", 12, 8, probe("first-call")),
    Goal("plain call: 4096 at a time ÷ 64 at a time", "", 1.3, 1.1, calls("ritellm", "plain", 4096, 60_000), PLAIN),
    Goal(
        "… beside it: the Rust floor, 4096 at a time ÷ 64 at a time",
        "",
        None,
        None,
        calls("floor", "plain", 4096, 60_000),
        calls("floor", "plain", 64, 40_000),
    ),
    Goal("1,000,000 calls: growth after the first 50,000", "MB", 2, 0, probe("million"), rounds=1),
    Goal(
        "a busy Python thread beside 64 at a time, added latency: ours ÷ aiohttp",
        "",
        0.6,
        None,
        probe("beside"),
        probe("beside", "aiohttp"),
    ),
]


def chosen(part: str) -> list[Goal]:
    """Returns the goals whose title contains this text."""
    return [goal for goal in GOALS if part in goal.title]


def measure(
    goals: Sequence[Goal], rounds: int, timeout: float, server: native.Server, programs: dict[str, Path]
) -> dict[Goal, Outcome]:
    """Measures all goals, one after the other; the runs of the two sides of a goal are interleaved."""
    outcomes = {}
    for goal in goals:
        outcomes[goal] = outcome = Outcome()
        for _ in range(goal.rounds or rounds):
            for side, figures in ((goal.above, outcome.above), (goal.below, outcome.below)):
                if side is None or outcome.error:
                    continue
                try:
                    figures.append(run(side, server, programs, timeout))
                except RuntimeError as error:
                    outcome.error = str(error)
        print(f"{goal.title}: {outcome.error or readable(outcome.figure)}", file=sys.stderr)
    return outcomes


def run(side: Side, server: native.Server, programs: dict[str, Path], timeout: float) -> float:
    program, *arguments = side.command
    values = {"SERVER": server.url(side.port), "AUTHORITY": server.ca}
    command = [str(programs.get(program, program)), *(filled_in(argument, values) for argument in arguments)]
    # Otherwise numpy's threads would spin during the measurement.
    env = {name: value for name, value in os.environ.items() if not is_proxy_variable(name)}
    env["OPENBLAS_NUM_THREADS"] = "1"
    if any(name in NEED_REDIS for name in arguments):
        if not server.redis:
            raise RuntimeError("redis-server is not installed")
        env["REDIS"] = server.redis
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout, env=env)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no result within {timeout:g} s") from None
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"])[0][:200])
    return side.figure(json.loads(done.stdout.splitlines()[-1]))


def filled_in(argument: str, values: dict[str, str]) -> str:
    """Returns the argument with the placeholder at its start replaced by its value."""
    for word, value in values.items():
        if argument.startswith(word):
            return value + argument[len(word) :]
    return argument


def table(outcomes: dict[Goal, Outcome], wheel_mb: float | None) -> str:
    """Returns the goals and their measurements as Markdown."""
    rows = []
    for goal, outcome in outcomes.items():
        sign = "≥" if goal.at_least else "≤"
        unit = f" {goal.unit}" if goal.unit else ""
        stretch = "" if goal.stretch is None else f"{sign} {goal.stretch:g}{unit}"
        if outcome.error or not outcome.above:
            measured, verdict = f"failed: {outcome.error}", "**not measured**"
        else:
            measured, verdict = f"{readable(outcome.figure)}{unit}", goal.verdict(outcome.figure)
        must = "" if goal.must is None else f"{sign} {goal.must:g}{unit}"
        rows.append([goal.title, must, stretch, measured, verdict, str(len(outcome.above))])
    if wheel_mb is not None:
        verdict = "stretch" if wheel_mb < 5 else "met" if wheel_mb < 8 else "**missed**"
        rows.append(["the wheel", "≤ 8 MB", "≤ 5 MB", f"{readable(wheel_mb)} MB", verdict, "1"])
    return markdown_table(("goal", "must", "stretch", "measured", "verdict", "runs"), rows)
