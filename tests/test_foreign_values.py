"""Tests of arguments that hold another library's values: columns, arrays, scalars, and iterators."""

from __future__ import annotations

import array
import asyncio
import collections
import pathlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import Call
from server import MESSAGES, Server, completion_of, dumped, plain
from server import Answer as ServerAnswer

import ritellm
from ritellm import InvalidArgumentError, _core
from ritellm._plain import Unplain
from ritellm._plain import plain as plain_row


class Column:
    """A column as pandas has it."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def tolist(self) -> list[Any]:
        return self.values


class PolarsColumn(Column):
    tolist = None  # type: ignore[assignment]

    def to_list(self) -> list[Any]:
        return self.values


del PolarsColumn.tolist


class Tensor:
    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values


class Table:
    columns = ("text",)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise AssertionError("a table is no column")


class ArrowArray:
    """Has Arrow's protocol and nothing else."""

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        raise AssertionError("pyarrow calls this")


def once(*values: Any) -> Iterator[Any]:
    yield from values


def columns() -> Iterator[Any]:
    """The same two texts, as each library has them."""
    texts = ["a", "b"]
    yield "tuple", tuple(texts)
    yield "generator", lambda: once(*texts)
    yield "map", lambda: map(str, texts)
    yield "deque", collections.deque(texts)
    yield "values", dict(enumerate(texts)).values()
    yield "ndarray", np.array(texts)
    yield "objects", np.array(texts, dtype=object)
    yield "strings", np.array(texts, dtype=np.dtypes.StringDType())
    yield "tolist", Column(texts)
    yield "__array__", Tensor(texts)


def embeddings(count: int) -> ServerAnswer:
    data = [{"object": "embedding", "index": index, "embedding": [1.0]} for index in range(count)]
    return ServerAnswer(body=dumped({"object": "list", "data": data, "model": "m", "usage": {"total_tokens": 1}}))


@pytest.mark.parametrize(("name", "column"), list(columns()), ids=[name for name, _ in columns()])
@pytest.mark.parametrize("is_async", [False, True])
def test_texts_of_any_library(at_openai: Server, name: str, column: Any, is_async: bool) -> None:
    texts = column() if callable(column) else column
    at_openai.answer(embeddings(2))
    if is_async:
        asyncio.run(ritellm.aembedding("openai/m", texts))
    else:
        ritellm.embedding("openai/m", texts)
    assert at_openai.last.json["input"] == ["a", "b"]


def test_columns_of_the_libraries_themselves(at_openai: Server) -> None:
    texts = ["a", "b"]
    made: list[Any] = []
    for library, make in (
        ("pandas", lambda pandas: [pandas.Series(texts), pandas.Series(texts).array, pandas.Index(texts)]),
        ("polars", lambda polars: [polars.Series(texts), polars.Series(texts, dtype=polars.Categorical)]),
        (
            "pyarrow",
            lambda arrow: [
                arrow.array(texts),
                arrow.chunked_array([["a"], ["b"]]),
                arrow.array(texts).dictionary_encode(),
            ],
        ),
    ):
        if library in sys.modules or _is_installed(library):
            made += make(__import__(library))
    if not made:
        pytest.skip("none of pandas, polars and pyarrow is installed")
    for column in made:
        at_openai.answer(embeddings(2))
        ritellm.embedding("openai/m", column)
        assert at_openai.last.json["input"] == texts, type(column)


def _is_installed(library: str) -> bool:
    from importlib.util import find_spec

    return find_spec(library) is not None


def test_token_ids(at_openai: Server) -> None:
    for given, sent in (
        (np.array([1, 2]), [1, 2]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (range(3), [0, 1, 2]),
    ):
        at_openai.answer(embeddings(len(sent) if isinstance(sent[0], list) else 1))
        ritellm.embedding("openai/m", given)
        assert at_openai.last.json["input"] == sent
    at_openai.answer(embeddings(1))
    ritellm.embedding("openai/m", array.array("I", [7, 8]))
    assert at_openai.last.json["input"] == [7, 8]


def test_a_text_of_numpy_is_a_text(at_openai: Server) -> None:
    at_openai.answer(embeddings(1))
    ritellm.embedding("openai/m", np.array(["a"])[0])
    assert at_openai.last.json["input"] == "a"


def test_messages_of_any_sequence(call: Call, at_openai: Server) -> None:
    for given in (once(*MESSAGES), collections.deque(MESSAGES), np.array(MESSAGES), Column(MESSAGES), iter(MESSAGES)):
        at_openai.answer(plain())
        call(messages=given)
        assert at_openai.last.json["messages"] == MESSAGES


def test_scalars_and_arrays_in_parameters(call: Call, at_openai: Server) -> None:
    at_openai.answer(plain())
    call(
        temperature=np.float32(0.5),
        top_p=np.float64(0.25),
        seed=np.int64(7),
        max_tokens=np.uint8(9),
        logprobs=np.bool_(True),
        stop=np.array(["x", "y"]),
        user=np.str_("u"),
        logit_bias={"5": np.int16(-1)},
        tools=(tool for tool in [{"type": "function", "function": {"name": "f"}}]),
        extra_body={"own": {"vector": np.array([[0.5, 1.0]]), "long": np.longdouble(0.5)}},
    )
    sent = at_openai.last.json
    assert (sent["temperature"], sent["top_p"], sent["seed"], sent["max_tokens"]) == (0.5, 0.25, 7, 9)
    assert (sent["logprobs"], sent["stop"], sent["user"], sent["logit_bias"]) == (True, ["x", "y"], "u", {"5": -1})
    assert sent["tools"] == [{"type": "function", "function": {"name": "f"}}]
    assert sent["own"] == {"vector": [[0.5, 1.0]], "long": 0.5}


def test_scalars_in_arguments_of_our_own(call: Call, at_openai: Server) -> None:
    at_openai.answer(plain())
    call(timeout=np.float32(30), max_retries=np.int64(1), drop_params=np.bool_(False), max_retry_after=np.int32(5))
    ritellm.Client(max_in_flight=np.int64(3), timeout={"total": np.float16(2)}, verify=np.bool_(True)).close(
        np.float32(1)
    )
    assert ritellm.Limit(requests=np.int64(5), per=np.float32(2)) == ritellm.Limit(requests=5, per=2)
    for arguments, message in (
        ({"timeout": np.bool_(True)}, "timeout is of type bool"),
        ({"timeout": np.array([1.0, 2.0])}, "timeout is of type ndarray"),
        ({"max_retries": np.float64(1)}, "max_retries is of type float64"),
        ({"max_retries": np.int64(-1)}, "max_retries is -1"),
        ({"stream": np.int64(1)}, "stream is of type int64"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            call(**arguments)


def test_documents_of_a_ranking(server: Server) -> None:
    server.answer(ServerAnswer(body=dumped({"results": [{"index": 0, "relevance_score": 0.5}]})))
    client = ritellm.Client(api_key="k", base_url=server.base_url)
    client.rerank("cohere/m", np.str_("q"), np.array(["a", "b"]), top_n=np.int64(1))
    assert server.last.json["documents"] == ["a", "b"] and server.last.json["top_n"] == 1


def test_what_is_read_once_is_asked_again_in_full(at_openai: Server) -> None:
    at_openai.answer(plain("nonsense"), plain("[1]"))
    answer = ritellm.completion(
        "openai/gpt-4o",
        once(*MESSAGES),
        response_format=list[int],
        validation_retries=np.int64(1),
        stop=iter(["x"]),
    )
    assert answer.parsed == [1]
    first, second = (request.json for request in at_openai.requests)
    assert first["messages"] == MESSAGES and second["messages"][:1] == MESSAGES
    assert first["stop"] == second["stop"] == ["x"]


def test_a_run_of_tools_takes_them_too(at_openai: Server) -> None:
    at_openai.answer(plain("done"))
    run = ritellm.run_tools("openai/m", once(*MESSAGES), max_steps=np.int64(2))
    assert run.text == "done" and at_openai.last.json["messages"] == MESSAGES


@pytest.mark.parametrize(
    ("values", "index"),
    [(["a", None], 1), (["a", "b", float("nan")], 2), (np.array(["a", np.nan], dtype=object), 1)],
    ids=["None", "nan", "numpy"],
)
def test_a_missing_value_is_named(at_openai: Server, values: Any, index: int) -> None:
    column = Column(values) if isinstance(values, list) else values
    with pytest.raises(InvalidArgumentError, match=rf"input\[{index}\] is a missing value"):
        ritellm.embedding("openai/m", column)
    assert at_openai.requests == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Table(), r'input is of type Table, a table: one column of it, such as table\["text"\]'),
        (b"text", "input is of type bytes, which JSON cannot say: a str would be right, or a content part"),
        (pathlib.Path("a.png"), r"ritellm.image\(path\) or ritellm.file\(path\)"),
        ({"a", "b"}, r"input is of type set, which has no order: a list would be right, such as sorted\("),
        ({"a": 1}, "input is of type dict: a str or a list of str would be right"),
        (object(), "input is of type object"),
        (open, "input is of type builtin_function_or_method"),
        (np.float64(1), "input is of type float64: a str or a list of str"),
    ],
    ids=["table", "bytes", "path", "set", "dict", "object", "function", "number"],
)
def test_what_is_no_column_is_refused(at_openai: Server, value: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        ritellm.embedding("openai/m", value)
    assert at_openai.requests == []


def test_a_file_is_not_its_lines(at_openai: Server, tmp_path: pathlib.Path) -> None:
    (tmp_path / "texts").write_text("a\nb\n")
    with open(tmp_path / "texts") as file, pytest.raises(InvalidArgumentError, match="TextIOWrapper"):
        ritellm.embedding("openai/m", file)


def test_an_iterator_within_a_value_is_refused(call: Call, at_openai: Server) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r'messages\[0\]\["content"\] is of type generator, which can be read only once'
    ):
        call(messages=[{"role": "user", "content": once({"type": "text", "text": "a"})}])


def test_an_exception_of_an_iterator_is_raised(at_openai: Server) -> None:
    def broken() -> Iterator[str]:
        yield "a"
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        ritellm.embedding("openai/m", broken())


def test_a_list_that_contains_itself_through_another_library() -> None:
    loop = np.empty(1, dtype=object)
    loop[0] = loop
    with pytest.raises(InvalidArgumentError, match="nested more than 256 deep, or contains itself"):
        _core.to_json([loop])


def test_arrows_protocol_is_read_by_what_is_installed(at_openai: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for missing in ("pyarrow", "polars"):
        monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        InvalidArgumentError, match="in Arrow's format, which pyarrow and polars read: pip install pyarrow"
    ):
        ritellm.embedding("openai/m", ArrowArray())
    polars = types.ModuleType("polars")
    polars.Series = lambda given: type("Series", (), {"to_list": lambda self: [type(given).__name__]})()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "polars", polars)
    at_openai.answer(embeddings(1))
    ritellm.embedding("openai/m", ArrowArray())
    assert at_openai.last.json["input"] == ["ArrowArray"]
    pyarrow = types.ModuleType("pyarrow")
    pyarrow.array = lambda given: Column([type(given).__name__, "pyarrow"])  # type: ignore[attr-defined]
    monkeypatch.setattr(Column, "to_pylist", Column.tolist, raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", pyarrow)
    at_openai.answer(embeddings(2))
    ritellm.embedding("openai/m", ArrowArray())
    assert at_openai.last.json["input"] == ["ArrowArray", "pyarrow"]


def test_times_are_no_numbers() -> None:
    moment = np.datetime64("2026-01-02T03:04:05.123456789", "ns")
    with pytest.raises(InvalidArgumentError, match="is of type datetime"):
        _core.to_json([moment])
    assert plain_row(moment, "", 0) == "2026-01-02T03:04:05.123456"
    with pytest.raises(Unplain, match="which JSON cannot say"):
        plain_row({1}, "", 0)


def test_a_plain_call_imports_none_of_it(run_program: Any, server: Server) -> None:
    server.answer(ServerAnswer(body=dumped(completion_of("x"))))
    run_program(
        f"""
        import sys
        import ritellm
        ritellm.Client(api_key="k", base_url={server.base_url!r}).completion("openai/m", [{{"role": "user", "content": "a"}}])
        assert "ritellm._plain" not in sys.modules
        """
    )
