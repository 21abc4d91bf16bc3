"""Runs of `Client.run_tools`: their events, their results, and the decisions about what comes next, without I/O."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from ritellm import _core
from ritellm._plain import whole_number
from ritellm._schemas import Violations
from ritellm._tool_wires import INTERRUPTED, WIRES, Wire
from ritellm._tools import Tool, Tools, content_of, whole
from ritellm.exceptions import InvalidArgumentError, MaxStepsError, RiteLLMError, Timeout
from ritellm.types import ChatCompletionChunk, ResponseEvent, ToolCall, Usage

_now = time.monotonic


@dataclasses.dataclass(frozen=True)
class RunChunk:
    """A chunk of the model's answer arrived. ``step`` is the number of the step, from 1; ``text`` the chunk's own text."""

    type: ClassVar[Literal["chunk"]] = "chunk"
    step: int
    chunk: ChatCompletionChunk | ResponseEvent

    @property
    def text(self) -> str:
        """The text that the chunk adds to the answer, or ``""``."""
        choices = self.chunk.get("choices")
        if choices:
            return (choices[0].delta.content or "") if choices[0].delta else ""
        return str(self.chunk["delta"]) if self.chunk.get("type") == "response.output_text.delta" else ""


@dataclasses.dataclass(frozen=True)
class RunAnswer:
    """The model's answer of a step is complete: ``response``, a `ChatCompletion` or a `Response`."""

    type: ClassVar[Literal["answer"]] = "answer"
    step: int
    response: Any


@dataclasses.dataclass(frozen=True)
class RunCall:
    """A tool begins to run for a ``call`` of the model: ``call.name``, ``call.arguments``."""

    type: ClassVar[Literal["call"]] = "call"
    step: int
    call: ToolCall


@dataclasses.dataclass(frozen=True)
class RunOutput:
    """A call of the model has its result.

    Attributes:
        call: the call.
        content: what the model is told.
        value: what the function returned, or ``None``.
        error: the exception, if the arguments did not fit, there is no such tool, or the function raised one.
        approved: False if ``approve`` declined the call.
    """

    type: ClassVar[Literal["output"]] = "output"
    step: int
    call: ToolCall
    content: Any
    value: Any = None
    error: Exception | None = None
    approved: bool = True


@dataclasses.dataclass
class ToolStep:
    """One answer of the model, its calls, and the results of these in their order.

    Attributes:
        response: a `ChatCompletion`, or a `Response` with ``api="responses"``.
        calls: the calls in it, a list of `ToolCall`.
        outputs: their results, a list of `RunOutput`.
    """

    response: Any
    calls: list[ToolCall] = dataclasses.field(default_factory=list)
    outputs: list[RunOutput] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class ToolRun:
    """What a run did so far: all of it, once `Client.run_tools` has returned it.

    Attributes:
        steps: the model's answers with the results of their calls, a list of `ToolStep`.
        pending: calls of the last answer that the caller has to answer: of tools that were given as a dict.
    """

    steps: list[ToolStep] = dataclasses.field(default_factory=list)
    pending: list[ToolCall] = dataclasses.field(default_factory=list)
    _first: list[Any] = dataclasses.field(default_factory=list, repr=False)
    _wire: Wire = dataclasses.field(default=WIRES["chat"], repr=False)

    @property
    def response(self) -> Any:
        """The model's last answer, a `ChatCompletion` or a `Response`; ``None`` before the first."""
        return self.steps[-1].response if self.steps else None

    @property
    def text(self) -> str:
        """The text of the last answer, or ``""``."""
        return self._wire.text(self.response) if self.steps else ""

    @property
    def messages(self) -> list[Any]:
        """The whole conversation, from the messages that were given to the last answer. Each call in it has a result,
        except those that are `pending`: it can be sent to any model."""
        messages = list(self._first)
        pending = {id(call) for call in self.pending}
        for step in self.steps:
            messages += self._wire.items(step.response)
            results = {id(output.call): output.content for output in step.outputs}
            messages += [
                self._wire.result(call, results.get(id(call), INTERRUPTED))
                for call in step.calls
                if id(call) not in pending
            ]
        return messages

    @property
    def usage(self) -> Usage:
        """The usage of all steps: each number is the sum of the answers' numbers."""
        total: dict[str, Any] = {}
        for step in self.steps:
            _add(total, step.response.get("usage") or {})
        return Usage(total)

    @property
    def cost(self) -> float | None:
        """US dollars for all steps; ``None`` if the cost of one is not known."""
        costs = [step.response.meta.cost for step in self.steps]
        known = [cost for cost in costs if cost is not None]
        return sum(known, 0.0) if len(known) == len(costs) else None


def _add(total: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, Mapping):
            inner = total.setdefault(name, {})
            if isinstance(inner, dict):
                _add(inner, value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            before = total.get(name)
            total[name] = value + (before if isinstance(before, int | float) else 0)


@dataclasses.dataclass
class Job:
    """A call that is to be run."""

    call: ToolCall
    tool: Tool[Any, Any]
    arguments: dict[str, Any]


class Loop:
    """The state of a run, and the decisions about what comes next. It neither calls nor waits."""

    def __init__(
        self,
        given: _core.Arguments,
        stream: Any,
        *,
        model: Any,
        messages: Any,
        tools: Any,
        max_steps: Any,
        concurrency: Any,
        approve: Any,
        api: Any,
    ) -> None:
        if api not in ("chat", "responses"):
            raise InvalidArgumentError(f'api is {api!r}: "chat" or "responses" would be right')
        if given.reveal().get("conversation") is not None:
            raise InvalidArgumentError("conversation would hold each item twice: previous_response_id would be right")
        for name, value in (("max_steps", max_steps), ("concurrency", 1 if concurrency is None else concurrency)):
            number = whole_number(value)
            if number is None or number < 1:
                raise InvalidArgumentError(f"{name} is {value!r}: a whole number from 1 on would be right")
        if approve is not None and not callable(approve):
            raise InvalidArgumentError(f"approve is of type {type(approve).__name__}: a function would be right")
        if stream not in (None, False, True, "steps"):
            raise InvalidArgumentError(f'stream is {stream!r}: False, True or "steps" would be right')
        if given.reveal().get("n") not in (None, 1):
            raise InvalidArgumentError(f"n is {given.reveal()['n']!r}: a run follows one answer, so 1 would be right")
        self.model = model
        self.tools = Tools(tools)
        self.approve = approve
        self.concurrency: float = math.inf if concurrency is None else concurrency
        self.is_streamed = stream is True
        self.wire = WIRES[api]
        self.run = ToolRun(_first=self.wire.first(messages), _wire=self.wire)
        self.is_over = False
        self._given = given
        self._max_steps = max_steps
        self._timeout = given.reveal().get("timeout")
        seconds = self._timeout.get("total") if isinstance(self._timeout, Mapping) else self._timeout
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        self._seconds: float | None = seconds if is_number else None
        self._end = None if self._seconds is None else _now() + self._seconds

    def remaining(self) -> float | None:
        """Returns the seconds that are left of the run's timeout, or `None` if it has none.

        Raises:
            Timeout: none are left.
        """
        if self._end is None:
            return None
        left: float = self._end - _now()
        if left <= 0:
            raise Timeout(f"the run took longer than its timeout of {self._seconds} s")
        return left

    def params(self) -> dict[str, Any]:
        """Returns the parameters of the next call of the model."""
        changed: dict[str, Any] = {"stream": True} if self.is_streamed else {}
        if self.tools.definitions:
            changed["tools"] = self.wire.definitions(self.tools.definitions)
        if any(step.outputs for step in self.run.steps) and _is_forced(self._given.reveal().get("tool_choice")):
            # The model would have to call tools for ever. `None` also takes the client's default out.
            changed["tool_choice"] = None
        if (left := self.remaining()) is not None:
            changed["timeout"] = {**self._timeout, "total": left} if isinstance(self._timeout, Mapping) else left
        return {**self._given.reveal(), **changed}

    def take(self, response: Any) -> list[Job | RunOutput]:
        """Takes the model's answer. Returns its calls: those to be run, and those that already have a result.

        Raises:
            APIResponseValidationError: the answer has no choices.
        """
        # One without choices raises here, and is no step.
        self.wire.items(response)
        calls: list[ToolCall] = response.tool_calls
        self.run.steps.append(ToolStep(response, calls))
        self.is_over = not calls and not _is_paused(response)
        taken = [self._prepared(call) for call in calls]
        self.is_over |= bool(self.run.pending)
        return [one for one in taken if one is not None]

    def _prepared(self, call: ToolCall) -> Job | RunOutput | None:
        name = call.name
        tool = self.tools.functions.get(name)
        if tool is None and name in self.tools.names:
            self.run.pending.append(call)
            return None
        if tool is None:
            known = ", ".join(self.tools.functions) or "none"
            return self.failed(call, LookupError(f"there is no tool {name!r}; the tools are: {known}"))
        try:
            return Job(call, tool, tool.read(call.function.arguments))
        except Violations as error:
            return self.failed(call, error, f"the arguments do not fit: {error}")
        except Exception as error:
            return self.failed(call, error)

    @property
    def number(self) -> int:
        """The number of the step, from 1."""
        return len(self.run.steps)

    def returned(self, call: ToolCall, value: Any) -> RunOutput:
        """Returns the result of a call whose function returned a value."""
        try:
            return RunOutput(self.number, call, content_of(value), value)
        except Exception as error:
            return self.failed(call, error)

    def failed(self, call: ToolCall, error: BaseException, message: str | None = None) -> RunOutput:
        """Returns the result of a call that failed: the model is told the exception's message, and no secrets."""
        if not isinstance(error, Exception):
            if not isinstance(error, asyncio.CancelledError):
                raise error
            error = RuntimeError("the tool was cancelled")
        if message is None:
            message = type(error).__name__
            # `__str__` is the tool's own code.
            with contextlib.suppress(Exception):
                message += f": {error}" if str(error) else ""
        return RunOutput(self.number, call, f"Error: {self._shown(whole(message))}", error=error)

    def _shown(self, message: str) -> str:
        key = self._given.reveal().get("api_key")
        variables = {variable for row in _core.providers() for variable in row["key_variables"]}
        for secret in {key, *(os.environ.get(variable) for variable in variables)}:
            if isinstance(secret, str) and len(secret) >= 8:
                message = message.replace(secret, "***")
        if isinstance(meta := getattr(self.run.response, "meta", None), _core.Meta):
            # The keys of the client, of its providers and of a router's deployment, wherever they came from.
            message = meta._redact(message)
        return message if len(message) <= 2000 else f"{message[:2000]}…"

    def judged(self, job: Job, verdict: Any) -> RunOutput | None:
        """Returns the result of a call that was declined; `None` if it was approved."""
        if verdict is True:
            return None
        if verdict is False:
            verdict = "The call was declined by the user."
        if not isinstance(verdict, str):
            raise InvalidArgumentError(
                f"approve returned {verdict!r}: True, False or a text that the model is told would be right"
            )
        return RunOutput(self.number, job.call, verdict, approved=False)

    def keep(self, output: RunOutput) -> RunOutput:
        """Keeps the result of a call, in the order of the calls."""
        step = self.run.steps[-1]
        order = [id(call) for call in step.calls]
        step.outputs.append(output)
        step.outputs.sort(key=lambda output: order.index(id(output.call)))
        return output

    def end_of_step(self) -> None:
        """Ends a step.

        Raises:
            MaxStepsError: there is no other.
        """
        if not self.is_over and self.number >= self._max_steps:
            raise MaxStepsError(f"the model has not come to an end after {self._max_steps} steps (max_steps)")

    def mark(self, error: BaseException) -> None:
        """Gives an exception what the run did so far."""
        if isinstance(error, RiteLLMError):
            error.run = self.run


def _is_forced(choice: Any) -> bool:
    if isinstance(choice, Mapping):
        allowed = choice.get("allowed_tools") or choice
        return (allowed.get("mode") or allowed.get("type")) not in ("auto", "none")
    return choice not in ("auto", "none")


def _is_paused(response: Any) -> bool:
    """True if the provider paused a turn with its own tools, which goes on when the answer is sent back."""
    fields = response.get("provider_specific_fields") or {}
    return any(isinstance(one, Mapping) and one.get("stop_reason") == "pause_turn" for one in fields.values())
