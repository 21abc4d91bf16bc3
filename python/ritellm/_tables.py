"""Outcomes of a job as tables: Parquet, Arrow, pandas, polars, and the vectors of embeddings as an ``.npy`` file.

Outcomes are read twice: once for the types of the columns, so that a column that is empty at first, or holds whole numbers at
first, does not fail later; then they are written in parts. A table that takes no memory of its size is never in memory.
"""

from __future__ import annotations

import json
import os

from ritellm.exceptions import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeAlias

    # A row (None if it cannot be read again, its text if it is no JSON), its number, its own id, whether it has an answer, and the answer or exception.
    _Outcome: TypeAlias = tuple[dict[str, Any] | str | None, int, str | None, bool, Any]
    # What reads the outcomes, each time from the beginning.
    _Read: TypeAlias = Callable[[], Iterable[_Outcome]]
else:
    Any = object

__all__ = ["to_arrow", "to_npy", "to_pandas", "to_parquet", "to_polars"]

# Number of outcomes that are converted at a time.
CHUNK = 1000

# Columns of an outcome, after those of its row.
OWN = ("answer", "parsed", "finish_reason", "error", "error_class", "input_tokens", "output_tokens", "cost")


def to_parquet(read: _Read, path: str | os.PathLike[str], schema: Any = None) -> int:
    """Writes the outcomes to a Parquet file, and returns their number.

    The columns are those of the rows, then ``answer`` (its text; of embeddings ``embedding``, a list of floats of fixed size),
    with a ``schema`` of the answers ``parsed`` (their values, with a type that follows from the schema, or JSON where none
    does), ``finish_reason``, ``error`` (a message), ``error_class``, ``input_tokens``, ``output_tokens`` and ``cost``. If a
    row has a column of such a name itself, ours begins with ``ritellm_``.

    Raises:
        InvalidArgumentError: neither pyarrow nor polars is installed.
    """
    if not _has("pyarrow"):
        return _write_with_polars(read, path, schema)
    from pyarrow.parquet import ParquetWriter

    layout = _Layout.of(read, schema)
    count = 0
    with _replacing(path) as temporary, ParquetWriter(temporary, layout.schema(), compression="zstd") as writer:
        for batch in layout.batches(read):
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def to_arrow(read: _Read, schema: Any = None) -> Any:
    """Returns the outcomes as a `pyarrow.Table`, with the columns of `to_parquet`."""
    if not _has("pyarrow"):
        raise InvalidArgumentError("tables of Arrow need pyarrow: pip install pyarrow")
    import pyarrow

    layout = _Layout.of(read, schema)
    return pyarrow.Table.from_batches(list(layout.batches(read)), layout.schema())


def to_pandas(read: _Read, schema: Any = None) -> Any:
    """Returns the outcomes as a `pandas.DataFrame`, with the columns of `to_parquet`. A vector is a numpy array."""
    if not _has("pandas"):
        raise InvalidArgumentError("data frames of pandas need pandas: pip install pandas")
    import pandas

    if _has("pyarrow"):
        return to_arrow(read, schema).to_pandas()
    names, columns = _columns(read, schema is not None)
    return pandas.DataFrame({name: columns[name] for name in names})


def to_polars(read: _Read, schema: Any = None) -> Any:
    """Returns the outcomes as a `polars.DataFrame`, with the columns of `to_parquet`. A vector is an `Array`."""
    if not _has("polars"):
        raise InvalidArgumentError("data frames of polars need polars: pip install polars")
    import polars

    if _has("pyarrow"):
        return polars.from_arrow(to_arrow(read, schema))
    names, columns = _columns(read, schema is not None)
    series = []
    for name in names:
        values = columns[name]
        sizes = {len(value) for value in values if value is not None} if name.endswith("embedding") else set()
        if len(sizes) == 1:
            lists = [None if value is None else value.tolist() for value in values]
            series.append(polars.Series(name, lists, dtype=polars.Array(polars.Float32, sizes.pop())))
        else:
            try:
                series.append(polars.Series(name, values, strict=True))
            except (TypeError, polars.exceptions.PolarsError):
                series.append(polars.Series(name, [None if value is None else _text(value) for value in values]))
    return polars.DataFrame(series)


def _write_with_polars(read: _Read, path: str | os.PathLike[str], schema: Any = None) -> int:
    if not _has("polars"):
        raise InvalidArgumentError("Parquet needs pyarrow or polars: pip install pyarrow")
    frame = to_polars(read, schema)
    with _replacing(path) as temporary:
        frame.write_parquet(temporary)
    return len(frame)


def to_npy(read: _Read, path: str | os.PathLike[str]) -> tuple[int, int]:
    """Writes the vectors of embeddings to an ``.npy`` file of 32-bit floats, one vector for each row in their order.

    The file is written through a memory map, so that it may be larger than the memory; `numpy.load` reads it with
    ``mmap_mode="r"`` in the same way. Rows without an answer, or with one that has several vectors, are NaN.

    Returns:
        The shape: number of rows and length of the vectors.

    Raises:
        InvalidArgumentError: there is no vector, they differ in their length, or numpy is not installed.
    """
    if not _has("numpy"):
        raise InvalidArgumentError(".npy files need numpy: pip install numpy")
    import numpy

    count, size = 0, 0
    for _, number, _, is_done, answer in read():
        count += 1
        found = _vectors(answer) if is_done else None
        if found is not None and len(found) == 1:
            size = size or len(found[0])
            if len(found[0]) != size:
                raise InvalidArgumentError(f"row {number} has a vector of {len(found[0])} numbers, others have {size}")
    if size == 0:
        raise InvalidArgumentError('no row has a vector: a job with endpoint="embedding" has them')
    with _replacing(path) as temporary:
        vectors = numpy.lib.format.open_memmap(temporary, mode="w+", dtype=numpy.float32, shape=(count, size))
        for index, (_, _, _, is_done, answer) in enumerate(read()):
            found = _vectors(answer) if is_done else None
            vectors[index] = found[0] if found is not None and len(found) == 1 else numpy.nan
        vectors.flush()
        del vectors
    return count, size


class _replacing:
    """A path beside another one, which takes its place when the block has ended without an exception."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fsdecode(os.fspath(path))
        self.temporary = f"{self.path}.{os.getpid()}.tmp"

    def __enter__(self) -> str:
        folder = os.path.dirname(self.path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        return self.temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            os.replace(self.temporary, self.path)
        elif os.path.exists(self.temporary):
            os.remove(self.temporary)


def _has(library: str) -> bool:
    from importlib import import_module

    try:
        import_module(library)
    except ImportError:
        return False
    return True


class _Layout:
    """The columns of a table and their types."""

    def __init__(self, answers: Any) -> None:
        # The JSON schema of the answers, if there is one.
        self.answers = answers
        # True if there are texts among the answers.
        self.has_answers = False
        # Names of the rows' columns in the order in which they come, each with its type in Arrow.
        self.columns: dict[str, Any] = {}
        # Columns whose values are written as JSON, since they have no type in common.
        self.texts: set[str] = set()
        # Lengths of vectors, and numbers of vectors in an answer.
        self.sizes: set[int] = set()
        self.counts: set[int] = set()

    @classmethod
    def of(cls, read: _Read, answers: Any) -> _Layout:
        layout = cls(answers)
        for rows in _chunks(read):
            layout._add(rows)
        return layout

    def _add(self, outcomes: list[_Outcome]) -> None:
        import pyarrow

        rows = [_row(outcome) for outcome in outcomes]
        for name in {name: None for row in rows for name in row}:
            if name in self.texts:
                continue
            known = self.columns.get(name, pyarrow.null())
            try:
                found = pyarrow.array([row.get(name) for row in rows]).type
                fields = [pyarrow.schema([(name, kind)]) for kind in (known, found)]
                kind = pyarrow.unify_schemas(fields, promote_options="permissive").field(0).type
            except (pyarrow.ArrowException, OverflowError):
                kind = None
            # Parquet has no objects without members.
            if kind is None or "struct<>" in str(kind):
                self.texts.add(name)
                kind = pyarrow.string()
            self.columns[name] = kind
        for _, _, _, is_done, answer in outcomes:
            if not is_done:
                continue
            found = _vectors(answer)
            if found is not None:
                self.counts.add(len(found))
                self.sizes.update(map(len, found))
            else:
                self.has_answers = True

    def schema(self) -> Any:
        import pyarrow

        text, number = pyarrow.string(), pyarrow.int64()
        # An empty column is one of texts: not every reader knows the type of nothing.
        fields = [(name, text if kind == pyarrow.null() else kind) for name, kind in self.columns.items()]
        kinds = {"input_tokens": number, "output_tokens": number, "cost": pyarrow.float64()}
        if self.answers is not None:
            kinds["parsed"] = type_of(self.answers)
        own = [(name, kinds.get(name, text)) for name in _own_names(self.answers is not None)]
        if self.counts:
            kind = (
                pyarrow.list_(pyarrow.float32(), *self.sizes)
                if len(self.sizes) == 1
                else pyarrow.list_(pyarrow.float32())
            )
            is_one = self.counts == {1}
            vectors = ("embedding" if is_one else "embeddings", kind if is_one else pyarrow.list_(kind))
            own = [vectors, *(own if self.has_answers else own[own.index(("error", text)) :])]
        return pyarrow.schema(fields + [(_own_name(name, self.columns), kind) for name, kind in own])

    def batches(self, read: _Read) -> Iterator[Any]:
        import pyarrow

        schema = self.schema()
        for outcomes in _chunks(read):
            rows = [_row(outcome) for outcome in outcomes]
            arrays = []
            for name in self.columns:
                values = [row.get(name) for row in rows]
                if name in self.texts:
                    values = [None if value is None else _text(value) for value in values]
                kind = schema.field(name).type
                if pyarrow.types.is_floating(kind):
                    # Whole numbers beyond 2**53 are no error here.
                    values = [None if value is None else float(value) for value in values]
                arrays.append(pyarrow.array(values, kind))
            own = [_own(outcome, self.answers is not None) for outcome in outcomes]
            for field in list(schema)[len(self.columns) :]:
                name = field.name.removeprefix("ritellm_")
                values = [values.get(name) for values in own]
                if name == "parsed":
                    values = [fitting(value, field.type) for value in values]
                arrays.append(_array(values, field.type))
            yield pyarrow.record_batch(arrays, schema=schema)


def _array(values: list[Any], kind: Any) -> Any:
    """Returns an array of Arrow; vectors are put into it without a Python object for each number."""
    import pyarrow

    if not pyarrow.types.is_fixed_size_list(kind) or not _has("numpy"):
        return pyarrow.array(values, kind)
    import numpy

    flat = numpy.zeros((len(values), kind.list_size), numpy.float32)
    missing = numpy.array([value is None for value in values], bool)
    for index, value in enumerate(values):
        if value is not None:
            flat[index] = value
    return pyarrow.FixedSizeListArray.from_arrays(
        pyarrow.array(flat.reshape(-1)), kind.list_size, mask=pyarrow.array(missing) if missing.any() else None
    )


def _whole(value: Any) -> Any:
    """Returns a value whose texts have U+FFFD in place of halves of surrogate pairs.

    Models cut emoji in two, and JSON can say such a half (``\\ud83d``), but no table can: one answer must not cost the others.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    elif isinstance(value, dict):
        return {_whole(name): _whole(item) for name, item in value.items()}
    elif isinstance(value, list):
        return [_whole(item) for item in value]
    return value


def _chunks(read: _Read) -> Iterator[list[_Outcome]]:
    chunk = []
    for outcome in read():
        chunk.append(outcome)
        if len(chunk) >= CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _columns(read: _Read, is_parsed: bool) -> tuple[list[str], dict[str, list[Any]]]:
    """Returns all columns as lists, without Arrow."""
    outcomes = list(read())
    rows = [_row(outcome) for outcome in outcomes]
    names = list({name: None for row in rows for name in row})
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in names}
    own = [_own(outcome, is_parsed) for outcome in outcomes]
    vectors = next(
        (name for values in own for name in ("embedding", "embeddings") if values.get(name) is not None), None
    )
    added = _own_names(is_parsed)
    if vectors is not None:
        has_answers = any(values.get("answer") is not None for values in own)
        added = [vectors, *(added if has_answers else added[added.index("error") :])]
    for name in added:
        column = _own_name(name, names)
        columns[column] = [values.get(name) for values in own]
    return list(columns), columns


def _row(outcome: _Outcome) -> dict[str, Any]:
    """Returns the columns of a row: its own, or its number and id if it is no JSON or cannot be read again."""
    row, number, own_id = outcome[:3]
    return _whole(row) if isinstance(row, dict) else {"row": number, "custom_id": own_id}


def _own_name(name: str, columns: Iterable[str]) -> str:
    return f"ritellm_{name}" if name in columns else name


def _own_names(is_parsed: bool) -> list[str]:
    return [name for name in OWN if name != "parsed" or is_parsed]


def _own(outcome: _Outcome, is_parsed: bool) -> dict[str, Any]:
    """Returns what an outcome adds to its row, with ``parsed`` for answers that follow a schema."""
    is_done, answer = outcome[3:]
    if not is_done:
        return {"error": _whole(str(answer)), "error_class": type(answer).__name__}
    usage = answer.get("usage") or {}
    meta = getattr(answer, "meta", None)
    own = {
        "input_tokens": usage.get("prompt_tokens", usage.get("input_tokens")),
        "output_tokens": usage.get("completion_tokens", usage.get("output_tokens")),
        "cost": getattr(meta, "cost", None),
    }
    vectors = _vectors(answer)
    if vectors is not None:
        own["embedding"] = vectors[0] if len(vectors) == 1 else None
        own["embeddings"] = vectors
    elif "choices" in answer:
        choice = (answer["choices"] or [{}])[0]
        message = choice.get("message") or {}
        own["finish_reason"] = choice.get("finish_reason")
        content = message.get("content")
        own["answer"] = content if content is None or isinstance(content, str) else _text(content)
        if own["answer"] is None and message.get("tool_calls"):
            own["answer"] = _text(message["tool_calls"])
    else:
        own["finish_reason"] = answer.get("status")
        own["answer"] = _output_text(answer)
    own["answer"] = _whole(own.get("answer"))
    if is_parsed and own["answer"]:
        own["parsed"] = _whole(_value_in(own["answer"]))
    return own


def _output_text(answer: Any) -> str | None:
    """Returns the text of an answer of the Responses API."""
    texts = [
        part.get("text", "")
        for item in answer.get("output") or []
        if item.get("type") == "message"
        for part in item.get("content") or []
        if part.get("type") == "output_text"
    ]
    return "".join(texts) if texts else None


def _vectors(answer: Any) -> list[Any] | None:
    """Returns the vectors of an answer: numpy's if it is there; None if the answer has no embeddings."""
    data = answer.get("data")
    if not isinstance(data, list) or not all(isinstance(item, dict) and "embedding" in item for item in data):
        return None
    return [_vector(item["embedding"]) for item in data]


def _vector(value: Any) -> Any:
    if isinstance(value, str):
        from array import array
        from base64 import b64decode

        # 32-bit floats, of which the smallest byte is the first, as everywhere.
        value = array("f", b64decode(value))
    if _has("numpy"):
        import numpy

        return numpy.asarray(value, numpy.float32)
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value_in(text: str) -> Any:
    """Returns the JSON value of an answer's text."""
    try:
        return json.loads(text)
    except ValueError:
        # With a fence around it, as some models write.
        begin, end = text.find("{"), text.rfind("}")
        try:
            return json.loads(text[begin : end + 1])
        except ValueError:
            return None


def type_of(schema: Any) -> Any:
    """Returns the Arrow type of a JSON schema's values; that of texts where it has none, which hold JSON then."""
    import pyarrow

    root = schema

    def kind_of(schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict) or depth > 16:
            return None
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            found: Any = root
            for step in reference[2:].split("/"):
                found = found.get(step) if isinstance(found, dict) else None
            return kind_of(found, depth + 1)
        either = [one for one in schema.get("anyOf") or [] if not (isinstance(one, dict) and one.get("type") == "null")]
        if either:
            return kind_of(either[0], depth + 1) if len(either) == 1 else None
        name = schema.get("type")
        if isinstance(name, list):
            names = [each for each in name if each != "null"]
            name = names[0] if len(names) == 1 else None
        if name is None:
            values = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
            return pyarrow.string() if values and all(isinstance(value, str) for value in values) else None
        if name == "object":
            properties = schema.get("properties") or {}
            if not properties or isinstance(schema.get("additionalProperties"), dict):
                return None
            members = [(member, kind_of(one, depth + 1)) for member, one in properties.items()]
            return pyarrow.struct([(member, kind or pyarrow.string()) for member, kind in members])
        if name == "array":
            item = kind_of(schema.get("items"), depth + 1)
            return None if item is None else pyarrow.list_(item)
        simple = {
            "string": pyarrow.string(),
            "integer": pyarrow.int64(),
            "number": pyarrow.float64(),
            "boolean": pyarrow.bool_(),
        }
        return simple.get(name)

    return kind_of(schema, 0) or pyarrow.string()


def fitting(value: Any, kind: Any) -> Any:
    """Returns a JSON value as one of an Arrow type, with texts of JSON where the type has texts for it."""
    import pyarrow

    if value is None:
        return None
    if pyarrow.types.is_struct(kind):
        if not isinstance(value, dict):
            return None
        return {field.name: fitting(value.get(field.name), field.type) for field in kind}
    if pyarrow.types.is_list(kind):
        return [fitting(item, kind.value_type) for item in value] if isinstance(value, list) else None
    if pyarrow.types.is_string(kind):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if pyarrow.types.is_boolean(kind):
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if pyarrow.types.is_floating(kind):
        return float(value)
    return int(value) if value == int(value) and -(2**63) <= value < 2**63 else None
