"""Several calls at once, and calls that are repeated."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from ritellm.compat import _arguments, _calls


def _completion() -> Any:
    # What a program has put in the place of `litellm.completion` is what is called.
    return _calls.settings.get("completion") or _calls.completion


def completion_with_retries(*args: Any, **kwargs: Any) -> Any:
    """Makes a chat completion call that is repeated after any transient failure, three times by default."""
    kwargs = _arguments.Given(kwargs)
    call = kwargs.pop("original_function", None) or _calls.completion
    return call(*args, **_retried(kwargs))


async def acompletion_with_retries(*args: Any, **kwargs: Any) -> Any:
    """Makes a chat completion call on an event loop that is repeated: see `completion_with_retries`."""
    kwargs = _arguments.Given(kwargs)
    call = kwargs.pop("original_function", None) or _calls.acompletion
    return await call(*args, **_retried(kwargs))


def _retried(kwargs: dict[str, Any]) -> dict[str, Any]:
    kwargs.pop("retry_strategy", None)
    retries = kwargs.pop("num_retries", None)
    return _arguments.Given({**kwargs, "max_retries": 3 if retries is None else retries})


def batch_completion(model: Any = None, messages: Any = None, *args: Any, **kwargs: Any) -> list[Any]:
    """Makes a chat completion call for each list of messages, at once.

    Returns:
        The responses in the order of the messages; an exception in the place of a call that failed.
    """
    kwargs = _arguments.Given(kwargs)
    kwargs.pop("request_timeout", None)
    workers = kwargs.pop("max_workers", None) or 100
    call = _completion()
    with ThreadPoolExecutor(max_workers=workers) as threads:
        futures = [threads.submit(call, model, each, *args, **kwargs) for each in messages or ()]
        return [future.exception() or future.result() for future in futures]


async def abatch_completion(model: Any, messages: Any, **kwargs: Any) -> list[Any]:
    """Does the same as `batch_completion` on an event loop."""
    kwargs = _arguments.Given(kwargs)
    import asyncio

    return await asyncio.gather(
        *(_calls.acompletion(model, each, **kwargs) for each in messages), return_exceptions=True
    )


def batch_completion_models(*args: Any, **kwargs: Any) -> Any:
    """Makes the same call to several models at once, and returns the first response; None if all fail."""
    kwargs = _arguments.Given(kwargs)
    models = _models(kwargs)
    call = _completion()
    threads = ThreadPoolExecutor(max_workers=max(1, len(models)))
    try:
        futures = [threads.submit(call, *args, **{**kwargs, **model}) for model in models]
        for future in as_completed(futures):
            if future.exception() is None:
                return future.result()
    finally:
        # The others are not waited for.
        threads.shutdown(wait=False, cancel_futures=True)
    return None


async def afirst(**kwargs: Any) -> Any:
    """Does the same as `batch_completion_models` on an event loop; calls that are slower are cancelled."""
    kwargs = _arguments.Given(kwargs)
    import asyncio

    models = _models(kwargs)
    tasks = [asyncio.ensure_future(_calls.acompletion(**{**kwargs, **model})) for model in models]
    try:
        for done in asyncio.as_completed(tasks):
            with contextlib.suppress(Exception):
                return await done
    finally:
        for task in tasks:
            task.cancel()
    return None


def batch_completion_models_all_responses(*args: Any, **kwargs: Any) -> list[Any]:
    """Makes the same call to several models at once, and returns the responses of those that succeed."""
    kwargs = _arguments.Given(kwargs)
    models = _models(kwargs)
    call = _completion()
    with ThreadPoolExecutor(max_workers=max(1, len(models))) as threads:
        futures = [threads.submit(call, *args, **{**kwargs, **model}) for model in models]
        return [future.result() for future in futures if future.exception() is None]


def _models(kwargs: dict[str, Any]) -> list[dict[str, Any]]:
    """Takes the models out of the arguments of a call; each is the arguments that name it."""
    kwargs.pop("model", None)
    kwargs.pop("model_list", None)
    models = kwargs.pop("models", None) or ()
    deployments = kwargs.pop("deployments", None) or ()
    return [{"model": model} for model in models] + [_arguments.Given(deployment) for deployment in deployments]
