"""Tests of `response_format` as a type or a JSON schema: what is asked for, what becomes of the answer, and its errors."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import datetime
import enum
import json
import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Optional

import pydantic
import pytest
from conftest import Call
from server import MESSAGES, Answer, Json, Server, dumped, event, plain, refusal, stream_of, streamed
from typing_extensions import NotRequired, TypedDict

import ritellm
from ritellm import _core
from ritellm._schemas import Violations, format_of


class Ticket(pydantic.BaseModel):
    """A ticket."""

    title: str = pydantic.Field(description="one line", min_length=2)
    priority: int = pydantic.Field(3, ge=1, le=5)
    tags: list[str] = []


GOOD, BAD = '{"title": "Fix", "priority": 2, "tags": []}', '{"title": "x", "priority": 9, "tags": []}'


class TestAnswers:
    def test_a_model_of_pydantic(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain(GOOD))
        response = call(response_format=Ticket)
        assert response.parsed == Ticket(title="Fix", priority=2)
        assert type(response) is ritellm.ParsedChatCompletion and isinstance(response, ritellm.ChatCompletion)
        assert response.choices[0].message.content == GOOD and "parsed" not in response
        assert (response.meta.structured_output, response.meta.validation_retries) == ("json_schema", 0)
        assert at_openai.requests[0].json["response_format"] == {
            "type": "json_schema",
            "json_schema": {
                "name": "Ticket",
                "strict": True,
                "schema": {
                    "type": "object",
                    "title": "Ticket",
                    "description": "A ticket.",
                    "properties": {
                        "title": {"type": "string", "title": "Title", "description": "one line\n\n{minLength: 2}"},
                        "priority": {
                            "type": "integer",
                            "title": "Priority",
                            "minimum": 1,
                            "maximum": 5,
                            "description": "{default: 3}",
                        },
                        "tags": {
                            "type": "array",
                            "title": "Tags",
                            "items": {"type": "string"},
                            "description": "{default: []}",
                        },
                    },
                    "required": ["title", "priority", "tags"],
                    "additionalProperties": False,
                },
            },
        }

    def test_anything_but_an_object_is_wrapped(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain('{"value": [' + GOOD + "]}"), plain('{"value": "b"}'))
        assert call(response_format=list[Ticket]).parsed == [Ticket(title="Fix", priority=2)]
        assert call(response_format=Literal["a", "b"]).parsed == "b"
        schema = at_openai.requests[1].json["response_format"]["json_schema"]["schema"]
        assert schema["properties"] == {"value": {"type": "string", "enum": ["a", "b"]}}

    def test_a_json_schema(self, call: Call, at_openai: Server) -> None:
        schema = {"title": "Point", "type": "object", "properties": {"x": {"type": "integer", "minimum": 1}}}
        at_openai.answer(plain('{"x": 1}'), plain('{"x": 0}'))
        response = call(response_format=schema)
        assert response.parsed == {"x": 1} and type(response.parsed) is dict
        assert at_openai.requests[0].json["response_format"]["json_schema"]["name"] == "Point"
        with pytest.raises(ritellm.OutputValidationError) as caught:
            call(response_format=schema)
        assert caught.value.errors == ["x: is 0, and has to be at least 1"]

    @pytest.mark.parametrize(
        "form", [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}, {"a": 1}]
    )
    def test_a_format_in_openais_form_is_sent_as_it_is(self, call: Call, at_openai: Server, form: Json) -> None:
        at_openai.answer(plain("{}"))
        response = call(response_format=form)
        assert at_openai.requests[0].json["response_format"] == form
        assert type(response) is ritellm.ChatCompletion and response.meta.structured_output is None
        with pytest.raises(AttributeError):
            response.parsed  # noqa: B018

    def test_tools_may_be_called_instead(self, call: Call, at_openai: Server) -> None:
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
        calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
        at_openai.answer(plain(None, message={"tool_calls": calls}, choice={"finish_reason": "tool_calls"}))
        response = call(response_format=Ticket, tools=[tool])
        assert response.parsed is None and response.choices[0].message.tool_calls[0].id == "c"

    def test_copies_keep_the_value(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain(GOOD))
        response = call(response_format=Ticket)
        for copied in (pickle.loads(pickle.dumps(response)), copy.copy(response), copy.deepcopy(response)):
            assert copied.parsed == response.parsed and type(copied) is type(response)
            assert copied == response and copied.meta.structured_output == "json_schema"
            assert type(copied.choices[0]) is ritellm.Choice


class TestErrors:
    def fails(self, call: Call, server: Server, kind: type[Exception], content: str | None, **more: Any) -> Any:
        server.answer(plain(content, **more))
        with pytest.raises(kind) as caught:
            call(response_format=Ticket)
        error: Any = caught.value
        assert type(error) is kind and isinstance(error, ritellm.StructuredOutputError)
        assert error.response.choices[0].message.content == content and error.response.usage.total_tokens == 12
        assert (error.provider, error.status_code, len(error.attempts)) == ("openai", 200, 1)
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind and again.response == error.response and again.errors == error.errors
        return error

    def test_a_refusal(self, call: Call, at_openai: Server) -> None:
        error = self.fails(call, at_openai, ritellm.OutputRefusedError, None, message={"refusal": "I will not."})
        assert error.refusal == "I will not." and "I will not." in str(error)

    @pytest.mark.parametrize("reason", ["length", "content_filter"])
    def test_an_answer_that_was_cut_off(self, call: Call, at_openai: Server, reason: str) -> None:
        more = {"choice": {"finish_reason": reason}}
        error = self.fails(call, at_openai, ritellm.OutputIncompleteError, '{"title": "Fi', **more)
        assert error.finish_reason == reason and error.text == '{"title": "Fi'

    def test_an_answer_that_is_whole_at_the_limit(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain(GOOD, choice={"finish_reason": "length"}))
        assert call(response_format=Ticket).parsed.title == "Fix"

    def test_an_answer_that_does_not_fit(self, call: Call, at_openai: Server) -> None:
        error = self.fails(call, at_openai, ritellm.OutputValidationError, BAD)
        assert error.errors == [
            'title: String should have at least 2 characters (it is "x")',
            "priority: Input should be less than or equal to 5 (it is 9)",
        ]
        assert isinstance(error.__cause__, Violations)
        assert "is not valid JSON" in str(self.fails(call, at_openai, ritellm.OutputValidationError, "Sorry."))
        self.fails(call, at_openai, ritellm.OutputValidationError, None)

    def test_validators_of_the_model_run(self, call: Call, at_openai: Server) -> None:
        class Even(pydantic.BaseModel):
            n: int

            @pydantic.field_validator("n")
            @classmethod
            def check(cls, n: int) -> int:
                if n % 2:
                    raise ValueError("odd")
                return n

        at_openai.answer(plain('{"n": 3}'))
        with pytest.raises(ritellm.OutputValidationError, match="odd"):
            call(response_format=Even)


class TestValidationRetries:
    def test_the_model_is_told_why(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain(BAD), plain(GOOD))
        response = call(response_format=Ticket, validation_retries=1)
        assert response.parsed.title == "Fix"
        assert (response.meta.validation_retries, [a["number"] for a in response.meta.attempts]) == (1, [1, 2])
        first, second = at_openai.requests
        user, assistant, correction = second.json["messages"]
        assert [user] == MESSAGES == first.json["messages"]
        assert assistant == {"role": "assistant", "content": BAD}
        assert correction["role"] == "user" and "- title: String should have at least 2" in correction["content"]
        assert (
            "validation_retries" not in first.json and second.json["response_format"] == first.json["response_format"]
        )

    def test_they_end(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain(BAD), plain("no"), plain(BAD))
        with pytest.raises(ritellm.OutputValidationError) as caught:
            call(response_format=Ticket, validation_retries=2)
        assert len(at_openai.requests) == 3
        assert caught.value.response.meta.validation_retries == 2 and len(caught.value.attempts) == 3

    def test_the_cost_is_that_of_all(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain(BAD), plain(GOOD))
        prices = {"openai/gpt-4o-mini": {"input": 1.0, "output": 10.0}}
        client = ritellm.Client(catalog=prices, base_url=at_openai.base_url, api_key="k")
        meta = call(client=client, response_format=Ticket, validation_retries=1).meta
        assert (meta.usage["input"], meta.usage["output"]) == (18, 6)
        assert meta.cost == pytest.approx(2 * (9 + 3 * 10) / 1e6)

    def test_a_refusal_is_final(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain(None, message={"refusal": "no"}))
        with pytest.raises(ritellm.OutputRefusedError):
            call(response_format=Ticket, validation_retries=3)

    @pytest.mark.parametrize("value", [-1, "1", True, 1.5])
    def test_a_number_that_is_none(self, call: Call, at_openai: Server, value: Any) -> None:
        with pytest.raises(ritellm.InvalidArgumentError, match="validation_retries is"):
            call(response_format=Ticket, validation_retries=value)

    def test_they_need_something_to_check(self, call: Call, at_openai: Server) -> None:
        for arguments in ({}, {"response_format": {"type": "json_object"}}):
            with pytest.raises(ritellm.InvalidArgumentError, match="validation_retries belongs to"):
                call(validation_retries=1, **arguments)
        with pytest.raises(ritellm.InvalidArgumentError, match="exclude each other"):
            call(response_format=Ticket, stream=True, validation_retries=1)
        assert at_openai.requests == []


class TestStreams:
    def test_the_value_grows(self, at_openai: Server) -> None:
        at_openai.answer(streamed('{"title": "F', 'ix", "prio', 'rity": 2', ', "tags": ["a', '"]}'))
        stream = ritellm.completion("openai/gpt-4o-mini", MESSAGES, response_format=Ticket, stream=True)
        seen = [stream.parsed for chunk in stream if chunk.choices and chunk.choices[0].delta.content]
        assert seen == [
            {"title": "F"},
            {"title": "Fix"},
            {"title": "Fix"},
            {"title": "Fix", "priority": 2, "tags": ["a"]},
            {"title": "Fix", "priority": 2, "tags": ["a"]},
        ]
        assert stream.parsed == Ticket(title="Fix", priority=2, tags=["a"])
        assert seen[0].title == "F"
        assert type(stream.completion) is ritellm.ParsedChatCompletion
        assert stream.completion.parsed == stream.parsed and stream.meta.structured_output == "json_schema"

    def test_what_was_said_is_not_lost(self, read: Call, at_openai: Server) -> None:
        at_openai.answer(streamed('{"title": "x"}'))
        chunks, stream = read(response_format=Ticket)
        assert len(chunks) > 1 and stream.text == '{"title": "x"}'
        with pytest.raises(ritellm.OutputValidationError) as caught:
            stream.parsed  # noqa: B018
        assert caught.value.response.choices[0].message.content == '{"title": "x"}'

    def test_a_wrapped_value(self, read: Call, at_openai: Server) -> None:
        at_openai.answer(streamed('{"val', 'ue": [1, 2', ", 3]}"))
        stream = ritellm.completion("openai/gpt-4o-mini", MESSAGES, response_format=list[int], stream=True)
        seen = [stream.parsed for _ in stream]
        assert seen[:3] == [None, None, [1]] and stream.parsed == [1, 2, 3]

    def test_another_stream_has_none(self, read: Call, at_openai: Server) -> None:
        at_openai.answer(streamed("Hi"))
        _, stream = read()
        with pytest.raises(AttributeError, match="response_format"):
            stream.parsed  # noqa: B018


def anthropic_stream(*pieces: str) -> Answer:
    """A streamed answer of Claude that calls the tool of a ticket."""
    block = {"type": "tool_use", "id": "t", "name": "Ticket", "input": {}}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": [], "usage": {}}
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    chunks: list[Json] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]
    return stream_of(*(f"event: {chunk['type']}\n".encode() + event(chunk) for chunk in chunks))


def anthropic(*content: Json, stop_reason: str = "end_turn") -> Answer:
    usage = {"input_tokens": 1, "output_tokens": 1}
    body = {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": content, "usage": usage}
    return Answer(body=dumped({**body, "stop_reason": stop_reason}))


class TestOtherProviders:
    OLD = "anthropic/claude-3-5-haiku-latest"

    def test_a_tool_of_an_older_claude(self, call: Call, at_openai: Server) -> None:
        use = {"type": "tool_use", "id": "t", "name": "Ticket", "input": json.loads(BAD)}
        text = {"type": "text", "text": "Here it is:\n```json\n" + GOOD + "\n```"}
        at_openai.answer(anthropic(use, stop_reason="tool_use"), anthropic(text))
        where = {"base_url": at_openai.url, "api_key": "k"}
        response = call(self.OLD, response_format=Ticket, validation_retries=1, **where)
        assert response.parsed.title == "Fix" and response.meta.structured_output == "tool"
        first, second = at_openai.requests
        assert first.json["tool_choice"] == {"type": "tool", "name": "Ticket"}
        # The earlier answer is a text, as it was shown to the caller: no call without a result.
        assert [message["role"] for message in second.json["messages"]] == ["user", "assistant", "user"]
        assert "tool_use" not in json.dumps(second.json["messages"])

    def test_a_stream_of_a_tool(self, at_openai: Server) -> None:
        at_openai.answer(anthropic_stream('{"title": "F', 'ix", "tags', '": ["a"]}'))
        where = {"base_url": at_openai.url, "api_key": "k"}
        stream = ritellm.completion(self.OLD, MESSAGES, response_format=Ticket, stream=True, **where)
        seen = []
        for chunk in stream:
            assert not chunk.choices[0].delta.tool_calls
            seen.append(stream.parsed)
        assert {"title": "F"} in seen and stream.parsed == Ticket(title="Fix", tags=["a"])
        assert stream.completion.choices[0].finish_reason == "stop"
        assert stream.completion.choices[0].message.tool_calls is None

    def test_a_schema_of_claude(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(anthropic({"type": "text", "text": GOOD}), anthropic(stop_reason="refusal"))
        where = {"base_url": at_openai.url, "api_key": "k"}
        response = call("anthropic/claude-sonnet-4-5", response_format=Ticket, **where)
        assert response.parsed.title == "Fix" and response.meta.structured_output == "json_schema"
        assert at_openai.last.json["output_config"]["format"]["schema"]["additionalProperties"] is False
        with pytest.raises(ritellm.OutputRefusedError, match="it gave no reason"):
            call("anthropic/claude-sonnet-4-5", response_format=Ticket, **where)

    def test_json_mode(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain(GOOD))
        response = call("deepseek/deepseek-chat", response_format=Ticket, base_url=at_openai.url, api_key="k")
        assert response.parsed.title == "Fix" and response.meta.structured_output == "json_object"
        assert '"minLength":2' in at_openai.last.json["messages"][0]["content"]

    def test_each_deployment_of_a_router_in_its_own_form(self, at_openai: Server) -> None:
        at_openai.answer(Answer(500), plain(GOOD))
        where = {"api_key": "k", "base_url": at_openai.url}
        first = ritellm.Deployment("openai/gpt-4o-mini", order=1, **where)
        router = ritellm.Router({"g": [first, ritellm.Deployment("deepseek/deepseek-chat", order=2, **where)]})
        response = router.completion("g", MESSAGES, response_format=Ticket)
        assert response.parsed.title == "Fix" and response.meta.structured_output == "json_object"
        forms = [request.json["response_format"]["type"] for request in at_openai.requests]
        assert forms == ["json_schema", "json_object"]
        assert [attempt["deployment"] for attempt in response.meta.attempts] == [
            "openai/gpt-4o-mini",
            "deepseek/deepseek-chat",
        ]


REFUSALS = [
    "'response_format.type' : value is not one of the allowed values ['text','json_object']",
    'response_format type must be one of "text" or "json_object", but got: json_schema',
    "Unrecognized request argument supplied: response_format",
]


class TestHostsThatRefuseSchemas:
    """A host of which nothing is known is asked once more, in JSON mode, and the client remembers it."""

    @staticmethod
    def forms(server: Server) -> list[str]:
        return [request.json.get("response_format", {}).get("type", "") for request in server.requests]

    @pytest.mark.parametrize("message", REFUSALS)
    def test_another_form_is_tried_once(self, call: Call, server: Server, message: str) -> None:
        server.answer(refusal(400, message), plain(GOOD), plain(GOOD), plain(GOOD))
        ends: list[Any] = []
        with ritellm.Client(on_call=ends.append) as client:
            options: Json = {"base_url": server.url, "api_key": "k", "max_retries": 0, "client": client}
            response = call(model="vllm/m", response_format=Ticket, **options)
            assert response.parsed.title == "Fix" and response.meta.structured_output == "json_object"
            assert [attempt.get("status_code") for attempt in response.meta.attempts] == [400, 200]
            assert self.forms(server) == ["json_schema", "json_object"]
            said = server.requests[1].json["messages"]
            assert '"priority"' in said[0]["content"] and said[1:] == MESSAGES
            # The next call goes straight, one of another model does not.
            again = call(model="vllm/m", response_format=Ticket, **options)
            assert again.meta.structured_output == "json_object" and again.parsed == response.parsed
            call(model="vllm/other", response_format=Ticket, **options)
            assert self.forms(server)[2:] == ["json_object", "json_schema"]
        assert [len(record.attempts) for record in ends] == [2, 1, 1]

    def test_streams_tools_and_custom_providers(self, server: Server) -> None:
        server.answer(refusal(422, REFUSALS[0]), streamed(GOOD[:9], GOOD[9:]), streamed(GOOD))
        provider = {"base_url": server.url, "api_key": "k"}
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
        with ritellm.Client(providers={"mine": provider}) as client:
            stream = client.completion("mine/m", MESSAGES, response_format=Ticket, stream=True)
            assert list(stream) and stream.parsed == Ticket(title="Fix", priority=2)
            stream = client.completion("mine/m", MESSAGES, response_format=Ticket, stream=True, tools=[tool])
            assert list(stream) and stream.parsed.title == "Fix"
        assert self.forms(server) == ["json_schema", "json_object", ""]

    def test_the_responses_api(self, at_openai: Server) -> None:
        message = "Unsupported value: 'text.format.type'"
        at_openai.answer(refusal(400, message), TestResponses().answer(GOOD))
        assert ritellm.responses("openai/gpt-5-mini", "Hi", response_format=Ticket).parsed.title == "Fix"
        assert [request.json["text"]["format"]["type"] for request in at_openai.requests] == [
            "json_schema",
            "json_object",
        ]

    def test_it_is_not_tried_again_and_again(self, call: Call, server: Server) -> None:
        options: Json = {"model": "vllm/m", "base_url": server.url, "response_format": Ticket, "max_retries": 0}
        for answers in (
            [refusal(400, REFUSALS[0]), refusal(400, REFUSALS[0])],
            [refusal(400, "Invalid schema for response_format 'Ticket': x")],
            [refusal(400)],
            [refusal(404, REFUSALS[0])],
        ):
            server.requests.clear()
            server.answer(*answers)
            with pytest.raises(ritellm.RiteLLMError):
                call(**options)
            assert len(server.requests) == len(answers)

    def test_a_format_of_the_callers_is_not_changed(self, call: Call, server: Server) -> None:
        server.answer(refusal(400, REFUSALS[0]))
        form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}
        with pytest.raises(ritellm.BadRequestError):
            call(model="vllm/m", base_url=server.url, response_format=form)


class TestResponses:
    def test_a_stream(self, at_openai: Server) -> None:
        deltas: list[Json] = [
            {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "item_id": "m", "delta": text}
            for text in ('{"title": "F', 'ix"}')
        ]
        whole = json.loads(self.answer('{"title": "Fix"}').body)
        at_openai.answer(stream_of(*map(event, [*deltas, {"type": "response.completed", "response": whole}])))
        stream = ritellm.responses("openai/gpt-5-mini", "Hi", response_format=Ticket, stream=True)
        seen = [stream.parsed for _ in stream]
        assert seen[0] == {"title": "F"}
        assert stream.parsed == Ticket(title="Fix") and type(stream.completion) is ritellm.ParsedResponse

    def answer(self, text: str, **more: Any) -> Any:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        output = [{"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": content}]
        body = {"id": "r", "object": "response", "model": "m", "status": "completed", "output": output, **more}
        return dataclasses.replace(plain(), body=dumped(body))

    @pytest.mark.parametrize("name", ["response_format", "text_format"])
    def test_a_type(self, at_openai: Server, name: str) -> None:
        at_openai.answer(self.answer(BAD), self.answer(GOOD))
        arguments: Json = {name: Ticket, "text": {"verbosity": "low"}, "validation_retries": 1}
        response = ritellm.responses("openai/gpt-5-mini", "Hi", **arguments)
        assert response.parsed == Ticket(title="Fix", priority=2) and type(response) is ritellm.ParsedResponse
        first, second = at_openai.requests
        text = first.json["text"]
        assert text["verbosity"] == "low" and name not in first.json
        assert (text["format"]["type"], text["format"]["strict"], text["format"]["name"]) == (
            "json_schema",
            True,
            "Ticket",
        )
        assert text["format"]["schema"]["required"] == ["title", "priority", "tags"]
        assert [item["role"] for item in second.json["input"]] == ["user", "assistant", "user"]

    def test_errors(self, at_openai: Server) -> None:
        at_openai.answer(self.answer('{"ti', status="incomplete", incomplete_details={"reason": "max_output_tokens"}))
        with pytest.raises(ritellm.OutputIncompleteError) as caught:
            asyncio.run(ritellm.aresponses("openai/gpt-5-mini", "Hi", response_format=Ticket))
        assert caught.value.response.status == "incomplete" and caught.value.finish_reason == "length"


# Types that this package reads by itself.


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@dataclasses.dataclass
class Line:
    text: Annotated[str, "what it says"]
    mood: Mood = Mood.GOOD
    count: int = dataclasses.field(default=1, metadata={"description": "how often"})
    inner: Optional[Line] = None  # noqa: UP045


class Page(TypedDict):
    """A page."""

    lines: list[Line]
    when: NotRequired[datetime.date]
    extra: dict[str, float]


class TestTypes:
    def test_a_dataclass_and_its_schema(self, at_openai: Server) -> None:
        at_openai.answer(plain('{"text": "a", "mood": "bad", "count": 2.0, "inner": {"text": "b"}}'))
        response = ritellm.completion("openai/gpt-4o-mini", MESSAGES, response_format=Line)
        assert response.parsed == Line("a", Mood.BAD, 2, Line("b"))
        line = {
            "type": "object",
            "properties": {
                "text": {"type": "string", "description": "what it says"},
                "mood": {"type": "string", "enum": ["good", "bad"]},
                "count": {"type": "integer", "description": "how often\n\n{default: 1}"},
                "inner": {"anyOf": [{"$ref": "#/$defs/Line"}, {"type": "null"}], "description": "{default: null}"},
            },
            "required": ["text", "mood", "count", "inner"],
            "additionalProperties": False,
        }
        assert at_openai.requests[0].json["response_format"]["json_schema"]["schema"] == {
            "$defs": {"Line": line},
            **line,
        }

    def test_a_typed_dict(self) -> None:
        page = '{"lines": [{"text": "a"}], "when": "2026-11-28", "extra": {"x": 1}}'
        assert format_of(Page).read(page) == {
            "lines": [Line("a")],
            "when": datetime.date(2026, 11, 28),
            "extra": {"x": 1.0},
        }

    @pytest.mark.parametrize(
        ("target", "text", "value"),
        [
            (int | None, "null", None),
            (Literal[1, "a", None], '"a"', "a"),
            (Sequence[str], '["a"]', ["a"]),
            (tuple[int, str], '[1, "a"]', (1, "a")),
            (tuple[int, ...], "[1, 2]", (1, 2)),
            (set[str], '["a", "a"]', {"a"}),
            (list[int | str], '[1, "1"]', [1, "1"]),
            (float, "1", 1.0),
            (Any, '{"a": 1}', {"a": 1}),
            (list, "[1]", [1]),
            (
                datetime.datetime,
                '"2026-11-28T10:00:00Z"',
                datetime.datetime(2026, 11, 28, 10, tzinfo=datetime.timezone.utc),
            ),
            (dict[str, Mood], '{"a": "good"}', {"a": Mood.GOOD}),
            (Annotated[int, pydantic.Field(ge=1)], "1", 1),
            (list[pydantic.HttpUrl], '["https://x.y/"]', [pydantic.HttpUrl("https://x.y/")]),
            (pydantic.TypeAdapter(list[int]), "[1]", [1]),
        ],
        ids=str,
    )
    def test_values(self, target: Any, text: str, value: Any) -> None:
        read = format_of(target).read(text)
        assert read == value and type(read) is type(value)

    @pytest.mark.parametrize(
        ("target", "text", "reasons"),
        [
            (int, "true", ["is true, and has to be of type integer"]),
            (str, "1", ["is 1, and has to be of type string"]),
            (Literal[1], "true", ["is true, and has to be one of [1]"]),
            (tuple[int, int], "[1]", ["has 1 items, and has to have 2"]),
            (Line | None, "{}", ['lacks "text"']),
            (int | str, "[]", ["is [], and fits none of the alternatives"]),
            (datetime.date, '"x"', ["is \"x\", and has to be a date: Invalid isoformat string: 'x'"]),
            (
                list[Line],
                '[{"text": 1, "mood": "so so"}, {"text": "a", "more": 1}, 3]',
                [
                    "[0].text: is 1, and has to be of type string",
                    '[0].mood: is "so so", and has to be one of ["good", "bad"]',
                    '[1]: has "more", which is not allowed',
                    "[2]: is 3, and has to be of type object",
                ],
            ),
            (Annotated[int, pydantic.Field(ge=1)], "0", ["Input should be greater than or equal to 1 (it is 0)"]),
        ],
        ids=str,
    )
    def test_what_does_not_fit(self, target: Any, text: str, reasons: list[str]) -> None:
        with pytest.raises(Violations) as caught:
            format_of(target).read(f'{{"value": {text}}}')
        assert caught.value.reasons == reasons

    @pytest.mark.parametrize("text", ["\n \n", "[" * 100_000, "[" * 20_000 + "]" * 20_000, "9" * 10_000, '"\ud83d"'])
    def test_answers_that_nothing_can_read(self, text: str) -> None:
        for target in (list[Any], {"type": "array"}, int, list[Ticket]):
            with pytest.raises(Violations):
                format_of(target).read(text)

    @pytest.mark.parametrize("target", [print, int.__class__, Literal[b"x"], TestAnswers, lambda: 1])
    def test_what_is_no_type_of_json(self, call: Call, at_openai: Server, target: Any) -> None:
        with pytest.raises((ritellm.InvalidArgumentError, TypeError), match="response_format"):
            call(response_format=target)
        assert at_openai.requests == []

    def test_a_schema_that_cannot_be_used(self, call: Call, at_openai: Server) -> None:
        for schema in ({"$ref": "#/$defs/X"}, {"type": "object", "properties": {"x": {"enum": [print]}}}):
            with pytest.raises(ritellm.InvalidArgumentError, match="response_format"):
                call(response_format=schema)


def test_without_pydantic_and_without_imports() -> None:
    program = """
import sys
sys.modules["pydantic"] = None
import ritellm
assert not {"ritellm._structured", "ritellm._schemas"} & set(sys.modules)
import dataclasses, decimal
from ritellm._schemas import format_of
@dataclasses.dataclass
class Line:
    text: str
assert format_of(Line).read('{"text": "a"}') == Line("a")
try:
    format_of(list[decimal.Decimal])
except ritellm.InvalidArgumentError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Decimal" in done.stdout and "only pydantic reads" in done.stdout


def test_the_parts_of_a_format() -> None:
    """What a bulk job uses: the schema, its check, and the reading of an answer."""
    core = _core.ResponseFormat("a name", {"type": "object", "properties": {"x": {"type": "integer"}}})
    assert core.name == "a_name"
    assert core.json('Here: ```json\n{"x": 1}\n```') == '{"x": 1}' and core.json("no") is None
    assert core.violations('{"x": "1"}') == ['x: is "1", and has to be of type integer']
    assert core.partial('{"x": 1, "y') == {"x": 1} and core.partial("") is None


def test_classes_of_a_function(call: Call, at_openai: Server) -> None:
    @dataclasses.dataclass
    class Inner:
        text: str

    @dataclasses.dataclass
    class Outer:
        inner: list[Inner]

    at_openai.answer(plain('{"inner": [{"text": "a"}]}'))
    assert call(response_format=Outer).parsed == Outer([Inner("a")])
