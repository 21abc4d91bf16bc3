"""A class as the JSON schema that LiteLLM sends for ``response_format``: OpenAI's strict form."""

from __future__ import annotations

from typing import Any


def response_format(model: type) -> dict[str, Any]:
    """Returns OpenAI's ``response_format`` for a model of pydantic, or another type that it knows."""
    from pydantic import TypeAdapter

    make = getattr(model, "model_json_schema", None)
    schema = make() if make is not None else TypeAdapter(model).json_schema()
    strict = _strict(schema, schema)
    return {"type": "json_schema", "json_schema": {"schema": strict, "name": model.__name__, "strict": True}}


def _strict(schema: Any, root: Any) -> Any:
    """Returns a schema all of whose objects are closed and have all members, which OpenAI requires of strict ones."""
    if isinstance(schema, list):
        return [_strict(item, root) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema and len(schema) > 1:
        # Nothing may stand beside a reference.
        found = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return _strict({**found, **{key: value for key, value in schema.items() if key != "$ref"}}, root)
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs", "definitions"):
            made[key] = {name: _strict(item, root) for name, item in value.items()}
        elif key == "default" and value is None:
            continue
        elif key == "allOf" and len(value) == 1:
            made.update(_strict(value[0], root))
        elif key in ("enum", "const", "default", "examples", "required"):
            made[key] = value
        else:
            made[key] = _strict(value, root)
    if made.get("type") == "object" and "additionalProperties" not in made:
        made["additionalProperties"] = False
    if made.get("properties") and made.get("type", "object") == "object":
        made["required"] = list(made["properties"])
    return made
