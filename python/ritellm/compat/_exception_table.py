"""The constructors of LiteLLM's exceptions: the order of their parameters differs by class."""

from __future__ import annotations

_ABOUT = "litellm_debug_info=None max_retries=None num_retries=None"
_RESPONSE = f"response=None {_ABOUT}"
_MESSAGE = "litellm.{name}: {message}"
_REQUEST = "litellm.BadRequestError: "

#: Name: its base (openai's if it is lower-case after the dot), parameters in their order, status, and how the message begins.
CLASSES: dict[str, tuple[str, str, int, str]] = {
    "AuthenticationError": (
        "openai.AuthenticationError",
        f"message llm_provider model {_RESPONSE} body=None",
        401,
        _MESSAGE,
    ),
    "NotFoundError": ("openai.NotFoundError", f"message model llm_provider {_RESPONSE} body=None", 404, _MESSAGE),
    "BadRequestError": ("openai.BadRequestError", f"message model llm_provider {_RESPONSE} body=None", 400, _MESSAGE),
    "ImageFetchError": (
        "BadRequestError",
        f"message model=None llm_provider=None {_RESPONSE} body=None",
        400,
        _REQUEST + "{message}",
    ),
    "UnprocessableEntityError": (
        "openai.UnprocessableEntityError",
        f"message model llm_provider response {_ABOUT}",
        422,
        _MESSAGE,
    ),
    "Timeout": (
        "openai.APITimeoutError",
        f"message model llm_provider {_ABOUT} headers=None exception_status_code=None response=None",
        408,
        _MESSAGE,
    ),
    "PermissionDeniedError": (
        "openai.PermissionDeniedError",
        f"message llm_provider model response {_ABOUT}",
        403,
        _MESSAGE,
    ),
    "RateLimitError": (
        "openai.RateLimitError",
        f"message llm_provider model {_RESPONSE} category=vendor_rate_limit rate_limit_type=None headers=None detail=None "
        "body=None",
        429,
        _MESSAGE,
    ),
    "ContextWindowExceededError": (
        "BadRequestError",
        "message model llm_provider response=None litellm_debug_info=None body=None",
        400,
        "litellm.{name}: " + _REQUEST + "{message}",
    ),
    "RejectedRequestError": (
        "BadRequestError",
        "message model llm_provider request_data litellm_debug_info=None",
        400,
        _REQUEST + _MESSAGE,
    ),
    "ContentPolicyViolationError": (
        "BadRequestError",
        "message model llm_provider response=None litellm_debug_info=None provider_specific_fields=None body=None",
        400,
        _REQUEST + _MESSAGE,
    ),
    "PaymentRequiredError": (
        "BadRequestError",
        "message model llm_provider response=None litellm_debug_info=None",
        402,
        _MESSAGE,
    ),
    "ServiceUnavailableError": ("openai.APIStatusError", f"message llm_provider model {_RESPONSE}", 503, _MESSAGE),
    "BadGatewayError": ("openai.APIStatusError", f"message llm_provider model {_RESPONSE}", 502, _MESSAGE),
    "InternalServerError": (
        "openai.InternalServerError",
        f"message llm_provider model {_RESPONSE} body=None provider_status_code=None",
        500,
        _MESSAGE,
    ),
    "MidStreamFallbackError": (
        "ServiceUnavailableError",
        f"message model llm_provider original_exception=None {_RESPONSE} generated_content= is_pre_first_chunk=False",
        503,
        _MESSAGE,
    ),
    "APIError": (
        "openai.APIError",
        f"status_code message llm_provider model request=None {_ABOUT} body=None response=None",
        0,
        _MESSAGE,
    ),
    "MockException": (
        "openai.APIError",
        f"status_code message llm_provider model request=None {_ABOUT}",
        0,
        "{message}",
    ),
    "APIConnectionError": (
        "openai.APIConnectionError",
        f"message llm_provider model request=None {_ABOUT}",
        500,
        _MESSAGE,
    ),
    "APIResponseValidationError": (
        "openai.APIResponseValidationError",
        f"message llm_provider model {_ABOUT}",
        500,
        "{message}",
    ),
    "UnsupportedParamsError": (
        "BadRequestError",
        f"message llm_provider=None model=None status_code=400 {_RESPONSE}",
        0,
        _MESSAGE,
    ),
    "InvalidRequestError": ("openai.BadRequestError", "message model llm_provider", 400, "{message}"),
}
#: Those that a response never comes with.
WITHOUT_RESPONSE = frozenset({"Timeout", "APIError", "MockException", "APIConnectionError", "UnsupportedParamsError"})
#: openai's bases: each class and its own base.
OPENAI = {
    "OpenAIError": "",
    "APIError": "OpenAIError",
    "APIResponseValidationError": "APIError",
    "APIStatusError": "APIError",
    "APIConnectionError": "APIError",
    "APITimeoutError": "APIConnectionError",
    **dict.fromkeys(
        [
            "BadRequestError",
            "AuthenticationError",
            "PermissionDeniedError",
            "NotFoundError",
            "ConflictError",
            "UnprocessableEntityError",
            "RateLimitError",
            "InternalServerError",
        ],
        "APIStatusError",
    ),
}
