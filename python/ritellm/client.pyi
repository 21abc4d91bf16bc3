"""Type stubs of client.py: every keyword by name, and the result type for each value of ``stream``."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from os import PathLike
from types import UnionType
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, _SpecialForm, overload, type_check_only

from typing_extensions import Never, Self, TypedDict, Unpack

from ritellm import _core
from ritellm._core import CallRecord, Stream
from ritellm._structured import ParsedChatCompletion, ParsedResponse, ParsedStream
from ritellm._tool_loops import ToolRunStream
from ritellm._tool_runs import ToolRun
from ritellm._tools import Tool
from ritellm.resources import Batches, Files
from ritellm.types import (
    BinaryResponse,
    ChatCompletion,
    ChatCompletionChunk,
    Embedding,
    EmbeddingResponse,
    RerankResponse,
    Response,
    ResponseEvent,
    ToolCall,
)

__all__ = [
    "Client",
    "aclose",
    "acompletion",
    "aembedding",
    "arerank",
    "aresponses",
    "arun_tools",
    "aspeech",
    "close",
    "completion",
    "configure",
    "embedding",
    "metrics",
    "on_call",
    "rerank",
    "responses",
    "run_tools",
    "speech",
    "stats",
    "stream_chunk_builder",
]

@type_check_only
class _Model(Protocol):
    """An object of the OpenAI SDK, or any pydantic model."""

    def model_dump(self, *, mode: str, exclude_none: bool) -> Any: ...

# `_Members` become a JSON object, `_Pairs` become header fields or query parameters.
_Members: TypeAlias = Mapping[str, Any] | _Model
_Pairs: TypeAlias = Mapping[str, str | bytes | float | None]

@type_check_only
class _Adapter(Protocol):
    """A pydantic `TypeAdapter`."""

    def json_schema(self) -> dict[str, Any]: ...
    def validate_json(self, data: str, /) -> Any: ...

# A format in OpenAI's form, a JSON schema, or a type. Type checkers know the values of classes; those of `Literal[...]`, of
# unions, of adapters and of schemas are `Any`.
_OtherFormat: TypeAlias = _Members | UnionType | _SpecialForm | _Adapter
_Format: TypeAlias = _OtherFormat | type[Any]

_T = TypeVar("_T")
_Plain = TypeVar("_Plain", covariant=True)
_Other = TypeVar("_Other", covariant=True)
_Streamed = TypeVar("_Streamed", covariant=True)
_Either = TypeVar("_Either", covariant=True)

_ChatStream: TypeAlias = Stream[ChatCompletionChunk, ChatCompletion]
_ResponseStream: TypeAlias = Stream[ResponseEvent, Response]
_ParsedResponseStream: TypeAlias = Stream[ResponseEvent, ParsedResponse[_T], _T]
_SpeechStream: TypeAlias = Stream[bytes, Never]

@type_check_only
class _ChatParams(TypedDict, total=False):
    """Names that only other providers than OpenAI document.

    They stand in the place of ``**params: Any`` where a call is streamed: of several overloads that take any name, pyright chooses
    none for ``completion(model, messages, **options)``. What is not here goes into ``extra_body``.
    """

    bad_words: Any
    cache_control: Any
    cached_content: Any
    chat_template: Any
    chat_template_kwargs: Any
    citation_options: Any
    documents: Any
    enable_search: Any
    enable_thinking: Any
    guided_choice: Any
    guided_grammar: Any
    guided_json: Any
    guided_regex: Any
    ignore_eos: Any
    include_reasoning: Any
    keep_alive: Any
    min_p: Any
    min_tokens: Any
    mirostat: Any
    models: Any
    num_ctx: Any
    options: Any
    plugins: Any
    provider: Any
    random_seed: Any
    reasoning: Any
    repeat_penalty: Any
    repetition_penalty: Any
    route: Any
    safe_prompt: Any
    safety_settings: Any
    search_parameters: Any
    skip_special_tokens: Any
    stop_sequences: Any
    stop_token_ids: Any
    structured_outputs: Any
    think: Any
    thinking: Any
    thinking_budget: Any
    thinking_config: Any
    top_a: Any
    top_k: Any
    transforms: Any
    typical_p: Any

@type_check_only
class _ResponsesParams(TypedDict, total=False):
    """OpenAI's parameters of the Responses API; see `_ChatParams`."""

    text_format: Any
    access_programs: Any
    background: Any
    background_options: Any
    context_management: Any
    conversation: Any
    image: Any
    include: Any
    instructions: Any
    max_output_tokens: Any
    max_tool_calls: Any
    metadata: Any
    moderation: Any
    parallel_tool_calls: Any
    previous_response_id: Any
    prompt: Any
    prompt_cache_key: Any
    prompt_cache_options: Any
    prompt_cache_retention: Any
    reasoning: Any
    safety_identifier: Any
    service_tier: Any
    store: Any
    stream_options: Any
    temperature: Any
    text: Any
    tool_choice: Any
    tools: Any
    top_logprobs: Any
    top_p: Any
    truncation: Any
    user: Any

@type_check_only
class _RunParams(_ChatParams, total=False):
    """The parameters of chat and Responses calls that a run takes; see `_ChatParams`."""

    access_programs: Any
    audio: Any
    background: Any
    background_options: Any
    context_management: Any
    conversation: Any
    frequency_penalty: Any
    function_call: Any
    functions: Any
    include: Any
    instructions: Any
    logit_bias: Any
    logprobs: Any
    max_completion_tokens: Any
    max_output_tokens: Any
    max_tokens: Any
    max_tool_calls: Any
    metadata: Any
    modalities: Any
    moderation: Any
    n: Any
    parallel_tool_calls: Any
    prediction: Any
    presence_penalty: Any
    previous_response_id: Any
    prompt: Any
    prompt_cache_key: Any
    prompt_cache_options: Any
    prompt_cache_retention: Any
    reasoning_effort: Any
    response_format: Any
    safety_identifier: Any
    seed: Any
    service_tier: Any
    stop: Any
    store: Any
    stream_options: Any
    temperature: Any
    text: Any
    text_format: Any
    tool_choice: Any
    top_logprobs: Any
    top_p: Any
    truncation: Any
    user: Any
    verbosity: Any
    web_search_options: Any

@type_check_only
class _Completion(Protocol):
    """The signature of a chat call that waits, shared by its two names.

    The keywords are repeated for each type of ``stream`` and of the result. With a TypedDict (PEP 692) they would be written
    once, but mypy would then reject names that only a provider defines, until it supports PEP 728's ``extra_items``.
    tests/typing/test_stubs.py checks that the lists are equal. ``Literal[...] | str`` lists OpenAI's values, which editors
    offer for completion, and accepts the values of other providers.
    """

    @overload
    def __call__(
        self,
        model: str,
        messages: Sequence[_Members],
        *,
        stream: Literal[False] | None = None,
        # OpenAI's
        audio: _Members | None = None,
        frequency_penalty: float | None = None,
        function_call: Literal["none", "auto"] | str | _Members | None = None,
        functions: Sequence[_Members] | None = None,
        logit_bias: Mapping[str, float] | None = None,
        logprobs: bool | None = None,
        max_completion_tokens: int | None = None,
        max_tokens: int | None = None,
        metadata: Mapping[str, str] | None = None,
        modalities: Sequence[Literal["text", "audio"] | str] | None = None,
        moderation: _Members | None = None,
        n: int | None = None,
        parallel_tool_calls: bool | None = None,
        prediction: _Members | None = None,
        presence_penalty: float | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_options: _Members | None = None,
        prompt_cache_retention: Literal["in_memory", "24h"] | str | None = None,
        reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | str | None = None,
        response_format: type[_T],
        safety_identifier: str | None = None,
        seed: int | None = None,
        service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | str | None = None,
        stop: str | Sequence[str] | None = None,
        store: bool | None = None,
        stream_options: _Members | None = None,
        temperature: float | None = None,
        tool_choice: Literal["none", "auto", "required"] | str | _Members | None = None,
        tools: Sequence[_Members] | None = None,
        top_logprobs: int | None = None,
        top_p: float | None = None,
        user: str | None = None,
        verbosity: Literal["low", "medium", "high"] | str | None = None,
        web_search_options: _Members | None = None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Any,
    ) -> ParsedChatCompletion[_T]:
        """Makes a chat completion call whose answer is read as a type; `ritellm.completion` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        messages: Sequence[_Members],
        *,
        stream: Literal[False] | None = None,
        # OpenAI's
        audio: _Members | None = None,
        frequency_penalty: float | None = None,
        function_call: Literal["none", "auto"] | str | _Members | None = None,
        functions: Sequence[_Members] | None = None,
        logit_bias: Mapping[str, float] | None = None,
        logprobs: bool | None = None,
        max_completion_tokens: int | None = None,
        max_tokens: int | None = None,
        metadata: Mapping[str, str] | None = None,
        modalities: Sequence[Literal["text", "audio"] | str] | None = None,
        moderation: _Members | None = None,
        n: int | None = None,
        parallel_tool_calls: bool | None = None,
        prediction: _Members | None = None,
        presence_penalty: float | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_options: _Members | None = None,
        prompt_cache_retention: Literal["in_memory", "24h"] | str | None = None,
        reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | str | None = None,
        response_format: _Format | None = None,
        safety_identifier: str | None = None,
        seed: int | None = None,
        service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | str | None = None,
        stop: str | Sequence[str] | None = None,
        store: bool | None = None,
        stream_options: _Members | None = None,
        temperature: float | None = None,
        tool_choice: Literal["none", "auto", "required"] | str | _Members | None = None,
        tools: Sequence[_Members] | None = None,
        top_logprobs: int | None = None,
        top_p: float | None = None,
        user: str | None = None,
        verbosity: Literal["low", "medium", "high"] | str | None = None,
        web_search_options: _Members | None = None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Any,
    ) -> ChatCompletion:
        """Makes a chat completion call; `ritellm.completion` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        messages: Sequence[_Members],
        *,
        stream: Literal[True],
        # OpenAI's
        audio: _Members | None = None,
        frequency_penalty: float | None = None,
        function_call: Literal["none", "auto"] | str | _Members | None = None,
        functions: Sequence[_Members] | None = None,
        logit_bias: Mapping[str, float] | None = None,
        logprobs: bool | None = None,
        max_completion_tokens: int | None = None,
        max_tokens: int | None = None,
        metadata: Mapping[str, str] | None = None,
        modalities: Sequence[Literal["text", "audio"] | str] | None = None,
        moderation: _Members | None = None,
        n: int | None = None,
        parallel_tool_calls: bool | None = None,
        prediction: _Members | None = None,
        presence_penalty: float | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_options: _Members | None = None,
        prompt_cache_retention: Literal["in_memory", "24h"] | str | None = None,
        reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | str | None = None,
        response_format: _OtherFormat | None = None,
        safety_identifier: str | None = None,
        seed: int | None = None,
        service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | str | None = None,
        stop: str | Sequence[str] | None = None,
        store: bool | None = None,
        stream_options: _Members | None = None,
        temperature: float | None = None,
        tool_choice: Literal["none", "auto", "required"] | str | _Members | None = None,
        tools: Sequence[_Members] | None = None,
        top_logprobs: int | None = None,
        top_p: float | None = None,
        user: str | None = None,
        verbosity: Literal["low", "medium", "high"] | str | None = None,
        web_search_options: _Members | None = None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Unpack[_ChatParams],
    ) -> _ChatStream:
        """Makes a chat completion call and streams the response; `ritellm.completion` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        messages: Sequence[_Members],
        *,
        stream: Literal[True],
        # OpenAI's
        audio: _Members | None = None,
        frequency_penalty: float | None = None,
        function_call: Literal["none", "auto"] | str | _Members | None = None,
        functions: Sequence[_Members] | None = None,
        logit_bias: Mapping[str, float] | None = None,
        logprobs: bool | None = None,
        max_completion_tokens: int | None = None,
        max_tokens: int | None = None,
        metadata: Mapping[str, str] | None = None,
        modalities: Sequence[Literal["text", "audio"] | str] | None = None,
        moderation: _Members | None = None,
        n: int | None = None,
        parallel_tool_calls: bool | None = None,
        prediction: _Members | None = None,
        presence_penalty: float | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_options: _Members | None = None,
        prompt_cache_retention: Literal["in_memory", "24h"] | str | None = None,
        reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | str | None = None,
        response_format: type[_T],
        safety_identifier: str | None = None,
        seed: int | None = None,
        service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | str | None = None,
        stop: str | Sequence[str] | None = None,
        store: bool | None = None,
        stream_options: _Members | None = None,
        temperature: float | None = None,
        tool_choice: Literal["none", "auto", "required"] | str | _Members | None = None,
        tools: Sequence[_Members] | None = None,
        top_logprobs: int | None = None,
        top_p: float | None = None,
        user: str | None = None,
        verbosity: Literal["low", "medium", "high"] | str | None = None,
        web_search_options: _Members | None = None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Unpack[_ChatParams],
    ) -> ParsedStream[_T]:
        """Makes a chat completion call and streams the response; `ritellm.completion` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        messages: Sequence[_Members],
        *,
        stream: bool | None,
        # OpenAI's
        audio: _Members | None = None,
        frequency_penalty: float | None = None,
        function_call: Literal["none", "auto"] | str | _Members | None = None,
        functions: Sequence[_Members] | None = None,
        logit_bias: Mapping[str, float] | None = None,
        logprobs: bool | None = None,
        max_completion_tokens: int | None = None,
        max_tokens: int | None = None,
        metadata: Mapping[str, str] | None = None,
        modalities: Sequence[Literal["text", "audio"] | str] | None = None,
        moderation: _Members | None = None,
        n: int | None = None,
        parallel_tool_calls: bool | None = None,
        prediction: _Members | None = None,
        presence_penalty: float | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_options: _Members | None = None,
        prompt_cache_retention: Literal["in_memory", "24h"] | str | None = None,
        reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | str | None = None,
        response_format: _Format | None = None,
        safety_identifier: str | None = None,
        seed: int | None = None,
        service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | str | None = None,
        stop: str | Sequence[str] | None = None,
        store: bool | None = None,
        stream_options: _Members | None = None,
        temperature: float | None = None,
        tool_choice: Literal["none", "auto", "required"] | str | _Members | None = None,
        tools: Sequence[_Members] | None = None,
        top_logprobs: int | None = None,
        top_p: float | None = None,
        user: str | None = None,
        verbosity: Literal["low", "medium", "high"] | str | None = None,
        web_search_options: _Members | None = None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Unpack[_ChatParams],
    ) -> ChatCompletion | _ChatStream:
        """Makes a chat completion call, streamed if ``stream`` is true; `ritellm.completion` documents the arguments."""

@type_check_only
class _Acompletion(Protocol):
    """The signature of a chat call that is awaited, shared by its two names; see `_Completion`."""

    @overload
    def __call__(
        self,
        model: str,
        messages: Sequence[_Members],
        *,
        stream: Literal[False] | None = None,
        # OpenAI's
        audio: _Members | None = None,
        frequency_penalty: float | None = None,
        function_call: Literal["none", "auto"] | str | _Members | None = None,
        functions: Sequence[_Members] | None = None,
        logit_bias: Mapping[str, float] | None = None,
        logprobs: bool | None = None,
        max_completion_tokens: int | None = None,
        max_tokens: int | None = None,
        metadata: Mapping[str, str] | None = None,
        modalities: Sequence[Literal["text", "audio"] | str] | None = None,
        moderation: _Members | None = None,
        n: int | None = None,
        parallel_tool_calls: bool | None = None,
        prediction: _Members | None = None,
        presence_penalty: float | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_options: _Members | None = None,
        prompt_cache_retention: Literal["in_memory", "24h"] | str | None = None,
        reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | str | None = None,
        response_format: type[_T],
        safety_identifier: str | None = None,
        seed: int | None = None,
        service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | str | None = None,
        stop: str | Sequence[str] | None = None,
        store: bool | None = None,
        stream_options: _Members | None = None,
        temperature: float | None = None,
        tool_choice: Literal["none", "auto", "required"] | str | _Members | None = None,
        tools: Sequence[_Members] | None = None,
        top_logprobs: int | None = None,
        top_p: float | None = None,
        user: str | None = None,
        verbosity: Literal["low", "medium", "high"] | str | None = None,
        web_search_options: _Members | None = None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Any,
    ) -> Coroutine[Any, Any, ParsedChatCompletion[_T]]:
        """Makes a chat completion call whose answer is read as a type; `ritellm.completion` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        messages: Sequence[_Members],
        *,
        stream: Literal[False] | None = None,
        # OpenAI's
        audio: _Members | None = None,
        frequency_penalty: float | None = None,
        function_call: Literal["none", "auto"] | str | _Members | None = None,
        functions: Sequence[_Members] | None = None,
        logit_bias: Mapping[str, float] | None = None,
        logprobs: bool | None = None,
        max_completion_tokens: int | None = None,
        max_tokens: int | None = None,
        metadata: Mapping[str, str] | None = None,
        modalities: Sequence[Literal["text", "audio"] | str] | None = None,
        moderation: _Members | None = None,
        n: int | None = None,
        parallel_tool_calls: bool | None = None,
        prediction: _Members | None = None,
        presence_penalty: float | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_options: _Members | None = None,
        prompt_cache_retention: Literal["in_memory", "24h"] | str | None = None,
        reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | str | None = None,
        response_format: _Format | None = None,
        safety_identifier: str | None = None,
        seed: int | None = None,
        service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | str | None = None,
        stop: str | Sequence[str] | None = None,
        store: bool | None = None,
        stream_options: _Members | None = None,
        temperature: float | None = None,
        tool_choice: Literal["none", "auto", "required"] | str | _Members | None = None,
        tools: Sequence[_Members] | None = None,
        top_logprobs: int | None = None,
        top_p: float | None = None,
        user: str | None = None,
        verbosity: Literal["low", "medium", "high"] | str | None = None,
        web_search_options: _Members | None = None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Any,
    ) -> Coroutine[Any, Any, ChatCompletion]:
        """Makes a chat completion call; `ritellm.completion` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        messages: Sequence[_Members],
        *,
        stream: Literal[True],
        # OpenAI's
        audio: _Members | None = None,
        frequency_penalty: float | None = None,
        function_call: Literal["none", "auto"] | str | _Members | None = None,
        functions: Sequence[_Members] | None = None,
        logit_bias: Mapping[str, float] | None = None,
        logprobs: bool | None = None,
        max_completion_tokens: int | None = None,
        max_tokens: int | None = None,
        metadata: Mapping[str, str] | None = None,
        modalities: Sequence[Literal["text", "audio"] | str] | None = None,
        moderation: _Members | None = None,
        n: int | None = None,
        parallel_tool_calls: bool | None = None,
        prediction: _Members | None = None,
        presence_penalty: float | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_options: _Members | None = None,
        prompt_cache_retention: Literal["in_memory", "24h"] | str | None = None,
        reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | str | None = None,
        response_format: _OtherFormat | None = None,
        safety_identifier: str | None = None,
        seed: int | None = None,
        service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | str | None = None,
        stop: str | Sequence[str] | None = None,
        store: bool | None = None,
        stream_options: _Members | None = None,
        temperature: float | None = None,
        tool_choice: Literal["none", "auto", "required"] | str | _Members | None = None,
        tools: Sequence[_Members] | None = None,
        top_logprobs: int | None = None,
        top_p: float | None = None,
        user: str | None = None,
        verbosity: Literal["low", "medium", "high"] | str | None = None,
        web_search_options: _Members | None = None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Unpack[_ChatParams],
    ) -> Coroutine[Any, Any, _ChatStream]:
        """Makes a chat completion call and streams the response; `ritellm.completion` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        messages: Sequence[_Members],
        *,
        stream: Literal[True],
        # OpenAI's
        audio: _Members | None = None,
        frequency_penalty: float | None = None,
        function_call: Literal["none", "auto"] | str | _Members | None = None,
        functions: Sequence[_Members] | None = None,
        logit_bias: Mapping[str, float] | None = None,
        logprobs: bool | None = None,
        max_completion_tokens: int | None = None,
        max_tokens: int | None = None,
        metadata: Mapping[str, str] | None = None,
        modalities: Sequence[Literal["text", "audio"] | str] | None = None,
        moderation: _Members | None = None,
        n: int | None = None,
        parallel_tool_calls: bool | None = None,
        prediction: _Members | None = None,
        presence_penalty: float | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_options: _Members | None = None,
        prompt_cache_retention: Literal["in_memory", "24h"] | str | None = None,
        reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | str | None = None,
        response_format: type[_T],
        safety_identifier: str | None = None,
        seed: int | None = None,
        service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | str | None = None,
        stop: str | Sequence[str] | None = None,
        store: bool | None = None,
        stream_options: _Members | None = None,
        temperature: float | None = None,
        tool_choice: Literal["none", "auto", "required"] | str | _Members | None = None,
        tools: Sequence[_Members] | None = None,
        top_logprobs: int | None = None,
        top_p: float | None = None,
        user: str | None = None,
        verbosity: Literal["low", "medium", "high"] | str | None = None,
        web_search_options: _Members | None = None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Unpack[_ChatParams],
    ) -> Coroutine[Any, Any, ParsedStream[_T]]:
        """Makes a chat completion call and streams the response; `ritellm.completion` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        messages: Sequence[_Members],
        *,
        stream: bool | None,
        # OpenAI's
        audio: _Members | None = None,
        frequency_penalty: float | None = None,
        function_call: Literal["none", "auto"] | str | _Members | None = None,
        functions: Sequence[_Members] | None = None,
        logit_bias: Mapping[str, float] | None = None,
        logprobs: bool | None = None,
        max_completion_tokens: int | None = None,
        max_tokens: int | None = None,
        metadata: Mapping[str, str] | None = None,
        modalities: Sequence[Literal["text", "audio"] | str] | None = None,
        moderation: _Members | None = None,
        n: int | None = None,
        parallel_tool_calls: bool | None = None,
        prediction: _Members | None = None,
        presence_penalty: float | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_options: _Members | None = None,
        prompt_cache_retention: Literal["in_memory", "24h"] | str | None = None,
        reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | str | None = None,
        response_format: _Format | None = None,
        safety_identifier: str | None = None,
        seed: int | None = None,
        service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | str | None = None,
        stop: str | Sequence[str] | None = None,
        store: bool | None = None,
        stream_options: _Members | None = None,
        temperature: float | None = None,
        tool_choice: Literal["none", "auto", "required"] | str | _Members | None = None,
        tools: Sequence[_Members] | None = None,
        top_logprobs: int | None = None,
        top_p: float | None = None,
        user: str | None = None,
        verbosity: Literal["low", "medium", "high"] | str | None = None,
        web_search_options: _Members | None = None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Unpack[_ChatParams],
    ) -> Coroutine[Any, Any, ChatCompletion | _ChatStream]:
        """Makes a chat completion call, streamed if ``stream`` is true; `ritellm.completion` documents the arguments."""

@type_check_only
class _OtherEmbedding(Embedding):
    """The vector of one input: a row of an array, or a base64 string."""

    embedding: Any

@type_check_only
class _OtherEmbeddings(EmbeddingResponse):
    """The response to an embedding call with ``output="numpy"`` or ``encoding_format="base64"``."""

    data: list[_OtherEmbedding]  # type: ignore[assignment]
    @property
    def embeddings(self) -> Any: ...

@type_check_only
class _Embedding(Protocol[_Plain, _Other]):
    """The signature of an embedding call, shared by its four names."""

    @overload
    def __call__(
        self,
        model: str,
        input: str | Iterable[Any],
        *,
        output: Literal["list"] | None = None,
        dimensions: int | None = None,
        encoding_format: Literal["float"] | None = None,
        user: str | None = None,
        # parameters of RiteLLM itself
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Any,
    ) -> _Plain:
        """Returns the embedding vectors of texts; `ritellm.embedding` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        input: str | Iterable[Any],
        *,
        output: Literal["numpy"],
        dimensions: int | None = None,
        encoding_format: Literal["float"] | None = None,
        user: str | None = None,
        # parameters of RiteLLM itself
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Any,
    ) -> _Other:
        """Returns the embedding vectors of texts; `ritellm.embedding` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        input: str | Iterable[Any],
        *,
        batch_size: int | None = None,
        concurrency: int | None = None,
        output: Literal["list", "numpy"] | None = None,
        dimensions: int | None = None,
        encoding_format: Literal["float", "base64"] | None = None,
        user: str | None = None,
        # parameters of RiteLLM itself
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Any,
    ) -> _Other:
        """Returns the embedding vectors of texts; `ritellm.embedding` documents the arguments."""

@type_check_only
class _Respond(Protocol):
    """The signature of a Responses API call that waits, shared by its two names."""

    @overload
    def __call__(
        self,
        model: str,
        input: Any = None,
        *,
        stream: Literal[False] | None = None,
        response_format: type[_T],
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Any,
    ) -> ParsedResponse[_T]:
        """Calls OpenAI's Responses API and reads the answer as a type; `ritellm.responses` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        input: Any = None,
        *,
        stream: Literal[False] | None = None,
        response_format: _Format | None = None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Any,
    ) -> Response:
        """Calls OpenAI's Responses API; `ritellm.responses` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        input: Any = None,
        *,
        stream: Literal[True],
        response_format: _OtherFormat | None = None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Unpack[_ResponsesParams],
    ) -> _ResponseStream:
        """Calls OpenAI's Responses API and streams the response; `ritellm.responses` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        input: Any = None,
        *,
        stream: Literal[True],
        response_format: type[_T],
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Unpack[_ResponsesParams],
    ) -> _ParsedResponseStream[_T]:
        """Calls OpenAI's Responses API and streams the response; `ritellm.responses` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        input: Any = None,
        *,
        stream: bool | None,
        response_format: _Format | None = None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Unpack[_ResponsesParams],
    ) -> Response | _ResponseStream:
        """Calls OpenAI's Responses API, streamed if ``stream`` is true; `ritellm.responses` documents the arguments."""

@type_check_only
class _Arespond(Protocol):
    """The signature of a Responses API call that is awaited, shared by its two names."""

    @overload
    def __call__(
        self,
        model: str,
        input: Any = None,
        *,
        stream: Literal[False] | None = None,
        response_format: type[_T],
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Any,
    ) -> Coroutine[Any, Any, ParsedResponse[_T]]:
        """Calls OpenAI's Responses API and reads the answer as a type; `ritellm.responses` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        input: Any = None,
        *,
        stream: Literal[False] | None = None,
        response_format: _Format | None = None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Any,
    ) -> Coroutine[Any, Any, Response]:
        """Calls OpenAI's Responses API; `ritellm.responses` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        input: Any = None,
        *,
        stream: Literal[True],
        response_format: _OtherFormat | None = None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Unpack[_ResponsesParams],
    ) -> Coroutine[Any, Any, _ResponseStream]:
        """Calls OpenAI's Responses API and streams the response; `ritellm.responses` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        input: Any = None,
        *,
        stream: Literal[True],
        response_format: type[_T],
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Unpack[_ResponsesParams],
    ) -> Coroutine[Any, Any, _ParsedResponseStream[_T]]:
        """Calls OpenAI's Responses API and streams the response; `ritellm.responses` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        input: Any = None,
        *,
        stream: bool | None,
        response_format: _Format | None = None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Unpack[_ResponsesParams],
    ) -> Coroutine[Any, Any, Response | _ResponseStream]:
        """Calls OpenAI's Responses API, streamed if ``stream`` is true; `ritellm.responses` documents the arguments."""

_Embed: TypeAlias = _Embedding[EmbeddingResponse, _OtherEmbeddings]
_Aembed: TypeAlias = _Embedding[Coroutine[Any, Any, EmbeddingResponse], Coroutine[Any, Any, _OtherEmbeddings]]

@type_check_only
class _Reranking(Protocol[_Plain]):
    """The signature of a rerank call, shared by its four names."""

    def __call__(
        self,
        model: str,
        query: str,
        documents: Sequence[Any],
        *,
        top_n: int | None = None,
        return_documents: bool | None = None,
        # parameters of RiteLLM itself
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Any,
    ) -> _Plain:
        """Ranks documents by their relevance to a query; `ritellm.rerank` documents the arguments."""

@type_check_only
class _Speaking(Protocol[_Plain, _Streamed, _Either]):
    """The signature of a speech call, shared by its four names."""

    @overload
    def __call__(
        self,
        model: str,
        input: str,
        voice: str | Mapping[str, Any] | None = None,
        *,
        stream: Literal[False] | None = None,
        # parameters of RiteLLM itself
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Any,
    ) -> _Plain:
        """Converts a text to speech; `ritellm.speech` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        input: str,
        voice: str | Mapping[str, Any] | None = None,
        *,
        stream: Literal[True],
        # parameters of RiteLLM itself
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Any,
    ) -> _Streamed:
        """Converts a text to speech and streams the audio; `ritellm.speech` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        input: str,
        voice: str | Mapping[str, Any] | None = None,
        *,
        stream: bool | None,
        # parameters of RiteLLM itself
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Any,
    ) -> _Either:
        """Converts a text to speech, streamed if ``stream`` is true; `ritellm.speech` documents the arguments."""

_Rerank: TypeAlias = _Reranking[RerankResponse]
_Arerank: TypeAlias = _Reranking[Coroutine[Any, Any, RerankResponse]]
_Speech: TypeAlias = _Speaking[BinaryResponse, _SpeechStream, BinaryResponse | _SpeechStream]
_Aspeech: TypeAlias = _Speaking[
    Coroutine[Any, Any, BinaryResponse],
    Coroutine[Any, Any, _SpeechStream],
    Coroutine[Any, Any, BinaryResponse | _SpeechStream],
]

@type_check_only
class _RunTools(Protocol[_Plain, _Streamed, _Either]):
    """The signature of a run of tools, shared by its four names. ``**params`` are those of a chat call."""

    @overload
    def __call__(
        self,
        model: str,
        messages: str | Sequence[_Members],
        tools: Iterable[Callable[..., Any] | Tool[..., Any] | _Members] = (),
        *,
        max_steps: int = 10,
        concurrency: int | None = None,
        approve: Callable[[ToolCall], bool | str | Awaitable[bool | str]] | None = None,
        api: Literal["chat", "responses"] = "chat",
        stream: Literal[False] | None = False,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Any,
    ) -> _Plain:
        """Runs the tools that a model calls; `ritellm.run_tools` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        messages: str | Sequence[_Members],
        tools: Iterable[Callable[..., Any] | Tool[..., Any] | _Members] = (),
        *,
        max_steps: int = 10,
        concurrency: int | None = None,
        approve: Callable[[ToolCall], bool | str | Awaitable[bool | str]] | None = None,
        api: Literal["chat", "responses"] = "chat",
        stream: Literal[True, "steps"],
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Unpack[_RunParams],
    ) -> _Streamed:
        """Runs the tools that a model calls, with the events as they happen; `ritellm.run_tools` documents the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        messages: str | Sequence[_Members],
        tools: Iterable[Callable[..., Any] | Tool[..., Any] | _Members] = (),
        *,
        max_steps: int = 10,
        concurrency: int | None = None,
        approve: Callable[[ToolCall], bool | str | Awaitable[bool | str]] | None = None,
        api: Literal["chat", "responses"] = "chat",
        stream: Literal["steps"] | bool | None,
        # parameters of RiteLLM itself
        validation_retries: int | None = None,
        timeout: float | Mapping[str, float | None] | _core._HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        num_retries: int | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        api_version: str | None = None,
        extra_headers: _Pairs | None = None,
        headers: _Pairs | None = None,
        extra_query: _Pairs | None = None,
        extra_body: Mapping[str, Any] | None = None,
        additional_params: str | Mapping[str, Any] | None = None,
        drop_params: bool | None = None,
        allow_http: bool | None = None,
        # passed to the provider
        **params: Unpack[_RunParams],
    ) -> _Either:
        """Runs the tools that a model calls, with the events if ``stream`` is true; `ritellm.run_tools` documents the arguments."""

_Run: TypeAlias = _RunTools[ToolRun, ToolRunStream, ToolRun | ToolRunStream]
_Arun: TypeAlias = _RunTools[
    Coroutine[Any, Any, ToolRun], Coroutine[Any, Any, ToolRunStream], Coroutine[Any, Any, ToolRun | ToolRunStream]
]

class Client(_core.Client):
    @classmethod
    def from_file(cls, path: str | PathLike[str], **settings: Any) -> Self: ...
    def close(self, timeout: float | None = 5.0) -> None: ...
    async def aclose(self, timeout: float | None = 5.0) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...
    def on_call(self, function: Callable[[CallRecord], object], *, content: bool = False) -> _core.HookHandle:
        """Has a function called with the record of each call of this client, after the call.

        >>> import ritellm
        >>> with ritellm.on_call(lambda record: print(record.model, record.outcome, record.usage)):
        ...     pass  # calls

        The function runs on the thread of the caller or on its event loop, in the context (``contextvars``) of the call, when
        the caller has the result; that of a stream when it is over or was left. A coroutine function runs as a task of the
        loop. For the rows of a job, and for streams that are dropped, it runs on a thread of the library. An exception of it
        harms no call: the first one is logged, and ``stats()`` counts all. Clients that `with_options` makes have the same hooks.
        See docs/observability.md.

        Args:
            function: a function, sync or async, that takes a `CallRecord`.
            content: whether the record has what was asked and answered (``input`` and ``output``).

        Returns:
            A handle: ``handle.remove()``, or the end of ``with handle``, removes the function.

        Raises:
            InvalidArgumentError: what is given is no function.
        """
    def metrics(self, labels: Mapping[str, str] | None = None) -> str:
        """Returns the counters of this client in Prometheus' text format, for a page that Prometheus reads.

        Calls, retries, calls in flight and waiting, connections and bytes by provider; quotas and their windows; of a router,
        its deployments; what hooks missed. docs/observability.md lists the names.

        Args:
            labels: labels of every sample, such as ``{"client": "search"}``, where a page has several clients.

        Raises:
            InvalidArgumentError: labels that cannot be used.
        """

    completion: _Completion
    """Makes a chat completion call and waits for the response; the GIL is released meanwhile.

    See `ritellm.completion`.
    """

    acompletion: _Acompletion
    """Makes a chat completion call without blocking the event loop; any number can be in flight at once.

    See `ritellm.acompletion`.
    """

    embedding: _Embed
    """Returns the embedding vectors of texts; the GIL is released while the call waits.

    See `ritellm.embedding`.
    """

    aembedding: _Aembed
    """Returns the embedding vectors of texts, without blocking the event loop.

    See `ritellm.aembedding`.
    """

    responses: _Respond
    """Calls OpenAI's Responses API and waits for the response; the GIL is released meanwhile.

    See `ritellm.responses`.
    """

    aresponses: _Arespond
    """Calls OpenAI's Responses API without blocking the event loop.

    See `ritellm.aresponses`.
    """

    rerank: _Rerank
    """Ranks documents by their relevance to a query; the GIL is released while the call waits.

    See `ritellm.rerank`.
    """

    arerank: _Arerank
    """Ranks documents by their relevance to a query, without blocking the event loop.

    See `ritellm.arerank`.
    """

    speech: _Speech
    """Converts a text to speech and returns the audio; the GIL is released while the call waits.

    See `ritellm.speech`.
    """

    aspeech: _Aspeech
    """Converts a text to speech without blocking the event loop.

    See `ritellm.aspeech`.
    """

    run_tools: _Run
    """Calls a model, runs the tools that it calls, tells it their results, and goes on until it answers without a call.

    See `ritellm.run_tools`.
    """

    arun_tools: _Arun
    """Does the same as `run_tools` on an event loop.

    See `ritellm.arun_tools`.
    """

    @property
    def files(self) -> Files: ...
    @property
    def batches(self) -> Batches: ...

completion: _Completion
"""Makes a chat completion call and waits for the response; the GIL is released meanwhile.

>>> from ritellm import completion
>>> messages = [{"role": "user", "content": "Hi"}]
>>> response = completion("openai/gpt-4o-mini", messages, temperature=0, timeout=30)  # doctest: +SKIP
>>> response.choices[0].message.content  # doctest: +SKIP
'Hello! How can I help you today?'

Args:
    model: ``provider/model``, such as ``"openai/gpt-4o-mini"``; ``ritellm providers`` lists the providers. The
        provider can be left out for names such as ``gpt-…``, which is then OpenAI.
    messages: the conversation so far, a list of dicts in OpenAI's format. Messages of earlier responses can be
        included as they are.
    stream: return a `Stream` of chunks instead of the whole completion.
    response_format: what the answer has to be. A type (a pydantic model, a dataclass, a TypedDict, an Enum, a Literal, or a
        list or union of such) or a JSON schema: ``response.parsed`` is the answer as a value of it, and
        ``StructuredOutputError`` is raised if there is none. A dict in OpenAI's form, ``{"type": "json_schema", …}``,
        is sent as it is. See docs/structured-output.md.
    validation_retries: how often the model is asked again, with the reasons, if its answer does not fit the type or the
        schema; 0 by default.
    timeout: seconds for the whole call, or a mapping with any of ``queue``, ``connect``, ``first_token``, ``idle``
        and ``total``, in seconds: see `Client`.
    max_retries: maximum number of retries after a transient failure; 2 by default. Also ``num_retries``.
    max_retry_after: the longest pause in seconds that is accepted from a provider's ``Retry-After``; 60 by default.
    base_url: the address to call instead of the provider's own. Also ``api_base``.
    api_key: the key, or a function that returns it (see `Client`), instead of the key in the provider's environment
        variable.
    api_version: the version of the API, for providers that have versions.
    extra_headers: header fields added to the request. Also ``headers``.
    extra_query: query parameters added to the request's URL.
    extra_body: members merged into the request's JSON body; they replace parameters of the same name.
    additional_params: the same as ``extra_body``, as a mapping or a JSON string.
    drop_params: leave out parameters that the provider lacks, instead of raising ``UnsupportedParamsError``.
    allow_http: allow the key to be sent to another machine over plain ``http://``.
    **params: every chat parameter of OpenAI's API by its own name (``temperature``, ``max_tokens``, ``tools``
        …). A name that OpenAI does not define is passed to the provider unchanged, unless it is
        close to a known one and no provider documents it. ``None`` counts as not given.

Returns:
    `ChatCompletion`, or `Stream` with ``stream=True``. `ParsedChatCompletion` with a ``response_format`` that is a type or a
    JSON schema.

Raises:
    RiteLLMError: see `ritellm.exceptions` for the hierarchy.
"""

acompletion: _Acompletion
"""Makes a chat completion call without blocking the event loop; any number can be in flight at once.

Cancelling the task aborts the request. Arguments, result and errors are those of `completion`.
"""

embedding: _Embed
"""Returns the embedding vectors of texts; the GIL is released while the call waits.

>>> from ritellm import embedding
>>> response = embedding("openai/text-embedding-3-small", ["a cat", "a dog"])  # doctest: +SKIP
>>> len(response.data), len(response.data[0].embedding)  # doctest: +SKIP
(2, 1536)

Args:
    model: ``provider/model``, such as ``"openai/text-embedding-3-small"``.
    input: a string or a list of strings; with providers that accept them, also token ids (a list of int) or lists
        of token ids. A column of pandas or polars, an array and an iterator are as good as a list. More inputs than the
        provider takes in a request are sent in several.
    batch_size: maximum number of inputs in a request; by default, what the provider documents.
    concurrency: maximum number of a call's requests in flight; 16 by default.
    output: ``"list"`` (the default) for lists of floats, ``"numpy"`` for one float32 array of shape (inputs,
        dimensions), of which each vector is a row.
    **params: ``dimensions``, ``encoding_format``, ``user``, other parameters of the provider (``input_type``,
        ``task_type``, ``truncate`` …), and the parameters that every call accepts: see `completion`.

Returns:
    `EmbeddingResponse`: ``response.data[0].embedding`` is the first vector, ``response.embeddings`` has all.

Raises:
    RiteLLMError: see `ritellm.exceptions` for the hierarchy.
"""

aembedding: _Aembed
"""Returns the embedding vectors of texts, without blocking the event loop.

Cancelling the task aborts the request. Arguments, result and errors are those of `embedding`.
"""

responses: _Respond
"""Calls OpenAI's Responses API and waits for the response; the GIL is released meanwhile.

OpenAI, Azure and the OpenAI-compatible providers have this API. Requests and responses are passed on unchanged,
except for values that the provider would reject (docs/responses.md).

>>> from ritellm import responses
>>> response = responses("openai/gpt-5-mini", "Name a prime.", instructions="One word.")  # doctest: +SKIP
>>> response.output_text  # doctest: +SKIP
'Seven'

Args:
    model: ``provider/model``, such as ``"openai/gpt-4o-mini"``.
    input: a string or a list of input items; can be left out with a stored ``prompt``.
    stream: return a `Stream` of events; its ``completion`` is the response that the last event contains.
    response_format: a type or a JSON schema that the answer has to fit, as for `completion`. Also ``text_format``.
    validation_retries: how often the model is asked again if its answer does not fit.
    **params: every parameter of the Responses API by its own name (``instructions``, ``tools``,
        ``previous_response_id`` …), and the parameters that every call accepts: see `completion`.

Returns:
    `Response`, or `Stream` with ``stream=True``; `ParsedResponse` with a ``response_format``.

Raises:
    RiteLLMError: see `ritellm.exceptions` for the hierarchy.
"""

aresponses: _Arespond
"""Calls OpenAI's Responses API without blocking the event loop.

Cancelling the task aborts the request. Arguments, result and errors are those of `responses`.
"""

rerank: _Rerank
"""Ranks documents by their relevance to a query; the GIL is released while the call waits.

>>> from ritellm import rerank
>>> documents = ["Dogs bark.", "Call f.close()."]
>>> ranking = rerank("cohere/rerank-v3.5", "How do I close a file?", documents, top_n=1)  # doctest: +SKIP
>>> [(result.index, result.relevance_score) for result in ranking.results]  # doctest: +SKIP
[(1, 0.82)]

Args:
    model: ``provider/model``, such as ``"cohere/rerank-v3.5"``.
    query: the text that the documents are compared with.
    documents: a list of str; with providers that accept them, also of dicts.
    top_n: maximum number of results; all documents by default.
    return_documents: ``True`` to have each result contain its ``document``.
    **params: other parameters of the provider (``max_tokens_per_doc``, ``truncation`` …), and the parameters that
        every call accepts: see `completion`.

Returns:
    `RerankResponse`: ``response.results``, the most relevant first, each with ``index`` and ``relevance_score``.

Raises:
    RiteLLMError: see `ritellm.exceptions` for the hierarchy.
"""

arerank: _Arerank
"""Ranks documents by their relevance to a query, without blocking the event loop.

Cancelling the task aborts the request. Arguments, result and errors are those of `rerank`.
"""

speech: _Speech
"""Converts a text to speech and returns the audio; the GIL is released while the call waits.

>>> from ritellm import speech
>>> audio = speech("openai/gpt-4o-mini-tts", "Hello!", "alloy", response_format="mp3")  # doctest: +SKIP
>>> audio.write_to_file("hello.mp3")  # doctest: +SKIP

Args:
    model: ``provider/model``, such as ``"openai/gpt-4o-mini-tts"``.
    input: the text to speak, a str.
    voice: the name of a voice, such as ``"alloy"``; most providers require it.
    stream: return a `Stream` of ``bytes`` that yields the audio as it arrives.
    **params: ``response_format`` (``"mp3"``, ``"wav"``, ``"pcm"`` …), ``speed``, ``instructions``, other parameters
        of the provider, and the parameters that every call accepts: see `completion`.

Returns:
    `BinaryResponse`, a subclass of ``bytes``, or `Stream` with ``stream=True``.

Raises:
    RiteLLMError: see `ritellm.exceptions` for the hierarchy.
"""

aspeech: _Aspeech
"""Converts a text to speech without blocking the event loop.

Cancelling the task aborts the request. Arguments, result and errors are those of `speech`.
"""

_default: Client

def _coroutine_function(function: Any) -> Any: ...
async def _answer(client: Client, operation: str, model: str, subject: object, arguments: _core.Arguments) -> Any: ...

run_tools: _Run
"""Calls a model, runs the tools that it calls, tells it their results, and goes on until it answers without a call.

>>> import ritellm
>>> def weather(city: str) -> str:
...     '''Returns the weather of a city.'''
...     return f"sunny in {city}"
>>> messages = [{"role": "user", "content": "How is the weather in Oslo?"}]
>>> run = ritellm.run_tools("openai/gpt-4o-mini", messages, tools=[weather])  # doctest: +SKIP
>>> run.text  # doctest: +SKIP
'It is sunny in Oslo.'

The calls of one answer run side by side: sync functions in threads, async ones on an event loop. A call that fails (no
such tool, arguments that do not fit, an exception) tells the model the message of the error.

Args:
    model: ``provider/model``, as for `completion`.
    messages: the conversation so far. It may have been interrupted: calls without a result get one that says so.
    tools: functions, sync or async, or instances of `Tool`; dicts go to the provider as they are. A call of a tool that is a dict
        with a function's description ends the run, and is in ``run.pending``.
    max_steps: maximum number of answers of the model; 10 by default.
    concurrency: maximum number of calls that run at a time; no limit by default.
    approve: a function, sync or async, that is called with each call (a `ToolCall`) before it runs. True runs it; for False
        the model is told that the user declined, and a text is told to the model instead of a result.
    api: ``"chat"`` (the default), or ``"responses"`` for the Responses API: ``messages`` is then its ``input``, a str or a list
        of items, and the answers are `Response`.
    stream: ``True`` returns a `ToolRunStream` of what happens as it happens, with the chunks of the answers;
        ``"steps"`` the same without chunks.
    timeout: seconds for the whole run, or a mapping whose ``total`` is that; see `completion` for its other members.
    **params: the other parameters of `completion`, for each of the calls. A ``tool_choice`` that forces a call applies until
        one was made.

Returns:
    `ToolRun`: its ``response`` is the last answer, ``messages`` the whole conversation, ``steps`` has all answers with the
    results of their calls, and ``usage`` their sum. With ``stream``, `ToolRunStream`.

Raises:
    MaxStepsError: the model still calls tools in its last step.
    Timeout: the run took longer than ``timeout``.
    RiteLLMError: see `ritellm.exceptions` for the hierarchy. Its ``run`` is what was done before.
"""

arun_tools: _Arun
"""Does the same as `run_tools` on an event loop.

Cancelling the task aborts the request and cancels the tools that are async; a sync one that runs goes on in its thread,
and its result is discarded.
"""

def metrics(labels: Mapping[str, str] | None = None) -> str: ...
def on_call(function: Callable[[CallRecord], object], *, content: bool = False) -> _core.HookHandle: ...
def _flush_hooks(timeout: float | None) -> None: ...
def close(timeout: float | None = 5.0) -> None: ...
async def aclose(timeout: float | None = 5.0) -> None: ...
def configure(path: str | PathLike[str] | None = None, /, **settings: Any) -> None: ...
def stats() -> _core._Stats: ...
def stream_chunk_builder(chunks: Iterable[Mapping[str, Any]], messages: object = None, **_: Any) -> ChatCompletion: ...
