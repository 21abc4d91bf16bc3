"""Tests with recorded traffic of real providers, which is stored beside the repository during development.

Its own scorer says what each answer must come to; here its scores are held at 100. Beyond the scorer: errors, what the
caller changed in a message, and what one provider's message looks like at another.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import subprocess
import sys
import time
import types
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server import free_port

import ritellm

WIRE = Path(__file__).parents[2] / "shared" / "wire"
if not WIRE.is_dir():
    # A git worktree may be anywhere; the recordings are beside the main one.
    git = subprocess.run(
        ["git", "rev-parse", "--git-common-dir"], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    WIRE = Path(git.stdout.strip() or ".").resolve().parents[1] / "shared" / "wire"
if not WIRE.is_dir():
    pytest.skip("the recorded traffic (../shared/wire) is not here", allow_module_level=True)
pytest.importorskip("aiohttp", reason="the replay server of ../shared/wire wants it")

Json = dict[str, Any]
Case = dict[str, Any]

EXCEPTIONS = {
    ("test_bedrock/test_bedrock_model_stream_empty_text_delta.yaml#0", "roundtrip"): (
        "the answer is one empty text, and Converse refuses blank text blocks in a request"
    ),
}
"""Scores that cannot be 100, with the reason, by (case, column)."""

ERRORS: dict[str, type[ritellm.RiteLLMError]] = {"404": ritellm.NotFoundError, "400": ritellm.BadRequestError}
"""Each status that was recorded; a subclass would say more than the recorded bodies do."""


def wire(name: str) -> types.ModuleType:
    """A module of the recordings' own. They set keys in the environment as they are imported, which is undone."""
    before = dict(os.environ)
    sys.path.insert(0, str(WIRE))
    try:
        return __import__(name)
    finally:
        sys.path.remove(str(WIRE))
        os.environ.clear()
        os.environ.update(before)


corpus, native, clients = wire("corpus"), wire("native"), wire("clients")
CASES: list[tuple[int, Case]] = [
    (place, case) for place, case in enumerate(corpus.load()) if case["endpoint"] == "chat"
]
PROVIDERS = sorted({case["provider"] for _, case in CASES if case["status"] < 400})
NATIVE = ("anthropic", "bedrock", "cohere", "gemini", "vertex")
"""Providers in the recordings that have a wire of their own."""


class Replay:
    """The server that answers as the providers did."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = clients.CLIENTS["ritellm"]()

    def base_url(self, place: int, provider: str) -> str:
        has_version = provider not in (*NATIVE, "azure", "ollama_chat")
        return f"{self.url}/c{place}" + ("/v1" if has_version else "")

    def call(self, place: int, case: Case, messages: list[Json], tools: list[Json] | None = None) -> Json:
        """The scorer's way of making a call: the whole completion, put together if it was a stream."""
        base = self.base_url(place, case["provider"])
        completion: Json = self.client.call(case, base, messages, tools=tools, stream=case["stream"])[0]
        return completion

    def answer(self, place: int, case: Case) -> Json:
        message: Json = self.call(place, case, [{"role": "user", "content": "hi"}])["choices"][0]["message"]
        return message

    def sent(self, place: int) -> Json:
        """The body of the last request that case was called with; once."""
        with urllib.request.urlopen(f"{self.url}/_sent/c{place}") as response:
            body: Json = json.loads(json.load(response)["body"])
        return body


@pytest.fixture(scope="module")
def replay() -> Iterator[Replay]:
    port = free_port()
    server = subprocess.Popen([sys.executable, str(WIRE / "replay.py"), str(port)])
    url = f"http://127.0.0.1:{port}"
    for _ in range(400):
        try:
            urllib.request.urlopen(f"{url}/_sent/none", timeout=1).read()
            break
        except OSError:
            time.sleep(0.05)
    try:
        yield Replay(url)
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(autouse=True)
def keys(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in clients.KEYS.items():
        monkeypatch.setenv(name, value)


# ---- The scorer ----


class Scores:
    def __init__(self, table: str, fails: list[tuple[str, str, str]]) -> None:
        rows = (re.match(r"(\S+)\s+(\d+)\s", line) for line in table.splitlines()[1:])
        self.counts = {row[1]: int(row[2]) for row in rows if row}
        self.fails = fails


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Scores:
    """The scorer's verdicts, all of them in one run."""
    report = tmp_path_factory.mktemp("scores") / "scores.json"
    command = [sys.executable, str(WIRE / "score.py"), "ritellm", "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return Scores(done.stdout, json.loads(report.read_text())["fails"])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_scores(scores: Scores, provider: str) -> None:
    of_provider = {case["id"]: case for _, case in CASES if case["provider"] == provider}
    judged = [case for _, case in CASES if case["provider"] == provider and can_be_judged(case)]
    if not judged:
        pytest.skip("the scorer has nothing to say about its cases")
    assert scores.counts[provider] == len(judged)
    failed = [fail for fail in scores.fails if fail[0] in of_provider and (fail[0], fail[1]) not in EXCEPTIONS]
    assert not failed, "\n".join(" ".join(fail) for fail in failed)


def can_be_judged(case: Case) -> bool:
    try:
        return native.view(case) is not None
    except Exception:  # The scorer passes over what its oracle cannot read.
        return False


def test_every_exception_is_one(scores: Scores) -> None:
    failed = {(case, column) for case, column, _ in scores.fails}
    assert set(EXCEPTIONS) <= failed, "these are well by now, so they need no exception"


# ---- Errors ----


def said(body: bytes) -> str:
    """The provider's own words in the body of an error."""
    error = json.loads(body)
    message = (error.get("error") or error).get("message")
    assert isinstance(message, str)
    return message


@pytest.mark.parametrize(
    ("place", "case"), [pytest.param(place, case, id=case["id"]) for place, case in CASES if case["status"] >= 400]
)
def test_errors(replay: Replay, place: int, case: Case) -> None:
    expected = ERRORS[str(case["status"])]
    with pytest.raises(ritellm.RiteLLMError) as caught:
        replay.call(place, case, [{"role": "user", "content": "hi"}])
    error = caught.value
    assert type(error) is expected
    assert said(case["body"]) in error.message
    assert (error.status_code, error.request_id is not None) == (case["status"], True)
    assert json.loads(case["body"]) == (error.body if isinstance(error.body, dict) else json.loads(error.body or ""))


# ---- What comes back in the history ----


def kinds(case: Case) -> frozenset[str]:
    """Returns an outline of a response: the names of its blocks' members."""
    if not can_be_judged(case):
        return frozenset()
    view = native.view(case)
    names = {f"{block.get('type')}:{name}" for block in view["blocks"] or [] for name in block}
    return frozenset(names | {word for word in ("text", "reasoning", "calls") if view[word]})


def varied(provider: str, most: int = 12) -> list[tuple[int, Case]]:
    """Cases of a provider that differ in what there is in them, the richest first, plain and streamed."""
    chosen: dict[tuple[frozenset[str], bool], tuple[int, Case]] = {}
    for place, case in CASES:
        if case["provider"] == provider and case["status"] < 400 and kinds(case):
            chosen.setdefault((kinds(case), case["stream"]), (place, case))
    return [chosen[key] for key in sorted(chosen, key=lambda key: (-len(key[0]), sorted(key[0]), key[1]))][:most]


def conversation(message: Json) -> tuple[list[Json], list[Json] | None]:
    """A conversation that goes on after this message, and the tools it speaks of."""
    calls = [call for call in message.get("tool_calls") or [] if "function" in call]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "42"} for call in calls]
    messages = [{"role": "user", "content": "hi"}, message, *(results or [{"role": "user", "content": "go on"}])]
    names = dict.fromkeys(call["function"]["name"] for call in calls)
    schema = {"type": "object", "properties": {}}
    tools = [
        {"type": "function", "function": {"name": name, "description": "d", "parameters": schema}} for name in names
    ]
    return messages, tools or None


def strings(value: object) -> Iterator[str]:
    """Every text in a JSON value, that in JSON inside of texts too."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value
        if value[:1] in ("{", "["):
            with contextlib.suppress(ValueError):
                yield from strings(json.loads(value))


def turn_of_the_model(body: Json) -> list[Json]:
    """The assistant's messages in a request, whatever it calls them."""
    return [
        turn for turn in body.get("messages") or body.get("contents") or [] if turn["role"] in ("assistant", "model")
    ]


WITH_TEXT = [
    pytest.param(place, case, id=case["id"])
    for provider in PROVIDERS
    for place, case in varied(provider)
    if len((native.view(case)["text"] or "").strip()) > 20
]


@pytest.mark.parametrize(("place", "case"), WITH_TEXT)
def test_the_callers_text_wins(replay: Replay, place: int, case: Case) -> None:
    message = replay.answer(place, case)
    original = message["content"]
    message["content"] = "Changed by the caller."
    messages, tools = conversation(message)
    replay.sent(place)
    send(replay, place, case, messages, tools)
    found = list(strings(turn_of_the_model(replay.sent(place))))
    assert found.count("Changed by the caller.") == 1
    # At other hosts the reasoning, which stays, may repeat the text.
    is_left = original.__eq__ if case["provider"] not in NATIVE else lambda text: original in text
    assert not any(is_left(text) for text in found)


WITH_CALLS = [
    pytest.param(place, case, id=case["id"])
    for provider in PROVIDERS
    for place, case in varied(provider, 40)
    if native.view(case)["calls"]
]


@pytest.mark.parametrize(("place", "case"), WITH_CALLS)
def test_the_callers_arguments_win(replay: Replay, place: int, case: Case) -> None:
    message = replay.answer(place, case)
    call = message["tool_calls"][0]
    call["function"]["arguments"] = '{"changed": "by the caller"}'
    messages, tools = conversation(message)
    replay.sent(place)
    send(replay, place, case, messages, tools)
    found = list(strings(turn_of_the_model(replay.sent(place))))
    assert "by the caller" in found


def send(replay: Replay, place: int, case: Case, messages: list[Json], tools: list[Json] | None) -> None:
    """Sends a second turn. What is recorded is the answer to another request, which may not suit the second one."""
    with contextlib.suppress(ritellm.APIStatusError):
        replay.call(place, case, messages, tools)


OURS = {"provider_specific_fields", "thinking_blocks"}
"""Names of what RiteLLM adds to messages."""
REASONING = {"reasoning", "reasoning_content", "reasoning_details"}
"""Names that hosts have for reasoning, which OpenAI's format does not have."""
STRICT = {"azure": set(), "cerebras": {"reasoning"}, "groq": {"reasoning"}, "mistral": set(), "openai": set()}
"""Hosts that refuse names they do not know, and what of those they know."""
OPENAIS = {"role", "content", "refusal", "audio", "tool_calls", "function_call", "name"}
"""Members of an assistant message in OpenAI's requests."""


def names(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(names(inner) for inner in value.values()))
    return set().union(*(names(inner) for inner in value)) if isinstance(value, list) else set()


def a_case_of(provider: str) -> tuple[int, Case]:
    """A recorded plain answer in the format that this provider speaks."""
    recorded = {"azure": "openai", "cerebras": "openai", "groq": "openai", "mistral": "openai", "ollama_chat": "openai"}
    wanted = recorded.get(provider, provider)
    return next(
        (place, case)
        for place, case in CASES
        if case["provider"] == wanted and case["status"] < 400 and not case["stream"] and can_be_judged(case)
    )


TARGETS = [*NATIVE, "ollama_chat", *STRICT]
PAIRS = [
    pytest.param(source, target, id=f"{source}-{target}")
    for source in (*NATIVE, "groq", "mistral", "openrouter", "openai-compatible")
    for target in TARGETS
    if source != target and {source, target} != {"gemini", "vertex"}
]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_another_provider_gets_openais_fields_only(replay: Replay, source: str, target: str) -> None:
    place, answering = a_case_of(target)
    for source_place, case in varied(source):
        message = replay.answer(source_place, case)
        before = copy.deepcopy(message)
        messages, tools = conversation(message)
        call_target(replay, place, answering, target, messages, tools)
        assert message == before, "the caller's message was changed"
        body = replay.sent(place)
        turns = turn_of_the_model(body)
        shown = f"{case['id']}: {json.dumps(turns)[:600]}"
        assert not names(turns) & OURS, shown
        # `openai` with a base URL elsewhere may be any host, so what compatible hosts say themselves passes there.
        may_be_its_own = target == "openai" and source not in NATIVE
        if target in STRICT and not may_be_its_own:
            assert not names(turns) & (REASONING - STRICT[target]), shown
        if target in STRICT and source in NATIVE:
            assert all(set(turn) <= OPENAIS | STRICT[target] for turn in turns), shown
            calls = [call for turn in turns for call in turn.get("tool_calls") or []]
            assert all(set(call) == {"id", "type", "function"} for call in calls), shown
        # What OpenAI's fields do say is all there.
        found = list(strings(turns))
        text = (message.get("content") or "").strip()
        assert not text or any(text in there for there in found), shown
        for call in message.get("tool_calls") or []:
            assert call["function"]["name"] in found, shown
        # Claude's signatures hold at both of its places.
        if {source, target} != {"anthropic", "bedrock"} and not may_be_its_own:
            assert not any(secret in there for secret in secrets(message) for there in found), shown


def secrets(message: Json) -> Iterator[str]:
    """The signatures in a message: nobody else can read them."""

    def of(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            for name, inner in value.items():
                is_signature = name in ("signature", "thoughtSignature", "redactedContent")
                if is_signature and isinstance(inner, str) and len(inner) > 20:
                    yield inner
                else:
                    yield from of(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from of(inner)

    yield from of(message)


def call_target(
    replay: Replay, place: int, answering: Case, target: str, messages: list[Json], tools: list[Json] | None
) -> None:
    """Sends a conversation to `target`, which answers with a recorded answer: perhaps one of another format."""
    settings: Json = {"api_key": "sk-x"}
    if target == "bedrock":
        settings = {"aws_region_name": "us-east-1"}
    elif target == "vertex":
        settings |= {"vertex_project": "p", "vertex_location": "global"}
    elif target == "azure":
        settings |= {"api_version": "2024-10-21"}
    model = clients.model_of(answering)
    base_url = replay.base_url(place, target)
    try:
        ritellm.completion(
            f"{target}/{model}", messages, tools=tools, base_url=base_url, max_retries=0, timeout=20, **settings
        )
    except ritellm.APIResponseValidationError:
        # Ollama's own format was not recorded: only what was sent matters.
        assert target == "ollama_chat"
