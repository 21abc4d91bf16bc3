"""The environment in which child processes of Python have ``import litellm`` mean RiteLLM."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

#: Variable that is read at the start of each Python process whose ``PYTHONPATH`` has `SITE`: ``litellm`` calls `install`.
VARIABLE = "RITELLM_COMPAT"
#: Folder with a ``sitecustomize`` module, which Python imports when it starts.
SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_site")


def prepare(environment: MutableMapping[str, str]) -> None:
    """Changes an environment so that the Python processes that get it have ``import litellm`` mean RiteLLM."""
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path and path != SITE]
    environment["PYTHONPATH"] = os.pathsep.join([SITE, *paths])
    environment[VARIABLE] = "litellm"
