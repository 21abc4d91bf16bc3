"""Files and batches: what belongs to an account at a provider, and not to a model.

>>> import ritellm
>>> rows = [{"custom_id": "1", "body": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}}]
>>> batch = ritellm.batches.create("openai", requests=rows)  # doctest: +SKIP
>>> batch = ritellm.batches.wait("openai", batch.id)  # doctest: +SKIP
>>> for line in ritellm.batches.results("openai", batch):  # doctest: +SKIP
...     print(line.custom_id, line.response.body.choices[0].message.content)

Every method takes what every call takes beside its own arguments (``api_key``, ``base_url``, ``timeout``, ``max_retries``,
``extra_headers`` …: see `ritellm.completion`), and raises what every call raises.
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

#: What a batch is when nothing more comes of it.
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
#: What is said of a batch, and not of the file that its rows are uploaded in.
OF_THE_BATCH = frozenset({"metadata", "output_expires_after", "extra_body", "additional_params", "display_name"})

_Item = TypeVar("_Item")
_Page = TypeVar("_Page", FilePage, BatchPage)


class Pages(Generic[_Page, _Item]):
    """The items of a list that comes in pages: iterate over it with ``for`` or ``async for``.

    A page is fetched when its first item is wanted. Each loop begins with the first page.
    """

    def __init__(self, client: Client, operation: str, provider: str, options: dict[str, Any]) -> None:
        self._client = client
        self._operation = operation
        self._provider = provider
        self._options = _core.conceal(options)

    def page(self, after: str | None = None) -> _Page:
        """One page: the first, or the one that follows the item of this id."""
        after = self._first() if after is None else after
        page: _Page = self._client.call(self._operation, self._provider, after, self._given())
        return page

    async def apage(self, after: str | None = None) -> _Page:
        """One page, without blocking the event loop."""
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

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._operation} at {self._provider}>"

    def _first(self) -> Any:
        return self._options.reveal().get("after")

    def _given(self) -> dict[str, Any]:
        return {name: value for name, value in self._options.reveal().items() if name != "after"}


def _next(page: FilePage | BatchPage) -> str | None:
    """What the next page follows; ``None``: there is none."""
    if not page.get("has_more") or not page.data:
        return None
    last = page.get("last_id") or page.data[-1].get("id")
    return str(last) if last else None


class Files:
    """Files that lie with a provider. Each method has an async twin whose name begins with ``a``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, provider: str, file: Any, *, purpose: str, **options: Any) -> FileObject:
        """Uploads a file.

        Args:
            provider: such as ``"openai"``.
            file: a path, which is read piece by piece as it is sent; bytes; a file object opened in binary mode; or a tuple
                ``(name, one of these)`` or ``(name, one of these, media type)``.
            purpose: what it is for: ``"batch"``, ``"user_data"``, ``"fine-tune"`` …
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
        """All files, page by page: ``for file in files.list("openai")``, or ``async for``.

        Args:
            provider: such as ``"openai"``.
            **options: ``purpose``, ``limit`` (items a page), ``order`` and ``after``, and what every call takes.
        """
        return Pages(self._client, "file_list", provider, options)

    def retrieve(self, provider: str, file_id: str, **options: Any) -> FileObject:
        """What is known of a file."""
        try:
            file: FileObject = self._client.call("file_retrieve", provider, file_id, options)
            return file
        finally:
            del options

    @_coroutine_function
    def aretrieve(self, provider: str, file_id: str, **options: Any) -> Any:
        """What is known of a file, without blocking the event loop."""
        try:
            return _answer(self._client, "file_retrieve", provider, file_id, _core.conceal(options))
        finally:
            del options

    def content(self, provider: str, file_id: str, **options: Any) -> Any:
        """A file's bytes: `BinaryResponse`, or with ``stream=True`` a `Stream` of ``bytes`` as they come."""
        try:
            content: BinaryResponse = self._client.call("file_content", provider, file_id, options)
            return content
        finally:
            del options

    @_coroutine_function
    def acontent(self, provider: str, file_id: str, **options: Any) -> Any:
        """A file's bytes, without blocking the event loop."""
        try:
            return _answer(self._client, "file_content", provider, file_id, _core.conceal(options))
        finally:
            del options

    def delete(self, provider: str, file_id: str, **options: Any) -> FileDeleted:
        """Deletes a file; the result has ``deleted``."""
        try:
            deleted: FileDeleted = self._client.call("file_delete", provider, file_id, options)
            return deleted
        finally:
            del options

    @_coroutine_function
    def adelete(self, provider: str, file_id: str, **options: Any) -> Any:
        """Deletes a file, without blocking the event loop."""
        try:
            return _answer(self._client, "file_delete", provider, file_id, _core.conceal(options))
        finally:
            del options


class Batches:
    """Batches of calls that a provider makes within a day, at a lower price.

    OpenAI's, Azure's and Groq's rows lie in a file; Anthropic's and Gemini's in the batch itself. Both are made of the same
    ``requests``, in OpenAI's format, and both have the same states and results. Each method but `results` has an async twin
    whose name begins with ``a``; `aresults` is an async iterator.
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
            provider: such as ``"openai"``.
            requests: the rows, each ``{"custom_id": "…", "body": {"model": "…", "messages": […], …}}``; uploaded first, where
                the provider wants a file.
            input_file_id: a file of such rows that was uploaded before, instead.
            endpoint: what the rows ask for, where they lie in a file.
            completion_window: how long it may take; OpenAI knows ``"24h"``.
            **options: ``metadata`` and whatever else the provider takes, and what every call takes.
        """
        try:
            if requests is not None and _has_files(provider, input_file_id):
                content = ("requests.jsonl", _lines(provider, endpoint, requests))
                shared = {name: value for name, value in options.items() if name not in OF_THE_BATCH}
                input_file_id = self._client.files.create(provider, content, purpose="batch", **shared).id
                del shared
            given = _given(options, input_file_id, endpoint, completion_window)
            rows = None if input_file_id else _rows(requests)
            batch: Batch = self._client.call("batch_create", provider, rows, given)
            return batch
        finally:
            del options

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
            if requests is not None and _has_files(provider, input_file_id):
                content = ("requests.jsonl", _lines(provider, endpoint, requests))
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
        """All batches, page by page: ``for batch in batches.list("openai")``, or ``async for``."""
        return Pages(self._client, "batch_list", provider, options)

    def retrieve(self, provider: str, batch_id: str, **options: Any) -> Batch:
        """The state of a batch."""
        try:
            batch: Batch = self._client.call("batch_retrieve", provider, batch_id, options)
            return batch
        finally:
            del options

    @_coroutine_function
    def aretrieve(self, provider: str, batch_id: str, **options: Any) -> Any:
        """The state of a batch, without blocking the event loop."""
        try:
            return _answer(self._client, "batch_retrieve", provider, batch_id, _core.conceal(options))
        finally:
            del options

    def cancel(self, provider: str, batch_id: str, **options: Any) -> Batch:
        """Cancels a batch: rows that are under way may still be answered."""
        try:
            batch: Batch = self._client.call("batch_cancel", provider, batch_id, options)
            return batch
        finally:
            del options

    @_coroutine_function
    def acancel(self, provider: str, batch_id: str, **options: Any) -> Any:
        """Cancels a batch, without blocking the event loop."""
        try:
            return _answer(self._client, "batch_cancel", provider, batch_id, _core.conceal(options))
        finally:
            del options

    def wait(
        self, provider: str, batch_id: str, *, poll: float = 60.0, max_wait: float | None = None, **options: Any
    ) -> Batch:
        """Asks for the state of a batch until it has ended, and returns the last.

        Args:
            provider: such as ``"openai"``.
            batch_id: the batch.
            poll: seconds between two looks, at most; the first come closer together.
            max_wait: seconds in all; no limit by default.

        Raises:
            Timeout: it had not ended by then. The batch goes on.
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
        """`wait` without blocking the event loop; ``await`` is a word of Python's."""
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
        """What came of each row, in any order: ``custom_id``, and ``response`` or ``error``.

        Args:
            provider: such as ``"openai"``.
            batch: the batch, or its id.

        Raises:
            InvalidArgumentError: it has not ended.
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
        """What came of each row, without blocking the event loop: see `results`."""
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
    """Whether the rows of a batch lie in a file there."""
    if input_file_id is not None:
        raise InvalidArgumentError("requests and input_file_id are two ways to say the same: give one")
    name = str(provider).partition("/")[0]
    return any(row["name"] == name and "file_create" in row["operations"] for row in _core.providers())


def _rows(requests: Iterable[Mapping[str, Any]] | None) -> Any:
    if requests is None:
        raise InvalidArgumentError("requests is None: a list of rows would be right, or input_file_id=")
    return requests if isinstance(requests, (list, tuple, str, Mapping)) else [*requests]


def _lines(provider: str, endpoint: str, requests: Iterable[Mapping[str, Any]]) -> bytes:
    """The file of a batch: one JSON object a line."""
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
    """Pauses that grow from a second up to the longest."""
    pause = min(1.0, longest)
    while True:
        yield pause
        pause = min(pause * 1.5, longest)


def _until(pause: float, end: float | None, now: float, batch: Batch) -> float:
    """The pause, unless the time is up."""
    if end is None:
        return pause
    if now >= end:
        raise Timeout(f"the batch {batch.id!r} was still {batch.status!r} when max_wait was over")
    return min(pause, end - now)
