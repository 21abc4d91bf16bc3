"""Tests of ``ritellm doctor``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from server import KEY, Server, plain, refusal

from ritellm.__main__ import main


def looked_at(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["doctor", "--json", *arguments])
    found = json.loads(capsys.readouterr().out)
    return code, {f"{finding['topic']}: {finding['text']}": finding["advice"] for finding in found}


def test_what_is_there(at_openai: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret-of-mine@proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert main(["doctor"]) in (0, 1)
    shown = capsys.readouterr().out
    for topic in ("versions: ritellm ", "packages: ", "processor: ", "proxy: HTTPS_PROXY=http://proxy.example:3128"):
        assert f"ok {topic}" in shown
    assert "ok key: openai: OPENAI_API_KEY is set" in shown and "ok proxy: not for 127.0.0.1" in shown
    assert KEY not in shown and "secret-of-mine" not in shown


def test_advice(
    at_openai: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abcdef\n")
    monkeypatch.setenv("GROQ_API_KEY", "'gsk-quoted'")
    monkeypatch.setenv("MISTRAL_API_KEY", "your-key-here")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("HTTP_PROXY", "ftp://proxy.example")
    code, found = looked_at(capsys)
    assert code == 1
    assert "white space" in found["key: openai: OPENAI_API_KEY is set"]
    assert "quotes" in found["key: groq: GROQ_API_KEY is set"]
    assert "placeholder" in found["key: mistral: MISTRAL_API_KEY is set"]
    assert "cannot be read" in found[f"certificates: SSL_CERT_FILE={tmp_path}/none.pem"]
    assert "socks5" in found["proxy: HTTP_PROXY=ftp://proxy.example"]
    assert "abcdef" not in str(found) and "quoted" not in str(found)


@pytest.mark.parametrize(
    ("answer", "asked", "text", "advice"),
    [
        (refusal(404, "no such model"), "openai", "answers (404", None),
        (refusal(401, "wrong key"), "openai", "AuthenticationError", "check the key"),
        (refusal(429, "slow down"), "openai", "RateLimitError", "limits and credit"),
        (refusal(503, "later"), "openai", "ServiceUnavailableError", "status page"),
        (plain(), "openai/gpt-4o-mini", "answers (200", None),
        (refusal(404, "no such model"), "openai/gpt-x", "NotFoundError", "model's name"),
    ],
)
def test_whether_a_provider_answers(
    at_openai: Server, capsys: pytest.CaptureFixture[str], answer: Any, asked: str, text: str, advice: str | None
) -> None:
    at_openai.answer(answer)
    _, found = looked_at(capsys, asked)
    ((shown, said),) = [(shown, said) for shown, said in found.items() if shown.startswith("answer")]
    assert text in shown and (said is None if advice is None else advice in said)
    assert len(at_openai.requests) == 1


def test_a_provider_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    _, found = looked_at(capsys, "nobody")
    assert any("ritellm providers" in (advice or "") for shown, advice in found.items() if shown.startswith("answer"))
