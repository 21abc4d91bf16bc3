"""Tests that the compat layer shows no key: in tracebacks with local variables, in exceptions, or to callbacks."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import ritellm.compat

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
