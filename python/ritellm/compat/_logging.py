"""LiteLLM's loggers, and the names of its logging that programs use."""

from __future__ import annotations

import functools
import logging
from typing import Any

verbose_logger = logging.getLogger("LiteLLM")
verbose_proxy_logger = logging.getLogger("LiteLLM Proxy")
verbose_router_logger = logging.getLogger("LiteLLM Router")
_loggers = (verbose_logger, verbose_proxy_logger, verbose_router_logger)
handler = logging.StreamHandler()


_told: set[str] = set()


def tell_once(text: str) -> None:
    """Logs a warning, the first time."""
    if text not in _told:
        _told.add(text)
        verbose_logger.warning(text)


def print_verbose(print_statement: Any) -> None:
    """Logs a text."""
    verbose_logger.debug(print_statement)


def _disable_debugging() -> None:
    for logger in _loggers:
        logger.disabled = True


def _enable_debugging() -> None:
    for logger in _loggers:
        logger.disabled = False


def _turn_on_debug() -> None:
    for logger in _loggers:
        logger.setLevel(logging.DEBUG)


def _turn_on_json() -> None:
    """Does nothing: how records are written is the program's own business."""


class Logging:
    """The place of LiteLLM's class, for programs that name it; calls do not make one."""

    __module__ = "litellm.litellm_core_utils.litellm_logging"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs
        self.model_call_details: dict[str, Any] = dict(kwargs)

    def pre_call(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""

    def post_call(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""

    def success_handler(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""

    def failure_handler(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""


def _extract_response_obj_and_hidden_params(
    init_response_obj: Any, original_exception: Any = None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Returns an answer as a dict, and its ``_hidden_params``."""
    hidden = getattr(init_response_obj, "_hidden_params", None)
    if hasattr(init_response_obj, "model_dump"):
        return init_response_obj.model_dump(), hidden
    return (init_response_obj if isinstance(init_response_obj, dict) else {}), hidden


def client(original_function: Any) -> Any:
    """Returns the function itself: in LiteLLM it adds logging and retries, which calls have here anyway."""

    @functools.wraps(original_function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return original_function(*args, **kwargs)

    return wrapper
