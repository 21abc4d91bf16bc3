"""Answers with one leaf changed: nothing that is not the content may cost the answer, and what was said survives."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import mutants
import pytest
import wire
from mutants import CHANGES, Case, Path
from server import Server

import ritellm
from ritellm import Client

SEED = 13
"""Another seed looks at other mutants; `fuzz/` has a target that looks at all of them."""
FEW = 2500
"""So many mutants of our own answers, and a fifth of that of the recorded ones: some three seconds."""

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
    """Whether the leaf is all that tells a whole stream from one that broke off."""
    return case.stream and path[-1] == "finishReason"


@pytest.fixture(scope="module")
def answering() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def said(server: Server, case: Case) -> Any:
    """What a caller gets of an answer: text, reasoning, calls; items; vectors."""
    server.answer(case.answer())
    server.requests.clear()
    more: dict[str, Any] = {"aws_region_name": "us-east-1"} if case.provider == "bedrock" else {}
    if case.provider == "vertex":
        more = {"vertex_project": "p", "vertex_location": "global"}
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
    """What the items of a response say, whatever they are."""
    for item in value if isinstance(value, list) else []:
        if isinstance(item, dict):
            yield from (item[name] for name in ("text", "arguments") if isinstance(item.get(name), str))
            yield from texts(item.get("content"))


def check(server: Server, cases: list[Case], count: int) -> None:
    chance = random.Random(SEED)
    every = [(case, *leaf[:2]) for case in cases for leaf in mutants.places(case)]
    originals: dict[str, Any] = {}
    faults = []
    for case, number, path in chance.choices(every, k=count):
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


@pytest.mark.parametrize("provider", sorted({case.provider for case in mutants.own()}))
def test_answers_of_our_own(answering: Server, provider: str) -> None:
    cases = mutants.own()
    mine = [case for case in cases if case.provider == provider]
    check(answering, mine, FEW * len(mine) // len(cases))


@pytest.mark.skipif(wire.FOLDER is None, reason=wire.ABSENT)
def test_recorded_answers(answering: Server) -> None:
    check(answering, mutants.recorded(), FEW // 5)
