"""Tests of clients that are configured once: providers, aliases, defaults, hosts of one's own."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from server import Answer, Server, plain

import ritellm
from ritellm import AuthenticationError, Client, Deployment, InvalidArgumentError, Router

MESSAGES = [{"role": "user", "content": "hi"}]


def token() -> str:
    return "sk-of-a-function"


class TestProviders:
    def test_each_provider_has_its_own_key_and_address(self, server: Server) -> None:
        server.answer(plain(), plain(), plain())
        client = Client(
            api_key="sk-client",
            base_url="http://127.0.0.1:9/v1",
            headers={"x-team": "a", "x-all": "1"},
            providers={
                "openai": {"api_key": "sk-openai", "base_url": server.base_url, "headers": {"x-team": "b"}},
                "groq": {"api_key": token, "base_url": server.base_url},
            },
        )
        client.completion("openai/m", MESSAGES)
        client.completion("groq/m", MESSAGES)
        client.completion("gpt-4o", MESSAGES, extra_headers={"x-team": "c"})
        first, second, third = server.requests
        assert first.headers["authorization"] == third.headers["authorization"] == "Bearer sk-openai"
        assert (first.headers["x-team"], first.headers["x-all"]) == ("b", "1")
        assert second.headers["authorization"] == "Bearer sk-of-a-function"
        assert (second.headers["x-team"], third.headers["x-team"]) == ("a", "c")

    async def test_of_a_coroutine_and_a_stream(self, server: Server) -> None:
        server.answer(plain())
        client = Client(providers={"openai": {"api_key": "sk-openai", "base_url": server.base_url}})
        await client.acompletion("openai/m", MESSAGES)
        assert server.last.headers["authorization"] == "Bearer sk-openai"

    def test_a_call_with_an_address_of_its_own_does_not_get_the_key(self, server: Server) -> None:
        server.answer(plain())
        client = Client(providers={"openai_compatible": {"api_key": "sk-secret", "base_url": "http://127.0.0.1:9/v1"}})
        client.completion("openai_compatible/m", MESSAGES, base_url=server.base_url)
        assert "authorization" not in server.last.headers
        server.answer(plain())
        client.completion("openai_compatible/m", MESSAGES, base_url=server.base_url, api_key="sk-own")
        assert server.last.headers["authorization"] == "Bearer sk-own"

    def test_a_key_in_another_variable(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        client = Client(providers={"openai": {"api_key_env": "TEAM_KEY", "base_url": server.base_url}})
        monkeypatch.delenv("TEAM_KEY", raising=False)
        with pytest.raises(AuthenticationError, match="no key for openai: set TEAM_KEY"):
            client.completion("openai/m", MESSAGES)
        monkeypatch.setenv("TEAM_KEY", "sk-team")
        server.answer(plain())
        client.completion("openai/m", MESSAGES)
        assert server.last.headers["authorization"] == "Bearer sk-team"

    def test_settings_of_a_provider(self) -> None:
        client = Client(
            providers={
                "bedrock": {
                    "aws_access_key_id": "AKIA",
                    "aws_secret_access_key": "very-secret-key",
                    "aws_region_name": "../x",
                }
            }
        )
        with pytest.raises(InvalidArgumentError, match=r"aws_region_name is \"\.\./x\""):
            client.completion("bedrock/m", MESSAGES)
        assert "very-secret-key" not in repr(client)

    def test_a_router_takes_them_for_its_deployments(self, server: Server) -> None:
        client = Client(
            providers={
                "openai": {"api_key": "sk-openai", "base_url": server.base_url, "headers": {"x-team": "b"}},
                "corp": {"base_url": server.base_url, "api_key": "sk-corp"},
            },
            aliases={"cheap": "corp/small"},
        )
        router = Router({"one": ["openai/m"], "two": ["cheap"]}, client=client)
        server.answer(plain())
        router.completion("one", MESSAGES)
        assert (server.last.headers["authorization"], server.last.headers["x-team"]) == ("Bearer sk-openai", "b")
        server.answer(plain())
        router.completion("two", MESSAGES)
        assert (server.last.headers["authorization"], server.last.json["model"]) == ("Bearer sk-corp", "small")
        assert "sk-" not in repr(router) and "corp" in repr(router)

    @pytest.mark.parametrize(
        ("providers", "message"),
        [
            ({"opnai": {"api_key": "sk"}}, r"did you mean \"openai\"\? a host of your own has a base_url"),
            ({"openai": {"base_ur": "x"}}, r'providers\["openai"\]\["base_ur"\] is no setting .* mean "base_url"'),
            ({"openai": {"temperature": 0}}, "parameters of calls go into defaults"),
            ({"openai": "sk-1"}, "of type str: a dict of its settings would be right"),
            ({"openai": {"api_key": 3}}, r'providers\["openai"\]\["api_key"\] is of type int'),
            ({"openai": {"like": "vllm"}}, "for hosts of your own: openai is known already"),
            ({"openai": {"api_key": "a", "api_key_env": "B"}}, "both api_key and api_key_env"),
            ({"corp": {"base_url": "http://h/v1", "like": "anthropic"}}, "a provider with OpenAI's format"),
            ({"a/b": {"base_url": "http://h/v1"}}, "a word without a slash"),
            (["openai"], "providers is of type list"),
        ],
    )
    def test_a_wrong_entry_is_an_error_at_construction(self, providers: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message) as caught:
            Client(providers=providers)
        assert "sk-1" not in str(caught.value)


class TestOwnHosts:
    def test_a_host_as_data(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CORP_KEY", "sk-corp")
        client = Client(
            providers={
                "corp": {
                    "base_url": server.base_url,
                    "api_key_env": "CORP_KEY",
                    "renamed_params": {"max_completion_tokens": "max_new_tokens"},
                    "unsupported_params": ["logit_bias"],
                }
            }
        )
        server.answer(plain())
        response = client.completion("corp/org/model", MESSAGES, max_completion_tokens=5)
        assert (server.last.headers["authorization"], server.last.json["max_new_tokens"]) == ("Bearer sk-corp", 5)
        assert server.last.json["model"] == "org/model"
        assert (response.meta.provider, response.meta.model) == ("corp", "org/model")
        assert client.stats()["by_provider"]["corp"]["calls"] == 1
        with pytest.raises(ritellm.UnsupportedParamsError, match=r"corp .*logit_bias"):
            client.completion("corp/m", MESSAGES, logit_bias={"1": 1})
        monkeypatch.delenv("CORP_KEY")
        with pytest.raises(AuthenticationError, match="no key for corp: set CORP_KEY"):
            client.completion("corp/m", MESSAGES)
        with pytest.raises(InvalidArgumentError, match="names no known provider"):
            Client().completion("corp/m", MESSAGES)

    def test_without_a_key(self, server: Server) -> None:
        server.answer(plain())
        Client(providers={"mine": {"base_url": server.base_url, "like": "vllm"}}).completion("mine/m", MESSAGES)
        assert "authorization" not in server.last.headers


class TestAliasesAndDefaults:
    def test_an_alias(self, at_openai: Server) -> None:
        client = Client(aliases={"fast": "openai/m", "openai/old": "openai/new"}, api_key="sk-test")
        at_openai.answer(plain(), plain())
        client.completion("fast", MESSAGES)
        client.completion("openai/old", MESSAGES)
        assert [request.json["model"] for request in at_openai.requests] == ["m", "new"]
        with pytest.raises(InvalidArgumentError, match=r'aliases\["x"\]: model "nobody/m" names no known provider'):
            Client(aliases={"x": "nobody/m"})
        with pytest.raises(InvalidArgumentError, match=r'aliases\["x"\] is of type int'):
            Client(aliases={"x": 1})  # type: ignore[dict-item]

    def test_parameters_that_calls_begin_with(self, at_openai: Server) -> None:
        client = Client(defaults={"temperature": 0, "max_tokens": 9, "top_k": 3, "dimensions": 4}, api_key="sk-test")
        at_openai.answer(plain(), plain(), plain())
        client.completion("openai/m", MESSAGES)
        client.completion("openai/m", MESSAGES, temperature=1, max_completion_tokens=5)
        client.completion("openai/m", MESSAGES, temperature=None)
        first, second, third = (request.json for request in at_openai.requests)
        assert first == {"model": "m", "messages": MESSAGES, "temperature": 0, "max_tokens": 9, "top_k": 3}
        assert (second["temperature"], second["max_completion_tokens"]) == (1, 5) and "max_tokens" not in second
        assert "temperature" not in third

    def test_those_of_an_operation_only(self, at_openai: Server) -> None:
        client = Client(defaults={"temperature": 0, "dimensions": 4}, api_key="sk-test", max_retries=0)
        at_openai.answer(Answer(status=500))
        with pytest.raises(ritellm.InternalServerError):
            client.embedding("openai/m", "hi")
        sent = at_openai.last.json
        assert sent["dimensions"] == 4 and "temperature" not in sent

    @pytest.mark.parametrize(
        ("defaults", "message"),
        [
            ({"timeout": 3}, "it is a setting of the client"),
            ({"temprature": 0}, "did you mean temperature"),
            ({"messages": []}, "what each call is about"),
            ({"aws_region_name": "x"}, "give it in providers"),
            ({"fallbacks": []}, "make a router"),
            (3, "defaults is of type int: a dict of parameters of calls would be right"),
        ],
    )
    def test_what_is_no_parameter(self, defaults: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message):
            Client(defaults=defaults)


class TestCopies:
    def test_a_pickled_client_has_its_configuration_but_no_keys(self, server: Server) -> None:
        client = Client(
            providers={
                "openai": {
                    "api_key": "sk-secret",
                    "base_url": server.base_url,
                    "headers": {"authorization": "x-secret"},
                },
                "groq": {"api_key": token, "base_url": server.base_url},
                "corp": {"base_url": server.base_url, "renamed_params": {"stop": "halt"}},
            },
            aliases={"fast": "corp/m"},
            defaults={"temperature": 0},
        )
        pickled = pickle.dumps(client)
        assert b"secret" not in pickled
        other = pickle.loads(pickled)
        with pytest.raises(InvalidArgumentError, match="this client was pickled"):
            other.completion("openai/m", MESSAGES)
        server.answer(plain(), plain())
        other.completion("groq/m", MESSAGES)
        other.completion("fast", MESSAGES, stop="x")
        first, second = server.requests
        assert first.headers["authorization"] == "Bearer sk-of-a-function"
        assert (second.json["halt"], second.json["temperature"]) == ("x", 0)
        server.answer(plain())
        copy.deepcopy(client).completion("openai/m", MESSAGES)
        assert server.last.headers["authorization"] == "x-secret"

    def test_headers_of_with_options_are_added(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        client = Client(headers={"x-a": "1", "x-b": "1"}, api_key="sk-test")
        other = client.with_options(timeout=120, headers={"x-b": "2", "x-token": "very-secret"})
        other.completion("openai/m", MESSAGES)
        assert [at_openai.last.headers[name] for name in ("x-a", "x-b", "x-token")] == ["1", "2", "very-secret"]
        assert b"very-secret" not in pickle.dumps(other)
        assert "very-secret" not in repr(other) and "timeout=120" in repr(other)

    def test_a_repr_says_what_it_is_without_secrets(self) -> None:
        client = Client(
            api_key="sk-secret",
            proxy="http://user:secret@proxy:3128",
            timeout=30,
            providers={"openai": {"api_key": "sk-secret", "base_url": "http://h/v1"}},
            headers={"x-team": "a", "authorization": "secret"},
        )
        shown = repr(client)
        assert "secret" not in shown
        assert shown.startswith("Client(timeout=30, providers={'openai': {'base_url': 'http://h/v1', 'api_key': '…'}}")
        for part in ("headers={'x-team': 'a'}", 'headers["authorization"]=…', "api_key=…", "proxy=…"):
            assert part in shown
        assert repr(Client()) == "Client()"


FILE = """
aliases = { fast = "corp/m" }

[defaults]
temperature = 0.5

[providers.corp]
base_url = "${CORP_URL}"
"""


class TestFiles:
    @pytest.fixture(autouse=True)
    def corp_url(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CORP_URL", server.base_url)

    @pytest.mark.parametrize("table", ["", "client"])
    def test_a_client_of_a_file(self, server: Server, tmp_path: Path, table: str) -> None:
        path = tmp_path / "ritellm.toml"
        in_table = "[client]\n" + FILE.replace("[defaults]", "[client.defaults]").replace("[prov", "[client.prov")
        path.write_text(in_table if table else FILE)
        server.answer(plain())
        Client.from_file(path, max_retries=0).completion("fast", MESSAGES)
        assert server.last.json == {"model": "m", "messages": MESSAGES, "temperature": 0.5}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("a =", r"is no TOML: line 1: "),
            ('timeout = "x"', "timeout is of type str"),
            ('api_key = "${NOT_SET_AT_ALL}"', "api_key names the variable NOT_SET_AT_ALL, which is not set"),
            ("client = 3", "client in .* is of type int: a table would be right"),
        ],
    )
    def test_a_file_that_cannot_be_used(self, tmp_path: Path, content: str, message: str) -> None:
        path = tmp_path / "ritellm.toml"
        path.write_text(content)
        with pytest.raises(InvalidArgumentError, match=message):
            Client.from_file(path)

    def test_the_environment_names_a_file_for_the_functions(self, server: Server, tmp_path: Path) -> None:
        """It is read by the first call, not at import; `configure` comes before it."""
        path = tmp_path / "ritellm.toml"
        program = """
import os, sys, ritellm
if sys.argv[2] == "late":
    os.rename(sys.argv[1] + ".later", sys.argv[1])
if sys.argv[2] == "configured":
    ritellm.configure(aliases={"fast": "openai_compatible/other"}, base_url=os.environ["CORP_URL"])
try:
    ritellm.completion("fast", [{"role": "user", "content": "hi"}])
except ritellm.InvalidArgumentError as error:
    print(error)
"""

        def run(how: str) -> str:
            command = [sys.executable, "-c", program, str(path), how]
            environment = {"RITELLM_CONFIG": str(path), "CORP_URL": server.base_url}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
            return done.stdout

        assert "RITELLM_CONFIG: " in run("missing")
        path.with_name("ritellm.toml.later").write_text(FILE)
        server.answer(plain(), plain())
        assert run("late") == ""
        assert server.last.json["temperature"] == 0.5
        assert run("configured") == ""
        assert server.last.json == {"model": "other", "messages": MESSAGES}


class TestConfigure:
    def test_settings_are_added_to_those_before(self, server: Server) -> None:
        program = f"""
import ritellm
from ritellm import completion
ask = lambda **params: completion("fast", [{{"role": "user", "content": "hi"}}], **params)
ritellm.configure(aliases={{"fast": "corp/m"}}, providers={{"corp": {{"base_url": {server.base_url!r}}}}})
ask()
ritellm.configure(defaults={{"temperature": 0}})
ask()
print(ritellm.stats()["calls"], ritellm.stats()["connections_open"])
ritellm.configure(defaults=None, max_in_flight=3)
ask()
print(ritellm.stats()["calls"])
try:
    ritellm.configure(max_retires=3)
except TypeError as error:
    print(error)
ask()
"""
        server.answer(plain(), plain(), plain(), plain())
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.splitlines() == [
            "2 1",
            "3",
            "Client() got an unexpected keyword argument 'max_retires'. Did you mean 'max_retries'?",
        ]
        assert [request.json.get("temperature") for request in server.requests] == [None, 0, None, None]


class Tenant(Client):
    """A subclass with arguments of its own."""

    def __init__(self, tenant: str, *, region: str = "eu", **settings: Any) -> None:
        super().__init__(headers={"x-tenant": tenant}, **settings)
        self.region = region


class WithoutSuper(Client):
    def __init__(self, **settings: Any) -> None:
        self.extra = 1


class Fleet(Router):
    """A router with arguments of its own."""

    def __init__(self, tenant: str, *models: str, region: str = "eu", base_url: str, **settings: Any) -> None:
        group = [Deployment(f"openai_compatible/{model}", base_url=base_url) for model in models]
        super().__init__({"fast": group}, headers={"x-tenant": tenant}, **settings)
        self.region = region


class FleetWithoutSuper(Router):
    def __init__(self, groups: Any, **settings: Any) -> None:
        self.extra = 1


class TestSubclasses:
    def test_a_subclass_with_its_own_init(self, server: Server) -> None:
        client = Tenant("a", region="us", base_url=server.base_url, max_retries=0)
        for other in (client, pickle.loads(pickle.dumps(client)), copy.copy(client), client.with_options(timeout=3)):
            server.answer(plain())
            other.completion("openai_compatible/m", MESSAGES)
            assert server.last.headers["x-tenant"] == "a"
            assert (type(other), other.region) == (Tenant, "us")
        assert repr(client).startswith("Tenant(headers={'x-tenant': 'a'}, base_url=")
        with pytest.raises(InvalidArgumentError, match="timeout is of type str"):
            Tenant("a", timeout="x")
        with pytest.raises(TypeError, match="takes no positional arguments"):
            Client("a")  # type: ignore[misc]

    def test_one_that_does_not_call_ours_has_the_settings_nevertheless(self, server: Server) -> None:
        server.answer(plain())
        WithoutSuper(base_url=server.base_url).completion("openai_compatible/m", MESSAGES)
        assert server.requests

    def test_a_router_with_its_own_init(self, server: Server) -> None:
        router = Fleet("a", "m", region="us", base_url=server.base_url)
        for other in (router, pickle.loads(pickle.dumps(router)), copy.copy(router), router.with_options(timeout=3)):
            server.answer(plain())
            other.completion("fast", MESSAGES)
            assert server.last.headers["x-tenant"] == "a"
            assert (type(other), other.region) == (Fleet, "us")
            assert list(other.status()) == ["openai_compatible/m"]
        with pytest.raises(InvalidArgumentError, match="timeout is of type str"):
            Fleet("a", "m", base_url=server.base_url, timeout="x")
        with pytest.raises(TypeError, match="at most 1 positional argument"):
            Router({"fast": []}, {})  # type: ignore[misc]
        with pytest.raises(TypeError, match="stratgy"):
            Router({"fast": ["openai/m"]}, stratgy="cost")

    def test_a_router_that_does_not_call_ours_has_its_groups_nevertheless(self, server: Server) -> None:
        server.answer(plain())
        deployment = Deployment("openai_compatible/m", base_url=server.base_url)
        FleetWithoutSuper({"fast": [deployment]}, max_retries=0).completion("fast", MESSAGES)
        assert server.requests
        assert {"groups", "strategy", "breaker"} <= set(inspect.signature(Router).parameters)

    def test_the_signature_lists_every_setting(self) -> None:
        assert {"providers", "aliases", "defaults", "timeout", "limits"} <= set(inspect.signature(Client).parameters)
