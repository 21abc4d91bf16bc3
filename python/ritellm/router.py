"""Routers: groups of deployments that stand in for each other.

>>> from ritellm import Deployment, Router
>>> router = Router(
...     {
...         "fast": [Deployment("azure/gpt-4o-mini", base_url="https://…", weight=3, rpm=5_000), "openai/gpt-4o-mini"],
...         "smart": ["anthropic/claude-sonnet-4-5"],
...     },
...     fallbacks={"fast": ["smart"]},
... )  # doctest: +SKIP
>>> response = router.completion("fast", [{"role": "user", "content": "Hi"}])  # doctest: +SKIP
>>> response.meta.attempts  # doctest: +SKIP
[{'deployment': 'azure/gpt-4o-mini', …}]
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ritellm import _files
from ritellm.client import Client
from ritellm.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Deployment", "Router"]


class Deployment:
    """One model at one provider, with the account and the limits that it has there.

    >>> from ritellm import Deployment
    >>> Deployment("openai/gpt-4o-mini", weight=3, rpm=5_000, api_key="sk-…")
    Deployment('openai/gpt-4o-mini', weight=3, rpm=5000, api_key=…)

    Args:
        model: ``provider/model``, as for `ritellm.completion`.
        base_url: the address to call instead of the provider's own. Also ``api_base``.
        api_key: the key, or a function that returns it, instead of the key in the provider's environment variable.
        api_version: the version of the API, for providers that have versions.
        name: unique name for logs and `Router.status`; ``provider/model`` by default, with a number if there are several.
        weight: share of the calls, relative to the other deployments of the group; 1 by default.
        order: deployments with a lower number are used first, the others only if none of these is available.
        quota_group: a name that deployments share if one rate limit counts for all of them: a refusal pauses them together.
        account: a name that deployments share if what one stores (responses, files, batches) is known to the other; by
            default, deployments with the same provider, address and key.
        base_model: the name of the model that is the same wherever it is deployed; the embeddings of a group must be of one.
        rpm, tpm, max_in_flight: limits of the deployment; see `ritellm.Limits`.
        limits: other limits: a `ritellm.Limit`, a list of them, a dict or ``"adaptive"``.
        timeout: timeouts of an attempt, as for `ritellm.Client`.
        headers: header fields added to the deployment's requests.
        params: parameters that calls of this deployment have unless the caller sets them.
        **settings: settings of the provider (``aws_region_name``, ``vertex_project`` …).

    Raises:
        InvalidArgumentError: an argument that cannot be used.
    """

    __slots__ = ("model", "options")

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | Callable[[], Any] | None = None,
        api_version: str | None = None,
        name: str | None = None,
        weight: float | None = None,
        order: int | None = None,
        quota_group: str | None = None,
        account: str | None = None,
        base_model: str | None = None,
        rpm: float | None = None,
        tpm: float | None = None,
        max_in_flight: int | None = None,
        limits: Any = None,
        timeout: float | Mapping[str, float | None] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        given = {
            "base_url": base_url,
            "api_version": api_version,
            "name": name,
            "weight": weight,
            "order": order,
            "quota_group": quota_group,
            "account": account,
            "base_model": base_model,
            "rpm": rpm,
            "tpm": tpm,
            "max_in_flight": max_in_flight,
            "limits": limits,
            "timeout": timeout,
            "headers": headers,
            "params": params,
            "api_key": api_key,
            **settings,
        }
        if not isinstance(model, str):
            message = f'model is of type {type(model).__name__}: "provider/model" would be right'
            raise InvalidArgumentError(message)
        self.model = model
        self.options = {name: value for name, value in given.items() if value is not None}

    def __repr__(self) -> str:
        shown = {name: repr(value) for name, value in self.options.items()}
        # Settings of providers may be credentials, and header fields may hold one.
        hidden = self.options.keys() - _SHOWN
        members = [f"{name}={'…' if name in hidden else text}" for name, text in shown.items()]
        return f"Deployment({', '.join([repr(self.model), *members])})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Deployment) and (self.model, self.options) == (other.model, other.options)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        withheld = sorted(name for name, value in self.options.items() if name not in _SHOWN and not callable(value))
        kept = {name: value for name, value in self.options.items() if name not in withheld}
        return _unpickled, (self.model, kept, withheld)


#: Options of a deployment that hold no credential.
_SHOWN = frozenset(
    {
        "base_url",
        "api_version",
        "name",
        "weight",
        "order",
        "quota_group",
        "account",
        "base_model",
        "rpm",
        "tpm",
        "max_in_flight",
        "limits",
        "timeout",
        "params",
    }
)


def _unpickled(model: str, options: dict[str, Any], withheld: list[str]) -> Deployment:
    deployment = Deployment(model)
    deployment.options = options | ({"_withheld": withheld} if withheld else {})
    return deployment


class Router(Client):
    """A client that sends each call to one of several deployments, and to another if that fails.

    It is a `ritellm.Client` and has all of its methods, with the same types; ``model`` is the name of a group. docs/router.md
    describes it.

    >>> from ritellm import Router
    >>> router = Router({"fast": ["openai/gpt-4o-mini", "groq/llama-3.3-70b-versatile"]})  # doctest: +SKIP
    >>> response = router.completion("fast", [{"role": "user", "content": "Hi"}])  # doctest: +SKIP

    Args:
        groups: a dict of groups: name → a list of deployments, each a `Deployment`, a str ``provider/model``, or a dict of
            the arguments of `Deployment`.
        client: the client whose connections, proxy, certificates, limits, catalog and other settings are used; by default, the
            router has its own. Closing the one closes the other.
        model_list: groups in LiteLLM's format, in place of ``groups``: a list of dicts with ``model_name`` and
            ``litellm_params``.
        strategy: how a deployment of a group is chosen: ``"weighted"`` (the default: by weight), ``"least_busy"`` (fewest calls
            in flight), ``"latency"`` (the faster of two random ones), ``"usage"`` (the largest part of its limits left),
            ``"cost"`` (the lowest price; needs a client with a catalog), ``"ordered"`` (the first that is available),
            ``"affinity"`` (the same prompt prefix or user goes to the same deployment, so that the provider's cache is used),
            or a function. The function is called for each call on the caller's thread with the group's name and a list of the
            deployments' names, and returns the names in the order of preference, or one name.
        fallbacks: groups to go to when a group has failed: name → a list of names.
        context_window_fallbacks: groups to go to when a prompt exceeds the context window.
        content_policy_fallbacks: groups to go to when the provider refuses the content.
        hedge: a second request for calls that take long, such as ``{"after": "p95", "budget": 0.05}``: ``after`` is a quantile
            of the group's latency or a number of seconds, ``budget`` the maximum number of second requests as a part of all
            calls. Calls that are stored or that run tools at the provider are never sent twice. Off by default.
        max_wait: seconds that a call waits while no deployment is available or has budget; 60 by default. The total timeout of
            a router's call includes all waiting, that for limits too.
        attempt_timeout: seconds of an attempt while there is another deployment to try. By default, a share of the time that
            is left.
        max_retries: maximum number of attempts after the first, for each group; by default, the client's.
        cooldown: pauses after a refusal by a rate limit that tells none: ``{"first": 1, "max": 60}`` in seconds.
        breaker: when a deployment that fails is left out: any of ``failures`` (5 in a row), ``share`` (0.5) of at least
            ``min_attempts`` (20) within ``window`` (30 s), ``open_for`` (5 s, doubled up to ``max_open_for``, 120 s), and
            ``probe_every`` (300 s) for those whose key or model was refused.
        affinity: options of the strategy ``"affinity"``: ``prefix`` (number of bytes of the prompt's JSON that count as its
            prefix, 1024), ``max_load`` (1.25 times an even one), ``remember_for`` (600 s).
        **options: arguments of `ritellm.Client`.

    Raises:
        InvalidArgumentError: an argument that cannot be used; the message names it.
        AuthenticationError: a deployment without a key.
    """

    def __new__(cls, *args: Any, **options: Any) -> Self:
        if "_router" in options:
            # A copy, an unpickled router, or one with other options.
            return super().__new__(cls, **options)
        if len(args) > 1 and cls.__init__ is Router.__init__:
            message = f"Router() takes at most 1 positional argument, the groups, but {len(args)} were given"
            raise TypeError(message)
        try:
            return super().__new__(cls, **_arguments(*args, **options))
        except (InvalidArgumentError, TypeError):
            if cls.__init__ is Router.__init__:
                raise
            # The arguments are those of a subclass, whose own `__init__` calls ours with the router's.
            return super().__new__(cls)

    def __init__(
        self,
        groups: Mapping[str, Iterable[Deployment | str | Mapping[str, Any]]] | None = None,
        *,
        client: Client | None = None,
        model_list: Sequence[Mapping[str, Any]] | None = None,
        strategy: str | Callable[[str, list[str]], Any] | None = None,
        fallbacks: Any = None,
        context_window_fallbacks: Any = None,
        content_policy_fallbacks: Any = None,
        hedge: Mapping[str, Any] | None = None,
        max_wait: float | None = None,
        attempt_timeout: float | None = None,
        cooldown: Mapping[str, float] | None = None,
        breaker: Mapping[str, float] | None = None,
        affinity: Mapping[str, float] | None = None,
        **options: Any,
    ) -> None:
        if type(self).__init__ is Router.__init__:
            # `__new__` has read them.
            return
        given = {
            "client": client,
            "model_list": model_list,
            "strategy": strategy,
            "fallbacks": fallbacks,
            "context_window_fallbacks": context_window_fallbacks,
            "content_policy_fallbacks": content_policy_fallbacks,
            "hedge": hedge,
            "max_wait": max_wait,
            "attempt_timeout": attempt_timeout,
            "cooldown": cooldown,
            "breaker": breaker,
            "affinity": affinity,
        }
        super().__init__(**_arguments(groups, **given, **options))

    # `inspect.signature` looks at `__new__` first.
    __new__.__wrapped__ = __init__  # type: ignore[attr-defined]
    # The core calls `__init__` only of subclasses that have their own.
    _init = __init__

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **options: Any) -> Router:
        """Makes a router from a TOML file, or from YAML where PyYAML is installed.

        The file has the arguments of `Router` by their names; ``[client]`` is a table of the arguments of `ritellm.Client`.
        ``${NAME}`` and ``os.environ/NAME`` in a value stand for the variable of the environment. LiteLLM's files
        (``model_list``, ``router_settings``) can be read, too.

        Args:
            path: the file; its name ends in ``.toml``, ``.yaml`` or ``.yml``.
            **options: arguments that replace those of the file.

        Raises:
            InvalidArgumentError: a file that cannot be read, or an argument that cannot be used.
        """
        settings = _files.settings("path", path)
        client = settings.pop("client", None)
        foreign = settings.pop("router_settings", None)
        for name in ("litellm_settings", "general_settings", "environment_variables"):
            settings.pop(name, None)
        file = os.fspath(path)
        if foreign is not None:
            settings.update(_router_settings(_table(file, "router_settings", foreign)))
        if client is not None and "client" not in options:
            settings["client"] = _made(file, "client", Client, _table(file, "client", client), {})
        router: Router = _made(file, "", cls, settings, options)
        return router

    def status(self) -> dict[str, dict[str, Any]]:
        """Returns the state of each deployment, by its name.

        Returns:
            A dict of dicts: ``group``, ``model``, ``in_flight``, the numbers of attempts ``calls``, ``successes``,
            ``failures``, ``rate_limited`` and ``cancelled``, ``breaker`` (``"closed"``, ``"open"``, ``"half_open"`` or
            ``"out"``), ``why`` (why it gets no call now, or ``None``), ``ready_in`` and ``cooling_for`` (seconds, or ``None``),
            ``last_failure`` (the name of an exception class), ``latency`` and ``first_chunk_latency`` (``mean``, ``p50``,
            ``p95`` and ``p99`` in seconds) and ``limits`` (the state of its quota, as `ritellm.Client.limits` returns it).
        """
        return self.router_status()


def _arguments(
    groups: Any = None, *, client: Client | None = None, model_list: Any = None, **options: Any
) -> dict[str, Any]:
    """Returns the arguments of the core's client that stand for those of a router."""
    if (groups is None) == (model_list is None):
        raise InvalidArgumentError(
            'give either groups or model_list: {"group": ["provider/model", …]}, or a list as LiteLLM has it'
        )
    for name in options.keys() & _LITELLM_OPTIONS.keys():
        instead = _LITELLM_OPTIONS[name]
        if name == "routing_strategy" and options[name] in _STRATEGIES:
            instead = f"write strategy={_STRATEGIES[options[name]]!r}"
        raise InvalidArgumentError(f"{name} is no argument of a router here: {instead}")
    if client is not None and not isinstance(client, Client):
        raise InvalidArgumentError(f"client is of type {type(client).__name__}: a ritellm.Client would be right")
    router = {
        "groups": _groups(groups) if model_list is None else _groups_of_model_list(model_list),
        # LiteLLM's users write circles of two groups.
        "allow_circles": model_list is not None,
    }
    for name in ("strategy", "hedge", "max_wait", "attempt_timeout", "cooldown", "breaker", "affinity"):
        router[name] = options.pop(name, None)
    for name in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
        router[name] = _fallbacks(name, options.pop(name, None))
    options["_router"] = {name: value for name, value in router.items() if value is not None}
    if client is not None:
        options["_client"] = client
    return options


def _groups(groups: Any) -> dict[str, list[Deployment]]:
    if not isinstance(groups, Mapping):
        raise InvalidArgumentError(
            f"groups is of type {type(groups).__name__}: a dict of lists of deployments would be right"
        )
    found = {}
    for name, deployments in groups.items():
        if not isinstance(name, str):
            raise InvalidArgumentError(f"a key of groups is of type {type(name).__name__}: a str would be right")
        if isinstance(deployments, str | Mapping | Deployment) or not isinstance(deployments, Iterable):
            raise InvalidArgumentError(
                f"groups[{name!r}] is of type {type(deployments).__name__}: a list of deployments would be right"
            )
        at = f"groups[{name!r}]"
        found[name] = [_deployment(f"{at}[{index}]", deployment) for index, deployment in enumerate(deployments)]
    return found


def _deployment(at: str, deployment: Any) -> Deployment:
    if isinstance(deployment, str):
        return Deployment(deployment)
    if isinstance(deployment, Mapping):
        if "model" not in deployment:
            raise InvalidArgumentError(f'{at} has no model: "provider/model" would be right')
        return Deployment(**deployment)
    if not isinstance(deployment, Deployment):
        raise InvalidArgumentError(
            f"{at} is of type {type(deployment).__name__}: a Deployment, a str or a dict would be right"
        )
    return deployment


def _groups_of_model_list(model_list: Any) -> dict[str, list[Deployment]]:
    """Reads LiteLLM's list of deployments."""
    if isinstance(model_list, str | Mapping) or not isinstance(model_list, Iterable):
        raise InvalidArgumentError(f"model_list is of type {type(model_list).__name__}: a list of dicts would be right")
    found: dict[str, list[Deployment]] = {}
    for index, entry in enumerate(model_list):
        at = f"model_list[{index}]"
        if not isinstance(entry, Mapping) or not isinstance(entry.get("litellm_params"), Mapping):
            raise InvalidArgumentError(f'{at} must be a dict with "model_name" and "litellm_params"')
        if not isinstance(entry.get("model_name"), str):
            raise InvalidArgumentError(f"{at} has no model_name: the name of its group would be right")
        params = dict(_files.with_environment(entry["litellm_params"], at))
        info = entry.get("model_info") or {}
        options: dict[str, Any] = {"name": info.get("id"), "base_model": info.get("base_model")}
        # Limits may stand beside or inside of the parameters.
        for name in ("rpm", "tpm"):
            params.setdefault(name, entry.get(name))
        options["max_in_flight"] = params.pop("max_parallel_requests", None)
        options["headers"] = params.pop("extra_headers", None)
        for name in _LITELLM_ONLY:
            params.pop(name, None)
        defaults = {name: params.pop(name) for name in list(params) if name in _PARAMS}
        if defaults:
            options["params"] = defaults
        options = {name: value for name, value in options.items() if value is not None}
        found.setdefault(entry["model_name"], []).append(_deployment(at, {**params, **options}))
    return found


_BREAKER = 'breaker={"failures": 5, "open_for": 5} has the defaults'
_REDIS = 'share limits and breakers with client=Client(limits=Limits(…, share="redis://…")), answers with Cache.redis'
#: Arguments of LiteLLM's router, and what to write instead.
_LITELLM_OPTIONS = {
    "routing_strategy": "write strategy, with a name of a strategy here",
    "routing_strategy_args": "strategies have no arguments",
    "allowed_fails": _BREAKER,
    "allowed_fails_policy": _BREAKER,
    "cooldown_time": f'cooldown={{"first": 1, "max": 60}} is of rate limits; {_BREAKER}',
    "disable_cooldowns": _BREAKER,
    "retry_policy": "max_retries counts all repetitions",
    "model_group_retry_policy": "max_retries counts all repetitions",
    "retry_after": "pauses grow, and follow Retry-After",
    "default_fallbacks": 'name the groups: fallbacks={"fast": ["smart"]}',
    "max_fallbacks": "each group is asked once",
    "model_group_alias": "give the groups these names",
    "default_litellm_params": "write defaults={…} of the client, client=Client(defaults={…}), or params of a deployment",
    "enable_pre_call_checks": "with a catalog, deployments whose context is too small are left out",
    "stream_timeout": 'write timeout={"first_token": seconds, "idle": seconds}',
    "cache_responses": "write cache=Cache.memory()",
    "redis_url": _REDIS,
    "redis_host": _REDIS,
    "redis_port": _REDIS,
    "redis_password": _REDIS,
}
#: Members of ``litellm_params`` that say nothing about where a call goes.
_LITELLM_ONLY = (
    "custom_llm_provider",
    "max_retries",
    "stream_timeout",
    "input_cost_per_token",
    "output_cost_per_token",
    "mock_response",
    "use_in_pass_through",
    "litellm_credential_name",
    "drop_params",
)
#: Members of ``litellm_params`` that are parameters of calls.
_PARAMS = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "max_completion_tokens",
        "max_tokens",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "service_tier",
        "stop",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_p",
        "user",
    }
)


def _fallbacks(argument: str, fallbacks: Any) -> dict[str, list[str]] | None:
    """Reads fallbacks: a dict, or LiteLLM's list of dicts."""
    if fallbacks is None:
        return None
    pairs: dict[Any, Any] = {}
    entries = [fallbacks] if isinstance(fallbacks, Mapping) else fallbacks
    if isinstance(entries, str) or not isinstance(entries, Iterable):
        raise InvalidArgumentError(
            f"{argument} is of type {type(fallbacks).__name__}: a dict of lists of groups would be right"
        )
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise InvalidArgumentError(
                f"{argument} has an item of type {type(entry).__name__}: a dict of lists of groups would be right"
            )
        pairs.update(entry)
    for name, names in pairs.items():
        if isinstance(names, str) or not isinstance(names, Iterable) or not all(isinstance(to, str) for to in names):
            raise InvalidArgumentError(f"{argument}[{name!r}] must be a list of groups' names")
    return {name: list(names) for name, names in pairs.items()}


def _table(file: str, name: str, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidArgumentError(f"path: {file}: {name} is of type {type(given).__name__}: a table would be right")
    return given


def _made(file: str, table: str, kind: Any, settings: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """Calls a class with the entries of a table of a file, and with ``options`` that replace them."""
    try:
        return kind(**{**settings, **options})
    except TypeError as error:
        # Imported for errors only.
        import difflib
        import inspect

        names = {name for one in {kind, Client} for name in inspect.signature(one).parameters} - {"options"}
        unknown = next((name for name in settings if name not in names and name not in options), None)
        if unknown is None:
            raise
        right = difflib.get_close_matches(unknown, names, 1) or sorted(names)
        entry = f"{table}.{unknown}" if table else unknown
        raise InvalidArgumentError(
            f"path: {file}: {entry} is no argument of {kind.__name__}: {_either(right)} would be right"
        ) from error


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


#: LiteLLM's names of strategies.
_STRATEGIES = {
    "simple-shuffle": "weighted",
    "least-busy": "least_busy",
    "usage-based-routing": "usage",
    "usage-based-routing-v2": "usage",
    "latency-based-routing": "latency",
    "cost-based-routing": "cost",
}


def _router_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the table ``router_settings`` of LiteLLM's files."""
    names = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "timeout", "max_retries")
    settings: dict[str, Any] = {name: given[name] for name in names if given.get(name) is not None}
    if given.get("num_retries") is not None:
        settings["max_retries"] = given["num_retries"]
    strategy = given.get("routing_strategy")
    if strategy is not None:
        settings["strategy"] = _STRATEGIES.get(strategy, strategy)
    return settings
