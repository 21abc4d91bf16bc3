"""Calls whose `response_format` is a type or a JSON schema. The native core imports this for the first of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, NoReturn, TypeAlias, TypeVar

from ritellm import _core
from ritellm._plain import listed, whole_number
from ritellm._schemas import Format, Violations, format_of
from ritellm.exceptions import (
    InvalidArgumentError,
    OutputIncompleteError,
    OutputRefusedError,
    OutputValidationError,
    StructuredOutputError,
)
from ritellm.types import ChatCompletion, ChatCompletionChunk, Response

T = TypeVar("T")


class ParsedChatCompletion(ChatCompletion, Generic[T]):
    """A chat completion whose ``response_format`` was a type or a JSON schema.

    ``parsed`` is the answer of the first choice as a value of the type, and an attribute, not a key. It is ``None`` if the
    model called tools instead of answering.
    """

    __slots__ = ("parsed",)
    parsed: T

    def __reduce__(self) -> Any:
        return _restored, (type(self), dict(self), getattr(self, "meta", None), getattr(self, "parsed", None))


class ParsedResponse(Response, Generic[T]):
    """The response to a Responses API call whose ``response_format`` was a type or a JSON schema; see `ParsedChatCompletion`."""

    __slots__ = ("parsed",)
    parsed: T

    def __reduce__(self) -> Any:
        return _restored, (type(self), dict(self), getattr(self, "meta", None), getattr(self, "parsed", None))


ParsedStream: TypeAlias = _core.Stream[ChatCompletionChunk, ParsedChatCompletion[T], T]
"""The stream of a chat completion whose ``response_format`` was a type: its ``parsed`` is a ``T`` once the stream is over."""

_CLASSES: dict[str, Any] = {"chat": ParsedChatCompletion, "responses": ParsedResponse}
for _class in _CLASSES.values():
    _core.act_as_dict(_class)


def _restored(cls: Any, members: dict[str, Any], meta: Any, parsed: Any) -> Any:
    response = cls(members)
    if meta is not None:
        response.meta = meta
    cls.parsed.__set__(response, parsed)
    return response


def call(client: _core.Client, operation: str, model: Any, subject: Any, arguments: _core.Arguments) -> Any:
    """Makes a call, and reads its answer as the type that its `response_format` is."""
    asking = _Asking(operation, subject, arguments)
    while True:
        response = client.call(operation, model, asking.subject, asking.arguments())
        if asking.take(response):
            return asking.result


async def acall(client: _core.Client, operation: str, model: Any, subject: Any, arguments: _core.Arguments) -> Any:
    """Does the same as `call` on an event loop."""
    asking = _Asking(operation, subject, arguments)
    while True:
        response = await client.start(operation, model, asking.subject, _core.conceal(asking.arguments()))
        if asking.take(response):
            return asking.result


class _Asking:
    """The questions of one call: the first, and those that follow an answer that does not fit."""

    def __init__(self, operation: str, subject: Any, arguments: _core.Arguments) -> None:
        given = arguments.reveal()
        target = given.pop("response_format", None)
        other = given.pop("text_format", None) if operation == "responses" else None
        if target is not None and other is not None:
            raise InvalidArgumentError("text_format is another name of response_format: give one of them")
        self.operation = operation
        # Each question reads them again.
        self.subject = listed(subject)
        given.update({name: listed(value) for name, value in given.items() if isinstance(value, Iterator)})
        self.format = format_of(other if target is None else target)
        self.retries = _count(given.pop("validation_retries", None))
        if self.retries and given.get("stream"):
            raise InvalidArgumentError(
                "validation_retries and stream=True exclude each other: what was streamed cannot be taken back"
            )
        self.result: Any = None
        self._arguments = arguments
        # True if the last answer was a kept one that does not fit.
        self._replaces = False
        self._earlier: Any = None

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments of the next question. The call takes them out of the dict."""
        arguments = {**self._arguments.reveal(), "response_format": self.format.core}
        if self._replaces:
            # No answer is young enough, and the new one is kept by the next call.
            arguments["cache"] = {"ttl": 1e-9}
        return arguments

    def take(self, response: Any) -> bool:
        """Reads an answer; `result` is the response then. Returns false if the model is to be asked again."""
        if isinstance(response, _core.Stream):
            response._set_format(self.format)
            self.result = response
            return True
        if self._earlier is not None:
            response.meta = response.meta._after(self._earlier)
        answer = _Answer(self.operation, response)
        try:
            self.result = _parsed(self.operation, response, answer.read(self.format))
        except StructuredOutputError as error:
            if response.meta is not None and response.meta.cached and not self._replaces:
                # The same question would have the same answer for as long as it is kept.
                self._replaces = True
                return False
            if not isinstance(error, OutputValidationError):
                raise
            if self.retries == 0:
                raise
            self.retries -= 1
            self._earlier = response.meta
            self._ask_again(answer.text, error)
            return False
        return True

    def _ask_again(self, text: str | None, error: OutputValidationError) -> None:
        reasons = "\n".join(f"- {reason}" for reason in error.errors)
        correction = {
            "role": "user",
            "content": f"Your answer does not fit the schema:\n{reasons}\nAnswer again, with the corrected JSON and nothing else.",
        }
        earlier = self.subject
        if isinstance(earlier, str):
            earlier = [{"role": "user", "content": earlier}]
        answer = [{"role": "assistant", "content": text}] if text else []
        self.subject = [*(earlier or ()), *answer, correction]


def _count(value: Any) -> int:
    if value is None:
        return 0
    number = whole_number(value)
    if number is None or number < 0:
        raise InvalidArgumentError(f"validation_retries is {value!r}: a number of times, such as 1, would be right")
    return number


def _parsed(operation: str, response: Any, value: Any) -> Any:
    parsed = _CLASSES[operation](response)
    _CLASSES[operation].parsed.__set__(parsed, value)
    return parsed


class _Answer:
    """The parts of a response that matter here, whatever its operation."""

    def __init__(self, operation: str, response: Any) -> None:
        self.response = response
        self.text: str | None = None
        self.refusal: str | None = None
        self.finish_reason: str | None = None
        self.has_calls = False
        (self._of_response if operation == "responses" else self._of_completion)(response)

    def _of_completion(self, response: Any) -> None:
        choice = next(iter(response.get("choices") or ()), None) or {}
        message = choice.get("message") or {}
        content = message.get("content")
        self.text = content if isinstance(content, str) else None
        self.refusal = message.get("refusal")
        own = (response.get("provider_specific_fields") or {}).values()
        if not self.refusal and any(isinstance(one, dict) and one.get("stop_reason") == "refusal" for one in own):
            # OpenAI's format has only "content_filter" for it.
            self.refusal = self.text or "it gave no reason"
        self.finish_reason = choice.get("finish_reason")
        self.has_calls = bool(message.get("tool_calls") or message.get("function_call"))

    def _of_response(self, response: Any) -> None:
        self.text = response.output_text or None
        for item in response.get("output") or ():
            self.has_calls |= str(item.get("type")).endswith("_call")
            for part in (item.get("content") or ()) if item.get("type") == "message" else ():
                if part.get("type") == "refusal":
                    self.refusal = part.get("refusal")
        if response.get("status") == "incomplete":
            reason = (response.get("incomplete_details") or {}).get("reason")
            self.finish_reason = "length" if reason == "max_output_tokens" else reason

    def read(self, format: Format) -> Any:
        """Returns the answer's value, or `None` if it calls tools.

        Raises:
            StructuredOutputError: there is none; the class says why.
        """
        try:
            if self.text:
                return format.read(self.text)
        except Violations as violations:
            reasons = violations.reasons
            cause: Violations | None = violations
        else:
            reasons, cause = ["there is no text in it"], None
            if self.has_calls:
                return None
        if self.refusal:
            self._fail(OutputRefusedError, f"the model refused: {self.refusal}", None, [])
        if self.finish_reason in ("length", "content_filter"):
            why = "the limit of tokens" if self.finish_reason == "length" else "a content filter"
            self._fail(OutputIncompleteError, f"the answer was cut off by {why}", cause, reasons)
        self._fail(OutputValidationError, f"the answer does not fit the schema: {'; '.join(reasons)}", cause, reasons)

    def _fail(
        self, kind: type[StructuredOutputError], message: str, cause: Exception | None, reasons: list[str]
    ) -> NoReturn:
        meta = getattr(self.response, "meta", None)
        error = kind(message)
        if meta is not None:
            error.provider, error.model, error.status_code = meta.provider, meta.model, meta.status_code
            error.request_id, error.headers, error.retries = meta.request_id, meta.headers, meta.retries
            error.attempts = meta.attempts
        error.response, error.errors, error.text = self.response, reasons, self.text
        error.refusal, error.finish_reason = self.refusal, self.finish_reason
        raise error from cause


def completion(format: Format, response: Any) -> Any:
    """Returns the response of a stream that is over, with its answer read."""
    operation = "responses" if isinstance(response, Response) else "chat"
    return _parsed(operation, response, _Answer(operation, response).read(format))


def read(target: Any, response: Any) -> Any:
    """Returns a response at hand with its answer read as a type."""
    return completion(format_of(target), response)
