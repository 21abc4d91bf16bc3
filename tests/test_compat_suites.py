"""Tests of what other projects' own suites found in the compat layer: docs/ecosystem.md."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest

import ritellm.compat
from ritellm.testing import MockServer

ritellm.compat.install()
import litellm  # noqa: E402
from litellm.types.utils import EmbeddingResponse, ImageObject, ImageResponse, ModelResponse  # noqa: E402

HI = [{"role": "user", "content": "Hi"}]


async def test_mocks_in_the_place_of_the_openai_client_answer_calls() -> None:
    """As the tests of openinference and dspy do it."""
    client = litellm.OpenAIChatCompletion
    answer = ModelResponse(choices=[{"message": {"content": "mocked"}}])
    with patch.object(client, "completion", return_value=answer) as mock:
        response = litellm.completion("gpt-4o", HI, temperature=0.5)
        assert response.choices[0].message.content == "mocked"
        assert mock.call_args.kwargs["model"] == "gpt-4o"
        assert mock.call_args.kwargs["messages"] == HI
        assert mock.call_args.kwargs["optional_params"] == {"temperature": 0.5}
    with patch.object(client, "acompletion", return_value=answer):
        assert (await litellm.acompletion("gpt-4o", HI)).choices[0].message.content == "mocked"
    vectors = EmbeddingResponse(model="m", data=[{"embedding": [0.5], "index": 0, "object": "embedding"}])
    with (
        patch.object(client, "embedding", return_value=vectors),
        patch.object(client, "aembedding", return_value=vectors),
    ):
        assert litellm.embedding("text-embedding-ada-002", ["a"]).data[0]["embedding"] == [0.5]
        assert (await litellm.aembedding("text-embedding-ada-002", ["a"])).data[0]["embedding"] == [0.5]
    picture = ImageResponse(created=1, data=[ImageObject(url="https://example.com")])
    with patch.object(client, "image_generation", return_value=picture):
        assert litellm.image_generation(model="dall-e-2", prompt="a sunrise").data[0].url == "https://example.com"
    # Afterwards nothing is left of it.
    with pytest.raises(litellm.BadRequestError, match="no image generation"):
        litellm.image_generation(model="dall-e-2", prompt="a sunrise")


def test_tools_of_a_response_are_models() -> None:
    tool: dict[str, Any] = {"type": "web_search_preview", "search_context_size": "medium"}
    response = litellm.ResponsesAPIResponse(id="r", created_at=1, output=[], tools=[tool])
    assert response.tools[0].search_context_size == "medium"
    assert response.model_dump()["tools"] == [tool]


def test_log_probabilities_without_a_refusal_have_none_in_their_dump() -> None:
    logprobs = litellm.types.utils.ChoiceLogprobs(content=[{"token": "a", "logprob": -1.0, "top_logprobs": []}])
    assert "refusal" not in logprobs.model_dump()
    assert logprobs.refusal is None


def test_a_picture_is_one_of_openais() -> None:
    from openai.types.image import Image

    image = ImageObject(url="https://example.com")
    assert isinstance(image, Image)
    assert image.model_dump() == {
        "b64_json": None,
        "revised_prompt": None,
        "url": image.url,
        "provider_specific_fields": None,
    }


def test_a_list_of_models_is_a_call_of_each() -> None:
    """As dspy passes a saved one on."""
    models = [
        {"model_name": "a", "litellm_params": {"model": "openai/gpt-4o", "mock_response": "first"}},
        {"model_name": "b", "litellm_params": {"model": "openai/gpt-4o", "mock_response": "other"}},
    ]
    assert litellm.completion("a", HI, model_list=models).choices[0].message.content == "first"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
    ],
)
def test_parts_of_unknown_size_are_not_counted_as_nothing(part: dict[str, Any]) -> None:
    """curator estimates them itself when it gets a ValueError."""
    with pytest.raises(ValueError, match="Invalid content item type"):
        litellm.token_counter("anthropic/claude-sonnet-4-6", messages=[{"role": "user", "content": [part]}])


@pytest.mark.parametrize("name", ["Usage", "Message", "Choices", "Delta", "Function", "ChatCompletionMessageToolCall"])
def test_types_that_are_filled_can_be_built_before(name: str) -> None:
    """pydantic before 2.13 needs it: `_fill._complete`."""
    kind = getattr(litellm.types.utils, name)
    kind.model_rebuild()
    assert kind.__pydantic_complete__


def test_parameters_of_chat_are_not_sent_to_the_responses_api() -> None:
    with MockServer(intercept=False) as server:
        server.reply("Hello")
        at = {"api_base": f"{server.url}/v1", "api_key": "k"}
        litellm.responses("Hi", "openai/gpt-4.1", max_tokens=100, stop=["a"], temperature=0.5, **at)
        (request,) = server.requests
    assert request.json == {"model": "gpt-4.1", "input": "Hi", "temperature": 0.5}


def test_serializers_are_there_where_pydantic_does_not_build_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 2.14, pydantic cannot serialize a model of a program's with an answer in it whose type it has not built."""
    import inspect
    import re

    from ritellm.compat import _fill

    def refused(value: Any) -> Any:
        raise TypeError("'MockValSer' object is not an instance of 'SchemaSerializer'")

    built = set()
    monkeypatch.setattr(_fill, "to_jsonable_python", refused)
    for name in set(re.findall(r"return make\(\s*(\w+)", inspect.getsource(_fill))):
        monkeypatch.setattr(getattr(_fill, name), "model_rebuild", lambda name=name: built.add(name))
    _fill._complete()
    assert built >= {"ModelResponse", "ModelResponseStream", "Message", "Delta", "Usage", "StreamingChoices"}
    # What is made elsewhere builds its type itself.
    for made in (
        lambda kind: kind.model_construct(),
        lambda kind: kind.__new__(kind).__setstate__({"__dict__": {}, "__pydantic_fields_set__": set()}),
    ):
        kind = type("Unbuilt", (_fill.OpenAIObject,), {})
        assert not kind.__pydantic_complete__
        made(kind)
        assert kind.__pydantic_complete__


def test_names_that_litellm_imports_are_there_and_not_listed() -> None:
    """OpenHands takes BaseModel from litellm, guardrails litellm itself."""
    import openai
    import pydantic
    from litellm import BaseModel
    from litellm import litellm as again
    from litellm.main import OpenAI

    assert BaseModel is pydantic.BaseModel
    assert again is litellm
    assert OpenAI is openai.OpenAI
    assert litellm.llms.openai is not openai
    assert "ConfigDict" not in dir(litellm)
