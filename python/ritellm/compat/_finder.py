"""The modules ``litellm`` and ``litellm.*``: objects that find their names in the table when they are used."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

from ritellm.compat import _settings, _surface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any
else:
    Any = object

_modules: dict[str, ModuleType] = {}
# The dictionary of a module, whatever its class says.
_namespace: Any = vars(ModuleType)["__dict__"].__get__


def module(name: str) -> ModuleType:
    """Returns the module with LiteLLM's name ``name``, which may or may not be what ``import`` finds."""
    found = _modules.get(name)
    return found if found is not None else _make(name)


def _make(name: str) -> ModuleType:
    kind = _EagerDict if name in _surface.STRICT else ModuleType
    made = kind(name, f"RiteLLM in the place of {name}: see ritellm.compat.")
    _modules[name] = made
    # Each is a package: LiteLLM's own division into packages and files changes from release to release.
    namespace = _namespace(made)
    namespace["__path__"], namespace["__package__"] = [], name
    namespace["__getattr__"], namespace["__dir__"] = _getattr_of(name), _dir_of(name)
    if name == "litellm":
        namespace["__file__"] = __file__
        namespace.update(_settings.defaults())
        folder = path_in_litellm("litellm_core_utils/tokenizers")
        if folder is not None:
            # LiteLLM sets it when it is imported, and programs that use tiktoken offline count on it.
            os.environ.setdefault("TIKTOKEN_CACHE_DIR", folder)
    return made


def path_in_litellm(name: str) -> str | None:
    """Returns the path of a file or folder of an installed package ``litellm``, without importing it, or None."""
    for folder in sys.path:
        path = os.path.join(folder, "litellm", name)
        if os.path.exists(path):
            return path
    return None


def _getattr_of(name: str) -> Any:
    prefix = name + "."

    def __getattr__(attribute: str) -> Any:
        if attribute == "__all__":
            # For `from litellm.types.utils import *`.
            return sorted(each for each in _surface.names(name) if not each.startswith("_"))
        if attribute.startswith("__"):
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        place = _surface.place(name, attribute)
        if place is not None:
            value = getattr(import_module("ritellm.compat." + place[0]), place[1])
        elif prefix + attribute in _surface.MODULES:
            value = _submodule(prefix + attribute)
        else:
            raise AttributeError(
                f"module {name!r} has no attribute {attribute!r}; this is RiteLLM's compat layer, and docs/compat.md lists what it has"
            )
        # Variables that the layer itself changes are read anew each time.
        if attribute not in _surface.VARIABLES:
            _namespace(_modules[name]).setdefault(attribute, value)
        return value

    return __getattr__


def _submodule(name: str) -> ModuleType:
    if is_installed():
        import_module(name)
    return module(name)


def _dir_of(name: str) -> Any:
    def __dir__() -> list[str]:
        found = {*_namespace(_modules[name]), *_surface.names(name)} - {"__getattr__", "__dir__"}
        # Reading such a name puts it in the namespace.
        return sorted(found - _surface.UNLISTED if name == "litellm" else found)

    return __dir__


class _EagerDict(ModuleType):
    """A module whose ``__dict__`` has all of its names as soon as somebody looks into it.

    Libraries look exceptions up in ``litellm.exceptions.__dict__``.
    """

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        for name in _surface.names(self.__name__):
            getattr(self, name)
        namespace: dict[str, Any] = _namespace(self)
        return namespace


class _Finder:
    """Finds ``litellm`` and its submodules, on ``sys.meta_path``."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in _surface.MODULES:
            return ModuleSpec(name, _Loader, origin="ritellm.compat", is_package=True)  # type: ignore[arg-type]
        return None

    @staticmethod
    def find_distributions(context: Any = None) -> list[Any]:
        """Returns what `importlib.metadata` knows of ``litellm``: libraries ask for its version."""
        if context is None or context.name != "litellm":
            return []
        for finder in sys.meta_path:
            find = getattr(finder, "find_distributions", None)
            if find is not None and finder is not _finder and any(True for _ in find(context)):
                # LiteLLM itself is installed, too, and has files that are read.
                return []
        from ritellm.compat import _metadata

        return [_metadata.Distribution()]

    @staticmethod
    def invalidate_caches() -> None:
        """Does nothing: there is nothing on disk to look at again."""


class _Loader:
    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        return module(spec.name)

    @staticmethod
    def exec_module(loaded: ModuleType) -> None:
        if loaded.__name__ == "litellm":
            # These are functions of `litellm`, too. A package that is loaded already is not set as its parent's attribute.
            for name in _surface.SHADOWED:
                sys.modules.setdefault(name, module(name))


_finder = _Finder()


def is_installed() -> bool:
    """True if ``import litellm`` means RiteLLM."""
    return _finder in sys.meta_path


def install() -> None:
    """Puts the finder before all others."""
    if is_installed():
        return
    if "litellm" in sys.modules:
        place = getattr(sys.modules["litellm"], "__file__", None)
        raise RuntimeError(
            f"litellm was imported before ritellm.compat.install() was called (from {place}): call it first, or start the program "
            "with `ritellm run -- …`"
        )
    sys.meta_path.insert(0, _finder)
