"""Streams for web services: responses for ASGI and WSGI, and what to do when the client goes away."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ritellm._http_errors import ErrorReply, http_error
from ritellm.exceptions import ClientDisconnectedError, InvalidArgumentError, RiteLLMError
from ritellm.types import ResponseEvent, _json

if TYPE_CHECKING:
    # Without starlette this is `Any`, as far as type checkers are concerned.
    from starlette.responses import StreamingResponse as _Base
else:
    _Base = object

T = TypeVar("T")

_logger = logging.getLogger("ritellm.web")


async def _disconnected(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _until_disconnect(work: asyncio.Future[T], receive: Callable[[], Awaitable[Any]]) -> bool:
    """Waits for work to end. Returns false if the client went away before; the work was cancelled then, and has ended."""
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        # An exception of `receive` itself counts as the end of the client.
        return work.done()
    finally:
        for task in (work, gone):
            task.cancel()
        # To wait for the end of what was cancelled, and for nothing else: a result stays with its task.
        await asyncio.gather(work, gone, return_exceptions=True)


async def while_connected(request: Any, call: Awaitable[T]) -> T:
    """Awaits a call for as long as the client of a web service is connected, and cancels it when the client goes away.

    >>> response = await while_connected(request, acompletion(model, messages))  # doctest: +SKIP

    The request on the provider's side is aborted as well. Otherwise a service goes on paying for an answer that nobody reads:
    ASGI servers do not cancel a handler when its client disconnects.

    Args:
        request: the `Request` of Starlette, FastAPI or Litestar, or ASGI's ``receive``. Its body is read first, if it was not yet.
        call: an awaitable, such as `acompletion` returns.

    Raises:
        ClientDisconnectedError: the client went away. `http_error` gives it the status 499.
    """
    receive = getattr(request, "receive", request)
    if not callable(receive) or not inspect.isawaitable(call):
        if inspect.isawaitable(call):
            _drop(call)
        name, value, right = ("request", request, "the framework's request, or ASGI's receive,")
        if callable(receive):
            name, value, right = ("call", call, "an awaitable")
        raise InvalidArgumentError(f"{name} is of type {type(value).__name__}: {right} would be right")
    try:
        is_connected = await _read_body(request)
    except BaseException:
        _drop(call)
        raise
    if is_connected:
        work = asyncio.ensure_future(call)
        if await _until_disconnect(work, receive):
            return work.result()
    else:
        _drop(call)
    raise ClientDisconnectedError("the client disconnected before the answer was there; the call was cancelled")


async def _read_body(request: Any) -> bool:
    """Reads the body of a request, if it was not yet. Returns false if the client went away before its end."""
    if callable(read := getattr(request, "body", None)):
        try:
            await read()
        except RuntimeError:
            # Starlette raises it for a body that was read as a stream or a form.
            pass
        except Exception as error:
            if type(error).__name__ != "ClientDisconnect":
                raise
            return False
    return True


def _drop(call: Any) -> None:
    """Ends an awaitable that nobody awaits: a coroutine that has not begun, or a task."""
    if end := getattr(call, "cancel", None) or getattr(call, "close", None):
        end()


# Ends of lines to `str.splitlines`, by which clients in Python cut streams, and to no standard of these formats.
_SEPARATORS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))


def _line(value: Any) -> bytes:
    """Returns a value as JSON that no client takes for several lines. Separators stand only in texts, where JSON can escape them."""
    line = _json(value)
    for separator, escaped in _SEPARATORS:
        if separator in line:
            line = line.replace(separator, escaped)
    return line


class _Encoding(Protocol):
    """The way in which items are written."""

    media_type: str
    idle: bytes

    def item(self, item: Any) -> bytes: ...
    def error(self, body: dict[str, Any], as_events: bool, number: int) -> bytes: ...
    def end(self, as_events: bool) -> bytes: ...


class _Sse:
    media_type = "text/event-stream"
    idle = b": keep-alive\n\n"

    def __init__(self, done: bool | None) -> None:
        self.done = done

    def item(self, item: Any) -> bytes:
        value = _plain(item)
        kind = value.get("type") if isinstance(item, ResponseEvent) or value is not item else None
        head = f"event: {kind}\n".encode() if kind and isinstance(kind, str) and "\n" not in kind else b""
        return head + b"data: " + _line(value) + b"\n\n"

    def error(self, body: dict[str, Any], as_events: bool, number: int) -> bytes:
        if as_events:
            error = body["error"]
            names = ("code", "message", "param")
            body = {"type": "error", **{name: error[name] for name in names}, "sequence_number": number}
        return b"event: error\ndata: " + _line(body) + b"\n\n"

    def end(self, as_events: bool) -> bytes:
        is_wanted = not as_events if self.done is None else self.done
        return b"data: [DONE]\n\n" if is_wanted else b""


class _Ndjson:
    media_type = "application/x-ndjson"
    idle = b"\n"

    def item(self, item: Any) -> bytes:
        return _line(_plain(item)) + b"\n"

    def error(self, body: dict[str, Any], as_events: bool, number: int) -> bytes:
        return _line(body) + b"\n"

    def end(self, as_events: bool) -> bytes:
        return b""


def _plain(item: Any) -> Any:
    """Returns an item as what JSON has: itself, or a new dict of a dataclass, such as the events of `run_tools`."""
    fields = getattr(type(item), "__dataclass_fields__", None)
    if fields is None:
        return item
    is_ours = type(item).__module__ == "ritellm._tool_runs"
    # What a function of the service returned or raised is its own; the model's side of it is `content`.
    names = [name for name in fields if not (is_ours and name in ("value", "error"))]
    value = {name: getattr(item, name) for name in ("type", *names)} if is_ours else dict(vars(item))
    if is_ours and "error" in fields:
        value["is_error"] = item.error is not None
    return value


class _Gone(Exception):
    """The client went away."""


_IDLE, _END = object(), object()


class EventStream(_Base):
    """A stream as the body of a web service's response; `sse` and `ndjson` make it.

    It is an ASGI application, and where Starlette or FastAPI is imported it is a Starlette ``StreamingResponse``, which a
    handler returns. For other frameworks it is an iterator of ``bytes``, sync and async, with `close` and `aclose`.

    Attributes:
        media_type: the value of ``content-type``.
        headers: the header fields of the response, a mapping.
    """

    def __init__(self, stream: Any, encoding: _Encoding, headers: dict[str, str] | None, keep_alive: Any) -> None:
        if not _is_source(stream):
            raise InvalidArgumentError(
                f"stream is of type {type(stream).__name__}: what a call with stream=True returns, an iterator, or an awaitable "
                "of these would be right"
            )
        if keep_alive is not None and not (isinstance(keep_alive, int | float) and keep_alive > 0):
            raise InvalidArgumentError(f"keep_alive is {keep_alive!r}: a number of seconds above 0 would be right")
        self._source = stream
        self._encoding = encoding
        self._pause = keep_alive
        self._as_events = False
        self._count = 0
        # Caches would keep the response, and nginx would hold its pieces back.
        given = {"cache-control": "no-cache", "x-accel-buffering": "no", **(headers or {})}
        self._init_response(given, encoding.media_type)

    def _init_response(self, headers: dict[str, str], media_type: str) -> None:
        self.status_code = 200
        self.background = None
        self.media_type = media_type
        fields = {"content-type": media_type, **{name.lower(): value for name, value in headers.items()}}
        self.headers: Any = fields
        self.raw_headers = _raw(fields)

    def _of(self, item: Any) -> bytes:
        self._as_events |= isinstance(item, ResponseEvent)
        self._count += 1
        return self._encoding.item(item)

    def _of_error(self, error: BaseException) -> bytes:
        if isinstance(error, RiteLLMError):
            _logger.warning("a stream ended with %s: %s", type(error).__name__, error)
        return self._encoding.error(http_error(error).body, self._as_events, self._count)

    def __iter__(self) -> Iterator[bytes]:
        if inspect.isawaitable(self._source) or not hasattr(self._source, "__iter__"):
            raise InvalidArgumentError("this stream is async: `async for`, or an ASGI server, would be right")
        try:
            for item in self._source:
                yield self._of(item)
        except Exception as error:
            yield self._of_error(error)
            if not isinstance(error, RiteLLMError):
                raise
        else:
            if end := self._encoding.end(self._as_events):
                yield end
        finally:
            self.close()

    def close(self) -> None:
        """Closes the stream; an unfinished request is aborted. WSGI servers call it when the client goes away."""
        if callable(close := getattr(self._source, "close", None)):
            # A generator that another thread runs cannot be closed: it is when that thread is done with it.
            with contextlib.suppress(ValueError):
                close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with contextlib.aclosing(self._pieces()) as pieces:
            try:
                async for piece in pieces:
                    yield piece
            except Exception as error:
                yield self._of_error(error)
                if not isinstance(error, RiteLLMError):
                    raise

    async def aclose(self) -> None:
        """Closes the stream; an unfinished request is aborted."""
        source = self._source
        if callable(close := getattr(source, "aclose", None)):
            # A generator that runs is closed by the task that runs it.
            with contextlib.suppress(RuntimeError):
                await close()
        elif inspect.iscoroutine(source):
            if inspect.getcoroutinestate(source) == inspect.CORO_CREATED:
                source.close()
        elif callable(close := getattr(source, "close", None)):
            # Streams of other packages have an async one of this name.
            with contextlib.suppress(ValueError):
                closed = close()
                if inspect.isawaitable(closed):
                    await closed

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        """Yields the pieces of the body."""
        try:
            # Each is closed, and not only left: a generator that is left runs on until the loop finds it.
            async with (
                contextlib.aclosing(self._items()) as items,
                contextlib.aclosing(_paced(items, self._pause)) as paced,
            ):
                async for item in paced:
                    yield self._encoding.idle if item is _IDLE else self._of(item)
            if end := self._encoding.end(self._as_events):
                yield end
        finally:
            await self.aclose()

    async def _items(self) -> AsyncGenerator[Any, None]:
        if inspect.isawaitable(self._source):
            self._source = await self._source
            if not _is_source(self._source):
                kind = type(self._source).__name__
                raise TypeError(f"the call returned a {kind} and no stream: stream=True would be right")
        source = self._source
        if isinstance(source, list | tuple):
            for item in source:
                yield item
        elif hasattr(source, "__aiter__") and getattr(source, "_is_async", True):
            iterator = aiter(source)
            try:
                async for item in iterator:
                    yield item
            finally:
                if close := getattr(iterator, "aclose", None):
                    await close()
        else:
            blocking = iter(source)
            while (item := await asyncio.to_thread(next, blocking, _END)) is not _END:
                yield item

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        work = asyncio.ensure_future(self._respond(scope, send))
        try:
            is_done = await _until_disconnect(work, receive)
        finally:
            await self.aclose()
        if is_done:
            # Servers may also tell by an error of `send` that the client is gone.
            with contextlib.suppress(_Gone):
                work.result()
        if self.background is not None:
            await self.background()

    async def _respond(self, scope: Any, send: Any) -> None:
        is_started = False

        async def tell(message: dict[str, Any]) -> None:
            try:
                await send(message)
            except OSError as error:
                raise _Gone from error

        try:
            async with contextlib.aclosing(self._pieces()) as pieces:
                async for piece in pieces:
                    if not is_started:
                        await self._start(tell)
                        is_started = True
                    await tell({"type": "http.response.body", "body": piece, "more_body": True})
        except _Gone:
            raise
        except Exception as error:
            is_ours = isinstance(error, RiteLLMError)
            if is_started:
                await tell({"type": "http.response.body", "body": self._of_error(error), "more_body": is_ours})
            if not is_ours or (not is_started and _has_handler(scope, error)):
                raise
            if not is_started:
                return await _reply(http_error(error), tell)
        else:
            if not is_started:
                await self._start(tell)
        await tell({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self, tell: Any) -> None:
        await tell({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})


def _is_source(value: Any) -> bool:
    if isinstance(value, dict | str | bytes):
        return False
    return inspect.isawaitable(value) or hasattr(value, "__aiter__") or hasattr(value, "__iter__")


async def _paced(items: AsyncIterator[Any], pause: float | None) -> AsyncGenerator[Any, None]:
    """Yields the items, and `_IDLE` after each pause without one."""
    if pause is None:
        async for item in items:
            yield item
        return
    while True:
        waiting = asyncio.ensure_future(_next(items))
        try:
            while not (await asyncio.wait((waiting,), timeout=pause))[0]:
                yield _IDLE
        finally:
            if not waiting.done():
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
        item = waiting.result()
        if item is _END:
            return
        yield item


async def _next(items: AsyncIterator[Any]) -> Any:
    # A `StopAsyncIteration` is no result of a task.
    try:
        return await anext(items)
    except StopAsyncIteration:
        return _END


async def _reply(reply: ErrorReply, send: Any) -> None:
    body = _json(reply.body)
    fields = {"content-type": "application/json", "content-length": str(len(body)), **reply.headers}
    await send({"type": "http.response.start", "status": reply.status, "headers": _raw(fields)})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _raw(fields: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]


def _has_handler(scope: Any, error: BaseException) -> bool:
    """True if the service has registered a handler for this error at Starlette or FastAPI."""
    handlers: Any = (scope.get("starlette.exception_handlers") or ({},))[0]
    return any(kind in handlers for kind in type(error).__mro__ if issubclass(kind, RiteLLMError))


_made_classes: dict[Any, type[EventStream]] = {}


def _starlette_class(base: Any) -> type[EventStream]:
    if made := _made_classes.get(base):
        return made

    def init_response(self: Any, headers: dict[str, str], media_type: str) -> None:
        base.__init__(self, self, headers=headers, media_type=media_type)

    members = {"_init_response": init_response, "__module__": __name__}
    return _made_classes.setdefault(base, type(EventStream.__name__, (EventStream, base), members))


def _made(stream: Any, encoding: _Encoding, headers: dict[str, str] | None, keep_alive: float | None) -> EventStream:
    starlette = sys.modules.get("starlette.responses")
    kind = EventStream if starlette is None else _starlette_class(starlette.StreamingResponse)
    return kind(stream, encoding, headers, keep_alive)


def sse(
    stream: Any,
    *,
    headers: dict[str, str] | None = None,
    done: bool | None = None,
    keep_alive: float | None = None,
) -> EventStream:
    """Makes the response of a web service that streams an answer as server-sent events, as OpenAI's API does.

    >>> import ritellm
    >>> stream = ritellm.Stream.from_chunks([{"choices": [{"index": 0, "delta": {"content": "Hi"}}]}])
    >>> print(b"".join(ritellm.sse(stream)).decode(), end="")
    data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}
    <BLANKLINE>
    data: [DONE]
    <BLANKLINE>

    A handler of FastAPI or Starlette returns it: ``return ritellm.sse(acompletion(model, messages, stream=True))``. Given the
    awaitable, and not the stream, it also notices that the client goes away before the answer begins. When the client goes away,
    the request on the provider's side is aborted. An error before the first chunk becomes a response with the status of
    `http_error` (or what the service's own exception handler for it makes), an error after that an event ``error``.

    Args:
        stream: a `Stream`, what `Client.run_tools` returns with ``stream=True``, any iterator or async iterator of values that
            JSON has (a generator that picks the texts out of a stream, for example), or an awaitable of one of these.
        headers: header fields of the response, besides ``cache-control: no-cache`` and ``x-accel-buffering: no``.
        done: send ``data: [DONE]`` at the end; by default, unless the stream is one of the Responses API.
        keep_alive: seconds without a chunk after which a comment is sent, so that proxies do not close the connection; never by
            default. Before the first chunk it begins the response, with the status 200.

    Raises:
        InvalidArgumentError: an argument that cannot be used.
    """
    return _made(stream, _Sse(done), headers, keep_alive)


def ndjson(stream: Any, *, headers: dict[str, str] | None = None, keep_alive: float | None = None) -> EventStream:
    """Makes the response of a web service that streams an answer as lines of JSON; see `sse`.

    An error after the first line is a line ``{"error": …}``. To keep the connection alive, empty lines are sent.
    """
    return _made(stream, _Ndjson(), headers, keep_alive)
