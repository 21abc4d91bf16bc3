"""Tables for ``Client(catalog=...)``: files, and the data of the package ``genai-prices``, converted.

The native core reads the tables; this module is imported when a client is given a file's path or ``"genai-prices"``.
"""

from __future__ import annotations

import os
import re

from ritellm import _files
from ritellm.exceptions import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

__all__ = ["load"]


def load(source: str | os.PathLike[str]) -> Any:
    """Returns the table that a source names: ``"genai-prices"``, or a TOML or JSON file.

    Raises:
        InvalidArgumentError: a package that is not installed, or a file that cannot be read.
    """
    if source == "genai-prices":
        return _genai_prices()
    if not os.fspath(source).endswith((".json", ".toml")):
        raise InvalidArgumentError(
            f'catalog is {source!r}: "genai-prices", the path of a .toml or .json file, or a dict would be right'
        )
    return _files.read("catalog", source, ("toml", "json"))


# The providers whose names differ: RiteLLM's and genai-prices'.
_NAMES = {
    "bedrock": "aws",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "moonshot": "moonshotai",
    "together_ai": "together",
    "vertex": "google",
    "voyage": "voyageai",
    "xai": "x-ai",
}

# The classes of tokens: the name of their price, and the class whose price holds for them where they have none. The package
# counts tokens whose own price it lacks with the next more general class.
_CLASSES = {
    "input": ("input_mtok", None),
    "output": ("output_mtok", None),
    "cached": ("cache_read_mtok", "input"),
    "cache_write": ("cache_write_mtok", "input"),
    "cache_write_hour": ("cache_write_1h_mtok", "cache_write"),
    "audio_input": ("input_audio_mtok", "input"),
    "image_input": ("input_image_mtok", "input"),
    "reasoning": ("output_reasoning_mtok", "output"),
    "audio_output": ("output_audio_mtok", "output"),
}


def _genai_prices() -> dict[str, Any]:
    try:
        from genai_prices.data_snapshot import get_snapshot
    except ImportError as error:
        raise InvalidArgumentError(
            f"catalog=\"genai-prices\" needs a package that cannot be imported ({error}): pip install 'ritellm[prices]'"
        ) from None
    from ritellm import _core

    known = {provider.id: provider for provider in get_snapshot().providers}
    lists: dict[str, list[Any]] = {}
    providers: dict[str, list[str]] = {}
    for row in _core.providers():
        provider = known.get(_NAMES.get(row["name"], row["name"]))
        if provider is None:
            continue
        # A provider that serves others' models may have their prices.
        used = [provider.id, *(name for name in provider.fallback_model_providers or () if name in known)]
        providers[row["name"]] = used
        for name in used:
            if name not in lists:
                lists[name] = [entry for model in known[name].models if (entry := _entry(model)) is not None]
    return {"lists": lists, "providers": providers}


def _entry(model: Any) -> dict[str, Any] | None:
    """The entry of a model; ``None`` if its names cannot be written as patterns."""
    rule = _rule(model.match)
    if rule is None:
        return None
    periods = model.prices if isinstance(model.prices, list) else [None]
    return {
        "match": rule,
        "context_window": model.context_window or None,
        "periods": [
            _period(getattr(period, "constraint", None), getattr(period, "prices", model.prices)) for period in periods
        ],
    }


def _rule(match: Any) -> Any:
    """The rule of the table for a clause; ``None`` if there is none."""
    kind = type(match).__name__
    if kind == "ClauseEquals":
        return _literal(match.equals)
    if kind == "ClauseStartsWith":
        return _literal(match.starts_with) + "*"
    if kind == "ClauseEndsWith":
        return "*" + _literal(match.ends_with)
    if kind == "ClauseContains":
        return f"*{_literal(match.contains)}*"
    if kind == "ClauseRegex":
        return _rule_of_regex(match.regex)
    if kind == "ClauseOr":
        rules = [rule for clause in match.or_ if (rule := _rule(clause)) is not None]
        return {"any": rules} if rules else None
    if kind == "ClauseAnd":
        rules = [_rule(clause) for clause in match.and_]
        return None if None in rules else {"all": rules}
    return None


def _literal(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)


# An atom of a regular expression that a pattern can say, and how often it comes.
_ATOM = re.compile(r"(\\d|\\[^\w]|\[[^\]\\^]+\]|[^\\\[\](){}.*+?|^$])(?:\{(\d+)\})?")


def _rule_of_regex(regex: str) -> Any:
    """The rule for a regular expression; ``None`` for one that patterns cannot say."""
    excluded = re.fullmatch(r"\^\(\?!\.\*((?:-?\[\w\w\])+|-?[\w-]+)\(\?:\$\|-\)\)", regex)
    if excluded:
        pattern = excluded[1].lower()
        return {"not": {"any": [f"*{pattern}", f"*{pattern}-*"]}}
    optional = re.search(r"\(([^()|]*)\)\?", regex)
    if optional:
        before, after = regex[: optional.start()], regex[optional.end() :]
        rules = [_rule_of_regex(before + part + after) for part in ("", optional[1])]
        return None if None in rules else {"any": rules}
    start, end = regex.startswith("^"), regex.endswith("$") and not regex.endswith("\\$")
    body = regex[start : len(regex) - end]
    pattern, at = "", 0
    while at < len(body):
        atom = _ATOM.match(body, at)
        if atom is None or (atom.end() < len(body) and body[atom.end()] in "*+?{"):
            return None
        text = atom[1]
        if text == r"\d":
            text = "[0-9]"
        elif text.startswith("\\"):
            text = _literal(text[1:])
        elif len(text) == 1:
            text = _literal(text)
        pattern += text * int(atom[2] or 1)
        at = atom.end()
    return ("" if start else "*") + pattern + ("" if end else "*")


def _period(constraint: Any, prices: Any) -> dict[str, Any]:
    period: dict[str, Any] = {}
    if hasattr(constraint, "start_date"):
        period["from"] = constraint.start_date.isoformat()
    elif hasattr(constraint, "start_time"):
        period["daily"] = [_utc(constraint.start_time), _utc(constraint.end_time)]
    known = {name: getattr(prices, key, None) for name, (key, _) in _CLASSES.items()}
    thresholds = {tier.start for price in known.values() for tier in getattr(price, "tiers", ())}
    period.update(_tier(known, None))
    period["tiers"] = [{"above": start, **_tier(known, start)} for start in sorted(thresholds)]
    request = getattr(prices, "requests_kcount", None)
    if request is not None:
        period["request"] = float(getattr(request, "base", request)) / 1000
    return period


def _tier(prices: dict[str, Any], above: int | None) -> dict[str, float]:
    """The prices of calls with more than ``above`` input tokens; ``None`` for all others."""
    tier: dict[str, float] = {}
    for name, price in prices.items():
        general = _CLASSES[name][1]
        if price is not None:
            value = getattr(price, "base", price)
            for step in getattr(price, "tiers", ()):
                if above is not None and step.start <= above:
                    value = step.price
            tier[name] = float(value)
        elif general in tier:
            tier[name] = tier[general]
    return tier


def _utc(time: Any) -> str:
    import datetime

    if time.tzinfo is not None:
        time = datetime.datetime.combine(datetime.date(2000, 1, 1), time).astimezone(datetime.timezone.utc)
    return f"{time:%H:%M}"
