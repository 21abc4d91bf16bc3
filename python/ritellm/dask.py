"""Calls a model for each row of a Dask data frame."""

from __future__ import annotations

from ritellm._engine_calls import RowCalls, not_installed
from ritellm._engine_worker import worker_of
from ritellm.exceptions import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import Any, Literal

    from ritellm.client import Client
else:
    Any = object

__all__ = ["map_rows"]


def map_rows(
    ddf: Any,
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
    """Calls a model for each row of a `dask.dataframe.DataFrame`. Returns one with the answers, in the same partitions.

    >>> import ritellm
    >>> ddf = ritellm.dask.map_rows(ddf, model="openai/gpt-4o-mini", prompt="Classify: {text}")  # doctest: +SKIP
    >>> ddf.to_parquet("labels/")  # doctest: +SKIP

    It is lazy, as everything in Dask: each ``compute`` calls the model again. ``persist`` it, or give a ``memo``.

    The columns are those of the rows, then ``answer`` (its text; for embeddings ``embedding`` instead, a list of 32-bit
    floats), ``parsed`` (with a ``response_format``: its value), ``finish_reason``, ``error`` (a message), ``error_class``,
    ``input_tokens``, ``output_tokens``, ``cost`` and ``attempts``. If the rows have a column of such a name themselves, ours
    begins with ``ritellm_``.

    Args:
        ddf: the data frame.
        model, prompt, messages, input, endpoint, response_format, validation_retries, max_attempts, warm_prefix: as for
            `ritellm.bulk`.
        client: a `Client` or `Router` without keys in it: ``providers={"openai": {"api_key_env": "…"}}`` names variables that
            the workers have. Or a function that makes the client on the worker. By default a client that learns its limits.
        max_in_flight: number of calls in flight of each worker process; by default as many as the limits allow.
        max_in_flight_bytes: maximum size of the rows in memory of each, 256 MiB by default.
        on_error: ``"row"``: a row that fails has ``error`` and ``error_class``; ``"raise"``: it fails the job.
        memo: a folder that all workers reach, in which answers are kept: what was asked before is not asked again, by a task
            that runs a second time, or in another run. Rows in different partitions that ask for the same may share an answer.
        **params: parameters of all calls (``temperature=0``), and options such as ``timeout`` or ``base_url``.

    Raises:
        InvalidArgumentError: an argument that cannot be used, a client with a key, or dask.dataframe is not installed.
    """
    try:
        import dask.dataframe
    except ImportError as error:
        raise not_installed("dask", "dask.dataframe") from error
    if not isinstance(ddf, dask.dataframe.DataFrame):
        raise InvalidArgumentError(f"ddf is of type {type(ddf).__name__}: a dask.dataframe.DataFrame would be right")
    names = list(map(str, ddf.columns))
    if len(set(names)) < len(names):
        raise InvalidArgumentError("ddf has two columns of the same name: a name for each would be right")
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
    meta = _with_outcomes(ddf._meta, calls, names, [])
    mapped: Any = ddf
    return mapped.map_partitions(_answered, calls, names, meta=meta)


def _answered(frame: Any, calls: RowCalls, names: list[str]) -> Any:
    """Returns a partition with the answers."""
    part = worker_of(calls).submit(frame, len(frame), names)
    part.wait_until_taken()
    _let_others_begin()
    return _with_outcomes(frame, calls, names, part.outcomes())


def _let_others_begin() -> None:
    """Lets a worker of `distributed` begin another task, while this one waits for its last answers."""
    import sys

    distributed = sys.modules.get("distributed")
    if distributed is None:
        return
    try:
        distributed.get_worker()
    except ValueError:
        # Another scheduler.
        return
    distributed.secede()


def _with_outcomes(frame: Any, calls: RowCalls, names: list[str], outcomes: list[Any]) -> Any:
    import numpy
    import pandas

    kinds = {"text": "string", "whole": "Int64", "float": "Float64"}
    columns = {}
    for name, own, kind in calls.fields(names):
        values = [outcome.get(own) for outcome in outcomes]
        if kind in kinds:
            columns[name] = pandas.array(values, dtype=kinds[kind])
        else:
            # Lists and dicts: an array of objects, whatever their lengths are.
            objects = numpy.empty(len(values), dtype=object)
            for index, value in enumerate(values):
                objects[index] = value
            columns[name] = objects
    added = pandas.DataFrame(columns, index=frame.index)
    return pandas.concat([frame, added], axis=1)
