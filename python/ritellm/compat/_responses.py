"""``responses``: the Responses API."""

from __future__ import annotations

from typing import Any

from ritellm.compat import _bridge, _hidden
from ritellm.compat._calls import ChatCall
from ritellm.compat._plain import plain
from ritellm.compat._responses_types import ResponsesAPIResponse, event_of

#: Parameters of chat completions that the Responses API does not have: LiteLLM drops them, and OpenAI refuses a call with one.
_OF_CHAT = [
    "max_tokens",
    "max_completion_tokens",
    "n",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "logprobs",
    "response_format",
    "functions",
    "function_call",
    "modalities",
    "audio",
    "prediction",
]
_ENDS = ("response.completed", "response.incomplete", "response.failed")


class ResponsesCall(ChatCall):
    """A call of the Responses API.

    It is a chat completion where the provider has no such API, or the answer is made in the program: see `_bridge`.
    """

    def _prepare(self, model: Any) -> None:
        super()._prepare(model)
        kwargs, params = self.kwargs, self.params
        for name in _OF_CHAT:
            params.pop(name, None)
        wanted = params.pop("text_format", None)
        if wanted is not None and "text" not in params:
            from ritellm.compat import _schema

            named = _schema.response_format(wanted)["json_schema"] if isinstance(wanted, type) else wanted
            params["text"] = {"format": {"type": "json_schema", **named}}
        metadata = kwargs.get("metadata")
        self._echoed: Any = None
        #: The chat completion of which the response is made; its usage tells more.
        self.chat: Any = None
        if self.is_mocked or self.handler is not None or self.target.provider not in _bridge.NATIVE:
            made = _bridge.request(self.messages, params, self.target, metadata)
            self.messages, self.params, self._echoed = made
        elif metadata is not None:
            # Here it is OpenAI's, and not LiteLLM's own.
            params["metadata"] = metadata

    def _asked(self) -> Any:
        if self._echoed is not None:
            return super()._asked()
        return self.client().responses(self.target.model, self.messages, **self.params)

    async def _aasked(self) -> Any:
        if self._echoed is not None:
            return await super()._aasked()
        return await self.client().aresponses(self.target.model, self.messages, **self.params)

    def cost_of(self, response: Any) -> float | None:
        """Returns what the call has cost in US dollars; None if that is not known."""
        return super().cost_of(response if self.chat is None else self.chat)

    def finished(self, answer: Any) -> Any:
        """Returns LiteLLM's response or stream."""
        meta = self.noted(answer)
        if self.stream:
            if self._echoed is not None:
                answer = _bridge.EventStream(answer, self.target.name, self._echoed)
            kind = ResponsesAPIStreamingIterator if self.is_async else SyncResponsesAPIStreamingIterator
            return kind(answer, self.target.name, custom_llm_provider=self.target.provider, call=self)
        if self._echoed is not None:
            self.chat = answer if meta is None else _chat_of(answer)
            answer = _bridge.response(answer, self.target.name, self._echoed)
        response = response_of(answer)
        if meta is None:
            response._hidden_params = _hidden.of_call(self)
        else:
            _hidden.attach(self, meta, response)
        return self.succeeded(response)


def _chat_of(answer: Any) -> Any:
    from ritellm.compat import _fill

    return _fill.response_of(answer)


def response_of(answer: Any) -> Any:
    """Returns a response as LiteLLM's type, with the members that do not fit it as they are."""
    members = plain(answer)
    try:
        return ResponsesAPIResponse.model_validate(members)
    except ValueError:
        return ResponsesAPIResponse.model_construct(**members)


class BaseResponsesAPIStreamingIterator:
    """A stream of the Responses API's events."""

    __module__ = "litellm.responses.streaming_iterator"

    def __init__(
        self,
        response: Any,
        model: str,
        responses_api_provider_config: Any = None,
        logging_obj: Any = None,
        litellm_metadata: Any = None,
        custom_llm_provider: str | None = None,
        call: Any = None,
        **_: Any,
    ) -> None:
        self.response, self.model, self.custom_llm_provider = response, model, custom_llm_provider
        self.logging_obj, self.litellm_metadata = logging_obj, litellm_metadata
        self.finished = False
        self.completed_response: Any = None
        self._call = call
        self._hidden_params: dict[str, Any] = {}
        if call is not None:
            meta = response.meta
            self._hidden_params = _hidden.of_mock_stream(call, None) if meta is None else _hidden.of_stream(call, meta)

    def _given(self, event: Any) -> Any:
        made = event_of(plain(event))
        if event.get("type") in _ENDS:
            self.completed_response = made
            if self._call is not None:
                response = getattr(made, "response", None)
                chat = getattr(self.response, "completion", None) if self._call._echoed is not None else None
                if isinstance(chat, dict):
                    self._call.chat = _chat_of(chat)
                if isinstance(response, ResponsesAPIResponse):
                    # No cost: LiteLLM tells it to callbacks, and instrumentors would count it a second time.
                    response._hidden_params = dict(self._hidden_params)
                    self._call.succeeded(response)
        return made

    def _failed(self, error: BaseException) -> BaseException:
        self.finished = True
        return self._call.translated(error) if self._call is not None else error


class ResponsesAPIStreamingIterator(BaseResponsesAPIStreamingIterator):
    """A stream for ``async for``."""

    __module__ = "litellm.responses.streaming_iterator"

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        try:
            event = await self.response.__anext__()
        except StopAsyncIteration:
            self.finished = True
            raise
        except Exception as error:
            raise self._failed(error)  # noqa: B904
        return self._given(event)

    async def aclose(self) -> None:
        """Closes the stream; an unfinished request is aborted."""
        await self.response.aclose()


class SyncResponsesAPIStreamingIterator(BaseResponsesAPIStreamingIterator):
    """A stream for ``for``."""

    __module__ = "litellm.responses.streaming_iterator"

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        try:
            event = next(self.response)
        except StopIteration:
            self.finished = True
            raise
        except Exception as error:
            raise self._failed(error)  # noqa: B904
        return self._given(event)

    def close(self) -> None:
        """Closes the stream; an unfinished request is aborted."""
        self.response.close()


def responses(input: Any = None, model: Any = None, **kwargs: Any) -> Any:
    """Calls the Responses API.

    Returns:
        `ResponsesAPIResponse`, or a `SyncResponsesAPIStreamingIterator` with ``stream=True``.
    """
    try:
        call = ResponsesCall("responses", model, input, kwargs, False)
    finally:
        del kwargs
    return call.run()


async def aresponses(input: Any = None, model: Any = None, **kwargs: Any) -> Any:
    """Calls the Responses API on an event loop: see `responses`."""
    try:
        call = ResponsesCall("aresponses", model, input, kwargs, True)
    finally:
        del kwargs
    return await call.arun()
