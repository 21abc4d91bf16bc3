"""A data job: rows are labelled, and their texts embedded."""

from __future__ import annotations

import dataclasses
import json
from typing import Literal

from typing_extensions import assert_type

import ritellm
from ritellm import Client, EmbeddingResponse

client = Client(limits={"openai": {"rpm": 5_000}}, catalog="genai-prices")


@dataclasses.dataclass
class Label:
    mood: Literal["good", "bad"]
    score: float


def label(text: str) -> Label:
    response = client.completion("openai/gpt-4o-mini", [{"role": "user", "content": text}], response_format=Label)
    assert_type(response.parsed, Label)
    if response.meta.usage is not None:
        print(response.meta.usage.input + response.meta.usage.output, response.meta.cost or 0.0)
    return response.parsed


def vectors(texts: list[str]) -> list[list[float]]:
    response = client.embedding("openai/text-embedding-3-small", texts, dimensions=256)
    assert_type(response, EmbeddingResponse)
    assert_type(response.data[0].embedding, list[float])
    return response.embeddings


def rows() -> list[str]:
    job = ritellm.bulk([{"text": "x"}], client=client, model="openai/gpt-4o-mini", out="job")
    return [json.dumps(answer) for _, answer in job.results()]


def usage(texts: list[str]) -> int:
    total = 0
    for text in texts:
        counts = client.completion("openai/gpt-4o-mini", [ritellm.Message.user(text)]).usage
        if counts is not None:
            total += counts.total_tokens
            if counts.prompt_tokens_details is not None:
                total -= counts.prompt_tokens_details.cached_tokens or 0
    return total
