"""Files and batches, which belong to an account at a provider and not to a model.

>>> import ritellm
>>> rows = [{"custom_id": "1", "body": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}}]
>>> batch = ritellm.batches.create("openai", requests=rows)  # doctest: +SKIP
>>> batch = ritellm.batches.wait("openai", batch.id)  # doctest: +SKIP
>>> for line in ritellm.batches.results("openai", batch):  # doctest: +SKIP
...     print(line.custom_id, line.response.body.choices[0].message.content)

Every method also accepts the parameters of all calls (``api_key``, ``base_url``, ``timeout``, ``max_retries``,
``extra_headers`` …: see `ritellm.completion`) and raises the errors of `ritellm.exceptions`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from ritellm import _core
from ritellm.client import Client, _answer, _coroutine_function
from ritellm.exceptions import InvalidArgumentError, Timeout
from ritellm.types import Batch, BatchPage, BinaryResponse, FileDeleted, FileObject, FilePage, Object

__all__ = ["Batches", "Files", "Pages"]

#: The states in which a batch has ended.
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
#: Options of a batch that are not passed to the upload of its file.
OF_THE_BATCH = frozenset({"metadata", "output_expires_after", "extra_body", "additional_params", "display_name"})

_Item = TypeVar("_Item")
_Page = TypeVar("_Page", FilePage, BatchPage)


class Pages(Generic[_Page, _Item]):
    """A list that is fetched page by page: iterate over its items with ``for`` or ``async for``.

    A page is fetched when its first item is needed. Each loop begins with the first page.
    """

    def __init__(self, client: Client, operation: str, provider: str, options: dict[str, Any]) -> None:
        self._client = client
        self._operation = operation
        self._provider = provider
        self._options = _core.conceal(options)

    def page(self, after: str | None = None) -> _Page:
        """Returns one page.

        Args:
            after: the id of the last item before the page; by default, the first page is returned.
        """
        after = self._first() if after is None else after
        page: _Page = self._client.call(self._operation, self._provider, after, self._given())
        return page

    async def apage(self, after: str | None = None) -> _Page:
        """Returns one page without blocking the event loop; the argument is that of `page`."""
        after = self._first() if after is None else after
        page: _Page = await self._client.start(self._operation, self._provider, after, _core.conceal(self._given()))
        return page

    def __iter__(self) -> Iterator[_Item]:
        page = self.page()
        yield from page.data  # type: ignore[misc]
        while after := _next(page):
            page = self.page(after)
            if _next(page) == after:
                return
            yield from page.data  # type: ignore[misc]

    async def __aiter__(self) -> AsyncIterator[_Item]:
        page = await self.apage()
        for item in page.data:
            yield item  # type: ignore[misc]
        while after := _next(page):
            page = await self.apage(after)
            if _next(page) == after:
                return
            for item in page.data:
                yield item  # type: ignore[misc]

    @staticmethod
    def next_of(page: Any) -> str | None:
        """Returns the id after which the next page begins, or ``None`` on the last page."""
        return _next(page)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._operation} at {self._provider}>"

    def _first(self) -> Any:
        return self._options.reveal().get("after")

    def _given(self) -> dict[str, Any]:
        return {name: value for name, value in self._options.reveal().items() if name != "after"}


def _next(page: FilePage | BatchPage) -> str | None:
    """Returns the id after which the next page begins, or ``None`` on the last page."""
    if not page.get("has_more") or not page.data:
        return None
    last = page.get("last_id") or page.data[-1].get("id")
    return str(last) if last else None


class Files:
    """Methods for files that are stored at a provider.

    `create`, `retrieve`, `content` and `delete` have async versions whose names begin with ``a``; the result of `list` is
    iterated with ``for`` or ``async for``.

    >>> import ritellm
    >>> file = ritellm.files.create("openai", "rows.jsonl", purpose="batch")  # doctest: +SKIP
    >>> ritellm.files.content("openai", file.id)  # doctest: +SKIP
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, provider: str, file: Any, *, purpose: str, **options: Any) -> FileObject:
        """Uploads a file.

        Args:
            provider: the provider's name, such as ``"openai"``.
            file: a path, which is read piece by piece while it is sent; bytes; a file object opened in binary mode; or a
                tuple ``(name, one of these)`` or ``(name, one of these, media type)``.
            purpose: the intended use: ``"batch"``, ``"user_data"``, ``"fine-tune"`` …
            **options: other parameters of the provider, and those that every call accepts.

        Returns:
            `FileObject`: its ``id`` names the file in other calls.
        """
        try:
            options["purpose"] = purpose
            made: FileObject = self._client.call("file_create", provider, file, options)
            return made
        finally:
            del options

    @_coroutine_function
    def acreate(self, provider: str, file: Any, *, purpose: str, **options: Any) -> Any:
        """Uploads a file without blocking the event loop; arguments and result are those of `create`."""
        try:
            options["purpose"] = purpose
            return _answer(self._client, "file_create", provider, file, _core.conceal(options))
        finally:
            del options

    def list(self, provider: str, **options: Any) -> Pages[FilePage, FileObject]:
        """Lists all files, page by page: ``for file in files.list("openai")``, or ``async for``.

        Args:
            provider: the provider's name, such as ``"openai"``.
            **options: ``purpose``, ``limit`` (items per page), ``order`` and ``after``, and those that every call accepts.
        """
        return Pages(self._client, "file_list", provider, options)

    def retrieve(self, provider: str, file_id: str, **options: Any) -> FileObject:
        """Returns the metadata of a file.

        Args:
            provider: the provider's name, such as ``"openai"``.
            file_id: the ``id`` of the file.
        """
        try:
            file: FileObject = self._client.call("file_retrieve", provider, file_id, options)
            return file
        finally:
            del options

    @_coroutine_function
    def aretrieve(self, provider: str, file_id: str, **options: Any) -> Any:
        """Returns the metadata of a file without blocking the event loop; arguments and result are those of `retrieve`."""
        try:
            return _answer(self._client, "file_retrieve", provider, file_id, _core.conceal(options))
        finally:
            del options

    def content(self, provider: str, file_id: str, **options: Any) -> Any:
        """Returns the content of a file.

        Args:
            provider: the provider's name, such as ``"openai"``.
            file_id: the ``id`` of the file.
            stream: return a `Stream` of ``bytes`` that yields the content as it arrives.

        Returns:
            `BinaryResponse`, a subclass of ``bytes``, or `Stream` with ``stream=True``.
        """
        try:
            content: BinaryResponse = self._client.call("file_content", provider, file_id, options)
            return content
        finally:
            del options

    @_coroutine_function
    def acontent(self, provider: str, file_id: str, **options: Any) -> Any:
        """Returns the content of a file without blocking the event loop; arguments and result are those of `content`."""
        try:
            return _answer(self._client, "file_content", provider, file_id, _core.conceal(options))
        finally:
            del options

    def delete(self, provider: str, file_id: str, **options: Any) -> FileDeleted:
        """Deletes a file; ``deleted`` of the result is true.

        Args:
            provider: the provider's name, such as ``"openai"``.
            file_id: the ``id`` of the file.
        """
        try:
            deleted: FileDeleted = self._client.call("file_delete", provider, file_id, options)
            return deleted
        finally:
            del options

    @_coroutine_function
    def adelete(self, provider: str, file_id: str, **options: Any) -> Any:
        """Deletes a file without blocking the event loop; arguments and result are those of `delete`."""
        try:
            return _answer(self._client, "file_delete", provider, file_id, _core.conceal(options))
        finally:
            del options


class Batches:
    """Methods for batches: many calls that a provider processes within a day, at a lower price.

    OpenAI, Azure and Groq read the rows of a batch from an uploaded file; Anthropic and Gemini get them in the request that
    creates the batch. In both cases you pass the same ``requests``, in OpenAI's format, and get the same states and
    results. `create`, `retrieve` and `cancel` have async versions whose names begin with ``a``; that of `wait` is
    `await_`. `aresults` is an async iterator, and the result of `list` is iterated with ``for`` or ``async for``.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(
        self,
        provider: str,
        *,
        requests: Iterable[Mapping[str, Any]] | None = None,
        input_file_id: str | None = None,
        endpoint: str = "/v1/chat/completions",
        completion_window: str = "24h",
        **options: Any,
    ) -> Batch:
        """Starts a batch.

        Args:
            provider: the provider's name, such as ``"openai"``.
            requests: the rows, each ``{"custom_id": "…", "body": {"model": "…", "messages": […], …}}``. They are uploaded
                as a file first if the provider requires one.
            input_file_id: the ``id`` of an uploaded file with such rows, instead of ``requests``.
            endpoint: the path that the rows call, for providers that read them from a file.
            completion_window: the time within which the batch is processed; OpenAI accepts ``"24h"``.
            **options: ``metadata``, other parameters of the provider, and those that every call accepts.

        Returns:
            `Batch`: its ``id`` is the argument of the other methods.

        Raises:
            InvalidArgumentError: no rows, both ``requests`` and ``input_file_id``, or a row that cannot be used.
        """
        try:
            if requests is not None and _has_files(named := self._provider(provider), input_file_id):
                content = ("requests.jsonl", _lines(named, endpoint, requests))
                shared = {name: value for name, value in options.items() if name not in OF_THE_BATCH}
                input_file_id = self._client.files.create(provider, content, purpose="batch", **shared).id
                del shared
            given = _given(options, input_file_id, endpoint, completion_window)
            rows = None if input_file_id else _rows(requests)
            batch: Batch = self._client.call("batch_create", provider, rows, given)
            return batch
        finally:
            del options

    def _provider(self, name: str) -> str:
        """Returns the provider that a name means: for a router it is that of a group."""
        models = [state["model"] for state in self._client.router_status().values() if state["group"] == name]
        return models[0] if models else name

    @_coroutine_function
    def acreate(
        self,
        provider: str,
        *,
        requests: Iterable[Mapping[str, Any]] | None = None,
        input_file_id: str | None = None,
        endpoint: str = "/v1/chat/completions",
        completion_window: str = "24h",
        **options: Any,
    ) -> Any:
        """Starts a batch without blocking the event loop; arguments and result are those of `create`."""
        try:
            about = (requests, input_file_id, endpoint, completion_window)
            return self._create(provider, *about, _core.conceal(options))
        finally:
            del options

    async def _create(
        self,
        provider: str,
        requests: Iterable[Mapping[str, Any]] | None,
        input_file_id: str | None,
        endpoint: str,
        completion_window: str,
        arguments: _core.Arguments,
    ) -> Batch:
        options = arguments.reveal()
        try:
            if requests is not None and _has_files(named := self._provider(provider), input_file_id):
                content = ("requests.jsonl", _lines(named, endpoint, requests))
                shared = {name: value for name, value in options.items() if name not in OF_THE_BATCH}
                input_file_id = (await self._client.files.acreate(provider, content, purpose="batch", **shared)).id
                shared.clear()
            given = _given(options, input_file_id, endpoint, completion_window)
            rows = None if input_file_id else _rows(requests)
            batch: Batch = await self._client.start("batch_create", provider, rows, _core.conceal(given))
            return batch
        finally:
            del options

    def list(self, provider: str, **options: Any) -> Pages[BatchPage, Batch]:
        """Lists all batches, page by page: ``for batch in batches.list("openai")``, or ``async for``.

        Args:
            provider: the provider's name, such as ``"openai"``.
            **options: ``limit`` (items per page) and ``after``, and those that every call accepts.
        """
        return Pages(self._client, "batch_list", provider, options)

    def retrieve(self, provider: str, batch_id: str, **options: Any) -> Batch:
        """Returns the state of a batch.

        Args:
            provider: the provider's name, such as ``"openai"``.
            batch_id: the ``id`` of the batch.
        """
        try:
            batch: Batch = self._client.call("batch_retrieve", provider, batch_id, options)
            return batch
        finally:
            del options

    @_coroutine_function
    def aretrieve(self, provider: str, batch_id: str, **options: Any) -> Any:
        """Returns the state of a batch without blocking the event loop; arguments and result are those of `retrieve`."""
        try:
            return _answer(self._client, "batch_retrieve", provider, batch_id, _core.conceal(options))
        finally:
            del options

    def cancel(self, provider: str, batch_id: str, **options: Any) -> Batch:
        """Cancels a batch; rows that are being processed may still get a response.

        Args:
            provider: the provider's name, such as ``"openai"``.
            batch_id: the ``id`` of the batch.
        """
        try:
            batch: Batch = self._client.call("batch_cancel", provider, batch_id, options)
            return batch
        finally:
            del options

    @_coroutine_function
    def acancel(self, provider: str, batch_id: str, **options: Any) -> Any:
        """Cancels a batch without blocking the event loop; arguments and result are those of `cancel`."""
        try:
            return _answer(self._client, "batch_cancel", provider, batch_id, _core.conceal(options))
        finally:
            del options

    def wait(
        self, provider: str, batch_id: str, *, poll: float = 60.0, max_wait: float | None = None, **options: Any
    ) -> Batch:
        """Polls the state of a batch until it has ended, and returns its last state.

        Args:
            provider: the provider's name, such as ``"openai"``.
            batch_id: the ``id`` of the batch.
            poll: the longest pause between two polls in seconds; pauses grow from one second up to it.
            max_wait: total seconds to wait; no limit by default.

        Raises:
            Timeout: the batch did not end within ``max_wait``. It is not cancelled.
        """
        try:
            end = None if max_wait is None else time.monotonic() + max_wait
            for pause in _pauses(poll):
                batch = self.retrieve(provider, batch_id, **options)
                if batch.status in ENDED:
                    break
                time.sleep(_until(pause, end, time.monotonic(), batch))
            return batch
        finally:
            del options

    @_coroutine_function
    def await_(
        self, provider: str, batch_id: str, *, poll: float = 60.0, max_wait: float | None = None, **options: Any
    ) -> Any:
        """Waits for a batch as `wait` does, without blocking the event loop.

        The name ends in an underscore because ``await`` is a Python keyword.
        """
        try:
            return self._await(provider, batch_id, poll, max_wait, _core.conceal(options))
        finally:
            del options

    async def _await(
        self, provider: str, batch_id: str, poll: float, max_wait: float | None, arguments: _core.Arguments
    ) -> Batch:
        end = None if max_wait is None else time.monotonic() + max_wait
        for pause in _pauses(poll):
            batch: Batch = await self.aretrieve(provider, batch_id, **arguments.reveal())
            if batch.status in ENDED:
                break
            await asyncio.sleep(_until(pause, end, time.monotonic(), batch))
        return batch

    def results(self, provider: str, batch: str | Batch, **options: Any) -> Iterator[Object]:
        """Yields the result of each row, in any order, with ``custom_id`` and either ``response`` or ``error``.

        Args:
            provider: the provider's name, such as ``"openai"``.
            batch: the batch, or its id.

        Raises:
            InvalidArgumentError: the batch has not ended.
        """
        try:
            return self._results(provider, batch, _core.conceal(options))
        finally:
            del options

    def _results(self, provider: str, batch: str | Batch, arguments: _core.Arguments) -> Iterator[Object]:
        state = self.retrieve(provider, batch, **arguments.reveal()) if isinstance(batch, str) else batch
        for file_id in _files_of(state):
            yield from self._client.call("batch_results", provider, file_id, {**arguments.reveal(), "stream": True})

    def aresults(self, provider: str, batch: str | Batch, **options: Any) -> AsyncIterator[Object]:
        """Yields the result of each row without blocking the event loop; arguments and errors are those of `results`."""
        try:
            return self._aresults(provider, batch, _core.conceal(options))
        finally:
            del options

    async def _aresults(self, provider: str, batch: str | Batch, arguments: _core.Arguments) -> AsyncIterator[Object]:
        state = await self.aretrieve(provider, batch, **arguments.reveal()) if isinstance(batch, str) else batch
        for file_id in _files_of(state):
            given = _core.conceal({**arguments.reveal(), "stream": True})
            async for line in await self._client.start("batch_results", provider, file_id, given):
                yield line


def _has_files(provider: str, input_file_id: str | None) -> bool:
    """Returns True if the provider reads the rows of a batch from an uploaded file, in OpenAI's format.

    Raises:
        InvalidArgumentError: there is an ``input_file_id`` beside the rows.
    """
    if input_file_id is not None:
        raise InvalidArgumentError("requests and input_file_id are two ways to say the same: give one")
    name = str(provider).partition("/")[0]
    # Rows in Gemini's files have a format of their own; its files are not read back.
    return any(row["name"] == name and "file_content" in row["operations"] for row in _core.providers())


def _rows(requests: Iterable[Mapping[str, Any]] | None) -> Any:
    if requests is None:
        raise InvalidArgumentError("requests is None: a list of rows would be right, or input_file_id=")
    return requests if isinstance(requests, (list, tuple, str, Mapping)) else [*requests]


def _lines(provider: str, endpoint: str, requests: Iterable[Mapping[str, Any]]) -> bytes:
    """Returns the content of a batch's file, with one JSON object per line.

    Raises:
        InvalidArgumentError: there are no rows, a row is malformed, or two rows have the same ``custom_id``.
    """
    lines = []
    known = set()
    prefix = f"{provider.partition('/')[0]}/"
    for index, row in enumerate(_rows(requests)):
        if not isinstance(row, Mapping) or not isinstance(row.get("body"), Mapping) or not row.get("custom_id"):
            right = '{"custom_id": "1", "body": {"model": …, "messages": […]}}'
            raise InvalidArgumentError(f"requests[{index}] is no row: a dict such as {right} would be right")
        if row["custom_id"] in known:
            raise InvalidArgumentError(f"requests[{index}] has the custom_id {row['custom_id']!r} of an earlier row")
        known.add(row["custom_id"])
        body = dict(row["body"])
        if isinstance(body.get("model"), str):
            body["model"] = body["model"].removeprefix(prefix)
        lines.append(_core.to_json({"method": "POST", "url": endpoint, **row, "body": body}))
    if not lines:
        raise InvalidArgumentError("requests is empty: a list of rows would be right")
    return b"\n".join(lines) + b"\n"


def _given(options: dict[str, Any], input_file_id: str | None, endpoint: str, completion_window: str) -> dict[str, Any]:
    if input_file_id is None:
        return dict(options)
    names = {"input_file_id": input_file_id, "endpoint": endpoint, "completion_window": completion_window}
    return {**options, **names}


def _files_of(batch: Batch) -> list[str]:
    if batch.status not in ENDED and not batch.get("output_file_id"):
        raise InvalidArgumentError(f"the batch {batch.id!r} is {batch.status!r}: it has results when it has ended")
    names = ("output_file_id", "error_file_id")
    return [file_id for file_id in map(batch.get, names) if file_id]


def _pauses(longest: float) -> Iterator[float]:
    """Yields pauses in seconds that grow from 1 up to ``longest``."""
    pause = min(1.0, longest)
    while True:
        yield pause
        pause = min(pause * 1.5, longest)


def _until(pause: float, end: float | None, now: float, batch: Batch) -> float:
    """Returns the pause, cut at ``end``.

    Raises:
        Timeout: ``end`` has passed.
    """
    if end is None:
        return pause
    if now >= end:
        raise Timeout(f"the batch {batch.id!r} was still {batch.status!r} when max_wait was over")
    return min(pause, end - now)
