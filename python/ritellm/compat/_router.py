"""LiteLLM's ``Router`` on RiteLLM's: the ``model_list`` as it is, the calls with LiteLLM's types and exceptions."""

from __future__ import annotations

import hashlib
import json
import logging
import random
from typing import Any

import ritellm
from ritellm.compat import _arguments, _call_fallbacks, _logging, _routed, _router_policies, _targets
from ritellm.compat._calls import settings

__all__ = ["Router"]

_STRATEGIES = {
    "simple-shuffle": "weighted",
    "least-busy": "least_busy",
    "usage-based-routing": "usage",
    "usage-based-routing-v2": "usage",
    "latency-based-routing": "latency",
    "cost-based-routing": "cost",
}
#: Arguments of LiteLLM's that have no meaning here: what they are for, RiteLLM does in its own way, or not at all.
_WITHOUT_EFFECT = frozenset(
    [
        "alerting_config",
        "allowed_fails_policy",
        "assistants_config",
        "auto_router_capability_limit",
        "background_health_check_model_groups",
        "caching_groups",
        "client_ttl",
        "debug_level",
        "deployment_affinity_ttl_seconds",
        "enable_health_check_routing",
        "enable_mid_stream_fallback_continuation",
        "enable_pre_call_checks",
        "enable_weighted_failover",
        "fallback_access_check",
        "fallback_budget_check",
        "fallback_on_unsupported_params",
        "guardrail_list",
        "health_check_ignore_transient_errors",
        "health_check_staleness_threshold",
        "ignore_invalid_deployments",
        "model_group_affinity_config",
        "optional_pre_call_checks",
        "plugins",
        "polling_interval",
        "provider_budget_config",
        "retry_after",
        "router_general_settings",
        "routing_groups",
        "routing_strategy_args",
        "search_tools",
        "session_affinity_repin_on_failover",
        "set_verbose",
        "default_priority",
    ]
)
#: Those of which nothing is said: they change no answer, or RiteLLM always does what they ask for.
_QUIET = frozenset(
    [
        "alerting_config",
        "client_ttl",
        "debug_level",
        "default_priority",
        "enable_pre_call_checks",
        "ignore_invalid_deployments",
        "polling_interval",
        "set_verbose",
    ]
)
#: Thresholds that no number of failures reaches.
_NO_BREAKER = {"failures": 2**31, "share": 1.0, "min_attempts": 2**31}
#: Parameters of a deployment that say where a call goes, or whose limits it has.
_PLACE = frozenset(("base_url", "api_key", "api_version", "timeout", "extra_headers", "max_retries", "drop_params"))
_FOREIGN = ("mock_response", "mock_tool_calls", "mock_timeout")


class _Deployments(list):  # type: ignore[type-arg]
    """What a caller gives as deployments. Tracebacks that show local variables do not show them: there are keys among them."""

    def __repr__(self) -> str:
        return f"<{len(self)} deployments>"


class Router:
    """Groups of deployments that stand in for each other, on `ritellm.Router`.

    Args:
        model_list: the deployments: dicts with ``model_name`` (the group) and ``litellm_params``, and ``model_info``.
        num_retries: maximum number of attempts after the first.
        timeout: seconds of a call.
        fallbacks: groups to go to when a group has failed: ``[{"name": ["other"]}]``, ``"*"`` for the groups that are not
            named. In place of a group there may be a dict of parameters that override the call's, such as ``messages``;
            ``model`` among them is the group.
        context_window_fallbacks: groups to go to when a prompt exceeds the context window.
        content_policy_fallbacks: groups to go to when the provider refuses the content.
        default_fallbacks: groups to go to when any group has failed that has no fallbacks of its own.
        model_group_alias: other names of groups.
        routing_strategy: ``"simple-shuffle"``, ``"least-busy"``, ``"latency-based-routing"``, ``"usage-based-routing"`` …
        default_litellm_params: parameters that all deployments have unless they set them.
        default_max_parallel_requests: maximum number of calls in flight to each deployment.
        allowed_fails: failures in a row after which a deployment is left out for a while.
        cooldown_time: seconds of a pause after a refusal by a rate limit that tells none.
        cache_responses: answers are kept: in the Redis that is named, else in memory.
        redis_url: address of the Redis.
        redis_host: host of the Redis.
        redis_port: port of the Redis.
        redis_password: password of the Redis.
        retry_policy: numbers of repetitions by the class of the failure, a `RetryPolicy` or a dict.
        model_group_retry_policy: the same by the name of the group; goes before ``retry_policy``.
        enable_tag_filtering: a call goes to the deployments that have one of its tags (``metadata={"tags": […]}``).
        tag_filtering_match_any: ``False``: to those that have all of its tags.
        tag_routing_prefix: only tags that begin so say where a call goes; the deployments' are without it.
        stream_timeout: seconds of a stream; a deployment may have its own.
        disable_cooldowns: failures do not leave a deployment out; a rate limit and a wrong key do.
        max_fallbacks: has no effect.
        cache_kwargs: has no effect.
        **options: further arguments of LiteLLM's, without effect; the log says so once.

    Raises:
        TypeError: an argument that LiteLLM's router does not have.
        ritellm.InvalidArgumentError: a value that cannot be used.
    """

    def __init__(
        self,
        model_list: list[dict[str, Any]] | None = None,
        *,
        num_retries: int | None = None,
        timeout: Any = None,
        fallbacks: list[dict[str, list[Any]]] | None = None,
        context_window_fallbacks: list[dict[str, list[Any]]] | None = None,
        content_policy_fallbacks: list[dict[str, list[Any]]] | None = None,
        default_fallbacks: list[str] | None = None,
        model_group_alias: dict[str, Any] | None = None,
        routing_strategy: str = "simple-shuffle",
        default_litellm_params: dict[str, Any] | None = None,
        default_max_parallel_requests: int | None = None,
        allowed_fails: int | None = None,
        cooldown_time: float | None = None,
        cache_responses: bool | None = False,
        redis_url: str | None = None,
        redis_host: str | None = None,
        redis_port: int | None = None,
        redis_password: str | None = None,
        retry_policy: Any = None,
        model_group_retry_policy: dict[str, Any] | None = None,
        enable_tag_filtering: bool | None = False,
        tag_filtering_match_any: bool | None = True,
        tag_routing_prefix: str | None = None,
        stream_timeout: Any = None,
        disable_cooldowns: bool | None = None,
        max_fallbacks: int | None = None,
        cache_kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        model_list = _Deployments(model_list or ())
        redis = _arguments.Given(host=redis_host, port=redis_port, password=redis_password, url=redis_url)
        del redis_password, redis_url
        default_litellm_params = _arguments.Given(default_litellm_params or {})
        unknown = sorted(set(options) - _WITHOUT_EFFECT)
        if unknown:
            raise TypeError(f"Router.__init__() got an unexpected keyword argument {unknown[0]!r}")
        for name in sorted(name for name, value in options.items() if value and name not in _QUIET):
            _logging.tell_once(f"the argument {name} of litellm.Router has no effect here: see docs/compat.md")
        self.num_retries, self.timeout, self.allowed_fails, self.cooldown_time = (
            num_retries, timeout, allowed_fails, cooldown_time,
        )  # fmt: skip
        self.fallbacks, self.default_fallbacks = list(fallbacks or ()), default_fallbacks
        self.context_window_fallbacks = list(context_window_fallbacks or ())
        self.content_policy_fallbacks = list(content_policy_fallbacks or ())
        self.model_group_alias, self.routing_strategy = dict(model_group_alias or {}), str(routing_strategy)
        self.default_litellm_params = default_litellm_params
        self.default_max_parallel_requests = default_max_parallel_requests
        self.retry_policy, self.model_group_retry_policy = retry_policy, model_group_retry_policy
        self.enable_tag_filtering, self.tag_filtering_match_any = enable_tag_filtering, tag_filtering_match_any
        self.tag_routing_prefix, self.stream_timeout = tag_routing_prefix, stream_timeout
        self.disable_cooldowns = disable_cooldowns
        #: Routers of those deployments that tags of calls allow.
        self._by_tags: dict[Any, Router] = {}
        self._native: Any = None
        self._cache: Any = None
        in_redis = bool(redis["url"] or redis["host"])
        if cache_responses:
            from ritellm.compat._cache import Cache

            self._cache = Cache("redis", **redis).native if in_redis else Cache("local").native
        elif in_redis:
            logging.getLogger("ritellm").warning(
                "%s",
                "the Redis of a litellm.Router shares nothing here: ritellm.Limits(share=…) does, see docs/compat.md",
            )
        self.set_model_list(model_list)

    # The deployments.

    def set_model_list(self, model_list: list[dict[str, Any]]) -> None:
        """Takes other deployments in place of those that there are."""
        model_list = _Deployments(model_list)
        self.model_list: list[dict[str, Any]] = []
        # No loop, whose variable would be one of them as it was given.
        _Deployments(map(self._added, model_list))
        self._changed()

    def _changed(self) -> None:
        self._native, self._by_tags = None, {}

    def _added(self, entry: Any) -> dict[str, Any]:
        try:
            dump = getattr(entry, "model_dump", None)
            given = _arguments.Given(dump(exclude_none=True) if dump is not None else entry)
        finally:
            # Tracebacks show local variables, and a key is among the parameters.
            del entry, dump
        params = _arguments.Given(self.default_litellm_params)
        params.update(given["litellm_params"])
        made = {**given, "litellm_params": params, "model_info": dict(given.get("model_info") or {})}
        made["model_info"].setdefault("id", _id(made["model_name"], params))
        made["model_info"].setdefault("db_model", False)
        self.model_list.append(made)
        return made

    def add_deployment(self, deployment: Any) -> Any:
        """Adds a deployment, a dict or an object with the same members."""
        try:
            self._added(deployment)
            self._changed()
            return deployment
        finally:
            del deployment

    def upsert_deployment(self, deployment: Any) -> Any:
        """Adds a deployment, or takes it in place of the one with the same id."""
        try:
            info = (
                deployment.get("model_info")
                if isinstance(deployment, dict)
                else getattr(deployment, "model_info", None)
            )
            self.delete_deployment(info.get("id") if isinstance(info, dict) else getattr(info, "id", None))
            return self.add_deployment(deployment)
        finally:
            del deployment

    def delete_deployment(self, id: Any) -> Any:
        """Removes the deployment with an id and returns it, or ``None``."""
        found = self.get_deployment(id)
        if found is not None:
            self.model_list.remove(found)
            self._changed()
        return found

    def get_deployment(self, model_id: Any) -> Any:
        """Returns the deployment with an id, or ``None``."""
        return next((entry for entry in self.model_list if entry["model_info"]["id"] == model_id), None)

    @property
    def model_names(self) -> set[str]:
        """The names of the groups."""
        return {entry["model_name"] for entry in self.model_list}

    def get_model_names(self, team_id: str | None = None) -> list[str]:
        """Returns the names of the groups, and their other names."""
        return [*(entry["model_name"] for entry in self.model_list), *self.model_group_alias]

    def get_model_list(self, model_name: str | None = None, team_id: str | None = None) -> list[dict[str, Any]]:
        """Returns the deployments, or those of one group."""
        group = None if model_name is None else self._group(model_name)
        return [entry for entry in self.model_list if group is None or entry["model_name"] == group]

    def get_available_deployment(self, model: str, **options: Any) -> dict[str, Any]:
        """Returns a deployment of a group, by weight.

        Raises:
            litellm.BadRequestError: there is no such group.
            ValueError: the tags of the call allow no deployment.
        """
        if self.enable_tag_filtering:
            return self._for(model, options.get("request_kwargs") or {}).get_available_deployment(model)
        found = _in_use(self._deployments(model))
        weights = [float(entry["litellm_params"].get("weight") or 1) for entry in found]
        return random.choices(found, weights)[0]

    async def async_get_available_deployment(self, model: str, **options: Any) -> dict[str, Any]:
        """Does the same as `get_available_deployment`."""
        return self.get_available_deployment(model, **options)

    def _for(self, model: str, kwargs: dict[str, Any]) -> Router:
        """Returns the router of the deployments that the tags of a call allow."""
        if not self.enable_tag_filtering:
            return self
        return _router_policies.tagged(self, self._group(model), kwargs)  # type: ignore[no-any-return]

    def _group(self, model: str) -> str:
        alias = self.model_group_alias.get(model, model)
        group = str(alias["model"] if isinstance(alias, dict) else alias)
        if self.default_fallbacks and not self._has(group):
            return next((name for name in self.default_fallbacks if self._has(name)), group)
        return group

    def _has(self, group: str) -> bool:
        return any(entry["model_name"] == group for entry in self.model_list)

    def _deployments(self, model: str) -> list[dict[str, Any]]:
        from ritellm.compat._exceptions import BadRequestError

        found = self.get_model_list(model)
        if not found:
            message = f"You passed in model={model}. There are no healthy deployments for this model"
            raise BadRequestError(message=message, model=model, llm_provider="")
        return found

    # RiteLLM's router.

    def _made(self) -> Any:
        """Returns RiteLLM's router with these deployments."""
        if self._native is None or self._native.is_closed:
            groups: dict[str, list[Any]] = {}
            self._targets: dict[str, tuple[_targets.Target, dict[str, Any]]] = {}
            #: Group → the longest timeout that one of its deployments has for streams.
            self._stream_timeouts: dict[str, float] = {}
            for entry in self.model_list:
                group = [other for other in self.model_list if other["model_name"] == entry["model_name"]]
                if not self._is_foreign(entry) and any(entry is used for used in _in_use(group)):
                    name = entry["model_info"]["id"]
                    deployment, target = self._deployment(entry, name, self._stream_timeout(entry, group))
                    groups.setdefault(entry["model_name"], []).append(deployment)
                    self._targets[name] = (target, entry)
            options: dict[str, Any] = {
                "strategy": _STRATEGIES.get(self.routing_strategy, self.routing_strategy),
                "fallbacks": self._fallbacks(groups),
                "context_window_fallbacks": self._known("context_window_fallbacks", groups),
                "content_policy_fallbacks": self._known("content_policy_fallbacks", groups),
                "max_retries": self.num_retries,
                "timeout": _arguments.seconds(self.timeout),
                "cache": self._cache,
                "cooldown": None if not self.cooldown_time else {"first": float(self.cooldown_time)},
                # A deployment is left out when more calls have failed than are allowed.
                "breaker": None if self.allowed_fails is None else {"failures": int(self.allowed_fails) + 1},
            }
            if self.disable_cooldowns:
                options["breaker"] = _NO_BREAKER
            # LiteLLM's users write circles of two groups, which `model_list` allows.
            given = {name: value for name, value in options.items() if value is not None}
            self._native = ritellm.Router(groups, allow_http=True, **given)
        return self._native

    def _stream_timeout(self, entry: dict[str, Any], group: list[dict[str, Any]]) -> Any:
        """Returns the timeout of a deployment's streams if it, or another one of its group, has one of its own."""
        given = [each["litellm_params"].get("stream_timeout") for each in group]
        if not any(given):
            return None
        longest = [time for time in map(_arguments.seconds, given) if isinstance(time, (int, float))]
        self._stream_timeouts[entry["model_name"]] = max(longest, default=0.0)
        return _arguments.seconds(entry["litellm_params"].get("stream_timeout") or self.stream_timeout)

    def _deployment(self, entry: dict[str, Any], of: str, stream_timeout: Any) -> tuple[Any, _targets.Target]:
        params = _arguments.Given(entry["litellm_params"])
        model = params.pop("model")
        target = _targets.resolve(
            model, params.get("custom_llm_provider"), params.get("base_url") or params.get("api_base")
        )
        sent = _arguments.prepared(params, target)
        limits = {limit: entry.get(limit) or params.get(limit) for limit in ("rpm", "tpm")}
        options = _arguments.Given(
            {
                "base_url": sent.get("base_url"),
                "api_key": sent.get("api_key"),
                "api_version": sent.get("api_version"),
                "timeout": sent.get("timeout"),
                "_stream_timeout": stream_timeout,
                "headers": sent.get("extra_headers"),
                "weight": params.get("weight") or None,
                "order": params.get("order"),
                "max_in_flight": params.get("max_parallel_requests") or self.default_max_parallel_requests,
                "base_model": entry["model_info"].get("base_model"),
                **limits,
            }
        )
        for name in (*_PLACE, *limits, "weight", "order"):
            sent.pop(name, None)
        for name in [name for name in sent if name.startswith(("aws_", "vertex_", "azure_"))]:
            options[name] = sent.pop(name)
        for name in [name for name, value in options.items() if value is None]:
            del options[name]
        return ritellm.Deployment(target.model, name=of, params=sent or None, **options), target

    def _fallbacks(self, groups: Any) -> Any:
        found = self._known("fallbacks", groups) or []
        own = {name for pairs in found for name in pairs}
        own.update(name for name in groups if "fallbacks" in _call_fallbacks.lists_of(self, name))
        others = [name for name in self.default_fallbacks or () if name in groups]
        found += [{name: [to for to in others if to != name]} for name in groups if others and name not in own]
        return [pairs for pairs in found if all(pairs.values())] or None

    def _known(self, kind: str, groups: Any) -> Any:
        """Returns the fallbacks of a list from and to groups that there are, without those that `_call_fallbacks` sees to."""
        pairs = [
            {name: [to for to in names if to in groups and to != name]}
            for entry in getattr(self, kind)
            for name, names in entry.items()
            if name in groups and kind not in _call_fallbacks.lists_of(self, name)
        ]
        return [pair for pair in pairs if all(pair.values())] or None

    def _is_foreign(self, entry: dict[str, Any]) -> bool:
        """True for deployments whose answers are made up, or which a program's own handler answers."""
        params = entry["litellm_params"]
        prefix = str(params.get("model", "")).partition("/")[0]
        own = {handler["provider"] for handler in settings["custom_provider_map"]}
        return prefix in own or any(params.get(name) is not None for name in _FOREIGN)

    def _foreign(self, model: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """Returns the arguments of a call that is not RiteLLM's router's, or ``None``."""
        found = self._deployments(model)
        made_up = any(given.get(name) is not None for name in _FOREIGN)
        if not made_up and not any(self._is_foreign(entry) for entry in found):
            return None
        entry = self.get_available_deployment(model)
        return _arguments.Given({**_routed.of_call(entry), **given, "model_info": entry["model_info"]})

    # The calls.

    def completion(self, model: str, messages: list[Any], **kwargs: Any) -> Any:
        """Makes a chat completion call to one of the deployments of a group: see ``litellm.completion``."""
        kwargs = _arguments.Given(kwargs)
        if not _call_fallbacks.ARGUMENTS.isdisjoint(kwargs):
            return _call_fallbacks.run(self, self.completion, model, messages, kwargs)
        router = self._for(model, kwargs)
        foreign = router._foreign(model, kwargs)
        if foreign is not None:
            from ritellm.compat._calls import completion

            made = lambda: completion(messages=messages, **foreign)  # noqa: E731
            return _call_fallbacks.run(self, self.completion, model, messages, kwargs, made)
        routed = _routed.RouterChat(router, router._group(model), "completion", messages, kwargs, False)
        lists = _call_fallbacks.lists_of(self, model)
        if lists:
            return _call_fallbacks.run(self, self.completion, model, messages, kwargs, routed.run, lists)
        return routed.run()

    async def acompletion(self, model: str, messages: list[Any], **kwargs: Any) -> Any:
        """Makes a chat completion call on an event loop: see `completion`."""
        kwargs = _arguments.Given(kwargs)
        if not _call_fallbacks.ARGUMENTS.isdisjoint(kwargs):
            return await _call_fallbacks.arun(self, self.acompletion, model, messages, kwargs)
        router = self._for(model, kwargs)
        foreign = router._foreign(model, kwargs)
        if foreign is not None:
            from ritellm.compat._calls import acompletion

            made = lambda: acompletion(messages=messages, **foreign)  # noqa: E731
            return await _call_fallbacks.arun(self, self.acompletion, model, messages, kwargs, made)
        routed = _routed.RouterChat(router, router._group(model), "acompletion", messages, kwargs, True)
        lists = _call_fallbacks.lists_of(self, model)
        if lists:
            return await _call_fallbacks.arun(self, self.acompletion, model, messages, kwargs, routed.arun, lists)
        return await routed.arun()

    def embedding(self, model: str, input: Any, is_async: bool | None = False, **kwargs: Any) -> Any:
        """Makes an embedding call to one of the deployments of a group: see ``litellm.embedding``."""
        kwargs = _arguments.Given(kwargs)
        if not _call_fallbacks.ARGUMENTS.isdisjoint(kwargs):
            return _call_fallbacks.run(self, self.embedding, model, input, kwargs)
        router = self._for(model, kwargs)
        foreign = router._foreign(model, kwargs)
        if foreign is not None:
            from ritellm.compat._calls import embedding

            made = lambda: embedding(input=input, **foreign)  # noqa: E731
            return _call_fallbacks.run(self, self.embedding, model, input, kwargs, made)
        routed = _routed.RouterEmbedding(router, router._group(model), "embedding", input, kwargs, False)
        lists = _call_fallbacks.lists_of(self, model)
        if lists:
            return _call_fallbacks.run(self, self.embedding, model, input, kwargs, routed.run, lists)
        return routed.run()

    async def aembedding(self, model: str, input: Any, is_async: bool | None = True, **kwargs: Any) -> Any:
        """Makes an embedding call on an event loop: see `embedding`."""
        kwargs = _arguments.Given(kwargs)
        if not _call_fallbacks.ARGUMENTS.isdisjoint(kwargs):
            return await _call_fallbacks.arun(self, self.aembedding, model, input, kwargs)
        router = self._for(model, kwargs)
        foreign = router._foreign(model, kwargs)
        if foreign is not None:
            from ritellm.compat._calls import aembedding

            made = lambda: aembedding(input=input, **foreign)  # noqa: E731
            return await _call_fallbacks.arun(self, self.aembedding, model, input, kwargs, made)
        routed = _routed.RouterEmbedding(router, router._group(model), "aembedding", input, kwargs, True)
        lists = _call_fallbacks.lists_of(self, model)
        if lists:
            return await _call_fallbacks.arun(self, self.aembedding, model, input, kwargs, routed.arun, lists)
        return await routed.arun()

    def __getattr__(self, name: str) -> Any:
        if name in _routed.ELSEWHERE or f"a{name}" in _routed.ELSEWHERE:
            return _routed.elsewhere(self, name)
        raise AttributeError(
            f"'Router' object has no attribute {name!r}; this is RiteLLM's compat layer, and docs/compat.md lists what it has"
        )


def _in_use(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the deployments without those of weight 0, unless all are."""
    return [entry for entry in entries if entry["litellm_params"].get("weight") != 0] or entries


def _id(name: str, params: dict[str, Any]) -> str:
    """Returns the id of a deployment that has none: the same for the same parameters."""
    text = json.dumps([name, params], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
