"""Tests of tools on every wire format: names and ids follow the provider's rules, and the response has the caller's."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from server import Answer, Server, chunk_of, completion_of, dumped, events, plain, stream_of

import ritellm

Json = dict[str, Any]

NAME = r"[a-zA-Z0-9_-]{1,64}"
WIRES = {
    "openai/m": (NAME, r".{1,40}"),
    "mistral/m": (NAME, r"[a-zA-Z0-9]{9}"),
    "groq/m": (NAME, r".+"),
    "anthropic/claude-sonnet-4-5": (NAME, r"[a-zA-Z0-9_-]{1,64}"),
    "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0": (NAME, r"[a-zA-Z0-9_.:-]{1,64}"),
    "gemini/gemini-2.5-flash": (r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}", None),
    "cohere/command-a-03-2025": (NAME, r".+"),
    "ollama_chat/qwen3": (r".+", r".+"),
}
"""Grammars of names and ids; no ids: the wire has none of ours."""

GIVEN = ["search/web", "näme", "9lives", "x" * 80, "fine"]
"""Names of tools, only the last of which every host takes."""


def tools() -> list[Json]:
    return [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in GIVEN]


def history(ids: list[str]) -> list[Json]:
    calls = [
        {
            "id": given,
            "type": "function",
            "function": {"name": GIVEN[0], "arguments": json.dumps(json.dumps({"x": place}))},
        }
        for place, given in enumerate(ids)
    ]
    results = [{"role": "tool", "tool_call_id": given, "content": f"r{place}"} for place, given in enumerate(ids)]
    return [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": calls}, *results]


def arguments(model: str, server: Server) -> Json:
    more: Json = {"api_key": "k", "base_url": server.url, "max_retries": 0}
    if model.startswith("bedrock/"):
        more["aws_region_name"] = "us-east-1"
    return {"model": model, **more}


def sent(server: Server, model: str, messages: list[Json], **more: Any) -> Json:
    server.answer(Answer(status=400, body=b"{}"))
    with pytest.raises(ritellm.BadRequestError):
        ritellm.completion(messages=messages, **arguments(model, server), **more)
    body: Json = server.last.json
    return body


def told(body: Json) -> tuple[list[str], list[Any], list[tuple[Any, Any]]]:
    """Returns the content of a body of any wire format: names of tools, arguments of calls, and pairs of (id, result)."""
    names: list[str] = []
    given: list[Any] = []
    ids: list[Any] = []
    results: list[Any] = []

    def read(value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                read(item)
        if not isinstance(value, dict):
            return
        if isinstance(value.get("arguments"), (str, dict)):
            ids.append(value.get("id"))
            given.append(value["arguments"])
        for name in ("tool_use", "toolUse", "functionCall"):
            call = value.get(name) or (value if value.get("type") == name else None)
            if isinstance(call, dict):
                ids.append(call.get("id") or call.get("toolUseId"))
                given.append(call.get("input", call.get("args")))
        for name in ("tool_call_id", "tool_use_id", "toolUseId"):
            if name in value and ("content" in value):
                results.append(value[name])
        if "function" in value and "id" in value:
            ids[len(ids) :] = [value["id"]]
            arguments = value["function"]["arguments"]
            given.append(json.loads(arguments) if isinstance(arguments, str) else arguments)
            return
        for inside in value.values():
            read(inside)

    declared = body.get("tools") or body["toolConfig"]["tools"]
    for tool in declared:
        for one in tool.get("functionDeclarations", [tool]):
            names.append(one.get("name") or (one.get("function") or one.get("toolSpec"))["name"])
    read(body.get("messages") or body["contents"])
    return names, given, list(zip(ids, results, strict=False))


@pytest.mark.parametrize("model", WIRES)
@pytest.mark.parametrize(
    "ids", [["call_" + "A" * 80, "functions/f#0"], ["", ""], ["a", "a"]], ids=["foreign", "empty", "repeated"]
)
def test_names_and_ids_are_the_hosts(server: Server, model: str, ids: list[str]) -> None:
    names, given, pairs = told(sent(server, model, history(ids), tools=tools()))
    name_grammar, id_grammar = WIRES[model]
    assert all(re.fullmatch(name_grammar, name) for name in names)
    assert len(set(names)) == len(GIVEN) and names[-1] == "fine"
    assert given == [{"x": 0}, {"x": 1}], "arguments in a string within a string"
    if id_grammar is not None:
        assert all(call == result and re.fullmatch(id_grammar, call) for call, result in pairs)
        assert len({call for call, _ in pairs}) == 2


def answer_of(model: str, name: str) -> Answer:
    """An answer that calls this tool."""
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}
    message: Json = {"role": "assistant", "content": None, "tool_calls": [call]}
    bodies: Json = {
        "anthropic": {"content": [{"type": "tool_use", "id": "c", "name": name, "input": {}}], "type": "message"},
        "bedrock": {"output": {"message": {"content": [{"toolUse": {"toolUseId": "c", "name": name, "input": {}}}]}}},
        "gemini": {"candidates": [{"content": {"parts": [{"functionCall": {"name": name}}]}}]},
        "cohere": {"id": "i", "message": message},
        "ollama_chat": {"message": {"tool_calls": [{"function": {"name": name}}]}, "done": True},
    }
    body = bodies.get(model.split("/")[0], {**completion_of(None), "choices": [{"index": 0, "message": message}]})
    return Answer(body=dumped(body))


@pytest.mark.parametrize("model", WIRES)
def test_the_caller_sees_the_given_names(server: Server, model: str) -> None:
    names, *_ = told(sent(server, model, history(["a"]), tools=tools()))
    for given, name in zip(GIVEN, names, strict=True):
        server.answer(answer_of(model, name))
        response = ritellm.completion(messages=history(["a"]), tools=tools(), **arguments(model, server))
        called = response.choices[0].message.tool_calls[0].function
        assert (called.name, called.arguments) == (given, "{}")
        # And it goes back under the name that the host knows.
        message = dict(response.choices[0].message)
        body = sent(server, model, [{"role": "user", "content": "a"}, message], tools=tools())
        assert json.dumps(name) in json.dumps(body.get("messages") or body["contents"])


@pytest.mark.parametrize("model", ["openai/m", "azure/m", "mistral/m"])
def test_a_stream_has_the_given_names_and_arguments(server: Server, model: str) -> None:
    names, *_ = told(sent(server, model, history(["a"]), tools=tools()))

    def piece(index: int, name: str, given: Any) -> Json:
        call = {"index": index, "id": f"c{index}", "type": "function", "function": {"name": name, "arguments": given}}
        return {"id": "i", "choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}

    chunks = [piece(place, name, "") for place, name in enumerate(names[:3])]
    chunks += [piece(3, names[3], {"x": 1}), piece(4, names[4], None)]
    chunks.append({"id": "i", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    server.answer(stream_of(*events(chunks)))
    stream = ritellm.completion(messages=history(["a"]), tools=tools(), stream=True, **arguments(model, server))
    shown = [call.function for chunk in stream for call in chunk.choices[0].delta.tool_calls or []]
    assert [function.name for function in shown] == GIVEN
    assert [function.arguments for function in shown] == ["", "", "", '{"x": 1}', ""]
    assert [call.function.name for call in stream.completion.choices[0].message.tool_calls] == GIVEN


@pytest.mark.parametrize("model", [model for model in WIRES if not model.startswith(("openai", "mistral", "groq"))])
def test_each_call_has_one_result(server: Server, model: str) -> None:
    messages = history(["a", "b"])
    messages += [{**messages[2], "content": "again"}, {**messages[3]}]
    body = sent(server, model, messages, tools=tools())
    text = json.dumps(body)
    name = "functionResponse" if "contents" in body else "toolResult" if model.startswith("bedrock") else None
    wanted = f'"{name}"' if name else '"tool_result"' if model.startswith("anthropic") else '"role": "tool"'
    assert text.count(wanted) == 2, text
    assert text.count("again") == text.count("r0") == text.count('r1"') == 1
    assert text.index("r0") < text.index("again") < text.index("r1")


@pytest.mark.parametrize("given", ["", None, "absent"])
@pytest.mark.parametrize("model", ["openai/m", "cohere/command-a-03-2025"])
def test_calls_without_an_id_are_given_one(server: Server, model: str, given: str | None) -> None:
    def call(name: str, place: int | None = None) -> Json:
        call: Json = {"id": given, "type": "function", "function": {"name": name, "arguments": "{}"}}
        if given == "absent":
            del call["id"]
        return call if place is None else {"index": place, **call}

    message = {"role": "assistant", "content": None, "tool_calls": [call("f"), call("g")]}
    if model.startswith("openai"):
        body = {**completion_of(None), "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
        deltas: list[Json] = [{"tool_calls": [call("f", 0)]}, {"tool_calls": [call("g", 1)]}, {}]
        chunks: list[Json] = [chunk_of(delta, None if delta else "tool_calls") for delta in deltas]
    else:
        body = {"id": "chatcmpl-1", "finish_reason": "TOOL_CALL", "message": message}
        chunks = [{"type": "message-start", "id": "chatcmpl-1"}]
        for place, name in enumerate("fg"):
            delta = {"message": {"tool_calls": call(name)}}
            chunks += [{"type": "tool-call-start", "index": place, "delta": delta}]
            chunks += [{"type": "tool-call-end", "index": place}]
        chunks += [{"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}}]
    said: Json = {"messages": [{"role": "user", "content": "a"}], "tools": tools(), **arguments(model, server)}
    server.answer(Answer(body=dumped(body)), stream_of(*events(chunks)))
    plain_message = ritellm.completion(**said).choices[0].message
    stream = ritellm.completion(**said, stream=True)
    shown = [call.id for chunk in stream for choice in chunk.choices for call in choice.delta.tool_calls or []]
    ids = ["call_1_0", "call_1_1"]
    assert [name for name in shown if name] == ids
    for message in (plain_message, stream.completion.choices[0].message):
        assert [call.id for call in message.tool_calls] == ids
        turn = [
            said["messages"][0],
            message,
            *({"role": "tool", "tool_call_id": name, "content": name} for name in ids),
        ]
        names = [message.get("tool_call_id") for message in sent(server, model, turn, tools=tools())["messages"]]
        assert names == [None, None, *ids]


@pytest.mark.parametrize("given", [None, "", "null", {}, "absent"])
def test_no_arguments_are_an_empty_object(at_openai: Server, given: Any) -> None:
    function: Json = {"name": "f", "arguments": given}
    if given == "absent":
        del function["arguments"]
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": function}]}
    body = {**completion_of(None), "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    at_openai.answer(Answer(body=dumped(body)))
    response = ritellm.completion(model="openai/m", messages=[{"role": "user", "content": "a"}], tools=tools())
    assert response.choices[0].message.tool_calls[0].function.arguments == "{}"


def test_a_call_without_tools_is_the_callers_own_bytes(at_openai: Server) -> None:
    at_openai.answer(plain())
    messages = [{"role": "user", "content": '"tool_calls"'}]
    ritellm.completion(model="openai/m", messages=messages)
    assert at_openai.last.json["messages"] == messages
