"""Responses: dicts that also read like the OpenAI SDK's objects.

They hold what the provider sent, nothing taken out: a key that is not described here is there all the same, as
``response["key"]`` and as ``response.key``. A key that OpenAI describes as optional and the provider left out reads as
``None`` by attribute, and is missing as a key.
"""

from __future__ import annotations

from ritellm import _core

# To import `typing` takes longer than all the rest of the package; who asks for the hints at run time gets `object`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from typing_extensions import Self
else:
    from _collections_abc import Iterable, Mapping

    Any = Self = object

__all__ = [
    "Batch",
    "BatchPage",
    "BinaryResponse",
    "ChatCompletion",
    "ChatCompletionChunk",
    "Choice",
    "Delta",
    "Embedding",
    "EmbeddingResponse",
    "FileDeleted",
    "FileObject",
    "FilePage",
    "Function",
    "Message",
    "Object",
    "RerankResponse",
    "RerankResult",
    "Response",
    "ResponseEvent",
    "ToolCall",
    "Usage",
]


def _plain(value: Any, exclude_none: bool) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v, exclude_none) for k, v in value.items() if not (exclude_none and v is None)}
    if isinstance(value, list):
        return [_plain(item, exclude_none) for item in value]
    return value


class Object(_core.Object):
    """A dict whose keys are also attributes; every JSON object of a response is one.

    Made like a dict: ``ChatCompletion(stored)`` is the answer that ``stored`` was, every dict below it of the class that it
    had. What a response has beside its keys (``meta``) comes from another response only.
    """

    __slots__ = ()

    def __init__(self, *args: Mapping[str, Any] | Iterable[tuple[str, Any]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _core.adopt(self, args[0] if args else None)

    @classmethod
    def model_validate(cls, obj: Any, **_: Any) -> Self:
        """The object that a dict, or an object with a method ``model_dump``, stands for; one of this class stays itself.

        Values are taken as they are. The keywords of pydantic's method are taken and have no effect.

        Raises:
            InvalidArgumentError: ``obj`` is nothing of that kind.
        """
        if isinstance(obj, cls):
            return obj
        if not isinstance(obj, Mapping) and hasattr(obj, "model_dump"):
            obj = obj.model_dump()
        if isinstance(obj, Mapping):
            return cls(obj)
        from ritellm.exceptions import InvalidArgumentError

        raise InvalidArgumentError(
            f"obj is of type {type(obj).__name__}: a dict such as {cls.__name__} has would be right"
        )

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **_: Any) -> Self:
        """The object that a JSON text stands for.

        Raises:
            ValueError: it is no JSON; the message says where.
            InvalidArgumentError: it is no JSON object.
        """
        text = json_data.encode("utf-8", "surrogatepass") if isinstance(json_data, str) else bytes(json_data)
        return cls.model_validate(_core.from_json(text))

    from_dict = model_validate
    from_json = model_validate_json

    def model_dump(self, *, exclude_none: bool = False, **_: Any) -> dict[str, Any]:
        """A plain dict of plain dicts and lists; ``exclude_none`` leaves out keys whose value is ``None``.

        The other keywords of pydantic's method are taken and have no effect.
        """
        dumped: dict[str, Any] = _plain(self, exclude_none)
        return dumped

    to_dict = model_dump

    def model_dump_json(self, *, indent: int | None = None, exclude_none: bool = False, **_: Any) -> str:
        """The same as JSON; ``indent`` is the number of spaces for each level."""
        plain = _plain(self, exclude_none)
        if indent is None:
            return _core.to_json(plain).decode()
        import json

        return json.dumps(plain, indent=indent, ensure_ascii=False)

    to_json = model_dump_json

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """What pydantic asks a class that is not its own: how it is read and written."""
        from ritellm import _pydantic

        return _pydantic.core_schema_of(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: Any, _handler: Any) -> Any:
        """The JSON schema that pydantic and FastAPI show for it."""
        from ritellm import _pydantic

        return _pydantic.json_schema_of(cls)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({super().__repr__()})"


# What an attribute reads as when the provider left its key out. Of type `Any`, so that what OpenAI always sends can be
# described as always there; an attribute that need not be there says so by its own type.
_absent: Any = None


class Function(Object):
    """The function of a tool call: ``name``, and ``arguments`` as JSON in a string."""

    __slots__ = ()
    name: str = _absent
    arguments: str = _absent


class ToolCall(Object):
    """One call the model wants made. In a chunk, a piece of one: whatever it has not come with reads as ``None``."""

    __slots__ = ()
    id: str = _absent
    type: str = _absent
    index: int | None = None
    function: Function = _absent


class Message(Object):
    """What the model said."""

    __slots__ = ()
    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    annotations: list[Any] | None = None
    audio: Any = None
    provider_specific_fields: Any = None
    thinking_blocks: list[Any] | None = None


class Delta(Message):
    """What a chunk adds to the message."""

    __slots__ = ()


class Usage(Object):
    """Tokens, as counted by the provider."""

    __slots__ = ()
    prompt_tokens: int = _absent
    completion_tokens: int = _absent
    total_tokens: int = _absent
    prompt_tokens_details: Any = None
    completion_tokens_details: Any = None


class Choice(Object):
    """One answer of a completion (with ``message``) or of a chunk (with ``delta``)."""

    __slots__ = ()
    index: int = _absent
    finish_reason: str | None = None
    logprobs: Any = None
    message: Message = _absent
    delta: Delta = _absent


class ChatCompletion(Object):
    """The answer to a chat call; ``meta`` is not a key but an attribute."""

    __slots__ = ("meta",)
    meta: _core.Meta
    id: str = _absent
    object: str = _absent
    created: int = _absent
    model: str = _absent
    choices: list[Choice] = _absent
    usage: Usage | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    provider_specific_fields: Any = None


class ChatCompletionChunk(Object):
    """One piece of a streamed answer."""

    __slots__ = ()
    id: str = _absent
    object: str = _absent
    created: int = _absent
    model: str = _absent
    choices: list[Choice] = _absent
    usage: Usage | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    provider_specific_fields: Any = None


class Embedding(Object):
    """One input's vector: a list of floats, a row of an array with ``output="numpy"``, or base64 if that was asked for."""

    __slots__ = ()
    object: str = _absent
    index: int = _absent
    embedding: Any = _absent


class EmbeddingResponse(Object):
    """The answer to an embedding call; ``meta`` is not a key but an attribute."""

    __slots__ = ("_array", "meta")
    meta: _core.Meta
    object: str = _absent
    data: list[Embedding] = _absent
    model: str = _absent
    usage: Usage | None = None
    provider_specific_fields: Any = None

    @property
    def embeddings(self) -> Any:
        """All vectors, in the order of the inputs: with ``output="numpy"`` one array of shape (inputs, dimensions)."""
        try:
            return self._array
        except AttributeError:
            return [item.embedding for item in self.data]


class Response(Object):
    """The answer to a Responses call; ``meta`` is not a key but an attribute."""

    __slots__ = ("meta",)
    meta: _core.Meta
    id: str = _absent
    object: str = _absent
    created_at: float = _absent
    model: str = _absent
    status: str | None = None
    output: list[Any] = _absent
    usage: Any = None
    error: Any = None
    incomplete_details: Any = None

    @property
    def output_text(self) -> str:
        """All text of the answer's messages, in one piece."""
        contents = (item.get("content") or () for item in self.get("output") or () if item.get("type") == "message")
        return "".join(part.get("text") or "" for parts in contents for part in parts if part["type"] == "output_text")


class ResponseEvent(Object):
    """One event of a streamed response; ``type`` says what else is in it."""

    __slots__ = ()
    type: str = _absent
    sequence_number: int | None = None
    response: Response | None = None


class RerankResult(Object):
    """One document's place in a ranking; ``document`` is there where it was asked for."""

    __slots__ = ()
    index: int = _absent
    relevance_score: float = _absent
    document: Any = None


class RerankResponse(Object):
    """The answer to a rerank call, the most relevant document first; ``meta`` is not a key but an attribute."""

    __slots__ = ("meta",)
    meta: _core.Meta
    id: str | None = None
    model: str = _absent
    results: list[RerankResult] = _absent
    usage: Any = None


class FileObject(Object):
    """A file that lies with a provider. Times are Unix seconds."""

    __slots__ = ("meta",)
    meta: _core.Meta
    id: str = _absent
    object: str = _absent
    bytes: int | None = None
    created_at: int | None = None
    filename: str | None = None
    purpose: str | None = None
    status: str | None = None
    expires_at: int | None = None


class FileDeleted(Object):
    """That a file was deleted; ``meta`` is not a key but an attribute."""

    __slots__ = ("meta",)
    meta: _core.Meta
    id: str = _absent
    object: str = _absent
    deleted: bool = _absent


class Batch(Object):
    """The state of a batch. Times are Unix seconds."""

    __slots__ = ("meta",)
    meta: _core.Meta
    id: str = _absent
    object: str = _absent
    endpoint: str | None = None
    status: str = _absent
    created_at: int | None = None
    completed_at: int | None = None
    cancelling_at: int | None = None
    expires_at: int | None = None
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    request_counts: Any = None
    errors: Any = None
    metadata: Any = None


class FilePage(Object):
    """One page of files; ``has_more`` says whether another follows ``last_id``."""

    __slots__ = ("meta",)
    meta: _core.Meta
    data: list[FileObject] = _absent
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool | None = None


class BatchPage(Object):
    """One page of batches; ``has_more`` says whether another follows ``last_id``."""

    __slots__ = ("meta",)
    meta: _core.Meta
    data: list[Batch] = _absent
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool | None = None


class BinaryResponse(bytes):
    """An answer that is no JSON, such as audio: bytes, with what is known about the answer as ``meta``."""

    meta: _core.Meta

    @property
    def content(self) -> bytes:
        """The bytes themselves."""
        return bytes(self)

    def read(self) -> bytes:
        """The bytes themselves, as the OpenAI SDK's object gives them."""
        return bytes(self)

    def write_to_file(self, path: Any) -> None:
        """Writes them to a file, which is made anew.

        Args:
            path: a str or path.

        Raises:
            OSError: the file cannot be written.
        """
        with open(path, "wb") as file:
            file.write(self)

    stream_to_file = write_to_file

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} bytes>"


for _class in (
    Object,
    Function,
    ToolCall,
    Message,
    Delta,
    Usage,
    Choice,
    ChatCompletion,
    ChatCompletionChunk,
    Embedding,
    EmbeddingResponse,
    Response,
    ResponseEvent,
    RerankResult,
    RerankResponse,
    FileObject,
    FileDeleted,
    FilePage,
    Batch,
    BatchPage,
):
    _core.act_as_dict(_class)
del _class
