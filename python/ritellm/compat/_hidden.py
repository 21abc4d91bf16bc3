"""``_hidden_params``: what LiteLLM tells of a response beside its body."""

from __future__ import annotations

from weakref import ref

from ritellm.compat._deferred import Deferred

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _headers(meta: Any) -> dict[str, Any]:
    """Returns the header fields as LiteLLM names them: those of OpenAI's limits as they are, too."""
    made: dict[str, Any] = {}
    for name, value in meta.headers.items():
        if name.startswith("x-ratelimit-"):
            made[name] = value
        made[f"llm_provider-{name}"] = value
    if meta.request_id is not None:
        made["request-id"] = meta.request_id
    return made


def of_call(call: Any) -> dict[str, Any]:
    """Returns what the answers of all calls have, also of those that are made up."""
    return {
        "custom_llm_provider": call.target.provider,
        "region_name": call.kwargs.get("aws_region_name"),
        "litellm_call_id": call.id,
        "api_base": call.params.get("base_url"),
        "model_id": (call.kwargs.get("model_info") or {}).get("id"),
        "litellm_model_name": call.model,
    }


def of_stream(call: Any, meta: Any) -> dict[str, Any]:
    """Returns that of a stream, of which the cost is not known before its end."""
    return {
        **of_call(call),
        "additional_headers": _headers(meta),
        "optional_params": {},
        "_response_ms": meta.latency * 1000,
        "response_cost": None,
        "cache_hit": True if meta.cached else None,
    }


def of_mock_stream(call: Any, meta: None) -> dict[str, Any]:
    """Returns that of a stream that is made up."""
    return {**of_call(call), "additional_headers": {}, "response_cost": None}


def of_response(call: Any, meta: Any, reference: Any) -> dict[str, Any]:
    """Returns that of a response, which is given as a weak reference to it."""
    response = reference()
    hidden = {**of_stream(call, meta), "provider_response_model": getattr(response, "model", None)}
    if meta.cached:
        hidden["response_cost"] = 0.0
    elif response is not None:
        hidden["response_cost"] = call.cost_of(_with(response, hidden))
    return hidden


def _with(response: Any, hidden: dict[str, Any]) -> Any:
    """Returns a response with the same members whose ``_hidden_params`` are known.

    The cost depends on them, and is one of them: asked of the response itself, they would be made again, and again.
    """
    made = object.__new__(type(response))
    for name in ("__dict__", "__pydantic_extra__", "__pydantic_fields_set__"):
        object.__setattr__(made, name, getattr(response, name))
    object.__setattr__(made, "__pydantic_private__", {"_hidden_params": hidden})
    return made


def attach(call: Any, meta: Any, response: Any) -> None:
    """Gives a response its ``_hidden_params``, which are made when they are read."""
    # A reference to the response itself would be a cycle, which the garbage collector would have to find.
    source = (call, meta, ref(response))
    private = {"_hidden_params": Deferred(of_response, source)}
    object.__setattr__(response, "__pydantic_private__", private)


def of_chunk(stream: Any) -> dict[str, Any]:
    """Returns that of a chunk."""
    shared = stream._hidden_params
    return {
        "custom_llm_provider": stream.custom_llm_provider,
        "model_id": shared.get("model_id"),
        "api_base": shared.get("api_base"),
        "additional_headers": shared.get("additional_headers") or {},
        "response_cost": None,
        "received_model_id": stream.response_id,
    }
