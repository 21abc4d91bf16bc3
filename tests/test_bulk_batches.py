"""Jobs through batches, end to end, against a provider that counts what is bought."""

from __future__ import annotations

import contextvars
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_provider import BatchProvider, completion, text_of
from server import Answer, Reset, Server

import ritellm
from ritellm import BadRequestError, Client, JobPaused, _batch_run, _batch_state, _hooks
from ritellm.__main__ import main as command

KEY = "key-of-a-test"
MODELS = {
    "openai": "openai/gpt-x",
    "azure": "azure/deployed",
    "anthropic": "anthropic/claude-haiku-4-5",
    "gemini": "gemini/gemini-2.5-flash",
}
WIRES = sorted(MODELS)
Rows = list[dict[str, Any]]


@pytest.fixture
def provider() -> BatchProvider:
    return BatchProvider()


@pytest.fixture
def server(provider: BatchProvider) -> Iterator[Server]:
    server = Server()
    server.script = provider.script
    yield server
    server.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that are short, as the batches here are."""
    for name in ("POLL", "LOOK", "BLOCK", "TROUBLE"):
        monkeypatch.setattr(_batch_state, name, (0.001, 0.01))
    monkeypatch.setattr(_batch_state, "GRACE", 0.05)


def options(server: Server, wire: str, **settings: Any) -> dict[str, Any]:
    """The arguments of a job at a wire of the server, and settings of its client."""
    base_urls = {"openai": f"{server.url}/v1", "gemini": f"{server.url}/v1beta"}
    extra = {"max_tokens": 50} if wire == "anthropic" else {}
    client = Client(api_key=KEY, base_url=base_urls.get(wire, server.url), **settings)
    return {"model": MODELS[wire], "prompt": "{text}", "mode": "batch", "client": client, **extra}


def table(count: int) -> Rows:
    return [{"text": f"row {number}"} for number in range(count)]


def texts(job: ritellm.Job) -> dict[str, str]:
    return {row["text"]: answer.choices[0].message.content for row, answer in job.results(ordered=True)}


class TestHooks:
    """Records of rows: those of each provider are in `TestEveryProvider`."""

    def test_a_row_that_is_not_sent(self, server: Server, provider: BatchProvider, tmp_path: Path) -> None:
        records: list[Any] = []
        given = options(server, "openai")
        given["client"].on_call(records.append)
        rows = [{"text": "a"}, {"other": "b"}]
        job = ritellm.bulk(rows, out=tmp_path / "out", **given).run()
        assert _hooks.flush(20)
        assert (len(job.failures()), [len(batch.rows) for batch in provider.batches.values()]) == (1, [1])
        of_rows = sorted((record for record in records if record.row is not None), key=lambda record: record.row)
        answered, failed = of_rows
        assert (answered.outcome, failed.outcome, failed.row) == ("success", "failed", 1)
        assert type(failed.error) is type(job.failures()[0].error) and failed.started > 1e9

    def test_rows_wait_for_hooks(self, server: Server, tmp_path: Path) -> None:
        """The results of a batch come all at once: more than may wait for hooks."""
        seen: list[int] = []
        freed = threading.Event()

        def hook(record: Any) -> None:
            if record.row is not None:
                if not seen:
                    threading.Timer(1.5, freed.set).start()
                    freed.wait(60)
                seen.append(record.row)

        given = options(server, "openai")
        given["client"].on_call(hook)
        ritellm.bulk(table(12_000), out=tmp_path / "out", **given).run()
        assert _hooks.flush(60)
        assert given["client"].stats()["hooks"]["dropped"] == 0
        assert sorted(seen) == list(range(12_000))


@pytest.mark.parametrize("wire", WIRES)
class TestEveryProvider:
    def test_hooks_get_a_record_of_each_row(
        self, wire: str, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        refused = {"anthropic": (400, "invalid_request_error"), "gemini": (3, "INVALID_ARGUMENT")}
        fates: dict[str, Any] = {"row 1": refused.get(wire, (400, "invalid_value")), "row 2": "missing"}
        provider.fate = lambda number, text, body: fates.get(text, "answer") if number == 0 else "answer"
        seen: list[Any] = []
        given = options(server, wire, tags={"team": "a"}, catalog={MODELS[wire]: {"input": 1.0, "output": 2.0}})
        client = given["client"]
        name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="-")
        client.on_call(lambda record: seen.append((name.get(), threading.current_thread().name, record)), content=True)
        name.set("of the job")
        begun = time.time()
        job = ritellm.bulk(table(4), out=tmp_path / "out", **given).run()
        assert _hooks.flush(20)
        # Uploads and looks are calls as well.
        of_rows = [one for one in seen if one[2].row is not None]
        assert {(own, thread) for own, thread, _ in of_rows} == {("of the job", "ritellm-hooks")}
        records = sorted((record for *_, record in of_rows), key=lambda record: record.row)
        assert [(record.row, record.outcome, record.retries) for record in records] == [
            (0, "success", 0),
            (1, "failed", 0),
            (2, "success", 1),
            (3, "success", 0),
        ]
        answered, failed = records[0], records[1]
        provider_model = MODELS[wire].partition("/")[2]
        assert {(one.operation, one.model, one.provider, one.provider_model) for one in records} == {
            ("chat", MODELS[wire], wire, provider_model)
        }
        assert (answered.status_code, answered.finish_reasons, answered.tags) == (200, ["stop"], {"team": "a"})
        assert answered.response_model and answered.input == [{"role": "user", "content": "row 0"}]
        assert answered.output.choices[0].message.content == "ROW 0" and answered.host == f"127.0.0.1:{server.port}"
        assert (answered.usage.input, answered.usage.output, answered.cost) == (10, 2, pytest.approx(7e-6))
        assert type(failed.error) is BadRequestError and (failed.usage, failed.cost) == (None, None)
        assert sum(record.cost or 0 for record in records) == pytest.approx(job.status()["cost"])
        # The provider makes these calls: nobody knows how long each took.
        for record in records:
            assert (record.total, record.waited, record.attempts) == (0, 0, []) and record.started >= int(begun)

    def test_a_job_is_cut_and_its_answers_come_back(
        self, wire: str, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        provider.polls = 2
        job = ritellm.bulk(table(25), out=tmp_path / "out", batch_rows=10, **options(server, wire)).run()
        assert texts(job) == {f"row {number}": f"ROW {number}" for number in range(25)}
        assert [len(batch.rows) for batch in provider.batches.values()] == [10, 10, 5]
        status = job.status()
        assert (status["state"], status["done"], status["failed"], status["pending"]) == ("done", 25, 0, 0)
        assert [(one["id"], one["state"], one["rows"]) for one in status["batches"]] == [
            (id, "completed", len(batch.rows)) for id, batch in provider.batches.items()
        ]
        assert status["input_tokens"], status["output_tokens"] == (250, 50)
        assert set(provider.bought.values()) == {1}
        # Nothing is left but the state, in which there is no key.
        assert os.listdir(tmp_path / "out" / "batches") == ["state.json"]
        for path in (tmp_path / "out").rglob("*"):
            assert path.is_dir() or KEY.encode() not in path.read_bytes(), path

    def test_each_end_of_a_row_is_its_outcome(
        self, wire: str, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        refusal = {"anthropic": (400, "invalid_request_error"), "gemini": (3, "INVALID_ARGUMENT")}
        passing = {"anthropic": (529, "overloaded_error"), "gemini": (14, "UNAVAILABLE")}
        fates: dict[str, Any] = {
            "row 1": refusal.get(wire, (400, "invalid_value")),
            "row 2": passing.get(wire, (503, "server_error")),
        }
        if wire != "gemini":
            fates |= {"row 3": "expired", "row 4": "cancelled", "row 5": "missing"}
        provider.fate = lambda number, text, body: fates.get(text, "answer") if number == 0 else "answer"
        job = ritellm.bulk(table(8), out=tmp_path / "out", **options(server, wire)).run()
        # What may pass goes into the next batch; what was refused or cancelled does not.
        failures = {failure.row["text"]: type(failure.error).__name__ for failure in job.failures()}
        assert failures == {"row 1": "BadRequestError", **({"row 4": "ConflictError"} if wire != "gemini" else {})}
        again = ["row 2"] if wire == "gemini" else ["row 2", "row 3", "row 5"]
        assert [len(batch.rows) for batch in provider.batches.values()] == [8, len(again)]
        assert len(texts(job)) == 8 - len(failures)
        assert {text: provider.bought[text] for text in again} == dict.fromkeys(again, 1)
        # They run again when that is asked for.
        job.retry_failed()
        assert job.failures() == [] and len(texts(job)) == 8
        assert set(provider.bought.values()) == {1}

    def test_one_that_is_refused_waits_for_the_others(
        self, wire: str, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        provider.polls, provider.max_enqueued = 8, 10
        job = ritellm.bulk(table(30), out=tmp_path / "out", batch_rows=10, **options(server, wire)).run()
        assert len(texts(job)) == 30 and job.failures() == []
        assert provider.calls["create"] > 3 and set(provider.bought.values()) == {1}

    def test_lost_answers_to_the_creation(
        self, wire: str, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        """The provider has the batch, and the connection breaks: it is found, and not bought twice."""
        made = 0

        def script(request: Any) -> Answer:
            nonlocal made
            before = len(provider.batches)
            answer = provider.script(request)
            if len(provider.batches) > before:
                made += 1
                if made in (1, 3):
                    return Answer(before=[Reset()])
                if made == 2:
                    return Answer(503, body=b"{}")
            return answer

        server.script = script
        job = ritellm.bulk(table(30), out=tmp_path / "out", batch_rows=10, **options(server, wire)).run()
        assert len(texts(job)) == 30 and len(provider.batches) == 3
        assert set(provider.bought.values()) == {1}


class Killed(Exception):
    """The process has ended, as far as the folder and the provider can tell."""


def dies_at(point: int) -> tuple[Any, list[str]]:
    """A function that raises at a point of a run, and the points so far."""
    points: list[str] = []

    def fault(name: str) -> None:
        points.append(name)
        if len(points) == point:
            raise Killed(name)

    return fault, points


def fates_of_all(wire: str) -> Any:
    """One row of each fate in the first batch."""
    fates: dict[str, Any] = {"row 1": (503, "server_error")}
    if wire == "anthropic":
        fates = {"row 1": (529, "overloaded_error")}
    if wire == "gemini":
        fates = {"row 1": (14, "UNAVAILABLE")}
    else:
        fates["row 2"] = "expired"
    return lambda number, text, body: fates.get(text, "answer") if number == 0 else "answer"


@pytest.mark.parametrize("wire", WIRES)
class TestKills:
    """A run that ends anywhere, once: in the end each row has one outcome, and was bought once."""

    def job_dies_at(self, point: int, wire: str, server: Server, out: Path) -> tuple[ritellm.Job, list[str]]:
        fault, points = dies_at(point)
        arguments: dict[str, Any] = {"out": out, "batch_rows": 4, **options(server, wire)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_batch_run, "FAULT", fault)
            patch.setattr(os, "fsync", lambda file: None)
            try:
                return ritellm.bulk(table(6), **arguments).run(), points
            except Killed:
                pass
            patch.setattr(_batch_run, "FAULT", None)
            return ritellm.bulk(table(6), **arguments).run(), points

    def each(self, wire: str, server: Server, tmp_path: Path, points: range) -> int:
        for point in points:
            provider = BatchProvider()
            provider.fate, provider.polls = fates_of_all(wire), 2
            server.script = provider.script
            job, passed = self.job_dies_at(point, wire, server, tmp_path / str(point))
            assert texts(job) == {f"row {number}": f"ROW {number}" for number in range(6)}, passed
            assert job.failures() == [], passed
            assert set(provider.bought.values()) == {1} and len(provider.bought) == 6, (point, passed)
            if len(passed) < point:
                return point
        return points.stop

    def test_at_some_points(self, wire: str, server: Server, tmp_path: Path) -> None:
        first = WIRES.index(wire) + 1
        self.each(wire, server, tmp_path, range(first, 60, 9))

    @pytest.mark.long
    def test_at_every_point(self, wire: str, server: Server, tmp_path: Path) -> None:
        assert 30 < self.each(wire, server, tmp_path, range(1, 200)) < 200

    def test_a_list_that_lags_behind(self, wire: str, server: Server, provider: BatchProvider, tmp_path: Path) -> None:
        """Killed after the creation: the list does not have the batch at first."""
        provider.hide = 2
        names: list[str] = []

        def fault(name: str) -> None:
            names.append(name)
            if name == "after create":
                raise Killed(name)

        arguments: dict[str, Any] = {"out": tmp_path / "out", **options(server, wire)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_batch_run, "FAULT", fault)
            with pytest.raises(Killed):
                ritellm.bulk(table(3), **arguments).run()
        job = ritellm.bulk(table(3), **arguments).run()
        assert len(provider.batches) == 1 and len(texts(job)) == 3


WORKER = textwrap.dedent("""
    import os, signal, sys
    import ritellm
    from ritellm import _batch_run, _batch_state

    out, base_url, model, at = sys.argv[1:]
    for name in ("POLL", "LOOK", "BLOCK", "TROUBLE"):
        setattr(_batch_state, name, (0.001, 0.01))
    _batch_state.GRACE = 0.1
    left = int(at)

    def fault(name):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    _batch_run.FAULT = fault
    client = ritellm.Client(api_key="k", base_url=base_url)
    job = ritellm.bulk(
        [{"text": f"row {number}"} for number in range(30)],
        model=model, prompt="{text}", mode="batch", batch_rows=10, out=out, client=client, max_tokens=50,
    )
    job.run(progress=False)
    print(job.status()["done"], len(job.failures()))
""")


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_processes_that_are_killed(wire: str, server: Server, provider: BatchProvider, tmp_path: Path) -> None:
    """SIGKILL, again and again, each run a few steps further."""
    provider.polls = 2
    base_url = f"{server.url}/v1" if wire == "openai" else server.url
    arguments = [sys.executable, "-c", WORKER, str(tmp_path / "out"), base_url, MODELS[wire]]
    codes = []
    for at in (3, 9, 8, 12, 17, 0):
        done = subprocess.run([*arguments, str(at)], capture_output=True, text=True, timeout=120)
        codes.append(done.returncode)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert codes[:2] == [-signal.SIGKILL] * 2
    assert done.stdout.split() == ["30", "0"], done.stderr
    assert len(provider.bought) == 30 and set(provider.bought.values()) == {1}


# What a job does besides.


class TestJobs:
    def test_answers_that_do_not_fit_are_asked_for_again(
        self, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        """In the next batch, with what is wrong."""
        schema = {"type": "object", "properties": {"kind": {"enum": ["bug", "praise"]}}, "required": ["kind"]}

        def reply(text: str, body: dict[str, Any]) -> str:
            said = [message["content"] for message in body["messages"]]
            if any("does not fit the schema" in words for words in said) and "row 2" not in said[0]:
                return '{"kind": "bug"}'
            return '{"kind": "praise"}' if "row 0" in said[0] else '{"kind": "neither"}'

        provider.reply = reply
        arguments = options(server, "openai") | {"prompt": "{text}", "response_format": schema}
        job = ritellm.bulk(table(3), out=tmp_path / "out", **arguments).run()
        assert [len(batch.rows) for batch in provider.batches.values()] == [3, 2]
        assert {row["text"]: answer.parsed for row, answer in job.results()} == {
            "row 0": {"kind": "praise"},
            "row 1": {"kind": "bug"},
        }
        (failure,) = job.failures()
        assert failure.row["text"] == "row 2" and isinstance(failure.error, ritellm.OutputValidationError)
        lines = [json.loads(line) for line in (tmp_path / "out/segments/00001.jsonl").read_text().splitlines()]
        # The usage of both answers.
        assert {line["ritellm"]["row"]: line["ritellm"]["usage"]["input"] for line in lines} == {0: 10, 1: 20, 2: 20}

    def test_cost_is_half_and_max_cost_is_kept(self, server: Server, provider: BatchProvider, tmp_path: Path) -> None:
        catalog = {"openai/gpt-x": {"input": 10_000, "output": 20_000}}
        client = Client(api_key=KEY, base_url=f"{server.url}/v1", catalog=catalog)
        # An answer costs (10 × 0.01 + 2 × 0.02) ÷ 2 = 0.07; a row is expected to need some 30 tokens.
        arguments = options(server, "openai") | {"client": client, "max_tokens": 2}
        job = ritellm.bulk(table(10), out=tmp_path / "out", **arguments)
        estimate = job.estimate()
        expected = estimate["cost"]
        assert expected == pytest.approx((estimate["input_tokens"] * 0.01 + estimate["output_tokens"] * 0.02) / 2)
        job.run()
        assert job.status()["cost"] == pytest.approx(0.7)
        job = ritellm.bulk(table(10), out=tmp_path / "other", max_cost=expected / 2, **arguments)
        with pytest.raises(JobPaused, match="of max_cost are left") as paused:
            job.run()
        assert paused.value.code == "cost"
        assert 0 < job.status()["cost"] <= expected / 2
        done = job.status()["done"]
        assert 0 < done < 10 and job.status()["pending"] == 10 - done
        # With more, it goes on.
        job = ritellm.bulk(table(10), out=tmp_path / "other", max_cost=100, **arguments).run()
        assert job.status()["done"] == 10 and set(provider.bought.values()) == {2}

    def test_iterators_are_read_once(self, server: Server, provider: BatchProvider, tmp_path: Path) -> None:
        arguments = {"out": tmp_path / "out", "id_column": "text", "batch_rows": 4, **options(server, "openai")}
        job = ritellm.bulk(iter(table(10)), **arguments).run()
        answers = {row["custom_id"]: answer.choices[0].message.content for row, answer in job.results()}
        assert answers == {f"row {number}": f"ROW {number}" for number in range(10)}
        # The same rows again are not bought again.
        ritellm.bulk(iter(table(11)), **arguments).run()
        assert provider.bought["row 10"] == 1 and set(provider.bought.values()) == {1}

    def test_a_stop_leaves_batches_at_the_provider(
        self, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        provider.polls = 1_000_000
        arguments = {"out": tmp_path / "out", "batch_rows": 3, **options(server, "openai")}
        job = ritellm.bulk(table(5), **arguments).start()
        while job.status()["in_flight"] < 5 or job.status()["batches"][-1]["state"] != "in_progress":
            job.wait(0.01)
        assert job.status()["state"] == "running"
        job.cancel()
        with pytest.raises(JobPaused) as paused:
            job.wait()
        assert paused.value.code == "stopped"
        # From another process.
        seen = ritellm.bulk(table(5), **arguments)
        assert [(one["state"], one["rows"]) for one in seen.status()["batches"]] == [
            ("in_progress", 3),
            ("in_progress", 2),
        ]
        with pytest.raises(ritellm.InvalidArgumentError, match=r"5 rows .* are in 2 batches at the provider"):
            ritellm.bulk(table(5), **{**arguments, "mode": "calls", "batch_rows": None}).run()
        provider.polls = 1
        assert len(texts(seen.run())) == 5
        assert len(provider.batches) == 2 and set(provider.bought.values()) == {1}

    def test_ctrl_c_says_how_to_come_back(
        self, server: Server, provider: BatchProvider, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        provider.polls = 1_000_000
        job = ritellm.bulk(table(5), out=tmp_path / "out", **options(server, "openai"))

        def interrupt() -> dict[str, Any]:
            status = status_of()
            if status["in_flight"] and status["batches"][0]["state"] == "in_progress":
                job.status = status_of  # type: ignore[method-assign]
                raise KeyboardInterrupt
            return status

        status_of = job.status
        job.status = interrupt  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            job.run(progress=False)
        said = capfd.readouterr().err
        assert "1 batch goes on at the provider" in said and "Go on with run() again" in said

    def test_a_row_that_the_provider_refuses_when_it_reads_the_file(
        self, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        error = {"code": "invalid_json_line", "line": 2, "message": "no", "param": None}
        provider.end = lambda number: [error] if number == 0 else "completed"
        job = ritellm.bulk(table(3), out=tmp_path / "out", **options(server, "openai")).run()
        (failure,) = job.failures()
        assert (failure.row["text"], failure.error.code) == ("row 1", "invalid_json_line")
        assert sorted(texts(job)) == ["row 0", "row 2"]

    def test_a_batch_that_is_refused_pauses_the_job(
        self, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        error = {"code": "model_not_found", "line": None, "message": "there is no such model", "param": None}
        provider.end = lambda number: [error] if number == 0 else "completed"
        arguments = {"out": tmp_path / "out", **options(server, "openai")}
        with pytest.raises(JobPaused, match="there is no such model") as paused:
            ritellm.bulk(table(3), **arguments).run()
        assert paused.value.code == "refused"
        job = ritellm.bulk(table(3), **arguments).run()
        # The file is there already.
        assert len(texts(job)) == 3 and provider.calls["upload"] == 1

    def test_a_wrong_key_pauses_the_job(self, server: Server, provider: BatchProvider, tmp_path: Path) -> None:
        server.script = lambda request: Answer(
            401, body=b'{"error": {"message": "wrong key", "code": "invalid_api_key"}}'
        )
        arguments = {"out": tmp_path / "out", **options(server, "openai")}
        with pytest.raises(JobPaused, match="wrong key") as paused:
            ritellm.bulk(table(3), **arguments).run()
        assert isinstance(paused.value.__cause__, ritellm.AuthenticationError)
        server.script = provider.script
        assert len(texts(ritellm.bulk(table(3), **arguments).run())) == 3

    def test_one_that_alone_is_too_large_is_split(
        self, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        provider.max_enqueued = 3
        job = ritellm.bulk(table(10), out=tmp_path / "out", **options(server, "openai")).run()
        assert len(texts(job)) == 10 and set(provider.bought.values()) == {1}

    @pytest.mark.parametrize("end", ["expired", "cancelled"])
    def test_partial_results(self, end: str, server: Server, provider: BatchProvider, tmp_path: Path) -> None:
        provider.end = lambda number: end
        provider.fate = lambda number, text, body: "answer" if text < "row 2" else end
        job = ritellm.bulk(table(4), out=tmp_path / "out", max_attempts=2, **options(server, "openai")).run()
        assert sorted(texts(job)) == ["row 0", "row 1"]
        failures = {
            failure.row["text"]: (type(failure.error).__name__, failure.error.code) for failure in job.failures()
        }
        name = {"expired": "Timeout", "cancelled": "ConflictError"}[end]
        assert failures == dict.fromkeys(["row 2", "row 3"], (name, f"batch_{end}"))
        assert len(provider.batches) == {"expired": 2, "cancelled": 1}[end]

    @pytest.mark.parametrize("wire", ["openai", "anthropic"])
    def test_all_rows_of_a_batch_are_refused(
        self, wire: str, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        """A batch that is completed and has no output file: BerriAI/litellm#33987."""
        provider.fate = lambda number, text, body: (400, "invalid_request_error")
        job = ritellm.bulk(table(3), out=tmp_path / "out", **options(server, wire)).run()
        assert {type(failure.error) for failure in job.failures()} == {ritellm.BadRequestError}
        assert job.status()["failed"] == 3

    def test_no_credit_is_no_rows_failure(self, server: Server, provider: BatchProvider, tmp_path: Path) -> None:
        """Each row says that the account has no credit: bespokelabsai/curator#296."""
        words = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade."

        class NoCredit(BatchProvider):
            def line(self, wire: str, id: str, fate: Any, answer: str | None) -> str:
                return super().line(wire, id, fate, answer).replace("refused: invalid_request_error", words)

        poor = NoCredit()
        poor.fate = lambda number, text, body: "answer" if text == "row 0" else (400, "invalid_request_error")
        server.script = poor.script
        arguments = {"out": tmp_path / "out", **options(server, "anthropic")}
        with pytest.raises(JobPaused, match="credit balance") as paused:
            ritellm.bulk(table(3), **arguments).run()
        assert paused.value.code == "refused"
        server.script = provider.script
        job = ritellm.bulk(table(3), **arguments).run()
        assert len(texts(job)) == 3 and provider.bought == {"row 1": 1, "row 2": 1}

    def test_credit_that_is_used_up_before_a_batch(
        self, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        error = {"code": 429, "message": "Your prepayment credits are depleted.", "status": "RESOURCE_EXHAUSTED"}
        server.script = lambda request: Answer(429, body=json.dumps({"error": error}).encode())
        with pytest.raises(JobPaused, match="credits are depleted"):
            ritellm.bulk(table(3), out=tmp_path / "out", **options(server, "gemini")).run()

    def test_results_without_ids_are_matched_with_no_row(
        self, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        """Not by their order, which is any, and they are not bought again: googleapis/python-genai#1886, #1909."""

        class WithoutIds(BatchProvider):
            def line(self, wire: str, id: str, fate: Any, answer: str | None) -> str:
                line = json.loads(super().line(wire, id, fate, answer))
                if answer != "ROW 1":
                    del line["key"]
                return json.dumps(line)

        forgetful = WithoutIds()
        server.script = forgetful.script
        job = ritellm.bulk(table(3), out=tmp_path / "out", **options(server, "gemini")).run()
        assert texts(job) == {"row 1": "ROW 1"}
        assert {failure.error.code for failure in job.failures()} == {"result_without_id"}
        assert len(forgetful.batches) == 1

    def test_a_batch_that_is_unknown_now_and_then(
        self, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        """Three times of four, as often as it is asked for in a day: anthropics/anthropic-sdk-python#1432."""
        looks, provider.polls = 0, 4

        def script(request: Any) -> Answer:
            nonlocal looks
            is_look = request.method == "GET" and "msgbatch_0" in request.target
            looks += is_look
            if is_look and looks % 4:
                error = {"type": "error", "error": {"type": "not_found_error", "message": "no such batch"}}
                return Answer(404, body=json.dumps(error).encode())
            return provider.script(request)

        server.script = script
        job = ritellm.bulk(table(3), out=tmp_path / "out", **options(server, "anthropic")).run()
        assert len(texts(job)) == 3 and len(provider.batches) == 1 and looks == 20

    def test_two_processes(self, server: Server, provider: BatchProvider, tmp_path: Path) -> None:
        provider.polls = 1_000_000
        arguments = {"out": tmp_path / "out", **options(server, "openai")}
        job = ritellm.bulk(table(3), **arguments).start()
        while not provider.batches:
            job.wait(0.01)
        with pytest.raises(ritellm.JobLocked):
            ritellm.bulk(table(3), **arguments).run()
        job.cancel()
        with pytest.raises(JobPaused):
            job.wait()

    def test_rows_of_several_models(self, server: Server, provider: BatchProvider, tmp_path: Path) -> None:
        rows = [
            {"model": f"openai/gpt-{number % 2}", "messages": [{"role": "user", "content": f"row {number}"}]}
            for number in range(7)
        ]
        rows.append({"model": "nobody/x", "messages": []})
        client = options(server, "openai")["client"]
        job = ritellm.bulk(rows, out=tmp_path / "out", mode="batch", client=client, batch_rows=3).run()
        models = [{body["model"] for _, body in batch.rows} for batch in provider.batches.values()]
        assert all(len(names) == 1 for names in models) and len(models) == 3
        assert job.status()["done"] == 7 and len(job.failures()) == 1

    def test_embeddings_and_export(self, server: Server, provider: BatchProvider, tmp_path: Path) -> None:
        vectors = {"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [1, 2]}]}

        class Embeddings(BatchProvider):
            def line(self, wire: str, id: str, fate: Any, answer: str | None) -> str:
                line = json.loads(super().line(wire, id, fate, answer))
                line["response"]["body"] = {**vectors, "usage": {"prompt_tokens": 3, "total_tokens": 3}}
                return json.dumps(line)

        server.script = Embeddings().script
        arguments = options(server, "openai") | {"endpoint": "embedding", "input": "{text}"}
        del arguments["prompt"]
        job = ritellm.bulk(table(3), out=tmp_path / "out", **arguments).run()
        assert [answer.data[0].embedding for _, answer in job.results()] == [[1, 2]] * 3
        assert job.export(tmp_path / "all.jsonl") == {"done": 3, "failed": 0, "missing": 0}

    def test_results_that_are_in_the_batch_although_its_rows_were_in_a_file(
        self, server: Server, tmp_path: Path
    ) -> None:
        """maximhq/bifrost#3951."""

        class Inlined(BatchProvider):
            def gemini_batch(self, batch: Any) -> Any:
                found = super().gemini_batch(batch)
                if found.get("done"):
                    lines = [json.loads(self.line("gemini", *one)) for one in batch.results]
                    lines = [{"metadata": {"key": line.pop("key")}, **line} for line in lines]
                    found["response"] = {"inlinedResponses": {"inlinedResponses": lines}}
                return found

        provider = Inlined()
        server.script = provider.script
        job = ritellm.bulk(table(3), out=tmp_path / "out", **options(server, "gemini")).run()
        assert texts(job) == {f"row {number}": f"ROW {number}" for number in range(3)}

    def test_a_router_has_the_first_deployment_that_can(
        self, server: Server, provider: BatchProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With its address, key, header fields and parameters. The others have no part."""
        monkeypatch.setenv("MISTRAL_API_KEY", "of another")
        seen: list[Any] = []

        def script(request: Any) -> Answer:
            seen.append((request.headers["authorization"], request.headers["x-team"]))
            return provider.script(request)

        server.script = script
        first = {"model": "openai/gpt-x", "base_url": f"{server.url}/v1", "api_key": KEY, "weight": 3, "rpm": 5}
        first |= {"headers": {"x-team": "search"}, "params": {"temperature": 0, "top_p": 0.5}}
        last = {"model": "openai/gpt-y", "base_url": "http://127.0.0.1:9/v1", "api_key": "k"}
        catalog = {"openai/gpt-x": {"input": 10_000, "output": 20_000}}
        router = ritellm.Router({"g": ["mistral/m", first, last]}, fallbacks={}, catalog=catalog, max_retries=0)
        arguments: dict[str, Any] = {"client": router, "model": "g", "prompt": "{text}", "mode": "batch", "top_p": 0.25}
        job = ritellm.bulk(table(3), out=tmp_path / "out", **arguments).run()
        assert len(texts(job)) == 3 and set(seen) == {(f"Bearer {KEY}", "search")}
        (batch,) = provider.batches.values()
        assert {(body["model"], body["temperature"], body["top_p"]) for _, body in batch.rows} == {("gpt-x", 0, 0.25)}
        assert job.status()["cost"] == pytest.approx(3 * 0.07)
        assert job.status()["batches"][0]["model"] == "openai/gpt-x"
        manifest = (tmp_path / "out" / "manifest.json").read_text()
        assert KEY not in manifest and '"openai/gpt-x"' in manifest

    def test_a_host_that_nobody_knows_has_no_price(self, server: Server, tmp_path: Path) -> None:
        catalog = {"openai_compatible/m": {"input": 10_000, "output": 20_000}}
        client = Client(api_key=KEY, base_url=f"{server.url}/v1", catalog=catalog)
        arguments = options(server, "openai") | {"client": client, "model": "openai_compatible/m"}
        job = ritellm.bulk(table(3), out=tmp_path / "out", **arguments)
        assert job.estimate()["cost"] is None
        assert len(texts(job.run())) == 3 and job.status()["cost"] is None
        job = ritellm.bulk(table(3), out=tmp_path / "other", max_cost=100, **arguments)
        with pytest.raises(JobPaused, match="what a batch of openai_compatible/m costs is not known") as paused:
            job.run()
        assert paused.value.code == "cost"

    @pytest.mark.parametrize("wire", WIRES)
    def test_batches_are_cancelled(self, wire: str, server: Server, provider: BatchProvider, tmp_path: Path) -> None:
        """What was answered is taken, and the other rows stay pending, whatever the provider says of them."""
        provider.polls = 1_000_000
        # Nothing says that a cancelled batch of Gemini's has results.
        answered = () if wire == "gemini" else ("row 1", "row 4")
        provider.fate = lambda number, text, body: "answer" if text in answered else "cancelled"
        arguments = {"out": tmp_path / "out", "batch_rows": 3, **options(server, wire)}
        job = ritellm.bulk(table(5), **arguments).start()
        while job.status()["in_flight"] < 5 or job.status()["batches"][-1]["state"] != "in_progress":
            job.wait(0.01)
        with pytest.raises(ritellm.InvalidArgumentError, match="the job runs already"):
            job.cancel_batches()
        with pytest.raises(ritellm.JobLocked):
            ritellm.bulk(table(5), **arguments).cancel_batches()
        job.cancel()
        with pytest.raises(JobPaused):
            job.wait()
        again = ritellm.bulk(table(5), **arguments)
        assert again.cancel_batches(progress=False) == 2
        status = again.status()
        assert (status["done"], status["failed"]) == (len(answered), 0) and again.failures() == []
        assert {one["state"] for one in status["batches"]} == {"cancelled"}
        assert os.listdir(tmp_path / "out" / "batches") == ["state.json"]
        assert again.cancel_batches(progress=False) == 0
        ritellm.bulk(table(5), **{**arguments, "mode": "calls", "batch_rows": None})._check_batches()
        provider.polls, provider.fate = 1, lambda number, text, body: "answer"
        assert len(texts(ritellm.bulk(table(5), **arguments).run())) == 5
        assert set(provider.bought.values()) == {1}

    def test_files_that_cannot_be_used_at_once(self, server: Server, provider: BatchProvider, tmp_path: Path) -> None:
        """Azure has "pending" and "running" before "processed"."""
        provider.unread = 3
        job = ritellm.bulk(table(3), out=tmp_path / "out", **options(server, "azure")).run()
        assert len(texts(job)) == 3 and provider.unread == 0 and provider.calls["create"] == 1

    @pytest.mark.parametrize("gone", ["/batch_0", "/out-batch_0"])
    def test_a_batch_or_results_that_are_gone(
        self, gone: str, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        """It may be of another key, and be found again. Whoever gives it up has its rows back: tensorzero/tensorzero#1198."""
        arguments = {"out": tmp_path / "out", **options(server, "openai")}

        def script(request: Any) -> Answer:
            if f"{gone}/" in f"{request.target}/":
                error = {"message": "No batch found with id 'batch_0'.", "type": "invalid_request_error"}
                return Answer(404, body=json.dumps({"error": error}).encode())
            return provider.script(request)

        server.script = script
        for _ in range(2):
            with pytest.raises(JobPaused, match="No batch found"):
                ritellm.bulk(table(3), **arguments).run()
        job = ritellm.bulk(table(3), **arguments)
        is_known = gone != "/batch_0"
        assert job.cancel_batches() == is_known
        assert [batch["state"] for batch in job.status()["batches"]] == ["completed" if is_known else "unknown"]
        assert job.status()["failed"] == 0 and len(provider.batches) == 1
        assert len(texts(ritellm.bulk(table(3), **arguments).run())) == 3 and len(provider.batches) == 2

    def test_results_that_are_there_are_kept_when_others_are_gone(
        self, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        provider.fate = lambda number, text, body: "answer" if text != "row 2" or number else (400, "bad")
        is_gone = True

        def script(request: Any) -> Answer:
            if is_gone and "/err-batch_0/" in request.target:
                error = {"message": "No such File object: err-batch_0", "type": "invalid_request_error"}
                return Answer(404, body=json.dumps({"error": error}).encode())
            return provider.script(request)

        server.script = script
        arguments = {"out": tmp_path / "out", **options(server, "openai")}
        with pytest.raises(JobPaused, match="No such File"):
            ritellm.bulk(table(3), **arguments).run()
        job = ritellm.bulk(table(3), **arguments)
        assert job.cancel_batches() == 1
        status = job.status()
        assert (status["done"], status["failed"], status["batches"][0]["state"]) == (2, 0, "completed")
        is_gone = False
        assert len(texts(ritellm.bulk(table(3), **arguments).run())) == 3
        assert provider.bought == {"row 0": 1, "row 1": 1, "row 2": 1}

    def test_a_refused_cancellation_ends_with_the_batch(
        self, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        provider.polls, refusals = 1_000_000, 0

        def script(request: Any) -> Answer:
            nonlocal refusals
            if request.target.endswith("/cancel") and refusals < 3:
                refusals += 1
                return Answer(409, body=b'{"error": {"message": "not now"}}')
            return provider.script(request)

        server.script = script
        provider.fate = lambda number, text, body: "cancelled"
        arguments = {"out": tmp_path / "out", **options(server, "openai")}
        job = ritellm.bulk(table(3), **arguments).start()
        while job.status()["batches"][-1:] == [] or job.status()["batches"][-1]["state"] != "in_progress":
            job.wait(0.01)
        job.cancel()
        with pytest.raises(JobPaused):
            job.wait()
        assert job.cancel_batches() == 1 and refusals == 3
        assert job.status()["batches"][0]["state"] == "cancelled" and job.status()["reason"] is None

    def test_rows_of_an_iterator_are_not_lost_in_silence(
        self, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        provider.polls = 1_000_000
        provider.fate = lambda number, text, body: "cancelled"
        arguments = {"out": tmp_path / "out", "id_column": "text", "batch_rows": 4, **options(server, "openai")}
        job = ritellm.bulk((row for row in table(10)), **arguments).start()
        while job.status()["in_flight"] < 10 or job.status()["batches"][-1]["state"] != "in_progress":
            job.wait(0.01)
        # It goes on where it was.
        job.cancel()
        with pytest.raises(JobPaused):
            job.wait()
        with pytest.raises(ritellm.InvalidArgumentError, match="iterator, which is used up"):
            job.cancel_batches()
            job.run()
        assert job.status()["done"] == 0
        provider.polls, provider.fate = 1, lambda number, text, body: "answer"
        job = ritellm.bulk((row for row in table(10)), **arguments).run()
        assert job.status()["done"] == 10 and set(provider.bought.values()) == {1}

    @pytest.mark.parametrize("mode", ["batch", "calls"])
    def test_rows_of_an_iterator_are_there_when_the_lock_is_free(
        self, mode: str, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        provider.polls = 1_000_000
        arguments = {"out": tmp_path / "out", "id_column": "text", **options(server, "openai")}
        other = ritellm.bulk(iter(table(3)), **arguments).start()
        while other.status()["batches"][-1:] == [] or other.status()["batches"][-1]["state"] != "in_progress":
            other.wait(0.01)
        job = ritellm.bulk((row for row in table(5)), **{**arguments, "mode": mode})
        job._check_batches = lambda: None  # type: ignore[method-assign]
        with pytest.raises(ritellm.JobLocked):
            job.run()
        assert job.status()["state"] == "paused"
        other.cancel()
        with pytest.raises(JobPaused):
            other.wait()
        if mode == "calls":
            server.script = lambda request: Answer(body=json.dumps(completion(text_of(request.json).upper())).encode())
        provider.polls = 1
        assert job.run().status()["done"] == 5

    def test_an_exception_of_an_iterator_is_no_end_of_its_rows(
        self, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        def rows() -> Iterator[dict[str, Any]]:
            yield from table(3)
            raise OSError("the database is gone")

        arguments = {"out": tmp_path / "out", "id_column": "text", **options(server, "openai")}
        job = ritellm.bulk(rows(), **arguments)
        with pytest.raises(OSError, match="the database is gone"):
            job.run()
        with pytest.raises(ritellm.InvalidArgumentError, match="iterator, which is used up"):
            job.run()
        assert ritellm.bulk(iter(table(5)), **arguments).run().status()["done"] == 5

    def test_what_calls_have_answered_meanwhile_is_not_bought_as_a_batch(
        self, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        refused = json.dumps({"error": {"message": "no batches for you", "code": "invalid_api_key"}}).encode()
        server.script = lambda request: (
            provider.script(request) if "/files" in request.target else Answer(401, body=refused)
        )
        arguments: dict[str, Any] = {"out": tmp_path / "out", "batch_rows": 2, **options(server, "openai")}
        with pytest.raises(JobPaused, match="no batches for you"):
            ritellm.bulk(table(5), **arguments).run()
        calls = arguments | {"mode": "calls", "batch_rows": None, "max_in_flight": 1, "max_attempts": 1}
        answered: list[str] = []

        def script(request: Any) -> Answer:
            if len(answered) == 3:
                return Answer(401, body=refused)
            answered.append(text_of(request.json))
            return Answer(body=json.dumps(completion(answered[-1].upper())).encode())

        server.script = script
        with pytest.raises(JobPaused):
            ritellm.bulk(table(5), **calls).run()
        server.script = provider.script
        job = ritellm.bulk(table(5), **arguments).run()
        assert (job.status()["done"], job.status()["failed"], job.status()["pending"]) == (5, 0, 0)
        assert len(answered) == 3 and set(provider.bought) == {f"row {number}" for number in range(5)} - set(answered)

    def test_a_file_that_has_expired_is_uploaded_again(
        self, server: Server, provider: BatchProvider, tmp_path: Path
    ) -> None:
        provider.expires_at = int(time.time()) - 60

        def script(request: Any) -> Answer:
            found = provider.script(request)
            if provider.calls["upload"]:
                provider.expires_at = int(time.time()) + 172_800
            return found

        server.script = script
        job = ritellm.bulk(table(3), out=tmp_path / "out", **options(server, "gemini")).run()
        assert len(texts(job)) == 3 and (provider.calls["upload"], provider.calls["create"]) == (2, 1)

    def test_what_has_no_place(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("OPENAI_API_KEY", "MISTRAL_API_KEY"):
            monkeypatch.setenv(name, KEY)
        groups = {"fast": ["openai/a"], "slow": ["mistral/a", "mistral/b"]}
        router = ritellm.Router(groups, client=options(server, "openai")["client"])
        right = options(server, "openai")
        for changed, what in [
            ({"mode": "batches"}, 'mode is \'batches\': "calls" or "batch"'),
            ({"warm_prefix": True}, "warm_prefix has no place"),
            ({"max_in_flight": 3}, "max_in_flight has no place"),
            ({"mode": "calls", "batch_rows": 3}, "batch_rows has no place"),
            ({"batch_rows": 0}, "batch_rows is 0"),
            ({"client": router, "model": None, "prompt": None}, "model is None: .*the name of a group .*: fast, slow"),
            ({"client": router, "model": "openai/a"}, 'model is "openai/a": '),
            ({"client": router, "model": "slow"}, r'no deployment of "slow" \(mistral, mistral\) has batches'),
            ({"model": "mistral/x"}, "mistral has no batches"),
        ]:
            with pytest.raises(ritellm.InvalidArgumentError, match=what):
                ritellm.bulk(table(1), **(right | changed))

    def test_the_command(
        self,
        server: Server,
        provider: BatchProvider,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        rows, out = tmp_path / "rows.jsonl", str(tmp_path / "out")
        rows.write_text("".join(json.dumps(row) + "\n" for row in table(5)))
        arguments = ["-m", "openai/gpt-x", "--prompt", "{text}", "--mode", "batch", "--batch-rows", "3", "-o", out]
        assert command(["bulk", str(rows), *arguments]) == 0
        capsys.readouterr()
        assert command(["bulk", "status", out]) == 0
        shown = capsys.readouterr().out
        assert "batch_0  completed  3 of 3 rows  openai/gpt-x" in shown and "batch_1" in shown
        assert command(["bulk", "status", out, "--json"]) == 0
        assert [one["rows"] for one in json.loads(capsys.readouterr().out)["batches"]] == [3, 2]
        assert command(["bulk", "cancel", out]) == 0
        assert "0 batches cancelled" in capsys.readouterr().out
