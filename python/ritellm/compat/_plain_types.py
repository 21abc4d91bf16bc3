"""Types of LiteLLM's that are neither answers nor messages."""

from enum import Enum
from typing import Any

from typing_extensions import Required, TypedDict


class CostPerToken(TypedDict, total=False):
    input_cost_per_token: Required[float]
    output_cost_per_token: Required[float]
    cache_read_input_token_cost: float
    cache_creation_input_token_cost: float


class GenericStreamingChunk(TypedDict, total=False):
    text: Required[str]
    tool_use: Any
    is_finished: Required[bool]
    finish_reason: Required[str]
    usage: Required[Any]
    index: int
    provider_specific_fields: dict[str, Any] | None


class ModelInfo(TypedDict, total=False):
    key: Required[str]
    max_tokens: Required[int | None]
    max_input_tokens: Required[int | None]
    max_output_tokens: Required[int | None]
    input_cost_per_token: Required[float]
    output_cost_per_token: Required[float]
    litellm_provider: Required[str]
    mode: Required[str]
    supported_openai_params: Required[list[str] | None]


class StandardLoggingPayload(TypedDict, total=False):
    id: str
    trace_id: str
    call_type: str
    response_cost: float
    status: str
    total_tokens: int
    prompt_tokens: int
    completion_tokens: int
    startTime: float
    endTime: float
    model: str
    messages: Any
    response: Any
    model_parameters: dict[str, Any]
    hidden_params: dict[str, Any]
    metadata: dict[str, Any]


class CallTypes(str, Enum):
    completion = "completion"
    acompletion = "acompletion"
    text_completion = "text_completion"
    atext_completion = "atext_completion"
    embedding = "embedding"
    aembedding = "aembedding"
    responses = "responses"
    aresponses = "aresponses"
    transcription = "transcription"
    atranscription = "atranscription"
    speech = "speech"
    aspeech = "aspeech"
    image_generation = "image_generation"
    aimage_generation = "aimage_generation"
    rerank = "rerank"
    arerank = "arerank"


for _made in (CostPerToken, GenericStreamingChunk, ModelInfo, StandardLoggingPayload, CallTypes):
    _made.__module__ = "litellm.types.utils"
del _made
