"""Outcomes of a job as tables: what is in their columns, whatever the rows hold, and what is left of a failed export."""

from __future__ import annotations

import base64
import json

import numpy
import pytest

from ritellm import _core, _tables
from ritellm.exceptions import BadRequestError, InvalidArgumentError


def chat(text, **more):
    message = {"role": "assistant", "content": text, **more}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    body = {
        "id": "a",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
    }
    return _core.from_json(json.dumps(body).encode())


def embedding(*vectors):
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return _core.from_json(
        json.dumps({"object": "list", "data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}}).encode()
    )


def responses(text):
    output = [
        {"type": "reasoning"},
        {"type": "message", "content": [{"type": "output_text", "text": text}, {"type": "output_text", "text": "!"}]},
    ]
    return _core.from_json(
        json.dumps(
            {
                "object": "response",
                "status": "completed",
                "output": output,
                "usage": {"input_tokens": 1, "output_tokens": 9},
            }
        ).encode()
    )


FAILED = BadRequestError("the row is poison", status_code=400)


def outcomes(*rows):
    return lambda: iter(
        [(row, number, None, not isinstance(answer, Exception), answer) for number, (row, answer) in enumerate(rows)]
    )


def hide(monkeypatch, *libraries):
    """Makes libraries look as if they were not installed, to the code under test alone: pandas itself needs pyarrow."""
    monkeypatch.setattr(_tables, "_has", lambda library: library not in libraries)


@pytest.fixture(params=["pyarrow", "polars", "pandas"])
def table(request, monkeypatch):
    """Makes a list of dicts of outcomes, by way of one library alone."""
    library = pytest.importorskip(request.param)
    if request.param != "pyarrow":
        hide(monkeypatch, "pyarrow")

    def make(read):
        if request.param == "pyarrow":
            return _tables.to_arrow(read).to_pylist()
        if request.param == "polars":
            return _tables.to_polars(read).to_dicts()
        frame = _tables.to_pandas(read).astype(object)
        return frame.where(library.notna(frame), None).to_dict("records")

    return make


def test_columns_of_chat_completions(table):
    tool = [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    rows = table(
        outcomes(
            ({"text": "a", "n": 1}, chat("A")),
            ({"text": "b"}, FAILED),
            ({"text": "c", "n": 3}, chat(None, tool_calls=tool)),
        )
    )
    empty = {"error": None, "error_class": None, "cost": None}
    told = {"finish_reason": "stop", "input_tokens": 5, "output_tokens": 2}
    assert rows == [
        {"text": "a", "n": 1, "answer": "A", **told, **empty},
        {
            "text": "b",
            "n": None,
            "answer": None,
            "finish_reason": None,
            "error": "the row is poison",
            "error_class": "BadRequestError",
            "input_tokens": None,
            "output_tokens": None,
            "cost": None,
        },
        {"text": "c", "n": 3, "answer": json.dumps(tool), **told, **empty},
    ]


def test_columns_of_responses_and_of_rows_that_cannot_be_read_again(table):
    def read():
        yield None, 0, "x", True, responses("yes")
        yield None, 1, None, True, responses("no")

    rows = table(read)
    assert [
        (row["row"], row["custom_id"], row["answer"], row["finish_reason"], row["output_tokens"]) for row in rows
    ] == [
        (0, "x", "yes!", "completed", 9),
        (1, None, "no!", "completed", 9),
    ]


def test_a_row_may_have_columns_of_our_names(table):
    rows = table(outcomes(({"answer": "theirs", "cost": 1}, chat("ours"))))
    assert (rows[0]["answer"], rows[0]["ritellm_answer"], rows[0]["cost"], rows[0]["ritellm_cost"]) == (
        "theirs",
        "ours",
        1,
        None,
    )


def test_vectors_have_one_size(table):
    raw = base64.b64encode(numpy.array([1.5, 2], numpy.float32).tobytes()).decode()
    rows = table(outcomes(({"t": "a"}, embedding([0.5, -1])), ({"t": "b"}, FAILED), ({"t": "c"}, embedding(raw))))
    assert [None if row["embedding"] is None else list(row["embedding"]) for row in rows] == [[0.5, -1], None, [1.5, 2]]
    assert "answer" not in rows[0]
    assert rows[1]["error_class"] == "BadRequestError"


def test_types_of_columns_that_change(tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(_tables, "CHUNK", 2)
    rows = [
        {"late": None, "number": 1, "mixed": 1, "list": [], "object": {}, "never": None, "big": 1},
        {"late": None, "number": 2**60, "mixed": 2, "list": [], "object": {}, "never": None, "big": 2**70},
        {"late": "x", "number": 0.5, "mixed": "b", "list": [1], "object": {"a": 1}, "never": None, "big": 1},
        {"late": None, "number": None, "mixed": [True], "list": None, "other": {"b": [1.5]}},
    ]
    path = tmp_path / "sub" / "a.parquet"
    assert _tables.to_parquet(outcomes(*((row, chat("x")) for row in rows), ({}, FAILED)), path) == 5
    found = parquet.read_table(path)
    assert found["late"].to_pylist() == [None, None, "x", None, None]
    assert found["number"].to_pylist() == [1.0, 2.0**60, 0.5, None, None]
    assert found["mixed"].to_pylist() == ["1", "2", "b", "[true]", None]
    assert found["list"].to_pylist() == [[], [], [1], None, None]
    assert found["object"].to_pylist() == ["{}", "{}", '{"a": 1}', None, None]
    assert found["big"].to_pylist() == ["1", str(2**70), "1", None, None]
    assert found["other"].to_pylist() == [None, None, None, {"b": [1.5]}, None]
    assert found.schema.field("never").type == pyarrow.string()
    # The first errors come late, and their column is one of texts from the beginning.
    assert found["error"].to_pylist() == [None] * 4 + ["the row is poison"]


def test_parquet_of_vectors(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    _tables.to_parquet(outcomes(({"t": "a"}, embedding([1, 2, 3])), ({"t": "b"}, FAILED)), path)
    assert parquet.read_schema(path).field("embedding").type == pyarrow.list_(pyarrow.float32(), 3)
    if int(pyarrow.__version__.split(".")[0]) > 25:
        # Older ones do not read lists of a fixed size where one is null, those that they wrote either.
        assert parquet.read_table(path)["embedding"].to_pylist() == [[1, 2, 3], None]
    # Several vectors for a row, and vectors of several lengths.
    _tables.to_parquet(outcomes(({"t": "a"}, embedding([1, 2], [3, 4])), ({"t": "b"}, embedding([5, 6]))), path)
    assert parquet.read_table(path)["embeddings"].to_pylist() == [[[1, 2], [3, 4]], [[5, 6]]]
    _tables.to_parquet(outcomes(({"t": "a"}, embedding([1, 2])), ({"t": "b"}, embedding([5]))), path)
    assert parquet.read_table(path)["embedding"].to_pylist() == [[1, 2], [5]]


def test_parquet_with_polars_alone(tmp_path, monkeypatch):
    polars = pytest.importorskip("polars")
    hide(monkeypatch, "pyarrow")
    path = tmp_path / "a.parquet"
    mixed = outcomes(({"t": 1}, embedding([1, 2])), ({"t": "b"}, FAILED))
    assert _tables.to_parquet(mixed, path) == 2
    found = polars.read_parquet(path)
    assert found.schema["embedding"] == polars.Array(polars.Float32, 2)
    assert found["t"].to_list() == ["1", "b"]
    hide(monkeypatch, "pyarrow", "polars")
    with pytest.raises(InvalidArgumentError, match="pip install pyarrow"):
        _tables.to_parquet(mixed, path)


def test_npy(tmp_path):
    path = tmp_path / "a.npy"
    read = outcomes(({"t": "a"}, embedding([0.5, 1])), ({"t": "b"}, FAILED), ({"t": "c"}, embedding([2, 3])))
    assert _tables.to_npy(read, path) == (3, 2)
    found = numpy.load(path, mmap_mode="r")
    assert found.dtype == numpy.float32
    numpy.testing.assert_array_equal(found, [[0.5, 1], [numpy.nan, numpy.nan], [2, 3]])
    with pytest.raises(InvalidArgumentError, match="row 1 has a vector of 1 numbers, others have 2"):
        _tables.to_npy(outcomes(({}, embedding([0.5, 1])), ({}, embedding([2]))), path)
    with pytest.raises(InvalidArgumentError, match="no row has a vector"):
        _tables.to_npy(outcomes(({}, chat("x"))), path)
    # What was there before stays.
    assert numpy.load(path).shape == (3, 2)


def test_a_failed_export_leaves_nothing_behind(tmp_path):
    calls = 0

    def read():
        nonlocal calls
        calls += 1
        yield {"t": 1}, 0, None, True, embedding([1])
        if calls == 2:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        _tables.to_npy(read, tmp_path / "a.npy")
    assert list(tmp_path.iterdir()) == []


SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["bug", "praise"]},
        "score": {"type": ["integer", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "other": {},
    },
}


def test_answers_that_follow_a_schema_are_values_too(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    answers = [
        '{"kind": "bug", "score": 5, "tags": ["a"], "other": {"b": 1}}',
        '```json\n{"kind": "praise", "score": null}\n```',
        '{"kind": "\\ud83d"}',
        "none",
    ]
    read = outcomes(
        *(({"t": "a"}, chat(answer)) for answer in answers),
        ({"t": "a"}, responses(answers[0])),
        ({}, FAILED),
    )
    path = tmp_path / "a.parquet"
    _tables.to_parquet(read, path, SCHEMA)
    found = parquet.read_table(path)
    assert found.column_names[1:4] == ["answer", "parsed", "finish_reason"]
    assert found["parsed"].to_pylist() == [
        {"kind": "bug", "score": 5, "tags": ["a"], "other": '{"b": 1}'},
        {"kind": "praise", "score": None, "tags": None, "other": None},
        {"kind": "\ufffd", "score": None, "tags": None, "other": None},
        None,
        {"kind": "bug", "score": 5, "tags": ["a"], "other": '{"b": 1}'},
        None,
    ]
    assert _tables.to_pandas(read, SCHEMA)["parsed"][0]["score"] == 5
    named = outcomes(({"parsed": 1}, chat("3")))
    assert _tables.to_arrow(named, {"type": "integer"})["ritellm_parsed"].to_pylist() == [3]


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_values_without_arrow(library, monkeypatch):
    pytest.importorskip(library)
    hide(monkeypatch, "pyarrow")
    make = getattr(_tables, f"to_{library}")
    frame = make(outcomes(({"t": 1}, chat('{"kind": "bug", "score": 5}')), ({"t": 2}, FAILED)), SCHEMA)
    assert frame["parsed"][0] == {"kind": "bug", "score": 5} and frame["parsed"][1] is None


def test_texts_and_vectors_in_one_table(table):
    found = table(outcomes(({"t": 1}, embedding([1.0, 2.0])), ({"t": 2}, chat("x"))))
    assert list(found[0])[:4] == ["t", "embedding", "answer", "finish_reason"]
    assert list(found[0]["embedding"]) == [1.0, 2.0] and found[0]["answer"] is None
    assert found[1]["embedding"] is None and found[1]["answer"] == "x"
