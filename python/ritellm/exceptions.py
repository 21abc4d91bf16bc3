"""What can go wrong, as one hierarchy::

    RiteLLMError
    ├── APIConnectionError             no connection, or one that broke
    │   ├── Timeout                    a deadline passed, or the provider said so (408, 504)
    │   └── IncompleteStreamError      a stream ended without its finish; .completion has what came
    ├── APIResponseValidationError     an answer that is not what the wire format says
    └── APIStatusError                 the provider refused
        ├── BadRequestError            400 and other 4xx
        │   ├── InvalidArgumentError          an argument that cannot be used; also a TypeError and ValueError
        │   ├── UnsupportedParamsError        OpenAI has the parameter, the provider lacks it
        │   ├── ContextWindowExceededError    the prompt is longer than the model takes
        │   └── ContentPolicyViolationError   the provider refused the content
        ├── AuthenticationError        401, or no key where one is needed
        ├── PermissionDeniedError      403
        ├── NotFoundError              404
        ├── ConflictError              409
        ├── UnprocessableEntityError   422
        ├── RateLimitError             429
        └── InternalServerError        500 and other 5xx
            └── ServiceUnavailableError       502, 503, 529

They are raised by the native core, can be pickled, and never show a key.
"""

from __future__ import annotations

# Only for those who check types: to import `typing` takes longer than all the rest of the package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

__all__ = [
    "APIConnectionError",
    "APIResponseValidationError",
    "APIStatusError",
    "AuthenticationError",
    "BadRequestError",
    "ConflictError",
    "ContentPolicyViolationError",
    "ContextWindowExceededError",
    "IncompleteStreamError",
    "InternalServerError",
    "InvalidArgumentError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RiteLLMError",
    "ServiceUnavailableError",
    "Timeout",
    "UnprocessableEntityError",
    "UnsupportedParamsError",
]


class RiteLLMError(Exception):
    """The base of every error that this package raises on purpose.

    Attributes:
        message: one sentence for a person.
        status_code: HTTP status, or ``None`` when there was no answer.
        provider: the provider's name; ``llm_provider`` is the same.
        model: the model's name as the provider knows it.
        code: the provider's own code for the error, if it gave one.
        body: the answer's body, parsed where it is JSON, else as text.
        headers: the answer's headers, names in lower case.
        request_id: the provider's id for the request.
        retry_after: seconds for which the provider asked to be left alone.
        retries: how many times the request was repeated before this was raised.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int | None = None,
        provider: str | None = None,
        model: str | None = None,
        code: str | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        retries: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.provider = provider
        self.model = model
        self.code = code
        self.body = body
        self.headers: dict[str, str] = headers if headers is not None else {}
        self.request_id = request_id
        self.retry_after = retry_after
        self.retries = retries

    @property
    def llm_provider(self) -> str | None:
        """The provider's name, as LiteLLM calls it."""
        return self.provider


class APIConnectionError(RiteLLMError):
    """No connection, or one that broke."""


class Timeout(APIConnectionError):
    """A deadline passed, or the provider said so (408, 504)."""


class IncompleteStreamError(APIConnectionError):
    """A stream that ended without its finish; ``completion`` has what did arrive."""

    completion: Any = None


class APIResponseValidationError(RiteLLMError):
    """An answer that is not what the wire format says."""


class APIStatusError(RiteLLMError):
    """The provider refused, or the request was refused before it was sent."""


class BadRequestError(APIStatusError):
    """400, and other 4xx that have no class of their own."""


class InvalidArgumentError(BadRequestError, TypeError, ValueError):
    """An argument that cannot be used; nothing was sent."""


class UnsupportedParamsError(BadRequestError):
    """A parameter that OpenAI defines and the provider lacks; nothing was sent. ``drop_params=True`` leaves it out."""


class ContextWindowExceededError(BadRequestError):
    """The prompt is longer than the model takes."""


class ContentPolicyViolationError(BadRequestError):
    """The provider refused the content."""


class AuthenticationError(APIStatusError):
    """401, or no key where one is needed."""


class PermissionDeniedError(APIStatusError):
    """403."""


class NotFoundError(APIStatusError):
    """404."""


class ConflictError(APIStatusError):
    """409."""


class UnprocessableEntityError(APIStatusError):
    """422."""


class RateLimitError(APIStatusError):
    """429."""


class InternalServerError(APIStatusError):
    """500, and other 5xx that have no class of their own."""


class ServiceUnavailableError(InternalServerError):
    """502, 503 or 529."""
