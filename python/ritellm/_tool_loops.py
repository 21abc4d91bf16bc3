"""The loops of `Client.run_tools` and `Client.arun_tools`: they call the model, run the tools that it calls, and tell it their results."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import queue
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

from ritellm import _core
from ritellm._tool_runs import Job, Loop, RunAnswer, RunCall, RunChunk, RunOutput
from ritellm.exceptions import InvalidArgumentError
from ritellm.types import ToolCall


async def _run(job: Job) -> tuple[Any, BaseException | None]:
    """Runs a tool: an async function here, a sync one in a thread of its own. Returns its value, or the exception it raised."""
    try:
        return await _called(job.tool.function, lambda: job.tool.function(**job.arguments)), None
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        # A `SystemExit` that left a task would end the event loop.
        return None, error


async def _called(function: Any, call: Callable[[], Any]) -> Any:
    is_async = inspect.iscoroutinefunction
    if is_async(function) or is_async(getattr(type(function), "__call__", None)):  # noqa: B004
        return await call()
    value = await _in_thread(call)
    return await value if inspect.isawaitable(value) else value


async def _in_thread(function: Callable[[], Any]) -> Any:
    # asyncio's own pool has few threads, and a program would wait for them at its end.
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(value: Any, error: BaseException | None) -> None:
        if result.done():
            return
        if isinstance(error, StopIteration):
            error = RuntimeError("the tool raised StopIteration")
        if error is None:
            result.set_result(value)
        else:
            result.set_exception(error)

    def work() -> None:
        value, error = None, None
        try:
            value = context.run(function)
        except BaseException as raised:
            error = raised
        # The loop is closed if the run was cancelled: nobody waits for the result.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=work, name="ritellm tool", daemon=True).start()
    return await result


class _Background:
    """An event loop in a thread, on which `run_tools` runs the tools."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._work, name="ritellm tools", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    def start(self, coroutine: Any) -> Any:
        """Starts a coroutine and returns its `concurrent.futures.Future`."""
        context = contextvars.copy_context()
        return context.run(asyncio.run_coroutine_threadsafe, coroutine, self.loop)

    def close(self) -> None:
        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.loop.stop()

        self.start(end())
        # Longer than any tool should take to be cancelled; one that refuses is left behind.
        self.thread.join(5)


def _events(client: Any, loop: Loop) -> Generator[Any, None, None]:
    background: _Background | None = None
    try:
        while not loop.is_over:
            response = loop.wire.method(client, False)(loop.model, loop.run.messages, **loop.params())
            if loop.is_streamed:
                for chunk in response:
                    yield RunChunk(loop.number + 1, chunk)
                response = response.completion
            taken = loop.take(response)
            yield RunAnswer(loop.number, response)
            jobs: list[Job] = []
            for one in taken:
                declined = one if isinstance(one, RunOutput) else None
                if not isinstance(one, RunOutput) and loop.approve is not None:
                    verdict = loop.approve(one.call)
                    if inspect.isawaitable(verdict):
                        background = background or _Background()
                        verdict = _wait(background.start(_awaited(verdict)), loop)
                    declined = loop.judged(one, verdict)
                if declined is not None:
                    yield loop.keep(declined)
                elif not isinstance(one, RunOutput):
                    jobs.append(one)
            if jobs:
                background = background or _Background()
                yield from _outputs(background, loop, jobs)
            loop.end_of_step()
    except BaseException as error:
        loop.mark(error)
        raise
    finally:
        if background is not None:
            background.close()


def _outputs(background: _Background, loop: Loop, jobs: list[Job]) -> Iterator[RunCall | RunOutput]:
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    running: dict[Any, Job] = {}
    while jobs or running:
        while jobs and len(running) < loop.concurrency:
            job = jobs.pop(0)
            future = background.start(_run(job))
            running[future] = job
            future.add_done_callback(done.put)
            yield RunCall(loop.number, job.call)
        try:
            future = done.get(timeout=loop.remaining())
        except queue.Empty:
            continue
        yield loop.keep(_output(loop, running.pop(future).call, future))


def _output(loop: Loop, call: ToolCall, future: Any) -> RunOutput:
    if future.cancelled():
        return loop.failed(call, asyncio.CancelledError())
    value, error = future.result()
    return loop.returned(call, value) if error is None else loop.failed(call, error)


def _wait(future: Any, loop: Loop) -> Any:
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    future.add_done_callback(done.put)
    while True:
        try:
            return done.get(timeout=loop.remaining()).result()
        except queue.Empty:
            continue


async def _awaited(value: Any) -> Any:
    return await value


async def _aevents(client: Any, loop: Loop) -> AsyncIterator[Any]:
    running: dict[asyncio.Task[Any], Job] = {}
    try:
        while not loop.is_over:
            response = await loop.wire.method(client, True)(loop.model, loop.run.messages, **loop.params())
            if loop.is_streamed:
                async with response:
                    async for chunk in response:
                        yield RunChunk(loop.number + 1, chunk)
                    response = response.completion
            taken = loop.take(response)
            yield RunAnswer(loop.number, response)
            jobs: list[Job] = []
            for one in taken:
                declined = one if isinstance(one, RunOutput) else None
                if not isinstance(one, RunOutput) and loop.approve is not None:
                    verdict = await _approved(loop, one)
                    declined = loop.judged(one, verdict)
                if declined is not None:
                    yield loop.keep(declined)
                elif not isinstance(one, RunOutput):
                    jobs.append(one)
            done: asyncio.Queue[Any] = asyncio.Queue()
            while jobs or running:
                while jobs and len(running) < loop.concurrency:
                    job = jobs.pop(0)
                    task = asyncio.ensure_future(_run(job))
                    running[task] = job
                    task.add_done_callback(done.put_nowait)
                    yield RunCall(loop.number, job.call)
                left = loop.remaining()
                try:
                    task = await asyncio.wait_for(done.get(), left)
                except asyncio.TimeoutError:
                    continue
                yield loop.keep(_output(loop, running.pop(task).call, task))
            loop.end_of_step()
    except BaseException as error:
        loop.mark(error)
        raise
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _approved(loop: Loop, job: Job) -> Any:
    asked = asyncio.ensure_future(_called(loop.approve, lambda: loop.approve(job.call)))
    try:
        while not asked.done():
            await asyncio.wait([asked], timeout=loop.remaining())
        return asked.result()
    finally:
        asked.cancel()


class ToolRunStream:
    """The events of a run as they happen: iterate over it with `for`, or with `async for` if `Client.arun_tools` returned it.

    The events are `RunChunk` (with ``stream=True``), `RunAnswer`, `RunCall` and `RunOutput`. Leaving the loop ends the run: what
    is upstream is aborted, async tools are cancelled, and the results of sync ones are discarded.

    Attributes:
        run: what the run did so far, a `ToolRun`; also after an error.
    """

    def __init__(self, client: Any, loop: Loop, is_async: bool) -> None:
        self.run = loop.run
        self._events: Any = (_aevents if is_async else _events)(client, loop)
        self._reference: Callable[[], Any] = weakref.ref(self._events)
        self._is_async = is_async

    def _taken(self, is_async: bool) -> Any:
        if is_async != self._is_async:
            raise InvalidArgumentError(f"this run takes `{'async ' if self._is_async else ''}for`")
        # The loop over the events has the only reference, so that leaving it ends the run.
        events, self._events = self._events, None
        if events is None:
            raise InvalidArgumentError("the events of a run can be read once")
        return events

    def __iter__(self) -> Iterator[RunChunk | RunAnswer | RunCall | RunOutput]:
        events: Iterator[RunChunk | RunAnswer | RunCall | RunOutput] = self._taken(False)
        return events

    def __aiter__(self) -> AsyncIterator[RunChunk | RunAnswer | RunCall | RunOutput]:
        events: AsyncIterator[RunChunk | RunAnswer | RunCall | RunOutput] = self._taken(True)
        return events

    def close(self) -> None:
        """Ends the run of `Client.run_tools`."""
        if (events := self._reference()) is not None:
            events.close()

    async def aclose(self) -> None:
        """Ends the run of `Client.arun_tools`, and waits until its async tools are cancelled."""
        if (events := self._reference()) is not None:
            await events.aclose()

    def __enter__(self) -> ToolRunStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> ToolRunStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def run(client: Any, given: _core.Arguments, stream: Any, options: dict[str, Any]) -> Any:
    """Does what `Client.run_tools` describes."""
    events = ToolRunStream(client, Loop(given, stream, **options), False)
    if stream:
        return events
    for _ in events:
        pass
    return events.run


async def arun(client: Any, given: _core.Arguments, stream: Any, options: dict[str, Any]) -> Any:
    """Does what `Client.arun_tools` describes."""
    events = ToolRunStream(client, Loop(given, stream, **options), True)
    if stream:
        return events
    async with events:
        async for _ in events:
            pass
    return events.run
