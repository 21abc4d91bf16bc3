"""The promise under "Versions" in CONTRIBUTING.md: what programs use of the package stays as it is.

`public_names.txt` lists the public names with their parameters, as of the last release. A name that is gone, a parameter that
is gone, renamed, moved or newly required is a change that breaks programs; new names and new optional parameters are not.
``UPDATE_DOCS=1 pytest tests/test_public_names.py`` writes the list anew: at a release, or with a break that was announced.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ritellm

LIST = Path(__file__).with_name("public_names.txt")
MODULES = (
    "ritellm",
    "ritellm.exceptions",
    "ritellm.types",
    "ritellm.ray",
    "ritellm.dask",
    "ritellm.spark",
    "ritellm.testing",
    "ritellm.otel",
    "ritellm.resources",
)
KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "/",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "",
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.KEYWORD_ONLY: "=",
    inspect.Parameter.VAR_KEYWORD: "**",
}


def parameters(value: Any) -> str:
    """Returns the parameters of a callable, such as ``(model, messages, stream?=, **params)``, or nothing for others."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    parts = []
    for name, each in signature.parameters.items():
        variadic = each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        optional = "?" if each.default is not each.empty and not variadic else ""
        kind = KINDS[each.kind]
        parts.append(kind + name if variadic else name + optional + kind)
    return f"({', '.join(parts)})"


def members(owner: type) -> Iterator[str]:
    """The public members that the class defines, or a base of it that is not public itself."""
    ours = [each for each in owner.__mro__ if each.__module__.partition(".")[0] == "ritellm"]
    bases = [each for each in ours[1:] if getattr(ritellm, each.__name__, None) is each]
    names = {name for each in ours if each not in bases for name in vars(each) if not name.startswith("_")}
    yield from sorted(names)


def surface() -> dict[str, str]:
    """Every public name of the package and of its classes, with its parameters."""
    found: dict[str, str] = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in sorted(module.__all__):
            value = getattr(module, name)
            if module is not ritellm and getattr(ritellm, name, None) is value:
                continue
            found[f"{module_name}.{name}"] = parameters(value) if callable(value) else ""
            if isinstance(value, type):
                for member in members(value):
                    attribute = inspect.getattr_static(value, member, None)
                    is_method = callable(getattr(attribute, "__func__", attribute))
                    found[f"{module_name}.{name}.{member}"] = parameters(getattr(value, member)) if is_method else ""
    return found


def breaks(before: str, now: str) -> str | None:
    """Returns how calls that fit the parameters `before` may not fit those of `now`, if so."""
    old, new = (text[1:-1].split(", ") if text not in ("", "()") else [] for text in (before, now))
    plain = [part.rstrip("=/?") for part in new]
    if not any(part.startswith("**") for part in new):
        for part in old:
            if not part.startswith("*") and part.rstrip("=/?") not in plain:
                return f"{part.rstrip('=/?')} is gone"
    positional = [
        [part.rstrip("/?") for part in parts if part and not part.endswith("=") and part[0] != "*"]
        for parts in (old, new)
    ]
    if positional[1][: len(positional[0])] != positional[0]:
        return f"the order was {positional[0]} and is {positional[1]}"
    known = {part.rstrip("=/?"): "?" in part for part in old}
    for part in new:
        name = part.rstrip("=/?")
        if part[0] != "*" and "?" not in part and known.get(name, True):
            return f"{name} is required now"
    return None


def test_names_and_parameters_are_still_there() -> None:
    now = surface()
    if os.environ.get("UPDATE_DOCS"):
        LIST.write_text("".join(f"{name}{inner}\n" for name, inner in now.items()))
    broken = []
    for line in LIST.read_text().splitlines():
        name, bracket, inner = line.partition("(")
        if name not in now:
            broken.append(f"{name} is gone")
        elif bracket and (why := breaks(bracket + inner, now[name])):
            broken.append(f"{name}: {why}")
    assert broken == []


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        ("(a, b?)", "(a, b?, c?)", None),
        ("(a, b?)", "(a, b?, *, c?=)", None),
        ("(a, b?)", "(a, **others)", "the order was ['a', 'b'] and is ['a']"),
        ("(a, b?=)", "(a, **others)", None),
        ("(a, b?=)", "(a)", "b is gone"),
        ("(a)", "(a, b)", "b is required now"),
        ("(a, b?=)", "(a, b=)", "b is required now"),
        ("(a, b)", "(b, a)", "the order was ['a', 'b'] and is ['b', 'a']"),
        ("()", "()", None),
    ],
)
def test_what_breaks(before: str, now: str, why: str | None) -> None:
    assert breaks(before, now) == why
