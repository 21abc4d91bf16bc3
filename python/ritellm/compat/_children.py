"""The environment in which child processes of Python have ``import litellm`` mean RiteLLM."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import MutableMapping, Sequence

#: Variable that is read at the start of each Python process whose ``PYTHONPATH`` has `SITE`: ``litellm`` calls `install`.
VARIABLE = "RITELLM_COMPAT"
#: Folder with a ``sitecustomize`` module, which Python imports when it starts.
SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_site")


def prepare(environment: MutableMapping[str, str]) -> None:
    """Changes an environment so that the Python processes that get it have ``import litellm`` mean RiteLLM."""
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path and path != SITE]
    environment["PYTHONPATH"] = os.pathsep.join([SITE, *paths])
    environment[VARIABLE] = "litellm"


def run(command: Sequence[str]) -> int:
    """Runs a program with such an environment, and returns its exit code. On Unix this process becomes the program."""
    prepare(os.environ)
    found = shutil.which(command[0])
    if found is None:
        print(f"ritellm run: there is no program {command[0]!r}", file=sys.stderr)
        return 127
    if os.name == "posix":
        sys.stdout.flush()
        os.execv(found, list(command))
    return subprocess.run([found, *command[1:]], check=False).returncode
