"""LiteLLM's surface on RiteLLM, for programs and libraries that are written for it.

>>> from ritellm.compat import litellm
>>> response = litellm.completion("openai/gpt-4o-mini", [{"role": "user", "content": "Hi"}])  # doctest: +SKIP

`install` makes ``import litellm`` mean it, in code that one does not edit: see docs/compat.md. The response types are models of
pydantic, as LiteLLM's are, so this layer needs pydantic (``pip install 'ritellm[compat]'``); RiteLLM's own types need nothing and
cost less.
"""

from __future__ import annotations

# Importing `typing` takes longer than importing the rest of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    litellm: ModuleType

__all__ = ["install", "is_installed", "litellm"]


def install() -> None:
    """Makes ``import litellm`` and its submodules mean RiteLLM in this process, whether or not LiteLLM is installed.

    To call it again changes nothing. Types are pickled by LiteLLM's names, so a process that reads such pickles must have called
    it, too.

    Raises:
        RuntimeError: LiteLLM itself was imported before.
    """
    from ritellm.compat import _finder

    _finder.install()


def is_installed() -> bool:
    """True if ``import litellm`` means RiteLLM in this process."""
    from ritellm.compat import _finder

    return _finder.is_installed()


def __getattr__(name: str) -> object:
    if name == "litellm":
        from ritellm.compat import _finder

        return _finder.module("litellm")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
