"""The native half of the package: what src/python/ exports, file by file."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from os import PathLike
from types import GenericAlias
from typing import Any, Generic, Literal, TypedDict, final, type_check_only

from typing_extensions import Self, TypeVar, disjoint_base

from ritellm.types import ChatCompletion, ChatCompletionChunk

__all__ = [
    "Arguments",
    "Bridge",
    "ChunkIterator",
    "Client",
    "Meta",
    "Object",
    "Stream",
    "__version__",
    "accumulate",
    "act_as_dict",
    "adopt",
    "conceal",
    "from_json",
    "providers",
    "to_json",
]

# mod.rs

__version__: str

@type_check_only
class _Provider(TypedDict):
    name: str
    docs: str
    base_url: str | None
    key_variables: list[str]
    base_url_variables: list[str]
    operations: list[str]
    key: Literal["required", "optional"]

def providers() -> list[_Provider]:
    """Every provider: its name, where its documentation is, its base URL, and the variables it is told by."""

def accumulate(chunks: Iterable[Mapping[str, Any]]) -> ChatCompletion:
    """The chat completion that these chunks make up: a list of dicts, as a stream gives them."""

def adopt(object: Object, source: object) -> None:
    """Gives every dict below an object the class that it would have in an answer, and the object what `source` has beside
    its keys.
    """

def act_as_dict(class_: type[Object], /) -> None:
    """Lets a class of responses read, and be freed, the way dicts do; before it has instances."""

def to_json(value: object) -> bytes:
    """A value's JSON, as UTF-8."""

def from_json(json: bytes) -> Any:
    """A JSON text's value; objects are of the class `Object`. `ValueError` says where it is no JSON."""

# client.rs

@disjoint_base
class Client:
    """Settings and connections. The package's ``Client`` adds the public methods."""

    def __new__(
        cls,
        *,
        api_key: str | Callable[[], str | Awaitable[str]] | None = None,
        base_url: str | None = None,
        api_version: str | None = None,
        azure_ad_token_provider: Callable[[], str | Awaitable[str]] | None = None,
        timeout: float | Mapping[str, float | None] | None = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        headers: Mapping[str, str | bytes | float | None] | None = None,
        request_headers: Callable[[dict[str, Any]], Any] | None = None,
        drop_params: bool | None = None,
        http2: bool | None = None,
        allow_http: bool | None = None,
        ca_bundle: str | PathLike[str] | None = None,
        client_cert: str | PathLike[str] | tuple[str | PathLike[str], str | PathLike[str]] | None = None,
        verify: bool | None = None,
        proxy: str | None = None,
        max_connections: int | None = None,
        max_in_flight: int | None = None,
        max_header_size: int | None = None,
        max_body_size: int | None = None,
        max_event_size: int | None = None,
        max_stream_size: int | None = None,
        max_values: int | None = None,
        max_nesting: int | None = None,
    ) -> Self: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: Any, /) -> Self: ...
    def start(
        self,
        operation: str,
        model: str,
        input: Any,
        arguments: Arguments,
    ) -> Awaitable[Any]:
        """Starts a call; a task of the running loop awaits the answer or the stream."""

    def call(
        self,
        operation: str,
        model: str,
        input: Any,
        arguments: dict[str, Any],
    ) -> Any:
        """Makes a call and waits for the answer or the stream, without the GIL."""

    def start_close(self, timeout: float | None, reopen: bool) -> Awaitable[None]:
        """Closes the client; a task of the running loop awaits that."""

    def call_close(self, timeout: float | None, reopen: bool) -> None:
        """Closes the client and waits for that, without the GIL. With ``reopen``, the next call opens new connections."""

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""

    def require_open(self) -> None:
        """Raises what a call would, if it was closed."""

    def stats(self) -> dict[str, Any]:
        """What the client has done so far: counts of calls, retries, connections and bytes, in all and by provider."""

# concealed.rs

@final
class Arguments:
    """Keyword arguments of a call, not shown."""

    def needs_base_url(self) -> bool:
        """Whether they do not say which server is to be called."""

    def set_base_url(self, base_url: str) -> None:
        """Says which server is to be called."""
    def reveal(self) -> dict[str, Any]:
        """The arguments themselves, for whoever takes them out of the frame again."""

def conceal(arguments: dict[str, Any], /) -> Arguments:
    """Puts a call's keyword arguments out of sight."""

# stream.rs

# A bare `Stream` is a chat's.
_Chunk = TypeVar("_Chunk", covariant=True, default=ChatCompletionChunk)
_Accumulated = TypeVar("_Accumulated", covariant=True, default=ChatCompletion)

@final
class Stream(Generic[_Chunk, _Accumulated]):
    """A stream of an answer's pieces: iterate over it with `for` or `async for`.

    A chat's is a ``Stream[ChatCompletionChunk, ChatCompletion]``, that of the Responses API a
    ``Stream[ResponseEvent, Response]``: what it gives, and what that adds up to.
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
        """Ends the stream; an unfinished request is aborted at once."""

    def aclose(self) -> Awaitable[None]:
        """Ends the stream; an unfinished request is aborted at once."""

    @property
    def completion(self) -> _Accumulated:
        """The response accumulated so far, as the call without ``stream=True`` would have given it."""

    @property
    def text(self) -> str:
        """The text accumulated so far: the content of the first choice, or of a response's messages. ``""`` before there
        is any."""

    @property
    def meta(self) -> Meta:
        """What is known about the answer beside its chunks."""

@final
class ChunkIterator(Iterator[_Chunk], AsyncIterator[_Chunk]):
    """What a `for` loop holds while it runs. A loop that is left drops it, and with it the request."""

    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> _Chunk: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Awaitable[_Chunk]: ...

# meta.rs

@final
class Meta:
    """What is known about an answer beside its body."""

    def __new__(cls, state: dict[str, Any]) -> Self: ...
    @property
    def provider(self) -> str:
        """The provider's name."""

    @property
    def model(self) -> str:
        """The model's name as the provider knows it."""

    @property
    def status_code(self) -> int:
        """HTTP status."""

    @property
    def request_id(self) -> str | None:
        """The provider's id for the request, if it gave one."""

    @property
    def headers(self) -> dict[str, str]:
        """The answer's HTTP headers, names in lower case; values of a repeated name are joined by commas."""

    @property
    def retries(self) -> int:
        """How many times the request was repeated."""

    @property
    def latency(self) -> float:
        """Seconds from the call to the whole answer, or to the beginning of a stream."""

    @property
    def dropped_params(self) -> list[str]:
        """Parameters that were left out because the provider lacks them."""

# object.rs

class Object(dict[str, Any]):
    """A dict whose keys can be read and set as attributes.

    Where a key has the name of a dict method (`items`, `get`, …) the attribute is the method and `["items"]` the value.
    """

    def __getattribute__(self, name: str, /) -> Any: ...
    def __setattr__(self, name: str, value: Any, /) -> None: ...
    def __delattr__(self, name: str, /) -> None: ...

# bridge.rs

@final
class Bridge:
    """One event loop's bridge."""
