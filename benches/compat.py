"""Measures the compat layer: CPU µs of a call and of a chunk over RiteLLM's own, and its imports; LiteLLM beside it.

    python benches/compat.py
    python benches/compat.py --litellm ~/venv/bin/python     # a Python that has LiteLLM: its figures, too

The limits are those of the layer's issue: 60 µs a call, 15 µs a chunk, `import litellm` 20 ms over `import ritellm`, and touching
a type 1.3 times importing pydantic with one model. The exit code is 1 if one is exceeded.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

ROUNDS = 7
CALLS = 400
STREAMS = 8
CHUNKS = 500
LIMITS = {"a call, over RiteLLM": 60.0, "a chunk, over RiteLLM": 15.0, "import litellm, over ritellm": 20.0}
TYPES = 1.3
MESSAGES = [{"role": "user", "content": "Hi"}]

INSTALL = "import ritellm.compat; ritellm.compat.install(); "
PYDANTIC = "import ritellm, pydantic\nclass Model(pydantic.BaseModel):\n    a: int = 0\n"
IMPORTS = {
    "python": "",
    "ritellm": "import ritellm",
    "litellm": f"{INSTALL}import litellm",
    "completion": f"{INSTALL}from litellm import completion",
    "pydantic": PYDANTIC,
    "type": f"{INSTALL}from litellm import ModelResponse",
}


def cpu_of(function: Any, count: int) -> float:
    """Returns the CPU µs of a run of `function`, which does a thing `count` times: the least of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_SELF)
        function()
        after = resource.getrusage(resource.RUSAGE_SELF)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        best = min(best, spent / count)
    return best * 1e6


def measured(completion: Any, base: str) -> tuple[float, float]:
    """Returns the CPU µs of a plain call and of a chunk."""
    given: dict[str, Any] = {"base_url": base, "api_key": "sk-bench", "max_retries": 0}

    def calls() -> None:
        for _ in range(CALLS):
            completion("openai/gpt-4o-mini", MESSAGES, **given)

    def streams() -> None:
        for _ in range(STREAMS):
            assert sum(1 for _ in completion("openai/long", MESSAGES, stream=True, **given)) >= CHUNKS

    for _ in range(50):
        completion("openai/gpt-4o-mini", MESSAGES, **given)
    return cpu_of(calls, CALLS), cpu_of(streams, STREAMS * CHUNKS)


def child(which: str, base: str) -> None:
    """Measures one library in this fresh process, and prints its figures."""
    if which == "ritellm":
        import ritellm

        completion: Any = ritellm.Client(allow_http=True).completion
    else:
        if which == "compat":
            import ritellm.compat

            ritellm.compat.install()
        import litellm

        completion = litellm.completion
    call, chunk = measured(completion, base)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(call, chunk, peak)


def run(python: str, *arguments: str) -> list[float]:
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command = [python, str(Path(__file__).resolve()), *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return [float(figure) for figure in output.split()[-3:]]


def import_of(python: str, program: str) -> float:
    """Returns the CPU ms of a process that runs a program: the least of some runs."""
    best = float("inf")
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        subprocess.run([python, "-c", program], check=True, capture_output=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litellm", metavar="PYTHON", help="a Python that has LiteLLM itself")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return 0
    from ritellm.testing import MockServer

    with MockServer(intercept=False) as server:
        server.reply("Hello there, world!")
        # LiteLLM ends a stream that repeats itself.
        server.on(model="long").reply(" ".join(f"word{number}" for number in range(CHUNKS)))
        base = f"{server.url}/v1"
        rows = {which: run(sys.executable, "--child", which, base) for which in ("ritellm", "compat")}
        if arguments.litellm:
            rows["litellm"] = run(arguments.litellm, "--child", "litellm", base)
    print("| | CPU µs a call | CPU µs a chunk | peak MB |\n| --- | --- | --- | --- |")
    for which, (call, chunk, peak) in rows.items():
        print(f"| {which} | {call:.0f} | {chunk:.1f} | {peak:.0f} |")
    times = {name: import_of(sys.executable, program) for name, program in IMPORTS.items()}
    if arguments.litellm:
        times["LiteLLM itself"] = import_of(arguments.litellm, "import litellm")
    print("\n| import | CPU ms |\n| --- | --- |")
    for name, milliseconds in times.items():
        print(f"| {name} | {milliseconds:.0f} |")
    found = {
        "a call, over RiteLLM": rows["compat"][0] - rows["ritellm"][0],
        "a chunk, over RiteLLM": rows["compat"][1] - rows["ritellm"][1],
        "import litellm, over ritellm": times["litellm"] - times["ritellm"],
    }
    print()
    exceeded = False
    for name, limit in LIMITS.items():
        exceeded |= found[name] > limit
        print(f"{name}: {found[name]:.1f} of {limit:.0f} {'ms' if 'import' in name else 'µs'}")
    ratio = times["type"] / times["pydantic"]
    print(f"a type, by importing pydantic with one model: {ratio:.2f} of {TYPES}")
    return 1 if exceeded or ratio > TYPES else 0


if __name__ == "__main__":
    sys.exit(main())
