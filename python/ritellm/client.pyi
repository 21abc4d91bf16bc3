"""What type checkers and editors see of client.py: every keyword by name, and the result by ``stream``."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, overload, type_check_only

from typing_extensions import Self

from ritellm import _core
from ritellm._core import Stream
from ritellm.resources import Batches, Files
from ritellm.types import BinaryResponse, ChatCompletion, EmbeddingResponse, RerankResponse, Response

__all__ = [
    "Client",
    "aclose",
    "acompletion",
    "aembedding",
    "arerank",
    "aresponses",
    "aspeech",
    "close",
    "completion",
    "embedding",
    "rerank",
    "responses",
    "speech",
    "stats",
    "stream_chunk_builder",
]

@type_check_only
class _Model(Protocol):
    """An object of the OpenAI SDK's, or any of pydantic's."""

    def model_dump(self, *, mode: str, exclude_none: bool) -> Any: ...

# What becomes a JSON object, and what becomes header fields or query parameters.
_Members: TypeAlias = Mapping[str, Any] | _Model
_Pairs: TypeAlias = Mapping[str, str | bytes | float | None]

_Plain = TypeVar("_Plain", covariant=True)
_Streamed = TypeVar("_Streamed", covariant=True)
_Either = TypeVar("_Either", covariant=True)

@type_check_only
class _Chat(Protocol[_Plain, _Streamed, _Either]):
    """A chat call, for each of its four names.

    The keywords stand here once for each kind of ``stream``. A TypedDict (PEP 692) would let them stand once, but mypy
    would then refuse the names that only a provider knows, until it has PEP 728's ``extra_items``.
    tests/typing/test_stubs.py holds the three equal. ``Literal[...] | str`` is OpenAI's values, for the editor to offer,
    and whatever other providers take.
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
        response_format: _Members | None = None,
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
        # ours
        timeout: float | Mapping[str, float | None] | None = None,
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
    ) -> _Plain: ...
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
        response_format: _Members | None = None,
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
        # ours
        timeout: float | Mapping[str, float | None] | None = None,
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
    ) -> _Streamed: ...
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
        response_format: _Members | None = None,
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
        # ours
        timeout: float | Mapping[str, float | None] | None = None,
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
    ) -> _Either: ...

_Completion: TypeAlias = _Chat[ChatCompletion, Stream, ChatCompletion | Stream]
_Acompletion: TypeAlias = _Chat[
    Coroutine[Any, Any, ChatCompletion],
    Coroutine[Any, Any, Stream],
    Coroutine[Any, Any, ChatCompletion | Stream],
]

@type_check_only
class _Embedding(Protocol[_Plain]):
    """An embedding call, for each of its four names."""

    def __call__(
        self,
        model: str,
        input: str | Iterable[Any],
        *,
        output: Literal["list", "numpy"] | None = None,
        dimensions: int | None = None,
        encoding_format: Literal["float", "base64"] | None = None,
        user: str | None = None,
        **params: Any,
    ) -> _Plain: ...

@type_check_only
class _Responses(Protocol[_Plain, _Streamed, _Either]):
    """A call of the Responses API, for each of its four names."""

    @overload
    def __call__(
        self, model: str, input: Any = None, *, stream: Literal[False] | None = None, **params: Any
    ) -> _Plain: ...
    @overload
    def __call__(self, model: str, input: Any = None, *, stream: Literal[True], **params: Any) -> _Streamed: ...
    @overload
    def __call__(self, model: str, input: Any = None, *, stream: bool | None, **params: Any) -> _Either: ...

_Embed: TypeAlias = _Embedding[EmbeddingResponse]
_Aembed: TypeAlias = _Embedding[Coroutine[Any, Any, EmbeddingResponse]]
_Respond: TypeAlias = _Responses[Response, Stream, Response | Stream]
_Arespond: TypeAlias = _Responses[
    Coroutine[Any, Any, Response], Coroutine[Any, Any, Stream], Coroutine[Any, Any, Response | Stream]
]

@type_check_only
class _Reranking(Protocol[_Plain]):
    """A rerank call, for each of its four names."""

    def __call__(
        self,
        model: str,
        query: str,
        documents: Sequence[Any],
        *,
        top_n: int | None = None,
        return_documents: bool | None = None,
        **params: Any,
    ) -> _Plain: ...

@type_check_only
class _Speaking(Protocol[_Plain, _Streamed, _Either]):
    """A speech call, for each of its four names."""

    @overload
    def __call__(
        self,
        model: str,
        input: str,
        voice: str | Mapping[str, Any] | None = None,
        *,
        stream: Literal[False] | None = None,
        **params: Any,
    ) -> _Plain: ...
    @overload
    def __call__(
        self,
        model: str,
        input: str,
        voice: str | Mapping[str, Any] | None = None,
        *,
        stream: Literal[True],
        **params: Any,
    ) -> _Streamed: ...
    @overload
    def __call__(
        self,
        model: str,
        input: str,
        voice: str | Mapping[str, Any] | None = None,
        *,
        stream: bool | None,
        **params: Any,
    ) -> _Either: ...

_Rerank: TypeAlias = _Reranking[RerankResponse]
_Arerank: TypeAlias = _Reranking[Coroutine[Any, Any, RerankResponse]]
_Speech: TypeAlias = _Speaking[BinaryResponse, Stream, BinaryResponse | Stream]
_Aspeech: TypeAlias = _Speaking[
    Coroutine[Any, Any, BinaryResponse], Coroutine[Any, Any, Stream], Coroutine[Any, Any, BinaryResponse | Stream]
]

class Client(_core.Client):
    def close(self, timeout: float | None = 5.0) -> None: ...
    async def aclose(self, timeout: float | None = 5.0) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...
    completion: _Completion
    acompletion: _Acompletion
    embedding: _Embed
    aembedding: _Aembed
    responses: _Respond
    aresponses: _Arespond
    rerank: _Rerank
    arerank: _Arerank
    speech: _Speech
    aspeech: _Aspeech
    @property
    def files(self) -> Files: ...
    @property
    def batches(self) -> Batches: ...

completion: _Completion
acompletion: _Acompletion
embedding: _Embed
aembedding: _Aembed
responses: _Respond
aresponses: _Arespond
rerank: _Rerank
arerank: _Arerank
speech: _Speech
aspeech: _Aspeech

_default: Client

def close(timeout: float | None = 5.0) -> None: ...
async def aclose(timeout: float | None = 5.0) -> None: ...
def stats() -> dict[str, Any]: ...
def stream_chunk_builder(chunks: Iterable[Mapping[str, Any]], messages: object = None, **_: Any) -> ChatCompletion: ...
