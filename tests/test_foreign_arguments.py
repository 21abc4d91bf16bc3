"""Tests of arguments of other libraries: they are supported, or rejected before anything is sent, never ignored."""

from __future__ import annotations

import inspect
import pickle
import re
import ssl
from typing import Any

import anthropic
import cohere
import httpx
import ollama
import openai
import pytest
from conftest import Call
from google import genai
from openai.resources.responses import Responses
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
        with pytest.raises(InvalidArgumentError, match=r"nothing is made up here: ritellm\.testing"):
            ask("openai/m", "x", mock_response="x")


def test_none_is_as_good_as_not_given(call: Call, at_openai: Server) -> None:
    at_openai.answer(plain())
    call(mock_response=None, fallbacks=None, api_version=None)


def test_the_providers_own_goes_into_extra_body(call: Call, at_openai: Server) -> None:
    at_openai.answer(plain())
    call(extra_body={"tags": ["a"]}, metadata={"a": "b"})
    assert at_openai.requests[0].json["tags"] == ["a"]


class TestMisspellings:
    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("max_retires", "max_retries"),
            ("max_retry", "max_retries"),
            ("time_out", "timeout"),
            ("temprature", "temperature"),
            ("Temperature", "temperature"),
            ("maxTokens", "max_tokens"),
            ("max-tokens", "max_tokens"),
            ("toolchoice", "tool_choice"),
            ("respose_format", "response_format"),
            ("baseurl", "base_url"),
            ("apikey", "api_key"),
            ("extra_header", "extra_headers"),
            ("steam", "stream"),
            ("aws_region_nam", "aws_region_name"),
        ],
    )
    def test_a_close_name_is_an_error_that_says_which(
        self, call: Call, at_openai: Server, name: str, meant: str
    ) -> None:
        with pytest.raises(InvalidArgumentError, match=f"{name} is no argument .* did you mean {meant}\\?") as caught:
            call(**{name: 1})
        assert f'extra_body={{"{name}": …}}' in str(caught.value)
        assert at_openai.requests == []

    def test_a_documented_parameter_of_any_provider_is_sent(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain())
        documented = {
            "top_k": 1,
            "min_p": 0.1,
            "top_a": 1,
            "typical_p": 1,
            "n_keep": 1,
            "min_tokens": 1,
            "k": 3,
            "p": 0.5,
        }
        call(**documented, topology="x", extra_body={"max_retires": 4})
        sent = at_openai.last.json
        assert documented.items() <= sent.items()
        assert (sent["topology"], sent["max_retires"]) == ("x", 4)

    def test_the_names_are_those_of_the_operation(self, at_openai: Server) -> None:
        with pytest.raises(InvalidArgumentError, match="did you mean max_output_tokens"):
            ritellm.responses("openai/m", "hi", max_output_token=3)
        with pytest.raises(InvalidArgumentError, match="did you mean dimensions"):
            ritellm.embedding("openai/m", "hi", dimension=3)

    def test_every_parameter_of_the_vendors_packages_is_known(self, at_openai: Server) -> None:
        """Each is sent, or refused by name, also by a client that refuses what nobody documents."""
        methods: dict[str, list[Any]] = {
            "completion": [
                openai.resources.chat.completions.Completions.create,
                anthropic.resources.beta.messages.Messages.create,
                cohere.ClientV2.chat,
                ollama.Client.chat,
            ],
            "responses": [Responses.create],
            "embedding": [openai.resources.Embeddings.create, cohere.ClientV2.embed, ollama.Client.embed],
            "rerank": [cohere.ClientV2.rerank],
            "speech": [openai.resources.audio.Speech.create],
        }
        client = Client(unknown_params="error", max_retries=0)
        ours = {"self", "model", "messages", "input", "query", "documents", "stream", "timeout", "request_options"}
        ours |= {"extra_headers", "extra_query", "extra_body", "voice"}
        unknown, seen = set(), 0
        for name, functions in methods.items():
            given = {"rerank": ("q", ["d"]), "speech": ("hi", "alloy")}.get(name, ("hi",))
            given = ([{"role": "user", "content": "hi"}],) if name == "completion" else given
            for parameter in {name for function in functions for name in inspect.signature(function).parameters} - ours:
                seen += 1
                try:
                    getattr(client, name)("openai/m", *given, base_url="http://127.0.0.1:9/v1", **{parameter: "x"})
                except InvalidArgumentError as error:
                    if "unknown_params" in str(error) or "did you mean" in str(error):
                        unknown.add(parameter)
                except ritellm.RiteLLMError:
                    pass
        assert seen > 100
        assert unknown == set()

    def test_a_client_that_refuses_every_unknown_name(self, at_openai: Server) -> None:
        client = Client(unknown_params="error", api_key="sk-test")
        messages = [{"role": "user", "content": "hi"}]
        with pytest.raises(InvalidArgumentError, match=r'topology is no argument .* unknown_params is "error"'):
            client.completion("openai/m", messages, topology="x")
        assert at_openai.requests == []
        at_openai.answer(plain())
        lenient = client.with_options(unknown_params="send")
        lenient.completion("openai/m", messages, topology="x")
        assert at_openai.last.json["topology"] == "x"
        with pytest.raises(InvalidArgumentError, match='unknown_params is "ignore": "send" or "error" would be right'):
            Client(unknown_params="ignore")  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="with_options takes no max_retires: did you mean max_retries"):
            client.with_options(max_retires=3)  # type: ignore[call-arg]


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
            ("fallbacks", "make a router"),
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
        with pytest.raises(TypeError, match=r"unexpected keyword argument 'tiemout'\. Did you mean 'timeout'\?"):
            Client(tiemout=3)  # type: ignore[call-arg]
