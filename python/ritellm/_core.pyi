"""Type stubs of the native extension module, in the order of the files under src/python/."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import Context
from os import PathLike
from types import GenericAlias
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypedDict, final, type_check_only

from typing_extensions import Self, TypeVar, disjoint_base

from ritellm.types import ChatCompletion, ChatCompletionChunk

__all__ = [
    "Arguments",
    "Bridge",
    "Budget",
    "BulkBatches",
    "BulkJob",
    "BulkResults",
    "Cache",
    "CallRecord",
    "ChunkIterator",
    "Client",
    "HookCall",
    "HookHandle",
    "HookList",
    "Limit",
    "Limits",
    "Meta",
    "MockServer",
    "Object",
    "Relay",
    "ResponseFormat",
    "RowQueue",
    "Stream",
    "__version__",
    "accumulate",
    "act_as_dict",
    "adopt",
    "conceal",
    "credentials_in",
    "deliver_hooks",
    "enter_detour",
    "enter_offline",
    "flush_hooks",
    "from_json",
    "global_hooks",
    "host_quotas",
    "leave_detour",
    "providers",
    "redact",
    "rename_offline",
    "run_hooks",
    "to_json",
    "toml_to_json",
]

# mod.rs

__version__: str

@type_check_only
class _HttpxTimeout(Protocol):
    connect: float | None
    read: float | None
    write: float | None
    pool: float | None

@type_check_only
class _Provider(TypedDict):
    name: str
    telemetry_name: str
    docs: str
    base_url: str | None
    key_variables: list[str]
    base_url_variables: list[str]
    operations: list[str]
    key: Literal["required", "optional"]

@type_check_only
class _Totals(TypedDict):
    calls: int
    in_flight: int
    waiting: int
    retries: int
    connections_open: int
    connections_idle: int
    bytes_sent: int
    bytes_received: int

@type_check_only
class _HookCounts(TypedDict):
    dropped: int
    failed: int

@type_check_only
class _Stats(_Totals):
    by_provider: dict[str, _Totals]
    hooks: _HookCounts

@type_check_only
class _Window(TypedDict):
    unit: Literal["requests", "tokens", "input_tokens", "output_tokens"]
    per: float
    limit: int
    used: int
    used_by_others: int

@type_check_only
class _Quota(TypedDict):
    windows: list[_Window]
    in_flight: int
    max_in_flight: int | None
    reserved_tokens: int
    waiting: int
    waiting_bulk: int
    paused_for: float | None
    paused_by: str | None
    stopped_by: str | None
    probe_in: float | None
    burst: float | None
    learnt_rate: float | None
    learnt_token_rate: float | None
    learnt_in_flight: int | None
    tokens_per_byte: float
    output_tokens: float

def providers() -> list[_Provider]:
    """Returns one dict per provider: name, documentation URL, base URL, environment variables and operations."""

def host_quotas(name: str, /) -> dict[str, Any]:
    """Returns the quotas that the processes of this machine share under a name, by the beginning of their hash.

    Returns:
        ``processes``, their number without this one, and ``quotas``, a dict of dicts as `Client.limits` has them, without what
        only one process knows.
    """

def accumulate(chunks: Iterable[Mapping[str, Any]]) -> ChatCompletion:
    """Combines the chunks of a stream, as dicts, into a chat completion."""

def adopt(object: Object, source: object) -> None:
    """Gives every dict nested in `object` the class that it has in a response.

    `object` also gets the attributes of `source` that are not keys, such as `meta`.
    """

def act_as_dict(class_: type[Object], /) -> None:
    """Replaces the slots of a response class for reading and freeing by those of dict; called before it has instances."""

def to_json(value: object) -> bytes:
    """Encodes a value as JSON in UTF-8."""

def toml_to_json(text: str, /) -> str: ...
def from_json(json: bytes) -> Any:
    """Decodes a JSON text; objects become instances of `Object`. Raises `ValueError` with the position of an error."""

# client.rs

@type_check_only
class _Initialised:
    """A base of its own, so that type checkers take the arguments of a new client from `Client.__new__`."""

    def __init__(self, *args: Any, **settings: Any) -> None: ...

@disjoint_base
class Client(_Initialised):
    """Settings and a connection pool. The package's ``Client`` adds the public methods."""

    def __new__(
        cls,
        *,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        base_url: str | None = None,
        api_version: str | None = None,
        azure_ad_token_provider: Callable[[], str | Awaitable[str]] | None = None,
        timeout: float | Mapping[str, float | None] | _HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        headers: Mapping[str, str | bytes | float | None] | None = None,
        request_headers: Callable[[dict[str, Any]], Any] | None = None,
        on_call: Callable[[CallRecord], object] | Sequence[Callable[[CallRecord], object]] | None = None,
        tags: Mapping[str, str | float] | None = None,
        drop_params: bool | None = None,
        unknown_params: Literal["send", "error"] | None = None,
        http2: bool | None = None,
        allow_http: bool | None = None,
        ca_bundle: str | PathLike[str] | None = None,
        client_cert: str | PathLike[str] | tuple[str | PathLike[str], str | PathLike[str]] | None = None,
        verify: bool | None = None,
        proxy: str | None = None,
        max_connections: int | None = None,
        max_in_flight: int | None = None,
        limits: Limits | str | Mapping[str, _Limit] | None = None,
        priority: Literal["interactive", "bulk"] | None = None,
        max_header_size: int | None = None,
        max_body_size: int | None = None,
        max_event_size: int | None = None,
        max_stream_size: int | None = None,
        max_values: int | None = None,
        max_nesting: int | None = None,
        catalog: str
        | PathLike[str]
        | Mapping[str, Any]
        | Sequence[str | PathLike[str] | Mapping[str, Any]]
        | None = None,
        cache: Cache | bool | Mapping[str, float | None] | None = None,
        ttl: float | None = None,
        budget: Budget | Literal[False] | None = None,
        providers: Mapping[str, Mapping[str, Any]] | None = None,
        aliases: Mapping[str, str] | None = None,
        defaults: Mapping[str, Any] | None = None,
        cassette: Any = None,
    ) -> Self: ...
    def with_options(
        self,
        *,
        timeout: float | Mapping[str, float | None] | _HttpxTimeout | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        drop_params: bool | None = None,
        unknown_params: Literal["send", "error"] | None = None,
        headers: Mapping[str, str | bytes | float | None] | None = None,
        priority: Literal["interactive", "bulk"] | None = None,
        cache: Cache | bool | Mapping[str, float | None] | None = None,
        ttl: float | None = None,
        tags: Mapping[str, str | float | None] | None = None,
        budget: Budget | Literal[False] | None = None,
    ) -> Self:
        """Returns a client with other options for its calls.

        It shares everything else with this one: connections, limits, statistics, and of a router the deployments. Closing one
        closes both. An option that is left out stays as it is.

        >>> from ritellm import Client
        >>> client = Client(limits={"openai": {"rpm": 5_000}})
        >>> bulk = client.with_options(priority="bulk", timeout={"queue": 3600})

        Args:
            timeout: seconds for a whole call, or a mapping, as for `Client`; limits that a mapping leaves out stay.
            max_retries: maximum number of retries after a transient failure.
            max_retry_after: the longest pause in seconds that is accepted from a provider's ``Retry-After``.
            drop_params: leave out parameters that the provider lacks.
            unknown_params: ``"error"`` refuses parameters that no provider documents; ``"send"`` sends them.
            headers: header fields that are added to those of the client, or replace them.
            priority: ``"interactive"`` or ``"bulk"``: bulk calls let the others of their quota go first.
            cache: a `Cache`, or ``False`` for calls that are neither looked up nor kept.
            ttl: seconds for which answers are kept, and maximum age of those that are taken.
            tags: a dict of labels for the records of the calls, added to those of the client; see `on_call`.
            budget: what the calls may cost, a `Budget`; ``False`` for calls without.

        Raises:
            InvalidArgumentError: an option that cannot be used, or that only a new client can have.
        """

    def __repr__(self) -> str: ...
    def reconfigure(self, settings: dict[str, Any], keep: bool) -> None: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: Any, /) -> Self: ...
    def start(
        self,
        operation: str,
        model: str,
        input: Any,
        arguments: Arguments,
    ) -> Awaitable[Any]:
        """Starts a call; the awaitable belongs to the running event loop and returns the response or the stream."""

    def call(
        self,
        operation: str,
        model: str,
        input: Any,
        arguments: dict[str, Any],
    ) -> Any:
        """Makes a call and waits for the response or the stream without holding the GIL."""

    def start_close(self, timeout: float | None, reopen: bool) -> Awaitable[None]:
        """Starts to close the client; the awaitable belongs to the running event loop and ends when it is closed."""

    def call_close(self, timeout: float | None, reopen: bool) -> None:
        """Closes the client and waits without holding the GIL. With ``reopen``, the next call opens new connections."""

    @property
    def _hooks(self) -> HookList: ...
    @property
    def has_catalog(self) -> bool:
        """True if the client has prices."""

    def price(
        self, model: str, usage: bytes | None, in_classes: bool, service: str | None, seconds: float
    ) -> float | None: ...
    @property
    def is_closed(self) -> bool:
        """True if the client was closed."""

    def require_open(self) -> None:
        """Raises the error that a call would raise if the client was closed."""

    def limits(self) -> dict[str, _Quota]:
        """Returns the state of each quota that the client's calls have used, by its name.

        Returns:
            A dict of dicts: ``windows`` (a list of dicts with ``unit``, ``per``, ``limit``, ``used`` and ``used_by_others``),
            ``in_flight``, ``max_in_flight``, ``reserved_tokens``, ``waiting``, ``waiting_bulk``, ``paused_for`` and ``paused_by``,
            ``stopped_by`` and ``probe_in``, ``burst``, ``learnt_rate``, ``learnt_token_rate``, ``learnt_in_flight``,
            ``tokens_per_byte`` and ``output_tokens``. Times are in seconds from now, rates a second; what does not apply is
            ``None``. docs/limits.md explains each. No key is in it.
        """

    def enable(self, name: str) -> bool:
        """Ends the pauses and stops of quotas: for when you have changed a limit, paid, or granted access.

        Args:
            name: the beginning of the quotas' names in `limits`; of a router, also the name of a deployment, which then gets calls
                again, whatever it failed with.

        Returns:
            False if no quota that the client has used is called so.

        Raises:
            InvalidArgumentError: of a router, if no deployment is called so, either.
        """

    def batch_deployment(self, group: str | None) -> tuple[Any, dict[str, Any]] | None:
        """Returns the deployment of a router's group to which a job's batches go, as it was given, and the settings of a client
        without the router; None if this is none."""

    def router_status(self) -> dict[str, dict[str, Any]]:
        """Returns the state of each deployment of a router, by its name."""

    def stats(self) -> _Stats:
        """Returns counts of calls, retries, connections and bytes, in total and by provider."""

# budget.rs

@final
class Budget:
    """What calls may cost. A call that would exceed it raises `BudgetExceededError` and is not sent.

    >>> from ritellm import Budget, Client
    >>> prices = {"openai/gpt-4o*": {"input": 2.5, "cached": 1.25, "output": 10}}
    >>> client = Client(catalog=prices, budget=Budget(10.0, per="day", key="team-a"))

    Before a call, an estimate of its cost is set aside: its prompt by its length, its answer by ``max_tokens``, or 500 tokens.
    What it did cost takes the place of that, so that calls in flight exceed a budget by the error of their estimates at most. The
    prices are those of the client's ``catalog``; without one, those of the package genai-prices. See docs/cost.md.

    Args:
        amount: US dollars, above 0, up to a million.
        per: ``"minute"``, ``"hour"``, ``"day"``, ``"week"`` (from Monday), ``"month"``, all by the calendar of UTC, or a number of
            seconds; ``None`` (the default) for as long as the counter lives.
        key: name of the budget: all clients with the same key and period share it.
        unknown: what to do with a model whose price is not known: ``"error"``, or ``"allow"``, which counts nothing.
        share: ``None`` for this process only, ``"host:name"`` for all processes of this user on this machine that use the same
            name (until it is restarted), or the address of a Redis for processes on any machine.
        namespace: prefix of the keys in the Redis.
        when_down: what to do while the Redis cannot be reached: ``"error"``, or ``"allow"``, which counts nothing.

    Raises:
        InvalidArgumentError: a value that cannot be used.
    """

    def __new__(
        cls,
        amount: float,
        per: Literal["minute", "hour", "day", "week", "month"] | float | None = None,
        key: str = "default",
        *,
        unknown: Literal["error", "allow"] = "error",
        share: str | None = None,
        namespace: str = "default",
        when_down: Literal["error", "allow"] = "error",
    ) -> Self: ...
    def spent(self) -> float | None:
        """Returns what was spent or set aside in this period, in US dollars; ``None`` if the budget is in a Redis."""

    def __getnewargs_ex__(self) -> tuple[tuple[float], dict[str, Any]]: ...
    def __eq__(self, other: object, /) -> bool: ...

# cache.rs

@final
class Cache:
    """Keeps answers, so that what is asked again is neither sent nor paid again.

    >>> from ritellm import Cache, Client
    >>> client = Client(cache=Cache.memory(max_bytes=256 << 20, ttl=3600))

    One cache can be given to any number of clients and routers. Who asks the same while a call is under way waits for that call.
    Callers with different credentials do not get each other's answers, unless ``scope`` is ``"shared"``. See docs/cache.md.
    """

    @staticmethod
    def memory(
        *,
        max_bytes: int = 67108864,
        ttl: float | None = 86400,
        scope: Literal["account", "shared"] = "account",
    ) -> Cache:
        """Returns a cache in the memory of this process. A forked child begins with an empty one.

        Args:
            max_bytes: maximum size of all answers; 64 MiB by default. What was not used for longest goes first.
            ttl: seconds for which an answer is kept, a day by default; ``None`` for as long as there is room.
            scope: ``"account"``: callers with the same credentials get each other's answers; ``"shared"``: all who use this cache.

        Raises:
            InvalidArgumentError: a value that cannot be used.
        """

    @staticmethod
    def disk(
        path: str | PathLike[str],
        *,
        max_bytes: int = 1073741824,
        ttl: float | None = 86400,
        scope: Literal["account", "shared"] = "account",
    ) -> Cache:
        """Returns a cache in a folder, which any number of processes of this machine use at once. It survives them.

        Only this user can read the files. Each is checked when it is read: one that is damaged is as good as none.

        Args:
            path: the folder; it is made if it is missing.
            max_bytes: maximum size of all files, 1 GiB by default. What was not used for longest goes first.
            ttl: seconds for which an answer is kept, a day by default; ``None`` for as long as there is room.
            scope: ``"account"``: callers with the same credentials get each other's answers; ``"shared"``: all who use this cache.

        Raises:
            InvalidArgumentError: a value that cannot be used, or a folder that cannot be written.
        """

    @staticmethod
    def redis(
        url: str,
        *,
        ttl: float | None = 86400,
        scope: Literal["account", "shared"] = "account",
        namespace: str = "default",
    ) -> Cache:
        """Returns a cache in a Redis. While that does not answer, calls are made as without a cache.

        Args:
            url: address of the Redis, such as ``"redis://:password@host:6379/0"``, as for `Limits`.
            ttl: seconds for which an answer is kept, a day by default; ``None`` for as long as there is room there.
            scope: ``"account"``: callers with the same credentials get each other's answers; ``"shared"``: all who use this cache.
            namespace: caches with different ones share nothing.

        Raises:
            InvalidArgumentError: a value that cannot be used.
        """

    def stats(self) -> dict[str, int | None]:
        """Returns the numbers of this process: ``hits`` (answers given out), ``misses`` (calls made), ``joined`` (calls that waited for
        the same one under way), and ``entries`` and ``bytes``, which are ``None`` of a Redis.
        """

    def clear(self) -> None:
        """Removes all answers from the memory or the folder.

        Raises:
            InvalidArgumentError: the cache is in a Redis, where answers end with their ``ttl``; use another ``namespace``.
        """

    def __copy__(self) -> Cache: ...
    def __deepcopy__(self, memo: Any, /) -> Cache: ...

# limits.rs

@final
class Limit:
    """Limit of a quota: requests and tokens in a window of time, requests in flight.

    >>> from ritellm import Limit
    >>> Limit(requests=6, per=1)
    Limit(requests=6, per=1)

    A limit holds in any window of ``per`` seconds, not only in those that a clock's minute begins.

    Args:
        requests: maximum number of requests in a window.
        tokens: maximum number of tokens in a window, input and output together.
        input_tokens: maximum number of input tokens in a window.
        output_tokens: maximum number of output tokens in a window.
        per: length of the window in seconds, 60 by default.
        max_in_flight: maximum number of requests in flight.
        burst: the part of a window, above 0 and up to 1, that may be used at once after idleness. By default it is learnt: 0.3
            until the provider refuses a request although the limit is kept, 0.02 from then on.

    Raises:
        InvalidArgumentError: a value that cannot be used, or no limit at all.
    """

    def __new__(
        cls,
        *,
        requests: float | None = None,
        tokens: float | None = None,
        input_tokens: float | None = None,
        output_tokens: float | None = None,
        per: float = 60,
        max_in_flight: int | None = None,
        burst: float | None = None,
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...
    def __eq__(self, other: object, /) -> bool: ...

_Limit: TypeAlias = (
    Limit | Mapping[str, float | None] | Literal["adaptive"] | Sequence[Limit | Mapping[str, float | None]]
)

@final
class Limits:
    """Limits that clients keep to, and who shares them.

    >>> from ritellm import Client, Limit, Limits
    >>> client = Client(limits={"openai/gpt-4o-mini": {"rpm": 5_000, "tpm": 2_000_000}, "anthropic": {"max_in_flight": 64}})
    >>> client = Client(limits="adaptive")  # learns them
    >>> client = Client(limits=Limits({"openai": {"rpm": 5_000}, "mistral/*": Limit(requests=6, per=1)}, share="host:prod"))

    Calls beyond a limit wait, in order, for at most the timeout ``queue``. Limits hold in any sliding window. All clients of a
    process that call the same provider, address, key and model share the quota. A forked child has quotas of its own, unless
    they are shared with ``share``.

    Args:
        limits: ``"adaptive"``, or a dict of limits by model: ``"openai"`` declares one quota for all models of the provider,
            ``"openai/*"`` one for each model, ``"openai/gpt-4o"`` one for this model, and ``"openai/gpt-4o*"`` one for each
            model whose name begins so. Where several apply to a call, all of them hold. A limit is a `Limit`, a list of them,
            or a dict with any of ``rpm``, ``tpm`` (requests, tokens a minute), ``itpm``, ``otpm`` (input, output tokens), the
            same with ``s`` or ``d`` for second and day in place of ``m``, ``max_in_flight`` and ``burst``.
        adaptive: learn the limits of all models for which no window is declared, from refusals and header fields.
        share: ``None`` for this process only, ``"host:name"`` for all processes of this user on this machine that use the same
            name, or the address of a Redis (``redis://…``, ``rediss://…``) for processes on any machine.
        namespace: prefix of the keys in the Redis; processes with different ones share nothing.
        when_down: what to do while the Redis cannot be reached: keep to this part of each limit, above 0 and up to 1, in this
            process (0.25 by default), ``"wait"``, or ``"error"``.
        bulk_share: the part of a quota that calls of the priority ``"bulk"`` get at least while others wait; 0.05 by default.

    Raises:
        InvalidArgumentError: a value that cannot be used; the message names it.
    """

    def __new__(
        cls,
        limits: Literal["adaptive"] | Mapping[str, _Limit] | None = None,
        *,
        adaptive: bool = False,
        share: str | None = None,
        namespace: str = "default",
        when_down: float | Literal["wait", "error"] = 0.25,
        bulk_share: float = 0.05,
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...
    def __eq__(self, other: object, /) -> bool: ...

# concealed.rs

@final
class Arguments:
    """Keyword arguments of a call, wrapped so that `repr` and tracebacks do not show them."""

    def set_base_url(self, base_url: str) -> None:
        """Sets the argument `base_url`."""
    def reveal(self) -> dict[str, Any]:
        """Returns the arguments. The caller must delete them from its frame before an error can leave it."""

def conceal(arguments: dict[str, Any], /) -> Arguments:
    """Wraps a call's keyword arguments so that tracebacks do not show them."""

# pickling.rs

def credentials_in(arguments: dict[str, Any]) -> list[str]:
    """Returns the names of a call's arguments that are credentials or hold one, which must not go to another process."""

# stream.rs

# `Stream` without parameters is the stream of a chat call.
_Chunk = TypeVar("_Chunk", covariant=True, default=ChatCompletionChunk)
_Accumulated = TypeVar("_Accumulated", covariant=True, default=ChatCompletion)
_Parsed = TypeVar("_Parsed", covariant=True, default=Any)

@final
class Stream(Generic[_Chunk, _Accumulated, _Parsed]):
    """A streamed response: iterate over it with `for` or `async for`.

    The first type parameter is the type of the items, the second that of `completion`, and the third that of `parsed`. A chat
    call returns a ``Stream[ChatCompletionChunk, ChatCompletion]``, or with a class ``T`` as its ``response_format`` a
    ``ParsedStream[T]``; the Responses API a ``Stream[ResponseEvent, Response]``.
    """

    @staticmethod
    def from_chunks(
        chunks: Iterable[Mapping[str, Any] | str | bytes],
        *,
        meta: Meta | None = None,
        response_format: Any = None,
        error: BaseException | None = None,
    ) -> Stream[Any, Any, Any]:
        """Makes a stream of chunks at hand, for tests and for answers that are kept: nothing is sent.

        >>> from ritellm import Stream
        >>> stream = Stream.from_chunks(["Hel", "lo"])
        >>> [chunk.choices[0].delta.content for chunk in stream], stream.completion.choices[0].message.content
        (['Hel', 'lo', None], 'Hello')

        It can be read with ``for`` and with ``async for``.

        Args:
            chunks: the chunks in their order: dicts in OpenAI's format (of the Responses API: its events), or texts, each of
                which becomes a chunk; after the last one comes a chunk with the finish reason ``"stop"``. Of audio, bytes.
            meta: the metadata; ``Meta()`` by default.
            response_format: a type or a JSON schema that `parsed` is a value of.
            error: an exception that is raised after the last chunk.

        Raises:
            InvalidArgumentError: something that cannot be a chunk.
        """

    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    def __iter__(self) -> ChunkIterator[_Chunk]: ...
    def __next__(self) -> _Chunk: ...
    def __aiter__(self) -> ChunkIterator[_Chunk]: ...
    def __anext__(self) -> Awaitable[_Chunk]: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    def __aenter__(self) -> Awaitable[Self]: ...
    def __aexit__(self, *_exception: object) -> Awaitable[None]: ...
    def close(self) -> None:
        """Closes the stream; an unfinished request is aborted at once."""

    def aclose(self) -> Awaitable[None]:
        """Closes the stream; an unfinished request is aborted at once."""

    @property
    def completion(self) -> _Accumulated:
        """The response accumulated so far, in the form that the call without ``stream=True`` returns."""

    @property
    def parsed(self) -> _Parsed:
        """The answer, of a call whose ``response_format`` is a type or a JSON schema.

        While it is streamed, this is the JSON value as far as it has arrived (an `Object` for an object, ``None`` before there
        is any), and afterwards the value of the type. Raises `StructuredOutputError` if the whole answer has none.
        """

    def _set_format(self, format: Any) -> None: ...
    @property
    def text(self) -> str:
        """The text accumulated so far: the content of the first choice, or of the response's messages; ``""`` at first."""

    @property
    def meta(self) -> Meta:
        """Metadata of the response, such as its status, headers and request id."""

@final
class ChunkIterator(Iterator[_Chunk], AsyncIterator[_Chunk]):
    """The iterator of a `for` loop over a `Stream`. Leaving the loop drops the iterator, which aborts the request."""

    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> _Chunk: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Awaitable[_Chunk]: ...

# meta.rs

@type_check_only
class _Attempt(Object):
    number: int
    deployment: str | None
    reason: str | None
    provider: str
    model: str
    host: str | None
    status_code: int | None
    request_id: str | None
    outcome: Literal["success", "failed", "skipped", "aborted"]
    error: str | None
    failure: str | None
    message: str | None
    started: float
    latency: float
    waited: float
    pause: float | None

@type_check_only
class _TokenCounts(Object):
    input: int
    cached_read: int
    cache_write: int
    cache_write_hour: int
    audio_input: int
    image_input: int
    output: int
    reasoning: int
    audio_output: int

@final
class Meta:
    """Metadata of a response.

    >>> from ritellm import ChatCompletion, Meta
    >>> response = ChatCompletion(choices=[], meta=Meta(provider="openai", request_id="req_1"))
    >>> response.meta.request_id, response.meta.status_code
    ('req_1', 200)
    """

    def __new__(
        cls,
        state: dict[str, Any] | None = None,
        /,
        *,
        provider: str = "",
        model: str = "",
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        request_id: str | None = None,
        retries: int = 0,
        latency: float = 0.0,
        dropped_params: Sequence[str] = (),
        cached: bool = False,
        attempts: Sequence[Mapping[str, Any]] | None = None,
        usage: Mapping[str, int] | None = None,
        cost: float | None = None,
        total: float | None = None,
        waited: float | None = None,
        first_chunk: float | None = None,
        chunks: int = 0,
        structured_output: str | None = None,
        validation_retries: int = 0,
    ) -> Self: ...
    def to_dict(self) -> dict[str, Any]:
        """Returns the metadata as JSON has it; ``Meta(**meta.to_dict())`` makes it again."""

    @property
    def provider(self) -> str:
        """The provider's name."""

    @property
    def model(self) -> str:
        """The provider's own name of the model."""

    @property
    def status_code(self) -> int:
        """HTTP status."""

    @property
    def request_id(self) -> str | None:
        """The provider's id of the request, or `None`."""

    @property
    def headers(self) -> dict[str, str]:
        """The response's HTTP headers, with names in lower case; values of a repeated name are joined by commas."""

    @property
    def retries(self) -> int:
        """The number of retries."""

    @property
    def latency(self) -> float:
        """Seconds from the call to the end of the response, or to the start of a stream."""

    @property
    def dropped_params(self) -> list[str]:
        """Parameters that were left out because the provider lacks them."""

    @property
    def cached(self) -> bool:
        """True if the answer was kept from an earlier call, or is that of another call: nothing was sent, and nothing used."""
    @property
    def attempts(self) -> list[_Attempt]:
        """The attempts of the call, in the order in which they began; each is a dict whose keys are attributes too.

        - ``number``: from 1.
        - ``deployment``: the name of the deployment, or `None` without a router.
        - ``provider``, ``model``, ``host``: where the request went; ``host`` is `None` if the first attempt succeeded.
        - ``outcome``: ``"success"``, ``"failed"``, ``"skipped"`` or ``"aborted"``.
        - ``status_code``, ``request_id``: of the response, or `None`.
        - ``error``, ``message``: the name of the exception class and the message of a failure, or `None`.
        - ``failure``: what the failure means for the deployment (``"rate"``, ``"overload"`` …), or `None`.
        - ``started``, ``latency``, ``waited``: seconds from the call to the start of the attempt, from there to the response
          or the failure, and those spent waiting for admission, which ``latency`` does not count.
        - ``pause``: seconds before the next attempt, or `None`.

        Of a call with more than 64 attempts, the first and last 32 are listed.
        """

    @property
    def total(self) -> float:
        """Seconds from the call to the end of the response.

        Of a stream, until its end is recorded, those to its start: streams of clients with a hook or a catalog are recorded.
        """

    @property
    def waited(self) -> float:
        """Seconds of it that the call waited for limits, ``max_in_flight`` or a connection."""

    @property
    def first_chunk(self) -> float | None:
        """Seconds from the call to the first chunk of a stream; `None` of one that is not recorded."""

    @property
    def chunks(self) -> int:
        """The number of chunks of a stream; 0 of one that is not recorded."""

    @property
    def between_chunks(self) -> float | None:
        """Seconds between two chunks on average; `None` of a stream that is not over, or not recorded."""

    @property
    def structured_output(self) -> str | None:
        """How the model was asked for the type or the schema that ``response_format`` is, or `None` if it is neither.

        ``"json_schema"``, ``"tool"`` (a tool whose parameters are the schema), ``"json_object"`` (JSON mode, with the schema in
        the prompt) or ``"prompt"`` (the schema in the prompt).
        """

    @property
    def validation_retries(self) -> int:
        """The number of times that the model was asked again because its answer did not fit the schema."""

    def _after(self, earlier: Meta) -> Meta: ...
    def _redact(self, text: str) -> str: ...
    @property
    def usage(self) -> _TokenCounts | None:
        """Numbers of tokens by class, each token in one class; `None` if the client has no catalog, or there are none.

        ``input``, ``cached_read``, ``cache_write``, ``cache_write_hour``, ``audio_input``, ``image_input``, ``output``,
        ``reasoning`` and ``audio_output``.
        """

    @property
    def cost(self) -> float | None:
        """US dollars; `None` if the client has no catalog, or it lacks a price that the call needs."""

# hooks/

@final
class HookList:
    """The hooks of a client."""

    def add(
        self, function: Callable[..., object], content: bool, begin: Callable[..., Any] | None = None
    ) -> HookHandle: ...

@final
class HookHandle:
    """Handle of a function that `on_call` added. As a context manager it removes the function at the end of the block."""

    def remove(self) -> None:
        """Removes the function: it is not called any more, not even for calls in flight. To remove it twice does nothing."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...

@final
class HookCall:
    """Call of a hook that is a coroutine function."""

    def failed(self, error: BaseException) -> None: ...
    def dropped(self) -> None: ...

def global_hooks() -> HookList: ...
def run_hooks() -> None: ...
def deliver_hooks(seconds: float) -> int: ...
def flush_hooks(seconds: float) -> bool: ...

@final
class CallRecord:
    """What a function that `on_call` added gets of a call that has ended.

    Members are made when they are read. A record that is kept without content does not keep the prompt and the answer.
    """

    @property
    def operation(self) -> str:
        """``"chat"``, ``"responses"``, ``"embedding"``, ``"rerank"``, ``"speech"``, ``"file_create"`` …"""

    @property
    def model(self) -> str:
        """The model as the caller named it: the group of a router, the provider for an operation without a model."""

    @property
    def stream(self) -> bool:
        """True if a stream was asked for."""

    @property
    def outcome(self) -> Literal["success", "failed", "aborted", "left"]:
        """``"aborted"``: given up by its caller before there was an answer; ``"left"``: a stream that was left before its end."""

    @property
    def provider(self) -> str | None:
        """The provider that was asked last; `None` if a router has not chosen one."""

    @property
    def provider_model(self) -> str | None:
        """The model as this provider knows it."""

    @property
    def response_model(self) -> str | None:
        """The model that answered, as the answer says."""

    @property
    def response_id(self) -> str | None:
        """The provider's id for the answer."""

    @property
    def deployment(self) -> str | None:
        """The deployment that a router asked last."""

    @property
    def host(self) -> str | None:
        """Host and port that were asked last."""

    @property
    def status_code(self) -> int | None:
        """The HTTP status of the last answer."""

    @property
    def request_id(self) -> str | None:
        """The provider's id for the request."""

    @property
    def attempts(self) -> list[_Attempt]:
        """The attempts, as in `Meta.attempts`."""

    @property
    def retries(self) -> int:
        """The number of times that the request was repeated."""

    @property
    def started(self) -> float:
        """The time of the call, in seconds since 1970."""

    @property
    def total(self) -> float:
        """Seconds from the call to its end; 0 for a row of a provider's batch."""

    @property
    def waited(self) -> float:
        """Seconds that the call waited for admission: for its limits, its client's ``max_in_flight`` or a connection."""

    @property
    def first_chunk(self) -> float | None:
        """Seconds from the call to the first chunk of a stream."""

    @property
    def chunks(self) -> int:
        """The number of chunks of a stream that came."""

    @property
    def between_chunks(self) -> float | None:
        """Seconds between two chunks, on average."""

    @property
    def usage(self) -> _TokenCounts | None:
        """Numbers of tokens by class, each token in one class, as in `Meta.usage`."""

    @property
    def usage_is_estimated(self) -> bool:
        """True if the usage is an estimate: of a stream that ended before the provider told it."""

    @property
    def cost(self) -> float | None:
        """US dollars; `None` if the client lacks a price that the call needs."""

    @property
    def cached(self) -> bool:
        """True if the answer came from the client's cache; its usage and cost are 0."""

    @property
    def finish_reasons(self) -> list[str]:
        """Why each choice ended; for a response, why it is incomplete, or its status."""

    @property
    def error(self) -> BaseException | None:
        """The exception that the caller got."""

    @property
    def tags(self) -> dict[str, Any]:
        """The tags of the client."""

    @property
    def dropped_params(self) -> list[str]:
        """Parameters that were left out because the provider lacks them."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the call. Without content only those that say nothing of it: numbers, flags, and a few others."""

    @property
    def input(self) -> Any:
        """What was asked (``messages``, ``input`` …), without keys; `None` unless the function was added with ``content=True``."""

    @property
    def output(self) -> Any:
        """What was answered, as far as it came; `None` unless the function was added with ``content=True``."""

    @property
    def row(self) -> int | None:
        """The number of the row of a job, from 0."""

    @property
    def row_id(self) -> str | None:
        """The row's own id."""

    @property
    def context(self) -> Context:
        """The context of the call, with the contextvars of its caller. Functions run in it."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the members as JSON has a form for them: of the error its class and its message; no ``context``."""

# object.rs

class Object(dict[str, Any]):
    """A dict whose keys can be read and set as attributes.

    If a key has the name of a dict method (`items`, `get`, …), the attribute is the method; `["items"]` is the value.
    """

    def __getattribute__(self, name: str, /) -> Any: ...
    def __setattr__(self, name: str, value: Any, /) -> None: ...
    def __delattr__(self, name: str, /) -> None: ...

# row_queue.rs

@final
class BulkJob:
    """A job: rows, a folder, and a thread while it runs. The package's ``Job`` has the public methods."""

    def __new__(
        cls,
        client: Client,
        rows: list[str] | Callable[[], RowQueue],
        options: dict[str, Any],
        params: dict[str, Any],
    ) -> Self: ...
    def start(self, retry_failed: bool) -> None:
        """Begins a run on a thread of its own."""

    def call_options(self) -> dict[str, Any]:
        """Returns the options of the job's calls, which may hold keys."""

    def wait(self, seconds: float) -> bool:
        """Waits for the end of the run, without the GIL, for ``seconds`` at most. True if it is over."""

    @property
    def is_running(self) -> bool:
        """True while the job runs."""

    def stop(self, now: bool) -> None:
        """Ends the run: when the calls in flight have landed or, with ``now``, at once."""

    def pause(self) -> tuple[str, Exception | None] | None:
        """Returns why the last run has ended although rows are pending: the kind of reason and the exception, or None."""

    def status(self) -> dict[str, Any]:
        """Returns the numbers of the job."""

    def estimate(self, rows: int) -> dict[str, Any]:
        """Returns what the rows will need: see the package's ``Job.estimate``."""

    def results(self, ordered: bool, follow: bool) -> BulkResults:
        """Returns an iterator over the rows that have an outcome. With ``follow`` it waits for further ones while the job runs."""

    def export(self, path: str) -> tuple[int, int, int]:
        """Writes the outcomes as lines in the order of the input. Returns the numbers of rows: done, failed, without one."""

    def counts(self) -> tuple[int, int, float, tuple[int, tuple[str, float] | None] | None]:
        """Returns the numbers of rows with an answer and with an error in the journal, and the sum of their costs; if a process
        runs the job, its number, and what it said last that it waits for, with the time in seconds."""

@final
class BulkBatches:
    """A run of a job through batches. It holds the job's folder until ``close``."""

    def __new__(cls, job: BulkJob, retry_failed: bool) -> Self: ...
    def lock(self) -> None:
        """Takes the lock of the job's folder, and looks through the rows."""

    def open(self, tag: str, known: list[tuple[int, bool]], next: int) -> list[int]:
        """Opens the files of batches. ``known`` are the numbers of the batches whose files are needed, and whether each may be at
        the provider; ``next`` is the number of the next batch; ``tag`` begins the ids of all rows at the provider.

        Returns the numbers of those that are not there and have rows that need no call any more."""

    def stop(self) -> None:
        """Ends the looking through the rows."""

    def cut(self, max_rows: int | None, max_tokens: int | None, max_cost: float | None) -> dict[str, Any] | None:
        """Reads rows until a batch is full, and writes its files. Returns its description, or None if there are no more rows."""

    def land(self, number: int, results: dict[str, Any]) -> dict[str, Any]:
        """Takes the results of a batch. When it returns, all outcomes have landed."""

    def split(self, number: int, max_rows: int | None, max_tokens: int | None) -> list[dict[str, Any]]:
        """Writes the rows of a batch that was not made into the files of smaller ones, and returns their descriptions."""

    @staticmethod
    def failure_class(provider: str, status: int, body: bytes) -> str:
        """Returns the class of a provider's refusal: ``"rate"``, ``"quota_fatal"`` and so on."""

    @staticmethod
    def queue_refusal(provider: str, code: str, message: str) -> tuple[bool, int | None]:
        """Returns what the refusal of a batch says about the tokens that may be enqueued: True if there are too many, and their
        maximum number if it is named."""

    @staticmethod
    def is_unread(provider: str, status: str) -> bool:
        """Returns true if a file in this state is uploaded and cannot be used for a batch yet."""

    def flush(self) -> list[dict[str, Any]]:
        """Ends the batches that are not full, and returns their descriptions."""

    def spent(self) -> float:
        """Returns the cost of all outcomes in the journal, in US dollars."""

    def tell(self, state: str, reason: str | None, in_flight: int, waiting: int) -> None:
        """Shows a state of the job, and why it is so."""

    def close(self, is_used_up: bool) -> None:
        """Ends the run: closes the journal and lets the job go. With ``is_used_up`` some rows were read and are in no batch: if
        they can be read only once, there is nothing that another run could go on with."""

@final
class BulkResults:
    """Iterator over the rows of a job that have an outcome.

    Its items are the row, its number, its id, whether it succeeded, and the answer or the exception of its failure.
    """

    def __iter__(self) -> Self: ...
    def __next__(self) -> tuple[dict[str, Any] | None, int, str | None, bool, Any]: ...

@final
class RowQueue:
    """Queue of a job's rows. One thread puts them in; the job takes them out."""

    def __new__(cls) -> Self: ...
    def wait(self) -> bool:
        """Waits without the GIL until a row is wanted. False if no more are."""

    @property
    def is_wanted(self) -> bool:
        """True if a row is wanted now."""

    @property
    def is_closed(self) -> bool:
        """True if no more rows are wanted."""

    def put(self, row: object, /) -> str | None:
        """Puts a row in. Returns None, or why it has no form in JSON; then it is not in the queue."""

    def put_error(self, message: str, /) -> None:
        """Puts in a row that has an error. ``message`` goes on after the row's number: "holds a set"."""

    def fail(self, exception: BaseException, /) -> None:
        """Ends the rows with an exception, which the job raises again after the rows before it."""

    def end(self) -> None:
        """Ends the rows."""

    def take(self) -> bytes | None:
        """Takes the next row out, for tests: its JSON, or its error raised. None after the last."""

    def close(self) -> None:
        """Says that no more rows are wanted."""

# bridge.rs

@final
class Bridge:
    """Delivers results from the network thread to one event loop."""

# response_format.rs

@final
class ResponseFormat:
    """A JSON schema that answers have to follow. A call takes it as ``response_format``."""

    def __new__(cls, name: str, schema: dict[str, Any]) -> Self: ...
    @property
    def name(self) -> str:
        """The name of the schema."""

    def json(self, text: str) -> str | None:
        """Returns the JSON value in the text of an answer, or `None` if there is none."""

    def violations(self, json: str) -> list[str]:
        """Returns why a JSON text does not fit the schema; an empty list if it fits."""

    def partial(self, text: str) -> Any:
        """Returns the value that the beginning of an answer's text holds, or `None` before there is one."""

def enter_detour(port: int, is_relay: bool, /) -> int: ...
def enter_offline(message: str, allowed: list[str], /) -> int: ...
def rename_offline(key: int, message: str, /) -> None: ...
def leave_detour(key: int, /) -> None: ...

@final
class MockServer:
    def __new__(cls, port: int, keep: int, /) -> Self: ...
    @property
    def port(self) -> int: ...
    def add(
        self,
        matcher: tuple[str | None, str | None, str | None],
        effect: bytes,
        body: bytes,
        times: int | None,
        /,
    ) -> None: ...
    def latency(self, first: float, chunk: float, /) -> None: ...
    def limit(self, tokens: bool, window: str, limit: int, /) -> None: ...
    def reset(self) -> None: ...
    def requests(
        self,
    ) -> list[tuple[str, str, list[tuple[str, str]], bytes, str | None, str | None, float]]: ...
    def count(self) -> int: ...
    def forget(self) -> None: ...
    def close(self) -> None: ...

def redact(text: bytes, secrets: list[str], /) -> bytes: ...

@final
class Relay:
    def __new__(cls, decide: Callable[..., Any], record: Callable[..., Any], /) -> Self: ...
    @property
    def port(self) -> int: ...
    def close(self, patience: float, /) -> bool: ...
