"""Tests that reasoning is in `reasoning_content` under any name of a provider, plain and streamed, and never twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from server import MESSAGES, Answer, Json, Server

from ritellm import Client, stream_chunk_builder

DETAILS = {"type": "reasoning.text", "index": 0, "format": "x"}
FORMS: list[tuple[str, Any]] = [
    ("reasoning_content", lambda text: {"reasoning_content": text}),
    ("reasoning", lambda text: {"reasoning": text}),
    ("reasoning_text", lambda text: {"reasoning_text": text}),
    ("thinking", lambda text: {"thinking": text}),
    ("thought", lambda text: {"thought": text}),
    ("reasoning_details", lambda text: {"reasoning_details": [{**DETAILS, "text": text}]}),
    ("two names", lambda text: {"reasoning": text, "reasoning_details": [{**DETAILS, "text": text}]}),
    ("both", lambda text: {"reasoning_content": text, "reasoning": text}),
    ("an empty one", lambda text: {"reasoning_content": "", "reasoning": text}),
    ("a list", lambda text: {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]}),
    ("a summary", lambda text: {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": text}]}]}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "form"), FORMS, ids=[name for name, _ in FORMS])
@pytest.mark.parametrize("provider", ["openai_compatible", "openrouter", "mistral", "databricks"])
def test_it_has_one_name(server: Server, provider: str, name: str, form: Any) -> None:
    client = Client(api_key="k", base_url=server.url, max_retries=0)
    message: Json = {"role": "assistant", "content": "Yes.", **form("Let me see.")}
    answer = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    server.answer(Answer(body=json.dumps(answer).encode()))
    plain = client.completion(f"{provider}/m", MESSAGES).choices[0].message
    assert plain.reasoning_content == "Let me see."

    deltas = [{"role": "assistant", "content": ""}, form("Let me "), form("see."), {"content": "Yes."}]
    chunks = [{"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    server.answer(Answer(headers={"content-type": "text/event-stream"}, body=body.encode()))
    stream = client.completion(f"{provider}/m", MESSAGES, stream=True)
    shown: list[Any] = list(stream)
    assert "".join(chunk.choices[0].delta.get("reasoning_content") or "" for chunk in shown) == "Let me see."
    for whole in (stream.completion, stream_chunk_builder(shown)):
        assert whole.choices[0].message.reasoning_content == "Let me see."
        assert whole.choices[0].message.content == "Yes."

    # Strict hosts see none of another's names.
    server.answer(Answer(body=json.dumps(answer).encode()))
    for message in (plain, stream.completion.choices[0].message):
        client.completion("groq/m", [*MESSAGES, message, *MESSAGES])
        assert set(server.last.json["messages"][-2]) <= {"role", "content", "reasoning"}
