"""Tests of errors: the class of each failure, the provider's information on it, and no keys."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Call
from server import (
    KEY,
    MESSAGES,
    MODEL,
    Answer,
    Close,
    Pause,
    Piece,
    Reset,
    Server,
    Stall,
    chunks_of,
    completion_of,
    dumped,
    event,
    events,
    free_port,
    plain,
    refusal,
    stream_of,
)

import ritellm
from ritellm import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    IncompleteStreamError,
    InternalServerError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RiteLLMError,
    ServiceUnavailableError,
    Timeout,
    UnprocessableEntityError,
    UnsupportedParamsError,
    acompletion,
    completion,
)

STATUSES: dict[int, type[RiteLLMError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: BadRequestError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: BadRequestError,
    408: Timeout,
    409: ConflictError,
    413: BadRequestError,
    415: BadRequestError,
    418: BadRequestError,
    422: UnprocessableEntityError,
    424: BadRequestError,
    429: RateLimitError,
    500: InternalServerError,
    501: InternalServerError,
    502: ServiceUnavailableError,
    503: ServiceUnavailableError,
    504: Timeout,
    520: InternalServerError,
    529: ServiceUnavailableError,
    599: InternalServerError,
}

ALL = sorted(name for name in ritellm.__all__ if name.endswith("Error") or name == "Timeout")


class TestHierarchy:
    def test_one_root(self) -> None:
        for name in ALL:
            assert issubclass(getattr(ritellm, name), RiteLLMError)
            assert issubclass(getattr(ritellm, name), Exception)

    @pytest.mark.parametrize(
        ("child", "parent"),
        [
            (Timeout, APIConnectionError),
            (IncompleteStreamError, APIConnectionError),
            (ContextWindowExceededError, BadRequestError),
            (ContentPolicyViolationError, BadRequestError),
            (UnsupportedParamsError, BadRequestError),
            (InvalidArgumentError, BadRequestError),
            (InvalidArgumentError, TypeError),
            (InvalidArgumentError, ValueError),
            (ServiceUnavailableError, InternalServerError),
            (RateLimitError, APIStatusError),
            (AuthenticationError, APIStatusError),
            (InternalServerError, APIStatusError),
        ],
    )
    def test_what_catches_what(self, child: type, parent: type) -> None:
        assert issubclass(child, parent)

    def test_those_without_an_answer_are_no_refusals(self) -> None:
        for error in (APIConnectionError, Timeout, APIResponseValidationError, IncompleteStreamError):
            assert not issubclass(error, APIStatusError)

    @pytest.mark.parametrize("name", ALL)
    def test_every_class_can_be_made_pickled_and_copied(self, name: str) -> None:
        error = getattr(ritellm, name)(
            "sentence", status_code=418, provider="p", body={"a": 1}, headers={"b": "c"}, retries=2
        )
        error.add_note("note") if hasattr(error, "add_note") else None
        for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
            assert type(other) is type(error)
            assert str(other) == "sentence"
            assert vars(other) == vars(error)
        assert getattr(ritellm, name)().message == ""

    @pytest.mark.parametrize("name", ALL)
    def test_every_attribute_is_always_there(self, name: str) -> None:
        error = getattr(ritellm, name)("sentence")
        nothing = ("status_code", "provider", "llm_provider", "model", "code", "body", "request_id", "retry_after")
        assert [getattr(error, attribute) for attribute in nothing] == [None] * len(nothing)
        assert (error.headers, error.retries, error.message) == ({}, 0, "sentence")


class TestStatuses:
    @pytest.mark.parametrize(("status", "expected"), STATUSES.items())
    def test_each_status_is_its_class(self, call: Call, at_openai: Server, status: int, expected: type) -> None:
        headers = {"x-request-id": "req_9", "x-other": "1"}
        at_openai.answer(refusal(status, "too bad", code="some_code", headers=headers))
        with pytest.raises(RiteLLMError) as caught:
            call(max_retries=0)
        error = caught.value
        assert type(error) is expected
        assert error.message == str(error)
        assert "too bad" in error.message
        assert str(status) in error.message
        assert "openai" in error.message
        assert error.status_code == status
        assert error.provider == error.llm_provider == "openai"
        assert error.code == "some_code"
        assert error.body == {"error": {"message": "too bad", "type": "some_error", "param": None, "code": "some_code"}}
        assert error.headers["x-other"] == "1"
        assert error.request_id == "req_9"
        assert error.retry_after is None
        assert error.retries == 0
        assert len(at_openai.requests) == 1

    def test_the_model_is_named(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(refusal(404))
        with pytest.raises(NotFoundError) as caught:
            call("openai/gpt-4o-mini")
        assert caught.value.model in ("gpt-4o-mini", "openai/gpt-4o-mini")

    def test_the_same_for_a_stream(self, read: Call, at_openai: Server) -> None:
        at_openai.answer(refusal(429, "slow down", headers={"retry-after": "7", "x-request-id": "r"}))
        with pytest.raises(RateLimitError, match="slow down") as caught:
            read(max_retries=0)
        assert (caught.value.status_code, caught.value.retry_after, caught.value.request_id) == (429, 7.0, "r")

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"retry-after": "3"}, 3.0),
            ({"retry-after": "0.5"}, 0.5),
            ({"retry-after-ms": "250"}, 0.25),
            ({"retry-after": "soon"}, None),
            ({}, None),
        ],
    )
    def test_retry_after(self, call: Call, at_openai: Server, headers: dict[str, str], seconds: float | None) -> None:
        at_openai.answer(refusal(429, headers=headers))
        with pytest.raises(RateLimitError) as caught:
            call(max_retries=0)
        assert caught.value.retry_after == seconds

    def test_retries_are_counted(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(refusal(500, headers={"retry-after": "0"}))
        with pytest.raises(InternalServerError) as caught:
            call(max_retries=3)
        assert caught.value.retries == 3
        assert len(at_openai.requests) == 4

    def test_a_redirect_is_not_followed(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(Answer(302, {"location": at_openai.base_url}, b""))
        with pytest.raises(RiteLLMError):
            call(max_retries=0)
        assert len(at_openai.requests) == 1


class TestBodies:
    """The message is found in a body of any form, and the body is kept."""

    @pytest.mark.parametrize(
        "body",
        [
            {"error": {"message": "Nope", "type": "t", "code": "c"}},
            {"error": "Nope"},
            {"message": "Nope"},
            {"detail": "Nope"},
            {"object": "error", "message": "Nope", "code": 400},
            [{"error": {"message": "Nope", "code": 400, "status": "INVALID_ARGUMENT"}}],
            {"detail": [{"loc": ["body", "messages"], "msg": "Nope", "type": "missing"}]},
        ],
    )
    def test_every_shape(self, call: Call, at_openai: Server, body: Any) -> None:
        at_openai.answer(Answer(400, body=dumped(body)))
        with pytest.raises(BadRequestError, match="Nope") as caught:
            call()
        assert caught.value.body == body

    def test_html_from_a_gateway(self, call: Call, at_openai: Server) -> None:
        html = (
            b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center>nginx</center></body>\r\n</html>"
        )
        at_openai.answer(Answer(502, {"content-type": "text/html"}, html))
        with pytest.raises(ServiceUnavailableError, match="502 Bad Gateway") as caught:
            call(max_retries=0)
        assert caught.value.body == html.decode()
        assert "\n" not in caught.value.message

    def test_an_endless_body_is_not_all_in_the_message(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(Answer(500, {"content-type": "text/plain"}, b"word " * 100_000))
        with pytest.raises(InternalServerError) as caught:
            call(max_retries=0)
        assert len(caught.value.message) < 1000
        assert len(caught.value.body) == 500_000

    def test_an_empty_body(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(Answer(503))
        with pytest.raises(ServiceUnavailableError, match="503"):
            call(max_retries=0)

    def test_bytes_that_are_no_text(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(Answer(500, body=b"\xff\xfe caf\xe9"))
        with pytest.raises(InternalServerError, match="caf"):
            call(max_retries=0)

    def test_an_error_under_a_status_of_200(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(Answer(body=dumped({"error": {"message": "slow down", "code": 429}})))
        with pytest.raises(RateLimitError, match="slow down") as caught:
            call(max_retries=0)
        assert caught.value.status_code == 429

    def test_an_answer_with_a_null_error_is_good(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain(error=None))
        assert call().choices[0].message.content == "Hello!"

    def test_a_completion_that_speaks_of_errors_is_good(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain('{"error": {"message": "x"}}', message={"error": "inner"}))
        assert call().choices[0].message.content == '{"error": {"message": "x"}}'

    @pytest.mark.parametrize(
        ("status", "error", "expected"),
        [
            (
                400,
                {"message": "This model's maximum context length is 8192 tokens.", "code": "context_length_exceeded"},
                ContextWindowExceededError,
            ),
            (400, {"message": "prompt is too long: 300000 tokens > 200000 maximum"}, ContextWindowExceededError),
            (413, {"message": "Request too large for model with a context window of 8k"}, ContextWindowExceededError),
            (400, {"message": "refused", "code": "content_policy_violation"}, ContentPolicyViolationError),
            (
                400,
                {"message": "triggering Azure OpenAI's content management policy", "code": "content_filter"},
                ContentPolicyViolationError,
            ),
            (400, {"message": "API key not valid. Please pass a valid API key."}, AuthenticationError),
            (400, {"message": "Unknown parameter", "code": "unknown_parameter"}, BadRequestError),
            (
                429,
                {"message": "tokens per minute: reduce the length of the messages", "code": "rate_limit_exceeded"},
                RateLimitError,
            ),
        ],
    )
    def test_more_exact_classes(
        self, call: Call, at_openai: Server, status: int, error: dict[str, Any], expected: type
    ) -> None:
        at_openai.answer(Answer(status, body=dumped({"error": error})))
        with pytest.raises(RiteLLMError) as caught:
            call(max_retries=0)
        assert type(caught.value) is expected


BROKEN: dict[str, Answer] = {
    "closed without an answer": Answer(before=[Close()]),
    "reset without an answer": Answer(before=[Reset()]),
    "closed in the head": Answer(before=[b"HTTP/1.1 200 OK\r\ncontent-le", Close()]),
    "closed in the body": Answer(headers={"content-length": "1000"}, body=[b'{"choices"', Close()], framing="close"),
    "closed in a chunk": Answer(
        raw_head=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        body=[b"50\r\nabc", Close()],
        framing="length",
    ),
    "reset in the body": Answer(body=[b'{"choices"', Reset()]),
    "no HTTP": Answer(before=[b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Close()]),
    "a length that is none": Answer(
        raw_head=b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", body=b"{}", framing="length"
    ),
    "a chunk that is none": Answer(
        raw_head=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        body=b"zz\r\n{}\r\n0\r\n\r\n",
        framing="length",
    ),
}


class TestConnections:
    @pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
    def test_broken(self, call: Call, at_openai: Server, answer: Answer) -> None:
        at_openai.answer(answer)
        with pytest.raises(APIConnectionError) as caught:
            call(max_retries=0)
        assert type(caught.value) is APIConnectionError
        assert caught.value.provider == "openai"
        assert caught.value.status_code is None or caught.value.status_code == 200
        assert len(at_openai.requests) == 1

    def test_nobody_listens(self, call: Call) -> None:
        port = free_port()
        with pytest.raises(APIConnectionError, match=f"127.0.0.1:{port}") as caught:
            call(base_url=f"http://127.0.0.1:{port}", api_key=KEY, max_retries=1)
        assert caught.value.retries == 1
        assert caught.value.provider == "openai"
        assert KEY not in str(caught.value)

    def test_a_host_that_does_not_exist(self, call: Call) -> None:
        with pytest.raises(APIConnectionError, match=r"no-such-host\.invalid"):
            call(base_url="https://no-such-host.invalid/v1", api_key=KEY, max_retries=0, timeout=60)

    @pytest.mark.parametrize("rest", [[], [Stall()]], ids=["closed", "kept open"])
    def test_a_server_that_refuses_a_large_request_unread(
        self, call: Call, at_openai: Server, rest: list[Piece]
    ) -> None:
        at_openai.largest = 1 << 20
        said = dumped({"error": {"message": "too large"}})
        head = b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(said)
        at_openai.answer(Answer(raw_head=head, body=[said, Pause(0.2), *rest], framing="close"))
        image = "x" * (32 << 20)
        with pytest.raises(BadRequestError, match="too large") as caught:
            call(messages=[{"role": "user", "content": image}], max_retries=0, timeout=10)
        assert caught.value.status_code == 413

    def test_tls_against_a_server_that_has_none(self, call: Call, at_openai: Server) -> None:
        with pytest.raises(APIConnectionError):
            call(base_url=at_openai.base_url.replace("http", "https"), api_key=KEY, max_retries=0, timeout=60)


def echo(status: int) -> Answer:
    said = f"Incorrect API key provided: {KEY}. Bearer {KEY}"
    return refusal(
        status, said, param=KEY, code=KEY, headers={"x-echo": f"Bearer {KEY}", "x-request-id": KEY, "retry-after": "0"}
    )


ANSWERS_WITH_THE_KEY: dict[str, Callable[[], Answer]] = {
    "401": lambda: echo(401),
    "500": lambda: echo(500),
    "escaped": lambda: Answer(
        400, body=dumped({"error": {"message": "#"}}).replace(b"#", KEY.encode().replace(b"-", b"\\u002d"))
    ),
    "html": lambda: Answer(502, {"content-type": "text/html", "retry-after": "0"}, f"<p>{KEY}</p>".encode()),
    "no completion": lambda: Answer(body=f"the key was {KEY}".encode()),
    "no json": lambda: Answer(headers={"x-echo": KEY}, body=f'{{"key": "{KEY}", '.encode()),
    "200 with an error": lambda: Answer(body=dumped({"error": {"message": f"key {KEY}", "code": 401}})),
    "cut short": lambda: Answer(
        headers={"x-echo": KEY, "content-length": "1000"}, body=[f'{{"a": "{KEY}"'.encode(), Close()], framing="close"
    ),
}

STREAMS_WITH_THE_KEY: dict[str, list[Piece]] = {
    "an error event": [
        *events(chunks_of("a")[:2], done=False),
        event({"error": {"message": f"key {KEY}", "code": KEY}}),
    ],
    "no json": [*events(chunks_of("a")[:2], done=False), event(f'{{"key": "{KEY}", '.encode())],
    "a plain answer": [],
}


def everything_in(error: BaseException) -> str:
    """All of an error that may be printed, logged or sent."""
    shown = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
    shown += [str(getattr(error, name)) for name in dir(error) if not name.startswith("__")]
    shown.append(pickle.dumps(error).decode("latin-1"))
    cause = error.__cause__ or error.__context__
    while cause is not None:
        shown.append(repr(cause))
        cause = cause.__cause__ or cause.__context__
    return "\n".join(shown)


class TestKeys:
    """The key is in no message, repr, traceback or pickle, whoever repeats it."""

    @pytest.mark.parametrize("answer", ANSWERS_WITH_THE_KEY.values(), ids=ANSWERS_WITH_THE_KEY)
    def test_a_server_that_repeats_it(self, call: Call, at_openai: Server, answer: Callable[[], Answer]) -> None:
        at_openai.answer(answer())
        with pytest.raises(RiteLLMError) as caught:
            call(max_retries=1)
        assert at_openai.last.headers["authorization"] == f"Bearer {KEY}"
        assert KEY not in everything_in(caught.value)

    @pytest.mark.parametrize("pieces", STREAMS_WITH_THE_KEY.values(), ids=STREAMS_WITH_THE_KEY)
    def test_a_stream_that_repeats_it(self, read: Call, at_openai: Server, pieces: list[Piece]) -> None:
        echoing = {"x-echo": KEY}
        at_openai.answer(stream_of(*pieces, headers=echoing) if pieces else plain(KEY, headers=echoing))
        with pytest.raises(RiteLLMError) as caught:
            read(max_retries=0)
        assert KEY not in everything_in(caught.value)

    def test_a_key_in_a_header_of_the_caller_s(self, call: Call, at_openai: Server) -> None:
        secret = "another-canary-0123456789"
        at_openai.answer(refusal(401, f"wrong: {secret}"))
        with pytest.raises(AuthenticationError) as caught:
            call(extra_headers={"Authorization": f"Bearer {secret}"})
        assert secret not in everything_in(caught.value)

    def test_a_redacted_body_keeps_the_rest(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(refusal(401, f"Incorrect API key provided: {KEY}. You can find yours there."))
        with pytest.raises(
            AuthenticationError, match=r"Incorrect API key provided: .*You can find yours there"
        ) as caught:
            call()
        assert caught.value.body["error"]["type"] == "some_error"
        assert caught.value.body["error"]["message"].startswith("Incorrect API key provided: ")

    def test_errors_that_no_server_had_a_part_in(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain())
        for params in (
            {"stream": "yes"},
            {"api_key": f"{KEY}\n"},
            {"base_url": f"http://user:{KEY}@127.0.0.1/v1"},
            {"base_url": f"http://127.0.0.1/v1?key={KEY}"},
            {"extra_headers": {"x": f"{KEY}\n"}},
            {"model": "nope/x"},
            {"timeout": {"total": 0}},
        ):
            with pytest.raises(RiteLLMError) as caught:
                call(**params)
            assert KEY not in "".join(
                [
                    str(caught.value),
                    repr(caught.value),
                    repr(vars(caught.value)),
                    *traceback.format_exception(caught.value)[-1:],
                ]
            )

    def test_no_object_shows_it(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        client = ritellm.Client(api_key=KEY, base_url=at_openai.base_url, headers={"x-key": KEY})
        response = client.completion(MODEL, MESSAGES)
        for shown in (
            repr(client),
            str(client),
            repr(response.meta),
            repr(vars(client)) if hasattr(client, "__dict__") else "",
        ):
            assert KEY not in shown

    def test_a_traceback_with_its_variables(self, at_openai: Server) -> None:
        """Checks the output of Sentry, rich and `pytest --showlocals` with a key from the environment."""
        at_openai.answer(echo(401))
        with pytest.raises(AuthenticationError) as caught:
            completion(MODEL, MESSAGES)
        shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        frames = [frame for frame in shown.stack if "ritellm" in frame.filename and "tests" not in frame.filename]
        assert frames
        assert KEY not in repr([frame.locals for frame in frames]) + str(shown)


class TestPickles:
    @pytest.fixture
    def error(self, at_openai: Server) -> RiteLLMError:
        at_openai.answer(
            refusal(429, "slow down", code="rate_limit_exceeded", headers={"retry-after": "0.01", "x-request-id": "r"})
        )
        with pytest.raises(RateLimitError) as caught:
            completion(MODEL, MESSAGES, max_retries=1)
        return caught.value

    @pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
    def test_whole(self, error: RiteLLMError, protocol: int) -> None:
        other = pickle.loads(pickle.dumps(error, protocol))
        assert type(other) is RateLimitError
        assert vars(other) == vars(error)
        assert str(other) == str(error)
        assert (other.status_code, other.retries, other.retry_after, other.request_id) == (429, 1, 0.01, "r")
        assert other.body["error"]["code"] == "rate_limit_exceeded"

    def test_copies(self, error: RiteLLMError) -> None:
        assert vars(copy.deepcopy(error)) == vars(error)
        assert json.loads(json.dumps(error.body)) == error.body

    def test_an_incomplete_stream_with_what_came(self, at_openai: Server) -> None:
        at_openai.answer(stream_of(*events(chunks_of("Hel", "lo")[:3], done=False)))
        with pytest.raises(IncompleteStreamError) as caught:
            list(completion(MODEL, MESSAGES, stream=True))
        other = pickle.loads(pickle.dumps(caught.value))
        assert other.completion == caught.value.completion
        assert other.completion.choices[0].message.content == "Hello"


class TestRaising:
    def test_a_sync_and_an_async_error_are_alike(self, at_openai: Server) -> None:
        at_openai.answer(refusal(404, headers={"x-request-id": "r"}))
        with pytest.raises(NotFoundError) as caught_sync:
            completion(MODEL, MESSAGES)
        with pytest.raises(NotFoundError) as caught_async:
            asyncio.run(acompletion(MODEL, MESSAGES))
        fields = [{**vars(caught.value)} for caught in (caught_sync, caught_async)]
        assert all(len(field.pop("attempts")) == 1 for field in fields)
        assert fields[0] == fields[1]

    def test_an_answer_that_cannot_be_read_says_what_came(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(Answer(headers={"content-type": "text/html", "x-request-id": "r"}, body=b"<html>login</html>"))
        with pytest.raises(APIResponseValidationError, match="login") as caught:
            call()
        assert (caught.value.status_code, caught.value.request_id, caught.value.provider) == (200, "r", "openai")
        assert caught.value.body == "<html>login</html>"
        assert caught.value.headers["content-type"] == "text/html"

    async def test_errors_of_concurrent_calls_stay_apart(self, at_openai: Server) -> None:
        at_openai.script = lambda request: refusal(int(request.json["status"]), request.json["words"])
        wanted = [(status, f"words {number}") for number, status in enumerate([400, 401, 403, 404, 422] * 10)]
        calls = [acompletion(MODEL, MESSAGES, status=status, words=words) for status, words in wanted]
        errors = await asyncio.gather(*calls, return_exceptions=True)
        for (status, words), error in zip(wanted, errors, strict=True):
            assert isinstance(error, RiteLLMError)
            assert (error.status_code, error.body["error"]["message"]) == (status, words)

    def test_nothing_is_kept_after_an_error(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(refusal(400), plain())
        with pytest.raises(BadRequestError):
            call()
        assert call() == completion_of()
