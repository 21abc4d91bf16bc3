"""Tests of the results of calls: dicts that can be read like the OpenAI SDK's objects, and their `meta`."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import sys
import weakref
from typing import Any

import pytest
from conftest import Call
from server import KEY, MESSAGES, USAGE, Answer, Server, completion_of, dumped, plain

from ritellm import ChatCompletion, Choice, Function, Message, Meta, Object, ToolCall, Usage, _core, completion

TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


@pytest.fixture
def response(at_openai: Server) -> Any:
    answer = plain(
        "Hello, wörld 🍓",
        message={"tool_calls": [TOOL_CALL], "annotations": []},
        items=[1, 2],
        get="got",
        keys={"values": 3},
        vendor={"nested": {"deep": True}, "none": None},
        headers=[("x-request-id", "req_7"), ("X-Twice", "a"), ("x-twice", "b"), ("x-Limit", "5")],
    )
    at_openai.answer(answer)
    return completion("openai/gpt-4o-mini", MESSAGES)


class TestAccess:
    def test_the_result_is_the_call_s_json_untouched(self, response: Any, at_openai: Server) -> None:
        expected = completion_of(
            "Hello, wörld 🍓",
            message={"tool_calls": [TOOL_CALL], "annotations": []},
            items=[1, 2],
            get="got",
            keys={"values": 3},
            vendor={"nested": {"deep": True}, "none": None},
        )
        assert response == expected
        assert list(response) == list(expected)

    def test_sync_and_async_give_the_same(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain())
        assert call() == completion_of()

    def test_items_and_attributes_read_the_same(self, response: Any) -> None:
        assert response["choices"][0]["message"]["content"] == "Hello, wörld 🍓"
        assert response.choices[0].message.content == "Hello, wörld 🍓"
        assert response.choices[0].message is response["choices"][0]["message"]
        assert response.usage.total_tokens == 12
        assert response.choices[0].message.tool_calls[0].function.arguments == '{"x": 1}'
        assert response.vendor.nested.deep is True

    def test_every_object_has_its_class(self, response: Any) -> None:
        call = response.choices[0].message.tool_calls[0]
        assert type(response) is ChatCompletion
        assert type(response.choices) is list
        assert type(response.choices[0]) is Choice
        assert type(response.choices[0].message) is Message
        assert type(call) is ToolCall
        assert type(call.function) is Function
        assert type(response.usage) is Usage
        assert type(response.vendor.nested) is Object
        for value in (response, response.choices[0], response.usage, response.vendor):
            assert isinstance(value, (dict, Object))

    def test_an_optional_key_that_is_missing_reads_as_none(self, response: Any) -> None:
        message = response.choices[0].message
        for name in ("reasoning_content", "function_call", "audio", "provider_specific_fields", "thinking_blocks"):
            assert getattr(message, name) is None
            assert name not in message
            assert message.get(name, "absent") == "absent"
            with pytest.raises(KeyError):
                message[name]
        assert response.service_tier is None
        assert response.choices[0].delta is None
        assert response.usage.prompt_tokens_details is None

    def test_an_unknown_attribute_is_an_attribute_error_that_says_what_there_is(self, response: Any) -> None:
        for value in (response, response.choices[0], response.choices[0].message, response.vendor):
            assert not hasattr(value, "no_such_thing")
            with pytest.raises(AttributeError, match="no_such_thing"):
                _ = value.no_such_thing
        with pytest.raises(AttributeError, match=r"nested.*none"):
            _ = response.vendor.no_such_thing
        assert response.vendor.none is None
        assert getattr(response, "no_such_thing", 7) == 7

    def test_in_and_get(self, response: Any) -> None:
        assert "choices" in response
        assert "nothing" not in response
        assert response.get("id") == "chatcmpl-1"
        assert response["choices"][0].get("delta", {}) == {}

    def test_a_key_with_the_name_of_a_dict_method_is_an_item(self, response: Any) -> None:
        assert response["items"] == [1, 2]
        assert response["get"] == "got"
        assert response["keys"] == {"values": 3}
        assert callable(response.items)
        assert dict(response.items())["items"] == [1, 2]
        assert set(response.keys()) == set(response)
        assert response["keys"]["values"] == 3

    def test_keys_with_the_names_of_our_own_attributes(self, at_openai: Server) -> None:
        at_openai.answer(plain(meta="theirs", model_dump=1, __class__="x"))
        response = completion("openai/m", MESSAGES)
        assert response["meta"] == "theirs"
        assert isinstance(response.meta, Meta)
        assert response.model_dump()["model_dump"] == 1
        assert type(response) is ChatCompletion
        assert response["__class__"] == "x"

    def test_dir_names_the_keys(self, response: Any) -> None:
        assert {"choices", "vendor", "model_dump", "meta", "items"} <= set(dir(response))

    def test_repr_names_the_class(self, response: Any) -> None:
        assert repr(response).startswith("ChatCompletion(")
        assert "Hello, wörld 🍓" in repr(response)

    def test_pattern_matching(self, response: Any) -> None:
        match response:
            case {"choices": [{"message": {"content": str(text)}}]}:
                assert text == "Hello, wörld 🍓"
            case _:
                pytest.fail("a dict pattern should match")


class TestChanges:
    def test_attributes_are_set_as_keys(self, response: Any) -> None:
        message = response.choices[0].message
        message.content = "other"
        assert message["content"] == "other"
        message.made_up = 5
        assert message["made_up"] == 5
        message["content"] = "third"
        assert message.content == "third"
        response.choices[0].message = {"role": "user"}
        assert response["choices"][0]["message"] == {"role": "user"}

    def test_attributes_are_deleted_as_keys(self, response: Any) -> None:
        message = response.choices[0].message
        del message.content
        assert "content" not in message
        assert message.content is None
        with pytest.raises(AttributeError, match="content"):
            del message.content
        del response["vendor"]
        assert not hasattr(response, "vendor")

    def test_dict_methods_change_it(self, response: Any) -> None:
        usage = response.usage
        usage.update(total_tokens=1)
        assert usage.total_tokens == 1
        assert usage.setdefault("more", 2) == 2
        assert usage.pop("more") == 2
        usage |= {"again": 3}
        assert usage.again == 3

    def test_the_user_can_make_one(self) -> None:
        message = Message(role="user", content="Hi")
        assert message == {"role": "user", "content": "Hi"}
        assert message.role == "user"
        assert Message({"role": "user"}).content is None
        assert Object([("a", 1)], b=2) == {"a": 1, "b": 2}
        assert Object().model_dump() == {}


class TestSubclasses:
    """A class below ours is a Python class like any other."""

    def test_its_own_getitem_contains_and_missing(self) -> None:
        class Mine(Message):
            def __getitem__(self, key: str) -> Any:
                return "mine" if key == "content" else super().__getitem__(key)

            def __contains__(self, key: object) -> bool:
                return key == "made up" or super().__contains__(key)

            def __missing__(self, key: str) -> str:
                return f"no {key}"

        mine = Mine(role="user", content="Hi")
        assert (mine["content"], mine["role"], mine["other"]) == ("mine", "user", "no other")
        assert ("made up" in mine, "role" in mine, "other" in mine) == (True, True, False)

    def test_a_getitem_that_is_set_later(self) -> None:
        class Mine(Message):
            pass

        mine = Mine(role="user")
        assert mine["role"] == "user"
        Mine.__getitem__ = lambda self, key: key  # type: ignore[method-assign]
        assert mine["role"] == "role"
        del Mine.__getitem__
        assert mine["role"] == "user"

    def test_slots_finalisers_weak_references_and_cycles(self) -> None:
        ended: list[str] = []

        class Mine(Message):
            __slots__ = ("__weakref__", "more")
            more: Any

            def __del__(self) -> None:
                ended.append(self["role"])

        held = Object(x=1)
        mine = Mine(role="first")
        mine.__class__.more.__set__(mine, held)  # type: ignore[attr-defined]
        weak = weakref.ref(mine)
        del mine
        assert (ended, weak(), sys.getrefcount(held)) == (["first"], None, 2)
        mine = Mine(role="second")
        mine["self"] = mine
        del mine
        gc.collect()
        assert ended == ["first", "second"]

    @pytest.mark.parametrize("cls", [Object, Message, Choice, ChatCompletion, ToolCall])
    def test_ours_hold_no_reference_to_their_class_when_they_are_gone(self, cls: type[Object]) -> None:
        gc.collect()
        before = sys.getrefcount(cls)
        many = [cls(number=number) for number in range(100)]
        for one in many[:50]:
            one["self"] = one
        del many, one
        gc.collect()
        assert sys.getrefcount(cls) == before

    def test_a_class_that_is_none_of_ours_is_refused(self) -> None:
        with pytest.raises(TypeError, match="expected a subclass of Object, not dict"):
            _core.act_as_dict(dict)  # type: ignore[arg-type]


class TestCopies:
    def test_model_dump_is_plain(self, response: Any) -> None:
        dumped_once = response.model_dump()
        assert dumped_once == response

        def check(value: Any) -> None:
            assert type(value) in (dict, list, str, int, float, bool, type(None))
            for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
                check(inner)

        check(dumped_once)
        dumped_once["choices"][0]["message"]["content"] = "other"
        assert response.choices[0].message.content == "Hello, wörld 🍓"
        assert response.to_dict() == response

    def test_model_dump_without_none(self, response: Any) -> None:
        dumped_once = response.model_dump(exclude_none=True)
        assert "refusal" not in dumped_once["choices"][0]["message"]
        assert "logprobs" not in dumped_once["choices"][0]
        assert dumped_once["vendor"] == {"nested": {"deep": True}}
        assert dumped_once["choices"][0]["message"]["annotations"] == []
        assert "refusal" in response.choices[0].message

    def test_model_dump_takes_pydantic_s_other_keywords(self, response: Any) -> None:
        assert response.model_dump(mode="json", exclude_unset=True, by_alias=True) == response

    def test_model_dump_json(self, response: Any) -> None:
        assert json.loads(response.model_dump_json()) == response
        assert "wörld 🍓" in response.model_dump_json()
        indented = response.model_dump_json(indent=2, exclude_none=True)
        assert json.loads(indented) == response.model_dump(exclude_none=True)
        assert indented.startswith('{\n  "id": "chatcmpl-1"')
        assert json.loads(response.usage.model_dump_json()) == USAGE

    def test_json_dumps(self, response: Any) -> None:
        assert json.loads(json.dumps(response)) == response

    def test_equality_with_a_plain_dict(self, response: Any) -> None:
        assert response.usage == USAGE
        assert USAGE == response.usage
        assert response != {}
        assert {"role": "assistant"} != response.choices[0].message

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
    def test_deep_copies_are_whole_and_separate(self, response: Any, copied: Any) -> None:
        other = copied(response)
        assert other == response
        assert type(other) is ChatCompletion
        assert type(other.choices[0].message) is Message
        assert other.choices[0].message is not response.choices[0].message
        other.choices[0].message.content = "other"
        assert response.choices[0].message.content == "Hello, wörld 🍓"
        assert meta_of(other) == meta_of(response)

    def test_a_shallow_copy_shares(self, response: Any) -> None:
        other = copy.copy(response)
        assert type(other) is ChatCompletion
        assert other is not response
        assert other.choices is response.choices
        assert meta_of(other) == meta_of(response)
        assert dict(response) == response

    @pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
    def test_every_pickle_protocol_that_knows_slots(self, response: Any, protocol: int) -> None:
        other = pickle.loads(pickle.dumps(response, protocol))
        assert other == response
        assert meta_of(other) == meta_of(response)

    def test_a_message_goes_back_into_the_history(self, response: Any, at_openai: Server) -> None:
        messages = [*MESSAGES, response.choices[0].message, {"role": "tool", "tool_call_id": "call_1", "content": "1"}]
        completion("openai/m", messages)
        sent = at_openai.last.json["messages"]
        assert sent[1] == response.choices[0].message
        assert sent[2]["tool_call_id"] == "call_1"


def meta_of(response: Any) -> list[Any]:
    meta = response.meta
    names = ("provider", "model", "status_code", "request_id", "headers", "retries", "latency", "dropped_params")
    return [getattr(meta, name) for name in names]


class TestMeta:
    def test_what_it_says(self, response: Any, at_openai: Server) -> None:
        meta = response.meta
        assert isinstance(meta, Meta)
        assert meta.provider == "openai"
        assert meta.model == "gpt-4o-mini"
        assert meta.status_code == 200
        assert meta.request_id == "req_7"
        assert meta.headers["x-limit"] == "5"
        assert meta.headers["x-twice"] == "a, b"
        assert meta.headers["content-type"] == "application/json"
        assert meta.retries == 0
        assert 0 < meta.latency < 60
        assert meta.dropped_params == []

    def test_it_is_no_key(self, response: Any) -> None:
        assert "meta" not in response
        assert "meta" not in json.loads(response.model_dump_json())
        assert "meta" not in response.model_dump()

    def test_it_is_on_the_response_alone(self, response: Any) -> None:
        assert not hasattr(response.choices[0], "meta")

    def test_a_response_made_by_hand_has_none(self) -> None:
        assert not hasattr(ChatCompletion(id="x"), "meta")

    def test_it_shows_no_key(self, response: Any) -> None:
        assert KEY not in repr(response.meta)
        assert "openai" in repr(response.meta)

    @pytest.mark.parametrize("name", ["x-request-id", "request-id", "X-Amzn-RequestId", "apim-request-id", "cf-ray"])
    def test_a_request_id_under_any_of_its_names(self, call: Call, at_openai: Server, name: str) -> None:
        at_openai.answer(plain(headers={name: "id 1"}))
        assert call().meta.request_id == "id 1"

    def test_no_request_id(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain())
        assert call().meta.request_id is None

    def test_it_belongs_to_its_own_call(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain(headers={"x-request-id": "a"}), plain(headers={"x-request-id": "b"}))
        first, second = call(), call()
        assert (first.meta.request_id, second.meta.request_id) == ("a", "b")

    def test_header_values_that_are_not_utf_8(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain(headers={"x-latin": "caf\xe9", "x-after": "1"}))
        headers = call().meta.headers
        assert headers["x-latin"].startswith("caf")
        assert headers["x-after"] == "1"


class TestFraming:
    """An answer is the same however HTTP cuts it."""

    BODY = dumped(completion_of("pieces " * 3000))

    @pytest.mark.parametrize("framing", ["length", "chunked", "close"])
    @pytest.mark.parametrize("size", [1 << 20, 4000, 997])
    def test_every_framing(self, call: Call, at_openai: Server, framing: Any, size: int) -> None:
        pieces = [self.BODY[start : start + size] for start in range(0, len(self.BODY), size)]
        at_openai.answer(Answer(body=pieces, framing=framing))
        assert call() == json.loads(self.BODY)

    def test_an_informational_answer_is_passed_over(self, call: Call, at_openai: Server) -> None:
        answer = plain()
        answer.before = [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"]
        at_openai.answer(answer)
        assert call() == completion_of()

    def test_chunk_extensions_and_trailers(self, call: Call, at_openai: Server) -> None:
        body = dumped(completion_of())
        raw = b"%X;name=value\r\n%b\r\n0\r\nx-trailer: 1\r\n\r\n" % (len(body), body)
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        at_openai.answer(Answer(raw_head=head, body=[raw], framing="length"))
        assert call() == completion_of()
        assert call() == completion_of()
        assert at_openai.last.place in (0, 1)

    def test_http_1_0(self, call: Call, at_openai: Server) -> None:
        head = b"HTTP/1.0 200 OK\r\n\r\n"
        at_openai.answer(Answer(raw_head=head, body=dumped(completion_of()), framing="close"))
        assert call() == completion_of()

    def test_a_large_answer(self, call: Call, at_openai: Server) -> None:
        text = "0123456789abcdef" * (1 << 18)
        at_openai.answer(plain(text))
        assert call().choices[0].message.content == text

    def test_connections_are_kept(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        for _ in range(5):
            completion("openai/m", MESSAGES)
        assert at_openai.connections == 1
        assert at_openai.last.place == 4
