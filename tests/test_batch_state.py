"""The state machine of a job's batches, on a clock of its own."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from ritellm import _batch_state, _core
from ritellm._batch_state import BLOCK, GRACE, POLL, Batch, Plan


def part(number: int, **changed: Any) -> dict[str, Any]:
    plain = {
        "number": number,
        "provider": "openai",
        "name": "openai/m",
        "model": "m",
        "endpoint": "/v1/chat/completions",
        "rows": 10,
        "bytes": 1000,
        "tokens": 100,
        "cost": 1.0,
        "carried": 0.0,
        "lookup": "file",
        "headers": {},
        "takes_file": changed.get("lookup", "file") != "ids",
    }
    return plain | changed


def plan_of(*parts: dict[str, Any], **options: Any) -> Plan:
    plan = Plan("rt1", **options)
    plan.add(parts)
    plan.is_exhausted = True
    return plan


def make(plan: Plan, number: int, now: float) -> Batch:
    """Brings a batch to the provider."""
    batch = plan.batches[number]
    plan.begins(batch, now)
    if batch.takes_file:
        plan.uploaded(batch, {"id": f"file-{number}"}, now)
        plan.begins(batch, now)
    plan.created(batch, {"id": f"batch-{number}", "status": "validating"}, now, now)
    return batch


def test_the_steps_of_a_batch() -> None:
    plan = Plan("rt1")
    assert plan.step(0.0).kind == "cut"
    plan.add([part(1)])
    batch = plan.batches[1]
    assert plan.step(0.0) == ("upload", batch, None)
    plan.begins(batch, 100.0)
    assert batch.state == "uploading"
    plan.uploaded(batch, {"id": "file-1", "status": "processed"}, 0.0)
    assert plan.step(0.0) == ("create", batch, None)
    plan.begins(batch, 101.0)
    assert (batch.state, batch.intended) == ("creating", 101.0)
    plan.created(batch, {"id": "b", "status": "validating"}, 0.0, 102.0)
    # It is read on meanwhile.
    assert plan.step(0.0).kind == "cut"
    plan.is_exhausted = True
    assert plan.step(0.0) == ("wait", None, POLL[0])
    assert plan.step(POLL[0]) == ("poll", batch, None)
    plan.polled(batch, {"status": "completed", "output_file_id": "o", "error_file_id": None}, 2.0, 103.0)
    assert plan.step(2.0) == ("land", batch, None) and batch.outputs == ["o"]
    plan.landed(batch, [])
    assert plan.step(2.0).kind == "done"
    assert [(one["id"], one["state"]) for one in plan.shown()] == [("b", "completed")]


def test_a_file_that_is_not_read_yet() -> None:
    """Azure's files are "pending" at first, and a batch of one is refused."""
    plan = plan_of(part(1, provider="azure"))
    batch = plan.batches[1]
    plan.begins(batch, 0.0)
    plan.uploaded(batch, {"id": "f", "status": "pending"}, 0.0)
    plan = Plan.load(json.loads(json.dumps(plan.stored())), None, None, now=1.0)
    plan.is_exhausted = True
    batch = plan.batches[1]
    assert plan.step(1.0) == ("check", batch, None)
    plan.uploaded(batch, {"id": "f", "status": "running"}, 1.0)
    assert plan.step(1.0) == ("wait", None, 1.0 + POLL[0])
    plan.uploaded(batch, {"id": "f", "status": "processed"}, 2.0)
    assert plan.step(2.0) == ("create", batch, None)
    plan.uploaded(batch, {"id": "f", "status": "error", "status_details": "no JSON"}, 2.0)
    assert plan.step(2.0).kind == "halt" and plan.halted == (
        "refused",
        "azure cannot read the file of a batch: no JSON",
    )
    assert batch.state == "written" and batch.file_id is None


def test_polls_become_rare() -> None:
    plan = plan_of(part(1))
    batch = make(plan, 1, 0.0)
    now, polls = 0.0, 0
    while now < 24 * 3600:
        step = plan.step(now)
        if step.kind == "poll":
            polls += 1
            plan.polled(batch, {"status": "in_progress"}, now, now)
        else:
            assert step.kind == "wait" and step.until is not None and step.until > now
            now = step.until
    # A day has 1,440 minutes.
    assert 1_440 <= polls <= 1_460


def test_what_may_have_been_made_is_looked_for_before_it_is_made_again() -> None:
    plan = plan_of(part(1))
    batch = plan.batches[1]
    plan.begins(batch, 0.0)
    plan.uploaded(batch, {"id": "file-1", "status": "processed"}, 0.0)
    plan.begins(batch, 0.0)
    # The process ends here.
    plan = Plan.load(json.loads(json.dumps(plan.stored())), None, None, now=1000.0)
    plan.is_exhausted = True
    batch = plan.batches[1]
    now, looks = 1000.0, 0
    while (step := plan.step(now)).kind != "create":
        if step.kind == "find":
            looks += 1
            plan.not_found(batch, now, True)
        else:
            assert step.kind == "wait" and step.until is not None
            now = step.until
    assert now == 1000.0 + GRACE and 3 < looks < 12
    # The file is there.
    assert batch.file_id == "file-1"


def test_one_that_cannot_be_told_yet_is_waited_for() -> None:
    plan = plan_of(part(1, lookup="ids"))
    batch = plan.batches[1]
    plan.begins(batch, 0.0)
    plan.is_lost(batch, 0.0, "the connection broke")
    now = 0.0
    while now < 20 * GRACE:
        step = plan.step(now)
        assert step.kind in ("find", "wait")
        if step.kind == "find":
            plan.not_found(batch, now, False)
        now = max(now, step.until or now)
    plan.not_found(batch, now, True)
    assert plan.step(now) == ("create", batch, None)


def test_one_that_is_refused_goes_when_another_has_ended() -> None:
    plan = plan_of(part(1), part(2))
    one = make(plan, 1, 0.0)
    two = make(plan, 2, 0.0)
    error = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": None}
    plan.polled(two, {"status": "failed", "errors": {"data": [error]}}, 1.0, 1.0)
    assert (two.state, two.batch_id, two.past) == ("uploaded", None, ["batch-2"])
    assert plan.step(1.0).kind == "poll"
    plan.polled(one, {"status": "completed", "output_file_id": "o"}, 2.0, 2.0)
    assert plan.step(2.0) == ("land", one, None)
    plan.landed(one, [])
    assert plan.step(2.0) == ("create", two, None)
    # A batch that was refused is not taken for the one that is made next.
    assert "batch-2" in plan.known_ids()


def test_one_that_is_refused_alone_waits_longer_each_time_or_is_split() -> None:
    plan = plan_of(part(1, lookup="name", takes_file=False))
    batch = plan.batches[1]
    now, pauses = 0.0, []
    while (step := plan.step(now)).kind == "create":
        plan.begins(batch, now)
        plan.refused(batch, now, "Resource has been exhausted", retry_after=40.0)
        if (step := plan.step(now)).kind == "split":
            break
        last = now
        while (step := plan.step(now)).kind == "wait":
            now = step.until or 0.0
        pauses.append(now - last)
    assert pauses == [40.0, 60.0, 120.0, 240.0, 480.0][: _batch_state.ALONE] and BLOCK[0] == 30.0
    assert step.kind == "split" and plan.split_limits(batch) == (5, None)
    plan.split(batch, [part(2, rows=5, lookup="name"), part(3, rows=5, lookup="name")])
    assert sorted(plan.batches) == [2, 3] and plan.next_number == 4


def test_a_limit_that_is_told_is_kept() -> None:
    plan = plan_of(part(1, tokens=200_000))
    batch = make(plan, 1, 0.0)
    message = (
        "Enqueued token limit reached for m in organization o. Limit: 90,000 enqueued tokens. Please try again later."
    )
    plan.polled(
        batch, {"status": "failed", "errors": {"data": [{"code": "token_limit_exceeded", "message": message}]}}, 1, 1
    )
    assert plan.step(1.0) == ("split", batch, None)
    assert plan.split_limits(batch) == (None, 90_000) and plan.limits()[1] == 90_000


def test_cost_is_kept_over_batches_that_are_under_way() -> None:
    plan = plan_of(part(1, cost=4.0), part(2, cost=4.0), part(3, cost=4.0, carried=0.5), max_cost=10.0)
    one, two = make(plan, 1, 0.0), make(plan, 2, 0.0)
    assert plan.limits()[2] == pytest.approx(1.5)
    assert plan.step(0.0).kind == "wait"
    # They were cheaper than they were expected to be.
    for batch in (one, two):
        plan.polled(batch, {"status": "completed", "output_file_id": "o"}, 0.0, 0.0)
    plan.spent = 3.0
    plan.landed(one, [])
    assert plan.step(0.0).kind == "land"
    plan.spent = 5.0
    plan.landed(two, [])
    assert plan.step(0.0).kind == "upload"
    plan.spent = 6.0
    step = plan.step(0.0)
    assert step.kind == "halt" and plan.halted is not None
    assert plan.halted[0] == "cost" and "$3.5000 of max_cost are left" in plan.halted[1]


def test_a_price_that_is_not_known_halts() -> None:
    plan = plan_of(part(1, cost=None), max_cost=10.0)
    assert (
        plan.step(0.0).kind == "halt"
        and plan.halted is not None
        and "what a batch of openai/m costs is not known" in plan.halted[1]
    )


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_nothing_is_bought_twice(seed: int) -> None:
    """A provider in memory, requests and answers that are lost, and processes that end, at random."""
    chance = random.Random(seed)
    lookup = chance.choice(["file", "name", "ids"])
    files: dict[str, str] = {}
    batches: dict[str, dict[str, Any]] = {}
    landed: list[int] = []
    plan = plan_of(*(part(number, lookup=lookup) for number in (1, 2, 3)))
    disk = json.dumps(plan.stored())
    now = 0.0
    for _ in range(3000):
        if chance.random() < 0.05:
            # The process ends; so it may have between any two lines below.
            plan = Plan.load(json.loads(disk), None, None, now)
            plan.is_exhausted = True
        step = plan.step(now)
        batch = step.batch
        if step.kind == "done":
            break
        if step.kind == "wait":
            now = step.until or now
            continue
        assert batch is not None
        if step.kind in ("upload", "create"):
            plan.begins(batch, now)
            disk = json.dumps(plan.stored())
            fate = chance.choice(["arrives", "arrives", "lost before", "lost after", "dies"])
            name = plan.name_of(batch)
            made: dict[str, Any] = {}
            if fate != "lost before":
                if step.kind == "upload":
                    made = {"id": f"file-{len(files)}"}
                    files[made["id"]] = name
                else:
                    id = f"b{len(batches)}"
                    made = batches[id] = {"id": id, "of": batch.number, "visible": now + chance.uniform(0, GRACE * 0.9)}
            if fate == "dies":
                plan = Plan.load(json.loads(disk), None, None, now)
                plan.is_exhausted = True
            elif fate != "arrives":
                (plan.failed if step.kind == "upload" else plan.is_lost)(batch, now, "lost")
                disk = json.dumps(plan.stored())
            elif step.kind == "upload":
                plan.uploaded(batch, {**made, "status": chance.choice(["processed", "pending"])}, now)
                disk = json.dumps(plan.stored())
            else:
                plan.created(batch, {**made, "status": "in_progress"}, now, now)
                disk = json.dumps(plan.stored())
        elif step.kind == "find":
            if batch.state == "uploading":
                found = next((id for id, name in files.items() if name == plan.name_of(batch)), None)
                plan.uploaded(batch, {"id": found}, now) if found else plan.not_found(batch, now, True)
            else:
                seen = [one for one in batches.values() if one["of"] == batch.number and one["visible"] <= now]
                ended = chance.random() < 0.5
                if seen and (lookup != "ids" or ended):
                    plan.created(batch, {**seen[0], "status": "in_progress"}, now, now)
                else:
                    plan.not_found(batch, now, not seen)
            disk = json.dumps(plan.stored())
        elif step.kind == "check":
            plan.uploaded(batch, {"id": batch.file_id, "status": chance.choice(["processed", "running"])}, now)
            disk = json.dumps(plan.stored())
        elif step.kind == "poll":
            status = chance.choice(["in_progress", "completed"])
            plan.polled(batch, {"status": status, "output_file_id": "o"}, now, now)
            disk = json.dumps(plan.stored())
        elif step.kind == "land":
            landed.append(batch.number)
            if chance.random() < 0.8:
                plan.landed(batch, [])
                disk = json.dumps(plan.stored())
    assert plan.step(now).kind == "done"
    assert sorted(one["of"] for one in batches.values()) == [1, 2, 3]
    assert set(landed) == {1, 2, 3}


def test_cancelled_at_each_state() -> None:
    """What is at the provider is cancelled and taken, what is not is forgotten, and nothing is made."""
    plan = plan_of(*(part(number) for number in range(1, 6)))
    running, ended, lost, uploaded = make(plan, 1, 0.0), make(plan, 2, 0.0), plan.batches[3], plan.batches[4]
    plan.polled(ended, {"status": "completed", "output_file_id": "o"}, 0.0, 0.0)
    plan.begins(lost, 0.0)
    plan.uploaded(lost, {"id": "f3"}, 0.0)
    plan.begins(lost, 0.0)
    plan.begins(uploaded, 0.0)
    plan.uploaded(uploaded, {"id": "f4", "status": "pending"}, 0.0)
    plan = Plan.load(json.loads(json.dumps(plan.stored())), None, None, 0.0, cancels=True)
    now, steps = 0.0, []
    while (step := plan.step(now)).kind != "done":
        batch = step.batch
        if batch is None:
            assert step.kind == "wait" and step.until is not None
            now = step.until
            continue
        steps.append((step.kind, batch.number))
        if step.kind == "find":
            plan.created(batch, {"id": "found", "status": "in_progress"}, now, now)
        elif step.kind == "cancel":
            assert not batch.is_told
            plan.given_up(batch, {"status": "cancelling"}, now)
        elif step.kind == "poll":
            plan.polled(batch, {"status": "cancelled"}, now, now)
        elif step.kind == "land":
            assert batch.is_given_up == (batch.number != 2)
            plan.landed(batch, [part(plan.next_number)] if batch.number == 1 else [])
        else:
            plan.dropped(batch)
    assert steps[:3] == [("land", 2), ("find", 3), ("cancel", 1)]
    assert set(steps[3:]) == {
        *(("drop", 4), ("drop", 5), ("drop", 6), ("cancel", 3), ("poll", 1), ("poll", 3), ("land", 1), ("land", 3)),
    }
    assert running.number == 1 and plan.batches == {}


def test_a_refused_cancellation_is_asked_for_again() -> None:
    """It may be refused because the batch has ended, or for another reason: a look at it tells."""
    plan = plan_of(part(1), cancels=True)
    batch = make(plan, 1, 0.0)
    now, asked, polls = POLL[0], 0, 0
    while now < 600.0:
        step = plan.step(now)
        if step.kind == "cancel":
            asked += 1
            plan.objected(batch, now, "not now")
            assert plan.trouble == "not now"
        elif step.kind == "poll":
            polls += 1
            plan.polled(batch, {"status": "in_progress"}, now, now)
            assert plan.trouble == "not now"
        else:
            assert step.kind == "wait" and step.until is not None
            now = step.until
    assert 10 < asked < 30 and polls in (asked, asked - 1)
    # From another process, too.
    plan = Plan.load(json.loads(json.dumps(plan.stored())), None, None, now, cancels=True)
    batch = plan.batches[1]
    assert plan.step(now) == ("cancel", batch, None)
    plan.given_up(batch, {"status": "cancelling"}, now)
    for _ in range(100):
        step = plan.step(now)
        now = step.until if step.until is not None else now
        if step.kind == "poll":
            plan.polled(batch, {"status": "in_progress"}, now, now)
        assert step.kind in ("poll", "wait"), "it has agreed"
    plan.polled(batch, {"status": "cancelled"}, now, now)
    assert batch.state == "ended" and batch.is_given_up and plan.trouble is None


def test_a_file_that_expires_before_its_batch_is_made_is_uploaded_again() -> None:
    """Google deletes files after two days, and every batch of one that is gone would be refused."""
    plan = plan_of(part(1, provider="gemini", lookup="name", takes_file=True))
    batch = plan.batches[1]
    plan.begins(batch, 0.0)
    plan.uploaded(batch, {"id": "files/1", "status": "pending", "expires_at": 172_800}, 0.0)
    plan = Plan.load(json.loads(json.dumps(plan.stored())), None, None, now=0.0)
    plan.is_exhausted = True
    batch = plan.batches[1]
    assert not plan.has_expired(batch, 169_000.0) and plan.has_expired(batch, 169_300.0)
    plan.forget_file(batch)
    assert plan.step(0.0) == ("upload", batch, None)
    plan.begins(batch, 169_300.0)
    plan.uploaded(batch, {"id": "files/2", "expires_at": None}, 0.0)
    assert not plan.has_expired(batch, 1e12) and plan.step(0.0) == ("create", batch, None)


@pytest.mark.parametrize(("lookup", "takes_file"), [("file", True), ("name", False), ("ids", False)])
def test_a_state_without_takes_file(lookup: str, takes_file: bool) -> None:
    """Of a job that was made before Gemini's rows were in files."""
    plan = plan_of(part(1, lookup=lookup))
    stored = json.loads(json.dumps(plan.stored()))
    del stored["batches"][0]["takes_file"]
    assert Plan.load(stored, None, None, 0.0).batches[1].takes_file is takes_file
    stored["batches"][0]["takes_file"] = True
    assert Plan.load(stored, None, None, 0.0).batches[1].takes_file


def test_files_that_have_to_be_read_first() -> None:
    """The words are the provider's own."""
    for provider, status, is_unread in [
        ("azure", "notRunning", True),
        ("azure", "processed", False),
        ("gemini", "pending", True),
        ("gemini", "running", False),
        ("openai", "uploaded", False),
        ("nobody", "pending", False),
    ]:
        assert _core.BulkBatches.is_unread(provider, status) is is_unread, (provider, status)


def test_answers_without_a_file_are_waited_for_and_not_bought_again() -> None:
    """A batch said "completed" a moment before it named its file, and for ever in openai/openai-cookbook#1564."""
    plan = plan_of(part(1))
    batch = make(plan, 1, 0.0)
    counts = {"total": 10, "completed": 9, "failed": 1}
    bare = {"status": "completed", "request_counts": counts, "output_file_id": None, "error_file_id": "e"}
    now = 0.0
    for _ in range(3):
        plan.polled(batch, bare, now, now)
        step = plan.step(now)
        assert step.kind == "wait" and step.until is not None and "names no file" in (plan.trouble or "")
        now = step.until
    plan.polled(batch, {**bare, "output_file_id": "o"}, now, now)
    assert plan.step(now) == ("land", batch, None) and batch.outputs == ["o", "e"]
    # For ever: its rows stay pending, and a run that gives it up has them back.
    for cancels in (False, True):
        plan = plan_of(part(1), cancels=cancels)
        batch, polls = make(plan, 1, 0.0), 0
        while plan.halted is None and batch.state == "running":
            polls += 1
            plan.polled(batch, bare, now, now)
        assert polls == _batch_state.UNFILED + 1
        assert (plan.halted is None, batch.state) == ((True, "ended") if cancels else (False, "running"))
    # A batch whose rows have all failed has none, and one that the job cannot count either; an empty name is none (tobert/kaibo#93).
    for counts in ({"completed": 0, "failed": 10}, {}):
        plan = plan_of(part(1))
        batch = make(plan, 1, 0.0)
        plan.polled(batch, {**bare, "request_counts": counts, "output_file_id": ""}, now, now)
        assert batch.state == "ended" and batch.outputs == ["e"]
