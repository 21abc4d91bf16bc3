"""Tests of ``ritellm doctor``."""

from __future__ import annotations

import json
import os
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
    monkeypatch.setattr("ritellm._doctor.FEW_FILES", 0)
    assert main(["doctor"]) == 0
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


MALFORMED = (
    "http:/me:secret-1@proxy.example",
    "http://me:secret-1@[::1",
    "http://me:sec/ret-1@proxy.example",
    "http://me:secret-1@proxy.example:port",
    "me:secret-1@proxy.example:99999",
    "http://me:secret-1@",
)


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_address_shows_no_secret(
    at_openai: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    monkeypatch.setenv("GROQ_BASE_URL", url)
    _, found = looked_at(capsys)
    assert "secret" not in str(found) and "ret-1" not in str(found)
    assert "would be right" in found["proxy: HTTPS_PROXY=***"]
    assert "begins with https://" in found["address: groq: GROQ_BASE_URL=***"]


def test_an_address_is_shown_without_its_secrets(
    at_openai: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_BASE_URL", "https://me:secret@[fe80::1]:8443/v1?key=secret#secret")
    _, found = looked_at(capsys)
    assert found["address: groq: GROQ_BASE_URL=https://[fe80::1]:8443/v1"] is None


def test_the_first_key_that_is_not_empty(
    at_openai: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "")
    monkeypatch.setenv("AZURE_API_KEY", "k-1234567890")
    monkeypatch.setenv("GROQ_API_KEY", "")
    _, found = looked_at(capsys)
    assert found["key: azure: AZURE_API_KEY is set"] is None
    assert "key: azure: AZURE_OPENAI_API_KEY is set" not in found
    assert "empty" in found["key: groq: GROQ_API_KEY is set"]


def test_folders_of_certificates(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.pem").touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("SSL_CERT_DIR", os.pathsep.join(str(tmp_path / name) for name in ("full", "empty", "none")))
    _, found = looked_at(capsys)
    assert found[f"certificates: SSL_CERT_DIR={tmp_path}/full: 1 files"] is None
    assert "empty" in found[f"certificates: SSL_CERT_DIR={tmp_path}/empty: 0 files"]
    assert "cannot be read" in found[f"certificates: SSL_CERT_DIR={tmp_path}/none"]


@pytest.mark.parametrize(
    ("limits", "text", "advice"),
    [
        ((-1, -1), "no limit", None),
        ((256, -1), "at most 256", "`ulimit -n 65536`"),
        ((256, 4096), "at most 256", "`ulimit -n 4096`"),
        ((256, 256), "at most 256", None),
        ((4096, -1), "at most 4096", None),
    ],
)
def test_open_files(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    limits: tuple[int, int],
    text: str,
    advice: str | None,
) -> None:
    resource = pytest.importorskip("resource")
    limits = tuple(resource.RLIM_INFINITY if limit < 0 else limit for limit in limits)  # type: ignore[assignment]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    _, found = looked_at(capsys)
    said = found[f"open files: {text} (ulimit -n)"]
    assert said is None if advice is None else advice in said


@pytest.mark.parametrize(
    ("answer", "asked", "text", "advice"),
    [
        (refusal(404, "no such model"), "openai", "did not refuse the key", None),
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
