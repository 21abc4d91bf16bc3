"""Programs that were written for the OpenAI SDK and for LiteLLM."""

from __future__ import annotations

import json
from typing import Any

from typing_extensions import assert_type

import ritellm
from ritellm import (
    APIConnectionError,
    ChatCompletionChunk,
    RateLimitError,
    Response,
    acompletion,
    completion,
    responses,
)

MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]


def chat() -> str:
    try:
        response = completion(
            model="gpt-4o-mini", messages=MESSAGES, max_tokens=10, num_retries=2, api_base="http://h/v1"
        )
    except RateLimitError as error:
        return f"{error.llm_provider} {error.status_code} {error.retry_after}"
    except (ritellm.Timeout, APIConnectionError) as error:
        return error.message
    print(json.dumps(response.model_dump(mode="json", exclude_unset=True)))
    return response["choices"][0]["message"]["content"] or ""


def tools() -> None:
    function: dict[str, Any] = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    response = completion(
        "gpt-4o-mini", MESSAGES, tools=[{"type": "function", "function": function}], tool_choice="auto"
    )
    message = response.choices[0].message
    for call in message.tool_calls or []:
        print(call.id, call.function.name, json.loads(call.function.arguments))
    MESSAGES.append(message)


async def streamed() -> str:
    chunks: list[ChatCompletionChunk] = []
    async for chunk in await acompletion(
        model="gpt-4o-mini", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    ):
        chunks.append(chunk)
        if chunk.usage is not None:
            print(chunk.usage.completion_tokens)
    return ritellm.stream_chunk_builder(chunks, messages=MESSAGES).choices[0].message.content or ""


def with_responses() -> str:
    response = responses("openai/gpt-5-mini", "Name a prime.", instructions="One word.", reasoning={"effort": "low"})
    assert_type(response, Response)
    for item in response.output:
        print(item.type, item.role, item.call_id, item.arguments)
    if response.usage is not None and response.usage.output_tokens_details is not None:
        print(response.usage.output_tokens_details.reasoning_tokens)
    for event in responses("openai/gpt-5-mini", "Name a prime.", stream=True, instructions="One word."):
        if event.type == "response.output_text.delta":
            print(event.delta or "", end="")
        elif event.type == "response.completed" and event.response is not None:
            print(event.response.output_text)
        elif event.item is not None:
            print(event.item.name)
    return response.output_text
