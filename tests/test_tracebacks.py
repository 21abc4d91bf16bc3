"""Tests that tracebacks with local variables show no key: no frame holds one when an error leaves it."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from server import MESSAGES, Answer, Server

import ritellm
from ritellm import Client, local

CANARY = "sk-canary-0123456789abcdef"
KEY: dict[str, Any] = {"api_key": CANARY}
HEADER: dict[str, Any] = {"extra_headers": {"Authorization": CANARY}}
NOWHERE: dict[str, Any] = {"base_url": "http://127.0.0.1:9/v1", "max_retries": 0}


def frames(error: BaseException | None) -> Iterator[FrameType]:
    """The library's own frames in an error's tracebacks, those of its causes included."""
    while error is not None:
        place = error.__traceback__
        while place is not None:
            if "ritellm" in str(place.tb_frame.f_globals.get("__name__")):
                yield place.tb_frame
            place = place.tb_next
        error = error.__cause__ or error.__context__


def check(error: BaseException) -> None:
    for frame in frames(error):
        for name, value in frame.f_locals.items():
            assert CANARY not in repr(value), f"{frame.f_code.co_name}: {name}"


def failing(call: Callable[[], Any]) -> None:
    with pytest.raises(BaseException) as caught:
        call()
    check(caught.value)


def run(call: Callable[..., Any], *args: Any, **params: Any) -> None:
    async def main() -> Any:
        return await call(*args, **params)

    asyncio.run(main())


SYNC = {
    "completion": (ritellm.completion, MESSAGES),
    "embedding": (ritellm.embedding, "text"),
    "responses": (ritellm.responses, "text"),
}
ASYNC = {
    "acompletion": (ritellm.acompletion, MESSAGES),
    "aembedding": (ritellm.aembedding, "text"),
    "aresponses": (ritellm.aresponses, "text"),
}


class Raising(dict[str, str]):
    def items(self) -> Any:
        raise ValueError("no")


STAGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "no such local model": ("local/none", {}),
    "model of another type": (5, {}),
    "no such provider": ("nobody/m", {}),
    "bad argument": ("openai/m", {"timeout": "x"}),
    "bad parameter": ("openai/m", {"metadata": object()}),
    "bad header": ("openai/m", {"extra_headers": {"a": "b\r\n"}}),
    "mapping that raises": ("openai/m", {"extra_query": Raising(a="1")}),
    "no connection": ("openai/m", NOWHERE),
}


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_of_each_call(stage: str) -> None:
    model, params = STAGES[stage]
    for call, subject in SYNC.values():
        failing(lambda call=call, subject=subject: call(model, subject, **{**KEY, **params}))  # type: ignore[misc]
        failing(lambda call=call, subject=subject: call(model, subject, **{**HEADER, **params}))  # type: ignore[misc]
    for acall, subject in ASYNC.values():
        failing(lambda acall=acall, subject=subject: run(acall, model, subject, **{**KEY, **params}))  # type: ignore[misc]


def test_a_refusal(server: Server) -> None:
    server.answer(Answer(401, {}, b'{"error": {"message": "no"}}'))
    params = {**KEY, "base_url": server.base_url, "max_retries": 0}
    failing(lambda: ritellm.completion("openai/m", MESSAGES, **params))
    failing(lambda: ritellm.completion("openai/m", MESSAGES, stream=True, **params))
    failing(lambda: run(ritellm.acompletion, "openai/m", MESSAGES, **params))


def test_the_local_server_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(model: str) -> str:
        raise OSError(f"no {model}")

    async def arefuse(model: str) -> str:
        raise OSError(f"no {model}")

    monkeypatch.setattr(local, "base_url", refuse)
    monkeypatch.setattr(local, "abase_url", arefuse)
    for call, subject in SYNC.values():
        failing(lambda call=call, subject=subject: call("local/m", subject, **KEY))  # type: ignore[misc]
    for acall, subject in ASYNC.values():
        failing(lambda acall=acall, subject=subject: run(acall, "local/m", subject, **KEY))  # type: ignore[misc]


@pytest.mark.parametrize("name", ASYNC)
class TestACoroutineThatHasNotBegun:
    """An error may leave it before its first step, and its frame can be looked at."""

    def test_its_frame(self, name: str) -> None:
        acall, subject = ASYNC[name]
        for model in ("openai/m", "local/none"):
            coroutine = acall(model, subject, **KEY, **HEADER, nested={"list": [CANARY]})
            assert CANARY not in repr(coroutine.cr_frame.f_locals)
            assert all(CANARY not in repr(vars(type(value))) for value in coroutine.cr_frame.f_locals.values())
            coroutine.close()

    def test_what_is_thrown_into_it(self, name: str) -> None:
        acall, subject = ASYNC[name]
        coroutine = acall("openai/m", subject, **KEY)
        failing(lambda: coroutine.throw(RuntimeError("no")))

    def test_a_task_that_is_cancelled_at_once(self, name: str) -> None:
        acall, subject = ASYNC[name]

        async def main() -> None:
            task = asyncio.create_task(acall("openai/m", subject, **KEY))
            task.cancel()
            await task

        failing(lambda: asyncio.run(main()))

    def test_arguments_that_cannot_be_bound(self, name: str) -> None:
        acall, subject = ASYNC[name]
        failing(lambda: acall("openai/m", subject, subject, **KEY))
        failing(lambda: acall("openai/m", subject, model="m", **KEY))

    def test_it_is_a_coroutine_of_a_coroutine_function(self, name: str) -> None:
        acall, subject = ASYNC[name]
        client = Client()
        for function in (acall, getattr(client, name), getattr(Client, name), functools.partial(acall, "openai/m")):
            assert inspect.iscoroutinefunction(function)
        assert "params" in inspect.signature(acall).parameters
        assert inspect.signature(acall, eval_str=True).parameters["model"].annotation is str
        assert acall.__name__ == name and acall.__doc__
        assert getattr(Client, name).__qualname__ == f"Client.{name}"
        assert pickle.loads(pickle.dumps(acall)).__name__ == name
        assert pickle.loads(pickle.dumps(getattr(Client, name))) is getattr(Client, name)
        coroutine = acall(model="openai/m", **{"messages" if name == "acompletion" else "input": subject}, **KEY)
        assert inspect.iscoroutine(coroutine) and asyncio.iscoroutine(coroutine)
        coroutine.close()


@pytest.mark.parametrize("settings", [{"timeout": "x"}, {"nothing": 1}, {"max_retries": -1}, {"base_url": 5}])
def test_a_client_that_cannot_be_made(settings: dict[str, Any]) -> None:
    failing(lambda: Client(api_key=CANARY, **settings))
    failing(lambda: Client(headers={"Authorization": CANARY}, **settings))


@pytest.mark.parametrize("model", ["openai/m", "local/none"])
def test_recursion_at_any_depth(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a function that is to take the key away may fail to be called."""
    errors: list[BaseException] = []
    # pytest's own hook has no depth left to look at the source for a traceback.
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: errors.append(unraisable.exc_value))

    def call(depth: int) -> Any:
        if depth > 0:
            return call(depth - 1)
        return ritellm.completion(model, MESSAGES, **KEY, **NOWHERE)

    here = len(list(stack(sys._getframe())))
    limit = sys.getrecursionlimit()
    seen = set()
    sys.setrecursionlimit(here + 60)
    try:
        for depth in range(20, 60):
            try:
                call(depth)
            except BaseException as error:
                errors.append(error)
    finally:
        sys.setrecursionlimit(limit)
    for error in errors:
        seen.add(type(error))
        check(error)
    assert RecursionError in seen


def stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
