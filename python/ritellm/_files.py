"""Files of settings: TOML, JSON, and YAML where PyYAML is installed."""

from __future__ import annotations

import os

from ritellm.exceptions import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

__all__ = ["read"]


def read(argument: str, path: str | os.PathLike[str], kinds: tuple[str, ...]) -> Any:
    """Returns the content of a file.

    Args:
        argument: name of the argument that names the file, for errors.
        path: the file.
        kinds: the kinds that may be read: ``"toml"``, ``"json"`` and ``"yaml"``.

    Raises:
        InvalidArgumentError: a file that cannot be read, or is of another kind.
    """
    name = os.fspath(path)
    kind = os.path.splitext(name)[1].lower().removeprefix(".").replace("yml", "yaml")
    if kind not in kinds:
        right = " or ".join(f".{kind}" for kind in kinds)
        raise InvalidArgumentError(f"{argument} is {name!r}: the path of a {right} file would be right")
    try:
        with open(name, "rb") as file:
            content = file.read()
    except OSError as error:
        raise InvalidArgumentError(f"{argument}: {name} cannot be read: {error.strerror}") from error
    loads, errors = _reader(argument, kind)
    try:
        return loads(content.decode())
    except errors as error:
        raise InvalidArgumentError(f"{argument}: {name} is no {kind.upper()}: {error}") from error


def _reader(argument: str, kind: str) -> tuple[Any, Any]:
    """Returns the function that reads a text, and the exceptions that it raises for one that is not valid."""
    if kind == "json":
        import json

        return json.loads, ValueError
    if kind == "toml":
        # Python 3.10 has no reader of TOML.
        toml = _first_of("tomllib", "tomli")
        if toml is None:
            raise InvalidArgumentError(f"{argument}: Python 3.10 reads TOML with tomli: pip install tomli")
        return toml.loads, ValueError
    yaml = _first_of("yaml")
    if yaml is None:
        raise InvalidArgumentError(f"{argument}: YAML is read with PyYAML: pip install pyyaml")
    return yaml.safe_load, (ValueError, yaml.YAMLError)


def _first_of(*names: str) -> Any:
    """Imports the first of some modules that is installed."""
    from importlib import import_module

    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None
