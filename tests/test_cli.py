"""Tests of the command line as a shell runs it: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ritellm import Client, Limits, _core, local
from ritellm import __main__ as cli

KEY = "sk-test-0123456789-secret"
ANSWER = ["Straw", "ber", "ry: ", "🍓"]
CHAT = "chat", "-m", "openai/gpt-4o-mini"


class Provider(ThreadingHTTPServer):
    """An OpenAI-format server on loopback that answers with `status`, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.endless = False
        self.requests: list[dict[str, Any]] = []

    @property
    def environment(self) -> dict[str, str]:
        return {"OPENAI_BASE_URL": f"http://127.0.0.1:{self.server_port}/v1", "OPENAI_API_KEY": KEY}


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append({"authorization": self.headers["Authorization"], **body})
        if self.server.status != 200:
            error = {"message": "no, thank you", "type": "error", "code": "refused"}
            return self.answer(json.dumps({"error": error}), "application/json")
        if not body.get("stream"):
            message = {"role": "assistant", "content": "".join(ANSWER)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return self.answer(json.dumps({**ENVELOPE, "object": "chat.completion", "choices": [choice]}))
        if not self.server.endless:
            return self.answer("".join(map(event, ANSWER)) + END, "text/event-stream")
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            while True:
                self.wfile.write(event("word ").encode())
                time.sleep(0.005)
        except OSError:
            return None

    def answer(self, body: str, content_type: str = "application/json") -> None:
        self.send_response(self.server.status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body.encode())))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


ENVELOPE = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4o-mini"}


def event(text: str | None) -> str:
    delta = {} if text is None else {"role": "assistant", "content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": "stop" if text is None else None}
    return f"data: {json.dumps({**ENVELOPE, 'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"


END = event(None) + "data: [DONE]\n\n"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def clean_environment(**variables: str) -> dict[str, str]:
    """This process's environment without anyone's keys, addresses and proxies, and with `variables`."""
    unwanted = re.compile(r"(?i).*(_KEY|_TOKEN|_BASE|_BASE_URL|_PROXY)|RITELLM_MODEL")
    inherited = {name: value for name, value in os.environ.items() if not unwanted.fullmatch(name)}
    return {**inherited, **variables}


def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ritellm", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=clean_environment(PYTHONIOENCODING="utf-8", **variables),
    )


def run(*arguments: str, stdin: str = "", **variables: str) -> tuple[int, str, str]:
    """Run `ritellm` with these arguments; its exit code, standard output and standard error."""
    with start(*arguments, **variables) as process:
        out, err = process.communicate(stdin, timeout=60)
    assert KEY not in out + err
    return process.returncode, out, err


# ---- chat ----------------------------------------------------------------------------------------------------------


def test_chat_streams_an_answer(provider: Provider) -> None:
    assert run(*CHAT, "Which", "berry?", **provider.environment) == (0, "".join(ANSWER) + "\n", "")
    [request] = provider.requests
    assert request["authorization"] == f"Bearer {KEY}"
    assert request["model"] == "gpt-4o-mini" and request["stream"] is True
    assert request["messages"] == [{"role": "user", "content": "Which berry?"}]


def test_chat_with_a_system_message_and_without_streaming(provider: Provider) -> None:
    result = run(*CHAT, "-s", "Be brief.", "--no-stream", "Which berry?", **provider.environment)
    assert result == (0, "".join(ANSWER) + "\n", "")
    [request] = provider.requests
    assert not request.get("stream")
    assert [message["role"] for message in request["messages"]] == ["system", "user"]


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_chat_reads_standard_input(provider: Provider, arguments: tuple[str, ...]) -> None:
    assert run(*CHAT, *arguments, stdin="Which\nberry? 🍓\n", **provider.environment)[0] == 0
    assert provider.requests[0]["messages"][0]["content"] == "Which\nberry? 🍓\n"


@pytest.mark.parametrize("arguments", [("--json",), ("--json", "--no-stream")])
def test_chat_as_json(provider: Provider, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*CHAT, *arguments, "Which berry?", **provider.environment)
    assert (code, err) == (0, "")
    response = json.loads(out)
    assert response["choices"][0]["message"]["content"] == "".join(ANSWER)
    assert response["choices"][0]["finish_reason"] == "stop"


@pytest.mark.skipif(not local.available(), reason="the local model is not installed")
def test_chat_with_the_local_model() -> None:
    code, out, err = run("chat", "--json", "--no-stream", "Say hello in one word.")
    assert (code, err) == (0, "")
    assert json.loads(out)["model"] == "smollm2-135m-instruct"


# ---- routers and limits --------------------------------------------------------------------------------------------


def test_chat_with_a_routers_file(provider: Provider, tmp_path: Path) -> None:
    pytest.importorskip("tomllib")
    file = tmp_path / "ritellm.toml"
    file.write_text('[[groups.fast]]\nmodel = "openai/small"\n[[groups.smart]]\nmodel = "openai/large"\n')
    for arguments in ((), ("-m", "smart")):
        result = run("chat", "-c", str(file), *arguments, "Which berry?", **provider.environment)
        assert result == (0, "".join(ANSWER) + "\n", "")
    assert [request["model"] for request in provider.requests] == ["small", "large"]
    code, _, err = run("chat", "-c", str(file), "-m", "slow", "Hi", **provider.environment)
    assert code == 1 and "the name of a group would be right: fast, smart" in err
    assert run("chat", "-c", str(tmp_path / "none.toml"), "Hi")[0] == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's shared memory")
def test_limits_of_this_machine(provider: Provider) -> None:
    name = f"test-{uuid.uuid4().hex[:12]}"
    share = f"host:{name}"
    try:
        assert run("limits", "--share", share)[:2] == (
            0,
            "0 processes, 0 quotas\nQUOTA  LIMIT  USED  IN FLIGHT  STATE\n",
        )
        declared = {"openai": {"rpm": 1_000, "max_in_flight": 8}, "openai/*": "adaptive"}
        base_url = provider.environment["OPENAI_BASE_URL"]
        client = Client(base_url=base_url, api_key=KEY, limits=Limits(declared, share=share))
        client.completion("openai/m", [{"role": "user", "content": "Hi"}])
        code, out, err = run("limits", "--share", share)
        assert (code, err) == (0, "")
        heading, _, *lines = out.splitlines()
        assert heading == "1 process, 2 quotas"
        cells = {tuple(re.split(r"  +", line)[1:]) for line in lines}
        assert cells == {
            ("1,000 requests in 60 s", "1 (0 %)", "0 of 8", "open"),
            ("learnt: 10 requests a second", "-", "0", "open"),
        }
        state = json.loads(run("limits", "--share", share, "--json")[1])
        assert state["processes"] == 1
        assert sorted(quota["max_in_flight"] or 0 for quota in state["quotas"].values()) == [0, 8]
        with start("limits", "--share", share, "--json", "--watch", "0.01") as process:
            assert process.stdout is not None
            assert [json.loads(process.stdout.readline()).keys() for _ in range(3)] == [state.keys()] * 3
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
    finally:
        os.unlink(f"/dev/shm/ritellm.{os.getuid()}.{name}")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [((), 2), (("--share", "redis://h"), 2), (("--share", "host:"), 2), (("--share", "host:a", "--watch", "0"), 2)],
)
def test_limits_of_nothing(arguments: tuple[str, ...], code: int) -> None:
    assert run("limits", *arguments)[0] == code


# ---- exit codes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, 1, "BadRequestError"),
        (401, 3, "AuthenticationError"),
        (403, 3, "PermissionDeniedError"),
        (404, 1, "NotFoundError"),
        (429, 4, "RateLimitError"),
        (500, 1, "InternalServerError"),
    ],
)
def test_a_provider_that_refuses(provider: Provider, status: int, code: int, error: str) -> None:
    provider.status = status
    exit_code, out, err = run(*CHAT, "Hi", **provider.environment)
    assert (exit_code, out) == (code, "")
    assert err.startswith(f"ritellm: {error}: ") and err.count("\n") == 1
    assert "no, thank you" in err


def test_a_provider_that_is_not_there(provider: Provider) -> None:
    environment = provider.environment
    provider.server_close()
    code, out, err = run(*CHAT, "Hi", **environment)
    assert (code, out) == (5, "")
    assert err.startswith("ritellm: APIConnectionError: ") and err.count("\n") == 1


def test_no_key() -> None:
    code, out, err = run(*CHAT, "Hi")
    assert (code, out) == (3, "")
    assert "OPENAI_API_KEY" in err and err.count("\n") == 1


@pytest.mark.parametrize("arguments", [(), ("frobnicate",), ("chat", "--frobnicate", "Hi"), (*CHAT, " ")])
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert run(*arguments)[0] == 2


def test_an_interrupt(provider: Provider) -> None:
    provider.endless = True
    with start(*CHAT, "Hi", **provider.environment) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        assert process.stdout.read(5) == "word "
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None and process.stderr.read() == ""


def test_a_reader_that_left(provider: Provider) -> None:
    provider.endless = True
    with start(*CHAT, "Hi", **provider.environment) as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == "word "
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr is not None and process.stderr.read() == ""


# ---- the model that nobody named -----------------------------------------------------------------------------------


def test_default_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    monkeypatch.setattr(local, "available", lambda: False)
    assert cli.default_model() is None
    monkeypatch.setattr(local, "available", lambda: True)
    assert cli.default_model() == local.DEFAULT_MODEL
    monkeypatch.setenv("GROQ_API_KEY", "")
    assert cli.default_model() == local.DEFAULT_MODEL, "an empty key is none"
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    assert (cli.default_model() or "").startswith("groq/")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert (cli.default_model() or "").startswith("openai/")
    monkeypatch.setenv("RITELLM_MODEL", "ollama/llama3.2")
    assert cli.default_model() == "ollama/llama3.2"


def test_nothing_to_ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "default_model", lambda: None)
    assert cli.main(["chat", "Hi"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "OPENAI_API_KEY" in err and local.INSTALL_SERVER in err and local.INSTALL_WEIGHTS in err


# ---- providers, version, help --------------------------------------------------------------------------------------


def test_providers_is_a_table_without_secrets() -> None:
    code, out, err = run(
        "providers", OPENAI_API_KEY=KEY, OPENAI_BASE_URL=f"https://user:{KEY}@proxy.example/v1?key={KEY}"
    )
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert set(rows) == {row["name"] for row in _core.providers()} | {"PROVIDER"} and "local" in rows
    assert re.fullmatch(r"openai +OPENAI_API_KEY +set +https://proxy.example/v1", rows["openai"])
    assert "not set" in rows["groq"] and "GROQ_API_KEY" in rows["groq"]
    assert "no key needed" in rows["ollama"]
    for with_credentials in ("anthropic", "azure", "bedrock", "vertex"):
        assert "not set" in rows[with_credentials]


def test_providers_as_json() -> None:
    code, out, _ = run("providers", "--json", OPENAI_API_KEY=KEY)
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["openai"]["status"] == "set" and rows["openai"]["key_variables"] == ["OPENAI_API_KEY"]
    assert rows["groq"]["status"] == "not set" and rows["groq"]["base_url"].startswith("https://")


def test_version_and_help() -> None:
    code, out, _ = run("--version")
    assert code == 0 and re.fullmatch(r"ritellm \d+\.\d+\.\d+\S*\n", out)
    code, out, _ = run("--help")
    assert code == 0 and "exit codes" in out and "chat" in out and "providers" in out
