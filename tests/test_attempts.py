"""Tests of the record of a call's attempts: ``meta.attempts`` and ``error.attempts``."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import pytest
from conftest import Call
from server import MESSAGES, MODEL, Answer, Close, Server, Stall, eventually, plain, refusal, stream_of, streamed

import ritellm
from ritellm import Client, IncompleteStreamError, RateLimitError

SOON = {"retry-after-ms": "20"}


def outline(attempts: list[Any]) -> list[tuple[Any, ...]]:
    return [(a["number"], a["outcome"], a["status_code"], a["error"]) for a in attempts]


def test_a_call_that_succeeds_at_once(call: Call, at_openai: Server) -> None:
    at_openai.answer(plain(headers={"x-request-id": "req_1"}))
    response = call()
    (attempt,) = response.meta.attempts
    latency = attempt.pop("latency")
    assert 0 < latency == response.meta.latency
    assert attempt == {
        "number": 1,
        "deployment": None,
        "reason": None,
        "provider": "openai",
        "model": "gpt-4o-mini",
        "host": None,
        "status_code": 200,
        "request_id": "req_1",
        "outcome": "success",
        "error": None,
        "failure": None,
        "message": None,
        "started": 0.0,
        "waited": 0.0,
        "pause": None,
    }
    assert response.meta.usage is None and response.meta.cost is None, "there is no catalog"


def test_attempts_that_failed_before(call: Call, at_openai: Server) -> None:
    broken = Answer(headers={"content-length": "99"}, framing="close", body=[b"{", Close()])
    at_openai.answer(refusal(429, "slow down", headers={**SOON, "x-request-id": "req_1"}), broken, plain())
    meta = call(max_retries=2).meta
    first, second, third = meta.attempts
    assert outline(meta.attempts) == [
        (1, "failed", 429, "RateLimitError"),
        (2, "failed", None, "APIConnectionError"),
        (3, "success", 200, None),
    ]
    assert [a.failure for a in meta.attempts] == ["rate", "transient", None]
    assert first.message == "openai answered 429: slow down" and first.request_id == "req_1"
    assert first.pause == 0.02 and third.pause is None
    assert {a.host for a in meta.attempts} == {at_openai.base_url.split("/")[2]}
    assert 0 == first.started < first.latency + first.pause <= second.started < third.started
    assert third.started + third.latency <= meta.latency + 0.01
    assert pickle.loads(pickle.dumps(meta)).attempts == meta.attempts


def test_attempts_of_an_error(call: Call, at_openai: Server) -> None:
    key = "sk-test-0123456789abcdef"
    at_openai.answer(refusal(429, f"no more for {key}", headers=SOON))
    with pytest.raises(RateLimitError) as raised:
        call(max_retries=1, api_key=key)
    attempts = raised.value.attempts
    assert outline(attempts) == [(1, "failed", 429, "RateLimitError"), (2, "failed", 429, "RateLimitError")]
    assert [a.pause for a in attempts] == [0.02, None]
    assert key not in repr(attempts) and "no more for ***" in attempts[0].message
    assert pickle.loads(pickle.dumps(raised.value)).attempts == attempts


def test_nothing_was_sent(call: Call) -> None:
    with pytest.raises(ritellm.UnsupportedParamsError) as raised:
        ritellm.completion("anthropic/claude-x", MESSAGES, api_key="k", logprobs=True)
    assert raised.value.attempts == []


def test_streams(read: Call, at_openai: Server) -> None:
    at_openai.answer(refusal(503, headers=SOON), streamed("Hi"))
    stream = ritellm.completion(MODEL, MESSAGES, stream=True)
    list(stream)
    assert outline(stream.meta.attempts) == [(1, "failed", 503, "ServiceUnavailableError"), (2, "success", 200, None)]
    assert outline(stream.completion.meta.attempts) == outline(stream.meta.attempts)


def test_a_stream_that_is_opened_again(at_openai: Server) -> None:
    at_openai.answer(stream_of(Close()), streamed("Hi"))
    stream = ritellm.completion(MODEL, MESSAGES, stream=True)
    list(stream)
    assert outline(stream.meta.attempts) == [(1, "failed", None, "IncompleteStreamError"), (2, "success", 200, None)]


def test_a_stream_that_breaks(at_openai: Server) -> None:
    at_openai.answer(refusal(503, headers=SOON), stream_of(*streamed("Hi").pieces()[:2], Close()))
    with pytest.raises(IncompleteStreamError) as raised:
        list(ritellm.completion(MODEL, MESSAGES, stream=True))
    assert outline(raised.value.attempts) == [
        (1, "failed", 503, "ServiceUnavailableError"),
        (2, "failed", 200, "IncompleteStreamError"),
    ]


def test_waiting_is_told_apart(at_openai: Server) -> None:
    """A call that waits for another's place counts the time in ``waited``, not in ``latency``."""
    at_openai.answer(Answer(before=[Stall()]), refusal(503, headers=SOON), plain())
    with Client(max_in_flight=1, timeout={"total": 0.3}, max_retries=0) as client:

        def hang() -> None:
            with pytest.raises(ritellm.Timeout):
                client.completion(MODEL, MESSAGES)

        first = threading.Thread(target=hang)
        first.start()
        eventually(lambda: client.stats()["in_flight"] == 1)
        meta = client.completion(MODEL, MESSAGES, max_retries=1).meta
        first.join()
    failed, answered = meta.attempts
    assert failed.waited > 0.05 > answered.waited == 0
    assert failed.latency + failed.waited <= answered.started
