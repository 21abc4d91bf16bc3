"""Rows of a job from Python: what they come in, what their values become, and how far ahead they are read."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import sqlite3
import threading
import uuid
from collections import namedtuple

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ritellm import _rows
from ritellm._core import RowQueue
from ritellm.exceptions import InvalidArgumentError


def taken(queue: RowQueue) -> list:
    """All rows of a queue; of a bad one the message."""
    rows = []
    while True:
        try:
            row = queue.take()
        except InvalidArgumentError as error:
            rows.append(str(error))
            continue
        if row is None:
            return rows
        rows.append(json.loads(row))


def read(rows, columns=None) -> list:
    queue = RowQueue()
    thread = _rows.open_rows(rows).start(queue, columns)
    found = taken(queue)
    thread.join()
    return found


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    when: datetime.date


Pair = namedtuple("Pair", "a b")


def test_values_become_what_json_has():
    nan = float("nan")
    for value, right in [
        (numpy.int64(3), 3),
        (numpy.float32(0.5), 0.5),
        (numpy.bool_(True), True),
        (numpy.str_("a"), "a"),
        (numpy.array([[1, 2]]), [[1, 2]]),
        (numpy.float64(nan), None),
        (nan, None),
        (float("-inf"), None),
        ([nan, {"a": nan}], [None, {"a": None}]),
        (numpy.datetime64("2026-01-02"), "2026-01-02"),
        (datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.timezone.utc), "2026-01-02T03:00:00+00:00"),
        (datetime.time(1, 2), "01:02:00"),
        (datetime.timedelta(minutes=1), 60.0),
        (decimal.Decimal("19.90"), "19.90"),
        (decimal.Decimal("nan"), None),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (Colour.RED, "red"),
        (Point(1, datetime.date(2026, 1, 2)), {"x": 1, "when": "2026-01-02"}),
        (Pair(1, "b"), {"a": 1, "b": "b"}),
        ({1: "a", None: "b"}, {"1": "a", "None": "b"}),
        (b"caf\xc3\xa9", "café"),
        (bytearray(b"\x89PNG\r\n\x1a\n1"), "data:image/png;base64,iVBORw0KGgox"),
        (b"RIFF\0\0\0\0WEBP", "data:image/webp;base64,UklGRgAAAABXRUJQ"),
        (2**70, 2**70),
        ("\u2028\0\U0001f600", "\u2028\0\U0001f600"),
    ]:
        # With an object, so that the row is not what the encoder takes by itself.
        assert read([{"v": value, "o": decimal.Decimal(1)}]) == [{"v": right, "o": "1"}], value


def test_a_value_without_a_form_is_that_rows_error():
    loop: list = []
    loop.append(loop)
    rows = [
        {"v": 1},
        {"v": {1}},
        {"a": [{"b": object()}]},
        {"v": "\ud800"},
        {"v": b"\xff"},
        {"v": loop},
        "text",
        5,
        [1],
        {"v": 2},
    ]
    found = read(iter(rows))
    assert found[0] == {"v": 1}
    assert found[-1] == {"v": 2}
    for message, right in zip(
        found[1:-1],
        [
            "row 1 ['v'] is of type set, which JSON cannot say",
            "row 2 ['a'][0]['b'] is of type object",
            'row 3 ["v"] holds half of a surrogate pair',
            "row 4 ['v'] holds bytes that are neither UTF-8 nor an image or a PDF",
            "row 5 ['v']",
            "row 6 is of type str: a dict would be right",
            "row 7 is of type int: a dict would be right",
            "row 8 is of type list: a dict would be right",
        ],
        strict=True,
    ):
        assert message.startswith(right), message


def test_only_needed_columns_have_to_have_a_form():
    rows = [{"t": "a", "cache": {1}, "n": numpy.int8(1)}, {"t": {2}, "n": 2}]
    queue = RowQueue()
    _rows.open_rows(rows).start(queue, ["t", "n", "custom_id"])
    message = "row 1 ['t'] is of type set, which JSON cannot say: a str, a number, a list or a dict would be right"
    assert taken(queue) == [{"t": "a", "n": 1}, message]


def test_rows_of_databases_and_models():
    import pydantic

    class Model(pydantic.BaseModel):
        a: int

    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    rows = [Model(a=1), Pair(1, 2), Point(1, datetime.date(2026, 1, 2)), *database.execute("select 1 as a, 'x' as b")]
    assert read(rows) == [{"a": 1}, {"a": 1, "b": 2}, {"x": 1, "when": "2026-01-02"}, {"a": 1, "b": "x"}]
    database.close()


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=9),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(max_size=9),
            max_size=5,
        ),
        max_size=9,
    )
)
def test_rows_arrive_as_they_are(rows):
    # An empty list is a list of rows.
    assert read(rows) == rows


def test_an_iterator_is_read_no_faster_than_rows_are_needed():
    produced = 0

    def rows():
        nonlocal produced
        while True:
            produced += 1
            yield {"n": produced}

    queue = RowQueue()
    thread = _rows.open_rows(rows()).start(queue)
    for number in range(1, 300):
        assert json.loads(queue.take() or b"") == {"n": number}
        assert produced <= number + 2 + number / 8
    queue.close()
    thread.join(10)
    assert not thread.is_alive()


def test_an_exception_of_an_iterator_comes_after_its_rows_with_its_number():
    closed = threading.Event()

    def rows():
        try:
            yield {"n": 0}
            yield {"n": 1}
            raise LookupError("the cursor is gone")
        finally:
            closed.set()

    queue = RowQueue()
    _rows.open_rows(rows()).start(queue)
    assert [queue.take(), queue.take()] == [b'{"n":0}', b'{"n":1}']
    with pytest.raises(LookupError, match="the cursor is gone") as caught:
        queue.take()
    notes = getattr(caught.value, "__notes__", ["raised by the rows of a job, in place of row 2"])
    assert notes == ["raised by the rows of a job, in place of row 2"]
    assert closed.wait(10)
    assert queue.take() is None


def test_a_generator_is_closed_when_its_rows_are_no_longer_wanted():
    closed = threading.Event()

    def rows():
        try:
            while True:
                yield {}
        finally:
            closed.set()

    queue = RowQueue()
    thread = _rows.open_rows(rows()).start(queue)
    queue.take()
    queue.close()
    assert closed.wait(10)
    thread.join(10)


async def test_async_rows_in_a_thread_and_on_the_loop():
    async def rows(fails: bool = False):
        for number in range(100):
            await asyncio.sleep(0)
            yield {"n": number}
        if fails:
            raise LookupError("no more")

    right = [{"n": number} for number in range(100)]
    opened = _rows.open_rows(rows())
    assert opened.is_async and not opened.can_rescan
    queue = RowQueue()
    opened.start(queue)
    assert await asyncio.to_thread(taken, queue) == right
    queue = RowQueue()
    task = asyncio.ensure_future(_rows.open_rows(rows(fails=True)).feed(queue))
    found = await asyncio.to_thread(lambda: [json.loads(queue.take() or b"") for _ in range(100)])
    assert found == right
    with pytest.raises(LookupError, match="no more"):
        await asyncio.to_thread(queue.take)
    await task


def test_what_is_not_rows_is_refused():
    for rows, right in [
        (5, "rows is of type int: the path of a file"),
        ({"text": ["a", "b"]}, "rows is of type dict"),
        (b"a.jsonl", "rows is of type bytes"),
        (list, "rows is of type type"),
        ([5], "rows\\[0\\] is of type int: a dict such as"),
        ("none-*.jsonl", "rows is 'none-\\*.jsonl': no file matches"),
        (["a.jsonl", "b.parquet"], "rows has Parquet files beside others"),
        ("none.parquet", "none.parquet cannot be read: there is no such file"),
    ]:
        with pytest.raises(InvalidArgumentError, match=right):
            _rows.open_rows(rows)


def test_patterns_are_files_in_order(tmp_path):
    for name in ["b.jsonl", "a.jsonl", "c.csv", "[x].jsonl"]:
        (tmp_path / name).write_text("")
    assert _rows.open_rows(tmp_path / "b.jsonl").paths == [str(tmp_path / "b.jsonl")]
    opened = _rows.open_rows([str(tmp_path / "c.csv"), tmp_path / "?.jsonl", str(tmp_path / "[x].jsonl")])
    assert [pathlib.Path(path).name for path in opened.paths] == ["c.csv", "a.jsonl", "b.jsonl", "[x].jsonl"]


def test_lists_and_datasets_are_read_again():
    class Dataset:
        def __init__(self):
            self.column_names = ["a"]

        def __len__(self):
            return 2

        def __iter__(self):
            return iter([{"a": 1}, {"a": 2}])

    for rows in ([{"a": 1}, {"a": 2}], ({"a": 1}, {"a": 2}), Dataset()):
        opened = _rows.open_rows(rows)
        assert (opened.can_rescan, opened.length) == (True, 2)
        for _ in range(2):
            queue = RowQueue()
            opened.start(queue)
            assert taken(queue) == [{"a": 1}, {"a": 2}]
    assert not _rows.open_rows(iter([])).can_rescan


TABLE = {"text": ["a", None, "c"], "n": [1, 2, 3], "x": [0.5, None, 1.0], "tags": [["p", "q"], [], None]}
ROWS = [
    {"text": "a", "n": 1, "x": 0.5, "tags": ["p", "q"]},
    {"text": None, "n": 2, "x": None, "tags": []},
    {"text": "c", "n": 3, "x": 1.0, "tags": None},
]


def of_table(rows):
    opened = _rows.open_rows(rows)
    assert opened.columns == list(TABLE)
    for _ in range(2 if opened.can_rescan else 1):
        queue = RowQueue()
        opened.start(queue)
        assert taken(queue) == ROWS
    if opened.can_rescan:
        assert opened.length == 3
        assert read(rows, ["n", "other"]) == [{"n": 1}, {"n": 2}, {"n": 3}]
        assert read(rows, []) == [{}, {}, {}]


def test_arrow(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    dataset = pytest.importorskip("pyarrow.dataset")
    table = pyarrow.table(TABLE)
    of_table(table)
    of_table(table.to_batches()[0])
    of_table(pyarrow.RecordBatchReader.from_batches(table.schema, table.to_batches()))
    path = tmp_path / "a.parquet"
    parquet.write_table(table, path, row_group_size=2)
    of_table(path)
    of_table(dataset.dataset(path))
    dates = pyarrow.table({"d": pyarrow.array([0], pyarrow.date32()), "m": pyarrow.array([decimal.Decimal("1.50")])})
    assert read(dates) == [{"d": "1970-01-01", "m": "1.50"}]
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InvalidArgumentError, match=r"b\.parquet cannot be read"):
        _rows.open_rows(tmp_path / "b.parquet")


def test_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(TABLE)
    of_table(frame)
    times = pandas.DataFrame(
        {
            "t": pandas.to_datetime(["2026-01-02", None]),
            "i": pandas.array([1, None], dtype="Int64"),
            5: ["x", pandas.NA],
        }
    )
    assert read(times) == [{"t": "2026-01-02T00:00:00", "i": 1, "5": "x"}, {"t": None, "i": None, "5": None}]
    with pytest.raises(InvalidArgumentError, match="column's name comes twice"):
        _rows.open_rows(pandas.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(InvalidArgumentError, match="a DataFrame would be right"):
        _rows.open_rows(frame["text"])


def test_polars(tmp_path, monkeypatch):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(TABLE)
    of_table(frame)
    of_table(frame.lazy())
    frame.write_parquet(tmp_path / "a.parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    of_table(tmp_path / "a.parquet")
