"""Checks the cost of a call: instructions for a plain call, one with a hook, and a streamed chunk, counted by callgrind.

    python benches/guard.py              compares with guard.json; more or less than that, by more than 2 %, fails
    python benches/guard.py --record     writes guard.json
    python benches/guard.py --applies    only says why it cannot compare here, and ends with 3 if so

Unlike time, the count hardly depends on what else the machine does. The threads' turns now and then fall unluckily (a
plain call 5 % dearer in one run of four, the others alike to 0.1 %), so what is too dear is counted again, five times in
all. It is the whole process's, Python's own instructions included, 16 calls at a time, so it holds for one version of
everything that takes part; elsewhere the guard says so and passes.
"""

from __future__ import annotations

import argparse
import compileall
import json
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import machine
import native

RECORD = Path(__file__).with_name("guard.json")
#: The driver without the garbage collector of cycles, whose timing is not deterministic.
DRIVER = "import gc; gc.disable(); import driver; driver.main()"
TOLERANCE = 0.02
TRIES = 5
#: The exit code of `--applies` if the guard cannot compare; other failures have the code 1.
SKIPPED = 3
WIDTH = 16
#: The counted runs: the client and the driver's mode, the server's settings, units per call, and the numbers of calls of the
#: two runs.
COUNTED = {
    "plain call": ("ritellm", "plain", "s600", 1, 300, 1300),
    "call with a hook": ("hooked", "plain", "s600", 1, 300, 1300),
    "chunk": ("ritellm", "stream", "s600-n100", 100, 16, 116),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="take today's figures as those to hold")
    parser.add_argument("--binaries", type=Path, metavar="FOLDER", help="use this mock server, build none")
    parser.add_argument("--applies", action="store_true", help="compare nothing")
    options = parser.parse_args()
    here = circumstances()
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    obstacle = obstacle_to_comparing(recorded.get("circumstances"), here, options.record)
    if obstacle:
        print(f"bench-guard: skipped, {obstacle}")
        sys.exit(SKIPPED if options.applies else 0)
    if options.applies:
        return
    # Otherwise the first counted run would compile the modules that it imports.
    compileall.compile_dir(RECORD.parent, quiet=1, maxlevels=0)
    server = native.programs(options.binaries)[native.SERVER] if options.binaries else native.build_server()
    with native.server(server) as running:
        url = running.url()
        if options.record:
            figures = {name: min(count(url, *what) for _ in range(TRIES)) for name, what in COUNTED.items()}
            RECORD.write_text(json.dumps({"circumstances": here, "instructions": figures}, indent=2) + "\n")
            print(f"bench-guard: recorded {figures}")
            return
        held = recorded["instructions"]
        failed = [name for name, what in COUNTED.items() if not holds(name, url, what, held.get(name))]
    sys.exit(1 if failed else 0)


def obstacle_to_comparing(recorded: dict[str, str] | None, here: dict[str, str], is_new: bool) -> str | None:
    if not shutil.which("valgrind"):
        return "valgrind is not installed"
    if recorded != here and not is_new:
        return f"the figures are for {recorded}, and this is {here}"
    return None


def holds(name: str, url: str, what: tuple[str, str, str, int, int, int], held: int | None) -> bool:
    for _ in range(TRIES):
        figure = count(url, *what)
        if held is None:
            print(f"bench-guard: a {name} takes {figure:,} instructions, which are not recorded yet (--record)")
            return True
        change = figure / held - 1
        print(f"bench-guard: a {name} takes {figure:,} instructions, {change:+.1%} against {held:,}")
        if change <= TOLERANCE:
            break
    else:
        print("  that is dearer: find out why, or record it with --record and say why in the commit")
    if change < -TOLERANCE:
        print("  that is cheaper: hold it with --record")
    return abs(change) <= TOLERANCE


def circumstances() -> dict[str, str]:
    """Returns the versions that the counts depend on in addition to the code."""
    return {
        "python": platform.python_version(),
        "rust": machine.rust_version(),
        "valgrind": machine.output("valgrind", "--version").strip(),
        "libc": " ".join(platform.libc_ver()),
        # The C library chooses its functions for copying and comparing by the processor's features. Valgrind shows a processor of
        # its own, with AVX2 or without: counts of one wheel on an AMD and on an Intel were equal to 0.1 % (a plain call: 73,582
        # and 73,546).
        "processor": f"{platform.machine()} {'with' if 'avx2' in machine.cpu_fact('flags').split() else 'without'} AVX2",
    }


def count(url: str, client: str, mode: str, knobs: str, units: int, few: int, many: int) -> int:
    """Returns the instructions for one unit: the difference of two runs, which excludes startup and shutdown."""
    rest = instructions(url, client, mode, knobs, few)
    return (instructions(url, client, mode, knobs, many) - rest) // ((many - few) * units)


def instructions(url: str, client: str, mode: str, knobs: str, calls: int) -> int:
    driver = [sys.executable, "-c", DRIVER, "--client", client, "--mode", mode, "--concurrency", str(WIDTH)]
    driver += ["--calls", str(calls), "--warmup", str(WIDTH), "--url", f"{url}/{knobs}/v1"]
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *driver]
    environment = {"PYTHONHASHSEED": "0", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=environment)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        sys.exit(f"bench-guard: the driver failed\n{done.stderr[-1000:]}")
    return int(found[1])


if __name__ == "__main__":
    main()
