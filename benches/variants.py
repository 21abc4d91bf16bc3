"""RiteLLM with limits and as a router, and LiteLLM's router: what goals.py compares with a plain `Client`."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from clients import CLIENTS, KEY, REQUEST, Client, LiteLLM, RiteLLM

MODEL = f"openai/{REQUEST['model']}"
#: More than any run uses of them.
NOT_BINDING = {"openai": {"rpm": 100_000_000, "tpm": 1_000_000_000_000}}


class PlainClient(RiteLLM):
    """A `ritellm.Client` without anything."""

    def __init__(self, base_url: str, ca: str | None) -> None:
        super().__init__(base_url, ca)
        import ritellm

        self._acompletion = ritellm.Client(**self.settings()).acompletion

    def settings(self) -> dict[str, Any]:
        return {}


class Declared(PlainClient):
    def settings(self) -> dict[str, Any]:
        return {"limits": NOT_BINDING}


class Adaptive(PlainClient):
    def settings(self) -> dict[str, Any]:
        return {"limits": "adaptive"}


class Hooked(PlainClient):
    """A client with a hook that does nothing."""

    def settings(self) -> dict[str, Any]:
        return {"on_call": lambda record: None}


class SharedByHost(PlainClient):
    def settings(self) -> dict[str, Any]:
        from ritellm import Limits

        return {"limits": Limits(NOT_BINDING, share=f"host:bench-{os.getpid()}")}


class SharedByRedis(PlainClient):
    def settings(self) -> dict[str, Any]:
        from ritellm import Limits

        return {"limits": Limits(NOT_BINDING, share=os.environ["REDIS"], namespace=f"bench-{os.getpid()}")}


class TwoDeployments(RiteLLM):
    """A `ritellm.Router` without limits."""

    deployments = 2
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, base_url: str, ca: str | None) -> None:
        super().__init__(base_url, ca)
        from ritellm import Deployment, Router

        group = [
            Deployment(MODEL, base_url=base_url, api_key=KEY, name=f"{number}") for number in range(self.deployments)
        ]
        self._acompletion = Router({"fast": group}, **self.options).acompletion
        self._arguments = {**REQUEST, "model": "fast"}


class ManyDeployments(TwoDeployments):
    deployments = 64


class Hedged(TwoDeployments):
    options: ClassVar = {"hedge": {"after": "p95", "budget": 0.05}}


class LiteLLMRouter(LiteLLM):
    def __init__(self, base_url: str, ca: str | None) -> None:
        super().__init__(base_url, ca)
        from litellm import Router

        parameters = {"model": MODEL, "api_base": base_url, "api_key": KEY}
        group = [{"model_name": "fast", "litellm_params": parameters, "model_info": {"id": id}} for id in ("0", "1")]
        self._acompletion = Router(model_list=group).acompletion
        self._arguments = {**REQUEST, "model": "fast"}


VARIANTS: dict[str, type[Client]] = {
    "client": PlainClient,
    "declared": Declared,
    "adaptive": Adaptive,
    "hooked": Hooked,
    "host": SharedByHost,
    "redis": SharedByRedis,
    "router": TwoDeployments,
    "router-64": ManyDeployments,
    "router-hedged": Hedged,
    "litellm-router": LiteLLMRouter,
}

ALL = {**CLIENTS, **VARIANTS}
