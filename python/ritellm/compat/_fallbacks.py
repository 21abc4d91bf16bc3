"""``fallbacks`` and ``context_window_fallback_dict`` of a call."""

from __future__ import annotations

from typing import Any

from ritellm.compat import _arguments, _exceptions


def _attempts(model: Any, kwargs: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Returns the calls to make until one succeeds: models, and their arguments."""
    from ritellm.compat._calls import settings

    base = _arguments.Given(kwargs)
    base.pop("fallbacks", None)
    base.pop("context_window_fallback_dict", None)
    made: list[tuple[Any, Any]] = [(model, base)]
    for fallback in kwargs.get("fallbacks") or settings["model_fallbacks"] or ():
        if isinstance(fallback, dict):
            own = _arguments.Given({**base, **fallback})
            made.append((own.pop("model", model), own))
        else:
            made.append((fallback, base))
    return made


def _larger(error: BaseException, model: Any, kwargs: dict[str, Any]) -> Any:
    """Returns the model for a prompt that was too long, or None."""
    models = kwargs.get("context_window_fallback_dict")
    if models and isinstance(error, _exceptions.built("ContextWindowExceededError")):
        return models.get(model)
    return None


def run(call_type: str, model: Any, messages: Any, kwargs: dict[str, Any]) -> Any:
    """Makes calls until one succeeds."""
    from ritellm.compat._calls import ChatCall

    last: BaseException | None = None
    pending = _attempts(model, kwargs)
    tried = set()
    while pending:
        name, given = pending.pop(0)
        tried.add(name)
        try:
            return ChatCall(call_type, name, messages or [], given, False).run()
        except Exception as error:
            last = error
            larger = _larger(error, name, kwargs)
            if larger is not None and larger not in tried:
                pending.insert(0, (larger, given))
    assert last is not None
    raise last


async def arun(call_type: str, model: Any, messages: Any, kwargs: dict[str, Any]) -> Any:
    """Does the same as `run` on an event loop."""
    from ritellm.compat._calls import ChatCall

    last: BaseException | None = None
    pending = _attempts(model, kwargs)
    tried = set()
    while pending:
        name, given = pending.pop(0)
        tried.add(name)
        try:
            return await ChatCall(call_type, name, messages or [], given, True).arun()
        except Exception as error:
            last = error
            larger = _larger(error, name, kwargs)
            if larger is not None and larger not in tried:
                pending.insert(0, (larger, given))
    assert last is not None
    raise last
