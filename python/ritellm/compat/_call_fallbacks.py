"""Fallbacks that one call through LiteLLM's ``Router`` names, and its failures that are made up to test fallbacks."""

from __future__ import annotations

from ritellm.compat import _arguments, _exceptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

#: Failure that is made up → its class, and what it says.
_MOCKED = {
    "mock_testing_fallbacks": ("InternalServerError", "This is a mock exception, to trigger a fallback"),
    "mock_testing_context_fallbacks": (
        "ContextWindowExceededError",
        "This is a mock exception, of a prompt that is too long",
    ),
    "mock_testing_content_policy_fallbacks": (
        "ContentPolicyViolationError",
        "This is a mock exception, of a refused content",
    ),
    "mock_testing_rate_limit_error": ("RateLimitError", "This is a mock exception, of a rate limit"),
}
_LISTS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
#: Arguments of a call that are for this module.
ARGUMENTS = frozenset((*_LISTS, *_MOCKED))
#: Number of times that a fallback may have fallbacks in turn, as for LiteLLM: circles end.
_DEEPEST = 5


def lists_of(router: Any, model: str) -> list[str]:
    """Returns the names of the router's lists that RiteLLM's router does not see to for a group.

    Those have parameters in place of a group's name, or say ``"*"`` for a group that has no fallbacks of its own.
    """
    return [name for name in _LISTS if (given := getattr(router, name)) and _is_here(given, router, model)]


def _is_here(given: list[Any], router: Any, model: str) -> bool:
    own = _own(given, router, model)
    if own is None:
        return any("*" in entry for entry in given)
    return any(isinstance(to, dict) for to in own)


def _own(given: list[Any], router: Any, model: str) -> list[Any] | None:
    """Returns what a list says for a group by its name; None if it says nothing."""
    names = dict.fromkeys((model, router._group(model)))
    found = [entry[name] for entry in given for name in names if isinstance(entry, dict) and name in entry]
    return [to for tos in found for to in tos] if found else None


class _Plan:
    """Which group a call goes to next.

    The groups that the call names come after those that the router has: its attempts share limits and breakers with all others.
    """

    def __init__(
        self, router: Any, model: str, subject: Any, kwargs: dict[str, Any], of_router: Sequence[str] = ()
    ) -> None:
        self.router, self.model, self.subject = router, model, subject
        self.kwargs = _arguments.Given(kwargs)
        self.lists = {name: self.kwargs.pop(name, None) for name in _LISTS}
        mocked = [name for name in _MOCKED if self.kwargs.pop(name, None)]
        self.left: list[Any] | None = None
        self.asked, self.given = (model, subject), self.kwargs
        self.depth = self.kwargs.pop("fallback_depth", 0)
        # Those of the router are asked here where its own call is not made, or does not see to them.
        for name in _LISTS if mocked else of_router:
            self.lists[name] = self.lists[name] or getattr(router, name)
        self.has_defaults = mocked or not of_router or "fallbacks" in of_router
        if mocked:
            kind, text = _MOCKED[mocked[0]]
            self.failed(_exceptions.built(kind)(message=f"{text}. model={model}", model=model, llm_provider=""))

    def failed(self, error: Exception) -> None:
        """Goes on to the next group; raises the error if there is none."""
        if self.left is None:
            self.left = self._chosen(error) if self.depth < _DEEPEST else []
        if not self.left:
            raise error
        after = self.left.pop(0)
        given = _arguments.Given(self.kwargs, fallback_depth=self.depth + 1)
        if isinstance(after, dict):
            given.update(after)
            after = given.pop("model", self.model)
        # A fallback may have messages of its own.
        subject = given.pop("messages", given.pop("input", self.subject))
        self.asked, self.given = (after, subject), given

    def _chosen(self, error: Exception) -> list[Any]:
        for kind, name in (
            ("ContextWindowExceededError", "context_window_fallbacks"),
            ("ContentPolicyViolationError", "content_policy_fallbacks"),
        ):
            if isinstance(error, _exceptions.built(kind)) and self.lists[name]:
                return self._of(self.lists[name])
        defaults = self.router.default_fallbacks if self.has_defaults else None
        return self._of(self.lists["fallbacks"]) or list(defaults or ())

    def _of(self, given: Any) -> list[Any]:
        """Returns the groups of a list, which are for all groups or by the name of one."""
        given = given or ()
        found = [entry for entry in given if not isinstance(entry, dict) or "model" in entry]
        by_name = [entry for entry in given if isinstance(entry, dict) and "model" not in entry]
        own = _own(by_name, self.router, self.model)
        if own is None:
            own = [to for entry in by_name for to in entry.get("*") or ()]
        return found + [to for to in own if to != self.model]


def run(
    router: Any,
    call: Any,
    model: str,
    subject: Any,
    kwargs: dict[str, Any],
    first: Any = None,
    lists: Sequence[str] = _LISTS,
) -> Any:
    """Makes a call, and others in its place if it fails.

    Args:
        router: the router.
        call: its method.
        model: the group.
        subject: the messages, or the input.
        kwargs: further arguments.
        first: makes the first call, after which fallbacks of the router follow that RiteLLM's router has not asked.
        lists: the names of their lists.
    """
    plan = _Plan(router, model, subject, kwargs, () if first is None else lists)
    while True:
        try:
            if first is not None:
                return first()
            return call(*plan.asked, **plan.given)
        except Exception as error:
            first = None
            plan.failed(error)


async def arun(
    router: Any,
    call: Any,
    model: str,
    subject: Any,
    kwargs: dict[str, Any],
    first: Any = None,
    lists: Sequence[str] = _LISTS,
) -> Any:
    """Does the same as `run` on an event loop."""
    plan = _Plan(router, model, subject, kwargs, () if first is None else lists)
    while True:
        try:
            if first is not None:
                return await first()
            return await call(*plan.asked, **plan.given)
        except Exception as error:
            first = None
            plan.failed(error)
