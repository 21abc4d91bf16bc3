"""``completion`` and its kind: one call, from LiteLLM's arguments to LiteLLM's answer."""

from __future__ import annotations

from ritellm.compat import _arguments, _finder, _hidden, _targets
from ritellm.compat._arguments import is_price
from ritellm.compat._client import client

# What few calls need is imported by them: programs import `completion` when they start, and importing pydantic takes 0.1 s.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The variables of ``litellm``, read by each call: programs assign them at any time.
settings: dict[str, Any] = vars(_finder.module("litellm"))


_CALLBACKS = (
    "callbacks",
    "success_callback",
    "failure_callback",
    "input_callback",
    "_async_success_callback",
    "_async_failure_callback",
    "_async_input_callback",
)


class Call:
    """One call."""

    def __init__(self, call_type: str, model: Any, subject: Any, kwargs: dict[str, Any], is_async: bool) -> None:
        self.call_type, self.model, self.messages = call_type, model, subject
        self.kwargs: dict[str, Any] = _arguments.Given(kwargs)
        self.is_async = is_async
        try:
            self._prepare(model)
        finally:
            # Tracebacks show local variables, and a key is among the arguments.
            del kwargs

    def _prepare(self, model: Any) -> None:
        get = self.kwargs.get
        self.stream = bool(get("stream"))
        self.cached: bool | None = None
        self.handler: Any = None
        self._id: str | None = get("litellm_call_id")
        self._cost: Any = None
        provider = get("custom_llm_provider")
        own = None
        if settings["custom_provider_map"]:
            from ritellm.compat import _custom

            # LiteLLM's: a list of dicts with `provider` and `custom_handler`.
            own = _custom.own_provider(model, provider, settings["custom_provider_map"])
        if own is not None:
            self.handler = _custom.handler(own[0], settings["custom_provider_map"])
            self.target = _targets.Target("", own[0], own[1])
        else:
            aliases = settings["model_alias_map"]
            if aliases and model in aliases:
                model = aliases[model]
            self.target = self._resolved(model, provider, get("base_url") or get("api_base"))
            if _targets.PATCHED and self.call_type in _targets.PATCHED and self.target.provider == "openai":
                from ritellm.compat._inside import OpenAIChatCompletion

                self.handler = OpenAIChatCompletion()
        self.params = self._prepared()
        if settings["cache"] is not None:
            from ritellm.compat import _cache

            _cache.add_argument(self.params, settings["cache"], self.kwargs, self.call_type)
        self.observation = None
        for name in _CALLBACKS:
            if settings[name] or name in self.kwargs:
                from ritellm.compat._callbacks import Observation

                self.observation = Observation(self)
                break
        if settings["aclient_session"] is not None or settings["client_session"] is not None:
            from ritellm.compat import _logging

            _logging.tell_once("client_session and aclient_session have no effect: RiteLLM has its own connections")
        if settings["max_budget"] and settings["_current_cost"] > settings["max_budget"]:
            from ritellm.compat import _exceptions

            raise _exceptions.built("BudgetExceededError")(settings["_current_cost"], settings["max_budget"])

    def _resolved(self, model: Any, provider: str | None, api_base: str | None) -> _targets.Target:
        return _targets.resolve(model, provider, api_base)

    def _prepared(self) -> dict[str, Any]:
        return _arguments.prepared(self.kwargs, self.target)

    def client(self) -> Any:
        """Returns RiteLLM's client that makes the call."""
        return client()

    def run(self) -> Any:
        """Makes the call; returns LiteLLM's response or stream."""
        if self.observation is not None:
            self.observation.began()
        try:
            return self.finished(self._asked())
        except Exception as error:
            raise self.translated(error)  # noqa: B904

    async def arun(self) -> Any:
        """Makes the call on an event loop: see `run`."""
        if self.observation is not None:
            self.observation.began()
        try:
            return self.finished(await self._aasked())
        except Exception as error:
            raise self.translated(error)  # noqa: B904

    def _asked(self) -> Any:
        """Returns the answer of the core, or one that is made in the program."""
        raise NotImplementedError

    async def _aasked(self) -> Any:
        """Does the same as `_asked` on an event loop."""
        raise NotImplementedError

    def finished(self, answer: Any) -> Any:
        """Returns LiteLLM's response or stream for an answer, after the callbacks were told of a response."""
        raise NotImplementedError

    def noted(self, answer: Any) -> Any:
        """Returns the ``meta`` of an answer, None of one that is made in the program; notes if it came from the cache."""
        meta = getattr(answer, "meta", None)
        if meta is not None and meta.cached:
            self.cached = True
        return meta

    @property
    def id(self) -> str:
        """The id of the call, LiteLLM's ``litellm_call_id``."""
        if self._id is None:
            from uuid import uuid4

            self._id = str(uuid4())
        return self._id

    @property
    def wants_response(self) -> bool:
        """True if somebody wants to know the whole response of a stream."""
        return self.observation is not None or bool(settings["max_budget"])

    @property
    def is_mocked(self) -> bool:
        """True if the answer is made up."""
        get = self.kwargs.get
        if get("mock_response") is not None or get("mock_tool_calls") is not None:
            return True
        return get("mock_timeout") is True and get("timeout") is not None

    def translated(self, error: BaseException) -> BaseException:
        """Returns LiteLLM's exception for one of the call, after the callbacks were told."""
        from ritellm.compat import _errors

        made = _errors.translated(error, self.target.name, self.target.provider)
        if self.observation is not None:
            self.observation.failed(made)
        return made

    def cost_of(self, response: Any) -> float | None:
        """Returns what the call has cost in US dollars; None if that is not known."""
        if self.cached:
            return 0.0
        get = self.kwargs.get
        info = get("model_info") or {}
        prices = {name: value for given in (info, self.kwargs) for name, value in given.items() if is_price(name)}
        prices = {name: value for name, value in prices.items() if value is not None}
        base_model = get("base_model") or info.get("base_model")
        try:
            from ritellm.compat import _costs, _models

            if prices:
                known = _models.entry_or_none(base_model or self.target.name, self.target.provider)
                prices = {**(known or {"litellm_provider": self.target.provider}), **prices}
            return _costs.completion_cost(
                completion_response=response,
                model=base_model or self.target.name,
                custom_llm_provider=self.target.provider,
                requested_model_info_override=prices or None,
                base_model=base_model,
                call_type=self.call_type,
            )
        except Exception:
            return None

    def succeeded(self, response: Any) -> Any:
        """Tells the callbacks, and adds the cost to what was spent; returns the response."""
        if settings["max_budget"]:
            settings["_current_cost"] += self.cost_of(response) or 0.0
        if self.observation is not None:
            self.observation.succeeded(response)
        return response


class ChatCall(Call):
    """A chat completion call."""

    def _asked(self) -> Any:
        if self.is_mocked:
            return self._mocked()
        if self.handler is not None:
            return self._handled()
        return self.client().completion(self.target.model, _arguments.messages(self.messages), **self.params)

    async def _aasked(self) -> Any:
        if self.is_mocked:
            from ritellm.compat import _custom

            wait = _custom.mock_wait(self.kwargs)
            if wait:
                import asyncio

                await asyncio.sleep(wait)
            return self._mocked()
        if self.handler is not None:
            return await self._ahandled()
        return await self.client().acompletion(self.target.model, _arguments.messages(self.messages), **self.params)

    def finished(self, answer: Any) -> Any:
        """Returns LiteLLM's response for an answer of the core, or of the program itself."""
        meta = self.noted(answer)
        if self.stream:
            from ritellm.compat._streams import CustomStreamWrapper

            return CustomStreamWrapper(answer, self.target.name, custom_llm_provider=self.target.provider, call=self)
        if meta is None:
            # Made up, or by a handler of the program: it is LiteLLM's type already.
            answer._hidden_params.update(_hidden.of_call(self))
            if answer._hidden_params.get("response_cost") is None:
                answer._hidden_params["response_cost"] = self.cost_of(answer)
            return self.succeeded(answer)
        from ritellm.compat import _fill

        if self.kwargs.get("enable_json_schema_validation") or settings["enable_json_schema_validation"]:
            self._validate(answer)
        response = _fill.response_of(answer)
        _hidden.attach(self, meta, response)
        return self.succeeded(response)

    def _mocked(self) -> Any:
        from ritellm.compat import _custom

        given = {
            name: value
            for name, value in self.kwargs.items()
            if name.startswith("mock_") or name in ("stream", "stream_options", "n", "timeout")
        }
        return _custom.mock_completion(
            self.target.name,
            self.messages,
            custom_llm_provider=self.target.provider,
            acompletion=self.is_async,
            **given,
        )

    def _handled(self) -> Any:
        from ritellm.compat import _custom
        from ritellm.compat._types import ModelResponse

        arguments = _custom.arguments_of(self, ModelResponse(model=self.target.name))
        if self.stream:
            return _custom.streamed(self.handler.streaming(**arguments), self.target.name)
        return self.handler.completion(**arguments)

    async def _ahandled(self) -> Any:
        from ritellm.compat import _custom
        from ritellm.compat._types import ModelResponse

        arguments = _custom.arguments_of(self, ModelResponse(model=self.target.name))
        if self.stream:
            return _custom.astreamed(self.handler.astreaming(**arguments), self.target.name)
        return await self.handler.acompletion(**arguments)

    def _validate(self, answer: Any) -> None:
        """Raises `JSONSchemaValidationError` if the answer does not fit the schema that was asked for."""
        import ritellm

        wanted = self.kwargs.get("response_format")
        schema = wanted
        if isinstance(wanted, dict):
            schema = (wanted.get("json_schema") or {}).get("schema") or wanted.get("response_schema")
        if schema is None:
            return
        try:
            answer.parse(schema)
        except ritellm.StructuredOutputError as error:
            from ritellm.compat import _exceptions

            raise _exceptions.built("JSONSchemaValidationError")(
                self.target.name, self.target.provider, str(error.text), str(schema)
            ) from None


def chat(call_type: str, model: Any, messages: Any, kwargs: dict[str, Any]) -> Any:
    """Makes a chat completion call, and others in its place if it fails and they are named."""
    try:
        if kwargs.get("model_list"):
            # By the module's name, which programs patch.
            return _finder.module("litellm").batch_completion_models(messages=messages, **_of_list(model, kwargs))
        if kwargs.get("fallbacks") or settings["model_fallbacks"] or kwargs.get("context_window_fallback_dict"):
            from ritellm.compat import _fallbacks

            return _fallbacks.run(call_type, model, messages, _arguments.Given(kwargs))
        call = ChatCall(call_type, model, messages if messages is not None else [], kwargs, False)
    finally:
        del kwargs
    return call.run()


def _of_list(model: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a call with ``model_list``, of which those deployments count that have the name."""
    deployments = [item["litellm_params"] for item in kwargs["model_list"] if item["model_name"] == model]
    others = {name: value for name, value in kwargs.items() if name != "model_list"}
    return _arguments.Given({**others, "deployments": deployments})


async def achat(call_type: str, model: Any, messages: Any, kwargs: dict[str, Any]) -> Any:
    """Does the same as `chat` on an event loop."""
    try:
        if kwargs.get("model_list"):
            from ritellm.compat import _batches

            return await _batches.afirst(messages=messages, **_of_list(model, kwargs))
        if kwargs.get("fallbacks") or settings["model_fallbacks"] or kwargs.get("context_window_fallback_dict"):
            from ritellm.compat import _fallbacks

            return await _fallbacks.arun(call_type, model, messages, _arguments.Given(kwargs))
        call = ChatCall(call_type, model, messages if messages is not None else [], kwargs, True)
    finally:
        del kwargs
    return await call.arun()


def completion(model: Any, messages: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Makes a chat completion call.

    Args:
        model: ``provider/model``.
        messages: the conversation, a list of dicts in OpenAI's format.
        *args: LiteLLM's arguments in its order: ``timeout``, ``temperature``, ``top_p`` …
        **kwargs: LiteLLM's arguments: docs/compat.md says what each does.

    Returns:
        `ModelResponse`, or `CustomStreamWrapper` with ``stream=True``.

    Raises:
        litellm.APIError: and the other exceptions of ``litellm.exceptions``.
    """
    try:
        if args:
            kwargs = _arguments.named(args, kwargs, _arguments.ORDER)
        return chat("completion", model, messages, kwargs)
    finally:
        del kwargs


async def acompletion(model: Any, messages: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Makes a chat completion call on an event loop: see `completion`."""
    try:
        if args:
            kwargs = _arguments.named(args, kwargs, _arguments.ASYNC_ORDER)
        return await achat("acompletion", model, messages, kwargs)
    finally:
        del kwargs


class EmbeddingCall(Call):
    """An embedding call."""

    def _asked(self) -> Any:
        if self.kwargs.get("mock_response") is not None or self.handler is not None:
            return self._own()
        return self.client().embedding(self.target.model, self.messages, **self.params)

    async def _aasked(self) -> Any:
        if self.kwargs.get("mock_response") is not None or self.handler is not None:
            made = self._own()
            return await made if hasattr(made, "__await__") else made
        return await self.client().aembedding(self.target.model, self.messages, **self.params)

    def _own(self) -> Any:
        """Returns an answer that is made in the program: a mock, or of its own handler."""
        from ritellm.compat import _custom
        from ritellm.compat._more_types import Embedding, EmbeddingResponse

        mock = self.kwargs.get("mock_response")
        if mock is not None:
            if isinstance(mock, Exception):
                raise mock
            vector = Embedding(embedding=mock, index=0, object="embedding")
            return EmbeddingResponse(model=self.target.name, data=[vector])
        arguments = _custom.arguments_of(self, EmbeddingResponse())
        wanted = (
            "model model_response print_verbose logging_obj optional_params api_key api_base timeout litellm_params"
        )
        given = {name: arguments[name] for name in wanted.split()}
        given["input"] = [self.messages] if isinstance(self.messages, str) else self.messages
        method = self.handler.aembedding if self.is_async else self.handler.embedding
        return method(**given)

    def finished(self, answer: Any) -> Any:
        """Returns LiteLLM's response for an answer of the core."""
        from ritellm.compat import _fill
        from ritellm.compat._more_types import EmbeddingResponse

        meta = self.noted(answer)
        if meta is None:
            answer._hidden_params.update(_hidden.of_call(self))
            return self.succeeded(answer)
        # The vectors are not looked through: they are lists of numbers.
        data = [
            {"embedding": item["embedding"], "index": item.get("index", index), "object": "embedding"}
            for index, item in enumerate(answer["data"])
        ]
        usage = answer.get("usage")
        members = {
            "model": answer.get("model"),
            "data": data,
            "object": "list",
            "usage": _fill.usage_of(usage if usage is not None else {}),
        }
        EmbeddingResponse._build()
        response = _fill.make(EmbeddingResponse, members, {}, set(members), {})
        _hidden.attach(self, meta, response)
        return self.succeeded(response)


def embedding(model: Any, input: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Returns the embedding vectors of texts.

    Returns:
        `EmbeddingResponse`, whose ``data`` are dicts with ``embedding`` and ``index``.
    """
    kwargs = _arguments.Given(kwargs)
    if args:
        kwargs = _arguments.named(args, kwargs, ("dimensions", "encoding_format", "timeout"))
    return EmbeddingCall("embedding", model, input if input is not None else [], kwargs, False).run()


async def aembedding(model: Any, input: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Returns the embedding vectors of texts, on an event loop: see `embedding`."""
    kwargs = _arguments.Given(kwargs)
    if args:
        kwargs = _arguments.named(args, kwargs, ("dimensions", "encoding_format", "timeout"))
    return await EmbeddingCall("aembedding", model, input if input is not None else [], kwargs, True).arun()


def text_completion(prompt: Any = None, model: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Completes a text, or several: see `ritellm.compat._texts`."""
    kwargs = _arguments.Given(kwargs)
    from ritellm.compat import _texts

    return _texts.run(prompt, model, args, kwargs)


async def atext_completion(prompt: Any = None, model: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Completes a text on an event loop: see `text_completion`."""
    kwargs = _arguments.Given(kwargs)
    from ritellm.compat import _texts

    return await _texts.arun(prompt, model, args, kwargs)


def moderation(*args: Any, **kwargs: Any) -> Any:
    """Not there: RiteLLM's core has no moderation endpoint."""
    kwargs = _arguments.Given(kwargs)
    from ritellm.compat import _exceptions

    raise _exceptions.built("BadRequestError")(
        "RiteLLM has no moderation endpoint; openai's own client has it", kwargs.get("model"), "openai"
    )


async def amoderation(*args: Any, **kwargs: Any) -> Any:
    """Not there: see `moderation`."""
    kwargs = _arguments.Given(kwargs)
    return moderation(*args, **kwargs)


def _described(function: Any, order: tuple[str, ...], more: str) -> None:
    """Gives a function the signature that LiteLLM's has, for libraries that look up which arguments there are."""
    names = ("model", "messages", *order, *(name for name in more.split() if name not in order))
    code = function.__code__
    keywords = code.co_varnames[code.co_argcount + 1]
    code = code.replace(
        co_argcount=len(names),
        co_varnames=(*names, keywords),
        co_nlocals=len(names) + 1,
        co_flags=code.co_flags & ~0x04,
    )
    # It is never called. 0x04 is the flag of functions with `*args`.
    described = type(function)(code, function.__globals__, function.__name__, (None,) * (len(names) - 1))
    described.__doc__ = function.__doc__
    function.__wrapped__ = described


_described(completion, _arguments.ORDER, _arguments.NAMED)
_described(acompletion, _arguments.ASYNC_ORDER, _arguments.NAMED)
