"""Rows of a job from Python: what they may come in, and how they get into the queue of a job.

Files that the core reads itself (JSONL, CSV, and gzip or zstd of them) are only looked up here. Everything else is read by a
thread of its own, no faster than rows are needed, and goes through a `RowQueue` as JSON. None of pyarrow, polars and pandas is
imported unless the rows come from it.
"""

from __future__ import annotations

import os
import sys
import threading

from ritellm._core import RowQueue
from ritellm._plain import Unplain, is_row, plain
from ritellm.exceptions import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Iterator
    from typing import Any
else:
    Any = object

__all__ = ["Files", "Rows", "open_rows"]

# Rows of a table that are made into Python objects at a time.
CHUNK = 512

RIGHT = "the path of a file, a list of dicts, a data frame, an Arrow table, or any iterable of dicts would be right"


class Files:
    """Files that the core reads itself.

    Attributes:
        paths: the files, in the order in which they are read.
    """

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths


class Rows:
    """Rows that a thread reads.

    Attributes:
        can_rescan: true if the rows can be read more than once, so that a job can look through them before its first call.
        length: number of rows, where it is known.
        columns: names of the columns, where they are known without reading a row.
        is_async: true if the rows come from an async iterator.
    """

    def __init__(
        self,
        read: Callable[[list[str] | None], Iterable[Any]] | None,
        *,
        asynchronous: AsyncIterable[Any] | None = None,
        can_rescan: bool = False,
        length: int | None = None,
        columns: list[str] | None = None,
    ) -> None:
        self._read = read
        self._asynchronous = asynchronous
        self.is_async = asynchronous is not None
        self.can_rescan = can_rescan
        self.length = length
        self.columns = columns
        # Tells whether a job needs a column, if it is known.
        self.is_needed: Callable[[str], bool] | None = None

    def start(self, queue: RowQueue, columns: list[str] | None = None) -> threading.Thread:
        """Starts a thread that puts all rows into a queue, no faster than they are wanted.

        Args:
            queue: the queue of a job. An exception of the rows ends it, and the job raises it again.
            columns: the columns that are needed, for tables that have others as well.
        """
        if self.is_async:
            import asyncio

            target, arguments = asyncio.run, (self.feed(queue, columns),)
        else:
            target, arguments = self._put_all, (queue, columns)  # type: ignore[assignment]
        # A daemon: a generator that waits for ever must not keep the program from ending.
        thread = threading.Thread(target=target, args=arguments, name="ritellm-rows", daemon=True)
        thread.start()
        return thread

    def _put(self, queue: RowQueue, row: object, columns: list[str] | None) -> None:
        put(queue, row, columns.__contains__ if columns is not None else self.is_needed)

    def _put_all(self, queue: RowQueue, columns: list[str] | None) -> None:
        assert self._read is not None
        number, iterator = 0, None
        try:
            iterator = iter(self._read(columns))
            while queue.wait():
                try:
                    row = next(iterator)
                except StopIteration:
                    break
                self._put(queue, row, columns)
                number += 1
        except BaseException as error:
            queue.fail(with_number(error, number))
        finally:
            close = getattr(iterator, "close", None)
            if close is not None and not isinstance(iterator, (list, tuple)):
                try:
                    close()
                except BaseException as error:
                    queue.fail(with_number(error, number))
            queue.end()

    async def feed(self, queue: RowQueue, columns: list[str] | None = None) -> None:
        """Puts the rows of an async iterator into a queue, on the running event loop."""
        import asyncio

        assert self._asynchronous is not None
        loop, number, iterator = asyncio.get_running_loop(), 0, None
        try:
            iterator = self._asynchronous.__aiter__()
            while queue.is_wanted or await loop.run_in_executor(None, queue.wait):
                try:
                    row = await iterator.__anext__()
                except StopAsyncIteration:
                    break
                self._put(queue, row, columns)
                number += 1
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            queue.fail(with_number(error, number))
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                try:
                    await close()
                except Exception as error:
                    queue.fail(with_number(error, number))
            queue.end()


def with_number(error: BaseException, number: int) -> BaseException:
    """Adds to an exception the number of the row that it came in place of."""
    if sys.version_info >= (3, 11):
        error.add_note(f"raised by the rows of a job, in place of row {number}")
    return error


def put(queue: RowQueue, row: object, is_needed: Callable[[str], bool] | None) -> None:
    """Puts a row into a queue; one that has no form in JSON becomes a row with an error.

    Of such a row only the columns that are needed have to have one, if it is known which ones these are; the others are left out.
    """
    try:
        if isinstance(row, dict) and queue.put(row) is None:
            return
    except Exception:
        # Raised by a value of the row.
        pass
    if not is_row(row):
        queue.put_error(f"is of type {type(row).__name__}: a dict would be right")
        return
    wrong = _put_plain(queue, row)
    if wrong is not None and is_needed is not None and isinstance(row, dict):
        wrong = _put_plain(queue, {name: row[name] for name in row if is_needed(str(name)) or _has_form(row[name])})
    if wrong is not None:
        queue.put_error(wrong)


def _put_plain(queue: RowQueue, row: Any) -> str | None:
    try:
        return queue.put(plain(row, "", 0))
    except Unplain as error:
        return str(error)


def _has_form(value: object) -> bool:
    try:
        plain(value, "", 0)
    except Unplain:
        return False
    return True


def open_rows(rows: Any) -> Files | Rows:
    """Finds out what rows come in.

    Args:
        rows: the path of a file or a pattern such as ``"data/*.jsonl"``, or several of them in a list; a data frame of pandas or
            polars; a table, dataset, reader or batch of Arrow; a list or another iterable of dicts, which is read again where it
            can be; an iterator, a generator or an async iterator of dicts, which is read once.

    Raises:
        InvalidArgumentError: rows of another kind, or a pattern that no file matches.
    """
    if isinstance(rows, (str, os.PathLike)):
        return _of_paths([rows])
    if isinstance(rows, (list, tuple)) and rows and all(isinstance(path, (str, os.PathLike)) for path in rows):
        return _of_paths(list(rows))
    library = type(rows).__module__.partition(".")[0]
    if library == "pandas":
        return _of_pandas(rows)
    if library == "polars":
        return _of_polars(rows)
    if library == "pyarrow" or (hasattr(rows, "__arrow_c_stream__") and not hasattr(rows, "__iter__")):
        return _of_arrow(rows)
    if isinstance(rows, (dict, bytes)) or (callable(rows) and not hasattr(rows, "__iter__")):
        raise InvalidArgumentError(f"rows is of type {type(rows).__name__}: {RIGHT}")
    if hasattr(rows, "__aiter__"):
        return Rows(None, asynchronous=rows)
    try:
        iterator = iter(rows)
    except TypeError:
        raise InvalidArgumentError(f"rows is of type {type(rows).__name__}: {RIGHT}") from None
    if iterator is rows:
        return Rows(lambda _: iterator)
    first = rows[0] if isinstance(rows, (list, tuple)) and rows else {}
    if not is_row(first):
        raise InvalidArgumentError(
            f'rows[0] is of type {type(first).__name__}: a dict such as {{"text": …}} would be right'
        )
    return Rows(
        lambda _: rows,
        can_rescan=True,
        length=len(rows) if hasattr(rows, "__len__") else None,
        columns=list(rows.column_names) if isinstance(getattr(rows, "column_names", None), list) else None,
    )


def _of_paths(paths: list[Any]) -> Files | Rows:
    from glob import glob, has_magic

    found: list[str] = []
    for path in map(os.fspath, paths):
        name = os.fsdecode(path)
        # A file that is there is itself, whatever characters its name has.
        if has_magic(name) and not os.path.exists(name):
            matches = sorted(glob(name, recursive=True))
            if not matches:
                raise InvalidArgumentError(f"rows is {name!r}: no file matches")
            found += matches
        else:
            found.append(name)
    tables = [os.path.splitext(path)[1].lower() in (".parquet", ".pq") for path in found]
    if not any(tables):
        return Files(found)
    if not all(tables):
        raise InvalidArgumentError("rows has Parquet files beside others: files of one kind would be right")
    for path in found:
        if not os.path.isfile(path):
            raise InvalidArgumentError(f"{path} cannot be read: there is no such file")
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        try:
            import polars  # noqa: F401
        except ImportError:
            raise InvalidArgumentError(
                f"{found[0]} is Parquet, which pyarrow and polars read: pip install pyarrow"
            ) from None
        return _of_parquet_with_polars(found)
    return _of_parquet(found)


def _of_parquet(paths: list[str]) -> Rows:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    length, columns = 0, []
    for path in paths:
        try:
            with ParquetFile(path) as file:
                length += file.metadata.num_rows
                columns += [name for name in file.schema_arrow.names if name not in columns]
        except pyarrow.ArrowException as error:
            raise InvalidArgumentError(f"{path} cannot be read: {error}") from error

    def read(needed: list[str] | None) -> Iterator[Any]:
        for path in paths:
            # Row groups one after the other, and no more of them ahead than are read.
            with ParquetFile(path) as file:
                kept = None if needed is None else [name for name in file.schema_arrow.names if name in needed]
                for batch in file.iter_batches(batch_size=CHUNK, columns=kept, use_threads=False):
                    yield from _rows_of(batch)

    return Rows(read, can_rescan=True, length=length, columns=columns)


def _of_parquet_with_polars(paths: list[str]) -> Rows:
    import polars

    frames = [polars.scan_parquet(path) for path in paths]
    lengths = [frame.select(polars.len()).collect().item() for frame in frames]
    columns: list[str] = []
    for frame in frames:
        columns += [name for name in frame.collect_schema().names() if name not in columns]

    def read(needed: list[str] | None) -> Iterator[Any]:
        for frame, length in zip(frames, lengths, strict=True):
            names = frame.collect_schema().names()
            kept = frame if needed is None else frame.select([name for name in names if name in needed])
            if needed is not None and not any(name in needed for name in names):
                yield from ({} for _ in range(length))
                continue
            for start in range(0, length, 8 * CHUNK):
                yield from kept.slice(start, 8 * CHUNK).collect().iter_rows(named=True)

    return Rows(read, can_rescan=True, length=sum(lengths), columns=columns)


def _of_pandas(frame: Any) -> Rows:
    if not hasattr(frame, "columns"):
        raise InvalidArgumentError(
            f"rows is of type {type(frame).__name__}: a DataFrame would be right, as from .to_frame()"
        )
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        raise InvalidArgumentError(
            "rows is a DataFrame in which a column's name comes twice: a name for each would be right"
        )

    def read(needed: list[str] | None) -> Iterator[Any]:
        kept = [index for index, name in enumerate(names) if needed is None or name in needed]
        labels = [names[index] for index in kept]
        for start in range(0, len(frame), CHUNK):
            # Column by column: a row by itself would be a Series, whose numbers have one type.
            part = frame.iloc[start : start + CHUNK]
            values = [part.iloc[:, index].tolist() for index in kept]
            if not values:
                yield from ({} for _ in range(len(part)))
            for row in zip(*values, strict=True):
                yield dict(zip(labels, row, strict=True))

    return Rows(read, can_rescan=True, length=len(frame), columns=names)


def _of_polars(frame: Any) -> Rows:
    if hasattr(frame, "collect_schema") and not hasattr(frame, "iter_slices"):
        frame = frame.collect()
    if not hasattr(frame, "iter_slices"):
        raise InvalidArgumentError(
            f"rows is of type {type(frame).__name__}: a DataFrame would be right, as from .to_frame()"
        )

    def read(needed: list[str] | None) -> Iterator[Any]:
        kept = frame if needed is None else frame.select([name for name in frame.columns if name in needed])
        if not kept.columns:
            yield from ({} for _ in range(len(frame)))
        for part in kept.iter_slices(CHUNK):
            yield from part.iter_rows(named=True)

    return Rows(read, can_rescan=True, length=len(frame), columns=list(frame.columns))


def _of_arrow(table: Any) -> Rows:
    import pyarrow

    if isinstance(table, pyarrow.RecordBatch):
        table = pyarrow.Table.from_batches([table])
    if isinstance(table, pyarrow.Table):
        return Rows(
            lambda needed: _of_batches(table.to_batches(max_chunksize=CHUNK), needed),
            can_rescan=True,
            length=len(table),
            columns=table.column_names,
        )
    if hasattr(table, "to_batches") and hasattr(table, "schema"):
        # A dataset, read as a stream.
        def read(needed: list[str] | None) -> Iterator[Any]:
            kept = None if needed is None else [name for name in table.schema.names if name in needed]
            return _of_batches(table.to_batches(columns=kept, batch_size=CHUNK), None)

        return Rows(read, can_rescan=True, length=table.count_rows(), columns=list(table.schema.names))
    if hasattr(table, "read_next_batch") or hasattr(table, "__arrow_c_stream__"):
        reader = table if hasattr(table, "read_next_batch") else pyarrow.RecordBatchReader.from_stream(table)
        return Rows(lambda needed: _of_batches(reader, needed), columns=list(reader.schema.names))
    raise InvalidArgumentError(
        f"rows is of type {type(table).__name__}: a Table, a RecordBatch or a dataset would be right"
    )


def _of_batches(batches: Iterable[Any], needed: list[str] | None) -> Iterator[Any]:
    for batch in batches:
        kept = batch if needed is None else batch.select([name for name in batch.schema.names if name in needed])
        for start in range(0, batch.num_rows, CHUNK):
            yield from _rows_of(kept.slice(start, CHUNK))


def _rows_of(batch: Any) -> list[Any]:
    try:
        rows: list[Any] = batch.to_pylist()
    except (ArithmeticError, ValueError):
        # A value that Python does not have, such as a date after the year 9999: its row fails when it is put in.
        rows = [dict(zip(batch.schema.names, row, strict=True)) for row in zip(*batch.columns, strict=True)]
    return rows
