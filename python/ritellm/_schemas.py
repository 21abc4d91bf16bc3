"""Types as JSON schemas, and values of the types from JSON. Imported by the first call that has a type as `response_format`.

Dataclasses, TypedDicts, enums, literals and containers of them are read here; everything that pydantic made or knows by
itself (models, `TypeAdapter`, constraints, other types of the standard library) by pydantic.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import enum
import functools
import inspect
import json
import math
import types
import typing
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union

from ritellm import _core
from ritellm.exceptions import InvalidArgumentError

if typing.TYPE_CHECKING:
    from typing_extensions import TypeIs


class Violations(ValueError):
    """A text that does not fit a format; ``reasons`` says why, a list of str."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class Format:
    """A type that answers are read as.

    Attributes:
        core: the schema to ask for, as the native core takes it in place of `response_format`.
        schema: the same as a dict.
    """

    def __init__(self, name: str, schema: dict[str, Any], read: Callable[[str], Any]) -> None:
        self.core = _core.ResponseFormat(name, schema)
        self.schema = schema
        self._read = read

    def read(self, text: str) -> Any:
        """Returns the value that an answer's text holds.

        Raises:
            Violations: the text has no JSON, or its JSON does not fit the type.
        """
        try:
            found = self.core.json(text)
        except UnicodeEncodeError:
            # Half of a surrogate pair.
            found = None
        if found is None:
            raise Violations([f"is not valid JSON: {_shown(text)}"])
        return self._read(found)


def format_of(target: Any) -> Format:
    """Returns the format of a type, of a `TypeAdapter` or of a JSON schema. Those of types are kept.

    Raises:
        InvalidArgumentError: a type that has no JSON form, or a schema that cannot be used.
    """
    if isinstance(target, dict):
        return _format_of_schema(target)
    try:
        return _kept_format_of_type(target)
    except TypeError as error:
        if isinstance(error, InvalidArgumentError):
            raise
    # Some metadata of `Annotated` cannot be hashed.
    return _format_of_type(target)


def schema_of(target: Any) -> dict[str, Any] | None:
    """Returns the JSON schema that a ``response_format`` stands for; `None` if it has none."""
    if isinstance(target, dict) and target.get("type") == "json_schema":
        schema = (target.get("json_schema") or {}).get("schema")
        return schema if isinstance(schema, dict) else None
    if target is None or (isinstance(target, dict) and target.get("type") in ("json_object", "text")):
        return None
    return format_of(target).schema


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        # A number with thousands of digits, or thousands of lists.
        raise Violations([f"cannot be read: {error}"]) from error


def _format_of_schema(schema: dict[str, Any]) -> Format:
    def read(text: str) -> Any:
        if reasons := made.core.violations(text):
            raise Violations(reasons)
        return _decoded(text)

    made = Format(str(schema.get("title") or "response"), schema, read)
    return made


def _format_of_type(target: Any) -> Format:
    if hasattr(target, "model_json_schema") and hasattr(target, "model_validate_json"):
        schema = _made_by_pydantic(target, target.model_json_schema)
        return Format(target.__name__, schema, _by_pydantic(target.model_validate_json))
    if hasattr(target, "validate_json") and hasattr(target, "json_schema"):
        return _format_of_adapter("response", target, target)
    compiler = _Compiler()
    try:
        schema, read = compiler.compile(target)
    except _Foreign as foreign:
        return _format_of_adapter(_name_of(target), target, _adapter(target, foreign.target))
    if compiler.definitions:
        schema = {**schema, "$defs": compiler.definitions}

    def read_json(text: str) -> Any:
        reasons: list[str] = []
        value = read(_decoded(text), "", reasons)
        if reasons:
            raise Violations(reasons)
        return value

    return Format(_name_of(target), schema, read_json)


_kept_format_of_type = functools.lru_cache(maxsize=256)(_format_of_type)


def parameters_of(function: Callable[..., Any]) -> tuple[dict[str, Any], Callable[[str], dict[str, Any]]]:
    """Returns the JSON schema of a function's parameters, and the function that reads its arguments from JSON.

    Raises:
        InvalidArgumentError: a parameter whose type has no JSON form, or that cannot be passed by name.
    """
    hints = _hints(function)
    found: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise InvalidArgumentError(f"response_format has the parameter {name}, which has to be passed by position")
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            found[name] = parameter
    types = {name: hints.get(name, Any) for name in found}
    required = {name for name, parameter in found.items() if parameter.default is parameter.empty}
    compiler = _Compiler()
    try:
        members = [_Member(name, *compiler.compile(hint), name in required) for name, hint in types.items()]
    except _Foreign as foreign:
        schema, read = _parameters_by_pydantic(foreign.target, types, required)
    else:
        schema = _schema_of_object(None, members)
        if compiler.definitions:
            schema["$defs"] = compiler.definitions
        read_object = _reader_of_object(members, dict)

        def read(text: str) -> dict[str, Any]:
            reasons: list[str] = []
            arguments: dict[str, Any] = read_object(json.loads(text), "", reasons)
            if reasons:
                raise Violations(reasons)
            return arguments

    properties: dict[str, dict[str, Any]] = schema["properties"]
    for name, parameter in found.items():
        value = parameter.default
        if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
            properties[name] = {**properties[name], "default": value}
    return schema, read


def _parameters_by_pydantic(
    foreign: Any, types: dict[str, Any], required: set[str]
) -> tuple[dict[str, Any], Callable[[str], dict[str, Any]]]:
    # Raises the error if there is no pydantic, of which typing_extensions is a dependency.
    _adapter(foreign, foreign)
    from typing_extensions import NotRequired, TypedDict

    members: dict[str, Any] = {name: hint if name in required else NotRequired[hint] for name, hint in types.items()}
    make: Any = TypedDict
    target = make("arguments", members)
    target.__pydantic_config__ = {"extra": "forbid"}
    adapter = _adapter(target, foreign)
    schema = _made_by_pydantic(target, adapter.json_schema)
    schema.pop("title", None)
    for name, hint in types.items():
        # Pydantic does not read texts in `Annotated`.
        texts = [
            text for text in typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated and isinstance(text, str)
        ]
        if texts:
            schema["properties"][name].setdefault("description", texts[-1])
    return schema, _by_pydantic(adapter.validate_json)


def _format_of_adapter(name: str, target: Any, adapter: Any) -> Format:
    schema = _made_by_pydantic(target, adapter.json_schema)
    return Format(schema.get("title") or name, schema, _by_pydantic(adapter.validate_json))


_RIGHT = "a pydantic model, dataclass, TypedDict, Enum, Literal, or a list, dict or union of such"


def _adapter(target: Any, foreign: Any) -> Any:
    try:
        from pydantic import TypeAdapter
    except ImportError:
        raise InvalidArgumentError(
            f"response_format has {_name_of(foreign)} in it, which only pydantic reads: install it, or give {_RIGHT}"
        ) from None
    return _made_by_pydantic(target, lambda: TypeAdapter(target))


def _made_by_pydantic(target: Any, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:
        why = str(error).partition("\n")[0]
        message = f"response_format is {_name_of(target)}, which has no JSON schema: {_RIGHT} would be right (pydantic: {why})"
        raise InvalidArgumentError(message) from error


def _by_pydantic(validate: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return validate(text)
        except ValueError as error:
            errors = getattr(error, "errors", None)
            if errors is None:
                raise
            raise Violations([_reason(found) for found in errors(include_url=False)]) from error

    return read


def _reason(found: dict[str, Any]) -> str:
    path = ""
    for step in found["loc"]:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    given = "" if found["type"] == "missing" else f" (it is {_shown(found['input'])})"
    return f"{path}: {found['msg']}{given}" if path else f"{found['msg']}{given}"


def _name_of(target: Any) -> str:
    return (
        target.__name__
        if isinstance(target, type) and not typing.get_args(target)
        else str(target).replace("typing.", "")
    )


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


class _Foreign(Exception):
    """A type that is left to pydantic."""

    def __init__(self, target: Any) -> None:
        super().__init__(target)
        self.target = target


# Reads a JSON value that stands at a path, and appends what is wrong to the list of reasons.
_Read = Callable[[Any, str, list[str]], Any]
_Compiled = tuple[dict[str, Any], _Read]

_JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_LISTS = (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_WORDS: dict[Any, tuple[str, Callable[[str], Any]]] = {
    datetime.datetime: ("date-time", lambda text: datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))),
    datetime.date: ("date", datetime.date.fromisoformat),
    datetime.time: ("time", lambda text: datetime.time.fromisoformat(text.replace("Z", "+00:00"))),
    uuid.UUID: ("uuid", uuid.UUID),
}


class _Compiler:
    """Makes the schema and the reader of one type."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self._classes: dict[Any, _Compiled] = {}

    def compile(self, target: Any) -> _Compiled:
        while (inner := getattr(target, "__value__", None) or getattr(target, "__supertype__", None)) is not None:
            # `type Name = …` and `NewType`.
            target = inner
        origin, arguments = typing.get_origin(target), typing.get_args(target)
        if origin is Annotated:
            return self._annotated(arguments)
        if origin is Literal:
            return _one_of(list(arguments), {_key(value): value for value in arguments})
        if origin in (Union, types.UnionType):
            return self._union(arguments)
        container = origin or target
        if container is tuple and arguments and arguments[-1] is not Ellipsis:
            return self._tuple(arguments)
        if container in (*_LISTS, set, frozenset, tuple):
            return self._list(container, arguments[0] if arguments else Any)
        if container in _MAPPINGS:
            return self._mapping(arguments)
        if target is None:
            target = type(None)
        if target in (Any, object):
            return {}, lambda value, _path, _reasons: value
        if origin is not None or not isinstance(target, type):
            raise _Foreign(target)
        if target in _JSON_TYPES:
            return _primitive(target)
        if target in _WORDS:
            return _text(*_WORDS[target])
        if issubclass(target, enum.Enum):
            return _one_of([member.value for member in target], {_key(member.value): member for member in target})
        if typing.is_typeddict(target) or _is_dataclass(target):
            return self._class(target)
        raise _Foreign(target)

    def _annotated(self, arguments: tuple[Any, ...]) -> _Compiled:
        schema, read = self.compile(arguments[0])
        for metadata in arguments[1:]:
            # The second is `typing_extensions.Doc`.
            text = metadata if isinstance(metadata, str) else getattr(metadata, "documentation", None)
            if isinstance(text, str):
                schema = {**schema, "description": text}
            elif type(metadata).__module__.partition(".")[0] in ("pydantic", "annotated_types"):
                raise _Foreign(Annotated[arguments])
        return schema, read

    def _union(self, arguments: tuple[Any, ...]) -> _Compiled:
        compiled = [self.compile(argument) for argument in arguments]

        def read(value: Any, path: str, reasons: list[str]) -> Any:
            fewest: list[str] | None = None
            for _, read_one in compiled:
                found: list[str] = []
                result = read_one(value, path, found)
                if not found:
                    return result
                # Reasons inside of the value are those of the alternative that was meant.
                if all(not reason.startswith(_at(path, f"is {_shown(value)}")) for reason in found) and (
                    fewest is None or len(found) < len(fewest)
                ):
                    fewest = found
            reasons.extend(fewest or [_at(path, f"is {_shown(value)}, and fits none of the alternatives")])
            return None

        return {"anyOf": [schema for schema, _ in compiled]}, read

    def _list(self, container: Any, argument: Any) -> _Compiled:
        schema, read_item = self.compile(argument)
        make = container if container in (set, frozenset, tuple) else list

        def read(value: Any, path: str, reasons: list[str]) -> Any:
            if not isinstance(value, list):
                return _wrong(value, "array", path, reasons)
            items = [read_item(item, f"{path}[{index}]", reasons) for index, item in enumerate(value)]
            return None if reasons else make(items)

        unique = {"uniqueItems": True} if make in (set, frozenset) else {}
        return {"type": "array", "items": schema, **unique}, read

    def _tuple(self, arguments: tuple[Any, ...]) -> _Compiled:
        compiled = [self.compile(argument) for argument in arguments]
        count = len(compiled)

        def read(value: Any, path: str, reasons: list[str]) -> Any:
            if not isinstance(value, list):
                return _wrong(value, "array", path, reasons)
            if len(value) != count:
                reasons.append(_at(path, f"has {len(value)} items, and has to have {count}"))
            pairs = zip(compiled, value, strict=False)
            return tuple(read_one(item, f"{path}[{n}]", reasons) for n, ((_, read_one), item) in enumerate(pairs))

        items = [schema for schema, _ in compiled]
        return {"type": "array", "prefixItems": items, "minItems": count, "maxItems": count}, read

    def _mapping(self, arguments: tuple[Any, ...]) -> _Compiled:
        if arguments and arguments[0] is not str:
            raise _Foreign(arguments[0])
        schema, read_value = self.compile(arguments[1] if arguments else Any)

        def read(value: Any, path: str, reasons: list[str]) -> Any:
            if not isinstance(value, dict):
                return _wrong(value, "object", path, reasons)
            return {name: read_value(inner, _below(path, name), reasons) for name, inner in value.items()}

        return {"type": "object", "additionalProperties": schema}, read

    def _class(self, target: Any) -> _Compiled:
        if target in self._classes:
            return self._classes[target]
        name = target.__name__
        while name in self.definitions:
            name += "_"
        self.definitions[name] = {}
        members: list[_Member] = []
        make = target if _is_dataclass(target) else dict
        # Known before its members are compiled, which may be of this class.
        self._classes[target] = {"$ref": f"#/$defs/{name}"}, _reader_of_object(members, make)
        members += self._members(target)
        self.definitions[name] = _schema_of_object(_documentation(target), members)
        return self._classes[target]

    def _members(self, target: Any) -> list[_Member]:
        hints = _hints(target)
        members = []
        if not _is_dataclass(target):
            for name, hint in hints.items():
                while typing.get_origin(hint) in _QUALIFIERS:
                    hint = typing.get_args(hint)[0]
                members.append(_Member(name, *self.compile(hint), name in target.__required_keys__))
            return members
        for field in dataclasses.fields(target):
            if not field.init:
                continue
            schema, read = self.compile(hints[field.name])
            if isinstance(field.metadata.get("description"), str):
                schema = {**schema, "description": field.metadata["description"]}
            is_required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if field.default is None or isinstance(field.default, str | int | float | bool):
                schema = {**schema, "default": field.default}
            members.append(_Member(field.name, schema, read, is_required))
        return members


def _hints(target: Any) -> dict[str, Any]:
    while isinstance(target, functools.partial):
        target = target.func
    if not isinstance(target, type) and not inspect.isroutine(target) and callable(target):
        # An instance of a class with `__call__`.
        target = type(target).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except NameError:
        pass
    # A class that was made in a function may name what only the functions that are running know.
    names: dict[str, Any] = {}
    frame = inspect.currentframe()
    while frame is not None:
        names = {**frame.f_globals, **frame.f_locals, **names}
        frame = frame.f_back
    try:
        return typing.get_type_hints(target, localns=names, include_extras=True)
    except NameError as error:
        raise InvalidArgumentError(
            f"response_format is {target.__name__}, whose annotations cannot be read: {error}"
        ) from error
    finally:
        del names


def _qualifiers() -> set[Any]:
    modules = [typing]
    try:
        import typing_extensions
    except ImportError:
        pass
    else:
        modules.append(typing_extensions)
    names = ("Required", "NotRequired", "ReadOnly")
    return {getattr(module, name) for module in modules for name in names if hasattr(module, name)}


_QUALIFIERS = _qualifiers()


class _Member(typing.NamedTuple):
    name: str
    schema: dict[str, Any]
    read: _Read
    is_required: bool


def _schema_of_object(description: str | None, members: list[_Member]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    if description:
        schema["description"] = description
    schema["properties"] = {member.name: member.schema for member in members}
    schema["required"] = [member.name for member in members if member.is_required]
    schema["additionalProperties"] = False
    return schema


def _reader_of_object(members: list[_Member], make: Callable[..., Any]) -> _Read:
    def read(value: Any, path: str, reasons: list[str]) -> Any:
        if not isinstance(value, dict):
            return _wrong(value, "object", path, reasons)
        before = len(reasons)
        known = {}
        for member in members:
            if member.name in value:
                known[member.name] = member.read(value[member.name], _below(path, member.name), reasons)
            elif member.is_required:
                reasons.append(_at(path, f'lacks "{member.name}"'))
        others = value.keys() - {member.name for member in members}
        reasons.extend(_at(path, f'has "{other}", which is not allowed') for other in sorted(others))
        if len(reasons) > before:
            return None
        try:
            return make(**known)
        except ValueError as error:
            # Of a `__post_init__`.
            reasons.append(_at(path, str(error)))
            return None

    return read


def _is_dataclass(target: Any) -> TypeIs[Any]:
    # Pydantic's own dataclasses are left to pydantic.
    return dataclasses.is_dataclass(target) and not hasattr(target, "__pydantic_validator__")


def _documentation(target: Any) -> str | None:
    text: str | None = target.__doc__
    # The signature is what `dataclasses` writes where there is nothing.
    if not text or text.startswith(f"{target.__name__}(") or (typing.is_typeddict(target) and text == dict.__doc__):
        return None
    return inspect.cleandoc(text)


def _primitive(target: Any) -> _Compiled:
    kind = _JSON_TYPES[target]

    def read(value: Any, path: str, reasons: list[str]) -> Any:
        if type(value) is target:
            return value
        if target is float and type(value) is int:
            return float(value)
        if target is int and type(value) is float and value.is_integer():
            return int(value)
        return _wrong(value, kind, path, reasons)

    return {"type": kind}, read


def _text(kind: str, parse: Callable[[str], Any]) -> _Compiled:
    def read(value: Any, path: str, reasons: list[str]) -> Any:
        if not isinstance(value, str):
            return _wrong(value, "string", path, reasons)
        try:
            return parse(value)
        except ValueError as error:
            reasons.append(_at(path, f"is {_shown(value)}, and has to be a {kind}: {error}"))

    return {"type": "string", "format": kind}, read


def _key(value: Any) -> tuple[type, Any]:
    # `1 == True`.
    return type(value), value


def _one_of(values: list[Any], members: dict[tuple[type, Any], Any]) -> _Compiled:
    kinds: list[str] = []
    for value in values:
        kind = _JSON_TYPES.get(value.__class__) or next(
            (_JSON_TYPES[t] for t in (str, int) if isinstance(value, t)), None
        )
        if kind is None:
            raise InvalidArgumentError(
                f"response_format has the choice {value!r}, which JSON cannot say: a str, int, bool or None would be right"
            )
        kinds += [] if kind in kinds else [kind]
    values = json.loads(json.dumps(values))

    def read(value: Any, path: str, reasons: list[str]) -> Any:
        for known, (_, member) in zip(values, members.items(), strict=False):
            if type(known) is type(value) and known == value:
                return member
        reasons.append(_at(path, f"is {_shown(value)}, and has to be one of {json.dumps(values, ensure_ascii=False)}"))

    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": values}, read


def _at(path: str, message: str) -> str:
    return f"{path}: {message}" if path else message


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _wrong(value: Any, kind: str, path: str, reasons: list[str]) -> None:
    reasons.append(_at(path, f"is {_shown(value)}, and has to be of type {kind}"))
