"""What type checkers and editors see of client.py: every keyword by name, and the result by ``stream``."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, overload, type_check_only

from typing_extensions import Never, Self

from ritellm import _core
from ritellm._core import Stream
from ritellm.resources import Batches, Files
from ritellm.types import (
    BinaryResponse,
    ChatCompletion,
    ChatCompletionChunk,
    EmbeddingResponse,
    RerankResponse,
    Response,
    ResponseEvent,
)

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
    ) -> _Plain:
        """Makes a chat call: `ritellm.completion` has the arguments."""
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
    ) -> _Streamed:
        """Makes a chat call and streams the answer: `ritellm.completion` has the arguments."""
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
    ) -> _Either:
        """Makes a chat call, streamed if ``stream`` says so: `ritellm.completion` has the arguments."""

_ChatStream: TypeAlias = Stream[ChatCompletionChunk, ChatCompletion]
_ResponseStream: TypeAlias = Stream[ResponseEvent, Response]
_SpeechStream: TypeAlias = Stream[bytes, Never]

_Completion: TypeAlias = _Chat[ChatCompletion, _ChatStream, ChatCompletion | _ChatStream]
_Acompletion: TypeAlias = _Chat[
    Coroutine[Any, Any, ChatCompletion],
    Coroutine[Any, Any, _ChatStream],
    Coroutine[Any, Any, ChatCompletion | _ChatStream],
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
    ) -> _Plain:
        """Asks for the vectors of texts: `ritellm.embedding` has the arguments."""

@type_check_only
class _Responses(Protocol[_Plain, _Streamed, _Either]):
    """A call of the Responses API, for each of its four names."""

    @overload
    def __call__(
        self,
        model: str,
        input: Any = None,
        *,
        stream: Literal[False] | None = None,
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
    ) -> _Plain:
        """Makes a call of OpenAI's Responses API: `ritellm.responses` has the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        input: Any = None,
        *,
        stream: Literal[True],
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
    ) -> _Streamed:
        """Makes a call of OpenAI's Responses API and streams the answer: `ritellm.responses` has the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        input: Any = None,
        *,
        stream: bool | None,
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
    ) -> _Either:
        """Makes a call of OpenAI's Responses API, streamed if ``stream`` says so: `ritellm.responses` has the arguments."""

_Embed: TypeAlias = _Embedding[EmbeddingResponse]
_Aembed: TypeAlias = _Embedding[Coroutine[Any, Any, EmbeddingResponse]]
_Respond: TypeAlias = _Responses[Response, _ResponseStream, Response | _ResponseStream]
_Arespond: TypeAlias = _Responses[
    Coroutine[Any, Any, Response],
    Coroutine[Any, Any, _ResponseStream],
    Coroutine[Any, Any, Response | _ResponseStream],
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
    ) -> _Plain:
        """Asks for documents in the order of their relevance to a query: `ritellm.rerank` has the arguments."""

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
    ) -> _Plain:
        """Asks for a text as speech: `ritellm.speech` has the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        input: str,
        voice: str | Mapping[str, Any] | None = None,
        *,
        stream: Literal[True],
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
    ) -> _Streamed:
        """Asks for a text as speech and streams the answer: `ritellm.speech` has the arguments."""
    @overload
    def __call__(
        self,
        model: str,
        input: str,
        voice: str | Mapping[str, Any] | None = None,
        *,
        stream: bool | None,
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
    ) -> _Either:
        """Asks for a text as speech, streamed if ``stream`` says so: `ritellm.speech` has the arguments."""

_Rerank: TypeAlias = _Reranking[RerankResponse]
_Arerank: TypeAlias = _Reranking[Coroutine[Any, Any, RerankResponse]]
_Speech: TypeAlias = _Speaking[BinaryResponse, _SpeechStream, BinaryResponse | _SpeechStream]
_Aspeech: TypeAlias = _Speaking[
    Coroutine[Any, Any, BinaryResponse],
    Coroutine[Any, Any, _SpeechStream],
    Coroutine[Any, Any, BinaryResponse | _SpeechStream],
]

class Client(_core.Client):
    def close(self, timeout: float | None = 5.0) -> None: ...
    async def aclose(self, timeout: float | None = 5.0) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...
    completion: _Completion
    """Makes a chat call and waits for its answer; other threads run meanwhile.

    See `ritellm.completion`.
    """

    acompletion: _Acompletion
    """Makes a chat call without blocking the event loop; any number may be in flight at once.

    See `ritellm.acompletion`.
    """

    embedding: _Embed
    """Asks for the vectors of texts and waits for them; other threads run meanwhile.

    See `ritellm.embedding`.
    """

    aembedding: _Aembed
    """Asks for the vectors of texts without blocking the event loop.

    See `ritellm.aembedding`.
    """

    responses: _Respond
    """Makes a call of OpenAI's Responses API and waits for its answer; other threads run meanwhile.

    See `ritellm.responses`.
    """

    aresponses: _Arespond
    """Makes a call of OpenAI's Responses API without blocking the event loop.

    See `ritellm.aresponses`.
    """

    rerank: _Rerank
    """Asks for documents in the order of their relevance to a query; other threads run meanwhile.

    See `ritellm.rerank`.
    """

    arerank: _Arerank
    """Asks for documents in the order of their relevance to a query, without blocking the event loop.

    See `ritellm.arerank`.
    """

    speech: _Speech
    """Asks for a text as speech and waits for the audio; other threads run meanwhile.

    See `ritellm.speech`.
    """

    aspeech: _Aspeech
    """Asks for a text as speech without blocking the event loop.

    See `ritellm.aspeech`.
    """

    @property
    def files(self) -> Files: ...
    @property
    def batches(self) -> Batches: ...

completion: _Completion
"""Makes a chat call and waits for its answer; other threads run meanwhile.

Args:
    model: ``provider/model``, such as ``"openai/gpt-4o-mini"``; ``ritellm providers`` lists the providers. A
        ``gpt-…`` without a provider is OpenAI's.
    messages: the conversation so far, in OpenAI's format. A message of an earlier response may be put in as it is.
    stream: return a `Stream` of chunks instead of the whole completion.
    timeout: seconds for the whole call, or a mapping with any of ``queue``, ``connect``, ``first_token``, ``idle``, ``total``.
    max_retries: how often a request that failed in passing is repeated; 2 by default. Also ``num_retries``.
    max_retry_after: seconds that a provider may ask to be left alone before a repeat; 60 by default.
    base_url: instead of the provider's own address. Also ``api_base``.
    api_key: instead of the one in the provider's environment variable; a key, or a function that returns it: see `Client`.
    api_version: the version of the API, where the provider has such a thing.
    extra_headers: header fields added to the request. Also ``headers``.
    extra_query: query parameters added to its address.
    extra_body: members merged into its body, over parameters of the same name.
    additional_params: the same, and may be a JSON string.
    drop_params: leave out parameters that the provider lacks, instead of raising ``UnsupportedParamsError``.
    allow_http: let the key go to another machine by plain ``http://``.
    **params: every chat parameter of OpenAI's, by its own name (``temperature``, ``max_tokens``, ``tools``,
        ``response_format`` …); a name that OpenAI does not define is passed to the provider untouched. ``None`` is
        as good as not given.

Returns:
    `ChatCompletion`, or `Stream` with ``stream=True``.

Raises:
    RiteLLMError: see `ritellm.exceptions` for the hierarchy.
"""

acompletion: _Acompletion
"""Makes a chat call without blocking the event loop; any number may be in flight at once.

Cancelling the task aborts the request. Arguments, result and errors are those of `completion`.
"""

embedding: _Embed
"""Asks for the vectors of texts and waits for them; other threads run meanwhile.

Args:
    model: ``provider/model``, such as ``"openai/text-embedding-3-small"``.
    input: a text or a list of texts; where a provider takes them, also tokens or lists of tokens.
    output: ``"list"`` (the default) for lists of floats, ``"numpy"`` for the rows of one float32 array.
    **params: ``dimensions``, ``encoding_format``, ``user`` and whatever else the provider takes
        (``input_type``, ``task_type``, ``truncate`` …), and what every call takes: see `completion`.

Returns:
    `EmbeddingResponse`: ``response.data[0].embedding``, and ``response.embeddings`` for all of them.

Raises:
    RiteLLMError: see `ritellm.exceptions` for the hierarchy.
"""

aembedding: _Aembed
"""Asks for the vectors of texts without blocking the event loop.

Cancelling the task aborts the request. Arguments, result and errors are those of `embedding`.
"""

responses: _Respond
"""Makes a call of OpenAI's Responses API and waits for its answer; other threads run meanwhile.

OpenAI, Azure and the OpenAI-compatible hosts have it; request and answer pass untouched, but for what the host would refuse
(docs/responses.md).

Args:
    model: ``provider/model``, such as ``"openai/gpt-4o-mini"``.
    input: a text or a list of items; may be left out beside a stored ``prompt``.
    stream: return a `Stream` of events; its ``completion`` is the response that the last of them holds.
    **params: every parameter of the Responses API by its own name (``instructions``, ``tools``,
        ``previous_response_id`` …), and what every call takes: see `completion`.

Returns:
    `Response`, or `Stream` with ``stream=True``.

Raises:
    RiteLLMError: see `ritellm.exceptions` for the hierarchy.
"""

aresponses: _Arespond
"""Makes a call of OpenAI's Responses API without blocking the event loop.

Cancelling the task aborts the request. Arguments, result and errors are those of `responses`.
"""

rerank: _Rerank
"""Asks for documents in the order of their relevance to a query; other threads run meanwhile.

Args:
    model: ``provider/model``, such as ``"cohere/rerank-v3.5"``.
    query: the text to compare them with.
    documents: a list of str; where a provider takes them, also of dicts.
    top_n: how many to return at most; all by default.
    return_documents: whether each result has its ``document``.
    **params: whatever else the provider takes (``max_tokens_per_doc``, ``truncation`` …), and what every call takes:
        see `completion`.

Returns:
    `RerankResponse`: ``response.results``, the most relevant first, each with ``index`` and ``relevance_score``.

Raises:
    RiteLLMError: see `ritellm.exceptions` for the hierarchy.
"""

arerank: _Arerank
"""Asks for documents in the order of their relevance to a query, without blocking the event loop.

Cancelling the task aborts the request. Arguments, result and errors are those of `rerank`.
"""

speech: _Speech
"""Asks for a text as speech and waits for the audio; other threads run meanwhile.

Args:
    model: ``provider/model``, such as ``"openai/gpt-4o-mini-tts"``.
    input: the text.
    voice: the voice's name, which most providers want.
    stream: return a `Stream` of ``bytes`` as they come instead of all of them.
    **params: ``response_format`` (``"mp3"``, ``"wav"``, ``"pcm"`` …), ``speed``, ``instructions`` and whatever else
        the provider takes, and what every call takes: see `completion`.

Returns:
    `BinaryResponse`, which is ``bytes``, or `Stream` with ``stream=True``.

Raises:
    RiteLLMError: see `ritellm.exceptions` for the hierarchy.
"""

aspeech: _Aspeech
"""Asks for a text as speech without blocking the event loop.

Cancelling the task aborts the request. Arguments, result and errors are those of `speech`.
"""

_default: Client

def _coroutine_function(function: Any) -> Any: ...
async def _answer(client: Client, operation: str, model: str, subject: object, arguments: _core.Arguments) -> Any: ...
def close(timeout: float | None = 5.0) -> None: ...
async def aclose(timeout: float | None = 5.0) -> None: ...
def stats() -> dict[str, Any]: ...
def stream_chunk_builder(chunks: Iterable[Mapping[str, Any]], messages: object = None, **_: Any) -> ChatCompletion: ...
