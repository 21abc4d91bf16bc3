"""Runs a program with ``import litellm`` meaning RiteLLM: ``python -m ritellm.compat [-m module | file] arguments``."""

from __future__ import annotations

import os
import runpy
import sys

from ritellm.compat import install
from ritellm.compat._children import prepare

USAGE = "usage: python -m ritellm.compat [-m MODULE | FILE] ARGUMENT …"


def main(arguments: list[str]) -> int:
    """Runs the program of the command line in this process."""
    if not arguments or arguments[0] in ("-h", "--help") or arguments == ["-m"]:
        print(__doc__ if arguments else USAGE, file=sys.stderr if not arguments else sys.stdout)
        return 0 if arguments and arguments[0] != "-m" else 2
    install()
    prepare(os.environ)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        # As with `python -m`: the folder in which one is.
        sys.path.insert(0, os.getcwd())
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))
        runpy.run_path(arguments[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
