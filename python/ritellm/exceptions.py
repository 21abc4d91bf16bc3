"""The exceptions of the package, in one hierarchy::

    RiteLLMError
    ├── APIConnectionError             no connection, or the connection broke
    │   ├── Timeout                    a time limit passed, or the provider reported a timeout (408, 504)
    │   └── IncompleteStreamError      a stream ended before its final event; .completion is what arrived
    ├── APIResponseValidationError     the response does not follow the wire format
    ├── BudgetExceededError            the call would exceed its budget; nothing was sent
    ├── ClientDisconnectedError        the client of a web service went away, and its call was cancelled
    ├── JobPaused                      a bulk job has rows that are pending, and cannot go on by itself
    ├── JournalError                   the folder of a bulk job cannot be read or written
    │   ├── JobLocked                  another process runs the job; .pid is its number
    │   └── DiskFullError              there is no room for the job's outcomes; it resumes when there is
    ├── MaxStepsError                  a run of tools has come to no end; .run has what it did
    ├── StructuredOutputError          the answer has no value of the type that response_format is; .response has it
    │   ├── OutputRefusedError         the model refused
    │   ├── OutputIncompleteError      the answer was cut off, by the limit of tokens or by a content filter
    │   └── OutputValidationError      the answer does not fit the schema; .errors says why
    ├── UnexpectedCallError            a test made a call that it has no answer for
    └── APIStatusError                 the provider returned an error status
        ├── BadRequestError            400 and other 4xx
        │   ├── InvalidArgumentError          an argument is invalid; also a TypeError and ValueError
        │   ├── UnsupportedParamsError        OpenAI has the parameter, the provider lacks it
        │   ├── ContextWindowExceededError    the prompt is longer than the model's context window
        │   └── ContentPolicyViolationError   the provider rejected the content
        ├── AuthenticationError        401, or a required key is missing
        ├── PermissionDeniedError      403
        ├── NotFoundError              404
        ├── ConflictError              409
        ├── UnprocessableEntityError   422
        ├── RateLimitError             429
        └── InternalServerError        500 and other 5xx
            └── ServiceUnavailableError       502, 503, 529

The native core raises them. They can be pickled and never contain a key.

>>> import ritellm
>>> try:
...     ritellm.completion("openai/gpt-4o-mini", [{"role": "user", "content": "Hi"}])  # doctest: +SKIP
... except ritellm.RateLimitError as error:
...     print(error.retry_after, error.request_id)
"""

from __future__ import annotations

# Only type checkers import `typing`: the import takes longer than importing the rest of the package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any
else:
    from _collections_abc import Sequence

    Any = object

__all__ = [
    "APIConnectionError",
    "APIResponseValidationError",
    "APIStatusError",
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceededError",
    "ClientDisconnectedError",
    "ConflictError",
    "ContentPolicyViolationError",
    "ContextWindowExceededError",
    "DiskFullError",
    "IncompleteStreamError",
    "InternalServerError",
    "InvalidArgumentError",
    "JobLocked",
    "JobPaused",
    "JournalError",
    "MaxStepsError",
    "NotFoundError",
    "OutputIncompleteError",
    "OutputRefusedError",
    "OutputValidationError",
    "PermissionDeniedError",
    "RateLimitError",
    "RiteLLMError",
    "ServiceUnavailableError",
    "StructuredOutputError",
    "Timeout",
    "UnexpectedCallError",
    "UnprocessableEntityError",
    "UnsupportedParamsError",
]


class RiteLLMError(Exception):
    """The base class of every error that this package raises deliberately.

    Attributes:
        message: a sentence that describes the error.
        status_code: the HTTP status, or ``None`` if there was no response.
        provider: the provider's name; ``llm_provider`` is the same.
        model: the provider's own name of the model.
        code: the provider's code for the error, or ``None``.
        body: the response body, parsed if it is JSON, otherwise as text.
        headers: the response headers, with names in lower case.
        request_id: the provider's id of the request, or ``None``.
        retry_after: seconds to wait before the next request, as the provider asked, or ``None``.
        retries: the number of retries that were made before the error was raised.
        attempts: the attempts of the call, a list of dicts as in ``response.meta.attempts``; empty if nothing was sent.
        inputs: the inputs of an `embedding` call that the failed request had, a ``range``, if the call was split into several
            requests; otherwise ``None``.
        run: what `Client.run_tools` did before the error ended it, a ``ToolRun``, or ``None``.
    """

    run: Any = None

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
        attempts: list[dict[str, Any]] | None = None,
        inputs: range | None = None,
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
        self.attempts: list[dict[str, Any]] = attempts if attempts is not None else []
        self.inputs = inputs

    @property
    def llm_provider(self) -> str | None:
        """The provider's name, as LiteLLM calls it."""
        return self.provider


class APIConnectionError(RiteLLMError):
    """There was no connection, or the connection broke."""


class Timeout(APIConnectionError):
    """A time limit passed, or the provider reported a timeout (408, 504)."""


class IncompleteStreamError(APIConnectionError):
    """A stream ended before its final event; ``completion`` is the response as far as it arrived."""

    completion: Any = None


class APIResponseValidationError(RiteLLMError):
    """The response does not follow the wire format."""


class ClientDisconnectedError(RiteLLMError):
    """The client of a web service went away, and the call that `while_connected` awaited was cancelled."""


class BudgetExceededError(RiteLLMError):
    """The call would exceed the client's `ritellm.Budget`; nothing was sent. The message has the budget and what was spent."""


class JobPaused(RiteLLMError):
    """Rows of a bulk job are pending, and it cannot go on by itself; the message says why. Running it again goes on.

    ``code`` is ``"stopped"``, ``"refused"`` (a refused key or a used-up quota; ``__cause__`` is the provider's error) or
    ``"cost"`` (``max_cost`` is reached; or a budget of the client, with ``__cause__``).
    """


class JournalError(RiteLLMError):
    """The folder of a bulk job cannot be read or written; the message names the path."""


class JobLocked(JournalError):
    """Another process runs this bulk job, or another job of this process has the same folder."""

    @property
    def pid(self) -> int | None:
        """The number of the other process, if it is known."""
        return int(self.code) if self.code else None


class DiskFullError(JournalError):
    """There is no room for the outcomes of a bulk job. Those of calls in flight are kept; the job resumes when there is room."""


class UnexpectedCallError(RiteLLMError):
    """A test made a call that it has no answer for: its cassette has none, or ``--ritellm-offline`` forbids it.

    It is not repeated, and a router does not try another deployment.
    """


class MaxStepsError(RiteLLMError):
    """The model still calls tools after the last step that ``max_steps`` allows; ``run.messages`` can go on from there."""


class StructuredOutputError(RiteLLMError):
    """The answer has no value of the type, or of the JSON schema, that ``response_format`` is.

    Attributes:
        response: the response as it came, with its ``meta`` and usage.
        text: the text of the answer, or ``None``.
        errors: why it does not fit, a sequence of str.
        refusal: the model's refusal, or ``None``.
        finish_reason: why the answer ended: ``"stop"``, ``"length"``, ``"content_filter"`` …
    """

    response: Any = None
    text: str | None = None
    errors: Sequence[str] = ()
    refusal: str | None = None
    finish_reason: str | None = None


class OutputRefusedError(StructuredOutputError):
    """The model refused to answer."""


class OutputIncompleteError(StructuredOutputError):
    """The answer was cut off, by the limit of tokens or by a content filter."""


class OutputValidationError(StructuredOutputError):
    """The answer does not fit the schema, or a validator of the type refuses it; ``errors`` says why."""


class APIStatusError(RiteLLMError):
    """The provider returned an error status, or the request was rejected before it was sent."""


class BadRequestError(APIStatusError):
    """HTTP status 400, or another 4xx that has no class of its own."""


class InvalidArgumentError(BadRequestError, TypeError, ValueError):
    """An argument is invalid; nothing was sent."""


class UnsupportedParamsError(BadRequestError):
    """The provider lacks a parameter that OpenAI defines; nothing was sent. ``drop_params=True`` leaves it out."""


class ContextWindowExceededError(BadRequestError):
    """The prompt is longer than the model's context window."""


class ContentPolicyViolationError(BadRequestError):
    """The provider rejected the content."""


class AuthenticationError(APIStatusError):
    """HTTP status 401, or a required key is missing."""


class PermissionDeniedError(APIStatusError):
    """HTTP status 403."""


class NotFoundError(APIStatusError):
    """HTTP status 404."""


class ConflictError(APIStatusError):
    """HTTP status 409."""


class UnprocessableEntityError(APIStatusError):
    """HTTP status 422."""


class RateLimitError(APIStatusError):
    """HTTP status 429."""


class InternalServerError(APIStatusError):
    """HTTP status 500, or another 5xx that has no class of its own."""


class ServiceUnavailableError(InternalServerError):
    """HTTP status 502, 503 or 529."""
