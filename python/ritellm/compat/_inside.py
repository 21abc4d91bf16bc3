"""Classes inside of LiteLLM that programs name. Calls do not go through them, so putting a mock in their place has no effect."""

from __future__ import annotations

from typing import Any

from ritellm.compat._callbacks import CustomLogger

_TEXT = "{name} is a class inside of LiteLLM, and RiteLLM's calls do not go through it: docs/compat.md says what to do instead"


def _missing(name: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(_TEXT.format(name=name))

    return method


class OpenAIChatCompletion:
    """LiteLLM's client of OpenAI's API."""

    __module__ = "litellm.llms.openai.openai"
    completion = acompletion = embedding = aembedding = image_generation = aimage_generation = _missing(
        "OpenAIChatCompletion"
    )


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
