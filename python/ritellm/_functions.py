"""How the core calls functions of a caller's. Imported when there is one."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any


def start(
    function: Callable[..., Any],
    context: contextvars.Context,
    event_loop: asyncio.AbstractEventLoop | None,
    arguments: tuple[Any, ...],
    reply: Callable[[Any, BaseException | None], None],
) -> None:
    """Calls a function in a thread of its own, and a coroutine function on the loop; `reply` gets what comes of it."""
    target = (function, context.copy(), event_loop, arguments, reply)
    threading.Thread(target=_run, args=target, name="ritellm-ask", daemon=True).start()


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
    # A coroutine function may look for its loop before its first await.
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
