"""Tests of timeouts: each part of a call has its own, streams included, and a call that times out is aborted."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from conftest import Call
from server import (
    KEY,
    MESSAGES,
    MODEL,
    Answer,
    Framing,
    Pause,
    Piece,
    Server,
    Stall,
    all_at_once,
    chunks_of,
    completion_of,
    dumped,
    events,
    plain,
    plain_or_streamed,
    stream_of,
)

from ritellm import APIConnectionError, Client, Timeout, acompletion, completion

SHORT = 0.1
"""A limit that is meant to pass."""
BEGUN = events(chunks_of("a")[:2], done=False)
REST = [*events(chunks_of("a")[2:])]
PINGS: list[Piece] = [piece for _ in range(100) for piece in (b": ping\n\n", Pause(SHORT / 4))]

SILENT = Answer(before=[Stall()])
HALF = Answer(headers={"content-length": "1000"}, body=[b'{"choices"', Stall()], framing="close")

# What is answered, the limit that passes, and a word of the message.
PLAIN: dict[str, tuple[Answer, Any, str]] = {
    "total, without an answer": (SILENT, SHORT, "total"),
    "total, by its name": (SILENT, {"total": SHORT}, "total"),
    "total, in the body": (HALF, SHORT, "total"),
    "total, though pieces go on coming": (Answer(body=[b" ", Pause(SHORT / 4)] * 200), SHORT, "total"),
    "first_token": (SILENT, {"first_token": SHORT}, "beginning"),
    "idle": (HALF, {"idle": SHORT}, "next piece"),
}
STREAMED: dict[str, tuple[Answer, Any, str]] = {
    "total, without an answer": (SILENT, SHORT, "total"),
    "total, before the first chunk": (stream_of(Stall()), SHORT, "total"),
    "total, after a chunk": (stream_of(*BEGUN, Stall()), SHORT * 2, "total"),
    "total, though pings go on coming": (stream_of(*BEGUN, *PINGS), SHORT * 2, "total"),
    "first_token, without an answer": (SILENT, {"first_token": SHORT}, "beginning"),
    "first_token, without a chunk": (stream_of(Stall()), {"first_token": SHORT}, "first|beginning"),
    "first_token, though pings come": (stream_of(*PINGS), {"first_token": SHORT}, "first|beginning"),
    "idle": (stream_of(*BEGUN, Stall()), {"idle": SHORT * 2}, "next piece"),
}


class TestLimits:
    """Each at the same time as the others; what is said of requests holds also where a limit passed before one was sent."""

    def test_a_plain_call(self, call: Call, at_openai: Server) -> None:
        at_openai.script = lambda request: PLAIN[request.json["case"]][0]

        def check(case: str) -> None:
            _, timeout, word = PLAIN[case]
            with pytest.raises(Timeout, match=word) as caught:
                call(timeout=timeout, max_retries=0, case=case)
            assert isinstance(caught.value, APIConnectionError)
            assert caught.value.provider == "openai"
            assert caught.value.status_code is None
            assert str(SHORT) in caught.value.message
            assert len(at_openai.of_case(case)) <= 1
            for request in at_openai.of_case(case):
                request.wait_gone()

        all_at_once(check, PLAIN)

    def test_a_stream(self, read: Call, at_openai: Server) -> None:
        at_openai.script = lambda request: STREAMED[request.json["case"]][0]

        def check(case: str) -> None:
            _, timeout, word = STREAMED[case]
            with pytest.raises(Timeout, match=word) as caught:
                read(timeout=timeout, max_retries=0, case=case)
            assert caught.value.provider == "openai"
            assert len(at_openai.of_case(case)) <= 1
            for request in at_openai.of_case(case):
                request.wait_gone()

        all_at_once(check, STREAMED)

    def test_what_came_before_a_stream_s_timeout_is_given_out(self, read: Call, at_openai: Server) -> None:
        at_openai.answer(stream_of(*BEGUN, Stall()))
        chunks: list[Any] = []
        with pytest.raises(Timeout):
            read(into=chunks, timeout={"idle": 0.6})
        assert chunks == chunks_of("a")[:2]

    def test_a_stream_that_nobody_reads_ends_too(self, at_openai: Server) -> None:
        at_openai.answer(stream_of(*BEGUN, Stall()))
        client = Client(timeout=0.6)
        stream = client.completion("openai/m", MESSAGES, stream=True)
        at_openai.last.wait_gone()
        stream.close()


SLOW_PINGS: list[Piece] = [piece for _ in range(5) for piece in (b": ping\n\n", Pause(0.3))]
LATE = plain()
LATE.before = [Pause(1.5)]

# What takes longer than the limit, of which no part does: the answer, the limit, and how many chunks come.
IN_TIME: dict[str, tuple[Answer, Any, int]] = {
    "first_token ends with the first chunk": (stream_of(*BEGUN, Pause(1.6), *REST), {"first_token": 1.2}, 3),
    "idle begins anew with each piece": (
        stream_of(*itertools.chain.from_iterable((piece, Pause(0.25)) for piece in events(chunks_of(*"abcd")))),
        {"idle": 1.2},
        6,
    ),
    "pings are signs of life": (stream_of(*BEGUN, *PINGS[:2], *SLOW_PINGS, *REST), {"idle": 1.2}, 3),
    "connect is over once connected": (LATE, {"connect": 1.2}, 0),
}


class TestNotReached:
    async def test_limits_of_parts_are_not_for_the_whole(self, at_openai: Server) -> None:
        """All at once, since they take their time."""
        at_openai.script = lambda request: IN_TIME[request.json["case"]][0]

        async def run(case: str) -> None:
            _, timeout, count = IN_TIME[case]
            result: Any = await acompletion(
                MODEL, MESSAGES, stream=count > 0, timeout=timeout, max_retries=0, case=case
            )
            if count:
                assert len([chunk async for chunk in result]) == count, case
            else:
                assert result == completion_of()

        await asyncio.gather(*map(run, IN_TIME))

    @pytest.mark.parametrize(
        "timeout",
        [
            30,
            30.5,
            float("inf"),
            1e300,
            {},
            {"connect": 30, "first_token": 30, "idle": 30, "total": 30},
            {"total": None, "connect": None},
            {"idle": 1e18},
        ],
    )
    def test_every_form(self, read: Call, at_openai: Server, timeout: Any) -> None:
        at_openai.script = plain_or_streamed("Hello!")
        assert completion(MODEL, MESSAGES, timeout=timeout) == completion_of()
        assert len(read(timeout=timeout)[0]) == 3

    def test_idle_on_a_body_that_comes_in_pieces(self, call: Call, at_openai: Server) -> None:
        body = dumped(completion_of("pieces " * 100))
        pieces: list[Piece] = []
        for start in range(0, len(body), 300):
            pieces += [body[start : start + 300], Pause(0.01)]
        framings: list[Framing] = ["length", "chunked", "close"]
        for framing in framings:
            at_openai.answer(Answer(body=pieces, framing=framing))
            assert call(timeout={"idle": 20}) == completion_of("pieces " * 100)


class TestDefaults:
    def test_a_call_s_limits_go_before_the_client_s(self, at_openai: Server) -> None:
        at_openai.answer(SILENT)
        client = Client(timeout={"first_token": 60, "total": 60}, max_retries=0)
        with pytest.raises(Timeout, match="beginning"):
            client.completion("openai/m", MESSAGES, timeout={"first_token": SHORT})
        with pytest.raises(Timeout, match="total"):
            client.completion("openai/m", MESSAGES, timeout=SHORT)

    def test_the_client_s_limits_hold_where_the_call_has_none(self, at_openai: Server) -> None:
        at_openai.answer(SILENT)
        client = Client(timeout={"first_token": SHORT}, max_retries=0)
        with pytest.raises(Timeout, match="beginning"):
            client.completion("openai/m", MESSAGES, timeout={"idle": 60})

    async def test_an_async_client(self, at_openai: Server) -> None:
        at_openai.answer(SILENT)
        with pytest.raises(Timeout):
            await Client(timeout=SHORT).acompletion("openai/m", MESSAGES)
        with pytest.raises(Timeout):
            await acompletion("openai/m", MESSAGES, timeout=SHORT)


class TestConnect:
    def test_its_own_limit(self, call: Call, full: int) -> None:
        with pytest.raises(Timeout, match=f"connecting to 127.0.0.1:{full}"):
            call(base_url=f"http://127.0.0.1:{full}", api_key=KEY, timeout={"connect": SHORT}, max_retries=0)

    def test_the_total_holds_too(self, call: Call, full: int) -> None:
        with pytest.raises(Timeout, match="total"):
            call(base_url=f"http://127.0.0.1:{full}", api_key=KEY, timeout=SHORT, max_retries=0)

    def test_it_is_repeated(self, call: Call, full: int) -> None:
        with pytest.raises(Timeout, match="connecting") as caught:
            call(base_url=f"http://127.0.0.1:{full}", api_key=KEY, timeout={"connect": SHORT}, max_retries=1)
        assert caught.value.retries == 1

    def test_for_a_stream(self, read: Call, full: int) -> None:
        with pytest.raises(Timeout, match="connecting"):
            read(base_url=f"http://127.0.0.1:{full}", api_key=KEY, timeout={"connect": SHORT}, max_retries=0)
