"""Tools as the text that OpenAI's models read: TypeScript's types, one for each function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["text_of_tools"]


def text_of_tools(tools: Sequence[Any]) -> str:
    """Returns the text of tools; see https://github.com/forestwanglin/openai-java, which found the form out.

    Args:
        tools: tools in OpenAI's, Anthropic's or Gemini's format.
    """
    lines = ["namespace functions {", ""]
    for function in _functions(tools):
        name = function.get("name")
        if not name:
            continue
        if function.get("description"):
            lines.append(f"// {function['description']}")
        parameters = function.get("parameters")
        if (
            isinstance(parameters, Mapping)
            and isinstance(parameters.get("properties"), Mapping)
            and parameters["properties"]
        ):
            lines += [f"type {name} = (_: {{", _members(parameters, 0), "}) => any;", ""]
        else:
            lines += [f"type {name} = () => any;", ""]
    return "\n".join([*lines, "} // namespace functions"])


def _functions(tools: Sequence[Any]) -> Iterator[Mapping[str, Any]]:
    for tool in tools:
        dump = getattr(tool, "model_dump", None)
        tool = dump() if dump is not None else tool
        if not isinstance(tool, Mapping):
            continue
        if isinstance(tool.get("function"), Mapping):
            yield tool["function"]
            continue
        declarations = tool.get("function_declarations") or tool.get("functionDeclarations")
        if isinstance(declarations, list):
            yield from (declaration for declaration in declarations if isinstance(declaration, Mapping))
            continue
        yield {**tool, "parameters": tool.get("input_schema") or tool.get("parameters") or {}}


def _members(parameters: Mapping[str, Any], indent: int) -> str:
    members = parameters.get("properties")
    if not isinstance(members, Mapping):
        return ""
    required = parameters.get("required")
    lines = []
    for name, member in members.items():
        if isinstance(member, Mapping) and member.get("description"):
            lines.append(f"// {member['description']}")
        mark = "" if isinstance(required, list) and name in required else "?"
        lines.append(f"{name}{mark}: {_type(member, indent)},")
    return "\n".join(" " * indent + line for line in lines)


def _type(schema: Any, indent: int) -> str:
    if not isinstance(schema, Mapping):
        return "any"
    kind, choices = schema.get("type"), schema.get("enum")
    if kind in ("string", "integer", "number") and isinstance(choices, list):
        return " | ".join(f'"{choice}"' for choice in choices)
    if kind == "array":
        return f"{_type(schema.get('items'), indent)}[]"
    if kind == "object":
        return f"{{\n{_members(schema, indent + 2)}\n}}"
    names = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
    return names.get(kind, "any") if isinstance(kind, str) else "any"
