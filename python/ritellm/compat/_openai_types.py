"""The typed dicts of messages, tools and requests, with LiteLLM's names.

Names whose types are openai's own are those of that package where it is installed, and `Any` elsewhere.
"""

import importlib
from collections.abc import Iterable
from typing import Any, Literal

from typing_extensions import NotRequired, Required, TypedDict

_HOME = "litellm.types.llms.openai"
_Table = dict[str, Any]


def _dict(name: str, members: _Table, total: bool = True) -> Any:
    """Returns a typed dict whose module is LiteLLM's."""
    made: Any = TypedDict(name, members, total=total)  # type: ignore[misc]
    made.__module__ = _HOME
    return made


def _optional(title: str, /, **members: Any) -> Any:
    return _dict(title, members, total=False)


ChatCompletionCachedContent = _dict(
    "ChatCompletionCachedContent", {"type": Literal["ephemeral"], "ttl": NotRequired[Literal["5m", "1h"]]}
)
_Cached = {"cache_control": NotRequired[ChatCompletionCachedContent]}
ChatCompletionToolCallFunctionChunk = _optional(
    "ChatCompletionToolCallFunctionChunk",
    name=str | None,
    arguments=str,
    provider_specific_fields=dict[str, Any] | None,
)
_Function = ChatCompletionToolCallFunctionChunk
ChatCompletionAssistantToolCall = _dict(
    "ChatCompletionAssistantToolCall", {"id": str | None, "type": Literal["function"], "function": _Function}
)
ChatCompletionToolCallChunk = _dict(
    "ChatCompletionToolCallChunk",
    {"id": str | None, "type": Literal["function"], "function": _Function, "index": int},
)
ChatCompletionDeltaToolCallChunk = _optional(
    "ChatCompletionDeltaToolCallChunk", id=str, type=Literal["function"], function=_Function, index=int
)
_Control = dict[str, Any] | ChatCompletionCachedContent | None
ChatCompletionThinkingBlock = _optional(
    "ChatCompletionThinkingBlock",
    type=Required[Literal["thinking"]],
    thinking=str,
    signature=str | None,
    cache_control=_Control,
    index=int,
)
ChatCompletionRedactedThinkingBlock = _optional(
    "ChatCompletionRedactedThinkingBlock",
    type=Required[Literal["redacted_thinking"]],
    data=str,
    cache_control=_Control,
    index=int,
)
ChatCompletionReasoningItem = _optional(
    "ChatCompletionReasoningItem",
    type=Required[Literal["reasoning"]],
    id=str,
    encrypted_content=str | None,
    summary=list[dict[str, Any]],
)
ChatCompletionAnnotationURLCitation = _optional(
    "ChatCompletionAnnotationURLCitation", end_index=int, start_index=int, title=str, url=str
)
ChatCompletionAnnotation = _optional(
    "ChatCompletionAnnotation", type=Literal["url_citation"], url_citation=ChatCompletionAnnotationURLCitation
)
OpenAIChatCompletionTextObject = _dict("OpenAIChatCompletionTextObject", {"type": Literal["text"], "text": str})
ChatCompletionTextObject = _dict("ChatCompletionTextObject", {"type": Literal["text"], "text": str, **_Cached})
ChatCompletionImageUrlObject = _optional(
    "ChatCompletionImageUrlObject", url=Required[str], detail=str, format=str, video_metadata=dict[str, Any]
)
ChatCompletionImageObject = _dict(
    "ChatCompletionImageObject",
    {"type": Literal["image_url"], "image_url": str | ChatCompletionImageUrlObject},
)
ChatCompletionVideoUrlObject = _optional("ChatCompletionVideoUrlObject", url=Required[str], detail=str)
ChatCompletionVideoObject = _dict(
    "ChatCompletionVideoObject",
    {"type": Literal["video_url"], "video_url": str | ChatCompletionVideoUrlObject},
)
ChatCompletionInputAudio = _dict("ChatCompletionInputAudio", {"data": str, "format": str})
ChatCompletionAudioObject = _dict(
    "ChatCompletionAudioObject", {"type": Literal["input_audio"], "input_audio": ChatCompletionInputAudio, **_Cached}
)
DocumentObject = _dict("DocumentObject", {"type": Literal["text"], "media_type": str, "data": str})
CitationsObject = _dict("CitationsObject", {"enabled": bool})
ChatCompletionDocumentObject = _dict(
    "ChatCompletionDocumentObject",
    {
        "type": Literal["document"],
        "source": DocumentObject,
        "title": str,
        "context": str,
        "citations": CitationsObject | None,
    },
)
ChatCompletionFileObjectFile = _optional(
    "ChatCompletionFileObjectFile",
    file_data=str,
    file_id=str,
    filename=str,
    format=str,
    detail=str,
    video_metadata=dict[str, Any],
)
ChatCompletionFileObject = _dict(
    "ChatCompletionFileObject", {"type": Literal["file"], "file": ChatCompletionFileObjectFile}
)
OpenAIMessageContentListBlock = (
    ChatCompletionTextObject
    | ChatCompletionImageObject
    | ChatCompletionAudioObject
    | ChatCompletionDocumentObject
    | ChatCompletionVideoObject
    | ChatCompletionFileObject
)
OpenAIMessageContent = str | Iterable[OpenAIMessageContentListBlock]
AllPromptValues = str | list[str] | Iterable[int] | Iterable[Iterable[int]] | None
AllEmbeddingInputValues = str | list[str] | list[int] | list[list[int]]
OpenAIChatCompletionUserMessage = _dict(
    "OpenAIChatCompletionUserMessage", {"role": Literal["user"], "content": OpenAIMessageContent}
)
ChatCompletionUserMessage = _dict(
    "ChatCompletionUserMessage", {"role": Literal["user"], "content": OpenAIMessageContent, **_Cached}
)
_Assistant: _Table = {
    "role": Required[Literal["assistant"]],
    "content": str
    | Iterable[
        ChatCompletionTextObject
        | ChatCompletionThinkingBlock
        | ChatCompletionRedactedThinkingBlock
        | ChatCompletionImageObject
        | ChatCompletionAudioObject
        | ChatCompletionFileObject
    ]
    | None,
    "name": str | None,
    "tool_calls": list[ChatCompletionAssistantToolCall] | None,
    "function_call": _Function | None,
    "reasoning_content": str | None,
}
OpenAIChatCompletionAssistantMessage = _dict("OpenAIChatCompletionAssistantMessage", _Assistant, total=False)
_Thinking = list[ChatCompletionThinkingBlock | ChatCompletionRedactedThinkingBlock] | None
ChatCompletionAssistantMessage = _dict(
    "ChatCompletionAssistantMessage",
    {
        **_Assistant,
        "cache_control": ChatCompletionCachedContent,
        "thinking_blocks": _Thinking,
        "reasoning_items": list[ChatCompletionReasoningItem] | None,
    },
    total=False,
)
ChatCompletionToolMessage = _dict(
    "ChatCompletionToolMessage",
    {
        "role": Literal["tool"],
        "content": str
        | Iterable[
            ChatCompletionTextObject | ChatCompletionImageObject | ChatCompletionAudioObject | ChatCompletionFileObject
        ],
        "tool_call_id": str,
        "is_error": NotRequired[bool],
    },
)
ChatCompletionFunctionMessage = _dict(
    "ChatCompletionFunctionMessage",
    {
        "role": Literal["function"],
        "content": str | Iterable[ChatCompletionTextObject] | None,
        "name": str,
        "tool_call_id": str | None,
    },
)
_System: _Table = {
    "role": Required[Literal["system"]],
    "content": Required[str | list[Any]],
    "name": str,
}
OpenAIChatCompletionSystemMessage = _dict("OpenAIChatCompletionSystemMessage", _System, total=False)
ChatCompletionSystemMessage = _dict(
    "ChatCompletionSystemMessage", {**_System, "cache_control": ChatCompletionCachedContent}, total=False
)
ChatCompletionDeveloperMessage = _dict(
    "ChatCompletionDeveloperMessage",
    {**_System, "role": Required[Literal["developer"]], "cache_control": ChatCompletionCachedContent},
    total=False,
)
AllMessageValues = (
    ChatCompletionUserMessage
    | ChatCompletionAssistantMessage
    | ChatCompletionToolMessage
    | ChatCompletionSystemMessage
    | ChatCompletionFunctionMessage
    | ChatCompletionDeveloperMessage
)
ChatCompletionToolChoiceFunctionParam = _dict("ChatCompletionToolChoiceFunctionParam", {"name": str})
ChatCompletionToolChoiceObjectParam = _dict(
    "ChatCompletionToolChoiceObjectParam",
    {"type": Literal["function"], "function": ChatCompletionToolChoiceFunctionParam},
)
ChatCompletionToolChoiceValues = Literal["none", "auto", "required"] | ChatCompletionToolChoiceObjectParam
ChatCompletionNamedToolChoiceParam = _dict(
    "ChatCompletionNamedToolChoiceParam",
    {"type": Literal["function"], "function": ChatCompletionToolChoiceFunctionParam},
)
ChatCompletionToolParamFunctionChunk = _optional(
    "ChatCompletionToolParamFunctionChunk",
    name=Required[str],
    description=str,
    parameters=dict[str, Any],
    strict=bool,
    eager_input_streaming=bool,
)
OpenAIChatCompletionToolParam = _dict(
    "OpenAIChatCompletionToolParam",
    {"type": Literal["function"] | str, "function": ChatCompletionToolParamFunctionChunk},
)
ChatCompletionToolParam = _dict(
    "ChatCompletionToolParam",
    {
        "type": Literal["function"] | str,
        "function": ChatCompletionToolParamFunctionChunk,
        **_Cached,
        "allowed_callers": NotRequired[list[str]],
        "eager_input_streaming": NotRequired[bool],
        "defer_loading": NotRequired[bool],
    },
)
ChatCompletionDeltaChunk = _optional(
    "ChatCompletionDeltaChunk", content=str | None, tool_calls=list[ChatCompletionDeltaToolCallChunk], role=str
)
ChatCompletionResponseMessage = _optional(
    "ChatCompletionResponseMessage",
    content=str | None,
    annotations=list[ChatCompletionAnnotation] | None,
    tool_calls=list[ChatCompletionToolCallChunk] | None,
    role=Literal["assistant"],
    function_call=_Function | None,
    provider_specific_fields=dict[str, Any] | None,
    reasoning_content=str | None,
    thinking_blocks=_Thinking,
)
ChatCompletionUsageBlock = _optional(
    "ChatCompletionUsageBlock",
    prompt_tokens=Required[int],
    completion_tokens=Required[int],
    total_tokens=Required[int],
    prompt_tokens_details=dict[str, Any] | None,
    completion_tokens_details=dict[str, Any] | None,
)
ChatCompletionRequest = _optional(
    "ChatCompletionRequest",
    model=Required[str],
    messages=Required[list[AllMessageValues]],
    frequency_penalty=float,
    logit_bias=dict[str, Any],
    logprobs=bool,
    top_logprobs=int,
    max_tokens=int,
    n=int,
    presence_penalty=float,
    response_format=dict[str, Any],
    seed=int,
    service_tier=str,
    safety_identifier=str,
    prompt_cache_key=str,
    stop=str | list[str],
    stream_options=dict[str, Any],
    temperature=float,
    top_p=float,
    tools=list[ChatCompletionToolParam],
    tool_choice=ChatCompletionToolChoiceValues,
    parallel_tool_calls=bool,
    function_call=str | dict[str, Any],
    functions=list[Any],
    user=str,
    metadata=dict[str, Any],
    reasoning_effort=str,
)
ImageURLObject = _optional("ImageURLObject", url=Required[str], detail=str | None)
ImageURLListItem = _dict("ImageURLListItem", {"image_url": ImageURLObject, "index": int, "type": Literal["image_url"]})
OpenAIChatCompletionFinishReason = Literal["stop", "content_filter", "function_call", "tool_calls", "length"]
ChatCompletionModality = Literal["text", "audio"]
_Place = _optional("WebSearchOptionsUserLocationApproximate", city=str, country=str, region=str, timezone=str)
_Location = _dict("WebSearchOptionsUserLocation", {"approximate": _Place, "type": Literal["approximate"]})
_Size = Literal["low", "medium", "high"] | None
WebSearchOptions = _optional("WebSearchOptions", search_context_size=_Size, user_location=_Location | None)
OpenAIWebSearchOptions = _optional("OpenAIWebSearchOptions", search_context_size=_Size, user_location=_Location | None)
AnthropicThinkingParam = _optional(
    "AnthropicThinkingParam",
    type=Literal["enabled", "adaptive", "disabled"],
    budget_tokens=int,
    display=Literal["summarized", "omitted", "updates"],
)
AnthropicThinkingParam.__module__ = "litellm.types.llms.anthropic"
ResponsesAPIOptionalRequestParams = _dict(
    "ResponsesAPIOptionalRequestParams",
    dict.fromkeys(
        "include instructions max_output_tokens metadata parallel_tool_calls previous_response_id reasoning store background "  # noqa: SIM905
        "stream temperature text tool_choice tools top_p truncation user service_tier safety_identifier prompt max_tool_calls "
        "prompt_cache_key prompt_cache_retention stream_options top_logprobs".split(),
        Any,
    ),
    total=False,
)

#: Names of openai's package, and where it has them.
_OPENAI = {
    "ChatCompletionAudioParam": "openai.types.chat.chat_completion_audio_param",
    "ChatCompletionPredictionContentParam": "openai.types.chat.chat_completion_prediction_content_param",
    "ResponseFunctionToolCall": "openai.types.responses.response_function_tool_call",
    "ResponseInputParam": "openai.types.responses.response_input_param",
    "ToolParam": "openai.types.responses.tool_param",
    "ToolChoice": "openai.types.responses.response_create_params",
    "Reasoning": "openai.types.shared_params.reasoning",
    "ResponseText": "openai.types.responses.response_text_config_param:ResponseTextConfigParam",
    "OpenAIFileObject": "openai.types.file_object:FileObject",
}


def __getattr__(name: str) -> Any:
    place = _OPENAI.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = place.partition(":")
    try:
        value = getattr(importlib.import_module(module), attribute or name)
    except ImportError:
        if name == "ResponseFunctionToolCall":
            from ritellm.compat._responses_types import OutputFunctionToolCall as value
        else:
            value = Any
    globals()[name] = value
    return value
