"""Answers that are made in the program itself: ``mock_response`` and `CustomLLM`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from ritellm.compat import _exceptions
from ritellm.compat._types import (
    ChatCompletionMessageToolCall,
    Choices,
    Message,
    ModelResponse,
    Usage,
    generate_id,
)

_USAGE = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
_CHARACTERS_OF_CHUNK = 3
_MOCK_ERRORS = {
    "litellm.RateLimitError": "this is a mock rate limit error",
    "litellm.ContextWindowExceededError": "this is a mock context window exceeded error",
    "litellm.InternalServerError": "this is a mock internal server error",
}


def mock_completion(
    model: str,
    messages: Any = None,
    stream: bool | None = False,
    n: int | None = None,
    mock_response: Any = "This is a mock request",
    mock_tool_calls: Any = None,
    mock_timeout: bool | None = False,
    logging: Any = None,
    custom_llm_provider: str | None = None,
    timeout: Any = None,
    **kwargs: Any,
) -> Any:
    """Makes up the answer of a call, without a provider.

    Args:
        mock_response: a text, a `ModelResponse`, a dict with its members, or an exception, which is raised; the texts
            ``"litellm.RateLimitError"`` and its like stand for exceptions.
        mock_tool_calls: the tool calls of the answer.
        mock_timeout: wait for the timeout, and raise `litellm.Timeout`.
        n: the number of choices.
    """
    mock_response = "This is a mock request" if mock_response is None else mock_response
    if not kwargs.get("acompletion"):
        # A call on an event loop has waited already, without keeping the loop from others.
        time.sleep(mock_wait({"mock_timeout": mock_timeout, "timeout": timeout, **kwargs}))
    if mock_timeout is True and timeout is not None:
        raise _exceptions.built("Timeout")("This is a mock timeout error", model, "openai")
    _raise_mocked(mock_response, model, custom_llm_provider)
    if isinstance(mock_response, dict):
        mock_response = ModelResponse(**mock_response)
        if not stream:
            return mock_response
    if isinstance(mock_response, ModelResponse):
        if not stream:
            return mock_response
        mock_response = mock_response.choices[0].message.content or ""
    if stream:
        wanted = (kwargs.get("stream_options") or {}).get("include_usage")
        return _mock_stream(mock_response, model, n, messages if wanted else None)
    choices = [Choices(index=index, message=Message(content=mock_response)) for index in range(n or 1)]
    if mock_tool_calls:
        choices[0].message.tool_calls = [
            ChatCompletionMessageToolCall(**call) if isinstance(call, dict) else call for call in mock_tool_calls
        ]
    return ModelResponse(choices=choices, model=model, created=int(time.time()), usage=Usage(**_USAGE))


def mock_wait(given: dict[str, Any]) -> float:
    """Returns the seconds that an answer which is made up takes."""
    timeout = given.get("timeout")
    if given.get("mock_timeout") is True and timeout is not None:
        # httpx's has several.
        return float(getattr(timeout, "connect", timeout) or 0.0)
    return float(given.get("mock_delay") or 0.0)


def _raise_mocked(mock_response: Any, model: str, provider: str | None) -> None:
    if isinstance(mock_response, Exception):
        if hasattr(mock_response, "llm_provider") or type(mock_response).__module__.startswith("openai"):
            raise mock_response
        raise _exceptions.built("MockException")(
            status_code=getattr(mock_response, "status_code", 500),
            message=getattr(mock_response, "text", str(mock_response)),
            llm_provider=getattr(mock_response, "llm_provider", provider or "openai"),
            model=model,
        )
    if not isinstance(mock_response, str):
        return
    if mock_response in _MOCK_ERRORS:
        name = mock_response.removeprefix("litellm.")
        raise _exceptions.built(name)(
            message=_MOCK_ERRORS[mock_response], llm_provider=provider or "openai", model=model
        )
    if mock_response.startswith("Exception: content_filter_policy"):
        raise _exceptions.built("MockException")(400, mock_response, "azure", model)


def _mock_stream(text: str, model: str, n: int | None, counted: Any) -> Any:
    """Yields the chunks of a text as the core does: dicts. With messages to be counted the last tells the numbers of tokens."""
    id, created = generate_id(), int(time.time())
    common = {"id": id, "created": created, "model": model, "object": "chat.completion.chunk"}
    size = _CHARACTERS_OF_CHUNK
    pieces = [text[start : start + size] for start in range(0, len(text), size)] or [""]
    for piece in pieces:
        choices = [{"index": index, "delta": {"content": piece, "role": "assistant"}} for index in range(n or 1)]
        yield {**common, "choices": choices}
    last = {
        **common,
        "choices": [{"index": index, "delta": {}, "finish_reason": "stop"} for index in range(n or 1)],
    }
    if counted is not None:
        from ritellm.compat import _tokens

        prompt, answer = _tokens.token_counter(model, messages=counted), _tokens.token_counter(model, text=text)
        last["usage"] = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    yield last


class CustomLLMError(Exception):
    """What a `CustomLLM` raises."""

    __module__ = "litellm.llms.custom_llm"

    def __init__(self, status_code: int, message: str) -> None:
        self.status_code, self.message = status_code, message
        super().__init__(message)


class CustomLLM:
    """The base class of a program's own providers: see ``litellm.custom_provider_map``."""

    __module__ = "litellm.llms.custom_llm"

    def completion(self, *args: Any, **kwargs: Any) -> Any:
        raise CustomLLMError(500, "Not implemented yet!")

    def streaming(self, *args: Any, **kwargs: Any) -> Any:
        raise CustomLLMError(500, "Not implemented yet!")

    async def acompletion(self, *args: Any, **kwargs: Any) -> Any:
        raise CustomLLMError(500, "Not implemented yet!")

    async def astreaming(self, *args: Any, **kwargs: Any) -> Any:
        raise CustomLLMError(500, "Not implemented yet!")
        yield

    def embedding(self, *args: Any, **kwargs: Any) -> Any:
        raise CustomLLMError(500, "Not implemented yet!")

    async def aembedding(self, *args: Any, **kwargs: Any) -> Any:
        raise CustomLLMError(500, "Not implemented yet!")

    def image_generation(self, *args: Any, **kwargs: Any) -> Any:
        raise CustomLLMError(500, "Not implemented yet!")

    async def aimage_generation(self, *args: Any, **kwargs: Any) -> Any:
        raise CustomLLMError(500, "Not implemented yet!")


def handler(provider: str, providers: list[Any]) -> Any:
    """Returns the program's own handler of a provider, or None."""
    for entry in providers:
        if entry["provider"] == provider:
            return entry["custom_handler"]
    return None


def own_provider(model: Any, provider: str | None, providers: list[Any]) -> tuple[str, str] | None:
    """Returns the provider and the model, if the provider is one of the program's own."""
    if not isinstance(model, str):
        return None
    names = {entry["provider"] for entry in providers}
    prefix, slash, rest = model.partition("/")
    if provider in names:
        return str(provider), rest if prefix == provider else model
    return (prefix, rest) if slash and prefix in names else None


def arguments_of(call: Any, model_response: Any) -> dict[str, Any]:
    """Returns what LiteLLM gives the method of a handler."""
    given = call.kwargs
    optional = {name: value for name, value in call.params.items() if name not in ("api_key", "base_url")}
    extra = optional.pop("extra_headers", None)
    timeout = optional.pop("timeout", None)
    optional.pop("max_retries", None)
    return {
        "model": call.target.name,
        "messages": call.messages,
        "api_base": given.get("api_base") or given.get("base_url"),
        "custom_prompt_dict": {},
        "model_response": model_response,
        "print_verbose": lambda *args, **kwargs: None,
        "encoding": None,
        "api_key": given.get("api_key"),
        "logging_obj": None,
        "optional_params": optional,
        "acompletion": call.is_async,
        "litellm_params": {"metadata": given.get("metadata") or {}, "custom_llm_provider": call.target.provider},
        "logger_fn": given.get("logger_fn"),
        "headers": extra or {},
        "timeout": timeout,
        "client": given.get("client"),
    }


def chunk_of(chunk: Any, model: str, id: str) -> Any:
    """Returns a chunk of a handler's stream, a `GenericStreamingChunk`, as a dict in OpenAI's format."""
    if not isinstance(chunk, dict):
        return chunk.model_dump() if hasattr(chunk, "model_dump") else chunk
    if "choices" in chunk:
        return chunk
    delta: dict[str, Any] = {"content": chunk.get("text") or None}
    if chunk.get("tool_use"):
        delta["tool_calls"] = [chunk["tool_use"]]
    if chunk.get("provider_specific_fields"):
        delta["provider_specific_fields"] = chunk["provider_specific_fields"]
    reason = (chunk.get("finish_reason") or "stop") if chunk.get("is_finished") else None
    choice = {"index": chunk.get("index") or 0, "delta": delta, "finish_reason": reason}
    return {"id": id, "created": int(time.time()), "model": model, "choices": [choice], "usage": chunk.get("usage")}


def streamed(chunks: Any, model: str) -> Any:
    id = generate_id()
    for chunk in chunks:
        yield chunk_of(chunk, model, id)


async def astreamed(chunks: Any, model: str) -> Any:
    id = generate_id()
    if asyncio.iscoroutine(chunks):
        chunks = await chunks
    async for chunk in chunks:
        yield chunk_of(chunk, model, id)
