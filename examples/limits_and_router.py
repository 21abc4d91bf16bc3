"""A router at work: the primary allows ten calls a second and refuses the others, and a secondary takes those.

It needs no key and no network: both are servers in this program.

$ python examples/limits_and_router.py [seconds]
"""

import asyncio
import json
import sys
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ritellm import Deployment, Router


class Provider(ThreadingHTTPServer):
    """A provider that allows so many calls in any second."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, limit: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.limit, self.times, self.lock = limit, deque[float](maxlen=limit), threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def allows(self) -> bool:
        with self.lock:
            is_allowed = len(self.times) < self.limit or self.times[0] < time.monotonic() - 1
            if is_allowed:
                self.times.append(time.monotonic())
            return is_allowed


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Provider

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        allowed = self.server.allows()
        answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!"}}]} if allowed else {}
        body = json.dumps(answer).encode()
        self.send_response(200 if allowed else 429)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def deployment(name: str, limit: int, **options: Any) -> Deployment:
    base_url = f"http://127.0.0.1:{Provider(limit).server_port}/v1"
    return Deployment("openai/m", name=name, base_url=base_url, api_key="none", **options)


async def run(router: Router, seconds: int) -> None:
    tasks = []
    for _ in range(seconds):
        for _ in range(20):
            tasks.append(asyncio.create_task(router.acompletion("chat", [{"role": "user", "content": "Hi"}])))
            await asyncio.sleep(0.05)
        for name, state in router.status().items():
            calls = f"{state['successes']} calls, {state['rate_limited']} refused, {state['why'] or 'open'}"
            print(f"{name}: {calls:40}", end="  ")
        print(flush=True)
    await asyncio.gather(*tasks)


for title, options in {"without limits": {}, "with the primary's limit declared": {"limits": {"rps": 10}}}.items():
    print(f"20 calls a second, {title}:")
    group = [deployment("primary", 10, order=1, **options), deployment("secondary", 1000, order=2)]
    asyncio.run(run(Router({"chat": group}), int(sys.argv[1]) if len(sys.argv) > 1 else 5))
