"""Calls a model for each row of a Ray dataset."""

from __future__ import annotations

from ritellm._engine_calls import RowCalls, not_installed
from ritellm._engine_columns import arrow_columns
from ritellm._engine_worker import Worker
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

# Blocks that an actor works on at the same time: one of them may wait for its last answers.
BLOCKS = 8


def map_rows(
    ds: Any,
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
    workers: int | tuple[int, int] = 1,
    ray_remote_args: dict[str, Any] | None = None,
    **params: Any,
) -> Any:
    """Calls a model for each row of a `ray.data.Dataset`, in a pool of actors. Returns a dataset with the answers; it is lazy.

    >>> import ritellm
    >>> ds = ritellm.ray.map_rows(
    ...     ds, model="openai/gpt-4o-mini", prompt="Classify: {text}", workers=4
    ... )  # doctest: +SKIP
    >>> ds.write_parquet("labels/")  # doctest: +SKIP

    The columns are those of the rows, then ``answer`` (its text; for embeddings ``embedding`` instead, a list of 32-bit
    floats), ``parsed`` (with a ``response_format``: its value), ``finish_reason``, ``error`` (a message), ``error_class``,
    ``input_tokens``, ``output_tokens``, ``cost`` and ``attempts``. If the rows have a column of such a name themselves, ours
    begins with ``ritellm_``.

    Args:
        ds: the dataset.
        model, prompt, messages, input, endpoint, response_format, validation_retries, max_attempts, warm_prefix: as for
            `ritellm.bulk`.
        client: a `Client` or `Router` without keys in it: ``providers={"openai": {"api_key_env": "…"}}`` names variables that
            the workers have. Or a function that makes the client on the worker. By default a client that learns its limits.
        max_in_flight: number of calls in flight of each actor; by default as many as the limits allow.
        max_in_flight_bytes: maximum size of the rows in memory of each, 256 MiB by default.
        on_error: ``"row"``: a row that fails has ``error`` and ``error_class``; ``"raise"``: it fails the job.
        memo: a folder that all workers reach, in which answers are kept: what was asked before is not asked again, by a task
            that runs a second time, or in another run. Rows in different blocks that ask for the same may share an answer.
        workers: number of actors, or the least and the largest number.
        ray_remote_args: what each actor needs, as ``{"num_cpus": 1}``; no CPU of its own by default, as it waits for most of its
            time.
        **params: parameters of all calls (``temperature=0``), and options such as ``timeout`` or ``base_url``.

    Raises:
        InvalidArgumentError: an argument that cannot be used, a client with a key, or Ray Data is not installed.
    """
    try:
        import ray.data
    except ImportError as error:
        raise not_installed("ray", "Ray Data") from error
    if not isinstance(ds, ray.data.Dataset):
        raise InvalidArgumentError(f"ds is of type {type(ds).__name__}: a ray.data.Dataset would be right")
    few, many = workers if isinstance(workers, tuple) else (workers, workers)
    if not all(isinstance(number, int) for number in (few, many)) or not 1 <= few <= many:
        raise InvalidArgumentError(f"workers is {workers!r}: a number from 1 on, or two, would be right")
    schema = ds.schema(fetch_if_missing=False)
    calls = RowCalls(
        None if schema is None else list(schema.names),
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
    # Small blocks, so that all actors have some from the first on, and that an answer never waits long for the others of its
    # block. They are of a fixed number of rows because a task that runs again must give as many blocks as it gave before, and
    # Ray splits large ones by their size.
    rows = 256 if max_in_flight is None else min(max(2 * max_in_flight, 16), 4096)
    return ds.repartition(target_num_rows_per_block=rows).map_batches(
        Answers,
        fn_constructor_args=(calls,),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(
            min_size=few,
            max_size=many,
            max_tasks_in_flight_per_actor=2 * BLOCKS,
            max_concurrent_calls_per_actor=BLOCKS,
            enable_true_multi_threading=True,
        ),
        **{"num_cpus": 0, **(ray_remote_args or {})},
    )


class Answers:
    """An actor's class: from blocks of rows to blocks of rows and answers."""

    def __init__(self, calls: RowCalls) -> None:
        self.worker = Worker(calls)

    def __call__(self, batch: Any) -> Any:
        names = list(batch.column_names)
        part = self.worker.submit(batch, batch.num_rows, names)
        for field, array in arrow_columns(self.worker.calls, names, part.outcomes()):
            batch = batch.append_column(field, array)
        return batch
