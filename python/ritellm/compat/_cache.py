"""LiteLLM's ``Cache`` on RiteLLM's: ``litellm.cache``, ``enable_cache`` and what belongs to them."""

from __future__ import annotations

import time
from enum import Enum
from typing import Any

import ritellm
from ritellm.compat import _arguments, _finder

__all__ = [
    "Cache",
    "CacheMode",
    "DualCache",
    "InMemoryCache",
    "LiteLLMCacheType",
    "add_argument",
    "disable_cache",
    "enable_cache",
    "update_cache",
]


class LiteLLMCacheType(str, Enum):
    """Where a `Cache` keeps the answers."""

    LOCAL = "local"
    REDIS = "redis"
    REDIS_SEMANTIC = "redis-semantic"
    VALKEY_SEMANTIC = "valkey-semantic"
    S3 = "s3"
    DISK = "disk"
    QDRANT_SEMANTIC = "qdrant-semantic"
    AZURE_BLOB = "azure-blob"
    GCS = "gcs"


class CacheMode(str, Enum):
    """Whether calls use the cache unless they say otherwise."""

    default_on = "default_on"
    default_off = "default_off"


class Cache:
    """Keeps answers in memory, in a folder or in a Redis; see docs/cache.md for what is the same question.

    Unlike LiteLLM's, it never gives the answers of one key to the calls of another.

    Args:
        type: ``"local"``, ``"disk"`` or ``"redis"``.
        mode: ``"default_off"``: only calls with ``cache={"use-cache": True}`` use it.
        host: host of the Redis.
        port: port of the Redis.
        password: password of the Redis.
        namespace: caches with different ones share nothing, in a Redis.
        ttl: seconds for which an answer is kept; a day by default.
        supported_call_types: the kinds of calls whose answers are kept.
        disk_cache_dir: the folder; ``.litellm_cache`` by default.
        **options: further options of LiteLLM's, without effect.

    Raises:
        ValueError: a type that is not here.
    """

    def __init__(
        self,
        type: Any = LiteLLMCacheType.LOCAL,
        mode: Any = CacheMode.default_on,
        host: str | None = None,
        port: str | int | None = None,
        password: str | None = None,
        namespace: str | None = None,
        ttl: float | None = None,
        supported_call_types: list[str] | None = None,
        disk_cache_dir: str | None = None,
        **options: Any,
    ) -> None:
        given = _arguments.Given(options, host=host, port=port, password=password)
        # Tracebacks show local variables, and an address may have a password in it.
        del options, password
        self.type, self.mode = LiteLLMCacheType(type), CacheMode(mode or "default_on")
        self.namespace, self.ttl = namespace, ttl
        self.supported_call_types = supported_call_types
        kept = 86400.0 if ttl is None else float(ttl)
        if self.type is LiteLLMCacheType.LOCAL:
            self.native = ritellm.Cache.memory(ttl=kept)
        elif self.type is LiteLLMCacheType.DISK:
            self.native = ritellm.Cache.disk(disk_cache_dir or ".litellm_cache", ttl=kept)
        elif self.type is LiteLLMCacheType.REDIS:
            self.native = ritellm.Cache.redis(_address(given), namespace=namespace or "default", ttl=kept)
        else:
            raise ValueError(
                f"a cache of type {self.type.value!r} is not in RiteLLM's compat layer: 'local', 'disk' or 'redis' would be right"
            )

    def flush_cache(self) -> None:
        """Removes all answers from the memory or the folder."""
        self.native.clear()

    def __deepcopy__(self, memo: Any) -> Cache:
        return self


def _address(given: dict[str, Any]) -> str:
    import os
    from urllib.parse import quote

    get = given.get
    url = get("url") or (None if get("host") else os.environ.get("REDIS_URL"))
    if url:
        return str(url)
    host = get("host") or os.environ.get("REDIS_HOST", "localhost")
    port = get("port") or os.environ.get("REDIS_PORT", "6379")
    password = get("password") or os.environ.get("REDIS_PASSWORD")
    user = get("username") or os.environ.get("REDIS_USERNAME") or ""
    who = f"{quote(user, safe='')}:{quote(password, safe='')}@" if password else ""
    return f"{'rediss' if get('ssl') else 'redis'}://{who}{host}:{port}/{get('db') or 0}"


def _settings() -> dict[str, Any]:
    return vars(_finder.module("litellm"))


def enable_cache(type: Any = LiteLLMCacheType.LOCAL, **options: Any) -> None:
    """Makes all calls use a cache.

    Args:
        type: ``"local"``, ``"disk"`` or ``"redis"``.
        **options: further arguments of `Cache`.

    Raises:
        ValueError: a type that is not here.
    """
    options = _arguments.Given(options)
    _settings()["cache"] = Cache(type, **options)


def update_cache(type: Any = LiteLLMCacheType.LOCAL, **options: Any) -> None:
    """Puts another cache in the place of the one that is used.

    Args:
        type: ``"local"``, ``"disk"`` or ``"redis"``.
        **options: further arguments of `Cache`.

    Raises:
        ValueError: a type that is not here.
    """
    options = _arguments.Given(options)
    enable_cache(type, **options)


def disable_cache() -> None:
    """Makes calls use no cache."""
    _settings()["cache"] = None


def add_argument(params: dict[str, Any], cache: Any, given: dict[str, Any], call_type: str) -> None:
    """Adds the argument ``cache`` of RiteLLM's call, if the call does not use the cache as it is.

    Args:
        params: RiteLLM's arguments of the call.
        cache: the value of ``litellm.cache``.
        given: LiteLLM's arguments of the call, of which ``caching`` and ``cache`` count.
        call_type: LiteLLM's name of the kind of call.
    """
    controls: dict[str, Any] = given["cache"] if isinstance(given.get("cache"), dict) else {}
    kinds = cache.supported_call_types
    off: Any = (kinds is not None and call_type not in kinds) or given.get("caching") is False
    off = off or controls.get("no-cache") or controls.get("no-store")
    if off or (cache.mode is CacheMode.default_off and not controls.get("use-cache")):
        params["cache"] = False
        return
    ages = [controls[name] for name in ("ttl", "s-maxage", "s-max-age") if controls.get(name) is not None]
    if ages:
        params["cache"] = {"ttl": float(min(ages))}


class InMemoryCache:
    """Values by key in the memory of this process, each for a time.

    Args:
        max_size_in_memory: maximum number of values; the oldest goes first.
        default_ttl: seconds for which a value is kept.
        **options: further options of LiteLLM's, without effect.
    """

    def __init__(self, max_size_in_memory: int | None = 200, default_ttl: int | None = 600, **options: Any) -> None:
        self.max_size_in_memory, self.default_ttl = max_size_in_memory or 200, default_ttl or 600
        self.cache_dict: dict[str, Any] = {}
        self.ttl_dict: dict[str, float] = {}

    def set_cache(self, key: str, value: Any, **options: Any) -> None:
        """Keeps a value, for ``ttl`` seconds if that is given."""
        self.cache_dict.pop(key, None)
        while len(self.cache_dict) >= self.max_size_in_memory:
            self.delete_cache(next(iter(self.cache_dict)))
        self.cache_dict[key] = value
        ttl = options.get("ttl")
        self.ttl_dict[key] = time.time() + float(self.default_ttl if ttl is None else ttl)

    def get_cache(self, key: str, **options: Any) -> Any:
        """Returns a value, or ``None``."""
        if self.ttl_dict.get(key, 0.0) <= time.time():
            self.delete_cache(key)
        return self.cache_dict.get(key)

    def delete_cache(self, key: str) -> None:
        """Removes a value."""
        self.cache_dict.pop(key, None)
        self.ttl_dict.pop(key, None)

    def flush_cache(self) -> None:
        """Removes all values."""
        self.cache_dict.clear()
        self.ttl_dict.clear()

    async def async_set_cache(self, key: str, value: Any, **options: Any) -> None:
        """Does the same as `set_cache`."""
        self.set_cache(key, value, **options)

    async def async_get_cache(self, key: str, **options: Any) -> Any:
        """Does the same as `get_cache`."""
        return self.get_cache(key, **options)


class DualCache(InMemoryCache):
    """Values by key in the memory of this process; LiteLLM's second one, a Redis, is not here.

    Args:
        in_memory_cache: has no effect.
        redis_cache: has no effect.
        default_in_memory_ttl: seconds for which a value is kept.
        **options: further options of LiteLLM's, without effect.
    """

    def __init__(
        self,
        in_memory_cache: Any = None,
        redis_cache: Any = None,
        default_in_memory_ttl: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(default_ttl=default_in_memory_ttl)
        self.in_memory_cache, self.redis_cache = in_memory_cache or self, redis_cache
