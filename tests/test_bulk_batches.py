"""Jobs through batches, end to end, against a provider that counts what is bought."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_provider import BatchProvider
from server import Answer, Reset, Server

import ritellm
from ritellm import Client, JobPaused, _batch_run, _batch_state
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


def options(server: Server, wire: str) -> dict[str, Any]:
    """The arguments of a job at a wire of the server."""
    base_urls = {"openai": f"{server.url}/v1", "gemini": f"{server.url}/v1beta"}
    extra = {"max_tokens": 50} if wire == "anthropic" else {}
    client = Client(api_key=KEY, base_url=base_urls.get(wire, server.url))
    return {"model": MODELS[wire], "prompt": "{text}", "mode": "batch", "client": client, **extra}


def table(count: int) -> Rows:
    return [{"text": f"row {number}"} for number in range(count)]


def texts(job: ritellm.Job) -> dict[str, str]:
    return {row["text"]: answer.choices[0].message.content for row, answer in job.results(ordered=True)}


@pytest.mark.parametrize("wire", WIRES)
class TestEveryProvider:
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
        provider.polls, provider.max_enqueued = 20, 10
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
