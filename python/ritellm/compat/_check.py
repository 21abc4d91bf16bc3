"""``ritellm compat check``: what a code base uses of LiteLLM, and what of that this layer has."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ritellm.compat import _settings, _surface

__all__ = ["DIFFERENT", "Use", "check", "status_of", "uses_in"]

#: Names that do something else here, or less, and what that is; the others are the same.
DIFFERENT = {
    "AnthropicConfig": "a class inside of LiteLLM that calls do not go through",
    "AllowedFailsPolicy": "has no effect",
    "Cache": "in memory, in a folder or in a Redis; callers with another key do not get the answers",
    "DualCache": "in memory alone",
    "Logging": "the name is there; calls do not go through it",
    "OpenAIChatCompletion": "a class inside of LiteLLM; calls go through those of its methods that are replaced, and no others",
    "OpikLogger": "a class inside of LiteLLM that calls do not go through",
    "REPEATED_STREAMING_CHUNK_LIMIT": "has no effect: a stream that repeats itself goes on",
    "RetryPolicy": "numbers by the class; the router's fallbacks are asked within each repetition",
    "Router": "a Redis shares cached answers alone; allowed_fails_policy, retry_after, plugins, routing_groups "
    "and arguments of LiteLLM's proxy have no effect",
    "aclient_session": "has no effect: RiteLLM has its own connections",
    "add_function_to_prompt": "has no effect",
    "aimage_edit": "raises BadRequestError: the core makes no pictures",
    "aimage_generation": "raises BadRequestError, unless a provider of the program's own makes the pictures",
    "aimage_variation": "raises BadRequestError: the core makes no pictures",
    "amoderation": "raises BadRequestError: the core has no moderation",
    "atext_completion": "sends the text as a message",
    "atranscription": "raises BadRequestError: the core transcribes nothing",
    "client_session": "has no effect: RiteLLM has its own connections",
    "failure_callback": "functions and CustomLogger; names of LiteLLM's integrations do nothing",
    "get_model_info": "from the map alone: neither Ollama nor another server is asked; a model of Ollama's without an entry costs nothing",
    "get_optional_params": "returns what was given, without what the model does not take: the core translates",
    "get_valid_models": "from the map and the environment alone: nobody is asked",
    "image_edit": "raises BadRequestError: the core makes no pictures",
    "image_generation": "raises BadRequestError, unless a provider of the program's own makes the pictures",
    "image_variation": "raises BadRequestError: the core makes no pictures",
    "litellm_logging": "the names are there; calls do not go through them",
    "moderation": "raises BadRequestError: the core has no moderation",
    "modify_params": "has no effect: messages are always made such that the provider takes them",
    "service_callback": "has no effect",
    "success_callback": "functions and CustomLogger; names of LiteLLM's integrations do nothing",
    "telemetry": "has no effect: nothing is sent to anybody",
    "text_completion": "sends the text as a message",
    "token_counter": "tools of DeepSeek's models are counted as those of others; without tiktoken, a token is four bytes",
    "transcription": "raises BadRequestError: the core transcribes nothing",
    "use_client": "has no effect",
}
#: Folders that hold no code of the project.
_LEFT_OUT = frozenset(
    (
        ".git",
        ".hg",
        ".mypy_cache",
        ".nox",
        ".pytest_cache",
        ".ruff_cache",
        ".tox",
        ".venv",
        "__pycache__",
        "node_modules",
        "site-packages",
        "venv",
    )
)
#: Functions that take the name of what they replace as a text.
_BY_NAME = ("patch", "setattr", "delattr", "import_module", "resolve_name", "find_spec")


class Use(NamedTuple):
    """One use of LiteLLM.

    Attributes:
        name: LiteLLM's dotted name.
        file: the file.
        line: the line, from 1.
        how: ``"import"``, ``"read"``, ``"assign"`` or ``"by name"``.
    """

    name: str
    file: str
    line: int
    how: str


def check(paths: Iterable[str]) -> list[Use]:
    """Returns all uses of LiteLLM in the Python files of folders, by file and line.

    Args:
        paths: files and folders.

    Raises:
        OSError: a file that cannot be read, or a path that is not there.
    """
    uses = [use for path in paths for file in _files(path) for use in uses_in(_read(file), str(file))]
    # What LiteLLM does not have, and the project assigns, is the project's own mark on the module.
    own = {use.name for use in uses if use.how == "assign" and status_of(use.name)[0] == "missing"}
    return [use for use in uses if use.name not in own]


def status_of(name: str) -> tuple[str, str]:
    """Returns ``"same"``, ``"different"`` or ``"missing"`` for a dotted name of LiteLLM's, and what is to be said of it."""
    module, attribute = _split(name)
    if attribute is None:
        return ("same", "") if module in _surface.MODULES else ("missing", "")
    if attribute in DIFFERENT:
        return "different", DIFFERENT[attribute]
    if _surface.place(module, attribute) is not None or f"{module}.{attribute}" in _surface.MODULES:
        return "same", ""
    if module == "litellm" and attribute in _settings.defaults():
        return "same", ""
    if attribute.startswith("__"):
        return "same", ""
    return "missing", ""


def _split(name: str) -> tuple[str, str | None]:
    """Returns the module and the attribute of a dotted name; what comes after them is the attribute's own."""
    parts = name.split(".")
    module = parts[0]
    for at, part in enumerate(parts[1:], 1):
        longer = f"{module}.{part}"
        is_function = longer in _surface.SHADOWED and at == len(parts) - 1
        if longer not in _surface.MODULES or is_function:
            return module, part
        module = longer
    return module, None


def _files(path: str) -> Iterator[Path]:
    start = Path(path)
    if not start.is_dir():
        if not start.exists():
            raise FileNotFoundError(f"{path} is not there: a folder or a file of Python would be right")
        yield start
        return
    for folder, folders, files in os.walk(start):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        for file in sorted(files):
            if file.endswith((".py", ".pyi")):
                yield Path(folder) / file


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def uses_in(source: str, file: str = "") -> list[Use]:
    """Returns the uses of LiteLLM in a text of Python; none in one that is not Python.

    Args:
        source: the text.
        file: the name of its file.
    """
    if "litellm" not in source:
        return []
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    found = _Uses(file)
    found.visit(tree)
    return sorted(set(found.uses), key=lambda use: (use.line, use.name))


class _Uses(ast.NodeVisitor):
    """Collects uses. Names of modules hold in the whole file, wherever they are imported: most files import at the top."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.uses: list[Use] = []
        #: Name in the file → LiteLLM's dotted name.
        self.names: dict[str, str] = {}
        #: True if a module of the project's own hands the module over: its private names are the project's.
        self.is_handed_over = False

    def add(self, name: str, node: ast.AST, how: str) -> None:
        """Notes a use."""
        self.uses.append(Use(name, self.file, getattr(node, "lineno", 0), how))

    def visit_Module(self, node: ast.Module) -> None:
        """Reads the imports before all else."""
        for inner in ast.walk(node):
            if isinstance(inner, ast.Import):
                for alias in inner.names:
                    if _is_litellm(alias.name):
                        bound = alias.asname or "litellm"
                        self.names[bound] = alias.name if alias.asname else "litellm"
            elif isinstance(inner, ast.ImportFrom) and inner.level == 0 and _is_litellm(inner.module or ""):
                for alias in inner.names:
                    self.names[alias.asname or alias.name] = f"{inner.module}.{alias.name}"
            elif isinstance(inner, ast.ImportFrom) and any(alias.name == "litellm" for alias in inner.names):
                # Programs import it late, and hand it over: `from program.llm import litellm`.
                self.names["litellm"], self.is_handed_over = "litellm", True
            elif isinstance(inner, ast.Assign) and _called(inner.value) == "import_module":
                (target, *_), name = inner.targets, _text(inner.value)
                if isinstance(target, ast.Name) and name is not None and _is_litellm(name):
                    self.names[target.id] = name
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        """Notes the modules."""
        for alias in node.names:
            if _is_litellm(alias.name):
                self.add(alias.name, node, "import")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Notes the names."""
        if node.level == 0 and _is_litellm(node.module or ""):
            for alias in node.names:
                self.add(node.module or "" if alias.name == "*" else f"{node.module}.{alias.name}", alias, "import")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Notes a chain of attributes of a module."""
        name = self.dotted(node)
        if name is None:
            self.generic_visit(node)
        elif not (self.is_handed_over and name.startswith("litellm._")):
            self.add(name, node, "read" if isinstance(node.ctx, ast.Load) else "assign")

    def dotted(self, node: ast.AST) -> str | None:
        """Returns LiteLLM's name of an expression, if it begins with one of its modules."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.names:
            return None
        start = self.names[node.id]
        if _split(start)[1] is not None:
            # Not a module: its attributes are its own.
            return None
        return ".".join([start, *reversed(parts)])

    def visit_Call(self, node: ast.Call) -> None:
        """Notes names that are given as texts."""
        called, text = _called(node), _text(node)
        if called in _BY_NAME and text is not None and _is_litellm(text):
            self.add(text, node, "by name")
        elif called in ("getattr", "hasattr", "setattr", "delattr", "object") and len(node.args) > 1:
            module, name = self.module(node.args[0]), node.args[1]
            if module is not None and isinstance(name, ast.Constant) and isinstance(name.value, str):
                how = "assign" if called in ("setattr", "delattr") else "by name"
                self.add(f"{module}.{name.value}", node, how)
        self.generic_visit(node)

    def module(self, node: ast.AST) -> str | None:
        """Returns the name of one of LiteLLM's modules that an expression is."""
        name = self.dotted(node) if isinstance(node, ast.Attribute) else None
        if isinstance(node, ast.Name):
            name = self.names.get(node.id)
        return name if name is not None and _split(name)[1] is None else None


def _is_litellm(name: str) -> bool:
    return name == "litellm" or name.startswith("litellm.")


def _called(node: ast.AST) -> str | None:
    if not isinstance(node, ast.Call):
        return None
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)


def _text(node: ast.AST) -> str | None:
    first = node.args[0] if isinstance(node, ast.Call) and node.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def report(uses: list[Use], *, everything: bool = False) -> str:
    """Returns uses as a text: what is missing and what is different with its places, and a sum.

    Args:
        uses: the uses.
        everything: what is the same is listed, too.
    """
    lines: list[str] = []
    numbers = {"missing": 0, "different": 0, "same": 0}
    known: dict[str, list[Use]] = {}
    for use in uses:
        module, attribute = _split(use.name)
        known.setdefault(module if attribute is None else f"{module}.{attribute}", []).append(use)
    for wanted in numbers:
        for name, places in sorted(known.items()):
            status, note = status_of(name)
            if status != wanted:
                continue
            numbers[status] += 1
            if status == "same" and not everything:
                continue
            lines.append(f"{status}: {name}" + (f": {note}" if note else ""))
            lines += [f"  {use.file}:{use.line} ({use.how})" for use in places]
    total = sum(numbers.values())
    if not total:
        return "LiteLLM is not used here."
    sums = f"{numbers['same']} of {total} names are the same, {numbers['different']} different, {numbers['missing']} missing."
    return "\n".join([*lines, sums])
