"""Tests of the compat layer's core: modules, calls, streams, types and exceptions."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import ritellm.compat
from ritellm.testing import MockServer

ritellm.compat.install()
import litellm  # noqa: E402

HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def server() -> Iterator[MockServer]:
    with MockServer(intercept=False) as server:
        yield server


def at(server: MockServer) -> dict[str, Any]:
    return {"api_base": f"{server.url}/v1", "api_key": "sk-test", "max_retries": 0}


def test_a_call(server: MockServer) -> None:
    server.reply("Hello", usage={"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4})
    response = litellm.completion("openai/gpt-4o-mini", HI, temperature=0, **at(server))
    assert isinstance(response, litellm.ModelResponse)
    assert response.choices[0].message.content == response["choices"][0]["message"]["content"] == "Hello"
    assert response.usage.prompt_tokens == response["usage"]["prompt_tokens"] == 3
    assert response._hidden_params["custom_llm_provider"] == "openai"
    assert response.model_dump()["choices"][0]["message"]["role"] == "assistant"
    assert not hasattr(response.choices[0].message, "reasoning_content")
    (request,) = server.requests
    assert request.json == {"model": "gpt-4o-mini", "messages": HI, "temperature": 0}


async def test_an_async_call(server: MockServer) -> None:
    server.reply("Hello")
    response = await litellm.acompletion(model="openai/gpt-4o-mini", messages=HI, **at(server))
    assert response.choices[0].message.content == "Hello"


def test_a_stream(server: MockServer) -> None:
    server.reply("Hello there")
    stream = litellm.completion("openai/gpt-4o-mini", HI, stream=True, **at(server))
    assert isinstance(stream, litellm.CustomStreamWrapper)
    chunks = list(stream)
    assert all(isinstance(chunk, litellm.ModelResponseStream) for chunk in chunks)
    assert [chunk.choices[0].delta.role for chunk in chunks][:2] == ["assistant", None]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there"
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"
    assert chunks[0]._hidden_params["custom_llm_provider"] == "openai"


async def test_an_async_stream(server: MockServer) -> None:
    server.reply("Hello there")
    stream = await litellm.acompletion("openai/gpt-4o-mini", HI, stream=True, **at(server))
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Hello there"


def test_an_error(server: MockServer) -> None:
    import openai

    server.fail(429, "slow down")
    with pytest.raises(litellm.RateLimitError) as caught:
        litellm.completion("openai/gpt-4o-mini", HI, **at(server))
    error = caught.value
    assert isinstance(error, openai.RateLimitError)
    assert str(error) == "litellm.RateLimitError: RateLimitError: OpenAIException - slow down"
    assert (error.status_code, error.llm_provider, error.model) == (429, "openai", "gpt-4o-mini")
    assert error.response.status_code == 429
    assert error.response.headers["x-request-id"] == error.request_id
    assert error.response.json()["message"] == error.body["message"] == "slow down"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("RateLimitError", ("boo", "openai", "gpt")),
        ("BadRequestError", ("boo", "gpt", "openai")),
        ("APIError", (418, "boo", "openai", "gpt")),
        ("Timeout", ("boo", "gpt", "openai")),
        ("BudgetExceededError", (1.0, 2.0)),
        ("JSONSchemaValidationError", ("gpt", "openai", "raw", "schema")),
    ],
)
def test_an_exception_is_pickled(name: str, arguments: tuple[Any, ...]) -> None:
    error = getattr(litellm, name)(*arguments)
    restored = pickle.loads(pickle.dumps(error))
    assert type(restored) is type(error) is getattr(litellm.exceptions, name)
    assert str(restored) == str(error)
    assert restored.__dict__ == error.__dict__


def test_an_answer_is_pickled(server: MockServer) -> None:
    server.reply("Hello")
    response = litellm.completion("openai/gpt-4o-mini", HI, **at(server))
    data = pickle.dumps(response)
    assert b"ritellm" not in data.replace(b"litellm", b"", 0).replace(b"litellm.types", b"")
    restored = pickle.loads(data)
    assert restored == response
    assert restored._hidden_params["custom_llm_provider"] == "openai"


def test_names_cost_nothing_until_used() -> None:
    program = """
import sys, ritellm.compat
assert "ritellm.compat._finder" not in sys.modules
ritellm.compat.install()
import litellm, litellm.types.utils, litellm.exceptions, litellm.main
for name in ("pydantic", "openai", "httpx", "typing", "ritellm.compat._exceptions", "ritellm.compat._calls"):
    assert name not in sys.modules, name
litellm.completion, litellm.acompletion, litellm.embedding, litellm.text_completion
for name in ("pydantic", "openai", "httpx", "typing", "asyncio"):
    assert name not in sys.modules, name
litellm.ModelResponse
assert "pydantic" in sys.modules and "openai" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_aider_walks_the_exceptions() -> None:
    known = {
        *("APIConnectionError", "APIError", "APIResponseValidationError", "AuthenticationError", "AzureOpenAIError"),
        *("BadGatewayError", "BadRequestError", "BudgetExceededError", "ContentPolicyViolationError", "Timeout"),
        *("ContextWindowExceededError", "ImageFetchError", "InternalServerError", "InvalidRequestError"),
        *("JSONSchemaValidationError", "NotFoundError", "OpenAIError", "PermissionDeniedError", "RateLimitError"),
        *("RouterRateLimitError", "ServiceUnavailableError", "UnprocessableEntityError", "UnsupportedParamsError"),
    }
    # One that is not listed is not listed either when somebody has read it.
    assert issubclass(litellm.CustomLLMError, Exception)
    assert {name for name in dir(litellm) if name.endswith("Error")} == known - {"Timeout", "AzureOpenAIError"}
    assert all(issubclass(getattr(litellm, name), Exception) for name in known)


def test_the_same_object_under_each_path() -> None:
    from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
    from litellm.responses import main
    from litellm.types.utils import ModelResponse
    from litellm.utils import ModelResponse as other

    assert ModelResponse is other is litellm.ModelResponse
    assert CustomStreamWrapper is litellm.CustomStreamWrapper
    assert ModelResponse.__module__ == "litellm.types.utils"
    assert main.__name__ == "litellm.responses.main"


def test_litellm_was_imported_before() -> None:
    program = """
import sys, types
sys.modules["litellm"] = types.ModuleType("litellm")
import ritellm.compat
try:
    ritellm.compat.install()
except RuntimeError as error:
    print(error)
"""
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert output.startswith("litellm was imported before ritellm.compat.install() was called")


def test_embeddings(server: MockServer) -> None:
    server.reply(vectors=[[0.5, 0.25]])
    response = litellm.embedding("openai/text-embedding-3-small", ["a"], **at(server))
    assert isinstance(response, litellm.EmbeddingResponse)
    assert response.data[0]["embedding"] == response["data"][0]["embedding"] == [0.5, 0.25]
    assert response.usage.prompt_tokens > 0
    assert litellm.embedding("openai/x", "a", mock_response=[1.0]).data[0].embedding == [1.0]


def test_a_text_is_completed(server: MockServer) -> None:
    server.reply("Hello")
    response = litellm.text_completion(prompt=["a", "b"], model="openai/gpt-4o-mini", **at(server))
    assert isinstance(response, litellm.TextCompletionResponse)
    assert [(choice.index, choice.text) for choice in response.choices] == [(0, "Hello"), (1, "Hello")]
    with pytest.raises(litellm.BadRequestError, match="no endpoint for completions of texts"):
        litellm.text_completion(prompt="a", model="text-completion-openai/gpt-3.5-turbo-instruct", **at(server))


def test_mock_response() -> None:
    response = litellm.completion("openai/gpt-4o", HI, mock_response="hello", n=2)
    assert [choice.message.content for choice in response.choices] == ["hello", "hello"]
    assert response.usage.total_tokens == 30
    texts = [
        chunk.choices[0].delta.content for chunk in litellm.completion("gpt-4o", HI, mock_response="hello", stream=True)
    ]
    assert texts == ["hel", "lo", None]
    with pytest.raises(litellm.RateLimitError, match="this is a mock rate limit error"):
        litellm.completion("openai/gpt-4o", HI, mock_response="litellm.RateLimitError")
    with pytest.raises(litellm.APIError):
        litellm.completion("openai/gpt-4o", HI, mock_response=litellm.APIError(500, "boo", "openai", "gpt"))
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    response = litellm.completion("openai/gpt-4o", HI, mock_tool_calls=calls)
    assert response.choices[0].message.tool_calls[0].function.name == "f"


async def test_an_async_mock_response() -> None:
    stream = await litellm.acompletion("openai/gpt-4o", HI, mock_response="hello", stream=True)
    assert [chunk.choices[0].delta.content async for chunk in stream] == ["hel", "lo", None]


def test_fallbacks(server: MockServer) -> None:
    server.reply("from the second")
    server.on(model="first").fail(500)
    server.on(model="small").fail(
        400, "This model's maximum context length is 4097 tokens", code="context_length_exceeded"
    )
    response = litellm.completion("openai/first", HI, fallbacks=["openai/second"], **at(server))
    assert response.choices[0].message.content == "from the second"
    response = litellm.completion(
        "openai/small", HI, context_window_fallback_dict={"openai/small": "openai/large"}, **at(server)
    )
    assert [request.model for request in server.requests] == ["first", "second", "small", "large"]


def test_a_provider_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(litellm.CustomLLM):  # type: ignore[misc]
        def completion(self, *args: Any, **kwargs: Any) -> Any:
            assert kwargs["optional_params"] == {"temperature": 0.5}
            return litellm.completion("openai/x", kwargs["messages"], mock_response="own " + kwargs["model"])

        def streaming(self, *args: Any, **kwargs: Any) -> Any:
            for text in ("a", "b"):
                yield {"text": text, "is_finished": False, "finish_reason": "", "usage": None, "index": 0}
            yield {"text": "", "is_finished": True, "finish_reason": "stop", "usage": None, "index": 0}

    monkeypatch.setattr(litellm, "custom_provider_map", [{"provider": "mine", "custom_handler": Own()}])
    assert litellm.completion("mine/model", HI, temperature=0.5).choices[0].message.content == "own model"
    chunks = list(litellm.completion("mine/model", HI, stream=True))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["a", "b", None]
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_settings_act_when_they_are_assigned(server: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reply("Hello")
    monkeypatch.setattr(litellm, "api_base", f"{server.url}/v1")
    monkeypatch.setattr(litellm, "api_key", "sk-set")
    monkeypatch.setattr(litellm, "headers", {"x-team": "search"})
    monkeypatch.setattr(litellm, "api_version", "2024-10-21")
    litellm.completion("openai/gpt-4o-mini", HI)
    (request,) = server.requests
    assert request.headers["authorization"] == "Bearer sk-set"
    assert request.headers["x-team"] == "search"


class Recorder(litellm.CustomLogger):  # type: ignore[misc]
    """A callback that notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
        self.seen.append(("pre", model))

    def log_stream_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.seen.append(("chunk", response_obj.choices[0].delta.content))

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.seen.append(("success", response_obj.choices[0].message.content, response_obj["usage"].total_tokens))
        self.kwargs, self.took = kwargs, end_time - start_time

    def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.seen.append(("failure", type(kwargs["exception"]).__name__))

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.seen.append(("async success", response_obj.choices[0].message.content))

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.seen.append(("async failure", type(kwargs["exception"]).__name__))


def test_callbacks(server: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reply("Hello", usage={"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}, chunks=1)
    server.on(model="bad").fail(400)
    recorder = Recorder()
    functions: list[Any] = []
    monkeypatch.setattr(litellm, "callbacks", [recorder])
    monkeypatch.setattr(litellm, "success_callback", [recorder, lambda *args: functions.append(args[1]), "langfuse"])
    given = {**at(server), "metadata": {"a": 1}}
    response = litellm.completion("openai/gpt-4o-mini", HI, **given)
    assert recorder.seen == [("pre", "gpt-4o-mini"), ("success", "Hello", 4)]
    assert functions == [response]
    assert recorder.kwargs["litellm_params"]["metadata"] == {"a": 1}
    assert "sk-test" not in repr(recorder.kwargs)
    assert recorder.took.total_seconds() >= 0
    recorder.seen.clear()
    list(litellm.completion("openai/gpt-4o-mini", HI, stream=True, **given))
    assert [kind for kind, *_ in recorder.seen][-1] == "success"
    assert ("chunk", "Hello") in recorder.seen
    assert recorder.seen[-1] == ("success", "Hello", 4)
    recorder.seen.clear()
    with pytest.raises(litellm.BadRequestError):
        litellm.completion("openai/bad", HI, **given)
    assert recorder.seen == [("pre", "bad"), ("failure", "BadRequestError")]


async def test_async_callbacks(server: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    server.reply("Hello")
    server.on(model="bad").fail(400)
    recorder = Recorder()
    monkeypatch.setattr(litellm, "callbacks", [recorder])
    await litellm.acompletion("openai/gpt-4o-mini", HI, **at(server))
    with pytest.raises(litellm.BadRequestError):
        await litellm.acompletion("openai/bad", HI, **at(server))
    await asyncio.sleep(0)
    assert [each for each in recorder.seen if each[0] != "pre"] == [
        ("async success", "Hello"),
        ("async failure", "BadRequestError"),
    ]


def test_a_callback_of_a_loop_that_ends(server: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    server.reply("Hello")
    recorder = Recorder()
    monkeypatch.setattr(litellm, "callbacks", [recorder])
    asyncio.run(litellm.acompletion("openai/gpt-4o-mini", HI, **at(server)))
    assert recorder.seen[-1] == ("async success", "Hello")


def test_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "max_budget", 1.0)
    monkeypatch.setattr(litellm, "_current_cost", 2.0)
    with pytest.raises(litellm.BudgetExceededError, match=r"Current cost: 2\.0, Max budget: 1\.0"):
        litellm.completion("openai/gpt-4o", HI, mock_response="hello")


def test_an_answer_is_freed_at_once(server: MockServer) -> None:
    import gc
    import weakref

    server.reply("Hello")
    gc.disable()
    try:
        response = litellm.completion("openai/gpt-4o-mini", HI, **at(server))
        copied = response.model_copy()
        seen = weakref.ref(response)
        del response
        assert seen() is None
        assert copied._hidden_params["provider_response_model"] == "gpt-4o-mini"
    finally:
        gc.enable()


def test_providers_are_those_of_the_core() -> None:
    from ritellm import _core
    from ritellm.compat import _providers, _targets

    known = {provider["name"] for provider in _core.providers()}
    assert known >= _targets._SAME
    assert set(_targets._OTHER_NAMES.values()) <= known
    # What LiteLLM calls by the same name goes to ours, and not to a host that is nothing but an address.
    assert known & set(_providers.NAMES) <= _targets._SAME | set(_targets._OTHER_NAMES)
    assert _targets.COMPATIBLE in known


@pytest.mark.parametrize(
    ("model", "given", "target", "provider"),
    [
        ("gpt-4o", {}, "openai/gpt-4o", "openai"),
        ("hosted_vllm/my/model", {}, "vllm/my/model", "hosted_vllm"),
        ("vertex_ai/gemini-2.5-pro", {}, "vertex/gemini-2.5-pro", "vertex_ai"),
        ("my-model", {"custom_llm_provider": "openai"}, "openai/my-model", "openai"),
        ("claude-sonnet-4-5", {"custom_llm_provider": "anthropic"}, "anthropic/claude-sonnet-4-5", "anthropic"),
        ("custom_openai/m", {"api_base": "http://h/v1"}, "openai_compatible/m", "custom_openai"),
        ("litellm_proxy/m", {"api_base": "http://h/v1"}, "openai_compatible/m", "litellm_proxy"),
    ],
)
def test_where_calls_go(model: str, given: dict[str, Any], target: str, provider: str) -> None:
    from ritellm.compat import _targets

    found = _targets.resolve(model, given.get("custom_llm_provider"), given.get("api_base"))
    assert (found.model, found.provider) == (target, provider)


def test_a_provider_that_is_refused() -> None:
    with pytest.raises(litellm.BadRequestError, match="does not speak to 'sagemaker'; instead: "):
        litellm.completion("sagemaker/endpoint", HI)


def test_anthropics_own_names_of_tokens(server: MockServer) -> None:
    server.reply("Hello")
    response = litellm.completion(
        "anthropic/claude-sonnet-4-5", HI, api_base=server.url, api_key="sk-test", max_retries=0
    )
    assert response.usage.cache_read_input_tokens == response.usage.cache_creation_input_tokens == 0
    assert "native" not in response.usage.model_dump()


def test_all_names_of_a_module() -> None:
    names: dict[str, Any] = {}
    exec("from litellm.types.utils import *", names)
    assert names["ModelResponse"] is litellm.ModelResponse


def test_a_construction_without_validation() -> None:
    usage = litellm.Usage.model_construct(prompt_tokens=1)
    assert (usage.prompt_tokens, usage.completion_tokens) == (1, None)


def test_an_instrumentor_sees_each_call_once(server: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenInference, OpenLLMetry and Opik put wrappers in the place of functions, and of methods of streams."""
    seen: list[str] = []

    def wrapped(name: str) -> Any:
        original = getattr(litellm, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            seen.append(name)
            return original(*args, **kwargs)

        return wrapper

    for name in ("completion", "acompletion", "completion_with_retries", "embedding", "responses", "text_completion"):
        monkeypatch.setattr(litellm, name, wrapped(name))
    following = litellm.CustomStreamWrapper.__next__
    monkeypatch.setattr(litellm.CustomStreamWrapper, "__next__", lambda self: seen.append("next") or following(self))
    server.reply("Hello", chunks=1)
    litellm.completion("openai/gpt-4o", HI, **at(server))
    litellm.completion_with_retries("openai/gpt-4o", HI, **at(server))
    litellm.text_completion("Hi", "openai/gpt-4o", **at(server))
    litellm.embedding("openai/e", ["a"], **at(server))
    litellm.responses("Hi", "openai/gpt-4o", **at(server))
    assert seen == ["completion", "completion_with_retries", "text_completion", "embedding", "responses"]
    seen.clear()
    chunks = list(litellm.completion("openai/gpt-4o", HI, stream=True, **at(server)))
    assert seen == ["completion", *["next"] * (len(chunks) + 1)]


def test_a_mock_in_the_place_of_a_function() -> None:
    from unittest import mock

    with mock.patch("litellm.completion", return_value="mocked"):
        assert litellm.completion() == "mocked"
    with mock.patch("litellm.main.completion", return_value="mocked"):
        assert litellm.main.completion() == "mocked"
        assert litellm.completion is not litellm.main.completion
    assert litellm.completion.__module__ == "ritellm.compat._calls"
    with mock.patch.object(litellm, "drop_params", True):
        assert litellm.drop_params is True
    assert litellm.drop_params is False


def test_a_module_that_is_loaded_when_it_is_used() -> None:
    """DSPy loads LiteLLM in this way."""
    program = """
import importlib.util, sys
import ritellm.compat
ritellm.compat.install()
spec = importlib.util.find_spec("litellm")
loader = importlib.util.LazyLoader(spec.loader)
spec.loader = loader
module = importlib.util.module_from_spec(spec)
sys.modules["litellm"] = module
loader.exec_module(module)
module.drop_params = True
import litellm
from litellm.responses.main import responses
assert litellm is module and litellm.responses is responses
print(litellm.completion("gpt-4o", [], mock_response="hello").choices[0].message.content, litellm.drop_params)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "hello True\n", done.stderr


def test_every_name_of_the_table() -> None:
    from ritellm.compat import _surface

    for home, _, names in _surface._TABLE:
        module = ritellm.compat._finder.module(home)
        for name in names.split():
            assert hasattr(module, name), (home, name)


def test_a_pickle_names_what_dspy_allows(server: MockServer) -> None:
    """DSPy's disk cache reads classes of `litellm.types` and `openai.types` only, besides plain ones."""
    import io

    modules: set[str] = set()

    class Noting(pickle.Unpickler):
        def find_class(self, module_name: str, global_name: str) -> Any:
            modules.add(module_name)
            return super().find_class(module_name, global_name)

    call = {"name": "f", "arguments": {}}
    server.reply("Hello", tool_calls=[call], usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3})
    answers = [
        litellm.completion("openai/gpt-4o", HI, **at(server)),
        litellm.text_completion("Hi", "openai/gpt-4o", **at(server)),
        litellm.embedding("openai/e", ["a"], **at(server)),
        litellm.responses("Hi", "openai/gpt-4o", **at(server)),
        litellm.completion("anthropic/claude-sonnet-4-5", HI, **{**at(server), "api_base": server.url}),
    ]
    for answer in answers:
        Noting(io.BytesIO(pickle.dumps(answer))).load()
    assert {module for module in modules if not module.startswith(("litellm.types.", "openai.types."))} <= {"builtins"}


def test_messages_are_sent_without_nulls(server: MockServer) -> None:
    server.reply("Hello")
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = litellm.Message(content=None, tool_calls=[call])
    picture = [{"type": "image_url", "image_url": "https://host/a.png"}]
    other = litellm.Message(content=None, tool_calls=[{**call, "id": "2"}])
    messages = [message, other.model_dump(), {"role": "user", "content": picture}]
    litellm.completion("openai/gpt-4o", messages, **at(server))
    sent = {"role": "assistant", "tool_calls": [call]}
    (request,) = server.requests
    assert request.json["messages"] == [
        sent,
        {**sent, "tool_calls": [{**call, "id": "2"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://host/a.png"}}]},
    ]
    assert messages[2]["content"] == picture and isinstance(picture[0]["image_url"], str)


def test_signatures_and_the_version() -> None:
    import importlib.metadata
    import inspect

    parameters = inspect.signature(litellm.completion).parameters
    assert list(parameters)[:6] == ["model", "messages", "timeout", "temperature", "top_p", "n"]
    assert {"tools", "response_format", "api_key", "kwargs"} <= set(parameters)
    assert parameters["model"].default is inspect.Parameter.empty
    assert list(inspect.signature(litellm.acompletion).parameters)[2] == "functions"
    assert inspect.iscoroutinefunction(litellm.acompletion)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'model'"):
        litellm.completion(messages=HI)
    assert importlib.metadata.version("litellm") == "1.110.2"
    assert importlib.metadata.version("ritellm") == ritellm.__version__


def test_what_has_no_effect_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    from ritellm.compat import _logging

    monkeypatch.setattr(_logging, "_told", set())
    monkeypatch.setattr(litellm, "aclient_session", object())
    monkeypatch.setattr(litellm, "success_callback", ["langfuse"])
    for _ in range(2):
        litellm.completion("openai/gpt-4o", HI, mock_response="hello")
    assert [record.name for record in caplog.records] == ["LiteLLM", "LiteLLM"]
    assert "the callback 'langfuse' is LiteLLM's own integration" in caplog.text
    assert "aclient_session have no effect" in caplog.text


async def test_a_callback_that_fails_harms_no_call(server: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reply("Hello")
    failures: list[Any] = []

    async def too_few(kwargs: Any, response: Any) -> None:
        raise AssertionError("it is not called")

    monkeypatch.setattr(litellm, "success_callback", [too_few])
    monkeypatch.setattr(litellm, "failure_callback", [lambda *args: failures.append(args)])
    given = {**at(server), "metadata": "text"}
    response = await litellm.acompletion("openai/gpt-4o-mini", HI, **given)
    assert (response.choices[0].message.content, failures) == ("Hello", [])


def test_callbacks_get_no_secrets(server: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reply("Hello")
    seen: list[str] = []
    monkeypatch.setattr(litellm, "success_callback", [lambda kwargs, *args: seen.append(repr(kwargs))])
    litellm.completion(
        "bedrock/us.amazon.nova-lite-v1:0",
        HI,
        api_base=server.url,
        aws_access_key_id="AKIAX",
        aws_secret_access_key="secret-of-aws",
        aws_session_token="token-of-aws",
        aws_region_name="us-east-1",
    )
    assert len(seen) == 1
    assert not any(secret in seen[0] for secret in ("AKIAX", "secret-of-aws", "token-of-aws"))


def test_the_first_response_is_not_kept_waiting(server: MockServer) -> None:
    server.on(model="slow").stall()
    server.on(model="fast").reply("Hello")
    response = litellm.batch_completion_models(
        models=["openai/slow", "openai/fast"], messages=HI, timeout=60, **at(server)
    )
    assert response.choices[0].message.content == "Hello"
    server.close()


def test_fallbacks_for_long_prompts_in_a_circle_end(server: MockServer) -> None:
    server.fail(400, code="context_length_exceeded")
    with pytest.raises(litellm.ContextWindowExceededError):
        litellm.completion(
            "openai/a", HI, context_window_fallback_dict={"openai/a": "openai/b", "openai/b": "openai/a"}, **at(server)
        )
    assert [request.model for request in server.requests] == ["a", "b"]


async def test_a_mocked_timeout_keeps_no_loop_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    def sleep(seconds: float) -> None:
        raise AssertionError("the event loop is blocked")

    monkeypatch.setattr(time, "sleep", sleep)
    for given in ({"mock_timeout": True, "timeout": 0.01}, {"mock_timeout": True, "timeout": "0.01"}):
        with pytest.raises(litellm.Timeout):
            await litellm.acompletion("openai/gpt-4o", HI, **given)
    answer = await litellm.acompletion("openai/gpt-4o", HI, mock_response="Hello", mock_delay=0.01)
    assert answer.choices[0].message.content == "Hello"
