"""A user's program as mypy --strict sees it. It is checked and not run; `make check` has the command.

A ``type: ignore`` says that mypy must object there: one that is not needed is an error too.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import json
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

from typing_extensions import TypedDict, assert_type

import ritellm
from ritellm import (
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    Client,
    Delta,
    Deployment,
    EmbeddingResponse,
    IncompleteStreamError,
    InvalidArgumentError,
    Limit,
    Limits,
    Message,
    Meta,
    ParsedChatCompletion,
    ParsedResponse,
    ParsedStream,
    RateLimitError,
    Response,
    ResponseEvent,
    RiteLLMError,
    Router,
    Stream,
    ToolCall,
    Usage,
    acompletion,
    completion,
    stream_chunk_builder,
)

MODEL = "openai/gpt-4o-mini"
QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def plain() -> str:
    response = completion(model=MODEL, messages=QUESTION, temperature=0.2, max_tokens=100, stop=["\n"])
    assert_type(response, ChatCompletion)
    assert_type(response.choices, list[Choice])
    assert_type(response.choices[0].message, Message)
    assert_type(response.choices[0].finish_reason, str | None)
    assert_type(response.usage, Usage | None)
    assert_type(response.meta, Meta)
    assert_type(response.meta.request_id, str | None)
    assert_type(response.meta.headers["x-request-id"], str)
    assert_type(response["choices"][0]["message"]["content"], Any)
    assert_type(response.citations, Any)  # what only this provider says
    assert_type(response.model_dump(exclude_none=True), dict[str, Any])
    assert_type(response.model_dump_json(indent=2), str)
    if response.usage is not None:
        print(response.usage.prompt_tokens + response.usage.completion_tokens)
    response.choices[0].message.content = "Because."
    assert_type(response.choices[0].message.reasoning_content, str | None)
    return response.choices[0].message.content or ""


@ritellm.tool
def weather(city: str, days: int = 1) -> list[str]:
    return [city] * days


def calls() -> None:
    assert_type(weather("Oslo", days=2), list[str])
    weather(3)  # type: ignore[arg-type]
    response = completion(MODEL, QUESTION, tools=[weather, WEATHER])
    assert_type(response.tool_calls, list[ToolCall])
    assert_type(response.tool_calls[0].name, str)
    run = ritellm.run_tools(
        MODEL, QUESTION, [weather, WEATHER], max_steps=3, approve=lambda call: call.name == "weather"
    )
    assert_type(run, ritellm.ToolRun)
    assert_type(run.text, str)
    assert_type(run.usage, Usage)
    assert_type(run.steps[0].outputs[0].error, Exception | None)
    events = Client().run_tools(MODEL, QUESTION, [weather], stream=True, temperature=0)
    assert_type(events, ritellm.ToolRunStream)
    for event in events:
        if isinstance(event, ritellm.RunChunk):
            assert_type(event.text, str)
        elif event.type == "call":
            assert_type(event.call, ToolCall)
    ritellm.run_tools(MODEL, QUESTION, [weather], stream="text")  # type: ignore[call-overload]


async def acalls() -> None:
    assert_type(await ritellm.arun_tools(MODEL, QUESTION, [weather]), ritellm.ToolRun)
    events = await Router({"a": [MODEL]}).arun_tools("a", QUESTION, [weather], stream="steps")
    async for event in events:
        assert_type(event.step, int)


def tools() -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "How warm is it in Oslo?"}]
    response = completion(MODEL, messages, tools=[WEATHER], tool_choice="auto", parallel_tool_calls=False)
    answer = response.choices[0].message
    assert_type(answer.tool_calls, list[ToolCall] | None)
    messages.append(answer)
    for call in answer.tool_calls or ():
        arguments = json.loads(call.function.arguments)
        messages.append({"role": "tool", "tool_call_id": call.id, "content": f"{arguments['city']}: 4 °C"})
    return messages


def streamed() -> str:
    text = ""
    with completion(model=MODEL, messages=QUESTION, stream=True, stream_options={"include_usage": True}) as stream:
        assert_type(stream, Stream)
        for chunk in stream:
            assert_type(chunk, ChatCompletionChunk)
            for choice in chunk.choices:
                assert_type(choice.delta, Delta)
                text += choice.delta.content or ""
    assert_type(stream.completion, ChatCompletion)
    assert_type(stream.meta, Meta)
    assert_type(next(stream), ChatCompletionChunk)
    stream.close()
    assert_type(stream_chunk_builder(list(stream)), ChatCompletion)
    return text


def either(stream: bool) -> Iterator[str]:
    answer = completion(model=MODEL, messages=QUESTION, stream=stream)
    assert_type(answer, ChatCompletion | Stream)
    if isinstance(answer, ChatCompletion):
        yield answer.choices[0].message.content or ""
    else:
        for chunk in answer:
            yield chunk.choices[0].delta.content or ""


async def many(prompts: list[str]) -> list[str]:
    calls = [acompletion(model=MODEL, messages=[{"role": "user", "content": prompt}]) for prompt in prompts]
    responses = await asyncio.gather(*calls)
    assert_type(responses, list[ChatCompletion])
    task = asyncio.create_task(acompletion(model=MODEL, messages=QUESTION, timeout={"first_token": 5, "total": None}))
    assert_type(await asyncio.wait_for(task, timeout=10), ChatCompletion)
    return [response.choices[0].message.content or "" for response in responses]


async def astreamed() -> AsyncIterator[str]:
    stream = await acompletion(model=MODEL, messages=QUESTION, stream=True)
    assert_type(stream, Stream)
    async with stream as same:
        assert_type(same, Stream)
        assert_type(await anext(stream), ChatCompletionChunk)
        async for chunk in stream:
            assert_type(chunk, ChatCompletionChunk)
            yield chunk.choices[0].delta.content or ""
        for chunk in stream:
            assert_type(chunk, ChatCompletionChunk)
    await stream.aclose()


async def own_client(wanted: bool) -> None:
    client = Client(
        api_key="sk-…",
        base_url="http://127.0.0.1:8000/v1",
        timeout={"connect": 2, "idle": 30.5},
        max_retries=5,
        headers={"x-team": "search"},
        drop_params=True,
    )
    assert_type(client.completion("openai_compatible/llama", QUESTION), ChatCompletion)
    assert_type(client.completion("openai_compatible/llama", QUESTION, stream=True), Stream)
    assert_type(await client.acompletion("openai_compatible/llama", QUESTION), ChatCompletion)
    assert_type(await client.acompletion("openai_compatible/llama", QUESTION, stream=True), Stream)
    assert_type(await client.acompletion("openai_compatible/llama", QUESTION, stream=wanted), ChatCompletion | Stream)


def every_spelling() -> None:
    """Ours, LiteLLM's, and a parameter that only some provider knows."""
    completion(
        model="groq/openai/gpt-oss-20b",
        messages=({"role": "user", "content": [{"type": "text", "text": "Hi"}]},),
        api_base="http://127.0.0.1:8000/v1",
        num_retries=0,
        headers={"x-trace": "1"},
        extra_query={"version": 2, "verbose": True},
        extra_body={"safe_prompt": True},
        additional_params='{"top_k": 40}',
        reasoning_effort="low",
        service_tier="on_demand",
        min_p=0.05,
        temperature=None,
        stream=None,
    )


def wrapped(**params: Any) -> ChatCompletion | Stream:
    """Parameters that come from elsewhere; ``stream`` may be among them."""
    answer: ChatCompletion | Stream = completion(MODEL, QUESTION, **params)
    return answer


def errors() -> IncompleteStreamError | None:
    try:
        plain()
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.status_code, int | None)
        assert_type(error.headers, dict[str, str])
    except InvalidArgumentError as error:
        wrong_type: TypeError = error
        wrong_value: ValueError = error
        print(wrong_type, wrong_value)
    except IncompleteStreamError as error:
        return error
    except RiteLLMError as error:
        assert_type(error.message, str)
        assert_type(error.provider, str | None)
    return None


def function_types() -> tuple[object, object]:
    """The functions can be handed on as what they are."""
    assert_type(ritellm.__version__, str)
    call: Coroutine[Any, Any, ChatCompletion] = acompletion(MODEL, QUESTION)
    return call, Client().completion


def refused() -> None:
    completion(MODEL)  # type: ignore[call-overload]
    completion(MODEL, "Hi")  # type: ignore[arg-type]
    completion(MODEL, QUESTION, temperature="hot")  # type: ignore[call-overload]
    completion(MODEL, QUESTION, max_tokens="100", stream=True)  # type: ignore[call-overload]
    completion(MODEL, QUESTION, stream="yes")  # type: ignore[call-overload]
    completion(MODEL, QUESTION, timeout="10s")  # type: ignore[call-overload]
    completion(MODEL, QUESTION, tools=WEATHER)  # type: ignore[call-overload]
    print(completion(MODEL, QUESTION).choices.message)  # type: ignore[attr-defined]
    print(completion(MODEL, QUESTION).usage.total_tokens)  # type: ignore[union-attr]
    Client(key="sk-…")  # type: ignore[call-arg]


def streams_of_every_kind() -> None:
    chat = completion(model=MODEL, messages=QUESTION, stream=True)
    assert_type(chat, Stream[ChatCompletionChunk, ChatCompletion])
    bare: Stream = chat
    assert_type(bare.completion, ChatCompletion)
    events = ritellm.responses(MODEL, "Hi", stream=True, timeout=5, max_retries=1, instructions="Be brief.")
    assert_type(events, Stream[ResponseEvent, Response])
    assert_type(next(iter(events)), ResponseEvent)
    assert_type(events.completion, Response)
    with events as entered:
        assert_type(entered, Stream[ResponseEvent, Response])
    for piece in ritellm.speech("openai/tts-1", "Hi", "alloy", stream=True):
        assert_type(piece, bytes)
    wrong: Stream[ResponseEvent, Response] = chat  # type: ignore[assignment]
    print(wrong)


async def awaited_streams() -> None:
    events = await ritellm.aresponses(MODEL, "Hi", stream=True)
    assert_type(events, Stream[ResponseEvent, Response])
    async for event in events:
        assert_type(event, ResponseEvent)
    async for piece in await ritellm.aspeech("openai/tts-1", "Hi", "alloy", stream=True):
        assert_type(piece, bytes)


def options_of_every_call(client: Client) -> None:
    assert_type(
        ritellm.embedding("openai/e", "Hi", timeout={"total": 5}, api_key="k", input_type="q"), EmbeddingResponse
    )
    ritellm.embedding("openai/e", "Hi", timeout="5")  # type: ignore[call-overload]
    client.responses(MODEL, "Hi", max_retries="1")  # type: ignore[call-overload]
    client.rerank("cohere/r", "q", ["d"], base_url=1)  # type: ignore[arg-type]


def closed() -> None:
    with Client() as client:
        assert_type(client, Client)
    client.close(timeout=None)
    client.close("1")  # type: ignore[arg-type]
    assert_type(client.is_closed, bool)
    ritellm.close(timeout=0)


def limited() -> Client:
    Client(limits="adaptive")
    Client(limits={"openai": {"rpm": 5_000, "max_in_flight": 64}, "mistral/*": Limit(requests=6, per=1)})
    Client(limits={"groq": [{"rpm": 30}, Limit(tokens=5e5, per=86_400)]}, priority="bulk")
    limits = Limits("adaptive", share="redis://h/0", namespace="prod", when_down="wait", bulk_share=0.1)
    client = Client(limits=limits)
    assert_type(client.with_options(priority="bulk", max_retries=1), Client)
    assert_type(client.limits()["openai"]["windows"][0]["used"], int)
    assert_type(client.stats()["by_provider"]["openai"]["calls"], int)
    assert_type(client.enable("openai"), bool)
    client.with_options(priority="low")  # type: ignore[arg-type]
    client.with_options(base_url="http://h")  # type: ignore[call-arg]
    Limit(5)  # type: ignore[call-arg]
    Limits("fast")  # type: ignore[arg-type]
    return client


async def routed(client: Client) -> None:
    """A router is a client: the types of its calls are the same."""
    router = Router(
        {
            "fast": [
                Deployment("azure/gpt", base_url="https://h", weight=3, rpm=5_000),
                "openai/gpt",
                {"model": "groq/m"},
            ]
        },
        client=client,
        strategy=lambda group, names: names[0],
        fallbacks={"fast": ["smart"]},
        hedge={"after": "p95", "budget": 0.05},
        max_wait=60,
    )
    either: Client = router
    assert_type(router, Router)
    assert_type(router.completion("fast", QUESTION), ChatCompletion)
    assert_type(await router.acompletion("fast", QUESTION, stream=True), Stream)
    assert_type(await either.aembedding("fast", "Hi"), EmbeddingResponse)
    assert_type(router.responses("fast", "Hi", stream=True), Stream[ResponseEvent, Response])
    assert_type(router.with_options(priority="bulk"), Router)
    assert_type(router.status(), dict[str, dict[str, Any]])
    assert_type(Router.from_file("ritellm.toml", max_wait=5), Router)
    with router as entered:
        assert_type(entered, Router)
    router.completion("fast")  # type: ignore[call-overload]
    Deployment("openai/gpt", weight="3")  # type: ignore[arg-type]


async def aclosed() -> None:
    async with Client() as client:
        assert_type(client, Client)
    await client.aclose(timeout=0.5)
    await ritellm.aclose()


class Ticket(TypedDict):
    title: str


@dataclasses.dataclass
class Line:
    text: str


class Mood(enum.Enum):
    GOOD = "good"


async def structured() -> None:
    response = completion(MODEL, QUESTION, response_format=Line, validation_retries=1, temperature=0)
    assert_type(response, ParsedChatCompletion[Line])
    assert_type(response.parsed.text, str)
    assert_type(response.choices[0].message, Message)
    assert_type(response.meta.validation_retries, int)
    assert_type(completion(MODEL, QUESTION, response_format=Ticket).parsed, Ticket)
    assert_type(completion(MODEL, QUESTION, response_format=list[Line]).parsed, list[Line])
    assert_type(Client().completion(MODEL, QUESTION, response_format=Mood).parsed, Mood)
    assert_type((await acompletion(MODEL, QUESTION, response_format=Line)).parsed, Line)
    assert_type((await ritellm.aresponses(MODEL, "Hi", response_format=Line)).parsed, Line)
    assert_type(ritellm.responses(MODEL, "Hi", response_format=Line), ParsedResponse[Line])
    assert_type(completion(MODEL, QUESTION, response_format={"type": "json_object"}), ChatCompletion)
    assert_type(completion(MODEL, QUESTION, response_format={"type": "object"}).parsed, Any)
    completion(MODEL, QUESTION, response_format=int | None)
    completion(MODEL, QUESTION, response_format="json")  # type: ignore[call-overload]
    completion(MODEL, QUESTION, response_format=Line, temperature="0")  # type: ignore[call-overload]
    with completion(MODEL, QUESTION, response_format=Line, stream=True) as stream:
        assert_type(stream, ParsedStream[Line])
        assert_type(stream.parsed.text, str)
        assert_type(stream.completion, ParsedChatCompletion[Line])
    async with await acompletion(MODEL, QUESTION, response_format=list[Line], stream=True) as lines:
        assert_type(lines.parsed, list[Line])
    assert_type(ritellm.responses(MODEL, "Hi", response_format=Line, stream=True).parsed, Line)
    assert_type(completion(MODEL, QUESTION, response_format={"type": "object"}, stream=True).parsed, Any)
    try:
        await acompletion(MODEL, QUESTION, response_format=Line)
    except ritellm.StructuredOutputError as error:
        assert_type(error.text, str | None)
