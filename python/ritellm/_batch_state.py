"""The batches of a job and the next step of each: a state machine without I/O and without a clock.

A batch goes through these states. What is about to be asked of the provider is on the disk before the request is sent, so that
after a crash it is known what may have happened::

    written → uploading → uploaded → creating → running → ended → (its results are in the journal, and it is forgotten)
    written → creating → …            for providers whose batches contain their rows

A batch that was ``uploading`` or ``creating`` when the process ended, or whose answer was lost, is looked for at the provider
before anything is sent again: by its file, its name, or the ids of its rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ritellm import _core

__all__ = ["ENDED_STATUSES", "Batch", "Plan", "Step"]

POLL = (1.0, 60.0)
"""Seconds between two polls of a batch: at first, and at most. Batches take from minutes to a day."""
LOOK = (1.0, 30.0)
"""Seconds between two looks for a batch that may have been made: at first, and at most."""
GRACE = 60.0
"""Seconds for which a batch that may have been made is looked for: a list may lag behind."""
BLOCK = (30.0, 900.0)
"""Seconds until a batch that was refused is tried again, if none of this job's ends before: at first, and at most."""
ALONE = 5
"""Number of refusals of the only batch of its model, before it is split, if the provider does not name the limit."""
TROUBLE = (2.0, 60.0)
"""Seconds until a request that failed is sent again: at first, and at most."""

ENDED_STATUSES = frozenset({"completed", "failed", "expired", "cancelled"})
"""States in which a batch changes no more, in OpenAI's words."""
SKEW = 300
"""Seconds by which the provider's clock may be behind this machine's."""
UNFILED = 10
"""Number of polls that may say that rows were answered and name no file with them."""
EXPIRY = 3600
"""Seconds before a file is deleted at the provider, from which on no batch is made of it: the batch has yet to be read."""


class Step(NamedTuple):
    """What to do next."""

    kind: str
    """``"cut"``, ``"split"``, ``"upload"``, ``"create"``, ``"find"``, ``"check"``, ``"poll"``, ``"cancel"``, ``"drop"``, ``"land"``, ``"wait"``,
    ``"done"`` or ``"halt"``."""
    batch: Batch | None = None
    until: float | None = None


@dataclasses.dataclass
class Batch:
    """A batch of the job. Times are in seconds since 1970."""

    number: int
    provider: str
    name: str
    model: str
    endpoint: str
    rows: int
    bytes: int
    tokens: int
    cost: float | None
    carried: float
    lookup: str
    headers: dict[str, str]
    takes_file: bool = False
    """True if the provider reads the rows from an uploaded file."""
    state: str = "written"
    file_id: str | None = None
    expires_at: int | None = None
    """Time at which the provider deletes the file, if it does: Google's files are there for two days."""
    is_unread: bool = False
    """True if the provider has not read the file yet: a batch of it would be refused."""
    batch_id: str | None = None
    past: list[str] = dataclasses.field(default_factory=list)
    """Ids of batches of these rows that the provider refused."""
    status: str | None = None
    """The provider's word for its state."""
    completed: int = 0
    failed: int = 0
    outputs: list[str] = dataclasses.field(default_factory=list)
    missing: str = "lost"
    """What became of rows without a result: ``"lost"``, ``"expired"``, ``"cancelled"`` or ``"unsent"``."""
    refused: dict[int, tuple[str, str]] = dataclasses.field(default_factory=dict)
    """Rows that the provider refused when it read the batch: code and message by place."""
    intended: float | None = None
    """Time at which it was about to be made."""
    started: float | None = None
    ended: float | None = None
    is_given_up: bool = False
    """True if the job does without its results: rows that have none stay pending."""
    is_told: bool = False
    """True if the provider has agreed to cancel it."""

    due: float = dataclasses.field(default=0.0, metadata={"stored": False})
    pause: float = dataclasses.field(default=0.0, metadata={"stored": False})
    lost: float | None = dataclasses.field(default=None, metadata={"stored": False})
    """Time since which it is being looked for."""
    unknown: int = dataclasses.field(default=0, metadata={"stored": False})
    refusals: int = dataclasses.field(default=0, metadata={"stored": False})
    too_large: bool = dataclasses.field(default=False, metadata={"stored": False})
    unfiled: int = dataclasses.field(default=0, metadata={"stored": False})
    is_objected: bool = dataclasses.field(default=False, metadata={"stored": False})
    """True if the provider has refused to cancel it, and was not asked for its state since."""

    def stored(self) -> dict[str, Any]:
        """Returns what is on the disk."""
        fields = (field for field in dataclasses.fields(self) if field.metadata.get("stored", True))
        return {field.name: getattr(self, field.name) for field in fields}

    @property
    def is_committed(self) -> bool:
        """True if its rows may cost something."""
        return self.state in ("creating", "running", "ended")


@dataclasses.dataclass
class _Block:
    until: float
    pause: float


class Plan:
    """The batches of a job.

    Args:
        tag: the beginning of the names of everything that this job makes at the provider.
        max_rows: number of rows of a batch, if it is not the provider's maximum.
        max_cost: cost in US dollars that no batch may lead beyond.
        cancels: true if there are to be no batches: those at the provider are cancelled, and what was answered is taken.
    """

    def __init__(
        self, tag: str, max_rows: int | None = None, max_cost: float | None = None, cancels: bool = False
    ) -> None:
        self.tag, self.max_rows, self.max_cost, self.cancels = tag, max_rows, max_cost, cancels
        self.batches: dict[int, Batch] = {}
        self.finished: list[dict[str, Any]] = []
        self.max_tokens: int | None = None
        self.spent = 0.0
        self.is_exhausted = False
        self.halted: tuple[str, Any] | None = None
        self.trouble: str | None = None
        self._next = 1
        self._blocks: dict[tuple[str, str], _Block] = {}

    # What is on the disk.

    def stored(self) -> dict[str, Any]:
        """Returns what is on the disk."""
        batches = [batch.stored() for batch in self.batches.values()]
        return {
            "format": 1,
            "tag": self.tag,
            "next": self.next_number,
            "max_tokens": self.max_tokens,
            "batches": batches,
            "finished": self.finished,
        }

    @classmethod
    def load(
        cls,
        stored: Mapping[str, Any],
        max_rows: int | None,
        max_cost: float | None,
        now: float,
        cancels: bool = False,
    ) -> Plan:
        """Returns the plan of a job whose process has ended. What may have been sent is looked for."""
        plan = cls(stored["tag"], max_rows, max_cost, cancels)
        plan.finished, plan._next, plan.max_tokens = list(stored["finished"]), stored["next"], stored["max_tokens"]
        known = {field.name for field in dataclasses.fields(Batch)}
        for one in stored["batches"]:
            # Files of state without it are of a time when only batches that are looked for by their files had some.
            one = {"takes_file": one["lookup"] == "file", **one}
            batch = Batch(**{name: value for name, value in one.items() if name in known})
            batch.refused = {int(place): (code, message) for place, (code, message) in batch.refused.items()}
            batch.due = now
            if batch.state in ("uploading", "creating"):
                batch.lost = now
            plan.batches[batch.number] = batch
        return plan

    @property
    def next_number(self) -> int:
        """The number of the next batch."""
        return max([self._next, *(number + 1 for number in self.batches)])

    def name_of(self, batch: Batch) -> str:
        """Returns the name of a batch at the provider."""
        return f"{self.tag}-{batch.number:05}"

    def known_ids(self) -> set[str]:
        """Returns the ids of all batches that are known to be this job's."""
        ids = {batch.batch_id for batch in self.batches.values()} | {one["id"] for one in self.finished}
        return {found for found in ids if found} | {old for batch in self.batches.values() for old in batch.past}

    # Decisions.

    def step(self, now: float) -> Step:
        """Returns what to do next."""
        if self.halted is not None:
            return Step("halt")
        batches = sorted(self.batches.values(), key=lambda batch: batch.number)
        for batch in batches:
            if batch.state == "ended" and batch.due <= now:
                return Step("land", batch)
        for batch in batches:
            if batch.lost is not None and batch.due <= now:
                return Step("find", batch)
        for batch in batches:
            is_going = batch.state == "running" and not batch.is_told and not batch.is_objected
            if self.cancels and is_going and batch.due <= now:
                return Step("cancel", batch)
        for batch in batches:
            if batch.state == "running" and batch.due <= now:
                return Step("poll", batch)
        waiting = [batch for batch in batches if batch.state in ("written", "uploaded")]
        if self.cancels and waiting:
            return Step("drop", waiting[0])
        for batch in waiting:
            if batch.too_large:
                return Step("split", batch)
            if batch.is_unread and batch.due <= now:
                return Step("check", batch)
            if batch.due <= now and self._may_go(batch, now):
                return Step("upload" if batch.takes_file and batch.file_id is None else "create", batch)
        if self.halted is not None:
            return Step("halt")
        if not self.is_exhausted and not waiting and not self.cancels:
            return Step("cut")
        if not batches:
            return Step("done")
        return Step("wait", until=min(self._wakes(batches, now)))

    def _wakes(self, batches: Iterable[Batch], now: float) -> Iterator[float]:
        for batch in batches:
            if batch.state in ("written", "uploaded"):
                block = self._blocks.get((batch.provider, batch.model))
                if block is not None:
                    yield max(block.until, batch.due)
                elif batch.due > now:
                    yield batch.due
            else:
                yield batch.due
        # Whoever waits for nothing waits for others.
        yield now + POLL[1]

    def _may_go(self, batch: Batch, now: float) -> bool:
        block = self._blocks.get((batch.provider, batch.model))
        if block is not None and block.until > now:
            return False
        if self.max_cost is None:
            return True
        if batch.cost is None:
            self.halt(
                "cost",
                f"what a batch of {batch.provider}/{batch.model} costs is not known, so max_cost cannot be kept: a catalog that has "
                'the model would be right or, where it has, mode="calls"',
            )
            return False
        if self._committed() + batch.cost <= self.max_cost:
            return True
        if not any(other.is_committed for other in self.batches.values()):
            left = self.max_cost - self._committed()
            self.halt(
                "cost",
                f"the next batch of {batch.rows:,} rows would cost about ${batch.cost:,.4f}, and ${max(left, 0):,.4f} of max_cost "
                "are left",
            )
        return False

    def _committed(self) -> float:
        """Returns the cost of all answers, and the estimates of those to come."""
        carried = sum(batch.carried for batch in self.batches.values())
        return self.spent + carried + sum(batch.cost or 0.0 for batch in self.batches.values() if batch.is_committed)

    def limits(self) -> tuple[int | None, int | None, float | None]:
        """Returns the limits of the next batch: rows, tokens and cost."""
        left = None if self.max_cost is None else max(self.max_cost - self._committed(), 0.0)
        return self.max_rows, self.max_tokens, left

    # Events.

    def halt(self, code: str, reason: Any) -> None:
        """Ends the run: rows stay pending."""
        if self.halted is None:
            self.halted = (code, reason)

    def add(self, descriptions: Iterable[Mapping[str, Any]]) -> None:
        """Takes batches whose files are written."""
        for description in descriptions:
            self.batches[description["number"]] = Batch(**description)

    def uploaded(self, batch: Batch, found: Mapping[str, Any], now: float) -> None:
        """Takes an uploaded file, or its state."""
        batch.state, batch.file_id, batch.lost = "uploaded", found["id"], None
        batch.expires_at = found.get("expires_at")
        status = found.get("status")
        batch.is_unread = _core.BulkBatches.is_unread(batch.provider, status or "")
        batch.pause = min(max(batch.pause, POLL[0] / 1.5) * 1.5, POLL[1]) if batch.is_unread else 0.0
        batch.due = now + batch.pause
        if status in ("error", "failed"):
            why = found.get("status_details") or "it says no reason"
            # It is uploaded again by the next run.
            self.forget_file(batch)
            self.halt("refused", f"{batch.provider} cannot read the file of a batch: {why}")

    def has_expired(self, batch: Batch, wall: float) -> bool:
        """Returns true if the file of a batch is not at the provider any more, or will not be for long."""
        return batch.expires_at is not None and wall >= batch.expires_at - EXPIRY

    def forget_file(self, batch: Batch) -> None:
        """Notes that the file of a batch cannot be used: it is to be uploaded again."""
        batch.state, batch.file_id, batch.expires_at, batch.is_unread = "written", None, None, False

    def begins(self, batch: Batch, wall: float) -> None:
        """Notes that a batch is about to be uploaded, or made."""
        if batch.takes_file and batch.file_id is None:
            batch.state = "uploading"
        else:
            batch.state, batch.intended = "creating", wall

    def created(self, batch: Batch, found: Mapping[str, Any], now: float, wall: float) -> None:
        """Takes a batch that the provider has."""
        batch.state, batch.batch_id, batch.lost = "running", found["id"], None
        batch.started = found.get("created_at") or wall
        batch.status, batch.pause = found.get("status"), POLL[0]
        batch.due = now + batch.pause
        self.trouble = None

    def is_lost(self, batch: Batch, now: float, why: str) -> None:
        """Notes that it is not known whether a request arrived."""
        self.trouble = why
        batch.lost = now
        batch.pause = LOOK[0]
        batch.due = now + batch.pause

    def not_found(self, batch: Batch, now: float, is_certain: bool) -> None:
        """Notes that a batch is not at the provider. It is made again when that is certain, or was so for long enough."""
        batch.pause = min(max(batch.pause, LOOK[0] / 2) * 2, LOOK[1])
        batch.due = now + batch.pause
        is_over = batch.lost is not None and now >= batch.lost + GRACE
        if batch.state == "uploading" or (is_certain and is_over):
            # A file that is uploaded twice costs nothing; a batch does.
            self._take_back(batch, now)
        elif batch.lost is not None and is_certain:
            batch.due = min(batch.due, batch.lost + GRACE)

    def _take_back(self, batch: Batch, now: float) -> None:
        batch.state = "uploaded" if batch.file_id is not None else "written"
        batch.lost, batch.due = None, now

    def refused(self, batch: Batch, now: float, message: str, retry_after: float | None = None) -> None:
        """Notes that the provider has too much of this account in its queue: the batch waits until another one has ended."""
        if batch.batch_id is not None:
            batch.past.append(batch.batch_id)
        self._take_back(batch, now)
        batch.batch_id = batch.status = None
        self.trouble = message
        _, limit = _core.BulkBatches.queue_refusal(batch.provider, "", message)
        if limit is not None:
            self.max_tokens = limit if self.max_tokens is None else min(limit, self.max_tokens)
        is_alone = not any(
            other.is_committed and (other.provider, other.model) == (batch.provider, batch.model)
            for other in self.batches.values()
        )
        knows_better = limit is None or batch.tokens > (self.max_tokens or 0)
        batch.refusals += 1
        if is_alone and batch.rows > 1 and knows_better and (batch.past or batch.refusals > ALONE):
            # It would be refused whenever it is tried.
            batch.too_large = True
            return
        key = (batch.provider, batch.model)
        last = self._blocks.get(key)
        pause = BLOCK[0] if last is None else min(last.pause * 2, BLOCK[1])
        self._blocks[key] = _Block(now + max(pause, retry_after or 0.0), pause)

    def split_limits(self, batch: Batch) -> tuple[int | None, int | None]:
        """Returns the limits of the batches that take a batch's place: rows and tokens."""
        if self.max_tokens is not None and batch.tokens > self.max_tokens:
            return self.max_rows, self.max_tokens
        return (batch.rows + 1) // 2, self.max_tokens

    def split(self, batch: Batch, descriptions: Iterable[Mapping[str, Any]]) -> None:
        """Takes the batches that a batch was split into."""
        self._next = self.next_number
        del self.batches[batch.number]
        self.add(descriptions)

    def failed(self, batch: Batch, now: float, why: str) -> None:
        """Notes a request that failed and can be sent again."""
        self.trouble = why
        batch.pause = min(max(batch.pause * 2, TROUBLE[0]), TROUBLE[1])
        batch.due = now + batch.pause
        if batch.state in ("uploading", "creating") and batch.lost is None:
            batch.state = "uploaded" if batch.file_id is not None else "written"

    def polled(self, batch: Batch, found: Mapping[str, Any], now: float, wall: float) -> None:
        """Takes the state of a batch."""
        batch.status = found.get("status")
        if not batch.is_objected or batch.status in ENDED_STATUSES:
            self.trouble = None
        batch.unknown, batch.is_objected = 0, False
        counts = found.get("request_counts") or {}
        batch.completed, batch.failed = counts.get("completed") or 0, counts.get("failed") or 0
        if batch.status not in ENDED_STATUSES:
            batch.pause = min(max(batch.pause, POLL[0]) * 1.5, POLL[1])
            batch.due = now + batch.pause
            return
        # Expired and cancelled ones have answers, too.
        if batch.status != "failed" and batch.completed and not found.get("output_file_id"):
            # Taken for lost, what was paid would be asked for again. The name may come a moment later.
            batch.unfiled += 1
            batch.pause = min(max(batch.pause, POLL[0]) * 2, POLL[1])
            batch.due = now + batch.pause
            self.trouble = f"{batch.completed:,} rows of {batch.batch_id} are answered, and it names no file with them"
            if batch.unfiled <= UNFILED:
                return
            if not self.cancels:
                batch.unfiled = 0
                self.halt("refused", self.trouble)
                return
        outputs = (found.get("output_file_id"), found.get("error_file_id"))
        batch.outputs = [file_id for file_id in outputs if file_id]
        batch.ended = found.get("completed_at") or wall
        batch.due, batch.pause = now, 0.0
        if batch.status != "failed" or batch.outputs:
            batch.missing = {"expired": "expired", "cancelled": "cancelled"}.get(batch.status or "", "lost")
            batch.state = "ended"
            return
        self._refused_whole(batch, found, now)

    def _refused_whole(self, batch: Batch, found: Mapping[str, Any], now: float) -> None:
        """Takes a batch whose rows the provider did not begin with."""
        if batch.is_given_up:
            batch.state = "ended"
            return
        errors = (found.get("errors") or {}).get("data") or []
        errors = [error for error in errors if isinstance(error, Mapping)]
        messages = "; ".join(str(error.get("message") or error.get("code")) for error in errors[:3])
        codes = [str(error.get("code") or "") for error in errors]
        if any(_core.BulkBatches.queue_refusal(batch.provider, code, "")[0] for code in codes):
            self.refused(batch, now, messages)
            return
        # Lines are counted from 1.
        lines = {
            error["line"] - 1: error for error in errors if isinstance(error.get("line"), int) and error["line"] > 0
        }
        if lines:
            refused = {
                place: (str(one.get("code") or ""), str(one.get("message") or "")) for place, one in lines.items()
            }
            batch.refused, batch.missing, batch.state = refused, "unsent", "ended"
            return
        if batch.batch_id is not None:
            batch.past.append(batch.batch_id)
        self._take_back(batch, now)
        batch.batch_id = None
        self.halt("refused", f"the provider refuses a batch: {messages or 'it says no reason'}")

    def given_up(self, batch: Batch, found: Mapping[str, Any], now: float) -> None:
        """Notes that the provider has agreed to cancel a batch."""
        batch.is_given_up = batch.is_told = True
        batch.status = found.get("status") or batch.status
        batch.pause, batch.due = POLL[0], now
        self.trouble = None

    def objected(self, batch: Batch, now: float, why: str) -> None:
        """Notes that the provider refuses to cancel a batch: it has ended, or it is asked again after a look at it."""
        batch.is_given_up = batch.is_objected = True
        batch.due = now
        self.trouble = why

    def gone(self, batch: Batch, file_id: str | None, wall: float) -> None:
        """Notes that a batch which is given up, or a file of its results, is not at the provider, or not for this key."""
        batch.is_given_up = True
        if file_id is None:
            batch.state, batch.status, batch.outputs, batch.ended = "ended", "unknown", [], wall
        else:
            batch.outputs.remove(file_id)

    def dropped(self, batch: Batch) -> None:
        """Notes that the files of a batch that was not made are gone."""
        self._next = self.next_number
        del self.batches[batch.number]

    def landed(self, batch: Batch, again: Iterable[Mapping[str, Any]]) -> None:
        """Notes that the results of a batch are in the journal, and takes the batches of the rows that go again."""
        self._next = self.next_number
        del self.batches[batch.number]
        self._blocks.pop((batch.provider, batch.model), None)
        self.finished.append(
            {
                "id": batch.batch_id,
                "state": batch.status,
                "model": f"{batch.provider}/{batch.model}",
                "rows": batch.rows,
                "completed": batch.completed,
                "failed": batch.failed,
            }
        )
        self.add(again)

    # Views.

    def shown(self) -> list[dict[str, Any]]:
        """Returns all batches for a person: id, state and counts."""
        waiting = {"written": "waiting", "uploaded": "waiting", "creating": "creating", "uploading": "uploading"}
        now = [
            {
                "id": batch.batch_id,
                "state": waiting.get(batch.state) or batch.status or batch.state,
                "model": f"{batch.provider}/{batch.model}",
                "rows": batch.rows,
                "completed": batch.completed,
                "failed": batch.failed,
            }
            for batch in self.batches.values()
        ]
        return [*self.finished, *now]
