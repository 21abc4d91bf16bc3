"""The types of chat completions: models of pydantic with LiteLLM's names, constructors and defaults.

Their ``__module__`` is LiteLLM's, since programs unpickle them by it. Annotations are evaluated at once, as names in them would be
looked up in that module.
"""

import contextlib
import json
import time
import uuid
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

from ritellm.compat._deferred import Deferred
from ritellm.compat._settings import map_finish_reason

_HOME = "litellm.types.utils"


def generate_id() -> str:
    """Returns an id for an answer that has none."""
    return f"chatcmpl-{uuid.uuid4()}"


class OpenAIObject(BaseModel):
    """The base of the types: unknown members are kept, as in openai's own base class."""

    __module__ = "litellm.types.llms.base"
    model_config = ConfigDict(extra="allow", protected_namespaces=(), defer_build=True)

    @classmethod
    def model_construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Any:
        """Makes an instance without validation; as with openai's base class, fields that are missing are None."""
        made = super().model_construct(_fields_set, **values)
        for name in cls.model_fields:
            made.__dict__.setdefault(name, None)
        return made

    def to_dict(
        self, *, mode: Literal["json", "python"] = "python", exclude_unset: bool = True, **kwargs: Any
    ) -> dict[str, Any]:
        kwargs.pop("use_api_names", None)
        kwargs.pop("warnings", None)
        return self.model_dump(mode=mode, exclude_unset=exclude_unset, **kwargs)

    def to_json(self, *, indent: int | None = 2, exclude_unset: bool = True, **kwargs: Any) -> str:
        kwargs.pop("use_api_names", None)
        kwargs.pop("warnings", None)
        return self.model_dump_json(indent=indent, exclude_unset=exclude_unset, **kwargs)

    def __str__(self) -> str:
        return repr(self)

    def json(self, **kwargs: Any) -> Any:
        """Returns the object as a dict, as LiteLLM does."""
        return self.model_dump()


class _Items:
    """Reading and writing of members as items."""

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self, key, default)

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)


class _Members(_Items):
    def __contains__(self, key: str) -> bool:
        return hasattr(self, key)


class _Optional:
    """Deleting of members: members that an answer lacks are deleted, since programs ask ``hasattr``."""

    def __delattr__(self, name: str) -> None:
        namespace = self.__dict__
        if name in namespace:
            del namespace[name]
            return
        with contextlib.suppress(AttributeError):
            super().__delattr__(name)

    def _drop(self, *names: str) -> None:
        namespace = self.__dict__
        for name in names:
            namespace.pop(name, None)


class LiteLLMPydanticObjectBase(BaseModel):
    """A base class of LiteLLM's, for programs that extend it."""

    __module__ = "litellm.types.llms.base"
    model_config = ConfigDict(protected_namespaces=())

    def json(self, **kwargs: Any) -> Any:
        return self.model_dump(**kwargs)

    def fields_set(self) -> set[str]:
        return self.model_fields_set


class BaseLiteLLMOpenAIResponseObject(BaseModel):
    """The base of the types of the Responses API: members are items of ``__dict__``."""

    __module__ = "litellm.types.llms.base"
    model_config = ConfigDict(extra="allow", protected_namespaces=())

    def __getitem__(self, key: str) -> Any:
        return self.__dict__[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self.__dict__.get(key, default)

    def __contains__(self, key: str) -> bool:
        return key in self.__dict__

    def items(self) -> Any:
        return self.__dict__.items()


class HiddenParams(_Items, OpenAIObject):
    """What a response has beside its body."""

    __module__ = "litellm.types.llms.base"
    original_response: Any = None
    model_id: str | None = None
    api_base: str | None = None
    response_cost: float | None = None
    _response_ms: float | None = None


class TopLogprob(OpenAIObject):
    __module__ = _HOME
    token: str
    bytes: list[int] | None = None
    logprob: float


class ChatCompletionTokenLogprob(_Members, OpenAIObject):
    __module__ = _HOME
    token: str
    bytes: list[int] | None = None
    logprob: float
    top_logprobs: list[TopLogprob] = Field(default_factory=list)

    @field_validator("top_logprobs", mode="before")
    @classmethod
    def _no_null(cls, value: Any) -> Any:
        return [] if value is None else value


class ChoiceLogprobs(_Members, OpenAIObject):
    __module__ = _HOME
    content: list[ChatCompletionTokenLogprob] | None = None

    def __getattr__(self, name: str) -> Any:
        # Newer releases have it as a member, and programs that compare dumps do not know it.
        if name == "refusal" and name not in (self.__pydantic_extra__ or ()):
            return None
        return super().__getattr__(name)  # type: ignore[misc]


class FunctionCall(_Items, OpenAIObject):
    __module__ = _HOME
    arguments: str
    name: str | None = None


class Function(_Members, OpenAIObject):
    __module__ = _HOME
    arguments: str
    name: str | None

    def __init__(self, arguments: Any = None, name: str | None = None, **params: Any) -> None:
        if arguments is None:
            parameters = params.get("parameters")
            arguments = json.dumps(parameters) if isinstance(parameters, dict) else ""
        elif isinstance(arguments, dict):
            arguments = json.dumps(arguments)
        super().__init__(arguments=arguments, name=name)


class ChatCompletionMessageToolCall(_Members, OpenAIObject):
    __module__ = _HOME

    def __init__(self, function: Any = None, id: str | None = None, type: str | None = None, **params: Any) -> None:
        super().__init__(**params)
        self.function = Function(**function) if isinstance(function, dict) else function
        self.id = id if id is not None else str(uuid.uuid4())
        self.type = type if type is not None else "function"


class ChatCompletionDeltaToolCall(_Members, OpenAIObject):
    __module__ = _HOME
    id: str | None = None
    function: Function
    type: str | None = None
    index: int


class ChatCompletionAudioResponse(_Members, OpenAIObject):
    __module__ = _HOME
    id: str
    data: str
    expires_at: int
    transcript: str

    def __init__(self, data: str, expires_at: int, transcript: str, id: str | None = None, **params: Any) -> None:
        super().__init__(
            data=data,
            expires_at=expires_at,
            transcript=transcript,
            id=id if id is not None else str(uuid.uuid4()),
            **params,
        )


_Role = Literal["assistant", "user", "system", "tool", "function"]
_ABSENT_OF_MESSAGE = ("audio", "images", "reasoning_content", "thinking_blocks", "reasoning_items", "annotations")


class Message(_Items, _Optional, OpenAIObject):
    __module__ = _HOME
    content: str | None
    role: _Role
    tool_calls: list[ChatCompletionMessageToolCall] | None
    function_call: FunctionCall | None
    audio: ChatCompletionAudioResponse | None = None
    images: list[Any] | None = None
    reasoning_content: str | None = None
    thinking_blocks: list[Any] | None = None
    reasoning_items: list[Any] | None = None
    provider_specific_fields: dict[str, Any] | None = None
    annotations: list[Any] | None = None

    def __init__(
        self,
        content: str | None = None,
        role: str | None = "assistant",
        function_call: Any = None,
        tool_calls: list[Any] | None = None,
        audio: Any = None,
        images: Any = None,
        provider_specific_fields: dict[str, Any] | None = None,
        reasoning_content: str | None = None,
        thinking_blocks: Any = None,
        reasoning_items: Any = None,
        annotations: Any = None,
        **params: Any,
    ) -> None:
        if isinstance(function_call, dict):
            function_call = FunctionCall(**function_call)
        calls = [ChatCompletionMessageToolCall(**call) if isinstance(call, dict) else call for call in tool_calls or ()]
        given = {
            "audio": audio,
            "images": images,
            "reasoning_content": reasoning_content,
            "thinking_blocks": thinking_blocks,
            "reasoning_items": reasoning_items,
            "annotations": annotations,
        }
        present = {name: value for name, value in given.items() if value is not None}
        super().__init__(
            content=content,
            role=role or "assistant",
            function_call=function_call,
            tool_calls=calls or None,
            **present,
            **params,
        )
        self._drop(*(name for name in _ABSENT_OF_MESSAGE if name not in present))
        if provider_specific_fields:
            self.provider_specific_fields = provider_specific_fields


class Delta(_Members, _Optional, OpenAIObject):
    __module__ = _HOME
    reasoning_content: str | None = None
    thinking_blocks: list[Any] | None = None
    reasoning_items: list[Any] | None = None
    provider_specific_fields: dict[str, Any] | None = None

    def __init__(
        self,
        content: Any = None,
        role: Any = None,
        function_call: Any = None,
        tool_calls: Any = None,
        audio: Any = None,
        images: Any = None,
        reasoning_content: str | None = None,
        thinking_blocks: Any = None,
        reasoning_items: Any = None,
        annotations: Any = None,
        **params: Any,
    ) -> None:
        if reasoning_content is None and "reasoning" in params:
            reasoning_content = params.pop("reasoning")
        super().__init__(**params)
        if params.get("provider_specific_fields"):
            self.provider_specific_fields = params["provider_specific_fields"]
        if isinstance(function_call, dict):
            function_call = FunctionCall(**function_call)
        if isinstance(tool_calls, (list, tuple)):
            tool_calls = _delta_calls(tool_calls)
        extra: Any = self.__pydantic_extra__
        extra.update(content=content, role=role, function_call=function_call, tool_calls=tool_calls, audio=audio)
        if images:
            extra["images"] = images
        if annotations is not None:
            extra["annotations"] = annotations
        self.__pydantic_fields_set__.update(extra)
        for name, value in (
            ("reasoning_content", reasoning_content),
            ("thinking_blocks", thinking_blocks),
            ("reasoning_items", reasoning_items),
        ):
            if value is None:
                self._drop(name)
            else:
                setattr(self, name, value)


def _delta_calls(calls: Any) -> list[Any]:
    made: list[Any] = []
    counted = 0
    for call in calls:
        if isinstance(call, dict):
            # Where a provider leaves the number out, calls are numbered in their order.
            if call.get("index") is None:
                call = {**call, "index": counted}
                counted += 1
            made.append(ChatCompletionDeltaToolCall(**{**call, "type": call.get("type") or "function"}))
        elif isinstance(call, ChatCompletionDeltaToolCall):
            made.append(call)
    return made


class Choices(_Members, _Optional, OpenAIObject):
    __module__ = _HOME
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


class PromptTokensDetails(OpenAIObject):
    __module__ = _HOME
    audio_tokens: int | None = None
    cached_tokens: int | None = None


class CompletionTokensDetails(OpenAIObject):
    __module__ = _HOME
    accepted_prediction_tokens: int | None = None
    audio_tokens: int | None = None
    reasoning_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class CompletionTokensDetailsWrapper(_Members, CompletionTokensDetails):
    __module__ = _HOME
    text_tokens: int | None = None
    image_tokens: int | None = None
    video_tokens: int | None = None


class CacheCreationTokenDetails(BaseModel):
    __module__ = _HOME
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


_ABSENT_OF_PROMPT = (
    "character_count",
    "image_count",
    "video_length_seconds",
    "audio_length_seconds",
    "query_count",
    "web_search_requests",
    "google_maps_grounding_requests",
    "tool_use_tokens",
    "cache_creation_token_details",
)


class PromptTokensDetailsWrapper(_Members, _Optional, PromptTokensDetails):
    __module__ = _HOME
    text_tokens: int | None = None
    image_tokens: int | None = None
    video_tokens: int | None = None
    web_search_requests: int | None = None
    google_maps_grounding_requests: int | None = None
    tool_use_tokens: int | None = None
    character_count: int | None = None
    image_count: int | None = None
    video_length_seconds: float | None = None
    audio_length_seconds: float | None = None
    query_count: int | None = None
    cache_write_tokens: int | None = None
    cache_creation_tokens: int | None = None
    cache_creation_token_details: CacheCreationTokenDetails | None = None

    #: Two names of one number, OpenAI's and Anthropic's.
    _SAME: ClassVar[dict[str, str]] = {
        "cache_write_tokens": "cache_creation_tokens",
        "cache_creation_tokens": "cache_write_tokens",
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        namespace = self.__dict__
        written = namespace["cache_write_tokens"]
        if written is None:
            written = namespace["cache_creation_tokens"]
        if written is None:
            written = kwargs.get("cache_creation_input_tokens")
        if written is None:
            self._drop("cache_write_tokens", "cache_creation_tokens")
        else:
            self.cache_write_tokens = written
        self._drop(*(name for name in _ABSENT_OF_PROMPT if namespace.get(name) is None))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        same = self._SAME.get(name)
        if same is not None:
            super().__setattr__(same, value)


class ServerToolUse(_Items, BaseModel):
    __module__ = _HOME
    web_search_requests: int | None = None
    tool_search_requests: int | None = None


class Usage(_Members, _Optional, OpenAIObject):
    __module__ = _HOME
    completion_tokens: int
    prompt_tokens: int
    total_tokens: int
    completion_tokens_details: CompletionTokensDetailsWrapper | None = None
    prompt_tokens_details: PromptTokensDetailsWrapper | None = None
    server_tool_use: ServerToolUse | None = None
    cost: float | None = None
    _cache_creation_input_tokens: int = PrivateAttr(0)
    _cache_read_input_tokens: int = PrivateAttr(0)

    def __init__(
        self,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        total_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        prompt_tokens_details: Any = None,
        completion_tokens_details: Any = None,
        server_tool_use: Any = None,
        cost: float | None = None,
        **params: Any,
    ) -> None:
        super().__init__(
            prompt_tokens=prompt_tokens or 0,
            completion_tokens=completion_tokens or 0,
            total_tokens=total_tokens or 0,
            completion_tokens_details=_completion_details(
                completion_tokens, reasoning_tokens, completion_tokens_details
            ),
            prompt_tokens_details=_prompt_details(prompt_tokens_details, params),
        )
        if server_tool_use is None:
            self._drop("server_tool_use")
        else:
            self.server_tool_use = (
                ServerToolUse(**server_tool_use) if isinstance(server_tool_use, dict) else server_tool_use
            )
        if cost is None:
            self._drop("cost")
        else:
            self.cost = cost
        written, read = params.get("cache_creation_input_tokens"), params.get("cache_read_input_tokens")
        hit = params.get("prompt_cache_hit_tokens")
        if isinstance(written, int):
            self._cache_creation_input_tokens = written
        if isinstance(hit, int) or isinstance(read, int):
            self._cache_read_input_tokens = hit if isinstance(hit, int) else read  # type: ignore[assignment]
        for name, value in params.items():
            setattr(self, name, value)


def _completion_details(completion: Any, reasoning: Any, details: Any) -> Any:
    """Returns the classes of an answer's tokens, with those of its reasoning if they are given on their own."""
    if isinstance(details, dict):
        details = CompletionTokensDetailsWrapper(**details) if details else None
    elif isinstance(details, BaseModel) and not isinstance(details, CompletionTokensDetailsWrapper):
        details = CompletionTokensDetailsWrapper(**details.model_dump())
    if not reasoning:
        return details or None
    if details is None:
        details = CompletionTokensDetailsWrapper()
    if details.reasoning_tokens is None:
        details.reasoning_tokens = reasoning
    if details.text_tokens is None and completion is not None:
        others = (details.image_tokens or 0) + (details.audio_tokens or 0)
        details.text_tokens = max(0, completion - reasoning - others)
    return details


def _prompt_details(details: Any, params: dict[str, Any]) -> Any:
    """Returns the classes of a prompt's tokens, with those that Anthropic and DeepSeek report beside them."""
    if isinstance(details, dict):
        details = PromptTokensDetailsWrapper(**details) if details else None
    elif isinstance(details, BaseModel) and not isinstance(details, PromptTokensDetailsWrapper):
        details = PromptTokensDetailsWrapper(**details.model_dump())
    elif not details:
        details = None
    for source, name in (
        ("prompt_cache_hit_tokens", "cached_tokens"),
        ("cache_read_input_tokens", "cached_tokens"),
        ("cache_creation_input_tokens", "cache_write_tokens"),
    ):
        value = params.get(source)
        if isinstance(value, int):
            if details is None:
                details = PromptTokensDetailsWrapper(**{name: value})
            else:
                setattr(details, name, value)
    return details


class StreamingChoices(_Members, OpenAIObject):
    __module__ = _HOME

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


class _Hidden:
    """``_hidden_params``: a dict, or an object that makes it when it is read for the first time."""

    def _private(self) -> dict[str, Any]:
        private: Any = getattr(self, "__pydantic_private__", None)
        if private is None:
            private = {}
            object.__setattr__(self, "__pydantic_private__", private)
        made: dict[str, Any] = private
        return made

    @property
    def _hidden_params(self) -> Any:
        private = self._private()
        hidden = private.get("_hidden_params")
        if hidden is None:
            hidden = private["_hidden_params"] = {}
        elif hidden.__class__ is Deferred:
            hidden = private["_hidden_params"] = hidden.make()
        return hidden

    @_hidden_params.setter
    def _hidden_params(self, value: Any) -> None:
        self._private()["_hidden_params"] = value

    def __copy__(self) -> Any:
        # What is made when it is read is of this object.
        _ = self._hidden_params
        return super().__copy__()  # type: ignore[misc]

    @property
    def hidden_params(self) -> Any:
        return self._hidden_params

    @hidden_params.setter
    def hidden_params(self, value: Any) -> None:
        self._hidden_params = value

    @property
    def _response_headers(self) -> Any:
        private = self._private()
        if "_response_headers" in private:
            return private["_response_headers"]
        headers = self._hidden_params.get("additional_headers")
        prefix = "llm_provider-"
        return headers and {name[len(prefix) :]: headers[name] for name in headers if name.startswith(prefix)}

    @_response_headers.setter
    def _response_headers(self, value: Any) -> None:
        self._private()["_response_headers"] = value

    @property
    def _response_ms(self) -> Any:
        private = self._private()
        return private["_response_ms"] if "_response_ms" in private else self._hidden_params.get("_response_ms")

    @_response_ms.setter
    def _response_ms(self, value: Any) -> None:
        self._private()["_response_ms"] = value


class ModelResponseBase(_Hidden, OpenAIObject):
    __module__ = _HOME
    id: str
    created: int
    model: str | None = None
    object: str
    system_fingerprint: str | None = None

    def model_dump(self, **kwargs: Any) -> dict[str, Any]:
        if "exclude_unset" not in kwargs and "exclude_none" not in kwargs:
            kwargs["exclude_unset"] = True
        return super().model_dump(**kwargs)


class ModelResponseStream(_Members, ModelResponseBase):
    __module__ = _HOME
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


class ModelResponse(_Members, ModelResponseBase):
    __module__ = _HOME
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
