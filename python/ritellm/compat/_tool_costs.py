"""What the providers' own tools cost in a call: searches, maps, files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ritellm.compat import _models
from ritellm.compat._usages import member

__all__ = ["cost_of_tools"]

_PER_SEARCH = 0.035  #: Gemini's models whose entry has no price.
_PER_SEARCH_XAI = 5.0 / 1000.0
_PER_PAGE_GROQ = 1.0 / 1000.0
_MAPS = {"per_query": 0.014, "per_prompt": 0.025}
_FILE_SEARCH = 2.5 / 1000
_AZURE = {"file_search": 0.1, "vector_store": 0.1, "computer_input": 3.0, "computer_output": 12.0}


def cost_of_tools(
    model: str, response: Any, usage: Any, provider: str | None, params: Mapping[str, Any] | None
) -> float:
    """Returns what the provider's own tools cost in a call, in US dollars.

    Args:
        model: the name of the model.
        response: the answer, which shows whether a tool was used.
        usage: its usage, which tells how often.
        provider: the provider.
        params: LiteLLM's ``standard_built_in_tools_params``.
    """
    params = params or {}
    cost = _maps(model, provider, usage)
    if _has_searched(response, usage):
        return cost + _search(model, provider, usage, params.get("web_search_options"), response)
    if any(kind in ("file_citation", "file_search_call") for kind in _kinds(response)):
        return cost + _files(model, provider, params.get("file_search"))
    return cost + (_azure(model, params) if provider == "azure" and params else 0.0)


def _info(model: str, provider: str | None) -> Mapping[str, Any] | None:
    try:
        return _models.prices_of(model, provider)
    except Exception:
        return None


def _resolved(model: str, provider: str | None) -> tuple[Mapping[str, Any] | None, str | None]:
    info = _info(model, provider)
    if info is not None:
        return info, provider or info.get("litellm_provider")
    if "/" not in model or (info := _info(model, None)) is None:
        return None, provider
    return info, info.get("litellm_provider")


def _requests(usage: Any) -> Any:
    return member(getattr(usage, "server_tool_use", None), "web_search_requests")


def _kinds(response: Any) -> Iterator[str]:
    """Yields the types of the annotations of a chat's answer, or of the output items of a response."""
    for choice in getattr(response, "choices", None) or ():
        for annotation in getattr(getattr(choice, "message", None), "annotations", None) or ():
            yield str(member(annotation, "type"))
    if getattr(response, "choices", None) is None:
        for item in getattr(response, "output", None) or ():
            yield str(member(item, "type"))


def _raw_requests(response: Any) -> Any:
    """Returns the number of searches in an answer of Anthropic's own format."""
    if not isinstance(response, dict):
        return None
    number = member(member(response.get("usage"), "server_tool_use"), "web_search_requests")
    return number if isinstance(number, int) else None


def _told_searches(response: Any) -> Any:
    """Returns the number of searches that a response of the Responses API tells, if it tells one."""
    if getattr(response, "output", None) is None:
        return None
    used = member(response, "tool_usage")
    used = member(member(response, "usage"), "tool_usage") if used is None else used
    return member(member(used, "web_search"), "num_requests")


def _has_searched(response: Any, usage: Any) -> bool:
    if _raw_requests(response) is not None:
        return True
    if any(kind in ("url_citation", "web_search_call") for kind in _kinds(response)):
        return True
    if getattr(response, "output", None) is not None:
        return (_told_searches(response) or 0) > 0
    if usage is None:
        return False
    details = getattr(usage, "server_side_tool_usage_details", None)
    calls = details.get("web_search_calls") if isinstance(details, Mapping) else None
    told = getattr(getattr(usage, "prompt_tokens_details", None), "web_search_requests", None)
    return told is not None or _requests(usage) is not None or (isinstance(calls, int) and calls > 0)


def _each(info: Mapping[str, Any], size: str = "medium", otherwise: float = 0.0) -> float:
    price = (info.get("search_context_cost_per_query") or {}).get(f"search_context_size_{size}", otherwise)
    return float(price or 0.0)


def _search(model: str, provider: str | None, usage: Any, options: Any, response: Any) -> float:
    info, owner = _resolved(model, provider)
    requests = _requests(usage)
    if requests is None:
        requests = _raw_requests(response)
    if info is not None and owner is not None and (usage is not None or requests is not None):
        cost = _search_of(owner, info, usage, requests, member(response, "model"))
        if cost is not None:
            return cost
    if info is None:
        return 0.0
    size = (options or {}).get("search_context_size")
    number = requests if isinstance(requests, int) and requests > 0 else None
    if number is None and getattr(response, "output", None) is not None:
        number = _told_searches(response)
        if number is None:
            number = max(sum(kind == "web_search_call" for kind in _kinds(response)), 1)
    return _each(info, size if size in ("low", "medium", "high") else "medium") * (1 if number is None else number)


def _search_of(owner: str, info: Mapping[str, Any], usage: Any, requests: Any, served: Any) -> float | None:
    """Returns what searches cost by the rules of a provider, or ``None`` if it has none."""
    name = str(served if isinstance(served, str) else info.get("key") or "").lower()
    if owner == "anthropic" or (owner.startswith("vertex_ai") and "claude" in name):
        return _each(_served(info, served, owner)) * (requests or 0)
    if owner == "azure_ai":
        if "claude" not in str(info.get("key")).lower() and requests is None:
            return None
        return _each(_served(info, served, owner)) * (requests or 0)
    if owner == "gemini" or owner.startswith("vertex_ai"):
        number = getattr(usage.prompt_tokens_details, "web_search_requests", None) or requests or 0
        if number > 0 and (info.get("web_search_billing_unit") or "per_prompt") == "per_prompt":
            number = 1
        return _each(info, otherwise=_PER_SEARCH) * number
    if owner == "perplexity":
        return 0.0
    if owner == "xai":
        return _search_xai(info, usage)
    if owner == "groq":
        opened = member(getattr(usage, "server_tool_use", None), "browser_open_requests")
        return (_requests(usage) or 0) * _each(info) + (opened or 0) * _PER_PAGE_GROQ
    return None


def _served(info: Mapping[str, Any], served: Any, provider: str) -> Mapping[str, Any]:
    """Returns the entry of the model that answered, if it has prices of searches, else that of the one asked for."""
    if info.get("search_context_cost_per_query") or not isinstance(served, str):
        return info
    found = _info(served, "vertex_ai" if provider.startswith("vertex_ai") else provider)
    return found if found and found.get("search_context_cost_per_query") else info


def _search_xai(info: Mapping[str, Any], usage: Any) -> float:
    from ritellm.compat._provider_rules import reported

    details = getattr(usage, "server_side_tool_usage_details", None)
    if not isinstance(details, Mapping) or reported(usage) is not None:
        return 0.0
    calls = int(details.get("web_search_calls") or 0)
    each = next((price for size in ("medium", "low", "high") if (price := _each(info, size)) > 0), _PER_SEARCH_XAI)
    return each * calls if calls > 0 else 0.0


def _maps(model: str, provider: str | None, usage: Any) -> float:
    number = getattr(getattr(usage, "prompt_tokens_details", None), "google_maps_grounding_requests", None)
    if not number or number <= 0:
        return 0.0
    info, owner = _resolved(model, provider)
    if info is None or owner is None or not (owner == "gemini" or owner.startswith("vertex_ai")):
        return 0.0
    unit = info.get("web_search_billing_unit") or "per_prompt"
    each = info.get("google_maps_grounding_cost_per_query")
    each = _MAPS["per_query" if unit == "per_query" else "per_prompt"] if each is None else each
    return float(each) * (number if unit == "per_query" else 1)


def _files(model: str, provider: str | None, search: Any) -> float:
    if search is None or search == {}:
        return 0.0
    info = _info(model, provider) or {}
    size, days = (_float(member(search, name)) for name in ("storage_gb", "days"))
    if provider == "azure":
        return (
            size * days * info.get("file_search_cost_per_gb_per_day", _AZURE["file_search"]) if size and days else 0.0
        )
    return float(info.get("file_search_cost_per_1k_calls", _FILE_SEARCH))


def _float(value: Any) -> float:
    try:
        return float(value or 0)
    except (TypeError, ValueError):
        return 0.0


def _azure(model: str, params: Mapping[str, Any]) -> float:
    cost = 0.0
    store = params.get("vector_store_usage")
    if isinstance(store, Mapping) and store:
        cost += store.get("storage_gb", 0.0) * store.get("days", 0.0) * _AZURE["vector_store"]
    computer = params.get("computer_use_usage")
    if isinstance(computer, Mapping) and computer:
        for side in ("input", "output"):
            cost += _float(computer.get(f"{side}_tokens")) / 1000.0 * _AZURE[f"computer_{side}"]
    sessions = int(_float(params.get("code_interpreter_sessions")))
    if sessions:
        container = _models.entry_or_none("azure/container", "azure") or {}
        cost += sessions * (container.get("code_interpreter_cost_per_session") or 0.0)
    return cost
