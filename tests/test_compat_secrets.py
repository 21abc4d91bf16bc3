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
