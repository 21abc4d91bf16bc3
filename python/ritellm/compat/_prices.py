"""The map of models and prices that LiteLLM calls ``model_cost``. It is asked at run time; no part of it is in this package.

It is, in this order: what the program assigns to ``litellm.model_cost``; the file that the variable ``LITELLM_MODEL_COST_MAP_URL``
names; the file in an installed package ``litellm``, which is read without importing it; the prices of the package genai-prices.
Without any of them it is empty, and what a model costs is not known.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from ritellm.compat import _finder

__all__ = [
    "aliases",
    "capabilities",
    "changed",
    "current",
    "filled",
    "find",
    "has_rules",
    "read",
    "remembered",
    "routed",
    "targets",
    "with_prefix",
]

_FILE = "model_prices_and_context_window_backup.json"
_RULES = "fallback_generalizations"

_lock = threading.Lock()
_map: dict[str, Any] | None = None
#: Name → the name of the entry that it stands for, of the entries with ``alias_of`` and ``aliases``.
_targets: dict[str, str] = {}
_rules: list[tuple[re.Pattern[str], dict[str, Any], frozenset[str]]] = []
#: Names in lower case, of the map with this identity and length.
_lower: tuple[int, int, dict[str, str]] = (0, -1, {})
#: What was found out from the same map.
_remembered: dict[str, dict[Any, Any]] = {}


def current() -> dict[str, Any]:
    """Returns the map, which is read when it is first asked for."""
    global _map
    assigned: dict[str, Any] | None = vars(_finder.module("litellm")).get("model_cost")
    if assigned is not None:
        return assigned
    if _map is None:
        with _lock:
            if _map is None:
                _map = _read()
    return _map


def changed() -> None:
    """Says that entries were added or removed."""
    global _lower
    _lower = (0, -1, {})


def read(path: str) -> dict[str, Any]:
    """Returns the entries of a file.

    Raises:
        OSError: a file that cannot be read.
        ValueError: a file that holds no JSON.
    """
    with open(path, encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def find(name: str) -> str | None:
    """Returns the key of an entry, whatever the case of its letters, or ``None``."""
    entries = current()
    if name in entries:
        return name
    key = _indexed(entries).get(name.lower())
    return key if key in entries else None


def with_prefix(prefix: str) -> list[tuple[str, dict[str, Any]]]:
    """Returns the last parts of the names that begin so, and their entries."""
    known = remembered("prefix")
    if prefix not in known:
        known[prefix] = [key for key in list(current()) if key.startswith(prefix)]
    # Of now, since another entry may have come in the place of one.
    entries = current()
    return [(key.rsplit("/", 1)[-1], entries[key]) for key in known[prefix] if key in entries]


def remembered(name: str) -> dict[Any, Any]:
    """Returns a dict for what somebody has found out from the map; it is empty again when names came or went.

    Args:
        name: whose it is.
    """
    _indexed(current())
    return _remembered.setdefault(name, {})


def _indexed(entries: dict[str, Any]) -> dict[str, str]:
    global _lower
    if (id(entries), len(entries)) != _lower[:2]:
        _remembered.clear()
        _lower = (id(entries), len(entries), {key.lower(): key for key in list(entries)})
    return _lower[2]


def targets(name: str) -> str | None:
    """Returns the name of the entry that an alias stands for, or ``None`` for a name that is no alias."""
    current()
    return _targets.get(name)


def aliases() -> Mapping[str, str]:
    """Returns all aliases: name → the name of the entry that it stands for."""
    current()
    return _targets


# The map's own rules for models that have no entry, or an entry with gaps. Each has a regular expression and members of an entry;
# one with `litellm_provider` alone says where a bare name goes, the others what a model can do.


def has_rules() -> bool:
    """True if the map is one of LiteLLM's own, which has rules for the names that it does not list."""
    current()
    return bool(_rules)


def routed(model: str) -> str | None:
    """Returns the provider of a bare name that has no entry, as the first rule that matches says it."""
    current()
    for pattern, members, _ in _rules:
        if "litellm_provider" in members and pattern.search(model):
            provider = members["litellm_provider"]
            return provider if isinstance(provider, str) else None
    return None


def capabilities(model: str) -> dict[str, Any] | None:
    """Returns the members of all rules that match a model without an entry; later rules go before earlier ones."""
    current()
    return _union(members for pattern, members, _ in _capability_rules() if pattern.search(model))


def filled(key: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Returns an entry with the members that it lacks and the rules for its provider have."""
    provider = entry.get("litellm_provider", "")
    if entry.get("mode", "chat") not in _FILLED_MODES or not isinstance(provider, str) or not provider:
        return entry
    found = _union(
        members for pattern, members, providers in _capability_rules() if provider in providers and pattern.search(key)
    )
    return {**found, **entry} if found else entry


_FILLED_MODES = ("chat", "responses")


def _capability_rules() -> Iterator[tuple[re.Pattern[str], dict[str, Any], frozenset[str]]]:
    return (rule for rule in _rules if "litellm_provider" not in rule[1])


def _union(found: Iterator[dict[str, Any]]) -> dict[str, Any] | None:
    members: dict[str, Any] = {}
    for one in found:
        members.update(one)
    return members or None


# Where the map is from.


def _read() -> dict[str, Any]:
    for source in (_named, _installed):
        path = source()
        if path is not None:
            try:
                with open(path, encoding="utf-8") as file:
                    return _prepared(json.load(file))
            except (OSError, ValueError, TypeError) as error:
                logging.getLogger("ritellm").warning("the price map %s cannot be read: %s", path, error)
    _rules.clear()
    _targets.clear()
    return _genai_prices()


def _named() -> str | None:
    name = os.environ.get("LITELLM_MODEL_COST_MAP_URL", "")
    if name.startswith("file://"):
        from urllib.parse import urlsplit
        from urllib.request import url2pathname

        return url2pathname(urlsplit(name).path)
    # An address on the network is LiteLLM's default; nothing is fetched here.
    return name if name and "://" not in name else None


def _installed() -> str | None:
    return _finder.path_in_litellm(_FILE)


def _prepared(entries: Any) -> dict[str, Any]:
    """Returns the entries of a file with their aliases spelt out, without the rules."""
    if not isinstance(entries, dict):
        raise TypeError(f"it holds a {type(entries).__name__}, not an object")
    rules = entries.pop(_RULES, None)
    for name in [name for name, entry in entries.items() if not isinstance(entry, dict)]:
        del entries[name]
    _rules[:] = [] if not isinstance(rules, dict) else list(_compiled(rules.get("rules")))
    pointers = {name: entry["alias_of"] for name, entry in entries.items() if isinstance(entry.get("alias_of"), str)}
    found = {name: target for name, target in pointers.items() if target in entries and target not in pointers}
    for name, entry in list(entries.items()):
        for alias in entry.get("aliases") or ():
            if alias not in entries:
                found.setdefault(alias, name)
    _targets.clear()
    _targets.update(found)
    for name, entry in list(entries.items()):
        if name in pointers:
            target = found.get(name)
            if target is None:
                del entries[name]
            else:
                entries[name] = entries[target]
        else:
            entry.pop("aliases", None)
    for alias, target in found.items():
        entries.setdefault(alias, entries[target])
    return entries


def _compiled(rules: Any) -> Iterator[tuple[re.Pattern[str], dict[str, Any], frozenset[str]]]:
    for rule in rules if isinstance(rules, list) else ():
        members = rule.get("model_info")
        if not isinstance(members, dict) or "extends" in rule or ("litellm_provider" in members and len(members) > 1):
            continue
        try:
            pattern = re.compile(rule["pattern"], re.IGNORECASE)
        except (KeyError, TypeError, re.error):
            continue
        yield pattern, members, frozenset(rule.get("fill_missing_for_providers") or ())


#: Providers of genai-prices by LiteLLM's names.
_GENAI_NAMES = {
    "anthropic": "anthropic",
    "avian": "avian",
    "aws": "bedrock",
    "azure": "azure",
    "cerebras": "cerebras",
    "cohere": "cohere_chat",
    "deepseek": "deepseek",
    "fireworks": "fireworks_ai",
    "google": "gemini",
    "groq": "groq",
    "huggingface_together": "huggingface",
    "mistral": "mistral",
    "moonshotai": "moonshot",
    "novita": "novita",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together_ai",
    "x-ai": "xai",
}
#: Providers whose models have no prefix in LiteLLM's map.
_BARE = ("anthropic", "bedrock", "cohere_chat", "openai")
_GENAI_PRICES = {
    "input_mtok": "input_cost_per_token",
    "output_mtok": "output_cost_per_token",
    "cache_read_mtok": "cache_read_input_token_cost",
    "cache_write_mtok": "cache_creation_input_token_cost",
    "input_audio_mtok": "input_cost_per_audio_token",
    "output_audio_mtok": "output_cost_per_audio_token",
}


def _genai_prices() -> dict[str, Any]:
    """Returns entries with the prices that genai-prices has: those of its models' plain names, without dates."""
    try:
        from genai_prices.data_snapshot import get_snapshot
    except ImportError:
        return {}
    entries: dict[str, Any] = {}
    for provider in get_snapshot().providers:
        name = _GENAI_NAMES.get(provider.id)
        if name is None:
            continue
        for model in provider.models:
            prices = model.prices[-1].prices if isinstance(model.prices, list) else model.prices
            entry: dict[str, Any] = {"litellm_provider": name, "mode": "chat"}
            if model.context_window:
                entry["max_input_tokens"] = model.context_window
            for member, key in _GENAI_PRICES.items():
                price = getattr(prices, member, None)
                if price is None:
                    continue
                entry[key] = float(getattr(price, "base", price)) / 1_000_000
                for tier in getattr(price, "tiers", ()):
                    entry[f"{key}_above_{tier.start // 1000}k_tokens"] = float(tier.price) / 1_000_000
            entries[model.id if name in _BARE else f"{name}/{model.id}"] = entry
    return entries
