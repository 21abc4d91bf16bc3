"""Measures a cold start: from the start of a process to the first answer, over TLS, with RiteLLM and other clients.

    python benches/cold_start.py                 # 15 runs of each, interleaved; prints a table in Markdown
    python benches/cold_start.py --cold          # with the page cache emptied before each run: needs root

Each run is a process of its own, which imports a client, makes one call and ends. The server is on loopback, with a certificate
of an authority that stands in a file beside the system's own, so that the client reads as many as it does elsewhere. The figures
of an interpreter that does nothing are subtracted from the times, not from the memory.
"""

from __future__ import annotations

import argparse
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme
from machine import distribution_versions

ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}'
)
#: What each client's documentation shows for one call.
PROGRAMS = {
    "ritellm": (
        "from ritellm import completion\n"
        "messages = [{'role': 'user', 'content': 'Hi'}]\n"
        "assert completion('openai/gpt-4o-mini', messages).choices[0].message.content == 'Hello.'"
    ),
    "httpx": (
        "import httpx, os\n"
        "with httpx.Client() as client:\n"
        "    answer = client.post(os.environ['OPENAI_BASE_URL'] + '/chat/completions', headers={'Authorization': 'Bearer k'},\n"
        "        json={'model': 'gpt-4o-mini', 'messages': [{'role': 'user', 'content': 'Hi'}]})\n"
        "assert answer.json()['choices'][0]['message']['content'] == 'Hello.'"
    ),
    "openai": (
        "from openai import OpenAI\n"
        "messages = [{'role': 'user', 'content': 'Hi'}]\n"
        "answer = OpenAI().chat.completions.create(model='gpt-4o-mini', messages=messages)\n"
        "assert answer.choices[0].message.content == 'Hello.'"
    ),
    "litellm": (
        "from litellm import completion\n"
        "messages = [{'role': 'user', 'content': 'Hi'}]\n"
        "assert completion('openai/gpt-4o-mini', messages=messages).choices[0].message.content == 'Hello.'"
    ),
}
NOTHING = "nothing"


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: object) -> None:
        pass


def serve(authorities: Path) -> str:
    """Starts the server; writes the certificates that a client has to know. Returns the base URL."""
    authority = trustme.CA()
    system = ssl.get_default_verify_paths().cafile
    known = Path(system).read_bytes() if system else b""
    authorities.write_bytes(known + authority.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"https://localhost:{server.server_address[1]}/v1"


def run(program: str, environment: dict[str, str]) -> tuple[float, float, float]:
    """Runs a program. Returns its seconds, its seconds of processors, and its memory in MB."""
    begin = time.perf_counter()
    # The peak of the process's own memory: `ru_maxrss` is that of this one, if it is larger.
    program += "\nprint([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"cold_start: a program ended with {process.returncode}:\n{program}")
    return seconds, usage.ru_utime + usage.ru_stime, int(printed.split()[-1]) / 1024


def empty_page_cache() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="runs of each client")
    parser.add_argument("--cold", action="store_true", help="empty the page cache before each run")
    options = parser.parse_args()
    versions = {name: distribution_versions(name) for name in PROGRAMS}
    clients = {NOTHING: "pass"} | {name: program for name, program in PROGRAMS.items() if versions[name]}
    figures: dict[str, list[tuple[float, float, float]]] = {name: [] for name in clients}
    with tempfile.TemporaryDirectory() as folder:
        authorities = Path(folder, "authorities.pem")
        url = serve(authorities)
        settings = {
            "OPENAI_API_KEY": "k",
            "OPENAI_BASE_URL": url,
            "OPENAI_API_BASE": url,
            "SSL_CERT_FILE": str(authorities),
        }
        environment = os.environ | settings | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        for program in clients.values():
            run(program, environment)  # writes the modules' bytecode
        for _ in range(options.runs):
            for name, program in clients.items():
                if options.cold:
                    empty_page_cache()
                figures[name].append(run(program, environment))
    medians = {
        name: [statistics.median(values) for values in zip(*runs, strict=True)] for name, runs in figures.items()
    }
    idle = medians.pop(NOTHING)
    print(f"an interpreter that does nothing: {idle[0] * 1e3:.0f} ms, {idle[2]:.0f} MB\n")
    print("| client | ms to the first answer | ms of processors | memory, MB |\n|---|---:|---:|---:|")
    for name, (seconds, busy, memory) in medians.items():
        print(f"| {versions[name]} | {(seconds - idle[0]) * 1e3:.0f} | {(busy - idle[1]) * 1e3:.0f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
