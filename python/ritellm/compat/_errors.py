"""RiteLLM's exceptions as LiteLLM's, with the messages that programs read."""

from __future__ import annotations

from typing import Any

import ritellm
from ritellm import exceptions as ours
from ritellm.compat import _exceptions
from ritellm.compat._plain import plain

#: Classes of ours, the most special first, and the names of LiteLLM's.
_NAMES: tuple[tuple[type[BaseException], str], ...] = (
    (ours.Timeout, "Timeout"),
    (ours.IncompleteStreamError, "APIConnectionError"),
    (ours.APIConnectionError, "InternalServerError"),
    (ours.UnsupportedParamsError, "UnsupportedParamsError"),
    (ours.ContextWindowExceededError, "ContextWindowExceededError"),
    (ours.ContentPolicyViolationError, "ContentPolicyViolationError"),
    (ours.BadRequestError, "BadRequestError"),
    (ours.AuthenticationError, "AuthenticationError"),
    (ours.PermissionDeniedError, "PermissionDeniedError"),
    (ours.NotFoundError, "NotFoundError"),
    (ours.ConflictError, "APIError"),
    (ours.UnprocessableEntityError, "UnprocessableEntityError"),
    (ours.RateLimitError, "RateLimitError"),
    (ours.ServiceUnavailableError, "ServiceUnavailableError"),
    (ours.InternalServerError, "InternalServerError"),
    (ours.APIResponseValidationError, "APIResponseValidationError"),
    (ours.APIStatusError, "APIError"),
    (ours.RiteLLMError, "APIConnectionError"),
)
#: Those whose messages name their class a second time.
_NAMED_TWICE = frozenset(
    {
        "RateLimitError",
        "AuthenticationError",
        "NotFoundError",
        "InternalServerError",
        "ServiceUnavailableError",
        "APIError",
    }
    | {"ContextWindowExceededError", "Timeout", "PermissionDeniedError", "ContentPolicyViolationError"}
)


def translated(error: BaseException, model: str, provider: str) -> BaseException:
    """Returns LiteLLM's exception for one of a call; exceptions that are not RiteLLM's are returned themselves."""
    if not isinstance(error, ritellm.RiteLLMError):
        return error
    if isinstance(error, ours.BudgetExceededError):
        made = _exceptions.built("BudgetExceededError")(0.0, 0.0, message=error.message)
        made.__cause__ = error
        return made  # type: ignore[no-any-return]
    name = next(name for kind, name in _NAMES if isinstance(error, kind))
    if name == "BadRequestError" and error.status_code == 402:
        name = "PaymentRequiredError"
    if name == "ServiceUnavailableError" and error.status_code == 502:
        name = "BadGatewayError"
    said = _said(error)
    about = f"{provider[:1].upper()}{provider[1:]}Exception" if provider != "openai" else "OpenAIException"
    text = f"{name}: {about} - {said}" if name in _NAMED_TWICE else f"{about} - {said}"
    if name == "UnsupportedParamsError":
        text = f"{provider} does not support parameters: {said}"
    values: dict[str, Any] = {"message": text, "llm_provider": provider, "model": model}
    if name == "APIError":
        values["status_code"] = error.status_code or 500
    if name == "Timeout" and error.status_code:
        values["exception_status_code"] = error.status_code
    if name in ("PermissionDeniedError", "UnprocessableEntityError"):
        values["response"] = None
    result: BaseException = _exceptions.built(name)(**values)
    namespace: Any = result.__dict__
    body: Any = error.body
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    if body is not None:
        namespace["body"] = body = plain(body)
        if isinstance(body, dict) and name not in ("RateLimitError", "InternalServerError"):
            for key in ("code", "param", "type"):
                namespace[key] = body.get(key)
    if error.status_code and name not in ("Timeout", "InternalServerError", "RateLimitError"):
        namespace["status_code"] = error.status_code
    namespace["litellm_response_headers"] = dict(error.headers)
    namespace["request_id"] = error.request_id
    if error.retries:
        namespace["num_retries"] = error.retries
    result.__cause__ = error
    return result


def _said(error: ritellm.RiteLLMError) -> str:
    """Returns what the provider says, without what RiteLLM puts before it."""
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        if isinstance(inner, dict) and isinstance(inner.get("message"), str):
            return inner["message"]  # type: ignore[no-any-return]
        if isinstance(inner, str):
            return inner
    return error.message
