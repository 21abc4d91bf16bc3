"""Runs a job through the providers' batches: carries out the steps of `_batch_state.Plan`.

Only one thread of one process does so, which holds the lock of the job's folder. `batches/state.json` has what is known of
each batch; it is replaced as a whole, and is on the disk before and after each request that matters.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ritellm import _batch_state, _core
from ritellm._batch_state import Batch, Plan
from ritellm.exceptions import (
    APIConnectionError,
    APIResponseValidationError,
    BadRequestError,
    ConflictError,
    DiskFullError,
    InternalServerError,
    InvalidArgumentError,
    JournalError,
    NotFoundError,
    RateLimitError,
    RiteLLMError,
)
from ritellm.resources import Pages

if TYPE_CHECKING:
    from ritellm.client import Client

__all__ = ["Runner", "load", "open_batches"]

FAULT: Callable[[str], None] | None = None
"""A function that tests set: it is called before and after each request and each write, with the name of the point."""

TIMEOUT = {"connect": 30.0, "total": 600.0, "queue": 60.0}
UPLOAD_TIMEOUT = {**TIMEOUT, "total": 3600.0}
"""Seconds for a request, and for one with the rows of a batch."""

OF_ROWS = ("response_format", "timeout", "request_timeout")
"""Options of the job's rows that are not those of requests about batches."""

MAX_UNKNOWN = 5
"""Number of times that the provider may not know a batch or a file, before the job pauses: some answer 404 now and then."""

PAGE = 100
"""Number of batches or files on a page of a list."""
OLDEST = 86_400
"""Seconds before a batch was meant to be made, from which on older ones in a list are not looked at."""


def path_of(folder: str) -> str:
    """Returns the path of the state of a job's batches."""
    return os.path.join(folder, "batches", "state.json")


def load(folder: str) -> dict[str, Any] | None:
    """Returns the state of a job's batches as it is on the disk; ``None`` if the job has none.

    Raises:
        JournalError: it cannot be read.
    """
    path = path_of(folder)
    try:
        with open(path, encoding="utf-8") as file:
            state: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise JournalError(f"{path} cannot be read: {error}") from error
    if state.get("format") != 1:
        raise JournalError(f"{path} has format {state.get('format')}, and this version of ritellm knows format 1")
    return state


def open_batches(folder: str) -> list[dict[str, Any]]:
    """Returns the batches of a job that are at the provider, or may be, and whose results have not been taken."""
    state = load(folder)
    return (
        [] if state is None else [one for one in state["batches"] if one["state"] in ("creating", "running", "ended")]
    )


class Runner:
    """A run of a job through batches, on a thread of its own.

    Args:
        client: the client of the job.
        core: the native half of the job.
        folder: the job's folder.
        retry_failed: true if rows that ended as errors run again.
        max_rows: number of rows of a batch, if it is not the provider's maximum.
        max_cost: cost in US dollars that no batch may lead beyond.
        cancels: true if the batches at the provider are to be cancelled, and no others made.
    """

    def __init__(
        self,
        client: Client,
        core: _core.BulkJob,
        folder: str,
        *,
        retry_failed: bool,
        max_rows: int | None,
        max_cost: float | None,
        cancels: bool = False,
    ) -> None:
        self._client, self._core, self._folder = client, core, folder
        options = {name: value for name, value in core.call_options().items() if name not in OF_ROWS}
        self._options = _core.conceal(options)
        self._limits = (max_rows, max_cost)
        self._cancels = cancels
        self.plan = self._load()
        self.pause: tuple[str, Any] | None = None
        self._wake = threading.Condition()
        self._is_stopped = False
        self._batches = _core.BulkBatches(core, retry_failed)
        self._is_used_up = self._has_dropped = False
        self._thread = threading.Thread(target=self._main, name="ritellm-batches", daemon=True)

    def _load(self) -> Plan:
        state = load(self._folder)
        if state is None:
            return Plan(f"rt{secrets.token_hex(6)}", *self._limits, self._cancels)
        return Plan.load(state, *self._limits, time.monotonic(), self._cancels)

    def start(self) -> None:
        """Begins the run."""
        self._thread.start()

    def ended(self) -> tuple[str, Any] | None:
        """Waits for the end of the thread, and returns why rows are pending; `None` if none are."""
        self._thread.join()
        return self.pause

    def stop(self) -> None:
        """Ends the run after the request that is under way. Batches go on at the provider."""
        self._batches.stop()
        with self._wake:
            self._is_stopped = True
            self._wake.notify_all()

    def _main(self) -> None:
        try:
            self.run()
        except RiteLLMError as error:
            # The journal's failures and those of the rows, as they are.
            self.pause = ("error", error)
        except BaseException as error:
            self.pause = ("error", error)
            if not isinstance(error, Exception):
                raise
        finally:
            try:
                self._tell("done" if self.pause is None else "paused")
                self._batches.close(self._is_used_up)
            except RiteLLMError as error:
                self.pause = self.pause or ("error", error)

    def run(self) -> None:
        """Takes steps until every row has an outcome, or the job pauses."""
        self._batches.lock()
        # What another process wrote before it let go of the lock.
        self.plan = self._load()
        if self._is_stopped:
            self.pause = ("stopped", None)
            return
        known = [(batch.number, batch.is_committed) for batch in self.plan.batches.values()]
        outdated = self._batches.open(self.plan.tag, known, self.plan.next_number)
        # Rows that were read from an iterator and are in no batch could not be read again.
        self._is_used_up = True
        for number in outdated:
            # A run with mode="calls" has answered some of its rows.
            self._replace(self.plan.batches[number], self.plan.max_rows, self.plan.max_tokens)
        self.plan.spent = self._batches.spent()
        self._take_steps()
        if (parts := self._batches.flush()) and not self._cancels:
            self.plan.add(parts)
            self._save()
        self._is_used_up = self._has_dropped

    def _take_steps(self) -> None:
        while True:
            self._tell("running")
            with self._wake:
                if self._is_stopped:
                    self.pause = ("stopped", None)
                    return
            step = self.plan.step(time.monotonic())
            if step.kind == "done":
                return
            if step.kind == "halt":
                self.pause = self.plan.halted
                return
            if step.kind == "wait":
                with self._wake:
                    if not self._is_stopped:
                        self._wake.wait(max((step.until or 0.0) - time.monotonic(), 0.0))
                continue
            getattr(self, f"_{step.kind}")(*([] if step.batch is None else [step.batch]))

    def _tell(self, state: str) -> None:
        batches = self.plan.batches.values()
        away = sum(batch.rows for batch in batches if batch.is_committed)
        waiting = sum(batch.rows for batch in batches) - away
        reason = self.plan.trouble
        if state == "paused" and self.pause is not None and self.pause[1] is not None:
            reason = str(self.pause[1])
        self._batches.tell(state, reason, away, waiting)

    # Steps.

    def _cut(self) -> None:
        part = self._batches.cut(*self.plan.limits())
        if part is None:
            self.plan.is_exhausted = True
            return
        _point("cut")
        self.plan.add([part])
        self._save()

    def _split(self, batch: Batch) -> None:
        self._replace(batch, *self.plan.split_limits(batch))

    def _replace(self, batch: Batch, max_rows: int | None, max_tokens: int | None) -> None:
        parts = self._batches.split(batch.number, max_rows, max_tokens)
        self.plan.split(batch, parts)
        self._save()
        self._remove(batch)

    def _upload(self, batch: Batch) -> None:
        self.plan.begins(batch, time.time())
        self._save()
        file = (f"{self.plan.name_of(batch)}.jsonl", self._path(batch, "requests"))
        with self._request(batch, "upload", is_repeatable=True) as send:
            made = send("file_create", batch.provider, file, purpose="batch", timeout=UPLOAD_TIMEOUT)
            self.plan.uploaded(batch, made, time.monotonic())
        self._save()

    def _check(self, batch: Batch) -> None:
        """Looks whether the provider has read the file."""
        with self._request(batch, "check", is_repeatable=True) as send:
            self.plan.uploaded(batch, send("file_retrieve", batch.provider, batch.file_id), time.monotonic())
        if not batch.is_unread:
            self._save()

    def _create(self, batch: Batch) -> None:
        if self.plan.has_expired(batch, time.time()):
            self.plan.forget_file(batch)
            self._save()
            return
        self.plan.begins(batch, time.time())
        self._save()
        name = self.plan.name_of(batch)
        headers = {**(self._options.reveal().get("extra_headers") or {}), **batch.headers}
        # Not repeated by the client: a request whose answer was lost may have made a batch.
        options: dict[str, Any] = {"max_retries": 0, "timeout": UPLOAD_TIMEOUT}
        if headers:
            options["extra_headers"] = headers
        with self._request(batch, "create", is_repeatable=False) as send:
            if batch.takes_file and batch.lookup == "name":
                options |= {"input_file_id": batch.file_id, "display_name": name, "batch_model": batch.model}
                made = send("batch_create", batch.provider, None, **options)
            elif batch.takes_file:
                options |= {
                    "input_file_id": batch.file_id,
                    "endpoint": batch.endpoint,
                    "completion_window": "24h",
                    "metadata": {"ritellm_job": self.plan.tag, "ritellm_batch": name},
                }
                made = send("batch_create", batch.provider, None, **options)
            else:
                made = send("batch_submit", batch.provider, (f"{name}.json", self._path(batch, "requests")), **options)
            self.plan.created(batch, made, time.monotonic(), time.time())
        self._save()

    def _find(self, batch: Batch) -> None:
        """Looks for what may have been made before the answer was lost."""
        with self._request(batch, "find", is_repeatable=True) as send:
            if batch.state == "uploading":
                name = f"{self.plan.name_of(batch)}.jsonl"
                files = self._list(send, "file_list", batch, purpose="batch")
                found = next((file for file in files if file.get("filename") == name), None)
                if found is not None:
                    self.plan.uploaded(batch, found, time.monotonic())
                else:
                    self.plan.not_found(batch, time.monotonic(), True)
            else:
                found, is_certain = self._match(send, batch)
                if found is not None:
                    self.plan.created(batch, found, time.monotonic(), time.time())
                else:
                    self.plan.not_found(batch, time.monotonic(), is_certain)
        if batch.lost is None:
            self._save()

    def _match(self, send: Callable[..., Any], batch: Batch) -> tuple[Any, bool]:
        """Returns the batch at the provider that has these rows, and whether there is certainly none if it is ``None``."""
        known, name, is_certain = self.plan.known_ids(), self.plan.name_of(batch), True
        for one in self._list(send, "batch_list", batch):
            created = one.get("created_at")
            if created is not None and batch.intended is not None and created < batch.intended - OLDEST:
                break
            if one["id"] in known:
                continue
            if batch.lookup == "file":
                if one.get("input_file_id") == batch.file_id:
                    return one, True
            elif batch.lookup == "name":
                if name in _names(one):
                    return one, True
            else:
                is_young = created is None or batch.intended is None or created >= batch.intended - _batch_state.SKEW
                total = (one.get("request_counts") or {}).get("total")
                if not is_young or total != batch.rows:
                    continue
                outputs = [one["output_file_id"]] if one.get("output_file_id") else []
                if one.get("status") not in _batch_state.ENDED_STATUSES or not outputs:
                    # Its rows can be seen when it has ended.
                    is_certain = is_certain and one.get("status") in _batch_state.ENDED_STATUSES
                    continue
                if self._first_id(send, batch, outputs[0]).startswith(f"{self.plan.tag}-{batch.number}-"):
                    return one, True
        return None, is_certain

    def _first_id(self, send: Callable[..., Any], batch: Batch, output: str) -> str:
        for line in send("batch_results", batch.provider, output, stream=True):
            return str(line.get("custom_id"))
        return ""

    def _poll(self, batch: Batch) -> None:
        with self._request(batch, "poll", is_repeatable=True) as send:
            found = send("batch_retrieve", batch.provider, batch.batch_id)
            self.plan.polled(batch, found, time.monotonic(), time.time())
        if batch.state != "running":
            self._save()

    def _cancel(self, batch: Batch) -> None:
        """Tells the provider to cancel a batch."""
        try:
            with self._request(batch, "cancel", is_repeatable=True) as send:
                try:
                    found = send("batch_cancel", batch.provider, batch.batch_id)
                except (BadRequestError, ConflictError, NotFoundError) as error:
                    # As one is refused that has ended meanwhile.
                    self.plan.objected(batch, time.monotonic(), str(error))
                else:
                    self.plan.given_up(batch, found, time.monotonic())
        finally:
            self._save()

    def _drop(self, batch: Batch) -> None:
        """Forgets a batch that was not made."""
        self._has_dropped = True
        self.plan.dropped(batch)
        self._save()
        self._remove(batch)

    def _land(self, batch: Batch) -> None:
        paths = []
        for index, file_id in enumerate(list(batch.outputs)):
            path = self._path(batch, f"output{index}")
            with self._request(batch, "download", is_repeatable=True, file_id=file_id) as send, self._disk(path):
                with open(path, "wb", opener=_private) as file:
                    for piece in send("batch_output", batch.provider, file_id, stream=True, timeout=UPLOAD_TIMEOUT):
                        file.write(piece)
                paths.append(path)
            if len(paths) <= index:
                return
        _point("before land")
        started = batch.started or time.time()
        results = {
            "files": paths,
            "missing": "unsent" if batch.is_given_up else batch.missing,
            "refused": batch.refused,
            "started": started,
            "latency": max((batch.ended or started) - started, 0.0),
            "is_given_up": batch.is_given_up,
        }
        landed = self._batches.land(batch.number, results)
        _point("after land")
        self.plan.spent = self._batches.spent()
        self.plan.landed(batch, landed["again"])
        self._save()
        self._remove(batch)
        if landed.get("halt") is not None:
            self.plan.halt("refused", landed["halt"])

    # Requests.

    @contextlib.contextmanager
    def _request(
        self, batch: Batch, what: str, *, is_repeatable: bool, file_id: str | None = None
    ) -> Iterator[Callable[..., Any]]:
        """Yields the function that sends a request, about a file of results or else a batch, and takes its failures."""

        def send(operation: str, provider: str, input: Any, **options: Any) -> Any:
            _point(f"before {what}")
            given = {"timeout": TIMEOUT, **self._options.reveal(), **options}
            answer = self._client.call(operation, provider, input, given)
            _point(f"after {what}")
            return answer

        try:
            yield send
        except RateLimitError as error:
            body = json.dumps(error.body).encode()
            if _core.BulkBatches.failure_class(batch.provider, 429, body) in ("quota_fatal", "auth"):
                self._give_up(batch, error)
            elif what == "create":
                self.plan.refused(batch, time.monotonic(), str(error), error.retry_after)
            else:
                self.plan.failed(batch, time.monotonic(), str(error))
        except InvalidArgumentError as error:
            self._give_up(batch, error)
        except (APIConnectionError, InternalServerError, APIResponseValidationError) as error:
            if is_repeatable:
                self.plan.failed(batch, time.monotonic(), str(error))
            else:
                self.plan.is_lost(batch, time.monotonic(), str(error))
        except RiteLLMError as error:
            if isinstance(error, JournalError):
                raise
            if error.status_code == 413 and what in ("upload", "create") and batch.rows > 1:
                self.plan.failed(batch, time.monotonic(), str(error))
                batch.too_large = True
                return
            if isinstance(error, NotFoundError) and what in ("poll", "download") and batch.unknown < MAX_UNKNOWN:
                batch.unknown += 1
                self.plan.failed(batch, time.monotonic(), str(error))
                return
            if isinstance(error, NotFoundError) and what in ("poll", "download") and self._cancels:
                self.plan.gone(batch, file_id, time.time())
                self._save()
                return
            self._give_up(batch, error)

    def _give_up(self, batch: Batch, error: RiteLLMError) -> None:
        """Ends the run by an answer that says that nothing was done."""
        self.plan.failed(batch, time.monotonic(), str(error))
        self.plan.halt("refused", error)
        self._save()

    def _list(self, send: Callable[..., Any], operation: str, batch: Batch, **options: Any) -> Iterator[Any]:
        after = None
        while True:
            page = send(operation, batch.provider, after, limit=PAGE, **options)
            yield from page["data"]
            following = Pages.next_of(page)
            if following is None or following == after:
                return
            after = following

    # Files.

    def _path(self, batch: Batch, kind: str) -> str:
        return os.path.join(self._folder, "batches", f"{batch.number:05}.{kind}")

    def _save(self) -> None:
        """Puts the state on the disk."""
        path = path_of(self._folder)
        _point("before save")
        with self._disk(path):
            with open(f"{path}.new", "w", encoding="utf-8", opener=_private) as file:
                json.dump(self.plan.stored(), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(f"{path}.new", path)
            if os.name == "posix":
                folder = os.open(os.path.dirname(path), os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        _point("after save")

    def _remove(self, batch: Batch) -> None:
        for kind in ("requests", "rows", *(f"output{index}" for index in range(len(batch.outputs)))):
            with contextlib.suppress(OSError):
                os.remove(self._path(batch, kind))

    @contextlib.contextmanager
    def _disk(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, RiteLLMError):
                raise
            is_full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
            raise (DiskFullError if is_full else JournalError)(f"cannot write {path}: {error}") from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _names(batch: Mapping[str, Any]) -> Iterator[str]:
    """Yields the texts in what a provider says of a batch beside OpenAI's members: its name is one of them."""
    rest = [batch.get("provider_specific_fields")]
    while rest:
        value = rest.pop()
        if isinstance(value, Mapping):
            rest.extend(value.values())
        elif isinstance(value, str):
            yield value


def _point(name: str) -> None:
    if FAULT is not None:
        FAULT(name)
