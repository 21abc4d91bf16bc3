"""Tests of `ritellm.testing.MockServer`: every format, plain and streamed, and everything that it can be told to do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from providers import NATIVE

import ritellm
from ritellm.testing import MockServer

MESSAGES = [{"role": "user", "content": "Hi, what is the weather?"}]

MODELS = {
    "chat": "openai/gpt-4o",
    "anthropic": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.5-flash",
    "bedrock": "bedrock/anthropic.claude-3-haiku-20240307-v1:0",
    "cohere": "cohere/command-a-03-2025",
    "ollama": "ollama_chat/llama3",
}
HOSTS = [
    "groq/llama-3.3-70b",
    "azure/deployment",
    "vertex/gemini-2.5-flash",
    "vertex/claude-sonnet-4-5",
    "databricks/x",
]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with MockServer() as server:
        yield server


def streamed(model: str, **arguments: Any) -> ritellm.ChatCompletion:
    with ritellm.completion(model, MESSAGES, stream=True, **arguments) as stream:
        built = ritellm.stream_chunk_builder(list(stream))
    assert built is not None
    return built


def test_every_format_is_answered() -> None:
    assert {model.partition("/")[0] for model in [*MODELS.values(), *HOSTS]} >= NATIVE


@pytest.mark.parametrize("endpoint", MODELS)
def test_texts(server: MockServer, endpoint: str) -> None:
    text = 'Grüße aus "Oslo",\n\n  zwei  Zeilen\\ '
    server.reply(text, usage={"prompt_tokens": 11, "completion_tokens": 7})
    plain = ritellm.completion(MODELS[endpoint], MESSAGES)
    pieces = streamed(MODELS[endpoint], stream_options={"include_usage": True})
    for response in (plain, pieces):
        assert response.choices[0].message.content == text
        assert response.choices[0].finish_reason == "stop"
        assert response.usage is not None
        assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (11, 7)
    assert [request.endpoint for request in server.requests] == [endpoint, endpoint]
    assert server.requests[0].model == MODELS[endpoint].partition("/")[2]


@pytest.mark.parametrize("endpoint", MODELS)
def test_tool_calls_and_reasoning(server: MockServer, endpoint: str) -> None:
    arguments = {"city": "Ålesund", "days": [1, 2, {"unit": "°C"}]}
    calls = [{"name": "weather", "arguments": arguments}, {"name": "clock", "arguments": "{}"}]
    server.reply(tool_calls=calls, reasoning="Hm, the weather.")
    for response in (ritellm.completion(MODELS[endpoint], MESSAGES), streamed(MODELS[endpoint])):
        choice = response.choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.tool_calls is not None
        made = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls]
        assert made == [("weather", arguments), ("clock", {})]
        assert len({call.id for call in choice.message.tool_calls}) == 2
        assert choice.message["reasoning_content"] == "Hm, the weather."


@pytest.mark.parametrize("endpoint", MODELS)
def test_finish_reasons(server: MockServer, endpoint: str) -> None:
    server.reply("cut", finish_reason="length")
    assert ritellm.completion(MODELS[endpoint], MESSAGES).choices[0].finish_reason == "length"
    assert streamed(MODELS[endpoint]).choices[0].finish_reason == "length"


@pytest.mark.parametrize("model", HOSTS)
def test_hosts_of_known_formats(server: MockServer, model: str) -> None:
    server.reply("Hello!")
    assert ritellm.completion(model, MESSAGES).choices[0].message.content == "Hello!"
    assert streamed(model).choices[0].message.content == "Hello!"


@pytest.mark.parametrize("endpoint", MODELS)
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ritellm.BadRequestError),
        (401, ritellm.AuthenticationError),
        (404, ritellm.NotFoundError),
        (429, ritellm.RateLimitError),
        (500, ritellm.InternalServerError),
        (503, ritellm.ServiceUnavailableError),
    ],
)
def test_errors(server: MockServer, endpoint: str, status: int, error: type[ritellm.APIStatusError]) -> None:
    server.fail(status, "no such luck", retry_after=0.5 if status == 429 else None)
    with pytest.raises(error, match="no such luck") as caught:
        ritellm.completion(MODELS[endpoint], MESSAGES, max_retries=0)
    assert caught.value.status_code == status
    if status == 429:
        assert caught.value.retry_after == 0.5


def test_responses(server: MockServer) -> None:
    server.reply("Hello there!", tool_calls=[{"name": "f", "arguments": {"a": 1}}], reasoning="why")
    plain = ritellm.responses("openai/gpt-4o", "Hi")
    events = list(ritellm.responses("openai/gpt-4o", "Hi", stream=True))
    last = events[-1]["response"]
    assert events[-1]["type"] == "response.completed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for response in (plain, last):
        kinds = [item["type"] for item in response["output"]]
        assert kinds == ["reasoning", "message", "function_call"]
        assert response["output"][1]["content"][0]["text"] == "Hello there!"
        assert json.loads(response["output"][2]["arguments"]) == {"a": 1}
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert deltas == ["Hello", " there!"]


@pytest.mark.parametrize(
    "model",
    [
        "openai/text-embedding-3-small",
        "gemini/gemini-embedding-001",
        "cohere/embed-v4.0",
        "ollama_chat/nomic-embed-text",
        "bedrock/amazon.titan-embed-text-v2:0",
    ],
)
def test_embeddings(server: MockServer, model: str) -> None:
    rows = ritellm.embedding(model, ["a", "b", "a"]).data
    assert [row.index for row in rows] == [0, 1, 2]
    assert rows[0].embedding == rows[2].embedding != rows[1].embedding
    assert sum(x * x for x in rows[0].embedding) == pytest.approx(1, abs=1e-4)
    if model.startswith("bedrock/"):
        return  # One text a request.
    server.reply(vectors=[[1, 0.5], [0, -1]])
    assert [row.embedding for row in ritellm.embedding(model, ["a", "b"]).data] == [[1, 0.5], [0, -1]]


@pytest.mark.parametrize(
    "model", ["openai/gpt-4o", "anthropic/claude-3-5-haiku-latest", MODELS["bedrock"], MODELS["gemini"]]
)
def test_structured_output(server: MockServer, model: str) -> None:
    pydantic = pytest.importorskip("pydantic")
    City = pydantic.create_model("City", name=(str, ...), size=(int, ...))
    server.reply(json=City(name="Oslo", size=7))
    response = ritellm.completion(model, MESSAGES, response_format=City)
    assert response.parsed == City(name="Oslo", size=7)


def test_failures_then_an_answer(server: MockServer) -> None:
    server.reply("Hello")
    server.fail(429, retry_after=0, times=2)
    response = ritellm.completion("openai/gpt-4o", MESSAGES)
    assert response.choices[0].message.content == "Hello"
    assert response.meta.retries == 2
    assert len(server.requests) == 3


def test_answers_in_turn_and_ids_that_differ(server: MockServer) -> None:
    server.reply("a", "b")
    responses = [ritellm.completion("openai/gpt-4o", MESSAGES) for _ in range(4)]
    assert [response.choices[0].message.content for response in responses] == ["a", "b", "b", "b"]
    assert len({response.id for response in responses}) == 4
    assert len({response.meta.request_id for response in responses}) == 4


def test_rules_for_some_requests(server: MockServer) -> None:
    server.reply("else")
    server.on(model="gpt-4o*").reply("large")
    server.on(contains="weather").fail(418, "teapot", times=1)
    server.on(path="/v1/models").reply(json={"object": "list", "data": []})
    with pytest.raises(ritellm.BadRequestError, match="teapot"):
        ritellm.completion("openai/o3", MESSAGES)
    assert ritellm.completion("openai/o3", MESSAGES).choices[0].message.content == "else"
    assert ritellm.completion("groq/gpt-4o-mini", MESSAGES).choices[0].message.content == "large"
    with urllib.request.urlopen(server.url + "/v1/models") as answer:
        assert json.load(answer) == {"object": "list", "data": []}
    with pytest.raises(urllib.error.HTTPError, match="404") as missing:
        urllib.request.urlopen(server.url + "/v1/other")
    with missing.value:
        assert b"no endpoint /v1/other" in missing.value.read()


@pytest.mark.parametrize("endpoint", MODELS)
def test_a_stream_that_is_cut(server: MockServer, endpoint: str) -> None:
    server.reply("one two three four five")
    server.cut(after_chunks=3, times=1)
    stream = ritellm.completion(MODELS[endpoint], MESSAGES, stream=True)
    with pytest.raises(ritellm.APIConnectionError):
        list(stream)
    assert streamed(MODELS[endpoint]).choices[0].message.content == "one two three four five"


@pytest.mark.parametrize("endpoint", [name for name in MODELS if name != "cohere"])
def test_an_error_in_the_middle_of_a_stream(server: MockServer, endpoint: str) -> None:
    server.reply("one two three four five")
    server.fail(503, "no such luck", after_chunks=4, times=1)
    chunks = []
    with pytest.raises(ritellm.RiteLLMError, match="no such luck"):
        chunks.extend(ritellm.completion(MODELS[endpoint], MESSAGES, stream=True, max_retries=0))
    assert streamed(MODELS[endpoint]).choices[0].message.content == "one two three four five"
    # An answer that is no stream has the status.
    server.fail(503, "no such luck", after_chunks=4, times=1)
    with pytest.raises(ritellm.ServiceUnavailableError, match="no such luck"):
        ritellm.completion(MODELS[endpoint], MESSAGES, max_retries=0)


def test_an_error_in_the_middle_of_a_responses_stream(server: MockServer) -> None:
    server.fail(500, "no such luck", after_chunks=3)
    events = []
    with pytest.raises(ritellm.RiteLLMError, match="no such luck"):
        events.extend(ritellm.responses("openai/gpt-4o", "Hi", stream=True))
    assert server.requests[0].endpoint == "responses"


def test_an_answer_that_is_cut(server: MockServer) -> None:
    server.cut(times=1)
    with pytest.raises(ritellm.APIConnectionError, match="in the middle of an answer"):
        ritellm.completion("openai/gpt-4o", MESSAGES, max_retries=0)
    server.cut(after_chunks=0, times=1)
    with pytest.raises(ritellm.APIConnectionError, match="without an answer"):
        ritellm.completion("openai/gpt-4o", MESSAGES, max_retries=0)


def test_stalls(server: MockServer) -> None:
    server.reply("one two three")
    server.stall(times=1)
    with pytest.raises(ritellm.Timeout):
        ritellm.completion("openai/gpt-4o", MESSAGES, max_retries=0, timeout=0.05)
    server.stall(after_chunks=2, times=1)
    stream = ritellm.completion("openai/gpt-4o", MESSAGES, stream=True, timeout={"idle": 0.05})
    said = []
    with pytest.raises(ritellm.Timeout):
        said.extend(chunk.choices[0].delta.content for chunk in stream)
    # The caller may get chunks before the error; none is invented.
    assert said in ([], [""], ["", "one"])


def test_latency_comes_in_pieces(server: MockServer) -> None:
    server.reply("one two three", chunks=3)
    server.latency(first=0.02, chunk=0.01)
    for call, least in ((streamed, 0.04), (lambda model: ritellm.completion(model, MESSAGES), 0.02)):
        began = time.monotonic()
        assert call("openai/gpt-4o").choices[0].message.content == "one two three"
        # At least as long: a machine that is busy takes more.
        assert time.monotonic() - began >= least


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("openai/gpt-4o", ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests")),
        (
            "anthropic/claude-sonnet-4-5",
            ("anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining"),
        ),
        ("mistral/mistral-small", ("x-ratelimit-limit-req-minute", "x-ratelimit-remaining-req-minute")),
    ],
)
def test_limits_with_the_providers_own_fields(server: MockServer, model: str, names: tuple[str, str]) -> None:
    server.limit(rpm=2, tpm=1_000_000)
    left = []
    for _ in range(2):
        headers = dict(ritellm.completion(model, MESSAGES, max_tokens=10).meta.headers)
        left.append((headers[names[0]], headers[names[1]]))
    assert left == [("2", "1"), ("2", "0")]
    with pytest.raises(ritellm.RateLimitError) as caught:
        ritellm.completion(model, MESSAGES, max_retries=0)
    assert caught.value.retry_after is not None
    assert 20 <= caught.value.retry_after <= 30
    server.reset()
    ritellm.completion(model, MESSAGES)


def test_calls_in_flight_are_limited(server: MockServer) -> None:
    server.limit(1, window="in_flight")
    server.stall(times=1)

    async def main() -> None:
        first = asyncio.ensure_future(ritellm.acompletion("openai/gpt-4o", MESSAGES))
        while not server.requests:
            await asyncio.sleep(0.001)
        with pytest.raises(ritellm.RateLimitError):
            await ritellm.acompletion("openai/gpt-4o", MESSAGES, max_retries=0)
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        while True:
            try:
                return await ritellm.acompletion("openai/gpt-4o", MESSAGES, max_retries=0)
            except ritellm.RateLimitError:
                await asyncio.sleep(0.001)

    asyncio.run(main())


def test_requests_tell_what_was_sent(server: MockServer) -> None:
    ritellm.completion("openai/gpt-4o", MESSAGES, api_key="sk-of-this-test", temperature=0.5)
    (request,) = server.requests
    assert request.url == "https://api.openai.com/v1/chat/completions"
    assert request.path == "/v1/chat/completions"
    assert request.method == "POST"
    assert request.headers["authorization"] == "Bearer sk-of-this-test"
    assert request.json["temperature"] == 0.5
    assert "sk-of-this-test" not in repr(request) + repr(server)


def test_only_the_last_requests_are_kept() -> None:
    with MockServer(keep=2) as server:
        for model in ("a", "b", "c"):
            ritellm.completion(f"openai/{model}", MESSAGES)
        assert [request.model for request in server.requests] == ["b", "c"]


def test_every_client_leads_there_and_back() -> None:
    """Open connections included, of clients that were made before."""
    with MockServer(intercept=False) as outer:
        outer.reply("outer")
        client = outer.client()
        before = ritellm.Client(api_key="k", base_url=outer.url + "/v1")
        assert before.completion("openai/m", MESSAGES).choices[0].message.content == "outer"
        with MockServer() as inner:
            inner.reply("inner")
            assert ritellm.completion("openai/m", MESSAGES).choices[0].message.content == "inner"
            # A server of this process is never taken for another.
            assert before.completion("openai/m", MESSAGES).choices[0].message.content == "outer"
            assert client.completion("anthropic/m", MESSAGES).choices[0].message.content == "outer"
            assert inner.client("groq").completion("groq/m", MESSAGES).choices[0].message.content == "inner"
        assert client.completion("gemini/m", MESSAGES).choices[0].message.content == "outer"
        assert "OPENAI_API_KEY" not in os.environ or not os.environ["OPENAI_API_KEY"].startswith("test-key")


def test_a_pooled_connection_is_not_used_inside() -> None:
    with MockServer() as first:
        first.reply("first")
        assert ritellm.completion("openai/m", MESSAGES).choices[0].message.content == "first"
        with MockServer() as second:
            second.reply("second")
            assert ritellm.completion("openai/m", MESSAGES).choices[0].message.content == "second"
        assert ritellm.completion("openai/m", MESSAGES).choices[0].message.content == "first"
    assert len(first.requests) == 2


@pytest.mark.parametrize("own", [False, True])
def test_limits_of_one_server_do_not_hold_at_the_next(monkeypatch: pytest.MonkeyPatch, own: bool) -> None:
    """Quotas are the process's, or the machine's: pauses, refused keys and used-up limits stay with the server's key."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    name = f"mock-{os.getpid()}-{own}"
    limits = ritellm.Limits({"openai": {"rpm": 1}}, share=f"host:{name}")

    def ask(server: MockServer) -> ritellm.ChatCompletion:
        client = server.client(limits=limits) if own else ritellm.Client(limits=limits)
        return client.completion("openai/m", MESSAGES, timeout={"queue": 0.2}, max_retry_after=1)

    try:
        for status in (429, 401):
            with MockServer() as server, pytest.raises(ritellm.APIStatusError) as raised:
                server.fail(status, retry_after=100)
                ask(server)
            assert raised.value.status_code == status
        with MockServer() as server:
            assert ask(server).choices
    finally:
        os.unlink(f"/dev/shm/ritellm.{os.getuid()}.{name}")


def test_keys_are_set_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are missing, and none that other programs have as well."""
    monkeypatch.setenv("OPENAI_API_KEY", "own")
    before = dict(os.environ)
    with MockServer() as server:
        ritellm.completion("huggingface/m", MESSAGES)
        ritellm.completion("openai/m", MESSAGES)
        keys = [request.headers["authorization"] for request in server.requests]
        assert keys[0].startswith("Bearer test-key-") and keys[1] == "Bearer own"
        assert os.environ.get("HF_TOKEN") == before.get("HF_TOKEN")
    assert dict(os.environ) == before


def test_many_callers_at_once(server: MockServer) -> None:
    server.reply("Hello")

    async def main() -> set[str]:
        responses = await asyncio.gather(*(ritellm.acompletion("openai/gpt-4o", MESSAGES) for _ in range(200)))
        return {response.id for response in responses}

    assert len(asyncio.run(main())) == 200
    threads = [threading.Thread(target=ritellm.completion, args=("openai/gpt-4o", MESSAGES)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 208


def test_any_client_can_use_it() -> None:
    """A body in chunks, and one that waits for leave to be sent."""
    import http.client

    body = json.dumps({"model": "m", "messages": MESSAGES}).encode()
    with MockServer(intercept=False) as server:
        server.reply("Hello")
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        with contextlib.closing(connection):
            for headers, sent in (
                ({"Transfer-Encoding": "chunked"}, iter([body[:10], body[10:]])),
                ({"Content-Length": str(len(body)), "Expect": "100-continue"}, body),
            ):
                connection.request(
                    "POST", "/v1/chat/completions", sent, headers, encode_chunked="Transfer-Encoding" in headers
                )
                answer = json.load(connection.getresponse())
                assert answer["choices"][0]["message"]["content"] == "Hello"
    assert server.requests[0].url == server.url + "/v1/chat/completions"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda server: server.reply({"a": 1}), r"takes texts, not dict: reply\(json=…\)"),
        (lambda server: server.reply("a", finish_reason="end"), "finish_reason is 'end'"),
        (lambda server: server.reply(tool_calls=["weather"]), "a tool call is str"),
        (lambda server: server.reply(json=object()), "cannot be written as JSON"),
        (lambda server: server.reply("a", times=0), "times is 0"),
        (lambda server: server.fail(200), "status is 200"),
        (lambda server: server.fail(500, after_chunks=-1), "after_chunks is -1"),
        (lambda server: server.limit(), "needs rpm or tpm"),
        (lambda server: server.limit(1, window="hour"), "window is 'hour'"),
        (lambda server: server.latency(-1), "first is -1"),
        (lambda server: server.on(), "needs one of"),
        (lambda server: server.client("nobody"), "provider is 'nobody'"),
        (lambda _: MockServer(port=70_000), "port is 70000"),
    ],
)
def test_bad_arguments_are_named(server: MockServer, call: Any, message: str) -> None:
    with pytest.raises(ritellm.InvalidArgumentError, match=message):
        call(server)


FORKS = """
import atexit, os, pathlib, socket, sys, threading
import ritellm
from ritellm.testing import MockServer

MESSAGES = [{"role": "user", "content": "Hi"}]

def said(client=ritellm, **options):
    return client.completion("openai/m", MESSAGES, **options).choices[0].message.content

def in_child(run):
    child = os.fork()
    if child == 0:
        try:
            run()
        except BaseException as error:
            print("in the child:", repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

def equal(one, other):
    assert one == other, (one, other)
"""


def forking(program: str) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    done = subprocess.run([sys.executable, "-c", FORKS + program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_forked_child_uses_its_parents_server() -> None:
    forking("""
with MockServer() as server:
    server.reply("Hello")
    in_child(lambda: equal(said(), "Hello"))
    equal(said(), "Hello")
    equal(len(server.requests), 2)
""")


def test_a_forked_child_that_leaves_the_with_has_left_it() -> None:
    """With its own copy of the detour and of the environment; what is its parent's goes on."""
    forking("""
credentials = lambda: pathlib.Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"])
os.environ.pop("OPENAI_API_KEY", None)
os.environ.pop("GOOGLE_APPLICATION_CREDENTIALS", None)

def leave():
    server.close()
    equal(os.environ.get("OPENAI_API_KEY"), None)
    equal(said(api_key="k", base_url=other.url + "/v1"), "other")
    # As at the end of an interpreter.
    atexit._run_exitfuncs()

with MockServer() as server:
    server.reply("Hello")
    # A server of another process, which the detour does not know.
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        other = MockServer(intercept=False)
        other.reply("other")
        os.write(write, b"%d" % other.port)
        threading.Event().wait(60)
        os._exit(0)
    try:
        port = int(os.read(read, 9))
        class other:
            url = f"http://127.0.0.1:{port}"
        in_child(leave)
        assert credentials().exists()
        equal(os.environ["OPENAI_API_KEY"][:9], "test-key-")
        equal(said(), "Hello")
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
""")


def test_a_detour_of_a_forked_child_leaves_its_parents_connections_open() -> None:
    forking("""
def detour():
    with MockServer() as own:
        own.reply("own")
        equal(said(api_key="k"), "own")

with MockServer(intercept=False) as server:
    server.reply("Hello")
    client = ritellm.Client(api_key="k", base_url=server.url + "/v1", max_retries=0, timeout=20)
    equal(said(client), "Hello")
    in_child(detour)
    equal(said(client), "Hello")
""")


def test_a_server_ends_though_a_forked_child_has_its_sockets() -> None:
    forking("""
server = MockServer(intercept=False)
client = socket.create_connection(("127.0.0.1", server.port))
client.sendall(b"GET /none HTTP/1.1\\r\\nhost: h\\r\\n\\r\\n")
assert client.recv(4096)
client.settimeout(20)
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.read(read, 1)
    os._exit(0)
try:
    server.close()
    while client.recv(4096):
        pass
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=20)
    except ConnectionRefusedError:
        pass
    else:
        raise AssertionError("the port is open")
finally:
    os.write(write, b"x")
    os.waitpid(child, 0)
""")


def test_the_command() -> None:
    command = [sys.executable, "-m", "ritellm", "mock", "--reply", "Hello from the command"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            response = ritellm.completion("openai/m", MESSAGES, api_key="k", base_url=url + "/v1")
            assert response.choices[0].message.content == "Hello from the command"
        finally:
            process.terminate()


def test_an_error_within_a_stream_comes_after_the_answers_own_chunks() -> None:
    with MockServer() as server:
        server.reply("one two three").fail(500, after_chunks=2, times=1)
        stream = ritellm.completion("openai/gpt-4o-mini", MESSAGES, stream=True, max_retries=0)
        with pytest.raises(ritellm.RiteLLMError):
            list(stream)
        assert stream.text and "one two three".startswith(stream.text)


@pytest.mark.parametrize("endpoint", [name for name in MODELS if name != "cohere"])
def test_an_error_behind_a_streams_last_chunk_comes_before_its_end(server: MockServer, endpoint: str) -> None:
    server.reply("one two three").fail(503, "no such luck", after_chunks=99, times=1)
    chunks = []
    with pytest.raises(ritellm.RiteLLMError, match="no such luck"):
        chunks.extend(ritellm.completion(MODELS[endpoint], MESSAGES, stream=True, max_retries=0))
    assert chunks


def test_an_error_within_a_stream_leaves_the_next_error_for_the_next_call() -> None:
    with MockServer() as server:
        server.fail(500, after_chunks=1, times=1).fail(503, times=1)
        with pytest.raises(ritellm.RiteLLMError):
            list(ritellm.completion("openai/gpt-4o-mini", MESSAGES, stream=True, max_retries=0))
        with pytest.raises(ritellm.ServiceUnavailableError):
            ritellm.completion("openai/gpt-4o-mini", MESSAGES, max_retries=0)
