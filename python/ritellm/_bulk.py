"""Jobs: many calls from the rows of a table, with answers in a folder that survives the process."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ritellm import _core
from ritellm._progress import Progress, dollars, progress_for, waiting
from ritellm._rows import Files, Rows, open_rows
from ritellm.client import Client, _flush_hooks
from ritellm.exceptions import InvalidArgumentError, JobPaused, RiteLLMError

if TYPE_CHECKING:
    from typing_extensions import Self
else:
    Self = object

__all__ = ["Failure", "Job", "bulk"]

_ENDED = ("completed", "failed", "expired", "cancelled", "unknown")
_OF_ROUTERS = (
    "account",
    "base_model",
    "limits",
    "max_in_flight",
    "name",
    "order",
    "quota_group",
    "rpm",
    "timeout",
    "tpm",
    "weight",
)
"""Options of a router's deployment that have no meaning for batches."""
_ALL = 2**64 - 1
"""More rows than there are."""
_SMALL = 256 << 10
"""Bytes of files that are read as a whole, whatever part of them is asked for."""
_LOOK = 0.1
"""Seconds between two looks at a job that runs."""


class _Durability(str):
    """A durability that is the package's own."""

    __slots__ = ()


UNSYNCED = _Durability("unsynced")
"""That of folders that are thrown away or can be made again: nothing waits for the disk."""


def bulk(
    rows: Any,
    *,
    model: str | None = None,
    prompt: str | Callable[[Any], Any] | None = None,
    messages: Any = None,
    input: Any = None,
    endpoint: str = "chat",
    mode: str = "calls",
    response_format: Any = None,
    validation_retries: int = 1,
    out: str | os.PathLike[str] | None = None,
    client: Client | None = None,
    max_cost: float | None = None,
    max_attempts: int = 5,
    max_in_flight: int | None = None,
    max_in_flight_bytes: int | None = None,
    batch_rows: int | None = None,
    durability: str = "process",
    dedupe: bool = False,
    warm_prefix: bool = False,
    on_change: str = "error",
    id_column: str | None = None,
    format: str | None = None,
    **params: Any,
) -> Job:
    """Makes a job that calls a model for each row of a table. Nothing is sent before `Job.run`.

    >>> import ritellm
    >>> job = ritellm.bulk(
    ...     "prompts.jsonl", model="openai/gpt-4o-mini", prompt="Classify: {text}", out="labels/"
    ... )  # doctest: +SKIP
    >>> job.run()  # doctest: +SKIP
    >>> for row, answer in job.results():  # doctest: +SKIP
    ...     print(row["text"], answer.choices[0].message.content)

    The answers are in the folder ``out``, one line for each row, as soon as they are there. A job that was interrupted, by
    whatever, goes on when it is made and run again with the same ``out``: rows that have an outcome are not called again.
    Rows that were in flight are called twice.

    Args:
        rows: the path of a JSONL or CSV file (also gzip or zstd), of a Parquet file, or a pattern or list of such; a data frame
            of pandas or polars; an Arrow table; a list of dicts; any iterator or async iterator of dicts. Without ``prompt``,
            ``messages`` and ``input`` the rows are requests themselves: lines in OpenAI's batch format, or bodies with
            ``messages`` or ``input``.
        model: ``provider/model``, or a group of the router; without one, each row names its own.
        prompt: the text of the user's message, with ``{column}`` for the value of a column; other braces stay as they are. Or
            a function that is given a row (a dict) and returns a text, a list of messages, or a dict with the call's parameters.
        messages: a list of messages with ``{column}`` in their texts, or such a function.
        input: the same for ``endpoint="embedding"`` and ``endpoint="responses"``.
        endpoint: ``"chat"``, ``"embedding"`` or ``"responses"``.
        mode: ``"calls"``, or ``"batch"`` for the provider's own batches, which take up to a day and cost half at OpenAI, Azure,
            Anthropic, Gemini and Groq. Of a router's group the first deployment whose provider has batches gets them.
        response_format: the type or the JSON schema that answers have to follow, as for `completion`. Each is checked;
            ``answer.parsed`` is its value. A row whose answer does not fit ends as an ``OutputValidationError``.
        validation_retries: number of times that the model is asked again, with what is wrong, if its answer does not fit.
        out: the folder of the job; it is created. Without one the answers are in a temporary folder that goes with the `Job`:
            nothing is left of them afterwards.
        client: the `Client` or `Router` whose settings, limits, cache, budget and deployments are used. The job has connections of
            its own, but shares all limits. Limits that it does not declare are learnt.
        max_cost: cost in US dollars, over all runs together, at which no further call is made; those in flight may exceed it.
            It needs a client with a ``catalog``.
        max_attempts: number of failures of its own after which a row ends as an error. Refusals by rate limits and failures of
            all rows alike (an outage) do not count; a row that is refused for ever ends as an error in the end.
        max_in_flight: number of calls in flight; by default as many as the limits allow and get more rows done.
        max_in_flight_bytes: maximum size of the rows in memory, 256 MiB by default.
        batch_rows: number of rows of a batch; by default as many as the provider takes.
        durability: ``"process"``: outcomes survive the end of the process; ``"power"``: a power cut as well.
        dedupe: rows that ask for the same are one call, with an outcome for each.
        warm_prefix: of rows with the same beginning, one goes first, so that the provider's prompt cache serves the others.
        on_change: what happens if ``out`` belongs to a job with other parameters: ``"error"``, or ``"rerun"`` to call all rows
            again.
        id_column: the column that identifies a row; ``custom_id`` by default, where there is one. Without an id a row is known
            by what it asks for.
        format: ``"jsonl"`` or ``"csv"`` for files whose names do not tell.
        **params: parameters of all calls (``temperature=0``), and options such as ``timeout`` or ``base_url``.

    Raises:
        InvalidArgumentError: an argument that cannot be used, or a folder of a job with other parameters.
        AuthenticationError: there is no key for the model.
    """
    return Job(
        rows,
        _options={
            "model": model,
            "prompt": prompt,
            "messages": messages,
            "input": input,
            "endpoint": endpoint,
            "mode": mode,
            "response_format": response_format,
            "validation_retries": validation_retries,
            "out": out,
            "max_cost": max_cost,
            "max_attempts": max_attempts,
            "max_in_flight": max_in_flight,
            "max_in_flight_bytes": max_in_flight_bytes,
            "batch_rows": batch_rows,
            "durability": durability,
            "dedupe": dedupe,
            "warm_prefix": warm_prefix,
            "on_change": on_change,
            "id_column": id_column,
            "format": format,
        },
        _client=client,
        _params=params,
    )


class Failure(Mapping[str, Any]):
    """A row whose outcome is an error.

    Attributes:
        row: the row, a dict; the text of a line that is no JSON; or ``None`` if the rows came from an iterator.
        number: the row's number in the input, from 0.
        id: the row's own id, if it has one.
        error: the exception.
    """

    __slots__ = ("error", "id", "number", "row")

    def __init__(self, row: Any, number: int, id: str | None, error: RiteLLMError) -> None:
        self.row, self.number, self.id, self.error = row, number, id, error

    def __getitem__(self, name: str) -> Any:
        if name not in self.__slots__:
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(("number", "id", "row", "error"))

    def __len__(self) -> int:
        return 4

    def __repr__(self) -> str:
        name = f"row {self.number}" if self.id is None else f"row {self.number} ({self.id!r})"
        return f"<{name}: {type(self.error).__name__}: {self.error}>"


class Job:
    """A job: the rows of a table, the calls that they ask for, and a folder with the outcomes. `ritellm.bulk` makes it."""

    def __init__(self, rows: Any, *, _options: dict[str, Any], _client: Client | None, _params: dict[str, Any]) -> None:
        options = {name: value for name, value in _options.items() if value is not None}
        _check(options)
        self._is_temporary = "out" not in options
        if self._is_temporary:
            folder = options["out"] = tempfile.mkdtemp(prefix="ritellm-")
            if options["durability"] in ("process", "power"):
                # It does not outlive the process.
                options["durability"] = UNSYNCED
            weakref.finalize(self, _remove, folder, os.getpid())
        self._out = options["out"] = os.fspath(options["out"])
        self._model = options.get("model")
        self._mode = options.pop("mode")
        self._batch_rows = options.pop("batch_rows", None)
        self._max_cost = options.get("max_cost")
        self._runner: Any = None
        self._use_form(options, _params)
        opened = open_rows(rows)
        self._client = _client if _client is not None else _default_client()
        self._paths: list[Any] = []
        if isinstance(opened, Files):
            source: Any = opened.paths
            self._paths = list(opened.paths)
            options["kind"] = "files"
        else:
            source = _opener(opened)
            opened.is_needed = self._needed(options)
            options["kind"] = type(rows).__name__
            options["again"] = opened.can_rescan
            options["columns"] = opened.columns
        if str(self._model).startswith("local/") and not {"base_url", "api_base"} & _params.keys():
            from ritellm import local

            _params["base_url"] = local.base_url(str(self._model))
        options["batch"] = self._mode == "batch"
        if self._mode == "batch":
            self._pin(options, _params)
        self._core = _core.BulkJob(self._client, source, options, _params)
        self._has_run = False
        # Number of rows when the job of a folder was run last.
        self._rows_before: int | None = None

    def _pin(self, options: dict[str, Any], params: dict[str, Any]) -> None:
        """Makes the job one of a single deployment, if its client is a router: a batch is at one account.

        That is the first of the group whose provider has batches. Its fallbacks and the others of the group have no part.
        """
        found = self._client.batch_deployment(options.get("model"))
        if found is None:
            return
        deployment, settings = found
        options["model"] = self._model = deployment.model
        given = dict(deployment.options)
        for name in _OF_ROUTERS:
            given.pop(name, None)
        defaults = given.pop("params", {})
        headers = given.pop("headers", None)
        if headers:
            given["extra_headers"] = {**headers, **(params.get("extra_headers") or {})}
        for name, value in (given | defaults).items():
            if name == "extra_headers":
                params[name] = value
            else:
                params.setdefault(name, value)
        self._client = Client(**settings)

    @staticmethod
    def _needed(options: dict[str, Any]) -> Callable[[str], bool] | None:
        """Returns the function that tells whether rows need a column, if texts name those that they need."""
        texts = [options[name] for name in ("prompt", "messages", "input") if name in options]
        if not texts or "map" in options:
            return None
        own_id = options.get("id_column", "custom_id")
        # Texts of messages are JSON here.
        return lambda name: (
            name == own_id or any(f"{{{form}}}" in text for form in (name, json.dumps(name)[1:-1]) for text in texts)
        )

    def _use_form(self, options: dict[str, Any], params: dict[str, Any]) -> None:
        """Makes what the core takes of ``prompt``, ``messages``, ``input`` and ``response_format``."""
        endpoint = options["endpoint"]
        functions = [name for name in ("prompt", "messages", "input") if callable(options.get(name))]
        if functions:
            name = functions[0]
            others = [other for other in ("prompt", "messages", "input") if other != name and other in options]
            if others:
                raise InvalidArgumentError(f"{name} and {others[0]} are both given: one would be right")
            options["map"] = _mapper(options.pop(name), endpoint, options.pop("id_column", None))
        for name in ("messages", "input"):
            if name in options:
                options[name] = options[name] if isinstance(options[name], str) else json.dumps(options[name])
        self._format: Any = None
        #: The JSON schema of the answers, if there is one.
        self._schema: dict[str, Any] | None = None
        target = options.pop("response_format", None)
        if target is None:
            if "validation_retries" in options:
                options.pop("validation_retries")
            return
        if endpoint == "embedding":
            raise InvalidArgumentError("response_format has no place in embeddings")
        from ritellm._schemas import format_of, schema_of

        if isinstance(target, dict) and target.get("type") in ("json_schema", "json_object", "text"):
            # In OpenAI's form: it is sent as it is.
            params["response_format"] = target
            self._schema = schema_of(target)
            return
        self._format = format_of(target)
        self._schema = self._format.schema
        params["response_format"] = options["response_format"] = self._format.core
        if not isinstance(target, dict):
            options["read"] = _reader(self._format)

    @classmethod
    def open(cls, out: str | os.PathLike[str], *, client: Client | None = None, **options: Any) -> Job:
        """Makes the job of a folder again, from what its manifest says: to look at it, or to go on with it.

        Args:
            out: the folder of a job whose rows came from files.
            client: the client, as for `ritellm.bulk`.
            **options: further arguments of `ritellm.bulk`, such as ``max_cost``; keys are in no file.

        Raises:
            InvalidArgumentError: there is no job in the folder, or its rows did not come from files.
        """
        folder = os.fspath(out)
        try:
            with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
                manifest = json.load(file)
            found, kind = manifest["parameters"], manifest["input"]["kind"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InvalidArgumentError(f"out is {folder!r}, which is not the folder of a job: {error}") from None
        if kind != "files":
            message = f"the rows of the job in {folder} came from a program ({kind}): make it again with ritellm.bulk"
            raise InvalidArgumentError(message)
        if "mode" not in options and os.path.exists(os.path.join(folder, "batches", "state.json")):
            options["mode"] = "batch"
        names = ("endpoint", "model", "prompt", "messages", "input", "id_column", "response_format")
        given = {name: found[name] for name in names if name in found} | found.get("params", {})
        job = bulk(manifest["input"]["paths"], out=folder, client=client, **given | options)
        job._rows_before = manifest.get("rows")
        return job

    @property
    def out(self) -> str:
        """The job's folder."""
        return str(self._out)

    def run(self, *, progress: bool | None = None, retry_failed: bool = False) -> Self:
        """Runs the job until every row has an outcome.

        Ctrl-C lets the calls in flight land and raises ``KeyboardInterrupt``; a second one ends it at once. Either way,
        running it again goes on.

        Args:
            progress: show the progress: a bar where tqdm is installed, and lines elsewhere. ``None``: if there is a terminal.
            retry_failed: call rows again whose outcome is an error.

        Returns:
            The job itself.

        Raises:
            JobPaused: rows are pending, and the job cannot go on by itself: a key that is refused, a used-up quota, a reached
                ``max_cost``, rows that raised an exception.
            DiskFullError: there is no room for further outcomes.
            JournalError: the folder cannot be read or written; ``JobLocked`` if another process runs the job.
        """
        shown = progress_for(progress)
        self._begin(retry_failed)
        interrupted = False
        try:
            while True:
                try:
                    if self._core.wait(_LOOK):
                        break
                    shown.update(self.status())
                except KeyboardInterrupt:
                    if interrupted:
                        self.cancel(now=True)
                        raise
                    interrupted = True
                    self.cancel()
                    shown.note(self._stopping())
            shown.update(self.status())
        finally:
            shown.close()
        self._finish(interrupted, shown)
        return self

    async def arun(self, *, progress: bool | None = None, retry_failed: bool = False) -> Self:
        """Runs the job as `run` does, without blocking the event loop.

        If the task is cancelled, no further rows are called; the calls in flight land in the background.
        """
        shown = progress_for(progress)
        self._begin(retry_failed)
        try:
            while self._core.is_running:
                shown.update(self.status())
                await asyncio.sleep(_LOOK)
            shown.update(self.status())
        except BaseException:
            self.cancel()
            raise
        finally:
            shown.close()
        self._finish(False, shown)
        return self

    def start(self, *, retry_failed: bool = False) -> Self:
        """Begins to run the job in the background; `wait` waits for its end, and `results` can be read meanwhile."""
        self._begin(retry_failed)
        return self

    def _begin(self, retry_failed: bool, cancels: bool = False) -> None:
        """Begins a run; with ``cancels`` one that ends the batches at the provider."""
        if self._mode == "batch":
            from ritellm._batch_run import Runner

            self._runner = Runner(
                self._client,
                self._core,
                self.out,
                retry_failed=retry_failed,
                max_rows=self._batch_rows,
                max_cost=self._max_cost,
                cancels=cancels,
            )
            self._runner.start()
        else:
            self._check_batches()
            self._core.start(retry_failed)
        self._has_run = True

    def _check_batches(self) -> None:
        """Refuses to call rows that are in batches at the provider.

        Raises:
            InvalidArgumentError: there are such batches.
        """
        if not os.path.exists(os.path.join(self.out, "batches")):
            return
        from ritellm._batch_run import open_batches

        if found := open_batches(self.out):
            rows = sum(batch["rows"] for batch in found)
            raise InvalidArgumentError(
                f'{rows:,} rows of the job in {self.out} are in {len(found)} batches at the provider: mode="batch" takes their '
                "results"
            )

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for the end of a job that `start` began. Returns false if it has not ended within ``timeout`` seconds.

        Raises:
            JobPaused, JournalError: as for `run`.
        """
        if not self._core.wait(float("inf") if timeout is None else timeout):
            return False
        self._finish(False, progress_for(False))
        return True

    def cancel(self, *, now: bool = False) -> None:
        """Ends the run: no further rows are called, and those in flight land or, with ``now``, stay pending.

        Batches go on at the provider; running the job again takes their results.
        """
        if self._runner is not None:
            self._runner.stop()
        else:
            self._core.stop(now)

    def cancel_batches(self, *, progress: bool | None = None) -> int:
        """Cancels the batches of a job with ``mode="batch"`` at the provider, and waits until they have ended.

        What was answered by then is taken, and was paid; the other rows stay pending, for another run with either ``mode``.
        Batches that were not made yet are forgotten. If the waiting is interrupted, calling it again goes on, and running the
        job again takes the results and asks for the other rows. Rows of an iterator that are forgotten with their batches cannot
        be read again: the job has to be made again, with a new one.

        Returns:
            The number of batches that were at the provider. One that it does not know any more, or not for this key, is not among
            them; it is ``"unknown"`` in `status`.

        Raises:
            InvalidArgumentError: the job has ``mode="calls"``.
            JobLocked: another process runs the job: end that one first.
            JobPaused: the provider refuses the key.
        """
        if self._mode != "batch":
            raise InvalidArgumentError('the job has mode="calls": cancel() ends it, and there are no batches to cancel')
        from ritellm._batch_run import open_batches

        found = open_batches(self.out)
        shown = progress_for(progress)
        self._begin(False, cancels=True)
        try:
            while not self._core.wait(_LOOK):
                shown.update(self.status())
        except BaseException:
            self.cancel()
            raise
        finally:
            shown.close()
        self._finish(False, shown)
        unknown = {batch["id"] for batch in self._batches() if batch["state"] == "unknown"}
        return sum(batch["batch_id"] not in unknown for batch in found)

    def _stopping(self) -> str:
        if self._runner is not None:
            batches = sum(batch["state"] not in ("waiting", *_ENDED) for batch in self._runner.plan.shown())
            going = f"{batches} {'batch goes' if batches == 1 else 'batches go'} on at the provider"
            return f"ritellm: no longer waiting; {going}. {self._how_to_go_on()}"
        calls = self.status()["in_flight"]
        return f"ritellm: no further rows; {calls} calls in flight land (Ctrl-C again ends at once). {self._how_to_go_on()}"

    def _how_to_go_on(self) -> str:
        if self._is_temporary:
            return "run() again goes on."
        return f"Go on with run() again, or with the same job and out={self.out!r}."

    def _finish(self, interrupted: bool, shown: Progress) -> None:
        """Raises what the end of a run means for its caller."""
        _flush_hooks(None)
        if interrupted:
            raise KeyboardInterrupt
        pause = self._core.pause() if self._runner is None else self._runner.ended()
        if pause is None:
            return
        kind, error = pause
        if kind == "stopped":
            raise JobPaused(f"the job was stopped, and rows are pending. {self._how_to_go_on()}", code="stopped")
        if kind == "cost":
            why = str(error) if error is not None else f"max_cost is reached: {dollars(self.status()['cost'])}"
            cause = error if isinstance(error, BaseException) else None
            raise JobPaused(f"{why}. Rows are pending.", code="cost") from cause
        if kind == "refused":
            message = f"the job pauses, and rows are pending: {error} {self._how_to_go_on()}"
            raise JobPaused(message, code="refused") from (error if isinstance(error, BaseException) else None)
        # The journal's failures, and those of the rows, as they are.
        raise error if error is not None else JobPaused("rows are pending", code=kind)

    def results(self, *, ordered: bool = False) -> Iterator[tuple[Any, Any]]:
        """Iterates over the rows that have an answer, while the job runs and afterwards.

        Rows whose outcome is an error are in `failures`.

        Args:
            ordered: keep the order of the input, so that a row waits for those before it.

        Returns:
            Tuples of the row and its answer. The row is a dict of its columns; if the rows came from an iterator, which cannot
            be read again, it has only ``row`` (its number, from 0) and ``custom_id``. The answer is what `completion`,
            `embedding` or `responses` return; ``answer.meta`` has attempts, usage and cost.
        """
        read: Any = None
        if self._format is not None:
            from ritellm._structured import completion as read
            from ritellm.types import EmbeddingResponse

        for row, number, own_id, is_done, answer in self._core.results(ordered, True):
            if is_done:
                # A line of embeddings has no text to read.
                value = answer if read is None or isinstance(answer, EmbeddingResponse) else read(self._format, answer)
                yield (row if row is not None else {"row": number, "custom_id": own_id}), value

    def failures(self) -> list[Failure]:
        """Returns the rows whose outcome is an error, in the order of the input."""
        found = self._core.results(True, False)
        return [Failure(row, number, own_id, error) for row, number, own_id, is_done, error in found if not is_done]

    def retry_failed(self, *, progress: bool | None = None) -> Self:
        """Runs the job again, with the rows whose outcome is an error.

        Raises:
            InvalidArgumentError: the rows came from an iterator, which cannot be read again.
        """
        return self.run(progress=progress, retry_failed=True)

    def status(self) -> dict[str, Any]:
        """Returns the numbers of the job as a dict.

        Returns:
            ``state`` (``"new"`` before the first run of this process, ``"scanning"``, ``"running"``, ``"outage"``, ``"stopping"``, ``"paused"`` or ``"done"``),
            ``reason`` (why it pauses, or what all its calls wait for), ``rows`` (all of the input, ``None`` if that is not known), ``done``, ``failed``,
            ``repeated`` (rows that share the outcome of an equal one), ``pending``, ``read``, ``in_flight``, ``waiting`` (for
            their quota), ``retries``, ``rate_limited``, ``cached`` (rows of this run whose answer was kept), ``input_tokens``, ``output_tokens``, ``cost`` (in US dollars, of all
            runs; ``None`` if it is not known), ``elapsed``, ``rate`` (rows a second), ``time_left`` (in seconds), ``waits_for``
            (``"answers"``, ``"limits"``, ``"the source"``, ``"the disk: opening the journal"`` and others, while it runs),
            ``waited`` (seconds since anything has gone on), ``process`` (number of the other process that runs the job). With
            ``mode="batch"`` also ``batches``: a list of dicts with ``id``, ``state``, ``model``, ``rows``, ``completed`` and
            ``failed``.
        """
        status = self._core.status()
        status["process"] = None
        if self._mode == "batch":
            status["batches"] = self._batches()
        if status["state"] == "new" and not self._has_run and os.path.isdir(self.out):
            # A job of an earlier process.
            done, failed, cost, owner = self._core.counts()
            status.update(done=done, failed=failed, cost=cost or None)
            # With fewer, some may be pending, or share the outcome of another.
            if self._rows_before is not None and done + failed >= self._rows_before:
                status.update(state="done", rows=self._rows_before, pending=0)
            if owner is not None:
                # Another one runs it.
                pid, wait = owner
                status.update(state="running", process=pid)
                status["waits_for"], status["waited"] = wait or (None, None)
        elif status["cost"] == 0 and status["before"] and not status["input_tokens"]:
            # Earlier runs may have had no prices.
            status["cost"] = None
        return status

    def _batches(self) -> list[dict[str, Any]]:
        """Returns the batches of the job, those of earlier runs included."""
        if self._runner is not None:
            shown: list[dict[str, Any]] = self._runner.plan.shown()
            return shown
        from ritellm._batch_run import load
        from ritellm._batch_state import Plan

        state = load(self.out)
        return [] if state is None else Plan.load(state, None, None, 0.0).shown()

    def estimate(self, sample: int | None = None) -> dict[str, Any]:
        """Estimates what the job takes. Nothing is sent.

        All rows are read once, as before a run: less than a second for 100,000.

        Args:
            sample: number of rows that are looked at, for inputs of many megabytes: the rest is guessed from the part of the
                files' bytes that these rows have, in compressed files to a block of 256 KiB. Files that have no more than
                256 KiB together, and rows that are in no files, are read as a whole.

        Returns:
            ``rows``, ``input_tokens`` and ``output_tokens`` (guessed: four bytes a token, 500 tokens an answer or ``max_tokens``),
            ``cost`` in US dollars (``None`` without the client's ``catalog``), ``seconds`` (``None`` if no rates are declared as
            limits), ``bad`` (rows of the sample that cannot be used), ``sampled`` and ``models`` (the same for each model).

        Raises:
            InvalidArgumentError: the rows came from an iterator, which cannot be read twice.
        """
        found = self._core.estimate(_ALL if sample is None else sample)
        # A part of 1 without the end of the rows: they are in no file.
        is_cheap = found["part"] >= 1 or sum(map(os.path.getsize, self._paths)) <= _SMALL
        if sample is not None and found["sampled"] == sample and is_cheap:
            found = self._core.estimate(_ALL)
        models = found["models"]

        def all_of(name: str, join: Any) -> Any:
            values = [model[name] for model in models]
            return None if not values or any(value is None for value in values) else join(values)

        return {
            "rows": found["rows"],
            "input_tokens": sum(model["input_tokens"] for model in models),
            "output_tokens": sum(model["output_tokens"] for model in models),
            "cost": all_of("cost", sum),
            "seconds": all_of("seconds", max),
            "bad": found["bad"],
            "sampled": found["sampled"],
            "models": models,
        }

    def export(self, path: str | os.PathLike[str]) -> dict[str, int]:
        """Writes the outcomes as JSONL in the order of the input, in OpenAI's batch output format.

        Returns:
            The number of rows: ``done``, ``failed``, and ``missing``, which have no outcome and are left out.

        Raises:
            InvalidArgumentError: the name ends in ``.parquet``: `to_parquet` writes such files.
        """
        if os.fspath(path).endswith(".parquet"):
            raise InvalidArgumentError(f"path is {os.fspath(path)!r}: export writes JSONL, to_parquet Parquet files")
        done, failed, missing = self._core.export(os.fspath(path))
        return {"done": done, "failed": failed, "missing": missing}

    def to_parquet(self, path: str | os.PathLike[str]) -> int:
        """Writes rows and outcomes to a Parquet file, in the order of the input, and returns their number.

        The columns are those of the rows, then ``answer`` (its text; of embeddings ``embedding``, a list of 32-bit floats),
        with a ``response_format`` that has a schema ``parsed`` (the answer's value: a column of the schema's type, of structs
        for an object; JSON where the schema leaves the type open), ``finish_reason``, ``error``, ``error_class``,
        ``input_tokens``, ``output_tokens`` and ``cost``.

        Raises:
            InvalidArgumentError: neither pyarrow nor polars is installed.
        """
        from ritellm import _tables

        return _tables.to_parquet(self._outcomes, path, schema=self._schema)

    def to_arrow(self) -> Any:
        """Returns rows and outcomes as a `pyarrow.Table`, with the columns of `to_parquet`."""
        from ritellm import _tables

        return _tables.to_arrow(self._outcomes, schema=self._schema)

    def to_pandas(self) -> Any:
        """Returns rows and outcomes as a `pandas.DataFrame`, with the columns of `to_parquet`."""
        from ritellm import _tables

        return _tables.to_pandas(self._outcomes, schema=self._schema)

    def to_polars(self) -> Any:
        """Returns rows and outcomes as a `polars.DataFrame`, with the columns of `to_parquet`."""
        from ritellm import _tables

        return _tables.to_polars(self._outcomes, schema=self._schema)

    def to_npy(self, path: str | os.PathLike[str]) -> tuple[int, int]:
        """Writes the vectors of embeddings to an ``.npy`` file, one for each row, and returns its shape.

        Rows without an answer are NaN. ``numpy.load(path, mmap_mode="r")`` reads the file without its size in memory.
        """
        from ritellm import _tables

        return _tables.to_npy(self._outcomes, path)

    def _outcomes(self) -> Iterator[tuple[Any, int, str | None, bool, Any]]:
        return iter(self._core.results(True, False))

    def __repr__(self) -> str:
        status = self.status()
        total = "" if status["rows"] is None else f" of {status['rows']:,}"
        parts = [status["state"], f"{status['done']:,}{total} rows done"]
        if status["failed"]:
            parts.append(f"{status['failed']:,} failed")
        if status["cost"]:
            parts.append(dollars(status["cost"]))
        if status["reason"]:
            parts.append(status["reason"])
        if wait := waiting(status):
            parts.append(wait)
        model = f" {self._model}" if self._model else ""
        return f"<Job{model} → {self.out}: {', '.join(parts)}>"


def _check(options: dict[str, Any]) -> None:
    def wrong(name: str, right: str) -> InvalidArgumentError:
        return InvalidArgumentError(f"{name} is {options[name]!r}: {right} would be right")

    retries = options.get("validation_retries", 0)
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise wrong("validation_retries", "a whole number from 0 on")
    if options.get("mode") not in ("calls", "batch"):
        raise wrong("mode", '"calls" or "batch"')
    others = ("warm_prefix", "max_in_flight", "max_in_flight_bytes") if options["mode"] == "batch" else ("batch_rows",)
    for name in others:
        if options.get(name):
            raise InvalidArgumentError(f"{name} has no place in a job with mode={options['mode']!r}")
    for name in ("max_attempts", "max_in_flight", "max_in_flight_bytes", "batch_rows"):
        value = options.get(name, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise wrong(name, "a whole number from 1 on")
    cost = options.get("max_cost", 0)
    if not isinstance(cost, (int, float)) or isinstance(cost, bool) or not 0 <= cost < float("inf"):
        raise wrong("max_cost", "a number of US dollars")
    for name in ("dedupe", "warm_prefix"):
        if not isinstance(options.get(name, False), bool):
            raise wrong(name, "True or False")
    for name in ("model", "endpoint", "durability", "on_change", "id_column", "format"):
        if not isinstance(options.get(name, ""), str):
            raise wrong(name, "a str")
    if options["durability"] not in ("process", "power") and not isinstance(options["durability"], _Durability):
        raise wrong("durability", '"process" or "power"')
    if "out" in options and not isinstance(options["out"], (str, os.PathLike)):
        raise wrong("out", "the path of a folder")
    prompt = options.get("prompt", "")
    if not isinstance(prompt, str) and not callable(prompt):
        raise wrong("prompt", 'a text such as "Classify: {text}", or a function')


_default: Client | None = None
_default_lock = threading.Lock()


def _default_client() -> Client:
    """Returns the client of jobs that are given none: it learns its limits, and has prices where they are installed."""
    global _default
    with _default_lock:
        if _default is None:
            from importlib.util import find_spec

            _default = Client(limits="adaptive", catalog="genai-prices" if find_spec("genai_prices") else None)
        return _default


def _opener(rows: Rows) -> Callable[[], _core.RowQueue]:
    def open_queue() -> _core.RowQueue:
        queue = _core.RowQueue()
        rows.start(queue)
        return queue

    return open_queue


def _mapper(function: Callable[[Any], Any], endpoint: str, id_column: str | None) -> Callable[[Any], dict[str, Any]]:
    """Returns the function from a row to the body of its request."""
    member = "messages" if endpoint == "chat" else "input"

    def body_of(row: Any) -> dict[str, Any]:
        made = function(row)
        if isinstance(made, str):
            made = {member: [{"role": "user", "content": made}] if endpoint == "chat" else made}
        elif isinstance(made, (list, tuple)):
            made = {member: list(made)}
        elif not isinstance(made, Mapping):
            raise TypeError(
                f"the function returned {type(made).__name__}: a str, a list of messages or a dict is right"
            )
        own_id = row.get(id_column or "custom_id")
        return dict(made) if own_id is None else {**made, "custom_id": own_id}

    return body_of


def _reader(format: Any) -> Callable[[str], list[str]]:
    """Returns the function that tells why a JSON text is not a value of a type."""
    from ritellm._schemas import Violations

    def reasons(text: str) -> list[str]:
        try:
            format.read(text)
        except Violations as violations:
            return violations.reasons
        return []

    return reasons


def _remove(folder: str, pid: int) -> None:
    """Removes the folder of a job without ``out``, unless this is a fork of the process that made it."""
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)
