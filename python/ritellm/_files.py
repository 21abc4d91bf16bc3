"""Files of settings: TOML, JSON, and YAML where PyYAML is installed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from ritellm import _core
from ritellm.exceptions import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

__all__ = ["client_settings", "read", "settings", "with_environment"]


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
        import json

        return lambda text: json.loads(_core.toml_to_json(text)), ValueError
    from importlib import import_module

    try:
        yaml = import_module("yaml")
    except ImportError as error:
        raise InvalidArgumentError(f"{argument}: YAML is read with PyYAML: pip install pyyaml") from error
    return yaml.safe_load, (ValueError, yaml.YAMLError)


def with_environment(value: Any, at: str) -> Any:
    """Replaces ``${NAME}`` and ``os.environ/NAME`` in the texts of a value by the variables of the environment.

    Args:
        value: the content of a file.
        at: the place of the value, for errors.

    Raises:
        InvalidArgumentError: a variable that is not set.
    """
    if isinstance(value, Mapping):
        return {name: with_environment(item, f"{at}.{name}" if at else str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [with_environment(item, f"{at}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    if value.startswith("os.environ/"):
        return _variable(value.removeprefix("os.environ/"), at)
    return re.sub(r"\$\{(\w+)\}", lambda found: _variable(found[1], at), value)


def settings(argument: str, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the table of settings in a TOML or YAML file, with the environment's variables.

    Raises:
        InvalidArgumentError: a file that cannot be read, holds no table, or names a variable that is not set.
    """
    content = read(argument, path, ("toml", "yaml"))
    if not isinstance(content, dict):
        raise InvalidArgumentError(f"{argument}: {os.fspath(path)} holds no table of settings")
    found: dict[str, Any] = with_environment(content, "")
    return found


def client_settings(argument: str, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the arguments of a client in a file: its table ``[client]``, or the whole file if there is none.

    Raises:
        InvalidArgumentError: as for `settings`.
    """
    content = settings(argument, path)
    found = content.get("client", content)
    if not isinstance(found, dict):
        raise InvalidArgumentError(
            f"{argument}: client in {os.fspath(path)} is of type {type(found).__name__}: a table would be right"
        )
    return found


def _variable(name: str, at: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise InvalidArgumentError(f"{at} names the variable {name}, which is not set")
    return value
