"""Imported when a Python process starts whose PYTHONPATH has this folder; ``ritellm.compat._children`` says why."""

import importlib.machinery
import importlib.util
import os
import sys


def _install() -> None:
    if os.environ.get("RITELLM_COMPAT") != "litellm":
        return
    try:
        from ritellm.compat import install
    except ImportError:
        # Another Python than that of RiteLLM: the program, or some child of it.
        sys.meta_path.insert(0, _Teller())
        return
    install()


class _Teller:
    """Says that LiteLLM itself is imported."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "litellm":
            sys.meta_path.remove(self)
            print(f"ritellm run: RiteLLM is not installed for {sys.executable}, so litellm is LiteLLM", file=sys.stderr)


def _next() -> None:
    """Imports the module of the same name that this one hides."""
    here = os.path.dirname(os.path.abspath(__file__))
    paths = [path for path in sys.path if os.path.abspath(path or ".") != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", paths)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


_install()
_next()
