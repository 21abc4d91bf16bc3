"""Tests with recorded Responses API calls: request and response are passed on unchanged."""

from __future__ import annotations

import json
from typing import Any

import pytest
import wire
from server import Server

from ritellm import Client, Response, ResponseEvent, RiteLLMError

CASES = wire.cases("responses")
pytestmark = pytest.mark.skipif(wire.FOLDER is None, reason=wire.ABSENT)


def recorded_events(case: wire.Case) -> list[Any]:
    lines = case["body"].decode().replace("\r\n", "\n").split("\n")
    return [json.loads(line[5:]) for line in lines if line.startswith("data:") and line[5:].strip() != "[DONE]"]


def call(server: Server, case: wire.Case) -> Any:
    server.answer(wire.answer(case))
    parameters = {name: value for name, value in case["request"].items() if name != "model"}
    base = case["path"].removesuffix("/responses")
    provider = "azure" if case["provider"] == "azure" else "openai"
    client = Client(api_key="k", base_url=f"{server.url}{base}" if base else f"{server.url}/", max_retries=0)
    return client.responses(f"{provider}/{wire.model(case)}", parameters.pop("input", None), **parameters)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_recorded_call(server: Server, case: wire.Case) -> None:
    if case["status"] >= 400:
        with pytest.raises(RiteLLMError) as raised:
            call(server, case)
        assert raised.value.body == json.loads(case["body"])
        return
    result = call(server, case)
    if case["stream"]:
        events = list(result)
        assert events == recorded_events(case)
        assert all(type(event) is ResponseEvent for event in events)
        response, expected = result.completion, events[-1]["response"]
    else:
        response, expected = result, json.loads(case["body"])
    assert type(response) is Response
    assert response == expected
    parts = [part for item in expected["output"] if item["type"] == "message" for part in item["content"]]
    assert response.output_text == "".join(part["text"] for part in parts if part["type"] == "output_text")
    # What is None is not sent, and a stream that is not wanted is not mentioned.
    unsaid = {name for name, value in case["request"].items() if value is None or (name, value) == ("stream", False)}
    assert server.last.json == {name: value for name, value in case["request"].items() if name not in unsaid}
