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
    from typing import Any, TypeVar

    from typing_extensions import Self

    from ritellm._structured import ParsedChatCompletion, ParsedResponse

    _T = TypeVar("_T")
else:
    from _collections_abc import Iterable, Mapping

    Any = Self = _T = object
    ParsedChatCompletion = ParsedResponse = dict

__all__ = [
    "Batch",
    "BatchPage",
    "BinaryResponse",
    "ChatCompletion",
    "ChatCompletionChunk",
    "Choice",
    "CompletionTokensDetails",
    "Delta",
    "Embedding",
    "EmbeddingResponse",
    "FileDeleted",
    "FileObject",
    "FilePage",
    "Function",
    "Message",
    "Object",
    "PromptTokensDetails",
    "RerankResponse",
    "RerankResult",
    "Response",
    "ResponseEvent",
    "ResponseItem",
    "ResponseUsage",
    "ToolCall",
    "Usage",
]


def _json_of(name: str, value: Any) -> str:
    """Returns an argument as JSON."""
    try:
        return _core.to_json(value).decode()
    except (TypeError, ValueError) as error:
        from ritellm.exceptions import InvalidArgumentError

        raise InvalidArgumentError(f"{name} cannot be written as JSON: {error}") from None


def _json(value: Any) -> bytes:
    try:
        return _core.to_json(value)
    except ValueError as error:
        # What is nested too deep is left to nobody: since Python 3.12 the encoder of `json` does not watch the thread's stack.
        if "surrogate" not in str(error):
            raise
        import json

        # A host may cut between the halves of a surrogate pair, which JSON can write and UTF-8 cannot.
        try:
            return json.dumps(value, allow_nan=False).encode()
        except (TypeError, ValueError):
            pass
        raise


def _plain(value: Any, drop: Any, as_json: bool) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v, drop, as_json) for k, v in value.items() if not (v is None and drop and drop(value, k))}
    if isinstance(value, list):
        return [_plain(item, drop, as_json) for item in value]
    return value.tolist() if as_json and hasattr(value, "tolist") else value


def _is_default(owner: Any, name: Any) -> bool:
    # The classes have no other defaults than `None`.
    return hasattr(type(owner), name)


def _always(_owner: Any, _name: Any) -> bool:
    return True


class Object(_core.Object):
    """A dict whose keys are also attributes; every JSON object in a response is an instance.

    It is constructed like a dict. ``ChatCompletion(stored)`` restores a response from a dict: every nested dict gets the
    class that it has in a response. ``meta`` is not a key; it is copied if the argument is a response itself, and of classes
    that have it, ``meta=Meta(…)`` sets it.
    """

    __slots__ = ()

    def __init__(self, *args: Mapping[str, Any] | Iterable[tuple[str, Any]], **kwargs: Any) -> None:
        meta = kwargs.pop("meta") if isinstance(kwargs.get("meta"), _core.Meta) else None
        super().__init__(*args, **kwargs)
        _core.adopt(self, args[0] if args else None)
        if meta is not None:
            self.meta = meta

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
            InvalidArgumentError: the text is not valid JSON, and the message gives the position; or the JSON is not an object.
        """
        from ritellm.exceptions import InvalidArgumentError

        wanted = f"the JSON text of a {cls.__name__} would be right"
        if not isinstance(json_data, (str, bytes, bytearray)):
            raise InvalidArgumentError(f"json_data is of type {type(json_data).__name__}: {wanted}")
        text = json_data.encode("utf-8", "surrogatepass") if isinstance(json_data, str) else bytes(json_data)
        try:
            obj = _core.from_json(text)
        except ValueError as error:
            raise InvalidArgumentError(f"json_data is not valid JSON: {error}: {wanted}") from None
        if not isinstance(obj, dict):
            raise InvalidArgumentError(f"json_data is the JSON of a value of type {type(obj).__name__}: {wanted}")
        return cls(obj)

    # Not assignments: mypy takes these for variables, and refuses to read them of the class.
    @classmethod
    def from_dict(cls, obj: Any) -> Self:
        """Makes an instance from a dict; the same as `model_validate`."""
        return cls.model_validate(obj)

    @classmethod
    def from_json(cls, json_data: str | bytes | bytearray) -> Self:
        """Makes an instance from a JSON text; the same as `model_validate_json`."""
        return cls.model_validate_json(json_data)

    def decode(self, json_data: str) -> Self:
        """Makes another instance from a JSON text, so that ``json.loads(text, cls=ChatCompletion)`` does."""
        return type(self).model_validate_json(json_data)

    def copy(self) -> Self:
        """Returns a shallow copy of the same class."""
        from copy import copy

        return copy(self)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Returns a copy of the same class, with the ``meta`` of this object.

        Args:
            update: members that replace those of this object.
            deep: copy what is nested, too.
        """
        if deep:
            from copy import deepcopy

            copied = deepcopy(self)
        else:
            copied = self.copy()
        if update:
            dict.update(copied, update)
            _core.adopt(copied, None)
        return copied

    def model_dump(
        self,
        *,
        mode: str = "python",
        include: Any = None,
        exclude: Any = None,
        exclude_none: bool = False,
        exclude_defaults: bool = False,
        **others: Any,
    ) -> dict[str, Any]:
        """Returns a copy that consists of plain dicts and lists.

        The other keywords of pydantic's method (``by_alias``, ``exclude_unset`` …) are accepted and change nothing.

        >>> ChatCompletion(id="1", model="m", usage={"total_tokens": 3}).model_dump(include={"usage": {"total_tokens"}})
        {'usage': {'total_tokens': 3}}

        Args:
            mode: ``"json"`` turns arrays (of ``output="numpy"``) into lists.
            include: the members to keep: a set of names, or a dict of names to ``True`` or to the same for what is below; in
                a list, indexes or ``"__all__"``.
            exclude: the members to leave out, in the same form.
            exclude_none: leave out keys whose value is ``None``.
            exclude_defaults: leave out keys whose value is ``None`` and reads as ``None`` when it is missing.

        Raises:
            InvalidArgumentError: a keyword that pydantic does not have, or an ``include`` or ``exclude`` of another form.
        """
        if others:
            from ritellm._dumping import check_keywords

            check_keywords("model_dump", others)
        value: Any = self
        if include is not None or exclude is not None:
            from ritellm._dumping import selected

            value = selected(value, include, exclude)
        dumped: dict[str, Any] = _plain(
            value, _always if exclude_none else _is_default if exclude_defaults else None, mode == "json"
        )
        return dumped

    to_dict = model_dump

    def model_dump_json(self, *, indent: int | None = None, **keywords: Any) -> str:
        """Returns the object as JSON.

        Args:
            indent: number of spaces for each level; by default the JSON is one line.
            **keywords: those of `model_dump`.
        """
        ensure_ascii = bool(keywords.pop("ensure_ascii", False))
        plain = self.model_dump(**{**keywords, "mode": "json"})
        if indent is None and not ensure_ascii:
            return _json(plain).decode()
        import json

        return json.dumps(plain, indent=indent, ensure_ascii=ensure_ascii)

    to_json = model_dump_json

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """Returns the schema by which pydantic validates and serialises the class."""
        from ritellm import _pydantic

        return _pydantic.core_schema_of(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: Any, handler: Any) -> Any:
        """Returns the JSON schema that pydantic and FastAPI publish for the class."""
        from ritellm import _pydantic

        return _pydantic.json_schema_of(cls, handler)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({super().__repr__()})"

    def __rich_repr__(self) -> Any:
        """Returns what rich shows: one line for each message."""
        from ritellm import _display

        return _display.rich(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        from ritellm import _display

        _display.pretty(self, printer, cycle)

    def _repr_html_(self) -> str | None:
        from ritellm import _display

        return _display.html(self)


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

    @classmethod
    def make(cls, id: str, name: str, arguments: Any = None) -> Self:
        """Makes a call of a function.

        >>> ToolCall.make("call_1", "weather", {"city": "Oslo"}).arguments.city
        'Oslo'

        Args:
            id: the id of the call.
            name: the name of the function.
            arguments: a dict, or its JSON as a str; no arguments by default.

        Raises:
            InvalidArgumentError: the arguments are neither, or hold a value that JSON cannot say.
        """
        if not isinstance(arguments, str):
            if arguments is not None and not isinstance(arguments, Mapping):
                from ritellm.exceptions import InvalidArgumentError

                raise InvalidArgumentError(
                    f"arguments is of type {type(arguments).__name__}: a dict, or its JSON as a str, would be right"
                )
            arguments = _json_of("arguments", {} if arguments is None else arguments)
        return cls(id=id, type="function", function={"name": name, "arguments": arguments})

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
    """A message: of the model, or made by hand with `user`, `system`, `developer`, `assistant` and `tool`.

    >>> from ritellm import Message
    >>> Message.user("Hi")
    Message({'role': 'user', 'content': 'Hi'})
    """

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

    @classmethod
    def user(cls, content: str | list[Any], **others: Any) -> Self:
        """Makes a message of the user.

        Args:
            content: a text, or a list of content parts.
            **others: other members, such as ``name``.
        """
        return cls(role="user", content=content, **others)

    @classmethod
    def system(cls, content: str | list[Any], **others: Any) -> Self:
        """Makes a system message."""
        return cls(role="system", content=content, **others)

    @classmethod
    def developer(cls, content: str | list[Any], **others: Any) -> Self:
        """Makes a developer message, which is what OpenAI's reasoning models call a system message."""
        return cls(role="developer", content=content, **others)

    @classmethod
    def assistant(cls, content: str | list[Any] | None = None, **others: Any) -> Self:
        """Makes a message of the model; ``tool_calls`` are given as a keyword."""
        return cls(role="assistant", content=content, **others)

    @classmethod
    def tool(cls, content: Any, tool_call_id: str | ToolCall, **others: Any) -> Self:
        """Makes the result of a tool call.

        Args:
            content: a text or a list of content parts; anything else is written as JSON.
            tool_call_id: the id of the call, or the call itself.
        """
        is_parts = isinstance(content, list) and all(isinstance(part, dict) and "type" in part for part in content)
        if not is_parts and not isinstance(content, str):
            content = _json_of("content", content)
        if isinstance(tool_call_id, dict):
            tool_call_id = tool_call_id.id
        return cls(role="tool", tool_call_id=tool_call_id, content=content, **others)


class Delta(Message):
    """The part of a message that one chunk adds."""

    __slots__ = ()


class PromptTokensDetails(Object):
    """What the tokens of a prompt are, as far as the provider says; also ``input_tokens_details``."""

    __slots__ = ()
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None
    text_tokens: int | None = None


class CompletionTokensDetails(Object):
    """What the tokens of an answer are, as far as the provider says; also ``output_tokens_details``."""

    __slots__ = ()
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None
    text_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class Usage(Object):
    """Token counts, as reported by the provider."""

    __slots__ = ()
    prompt_tokens: int = _absent
    completion_tokens: int = _absent
    total_tokens: int = _absent
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None


class ResponseUsage(Object):
    """Token counts of a `Response`, as reported by the provider."""

    __slots__ = ()
    input_tokens: int = _absent
    output_tokens: int = _absent
    total_tokens: int = _absent
    input_tokens_details: PromptTokensDetails | None = None
    output_tokens_details: CompletionTokensDetails | None = None


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

    def parse(self, response_format: type[_T] | Any) -> ParsedChatCompletion[_T]:
        """Reads the answer as a value of a type, as a call with this ``response_format`` does; nothing is sent.

        Args:
            response_format: a type or a JSON schema.

        Returns:
            A `ParsedChatCompletion` with the members and the ``meta`` of this one; ``parsed`` is the value.

        Raises:
            StructuredOutputError: the answer has no value of the type.
        """
        from ritellm import _structured

        parsed: ParsedChatCompletion[_T] = _structured.read(response_format, self)
        return parsed


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
    embedding: list[float] = _absent


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
    def embeddings(self) -> list[list[float]]:
        """All vectors in the order of the inputs: a list, or with ``output="numpy"`` an array of shape (inputs, dimensions)."""
        try:
            vectors: list[list[float]] = self._array
        except AttributeError:
            vectors = [item.embedding for item in self.data]
        return vectors


class ResponseItem(Object):
    """An item of a response's ``output``; ``type`` decides which other keys it has."""

    __slots__ = ()
    type: str = _absent
    id: str | None = None
    status: str | None = None
    role: str | None = None
    content: list[Any] | None = None
    summary: list[Any] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class Response(Object):
    """The response to a Responses API call. ``meta`` is an attribute, not a key."""

    __slots__ = ("meta",)
    meta: _core.Meta
    id: str = _absent
    object: str = _absent
    created_at: float = _absent
    model: str = _absent
    status: str | None = None
    output: list[ResponseItem] = _absent
    usage: ResponseUsage | None = None
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

    def parse(self, response_format: type[_T] | Any) -> ParsedResponse[_T]:
        """Reads the answer as a value of a type; see `ChatCompletion.parse`."""
        from ritellm import _structured

        parsed: ParsedResponse[_T] = _structured.read(response_format, self)
        return parsed


class ResponseEvent(Object):
    """One event of a streamed Responses API call; ``type`` decides which other keys it has."""

    __slots__ = ()
    type: str = _absent
    sequence_number: int | None = None
    response: Response | None = None
    item: ResponseItem | None = None
    item_id: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    delta: str | None = None
    text: str | None = None
    name: str | None = None
    arguments: str | None = None
    part: Any = None


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
    PromptTokensDetails,
    CompletionTokensDetails,
    Usage,
    ResponseUsage,
    Choice,
    ChatCompletion,
    ChatCompletionChunk,
    Embedding,
    EmbeddingResponse,
    ResponseItem,
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
