"""Tests of errors in responses with a success status, in every form of the providers; and of prompts that are too long."""

from __future__ import annotations

import json
from typing import Any

import providers
import pytest
from server import MESSAGES, Answer, Json, Server

import ritellm
from ritellm import (
    APIResponseValidationError,
    AuthenticationError,
    BadRequestError,
    Client,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    IncompleteStreamError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RiteLLMError,
    ServiceUnavailableError,
    Timeout,
    UnprocessableEntityError,
)

HOST = "openai_compatible/m"
REFUSALS: list[tuple[Json, type[RiteLLMError], str]] = [
    ({"error": {"message": "slow down", "code": 429}}, RateLimitError, "slow down"),
    ({"error": "model is overloaded"}, ServiceUnavailableError, "overloaded"),
    ({"error": True, "message": "boom"}, InternalServerError, "boom"),
    ({"detail": "model is loading"}, ServiceUnavailableError, "loading"),
    ({"detail": [{"loc": ["body"], "msg": "field required"}]}, InternalServerError, "field required"),
    ({"detail": "Not Found"}, NotFoundError, "Not Found"),
    ({"code": "rate_limit_daily", "message": "Error code: 429"}, RateLimitError, "Error code: 429"),
    ({"code": 401, "msg": "who are you", "success": False}, AuthenticationError, "who are you"),
    ({"code": 500, "msg": "404 NOT_FOUND", "success": False}, InternalServerError, "404 NOT_FOUND"),
    ({"success": False, "message": "Unauthorized"}, AuthenticationError, "Unauthorized"),
    ({"object": "error", "message": "no such model", "code": 404}, NotFoundError, "no such model"),
    ({"status": "error", "message": "bad request: x"}, BadRequestError, "x"),
    ({"status": 403, "message": "go away"}, PermissionDeniedError, "go away"),
    ({"error_code": 110, "error_msg": "Access token invalid or no longer valid"}, BadRequestError, "Access token"),
    ({"errorMessage": "Task timed out after 3 s"}, Timeout, "timed out"),
    (
        {"choices": None, "base_resp": {"status_code": 1004, "status_msg": "login fail"}},
        AuthenticationError,
        "login fail",
    ),
    ({"choices": None, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}, RateLimitError, "rate limit"),
    ({"base_resp": {"status_code": 1013, "status_msg": "internal"}}, InternalServerError, "internal"),
    ({"x_groq": {"id": "r", "error": "over_capacity"}}, ServiceUnavailableError, "over_capacity"),
    ({"code": "DataInspectionFailed", "message": "no"}, ContentPolicyViolationError, "no"),
]


def client(server: Server) -> Client:
    return Client(api_key="k", base_url=server.url, max_retries=0, timeout=20)


def whole(body: Any) -> Answer:
    return Answer(body=json.dumps(body).encode())


def stream(*events: Any) -> Answer:
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return Answer(headers={"content-type": "text/event-stream"}, body=body.encode())


def chunk(delta: Json, finish: str | None = None, **more: Any) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]} | more


@pytest.mark.parametrize(("body", "kind", "said"), REFUSALS)
@pytest.mark.parametrize("how", ["plain", "streamed", "in a stream", "embedding", "responses", "streamed responses"])
def test_it_is_an_error(server: Server, how: str, body: Json, kind: type[RiteLLMError], said: str) -> None:
    us = client(server)
    in_a_stream = how in ("in a stream", "streamed responses")
    server.answer(stream(chunk({"content": "Par"}), body) if in_a_stream else whole(body))
    if how == "streamed responses":
        server.answer(stream(body))
    with pytest.raises(RiteLLMError) as raised:
        match how:
            case "plain":
                us.completion(HOST, MESSAGES)
            case "streamed" | "in a stream":
                list(us.completion(HOST, MESSAGES, stream=True))
            case "embedding":
                us.embedding(HOST, "a")
            case "responses":
                us.responses(HOST, "a")
            case _:
                list(us.responses(HOST, "a", stream=True))
    assert type(raised.value) is kind, raised.value
    assert said in raised.value.message


@pytest.mark.parametrize("body", [{}, {"id": "x"}, {"choices": None}, {"choices": {}}, {"data": None}, [], "x", None])
@pytest.mark.parametrize("how", ["completion", "embedding", "responses"])
def test_what_is_no_answer_is_none(server: Server, how: str, body: Any) -> None:
    server.answer(whole(body))
    call = {"completion": (HOST, MESSAGES), "embedding": (HOST, "a"), "responses": (HOST, "a")}[how]
    with pytest.raises(APIResponseValidationError) as raised:
        getattr(client(server), how)(*call)
    assert raised.value.status_code == 200


def test_a_stream_without_a_word_is_no_answer(server: Server) -> None:
    streams: list[list[Json]] = [[], [{}], [{"choices": [], "usage": {"total_tokens": 1}}]]
    for events in streams:
        server.answer(stream(*events))
        with pytest.raises(APIResponseValidationError):
            list(client(server).completion(HOST, MESSAGES, stream=True))


ERROR = {"code": 502, "message": "Provider disconnected"}


@pytest.mark.parametrize("provider", ["openrouter", "openai", "mistral", "zai", "openai_compatible"])
@pytest.mark.parametrize(
    ("top", "inside", "finish", "kind"),
    [
        ({"error": ERROR}, {}, "error", ServiceUnavailableError),
        ({"error": ERROR}, {}, "stop", ServiceUnavailableError),
        ({}, {"error": ERROR}, "error", ServiceUnavailableError),
        ({}, {"error": ERROR}, None, ServiceUnavailableError),
        ({"x_groq": {"error": "over_capacity"}}, {}, None, ServiceUnavailableError),
        ({}, {}, "error", InternalServerError),
        ({}, {}, "network_error", InternalServerError),
    ],
)
def test_an_error_beside_or_inside_of_an_answer(
    server: Server, provider: str, top: Json, inside: Json, finish: str | None, kind: type[RiteLLMError]
) -> None:
    last = chunk({"content": ""}, finish, **top)
    last["choices"][0] |= inside
    server.answer(stream(chunk({"role": "assistant", "content": "Par"}), last))
    answered = client(server).completion(f"{provider}/m", MESSAGES, stream=True)
    with pytest.raises(kind) as raised:
        list(answered)
    assert type(raised.value) is kind
    assert answered.completion.choices[0].message.content == "Par"
    choice = {"index": 0, "message": {"role": "assistant", "content": "Par"}, "finish_reason": finish} | inside
    server.answer(
        whole({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]} | top)
    )
    with pytest.raises(kind) as raised:
        client(server).completion(f"{provider}/m", MESSAGES)
    assert type(raised.value) is kind


def test_an_answer_that_has_finished_stays_one(server: Server) -> None:
    late = chunk({"content": ""}, error={"code": 400, "message": "Token limit reached"})
    server.answer(stream(chunk({"content": "Par"}), chunk({}, "length"), late))
    answered = client(server).completion(HOST, MESSAGES, stream=True)
    list(answered)
    assert answered.completion.choices[0].finish_reason == "length"
    assert answered.completion.error.message == "Token limit reached"


def test_words_about_errors_are_none(server: Server) -> None:
    message = {"role": "assistant", "content": 'an "error": {"message": "x"}, "finish_reason":"error"', "error": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "error": None}
    answer = {"id": "c", "choices": [choice], "error": None, "base_resp": {"status_code": 0, "status_msg": ""}}
    extras: list[Json] = [{}, {"error": ""}, {"error": {}}, {"code": 0, "msg": ""}, {"success": True}, {"code": "200"}]
    for extra in extras:
        server.answer(whole(answer | extra))
        got = client(server).completion(HOST, MESSAGES)
        assert got.choices[0].message.content == message["content"]


def test_signs_of_life_are_no_refusals(server: Server) -> None:
    notes = [{"type": "ping"}, {"status": "processing"}, {}, {"id": "c", "choices": []}, {"usage": {"total_tokens": 1}}]
    server.answer(stream(*notes, chunk({"content": "Hi"}), chunk({}, "stop"), *notes))
    answered = client(server).completion(HOST, MESSAGES, stream=True)
    list(answered)
    assert answered.completion.choices[0].message.content == "Hi"


@pytest.mark.parametrize(("model", "settings"), providers.chats())
@pytest.mark.parametrize("body", [body for body, *_ in REFUSALS[:13]] + [{}], ids=json.dumps)
def test_wires_of_their_own(server: Server, model: str, settings: Json, body: Json) -> None:
    server.answer(whole(body))
    for streamed in (False, True):
        with pytest.raises(RiteLLMError) as raised:
            answer: Any = client(server).completion(model, MESSAGES, stream=streamed, **settings)
            if streamed:
                list(answer)
        assert type(raised.value) is not IncompleteStreamError


@pytest.mark.parametrize(("model", "settings"), [each for each in providers.chats() if each.id != "bedrock"])
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED"}},
        {"error": "no"},
        {"detail": "no"},
        {"message": "no", "code": 500},
    ],
    ids=json.dumps,
)
def test_gateways_refuse_in_their_own_words_within_streams(
    server: Server, model: str, settings: Json, body: Json
) -> None:
    if providers.FRAMING.get(model.removesuffix("/m")) == "ndjson":
        server.answer(
            Answer(headers={"content-type": "application/x-ndjson"}, body=[json.dumps(body).encode() + b"\n"])
        )
    else:
        server.answer(stream(body))
    with pytest.raises(RiteLLMError, match="no") as raised:
        list(client(server).completion(model, MESSAGES, stream=True, **settings))
    assert type(raised.value) is not IncompleteStreamError


def test_what_is_no_stream_is_named(server: Server) -> None:
    server.answer(Answer(headers={"content-type": "text/html"}, body=b"<html>502 Bad Gateway</html>"))
    with pytest.raises(IncompleteStreamError, match="without its finish: what came is text/html"):
        list(client(server).completion(HOST, MESSAGES, stream=True))


TOO_LONG: list[tuple[str, int, Json]] = [
    ("openai", 400, {"message": "Your input exceeds the context window of this model.", "code": "context_length_exceeded"}),
    ("azure", 400, {"message": "This model's maximum context length is 8192 tokens", "code": "context_length_exceeded"}),
    ("xai", 400, {"message": "This model's maximum prompt length is 131072 but the request contains 537812 tokens."}),
    ("groq", 400, {"message": "Please reduce the length of the messages or completion."}),
    ("cerebras", 400, {"message": "Please reduce the length of the messages or completion. Current length is 9000"}),
    ("mistral", 400, {"message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length"}),
    ("sambanova", 400, {"message": "The provided prompt is 4309 tokens long, … but the maximum supported sequence length is just 4096!"}),
    ("together_ai", 400, {"message": "The input (61709 tokens) is longer than the model's context length (40960 tokens)."}),
    ("nvidia_nim", 500, {"message": "Prompt length (5056) exceeds maximum sequence length (2048)"}),
    ("lm_studio", 400, {"message": "Trying to keep the first 15857 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough."}),
    ("ollama", 400, {"message": "the input length exceeds the context length"}),
    ("moonshot", 400, {"message": "Invalid request: Your request exceeded model token limit: 262144 (requested: 291351)"}),
    ("minimax", 400, {"message": "invalid params, context window exceeds limit (2013)"}),
    ("openai", 400, {"message": "Invalid 'messages[1].content': string too long. Expected a string with maximum length 1048576, but got a string with length 1540820 instead.", "code": "string_above_max_length"}),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "status", "error"), TOO_LONG, ids=[provider for provider, *_ in TOO_LONG])
def test_a_prompt_that_is_too_long(server: Server, provider: str, status: int, error: Json) -> None:
    server.answer(Answer(status=status, body=json.dumps({"error": error}).encode()))
    with pytest.raises(ContextWindowExceededError):
        client(server).completion(f"{provider}/m", MESSAGES)
    server.answer(stream({"error": error}))
    with pytest.raises(ContextWindowExceededError):
        list(client(server).completion(f"{provider}/m", MESSAGES, stream=True))


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "Invalid 'input[149].call_id': string too long.", "code": "string_above_max_length"}, BadRequestError),
        (400, {"message": "max_tokens is too large: 100000. This model supports at most 16384 completion tokens"}, BadRequestError),
        (413, {"message": "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 9000", "code": "rate_limit_exceeded"}, RateLimitError),
        (429, {"message": "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40000"}, RateLimitError),
        (429, {"message": "Too many tokens, please wait before trying again."}, RateLimitError),
        (422, {"message": "tools: list too long"}, UnprocessableEntityError),
    ],
)  # fmt: skip
def test_another_limit_is_another_error(server: Server, status: int, error: Json, kind: type[RiteLLMError]) -> None:
    server.answer(Answer(status=status, body=json.dumps({"error": error}).encode()))
    with pytest.raises(RiteLLMError) as raised:
        client(server).completion("openai/m", MESSAGES)
    assert type(raised.value) is kind
    assert ritellm.ContextWindowExceededError is not kind
