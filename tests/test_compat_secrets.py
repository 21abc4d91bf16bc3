"""Tests that the compat layer shows no key: in tracebacks with local variables, in exceptions, or to callbacks."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import ritellm.compat
from ritellm.testing import MockServer

ritellm.compat.install()
import litellm  # noqa: E402

SECRET = "sk-very-secret-123456"
HI = [{"role": "user", "content": "Hi"}]
AT = {"api_base": "http://127.0.0.1:1/v1", "max_retries": 0}


def given(**others: Any) -> dict[str, Any]:
    return {**AT, **others, "api_key": "".join(["sk-very", "-secret-123456"])}


def router() -> Any:
    deployment = {"model_name": "group", "litellm_params": {"model": "openai/x", **given()}}
    return litellm.Router(model_list=[deployment], num_retries=0)


CALLS: dict[str, Callable[[], Any]] = {
    "completion": lambda: litellm.completion("openai/x", HI, **given()),
    "unknown": lambda: litellm.completion("nonsense", HI, **given(api_base=None)),
    "unsupported": lambda: litellm.completion("openai/x", HI, temperature=object(), **given()),
    "fallbacks": lambda: litellm.completion("openai/x", HI, fallbacks=["openai/y"], **given()),
    "acompletion": lambda: asyncio.run(litellm.acompletion("openai/x", HI, **given())),
    "stream": lambda: litellm.completion("openai/x", HI, stream=True, **given()),
    "embedding": lambda: litellm.embedding("openai/x", ["a"], **given()),
    "aembedding": lambda: asyncio.run(litellm.aembedding("openai/x", ["a"], **given())),
    "responses": lambda: litellm.responses("Hi", "openai/x", **given()),
    "text_completion": lambda: litellm.text_completion("Hi", "openai/x", **given()),
    "completion_with_retries": lambda: litellm.completion_with_retries("openai/x", HI, num_retries=0, **given()),
    "speech": lambda: litellm.speech("openai/x", "Hi", "alloy", **given()),
    "router": lambda: router().completion("group", HI),
    "image_generation": lambda: litellm.image_generation("a cat", "openai/x", **given()),
    "image_edit": lambda: litellm.image_edit("openai/x", **given()),
    "aimage_edit": lambda: asyncio.run(litellm.aimage_edit("openai/x", **given())),
    "image_variation": lambda: litellm.image_variation("openai/x", **given()),
    "aimage_variation": lambda: asyncio.run(litellm.aimage_variation("openai/x", **given())),
    "transcription": lambda: litellm.transcription("openai/x", b"", **given()),
    "atranscription": lambda: asyncio.run(litellm.atranscription("openai/x", b"", **given())),
    "moderation": lambda: litellm.moderation("Hi", **given()),
    "amoderation": lambda: asyncio.run(litellm.amoderation("Hi", **given())),
    "rerank": lambda: litellm.rerank("cohere/x", "a", ["b"], **given()),
    "bridged": lambda: litellm.responses("Hi", "anthropic/x", background=True, **given()),
    "messages": lambda: litellm.anthropic_interface.messages.create(5, HI, "openai/x", **given()),
}


@pytest.mark.parametrize("name", CALLS)
def test_tracebacks_do_not_show_the_key(name: str) -> None:
    with pytest.raises(Exception) as caught:
        CALLS[name]()
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "compat" in shown
    assert SECRET not in shown
    assert SECRET not in repr(vars(caught.value))


@pytest.mark.parametrize("name", ["api_key", "openai_key"])
def test_tracebacks_do_not_show_a_key_that_is_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, name, given()["api_key"])
    monkeypatch.setattr(litellm, "callbacks", [print])
    for wrong in ({"timeout": "soon"}, {"additional_drop_params": 5}, {"max_retries": 0, "callbacks": 5}):
        with pytest.raises(Exception) as caught:
            litellm.completion("openai/x", HI, api_base=AT["api_base"], **wrong)
        shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
        assert "compat" in shown
        assert SECRET not in shown


def with_key(**others: Any) -> dict[str, Any]:
    return {"model_name": "group", "litellm_params": {"model": "openai/x", **given(**others)}}


def called(router: Any) -> Any:
    return router.completion("group", HI)


ROUTERS: dict[str, Callable[[], Any]] = {
    "an unknown argument": lambda: litellm.Router(model_list=[with_key()], nonsense=1),
    "no name": lambda: litellm.Router(model_list=[{"litellm_params": with_key()["litellm_params"]}]),
    "no parameters": lambda: litellm.Router(model_list=[with_key(), {"model_name": "other", "params": with_key()}]),
    "parameters that are none": lambda: litellm.Router(model_list=[{**with_key(), "litellm_params": [5, given()]}]),
    "an entry that is none": lambda: litellm.Router(model_list=[with_key(), 5]),
    "no list": lambda: litellm.Router(model_list=with_key()),
    "info that is none": lambda: litellm.Router(model_list=[{**with_key(), "model_info": 5}]),
    "parameters of all": lambda: litellm.Router(model_list=[5], default_litellm_params=given()),
    "another list": lambda: litellm.Router().set_model_list([with_key(), 5]),
    "another deployment": lambda: litellm.Router().add_deployment({"model_name": "group", "params": with_key()}),
    "a deployment's place": lambda: litellm.Router().upsert_deployment({"model_name": "group", "params": with_key()}),
    "no model": lambda: called(litellm.Router(model_list=[{"model_name": "group", "litellm_params": given()}])),
    "an unknown provider": lambda: called(litellm.Router(model_list=[with_key(model="nonsense", api_base=None)])),
    "a weight": lambda: called(litellm.Router(model_list=[with_key(weight="heavy")])),
    "a limit": lambda: called(litellm.Router(model_list=[with_key(rpm="many")])),
    "a timeout": lambda: called(litellm.Router(model_list=[with_key(timeout="soon")])),
    "a strategy": lambda: called(litellm.Router(model_list=[with_key()], routing_strategy="nonsense")),
    "a call": lambda: litellm.Router(model_list=[with_key()]).completion("group", HI, timeout="soon", **given()),
    "an embedding": lambda: litellm.Router(model_list=[with_key()]).embedding("nobody", "a", **given()),
    "speech": lambda: litellm.Router(model_list=[with_key()]).speech("group", "Hi", "alloy", **given()),
    "a Redis": lambda: litellm.Router(cache_responses=True, redis_host="[", redis_password=given()["api_key"]),
    "a Redis's address": lambda: litellm.Router(cache_responses=True, redis_url=f"redis://:{given()['api_key']}@[/0"),
    "a cache": lambda: litellm.Cache(type="redis", host="[", password=given()["api_key"]),
    "a cache of another kind": lambda: litellm.Cache(type="s3", host="a", password=given()["api_key"]),
    "a cache that is enabled": lambda: litellm.enable_cache("redis", host="[", password=given()["api_key"]),
}


@pytest.mark.parametrize("name", ROUTERS)
def test_tracebacks_of_routers_do_not_show_the_key(name: str) -> None:
    with pytest.raises(Exception) as caught:
        ROUTERS[name]()
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "compat" in shown
    assert SECRET not in shown


@pytest.mark.parametrize("model", ["openai/x", "anthropic/x", "custom_openai/x"])
def test_what_is_for_litellm_itself_is_not_sent(model: str) -> None:
    own = {
        "langfuse_secret_key": SECRET,
        "langsmith_api_key": SECRET,
        "dd_api_key": SECRET,
        "s3_secret_access_key": SECRET,
        "wandb_api_key": SECRET,
        "litellm_anything": 1,
        "tag_regex": ["a"],
        "weight": 1,
        "order": 1,
        "itpm": 5,
        "cache_read_input_token_cost": 1.0,
        "input_cost_per_second": 1.0,
        "output_cost_per_token_flex": 1.0,
    }
    with MockServer(intercept=False) as server:
        server.reply("Hello")
        litellm.completion(model, HI, api_base=server.url, api_key="sk", top_k=5, max_tokens=5)
        litellm.completion(model, HI, api_base=server.url, api_key="sk", top_k=5, max_tokens=5, **own)
        first, second = server.requests
    assert first.json == second.json
    assert second.json["top_k"] == 5
