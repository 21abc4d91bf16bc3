"""The documentation's site: every page is in its navigation, and tables that are made from the providers are up to date.

``UPDATE_DOCS=1 pytest tests/test_site.py`` writes the tables anew. Whether links lead somewhere is checked by ``make docs``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from providers import NATIVE

from ritellm import _core

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

OPERATIONS = {
    "chat": "chat",
    "embedding": "embeddings",
    "responses": "Responses",
    "rerank": "reranking",
    "speech": "speech",
    "file_create": "files",
    "batch_create": "batches",
}
"""The operations that tables name."""


def page_of(name: str) -> str:
    """The name of a provider's page: those with a wire format of their own have one each."""
    if name in NATIVE:
        return {"ollama_chat": "ollama"}.get(name, name)
    return "local" if name == "local" else "openai-compatible"


def code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "–"


def operations_of(provider: dict[str, Any]) -> str:
    return ", ".join(word for name, word in OPERATIONS.items() if name in provider["operations"])


def row(provider: dict[str, Any], link: bool) -> str:
    name = provider["name"]
    first = f"[{name}]({page_of(name)}.md)" if link else f"`{name}`"
    return f"| {first} | {code(provider['key_variables'][:1])} | {operations_of(provider)} |"


def facts(provider: dict[str, Any]) -> str:
    """The block at the top of a provider's page."""
    return "\n".join(
        [
            "| | |",
            "|---|---|",
            f"| model | `{provider['name']}/…` |",
            f"| key | {code(provider['key_variables'])} |",
            f"| address | {code([provider['base_url']] if provider['base_url'] else [])}, or {code(provider['base_url_variables'])} |",
            f"| operations | {operations_of(provider)} |",
            f"| its documentation | <{provider['docs']}> |",
        ]
    )


def tables() -> Iterator[tuple[Path, str, str]]:
    """The page of each table, the name of its markers and its text."""
    providers: list[dict[str, Any]] = _core.providers()
    head = "| provider | key | operations |\n|---|---|---|\n"
    everyone = "\n".join(row(provider, link=True) for provider in providers)
    yield DOCS / "providers/index.md", "providers", head + everyone
    others = "\n".join(row(each, link=False) for each in providers if each["name"] not in {*NATIVE, "local"})
    yield DOCS / "providers/openai-compatible.md", "compatible", head + others
    for provider in providers:
        if (name := provider["name"]) in NATIVE:
            yield DOCS / f"providers/{page_of(name)}.md", f"provider {name}", facts(provider)


@pytest.mark.parametrize(("page", "name", "table"), [pytest.param(*each, id=each[1]) for each in tables()])
def test_table(page: Path, name: str, table: str) -> None:
    text = page.read_text()
    match = re.search(rf"(<!-- {name}: begin[^>]*-->\n)(.*?)(<!-- {name}: end -->)", text, re.DOTALL)
    assert match, f"{page.name} has no markers for {name}"
    if os.environ.get("UPDATE_DOCS"):
        page.write_text(text[: match.start(2)] + table + "\n" + text[match.end(2) :])
    else:
        assert match[2] == table + "\n"


def test_every_page_is_in_the_navigation() -> None:
    if sys.version_info < (3, 11):
        pytest.skip("tomllib")
    import tomllib

    def pages_of(nav: Any) -> Iterator[str]:
        for entry in nav:
            if isinstance(entry, str):
                yield entry
            else:
                for inner in entry.values():
                    yield from pages_of(inner)

    listed = list(pages_of(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    assert len(listed) == len(set(listed))
    assert set(listed) == {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
