"""Checks of the stubs that neither mypy nor stubtest can do."""

from __future__ import annotations

import ast
import inspect
import itertools
import pydoc
from pathlib import Path
from typing import get_args, get_origin

import pytest

import ritellm

ROOT = Path(__file__).parents[2]

OPTIONS = [
    "timeout",
    "max_retries",
    "max_retry_after",
    "num_retries",
    "base_url",
    "api_base",
    "api_key",
    "api_version",
    "extra_headers",
    "headers",
    "extra_query",
    "extra_body",
    "additional_params",
    "drop_params",
    "allow_http",
]


def keywords(call: str) -> list[dict[str, str]]:
    """The keyword parameters of each overload of a call, with their annotations."""
    stub = ast.parse((ROOT / "python/ritellm/client.pyi").read_text())
    protocol = next(node for node in stub.body if isinstance(node, ast.ClassDef) and node.name == call)
    overloads = [node for node in protocol.body if isinstance(node, ast.FunctionDef) and node.name == "__call__"]
    return [{arg.arg: ast.unparse(arg.annotation) for arg in f.args.kwonlyargs if arg.annotation} for f in overloads]


@pytest.mark.parametrize(("sync", "awaited"), [("_Completion", "_Acompletion"), ("_Respond", "_Arespond")])
def test_the_overloads_differ_in_stream_and_response_format_only(sync: str, awaited: str) -> None:
    assert keywords(sync) == keywords(awaited)
    overloads = keywords(sync)
    whole, either, streamed = "Literal[False] | None", "bool | None", "Literal[True]"
    assert [(one.pop("stream"), one.pop("response_format")) for one in overloads] == [
        (whole, "type[_T]"),
        (whole, "_Format | None"),
        # A type comes second: pyright then knows the result of ``stream=True, **options``.
        (streamed, "_OtherFormat | None"),
        (streamed, "type[_T]"),
        (either, "_Format | None"),
    ]
    assert all(one == overloads[0] for one in overloads)


def test_streams_take_names_that_providers_document() -> None:
    """Where a signature takes not any name, it takes some that other providers document; `_ChatParams` explains it."""
    stub = ast.parse((ROOT / "python/ritellm/client.pyi").read_text())
    classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
    documented = (ROOT / "src/providers/parameter_names.rs").read_text()
    chat, run = (
        {node.target.id for node in classes[of].body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]
        for of in ("_ChatParams", "_RunParams")
    )
    of_calls = {name for call in ("_Completion", "_Respond") for name in keywords(call)[0]}
    of_calls |= {node.target.id for node in classes["_ResponsesParams"].body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]
    assert run == of_calls - chat - set(keywords("_RunTools")[0]) - {"image", "tools"}
    for of, call in (("_ChatParams", "_Completion"), ("_ResponsesParams", "_Respond")):
        names = {node.target.id for node in classes[of].body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]
        assert names and not names & set(keywords(call)[0])
        assert {name for name in names if f'"{name}"' not in documented} <= {"text_format"}


def test_every_call_takes_our_options() -> None:
    """Checks that every call has the options of a chat call with the same types; `_Completion` explains the repetition."""
    ours = keywords("_Completion")[0]
    ours = {name: ours[name] for name in OPTIONS}
    for call in ("_Completion", "_Acompletion", "_Respond", "_Arespond", "_Embedding", "_Reranking", "_Speaking"):
        overloads = keywords(call)
        assert overloads
        for overload in overloads:
            assert {name: overload[name] for name in OPTIONS} == ours


def strings_after(body: list[ast.stmt]) -> dict[str, str]:
    """The docstrings of variables, by name: those that stand below them."""
    return {
        node.target.id: inspect.cleandoc(text.value.value)
        for node, text in itertools.pairwise(body)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


def test_editors_show_the_docstrings() -> None:
    """The functions are variables in the stub, for which editors do not look into the source."""
    stub = ast.parse((ROOT / "python/ritellm/client.pyi").read_text())
    functions = strings_after(stub.body)
    client = next(node for node in stub.body if isinstance(node, ast.ClassDef) and node.name == "Client")
    methods = strings_after(client.body)
    assert len(functions) == 12
    for name, docstring in functions.items():
        function = getattr(ritellm, name)
        assert docstring == inspect.getdoc(function), f"client.pyi has another docstring for {name} than client.py"
        assert docstring == inspect.getdoc(getattr(ritellm.Client, name))
        assert docstring.splitlines()[0] in pydoc.plain(pydoc.render_doc(function))
        assert methods[name] == docstring.split("\n\n")[0] + f"\n\nSee `ritellm.{name}`."


def test_editors_show_the_docstrings_of_limits() -> None:
    """Editors do not look into the native module."""
    stub = ast.parse((ROOT / "python/ritellm/_core.pyi").read_text())
    classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
    for name in ("Limit", "Limits"):
        assert ast.get_docstring(classes[name]) == inspect.getdoc(getattr(ritellm, name))
    methods = {node.name: node for node in classes["Client"].body if isinstance(node, ast.FunctionDef)}
    for name in ("with_options", "limits", "enable"):
        assert ast.get_docstring(methods[name]) == inspect.getdoc(getattr(ritellm.Client, name))


def test_parameters_of_streams_at_run_time() -> None:
    assert get_args(ritellm.Stream[int, str]) == (int, str)
    assert get_origin(ritellm.Stream[int, str]) is ritellm.Stream


def of_responses() -> set[str]:
    stub = ast.parse((ROOT / "python/ritellm/client.pyi").read_text())
    of = next(node for node in stub.body if isinstance(node, ast.ClassDef) and node.name == "_ResponsesParams")
    return {node.target.id for node in of.body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "protocol", "more"),
    [
        ("completion", "_Completion", set()),
        ("embedding", "_Embedding", set()),
        ("responses", "_Respond", of_responses() - {"access_programs", "background_options", "image"}),
        ("rerank", "_Reranking", set()),
        ("speech", "_Speaking", {"response_format", "speed", "instructions"}),
        ("run_tools", "_RunTools", set(keywords("_Completion")[0]) - {"tools"}),
    ],
)
def test_signatures_at_run_time_have_the_keywords(name: str, protocol: str, more: set[str]) -> None:
    """Completion in IPython and `help` read them."""
    client = ritellm.Client()
    for called in (
        getattr(of, prefix + name)
        for of in (ritellm, client, ritellm.Router({"m": ["ollama/m"]}))
        for prefix in ("", "a")
    ):
        parameters = dict(inspect.signature(called).parameters)
        assert next(iter(parameters)) == "model" and "self" not in parameters
        assert parameters.pop("params").kind is inspect.Parameter.VAR_KEYWORD
        of_kind = {n for n, one in parameters.items() if one.kind is inspect.Parameter.KEYWORD_ONLY}
        assert of_kind == set(keywords(protocol)[0]) | more
        assert all(parameters[n].default is None for n in of_kind - {"max_steps", "api", "stream"})
    assert inspect.iscoroutinefunction(getattr(ritellm, "a" + name)) and not inspect.iscoroutinefunction(
        getattr(ritellm, name)
    )
    assert inspect.getsource(getattr(ritellm, name)).strip().startswith(f"def {name}(")
