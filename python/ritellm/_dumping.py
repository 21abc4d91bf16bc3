"""`model_dump` of results with pydantic's `include` and `exclude`. Imported when one of them is given."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from ritellm.exceptions import InvalidArgumentError

_WHOLE = (True, ...)
# The other keywords of pydantic's `model_dump` and the OpenAI SDK's `to_dict`. None applies to what has no aliases, no
# defaults of its own and no types to be converted.
_IGNORED = frozenset(
    [
        "by_alias",
        "context",
        "ensure_ascii",
        "exclude_computed_fields",
        "exclude_unset",
        "fallback",
        "polymorphic_serialization",
        "round_trip",
        "serialize_as_any",
        "use_api_names",
        "warnings",
    ]
)


def check_keywords(method: str, given: Mapping[str, Any]) -> None:
    """Checks that the other keywords of a call are pydantic's.

    Raises:
        InvalidArgumentError: one is not.
    """
    for name in given:
        if name not in _IGNORED:
            from difflib import get_close_matches

            ours = ["mode", "indent", "include", "exclude", "exclude_none", "exclude_defaults"]
            close = get_close_matches(name, [*ours, *_IGNORED], 1)
            hint = f": did you mean {close[0]}?" if close else f": it has {', '.join(ours)}"
            raise InvalidArgumentError(f"{method} has no keyword {name}{hint}")


def selected(value: Any, include: Any, exclude: Any) -> Any:
    """Returns a copy of dicts and lists with the members that are included and not excluded.

    Args:
        include: a set of names, or of indexes of a list, or a dict of these to ``True`` or to the same for what is below;
            ``"__all__"`` stands for each item of a list. ``None`` includes everything.
        exclude: the same for what is left out.

    Raises:
        InvalidArgumentError: one of them is neither a set nor a dict.
    """
    for name, given in (("include", include), ("exclude", exclude)):
        if given is not None and not isinstance(given, (Set, Mapping)):
            kind = type(given).__name__
            raise InvalidArgumentError(
                f'{name} is of type {kind}: a set such as {{"choices"}} or a dict would be right'
            )
    if isinstance(value, dict):
        pairs = [(name, item, *_below(name, None, include, exclude)) for name, item in value.items()]
        return {name: _selected(item, wanted, unwanted) for name, item, wanted, unwanted in pairs if wanted is not _NO}
    if isinstance(value, list):
        count = len(value)
        items = [(item, *_below(index, count, include, exclude)) for index, item in enumerate(value)]
        return [_selected(item, wanted, unwanted) for item, wanted, unwanted in items if wanted is not _NO]
    return value


_NO = object()


def _selected(value: Any, include: Any, exclude: Any) -> Any:
    return value if include is None and exclude is None else selected(value, include, exclude)


def _below(name: Any, count: int | None, include: Any, exclude: Any) -> tuple[Any, Any]:
    """Returns `include` and `exclude` for a member; `_NO` as the first if the member is left out."""
    wanted, unwanted = _rule(include, name, count), _rule(exclude, name, count)
    if unwanted in _WHOLE or (include is not None and (wanted is None or wanted is False)):
        return _NO, None
    return None if wanted in _WHOLE else wanted, None if unwanted is False else unwanted


def _rule(rules: Any, name: Any, count: int | None) -> Any:
    """Returns what the rules say about a member: `None` for nothing, `True` for all of it, or rules for what is below."""
    found: list[Any] = []
    for key in (name,) if count is None else (name, name - count, "__all__"):
        if rules is not None and key in rules:
            found.append(rules[key] if isinstance(rules, Mapping) else True)
    if any(rule in _WHOLE for rule in found):
        return True
    # An index and `__all__` may both say something about what is below.
    merged: Any = found[0] if found else None
    for rule in found[1:]:
        merged = {**_as_dict(merged), **_as_dict(rule)}
    return merged


def _as_dict(rules: Any) -> dict[Any, Any]:
    return dict(rules) if isinstance(rules, Mapping) else dict.fromkeys(rules or (), True)
