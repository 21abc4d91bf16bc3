"""An agent with tools."""

from __future__ import annotations

from typing import Annotated, Any

from typing_extensions import assert_type

import ritellm
from ritellm import Message, ToolCall, ToolRun


@ritellm.tool
def weather(city: Annotated[str, "a city"]) -> str:
    """Returns the weather of a city."""
    return f"4 °C in {city}"


async def search(query: str, limit: int = 5) -> list[str]:
    """Searches the archive."""
    return [query] * limit


def approve(call: ToolCall) -> bool | str:
    return call.name != "search" or "not today"


def answer(history: list[Any], question: str) -> str:
    history.append(Message.user(question))
    run = ritellm.run_tools("openai/gpt-4o-mini", history, [weather, search], max_steps=5, approve=approve)
    assert_type(run, ToolRun)
    history[:] = run.messages
    return run.text


async def events(question: str) -> None:
    run = await ritellm.arun_tools("openai/gpt-4o-mini", [Message.user(question)], [weather, search], stream=True)
    async for event in run:
        match event:
            case ritellm.RunChunk():
                print(event.text, end="")
            case ritellm.RunCall():
                print(event.call.name, event.call.arguments)
            case ritellm.RunOutput():
                print(event.error or event.value)
            case ritellm.RunAnswer():
                print(event.step)


def by_hand(options: dict[str, Any]) -> list[str]:
    messages = [Message.user("How warm is it in Oslo?")]
    response = ritellm.completion("openai/gpt-4o-mini", messages, tools=[weather], **options)
    for call in response.tool_calls:
        messages += [response.choices[0].message, Message.tool(weather(call.arguments.city), call)]
    return [message.content or "" for message in messages]


async def with_options(options: dict[str, Any]) -> list[str]:
    """Options of a configuration file. Pyright knows the results, mypy takes them for `Any`."""
    run = ritellm.run_tools("openai/gpt-4o-mini", "Hi", [weather], **options)
    later = await ritellm.arun_tools("openai/gpt-4o-mini", "Hi", [weather], **options)
    events = ritellm.run_tools("openai/gpt-4o-mini", "Hi", [weather], stream=True, temperature=0, max_output_tokens=9)
    assert_type(events, ritellm.ToolRunStream)
    return [run.text, later.text, *(step.response.model or "" for step in run.steps)]


def with_responses() -> str:
    run = ritellm.run_tools("openai/gpt-5-mini", "Do I need a coat?", [weather], api="responses")
    for step in run.steps:
        print(step.response.output_text, [output.content for output in step.outputs])
    return run.text
