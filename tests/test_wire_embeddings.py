"""Tests with recorded embedding calls: the request is the same, and the recorded vectors are returned."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import numpy as np
import pytest
import wire
from server import Server

from ritellm import Client, RiteLLMError

CASES = wire.cases("embed")
pytestmark = pytest.mark.skipif(wire.FOLDER is None, reason=wire.ABSENT)


def texts_and_parameters(case: wire.Case) -> tuple[list[str], dict[str, Any]]:
    """The texts of a native request, and its other members, those that say nothing left out."""
    request = {name: value for name, value in case["request"].items() if name != "model" and value is not None}
    if "requests" in request:
        texts = [item["content"]["parts"][0]["text"] for item in request["requests"]]
        others = [{k: v for k, v in item.items() if k not in ("model", "content")} for item in request["requests"]]
        assert all(other == others[0] for other in others)
        return texts, others[0]
    return request.pop("texts", None) or request.pop("input"), request


def vectors(case: wire.Case) -> list[list[float]]:
    answer = json.loads(case["body"])
    if "data" in answer:
        return [
            list(struct.unpack(f"<{len(packed) // 4}f", packed))
            for packed in (base64.b64decode(item["embedding"]) for item in answer["data"])
        ]
    embeddings = answer["embeddings"]
    return embeddings["float"] if isinstance(embeddings, dict) else [item["values"] for item in embeddings]


def call(server: Server, case: wire.Case, **more: Any) -> Any:
    server.answer(wire.answer(case))
    texts, parameters = texts_and_parameters(case)
    # Asked for without a word.
    if parameters.get("encoding_format") == "base64":
        del parameters["encoding_format"]
    client = Client(api_key="k", base_url=server.url, max_retries=0)
    return client.embedding(f"{case['provider']}/{wire.model(case)}", texts, **parameters, **more)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_recorded_call(server: Server, case: wire.Case) -> None:
    if case["status"] >= 400:
        with pytest.raises(RiteLLMError) as raised:
            call(server, case)
        assert raised.value.status_code == case["status"]
        assert raised.value.body == json.loads(case["body"])
        return
    response = call(server, case)
    assert server.last.path == case["path"]
    sent = {name: value for name, value in case["request"].items() if value is not None}
    assert server.last.json == sent
    assert response.embeddings == vectors(case)
    assert [item.index for item in response.data] == list(range(len(response.data)))
    array = call(server, case, output="numpy").embeddings
    np.testing.assert_array_equal(array, np.array(vectors(case), dtype=np.float32))


@pytest.mark.parametrize("case", [case for case in CASES if case["status"] < 400], ids=lambda case: case["id"])
def test_tokens_are_counted(server: Server, case: wire.Case) -> None:
    answer = json.loads(case["body"])
    usage = call(server, case).usage
    if "usage" in answer:
        assert usage.total_tokens == answer["usage"]["total_tokens"]
        assert usage.prompt_tokens == answer["usage"].get("prompt_tokens", answer["usage"]["total_tokens"])
    elif "usageMetadata" in answer:
        assert usage.prompt_tokens == answer["usageMetadata"]["promptTokenCount"]
    elif "meta" in answer:
        assert usage.prompt_tokens == answer["meta"]["billed_units"]["input_tokens"]
    else:
        assert usage is None
