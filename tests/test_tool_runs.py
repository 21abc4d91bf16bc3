"""Tests of `run_tools`: what the model is told, what the caller sees, and how a run ends."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import dataclasses
import functools
import gc
import json
import pickle
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pydantic
import pytest
from server import (
    KEY,
    MESSAGES,
    MODEL,
    Answer,
    Json,
    Server,
    Stall,
    chunk_of,
    dumped,
    event,
    events,
    plain,
    refusal,
    stream_of,
    streamed,
)

import ritellm
from ritellm import Client, Router, _tool_runs, _tool_wires

Runs = Callable[..., Any]


def calls_of(*calls: tuple[str, Any]) -> list[Json]:
    return [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": name, "arguments": given if isinstance(given, str) else json.dumps(given)},
        }
        for number, (name, given) in enumerate(calls)
    ]


def calling(*calls: tuple[str, Any], **more: Any) -> Answer:
    """An answer of OpenAI's that calls tools, each a name and its arguments."""
    return plain(None, message={"tool_calls": calls_of(*calls), **more}, choice={"finish_reason": "tool_calls"})


def calling_streamed(*calls: tuple[str, Any]) -> Answer:
    """The same as a stream, with the arguments in two pieces."""
    deltas: list[Json] = [{"role": "assistant", "content": "Let me see."}]
    for index, call in enumerate(calls_of(*calls)):
        arguments = call["function"]["arguments"]
        deltas.append(
            {"tool_calls": [{"index": index, **call, "function": {**call["function"], "arguments": arguments[:3]}}]}
        )
        deltas.append({"tool_calls": [{"index": index, "function": {"arguments": arguments[3:]}}]})
    return stream_of(*events([*map(chunk_of, deltas), chunk_of({}, "tool_calls")]))


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, at_openai: Server) -> Runs:
    """Runs tools with `run_tools` and with `arun_tools`; with a stream, the events and the run."""

    def run(*tools: Any, model: str = MODEL, messages: Any = MESSAGES, client: Any = ritellm, **params: Any) -> Any:
        async def main() -> Any:
            found = await client.arun_tools(model, messages, tools, **params)
            return ([event async for event in found], found.run) if params.get("stream") else found

        if request.param == "async":
            return asyncio.run(main())
        found = client.run_tools(model, messages, tools, **params)
        return (list(found), found.run) if params.get("stream") else found

    return run


def weather(city: Annotated[str, "a city"], unit: Literal["C", "F"] = "C") -> str:
    """Returns the weather of a city."""
    return f"{city}: 4 °{unit}"


async def aweather(city: str) -> dict[str, Any]:
    """Returns the weather of a city."""
    await asyncio.sleep(0)
    return {"city": city, "celsius": 4}


def contents(server: Server, request: int = -1) -> list[Any]:
    """The results that a request told the model."""
    return [m["content"] for m in server.requests[request].json["messages"] if m["role"] == "tool"]


class TestRuns:
    def test_a_call_and_an_answer(self, run: Runs, at_openai: Server) -> None:
        at_openai.answer(calling(("weather", {"city": "Oslo"}), ("aweather", {"city": "Rom"})), plain("Cold."))
        found = run(weather, aweather, temperature=0)
        first, second = (request.json for request in at_openai.requests)
        assert first["tools"][0] == {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Returns the weather of a city.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string", "description": "a city"},
                        "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
                    },
                    "required": ["city"],
                    "additionalProperties": False,
                },
            },
        }
        assert second["messages"] == [
            *MESSAGES,
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "tool_calls": calls_of(("weather", {"city": "Oslo"}), ("aweather", {"city": "Rom"})),
            },
            {"role": "tool", "tool_call_id": "call_0", "content": "Oslo: 4 °C"},
            {"role": "tool", "tool_call_id": "call_1", "content": '{"city": "Rom", "celsius": 4}'},
        ]
        assert first["temperature"] == second["temperature"] == 0
        assert (found.text, len(found.steps), found.pending) == ("Cold.", 2, [])
        assert found.messages[:-1] == second["messages"] and found.messages[-1]["content"] == "Cold."
        assert [output.value for output in found.steps[0].outputs] == ["Oslo: 4 °C", {"city": "Rom", "celsius": 4}]
        assert found.usage == {"prompt_tokens": 18, "completion_tokens": 6, "total_tokens": 24}
        assert found.cost is None and found.response is found.steps[1].response

    def test_without_tools_it_is_a_call(self, run: Runs, at_openai: Server) -> None:
        at_openai.answer(plain("Hi."))
        found = run()
        assert found.text == "Hi." and "tools" not in at_openai.last.json and len(at_openai.requests) == 1

    def test_calls_count_whatever_the_finish_reason(self, run: Runs, at_openai: Server) -> None:
        call = plain("Look:", message={"tool_calls": calls_of(("weather", {"city": "Oslo"}))})
        at_openai.answer(call, plain("Cold.", choice={"finish_reason": "tool_calls"}))
        assert run(weather).text == "Cold."

    def test_calls_run_side_by_side(self, run: Runs, at_openai: Server) -> None:
        barrier = threading.Barrier(20)

        def meet(n: int) -> int:
            barrier.wait(30)
            return n

        at_openai.answer(calling(*(("meet", {"n": n}) for n in range(20))), plain())
        run(meet)
        assert contents(at_openai) == [str(n) for n in range(20)]

    def test_async_tools_share_a_loop_of_their_own(self, run: Runs, at_openai: Server) -> None:
        met: list[Any] = []
        event: list[asyncio.Event] = []

        async def meet() -> None:
            met.append(asyncio.get_running_loop())
            if not event:
                event.append(asyncio.Event())
            if len(met) == 3:
                event[0].set()
            await asyncio.wait_for(event[0].wait(), 30)

        at_openai.answer(calling(*[("meet", {})] * 3), calling(("meet", {})), plain())
        run(meet)
        assert len(met) == 4 and len(set(map(id, met))) == 1
        assert contents(at_openai, 1) == ["null"] * 3

    def test_no_more_than_the_concurrency(self, run: Runs, at_openai: Server) -> None:
        running: set[int] = set()
        most = [0]
        met = asyncio.Event()

        async def work(n: int) -> int:
            running.add(n)
            most[0] = max(most[0], len(running))
            if len(running) == 3:
                met.set()
            # The first calls stay until three run: `sync` hands them over from another thread.
            await asyncio.wait_for(met.wait(), 30)
            await asyncio.sleep(0)
            running.discard(n)
            return n

        at_openai.answer(calling(*(("work", {"n": n}) for n in range(50))), plain())
        found, _ = run(work, concurrency=3, stream="steps")
        assert most == [3] and contents(at_openai) == [str(n) for n in range(50)]
        assert [event.type for event in found[1:5]] == ["call", "call", "call", "output"]

    def test_context_variables_are_seen(self, run: Runs, at_openai: Server) -> None:
        user = contextvars.ContextVar("user", default="nobody")
        user.set("anna")
        at_openai.answer(calling(("who", {}), ("awho", {})), plain())

        def who() -> str:
            return user.get()

        async def awho() -> str:
            return user.get()

        run(who, awho)
        assert contents(at_openai) == ["anna", "anna"]

    def test_answers_may_have_a_type(self, run: Runs, at_openai: Server) -> None:
        class City(pydantic.BaseModel):
            name: str

        at_openai.answer(calling(("weather", {"city": "Oslo"})), plain('{"name": "Oslo"}'))
        assert run(weather, response_format=City).response.parsed == City(name="Oslo")

    def test_a_client_and_a_router(self, run: Runs, at_openai: Server) -> None:
        for client, model in ((ritellm.Client(), MODEL), (ritellm.Router({"fast": [MODEL]}), "fast")):
            at_openai.answer(calling(("weather", {"city": "Oslo"})), plain("Cold."))
            assert run(weather, client=client, model=model).text == "Cold."

    def test_what_functions_return(self, run: Runs, at_openai: Server) -> None:
        @dataclasses.dataclass
        class Point:
            x: int

        class Model(pydantic.BaseModel):
            x: int

        values = {"a": None, "b": [Point(1)], "c": Model(x=1), "d": {1}, "e": "é", "f": 1.5, "g": [], "h": object()}
        at_openai.answer(calling(*(("get", {"name": name}) for name in values)), plain())

        def get(name: str) -> Any:
            return values[name]

        run(get)
        assert contents(at_openai) == [
            "null",
            '[{"x": 1}]',
            '{"x": 1}',
            "[1]",
            "é",
            "1.5",
            "[]",
            "Error: TypeError: the value that the tool returned is of type object, which JSON cannot say: "
            "str, int, float, bool, None, list or dict would be right",
        ]

    def test_content_parts_stay_parts(self, run: Runs, at_openai: Server) -> None:
        parts = [{"type": "text", "text": "a"}]
        at_openai.answer(calling(("get", {})), plain())

        def get() -> Any:
            return parts

        run(get)
        assert contents(at_openai) == [parts]


class TestErrors:
    def test_the_model_is_told(self, run: Runs, at_openai: Server) -> None:
        def fail(kind: str) -> None:
            if kind == "silent":
                raise KeyError
            if kind == "cancelled":
                raise asyncio.CancelledError
            raise ValueError(f"no {kind} with {KEY}")

        async def afail() -> None:
            raise StopAsyncIteration("over")

        given = [
            ("fail", {"kind": "luck"}),
            ("fail", {"kind": "silent"}),
            ("fail", {"kind": "cancelled"}),
            ("afail", {}),
            ("fail", {"kind": 1}),
            ("fail", {}),
            ("fail", {"kind": "x", "more": 1}),
            ("fail", '{"kind": '),
            ("nothing", {}),
            ("fail", "[]"),
        ]
        at_openai.answer(calling(*given), plain("Sorry."))
        found = run(fail, afail)
        assert contents(at_openai) == [
            "Error: ValueError: no luck with ***",
            "Error: KeyError",
            "Error: RuntimeError: the tool was cancelled",
            "Error: StopAsyncIteration: over",
            "Error: the arguments do not fit: kind: is 1, and has to be of type string",
            'Error: the arguments do not fit: lacks "kind"',
            'Error: the arguments do not fit: has "more", which is not allowed',
            "Error: the arguments do not fit: the arguments are not valid JSON",
            "Error: LookupError: there is no tool 'nothing'; the tools are: fail, afail",
            "Error: the arguments do not fit: is [], and has to be of type object",
        ]
        errors = [output.error for output in found.steps[0].outputs]
        assert all(isinstance(error, Exception) for error in errors) and isinstance(errors[0], ValueError)
        assert found.text == "Sorry."

    def test_odd_exceptions_values_and_ids(self, run: Runs, at_openai: Server) -> None:
        class Broken(Exception):
            def __str__(self) -> str:
                raise ValueError

        def odd(kind: str) -> Any:
            circle: list[Any] = []
            circle.append(circle)
            if kind == "broken":
                raise Broken
            if kind == "stop":
                raise StopIteration
            if kind == "half":
                return ["\udcff.txt"]
            return circle if kind == "circle" else aweather("Rom")

        kinds = ["broken", "stop", "circle", "coroutine", "half"]
        answer = calling(*(("odd", {"kind": kind}) for kind in kinds))
        assert isinstance(answer.body, bytes)
        answer.body = answer.body.replace(b"call_1", b"call_0").replace(b"call_2", b"call_0")
        at_openai.answer(answer, plain())
        found = run(odd)
        assert contents(at_openai) == [
            "Error: Broken",
            "Error: RuntimeError: the tool raised StopIteration",
            "Error: ValueError: Circular reference detected",
            '{"city": "Rom", "celsius": 4}',
            '["?.txt"]',
        ]
        results = [m["tool_call_id"] for m in at_openai.last.json["messages"] if m["role"] == "tool"]
        assert len(set(results)) == 5
        assert json.loads(json.dumps(found.messages)) == found.messages

    def test_a_program_that_ends_ends(self, run: Runs, at_openai: Server) -> None:
        def leave() -> None:
            raise SystemExit(3)

        at_openai.answer(calling(("leave", {})), plain())
        with pytest.raises(SystemExit):
            run(leave)
        assert len(at_openai.requests) == 1

    def test_an_error_has_what_was_done(self, run: Runs, at_openai: Server) -> None:
        at_openai.answer(calling(("weather", {"city": "Oslo"})), refusal(400))
        with pytest.raises(ritellm.BadRequestError) as caught:
            run(weather)
        done = caught.value.run
        assert [output.value for output in done.steps[0].outputs] == ["Oslo: 4 °C"]
        assert [message["role"] for message in done.messages] == ["user", "assistant", "tool"]
        at_openai.answer(plain("Cold."))
        assert run(weather, messages=done.messages).text == "Cold."

    def test_the_last_step(self, run: Runs, at_openai: Server) -> None:
        at_openai.answer(calling(("weather", {"city": "Oslo"})))
        with pytest.raises(ritellm.MaxStepsError, match="after 3 steps") as caught:
            run(weather, max_steps=3)
        assert len(at_openai.requests) == 3
        assert caught.value.run.messages[-1] == {"role": "tool", "tool_call_id": "call_0", "content": "Oslo: 4 °C"}

    @pytest.mark.parametrize("stream", [False, True])
    def test_the_client_s_own_keys_are_told_to_no_model(self, at_openai: Server, stream: bool) -> None:
        def leak() -> None:
            raise RuntimeError("the header was Bearer sk-of-the-client and x-token was token-of-mine, not sk-other")

        said = calling_streamed(("leak", {})) if stream else calling(("leak", {}))
        clients = [
            Client(api_key="sk-of-the-client", headers={"x-api-key": "token-of-mine"}),
            Client(api_key=lambda: "sk-of-the-client", headers={"x-api-key": "token-of-mine"}),
            Client(providers={"openai": {"api_key": "sk-of-the-client", "headers": {"x-api-key": "token-of-mine"}}}),
            Router({"m": [{"model": MODEL, "api_key": "sk-of-the-client", "headers": {"x-api-key": "token-of-mine"}}]}),
        ]
        for client in clients:
            at_openai.answer(said, streamed("Sorry.") if stream else plain("Sorry."))
            model = "m" if isinstance(client, Router) else MODEL
            run = client.run_tools(model, MESSAGES, [leak], stream=stream)
            for _ in run if stream else ():
                pass
            told = at_openai.last.json["messages"][-1]["content"]
            assert told == "Error: RuntimeError: the header was Bearer *** and x-token was ***, not sk-other"

    def test_a_key_is_in_no_traceback(self, run: Runs, at_openai: Server) -> None:
        at_openai.answer(refusal(400))
        with pytest.raises(ritellm.BadRequestError) as caught:
            run(weather, api_key="sk-secret-of-mine")
        frame = caught.tb
        shown = []
        while frame is not None:
            if "ritellm" in frame.tb_frame.f_code.co_filename and "tests" not in frame.tb_frame.f_code.co_filename:
                shown.append(repr(frame.tb_frame.f_locals))
            frame = frame.tb_next  # type: ignore[assignment]
        assert len(shown) >= 2 and "sk-secret-of-mine" not in "".join(shown)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"max_steps": 0},
            {"concurrency": 0},
            {"api": "messages"},
            {"conversation": "conv_1"},
            {"max_steps": True},
            {"approve": "yes"},
            {"stream": "text"},
            {"n": 2},
            {"messages": "Hi"},
            {"messages": {"role": "user"}},
        ],
    )
    def test_wrong_arguments(self, run: Runs, wrong: Json) -> None:
        with pytest.raises(ritellm.InvalidArgumentError, match=next(iter(wrong))):
            run(weather, **wrong)

    @pytest.mark.parametrize(
        ("tools", "message"),
        [
            ([weather, weather], "two tools of the name 'weather'"),
            ([weather, {"type": "function", "function": {"name": "weather"}}], "two tools of the name 'weather'"),
            ([3], r"tools\[0\] is of type int"),
            ([lambda: 1], "has no name"),
        ],
    )
    def test_wrong_tools(self, run: Runs, tools: Any, message: str) -> None:
        with pytest.raises(ritellm.InvalidArgumentError, match=message):
            run(*tools)


class TestChoices:
    @pytest.mark.parametrize("forced", ["required", {"type": "function", "function": {"name": "weather"}}])
    def test_a_forced_choice_is_forced_once(self, run: Runs, at_openai: Server, forced: Any) -> None:
        at_openai.answer(calling(("weather", {"city": "Oslo"})), plain())
        run(weather, tool_choice=forced)
        assert [request.json.get("tool_choice") for request in at_openai.requests] == [forced, None]

    def test_a_default_of_the_client_too(self, run: Runs, at_openai: Server) -> None:
        at_openai.answer(calling(("weather", {"city": "Oslo"})), plain())
        run(weather, client=ritellm.Client(defaults={"tool_choice": "required"}))
        assert [request.json.get("tool_choice") for request in at_openai.requests] == ["required", None]

    @pytest.mark.parametrize("kept", ["auto", "none"])
    def test_any_other_stays(self, run: Runs, at_openai: Server, kept: str) -> None:
        at_openai.answer(calling(("weather", {"city": "Oslo"})), plain())
        run(weather, tool_choice=kept)
        assert [request.json.get("tool_choice") for request in at_openai.requests] == [kept, kept]

    def test_tools_of_the_caller_are_pending(self, run: Runs, at_openai: Server) -> None:
        ask = {"type": "function", "function": {"name": "ask", "parameters": {"type": "object"}}}
        at_openai.answer(calling(("ask", {"q": "?"}), ("weather", {"city": "Oslo"})), plain("Cold."))
        found = run(weather, ask)
        assert [(call.name, call.arguments) for call in found.pending] == [("ask", {"q": "?"})]
        assert [m.get("tool_call_id") for m in found.messages] == [None, None, "call_1"]
        answered = {"role": "tool", "tool_call_id": found.pending[0].id, "content": "!"}
        assert run(weather, ask, messages=[*found.messages, answered]).text == "Cold."
        assert contents(at_openai) == ["Oslo: 4 °C", "!"]


class TestApproval:
    def test_each_call_is_asked_for(self, run: Runs, at_openai: Server) -> None:
        ran: list[str] = []
        asked: list[Any] = []

        def delete(path: str) -> str:
            ran.append(path)
            return "gone"

        def approve(call: ritellm.ToolCall) -> bool | str:
            asked.append((call.name, call.arguments.path))
            verdicts: dict[str, bool | str] = {"a": True, "b": False, "c": "Only in June."}
            return verdicts[call.arguments.path]

        at_openai.answer(calling(*(("delete", {"path": path}) for path in "abc"), ("delete", {})), plain())
        found = run(delete, approve=approve)
        assert ran == ["a"] and asked == [("delete", "a"), ("delete", "b"), ("delete", "c")]
        assert contents(at_openai)[:3] == ["gone", "The call was declined by the user.", "Only in June."]
        assert [output.approved for output in found.steps[0].outputs] == [True, False, False, True]

    def test_an_async_hook(self, run: Runs, at_openai: Server) -> None:
        async def approve(_: ritellm.ToolCall) -> bool:
            await asyncio.sleep(0)
            return False

        at_openai.answer(calling(("weather", {"city": "Oslo"})), plain())
        run(weather, approve=approve)
        assert contents(at_openai) == ["The call was declined by the user."]

    def test_its_errors_end_the_run(self, run: Runs, at_openai: Server) -> None:
        def approve(_: ritellm.ToolCall) -> bool:
            raise PermissionError("stop")

        at_openai.answer(calling(("weather", {"city": "Oslo"})))
        with pytest.raises(PermissionError, match="stop"):
            run(weather, approve=approve)
        with pytest.raises(ritellm.InvalidArgumentError, match="approve returned None"):
            run(weather, approve=lambda call: None)


class TestEvents:
    def test_steps(self, run: Runs, at_openai: Server) -> None:
        at_openai.answer(calling(("weather", {"city": "Oslo"}), ("nothing", {})), plain("Cold."))
        found, done = run(weather, stream="steps")
        assert [event.type for event in found] == ["answer", "output", "call", "output", "answer"]
        assert [event.step for event in found] == [1, 1, 1, 1, 2]
        assert found[2].call.arguments == {"city": "Oslo"} and found[3].value == "Oslo: 4 °C"
        assert done.text == "Cold." and not at_openai.last.wants_stream

    def test_text(self, run: Runs, at_openai: Server) -> None:
        at_openai.answer(calling_streamed(("weather", {"city": "Oslo"})), streamed("Co", "ld."))
        found, done = run(weather, stream=True)
        text = [event.text for event in found if isinstance(event, ritellm.RunChunk)]
        assert "".join(text) == "Let me see.Cold."
        assert [event.type for event in found if event.type != "chunk"] == ["answer", "call", "output", "answer"]
        assert at_openai.requests[1].json["messages"][1]["content"] == "Let me see."
        assert contents(at_openai) == ["Oslo: 4 °C"] and done.text == "Cold."

    def test_they_come_as_they_happen(self, run: Runs, at_openai: Server) -> None:
        at_openai.answer(calling(("wait", {"turn": 1}), ("wait", {"turn": 0})), plain())
        turns = [threading.Event(), threading.Event()]
        turns[0].set()

        def wait(turn: int) -> int:
            assert turns[turn].wait(30)
            turns[-1].set()
            return turn

        found, done = run(wait, stream="steps")
        assert [event.value for event in found if event.type == "output"] == [0, 1]
        assert [output.value for output in done.steps[0].outputs] == [1, 0]

    def test_leaving_the_loop_ends_the_run(self, at_openai: Server) -> None:
        at_openai.answer(calling(("sleep", {})))
        ended: list[bool] = []

        async def sleep() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        async def main() -> Any:
            async with await ritellm.arun_tools(MODEL, MESSAGES, [sleep], stream="steps") as found:
                async for one in found:
                    if one.type == "call":
                        await asyncio.sleep(0)
                        break
            return found.run

        def main_sync() -> Any:
            found = ritellm.run_tools(MODEL, MESSAGES, [sleep], stream="steps")
            for one in found:
                if one.type == "call":
                    break
            return found.run

        for done in (asyncio.run(main()), main_sync()):
            assert done.messages[-1]["content"] == _tool_wires.INTERRUPTED
        gc.collect()
        assert len(at_openai.requests) == 2

    def test_the_wrong_loop(self, at_openai: Server) -> None:
        with pytest.raises(ritellm.InvalidArgumentError, match="takes `for`"):
            ritellm.run_tools(MODEL, MESSAGES, stream=True).__aiter__()
        found = ritellm.run_tools(MODEL, MESSAGES, stream=True)
        iter(found)
        with pytest.raises(ritellm.InvalidArgumentError, match="once"):
            iter(found)


class TestTime:
    def test_a_tool_that_takes_too_long(self, run: Runs, at_openai: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]
        monkeypatch.setattr(_tool_runs, "_now", lambda: now[0])
        cancelled: list[bool] = []

        async def late() -> None:
            now[0] = 5.1
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(True)

        async def early() -> int:
            return 1

        at_openai.answer(calling(("early", {}), ("late", {})))
        with pytest.raises(ritellm.Timeout, match="timeout of 5 s") as caught:
            run(early, late, timeout={"total": 5})
        assert cancelled == [True] and caught.value.run.messages[-1]["content"] == _tool_wires.INTERRUPTED

    def test_calls_get_what_is_left(self, at_openai: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]
        monkeypatch.setattr(_tool_runs, "_now", lambda: now[0])
        given: list[Any] = []

        class Client(ritellm.Client):
            def completion(self, *args: Any, **params: Any) -> Any:
                given.append(params["timeout"])
                return super().completion(*args, **params)

        def tick() -> None:
            now[0] += 2

        at_openai.answer(calling(("tick", {})), calling(("tick", {})), plain())
        Client().run_tools(MODEL, MESSAGES, [tick], timeout={"total": 10, "connect": 3})
        assert given == [{"total": 10, "connect": 3}, {"total": 8, "connect": 3}, {"total": 6, "connect": 3}]
        at_openai.answer(calling(("tick", {})), plain())
        Client().run_tools(MODEL, MESSAGES, [tick], timeout=10)
        assert given[3:] == [10, 8]

    def test_cancelling_aborts_the_request(self, at_openai: Server) -> None:
        at_openai.answer(calling(("aweather", {"city": "Oslo"})), Answer(before=[Stall()]))

        async def main() -> None:
            task = asyncio.ensure_future(ritellm.arun_tools(MODEL, MESSAGES, [aweather]))
            await asyncio.to_thread(at_openai.wait_for_requests, 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        at_openai.last.wait_gone()

    @pytest.mark.parametrize("seed", range(12))
    def test_twenty_tools_cancelled_at_any_moment(self, at_openai: Server, seed: int) -> None:
        chance = random.Random(seed)
        running: set[int] = set()
        started: list[int] = []
        streams = seed % 2 == 1
        many = [("work", {"n": n}) for n in range(20)]
        first = calling_streamed(*many) if streams else calling(*many)
        at_openai.answer(first, streamed("Do", "ne.") if streams else plain("Done."))

        async def work(n: int) -> int:
            running.add(n)
            started.append(n)
            try:
                for _ in range(chance.randrange(8)):
                    await asyncio.sleep(0)
                if chance.random() < 0.3:
                    raise ValueError(n)
                if chance.random() < 0.3:
                    await asyncio.sleep(30)
                return n
            finally:
                try:
                    await asyncio.sleep(0)
                finally:
                    running.discard(n)

        async def main() -> None:
            found = await ritellm.arun_tools(MODEL, MESSAGES, [work], stream=True if streams else "steps")

            async def read() -> None:
                async with found:
                    async for _ in found:
                        moments[0] -= 1
                        if moments[0] == 0:
                            task.cancel()

            moments = [chance.randrange(1, 45)]
            task = asyncio.ensure_future(read())
            asyncio.get_running_loop().call_later(0.3, task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not running and asyncio.all_tasks() == {asyncio.current_task()}
            called = [m for m in found.run.messages if m["role"] == "assistant" and m.get("tool_calls")]
            results = [m["tool_call_id"] for m in found.run.messages if m["role"] == "tool"]
            assert len(results) == 20 * len(called) and len(set(results)) == len(results)

        asyncio.run(main())


def test_a_history_that_was_interrupted(run: Runs, at_openai: Server) -> None:
    at_openai.answer(plain("Well."))
    calls = calls_of(("weather", {"city": "Oslo"}), ("weather", {"city": "Rom"}))
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "warm"}
    again = {"role": "user", "content": "Are you there?"}
    found = run(weather, messages=[*MESSAGES, message, result, again, message])
    lost = {"role": "tool", "content": _tool_wires.INTERRUPTED}
    sent = at_openai.last.json["messages"]
    assert sent[2:4] == [result, {**lost, "tool_call_id": "call_0"}] and sent[4] == again
    assert [m["content"] for m in sent[6:]] == [_tool_wires.INTERRUPTED] * 2
    assert found.messages[-1]["content"] == "Well."


def thinking(content: list[Json], stop: str = "tool_use") -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": content,
        "stop_reason": stop,
        "usage": {"input_tokens": 5, "output_tokens": 2},
    }


THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
CLAUDE = "anthropic/claude-sonnet-4-5"


def claudes(content: list[Json], stop: str = "tool_use") -> Answer:
    return Answer(body=dumped(thinking(content, stop)))


def claudes_streamed(content: list[Json], stop: str = "tool_use") -> Answer:
    """The same as a stream of Anthropic's events."""
    said: list[Json] = [{"type": "message_start", "message": {**thinking([], stop), "stop_reason": None}}]
    for index, block in enumerate(content):
        deltas: list[Json]
        match block["type"]:
            case "thinking":
                empty: Json = {"thinking": "", "signature": ""}
                deltas = [
                    {"type": "thinking_delta", "thinking": block["thinking"]},
                    {"type": "signature_delta", "signature": block["signature"]},
                ]
            case "text":
                empty, deltas = {"text": ""}, [{"type": "text_delta", "text": block["text"]}]
            case _:
                text = json.dumps(block["input"])
                empty, deltas = {"input": {}}, [{"type": "input_json_delta", "partial_json": text}]
        said.append({"type": "content_block_start", "index": index, "content_block": {**block, **empty}})
        said += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        said.append({"type": "content_block_stop", "index": index})
    said += [
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]
    return stream_of(*(b"event: " + one["type"].encode() + b"\n" + event(one) for one in said))


@pytest.mark.parametrize("stream", [False, True])
def test_anthropics_wire(run: Runs, server: Server, stream: bool) -> None:
    use = [
        {"type": "tool_use", "id": f"toolu_{n}", "name": "weather", "input": {"city": city}}
        for n, city in enumerate(("Oslo", "Rom"))
    ]
    make = claudes_streamed if stream else claudes
    server.answer(
        make([THOUGHT, {"type": "text", "text": "So:"}, *use]), make([{"type": "text", "text": "Cold."}], "end_turn")
    )
    given: Json = {
        "api_key": "k",
        "base_url": server.url,
        "max_tokens": 4000,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    found = run(weather, model=CLAUDE, stream=stream, **given)
    done = found[1] if stream else found
    messages = server.last.json["messages"]
    assert messages[1]["content"] == [THOUGHT, {"type": "text", "text": "So:"}, *use]
    assert [(block["tool_use_id"], block["content"]) for block in messages[2]["content"]] == [
        ("toolu_0", "Oslo: 4 °C"),
        ("toolu_1", "Rom: 4 °C"),
    ]
    assert done.text == "Cold." and done.usage.total_tokens == 14


@pytest.mark.parametrize("stream", [False, True])
def test_geminis_wire(run: Runs, server: Server, stream: bool) -> None:
    """Signatures go back: https://github.com/BerriAI/litellm/issues/16893."""
    parts: list[Json] = [
        {"text": "hm", "thought": True},
        {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}, "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "weather", "args": {"city": "Rom"}}},
    ]

    def answer(parts: list[Json]) -> Answer:
        candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
        body = {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 5}}
        return stream_of(event(body)) if stream else Answer(body=dumped(body))

    server.answer(answer(parts), answer([{"text": "Cold."}]))
    found = run(weather, model="gemini/gemini-3-pro", stream=stream, api_key="k", base_url=server.url)
    contents = server.last.json["contents"]
    assert [part for part in contents[1]["parts"] if "functionCall" in part] == parts[1:]
    results = [part["functionResponse"] for part in contents[2]["parts"]]
    assert [result["name"] for result in results] == ["weather", "weather"]
    assert "Oslo: 4" in json.dumps(results[0]) and "Rom: 4" in json.dumps(results[1])
    assert (found[1] if stream else found).text == "Cold."


@pytest.mark.parametrize("model", ["openai/m", "anthropic/m", "gemini/m", "cohere/m", "ollama_chat/m"])
def test_arguments_that_are_no_json_can_be_sent_back(server: Server, model: str) -> None:
    """The model is told what is wrong with them, so its message has to go back."""
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"city": '}}
    done = _tool_wires.with_results([*MESSAGES, {"role": "assistant", "content": None, "tool_calls": [call]}])
    server.answer(refusal(400))
    with pytest.raises(ritellm.BadRequestError, match="no, thank you"):
        ritellm.completion(model, done, api_key="k", base_url=server.url, max_tokens=10)
    assert "interrupted" in json.dumps(server.last.json)


WIRES = [
    "openai/m",
    "anthropic/m",
    "gemini/m",
    "bedrock/anthropic.claude-3-haiku-20240307-v1:0",
    "cohere/m",
    "ollama_chat/m",
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [*WIRES, "mistral/m", "groq/m", "openai/m of the Responses API"])
def test_a_refusal_of_a_call_without_a_result_names_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, model: str, stream: bool
) -> None:
    """A plain call sends the history as it is: servers of one's own take it. Providers refuse it, each in its own words."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    model, *of_responses = model.split(" ", 1)
    options: Json = {"base_url": server.url, "stream": stream}
    options |= {"aws_region_name": "us-east-1"} if "bedrock" in model else {"api_key": "k"}
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [*MESSAGES, {"role": "assistant", "content": "So:", "tool_calls": [call]}, *MESSAGES]
    item = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}
    server.answer(refusal(400))
    with pytest.raises(ritellm.BadRequestError, match="no, thank you") as caught:
        if of_responses:
            ritellm.responses(model, [item, *MESSAGES], **options)
        else:
            ritellm.completion(model, messages, max_tokens=10, **options)
    place = "input[0]" if of_responses else "messages[1].tool_calls[0]"
    assert f"{place} has a call without a result right after it (c)" in caught.value.message
    with pytest.raises(ritellm.BadRequestError) as caught:
        ritellm.completion(model, _tool_wires.with_results(messages), max_tokens=10, **options)
    assert "without a result" not in caught.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_the_responses_api(run: Runs, at_openai: Server, stream: bool) -> None:
    def answer(*output: Json) -> Answer:
        usage = {"input_tokens": 3, "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 1}}
        response = {"id": "resp_1", "object": "response", "status": "completed", "output": output, "usage": usage}
        if not stream:
            return Answer(body=dumped(response))
        delta = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Co"}
        return stream_of(*events([delta, {"type": "response.completed", "response": response}], done=False))

    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2ln"}
    calls = [
        {
            "type": "function_call",
            "id": f"fc_{n}",
            "call_id": f"call_{n}",
            "name": name,
            "arguments": '{"city": "Oslo"}',
        }
        for n, name in enumerate(("weather", "ask"))
    ]
    content = [{"type": "output_text", "text": "Cold.", "annotations": []}]
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
    at_openai.answer(answer(reasoning, calls[0]), answer(message), answer(*calls), answer(message))
    ask: Json = {"type": "function", "function": {"name": "ask", "parameters": {"type": "object"}}}
    found = run(weather, ask, messages="Coat?", api="responses", tool_choice="required", stream=stream)
    first, second = (request.json for request in at_openai.requests)
    assert first["tools"][0]["name"] == "weather" and first["tools"][1] == {**ask["function"], "type": "function"}
    assert (first["tool_choice"], second.get("tool_choice")) == ("required", None)
    result = {"type": "function_call_output", "call_id": "call_0", "output": "Oslo: 4 °C"}
    assert second["input"] == [{"role": "user", "content": "Coat?"}, reasoning, calls[0], result]
    done = found[1] if stream else found
    assert done.text == "Cold." and done.messages == [*second["input"], message]
    assert done.usage == {"input_tokens": 6, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 2}}
    if stream:
        assert "".join(one.text for one in found[0] if one.type == "chunk") == "CoCo"
    # A call that is to be answered elsewhere, and a history that was interrupted.
    found = run(weather, ask, messages="Coat?", api="responses", stream=stream)
    done = found[1] if stream else found
    assert [call.id for call in done.pending] == ["call_1"] and done.messages[-1] == result
    run(weather, messages=done.messages, api="responses", stream=stream)
    lost = {**result, "call_id": "call_1", "output": _tool_wires.INTERRUPTED}
    assert at_openai.last.json["input"] == [{"role": "user", "content": "Coat?"}, *calls, lost, result]


def test_an_answer_without_choices_ends_the_run(run: Runs, at_openai: Server) -> None:
    at_openai.answer(calling(("weather", {"city": "Oslo"})), Answer(body=dumped({"choices": []})))
    with pytest.raises(ritellm.APIResponseValidationError, match="no choices") as caught:
        run(weather)
    assert [message["role"] for message in caught.value.run.messages] == ["user", "assistant", "tool"]


class Warmer:
    def __call__(self, city: Annotated[str, "a city"], by: int = 1) -> str:
        """Makes a city warmer."""
        return f"{city} +{by}"


def test_partial_functions_and_objects_that_can_be_called(run: Runs, at_openai: Server) -> None:
    warmer = ritellm.Tool(Warmer(), name="warmer")
    assert warmer.parameters["properties"]["city"] == {"type": "string", "description": "a city"}
    twice = ritellm.Tool(functools.partial(Warmer(), by=2), name="twice")
    at_openai.answer(calling(("warmer", {"city": "Oslo"}), ("twice", {"city": "Rom"})), plain("Warm."))
    found = run(warmer, twice)
    assert [output.value for output in found.steps[0].outputs] == ["Oslo +1", "Rom +2"]


@ritellm.tool
def doubled(number: int) -> int:
    return 2 * number


class Shelf:
    @ritellm.tool
    @staticmethod
    def tripled(number: int) -> int:
        return 3 * number


def test_tools_go_to_other_processes() -> None:
    again = pickle.loads(pickle.dumps(doubled))
    assert again is doubled and again(2) == 4
    assert pickle.loads(pickle.dumps([Shelf.tripled]))[0](2) == 6
    named = ritellm.Tool(weather, name="sky", description="d", parameters={"type": "object"})
    again = pickle.loads(pickle.dumps(named))
    assert (again.definition, again.function) == (named.definition, weather)
    assert copy.deepcopy(named).name == "sky"


def test_a_paused_turn_goes_on(run: Runs, server: Server) -> None:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "Oslo"}}
    server.answer(claudes([search], "pause_turn"), claudes([{"type": "text", "text": "Cold."}], "end_turn"))
    given: Json = {"api_key": "k", "base_url": server.url, "max_tokens": 100}
    found = run({"type": "web_search_20250305", "name": "web_search"}, model=CLAUDE, **given)
    assert found.text == "Cold." and server.last.json["messages"][1]["content"] == [search]


class TestAccessors:
    def test_of_a_completion(self, at_openai: Server) -> None:
        at_openai.answer(calling(("weather", {"city": "Oslo"}), ("weather", "")), plain())
        response = ritellm.completion(MODEL, MESSAGES)
        assert [(call.name, call.arguments, call.id) for call in response.tool_calls] == [
            ("weather", {"city": "Oslo"}, "call_0"),
            ("weather", {}, "call_1"),
        ]
        assert response.tool_calls[0].arguments.city == "Oslo"
        assert ritellm.completion(MODEL, MESSAGES).tool_calls == []
        assert ritellm.ChatCompletion().tool_calls == []
        with pytest.raises(ValueError, match="JSON"):
            ritellm.ToolCall(function={"name": "f", "arguments": "{"}).arguments  # noqa: B018

    def test_of_a_response(self) -> None:
        item = {
            "type": "function_call",
            "call_id": "c",
            "id": "fc_1",
            "name": "weather",
            "arguments": '{"city": "Oslo"}',
        }
        (call,) = ritellm.Response({"output": [{"type": "reasoning"}, item]}).tool_calls
        assert (call.id, call.name, call.arguments) == ("c", "weather", {"city": "Oslo"})
        assert ritellm.Response().tool_calls == []


class TestTool:
    def test_a_decorator(self) -> None:
        @ritellm.tool(name="look", description="Looks.")
        def search(query: str, *, limit: int | None = None) -> str:
            """Not this."""
            return f"{query}{limit}"

        assert search("a", limit=1) == "a1" and vars(search)["__name__"] == "search"
        assert search.definition["function"]["name"] == "look" and search.description == "Looks."
        limit = search.parameters["properties"]["limit"]
        assert limit == {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}
        assert search.read('{"query": "x", "limit": 2}') == {"query": "x", "limit": 2}

    def test_a_call_takes_it(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        made = ritellm.tool(weather)
        ritellm.completion(MODEL, MESSAGES, tools=[made])
        assert at_openai.last.json["tools"] == [made.definition]

    def test_methods(self, run: Runs, at_openai: Server) -> None:
        class Shop:
            def __init__(self, name: str) -> None:
                self.name = name

            @ritellm.tool
            def price(self, item: str) -> str:
                """Returns a price."""
                return f"{item} at {self.name}"

            def stock(self, item: str) -> str:
                return f"no {item}"

        shop = Shop("Ann's")
        at_openai.answer(calling(("price", {"item": "tea"}), ("stock", {"item": "tea"})), plain())
        run(shop.price, shop.stock)
        assert contents(at_openai) == ["tea at Ann's", "no tea"]
        assert list(shop.price.parameters["properties"]) == ["item"]

    def test_types_that_pydantic_reads(self) -> None:
        class Order(pydantic.BaseModel):
            item: str
            count: int = pydantic.Field(ge=1)

        def order(order: Order, note: Annotated[str, "for the cook"] = "none") -> None: ...

        order.__annotations__["order"] = Order
        made = ritellm.Tool(order)
        assert made.parameters["properties"]["note"]["description"] == "for the cook"
        assert made.parameters["properties"]["note"]["default"] == "none"
        assert made.parameters["required"] == ["order"] and "Order" in made.parameters["$defs"]
        assert made.read('{"order": {"item": "tea", "count": 2}}') == {"order": Order(item="tea", count=2)}
        with pytest.raises(ValueError, match=r"order\.count: Input should be greater than or equal to 1"):
            made.read('{"order": {"item": "tea", "count": 0}}')
        with pytest.raises(ValueError, match="more"):
            made.read('{"order": {"item": "tea", "count": 1}, "more": 1}')

    def test_a_schema_by_hand(self) -> None:
        schema = {"type": "object", "properties": {"x": {"type": "integer", "minimum": 1}}, "required": ["x"]}
        made = ritellm.Tool(lambda **given: given, name="f", parameters=schema)
        assert made.parameters == schema and made.read('{"x": 1}') == {"x": 1}
        with pytest.raises(ValueError, match="at least 1"):
            made.read('{"x": 0}')

    @pytest.mark.parametrize(
        "text",
        [
            "Does it.\n\nArgs:\n    a: one\n        more\n    b (int): two\n\nReturns:\n    nothing",
            "Does it.\n\n:param a: one\n    more\n:param int b: two\n\nReturns:\n    nothing",
        ],
    )
    def test_docstrings(self, text: str) -> None:
        def f(a: str, b: int) -> None: ...

        f.__doc__ = text
        made = ritellm.Tool(f)
        assert [one["description"] for one in made.parameters["properties"].values()] == ["one more", "two"]
        assert made.description.split() == ["Does", "it.", "Returns:", "nothing"]

    def test_names_that_are_defined_later(self) -> None:
        def f(a: Later) -> None: ...  # type: ignore[name-defined] # noqa: F821

        made = ritellm.Tool(f)
        with pytest.raises(ritellm.InvalidArgumentError, match="cannot be read"):
            made.parameters  # noqa: B018
        f.__globals__["Later"] = str
        try:
            assert made.parameters["properties"]["a"] == {"type": "string"}
        finally:
            del f.__globals__["Later"]

    def test_further_arguments_are_no_parameters(self) -> None:
        """https://github.com/generative-computing/mellea/issues/1517."""

        class Odd:
            def __eq__(self, other: object) -> bool:
                raise TypeError

        def f(a: int, *args: int, b: Any = Odd(), c: float = float("inf"), **more: int) -> None: ...  # noqa: B008

        parameters = ritellm.Tool(f).parameters
        assert parameters["properties"] == {"a": {"type": "integer"}, "b": {}, "c": {"type": "number"}}
        assert parameters["required"] == ["a"]

    def test_functions_that_cannot_be_tools(self) -> None:
        def f(a: int, /) -> None: ...

        with pytest.raises(ritellm.InvalidArgumentError, match="by position"):
            ritellm.Tool(f)
        with pytest.raises(ritellm.InvalidArgumentError, match="of type int"):
            ritellm.Tool(3)  # type: ignore[arg-type]


def test_importing_the_package_imports_none_of_this() -> None:
    program = "import sys, ritellm; assert not [name for name in sys.modules if name.startswith('ritellm._tool')]"
    subprocess.run([sys.executable, "-c", program], check=True)
