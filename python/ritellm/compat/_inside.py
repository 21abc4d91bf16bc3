"""Classes inside of LiteLLM that programs name.

Calls do not go through them, with one exception: tests of other projects put mocks in the place of `OpenAIChatCompletion`'s methods.
"""

from __future__ import annotations

from typing import Any

from ritellm.compat._callbacks import CustomLogger
from ritellm.compat._targets import PATCHED

_TEXT = "{name} is a class inside of LiteLLM, and RiteLLM's calls do not go through it: docs/compat.md says what to do instead"


def _missing(name: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(_TEXT.format(name=name))

    return method


def _amissing(name: str) -> Any:
    # Async, since `unittest.mock` puts a mock that can be awaited in the place of such a method only.
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(_TEXT.format(name=name))

    return method


class _Patchable(type):
    """A class that notes which of its methods a program replaces."""

    def __setattr__(cls, name: str, value: Any) -> None:
        if value is _METHODS.get(name):
            PATCHED.pop(name, None)
        elif name in _METHODS:
            PATCHED[name] = value
        super().__setattr__(name, value)


_METHODS = {
    **dict.fromkeys(("completion", "embedding", "image_generation"), _missing("OpenAIChatCompletion")),
    **dict.fromkeys(("acompletion", "aembedding", "aimage_generation"), _amissing("OpenAIChatCompletion")),
}


class OpenAIChatCompletion(metaclass=_Patchable):
    """LiteLLM's client of OpenAI's API: calls of OpenAI's models go to those of its methods that a program has replaced."""

    __module__ = "litellm.llms.openai.openai"
    locals().update(_METHODS)

    def streaming(self, **kwargs: Any) -> Any:
        """Answers a streamed call."""
        return self.completion(**kwargs)  # type: ignore[attr-defined]

    def astreaming(self, **kwargs: Any) -> Any:
        """Answers a streamed call on an event loop."""
        return self.acompletion(**kwargs)  # type: ignore[attr-defined]


class AnthropicConfig:
    """LiteLLM's translation for Anthropic's API."""

    __module__ = "litellm.llms.anthropic.chat.transformation"
    transform_request = transform_response = map_openai_params = _missing("AnthropicConfig")


class AnthropicError(Exception):
    """An error of Anthropic's API."""

    __module__ = "litellm.llms.anthropic.common_utils"

    def __init__(self, status_code: int, message: str, headers: Any = None) -> None:
        self.status_code, self.message, self.headers = status_code, message, headers
        super().__init__(message)


class OpikLogger(CustomLogger):
    """LiteLLM's own integration of Opik, which does nothing here; Opik's patches of `completion` work."""

    __module__ = "litellm.integrations.opik.opik"
