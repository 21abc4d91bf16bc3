"""LiteLLM's exceptions: classes that are built from the table of their constructors when they are touched.

They extend openai's classes where that package is installed, as LiteLLM's do. To import it takes seconds and 50 MB, so it is not
imported before.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ritellm.compat._exception_table import CLASSES, OPENAI, WITHOUT_RESPONSE

_VALUES = {"None": None, "False": False, "400": 400}
_classes: dict[str, Any] = {}


def __getattr__(name: str) -> Any:
    if name == "LITELLM_EXCEPTION_TYPES":
        return [built(each) for each in CLASSES if each not in ("MockException", "InvalidRequestError")]
    if name in CLASSES or name in _OTHERS:
        return built(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def built(name: str) -> Any:
    """Returns one of LiteLLM's exception classes."""
    found = _classes.get(name)
    if found is None:
        found = _classes[name] = _OTHERS[name]() if name in _OTHERS else _build(name, *CLASSES[name])
    return found


def _openai(name: str) -> Any:
    """Returns openai's class of this name, or a class in its place."""
    try:
        return getattr(import_module("openai"), name)
    except ImportError:
        pass
    found = _classes.get("openai." + name)
    if found is None:
        base = Exception if not OPENAI[name] else _openai(OPENAI[name])
        found = _classes["openai." + name] = type(name, (base,), {"__module__": "openai"})
    return found


class _Described:
    """What all of these exceptions have."""

    message: str
    status_code: int
    llm_provider: str | None = None
    model: str | None = None
    litellm_debug_info: str | None = None
    max_retries: int | None = None
    num_retries: int | None = None
    body: Any = None
    code: Any = None
    param: Any = None
    type: Any = None
    request_id: str | None = None
    _without_response = False

    def __str__(self) -> str:
        text = self.message
        if self.num_retries:
            text += f" LiteLLM Retried: {self.num_retries} times"
        if self.max_retries:
            text += f", LiteLLM Max Retries: {self.max_retries}"
        return text

    __repr__ = __str__

    def __reduce__(self) -> Any:
        state = {name: value for name, value in self.__dict__.items() if name not in ("_response", "_request")}
        return _restore, (type(self), self.args, state)  # type: ignore[attr-defined]

    @property
    def response(self) -> Any:
        """The response, an ``httpx.Response`` that is made when it is read; None where httpx is not installed."""
        return self._http("_response")

    @response.setter
    def response(self, value: Any) -> None:
        self.__dict__["_response"] = value

    @property
    def request(self) -> Any:
        """The request, an ``httpx.Request``; it has no key and no body."""
        return self._http("_request")

    @request.setter
    def request(self, value: Any) -> None:
        self.__dict__["_request"] = value

    def _http(self, name: str) -> Any:
        namespace = self.__dict__
        if namespace.get(name) is None:
            try:
                import httpx
            except ImportError:
                return None
            if name == "_request":
                response = namespace.get("_response")
                try:
                    return (
                        response.request if response is not None else httpx.Request("POST", "https://api.openai.com/v1")
                    )
                except RuntimeError:
                    return httpx.Request("POST", "https://api.openai.com/v1")
            if self._without_response:
                return None
            received = namespace.get("litellm_response_headers") or {}
            headers = {
                key: value for key, value in received.items() if key not in ("content-length", "content-encoding")
            }
            body = self.body
            content: Any = {"text": body} if isinstance(body, str) else {"json": body} if body is not None else {}
            request = httpx.Request("POST", "https://api.openai.com/v1")
            namespace[name] = httpx.Response(self.status_code, headers=headers, request=request, **content)
        return namespace[name]


def _restore(made: Any, arguments: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = made.__new__(made, *arguments)
    error.args = arguments
    error.__dict__.update(state)
    return error


def _build(name: str, base: str, parameters: str, status: int, template: str) -> Any:
    parent = _openai(base[7:]) if base.startswith("openai.") else built(base)
    order: list[str] = []
    defaults: dict[str, Any] = {}
    for parameter in parameters.split():
        key, has_default, default = parameter.partition("=")
        order.append(key)
        if has_default:
            defaults[key] = _VALUES.get(default, default)
    is_rate = name == "RateLimitError"

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        given = _bind(type(self).__name__, order, defaults, args, kwargs)
        if status:
            given.setdefault("status_code", status)
        response, request = given.pop("response", None), given.pop("request", None)
        said = given["message"]
        text = template.replace("{name}", name).replace("{message}", str(said))
        namespace = self.__dict__
        namespace.update(given)
        namespace["message"] = text
        if response is not None:
            namespace["_response"] = response
            headers = getattr(response, "headers", None)
            namespace["request_id"] = headers.get("x-request-id") if headers is not None else None
        if request is not None:
            namespace["_request"] = request
        body = given.get("body")
        if isinstance(body, dict):
            for key in ("code", "param", "type"):
                namespace[key] = body.get(key)
        if name == "Timeout":
            namespace["status_code"] = namespace.pop("exception_status_code") or 408
        elif is_rate:
            namespace["category"] = getattr(given["category"], "value", given["category"])
            namespace["detail"] = text if given["detail"] is None else given["detail"]
            namespace["code"], namespace["type"] = "429", "throttling_error"
        elif name == "InternalServerError":
            namespace["type"] = "internal_server_error"
        Exception.__init__(self, text)

    namespace: dict[str, Any] = {
        "__module__": "litellm.exceptions",
        "__init__": __init__,
        "__doc__": f"LiteLLM's {name}.",
        "_without_response": name in WITHOUT_RESPONSE,
        "_parameters": parameters,
    }
    bases = (parent,) if issubclass(parent, _Described) else (_Described, parent)
    return type(name, bases, namespace)


def _bind(
    name: str, order: list[str], defaults: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    if len(args) > len(order):
        raise TypeError(f"{name}() takes {len(order)} arguments: {', '.join(order)}; {len(args)} were given")
    given = {**defaults, **dict(zip(order, args, strict=False))}
    for key, value in kwargs.items():
        if key not in order:
            raise TypeError(f"{name}() got an unexpected keyword argument {key!r}: it has {', '.join(order)}")
        given[key] = value
    missing = [key for key in order if key not in given]
    # A response is required of two classes, and was of more; there is always one that can be made.
    if missing and missing != ["response"]:
        raise TypeError(f"{name}() is missing {', '.join(map(repr, missing))}")
    return given


def _budget_exceeded() -> Any:
    class BudgetExceededError(Exception):
        """The calls of this process would cost more than their budget."""

        status_code = 422

        def __init__(
            self,
            current_cost: float,
            max_budget: float,
            message: str | None = None,
            llm_provider: str | None = None,
            entity_type: str | None = None,
            entity_id: str | None = None,
        ) -> None:
            self.current_cost, self.max_budget = current_cost, max_budget
            self.llm_provider = llm_provider or ""
            self.entity_type, self.entity_id = entity_type, entity_id
            self.category, self.rate_limit_type = "litellm_rate_limit", "budget"
            self.message = (
                message or f"Budget has been exceeded! Current cost: {current_cost}, Max budget: {max_budget}"
            )
            super().__init__(self.message)

        def __reduce__(self) -> Any:
            return _restore, (type(self), self.args, self.__dict__)

    return _placed(BudgetExceededError)


def _schema_violated() -> Any:
    parent = built("APIResponseValidationError")

    class JSONSchemaValidationError(parent):  # type: ignore[misc, valid-type]
        """The answer does not fit the schema that ``response_format`` is."""

        def __init__(self, model: str, llm_provider: str, raw_response: str, schema: str) -> None:
            message = (
                f"litellm.JSONSchemaValidationError: model={model}, returned an invalid response={raw_response}, for "
                f"schema={schema}.\nAccess raw response with `e.raw_response`"
            )
            super().__init__(message, llm_provider, model)
            self.raw_response, self.schema = raw_response, schema

    return _placed(JSONSchemaValidationError)


def _unknown_provider() -> Any:
    parent = built("BadRequestError")

    class LiteLLMUnknownProvider(parent):  # type: ignore[misc, valid-type]
        """The provider is not known."""

        def __init__(self, model: str, custom_llm_provider: str | None = None) -> None:
            text = (
                f"LLM Provider NOT provided. Pass in the LLM provider you are trying to call. You passed model={model}, "
                f"custom_llm_provider={custom_llm_provider}"
            )
            super().__init__(text, model, custom_llm_provider)

    return _placed(LiteLLMUnknownProvider)


def _openai_error() -> Any:
    parent = _openai("OpenAIError")

    class OpenAIError(parent):  # type: ignore[misc, valid-type]
        """An error of OpenAI's client."""

        def __init__(self, original_exception: BaseException | None = None) -> None:
            super().__init__(*([] if original_exception is None else [str(original_exception)]))
            self.llm_provider = "openai"

    return _placed(OpenAIError)


def _plain(name: str, module: str = "litellm.exceptions", **values: Any) -> Any:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        Exception.__init__(self, *(args or [kwargs.get("message", "")]))
        self.__dict__.update({"message": str(args[-1]) if args else "", **kwargs})

    return lambda: type(
        name, (Exception,), {"__module__": module, "__init__": __init__, "__doc__": f"LiteLLM's {name}.", **values}
    )


def _placed(made: Any) -> Any:
    made.__module__, made.__qualname__ = "litellm.exceptions", made.__name__
    return made


def _router_rate_limit() -> Any:
    class RouterRateLimitError(ValueError):
        """No deployment of a router can be asked now."""

        def __init__(
            self, model: str, cooldown_time: float, enable_pre_call_checks: bool, cooldown_list: list[Any]
        ) -> None:
            self.model, self.cooldown_time, self.cooldown_list = model, cooldown_time, cooldown_list
            self.enable_pre_call_checks = enable_pre_call_checks
            super().__init__(
                f"No deployments available for selected model, Try again in {cooldown_time} seconds. Passed model={model}. "
                f"pre-call-checks={enable_pre_call_checks}, cooldown_list={cooldown_list}"
            )

    made = _placed(RouterRateLimitError)
    made.__module__ = "litellm.types.router"
    return made


def _router_errors() -> Any:
    import enum

    texts = {
        "user_defined_ratelimit_error": "Deployment over user-defined ratelimit.",
        "no_deployments_available": "No deployments available for selected model",
        "no_deployments_with_tag_routing": "Not allowed to access model due to tags configuration",
        "no_deployments_with_provider_budget_routing": "No deployments available - crossed budget",
    }
    return enum.Enum("RouterErrors", texts, module="litellm.types.router")


_OTHERS: dict[str, Any] = {
    "BudgetExceededError": _budget_exceeded,
    "JSONSchemaValidationError": _schema_violated,
    "LiteLLMUnknownProvider": _unknown_provider,
    "OpenAIError": _openai_error,
    "RouterRateLimitError": _router_rate_limit,
    "RouterErrors": _router_errors,
    "AzureOpenAIError": _plain("AzureOpenAIError", "litellm.llms.azure.common_utils"),
    "BlockedPiiEntityError": _plain("BlockedPiiEntityError"),
    "GuardrailRaisedException": _plain("GuardrailRaisedException"),
    "ModelNotMappedError": _plain("ModelNotMappedError"),
}
