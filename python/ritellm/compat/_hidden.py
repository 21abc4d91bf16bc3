"""``_hidden_params``: what LiteLLM tells of a response beside its body."""

from __future__ import annotations

import uuid
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


def common(call: Any, meta: Any) -> dict[str, Any]:
    """Returns what responses and streams have alike."""
    target = call.target
    return {
        "custom_llm_provider": target.provider,
        "region_name": None,
        "additional_headers": _headers(meta),
        "optional_params": {},
        "_response_ms": meta.latency * 1000,
        "litellm_call_id": call.kwargs.get("litellm_call_id") or str(uuid.uuid4()),
        "api_base": call.params.get("base_url"),
        "model_id": (call.kwargs.get("model_info") or {}).get("id"),
        "litellm_model_name": call.model,
    }


def of_response(call: Any, meta: Any, answer: Any) -> dict[str, Any]:
    made = common(call, meta)
    made["response_cost"] = None
    made["provider_response_model"] = answer.get("model")
    made["cache_hit"] = True if meta.cached else None
    return made


def of_stream(call: Any, meta: Any) -> dict[str, Any]:
    made = common(call, meta)
    made["response_cost"] = None
    return made


def of_chunk(stream: Any) -> dict[str, Any]:
    shared = stream._hidden_params
    return {
        "custom_llm_provider": stream.custom_llm_provider,
        "model_id": shared.get("model_id"),
        "api_base": shared.get("api_base"),
        "additional_headers": shared.get("additional_headers"),
        "response_cost": None,
        "received_model_id": stream.response_id,
    }
