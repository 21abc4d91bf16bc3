"""Calls through LiteLLM's ``Router``: to RiteLLM's router, again as often as a policy says, or to one deployment of the group."""

from __future__ import annotations

import asyncio
import time

from ritellm.compat import _arguments, _router_policies, _targets
from ritellm.compat._calls import ChatCall, EmbeddingCall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ritellm.compat._router import Router

#: Calls of a router that go to one deployment of a group, by weight, without another in its place if it fails.
ELSEWHERE = frozenset(
    ("atext_completion", "atranscription", "aspeech", "aimage_generation", "aresponses", "arerank", "amoderation")
)


#: What these calls take by place besides the group, which comes first but for pictures and transcriptions.
_PLACES = {
    "text_completion": ("prompt",),
    "transcription": ("file",),
    "speech": ("input", "voice"),
    "image_generation": ("prompt",),
    "responses": ("input",),
    "rerank": ("query", "documents"),
    "moderation": ("input",),
}


def elsewhere(router: Router, name: str) -> Any:
    from ritellm.compat import litellm

    call = getattr(litellm, name)
    kind = name if name in _PLACES else name[1:]
    at = 1 if kind in ("image_generation", "transcription") else 0

    def routed(*args: Any, **kwargs: Any) -> Any:
        rest, kwargs = list(args), _arguments.Given(kwargs)
        model = kwargs.pop("model") if "model" in kwargs else rest.pop(at)
        entry = router.get_available_deployment(model, request_kwargs=kwargs)
        named = dict(zip(_PLACES[kind], rest, strict=False))
        return call(**{**of_call(entry), **named, **kwargs, "model_info": entry["model_info"]})

    return routed


def of_call(entry: dict[str, Any]) -> dict[str, Any]:
    """Returns the parameters of a deployment without those that are the router's."""
    of_router = ("rpm", "tpm", "weight", "order")
    params = _arguments.Given(entry["litellm_params"])
    for name in of_router:
        params.pop(name, None)
    return params


def _moved(target: _targets.Target, group: str) -> _targets.Target:
    """Returns the target of a call to a group, of one of its deployments."""
    return _targets.Target(group, target.provider, target.name)


class _Routed:
    """What calls through a router have alike: RiteLLM's router, and the target of the deployment that has answered."""

    router: Router
    group: str
    kwargs: dict[str, Any]
    target: _targets.Target

    def _at(self, router: Router, group: str) -> None:
        self._native = router._made()
        self.router, self.group, self.policy = router, group, _router_policies.policy_of(router, group)
        self.target = next(known for known, entry in router._targets.values() if entry["model_name"] == group)
        self.target = _moved(self.target, group)

    def client(self) -> Any:
        """Returns RiteLLM's router."""
        return self._native

    def _resolved(self, model: Any, provider: str | None, api_base: str | None) -> _targets.Target:
        return self.target

    def _prepared(self) -> dict[str, Any]:
        params = _arguments.prepared(self.kwargs, _targets.Target("", "", ""), of_group=True)
        given = self.router.stream_timeout
        of_call = ("timeout", "request_timeout", "stream_timeout")
        longest = self.router._stream_timeouts.get(self.group)
        if longest is not None:
            # The deployments have theirs; the call, with all its attempts, takes no less.
            usual = _arguments.seconds(self.router.timeout if given is None else given)
            given = max(longest, usual if isinstance(usual, (int, float)) else 600.0)
        if given is not None and self.kwargs.get("stream") and not any(self.kwargs.get(name) for name in of_call):
            params["timeout"] = _arguments.seconds(given)
        if self.policy is not None:
            params["max_retries"] = 0
        return params

    def run(self) -> Any:
        """Makes the call, again after a failure as often as the retry policy says."""
        tried = 0
        while True:
            try:
                return super().run()  # type: ignore[misc]
            except Exception as error:
                wait = self._pause(error, tried)
                if wait is None:
                    raise
            tried += 1
            time.sleep(wait)

    async def arun(self) -> Any:
        """Does the same as `run` on an event loop."""
        tried = 0
        while True:
            try:
                return await super().arun()  # type: ignore[misc]
            except Exception as error:
                wait = self._pause(error, tried)
                if wait is None:
                    raise
            tried += 1
            await asyncio.sleep(wait)

    def _pause(self, error: Exception, tried: int) -> float | None:
        """Returns the seconds before the call is made again; None if it is not."""
        if self.policy is None:
            return None
        otherwise = self.kwargs.get("num_retries", self.router.num_retries)
        if tried >= _router_policies.retries(self.policy, error, otherwise):
            return None
        return _router_policies.pause(self.router, self.group, tried)

    def translated(self, error: BaseException) -> BaseException:
        """Returns LiteLLM's exception for one of a deployment's: of several, the router raises that of the first group."""
        place = (getattr(error, "provider", None), getattr(error, "model", None))
        attempts = [
            each for each in getattr(error, "attempts", ()) if (each.get("provider"), each.get("model")) == place
        ]
        self._answered_by(attempts)
        # A policy may have the call made again.
        self.target = _moved(self.target, self.group)
        translated: BaseException = super().translated(error)  # type: ignore[misc]
        return translated

    def _answered_by(self, attempts: Any) -> None:
        name = attempts[-1].get("deployment") if attempts else None
        if name in self.router._targets:
            target, entry = self.router._targets[name]
            self.target = target
            prices = {name: value for name, value in entry["litellm_params"].items() if _arguments.is_price(name)}
            place = {
                "model_group": entry["model_name"],
                "deployment": entry["litellm_params"]["model"],
                "model_info": entry["model_info"],
            }
            metadata = {**(self.kwargs.get("metadata") or {}), **place}
            given = {**self.kwargs, "model_info": entry["model_info"], "metadata": metadata}
            self.kwargs = _arguments.Given({**prices, **given})


class RouterChat(_Routed, ChatCall):
    def __init__(
        self, router: Router, group: str, call_type: str, messages: Any, kwargs: dict[str, Any], is_async: bool
    ) -> None:
        self._at(router, group)
        ChatCall.__init__(self, call_type, group, messages, kwargs, is_async)

    def finished(self, answer: Any) -> Any:
        """Returns LiteLLM's response for an answer of one of the deployments."""
        self._answered_by(getattr(getattr(answer, "meta", None), "attempts", None))
        return super().finished(answer)


class RouterEmbedding(_Routed, EmbeddingCall):
    def __init__(
        self, router: Router, group: str, call_type: str, input: Any, kwargs: dict[str, Any], is_async: bool
    ) -> None:
        self._at(router, group)
        EmbeddingCall.__init__(self, call_type, group, input, kwargs, is_async)

    def finished(self, answer: Any) -> Any:
        """Returns LiteLLM's response for an answer of one of the deployments."""
        self._answered_by(getattr(getattr(answer, "meta", None), "attempts", None))
        return super().finished(answer)
