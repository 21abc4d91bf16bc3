"""A gateway: a client's parameters are passed on, and the answer may be streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from typing_extensions import assert_type

import ritellm
from ritellm import ChatCompletion, Client, Router, Stream

router = Router({"fast": ["openai/gpt-4o-mini", "groq/llama-3.3-70b-versatile"]}, strategy="latency")
ALLOWED = {"temperature", "max_tokens", "tools", "tool_choice"}


async def forward(body: dict[str, Any]) -> AsyncIterator[bytes]:
    options = {name: value for name, value in body.items() if name in ALLOWED}
    messages: list[dict[str, Any]] = body["messages"]
    if body.get("stream"):
        stream = await router.acompletion("fast", messages, stream=True, **options)
        async for piece in ritellm.sse(stream):
            yield piece
        return
    response = await router.acompletion("fast", messages, **options)
    print(response.choices[0].message.content, response.meta.attempts[-1].deployment)
    yield response.model_dump_json().encode()


def either(client: Client, messages: list[dict[str, Any]], stream: bool) -> str:
    answer = client.completion("openai/gpt-4o-mini", messages, stream=stream, temperature=0)
    if isinstance(answer, Stream):
        return "".join(chunk.choices[0].delta.content or "" for chunk in answer)
    assert_type(answer, ChatCompletion)
    return answer.choices[0].message.content or ""


def status() -> dict[str, float]:
    return {name: quota["paused_for"] or 0.0 for name, quota in router.limits().items()}


async def failed(error: Exception) -> tuple[int, dict[str, Any]]:
    reply = ritellm.http_error(error, forward_auth=True)
    return reply.status, reply.body
