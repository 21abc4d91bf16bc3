"""Tests of copying and pickling clients: settings are kept, keys are not pickled."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from typing import Any

import pytest
from server import KEY, MESSAGES, Server, plain

import ritellm
from ritellm import Client, InvalidArgumentError


def pickled(client: Any) -> Any:
    return pickle.loads(pickle.dumps(client))


def ask(client: Any) -> str:
    content: str = client.completion("openai/m", MESSAGES).choices[0].message.content
    return content


class Named(Client):
    """A class of a program's own."""

    def __init__(self, **_: Any) -> None:
        self.names = ["a"]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy])
def test_a_copy_has_the_settings_and_connections_of_its_own(server: Server, again: Any) -> None:
    server.answer(plain())
    client = Client(api_key=KEY, base_url=server.base_url, headers={"x-team": "a", "x-api-key": "canary"})
    ask(client)
    copied = again(client)
    assert type(copied) is Client and copied is not client
    assert copied.stats()["calls"] == 0
    assert ask(copied) == "Hello!"
    first, second = server.requests
    assert first.headers == second.headers
    assert first.headers["authorization"] == f"Bearer {KEY}" and first.headers["x-api-key"] == "canary"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_a_class_of_ones_own_and_its_attributes(again: Any) -> None:
    client = Named(max_retries=1)
    copied = again(client)
    assert type(copied) is Named and copied.names == ["a"]
    assert (copied.names is client.names) == (again is copy.copy)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_what_is_no_secret_is_pickled(server: Server, protocol: int, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer(plain())
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    client = Client(base_url=server.base_url, headers={"x-team": "search"}, timeout={"connect": 5, "total": None})
    assert ask(pickle.loads(pickle.dumps(client, protocol))) == "Hello!"
    assert server.requests[0].headers["x-team"] == "search"


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"api_key": "canary"}, "api_key"),
        ({"headers": {"Authorization": "Bearer canary"}}, 'headers["Authorization"]'),
        ({"headers": {"x-portkey-api-key": "canary"}}, 'headers["x-portkey-api-key"]'),
        ({"proxy": "http://user:canary@127.0.0.1:9"}, "proxy"),
    ],
)
def test_keys_are_not_pickled_and_the_call_says_so(
    server: Server, settings: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where the environment has one: it may be another's."""
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    written = pickle.dumps(Client(base_url=server.base_url, **settings))
    assert b"canary" not in written
    twice = pickled(pickle.loads(written))
    with pytest.raises(InvalidArgumentError) as caught:
        ask(twice)
    assert name in str(caught.value) and "never pickled" in str(caught.value)
    assert server.requests == []


def test_the_content_of_a_file_of_credentials_is_neither_pickled_nor_shown() -> None:
    content = '{"type": "service_account", "private_key": "canary"}'
    client = Client(providers={"vertex": {"vertex_credentials": content, "vertex_location": "europe-west1"}})
    assert "canary" not in repr(client) and "europe-west1" in repr(client)
    written = pickle.dumps(client)
    assert b"canary" not in written and b"europe-west1" in written
    path = Client(providers={"vertex": {"vertex_credentials": "/run/account.json"}})
    assert "/run/account.json" in repr(pickled(path))


def test_a_key_of_the_call_stands_for_the_one_that_stayed_behind(server: Server) -> None:
    server.answer(plain())
    client = pickled(Client(api_key="canary", base_url=server.base_url))
    client.completion("openai/m", MESSAGES, api_key=KEY)
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_it_goes_to_another_process(at_openai: Server) -> None:
    at_openai.answer(plain())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(ask, (Client(timeout=60),)) == "Hello!"


def test_the_default_client_stays_itself() -> None:
    for again in (copy.copy, copy.deepcopy, pickled):
        assert again(ritellm.completion).__self__ is ritellm.completion.__self__  # type: ignore[attr-defined]
