"""Tests of ``count_tokens`` and ``trim_messages``."""

from __future__ import annotations

import asyncio
import importlib
import json
import pickle
import random
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from server import Answer, Server, dumped, refusal

import ritellm
from ritellm import (
    AuthenticationError,
    Client,
    InvalidArgumentError,
    TokenCount,
    acount_tokens,
    count_tokens,
    trim_messages,
)

SAY = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def user_says(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer in tiktoken's place, of which each word is a token."""
    module = types.ModuleType("tiktoken")

    class Encoding:
        def encode(self, text: str, disallowed_special: Any) -> list[str]:
            assert disallowed_special == ()
            return text.split()

    def encoding_for_model(name: str) -> Encoding:
        if not name.startswith("gpt-"):
            raise KeyError(name)
        return Encoding()

    module.encoding_for_model = encoding_for_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tiktoken", module)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)


class TestOffline:
    def test_the_form_of_a_chat(self, words: None) -> None:
        # 3 for the chat, 3 for each message, its role and its words; a name has one more.
        count = count_tokens("openai/gpt-4o", SAY, offline=True)
        assert (count, count.source, count.is_estimate) == (3 + (3 + 1 + 2) + (3 + 1 + 1), "tokenizer", False)
        named = [{"role": "user", "name": "Ada", "content": [{"type": "text", "text": "a b c"}]}]
        assert count_tokens("gpt-4o", named, offline=True) == 3 + 3 + 1 + 3 + 1 + 1

    def test_what_is_an_estimate(self, words: None) -> None:
        assert count_tokens("openai/gpt-4o", SAY, tools=[TOOL], offline=True).is_estimate
        picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:" + "x" * 9999}}]}]
        count = count_tokens("openai/gpt-4o", picture, offline=True)
        assert count.is_estimate and 1000 < count < 1100
        assert count_tokens("groq/llama", picture, offline=True) < 1100
        assert count_tokens("openai/unheard-of", SAY, offline=True).source == "estimate"

    def test_without_a_tokenizer(self, without: None) -> None:
        count = count_tokens("openai/gpt-4o", [{"role": "user", "content": "word " * 400}], offline=True)
        assert (count.source, count.is_estimate) == ("estimate", True) and 480 < count < 530
        again = pickle.loads(pickle.dumps(count))
        assert (again, again.source) == (count, count.source) and isinstance(again, TokenCount)
        assert repr(count) == f"TokenCount({int(count)}, source='estimate', is_estimate=True)"

    @staticmethod
    def encoding(merges: list[bytes]) -> Any:
        """An encoding of tiktoken's own, of bytes and a few merges."""
        tiktoken = pytest.importorskip("tiktoken")
        ranks = {bytes([byte]): byte for byte in range(256)}
        ranks |= {merge: 256 + number for number, merge in enumerate(merges)}
        special = {"<|endoftext|>": 1000}
        return tiktoken.Encoding("o200k_base", pat_str=r"\S+|\s+", mergeable_ranks=ranks, special_tokens=special)

    def test_tiktoken_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        encoding = self.encoding([b"He", b"ll", b"Hell", b"Hello"])
        registry = importlib.import_module("tiktoken.registry")
        monkeypatch.setitem(registry.ENCODINGS, "o200k_base", encoding)
        count = count_tokens("openai/gpt-4o", user_says("Hello Hello"), offline=True)
        assert (count, count.source, count.is_estimate) == (3 + 3 + len("user") + 3, "tokenizer", False)
        for model in ("gpt-4o-mini", "azure/gpt-4o", "openai/gpt-5-mini-2025-08-07", "openai/ft:gpt-4o:team::x"):
            assert count_tokens(model, user_says("Hello Hello"), offline=True) == count
        # Names of special tokens in a text are text, and what is no UTF-8 harms nothing.
        assert count_tokens("gpt-4o", user_says("<|endoftext|>"), offline=True) == 3 + 3 + 4 + 13
        assert count_tokens("gpt-4o", user_says("\ud83d"), offline=True) == 3 + 3 + 4 + 3
        talk = [*user_says("Hello " * 30), {"role": "assistant", "content": "Hello"}, *user_says("Hello")]
        assert trim_messages(talk, "gpt-4o", 20) == talk[2:]
        assert trim_messages(talk, "gpt-4o", 3 + (7 + 60) + (3 + 9 + 1) + 8) == talk

    def test_a_vocabulary_that_cannot_be_loaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("tiktoken")
        registry = importlib.import_module("tiktoken.registry")

        def fails() -> Any:
            raise OSError("no network")

        monkeypatch.setattr(registry, "ENCODINGS", {})
        monkeypatch.setattr(registry, "ENCODING_CONSTRUCTORS", {"o200k_base": fails})
        assert count_tokens("openai/gpt-4o", SAY, offline=True).source == "estimate"

    @pytest.mark.parametrize(
        ("model", "right"), [("gpt-3.5-turbo", 129), ("gpt-4-0613", 129), ("gpt-4o", 124), ("gpt-4o-mini", 124)]
    )
    def test_the_cookbooks_example(self, monkeypatch: pytest.MonkeyPatch, model: str, right: int) -> None:
        """What the API counted: https://github.com/openai/openai-cookbook/blob/main/examples/How_to_count_tokens_with_tiktoken.ipynb

        merges.json has the tokens of both vocabularies that can be in these texts, in their order: others are in no merge.
        """
        pytest.importorskip("tiktoken")
        merges = json.loads(Path(__file__).with_name("merges.json").read_text())

        def load(url: str, **_: Any) -> dict[bytes, int]:
            tokens = [bytes([byte]) for byte in range(256)] + [text.encode() for text in merges[Path(url).stem]]
            return {token: rank for rank, token in enumerate(tokens)}

        monkeypatch.setattr(importlib.import_module("tiktoken_ext.openai_public"), "load_tiktoken_bpe", load)
        monkeypatch.setattr(importlib.import_module("tiktoken.registry"), "ENCODINGS", {})
        translator = (
            "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."
        )
        busy = "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."
        late = "This late pivot means we don't have time to boil the ocean for the client deliverable."
        asks, says = {"role": "system", "name": "example_user"}, {"role": "system", "name": "example_assistant"}
        messages = [
            {"role": "system", "content": translator},
            {**asks, "content": "New synergies will help drive top-line growth."},
            {**says, "content": "Things working well together will increase revenue."},
            {**asks, "content": busy},
            {**says, "content": "Let's talk later when we're less busy about how to do better."},
            {"role": "user", "content": late},
        ]
        assert count_tokens(model, messages, offline=True) == right

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: count_tokens(3, SAY), "model is of type int"),  # type: ignore[arg-type]
            (lambda: count_tokens("openai/gpt-4o", "Hi"), "messages is of type str"),  # type: ignore[arg-type]
            (lambda: count_tokens("openai/gpt-4o", ["Hi"]), "messages has an item of type str"),  # type: ignore[list-item]
            (lambda: count_tokens("anthropic/m", SAY, client=3), "client is of type int"),  # type: ignore[arg-type]
            (lambda: trim_messages(SAY, "openai/gpt-4o", "9"), "max_tokens is of type str"),  # type: ignore[arg-type]
            (
                lambda: trim_messages([], "openai/gpt-4o", 0),
                "max_tokens is 0: a number of tokens, a whole number above 0",
            ),
            (lambda: trim_messages([], "openai/gpt-4o", -1), "max_tokens is -1"),
            (lambda: trim_messages(SAY[:1], "openai/gpt-4o", 1), "the system's messages and the last turn have"),
            (
                lambda: trim_messages(SAY, "openai/gpt-4o", 1),
                "max_tokens is 1: the system's messages and the last turn have",
            ),
        ],
    )
    def test_wrong_arguments(self, call: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message):
            call()


SETTINGS: dict[str, dict[str, str]] = {
    "vertex": {"vertex_project": "p", "vertex_location": "us-east5", "vertex_access_token": "t"},
    "bedrock": {"aws_region_name": "us-east-1"},
}


class TestProviders:
    """Each provider's endpoint: the address, the body, and the number in its answer."""

    ENDPOINTS = (
        ("openai/gpt-4o", "/v1/responses/input_tokens", {"object": "response.input_tokens", "input_tokens": 11}),
        ("anthropic/claude-sonnet-4-5", "/v1/messages/count_tokens", {"input_tokens": 11}),
        ("gemini/gemini-2.5-flash", "/v1beta/models/gemini-2.5-flash:countTokens", {"totalTokens": 11}),
        (
            "vertex/gemini-2.5-flash",
            "/v1/projects/p/locations/us-east5/publishers/google/models/gemini-2.5-flash:countTokens",
            {"totalTokens": 11},
        ),
        (
            "vertex/claude-sonnet-4-5",
            "/v1/projects/p/locations/us-east5/publishers/anthropic/models/count-tokens:rawPredict",
            {"input_tokens": 11},
        ),
        ("bedrock/anthropic.claude-3", "/model/anthropic.claude-3/count-tokens", {"inputTokens": 11}),
        ("cohere/command-a", "/v1/tokenize", {"tokens": list(range(11)), "token_strings": []}),
        ("cohere_chat/command-a", "/v1/tokenize", {"tokens": list(range(11)), "token_strings": []}),
        ("vllm/m", "/tokenize", {"count": 11, "max_model_len": 4096, "tokens": [1, 2]}),
        ("llamafile/m", "/tokenize", {"tokens": list(range(11))}),
    )
    TALK = (
        *SAY,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "7"},
    )

    @pytest.mark.parametrize("way", ["sync", "async"])
    @pytest.mark.parametrize(
        ("model", "path", "answer"), ENDPOINTS, ids=[model.replace("/", "-") for model, _, _ in ENDPOINTS]
    )
    def test_an_endpoint(self, server: Server, without: None, way: str, model: str, path: str, answer: Any) -> None:
        server.answer(Answer(body=[dumped(answer)]))
        provider = model.partition("/")[0]
        versioned = provider in ("openai", "vllm", "llamafile")
        client = Client(base_url=server.base_url if versioned else server.url, api_key="k")
        settings = SETTINGS.get(provider, {})
        if way == "sync":
            count = count_tokens(model, self.TALK, tools=[TOOL], client=client, **settings)
        else:
            count = asyncio.run(acount_tokens(model, self.TALK, tools=[TOOL], client=client, **settings))
        assert (count, count.source) == (11, "provider")
        assert count.is_estimate == (provider in ("cohere", "cohere_chat", "llamafile"))
        request = server.last
        assert request.path == path
        body = request.json
        assert not {"max_tokens", "stream", "max_completion_tokens"} & set(body)
        match provider:
            case "openai":
                assert set(body) == {"model", "input", "tools"} and body["tools"][0]["name"] == "f"
                assert body["input"][2:] == [
                    {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "call_1", "output": "7"},
                ]
            case "anthropic":
                assert set(body) == {"model", "messages", "system", "tools"}
            case "gemini":
                inner = body.pop("generateContentRequest")
                assert (
                    not body
                    and inner["model"] == "models/gemini-2.5-flash"
                    and "contents" in inner
                    and "tools" in inner
                )
            case "vertex" if "claude" in model:
                assert body["model"] == "claude-sonnet-4-5" and set(body) == {"model", "messages", "system", "tools"}
            case "vertex":
                assert {"contents", "systemInstruction", "tools"} <= set(body)
            case "bedrock":
                assert set(body["input"]["converse"]) == {"messages", "system", "toolConfig"}
            case "cohere" | "cohere_chat":
                assert body["model"] == "command-a" and "Hello" in body["text"]
            case "vllm":
                assert body["model"] == "m" and len(body["messages"]) == 4 and body["tools"] == [TOOL]
            case _:
                assert "Hello" in body["content"]

    def test_who_cannot_count_is_estimated(self, server: Server, without: None) -> None:
        server.answer(refusal(404))
        client = Client(base_url=server.base_url, api_key="k")
        assert count_tokens("openai/gpt-4o", SAY, client=client).is_estimate
        assert len(server.requests) == 1
        assert count_tokens("groq/llama", SAY, client=client).is_estimate
        assert len(server.requests) == 1

    def test_a_refused_key_is_an_error(self, server: Server, without: None) -> None:
        server.answer(refusal(401))
        with pytest.raises(AuthenticationError):
            count_tokens("openai/gpt-4o", SAY, client=Client(base_url=server.base_url, api_key="k"))

    def test_nobody_is_asked_for_what_is_known(self, server: Server, words: None) -> None:
        assert not count_tokens("openai/gpt-4o", SAY, client=Client(base_url=server.base_url, api_key="k")).is_estimate
        assert not server.requests


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str | None = None, *calls: str) -> dict[str, Any]:
    made = [{**CALL, "id": call} for call in calls]
    return {"role": "assistant", "content": text, **({"tool_calls": made} if made else {})}


def tool(call: str, text: str = "7") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call, "content": text}


class TestTrimming:
    def test_the_oldest_turns_go(self, words: None) -> None:
        system = {"role": "system", "content": "a b"}
        turns = [user("one"), assistant("two"), user("three"), assistant("four"), user("five")]
        messages = [system, *turns]
        # 3, and 6 of the system's; each of the others has 5.
        assert trim_messages(messages, "gpt-4o", 3 + 6 + 25) == messages
        assert trim_messages(messages, "gpt-4o", 3 + 6 + 24) == [system, *turns[2:]]
        assert trim_messages(messages, "gpt-4o", 3 + 6 + 5) == [system, turns[-1]]
        assert trim_messages([], "gpt-4o", 9) == []
        kept = trim_messages(messages, "gpt-4o", 14)
        assert kept[0] is system and kept[1] is turns[-1], "they are the same objects"

    def test_a_call_stays_with_its_results(self, words: None) -> None:
        turn = [user("long " * 50), assistant(None, "a", "b"), tool("a"), tool("b"), assistant("so"), user("and?")]
        assert trim_messages(turn, "gpt-4o", 30) == turn[-1:]
        agent = [
            user("old"),
            assistant("yes"),
            user("go"),
            assistant(None, "a"),
            tool("a"),
            assistant(None, "b"),
            tool("b"),
        ]
        kept = trim_messages(agent, "gpt-4o", 50)
        assert kept == agent[2:]

    @pytest.mark.parametrize(
        "pair",
        [
            [assistant(None, "a"), user("wait"), tool("a")],
            [
                {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "7"}]},
            ],
            [
                {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "a", "output": "7"},
            ],
        ],
        ids=["interrupted", "anthropic", "responses"],
    )
    def test_every_form_of_a_call(self, without: None, pair: list[Any]) -> None:
        for budget in range(20, 200):
            messages = [user("old " * 30), *pair, user("and?")]
            try:
                kept = trim_messages(messages, "openai/gpt-4o", budget)
            except InvalidArgumentError:
                continue
            assert [message in kept for message in pair] in ([True] * len(pair), [False] * len(pair))
            assert kept[-1] is messages[-1]

    def test_random_conversations(self, words: None) -> None:
        chance = random.Random(19)
        for _ in range(300):
            messages: list[Any] = [{"role": "system", "content": "s"}] * chance.randint(0, 2)
            number = 0
            for _ in range(chance.randint(1, 8)):
                messages.append(user("w " * chance.randint(1, 30)))
                for _ in range(chance.randint(0, 2)):
                    calls = [str(number := number + 1) for _ in range(chance.randint(1, 3))]
                    messages += [assistant(None, *calls), *(tool(call) for call in chance.sample(calls, len(calls)))]
                messages.append(assistant("done"))
            limit = chance.randint(20, 400)
            try:
                kept = trim_messages(messages, "gpt-4o", limit)
            except InvalidArgumentError:
                continue
            made = {call["id"] for message in kept for call in message.get("tool_calls") or ()}
            answered = {message["tool_call_id"] for message in kept if message["role"] == "tool"}
            assert made == answered
            assert count_tokens("gpt-4o", kept, offline=True) <= limit
            rest = [message for message in kept if message["role"] != "system"]
            assert rest[0]["role"] == "user" and rest == messages[len(messages) - len(rest) :]

    def test_the_tokenizer_is_looked_up_once(self, words: None, monkeypatch: pytest.MonkeyPatch) -> None:
        looked_up: list[str] = []
        tiktoken = sys.modules["tiktoken"]
        encoding_for_model = tiktoken.encoding_for_model

        def counted(name: str) -> Any:
            looked_up.append(name)
            return encoding_for_model(name)

        monkeypatch.setattr(tiktoken, "encoding_for_model", counted)
        trim_messages([user("one"), assistant("two"), user("three")], "gpt-4o", 30, tools=[TOOL])
        count_tokens("gpt-4o", SAY, offline=True)
        assert looked_up == ["gpt-4o"] * 2

    def test_names(self) -> None:
        assert ritellm.TokenCount is TokenCount
