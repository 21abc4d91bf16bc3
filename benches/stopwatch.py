"""Measures the milliseconds that an import adds to a bare interpreter: the difference of two processes, as a JSON line."""

from __future__ import annotations

import json
import subprocess
import sys
import time


def seconds(*arguments: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True)
    return time.perf_counter() - started


def main() -> None:
    module = sys.argv[1]
    seconds("-c", f"import {module}")
    bare = seconds("-c", "pass")
    print(json.dumps({"figure": (seconds("-c", f"import {module}") - bare) * 1e3}))


if __name__ == "__main__":
    main()
