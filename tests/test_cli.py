"""Tests of the command line as a shell runs it: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ritellm import Client, Limits, _core, local
from ritellm import __main__ as cli
from ritellm.testing import MockServer

KEY = "sk-test-0123456789-secret"
ANSWER = "Strawberry: 🍓"
CHAT = "chat", "-m", "openai/gpt-4o-mini"


@pytest.fixture
def provider() -> Iterator[MockServer]:
    with MockServer(intercept=False) as server:
        server.reply(ANSWER, chunks=4)
        yield server


def environment(provider: MockServer) -> dict[str, str]:
    return {"OPENAI_BASE_URL": provider.url + "/v1", "OPENAI_API_KEY": KEY}


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


def test_chat_streams_an_answer(provider: MockServer) -> None:
    assert run(*CHAT, "Which", "berry?", **environment(provider)) == (0, ANSWER + "\n", "")
    [request] = provider.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.model == "gpt-4o-mini" and request.json["stream"] is True
    assert request.json["messages"] == [{"role": "user", "content": "Which berry?"}]


def test_chat_with_a_system_message_and_without_streaming(provider: MockServer) -> None:
    result = run(*CHAT, "-s", "Be brief.", "--no-stream", "Which berry?", **environment(provider))
    assert result == (0, ANSWER + "\n", "")
    [request] = provider.requests
    assert not request.json.get("stream")
    assert [message["role"] for message in request.json["messages"]] == ["system", "user"]


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_chat_reads_standard_input(provider: MockServer, arguments: tuple[str, ...]) -> None:
    assert run(*CHAT, *arguments, stdin="Which\nberry? 🍓\n", **environment(provider))[0] == 0
    assert provider.requests[0].json["messages"][0]["content"] == "Which\nberry? 🍓\n"


@pytest.mark.parametrize("arguments", [("--json",), ("--json", "--no-stream")])
def test_chat_as_json(provider: MockServer, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*CHAT, *arguments, "Which berry?", **environment(provider))
    assert (code, err) == (0, "")
    response = json.loads(out)
    assert response["choices"][0]["message"]["content"] == ANSWER
    assert response["choices"][0]["finish_reason"] == "stop"


@pytest.mark.skipif(not local.available(), reason="the local model is not installed")
def test_chat_with_the_local_model() -> None:
    code, out, err = run("chat", "--json", "--no-stream", "Say hello in one word.")
    assert (code, err) == (0, "")
    assert json.loads(out)["model"] == "smollm2-135m-instruct"


# ---- routers and limits --------------------------------------------------------------------------------------------


def test_chat_with_a_routers_file(provider: MockServer, tmp_path: Path) -> None:
    pytest.importorskip("tomllib")
    file = tmp_path / "ritellm.toml"
    file.write_text('[[groups.fast]]\nmodel = "openai/small"\n[[groups.smart]]\nmodel = "openai/large"\n')
    for arguments in ((), ("-m", "smart")):
        result = run("chat", "-c", str(file), *arguments, "Which berry?", **environment(provider))
        assert result == (0, ANSWER + "\n", "")
    assert [request.model for request in provider.requests] == ["small", "large"]
    code, _, err = run("chat", "-c", str(file), "-m", "slow", "Hi", **environment(provider))
    assert code == 1 and "the name of a group would be right: fast, smart" in err
    assert run("chat", "-c", str(tmp_path / "none.toml"), "Hi")[0] == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's shared memory")
def test_limits_of_this_machine(provider: MockServer) -> None:
    name = f"test-{uuid.uuid4().hex[:12]}"
    share = f"host:{name}"
    try:
        assert run("limits", "--share", share)[:2] == (
            0,
            "0 processes, 0 quotas\nQUOTA  LIMIT  USED  IN FLIGHT  STATE\n",
        )
        declared = {"openai": {"rpm": 1_000, "max_in_flight": 8}, "openai/*": "adaptive"}
        base_url = provider.url + "/v1"
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
def test_a_provider_that_refuses(provider: MockServer, status: int, code: int, error: str) -> None:
    provider.fail(status, "no, thank you", code="refused", retry_after=0)
    exit_code, out, err = run(*CHAT, "Hi", **environment(provider))
    assert (exit_code, out) == (code, "")
    assert err.startswith(f"ritellm: {error}: ") and err.count("\n") == 1
    assert "no, thank you" in err


def test_a_provider_that_is_not_there(provider: MockServer) -> None:
    provider.close()
    code, out, err = run(*CHAT, "Hi", **environment(provider))
    assert (code, out) == (5, "")
    assert err.startswith("ritellm: APIConnectionError: ") and err.count("\n") == 1


def test_no_key() -> None:
    code, out, err = run(*CHAT, "Hi")
    assert (code, out) == (3, "")
    assert "OPENAI_API_KEY" in err and err.count("\n") == 1


@pytest.mark.parametrize("arguments", [(), ("frobnicate",), ("chat", "--frobnicate", "Hi"), (*CHAT, " ")])
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert run(*arguments)[0] == 2


def test_an_interrupt(provider: MockServer) -> None:
    provider.reply("word " * 100_000).latency(chunk=0.005)
    with start(*CHAT, "Hi", **environment(provider)) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        assert process.stdout.read(5) == "word "
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None and process.stderr.read() == ""


def test_a_reader_that_left(provider: MockServer) -> None:
    provider.reply("word " * 100_000).latency(chunk=0.005)
    with start(*CHAT, "Hi", **environment(provider)) as process:
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
