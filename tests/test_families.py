"""Tests that the rules of a model family apply on every provider that serves it, such as Claude on Anthropic, Bedrock and Vertex AI."""

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
    """Returns the request that is sent, and the dropped parameters."""
    if model.startswith("bedrock/"):
        answer: Json = {"output": {"message": {"content": [{"text": "ok"}]}}, "stopReason": "end_turn"}
        more["aws_region_name"] = "us-east-1"
    else:
        if model.startswith("vertex/"):
            more["vertex_project"] = "p"
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


@pytest.mark.parametrize("claude", [anthropic for anthropic, _ in CLAUDES])
@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 0.2, "top_p": 0.9},
        {"top_k": 5, "reasoning_effort": "low", "stop": ["\n", "END"]},
        {"tools": tool(parameters=SCHEMA), "tool_choice": "required", "reasoning_effort": "high"},
        {"tools": tool(), "messages": CALLS, "reasoning_effort": "low"},
    ],
    ids=["sampling", "thinking", "forced", "thoughtless"],
)
def test_vertex_is_sent_the_same(server: Server, claude: str, params: Json) -> None:
    one, left_out = asked(server, f"anthropic/{claude}", **params)
    other, also_left_out = asked(server, f"vertex/{claude}", **params)
    assert server.last.path == f"/v1/projects/p/locations/global/publishers/anthropic/models/{claude}:rawPredict"
    assert server.last.headers["authorization"] == "Bearer k" and "x-api-key" not in server.last.headers
    assert left_out == also_left_out
    assert one.pop("model") == claude and other.pop("anthropic_version") == "vertex-2023-10-16"
    assert other == one


def test_formats_on_vertex_are_those_of_later_models(server: Server) -> None:
    later, _ = asked(server, "vertex/claude-opus-4-8", response_format=FORMAT)
    assert (
        later["output_config"] == asked(server, "anthropic/claude-opus-4-8", response_format=FORMAT)[0]["output_config"]
    )
    earlier, _ = asked(server, "vertex/claude-sonnet-4-5", response_format=FORMAT)
    assert "output_config" not in earlier and '"maxItems"' in earlier["system"]


OPENAI = Answer(
    body=b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}'
)


def asked_openai(server: Server, model: str, **params: Any) -> tuple[Json, list[str]]:
    """Returns what a call in OpenAI's format sends besides model and messages, and the dropped parameters."""
    server.answer(OPENAI)
    base_url = f"{server.url}/openai/v1" if model.startswith("azure/") else server.base_url
    params = {"max_retries": 0, **params}
    response = ritellm.completion(model, [{"role": "user", "content": "hi"}], api_key="k", base_url=base_url, **params)
    body: Json = server.last.json
    return {
        name: value for name, value in body.items() if name not in ("model", "messages")
    }, response.meta.dropped_params


@pytest.mark.parametrize("provider", ["openai", "azure"])
@pytest.mark.parametrize(
    ("model", "given", "sent", "dropped"),
    [
        ("o3-mini", {"max_tokens": 5, "stop": "x"}, {"max_completion_tokens": 5, "stop": "x"}, []),
        ("o3", {"temperature": 0, "stop": "x"}, {}, ["temperature", "stop"]),
        ("o4-mini", {"parallel_tool_calls": False}, {}, ["parallel_tool_calls"]),
        ("gpt-5-mini", {"temperature": 1, "presence_penalty": 0.0, "logprobs": False}, {}, []),
        ("gpt-5", {"top_p": 0.5, "logit_bias": {"1": 1}, "seed": 1}, {"seed": 1}, ["top_p", "logit_bias"]),
        ("gpt-5", {"max_tokens": 5, "max_completion_tokens": 6}, {"max_completion_tokens": 6}, []),
        ("gpt-5", {"reasoning_effort": "none"}, {"reasoning_effort": "minimal"}, []),
        ("o3", {"reasoning_effort": "none"}, {"reasoning_effort": "low"}, []),
        ("gpt-5.2", {"temperature": 0.2}, {"temperature": 0.2}, []),
        (
            "gpt-5.2",
            {"temperature": 0.2, "reasoning_effort": "none"},
            {"temperature": 0.2, "reasoning_effort": "none"},
            [],
        ),
        ("gpt-5.4", {"temperature": 0.2, "reasoning_effort": "low"}, {"reasoning_effort": "low"}, ["temperature"]),
        ("gpt-5-chat-latest", {"temperature": 0.2, "max_tokens": 5}, {"temperature": 0.2, "max_tokens": 5}, []),
        (
            "gpt-4o",
            {"temperature": 0.2, "stop": "x", "max_tokens": 5},
            {"temperature": 0.2, "stop": "x", "max_tokens": 5},
            [],
        ),
    ],
)
def test_openais_reasoning_models(
    server: Server, provider: str, model: str, given: Json, sent: Json, dropped: list[str]
) -> None:
    body, left_out = asked_openai(server, f"{provider}/{model}", drop_params=True, **given)
    assert (body, sorted(left_out)) == (sent, sorted(dropped))
    if dropped:
        with pytest.raises(ritellm.UnsupportedParamsError, match=f"{model}, which refuses it"):
            asked_openai(server, f"{provider}/{model}", **given)


PENALISED = {"presence_penalty": 0.1, "frequency_penalty": 0.2, "stop": "x", "max_tokens": 5}


@pytest.mark.parametrize("provider", ["xai", "azure"])
@pytest.mark.parametrize(
    ("model", "dropped"),
    [
        ("grok-4", ["frequency_penalty", "presence_penalty", "stop"]),
        ("grok-4-1-fast-reasoning", ["frequency_penalty", "presence_penalty", "stop"]),
        ("grok-3-mini", ["frequency_penalty", "presence_penalty", "stop"]),
        ("grok-code-fast-1", ["frequency_penalty", "presence_penalty", "stop"]),
        ("grok-4.20-0309-non-reasoning", ["frequency_penalty", "presence_penalty"]),
        ("grok-3", []),
    ],
)
def test_reasoning_models_of_xai(server: Server, provider: str, model: str, dropped: list[str]) -> None:
    body, left_out = asked_openai(server, f"{provider}/{model}", drop_params=True, **PENALISED)
    assert body == {name: value for name, value in PENALISED.items() if name not in dropped}
    assert sorted(left_out) == dropped
    if dropped:
        with pytest.raises(ritellm.UnsupportedParamsError, match=f"{model}, which refuses it"):
            asked_openai(server, f"{provider}/{model}", **PENALISED)
    assert asked_openai(server, f"{provider}/{model}", stop=None, presence_penalty=0)[0].get("stop") is None


def test_other_hosts_are_sent_what_was_given(server: Server) -> None:
    given = {"temperature": 0.2, "stop": "x", "max_tokens": 5}
    assert asked_openai(server, "openrouter/openai/o3", **given) == (given, [])


def test_reasoning_models_on_responses(server: Server) -> None:
    server.answer(Answer(body=b'{"object": "response", "output": []}'))
    client = ritellm.Client(api_key="k", base_url=server.base_url)
    response = client.responses("openai/gpt-5", "Hi", temperature=0, reasoning={"effort": "none"}, drop_params=True)
    assert server.last.json == {"model": "gpt-5", "input": "Hi", "reasoning": {"effort": "minimal"}}
    assert response.meta.dropped_params == ["temperature"]


@pytest.mark.parametrize("model", ["openai/m", "mistral/m", "openrouter/m", "vllm/m"])
def test_media_types_are_written_in_one_way(server: Server, model: str) -> None:
    server.answer(OPENAI)

    def content(picture: str, file: str) -> list[Json]:
        return [
            {"type": "image_url", "image_url": {"url": picture, "detail": "low"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": file}},
        ]

    wrong = content("data:IMAGE/JPG;name=a.jpg;base64,AA==", "data:application/x-pdf;base64,AA==")
    right = content("data:image/jpeg;base64,AA==", "data:application/pdf;base64,AA==")
    for given in (wrong, right):
        ritellm.completion(model, [{"role": "user", "content": given}], api_key="k", base_url=server.base_url)
        assert server.last.json["messages"][0]["content"] == right
