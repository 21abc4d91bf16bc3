"""Callbacks: `CustomLogger`, and the functions in ``litellm.success_callback`` and its kind.

An exception of a callback harms no call: it is logged. Sync ones run on the caller's thread when it has the result; coroutines of
async calls run as tasks of the loop.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import traceback
from datetime import datetime
from typing import Any

from ritellm.compat import _finder, _redacted
from ritellm.compat._logging import tell_once, verbose_logger

_tasks: set[Any] = set()
#: The variables of ``litellm``. Never a local variable: there are keys among them, and tracebacks show those.
_settings: dict[str, Any] = vars(_finder.module("litellm"))


class CustomLogger:
    """The base class of callbacks: a program overrides what it wants to know of."""

    __module__ = "litellm.integrations.custom_logger"

    def __init__(self, turn_off_message_logging: bool = False, message_logging: bool = True, **kwargs: Any) -> None:
        self.turn_off_message_logging, self.message_logging = turn_off_message_logging, message_logging

    def log_pre_api_call(self, model: str, messages: Any, kwargs: dict[str, Any]) -> None: ...
    def log_post_api_call(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None: ...
    def log_stream_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None: ...
    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None: ...
    def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None: ...
    async def async_log_stream_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None: ...
    async def async_log_pre_api_call(self, model: str, messages: Any, kwargs: dict[str, Any]) -> None: ...
    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None: ...
    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None: ...

    # Those of LiteLLM's proxy and of its router: they are here so that subclasses can call them.
    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: Any, call_type: Any) -> Any: ...
    async def async_post_call_success_hook(self, data: Any, user_api_key_dict: Any, response: Any) -> Any: ...
    async def async_post_call_failure_hook(self, *args: Any, **kwargs: Any) -> Any: ...
    async def async_moderation_hook(self, data: Any, user_api_key_dict: Any, call_type: Any) -> Any: ...
    async def async_post_call_streaming_hook(self, user_api_key_dict: Any, response: Any) -> Any: ...
    def log_success_fallback_event(self, *args: Any, **kwargs: Any) -> Any: ...
    def log_failure_fallback_event(self, *args: Any, **kwargs: Any) -> Any: ...
    def pre_call_check(self, deployment: dict[str, Any]) -> dict[str, Any] | None: ...
    async def async_pre_call_check(self, deployment: dict[str, Any], parent_otel_span: Any = None) -> Any: ...


def _members(*lists: Any) -> list[Any]:
    """Returns the callbacks of several lists, each once."""
    made: list[Any] = []
    for each in lists:
        for callback in each or ():
            if isinstance(callback, str):
                _tell(callback)
            elif not any(callback is other for other in made):
                made.append(callback)
    return made


def _tell(name: str) -> None:
    tell_once(
        f"the callback {name!r} is LiteLLM's own integration and does nothing here: ritellm.otel.instrument() sends spans to the "
        "same place; functions and CustomLogger work as they do with LiteLLM"
    )


#: Arguments that callbacks do not get: secrets, and what has a place of its own.
_LEFT_OUT = frozenset(
    (
        "api_key",
        "base_url",
        "extra_headers",
        "extra_query",
        "auth_token",
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "vertex_access_token",
        "vertex_credentials",
        "azure_ad_token",
        "azure_ad_token_provider",
    )
)


class Observation:
    """Tells callbacks what a call does."""

    def __init__(self, call: Any) -> None:
        get = call.kwargs.get
        self.call, self.is_async = call, call.is_async
        both = (_settings["callbacks"], get("callbacks"))
        self.inputs = _members(_settings["input_callback"], _settings["_async_input_callback"], *both)
        self.successes = _members(
            _settings["success_callback"], _settings["_async_success_callback"], get("success_callback"), *both
        )
        self.failures = _members(
            _settings["failure_callback"], _settings["_async_failure_callback"], get("failure_callback"), *both
        )
        self.streamers = [each for each in self.successes if _overrides(each, "log_stream_event", self.is_async)]
        self.start = datetime.now()
        self.kwargs = self._kwargs()

    def _kwargs(self) -> dict[str, Any]:
        """Returns what LiteLLM gives callbacks. The key is not in it."""
        call, given = self.call, self.call.kwargs
        optional = {name: value for name, value in call.params.items() if name not in _LEFT_OUT}
        litellm_params = {
            "acompletion": self.is_async,
            "custom_llm_provider": call.target.provider,
            "api_base": call.params.get("base_url"),
            "litellm_call_id": call.id,
            "metadata": given.get("metadata") or {},
            "litellm_metadata": given.get("litellm_metadata"),
            "model_info": given.get("model_info"),
            "proxy_server_request": given.get("proxy_server_request"),
            "preset_cache_key": given.get("preset_cache_key"),
            "stream_response": {},
        }
        return {
            **optional,
            "model": call.target.name,
            "messages": call.messages,
            "input": call.messages,
            "optional_params": optional,
            "litellm_params": litellm_params,
            "litellm_call_id": call.id,
            "litellm_trace_id": given.get("litellm_trace_id") or call.id,
            "call_type": call.call_type,
            "stream": call.stream,
            "stream_options": given.get("stream_options"),
            "user": given.get("user"),
            "custom_llm_provider": call.target.provider,
            "start_time": self.start,
            "completion_start_time": None,
            "additional_args": {},
            "log_event_type": "pre_api_call",
            "standard_callback_dynamic_params": {},
        }

    def _answered(self) -> None:
        """Names the deployment that a router's call went to last: the call was begun before that was known."""
        call, kwargs, litellm_params = self.call, self.kwargs, self.kwargs["litellm_params"]
        kwargs["model"], kwargs["custom_llm_provider"] = call.target.name, call.target.provider
        litellm_params["custom_llm_provider"] = call.target.provider
        litellm_params["model_info"] = call.kwargs.get("model_info")
        litellm_params["metadata"] = call.kwargs.get("metadata") or {}

    def began(self) -> None:
        """Tells that the call begins."""
        for callback in self.inputs:
            kwargs = _redacted.kwargs_for(callback, self.kwargs, self.call)
            if isinstance(callback, CustomLogger):
                _run(
                    callback.log_pre_api_call,
                    model=kwargs["model"],
                    messages=kwargs["messages"],
                    kwargs=kwargs,
                )
            elif _is_async(callback):
                if self.is_async:
                    _run_later(callback, kwargs)
            elif callable(callback):
                _run(callback, kwargs)

    def received(self, chunk: Any) -> None:
        """Tells of a chunk."""
        if self.kwargs["completion_start_time"] is None:
            self.kwargs["completion_start_time"] = datetime.now()
        for callback in self.streamers:
            kwargs, shown = self.kwargs, chunk
            if _redacted.is_for(callback, self.call):
                kwargs, shown = _redacted.of_kwargs(kwargs), _redacted.of_response(chunk)
            given = {"kwargs": kwargs, "response_obj": shown, "start_time": self.start, "end_time": datetime.now()}
            if self.is_async:
                _run_later(callback.async_log_stream_event, **given)
            else:
                _run(callback.log_stream_event, **given)

    def succeeded(self, response: Any) -> None:
        """Tells that the call succeeded; of a stream, with the response that its chunks make."""
        end = datetime.now()
        kwargs = self.kwargs
        self._answered()
        kwargs["end_time"] = end
        kwargs["completion_start_time"] = kwargs["completion_start_time"] or end
        kwargs["log_event_type"] = "post_api_call"
        cost = self.call.cost_of(response)
        kwargs["response_cost"] = cost
        kwargs["cache_hit"] = self.call.cached
        if self.call.stream:
            kwargs["async_complete_streaming_response" if self.is_async else "complete_streaming_response"] = response
        kwargs["standard_logging_object"] = self._standard("success", response, cost, end)
        self._tell(self.successes, "success", response, end)

    def failed(self, error: BaseException) -> None:
        """Tells that the call failed."""
        end = datetime.now()
        kwargs = self.kwargs
        self._answered()
        kwargs["end_time"], kwargs["exception"], kwargs["log_event_type"] = end, error, "post_api_call"
        kwargs["traceback_exception"] = "".join(traceback.format_exception_only(type(error), error))
        kwargs["response_cost"] = 0
        kwargs["standard_logging_object"] = self._standard("failure", None, 0, end)
        kwargs["standard_logging_object"]["error_str"] = str(error)
        kwargs["standard_logging_object"]["error_information"] = {
            "error_code": str(getattr(error, "status_code", "")),
            "error_class": type(error).__name__,
            "llm_provider": getattr(error, "llm_provider", None) or "",
            "error_message": str(error),
            "traceback": kwargs["traceback_exception"],
        }
        self._tell(self.failures, "failure", None, end)

    def _tell(self, callbacks: list[Any], what: str, response: Any, end: datetime) -> None:
        shown = {"kwargs": self.kwargs, "response_obj": response, "start_time": self.start, "end_time": end}
        hidden = None
        for callback in callbacks:
            given = shown
            if _redacted.is_for(callback, self.call):
                if hidden is None:
                    redacted = _redacted.of_response(response)
                    hidden = {**shown, "kwargs": _redacted.of_kwargs(self.kwargs, redacted), "response_obj": redacted}
                given = hidden
            if isinstance(callback, CustomLogger):
                _run(callback.log_post_api_call, **{**given, "response_obj": None, "end_time": None})
                if self.is_async:
                    _run_later(getattr(callback, f"async_log_{what}_event"), **given)
                else:
                    _run(getattr(callback, f"log_{what}_event"), **given)
            elif _is_async(callback):
                if self.is_async:
                    _run_later(callback, *given.values())
            elif callable(callback) and not (self.is_async and what == "success"):
                # LiteLLM's function for async successes is a coroutine; failures go to both.
                _run(callback, *given.values())

    def _standard(self, status: str, response: Any, cost: Any, end: datetime) -> dict[str, Any]:
        usage = getattr(response, "usage", None)

        def of_usage(name: str) -> int:
            return getattr(usage, name, 0) or 0

        call, metadata = self.call, self.kwargs["litellm_params"]["metadata"]
        return {
            "id": getattr(response, "id", None) or call.id,
            "trace_id": self.kwargs["litellm_trace_id"],
            "litellm_call_id": call.id,
            "call_type": call.call_type,
            "stream": call.stream or None,
            "status": status,
            "custom_llm_provider": call.target.provider,
            "model": call.target.name,
            "model_group": metadata.get("model_group") if isinstance(metadata, dict) else None,
            "model_id": (call.kwargs.get("model_info") or {}).get("id"),
            "messages": call.messages,
            "response": response.model_dump() if hasattr(response, "model_dump") else None,
            "startTime": self.start.timestamp(),
            "endTime": end.timestamp(),
            "completionStartTime": (self.kwargs["completion_start_time"] or end).timestamp(),
            "response_time": (end - self.start).total_seconds(),
            "response_cost": cost,
            "prompt_tokens": of_usage("prompt_tokens"),
            "completion_tokens": of_usage("completion_tokens"),
            "total_tokens": of_usage("total_tokens"),
            "cache_hit": call.cached,
            "model_parameters": self.kwargs["optional_params"],
            "metadata": dict(metadata) if isinstance(metadata, dict) else {},
            "request_tags": list(
                call.kwargs.get("tags") or (isinstance(metadata, dict) and metadata.get("tags")) or ()
            ),
            "end_user": call.kwargs.get("user") or "",
            "api_base": call.params.get("base_url") or "",
            "error_str": None,
        }


def _is_async(callback: Any) -> bool:
    if not callable(callback):
        return False
    return inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(type(callback).__call__)


def _overrides(callback: Any, name: str, is_async: bool) -> bool:
    name = "async_" + name if is_async else name
    return isinstance(callback, CustomLogger) and getattr(type(callback), name) is not getattr(CustomLogger, name)


def _run(function: Any, *args: Any, **kwargs: Any) -> None:
    try:
        function(*args, **kwargs)
    except Exception:
        _report()


def _run_later(function: Any, *args: Any, **kwargs: Any) -> None:
    try:
        later(function(*args, **kwargs))
    except Exception:
        _report()


def _report() -> None:
    verbose_logger.exception("LiteLLM.LoggingError: [Non-Blocking] an exception of a callback")


def later(coroutine: Any) -> None:
    """Runs a coroutine as a task of the running loop. If that loop ends before, it runs on another one."""
    run = _Run(coroutine)
    run.task = task = asyncio.ensure_future(run.run())
    _tasks.add(run)
    task.add_done_callback(run.done)


class _Run:
    """The run of one coroutine. `asyncio.run` cancels the tasks that it finds when the program's own is over."""

    def __init__(self, coroutine: Any) -> None:
        self.coroutine, self.begun = coroutine, False
        self.task: Any = None

    async def run(self) -> None:
        self.begun = True
        try:
            await self.coroutine
        except Exception:
            _report()

    def done(self, task: Any) -> None:
        _tasks.discard(self)
        if task.cancelled() and not self.begun:
            thread = threading.Thread(target=lambda: asyncio.run(self.run()), name="ritellm-compat-callback")
            thread.start()
            thread.join(5.0)
