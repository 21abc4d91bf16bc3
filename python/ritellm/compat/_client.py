"""The client of this layer's calls."""

from __future__ import annotations

import ritellm
from ritellm.compat import _finder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_client: Any = None
#: The value of ``litellm.cache``, and the client with it.
_with_cache: tuple[Any, Any] = (None, None)
_settings: dict[str, Any] = vars(_finder.module("litellm"))


def client() -> Any:
    """Returns the client that all calls of this layer share.

    It sends keys over plain HTTP where the caller names such an address, as LiteLLM does: hosts in one's own network have no TLS.
    """
    global _client, _with_cache
    if _client is None or _client.is_closed:
        _client, _with_cache = ritellm.Client(allow_http=True), (None, None)
    cache = _settings["cache"]
    if cache is None:
        return _client
    if _with_cache[0] is not cache:
        _with_cache = (cache, _client.with_options(cache=cache.native))
    return _with_cache[1]
