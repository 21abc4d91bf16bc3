"""Names that LiteLLM's modules have because they import them, and that programs take from there: ``from litellm import BaseModel``."""

from __future__ import annotations

from importlib import import_module

from ritellm.compat import _finder, _surface


def __getattr__(name: str) -> object:
    if name == "litellm":
        return _finder.module("litellm")
    home = _surface.IMPORTED.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = import_module(home)
    return found if home == name else getattr(found, name)
