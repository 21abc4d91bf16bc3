"""Runs hooks that are coroutine functions, and those of calls without a caller's thread. Imported when the first one comes."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ritellm import _core

#: Maximum number of coroutines of hooks that have not ended; further ones are dropped, and counted.
MAX_RUNNING = 10_000
#: Seconds that the end of the program waits for hooks.
PATIENCE = 5.0

_logger = logging.getLogger("ritellm")
_running: set[_Run] = set()
#: Tasks of hooks that wait for hooks. These do not wait for each other.
_flushing: set[asyncio.Task[Any]] = set()
#: Reentrant: a finaliser that runs while it is held may have a record to deliver.
_lock = threading.RLock()
_thread: threading.Thread | None = None
_loop: asyncio.AbstractEventLoop | None = None
_loop_thread: threading.Thread | None = None
_of_parent: list[Any] = []


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
    run = _Run(awaitable, context, call)
    # Counted from here on: a loop that is behind has not started what was handed over to it.
    _running.add(run)
    try:
        event_loop = asyncio.get_running_loop()
    except RuntimeError:
        _schedule_here(run)
    else:
        _start(run, event_loop is _loop)


def _schedule_here(run: _Run) -> None:
    """Runs what a hook returned on the event loop of this module."""
    try:
        _loop_of_hooks().call_soon_threadsafe(_start, run, True)
    except BaseException:
        # No thread can be started.
        _running.discard(run)
        _drop(run.awaitable, run.call)
        raise


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
        if task.cancelled() and not self.begun and not is_own:
            # The program's loop has ended: `asyncio.run` cancels what it finds.
            self.task = None
            _schedule_here(self)
            return
        _running.discard(self)
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                self.call.failed(error)
        else:
            self.call.dropped()


def _start(run: _Run, is_own: bool) -> None:
    # A task takes the context in which it is made; in Python 3.10 there is no other way to give it one.
    try:
        run.task = task = run.context.copy().run(asyncio.ensure_future, run.run())
    except BaseException:
        _running.discard(run)
        raise
    task.add_done_callback(lambda task: run.done(task, is_own))


def _drop(awaitable: Awaitable[Any], call: _core.HookCall) -> None:
    call.dropped()
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()


def _loop_of_hooks() -> asyncio.AbstractEventLoop:
    """Returns the event loop of this module, which runs in a thread of its own."""
    global _loop, _loop_thread
    with _lock:
        if _loop is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="ritellm-hooks-async", daemon=True)
            try:
                thread.start()
            except BaseException:
                loop.close()
                raise
            _loop, _loop_thread = loop, thread
        return _loop


def ensure_thread() -> None:
    """Starts the thread that delivers what has no caller's thread, unless it runs."""
    global _thread
    with _lock:
        if _thread is None:
            thread = threading.Thread(target=_deliver, name="ritellm-hooks", daemon=True)
            # To make it may have run a finaliser that comes here, too, and so may its start.
            if _thread is None:
                _thread = thread
                try:
                    thread.start()
                except BaseException:
                    _thread = None
                    raise


def _forget_parent() -> None:
    """Forgets the threads of the parent process, which a fork does not copy, and the lock, which one of them may hold."""
    global _lock, _thread, _loop, _loop_thread, _running
    _lock = threading.RLock()
    # Kept: an event loop or a task that is freed says that it did not end.
    _of_parent.append((_loop, _running))
    _thread = _loop = _loop_thread = None
    _running = set()
    _flushing.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)


def _deliver() -> None:
    while True:
        try:
            _core.deliver_hooks(60.0)
        except BaseException as error:
            # Such as one that another thread has set on this one. Without the thread nothing would be delivered.
            _logger.warning("an exception in the thread that calls hooks, which goes on", exc_info=error)


def _deadline(timeout: float | None) -> float:
    # No longer than the threads of Python can wait.
    return time.monotonic() + (PATIENCE if timeout is None else min(timeout, threading.TIMEOUT_MAX / 2))


def _rest(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)


def _tasks_of(event_loop: asyncio.AbstractEventLoop, for_hook: bool) -> set[asyncio.Task[Any]]:
    """Returns the tasks of hooks that run on an event loop; ``for_hook``, those that do not wait for others."""
    tasks = {run.task for run in list(_running) if run.task is not None and run.task.get_loop() is event_loop}
    return tasks - _flushing if for_hook else tasks


def flush(timeout: float | None = None) -> bool:
    """Waits until the hooks of all calls that have ended were called. Returns false if that took longer than ``timeout``.

    A hook that calls this, as ``close()`` does, does not wait for itself: on a thread of this module it waits for nothing.
    """
    return _flush(_deadline(timeout), False)


def _flush(deadline: float, for_hook: bool) -> bool:
    this = threading.current_thread()
    if this in (_thread, _loop_thread):
        return False
    is_done = _core.flush_hooks(_rest(deadline))
    if _loop is None:
        return is_done
    event_loop, ended = _loop, threading.Event()

    async def wait() -> None:
        if tasks := _tasks_of(event_loop, for_hook):
            _, pending = await asyncio.wait(tasks, timeout=_rest(deadline))
            if pending:
                return
        ended.set()

    asyncio.run_coroutine_threadsafe(wait(), event_loop)
    return ended.wait(_rest(deadline)) and is_done


async def aflush(timeout: float | None = None) -> bool:
    """Does the same as `flush` on an event loop, and waits for the hooks that run on it."""
    deadline = _deadline(timeout)
    this, event_loop = asyncio.current_task(), asyncio.get_running_loop()
    for_hook = any(run.task is this for run in list(_running))
    if for_hook and this is not None:
        _flushing.add(this)
    try:
        # Hooks of calls that have just ended are called in the next turn of the loop.
        await asyncio.sleep(0)
        tasks = _tasks_of(event_loop, for_hook)
        pending = (await asyncio.wait(tasks, timeout=_rest(deadline)))[1] if tasks else None
        return await event_loop.run_in_executor(None, _flush, deadline, for_hook) and not pending
    finally:
        if this is not None:
            _flushing.discard(this)


atexit.register(flush)
