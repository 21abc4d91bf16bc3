"""Fallbacks that one call through LiteLLM's ``Router`` names, and its failures that are made up to test fallbacks."""

from __future__ import annotations

from typing import Any

from ritellm.compat import _arguments, _exceptions

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


class _Plan:
    """Which group a call goes to next.

    The groups that the call names come after those that the router has: its attempts share limits and breakers with all others.
    """

    def __init__(self, router: Any, model: str, subject: Any, kwargs: dict[str, Any], of_router: bool = False) -> None:
        self.router, self.model, self.subject = router, model, subject
        self.kwargs = _arguments.Given(kwargs)
        self.lists = {name: self.kwargs.pop(name, None) for name in _LISTS}
        mocked = [name for name in _MOCKED if self.kwargs.pop(name, None)]
        self.left: list[Any] | None = None
        self.asked, self.given = (model, subject), self.kwargs
        if mocked or of_router:
            # Those of the router are asked here, as its own call is not made.
            self.lists = {name: given or getattr(router, name) for name, given in self.lists.items()}
        if mocked:
            kind, text = _MOCKED[mocked[0]]
            self.failed(_exceptions.built(kind)(message=f"{text}. model={model}", model=model, llm_provider=""))

    def failed(self, error: Exception) -> None:
        """Goes on to the next group; raises the error if there is none."""
        if self.left is None:
            self.left = self._chosen(error)
        if not self.left:
            raise error
        after = self.left.pop(0)
        given = _arguments.Given(self.kwargs)
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
        return self._of(self.lists["fallbacks"]) or list(self.router.default_fallbacks or ())

    def _of(self, given: Any) -> list[Any]:
        """Returns the groups of a list, which are for all groups or by the name of one."""
        found: list[Any] = []
        for entry in given or ():
            if isinstance(entry, dict) and "model" not in entry:
                found += [to for to in entry.get(self.model) or entry.get("*") or () if to != self.model]
            else:
                found.append(entry)
        return found


def run(router: Any, call: Any, model: str, subject: Any, kwargs: dict[str, Any], first: Any = None) -> Any:
    """Makes a call, and others in its place if it fails.

    Args:
        router: the router.
        call: its method.
        model: the group.
        subject: the messages, or the input.
        kwargs: further arguments.
        first: makes the first call, which is not one of RiteLLM's router; the fallbacks of the router follow it.
    """
    plan = _Plan(router, model, subject, kwargs, first is not None)
    while True:
        try:
            if first is not None:
                return first()
            return call(*plan.asked, **plan.given)
        except Exception as error:
            first = None
            plan.failed(error)


async def arun(router: Any, call: Any, model: str, subject: Any, kwargs: dict[str, Any], first: Any = None) -> Any:
    """Does the same as `run` on an event loop."""
    plan = _Plan(router, model, subject, kwargs, first is not None)
    while True:
        try:
            if first is not None:
                return await first()
            return await call(*plan.asked, **plan.given)
        except Exception as error:
            first = None
            plan.failed(error)
