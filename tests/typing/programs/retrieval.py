"""Retrieval: documents are embedded, ranked, and quoted in an answer."""

from __future__ import annotations

import asyncio
from typing import Any

from typing_extensions import assert_type

import ritellm
from ritellm import Message

DOCUMENTS = ["Dogs bark.", "Call f.close()."]


async def embed(texts: list[str]) -> list[list[float]]:
    answers = await asyncio.gather(*(ritellm.aembedding("openai/text-embedding-3-small", [text]) for text in texts))
    return [answer.data[0].embedding for answer in answers]


def array(texts: list[str]) -> Any:
    response = ritellm.embedding("openai/text-embedding-3-small", texts, output="numpy")
    print(response.embeddings.shape, response.data[0].embedding.dtype)
    return response.embeddings


def closest(vector: list[float], others: list[list[float]]) -> int:
    return max(range(len(others)), key=lambda index: sum(a * b for a, b in zip(vector, others[index], strict=True)))


def ranked(question: str) -> list[str]:
    ranking = ritellm.rerank("cohere/rerank-v3.5", question, DOCUMENTS, top_n=1)
    assert_type(ranking.results[0].relevance_score, float)
    return [DOCUMENTS[result.index] for result in ranking.results]


async def answer(question: str) -> str:
    passages = "\n".join(ranked(question))
    messages = [Message.system(f"Answer from these:\n{passages}"), Message.user(question)]
    text = ""
    async for chunk in await ritellm.acompletion("anthropic/claude-sonnet-4-5", messages, stream=True, top_k=5):
        for choice in chunk.choices:
            text += choice.delta.content or ""
    return text
