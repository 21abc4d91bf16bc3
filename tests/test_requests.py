"""Tests of the requests that calls send: every parameter byte for byte, the right address, and only the right key."""

from __future__ import annotations

import base64
import collections
import enum
import json
import types
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from conftest import Call
from providers import NATIVE, chats
from server import KEY, MESSAGES, Request, Server, plain, plain_or_streamed, refusal

import ritellm
from ritellm import (
    AuthenticationError,
    BadRequestError,
    Client,
    InvalidArgumentError,
    UnsupportedParamsError,
    _core,
    completion,
)

OPENAI_PARAMETERS: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "wav"},
    "frequency_penalty": 0.1,
    "function_call": "none",
    "functions": [{"name": "f", "parameters": {"type": "object", "properties": {}}}],
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "max_completion_tokens": 16,
    "max_tokens": 17,
    "metadata": {"user": "wörld"},
    "modalities": ["text", "audio"],
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "x"},
    "presence_penalty": -0.5,
    "prompt_cache_key": "k",
    "reasoning_effort": "low",
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": True},
    },
    "safety_identifier": "u",
    "seed": 123456789012345,
    "service_tier": "flex",
    "stop": ["\n", "END"],
    "store": False,
    "temperature": 0,
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "tools": [
        {
            "type": "function",
            "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {"enum": [1, None]}}}},
        }
    ],
    "top_logprobs": 5,
    "top_p": 1.0,
    "user": "u1",
    "verbosity": "low",
    "web_search_options": {},
}


@pytest.fixture
def sent(call: Call, at_openai: Server) -> Call:
    """Makes a call; the request that came of it."""
    at_openai.answer(plain())

    def sent(*arguments: Any, **params: Any) -> Request:
        call(*arguments, **params)
        return at_openai.last

    return sent


# The wires that are not OpenAI's have tests of their own, and some hosts have no chat.
OPENAI_SHAPED = [row for row in _core.providers() if row["name"] not in NATIVE and "chat" in row["operations"]]


class TestBody:
    def test_the_whole_request(self, sent: Call) -> None:
        request = sent("openai/gpt-4o-mini", MESSAGES)
        assert request.method == "POST"
        assert request.target == "/v1/chat/completions"
        assert request.json == {"model": "gpt-4o-mini", "messages": MESSAGES}
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["accept"] == "application/json"
        assert request.headers["user-agent"] == f"ritellm/{ritellm.__version__}"
        assert request.headers["host"].startswith("127.0.0.1:")
        names = [name.lower() for name, _ in request.raw_headers]
        assert len(names) == len(set(names))

    def test_every_parameter_of_openai(self, sent: Call) -> None:
        assert sent(**OPENAI_PARAMETERS).json == {"model": "gpt-4o-mini", "messages": MESSAGES, **OPENAI_PARAMETERS}

    @pytest.mark.parametrize("name", sorted(OPENAI_PARAMETERS))
    def test_each_parameter_alone(self, at_openai: Server, name: str) -> None:
        at_openai.answer(plain())
        completion("openai/m", MESSAGES, **{name: OPENAI_PARAMETERS[name]})
        assert at_openai.last.json == {"model": "m", "messages": MESSAGES, name: OPENAI_PARAMETERS[name]}

    def test_numbers_are_written_as_they_are(self, sent: Call) -> None:
        body = sent(temperature=0.1, top_p=1, seed=2**70, x=-0.0, y=1e100).body
        for written in (b'"temperature":0.1', b'"top_p":1,', b'"seed":1180591620717411303424', b'"x":-0.0'):
            assert written in body + b","
        assert json.loads(body)["y"] == 1e100

    def test_a_name_that_openai_does_not_define_is_passed_on(self, sent: Call) -> None:
        vendor = {
            "top_k": 40,
            "repetition_penalty": 1.1,
            "chat_template_kwargs": {"enable_thinking": False},
            "größe": "ß",
        }
        assert sent(**vendor).json == {"model": "gpt-4o-mini", "messages": MESSAGES, **vendor}

    def test_none_is_as_good_as_not_given(self, sent: Call) -> None:
        ours = ["stream", "timeout", "max_retries", "num_retries", "base_url", "api_base", "api_key", "api_version"]
        ours += ["extra_headers", "headers", "extra_query", "extra_body", "additional_params", "drop_params"]
        nothing = dict.fromkeys([*ours, *OPENAI_PARAMETERS, "made_up"])
        assert sent(**nothing).json == {"model": "gpt-4o-mini", "messages": MESSAGES}

    def test_none_inside_a_value_is_sent(self, sent: Call) -> None:
        messages = [{"role": "assistant", "content": None}]
        assert sent("openai/m", messages, metadata={"a": None}).json["messages"] == messages
        assert sent(metadata={"a": None}).json["metadata"] == {"a": None}

    def test_what_is_ours_is_not_sent(self, sent: Call) -> None:
        request = sent(
            stream=False,
            timeout=30,
            max_retries=0,
            num_retries=1,
            drop_params=False,
            extra_headers={},
            extra_query={},
            extra_body={},
        )
        assert request.json == {"model": "gpt-4o-mini", "messages": MESSAGES}

    def test_keywords_for_model_and_messages(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        completion(messages=MESSAGES, model="openai/m")
        assert at_openai.last.json == {"model": "m", "messages": MESSAGES}

    def test_a_stream_asks_for_one_and_for_its_usage(self, read: Call, at_openai: Server) -> None:
        at_openai.script = plain_or_streamed("Hi")
        read()
        request = at_openai.last
        assert request.json == {
            "model": "gpt-4o-mini",
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": MESSAGES,
        }
        assert request.headers["accept"] == "text/event-stream"

    def test_stream_options_of_the_caller_are_kept(self, read: Call, at_openai: Server) -> None:
        at_openai.script = plain_or_streamed("Hi")
        read(stream_options={"include_obfuscation": False})
        assert at_openai.last.json["stream_options"] == {"include_usage": True, "include_obfuscation": False}
        read(stream_options={"include_usage": False})
        assert at_openai.last.json["stream_options"] == {"include_usage": False}

    def test_a_large_request(self, sent: Call) -> None:
        image = base64.b64encode(bytes(range(256)) * 8192).decode()
        messages = [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}]}
        ]
        assert sent("openai/m", messages).json["messages"] == messages


class Colour(enum.Enum):
    RED = "red"


class Size(str, enum.Enum):
    SMALL = "small"


class Level(enum.IntEnum):
    HIGH = 3


class Pydantic:
    """Imitates pydantic's models and the OpenAI SDK's objects."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def model_dump(self, *, exclude_none: bool = False, mode: str = "python") -> dict[str, Any]:
        assert mode == "json"
        return {name: value for name, value in self.fields.items() if not (exclude_none and value is None)}


class Text(str):
    pass


class Fraction(float):
    def __repr__(self) -> str:
        return "not a number"


class Settings(Mapping[str, Any]):
    def __init__(self, **items: Any) -> None:
        self.inner = items

    def __getitem__(self, key: str) -> Any:
        return self.inner[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.inner)

    def __len__(self) -> int:
        return len(self.inner)


class TestMessages:
    @pytest.mark.parametrize(
        "content",
        [
            "",
            "a\nb\r\n\tc\x00\x1f\x7f",
            'quotes " and \\ backslashes \\n',
            "wörld € 🍓 \u2028\u2029 العربية 漢字 e\u0301",
            "\ufeff\ufffd\uffff",
            "x" * 100_000,
        ],
    )
    def test_any_text(self, sent: Call, content: str) -> None:
        assert sent("openai/m", [{"role": "user", "content": content}]).json["messages"] == [
            {"role": "user", "content": content}
        ]

    def test_text_goes_out_as_utf_8(self, sent: Call) -> None:
        assert '"wörld 🍓"'.encode() in sent("openai/m", [{"role": "user", "content": "wörld 🍓"}]).body

    def test_tuples_are_lists(self, sent: Call) -> None:
        request = sent("openai/m", ({"role": "user", "content": ({"type": "text", "text": "a"},)},), stop=("a", "b"))
        assert request.json["messages"] == [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
        assert request.json["stop"] == ["a", "b"]

    def test_enums_are_their_values(self, sent: Call) -> None:
        body = sent(colour=Colour.RED, size=Size.SMALL, level=Level.HIGH).json
        assert (body["colour"], body["size"], body["level"]) == ("red", "small", 3)

    def test_subclasses_of_the_built_in_types(self, sent: Call) -> None:
        ordered = collections.OrderedDict(b=1, a=2)
        body = sent(text=Text("t"), fraction=Fraction(0.5), ordered=ordered, counted=collections.Counter("aab")).json
        assert body["text"] == "t"
        assert body["fraction"] == 0.5
        assert list(body["ordered"]) == ["b", "a"]
        assert body["counted"] == {"a": 2, "b": 1}

    def test_mappings_that_are_no_dicts(self, sent: Call) -> None:
        message = Settings(role="user", content="Hi")
        request = sent("openai/m", [message, types.MappingProxyType({"role": "user"})], options=Settings(a=[1]))
        assert request.json["messages"] == [{"role": "user", "content": "Hi"}, {"role": "user"}]
        assert request.json["options"] == {"a": [1]}

    def test_objects_with_a_model_dump(self, sent: Call) -> None:
        message = Pydantic(role="assistant", content=None, tool_calls=[Pydantic(id="c", type="function")])
        tool = Pydantic(type="function", function=Pydantic(name="f"))
        body = sent("openai/m", [*MESSAGES, message], tools=[tool], response_format=Pydantic(type="json_object")).json
        assert body["messages"] == [*MESSAGES, {"role": "assistant", "tool_calls": [{"id": "c", "type": "function"}]}]
        assert body["tools"] == [{"type": "function", "function": {"name": "f"}}]
        assert body["response_format"] == {"type": "json_object"}

    def test_the_caller_s_messages_are_not_changed(self, sent: Call) -> None:
        messages = [
            {"role": "assistant", "content": "a", "reasoning_content": "b", "provider_specific_fields": {"x": 1}}
        ]
        before = json.dumps(messages)
        sent("openai/m", messages)
        assert json.dumps(messages) == before

    def test_what_we_added_to_a_message_is_not_sent_back(self, sent: Call) -> None:
        message = {
            "role": "assistant",
            "content": "a",
            "provider_specific_fields": {"mistral": {"content": []}},
            "thinking_blocks": [],
        }
        assert sent("openai/m", [message]).json["messages"] == [{"role": "assistant", "content": "a"}]


class TestExtras:
    def test_extra_headers(self, sent: Call) -> None:
        headers = sent(
            extra_headers={"X-One": "1", "x-two": 2, "x-three": True, "x-none": None, "User-Agent": "mine"}
        ).headers
        assert (headers["x-one"], headers["x-two"], headers["x-three"]) == ("1", "2", "true")
        assert "x-none" not in headers
        assert headers["user-agent"] == "mine"

    def test_headers_is_the_same(self, sent: Call) -> None:
        headers = sent(headers={"x-one": "1"}, extra_headers={"X-Two": "2"}).headers
        assert (headers["x-one"], headers["x-two"]) == ("1", "2")

    def test_an_extra_header_replaces_ours(self, sent: Call) -> None:
        request = sent(extra_headers={"authorization": "Basic x", "Content-Type": "application/json; charset=utf-8"})
        pairs = [(name.lower(), value) for name, value in request.raw_headers]
        assert [value for name, value in pairs if name == "authorization"] == ["Basic x"]
        assert [value for name, value in pairs if name == "content-type"] == ["application/json; charset=utf-8"]

    def test_extra_query(self, sent: Call) -> None:
        request = sent(extra_query={"api-version": "2024-10-21", "q": "a b&c=ü/?#", "flag": True, "n": 1, "none": None})
        assert request.path == "/v1/chat/completions"
        assert request.query == {"api-version": "2024-10-21", "q": "a b&c=ü/?#", "flag": "true", "n": "1"}

    def test_extra_body_has_the_say(self, sent: Call) -> None:
        body = sent(temperature=1, extra_body={"temperature": 0, "new": {"a": [1]}}).json
        assert (body["temperature"], body["new"]) == (0, {"a": [1]})

    @pytest.mark.parametrize(
        "given", [{"x": {"y": "ü"}, "temperature": 0.25}, '{"x": {"y": "ü"}, "temperature": 0.25}']
    )
    def test_additional_params(self, sent: Call, given: Any) -> None:
        body = sent(temperature=1, additional_params=given).json
        assert body == {"model": "gpt-4o-mini", "messages": MESSAGES, "temperature": 0.25, "x": {"y": "ü"}}

    def test_additional_params_in_a_string_stay_the_bytes_they_were(self, sent: Call) -> None:
        assert b'"x":[1.50, 1e400]' in sent(additional_params='{"x":[1.50, 1e400]}').body

    def test_extra_body_may_be_any_mapping(self, sent: Call) -> None:
        assert sent(extra_body=Settings(a=1)).json["a"] == 1

    def test_extra_body_may_say_the_messages(self, sent: Call) -> None:
        assert sent(extra_body={"messages": []}).json["messages"] == []

    @pytest.mark.parametrize("name", ["extra_body", "additional_params"])
    def test_extra_body_may_say_the_model(self, sent: Call, name: str) -> None:
        assert sent(**{name: {"model": "other"}}).json == {"model": "other", "messages": MESSAGES}

    def test_extra_body_with_stream(self, read: Call, at_openai: Server) -> None:
        at_openai.script = plain_or_streamed("Hi")
        chunks, _ = read(extra_body={"stream": True})
        assert chunks
        assert at_openai.last.json["stream"] is True


class TestAddresses:
    def test_base_url_and_its_alias(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        for name in ("base_url", "api_base"):
            address: dict[str, Any] = {name: f"{at_openai.url}/other/v9/"}
            completion("openai/m", MESSAGES, api_key="k", **address)
            assert at_openai.last.target == "/other/v9/chat/completions"

    def test_num_retries_is_an_alias(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        assert completion("openai/m", MESSAGES, num_retries=0).meta.retries == 0

    def test_a_base_url_without_a_path_gets_the_version(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        completion("openai/m", MESSAGES, base_url=at_openai.url, api_key="k")
        assert at_openai.last.target == "/v1/chat/completions"

    def test_variables_are_read_at_call_time(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        server.answer(plain())
        client = Client()
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/one")
        monkeypatch.setenv("OPENAI_API_KEY", "key-one")
        client.completion("openai/m", MESSAGES)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/two")
        monkeypatch.setenv("OPENAI_API_KEY", "key-two")
        client.completion("openai/m", MESSAGES)
        assert [request.target for request in server.requests] == ["/one/chat/completions", "/two/chat/completions"]
        assert [request.headers["authorization"] for request in server.requests] == ["Bearer key-one", "Bearer key-two"]

    def test_arguments_go_before_variables(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        completion("openai/m", MESSAGES, base_url=f"{at_openai.url}/mine", api_key="mine")
        assert at_openai.last.target == "/mine/chat/completions"
        assert at_openai.last.headers["authorization"] == "Bearer mine"

    def test_an_empty_variable_counts_as_not_set(self, monkeypatch: pytest.MonkeyPatch, at_openai: Server) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "")
        with pytest.raises(AuthenticationError, match="OPENAI_API_KEY"):
            completion("openai/m", MESSAGES)
        assert at_openai.requests == []

    @pytest.mark.parametrize("row", OPENAI_SHAPED, ids=lambda row: row["name"])
    def test_every_provider_s_variables(self, row: Any, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """The key goes out; the address is the variable's; the model's name is what follows the slash."""
        server.answer(plain())
        if row["name"] == "local":
            pytest.skip("starts a server of its own; tests/test_local_server.py has it")
        for key in row["key_variables"]:
            with monkeypatch.context() as environment:
                environment.setenv(key, f"key-of-{key}")
                completion(f"{row['name']}/org/model", MESSAGES, base_url=f"{server.url}/base")
                assert server.last.headers["authorization"] == f"Bearer key-of-{key}"
                assert server.last.target == "/base/chat/completions"
                assert server.last.json["model"] == "org/model"
        for variable in row["base_url_variables"]:
            with monkeypatch.context() as environment:
                environment.setenv(variable, f"{server.url}/root")
                completion(f"{row['name']}/m", MESSAGES, api_key="k")
                assert server.last.path.startswith("/root")
                assert server.last.path.endswith("/chat/completions")

    def test_bare_names_of_known_families(self, sent: Call) -> None:
        for name in ("gpt-4o", "gpt-5-mini", "chatgpt-4o-latest", "o1", "o3-mini", "o4-mini"):
            assert sent(name).json["model"] == name

    def test_a_key_without_which_a_server_can_do(self, server: Server) -> None:
        server.answer(plain())
        completion("openai_compatible/m", MESSAGES, base_url=server.base_url)
        assert "authorization" not in server.last.headers


@pytest.mark.parametrize(("model", "settings"), chats())
def test_a_conversation_arrives_in_every_format(server: Server, model: str, settings: dict[str, Any]) -> None:
    """Texts in parts, calls of tools and their results arrive, or the call is refused: none is left out in silence."""
    function = {"name": "said_4", "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}}
    call = {"id": "call_1", "type": "function", "function": {"name": "said_4", "arguments": '{"x": "said_5"}'}}
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "said_0"}]},
        {"role": "user", "content": [{"type": "text", "text": "said_1"}, {"type": "text", "text": "said_2"}]},
        {"role": "assistant", "content": "said_3", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "said_6"},
    ]
    tools = [{"type": "function", "function": function}]
    server.answer(refusal(400))
    client = Client(api_key=KEY, base_url=server.url, max_retries=0)
    try:
        client.completion(model, messages, tools=tools, **settings)
    except (UnsupportedParamsError, InvalidArgumentError):
        # A format without tools.
        assert server.requests == []
        return
    except BadRequestError:
        pass
    body = server.last.json
    # The names of the tools are in their list, too.
    body.pop("tools", None)
    assert [number for number in range(7) if f"said_{number}" not in json.dumps(body)] == []


class TestKeys:
    def test_another_provider_s_key_is_not_sent(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        server.answer(plain())
        for row in _core.providers():
            for name in row["key_variables"]:
                monkeypatch.setenv(name, f"key-of-{name}")
        for row in OPENAI_SHAPED:
            if row["name"] == "local":
                continue
            completion(f"{row['name']}/m", MESSAGES, base_url=server.base_url)
            request = server.last
            expected = f"Bearer key-of-{row['key_variables'][0]}" if row["key_variables"] else None
            assert request.headers.get("authorization") == expected
            assert request.path.endswith("/chat/completions")
            rest = "".join(value for name, value in request.raw_headers if name.lower() != "authorization")
            assert "key-of-" not in rest + request.target + request.body.decode()

    def test_a_key_in_the_environment_does_not_go_to_another_provider_s_host(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        with pytest.raises(AuthenticationError, match="groq") as caught:
            completion("openai/m", MESSAGES, base_url="https://api.groq.com/openai/v1", max_retries=0, timeout=5)
        assert KEY not in str(caught.value)

    def test_no_key_is_said_at_once(self, at_openai: Server, call: Call) -> None:
        with pytest.raises(AuthenticationError, match=r"GROQ_API_KEY.*api_key") as caught:
            call("groq/m", base_url=at_openai.base_url)
        assert caught.value.provider == "groq"
        assert at_openai.requests == []

    def test_a_client_s_key_stays_with_its_address(self, server: Server) -> None:
        server.answer(plain())
        client = Client(api_key=KEY, base_url=f"{server.url}/own")
        client.completion("openai/m", MESSAGES)
        assert server.last.headers["authorization"] == f"Bearer {KEY}"
        client.completion("openai_compatible/m", MESSAGES, base_url=f"{server.url}/other")
        assert server.last.target == "/other/chat/completions"
        assert "authorization" not in server.last.headers


class TestClient:
    def test_its_settings_are_what_a_call_does_not_say(self, server: Server) -> None:
        server.answer(plain())
        client = Client(
            api_key="a",
            base_url=server.base_url,
            headers={"x-client": "1", "x-both": "client"},
            timeout=30,
            max_retries=0,
        )
        client.completion("openai/m", MESSAGES, extra_headers={"x-both": "call"})
        headers = server.last.headers
        assert (headers["authorization"], headers["x-client"], headers["x-both"]) == ("Bearer a", "1", "call")
        client.completion("openai/m", MESSAGES, api_key="b")
        assert server.last.headers["authorization"] == "Bearer b"

    def test_clients_have_connections_of_their_own(self, server: Server) -> None:
        server.answer(plain())
        for client in (Client(base_url=server.base_url, api_key="a"), Client(base_url=server.base_url, api_key="a")):
            client.completion("openai/m", MESSAGES)
            client.completion("openai/m", MESSAGES)
        assert server.connections == 2

    async def test_sync_and_async_on_one_class(self, server: Server) -> None:
        server.answer(plain())
        client = Client(base_url=server.base_url, api_key="a")
        first = client.completion("openai/m", MESSAGES)
        assert first == await client.acompletion("openai/m", MESSAGES)


class TestUnsupported:
    """Parameters that a provider lacks: refused, or dropped and listed."""

    def test_refused_before_anything_is_sent(self, call: Call, at_openai: Server) -> None:
        with pytest.raises(UnsupportedParamsError, match=r"groq.*logit_bias.*drop_params") as caught:
            call("groq/m", base_url=at_openai.base_url, api_key="k", logit_bias={"1": 1})
        assert caught.value.provider == "groq"
        assert at_openai.requests == []

    def test_dropped_and_listed(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain())
        params = {"logit_bias": {"1": 1}, "logprobs": True, "temperature": 0, "top_k": 3}
        response = call("groq/m", base_url=at_openai.base_url, api_key="k", drop_params=True, **params)
        assert at_openai.last.json == {"model": "m", "messages": MESSAGES, "temperature": 0, "top_k": 3}
        assert sorted(response.meta.dropped_params) == ["logit_bias", "logprobs"]

    def test_in_a_stream(self, read: Call, at_openai: Server) -> None:
        at_openai.script = plain_or_streamed("Hi")
        _, stream = read("groq/m", base_url=at_openai.base_url, api_key="k", drop_params=True, logprobs=True)
        assert stream.meta.dropped_params == ["logprobs"]
        assert stream.completion.meta.dropped_params == ["logprobs"]

    def test_by_the_client_s_setting(self, server: Server) -> None:
        server.answer(plain())
        client = Client(api_key="k", base_url=server.base_url, drop_params=True)
        assert client.completion("groq/m", MESSAGES, logprobs=True).meta.dropped_params == ["logprobs"]
        with pytest.raises(UnsupportedParamsError):
            client.completion("groq/m", MESSAGES, logprobs=True, drop_params=False)

    def test_a_provider_s_own_spelling(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain())
        response = call("mistral/m", base_url=at_openai.base_url, api_key="k", max_completion_tokens=5, seed=7)
        assert at_openai.last.json == {"model": "m", "messages": MESSAGES, "max_tokens": 5, "random_seed": 7}
        assert response.meta.dropped_params == []


# Each bad argument: the call's keywords, and what the message must name: the argument, its value's type, what is right.
BAD: list[tuple[str, dict[str, Any], list[str]]] = [
    ("model is a number", {"model": 5}, ["model", "int", "provider/model"]),
    ("model is None", {"model": None}, ["model", "NoneType", "provider/model"]),
    ("model is empty", {"model": ""}, ["model", "empty", "provider/model"]),
    ("model is unknown", {"model": "opnai/gpt-4o"}, ["opnai", "did you mean openai?", "groq"]),
    ("model is bare", {"model": "some-model"}, ["some-model", "provider/model"]),
    ("model has no name", {"model": "openai/"}, ["openai/", "name"]),
    ("messages is a string", {"messages": "Hi"}, ["messages", "str", "list", "role"]),
    ("messages is a dict", {"messages": {"role": "user"}}, ["messages", "dict", "list"]),
    ("messages is None", {"messages": None}, ["messages", "NoneType", "list"]),
    ("a message is a string", {"messages": [MESSAGES[0], "Hi"]}, ["messages[1]", "str", "dict"]),
    (
        "a message holds an object",
        {"messages": [{"role": "user", "content": object()}]},
        ["messages[0]", "content", "object"],
    ),
    ("a message holds bytes", {"messages": [{"role": "user", "content": b"x"}]}, ["messages[0]", "content", "bytes"]),
    ("a message holds a set", {"messages": [{"role": "user", "content": {1}}]}, ["messages[0]", "content", "set"]),
    ("a message has a key of another type", {"messages": [{1: "x"}]}, ["messages[0]", "key", "int", "str"]),
    (
        "half a character",
        {"messages": [{"role": "user", "content": "\ud83c"}]},
        ["messages[0]", "content", "surrogate"],
    ),
    ("temperature is NaN", {"temperature": float("nan")}, ["temperature", "NaN", "finite"]),
    ("a parameter is a function", {"tools": [print]}, ["tools[0]", "builtin_function_or_method"]),
    (
        "a parameter is a class",
        {"response_format": Pydantic},
        ["response_format is Pydantic", "a pydantic model, dataclass"],
    ),
    ("stream is a string", {"stream": "yes"}, ["stream", "str", "True or False"]),
    ("stream is a number", {"stream": 1}, ["stream", "int", "True or False"]),
    ("drop_params is a list", {"drop_params": []}, ["drop_params", "list", "True or False"]),
    ("timeout is a string", {"timeout": "5"}, ["timeout", "str", "seconds"]),
    ("timeout is a flag", {"timeout": True}, ["timeout", "bool", "seconds"]),
    ("timeout is zero", {"timeout": 0}, ["timeout", "0", "above 0"]),
    ("timeout is negative", {"timeout": -1.5}, ["timeout", "-1.5", "above 0"]),
    ("timeout is NaN", {"timeout": float("nan")}, ["timeout", "above 0"]),
    (
        "timeout has an unknown part",
        {"timeout": {"read": 5}},
        ["timeout", "read", "queue, connect, first_token, idle and total"],
    ),
    ("a part of timeout is a string", {"timeout": {"idle": "x"}}, ["timeout", "idle", "str", "seconds"]),
    ("max_retries is negative", {"max_retries": -1}, ["max_retries", "-1", "0 or more"]),
    ("max_retries is a fraction", {"max_retries": 1.5}, ["max_retries", "float", "whole number"]),
    ("max_retries is a flag", {"max_retries": True}, ["max_retries", "bool", "whole number"]),
    ("num_retries is a string", {"num_retries": "2"}, ["num_retries", "str", "whole number"]),
    ("base_url is a number", {"base_url": 5}, ["base_url", "int", "https://host/v1"]),
    ("base_url is empty", {"base_url": ""}, ["base_url", "https://host/v1"]),
    ("base_url has no scheme", {"base_url": "localhost:8000/v1"}, ["base_url", "https://host/v1"]),
    ("base_url has another scheme", {"base_url": "ftp://host/v1"}, ["base_url", "http://"]),
    ("base_url has a password", {"base_url": "https://user:word@host/v1"}, ["base_url", "password"]),
    ("base_url has a query", {"base_url": "https://host/v1?a=1"}, ["base_url", "query", "extra_query"]),
    ("api_base is a list", {"api_base": []}, ["api_base", "list"]),
    ("api_key is a number", {"api_key": 5}, ["api_key", "int"]),
    ("api_key is empty", {"api_key": ""}, ["api_key", "empty"]),
    ("api_key has a line break", {"api_key": f"{KEY}\n"}, ["api_key", "line break"]),
    ("api_version is a number", {"api_version": 5}, ["api_version", "int"]),
    ("extra_headers is a list", {"extra_headers": ["a"]}, ["extra_headers", "list", "dict"]),
    ("headers is a string", {"headers": "a: b"}, ["headers", "str", "dict"]),
    ("a header is a list", {"extra_headers": {"x-a": [1]}}, ["extra_headers", "x-a", "list", "str"]),
    ("a header's name is a number", {"extra_headers": {1: "x"}}, ["extra_headers", "int", "str"]),
    ("a header's name is none", {"extra_headers": {"a b": "x"}}, ["extra_headers", "a b", "header name"]),
    ("a header has a line break", {"extra_headers": {"x-a": f"{KEY}\r\nx: y"}}, ["extra_headers", "x-a", "line break"]),
    (
        "a header belongs to the connection",
        {"extra_headers": {"Content-Length": "5"}},
        ["extra_headers", "Content-Length"],
    ),
    ("extra_query is a string", {"extra_query": "a=b"}, ["extra_query", "str", "dict"]),
    ("extra_query holds a dict", {"extra_query": {"a": {}}}, ["extra_query", "a", "dict", "str"]),
    ("extra_body is a list", {"extra_body": [1]}, ["extra_body", "list", "dict"]),
    ("extra_body is a string", {"extra_body": "{}"}, ["extra_body", "str", "dict"]),
    ("extra_body holds an object", {"extra_body": {"a": object()}}, ["extra_body", "a", "object"]),
    ("additional_params is a number", {"additional_params": 5}, ["additional_params", "int", "dict", "JSON"]),
    ("additional_params is no JSON", {"additional_params": "{x"}, ["additional_params", "JSON object"]),
    ("additional_params is no object", {"additional_params": "[1]"}, ["additional_params", "JSON object"]),
]


class TestBadArguments:
    @pytest.mark.parametrize(("params", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
    def test_the_message_says_which_and_what_would_be_right(
        self, call: Call, at_openai: Server, params: dict[str, Any], words: list[str]
    ) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            call(**params)
        for word in words:
            assert word in caught.value.message
        assert isinstance(caught.value, (TypeError, ValueError))
        assert KEY not in caught.value.message
        assert at_openai.requests == []

    def test_missing_arguments_are_python_s_own_error(self) -> None:
        with pytest.raises(TypeError, match="messages"):
            completion("openai/m")  # type: ignore[call-arg, call-overload, unused-ignore]

    def test_an_exception_of_the_caller_s_own_object_comes_through(self, call: Call, at_openai: Server) -> None:
        class Broken:
            def model_dump(self, **_: Any) -> Any:
                raise ZeroDivisionError("mine")

        with pytest.raises(ZeroDivisionError, match="mine"):
            call(response_format=Broken())
        assert at_openai.requests == []

    @pytest.mark.parametrize(
        ("settings", "word"),
        [
            ({"api_key": 5}, "api_key"),
            ({"base_url": ""}, "base_url"),
            ({"timeout": "x"}, "timeout"),
            ({"timeout": {"read": 1}}, "read"),
            ({"max_retries": -1}, "max_retries"),
            ({"headers": []}, "headers"),
            ({"drop_params": "yes"}, "drop_params"),
            ({"http2": "no"}, "http2"),
            ({"api_version": 5}, "api_version"),
        ],
    )
    def test_a_client_s_settings(self, settings: dict[str, Any], word: str) -> None:
        with pytest.raises(InvalidArgumentError, match=word):
            Client(**settings)

    def test_an_unknown_setting_of_a_client(self) -> None:
        with pytest.raises(TypeError, match="made_up"):
            Client(made_up=1)  # type: ignore[call-arg, unused-ignore]

    def test_a_call_after_a_bad_one(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain())
        with pytest.raises(InvalidArgumentError):
            call(stream="yes")
        assert call().choices[0].message.content == "Hello!"
