"""Jobs, end to end, against a server that counts."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from limited import Processes
from server import PATIENCE, Answer, Pause, Request, Server, eventually

import ritellm
from ritellm import Budget, Cache, Client, JobPaused, Router
from ritellm.__main__ import main as command

KEY = "key-of-a-test"
WORKER = Path(__file__).with_name("bulk_worker.py")


def completion(text: str, **usage: int) -> bytes:
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12} | usage
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    whole = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return json.dumps(whole).encode()


def refusal(status: int, code: str) -> Answer:
    body = {"error": {"message": f"refused: {code}", "type": code, "code": code}}
    return Answer(status, body=json.dumps(body).encode())


def asked(request: Request) -> str:
    """The text of the row that a request asks for."""
    return str(request.json["messages"][-1]["content"])


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.script = lambda request: Answer(body=completion(asked(request).upper()))
    yield server
    server.close()


@pytest.fixture
def client(server: Server) -> Client:
    return Client(limits={"openai": {"rpm": 10_000_000}}, base_url=server.base_url, api_key=KEY)


@pytest.fixture
def make(tmp_path: Path, client: Client) -> Callable[..., ritellm.Job]:
    """Makes a job of these texts in a file."""

    def make(texts: Any = 20, **arguments: Any) -> ritellm.Job:
        texts = [f"row {number}" for number in range(texts)] if isinstance(texts, int) else texts
        rows = tmp_path / "rows.jsonl"
        content = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        # A file that is written again is not the one that another job has read.
        if not rows.exists() or rows.read_text() != content:
            rows.write_text(content)
        given = {"model": "openai/m", "prompt": "{text}", "out": tmp_path / "job", "client": client}
        return ritellm.bulk(rows, **given | arguments)

    return make


def answers(job: ritellm.Job, *, ordered: bool = True) -> list[str]:
    return [answer.choices[0].message.content for _, answer in job.results(ordered=ordered)]


def test_from_file_to_folder(make: Any, server: Server, tmp_path: Path) -> None:
    job = make(20, temperature=0).run()
    assert answers(job) == [f"ROW {number}" for number in range(20)]
    assert [row for row, _ in job.results(ordered=True)] == [{"text": f"row {number}"} for number in range(20)]
    status = job.status()
    assert (status["state"], status["done"], status["pending"], status["input_tokens"]) == ("done", 20, 0, 200)
    assert all(request.json["temperature"] == 0 and request.json["model"] == "m" for request in server.requests)
    # Made again, it has nothing to do.
    again = make(20, temperature=0)
    assert again.status()["done"] == 20
    assert answers(again.run()) == answers(job)
    assert len(server.requests) == 20
    lines = [json.loads(line) for line in (tmp_path / "job/segments/00001.jsonl").read_text().splitlines()]
    assert Counter(line["custom_id"] for line in lines) == Counter(f"row-{number}" for number in range(20))
    assert KEY.encode() not in b"".join(path.read_bytes() for path in (tmp_path / "job").rglob("*") if path.is_file())


def test_a_poison_row_is_an_outcome(make: Any, server: Server) -> None:
    server.script = lambda request: (
        refusal(400, "bad") if "row 7" in asked(request) else Answer(body=completion(asked(request)))
    )
    job = make(20).run()
    [failure] = job.failures()
    assert (failure.number, failure.row, type(failure.error)) == (7, {"text": "row 7"}, ritellm.BadRequestError)
    assert (len(answers(job)), job.status()["failed"], len(server.requests)) == (19, 1, 20)
    # It is an outcome: only who asks for it has it called again.
    assert len(server.requests) == 20 and make(20).run().status()["failed"] == 1
    server.script = lambda request: Answer(body=completion(asked(request)))
    assert job.retry_failed().failures() == []
    assert (len(server.requests), len(answers(job))) == (21, 20)


def test_edits_run_exactly_the_changed_rows(make: Any, server: Server) -> None:
    make(["a", "b", "c", "d", "b"]).run()
    server.requests.clear()
    job = make(["d", "new", "b", "b", "changed", "b", "a"]).run()
    assert sorted(map(asked, server.requests)) == ["b", "changed", "new"]
    assert answers(job) == ["D", "NEW", "B", "B", "CHANGED", "B", "A"]


def test_other_parameters_are_an_error(make: Any, server: Server) -> None:
    make(3, temperature=0).run()
    with pytest.raises(ritellm.InvalidArgumentError, match=r"temperature was 0 and is 1\. .*3 rows"):
        make(3, temperature=1)
    job = make(3, temperature=1, on_change="rerun").run()
    assert (len(server.requests), len(answers(job))) == (6, 3)


def test_dedupe_makes_one_call_with_two_outcomes(make: Any, server: Server) -> None:
    job = make(["a", "b", "a", "a"], dedupe=True).run()
    assert sorted(map(asked, server.requests)) == ["a", "b"]
    assert answers(job) == ["A", "B", "A", "A"]
    assert (job.status()["done"], job.status()["repeated"], job.status()["pending"]) == (2, 2, 0)


@pytest.mark.parametrize(
    ("refused", "cause"),
    [
        (refusal(401, "invalid_api_key"), ritellm.AuthenticationError),
        (refusal(429, "insufficient_quota"), ritellm.RateLimitError),
    ],
)
def test_what_concerns_the_account_pauses_the_job(make: Any, server: Server, refused: Answer, cause: type) -> None:
    server.script = lambda request: refused if "row 30" in asked(request) else Answer(body=completion(asked(request)))
    job = make(100, max_in_flight=4)
    with pytest.raises(JobPaused, match="rows are pending") as raised:
        job.run()
    assert isinstance(raised.value.__cause__, cause) and KEY not in str(raised.value)
    status = job.status()
    assert (status["state"], status["failed"], status["done"] + status["pending"]) == ("paused", 0, 100)
    assert status["done"] < 60 and "refused" in status["reason"]
    server.script = lambda request: Answer(body=completion(asked(request)))
    assert len(answers(job.run())) == 100
    assert Counter(map(asked, server.requests))["row 30"] <= 2


def test_rows_of_an_iterator_are_read_no_faster_than_needed(client: Client, server: Server, tmp_path: Path) -> None:
    read = 0
    server.script = lambda request: Answer(body=completion(asked(request)), before=[Pause(0.05)])

    def rows() -> Iterator[dict[str, str]]:
        nonlocal read
        for number in range(30):
            read = number + 1
            yield {"text": f"row {number}"}
            assert number < len(server.requests) + 8

    job = ritellm.bulk(rows(), model="openai/m", prompt="{text}", client=client, max_in_flight=2).run()
    assert read == 30
    assert Counter(answers(job)) == Counter(f"row {number}" for number in range(30))
    assert {row["row"] for row, _ in job.results()} == set(range(30))
    assert (job.run().status()["state"], len(server.requests)) == ("done", 30)


def test_an_exception_of_the_rows_pauses_the_job(client: Client, tmp_path: Path) -> None:
    def rows(broken: bool) -> Iterator[dict[str, str]]:
        for number in range(10):
            if broken and number == 5:
                raise ZeroDivisionError("of the rows")
            yield {"text": f"row {number}"}

    given: dict[str, Any] = {"model": "openai/m", "prompt": "{text}", "client": client, "out": tmp_path / "job"}
    job = ritellm.bulk(rows(True), **given)
    with pytest.raises(ZeroDivisionError, match="of the rows"):
        job.run()
    assert len(answers(job)) == 5
    with pytest.raises(ritellm.InvalidArgumentError, match="iterator"):
        job.run()
    assert len(answers(ritellm.bulk(rows(False), **given).run())) == 10


def test_a_function_makes_the_calls(make: Any, server: Server) -> None:
    def body(row: dict[str, str]) -> Any:
        if row["text"] == "row 3":
            raise KeyError("of the function")
        return {"messages": [{"role": "user", "content": f"F {row['text']}"}], "max_tokens": 5}

    job = make(5, prompt=body).run()
    assert answers(job) == ["F ROW 0", "F ROW 1", "F ROW 2", "F ROW 4"]
    assert server.last.json["max_tokens"] == 5
    [failure] = job.failures()
    assert failure.number == 3 and "KeyError" in str(failure.error) and "line 4" in str(failure.error)


def answer_with(*texts: str) -> Callable[[Request], Answer]:
    """Answers each question of a conversation with the next of these texts."""
    return lambda request: Answer(body=completion(texts[len(request.json["messages"]) // 2]))


SCHEMA = {"type": "object", "properties": {"label": {"enum": ["a", "b"]}}, "required": ["label"]}


def test_answers_that_do_not_fit_are_asked_for_again(make: Any, server: Server) -> None:
    server.script = answer_with('{"label": "c"}', '{"label": "a"}')
    job = make(3, response_format=SCHEMA).run()
    assert [answer.parsed for _, answer in job.results()] == [{"label": "a"}] * 3
    assert server.requests[0].json["response_format"]["type"] == "json_schema"
    [again] = [request for request in server.requests if "row 1" in str(request.json["messages"])][1:]
    assert [message["role"] for message in again.json["messages"]] == ["user", "assistant", "user"]
    assert "label" in asked(again)
    # Both answers were paid.
    assert (job.status()["input_tokens"], len(server.requests)) == (60, 6)
    assert make(3, response_format=SCHEMA).run().status()["done"] == 3 and len(server.requests) == 6
    with pytest.raises(ritellm.InvalidArgumentError, match="response_format"):
        make(3, response_format=SCHEMA | {"required": []})


def test_an_answer_that_never_fits_is_a_failure(make: Any, server: Server) -> None:
    server.script = lambda request: Answer(body=completion('{"label": "c"}'))
    [failure] = make(1, response_format=SCHEMA, validation_retries=2).run().failures()
    assert isinstance(failure.error, ritellm.OutputValidationError) and "label" in str(failure.error)
    assert len(server.requests) == 3


def test_validators_of_a_type_are_run(make: Any, server: Server) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Ticket(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        label: str

        @pydantic.field_validator("label")  # type: ignore[untyped-decorator, unused-ignore]
        @classmethod
        def check(cls, label: str) -> str:
            if label != "even":
                raise ValueError("not even")
            return label

    server.script = answer_with('{"label": "odd"}', '{"label": "even"}')
    job = make(100, response_format=Ticket).run()
    assert {answer.parsed.label for _, answer in job.results()} == {"even"}
    assert len(server.requests) == 200 and "not even" in asked(server.last)


def test_the_cost_is_kept(make: Any, server: Server) -> None:
    catalog = {"openai/m": {"input": 1.0, "output": 0.0}}
    client = Client(limits={"openai": {"rpm": 10_000_000}}, base_url=server.base_url, api_key=KEY, catalog=catalog)
    server.script = lambda request: Answer(body=completion(asked(request), prompt_tokens=1_000_000))
    job = make(30, client=client, max_cost=10.0, max_in_flight=2)
    with pytest.raises(JobPaused, match="max_cost"):
        job.run()
    assert 9 <= job.status()["cost"] <= 12 and job.status()["cost"] == job.status()["done"] == len(server.requests)
    with pytest.raises(JobPaused, match="max_cost"):
        make(30, client=client, max_cost=10.0).run()
    assert len(server.requests) <= 12
    assert make(30, client=client, max_cost=100.0).run().status()["cost"] == 30
    with pytest.raises(ritellm.InvalidArgumentError, match="catalog"):
        make(30, max_cost=10.0)


class TestCache:
    """A job of a client that keeps answers."""

    PRICES = {"openai/m": {"input": 1.0, "output": 0.0}}  # noqa: RUF012

    @pytest.fixture
    def client(self, server: Server) -> Client:
        return Client(
            limits={"openai": {"rpm": 10_000_000}},
            base_url=server.base_url,
            api_key=KEY,
            catalog=self.PRICES,
            cache=Cache.memory(),
        )

    def test_rows_are_looked_up_and_kept(self, make: Any, server: Server, client: Client, tmp_path: Path) -> None:
        first = client.completion("openai/m", [{"role": "user", "content": "row 3"}])
        records: list[Any] = []
        client.on_call(records.append)
        job = make(20).run()
        assert len(server.requests) == 20 and answers(job) == [f"ROW {number}" for number in range(20)]
        status = job.status()
        assert (status["done"], status["cached"], status["input_tokens"]) == (20, 1, 190)
        assert status["cost"] == pytest.approx(19 * 10e-6)
        metas = [answer.meta for _, answer in job.results(ordered=True)]
        assert [meta.cached for meta in metas] == [number == 3 for number in range(20)]
        assert metas[3].cost == 0 and metas[3].usage.input == 0 and not metas[3].attempts
        assert metas[3].status_code == 200 and first.meta.cost == metas[4].cost
        assert [record.cached for record in records].count(True) == 1
        again = make(20, out=tmp_path / "again").run()
        assert len(server.requests) == 20 and again.status()["cached"] == 20 and not again.status()["cost"]
        assert client.completion("openai/m", [{"role": "user", "content": "row 9"}]).meta.cached
        assert make(20, out=tmp_path / "without", cache=False).run().status()["cached"] == 0
        assert len(server.requests) == 40

    def test_the_same_row_twice_is_one_call(self, make: Any, server: Server) -> None:
        job = make(["same"] * 50).run()
        assert len(server.requests) == 1 and answers(job) == ["SAME"] * 50
        assert job.status()["cached"] == 49

    def test_failures_are_not_kept(self, make: Any, server: Server) -> None:
        server.script = lambda request: refusal(400, "bad")
        job = make(5).run()
        assert len(job.failures()) == 5 and job.status()["cached"] == 0
        server.script = lambda request: Answer(body=completion("Hi"))
        job.retry_failed()
        assert answers(job) == ["Hi"] * 5

    def test_answers_that_have_to_fit(self, make: Any, server: Server, tmp_path: Path) -> None:
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
        texts = iter(['{"a": "no"}', '{"a": 1}'])
        server.script = lambda request: Answer(body=completion(next(texts)))
        given = {"response_format": schema}
        job = make(["x"], **given).run()
        assert len(server.requests) == 2 and [answer.parsed for _, answer in job.results()] == [{"a": 1}]
        job = make(["x"], out=tmp_path / "again", **given).run()
        assert len(server.requests) == 2 and [answer.parsed for _, answer in job.results()] == [{"a": 1}]
        assert job.status()["cost"] == 0

    def test_a_router(self, make: Any, server: Server, tmp_path: Path) -> None:
        deployments = [{"model": f"openai/{name}", "base_url": server.base_url, "api_key": KEY} for name in "mn"]
        router = Router({"main": deployments}, cache=Cache.memory())
        router.completion("main", [{"role": "user", "content": "row 3"}])
        assert make(5, client=router, model="main").run().status()["cached"] == 1
        assert make(5, client=router, model="main", out=tmp_path / "again").run().status()["cached"] == 5
        assert len(server.requests) == 5

    def test_embeddings(self, client: Client, server: Server, tmp_path: Path) -> None:
        def script(request: Request) -> Answer:
            given = request.json["input"]
            texts = given if isinstance(given, list) else [given]
            data = [{"object": "embedding", "index": at, "embedding": [len(text)]} for at, text in enumerate(texts)]
            usage = {"prompt_tokens": 1, "total_tokens": 1}
            return Answer(body=json.dumps({"object": "list", "data": data, "model": "m", "usage": usage}).encode())

        server.script = script
        client.embedding("openai/m", ["a", "bb"])
        rows = [{"text": text} for text in ("a", "bb", "ccc")]
        job = ritellm.bulk(rows, model="openai/m", endpoint="embedding", input="{text}", client=client).run()
        assert [answer.data[0].embedding for _, answer in job.results(ordered=True)] == [[1], [2], [3]]
        assert job.status()["cached"] == 2 and len(server.requests) == 2

    def test_calls_and_jobs_share_a_redis(self, make: Any, server: Server, tmp_path: Path) -> None:
        with Processes() as processes:
            redis = processes.redis()
            client = Client(base_url=server.base_url, api_key=KEY, cache=Cache.redis(redis.url))
            for number in range(4):
                job = make(3, client=client, out=tmp_path / str(number)).run()
                client.completion("openai/m", [{"role": "user", "content": "row 1"}])
            assert job.status()["cached"] == 3
            assert len(server.requests) <= 6
            # One connection for calls, and one for each job.
            assert int(redis.command("INFO", "stats").split(b"total_connections_received:")[1].split()[0]) <= 8


class TestBudget:
    """A job of a client with a budget."""

    def client(self, server: Server, amount: float, **more: Any) -> Client:
        given = {
            "catalog": {"openai/m": {"input": 1e6, "output": 0.0}},
            "limits": {"openai": {"rpm": 10_000_000}},
            "base_url": server.base_url,
            "api_key": KEY,
        }
        return Client(budget=Budget(amount, key=uuid.uuid4().hex), **{**given, **more})

    def test_a_job_pauses_and_goes_on(self, make: Any, server: Server) -> None:
        client = self.client(server, 100.0)
        job = make(30, client=client, max_in_flight=4)
        with pytest.raises(JobPaused, match=r"budget .* of 100 US dollars would be exceeded") as paused:
            job.run()
        assert paused.value.code == "cost" and isinstance(paused.value.__cause__, ritellm.BudgetExceededError)
        # 10 US dollars a row; what is set aside for one is more.
        assert job.status()["done"] == len(server.requests) and 5 <= len(server.requests) <= 10
        assert not job.failures() and job.status()["cost"] <= 100
        sent = len(server.requests)
        assert make(30, client=self.client(server, 1000.0)).run().status()["done"] == 30
        assert len(server.requests) == 30 > sent

    def test_what_is_set_aside_for_others_is_waited_for(self, make: Any, server: Server) -> None:
        """All rows together may cost more than there is, and do not: 11 US dollars are set aside for each, and 10 spent."""
        client = self.client(server, 302.0)
        job = make(30, client=client, max_in_flight=30).run()
        assert job.status()["done"] == len(server.requests) == 30 and job.status()["cost"] == 300
        # What the budget did not let go was no attempt.
        assert {answer.meta.retries for _, answer in job.results()} == {0}

    def test_a_model_without_a_price(self, make: Any, server: Server) -> None:
        client = self.client(server, 100.0, catalog={"openai/other": {"input": 1.0}})
        with pytest.raises(JobPaused, match="no price for openai/m"):
            make(5, client=client).run()
        assert not server.requests

    def test_rows_that_are_tried_again(self, make: Any, server: Server) -> None:
        times = Counter[str]()

        def script(request: Request) -> Answer:
            times[asked(request)] += 1
            return refusal(503, "busy") if times[asked(request)] == 1 else Answer(body=completion("Hi"))

        server.script = script
        key = uuid.uuid4().hex
        client = self.client(server, 1.0).with_options(budget=Budget(1000, key=key))
        job = make(2, client=client).run()
        assert job.status()["done"] == 2 and len(server.requests) == 4
        assert Budget(1000, key=key).spent() == 20, "each attempt sets aside and settles"


def test_a_router_makes_the_calls(make: Any, server: Server) -> None:
    broken = Server()
    broken.answer(refusal(500, "broken"))
    given = {"api_key": KEY, "limits": {"rpm": 10_000_000}}
    deployments = [
        ritellm.Deployment("openai/m", base_url=server.base_url, name="well", **given),
        ritellm.Deployment("openai/m", base_url=broken.base_url, name="broken", **given),
    ]
    client = Client(limits={"openai": {"rpm": 10_000_000}})
    router = ritellm.Router({"fast": deployments}, strategy="ordered", client=client)
    job = make(50, client=router, model="fast").run()
    assert len(answers(job)) == 50 and job.failures() == []
    assert {answer.meta.attempts[-1]["deployment"] for _, answer in job.results()} == {"well"}
    with pytest.raises(ritellm.InvalidArgumentError, match="fast"):
        make(1, client=router, model="slow")
    broken.close()


def test_an_outage_is_waited_for(make: Any, server: Server) -> None:
    down = True
    server.script = lambda request: refusal(503, "down") if down else Answer(body=completion(asked(request)))
    job = make(20, max_attempts=1).start()
    eventually(lambda: job.status()["state"] == "outage", "the outage")
    assert "down" in job.status()["reason"]
    down = False
    assert job.wait(PATIENCE)
    assert (len(answers(job)), job.failures()) == (20, [])


def test_an_outage_without_connections_is_waited_for(make: Any) -> None:
    gone = Server()
    gone.close()
    job = make(12, base_url=gone.base_url, api_key=KEY, max_attempts=1).start()
    eventually(lambda: job.status()["state"] == "outage", "the outage")
    assert "cannot connect" in job.status()["reason"] and job.status()["failed"] == 0
    job.cancel()
    with pytest.raises(JobPaused, match="Go on with"):
        job.wait(PATIENCE)


def test_results_come_while_the_job_runs(make: Any, server: Server) -> None:
    server.script = lambda request: Answer(body=completion(asked(request)), before=[Pause(0.02)])
    job = make(20, max_in_flight=1).start()
    first, _ = next(iter(job.results()))
    assert first == {"text": "row 0"} and job.status()["state"] == "running"
    assert len(answers(job)) == 20
    assert job.wait()
    job.cancel()


async def test_awaited_and_cancelled(make: Any, server: Server) -> None:
    job = await make(20).arun(progress=False)
    assert job.status()["done"] == 20
    server.script = lambda request: Answer(body=completion(asked(request)), before=[Pause(0.05)])
    job = make(100, max_in_flight=2, on_change="rerun", temperature=1)
    task = asyncio.ensure_future(job.arun(progress=False))
    while job.status()["state"] == "new" or not job.status()["done"]:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(JobPaused):
        job.wait(PATIENCE)
    assert job.status()["state"] == "paused"
    assert job.status()["done"] == len(server.requests) - 20 < 100


def test_a_second_process_is_told_who_has_the_job(make: Any, server: Server) -> None:
    server.script = lambda request: Answer(body=completion(asked(request)), before=[Pause(0.2)])
    job = make(4, max_in_flight=1).start()
    eventually(lambda: bool(server.requests), "the first call")
    with pytest.raises(ritellm.JobLocked) as raised:
        make(4).run()
    assert raised.value.pid == os.getpid()
    assert job.wait(PATIENCE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_job_belongs_to_its_process(make: Any) -> None:
    job = make(3).run()
    pid = os.fork()
    if pid == 0:
        try:
            job.status()
        except ritellm.InvalidArgumentError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert job.status()["done"] == 3


def test_ctrl_c_lets_calls_land(server: Server, tmp_path: Path) -> None:
    source, out = tmp_path / "rows.jsonl", tmp_path / "job"
    source.write_text("".join(json.dumps({"text": f"row {number}"}) + "\n" for number in range(200)))
    server.script = lambda request: Answer(body=completion(asked(request)), before=[Pause(0.1)])
    command = [sys.executable, str(WORKER), str(source), str(out), server.base_url, "4"]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    server.wait_for_requests(10)
    worker.send_signal(signal.SIGINT)
    _, errors = worker.communicate(timeout=PATIENCE)
    assert worker.returncode == -signal.SIGINT or worker.returncode == 1
    assert "Go on with" in errors and "KeyboardInterrupt" in errors
    made = len(server.requests)
    assert made < 30 and all(request.done.is_set() and not request.gone.is_set() for request in server.requests)
    server.script = lambda request: Answer(body=completion(asked(request)))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    # What was in flight has landed: no row was called twice.
    assert len(server.requests) == 200


def test_an_estimate_is_of_all_rows(client: Client, tmp_path: Path) -> None:
    """Files are read in blocks, and rows that are in no file have no size: a part of them is not a part of the input."""
    pandas = pytest.importorskip("pandas")
    table = [{"text": f"row {number} of many"} for number in range(30_000)]
    lines = tmp_path / "rows.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in table))
    for rows in (lines, table, pandas.DataFrame(table)):
        job = ritellm.bulk(rows, client=client, model="openai/m", prompt="{text}")
        estimate = job.estimate()
        assert estimate["rows"] == estimate["sampled"] == 30_000
        if rows is not lines:
            assert job.estimate(sample=10)["rows"] == 30_000
    # Rows of one length are an exact part of a file, of which a block was read.
    lines.write_text("".join(json.dumps({"text": f"row {number:05}"}) + "\n" for number in range(30_000)))
    for sample in (10, 20_001):
        found = ritellm.bulk(lines, client=client, model="openai/m", prompt="{text}").estimate(sample=sample)
        assert (found["rows"], found["sampled"]) == (30_000, sample)
    lines.write_text("".join(json.dumps(row) + "\n" for row in table[:2000]))
    assert ritellm.bulk(lines, client=client, model="openai/m", prompt="{text}").estimate(sample=10)["rows"] == 2000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the names of threads are read from /proc")
def test_a_reader_that_was_left_behind_counts_no_rows(make: Any, server: Server) -> None:
    def readers() -> int:
        names = Path("/proc/self/task").glob("*/comm")
        return sum(name.read_text().strip() == "ritellm-rows" for name in names)

    begun, goes_on = threading.Event(), threading.Event()
    calls = itertools.count()

    def prompt(row: dict[str, Any]) -> str:
        # The rows are looked through before the run.
        if next(calls) == 3:
            begun.set()
            goes_on.wait(PATIENCE)
        return str(row["text"])

    job = make(3, prompt=prompt).start()
    assert begun.wait(PATIENCE)
    job.cancel(now=True)
    with pytest.raises(JobPaused):
        job.wait()
    assert readers() == 1
    job.run(progress=False)
    goes_on.set()
    eventually(lambda: readers() == 0)
    status = job.status()
    assert (status["read"], status["done"], len(server.requests)) == (3, 3, 3)


def test_the_command_says_where_the_reasons_of_failures_are(
    server: Server, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.script = lambda request: refusal(400, "invalid") if asked(request) == "a" else Answer(body=completion("b"))
    rows, out = tmp_path / "rows.jsonl", str(tmp_path / "labels")
    rows.write_text('{"text": "a"}\n{"text": "b"}\n')
    run = ["bulk", str(rows), "-m", "openai/m", "--prompt", "{text}", "-o", out]
    assert command(run) == 1
    assert f"1 row has failed: `ritellm bulk export {out}`" in capfd.readouterr().err
    assert command([*run, "-q"]) == 1 and "export" not in capfd.readouterr().err


def test_a_small_cost_is_no_zero() -> None:
    from ritellm._progress import dollars

    assert [dollars(cost) for cost in (0.0043, 12.3456)] == ["$0.0043", "$12.35"]


def test_the_command_with_a_file_of_settings(
    server: Server, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client's file serves as well as a router's, and to look at a job neither it nor a key is needed."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    rows, out = tmp_path / "rows.jsonl", str(tmp_path / "labels")
    rows.write_text('{"text": "a"}\n{"text": "b"}\n')
    place = f'api_key = "{KEY}"\nbase_url = "{server.base_url}"\n'
    settings, router = tmp_path / "client.toml", tmp_path / "router.toml"
    settings.write_text(f'{place}catalog = {{ "openai/m" = {{ input = 1, output = 1 }} }}\n')
    router.write_text(f'[[groups.fast]]\nmodel = "openai/m"\n{place}')
    run = ["bulk", str(rows), "--prompt", "{text}", "-q", "-o"]
    assert command([*run, out, "-c", str(settings), "-m", "openai/m", "--max-cost", "9"]) == 0
    monkeypatch.setenv("RITELLM_CONFIG", str(settings))
    assert command([*run, f"{out}-2", "-m", "openai/m", "--max-cost", "9"]) == 0
    monkeypatch.delenv("RITELLM_CONFIG")
    assert command([*run, f"{out}-3", "-c", str(router), "-m", "fast"]) == 0
    for folder in (out, f"{out}-2", f"{out}-3"):
        capfd.readouterr()
        assert command(["bulk", "status", folder, "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["done"] == 2
        assert command(["bulk", "export", folder, f"{folder}.jsonl"]) == 0
        assert len(Path(f"{folder}.jsonl").read_text().splitlines()) == 2
        with pytest.raises(ritellm.InvalidArgumentError, match="to_parquet"):
            ritellm.Job.open(folder, client=Client.from_file(settings), model="openai/m", on_change="rerun").export(
                "a.parquet"
            )


def test_the_command(server: Server, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    rows, out = tmp_path / "rows.jsonl", tmp_path / "labels"
    rows.write_text('{"text": "a"}\n{"text": "b"}\n')
    run = ["bulk", str(rows), "-m", "openai/m", "--prompt", "{text}", "-o", str(out), "--param", "temperature=0"]
    assert command(["bulk", "estimate", str(rows), "-m", "openai/m", "--prompt", "{text}", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["rows"] == 2
    assert command([*run, "-q"]) == 0 and "done:" in capfd.readouterr().out
    assert server.last.json["temperature"] == 0
    assert command(run) == 0 and len(server.requests) == 2
    assert command(["bulk", "status", str(out), "--json"]) == 0
    capfd.readouterr()
    assert command(["bulk", "export", str(out), str(tmp_path / "out.jsonl")]) == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["response"]["body"]["choices"][0]["message"]["content"] for line in lines] == ["A", "B"]
    assert command(["bulk", "retry", str(out), "--param", "temperature=0"]) == 0
    assert command(["bulk", "status", str(tmp_path)]) == 1


def test_what_an_outcome_survives_is_one_of_two(make: Any) -> None:
    """What the package has for folders that are thrown away is nobody else's."""
    for wrong in ("unsynced", "disk", "", 1):
        with pytest.raises(ritellm.InvalidArgumentError, match=f"durability is {wrong!r}: .* would be right"):
            make(1, durability=wrong)


def test_a_killed_job_goes_on(server: Server, tmp_path: Path) -> None:
    kill(server, tmp_path, rows=400, kills=6, max_in_flight=8, seed=1)


@pytest.mark.long
def test_two_hundred_kills(server: Server, tmp_path: Path) -> None:
    kill(server, tmp_path, rows=20_000, kills=200, max_in_flight=32, seed=2)


def wait_for(server: Server, worker: subprocess.Popen[str], requests: int) -> None:
    """Waits until so many requests have come, or the worker has ended."""
    eventually(lambda: len(server.requests) >= requests or worker.poll() is not None, "the row before the kill")


def kill(server: Server, folder: Path, *, rows: int, kills: int, max_in_flight: int, seed: int) -> None:
    """Kills a job at random points. In the end each row has one outcome, and few were called twice."""
    source, out = folder / "rows.jsonl", folder / "job"
    source.write_text("".join(json.dumps({"text": f"row {number}"}) + "\n" for number in range(rows)))
    chance = random.Random(seed)
    server.script = lambda request: Answer(
        body=completion(asked(request)), before=[Pause(chance.expovariate(1 / 0.005))]
    )
    killed = 0
    # The last run is not killed.
    for points in [*sorted(chance.sample(range(rows), kills)), None]:
        worker = subprocess.Popen(
            [sys.executable, str(WORKER), str(source), str(out), server.base_url, str(max_in_flight)],
            stdout=subprocess.PIPE,
            text=True,
        )
        if points is None:
            output, _ = worker.communicate(timeout=PATIENCE * 20)
            assert worker.returncode == 0 and output.split()[-2:] == ["done", str(rows)]
            continue
        wait_for(server, worker, points)
        time.sleep(chance.random() / 100)
        worker.send_signal(signal.SIGKILL)
        killed += worker.wait() == -signal.SIGKILL
        worker.stdout.close()
    assert killed > kills / 2
    calls = Counter(map(asked, server.requests))
    assert calls.keys() == {f"Say: row {number}" for number in range(rows)}
    assert calls.total() - rows <= killed * max_in_flight, f"{calls.total() - rows} calls too many after {killed} kills"
    client = Client(base_url=server.base_url, api_key=KEY)
    job = ritellm.bulk(source, model="openai/m", prompt="Say: {text}", out=out, client=client)
    assert answers(job) == [f"Say: row {number}" for number in range(rows)]


def test_one_row_of_each_prefix_goes_first(client: Client, server: Server, tmp_path: Path) -> None:
    """A server that bills cached tokens as OpenAI does: the first of each prefix pays for it, and no other."""
    cached: set[str] = set()
    arrived: list[tuple[str, bool]] = []

    def script(request: Request) -> Answer:
        prefix = str(request.json["messages"][0]["content"])
        is_hit = prefix in cached
        arrived.append((prefix[0], is_hit))
        if not is_hit:
            # It is cached shortly before its answer is there, not when it arrives.
            threading.Timer(0.05, cached.add, [prefix]).start()
        body = json.loads(completion("ok", prompt_tokens=1600, total_tokens=1602))
        body["usage"]["prompt_tokens_details"] = {"cached_tokens": 1500 * is_hit}
        return Answer(before=[] if is_hit else [Pause(0.15)], body=json.dumps(body).encode())

    server.script = script
    messages = [{"role": "system", "content": "{long}"}, {"role": "user", "content": "{text}"}]
    rows = [{"text": str(number), "long": letter * 6000} for number in range(10) for letter in "ab"]
    job = ritellm.bulk(
        rows, model="openai/m", messages=messages, warm_prefix=True, client=client, out=tmp_path / "warm"
    )
    job.run(progress=False)
    assert Counter(arrived) == {("a", False): 1, ("b", False): 1, ("a", True): 9, ("b", True): 9}
