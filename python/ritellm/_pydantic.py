"""Schemas of the response classes for pydantic and FastAPI. Imported when pydantic asks for one."""

from __future__ import annotations

import typing
from types import UnionType
from typing import Any

from pydantic_core import core_schema

from ritellm.types import Object

_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array"}


def core_schema_of(cls: type[Object]) -> Any:
    """Returns a schema that accepts an instance of the class, or any dict.

    The keys and values of the dict are not validated: stored responses are read as leniently as those that a provider
    sends.
    """
    read = core_schema.no_info_after_validator_function(cls, core_schema.dict_schema(core_schema.str_schema()))
    written = core_schema.plain_serializer_function_ser_schema(_dump, return_schema=core_schema.any_schema())
    # One serializer is set for the union: the default would try the serializer of each member in turn.
    python = core_schema.union_schema([core_schema.is_instance_schema(cls), read], mode="left_to_right")
    return core_schema.json_or_python_schema(read, python, serialization=written)


def _dump(value: Any) -> Any:
    return value.model_dump() if isinstance(value, Object) else value


def json_schema_of(cls: type[Object]) -> dict[str, Any]:
    """Returns the JSON schema of the members that the class annotates. None is required, and others are allowed."""
    hints = typing.get_type_hints(cls)
    hints.pop("meta", None)
    return {
        "title": cls.__name__,
        "description": (cls.__doc__ or "").partition("\n")[0],
        "type": "object",
        "properties": {name: _json_schema(hint) for name, hint in hints.items()},
        "additionalProperties": True,
    }


def _json_schema(hint: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (UnionType, typing.Union):
        return {"anyOf": [_json_schema(argument) for argument in arguments]}
    if origin is list:
        return {"type": "array", "items": _json_schema(arguments[0])}
    if isinstance(hint, type) and issubclass(hint, Object):
        return json_schema_of(hint)
    if hint is type(None):
        return {"type": "null"}
    return {"type": _NAMES[hint]} if hint in _NAMES else {}
