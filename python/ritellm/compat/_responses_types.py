"""The types of the Responses API: the response, its items and the events of its stream."""

import contextlib
import importlib
from enum import Enum
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, create_model, field_validator

from ritellm.compat._bases import BaseLiteLLMOpenAIResponseObject, WithHiddenParams

_HOME = "litellm.types.llms.openai"
_ITEMS = "litellm.types.responses.main"

_EVENTS = """
    RESPONSE_CREATED=response.created RESPONSE_IN_PROGRESS=response.in_progress RESPONSE_COMPLETED=response.completed
    RESPONSE_FAILED=response.failed RESPONSE_INCOMPLETE=response.incomplete
    RESPONSE_PART_ADDED=response.reasoning_summary_part.added
    REASONING_SUMMARY_TEXT_DELTA=response.reasoning_summary_text.delta
    REASONING_SUMMARY_TEXT_DONE=response.reasoning_summary_text.done
    REASONING_SUMMARY_PART_DONE=response.reasoning_summary_part.done OUTPUT_ITEM_ADDED=response.output_item.added
    OUTPUT_ITEM_DONE=response.output_item.done CONTENT_PART_ADDED=response.content_part.added
    CONTENT_PART_DONE=response.content_part.done OUTPUT_TEXT_DELTA=response.output_text.delta
    OUTPUT_TEXT_ANNOTATION_ADDED=response.output_text.annotation.added OUTPUT_TEXT_DONE=response.output_text.done
    REFUSAL_DELTA=response.refusal.delta REFUSAL_DONE=response.refusal.done
    FUNCTION_CALL_ARGUMENTS_DELTA=response.function_call_arguments.delta
    FUNCTION_CALL_ARGUMENTS_DONE=response.function_call_arguments.done
    CUSTOM_TOOL_CALL_INPUT_DELTA=response.custom_tool_call_input.delta
    CUSTOM_TOOL_CALL_INPUT_DONE=response.custom_tool_call_input.done
    FILE_SEARCH_CALL_IN_PROGRESS=response.file_search_call.in_progress
    FILE_SEARCH_CALL_SEARCHING=response.file_search_call.searching
    FILE_SEARCH_CALL_COMPLETED=response.file_search_call.completed
    WEB_SEARCH_CALL_IN_PROGRESS=response.web_search_call.in_progress
    WEB_SEARCH_CALL_SEARCHING=response.web_search_call.searching
    WEB_SEARCH_CALL_COMPLETED=response.web_search_call.completed
    MCP_LIST_TOOLS_IN_PROGRESS=response.mcp_list_tools.in_progress
    MCP_LIST_TOOLS_COMPLETED=response.mcp_list_tools.completed MCP_LIST_TOOLS_FAILED=response.mcp_list_tools.failed
    MCP_CALL_IN_PROGRESS=response.mcp_call.in_progress MCP_CALL_ARGUMENTS_DELTA=response.mcp_call_arguments.delta
    MCP_CALL_ARGUMENTS_DONE=response.mcp_call_arguments.done MCP_CALL_COMPLETED=response.mcp_call.completed
    MCP_CALL_FAILED=response.mcp_call.failed IMAGE_GENERATION_PARTIAL_IMAGE=image_generation.partial_image ERROR=error
"""
ResponsesAPIStreamEvents = Enum(  # type: ignore[misc]
    "ResponsesAPIStreamEvents",
    [pair.split("=") for pair in _EVENTS.split()],
    type=str,
    module=_HOME,
)


class OutputTokensDetails(BaseLiteLLMOpenAIResponseObject):
    __module__ = _HOME
    audio_tokens: int | None = None
    reasoning_tokens: int | None = None
    text_tokens: int | None = None


class InputTokensDetails(BaseLiteLLMOpenAIResponseObject):
    __module__ = _HOME
    audio_tokens: int | None = None
    cached_tokens: int = 0
    text_tokens: int | None = None


class ResponseAPIUsage(BaseLiteLLMOpenAIResponseObject):
    __module__ = _HOME
    input_tokens: int
    input_tokens_details: InputTokensDetails | None = None
    output_tokens: int
    output_tokens_details: OutputTokensDetails | None = None
    total_tokens: int
    cost: float | None = None


class GenericResponseOutputItemContentAnnotation(BaseLiteLLMOpenAIResponseObject):
    __module__ = _ITEMS
    type: str | None = None
    start_index: int | None = None
    end_index: int | None = None
    url: str | None = None
    title: str | None = None


class OutputText(BaseLiteLLMOpenAIResponseObject):
    __module__ = _ITEMS
    type: str | None
    text: str | None
    annotations: list[GenericResponseOutputItemContentAnnotation] | None = None


class GenericResponseOutputItem(BaseLiteLLMOpenAIResponseObject):
    __module__ = _ITEMS
    type: str
    id: str
    status: str
    role: str
    content: list[OutputText]
    phase: str | None = None


class OutputFunctionToolCall(BaseLiteLLMOpenAIResponseObject):
    __module__ = _ITEMS
    arguments: str | None
    call_id: str | None
    name: str | None
    type: str | None
    id: str | None
    status: Literal["in_progress", "completed", "incomplete"]
    phase: str | None = None


#: openai's classes of items, by their type, which are used where that package is installed.
_OPENAI_ITEMS = {
    "message": "response_output_message:ResponseOutputMessage",
    "function_call": "response_function_tool_call:ResponseFunctionToolCall",
    "reasoning": "response_reasoning_item:ResponseReasoningItem",
    "web_search_call": "response_function_web_search:ResponseFunctionWebSearch",
    "file_search_call": "response_file_search_tool_call:ResponseFileSearchToolCall",
    "code_interpreter_call": "response_code_interpreter_tool_call:ResponseCodeInterpreterToolCall",
    "computer_call": "response_computer_tool_call:ResponseComputerToolCall",
    "custom_tool_call": "response_custom_tool_call:ResponseCustomToolCall",
    "image_generation_call": "response_output_item:ImageGenerationCall",
    "mcp_call": "response_output_item:McpCall",
}
_OWN_ITEMS: dict[str, Any] = {"message": GenericResponseOutputItem, "function_call": OutputFunctionToolCall}


def item_of(item: Any) -> Any:
    """Returns an item of a response as LiteLLM has it: a model of openai's, one of our own, or the dict as it is."""
    if not isinstance(item, dict):
        return item
    place = _OPENAI_ITEMS.get(str(item.get("type")))
    kinds = []
    if place is not None:
        module, _, name = place.partition(":")
        with contextlib.suppress(ImportError, AttributeError):
            kinds.append(getattr(importlib.import_module("openai.types.responses." + module), name))
    kinds.append(_OWN_ITEMS.get(str(item.get("type"))))
    for kind in kinds:
        if kind is not None:
            try:
                return kind.model_validate(item)
            except ValueError:
                continue
    return item


class Tool(BaseLiteLLMOpenAIResponseObject):
    """A tool of a response: openai's package has a class for each kind, and LiteLLM gives those."""

    __module__ = "openai.types.responses.tool"
    type: str | None = None


class ResponsesAPIResponse(WithHiddenParams, BaseLiteLLMOpenAIResponseObject):
    __module__ = _HOME
    id: str
    created_at: float
    error: dict[str, Any] | None = None
    incomplete_details: Any = None
    instructions: Any = None
    metadata: dict[str, Any] | None = None
    model: str | None = None
    object: str | None = None
    output: list[Any]
    parallel_tool_calls: bool | None = None
    temperature: float | None = None
    tool_choice: Any = None
    tools: list[Any] | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    previous_response_id: str | None = None
    reasoning: dict[str, Any] | None = None
    status: str | None = None
    text: Any = None
    truncation: str | None = None
    usage: ResponseAPIUsage | None = None
    user: str | None = None
    store: bool | None = None

    @field_validator("output", mode="before")
    @classmethod
    def _items(cls, value: Any) -> Any:
        return [item_of(item) for item in value] if isinstance(value, list) else value

    @field_validator("tools", mode="before")
    @classmethod
    def _models(cls, value: Any) -> Any:
        return (
            [Tool(**tool) if isinstance(tool, dict) else tool for tool in value] if isinstance(value, list) else value
        )

    @field_validator("created_at", mode="after")
    @classmethod
    def _whole(cls, value: float) -> float:
        return int(value) if value == int(value) else value

    @field_validator("reasoning", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return value.model_dump() if hasattr(value, "model_dump") else value

    @property
    def output_text(self) -> str:
        """The text of all messages, joined."""
        texts = []
        for item in self.output:
            of_item = item.get if isinstance(item, dict) else lambda name, item=item: getattr(item, name, None)
            for part in of_item("content") or () if of_item("type") == "message" else ():
                of_part = part.get if isinstance(part, dict) else lambda name, part=part: getattr(part, name, None)
                if of_part("type") == "output_text":
                    texts.append(of_part("text") or "")
        return "".join(texts)


class BaseResponsesStreamEvent(BaseLiteLLMOpenAIResponseObject):
    """An event of a stream: all of its members are items, too."""

    __module__ = _HOME
    _NONE: ClassVar[dict[str, Any]] = {}
    model_config = ConfigDict(extra="allow", protected_namespaces=(), defer_build=True)

    def _all(self) -> dict[str, Any]:
        return {**self.__dict__, **(self.__pydantic_extra__ or self._NONE)}

    def __getitem__(self, key: str) -> Any:
        return self._all()[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self._all().get(key, default)

    def __contains__(self, key: str) -> bool:
        return key in self._all()

    def items(self) -> Any:
        return self._all().items()


_Any = (Any, ...)
_Text, _Number = (str, ...), (int, ...)
_item: dict[str, Any] = {"item_id": _Text, "output_index": _Number}
_part: dict[str, Any] = {**_item, "content_index": _Number}
_summary: dict[str, Any] = {**_item, "summary_index": (int, 0)}
_whole: dict[str, Any] = {"response": (ResponsesAPIResponse, ...)}
_Object = (BaseLiteLLMOpenAIResponseObject, ...)

#: Name of the class, of its event, and its members beside ``type``.
_CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "ResponseCreatedEvent": ("RESPONSE_CREATED", _whole),
    "ResponseInProgressEvent": ("RESPONSE_IN_PROGRESS", _whole),
    "ResponseCompletedEvent": ("RESPONSE_COMPLETED", _whole),
    "ResponseFailedEvent": ("RESPONSE_FAILED", _whole),
    "ResponseIncompleteEvent": ("RESPONSE_INCOMPLETE", _whole),
    "ResponsePartAddedEvent": ("RESPONSE_PART_ADDED", {**_summary, "part": (dict, ...)}),
    "ReasoningSummaryTextDeltaEvent": ("REASONING_SUMMARY_TEXT_DELTA", {**_summary, "delta": _Text}),
    "ReasoningSummaryTextDoneEvent": ("REASONING_SUMMARY_TEXT_DONE", {**_summary, "text": _Text}),
    "ReasoningSummaryPartDoneEvent": ("REASONING_SUMMARY_PART_DONE", {**_summary, "part": _Object}),
    "OutputItemAddedEvent": (
        "OUTPUT_ITEM_ADDED",
        {"output_index": _Number, "item": (BaseLiteLLMOpenAIResponseObject | None, ...)},
    ),
    "OutputItemDoneEvent": (
        "OUTPUT_ITEM_DONE",
        {"output_index": _Number, "sequence_number": (int, 1), "item": _Object},
    ),
    "ContentPartAddedEvent": ("CONTENT_PART_ADDED", {**_part, "part": _Object}),
    "ContentPartDoneEvent": ("CONTENT_PART_DONE", {**_part, "part": _Object}),
    "OutputTextDeltaEvent": ("OUTPUT_TEXT_DELTA", {**_part, "delta": _Text}),
    "OutputTextAnnotationAddedEvent": (
        "OUTPUT_TEXT_ANNOTATION_ADDED",
        {**_part, "annotation_index": _Number, "annotation": (dict, ...)},
    ),
    "OutputTextDoneEvent": ("OUTPUT_TEXT_DONE", {**_part, "text": _Text}),
    "RefusalDeltaEvent": ("REFUSAL_DELTA", {**_part, "delta": _Text}),
    "RefusalDoneEvent": ("REFUSAL_DONE", {**_part, "refusal": _Text}),
    "FunctionCallArgumentsDeltaEvent": ("FUNCTION_CALL_ARGUMENTS_DELTA", {**_item, "delta": _Text}),
    "FunctionCallArgumentsDoneEvent": ("FUNCTION_CALL_ARGUMENTS_DONE", {**_item, "arguments": _Text}),
    "FileSearchCallInProgressEvent": ("FILE_SEARCH_CALL_IN_PROGRESS", _item),
    "FileSearchCallSearchingEvent": ("FILE_SEARCH_CALL_SEARCHING", _item),
    "FileSearchCallCompletedEvent": ("FILE_SEARCH_CALL_COMPLETED", _item),
    "WebSearchCallInProgressEvent": ("WEB_SEARCH_CALL_IN_PROGRESS", _item),
    "WebSearchCallSearchingEvent": ("WEB_SEARCH_CALL_SEARCHING", _item),
    "WebSearchCallCompletedEvent": ("WEB_SEARCH_CALL_COMPLETED", _item),
    "ErrorEvent": ("ERROR", {"sequence_number": (int, 0), "error": (Any, None), "message": (str | None, None)}),
    "GenericEvent": ("", {}),
}
_by_event: dict[str, str] = {}
for _name, (_event, _) in _CLASSES.items():
    if _event:
        _by_event[ResponsesAPIStreamEvents[_event].value] = _name


def __getattr__(name: str) -> Any:
    if name == "ResponsesAPIStreamingResponse":
        return BaseResponsesStreamEvent
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    event, members = _CLASSES[name]
    kind: Any = Literal[ResponsesAPIStreamEvents[event]] if event else str
    made = create_model(name, __base__=BaseResponsesStreamEvent, __module__=_HOME, type=(kind, ...), **members)
    globals()[name] = made
    return made


def event_of(event: Any) -> Any:
    """Returns an event of a stream as its class; `GenericEvent` where there is none that it fits."""
    name = _by_event.get(event.get("type"))
    if name is not None:
        made = globals().get(name) or __getattr__(name)
        try:
            return made.model_validate(event)
        except ValueError:
            pass
    return (globals().get("GenericEvent") or __getattr__("GenericEvent")).model_validate(event)
