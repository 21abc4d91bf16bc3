"""Checks which folder may import which: the arrows of the map in src/lib.rs, compared with the source.

python → bulk → cache → router → client → { providers, credentials } → { types, error }
                                   ├→ transport ←┘       transport   → { types, error }
                                   └→ store → { limits, transport, platform, types, error }
limits, catalog, schema → { types, error }
python → testing → { providers, transport } → { types, error }
"""

from __future__ import annotations

import graphlib
import re
from pathlib import Path

import pytest

from ritellm import _core

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"

ARROWS = {
    "lib": {
        "bulk",
        "cache",
        "catalog",
        "client",
        "credentials",
        "error",
        "limits",
        "platform",
        "providers",
        "python",
        "router",
        "schema",
        "store",
        "testing",
        "transport",
        "types",
    },
    "python": {
        "bulk",
        "cache",
        "catalog",
        "client",
        "error",
        "limits",
        "providers",
        "router",
        "schema",
        "testing",
        "transport",
        "types",
    },
    "testing": {"error", "providers", "transport", "types"},
    "bulk": {
        "cache",
        "catalog",
        "client",
        "error",
        "limits",
        "platform",
        "providers",
        "router",
        "schema",
        "transport",
        "types",
    },
    "cache": {"client", "error", "providers", "router", "store", "transport", "types"},
    "router": {"client", "error", "limits", "providers", "types"},
    "client": {"catalog", "credentials", "error", "limits", "platform", "providers", "store", "transport", "types"},
    "limits": {"error", "types"},
    "catalog": {"error", "types"},
    "schema": {"types"},
    "store": {"error", "limits", "platform", "transport", "types"},
    "platform": {"error", "types"},
    "credentials": {"error", "transport", "types"},
    "providers": {"error", "types"},
    "transport": {"error", "types"},
    "types": {"error"},
    "error": {"types"},
}

# What a folder's code must not name. Of the whole of `std::net`, an address's type is no socket.
FORBIDDEN = {
    "providers": r"\b(tokio|hyper|hyper_util|rustls|pyo3|libc)\b|\bstd::net(?!::(IpAddr|Ipv4Addr|Ipv6Addr)\b)|\bInstant\b|\bSystemTime::now\b|\bstd::(fs|process|thread)\b",
    "types": r"\b(tokio|hyper|hyper_util|rustls|pyo3|libc)\b|\bstd::net\b|\bInstant\b|\bSystemTime::now\b|\bstd::(env|fs|process|thread)\b",
    "transport": r"\b(pyo3|libc)\b",
    "testing": r"\b(pyo3|libc|hyper|hyper_util|rustls)\b",
    "bulk": r"\b(hyper|hyper_util|rustls|pyo3|libc)\b|\bstd::net\b",
    "cache": r"\b(hyper|hyper_util|rustls|pyo3|libc)\b|\bstd::net\b",
    "client": r"\b(pyo3|libc)\b",
    "credentials": r"\b(pyo3|libc|hyper|hyper_util)\b",
    "store": r"\b(pyo3|libc|rustix|hyper|hyper_util|rustls)\b",
    "router": r"\b(tokio|hyper|hyper_util|rustls|pyo3|libc)\b|\bstd::net\b|\bInstant\b|\bSystemTime\b|\bstd::(env|fs|process|thread)\b",
    "catalog": r"\b(tokio|hyper|hyper_util|rustls|pyo3|libc)\b|\bstd::net\b|\bInstant\b|\bSystemTime\b|\bstd::(env|fs|process|thread)\b",
    "schema": r"\b(tokio|hyper|hyper_util|rustls|pyo3|libc)\b|\bstd::net\b|\bInstant\b|\bSystemTime\b|\bstd::(env|fs|process|thread)\b",
    "limits": r"\b(tokio|hyper|hyper_util|rustls|pyo3|libc)\b|\bstd::net\b|\bInstant\b|\bSystemTime\b|\bstd::(env|fs|process|thread|sync)\b",
    # Of Python it knows nothing; of the network neither. It is the only folder but `python` that may use libc.
    "platform": r"\b(tokio|hyper|hyper_util|rustls|pyo3)\b|\bstd::net\b",
    "error": r"\b(tokio|hyper|rustls|pyo3|libc)\b",
    "lib": r"\b(pyo3|libc)\b",
}

# Files that carry decisions out: they may use the runtime and its clock.
DRIVERS = {SOURCE / "router/route.rs"}

FILES = sorted(SOURCE.rglob("*.rs"))


def room_of(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".rs")


def code_of(file: Path) -> str:
    """A file's code without its comments."""
    text = file.read_text()
    strings_and_comments = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
    return strings_and_comments.sub(lambda found: found[0] if found[0].startswith('"') else " ", text)


def without_strings(code: str) -> str:
    return re.sub(r'"(?:\\.|[^"\\])*"', '""', code, flags=re.DOTALL)


def without_tests(code: str) -> str:
    """Code without its `#[cfg(test)] mod tests`, which stands at the end."""
    return code.partition("#[cfg(test)]")[0]


def paths_in(code: str) -> set[str]:
    """Every path that begins with `crate` or `super`, lists in braces spelled out."""
    found = set()
    for start in re.finditer(r"\b(crate|super)\b(?=\s*::)", code):
        found |= set(spelled_out(code[start.start() :]))
    return found


def spelled_out(text: str) -> list[str]:
    """The paths that `text` begins with: `a::{b, c::d}` is `a::b` and `a::c::d`."""
    name = re.match(r"\s*([A-Za-z_]\w*|\*)", text)
    if name is None:
        return []
    rest = text[name.end() :]
    follows = re.match(r"\s*::\s*", rest)
    if follows is None:
        return [name[1]]
    rest = rest[follows.end() :]
    if not rest.startswith("{"):
        return [f"{name[1]}::{path}" for path in spelled_out(rest)] or [name[1]]
    paths, depth, item = [], 0, ""
    for character in rest:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if (character == "," and depth == 1) or (character == "}" and depth == 0):
            paths += [f"{name[1]}::{path}" for path in spelled_out(item)]
            item = ""
            if depth == 0:
                break
        elif not (character == "{" and depth == 1):
            item += character
    return paths


def rooms_named(file: Path) -> set[str]:
    """The rooms that a file's paths lead to."""
    parts = list(file.relative_to(SOURCE).with_suffix("").parts)
    if parts[-1] in ("mod", "lib"):
        parts.pop()
    rooms = set()
    code = without_strings(code_of(file))
    body, _, tests = code.partition("#[cfg(test)]")
    # Inside `mod tests`, `super` is the file itself.
    for path in paths_in(body) | {re.sub(r"^super(?=::)", "self", path) for path in paths_in(tests)}:
        steps = path.split("::")
        place = list(parts)
        if steps[0] == "crate":
            place = []
            steps.pop(0)
        elif steps[0] == "self":
            steps.pop(0)
        while steps and steps[0] == "super":
            if place:
                place.pop()
            steps.pop(0)
        whole = place + steps
        if whole and whole[0] in ARROWS:
            rooms.add(whole[0])
    return rooms


def test_paths_are_read() -> None:
    """Of what the tests below rely on."""
    assert paths_in("use crate::a::{b, c::{d, e as f}, self}; let x = super::super::g::h(1);") == {
        "crate::a::b",
        "crate::a::c::d",
        "crate::a::c::e",
        "crate::a::self",
        "super::super::g::h",
        "super::g::h",
    }
    assert rooms_named(SOURCE / "client.rs") >= {"error", "providers", "transport", "types"}
    assert FILES


def module_of(file: Path) -> tuple[str, ...]:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "lib") else parts


def modules_named(file: Path) -> set[tuple[str, ...]]:
    """The files, by their modules, that a file's paths lead to. An item of a `mod.rs` leads to that file."""
    files = {module_of(other) for other in FILES}
    named = set()
    for path in paths_in(without_strings(without_tests(code_of(file)))):
        steps = path.split("::")
        place = () if steps[0] == "crate" else module_of(file)
        while steps and steps[0] in ("crate", "super"):
            place = place[:-1] if steps.pop(0) == "super" else place
        place += tuple(steps)
        while place not in files:
            place = place[:-1]
        named.add(place)
    return named - {module_of(file)}


def test_files_do_not_import_each_other() -> None:
    """A module and its own children aside, which a `mod` line joins."""
    graph = {module_of(file): modules_named(file) for file in FILES if file.name != "tests.rs"}
    assert ("client", "retry") in graph["client", "attempt"]
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" → ".join("/".join(module) for module in error.args[1]))


def test_every_room_is_on_the_map() -> None:
    assert {room_of(file) for file in FILES} == set(ARROWS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_arrows_point_one_way(file: Path) -> None:
    room = room_of(file)
    named = rooms_named(file) - {room}
    assert named <= ARROWS[room], f"{room} looks into {sorted(named - ARROWS[room])}"


@pytest.mark.parametrize(
    "file",
    # Tests, inline or in a file of their own, may use a clock.
    [file for file in FILES if room_of(file) in FORBIDDEN and file.name != "tests.rs" and file not in DRIVERS],
    ids=lambda file: str(file.relative_to(SOURCE)),
)
def test_what_a_room_does_not_know(file: Path) -> None:
    found = re.search(FORBIDDEN[room_of(file)], without_strings(without_tests(code_of(file))))
    assert found is None, f"{file.name}: {found}"


@pytest.mark.parametrize("file", [file for file in FILES if room_of(file) == "transport"], ids=lambda file: file.name)
def test_transport_names_no_vendor(file: Path) -> None:
    # `local` is an everyday word, in code and in prose.
    vendors = {row["name"] for row in _core.providers()} - {"local"}
    words = set(re.findall(r"[a-z0-9]+(?:_[a-z0-9]+)*", without_tests(code_of(file)).lower()))
    assert not words & (vendors | {"openai", "claude", "gpt"})


@pytest.mark.parametrize(
    "file",
    [file for file in FILES if room_of(file) in ("types", "client", "error", "testing")],
    ids=lambda file: str(file.relative_to(SOURCE)),
)
def test_the_core_names_no_vendor_but_openai(file: Path) -> None:
    vendors = {row["name"] for row in _core.providers()} - {"local", "openai"}
    words = set(re.findall(r"[a-z0-9]+(?:_[a-z0-9]+)*", without_tests(code_of(file)).lower()))
    assert not words & vendors


def test_the_core_builds_without_python() -> None:
    """`pyo3` comes with the feature `python` alone."""
    manifest = (ROOT / "Cargo.toml").read_text()
    declared = re.search(r"^pyo3 = (.*)$", manifest, re.MULTILINE)
    assert declared is not None
    assert "optional = true" in declared[1]
    assert re.search(r'#\[cfg\(feature = "python"\)\]\s*(pub )?mod python;', (SOURCE / "lib.rs").read_text())


def test_every_unsafe_block_is_on_its_page() -> None:
    page = (ROOT / "docs/unsafe.md").read_text()
    listed = {file: int(count) for file, count in re.findall(r"^\| (src/\S+) \| (\d+) \|", page, re.MULTILINE)}
    counts = {str(file.relative_to(ROOT)): len(re.findall(r"\bunsafe\b", code_of(file))) for file in FILES}
    assert listed == {file: count for file, count in counts.items() if count}


def test_every_dependency_has_its_reason() -> None:
    manifest = (ROOT / "Cargo.toml").read_text()
    section = r"(?<=\n)\[(?:target\.[^\n]*\.)?(?:build-)?dependencies\]\n(.*?)(?=\n\[|\Z)"
    sections = re.findall(section, manifest, re.DOTALL)
    table = (ROOT / "docs/decisions.md").read_text().partition("## Why each Rust dependency is there")[2]
    reasons = {name for row in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) for name in row.split(", ")}
    assert set(re.findall(r"^([\w-]+) = ", "\n".join(sections), re.MULTILINE)) == reasons - {"crate"} - {"---"}
