"""Tests of TLS and HTTP/2 against a real server (hypercorn) with the test's own certificate authority."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from server import free_port

APP = """
import asyncio, hashlib, json

seen = {"connections": set(), "versions": set()}

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("http only")
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    seen["connections"].add(tuple(scope["client"]))
    seen["versions"].add(scope["http_version"])
    if scope["path"] == "/seen":
        answer = {"connections": len(seen["connections"]), "versions": sorted(seen["versions"])}
        await reply(send, answer)
        return
    if scope["path"] == "/v1/files":
        content = body.partition(b"octet-stream\\r\\n\\r\\n")[2].rpartition(b"\\r\\n--")[0]
        await reply(send, {"id": hashlib.sha256(content).hexdigest(), "bytes": len(content)})
        return
    request = json.loads(body)
    if request.get("stream"):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for word in ["Hel", "lo"]:
            chunk = {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
            await send({"type": "http.response.body", "body": b"data: " + json.dumps(chunk).encode() + b"\\n\\n", "more_body": True})
            await asyncio.sleep(0.01)
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        await send({"type": "http.response.body", "body": b"data: " + json.dumps(end).encode() + b"\\n\\ndata: [DONE]\\n\\n"})
        return
    await asyncio.sleep(0.05)
    text = request["messages"][0]["content"]
    await reply(send, {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]})

async def reply(send, answer):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
"""

CLIENT = """
import asyncio, hashlib, json, os, sys
from ritellm import Client

port, http2, calls = sys.argv[1], sys.argv[2] == "h2", int(sys.argv[3])
client = Client(base_url=f"https://localhost:{port}/v1", api_key="sk-test", http2=http2, max_retries=0, timeout=60)

async def main():
    async def ask(number):
        text = f"{number} " * 2000 if number % 10 == 0 else str(number)
        response = await client.acompletion("openai/m", [{"role": "user", "content": text}])
        assert response.choices[0].message.content == text
    await asyncio.gather(*(ask(number) for number in range(calls)))
    stream = await client.acompletion("openai/m", [{"role": "user", "content": "x"}], stream=True)
    pieces = [chunk.choices[0].delta.content async for chunk in stream]
    assert pieces == ["Hel", "lo", None], pieces

asyncio.run(main())
assert client.completion("openai/m", [{"role": "user", "content": "sync"}]).choices[0].message.content == "sync"
content = os.urandom(3_000_000)
with open(f"upload-{port}-{http2}.bin", "wb") as file:
    file.write(content)
uploaded = client.files.create("openai", file.name, purpose="batch")
assert (uploaded.id, uploaded.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
print("ok")
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    server = authority.issue_cert("localhost")
    server.private_key_pem.write_to_path(str(folder / "key.pem"))
    for position, pem in enumerate(server.cert_chain_pems):
        pem.write_to_path(str(folder / "chain.pem"), append=position > 0)
    (folder / "app.py").write_text(APP)
    (folder / "client.py").write_text(CLIENT)
    return folder


@pytest.fixture
def port(certificates: Path) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "hypercorn", "app:app", "--bind", f"127.0.0.1:{port}", "--keyfile", "key.pem"]
    server = subprocess.Popen(
        [*command, "--certfile", "chain.pem"], cwd=certificates, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.05)
    yield port
    server.terminate()
    server.wait(10)


def run(
    certificates: Path, port: int, version: str, calls: int, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(certificates / "client.py"), str(port), version, str(calls)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, cwd=certificates)


def what_was_seen(certificates: Path, port: int) -> dict[str, object]:
    import ssl
    import urllib.request

    context = ssl.create_default_context(cafile=str(certificates / "authority.pem"))
    with urllib.request.urlopen(f"https://localhost:{port}/seen", context=context, timeout=10) as answer:
        seen: dict[str, object] = json.loads(answer.read())
    return seen


def test_http2_calls_share_connections(certificates: Path, port: int) -> None:
    done = run(certificates, port, "h2", 300, SSL_CERT_FILE=str(certificates / "authority.pem"))
    assert done.stdout.strip() == "ok", done.stderr
    seen = what_was_seen(certificates, port)
    assert "2" in seen["versions"]  # type: ignore[operator]
    # 300 at once, at most 100 on a connection; the last one counted is urllib's own.
    assert 3 <= int(seen["connections"]) <= 10  # type: ignore[call-overload]


def test_http11_over_tls(certificates: Path, port: int) -> None:
    done = run(certificates, port, "h1", 40, SSL_CERT_FILE=str(certificates / "authority.pem"))
    assert done.stdout.strip() == "ok", done.stderr
    assert what_was_seen(certificates, port)["versions"] == ["1.1"]


def test_a_certificate_of_an_unknown_authority_is_refused(certificates: Path, port: int) -> None:
    done = run(certificates, port, "h2", 1)
    assert done.returncode != 0
    assert "APIConnectionError" in done.stderr and "certificate" in done.stderr.lower(), textwrap.shorten(
        done.stderr, 500
    )


def test_the_loop_stays_responsive_while_tls_is_set_up(certificates: Path, port: int) -> None:
    program = certificates / "responsive.py"
    program.write_text(
        textwrap.dedent(
            f"""
            import asyncio
            from ritellm import acompletion

            async def main():
                ticks = 0
                async def tick():
                    nonlocal ticks
                    while True:
                        ticks += 1
                        await asyncio.sleep(0.002)
                ticker = asyncio.create_task(tick())
                await acompletion("openai/m", [{{"role": "user", "content": "x"}}],
                                  base_url="https://localhost:{port}/v1", api_key="k")
                ticker.cancel()
                assert ticks >= 5, ticks
            asyncio.run(main())
            """
        )
    )
    environment = {"SSL_CERT_FILE": str(certificates / "authority.pem")}
    # A busy machine may give the loop no turn; a loop that is held up has none in any of ten processes.
    for _ in range(10):
        done = subprocess.run(
            [sys.executable, str(program)], capture_output=True, text=True, timeout=60, env=environment, check=False
        )
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
