"""What users of other tools for bulk jobs have reported, tried on jobs. Each test names the report."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from server import PATIENCE, Answer, Close, Gate, Pause, Request, Server, eventually
from test_bulk import KEY, answers, asked, client, completion, make, refusal, server

import ritellm
from ritellm import Client, JobPaused
from ritellm._progress import line

__all__ = ["client", "make", "server"]  # fixtures

CHAT = {"model": "openai/m", "prompt": "{text}"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error":{"message":"Internal Server Error","code":500}}', ritellm.InternalServerError),
        (b'{"id":"x","choices":null}', ritellm.APIResponseValidationError),
        (b"", ritellm.APIResponseValidationError),
        (b"<html>busy</html>", ritellm.APIResponseValidationError),
    ],
)
def test_an_answer_that_is_none_is_no_success(make: Any, server: Server, body: bytes, error: type) -> None:
    """Status 200 around an error (bespokelabsai/curator 470), or without choices (BerriAI/litellm 13139)."""
    server.script = lambda request: Answer(body=body if asked(request) == "row 3" else completion(asked(request)))
    job = make(6, max_attempts=1).run()
    [failure] = job.failures()
    assert (failure.number, type(failure.error)) == (3, error)
    assert answers(job) == [f"row {number}" for number in (0, 1, 2, 4, 5)]


def test_answers_stay_with_their_rows_when_some_are_tried_again(make: Any, server: Server) -> None:
    """langchain-ai/langchain 35475 and argilla-io/distilabel 587: retried items took the places of others."""
    chance = random.Random(3)

    def script(request: Request) -> Answer:
        luck = chance.random()
        if luck < 0.1:
            return Answer(before=[Close()])
        if luck < 0.3:
            return Answer(429, headers={"retry-after-ms": "2"}, body=refusal(429, "rate_limit_exceeded").body)
        return Answer(body=completion(f"to {asked(request)}"), before=[Pause(chance.random() / 100)])

    server.script = script
    job = make(150, max_attempts=50, max_in_flight=150).run()
    found = [(row["text"], answer.choices[0].message.content) for row, answer in job.results(ordered=True)]
    assert found == [(f"row {number}", f"to row {number}") for number in range(150)]
    assert len(server.requests) > 180


def test_no_more_calls_at_once_than_asked_for(make: Any, server: Server) -> None:
    """langchain-ai/langchain 15767 and 29425: more than max_concurrency."""
    most = 0

    def script(request: Request) -> Answer:
        nonlocal most
        most = max(most, sum(not each.done.is_set() for each in server.requests))
        return Answer(body=completion(asked(request)), before=[Pause(0.003)])

    server.script = script
    make(60, max_in_flight=3).run()
    assert most == 3


def test_waiting_for_a_quota_is_no_timeout(make: Any, server: Server) -> None:
    """edanalytics/lightbeam 11 and curator 202: the time in the queue counted, so that a long queue failed for ever."""
    gate = Gate()
    server.script = lambda request: Answer(
        body=completion(asked(request)), before=[gate] if asked(request) == "first" else []
    )
    client = Client(limits={"openai": {"max_in_flight": 1}}, base_url=server.base_url, api_key=KEY)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(client.completion, "openai/m", [{"role": "user", "content": "first"}])
        server.wait_for_requests(1)
        job = make(5, client=client, timeout=0.3).start()
        eventually(lambda: bool(job.status()["waiting"]), "a row that waits")
        time.sleep(0.4)
        status = job.status()
        assert (status["retries"], status["failed"], len(server.requests)) == (0, 0, 1)
        gate.open()
        first.result(PATIENCE)
        assert job.wait(PATIENCE)
    assert (len(answers(job)), job.failures()) == (5, [])


@pytest.mark.parametrize(
    ("model", "status", "body"),
    [
        # curator 205: `credit_limit` is Together's name for a rate.
        (
            "together_ai/m",
            429,
            {"error": {"message": "Request was rejected due to request rate limiting.", "type": "credit_limit"}},
        ),
        # curator 470: a page about bills in the text.
        (
            "openai_compatible/m",
            429,
            {"error": {"message": "Number of concurrent connections exceeded. https://platform.kluster.ai/billing"}},
        ),
        # curator 251.
        ("deepinfra/m", 429, {"error": {"message": "Model busy, retry later"}}),
    ],
)
def test_a_rate_is_not_taken_for_a_bill(server: Server, model: str, status: int, body: dict[str, Any]) -> None:
    refused = Answer(status, headers={"retry-after-ms": "5"}, body=json.dumps(body).encode())
    server.answer(refused, Answer(body=completion("ok")))
    client = Client(base_url=server.base_url, api_key=KEY)
    job = ritellm.bulk([{"text": "a"}], model=model, prompt="{text}", client=client, max_attempts=1)
    assert answers(job.run()) == ["ok"]
    assert len(server.requests) == 2


def test_a_bill_is_not_taken_for_a_bad_row(server: Server) -> None:
    """curator 296: thousands of rows failed one by one with Anthropic's 400 for an empty account."""
    error = {"type": "invalid_request_error", "message": "Your credit balance is too low to access the Anthropic API."}
    server.answer(Answer(400, body=json.dumps({"type": "error", "error": error}).encode()))
    client = Client(base_url=server.url, api_key=KEY, limits={"anthropic": {"rpm": 10_000_000}})
    rows = [{"text": str(number)} for number in range(300)]
    job = ritellm.bulk(
        rows, model="anthropic/m", prompt="{text}", max_tokens=5, client=client, max_in_flight=4, max_attempts=1
    )
    with pytest.raises(JobPaused, match="credit balance"):
        job.run()
    assert job.failures() == [] and len(server.requests) <= 4


def test_a_row_above_the_limit_of_a_minute_is_an_outcome(make: Any, server: Server) -> None:
    """Aider-AI/aider 1880, SWE-agent/SWE-agent 1296: refused with 429 for ever, and all others waited for its quota."""
    message = "Request too large for m on tokens per min (TPM): Limit 30000, Requested 45000."
    error = {"message": message, "type": "tokens", "code": "rate_limit_exceeded"}
    body = json.dumps({"error": error}).encode()
    server.script = lambda request: (
        Answer(429, body=body) if asked(request) == "row 3" else Answer(body=completion(asked(request)))
    )
    job = make(20).run()
    [failure] = job.failures()
    assert failure.number == 3 and isinstance(failure.error, ritellm.RateLimitError) and message in str(failure.error)
    assert len(answers(job)) == 19 and len(server.requests) == 20


def test_it_is_told_what_a_job_waits_for(make: Any, server: Server) -> None:
    """curator 550: it seemed to hang for hours. A provider may ask for an hour."""

    def script(request: Request) -> Answer:
        if int(asked(request).split()[-1]) >= 4:
            return Answer(429, headers={"retry-after": "3600"}, body=refusal(429, "rate_limit_exceeded").body)
        return Answer(body=completion(asked(request)))

    server.script = script
    job = make(20, max_in_flight=2).start()
    eventually(lambda: job.status()["done"] == 4 and bool(job.status()["reason"]), "the reason")
    status = job.status()
    assert (status["state"], status["done"], status["failed"]) == ("running", 4, 0)
    assert status["reason"].endswith("refused: rate_limit_exceeded; it asks to wait for 3600 s")
    assert status["reason"] in repr(job)
    begun = time.monotonic()
    job.cancel()
    with pytest.raises(JobPaused, match="stopped"):
        job.wait(PATIENCE)
    assert job.status()["done"] == 4 and time.monotonic() - begun < PATIENCE


def test_a_late_answer_does_not_hide_what_a_job_waits_for(make: Any, server: Server) -> None:
    """Its call was admitted before the refusal: for the rest of the hour nothing said why nothing happened."""
    gate = Gate()

    def script(request: Request) -> Answer:
        if asked(request) == "row 0":
            return Answer(body=completion("late"), before=[gate])
        return Answer(429, headers={"retry-after": "3600"}, body=refusal(429, "rate_limit_exceeded").body)

    server.script = script
    job = make(20, max_in_flight=2).start()
    eventually(lambda: job.status()["rate_limited"] == 1, "the refusal")
    gate.open()
    eventually(lambda: job.status()["done"] == 1, "the answer")
    eventually(lambda: bool(job.status()["reason"]), "the reason")
    assert job.status()["reason"].endswith("it asks to wait for 3600 s") and job.status()["state"] == "running"
    job.cancel()
    with pytest.raises(JobPaused):
        job.wait(PATIENCE)


def test_few_files_may_be_open(server: Server) -> None:
    """BerriAI/litellm 12872 and 13220, EvolvingPrograms/oaib 15: macOS lets a process have 256 files."""
    server.script = lambda request: Answer(body=completion(asked(request)), before=[Pause(0.02)])
    program = f"""
import resource
import ritellm
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
client = ritellm.Client(limits={{"openai": {{"rpm": 10_000_000}}}}, base_url={server.base_url!r}, api_key={KEY!r})
rows = [{{"text": f"row {{number}}"}} for number in range(200)]
job = ritellm.bulk(rows, model="openai/m", prompt="{{text}}", client=client, max_in_flight=100, max_attempts=1)
print(job.run(progress=False).status()["done"], len(job.failures()))
"""
    if sys.platform == "win32":
        pytest.skip("limits of POSIX")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE * 2)
    assert done.stdout.split() == ["200", "0"], done.stderr


HALF = r"cut \ud83d"


@pytest.fixture
def halved(make: Any, server: Server) -> ritellm.Job:
    """A job with a character that was cut in two, in an answer and in a row."""
    server.script = lambda request: Answer(body=completion("half").replace(b"half", HALF.encode()))
    return make([json.loads(f'"{HALF}"'), "whole"]).run()  # type: ignore[no-any-return]


def test_half_a_character_is_kept(halved: ritellm.Job, tmp_path: Path) -> None:
    """daaain/claude-code-log 139, browser-use/browser-harness 676: one such text, and nothing could be written any more."""
    assert answers(halved) == ["cut \ud83d"] * 2
    assert halved.export(tmp_path / "out.jsonl") == {"done": 2, "failed": 0, "missing": 0}
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert lines[0]["response"]["body"]["choices"][0]["message"]["content"] == "cut \ud83d"


@pytest.mark.parametrize("method", ["to_pandas", "to_polars", "to_arrow"])
def test_half_a_character_costs_no_table(halved: ritellm.Job, tmp_path: Path, method: str) -> None:
    pytest.importorskip("pyarrow" if method == "to_arrow" else method.removeprefix("to_"))
    table = getattr(halved, method)()
    columns = table.to_pydict() if method == "to_arrow" else {name: list(table[name]) for name in ("text", "answer")}
    assert (columns["text"], columns["answer"]) == (["cut \ufffd", "whole"], ["cut \ufffd"] * 2)


@pytest.mark.parametrize("how", ["list", "file", "frame"])
def test_a_table_without_rows_is_done(client: Client, server: Server, tmp_path: Path, how: str) -> None:
    """A filter before it has left nothing: that is no error of the prompt's."""
    rows: Any = []
    if how == "file":
        rows = tmp_path / "rows.jsonl"
        rows.write_text("")
    elif how == "frame":
        rows = pytest.importorskip("pandas").DataFrame({"text": []})
    with_id = CHAT | {"id_column": "id"} if how != "frame" else CHAT
    job = ritellm.bulk(rows, client=client, out=tmp_path / "job", **with_id).run()
    assert (job.status()["state"], job.status()["rows"], answers(job)) == ("done", 0, [])
    assert job.estimate()["rows"] == 0 and server.requests == []
    assert job.export(tmp_path / "out.jsonl") == {"done": 0, "failed": 0, "missing": 0}


def test_a_first_row_that_no_json_can_say_is_the_only_one_that_fails(client: Client, server: Server) -> None:
    """ray-project/ray 57140 and 59194: one row fails, and with it the job."""

    def rows() -> Iterator[dict[str, Any]]:
        yield {"text": object()}
        yield {"text": "fine"}

    for given in (rows(), list(rows())):
        # Braces that are no column stay, as they would if the first row could be read.
        job = ritellm.bulk(given, client=client, model="openai/m", prompt="{text}: {label}").run()
        [failure] = job.failures()
        assert failure.number == 0 and "object" in str(failure.error)
        assert answers(job) == ["FINE: {LABEL}"]


def test_rows_that_are_added_to_a_file_are_the_only_ones_that_run(
    client: Client, server: Server, tmp_path: Path
) -> None:
    """verifywise-ai/verifywise 3478: a last line without a newline, and more lines after it."""
    source = tmp_path / "rows.jsonl"
    job: Callable[[], ritellm.Job] = lambda: ritellm.bulk(source, client=client, out=tmp_path / "job", **CHAT)  # noqa: E731
    source.write_text('{"text": "a"}\n{"text": "b"}')
    job().run()
    # The journal was cut as well, within its last line.
    segment = tmp_path / "job" / "segments" / "00001.jsonl"
    segment.write_bytes(segment.read_bytes()[:-20])
    source.write_text('{"text": "a"}\n{"text": "b"}\n{"text": "c"}\n')
    assert answers(job().run()) == ["A", "B", "C"]
    assert sorted(map(asked, server.requests[:2])) == ["a", "b"]
    # One row of the first run lost its outcome with the cut.
    assert len(server.requests) == 4 and "c" in map(asked, server.requests[2:])


async def test_a_notebook_has_a_loop_that_runs(make: Any) -> None:
    """`run` in a cell: asyncio.run would refuse to (distilabel, curator and their nest_asyncio)."""
    assert answers(make(3).run()) == ["ROW 0", "ROW 1", "ROW 2"]


def test_rows_of_an_iterator_count_after_a_pause(client: Client, server: Server, tmp_path: Path) -> None:
    """Those of the first run were missing in the numbers of the second."""
    refused = True

    def script(request: Request) -> Answer:
        if refused and asked(request) == "row 5":
            return refusal(401, "invalid_api_key")
        return Answer(body=completion(asked(request)))

    server.script = script
    rows = ({"text": f"row {number}"} for number in range(10))
    job = ritellm.bulk(rows, client=client, out=tmp_path / "job", max_in_flight=1, **CHAT)
    with pytest.raises(JobPaused):
        job.run()
    assert job.status()["done"] == 5
    refused = False
    status = job.run().status()
    assert (status["done"], status["failed"], status["read"], status["before"]) == (10, 0, 10, 5)
    assert len(answers(job)) == 10 and len(server.requests) == 11


def test_failed_rows_of_an_iterator_are_not_called_again_in_silence(
    client: Client, server: Server, tmp_path: Path
) -> None:
    """`retry_failed` did nothing, and said nothing: there is no row that it could read."""
    given: dict[str, Any] = {"client": client, "out": tmp_path / "job", **CHAT}
    server.script = lambda request: Answer(400) if asked(request) == "b" else Answer(body=completion(asked(request)))
    job = ritellm.bulk(iter([{"text": "a"}, {"text": "b"}]), **given).run()
    with pytest.raises(ritellm.InvalidArgumentError, match="iterator, which cannot be read again"):
        job.retry_failed()
    # A plain run has nothing to do, and a new iterator has the row.
    status = job.run().status()
    assert (status["done"], status["failed"], status["read"], len(server.requests)) == (1, 1, 2, 2)
    server.script = lambda request: Answer(body=completion(asked(request)))
    again = ritellm.bulk(iter([{"text": "a"}, {"text": "b"}]), **given).run(retry_failed=True)
    assert answers(again) == ["a", "b"] and len(server.requests) == 3


def test_the_same_text_twice_is_asked_twice(client: Client, server: Server) -> None:
    """ComplexData-MILA/AIF-Gen 103: a cache by content gave one sample to all."""
    count = iter(range(100))
    server.script = lambda request: Answer(body=completion(f"sample {next(count)}"))
    job = ritellm.bulk([{"text": "toss a coin"}] * 4, client=client, max_in_flight=1, **CHAT).run()
    assert sorted(answers(job)) == [f"sample {number}" for number in range(4)]


def test_ids_of_any_kind(client: Client, server: Server) -> None:
    ids: list[Any] = [1, "a\nb", "ü" * 3000, "c/d", True, 2.5]
    rows = [{"id": each, "text": f"row {number}"} for number, each in enumerate(ids)]
    job = ritellm.bulk(rows, client=client, id_column="id", **CHAT).run()
    assert answers(job) == [f"ROW {number}" for number in range(len(ids))]
    # A number and its text are the same id: a table that was read from CSV has only texts.
    with pytest.raises(ritellm.InvalidArgumentError, match='the id "1" of an earlier row'):
        ritellm.bulk([{"id": 1, "text": "a"}, {"id": "1", "text": "b"}], client=client, id_column="id", **CHAT).run()
    missing = [{"id": None, "text": "a"}, {"id": float("nan"), "text": "b"}, {"id": "x", "text": "c"}]
    job = ritellm.bulk(missing, client=client, id_column="id", **CHAT).run()
    assert answers(job) == ["C"]
    assert ["no id" in str(failure.error) for failure in job.failures()] == [True, True]


def test_it_is_told_for_what_and_how_long_a_job_waits(make: Any, server: Server, tmp_path: Path) -> None:
    """curator 287, vllm-project/vllm 28703: a job that stands still looks like one that works."""
    gate = Gate()
    server.script = lambda request: Answer(body=completion(asked(request)), before=[gate])
    job = make(5, max_in_flight=2)
    assert (job.status()["waits_for"], job.status()["waited"], job.status()["process"]) == (None, None, None)
    job.start()
    eventually(lambda: job.status()["waits_for"] == "answers", "what it waits for")
    before = job.status()["waited"]
    eventually(lambda: job.status()["waited"] > before, "the time that goes on")
    # Another process, as `ritellm bulk status` is one, is told by the folder.
    other = ritellm.Job.open(job.out, client=Client(base_url=server.base_url, api_key=KEY))
    eventually(lambda: other.status()["waits_for"] == "answers", "what another process is told")
    status = other.status()
    assert (status["state"], status["process"], status["waited"] >= 0) == ("running", os.getpid(), True)
    gate.open()
    assert job.wait(PATIENCE)
    assert (job.status()["waits_for"], other.status()["state"], other.status()["process"]) == (None, "done", None)


def test_it_is_told_that_a_job_waits_for_its_rows(client: Client) -> None:
    more = threading.Event()

    def rows() -> Iterator[dict[str, str]]:
        yield {"text": "a"}
        assert more.wait(PATIENCE)
        yield {"text": "b"}

    job = ritellm.bulk(rows(), client=client, **CHAT).start()
    eventually(lambda: job.status()["done"] == 1 and job.status()["waits_for"] == "the source", "what it waits for")
    more.set()
    assert job.wait(PATIENCE) and answers(job) == ["A", "B"]


def test_it_is_told_that_a_job_waits_for_the_disk(client: Client, tmp_path: Path) -> None:
    """A folder whose first segment is a pipe: opening it takes until somebody writes into that."""
    segment = tmp_path / "job/segments/00001.jsonl"
    segment.parent.mkdir(parents=True)
    os.mkfifo(segment)
    job = ritellm.bulk([{"text": "a"}], client=client, out=tmp_path / "job", **CHAT).start()
    eventually(lambda: job.status()["waits_for"] == "the disk: opening the journal", "what it waits for")
    status = job.status()
    assert (status["state"], status["done"]) == ("running", 0)
    with segment.open("wb"):
        segment.unlink()
    assert job.wait(PATIENCE) and answers(job) == ["A"]


def test_progress_tells_what_a_job_waits_for_when_that_takes_long(make: Any) -> None:
    status = make(1).status() | {"state": "running", "waits_for": "the source", "waited": 4.9}
    assert "source" not in line(status)
    assert line(status | {"waited": 65.0}).endswith("nothing for 1:05, waits for the source")


def test_a_column_that_no_json_can_say_fails_no_row_that_does_not_need_it(client: Client) -> None:
    """bespokelabsai/curator 142 and 182: one column of a table failed all of it."""
    odd = [{1}, object(), b"\xff"]
    rows = [{"id": number, "text": f"row {number}", "odd": odd[number], "n": number} for number in range(3)]
    job = ritellm.bulk(rows, client=client, id_column="id", **CHAT).run()
    assert answers(job) == ["ROW 0", "ROW 1", "ROW 2"]
    assert [row for row, _ in job.results(ordered=True)] == [
        {"id": number, "text": f"row {number}", "n": number} for number in range(3)
    ]
    messages = [{"role": "user", "content": "{text} {odd}"}]
    job = ritellm.bulk(rows, model="openai/m", messages=messages, client=client).run()
    assert ["['odd']" in str(failure.error) for failure in job.failures()] == [True] * 3


def test_periods_and_intervals_of_pandas_are_texts(client: Client) -> None:
    pandas = pytest.importorskip("pandas")
    months = pandas.period_range("2026-01", periods=2, freq="M")
    frame = pandas.DataFrame({"month": months, "age": pandas.cut([15, 70], [0, 18, 99])})
    job = ritellm.bulk(frame, model="openai/m", prompt="{month} {age}", client=client).run()
    assert answers(job) == ["2026-01 (0, 18]", "2026-02 (18, 99]"]


def test_a_time_that_python_does_not_have_fails_its_row_alone(client: Client, tmp_path: Path) -> None:
    """snowflakedb/snowflake-connector-python 1378, aws/aws-sdk-pandas 427: times far away ended the reading of a table."""
    pyarrow = pytest.importorskip("pyarrow")
    never = pyarrow.array([0, 2**60, None], pyarrow.timestamp("ms"))
    table = pyarrow.table({"text": ["a", "b", "c"], "until": never})
    path = tmp_path / "a.parquet"
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, path)
    for rows in (table, path):
        job = ritellm.bulk(rows, client=client, **CHAT).run()
        assert answers(job) == ["A", "B", "C"]
        job = ritellm.bulk(rows, model="openai/m", prompt="{until}", client=client).run()
        assert answers(job) == ["1970-01-01T00:00:00", ""]
        [failure] = job.failures()
        assert failure.number == 1 and "['until'] is of type" in str(failure.error)


def test_a_job_that_was_ended_at_once_is_not_locked(client: Client, tmp_path: Path) -> None:
    """A stress of short jobs: the thread that waited for a row held the folder's lock beyond the end of its run."""
    more = threading.Event()

    def rows() -> Iterator[dict[str, str]]:
        yield {"text": "a"}
        more.wait(PATIENCE)

    given: dict[str, Any] = {"client": client, "out": tmp_path / "job", **CHAT}
    job = ritellm.bulk(rows(), **given).start()
    eventually(lambda: job.status()["done"] == 1, "the first row")
    job.cancel(now=True)
    with pytest.raises(JobPaused):
        job.wait(PATIENCE)
    assert answers(ritellm.bulk([{"text": "a"}, {"text": "b"}], **given).run()) == ["A", "B"]
    more.set()
