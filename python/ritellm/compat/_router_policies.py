"""What LiteLLM's router lets its user decide: repetitions by the class of the failure, and which deployments a call's tags allow."""

from __future__ import annotations

import copy
import re
from typing import Any

from ritellm.compat import _exceptions, _logging

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
    agent = None
    for name in ("metadata", "litellm_metadata"):
        given = kwargs.get(name)
        if isinstance(given, dict):
            tags += [tag for tag in given.get("tags") or () if isinstance(tag, str)]
            agent = given.get("user_agent") or agent
    wanted = _Wanted(tags, router.tag_routing_prefix or "", agent, router.tag_filtering_match_any)
    groups: dict[str, list[Any]] = {}
    for entry in router.model_list:
        groups.setdefault(entry["model_name"], []).append(entry)
    allowed = {name: wanted.allowed(entries) for name, entries in groups.items()}
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


class _Wanted:
    """What a call says of the deployments that may take it.

    Args:
        tags: its tags: ``"!tag"`` leaves out the deployments with a tag, ``"&tag"`` those without.
        prefix: only tags that begin so count, without it.
        agent: the program that makes the call, for the ``tag_regex`` of deployments.
        match_any: one of the tags is enough.
    """

    def __init__(self, tags: list[str], prefix: str, agent: Any, match_any: Any) -> None:
        tags = [tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)]
        self.tags = {tag for tag in tags if tag[0:1] not in ("!", "&")}
        self.excluded = {tag[1:] for tag in tags if tag.startswith("!") and len(tag) > 1}
        self.required = {tag[1:] for tag in tags if tag.startswith("&") and len(tag) > 1}
        self.header = f"User-Agent: {agent}" if agent else None
        self.match_any = match_any

    def allowed(self, entries: list[Any]) -> list[Any]:
        """Returns the deployments of a group that may take the call."""
        open_ones = [each for each in entries if not _tags(each) & self.excluded and self.required <= _tags(each)]
        defaults = [each for each in open_ones if "default" in _tags(each)]
        by_header = (
            self.header and not self.required and any(each["litellm_params"].get("tag_regex") for each in open_ones)
        )
        if self.tags or by_header:
            found = [each for each in open_ones if self._matches(each)]
            # A tag that some deployment has is no mistake: the call does not go to others.
            is_known = any(self.tags & _tags(each) for each in entries)
            return found or ([] if is_known else defaults)
        if self.required:
            return open_ones
        return defaults if any("default" in _tags(each) for each in entries) else open_ones

    def _matches(self, entry: Any) -> bool:
        tags = _tags(entry)
        if tags & self.tags if self.match_any else tags and self.tags and self.tags <= tags:
            return True
        # An expression does not stand in for tags that must all be there.
        if self.header is None or (tags and not self.match_any):
            return False
        return any(_found(pattern, self.header) for pattern in entry["litellm_params"].get("tag_regex") or ())


def _tags(entry: Any) -> set[str]:
    return set(entry["litellm_params"].get("tags") or ())


def _found(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        _logging.tell_once(f"the tag_regex {pattern!r} is no regular expression, and matches nothing")
        return False
