"""Runs hooks that are coroutine functions, and those of calls without a caller's thread. Imported when the first one comes."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from ritellm import _core

#: Maximum number of coroutines of hooks that have not ended; further ones are dropped, and counted.
MAX_RUNNING = 10_000
#: Seconds that the end of the program waits for hooks.
PATIENCE = 5.0

_logger = logging.getLogger("ritellm")
_running: set[_Run] = set()
_lock = threading.Lock()
_pid = os.getpid()
_thread: threading.Thread | None = None
_loop: asyncio.AbstractEventLoop | None = None


def report(hook: Callable[..., Any], error: BaseException) -> None:
    """Logs the first exception of a hook."""
    name = getattr(hook, "__qualname__", None) or repr(hook)
    text = "the hook %s raised an exception, which harms no call; further ones are only counted in stats()"
    _logger.warning(text, name, exc_info=error)


def schedule(awaitable: Awaitable[Any], context: contextvars.Context, call: _core.HookCall) -> None:
    """Runs what a hook returned: on the running event loop, or on one of this module's own."""
    if len(_running) >= MAX_RUNNING:
        _drop(awaitable, call)
        return
    try:
        event_loop = asyncio.get_running_loop()
    except RuntimeError:
        _loop_of_hooks().call_soon_threadsafe(_start, awaitable, context, call, True)
    else:
        _start(awaitable, context, call, event_loop is _loop)


class _Run:
    """The run of one awaitable. A task that is cancelled before it began leaves it to the loop of this module."""

    def __init__(self, awaitable: Awaitable[Any], context: contextvars.Context, call: _core.HookCall) -> None:
        self.awaitable, self.context, self.call = awaitable, context, call
        self.begun = False
        self.task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        self.begun = True
        await self.awaitable

    def done(self, task: asyncio.Task[None], is_own: bool) -> None:
        _running.discard(self)
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                self.call.failed(error)
        elif not self.begun and not is_own:
            # The program's loop has ended: `asyncio.run` cancels what it finds.
            _loop_of_hooks().call_soon_threadsafe(_start, self.awaitable, self.context, self.call, True)
        else:
            self.call.dropped()


def _start(awaitable: Awaitable[Any], context: contextvars.Context, call: _core.HookCall, is_own: bool) -> None:
    run = _Run(awaitable, context, call)
    # A task takes the context in which it is made; in Python 3.10 there is no other way to give it one.
    run.task = task = context.copy().run(asyncio.ensure_future, run.run())
    _running.add(run)
    task.add_done_callback(lambda task: run.done(task, is_own))


def _drop(awaitable: Awaitable[Any], call: _core.HookCall) -> None:
    call.dropped()
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()


def _loop_of_hooks() -> asyncio.AbstractEventLoop:
    """Returns the event loop of this module, which runs in a thread of its own."""
    global _loop
    with _lock:
        _forget_parent()
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="ritellm-hooks-async", daemon=True).start()
        return _loop


def ensure_thread() -> None:
    """Starts the thread that delivers what has no caller's thread, unless it runs."""
    global _thread
    with _lock:
        _forget_parent()
        if _thread is None:
            _thread = threading.Thread(target=_deliver, name="ritellm-hooks", daemon=True)
            _thread.start()


def _forget_parent() -> None:
    """Forgets the threads of a parent process, which a fork does not copy."""
    global _pid, _thread, _loop
    if _pid != os.getpid():
        _pid, _thread, _loop = os.getpid(), None, None
        _running.clear()


def _deliver() -> None:
    while True:
        _core.deliver_hooks(60.0)


def _seconds(timeout: float | None) -> float:
    # No longer than the threads of Python can wait.
    return PATIENCE if timeout is None else min(timeout, threading.TIMEOUT_MAX)


def flush(timeout: float | None = None) -> bool:
    """Waits until the hooks of all calls that have ended were called. Returns false if that took longer than ``timeout``."""
    seconds = _seconds(timeout)
    is_done = _core.flush_hooks(seconds)
    if _loop is None or threading.current_thread() is _thread:
        return is_done
    ended = threading.Event()

    async def wait() -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        ended.set()

    asyncio.run_coroutine_threadsafe(wait(), _loop)
    return ended.wait(seconds) and is_done


async def aflush(timeout: float | None = None) -> bool:
    """Does the same as `flush` on an event loop, and waits for the hooks that run on it."""
    seconds = _seconds(timeout)
    this = asyncio.current_task()
    event_loop = asyncio.get_running_loop()
    tasks = {run.task for run in _running if run.task is not None and run.task.get_loop() is event_loop} - {this}
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
    return await event_loop.run_in_executor(None, flush, seconds)


atexit.register(flush)
