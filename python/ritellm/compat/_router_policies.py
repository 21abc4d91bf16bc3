"""What LiteLLM's router lets its user decide: repetitions by the class of the failure, and which deployments a call's tags allow."""

from __future__ import annotations

import copy
from typing import Any

from ritellm.compat import _exceptions

#: Classes of failures whose number of repetitions a `RetryPolicy` tells, the most special first.
_KINDS = (
    "AuthenticationError",
    "Timeout",
    "RateLimitError",
    "ContentPolicyViolationError",
    "BadRequestError",
    "NotFoundError",
    "ServiceUnavailableError",
    "InternalServerError",
)
#: LiteLLM's number of repetitions where nothing else is said.
_DEFAULT_RETRIES = 2
_MAX_PAUSE = 8.0


def policy_of(router: Any, group: str) -> dict[str, Any] | None:
    """Returns the retry policy of a group, as a dict; None if there is none."""
    policy = (router.model_group_retry_policy or {}).get(group) or router.retry_policy
    made: dict[str, Any] | None = policy.model_dump() if hasattr(policy, "model_dump") else policy
    return made


def retries(policy: dict[str, Any], error: BaseException, otherwise: int | None) -> int:
    """Returns how often a call that has failed is repeated.

    Args:
        policy: the retry policy.
        error: LiteLLM's exception.
        otherwise: the number for transient failures that the policy does not tell.
    """
    for name in _KINDS:
        number = policy.get(f"{name if name != 'Timeout' else 'TimeoutError'}Retries")
        if number is not None and isinstance(error, _exceptions.built(name)):
            return int(number)
    if policy.get("DefaultRetries") is not None:
        return int(policy["DefaultRetries"])
    status = getattr(error, "status_code", None)
    if not isinstance(status, int) or not (status in (408, 409, 429) or status >= 500):
        return 0
    return _DEFAULT_RETRIES if otherwise is None else otherwise


def pause(router: Any, group: str, tried: int) -> float:
    """Returns the seconds before a repetition: none where another deployment can take the call."""
    several = sum(entry["model_name"] == group for entry in router.model_list) > 1
    return 0.0 if several else min(_MAX_PAUSE, 0.5 * 2.0**tried)


def tagged(router: Any, group: str, kwargs: dict[str, Any]) -> Any:
    """Returns the router of the deployments that the tags of a call allow.

    Raises:
        ValueError: it allows none.
    """
    tags: list[str] = []
    for name in ("metadata", "litellm_metadata"):
        given = kwargs.get(name)
        if isinstance(given, dict):
            tags += [tag for tag in given.get("tags") or () if isinstance(tag, str)]
    groups: dict[str, list[Any]] = {}
    for entry in router.model_list:
        groups.setdefault(entry["model_name"], []).append(entry)
    allowed = {name: _allowed(entries, tags, router.tag_filtering_match_any) for name, entries in groups.items()}
    if groups.get(group) and not allowed[group]:
        raise ValueError(f"Not allowed to access model due to tags configuration. Passed model={group} and tags={tags}")
    entries = [entry for of_group in allowed.values() for entry in of_group]
    if len(entries) == len(router.model_list):
        return router
    key = tuple(entry["model_info"]["id"] for entry in entries)
    made = router._by_tags.get(key)
    if made is None:
        made = copy.copy(router)
        made.model_list, made.enable_tag_filtering, made._native = entries, False, None
        router._by_tags[key] = made
    return made


def _allowed(entries: list[Any], tags: list[str], match_any: bool) -> list[Any]:
    """Returns the deployments that tags allow: ``"!tag"`` leaves out those with a tag, ``"&tag"`` those without."""
    wanted = {tag for tag in tags if tag[0:1] not in ("!", "&")}
    excluded = {tag[1:] for tag in tags if tag.startswith("!") and len(tag) > 1}
    required = {tag[1:] for tag in tags if tag.startswith("&") and len(tag) > 1}
    of = {id(entry): set(entry["litellm_params"].get("tags") or ()) for entry in entries}
    defaults = [entry for entry in entries if "default" in of[id(entry)]]
    if wanted:
        found = [each for each in entries if (of[id(each)] & wanted if match_any else wanted <= of[id(each)])]
        found = found or defaults
    else:
        found = entries if required else defaults or entries
    return [each for each in found if not of[id(each)] & excluded and required <= of[id(each)]]
