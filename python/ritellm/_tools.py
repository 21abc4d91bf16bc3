"""Tools: functions that a model may call, with the JSON schemas of their arguments. Imported on first use."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import inspect
import json
import os
import re
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any, Generic

from ritellm import _core
from ritellm._plain import Unplain, builtin
from ritellm._schemas import Violations, parameters_of
from ritellm.exceptions import InvalidArgumentError

if typing.TYPE_CHECKING:
    from typing_extensions import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R", covariant=True)
else:
    P = typing.ParamSpec("P")
    R = typing.TypeVar("R", covariant=True)


class Tool(Generic[P, R]):
    """A function that a model may call. It can still be called as the function.

    >>> from ritellm import Tool
    >>> def weather(city: str, days: int = 1) -> str:
    ...     '''Returns the weather forecast of a city.'''
    ...     return f"sunny in {city}"
    >>> tool = Tool(weather)
    >>> tool.name, tool.description, tool.parameters["required"], tool("Oslo")
    ('weather', 'Returns the weather forecast of a city.', ['city'], 'sunny in Oslo')

    Args:
        function: a function, sync or async, whose parameters can be passed by name.
        name: the name that the model is told; the function's own by default.
        description: what the model is told about it; the docstring by default, without the section that describes the parameters.
        parameters: a JSON schema for the arguments, an object. By default it is made of the function's parameters: their types,
            their defaults and their descriptions, which are texts in ``Annotated[str, "a city"]`` or in the docstring (``Args:``
            as in this one, or ``:param city:``).

    Attributes:
        function: the function.
        name, description, parameters: what the model is told.

    Raises:
        InvalidArgumentError: a function whose parameters cannot be described, or without a name.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        if not callable(function):
            raise InvalidArgumentError(f"function is of type {type(function).__name__}: a function would be right")
        found = name or getattr(function, "__name__", "")
        if not isinstance(found, str) or not found or found == "<lambda>":
            raise InvalidArgumentError(f"the function {function!r} has no name to tell the model: name= would be right")
        self.function = function
        self.name = found
        text, texts = _documentation(function)
        self.description = text if description is None else description
        self._texts = texts
        self._parameters = dict(parameters) if parameters is not None else None
        self._options = {"name": name, "description": description, "parameters": parameters}
        self._json = _core.ResponseFormat("arguments", self._parameters or {"type": "object"})
        functools.update_wrapper(typing.cast(Any, self), function)
        if parameters is None:
            try:
                self._compiled  # noqa: B018
            except InvalidArgumentError as error:
                # A name in an annotation may be defined later; the first use looks again.
                if not isinstance(error.__cause__, NameError):
                    raise

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        return Tool(typing.cast(Any, self.function).__get__(instance, owner), **typing.cast(Any, self._options))

    def __repr__(self) -> str:
        return f"<ritellm.Tool {self.name}>"

    def __reduce__(self) -> Any:
        name = getattr(self.function, "__qualname__", "")
        found: Any = sys.modules.get(getattr(self.function, "__module__", None) or "")
        for step in name.split("."):
            found = getattr(found, step, None)
        # The decorator has put the tool in the place of its function, which has no name of its own then.
        return name if found is self else (_remade, (type(self), self.function, self._options))

    @property
    def parameters(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        return self._parameters if self._parameters is not None else self._compiled[0]

    @property
    def definition(self) -> dict[str, Any]:
        """The tool as OpenAI's format describes it to a model. A call's ``tools`` also takes the `Tool` itself."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        if not self.description:
            del function["description"]
        return {"type": "function", "function": function}

    def model_dump(self, **_: Any) -> dict[str, Any]:
        """Returns `definition`. Calls take objects with this method wherever they take a dict."""
        return self.definition

    @functools.cached_property
    def _compiled(self) -> tuple[dict[str, Any], Callable[[str], dict[str, Any]]]:
        try:
            schema, read = parameters_of(self.function)
        except InvalidArgumentError as error:
            message = str(error).replace("response_format", "its signature")
            raise InvalidArgumentError(f"tool {self.name}: {message}") from error.__cause__
        for name, text in self._texts.items():
            if name in schema["properties"] and "description" not in schema["properties"][name]:
                schema["properties"][name] = {**schema["properties"][name], "description": text}
        return schema, read

    def read(self, arguments: str) -> dict[str, Any]:
        """Returns the arguments of a call as values of the parameters' types.

        Args:
            arguments: the JSON text that the model wrote.

        Raises:
            ValueError: they do not fit the parameters; the message says why.
        """
        found = self._json.json(arguments or "{}")
        if found is None:
            raise Violations(["the arguments are not valid JSON"])
        if self._parameters is None:
            return self._compiled[1](found)
        if reasons := self._json.violations(found):
            raise Violations(reasons)
        read: dict[str, Any] = json.loads(found)
        return read


def _remade(cls: type[Tool[P, R]], function: Callable[P, R], options: dict[str, Any]) -> Tool[P, R]:
    return cls(function, **options)


@typing.overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...
@typing.overload
def tool(
    function: None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
def tool(function: Any = None, /, **options: Any) -> Any:
    """Makes a function a `Tool`; a decorator, with or without arguments.

    >>> import ritellm
    >>> @ritellm.tool
    ... def add(a: int, b: int) -> int:
    ...     '''Adds two numbers.'''
    ...     return a + b
    >>> add, add(1, 2), add.definition["function"]["parameters"]["required"]
    (<ritellm.Tool add>, 3, ['a', 'b'])

    Args:
        function: a function, sync or async.
        name, description, parameters: as for `Tool`.

    Raises:
        InvalidArgumentError: a function whose parameters cannot be described.
    """
    return Tool(function, **options) if function is not None else lambda function: Tool(function, **options)


class Tools:
    """The tools of a run: those with a function, and definitions that go to the provider as they are."""

    def __init__(self, given: Any) -> None:
        if isinstance(given, str | Mapping) or not isinstance(given, typing.Iterable):
            raise InvalidArgumentError(f"tools is of type {type(given).__name__}: a list of functions would be right")
        self.functions: dict[str, Tool[Any, Any]] = {}
        self.definitions: list[Any] = []
        names: list[str] = []
        for index, item in enumerate(given):
            if isinstance(item, Mapping) or (hasattr(item, "model_dump") and not isinstance(item, Tool)):
                definition = item if isinstance(item, Mapping) else item.model_dump(mode="json", exclude_none=True)
                self.definitions.append(definition)
                described = definition.get("function") or definition.get("custom") or definition
                names += [described["name"]] if isinstance(described, Mapping) and "name" in described else []
                continue
            if not callable(item):
                raise InvalidArgumentError(
                    f"tools[{index}] is of type {type(item).__name__}: a function, a Tool or a dict would be right"
                )
            made = item if isinstance(item, Tool) else Tool(item)
            self.functions[made.name] = made
            self.definitions.append(made.definition)
            names.append(made.name)
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InvalidArgumentError(f"tools has two tools of the name {twice[0]!r}: one of them would be right")
        self.names = names


_PARTS = ("text", "image_url", "input_audio", "file", "input_text", "input_image", "input_file")


def content_of(value: Any) -> Any:
    """Returns what a function returned as the content of a message: a text, JSON, or a list of content parts as it is.

    Raises:
        TypeError: JSON cannot say the value.
    """
    if isinstance(value, str):
        return whole(value)
    if (
        isinstance(value, list)
        and value
        and all(isinstance(part, dict) and part.get("type") in _PARTS for part in value)
    ):
        return value
    return whole(json.dumps(value, ensure_ascii=False, default=_plain))


def whole(text: str) -> str:
    """Returns a text with `?` for each half of a surrogate pair: names of files may have them, and UTF-8 cannot say them."""
    return text.encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if type(value).__module__ in ("uuid", "decimal") or isinstance(value, os.PathLike):
        return str(value)
    try:
        return builtin(value, True)
    except Unplain as error:
        raise TypeError(f"the value that the tool returned {error}") from None


_ARGS = re.compile(r"^(?:Args|Arguments|Parameters):[ \t]*\n((?:[ \t]+.*(?:\n|$)|[ \t]*\n)+)", re.MULTILINE)
_PARAM = re.compile(r"^:param (?:[^:\n]* )?(\w+):[ \t]*(.*(?:\n[ \t]+\S.*)*)\n?", re.MULTILINE)


def _documentation(function: Any) -> tuple[str, dict[str, str]]:
    """Returns what a docstring says about a function, and what it says about its parameters."""
    text = inspect.getdoc(function) if not isinstance(function, functools.partial) else None
    if not text:
        return "", {}
    texts = {name: " ".join(about.split()) for name, about in _PARAM.findall(text)}
    text = _PARAM.sub("", text)
    if section := _ARGS.search(text):
        name = None
        lines = section[1].rstrip().splitlines()
        margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        for line in lines:
            named = re.match(r"\*{0,2}(\w+)(?: ?\([^)]*\))?:(.*)", line[margin:])
            if named:
                name = named[1]
                texts[name] = named[2].strip()
            elif name and line.strip():
                texts[name] = f"{texts[name]} {line.strip()}".strip()
        text = text[: section.start()] + text[section.end() :]
    return text.strip(), texts
