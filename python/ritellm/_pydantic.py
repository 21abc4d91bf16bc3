"""Schemas of the response classes for pydantic and FastAPI. Imported when pydantic asks for one."""

from __future__ import annotations

import typing
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import core_schema

from ritellm.types import Message, Object


def core_schema_of(cls: type[Object]) -> Any:
    """Returns a schema that accepts an instance of the class, or any dict.

    The keys and values of the dict are not validated: stored responses are read as leniently as those that a provider
    sends.
    """
    read = core_schema.no_info_after_validator_function(cls, core_schema.dict_schema(core_schema.str_schema()))
    written = core_schema.plain_serializer_function_ser_schema(
        _dump, info_arg=True, return_schema=core_schema.any_schema()
    )
    # One serializer is set for the union: the default would try the serializer of each member in turn.
    python = core_schema.union_schema([core_schema.is_instance_schema(cls), read], mode="left_to_right")
    # With a reference, the JSON schema of a service has each class once, under its name.
    return core_schema.json_or_python_schema(
        read, python, serialization=written, ref=f"{cls.__module__}.{cls.__qualname__}:{id(cls)}"
    )


def _dump(value: Any, info: Any) -> Any:
    if not isinstance(value, Object):
        return value
    # What `response_model_include` and its like ask for in FastAPI.
    names = ("mode", "include", "exclude", "exclude_none", "exclude_defaults")
    return value.model_dump(**{name: getattr(info, name) for name in names})


def json_schema_of(cls: type[Object], handler: Any) -> dict[str, Any]:
    """Returns the JSON schema of the members that the class annotates. None is required, and others are allowed.

    Args:
        handler: the function of pydantic that returns the JSON schema of a core schema.
    """
    # At run time, the module's own `Any` is `object`.
    hints = typing.get_type_hints(cls, localns={"Any": Any})
    members = {
        name: core_schema.typed_dict_field(TypeAdapter(hint).core_schema, required=False)
        for name, hint in hints.items()
        if name not in ("meta", "parsed")
    }
    properties = handler(core_schema.typed_dict_schema(members)).get("properties", {})
    if issubclass(cls, Message):
        # An answer's content is a text; that of a message in a request may be a list of parts.
        properties["content"]["anyOf"].append({"type": "array", "items": {}})
    return {
        "title": cls.__name__,
        "description": (cls.__doc__ or "").partition("\n")[0],
        "type": "object",
        # Titles that only repeat the names.
        "properties": {name: {k: v for k, v in of.items() if k != "title"} for name, of in properties.items()},
        "additionalProperties": True,
    }
