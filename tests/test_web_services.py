"""Tests of streams, disconnects, errors and types in web services: a service under uvicorn, in front of a scripted provider."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import inspect
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import fastapi
import openai
import pydantic
import pytest
import uvicorn
from fastapi.responses import JSONResponse
from server import (
    MESSAGES,
    PATIENCE,
    Answer,
    Gate,
    Server,
    Stall,
    chunk_of,
    events,
    eventually,
    free_port,
    plain,
    stream_of,
    streamed,
)

import ritellm
from ritellm import ChatCompletion, Message, RateLimitError, Stream

MODEL = "openai/m"

app = fastapi.FastAPI()
ended: list[str] = []


def ask(**more: Any) -> Any:
    return ritellm.acompletion(MODEL, MESSAGES, max_retries=0, **more)


@app.post("/stream", response_model=None)
async def stream(background: fastapi.BackgroundTasks) -> ritellm.EventStream:
    background.add_task(ended.append, "stream")
    return ritellm.sse(ask(stream=True), headers={"X-Mine": "1"})


@app.post("/opened", response_model=None)
async def opened() -> ritellm.EventStream:
    return ritellm.ndjson(await ask(stream=True))


@app.post("/sync", response_model=None)
def sync() -> ritellm.EventStream:
    return ritellm.sse(ritellm.completion(MODEL, MESSAGES, stream=True))


@app.post("/generator", response_model=None)
async def generator() -> ritellm.EventStream:
    async def texts() -> AsyncIterator[str]:
        try:
            async for chunk in await ask(stream=True):
                yield chunk.choices[0].delta.content
        finally:
            ended.append("generator")

    return ritellm.sse(texts(), done=False)


@app.post("/blocking", response_model=None)
async def blocking() -> ritellm.EventStream:
    return ritellm.sse({"number": number} for number in range(3))


@app.post("/bug", response_model=None)
async def bug(after: int) -> ritellm.EventStream:
    async def numbers() -> AsyncIterator[int]:
        for number in range(after):
            yield number
        raise LookupError("secret detail")

    return ritellm.sse(numbers())


@app.post("/idle", response_model=None)
async def idle() -> ritellm.EventStream:
    return ritellm.sse(ask(stream=True), keep_alive=0.01)


@app.post("/tools", response_model=None)
async def tools() -> ritellm.EventStream:
    def weather(city: str) -> object:
        if city == "Oslo":
            return "4 °C"
        raise LookupError(city)

    return ritellm.sse(ritellm.arun_tools(MODEL, MESSAGES, [weather], stream="steps"))


@app.post("/responses", response_model=None)
async def responses() -> ritellm.EventStream:
    return ritellm.sse(ritellm.aresponses(MODEL, "Hi", stream=True, max_retries=0))


@app.post("/plain")
async def plainly(request: fastapi.Request, body: dict[str, Any]) -> ChatCompletion:
    return await ritellm.while_connected(request, ask())  # type: ignore[no-any-return]


@app.post("/unread")
async def unread(request: fastapi.Request) -> ChatCompletion:
    response: ChatCompletion = await ritellm.while_connected(request, ask())
    assert await request.json() == {"x": 1}
    return response


handled = fastapi.FastAPI()


@handled.exception_handler(ritellm.RiteLLMError)
async def failed(_request: fastapi.Request, error: ritellm.RiteLLMError) -> JSONResponse:
    reply = ritellm.http_error(error)
    return JSONResponse({**reply.body, "handled": True}, reply.status, reply.headers)


@handled.middleware("http")
async def through(request: fastapi.Request, call_next: Any) -> Any:
    return await call_next(request)


handled.post("/stream", response_model=None)(stream)
handled.post("/plain")(plainly)
app.mount("/handled", handled)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))

    async def serve() -> None:
        await server.serve([listening])
        # Those whose clients went away are left open if the server ends before it knows: a warning of a later test.
        await asyncio.sleep(0)
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0.01)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(PATIENCE)
    listening.close()


class Got:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        try:
            self.text = response.read().decode()
        except http.client.IncompleteRead as cut:
            self.text = cut.partial.decode() + "CUT"

    @property
    def data(self) -> list[Any]:
        return [json.loads(line[6:]) for line in self.text.splitlines() if line.startswith("data: {")]


def opened_at(port: int, path: str, body: Any = None) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST", path, json.dumps(body or {"x": 1}), {"content-type": "application/json"})
    return connection


def post(port: int, path: str, body: Any = None) -> Got:
    with contextlib.closing(opened_at(port, path, body)) as connection:
        return Got(connection.getresponse())


class TestStreams:
    def test_events(self, at_openai: Server, port: int) -> None:
        at_openai.answer(streamed("Hel", "lo"))
        ended.clear()
        got = post(port, "/stream")
        assert got.status == 200 and got.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert got.headers["cache-control"] == "no-cache" and got.headers["x-accel-buffering"] == "no"
        assert got.headers["x-mine"] == "1" and "content-length" not in got.headers
        lines = got.text.split("\n\n")
        assert all(line.startswith("data: ") for line in lines[:-1])
        assert lines[-2:] == ["data: [DONE]", ""]
        stream = Stream.from_chunks(got.data)
        assert list(stream) and stream.text == "Hello"
        eventually(lambda: ended == ["stream"])

    def test_the_openai_package_reads_them(self, at_openai: Server, port: int) -> None:
        at_openai.answer(streamed("Hel", "lo"))
        with openai.OpenAI(api_key="x", base_url=f"http://127.0.0.1:{port}") as client:
            stream = client.post("/stream", body={}, cast_to=object, stream=True, stream_cls=openai.Stream[Any])
            assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in stream) == "Hello"
            at_openai.answer(stream_of(*events([chunk_of({"content": "Hel"})], done=False)))
            stream = client.post("/stream", body={}, cast_to=object, stream=True, stream_cls=openai.Stream[Any])
            with pytest.raises(openai.APIError, match="the connection to openai failed"):
                list(stream)

    @pytest.mark.parametrize("path", ["/opened", "/sync", "/generator", "/blocking"])
    def test_other_sources(self, at_openai: Server, port: int, path: str) -> None:
        at_openai.answer(streamed("Hel", "lo"))
        got = post(port, path)
        match path:
            case "/opened":
                assert got.headers["content-type"] == "application/x-ndjson"
                lines = [json.loads(line) for line in got.text.splitlines()]
                assert "".join(line["choices"][0]["delta"].get("content") or "" for line in lines) == "Hello"
            case "/sync":
                assert got.text.endswith("data: [DONE]\n\n") and "Hel" in got.text
            case "/generator":
                assert got.text.startswith('data: ""\n\ndata: "Hel"\n\ndata: "lo"\n\n') and "DONE" not in got.text
            case "/blocking":
                assert got.data == [{"number": 0}, {"number": 1}, {"number": 2}]

    def test_a_run_of_tools(self, at_openai: Server, port: int) -> None:
        call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bergen"}'}}
        at_openai.answer(plain(None, message={"tool_calls": [call]}), plain("Cold."))
        got = post(port, "/tools")
        assert [one["type"] for one in got.data] == ["answer", "call", "output", "answer"]
        assert got.text.startswith("event: answer\ndata: ")
        output = got.data[2]
        assert output["is_error"] is True and output["call"]["id"] == "1" and "LookupError" in output["content"]
        assert output.keys() == {"type", "step", "call", "content", "approved", "is_error"}

    def test_the_responses_api(self, at_openai: Server, port: int) -> None:
        sent: list[dict[str, Any]] = [
            {"type": "response.output_text.delta", "delta": "Hi", "sequence_number": 0},
            {"type": "response.completed", "response": {"id": "r", "output": []}, "sequence_number": 1},
        ]
        at_openai.answer(stream_of(*events(sent, done=False)))
        got = post(port, "/responses")
        assert got.data == sent and "DONE" not in got.text
        assert got.text.startswith("event: response.output_text.delta\ndata: {")
        at_openai.answer(stream_of(*events(sent[:1], done=False)))
        got = post(port, "/responses")
        assert got.text.count("event: error\n") == 1
        error = {"type": "error", "code": None, "message": "the connection to openai failed", "param": None}
        assert got.data[-1] == {**error, "sequence_number": 1}

    def test_comments_keep_it_alive(self, at_openai: Server, port: int) -> None:
        gate = Gate()
        at_openai.answer(Answer(body=[gate, *streamed("Hi").pieces()], headers={"content-type": "text/event-stream"}))
        with contextlib.closing(opened_at(port, "/idle")) as connection:
            response = connection.getresponse()
            assert response.readline() == b": keep-alive\n"
            gate.open()
            assert '"Hi"' in Got(response).text


class TestErrors:
    def test_before_the_first_chunk(self, at_openai: Server, port: int) -> None:
        error = {"error": {"message": "slow down", "code": "rate_limit_exceeded", "param": "messages"}}
        at_openai.answer(Answer(429, {"retry-after": "2.5"}, json.dumps(error).encode()))
        got = post(port, "/stream")
        assert (got.status, got.headers["retry-after"], got.headers["content-type"]) == (429, "3", "application/json")
        expected = {
            "message": "openai answered 429: slow down",
            "type": "rate_limit_error",
            "param": "messages",
            "code": "rate_limit_exceeded",
        }
        assert json.loads(got.text) == {"error": expected}

    def test_the_service_s_own_handler(self, at_openai: Server, port: int) -> None:
        at_openai.answer(Answer(500, {}, b'{"error": {"message": "broken"}}'))
        for path in ("/handled/stream", "/handled/plain"):
            got = post(port, path)
            assert got.status == 502 and json.loads(got.text)["handled"] is True
            assert json.loads(got.text)["error"]["message"] == "openai answered 500: broken"

    def test_after_the_first_chunk(self, at_openai: Server, port: int, caplog: Any) -> None:
        at_openai.answer(
            stream_of(*events([chunk_of({"content": "Hel"}), {"error": {"message": "overloaded", "code": 503}}]))
        )
        with caplog.at_level(logging.WARNING, "ritellm.web"):
            got = post(port, "/stream")
        assert got.status == 200 and "[DONE]" not in got.text and not got.text.endswith("CUT")
        assert "event: error\ndata: {" in got.text and "overloaded" in got.data[-1]["error"]["message"]
        assert [record.name for record in caplog.records if record.levelno == logging.WARNING] == ["ritellm.web"]

    def test_exceptions_that_are_not_ours(self, port: int) -> None:
        assert post(port, "/bug?after=0").status == 500
        got = post(port, "/bug?after=2")
        assert got.text.startswith("data: 0\n\ndata: 1\n\nevent: error\n") and "secret" not in got.text
        assert got.data == [
            {"error": {"message": "the service has failed", "type": "api_error", "param": None, "code": None}}
        ]

    def test_a_call_without_stream(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        with pytest.raises(TypeError, match="returned a ChatCompletion and no stream: stream=True would be right"):
            asyncio.run(read(ritellm.sse(ask())))


async def read(stream: ritellm.EventStream) -> list[bytes]:
    return [piece async for piece in stream]


class TestDisconnects:
    @pytest.mark.parametrize(
        "path", ["/stream", "/handled/stream", "/generator", "/plain", "/handled/plain", "/unread"]
    )
    def test_before_the_answer_begins(self, at_openai: Server, port: int, path: str) -> None:
        at_openai.answer(Answer(before=[Stall()]))
        connection = opened_at(port, path)
        (request,) = at_openai.wait_for_requests(1)
        connection.close()
        request.wait_gone()

    @pytest.mark.parametrize("path", ["/stream", "/handled/stream", "/opened", "/generator", "/sync", "/responses"])
    def test_in_the_middle(self, at_openai: Server, port: int, path: str) -> None:
        chunks = (
            [{"type": "response.output_text.delta", "delta": "x"}]
            if path == "/responses"
            else [chunk_of({"content": "Hel"})]
        )
        at_openai.answer(stream_of(*events(chunks, done=False), Stall()))
        ended.clear()
        connection = opened_at(port, path)
        response = connection.getresponse()
        assert response.status == 200 and response.readline()
        response.close()
        connection.close()
        at_openai.last.wait_gone()
        if path == "/generator":
            eventually(lambda: ended == ["generator"])

    def test_a_plain_call_that_is_not_disturbed(self, at_openai: Server, port: int) -> None:
        at_openai.answer(plain("Hi"))
        for path in ("/plain", "/unread"):
            got = post(port, path)
            assert got.status == 200 and ChatCompletion.from_json(got.text).choices[0].message.content == "Hi"

    async def test_while_connected_by_itself(self) -> None:
        went = asyncio.Event()
        cancelled: list[bool] = []

        async def receive() -> dict[str, str]:
            await went.wait()
            return {"type": "http.disconnect"}

        async def work(result: Any) -> Any:
            try:
                await asyncio.sleep(0 if result else PATIENCE)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise
            if isinstance(result, Exception):
                raise result
            return result

        assert await ritellm.while_connected(receive, work(3)) == 3
        with pytest.raises(LookupError):
            await ritellm.while_connected(receive, work(LookupError()))
        waiting = asyncio.ensure_future(ritellm.while_connected(receive, work(None)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        asyncio.get_running_loop().call_soon(went.set)
        with pytest.raises(ritellm.ClientDisconnectedError):
            await ritellm.while_connected(receive, work(None))
        assert cancelled == [True, True]
        # A coroutine that is dropped would warn.
        for wrong in ((3, work(1)), (receive, 3)):
            with pytest.raises(ritellm.InvalidArgumentError, match="would be right"):
                await ritellm.while_connected(*wrong)  # type: ignore[arg-type]

    @pytest.mark.parametrize("kind", ["coroutine", "task"])
    async def test_a_client_that_goes_away_while_its_body_is_read(self, kind: str) -> None:
        async def receive() -> dict[str, str]:
            return {"type": "http.disconnect"}

        scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
        work: Any = asyncio.sleep(PATIENCE)
        call = work if kind == "coroutine" else asyncio.ensure_future(work)
        with pytest.raises(ritellm.ClientDisconnectedError):
            await ritellm.while_connected(fastapi.Request(scope, receive), call)
        if kind == "coroutine":
            assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED
        else:
            await asyncio.wait((call,))
            assert call.cancelled()


class Items:
    """Items that can be read on an event loop only."""

    async def __aiter__(self) -> AsyncIterator[int]:
        yield 1


class TestWithoutAsgi:
    def test_wsgi_closes_it(self, at_openai: Server) -> None:
        at_openai.answer(stream_of(*events([chunk_of({"content": "Hel"})], done=False), Stall()))
        body = ritellm.sse(ritellm.completion(MODEL, MESSAGES, stream=True))
        assert "Hel" in next(iter(body)).decode()
        body.close()
        at_openai.last.wait_gone()

    def test_lines_and_errors(self) -> None:
        broken = Stream.from_chunks(["a"], error=RateLimitError("slow down", status_code=429))
        lines = [json.loads(line) for line in ritellm.ndjson(broken)]
        assert lines[0]["choices"][0]["delta"] == {"content": "a"} and lines[1]["error"]["message"] == "slow down"

        async def later() -> None: ...

        for source in (call := later(), Items()):
            with pytest.raises(ritellm.InvalidArgumentError, match="this stream is async"):
                list(ritellm.sse(source))
        call.close()

    async def test_async_iteration(self) -> None:
        pieces = [piece async for piece in ritellm.sse(Stream.from_chunks(["a"], error=RateLimitError("slow down")))]
        assert pieces[0].startswith(b"data: {") and pieces[1].startswith(b"event: error\n")
        assert [piece async for piece in ritellm.sse([])] == [b"data: [DONE]\n\n"]

    async def test_streams_of_other_packages(self) -> None:
        class Theirs:
            closed = False

            async def __aiter__(self) -> AsyncIterator[pydantic.BaseModel]:
                yield Turn(messages=[])

            async def close(self) -> None:
                self.closed = True

        theirs = Theirs()
        pieces = await read(ritellm.sse(theirs))
        assert pieces == [b'data: {"messages":[]}\n\n', b"data: [DONE]\n\n"] and theirs.closed

    async def test_what_python_takes_for_the_end_of_a_line(self) -> None:
        """`str.splitlines` cuts at these; JSON has an escape for each."""
        text = "a\u2028b\u2029c\x85d"
        for made in (ritellm.sse([text]), ritellm.ndjson([text])):
            first = (await read(made))[0].decode().strip()
            assert len(first.splitlines()) == 1 and json.loads(first.removeprefix("data: ")) == text

    async def test_halves_of_characters(self) -> None:
        """A host may cut between them."""
        assert await read(ritellm.ndjson(["\ud83d", "\ude00"])) == [b'"\\ud83d"\n', b'"\\ude00"\n']

    async def test_a_server_that_tells_the_disconnect_by_an_error(self) -> None:
        closed: list[bool] = []

        async def items() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                closed.append(True)

        async def receive() -> None:
            await asyncio.sleep(PATIENCE)

        async def send(_: Any) -> None:
            raise OSError("gone")

        await ritellm.sse(items())({"type": "http"}, receive, send)
        assert closed == [True]

    async def test_one_that_is_left_while_it_is_idle(self) -> None:
        ended: list[bool] = []

        async def items() -> AsyncIterator[int]:
            try:
                yield 1
                await asyncio.sleep(PATIENCE)
            finally:
                ended.append(True)

        pieces: Any = aiter(ritellm.sse(items(), keep_alive=0.001))
        assert [await anext(pieces), await anext(pieces)] == [b"data: 1\n\n", b": keep-alive\n\n"]
        await pieces.aclose()
        assert ended == [True]

    @pytest.mark.parametrize("wrong", [3, None, "text", {"a": 1}, ChatCompletion(choices=[])])
    def test_what_is_no_stream(self, wrong: Any) -> None:
        with pytest.raises(ritellm.InvalidArgumentError, match="stream is of type"):
            ritellm.sse(wrong)
        with pytest.raises(ritellm.InvalidArgumentError, match="keep_alive is 0"):
            ritellm.sse([], keep_alive=0)

    def test_where_starlette_is_not_imported(self) -> None:
        program = """
import sys, ritellm
made = ritellm.sse([{"a": 1}])
assert "starlette" not in sys.modules and "pydantic" not in sys.modules
assert type(made) is ritellm.EventStream and made.headers["content-type"] == "text/event-stream"
assert b"".join(made) == b'data: {"a":1}\\n\\ndata: [DONE]\\n\\n'
"""
        subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE)


class TestStatuses:
    @pytest.mark.parametrize(
        ("error", "status", "kind"),
        [
            (ritellm.InvalidArgumentError("m"), 400, "invalid_request_error"),
            (ritellm.UnsupportedParamsError("m"), 400, "invalid_request_error"),
            (ritellm.ContextWindowExceededError("m", status_code=400), 400, "invalid_request_error"),
            (ritellm.BadRequestError("m", status_code=413), 413, "invalid_request_error"),
            (ritellm.BadRequestError("m", status_code=402), 502, "api_error"),
            (ritellm.AuthenticationError("m", status_code=401), 500, "api_error"),
            (ritellm.PermissionDeniedError("m", status_code=403), 500, "api_error"),
            (ritellm.NotFoundError("m", status_code=404), 404, "not_found_error"),
            (ritellm.ConflictError("m"), 409, "conflict_error"),
            (ritellm.UnprocessableEntityError("m"), 422, "invalid_request_error"),
            (ritellm.RateLimitError("m"), 429, "rate_limit_error"),
            (ritellm.InternalServerError("m", status_code=500), 502, "api_error"),
            (ritellm.ServiceUnavailableError("m", status_code=529), 503, "overloaded_error"),
            (ritellm.Timeout("m"), 504, "timeout_error"),
            (ritellm.Timeout("m", code="queue_timeout"), 503, "overloaded_error"),
            (ritellm.APIConnectionError("m"), 502, "api_error"),
            (ritellm.IncompleteStreamError("m"), 502, "api_error"),
            (ritellm.APIResponseValidationError("m"), 502, "api_error"),
            (ritellm.OutputRefusedError("m"), 422, "invalid_request_error"),
            (ritellm.OutputValidationError("m"), 502, "api_error"),
            (ritellm.MaxStepsError("m"), 500, "api_error"),
            (ritellm.ClientDisconnectedError("m"), 499, "client_disconnected"),
            (LookupError("m"), 500, "api_error"),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
    )
    def test_each_class(self, error: Exception, status: int, kind: str) -> None:
        reply = ritellm.http_error(error)
        assert (reply.status, reply.body["error"]["type"]) == (status, kind)
        assert json.loads(json.dumps(reply.body)) == reply.body and reply.headers == {}

    def test_every_error_of_the_package_has_one(self) -> None:
        for name in ritellm.exceptions.__all__:
            assert 400 <= ritellm.http_error(getattr(ritellm, name)("m")).status < 600

    def test_what_the_client_may_not_read(self) -> None:
        auth = ritellm.AuthenticationError(
            "key sk-…, org acme", provider="openai", status_code=401, code="bad", body={"error": {"param": "k"}}
        )
        assert ritellm.http_error(auth).body["error"] == {
            "message": "openai does not accept the service's key",
            "type": "api_error",
            "param": None,
            "code": None,
        }
        forwarded = ritellm.http_error(auth, forward_auth=True)
        assert (forwarded.status, forwarded.body["error"]["message"]) == (401, "key sk-…, org acme")
        for error in (
            ritellm.APIConnectionError("10.0.0.3 refuses"),
            ritellm.Timeout("quota"),
            LookupError("x"),
            ritellm.JournalError("cannot write /srv/labels"),
            ritellm.RiteLLMError("the weights in /srv cannot be converted"),
            # Made here, and not by the provider.
            ritellm.RateLimitError("the quota openai/acme is stopped"),
            ritellm.ServiceUnavailableError("the deployments a and b are cooling"),
            ritellm.NotFoundError("no such file: /srv/model.gguf"),
        ):
            assert str(error) not in json.dumps(ritellm.http_error(error).body)

    def test_what_the_provider_says_of_a_request_is_told(self) -> None:
        for error in (
            RateLimitError("slow down", status_code=429),
            ritellm.NotFoundError("no such model", status_code=404),
            ritellm.InvalidArgumentError("temperature is 3"),
        ):
            assert ritellm.http_error(error).body["error"]["message"] == error.message

    @pytest.mark.parametrize(("told", "written"), [(0, "0"), (0.1, "1"), (2, "2"), (2.5, "3"), (-1, "0"), (None, None)])
    def test_retry_after(self, told: Any, written: Any) -> None:
        for error in (RateLimitError("m", retry_after=told), ritellm.ServiceUnavailableError("m", retry_after=told)):
            assert ritellm.http_error(error).headers.get("Retry-After") == written

    async def test_a_call_that_was_not_admitted(self, at_openai: Server) -> None:
        at_openai.answer(Answer(before=[Stall()]))
        async with ritellm.Client(max_in_flight=1, timeout={"queue": 0.01}) as client:
            first = asyncio.ensure_future(client.acompletion(MODEL, MESSAGES))
            while not at_openai.requests:
                await asyncio.sleep(0.001)
            with pytest.raises(ritellm.Timeout) as raised:
                await client.acompletion(MODEL, MESSAGES)
            assert raised.value.code == "queue_timeout" and ritellm.http_error(raised.value).status == 503
            first.cancel()


class Turn(pydantic.BaseModel):
    messages: list[Message]
    earlier: ChatCompletion | None = None


class TestSchema:
    def test_each_class_once(self) -> None:
        service = fastapi.FastAPI()

        @service.post("/a")
        async def a(turn: Turn) -> ChatCompletion: ...

        @service.post("/b")
        async def b(turn: Turn) -> list[ritellm.Response] | ritellm.EmbeddingResponse: ...

        schema = service.openapi()
        check_schema(schema)
        names = set(schema["components"]["schemas"])
        assert {
            "ChatCompletion",
            "Choice",
            "Message",
            "Usage",
            "Response",
            "ResponseItem",
            "EmbeddingResponse",
        } <= names
        assert not [name for name in names if "__" in name or "-Input" in name]
        choice = schema["components"]["schemas"]["Choice"]["properties"]
        assert choice["message"] == {"$ref": "#/components/schemas/Message"}


def check_schema(schema: dict[str, Any]) -> None:
    """Checks that every reference leads somewhere."""
    references = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(schema)))
    assert references and references <= set(schema["components"]["schemas"])


@pytest.fixture(scope="module")
def provider() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def service(
    provider: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The service of the documentation, under uvicorn with two workers."""
    page = (Path(__file__).parents[1] / "docs/web-services.md").read_text()
    source = page.split("```python\n")[1].split("```")[0]
    folder = tmp_path_factory.mktemp("service")
    # Which worker has answered.
    pid = """
import os

@app.middleware("http")
async def tell(request, call_next):
    response = await call_next(request)
    response.headers["x-pid"] = str(os.getpid())
    return response
"""
    (folder / "service.py").write_text(source + pid)
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "service:app",
        "--workers",
        "2",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, **provider.environment})
    try:
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.01)
        yield port, process
    finally:
        process.terminate()
        process.wait(PATIENCE)


QUESTION = {"messages": [{"role": "user", "content": "Hi"}]}


class TestService:
    def test_its_calls(self, provider: Server, service: tuple[int, Any]) -> None:
        port, _ = service
        provider.answer(plain("Hi"))
        got = post(port, "/chat", {**QUESTION, "temperature": 0.5})
        assert got.status == 200 and json.loads(got.text)["choices"][0]["message"]["content"] == "Hi"
        assert provider.last.json["temperature"] == 0.5 and provider.last.json["messages"] == QUESTION["messages"]
        assert post(port, "/chat", {**QUESTION, "temperature": 3}).status == 422
        provider.answer(plain('{"title": "Fire", "priority": "high"}'))
        assert json.loads(post(port, "/tickets?text=x").text) == {"title": "Fire", "priority": "high"}
        provider.answer(streamed("Hel", "lo"))
        assert post(port, "/chat/stream", QUESTION).text.endswith("data: [DONE]\n\n")
        provider.answer(Answer(401, {}, b'{"error": {"message": "bad key"}}'))
        got = post(port, "/chat", QUESTION)
        assert got.status == 500 and "bad key" not in got.text

    def test_both_workers_answer(self, provider: Server, service: tuple[int, Any]) -> None:
        port, _ = service
        provider.answer(plain("Hi"))
        pids: set[str] = set()
        end = time.monotonic() + PATIENCE
        while len(pids) < 2 and time.monotonic() < end:
            # At once, so that one worker is busy.
            waiting = [opened_at(port, "/chat", QUESTION) for _ in range(8)]
            for connection in waiting:
                pids.add(Got(connection.getresponse()).headers["x-pid"])
                connection.close()
        assert len(pids) == 2

    def test_its_schema(self, service: tuple[int, Any]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service[0], timeout=PATIENCE)
        connection.request("GET", "/openapi.json")
        schema = json.loads(connection.getresponse().read())
        connection.close()
        check_schema(schema)
        answer = schema["paths"]["/chat"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert answer == {"$ref": "#/components/schemas/ChatCompletion"}
        assert {"Question", "Ticket", "ChatCompletion", "Message", "Choice", "Usage"} <= set(
            schema["components"]["schemas"]
        )

    @pytest.mark.parametrize("path", ["/chat", "/chat/stream"])
    def test_a_client_that_goes_away(self, provider: Server, service: tuple[int, Any], path: str) -> None:
        provider.answer(Answer(before=[Stall()]))
        before = len(provider.requests)
        connection = opened_at(service[0], path, QUESTION)
        request = provider.wait_for_requests(before + 1)[-1]
        connection.close()
        request.wait_gone()

    @pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM to processes")
    def test_the_end_waits_for_a_stream(self, provider: Server, service: tuple[int, subprocess.Popen[bytes]]) -> None:
        port, process = service
        gate = Gate()
        provider.answer(stream_of(*events([chunk_of({"content": "Hel"})], done=False), gate, *streamed("lo").pieces()))
        connection = opened_at(port, "/chat/stream", QUESTION)
        response = connection.getresponse()
        assert b"Hel" in response.readline()
        process.send_signal(signal.SIGTERM)
        gate.open()
        assert Got(response).text.endswith("data: [DONE]\n\n")
        assert process.wait(PATIENCE) in (0, -signal.SIGTERM)
        connection.close()
