"""A model family's rules hold on every wire that serves it: the same Claude on Anthropic's wire and on Bedrock's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from server import Answer, Server

import ritellm

Json = dict[str, Any]

CLAUDES = [
    ("claude-3-5-haiku-latest", "anthropic.claude-3-5-haiku-20241022-v1:0"),
    ("claude-sonnet-4-0", "us.anthropic.claude-sonnet-4-20250514-v1:0"),
    ("claude-sonnet-4-5", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("claude-opus-4-8", "global.anthropic.claude-opus-4-8"),
    ("claude-opus-5-5", "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-5-5"),
]

SCHEMA: Json = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 1},
        "s": {"type": "string", "pattern": "^(?!a)", "format": "color"},
        "l": {"type": "array", "items": {"oneOf": [{"type": "object", "properties": {}}]}, "maxItems": 3},
    },
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}


def tool(**function: Any) -> list[Json]:
    return [{"type": "function", "function": {"name": "f", **function}}]


CALLS: list[Json] = [
    {"role": "user", "content": "a"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "t", "content": "x"},
]


def asked(server: Server, model: str, **more: Any) -> tuple[Json, list[str]]:
    """What is sent, and what was left out of it."""
    if model.startswith("bedrock/"):
        answer: Json = {"output": {"message": {"content": [{"text": "ok"}]}}, "stopReason": "end_turn"}
        more["aws_region_name"] = "us-east-1"
    else:
        answer = {"type": "message", "content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn"}
    server.answer(Answer(body=json.dumps(answer).encode()))
    more = {"messages": [{"role": "user", "content": "hi"}], "drop_params": True, **more}
    response = ritellm.completion(model=model, api_key="k", base_url=server.url, max_retries=0, **more)
    body: Json = server.last.json
    return body, response.meta.dropped_params


@pytest.mark.parametrize(("anthropic", "bedrock"), CLAUDES)
@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 0.2, "top_p": 0.9},
        {"temperature": 0.2, "reasoning_effort": "low"},
        {"top_k": 5, "reasoning_effort": "low"},
        {"stop": ["\n", "END"]},
        {"tools": tool(), "tool_choice": "required", "reasoning_effort": "high"},
        {"tools": tool(), "messages": CALLS, "reasoning_effort": "low"},
    ],
    ids=["sampling", "temperature", "top_k", "stop", "forced", "thoughtless"],
)
def test_the_same_is_left_out(server: Server, anthropic: str, bedrock: str, params: Json) -> None:
    one, left_out = asked(server, f"anthropic/{anthropic}", **params)
    other, also_left_out = asked(server, f"bedrock/{bedrock}", **params)
    assert sorted(left_out) == sorted(also_left_out)
    inference, additional = other.get("inferenceConfig", {}), other.get("additionalModelRequestFields", {})
    assert one.get("temperature") == inference.get("temperature")
    assert one.get("top_p") == inference.get("topP")
    assert one.get("stop_sequences") == inference.get("stopSequences")
    assert one.get("top_k") == additional.get("top_k")
    assert ("thinking" in one) == ("thinking" in additional)


@pytest.mark.parametrize(("anthropic", "bedrock"), CLAUDES)
@pytest.mark.parametrize(
    "function",
    [
        {"parameters": SCHEMA, "strict": True},
        {"parameters": SCHEMA},
        {"parameters": {"properties": {}}},
        {"parameters": {"anyOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}}]}},
        {},
    ],
    ids=["strict", "loose", "typeless", "combined", "none"],
)
def test_tools_have_the_same_schema(server: Server, anthropic: str, bedrock: str, function: Json) -> None:
    one, _ = asked(server, f"anthropic/{anthropic}", tools=tool(**function))
    other, _ = asked(server, f"bedrock/{bedrock}", tools=tool(**function))
    spec = other["toolConfig"]["tools"][0]["toolSpec"]
    assert one["tools"][0]["input_schema"] == spec["inputSchema"]["json"]
    assert spec["inputSchema"]["json"]["type"] == "object" and "anyOf" not in spec["inputSchema"]["json"]
    assert one["tools"][0].get("strict") == spec.get("strict")


@pytest.mark.parametrize(("anthropic", "bedrock"), CLAUDES)
def test_formats_are_the_same(server: Server, anthropic: str, bedrock: str) -> None:
    one, _ = asked(server, f"anthropic/{anthropic}", response_format=FORMAT)
    other, _ = asked(server, f"bedrock/{bedrock}", response_format=FORMAT)
    if "output_config" in one:
        text = other["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"]
        assert json.loads(text) == one["output_config"]["format"]["schema"]
        assert '"minimum"' not in text and '"pattern"' not in text
    else:
        assert other["system"] == [{"text": one["system"]}]
