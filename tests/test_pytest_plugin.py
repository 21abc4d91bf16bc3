"""Tests of the plugin for pytest, in runs of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from ritellm.testing import MockServer

PROGRAM = """
import sys

import pytest

IMPORTED = "ritellm" in sys.modules

MESSAGES = [{"role": "user", "content": "Hi"}]


def ask(model="openai/gpt-4o"):
    # The program under test: it knows nothing of the fixtures, and has no key.
    import ritellm

    return ritellm.completion(model, MESSAGES).choices[0].message.content


def test_nothing_is_imported():
    assert IMPORTED is OFFLINE


def test_mock(ritellm_mock):
    ritellm_mock.reply("Hello!")
    assert ask() == ask("anthropic/claude-sonnet-4-5") == "Hello!"
    assert len(ritellm_mock.requests) == 2


def test_recorded(ritellm_cassette):
    assert ask() == "played"


class TestGroup:
    @pytest.mark.ritellm_cassette("other.json", ignore=["messages"])
    def test_marked(self, ritellm_cassette):
        assert ask() == "played"


def test_missing(ritellm_cassette):
    ask()


@pytest.mark.parametrize("text", ["x" * 300])
def test_long(ritellm_cassette, text):
    # The name of a file has 255 bytes at most.
    assert ask() == "played"


def test_failing(ritellm_cassette):
    import ritellm

    ritellm.completion("openai/gpt-4o", MESSAGES, base_url="http://127.0.0.1:1/v1", max_retries=0)


def test_outside():
    import ritellm

    ritellm.completion("openai/gpt-4o", MESSAGES, api_key="k", max_retries=0, timeout=5)


def test_programs():
    import subprocess, sys

    program = "import ritellm; ritellm.completion('openai/gpt-4o', [], api_key='k', max_retries=0, timeout=5)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    raise RuntimeError(done.stderr.splitlines()[-1])


def test_allowed():
    import os

    import ritellm

    print("RITELLM_OFFLINE_ALLOW=" + os.environ["RITELLM_OFFLINE_ALLOW"])
    ritellm.completion("openai/gpt-4o", [], api_key="k", base_url="https://0.0.0.0:1/v1", max_retries=0)


def test_redis():
    import ritellm

    budget = ritellm.Budget(10, key="team", share="redis://192.0.2.1:6379", unknown="allow")
    client = ritellm.Client(api_key="k", budget=budget)
    client.completion("openai/gpt-4o", MESSAGES, base_url="http://127.0.0.1:1/v1", max_retries=0)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    # The plugins of this project's tests take a second to import.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(*options: str, offline: bool = False, program: str = PROGRAM) -> str:
        (tmp_path / "test_program.py").write_text(program.replace("is OFFLINE", f"is {offline}"))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_ritellm", "--rootdir", str(tmp_path), *options]
        done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path, timeout=60)
        return done.stdout + done.stderr

    return run


def recorded(model: str) -> str:
    url = "https://api.openai.com/v1/chat/completions"
    message = {"role": "assistant", "content": "played"}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": model}
    answer["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]  # type: ignore[assignment]
    request = {
        "method": "POST",
        "url": url,
        "headers": {},
        "json": {"model": model, "messages": [{"role": "user", "content": "Hi"}]},
    }
    response = {"status": 200, "headers": {"content-type": "application/json"}, "json": answer}
    return json.dumps({"ritellm_cassette": 1, "calls": [{"request": request, "response": response}]})


def test_fixtures_and_offline(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "cassettes" / "test_program"
    folder.mkdir(parents=True)
    (folder / "test_recorded.json").write_text(recorded("gpt-4o"))
    (tmp_path / "other.json").write_text(recorded("gpt-4o").replace('"Hi"', '"another text"'))
    output = run("--ritellm-offline", offline=True)
    assert "4 failed, 4 passed, 3 errors" in output, output
    assert f"{folder / 'test_missing.json'} is missing: pytest --ritellm-record records it" in output
    error = "UnexpectedCallError: test_program.py::test_outside calls api.openai.com:443, and --ritellm-offline lets no call"
    assert error in output
    assert (
        "RuntimeError: ritellm.exceptions.UnexpectedCallError: test_program.py::test_programs calls api.openai.com:443"
        in output
    )
    assert "cannot be kept: test_program.py::test_redis calls 192.0.2.1:6379" in output
    output = run("--ritellm-offline", "--ritellm-offline-allow=a,0.0.0.0", "-k", "allowed", offline=True)
    assert "cannot connect to 0.0.0.0:1: Connection refused" in output
    assert "RITELLM_OFFLINE_ALLOW=a,0.0.0.0" in output


def test_recording(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    with MockServer(intercept=False) as server:
        server.reply("played")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-one-who-records-0123456789")
        output = run("--ritellm-record", "-k", "recorded or missing or nothing or long or failing")
        assert "1 failed, 4 passed" in output, output
        assert not (tmp_path / "cassettes" / "test_program" / "test_failing.json").exists()
        assert len(server.requests) == 3
        assert "3 passed" in run("-k", "recorded or missing or long")
        assert len(server.requests) == 3
    text = (tmp_path / "cassettes" / "test_program" / "test_recorded.json").read_text()
    assert "sk-of-the-one" not in text


def test_pytest_finds_it() -> None:
    (found,) = (point for point in entry_points(group="pytest11") if point.name == "ritellm")
    assert found.value == "pytest_ritellm"


VCR_PROGRAM = """
import pathlib, pytest, vcr, ritellm

FOLDER = pathlib.Path(__file__).parent


def ask(text):
    return ritellm.completion("openai/gpt-4o", [{"role": "user", "content": text}]).choices[0].message.content


def test_played():
    with vcr.use_cassette(str(FOLDER / "a.yaml"), match_on=["method", "host", "path", "headers"]):
        assert ask("Hi") == "recorded"


def test_another_body():
    with vcr.use_cassette(str(FOLDER / "a.yaml")):
        assert ask("Ho") == "recorded"


def test_body_compared():
    with vcr.use_cassette(str(FOLDER / "a.yaml"), match_on=["method", "raw_body"], record_mode="none"):
        ask("Ho")


def test_no_suffix():
    with vcr.use_cassette(str(FOLDER / "plain")):
        assert ask("Hi") == "recorded"


def test_patches_are_taken_off():
    # Cassettes that vcrpy opens and that cannot be played: its serializer reads anything.
    import http.client

    before = http.client.HTTPSConnection
    own = vcr.VCR()
    own.register_serializer("own", Own)
    with pytest.raises(ritellm.InvalidArgumentError, match="other.txt is no JSON"):
        with own.use_cassette(str(FOLDER / "other.txt"), serializer="own"):
            pass
    assert http.client.HTTPSConnection is before


class Own:
    serialize = str

    def deserialize(text):
        return {"version": 1, "interactions": []}
"""


def test_cassettes_that_vcrpy_opens_are_played(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("vcr")
    answer = json.loads(recorded("gpt-4o"))["calls"][0]["response"]["json"]
    answer["choices"][0]["message"]["content"] = "recorded"
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]})
    interaction = {
        "request": {
            "method": "POST",
            "uri": "https://api.openai.com/v1/chat/completions",
            "headers": {},
            "body": body,
        },
        "response": {
            "status": {"code": 200, "message": "OK"},
            "headers": {"content-type": ["application/json"]},
            "body": {"string": json.dumps(answer)},
        },
    }
    # JSON is YAML.
    (tmp_path / "a.yaml").write_text(json.dumps({"version": 1, "interactions": [interaction]}))
    yaml = pytest.importorskip("yaml")
    (tmp_path / "plain").write_text(yaml.safe_dump({"version": 1, "interactions": [interaction]}))
    (tmp_path / "other.txt").write_text("its own")
    output = run("--ritellm-vcr", program=VCR_PROGRAM)
    assert "1 failed, 4 passed" in output, output
    assert "UnexpectedCallError" in output and "test_body_compared" in output
    assert "3 played, 1 of them to another body than the recorded one" in output
    line = 'a.yaml: POST https://api.openai.com/v1/chat/completions: messages.0.content is "Ho", not "Hi"'
    assert line in output
