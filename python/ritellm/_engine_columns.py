"""Columns of Arrow for the outcomes of an engine's rows."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ritellm._engine_calls import RowCalls, _Outcome
else:
    Any = object

__all__ = ["arrow_columns", "arrow_fields"]


def _type_of(schema: Any) -> Any:
    """Returns the Arrow type of a JSON schema's values; that of texts where it has none, which hold JSON then."""
    import pyarrow

    root = schema

    def kind_of(schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict) or depth > 16:
            return None
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            found: Any = root
            for step in reference[2:].split("/"):
                found = found.get(step) if isinstance(found, dict) else None
            return kind_of(found, depth + 1)
        either = [one for one in schema.get("anyOf") or [] if not (isinstance(one, dict) and one.get("type") == "null")]
        if either:
            return kind_of(either[0], depth + 1) if len(either) == 1 else None
        name = schema.get("type")
        if isinstance(name, list):
            names = [each for each in name if each != "null"]
            name = names[0] if len(names) == 1 else None
        if name is None:
            values = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
            return pyarrow.string() if values and all(isinstance(value, str) for value in values) else None
        if name == "object":
            properties = schema.get("properties") or {}
            if not properties or isinstance(schema.get("additionalProperties"), dict):
                return None
            members = [(member, kind_of(one, depth + 1)) for member, one in properties.items()]
            return pyarrow.struct([(member, kind or pyarrow.string()) for member, kind in members])
        if name == "array":
            item = kind_of(schema.get("items"), depth + 1)
            return None if item is None else pyarrow.list_(item)
        simple = {
            "string": pyarrow.string(),
            "integer": pyarrow.int64(),
            "number": pyarrow.float64(),
            "boolean": pyarrow.bool_(),
        }
        return simple.get(name)

    return kind_of(schema, 0) or pyarrow.string()


def _fitting(value: Any, kind: Any) -> Any:
    """Returns a JSON value as one of an Arrow type, with texts of JSON where the type has texts for it."""
    import pyarrow

    if value is None:
        return None
    if pyarrow.types.is_struct(kind):
        if not isinstance(value, dict):
            return None
        return {field.name: _fitting(value.get(field.name), field.type) for field in kind}
    if pyarrow.types.is_list(kind):
        return [_fitting(item, kind.value_type) for item in value] if isinstance(value, list) else None
    if pyarrow.types.is_string(kind):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if pyarrow.types.is_boolean(kind):
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if pyarrow.types.is_floating(kind):
        return float(value)
    return int(value) if value == int(value) and -(2**63) <= value < 2**63 else None


def arrow_fields(calls: RowCalls, names: Iterable[str]) -> list[Any]:
    """Returns the fields of the columns that are added, in Arrow."""
    import pyarrow

    kinds = {
        "text": pyarrow.string(),
        "whole": pyarrow.int64(),
        "float": pyarrow.float64(),
        "vector": pyarrow.list_(pyarrow.float32()),
    }
    return [
        pyarrow.field(name, _type_of(calls.parsed) if kind == "parsed" else kinds[kind])
        for name, _, kind in calls.fields(names)
    ]


def arrow_columns(calls: RowCalls, names: list[str], outcomes: list[_Outcome]) -> list[tuple[Any, Any]]:
    """Returns the columns that are added to rows in Arrow: fields and arrays."""
    import pyarrow

    columns = []
    fields = arrow_fields(calls, names)
    for field, (_, own, kind) in zip(fields, calls.fields(names), strict=True):
        values = [outcome.get(own) for outcome in outcomes]
        if kind == "parsed":
            values = [_fitting(value, field.type) for value in values]
        columns.append((field, pyarrow.array(values, field.type)))
    return columns
