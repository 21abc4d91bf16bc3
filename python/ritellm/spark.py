"""Calls a model for each row of a Spark data frame."""

from __future__ import annotations

from collections import deque

from ritellm._engine_calls import RowCalls, not_installed
from ritellm._engine_columns import arrow_columns, arrow_fields
from ritellm._engine_worker import Part, worker_of
from ritellm.exceptions import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from typing import Any, Literal

    from ritellm.client import Client
else:
    Any = object

__all__ = ["map_rows"]

# Rows that are one part: so many are converted at a time.
CHUNK = 256

# Rows of a partition in work: those that have their answers wait for the ones before them.
MOST_ROWS = 32_768


def map_rows(
    df: Any,
    *,
    model: str | None = None,
    prompt: str | Callable[[Any], Any] | None = None,
    messages: Any = None,
    input: Any = None,
    endpoint: str = "chat",
    response_format: Any = None,
    validation_retries: int = 1,
    client: Client | Callable[[], Client] | None = None,
    max_attempts: int = 5,
    max_in_flight: int | None = None,
    max_in_flight_bytes: int | None = None,
    warm_prefix: bool = False,
    on_error: Literal["row", "raise"] = "row",
    memo: str | os.PathLike[str] | None = None,
    **params: Any,
) -> Any:
    """Calls a model for each row of a Spark `DataFrame`. Returns a data frame with the answers, in the same partitions.

    >>> import ritellm
    >>> df = ritellm.spark.map_rows(df, model="openai/gpt-4o-mini", prompt="Classify: {text}")  # doctest: +SKIP
    >>> df.write.parquet("labels/")  # doctest: +SKIP

    It is lazy, as everything in Spark: each action calls the model again. Write it once, or give a ``memo``.

    The columns are those of the rows, then ``answer`` (its text; for embeddings ``embedding`` instead, a list of 32-bit
    floats), ``parsed`` (with a ``response_format``: its value), ``finish_reason``, ``error`` (a message), ``error_class``,
    ``input_tokens``, ``output_tokens``, ``cost`` and ``attempts``. If the rows have a column of such a name themselves, ours
    begins with ``ritellm_``.

    Args:
        df: the data frame.
        model, prompt, messages, input, endpoint, response_format, validation_retries, max_attempts, warm_prefix: as for
            `ritellm.bulk`.
        client: a `Client` or `Router` without keys in it: ``providers={"openai": {"api_key_env": "…"}}`` names variables that
            the workers have. Or a function that makes the client on the worker. By default a client that learns its limits.
        max_in_flight: number of calls in flight of each task (of which an executor runs as many as it has cores); by default as many as the limits allow.
        max_in_flight_bytes: maximum size of the rows in memory of each, 256 MiB by default.
        on_error: ``"row"``: a row that fails has ``error`` and ``error_class``; ``"raise"``: it fails the job.
        memo: a folder that all workers reach, in which answers are kept: what was asked before is not asked again, by a task
            that runs a second time, or in another run. Rows in different partitions that ask for the same may share an answer.
        **params: parameters of all calls (``temperature=0``), and options such as ``timeout`` or ``base_url``.

    Raises:
        InvalidArgumentError: an argument that cannot be used, a client with a key, or pyspark is not installed.
    """
    try:
        import pyarrow
        from pyspark.sql.pandas.types import from_arrow_schema
        from pyspark.sql.types import StructType
    except ImportError as error:
        raise not_installed("spark", "pyspark and pyarrow") from error
    if not hasattr(df, "mapInArrow"):
        raise InvalidArgumentError(f"df is of type {type(df).__name__}: a DataFrame of Spark would be right")
    names = list(df.columns)
    if len(set(names)) < len(names):
        raise InvalidArgumentError("df has two columns of the same name: a name for each would be right")
    calls = RowCalls(
        names,
        client=client,
        on_error=on_error,
        memo=memo,
        params=params,
        model=model,
        prompt=prompt,
        messages=messages,
        input=input,
        endpoint=endpoint,
        response_format=response_format,
        validation_retries=validation_retries,
        max_attempts=max_attempts,
        max_in_flight=max_in_flight,
        max_in_flight_bytes=max_in_flight_bytes,
        warm_prefix=warm_prefix,
    )
    added = from_arrow_schema(pyarrow.schema(arrow_fields(calls, names)))
    schema = StructType([*df.schema.fields, *added.fields])

    def answered(batches: Iterator[Any]) -> Iterator[Any]:
        return _answered(calls, batches)

    return df.mapInArrow(answered, schema)


def _answered(calls: RowCalls, batches: Iterator[Any]) -> Iterator[Any]:
    """Yields the batches of a partition with their answers, in order, with as many calls in flight as the worker has."""
    import pyarrow

    worker = worker_of(calls)
    slices = (batch.slice(start, CHUNK) for batch in batches for start in range(0, batch.num_rows, CHUNK))
    parts: deque[tuple[Any, Part]] = deque()
    rows, is_read = 0, False

    def is_wanted() -> bool:
        # Two parts wait to be called, so that the calls do not wait for this loop.
        return not is_read and rows < MOST_ROWS and worker.waiting < 2

    try:
        while True:
            while is_wanted():
                batch = next(slices, None)
                if batch is None:
                    is_read = True
                    break
                parts.append((batch, worker.submit(batch, batch.num_rows, batch.schema.names)))
                rows += batch.num_rows
            if not parts:
                return
            batch, part = parts[0]
            worker.wait_for(lambda: parts[0][1].is_over or is_wanted())
            if not part.is_over:
                continue
            added = arrow_columns(calls, batch.schema.names, part.outcomes())
            parts.popleft()
            rows -= batch.num_rows
            yield pyarrow.RecordBatch.from_arrays(
                [*batch.columns, *(array for _, array in added)],
                schema=pyarrow.schema([*batch.schema, *(field for field, _ in added)]),
            )
    finally:
        # What has not been called when nobody wants the rest, as with a limit.
        worker.drop(part for _, part in parts)
