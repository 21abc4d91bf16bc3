"""Streams as LiteLLM has them."""

from __future__ import annotations

from collections import deque
from typing import Any

from ritellm.compat import _errors, _fill, _hidden
from ritellm.compat._deferred import Deferred
from ritellm.compat._settings import map_finish_reason
from ritellm.compat._types import ModelResponse, Usage

__all__ = ["CustomStreamWrapper", "TextCompletionStreamWrapper", "stream_chunk_builder"]


class CustomStreamWrapper:
    """A stream of `ModelResponseStream`, for ``for`` and ``async for``."""

    __module__ = "litellm.litellm_core_utils.streaming_handler"

    def __init__(
        self,
        completion_stream: Any,
        model: Any,
        logging_obj: Any = None,
        custom_llm_provider: str | None = None,
        stream_options: Any = None,
        make_call: Any = None,
        _response_headers: Any = None,
        call: Any = None,
    ) -> None:
        self.model, self.custom_llm_provider, self.completion_stream = model, custom_llm_provider, completion_stream
        self.logging_obj, self.stream_options, self.make_call = logging_obj, stream_options, make_call
        self._response_headers = _response_headers
        self.chunks: list[Any] = []
        self.response_id: str | None = None
        self.sent_first_chunk = self.sent_last_chunk = self.received_finish_reason = False
        self._call, self._ready = call, deque[Any]()
        self._observation = call.observation if call is not None else None
        self._usage_wanted = call is None or bool((call.kwargs.get("stream_options") or {}).get("include_usage"))
        self._is_async = hasattr(completion_stream, "__anext__")
        self._usage: Any = None
        self._hidden: Any = None
        self._chunk_hidden = Deferred(_hidden.of_chunk, (self,))
        if call is not None:
            meta = getattr(completion_stream, "meta", None)
            self._hidden = Deferred(_hidden.of_stream if meta is not None else _hidden.of_mock_stream, (call, meta))

    @property
    def _hidden_params(self) -> dict[str, Any]:
        if self._hidden is None:
            self._hidden = {}
        elif self._hidden.__class__ is Deferred:
            self._hidden = self._hidden.make()
        return self._hidden  # type: ignore[no-any-return]

    @_hidden_params.setter
    def _hidden_params(self, value: dict[str, Any]) -> None:
        self._hidden = value

    def __iter__(self) -> CustomStreamWrapper:
        return self

    def __aiter__(self) -> CustomStreamWrapper:
        return self

    def __next__(self) -> Any:
        ready = self._ready
        while not ready:
            try:
                chunk = next(self.completion_stream)
            except StopIteration:
                self._ended()
                raise
            except Exception as error:
                raise self._failed(error)  # noqa: B904
            self._take(chunk)
        return self._given()

    async def __anext__(self) -> Any:
        ready = self._ready
        while not ready:
            try:
                chunk = await self.completion_stream.__anext__() if self._is_async else next(self.completion_stream)
            except (StopIteration, StopAsyncIteration):
                self._ended()
                raise StopAsyncIteration from None
            except Exception as error:
                raise self._failed(error)  # noqa: B904
            self._take(chunk)
        return self._given()

    def close(self) -> None:
        """Closes the stream; an unfinished request is aborted."""
        close = getattr(self.completion_stream, "close", None)
        if close is not None:
            close()

    async def aclose(self) -> None:
        """Closes the stream; an unfinished request is aborted."""
        close = getattr(self.completion_stream, "aclose", None)
        if close is not None:
            await close()

    def _given(self) -> Any:
        chunk = self._ready.popleft()
        self.chunks.append(chunk)
        if self._observation is not None:
            self._observation.received(chunk)
        return chunk

    def _take(self, chunk: Any) -> None:
        """Adds the chunks that LiteLLM makes of one of the provider's."""
        if not isinstance(chunk, dict):
            chunk = chunk.model_dump()
        choices = []
        last = []
        for choice in chunk.get("choices") or ():
            get = choice.get
            reason, index = get("finish_reason"), get("index") or 0
            delta = get("delta")
            made = _fill.delta_of(delta if delta is not None else {})
            extra = made.__pydantic_extra__
            # Only the first chunk has the role.
            extra["role"] = None if self.sent_first_chunk else extra["role"] or "assistant"
            if reason:
                self.received_finish_reason = True
                last.append(_fill.streaming_choice(index, map_finish_reason(reason), _fill.delta_of({}), None))
                # What comes with the reason is a chunk of its own.
                if not (extra["content"] or extra["tool_calls"] or extra["function_call"] or len(made.__dict__) > 1):
                    continue
            choices.append(_fill.streaming_choice(index, None, made, get("logprobs")))
        if choices:
            self._add(chunk, choices)
        if last:
            self._add(chunk, last)
        usage = chunk.get("usage")
        if usage:
            self._usage = usage
            if self._usage_wanted:
                added = self._add(chunk, [_fill.streaming_choice(0, None, _fill.delta_of({}), None)])
                added.__pydantic_extra__["usage"] = _fill.usage_of(usage)
                added.__pydantic_fields_set__.add("usage")

    def _add(self, chunk: Any, choices: list[Any]) -> Any:
        self.sent_first_chunk = True
        made = _fill.chunk_of(chunk, choices, self._chunk_hidden)
        if self.response_id is None:
            self.response_id = made.id
        self._ready.append(made)
        return made

    def _ended(self) -> None:
        if self.sent_last_chunk:
            return
        self.sent_last_chunk = True
        call = self._call
        if call is None or not call.wants_response:
            return
        response = self._response(call)
        if response is not None:
            cost = call.cost_of(response)
            response._hidden_params = {**response._hidden_params, "response_cost": cost}
            self._hidden_params["response_cost"] = cost
            call.succeeded(response)

    def _response(self, call: Any) -> Any:
        """Returns the response that the stream makes."""
        built = getattr(self.completion_stream, "completion", None)
        if not isinstance(built, dict):
            return stream_chunk_builder(self.chunks, call.messages, usage=self._usage)
        # The core has it already, with the numbers of tokens that the caller did not ask for.
        made = _fill.response_of(built)
        if built.get("usage") is None:
            made.__pydantic_extra__["usage"] = _counted(built, call.messages)
        made._hidden_params = {**self._hidden_params}
        return made

    def _failed(self, error: BaseException) -> BaseException:
        # Whoever reads on gets the end, of which the callbacks are not told.
        self.sent_last_chunk = True
        if self._call is not None:
            return self._call.translated(error)  # type: ignore[no-any-return]
        return _errors.translated(error, self.model, self.custom_llm_provider or "")


class TextCompletionStreamWrapper:
    """A stream of `TextCompletionResponse`."""

    __module__ = "litellm.text_completions.streaming_iterator"

    def __init__(self, completion_stream: Any, model: str, *_: Any, **__: Any) -> None:
        self.completion_stream, self.model = completion_stream, model

    def __iter__(self) -> Any:
        return self

    def __aiter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return _text_chunk(next(self.completion_stream))

    async def __anext__(self) -> Any:
        return _text_chunk(await self.completion_stream.__anext__())


def _text_chunk(chunk: Any) -> Any:
    from ritellm.compat._more_types import TextCompletionResponse

    made = TextCompletionResponse(id=chunk.id, created=chunk.created, model=chunk.model, stream=True)
    choice = chunk.choices[0]
    made.choices[0].text = choice.delta.content or ""
    made.choices[0].finish_reason = choice.finish_reason
    made.choices[0].index = choice.index
    usage = getattr(chunk, "usage", None)
    if usage is not None:
        made.usage = usage
    return made


def stream_chunk_builder(
    chunks: Any,
    messages: Any = None,
    start_time: Any = None,
    end_time: Any = None,
    logging_obj: Any = None,
    usage: Any = None,
) -> Any:
    """Combines the chunks of a stream into a `ModelResponse`; None if there are none.

    Args:
        chunks: the chunks in their order.
        messages: what was asked, of which the tokens are counted where the chunks do not tell them.
        usage: the numbers of tokens, if they came otherwise.
    """
    import ritellm

    if not chunks:
        return None
    dumped = [chunk if isinstance(chunk, dict) else chunk.model_dump() for chunk in chunks]
    built = ritellm.stream_chunk_builder(dumped)
    made: ModelResponse = _fill.response_of(built)
    for choice in made.choices:
        blocks = choice.message.__dict__.get("thinking_blocks")
        if blocks:
            choice.message.thinking_blocks = _combined(blocks)
    extra: Any = made.__pydantic_extra__
    # LiteLLM's own members of chunks.
    for name in ("citations", "provider_specific_fields"):
        if extra.get(name) is None and name in extra:
            del extra[name]
            made.__pydantic_fields_set__.discard(name)
    if usage is None:
        usage = next((item["usage"] for item in reversed(dumped) if item.get("usage")), None)
    if usage is None:
        extra["usage"] = _counted(built, messages)
    elif isinstance(usage, Usage):
        extra["usage"] = usage
    else:
        extra["usage"] = _fill.usage_of(usage if isinstance(usage, dict) else usage.model_dump())
    hidden = getattr(chunks[0], "_hidden_params", None)
    if hidden:
        made._hidden_params = {**hidden}
    return made


def _combined(blocks: list[Any]) -> list[Any]:
    """Returns the thinking blocks of a message, of which each chunk has had a piece; a signature ends a block."""
    made: list[Any] = []
    for block in blocks:
        last = made[-1] if made else None
        if last is not None and block.get("type") == last.get("type") == "thinking" and not last.get("signature"):
            last["thinking"] = (last.get("thinking") or "") + (block.get("thinking") or "")
            last["signature"] = block.get("signature")
        else:
            made.append(dict(block))
    return made


def _counted(built: Any, messages: Any) -> Usage:
    from ritellm.compat import _tokens

    model = built.get("model") or ""
    texts = "".join(choice["message"].get("content") or "" for choice in built.get("choices") or ())
    prompt = _tokens.token_counter(model=model, messages=messages) if messages else 0
    answer = _tokens.token_counter(model=model, text=texts) if texts else 0
    return Usage(prompt_tokens=prompt, completion_tokens=answer, total_tokens=prompt + answer)
