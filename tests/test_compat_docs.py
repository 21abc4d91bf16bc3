"""The names in docs/compat.md are those of the tables. ``UPDATE_DOCS=1`` writes them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ritellm.compat import _check, _settings, _surface

PAGE = Path(__file__).parents[1] / "docs" / "compat.md"
BLOCK = re.compile(r"(<!-- names: made by tests/test_compat_docs.py -->\n).*?(<!-- end of names -->)", re.DOTALL)


def table() -> str:
    lines = ["| module of LiteLLM | names, which are also names of `litellm` |", "|---|---|"]
    of_module: dict[str, list[str]] = {}
    for home, _, names in _surface._TABLE:
        of_module.setdefault(home, []).extend(name for name in names.split() if not name.startswith("_"))
    for home, names in sorted(of_module.items()):
        lines.append(f"| `{home}` | {', '.join(f'`{name}`' for name in sorted(set(names)))} |")
    return "\n".join(lines) + "\n"


def test_the_names_of_the_page() -> None:
    text = PAGE.read_text()
    found = BLOCK.search(text)
    assert found is not None
    written = f"{found[1]}{table()}{found[2]}"
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(text.replace(found[0], written))
    assert found[0] == written, "UPDATE_DOCS=1 pytest tests/test_compat_docs.py writes it"


DIFFERENT = re.compile(
    r"(<!-- different: made by tests/test_compat_docs.py -->\n).*?(<!-- end of different -->)", re.DOTALL
)


def test_the_names_that_do_something_else() -> None:
    text = PAGE.read_text()
    found = DIFFERENT.search(text)
    assert found is not None
    rows = "".join(f"| `{name}` | {note} |\n" for name, note in sorted(_check.DIFFERENT.items()))
    written = f"{found[1]}| name of `litellm` | here |\n|---|---|\n{rows}{found[2]}"
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(text.replace(found[0], written))
    assert found[0] == written, "UPDATE_DOCS=1 pytest tests/test_compat_docs.py writes it"


def test_they_are_names_of_the_layer() -> None:
    known = {name for _, _, names in _surface._TABLE for name in names.split()} | set(_settings.defaults())
    modules = {module.rsplit(".", 1)[-1] for module in _surface.MODULES}
    assert set(_check.DIFFERENT) <= known | modules
