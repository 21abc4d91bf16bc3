"""The client of this layer's calls."""

from __future__ import annotations

import ritellm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_client: Any = None


def client() -> Any:
    """Returns the client that all calls of this layer share.

    It sends keys over plain HTTP where the caller names such an address, as LiteLLM does: hosts in one's own network have no TLS.
    """
    global _client
    if _client is None or _client.is_closed:
        _client = ritellm.Client(allow_http=True)
    return _client
