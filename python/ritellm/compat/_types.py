"""The types of chat completions: responses, chunks and their choices, with LiteLLM's constructors and defaults."""

import time
import uuid
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from ritellm.compat._bases import (
    HOME,
    BaseLiteLLMOpenAIResponseObject,
    Deletable,
    HiddenParams,
    LiteLLMPydanticObjectBase,
    Members,
    OpenAIObject,
    WithHiddenParams,
)
from ritellm.compat._message_types import (
    ChatCompletionAudioResponse,
    ChatCompletionDeltaToolCall,
    ChatCompletionMessageToolCall,
    ChatCompletionTokenLogprob,
    ChoiceLogprobs,
    Delta,
    Function,
    FunctionCall,
    Message,
    TopLogprob,
)
from ritellm.compat._settings import map_finish_reason
from ritellm.compat._usage_types import (
    CacheCreationTokenDetails,
    CompletionTokensDetails,
    CompletionTokensDetailsWrapper,
    PromptTokensDetails,
    PromptTokensDetailsWrapper,
    ServerToolUse,
    Usage,
)

__all__ = [
    "BaseLiteLLMOpenAIResponseObject",
    "CacheCreationTokenDetails",
    "ChatCompletionAudioResponse",
    "ChatCompletionDeltaToolCall",
    "ChatCompletionMessageToolCall",
    "ChatCompletionTokenLogprob",
    "ChoiceLogprobs",
    "Choices",
    "CompletionTokensDetails",
    "CompletionTokensDetailsWrapper",
    "Delta",
    "Function",
    "FunctionCall",
    "HiddenParams",
    "LiteLLMPydanticObjectBase",
    "Message",
    "ModelResponse",
    "ModelResponseBase",
    "ModelResponseStream",
    "OpenAIObject",
    "PromptTokensDetails",
    "PromptTokensDetailsWrapper",
    "ServerToolUse",
    "StreamingChoices",
    "TopLogprob",
    "Usage",
    "generate_id",
    "logprobs_of",
]


def generate_id() -> str:
    """Returns an id for an answer that has none."""
    return f"chatcmpl-{uuid.uuid4()}"


class Choices(Members, Deletable, OpenAIObject):
    __module__ = HOME
    finish_reason: str
    index: int
    message: Message
    logprobs: ChoiceLogprobs | Any | None = None
    provider_specific_fields: dict[str, Any] | None = None

    def __init__(
        self,
        finish_reason: str | None = None,
        index: int | None = 0,
        message: Any = None,
        logprobs: Any = None,
        enhancements: Any = None,
        provider_specific_fields: dict[str, Any] | None = None,
        **params: Any,
    ) -> None:
        mapped = map_finish_reason(finish_reason) if finish_reason is not None else "stop"
        if finish_reason is not None and mapped != finish_reason:
            provider_specific_fields = {**(provider_specific_fields or {}), "native_finish_reason": finish_reason}
        if message is None:
            message = Message()
        elif isinstance(message, dict):
            message = Message(**message)
        elif isinstance(message, BaseModel) and not isinstance(message, Message):
            message = Message(**message.model_dump())
        super().__init__(
            finish_reason=mapped,
            index=index if index is not None else 0,
            message=message,
            logprobs=logprobs_of(logprobs),
            **params,
        )
        if enhancements is not None:
            self.enhancements = enhancements
        if provider_specific_fields is not None:
            self.provider_specific_fields = provider_specific_fields
        else:
            self._drop("provider_specific_fields")
        if logprobs is None:
            self._drop("logprobs")
            self.__pydantic_fields_set__.discard("logprobs")


def logprobs_of(value: Any) -> Any:
    """Returns log probabilities as their type, or as they are where they do not fit it."""
    if isinstance(value, BaseModel) and not isinstance(value, ChoiceLogprobs):
        value = value.model_dump(exclude_unset=True)
    if not isinstance(value, dict):
        return value
    try:
        return ChoiceLogprobs.model_validate(value)
    except ValueError:
        return value


class StreamingChoices(Members, OpenAIObject):
    __module__ = HOME

    def __init__(
        self,
        finish_reason: str | None = None,
        index: int = 0,
        delta: Any = None,
        logprobs: Any = None,
        enhancements: Any = None,
        **params: Any,
    ) -> None:
        # Perplexity sends a message beside the delta.
        params.pop("message", None)
        super().__init__(**params)
        extra: Any = self.__pydantic_extra__
        extra["finish_reason"] = map_finish_reason(finish_reason) if finish_reason else None
        extra["index"] = index
        extra["delta"] = Delta() if delta is None else Delta(**delta) if isinstance(delta, dict) else delta
        if enhancements is not None:
            extra["enhancements"] = enhancements
        extra["logprobs"] = logprobs_of(logprobs)
        self.__pydantic_fields_set__.update(extra)


class ModelResponseBase(WithHiddenParams, OpenAIObject):
    __module__ = HOME
    id: str
    created: int
    model: str | None = None
    object: str
    system_fingerprint: str | None = None

    if TYPE_CHECKING:

        def __init__(self, **data: Any) -> None: ...

    def model_dump(self, **kwargs: Any) -> dict[str, Any]:
        if "exclude_unset" not in kwargs and "exclude_none" not in kwargs:
            kwargs["exclude_unset"] = True
        return super().model_dump(**kwargs)


class ModelResponseStream(Members, ModelResponseBase):
    __module__ = HOME
    choices: list[StreamingChoices]
    provider_specific_fields: dict[str, Any] | None = None

    def __init__(
        self,
        choices: Any = None,
        id: str | None = None,
        created: int | None = None,
        provider_specific_fields: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        made = [StreamingChoices()]
        if isinstance(choices, list):
            made = [_made(StreamingChoices, choice) for choice in choices]
        usage = kwargs.pop("usage", None)
        if usage is not None:
            kwargs["usage"] = _usage(usage)
        kwargs["object"] = "chat.completion.chunk"
        super().__init__(
            choices=made,
            id=generate_id() if id is None else id,
            created=int(time.time()) if created is None else created,
            provider_specific_fields=provider_specific_fields,
            **kwargs,
        )


class ModelResponse(Members, ModelResponseBase):
    __module__ = HOME
    choices: list[Choices]

    def __init__(
        self,
        id: str | None = None,
        choices: Any = None,
        created: int | None = None,
        model: str | None = None,
        object: str | None = None,
        system_fingerprint: str | None = None,
        usage: Any = None,
        stream: bool | None = None,
        stream_options: Any = None,
        response_ms: float | None = None,
        hidden_params: Any = None,
        _response_headers: Any = None,
        **params: Any,
    ) -> None:
        made = [_made(Choices, choice) for choice in choices] if isinstance(choices, list) else [Choices()]
        if usage is not None:
            params["usage"] = _usage(usage)
        super().__init__(
            id=generate_id() if id is None else id,
            choices=made,
            created=int(time.time()) if created is None else created,
            model=model,
            object="chat.completion",
            system_fingerprint=system_fingerprint,
            **params,
        )
        if hidden_params:
            self._hidden_params = hidden_params
        if _response_headers:
            self._response_headers = _response_headers
        if response_ms:
            self._response_ms = response_ms


def _made(kind: Any, value: Any) -> Any:
    if isinstance(value, kind):
        return value
    if isinstance(value, dict):
        return kind(**value)
    return kind(**value.model_dump()) if isinstance(value, BaseModel) else value


def _usage(value: Any) -> Any:
    if isinstance(value, Usage) or not isinstance(value, (dict, BaseModel)):
        return value
    return Usage(**(value if isinstance(value, dict) else value.model_dump()))
