"""A provider that says of remarks what kind they are, for bulk_job.py and bulk_on_ray.py.

It takes half a second for an answer, and now and then refuses one.
"""

import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(random.lognormvariate(-1, 0.5))
        text = asked["messages"][-1]["content"].partition("? ")[2]
        kind = "praise" if "love" in text else "question" if "?" in text else "complaint"
        message = {"role": "assistant", "content": json.dumps({"kind": kind})}
        usage = {"prompt_tokens": 400, "completion_tokens": 8, "total_tokens": 408}
        answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
        is_refused = random.random() < 0.02
        body = json.dumps({"error": {"message": "slow down"}} if is_refused else answer).encode()
        self.send_response(429 if is_refused else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve() -> str:
    """Serves it in this process, and returns its base URL."""
    server = Server(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/v1"
