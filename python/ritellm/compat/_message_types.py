"""The types of messages: tool calls, log probabilities, a message, and what a chunk adds to one."""

import json
import uuid
from typing import Any, Literal

from pydantic import Field, field_validator

from ritellm.compat._bases import HOME, Deletable, Items, Members, OpenAIObject


class TopLogprob(OpenAIObject):
    __module__ = HOME
    token: str
    bytes: list[int] | None = None
    logprob: float


class ChatCompletionTokenLogprob(Members, OpenAIObject):
    __module__ = HOME
    token: str
    bytes: list[int] | None = None
    logprob: float
    top_logprobs: list[TopLogprob] = Field(default_factory=list)

    @field_validator("top_logprobs", mode="before")
    @classmethod
    def _no_null(cls, value: Any) -> Any:
        return [] if value is None else value


class ChoiceLogprobs(Members, OpenAIObject):
    __module__ = HOME
    content: list[ChatCompletionTokenLogprob] | None = None

    def __getattr__(self, name: str) -> Any:
        # Newer releases have it as a member, and programs that compare dumps do not know it.
        if name == "refusal" and name not in (self.__pydantic_extra__ or ()):
            return None
        return super().__getattr__(name)  # type: ignore[misc]


class FunctionCall(Items, OpenAIObject):
    __module__ = HOME
    arguments: str
    name: str | None = None


class Function(Members, OpenAIObject):
    __module__ = HOME
    arguments: str
    name: str | None

    def __init__(self, arguments: Any = None, name: str | None = None, **params: Any) -> None:
        if arguments is None:
            parameters = params.get("parameters")
            arguments = json.dumps(parameters) if isinstance(parameters, dict) else ""
        elif isinstance(arguments, dict):
            arguments = json.dumps(arguments)
        super().__init__(arguments=arguments, name=name)


class ChatCompletionMessageToolCall(Members, OpenAIObject):
    __module__ = HOME

    def __init__(self, function: Any = None, id: str | None = None, type: str | None = None, **params: Any) -> None:
        super().__init__(**params)
        self.function = Function(**function) if isinstance(function, dict) else function
        self.id = id if id is not None else str(uuid.uuid4())
        self.type = type if type is not None else "function"


class ChatCompletionDeltaToolCall(Members, OpenAIObject):
    __module__ = HOME
    id: str | None = None
    function: Function
    type: str | None = None
    index: int


class ChatCompletionAudioResponse(Members, OpenAIObject):
    __module__ = HOME
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


class Message(Items, Deletable, OpenAIObject):
    __module__ = HOME
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


class Delta(Members, Deletable, OpenAIObject):
    __module__ = HOME
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
