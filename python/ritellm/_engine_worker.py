"""The calls of one process of a distributed engine.

A `Worker` runs bulk jobs for all batches and partitions that come to its process. They are `Part` s of one queue, so that calls
stay in flight from one of them to the next: none waits for the last answer of another.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, deque

from ritellm import _bulk
from ritellm._engine_calls import ID
from ritellm._memo import Memo
from ritellm._plain import Unplain, plain
from ritellm._rows import open_rows
from ritellm.client import Client
from ritellm.exceptions import InvalidArgumentError, JobPaused, RiteLLMError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, NoReturn

    from ritellm._bulk import Job
    from ritellm._engine_calls import RowCalls, _Outcome
else:
    Any = object

__all__ = ["Part", "Worker", "worker_of"]

# Seconds without rows after which a job ends, so that its thread and its folder do not outlive the work.
IDLE = 5.0

# Rows after which a job ends and another one begins: its folder grows with each row.
ROWS_OF_A_JOB = 100_000


class Part:
    """Rows of one batch or partition that are being answered.

    Attributes:
        is_taken: true if all rows have been taken: those that have no outcome are in flight or about to be.
    """

    def __init__(self, rows: Iterator[Any], length: int, changed: threading.Condition) -> None:
        self.rows = rows
        self.is_taken = False
        self._outcomes: list[_Outcome | None] = [None] * length
        self._missing = length
        self._error: BaseException | None = None
        self._changed = changed
        self._next = 0
        # Number of answers that were known, by their keys.
        self.asked: Counter[str] = Counter()

    def take(self) -> tuple[int, Any] | None:
        """Returns the next row and its place; `None` if there is none."""
        row = None if self._error is not None else next(self.rows, None)
        if row is None:
            return None
        self._next += 1
        return self._next - 1, row

    def set(self, index: int, outcome: _Outcome) -> None:
        """Sets the outcome of a row. The caller holds the lock."""
        if self._outcomes[index] is None:
            self._outcomes[index] = outcome
            self._missing -= 1
            if self._missing == 0:
                self._changed.notify_all()

    def set_rest(self, outcome: _Outcome) -> None:
        """Sets the outcome of all rows that have none."""
        for index in range(len(self._outcomes)):
            self.set(index, outcome)

    def fail(self, error: BaseException) -> None:
        """Ends the part with an exception. The caller holds the lock."""
        self._error = self._error or error
        self._changed.notify_all()

    @property
    def is_over(self) -> bool:
        return self._missing == 0 or self._error is not None

    def wait_until_taken(self) -> None:
        """Waits until all rows have been taken."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_taken or self.is_over)

    def outcomes(self) -> list[_Outcome]:
        """Waits for the outcomes of all rows, and returns them in their order."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_over)
            if self._error is not None:
                raise self._error
            return self._outcomes  # type: ignore[return-value]


class Worker:
    """The calls of one process."""

    def __init__(self, calls: RowCalls) -> None:
        self.calls = calls
        made = calls.client() if callable(calls.client) and not isinstance(calls.client, Client) else calls.client
        if made is not None and not isinstance(made, Client):
            raise InvalidArgumentError(f"client() returned {type(made).__name__}: a Client or a Router would be right")
        self.client = made if made is not None else _bulk._default_client()
        self.changed = threading.Condition()
        self._memo = None if calls.memo is None else Memo(calls.memo, calls.fingerprint())
        self._parts: deque[Part] = deque()
        self._thread: threading.Thread | None = None
        # Rows that the job has, by their ids.
        self._sent: dict[str, tuple[Part, int]] = {}
        self._count = 0
        # The job that runs, once no further rows come for it.
        self._ending: Job | None = None
        function = calls.function
        self._body_of = None if function is None else _bulk._mapper(function, calls.options["endpoint"], None)

    @property
    def waiting(self) -> int:
        """Number of parts of which rows have not been taken."""
        return len(self._parts)

    def submit(self, table: Any, length: int, names: list[str]) -> Part:
        """Adds the rows of a table. They are made into objects when they are needed."""
        read = open_rows(table)._read  # type: ignore[union-attr]
        assert read is not None
        rows = iter(read(self.calls.needed(names)))
        part = Part(rows, length, self.changed)
        if self._memo is not None:
            self._memo.refresh()
        with self.changed:
            if length:
                self._parts.append(part)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="ritellm-rows-of-engine", daemon=True)
                    self._thread.start()
                self.changed.notify_all()
        return part

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Waits for something that parts change."""
        with self.changed:
            self.changed.wait_for(condition)

    def drop(self, parts: Iterable[Part]) -> None:
        """Gives parts up: rows of them that have not been taken are not called."""
        with self.changed:
            for part in parts:
                part.fail(RiteLLMError("nobody wants the answers any more"))
            self._end_unwanted()

    def _work(self) -> None:
        while True:
            with self.changed:
                if not self._parts:
                    self._thread = None
                    return
            try:
                self._run_job()
            except BaseException as error:
                self._fail(error)

    def _open_parts(self) -> list[Part]:
        """Returns the parts that have rows in flight, or some that have not been taken. The caller holds the lock."""
        return [part for part, _ in self._sent.values()] + list(self._parts)

    def _end_unwanted(self) -> None:
        """Ends a job of whose rows nobody waits for any: in an outage it would ask for them for ever. The caller holds the lock."""
        if self._ending is not None and self._sent and all(part.is_over for part, _ in self._sent.values()):
            self._sent.clear()
            self._ending.cancel()

    def _run_job(self) -> None:
        folder = None if self._memo is None else self._memo.folder()
        feed = _Feed(self)
        job = feed.job = self.calls.job(feed, self.client, folder)
        try:
            job.start()
            for _, number, own_id, is_done, answer in job._core.results(False, True):
                outcome = self.calls.outcome(is_done, answer)
                with self.changed:
                    sent = self._sent.pop(own_id if own_id is not None else str(number), None)
                    if sent is not None:
                        self._set(*sent, outcome, None if is_done else answer)
        except BaseException:
            # Its answers would be nobody's.
            job.cancel(now=True)
            raise
        finally:
            # A job that pauses keeps its rows for another run, and would take rows of the parts to come.
            feed.end()
            with self.changed:
                self._ending = None
        try:
            job.wait()
        except JobPaused as error:
            if error.code == "stopped":
                # Nobody waits for its rows.
                return
            cause = error.__cause__ if isinstance(error.__cause__, RiteLLMError) else error
            with self.changed:
                parts = {id(part): part for part in self._open_parts()}
                self._sent.clear()
                self._parts.clear()
                for part in parts.values():
                    part.is_taken = True
                    if self.calls.on_error == "raise":
                        part.fail(error)
                    else:
                        part.set_rest({"error": str(error), "error_class": type(cause).__name__, "attempts": 0})
        with self.changed:
            left = bool(self._sent)
        if left:
            raise RiteLLMError("a job ended without the outcomes of all rows: please report it")

    def _set(self, part: Part, index: int, outcome: _Outcome, error: Any) -> None:
        # Errors of a part that has failed before come while its rows land: they say nothing about parts that came since.
        if error is not None and self.calls.on_error == "raise" and not part.is_over:
            # The computation fails, so that the other parts are for nobody.
            for other in [part, *self._open_parts()]:
                other.fail(error)
            self._end_unwanted()
        part.set(index, outcome)

    def _fail(self, error: BaseException) -> None:
        """Ends all parts with an exception."""
        with self.changed:
            for part in self._open_parts():
                part.fail(error)
            self._sent.clear()
            self._parts.clear()

    def _next(self, feed: _Feed) -> Any:
        """Returns the next row of all parts; `None` if there was none for some time, or the feed is over."""
        while True:
            with self.changed:
                if not self.changed.wait_for(lambda: feed.is_over or bool(self._parts), IDLE) or feed.is_over:
                    return None
                part = self._parts[0]
            try:
                taken = part.take()
                row = None if taken is None else self._row(part, *taken)
            except BaseException as error:
                with self.changed:
                    part.fail(error)
                taken = row = None
            if row is not None:
                return row
            if taken is None:
                with self.changed:
                    if self._parts and self._parts[0] is part:
                        self._parts.popleft()
                    part.is_taken = True
                    self.changed.notify_all()

    def _row(self, part: Part, index: int, row: Any) -> Any:
        """Returns a row as the job takes it; `None` if it has its outcome."""
        if self._body_of is not None:
            try:
                row = self._body_of({name: _plain_or_as_it_is(value) for name, value in row.items()})
            except Exception as error:
                failure = InvalidArgumentError(f"the row makes the function raise {type(error).__name__}: {error}")
                outcome = self.calls.outcome(False, failure) | {"attempts": 0}
                with self.changed:
                    self._set(part, index, outcome, failure)
                return None
            row.pop("custom_id", None)
        self._count += 1
        own_id = str(self._count)
        if self._memo is not None:
            try:
                key = self._memo.key(row)
            except Unplain:
                # An outcome of its own.
                key = "0"
            known = self._memo.find(key, part.asked[key]) if len(key) == 32 else None
            if known is not None:
                part.asked[key] += 1
                own = known["ritellm"]
                outcome = self.calls.outcome(True, known["response"]["body"])
                with self.changed:
                    part.set(index, outcome | {"cost": own.get("cost"), "attempts": own.get("attempts", 1)})
                return None
            own_id = f"{key}-{own_id}"
        with self.changed:
            self._sent[own_id] = (part, index)
        return {"custom_id": own_id, "body": row} if self._body_of is not None else {**row, ID: own_id}


class _Feed:
    """The rows of one job of a worker, on the thread that feeds them to it."""

    job: Job

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._count = 0
        self._is_inside = False
        self.is_over = False

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> Any:
        changed = self._worker.changed
        with changed:
            if self.is_over or self._count == ROWS_OF_A_JOB:
                self._stop()
            self._is_inside = True
        try:
            row = self._worker._next(self)
        finally:
            with changed:
                self._is_inside = False
                if self.is_over:
                    changed.notify_all()
        if row is None:
            with changed:
                self._stop()
        self._count += 1
        return row

    def _stop(self) -> NoReturn:
        """Ends the rows of the job. The caller holds the lock."""
        if not self.is_over:
            self._worker._ending = self.job
            self._worker._end_unwanted()
            self._worker.changed.notify_all()
        raise StopIteration

    def end(self) -> None:
        """Lets no further row be taken. When it returns, none is being taken."""
        with self._worker.changed:
            self.is_over = True
            self._worker.changed.notify_all()
            self._worker.changed.wait_for(lambda: not self._is_inside)


def _plain_or_as_it_is(value: Any) -> Any:
    """Returns a value as `ritellm.bulk` gives it to a function; one that has no form in JSON, such as an image, as it is."""
    try:
        return plain(value, "", 0)
    except Unplain:
        return value


_workers: dict[tuple[int, str], Worker] = {}
_workers_lock = threading.Lock()


def worker_of(calls: RowCalls) -> Worker:
    """Returns the worker of this process for these calls: one for all tasks that it is given."""
    key = (os.getpid(), calls.token)
    with _workers_lock:
        found = _workers.get(key)
        if found is None:
            # Those that were used longest ago have no rows.
            for old in [old for old, worker in _workers.items() if worker._thread is None][:-8]:
                del _workers[old]
            found = _workers[key] = Worker(calls)
        return found
