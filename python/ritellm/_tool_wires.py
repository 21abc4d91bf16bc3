"""The two APIs that a run can use: how they write tools, calls and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ritellm._plain import listed
from ritellm.exceptions import APIResponseValidationError, InvalidArgumentError

INTERRUPTED = "Error: interrupted, the call has no result."
"""Result of a call that has none, which providers would refuse."""


class Wire(Protocol):
    """An API of a model."""

    def method(self, client: Any, is_async: bool) -> Any:
        """Returns the client's method that calls the model."""

    def definitions(self, definitions: list[Any]) -> list[Any]:
        """Returns tools as a request has them, from those in OpenAI's chat format."""

    def first(self, given: Any) -> list[Any]:
        """Returns the conversation that a caller gave, in which each call of a tool has a result."""

    def items(self, response: Any) -> list[Any]:
        """Returns what an answer adds to the conversation."""

    def result(self, call: Mapping[str, Any], content: Any) -> dict[str, Any]:
        """Returns what the result of a call adds to the conversation."""

    def text(self, response: Any) -> str:
        """Returns the text of an answer, or `""`."""


class Chat:
    """Chat completions."""

    def method(self, client: Any, is_async: bool) -> Any:
        return client.acompletion if is_async else client.completion

    def definitions(self, definitions: list[Any]) -> list[Any]:
        return definitions

    def first(self, given: Any) -> list[Any]:
        return with_results(_list(given))

    def items(self, response: Any) -> list[Any]:
        return [_message(response)]

    def result(self, call: Mapping[str, Any], content: Any) -> dict[str, Any]:
        return {"role": "tool", "tool_call_id": call.get("id"), "content": content}

    def text(self, response: Any) -> str:
        return _message(response).get("content") or ""


class Responses:
    """The Responses API (<https://platform.openai.com/docs/guides/function-calling?api-mode=responses>)."""

    def method(self, client: Any, is_async: bool) -> Any:
        return client.aresponses if is_async else client.responses

    def definitions(self, definitions: list[Any]) -> list[Any]:
        return [
            {**one["function"], "type": "function"} if isinstance(one.get("function"), Mapping) else one
            for one in definitions
        ]

    def first(self, given: Any) -> list[Any]:
        items = [{"role": "user", "content": given}] if isinstance(given, str) else _list(given)
        answered = {_id(item) for item in items if _is(item, "function_call_output")}
        found: list[Any] = []
        for item in items:
            found.append(item)
            if _is(item, "function_call") and _id(item) not in answered:
                found.append(self.result({"id": _id(item)}, INTERRUPTED))
        return found

    def items(self, response: Any) -> list[Any]:
        return list(response.get("output") or ())

    def result(self, call: Mapping[str, Any], content: Any) -> dict[str, Any]:
        return {"type": "function_call_output", "call_id": call.get("id"), "output": content}

    def text(self, response: Any) -> str:
        text: str = response.output_text
        return text


WIRES: dict[Any, Wire] = {"chat": Chat(), "responses": Responses()}


def _message(response: Any) -> Any:
    choices = response.get("choices")
    if not choices:
        raise APIResponseValidationError("the answer has no choices, so that the run cannot go on")
    return choices[0]["message"]


def _list(given: Any) -> Sequence[Any]:
    given = listed(given)
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise InvalidArgumentError(f"messages is of type {type(given).__name__}: a list of dicts would be right")
    return given


def _is(item: Any, kind: str) -> bool:
    return isinstance(item, Mapping) and item.get("type") == kind


def _id(item: Mapping[str, Any]) -> Any:
    return item.get("call_id")


def with_results(messages: Sequence[Any]) -> list[Any]:
    """Returns messages in which each call of a tool has a result; a call without one gets `INTERRUPTED`."""
    found: list[Any] = []
    unanswered: list[Any] = []

    def close() -> None:
        found.extend(WIRES["chat"].result(call, INTERRUPTED) for call in unanswered)
        unanswered.clear()

    for message in messages:
        read: Any = message
        if not isinstance(message, Mapping) and hasattr(message, "model_dump"):
            read = message.model_dump(mode="json", exclude_none=True)
        if not isinstance(read, Mapping):
            found.append(message)
            continue
        if read.get("role") == "tool":
            index = next((i for i, call in enumerate(unanswered) if call.get("id") == read.get("tool_call_id")), None)
            if index is not None:
                del unanswered[index]
        else:
            close()
            if read.get("role") == "assistant":
                unanswered += [call for call in read.get("tool_calls") or () if isinstance(call, Mapping)]
        found.append(message)
    close()
    return found
