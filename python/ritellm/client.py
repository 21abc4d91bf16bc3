"""The ``Client`` class, and the functions of the package, which call the methods of a default client."""

from __future__ import annotations

import os
import sys

from ritellm import _core
from ritellm.types import ChatCompletion, EmbeddingResponse, RerankResponse

# Importing `typing` takes longer than importing the rest of the package. Type hints read at run time are `object`.
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


def _coroutine_function(function: Any) -> Any:
    """Marks a function that returns a coroutine, so that `inspect.iscoroutinefunction` returns True for it.

    `inspect.markcoroutinefunction` does the same from Python 3.12 on, but importing `inspect` takes longer than importing
    the whole package.
    """
    code = function.__code__.replace(co_flags=function.__code__.co_flags | _CO_COROUTINE)
    if sys.version_info < (3, 11):
        # In these versions the flag would change what a call of the function returns.
        return _CoroutineFunction(function, code)
    marked = type(function)(code, function.__globals__, function.__name__)
    marked.__doc__, marked.__qualname__ = function.__doc__, function.__qualname__
    marked.__annotations__, marked.__defaults__ = function.__annotations__, function.__defaults__
    marked.__kwdefaults__ = function.__kwdefaults__
    return marked


_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE
# The type of bound methods: `types.MethodType`, without importing `types`.
_Method: Any = type(_coroutine_function.__get__(object()))


class _CoroutineFunction:
    """Wraps a function and has a `__code__` with the coroutine flag, for Python 3.10.

    `inspect` reads the flags from the `__code__` of any object that has a function's attributes.
    """

    def __init__(self, function: Any, code: Any) -> None:
        self.__dict__.update(function.__dict__)
        for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
            setattr(self, name, getattr(function, name))
        self.__defaults__, self.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
        # Type hints are evaluated in these.
        self.__globals__ = function.__globals__
        self.__code__, self._function = code, function

    def __reduce__(self) -> str:
        # By name, as functions are pickled.
        name: str = self.__dict__["__qualname__"]
        return name

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else _Method(self, instance)

    def __call__(self, *args: Any, **params: Any) -> Any:
        try:
            return self._function(*args, **params)
        finally:
            del params


class Client(_core.Client):
    """A client with its own settings and its own connection pool.

    It has the same methods as the package has functions, sync and async. A setting applies to every call that does not
    pass its own value.

    >>> from ritellm import Client
    >>> client = Client(timeout={"connect": 5, "total": 60}, max_retries=4, headers={"x-team": "search"})
    >>> messages = [{"role": "user", "content": "Hi"}]
    >>> response = client.completion(model="openai/gpt-4o-mini", messages=messages)  # doctest: +SKIP

    Any number of threads, tasks and event loops can use one client at the same time, and so can forked child processes. A
    client can be copied and pickled; the copy has the same settings and its own connections. Keys, passwords and header
    fields that look like keys are never pickled: if the client had any, calls of the unpickled client raise
    ``InvalidArgumentError``.

    Args:
        api_key: the key for every provider that is called; if ``base_url`` is set too, it is only sent there. Or a
            function, sync or async, that returns the key. It is called before each attempt, in a new thread or, if it is a
            coroutine function, on the event loop of the call. Exceptions that it raises are raised by the call.
        base_url: the address to call instead of the provider's own; ``http+unix://%2Frun%2Fmodel.sock/v1`` is a unix
            socket.
        api_version: the version of the API, for providers that have versions.
        timeout: seconds for a whole call, or a mapping with any of ``queue`` (default: no limit), ``connect`` (10),
            ``first_token`` (no limit), ``idle`` (no limit) and ``total`` (600). ``None`` in the mapping removes a limit.
            ``queue``, also spelled ``pool``, limits the time that a call waits for admission. The other limits do not
            count this time: ``total`` starts when the call is first admitted. An ``httpx.Timeout`` sets all but ``total``:
            its ``read`` is ``idle``, and with its ``connect`` added ``first_token``; its ``write`` has no effect.
        max_retries: maximum number of retries after a transient failure; 2 by default.
        max_retry_after: the longest pause in seconds that is accepted from a provider's ``Retry-After``; 60 by default. If
            the provider asks for more, or for more than the timeouts leave, the error is raised at once.
        azure_ad_token_provider: a function that returns a Microsoft Entra ID token; it is called as a function passed as
            ``api_key`` is.
        headers: header fields added to every request.
        request_headers: a function, sync or async, that returns a dict of header fields to add, or ``None``. It is called
            before each attempt with a dict that describes the request: ``method``, ``url`` (query values whose names look
            like a key's are ``***``), ``headers`` (without credentials), ``provider``, ``model`` and ``attempt`` (from 1).
        on_call: a function, or a list of functions, sync or async, that get the record of each call after it: see `on_call`.
        tags: a dict of labels for the records of the calls, such as ``{"team": "search"}``.
        drop_params: leave out parameters that the provider lacks, instead of raising ``UnsupportedParamsError``.
        unknown_params: ``"error"`` refuses parameters that no provider documents, before anything is sent; ``"send"``, the
            default, sends them unless their name is close to a known one.
        http2: offer HTTP/2 to servers that are reached over TLS.
        allow_http: allow keys to be sent to another machine over plain ``http://``, where anyone on the network path can
            read them; not allowed by default.
        ca_bundle: a PEM file with the certificate authorities to trust, instead of the machine's or those in
            ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` (or else ``REQUESTS_CA_BUNDLE`` or ``CURL_CA_BUNDLE``).
        client_cert: the client certificate for servers that ask for one: a PEM file with the certificate and its key, or a
            tuple of two files, ``(certificate, key)``. Encrypted keys are not accepted.
        verify: ``False`` accepts any certificate, so that anyone on the network path can read and change the traffic.
        proxy: ``http://[user:password@]host:port``, or the same with ``https``, ``socks5`` or ``socks5h``. The default is
            taken from the variables ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``.
        max_connections: maximum number of connections to one server; by default, as many as the process can have file
            descriptors (``ulimit -n``, less a margin). Further calls are queued, first in, first out, for at most the
            timeout ``queue``.
        max_in_flight: maximum number of calls of this client in flight; no limit by default. Further calls are queued in
            the same way.
        limits: limits of the providers to keep to: ``"adaptive"``, a dict such as ``{"openai/gpt-4o-mini": {"rpm": 5_000}}``,
            or `Limits`. Calls beyond a limit wait, in order, for at most the timeout ``queue``; refusals by a rate limit
            pause all calls of the quota and use up no retries.
        priority: ``"interactive"`` (the default) or ``"bulk"``: bulk calls let the others of their quota go first.
        max_header_size: maximum size of a response's header section in bytes; 64 KiB by default.
        max_body_size: maximum size of a response body in bytes, after decompression; 256 MiB by default.
        max_event_size: maximum size of one stream event in bytes; 32 MiB by default.
        max_stream_size: maximum size of a whole stream in bytes, after decompression; 1 GiB by default.
        max_values: maximum number of JSON values in a response or a stream event; 16,777,216 by default. The limit for
            objects and lists is an eighth of it.
        max_nesting: maximum nesting depth of a response's JSON; 256 by default, at most 512.
        catalog: prices and limits of models, with which ``response.meta`` has ``usage`` and ``cost``: a dict of
            ``"provider/model"`` to a dict, the path of a TOML or JSON file of the same form, or ``"genai-prices"`` for the
            data of that package (``pip install 'ritellm[prices]'``); or a list of these, of which the last that has a
            model counts. See docs/catalog.md.
        cache: a `Cache`, which keeps answers: what is asked again is neither sent nor paid again, and who asks the same at once
            gets one answer. ``response.meta.cached`` tells. A call with ``cache=False`` does without. See docs/cache.md.
        ttl: seconds for which answers are kept, and maximum age of those that are taken, instead of the cache's own.
        budget: a `Budget`: what the client's calls may cost. A call that would exceed it raises ``BudgetExceededError`` before it
            is sent. See docs/cost.md.
        providers: what the client knows of each provider, a dict of dicts: ``api_key`` (or ``api_key_env``, the name of its
            environment variable), ``base_url``, ``api_version``, ``headers``, and the provider's own settings
            (``aws_region_name`` …). A name that is no known provider is a host of your own with OpenAI's format: its
            ``base_url`` is required, and it may have ``like`` (the provider whose row it takes), ``renamed_params`` (a dict of
            OpenAI's names to the host's) and ``unsupported_params``. See docs/configuration.md.
        aliases: names for models: ``{"fast": "openai/gpt-4o-mini"}``.
        defaults: parameters of calls that do not give their own: ``{"temperature": 0}``. Each is sent with the operations
            that have it; a call that gives it as ``None`` goes without.
        cassette: for tests: the path of a file whose recorded calls are played in place of the providers, and which is
            recorded if it is missing; or what `ritellm.testing.cassette` returns. See docs/testing.md.

    Raises:
        InvalidArgumentError: a setting that cannot be used.
    """

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **settings: Any) -> Self:
        """Makes a client with the settings in a TOML file, or in YAML where PyYAML is installed.

        The file has the arguments of `Client` by their names, or in a table ``[client]`` (so that one file serves `Router` as
        well). ``${NAME}`` in a value stands for the variable of the environment.

        Args:
            path: the file; its name ends in ``.toml``, ``.yaml`` or ``.yml``.
            **settings: arguments that replace those of the file.

        Raises:
            InvalidArgumentError: a file that cannot be read, or a setting that cannot be used.
        """
        from ritellm import _files

        return cls(**{**_files.client_settings("path", path), **settings})

    def close(self, timeout: float | None = 5.0) -> None:
        """Closes the client: idle connections at once, the others when their calls are done.

        Calls made after this raise ``InvalidArgumentError``. Calls in flight and queued calls can finish, and streams until
        they end or are closed. Those that take longer than ``timeout`` are aborted and raise ``APIConnectionError``.
        ``with Client() as client`` closes the client at the end of the block.

        A client can be closed from any thread and more than once. Its statistics stay readable. If Ctrl-C interrupts this
        method, closing continues in the background.

        Args:
            timeout: seconds to wait for calls in flight, 5 by default; 0 ends them at once, ``None`` waits for as long as
                their own timeouts allow.

        Raises:
            InvalidArgumentError: a timeout that cannot be used; nothing is closed.
        """
        self.call_close(timeout, False)
        _flush_hooks(timeout)

    async def aclose(self, timeout: float | None = 5.0) -> None:
        """Closes the client without blocking the event loop, as `close` does; also ``async with Client() as client``.

        If the task is cancelled meanwhile, it stops waiting, and the client is closed nevertheless.

        Args:
            timeout: seconds to wait for calls in flight, as for `close`.

        Raises:
            InvalidArgumentError: a timeout that cannot be used; nothing is closed.
        """
        await self.start_close(timeout, False)
        await _aflush_hooks(timeout)

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

    def on_call(self, function: Any, *, content: bool = False) -> _core.HookHandle:
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
        return self._hooks.add(function, content)

    def metrics(self, labels: Mapping[str, str] | None = None) -> str:
        """Returns the counters of this client in Prometheus' text format, for a page that Prometheus reads.

        Calls, retries, calls in flight and waiting, connections and bytes by provider; quotas and their windows; of a router,
        its deployments; what hooks missed. docs/observability.md lists the names.

        Args:
            labels: labels of every sample, such as ``{"client": "search"}``, where a page has several clients.

        Raises:
            InvalidArgumentError: labels that cannot be used.
        """
        from ritellm import _metrics

        return _metrics.text_of(self, labels)

    def completion(self, model: str, messages: Sequence[Mapping[str, Any]], **params: Any) -> Any:
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
        try:
            if type(model) is str and model.startswith("local/"):
                _start_local_server(model, params)
            return self.call("chat", model, messages, params)
        finally:
            del params

    @_coroutine_function
    def acompletion(self, model: str, messages: Sequence[Mapping[str, Any]], **params: Any) -> Any:
        """Makes a chat completion call without blocking the event loop; any number can be in flight at once.

        Cancelling the task aborts the request. Arguments, result and errors are those of `completion`.
        """
        try:
            return _answer(self, "chat", model, messages, _core.conceal(params))
        finally:
            del params

    def embedding(self, model: str, input: str | Iterable[Any], **params: Any) -> EmbeddingResponse:
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
        try:
            if type(model) is str and model.startswith("local/"):
                _start_local_server(model, params)
            response: EmbeddingResponse = self.call("embedding", model, input, params)
            return response
        finally:
            del params

    @_coroutine_function
    def aembedding(self, model: str, input: str | Iterable[Any], **params: Any) -> Any:
        """Returns the embedding vectors of texts, without blocking the event loop.

        Cancelling the task aborts the request. Arguments, result and errors are those of `embedding`.
        """
        try:
            return _answer(self, "embedding", model, input, _core.conceal(params))
        finally:
            del params

    def responses(self, model: str, input: Any = None, **params: Any) -> Any:
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
        try:
            if type(model) is str and model.startswith("local/"):
                _start_local_server(model, params)
            return self.call("responses", model, input, params)
        finally:
            del params

    @_coroutine_function
    def aresponses(self, model: str, input: Any = None, **params: Any) -> Any:
        """Calls OpenAI's Responses API without blocking the event loop.

        Cancelling the task aborts the request. Arguments, result and errors are those of `responses`.
        """
        try:
            return _answer(self, "responses", model, input, _core.conceal(params))
        finally:
            del params

    def rerank(self, model: str, query: str, documents: Sequence[Any], **params: Any) -> RerankResponse:
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
        try:
            params["documents"] = documents
            response: RerankResponse = self.call("rerank", model, query, params)
            return response
        finally:
            del params

    @_coroutine_function
    def arerank(self, model: str, query: str, documents: Sequence[Any], **params: Any) -> Any:
        """Ranks documents by their relevance to a query, without blocking the event loop.

        Cancelling the task aborts the request. Arguments, result and errors are those of `rerank`.
        """
        try:
            params["documents"] = documents
            return _answer(self, "rerank", model, query, _core.conceal(params))
        finally:
            del params

    def speech(self, model: str, input: str, voice: str | Mapping[str, Any] | None = None, **params: Any) -> Any:
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
        try:
            params["voice"] = voice
            return self.call("speech", model, input, params)
        finally:
            del params

    @_coroutine_function
    def aspeech(self, model: str, input: str, voice: str | Mapping[str, Any] | None = None, **params: Any) -> Any:
        """Converts a text to speech without blocking the event loop.

        Cancelling the task aborts the request. Arguments, result and errors are those of `speech`.
        """
        try:
            params["voice"] = voice
            return _answer(self, "speech", model, input, _core.conceal(params))
        finally:
            del params

    def run_tools(
        self,
        model: str,
        messages: str | Sequence[Mapping[str, Any]],
        tools: Iterable[Any] = (),
        *,
        max_steps: int = 10,
        concurrency: int | None = None,
        approve: Any = None,
        api: str = "chat",
        stream: Any = False,
        **params: Any,
    ) -> Any:
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
        try:
            from ritellm import _tool_loops

            options: Any = {"model": model, "messages": messages, "tools": tools, "max_steps": max_steps}
            options |= {"concurrency": concurrency, "approve": approve, "api": api}
            return _tool_loops.run(self, _core.conceal(params), stream, options)
        finally:
            del params

    @_coroutine_function
    def arun_tools(
        self,
        model: str,
        messages: str | Sequence[Mapping[str, Any]],
        tools: Iterable[Any] = (),
        *,
        max_steps: int = 10,
        concurrency: int | None = None,
        approve: Any = None,
        api: str = "chat",
        stream: Any = False,
        **params: Any,
    ) -> Any:
        """Does the same as `run_tools` on an event loop.

        Cancelling the task aborts the request and cancels the tools that are async; a sync one that runs goes on in its thread,
        and its result is discarded.
        """
        try:
            from ritellm import _tool_loops

            options: Any = {"model": model, "messages": messages, "tools": tools, "max_steps": max_steps}
            options |= {"concurrency": concurrency, "approve": approve, "api": api}
            return _tool_loops.arun(self, _core.conceal(params), stream, options)
        finally:
            del params

    @property
    def files(self) -> Files:
        """The methods for files that are stored at a provider: see `ritellm.resources.Files`."""
        from ritellm.resources import Files

        return Files(self)

    @property
    def batches(self) -> Batches:
        """The methods for batches: see `ritellm.resources.Batches`."""
        from ritellm.resources import Batches

        return Batches(self)


# The methods above delete a call's arguments when it ends, in success and in error: a traceback that shows local variables
# would show the key among them. `del` is used because it is a statement: even calling a function can fail, with a
# `RecursionError`. Coroutines get the arguments wrapped by `conceal`, since a coroutine that is never awaited, or is
# cancelled before it starts, never reaches the `del`.


async def _answer(client: Client, operation: str, model: str, subject: object, arguments: _core.Arguments) -> Any:
    return await client.start(operation, model, subject, arguments)


async def _answer_locally(
    client: Client, operation: str, model: str, subject: object, arguments: _core.Arguments
) -> Any:
    """What `Client.start` returns for a model of the local server, which may have to be started first."""
    arguments.set_base_url(await _alocal_server(model))
    return await client.start(operation, model, subject, arguments)


def _flush_hooks(timeout: float | None) -> None:
    """Waits for the hooks of calls that have ended, where some may not have been called."""
    hooks = sys.modules.get("ritellm._hooks")
    if hooks is not None:
        hooks.flush(timeout)


async def _aflush_hooks(timeout: float | None) -> None:
    hooks = sys.modules.get("ritellm._hooks")
    if hooks is not None:
        await hooks.aflush(timeout)


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
    """The client behind the package's functions.

    It is pickled by name, so that the functions can be sent to other processes.
    """

    def close(self, timeout: float | None = 5.0) -> None:
        """Closes the connections of the package's functions and waits for their calls, as `Client.close` does.

        The next call of one of the functions opens new connections. Clients that you created are not closed.

        Args:
            timeout: seconds to wait for calls in flight, 5 by default; 0 ends them at once, ``None`` waits for as long as
                their own timeouts allow.

        Raises:
            InvalidArgumentError: a timeout that cannot be used; nothing is closed.
        """
        self.call_close(timeout, True)
        _flush_hooks(timeout)

    async def aclose(self, timeout: float | None = 5.0) -> None:
        """Closes the connections of the package's functions without blocking the event loop, as `close` does."""
        await self.start_close(timeout, True)
        await _aflush_hooks(timeout)

    def __reduce__(self) -> str:
        return "_default"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self


# Keywords that `**params` may have, by call. `inspect.signature` has them, and so do completion in IPython and `help`; a signature
# that had them would cost each call. tests/typing/test_stubs.py compares them with client.pyi.
_CHAT = (
    "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens metadata modalities "
    "moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_options prompt_cache_retention "
    "reasoning_effort response_format safety_identifier seed service_tier stop store {}stream_options temperature tool_choice "
    "{}top_logprobs top_p user verbosity web_search_options validation_retries "
)
_RESPONSES = (
    "stream response_format validation_retries background context_management conversation include instructions "
    "max_output_tokens max_tool_calls metadata moderation parallel_tool_calls previous_response_id prompt prompt_cache_key "
    "prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store stream_options temperature text "
    "text_format tool_choice tools top_logprobs top_p truncation user "
)
_OPTIONS = (
    "timeout max_retries max_retry_after num_retries base_url api_base api_key api_version extra_headers headers extra_query "
    "extra_body additional_params drop_params allow_http"
)
_KEYWORDS = {
    "completion": _CHAT.format("stream ", "tools "),
    "embedding": "output dimensions encoding_format user ",
    "responses": _RESPONSES,
    "rerank": "top_n return_documents ",
    "speech": "stream response_format speed instructions ",
    "run_tools": _CHAT.format("", ""),
}


def _describe(name: str, keywords: tuple[str, ...]) -> None:
    """Gives a method a signature with the keywords."""
    method: Any = vars(Client)[name]
    code = method.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    names = (*code.co_varnames[:count], *keywords, code.co_varnames[count])
    # What it does is of no matter: it is never called.
    code = code.replace(
        co_kwonlyargcount=code.co_kwonlyargcount + len(keywords), co_nlocals=len(names), co_varnames=names
    )
    make: Any = type(_describe)
    described = make(code, globals(), name, method.__defaults__)
    described.__kwdefaults__ = {**dict.fromkeys(keywords), **(method.__kwdefaults__ or {})}
    described.__annotations__ = method.__annotations__
    method.__wrapped__ = described


for _name, _names in _KEYWORDS.items():
    _keywords = tuple((_names + _OPTIONS).split())
    _describe(_name, _keywords)
    _describe(f"a{_name}", _keywords)
del _name, _names, _keywords


# The file that the environment names is read by the first call.
_settings: Any = {"_file": "RITELLM_CONFIG"} if "RITELLM_CONFIG" in os.environ else {}
_default = _DefaultClient(**_settings)
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
run_tools = _default.run_tools
arun_tools = _default.arun_tools
metrics = _default.metrics
on_call = _default.on_call
close = _default.close
aclose = _default.aclose


def configure(path: str | os.PathLike[str] | None = None, /, **settings: Any) -> None:
    """Configures the package's functions: they are the methods of one client, which gets these settings.

    >>> import ritellm
    >>> ritellm.configure(timeout=60, aliases={"fast": "openai/gpt-4o-mini"}, defaults={"temperature": 0})

    Settings that are not named stay as they are. Calls in flight go on with those that they began with. If the environment has
    ``RITELLM_CONFIG``, the path of a file, the first call is made with its settings, unless `configure` was called before.

    Args:
        path: a file with settings, as `Client.from_file` reads it.
        **settings: the arguments of `Client`; they replace those of the file. ``None`` is the default.

    Raises:
        InvalidArgumentError: a file that cannot be read, or a setting that cannot be used; nothing is changed.
    """
    if path is not None:
        from ritellm import _files

        settings = {**_files.client_settings("path", path), **settings}
    try:
        _default.reconfigure(settings, True)
    finally:
        # Local variables are shown in tracebacks.
        del settings


def _configure_from(variable: str) -> None:
    """Configures the package's functions from the file that a variable of the environment names."""
    from ritellm import _files

    path = os.environ.get(variable)
    _default.reconfigure(_files.client_settings(variable, path) if path else {}, True)


def stats() -> dict[str, Any]:
    """Returns the statistics of the package's functions in this process.

    Returns:
        A dict with the totals ``calls``, ``in_flight``, ``retries``, ``connections_open``, ``connections_idle``,
        ``bytes_sent`` and ``bytes_received``, and with the same figures for each provider under ``by_provider``. Clients
        that you created are not included: call their own method `stats`.
    """
    counts: Any = _default.stats()
    return counts  # type: ignore[no-any-return]


def stream_chunk_builder(chunks: Iterable[Mapping[str, Any]], messages: object = None, **_: Any) -> ChatCompletion:
    """Combines the chunks of a stream into a completion, with the message that the call without ``stream=True`` returns.

    >>> from ritellm import stream_chunk_builder
    >>> chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("Hel", "lo")]
    >>> stream_chunk_builder(chunks).choices[0].message.content
    'Hello'

    Args:
        chunks: the chunks in their order, as a `Stream` yields them: dicts in OpenAI's format.
        messages: accepted for compatibility with LiteLLM, and ignored.

    Raises:
        InvalidArgumentError: a chunk is not a dict of JSON values.
    """
    built: ChatCompletion = _core.accumulate(chunks)
    return built
