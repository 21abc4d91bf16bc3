"""Tests of responses with one leaf changed: the call succeeds, and the content survives unless it was changed."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import mutants
import providers
import pytest
import wire
from mutants import CHANGES, Case, Path
from server import Server

import ritellm
from ritellm import Client

SEED = 13
"""Another seed looks at other mutants; `fuzz/` has a target that looks at all of them."""
FEW = 1500
"""Number of mutants of our own responses; a fifth of it for the recorded ones. Takes about three seconds."""

CONTENT = {
    *("text", "content", "thinking", "reasoning", "reasoning_content", "tool_plan", "refusal", "name", "summary"),
    *("id", "arguments", "input", "args", "partial_json", "embedding", "values", "float", "embeddings", "inlineData"),
}
"""Names under which an answer says what it says."""
PLACES = {"type", "index", "contentBlockIndex", "output_index", "content_index", "thought", "done", "tool_calls"}
"""Names by which a piece of it finds its place: another place is another message."""


def is_content(path: Path) -> bool:
    return bool(CONTENT.intersection(path)) or path[-1] == "delta"


def ends_a_stream(case: Case, path: Path) -> bool:
    """Returns True if only this leaf distinguishes a complete stream from a broken one."""
    return case.stream and path[-1] == "finishReason"


@pytest.fixture(scope="module")
def answering() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def said(server: Server, case: Case) -> Any:
    """Returns the content of a response: text, reasoning, tool calls; items; vectors."""
    server.answer(case.answer())
    server.requests.clear()
    more = providers.SETTINGS.get(case.provider, {})
    client = Client(api_key="k", base_url=server.url, max_retries=0, timeout=20)
    model = f"{case.provider}/{case.model}"
    if case.operation == "embedding":
        # How many vectors there must be is for the tests of embeddings.
        return client.embedding(model, ["a"] * mutants.vectors(case), **more).embeddings
    if case.operation == "responses":
        response: Any = client.responses(model, "hi", stream=case.stream, **more)
        if case.stream:
            list(response)
            response = response.completion
        return list(texts(response.get("output")))
    answer: Any = client.completion(model, [{"role": "user", "content": "hi"}], stream=case.stream, **more)
    if case.stream:
        list(answer)
        answer = answer.completion
    message = answer.choices[0].message
    calls = message.get("tool_calls")
    functions = [call.get("function") for call in calls] if isinstance(calls, list) and all(calls) else calls
    return message.get("content"), message.get("reasoning_content"), functions or None


def texts(value: Any) -> Iterator[str]:
    """Returns the content of the items of a response, of any type."""
    for item in value if isinstance(value, list) else []:
        if isinstance(item, dict):
            yield from (item[name] for name in ("text", "arguments") if isinstance(item.get(name), str))
            yield from texts(item.get("content"))


def check(server: Server, cases: list[Case], count: int) -> None:
    chance = random.Random(SEED)
    # By answer first: one vector has more leaves than a hundred answers.
    places = {case.id: mutants.places(case) for case in cases}
    originals: dict[str, Any] = {}
    faults = []
    for case in chance.choices(cases, k=count):
        number, path, _ = chance.choice(places[case.id])
        change = chance.choice(list(CHANGES))
        if case.id not in originals:
            originals[case.id] = said(server, case)
        what = f"{case.id} {case.events[number].name} {path} {change}"
        try:
            got = said(server, mutants.mutant(case, number, path, change))
        except ritellm.RiteLLMError as error:
            if not (is_content(path) and case.operation == "embedding") and not ends_a_stream(case, path):
                faults.append(f"{what}: {type(error).__name__}: {error}")
            continue
        if got != originals[case.id] and not is_content(path) and not PLACES.intersection(path[-1:]):
            faults.append(f"{what}: {got}")
    assert not faults, "\n".join(faults[:20])


NULLS = [
    ("anthropic", ("content",)),
    ("bedrock", ("output", "message", "content")),
    ("cohere", ("message", "content")),
    ("gemini", ("candidates", 0, "content", "parts")),
    ("gemini", ("candidates",)),
    ("mistral", ("choices", 0, "message", "content")),
    ("ollama_chat", ("message", "tool_calls")),
]


@pytest.mark.parametrize(("provider", "path"), NULLS)
def test_nulls_in_lists_are_passed_over(answering: Server, provider: str, path: Path) -> None:
    case = next(case for case in mutants.own() if case.id == f"{provider}-chat-plain")
    original = said(answering, case)
    for place in (0, -1):
        data = copy.deepcopy(case.events[0].data)
        holder = data
        for step in path:
            holder = holder[step]
        holder.insert(place, None)
        assert said(answering, replace(case, events=(mutants.Event("", data),))) == original


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_every_format_has_answers_of_our_own(stream: bool) -> None:
    chats = {case.provider for case in mutants.own() if case.operation == "chat" and case.stream == stream}
    assert providers.FORMATS <= chats


@pytest.mark.parametrize("provider", sorted({case.provider for case in mutants.own()}))
def test_answers_of_our_own(answering: Server, provider: str) -> None:
    cases = mutants.own()
    mine = [case for case in cases if case.provider == provider]
    check(answering, mine, FEW * len(mine) // len(cases))


@pytest.mark.skipif(wire.FOLDER is None, reason=wire.ABSENT)
def test_recorded_answers(answering: Server) -> None:
    check(answering, mutants.recorded(), FEW // 5)
