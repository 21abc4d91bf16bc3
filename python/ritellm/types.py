"""The classes of responses: dicts whose keys can also be read as attributes, as with the OpenAI SDK's objects.

Responses contain everything that the provider sent. Keys that are not described here are present too, as
``response["key"]`` and as ``response.key``. If the provider leaves out a key that is described here, the attribute is
``None`` and the key is missing.

>>> from ritellm import ChatCompletion
>>> response = ChatCompletion({"id": "1", "choices": [{"index": 0, "message": {"content": "Hi"}}]})
>>> response["id"], response.choices[0].message.content, response.usage
('1', 'Hi', None)
"""

from __future__ import annotations

from ritellm import _core

# Importing `typing` takes longer than importing the rest of the package. Type hints read at run time are `object`.
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
    """A dict whose keys are also attributes; every JSON object in a response is an instance.

    It is constructed like a dict. ``ChatCompletion(stored)`` restores a response from a dict: every nested dict gets the
    class that it has in a response. ``meta`` is not a key; it is only copied if the argument is a response itself.
    """

    __slots__ = ()

    def __init__(self, *args: Mapping[str, Any] | Iterable[tuple[str, Any]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _core.adopt(self, args[0] if args else None)

    @classmethod
    def model_validate(cls, obj: Any, **_: Any) -> Self:
        """Makes an instance from a dict or from an object with a ``model_dump`` method.

        Values are not validated or converted. The keywords of pydantic's method are accepted and ignored.

        Args:
            obj: a mapping, an object with ``model_dump``, or an instance of this class, which is returned itself.

        Raises:
            InvalidArgumentError: ``obj`` is none of these.
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
        """Makes an instance from a JSON text.

        Args:
            json_data: the text of one JSON object, as str or UTF-8 bytes.

        Raises:
            ValueError: the text is not valid JSON; the message gives the position.
            InvalidArgumentError: the JSON is not an object.
        """
        text = json_data.encode("utf-8", "surrogatepass") if isinstance(json_data, str) else bytes(json_data)
        return cls.model_validate(_core.from_json(text))

    from_dict = model_validate
    from_json = model_validate_json

    def model_dump(self, *, exclude_none: bool = False, **_: Any) -> dict[str, Any]:
        """Returns a copy that consists of plain dicts and lists.

        The other keywords of pydantic's method are accepted and ignored.

        Args:
            exclude_none: leave out keys whose value is ``None``.
        """
        dumped: dict[str, Any] = _plain(self, exclude_none)
        return dumped

    to_dict = model_dump

    def model_dump_json(self, *, indent: int | None = None, exclude_none: bool = False, **_: Any) -> str:
        """Returns the object as JSON.

        Args:
            indent: number of spaces for each level; by default the JSON is one line.
            exclude_none: leave out keys whose value is ``None``.
        """
        plain = _plain(self, exclude_none)
        if indent is None:
            return _core.to_json(plain).decode()
        import json

        return json.dumps(plain, indent=indent, ensure_ascii=False)

    to_json = model_dump_json

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """Returns the schema by which pydantic validates and serialises the class."""
        from ritellm import _pydantic

        return _pydantic.core_schema_of(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: Any, _handler: Any) -> Any:
        """Returns the JSON schema that pydantic and FastAPI publish for the class."""
        from ritellm import _pydantic

        return _pydantic.json_schema_of(cls)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({super().__repr__()})"


# Value of an attribute whose key the provider left out. Its type is `Any`, so that attributes that OpenAI always sends can
# be annotated without `None`; the annotation of an optional attribute includes `None`.
_absent: Any = None


class Function(Object):
    """The function of a tool call: ``name``, and ``arguments`` as JSON in a string."""

    __slots__ = ()
    name: str = _absent
    arguments: str = _absent


class ToolCall(Object):
    """A tool call that the model asks for. In a chunk it is a part of one, and attributes that it lacks are ``None``."""

    __slots__ = ()
    id: str = _absent
    type: str = _absent
    index: int | None = None
    function: Function = _absent

    @property
    def name(self) -> str:
        """The name of the tool."""
        called: Any = self.get("function") or self.get("custom") or {}
        name: str = called.get("name")
        return name

    @property
    def arguments(self) -> Any:
        """The arguments, read from the JSON in ``function.arguments``: an `Object`, whose keys are attributes.

        Raises:
            ValueError: the model wrote no valid JSON.
        """
        text = (self.get("function") or {}).get("arguments") or "{}"
        return _core.from_json(text.encode("utf-8", "surrogatepass"))


class Message(Object):
    """A message from the model."""

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
    """The part of a message that one chunk adds."""

    __slots__ = ()


class Usage(Object):
    """Token counts, as reported by the provider."""

    __slots__ = ()
    prompt_tokens: int = _absent
    completion_tokens: int = _absent
    total_tokens: int = _absent
    prompt_tokens_details: Any = None
    completion_tokens_details: Any = None


class Choice(Object):
    """One choice of a completion (with ``message``) or of a chunk (with ``delta``)."""

    __slots__ = ()
    index: int = _absent
    finish_reason: str | None = None
    logprobs: Any = None
    message: Message = _absent
    delta: Delta = _absent


class ChatCompletion(Object):
    """The response to a chat completion call. ``meta`` is an attribute, not a key."""

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

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The tool calls of the first choice; an empty list if there are none."""
        choices = self.get("choices")
        return (choices[0].message.get("tool_calls") or []) if choices and choices[0].message else []


class ChatCompletionChunk(Object):
    """One chunk of a streamed chat completion."""

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
    """The vector of one input.

    ``embedding`` is a list of floats, a row of a float32 array with ``output="numpy"``, or a base64 string with
    ``encoding_format="base64"``.
    """

    __slots__ = ()
    object: str = _absent
    index: int = _absent
    embedding: Any = _absent


class EmbeddingResponse(Object):
    """The response to an embedding call. ``meta`` is an attribute, not a key."""

    __slots__ = ("_array", "meta")
    meta: _core.Meta
    object: str = _absent
    data: list[Embedding] = _absent
    model: str = _absent
    usage: Usage | None = None
    provider_specific_fields: Any = None

    @property
    def embeddings(self) -> Any:
        """All vectors in the order of the inputs: a list, or with ``output="numpy"`` an array of shape (inputs, dimensions)."""
        try:
            return self._array
        except AttributeError:
            return [item.embedding for item in self.data]


class Response(Object):
    """The response to a Responses API call. ``meta`` is an attribute, not a key."""

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
        """The text of all messages in ``output``, joined; ``""`` if there is none."""
        contents = (item.get("content") or () for item in self.get("output") or () if item.get("type") == "message")
        return "".join(part.get("text") or "" for parts in contents for part in parts if part["type"] == "output_text")

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The function calls in ``output``, as a chat completion has them; an empty list if there are none."""
        items = (item for item in self.get("output") or () if item.get("type") == "function_call")
        return [
            ToolCall(
                id=item.get("call_id"),
                type="function",
                function=Function(name=item.get("name"), arguments=item.get("arguments")),
            )
            for item in items
        ]


class ResponseEvent(Object):
    """One event of a streamed Responses API call; ``type`` decides which other keys it has."""

    __slots__ = ()
    type: str = _absent
    sequence_number: int | None = None
    response: Response | None = None


class RerankResult(Object):
    """The relevance of one document.

    ``index`` is its position in the list that was sent. ``document`` is present with ``return_documents=True``.
    """

    __slots__ = ()
    index: int = _absent
    relevance_score: float = _absent
    document: Any = None


class RerankResponse(Object):
    """The response to a rerank call, the most relevant document first. ``meta`` is an attribute, not a key."""

    __slots__ = ("meta",)
    meta: _core.Meta
    id: str | None = None
    model: str = _absent
    results: list[RerankResult] = _absent
    usage: Any = None


class FileObject(Object):
    """A file that is stored at a provider. Times are Unix seconds."""

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
    """The response to deleting a file. ``meta`` is an attribute, not a key."""

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
    """One page of a list of files; ``has_more`` is true if another page follows ``last_id``."""

    __slots__ = ("meta",)
    meta: _core.Meta
    data: list[FileObject] = _absent
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool | None = None


class BatchPage(Object):
    """One page of a list of batches; ``has_more`` is true if another page follows ``last_id``."""

    __slots__ = ("meta",)
    meta: _core.Meta
    data: list[Batch] = _absent
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool | None = None


class BinaryResponse(bytes):
    """A response body that is not JSON, such as audio: ``bytes`` with an attribute ``meta``."""

    meta: _core.Meta

    @property
    def content(self) -> bytes:
        """The body as plain ``bytes``."""
        return bytes(self)

    def read(self) -> bytes:
        """Returns the body as plain ``bytes``, as the OpenAI SDK's method does."""
        return bytes(self)

    def write_to_file(self, path: Any) -> None:
        """Writes the body to a file; an existing file is replaced.

        Args:
            path: a str or `os.PathLike`.

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
