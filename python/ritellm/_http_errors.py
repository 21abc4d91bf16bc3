"""Errors as HTTP responses of a web service."""

from __future__ import annotations

from typing import Any, NamedTuple

from ritellm.exceptions import (
    APIConnectionError,
    APIResponseValidationError,
    AuthenticationError,
    BadRequestError,
    ClientDisconnectedError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    OutputRefusedError,
    PermissionDeniedError,
    RateLimitError,
    RiteLLMError,
    ServiceUnavailableError,
    StructuredOutputError,
    Timeout,
    UnprocessableEntityError,
)

__all__ = ["ErrorReply", "http_error"]


class ErrorReply(NamedTuple):
    """An error as an HTTP response.

    Attributes:
        status: the HTTP status.
        body: the body, a dict for JSON in the form of OpenAI's errors.
        headers: header fields: ``Retry-After``, if the provider said when to come again.
    """

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
    499: "client_disconnected",
    503: "overloaded_error",
    504: "timeout_error",
}

# The first class that an error is an instance of decides.
_STATUSES: tuple[tuple[type[BaseException], int], ...] = (
    (ClientDisconnectedError, 499),
    (Timeout, 504),
    (NotFoundError, 404),
    (ConflictError, 409),
    (UnprocessableEntityError, 422),
    (RateLimitError, 429),
    (ServiceUnavailableError, 503),
    (InternalServerError, 502),
    (OutputRefusedError, 422),
    (StructuredOutputError, 502),
    (APIResponseValidationError, 502),
    (APIConnectionError, 502),
    (BadRequestError, 400),
)


def http_error(error: BaseException, *, forward_auth: bool = False) -> ErrorReply:
    """Returns the HTTP response with which a web service answers an error.

    >>> import ritellm
    >>> reply = ritellm.http_error(ritellm.RateLimitError("too many requests", retry_after=2.5))
    >>> reply.status, reply.headers, reply.body["error"]["type"]
    (429, {'Retry-After': '3'}, 'rate_limit_error')

    Refusals of a request keep their status (400, 404, 409, 413, 422, 429). A failure of the provider is 502, or 503 if it is
    overloaded; a timeout is 504, or 503 if the call was not admitted. A refused or missing key is the service's own trouble, 500,
    as is every exception that is not of this package. What only the service has to know (addresses, quotas, the messages of
    these) is not in the body.

    Args:
        error: the exception.
        forward_auth: the service sends its callers' own keys to the provider: 401 and 403 stay what they are.
    """
    status = _status(error, forward_auth)
    message = _message(error, status)
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    body = getattr(error, "body", None)
    theirs = body.get("error") if isinstance(body, dict) else None
    param = theirs.get("param") if isinstance(theirs, dict) and status != 500 else None
    code = getattr(error, "code", None) if status != 500 else None
    headers = {}
    retry_after = getattr(error, "retry_after", None)
    if status in (429, 503) and retry_after is not None:
        # Whole seconds, rounded up.
        headers["Retry-After"] = str(max(0, -int(-retry_after // 1)))
    return ErrorReply(status, {"error": {"message": message, "type": kind, "param": param, "code": code}}, headers)


def _status(error: BaseException, forward_auth: bool) -> int:
    told = getattr(error, "status_code", None)
    if isinstance(error, AuthenticationError | PermissionDeniedError):
        if forward_auth:
            return 403 if isinstance(error, PermissionDeniedError) else 401
        return 500
    if isinstance(error, Timeout) and error.code == "queue_timeout":
        return 503
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    if type(error) is BadRequestError and isinstance(told, int) and 400 <= told < 500:
        # What the provider wants to be paid is no business of the caller's.
        return 502 if told == 402 else told
    return status


def _message(error: BaseException, status: int) -> str:
    """Returns what the client of the service may read: nothing about addresses, files, quotas and keys of the service."""
    if not isinstance(error, RiteLLMError):
        return "the service has failed"
    provider = error.provider or "the provider"
    if isinstance(error, AuthenticationError | PermissionDeniedError) and status == 500:
        return f"{provider} does not accept the service's key"
    if status == 500:
        return "the service has failed"
    if isinstance(error, Timeout):
        if error.code == "queue_timeout":
            return "too many calls are waiting"
        return f"{provider} did not answer in time"
    if isinstance(error, APIConnectionError):
        return f"the connection to {provider} failed"
    if error.status_code is None and error.body is None and status in _OURS:
        # Not the provider's words: they name quotas, deployments and files of the service.
        return _OURS[status]
    return error.message


# Messages of errors that were found on this side, by their status.
_OURS = {
    404: "there is no such model",
    429: "the service has used up its quota",
    503: "the provider is overloaded",
}
