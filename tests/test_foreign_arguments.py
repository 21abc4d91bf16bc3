"""Tests of arguments of other libraries: they are supported, or rejected before anything is sent, never ignored."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import re
import ssl
from typing import Any, TypedDict

import anthropic
import cohere
import httpx
import openai
import pydantic
import pytest
from conftest import Call
from google import genai
from server import Answer, Server, Stall, plain

import ritellm
from ritellm import Client, InvalidArgumentError, Timeout


def test_request_timeout_is_the_timeout(call: Call, at_openai: Server) -> None:
    at_openai.answer(Answer(before=[Stall()]))
    with pytest.raises(Timeout):
        call(request_timeout=0.1, max_retries=0)


def test_a_word_that_is_ours_under_another_name(call: Call, at_openai: Server) -> None:
    at_openai.answer(plain())
    call(request_timeout=30, num_retries_per_request=1, default_max_retries=1, no_log=True)
    (request,) = at_openai.requests
    assert set(request.json) == {"model", "messages"}


@pytest.mark.parametrize(
    "arguments",
    [
        {"mock_response": "hello"},
        {"ssl_verify": False},
        {"fallbacks": ["openai/other"]},
        {"context_window_fallback_dict": {"a": "b"}},
        {"caching": True},
        {"cache": {"no-cache": True}},
        {"custom_llm_provider": "openai"},
        {"stream_timeout": 3},
        {"logger_fn": print},
        {"max_parallel_requests": 3},
        {"rpm": 3},
        {"tpm": 3},
        {"model_list": []},
        {"tags": ["a"]},
        {"api_version": "2024-02-01"},
        {"verify": False},
        {"http_client": object()},
        {"callbacks": [print]},
        {"metadata": {"hook": print}},
        {"input_cost_per_token": 0.1},
        {"organization": "org-1"},
        {"openai_organization": "org-1"},
        {"azure_endpoint": "https://r.openai.azure.com"},
        {"proxies": {}},
        {"trust_env": False},
        {"cert": "client.pem"},
        {"disable_fallbacks": True},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_what_would_mean_nothing_is_refused(call: Call, at_openai: Server, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        call(**arguments)
    assert next(iter(arguments)) in str(caught.value)
    assert at_openai.requests == []


def test_it_is_refused_whatever_the_operation(at_openai: Server) -> None:
    for ask in (ritellm.embedding, ritellm.responses):
        with pytest.raises(InvalidArgumentError, match="nothing is made up here"):
            ask("openai/m", "x", mock_response="x")


def test_none_is_as_good_as_not_given(call: Call, at_openai: Server) -> None:
    at_openai.answer(plain())
    call(mock_response=None, fallbacks=None, api_version=None)


def test_the_providers_own_goes_into_extra_body(call: Call, at_openai: Server) -> None:
    at_openai.answer(plain())
    call(extra_body={"tags": ["a"]}, metadata={"a": "b"})
    assert at_openai.requests[0].json["tags"] == ["a"]


class Model(pydantic.BaseModel):
    x: int


@dataclasses.dataclass
class Data:
    x: int


class Typed(TypedDict):
    x: int


@pytest.mark.parametrize(
    ("given", "right"),
    [
        (Model, "Model.model_json_schema()"),
        (Data, "TypeAdapter(Data).json_schema()"),
        (Typed, "TypeAdapter(Typed).json_schema()"),
        (list[Model], "TypeAdapter("),
    ],
)
def test_a_class_as_response_format(call: Call, at_openai: Server, given: Any, right: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        call(response_format=given)
    assert right in str(caught.value) and '"json_schema"' in str(caught.value)


class TestClients:
    @pytest.mark.parametrize("name", ["verify", "ca_bundle", "ssl_context"])
    def test_a_context_of_the_ssl_module(self, name: str) -> None:
        settings: dict[str, Any] = {name: ssl.create_default_context()}
        with pytest.raises(InvalidArgumentError, match="ca_bundle="):
            Client(**settings)

    def test_every_setting_of_the_vendors_clients_is_known(self) -> None:
        """It is taken, or refused with what to use instead."""
        clients = [anthropic.Anthropic, anthropic.AnthropicBedrock, anthropic.AnthropicVertex, cohere.ClientV2]
        clients += [openai.OpenAI, openai.AzureOpenAI, genai.Client, httpx.Client]
        names = {name for client in clients for name in inspect.signature(client).parameters}
        assert len(names) > 50
        unknown = set()
        for name in names:
            settings: dict[str, Any] = {name: object()}
            try:
                Client(**settings)
            except InvalidArgumentError:
                pass
            except TypeError:
                unknown.add(name)
        assert unknown == {
            *("_token_cache", "client_name", "config", "debug_config", "default_encoding", "enterprise"),
            *("log_warning_experimental_features", "profile", "thread_pool_executor"),
        }

    @pytest.mark.parametrize(
        ("name", "instead"),
        [
            ("http_client", "settings for proxy"),
            ("organization", 'headers={"OpenAI-Organization": …'),
            ("default_query", "extra_query="),
            ("websocket_base_url", "no websockets"),
            ("proxies", "proxy="),
            ("fallbacks", "catch the exception"),
            ("vertex_project", "in the call"),
        ],
    )
    def test_a_setting_of_another_librarys(self, name: str, instead: str) -> None:
        settings: dict[str, Any] = {name: 1}
        with pytest.raises(
            InvalidArgumentError, match=f"{name} is no setting of a client here: .*{re.escape(instead)}"
        ):
            Client(**settings)

    @pytest.mark.parametrize("name", ["api_base", "azure_endpoint"])
    def test_another_name_of_a_setting(self, server: Server, name: str) -> None:
        server.answer(plain())
        others: dict[str, Any] = {
            name: server.base_url,
            "default_headers": {"x-team": "a", "authorization": "Bearer s"},
        }
        client = Client(num_retries=0, **others, base_url=None)  # type: ignore[call-arg]
        client.completion("openai_compatible/m", [{"role": "user", "content": "hi"}])
        assert server.last.headers["x-team"] == "a"
        # Its value is one of ours in every respect: a credential is not pickled.
        assert b"Bearer s" not in pickle.dumps(client)
        with pytest.raises(InvalidArgumentError, match=f"{name} is another name of base_url: give one of them"):
            Client(**others, base_url="http://h/v1")

    def test_a_timeout_of_httpx(self, server: Server) -> None:
        server.answer(Answer(before=[Stall()]))
        timeout = httpx.Timeout(9, connect=0.1, read=0.1)
        for given in ({"timeout": timeout}, {"request_timeout": timeout}):
            client = Client(base_url=server.base_url, max_retries=0, **given)  # type: ignore[arg-type]
            with pytest.raises(Timeout, match=r"beginning of the answer .*0\.2 s"):
                client.completion("openai_compatible/m", [{"role": "user", "content": "hi"}])
        with pytest.raises(InvalidArgumentError, match=r"timeout\.read is -1"):
            Client(timeout=httpx.Timeout(9, read=-1))

    def test_what_nobody_has(self) -> None:
        with pytest.raises(TypeError, match="unexpected keyword argument 'tiemout'"):
            Client(tiemout=3)  # type: ignore[call-arg]


def test_embeddings_of_the_local_model() -> None:
    with pytest.raises(ritellm.UnsupportedParamsError, match="local has no embeddings"):
        ritellm.embedding("local/smollm2-135m-instruct", "x", base_url="http://127.0.0.1:9/v1")
