"""Compares the cost of calls through RiteLLM and through other clients.

    python benches/bench.py            everything, 30 minutes: benches/RESULTS.md, docs/cost.svg, the README's table
    python benches/bench.py --quick    a first impression in a minute or two, only printed
    python benches/bench.py --goals    only what RiteLLM is held to (goals.py), only printed

It builds and starts the mock server, then lets the clients take turns (`runner.py`), each turn in a
fresh process (`driver.py`, or the Rust floor client). The clients to compare with are listed in
requirements.txt; one that is not installed is reported as such.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import goals
import machine
import native
import picture
from contenders import NAMES, contenders
from report import report
from runner import Runner
from scenarios import CONCURRENCIES, MODES, Scenario

RESULTS = Path(__file__).with_name("RESULTS.md")
#: More than the highest number of calls in flight, with room for the other files of a process.
OPEN_FILES = 11_000


def main() -> None:
    options = parse_arguments()
    machine.raise_open_files_limit(OPEN_FILES)
    programs = native.programs(options.binaries) if options.binaries else native.build()
    takers = contenders(options.clients, programs[native.FLOOR_CLIENT])
    scenarios = [
        Scenario(MODES[name], concurrency)
        for name in options.only
        for concurrency in MODES[name].concurrencies
        if concurrency in options.concurrency
    ]
    results, outcomes = {}, {}
    with native.server_with_tls(programs[native.SERVER]) as server:
        if options.goals or options.output:
            outcomes = goals.measure(goals.chosen(options.match), options.rounds, options.timeout, server, programs)
        if not options.goals:
            runner = Runner(server, options.rounds, options.seconds, options.timeout, options.patience)
            results = {scenario: runner.run_all(scenario, takers) for scenario in scenarios}
    text = report(command_line(), takers, results, goals.table(outcomes, machine.wheel_mb()) if outcomes else "")
    print(text)
    if options.output:
        options.output.write_text(text)
        picture.publish(takers, results)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two short rounds, 64 calls at a time")
    parser.add_argument("--goals", action="store_true", help="only what RiteLLM is held to")
    parser.add_argument("--match", default="", metavar="TEXT", help="of the goals, those with this in their title")
    parser.add_argument("--rounds", type=int, help="default: 5")
    parser.add_argument("--seconds", type=float, help="a measurement's rough length, default: 1")
    parser.add_argument("--clients", type=several(NAMES), help=",".join(NAMES))
    parser.add_argument("--only", type=several(list(MODES)), help=",".join(MODES))
    parser.add_argument("--concurrency", type=numbers, help="default: 1,64,512")
    parser.add_argument("--timeout", type=float, default=300, help="seconds after which a run counts as failed")
    parser.add_argument(
        "--patience",
        type=float,
        default=30,
        help="a client whose measurement took more than these seconds is not repeated",
    )
    parser.add_argument("--binaries", type=Path, metavar="FOLDER", help="use these Rust programs, build none")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: RESULTS.md, if nothing is left out")
    options = parser.parse_args()
    partial = options.goals or options.quick or options.clients or options.only or options.concurrency
    options.output = options.output or (None if partial else RESULTS)
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = options.seconds or (0.3 if options.quick else 1.0)
    options.clients = options.clients or NAMES
    options.only = options.only or list(MODES)
    options.concurrency = options.concurrency or ([64] if options.quick else CONCURRENCIES)
    return options


def several(known: list[str]) -> Callable[[str], list[str]]:
    """Returns an argument type: a list of known names, separated by commas."""

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return chosen

    return parse


def numbers(text: str) -> list[int]:
    """Parses an argument: numbers, separated by commas."""
    return [int(number) for number in text.split(",")]


def command_line() -> str:
    """Returns the command that repeats this run, without options that contain paths of this machine."""
    arguments = iter(sys.argv[1:])
    kept = []
    for argument in arguments:
        name, _, attached = argument.partition("=")
        if name not in ("--binaries", "--output"):
            kept.append(argument)
        elif not attached:
            next(arguments, None)
    return shlex.join(["python", "benches/bench.py", *kept])


if __name__ == "__main__":
    main()
