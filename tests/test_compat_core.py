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
for name in ("pydantic", "openai", "httpx", "ritellm.compat._types", "ritellm.compat._exceptions", "ritellm.compat._calls"):
    assert name not in sys.modules, name
litellm.completion
assert "openai" not in sys.modules
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
