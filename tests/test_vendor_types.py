"""Compares the requests that RiteLLM sends with the types in the vendors' own Python packages.

A conversation is sent to a loopback server in the vendor's place, and the body that arrives has to be one that the
vendor's types allow, with no member that they do not know.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from server import Answer, Server, refusal

import ritellm

pydantic = pytest.importorskip("pydantic", reason="the vendors' types are pydantic's, or are read by it")

Json = dict[str, Any]
Conversation = tuple[list[Json], Json]

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(24)).decode()
PDF = base64.b64encode(b"%PDF-1.4\n%%EOF").decode()
WAV = base64.b64encode(b"RIFF\x24\x00\x00\x00WAVEfmt ").decode()

WEATHER: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a town.",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
            "required": ["town"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
TIME: Json = {"type": "function", "function": {"name": "get_time"}}
SCHEMA: Json = {
    "name": "answer",
    "description": "An answer.",
    "strict": True,
    "schema": {
        "type": "object",
        "properties": {"x": {"type": "array", "items": {"$ref": "#/$defs/item"}}},
        "required": ["x"],
        "additionalProperties": False,
        "$defs": {"item": {"type": "string"}},
    },
}


def call(id: str, name: str, arguments: str) -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


HELLO: list[Json] = [{"role": "user", "content": "Hello."}]
CALLS: list[Json] = [
    {"role": "user", "content": "What is the weather in Bern, and how late is it?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [call("call_1", "get_weather", '{"town": "Bern"}'), call("call_2", "get_time", "")],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "noon"}]},
]

CONVERSATIONS: dict[str, Conversation] = {
    "numbers": (
        HELLO,
        {"temperature": 0.5, "top_p": 0.9, "max_completion_tokens": 500, "stop": ["END", "STOP"], "seed": 1, "n": 1}
        | {"frequency_penalty": 0.5, "presence_penalty": -0.5, "logprobs": True, "top_logprobs": 2},
    ),
    "who asks": (
        HELLO,
        {"user": "u", "metadata": {"team": "blue"}, "service_tier": "default", "store": False, "stop": "x"},
    ),
    "instructions and turns": (
        [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": "One.", "name": "ada"},
            {"role": "user", "content": [{"type": "text", "text": "Two."}, {"type": "text", "text": "Three."}]},
            {"role": "assistant", "content": "Four."},
            {"role": "user", "content": "Five."},
        ],
        {},
    ),
    "tools": (HELLO, {"tools": [WEATHER, TIME], "tool_choice": "auto"}),
    "tools, required": (HELLO, {"tools": [WEATHER, TIME], "tool_choice": "required", "parallel_tool_calls": False}),
    "tools, one": (
        HELLO,
        {"tools": [WEATHER, TIME], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
    ),
    "tools, none": (CALLS, {"tools": [WEATHER, TIME], "tool_choice": "none"}),
    "parallel results": (CALLS, {"tools": [WEATHER, TIME]}),
    "parallel results, and on": (
        [*CALLS, {"role": "assistant", "content": "Sunny, and noon."}, {"role": "user", "content": "Thanks."}],
        {"tools": [WEATHER, TIME], "reasoning_effort": "low"},
    ),
    "a picture": (
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
                ],
            }
        ],
        {},
    ),
    "a picture's address": (
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://host.example/a.png"}}]}],
        {},
    ),
    "a document": (
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Sum it up."},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
                ],
            }
        ],
        {},
    ),
    "sound": (
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}]}],
        {},
    ),
    "reasoning": (HELLO, {"reasoning_effort": "high", "max_tokens": 8000}),
    "no reasoning": (HELLO, {"reasoning_effort": "none"}),
    "a schema": (HELLO, {"response_format": {"type": "json_schema", "json_schema": SCHEMA}}),
    "an object": (HELLO, {"response_format": {"type": "json_object"}}),
    "the web": (HELLO, {"web_search_options": {}}),
    "a stream": (HELLO, {"stream": True, "stream_options": {"include_usage": True}, "tools": [WEATHER]}),
    "another's message": (
        [
            {"role": "user", "content": "Hello."},
            {
                "role": "assistant",
                "content": "Hello!",
                "reasoning_content": "They greet me.",
                "annotations": [],
                "refusal": None,
                "provider_specific_fields": {"nobody": {"content": [{"type": "riddle"}]}},
            },
            {"role": "user", "content": "Go on."},
        ],
        {},
    ),
}

NATIVE_ANSWERS: dict[str, Json] = {
    "anthropic": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5",
        "content": [
            {"type": "thinking", "thinking": "Look it up.", "signature": "c2lnbmF0dXJl"},
            {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="},
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "Bern"}},
            {
                "type": "web_search_tool_result",
                "tool_use_id": "srvtoolu_1",
                "content": [
                    {
                        "type": "web_search_result",
                        "url": "https://host.example",
                        "title": "Bern",
                        "encrypted_content": "eA==",
                    }
                ],
            },
            {
                "type": "text",
                "text": "Bern is a town.",
                "citations": [
                    {
                        "type": "web_search_result_location",
                        "url": "https://host.example",
                        "title": "Bern",
                        "encrypted_index": "eA==",
                        "cited_text": "Bern",
                    }
                ],
            },
            {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"town": "Bern"}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 2},
    },
    "bedrock": {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "Look it up.", "signature": "c2lnbmF0dXJl"}}},
                    {"reasoningContent": {"redactedContent": "cmVkYWN0ZWQ="}},
                    {"text": "I look."},
                    {"toolUse": {"toolUseId": "t_1", "name": "get_weather", "input": {"town": "Bern"}}},
                ],
            }
        },
        "stopReason": "tool_use",
        "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3},
        "metrics": {"latencyMs": 1},
    },
    "cohere": {
        "id": "c_1",
        "finish_reason": "TOOL_CALL",
        "message": {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Look it up."}],
            "tool_plan": "I look.",
            "tool_calls": [call("get_weather_1", "get_weather", '{"town":"Bern"}')],
        },
        "usage": {"tokens": {"input_tokens": 1, "output_tokens": 2}},
    },
    "gemini": {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [
                        {"text": "Look it up.", "thought": True},
                        {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
                        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
                        {"text": "I look.", "thoughtSignature": "c2lnbmF0dXJl"},
                        {"inlineData": {"mimeType": "image/png", "data": PNG}},
                        {
                            "functionCall": {"name": "get_weather", "args": {"town": "Bern"}, "id": "f_1"},
                            "thoughtSignature": "c2lnbmF0dXJl",
                        },
                    ],
                },
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3},
    },
    "ollama_chat": {
        "model": "qwen3",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {
            "role": "assistant",
            "content": "I look.",
            "thinking": "Look it up.",
            "tool_calls": [{"function": {"name": "get_weather", "arguments": {"town": "Bern"}}}],
        },
        "done": True,
        "done_reason": "stop",
    },
    "openai": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5.4",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None,
                    "refusal": None,
                    "tool_calls": [call("call_1", "get_weather", '{"town":"Bern"}')],
                },
                "finish_reason": "tool_calls",
            }
        ],
    },
}
NATIVE_ANSWERS["vertex"] = NATIVE_ANSWERS["gemini"]
"""An answer with all that has to come back on the next turn, in each vendor's own format."""

MODELS = {
    "anthropic": "claude-sonnet-5",
    "bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "cohere": "command-a-03-2025",
    "gemini": "gemini-3.5-flash",
    "ollama_chat": "qwen3",
    "openai": "gpt-5.4",
    "vertex": "gemini-3.5-flash",
}

REFUSED_HERE = {
    ("anthropic", "sound"),
    ("bedrock", "a picture's address"),
    ("cohere", "a document"),
    ("cohere", "sound"),
    ("ollama_chat", "a document"),
    ("ollama_chat", "a picture's address"),
    ("ollama_chat", "sound"),
}
"""Parameters that a provider cannot express: they are rejected before anything is sent."""

# ---- The vendors' types ----


def exhausted(value: object) -> None:
    """Reads a validated value to its end: pydantic validates what is only an iterable when it is iterated over."""
    if isinstance(value, dict):
        for inner in value.values():
            exhausted(inner)
    elif isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        for inner in value:
            exhausted(inner)


def is_typed_dict(body: Json, kind: object) -> None:
    """Anthropic's and OpenAI's types are TypedDicts; the list around them carries the setting into all of them."""
    adapter = pydantic.TypeAdapter(list[kind], config=pydantic.ConfigDict(extra="forbid"))  # type: ignore[valid-type]
    exhausted(adapter.validate_python([body]))


def anthropics(body: Json) -> None:
    pytest.importorskip("anthropic", reason="it has Anthropic's types")
    from anthropic.types import message_create_params

    is_stream = body.get("stream", False)
    name = "MessageCreateParamsStreaming" if is_stream else "MessageCreateParamsNonStreaming"
    is_typed_dict(body, getattr(message_create_params, name))


def openais(body: Json) -> None:
    pytest.importorskip("openai", reason="it has OpenAI's types")
    from openai.types.chat import completion_create_params

    is_stream = body.get("stream", False)
    name = "CompletionCreateParamsStreaming" if is_stream else "CompletionCreateParamsNonStreaming"
    is_typed_dict(body, getattr(completion_create_params, name))


def googles(body: Json) -> None:
    """The package has no type for a whole request, but one for each of its members; they refuse unknown names."""
    pytest.importorskip("google.genai", reason="it has Google's types")
    from google.genai import types

    members = {
        "contents": list[types.Content],
        "systemInstruction": types.Content,
        "tools": list[types.Tool],
        "toolConfig": types.ToolConfig,
        "generationConfig": types.GenerationConfig,
        "serviceTier": types.ServiceTier,
        "store": bool,
    }
    assert set(body) <= set(members)
    for name, value in body.items():
        # As JSON: bytes are base64 in it.
        pydantic.TypeAdapter(members[name]).validate_json(json.dumps(value))


def coheres(body: Json) -> None:
    """The parameters of its client's `chat` are the members of a request."""
    pytest.importorskip("cohere", reason="it has Cohere's types")
    import typing

    from cohere.v2.client import V2Client

    known = typing.get_type_hints(V2Client.chat) | {"stream": bool}
    assert set(body) <= set(known)
    for name, value in body.items():
        validated = pydantic.TypeAdapter(known[name]).validate_python(value)
        assert not list(unknown_members(validated)), f"{name}: {value}"


def unknown_members(value: object) -> Iterator[str]:
    """Names in Cohere's models that these do not have; they let everything pass."""
    if isinstance(value, pydantic.BaseModel):
        yield from value.model_extra or {}
        for name in type(value).model_fields:
            yield from unknown_members(getattr(value, name))
    elif isinstance(value, list):
        for inner in value:
            yield from unknown_members(inner)


def ollamas(body: Json) -> None:
    pytest.importorskip("ollama", reason="it has Ollama's types")
    from ollama._types import ChatRequest, Message

    validated = ChatRequest.model_validate(body).model_dump(by_alias=True, exclude_none=True)
    # To a request, a message may also be any mapping; and its pictures are objects before they are sent.
    with_pictures = [m | {"images": [{"value": picture} for picture in m.get("images", [])]} for m in body["messages"]]
    messages = [Message.model_validate(message) for message in with_pictures]
    validated["messages"] = [message.model_dump(exclude_none=True) for message in messages]
    # Its server knows the ids, https://docs.ollama.com/api/chat, its package does not yet; `strict` it passes over.
    newer = {"tool_call_id", "id", "strict"}
    # Schemas, arguments and options are whatever they are.
    assert not list(lost(body, validated, skip={"parameters", "arguments", "options", "format"} | newer))


def lost(before: object, after: object, skip: set[str]) -> Iterator[str]:
    """Names that did not come out again: types that let unknown names pass forget them."""
    if isinstance(before, dict):
        for name, value in before.items():
            if name in skip:
                continue
            if not isinstance(after, dict) or name not in after:
                yield name
            else:
                yield from lost(value, after[name], skip)
    elif isinstance(before, list) and isinstance(after, (list, tuple)):
        for inner, there in zip(before, after, strict=True):
            yield from lost(inner, there, skip)


def bedrocks(body: Json) -> None:
    pytest.importorskip("botocore", reason="it has Converse's service model")
    from test_bedrock import validate_request

    validate_request(MODELS["bedrock"], body)


VENDORS: dict[str, Callable[[Json], None]] = {
    "anthropic": anthropics,
    "bedrock": bedrocks,
    "cohere": coheres,
    "gemini": googles,
    "ollama_chat": ollamas,
    "openai": openais,
    "vertex": googles,
}

# ---- The tests ----


@pytest.fixture
def complete(server: Server) -> Callable[..., Any]:
    """Makes a call at a provider, in whose place the server is."""

    def complete(provider: str, messages: list[Json], **params: Any) -> Any:
        settings: Json = {"api_key": "key", "base_url": server.base_url if provider == "openai" else server.url}
        if provider == "bedrock":
            settings["aws_region_name"] = "us-east-1"
        elif provider == "vertex":
            settings |= {"vertex_project": "p", "vertex_location": "global"}
        model = f"{provider}/{MODELS[provider]}"
        return ritellm.completion(model, messages, drop_params=True, max_retries=0, **settings, **params)

    return complete


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("provider", VENDORS)
def test_a_request_is_of_the_vendors_types(
    server: Server, complete: Callable[..., Any], provider: str, name: str
) -> None:
    messages, params = CONVERSATIONS[name]
    server.answer(refusal(400))
    if (provider, name) in REFUSED_HERE:
        with pytest.raises(ritellm.InvalidArgumentError):
            complete(provider, messages, **params)
        return
    with pytest.raises(ritellm.APIStatusError) as caught:
        complete(provider, messages, **params)
    assert caught.value.status_code == 400, caught.value
    VENDORS[provider](server.last.json)


@pytest.mark.parametrize("provider", VENDORS)
def test_an_answer_that_goes_back_is_of_the_vendors_types(
    server: Server, complete: Callable[..., Any], provider: str
) -> None:
    server.answer(Answer(body=json.dumps(NATIVE_ANSWERS[provider]).encode()), refusal(400))
    message = complete(provider, HELLO, tools=[WEATHER]).choices[0].message
    (tool_call,) = message.tool_calls
    result = {"role": "tool", "tool_call_id": tool_call.id, "content": '{"sky": "blue"}'}
    with pytest.raises(ritellm.APIStatusError) as caught:
        complete(provider, [*HELLO, message, result], tools=[WEATHER])
    assert caught.value.status_code == 400, caught.value
    VENDORS[provider](server.last.json)


@pytest.mark.parametrize("provider", VENDORS)
def test_a_member_that_nobody_knows_would_be_noticed(
    server: Server, complete: Callable[..., Any], provider: str
) -> None:
    server.answer(refusal(400))
    with pytest.raises(ritellm.APIStatusError):
        complete(provider, CALLS, tools=[WEATHER])
    body = server.last.json
    VENDORS[provider](body)
    # Cohere's and Ollama's packages leave it to us to look; all others raise errors of their own.
    for holder in (body, (body.get("messages") or body["contents"])[0]):
        holder["made_up"] = 1
        with pytest.raises((AssertionError, ValueError)):
            VENDORS[provider](body)
        del holder["made_up"]


def test_the_page_has_every_parameter_of_openais() -> None:
    """Checks docs/parameters.md, and with it `tests/parameters.rs`, which writes the page."""
    pytest.importorskip("openai", reason="it has OpenAI's types")
    from openai.types.chat.completion_create_params import CompletionCreateParamsBase

    page = (Path(__file__).parents[1] / "docs" / "parameters.md").read_text(encoding="utf-8")
    ours = {"messages", "model", "stream"}
    names = set(CompletionCreateParamsBase.__annotations__) - ours
    assert not {name for name in names if f"| `{name}`" not in page}
