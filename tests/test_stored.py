"""Tests of restoring stored responses, of responses as pydantic fields, and of type hints read at run time."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import typing
from typing import Any

import pydantic
import pytest
from conftest import Call
from server import MESSAGES, Server, completion_of, plain

import ritellm
from ritellm import (
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    Delta,
    Embedding,
    EmbeddingResponse,
    Function,
    InvalidArgumentError,
    Message,
    Object,
    Response,
    ResponseEvent,
    ToolCall,
    Usage,
    completion,
    types,
)

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
STORED = completion_of("Hi", message={"tool_calls": [CALL]}, vendor={"nested": [{"deep": [{}]}]})


def tree_of(value: Any) -> Any:
    """The classes in it."""
    if isinstance(value, dict):
        return type(value), {name: tree_of(item) for name, item in value.items()}
    return [tree_of(item) for item in value] if isinstance(value, list) else None


class TestStored:
    @pytest.mark.parametrize(
        "make",
        [
            ChatCompletion,
            lambda stored: ChatCompletion(**stored),
            lambda stored: ChatCompletion(list(stored.items())),
            ChatCompletion.model_validate,
            ChatCompletion.from_dict,
            lambda stored: ChatCompletion.model_validate_json(json.dumps(stored)),
            lambda stored: ChatCompletion.from_json(json.dumps(stored).encode()),
            lambda stored: ChatCompletion(Object(stored)),
        ],
    )
    def test_it_has_the_classes_of_the_answer(self, at_openai: Server, make: Any) -> None:
        at_openai.answer(plain("Hi", message={"tool_calls": [CALL]}, vendor={"nested": [{"deep": [{}]}]}))
        answer = completion("openai/m", MESSAGES)
        stored = json.loads(json.dumps(answer))
        made = make(stored)
        assert made == answer
        assert tree_of(made) == tree_of(answer)
        assert made.choices[0].message.tool_calls[0].function.arguments == "{}"
        assert tree_of(stored) == tree_of(json.loads(json.dumps(answer))), "what was given stays as it is"

    @pytest.mark.parametrize(
        ("made", "part", "of"),
        [
            (ChatCompletionChunk(choices=[{"delta": {"content": "x"}}]), lambda made: made.choices[0].delta, Delta),
            (Message(tool_calls=[CALL]), lambda made: made.tool_calls[0].function, Function),
            (Choice(message={}), lambda made: made.message, Message),
            (EmbeddingResponse(data=[{"embedding": [0.5]}]), lambda made: made.data[0], Embedding),
            (Response(output=[{"content": [{"text": "x"}]}]), lambda made: made.output[0].content[0], Object),
            (Response(data=[{}]), lambda made: made.data[0], Object),
            (ResponseEvent(response={"usage": {}}), lambda made: made.response, Response),
            (Object(usage={}), lambda made: made.usage, Usage),
            (Object(tool_calls=[{}]), lambda made: made.tool_calls[0], ToolCall),
        ],
    )
    def test_every_class_knows_its_parts(self, made: Any, part: Any, of: type) -> None:
        assert type(part(made)) is of

    def test_a_class_of_ones_own(self) -> None:
        class Mine(ChatCompletion):
            pass

        mine = Mine(STORED)
        assert type(mine) is Mine and type(mine.choices[0]) is Choice
        assert type(Mine.model_validate(ChatCompletion(STORED))) is Mine

    def test_what_has_its_class_stays_itself(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        answer = completion("openai/m", MESSAGES)
        again = ChatCompletion(answer)
        assert again.choices[0] is answer.choices[0] and again.meta is answer.meta
        assert ChatCompletion.model_validate(answer) is answer
        vector = [0.5]
        assert EmbeddingResponse(data=[{"embedding": vector}]).data[0].embedding is vector

    def test_what_is_no_object_is_refused(self) -> None:
        for wrong in (None, 3, [1], "x"):
            with pytest.raises(InvalidArgumentError, match="a dict such as ChatCompletion"):
                ChatCompletion.model_validate(wrong)
            with pytest.raises(InvalidArgumentError, match="the JSON text of a ChatCompletion would be right"):
                ChatCompletion.from_json(json.dumps(wrong))
        with pytest.raises(ValueError, match="JSON"):
            ChatCompletion.from_json("{")

    def test_what_holds_itself_is_refused(self) -> None:
        inside: dict[str, Any] = {}
        inside["inside"] = [inside]
        with pytest.raises(RecursionError):
            Object(inside)
        deep: Any = []
        for _ in range(100_000):
            deep = [deep]
        with pytest.raises(RecursionError):
            Object(deep=deep)

    def test_one_of_the_openai_packages(self) -> None:
        openai = pytest.importorskip("openai.types.chat")
        theirs = openai.ChatCompletion.model_validate(STORED)
        assert ChatCompletion.model_validate(theirs).choices[0].message.tool_calls[0].id == "call_1"

    @pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
    def test_it_is_copied_as_it_is(self, again: Any) -> None:
        assert tree_of(again(ChatCompletion(STORED))) == tree_of(ChatCompletion(STORED))


class TestPydantic:
    class Turn(pydantic.BaseModel):
        message: Message
        usage: Usage | None = None
        answers: list[ChatCompletion] = []

    def test_it_reads_and_writes(self) -> None:
        turn = self.Turn.model_validate({"message": {"content": "x", "tool_calls": [CALL]}, "answers": [STORED]})
        assert type(turn.message) is Message and type(turn.answers[0].choices[0]) is Choice
        assert turn.message.tool_calls[0].function.name == "f"
        again = self.Turn.model_validate_json(turn.model_dump_json())
        assert again == turn and tree_of(again.message) == tree_of(turn.message)
        dumped = turn.model_dump()
        assert type(dumped["message"]) is dict and dumped["answers"] == [STORED]

    def test_what_it_is_given_stays_itself(self) -> None:
        message = Message(content="x")
        assert self.Turn(message=message).message is message

    def test_what_is_no_object_is_refused(self) -> None:
        with pytest.raises(pydantic.ValidationError):
            self.Turn.model_validate({"message": "x"})

    @pytest.mark.parametrize("mode", ["validation", "serialization"])
    def test_it_has_a_json_schema(self, mode: Any) -> None:
        objects = [name for name in types.__all__ if issubclass(getattr(types, name), Object)]
        for name in objects:
            schema = pydantic.TypeAdapter(getattr(types, name)).json_schema(mode=mode)
            assert schema["type"] == "object" and schema["title"] == name
        schema = pydantic.TypeAdapter(ChatCompletion).json_schema(mode=mode)
        assert schema["properties"]["choices"]["items"] == {"$ref": "#/$defs/Choice"}
        choice, message = schema["$defs"]["Choice"], schema["$defs"]["Message"]
        assert choice["properties"]["index"] == {"type": "integer"}
        assert choice["properties"]["message"] == {"$ref": "#/$defs/Message"}
        assert message["properties"]["content"]["anyOf"] == [
            {"type": "string"},
            {"type": "null"},
            {"type": "array", "items": {}},
        ]

    def test_arrays_are_written_as_json(self) -> None:
        numpy = pytest.importorskip("numpy")

        class Vectors(pydantic.BaseModel):
            made: EmbeddingResponse

        vectors = Vectors(made=EmbeddingResponse(data=[{"embedding": numpy.array([0.5, 1], "float32")}]))
        assert json.loads(vectors.model_dump_json()) == {"made": {"data": [{"embedding": [0.5, 1.0]}]}}
        assert type(vectors.model_dump()["made"]["data"][0]["embedding"]) is numpy.ndarray

    def test_what_is_left_out(self) -> None:
        turn = self.Turn.model_validate({"message": {"content": "x", "refusal": None}, "usage": {"total_tokens": 1}})
        assert turn.model_dump(exclude_none=True)["message"] == {"content": "x"}
        assert turn.model_dump(include={"message": {"refusal"}}) == {"message": {"refusal": None}}
        adapter = pydantic.TypeAdapter(ChatCompletion)
        assert json.loads(adapter.dump_json(ChatCompletion(STORED), include={"id"})) == {"id": STORED["id"]}

    def test_a_function_that_is_checked(self) -> None:
        @pydantic.validate_call
        def text(message: Message) -> str | None:
            return message.content

        assert text({"content": "x"}) == "x"  # type: ignore[arg-type]


def public_things() -> list[Any]:
    """Every public class, its methods, and every public function."""
    things = [getattr(ritellm, name) for name in ritellm.__all__ if name != "__version__"]
    # `files` and `batches` are objects.
    things = [thing if callable(thing) else type(thing) for thing in things]
    classes = [thing for thing in things if isinstance(thing, type)]
    methods = [
        member
        for of in classes
        for name in vars(of)
        if callable(member := getattr(of, name)) and (not name.startswith("_") or name == "__init__")
    ]
    return [*things, *methods]


class TestHints:
    def test_all_hints_are_there(self) -> None:
        for thing in public_things():
            typing.get_type_hints(thing)

    def test_all_signatures_are_there(self) -> None:
        for thing in public_things():
            if inspect.isfunction(thing) or inspect.ismethod(thing):
                inspect.signature(thing, eval_str=True)
        assert typing.get_type_hints(ritellm.embedding)["return"] is EmbeddingResponse
        assert typing.get_type_hints(ChatCompletion)["choices"] == list[Choice]


def test_the_fixture_is_what_calls_give(call: Call, at_openai: Server) -> None:
    at_openai.answer(plain())
    assert tree_of(ChatCompletion(completion_of())) == tree_of(call())
