"""Tests of retries: which failures are retried, how often, and after which pause."""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Call
from server import (
    MESSAGES,
    MODEL,
    Answer,
    Close,
    Piece,
    Request,
    Reset,
    Server,
    Stall,
    all_at_once,
    chunks_of,
    completion_of,
    dumped,
    event,
    events,
    plain,
    refusal,
    stream_of,
    streamed,
)

from ritellm import (
    APIConnectionError,
    APIStatusError,
    BadRequestError,
    Client,
    IncompleteStreamError,
    InternalServerError,
    RateLimitError,
    RiteLLMError,
    ServiceUnavailableError,
    Timeout,
    acompletion,
    completion,
)

SOON = {"retry-after-ms": "1"}


def busy(status: int = 503, **headers: str) -> Answer:
    return refusal(status, headers={**SOON, **{name.replace("_", "-"): value for name, value in headers.items()}})


BROKEN: dict[str, Answer] = {
    "closed": Answer(before=[Close()]),
    "reset": Answer(before=[Reset()]),
    "closed in the head": Answer(before=[b"HTTP/1.1 200 OK\r\ncont", Close()]),
    "closed in the body": Answer(body=[b'{"choices": [', Close()]),
    "no answer in time": Answer(before=[Stall()]),
}


class TestWhat:
    @pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
    def test_repeated(self, call: Call, at_openai: Server, status: int) -> None:
        at_openai.answer(busy(status), busy(status), plain())
        response = call()
        assert response == completion_of()
        assert response.meta.retries == 2
        assert len(at_openai.requests) == 3

    @pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 413, 418, 422])
    def test_not_repeated(self, call: Call, at_openai: Server, status: int) -> None:
        at_openai.answer(busy(status))
        with pytest.raises(APIStatusError) as caught:
            call()
        assert caught.value.retries == 0
        assert len(at_openai.requests) == 1

    def test_broken_connections(self, call: Call, at_openai: Server) -> None:
        at_openai.script = lambda request: (
            BROKEN[request.json["case"]] if len(at_openai.of_case(request.json["case"])) == 1 else plain()
        )

        def check(case: str) -> None:
            # A client of its own: on a connection that was used before, silence is no failure.
            response = call(client=Client(), case=case, timeout={"first_token": 1} if "in time" in case else None)
            assert response == completion_of()
            assert response.meta.retries == 1

        all_at_once(check, BROKEN)

    def test_the_total_timeout_is_the_end(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(Answer(before=[Stall()]))
        with pytest.raises(Timeout) as caught:
            call(timeout=0.2, max_retries=5)
        assert caught.value.retries == 0
        assert len(at_openai.requests) == 1

    def test_an_answer_that_cannot_be_read_is_not_repeated(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(Answer(body=b"hello"))
        with pytest.raises(RiteLLMError):
            call()
        assert len(at_openai.requests) == 1

    def test_the_server_s_word_goes_first(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(busy(400, x_should_retry="true"), plain())
        assert call().meta.retries == 1
        at_openai.answer(busy(503, x_should_retry="false"))
        with pytest.raises(ServiceUnavailableError) as caught:
            call()
        assert caught.value.retries == 0

    def test_a_quota_that_is_used_up_is_not_repeated(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(
            refusal(
                429,
                "You exceeded your current quota",
                type="insufficient_quota",
                code="insufficient_quota",
                headers=SOON,
            )
        )
        with pytest.raises(RateLimitError, match="quota") as caught:
            call()
        assert caught.value.retries == 0
        assert len(at_openai.requests) == 1

    def test_the_same_request_each_time(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(busy(), busy(), plain())
        call(temperature=0.5, extra_headers={"x-a": "1"}, extra_query={"q": "1"})
        first, *others = at_openai.requests
        for other in others:
            assert (other.body, other.target, other.raw_headers) == (first.body, first.target, first.raw_headers)


class TestHowOften:
    @pytest.mark.parametrize("retries", [0, 1, 2, 5])
    def test_max_retries(self, call: Call, at_openai: Server, retries: int) -> None:
        at_openai.answer(busy())
        with pytest.raises(ServiceUnavailableError) as caught:
            call(max_retries=retries)
        assert caught.value.retries == retries
        assert len(at_openai.requests) == retries + 1

    def test_twice_by_default(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(busy())
        with pytest.raises(ServiceUnavailableError):
            call()
        assert len(at_openai.requests) == 3

    def test_num_retries(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(busy())
        with pytest.raises(ServiceUnavailableError):
            call(num_retries=1)
        assert len(at_openai.requests) == 2

    def test_by_the_client_s_setting(self, at_openai: Server) -> None:
        at_openai.answer(busy())
        client = Client(max_retries=1)
        with pytest.raises(ServiceUnavailableError):
            client.completion(MODEL, MESSAGES)
        assert len(at_openai.requests) == 2
        with pytest.raises(ServiceUnavailableError):
            client.completion(MODEL, MESSAGES, max_retries=0)
        assert len(at_openai.requests) == 3

    def test_the_last_failure_is_the_one_that_is_raised(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(busy(429), busy(500), busy(503))
        with pytest.raises(ServiceUnavailableError):
            call()


# What the server answers first, and how long a pause that asks for at least.
PAUSES: dict[str, tuple[Callable[[], dict[str, str]], float]] = {
    "seconds": (lambda: {"retry-after": "1"}, 0.95),
    "fractions of a second": (lambda: {"retry-after": "0.7"}, 0.65),
    "milliseconds": (lambda: {"Retry-After-MS": "700"}, 0.65),
    "milliseconds go first": (lambda: {"retry-after-ms": "700", "retry-after": "50"}, 0.65),
    # A date has no fractions: this one is between one and two seconds away.
    "a date": (lambda: {"retry-after": email.utils.formatdate(time.time() + 2, usegmt=True)}, 0.8),
    "a date that has passed": (lambda: {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
    "nothing said": (dict, 0),
    "nothing that can be read": (lambda: {"retry-after": "soon"}, 0),
}


class TestPauses:
    """Only that a pause is not shorter than it should be: on a busy machine it may well be longer."""

    async def test_each_is_kept(self, at_openai: Server) -> None:
        """All at once, since they take their time; and a task that is cancelled in its pause does not go on."""

        def script(request: Request) -> Answer:
            case = request.json["case"]
            if len(at_openai.of_case(case)) > 1 or case == "no pause at all":
                return plain()
            return refusal(429, headers={"retry-after": "2"} if case == "cancelled" else PAUSES[case][0]())

        at_openai.script = script
        cancelled = asyncio.create_task(acompletion(MODEL, MESSAGES, case="cancelled"))
        await asyncio.to_thread(at_openai.wait_for_requests, 1)
        await asyncio.sleep(0.05)
        cancelled.cancel()
        at = time.monotonic()
        others = [asyncio.create_task(acompletion(MODEL, MESSAGES, case=case, timeout=40)) for case in PAUSES]
        await asyncio.to_thread(at_openai.wait_for_requests, 1 + len(PAUSES))
        # The loop is free meanwhile.
        assert (await acompletion(MODEL, MESSAGES, case="no pause at all")).meta.retries == 0
        for response in await asyncio.gather(*others):
            assert response.meta.retries == 1
        for case, (_, at_least) in PAUSES.items():
            first, second = at_openai.of_case(case)
            assert second.at - first.at >= at_least, case
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await asyncio.sleep(max(0, at + 2.2 - time.monotonic()))
        assert len(at_openai.of_case("cancelled")) == 1

    def test_one_that_is_too_long_is_not_waited_for(self, at_openai: Server) -> None:
        at_openai.answer(refusal(429, headers={"retry-after": "86400"}))
        with pytest.raises(RateLimitError) as caught:
            completion(MODEL, MESSAGES)
        assert caught.value.retry_after == 86400
        assert len(at_openai.requests) == 1

    def test_one_beyond_the_deadline_is_not_waited_for(self, at_openai: Server) -> None:
        at_openai.answer(refusal(429, headers={"retry-after": "45"}))
        with pytest.raises(RateLimitError) as caught:
            completion(MODEL, MESSAGES, timeout=40)
        assert caught.value.retry_after == 45
        assert len(at_openai.requests) == 1

    def test_the_deadline_is_for_all_tries_together(self, at_openai: Server) -> None:
        at_openai.answer(refusal(503, headers={"retry-after-ms": "200"}))
        with pytest.raises((ServiceUnavailableError, Timeout)):
            completion(MODEL, MESSAGES, timeout=1, max_retries=1000)
        assert len(at_openai.requests) <= 6


BEFORE_THE_FIRST_CHUNK: dict[str, Answer] = {
    "refused": busy(),
    "closed at once": Answer(before=[Close()]),
    "ends": stream_of(),
    "closed": stream_of(Close()),
    "reset": stream_of(Reset()),
    "closed after a comment": stream_of(b": ping\n\n", Close()),
    "an error event": stream_of(event({"error": {"message": "full", "type": "overloaded_error"}})),
    "an error as JSON": Answer(body=dumped({"error": {"message": "full", "code": 503}})),
    "no chunk in time": stream_of(Stall()),
}


class TestStreams:
    def test_repeated_before_the_first_chunk(self, read: Call, at_openai: Server) -> None:
        good = streamed("Hello!", headers={"x-request-id": "second"})
        at_openai.script = lambda request: (
            BEFORE_THE_FIRST_CHUNK[request.json["case"]] if len(at_openai.of_case(request.json["case"])) == 1 else good
        )

        def check(case: str) -> None:
            timeout = {"first_token": 1} if "in time" in case else None
            chunks, stream = read(client=Client(), case=case, timeout=timeout)
            assert chunks == chunks_of("Hello!")[:-1]
            assert stream.completion == completion_of("Hello!")
            first, second = at_openai.of_case(case)
            assert first.body == second.body
            assert stream.completion.meta.retries == 1
            assert stream.meta.retries == 1
            assert stream.meta.request_id == "second"

        all_at_once(check, BEFORE_THE_FIRST_CHUNK)

    def test_not_without_end(self, read: Call, at_openai: Server) -> None:
        at_openai.script = lambda request: BEFORE_THE_FIRST_CHUNK[request.json["case"]]

        def check(case: str) -> None:
            with pytest.raises((APIConnectionError, ServiceUnavailableError)) as caught:
                read(client=Client(), case=case, max_retries=1)
            assert caught.value.retries == 1
            assert len(at_openai.of_case(case)) == 2

        all_at_once(check, [case for case in BEFORE_THE_FIRST_CHUNK if case != "no chunk in time"])

    @pytest.mark.parametrize("rest", [[], [Close()], [event({"error": {"message": "full", "code": 503}})]])
    def test_never_after_the_first_chunk(self, read: Call, at_openai: Server, rest: list[Piece]) -> None:
        at_openai.answer(stream_of(*events(chunks_of("a")[:1], done=False), *rest), streamed("b"))
        chunks: list[Any] = []
        with pytest.raises((IncompleteStreamError, InternalServerError)) as caught:
            read(into=chunks, max_retries=5)
        assert chunks == chunks_of("a")[:1]
        assert caught.value.retries == 0
        assert len(at_openai.requests) == 1

    def test_not_for_what_will_not_pass(self, read: Call, at_openai: Server) -> None:
        at_openai.answer(stream_of(event({"error": {"message": "bad", "code": 400}})))
        with pytest.raises(BadRequestError):
            read()
        assert len(at_openai.requests) == 1


class TestStaleConnections:
    """A connection that the server closed while it was idle is not the caller's affair, nor a retry."""

    def test_closed_while_idle(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        client = Client(max_retries=0)
        for _ in range(5):
            assert client.completion(MODEL, MESSAGES).meta.retries == 0
            at_openai.close_connections()

    def test_closed_as_the_request_arrives(self, at_openai: Server) -> None:
        at_openai.script = lambda request: plain() if request.place == 0 else Answer(before=[Close()])
        client = Client(max_retries=0)
        for _ in range(5):
            assert client.completion(MODEL, MESSAGES).meta.retries == 0

    def test_reset_as_the_request_arrives(self, at_openai: Server) -> None:
        at_openai.script = lambda request: plain() if request.place == 0 else Answer(before=[Reset()])
        client = Client(max_retries=0)
        for _ in range(5):
            assert client.completion(MODEL, MESSAGES).meta.retries == 0

    def test_a_stream(self, at_openai: Server) -> None:
        at_openai.script = lambda request: (
            Answer(before=[Close()]) if request.place else streamed("a") if request.wants_stream else plain()
        )
        client = Client(max_retries=0)
        for _ in range(5):
            client.completion(MODEL, MESSAGES)
            assert len(list(client.completion(MODEL, MESSAGES, stream=True))) == 3

    async def test_many_at_once(self, at_openai: Server) -> None:
        at_openai.script = lambda request: plain() if request.place == 0 else Answer(before=[Close()])
        client = Client(max_retries=0)
        for _ in range(3):
            responses = await asyncio.gather(*(client.acompletion(MODEL, MESSAGES) for _ in range(30)))
            assert all(response.meta.retries == 0 for response in responses)

    def test_a_fresh_connection_that_dies_is_no_stale_one(self, at_openai: Server) -> None:
        at_openai.answer(Answer(before=[Close()]))
        with pytest.raises(APIConnectionError):
            Client(max_retries=0).completion(MODEL, MESSAGES)
        assert len(at_openai.requests) == 1

    def test_one_that_dies_in_its_answer_is_no_stale_one(self, at_openai: Server) -> None:
        at_openai.script = lambda request: (
            plain() if request.place == 0 else Answer(before=[b"HTTP/1.1 200 OK\r\n", Close()])
        )
        client = Client(max_retries=0)
        client.completion(MODEL, MESSAGES)
        with pytest.raises(APIConnectionError):
            client.completion(MODEL, MESSAGES)
        assert len(at_openai.requests) == 2

    def test_an_answer_that_says_close_is_the_last_on_its_connection(self, at_openai: Server) -> None:
        at_openai.answer(Answer(body=dumped(completion_of()), keep_alive=False))
        client = Client(max_retries=0)
        for _ in range(3):
            client.completion(MODEL, MESSAGES)
        assert at_openai.connections == 3

    def test_more_than_was_promised_is_not_the_next_answer(self, at_openai: Server) -> None:
        """An unsolicited response of a server must not be taken for the response to the next call."""
        good = dumped(completion_of())
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(good)
        forged = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
        at_openai.answer(Answer(raw_head=head, body=good + forged, framing="length"))
        client = Client(max_retries=0)
        for _ in range(3):
            assert client.completion(MODEL, MESSAGES) == completion_of()

    def test_a_refusal_leaves_the_connection_in_order(self, at_openai: Server) -> None:
        at_openai.answer(busy(), plain())
        completion(MODEL, MESSAGES)
        assert [request.connection for request in at_openai.requests] == [1, 1]
