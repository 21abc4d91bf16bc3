"""``Client``, and the functions of the package, which use a client of their own."""

from __future__ import annotations

import sys

from ritellm import _core
from ritellm.types import ChatCompletion, EmbeddingResponse, RerankResponse

# To import `typing` takes longer than all the rest of the package; who asks for the hints at run time gets `object`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from typing_extensions import Self

    from ritellm.resources import Batches, Files
else:
    from _collections_abc import Iterable, Mapping, Sequence

    Any = Self = Batches = Files = object

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


def _coroutine_function(function: Any) -> Any:
    """Marks a function that returns a coroutine as what `inspect.iscoroutinefunction` looks for.

    `inspect.markcoroutinefunction` would do the same from Python 3.12 on, and import `inspect`, which takes longer than
    the whole package.
    """
    code = function.__code__.replace(co_flags=function.__code__.co_flags | _CO_COROUTINE)
    if sys.version_info < (3, 11):
        # There the flag decides what a call of the function returns.
        return _CoroutineFunction(function, code)
    marked = type(function)(code, function.__globals__, function.__name__)
    marked.__doc__, marked.__qualname__ = function.__doc__, function.__qualname__
    marked.__annotations__, marked.__defaults__ = function.__annotations__, function.__defaults__
    marked.__kwdefaults__ = function.__kwdefaults__
    return marked


_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE
# Of functions that are bound: `types.MethodType`, without the import.
_Method: Any = type(_coroutine_function.__get__(object()))


class _CoroutineFunction:
    """A function whose `__code__` is another: `inspect` asks that for flags, of whatever has a function's attributes."""

    def __init__(self, function: Any, code: Any) -> None:
        self.__dict__.update(function.__dict__)
        for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
            setattr(self, name, getattr(function, name))
        self.__defaults__, self.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
        self.__code__, self._function = code, function

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else _Method(self, instance)

    def __call__(self, *args: Any, **params: Any) -> Any:
        try:
            return self._function(*args, **params)
        finally:
            del params


class Client(_core.Client):
    """Settings and connections of one's own, with the same methods as the package has functions.

    Each setting is what a call gets that does not give its own. A client may be used by any number of threads, tasks
    and event loops at once, and by the children of a fork. It can be copied and pickled, as its settings: connections are
    its own. Keys are never pickled, nor are passwords and header fields that look like keys; where there were some, the
    unpickled client's calls raise ``InvalidArgumentError``.

    Args:
        api_key: the key, for whichever provider a call names; only sent to ``base_url`` if that is given too. Or a
            function, sync or async, that returns it: it is called before each attempt, in a thread of its own or, if it is
            a coroutine function, on the call's loop. What it raises is what the call raises.
        base_url: instead of the provider's own address; ``http+unix://%2Frun%2Fmodel.sock/v1`` is a unix socket.
        api_version: the version of the API, where the provider has such a thing.
        timeout: seconds for a whole call, or a mapping with any of ``queue`` (no limit), ``connect`` (10),
            ``first_token`` (no limit), ``idle`` (no limit) and ``total`` (600); ``None`` in the mapping takes a limit
            away. ``queue``, also ``pool``, is for all waiting for admission, which is no part of the others: ``total``
            runs from the first admission on.
        max_retries: how often a request that failed in passing is repeated; 2 by default.
        max_retry_after: seconds that a provider may ask to be left alone before a repeat (``Retry-After``), 60 by default;
            one that asks for more, or for more than the timeouts leave, raises at once.
        azure_ad_token_provider: a function that returns a token of Entra ID, called like a function that is ``api_key``.
        headers: header fields added to every request.
        request_headers: a function, sync or async, that is called before each attempt with what is about to be sent, a dict
            of ``method``, ``url`` (with ``***`` for what is called like a key in its query), ``headers`` (without
            credentials), ``provider``, ``model`` and ``attempt`` (from 1), and returns a dict of header fields to add, or
            ``None``.
        drop_params: leave out parameters that the provider lacks, instead of raising ``UnsupportedParamsError``.
        http2: offer HTTP/2 to servers that are reached by TLS.
        allow_http: let a key go to another machine by plain ``http://``, where everybody on the way can read it; refused
            by default.
        ca_bundle: a PEM file with the certificates of the authorities that are believed, instead of the machine's or of
            those that ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name (or else ``REQUESTS_CA_BUNDLE`` or ``CURL_CA_BUNDLE``).
        client_cert: the client's own certificate, for servers that ask for one: a PEM file that holds it and its key, or
            a tuple of two, ``(certificate, key)``. Keys that are encrypted are refused.
        verify: ``False`` believes every certificate, so that whoever stands in between can read and change everything.
        proxy: ``http://[user:password@]host:port``, or ``https``, ``socks5`` or ``socks5h`` in front; otherwise
            ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` in the environment say.
        max_connections: connections to one server, at most; by default as many as the process has file descriptors for
            (``ulimit -n``, less a margin). Calls beyond them wait in line, first come, first served, for as long as the
            timeout ``queue`` allows.
        max_in_flight: calls of this client under way at a time, at most; no limit by default. Those beyond wait likewise.
        max_header_size: an answer's head may be so many bytes; 64 KiB by default.
        max_body_size: an answer may be so many bytes, after decompression; 256 MiB by default.
        max_event_size: one event of a stream may be so many bytes; 32 MiB by default.
        max_stream_size: a whole stream may be so many bytes, after decompression; 1 GiB by default.
        max_values: an answer, or an event of a stream, may hold so many JSON values, and an eighth as many objects and
            lists; 16,777,216 by default.
        max_nesting: the JSON of an answer may be nested so many levels deep; 256 by default, 512 at most.

    Raises:
        InvalidArgumentError: a setting that cannot be used.
    """

    def close(self, timeout: float | None = 5.0) -> None:
        """Closes the client: connections that carry nothing at once, the others when their calls are done.

        From now on its calls raise ``InvalidArgumentError``. Calls that are under way are waited for, those in line too, and
        streams until they end or are closed. Those that take longer than ``timeout`` are ended: they raise
        ``APIConnectionError``. ``with Client() as client`` closes it when the block is left. A client may be closed from any
        thread and more than once, and its figures stay. Interrupted by Ctrl-C, it goes on in the background.

        Args:
            timeout: seconds that calls under way are waited for, 5 by default; 0 ends them at once, ``None`` waits for as
                long as their own timeouts allow.

        Raises:
            InvalidArgumentError: a timeout that cannot be used; nothing is closed.
        """
        self.call_close(timeout, False)

    async def aclose(self, timeout: float | None = 5.0) -> None:
        """Closes the client without blocking the event loop: see `close`. Also ``async with Client() as client``.

        A task that is cancelled meanwhile does not wait any more; the client is closed all the same.
        """
        await self.start_close(timeout, False)

    def __enter__(self) -> Self:
        self.require_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self.require_open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def completion(self, model: str, messages: Sequence[Mapping[str, Any]], **params: Any) -> Any:
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
        try:
            if type(model) is str and model.startswith("local/"):
                _start_local_server(model, params)
            return self.call("chat", model, messages, params)
        finally:
            del params

    @_coroutine_function
    def acompletion(self, model: str, messages: Sequence[Mapping[str, Any]], **params: Any) -> Any:
        """Makes a chat call without blocking the event loop; any number may be in flight at once.

        Cancelling the task aborts the request. Arguments, result and errors are those of `completion`.
        """
        try:
            return _answer(self, "chat", model, messages, _core.conceal(params))
        finally:
            del params

    def embedding(self, model: str, input: str | Iterable[Any], **params: Any) -> EmbeddingResponse:
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
        try:
            if type(model) is str and model.startswith("local/"):
                _start_local_server(model, params)
            response: EmbeddingResponse = self.call("embedding", model, input, params)
            return response
        finally:
            del params

    @_coroutine_function
    def aembedding(self, model: str, input: str | Iterable[Any], **params: Any) -> Any:
        """Asks for the vectors of texts without blocking the event loop.

        Cancelling the task aborts the request. Arguments, result and errors are those of `embedding`.
        """
        try:
            return _answer(self, "embedding", model, input, _core.conceal(params))
        finally:
            del params

    def responses(self, model: str, input: Any = None, **params: Any) -> Any:
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
        try:
            if type(model) is str and model.startswith("local/"):
                _start_local_server(model, params)
            return self.call("responses", model, input, params)
        finally:
            del params

    @_coroutine_function
    def aresponses(self, model: str, input: Any = None, **params: Any) -> Any:
        """Makes a call of OpenAI's Responses API without blocking the event loop.

        Cancelling the task aborts the request. Arguments, result and errors are those of `responses`.
        """
        try:
            return _answer(self, "responses", model, input, _core.conceal(params))
        finally:
            del params

    def rerank(self, model: str, query: str, documents: Sequence[Any], **params: Any) -> RerankResponse:
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
        try:
            params["documents"] = documents
            response: RerankResponse = self.call("rerank", model, query, params)
            return response
        finally:
            del params

    @_coroutine_function
    def arerank(self, model: str, query: str, documents: Sequence[Any], **params: Any) -> Any:
        """Asks for documents in the order of their relevance to a query, without blocking the event loop.

        Cancelling the task aborts the request. Arguments, result and errors are those of `rerank`.
        """
        try:
            params["documents"] = documents
            return _answer(self, "rerank", model, query, _core.conceal(params))
        finally:
            del params

    def speech(self, model: str, input: str, voice: str | Mapping[str, Any] | None = None, **params: Any) -> Any:
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
        try:
            params["voice"] = voice
            return self.call("speech", model, input, params)
        finally:
            del params

    @_coroutine_function
    def aspeech(self, model: str, input: str, voice: str | Mapping[str, Any] | None = None, **params: Any) -> Any:
        """Asks for a text as speech without blocking the event loop.

        Cancelling the task aborts the request. Arguments, result and errors are those of `speech`.
        """
        try:
            params["voice"] = voice
            return _answer(self, "speech", model, input, _core.conceal(params))
        finally:
            del params

    @property
    def files(self) -> Files:
        """The files that lie with a provider: see `ritellm.resources.Files`."""
        from ritellm.resources import Files

        return Files(self)

    @property
    def batches(self) -> Batches:
        """The batches of a provider: see `ritellm.resources.Batches`."""
        from ritellm.resources import Batches

        return Batches(self)


# In the methods above a call's arguments are deleted as it ends, however it ends: a traceback that shows local variables
# would show the key among them. That is a statement, since even a function's call may fail, with a `RecursionError`.
# Coroutines are given them concealed, since one that is never awaited, or is cancelled before, never gets to deleting.


async def _answer(client: Client, operation: str, model: str, subject: object, arguments: _core.Arguments) -> Any:
    if type(model) is str and model.startswith("local/") and arguments.needs_base_url():
        arguments.set_base_url(await _alocal_server(model))
    return await client.start(operation, model, subject, arguments)


def _start_local_server(model: str, params: dict[str, Any]) -> None:
    try:
        if params.get("base_url") is None and params.get("api_base") is None:
            params["base_url"] = _local_server(model)
    finally:
        del params


def _local_server(model: str) -> str:
    from ritellm import local

    return local.base_url(model)


async def _alocal_server(model: str) -> str:
    from ritellm import local

    return await local.abase_url(model)


class _DefaultClient(Client):
    """The one behind the package's functions; pickled as a name, so that they can be handed to other processes."""

    def close(self, timeout: float | None = 5.0) -> None:
        """Closes the connections of the package's functions, and waits for their calls as `Client.close` does.

        The next call of one of the functions opens new connections. Clients of one's own are not in it.

        Args:
            timeout: seconds that calls under way are waited for, 5 by default; 0 ends them at once, ``None`` waits for as
                long as their own timeouts allow.
        """
        self.call_close(timeout, True)

    async def aclose(self, timeout: float | None = 5.0) -> None:
        """Closes the connections of the package's functions without blocking the event loop: see `close`."""
        await self.start_close(timeout, True)

    def __reduce__(self) -> str:
        return "_default"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self


_default = _DefaultClient()
completion = _default.completion
acompletion = _default.acompletion
embedding = _default.embedding
aembedding = _default.aembedding
responses = _default.responses
aresponses = _default.aresponses
rerank = _default.rerank
arerank = _default.arerank
speech = _default.speech
aspeech = _default.aspeech
close = _default.close
aclose = _default.aclose


def stats() -> dict[str, Any]:
    """What the functions of the package have done so far in this process.

    Returns:
        ``calls``, ``in_flight``, ``retries``, ``connections_open``, ``connections_idle``, ``bytes_sent`` and
        ``bytes_received`` in all, and under ``by_provider`` the same for each provider. Clients of one's own are not in
        it: each has a method of this name.
    """
    return _default.stats()


def stream_chunk_builder(chunks: Iterable[Mapping[str, Any]], messages: object = None, **_: Any) -> ChatCompletion:
    """The completion that a stream's chunks make up: the same message as the call without ``stream=True``.

    Args:
        chunks: the chunks, in their order.
        messages: taken for LiteLLM's sake, and not needed.

    Raises:
        InvalidArgumentError: a chunk that is no dict of JSON values.
    """
    built: ChatCompletion = _core.accumulate(chunks)
    return built
