"""Types of LiteLLM's router."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["AllowedFailsPolicy", "Deployment", "LiteLLM_Params", "ModelInfo", "RetryPolicy"]

_MODULE = "litellm.types.router"


class _Open(BaseModel):
    """A model whose members can be read like those of a dict, and which takes others than it names."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    def __contains__(self, key: str) -> bool:
        return hasattr(self, key)

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)

    def get(self, key: str, default: Any = None) -> Any:
        """Returns a member, or the default."""
        return getattr(self, key, default)


class LiteLLM_Params(_Open):
    """Where the calls of a deployment go, and what they have."""

    __module__ = _MODULE

    model: str
    custom_llm_provider: str | None = None
    api_key: str | None = None
    api_base: str | None = None
    api_version: str | None = None
    timeout: Any = None
    stream_timeout: Any = None
    max_retries: int | None = None
    organization: str | None = None
    rpm: int | None = None
    tpm: int | None = None
    weight: int | None = None
    order: int | None = None


class ModelInfo(_Open):
    """What else is said of a deployment."""

    __module__ = _MODULE

    id: str | None = None
    db_model: bool = False
    base_model: str | None = None


class Deployment(_Open):
    """One deployment of a router's ``model_list``."""

    __module__ = _MODULE

    model_name: str
    litellm_params: LiteLLM_Params
    model_info: ModelInfo = Field(default_factory=ModelInfo)


class RetryPolicy(BaseModel):
    """Numbers of repetitions by the class of the failure; what it does not tell is repeated if it is transient."""

    __module__ = _MODULE

    BadRequestErrorRetries: int | None = None
    AuthenticationErrorRetries: int | None = None
    TimeoutErrorRetries: int | None = None
    RateLimitErrorRetries: int | None = None
    ContentPolicyViolationErrorRetries: int | None = None
    InternalServerErrorRetries: int | None = None
    ServiceUnavailableErrorRetries: int | None = None
    NotFoundErrorRetries: int | None = None
    DefaultRetries: int | None = None


class AllowedFailsPolicy(BaseModel):
    """Numbers of failures by their class; RiteLLM's router has one number, ``allowed_fails``."""

    __module__ = _MODULE

    BadRequestErrorAllowedFails: int | None = None
    AuthenticationErrorAllowedFails: int | None = None
    TimeoutErrorAllowedFails: int | None = None
    RateLimitErrorAllowedFails: int | None = None
    ContentPolicyViolationErrorAllowedFails: int | None = None
    InternalServerErrorAllowedFails: int | None = None
    ServiceUnavailableErrorAllowedFails: int | None = None
    BadGatewayErrorAllowedFails: int | None = None
    NotFoundErrorAllowedFails: int | None = None
