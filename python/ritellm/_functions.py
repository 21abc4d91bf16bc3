"""Calls functions that a caller passed, such as `api_key`, for the native core. Imported when the first one is called."""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable
from typing import Any


def start(
    function: Callable[..., Any],
    context: contextvars.Context,
    event_loop: asyncio.AbstractEventLoop | None,
    arguments: tuple[Any, ...],
    reply: Callable[[Any, BaseException | None], None],
) -> None:
    """Calls a function in a new thread, and a coroutine function on the event loop.

    Args:
        function: the function to call.
        context: the contextvars of the call; the function runs in a copy.
        event_loop: the event loop of the call; `None` for a call without one, which gets a loop of its own.
        arguments: the positional arguments of the function.
        reply: is called with the value and `None`, or with `None` and the exception.
    """
    target = (function, context.copy(), event_loop, arguments, reply)
    # Not by `threading`, which waits until the thread says that it runs: it never does where memory runs out.
    _thread.start_new_thread(_run, target)


def _run(
    function: Callable[..., Any],
    context: contextvars.Context,
    event_loop: asyncio.AbstractEventLoop | None,
    arguments: tuple[Any, ...],
    reply: Callable[[Any, BaseException | None], None],
) -> None:
    try:
        value = context.run(_ask, function, event_loop, arguments)
    except BaseException as error:
        reply(None, error)
    else:
        reply(value, None)


def _ask(function: Callable[..., Any], event_loop: asyncio.AbstractEventLoop | None, arguments: tuple[Any, ...]) -> Any:
    is_coroutine = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )
    # A coroutine function can ask for the running loop before its first await, so it is called on the loop.
    value = _call(function, arguments) if is_coroutine else function(*arguments)
    if not inspect.isawaitable(value):
        return value
    if event_loop is None:
        return asyncio.run(_awaited(value))
    return asyncio.run_coroutine_threadsafe(_awaited(value), event_loop).result()


async def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return await function(*arguments)


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value
