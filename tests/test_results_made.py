"""Tests of results that are made by hand, dumped in parts, copied, and shown."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from typing import Any

import pydantic
import pytest
from conftest import Call
from server import MESSAGES, Server, completion_of, plain, streamed

from ritellm import (
    ChatCompletion,
    ChatCompletionChunk,
    CompletionTokensDetails,
    EmbeddingResponse,
    IncompleteStreamError,
    InvalidArgumentError,
    Message,
    Meta,
    Object,
    OutputValidationError,
    ParsedChatCompletion,
    ParsedResponse,
    PromptTokensDetails,
    RateLimitError,
    Response,
    ResponseEvent,
    ResponseItem,
    ResponseUsage,
    Stream,
    ToolCall,
    Usage,
    completion,
)

USAGE = {"total_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {"x": 1}}
STORED = completion_of("Hi", vendor={"list": [{"a": 1, "b": None}, {"a": 2, "b": 3}]})


class Ticket(pydantic.BaseModel):
    title: str


class TestMessages:
    def test_each_role(self) -> None:
        parts = [{"type": "text", "text": "Hi"}]
        assert Message.user("Hi", name="Eve") == {"role": "user", "content": "Hi", "name": "Eve"}
        assert Message.user(parts) == {"role": "user", "content": parts}
        assert Message.system("Hi") == {"role": "system", "content": "Hi"}
        assert Message.developer("Hi") == {"role": "developer", "content": "Hi"}
        call = ToolCall.make("call_1", "f", {"x": 1})
        made = Message.assistant(tool_calls=[call])
        assert made == {"role": "assistant", "content": None, "tool_calls": [call]}
        assert type(made.tool_calls[0]) is ToolCall and made.tool_calls[0].arguments.x == 1  # type: ignore[index]
        result = {"role": "tool", "tool_call_id": "call_1", "content": '{"degrees":4}'}
        assert Message.tool({"degrees": 4}, call) == Message.tool({"degrees": 4}, "call_1") == result
        assert Message.tool("4", "call_1").content == "4"
        assert Message.tool([1, {"a": 2}], "call_1").content == '[1,{"a":2}]'
        assert Message.tool(parts, "call_1").content == parts
        assert type(Message.user("x")) is Message

    def test_they_are_sent_as_dicts_are(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        completion("openai/m", [Message.system("Be brief."), Message.user("Hi")])
        assert at_openai.last.json["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
        ]

    def test_arguments_of_a_call(self) -> None:
        assert ToolCall.make("1", "f").function.arguments == "{}"
        assert ToolCall.make("1", "f", '{"x": 1}').function == {"name": "f", "arguments": '{"x": 1}'}

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: ToolCall.make("1", "f", object()), "arguments is of type object: a dict, or its JSON"),
            (lambda: ToolCall.make("1", "f", [1]), "arguments is of type list: a dict, or its JSON"),
            (lambda: ToolCall.make("1", "f", {"x": object()}), "arguments cannot be written as JSON: .*object"),
            (lambda: Message.tool(object(), "1"), "content cannot be written as JSON: .*object"),
            (
                lambda: ChatCompletion.from_json("nope"),
                "json_data is not valid JSON: .* of a ChatCompletion would be right",
            ),
            (lambda: ChatCompletion.from_json("[1]"), "json_data is the JSON of a value of type list"),
            (lambda: ChatCompletion.from_json(3), "json_data is of type int"),  # type: ignore[arg-type]
            (lambda: json.loads("[]", cls=ChatCompletion), "json_data is the JSON of a value of type list"),
        ],
        ids=["no dict", "a list", "a value inside", "a result", "no JSON", "a JSON list", "no text", "json.loads"],
    )
    def test_what_cannot_be_made(self, make: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message):
            make()

    def test_an_answer_with_a_member_of_that_name(self) -> None:
        assert Message(user="theirs").user == "theirs"


class TestClasses:
    def test_usage_details(self, at_openai: Server) -> None:
        at_openai.answer(plain(usage=USAGE))
        for usage in (completion("openai/m", MESSAGES).usage, Usage(USAGE)):
            assert usage is not None
            assert type(usage.prompt_tokens_details) is PromptTokensDetails
            assert usage.prompt_tokens_details.cached_tokens == 2
            assert type(usage.completion_tokens_details) is CompletionTokensDetails
            assert usage.completion_tokens_details.reasoning_tokens is None

    def test_a_response(self) -> None:
        item = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
        usage = {"input_tokens": 3, "output_tokens_details": {"reasoning_tokens": 1}}
        response = Response(output=[item, {"output": {"item": {}}}], usage=usage)
        assert type(response.usage) is ResponseUsage and response.usage.input_tokens_details is None
        assert response.usage.output_tokens_details.reasoning_tokens == 1  # type: ignore[union-attr]
        assert type(response.output[0]) is ResponseItem and response.output[0].encrypted_content is None
        assert type(response.output[1]["output"]) is Object and type(response.output[1]["output"]["item"]) is Object
        event = ResponseEvent(type="response.output_item.added", item=item, response={"usage": {}})
        assert type(event.item) is ResponseItem and type(event.response.usage) is ResponseUsage  # type: ignore[union-attr]
        assert event.delta is None and type(ChatCompletion(output=[{}]).output[0]) is Object


class TestMeta:
    def test_defaults(self) -> None:
        meta = Meta()
        assert (meta.provider, meta.model, meta.status_code, meta.headers, meta.request_id) == ("", "", 200, {}, None)
        assert (meta.retries, meta.latency, meta.dropped_params, meta.usage, meta.cost) == (0, 0.0, [], None, None)
        assert (meta.total, meta.waited, meta.first_chunk, meta.chunks, meta.between_chunks) == (
            0.0,
            0.0,
            None,
            0,
            None,
        )
        assert (meta.structured_output, meta.validation_retries) == (None, 0)

    def test_everything(self) -> None:
        given: dict[str, Any] = {
            "provider": "openai",
            "model": "m",
            "status_code": 201,
            "headers": {"x-limit": "5", "x-request-id": "req_1"},
            "retries": 2,
            "latency": 0.5,
            "dropped_params": ["seed"],
            "cost": 0.25,
            "total": 2.5,
            "waited": 0.125,
            "first_chunk": 0.5,
            "chunks": 5,
            "structured_output": "tool",
            "validation_retries": 1,
        }
        meta = Meta(**given, usage={"input": 3}, attempts=[{"number": 1, "outcome": "failed"}])
        assert {name: getattr(meta, name) for name in given} == given
        assert meta.between_chunks == 0.5
        assert meta.request_id == "req_1" and meta.usage["input"] == 3 and meta.usage["output"] == 0
        assert [(one.number, one.outcome) for one in meta.attempts] == [(1, "failed")]
        as_json = json.loads(json.dumps(meta.to_dict()))
        for again in (Meta(**as_json), pickle.loads(pickle.dumps(meta)), copy.copy(meta)):
            assert again.to_dict() == meta.to_dict()
        assert Meta(request_id="req_2").headers == {"x-request-id": "req_2"}

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"statuscode": 200}, "Meta has no statuscode: it has provider, model, status_code"),
            ({"status_code": "200"}, "status_code is of type str: an int would be right"),
            ({"latency": "x"}, "latency is of type str"),
            ({"headers": [1]}, "headers is of type list: a dict of str to str would be right"),
            ({"attempts": [{"outcome": "lost"}]}, "attempts, usage, cost or times are not as a Meta has them"),
            ({"chunks": -1}, "times are not as a Meta has them"),
            ({"request_id": "a\nb"}, "a text of one line"),
            ({"cost": object()}, r"Meta\[.cost.\]"),
        ],
    )
    def test_what_it_refuses(self, given: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message):
            Meta(**given)

    def test_a_result_with_it(self) -> None:
        meta = Meta(provider="openai")
        assert ChatCompletion(STORED, meta=meta).meta is meta
        assert "meta" not in ChatCompletion(STORED, meta=meta)
        assert ChatCompletion(meta={"theirs": 1})["meta"] == {"theirs": 1}
        with pytest.raises(AttributeError):
            Message(meta=meta)

    def test_that_of_a_call_as_json(self, at_openai: Server) -> None:
        at_openai.answer(plain(headers={"x-request-id": "req_7"}))
        response = completion("openai/m", MESSAGES)
        again = ChatCompletion.from_json(response.to_json())
        again.meta = Meta(**json.loads(json.dumps(response.meta.to_dict())))
        assert again == response and again.meta.to_dict() == response.meta.to_dict()


class TestStreams:
    CHUNKS: tuple[dict[str, Any], ...] = (
        {"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hel"}}]},
        {"id": "c", "choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}], "usage": USAGE},
    )

    def test_chunks(self) -> None:
        stream = Stream.from_chunks(self.CHUNKS, meta=Meta(request_id="r"))
        chunks = list(stream)
        assert chunks == list(self.CHUNKS) and type(chunks[0]) is ChatCompletionChunk
        assert stream.text == "Hello" and stream.meta.request_id == stream.completion.meta.request_id == "r"
        assert stream.completion.usage.prompt_tokens_details.cached_tokens == 2
        assert list(stream) == []

    async def test_async(self) -> None:
        stream = Stream.from_chunks(ChatCompletionChunk(chunk) for chunk in self.CHUNKS)
        async with stream:
            assert [chunk async for chunk in stream] == list(self.CHUNKS)
        assert stream.completion.choices[0].message.content == "Hello"

    async def test_more_chunks_than_a_task_takes_at_once(self) -> None:
        stream = Stream.from_chunks(str(number) for number in range(3000))
        assert len([chunk async for chunk in stream]) == 3001
        assert stream.text == "".join(map(str, range(3000)))

    def test_a_recorded_one_is_the_same(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(streamed("a", "b", "c"))
        stream = call(stream=True, stream_options={"include_usage": True})
        chunks = list(stream)
        again = Stream.from_chunks(json.loads(json.dumps(chunks)), meta=stream.meta)
        assert list(again) == chunks and again.completion == stream.completion

    def test_texts(self) -> None:
        stream = Stream.from_chunks(["a", '"é\\'])
        assert [chunk.choices[0].delta.content for chunk in stream][-1] is None
        assert stream.completion.choices[0].finish_reason == "stop"
        assert Stream.from_chunks([]).text == "" and list(Stream.from_chunks([])) == []
        assert Stream.from_chunks([]).meta.to_dict() == Meta().to_dict()

    def test_events_and_audio(self) -> None:
        events = [
            {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hi"},
            {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": []}},
        ]
        stream = Stream.from_chunks(events)
        taken = list(stream)
        assert taken == events and type(taken[0]) is ResponseEvent and type(taken[1].response) is Response
        assert type(stream.completion) is Response and stream.completion.id == "r"
        assert list(Stream.from_chunks([b"ab", b"c"])) == [b"ab", b"c"]

    @pytest.mark.parametrize("error", [RateLimitError("slow down", retry_after=3), IncompleteStreamError("cut")])
    async def test_an_error_after_the_last_chunk(self, error: Exception) -> None:
        stream = Stream.from_chunks(["a"], error=error)
        assert next(stream).choices[0].delta.content == "a"
        with pytest.raises(type(error)) as raised:
            next(stream)
        assert raised.value is error and stream.text == "a"
        stream = Stream.from_chunks([], error=error)
        with pytest.raises(type(error)):
            await anext(stream)

    def test_parsed(self) -> None:
        stream = Stream.from_chunks(['{"title": ', '"Printer"}'], response_format=Ticket)
        assert [stream.parsed for _ in stream][:1] == [{}]
        assert stream.parsed == Ticket(title="Printer")
        assert stream.completion.parsed == Ticket(title="Printer")

    @pytest.mark.parametrize(
        ("chunks", "message"),
        [
            ("text", "chunks is of type str: a list of chunks"),
            ({"choices": []}, "chunks is of type dict"),
            (3, "chunks is of type int"),
            ([{"choices": []}, 3], r"chunks\[1\] is of type int: a dict, a str or, for audio, bytes would be right"),
            ([{"choices": [{1, 2}]}], r'chunks\[0\]\["choices"\]\[0\] is of type set'),
            ([b"x", "y"], r"chunks\[1\] is of type str: a chunk of the same kind"),
        ],
    )
    def test_what_cannot_be_one(self, chunks: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message):
            Stream.from_chunks(chunks)
        with pytest.raises(InvalidArgumentError, match="error is of type str"):
            Stream.from_chunks([], error="x")  # type: ignore[arg-type]

    def test_one_that_is_left(self) -> None:
        stream = Stream.from_chunks(["a", "b"])
        for _ in stream:
            break
        with pytest.raises(IncompleteStreamError):
            next(stream)
        stream = Stream.from_chunks(["a", "b"])
        stream.close()
        assert list(stream) == []
        asyncio.run(asyncio.sleep(0))


class TestParsed:
    def test_an_answer_is_read_as_a_type(self) -> None:
        meta = Meta(provider="openai")
        stored = ChatCompletion(completion_of('{"title": "x"}'), meta=meta)
        parsed = stored.parse(Ticket)
        assert type(parsed) is ParsedChatCompletion and parsed.parsed == Ticket(title="x")
        assert parsed == stored and parsed.meta.provider == "openai"
        for again in (copy.copy(parsed), copy.deepcopy(parsed), parsed.copy(), parsed.model_copy(deep=True)):
            assert type(again) is ParsedChatCompletion and again.parsed == parsed.parsed and again == stored
        with pytest.raises(OutputValidationError):
            ChatCompletion(completion_of("no")).parse(Ticket)

    def test_a_response(self) -> None:
        output = [{"type": "message", "content": [{"type": "output_text", "text": "[1]"}]}]
        parsed = Response(output=output).parse({"type": "array"})
        assert type(parsed) is ParsedResponse and parsed.parsed == [1]


class TestDumps:
    """`include` and `exclude` do what they do in pydantic."""

    class Inner(pydantic.BaseModel):
        a: int | None = None
        b: int | None = None

    class Outer(pydantic.BaseModel):
        name: str | None = None
        inner: TestDumps.Inner | None = None
        many: list[TestDumps.Inner] | None = None

    DATA: dict[str, Any] = {  # noqa: RUF012
        "name": "n",
        "inner": {"a": 1, "b": None},
        "many": [{"a": 1, "b": 2}, {"a": 3, "b": None}, {"a": 5, "b": 6}],
    }

    @pytest.mark.parametrize(
        "keywords",
        [
            {"include": {"name"}},
            {"include": set()},
            {"exclude": set()},
            {"exclude": {"name", "many"}},
            {"include": {"inner": {"a"}, "name": True}},
            {"include": {"many": {0, -1}}},
            {"include": {"many": {"__all__": {"b"}}}},
            {"exclude": {"many": {"__all__": {"b"}, 0: {"a"}}}},
            {"exclude": {"many": {-1: True}}},
            {"exclude": {"many": ..., "inner": {"b": ...}}},
            {"include": {"many": {1: {"a"}}}, "exclude": {"many": {1: {"a"}}}},
            {"include": {"name", "inner"}, "exclude": {"inner": {"b"}}},
            {"include": {"none_of_these"}},
            {"exclude_none": True},
            {"exclude": {"name"}, "exclude_none": True},
            {"mode": "json", "by_alias": True, "exclude_unset": True, "round_trip": True, "warnings": False},
            {"exclude": {"name": False}},
        ],
    )
    def test_as_pydantic_does(self, keywords: dict[str, Any]) -> None:
        self.Outer.model_rebuild(_types_namespace={"TestDumps": TestDumps})
        theirs = self.Outer.model_validate(self.DATA).model_dump(**keywords)
        assert Object(self.DATA).model_dump(**keywords) == theirs
        assert json.loads(Object(self.DATA).model_dump_json(**keywords)) == json.loads(json.dumps(theirs))

    def test_defaults_are_the_members_that_read_as_none(self) -> None:
        message = Message(role="assistant", content=None, refusal=None, theirs=None)
        assert message.model_dump(exclude_defaults=True) == {"role": "assistant", "theirs": None}

    def test_arrays(self) -> None:
        numpy = pytest.importorskip("numpy")
        response = EmbeddingResponse(data=[{"embedding": numpy.array([0.5, 1], "float32")}])
        assert response.model_dump(mode="json") == {"data": [{"embedding": [0.5, 1.0]}]}
        assert json.loads(response.model_dump_json(indent=2)) == response.model_dump(mode="json")
        assert type(response.model_dump()["data"][0]["embedding"]) is numpy.ndarray

    def test_halves_of_characters(self) -> None:
        half = Message(content="a\ud83d")
        assert half.to_json() == '{"content": "a\\ud83d"}' and Message.from_json(half.to_json()) == half
        with pytest.raises(InvalidArgumentError, match="NaN"):
            Object(a=float("nan")).to_json()

    def test_typos(self) -> None:
        with pytest.raises(InvalidArgumentError, match="model_dump has no keyword exlude: did you mean exclude"):
            Object(a=1).model_dump(exlude={"a"})
        with pytest.raises(InvalidArgumentError, match="include is of type list"):
            Object(a=1).model_dump(include=["a"])
        assert Object(a="é").model_dump_json(ensure_ascii=True) == '{"a": "\\u00e9"}'

    def test_json_loads_and_from_json(self) -> None:
        response = ChatCompletion(STORED)
        for again in (
            json.loads(json.dumps(response), cls=ChatCompletion),
            ChatCompletion.from_json(response.to_json()),
        ):
            assert again == response and type(again.choices[0].message) is Message


class TestCopies:
    def test_copies_keep_class_and_meta(self) -> None:
        response = ChatCompletion(STORED, meta=Meta(provider="p"))
        for again in (response.copy(), copy.copy(response), response.model_copy()):
            assert type(again) is ChatCompletion and again == response and again.meta is response.meta
            assert again.choices is response.choices
        again = response.model_copy(update={"id": "2", "usage": {"total_tokens": 1}}, deep=True)
        assert again.id == "2" and type(again.usage) is Usage and again.meta.provider == "p"
        assert again.choices[0] is not response.choices[0] and response.id != "2"
        assert type(Message.user("x").copy()) is Message


class Printer:
    """What IPython's printer does, without folding."""

    def __init__(self) -> None:
        self.text_of = ""

    def text(self, text: str) -> None:
        self.text_of += text

    def break_(self) -> None:
        self.text_of += "\n"

    def pretty(self, value: Any) -> None:
        self.text_of += repr(value)

    def group(self, _indent: int, opened: str, closed: str) -> Printer:
        self.text_of += opened
        self._closed = closed
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self.text_of += self._closed


class TestShown:
    LONG = ChatCompletion(
        completion_of(
            "A long <answer>.\n" * 1000,
            message={"reasoning_content": "Hm.", "tool_calls": [ToolCall.make("1", "f", {"x": 1})]},
        )
    )

    def test_one_line_for_each_message(self) -> None:
        printer = Printer()
        self.LONG._repr_pretty_(printer, False)
        lines = printer.text_of.splitlines()
        assert lines[0] == "ChatCompletion("
        assert [line.split(":")[0] for line in lines[1:]] == ["model", "reasoning", "assistant", "tool_call", "usage"]
        assert lines[3].startswith("assistant: A long <answer>. A long") and "(17,000 characters)" in lines[3]
        assert lines[4] == 'tool_call: f({"x":1})'
        assert max(map(len, lines)) < 140

    def test_rich(self) -> None:
        shown = dict(self.LONG.__rich_repr__())
        assert shown["reasoning"] == "Hm." and len(shown["assistant"]) < 140
        assert list(Object(a=1).__rich_repr__()) == [("a", 1)]

    def test_html(self) -> None:
        shown = self.LONG._repr_html_()
        assert shown is not None and shown.count("<details") == 1 and "<answer>" not in shown
        assert shown.count("A long &lt;answer&gt;.\n") == 1000
        assert Object(a=1)._repr_html_() is None

    def test_other_results(self) -> None:
        def rows(value: Object) -> list[tuple[str, str]]:
            return list(value.__rich_repr__())

        assert rows(Message.user([{"type": "text", "text": "Hi "}, {"type": "image_url"}])) == [
            ("user", "Hi [image_url]")
        ]
        assert rows(EmbeddingResponse(model="m", data=[{"embedding": [0.5] * 3}] * 2)) == [
            ("model", "m"),
            ("data", "2 × Embedding of 3 numbers"),
        ]
        output = [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
            {"type": "function_call", "name": "f", "arguments": "{}"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
            {"type": "web_search_call", "status": "completed"},
        ]
        assert rows(Response(output=output)) == [
            ("reasoning", "Hm."),
            ("tool_call", "f({})"),
            ("assistant", "Hi"),
            ("web_search_call", "completed"),
        ]
        printer = Printer()
        Object(a=1)._repr_pretty_(printer, False)
        assert printer.text_of == "Object({'a': 1})"
        Object(a=1)._repr_pretty_(printer, True)

    @pytest.mark.parametrize(
        "odd",
        [
            {"choices": 3},
            {"choices": [None, {"message": 3}]},
            {"output": [{"content": 3}]},
            {"usage": "x"},
            {"data": [{}]},
        ],
    )
    def test_odd_results_are_shown(self, odd: Any) -> None:
        for cls in (ChatCompletion, Response, EmbeddingResponse, Message):
            made = cls(odd)
            list(made.__rich_repr__())
            made._repr_html_()
            made._repr_pretty_(Printer(), False)
