"""``completion`` and its kind."""

from __future__ import annotations

import time
from typing import Any

from ritellm.compat import _arguments, _errors, _finder, _hidden, _targets
from ritellm.compat._client import client
from ritellm.compat._types import Deferred

_POSITIONS = (
    "model messages timeout temperature top_p n stream stream_options stop max_completion_tokens max_tokens modalities".split()  # noqa: SIM905
)
settings: dict[str, Any] = vars(_finder.module("litellm"))


def completion(model: Any = None, messages: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Makes a chat completion call.

    Args:
        model: ``provider/model``.
        messages: the conversation, a list of dicts in OpenAI's format.
        **kwargs: LiteLLM's arguments: docs/compat.md lists what each does.

    Returns:
        `ModelResponse`, or `CustomStreamWrapper` with ``stream=True``.

    Raises:
        litellm.APIError: and the other exceptions of `litellm.exceptions`.
    """
    call = ChatCall(model, messages, args, kwargs)
    return call.run()


async def acompletion(model: Any = None, messages: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Makes a chat completion call on an event loop: see `completion`."""
    call = ChatCall(model, messages, args, kwargs)
    return await call.arun()


class ChatCall:
    """One chat completion call."""

    operation = "completion"

    def __init__(self, model: Any, messages: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if args:
            kwargs = {**dict(zip(_POSITIONS[2:], args, strict=False)), **kwargs}
        self.model, self.messages, self.kwargs = model, messages if messages is not None else [], kwargs
        get = kwargs.get
        self.stream = bool(get("stream"))
        self.target = _targets.resolve(model, get("custom_llm_provider"), get("base_url") or get("api_base"))
        self.params = _arguments.prepared(kwargs, settings, self.target)
        self.started = time.time()

    def run(self) -> Any:
        target = self.target
        try:
            answer = client().completion(target.model, _arguments.messages(self.messages), **self.params)
        except Exception as error:
            raise self.failed(error) from None
        return self.finished(answer)

    async def arun(self) -> Any:
        target = self.target
        try:
            answer = await client().acompletion(target.model, _arguments.messages(self.messages), **self.params)
        except Exception as error:
            raise self.failed(error) from None
        return self.finished(answer)

    def failed(self, error: BaseException) -> BaseException:
        return _errors.translated(error, self.target.name, self.target.provider)

    def finished(self, answer: Any) -> Any:
        if self.stream:
            from ritellm.compat._streams import CustomStreamWrapper

            return CustomStreamWrapper(answer, self.target.name, custom_llm_provider=self.target.provider, call=self)
        from ritellm.compat import _fill

        return _fill.response_of(answer, Deferred(_hidden.of_response, (self, answer.meta, answer)))
