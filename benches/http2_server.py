"""A server for TLS and HTTP/2: hypercorn with an authority of its own, which answers every call with one completion.

python http2_server.py FOLDER     prints its port; FOLDER gets the authority's certificate, ca.pem
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

import trustme
from hypercorn.asyncio import serve
from hypercorn.config import Config

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 600}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 117, "completion_tokens": 150, "total_tokens": 267},
    }
).encode()


async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": ANSWER})


def main() -> None:
    folder = Path(sys.argv[1])
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        config = Config()
        config.bind = [f"fd://{listening.fileno()}"]
        config.certfile = config.keyfile = str(folder / "server.pem")
        config.alpn_protocols = ["h2"]
        config.h2_max_concurrent_streams = 100
        # httpx fails when a connection is closed in order after so many requests, which is hypercorn's default at 1000.
        config.keep_alive_max_requests = 1_000_000
        print(listening.getsockname()[1], flush=True)
        asyncio.run(serve(answer, config))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
